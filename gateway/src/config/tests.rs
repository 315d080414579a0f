use std::path::Path;

use boards::Chip;
use wire::Level;

use super::*;

const HEAD: &str = "
[gateway]
id = 'gw-1'
area = 'a/b'
data = 'd'
[place]
lat = 30.0
lon = 104.0
datum = 'wgs84'
[ingest]
broker = 'mqtt://127.0.0.1:1883'
[board]
kind = 'simulated'
";

fn parse(text: &str) -> Result<Config, Problems> {
    Config::parse("f.toml", text, Path::new("/somewhere"))
}

/// The problems of HEAD with `tail` after it, as `line: key: message`.
fn problems(tail: &str) -> Vec<String> {
    let problems = parse(&format!("{HEAD}{tail}")).expect_err("it has mistakes");
    problems.0.iter().map(ToString::to_string).collect()
}

const DEVICE: &str = "[[device]]
name = 'hall'
chip = 'sht4x'
bus = 'i2c-1'
every = '1s'
outputs = { temperature = { sensor = 'hall.t' } }
";

#[test]
fn every_example_loads() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
    let mut loaded = 0;
    for entry in fs::read_dir(folder).expect("configs is there") {
        let path = entry.expect("readable").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if name.starts_with("gateway") && name.ends_with(".toml") {
            let config = Config::load(&path).unwrap_or_else(|problems| panic!("{problems}"));
            assert!(!config.sensors.is_empty(), "{name}");
            boards::plan::plan(&config.devices).unwrap_or_else(|errors| panic!("{name}: {errors:?}"));
            loaded += 1;
        }
    }
    assert!(loaded >= 3);
}

#[test]
fn a_compact_device_means_what_it_says() {
    let config = parse(&format!(
        "{HEAD}{DEVICE}[[device]]\nname='c'\nchip='contact'\npin=4\nevery='1min'\nlat=31\nlon=105\ndatum='gcj02'\n\
         outputs={{contact={{sensor='door',quantity='door-open',label='门'}}}}\n\
         [[rule]]\nname='open'\nsensor='door'\nabove=0.5\nlevel='yellow'\n"
    ))
    .expect("valid");
    assert_eq!(config.data, Path::new("/somewhere/d"));
    assert_eq!((config.patience_ms, config.receipts, config.quota_bytes), (30_000, false, 1 << 30));
    let [hall, door] = &config.sensors[..] else { panic!("{:?}", config.sensors) };
    assert_eq!(
        (hall.quantity.name.as_str(), &hall.place),
        ("air-temperature", &config.place),
        "both by default"
    );
    assert_eq!((door.quantity.name.as_str(), door.label.as_str()), ("door-open", "门"));
    assert_eq!((door.place.datum, door.place.area.as_str()), (Datum::Gcj02, "a/b"));
    let device = &config.devices[1];
    assert_eq!(device.chip, Chip::Contact { pin: 4, debounce_ms: 50, active_low: true });
    assert_eq!((device.bus.as_str(), device.outputs[0].sensor), ("gpio", 1));
    assert_eq!((config.rules[0].sensor, config.rules[0].level), (1, Level::Yellow));
    assert_eq!(config.sensor_number(&door.name), Some(1));
}

#[test]
fn a_linux_board_finds_its_own_sensors_and_rules_may_name_them() {
    let text = HEAD.replace("simulated", "linux")
        + "[[rule]]\nname='full'\nsensor='machine.disk'\nabove=95\nlevel='yellow'\n";
    let config = parse(&text).expect("valid");
    assert!(config.sensors.iter().any(|s| s.name.as_str() == "machine.load"), "{:?}", config.sensors);
    assert_eq!(config.rules.len(), 1);
}

