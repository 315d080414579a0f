//! `[[device]]`: what hangs where, and what its values are called.

use boards::{Board, Chip, DeviceSpec, Output};
use configs::{Catalogue, Section};
use wire::{Place, SensorName};

use super::{MAX_SENSORS, Sensor, read_label, read_place};

/// Chips as written in a file.
#[derive(Clone, Copy)]
enum Word {
    Sht4x,
    Ads1115Loop,
    A02yyuw,
    Contact,
    RainGauge,
    Machine,
}

const CHIPS: [(&str, Word); 6] = [
    ("sht4x", Word::Sht4x),
    ("ads1115-loop", Word::Ads1115Loop),
    ("a02yyuw", Word::A02yyuw),
    ("contact", Word::Contact),
    ("rain-gauge", Word::RainGauge),
    ("machine", Word::Machine),
];

/// What an output measures when the file does not say: the only thing it can, or the usual one.
fn usual_quantity(output: &str) -> Option<&'static str> {
    Some(match output {
        "temperature" => "air-temperature",
        "humidity" => "relative-humidity",
        "distance" => "water-distance",
        "level" => "water-level",
        "contact" => "contact",
        "rain" => "rainfall",
        "cpu" => "cpu-temperature",
        "load" => "cpu-load",
        "memory" => "memory-used",
        "disk" => "disk-used",
        "uptime" => "uptime",
        _ => return None,
    })
}

/// What the `[[device]]` tables say.
#[derive(Default)]
pub(super) struct Devices {
    /// The devices without mistakes.
    pub(super) devices: Vec<DeviceSpec>,
    /// Their sensors, by number.
    pub(super) sensors: Vec<Sensor>,
    /// Every sensor name in the file, with those of devices that have mistakes: a rule over one of them is not wrong.
    pub(super) names: Vec<SensorName>,
}

/// Reads all devices; mistakes go to the document. A linux board without devices finds its own.
pub(super) fn read(
    root: &mut Section<'_>,
    board: Option<&Board>,
    catalogue: &Catalogue,
    place: Option<&Place>,
) -> Devices {
    let mut all = Devices::default();
    let sections = root.sections("device");
    if sections.is_empty() {
        match (board, place) {
            (Some(Board::Linux), Some(place)) => {
                (all.devices, all.sensors) = crate::discover::devices(catalogue, place);
            }
            (Some(Board::Linux) | None, _) => {}
            // A box may be there for a seal alone.
            (Some(_), _) if root.keys().iter().any(|key| key.starts_with("seal")) => {}
            (Some(_), _) => root.problem(
                "device",
                "missing: at least one [[device]], or a [seal] or [[seal_line]], expected; only a linux board finds its sensors by itself",
            ),
        }
        return all;
    }
    for mut section in sections {
        let name = section.required("name", |text| SensorName::new(text).map(|name| name.to_string()));
        if let Some(name) = &name
            && all.devices.iter().any(|other| other.name == *name)
        {
            section.problem("name", format!("{name:?} is taken by another device"));
        }
        let chip = read_chip(&mut section);
        let bus = match &chip {
            Some(Chip::Contact { .. } | Chip::RainGauge { .. }) => {
                section.optional("bus", bus).or(Some("gpio".into()))
            }
            Some(Chip::Machine) => section.optional("bus", bus).or(Some("machine".into())),
            _ => section.required("bus", bus),
        };
        let every_ms = section.duration_ms("every", 50..=86_400_000);
        if !section.keys().iter().any(|key| key == "every") {
            section.problem("every", "missing: how often to read it expected, for example \"10s\"");
        }
        let own_place = read_place(&mut section, place.map(|p| &p.area), false);
        let place = own_place.as_ref().or(place);
        let mut outputs = Vec::new();
        let mut list = section.section("outputs");
        let keys = list.keys();
        if keys.is_empty() {
            section.problem(
                "outputs",
                "missing: at least one output expected, for example outputs = { temperature = { sensor = \"hall.t\" } }",
            );
        }
        for output in keys {
            let mut entry = list.section(&output);
            if let Some(chip) = &chip
                && !chip.has_output(&output)
            {
                list.problem(
                    &output,
                    format!(
                        "{} has no output {output:?}: known are {}",
                        chip.word(),
                        chip.outputs().join(", ")
                    ),
                );
            }
            let sensor =
                read_sensor(&mut entry, &output, chip.as_ref(), every_ms, place, catalogue, &mut all.names);
            let Some(sensor) = sensor else { continue };
            let Ok(number) = u16::try_from(all.sensors.len()) else { continue };
            outputs.push(Output { output, sensor: number, quantity: sensor.quantity.code });
            all.sensors.push(sensor);
        }
        drop(list);
        if let (Some(name), Some(chip), Some(bus), Some(every_ms)) = (name, chip, bus, every_ms) {
            all.devices.push(DeviceSpec { name, chip, bus, every_ms, outputs });
        }
    }
    if all.names.len() > MAX_SENSORS {
        root.problem(
            "device",
            format!("{} sensors, at most {MAX_SENSORS} are allowed on one gateway", all.names.len()),
        );
    }
    all
}

