//! The newest reading of a sensor, in 15 bytes: a city has 22 million of them.
//!
//! ```text
//! bytes  meaning (little-endian)
//!     6  time in milliseconds since 1970 UTC, signed: 4,460 years to either side
//!     8  value as f64
//!     1  grade: 128 there, 64 value, 4 quality, 1 clock; 0 before the first reading
//! ```

use wire::{ClockState, Quality};

use super::sensors::Last;

const TIME_BYTES: usize = 6;
const BYTES: usize = TIME_BYTES + 8 + 1;
/// Milliseconds from 1970 that fit.
const MAX_MS: i64 = (1 << 47) - 1;

const THERE: u8 = 1 << 7;
const VALUE: u8 = 1 << 6;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Newest([u8; BYTES]);

/// The number of what was known of the time, as in [`super::rows::Head`].
pub(super) fn clock_number(clock: ClockState) -> u8 {
    match clock {
        ClockState::Unset => 0,
        ClockState::HeldOver => 1,
        ClockState::Synchronised => 2,
    }
}

impl Newest {
    /// Before the first reading.
    pub(super) const NONE: Self = Self([0; BYTES]);

    /// A reading. A time that does not fit, which no door lets in, becomes the nearest that does.
    pub(super) fn of(last: &Last) -> Self {
        let has_value = if last.value.is_some() { VALUE } else { 0 };
        let grade = THERE | has_value | (last.quality as u8) << 2 | clock_number(last.clock);
        Self::from_parts(last.at_ms, last.value.unwrap_or_default(), grade)
    }

    /// From time, value and grade, as pages hold them.
    pub(super) fn from_parts(at_ms: i64, value: f64, grade: u8) -> Self {
        let mut bytes = [0; BYTES];
        bytes[..TIME_BYTES].copy_from_slice(&at_ms.clamp(-MAX_MS, MAX_MS).to_le_bytes()[..TIME_BYTES]);
        bytes[TIME_BYTES..BYTES - 1].copy_from_slice(&value.to_le_bytes());
        bytes[BYTES - 1] = grade;
        Self(bytes)
    }

    /// Time, value and grade.
    pub(super) fn parts(self) -> (i64, f64, u8) {
        let [a, b, c, d, e, f, value @ .., grade] = self.0;
        // Into the upper six bytes and down again, for the sign.
        (i64::from_le_bytes([0, 0, a, b, c, d, e, f]) >> 16, f64::from_le_bytes(value), grade)
    }

    /// The reading; `None` before the first.
    pub(super) fn last(self) -> Option<Last> {
        let (at_ms, value, grade) = self.parts();
        (grade & THERE != 0).then(|| Last {
            at_ms,
            value: (grade & VALUE != 0).then_some(value),
            quality: Quality::ALL.get(usize::from(grade >> 2 & 0xF)).copied().unwrap_or(Quality::Fault),
            clock: match grade & 3 {
                0 => ClockState::Unset,
                1 => ClockState::HeldOver,
                _ => ClockState::Synchronised,
            },
        })
    }

    /// When it was taken; `None` when there is none, or no usable one.
    pub(super) fn well_ms(self) -> Option<i64> {
        self.last().filter(|last| last.value.is_some() && last.quality.is_usable()).map(|last| last.at_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_comes_back() {
        assert_eq!((Newest::NONE.last(), Newest::NONE.well_ms()), (None, None));
        let values = [None, Some(0.0), Some(-1.0 / 3.0), Some(f64::MAX)];
        for at_ms in [0, 1, -1, 1_790_000_000_000, -62_135_596_800_000, MAX_MS, -MAX_MS] {
            for (value, quality) in values.into_iter().zip(Quality::ALL.into_iter().cycle()) {
                for clock in [ClockState::Unset, ClockState::HeldOver, ClockState::Synchronised] {
                    let last = Last { at_ms, value, quality, clock };
                    assert_eq!(Newest::of(&last).last(), Some(last));
                    let is_well = value.is_some() && quality.is_usable();
                    assert_eq!(Newest::of(&last).well_ms(), is_well.then_some(at_ms));
                }
            }
        }
        assert_eq!(Newest::from_parts(i64::MIN, 0.0, THERE).parts().0, -MAX_MS);
    }
}
