//! What people and other systems are shown: the answers of the HTTP API, as plain data.
//!
//! Times are integer milliseconds since 1970 UTC and end in `_ms`. Coordinates are WGS-84 degrees.

use serde::Serialize;
use utoipa::ToSchema;

mod cells;
mod coverage;
mod lists;
mod memory;
mod readings;
mod series;
mod top;

pub(crate) use cells::changed_cells;
pub use cells::{CellQuery, CellView, CellsView, MAX_CELLS, WINDOWS_MS, cells};
pub use coverage::{BlindCellView, CoverageQuery, CoverageView, MAX_BLIND, PATIENCE_MS, Surveys, coverage};
pub(crate) use lists::{alarm, gateway_brief};
pub use lists::{alarms, gateway, gateways, health, quantities, quarantine, replay, sensor, sensors, stats};
pub use readings::{MAX_READINGS, readings};
pub use series::{
    CHART_POINTS, MAX_POINTS, PointView, SeriesQuery, SeriesView, Step, series_of_cell, series_of_sensor,
};
pub use top::{By, MAX_TOP, TopCellView, TopView, top};

/// Longest page of a list.
pub const MAX_PAGE: usize = 1000;
/// Length of a page when nothing is asked.
pub const DEFAULT_PAGE: usize = 100;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// Ingest is stopping or its apply thread ended.
    #[error("ingest is stopping and answers no more questions")]
    Stopped,
    /// There is no such thing.
    #[error("there is no {what} {id:?}")]
    NotFound {
        /// Kind of thing.
        what: &'static str,
        /// As asked for.
        id: String,
    },
    /// The question itself is wrong.
    #[error("{field}: {detail}")]
    BadQuery {
        /// The parameter.
        field: &'static str,
        /// What is wrong, what is expected, and the value.
        detail: String,
    },
    /// Stored files or the database could not be read.
    #[error("stored data could not be read: {0}")]
    Storage(String),
}

/// Which part of a list is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageQuery {
    /// At most this many items; 0 means [`DEFAULT_PAGE`], more than [`MAX_PAGE`] is cut to it.
    pub limit: usize,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

impl PageQuery {
    /// The length of the page.
    pub fn length(&self) -> usize {
        if self.limit == 0 { DEFAULT_PAGE } else { self.limit.min(MAX_PAGE) }
    }
}

/// A part of a list.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Cursor of the next page; null at the end.
    pub next: Option<String>,
}

/// Whether ingest can do its work.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct HealthView {
    /// `ok` or `degraded`.
    pub status: &'static str,
    /// What was looked at.
    pub checks: Vec<CheckView>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CheckView {
    /// What: `log`, `apply`, `parquet`, `registry`.
    pub name: &'static str,
    /// Whether it works.
    pub ok: bool,
    /// What is wrong and what to do; a short fact when all is well.
    pub detail: String,
}

/// Counts of everything.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct StatsView {
    /// When this process started.
    pub started_ms: i64,
    /// When this was asked.
    pub now_ms: i64,
    /// Readings, over the life of the data folder.
    pub readings: ReadingCounts,
    /// Frames by lane, over the life of the data folder.
    pub lanes: Vec<LaneCounts>,
    /// The log.
    pub log: LogCounts,
    /// The pool.
    pub pool: PoolCounts,
}

/// Readings by what became of them: received = accepted + duplicate + quarantined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct ReadingCounts {
    /// Delivered, repeats included.
    pub received: u64,
    /// Taken into the pool.
    pub accepted: u64,
    /// Repeats, dropped.
    pub duplicate: u64,
    /// Held with a reason.
    pub quarantined: u64,
    /// Reported as lost by their gateway.
    pub lost: u64,
    /// Accepted more than two minutes after their minute had ended.
    pub late: u64,
}

/// Frames of one lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LaneCounts {
    /// The lane; `senml` for packs of third parties.
    pub lane: &'static str,
    /// Frames taken.
    pub frames: u64,
    /// Repeats, dropped.
    pub duplicate: u64,
    /// Refused for good.
    pub refused: u64,
    /// Readings, events or losses inside the frames taken.
    pub items: u64,
    /// Readings or events reported as lost.
    pub lost: u64,
}

/// The log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct LogCounts {
    /// Where the next record goes.
    pub position: u64,
    /// Bytes appended since the start.
    pub bytes: u64,
    /// Group commits since the start.
    pub commits: u64,
}

/// The pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct PoolCounts {
    /// Sensors ever seen.
    pub sensors: u64,
    /// Gateways ever seen.
    pub gateways: u64,
    /// Windows in memory.
    pub hot_windows: u64,
    /// Parquet files written, over the life of the data folder.
    pub parquet_files: u64,
    /// Readings in them.
    pub parquet_rows: u64,
}

