//! The linux board against a tree of files, and against this machine.
#![allow(clippy::unwrap_used, reason = "a test helper that fails is a test that fails")]

use std::fs;
use std::path::Path;

use boards::linux::{MachineBus, Roots, discover, discover_at};
use boards::plan::plan;
use boards::{Board, Bus, Chip, DeviceSpec, Fault, Output, open};
use tempfile::TempDir;
use wire::QuantityCode;

/// A machine made of files.
struct Machine {
    folder: TempDir,
}

impl Machine {
    fn new() -> Self {
        let machine = Self { folder: TempDir::new().unwrap() };
        machine.write("proc/loadavg", "0.52 0.58 0.59 1/467 9812\n");
        machine.write("proc/uptime", "12345.67 99.0\n");
        machine.write("proc/meminfo", "MemTotal: 1000 kB\nMemAvailable: 250 kB\n");
        machine
    }

    fn with_sensors() -> Self {
        let machine = Self::new();
        machine.write("sys/class/hwmon/hwmon0/name", "coretemp\n");
        machine.write("sys/class/hwmon/hwmon0/temp1_label", "Package id 0\n");
        machine.write("sys/class/hwmon/hwmon0/temp1_input", "51000\n");
        machine.write("sys/class/hwmon/hwmon0/temp2_label", "Core 0\n");
        machine.write("sys/class/hwmon/hwmon0/temp2_input", "49850\n");
        machine.write("sys/class/hwmon/hwmon1/name", "nct6775\n");
        machine.write("sys/class/hwmon/hwmon1/fan2_input", "1205\n");
        machine.write("sys/class/hwmon/hwmon1/in0_input", "1016\n");
        machine.write("sys/class/hwmon/hwmon1/temp7_input", "-128000\n");
        machine.nvme("hwmon2", "38850\n");
        machine.nvme("hwmon3", "41000\n");
        machine.write("sys/class/thermal/thermal_zone0/type", "acpitz\n");
        machine.write("sys/class/thermal/thermal_zone0/temp", "27800\n");
        machine
    }

