//! How far a value may be trusted, in the spirit of QARTOD's real-time checks. Pure.
//!
//! The checks in their order; the first that objects decides:
//! 1. fault: the sensor gave no value, or none that is a number. Fault is never zero.
//! 2. gross range: outside what the quantity can be. The value is kept, but enters nothing.
//! 3. stale: unmoved for so long that the device must be repeating an old value: a fault, without the value. Off
//!    unless configured.
//! 4. late: judged long after it was taken, so that it says nothing of now: suspect.
//! 5. gap: the first value after a hole in the series: suspect, for nothing stands beside it. What came before is
//!    forgotten: a rate or a spike across a hole means nothing, and nobody knows that the value did not move in it.
//! 6. rate of change: faster than the quantity can change since the last value in range: suspect.
//! 7. spike: too far from the median of the last five values in range: suspect. Off unless configured; a real step
//!    is doubted for three readings and believed from the fourth on, when it is the median.
//! 8. flat line: unmoved for too long: suspect. Off unless configured.
//!
//! A sensor of which nothing came for long is silent: [`Judge::silent`] says so with a fault of its own, so that
//! rules over it go blind instead of staying quiet for ever.

use boards::Sample;
use wire::Quality;

use crate::batch::Judged;
use crate::config::Sensor;

/// Values the spike check remembers.
const MEMORY: usize = 5;
/// Shortest time a rate is computed over, in ms: the jitter of two close readings is no speed.
const MIN_RATE_MS: u64 = 100;
/// A sensor is silent after this many missed readings…
const SILENT_READINGS: u64 = 10;
/// …but not before this time, in ms.
const SILENT_MIN_MS: u64 = 30_000;

/// A series has a hole after this many missed readings…
const GAP_READINGS: u64 = 3;
/// …but not before this time, in ms: a bus that is retried is no hole.
const GAP_MIN_MS: u64 = 5_000;

/// Judges the readings of all sensors of a gateway.
#[derive(Debug)]
pub struct Judge {
    sensors: Vec<State>,
}

#[derive(Debug)]
struct State {
    min: f64,
    max: f64,
    rate_per_s: Option<f64>,
    spike: Option<f64>,
    flat_ms: Option<u64>,
    stale_ms: Option<u64>,
    gap_ms: u64,
    silent_ms: u64,
    /// When anything last came, be it a fault, or silence was last noted.
    heard_ms: u64,
    /// When the last sample was taken, be it a fault.
    sampled_ms: Option<u64>,
    /// Last value in range and its time.
    last: Option<(u64, f64)>,
    /// Since when the value is what it is.
    still_since_ms: u64,
    recent: [f64; MEMORY],
    /// How many of `recent` are filled.
    filled: usize,
    next: usize,
}

impl Judge {
    /// A judge for these sensors, by number. `speed` is how much faster than life they change: 1, or the speed of
    /// a simulated board.
    pub fn new(sensors: &[Sensor], speed: f64, now_ms: u64) -> Self {
        let sensors = sensors
            .iter()
            .map(|sensor| State {
                min: sensor.quantity.min,
                max: sensor.quantity.max,
                rate_per_s: sensor.quantity.max_rate_per_s.map(|rate| rate * speed.max(1.0)),
                spike: sensor.spike,
                flat_ms: sensor.flat_ms,
                stale_ms: sensor.stale_ms,
                gap_ms: sensor.every_ms.saturating_mul(GAP_READINGS).max(GAP_MIN_MS),
                silent_ms: sensor.every_ms.saturating_mul(SILENT_READINGS).max(SILENT_MIN_MS),
                heard_ms: now_ms,
                sampled_ms: None,
                last: None,
                still_since_ms: now_ms,
                recent: [0.0; MEMORY],
                filled: 0,
                next: 0,
            })
            .collect();
        Self { sensors }
    }

    /// Judges one sample at `now_ms`; `None` for a sensor that is not configured.
    pub fn judge(&mut self, now_ms: u64, sample: &Sample) -> Option<Judged> {
        let state = self.sensors.get_mut(usize::from(sample.sensor))?;
        state.heard_ms = state.heard_ms.max(sample.mono_ms);
        let quality = match sample.value {
            Ok(value) if value.is_finite() => state.look(sample.mono_ms, value),
            Ok(_) | Err(_) => Quality::Fault,
        };
        state.sampled_ms = Some(sample.mono_ms);
        let late = now_ms.saturating_sub(sample.mono_ms) >= state.silent_ms;
        let quality = if late { quality.max(Quality::Suspect) } else { quality };
        let value = sample.value.ok().filter(|_| quality.has_value());
        Some(Judged { sensor: sample.sensor, mono_ms: sample.mono_ms, value, quality })
    }

