//! The power-cut rig's own half: what a recorded disk could hold after a cut, and whether that will do.
//!
//! # Layout
//! - [`log`]: the record of a disk's writes, and the image that a cut leaves
//! - [`judge`]: what was promised against what was found (pure)
//! - [`look`]: how both are read: from a store, from ingest's log, from the gateway's own words
//! - [`loads`]: what the guests do while they are recorded

pub mod judge;
pub mod loads;
pub mod log;
pub mod look;
