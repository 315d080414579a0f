//! Alarms: thresholds with deadband, on-delay and off-delay. Pure.
//!
//! ```text
//!            beyond                     beyond for on_delay
//!   quiet ───────────► pending ──────────────────────────► active ◄────────┐
//!     ▲                   │ back                             │ back by      │ beyond the
//!     └───────────────────┘                                  ▼ the deadband │ deadband again, or fault
//!     └───────────────────────────────────────────────── clearing ──────────┘
//!                     back for off_delay
//! ```
//!
//! - Time passes only with readings: a delay has run out when a reading after it still says so, so that one lonely
//!   sample of a slow sensor never proves that something lasted.
//! - A reading without a usable value (fault, out of range) never clears anything and does not count towards the
//!   off-delay. After [`BLIND_AFTER`] of them in a row the rule is blind: it says so with an event of its own, and
//!   says `seeing` when values come back. An on-delay goes on through a fault: the danger may well be the reason.
//! - What is active survives a restart: [`Rules::restore`] takes the last event of each rule.

use std::collections::HashMap;

use wire::{AlarmEvent, AlarmKind, BootId, Quality};

use crate::batch::Judged;
use crate::config::{Direction, Rule, Sensor};

/// Readings without a usable value, in a row, before a rule calls itself blind: one may be a glitch on the wire.
pub const BLIND_AFTER: u32 = 2;

/// All rules of a gateway and where they stand.
#[derive(Debug)]
pub struct Rules {
    rules: Vec<Watch>,
    /// Rules of each sensor, by its number.
    by_sensor: HashMap<u16, Vec<usize>>,
    episodes: Episodes,
}

#[derive(Debug)]
struct Watch {
    rule: Rule,
    version: u32,
    sensor: Sensor,
    phase: Phase,
    /// Unusable readings in a row.
    unusable: u32,
    /// The episode of the blind event, while blind.
    blind: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Quiet,
    Pending { since_ms: u64 },
    Active { episode: u64 },
    Clearing { episode: u64, since_ms: u64 },
}

/// Numbers for episodes: unique per gateway without a counter on disk, and below 2^53.
#[derive(Debug)]
struct Episodes {
    boot: u64,
    count: u64,
}

impl Episodes {
    fn next(&mut self) -> u64 {
        self.count += 1;
        (self.boot & 0xffff_ffff) << 20 | self.count & 0xf_ffff
    }
}

impl Rules {
    /// All rules, quiet.
    pub fn new(rules: &[Rule], sensors: &[Sensor], boot: BootId) -> Self {
        let mut watches = Vec::with_capacity(rules.len());
        let mut by_sensor: HashMap<u16, Vec<usize>> = HashMap::new();
        for rule in rules {
            let Some(sensor) = sensors.get(usize::from(rule.sensor)) else { continue };
            by_sensor.entry(rule.sensor).or_default().push(watches.len());
            watches.push(Watch {
                version: rule.version(&sensor.name),
                rule: rule.clone(),
                sensor: sensor.clone(),
                phase: Phase::Quiet,
                unusable: 0,
                blind: None,
            });
        }
        Self { rules: watches, by_sensor, episodes: Episodes { boot: boot.0, count: 0 } }
    }

    /// Goes on where an earlier start left: `saved` holds the last event of each rule that was not quiet.
    /// Gives back clearings, at `now_ms`, for alarms whose rule or sensor is no longer configured.
    pub fn restore(&mut self, saved: Vec<AlarmEvent>, now_ms: u64) -> Vec<AlarmEvent> {
        let mut orphans = Vec::new();
        for event in saved {
            let watch =
                self.rules.iter_mut().find(|w| w.rule.name == event.rule && w.sensor.name == event.sensor);
            let Some(watch) = watch else {
                orphans.push(AlarmEvent {
                    kind: AlarmKind::Cleared,
                    mono_ms: now_ms,
                    value: None,
                    quality: Quality::Fault,
                    ..event
                });
                continue;
            };
            match event.kind {
                AlarmKind::Raised | AlarmKind::Seeing => {
                    watch.phase = Phase::Active { episode: event.episode }
                }
                AlarmKind::Blind => watch.blind = Some(event.episode),
                AlarmKind::Cleared => {}
            }
            if watch.blind.is_some() {
                watch.unusable = BLIND_AFTER;
            }
        }
        orphans
    }

