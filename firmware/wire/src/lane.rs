//! Lanes: what waits for what.

use bincode::{Decode, Encode};

/// A lane has its own sequence, its own reserve on disk and its own share of the flight window.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Encode,
    Decode,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Lane {
    /// Alarm events.
    Alarm = 0,
    /// Seal receipts.
    Seal = 1,
    /// Readings.
    Reading = 2,
    /// Camera frames.
    Frame = 3,
    /// Health, announcements and losses of the box itself.
    Health = 4,
}

impl Lane {
    /// All lanes in shipping order: the first overtakes the rest.
    pub const ALL: [Lane; 5] = [Lane::Alarm, Lane::Seal, Lane::Health, Lane::Reading, Lane::Frame];

    /// The lane with this number, if there is one.
    pub fn from_number(number: u8) -> Option<Self> {
        [Lane::Alarm, Lane::Seal, Lane::Reading, Lane::Frame, Lane::Health].get(usize::from(number)).copied()
    }

    /// The word used in topics, metrics and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Lane::Alarm => "alarm",
            Lane::Seal => "seal",
            Lane::Reading => "reading",
            Lane::Frame => "frame",
            Lane::Health => "health",
        }
    }

    /// The lane with this word, if there is one.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|lane| lane.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_words_come_back() {
        for lane in Lane::ALL {
            assert_eq!(Lane::from_number(lane as u8), Some(lane));
            assert_eq!(Lane::from_word(lane.as_str()), Some(lane));
        }
        assert_eq!(Lane::from_number(5), None);
        assert_eq!(Lane::from_word("readings"), None);
    }
}
