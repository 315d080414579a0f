//! The thread that owns the store: groups commands into commits, writes loss records, keeps the quota, and begins a
//! fresh store when the old one is damaged. See [`super`] for the why.

use std::fs::{self, File, TryLockError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use wire::{AlarmEvent, GatewayId, Lane, Payload};

use super::books::{Books, Staged, Work};
use super::notes::{self, NotKept, Note, Notes};
use super::room::{Steering, free_floor};
use super::shelf::{BALLAST_BYTES, Room, SledShelf};
use super::store::{Gap, Store};
use super::{Buffer, COMMANDS, Command, Gauges, Heads, OpenError, Opened, StoreError};
use crate::clock::Stamp;

/// Most commands in one commit: bounds what a failed commit must do again.
const MAX_GROUP: usize = 64;
/// Disk use is looked at this often, in ms…
const USAGE_EVERY_MS: u64 = 5_000;
/// …and after this many bytes written.
const USAGE_EVERY_BYTES: u64 = 4 << 20;
/// The witness of how far the numbers have come is written this often, in ms: each time costs a card two pages, which
/// is more than a minute of readings of a small box.
const WITNESS_EVERY_MS: u64 = 60_000;
/// What the names of damaged stores begin with.
pub(super) const DAMAGED: &str = "buffer.damaged-";
/// Damaged stores kept for a look, so that a dying disk does not fill itself with them.
const KEEP_DAMAGED: usize = 2;
/// With less than this free the disk counts as full, in bytes: the largest group of readings still fits.
const LEAST_FREE_BYTES: u64 = 2 << 20;
/// Pause before the disk is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Tells the time for loss records.
type Clockwork = Box<dyn Fn() -> Stamp + Send>;

struct Keeper {
    gateway: GatewayId,
    dir: PathBuf,
    steering: Steering,
    stamp: Clockwork,
    heads: watch::Sender<Heads>,
    stopping: Arc<AtomicBool>,
    /// `None` while the disk refuses to open it.
    store: Option<Store<SledShelf>>,
    books: Books,
    usage_ms: u64,
    witness_ms: u64,
    written_since_usage: u64,
    #[cfg(test)]
    fail_journal: Option<super::Fail>,
    /// Held while the thread lives: another process on the same folder is refused.
    _lock: File,
}

/// Runs what may panic on a damaged store.
pub(super) fn guarded<T>(run: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        Err(StoreError::Damaged(text.unwrap_or_else(|| "sled panicked".into())))
    })
}

pub(super) fn start(
    data: &Path,
    gateway: &GatewayId,
    quota_bytes: u64,
    stamp: Clockwork,
) -> Result<Opened, OpenError> {
    let dir = data.join("buffer");
    let refuse = |why: String| OpenError::Store { dir: dir.display().to_string(), why };
    fs::create_dir_all(data).map_err(|error| refuse(error.to_string()))?;
    let lock = File::create(data.join("lock")).map_err(|error| refuse(error.to_string()))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(OpenError::InUse(data.display().to_string())),
        Err(TryLockError::Error(error)) => return Err(refuse(error.to_string())),
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|error| refuse(error.to_string()))?;
    let gauges = Arc::new(Gauges::default());
    let opened = open_or_begin(&dir, &stamp, &gauges).or_else(|error| match error {
        StoreError::Io(full) if full.kind() == std::io::ErrorKind::StorageFull => {
            SledShelf::free_ballast(&dir)?;
            open_or_begin(&dir, &stamp, &gauges)
        }
        error => Err(error),
    });
    let (store, gaps) = opened.map_err(|error| refuse(error.to_string()))?;
    let rules: Vec<AlarmEvent> = guarded(|| store.remembered_rules()).unwrap_or_default();
    let (heads, watcher) = watch::channel(store.heads());
    say_durable(&store.heads());
    let (commands, queue) = mpsc::channel(COMMANDS);
    let stopping = Arc::new(AtomicBool::new(false));
    let mut steering = Steering::new(quota_bytes);
    let keeper = Keeper {
        gateway: gateway.clone(),
        dir: dir.clone(),
        steering,
        stamp,
        heads,
        stopping: Arc::clone(&stopping),
        books: Books::new(gateway.clone(), Arc::clone(&gauges), steering.look(store.room()), gaps),
        store: Some(store),
        usage_ms: 0,
        witness_ms: 0,
        written_since_usage: 0,
        #[cfg(test)]
        fail_journal: None,
        _lock: lock,
    };
    let thread = std::thread::Builder::new()
        .name("buffer".into())
        .spawn(move || keeper.run(&runtime, queue))
        .map_err(|error| refuse(error.to_string()))?;
    Ok(Opened { buffer: Buffer { commands, heads: watcher, gauges, stopping }, rules, thread })
}

