//! Alarm events as the edge engine raises them.

use alloc::string::String;
use alloc::vec::Vec;

use bincode::{Decode, Encode};

use crate::ids::{QuantityCode, SensorName};
use crate::place::Place;
use crate::reading::Quality;
use crate::time::{BootId, Clock};

/// Graded levels as Chinese emergency practice colours them (蓝 黄 橙 红).
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
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// 蓝: attention.
    Blue,
    /// 黄: prepare.
    Yellow,
    /// 橙: act.
    Orange,
    /// 红: danger.
    Red,
}

/// What happened to an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlarmKind {
    /// It became active.
    Raised,
    /// It ended.
    Cleared,
    /// Its input failed: the alarm cannot be judged any more. Never a clearing.
    Blind,
    /// Its input works again after [`AlarmKind::Blind`].
    Seeing,
}

/// One event in the life of one alarm.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct AlarmEvent {
    /// Names one life of the alarm, from raised to cleared: all its events carry the same number. Unique per gateway.
    pub episode: u64,
    /// The rule that judged, as the gateway's configuration names it; at most [`crate::frame::MAX_TEXT`] bytes.
    pub rule: String,
    /// Hash of the rule's settings, so that one can tell which version judged.
    pub rule_version: u32,
    /// What happened.
    pub kind: AlarmKind,
    /// How bad.
    pub level: Level,
    /// The sensor that was judged.
    pub sensor: SensorName,
    /// What it measures.
    pub quantity: QuantityCode,
    /// Where.
    pub place: Place,
    /// When, in milliseconds since the boot named by [`Alarms`].
    pub mono_ms: u64,
    /// The value that decided, if there was one.
    pub value: Option<f64>,
    /// Its quality.
    pub quality: Quality,
    /// The limit it was held against.
    pub threshold: f64,
}

/// Alarm events of one boot under one clock; at most [`MAX_EVENTS`].
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Alarms {
    /// The start of the box.
    pub boot: BootId,
    /// How monotonic times become wall times.
    pub clock: Clock,
    /// The events, oldest first.
    pub events: Vec<AlarmEvent>,
}

/// Most events in one frame: keeps an alarm frame to one small write.
pub const MAX_EVENTS: usize = 64;
