//! Alarms: what the gateways' rules say, one entry per episode.
//!
//! Events of an episode may arrive in any order: many frames are in flight at once. What was raised first and what
//! happened last are decided by the events' own times, and a cleared episode stays cleared. An episode that only went
//! blind, and saw again, was never an alarm: it ends with its seeing. A repeat tells the newest value and is no alarm
//! of its own.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};
use wire::{AlarmEvent, AlarmKind, GatewayId, Level, Measure, Quality, QuantityCode, SensorName};

/// Most cleared alarms kept in memory; all are in the database.
pub const MAX_CLEARED: usize = 10_000;
/// Most active alarms kept in memory: far more than people can look at.
pub const MAX_ACTIVE: usize = 50_000;

/// Whether an alarm goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum AlarmState {
    /// It goes on.
    Active,
    /// It ended.
    Cleared,
    /// Its input failed: nobody knows.
    Blind,
}

impl AlarmState {
    /// The word used in JSON and SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            AlarmState::Active => "active",
            AlarmState::Cleared => "cleared",
            AlarmState::Blind => "blind",
        }
    }
}

/// The word used in JSON and SQL.
pub fn level_word(level: Level) -> &'static str {
    match level {
        Level::Blue => "blue",
        Level::Yellow => "yellow",
        Level::Orange => "orange",
        Level::Red => "red",
    }
}

/// The word used in JSON and SQL.
pub fn measure_word(measure: Measure) -> &'static str {
    match measure {
        Measure::Value => "value",
        Measure::Rise { .. } => "rise",
        Measure::Agreeing => "agreeing",
    }
}

/// A reading that decided.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct AlarmInput {
    /// The sensor.
    pub sensor: SensorName,
    /// What it measures.
    pub quantity: QuantityCode,
    /// Its value, if there was one.
    pub value: Option<f64>,
    /// How far to trust it.
    pub quality: Quality,
    /// When it was taken, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Whether it spoke for the alarm.
    pub alarming: bool,
}

/// One episode.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Alarm {
    /// The gateway that judged.
    pub gateway: GatewayId,
    /// Its number there.
    pub episode: u64,
    /// The rule.
    pub rule: String,
    /// Hash of the rule's settings.
    pub rule_version: u32,
    /// How bad, at worst.
    pub level: Level,
    /// Whether it goes on.
    pub state: AlarmState,
    /// The sensor.
    pub sensor: SensorName,
    /// What it measures.
    pub quantity: QuantityCode,
    /// When it began, in milliseconds since 1970 UTC.
    pub raised_ms: i64,
    /// When it last changed.
    pub last_ms: i64,
    /// When it ended.
    pub cleared_ms: Option<i64>,
    /// The value that decided last.
    pub value: Option<f64>,
    /// The limit.
    pub threshold: f64,
    /// Latitude, WGS-84, in 1e-7 degrees.
    pub lat_e7: i32,
    /// Longitude, WGS-84, in 1e-7 degrees.
    pub lon_e7: i32,
    /// Where it belongs.
    pub area: String,
    /// What value and limit are.
    pub measure: Measure,
    /// The worst value so far.
    pub worst: Option<f64>,
    /// When it last said that it goes on.
    pub repeated_ms: Option<i64>,
    /// The readings that decided last.
    pub inputs: Vec<AlarmInput>,
    /// What its state follows from.
    pub(super) sight: Sight,
}

/// What the events so far say of an episode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(super) struct Sight {
    /// It is or was active.
    pub(super) raised: bool,
    /// It was cleared.
    pub(super) ended: bool,
    /// Its input failed, as of `at_ms`.
    pub(super) blind: bool,
    /// The time of the newest event but repeats, in milliseconds since 1970 UTC.
    pub(super) at_ms: i64,
}

impl Sight {
    fn take(&mut self, event: &AlarmEvent, at_ms: i64) {
        use AlarmKind::{Blind, Cleared, Raised, Repeated, Seeing};
        self.raised |= matches!(event.kind, Raised | Repeated | Cleared) || event.worst.is_some();
        self.ended |= event.kind == Cleared;
        if matches!(event.kind, Raised | Blind | Seeing | Cleared) && at_ms >= self.at_ms {
            self.at_ms = at_ms;
            self.blind = event.kind == Blind;
        }
    }

    fn state(self) -> AlarmState {
        match self {
            Sight { ended: true, .. } => AlarmState::Cleared,
            Sight { blind: true, .. } => AlarmState::Blind,
            Sight { raised: true, .. } => AlarmState::Active,
            Sight { .. } => AlarmState::Cleared,
        }
    }
}

impl Alarm {
    /// Its city-wide name.
    pub fn id(&self) -> String {
        format!("{}:{:016x}", self.gateway, self.episode)
    }
}

