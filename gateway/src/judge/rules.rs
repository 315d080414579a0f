//! Alarms: limits, trends, and rules that confirm each other. Pure.
//!
//! How a rule gets from quiet to active and back is in [`super::phase`]; here is what it goes by.
//!
//! - A reading without a usable value (fault, out of range) never clears anything and does not count towards the
//!   off-delay. After [`BLIND_AFTER`] of them in a row the rule is blind: it says so with an event of its own, and
//!   says `seeing` when values come back. An on-delay goes on through a fault: the danger may well be the reason.
//! - A rule that confirms is looked at after every reading of its members' sensors. It begins when enough members are
//!   active at once and were raised close enough to each other, so that a detector that has been stuck since yesterday
//!   makes no fire of the next one's word; it goes on as long as enough are active, whenever they were raised. It is
//!   blind when so many members are blind that enough can no longer become active. A member that was active when its
//!   sensor failed still counts: fire eats sensors.
//! - An alarm with a re-alarm time says again that it goes on, also while it is blind.
//! - What is active survives a restart: [`Rules::restore`] takes the last event of each rule. Re-alarm times start anew
//!   there, and members count as raised at the restart: rather one confirmation too early than a fire that a power
//!   cut makes doubtful.

use std::collections::HashMap;

use wire::{AlarmEvent, AlarmKind, BootId, Input, Measure, Quality};

use super::phase::{Episodes, Life, Phase, Verdict};
use super::trend::Trend;
use crate::batch::Judged;
use crate::config::{Agreement, Condition, Direction, Limit, Rule, Sensor};

/// Readings without a usable value, in a row, before a rule calls itself blind: one may be a glitch on the wire.
pub const BLIND_AFTER: u32 = 2;

/// All rules of a gateway and where they stand.
#[derive(Debug)]
pub struct Rules {
    rules: Vec<Watch>,
    /// Rules that a reading of each sensor may change, by its number: first those over it, then those made of them.
    by_sensor: HashMap<u16, Vec<usize>>,
    /// The last reading of each sensor, by number.
    latest: Vec<Option<Judged>>,
    episodes: Episodes,
}

#[derive(Debug)]
struct Watch {
    rule: Rule,
    version: u32,
    /// The sensor that events name: its own, or that of its first member.
    sensor: Sensor,
    /// The past of a rule over a rise.
    trend: Option<Trend>,
    phase: Phase,
    /// Unusable readings in a row.
    unusable: u32,
    /// The episode of the blind event, while blind.
    blind: Option<u64>,
}

/// What a rule sees at one reading.
struct Finding {
    verdict: Verdict,
    blind: bool,
    value: Option<f64>,
    quality: Quality,
    inputs: Vec<Input>,
}

