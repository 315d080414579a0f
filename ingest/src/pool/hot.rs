//! The newest windows, packed in memory for questions.
//!
//! A city touches a quarter of a million windows every minute. They lie by quantity and minute: a question is about one
//! quantity, and what becomes too old goes a minute at a time.

use std::collections::{BTreeMap, HashMap};
use std::mem::take;

use foldhash::fast::RandomState;

use super::aggregate::Aggregate;
use super::packed::Packed;
use super::windows::{BASE_MS, WindowKey};
use crate::cell::Cell;

/// Memory of a window beside its packed bytes: its place in a table, and what the allocator adds.
const OVERHEAD: usize = 64;

/// Windows of the base grain.
#[derive(Debug, Clone, Default)]
pub struct Hot {
    /// By quantity and start.
    tables: BTreeMap<(u16, i64), HashMap<Cell, Packed, RandomState>>,
    /// How many windows begin at a time, and their bytes.
    minutes: BTreeMap<i64, (usize, usize)>,
    room: Room,
}

/// Room for unpacking and packing, used again and again: windows are merged by the hundred thousand.
#[derive(Debug, Clone, Default)]
struct Room {
    sensors: Vec<u32>,
    buckets: Vec<(i32, u64)>,
    bytes: Vec<u8>,
}

impl Hot {
    /// How many.
    pub fn len(&self) -> usize {
        self.minutes.values().map(|minute| minute.0).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.minutes.is_empty()
    }

    /// Bytes in memory, about.
    pub fn bytes(&self) -> usize {
        self.minutes.values().map(|minute| minute.1).sum()
    }

    /// Merges a part of a window.
    pub fn merge(&mut self, key: WindowKey, part: &Aggregate) {
        let WindowKey { quantity, cell, start_ms } = key;
        let (windows, bytes) = self.minutes.entry(start_ms).or_default();
        let table = self.tables.entry((quantity, start_ms)).or_default();
        match table.get_mut(&cell) {
            Some(packed) => {
                *bytes -= packed.bytes();
                let Room { sensors, buckets, bytes: room } = &mut self.room;
                let mut all = packed.unpack_with(start_ms, take(sensors), take(buckets));
                all.merge(part);
                *packed = Packed::with(&all, start_ms, room);
                *bytes += packed.bytes();
                (*sensors, *buckets) = (all.sensors, all.sketch.into_buckets());
            }
            None => {
                let packed = Packed::with(part, start_ms, &mut self.room.bytes);
                *windows += 1;
                *bytes += packed.bytes() + OVERHEAD;
                table.insert(cell, packed);
            }
        }
    }

    /// One window.
    pub fn get(&self, key: &WindowKey) -> Option<Aggregate> {
        let packed = self.tables.get(&(key.quantity, key.start_ms))?.get(&key.cell)?;
        Some(packed.unpack(key.start_ms))
    }

    /// The windows of a quantity that begin in `from_ms..to_ms`, minute by minute.
    pub fn of(&self, quantity: u16, from_ms: i64, to_ms: i64) -> impl Iterator<Item = (WindowKey, &Packed)> {
        let tables = self.tables.range((quantity, from_ms)..(quantity, to_ms.max(from_ms)));
        tables.flat_map(|(&(quantity, start_ms), table)| {
            table.iter().map(move |(&cell, packed)| (WindowKey { quantity, cell, start_ms }, packed))
        })
    }

    /// Keeps the windows that begin at `from_ms` or later, and of these the newest whole minutes that take `most_bytes`.
    /// Returns the start from which on every window is still there.
    pub fn keep(&mut self, from_ms: i64, most_bytes: usize) -> i64 {
        let (mut from_ms, mut room) = (from_ms, most_bytes);
        for (&start_ms, &(_, bytes)) in self.minutes.iter().rev() {
            if bytes > room {
                from_ms = from_ms.max(start_ms + BASE_MS);
                break;
            }
            room -= bytes;
        }
        if self.minutes.first_key_value().is_some_and(|(&oldest, _)| oldest < from_ms) {
            self.minutes.retain(|&start_ms, _| start_ms >= from_ms);
            self.tables.retain(|&(_, start_ms), _| start_ms >= from_ms);
        }
        from_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::windows::BASE_PRECISION;

    fn key(minute: i64, quantity: u16, lat: f64) -> WindowKey {
        WindowKey { quantity, cell: Cell::at(lat, 104.06, BASE_PRECISION), start_ms: minute * BASE_MS }
    }

    #[test]
    fn the_newest_whole_minutes_stay() {
        let mut hot = Hot::default();
        for minute in 0..10 {
            for step in 0..4 {
                // Two quantities share the room.
                let key = key(minute, step as u16 % 2, 30.0 + f64::from(step));
                hot.merge(key, &Aggregate::of(minute * BASE_MS, 1, 1.0));
            }
        }
        assert_eq!(hot.keep(2 * BASE_MS, usize::MAX), 2 * BASE_MS);
        assert_eq!(hot.len(), 32);
        let minute = hot.bytes() / 8;
        assert_eq!(hot.keep(0, 3 * minute - 1), 8 * BASE_MS, "two whole minutes and a part");
        assert_eq!((hot.len(), hot.bytes()), (8, 2 * minute));
        assert_eq!(hot.keep(0, 2 * minute), 0, "that is what there is");
        assert_eq!(hot.of(0, 8 * BASE_MS, 9 * BASE_MS).count(), 2);
        assert_eq!(hot.of(0, 0, i64::MAX).count(), 4);
        assert_eq!(hot.of(7, 0, i64::MAX).count(), 0);
        assert_eq!(hot.of(0, 9, 8).count(), 0);
        assert_eq!(hot.keep(0, 0), 10 * BASE_MS);
        assert!(hot.is_empty());
    }

    #[test]
    fn parts_of_a_window_are_merged() {
        let (mut hot, key) = (Hot::default(), key(9, 3, 30.0));
        hot.merge(key, &Aggregate::of(9 * BASE_MS, 1, 1.0));
        let before = hot.bytes();
        hot.merge(key, &Aggregate::of(9 * BASE_MS + 5, 2, 3.0));
        let window = hot.get(&key).unwrap();
        assert_eq!((window.count, window.max, window.sensors), (2, 3.0, vec![1, 2]));
        assert!(hot.len() == 1 && hot.bytes() > before && hot.bytes() < 2 * before);
    }
}
