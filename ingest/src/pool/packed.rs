//! An aggregate in a fifth of its memory, for keeping.
//!
//! ```text
//! count, sum (low and high half), times of first and last from the start of the window     varints
//! number of sensors, steps between them from 0; places of first and last among them        varints
//! number of buckets, then step of the key and count of each                                varints
//! min, max, values of first and last                                                       8 bytes each
//! ```
//!
//! A step is doubled, and one more when the same step comes again: then the number of repeats follows. Devices of a kind
//! that hang on one bus were numbered in turn.

use std::sync::Arc;

use super::aggregate::{Aggregate, End};
use super::sketch::Sketch;
use crate::varint::{put, take, unzigzag, zigzag};

/// An aggregate whose window is known. A clone shares it.
#[derive(Debug, Clone, PartialEq)]
pub struct Packed(Arc<[u8]>);

/// Reads what was packed, which never fails: the bytes never leave this process.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn number(&mut self) -> u64 {
        let (number, rest) = take(self.0).unwrap_or_default();
        self.0 = rest;
        number
    }

    /// What [`put_sensors`] put, and the number of them before it.
    fn sensors(&mut self, sensors: &mut Vec<u32>) {
        let count = self.number() as usize;
        sensors.clear();
        let mut sensor = 0;
        while sensors.len() < count {
            let word = self.number();
            let times = if word & REPEATED == 0 { 1 } else { 1 + self.number() as usize };
            sensors.extend((0..times).map(|_| {
                sensor += (word >> 1) as u32;
                sensor
            }));
        }
    }

    fn double(&mut self) -> f64 {
        let (bytes, rest) = self.0.split_first_chunk().unwrap_or((&[0; 8], &[]));
        self.0 = rest;
        f64::from_le_bytes(*bytes)
    }
}

/// Says that a step comes more than once.
const REPEATED: u64 = 1;

/// Puts the steps between ascending numbers.
fn put_sensors(sensors: &[u32], room: &mut Vec<u8>) {
    let (mut rest, mut before) = (sensors, 0);
    while let Some(&first) = rest.first() {
        let step = first - before;
        let more = rest.windows(2).take_while(|pair| pair[1] - pair[0] == step).count();
        put(room, u64::from(step) << 1 | if more > 0 { REPEATED } else { 0 });
        if more > 0 {
            put(room, more as u64);
        }
        before = rest[more];
        rest = &rest[more + 1..];
    }
}

impl Packed {
    /// Packs the aggregate of a window that begins at `start_ms`, with room that is used again.
    pub(super) fn with(all: &Aggregate, start_ms: i64, room: &mut Vec<u8>) -> Self {
        let buckets = all.sketch.buckets();
        room.clear();
        put(room, all.count);
        put(room, all.sum_micro as u64);
        put(room, zigzag((all.sum_micro >> 64) as i64));
        for end in [&all.first, &all.last] {
            put(room, zigzag(end.at_ms - start_ms));
        }
        put(room, all.sensors.len() as u64);
        put_sensors(&all.sensors, room);
        for end in [&all.first, &all.last] {
            put(room, all.sensors.binary_search(&end.sensor).unwrap_or_default() as u64);
        }
        put(room, buckets.len() as u64);
        let mut before = 0;
        for &(key, count) in buckets {
            put(room, zigzag(i64::from(key) - before));
            put(room, count);
            before = i64::from(key);
        }
        for value in [all.min, all.max, all.first.value, all.last.value] {
            room.extend_from_slice(&value.to_le_bytes());
        }
        Self(room.as_slice().into())
    }

    /// The aggregate.
    pub fn unpack(&self, start_ms: i64) -> Aggregate {
        self.unpack_with(start_ms, Vec::new(), Vec::new())
    }

    /// The same with room that is used again, for the sensors and the buckets.
    pub(super) fn unpack_with(
        &self,
        start_ms: i64,
        mut sensors: Vec<u32>,
        mut buckets: Vec<(i32, u64)>,
    ) -> Aggregate {
        let mut reader = Reader(&self.0);
        let count = reader.number();
        let low = u128::from(reader.number());
        let high = i128::from(unzigzag(reader.number())) << 64;
        let [first_ms, last_ms] = [(); 2].map(|()| start_ms + unzigzag(reader.number()));
        reader.sensors(&mut sensors);
        let [first, last] =
            [(); 2].map(|()| sensors.get(reader.number() as usize).copied().unwrap_or_default());
        let mut key = 0;
        buckets.clear();
        buckets.extend((0..reader.number()).map(|_| {
            key += unzigzag(reader.number());
            (key as i32, reader.number())
        }));
        let sketch = Sketch::of_buckets(buckets);
        let [min, max, first_value, last_value] = [(); 4].map(|()| reader.double());
        Aggregate {
            count,
            sum_micro: high | low as i128,
            min,
            max,
            first: End { at_ms: first_ms, sensor: first, value: first_value },
            last: End { at_ms: last_ms, sensor: last, value: last_value },
            sketch,
            sensors,
        }
    }

    /// The first of its bytes.
    pub(super) fn first_byte(&self) -> u8 {
        self.0.first().copied().unwrap_or_default()
    }

    /// Bytes it takes.
    pub fn bytes(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_comes_back(
            start_ms in prop_oneof![Just(0), Just(1_780_272_000_000_i64), -60_000_i64..0],
            readings in prop::collection::vec(
                (0..60_000_i64, prop_oneof![any::<u32>(), 0..40_u32], prop_oneof![-1e12..1e12_f64, Just(-0.0), Just(0.0), Just(-1e20)]),
                1..60,
            ),
        ) {
            let (&(at, sensor, value), rest) = readings.split_first().unwrap();
            let mut all = Aggregate::of(start_ms + at, sensor, value);
            rest.iter().for_each(|&(at, sensor, value)| all.add(start_ms + at, sensor, value));
            let back = Packed::with(&all, start_ms, &mut Vec::new()).unpack(start_ms);
            prop_assert_eq!(back.min.to_bits(), all.min.to_bits());
            prop_assert_eq!(back, all);
        }
    }

    #[test]
    fn a_window_of_neighbours_is_small() {
        let mut all = Aggregate::of(0, 1_000_000, 20.0);
        (1..84).for_each(|n| all.add(i64::from(n) * 700, 1_000_000 + 6 * n, 20.0 + f64::from(n % 9) / 10.0));
        let bytes = Packed::with(&all, 0, &mut Vec::new()).bytes();
        assert!(bytes < 80, "{bytes}");
    }
}
