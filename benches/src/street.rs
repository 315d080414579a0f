//! The configuration files of a simulated street, and of this machine as a gateway.
//!
//! The text is what an installer would write: it goes through the gateway's own strict reader, and a reader of
//! the data folder can start any of these gateways by hand.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::city::{area, position};

/// Name of the gateway that is this machine.
pub const THIS_MACHINE: &str = "this-machine";
/// Simulated seconds by which the fires and floods of each street come later than those of the one before: an
/// operator sees one story after the other.
const CALM_STEP_S: u64 = 60;
/// Distance between two houses of a gateway in degrees: about 160 m, a geohash-7 cell each.
const HOUSE_STEP: f64 = 0.0015;
/// Most sensors a simulated gateway can have: with more, buses would need longer names than an installer likes.
pub const MAX_SENSORS: usize = 600;

/// Name of simulated gateway `number`: after the streets of its district.
pub fn gateway_name(number: usize) -> String {
    let street = if number.is_multiple_of(2) { "caotang" } else { "chunxi" };
    format!("{street}-{:02}", number / 2 + 1)
}

/// The configuration of this machine: the linux board finds its own sensors.
pub fn this_machine(broker: SocketAddr) -> String {
    let (lat, lon) = crate::city::ORIGIN;
    format!(
        r#"# This machine as a gateway: the linux board finds the sensors by itself.
[gateway]
id = "{THIS_MACHINE}"
area = "chengdu/qingyang/caotang"
data = "."
label = "本机 This machine"

[place]
lat = {:.6}
lon = {:.6}
datum = "wgs84"

[ingest]
broker = "mqtt://{broker}"

[batch]
age = "1s"

[board]
kind = "linux"
"#,
        lat - HOUSE_STEP,
        lon - HOUSE_STEP
    )
}

/// One device of a house: how its table reads, how many sensors it gives, and the rule by which it notices a fire.
struct Part {
    sensors: usize,
    notices_fire: Option<&'static str>,
    write: fn(&mut String, &House),
}

/// A house with its own place and buses.
struct House {
    number: usize,
    lat: f64,
    lon: f64,
}

impl House {
    fn table(&self, out: &mut String, device: &str, chip: &str, keys: &str, outputs: &str) {
        // Writing into a String has no way to fail.
        let _ = writeln!(
            out,
            "[[device]]\nname = \"house{n}.{device}\"\nchip = \"{chip}\"\n{keys}\nlat = {lat:.6}\nlon = {lon:.6}\ndatum = \"wgs84\"\noutputs = {{ {outputs} }}\n",
            n = self.number,
            lat = self.lat,
            lon = self.lon,
        );
    }

    fn rule(&self, out: &mut String, name: &str, sensor: &str, limit: &str, level: &str) {
        let _ = writeln!(
            out,
            "[[rule]]\nname = \"house{n}.{name}\"\nsensor = \"house{n}.{sensor}\"\n{limit}\noff_delay = \"10s\"\nlevel = \"{level}\"\n",
            n = self.number,
        );
    }

    /// A fire that two detectors of the house confirm; nothing in a house that has only one.
    fn confirmed_fire(&self, out: &mut String, rules: &[&str]) {
        if rules.len() < 2 {
            return;
        }
        let names: Vec<String> =
            rules.iter().map(|rule| format!("\"house{}.{rule}\"", self.number)).collect();
        let _ = writeln!(
            out,
            "[[rule]]\nname = \"house{n}.fire\"\nconfirms = [{}]\nneeded = 2\nwithin = \"60s\"\noff_delay = \"10s\"\nrepeat = \"1min\"\nlevel = \"red\"\n",
            names.join(", "),
            n = self.number,
        );
    }

    /// An inline output with its label in both languages.
    fn output(&self, output: &str, sensor: &str, quantity: &str, label: &str) -> String {
        let n = self.number;
        format!(
            "{output} = {{ sensor = \"house{n}.{sensor}\", quantity = \"{quantity}\", label = \"{n} 号院 {label}\" }}"
        )
    }

