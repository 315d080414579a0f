//! `[[rule]]`: what is an alarm.
//!
//! A rule holds one sensor against a limit ([`Limit`]), or is made of other rules that confirm each other
//! ([`Agreement`]). The commented examples are in `configs/gateway.toml`.

use configs::Section;
use wire::alarm::MAX_INPUTS;
use wire::{Level, SensorName};

use super::{MAX_RULES, Sensor};
use crate::judge::trend::MIN_SAMPLES;

/// Longest rule name in bytes, as the wire has it.
pub const MAX_RULE_NAME: usize = 48;
/// Shortest re-alarm time in ms: an alarm that speaks more often is muted by those who hear it.
pub const MIN_REPEAT_MS: u64 = 60_000;
/// Longest delay, span and re-alarm time in ms.
const DAY_MS: u64 = 86_400_000;

/// On which side of the threshold the danger lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Too much.
    Above,
    /// Too little.
    Below,
}

/// One alarm rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its name, unique on the gateway.
    pub name: String,
    /// What is dangerous.
    pub condition: Condition,
    /// How long it must be dangerous before the alarm is raised, in ms.
    pub on_delay_ms: u64,
    /// How long it must be over before the alarm ends, in ms.
    pub off_delay_ms: u64,
    /// How often an alarm that goes on says so again, in ms; never if absent.
    pub repeat_ms: Option<u64>,
    /// How bad it is.
    pub level: Level,
}

/// What is dangerous.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// One sensor against a limit.
    Limit(Limit),
    /// Several rules at once.
    Agreement(Agreement),
}

/// One sensor against a limit.
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    /// Number of the sensor it watches.
    pub sensor: u16,
    /// What is held against the threshold: the value, or how far it rose over this time in ms.
    pub over_ms: Option<u64>,
    /// Where the danger lies.
    pub direction: Direction,
    /// The limit, in the unit of the sensor's quantity. The value itself is not yet an alarm.
    pub threshold: f64,
    /// How far the value must come back behind the threshold before the alarm may end.
    pub deadband: f64,
}

/// Several rules, each over a sensor of its own, that confirm each other: one detector warns people, two confirm.
#[derive(Debug, Clone, PartialEq)]
pub struct Agreement {
    /// The rules, by number; all of them [`Condition::Limit`], at most [`MAX_INPUTS`].
    pub members: Vec<usize>,
    /// How many of them must be active at once, at least two.
    pub needed: usize,
    /// How close to each other they must have been raised, in ms: an alarm that stands since yesterday confirms
    /// nothing that begins today. If absent, being active at once is enough.
    pub within_ms: Option<u64>,
}

impl Rule {
    /// A number that changes when anything that decides changes: events carry it, so that one can tell which
    /// version of a rule judged. `rules` and `sensors` are those of the same configuration.
    pub fn version(&self, rules: &[Rule], sensors: &[Sensor]) -> u32 {
        let what = match &self.condition {
            Condition::Limit(limit) => {
                let sensor = sensors.get(usize::from(limit.sensor)).map_or("", |s| s.name.as_str());
                let Limit { over_ms, direction, threshold, deadband, .. } = limit;
                format!("{sensor}|{over_ms:?}|{direction:?}|{threshold}|{deadband}")
            }
            Condition::Agreement(agreement) => {
                let members: Vec<String> = (agreement.members.iter())
                    .filter_map(|&number| rules.get(number))
                    .map(|member| format!("{}={:08x}", member.name, member.version(rules, sensors)))
                    .collect();
                format!("{}|{}|{:?}", members.join(","), agreement.needed, agreement.within_ms)
            }
        };
        let text = format!(
            "{what}|{}|{}|{:?}|{:?}",
            self.on_delay_ms, self.off_delay_ms, self.repeat_ms, self.level
        );
        wire::frame::crc32c(text.as_bytes())
    }

    /// The limit of a rule over one sensor.
    pub fn limit(&self) -> Option<&Limit> {
        match &self.condition {
            Condition::Limit(limit) => Some(limit),
            Condition::Agreement(_) => None,
        }
    }
}

