//! Seals that are devices of their own, at the ends of serial lines: this gateway is their post office, and no more.
//!
//! ```text
//! seal ──receipts, hellos, photographs──► line ──► buffer, on stable storage ──► acknowledged on the line
//! seal ◄──answers, grants, rules──────────── line ◄── what the authority has sent, if it names this seal
//! ```
//! A thread for each line. What comes up is carried unread but for its size and kind; the office believes signatures only.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use ::line::message::{Down, Up};
use ::line::noise::Pair;
use ::line::{Counts, End, Event};
use ::seal::envelope::{Envelope, Kind};
use ::seal::talk::Said;
use serde_json::{Value, json};
use wire::{Envelopes, Lane, Payload};

use super::ferry::Ferry;
use super::{SealError, key};
use crate::buffer::Buffer;
use crate::clock::Timekeeper;
use crate::config::seal_line::SealLine;
use crate::sample::Stop;

/// What the authority has sent and the seal has not taken yet: rules, an answer and as many grants as it hands out at once.
/// What has no room is asked for again.
const WAITING: usize = 32;
/// Frames that may wait for ingest before a seal has to keep what it has: photographs of some twenty uses.
const MOST_BACKLOG: u64 = 4_096;
/// So many frames wait for a moment only: an answer still comes in time.
pub(super) const FEW: u64 = 16;
/// How often something is tried again that the disk did not take, in ms.
const AGAIN_MS: u64 = 1_000;

/// How a line is.
#[derive(Debug, Clone, Default)]
struct Figures {
    since_ms: Option<u64>,
    heard_ms: Option<u64>,
    sessions: u64,
    carried_up: u64,
    carried_down: u64,
    unfit: u64,
    counts: Counts,
    trouble: String,
}

/// What the rest of the gateway has of a line.
#[derive(Debug)]
struct Post {
    line: SealLine,
    down: SyncSender<Vec<u8>>,
    figures: Arc<Mutex<Figures>>,
}

/// All lines of a gateway; clones reach the same ones.
#[derive(Debug, Clone)]
pub struct Lines {
    posts: Arc<[Post]>,
    time: Timekeeper,
}

