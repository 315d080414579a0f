//! What a person sees of a running gateway: `{data}/status.json`, written every few seconds, and its words.
//!
//! Under a service manager that gives it a folder in memory the file lies there, and a link leads to it: nothing wears
//! the card that nobody needs after a power cut.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use configs::Gauges;
use serde::{Deserialize, Serialize};

/// The gauges that `gateway status` shows, with the words of the catalogue; the others have a line of their own.
const SHOWN: [&str; 14] = [
    "buffer.hours_left",
    "disk.free.bytes",
    "disk.written.bytes_per_day",
    "process.written.bytes_per_day",
    "disk.worn.percent",
    "disk.end_of_life",
    "box.celsius",
    "power.low",
    "power.was_low",
    "cpu.throttled",
    "cpu.was_throttled",
    "clock.steps",
    "process.memory.bytes",
    "process.starts",
];
/// A status older than this is not of a running gateway, in ms.
pub const STALE_MS: i64 = 15_000;

/// The state of a gateway, as of `written_ms`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Name of the gateway.
    pub gateway: String,
    /// Version of the program.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// When this was written, in ms since 1970 UTC.
    pub written_ms: i64,
    /// How long it has run, in ms.
    pub uptime_ms: u64,
    /// Where it ships to.
    pub broker: String,
    /// Whether a connection stands.
    pub online: bool,
    /// Why there is no connection, if there is none.
    pub trouble: String,
    /// What is known of the wall clock: `unset`, `held_over`, `synchronised`.
    pub clock: wire::ClockState,
    /// Sensors configured.
    pub sensors: usize,
    /// Readings since the start.
    pub readings: u64,
    /// Readings without a value since the start.
    pub faults: u64,
    /// Readings given up since the start because the disk stood still.
    pub dropped: u64,
    /// Alarm events since the start.
    #[serde(default)]
    pub alarm_events: u64,
    /// Alarms active now.
    pub alarms_active: u64,
    /// Rules that cannot see now.
    pub rules_blind: u64,
    /// Frames acknowledged as durable since the start.
    pub durable: u64,
    /// Frames refused for good since the start.
    pub refused: u64,
    /// Frames that wait, by lane.
    pub backlog: Vec<(wire::Lane, u64)>,
    /// Age of the oldest unacknowledged frame in ms.
    pub oldest_unacked_ms: u64,
    /// Disk taken by the buffer, in bytes.
    pub store_bytes: u64,
    /// Disk it may take, in bytes.
    pub quota_bytes: u64,
    /// Files in `blobs/`: must be 0.
    pub blob_files: u64,
    /// Frames set aside because ingest refused them.
    pub set_aside: u64,
    /// Frames lost since the start, each with a loss record.
    pub lost_frames: u64,
    /// Stores found damaged since the start.
    pub damaged_stores: u64,
    /// The gauges of the last health message, by name; `configs/gauges.toml` says what they mean.
    #[serde(default)]
    pub gauges: BTreeMap<String, f64>,
    /// The buses.
    pub buses: Vec<BusStatus>,
}

/// The state of a bus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BusStatus {
    /// Its name.
    pub name: String,
    /// Samples since the start.
    pub samples: u64,
    /// Samples without a value since the start.
    pub errors: u64,
}

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// No file.
    #[error(
        "没有状态文件 {path}：开机后网关运行过吗？\nno status file {path}: has this gateway run since the box started? start it with: gateway run --config FILE"
    )]
    Missing {
        /// Where it should be.
        path: String,
    },
    /// Not readable.
    #[error("状态文件 {path} 无法读取：{why}\nthe status file {path} cannot be read: {why}")]
    Unreadable {
        /// Where it is.
        path: String,
        /// The reason.
        why: String,
    },
}

/// Where the status of a gateway lies.
pub fn path(data: &Path) -> PathBuf {
    data.join("status.json")
}

/// The folder to write the status to: `volatile`, which the service manager gave, with a link to it in `data`; else `data`.
pub fn folder(data: &Path, volatile: Option<&Path>) -> PathBuf {
    let Some(volatile) = volatile else { return data.into() };
    match link(&path(data), &path(volatile)) {
        Ok(()) => volatile.into(),
        Err(error) => {
            tracing::warn!(%error, folder = %volatile.display(), "the status cannot be led to memory: it is written to the card");
            data.into()
        }
    }
}

/// Makes `link` lead to `target`, whatever it was.
fn link(link: &Path, target: &Path) -> io::Result<()> {
    if fs::read_link(link).is_ok_and(|to| to == target) {
        return Ok(());
    }
    match fs::remove_file(link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => symlink(target, link),
    }
}