    /// What to remember of the rule of `event`: the events that [`Rules::restore`] needs, empty when it is quiet
    /// and sees. Ask after each event.
    pub fn memory(&self, event: &AlarmEvent) -> Vec<AlarmEvent> {
        let Some(watch) =
            self.rules.iter().find(|w| w.rule.name == event.rule && w.sensor.name == event.sensor)
        else {
            return Vec::new();
        };
        let active = match watch.phase {
            Phase::Active { episode } | Phase::Clearing { episode, .. } => Some((AlarmKind::Raised, episode)),
            Phase::Quiet | Phase::Pending { .. } => None,
        };
        let blind = watch.blind.map(|episode| (AlarmKind::Blind, episode));
        [active, blind]
            .into_iter()
            .flatten()
            .map(|(kind, episode)| AlarmEvent { kind, episode, ..event.clone() })
            .collect()
    }

    /// Judges one reading; the events it causes, oldest first.
    pub fn judge(&mut self, reading: &Judged) -> Vec<AlarmEvent> {
        let Some(numbers) = self.by_sensor.get(&reading.sensor) else { return Vec::new() };
        let mut events = Vec::new();
        for &number in numbers {
            if let Some(watch) = self.rules.get_mut(number) {
                watch.judge(reading, &mut self.episodes, &mut events);
            }
        }
        events
    }

    /// Alarms that are active now, and rules that are blind.
    pub fn standing(&self) -> (usize, usize) {
        let active = |w: &&Watch| matches!(w.phase, Phase::Active { .. } | Phase::Clearing { .. });
        (self.rules.iter().filter(active).count(), self.rules.iter().filter(|w| w.blind.is_some()).count())
    }
}

impl Watch {
    fn judge(&mut self, reading: &Judged, episodes: &mut Episodes, events: &mut Vec<AlarmEvent>) {
        let Some(value) = reading.value.filter(|_| reading.quality.is_usable()) else {
            self.unusable = self.unusable.saturating_add(1);
            if let Phase::Clearing { episode, .. } = self.phase {
                self.phase = Phase::Active { episode };
            }
            if self.unusable >= BLIND_AFTER && self.blind.is_none() {
                let episode = match self.phase {
                    Phase::Active { episode } | Phase::Clearing { episode, .. } => episode,
                    Phase::Quiet | Phase::Pending { .. } => episodes.next(),
                };
                self.blind = Some(episode);
                events.push(self.event(AlarmKind::Blind, episode, reading));
            }
            return;
        };
        self.unusable = 0;
        if let Some(episode) = self.blind.take() {
            events.push(self.event(AlarmKind::Seeing, episode, reading));
        }
        let now_ms = reading.mono_ms;
        let (beyond, back) = match self.rule.direction {
            Direction::Above => {
                (value > self.rule.threshold, value <= self.rule.threshold - self.rule.deadband)
            }
            Direction::Below => {
                (value < self.rule.threshold, value >= self.rule.threshold + self.rule.deadband)
            }
        };
        self.phase = match self.phase {
            Phase::Quiet | Phase::Pending { .. } if !beyond => Phase::Quiet,
            Phase::Quiet => self.hold(now_ms, now_ms, reading, episodes, events),
            Phase::Pending { since_ms } => self.hold(since_ms, now_ms, reading, episodes, events),
            Phase::Active { episode } | Phase::Clearing { episode, .. } if !back => Phase::Active { episode },
            Phase::Active { episode } => self.ease(episode, now_ms, now_ms, reading, events),
            Phase::Clearing { episode, since_ms } => self.ease(episode, since_ms, now_ms, reading, events),
        };
    }

    /// Beyond the threshold since `since_ms`.
    fn hold(
        &self,
        since_ms: u64,
        now_ms: u64,
        reading: &Judged,
        episodes: &mut Episodes,
        events: &mut Vec<AlarmEvent>,
    ) -> Phase {
        if now_ms.saturating_sub(since_ms) < self.rule.on_delay_ms {
            return Phase::Pending { since_ms };
        }
        let episode = episodes.next();
        events.push(self.event(AlarmKind::Raised, episode, reading));
        Phase::Active { episode }
    }