    fn nvme(&self, number: &str, input: &str) {
        self.write(&format!("sys/class/hwmon/{number}/name"), "nvme\n");
        self.write(&format!("sys/class/hwmon/{number}/temp1_label"), "Composite\n");
        self.write(&format!("sys/class/hwmon/{number}/temp1_input"), input);
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn remove(&self, folder: &str) {
        fs::remove_dir_all(self.path(folder)).unwrap();
    }

    fn roots(&self) -> Roots {
        Roots { sys: self.path("sys"), proc: self.path("proc"), disk: self.folder.path().into() }
    }

    fn bus(&self, outputs: &[&str]) -> MachineBus {
        let groups = plan(&[device(outputs)]).unwrap();
        MachineBus::new(&groups[0], self.roots())
    }
}

fn device(outputs: &[&str]) -> DeviceSpec {
    let outputs = outputs.iter().zip(0..).map(|(output, sensor)| Output {
        output: (*output).into(),
        sensor,
        quantity: QuantityCode(300),
    });
    DeviceSpec {
        name: "machine".into(),
        chip: Chip::Machine,
        bus: "kernel".into(),
        every_ms: 1_000,
        outputs: outputs.collect(),
    }
}

fn poll(bus: &mut impl Bus) -> Vec<Result<f64, Fault>> {
    let mut samples = Vec::new();
    bus.poll(bus.next_due_ms(), &mut samples);
    samples.into_iter().map(|sample| sample.value).collect()
}

#[test]
fn a_bare_machine_has_load_memory_disk_and_uptime() {
    let machine = Machine::new();
    let found = discover_at(&machine.roots());
    let names: Vec<&str> = found[0].outputs.iter().map(|output| output.output.as_str()).collect();
    assert_eq!(names, ["load", "memory", "disk", "uptime"]);
    let values = poll(&mut machine.bus(&names));
    assert_eq!((values[0], values[1], values[3]), (Ok(0.52), Ok(75.0), Ok(12345.0)));
    assert!(values[2].is_ok_and(|used| (0.0..=100.0).contains(&used)));
}

#[test]
fn sensors_are_discovered_by_name_without_twins_and_nonsense() {
    let machine = Machine::with_sensors();
    let found = discover_at(&machine.roots()).remove(0);
    let outputs: Vec<(&str, &str, &str)> = found
        .outputs
        .iter()
        .skip(4)
        .map(|output| (output.output.as_str(), output.sensor.as_str(), output.quantity))
        .collect();
    assert_eq!(
        outputs,
        [
            ("cpu", "machine.cpu", "cpu-temperature"),
            ("hwmon:coretemp/Core 0", "machine.hwmon.coretemp.core-0", "cpu-temperature"),
            ("hwmon:nct6775/fan2", "machine.hwmon.nct6775.fan2", "fan-speed"),
            ("hwmon:nct6775/in0", "machine.hwmon.nct6775.in0", "supply-voltage"),
            ("hwmon:nvme/Composite", "machine.hwmon.nvme.composite", "board-temperature"),
            ("hwmon:nvme/Composite#2", "machine.hwmon.nvme.composite-2", "board-temperature"),
            ("thermal:acpitz", "machine.thermal.acpitz", "board-temperature"),
        ]
    );
    let names: Vec<&str> = found.outputs.iter().map(|output| output.output.as_str()).collect();
    assert_eq!(
        poll(&mut machine.bus(&names))[4..],
        [51.0, 49.9, 1205.0, 1.016, 38.9, 41.0, 27.8].map(Ok),
        "0.1 Cel, 1 /min, 0.001 V"
    );
    for output in &found.outputs {
        assert!(wire::SensorName::new(&output.sensor).is_ok(), "{}", output.sensor);
        assert!(found.chip.has_output(&output.output), "{}", output.output);
    }
}

#[test]
fn a_sensor_that_is_pulled_is_a_fault_until_it_is_back_under_another_number() {
    let machine = Machine::new();
    machine.nvme("hwmon2", "38000\n");
    let mut bus = machine.bus(&["hwmon:nvme/Composite", "load"]);
    assert_eq!(poll(&mut bus), [Ok(38.0), Ok(0.52)]);
    machine.remove("sys/class/hwmon/hwmon2");
    assert_eq!(poll(&mut bus), [Err(Fault::Bus), Ok(0.52)], "the others go on");
    assert_eq!(poll(&mut bus), [Err(Fault::Bus), Ok(0.52)]);
    machine.nvme("hwmon7", "35000\n");
    assert_eq!(poll(&mut bus), [Ok(35.0), Ok(0.52)]);
}

#[test]
fn this_machine_is_a_gateway() {
    let found = discover().remove(0);
    let names: Vec<&str> = found.outputs.iter().map(|output| output.output.as_str()).collect();
    assert!(names.len() >= 4);
    let mut buses = open(&Board::Linux, &[device(&names)]).unwrap();
    let mut samples = Vec::new();
    buses[0].poll(0, &mut samples);
    assert_eq!(samples.len(), names.len());
    assert!(samples.iter().take(4).all(|sample| sample.value.is_ok()), "{samples:?}");
    assert!(Path::new("/proc/loadavg").exists());
}

#[test]
fn parts_that_need_wires_are_refused_with_advice_all_at_once() {
    let mut climate = device(&[]);
    climate.chip = Chip::Sht4x { address: 0x44 };
    climate.bus = "/dev/i2c-1".into();
    let mut level = device(&[]);
    level.chip = Chip::A02yyuw { mounted_mm: None };
    let Err(problems) = open(&Board::Linux, &[climate, level]) else { panic!("opened") };
    assert_eq!(problems.len(), 2);
    assert!(problems[0].to_string().contains("needs I2C"), "{}", problems[0]);
    #[cfg(not(feature = "raspberry"))]
    {
        let Err(problems) = open(&Board::Raspberry, &[]) else { panic!("opened") };
        assert!(problems[0].to_string().contains("--features raspberry"), "{}", problems[0]);
    }
}
