//! The hands and eyes of a smart seal: what it can do, feel and see. Nothing here knows what a grant is.
//!
//! # Layout
//! - [`Hands`]: a lock and what watches over it; [`pins`]: any such on the pins of a board
//! - [`camera`]: one photograph when asked; [`mjpeg`]: out of a stream of them; `v4l2`: by the kernel (feature `v4l2`)
//! - [`counter`]: a number that never goes back
//! - [`reader`]: what people type or hold against it
//! - [`world`]: a seal, a person and a table that exist in a folder only: the same logic runs unmodified
//! - [`spec`]: what the configuration says, and how it is opened

use std::fmt;

pub mod camera;
pub mod counter;
pub mod mjpeg;
pub mod pins;
pub mod reader;
pub mod spec;
#[cfg(feature = "v4l2")]
pub mod v4l2;
pub mod world;

pub use camera::{Camera, CameraError, Moment, Picture};
pub use counter::{Counter, CounterError};
pub use reader::{Reader, Shown};
pub use spec::{CameraSpec, CounterSpec, HandsSpec, OpenError, Parts, SealSpec, open};

/// How often [`Hands::feel`] wants to be called, in ms, also while the lock is closed. Where a board keeps edges with their
/// time, a late call is late only; where it does not, a stroke that is shorter than the pause between two calls is missed.
pub const FEEL_EVERY_MS: u64 = 5;

/// The lock of a seal, and what watches over it.
///
/// It lets go by itself when it is dropped, and in [`Hands::feel`] when it was held open for as long as it may. A process that
/// is killed does neither: the electronics need a limit of their own (a monostable, or a watchdog that takes the power away).
pub trait Hands: Send {
    /// Whether [`Hands::open`] would be tried: the lock is known to be closed, everything is whole and can be read. Ask
    /// before a use is spent.
    ///
    /// # Errors
    /// Why not.
    fn ready(&self) -> Result<(), HandsError>;

    /// Lets the seal be pressed. Call [`Hands::close`] whatever the answer: after an error too nobody knows where the lock is.
    ///
    /// # Errors
    /// Why it may not, or cannot.
    fn open(&mut self, now_ms: u64) -> Result<(), HandsError>;

    /// Lets it be pressed no more. [`Feeling::Closed`] or [`Feeling::NotClosed`] follows, once for each call.
    fn close(&mut self, now_ms: u64);

    /// Appends what was felt since the last call, in the order of time. `now_ms` is monotonic.
    fn feel(&mut self, now_ms: u64, into: &mut Vec<Feeling>);
}

/// What hands feel. Each is told once, when it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Feeling {
    /// The seal was pressed: once for each stroke, at its beginning. While it is closed nothing but force or a broken sensor
    /// can do that.
    Pressed,
    /// The lock is closed, its own contact says so.
    Closed,
    /// The lock does not close. It is not tried again; if it closes later, [`Feeling::Closed`] follows.
    NotClosed,
    /// The lock was open for as long as it may, and is not held any more. It still has to be closed by [`Hands::close`].
    LetGo,
    /// Somebody touched what nobody may.
    Tampered(Part),
}

/// What was touched, or cannot be felt any more: nobody can tell one from the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The cover is open, or the wire to its contact is cut.
    Cover,
    /// The tamper loop is cut.
    Loop,
    /// The seal is not in its holder, or the wire to its contact is cut.
    Seat,
    /// The lock is not closed though nobody opened it, or says that it is closed while it is held open.
    Lock,
    /// The press sensor says "pressed" for longer than anybody presses, or its wire is cut.
    Press,
    /// The pins cannot be read.
    Pins,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Cover => "the cover",
            Part::Loop => "the tamper loop",
            Part::Seat => "the seal's seat",
            Part::Lock => "the lock",
            Part::Press => "the press sensor",
            Part::Pins => "the pins",
        })
    }
}

/// Why a lock is not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandsError {
    /// It is open already, is closing, has not closed, or nothing was felt yet since the start.
    #[error("the lock is not known to be closed: feel until it says so, look at it if it never does")]
    NotClosed,
    /// Something that must be whole is not.
    #[error("{0} is open, cut or stuck: look at it before the seal is used again")]
    NotWhole(Part),
    /// The pin of the lock.
    #[error("the lock's pin cannot be driven: {0}")]
    Lock(String),
}
