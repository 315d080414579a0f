//! The camera on a thread of its own: a picture takes seconds, and the hands have to be felt meanwhile.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use boards::seal::{Camera, Moment, Picture};

/// What looks at the paper, without making anybody wait.
pub trait Eyes: Send {
    /// Begins to take a picture; whether it has begun. It is told apart by `token`.
    fn begin(&mut self, token: u64, moment: Moment) -> bool;

    /// A picture that was taken, or that there is none; late ones too.
    fn seen(&mut self) -> Option<(u64, Option<Picture>)>;
}

/// A camera that is asked from another thread.
#[derive(Debug)]
pub struct Watching {
    asks: SyncSender<(u64, Moment)>,
    pictures: Receiver<(u64, Option<Picture>)>,
}

impl Watching {
    /// Starts the thread. It ends when this is dropped, as soon as the camera lets it.
    ///
    /// # Errors
    /// The system has no room for a thread.
    pub fn start(mut camera: Box<dyn Camera>) -> io::Result<Self> {
        // One at a time: who does not wait for the last picture gets none.
        let (asks, asked) = sync_channel::<(u64, Moment)>(1);
        let (taken, pictures) = sync_channel(1);
        std::thread::Builder::new().name("seal-camera".into()).spawn(move || {
            for (token, moment) in asked {
                let picture = camera.picture(moment);
                let picture =
                    picture.map_err(|error| tracing::error!(%error, ?moment, "没有照片 no photograph")).ok();
                if taken.send((token, picture)).is_err() {
                    break;
                }
            }
        })?;
        Ok(Self { asks, pictures })
    }
}

impl Eyes for Watching {
    fn begin(&mut self, token: u64, moment: Moment) -> bool {
        self.asks.try_send((token, moment)).is_ok()
    }

    fn seen(&mut self) -> Option<(u64, Option<Picture>)> {
        self.pictures.try_recv().ok()
    }
}
