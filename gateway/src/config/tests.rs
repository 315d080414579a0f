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
    let folder = Path::new("../configs");
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
    assert_eq!((config.rules[0].limit().map(|l| l.sensor), config.rules[0].level), (Some(1), Level::Yellow));
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

/// Three sensors and a rule for each, and one more on the first.
const HOUSE: &str = "[[device]]
name = 'hall'
chip = 'sht4x'
bus = 'i2c-1'
every = '10s'
outputs = { temperature = { sensor = 't' }, humidity = { sensor = 'h' } }
[[device]]
name = 'gas'
chip = 'ads1115-loop'
bus = 'i2c-1'
channel = 0
at_4ma = 0
at_20ma = 1000
every = '1s'
outputs = { value = { sensor = 'co', quantity = 'co' } }
[[rule]]
name = 'heat'
sensor = 't'
above = 60
level = 'red'
[[rule]]
name = 'rise'
sensor = 't'
rises = 8
over = '2min'
level = 'orange'
[[rule]]
name = 'dry'
sensor = 'h'
falls = 20
over = '10min'
level = 'blue'
[[rule]]
name = 'co'
sensor = 'co'
above = 150
level = 'orange'
";

#[test]
fn rules_over_rises_and_rules_made_of_others() {
    let fire = "[[rule]]\nname = 'fire'\nconfirms = ['rise', 'co']\nneeded = 2\nwithin = '60s'\nrepeat = '10min'\nlevel = 'red'\n";
    // A rule may stand before those it is made of.
    let (head, rules) = HOUSE.split_once("[[rule]]").expect("rules");
    let config = parse(&format!("{HEAD}{head}{fire}[[rule]]{rules}")).expect("valid");
    let [fire, _, rise, dry, co] = &config.rules[..] else { panic!("{:?}", config.rules) };
    assert_eq!(
        fire.condition,
        Condition::Agreement(Agreement { members: vec![2, 4], needed: 2, within_ms: Some(60_000) })
    );
    assert_eq!((fire.repeat_ms, co.repeat_ms), (Some(600_000), None));
    let trend = |rule: &Rule| rule.limit().map(|l| (l.direction, l.threshold, l.over_ms));
    assert_eq!(trend(rise), Some((Direction::Above, 8.0, Some(120_000))));
    assert_eq!(trend(dry), Some((Direction::Below, -20.0, Some(600_000))), "a fall is a negative rise");
    assert_eq!(trend(co), Some((Direction::Above, 150.0, None)));
}