/// Reads all rules; mistakes go to the document. `names` holds sensors that are in the file but have mistakes.
pub(super) fn read(root: &mut Section<'_>, sensors: &[Sensor], names: &[SensorName]) -> Vec<Rule> {
    let mut sections = root.sections("rule");
    if sections.len() > MAX_RULES {
        root.problem("rule", format!("{} rules, at most {MAX_RULES} are allowed", sections.len()));
    }
    let drafts: Vec<Draft> = sections.iter_mut().map(|section| draft(section, sensors, names)).collect();
    let mut rules: Vec<Rule> = Vec::new();
    for (number, (section, draft)) in sections.iter().zip(&drafts).enumerate() {
        if draft.name.is_some() && drafts[..number].iter().any(|other| other.name == draft.name) {
            section.problem("name", format!("{:?} is taken by another rule", draft.text()));
        }
        let condition = match &draft.what {
            Some(What::Limit(limit)) => Some(Condition::Limit(limit.clone())),
            Some(What::Agreement { confirms, needed, within_ms }) => members(section, confirms, &drafts)
                .zip(*needed)
                .map(|(members, needed)| Agreement { members, needed, within_ms: *within_ms })
                .map(Condition::Agreement),
            None => None,
        };
        let (Some(name), Some(condition), Some(level)) = (draft.name.clone(), condition, draft.level) else {
            continue;
        };
        let Draft { on_delay_ms, off_delay_ms, repeat_ms, .. } = *draft;
        rules.push(Rule { name, condition, on_delay_ms, off_delay_ms, repeat_ms, level });
    }
    rules
}

/// A rule as its own table tells it; the rules it is made of are still names.
struct Draft {
    name: Option<String>,
    what: Option<What>,
    on_delay_ms: u64,
    off_delay_ms: u64,
    repeat_ms: Option<u64>,
    level: Option<Level>,
}

enum What {
    Limit(Limit),
    Agreement { confirms: Vec<String>, needed: Option<usize>, within_ms: Option<u64> },
}

impl Draft {
    fn text(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }
}

fn draft(section: &mut Section<'_>, sensors: &[Sensor], names: &[SensorName]) -> Draft {
    let name = section.required("name", |text| {
        let fine = !text.is_empty() && text.len() <= MAX_RULE_NAME && !text.chars().any(char::is_control);
        if fine {
            Ok(text.to_owned())
        } else {
            Err(format!("{text:?} is not a rule name: 1 to {MAX_RULE_NAME} bytes expected"))
        }
    });
    let level = section.choice(
        "level",
        &[("blue", Level::Blue), ("yellow", Level::Yellow), ("orange", Level::Orange), ("red", Level::Red)],
    );
    let keys = section.keys();
    if !keys.iter().any(|key| key == "level") {
        section.problem("level", "missing: blue, yellow, orange or red expected");
    }
    let repeat_ms = section.duration_ms("repeat", MIN_REPEAT_MS..=DAY_MS);
    if repeat_ms.is_some() && level == Some(Level::Blue) {
        section.problem(
            "repeat",
            "blue only asks for attention, once: remove the line, or choose yellow, orange or red",
        );
    }
    let on_delay_ms = section.duration_ms("on_delay", 0..=DAY_MS).unwrap_or(0);
    let off_delay_ms = section.duration_ms("off_delay", 0..=DAY_MS).unwrap_or(0);
    let what = if keys.iter().any(|key| key == "confirms") {
        Some(agreement(section))
    } else {
        limit(section, &keys, sensors, names).map(What::Limit)
    };
    Draft { name, what, on_delay_ms, off_delay_ms, repeat_ms, level }
}

fn limit(
    section: &mut Section<'_>,
    keys: &[String],
    sensors: &[Sensor],
    names: &[SensorName],
) -> Option<Limit> {
    let sensor = section.required("sensor", |text| {
        let number = sensors.iter().position(|sensor| sensor.name.as_str() == text);
        match number.map(u16::try_from) {
            Some(Ok(number)) => Ok(Some(number)),
            _ if names.iter().any(|name| name.as_str() == text) => Ok(None),
            _ => Err(unknown("sensor", text, sensors.iter().map(|sensor| sensor.name.as_str()))),
        }
    });
    let deadband = section.number("deadband", 0.0..=1e12).unwrap_or(0.0);
    let given: Vec<&str> = ["above", "below", "rises", "falls"]
        .into_iter()
        .filter(|word| keys.iter().any(|key| key == word))
        .collect();
    let mut limits = ["above", "below"].map(|key| section.number(key, -1e12..=1e12)).to_vec();
    limits.extend(["rises", "falls"].map(|key| section.number(key, 1e-9..=1e12)));
    let key = match given[..] {
        [key] => key,
        [] => {
            section.problem("above", "missing: one of above, below, rises, falls = LIMIT expected");
            return None;
        }
        [_, second, ..] => {
            section.problem(second, "a rule has one of above, below, rises, falls: write a rule for each");
            return None;
        }
    };
    let over_ms = match key {
        "rises" | "falls" => Some(section.duration_ms("over", 1_000..=DAY_MS)),
        _ => None,
    };
    let threshold = limits.into_iter().flatten().next();
    if over_ms.is_some() && !keys.iter().any(|key| key == "over") {
        section.problem("over", "missing: the time it may rise or fall in expected, for example \"60s\"");
    }
    let (sensor, threshold) = (sensor??, threshold?);
    let over_ms = match over_ms {
        Some(over_ms) => Some(over_ms?),
        None => None,
    };
    if let Some(sensor) = sensors.get(usize::from(sensor)) {
        can_be_crossed(section, key, threshold, sensor);
        let least_ms = sensor.every_ms.saturating_mul(MIN_SAMPLES as u64);
        if over_ms.is_some_and(|over_ms| over_ms < least_ms) {
            let (name, every_s, least_s) =
                (&sensor.name, sensor.every_ms as f64 / 1e3, least_ms as f64 / 1e3);
            section.problem(
                "over",
                format!("{name} is read every {every_s} s, and {MIN_SAMPLES} readings are needed: at least {least_s} s expected"),
            );
        }
    }
    let (direction, threshold) = match key {
        "above" | "rises" => (Direction::Above, threshold),
        "below" => (Direction::Below, threshold),
        _ => (Direction::Below, -threshold),
    };
    Some(Limit { sensor, over_ms, direction, threshold, deadband })
}