impl Status {
    /// Writes the file in one step, so that a reader never sees half of it. Not synced: it describes a running
    /// process only.
    ///
    /// # Errors
    /// The operating system's.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let temporary = folder.join("status.json.new");
        fs::write(&temporary, serde_json::to_vec_pretty(self)?)?;
        fs::rename(temporary, path(folder))
    }

    /// Reads the file.
    ///
    /// # Errors
    /// [`StatusError`].
    pub fn read(data: &Path) -> Result<Self, StatusError> {
        let path = path(data);
        let shown = path.display().to_string();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StatusError::Missing { path: shown });
            }
            Err(error) => return Err(StatusError::Unreadable { path: shown, why: error.to_string() }),
        };
        serde_json::from_slice(&text)
            .map_err(|error| StatusError::Unreadable { path: shown, why: error.to_string() })
    }

    /// The few words that a service manager shows.
    pub fn line(&self) -> String {
        let uplink = if self.online { "已连接 connected" } else { "未连接 not connected" };
        let backlog: u64 = self.backlog.iter().map(|(_, frames)| frames).sum();
        format!(
            "{uplink}，待发 backlog {backlog} 帧 frames，告警 alarms {}，失明 blind {}",
            self.alarms_active, self.rules_blind
        )
    }

    /// Whether the gateway that wrote this still ran at `now_ms` since 1970.
    pub fn is_live(&self, now_ms: i64) -> bool {
        now_ms.saturating_sub(self.written_ms) <= STALE_MS
    }
}

/// A status in words, Chinese and English, as of a wall time in ms since 1970.
#[derive(Debug)]
pub struct Words<'s>(pub &'s Status, pub i64);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Words(s, now_ms) = self;
        let age_s = now_ms.saturating_sub(s.written_ms).max(0) / 1000;
        if s.is_live(*now_ms) {
            writeln!(
                f,
                "网关 gateway        {} {}（进程 pid {}）运行中 running",
                s.gateway, s.version, s.pid
            )?;
        } else {
            writeln!(
                f,
                "网关 gateway        {} 未运行：最后状态在 {age_s} 秒前 not running: last heard of {age_s} s ago",
                s.gateway
            )?;
        }
        writeln!(f, "运行时间 uptime     {}", span(s.uptime_ms))?;
        let line = match (s.online, s.trouble.as_str()) {
            (true, _) => "已连接 connected".to_owned(),
            (false, "") => "正在连接 connecting".to_owned(),
            (false, why) => format!("未连接 not connected: {why}"),
        };
        writeln!(f, "上行 uplink         {} {line}", s.broker)?;
        let clock = match s.clock {
            wire::ClockState::Unset => "未设置 unset",
            wire::ClockState::HeldOver => "保持 held over",
            wire::ClockState::Synchronised => "已同步 synchronised",
        };
        writeln!(f, "时钟 clock          {clock}")?;
        writeln!(
            f,
            "传感器 sensors      {}，读数 readings {}，故障 faults {}",
            s.sensors, s.readings, s.faults
        )?;
        writeln!(f, "告警 alarms         {} 活动 active，{} 失明 blind", s.alarms_active, s.rules_blind)?;
        let backlog: Vec<String> = s
            .backlog
            .iter()
            .filter(|(_, frames)| *frames > 0)
            .map(|(lane, frames)| format!("{} {frames}", lane.as_str()))
            .collect();
        let backlog = if backlog.is_empty() { "无 none".to_owned() } else { backlog.join(", ") };
        writeln!(f, "待发 backlog        {backlog}（最旧 oldest {}）", span(s.oldest_unacked_ms))?;
        writeln!(
            f,
            "已确认 durable      {} 帧 frames，拒收 refused {}，搁置 set aside {}",
            s.durable, s.refused, s.set_aside
        )?;
        writeln!(f, "存储 store          {:.1} / {:.0} MiB", mib(s.store_bytes), mib(s.quota_bytes))?;
        let catalogue = Gauges::builtin();
        for name in SHOWN {
            if let (Some(value), Some((gauge, _))) = (s.gauges.get(name), catalogue.get(name)) {
                let value = amount(*value, &gauge.unit);
                writeln!(f, "整机 box            {} {}：{value}", gauge.label_zh, gauge.label_en)?;
            }
        }
        for bus in &s.buses {
            writeln!(
                f,
                "总线 bus            {}：{} 次采样 samples，{} 次错误 errors",
                bus.name, bus.samples, bus.errors
            )?;
        }
        for (count, zh, en) in [
            (s.lost_frames, "帧丢失（有记录）", "frames lost, each with a loss record"),
            (s.dropped, "读数因磁盘无响应而放弃", "readings given up while the disk stood still"),
            (s.damaged_stores, "个存储损坏并已移开", "damaged stores set aside"),
            (
                s.blob_files,
                "个 blobs 文件：断电可能丢失，请报告",
                "files in blobs/: a power cut may lose them, please report",
            ),
        ] {
            if count > 0 {
                writeln!(f, "注意 attention      {count} {zh} {en}")?;
            }
        }
        Ok(())
    }
}

