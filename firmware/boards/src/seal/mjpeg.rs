//! One picture out of a stream of JPEGs.
//!
//! The stream runs only while a picture is taken. So what comes was seen after it was asked for, not before; a camera that
//! was pulled and put back is found again; and nobody is filmed who only walks by.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::camera::{Camera, CameraError, MAX_PICTURE, Moment, Picture};

/// Frames that are thrown away while exposure and white balance settle: a third of a second at 30 a second, two seconds in the
/// dark, where cameras slow down to 5.
pub const SETTLING_FRAMES: usize = 10;
/// Most frames looked at after that for one that is whole. USB drops parts of some when the machine is busy.
pub const TRIED_FRAMES: usize = 10;
/// Longest wait for a frame: the first one takes a camera about a second.
pub const FRAME_WAIT: Duration = Duration::from_secs(2);

/// What a camera gives: its word for the format, and the size in pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Four letters: `MJPG`, `YUYV`, …
    pub format: String,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

impl std::fmt::Display for Offer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}×{}", self.format, self.width, self.height)
    }
}

/// A frame as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its bytes. The driver may fill the end with zeros.
    pub bytes: Vec<u8>,
    /// The driver says that it is not whole.
    pub is_broken: bool,
}

/// A camera as the kernel has it: opened, agreed with, started, read, closed.
pub trait Stream: Send {
    /// Where it is, for messages.
    fn path(&self) -> PathBuf;

    /// Opens it and asks for this; what it will give instead is no error here.
    ///
    /// # Errors
    /// The kernel's.
    fn agree(&mut self, wanted: &Offer) -> io::Result<Offer>;

    /// Starts what was agreed on.
    ///
    /// # Errors
    /// The kernel's.
    fn start(&mut self) -> io::Result<()>;

    /// The next frame, at most `most` bytes of it; `None` when there was none for so long.
    ///
    /// # Errors
    /// The kernel's.
    fn frame(&mut self, wait: Duration, most: usize) -> io::Result<Option<Frame>>;

    /// Stops and closes it, whatever state it is in.
    fn close(&mut self);
}

/// A camera that gives MJPEG.
pub struct Mjpeg<S> {
    stream: S,
    wanted: Offer,
}

impl<S: Stream> Mjpeg<S> {
    /// Pictures of this size.
    pub fn new(stream: S, width: u32, height: u32) -> Self {
        Self { stream, wanted: Offer { format: "MJPG".into(), width, height } }
    }

    fn take(&mut self) -> Result<Picture, CameraError> {
        let camera = self.stream.path();
        let unreachable = |why: &str, error: io::Error| CameraError::Unreachable {
            camera: camera.clone(),
            why: format!("{why}: {error}"),
        };
        let given = self.stream.agree(&self.wanted).map_err(|error| {
            unreachable("look at its cable, and let the gateway's user into the group video", error)
        })?;
        // A driver that cannot do what is asked for says so here only, and then gives something else.
        if given != self.wanted {
            let (wanted, given) = (self.wanted.to_string(), given.to_string());
            return Err(CameraError::Format { camera, wanted, given });
        }
        self.stream.start().map_err(|error| unreachable("it does not start, is it in use?", error))?;
        let mut last = None;
        for index in 0..SETTLING_FRAMES + TRIED_FRAMES {
            // One byte more than it may have, so that a longer one is noticed.
            let frame = self.stream.frame(FRAME_WAIT, MAX_PICTURE + 1);
            let frame = frame.map_err(|error| unreachable("it stopped", error))?;
            let silent =
                || CameraError::Silent { camera: camera.clone(), after_ms: FRAME_WAIT.as_millis() as u64 };
            let frame = frame.ok_or_else(silent)?;
            if index < SETTLING_FRAMES || frame.is_broken {
                continue;
            }
            match Picture::new(without_padding(frame.bytes)) {
                Err(error) => last = Some(error),
                picture => return picture,
            }
        }
        Err(last.unwrap_or(CameraError::Broken { camera, frames: TRIED_FRAMES }))
    }
}

/// What the driver filled up. A JPEG ends with d9, so nothing of it is lost.
fn without_padding(mut bytes: Vec<u8>) -> Vec<u8> {
    let used = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    bytes.truncate(used);
    bytes
}

