//! The box itself: disk, heat, power supply, and what this process takes of it.
//!
//! Everything is read from the kernel's text files, and left out where the kernel does not say. Sources:
//! - writes: field 7 of `stat` of the disk under the data folder, sectors of 512 bytes
//!   (<https://docs.kernel.org/block/stat.html>). Where there is no such disk (an overlay, a network): `write_bytes` in
//!   `/proc/self/io`, which is of this process only and named so.
//! - wear: `life_time` and `pre_eol_info` of an eMMC (JEDEC JESD84-B51, 7.4.34 and 7.4.36); SD cards do not tell.
//! - heat: the thermal zone of the processor.
//! - power: `get_throttled` of the Raspberry Pi's firmware, or the alarm of its `rpi_volt` chip.

use std::fs;
use std::os::linux::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::trend::Trend;

const HOUR_MS: u64 = 3_600_000;
const DAY_S: f64 = 86_400.0;
/// Writes are spread unevenly over minutes: a rate of less than ten of them says little.
const LEAST_MS: u64 = 600_000;

/// Reads the box.
#[derive(Debug)]
pub struct Vitals {
    /// `/`, or a folder that looks like it.
    root: PathBuf,
    data: PathBuf,
    /// The folder of the disk under the data folder in `/sys`.
    disk: Option<PathBuf>,
    disk_written: Trend,
    process_written: Trend,
}

impl Vitals {
    /// Of the box whose root is `root`, with the buffer in `data`.
    pub fn new(root: &Path, data: &Path) -> Self {
        let disk = data.metadata().ok().and_then(|folder| disk_of(root, folder.st_dev()));
        let trend = Trend::new(HOUR_MS, 25, LEAST_MS);
        Self {
            root: root.to_owned(),
            data: data.to_owned(),
            disk,
            disk_written: trend.clone(),
            process_written: trend,
        }
    }

    /// Every gauge that this box has, by name. `now_ms` since the start.
    pub fn look(&mut self, now_ms: u64) -> Vec<(&'static str, f64)> {
        let mut found = Vec::new();
        let mut add = |name: &'static str, value: Option<f64>| {
            found.extend(value.filter(|value| value.is_finite()).map(|value| (name, value)));
        };
        add("disk.free.bytes", free_bytes(&self.data));
        let of_disk = |file: &str| fs::read_to_string(self.disk.as_ref()?.join(file)).ok();
        if let Some(total) = of_disk("stat").as_deref().and_then(written_bytes) {
            let per_s = self.disk_written.per_s(now_ms, total);
            add("disk.written.bytes_per_day", per_s.map(|rate| rate * DAY_S));
        } else if let Some(total) = self.text("proc/self/io").as_deref().and_then(process_written) {
            let per_s = self.process_written.per_s(now_ms, total);
            add("process.written.bytes_per_day", per_s.map(|rate| rate * DAY_S));
        }
        add("disk.worn.percent", of_disk("device/life_time").as_deref().and_then(worn_percent));
        add("disk.end_of_life", of_disk("device/pre_eol_info").as_deref().and_then(end_of_life));
        add("box.celsius", self.celsius());
        add("process.memory.bytes", self.text("proc/self/status").as_deref().and_then(resident_bytes));
        match self.text("sys/devices/platform/soc/soc:firmware/get_throttled").as_deref().and_then(hex) {
            Some(bits) => {
                for (name, mask) in THROTTLED {
                    add(name, Some(f64::from(u8::from(bits & mask != 0))));
                }
            }
            None => add("power.low", self.low_voltage()),
        }
        found
    }

    fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok()
    }

    /// Of the processor's thermal zone, else of the first.
    fn celsius(&self) -> Option<f64> {
        // Boxes have a handful of zones, with numbers from 0 on.
        let zone = |number: usize| {
            let folder = format!("sys/class/thermal/thermal_zone{number}");
            let kind = self.text(&format!("{folder}/type"))?;
            Some((kind, self.text(&format!("{folder}/temp"))?))
        };
        let zones: Vec<(String, String)> = (0..16).map_while(zone).collect();
        let of_processor = |(kind, _): &&(String, String)| {
            ["cpu", "soc", "x86_pkg"].iter().any(|name| kind.to_lowercase().contains(name))
        };
        let (_, temperature) = zones.iter().find(of_processor).or(zones.first())?;
        celsius(temperature)
    }

    fn low_voltage(&self) -> Option<f64> {
        let alarm = |number: usize| {
            let folder = format!("sys/class/hwmon/hwmon{number}");
            let of_pi = self.text(&format!("{folder}/name"))?.trim() == "rpi_volt";
            self.text(&format!("{folder}/in0_lcrit_alarm")).filter(|_| of_pi)
        };
        (0..16).find_map(alarm)?.trim().parse().ok()
    }
}

