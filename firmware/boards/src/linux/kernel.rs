//! Load, memory, uptime and disk. `None` when the kernel does not say.

use std::fs;
use std::path::Path;

/// Load average of the last minute, two decimals as the kernel gives it.
pub(super) fn load(proc: &Path) -> Option<f64> {
    first_number(&fs::read_to_string(proc.join("loadavg")).ok()?)
}

/// Whole seconds since the machine started.
pub(super) fn uptime_s(proc: &Path) -> Option<f64> {
    first_number(&fs::read_to_string(proc.join("uptime")).ok()?).map(f64::floor)
}

/// Memory that is not available to programs, in % with one decimal.
pub(super) fn memory_percent(proc: &Path) -> Option<f64> {
    memory(&fs::read_to_string(proc.join("meminfo")).ok()?)
}

/// The part of the disk that users cannot write any more, in % with one decimal, as `df` counts it.
pub(super) fn disk_percent(path: &Path) -> Option<f64> {
    let disk = rustix::fs::statvfs(path).ok()?;
    let used = disk.f_blocks.saturating_sub(disk.f_bfree);
    percent(used as f64, (used + disk.f_bavail) as f64)
}

fn first_number(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)
}

fn memory(meminfo: &str) -> Option<f64> {
    let field = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        first_number(line)
    };
    let total = field("MemTotal")?;
    percent(total - field("MemAvailable")?, total)
}

fn percent(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| (part / whole * 1_000.0).round().clamp(0.0, 1_000.0) / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_texts_are_understood() {
        assert_eq!(first_number("0.52 0.58 0.59 1/467 9812\n"), Some(0.52));
        assert_eq!(first_number("12345.67 2345.1\n"), Some(12345.67));
        let meminfo = "MemTotal:       16000000 kB\nMemFree:  100 kB\nMemAvailable:   12000000 kB\n";
        assert_eq!(memory(meminfo), Some(25.0));
    }

    #[test]
    fn what_is_missing_or_wrong_is_no_value() {
        assert_eq!(first_number(""), None);
        assert_eq!(first_number("nan"), None);
        assert_eq!(memory("MemTotal: 16 kB\n"), None);
        assert_eq!(memory("MemTotal: 0 kB\nMemAvailable: 0 kB\n"), None);
        assert_eq!(disk_percent(Path::new("/no/such/path")), None);
    }

    #[test]
    fn this_disk_has_a_share_in_use() {
        let used = disk_percent(Path::new("/")).unwrap();
        assert!((0.0..=100.0).contains(&used), "{used}");
    }
}
