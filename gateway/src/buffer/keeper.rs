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
use wire::status::MAX_LOSSES;
use wire::{AlarmEvent, GatewayId, Lane, Loss, LossReason, Losses, Payload};

use super::room::{Budget, Steering, free_floor};
use super::shelf::{BALLAST_BYTES, Room, SledShelf};
use super::store::{Gap, Store};
use super::{Buffer, COMMANDS, Command, Gauges, Heads, OpenError, Opened, RuleMemory, StoreError};
use crate::batch::{Packed, pack};
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
/// Thinning may read this many bytes for each 100 that are written: sled cannot clean up after more at disk speed…
const THIN_WRITTEN_PERCENT: u64 = 12;
/// …and so many in each ms beside, far above what sensors write…
const THIN_BYTES_PER_MS: u64 = 64;
/// …but so many in one commit, which bounds how long an alarm waits for it, to some 10 ms on a slow box.
const MAX_THIN_BYTES: u64 = 256 << 10;
/// Readings that were given up get their loss record this often, in ms: many small ones would fill the disk.
const UNKEPT_EVERY_MS: u64 = 30_000;
/// With less than this free the disk counts as full, in bytes: the largest group of readings still fits.
const LEAST_FREE_BYTES: u64 = 2 << 20;
/// Pause before the disk is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Tells the time for loss records.
type Clockwork = Box<dyn Fn() -> Stamp + Send>;

struct Keeper {
    dir: PathBuf,
    gateway: GatewayId,
    steering: Steering,
    stamp: Clockwork,
    gauges: Arc<Gauges>,
    heads: watch::Sender<Heads>,
    stopping: Arc<AtomicBool>,
    /// `None` while the disk refuses to open it.
    store: Option<Store<SledShelf>>,
    budget: Budget,
    /// Bytes that thinning may read, and when time last added to them, in ms.
    thin_allowance: u64,
    thin_ms: u64,
    /// The ballast is gone, and readings are given up.
    disk_full: bool,
    /// When readings that were given up last got a loss record.
    unkept_ms: u64,
    /// Gaps without a loss record yet.
    gaps: Vec<Gap>,
    usage_ms: u64,
    witness_ms: u64,
    written_since_usage: u64,
    /// Held while the thread lives: another process on the same folder is refused.
    _lock: File,
}

/// The parts of a group of commands that change the store.
#[derive(Default)]
struct Work {
    keeps: Vec<(Payload, Vec<RuleMemory>)>,
    forgets: Vec<(u64, Lane, u64)>,
    asides: Vec<(u64, Lane, u64, u8)>,
    #[cfg(test)]
    fail: std::cell::Cell<Option<super::Fail>>,
}

impl Work {
    /// Where a test makes the commit fail; nothing else does.
    #[cfg(test)]
    fn trip(&self, here: &[super::Fail]) -> Result<(), StoreError> {
        match self.fail.get().filter(|fail| here.contains(fail)) {
            None => return Ok(()),
            Some(super::Fail::Panic) => {
                self.fail.set(None);
                panic!("as sled does");
            }
            Some(super::Fail::Before | super::Fail::After) => self.fail.set(None),
        }
        Err(StoreError::Io(std::io::ErrorKind::StorageFull.into()))
    }
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
        dir: dir.clone(),
        gateway: gateway.clone(),
        steering,
        stamp,
        gauges: Arc::clone(&gauges),
        heads,
        stopping: Arc::clone(&stopping),
        budget: steering.look(store.room()),
        store: Some(store),
        thin_allowance: 0,
        thin_ms: 0,
        disk_full: false,
        unkept_ms: 0,
        gaps,
        usage_ms: 0,
        witness_ms: 0,
        written_since_usage: 0,
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
            if self.gaps.is_empty() {
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
        set(&self.gauges.beat_ms, (self.stamp)().mono_ms);
    }

