//! One group of commands as one commit: what is staged, in which order, with which loss records. It knows of no
//! thread and no clock: [`super::keeper`] drives it, and so does the simulation in `benches`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use wire::status::MAX_LOSSES;
use wire::{GatewayId, Lane, Loss, LossReason, Losses, Payload};

use super::keeper::guarded;
use super::notes::Note;
use super::room::Budget;
use super::shelf::Shelf;
use super::store::{Gap, Store};
use super::{Gauges, RuleMemory, StoreError};
use crate::batch::{Packed, pack};
use crate::clock::Stamp;

/// Thinning may read this many bytes for each 100 that are written: sled cannot clean up after more at disk speed…
const THIN_WRITTEN_PERCENT: u64 = 12;
/// …and so many in each ms beside, far above what sensors write…
const THIN_BYTES_PER_MS: u64 = 64;
/// …but so many in one commit, which bounds how long an alarm waits for it, to some 10 ms on a slow box.
const MAX_THIN_BYTES: u64 = 256 << 10;
/// Readings that were given up get their loss record this often, in ms: many small ones would fill the disk.
const UNKEPT_EVERY_MS: u64 = 30_000;

/// The parts of a group of commands that change the store.
#[derive(Debug, Default)]
pub struct Work {
    /// Payloads, and what to remember of alarm rules with each.
    pub keeps: Vec<(Payload, Vec<RuleMemory>)>,
    /// Store, lane, and the first number to keep.
    pub forgets: Vec<(u64, Lane, u64)>,
    /// Store, lane and number of a frame that ingest refused, and its reason byte.
    pub asides: Vec<(u64, Lane, u64, u8)>,
    /// Notes that go with all of this. Whoever gives some makes one attempt only.
    pub notes: Vec<Note>,
    #[cfg(test)]
    pub(super) fail: std::cell::Cell<Option<super::Fail>>,
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

/// A commit that was begun.
#[derive(Debug, Default)]
pub struct Staged {
    /// The store it is for.
    pub store: u64,
    /// Its frames.
    pub frames: Vec<Packed>,
    /// Readings given up that it tells of.
    unkept: u64,
}

/// What is carried from one commit to the next.
#[derive(Debug)]
pub struct Books {
    gateway: GatewayId,
    /// Figures, for health and status.
    pub gauges: Arc<Gauges>,
    /// What frames may fill.
    pub budget: Budget,
    /// Bytes that thinning may read, and when time last added to them, in ms.
    thin_allowance: u64,
    thin_ms: u64,
    /// The ballast is gone, and readings are given up.
    pub disk_full: bool,
    /// When readings that were given up last got a loss record.
    unkept_ms: u64,
    /// Gaps without a loss record yet.
    pub gaps: Vec<Gap>,
}

impl Books {
    /// The books of a store that was opened with these gaps.
    pub fn new(gateway: GatewayId, gauges: Arc<Gauges>, budget: Budget, gaps: Vec<Gap>) -> Self {
        Self { gateway, gauges, budget, thin_allowance: 0, thin_ms: 0, disk_full: false, unkept_ms: 0, gaps }
    }

    /// A frame to be sent. One that should be there and is not becomes a gap.
    pub fn hand_out<S: Shelf>(&mut self, store: &mut Store<S>, lane: Lane, sequence: u64) -> Option<Vec<u8>> {
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
        frame
    }

    /// Commits the work; the bytes of its frames. After a failure, call it again with the same `staged`, and with the
    /// store opened anew. Removals alone are made durable only with `sync`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn attempt<S: Shelf>(
        &mut self,
        store: &mut Store<S>,
        work: &mut Work,
        staged: &mut Staged,
        sync: bool,
        now: Stamp,
    ) -> Result<u64, StoreError> {
        // A commit is all or nothing: after a failed one, its first frame tells whether it came through.
        if let Some(first) = staged.frames.first()
            && staged.store == store.id()
            && store.next(first.lane) > first.sequence
        {
            self.gaps.retain(|(lane, from, _)| !store.is_explained(*lane, *from));
            guarded(|| store.commit())?;
            self.gauges.unkept.fetch_sub(std::mem::take(&mut staged.unkept), Ordering::Relaxed);
            return Ok(0);
        }
        *staged = Staged { store: store.id(), ..Staged::default() };
        // Only now: what came through was not given up.
        if self.disk_full {
            self.give_up_readings(work);
        }
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
                staged.unkept = unkept;
            }
            let is_gap = |loss: &&Loss| matches!(loss.reason, LossReason::Quota | LossReason::Corrupt);
            let lost: u64 = losses.iter().filter(is_gap).map(|loss| loss.to - loss.from + 1).sum();
            let thinned: u64 =
                losses.iter().filter(|l| l.reason == LossReason::Thinned).map(|loss| loss.count).sum();
            for (payload, rules) in &work.keeps {
                stage(store, gateway, gauges, payload.clone(), &mut staged.frames);
                for memory in rules {
                    store.remember_rule(gateway, &memory.rule, memory.events.clone(), now);
                }
            }
            for (name, note) in &work.notes {
                store.note(name, note.as_deref());
            }
            for losses in losses.chunks(MAX_LOSSES) {
                let losses = Losses { boot: now.boot, clock: now.clock, losses: losses.to_vec() };
                stage(store, gateway, gauges, Payload::Losses(losses), &mut staged.frames);
            }
            #[cfg(test)]
            work.trip(&[super::Fail::Panic, super::Fail::Before])?;
            if staged.frames.is_empty() && work.notes.is_empty() && !sync {
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
            Ok(staged.frames.iter().map(|frame| frame.bytes.len() as u64).sum())
        })?;
        self.thin_allowance = allowance + written / 100 * THIN_WRITTEN_PERCENT;
        if tells_unkept {
            self.unkept_ms = now.mono_ms;
        }
        gauges.live_bytes.store(store.live_bytes(), Ordering::Relaxed);
        gauges.kept_bytes.fetch_add(written, Ordering::Relaxed);
        gauges.set_aside.store(store.set_aside_frames() as u64, Ordering::Relaxed);
        Ok(written)
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
}

/// Numbers and packs a payload and stages its frames.
fn stage<S: Shelf>(
    store: &mut Store<S>,
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
