//! Time with provenance: a box without a clock still samples, and says so.

use bincode::{Decode, Encode};

/// One start of a box: random, so that monotonic times of two starts are never mixed.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Encode,
    Decode,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct BootId(pub u64);

/// What the box knows of the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockState {
    /// Never set since this start: wall times are guesses; ingest restamps them after the first synchronisation.
    Unset,
    /// Set earlier (RTC or saved time), not confirmed in this start.
    HeldOver,
    /// Confirmed by a time source in this start.
    Synchronised,
}

/// Turns the monotonic times of one batch into wall time. A batch is closed whenever this changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Clock {
    /// How far to trust it.
    pub state: ClockState,
    /// Wall time in milliseconds since 1970-01-01 UTC at monotonic zero.
    pub epoch_ms: i64,
}

impl Clock {
    /// Wall time, in milliseconds since 1970 UTC, of a monotonic time of the same boot.
    pub fn wall_ms(&self, mono_ms: u64) -> i64 {
        self.epoch_ms.saturating_add(i64::try_from(mono_ms).unwrap_or(i64::MAX))
    }
}
