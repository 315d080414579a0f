//! Windows: one minute, one cell of precision 7, one quantity.
//!
//! Only the finest grain is kept in memory. Coarser cells and longer windows are merged from it when they are
//! written or asked for, which costs far less than touching six windows per reading.

use std::borrow::{Borrow, Cow};
use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::aggregate::Aggregate;
use crate::cell::Cell;

/// Length of the base window in milliseconds.
pub const BASE_MS: i64 = 60_000;
/// Precision of the base cell.
pub const BASE_PRECISION: u8 = 7;

/// Names a window. Ordered by quantity, cell, start: neighbours in a file are neighbours in the city.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowKey {
    /// What is measured.
    pub quantity: u16,
    /// Where.
    pub cell: Cell,
    /// Start of the window, in milliseconds since 1970 UTC.
    pub start_ms: i64,
}

impl WindowKey {
    /// The window that holds this one: `precision` not finer, `length_ms` a multiple of the base.
    pub fn coarser(self, precision: u8, length_ms: i64) -> Self {
        Self {
            quantity: self.quantity,
            cell: self.cell.parent(precision),
            start_ms: self.start_ms.div_euclid(length_ms) * length_ms,
        }
    }
}

/// The start of the minute `at_ms` lies in.
pub fn minute_of(at_ms: i64) -> i64 {
    at_ms.div_euclid(BASE_MS) * BASE_MS
}

/// A table of windows.
#[derive(Debug, Clone, Default)]
pub struct Windows {
    index: HashMap<WindowKey, u32, RandomState>,
    slots: Vec<(WindowKey, Aggregate)>,
    /// The slot touched last: readings of a batch come sorted by sensor and time, so most fall into it again.
    last: usize,
}

impl Windows {
    /// How many.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Adds one reading. The value must be finite.
    pub fn add(&mut self, key: WindowKey, at_ms: i64, sensor: u32, value: f64) {
        if let Some((last, aggregate)) = self.slots.get_mut(self.last)
            && *last == key
        {
            return aggregate.add(at_ms, sensor, value);
        }
        match self.index.get(&key) {
            Some(&slot) => {
                self.last = slot as usize;
                self.slots[self.last].1.add(at_ms, sensor, value);
            }
            None => self.push(key, Aggregate::of(at_ms, sensor, value)),
        }
    }

    /// Merges a part of a window.
    pub fn merge(&mut self, key: WindowKey, part: &Aggregate) {
        match self.index.get(&key) {
            Some(&slot) => self.slots[slot as usize].1.merge(part),
            None => self.push(key, part.clone()),
        }
    }

    fn push(&mut self, key: WindowKey, aggregate: Aggregate) {
        self.last = self.slots.len();
        self.index.insert(key, self.last as u32);
        self.slots.push((key, aggregate));
    }

    /// One window.
    pub fn get(&self, key: &WindowKey) -> Option<&Aggregate> {
        self.index.get(key).map(|&slot| &self.slots[slot as usize].1)
    }

    /// All windows, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &(WindowKey, Aggregate)> {
        self.slots.iter()
    }

    /// All windows merged to `precision` and `length_ms`, in the order of their keys.
    pub fn rolled_up(&self, precision: u8, length_ms: i64) -> Vec<(WindowKey, Cow<'_, Aggregate>)> {
        roll_up(&self.slots, precision, length_ms)
    }
}

/// Windows or parts of them merged to `precision` and `length_ms`, in the order of their keys.
pub fn roll_up<A: Borrow<Aggregate>>(
    parts: &[(WindowKey, A)],
    precision: u8,
    length_ms: i64,
) -> Vec<(WindowKey, Cow<'_, Aggregate>)> {
    let mut order: Vec<(WindowKey, u32)> =
        (0..).zip(parts).map(|(place, part)| (part.0.coarser(precision, length_ms), place)).collect();
    // Stable: parts that were rolled up before come in long ascending runs.
    order.sort_by_key(|part| part.0);
    let part = |&(_, place): &(WindowKey, u32)| parts[place as usize].1.borrow();
    let merged = |parts: &[(WindowKey, u32)]| match parts {
        [one] => Cow::Borrowed(part(one)),
        _ => Cow::Owned(Aggregate::of_parts(part(&parts[0]), parts[1..].iter().map(part))),
    };
    order.chunk_by(|a, b| a.0 == b.0).map(|parts| (parts[0].0, merged(parts))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(minute: i64, lat: f64) -> WindowKey {
        WindowKey { quantity: 1, cell: Cell::at(lat, 104.06, BASE_PRECISION), start_ms: minute * BASE_MS }
    }

    #[test]
    fn coarser_windows_are_the_sum_of_their_parts() {
        let mut windows = Windows::default();
        for minute in 0..120 {
            for step in 0..20 {
                windows.add(
                    key(minute, 30.66 + f64::from(step) * 0.01),
                    minute * BASE_MS + 1,
                    step as u32,
                    1.5,
                );
            }
        }
        assert_eq!(windows.len(), 120 * 20);
        let hours = windows.rolled_up(5, 3_600_000);
        assert!(hours.windows(2).all(|pair| pair[0].0 < pair[1].0), "sorted, each key once");
        assert_eq!(hours.iter().map(|(_, a)| a.count).sum::<u64>(), 2400);
        assert_eq!(hours.iter().map(|(_, a)| a.sum_micro).sum::<i128>(), 2400 * 1_500_000);
        assert!(hours.iter().all(|(key, _)| key.start_ms % 3_600_000 == 0 && key.cell.precision() == 5));
    }
}