impl Lines {
    /// Starts a thread for each line; they end at the stop.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn start(
        lines: &[SealLine],
        data: &Path,
        buffer: &Buffer,
        time: &Timekeeper,
        is_online: &Arc<AtomicBool>,
        stop: &Stop,
    ) -> Result<(Self, Vec<JoinHandle<()>>), SealError> {
        let (mut posts, mut threads) = (Vec::new(), Vec::new());
        let own = if lines.is_empty() { [0; 32] } else { key::of_lines(data)? };
        for line in lines {
            let (down, waiting) = sync_channel(WAITING);
            let figures = Arc::new(Mutex::new(Figures::default()));
            let pair = Pair { own, peer: line.key, seal: line.seal.clone() };
            let carrier = Carrier {
                seal: line.seal.clone(),
                ferry: Ferry::new(End::Gateway, pair, line.port.clone(), line.baud),
                buffer: buffer.clone(),
                time: time.clone(),
                is_online: Arc::clone(is_online),
                waiting,
                next: None,
                told: None,
                pending: None,
                again_ms: 0,
                is_under_way: false,
                figures: Arc::clone(&figures),
            };
            let stop = stop.clone();
            let thread = std::thread::Builder::new().name("seal-line".into());
            let thread = thread.spawn(move || {
                let seal = carrier.seal.clone();
                if catch_unwind(AssertUnwindSafe(|| carrier.run(&stop))).is_err() {
                    tracing::error!(seal, "印章线路线程异常终止，请重启网关 the thread of a line has panicked: restart the gateway and report this");
                }
            });
            threads.push(thread?);
            tracing::info!(seal = line.seal, port = %line.port.display(), "印章线路已启动 the line of a seal is watched");
            posts.push(Post { line: line.clone(), down, figures });
        }
        Ok((Self { posts: posts.into(), time: time.clone() }, threads))
    }

    /// Passes on what the authority has sent, to the seal that it names, or to all; whether one of these is named.
    pub fn said(&self, bytes: &[u8]) -> bool {
        let addressee = Said::of(bytes).and_then(|said| said.addressee());
        let mut is_here = false;
        for post in self.posts.iter().filter(|post| addressee.as_ref().is_none_or(|to| *to == post.line.seal))
        {
            is_here |= addressee.is_some();
            if post.down.try_send(bytes.to_vec()).is_err() {
                tracing::warn!(
                    seal = post.line.seal,
                    "the line of a seal is busy: what the authority has sent is dropped, it will be asked again"
                );
            }
        }
        is_here
    }

    /// What a gateway says of them in its health: how many are connected, how many are not, and how much was refused.
    pub fn gauges(&self) -> [(&'static str, f64); 3] {
        let figures = |post: &Post| post.figures.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let figures: Vec<Figures> = self.posts.iter().map(figures).collect();
        let connected = figures.iter().filter(|figures| figures.since_ms.is_some()).count();
        let refused = |figures: &Figures| figures.counts.handshakes_refused + figures.counts.records_refused;
        [
            ("seal_lines.connected", connected as f64),
            ("seal_lines.silent", (figures.len() - connected) as f64),
            ("seal_lines.refused", figures.iter().map(refused).sum::<u64>() as f64),
        ]
    }

    /// How they are, as JSON.
    pub fn status(&self) -> Vec<Value> {
        let now_ms = self.time.now_ms();
        let ago_s = |at_ms: Option<u64>| at_ms.map(|at_ms| now_ms.saturating_sub(at_ms) / 1000);
        let tell = |post: &Post| {
            let figures = post.figures.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let Figures { since_ms, heard_ms, sessions, carried_up, carried_down, unfit, counts, trouble } =
                figures;
            json!({
                "seal": post.line.seal,
                "port": post.line.port,
                "fingerprint": key::line_fingerprint(&post.line.key),
                "connected": since_ms.is_some(),
                "connected_s": ago_s(since_ms),
                "heard_s_ago": ago_s(heard_ms),
                "sessions": sessions,
                "handshakes_refused": counts.handshakes_refused,
                "records_refused": counts.records_refused,
                "noise": counts.noise,
                "unfit": unfit,
                "carried_up": carried_up,
                "carried_down": carried_down,
                "trouble": trouble,
            })
        };
        self.posts.iter().map(tell).collect()
    }
}

/// The thread of a line.
struct Carrier {
    seal: String,
    ferry: Ferry,
    buffer: Buffer,
    time: Timekeeper,
    is_online: Arc<AtomicBool>,
    waiting: Receiver<Vec<u8>>,
    /// What goes down next, or is on its way.
    next: Option<Down>,
    /// Whether the authority can be asked, as the seal was told.
    told: Option<bool>,
    /// What has come up and is not on stable storage yet.
    pending: Option<Payload>,
    again_ms: u64,
    is_under_way: bool,
    figures: Arc<Mutex<Figures>>,
}

impl Carrier {
    fn run(mut self, stop: &Stop) {
        let mut figures = Figures::default();
        while !stop.stopped() {
            let time = self.time.clone();
            for event in self.ferry.turn(|| time.now_ms()) {
                self.on(event, &mut figures);
            }
            self.keep(&mut figures);
            self.send();
            figures.heard_ms = self.ferry.line.heard_ms().or(figures.heard_ms);
            self.tell(&mut figures);
        }
    }

    fn on(&mut self, event: Event, figures: &mut Figures) {
        match event {
            Event::Up => {
                tracing::info!(seal = self.seal, "印章线路已连接 the seal at the end of a line is connected");
                figures.since_ms = Some(self.time.now_ms());
                figures.sessions += 1;
            }
            Event::Down => {
                tracing::warn!(seal = self.seal, "印章线路已断开 the seal at the end of a line is silent");
                // The seal sends again what was not acknowledged, and asks again for what did not reach it.
                (figures.since_ms, self.told, self.pending) = (None, None, None);
                (self.next, self.is_under_way) = (None, false);
            }
            Event::Delivered => {
                figures.carried_down += 1;
                (self.next, self.is_under_way) = (None, false);
            }
            Event::Message(bytes) => {
                self.pending = fit(&bytes);
                if self.pending.is_none() {
                    tracing::error!(
                        seal = self.seal,
                        bytes = bytes.len(),
                        "印章发来无法识别的内容，已丢弃 what a seal has sent is no receipt, hello or photograph: it is dropped"
                    );
                    figures.unfit += 1;
                    self.ferry.line.accept();
                }
            }
            Event::Write(_) => {}
        }
    }

