//! The buffer: what survives a power cut.
//!
//! # What it must do
//! A box on a pole loses power without warning, is without network for days, and has a small flash disk. Whatever
//! was sampled must reach ingest once, in effect; what cannot must be explained. So:
//! 1. A frame that the buffer has told of survives a power cut from that moment on.
//! 2. A frame is kept until ingest has it on stable storage, and not longer.
//! 3. Numbers of a lane are never used twice and never missing without a loss record.
//! 4. The box always starts: a damaged store is set aside, counted, and a fresh one is begun.
//! 5. Disk use has a bound; readings make room, alarms never do.
//!
//! # Why sled is used this way
//! sled 0.34 promises less than it seems, and all of the following was measured with replayed power cuts:
//! - `flush()` reaches the page cache only. A commit is `apply_batch`, `flush`, then `sync_data` on sled's one `db`
//!   file. A batch costs two writes more, of pages that are written again at once: so one frame, and what is forgotten
//!   before it, go without, in an order of which a power cut may keep any first part. sled's own timer is off. The directory entries are synced once after opening.
//! - A page over a quarter of a segment becomes a file in `blobs/` that nothing ever syncs. A page holds up to 16
//!   values, so a value must stay under 1/80 of a segment: segments of 2 MiB, frames of 25 KiB at most, proved by
//!   a constant assertion. The number of files in `blobs/` is a health gauge and must be 0.
//! - One key per frame, not per reading: 40 % fewer bytes are written.
//! - Corruption is a panic, not an error: every call is made inside `catch_unwind`, and the program must not be
//!   built with `panic = "abort"`.
//! - A damaged store may also open with a hole and say nothing: every value is a frame with its own CRC-32C, the
//!   number in it must match its key, and each lane knows its first and next number. The scan at start finds holes.
//! - A truncated file opens as an older state, or as an empty store, without a word; numbers would then be used
//!   twice and ingest would take fresh frames for repeats. A small `witness` file beside sled's says which store this
//!   is and how far its numbers had come, a minute ago; a store that is behind it counts as damaged.
//! - Space comes back by whole segments, some time after a removal, so bytes on disk are no good measure of what must
//!   go. sled takes 20 MiB, and some 1.8 bytes for each byte of frames, more while it is behind with cleaning: what
//!   frames may fill of the rest is steered by what lies on the disk ([`room`]).
//! - A process killed while sled writes a snapshot leaves a half one, which sled would read at the next start and call
//!   the store corrupt (seen once in 520 kills): it is removed before opening.
//! - sled has to write to remove, and one write that finds the disk full ends it: it must be opened again, which writes
//!   too. So 4 MiB are held behind the end of its file, where nobody else can take them. When the disk is full in spite
//!   of quota and free floor, readings are counted and given up, and what matters (alarms, seal receipts, health) has
//!   that room. When it is used up, or the box starts on a full disk, a file of 4 MiB beside it, the ballast, goes.
//!   Readings are kept again once there is room for all of this.
//!
//! # Who makes room
//! [`room`] decides who may fill what; readings become thinner with age before any is dropped ([`thin`]). A frame that
//! was handed out for sending stays as it is: ingest may have it already, and what a loss record says must be true to
//! the reading. So room is made behind the flight window, and the gap is passed over once the window has gone.
//!
//! # What is in it
//! ```text
//! key                            value
//! lane u8 | sequence u64 BE      the frame, exactly as it travels; empty: the place of one to come
//! 0xe0 | lane | sequence         set aside: reason byte, then the frame that ingest refused
//! 0xf0 'f'                       format version
//! 0xf0 's'                       number of this store, random, new with every fresh store
//! 0xf0 'l' lane                  first unforgotten number, next number (both u64 BE)
//! 0xf1 | rule name               last events of an alarm rule that is not quiet
//! 0xf2 | lane | from u64 BE      last number of a gap that has its loss record
//! 0xf0 't'                       how far the two steps of thinning have come (both u64 BE)
//! 0xf0 'u'                       what was thinned and has no loss record yet: from, to, count (all u64 BE)
//! 0xf3 | name                    a note of somebody else, the seal's memory for one: CRC-32C of key and note, then the note
//! ```
//! Lanes are contiguous: `floor..next` are all there, or explained. So acknowledgements that arrive out of order
//! are held back by [`crate::ship`] until the oldest is through; after a crash those few are sent again, and ingest
//! recognises them.
//!
//! # Who touches it
//! One thread, [`keeper`], owns the store and takes commands from a bounded channel. Frames that arrive while a
//! commit runs share the next one. A commit starts the moment the last one ends; there is no timer, so an alarm
//! waits for at most one commit that is already running. The shipper learns of new frames through a watch of
//! [`Heads`], after they are durable, never before.
//!
//! # Layout
//! - [`shelf`]: keys and values that a power cut must not hurt; the only file that names sled
//! - [`store`]: what lies where, numbers, gaps, losses; knows of no disk
//! - `places` (pure): empty values ahead of a waiting lane, which save bytes written
//! - [`room`] (pure): who may fill what; [`thin`] (pure): fewer readings of the same story
//! - `notes`: what others keep here, all or nothing with their frames
//! - [`books`]: one group of commands as one commit, with its loss records; knows of no thread
//! - [`keeper`]: the thread: groups, recovery, a full disk
//! - [`inspect()`]: a look at the buffer of a gateway that does not run

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::{mpsc, oneshot, watch};
use wire::{AlarmEvent, GatewayId, Lane, Payload};

