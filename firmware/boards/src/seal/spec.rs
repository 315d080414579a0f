//! What the configuration says a seal is made of.

use std::path::PathBuf;

use super::camera::{Album, Camera, CameraError};
use super::counter::{Counter, CounterError, FileCounter};
#[cfg(feature = "raspberry")]
use super::pins::PinHands;
use super::pins::{Times, Wiring};
use super::{Hands, Reader, world};
#[cfg(feature = "v4l2")]
use super::{mjpeg::Mjpeg, v4l2::Video};
use crate::Board;

/// A seal.
#[derive(Debug, Clone, PartialEq)]
pub struct SealSpec {
    /// Lock and contacts.
    pub hands: HandsSpec,
    /// What looks at the paper; without one a grant that demands a photograph is refused.
    pub camera: Option<CameraSpec>,
    /// What counts its uses.
    pub counter: CounterSpec,
}

/// Where lock and contacts are.
#[derive(Debug, Clone, PartialEq)]
pub enum HandsSpec {
    /// On the pins of the board.
    Pins {
        /// Which pin does what.
        wiring: Wiring,
        /// How long things take.
        times: Times,
    },
    /// In this folder, on the simulated board only: see [`world`].
    World(PathBuf),
}

/// Where pictures come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CameraSpec {
    /// A file, or a folder of `*.jpg`, on the simulated board only: a picture of yesterday proves nothing.
    Album(PathBuf),
    /// A camera that gives MJPEG, by the kernel (feature `v4l2`).
    V4l2 {
        /// `/dev/v4l/by-id/…`, which does not change with the order of plugging, or `/dev/video0`.
        device: PathBuf,
        /// Wanted width in pixels.
        width: u32,
        /// Wanted height.
        height: u32,
    },
}

/// What counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CounterSpec {
    /// A file; see [`FileCounter`] for what it is worth.
    File {
        /// Where: on the disk of the buffer, outside of what is ever restored from a backup.
        path: PathBuf,
        /// Whether a missing one begins at zero: only where nothing was ever journaled.
        may_begin: bool,
    },
}

/// A seal, opened.
pub struct Parts {
    /// Lock and contacts.
    pub hands: Box<dyn Hands>,
    /// What looks at the paper.
    pub camera: Option<Box<dyn Camera>>,
    /// What counts.
    pub counter: Box<dyn Counter>,
    /// What people type or hold against it.
    pub reader: Option<Box<dyn Reader>>,
}

