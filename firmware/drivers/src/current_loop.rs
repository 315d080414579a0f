//! The 4–20 mA current loop of industrial transmitters, with the fault limits of NAMUR NE 43.
//!
//! | Current | Means |
//! |---|---|
//! | below 3.6 mA | the transmitter reports its own failure, or the wire is broken (0 mA) |
//! | 3.6 to 3.8 mA, 20.5 to 21 mA | between the bands: taken as a value, the transmitter is at its limit |
//! | 3.8 to 20.5 mA | a value |
//! | above 21 mA | the transmitter reports its own failure, or the wire is short-circuited |

use core::fmt;

/// Below this the loop has failed, in nanoamperes.
pub const FAILED_BELOW_NA: i64 = 3_600_000;
/// Above this the loop has failed, in nanoamperes.
pub const FAILED_ABOVE_NA: i64 = 21_000_000;
/// The current of the lower end of the scale, in nanoamperes.
pub const ZERO_NA: i64 = 4_000_000;
/// From the lower to the upper end of the scale, in nanoamperes.
pub const SPAN_NA: i64 = 16_000_000;

/// The loop carries no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Below 3.6 mA: broken wire, no supply, or the transmitter's alarm.
    Low {
        /// What flowed, in nanoamperes.
        nanoamps: i64,
    },
    /// Above 21 mA: short circuit, or the transmitter's alarm.
    High {
        /// What flowed, in nanoamperes.
        nanoamps: i64,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (nanoamps, side, why) = match self {
            Fault::Low { nanoamps } => {
                (nanoamps, "below 3.6", "broken wire, no supply, or the transmitter failed")
            }
            Fault::High { nanoamps } => (nanoamps, "above 21", "short circuit, or the transmitter failed"),
        };
        write!(f, "{} µA in the loop, {side} mA: {why}", nanoamps / 1_000)
    }
}

impl core::error::Error for Fault {}

/// The current that makes `nanovolts` over a shunt of `milliohms`, in nanoamperes. A shunt of 0 carries none.
pub fn nanoamps(nanovolts: i64, milliohms: u32) -> i64 {
    if milliohms == 0 { 0 } else { nanovolts * 1_000 / i64::from(milliohms) }
}

/// A current that carries a value.
///
/// # Errors
/// [`Fault`] outside 3.6 to 21 mA.
pub fn judge(nanoamps: i64) -> Result<i64, Fault> {
    match nanoamps {
        low if low < FAILED_BELOW_NA => Err(Fault::Low { nanoamps }),
        high if high > FAILED_ABOVE_NA => Err(Fault::High { nanoamps }),
        _ => Ok(nanoamps),
    }
}

/// Digits after the point are kept as long as one step is at least a ten-thousandth of the span: a 16-bit converter
/// sees some 20,000 steps, more digits would be noise, and a decimal value packs well on the wire.
const STEPS_PER_SPAN: f64 = 10_000.0;
const POWERS: [f64; 7] = [1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6];

/// What the ends of a loop mean, in the unit of the quantity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    at_4ma: f64,
    at_20ma: f64,
    power: f64,
}

impl Scale {
    /// A linear scale. `at_20ma` may be the smaller one.
    pub fn new(at_4ma: f64, at_20ma: f64) -> Self {
        let span = if at_20ma > at_4ma { at_20ma - at_4ma } else { at_4ma - at_20ma };
        let fits = |power: &&f64| 1.0 / **power >= span / STEPS_PER_SPAN;
        let power = POWERS.iter().rev().find(fits).copied().unwrap_or(1.0);
        Self { at_4ma, at_20ma, power }
    }

    /// The value at `nanoamps`, rounded to the power of ten that is a ten-thousandth of the span or just above it:
    /// 0.01 for a span of 100, 0.1 for 1000, never finer than 10⁻⁶ or coarser than 1.
    ///
    /// # Errors
    /// [`Fault`] as of [`judge`]: a fault is never a value.
    pub fn value(&self, nanoamps: i64) -> Result<f64, Fault> {
        let above_zero = (judge(nanoamps)? - ZERO_NA) as f64 / SPAN_NA as f64;
        let value = self.at_4ma + above_zero * (self.at_20ma - self.at_4ma);
        let half = if value < 0.0 { -0.5 } else { 0.5 };
        Ok((value * self.power + half) as i64 as f64 / self.power)
    }

    /// The current a transmitter would drive at `value`, in nanoamperes, kept to 3.8 to 20.5 mA as NE 43 wants it.
    pub fn nanoamps(&self, value: f64) -> i64 {
        let current = (value - self.at_4ma) / (self.at_20ma - self.at_4ma) * SPAN_NA as f64 + ZERO_NA as f64;
        (current as i64).clamp(3_800_000, 20_500_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_of_ne_43() {
        assert_eq!(judge(0), Err(Fault::Low { nanoamps: 0 }));
        assert_eq!(judge(3_599_999), Err(Fault::Low { nanoamps: 3_599_999 }));
        assert_eq!(judge(3_600_000), Ok(3_600_000));
        assert_eq!(judge(21_000_000), Ok(21_000_000));
        assert_eq!(judge(21_000_001), Err(Fault::High { nanoamps: 21_000_001 }));
    }

    #[test]
    fn the_scale_is_linear_and_decimal() {
        let smoke = Scale::new(0.0, 100.0);
        assert_eq!(smoke.value(4_000_000), Ok(0.0));
        assert_eq!(smoke.value(12_000_000), Ok(50.0));
        assert_eq!(smoke.value(20_000_000), Ok(100.0));
        assert_eq!(smoke.value(5_234_567), Ok(7.72));
        let pressure = Scale::new(-100.0, 900.0);
        assert_eq!(pressure.value(4_001_000), Ok(-99.9));
        let falling = Scale::new(2.0, 1.0);
        assert_eq!(falling.value(8_000_000), Ok(1.75));
        assert_eq!(falling.value(8_000_900), Ok(1.7499));
        assert_eq!(Scale::new(0.0, 40_000.0).value(4_001_000), Ok(3.0), "never coarser than 1");
    }

    #[test]
    fn a_transmitter_and_its_reader_agree() {
        let scale = Scale::new(-20.0, 180.0);
        for value in [-20.0, 0.0, 21.37, 180.0] {
            let read = scale.value(scale.nanoamps(value)).unwrap();
            assert!((read - value).abs() <= 0.05, "{value} came back as {read}");
        }
        assert_eq!(scale.nanoamps(1e9), 20_500_000, "saturated, not failed");
        assert_eq!(scale.nanoamps(-1e9), 3_800_000);
    }

    #[test]
    fn ohms_law() {
        assert_eq!(nanoamps(2_000_000_000, 100_000), 20_000_000, "2 V over 100 Ω");
        assert_eq!(nanoamps(5, 0), 0);
    }
}