/// A gateway.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct GatewayView {
    /// Its name.
    pub id: String,
    /// Where it belongs; empty when unknown.
    pub area: String,
    /// Latitude in degrees, WGS-84.
    pub lat: Option<f64>,
    /// Longitude in degrees, WGS-84.
    pub lon: Option<f64>,
    /// Kind of board.
    pub board: Option<String>,
    /// Version of its software.
    pub version: Option<String>,
    /// When anything of it was last received.
    pub last_heard_ms: i64,
    /// `live` (heard within 30 s), `late` (within 5 min) or `silent`.
    pub state: &'static str,
    /// What it knows of the time: `unset`, `held_over`, `synchronised`.
    pub clock: Option<&'static str>,
    /// How many sensors it has.
    pub sensors: usize,
    /// What waits on the box, as of its last health message.
    pub backlog: Option<BacklogView>,
    /// Its lanes; left out of events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lanes: Option<Vec<LaneView>>,
    /// Its gauges by name; left out of events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<std::collections::BTreeMap<String, f64>>,
}

/// One gateway with all that is known of its state.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct GatewayDetail {
    /// The gateway, as in the list.
    #[serde(flatten)]
    pub gateway: GatewayView,
    /// Its gauges with their words, by name, as of its last health message.
    pub gauges: Vec<GaugeView>,
    /// When those were received; null before the first.
    pub gauges_ms: Option<i64>,
    /// What it reported as lost and why, newest first; at most 64.
    pub losses: Vec<LossView>,
}

/// A gauge of a gateway.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct GaugeView {
    /// Its name: `buffer.hours_left`.
    pub name: String,
    /// Its value.
    pub value: f64,
    /// Its unit, UCUM; `1` for a count, empty when the name is not in the catalogue.
    pub unit: String,
    /// Chinese label.
    pub zh: String,
    /// English label.
    pub en: String,
}

/// A gap that its gateway explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LossView {
    /// When the report was received.
    pub received_ms: i64,
    /// The store, as 16 hexadecimal digits.
    pub store: String,
    /// The lane.
    pub lane: &'static str,
    /// First sequence that will never come.
    pub from: u64,
    /// Last sequence that will never come.
    pub to: u64,
    /// Readings or events lost; 0 where the box does not know.
    pub count: u64,
    /// `quota`, `thinned`, `corrupt` or `refused`.
    pub reason: &'static str,
}

/// Frames that wait on a box.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct BacklogView {
    /// In the alarm lane.
    pub alarm: f64,
    /// In the reading lane.
    pub reading: f64,
    /// In the health lane.
    pub health: f64,
}

/// How complete one lane of one store is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LaneView {
    /// The lane.
    pub lane: &'static str,
    /// The store, as 16 hexadecimal digits.
    pub store: String,
    /// Every sequence up to here is settled: taken or known to be lost.
    pub high_water: u64,
    /// Sequences below the highest one seen that are still to come.
    pub missing: u64,
    /// Sequences that will never come.
    pub lost: u64,
    /// `complete`, `arriving` or `lost`.
    pub state: &'static str,
}

/// What a sensor measures.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct QuantityBrief {
    /// Its number in the catalogue.
    pub code: u16,
    /// Its word.
    pub name: String,
    /// Canonical unit, UCUM.
    pub unit: String,
    /// Chinese label.
    pub zh: String,
    /// English label.
    pub en: String,
    /// Smallest possible value.
    pub min: f64,
    /// Largest possible value.
    pub max: f64,
}

/// A sensor.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct SensorView {
    /// City-wide name: `gateway:sensor`.
    pub id: String,
    /// Its gateway, or the source of third-party data.
    pub gateway: String,
    /// Its name on the gateway.
    pub sensor: String,
    /// What the installer wrote.
    pub label: String,
    /// The part that measures.
    pub chip: String,
    /// What it measures.
    pub quantity: QuantityBrief,
    /// Latitude in degrees, WGS-84.
    pub lat: f64,
    /// Longitude in degrees, WGS-84.
    pub lon: f64,
    /// Its geohash, 7 characters.
    pub cell: String,
    /// Where it belongs.
    pub area: String,
    /// Its newest reading by time; null before the first.
    pub last: Option<LastView>,
}

/// The newest reading of a sensor.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct LastView {
    /// When it was taken.
    pub at_ms: i64,
    /// The value; null for a fault.
    pub value: Option<f64>,
    /// `good`, `suspect`, `out_of_range` or `fault`.
    pub quality: &'static str,
    /// What the box knew of the time.
    pub clock: &'static str,
}

