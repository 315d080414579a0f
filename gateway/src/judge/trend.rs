//! How far a value rose over a time: a line through the samples of a sliding window. Pure.
//!
//! The slope is the median of the slopes of all pairs of samples (Theil 1950, Sen 1968). Least squares would follow
//! one wild sample at an end: of five samples, one that is off by 10 moves the rise by 8. The median of all pairs
//! bears that nearly three in ten samples are wild: of the eight that are the least, any two may say anything.
//! For the same reason it believes a rise that begins only when that fills about half of the window.

use std::collections::VecDeque;

/// Fewest samples that make a trend: the smallest number of which any two can be wrong without deciding anything,
/// for 15 of the 28 pairs are then of sound samples only.
pub const MIN_SAMPLES: usize = 8;
/// Most samples kept; those that come closer than a 31st of the window are passed over. They make 496 pairs, some
/// microseconds of work.
pub const MAX_SAMPLES: usize = 32;
/// Part of the window that the samples must span: seconds after a start nobody knows what happens in a minute.
const MIN_SPAN: f64 = 0.75;

/// The samples of one window.
#[derive(Debug, Clone)]
pub struct Trend {
    over_ms: u64,
    samples: VecDeque<(u64, f64)>,
}

impl Trend {
    /// An empty window of `over_ms`.
    pub fn new(over_ms: u64) -> Self {
        Self { over_ms: over_ms.max(1), samples: VecDeque::with_capacity(MAX_SAMPLES) }
    }

    /// Takes a usable value; how far the value rises in one window by now, in its own unit, negative when it falls.
    /// `None` while there are too few samples, or too short a part of the window.
    pub fn push(&mut self, now_ms: u64, value: f64) -> Option<f64> {
        while self.samples.front().is_some_and(|(then_ms, _)| now_ms.saturating_sub(*then_ms) > self.over_ms)
        {
            self.samples.pop_front();
        }
        let spacing_ms = self.over_ms.div_ceil(MAX_SAMPLES as u64 - 1);
        if self.samples.back().is_none_or(|(last_ms, _)| now_ms.saturating_sub(*last_ms) >= spacing_ms) {
            self.samples.push_back((now_ms, value));
        }
        let (first_ms, last_ms) = (self.samples.front()?.0, self.samples.back()?.0);
        let span_ms = last_ms.saturating_sub(first_ms) as f64;
        if self.samples.len() < MIN_SAMPLES || span_ms < self.over_ms as f64 * MIN_SPAN {
            return None;
        }
        let mut slopes: Vec<f64> = Vec::with_capacity(MAX_SAMPLES * (MAX_SAMPLES - 1) / 2);
        for (number, (then_ms, before)) in self.samples.iter().enumerate() {
            slopes.extend(
                self.samples
                    .range(number + 1..)
                    .map(|(at_ms, after)| (after - before) / (at_ms - then_ms) as f64),
            );
        }
        let middle = slopes.len() / 2;
        let (_, slope, _) = slopes.select_nth_unstable_by(middle, f64::total_cmp);
        Some(*slope * self.over_ms as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds a value every `step_s` to a window of 60 s; what it says at the end, in tenths.
    fn rise(step_s: u64, values: impl IntoIterator<Item = f64>) -> Option<f64> {
        let mut trend = Trend::new(60_000);
        let mut last = None;
        for (number, value) in (0..).zip(values) {
            last = trend.push(number * step_s * 1_000, value);
        }
        last.map(|rise| (rise * 10.0).round() / 10.0)
    }

    #[test]
    fn a_table_of_windows() {
        let line = |count: usize, per_step: f64| (0..count).map(move |n| 20.0 + n as f64 * per_step);
        let cases: &[(&str, Option<f64>, Option<f64>)] = &[
            ("calm", rise(5, line(13, 0.0)), Some(0.0)),
            ("8 in a minute", rise(5, line(13, 8.0 / 12.0)), Some(8.0)),
            ("falling", rise(5, line(13, -0.5)), Some(-6.0)),
            ("seven samples are too few", rise(8, line(7, 9.0)), None),
            ("eight over 42 s are too short a time", rise(6, line(8, 9.0)), None),
            ("eight over 49 s are enough", rise(7, line(8, 1.0)), Some(8.6)),
            (
                "what is older than the window is forgotten",
                rise(5, line(100, 5.0).chain([515.0; 13])),
                Some(0.0),
            ),
            ("more samples than are kept", rise(1, line(600, 0.1)), Some(6.0)),
        ];
        for (name, found, expected) in cases {
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn any_two_of_eight_samples_may_say_anything() {
        for first in 0..8 {
            for second in 0..8 {
                for wild in [1e6, -1e6] {
                    let mut values = [20.0; 8];
                    values[first] = wild;
                    values[second] = 2.0 * wild;
                    assert_eq!(rise(8, values), Some(0.0), "{first} and {second} say {wild}");
                }
            }
        }
    }

    #[test]
    fn memory_is_bounded_and_a_clock_that_stands_divides_nothing_by_zero() {
        let mut trend = Trend::new(1_000);
        for n in 0..100_000_u64 {
            assert!(trend.push(n / 10, n as f64).is_none_or(f64::is_finite));
            assert!(trend.samples.len() <= MAX_SAMPLES);
        }
    }
}
