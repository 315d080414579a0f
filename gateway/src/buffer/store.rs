//! The store itself: keys, values, one batch of changes at a time. See [`super`] for the why.
//!
//! It knows of no disk: a [`Shelf`] does, and a simulated one that loses power is as good. Any call may panic when
//! what lies there is damaged: [`super::keeper`] makes them inside `catch_unwind`.

use std::collections::{BTreeMap, VecDeque};
use std::ops::{ControlFlow, Range};

use wire::frame::{self, MAX_FRAME_BYTES};
use wire::{AlarmEvent, Alarms, GatewayId, Header, Lane, Loss, LossReason, Payload};

use super::places;
use super::room::{Budget, DROP_ORDER};
use super::shelf::{Changes, Room, Shelf};
use super::thin::{Step, thin};
use super::{Heads, LaneHead, SPAN, StoreError};
use crate::batch::Packed;
use crate::clock::Stamp;

/// Frames kept after ingest refused them, for a technician to look at; the oldest goes first.
pub(super) const MAX_SET_ASIDE: usize = 256;

/// Version of the keys and values below.
pub(super) const FORMAT: u8 = 1;
const KEY_SET_ASIDE: u8 = 0xe0;
const KEY_META: u8 = 0xf0;
const KEY_RULE: u8 = 0xf1;
const KEY_EXPLAINED: u8 = 0xf2;
const KEY_FORMAT: [u8; 2] = [KEY_META, b'f'];
const KEY_STORE: [u8; 2] = [KEY_META, b's'];
const KEY_THINNED: [u8; 2] = [KEY_META, b't'];
const KEY_UNTOLD: [u8; 2] = [KEY_META, b'u'];

/// What was thinned shares a loss record for so long, in ms: many small ones would fill the disk.
const TELL_THINNED_MS: u64 = 60_000;

/// Which part of the waiting readings a step of thinning leaves alone, the newest: one of so many.
const FRESH_PART: [(Step, u64); 2] = [(Step::EveryFourth, 4), (Step::Extremes, 2)];

/// An open store.
#[derive(Debug)]
pub struct Store<S> {
    shelf: S,
    id: u64,
    lanes: [LaneHead; 5],
    /// Bytes of each waiting frame, by lane; 0 for one that is gone.
    sizes: [VecDeque<u16>; 5],
    /// Bytes of all waiting frames, by lane.
    live: [u64; 5],
    /// Numbers before this one have a frame or an empty place on the shelf, by lane.
    laid: [u64; 5],
    /// Frames before this number may have been sent, by lane: they stay as they are until ingest has spoken.
    handed: [u64; 5],
    /// Readings before this number went through the first, and the second step of thinning.
    thinned: [u64; 2],
    /// What was thinned and has no loss record yet.
    untold: Option<Loss>,
    /// The witness as last written.
    witness: Vec<u8>,
    /// Gaps that a loss record explains: (lane, first) → last.
    explained: BTreeMap<(u8, u64), u64>,
    set_aside: usize,
    /// Changes not yet applied.
    batch: Changes,
    /// So many of them, the first ones, forget…
    forgetting: usize,
    /// …and with so many a frame is put: none of these need be made together.
    in_order: usize,
    /// Whether anything was staged or applied since the last sync.
    dirty: bool,
}

/// A gap found by the scan: sequences of a lane that should be there.
pub type Gap = (Lane, u64, u64);

fn is_sound(store: u64, lane: Lane, sequence: u64, value: &[u8]) -> bool {
    Header::peek(value).is_ok_and(|h| h.lane == lane && h.sequence == sequence && h.store == store)
}

/// Whether a frame of the box's own lane holds gauges and nothing that would be missed.
fn is_gauges(value: &[u8]) -> bool {
    wire::Frame::decode(value).is_ok_and(|frame| matches!(frame.payload, Payload::Health(_)))
}

fn frame_key(lane: Lane, sequence: u64) -> [u8; 9] {
    let mut key = [lane as u8; 9];
    key[1..].copy_from_slice(&sequence.to_be_bytes());
    key
}

