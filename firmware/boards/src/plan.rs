//! Devices checked and sorted by bus. Pure: knows no board.

use std::collections::BTreeMap;

use drivers::{ads1115, sht4x};

use crate::{Chip, DeviceSpec, Link, OpenError};

/// Most current a 4–20 mA loop is measured at, in mA: above the fault limit of 21 mA, so that a fault is seen.
pub const LOOP_MOST_MA: f64 = 22.0;

/// The devices of one bus.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The bus as configured.
    pub bus: String,
    /// What kind of bus it is.
    pub link: Link,
    /// What hangs on it, in the order of the configuration.
    pub devices: Vec<DeviceSpec>,
}

/// Checks every device and sorts them by bus. A bus name used for two kinds of link makes two groups.
///
/// # Errors
/// Every mistake found.
pub fn plan(devices: &[DeviceSpec]) -> Result<Vec<Group>, Vec<OpenError>> {
    let mut problems = Vec::new();
    let mut groups: BTreeMap<(Link, &str), Vec<DeviceSpec>> = BTreeMap::new();
    for device in devices {
        let wrong =
            |why: String| OpenError::Device { device: device.name.clone(), chip: device.chip.word(), why };
        problems.extend(check(device).into_iter().map(wrong));
        let group = groups.entry((device.chip.link(), &device.bus)).or_default();
        if let Some(other) = group.iter().find(|other| collide(&other.chip, &device.chip)) {
            let place = place(&device.chip);
            problems.push(wrong(format!("{place} on {:?} is taken by device {:?}", device.bus, other.name)));
        }
        group.push(device.clone());
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let group = |((link, bus), devices): ((Link, &str), _)| Group { bus: bus.into(), link, devices };
    Ok(groups.into_iter().map(group).collect())
}

fn check(device: &DeviceSpec) -> Vec<String> {
    let mut wrong = Vec::new();
    if device.every_ms == 0 {
        wrong.push("every is 0: at least 1 ms expected".into());
    }
    for output in &device.outputs {
        if !device.chip.has_output(&output.output) {
            let known = device.chip.outputs().join(", ");
            let hint = match (&device.chip, output.output.as_str()) {
                (Chip::A02yyuw { mounted_mm: None }, "level") => {
                    "; level needs mounted_mm, the height of the sensor"
                }
                _ => "",
            };
            wrong.push(format!("no output {:?}: it gives {known}{hint}", output.output));
        }
    }
    match device.chip {
        Chip::Sht4x { address } if sht4x::Address::new(address).is_none() => {
            wrong.push(format!("address 0x{address:02x}: an SHT4x has 0x44, 0x45 or 0x46"));
        }
        Chip::Ads1115Loop { address, channel, shunt_ohm, at_4ma, at_20ma } => {
            if ads1115::Address::new(address).is_none() {
                wrong.push(format!("address 0x{address:02x}: an ADS1115 has 0x48 to 0x4b"));
            }
            if ads1115::Input::new(channel).is_none() {
                wrong.push(format!("channel {channel}: an ADS1115 has 0 to 3"));
            }
            if !(1.0..=279.0).contains(&shunt_ohm) {
                wrong.push(format!(
                    "shunt_ohm {shunt_ohm}: 1 to 279 expected, so that {LOOP_MOST_MA} mA stay below the ADS1115's 6.144 V"
                ));
            }
            if !(at_4ma.is_finite() && at_20ma.is_finite()) || at_4ma == at_20ma {
                wrong.push(format!("at_4ma {at_4ma} and at_20ma {at_20ma}: two different numbers expected"));
            }
        }
        Chip::A02yyuw { mounted_mm: Some(mounted) } if !(30.0..=30_000.0).contains(&mounted) => {
            wrong.push(format!("mounted_mm {mounted}: 30 to 30000 expected"));
        }
        Chip::RainGauge { mm_per_tip, .. } if !(0.01..=10.0).contains(&mm_per_tip) => {
            wrong.push(format!("mm_per_tip {mm_per_tip}: 0.01 to 10 expected"));
        }
        _ => {}
    }
    wrong
}

/// Whether two devices of one bus claim the same place on it.
fn collide(a: &Chip, b: &Chip) -> bool {
    match (a, b) {
        (Chip::Sht4x { address: a }, Chip::Sht4x { address: b }) => a == b,
        (
            Chip::Ads1115Loop { address: a, channel: i, .. },
            Chip::Ads1115Loop { address: b, channel: j, .. },
        ) => a == b && i == j,
        (Chip::A02yyuw { .. }, Chip::A02yyuw { .. }) | (Chip::Machine, Chip::Machine) => true,
        (
            Chip::Contact { pin: a, .. } | Chip::RainGauge { pin: a, .. },
            Chip::Contact { pin: b, .. } | Chip::RainGauge { pin: b, .. },
        ) => a == b,
        _ => false,
    }
}

fn place(chip: &Chip) -> String {
    match chip {
        Chip::Sht4x { address } => format!("address 0x{address:02x}"),
        Chip::Ads1115Loop { address, channel, .. } => format!("address 0x{address:02x} channel {channel}"),
        Chip::A02yyuw { .. } => "the only place".into(),
        Chip::Contact { pin, .. } | Chip::RainGauge { pin, .. } => format!("pin {pin}"),
        Chip::Machine => "the machine".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Output;

    fn device(name: &str, bus: &str, chip: Chip, outputs: &[&str]) -> DeviceSpec {
        let outputs = outputs
            .iter()
            .map(|output| Output { output: (*output).into(), sensor: 0, quantity: wire::QuantityCode(1) })
            .collect();
        DeviceSpec { name: name.into(), chip, bus: bus.into(), every_ms: 1000, outputs }
    }

    fn problems(devices: &[DeviceSpec]) -> Vec<String> {
        plan(devices).err().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn devices_are_sorted_by_bus_and_link() {
        let groups = plan(&[
            device("a", "i2c-1", Chip::Sht4x { address: 0x44 }, &["temperature"]),
            device("b", "i2c-2", Chip::Sht4x { address: 0x44 }, &[]),
            device("c", "i2c-1", Chip::Sht4x { address: 0x45 }, &["humidity"]),
            device("d", "i2c-1", Chip::Contact { pin: 4, debounce_ms: 50, active_low: true }, &["contact"]),
        ])
        .unwrap();
        let shape: Vec<(Link, &str, usize)> =
            groups.iter().map(|group| (group.link, group.bus.as_str(), group.devices.len())).collect();
        assert_eq!(shape, [(Link::I2c, "i2c-1", 2), (Link::I2c, "i2c-2", 1), (Link::Gpio, "i2c-1", 1)]);
    }

    #[test]
    fn every_mistake_is_found_and_explained() {
        let chip =
            Chip::Ads1115Loop { address: 0x40, channel: 4, shunt_ohm: 500.0, at_4ma: 1.0, at_20ma: 1.0 };
        let found = problems(&[
            device("adc", "b", chip, &["value"]),
            device("level", "u", Chip::A02yyuw { mounted_mm: None }, &["level"]),
        ]);
        assert_eq!(found.len(), 5, "{found:?}");
        assert!(found[0].contains("0x48 to 0x4b"), "{found:?}");
        assert!(found[4].contains("mounted_mm"), "{found:?}");
    }

    #[test]
    fn two_devices_in_one_place_are_refused() {
        let sht = |name| device(name, "i2c-1", Chip::Sht4x { address: 0x44 }, &[]);
        assert_eq!(
            problems(&[sht("a"), sht("b")]),
            ["device \"b\" (sht4x): address 0x44 on \"i2c-1\" is taken by device \"a\""]
        );
        let gauge = device("g", "gpio", Chip::RainGauge { pin: 7, mm_per_tip: 0.2 }, &["rain"]);
        let door =
            device("d", "gpio", Chip::Contact { pin: 7, debounce_ms: 20, active_low: true }, &["contact"]);
        assert_eq!(problems(&[gauge, door]).len(), 1);
        let loops = |name, channel| {
            let chip =
                Chip::Ads1115Loop { address: 0x48, channel, shunt_ohm: 100.0, at_4ma: 0.0, at_20ma: 1.0 };
            device(name, "i2c-1", chip, &[])
        };
        assert!(problems(&[loops("a", 0), loops("b", 1)]).is_empty(), "four loops share one chip");
    }
}