#[test]
fn what_confirms_nothing_is_refused() {
    let fire = |lines: &str| format!("[[rule]]\nname = 'fire'\nlevel = 'red'\n{lines}\n");
    let rule = |lines: &str| format!("[[rule]]\nname = 'r'\nlevel = 'red'\n{lines}\n");
    let cases = [
        (
            fire("confirms = ['heat', 'rise']\nneeded = 2"),
            "confirms: \"rise\" watches the same sensor as \"heat\"",
        ),
        (fire("confirms = ['co', 'co']\nneeded = 2"), "confirms: \"co\" watches the same sensor as \"co\""),
        (
            fire("confirms = ['heat', 'smoke']\nneeded = 2"),
            "confirms: \"smoke\" is no rule of this file: known are heat, rise, dry, co, fire",
        ),
        (
            fire("confirms = ['heat', 'co']\nneeded = 3"),
            "needed: 3 of 2 rules can never agree: at most 2 expected",
        ),
        (fire("confirms = ['heat', 'co']\nneeded = 1"), "needed: 1 is out of range"),
        (fire("confirms = ['heat', 'co']"), "needed: missing"),
        (fire("confirms = ['heat']\nneeded = 2"), "confirms: 1 rules, 2 to 8 expected"),
        (fire("confirms = ['heat', 'co']\nneeded = 2\nabove = 3"), "above: unknown key"),
        (
            fire("confirms = ['heat', 'co']\nneeded = 2")
                + "[[rule]]\nname = 'more'\nlevel = 'red'\nconfirms = ['fire', 'dry']\nneeded = 2\n",
            "rule[5].confirms: \"fire\" is itself made of other rules",
        ),
        (rule("sensor = 't'\nrises = 8"), "over: missing"),
        (
            rule("sensor = 't'\nrises = 8\nover = '60s'"),
            "over: t is read every 10 s, and 8 readings are needed: at least 80 s expected",
        ),
        (rule("sensor = 't'\nrises = 300\nover = '5min'"), "rises: 300 Cel can never be crossed"),
        (rule("sensor = 't'\nabove = 8\nover = '5min'"), "over: unknown key"),
        (rule("sensor = 't'\nabove = 8\nrepeat = '10s'"), "repeat: \"10s\" is out of range"),
        (
            rule("sensor = 't'\nabove = 8\nrepeat = '5min'").replace("red", "blue"),
            "repeat: blue only asks for attention",
        ),
    ];
    for (tail, expected) in cases {
        let all = problems(&format!("{HOUSE}{tail}"));
        assert!(
            all.len() == 1 && all[0].contains(expected),
            "{expected}\nexpected, found\n{}",
            all.join("\n")
        );
    }
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
        "f.toml:37: rule[0].below: a rule has one of above, below, rises, falls",
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
        ("", "f.toml:1: device: missing: at least one [[device]], or a [seal]"),
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
            &DEVICE.replace("'hall.t'", "'hall.t', flat = '1h', stale = '1h'"),
            "device[0].outputs.temperature.stale: not longer than flat",
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

#[test]
fn a_reboot_comes_after_restarts_and_neither_unasked() {
    let with = |liveness: &str| {
        let text = include_str!("../../../configs/gateway-linux.toml").to_owned();
        Config::parse("t.toml", &format!("{text}\n[liveness]\n{liveness}\n"), Path::new("/tmp"))
    };
    assert_eq!(with("").unwrap().liveness.limits.restart_ms, None);
    assert_eq!(with("restart = true").unwrap().liveness.limits.restart_ms, Some(1_800_000));
    let whole = with("restart = true\nreboot_after = 3\nreboot = ['systemctl', 'reboot']").unwrap();
    assert_eq!(whole.liveness.limits.reboot_after, 3);
    for (wrong, expected) in [
        ("reboot_after = 3\nreboot = ['reboot']", "restart = true expected"),
        ("restart = true\nreboot_after = 3", "name both or none"),
        ("restart = true\nreboot = ['reboot']", "name both or none"),
    ] {
        let problems = with(wrong).unwrap_err().to_string();
        assert!(problems.contains(expected), "{wrong}: {problems}");
    }
}

/// A folder with the files that a seal needs.
fn sealed() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let key = |byte: u8| configs::roots::key_text(&::seal::keys::PublicKey::Ed25519([byte; 32]));
    let roots = format!(
        "seal = 'gongli-07'\nroots = ['{}']\nneeded = 1\n[log]\nname = 'l'\nkey = '{}'\n[[witness]]\nname = 'w'\n\
         key = '{}'\n[witnesses]\nneeded = 1\n",
        key(1),
        key(2),
        key(3)
    );
    fs::write(folder.path().join("roots.toml"), roots).expect("writes");
    folder
}

#[test]
fn a_seal_means_what_it_says() {
    let folder = sealed();
    let parse = |head: &str, tail: &str| Config::parse("f.toml", &format!("{head}{tail}"), folder.path());
    assert!(parse(HEAD, DEVICE).expect("valid").seal.is_none());
    let seal = "[seal]\nname = 'gongli-07'\nroots = 'roots.toml'\nworld = 'w'\ncamera = { album = 'a' }\n";
    let config = parse(HEAD, &format!("{DEVICE}{seal}")).expect("valid");
    let seal = config.seal.expect("there");
    let at = |name: &str| folder.path().join(name);
    assert_eq!((seal.key, seal.hello_ms, seal.people), (at("d/seal.key"), 300_000, None));
    assert_eq!(seal.spec.hands, boards::seal::HandsSpec::World(at("w")));
    assert_eq!(seal.spec.camera, Some(boards::seal::CameraSpec::Album(at("a"))));
    let boards::seal::CounterSpec::File { path, may_begin } = seal.spec.counter;
    assert_eq!((path, may_begin), (at("d/seal.counter"), false));

    let on_pins = "[seal]\nname = 'gongli-07'\nroots = 'roots.toml'\nkey = 'k'\nhello = '1min'\n\
                   [seal.pins]\nlock = 5\npress = 6\nclosed = 13\ncover = 19\npress_active_low = true\n\
                   [seal.camera]\ndevice = '/dev/video0'\nwidth = 1280\nheight = 720\n";
    let pi = HEAD.replace("simulated", "raspberry");
    let seal = parse(&pi, &format!("{DEVICE}{on_pins}")).expect("valid").seal.expect("there");
    let boards::seal::HandsSpec::Pins { wiring, .. } = &seal.spec.hands else {
        panic!("{:?}", seal.spec.hands)
    };
    assert_eq!((wiring.lock.pin, wiring.press.pin, wiring.press.active_low), (5, 6, true));
    assert_eq!((wiring.cover, wiring.tamper, seal.hello_ms), (Some(19), None, 60_000));
}

