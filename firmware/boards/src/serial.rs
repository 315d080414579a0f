//! A serial line with something that speaks and listens: bytes as they are, eight bits, no parity, no flow control.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::termios::{self, ControlModes, OptionalActions};

/// Speeds that both ends of a line can be set to, in baud.
pub const BAUDS: [u32; 8] = [9_600, 19_200, 38_400, 57_600, 115_200, 230_400, 460_800, 921_600];

/// A serial line that is open.
#[derive(Debug)]
pub struct Serial(File);

impl Serial {
    /// Opens a line.
    ///
    /// # Errors
    /// The operating system's: it is not there, is not ours, or is no serial line.
    pub fn open(path: &Path, baud: u32) -> io::Result<Self> {
        let flags = OFlags::NOCTTY | OFlags::NONBLOCK;
        let file =
            OpenOptions::new().read(true).write(true).custom_flags(flags.bits().cast_signed()).open(path)?;
        let mut settings = termios::tcgetattr(&file)?;
        settings.make_raw();
        settings.control_modes |= ControlModes::CLOCAL | ControlModes::CREAD;
        settings.control_modes -= ControlModes::CSTOPB | ControlModes::CRTSCTS;
        settings.set_speed(baud)?;
        termios::tcsetattr(&file, OptionalActions::Now, &settings)?;
        // Two programs on one line would each hear half of it.
        termios::ioctl_tiocexcl(&file)?;
        Ok(Self(file))
    }

    /// What has come, waiting for so many ms at most; 0 bytes when nothing has.
    ///
    /// # Errors
    /// The operating system's, and that the line has gone.
    pub fn read(&mut self, into: &mut [u8], wait_ms: u64) -> io::Result<usize> {
        let wait = Timespec {
            tv_sec: i64::try_from(wait_ms / 1000).unwrap_or(i64::MAX),
            tv_nsec: (wait_ms % 1000 * 1_000_000) as _,
        };
        let mut ready = [PollFd::new(&self.0, PollFlags::IN)];
        match poll(&mut ready, Some(&wait)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(0),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        match self.0.read(into) {
            Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the port has gone")),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            read => read,
        }
    }

    /// Writes without waiting. What the system has no room for is lost, as on any wire.
    ///
    /// # Errors
    /// The operating system's.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.0.write(bytes) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }
}