/// Says which numbers no power cut can take back any more: the rig in `benches/power` holds later starts to it.
fn say_durable(heads: &Heads) {
    tracing::debug!(target: "gateway::durable", store = heads.store, next = ?heads.lanes.map(|lane| lane.next));
}

/// Opens the store; renames a damaged one aside and begins a fresh one.
fn open_or_begin(
    dir: &Path,
    stamp: &Clockwork,
    gauges: &Gauges,
) -> Result<(Store<SledShelf>, Vec<Gap>), StoreError> {
    let open = || guarded(|| Store::open(SledShelf::open(dir)?));
    match open() {
        Err(StoreError::Damaged(why)) => {
            rename_aside(dir, stamp().clock.wall_ms(stamp().mono_ms), &why, gauges)?;
            open()
        }
        other => other,
    }
}

/// Renames a damaged store to `buffer.damaged-<utc>` and removes the oldest of too many.
fn rename_aside(dir: &Path, wall_ms: i64, why: &str, gauges: &Gauges) -> Result<(), StoreError> {
    let utc = jiff::Timestamp::from_millisecond(wall_ms).unwrap_or_default();
    let name = format!("{DAMAGED}{}", utc.strftime("%Y%m%dT%H%M%SZ"));
    let mut aside = dir.with_file_name(&name);
    let mut count = 1;
    while aside.exists() {
        count += 1;
        aside = dir.with_file_name(format!("{name}-{count}"));
    }
    tracing::error!(why, aside = %aside.display(), "the store is damaged: it is set aside and a fresh one is begun");
    fs::rename(dir, &aside)?;
    gauges.damaged.fetch_add(1, Ordering::Relaxed);
    let Some(parent) = dir.parent() else { return Ok(()) };
    let mut old: Vec<PathBuf> = fs::read_dir(parent)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(DAMAGED)))
        .collect();
    old.sort();
    for path in old.iter().rev().skip(KEEP_DAMAGED) {
        fs::remove_dir_all(path)?;
    }
    Ok(())
}

impl Keeper {
    fn run(mut self, runtime: &tokio::runtime::Runtime, mut queue: mpsc::Receiver<Command>) {
        let wait = Duration::from_millis(USAGE_EVERY_MS);
        loop {
            self.beat();
            let mut group = Vec::new();
            // Gaps found by the scan want their loss records before anything else.
            if self.books.gaps.is_empty() {
                match runtime.block_on(async { timeout(wait, queue.recv()).await }) {
                    Ok(Some(command)) => group.push(command),
                    Ok(None) => group.push(Command::Stop),
                    Err(_) => {}
                }
            }
            while group.len() < MAX_GROUP {
                let Ok(command) = queue.try_recv() else { break };
                group.push(command);
            }
            if self.serve(group) {
                break;
            }
        }
    }

    /// A sign of life.
    fn beat(&self) {
        set(&self.books.gauges.beat_ms, (self.stamp)().mono_ms);
    }