impl Rules {
    /// All rules, quiet.
    ///
    /// # Panics
    /// When a rule names a sensor or rule by a number that is not there: a validated configuration never does.
    pub fn new(rules: &[Rule], sensors: &[Sensor], boot: BootId) -> Self {
        let mut watches = Vec::with_capacity(rules.len());
        let mut by_sensor: HashMap<u16, Vec<usize>> = HashMap::new();
        let mut made_of_others = Vec::new();
        for (number, rule) in rules.iter().enumerate() {
            let watched: Vec<u16> = match &rule.condition {
                Condition::Limit(limit) => vec![limit.sensor],
                Condition::Agreement(agreement) => (agreement.members.iter())
                    .filter_map(|&member| rules[member].limit())
                    .map(|limit| limit.sensor)
                    .collect(),
            };
            let over_ms = rule.limit().and_then(|limit| limit.over_ms);
            for &sensor in &watched {
                match rule.condition {
                    Condition::Limit(_) => by_sensor.entry(sensor).or_default().push(number),
                    Condition::Agreement(_) => made_of_others.push((sensor, number)),
                }
            }
            watches.push(Watch {
                version: rule.version(rules, sensors),
                rule: rule.clone(),
                sensor: sensors[usize::from(watched[0])].clone(),
                trend: over_ms.map(Trend::new),
                phase: Phase::Quiet,
                unusable: 0,
                blind: None,
            });
        }
        for (sensor, number) in made_of_others {
            by_sensor.entry(sensor).or_default().push(number);
        }
        Self { rules: watches, by_sensor, latest: vec![None; sensors.len()], episodes: Episodes::new(boot) }
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
                AlarmKind::Raised | AlarmKind::Seeing | AlarmKind::Repeated => {
                    watch.phase = Phase::Active(Life::new(event.episode, now_ms, event.worst));
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
        let active = watch.phase.life().map(|life| (AlarmKind::Raised, life.episode, life.worst));
        let blind = watch.blind.map(|episode| (AlarmKind::Blind, episode, None));
        [active, blind]
            .into_iter()
            .flatten()
            // Inputs are of this run: the next one has its own.
            .map(|(kind, episode, worst)| AlarmEvent {
                kind,
                episode,
                worst,
                inputs: Vec::new(),
                ..event.clone()
            })
            .collect()
    }

    /// Judges one reading; the events it causes, oldest first.
    pub fn judge(&mut self, reading: &Judged) -> Vec<AlarmEvent> {
        if let Some(latest) = self.latest.get_mut(usize::from(reading.sensor)) {
            *latest = Some(*reading);
        }
        let Some(numbers) = self.by_sensor.get(&reading.sensor) else { return Vec::new() };
        let mut events = Vec::new();
        for &number in numbers {
            let agreed = self.agreed(number);
            let Some(watch) = self.rules.get_mut(number) else { continue };
            let finding = agreed.unwrap_or_else(|| watch.look(reading));
            watch.conclude(reading.mono_ms, finding, &mut self.episodes, &mut events);
        }
        events
    }

    /// Alarms that are active now, and rules that are blind.
    pub fn standing(&self) -> (usize, usize) {
        let active = self.rules.iter().filter(|watch| watch.phase.life().is_some());
        (active.count(), self.rules.iter().filter(|watch| watch.blind.is_some()).count())
    }

    /// What the members of rule `number` say together; `None` for a rule that has none.
    fn agreed(&self, number: usize) -> Option<Finding> {
        let Condition::Agreement(agreement) = &self.rules.get(number)?.rule.condition else { return None };
        let members: Vec<&Watch> =
            agreement.members.iter().filter_map(|&member| self.rules.get(member)).collect();
        let mut raised_ms: Vec<u64> =
            members.iter().filter_map(|member| Some(member.phase.life()?.raised_ms)).collect();
        raised_ms.sort_unstable();
        let active = raised_ms.len();
        let sees = |member: &&&Watch| member.phase.life().is_some() || member.blind.is_none();
        let blind = members.iter().filter(sees).count() < agreement.needed;
        let verdict = if blind {
            Verdict::Unknown
        } else if agree(&raised_ms, agreement) {
            Verdict::Beyond
        } else if active >= agreement.needed {
            Verdict::Between
        } else {
            Verdict::Back
        };
        let inputs: Vec<Input> = members
            .iter()
            .filter_map(|member| {
                let reading = (*self.latest.get(usize::from(member.rule.limit()?.sensor))?)?;
                Some(input(&member.sensor, &reading, member.phase.life().is_some()))
            })
            .collect();
        let doubted = inputs.iter().any(|input| input.alarming && input.quality != Quality::Good);
        let (value, quality) = match (blind, doubted) {
            (true, _) => (None, Quality::Fault),
            (false, true) => (Some(active as f64), Quality::Suspect),
            (false, false) => (Some(active as f64), Quality::Good),
        };
        Some(Finding { verdict, blind, value, quality, inputs })
    }
}

/// Whether enough of the members that were raised at these times, in order, were raised close enough to each other.
fn agree(raised_ms: &[u64], agreement: &Agreement) -> bool {
    let within_ms = agreement.within_ms.unwrap_or(u64::MAX);
    raised_ms.windows(agreement.needed.max(1)).any(|close| match close {
        [first, .., last] => last - first <= within_ms,
        _ => true,
    })
}

fn input(sensor: &Sensor, reading: &Judged, alarming: bool) -> Input {
    Input {
        sensor: sensor.name.clone(),
        quantity: sensor.quantity.code,
        value: reading.value,
        quality: reading.quality,
        mono_ms: reading.mono_ms,
        alarming,
    }
}

impl Limit {
    fn verdict(&self, value: f64) -> Verdict {
        let (beyond, back) = match self.direction {
            Direction::Above => (value > self.threshold, value <= self.threshold - self.deadband),
            Direction::Below => (value < self.threshold, value >= self.threshold + self.deadband),
        };
        match (beyond, back) {
            (true, _) => Verdict::Beyond,
            (false, true) => Verdict::Back,
            (false, false) => Verdict::Between,
        }
    }
}

impl Watch {
    /// What a reading of its own sensor says. Readings without a usable value are no samples of a trend.
    fn look(&mut self, reading: &Judged) -> Finding {
        let usable = reading.value.filter(|_| reading.quality.is_usable());
        self.unusable = if usable.is_some() { 0 } else { self.unusable.saturating_add(1) };
        let value = match (&mut self.trend, usable) {
            (Some(trend), Some(value)) => trend.push(reading.mono_ms, value),
            (Some(_), None) => None,
            (None, _) => reading.value,
        };
        let verdict = match (self.rule.limit(), value.filter(|_| usable.is_some())) {
            (Some(limit), Some(value)) => limit.verdict(value),
            _ => Verdict::Unknown,
        };
        let alarming =
            verdict == Verdict::Beyond || verdict == Verdict::Between && self.phase.life().is_some();
        Finding {
            verdict,
            blind: self.unusable >= BLIND_AFTER,
            value,
            quality: reading.quality,
            inputs: vec![input(&self.sensor, reading, alarming)],
        }
    }

