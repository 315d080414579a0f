//! A seal that exists in a folder, and the person before it.
//!
//! ```text
//! held      there while the device holds the lock open
//! open      there while it is open
//! strokes   one line for each stroke on paper, numbered from 1: the truth, whatever the device says
//! jam       while it is there the bolt stays where it is
//! cover, cut, away, blind
//!           while it is there the cover is open, the tamper loop is cut, the seal is not in its holder, the pins cannot be read
//! shown     lines that a person types or holds against it: `pin 1234`, `card 04a2f3`
//! mutex     held by whoever looks at the lock and does something because of it
//! ```
//! The folder is the world: it outlives every device, and nobody is asked whether a stroke happened. A device that is killed
//! leaves the lock as it is, as pins do; when the power goes, the spring closes it: [`World::power_off`].
//! Shells may use it as well: `touch cover`, `echo pin 1234 >>shown`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use embedded_hal::digital::{Error, ErrorKind, ErrorType, OutputPin};

use super::pins::{PinHands, PinSpec, Times, Wiring};
use super::{Hands, Reader, Shown};
use crate::gpio::{Edge, Pins};

/// Most characters taken from `shown` at once: nobody types a thousand numbers between two looks.
const MAX_LINES: usize = 16 << 10;

const PRESS: u8 = 1;
const CLOSED: u8 = 2;
const COVER: u8 = 3;
const LOOP: u8 = 4;
const SEAT: u8 = 5;
const LOCK: u8 = 6;

/// What a person can do to it that stays until it is undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Block the bolt.
    Jam,
    /// Take the cover off.
    Cover,
    /// Cut the tamper loop.
    Cut,
    /// Take the seal out of its holder.
    Away,
    /// Pull the plug of all contacts.
    Blind,
}

impl Deed {
    /// Each, by the word and file that stands for it.
    pub const ALL: [(&'static str, Self); 5] = [
        ("jam", Self::Jam),
        ("cover", Self::Cover),
        ("cut", Self::Cut),
        ("away", Self::Away),
        ("blind", Self::Blind),
    ];

    fn file(self) -> &'static str {
        Self::ALL.iter().find(|(_, deed)| *deed == self).map_or("", |(file, _)| file)
    }
}

/// The folder.
#[derive(Debug, Clone)]
pub struct World {
    folder: PathBuf,
}

