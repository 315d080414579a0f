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

/// What happened to an alarm. New kinds go to the end: their position is their number on the wire.
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
    /// It still goes on, and says so again after its re-alarm time. Neither a second alarm nor a change of state.
    Repeated,
}

/// What the value and the threshold of an alarm are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Measure {
    /// The quantity of the sensor, in its unit.
    Value,
    /// How far the quantity rose over this time, in its unit; negative when it fell.
    Rise {
        /// The time in milliseconds.
        over_ms: u64,
    },
    /// How many of the rules that confirm each other are active.
    Agreeing,
}

/// A reading that an alarm was decided by.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Input {
    /// The sensor.
    pub sensor: SensorName,
    /// What it measures.
    pub quantity: QuantityCode,
    /// Its value, if there was one.
    pub value: Option<f64>,
    /// How far to trust it.
    pub quality: Quality,
    /// When it was taken, in milliseconds since the boot named by [`Alarms`].
    pub mono_ms: u64,
    /// Whether it spoke for the alarm.
    pub alarming: bool,
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
    /// The sensor that was judged; of rules that confirm each other, that of the first.
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
    /// What value and threshold are.
    pub measure: Measure,
    /// The worst value since the alarm was raised, while it is active.
    pub worst: Option<f64>,
    /// The readings that decided, at most [`MAX_INPUTS`]; none in events of gateways older than this list.
    pub inputs: Vec<Input>,
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
/// Most inputs of one event: more detectors than one place has, and few enough for a person to read.
pub const MAX_INPUTS: usize = 8;

/// An event as the first kind of alarm payload has it: without what decided.
#[derive(Encode, Decode)]
pub(crate) struct BareEvent {
    episode: u64,
    rule: String,
    rule_version: u32,
    kind: AlarmKind,
    level: Level,
    sensor: SensorName,
    quantity: QuantityCode,
    place: Place,
    mono_ms: u64,
    value: Option<f64>,
    quality: Quality,
    threshold: f64,
}

/// Events without what decided.
#[derive(Encode, Decode)]
pub(crate) struct BareAlarms {
    boot: BootId,
    clock: Clock,
    events: Vec<BareEvent>,
}

impl Alarms {
    /// The same as the first kind of alarm payload, when that can say all of it.
    pub(crate) fn bare(&self) -> Option<BareAlarms> {
        let events = self.events.iter().map(AlarmEvent::bare).collect::<Option<_>>()?;
        Some(BareAlarms { boot: self.boot, clock: self.clock, events })
    }
}

impl From<BareAlarms> for Alarms {
    fn from(bare: BareAlarms) -> Self {
        let events = bare.events.into_iter().map(AlarmEvent::from).collect();
        Self { boot: bare.boot, clock: bare.clock, events }
    }
}

impl AlarmEvent {
    fn bare(&self) -> Option<BareEvent> {
        let is_bare = self.kind != AlarmKind::Repeated
            && self.measure == Measure::Value
            && self.worst.is_none()
            && self.inputs.is_empty();
        is_bare.then(|| BareEvent {
            episode: self.episode,
            rule: self.rule.clone(),
            rule_version: self.rule_version,
            kind: self.kind,
            level: self.level,
            sensor: self.sensor.clone(),
            quantity: self.quantity,
            place: self.place.clone(),
            mono_ms: self.mono_ms,
            value: self.value,
            quality: self.quality,
            threshold: self.threshold,
        })
    }
}

impl From<BareEvent> for AlarmEvent {
    fn from(bare: BareEvent) -> Self {
        Self {
            episode: bare.episode,
            rule: bare.rule,
            rule_version: bare.rule_version,
            kind: bare.kind,
            level: bare.level,
            sensor: bare.sensor,
            quantity: bare.quantity,
            place: bare.place,
            mono_ms: bare.mono_ms,
            value: bare.value,
            quality: bare.quality,
            threshold: bare.threshold,
            measure: Measure::Value,
            worst: None,
            inputs: Vec::new(),
        }
    }
}
