//! Readings: one sensor, one quantity, one time, one value, one quality.

use alloc::vec::Vec;

use bincode::{Decode, Encode};

use crate::ids::{QuantityCode, SensorName};
use crate::place::Place;
use crate::time::{BootId, Clock};

/// How far a value may be trusted. Judged before any alarm.
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
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Quality {
    /// Nothing speaks against it.
    Good = 0,
    /// Plausible range, but a check doubts it: spike, rate of change, flat line.
    Suspect = 1,
    /// Outside what the quantity can be.
    OutOfRange = 2,
    /// The sensor or its wiring failed: there is no value. Fault is never zero.
    Fault = 3,
}

impl Quality {
    /// All qualities by number.
    pub const ALL: [Quality; 4] = [Quality::Good, Quality::Suspect, Quality::OutOfRange, Quality::Fault];

    /// Whether a reading of this quality carries a value.
    pub fn has_value(self) -> bool {
        self != Quality::Fault
    }

    /// Whether the value may enter aggregates and alarms.
    pub fn is_usable(self) -> bool {
        matches!(self, Quality::Good | Quality::Suspect)
    }

    /// The word used in JSON and Parquet.
    pub fn as_str(self) -> &'static str {
        match self {
            Quality::Good => "good",
            Quality::Suspect => "suspect",
            Quality::OutOfRange => "out_of_range",
            Quality::Fault => "fault",
        }
    }
}

/// What a run of readings has in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Series {
    /// The sensor, unique on its gateway.
    pub sensor: SensorName,
    /// What it measures, in the catalogue's canonical unit.
    pub quantity: QuantityCode,
    /// Index into the batch's places.
    pub place: u16,
}

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// Index into the batch's series.
    pub series: u16,
    /// Milliseconds since the boot named by the batch.
    pub mono_ms: u64,
    /// The value in the canonical unit of the quantity; `None` exactly when `quality` is [`Quality::Fault`].
    pub value: Option<f64>,
    /// How far to trust it.
    pub quality: Quality,
}

/// Readings of one boot under one clock. Decoded batches come sorted by series, then in the order of sampling.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The start of the box these readings come from.
    pub boot: BootId,
    /// How monotonic times become wall times.
    pub clock: Clock,
    /// Places the series refer to, at most [`crate::columns::MAX_PLACES`].
    pub places: Vec<Place>,
    /// Series the readings refer to, at most [`crate::columns::MAX_SERIES`].
    pub series: Vec<Series>,
    /// The readings, at most [`crate::columns::MAX_READINGS`].
    pub readings: Vec<Reading>,
}
