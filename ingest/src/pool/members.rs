//! The sensors of one gateway: what numbers they have, and which of them bears a name.
//!
//! A gateway names its sensors in one go when it announces itself, so their numbers come in a row, and its batches
//! name them in the same order again and again. So the sensor behind the last one is tried first, which costs one
//! comparison; only when that fails a small table is asked. One table for a gateway and not one for all: it lies in
//! the cache while a batch is taken, and growing it costs microseconds, where a table of 22 million would stop
//! everything for a second. An entry takes two bytes: which of the gateway's sensors, and a bit of the hash.

/// Most sensors of one gateway or source: four times what one frame may name. More are quarantined, so that a gateway
/// gone mad cannot fill the memory with names.
pub const MAX_PER_GATEWAY: usize = 1 << ORDINAL_BITS;

/// Bits of an entry that say which sensor.
const ORDINAL_BITS: u32 = 12;
/// Values of the other bits; one more is left for [`EMPTY`].
const TAGS: u64 = 15;
const EMPTY: u16 = u16::MAX;

/// Numbers in a row.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// Which of the gateway's sensors is the first.
    ordinal: u16,
    /// Its number.
    number: u32,
}

/// See the module. An ordinal counts the sensors of this gateway from 0.
#[derive(Debug, Clone, Default)]
pub(super) struct Members {
    runs: Vec<Run>,
    len: usize,
    slots: Box<[u16]>,
    /// Which sensor is probably asked for next.
    next: usize,
}

impl Members {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// All numbers, smallest first.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> {
        (0..self.len).filter_map(|ordinal| self.number(ordinal))
    }

    fn number(&self, ordinal: usize) -> Option<u32> {
        if ordinal >= self.len {
            return None;
        }
        // Nearly always there is one run only.
        let after = match self.runs.as_slice() {
            [_] => 1,
            runs => runs.partition_point(|run| usize::from(run.ordinal) <= ordinal),
        };
        let run = self.runs.get(after.checked_sub(1)?)?;
        Some(run.number + (ordinal - usize::from(run.ordinal)) as u32)
    }

    /// The number of the sensor that `is_it` says yes to: first the one that is probably meant.
    pub(super) fn find_next(&mut self, hash: impl Fn() -> u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let expected = if self.next < self.len { self.next } else { 0 };
        let found = match self.number(expected) {
            Some(number) if is_it(number) => (expected, number),
            _ => self.search(hash(), is_it)?,
        };
        self.next = found.0 + 1;
        Some(found.1)
    }

    /// The same without a guess.
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        self.search(hash, is_it).map(|(_, number)| number)
    }

    fn search(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<(usize, u32)> {
        let mut slot = home(hash, self.slots.len());
        loop {
            // A table is never full.
            let entry = *self.slots.get(slot)?;
            if entry == EMPTY {
                return None;
            }
            let ordinal = usize::from(entry) % MAX_PER_GATEWAY;
            if entry >> ORDINAL_BITS == tag(hash)
                && let Some(number) = self.number(ordinal)
                && is_it(number)
            {
                return Some((ordinal, number));
            }
            slot = if slot + 1 == self.slots.len() { 0 } else { slot + 1 };
        }
    }

    /// Adds a sensor with the highest number so far, which is not there yet; false when there are too many.
    /// `hash_of` gives the hash of any sensor's name by its number.
    pub(super) fn add(&mut self, number: u32, hash_of: impl Fn(u32) -> u64) -> bool {
        if self.len >= MAX_PER_GATEWAY {
            return false;
        }
        let ordinal = self.len;
        if self.len.checked_sub(1).and_then(|last| self.number(last)).is_none_or(|last| last + 1 != number) {
            self.runs.reserve_exact(1);
            self.runs.push(Run { ordinal: ordinal as u16, number });
        }
        self.len += 1;
        // At most four fifths full: few steps, and three bytes a sensor on average.
        if self.len * 5 > self.slots.len() * 4 {
            self.slots = vec![EMPTY; (self.slots.len() * 3 / 2).max(8)].into();
            for ordinal in 0..self.len {
                if let Some(number) = self.number(ordinal) {
                    self.enter(ordinal, hash_of(number));
                }
            }
        } else {
            self.enter(ordinal, hash_of(number));
        }
        true
    }

    fn enter(&mut self, ordinal: usize, hash: u64) {
        let mut slot = home(hash, self.slots.len());
        while self.slots[slot] != EMPTY {
            slot = if slot + 1 == self.slots.len() { 0 } else { slot + 1 };
        }
        self.slots[slot] = ordinal as u16 | tag(hash) << ORDINAL_BITS;
    }

    /// Bytes in memory.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.runs.capacity() * size_of::<Run>() + self.slots.len() * 2
    }
}

/// The first place to look, by the lower half of the hash.
fn home(hash: u64, slots: usize) -> usize {
    (((hash & u64::from(u32::MAX)) * slots as u64) >> 32) as usize
}

fn tag(hash: u64) -> u16 {
    ((hash >> 32) % TAGS) as u16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A poor hash: many collide.
    fn hash(number: u32) -> u64 {
        u64::from(number / 3).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    proptest! {
        #[test]
        fn it_finds_what_was_added_in_any_order(
            steps in prop::collection::vec(1..5_u32, 1..300), asked in prop::collection::vec(0..1500_u32, 0..300)
        ) {
            let mut members = Members::default();
            let mut number = 0;
            let mut all = Vec::new();
            for step in steps {
                number += step;
                prop_assert!(members.add(number, hash));
                all.push(number);
            }
            prop_assert_eq!(members.numbers().collect::<Vec<_>>(), all.clone());
            for asked in all.iter().copied().chain(asked) {
                let there = all.contains(&asked).then_some(asked);
                prop_assert_eq!(members.find(hash(asked), |number| number == asked), there);
                prop_assert_eq!(members.find_next(|| hash(asked), |number| number == asked), there);
            }
        }
    }

    #[test]
    fn the_table_is_full_at_the_limit_and_still_answers() {
        let mut members = Members::default();
        assert_eq!(members.find(0, |_| true), None, "an empty one");
        assert!((0..MAX_PER_GATEWAY as u32).all(|number| members.add(2 * number, hash)));
        assert!(!members.add(1_000_000, hash));
        for number in (0..MAX_PER_GATEWAY as u32).map(|number| 2 * number) {
            assert_eq!(members.find(hash(number), |found| found == number), Some(number));
            assert_eq!(members.find(hash(number + 1), |found| found == number + 1), None);
        }
    }
}
