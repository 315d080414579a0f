//! The configuration file, read once into types that cannot be wrong.
//!
//! # Layout
//! - [`device`]: `[[device]]` tables: parts, buses, sensors
//! - [`rule`]: `[[rule]]` tables: alarms
//! - [`seal`]: `[seal]`: a smart seal; [`seal_line`]: `[[seal_line]]`: one that is a device of its own
//! - [`broker`]: where to ship, and what is refused without TLS
//!
//! Every mistake of a file is reported at once, each with its line; the commented example is
//! `configs/gateway.toml`.

use std::fs;
use std::path::{Path, PathBuf};

use boards::{Board, DeviceSpec};
use configs::strict::Problem;
use configs::{Catalogue, Document, Problems, Quantity, Section};
use wire::{Area, Datum, GatewayId, Place, SensorName};

pub mod broker;
pub mod device;
pub mod rule;
pub mod seal;
pub mod seal_line;
#[cfg(test)]
mod tests;

pub use broker::Broker;
pub use rule::{Agreement, Condition, Direction, Limit, Rule};
pub use seal::SealConfig;
pub use seal_line::SealLine;

/// Most sensors on one gateway: what one frame can describe.
pub const MAX_SENSORS: usize = wire::columns::MAX_SERIES;
/// Most alarm rules on one gateway: each costs a comparison per reading of its sensor and a key in the store.
pub const MAX_RULES: usize = 512;
/// Longest label in bytes: labels travel in announcements.
pub const MAX_LABEL_BYTES: usize = 96;
/// Smallest disk quota, the one the buffer's test holds: sled takes about 20 MiB whatever lies in it and gives space
/// back late, so that 32 MiB were overshot at disk speed.
pub const MIN_QUOTA_BYTES: u64 = 64 << 20;

/// A validated configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name of the box, unique in the city.
    pub id: GatewayId,
    /// What an installer wrote on it, Chinese or English.
    pub label: String,
    /// Where the buffer and the status file live. A relative path counts from the folder of the file.
    pub data: PathBuf,
    /// Where the box hangs; sensors without a place of their own are there too.
    pub place: Place,
    /// Where frames go.
    pub broker: Broker,
    /// Forget a frame only on ingest's receipt, because the broker's acknowledgement promises nothing.
    pub receipts: bool,
    /// How long the oldest unacknowledged frame may wait before the connection is thought dead, in ms.
    pub patience_ms: u64,
    /// The board.
    pub board: Board,
    /// What hangs on it. [`boards::Output::sensor`] is an index into `sensors`.
    pub devices: Vec<DeviceSpec>,
    /// Every sensor, by number.
    pub sensors: Vec<Sensor>,
    /// Alarm rules.
    pub rules: Vec<Rule>,
    /// What to do when ingest stays silent for long.
    pub liveness: Liveness,
    /// The smart seal that hangs on it, if one does.
    pub seal: Option<Box<SealConfig>>,
    /// Lines to seals that are devices of their own.
    pub seal_lines: Vec<SealLine>,
    /// When a batch of readings is closed.
    pub batch: crate::batch::Limits,
    /// Disk the buffer may take, in bytes.
    pub quota_bytes: u64,
}

/// What to do when ingest stays silent for long although data waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Liveness {
    /// When.
    pub limits: crate::ladder::Limits,
    /// The program that reboots the box, and its arguments; empty: never.
    pub reboot: Vec<String>,
}

/// One sensor: one quantity of one device.
#[derive(Debug, Clone, PartialEq)]
pub struct Sensor {
    /// Its name on this gateway.
    pub name: SensorName,
    /// What it measures.
    pub quantity: Quantity,
    /// Where it is.
    pub place: Place,
    /// The part: `sht4x`, `machine`, …
    pub chip: &'static str,
    /// What an installer wrote on the label.
    pub label: String,
    /// How often it is read, in ms.
    pub every_ms: u64,
    /// A value further than this from the median of the last five is a spike; in the quantity's unit, off if absent.
    pub spike: Option<f64>,
    /// A value that has not moved for this long is doubted, in ms; off if absent.
    pub flat_ms: Option<u64>,
    /// A value that has not moved for this long is an old one said again, and counts as a fault, in ms; off if absent.
    pub stale_ms: Option<u64>,
}

