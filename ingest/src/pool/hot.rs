//! Windows packed in memory: the newest for questions, and those that settle until they go to Parquet.
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

/// The windows of a quantity that begin at a time.
type Table = HashMap<Cell, Packed, RandomState>;

/// How many windows are dropped in the time in which one is merged, about.
const DROPPED: usize = 16;
/// Memory of a window beside its packed bytes: its place in a table, and what the allocator adds.
const OVERHEAD: usize = 64;

/// How many windows are brought near before they are unpacked: their first bytes fit into the nearest cache.
const NEAR: usize = 128;

/// Windows of the base grain.
#[derive(Debug, Clone, Default)]
pub struct Hot {
    /// By quantity and start.
    tables: BTreeMap<(u16, i64), Table>,
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

    /// Merges a part of a window that is packed already.
    fn merge_packed(&mut self, key: WindowKey, part: Packed) {
        let table = self.tables.entry((key.quantity, key.start_ms)).or_default();
        if table.contains_key(&key.cell) {
            return self.merge(key, &part.unpack(key.start_ms));
        }
        let (windows, bytes) = self.minutes.entry(key.start_ms).or_default();
        *windows += 1;
        *bytes += part.bytes() + OVERHEAD;
        table.insert(key.cell, part);
    }

    /// Takes over windows of another table: a quantity's minute that is not here yet moves as it is, the others are
    /// merged, and those that begin before `from_ms` dropped. Stops after about `most` such steps; the rest stays there.
    pub fn absorb(&mut self, other: &mut Self, from_ms: i64, most: usize) {
        let mut room = most;
        while room > 0
            && let Some(mut entry) = other.tables.first_entry()
        {
            let (quantity, start_ms) = *entry.key();
            let (mut windows, mut bytes) = (0, 0);
            if start_ms < from_ms || !self.tables.contains_key(entry.key()) {
                let table = entry.remove();
                windows = table.len();
                bytes = table.values().map(|packed| packed.bytes() + OVERHEAD).sum();
                if start_ms < from_ms {
                    room = room.saturating_sub(windows / DROPPED + 1);
                } else {
                    room -= 1;
                    let minute = self.minutes.entry(start_ms).or_default();
                    *minute = (minute.0 + windows, minute.1 + bytes);
                    self.tables.insert((quantity, start_ms), table);
                }
            } else {
                let table = entry.get_mut();
                let cells: Vec<Cell> = table.keys().take(room).copied().collect();
                for cell in cells {
                    if let Some(packed) = table.remove(&cell) {
                        (windows, bytes, room) = (windows + 1, bytes + packed.bytes() + OVERHEAD, room - 1);
                        self.merge_packed(WindowKey { quantity, cell, start_ms }, packed);
                    }
                }
                if table.is_empty() {
                    entry.remove();
                }
            }
            if let Some(minute) = other.minutes.get_mut(&start_ms) {
                *minute = (minute.0 - windows, minute.1 - bytes);
                if minute.0 == 0 {
                    other.minutes.remove(&start_ms);
                }
            }
        }
    }

