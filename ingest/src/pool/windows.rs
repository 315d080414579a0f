//! Windows: one minute, one cell of precision 7, one quantity.
//!
//! Only the finest grain is kept in memory. Coarser cells and longer windows are merged from it when they are
//! written or asked for, which costs far less than touching six windows per reading.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::aggregate::Aggregate;
use crate::cell::Cell;

/// Length of the base window in milliseconds.
pub const BASE_MS: i64 = 60_000;
/// Precision of the base cell.
pub const BASE_PRECISION: u8 = 7;

/// Room for more windows than these is not kept once it is empty, some 30 MB: half a million readings of a city have some
/// 100,000, late ones may have one each.
const MAX_ROOM: usize = 1 << 17;

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

    fn push(&mut self, key: WindowKey, aggregate: Aggregate) {
        self.last = self.slots.len();
        self.index.insert(key, self.last as u32);
        self.slots.push((key, aggregate));
    }

    /// Forgets all and keeps the room, unless it is for more windows than a city's readings have.
    pub fn clear(&mut self) {
        if self.slots.capacity() > MAX_ROOM {
            *self = Self::default();
        }
        self.index.clear();
        self.slots.clear();
        self.last = 0;
    }

    /// One window.
    pub fn get(&self, key: &WindowKey) -> Option<&Aggregate> {
        self.index.get(key).map(|&slot| &self.slots[slot as usize].1)
    }

    /// All windows, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &(WindowKey, Aggregate)> {
        self.slots.iter()
    }
}