impl Config {
    /// Reads and validates a file.
    ///
    /// # Errors
    /// Every mistake of the file, or the reason why it cannot be read.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        let name = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|error| {
            let message = format!("cannot be read: {error}; name the file with --config");
            Problems(vec![Problem { file: name.clone(), line: 0, key: String::new(), message }])
        })?;
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Self::parse(&name, &text, folder)
    }

    /// Validates `text`; `file` is named in messages, and a relative data folder counts from `folder`.
    ///
    /// # Errors
    /// Every mistake of the text.
    pub fn parse(file: &str, text: &str, folder: &Path) -> Result<Self, Problems> {
        let document = Document::parse(file, text);
        let config = read(&document, folder);
        let problems = document.finish();
        match config {
            Some(config) if problems.0.is_empty() => Ok(config),
            _ => Err(problems),
        }
    }

    /// The number of the sensor with this name.
    pub fn sensor_number(&self, name: &SensorName) -> Option<u16> {
        self.sensors.iter().position(|sensor| sensor.name == *name).and_then(|n| u16::try_from(n).ok())
    }

    /// Whether a seal hangs on it, or is at the end of a line of it.
    pub fn has_seals(&self) -> bool {
        self.seal.is_some() || !self.seal_lines.is_empty()
    }

    /// The word for the board in announcements and messages.
    pub fn board_word(&self) -> &'static str {
        match self.board {
            Board::Simulated { .. } => "simulated",
            Board::Linux => "linux",
            Board::Raspberry => "raspberry",
        }
    }
}

fn read(document: &Document<'_>, folder: &Path) -> Option<Config> {
    let catalogue = Catalogue::builtin();
    let mut root = document.root();

    let mut gateway = root.section("gateway");
    let id = gateway.required("id", GatewayId::new);
    let area = gateway.required("area", Area::new);
    let label = read_label(&mut gateway);
    let data = gateway.required("data", |text| {
        if text.is_empty() {
            Err("an empty path is no folder: data = \"/var/lib/watchfire\" expected")
        } else {
            Ok(folder.join(text))
        }
    });
    if let Some(why) = data.as_deref().and_then(unusable_folder) {
        gateway.problem("data", why);
    }

    let place = read_place(&mut root.section("place"), area.as_ref(), true);

    let mut ingest = root.section("ingest");
    let broker = ingest.required("broker", Broker::parse);
    let receipts = ingest.flag("receipts").unwrap_or(false);
    let patience_ms = ingest.duration_ms("patience", 5_000..=600_000).unwrap_or(30_000);

    let liveness = read_liveness(&mut root.section("liveness"));

    let board = read_board(&mut root.section("board"));

    let mut batch = root.section("batch");
    let defaults = crate::batch::Limits::default();
    let batch = crate::batch::Limits {
        readings: batch
            .integer("readings", 1..=wire::columns::MAX_READINGS as i64)
            .map_or(defaults.readings, |n| usize::try_from(n).unwrap_or(defaults.readings)),
        age_ms: batch.duration_ms("age", 100..=600_000).unwrap_or(defaults.age_ms),
    };

    let mut buffer = root.section("buffer");
    let quota_bytes = buffer.size_bytes("quota", MIN_QUOTA_BYTES..=1 << 40).unwrap_or(1 << 30);

    let device::Devices { devices, sensors, names } =
        device::read(&mut root, board.as_ref(), &catalogue, place.as_ref());
    let rules = rule::read(&mut root, &sensors, &names);
    let seal = seal::read(&mut root.section("seal"), board.as_ref(), folder, data.as_deref()).map(Box::new);
    let own = seal.as_ref().map(|seal| seal.roots.seal.as_str());
    let seal_lines = seal_line::read(&mut root, own, folder);

    Some(Config {
        id: id?,
        label,
        data: data?,
        place: place?,
        broker: broker?,
        receipts,
        patience_ms,
        liveness,
        board: board?,
        devices,
        sensors,
        rules,
        seal,
        seal_lines,
        batch,
        quota_bytes,
    })
}