    /// Back behind the deadband since `since_ms`.
    fn ease(
        &self,
        episode: u64,
        since_ms: u64,
        now_ms: u64,
        reading: &Judged,
        events: &mut Vec<AlarmEvent>,
    ) -> Phase {
        if now_ms.saturating_sub(since_ms) < self.rule.off_delay_ms {
            return Phase::Clearing { episode, since_ms };
        }
        events.push(self.event(AlarmKind::Cleared, episode, reading));
        Phase::Quiet
    }

    fn event(&self, kind: AlarmKind, episode: u64, reading: &Judged) -> AlarmEvent {
        AlarmEvent {
            episode,
            rule: self.rule.name.clone(),
            rule_version: self.version,
            kind,
            level: self.rule.level,
            sensor: self.sensor.name.clone(),
            quantity: self.sensor.quantity.code,
            place: self.sensor.place.clone(),
            mono_ms: reading.mono_ms,
            value: reading.value,
            quality: reading.quality,
            threshold: self.rule.threshold,
        }
    }
}

#[cfg(test)]
mod tests {
    use wire::Level;

    use super::*;
    use crate::testing::sensors;

    fn rule() -> Rule {
        Rule {
            name: "hot".into(),
            sensor: 0,
            direction: Direction::Above,
            threshold: 60.0,
            deadband: 5.0,
            on_delay_ms: 0,
            off_delay_ms: 0,
            level: Level::Red,
        }
    }

    fn rules(rule: &Rule) -> Rules {
        Rules::new(std::slice::from_ref(rule), &sensors(2), BootId(1))
    }

    const FAULT: f64 = f64::NAN;

    fn reading(second: u64, value: f64) -> Judged {
        let (value, quality) =
            if value.is_nan() { (None, Quality::Fault) } else { (Some(value), Quality::Good) };
        Judged { sensor: 0, mono_ms: second * 1000, value, quality }
    }

    /// Feeds one value a second and tells what happened, as `second kind` words.
    fn story(rules: &mut Rules, from: u64, values: &[f64]) -> String {
        let mut words = Vec::new();
        for (second, value) in (from..).zip(values) {
            for event in rules.judge(&reading(second, *value)) {
                words.push(format!("{second}{}", format!("{:?}", event.kind).to_lowercase()));
            }
        }
        words.join(" ")
    }

    #[test]
    fn a_table_of_stories() {
        let delayed = Rule { on_delay_ms: 2_000, off_delay_ms: 3_000, ..rule() };
        let below = Rule { direction: Direction::Below, threshold: 10.0, deadband: 1.0, ..rule() };
        let cases: &[(&str, &Rule, &[f64], &str)] = &[
            ("the limit itself is no alarm", &rule(), &[60.0, 60.0], ""),
            ("raised and cleared", &rule(), &[20.0, 61.0, 62.0, 50.0], "1raised 3cleared"),
            ("the deadband holds", &rule(), &[61.0, 58.0, 55.1, 61.0, 55.0], "0raised 4cleared"),
            ("a fleeting spike is ignored", &delayed, &[61.0, 61.0, 20.0, 61.0, 20.0], ""),
            ("the on-delay runs out", &delayed, &[61.0, 61.0, 61.0], "2raised"),
            (
                "chatter does not clear",
                &delayed,
                &[61.0, 61.0, 61.0, 50.0, 50.0, 61.0, 50.0, 50.0, 50.0],
                "2raised",
            ),
            (
                "the off-delay runs out",
                &delayed,
                &[61.0, 61.0, 61.0, 50.0, 50.0, 50.0, 50.0],
                "2raised 6cleared",
            ),
            ("too little", &below, &[20.0, 9.9, 10.5, 11.0], "1raised 3cleared"),
            ("one fault is a glitch", &rule(), &[20.0, FAULT, 20.0], ""),
            ("two are blindness", &rule(), &[20.0, FAULT, FAULT, FAULT, 20.0], "2blind 4seeing"),
            ("a fault never clears", &rule(), &[61.0, FAULT, FAULT, FAULT], "0raised 2blind"),
            ("seeing, then cleared", &rule(), &[61.0, FAULT, FAULT, 20.0], "0raised 2blind 3seeing 3cleared"),
            (
                "seeing, still active",
                &rule(),
                &[61.0, FAULT, FAULT, 61.0, 20.0],
                "0raised 2blind 3seeing 4cleared",
            ),
            (
                "blind time does not count towards the off-delay",
                &delayed,
                &[61.0, 61.0, 61.0, 50.0, 50.0, FAULT, 50.0, 50.0, 50.0, 50.0],
                "2raised 9cleared",
            ),
            ("a fault does not end the on-delay", &delayed, &[61.0, FAULT, 61.0], "2raised"),
        ];
        for (name, rule, values, expected) in cases {
            assert_eq!(story(&mut rules(rule), 0, values), *expected, "{name}");
        }
    }