    /// Carries out a group of commands; whether it was the last.
    fn serve(&mut self, group: Vec<Command>) -> bool {
        let mut work = Work::default();
        let (mut flushed, mut journals, mut recalls) = (Vec::new(), Vec::new(), Vec::new());
        let mut stop = false;
        for command in group {
            match command {
                Command::Keep { payload, rules } => work.keeps.push((payload, rules)),
                Command::Forget { store, lane, below } => work.forgets.push((store, lane, below)),
                Command::SetAside { store, lane, sequence, reason } => {
                    work.asides.push((store, lane, sequence, reason));
                }
                // Whatever may be asked for is durable already, so it need not wait for this commit.
                Command::Read { wanted, reply } => {
                    // Without a store nothing can be said, least of all that a frame is gone: no answer ends the shipper,
                    // and this happens only while stopping.
                    if let Some(frames) = self.read(&wanted) {
                        // The shipper has stopped waiting: nothing to do about that here.
                        let _ = reply.send(frames);
                    }
                }
                Command::Journal { store, notes, payloads, reply } => {
                    journals.push((store, notes, payloads, reply));
                }
                Command::Recall { reply } => recalls.push(reply),
                Command::Flush { reply } => flushed.push(reply),
                Command::Stop => stop = true,
                #[cfg(test)]
                Command::FailJournal(fail) => self.fail_journal = Some(fail),
                #[cfg(test)]
                Command::Fail(fail, payload) => {
                    work.fail.set(Some(fail));
                    work.keeps.push((payload, Vec::new()));
                }
            }
        }
        self.look_at_usage();
        self.carry_out(&mut work, stop || !flushed.is_empty());
        // Whoever asked for any of this may have given up waiting.
        for (store, notes, payloads, reply) in journals {
            let _ = reply.send(self.journal(store, notes, payloads));
        }
        for reply in recalls {
            let _ = reply.send(self.recall());
        }
        for reply in flushed {
            let _ = reply.send(());
        }
        stop
    }

    /// Keeps notes and payloads by one attempt, in a commit of their own.
    fn journal(&mut self, store: u64, notes: Vec<Note>, payloads: Vec<Payload>) -> Result<(), NotKept> {
        notes::check(&self.gateway, &notes, &payloads)?;
        let keeps = payloads.into_iter().map(|payload| (payload, Vec::new())).collect();
        let mut work = Work { keeps, notes, ..Work::default() };
        #[cfg(test)]
        work.fail.set(self.fail_journal.take());
        let done = match self.opened().map(|opened| opened.id()) {
            Ok(id) if id != store => return Err(NotKept::OtherStore),
            Ok(_) => self.attempt(&mut work, &mut Staged::default(), false),
            Err(error) => Err(error),
        };
        let done = done.map_err(|error| {
            let why = error.to_string();
            tracing::error!(%error, "the buffer cannot be written: what was to be journaled may not be there");
            self.see_to(error);
            NotKept::Disk(why)
        });
        self.tell_heads();
        done
    }

    fn recall(&mut self) -> Result<Notes, NotKept> {
        self.opened().and_then(|store| guarded(|| store.notes())).map_err(|error| {
            let why = error.to_string();
            self.see_to(error);
            NotKept::Disk(why)
        })
    }

    /// The frames that are wanted, each if it is there; `None` while there is no store to look in.
    fn read(&mut self, wanted: &[(Lane, u64)]) -> Option<Vec<Option<Vec<u8>>>> {
        let (store, books) = (self.store.as_mut()?, &mut self.books);
        Some(wanted.iter().map(|&(lane, sequence)| books.hand_out(store, lane, sequence)).collect())
    }

    /// Does the work until it is done: over a disk that refuses, over a store that breaks.
    fn carry_out(&mut self, work: &mut Work, sync: bool) {
        let mut staged = Staged::default();
        // Seen before sled sees it, the store stays open and what waits in it goes on being sent.
        let free_bytes = self.store.as_ref().map_or(u64::MAX, |store| store.room().free_bytes);
        if free_bytes < LEAST_FREE_BYTES {
            self.note_full_disk();
        }
        loop {
            self.beat();
            match self.attempt(work, &mut staged, sync) {
                Ok(()) => {
                    self.books.gauges.refuses.store(false, Ordering::Relaxed);
                    break;
                }
                Err(error) => {
                    if self.see_to(error) {
                        continue;
                    }
                    let waiting = work.keeps.len();
                    if self.stopping.load(Ordering::Relaxed) {
                        tracing::error!(lost = waiting, "stopping: what could not be written is lost");
                        return;
                    }
                    tracing::error!(waiting, "the buffer is tried again");
                    std::thread::sleep(RETRY);
                }
            }
        }
        self.tell_heads();
    }