fn read_liveness(section: &mut Section<'_>) -> Liveness {
    let silence_ms = section.duration_ms("silence", 60_000..=86_400_000).unwrap_or(1_800_000);
    // Without somebody who starts it again, a process that ends stops sampling: the installer says that there is one.
    let restart = section.flag("restart").unwrap_or(false);
    let reboot_after = section.integer("reboot_after", 0..=100).and_then(|n| u32::try_from(n).ok());
    let reboot = section.texts("reboot");
    if reboot.is_empty() != (reboot_after.unwrap_or(0) == 0) {
        section.problem(
            "reboot",
            "reboot_after = 3 and reboot = [\"systemctl\", \"reboot\"] go together: name both or none",
        );
    }
    if reboot_after.unwrap_or(0) > 0 && !restart {
        section.problem(
            "reboot_after",
            "the box is rebooted after restarts, and there are none: restart = true expected",
        );
    }
    let limits = crate::ladder::Limits {
        restart_ms: restart.then_some(silence_ms),
        reboot_after: reboot_after.unwrap_or(0),
    };
    Liveness { limits, reboot }
}

/// Why a folder cannot be made or used, as far as one can see without touching it.
fn unusable_folder(path: &Path) -> Option<String> {
    let nearest = path.ancestors().find(|p| p.exists())?;
    (!nearest.is_dir()).then(|| {
        format!(
            "{} is a file, so {} cannot be a folder: name another place",
            nearest.display(),
            path.display()
        )
    })
}

fn read_label(section: &mut Section<'_>) -> String {
    section
        .optional("label", |text| {
            if text.len() <= MAX_LABEL_BYTES && !text.chars().any(char::is_control) {
                Ok(text.to_owned())
            } else {
                Err(format!("at most {MAX_LABEL_BYTES} bytes in one line expected, found {}", text.len()))
            }
        })
        .unwrap_or_default()
}

/// A place: all of latitude, longitude and datum, or, where it is optional, none.
fn read_place(section: &mut Section<'_>, area: Option<&Area>, required: bool) -> Option<Place> {
    let keys = section.keys();
    let any = ["lat", "lon", "datum"].iter().any(|key| keys.iter().any(|k| k == key));
    let datums = [
        ("wgs84", Datum::Wgs84),
        ("cgcs2000", Datum::Cgcs2000),
        ("gcj02", Datum::Gcj02),
        ("bd09", Datum::Bd09),
    ];
    if !required && !any {
        // Asked for all the same, so that a typing error gets its suggestion.
        section.number("lat", -85.0..=85.0);
        section.number("lon", -180.0..=180.0);
        section.choice("datum", &datums);
        return None;
    }
    let lat = section.required_number("lat", -85.0..=85.0);
    let lon = section.required_number("lon", -180.0..=180.0);
    if !keys.iter().any(|key| key == "datum") {
        section.problem(
            "datum",
            "missing: one of wgs84, cgcs2000, gcj02, bd09 expected; a mix-up moves a sensor by 300 to 700 m. A GNSS receiver gives wgs84",
        );
    }
    let datum = section.choice("datum", &datums);
    match Place::new(lat?, lon?, datum?, area?.clone()) {
        Ok(place) => Some(place),
        Err(error) => {
            section.problem("lon", error.to_string());
            None
        }
    }
}

#[derive(Clone, Copy)]
enum BoardWord {
    Simulated,
    Linux,
    Raspberry,
}

fn read_board(section: &mut Section<'_>) -> Option<Board> {
    if !section.exists() {
        section
            .problem("", "missing: [board] with kind = \"linux\", \"raspberry\" or \"simulated\" expected");
        return None;
    }
    let kind = section.choice(
        "kind",
        &[
            ("simulated", BoardWord::Simulated),
            ("linux", BoardWord::Linux),
            ("raspberry", BoardWord::Raspberry),
        ],
    );
    if !section.keys().iter().any(|key| key == "kind") {
        section.problem("kind", "missing: \"linux\", \"raspberry\" or \"simulated\" expected");
    }
    let seed = section.integer("seed", 0..=i64::MAX);
    let speed = section.number("speed", 0.01..=1000.0);
    let calm = section.duration_ms("calm", 0..=86_400_000);
    let kind = kind?;
    if !matches!(kind, BoardWord::Simulated) {
        for (key, given) in [("seed", seed.is_some()), ("speed", speed.is_some()), ("calm", calm.is_some())] {
            if given {
                section.problem(key, "only a simulated board has it: remove the line");
            }
        }
    }
    Some(match kind {
        BoardWord::Simulated => Board::Simulated {
            seed: seed.unwrap_or(0).unsigned_abs(),
            speed: speed.unwrap_or(1.0),
            calm_s: calm.unwrap_or(0) as f64 / 1000.0,
        },
        BoardWord::Linux => Board::Linux,
        BoardWord::Raspberry => Board::Raspberry,
    })
}
