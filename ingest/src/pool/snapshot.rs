//! The state as a checkpoint: everything that the log before it gave and that is not in Parquet or SQL.
//!
//! Windows are not part of it: those that matter are rebuilt from the Parquet partials, and from the readings whose
//! windows are not in Parquet yet. The table of sensors is either a part of it, as it always was in earlier checkpoints,
//! or lies beside it in [`super::pages`].

use std::collections::VecDeque;

use bincode::{Decode, Encode};
use wire::{Area, Codec, Frame, GatewayId, Lane, Level, Measure, QuantityCode, SensorName};

use super::alarms::{Alarm, AlarmState, Alarms, Sight};
use super::apply::{decode, decode_first, encode};
use super::gateways::{Gateway, Gateways};
use super::ledger::{LaneLedger, Ledger};
use super::losses::Reports;
use super::pages::{Outline, Page, PageKind};
use super::sensors::{Last, Sensor, Sensors};
use super::waiting::{Waiter, Waiting};
use super::{Rules, State, Totals};

#[derive(Encode)]
struct Written<'a, A> {
    totals: Totals,
    ledger: Vec<(&'a GatewayId, u64, Lane, &'a LaneLedger)>,
    packs: Vec<(&'a GatewayId, Vec<u128>)>,
    sensors: Vec<SensorRecord>,
    areas: &'a [Area],
    gateways: Vec<(&'a GatewayId, &'a Gateway)>,
    alarms: Vec<A>,
    replayed: Vec<u64>,
    /// When received, and the frame as bytes.
    waiting: Vec<(i64, Vec<u8>)>,
}

#[derive(Decode)]
struct Read<A> {
    totals: Totals,
    ledger: Vec<(GatewayId, u64, Lane, LaneLedger)>,
    packs: Vec<(GatewayId, Vec<u128>)>,
    sensors: Vec<SensorRecord>,
    areas: Vec<Area>,
    gateways: Vec<(GatewayId, Gateway)>,
    alarms: Vec<A>,
    replayed: Vec<u64>,
    /// When received, and the frame as bytes.
    waiting: Vec<(i64, Vec<u8>)>,
}

/// A sensor as checkpoints have it. Label and chip are in SQL and stay empty; earlier ones had them here too.
#[derive(Encode, Decode)]
struct SensorRecord {
    gateway: GatewayId,
    name: SensorName,
    quantity: QuantityCode,
    lat_e7: i32,
    lon_e7: i32,
    area: u32,
    former_areas: Vec<u32>,
    label: String,
    chip: String,
    last: Option<Last>,
}

fn to_records(sensors: &Sensors) -> Vec<SensorRecord> {
    let (_, former_areas) = sensors.area_parts();
    let record = |sensor: Sensor<'_>| {
        let former = former_areas.get(&sensor.number).into_iter().flatten();
        Some(SensorRecord {
            gateway: sensor.gateway.clone(),
            name: SensorName::new(sensor.name).ok()?,
            quantity: sensor.quantity,
            lat_e7: sensor.lat_e7,
            lon_e7: sensor.lon_e7,
            area: sensor.area,
            former_areas: former.map(|&area| u32::from(area)).collect(),
            label: String::new(),
            chip: String::new(),
            last: sensor.last,
        })
    };
    sensors.iter().filter_map(record).collect()
}

/// The table of sensors; `None` when they are more than it can hold.
fn from_records(records: &[SensorRecord], areas: &[Area]) -> Option<Sensors> {
    let mut sensors = Sensors::default();
    // Numbers stay what they were, unless there were more areas than there may be now.
    let numbers: Vec<u32> = areas.iter().map(|area| sensors.area_number(area)).collect();
    let number = |area: u32| numbers.get(area as usize).copied().unwrap_or(area);
    for (at, record) in (0..).zip(records) {
        let former: Vec<u16> = record.former_areas.iter().map(|&area| number(area) as u16).collect();
        let sensor = Sensor {
            number: at,
            gateway: &record.gateway,
            name: record.name.as_str(),
            quantity: record.quantity,
            lat_e7: record.lat_e7,
            lon_e7: record.lon_e7,
            area: number(record.area),
            last: record.last,
        };
        if !sensors.put_back(&record.name, &sensor, &former) {
            return None;
        }
    }
    Some(sensors)
}