    /// Keeps what has come up, then says so.
    fn keep(&mut self, figures: &mut Figures) {
        let heads = *self.buffer.heads().borrow();
        let is_early = self.time.now_ms() < self.again_ms || heads.backlog(Lane::Seal) > MOST_BACKLOG;
        let Some(payload) = self.pending.clone().filter(|_| !is_early) else { return };
        match self.buffer.journal_blocking(heads.store, Vec::new(), vec![payload]) {
            Ok(()) => {
                self.pending = None;
                figures.carried_up += 1;
                self.ferry.line.accept();
            }
            Err(error) => {
                tracing::error!(seal = self.seal, %error, "印章来件无法保存 what a seal has sent cannot be kept: it is tried again");
                self.again_ms = self.time.now_ms().saturating_add(AGAIN_MS);
            }
        }
    }

    /// Sends what there is for the seal.
    fn send(&mut self) {
        if !self.ferry.line.is_up() {
            // Nobody hears it: it asks when it is there.
            while self.waiting.try_recv().is_ok() {}
            return;
        }
        let backlog = self.buffer.heads().borrow().backlog(Lane::Seal);
        let is_online = self.is_online.load(Ordering::Relaxed) && backlog <= FEW;
        if self.next.is_none() {
            self.next = if self.told != Some(is_online) {
                self.told = Some(is_online);
                Some(Down::Online(is_online))
            } else {
                self.waiting.try_recv().ok().map(Down::Said)
            };
        }
        if let Some(next) = self.next.as_ref().filter(|_| !self.is_under_way) {
            self.is_under_way = self.ferry.line.send(&next.to_bytes());
        }
    }

    fn tell(&self, figures: &mut Figures) {
        let counts = self.ferry.line.counts();
        if counts.handshakes_refused > figures.counts.handshakes_refused {
            tracing::warn!(
                seal = self.seal,
                refused = counts.handshakes_refused,
                "印章线路拒绝握手，请核对指纹 a handshake on the line of a seal is refused: compare the fingerprints"
            );
        }
        figures.counts = counts;
        figures.trouble = self.ferry.trouble().into();
        *self.figures.lock().unwrap_or_else(PoisonError::into_inner) = figures.clone();
    }
}

/// What a seal may send, as it travels on.
fn fit(bytes: &[u8]) -> Option<Payload> {
    match Up::read(bytes)? {
        Up::Envelope(envelope) => {
            let is_ours = matches!(Envelope::kind_of(&envelope), Some(Kind::Receipt | Kind::Hello));
            is_ours.then(|| Payload::Envelopes(Envelopes { envelopes: vec![envelope] }))
        }
        Up::Picture(part) => Some(Payload::Picture(part)),
    }
}

#[cfg(test)]
mod tests {
    use ::seal::keys::MemoryKey;
    use wire::PicturePart;

    use super::*;

    #[test]
    fn only_receipts_hellos_and_photographs_are_carried() {
        let key = MemoryKey::from_secret(&[7; 32]);
        for kind in Kind::ALL {
            let envelope = Envelope::sign(kind, b"x", &[&key]).unwrap().to_bytes();
            let carried = fit(&Up::Envelope(envelope.clone()).to_bytes());
            let expected = Payload::Envelopes(Envelopes { envelopes: vec![envelope] });
            let is_mail = matches!(kind, Kind::Receipt | Kind::Hello);
            assert_eq!(carried, is_mail.then_some(expected), "{kind:?}");
        }
        let part = PicturePart { digest: [1; 32], total: 9, offset: 3, bytes: vec![4; 6] };
        assert_eq!(fit(&Up::Picture(part.clone()).to_bytes()), Some(Payload::Picture(part)));
        for bytes in [&b""[..], b"\x01", b"\x01noise", b"\x02short", b"\x03said", b"\x04\x01", b"\xff"] {
            assert_eq!(fit(bytes), None, "{bytes:?}");
        }
    }
}
