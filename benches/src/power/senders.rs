//! Gateways that send without end, and note past the file system what was acknowledged.
//!
//! A note goes to the disk after the acknowledgement came, so that a cut behind the note must find the frames. It is
//! written to the recorded disk itself and flushes nothing.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use wire::{Codec, Lane, topic};

use super::frames::{Content, Promise, Sent};
use crate::city::{Gateway, Habits};
use crate::publisher::Publisher;

/// Gateways of a recording: group commits take in several.
pub const GATEWAYS: usize = 12;
/// Sensors of each.
const SENSORS: usize = 40;
/// Bytes of a note, whole sectors: 12 numbers of up to 20 digits.
const NOTE_BYTES: usize = 512;
/// Between two looks whether there is something to note.
const LOOK: Duration = Duration::from_millis(1);
/// Failed connections in a row before a sender gives up: with their pauses, half a minute.
const ATTEMPTS: u32 = 150;

/// How the gateways of a recording send.
#[derive(Debug, Clone, Copy)]
pub struct Habit {
    /// Its name.
    pub name: &'static str,
    /// Readings in a frame.
    pub batch: usize,
    /// Frames sent before their acknowledgements are awaited.
    pub burst: usize,
    /// Pause after each burst, in milliseconds.
    pub pause_ms: u64,
    /// Milliseconds between two `kill -9` of ingest, after each of which files are merged.
    pub kill_ms: u64,
}

/// Recordings take these in turn.
pub const HABITS: [Habit; 3] = [
    Habit { name: "steady", batch: 30, burst: 2, pause_ms: 60, kill_ms: 4000 },
    Habit { name: "small frames, one at a time", batch: 3, burst: 1, pause_ms: 0, kill_ms: 6000 },
    Habit { name: "bursts", batch: 20, burst: 16, pause_ms: 300, kill_ms: 2500 },
];

/// Gateway `number` of a city whose time begins at `epoch_ms`, in milliseconds since 1970 UTC.
///
/// # Errors
/// Never: the names are constants that obey the rule.
pub fn gateway(number: usize, seed: u64, epoch_ms: i64) -> Result<Gateway, wire::NameError> {
    // Some are late, and write into windows that others have filled.
    let late_ms = number as i64 % 3 * 420_000;
    Gateway::new("cut", number, SENSORS, seed, epoch_ms - late_ms, Habits::default())
}

/// The frames of a gateway from number 1, made again: as they travel, and what they hold.
///
/// # Errors
/// When a frame cannot be made.
pub fn made(mut gateway: Gateway, batch: usize, count: u64) -> anyhow::Result<(Vec<Vec<u8>>, Sent)> {
    let mut frames = Vec::new();
    let mut sent = Sent { store: gateway.store, frames: Vec::new() };
    for _ in 0..count {
        let (_, bytes) = gateway.frame(batch, Codec::Zstd)?;
        sent.frames.extend(Content::of(&bytes));
        frames.push(bytes);
    }
    Ok((frames, sent))
}

/// How far a gateway has come.
#[derive(Debug, Default)]
struct Progress {
    sent: AtomicU64,
    acknowledged: AtomicU64,
}

/// Gateways that send until this process ends.
#[derive(Debug)]
pub struct Senders(Arc<Vec<Progress>>);

impl Senders {
    /// Starts them behind what was `acknowledged` before, and the one who notes at byte `place` of `disk`.
    ///
    /// # Errors
    /// When a thread or a frame cannot be made.
    pub fn start(
        habit: Habit,
        (seed, epoch_ms): (u64, i64),
        acknowledged: &Promise,
        broker: SocketAddr,
        (disk, place): (File, u64),
    ) -> anyhow::Result<Self> {
        let progress: Arc<Vec<Progress>> = Arc::new((0..GATEWAYS).map(|_| Progress::default()).collect());
        for (number, &from) in acknowledged.0.iter().enumerate() {
            let mut gateway = gateway(number, seed, epoch_ms)?;
            let announcement = gateway.announcement()?;
            for _ in 0..from {
                gateway.frame(habit.batch, Codec::Zstd)?;
            }
            let progress = Arc::clone(&progress);
            progress[number].acknowledged.store(from, Ordering::Release);
            progress[number].sent.store(from, Ordering::Release);
            thread::Builder::new().name(gateway.id.to_string()).spawn(move || {
                let failed = send(habit, gateway, announcement, broker, &progress[number]);
                if let Err(error) = failed {
                    eprintln!("a sender has ended: {error:#}");
                }
            })?;
        }
        let senders = Self(progress);
        let noting = Self(Arc::clone(&senders.0));
        thread::Builder::new().name("notes".into()).spawn(move || {
            if let Err(error) = noting.note(&disk, place) {
                eprintln!("nothing can be noted: {error}");
            }
        })?;
        Ok(senders)
    }

    /// What is acknowledged.
    pub fn promise(&self) -> Promise {
        Promise(self.0.iter().map(|progress| progress.acknowledged.load(Ordering::Acquire)).collect())
    }

    /// The last frame that each has begun to send.
    pub fn sent(&self) -> Promise {
        Promise(self.0.iter().map(|progress| progress.sent.load(Ordering::Acquire)).collect())
    }

    fn note(&self, disk: &File, place: u64) -> std::io::Result<()> {
        let mut noted = self.promise();
        loop {
            let promise = self.promise();
            if promise != noted {
                let mut bytes = format!("{promise}\n").into_bytes();
                bytes.resize(NOTE_BYTES, 0);
                disk.write_all_at(&bytes, place)?;
                noted = promise;
            }
            thread::sleep(LOOK);
        }
    }
}

/// One gateway, until ingest stays away.
fn send(
    habit: Habit,
    mut gateway: Gateway,
    announcement: Vec<u8>,
    broker: SocketAddr,
    progress: &Progress,
) -> anyhow::Result<()> {
    let mut publisher = Publisher::new(broker, gateway.id.as_str(), ATTEMPTS);
    publisher.send(topic::up(&gateway.id, Lane::Health), announcement)?;
    loop {
        for _ in 0..habit.burst {
            let (sequence, bytes) = gateway.frame(habit.batch, Codec::Zstd)?;
            progress.sent.store(sequence, Ordering::Release);
            publisher.send(topic::up(&gateway.id, Lane::Reading), bytes)?;
        }
        publisher.settle()?;
        let (refused, reason) = publisher.refused;
        anyhow::ensure!(refused == 0, "{}: refused with reason {reason:#04x}", gateway.id);
        progress.acknowledged.store(gateway.last_sequence(), Ordering::Release);
        thread::sleep(Duration::from_millis(habit.pause_ms));
    }
}

/// Sends frames `from..=to` of a gateway (of `frames`, from number 1) and waits for every acknowledgement.
///
/// # Errors
/// When ingest cannot be reached, or refuses one.
pub fn send_again(
    gateway: &Gateway,
    frames: &[Vec<u8>],
    range: std::ops::RangeInclusive<u64>,
    broker: SocketAddr,
) -> anyhow::Result<()> {
    let mut publisher = Publisher::new(broker, gateway.id.as_str(), 0);
    for number in range {
        let frame = usize::try_from(number - 1).ok().and_then(|index| frames.get(index));
        let frame = frame.ok_or_else(|| anyhow::anyhow!("there is no frame {number}"))?;
        publisher.send(topic::up(&gateway.id, Lane::Reading), frame.clone())?;
    }
    publisher.settle()?;
    let (refused, reason) = publisher.refused;
    anyhow::ensure!(refused == 0, "{}: refused with reason {reason:#04x}", gateway.id);
    Ok(())
}