/// An alarm in checkpoints made before alarms told what decided them.
#[derive(Encode, Decode)]
struct EarlierAlarm {
    gateway: GatewayId,
    episode: u64,
    rule: String,
    rule_version: u32,
    level: Level,
    state: AlarmState,
    sensor: SensorName,
    quantity: QuantityCode,
    raised_ms: i64,
    last_ms: i64,
    cleared_ms: Option<i64>,
    value: Option<f64>,
    threshold: f64,
    lat_e7: i32,
    lon_e7: i32,
    area: String,
}

impl From<EarlierAlarm> for Alarm {
    fn from(earlier: EarlierAlarm) -> Self {
        Self {
            gateway: earlier.gateway,
            episode: earlier.episode,
            rule: earlier.rule,
            rule_version: earlier.rule_version,
            level: earlier.level,
            state: earlier.state,
            sensor: earlier.sensor,
            quantity: earlier.quantity,
            raised_ms: earlier.raised_ms,
            last_ms: earlier.last_ms,
            cleared_ms: earlier.cleared_ms,
            value: earlier.value,
            threshold: earlier.threshold,
            lat_e7: earlier.lat_e7,
            lon_e7: earlier.lon_e7,
            area: earlier.area,
            measure: Measure::Value,
            worst: None,
            repeated_ms: None,
            inputs: Vec::new(),
            // Whether a blind one was ever raised was not kept: rather one too many on the list than one too few.
            sight: Sight {
                raised: true,
                ended: earlier.state == AlarmState::Cleared,
                blind: earlier.state == AlarmState::Blind,
                at_ms: earlier.last_ms,
            },
        }
    }
}

impl Read<EarlierAlarm> {
    fn upgraded(self) -> Read<Alarm> {
        Read {
            alarms: self.alarms.into_iter().map(Alarm::from).collect(),
            totals: self.totals,
            ledger: self.ledger,
            packs: self.packs,
            sensors: self.sensors,
            areas: self.areas,
            gateways: self.gateways,
            replayed: self.replayed,
            waiting: self.waiting,
        }
    }
}

/// What of the table of sensors is not in its pages, and which of these SQL does not have yet.
type Beside = (Outline, Vec<u32>);

/// A body and what lies behind it, if all of it is understood: each part came with a later version.
fn body<A: Decode<()>>(bytes: &[u8]) -> Option<(Read<A>, Reports, Option<Beside>)> {
    let (read, later) = decode_first(bytes)?;
    if later.is_empty() {
        return Some((read, Reports::default(), None));
    }
    let (losses, later) = decode_first(later)?;
    if later.is_empty() {
        return Some((read, losses, None));
    }
    let (outline, later) = decode_first(later)?;
    // Before, a checkpoint waited until SQL had everything.
    let unsaved = if later.is_empty() { Vec::new() } else { decode(later)? };
    Some((read, losses, Some((outline, unsaved))))
}

/// The state but for its [`pages`](super::pages), as a checkpoint writes it.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The bytes of all but the sensors.
    pub body: Vec<u8>,
    /// Pages of sensors that changed since the last one.
    pub pages: Vec<Page>,
    /// From this position of the log on, readings may be missing in the pages.
    pub missing_from: u64,
}

