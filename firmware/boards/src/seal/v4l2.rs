//! A camera by the kernel's video interface. `linuxvideo` is named in this file only.
//!
//! It has met the kernel's simulated camera (`vivid`, aarch64, kernel 6.1): that gives YUYV when it is asked for MJPEG, which is
//! refused, and its frames came. A camera that gives MJPEG it has not met: what is done with such frames is tested in
//! [`mjpeg`](super::mjpeg) with none behind it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use linuxvideo::format::{PixFormat, PixelFormat};
use linuxvideo::stream::ReadStream;
use linuxvideo::{Device, VideoCaptureDevice};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::mjpeg::{Frame, Offer, Stream};

/// The camera at a path.
pub struct Video {
    path: PathBuf,
    state: State,
}

enum State {
    Closed,
    Agreed(VideoCaptureDevice),
    Running(ReadStream),
}

impl Video {
    /// `/dev/video0`, or better a name that does not change: `/dev/v4l/by-id/…`. It is opened when a picture is taken.
    pub fn at(path: PathBuf) -> Self {
        Self { path, state: State::Closed }
    }
}

impl Stream for Video {
    fn path(&self) -> PathBuf {
        self.path.clone()
    }

    fn agree(&mut self, wanted: &Offer) -> io::Result<Offer> {
        let device = Device::open(&self.path)?;
        let format = PixFormat::new(wanted.width, wanted.height, PixelFormat::MJPG);
        let capture = device.video_capture(format)?;
        let format = capture.format();
        let given = Offer {
            format: format.pixel_format().to_string(),
            width: format.width(),
            height: format.height(),
        };
        self.state = State::Agreed(capture);
        Ok(given)
    }

    fn start(&mut self) -> io::Result<()> {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Agreed(capture) => {
                self.state = State::Running(capture.into_stream()?);
                Ok(())
            }
            _ => Err(io::Error::other("nothing was agreed on")),
        }
    }

    fn frame(&mut self, wait: Duration, most: usize) -> io::Result<Option<Frame>> {
        let State::Running(stream) = &mut self.state else {
            return Err(io::Error::other("it was not started"));
        };
        let wait = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
        let mut ready = [PollFd::new(stream, PollFlags::IN)];
        if poll(&mut ready, Some(&wait))? == 0 {
            return Ok(None);
        }
        // Pulled out: reading would wait for ever.
        if !ready[0].revents().contains(PollFlags::IN) {
            return Err(io::Error::other("the camera is gone"));
        }
        let frame = stream.dequeue(|view| {
            Ok(Frame {
                bytes: view.get(..view.len().min(most)).unwrap_or_default().to_vec(),
                is_broken: view.is_error(),
            })
        })?;
        Ok(Some(frame))
    }

    fn close(&mut self) {
        self.state = State::Closed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::camera::{Camera, CameraError, Moment};
    use crate::seal::mjpeg::Mjpeg;

    #[test]
    fn what_is_no_camera_is_an_error() {
        for path in ["/dev/null", "/no/such/camera"] {
            let taken = Mjpeg::new(Video::at(path.into()), 640, 480).picture(Moment::Before);
            assert!(matches!(taken, Err(CameraError::Unreachable { .. })), "{taken:?}");
        }
    }
}