use crate::clock::Stamp;

pub mod books;
mod inspect;
mod keeper;
mod notes;
mod places;
pub mod room;
pub mod shelf;
pub mod store;
#[cfg(test)]
mod tests;
pub mod thin;

pub use inspect::{Contents, InspectError, Inspection, LaneContents, inspect};
pub use notes::{MAX_NOTE_BYTES, NotKept, Note, Notes};

/// How far beyond its oldest unacknowledged frame a lane may be sent: bounds what must be remembered, and repeated
/// after a crash, when that one frame is stuck.
pub const SPAN: u64 = 64;
/// Commands that may wait for the thread: enough for a burst of alarms while one commit runs.
const COMMANDS: usize = 256;

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused; the store may be sound.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The store is damaged.
    #[error("damaged: {0}")]
    Damaged(String),
    /// Written by a later version.
    #[error(
        "its format is version {found}, this program reads version {known}: run the newer program, or move the folder away",
        known = store::FORMAT
    )]
    Newer {
        /// The version found.
        found: u8,
    },
}

/// First unforgotten and next number of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneHead {
    /// Everything below was acknowledged, or dropped with a loss record.
    pub floor: u64,
    /// The number the next frame will get.
    pub next: u64,
}

/// What waits in the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// The store the numbers count in; another one means that all earlier numbers are void.
    pub store: u64,
    /// By number of the lane.
    pub lanes: [LaneHead; 5],
}

impl Heads {
    /// Frames that wait in a lane.
    pub fn backlog(&self, lane: Lane) -> u64 {
        let head = self.lanes[lane as usize];
        head.next.saturating_sub(head.floor)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        Lane::ALL.iter().all(|lane| self.backlog(*lane) == 0)
    }
}

/// Figures of the store, for health and status.
#[derive(Debug, Default)]
pub struct Gauges {
    /// Bytes on disk.
    pub store_bytes: AtomicU64,
    /// Bytes of the frames that wait.
    pub live_bytes: AtomicU64,
    /// Bytes that frames may fill before room is made.
    pub budget_bytes: AtomicU64,
    /// Bytes of frames kept since the start.
    pub kept_bytes: AtomicU64,
    /// Free bytes of the file system.
    pub free_bytes: AtomicU64,
    /// 1 while the disk is full and readings are given up.
    pub disk_full: AtomicU64,
    /// Readings thinned away since the start.
    pub thinned: AtomicU64,
    /// Readings given up that have no loss record yet.
    pub unkept: AtomicU64,
    /// Files in `blobs/`: must be 0.
    pub blob_files: AtomicU64,
    /// Frames set aside because ingest refused them.
    pub set_aside: AtomicU64,
    /// Commits since the start.
    pub commits: AtomicU64,
    /// Frames lost since the start: quota, corruption.
    pub lost_frames: AtomicU64,
    /// Stores found damaged and set aside since the start.
    pub damaged: AtomicU64,
    /// When the thread last came round its loop, in ms since the start.
    pub beat_ms: AtomicU64,
    /// Whether the disk refused the last commit; it is tried again.
    pub refuses: AtomicBool,
    /// Payloads that could not be packed since the start: must be 0.
    pub unpackable: AtomicU64,
}