/// The alarms in memory.
#[derive(Debug, Clone, Default)]
pub struct Alarms {
    all: BTreeMap<(GatewayId, u64), Alarm>,
    cleared: usize,
}

impl Alarms {
    /// Takes an event at WGS-84 `place` (1e-7 degrees); the alarm as it then is. `dated` gives the wall time of the
    /// gateway's monotonic times, in milliseconds since 1970 UTC.
    pub fn event(
        &mut self,
        gateway: &GatewayId,
        event: &AlarmEvent,
        dated: impl Fn(u64) -> i64,
        place: (i32, i32),
    ) -> &Alarm {
        let at_ms = dated(event.mono_ms);
        let key = (gateway.clone(), event.episode);
        if !self.all.contains_key(&key) {
            self.make_room();
        }
        let alarm = self.all.entry(key).or_insert_with(|| Alarm {
            gateway: gateway.clone(),
            episode: event.episode,
            rule: event.rule.clone(),
            rule_version: event.rule_version,
            level: event.level,
            state: AlarmState::Active,
            sensor: event.sensor.clone(),
            quantity: event.quantity,
            raised_ms: at_ms,
            last_ms: i64::MIN,
            cleared_ms: None,
            value: event.value,
            threshold: event.threshold,
            lat_e7: place.0,
            lon_e7: place.1,
            area: event.place.area.to_string(),
            measure: event.measure,
            worst: event.worst,
            repeated_ms: None,
            inputs: Vec::new(),
            sight: Sight { raised: false, ended: false, blind: false, at_ms: i64::MIN },
        });
        alarm.raised_ms = alarm.raised_ms.min(at_ms);
        alarm.level = alarm.level.max(event.level);
        if event.kind == AlarmKind::Repeated {
            alarm.repeated_ms = alarm.repeated_ms.max(Some(at_ms));
        }
        if at_ms >= alarm.last_ms {
            alarm.last_ms = at_ms;
            alarm.value = event.value.or(alarm.value);
            alarm.worst = event.worst.or(alarm.worst);
            alarm.threshold = event.threshold;
            alarm.measure = event.measure;
            alarm.rule_version = event.rule_version;
            alarm.inputs = (event.inputs.iter())
                .map(|input| AlarmInput {
                    sensor: input.sensor.clone(),
                    quantity: input.quantity,
                    value: input.value,
                    quality: input.quality,
                    at_ms: dated(input.mono_ms),
                    alarming: input.alarming,
                })
                .collect();
        }
        let was_cleared = alarm.state == AlarmState::Cleared;
        let had_ended = alarm.sight.ended;
        alarm.sight.take(event, at_ms);
        alarm.state = alarm.sight.state();
        let is_cleared = alarm.state == AlarmState::Cleared;
        alarm.cleared_ms = match (is_cleared, had_ended) {
            (true, true) => alarm.cleared_ms,
            (true, false) if alarm.sight.ended => Some(at_ms),
            (true, false) => Some(alarm.sight.at_ms),
            (false, _) => None,
        };
        self.cleared = self.cleared - usize::from(was_cleared) + usize::from(is_cleared);
        alarm
    }

    /// All alarms in memory.
    pub fn iter(&self) -> impl Iterator<Item = &Alarm> {
        self.all.values()
    }

    /// Cleared alarms go before active ones, old before new.
    fn make_room(&mut self) {
        if self.cleared >= MAX_CLEARED {
            self.drop_oldest(MAX_CLEARED / 10, |alarm| alarm.state == AlarmState::Cleared);
        }
        if self.all.len() - self.cleared >= MAX_ACTIVE {
            self.drop_oldest(MAX_ACTIVE / 10, |alarm| alarm.state != AlarmState::Cleared);
        }
    }

    fn drop_oldest(&mut self, count: usize, which: impl Fn(&Alarm) -> bool) {
        let mut oldest: Vec<(i64, (GatewayId, u64))> = (self.all.iter())
            .filter(|(_, alarm)| which(alarm))
            .map(|(key, alarm)| (alarm.last_ms, key.clone()))
            .collect();
        oldest.sort();
        for (_, key) in oldest.into_iter().take(count) {
            self.all.remove(&key);
        }
        self.cleared = self.all.values().filter(|alarm| alarm.state == AlarmState::Cleared).count();
    }

    /// For the checkpoint.
    pub(super) fn to_list(&self) -> Vec<Alarm> {
        self.all.values().cloned().collect()
    }

