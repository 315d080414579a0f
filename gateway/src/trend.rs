//! How fast a counter grows, and how long a buffer lasts at that rate. Pure.

use std::collections::VecDeque;

/// A counter over its last hours. Memory is bounded by the number of samples.
#[derive(Debug, Clone)]
pub struct Trend {
    every_ms: u64,
    samples: usize,
    least_ms: u64,
    /// Time since the start, count then; oldest first.
    seen: VecDeque<(u64, u64)>,
}

impl Trend {
    /// Over the last `samples` spans of `every_ms`; says nothing before it has seen `least_ms`.
    pub fn new(every_ms: u64, samples: usize, least_ms: u64) -> Self {
        Self { every_ms, samples, least_ms, seen: VecDeque::new() }
    }

    /// Looks at the counter: its growth a second; `None` while too little was seen.
    pub fn per_s(&mut self, now_ms: u64, total: u64) -> Option<f64> {
        if self.seen.back().is_some_and(|(_, last)| total < *last) {
            // Another counter: the disk was changed, or the counter ran over.
            self.seen.clear();
        }
        if self.seen.back().is_none_or(|(at_ms, _)| now_ms.saturating_sub(*at_ms) >= self.every_ms) {
            self.seen.push_back((now_ms, total));
        }
        while self.seen.len() > self.samples.max(1) {
            self.seen.pop_front();
        }
        let (from_ms, from) = *self.seen.front()?;
        let span_ms = now_ms.saturating_sub(from_ms);
        (span_ms >= self.least_ms.max(1)).then(|| (total - from) as f64 * 1e3 / span_ms as f64)
    }
}

/// How many hours without network a buffer still bridges: `waiting` of `room` bytes are full, and `per_s` bytes come a
/// second. `None` when nothing comes, which is no promise of eternity.
pub fn hours_left(room: u64, waiting: u64, per_s: f64) -> Option<f64> {
    (per_s > 0.0).then(|| room.saturating_sub(waiting) as f64 / per_s / 3600.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_hours() {
        let mut trend = Trend::new(1_000, 3, 500);
        for (now_ms, total, rate) in [
            (0, 100, None),
            (499, 199, None),
            (500, 200, Some(200.0)),
            (1_000, 200, Some(100.0)),
            (2_000, 300, Some(100.0)),
            // The first look is forgotten: the rate counts from 1 s on.
            (3_000, 1_200, Some(500.0)),
            // Another counter begins, and time goes on.
            (4_000, 7, None),
            (5_000, 17, Some(10.0)),
        ] {
            assert_eq!(trend.per_s(now_ms, total), rate, "at {now_ms} ms");
        }
    }

    #[test]
    fn hours_are_room_over_rate() {
        for (room, waiting, per_s, hours) in [
            (3_600_000, 0, 1_000.0, Some(1.0)),
            (3_600_000, 1_800_000, 1_000.0, Some(0.5)),
            (3_600_000, 4_000_000, 1_000.0, Some(0.0)),
            (3_600_000, 0, 0.0, None),
        ] {
            assert_eq!(hours_left(room, waiting, per_s), hours, "{room} {waiting} {per_s}");
        }
    }
}