/// A value of a gauge in a unit that people read.
fn amount(value: f64, unit: &str) -> String {
    match unit {
        "1" => format!("{value}"),
        "By" => format!("{:.1} MiB", value / 1_048_576.0),
        "By/d" => format!("{:.1} MiB/d", value / 1_048_576.0),
        "Cel" => format!("{value:.1} °C"),
        _ => format!("{value:.1} {unit}"),
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

fn span(ms: u64) -> String {
    match ms / 1000 {
        s @ 0..=119 => format!("{s} s"),
        s @ 120..=7199 => format!("{} min", s / 60),
        s => format!("{} h {} min", s / 3600, s % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn status() -> Status {
        Status {
            gateway: "caotang-03".into(),
            version: "0.1.0".into(),
            pid: 7,
            written_ms: 1_000_000,
            uptime_ms: 7_260_000,
            broker: "mqtt://127.0.0.1:1883".into(),
            online: false,
            trouble: "connection refused".into(),
            clock: wire::ClockState::HeldOver,
            sensors: 3,
            readings: 100,
            faults: 1,
            dropped: 0,
            alarm_events: 0,
            alarms_active: 1,
            rules_blind: 0,
            durable: 9,
            refused: 0,
            backlog: vec![(wire::Lane::Alarm, 0), (wire::Lane::Reading, 12)],
            oldest_unacked_ms: 5_000,
            store_bytes: 10 << 20,
            quota_bytes: 1 << 30,
            blob_files: 0,
            set_aside: 0,
            lost_frames: 0,
            damaged_stores: 1,
            gauges: BTreeMap::from([
                ("buffer.hours_left".into(), 52.04),
                ("disk.free.bytes".into(), 2_097_152.0),
                ("warp.factor".into(), 9.0),
            ]),
            buses: vec![BusStatus { name: "gpio".into(), samples: 5, errors: 2 }],
        }
    }

    #[test]
    fn what_is_shown_is_in_the_catalogue() {
        let catalogue = Gauges::builtin();
        for name in SHOWN {
            assert!(catalogue.get(name).is_some(), "{name} has no entry in configs/gauges.toml");
        }
    }

    #[test]
    fn it_comes_back_and_speaks() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(matches!(Status::read(folder.path()), Err(StatusError::Missing { .. })));
        status().write(folder.path()).expect("writes");
        let read = Status::read(folder.path()).expect("reads");
        assert_eq!(read, status());
        let words = Words(&read, 1_005_000).to_string();
        assert_eq!(
            read.line(),
            "未连接 not connected，待发 backlog 12 帧 frames，告警 alarms 1，失明 blind 0"
        );
        for part in [
            "caotang-03",
            "运行中 running",
            "2 h 1 min",
            "connection refused",
            "reading 12（",
            "断网后还能缓存 Outage the buffer still bridges at this rate：52.0 h",
            "Free disk space：2.0 MiB",
            "10.0 / 1024 MiB",
            "1 个存储损坏",
        ] {
            assert!(words.contains(part), "{part} is missing in\n{words}");
        }
        assert!(!words.contains("blobs"), "what is fine is not worth a line:\n{words}");
        assert!(Words(&read, 1_060_000).to_string().contains("not running: last heard of 60 s ago"));
        fs::write(path(folder.path()), "{").expect("writes");
        assert!(matches!(Status::read(folder.path()), Err(StatusError::Unreadable { .. })));
    }

    #[test]
    fn a_status_in_memory_is_found_through_the_data_folder() {
        let (data, memory) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let is_link = || fs::read_link(path(data.path())).is_ok();
        // A file of an earlier version, a link, the same link again, and no service manager any more.
        fs::write(path(data.path()), "{").expect("writes");
        for (volatile, expected) in
            [(Some(memory.path()), memory.path()), (Some(memory.path()), memory.path()), (None, data.path())]
        {
            assert_eq!(folder(data.path(), volatile), expected);
            status().write(expected).expect("writes");
            assert_eq!(Status::read(data.path()).expect("is found").gateway, "caotang-03");
            assert_eq!(is_link(), volatile.is_some());
        }
        // After a reboot there is nothing yet.
        assert_eq!(folder(data.path(), Some(&memory.path().join("new"))), memory.path().join("new"));
        assert!(matches!(Status::read(data.path()), Err(StatusError::Missing { .. })));
    }
}
