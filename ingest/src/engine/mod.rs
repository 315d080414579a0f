//! The engine: what happens to a message between the socket and the pool.
//!
//! ```text
//! caller's task            log thread              apply thread             keeper thread
//! judge, decode  ──queue──► write, one fdatasync ──► State::apply ──span───► Parquet, SQL, checkpoint
//!      ▲                        │ (group commit)        ▲ questions (ask) │      filer thread
//!      └────── durable ─────────┘                       └──────── views    └─────► windows, once a minute
//! ```
//!
//! Windows follow their readings to Parquet once a minute; until then they settle in memory. Beside the threads the
//! compactor merges small Parquet files, within a budget.
//!
//! An answer leaves only after the group commit. Everything behind the log is a function of the log: after a
//! crash the newest checkpoint is loaded and the log replayed from its position. All queues are bounded;
//! when one is full the one before it waits, and in the end the sender does.

use std::path::PathBuf;
use std::sync::Arc;

use configs::Catalogue;

use crate::admit::{Reason, Registration};
use crate::senml::Mappings;

mod apply_loop;
mod checkpoint;
mod compactor;
mod filer;
mod handle;
mod keeper;
mod progress;
mod recover;
mod tables;

#[cfg(test)]
mod tests;

pub use compactor::Budget;
pub use handle::{Engine, EngineThreads, MAX_GATEWAYS, unknown_topic};

/// How the engine is to work. Durations in milliseconds, sizes in bytes.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Folder of everything that is kept: `log/`, `pool/`, `checkpoint`, `tables/`, `registry.sqlite`.
    pub data: PathBuf,
    /// Length of a log segment.
    pub segment_bytes: u64,
    /// How long log segments are kept after their checkpoint.
    pub keep_log_ms: i64,
    /// How many bytes of such segments are kept at most.
    pub keep_log_bytes: u64,
    /// How often readings go to Parquet.
    pub parquet_every_ms: i64,
    /// How many readings may wait for it; more bring it forward. One that has a frame of its own counts twice.
    pub parquet_rows: usize,
    /// How often windows go to Parquet: the more seldom, the fewer parts of each.
    pub windows_every_ms: i64,
    /// What merging small Parquet files may use.
    pub compaction: Budget,
    /// How far back windows stay in memory.
    pub hot_ms: i64,
    /// How many bytes of windows (precision 7, one minute) stay in memory at most; the oldest go first. Those that are
    /// not in files yet count, and are not dropped.
    pub hot_bytes: usize,
    /// How many bytes of bodies the quarantine keeps; the oldest go first, and are counted.
    pub quarantine_bytes: u64,
    /// Which gateways may deliver.
    pub registration: Registration,
    /// URL of the SQL database; `None` means SQLite in the data folder.
    pub database: Option<String>,
    /// What is measured.
    pub catalogue: Arc<Catalogue>,
    /// What third-party names mean.
    pub mappings: Arc<Mappings>,
}

impl EngineConfig {
    /// The defaults, with data in `data`.
    pub fn new(data: PathBuf, catalogue: Arc<Catalogue>, mappings: Arc<Mappings>) -> Self {
        Self {
            data,
            segment_bytes: 32 << 20,
            keep_log_ms: 86_400_000,
            keep_log_bytes: 1 << 30,
            parquet_every_ms: 30_000,
            // Of 32 bytes each, and as many again while files are written.
            parquet_rows: 500_000,
            windows_every_ms: 60_000,
            // Merges 100,000 to 250,000 readings a second to the end; what comes faster waits for a quieter hour.
            compaction: Budget { core_percent: 25, bytes_per_s: 8 << 20 },
            hot_ms: 7_200_000,
            // The present minute of a city of 22 million devices, hours of a smaller one.
            hot_bytes: 96 << 20,
            quarantine_bytes: 64 << 20,
            registration: Registration::Open,
            database: None,
            catalogue,
            mappings,
        }
    }

    /// URL of the SQL database.
    pub fn database_url(&self) -> String {
        let file = self.data.join("registry.sqlite");
        self.database.clone().unwrap_or_else(|| format!("sqlite://{}?mode=rwc", file.display()))
    }
}

/// What became of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// On stable storage: the sender may forget it.
    Durable,
    /// It was durable already: the sender may forget it.
    Duplicate,
    /// Refused for good and held in the quarantine: sending it again is useless.
    Refused {
        /// Why.
        reason: Reason,
        /// The particulars.
        detail: String,
    },
    /// Not now: the sender keeps it and tries again.
    Unavailable {
        /// What is wrong.
        detail: String,
    },
}

/// What became of a SenML pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SenmlTaken {
    /// The pack is on stable storage and these of its records became readings.
    Durable {
        /// Records that became readings.
        accepted: usize,
        /// Records that did not, by position in the pack, and why. They are held in the quarantine.
        refused: Vec<(usize, String)>,
    },
    /// The same pack came before, and all its records say when they were taken.
    Duplicate,
    /// Not one record became a reading; the pack is held in the quarantine.
    Refused {
        /// Records by position in the pack, and why.
        refused: Vec<(usize, String)>,
    },
    /// Not now: try again.
    Unavailable {
        /// What is wrong.
        detail: String,
    },
}

/// Why the engine could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file or folder of the data folder.
    #[error("{what} {path}: {error}")]
    Io {
        /// What was to be done.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The checkpoint is damaged or of another version.
    #[error(
        "checkpoint {path}: {why}. The log it belongs to is complete only from that checkpoint on: restore the file, or start with another data folder"
    )]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The SQL database.
    #[error("database {url}: {why}")]
    Database {
        /// Which one, without password.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// Parquet files.
    #[error("pool: {0}")]
    Pool(String),
}

/// The engine has stopped and answers nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("ingest is stopping")]
pub struct Stopped;
