//! This machine's own sensors and load, from the kernel's files. Any Linux box is a gateway with these alone.
//!
//! # Layout
//! - `kernel`: load, memory, uptime and disk
//! - `hwmon`: sensors of the board: temperatures, fans, voltages, powers, thermal zones
//!
//! Nothing here is remembered by number: the kernel numbers hwmon devices anew when one is plugged in. A sensor that
//! is gone is a fault until it is back, and is then found by its name.

mod hwmon;
mod kernel;

use std::path::PathBuf;

use crate::plan::Group;
use crate::schedule::next_due;
use crate::{Bus, Chip, Fault, Link, OpenError, Sample};
use hwmon::Found;

/// Most sensors of a machine that are discovered: a server has some 40, a Pi 3.
pub const MOST_DISCOVERED: usize = 64;
/// How often discovered sensors are read.
const DISCOVERED_EVERY_MS: u64 = 1_000;

/// Where the kernel shows itself. Tests point these at a tree of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// Usually `/sys`.
    pub sys: PathBuf,
    /// Usually `/proc`.
    pub proc: PathBuf,
    /// A path on the disk that is watched, usually `/`.
    pub disk: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { sys: "/sys".into(), proc: "/proc".into(), disk: "/".into() }
    }
}

/// A device found on this machine, like a [`crate::DeviceSpec`] but with names where numbers are not yet given.
#[derive(Debug, Clone, PartialEq)]
pub struct DiscoveredDevice {
    /// A name for it: `machine`.
    pub name: String,
    /// The part, always [`Chip::Machine`].
    pub chip: Chip,
    /// The bus to configure.
    pub bus: String,
    /// How often to read it, in milliseconds.
    pub every_ms: u64,
    /// What it gives.
    pub outputs: Vec<DiscoveredOutput>,
}

/// One output found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoveredOutput {
    /// The name of the output: `load`, `hwmon:nvme/Composite`.
    pub output: String,
    /// A sensor name that obeys `wire::SensorName`, unique among those found: `machine.load`.
    pub sensor: String,
    /// The quantity's word in the catalogue: `cpu-load`.
    pub quantity: &'static str,
    /// What it is, for people.
    pub label: String,
}

/// What this machine has. Load, memory, disk and uptime at least, even in a virtual machine without sensors.
pub fn discover() -> Vec<DiscoveredDevice> {
    discover_at(&Roots::default())
}

/// As [`discover`], in another tree.
pub fn discover_at(roots: &Roots) -> Vec<DiscoveredDevice> {
    let mut outputs: Vec<DiscoveredOutput> = Vec::new();
    for (output, quantity, label) in [
        ("load", "cpu-load", "Load average"),
        ("memory", "memory-used", "Memory"),
        ("disk", "disk-used", "Disk"),
        ("uptime", "uptime", "Uptime"),
    ] {
        outputs.push(DiscoveredOutput {
            output: output.into(),
            sensor: format!("machine.{output}"),
            quantity,
            label: label.into(),
        });
    }
    let found = hwmon::scan(&roots.sys);
    let cpu = hwmon::cpu(&found);
    if let Some(cpu) = cpu {
        outputs.push(DiscoveredOutput {
            output: "cpu".into(),
            sensor: "machine.cpu".into(),
            quantity: "cpu-temperature",
            label: format!("CPU ({} {})", cpu.chip, cpu.label),
        });
    }
    // What the CPU's output shows already, what a thermal zone says a second time, and what says nonsense.
    let worth = |sensor: &&Found| {
        cpu.is_none_or(|cpu| cpu.path != sensor.path)
            && !hwmon::is_repeated(sensor, &found)
            && sensor.read().is_some_and(|value| sensor.kind.is_plausible(value))
    };
    for sensor in found.iter().filter(worth).take(MOST_DISCOVERED) {
        outputs.push(DiscoveredOutput {
            output: sensor.output.clone(),
            sensor: sensor_name(&sensor.output, &outputs),
            quantity: sensor.quantity(),
            label: format!("{} {}", sensor.chip, sensor.label),
        });
    }
    vec![DiscoveredDevice {
        name: "machine".into(),
        chip: Chip::Machine,
        bus: "kernel".into(),
        every_ms: DISCOVERED_EVERY_MS,
        outputs,
    }]
}

