//! The pool: what the city knows right now, and the rows that wait for their Parquet file.
//!
//! One thread owns a [`State`] and applies the log to it, record by record. The state is a function of the log:
//! it reads no clock, and everything that must leave it (SQL, live feed) is collected as [`Effect`]s.
//!
//! # Layout
//! - [`apply`]: one log record → the state
//! - [`readings`]: the readings of a frame or a pack → [`rows`], last values, windows
//! - [`ledger`]: which frames were taken, per gateway, store and lane; [`losses`]: why the others never come
//! - [`waiting`]: readings of boxes that do not know the time yet
//! - [`sensors`] (each `column` in chunks; with `members`, who of a gateway bears which name, `holders`, `names` and
//!   `newest`), [`gateways`], [`alarms`]: the tables
//! - [`windows`], [`aggregate`], [`sketch`]: mergeable aggregates; [`hot`]: tables of them, each [`packed`]
//! - [`snapshot`]: the state as a checkpoint; [`pages`]: the sensors in it; `unsaved`: of which SQL was not told yet

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bincode::{Decode, Encode};
use configs::Catalogue;
use foldhash::fast::RandomState;
use wire::{GatewayId, PicturePart};

pub mod aggregate;
pub mod alarms;
pub mod apply;
mod column;
pub mod gateways;
mod holders;
pub mod hot;
pub mod ledger;
pub mod losses;
mod members;
pub mod names;
mod newest;
pub mod packed;
pub mod pages;
pub mod readings;
pub mod rows;
pub mod sensors;
pub mod sketch;
pub mod snapshot;
mod unsaved;
pub mod waiting;
pub mod windows;

#[cfg(test)]
pub(crate) mod tests;

use crate::cell::Cell;
use crate::counters::LANES;
use crate::quarantine::Held;
use crate::senml::Mappings;
use alarms::{Alarm, Alarms};
use gateways::Gateways;
use hot::Hot;
use ledger::Ledger;
use rows::Rows;
use sensors::{Sensors, Words};
use waiting::Waiting;
use windows::{WindowKey, Windows};

/// Most changed cells remembered until listeners are told; the rest shows with the next reading.
const MAX_CHANGED: usize = 5000;
/// Most packs of a source whose repeat is recognised.
const MAX_PACKS: usize = 1024;
/// Most replays remembered; a quarantined message is replayed once.
const MAX_REPLAYED: usize = 65_536;

/// Frames of one lane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct LaneTotal {
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

/// Everything counted, over the life of the data folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct Totals {
    /// Readings taken into the pool.
    pub accepted: u64,
    /// Readings that came again.
    pub duplicate: u64,
    /// Readings held with a reason.
    pub quarantined: u64,
    /// Readings reported as lost.
    pub lost: u64,
    /// Readings accepted late.
    pub late: u64,
    /// By lane, in the order of [`LANES`].
    pub lanes: [LaneTotal; LANES.len()],
    /// Parquet files written.
    pub parquet_files: u64,
    /// Readings in them.
    pub parquet_rows: u64,
}

/// What a stretch of the log gave: the content of one set of Parquet files.
#[derive(Debug, Clone, Default)]
pub struct Span {
    /// Log position it begins at.
    pub from: u64,
    /// Its readings, in the order of the log.
    pub rows: Rows,
    /// Windows of exactly these readings.
    pub windows: Windows,
    /// Log position up to which windows were in files when it was cut: its checkpoint names it.
    pub windows_filed: u64,
}

/// Windows on their way to Parquet, of the readings of a stretch of the log.
#[derive(Debug, Clone)]
pub struct Settled {
    /// First position.
    pub from: u64,
    /// One past the last.
    pub to: u64,
    /// The windows.
    pub windows: Arc<Hot>,
    /// Whether they are in files: these count as soon as a checkpoint names the position.
    pub are_filed: bool,
}

/// What has to leave the state.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// An alarm as it now is.
    Alarm(Box<Alarm>),
    /// Something to be held in the quarantine.
    Held(Box<Held>),
    /// Something that a smart seal has signed.
    Envelope(Box<Envelope>),
    /// A part of a photograph that a smart seal has taken.
    Picture(Box<Seen>),
    /// A replay succeeded.
    Replayed {
        /// Which entry of the quarantine.
        id: u64,
    },
}

/// Something that a smart seal has signed, unread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Names it and orders it: where its frame ends in the log, and which of the frame's it is.
    pub number: u64,
    /// By which gateway it came.
    pub gateway: GatewayId,
    /// When it was received, in milliseconds since 1970 UTC.
    pub received_ms: i64,
    /// COSE_Sign, see the crate `seal`.
    pub bytes: Vec<u8>,
}

/// A part of a photograph, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Orders it: where its frame ends in the log.
    pub number: u64,
    /// By which gateway it came.
    pub gateway: GatewayId,
    /// The part.
    pub part: PicturePart,
}