/// What the thread is asked to do.
enum Command {
    /// Number, pack and keep a payload, and what to remember of alarm rules with it.
    Keep { payload: Payload, rules: Vec<RuleMemory> },
    /// Everything of a lane before this number is on stable storage at ingest.
    Forget { store: u64, lane: Lane, below: u64 },
    /// Ingest refused a frame for good.
    SetAside { store: u64, lane: Lane, sequence: u64, reason: u8 },
    /// Frames to ship.
    Read { wanted: Vec<(Lane, u64)>, reply: oneshot::Sender<Vec<Option<Vec<u8>>>> },
    /// Say when everything given before is durable.
    Flush { reply: oneshot::Sender<()> },
    /// Keep notes and payloads together, durably, at once or not at all: it is tried once.
    Journal {
        store: u64,
        notes: Vec<Note>,
        payloads: Vec<Payload>,
        reply: oneshot::Sender<Result<(), NotKept>>,
    },
    /// All notes.
    Recall { reply: oneshot::Sender<Result<Notes, NotKept>> },
    /// Commit and end.
    Stop,
    /// Keep, but the commit fails, as on a bad disk.
    #[cfg(test)]
    Fail(Fail, Payload),
    /// The next attempt to journal fails.
    #[cfg(test)]
    FailJournal(Fail),
}

/// How a test makes a commit fail, once.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fail {
    /// sled panics.
    Panic,
    /// The disk refuses before anything was written.
    Before,
    /// The disk reports an error although all was written.
    After,
}

/// What to remember of an alarm rule over a restart; no events: it is quiet.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleMemory {
    /// Name of the rule.
    pub rule: String,
    /// Its last events.
    pub events: Vec<AlarmEvent>,
}

/// The thread is gone; it only ends when it is told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the buffer has stopped")]
pub struct Stopped;

/// Why the buffer could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{0} is in use by another gateway: stop it, or give this one its own data folder")]
    InUse(String),
    /// The folder or the store cannot be used.
    #[error("the buffer in {dir} cannot be opened: {why}")]
    Store {
        /// The folder.
        dir: String,
        /// The reason.
        why: String,
    },
}

/// A handle to the buffer; clones share one store.
#[derive(Debug, Clone)]
pub struct Buffer {
    commands: mpsc::Sender<Command>,
    heads: watch::Receiver<Heads>,
    gauges: Arc<Gauges>,
    /// Tells the thread not to wait for a disk that does not answer.
    stopping: Arc<AtomicBool>,
}

/// An opened buffer.
pub struct Opened {
    /// The handle.
    pub buffer: Buffer,
    /// What was remembered of alarm rules.
    pub rules: Vec<AlarmEvent>,
    /// The thread; it ends after [`Buffer::stop`].
    pub thread: std::thread::JoinHandle<()>,
}

/// Opens the buffer in `data/buffer`. A damaged store is renamed aside and a fresh one begun.
/// `stamp` tells the time whenever a loss must be recorded.
///
/// # Errors
/// [`OpenError`] when the folder cannot be used at all.
pub fn open(
    data: &Path,
    gateway: &GatewayId,
    quota_bytes: u64,
    stamp: impl Fn() -> Stamp + Send + 'static,
) -> Result<Opened, OpenError> {
    keeper::start(data, gateway, quota_bytes, Box::new(stamp))
}

impl Buffer {
    /// Keeps a payload, waiting for room in the queue. For threads.
    ///
    /// # Errors
    /// [`Stopped`].
    pub fn keep_blocking(&self, payload: Payload, rules: Vec<RuleMemory>) -> Result<(), Stopped> {
        self.commands.blocking_send(Command::Keep { payload, rules }).map_err(|_| Stopped)
    }

