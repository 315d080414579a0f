//! Sensors of the board: `/sys/class/hwmon` and `/sys/class/thermal`.
//!
//! Format: <https://docs.kernel.org/hwmon/sysfs-interface.html>. A sensor is named by the chip's name and the sensor's
//! label, since numbers change.

use std::fs;
use std::path::{Path, PathBuf};

/// Chips and thermal zones that are a processor's temperature, as the kernel calls them.
const CPU_NAMES: [&str; 8] = [
    "coretemp",
    "k10temp",
    "zenpower",
    "cpu_thermal",
    "cpu-thermal",
    "soc_thermal",
    "soc-thermal",
    "x86_pkg_temp",
];
/// Labels of the one sensor that stands for the whole processor.
const CPU_LABELS: [&str; 4] = ["Package id 0", "Tctl", "Tdie", "temp1"];

/// What a sensor measures, by the prefix of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `tempN_input`, thousandths of a degree.
    Temperature,
    /// `fanN_input`, turns a minute.
    Fan,
    /// `inN_input`, millivolts.
    Voltage,
    /// `powerN_input`, microwatts.
    Power,
}

impl Kind {
    const ALL: [(&'static str, Kind); 4] =
        [("temp", Kind::Temperature), ("fan", Kind::Fan), ("in", Kind::Voltage), ("power", Kind::Power)];

    /// The kernel's integer in the catalogue's unit, with the decimals that chips really have: 0.1 Cel, 1 /min,
    /// 0.001 V, 0.001 W.
    fn value(self, raw: i64) -> f64 {
        let raw = raw as f64;
        match self {
            Kind::Temperature => (raw / 100.0).round() / 10.0,
            Kind::Fan => raw,
            Kind::Voltage => raw / 1_000.0,
            Kind::Power => (raw / 1_000.0).round() / 1_000.0,
        }
    }

    /// Whether a connected sensor can say this: boards show inputs with nothing behind them as well.
    pub(super) fn is_plausible(self, value: f64) -> bool {
        match self {
            Kind::Temperature => value != 0.0 && (-40.0..=125.0).contains(&value),
            Kind::Fan => (0.0..=50_000.0).contains(&value),
            Kind::Voltage => (0.0..=500.0).contains(&value),
            Kind::Power => (0.0..=1e6).contains(&value),
        }
    }
}

/// A sensor and its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// The name of the output: `hwmon:coretemp/Core 0`, `thermal:acpitz`; `#2` behind it for a twin.
    pub(super) output: String,
    /// The chip or zone, as the kernel calls it.
    pub(super) chip: String,
    /// The sensor's label, or its file's name without `_input`.
    pub(super) label: String,
    pub(super) kind: Kind,
    pub(super) path: PathBuf,
}

impl Found {
    /// What it says now; `None` when the file is gone or says nothing.
    pub(super) fn read(&self) -> Option<f64> {
        Some(self.kind.value(text(&self.path)?.parse().ok()?))
    }

    /// The quantity's word in the catalogue.
    pub(super) fn quantity(&self) -> &'static str {
        match self.kind {
            Kind::Temperature if CPU_NAMES.contains(&self.chip.as_str()) => "cpu-temperature",
            Kind::Temperature => "board-temperature",
            Kind::Fan => "fan-speed",
            Kind::Voltage if self.chip.starts_with("BAT") => "battery-voltage",
            Kind::Voltage => "supply-voltage",
            Kind::Power => "electric-power",
        }
    }

    fn is_zone(&self) -> bool {
        self.output.starts_with("thermal:")
    }
}

/// All sensors below `sys`, in the order of the kernel's numbers.
pub(super) fn scan(sys: &Path) -> Vec<Found> {
    let mut all: Vec<Found> = Vec::new();
    for device in numbered(&sys.join("class/hwmon"), "hwmon") {
        let Some(chip) = text(&device.join("name")) else { continue };
        for (prefix, kind) in Kind::ALL {
            for path in numbered(&device, prefix) {
                let file =
                    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                let Some(stem) = file.strip_suffix("_input") else { continue };
                let label = text(&device.join(format!("{stem}_label"))).unwrap_or_else(|| stem.to_owned());
                add(&mut all, format!("hwmon:{chip}/{label}"), &chip, label, kind, path);
            }
        }
    }
    for zone in numbered(&sys.join("class/thermal"), "thermal_zone") {
        let Some(chip) = text(&zone.join("type")) else { continue };
        add(&mut all, format!("thermal:{chip}"), &chip, "temp".into(), Kind::Temperature, zone.join("temp"));
    }
    all
}

fn add(all: &mut Vec<Found>, output: String, chip: &str, label: String, kind: Kind, path: PathBuf) {
    let base = |found: &&Found| found.output.split('#').next() == Some(&output);
    let twins = all.iter().filter(base).count();
    let output = if twins == 0 { output } else { format!("{output}#{}", twins + 1) };
    all.push(Found { output, chip: chip.into(), label, kind, path });
}

/// The sensor that stands for the processor.
pub(super) fn cpu(found: &[Found]) -> Option<&Found> {
    let candidates = || {
        let is_cpu = |f: &&Found| f.kind == Kind::Temperature && CPU_NAMES.contains(&f.chip.as_str());
        found.iter().filter(is_cpu)
    };
    let labelled = CPU_LABELS.iter().find_map(|label| candidates().find(|found| found.label == *label));
    labelled.or_else(|| candidates().next())
}

/// Whether a thermal zone is also shown as a hwmon chip, which the kernel does by itself for most.
pub(super) fn is_repeated(sensor: &Found, found: &[Found]) -> bool {
    let same =
        |other: &Found| !other.is_zone() && other.chip.replace('-', "_") == sensor.chip.replace('-', "_");
    sensor.is_zone() && found.iter().any(same)
}

/// Entries `prefix` + number + anything, by that number.
fn numbered(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut all: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            let rest = name.strip_prefix(prefix)?;
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            Some((digits.parse().ok()?, folder.join(name)))
        })
        .collect();
    all.sort();
    all.into_iter().map(|(_, path)| path).collect()
}

fn text(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}