/// Bits of `get_throttled`: <https://www.raspberrypi.com/documentation/computers/os.html#get_throttled>. Throttled is
/// any of: frequency capped, throttled, soft temperature limit.
const THROTTLED: [(&str, u32); 4] = [
    ("power.low", 0x1),
    ("power.was_low", 0x1_0000),
    ("cpu.throttled", 0xe),
    ("cpu.was_throttled", 0xe_0000),
];

/// The folder in `/sys` of the whole disk that has a device number.
fn disk_of(root: &Path, device: u64) -> Option<PathBuf> {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let node = fs::canonicalize(root.join(format!("sys/dev/block/{major}:{minor}"))).ok()?;
    if node.join("partition").exists() { node.parent().map(Path::to_owned) } else { Some(node) }
}

fn free_bytes(data: &Path) -> Option<f64> {
    let disk = rustix::fs::statvfs(data).ok()?;
    Some(disk.f_bavail as f64 * disk.f_frsize as f64)
}

fn written_bytes(stat: &str) -> Option<u64> {
    stat.split_whitespace().nth(6)?.parse::<u64>().ok()?.checked_mul(512)
}

fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn process_written(io: &str) -> Option<u64> {
    field(io, "write_bytes")?.parse().ok()
}

fn resident_bytes(status: &str) -> Option<f64> {
    let kib: u64 = field(status, "VmRSS")?.strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib as f64 * 1024.0)
}

/// Hexadecimal with or without `0x`.
fn hex(text: &str) -> Option<u32> {
    let text = text.trim();
    u32::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
}

/// The worse of the two kinds of memory, in steps of ten: 1 is 0–10 %, 11 is over. 0 is unknown.
fn worn_percent(life_time: &str) -> Option<f64> {
    let steps = life_time.split_whitespace().filter_map(hex).filter(|step| (1..=11).contains(step)).max()?;
    Some(f64::from(steps) * 10.0)
}

fn end_of_life(pre_eol_info: &str) -> Option<f64> {
    hex(pre_eol_info).filter(|state| (1..=3).contains(state)).map(f64::from)
}

