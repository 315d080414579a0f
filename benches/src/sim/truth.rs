//! What a gateway really committed, and whether ingest's end agrees with it to the reading.

use std::collections::{BTreeMap, HashMap};

use gateway::batch::Packed;
use gateway::buffer::Heads;
use gateway::buffer::store::Store;
use ingest::pool::State;
use ingest::pool::rows::{Head, Row};
use wire::{ClockState, Frame, GatewayId, Lane, Payload};

use super::disk::SimShelf;
use super::{Broken, EPOCH_MS, broken};

/// How far a time that claims to be right may be from the truth, in ms: the drift of a crystal over a run.
const RIGHT_MS: i64 = 2_000;
/// A value carries the number of its reading behind the point: so many numbers fit.
pub const NUMBERS: f64 = 1e6;

/// Names a frame of one gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its store.
    pub store: u64,
    /// Its lane.
    pub lane: Lane,
    /// Its number.
    pub sequence: u64,
}

impl Key {
    /// The name of a frame.
    pub fn of(frame: &Frame) -> Self {
        Self { store: frame.store, lane: frame.payload.lane(), sequence: frame.sequence }
    }
}

/// A loss record as ingest has it.
#[derive(Debug, Clone, Copy)]
pub struct ToldLoss {
    /// The store.
    pub store: u64,
    /// The lane.
    pub lane: Lane,
    /// First number.
    pub from: u64,
    /// Last number.
    pub to: u64,
    /// Readings.
    pub count: u64,
    /// Whether the frames still come.
    pub is_thinned: bool,
}

impl ToldLoss {
    fn covers(&self, key: Key) -> bool {
        self.store == key.store && self.lane == key.lane && (self.from..=self.to).contains(&key.sequence)
    }
}

/// One reading: its sensor and its number, if it has a value to carry one.
type Mark = (u16, Option<u32>);

/// What a frame held when it was committed.
#[derive(Debug)]
struct Committed {
    /// Whether the store said that it is durable; if not, a power cut may have taken it.
    is_told: bool,
    marks: Vec<Mark>,
    clock: ClockState,
}

/// A reading in the pool.
struct Pooled {
    mark: Mark,
    at_ms: i64,
    clock: u8,
}

/// The truth of one gateway.
#[derive(Debug, Default)]
pub struct Truth {
    frames: BTreeMap<Key, Committed>,
    /// Those of them that the store has not told of.
    untold: Vec<Key>,
    /// Checksums of what was handed out for sending.
    handed: HashMap<Key, u32>,
    /// When each reading was taken, by sensor and number, in ms of the simulation.
    pub taken_ms: Vec<Vec<u64>>,
    /// Readings that were judged, faults too: what a crash took from memory among them.
    pub made: u64,
}

/// The number that a value carries.
pub fn number_of(value: f64) -> u32 {
    ((value * NUMBERS).round() as i64).rem_euclid(NUMBERS as i64) as u32
}

fn sensor_of(name: &str) -> u16 {
    name.trim_start_matches('s').parse().unwrap_or(u16::MAX)
}

impl Truth {
    /// Nothing was committed yet.
    pub fn of(sensors: usize) -> Self {
        Self { taken_ms: vec![Vec::new(); sensors], ..Self::default() }
    }

    /// A commit held these frames.
    pub fn committed(&mut self, store: u64, frames: &[Packed], is_told: bool) {
        // Whatever an earlier attempt staged, this one decides.
        self.untold.drain(..).for_each(|key| {
            self.frames.remove(&key);
        });
        for packed in frames {
            let key = Key { store, lane: packed.lane, sequence: packed.sequence };
            let (mut marks, mut clock) = (Vec::new(), ClockState::Synchronised);
            if let Ok(Frame { payload: Payload::Readings(batch), .. }) = Frame::decode(&packed.bytes) {
                clock = batch.clock.state;
                let sensor = |series: u16| sensor_of(batch.series[usize::from(series)].sensor.as_str());
                marks = batch.readings.iter().map(|r| (sensor(r.series), r.value.map(number_of))).collect();
            }
            self.frames.insert(key, Committed { is_told, marks, clock });
            if !is_told {
                self.untold.push(key);
            }
        }
    }

