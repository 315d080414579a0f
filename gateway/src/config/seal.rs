//! `[seal]`: the smart seal that hangs on this gateway.

use std::path::{Path, PathBuf};

use ::seal::policy::Roots;
use boards::Board;
use boards::seal::pins::{PinSpec, Times, Wiring};
use boards::seal::{CameraSpec, CounterSpec, HandsSpec, SealSpec};
use configs::{Section, roots};

/// Pins of a Pi's header, by BCM number.
const PINS: std::ops::RangeInclusive<i64> = 0..=27;

/// A seal, as configured.
#[derive(Debug, Clone, PartialEq)]
pub struct SealConfig {
    /// Who decides about its rules, and its name.
    pub roots: Roots,
    /// The file of the device's key.
    pub key: PathBuf,
    /// The file of the people who may use it.
    pub people: Option<PathBuf>,
    /// What it is made of.
    pub spec: SealSpec,
    /// The usual pause between two hellos, in ms.
    pub hello_ms: u64,
}

/// Reads the section; `None` without one, or with mistakes.
pub(super) fn read(
    section: &mut Section<'_>,
    board: Option<&Board>,
    folder: &Path,
    data: Option<&Path>,
) -> Option<SealConfig> {
    if !section.exists() {
        return None;
    }
    let path = |text: &str| {
        if text.is_empty() { Err("an empty path is no file") } else { Ok(folder.join(text)) }
    };
    let name = section.required("name", |text| Ok::<_, String>(text.to_owned()));
    let roots = section.required("roots", |text| roots::load(&path(text)?));
    if let (Some(name), Some(roots)) = (&name, &roots)
        && *name != roots.seal
    {
        section.problem("name", format!("{name:?} is not the seal of the roots, {:?}", roots.seal));
    }
    let key = section.optional("key", path);
    let counter = section.optional("counter", path);
    let people = section.optional("people", path);
    if let Some(people) = &people
        && let Err(error) = crate::seal::read_people(people)
    {
        section.problem("people", error.to_string());
    }
    let hello_ms = section.duration_ms("hello", 10_000..=86_400_000).unwrap_or(300_000);
    let world = section.optional("world", path);
    let wiring = read_pins(&mut section.section("pins"));
    let hands = match (world, wiring) {
        (Some(world), Wired::No) => Some(HandsSpec::World(world)),
        (None, Wired::Yes(wiring)) => {
            if let Some(pin) = wiring.twice() {
                section.problem("pins", format!("pin {pin} is given twice: each thing needs its own"));
            }
            Some(HandsSpec::Pins { wiring, times: Times::USUAL })
        }
        (None, Wired::No) => {
            section.problem(
                "",
                "its hands are missing: [seal.pins], or world = \"FOLDER\" on a simulated board",
            );
            None
        }
        (Some(_), _) => {
            section.problem("world", "a seal has one pair of hands: world or [seal.pins], not both");
            None
        }
        (None, Wired::Wrong) => None,
    };
    let camera = read_camera(&mut section.section("camera"), folder);
    let is_simulated = matches!(board, Some(Board::Simulated { .. }));
    if board.is_some() {
        let only_here = "only a simulated board has it: a real one has pins and a camera";
        let on_pins = "on the pins of a board of kind raspberry only";
        match &hands {
            Some(HandsSpec::World(_)) if !is_simulated => section.problem("world", only_here),
            Some(HandsSpec::Pins { .. }) if !matches!(board, Some(Board::Raspberry)) => {
                section.problem("pins", on_pins);
            }
            _ => {}
        }
        if matches!(camera, Some(CameraSpec::Album(_))) && !is_simulated {
            section.problem("camera", only_here);
        }
    }
    let beside = |path: Option<PathBuf>, name: &str| Some(path.unwrap_or(data?.join(name)));
    let counter = CounterSpec::File { path: beside(counter, "seal.counter")?, may_begin: false };
    Some(SealConfig {
        roots: roots?,
        key: beside(key, "seal.key")?,
        people,
        spec: SealSpec { hands: hands?, camera, counter },
        hello_ms,
    })
}

/// What became of the pins.
enum Wired {
    No,
    Wrong,
    Yes(Wiring),
}

fn read_pins(section: &mut Section<'_>) -> Wired {
    if !section.exists() {
        return Wired::No;
    }
    let pin = |number: i64| u8::try_from(number).ok();
    let lock = section.required_integer("lock", PINS).and_then(pin);
    let lock_low = section.flag("lock_active_low").unwrap_or(false);
    let press = section.required_integer("press", PINS).and_then(pin);
    let press_low = section.flag("press_active_low").unwrap_or(false);
    let closed = section.required_integer("closed", PINS).and_then(pin);
    let [cover, tamper, seat] =
        ["cover", "tamper", "seat"].map(|key| section.integer(key, PINS).and_then(pin));
    let wiring = || {
        Some(Wiring {
            lock: PinSpec { pin: lock?, active_low: lock_low },
            press: PinSpec { pin: press?, active_low: press_low },
            closed: closed?,
            cover,
            tamper,
            seat,
        })
    };
    wiring().map_or(Wired::Wrong, Wired::Yes)
}

fn read_camera(section: &mut Section<'_>, folder: &Path) -> Option<CameraSpec> {
    if !section.exists() {
        return None;
    }
    let path = |text: &str| {
        if text.is_empty() { Err("an empty path is no camera") } else { Ok(folder.join(text)) }
    };
    let album = section.optional("album", path);
    let device = section.optional("device", path);
    let size = |found: Option<i64>, usual| found.and_then(|n| u32::try_from(n).ok()).unwrap_or(usual);
    let width = size(section.integer("width", 160..=7680), 1920);
    let height = size(section.integer("height", 120..=4320), 1080);
    match (album, device) {
        (Some(album), None) => Some(CameraSpec::Album(album)),
        (None, Some(device)) => Some(CameraSpec::V4l2 { device, width, height }),
        _ => {
            let expected = "device = \"/dev/v4l/by-id/…\", or on a simulated board album = \"FOLDER\", one of them expected";
            section.problem("", expected);
            None
        }
    }
}
