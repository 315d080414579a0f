//! Carries bytes between a [`Line`] and its port, and opens the port again when it has failed.

use std::path::PathBuf;

use ::line::noise::{Pair, Secret};
use ::line::{End, Event, Line};
use boards::serial::Serial;

/// Most bytes heard at once: a frame or so, so that what follows from it is done before more is heard.
const CHUNK: usize = 512;
/// Longest wait for bytes, in ms: whatever else there is to do waits so long.
const WAIT_MS: u64 = 20;
/// Pauses before a port is opened again, in ms: a cable put back in is noticed within half a minute.
const PAUSE_MS: std::ops::RangeInclusive<u64> = 1_000..=30_000;

/// A line with its port.
pub struct Ferry {
    /// The end of the line that is here.
    pub line: Line,
    path: PathBuf,
    baud: u32,
    port: Option<Serial>,
    open_ms: u64,
    pause_ms: u64,
    /// Why the port is not open; empty while it is.
    trouble: String,
}

impl Ferry {
    /// A line that is not open yet.
    pub fn new(end: End, pair: Pair, path: PathBuf, baud: u32) -> Self {
        let line = Line::new(end, pair, baud, Box::new(fresh));
        let trouble = String::new();
        Self { line, path, baud, port: None, open_ms: 0, pause_ms: *PAUSE_MS.start(), trouble }
    }

    /// Why the port is not open; empty while it is.
    pub fn trouble(&self) -> &str {
        &self.trouble
    }

    /// Hears and says what there is, waiting some ms for it; what has happened, without what is to be written.
    pub fn turn(&mut self, now_ms: impl Fn() -> u64) -> Vec<Event> {
        if self.port.is_none() && now_ms() >= self.open_ms {
            match Serial::open(&self.path, self.baud) {
                Ok(port) => {
                    self.port = Some(port);
                    if !std::mem::take(&mut self.trouble).is_empty() {
                        tracing::info!(port = %self.path.display(), "线路端口已恢复 the port of a line is open again");
                    }
                }
                Err(error) => self.fail(&error, now_ms()),
            }
        }
        let mut bytes = [0; CHUNK];
        let mut happened = Vec::new();
        if let Some(port) = &mut self.port {
            let wait_ms = self.line.wakes_ms(now_ms()).saturating_sub(now_ms()).min(WAIT_MS);
            match port.read(&mut bytes, wait_ms) {
                Ok(count) => self.line.hear(bytes.get(..count).unwrap_or_default(), now_ms()),
                Err(error) => self.fail(&error, now_ms()),
            }
        } else {
            std::thread::sleep(std::time::Duration::from_millis(WAIT_MS));
        }
        while let Some(event) = self.line.next(now_ms()) {
            match event {
                Event::Write(frame) => {
                    if let Some(Err(error)) = self.port.as_mut().map(|port| port.write(&frame)) {
                        self.fail(&error, now_ms());
                    }
                }
                event => happened.push(event),
            }
        }
        happened
    }

    fn fail(&mut self, error: &std::io::Error, now_ms: u64) {
        let (port, trouble) = (self.path.display(), error.to_string());
        if trouble != self.trouble {
            tracing::error!(%port, %error, "线路端口不可用 the port of a line cannot be used: it is tried again");
        }
        // A port that worked for a while is not to wait as long as one that never did.
        let worked = self.port.take().is_some();
        self.pause_ms = if worked { *PAUSE_MS.start() } else { (self.pause_ms * 2).min(*PAUSE_MS.end()) };
        self.open_ms = now_ms.saturating_add(self.pause_ms);
        self.trouble = trouble;
    }
}

/// 32 bytes that nobody can guess.
fn fresh() -> Option<Secret> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).ok().map(|()| bytes)
}