    /// From the checkpoint.
    pub(super) fn from_list(list: Vec<Alarm>) -> Self {
        let cleared = list.iter().filter(|alarm| alarm.state == AlarmState::Cleared).count();
        let all = list.into_iter().map(|alarm| ((alarm.gateway.clone(), alarm.episode), alarm)).collect();
        Self { all, cleared }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::{Area, Datum, Place, Quality};

    fn event(kind: AlarmKind, level: Level, value: f64) -> AlarmEvent {
        AlarmEvent {
            episode: 7,
            rule: "kiln-hot".into(),
            rule_version: 1,
            kind,
            level,
            sensor: SensorName::new("kiln.t").unwrap(),
            quantity: QuantityCode(1),
            place: Place::new(30.66, 104.02, Datum::Wgs84, Area::unknown()).unwrap(),
            mono_ms: 0,
            value: Some(value),
            quality: Quality::Good,
            threshold: 80.0,
            measure: Measure::Value,
            worst: None,
            inputs: Vec::new(),
        }
    }

    /// The one alarm after events at these times.
    fn told(events: &[(i64, AlarmEvent)]) -> Alarm {
        let mut alarms = Alarms::default();
        for (at_ms, event) in events {
            alarms.event(&GatewayId::new("g").unwrap(), event, |mono_ms| at_ms + mono_ms as i64, (0, 0));
        }
        let count = alarms.iter().filter(|alarm| alarm.state == AlarmState::Cleared).count();
        assert_eq!(alarms.cleared, count);
        alarms.iter().next().unwrap().clone()
    }

    #[test]
    fn any_order_of_arrival_tells_the_same_story() {
        use AlarmKind::{Blind, Cleared, Raised, Repeated, Seeing};
        let worst = |value, event| AlarmEvent { worst: Some(value), ..event };
        let story = [
            (1000, worst(81.0, event(Raised, Level::Yellow, 81.0))),
            (2000, worst(120.0, event(Raised, Level::Red, 120.0))),
            (3000, worst(120.0, event(Blind, Level::Red, 120.0))),
            (3500, worst(120.0, event(Repeated, Level::Red, 119.0))),
            (4000, worst(120.0, event(Seeing, Level::Red, 110.0))),
            (4500, worst(120.0, event(Repeated, Level::Red, 100.0))),
            (5000, worst(120.0, event(Cleared, Level::Red, 60.0))),
        ];
        let only_blind = [(1000, event(Blind, Level::Red, 20.0)), (2000, event(Seeing, Level::Red, 20.0))];
        type Case<'a> = (&'a str, &'a [(i64, AlarmEvent)], AlarmState, Option<i64>, Option<i64>);
        let cases: [Case<'_>; 8] = [
            ("raised", &story[..1], AlarmState::Active, None, None),
            ("blind is not cleared", &story[..3], AlarmState::Blind, None, None),
            ("a repeat does not give sight", &story[..4], AlarmState::Blind, None, Some(3500)),
            ("seeing", &story[..5], AlarmState::Active, None, Some(3500)),
            ("the newest repeat", &story[..6], AlarmState::Active, None, Some(4500)),
            ("cleared", &story, AlarmState::Cleared, Some(5000), Some(4500)),
            ("blind without an alarm", &only_blind[..1], AlarmState::Blind, None, None),
            (
                "it ends with the seeing, and was never active",
                &only_blind,
                AlarmState::Cleared,
                Some(2000),
                None,
            ),
        ];
        for (name, events, state, cleared_ms, repeated_ms) in cases {
            let straight = told(events);
            assert_eq!(
                (straight.state, straight.cleared_ms, straight.repeated_ms),
                (state, cleared_ms, repeated_ms),
                "{name}"
            );
            for seed in 0..50 {
                let mut shuffled = events.to_vec();
                fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);
                assert_eq!(told(&shuffled), straight, "{name}: {shuffled:?}");
            }
        }
        let all = told(&story);
        assert_eq!(
            (all.raised_ms, all.level, all.value, all.worst),
            (1000, Level::Red, Some(60.0), Some(120.0))
        );
    }

    #[test]
    fn the_readings_that_decided_last_are_shown_with_their_times() {
        let input = |value: f64, mono_ms| wire::Input {
            sensor: SensorName::new("kiln.t").unwrap(),
            quantity: QuantityCode(1),
            value: Some(value),
            quality: Quality::Suspect,
            mono_ms,
            alarming: true,
        };
        let with = |value, event| AlarmEvent { inputs: vec![input(value, 7)], ..event };
        let alarm = told(&[
            (2000, with(99.0, event(AlarmKind::Repeated, Level::Red, 99.0))),
            (1000, with(81.0, event(AlarmKind::Raised, Level::Red, 81.0))),
        ]);
        let [shown] = &alarm.inputs[..] else { panic!("{:?}", alarm.inputs) };
        assert_eq!((shown.value, shown.quality, shown.at_ms), (Some(99.0), Quality::Suspect, 2007));
    }
}
