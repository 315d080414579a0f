//! Alarms: what the gateways' rules say, one entry per episode.
//!
//! Events of an episode may arrive in any order: many frames are in flight at once. What was raised first and what
//! happened last are decided by the events' own times, and a cleared episode stays cleared.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};
use wire::{AlarmEvent, AlarmKind, GatewayId, Level, QuantityCode, SensorName};

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
    /// Takes an event dated `at_ms` at WGS-84 `place` (1e-7 degrees); the alarm as it then is.
    pub fn event(
        &mut self,
        gateway: &GatewayId,
        event: &AlarmEvent,
        at_ms: i64,
        place: (i32, i32),
    ) -> &Alarm {
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
        });
        alarm.raised_ms = alarm.raised_ms.min(at_ms);
        alarm.level = alarm.level.max(event.level);
        if event.kind == AlarmKind::Cleared && alarm.state != AlarmState::Cleared {
            alarm.state = AlarmState::Cleared;
            alarm.cleared_ms = Some(at_ms);
            self.cleared += 1;
        }
        if at_ms >= alarm.last_ms {
            alarm.last_ms = at_ms;
            alarm.value = event.value.or(alarm.value);
            alarm.threshold = event.threshold;
            alarm.rule_version = event.rule_version;
            if alarm.state != AlarmState::Cleared {
                alarm.state = match event.kind {
                    AlarmKind::Blind => AlarmState::Blind,
                    _ => AlarmState::Active,
                };
            }
        }
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
        }
    }

    #[test]
    fn any_order_of_arrival_tells_the_same_story() {
        use AlarmKind::{Blind, Cleared, Raised, Seeing};
        let events = [
            (1000, event(Raised, Level::Yellow, 81.0)),
            (2000, event(Raised, Level::Red, 120.0)),
            (3000, event(Blind, Level::Red, 120.0)),
            (4000, event(Seeing, Level::Red, 110.0)),
            (5000, event(Cleared, Level::Red, 60.0)),
        ];
        let gateway = GatewayId::new("g").unwrap();
        let mut orders = vec![vec![0, 1, 2, 3, 4]];
        for seed in 0..50 {
            let mut order = orders[0].clone();
            fastrand::Rng::with_seed(seed).shuffle(&mut order);
            orders.push(order);
        }
        for order in orders {
            let mut alarms = Alarms::default();
            for &index in &order {
                alarms.event(&gateway, &events[index].1, events[index].0, (0, 0));
            }
            let alarm = alarms.iter().next().unwrap();
            assert_eq!(
                (alarm.raised_ms, alarm.last_ms, alarm.cleared_ms),
                (1000, 5000, Some(5000)),
                "{order:?}"
            );
            assert_eq!(
                (alarm.state, alarm.level, alarm.value),
                (AlarmState::Cleared, Level::Red, Some(60.0))
            );
        }
    }

    #[test]
    fn blind_is_not_cleared() {
        let gateway = GatewayId::new("g").unwrap();
        let mut alarms = Alarms::default();
        alarms.event(&gateway, &event(AlarmKind::Raised, Level::Red, 99.0), 1000, (0, 0));
        let alarm = alarms.event(&gateway, &event(AlarmKind::Blind, Level::Red, 99.0), 2000, (0, 0));
        assert_eq!((alarm.state, alarm.cleared_ms), (AlarmState::Blind, None));
        let alarm = alarms.event(&gateway, &event(AlarmKind::Seeing, Level::Red, 99.0), 3000, (0, 0));
        assert_eq!(alarm.state, AlarmState::Active);
    }
}
