//! Pins and buses. A board turns a list of devices into buses that can be polled.
//!
//! # Layout
//! - [`device`]: what the configuration says hangs where
//! - [`plan`]: devices checked and sorted by bus
//! - [`port`]: a link to hardware that is opened again after it failed
//! - [`i2c`], [`uart`], [`gpio`]: pollers over any such link, the same on every board
//! - [`simulated`]: a seeded street at register and byte level: the same drivers run unmodified
//! - [`seal`]: the hands and eyes of a smart seal; [`serial`]: a line to one that is a device of its own
//! - [`linux`]: this machine's own sensors and load
//! - `raspberry`: a Pi's I²C, UART and GPIO through rppal (feature `raspberry`)

use std::fmt;

pub mod device;
pub mod gpio;
pub mod i2c;
pub mod linux;
pub mod plan;
pub mod port;
#[cfg(feature = "raspberry")]
pub mod raspberry;
mod schedule;
pub mod seal;
pub mod serial;
pub mod simulated;
pub mod uart;

pub use device::{Chip, DeviceSpec, Link, Output};

/// One thing that happened on a bus: a value, or the reason why there is none.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The sensor's number in the gateway's configuration ([`Output::sensor`]).
    pub sensor: u16,
    /// When it was taken, in milliseconds since the gateway's start (monotonic).
    pub mono_ms: u64,
    /// The value in the catalogue's canonical unit, or the fault. Fault is never zero.
    pub value: Result<f64, Fault>,
}

/// Why a sensor gave no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The bus did not answer.
    Bus,
    /// The checksum of the chip's answer was wrong.
    Checksum,
    /// The sensor says that it is broken, or its loop current does.
    Sensor,
    /// Nothing came in time.
    Silent,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Bus => "the bus did not answer",
            Fault::Checksum => "the chip's checksum was wrong",
            Fault::Sensor => "the sensor reports a fault",
            Fault::Silent => "the sensor is silent",
        })
    }
}

/// Everything on one bus, polled by one thread: a stuck bus never stalls another.
pub trait Bus: Send {
    /// The bus as the configuration names it.
    fn name(&self) -> &str;

    /// When [`Bus::poll`] wants to be called next, in milliseconds since the gateway's start.
    fn next_due_ms(&self) -> u64;

    /// Reads whatever is due at `now_ms` and appends what came. May block for a conversion, some 10 ms.
    fn poll(&mut self, now_ms: u64, samples: &mut Vec<Sample>);

    /// How often the bus was opened again after it had failed, since the start: a health figure.
    fn recoveries(&self) -> u64 {
        0
    }
}

/// Which board this is, with what it needs to open.
#[derive(Debug, Clone, PartialEq)]
pub enum Board {
    /// A street that exists only here, the same for the same seed.
    Simulated {
        /// Chooses weather, fires and floods.
        seed: u64,
        /// Simulated seconds per second: 1 for live, more to see a fire sooner.
        speed: f64,
        /// Simulated seconds before the first fire and flood.
        calm_s: f64,
    },
    /// This machine.
    Linux,
    /// A Raspberry Pi.
    Raspberry,
}

/// Why a board could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// This build does not contain the board.
    #[error("board {board:?} is not in this build: build the gateway with --features {feature}")]
    NotBuilt {
        /// As configured.
        board: &'static str,
        /// What to switch on.
        feature: &'static str,
    },
    /// A device that this board cannot carry.
    #[error("device {device:?} ({chip}) cannot hang on a {board} board: {why}")]
    Unsupported {
        /// As configured.
        device: String,
        /// The part.
        chip: &'static str,
        /// The board.
        board: &'static str,
        /// The reason, and what to do.
        why: String,
    },
    /// A device that no board can carry as it is configured.
    #[error("device {device:?} ({chip}): {why}")]
    Device {
        /// As configured.
        device: String,
        /// The part.
        chip: &'static str,
        /// What is wrong, what was expected, and the value.
        why: String,
    },
    /// The operating system refused.
    #[error("bus {bus:?}: {why}")]
    Bus {
        /// As configured.
        bus: String,
        /// The reason, and what to do.
        why: String,
    },
}

/// Opens a board with everything that hangs on it: one [`Bus`] for each bus of the configuration.
///
/// # Errors
/// Every mistake at once: devices that cannot be, that stand in each other's way, that this board does not carry,
/// and buses that the operating system refuses.
pub fn open(board: &Board, devices: &[DeviceSpec]) -> Result<Vec<Box<dyn Bus>>, Vec<OpenError>> {
    let groups = plan::plan(devices)?;
    match board {
        Board::Simulated { seed, speed, calm_s } => simulated::open(*seed, *speed, *calm_s, &groups),
        Board::Linux => linux::open(&groups),
        #[cfg(feature = "raspberry")]
        Board::Raspberry => raspberry::open(&groups),
        #[cfg(not(feature = "raspberry"))]
        Board::Raspberry => Err(vec![OpenError::NotBuilt { board: "raspberry", feature: "raspberry" }]),
    }
}