/// What the door needs to recognise repeats before they cost anything. Shared with the tasks that take messages in.
#[derive(Debug, Clone, Default)]
pub struct Door {
    /// Frames taken.
    pub ledger: Ledger,
    packs: HashMap<GatewayId, VecDeque<u128>>,
}

impl Door {
    /// Whether a pack with this fingerprint came from `source` before.
    pub fn knows_pack(&self, source: &GatewayId, fingerprint: u128) -> bool {
        self.packs.get(source).is_some_and(|packs| packs.contains(&fingerprint))
    }

    fn remember_pack(&mut self, source: &GatewayId, fingerprint: u128) {
        let packs = self.packs.entry(source.clone()).or_default();
        if packs.len() >= MAX_PACKS {
            packs.pop_front();
        }
        packs.push_back(fingerprint);
    }
}

/// A handle to the door.
#[derive(Debug, Clone, Default)]
pub struct SharedDoor(Arc<Mutex<Door>>);

impl SharedDoor {
    /// Locks it; held for one look-up only.
    pub fn lock(&self) -> MutexGuard<'_, Door> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How the state works; the same rules must be given when a log is replayed.
#[derive(Debug, Clone)]
pub struct Rules {
    /// What is measured.
    pub catalogue: Arc<Catalogue>,
    /// What third-party names mean.
    pub mappings: Arc<Mappings>,
    /// How far back windows stay in memory, in milliseconds.
    pub hot_ms: i64,
    /// How many bytes of windows stay in memory at most, those included that are not in files yet.
    pub hot_bytes: usize,
}

/// What the city knows.
#[derive(Debug)]
pub struct State {
    /// How it works.
    pub rules: Rules,
    /// Log position up to which records were applied.
    pub position: u64,
    /// Counts.
    pub totals: Totals,
    /// Sensors with their last values.
    pub sensors: Sensors,
    /// Gateways.
    pub gateways: Gateways,
    /// What gateways reported as lost.
    pub losses: losses::Reports,
    /// Alarms.
    pub alarms: Alarms,
    /// Repeats.
    pub door: SharedDoor,
    /// What is not on its way to Parquet yet.
    pub current: Span,
    /// What is being written to Parquet.
    pub in_flight: Option<Arc<Span>>,
    /// Windows whose readings are in Parquet and that themselves are not: they go there seldom, so that most parts of a
    /// window are one by then.
    pub settling: Hot,
    /// Those that left them to be written.
    pub settled: Option<Settled>,
    /// Windows in Parquet that are on their way into `hot`, a few at a time.
    pub cooling: Hot,
    /// Windows in Parquet that begin at `hot_from_ms` or later.
    pub hot: Hot,
    /// From here on `hot` and `cooling` are complete.
    pub hot_from_ms: i64,
    /// Log position up to which readings are in Parquet.
    pub checkpoint: u64,
    /// Log position up to which windows are in Parquet, and in a checkpoint.
    pub windows_kept: u64,
    /// The emptied rows and windows of the last span.
    spare: (Rows, Windows),
    waiting: Waiting,
    replayed: BTreeSet<u64>,
    changed: HashMap<(u16, Cell), i64, RandomState>,
    effects: Vec<Effect>,
}

impl State {
    /// The state before the first record.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            position: 0,
            totals: Totals::default(),
            sensors: Sensors::default(),
            gateways: Gateways::default(),
            losses: losses::Reports::default(),
            alarms: Alarms::default(),
            door: SharedDoor::default(),
            current: Span::default(),
            in_flight: None,
            settling: Hot::default(),
            settled: None,
            cooling: Hot::default(),
            hot: Hot::default(),
            hot_from_ms: i64::MIN,
            checkpoint: 0,
            windows_kept: 0,
            spare: Default::default(),
            waiting: Waiting::default(),
            replayed: BTreeSet::new(),
            changed: HashMap::default(),
            effects: Vec::new(),
        }
    }

    /// What has to leave the state since this was last asked.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Cells that changed since this was last asked, each with its newest changed minute.
    pub fn take_changed_cells(&mut self) -> Vec<WindowKey> {
        let changed = std::mem::take(&mut self.changed);
        changed
            .into_iter()
            .map(|((quantity, cell), start_ms)| WindowKey { quantity, cell, start_ms })
            .collect()
    }

    /// Gateways heard of since this was last asked.
    pub fn take_touched_gateways(&mut self) -> BTreeSet<GatewayId> {
        self.gateways.take_touched()
    }

    /// Hands over what waits for Parquet: it stays visible as `in_flight` until [`State::written`]. `None` while a
    /// span is still being written.
    pub fn cut(&mut self) -> Option<Arc<Span>> {
        if self.in_flight.is_some() {
            return None;
        }
        let (rows, windows) = std::mem::take(&mut self.spare);
        let next = Span { from: self.position, rows, windows, ..Span::default() };
        let mut span = std::mem::replace(&mut self.current, next);
        span.windows_filed = self.windows_filed();
        let span = Arc::new(span);
        self.in_flight = Some(Arc::clone(&span));
        Some(span)
    }

    /// Hands over the windows that settle, those of `windows_kept` up to `checkpoint`. They stay visible as `settled` until
    /// [`State::written`] of a span that was cut after [`State::note_filed`]. `None` while the last ones are on that way, or
    /// when there is nothing to hand over.
    pub fn settle(&mut self) -> Option<Settled> {
        if self.settled.is_some() || self.windows_kept == self.checkpoint {
            return None;
        }
        let windows = Arc::new(std::mem::take(&mut self.settling));
        self.settled =
            Some(Settled { from: self.windows_kept, to: self.checkpoint, windows, are_filed: false });
        self.settled.clone()
    }

    /// Notes that what was handed over is in so many files.
    pub fn note_filed(&mut self, files: u64) {
        if let Some(settled) = self.settled.as_mut().filter(|settled| !settled.are_filed) {
            settled.are_filed = true;
            self.totals.parquet_files += files;
        }
    }

    /// Log position up to which windows are in files, whether a checkpoint says so or not.
    pub fn windows_filed(&self) -> u64 {
        let filed = self.settled.as_ref().filter(|settled| settled.are_filed);
        filed.map_or(self.windows_kept, |settled| settled.to)
    }

    /// Notes that the span in flight is in `files` of Parquet and in a checkpoint at `position`, which names the windows
    /// too that were filed when it was cut.
    pub fn written(&mut self, position: u64, files: u64, now_ms: i64) {
        if let Some(span) = self.in_flight.take() {
            self.totals.parquet_files += files;
            self.totals.parquet_rows += span.rows.len() as u64;
            self.hot_from_ms = self.hot_from_ms.max(now_ms - self.rules.hot_ms);
            if let Some(settled) = self.settled.take_if(|settled| settled.to == span.windows_filed) {
                self.windows_kept = settled.to;
                // Nothing is left of the last ones, but at the end and in a flood of late ones.
                self.cool(usize::MAX);
                self.cooling = Arc::unwrap_or_clone(settled.windows);
            }
            for (key, aggregate) in span.windows.iter() {
                self.settling.merge(*key, aggregate);
            }
            // Room for so many rows, made afresh each time, costs a tenth of what is done with them.
            if let Ok(Span { mut rows, mut windows, .. }) = Arc::try_unwrap(span) {
                rows.clear();
                windows.clear();
                self.spare = (rows, windows);
            }
        }
        self.checkpoint = position;
    }

    /// Moves windows into `hot`, merging `most` of them. What is not in files yet has to stay in memory, and `hot` has
    /// the room that it leaves, and half of all in any case: whoever looks at the live picture needs the present minute.
    pub fn cool(&mut self, most: usize) {
        self.hot.absorb(&mut self.cooling, self.hot_from_ms, most);
        let others: usize = self.unfiled().chain([&self.cooling]).map(Hot::bytes).sum();
        let room = self.rules.hot_bytes.saturating_sub(others).max(self.rules.hot_bytes / 2);
        self.hot_from_ms = self.hot.keep(self.hot_from_ms, room);
    }

    /// Windows of readings in Parquet that are in no file of windows, or in one that does not count yet.
    pub fn unfiled(&self) -> impl Iterator<Item = &Hot> {
        self.settled.iter().map(|settled| &*settled.windows).chain([&self.settling])
    }

    /// Windows in files that are in memory too: all that begin at `hot_from_ms` or later.
    pub fn filed(&self) -> impl Iterator<Item = &Hot> {
        [&self.hot, &self.cooling].into_iter()
    }

    /// How many sensors have words that the database does not have.
    pub(crate) fn described(&self) -> usize {
        self.sensors.unsaved.described()
    }

    /// What the database has to know before the next checkpoint: gateways, and sensors with new words.
    pub(crate) fn take_described(&mut self) -> (BTreeSet<GatewayId>, Vec<(u32, Words)>) {
        (self.gateways.take_unsaved(), self.sensors.unsaved.take_described())
    }

    /// Some of the other sensors that are new or changed: the database is told when it has nothing else to do.
    pub(crate) fn take_changed(&mut self, most: usize) -> Vec<u32> {
        self.sensors.unsaved.take_some(most)
    }

    fn note_change(&mut self, quantity: u16, cell: Cell, minute_ms: i64) {
        if let Some(newest) = self.changed.get_mut(&(quantity, cell)) {
            *newest = (*newest).max(minute_ms);
        } else if self.changed.len() < MAX_CHANGED {
            self.changed.insert((quantity, cell), minute_ms);
        }
    }
}
