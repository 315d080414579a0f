//! `[[rule]]`: what is an alarm.

use configs::Section;
use wire::{Level, SensorName};

use super::{MAX_RULES, Sensor};

/// Longest rule name in bytes, as the wire has it.
pub const MAX_RULE_NAME: usize = 48;

/// On which side of the threshold the danger lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Too much.
    Above,
    /// Too little.
    Below,
}

/// One alarm rule over one sensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its name, unique on the gateway.
    pub name: String,
    /// Number of the sensor it watches.
    pub sensor: u16,
    /// Where the danger lies.
    pub direction: Direction,
    /// The limit, in the unit of the sensor's quantity. The value itself is not yet an alarm.
    pub threshold: f64,
    /// How far the value must come back behind the threshold before the alarm may end.
    pub deadband: f64,
    /// How long the value must stay beyond the threshold before the alarm is raised, in ms.
    pub on_delay_ms: u64,
    /// How long the value must stay back before the alarm ends, in ms.
    pub off_delay_ms: u64,
    /// How bad it is.
    pub level: Level,
}

impl Rule {
    /// A number that changes when anything that decides changes: events carry it, so that one can tell which
    /// version of a rule judged.
    pub fn version(&self, sensor: &SensorName) -> u32 {
        let text = format!(
            "{sensor}|{:?}|{}|{}|{}|{}|{:?}",
            self.direction, self.threshold, self.deadband, self.on_delay_ms, self.off_delay_ms, self.level
        );
        wire::frame::crc32c(text.as_bytes())
    }
}

/// Reads all rules; mistakes go to the document. `names` holds sensors that are in the file but have mistakes.
pub(super) fn read(root: &mut Section<'_>, sensors: &[Sensor], names: &[SensorName]) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    let sections = root.sections("rule");
    if sections.len() > MAX_RULES {
        root.problem("rule", format!("{} rules, at most {MAX_RULES} are allowed", sections.len()));
    }
    for mut section in sections {
        let Some(rule) = read_one(&mut section, sensors, names) else { continue };
        if rules.iter().any(|other| other.name == rule.name) {
            section.problem("name", format!("{:?} is taken by another rule", rule.name));
        }
        rules.push(rule);
    }
    rules
}

fn read_one(section: &mut Section<'_>, sensors: &[Sensor], names: &[SensorName]) -> Option<Rule> {
    let name = section.required("name", |text| {
        let fine = !text.is_empty() && text.len() <= MAX_RULE_NAME && !text.chars().any(char::is_control);
        if fine {
            Ok(text.to_owned())
        } else {
            Err(format!("{text:?} is not a rule name: 1 to {MAX_RULE_NAME} bytes expected"))
        }
    });
    let sensor = section.required("sensor", |text| {
        let number = sensors.iter().position(|sensor| sensor.name.as_str() == text);
        match number.map(u16::try_from) {
            Some(Ok(number)) => Ok(Some(number)),
            _ if names.iter().any(|name| name.as_str() == text) => Ok(None),
            _ => Err(unknown_sensor(text, sensors)),
        }
    });
    let above = section.number("above", -1e12..=1e12);
    let below = section.number("below", -1e12..=1e12);
    let deadband = section.number("deadband", 0.0..=1e12).unwrap_or(0.0);
    let on_delay_ms = section.duration_ms("on_delay", 0..=86_400_000).unwrap_or(0);
    let off_delay_ms = section.duration_ms("off_delay", 0..=86_400_000).unwrap_or(0);
    let level = section.choice(
        "level",
        &[("blue", Level::Blue), ("yellow", Level::Yellow), ("orange", Level::Orange), ("red", Level::Red)],
    );
    let keys = section.keys();
    if !keys.iter().any(|key| key == "level") {
        section.problem("level", "missing: blue, yellow, orange or red expected");
    }
    let (direction, threshold, key) = match (above, below) {
        (Some(limit), None) => (Direction::Above, limit, "above"),
        (None, Some(limit)) => (Direction::Below, limit, "below"),
        (Some(_), Some(_)) => {
            section.problem("below", "a rule has above or below, not both: write two rules");
            return None;
        }
        (None, None) => {
            if !keys.iter().any(|key| key == "above" || key == "below") {
                section.problem("above", "missing: above = LIMIT or below = LIMIT expected");
            }
            return None;
        }
    };
    let sensor = sensor??;
    if let Some(quantity) = sensors.get(usize::from(sensor)).map(|s| &s.quantity)
        && !(quantity.min..=quantity.max).contains(&threshold)
    {
        section.problem(
            key,
            format!(
                "{threshold} {} can never be crossed: {} lies from {} to {}",
                quantity.unit, quantity.name, quantity.min, quantity.max
            ),
        );
    }
    Some(Rule {
        name: name?,
        sensor,
        direction,
        threshold,
        deadband,
        on_delay_ms,
        off_delay_ms,
        level: level?,
    })
}

fn unknown_sensor(text: &str, sensors: &[Sensor]) -> String {
    const SHOWN: usize = 12;
    let mut known: Vec<&str> = sensors.iter().take(SHOWN).map(|sensor| sensor.name.as_str()).collect();
    if sensors.len() > SHOWN {
        known.push("…");
    }
    if known.is_empty() {
        return format!("{text:?} is no sensor of this file: it has none");
    }
    format!("{text:?} is no sensor of this file: known are {}", known.join(", "))
}