/// A limit that no plausible value reaches is a mistake of unit or of sensor.
fn can_be_crossed(section: &Section<'_>, key: &str, threshold: f64, sensor: &Sensor) {
    let quantity = &sensor.quantity;
    let crossed = match key {
        "above" | "below" => (quantity.min..=quantity.max).contains(&threshold),
        _ => threshold < quantity.max - quantity.min,
    };
    if !crossed {
        section.problem(
            key,
            format!(
                "{threshold} {} can never be crossed: {} lies from {} to {}",
                quantity.unit, quantity.name, quantity.min, quantity.max
            ),
        );
    }
}

fn agreement(section: &mut Section<'_>) -> What {
    let confirms = section.texts("confirms");
    if !(2..=MAX_INPUTS).contains(&confirms.len()) {
        section.problem(
            "confirms",
            format!("{} rules, 2 to {MAX_INPUTS} expected: one alone confirms nothing", confirms.len()),
        );
    }
    let needed = section.required_integer("needed", 2..=MAX_INPUTS as i64);
    let needed = needed.and_then(|needed| usize::try_from(needed).ok());
    if let Some(needed) = needed.filter(|needed| *needed > confirms.len().max(2)) {
        section.problem(
            "needed",
            format!(
                "{needed} of {} rules can never agree: at most {} expected",
                confirms.len(),
                confirms.len()
            ),
        );
    }
    let within_ms = section.duration_ms("within", 1_000..=DAY_MS);
    What::Agreement { confirms, needed, within_ms }
}

/// The numbers of the rules that `confirms` names. Those that have mistakes of their own are passed over in silence.
fn members(section: &Section<'_>, confirms: &[String], drafts: &[Draft]) -> Option<Vec<usize>> {
    let mut members: Vec<(usize, u16)> = Vec::new();
    for name in confirms {
        let Some(number) = drafts.iter().position(|draft| draft.name.as_ref() == Some(name)) else {
            section.problem("confirms", unknown("rule", name, drafts.iter().map(Draft::text)));
            continue;
        };
        match &drafts[number].what {
            Some(What::Limit(limit)) => {
                if let Some((other, _)) = members.iter().find(|(_, sensor)| *sensor == limit.sensor) {
                    section.problem(
                        "confirms",
                        format!(
                            "{name:?} watches the same sensor as {:?}: one sensor cannot confirm itself",
                            drafts[*other].text()
                        ),
                    );
                }
                members.push((number, limit.sensor));
            }
            Some(What::Agreement { .. }) => section.problem(
                "confirms",
                format!("{name:?} is itself made of other rules: name those that watch a sensor"),
            ),
            None => {}
        }
    }
    (members.len() == confirms.len()).then(|| members.into_iter().map(|(number, _)| number).collect())
}

fn unknown<'n>(what: &str, text: &str, known: impl Iterator<Item = &'n str>) -> String {
    const SHOWN: usize = 12;
    let mut known: Vec<&str> = known.filter(|name| !name.is_empty()).take(SHOWN + 1).collect();
    if known.len() > SHOWN {
        known[SHOWN] = "…";
    }
    if known.is_empty() {
        return format!("{text:?} is no {what} of this file: it has none");
    }
    format!("{text:?} is no {what} of this file: known are {}", known.join(", "))
}
