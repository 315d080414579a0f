//! A tipping-bucket rain gauge: a magnet passes a reed switch at each tip, and a tip is a known amount of rain.
//!
//! Pure: times at which the switch closed in, millimetres out. Amounts are whole micrometres, so that no rain is
//! lost to rounding however long it drizzles.

/// Closings nearer than this to the one before belong to the same tip, in milliseconds. A reed bounces for a few
/// milliseconds and stays closed for some 50 to 100; two tips within 150 ms would be 4.8 m of rain an hour.
pub const SAME_TIP_MS: u64 = 150;

/// Counts tips.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RainGauge {
    micrometres_per_tip: u32,
    last_ms: Option<u64>,
    tips: u32,
}

impl RainGauge {
    /// A gauge whose bucket holds `micrometres_per_tip` of rain, usually 200 or 500.
    pub fn new(micrometres_per_tip: u32) -> Self {
        Self { micrometres_per_tip, last_ms: None, tips: 0 }
    }

    /// The switch closed at `at_ms`. True when that was a new tip, false when it bounced.
    ///
    /// A switch that chatters without end counts as one tip: each closing puts off the next one that counts.
    pub fn closed(&mut self, at_ms: u64) -> bool {
        let new = self.last_ms.is_none_or(|last_ms| at_ms >= last_ms + SAME_TIP_MS);
        self.last_ms = Some(at_ms);
        self.tips += u32::from(new);
        new
    }

    /// Rain since this was last called, in micrometres.
    pub fn take_micrometres(&mut self) -> u64 {
        u64::from(core::mem::take(&mut self.tips)) * u64::from(self.micrometres_per_tip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tips_become_rain_and_are_told_once() {
        let mut gauge = RainGauge::new(200);
        for tip in 0..5 {
            assert!(gauge.closed(tip * 1_000));
        }
        assert_eq!(gauge.take_micrometres(), 1_000);
        assert_eq!(gauge.take_micrometres(), 0, "dry is really zero");
    }

    #[test]
    fn a_bounce_is_the_same_tip() {
        let mut gauge = RainGauge::new(500);
        let closings = [1_000, 1_003, 1_060, 1_149, 2_000, 2_002];
        let tips = closings.into_iter().filter(|&at| gauge.closed(at)).count();
        assert_eq!(tips, 2);
        assert_eq!(gauge.take_micrometres(), 1_000);
    }

    #[test]
    fn a_switch_that_chatters_is_not_a_flood() {
        let mut gauge = RainGauge::new(200);
        for at in (0..60_000).step_by(20) {
            gauge.closed(at);
        }
        assert_eq!(gauge.take_micrometres(), 200);
    }
}