    /// All windows, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (WindowKey, &Packed)> {
        self.tables.iter().flat_map(|(&(quantity, start_ms), table)| {
            table.iter().map(move |(&cell, packed)| (WindowKey { quantity, cell, start_ms }, packed))
        })
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

/// Reads a byte of each. In the order of their keys windows lie anywhere in memory, and unpacking one waits for it: some
/// tenths of a microsecond, which is most of the work. These reads do not depend on each other, so the processor waits for
/// several at once.
fn bring_near(windows: &[(WindowKey, &Packed)]) {
    std::hint::black_box(windows.iter().fold(0, |all, window| all ^ window.1.first_byte()));
}

/// Hands windows merged to `precision` to `emit`, in the order of their keys, from windows of the base grain in theirs.
/// Only the parts of one are unpacked at a time.
///
/// # Errors
/// That of `emit`, and then it ends.
pub fn each_coarser<E>(
    base: &[(WindowKey, &Packed)],
    precision: u8,
    mut emit: impl FnMut(WindowKey, Aggregate) -> Result<(), E>,
) -> Result<(), E> {
    let unpack = |&(key, packed): &(WindowKey, &Packed)| packed.unpack(key.start_ms);
    let place = |key: WindowKey| (key.quantity, key.cell.parent(precision));
    let (mut order, mut parts) = (Vec::<(WindowKey, &Packed)>::new(), Vec::new());
    let (mut blocks, mut near, mut done) = (base.chunks(NEAR), 0, 0);
    // Cells of one parent are neighbours.
    for same in base.chunk_by(|a, b| place(a.0) == place(b.0)) {
        done += same.len();
        while near < done + NEAR
            && let Some(block) = blocks.next()
        {
            near += block.len();
            bring_near(block);
        }
        order.clear();
        order.extend(same);
        order.sort_by_key(|window| window.0.start_ms);
        for windows in order.chunk_by(|a, b| a.0.start_ms == b.0.start_ms) {
            let [first, others @ ..] = windows else { continue };
            parts.extend(others.iter().map(unpack));
            let first_part = unpack(first);
            let all =
                if parts.is_empty() { first_part } else { Aggregate::of_parts(&first_part, parts.iter()) };
            parts.clear();
            emit(first.0.coarser(precision, BASE_MS), all)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::tests::{coarser, packed};
    use crate::pool::windows::{BASE_PRECISION, Windows};

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
    fn another_table_is_taken_over_piece_by_piece() {
        let of = |minutes: std::ops::Range<i64>, sensor| {
            let mut table = Hot::default();
            for (minute, step) in minutes.flat_map(|minute| (0..9).map(move |step| (minute, step))) {
                let key = key(minute, step as u16 % 2, 30.0 + f64::from(step));
                table.merge(key, &Aggregate::of(minute * BASE_MS, sensor, 1.0));
            }
            table
        };
        let in_order = |table: &Hot| {
            let all = table.iter().map(|(key, packed)| (key, packed.unpack(key.start_ms)));
            all.collect::<BTreeMap<_, _>>()
        };
        let mut expected = of(0..3, 1);
        of(2..5, 2).iter().for_each(|(key, part)| expected.merge(key, &part.unpack(key.start_ms)));
        let [mut hot, mut other] = [of(0..3, 1), of(1..5, 2)];
        let mut steps = 0;
        while !other.is_empty() {
            hot.absorb(&mut other, 2 * BASE_MS, 2);
            let seen = in_order(&hot).into_iter().chain(in_order(&other));
            let counted: u64 =
                seen.filter(|(key, _)| key.start_ms >= 2 * BASE_MS).map(|(_, all)| all.count).sum();
            assert_eq!(counted, 36, "each part is in one of them");
            steps += 1;
        }
        assert_eq!((in_order(&hot), hot.len(), hot.bytes()), (in_order(&expected), 45, expected.bytes()));
        assert_eq!(
            (steps, other.len(), other.bytes()),
            (8, 0, 0),
            "nine were dropped, nine merged, four minutes moved"
        );
    }

    #[test]
    fn coarser_windows_are_the_sum_of_their_parts() {
        let mut windows = Windows::default();
        for (minute, step) in (0..30).flat_map(|minute| (0..40).map(move |step| (minute, step))) {
            // Neighbours, some of them in one coarser cell, of two quantities.
            let key = key(minute % 7, step as u16 % 2, 30.66 + f64::from(step) * 0.002);
            windows.add(key, key.start_ms + minute, step, f64::from(step) - 9.5);
        }
        let table = packed(&windows);
        let mut base: Vec<_> = table.iter().collect();
        base.sort_by_key(|window| window.0);
        for precision in crate::cell::PRECISIONS {
            let mut found = Vec::new();
            each_coarser(&base, precision, |key, all| {
                found.push((key, all));
                Ok::<(), ()>(())
            })
            .unwrap();
            assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0), "sorted, each key once");
            let expected = coarser(&windows, precision, BASE_MS);
            assert!(precision == BASE_PRECISION || expected.len() < windows.len());
            assert_eq!(found, Vec::from_iter(expected), "precision {precision}");
        }
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
