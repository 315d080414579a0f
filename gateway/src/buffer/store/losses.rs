//! What goes before ingest has it, and how that is told: room made by dropping and thinning, frames set aside, gaps.

use std::ops::ControlFlow;

use wire::{Header, Lane, Loss, LossReason, Payload};

use super::{KEY_SET_ASIDE, KEY_THINNED, KEY_UNTOLD, Store, explained_key, frame_key};
use crate::buffer::StoreError;
use crate::buffer::room::{Budget, DROP_ORDER};
use crate::buffer::shelf::Shelf;
use crate::buffer::thin::{Step, thin};
use crate::clock::Stamp;

/// Frames kept after ingest refused them, for a technician to look at; the oldest goes first.
pub(in crate::buffer) const MAX_SET_ASIDE: usize = 256;

/// What was thinned shares a loss record for so long, in ms: many small ones would fill the disk.
const TELL_THINNED_MS: u64 = 60_000;

/// Which part of the waiting readings a step of thinning leaves alone, the newest: one of so many.
const FRESH_PART: [(Step, u64); 2] = [(Step::EveryFourth, 4), (Step::Extremes, 2)];

/// Whether a frame of the box's own lane holds gauges and nothing that would be missed.
fn is_gauges(value: &[u8]) -> bool {
    wire::Frame::decode(value).is_ok_and(|frame| matches!(frame.payload, Payload::Health(_)))
}

impl<S: Shelf> Store<S> {
    /// Notes that a gap has its loss record, so that the next start does not report it again.
    pub fn explain(&mut self, lane: Lane, from: u64, to: u64) {
        // A gap that goes on where one ended makes it longer, so that a long outage is one gap.
        let before = self.explained.range(..(lane as u8, from)).next_back();
        let from = match before {
            Some((&(l, start), &end)) if l == lane as u8 && end + 1 == from => start,
            _ => from,
        };
        self.explained.insert((lane as u8, from), to);
        self.batch.insert(explained_key(lane, from), to.to_be_bytes());
        self.dirty = true;
    }

    /// Whether a loss record already covers this number.
    pub fn is_explained(&self, lane: Lane, sequence: u64) -> bool {
        self.explained_until(lane, sequence).is_some()
    }

    /// The end of the explained gap that holds this number.
    pub(super) fn explained_until(&self, lane: Lane, sequence: u64) -> Option<u64> {
        let before = self.explained.range(..=(lane as u8, sequence)).next_back();
        before.filter(|((l, _), to)| *l == lane as u8 && sequence <= **to).map(|(_, to)| *to)
    }

    /// Copies a refused frame aside with the reason byte; the loss to report, unless it was set aside before.
    pub fn put_aside(
        &mut self,
        lane: Lane,
        sequence: u64,
        reason: u8,
        stamp: Stamp,
    ) -> Result<Option<Loss>, StoreError> {
        if self.is_explained(lane, sequence) {
            return Ok(None);
        }
        let mut count = 0;
        if let Some(bytes) = self.read(lane, sequence)? {
            count = Header::peek(&bytes).map_or(0, |header| u64::from(header.items));
            let mut key = vec![KEY_SET_ASIDE];
            key.extend(frame_key(lane, sequence));
            let mut value = vec![reason];
            value.extend(bytes);
            self.batch.insert(key, value);
            self.set_aside += 1;
            if self.set_aside > MAX_SET_ASIDE {
                // Frames of one commit are few, so the first applied one is older than any staged one.
                let mut oldest = None;
                self.shelf.scan(KEY_SET_ASIDE, &mut |key, _| {
                    oldest = Some(key.to_vec());
                    ControlFlow::Break(())
                })?;
                if let Some(key) = oldest {
                    self.batch.remove(key);
                    self.set_aside -= 1;
                }
            }
        }
        self.explain(lane, sequence, sequence);
        let loss = Loss {
            lane,
            from: sequence,
            to: sequence,
            count,
            reason: LossReason::Refused,
            mono_ms: stamp.mono_ms,
        };
        Ok(Some(loss))
    }