/// Number of the store and next number of each lane, if the bytes are whole.
fn read_witness(bytes: &[u8]) -> Option<(u64, [u64; 5])> {
    let (body, checksum) = bytes.split_at_checked(48)?;
    if *checksum != frame::crc32c(body).to_le_bytes() {
        return None;
    }
    let mut numbers = body.chunks_exact(8).filter_map(|b| b.try_into().ok()).map(u64::from_le_bytes);
    let id = numbers.next()?;
    let mut next = [0; 5];
    for (slot, number) in next.iter_mut().zip(numbers) {
        *slot = number;
    }
    Some((id, next))
}

fn lane_key(lane: Lane) -> [u8; 3] {
    [KEY_META, b'l', lane as u8]
}

fn explained_key(lane: Lane, from: u64) -> [u8; 10] {
    let mut key = [KEY_EXPLAINED; 10];
    key[1..].copy_from_slice(&frame_key(lane, from));
    key
}

fn tail_u64(bytes: &[u8]) -> Option<u64> {
    let at = bytes.len().checked_sub(8)?;
    bytes.get(at..).and_then(|b| b.try_into().ok()).map(u64::from_be_bytes)
}

impl<S: Shelf> Store<S> {
    /// Opens or begins the store on a shelf and checks every value; what is missing without a loss record.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(shelf: S) -> Result<(Self, Vec<Gap>), StoreError> {
        let mut store = Self {
            shelf,
            id: 0,
            lanes: [LaneHead { floor: 1, next: 1 }; 5],
            sizes: Default::default(),
            live: [0; 5],
            laid: [0; 5],
            handed: [0; 5],
            thinned: [0; 2],
            untold: None,
            witness: Vec::new(),
            explained: BTreeMap::new(),
            set_aside: 0,
            batch: Changes::default(),
            forgetting: 0,
            in_order: 0,
            dirty: false,
        };
        let witness = read_witness(&store.shelf.witness());
        store.read_meta(witness.is_some())?;
        let gaps = store.scan()?;
        // Only now: a power cut may leave a head older than its frames, and the witness has seen those.
        if let Some((id, next)) = witness
            && (id != store.id || next.iter().zip(&store.lanes).any(|(next, head)| head.next < *next))
        {
            return Err(StoreError::Damaged("it has fallen back to an earlier state".into()));
        }
        store.handed = store.lanes.map(|head| head.floor + SPAN);
        // A killed gateway may have left changes in the page cache: the witness and the shipper must not hear of
        // numbers that a power cut could still take back.
        store.shelf.sync()?;
        store.write_witness()?;
        Ok((store, gaps))
    }

    /// Writes down, beside the shelf, which store this is and how far its numbers have come: sled opens a truncated
    /// file as an older state, or an empty one, without a word, and numbers would be given away a second time.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn write_witness(&mut self) -> Result<(), StoreError> {
        let mut bytes = self.id.to_le_bytes().to_vec();
        for head in &self.lanes {
            bytes.extend(head.next.to_le_bytes());
        }
        bytes.extend(frame::crc32c(&bytes).to_le_bytes());
        if bytes != self.witness {
            match self.shelf.set_witness(&bytes) {
                Ok(()) => self.witness = bytes,
                // The older one still holds; alarms must not wait for a better one.
                Err(StoreError::Io(error)) if error.kind() == std::io::ErrorKind::StorageFull => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read_meta(&mut self, has_witness: bool) -> Result<(), StoreError> {
        let format = self.shelf.get(&KEY_FORMAT)?;
        let id = self.shelf.get(&KEY_STORE)?.as_deref().and_then(tail_u64);
        match (format.as_deref(), id) {
            (Some(&[FORMAT]), Some(id)) => self.id = id,
            (Some(&[found]), _) if found > FORMAT => return Err(StoreError::Newer { found }),
            (None, None) if !has_witness && self.is_bare()? => {
                // 53 bits, so that the number survives JSON and spreadsheets.
                self.id = fastrand::u64(1..1 << 53);
                self.batch.insert(KEY_FORMAT, [FORMAT]);
                self.batch.insert(KEY_STORE, self.id.to_be_bytes());
                self.dirty = true;
                self.commit()?;
            }
            _ => return Err(StoreError::Damaged("its format or its number is missing".into())),
        }
        for lane in Lane::ALL {
            if let Some(value) = self.shelf.get(&lane_key(lane))? {
                let head = (value.get(..8).and_then(tail_u64), value.get(8..16).and_then(tail_u64));
                let (Some(floor), Some(next)) = head else {
                    return Err(StoreError::Damaged(format!(
                        "the head of lane {} is not 16 bytes",
                        lane.as_str()
                    )));
                };
                self.lanes[lane as usize] = LaneHead { floor, next };
            }
        }
        if let Some(marks) = self.shelf.get(&KEY_THINNED)? {
            for (mark, bytes) in self.thinned.iter_mut().zip(marks.chunks(8)) {
                *mark = tail_u64(bytes).unwrap_or(0);
            }
        }
        if let Some([from, to, count]) = self.shelf.get(&KEY_UNTOLD)?.as_deref().map(|value| {
            [value.get(..8), value.get(8..16), value.get(16..)].map(|b| b.and_then(tail_u64).unwrap_or(0))
        }) {
            // Of an earlier start: the time of this one must do.
            let (lane, reason) = (Lane::Reading, LossReason::Thinned);
            self.untold = Some(Loss { lane, from, to, count, reason, mono_ms: 0 });
        }
        let explained = &mut self.explained;
        self.shelf.scan(KEY_EXPLAINED, &mut |key, value| {
            if let (Some(&lane), Some(from), Some(to)) = (key.get(1), tail_u64(key), tail_u64(value)) {
                explained.insert((lane, from), to);
            }
            ControlFlow::Continue(())
        })?;
        let set_aside = &mut self.set_aside;
        self.shelf.scan(KEY_SET_ASIDE, &mut |_, _| {
            *set_aside += 1;
            ControlFlow::Continue(())
        })
    }

    /// Whether there is nothing at all.
    fn is_bare(&self) -> Result<bool, StoreError> {
        for prefix in Lane::ALL.map(|lane| lane as u8).into_iter().chain(KEY_SET_ASIDE..=KEY_EXPLAINED) {
            let mut is_bare = true;
            self.shelf.scan(prefix, &mut |_, _| {
                is_bare = false;
                ControlFlow::Break(())
            })?;
            if !is_bare {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Checks that every lane holds exactly its sequences, each in a sound frame. Removes what is not sound.
    fn scan(&mut self) -> Result<Vec<Gap>, StoreError> {
        let mut gaps: Vec<Gap> = Vec::new();
        for lane in Lane::ALL {
            let mut head = self.lanes[lane as usize];
            let id = self.id;
            let mut unsound: Vec<Vec<u8>> = Vec::new();
            // Sound frames as (number, bytes).
            let mut found: Vec<(u64, usize)> = Vec::new();
            let mut places: Vec<u64> = Vec::new();
            let mut expected = head.floor;
            self.shelf.scan(lane as u8, &mut |key, value| {
                match (key.len(), tail_u64(key)) {
                    (9, Some(sequence)) if sequence >= expected && is_sound(id, lane, sequence, value) => {
                        found.push((sequence, value.len()));
                        expected = sequence + 1;
                    }
                    (9, Some(sequence)) if value.is_empty() => places.push(sequence),
                    _ => unsound.push(key.to_vec()),
                }
                ControlFlow::Continue(())
            })?;
            let laid = &mut self.laid[lane as usize];
            *laid = head.next.max(expected);
            for place in places {
                if place == *laid {
                    *laid += 1;
                } else {
                    // Of a frame that is lost, or behind a lost place.
                    unsound.push(frame_key(lane, place).to_vec());
                }
            }
            for key in unsound {
                self.batch.remove(key);
                self.dirty = true;
            }
            let mut expected = head.floor;
            for (sequence, bytes) in found {
                if sequence > expected {
                    gaps.push((lane, expected, sequence - 1));
                }
                for _ in expected..sequence {
                    self.sizes[lane as usize].push_back(0);
                }
                self.grow(lane, bytes);
                expected = sequence + 1;
                // A head older than its frames would give their numbers away a second time.
                head.next = head.next.max(expected);
            }
            if expected < head.next {
                gaps.push((lane, expected, head.next - 1));
            }
            for _ in expected..head.next {
                self.sizes[lane as usize].push_back(0);
            }
            self.lanes[lane as usize] = head;
        }
        Ok(gaps.into_iter().flat_map(|gap| self.unexplained(gap)).collect())
    }

    /// The parts of a gap that no loss record covers.
    fn unexplained(&self, (lane, from, to): Gap) -> Vec<Gap> {
        let mut open = Vec::new();
        let mut next = from;
        while next <= to {
            if let Some(end) = self.explained_until(lane, next) {
                next = end.saturating_add(1);
                continue;
            }
            let covered = self.explained.range((lane as u8, next)..=(lane as u8, to)).next();
            let end = covered.map_or(to, |((_, start), _)| start - 1);
            open.push((lane, next, end));
            next = end + 1;
        }
        open
    }

    /// Accounts for one more frame at the end of a lane.
    fn grow(&mut self, lane: Lane, bytes: usize) {
        let bytes = u16::try_from(bytes).unwrap_or(u16::MAX);
        self.sizes[lane as usize].push_back(bytes);
        self.live[lane as usize] += u64::from(bytes);
    }

    /// Number of this store, which every frame carries.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What lies in each lane.
    pub fn heads(&self) -> Heads {
        Heads { store: self.id, lanes: self.lanes }
    }

    /// Next free number of a lane.
    pub fn next(&self, lane: Lane) -> u64 {
        self.lanes[lane as usize].next
    }

    /// Frames that were set aside.
    pub fn set_aside_frames(&self) -> usize {
        self.set_aside
    }

    /// Stages a frame for the next commit.
    pub fn put(&mut self, frame: &Packed) {
        assert!(frame.bytes.len() <= MAX_FRAME_BYTES, "a frame over its bound would land in a blob");
        let is_first = self.batch.0.len() == self.forgetting;
        let laid = &mut self.laid[frame.lane as usize];
        for place in places::to_lay(self.lanes[frame.lane as usize], *laid) {
            self.batch.insert(frame_key(frame.lane, place), []);
            *laid = place + 1;
        }
        self.batch.insert(frame_key(frame.lane, frame.sequence), frame.bytes.as_slice());
        let head = &mut self.lanes[frame.lane as usize];
        head.next = head.next.max(frame.sequence + 1);
        self.grow(frame.lane, frame.bytes.len());
        // Behind its frame: a head that is too old is mended at the next start.
        self.stage_head(frame.lane);
        if is_first {
            self.in_order = self.batch.0.len();
        }
    }

    fn stage_head(&mut self, lane: Lane) {
        let head = self.lanes[lane as usize];
        let mut value = [0; 16];
        value[..8].copy_from_slice(&head.floor.to_be_bytes());
        value[8..].copy_from_slice(&head.next.to_be_bytes());
        self.batch.insert(lane_key(lane), value);
        self.dirty = true;
    }

    /// Stages the removal of everything in `lane` before `below`.
    pub fn forget(&mut self, lane: Lane, below: u64) {
        let head = &mut self.lanes[lane as usize];
        let below = below.min(head.next);
        if below <= head.floor {
            return;
        }
        let is_first = self.batch.0.len() == self.forgetting;
        let sizes = &mut self.sizes[lane as usize];
        let mut gone = Vec::new();
        // Behind it may lie what was dropped and explained: that has nobody to wait for.
        while head.floor < below || sizes.front() == Some(&0) {
            let bytes = sizes.pop_front().map_or(0, u64::from);
            if bytes > 0 {
                gone.push(frame_key(lane, head.floor));
                self.live[lane as usize] -= bytes;
            }
            head.floor += 1;
        }
        let below = head.floor;
        // Before them: a frame that is gone and not forgotten would be missed.
        self.stage_head(lane);
        for key in gone {
            self.batch.remove(key);
        }
        let passed: Vec<u64> = self
            .explained
            .range((lane as u8, 0)..=(lane as u8, u64::MAX))
            .filter(|(_, to)| **to < below)
            .map(|((_, from), _)| *from)
            .collect();
        for from in passed {
            self.explained.remove(&(lane as u8, from));
            self.batch.remove(explained_key(lane, from));
        }
        if is_first {
            self.forgetting = self.batch.0.len();
        }
    }

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

    /// The bytes of a frame, if they are there and sound.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn read(&self, lane: Lane, sequence: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.shelf.get(&frame_key(lane, sequence))?;
        Ok(value.filter(|value| is_sound(self.id, lane, sequence, value)))
    }

    /// The same for one who will send it: from then on it stays as it is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn hand_out(&mut self, lane: Lane, sequence: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let handed = &mut self.handed[lane as usize];
        *handed = (*handed).max(sequence + 1);
        self.read(lane, sequence)
    }

    /// Whether a loss record already covers this number.
    pub fn is_explained(&self, lane: Lane, sequence: u64) -> bool {
        self.explained_until(lane, sequence).is_some()
    }

    /// The end of the explained gap that holds this number.
    fn explained_until(&self, lane: Lane, sequence: u64) -> Option<u64> {
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

    /// Stages what to remember of an alarm rule; an empty list forgets it.
    pub fn remember_rule(&mut self, gateway: &GatewayId, rule: &str, events: Vec<AlarmEvent>, stamp: Stamp) {
        let mut key = vec![KEY_RULE];
        key.extend(rule.as_bytes());
        self.dirty = true;
        if events.is_empty() {
            self.batch.remove(key);
            return;
        }
        // A frame has its own checksum and bounds, so it serves here too. Two events always fit.
        let alarms = Payload::Alarms(Alarms { boot: stamp.boot, clock: stamp.clock, events });
        match frame::encode(gateway, self.id, 1, &alarms, wire::Codec::Plain) {
            Ok(bytes) => self.batch.insert(key, bytes),
            Err(error) => tracing::error!(rule, %error, "the state of a rule cannot be kept over a restart"),
        }
    }

    /// What was remembered of all rules.
    pub fn remembered_rules(&self) -> Result<Vec<AlarmEvent>, StoreError> {
        let mut events = Vec::new();
        self.shelf.scan(KEY_RULE, &mut |_, value| {
            match wire::Frame::decode(value).map(|frame| frame.payload) {
                Ok(Payload::Alarms(alarms)) => events.extend(alarms.events),
                Ok(_) | Err(_) => {
                    tracing::warn!("the remembered state of a rule is unreadable: it starts quiet")
                }
            }
            ControlFlow::Continue(())
        })?;
        Ok(events)
    }

    /// Makes the staged changes without waiting for the disk: enough for removals, which cost a repeat at worst.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn apply(&mut self) -> Result<(), StoreError> {
        let changes = std::mem::take(&mut self.batch);
        let in_order = std::mem::take(&mut self.in_order).max(std::mem::take(&mut self.forgetting));
        match changes.0.len() {
            0 => Ok(()),
            all if all == in_order => self.shelf.apply_in_order(changes),
            _ => self.shelf.apply(changes),
        }
    }

    /// Makes everything staged and applied durable. Only after this may anyone be told that it is stored.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn commit(&mut self) -> Result<(), StoreError> {
        if !self.dirty {
            return Ok(());
        }
        self.apply()?;
        self.shelf.sync()?;
        self.dirty = false;
        Ok(())
    }

    /// How much room there is on the disk.
    pub fn room(&self) -> Room {
        self.shelf.room()
    }

    /// Bytes of all waiting frames.
    pub fn live_bytes(&self) -> u64 {
        self.live.iter().sum()
    }

    /// Holds room back for a full disk, unless it is held already.
    ///
    /// # Errors
    /// Of the operating system: there is no room to hold.
    pub fn hold_ballast(&mut self) -> std::io::Result<()> {
        self.shelf.hold_ballast()
    }

    /// The numbers that wait in `lane`.
    pub fn range(&self, lane: Lane) -> Range<u64> {
        let head = self.lanes[lane as usize];
        head.floor..head.next
    }
}

#[cfg(test)]
impl<S: Shelf> Store<S> {
    /// Writes any bytes under a frame's key, as a bad disk might.
    pub fn damage(&mut self, lane: Lane, sequence: u64, value: Option<&[u8]>) {
        let key = frame_key(lane, sequence);
        match value {
            Some(value) => self.batch.insert(key, value),
            None => self.batch.remove(key),
        }
        self.dirty = true;
        self.commit().expect("a sound store");
    }

    /// Numbers of a lane that have an empty value.
    pub fn places(&self, lane: Lane) -> Vec<u64> {
        let mut places = Vec::new();
        self.shelf
            .scan(lane as u8, &mut |key, value| {
                places.extend(tail_u64(key).filter(|_| value.is_empty()));
                ControlFlow::Continue(())
            })
            .expect("a sound store");
        places
    }

    /// The reason and bytes of every frame that was set aside.
    pub fn list_aside(&self) -> Vec<(u8, Vec<u8>)> {
        let mut aside = Vec::new();
        self.shelf
            .scan(KEY_SET_ASIDE, &mut |_, value| {
                aside.push((value[0], value[1..].to_vec()));
                ControlFlow::Continue(())
            })
            .expect("a sound store");
        aside
    }
}