/// Thousandths of a degree, to a tenth. Zones without a sensor say zero or nonsense.
fn celsius(temp: &str) -> Option<f64> {
    let milli: i64 = temp.trim().parse().ok()?;
    let sane = milli != 0 && (-40_000..=125_000).contains(&milli);
    sane.then(|| (milli as f64 / 100.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_kernels_texts_are_understood() {
        let stat =
            "    2411       36     5616     3053      556      430    38370      257        0      308";
        assert_eq!(written_bytes(stat), Some(38_370 * 512));
        assert_eq!(process_written("wchar: 0\nwrite_bytes: 4096\ncancelled_write_bytes: 9\n"), Some(4096));
        assert_eq!(resident_bytes("VmHWM:\t  9000 kB\nVmRSS:\t    8192 kB\n"), Some(8_388_608.0));
        for (text, percent) in
            [("0x01 0x03\n", Some(30.0)), ("0x0b 0x00", Some(110.0)), ("0x00 0x00", None), ("0xff", None)]
        {
            assert_eq!(worn_percent(text), percent, "{text}");
        }
        for (text, state) in [("0x01\n", Some(1.0)), ("0x03", Some(3.0)), ("0x00", None), ("0x09", None)] {
            assert_eq!(end_of_life(text), state, "{text}");
        }
        for (text, degrees) in
            [("48312\n", Some(48.3)), ("-5050", Some(-5.1)), ("0", None), ("200000", None), ("", None)]
        {
            assert_eq!(celsius(text), degrees, "{text}");
        }
    }

    /// A box of text files.
    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, text).expect("written");
        }
        root
    }

    fn look(vitals: &mut Vitals, now_ms: u64) -> BTreeMap<&'static str, f64> {
        vitals.look(now_ms).into_iter().collect()
    }

    #[test]
    fn a_pi_with_an_emmc_tells_all() {
        let root = folder(&[
            ("devices/mmcblk0/stat", "1 1 1 1 1 1 1000 1"),
            ("devices/mmcblk0/device/life_time", "0x02 0x01"),
            ("devices/mmcblk0/device/pre_eol_info", "0x01"),
            ("devices/mmcblk0/mmcblk0p2/partition", "2"),
            ("sys/class/thermal/thermal_zone0/type", "battery"),
            ("sys/class/thermal/thermal_zone0/temp", "21000"),
            ("sys/class/thermal/thermal_zone1/type", "cpu-thermal"),
            ("sys/class/thermal/thermal_zone1/temp", "51500"),
            ("sys/devices/platform/soc/soc:firmware/get_throttled", "50004"),
            ("proc/self/status", "VmRSS: 10 kB"),
        ]);
        let device = root.path().metadata().expect("it is there").st_dev();
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let node = root.path().join(format!("sys/dev/block/{major}:{minor}"));
        fs::create_dir_all(node.parent().expect("a folder")).expect("made");
        std::os::unix::fs::symlink(root.path().join("devices/mmcblk0/mmcblk0p2"), node).expect("linked");

        let mut vitals = Vitals::new(root.path(), root.path());
        let mut told = look(&mut vitals, 0);
        assert!(told.remove("disk.free.bytes").is_some_and(|bytes| bytes >= 0.0));
        let expected = [
            ("box.celsius", 51.5),
            ("cpu.throttled", 1.0),
            ("cpu.was_throttled", 1.0),
            ("disk.end_of_life", 1.0),
            ("disk.worn.percent", 20.0),
            ("power.low", 0.0),
            ("power.was_low", 1.0),
            ("process.memory.bytes", 10_240.0),
        ];
        assert_eq!(told, BTreeMap::from(expected), "a rate needs two looks");
        fs::write(root.path().join("devices/mmcblk0/stat"), "1 1 1 1 1 1 3000 1").expect("written");
        let told = look(&mut vitals, HOUR_MS);
        assert_eq!(told.get("disk.written.bytes_per_day"), Some(&(2000.0 * 512.0 * 24.0)));
    }

    #[test]
    fn a_box_that_tells_nothing_has_no_gauges_and_a_process_tells_of_itself() {
        let root = folder(&[("proc/self/io", "write_bytes: 100")]);
        let mut vitals = Vitals::new(root.path(), root.path());
        vitals.disk = None;
        assert_eq!(Vec::from_iter(look(&mut vitals, 0).into_keys()), ["disk.free.bytes"]);
        fs::write(root.path().join("proc/self/io"), "write_bytes: 1100").expect("written");
        assert_eq!(look(&mut vitals, HOUR_MS).get("process.written.bytes_per_day"), Some(&24_000.0));
    }

    #[test]
    fn a_pi_whose_firmware_does_not_tell_has_the_alarm_of_its_chip() {
        let root = folder(&[
            ("sys/class/hwmon/hwmon0/name", "cpu_thermal"),
            ("sys/class/hwmon/hwmon0/in0_lcrit_alarm", "0"),
            ("sys/class/hwmon/hwmon1/name", "rpi_volt\n"),
            ("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n"),
        ]);
        let mut vitals = Vitals::new(root.path(), Path::new("/no/such/folder"));
        assert_eq!(look(&mut vitals, 0), BTreeMap::from([("power.low", 1.0)]));
    }
}