    /// Faults for sensors of which nothing came for ten readings, at least 30 s: one each, then again after as long.
    /// Call about once a second.
    pub fn silent(&mut self, now_ms: u64) -> Vec<Judged> {
        let mut faults = Vec::new();
        for (number, state) in (0..).zip(&mut self.sensors) {
            if now_ms.saturating_sub(state.heard_ms) >= state.silent_ms {
                state.heard_ms = now_ms;
                faults.push(Judged { sensor: number, mono_ms: now_ms, value: None, quality: Quality::Fault });
            }
        }
        faults
    }
}

impl State {
    /// Looks at a number that was sampled at `now_ms`.
    fn look(&mut self, now_ms: u64, value: f64) -> Quality {
        let gap = self.sampled_ms.is_some_and(|then_ms| now_ms.saturating_sub(then_ms) > self.gap_ms);
        if gap {
            self.last = None;
            self.filled = 0;
            self.next = 0;
        }
        if !(self.min..=self.max).contains(&value) {
            return Quality::OutOfRange;
        }
        let too_fast = match (self.rate_per_s, self.last) {
            (Some(limit), Some((then_ms, last))) => {
                let seconds = now_ms.saturating_sub(then_ms).max(MIN_RATE_MS) as f64 / 1e3;
                (value - last).abs() / seconds > limit
            }
            _ => false,
        };
        let spike = match (self.spike, self.filled) {
            (Some(limit), MEMORY) => (value - self.median()).abs() > limit,
            _ => false,
        };
        if self.last.is_none_or(|(_, last)| last != value) {
            self.still_since_ms = now_ms;
        }
        let still_ms = now_ms.saturating_sub(self.still_since_ms);
        let unmoved = |limit: Option<u64>| limit.is_some_and(|limit| still_ms >= limit);
        self.last = Some((now_ms, value));
        self.recent[self.next] = value;
        self.next = (self.next + 1) % MEMORY;
        self.filled = (self.filled + 1).min(MEMORY);
        if unmoved(self.stale_ms) {
            return Quality::Fault;
        }
        if gap || too_fast || spike || unmoved(self.flat_ms) { Quality::Suspect } else { Quality::Good }
    }

    fn median(&self) -> f64 {
        let mut sorted = self.recent;
        sorted.sort_by(f64::total_cmp);
        sorted[MEMORY / 2]
    }
}

#[cfg(test)]
mod tests {
    use boards::Fault;

    use super::*;
    use crate::testing::sensors;

    fn judge(change: impl Fn(&mut Sensor)) -> Judge {
        let mut sensors = sensors(1);
        // Air temperature: -60 to 150 Cel, at most 5 a second.
        sensors[0].every_ms = 10_000;
        change(&mut sensors[0]);
        Judge::new(&sensors, 1.0, 0)
    }

    /// Feeds (time in s, value) and gives back one letter per reading.
    fn letters(judge: &mut Judge, values: &[(f64, f64)]) -> String {
        let mut out = String::new();
        for (seconds, value) in values {
            let value = if value.is_infinite() { Err(Fault::Checksum) } else { Ok(*value) };
            let sample = Sample { sensor: 0, mono_ms: (seconds * 1e3) as u64, value };
            let judged = judge.judge(sample.mono_ms, &sample).expect("sensor 0 is known");
            assert_eq!(
                judged.value.is_some(),
                judged.quality.has_value(),
                "fault and only fault has no value"
            );
            out.push(match judged.quality {
                Quality::Good => 'g',
                Quality::Suspect => 's',
                Quality::OutOfRange => 'o',
                Quality::Fault => 'f',
            });
        }
        out
    }

    const FAULT: f64 = f64::INFINITY;