    /// A 4–20 mA loop on input `channel` of the house's converter.
    fn current_loop(
        &self,
        out: &mut String,
        channel: u8,
        every: &str,
        limits: (f64, f64),
        sensor: [&str; 3],
    ) {
        let [name, quantity, label] = sensor;
        let keys = format!(
            "bus = \"i2c-{}\"\nchannel = {channel}\nat_4ma = {:.1}\nat_20ma = {:.1}\nevery = \"{every}\"",
            self.number, limits.0, limits.1
        );
        self.table(out, name, "ads1115-loop", &keys, &self.output("value", name, quantity, label));
    }
}

const PARTS: [Part; 9] = [
    Part {
        sensors: 2,
        notices_fire: Some("fire.heat"),
        write: |out, house| {
            let outputs = [
                house.output(
                    "temperature",
                    "hall.temperature",
                    "air-temperature",
                    "门厅气温 Hall temperature",
                ),
                house.output("humidity", "hall.humidity", "relative-humidity", "门厅湿度 Hall humidity"),
            ];
            let keys = format!("bus = \"i2c-{}\"\nevery = \"2s\"", house.number);
            house.table(out, "hall", "sht4x", &keys, &outputs.join(", "));
            house.rule(
                out,
                "fire.heat",
                "hall.temperature",
                "above = 55\ndeadband = 8\non_delay = \"3s\"",
                "orange",
            );
            house.rule(
                out,
                "fire.rise",
                "hall.temperature",
                "rises = 15\nover = \"20s\"\ndeadband = 8",
                "yellow",
            );
        },
    },
    Part {
        sensors: 1,
        notices_fire: Some("fire.smoke"),
        write: |out, house| {
            house.current_loop(out, 0, "1s", (0.0, 100.0), ["smoke", "smoke-obscuration", "烟雾 Smoke"]);
            house.rule(out, "fire.smoke", "smoke", "above = 10\ndeadband = 4\non_delay = \"2s\"", "orange");
        },
    },
    Part {
        sensors: 1,
        notices_fire: None,
        write: |out, house| {
            let keys = format!("bus = \"uart-{}\"\nmounted_mm = 2000\nevery = \"1s\"", house.number);
            let output = house.output("level", "water", "water-level", "雨水井水位 Storm drain level");
            house.table(out, "drain", "a02yyuw", &keys, &output);
            house.rule(
                out,
                "flood.yellow",
                "water",
                "above = 250\ndeadband = 30\non_delay = \"3s\"",
                "yellow",
            );
            house.rule(out, "flood.red", "water", "above = 450\ndeadband = 30\non_delay = \"3s\"", "red");
        },
    },
    Part {
        sensors: 1,
        notices_fire: Some("fire.co"),
        write: |out, house| {
            house.current_loop(out, 1, "2s", (0.0, 1000.0), ["co", "co", "一氧化碳 Carbon monoxide"]);
            house.rule(out, "fire.co", "co", "above = 150\ndeadband = 50\non_delay = \"3s\"", "orange");
        },
    },
    Part {
        sensors: 1,
        notices_fire: None,
        write: |out, house| {
            let keys = format!("bus = \"gpio-{}\"\npin = 17\nevery = \"30s\"", house.number);
            house.table(
                out,
                "door",
                "contact",
                &keys,
                &house.output("contact", "door", "door-open", "门磁 Door"),
            );
        },
    },
    Part {
        sensors: 1,
        notices_fire: None,
        write: |out, house| {
            let sensor = ["cable", "cable-temperature", "配电箱线缆 Switchboard cable"];
            house.current_loop(out, 2, "5s", (-20.0, 180.0), sensor);
        },
    },
    Part {
        sensors: 1,
        notices_fire: None,
        write: |out, house| {
            let keys =
                format!("bus = \"gpio-{}\"\npin = 27\nmm_per_tip = 0.2\nevery = \"10s\"", house.number);
            let output = house.output("rain", "rain", "rainfall", "屋顶雨量 Roof rain gauge");
            house.table(out, "roof", "rain-gauge", &keys, &output);
        },
    },
    Part {
        sensors: 1,
        notices_fire: None,
        write: |out, house| {
            let sensor = ["hydrant", "hydrant-pressure", "消火栓压力 Hydrant pressure"];
            house.current_loop(out, 3, "10s", (0.0, 1600.0), sensor);
        },
    },
    Part {
        sensors: 1,
        notices_fire: None,
        write: |out, house| {
            let keys = format!("bus = \"gpio-{}\"\npin = 22\nevery = \"30s\"", house.number);
            let output =
                house.output("contact", "call-point", "fire-call-point", "手动报警按钮 Manual call point");
            house.table(out, "call-point", "contact", &keys, &output);
        },
    },
];