    /// Carries out a group of commands; whether it was the last.
    fn serve(&mut self, group: Vec<Command>) -> bool {
        let mut work = Work::default();
        let mut flushed = Vec::new();
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
                    // The shipper has stopped waiting: nothing to do about that here.
                    let _ = reply.send(self.read(&wanted));
                }
                Command::Flush { reply } => flushed.push(reply),
                Command::Stop => stop = true,
                #[cfg(test)]
                Command::Fail(fail, payload) => {
                    work.fail.set(Some(fail));
                    work.keeps.push((payload, Vec::new()));
                }
            }
        }
        self.look_at_usage();
        self.carry_out(&mut work, stop || !flushed.is_empty());
        for reply in flushed {
            // Whoever asked may have given up waiting.
            let _ = reply.send(());
        }
        stop
    }

    fn read(&mut self, wanted: &[(Lane, u64)]) -> Vec<Option<Vec<u8>>> {
        let Some(store) = &mut self.store else { return vec![None; wanted.len()] };
        let mut frames = Vec::with_capacity(wanted.len());
        for &(lane, sequence) in wanted {
            let frame = match guarded(|| store.hand_out(lane, sequence)) {
                Ok(frame) => frame,
                Err(error) => {
                    // The next commit fails too, and sees to it.
                    tracing::warn!(%error, lane = lane.as_str(), sequence, "a frame could not be read");
                    None
                }
            };
            let gap = (lane, sequence, sequence);
            let expected = store.range(lane).contains(&sequence) && !store.is_explained(lane, sequence);
            if frame.is_none() && expected && !self.gaps.contains(&gap) {
                self.gaps.push(gap);
            }
            frames.push(frame);
        }
        frames
    }

    /// Does the work until it is done: over a disk that refuses, over a store that breaks.
    fn carry_out(&mut self, work: &mut Work, sync: bool) {
        let mut staged: (u64, Vec<Packed>) = (0, Vec::new());
        // Seen before sled sees it, the store stays open and what waits in it goes on being sent.
        let free_bytes = self.store.as_ref().map_or(u64::MAX, |store| store.room().free_bytes);
        if free_bytes < LEAST_FREE_BYTES {
            self.note_full_disk();
        }
        if self.disk_full {
            self.give_up_readings(work);
        }
        loop {
            self.beat();
            match self.attempt(work, &mut staged, sync) {
                Ok(()) => {
                    self.gauges.refuses.store(false, Ordering::Relaxed);
                    break;
                }
                Err(StoreError::Io(error))
                    if error.kind() == std::io::ErrorKind::StorageFull && !self.disk_full =>
                {
                    self.note_full_disk();
                    self.drop_store();
                    if let Err(error) = SledShelf::free_ballast(&self.dir) {
                        tracing::error!(%error, "the room held back cannot be freed");
                    }
                    self.give_up_readings(work);
                }
                Err(StoreError::Damaged(why)) => {
                    // Dropping it could hang on locks that the panic left behind: it is leaked instead.
                    std::mem::forget(self.store.take());
                    let now = (self.stamp)();
                    if let Err(error) =
                        rename_aside(&self.dir, now.clock.wall_ms(now.mono_ms), &why, &self.gauges)
                    {
                        tracing::error!(%error, "the damaged store cannot be renamed");
                        std::thread::sleep(RETRY);
                    }
                }
                Err(error) => {
                    self.gauges.refuses.store(true, Ordering::Relaxed);
                    tracing::error!(%error, waiting = work.keeps.len(), "the buffer cannot be written: trying again");
                    self.drop_store();
                    if self.stopping.load(Ordering::Relaxed) {
                        tracing::error!(
                            lost = work.keeps.len(),
                            "stopping: what could not be written is lost"
                        );
                        return;
                    }
                    std::thread::sleep(RETRY);
                }
            }
        }
        if let Some(store) = &self.store {
            let heads = store.heads();
            if self.heads.send_if_modified(|old| std::mem::replace(old, heads) != heads) {
                say_durable(&heads);
            }
        }
    }

    fn note_full_disk(&mut self) {
        if !std::mem::replace(&mut self.disk_full, true) {
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

    /// Takes readings out of the work and counts them.
    fn give_up_readings(&self, work: &mut Work) {
        work.keeps.retain(|(payload, _)| {
            let gives_up = matches!(payload.lane(), Lane::Reading | Lane::Frame);
            if gives_up {
                self.gauges.unkept.fetch_add(payload.items() as u64, Ordering::Relaxed);
            }
            !gives_up
        });
    }

    fn attempt(
        &mut self,
        work: &Work,
        staged: &mut (u64, Vec<Packed>),
        sync: bool,
    ) -> Result<(), StoreError> {
        let now = (self.stamp)();
        if self.store.is_none() {
            let (store, gaps) = open_or_begin(&self.dir, &self.stamp, &self.gauges)?;
            self.store = Some(store);
            self.gaps.extend(gaps);
        }
        let Some(store) = &mut self.store else { return Ok(()) };
        let (gateway, gauges, gaps) = (&self.gateway, &self.gauges, &mut self.gaps);
        // Readings given up share one record now and then, and the last ones get theirs when all is well again.
        let unkept = gauges.unkept.load(Ordering::Relaxed);
        let tells_unkept =
            unkept > 0 && (!self.disk_full || now.mono_ms.saturating_sub(self.unkept_ms) >= UNKEPT_EVERY_MS);
        let budget = self.budget;
        let waited_ms = now.mono_ms.saturating_sub(std::mem::replace(&mut self.thin_ms, now.mono_ms));
        let mut allowance =
            (self.thin_allowance + waited_ms.saturating_mul(THIN_BYTES_PER_MS)).min(MAX_THIN_BYTES);
        let written: u64 = guarded(|| {
            // A commit is all or nothing: after a failed one, its first frame tells whether it came through.
            if let (id, [first, ..]) = (staged.0, staged.1.as_slice())
                && id == store.id()
                && store.next(first.lane) > first.sequence
            {
                gaps.retain(|(lane, from, _)| !store.is_explained(*lane, *from));
                return store.commit().map(|()| 0);
            }
            staged.1.clear();
            let id = store.id();
            let mut losses: Vec<Loss> = Vec::new();
            for &(lane, from, to) in gaps.iter() {
                store.explain(lane, from, to);
                losses.push(Loss {
                    lane,
                    from,
                    to,
                    count: 0,
                    reason: LossReason::Corrupt,
                    mono_ms: now.mono_ms,
                });
            }
            for &(_, lane, sequence, reason) in work.asides.iter().filter(|(of, ..)| *of == id) {
                losses.extend(store.put_aside(lane, sequence, reason, now)?);
            }
            for &(_, lane, below) in work.forgets.iter().filter(|(of, ..)| *of == id) {
                store.forget(lane, below);
            }
            for loss in store.make_room(budget, &mut allowance, now)? {
                tracing::warn!(
                    lane = loss.lane.as_str(),
                    items = loss.count,
                    from = loss.from,
                    to = loss.to,
                    reason = ?loss.reason,
                    "the quota is full: the oldest make room"
                );
                losses.push(loss);
            }
            if tells_unkept {
                losses.push(store.skip(Lane::Reading, unkept, now));
            }
            let is_gap = |loss: &&Loss| matches!(loss.reason, LossReason::Quota | LossReason::Corrupt);
            let lost: u64 = losses.iter().filter(is_gap).map(|loss| loss.to - loss.from + 1).sum();
            let thinned: u64 =
                losses.iter().filter(|l| l.reason == LossReason::Thinned).map(|loss| loss.count).sum();
            for (payload, rules) in &work.keeps {
                stage(store, gateway, gauges, payload.clone(), &mut staged.1);
                for memory in rules {
                    store.remember_rule(gateway, &memory.rule, memory.events.clone(), now);
                }
            }
            for losses in losses.chunks(MAX_LOSSES) {
                let losses = Losses { boot: now.boot, clock: now.clock, losses: losses.to_vec() };
                stage(store, gateway, gauges, Payload::Losses(losses), &mut staged.1);
            }
            staged.0 = id;
            #[cfg(test)]
            work.trip(&[super::Fail::Panic, super::Fail::Before])?;
            if staged.1.is_empty() && !sync {
                // Removals alone may be lost in a power cut: they cost a repeat, which ingest recognises.
                store.apply()?;
            } else {
                store.commit()?;
                gauges.commits.fetch_add(1, Ordering::Relaxed);
                if sync {
                    store.write_witness()?;
                }
            }
            #[cfg(test)]
            work.trip(&[super::Fail::After])?;
            gauges.lost_frames.fetch_add(lost, Ordering::Relaxed);
            gauges.thinned.fetch_add(thinned, Ordering::Relaxed);
            if tells_unkept {
                gauges.unkept.fetch_sub(unkept, Ordering::Relaxed);
            }
            gaps.clear();
            Ok(staged.1.iter().map(|frame| frame.bytes.len() as u64).sum())
        })?;
        self.thin_allowance = allowance + written / 100 * THIN_WRITTEN_PERCENT;
        if tells_unkept {
            self.unkept_ms = now.mono_ms;
        }
        set(&self.gauges.live_bytes, store.live_bytes());
        self.written_since_usage += written;
        self.gauges.kept_bytes.fetch_add(written, Ordering::Relaxed);
        set(&self.gauges.set_aside, store.set_aside_frames() as u64);
        Ok(())
    }

    /// Looks at the disk now and then.
    fn look_at_usage(&mut self) {
        let now_ms = (self.stamp)().mono_ms;
        let due = self.usage_ms == 0
            || now_ms.saturating_sub(self.usage_ms) >= USAGE_EVERY_MS
            || self.written_since_usage >= USAGE_EVERY_BYTES;
        let Some(store) = self.store.as_mut().filter(|_| due) else { return };
        let room = store.room();
        self.budget = self.steering.look(room);
        let Room { used_bytes, blobs, free_bytes, .. } = room;
        set(&self.gauges.store_bytes, used_bytes);
        set(&self.gauges.budget_bytes, self.budget.bytes());
        set(&self.gauges.free_bytes, free_bytes);
        set(&self.gauges.blob_files, blobs);
        if blobs > 0 {
            tracing::error!(blobs, "files in blobs/: a power cut can lose them; please report this");
        }
        // A little more than the ballast: it must not come and go.
        let has_room = free_bytes > free_floor(room) + 2 * BALLAST_BYTES;
        if has_room && store.hold_ballast().is_ok() && self.disk_full {
            tracing::warn!("磁盘有空间了 there is room on the disk again: readings are kept");
            self.disk_full = false;
        }
        set(&self.gauges.disk_full, u64::from(self.disk_full));
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

/// Numbers and packs a payload and stages its frames.
fn stage(
    store: &mut Store<SledShelf>,
    gateway: &GatewayId,
    gauges: &Gauges,
    payload: Payload,
    staged: &mut Vec<Packed>,
) {
    let lane = payload.lane();
    match pack(gateway, store.id(), store.next(lane), payload) {
        Ok(frames) => {
            for frame in frames {
                store.put(&frame);
                staged.push(frame);
            }
        }
        Err(error) => {
            gauges.unpackable.fetch_add(1, Ordering::Relaxed);
            tracing::error!(lane = lane.as_str(), %error, "a payload breaks the rules of the wire and is lost; please report this");
        }
    }
}