    /// Sees to what made an attempt fail; whether the next one may be made at once.
    fn see_to(&mut self, error: StoreError) -> bool {
        match error {
            StoreError::Io(error)
                if error.kind() == std::io::ErrorKind::StorageFull && !self.books.disk_full =>
            {
                self.note_full_disk();
                self.drop_store();
                if let Err(error) = SledShelf::free_ballast(&self.dir) {
                    tracing::error!(%error, "the room held back cannot be freed");
                }
                true
            }
            StoreError::Damaged(why) => {
                // Dropping it could hang on locks that the panic left behind: it is leaked instead.
                std::mem::forget(self.store.take());
                let now = (self.stamp)();
                let renamed =
                    rename_aside(&self.dir, now.clock.wall_ms(now.mono_ms), &why, &self.books.gauges);
                if let Err(error) = &renamed {
                    tracing::error!(%error, "the damaged store cannot be renamed");
                }
                renamed.is_ok()
            }
            error => {
                self.books.gauges.refuses.store(true, Ordering::Relaxed);
                tracing::error!(%error, "the buffer cannot be written");
                self.drop_store();
                false
            }
        }
    }

    /// Tells everybody what is durable now.
    fn tell_heads(&self) {
        if let Some(store) = &self.store {
            let heads = store.heads();
            if self.heads.send_if_modified(|old| std::mem::replace(old, heads) != heads) {
                say_durable(&heads);
            }
        }
    }

    fn note_full_disk(&mut self) {
        if !std::mem::replace(&mut self.books.disk_full, true) {
            tracing::error!(
                "磁盘已满，暂不保存读数 the disk is full: readings are given up and counted, alarms go on with the room held back for them"
            );
        }
    }

    /// Closes the store so that it can be opened again: it must give its file lock back.
    fn drop_store(&mut self) {
        if let Some(old) = self.store.take() {
            let _ = catch_unwind(AssertUnwindSafe(move || drop(old)));
        }
    }

    fn attempt(&mut self, work: &mut Work, staged: &mut Staged, sync: bool) -> Result<(), StoreError> {
        let now = (self.stamp)();
        self.opened()?;
        let Some(store) = &mut self.store else { return Ok(()) };
        let books = &mut self.books;
        self.written_since_usage += books.attempt(store, work, staged, sync, now)?;
        Ok(())
    }

    /// The store, opened again if the disk had refused it.
    fn opened(&mut self) -> Result<&mut Store<SledShelf>, StoreError> {
        if self.store.is_none() {
            let (store, gaps) = open_or_begin(&self.dir, &self.stamp, &self.books.gauges)?;
            self.store = Some(store);
            self.books.gaps.extend(gaps);
        }
        self.store.as_mut().ok_or_else(|| StoreError::Io(std::io::ErrorKind::NotFound.into()))
    }

    /// Looks at the disk now and then.
    fn look_at_usage(&mut self) {
        let now_ms = (self.stamp)().mono_ms;
        let due = self.usage_ms == 0
            || now_ms.saturating_sub(self.usage_ms) >= USAGE_EVERY_MS
            || self.written_since_usage >= USAGE_EVERY_BYTES;
        let Some(store) = self.store.as_mut().filter(|_| due) else { return };
        let room = store.room();
        self.books.budget = self.steering.look(room);
        let Room { used_bytes, blobs, free_bytes, .. } = room;
        set(&self.books.gauges.store_bytes, used_bytes);
        set(&self.books.gauges.budget_bytes, self.books.budget.bytes());
        set(&self.books.gauges.free_bytes, free_bytes);
        set(&self.books.gauges.blob_files, blobs);
        if blobs > 0 {
            tracing::error!(blobs, "files in blobs/: a power cut can lose them; please report this");
        }
        // A little more than the ballast: it must not come and go.
        let has_room = free_bytes > free_floor(room) + 2 * BALLAST_BYTES;
        if has_room && store.hold_ballast().is_ok() && self.books.disk_full {
            tracing::warn!("磁盘有空间了 there is room on the disk again: readings are kept");
            self.books.disk_full = false;
        }
        set(&self.books.gauges.disk_full, u64::from(self.books.disk_full));
        if now_ms.saturating_sub(self.witness_ms) >= WITNESS_EVERY_MS {
            self.witness_ms = now_ms;
            if let Err(error) = store.write_witness() {
                tracing::warn!(%error, "the witness of the store cannot be written");
            }
        }
        self.usage_ms = now_ms.max(1);
        self.written_since_usage = 0;
    }
}

fn set(gauge: &AtomicU64, value: u64) {
    gauge.store(value, Ordering::Relaxed);
}