    #[test]
    fn an_impossible_value_is_as_good_as_none_and_a_suspect_one_counts() {
        let mut r = rules(&rule());
        let of = |second, quality| Judged { quality, ..reading(second, 999.0) };
        assert!(r.judge(&of(0, Quality::OutOfRange)).is_empty());
        assert_eq!(r.judge(&of(1, Quality::OutOfRange))[0].kind, AlarmKind::Blind);
        let kinds: Vec<AlarmKind> = r.judge(&of(2, Quality::Suspect)).iter().map(|e| e.kind).collect();
        assert_eq!(kinds, [AlarmKind::Seeing, AlarmKind::Raised]);
        assert!(r.judge(&Judged { sensor: 1, ..reading(3, 99.0) }).is_empty(), "another sensor has no rule");
    }

    #[test]
    fn one_life_one_episode() {
        let mut r = rules(&rule());
        let mut episodes = Vec::new();
        for (second, value) in (0..).zip([61.0, FAULT, FAULT, 61.0, 20.0, 61.0, 20.0, FAULT, FAULT, 20.0]) {
            for event in r.judge(&reading(second, value)) {
                assert_eq!((event.rule.as_str(), event.threshold, event.level), ("hot", 60.0, Level::Red));
                episodes.push(event.episode);
            }
        }
        // raised blind seeing cleared, raised cleared, blind seeing
        let [a, a2, a3, a4, b, b2, c, c2] = episodes[..] else { panic!("{episodes:?}") };
        assert!(a == a2 && a2 == a3 && a3 == a4, "{episodes:?}");
        assert!(b == b2 && c == c2 && a != b && b != c, "{episodes:?}");
        assert!(episodes.iter().all(|e| *e < 1 << 53));
    }

    #[test]
    fn alarms_survive_a_restart() {
        let mut before = rules(&rule());
        let raised = before.judge(&reading(0, 61.0)).remove(0);
        let saved = before.memory(&raised);
        assert_eq!(saved.len(), 1);

        let mut after = rules(&rule());
        assert!(after.restore(saved.clone(), 0).is_empty());
        assert_eq!(after.standing(), (1, 0));
        let cleared = after.judge(&reading(5, 20.0)).remove(0);
        assert_eq!(
            (cleared.kind, cleared.episode),
            (AlarmKind::Cleared, raised.episode),
            "not raised a second time"
        );
        assert!(after.memory(&cleared).is_empty(), "nothing is left to remember");

        let mut renamed = rules(&Rule { name: "warm".into(), ..rule() });
        let orphan = renamed.restore(saved, 7).remove(0);
        assert_eq!(
            (orphan.kind, orphan.episode, orphan.rule.as_str()),
            (AlarmKind::Cleared, raised.episode, "hot")
        );
        assert_eq!(renamed.standing(), (0, 0));
    }

    #[test]
    fn blindness_survives_a_restart_beside_the_alarm() {
        let mut before = rules(&rule());
        before.judge(&reading(0, 61.0));
        before.judge(&reading(1, FAULT));
        let blind = before.judge(&reading(2, FAULT)).remove(0);
        let saved = before.memory(&blind);
        assert_eq!(saved.iter().map(|e| e.kind).collect::<Vec<_>>(), [AlarmKind::Raised, AlarmKind::Blind]);
        let mut after = rules(&rule());
        after.restore(saved, 0);
        assert_eq!(after.standing(), (1, 1));
        assert_eq!(story(&mut after, 9, &[FAULT, 61.0, 20.0]), "10seeing 11cleared");
    }

    #[test]
    fn the_version_of_a_rule_follows_its_settings() {
        let name = &sensors(1)[0].name;
        assert_eq!(rule().version(name), rule().version(name));
        assert_ne!(rule().version(name), Rule { deadband: 4.0, ..rule() }.version(name));
    }
}