    #[test]
    fn a_table_of_cases() {
        let plain = |_: &mut Sensor| {};
        let spike = |s: &mut Sensor| s.spike = Some(2.0);
        let flat = |s: &mut Sensor| s.flat_ms = Some(10_000);
        let stale = |s: &mut Sensor| {
            s.flat_ms = Some(10_000);
            s.stale_ms = Some(40_000);
        };
        type Case<'a> = (&'a str, &'a dyn Fn(&mut Sensor), &'a [(f64, f64)], &'a str);
        let cases: &[Case<'_>] = &[
            ("calm", &plain, &[(0.0, 20.0), (1.0, 20.5), (2.0, 21.0)], "ggg"),
            ("limits are in range", &plain, &[(0.0, -60.0), (10.0, -60.0), (20.0, -60.0)], "ggg"),
            ("beyond is out", &plain, &[(0.0, -60.1), (1.0, 150.1)], "oo"),
            ("fault is not zero", &plain, &[(0.0, FAULT), (1.0, 20.0)], "fg"),
            ("not a number is a fault", &plain, &[(0.0, f64::NAN)], "f"),
            ("too fast", &plain, &[(0.0, 20.0), (1.0, 25.0), (2.0, 30.1)], "ggs"),
            ("the same change in more time", &plain, &[(0.0, 20.0), (2.0, 30.0)], "gg"),
            (
                "an impossible value is no start for a rate",
                &plain,
                &[(0.0, 20.0), (1.0, 500.0), (2.0, 21.0)],
                "gog",
            ),
            ("two readings at once are no speed", &plain, &[(0.0, 20.0), (0.0, 20.4)], "gg"),
            (
                "a spike, and its end",
                &spike,
                &[(0.0, 20.0), (1.0, 20.1), (2.0, 20.0), (3.0, 20.1), (4.0, 20.0), (5.0, 23.0), (6.0, 20.0)],
                "gggggsg",
            ),
            (
                "a step is believed at the fourth",
                &spike,
                &[
                    (0.0, 20.0),
                    (1.0, 20.0),
                    (2.0, 20.0),
                    (3.0, 20.0),
                    (4.0, 20.0),
                    (5.0, 24.0),
                    (6.0, 24.0),
                    (7.0, 24.0),
                    (8.0, 24.0),
                ],
                "gggggsssg",
            ),
            ("flat", &flat, &[(0.0, 20.0), (5.0, 20.0), (10.0, 20.0), (15.0, 20.1), (20.0, 20.1)], "ggsgg"),
            (
                "flat, then stale, then alive again",
                &stale,
                &[(0.0, 20.0), (10.0, 20.0), (20.0, 20.0), (30.0, 20.0), (40.0, 20.0), (50.0, 20.1)],
                "gsssfg",
            ),
            ("two missed readings are no gap", &plain, &[(0.0, 20.0), (30.0, 20.1)], "gg"),
            ("a gap, and its end", &plain, &[(0.0, 20.0), (30.1, 20.1), (40.0, 20.2)], "gsg"),
            ("faults are readings, not a gap", &plain, &[(0.0, 20.0), (20.0, FAULT), (40.0, 20.0)], "gfg"),
            ("impossible values are, too", &plain, &[(0.0, 20.0), (20.0, 500.0), (40.0, 20.0)], "gog"),
            ("no rate across a gap", &plain, &[(0.0, -60.0), (31.0, 150.0), (32.0, 150.0)], "gsg"),
            (
                "nobody knows that it was flat in a gap",
                &flat,
                &[(0.0, 20.0), (60.0, 20.0), (61.0, 20.0)],
                "gsg",
            ),
            (
                "nor what is a spike after it",
                &spike,
                &[
                    (0.0, 20.0),
                    (1.0, 20.0),
                    (2.0, 20.0),
                    (3.0, 20.0),
                    (4.0, 20.0),
                    (60.0, 24.0),
                    (61.0, 24.0),
                ],
                "gggggsg",
            ),
        ];
        for (name, change, values, expected) in cases {
            assert_eq!(letters(&mut judge(change), values), *expected, "{name}");
        }
    }

    #[test]
    fn a_simulated_street_may_change_as_fast_as_it_runs() {
        let mut judge = Judge::new(&sensors(1), 10.0, 0);
        assert_eq!(letters(&mut judge, &[(0.0, 20.0), (1.0, 69.0), (2.0, 120.0)]), "ggs");
    }

    #[test]
    fn a_sample_that_waited_long_is_late() {
        let mut judge = judge(|s| s.every_ms = 5_000);
        let mut at = |now_ms, value| {
            let sample = Sample { sensor: 0, mono_ms: 1_000, value };
            judge.judge(now_ms, &sample).expect("known").quality
        };
        assert_eq!(at(50_999, Ok(20.0)), Quality::Good);
        assert_eq!(at(51_000, Ok(20.0)), Quality::Suspect, "as old as a silence");
        assert_eq!(at(51_000, Ok(900.0)), Quality::OutOfRange, "worse stays worse");
        assert_eq!(at(51_000, Err(Fault::Checksum)), Quality::Fault);
    }

    #[test]
    fn silence_becomes_a_fault_again_and_again() {
        let mut judge = judge(|s| s.every_ms = 5_000);
        assert_eq!(letters(&mut judge, &[(10.0, 20.0)]), "g");
        assert!(judge.silent(59_999).is_empty());
        let fault = Judged { sensor: 0, mono_ms: 60_000, value: None, quality: Quality::Fault };
        assert_eq!(judge.silent(60_000), [fault]);
        assert!(judge.silent(61_000).is_empty(), "not each time it is asked");
        assert_eq!(judge.silent(110_000).len(), 1, "but as long as it lasts");
        assert_eq!(judge.judge(0, &Sample { sensor: 9, mono_ms: 0, value: Ok(1.0) }), None);
    }
}