/// Why a seal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// This build does not contain it.
    #[error("{what} is not in this build: build the gateway with --features {feature}")]
    NotBuilt {
        /// What.
        what: &'static str,
        /// What to switch on.
        feature: &'static str,
    },
    /// The board does not carry it.
    #[error("the seal's {what} cannot be on a {board} board: {instead}")]
    Unsupported {
        /// What.
        what: &'static str,
        /// The board.
        board: &'static str,
        /// What to do.
        instead: &'static str,
    },
    /// One pin for two things.
    #[error("pin {0} of the seal is given twice: each thing needs its own")]
    PinTwice(u8),
    /// The pins, or the folder of the world.
    #[error("the seal's hands: {0}")]
    Hands(String),
    /// The camera.
    #[error(transparent)]
    Camera(#[from] CameraError),
    /// The counter.
    #[error(transparent)]
    Counter(#[from] CounterError),
}

/// Opens a seal on a board.
///
/// # Errors
/// Every mistake at once.
pub fn open(spec: &SealSpec, board: &Board, now_ms: u64) -> Result<Parts, Vec<OpenError>> {
    let mut problems = Vec::new();
    let hands = open_hands(&spec.hands, board, now_ms).map_err(|why| problems.push(why)).ok();
    let camera = spec.camera.as_ref().map(|camera| open_camera(camera, board)).transpose();
    let camera = camera.map_err(|why| problems.push(why)).ok();
    let counter = open_counter(&spec.counter).map_err(|why| problems.push(why.into())).ok();
    match (hands, camera, counter) {
        (Some((hands, reader)), Some(camera), Some(counter)) => Ok(Parts { hands, camera, counter, reader }),
        _ => Err(problems),
    }
}

type Opened = (Box<dyn Hands>, Option<Box<dyn Reader>>);

fn open_hands(spec: &HandsSpec, board: &Board, now_ms: u64) -> Result<Opened, OpenError> {
    match (spec, board) {
        (HandsSpec::World(folder), Board::Simulated { .. }) => {
            let opened = world::hands(folder, now_ms).and_then(|hands| Ok((hands, world::reader(folder)?)));
            let (hands, reader) =
                opened.map_err(|error| OpenError::Hands(format!("{}: {error}", folder.display())))?;
            Ok((hands, Some(reader)))
        }
        (HandsSpec::World(_), Board::Linux | Board::Raspberry) => Err(unsupported("world", board)),
        (HandsSpec::Pins { wiring, times }, board) => {
            if let Some(pin) = wiring.twice() {
                return Err(OpenError::PinTwice(pin));
            }
            open_pins(wiring, *times, board, now_ms).map(|hands| (hands, None))
        }
    }
}

#[cfg(feature = "raspberry")]
fn open_pins(wiring: &Wiring, times: Times, board: &Board, now_ms: u64) -> Result<Box<dyn Hands>, OpenError> {
    match board {
        Board::Simulated { .. } | Board::Linux => Err(unsupported("pins", board)),
        Board::Raspberry => {
            let (pins, lock) = crate::raspberry::open_seal(wiring).map_err(OpenError::Hands)?;
            Ok(Box::new(PinHands::new(pins, lock, wiring.clone(), times, now_ms)))
        }
    }
}

#[cfg(not(feature = "raspberry"))]
fn open_pins(_: &Wiring, _: Times, board: &Board, _: u64) -> Result<Box<dyn Hands>, OpenError> {
    match board {
        Board::Simulated { .. } | Board::Linux => Err(unsupported("pins", board)),
        Board::Raspberry => Err(OpenError::NotBuilt { what: "the board raspberry", feature: "raspberry" }),
    }
}

fn open_camera(spec: &CameraSpec, board: &Board) -> Result<Box<dyn Camera>, OpenError> {
    match (spec, board) {
        (CameraSpec::Album(path), Board::Simulated { .. }) => Ok(Box::new(Album::new(path.clone()))),
        (CameraSpec::Album(_), _) => Err(unsupported("album", board)),
        #[cfg(feature = "v4l2")]
        (CameraSpec::V4l2 { device, width, height }, _) => {
            Ok(Box::new(Mjpeg::new(Video::at(device.clone()), *width, *height)))
        }
        #[cfg(not(feature = "v4l2"))]
        (CameraSpec::V4l2 { .. }, _) => Err(OpenError::NotBuilt { what: "a V4L2 camera", feature: "v4l2" }),
    }
}

fn open_counter(spec: &CounterSpec) -> Result<Box<dyn Counter>, CounterError> {
    let CounterSpec::File { path, may_begin } = spec;
    let counter = match FileCounter::open(path) {
        Err(CounterError::Missing(_)) if *may_begin => FileCounter::create(path),
        other => other,
    };
    Ok(Box::new(counter?))
}

fn unsupported(what: &'static str, board: &Board) -> OpenError {
    let (board, instead) = match board {
        Board::Simulated { .. } => ("simulated", "give it a world, or choose the board raspberry"),
        Board::Linux => ("linux", "its pins need the board raspberry, its pictures a camera"),
        Board::Raspberry => {
            ("raspberry", "give it pins and a camera; what exists in a folder is for the simulated board")
        }
    };
    OpenError::Unsupported { what, board, instead }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::Feeling;
    use crate::seal::pins::PinSpec;

    const STREET: Board = Board::Simulated { seed: 1, speed: 1.0, calm_s: 0.0 };

    fn spec(folder: &std::path::Path) -> SealSpec {
        SealSpec {
            hands: HandsSpec::World(folder.join("world")),
            camera: Some(CameraSpec::Album(folder.into())),
            counter: CounterSpec::File { path: folder.join("counter"), may_begin: true },
        }
    }

    fn pins(seat: Option<u8>) -> HandsSpec {
        let pin = |pin| PinSpec { pin, active_low: false };
        let wiring = Wiring { lock: pin(1), press: pin(2), closed: 3, cover: None, tamper: None, seat };
        HandsSpec::Pins { wiring, times: Times::USUAL }
    }

    #[test]
    fn a_seal_in_a_folder_opens_and_its_counter_begins_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut parts = open(&spec(folder.path()), &STREET, 0).ok().unwrap();
        let mut felt = Vec::new();
        parts.hands.feel(5, &mut felt);
        assert_eq!(felt, [Feeling::Closed]);
        parts.counter.advance_to(1).unwrap();
        assert!(parts.reader.is_some() && parts.camera.is_some());
        drop(parts);
        let mut again = open(&spec(folder.path()), &STREET, 0).ok().unwrap();
        assert_eq!(again.counter.read().unwrap(), 1);
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let counter = CounterSpec::File { path: folder.path().join("none"), may_begin: false };
        let wrong = SealSpec { counter, ..spec(folder.path()) };
        let told = |spec: &SealSpec, board: &Board| {
            let problems = open(spec, board, 0).err().unwrap();
            problems.iter().map(|problem| format!("{problem}\n")).collect::<String>()
        };
        let why = told(&wrong, &Board::Linux);
        for part in ["seal's world cannot be on a linux board", "seal's album", "none is missing"] {
            assert!(why.contains(part), "{part} is not in\n{why}");
        }
        let why = told(&SealSpec { hands: pins(Some(2)), ..spec(folder.path()) }, &STREET);
        assert!(why.contains("pin 2 of the seal is given twice"), "{why}");
        let why = told(&SealSpec { hands: pins(None), ..spec(folder.path()) }, &STREET);
        assert!(why.contains("pins cannot be on a simulated board"), "{why}");
    }
}
