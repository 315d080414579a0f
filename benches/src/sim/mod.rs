//! The whole system in virtual time: some gateways, a bad line, and ingest, all from one seed.
//!
//! No thread, no clock, no disk, no socket: the logic is the product's own (judge, batcher, store, books, ship, ladder,
//! admit, log, state), and what lies between is made here. What threads do in the product (pipeline, keeper, courier,
//! engine) is done one step after the other by [`gateway`] and [`ingest`], each step in the order of the original.
//!
//! # What goes wrong
//! - Gateways: power cuts between any two calls to the disk, kills, disks that fail before or after the deed, that are
//!   full, or stand still; quotas so small that readings are thinned and dropped; clocks unset, drifting, jumping.
//! - The line: down, mute, half-open, lost; frames and answers late, twice, and over connections that are gone.
//! - Ingest: power cuts that tear its log, kills in the middle of a checkpoint, a full log disk, "later", "never".
//!
//! Each seed has its own choice of these. After the storm the weather is fine, everything drains, a day goes by, and
//! what the gateways committed is held against what ingest has.
//!
//! # Not simulated
//! sled and the file system under it (see `benches/power`), MQTT, TLS, the engine's threads, Parquet files, SQL, and
//! the width of a line. A process that is started again after its clock was moved by hand: it believes the old word of
//! the time service.
//!
//! # Layout
//! - [`world`]: the events, the weather, the line
//! - [`gateway`], [`disk`]: a gateway and its disk; [`ingest`], [`log_disk`]: ingest and its log's
//! - [`truth`]: what was really committed, and the judgement at the end

use std::fmt;

pub mod disk;
pub mod gateway;
pub mod ingest;
pub mod log_disk;
pub mod truth;
pub mod world;

/// Wall time at the start of a run, in ms since 1970: 2026-06-01.
pub const EPOCH_MS: i64 = 1_780_272_000_000;

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The promise.
    pub invariant: &'static str,
    /// What was found.
    pub what: String,
}

fn broken(invariant: &'static str, what: impl Into<String>) -> Broken {
    Broken { invariant, what: what.into() }
}

/// A run that broke a promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// When, in ms of the simulation.
    pub at_ms: u64,
    /// What was broken.
    pub broken: Broken,
    /// What happened before, oldest first.
    pub events: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for event in &self.events {
            writeln!(f, "  {event}")?;
        }
        let Broken { invariant, what } = &self.broken;
        writeln!(f, "seed {}, at {} ms, broke: {invariant}", self.seed, self.at_ms)?;
        write!(f, "  {what}")
    }
}

/// What a run came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// A checksum of the final state.
    pub digest: u32,
    /// Readings in the pool.
    pub readings: u64,
    /// Readings told as lost.
    pub lost: u64,
    /// Power cuts and kills.
    pub crashes: u64,
    /// Alarms that had to come within their bound, and did.
    pub timely_alarms: u64,
}

/// Runs one seed.
///
/// # Errors
/// The [`Failure`], with what happened before it.
pub fn run(seed: u64) -> Result<Outcome, Box<Failure>> {
    world::World::run(seed)
}