/// The configuration of simulated gateway `number` with exactly `sensors` sensors (2 or more), alarm rules included.
pub fn simulated(number: usize, sensors: usize, seed: u64, speed: f64, broker: SocketAddr) -> String {
    let sensors = sensors.clamp(2, MAX_SENSORS);
    let (lat, lon) = position(number);
    let area = area(number).map_or_else(|_| String::new(), |area| area.to_string());
    let name = gateway_name(number);
    let mut out = format!(
        r#"# Simulated gateway {number}: the drivers are real, the chips answer at register and byte level.
[gateway]
id = "{name}"
area = "{area}"
data = "."
label = "模拟街道 Simulated street {number}"

[place]
lat = {lat:.6}
lon = {lon:.6}
datum = "wgs84"

[ingest]
broker = "mqtt://{broker}"

[batch]
age = "1s"

[board]
kind = "simulated"
seed = {}
speed = {speed:?}
calm = "{}s"

"#,
        seed.wrapping_add(number as u64) & i64::MAX as u64,
        number as u64 * CALM_STEP_S,
    );
    let mut left = sensors;
    let mut houses = 0;
    while left > 0 {
        let house = House {
            number: houses + 1,
            lat: lat + (houses / 3) as f64 * HOUSE_STEP,
            lon: lon + (houses % 3) as f64 * HOUSE_STEP,
        };
        let mut detectors = Vec::new();
        for part in &PARTS {
            if part.sensors <= left {
                (part.write)(&mut out, &house);
                left -= part.sensors;
                detectors.extend(part.notices_fire);
            }
        }
        house.confirmed_fire(&mut out, &detectors);
        houses += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sensors_in(text: &str) -> usize {
        text.matches("{ sensor = ").count()
    }

    #[test]
    fn a_gateway_has_exactly_the_sensors_asked_for() {
        let broker = "127.0.0.1:1883".parse().unwrap();
        for sensors in [2, 3, 10, 50, 51, 200] {
            assert_eq!(sensors_in(&simulated(0, sensors, 1, 1.0, broker)), sensors);
        }
    }

    #[test]
    fn the_gateway_accepts_every_file() {
        let broker = "127.0.0.1:1883".parse().unwrap();
        let folder = std::path::Path::new("/tmp");
        for number in 0..4 {
            let text = simulated(number, 50, 1, 1.0, broker);
            let config = gateway::Config::parse("gateway.toml", &text, folder).unwrap();
            assert_eq!(config.sensors.len(), 50);
            assert!(boards::plan::plan(&config.devices).is_ok());
            for word in ["fire.rise", "flood"] {
                assert!(config.rules.iter().any(|rule| rule.name.contains(word)), "{word}");
            }
            let confirmed = config.rules.iter().filter(|rule| rule.limit().is_none());
            assert_eq!(confirmed.count(), 5, "one for each house");
        }
        for sensors in (2..40).chain([MAX_SENSORS]) {
            let text = simulated(0, sensors, 1, 1.0, broker);
            let config = gateway::Config::parse("gateway.toml", &text, folder);
            assert!(config.is_ok(), "{sensors} sensors: {config:?}");
        }
        let config = gateway::Config::parse("gateway.toml", &this_machine(broker), folder).unwrap();
        assert_eq!(config.id.as_str(), THIS_MACHINE);
        assert!(!config.sensors.is_empty());
    }

    #[test]
    fn neighbours_have_their_own_names_and_places() {
        let broker = "127.0.0.1:1883".parse().unwrap();
        let texts: Vec<String> = (0..4).map(|number| simulated(number, 50, 1, 1.0, broker)).collect();
        assert!(
            texts[0].contains("caotang-01")
                && texts[1].contains("chunxi-01")
                && texts[2].contains("caotang-02")
        );
        assert!(
            texts[0].contains("chengdu/qingyang/caotang") && texts[1].contains("chengdu/jinjiang/chunxi")
        );
    }
}