    /// Keeps a payload if the queue has room at once; hands it back if not. For threads that must not wait.
    ///
    /// # Errors
    /// The payload, when the disk has stood still for a whole queue of commands, or the buffer has stopped.
    pub fn try_keep(&self, payload: Payload) -> Result<(), Box<Payload>> {
        match self.commands.try_reserve() {
            Ok(place) => {
                place.send(Command::Keep { payload, rules: Vec::new() });
                Ok(())
            }
            Err(_) => {
                if let Payload::Readings(batch) = &payload {
                    // The thread gives them a number, and their gap a reason, when the disk answers again.
                    self.gauges.unkept.fetch_add(batch.readings.len() as u64, Ordering::Relaxed);
                }
                Err(Box::new(payload))
            }
        }
    }

    /// Forgets everything of a lane before `below`, if `store` is still the store.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn forget(&self, store: u64, lane: Lane, below: u64) -> Result<(), Stopped> {
        self.commands.send(Command::Forget { store, lane, below }).await.map_err(|_| Stopped)
    }

    /// Sets a refused frame aside, if `store` is still the store. Forget it as well when its turn comes.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn set_aside(&self, store: u64, lane: Lane, sequence: u64, reason: u8) -> Result<(), Stopped> {
        self.commands.send(Command::SetAside { store, lane, sequence, reason }).await.map_err(|_| Stopped)
    }

    /// The bytes of frames, in the order asked; `None` for one that is gone, which is then explained by a loss record.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn read(&self, wanted: Vec<(Lane, u64)>) -> Result<Vec<Option<Vec<u8>>>, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Read { wanted, reply }).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }

    /// Ready once everything given before is durable and told in [`Buffer::heads`].
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn flush(&self) -> Result<(), Stopped> {
        let (reply, done) = oneshot::channel();
        self.commands.send(Command::Flush { reply }).await.map_err(|_| Stopped)?;
        done.await.map_err(|_| Stopped)
    }

    /// Keeps notes, and payloads with them, if `store` is still the store. Nobody tries it again: when this returns, they
    /// are durable, all of them, or the caller hears that they may not be. For threads.
    ///
    /// # Errors
    /// [`NotKept`]. All of it may be there all the same: [`Buffer::recall_blocking`] tells.
    pub fn journal_blocking(
        &self,
        store: u64,
        notes: Vec<Note>,
        payloads: Vec<Payload>,
    ) -> Result<(), NotKept> {
        let (reply, done) = oneshot::channel();
        let command = Command::Journal { store, notes, payloads, reply };
        self.commands.blocking_send(command).map_err(|_| NotKept::Stopped)?;
        done.blocking_recv().unwrap_or(Err(NotKept::Stopped))
    }

    /// The notes as they are on stable storage, and which store that is. For threads.
    ///
    /// # Errors
    /// [`NotKept`].
    pub fn recall_blocking(&self) -> Result<Notes, NotKept> {
        let (reply, notes) = oneshot::channel();
        self.commands.blocking_send(Command::Recall { reply }).map_err(|_| NotKept::Stopped)?;
        notes.blocking_recv().unwrap_or(Err(NotKept::Stopped))
    }

    /// The same for tasks.
    ///
    /// # Errors
    /// [`NotKept`].
    pub async fn recall(&self) -> Result<Notes, NotKept> {
        let (reply, notes) = oneshot::channel();
        self.commands.send(Command::Recall { reply }).await.map_err(|_| NotKept::Stopped)?;
        notes.await.unwrap_or(Err(NotKept::Stopped))
    }

    /// What waits, as of the last commit; changes wake the watcher.
    pub fn heads(&self) -> watch::Receiver<Heads> {
        self.heads.clone()
    }

    /// Figures of the store.
    pub fn gauges(&self) -> &Gauges {
        &self.gauges
    }

    /// Commits what was given so far and ends the thread.
    pub async fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        // An error means that it has ended already.
        let _ = self.commands.send(Command::Stop).await;
    }
}
