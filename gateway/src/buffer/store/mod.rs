//! The store itself: keys, values, one batch of changes at a time. See [`super`] for the why.
//!
//! It knows of no disk: a [`Shelf`] does, and a simulated one that loses power is as good. Any call may panic when
//! what lies there is damaged: [`super::keeper`] makes them inside `catch_unwind`. `start` checks what is there, `losses`
//! makes room and keeps account of what is gone.

use std::collections::{BTreeMap, VecDeque};
use std::ops::{ControlFlow, Range};

use wire::frame::{self, MAX_FRAME_BYTES};
use wire::{AlarmEvent, Alarms, GatewayId, Header, Lane, Loss, Payload};

use super::notes::KEY_NOTE;
use super::places;
use super::shelf::{Changes, Room, Shelf, Visit};
use super::{Heads, LaneHead, StoreError};
use crate::batch::Packed;
use crate::clock::Stamp;

mod losses;
mod start;

#[cfg(test)]
pub(super) use losses::MAX_SET_ASIDE;
pub use start::Gap;

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

fn is_sound(store: u64, lane: Lane, sequence: u64, value: &[u8]) -> bool {
    Header::peek(value).is_ok_and(|h| h.lane == lane && h.sequence == sequence && h.store == store)
}

fn frame_key(lane: Lane, sequence: u64) -> [u8; 9] {
    let mut key = [lane as u8; 9];
    key[1..].copy_from_slice(&sequence.to_be_bytes());
    key
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

    /// Stages a note as it lies on the shelf.
    pub(super) fn stage_note(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        match value {
            Some(value) => self.batch.insert(key, value),
            None => self.batch.remove(key),
        }
        self.dirty = true;
    }

    /// Visits every note as it lies on the shelf.
    pub(super) fn scan_notes(&self, visit: Visit<'_>) -> Result<(), StoreError> {
        self.shelf.scan(KEY_NOTE, visit)
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