impl<S: Stream> Camera for Mjpeg<S> {
    fn picture(&mut self, _moment: Moment) -> Result<Picture, CameraError> {
        let taken = self.take();
        self.stream.close();
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A camera that never saw light.
    struct Fake {
        gives: Offer,
        frames: Vec<Option<Frame>>,
        is_started: bool,
        opened: usize,
        is_there: bool,
    }

    impl Stream for &mut Fake {
        fn path(&self) -> PathBuf {
            "/dev/video7".into()
        }
        fn agree(&mut self, _wanted: &Offer) -> io::Result<Offer> {
            self.opened += 1;
            if self.is_there { Ok(self.gives.clone()) } else { Err(io::ErrorKind::NotFound.into()) }
        }
        fn start(&mut self) -> io::Result<()> {
            self.is_started = true;
            Ok(())
        }
        fn frame(&mut self, _wait: Duration, most: usize) -> io::Result<Option<Frame>> {
            assert!(self.is_started);
            let mut frame = self.frames.remove(0);
            if let Some(frame) = &mut frame {
                frame.bytes.truncate(most);
            }
            Ok(frame)
        }
        fn close(&mut self) {
            self.is_started = false;
            self.opened -= 1;
        }
    }

    fn offer(format: &str, width: u32, height: u32) -> Offer {
        Offer { format: format.into(), width, height }
    }

    fn frame(name: u8) -> Option<Frame> {
        let bytes = [&[0xff, 0xd8, 0xff][..], &[name; 20], &[0xff, 0xd9, 0, 0, 0]].concat();
        Some(Frame { bytes, is_broken: false })
    }

    fn broken() -> Option<Frame> {
        frame(b'x').map(|frame| Frame { is_broken: true, ..frame })
    }

    fn cut() -> Option<Frame> {
        Some(Frame { bytes: vec![0xff, 0xd8, 0xff, 0, 0, 0, 0], is_broken: false })
    }

    fn camera(gives: Offer, frames: Vec<Option<Frame>>) -> Fake {
        let settling = std::iter::repeat_with(|| frame(b's')).take(SETTLING_FRAMES);
        Fake { gives, frames: settling.chain(frames).collect(), is_started: false, opened: 0, is_there: true }
    }

    fn picture(fake: &mut Fake) -> Result<Picture, String> {
        let taken = Mjpeg::new(&mut *fake, 1_280, 720).picture(Moment::Before);
        assert!(!fake.is_started && fake.opened == 0, "it is closed, however it went");
        taken.map_err(|error| error.to_string())
    }

    #[test]
    fn what_the_driver_gives_instead_is_refused() {
        for given in [offer("YUYV", 1_280, 720), offer("MJPG", 640, 480), offer("H264", 1_280, 720)] {
            let why = picture(&mut camera(given.clone(), vec![frame(b'a')])).unwrap_err();
            let expected = format!("camera /dev/video7 gives {given}, wanted MJPG 1280×720");
            assert!(why.starts_with(&expected), "{why}");
        }
    }

    #[test]
    fn the_first_whole_frame_after_settling_is_the_picture() {
        let mut fake = camera(offer("MJPG", 1_280, 720), vec![broken(), cut(), frame(b'a'), frame(b'b')]);
        let picture = picture(&mut fake).unwrap();
        assert_eq!(picture.bytes()[3..], [&[b'a'; 20][..], &[0xff, 0xd9]].concat(), "without the padding");
    }

    #[test]
    fn a_camera_that_is_silent_broken_or_gone_says_so() {
        let given = || offer("MJPG", 1_280, 720);
        let why = picture(&mut camera(given(), vec![None])).unwrap_err();
        assert!(why.contains("no frame within 2000 ms"), "{why}");
        let why = picture(&mut camera(given(), vec![broken(); TRIED_FRAMES])).unwrap_err();
        assert!(why.contains("none of 10 frames was whole"), "{why}");
        let why = picture(&mut camera(given(), vec![cut(); TRIED_FRAMES])).unwrap_err();
        assert!(why.contains("no JPEG"), "{why}");
        let long = Some(Frame { bytes: vec![0xff; MAX_PICTURE * 2], is_broken: false });
        let why = picture(&mut camera(given(), vec![long; TRIED_FRAMES])).unwrap_err();
        assert!(why.contains("at most 2097152 bytes"), "{why}");
        let why = picture(&mut Fake { is_there: false, ..camera(given(), vec![]) });
        assert!(why.is_err());
    }
}
