//! Thinning: fewer readings of the same story, when the disk is nearly full. Pure.
//!
//! Two steps, oldest frames first: every fourth reading of each series, then the lowest and the highest of each minute.
//! The first and the last reading of a series stay at the first step, so that its ends keep their times; a change of
//! quality stays at both, so that a fault is never thinned away.

use std::collections::BTreeMap;

use wire::{Batch, Codec, Frame, Payload, Reading, frame};

/// Of so many readings of a series one is kept at the first step.
const KEEP_EVERY: usize = 4;
/// Length of the window whose lowest and highest reading are kept at the second step, in ms.
const WINDOW_MS: u64 = 60_000;

/// How coarse a frame of readings has become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// One reading of four.
    EveryFourth,
    /// The lowest and the highest of each minute.
    Extremes,
}

/// A frame that was thinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thinned {
    /// Its new bytes; the old ones stay when thinning made nothing smaller.
    pub bytes: Vec<u8>,
    /// Readings that are gone.
    pub removed: u64,
}

/// Thins a frame of readings; `None` when there is nothing to gain.
pub fn thin(bytes: &[u8], step: Step) -> Option<Thinned> {
    let mut frame = Frame::decode(bytes).ok()?;
    let Payload::Readings(batch) = &mut frame.payload else { return None };
    let before = batch.readings.len();
    batch.readings = kept(batch, step);
    let removed = before - batch.readings.len();
    crate::batch::compact(batch);
    if removed == 0 {
        return None;
    }
    let thinned =
        frame::encode(&frame.gateway, frame.store, frame.sequence, &frame.payload, Codec::best()).ok()?;
    (thinned.len() < bytes.len()).then_some(Thinned { bytes: thinned, removed: removed as u64 })
}

/// The readings that stay, in their order.
fn kept(batch: &Batch, step: Step) -> Vec<Reading> {
    let mut by_series: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
    for (number, reading) in batch.readings.iter().enumerate() {
        by_series.entry(reading.series).or_default().push(number);
    }
    let mut keep = vec![false; batch.readings.len()];
    for numbers in by_series.values() {
        let readings: Vec<&Reading> = numbers.iter().map(|&number| &batch.readings[number]).collect();
        let mut mark = |at: usize| keep[numbers[at]] = true;
        for at in 0..readings.len() {
            if at == 0 || readings[at].quality != readings[at - 1].quality {
                mark(at);
            }
        }
        match step {
            Step::EveryFourth => {
                (0..readings.len()).step_by(KEEP_EVERY).for_each(&mut mark);
                mark(readings.len() - 1);
            }
            Step::Extremes => {
                // By window: where the lowest and the highest are.
                let mut windows: BTreeMap<u64, (usize, usize)> = BTreeMap::new();
                for (at, reading) in readings.iter().enumerate() {
                    let Some(value) = reading.value else { continue };
                    let (low, high) = windows.entry(reading.mono_ms / WINDOW_MS).or_insert((at, at));
                    if readings[*low].value.is_some_and(|low| value < low) {
                        *low = at;
                    }
                    if readings[*high].value.is_some_and(|high| value > high) {
                        *high = at;
                    }
                }
                for (low, high) in windows.into_values() {
                    mark(low);
                    mark(high);
                }
            }
        }
    }
    let mut keep = keep.into_iter();
    batch.readings.iter().filter(|_| keep.next() == Some(true)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{clock, place, sensors};
    use wire::{BootId, GatewayId, Quality, Series};

    /// A frame of one series, a reading a second; NaN is a fault.
    fn frame_of(values: &[f64]) -> Vec<u8> {
        let sensor = sensors(1).remove(0);
        let batch = Batch {
            boot: BootId(1),
            clock: clock(0),
            places: vec![place(0)],
            series: vec![Series { sensor: sensor.name, quantity: sensor.quantity.code, place: 0 }],
            readings: (values.iter().enumerate())
                .map(|(second, &value)| Reading {
                    series: 0,
                    mono_ms: second as u64 * 1000,
                    value: (!value.is_nan()).then_some(value),
                    quality: if value.is_nan() { Quality::Fault } else { Quality::Good },
                })
                .collect(),
        };
        let gateway = GatewayId::new("gw").expect("valid");
        frame::encode(&gateway, 9, 7, &Payload::Readings(batch), Codec::best()).expect("a frame")
    }

    fn seconds(bytes: &[u8]) -> Vec<u64> {
        let frame = Frame::decode(bytes).expect("a frame");
        assert_eq!((frame.store, frame.sequence), (9, 7), "it stays the same frame");
        let Payload::Readings(batch) = frame.payload else { panic!("readings") };
        batch.readings.iter().map(|reading| reading.mono_ms / 1000).collect()
    }

    #[test]
    fn one_of_four_stays_and_both_ends() {
        let values: Vec<f64> = (0..100).map(|n| f64::from(n * n % 97)).collect();
        let thinned = thin(&frame_of(&values), Step::EveryFourth).expect("it shrinks");
        let expected: Vec<u64> = (0..100).step_by(4).chain([99]).collect();
        assert_eq!((seconds(&thinned.bytes), thinned.removed), (expected, 74));
    }

    #[test]
    fn the_lowest_and_the_highest_of_each_minute_stay() {
        let mut values: Vec<f64> = (0..180).map(|n| 50.0 + f64::from(n % 7)).collect();
        for (second, value) in [(20, 1.0), (59, 99.0), (60, 98.0), (119, 2.0), (150, 3.0), (151, 97.0)] {
            values[second] = value;
        }
        let thinned = thin(&frame_of(&values), Step::Extremes).expect("it shrinks");
        assert_eq!(seconds(&thinned.bytes), [0, 20, 59, 60, 119, 150, 151]);
        assert_eq!(thinned.removed, 173);
    }

    #[test]
    fn a_fault_is_never_thinned_away() {
        let mut values: Vec<f64> = (0..120).map(|n| f64::from(n * n % 97)).collect();
        for value in &mut values[41..=43] {
            *value = f64::NAN;
        }
        let bytes = frame_of(&values);
        for step in [Step::EveryFourth, Step::Extremes] {
            let thinned = thin(&bytes, step).expect("it shrinks");
            let stayed = seconds(&thinned.bytes);
            assert!(stayed.contains(&41) && stayed.contains(&44), "{step:?}: {stayed:?}");
        }
    }

    #[test]
    fn what_cannot_shrink_stays_as_it_is() {
        assert_eq!(thin(&frame_of(&[1.0, 2.0]), Step::EveryFourth), None);
        assert_eq!(thin(b"no frame", Step::Extremes), None);
    }
}
