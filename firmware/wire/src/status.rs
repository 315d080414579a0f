//! A gateway about itself.

use alloc::string::String;
use alloc::vec::Vec;

use bincode::{Decode, Encode};

use crate::ids::{QuantityCode, SensorName};
use crate::lane::Lane;
use crate::place::Place;
use crate::time::{BootId, Clock};

/// What a gateway says of itself at each start and after each change of configuration.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Announcement {
    /// The start of the box.
    pub boot: BootId,
    /// How monotonic times become wall times.
    pub clock: Clock,
    /// When, in milliseconds since boot.
    pub mono_ms: u64,
    /// Version of the gateway's software.
    pub version: String,
    /// Kind of board: `raspberry`, `linux`, `simulated`.
    pub board: String,
    /// Where the box hangs.
    pub place: Place,
    /// Its sensors, at most [`crate::columns::MAX_SERIES`].
    pub sensors: Vec<SensorInfo>,
}

/// One sensor as its gateway describes it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SensorInfo {
    /// Its name on the gateway.
    pub sensor: SensorName,
    /// What it measures.
    pub quantity: QuantityCode,
    /// Where it is.
    pub place: Place,
    /// The part that measures: `sht4x`, `ads1115`, `hwmon`.
    pub chip: String,
    /// What an installer wrote on the label, Chinese or English.
    pub label: String,
    /// How often it is read, in milliseconds; 0 for event-driven ones.
    pub every_ms: u32,
}

/// Named gauges of the box: `backlog.reading`, `store.bytes`, `cpu.celsius`. Units are in the name.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Health {
    /// The start of the box.
    pub boot: BootId,
    /// How monotonic times become wall times.
    pub clock: Clock,
    /// When, in milliseconds since boot.
    pub mono_ms: u64,
    /// Name and value, at most [`MAX_GAUGES`].
    pub gauges: Vec<(String, f64)>,
}

/// Most gauges in one health message.
pub const MAX_GAUGES: usize = 128;

/// Why numbers are missing from a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossReason {
    /// The lane's share of the disk was full.
    Quota,
    /// Thinned to save space: some readings of the range remain.
    Thinned,
    /// The stored value did not match its checksum.
    Corrupt,
    /// Ingest refused the batch; it is set aside on the box.
    Refused,
}

/// A gap, explained: sequences `from..=to` of `lane` will never come.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Loss {
    /// The lane with the gap.
    pub lane: Lane,
    /// First missing sequence.
    pub from: u64,
    /// Last missing sequence.
    pub to: u64,
    /// Readings or events lost, where the box knows.
    pub count: u64,
    /// Why.
    pub reason: LossReason,
    /// When it was noticed, in milliseconds since boot.
    pub mono_ms: u64,
}

/// Losses of one store, at most [`MAX_LOSSES`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Losses {
    /// The start of the box.
    pub boot: BootId,
    /// How monotonic times become wall times.
    pub clock: Clock,
    /// The gaps.
    pub losses: Vec<Loss>,
}

/// Most losses in one message.
pub const MAX_LOSSES: usize = 256;