    /// Stages what makes room, dropping or else thinning; the losses to report. Thinning reads at most `allowance`
    /// bytes, which it takes from it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn make_room(
        &mut self,
        budget: Budget,
        allowance: &mut u64,
        stamp: Stamp,
    ) -> Result<Vec<Loss>, StoreError> {
        let mut losses = Vec::new();
        let drops = budget.to_drop(self.live);
        for lane in DROP_ORDER {
            losses.extend(self.drop_oldest(lane, drops[lane as usize], stamp)?);
        }
        // Never both in one commit: what is staged cannot be read, and would be counted as it was.
        if losses.is_empty()
            && let Some(loss) = self.thin(budget.to_thin(self.live), allowance, stamp)?
        {
            let untold = self.untold.take();
            self.set_untold(Some(match untold {
                None => loss,
                Some(told) => Loss {
                    from: told.from.min(loss.from),
                    to: told.to.max(loss.to),
                    count: told.count + loss.count,
                    ..told
                },
            }));
        }
        if let Some(loss) = &self.untold
            && !(loss.mono_ms..loss.mono_ms + TELL_THINNED_MS).contains(&stamp.mono_ms)
        {
            losses.extend(self.untold.take());
            self.set_untold(None);
        }
        Ok(losses)
    }

    /// Notes what was thinned and has no loss record yet.
    fn set_untold(&mut self, loss: Option<Loss>) {
        match &loss {
            Some(loss) => {
                let value = [loss.from, loss.to, loss.count].map(u64::to_be_bytes).concat();
                self.batch.insert(KEY_UNTOLD, value);
            }
            None => self.batch.remove(KEY_UNTOLD),
        }
        self.untold = loss;
        self.dirty = true;
    }

    /// Thins the oldest readings that can be to save `surplus` bytes.
    fn thin(
        &mut self,
        mut surplus: u64,
        allowance: &mut u64,
        stamp: Stamp,
    ) -> Result<Option<Loss>, StoreError> {
        let lane = Lane::Reading;
        let head = self.lanes[lane as usize];
        let mut loss: Option<Loss> = None;
        let marks = self.thinned;
        // The second step follows the first, as far as that had come before this commit.
        let ends = [head.next, marks[0]];
        for (number, (step, fresh_part)) in FRESH_PART.into_iter().enumerate() {
            let end = (head.next - (head.next - head.floor) / fresh_part).min(ends[number]);
            let first = marks[number].max(self.handed[lane as usize]).max(head.floor);
            for sequence in first..end {
                let at = (sequence - head.floor) as usize;
                let size = self.sizes[lane as usize].get(at).copied().map_or(0, u64::from);
                if surplus == 0 || size > *allowance {
                    break;
                }
                self.thinned[number] = sequence + 1;
                let Some(bytes) = (if size == 0 { None } else { self.read(lane, sequence)? }) else {
                    continue;
                };
                *allowance -= size;
                let Some(thinned) = thin(&bytes, step) else { continue };
                let saved = size - thinned.bytes.len() as u64;
                surplus = surplus.saturating_sub(saved);
                self.live[lane as usize] -= saved;
                self.sizes[lane as usize][at] = thinned.bytes.len() as u16;
                self.batch.insert(frame_key(lane, sequence), thinned.bytes);
                let loss = loss.get_or_insert(Loss {
                    lane,
                    from: sequence,
                    to: sequence,
                    count: 0,
                    reason: LossReason::Thinned,
                    mono_ms: stamp.mono_ms,
                });
                (loss.from, loss.to) = (loss.from.min(sequence), loss.to.max(sequence));
                loss.count += thinned.removed;
            }
        }
        if self.thinned != marks {
            let marks = self.thinned.map(u64::to_be_bytes).concat();
            self.batch.insert(KEY_THINNED, marks);
            self.dirty = true;
        }
        Ok(loss)
    }

    /// Drops the oldest frames of a lane that were never sent, until `surplus` bytes are free. Of the box's own lane
    /// only gauges go: what explains a gap must arrive.
    fn drop_oldest(&mut self, lane: Lane, mut surplus: u64, stamp: Stamp) -> Result<Vec<Loss>, StoreError> {
        let head = self.lanes[lane as usize];
        let mut losses: Vec<Loss> = Vec::new();
        let mut sequence = self.handed[lane as usize].max(head.floor);
        while surplus > 0 && sequence < head.next {
            if let Some(end) = self.explained_until(lane, sequence) {
                sequence = end + 1;
                continue;
            }
            let mut count = 0;
            if let Some(value) = self.shelf.get(&frame_key(lane, sequence))? {
                if lane == Lane::Health && !is_gauges(&value) {
                    sequence += 1;
                    continue;
                }
                count = Header::peek(&value).map_or(0, |header| u64::from(header.items));
            }
            self.batch.remove(frame_key(lane, sequence));
            let at = (sequence - head.floor) as usize;
            if let Some(size) = self.sizes[lane as usize].get_mut(at) {
                let bytes = u64::from(std::mem::take(size));
                self.live[lane as usize] -= bytes;
                surplus = surplus.saturating_sub(bytes);
            }
            match losses.last_mut().filter(|loss| loss.to + 1 == sequence) {
                Some(loss) => (loss.to, loss.count) = (sequence, loss.count + count),
                None => losses.push(Loss {
                    lane,
                    from: sequence,
                    to: sequence,
                    count,
                    reason: LossReason::Quota,
                    mono_ms: stamp.mono_ms,
                }),
            }
            sequence += 1;
        }
        for loss in &losses {
            self.explain(lane, loss.from, loss.to);
        }
        Ok(losses)
    }

    /// Gives a number to `count` items that could not be kept, so that they are missed; the loss to report.
    pub fn skip(&mut self, lane: Lane, count: u64, stamp: Stamp) -> Loss {
        let sequence = self.next(lane);
        if sequence < self.laid[lane as usize] {
            self.batch.remove(frame_key(lane, sequence));
        }
        self.lanes[lane as usize].next = sequence + 1;
        self.sizes[lane as usize].push_back(0);
        self.stage_head(lane);
        self.explain(lane, sequence, sequence);
        Loss { lane, from: sequence, to: sequence, count, reason: LossReason::Quota, mono_ms: stamp.mono_ms }
    }
}
