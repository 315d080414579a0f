//! The city's side of Watchfire: takes frames in, keeps them, and shows what they say.
//!
//! ```text
//! broker ─┐                                        ┌─► pool/ (Parquet)
//! external├─► intake ─► engine: log ─► apply ──────┼─► registry (SQL), quarantine
//! http ───┘            (group commit = the PUBACK) └─► feeds ─► http: API, events, console
//! ```
//!
//! # Layout
//! - [`config`]: settings, checked before anything starts
//! - [`broker`]: the embedded MQTT broker; [`external`]: somebody else's; [`intake`]: what both ask
//! - [`senml`]: packs of third parties (RFC 8428) and the mapping files that give them a meaning
//! - [`admit`]: what may come in; [`normalise`]: one unit, one datum; [`cell`]: geohash
//! - [`engine`]: the way from the socket to the pool; [`log`]: what an acknowledgement promises
//! - [`pool`]: state, windows, repeats; [`columns`]: Parquet; [`registry`]: SQL; [`quarantine`]: what was refused
//! - `database`: the way to SQL; [`people`]: who may do what, and where
//! - [`views`]: answers; [`feeds`]: live events; [`http`]: both over HTTP; [`console`]: the page
//! - [`office`]: seals: applications, approvals, grants, receipts
//! - [`tlog`]: the transparency log of seals; [`witness`]: `ingest witness`, another body's eye on it
//! - [`query`]: `ingest query`, from the other side of the API; [`client`]: its HTTP client
//! - [`counters`]: counts any thread may read; [`metrics`]: the same for Prometheus; [`clock`]: the wall clock

pub mod admit;
pub mod broker;
pub mod cell;
pub mod client;
pub mod clock;
pub mod columns;
pub mod config;
pub mod console;
pub mod counters;
pub mod engine;
pub mod external;
pub mod feeds;
pub mod http;
pub mod intake;
pub mod log;
pub mod metrics;
pub mod normalise;
pub mod office;
pub mod people;
pub mod pool;
pub mod quarantine;
pub mod query;
pub mod registry;
pub mod senml;
pub mod tlog;
pub mod views;
pub mod witness;

mod database;
mod server;
mod varint;

pub use server::{ServeError, Server, serve};
