//! The power-cut rigs' own half: what a recorded disk could hold after a cut, and whether that will do.
//!
//! # Layout
//! - [`log`]: the record of a disk's writes, and the image that a cut leaves
//! - [`mounted`]: such an image as a folder
//!
//! Of a gateway, `benches/power/run`:
//! - [`judge`]: what was promised against what was found (pure)
//! - [`look`]: how both are read: from a store, from ingest's log, from the gateway's own words
//! - [`loads`]: what the guests do while they are recorded
//!
//! Of ingest, `benches/power/city`:
//! - [`frames`]: what was acknowledged against the rows in the pool (pure)
//! - [`senders`]: gateways that note each acknowledgement past the file system
//! - [`server`]: the real ingest as a process

pub mod frames;
pub mod judge;
pub mod loads;
pub mod log;
pub mod look;
pub mod mounted;
pub mod senders;
pub mod server;
