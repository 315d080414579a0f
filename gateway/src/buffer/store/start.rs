//! What a start finds: the store's own notes, and whether every lane holds what it should.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use wire::{Lane, Loss, LossReason, frame};

use super::{
    FORMAT, KEY_EXPLAINED, KEY_FORMAT, KEY_SET_ASIDE, KEY_STORE, KEY_THINNED, KEY_UNTOLD, Store, frame_key,
    is_sound, lane_key, tail_u64,
};
use crate::buffer::notes::KEY_NOTE;
use crate::buffer::shelf::{Changes, Shelf};
use crate::buffer::{LaneHead, SPAN, StoreError};

/// A gap found by the scan: sequences of a lane that should be there.
pub type Gap = (Lane, u64, u64);

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
        for prefix in Lane::ALL.map(|lane| lane as u8).into_iter().chain(KEY_SET_ASIDE..=KEY_NOTE) {
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
}