impl State {
    /// The whole state as bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        self.encoded(self.alarms.to_list(), to_records(&self.sensors))
    }

    /// What a checkpoint has to write.
    pub fn take_snapshot(&mut self) -> Snapshot {
        let (pages, missing_from) = self.sensors.take_pages(self.position);
        let mut body = self.encoded(self.alarms.to_list(), Vec::new());
        body.extend(encode(&self.sensors.outline()));
        body.extend(encode(&self.sensors.unsaved.pages()));
        Snapshot { body, pages, missing_from }
    }

    fn encoded<A: Encode>(&self, alarms: Vec<A>, sensors: Vec<SensorRecord>) -> Vec<u8> {
        let door = self.door.lock();
        let mut packs: Vec<(&GatewayId, Vec<u128>)> =
            (door.packs.iter()).map(|(source, packs)| (source, packs.iter().copied().collect())).collect();
        packs.sort();
        let (areas, _) = self.sensors.area_parts();
        let mut bytes = encode(&Written {
            totals: self.totals,
            ledger: door.ledger.to_list(),
            packs,
            sensors,
            areas,
            gateways: self.gateways.to_list(),
            alarms,
            replayed: self.replayed.iter().copied().collect(),
            // It came in as a frame, so it goes out as one.
            waiting: (self.waiting.iter())
                .map(|waiter| (waiter.received_ms, waiter.frame.encode(Codec::best()).unwrap_or_default()))
                .collect(),
        });
        // What came later lies behind: an older ingest passes it over, and its checkpoints have none.
        bytes.extend(encode(&self.losses));
        bytes
    }

    /// The state from the bytes of a checkpoint at `position`, with the counts of files as they are after it;
    /// `None` when the bytes are of another version.
    pub fn restore(rules: Rules, position: u64, files: u64, rows: u64, bytes: &[u8]) -> Option<Self> {
        Self::restore_with(rules, position, files, rows, bytes, position, |_, _| None)
    }

    /// The same with the pages that `page` reads, in which readings may be missing from position `missing_from` of
    /// the log on.
    pub fn restore_with(
        rules: Rules,
        position: u64,
        files: u64,
        rows: u64,
        bytes: &[u8],
        missing_from: u64,
        page: impl FnMut(PageKind, u32) -> Option<Vec<u8>>,
    ) -> Option<Self> {
        let (read, losses, outline) = body::<Alarm>(bytes).or_else(|| {
            let (read, losses, outline) = body::<EarlierAlarm>(bytes)?;
            Some((read.upgraded(), losses, outline))
        })?;
        let mut state = State::new(rules);
        state.position = position;
        state.checkpoint = position;
        state.windows_kept = position;
        state.current.from = position;
        state.totals = Totals { parquet_files: files, parquet_rows: rows, ..read.totals };
        {
            let mut door = state.door.lock();
            door.ledger = Ledger::from_list(read.ledger);
            door.packs =
                read.packs.into_iter().map(|(source, packs)| (source, VecDeque::from(packs))).collect();
        }
        state.sensors = match outline {
            Some((outline, unsaved)) => {
                let mut sensors = Sensors::from_pages(outline, &read.areas, missing_from, page)?;
                let rows = sensors.len();
                sensors.unsaved.put_back(&unsaved, rows);
                sensors
            }
            None => from_records(&read.sensors, &read.areas)?,
        };
        state.gateways = Gateways::from_list(read.gateways);
        state.losses = losses;
        state.alarms = Alarms::from_list(read.alarms);
        let waiting = read
            .waiting
            .into_iter()
            .map(|(received_ms, bytes)| Frame::decode(&bytes).map(|frame| Waiter { received_ms, frame }));
        state.waiting = Waiting::from_list(waiting.collect::<Result<_, _>>().ok()?);
        state.replayed = read.replayed.into_iter().collect();
        Some(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_made_before_alarms_told_their_inputs_is_read() {
        let earlier = |episode, state| EarlierAlarm {
            gateway: GatewayId::new("g").unwrap(),
            episode,
            rule: "hot".into(),
            rule_version: 1,
            level: Level::Red,
            state,
            sensor: SensorName::new("s").unwrap(),
            quantity: QuantityCode(1),
            raised_ms: 1_000,
            last_ms: 2_000,
            cleared_ms: (state == AlarmState::Cleared).then_some(2_000),
            value: Some(81.0),
            threshold: 80.0,
            lat_e7: 1,
            lon_e7: 2,
            area: "a".into(),
        };
        let states = [AlarmState::Active, AlarmState::Blind, AlarmState::Cleared];
        let alarms: Vec<EarlierAlarm> = (0..).zip(states).map(|(n, state)| earlier(n, state)).collect();
        let rules = super::super::tests::rules;
        let bytes = State::new(rules()).encoded(alarms, Vec::new());
        let state = State::restore(rules(), 7, 0, 0, &bytes).expect("read");
        let found: Vec<(AlarmState, Option<i64>, Measure)> =
            state.alarms.iter().map(|alarm| (alarm.state, alarm.cleared_ms, alarm.measure)).collect();
        let value = Measure::Value;
        assert_eq!(
            found,
            [
                (AlarmState::Active, None, value),
                (AlarmState::Blind, None, value),
                (AlarmState::Cleared, Some(2_000), value)
            ]
        );
        // And in the words of today from then on.
        let again = State::restore(rules(), 7, 0, 0, &state.snapshot()).expect("read");
        assert!(again.alarms.iter().eq(state.alarms.iter()));
    }
}