fn bus(text: &str) -> Result<String, String> {
    let fine = !text.is_empty() && text.len() <= 64 && text.chars().all(|c| c.is_ascii_graphic());
    if fine {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is not a bus: a name like /dev/i2c-1 or gpio expected"))
    }
}

fn read_sensor(
    entry: &mut Section<'_>,
    output: &str,
    chip: Option<&Chip>,
    every_ms: Option<u64>,
    place: Option<&Place>,
    catalogue: &Catalogue,
    names: &mut Vec<SensorName>,
) -> Option<Sensor> {
    let name = entry.required("sensor", SensorName::new);
    if let Some(name) = &name {
        if names.contains(name) {
            entry.problem("sensor", format!("{:?} is taken by another sensor of this file", name.as_str()));
        }
        names.push(name.clone());
    }
    let named = entry.optional("quantity", |text| {
        catalogue.by_name(text).cloned().ok_or_else(|| {
            format!("{text:?} is not in the quantity catalogue (configs/quantities): for example air-temperature, water-level, co")
        })
    });
    let mut quantity = named;
    if !entry.keys().iter().any(|key| key == "quantity") {
        quantity = usual_quantity(output).and_then(|name| catalogue.by_name(name)).cloned();
        if quantity.is_none() && chip.is_some_and(|chip| chip.has_output(output)) {
            entry.problem("quantity", format!("missing: what {output:?} measures cannot be guessed, a name from configs/quantities expected"));
        }
    }
    let label = read_label(entry);
    let spike = entry.number("spike", 1e-9..=1e12);
    let flat_ms = entry.duration_ms("flat", 1_000..=30 * 86_400_000);
    if let (Some(flat), Some(every)) = (flat_ms, every_ms)
        && flat < every.saturating_mul(3)
    {
        entry.problem("flat", "shorter than three readings: it would doubt a quiet sensor at once");
    }
    let stale_ms = entry.duration_ms("stale", 1_000..=30 * 86_400_000);
    if let (Some(stale), Some(every)) = (stale_ms, every_ms)
        && stale <= flat_ms.unwrap_or(0).max(every.saturating_mul(9))
    {
        entry.problem(
            "stale",
            "not longer than flat, or shorter than ten readings: what is only doubted would be dropped",
        );
    }
    Some(Sensor {
        name: name?,
        quantity: quantity?,
        place: place?.clone(),
        chip: chip?.word(),
        label,
        every_ms: every_ms?,
        spike,
        flat_ms,
        stale_ms,
    })
}

fn read_chip(section: &mut Section<'_>) -> Option<Chip> {
    if !section.keys().iter().any(|key| key == "chip") {
        let words: Vec<&str> = CHIPS.iter().map(|(word, _)| *word).collect();
        section.problem("chip", format!("missing: one of {} expected", words.join(", ")));
    }
    Some(match section.choice("chip", &CHIPS)? {
        Word::Sht4x => Chip::Sht4x { address: address(section, 0x44, 0x44..=0x46) },
        Word::Ads1115Loop => {
            let address = address(section, 0x48, 0x48..=0x4b);
            let channel = section.required_integer("channel", 0..=3);
            let shunt_ohm = section.number("shunt_ohm", 1.0..=1000.0).unwrap_or(100.0);
            let at_4ma = section.required_number("at_4ma", -1e9..=1e9);
            let at_20ma = section.required_number("at_20ma", -1e9..=1e9);
            if at_4ma.is_some() && at_4ma == at_20ma {
                section.problem("at_20ma", "the same as at_4ma: the loop would say nothing");
            }
            Chip::Ads1115Loop {
                address,
                channel: u8::try_from(channel?).ok()?,
                shunt_ohm,
                at_4ma: at_4ma?,
                at_20ma: at_20ma?,
            }
        }
        Word::A02yyuw => Chip::A02yyuw { mounted_mm: section.number("mounted_mm", 30.0..=30_000.0) },
        Word::Contact => {
            let pin = section.required_integer("pin", 0..=27);
            let debounce_ms = section.duration_ms("debounce", 0..=10_000).unwrap_or(50);
            let active_low = section.flag("active_low").unwrap_or(true);
            Chip::Contact {
                pin: u8::try_from(pin?).ok()?,
                debounce_ms: u32::try_from(debounce_ms).ok()?,
                active_low,
            }
        }
        Word::RainGauge => {
            let pin = section.required_integer("pin", 0..=27);
            let mm_per_tip = section.number("mm_per_tip", 0.01..=10.0).unwrap_or(0.2);
            Chip::RainGauge { pin: u8::try_from(pin?).ok()?, mm_per_tip }
        }
        Word::Machine => Chip::Machine,
    })
}

fn address(section: &mut Section<'_>, usual: u8, range: std::ops::RangeInclusive<i64>) -> u8 {
    section.integer("address", range).and_then(|a| u8::try_from(a).ok()).unwrap_or(usual)
}