    /// The store was opened again: what it had told is there, what it had not may be.
    pub fn reopened(&mut self, store: &Store<SimShelf>) -> Result<(), Broken> {
        let heads = store.heads();
        self.untold.clear();
        for lane in Lane::ALL {
            let head = heads.lanes[lane as usize];
            let key = |sequence| Key { store: heads.store, lane, sequence };
            let waiting = self.frames.range_mut(key(head.floor)..=key(u64::MAX));
            let mut never = Vec::new();
            for (&key, frame) in waiting {
                if key.sequence < head.next {
                    frame.is_told = true;
                    let is_there = store.read(lane, key.sequence).is_ok_and(|bytes| bytes.is_some());
                    if !is_there && !store.is_explained(lane, key.sequence) {
                        return Err(broken("what was committed is there or explained", format!("{key:?}")));
                    }
                } else if frame.is_told {
                    return Err(broken("what was committed survives", format!("{key:?}, {head:?}")));
                } else {
                    never.push(key);
                }
            }
            for key in never {
                self.frames.remove(&key);
            }
        }
        if let Some(key) = self.frames.keys().find(|key| key.store != heads.store) {
            return Err(broken("the store stays the same", format!("{key:?}, now {}", heads.store)));
        }
        Ok(())
    }

    /// A frame is sent. A number never means two contents.
    pub fn handed_out(&mut self, key: Key, bytes: &[u8]) -> Result<(), Broken> {
        let checksum = wire::frame::crc32c(bytes);
        if !self.frames.get(&key).is_some_and(|frame| frame.is_told) {
            return Err(broken("only what is durable is sent", format!("{key:?}")));
        }
        match self.handed.insert(key, checksum) {
            Some(before) if before != checksum => {
                Err(broken("a number never means two contents", format!("{key:?}")))
            }
            _ => Ok(()),
        }
    }

    /// Holds the pool against what was committed.
    pub fn judge(
        &self,
        gateway: &GatewayId,
        heads: &Heads,
        state: &State,
        rows: &Rows,
        losses: &[ToldLoss],
        durable: impl Fn(Key) -> bool,
    ) -> Result<(), Broken> {
        let none = Vec::new();
        let mut next_number: HashMap<u16, u32> = HashMap::new();
        let (mut committed, mut pooled) = (0, 0);
        for (&key, frame) in
            self.frames.iter().filter(|(key, frame)| key.lane == Lane::Reading && frame.is_told)
        {
            committed += frame.marks.len() as u64;
            let rows = rows.0.get(&(gateway.clone(), key.store, key.sequence)).unwrap_or(&none);
            pooled += rows.len() as u64;
            self.judge_frame(key, frame, rows, losses, &mut next_number).map_err(|broken| {
                let at_ingest =
                    if durable(key) { "ingest answered for it" } else { "ingest never answered for it" };
                Broken { what: format!("{gateway} {}; {at_ingest}", broken.what), ..broken }
            })?;
        }
        let in_pool: u64 =
            rows.0.iter().filter(|((of, ..), _)| of == gateway).map(|(_, rows)| rows.len() as u64).sum();
        if in_pool != pooled {
            let what =
                format!("{gateway}: {in_pool} readings in the pool, {pooled} of frames that were committed");
            return Err(broken("nothing comes out of nowhere", what));
        }
        let is_unkept = |loss: &&ToldLoss| {
            let key = Key { store: loss.store, lane: loss.lane, sequence: loss.from };
            !loss.is_thinned
                && loss.from == loss.to
                && !self.frames.get(&key).is_some_and(|frame| frame.is_told)
        };
        let told = || losses.iter().filter(|loss| loss.lane == Lane::Reading);
        let unkept: u64 = told().filter(is_unkept).map(|loss| loss.count).sum();
        let lost: u64 = told().map(|loss| loss.count).sum();
        if committed + unkept > self.made {
            let what = format!("{gateway}: {} made, {committed} committed and {unkept} given up", self.made);
            return Err(broken("what is told as given up was not kept", what));
        }
        if committed + unkept != pooled + lost {
            let what = format!(
                "{gateway}: {committed} committed and {unkept} given up, but {pooled} pooled and {lost} told as lost"
            );
            return Err(broken("every reading is pooled once or told as lost", what));
        }
        for (store, lane, ledger) in state.door.lock().ledger.lanes(gateway) {
            let last = heads.lanes[lane as usize].next - 1;
            let absent =
                (1..=last).filter(|&sequence| !durable(Key { store, lane, sequence })).count() as u64;
            let found = (ledger.high_water(), ledger.missing(), ledger.lost());
            if store != heads.store || found != (last, 0, absent) {
                let what = format!(
                    "{gateway} {}: up to, missing, lost are {found:?} at ingest, {:?} at the gateway",
                    lane.as_str(),
                    (last, 0, absent)
                );
                return Err(broken("ingest's ledger is the gateway's account", what));
            }
        }
        Ok(())
    }