/// Readings of one sensor.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ReadingsView {
    /// The sensor.
    pub id: String,
    /// Unit of the values, UCUM.
    pub unit: String,
    /// From here, inclusive.
    pub from_ms: i64,
    /// To here, exclusive.
    pub to_ms: i64,
    /// Oldest first.
    pub readings: Vec<ReadingView>,
    /// Whether older readings of the span were left out.
    pub truncated: bool,
}

/// One reading.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct ReadingView {
    /// When it was taken.
    pub at_ms: i64,
    /// The value; null for a fault.
    pub value: Option<f64>,
    /// `good`, `suspect`, `out_of_range` or `fault`.
    pub quality: &'static str,
}

/// A kind of measurement and how many sensors measure it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct QuantityView {
    /// The quantity.
    #[serde(flatten)]
    pub quantity: QuantityBrief,
    /// What it may announce: `none`, `fire`, `flood`, `air`, `equipment`, `security`, `collapse`.
    pub hazard: &'static str,
    /// How many sensors measure it.
    pub sensors: usize,
}

/// An alarm from raised to cleared.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct AlarmView {
    /// City-wide name: `gateway:episode`, the episode as 16 hexadecimal digits.
    pub id: String,
    /// The gateway that judged.
    pub gateway: String,
    /// The sensor's city-wide name.
    pub sensor: String,
    /// What it measures, as a word.
    pub quantity: String,
    /// The rule that judged.
    pub rule: String,
    /// `blue`, `yellow`, `orange` or `red`.
    pub level: &'static str,
    /// `active`, `cleared` or `blind`.
    pub state: &'static str,
    /// When it became active.
    pub raised_ms: i64,
    /// When it last changed.
    pub last_ms: i64,
    /// When it ended.
    pub cleared_ms: Option<i64>,
    /// The value that decided last.
    pub value: Option<f64>,
    /// The limit it was held against.
    pub threshold: f64,
    /// What value and limit are: `value`; `rise`, how far the value rose over `over_ms`, negative for a fall; or
    /// `agreeing`, how many of the rules that confirm each other are active.
    pub measure: &'static str,
    /// The time of a rise, in milliseconds.
    pub over_ms: Option<u64>,
    /// The worst value since it was raised.
    pub worst: Option<f64>,
    /// Unit of value, limit and worst value, UCUM.
    pub unit: String,
    /// When it last said that it goes on.
    pub repeated_ms: Option<i64>,
    /// Version of the rule's settings: 8 hexadecimal digits that change with them.
    pub rule_version: String,
    /// The readings that decided last; empty from gateways that do not tell them.
    pub inputs: Vec<AlarmInputView>,
    /// Latitude in degrees, WGS-84.
    pub lat: f64,
    /// Longitude in degrees, WGS-84.
    pub lon: f64,
    /// Geohash, 7 characters.
    pub cell: String,
    /// Where it belongs.
    pub area: String,
}

/// A reading that an alarm was decided by.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct AlarmInputView {
    /// The sensor's city-wide name.
    pub sensor: String,
    /// What it measures, as a word.
    pub quantity: String,
    /// Its value; none exactly when it is a fault.
    pub value: Option<f64>,
    /// Unit of the value, UCUM.
    pub unit: String,
    /// `good`, `suspect`, `out_of_range` or `fault`.
    pub quality: &'static str,
    /// When it was taken.
    pub at_ms: i64,
    /// Whether it spoke for the alarm.
    pub alarming: bool,
}

/// Something that is held with its reason.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct QuarantineView {
    /// Names it for ever: its position in the log.
    pub id: u64,
    /// When it came.
    pub received_ms: i64,
    /// Who sent it, as far as the topic says.
    pub source: String,
    /// `frame`, `readings` (some readings of a frame), `senml+json` or `senml+cbor`.
    pub kind: String,
    /// Why, as a word.
    pub reason: String,
    /// Why, in Chinese.
    pub zh: &'static str,
    /// Why, in English.
    pub en: &'static str,
    /// The particulars.
    pub detail: String,
    /// Its size.
    pub bytes: u64,
    /// `held`, `replayed` or `refused_again`.
    pub state: String,
}

/// What became of a quarantined message that was judged again.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ReplayView {
    /// The message.
    pub id: u64,
    /// `replayed` or `refused_again`.
    pub state: &'static str,
    /// Why it was refused again, as a word.
    pub reason: Option<&'static str>,
    /// Why, in Chinese.
    pub zh: Option<&'static str>,
    /// Why, in English.
    pub en: Option<&'static str>,
    /// The particulars.
    pub detail: Option<String>,
}