/// `hwmon:nvme/Sensor 1` → `machine.hwmon.nvme.sensor-1`, and a number behind it when that is taken.
fn sensor_name(output: &str, taken: &[DiscoveredOutput]) -> String {
    let plain = output.chars().map(|c| match c.to_ascii_lowercase() {
        c if c.is_ascii_lowercase() || c.is_ascii_digit() => c,
        ':' | '/' => '.',
        '_' => '_',
        _ => '-',
    });
    // 48 bytes are allowed; 4 are left for a number.
    let name: String = "machine.".chars().chain(plain).take(wire::ids::MAX_SENSOR_NAME - 4).collect();
    let is_free = |name: &str| taken.iter().all(|other| other.sensor != name);
    if is_free(&name) {
        return name;
    }
    let numbered = (2..=MOST_DISCOVERED + 1).map(|number| format!("{name}-{number}"));
    numbered.into_iter().find(|name| is_free(name)).unwrap_or(name)
}

/// Opens the machine's own devices; anything that needs wires is refused with advice.
pub(crate) fn open(groups: &[Group]) -> Result<Vec<Box<dyn Bus>>, Vec<OpenError>> {
    let mut buses = Vec::new();
    let mut problems = Vec::new();
    for group in groups {
        if group.link == Link::Kernel {
            buses.push(bus(group));
            continue;
        }
        problems.extend(group.devices.iter().map(|device| OpenError::Unsupported {
            device: device.name.clone(),
            chip: device.chip.word(),
            board: "linux",
            why: format!(
                "it needs {}, and this board reads the machine itself only; use kind = \"raspberry\" on a Pi, or \
                 kind = \"simulated\"",
                group.link
            ),
        }));
    }
    if problems.is_empty() { Ok(buses) } else { Err(problems) }
}

/// The machine as a bus, for any board.
pub(crate) fn bus(group: &Group) -> Box<dyn Bus> {
    Box::new(MachineBus::new(group, Roots::default()))
}

struct Watched {
    output: String,
    sensor: u16,
    /// Where its file was found last.
    found: Option<Found>,
    failing: bool,
}

/// The machine itself. One device only: [`crate::plan`] sees to that.
pub struct MachineBus {
    name: String,
    roots: Roots,
    every_ms: u64,
    due_ms: u64,
    watched: Vec<Watched>,
}

impl MachineBus {
    /// The outputs of the machine in `group`, read below `roots`.
    pub fn new(group: &Group, roots: Roots) -> Self {
        let outputs = group.devices.iter().flat_map(|device| &device.outputs);
        let watched = outputs
            .map(|output| Watched {
                output: output.output.clone(),
                sensor: output.sensor,
                found: None,
                failing: false,
            })
            .collect();
        let every_ms =
            group.devices.iter().map(|device| device.every_ms).min().unwrap_or(DISCOVERED_EVERY_MS);
        Self { name: group.bus.clone(), roots, every_ms, due_ms: 0, watched }
    }

    /// Finds the files of sensors that are not known, by name.
    fn find(&mut self) {
        let is_sensor = |output: &str| output == "cpu" || output.contains(':');
        if self.watched.iter().all(|watched| watched.found.is_some() || !is_sensor(&watched.output)) {
            return;
        }
        let found = hwmon::scan(&self.roots.sys);
        for watched in self.watched.iter_mut().filter(|watched| watched.found.is_none()) {
            watched.found = match watched.output.as_str() {
                "cpu" => hwmon::cpu(&found).cloned(),
                name => found.iter().find(|sensor| sensor.output == name).cloned(),
            };
        }
    }
}

impl Watched {
    fn read(&mut self, roots: &Roots) -> Result<f64, Fault> {
        let value = match self.output.as_str() {
            "load" => kernel::load(&roots.proc),
            "memory" => kernel::memory_percent(&roots.proc),
            "uptime" => kernel::uptime_s(&roots.proc),
            "disk" => kernel::disk_percent(&roots.disk),
            _ => self.found.as_ref().and_then(Found::read),
        };
        if value.is_none() {
            // It may come back under another number.
            self.found = None;
        }
        value.ok_or(Fault::Bus)
    }
}

impl Bus for MachineBus {
    fn name(&self) -> &str {
        &self.name
    }

    fn next_due_ms(&self) -> u64 {
        self.due_ms
    }

    fn poll(&mut self, now_ms: u64, samples: &mut Vec<Sample>) {
        if now_ms < self.due_ms {
            return;
        }
        self.due_ms = next_due(self.due_ms, self.every_ms, now_ms);
        self.find();
        for watched in &mut self.watched {
            let value = watched.read(&self.roots);
            if watched.failing != value.is_err() {
                watched.failing = value.is_err();
                let output = watched.output.as_str();
                if watched.failing {
                    tracing::warn!(output, "the kernel does not show this sensor");
                } else {
                    tracing::info!(output, "the sensor is back");
                }
            }
            samples.push(Sample { sensor: watched.sensor, mono_ms: now_ms, value });
        }
    }
}
