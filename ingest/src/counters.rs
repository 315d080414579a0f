//! Counts that any thread may read without asking the apply thread.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use wire::Lane;

use crate::pool::Totals;
use crate::views::{LaneCounts, LogCounts, PoolCounts, ReadingCounts};

/// Words of the lanes as counted: those of [`Lane`] by number, then SenML.
pub const LANES: [&str; 6] = ["alarm", "seal", "reading", "frame", "health", "senml"];
/// Index of SenML in [`LANES`].
pub const SENML: usize = 5;

/// Counts of the whole engine. What the pool counts is taken over after each batch; repeats recognised at the door
/// never reach the pool and are counted here.
#[derive(Debug, Default)]
pub struct Counters {
    totals: Mutex<Totals>,
    door_frames: [AtomicU64; LANES.len()],
    door_readings: AtomicU64,
    started_ms: AtomicI64,
    log_position: AtomicU64,
    log_bytes: AtomicU64,
    log_commits: AtomicU64,
    sensors: AtomicU64,
    gateways: AtomicU64,
    hot_windows: AtomicU64,
    quarantine_dropped: AtomicU64,
    questions: AtomicU64,
    questions_us: AtomicU64,
    question_us_max: AtomicU64,
    troubles: [Trouble; Part::ALL.len()],
}

/// Questions put to the apply thread, which takes nothing in meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuestionCounts {
    /// How many since the start.
    pub count: u64,
    /// How long they took in all, in microseconds.
    pub took_us: u64,
    /// How long the longest took, in microseconds.
    pub longest_us: u64,
}

/// Something that can fail and recover.
#[derive(Debug, Default)]
struct Trouble {
    broken: AtomicBool,
    detail: Mutex<String>,
}

/// What is watched for trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The log: when it fails nothing is acknowledged any more.
    Log = 0,
    /// What the log lost or found damaged when it was opened.
    LogHistory = 1,
    /// Parquet files and checkpoints.
    Pool = 2,
    /// The SQL database.
    Registry = 3,
    /// Parquet files of windows.
    Windows = 4,
}

impl Part {
    /// All parts.
    pub const ALL: [Part; 5] = [Part::Log, Part::LogHistory, Part::Pool, Part::Registry, Part::Windows];

    /// The word used in `/health`.
    pub fn as_str(self) -> &'static str {
        match self {
            Part::Log => "log",
            Part::LogHistory => "log_history",
            Part::Pool => "pool",
            Part::Registry => "registry",
            Part::Windows => "windows",
        }
    }
}

impl Counters {
    /// Readings by what became of them.
    pub fn readings(&self) -> ReadingCounts {
        let totals = self.totals();
        let duplicate = totals.duplicate + self.door_readings.load(Relaxed);
        ReadingCounts {
            received: totals.accepted + duplicate + totals.quarantined,
            accepted: totals.accepted,
            duplicate,
            quarantined: totals.quarantined,
            lost: totals.lost,
            late: totals.late,
        }
    }

    /// Frames by lane, in the order of [`LANES`].
    pub fn lanes(&self) -> Vec<LaneCounts> {
        let totals = self.totals();
        let door = self.door_frames.iter().map(|count| count.load(Relaxed));
        (LANES.iter().zip(&totals.lanes).zip(door))
            .map(|((lane, total), door)| LaneCounts {
                lane,
                frames: total.frames,
                duplicate: total.duplicate + door,
                refused: total.refused,
                items: total.items,
                lost: total.lost,
            })
            .collect()
    }

    /// The log.
    pub fn log(&self) -> LogCounts {
        LogCounts {
            position: self.log_position.load(Relaxed),
            bytes: self.log_bytes.load(Relaxed),
            commits: self.log_commits.load(Relaxed),
        }
    }

    /// The pool.
    pub fn pool(&self) -> PoolCounts {
        let totals = self.totals();
        PoolCounts {
            sensors: self.sensors.load(Relaxed),
            gateways: self.gateways.load(Relaxed),
            hot_windows: self.hot_windows.load(Relaxed),
            parquet_files: totals.parquet_files,
            parquet_rows: totals.parquet_rows,
        }
    }

    /// Entries of the quarantine that were dropped because it was full, since the start.
    pub fn quarantine_drops(&self) -> u64 {
        self.quarantine_dropped.load(Relaxed)
    }

    /// Questions put to the apply thread.
    pub fn questions(&self) -> QuestionCounts {
        QuestionCounts {
            count: self.questions.load(Relaxed),
            took_us: self.questions_us.load(Relaxed),
            longest_us: self.question_us_max.load(Relaxed),
        }
    }

    pub(crate) fn answered(&self, took: Duration) {
        let took_us = took.as_micros() as u64;
        self.questions.fetch_add(1, Relaxed);
        self.questions_us.fetch_add(took_us, Relaxed);
        self.question_us_max.fetch_max(took_us, Relaxed);
    }

    /// Everything the pool counted, over the life of the data folder.
    pub fn totals(&self) -> Totals {
        *self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the engine started, in milliseconds since 1970 UTC.
    pub fn started_ms(&self) -> i64 {
        self.started_ms.load(Relaxed)
    }

    /// What is wrong with a part; `None` when it works.
    pub fn trouble(&self, part: Part) -> Option<String> {
        let trouble = &self.troubles[part as usize];
        trouble
            .broken
            .load(Relaxed)
            .then(|| trouble.detail.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    pub(crate) fn set_trouble(&self, part: Part, detail: Option<String>) {
        let trouble = &self.troubles[part as usize];
        trouble.broken.store(detail.is_some(), Relaxed);
        *trouble.detail.lock().unwrap_or_else(PoisonError::into_inner) = detail.unwrap_or_default();
    }

    pub(crate) fn set_started(&self, now_ms: i64) {
        self.started_ms.store(now_ms, Relaxed);
    }

    pub(crate) fn repeat_at_door(&self, lane: Lane, items: u32) {
        self.door_frames[lane as usize].fetch_add(1, Relaxed);
        if lane == Lane::Reading {
            self.door_readings.fetch_add(u64::from(items), Relaxed);
        }
    }

    pub(crate) fn pack_at_door(&self, readings: usize) {
        self.door_frames[SENML].fetch_add(1, Relaxed);
        self.door_readings.fetch_add(readings as u64, Relaxed);
    }

    pub(crate) fn committed(&self, position: u64, bytes: u64) {
        self.log_position.store(position, Relaxed);
        self.log_bytes.fetch_add(bytes, Relaxed);
        self.log_commits.fetch_add(1, Relaxed);
    }

    pub(crate) fn quarantine_dropped(&self, entries: u64) {
        self.quarantine_dropped.fetch_add(entries, Relaxed);
    }

    pub(crate) fn set_position(&self, position: u64) {
        self.log_position.store(position, Relaxed);
    }

    pub(crate) fn pooled(&self, totals: Totals, sensors: u64, gateways: u64, hot_windows: u64) {
        *self.totals.lock().unwrap_or_else(PoisonError::into_inner) = totals;
        self.sensors.store(sensors, Relaxed);
        self.gateways.store(gateways, Relaxed);
        self.hot_windows.store(hot_windows, Relaxed);
    }
}