impl World {
    /// The world in this folder, which is made if it is not there.
    ///
    /// # Errors
    /// The disk's.
    pub fn at(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self { folder: folder.into() })
    }

    /// Presses so many times before anything can move. What the lock does not allow does not happen.
    ///
    /// # Errors
    /// The disk's.
    pub fn press(&self, times: u32) -> io::Result<bool> {
        let _turn = self.turn()?;
        let is_open = self.is("open")?;
        if is_open {
            self.stroke(times)?;
        }
        Ok(is_open)
    }

    /// Presses whatever the lock says: somebody has found a way around it.
    ///
    /// # Errors
    /// The disk's.
    pub fn force(&self) -> io::Result<()> {
        let _turn = self.turn()?;
        self.stroke(1)
    }

    /// Does something to it.
    ///
    /// # Errors
    /// The disk's.
    pub fn begin(&self, deed: Deed) -> io::Result<()> {
        let _turn = self.turn()?;
        self.make(deed.file())
    }

    /// Undoes it.
    ///
    /// # Errors
    /// The disk's.
    pub fn end(&self, deed: Deed) -> io::Result<()> {
        let _turn = self.turn()?;
        self.remove(deed.file())?;
        self.move_bolt()
    }

    /// Types or holds something against it, as [`Shown::read`] has it.
    ///
    /// # Errors
    /// The disk's.
    pub fn show(&self, line: &str) -> io::Result<()> {
        let _turn = self.turn()?;
        writeln!(self.append("shown")?, "{line}")
    }

    /// Takes the power from it: the spring closes the lock, unless the bolt is blocked.
    ///
    /// # Errors
    /// The disk's.
    pub fn power_off(&self) -> io::Result<()> {
        self.hold(false)
    }

    /// Whether it can be pressed.
    ///
    /// # Errors
    /// The disk's.
    pub fn is_open(&self) -> io::Result<bool> {
        self.is("open")
    }

    /// How many strokes there were since the world began: the truth.
    ///
    /// # Errors
    /// The disk's.
    pub fn strokes(&self) -> io::Result<u64> {
        match fs::read_to_string(self.folder.join("strokes")) {
            Ok(text) => Ok(text.lines().count() as u64),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn stroke(&self, times: u32) -> io::Result<()> {
        let before = self.strokes()?;
        let lines: String = (1..=u64::from(times)).map(|stroke| format!("{}\n", before + stroke)).collect();
        self.append("strokes")?.write_all(lines.as_bytes())
    }

    fn hold(&self, held: bool) -> io::Result<()> {
        let _turn = self.turn()?;
        if held {
            self.make("held")?
        } else {
            self.remove("held")?
        }
        self.move_bolt()
    }

    /// The bolt goes where magnet and spring want it, unless it is blocked.
    fn move_bolt(&self) -> io::Result<()> {
        match (self.is("jam")?, self.is("held")?) {
            (true, _) => Ok(()),
            (false, true) => self.make("open"),
            (false, false) => self.remove("open"),
        }
    }

    /// Until this is dropped, or its process dies, everybody else waits.
    fn turn(&self) -> io::Result<File> {
        let mutex = self.append("mutex")?;
        mutex.lock()?;
        Ok(mutex)
    }

    fn append(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().create(true).append(true).open(self.folder.join(name))
    }

    fn is(&self, name: &str) -> io::Result<bool> {
        self.folder.join(name).try_exists()
    }

    fn make(&self, name: &str) -> io::Result<()> {
        File::create(self.folder.join(name)).map(drop)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.folder.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// The hands of the seal in this folder: those of a real one, on pins that are files. Strokes made while nobody felt are
/// not felt later.
///
/// # Errors
/// The disk's.
pub fn hands(folder: &Path, now_ms: u64) -> io::Result<Box<dyn Hands>> {
    let world = World::at(folder)?;
    let felt = world.strokes()?;
    let wiring = Wiring {
        lock: PinSpec { pin: LOCK, active_low: false },
        press: PinSpec { pin: PRESS, active_low: false },
        closed: CLOSED,
        cover: Some(COVER),
        tamper: Some(LOOP),
        seat: Some(SEAT),
    };
    // Files do not bounce, and strokes here take no time.
    let times = Times { press_stable_ms: 0, loop_stable_ms: 0, ..Times::USUAL };
    let contacts = Contacts { world: world.clone(), felt };
    Ok(Box::new(PinHands::new(contacts, Bolt(world), wiring, times, now_ms)))
}

/// What people show to the seal in this folder. What was shown before nobody read.
///
/// # Errors
/// The disk's.
pub fn reader(folder: &Path) -> io::Result<Box<dyn Reader>> {
    let mut slot = Slot { world: World::at(folder)?, lines: Vec::new() };
    slot.take()?;
    slot.lines.clear();
    Ok(Box::new(slot))
}

struct Contacts {
    world: World,
    felt: u64,
}

impl Contacts {
    fn check(&self) -> io::Result<()> {
        if self.world.is("blind")? { Err(io::Error::other("the plug is pulled")) } else { Ok(()) }
    }
}

impl Pins for Contacts {
    fn is_high(&mut self, pin: u8) -> Result<bool, String> {
        let file = match pin {
            CLOSED => "open",
            COVER => "cover",
            LOOP => "cut",
            SEAT => "away",
            _ => return Ok(false),
        };
        self.check().and_then(|()| self.world.is(file)).map_err(|error| error.to_string())
    }

    fn edges(&mut self, now_ms: u64, into: &mut Vec<Edge>) -> Result<(), String> {
        let strokes = self.check().and_then(|()| self.world.strokes()).map_err(|error| error.to_string())?;
        for _ in self.felt..strokes {
            into.extend([true, false].map(|high| Edge { pin: PRESS, at_ms: now_ms, high }));
        }
        self.felt = strokes;
        Ok(())
    }
}

struct Bolt(World);

/// An error of the disk, as embedded-hal wants it.
#[derive(Debug)]
struct BoltError(#[expect(dead_code, reason = "shown by Debug")] io::Error);

impl Error for BoltError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}

impl ErrorType for Bolt {
    type Error = BoltError;
}

impl OutputPin for Bolt {
    fn set_low(&mut self) -> Result<(), BoltError> {
        self.0.hold(false).map_err(BoltError)
    }

    fn set_high(&mut self) -> Result<(), BoltError> {
        self.0.hold(true).map_err(BoltError)
    }
}

struct Slot {
    world: World,
    /// The oldest last.
    lines: Vec<Shown>,
}

impl Slot {
    fn take(&mut self) -> io::Result<()> {
        let _turn = self.world.turn()?;
        let path = self.world.folder.join("shown");
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        self.world.remove("shown")?;
        let text = String::from_utf8_lossy(text.get(..MAX_LINES).unwrap_or(&text)).into_owned();
        self.lines.extend(text.lines().rev().filter_map(Shown::read));
        Ok(())
    }
}

impl Reader for Slot {
    fn shown(&mut self) -> Result<Option<Shown>, String> {
        if self.lines.is_empty() {
            self.take().map_err(|error| format!("{}: {error}", self.world.folder.display()))?;
        }
        Ok(self.lines.pop())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::Feeling::{self, Closed, NotClosed, Pressed, Tampered};
    use crate::seal::{HandsError, Part};

    /// A seal in a folder, as its device has it.
    struct Device {
        hands: Box<dyn Hands>,
        now_ms: u64,
    }

    impl Device {
        fn start(folder: &Path) -> Self {
            Self { hands: hands(folder, 0).unwrap(), now_ms: 0 }
        }

        fn feel(&mut self) -> Vec<Feeling> {
            self.now_ms += 5;
            let mut felt = Vec::new();
            self.hands.feel(self.now_ms, &mut felt);
            felt
        }

        fn open(&mut self) {
            self.hands.open(self.now_ms).unwrap();
            assert_eq!(self.feel(), []);
        }
    }

    fn world() -> (tempfile::TempDir, World, Device) {
        let folder = tempfile::tempdir().unwrap();
        let mut device = Device::start(folder.path());
        assert_eq!(device.feel(), [Closed]);
        let world = World::at(folder.path()).unwrap();
        (folder, world, device)
    }

    #[test]
    fn it_is_pressed_only_while_it_is_open() {
        let (_folder, world, mut device) = world();
        assert!(!world.press(1).unwrap());
        device.open();
        assert!(world.press(1).unwrap());
        assert_eq!(device.feel(), [Pressed]);
        device.hands.close(device.now_ms);
        assert!(!world.press(1).unwrap());
        assert_eq!(device.feel(), [Closed]);
        assert_eq!(world.strokes().unwrap(), 1);
    }

    #[test]
    fn two_strokes_before_anybody_looks_are_two() {
        let (_folder, world, mut device) = world();
        device.open();
        world.press(2).unwrap();
        assert_eq!(device.feel(), [Pressed, Pressed]);
        world.press(1).unwrap();
        device.hands.close(device.now_ms);
        assert_eq!(device.feel(), [Pressed, Closed], "in the order of what happened");
    }

    #[test]
    fn a_blocked_bolt_is_told_and_the_seal_can_be_pressed_on() {
        let (_folder, world, mut device) = world();
        device.open();
        world.begin(Deed::Jam).unwrap();
        device.hands.close(device.now_ms);
        assert_eq!(device.feel(), []);
        device.now_ms += Times::USUAL.longest_move_ms;
        assert_eq!(device.feel(), [NotClosed]);
        world.press(1).unwrap();
        assert_eq!(device.feel(), [Pressed]);
        assert_eq!(device.hands.ready(), Err(HandsError::NotClosed));
        world.end(Deed::Jam).unwrap();
        assert_eq!(device.feel(), [Closed]);
    }

    #[test]
    fn what_nobody_may_touch_is_felt_once_and_nothing_opens_before_it_is_whole() {
        for (deed, part) in [
            (Deed::Cover, Part::Cover),
            (Deed::Cut, Part::Loop),
            (Deed::Away, Part::Seat),
            (Deed::Blind, Part::Pins),
        ] {
            let (_folder, world, mut device) = world();
            world.begin(deed).unwrap();
            assert_eq!(device.feel(), [Tampered(part)]);
            assert_eq!(device.feel(), []);
            assert_eq!(device.hands.open(device.now_ms), Err(HandsError::NotWhole(part)));
            assert!(!world.is_open().unwrap());
            world.end(deed).unwrap();
            assert_eq!(device.feel(), []);
            device.open();
        }
    }

    #[test]
    fn a_device_that_is_killed_leaves_it_open_and_the_next_one_closes_it() {
        let (folder, world, mut device) = world();
        device.open();
        // Killed: nobody drops it.
        std::mem::forget(device.hands);
        assert!(world.press(1).unwrap(), "nobody is there to close it");
        let mut next = Device::start(folder.path());
        assert!(!world.is_open().unwrap());
        assert_eq!(next.feel(), [Closed], "what was pressed while nobody felt is not felt now");
        next.open();
        drop(next);
        assert!(!world.is_open().unwrap(), "one that ends closes it");
        assert_eq!(world.strokes().unwrap(), 1);
    }

    #[test]
    fn without_power_the_spring_closes_it() {
        let (_folder, world, mut device) = world();
        device.open();
        world.power_off().unwrap();
        assert!(!world.press(1).unwrap());
    }

    #[test]
    fn force_is_felt_though_it_is_closed() {
        let (_folder, world, mut device) = world();
        world.force().unwrap();
        assert_eq!(device.feel(), [Pressed]);
    }

    #[test]
    fn what_is_shown_is_read_once_in_its_order_and_nothing_from_before() {
        let folder = tempfile::tempdir().unwrap();
        let world = World::at(folder.path()).unwrap();
        world.show("pin 1").unwrap();
        let mut reader = reader(folder.path()).unwrap();
        for line in ["pin 22", "nonsense", "card 0A"] {
            world.show(line).unwrap();
        }
        let mut next = || reader.shown().unwrap();
        assert_eq!(next(), Some(Shown::Pin("22".into())));
        assert_eq!(next(), Some(Shown::Card("0a".into())));
        assert_eq!(next(), None);
    }
}