    fn judge_frame(
        &self,
        key: Key,
        frame: &Committed,
        rows: &[Pooled],
        losses: &[ToldLoss],
        next_number: &mut HashMap<u16, u32>,
    ) -> Result<(), Broken> {
        let told = |thinned: bool| losses.iter().any(|loss| loss.is_thinned == thinned && loss.covers(key));
        if rows.len() < frame.marks.len() && !told(!rows.is_empty()) {
            let what = format!(
                "{key:?}: {} of {} readings are in the pool, clock {:?}",
                rows.len(),
                frame.marks.len(),
                frame.clock
            );
            return Err(broken("what is missing has its loss record", what));
        }
        for row in rows {
            let (sensor, number) = row.mark;
            if !frame.marks.contains(&row.mark) {
                return Err(broken("a reading stays in its frame", format!("{key:?}: {:?}", row.mark)));
            }
            let Some(number) = number else { continue };
            let next = next_number.entry(sensor).or_default();
            if number < *next {
                let what = format!("{key:?}: sensor {sensor} reading {number} after {}", *next - 1);
                return Err(broken("readings of a sensor are in order, none twice", what));
            }
            *next = number + 1;
            let claims_right = row.clock == 2 || (row.clock == 1 && frame.clock == ClockState::Unset);
            let taken_ms = self.taken_ms[usize::from(sensor)].get(number as usize).copied().unwrap_or(0);
            let off_ms = row.at_ms - (EPOCH_MS + taken_ms as i64);
            if claims_right && off_ms.abs() > RIGHT_MS {
                let what = format!("{key:?}: sensor {sensor} reading {number} is dated {off_ms} ms off");
                return Err(broken("a time is right or marked as uncertain", what));
            }
        }
        let faults = |marks: &mut dyn Iterator<Item = Mark>| marks.filter(|mark| mark.1.is_none()).count();
        if faults(&mut rows.iter().map(|row| row.mark)) > faults(&mut frame.marks.iter().copied()) {
            return Err(broken(
                "readings of a sensor are in order, none twice",
                format!("{key:?}: a fault twice"),
            ));
        }
        Ok(())
    }
}

/// The pool by gateway, store and sequence.
pub struct Rows(BTreeMap<(GatewayId, u64, u64), Vec<Pooled>>);

impl Rows {
    /// Sorts the readings of the pool.
    pub fn of(state: &State, rows: impl Iterator<Item = (Row, Head)>) -> Self {
        let mut sorted: BTreeMap<(GatewayId, u64, u64), Vec<Pooled>> = BTreeMap::new();
        for (row, head) in rows {
            let Some(sensor) = state.sensors.get(row.sensor) else { continue };
            let pooled = Pooled {
                mark: (sensor_of(sensor.name), row.value().map(number_of)),
                at_ms: row.at_ms,
                clock: head.clock,
            };
            sorted.entry((sensor.gateway.clone(), head.store, head.sequence)).or_default().push(pooled);
        }
        Self(sorted)
    }
}