#[test]
fn every_mistake_is_told_at_once_with_its_line() {
    let all = problems(
        "sead = 3
[batch]
age = '5'
[buffer]
quota = '1 MiB'
[[device]]
name = 'hall'
chip = 'sht4x'
bus = 'i2c-1'
every = '1s'
outputs = { temperature = { sensor = 'hall.t' }, wind = { sensor = 'hall.w' }, humidity = { sensor = 'hall.t', quantity = 'humidty' } }
[[device]]
name = 'hall'
chip = 'ads1115-loop'
bus = 'i2c-1'
channel = 9
at_4ma = 1
at_20ma = 1
outputs = { value = { sensor = 'Hall' } }
[[rule]]
name = 'r'
sensor = 'hall.temp'
above = 3
below = 2
level = 'pink'
",
    );
    let expected = [
        "f.toml:14: board.sead: unknown key: did you mean \"seed\"?",
        "f.toml:16: batch.age: \"5\" is not a duration",
        "f.toml:18: buffer.quota: \"1 MiB\" is out of range",
        "f.toml:24: device[0].outputs.wind: sht4x has no output \"wind\": known are temperature, humidity",
        "f.toml:24: device[0].outputs.temperature.sensor: \"hall.t\" is taken by another sensor",
        "f.toml:24: device[0].outputs.humidity.quantity: \"humidty\" is not in the quantity catalogue",
        "f.toml:25: device[1].every: missing",
        "f.toml:26: device[1].name: \"hall\" is taken by another device",
        "f.toml:29: device[1].channel: 9 is out of range",
        "f.toml:31: device[1].at_20ma: the same as at_4ma",
        "f.toml:32: device[1].outputs.value.sensor: \"Hall\" is not a sensor name",
        "f.toml:35: rule[0].sensor: \"hall.temp\" is no sensor of this file: known are hall.t",
        "f.toml:37: rule[0].below: a rule has above or below, not both",
        "f.toml:38: rule[0].level: \"pink\" is not one of",
    ];
    for line in expected {
        assert!(
            all.iter().any(|problem| problem.starts_with(line)),
            "{line}\nis missing in\n{}",
            all.join("\n")
        );
    }
    assert_eq!(all.len(), expected.len(), "{}", all.join("\n"));
}

#[test]
fn one_mistake_one_message() {
    let cases = [
        ("", "f.toml:1: device: missing: at least one [[device]]"),
        (
            &format!("{DEVICE}{}", DEVICE.replace("name = 'hall'", "name = 'b'")),
            "f.toml:25: device[1].outputs.temperature.sensor: \"hall.t\" is taken by another sensor",
        ),
        (&DEVICE.replace("'1s'", "'1s'\nlat = 30"), "device[0].lon: missing"),
        (
            &DEVICE.replace("'hall.t'", "'hall.t', flat = '2s'"),
            "device[0].outputs.temperature.flat: shorter than three readings",
        ),
        (
            &format!("{DEVICE}[[rule]]\nname='r'\nsensor='hall.t'\nabove=900\nlevel='red'\n"),
            "rule[0].above: 900 Cel can never be crossed",
        ),
        (&format!("{DEVICE}[[rule]]\nname='r'\nsensor='hall.t'\nlevel='red'\n"), "rule[0].above: missing"),
        (
            &format!("{DEVICE}{0}{0}", "[[rule]]\nname='r'\nsensor='hall.t'\nbelow=3\nlevel='red'\n"),
            "rule[1].name: \"r\" is taken by another rule",
        ),
    ];
    for (tail, expected) in cases {
        let all = problems(tail);
        assert!(
            all.iter().any(|problem| problem.contains(expected)),
            "{expected}\nis missing in\n{}",
            all.join("\n")
        );
    }
}

#[test]
fn what_would_be_unsafe_or_cannot_work_is_refused() {
    let refused = |from: &str, to: &str| {
        let text = HEAD.replace(from, to) + DEVICE;
        assert_ne!(text, format!("{HEAD}{DEVICE}"), "{from} is in the text");
        parse(&text).expect_err("refused").to_string()
    };
    assert!(refused("127.0.0.1", "10.0.0.1").contains("not on this machine"));
    assert!(refused("mqtt://", "mqtts://").contains("cannot speak yet"));
    assert!(refused("datum = 'wgs84'", "").contains("datum: missing"));
    assert!(
        refused("kind = 'simulated'", "kind = 'linux'\nseed = 3").contains("only a simulated board has it")
    );
    assert!(refused("data = 'd'", "data = '/proc/version/x'").contains("is a file"));
    assert!(
        Config::load(Path::new("/nowhere.toml")).expect_err("no file").to_string().contains("cannot be read")
    );
}