#[test]
fn lines_to_seals_mean_what_they_say() {
    let key = crate::seal::key::line_text(&[7; 32]);
    let line = format!("[[seal_line]]\nseal = 'gongli-08'\nport = '/dev/ttyS1'\nkey = '{key}'\n");
    let config = parse(&format!("{HEAD}{DEVICE}{line}baud = 57600\n")).expect("valid");
    let expected =
        SealLine { seal: "gongli-08".into(), port: "/dev/ttyS1".into(), baud: 57_600, key: [7; 32] };
    assert_eq!((config.seal_lines.as_slice(), config.has_seals()), (&[expected][..], true));
    let config = parse(&format!("{HEAD}{DEVICE}{line}")).expect("valid");
    assert_eq!(config.seal_lines[0].baud, 115_200);

    let other = line.replace("-08", "-09");
    for (tail, expected) in [
        (line.replace("gongli-08", "公章"), "seal_line[0].seal: \"公章\" names no seal"),
        (line.replace("/dev/ttyS1", ""), "seal_line[0].port: an empty path is no port"),
        (line.replace("line-", ""), "seal_line[0].key: "),
        (line.replace("seal = 'gongli-08'", ""), "seal_line[0].seal: missing"),
        (format!("{line}baud = 1200\n"), "1200 is no usual speed"),
        (format!("{line}speed = 9600\n"), "seal_line[0].speed: unknown key"),
        (format!("{line}{line}"), "\"gongli-08\" is on this gateway already"),
        (format!("{line}{other}"), "/dev/ttyS1 is another seal's"),
        (format!("{line}{}", other.replace("S1", "S2")), "seal_line[1].key: it is another seal's"),
        (line.repeat(crate::config::seal_line::MAX_LINES + 1), "9 lines, at most 8 are allowed"),
    ] {
        let found = problems(&format!("{DEVICE}{tail}")).join("\n");
        assert!(found.contains(expected), "{tail}:\n{found}");
    }
    let folder = sealed();
    let own = format!(
        "[seal]\nname = 'gongli-07'\nroots = 'roots.toml'\nworld = 'w'\n{}",
        line.replace("-08", "-07")
    );
    let found = Config::parse("f.toml", &format!("{HEAD}{DEVICE}{own}"), folder.path()).expect_err("twice");
    assert!(found.to_string().contains("\"gongli-07\" is on this gateway already"), "{found}");
}

#[test]
fn every_mistake_of_a_seal_is_told() {
    let folder = sealed();
    for (tail, expected) in [
        ("name = 'other'\nroots = 'roots.toml'\nworld = 'w'", "is not the seal of the roots, \"gongli-07\""),
        ("name = 'gongli-07'\nroots = 'none.toml'\nworld = 'w'", "none.toml cannot be read"),
        ("name = 'gongli-07'\nroots = 'roots.toml'", "its hands are missing"),
        ("name = 'gongli-07'\nroots = 'roots.toml'\nworld = 'w'\npeople = 'none'", "none: No such file"),
        ("name = 'gongli-07'\nroots = 'roots.toml'\nworld = 'w'\nhello = '1s'", "out of range"),
        (
            "name = 'gongli-07'\nroots = 'roots.toml'\nworld = 'w'\ncamera = { width = 800 }",
            "one of them expected",
        ),
        ("name = 'gongli-07'\nroots = 'roots.toml'\nworld = 'w'\nlock = 4", "seal.lock: unknown key"),
        (
            "name = 'gongli-07'\nroots = 'roots.toml'\npins = { lock = 5, press = 5, closed = 6 }",
            "pin 5 is given twice",
        ),
        (
            "name = 'gongli-07'\nroots = 'roots.toml'\npins = { lock = 5, press = 6 }",
            "seal.pins.closed: missing",
        ),
        (
            "name = 'gongli-07'\nroots = 'roots.toml'\nworld = 'w'\npins = { lock = 1, press = 2, closed = 3 }",
            "not both",
        ),
    ] {
        let text = format!("{HEAD}{DEVICE}[seal]\n{tail}\n");
        let problems = Config::parse("f.toml", &text, folder.path()).expect_err(tail).to_string();
        assert!(problems.contains(expected), "{tail}:\n{problems}");
    }
    let text = format!(
        "{}{DEVICE}[seal]\nname = 'gongli-07'\nroots = 'roots.toml'\nworld = 'w'\n",
        HEAD.replace("simulated", "linux")
    );
    let problems = Config::parse("f.toml", &text, folder.path()).expect_err("no simulated board").to_string();
    assert!(problems.contains("only a simulated board has it"), "{problems}");
}