    fn conclude(
        &mut self,
        now_ms: u64,
        finding: Finding,
        episodes: &mut Episodes,
        events: &mut Vec<AlarmEvent>,
    ) {
        match (self.blind, finding.blind) {
            (None, true) => {
                let episode = self.phase.life().map_or_else(|| episodes.next(), |life| life.episode);
                self.blind = Some(episode);
                events.push(self.event(AlarmKind::Blind, episode, now_ms, &finding));
            }
            (Some(episode), false) => {
                self.blind = None;
                events.push(self.event(AlarmKind::Seeing, episode, now_ms, &finding));
            }
            _ => {}
        }
        let happened = self.phase.step(now_ms, finding.verdict, &self.rule, episodes);
        if let (Some(value), true) = (finding.value, finding.verdict != Verdict::Unknown) {
            let direction = self.rule.limit().map_or(Direction::Above, |limit| limit.direction);
            self.phase.note(value, direction);
        }
        let again = || Some((AlarmKind::Repeated, self.phase.repeats(now_ms, self.rule.repeat_ms)?));
        if let Some((kind, life)) = happened.or_else(again) {
            let mut event = self.event(kind, life.episode, now_ms, &finding);
            // With the clearing the phase has forgotten it.
            event.worst = event.worst.or(life.worst);
            events.push(event);
        }
    }

    fn event(&self, kind: AlarmKind, episode: u64, now_ms: u64, finding: &Finding) -> AlarmEvent {
        let (threshold, measure) = match &self.rule.condition {
            Condition::Limit(Limit { threshold, over_ms: None, .. }) => (*threshold, Measure::Value),
            Condition::Limit(Limit { threshold, over_ms: Some(over_ms), .. }) => {
                (*threshold, Measure::Rise { over_ms: *over_ms })
            }
            Condition::Agreement(agreement) => (agreement.needed as f64, Measure::Agreeing),
        };
        AlarmEvent {
            episode,
            rule: self.rule.name.clone(),
            rule_version: self.version,
            kind,
            level: self.rule.level,
            sensor: self.sensor.name.clone(),
            quantity: self.sensor.quantity.code,
            place: self.sensor.place.clone(),
            mono_ms: now_ms,
            value: finding.value,
            quality: finding.quality,
            threshold,
            measure,
            worst: self.phase.life().and_then(|life| life.worst),
            inputs: finding.inputs.clone(),
        }
    }
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
