//! Names that are valid by construction.
//!
//! They appear in MQTT topics, file names and URLs, so they use a small alphabet: `a-z`, `0-9` and `-`, with
//! `.` and `_` inside sensor names, and `/` between the levels of an area.

use alloc::string::String;
use core::fmt;

use bincode::{Decode, Encode};
use compact_str::CompactString;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameError {
    /// What kind of name it was to be, for the reader of the message.
    pub what: &'static str,
    /// The text as it was given, cut to 64 characters.
    pub given: String,
    /// The rule it breaks.
    pub rule: &'static str,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a {}: {}", self.given, self.what, self.rule)
    }
}

impl core::error::Error for NameError {}

fn refuse(what: &'static str, given: &str, rule: &'static str) -> NameError {
    NameError { what, given: given.chars().take(64).collect(), rule }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:expr, $rule:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(CompactString);

        impl $name {
            /// Takes `text` if it obeys the rule of this kind of name.
            ///
            /// # Errors
            /// [`NameError`] naming the rule that was broken.
            pub fn new(text: &str) -> Result<Self, NameError> {
                let check: fn(&[u8]) -> bool = $check;
                if check(text.as_bytes()) { Ok(Self(text.into())) } else { Err(refuse($what, text, $rule)) }
            }

            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Encode for $name {
            fn encode<E: bincode::enc::Encoder>(&self, e: &mut E) -> Result<(), bincode::error::EncodeError> {
                self.as_str().encode(e)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.as_str())
            }
        }

        // A derived Decode would let any text through: names from outside pass the same door as all others.
        impl<C> Decode<C> for $name {
            fn decode<D: bincode::de::Decoder<Context = C>>(d: &mut D) -> Result<Self, bincode::error::DecodeError> {
                let text = String::decode(d)?;
                Self::new(&text).map_err(|_| bincode::error::DecodeError::Other(concat!("not a ", $what)))
            }
        }

        impl<'de, C> bincode::BorrowDecode<'de, C> for $name {
            fn borrow_decode<D: bincode::de::BorrowDecoder<'de, Context = C>>(
                d: &mut D,
            ) -> Result<Self, bincode::error::DecodeError> {
                Self::decode(d)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }

        impl core::str::FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }
    };
}

/// Longest [`GatewayId`] in bytes: it is part of every topic and frame header.
pub const MAX_GATEWAY_ID: usize = 32;
/// Longest [`SensorName`] in bytes.
pub const MAX_SENSOR_NAME: usize = 48;
/// Longest [`Area`] in bytes.
pub const MAX_AREA: usize = 96;
/// Levels of an [`Area`]: city, district, street, community.
pub const MAX_AREA_LEVELS: usize = 4;

name!(
    /// A gateway box, unique in the city: `caotang-03`.
    GatewayId,
    "gateway id",
    |t| !t.is_empty()
        && t.len() <= MAX_GATEWAY_ID
        && t.iter().all(|&b| is_plain(b) || b == b'-')
        && t[0] != b'-'
        && t[t.len() - 1] != b'-',
    "1 to 32 characters of a-z, 0-9 and -, not starting or ending with -"
);

name!(
    /// A sensor, unique on its gateway: `kiln.temperature`. City-wide it is `gateway/sensor`.
    SensorName,
    "sensor name",
    |t| !t.is_empty()
        && t.len() <= MAX_SENSOR_NAME
        && t.iter().all(|&b| is_plain(b) || matches!(b, b'-' | b'.' | b'_'))
        && is_plain(t[0]),
    "1 to 48 characters of a-z, 0-9, '-', '.' and '_', starting with a letter or digit"
);

name!(
    /// Where something belongs in the administration: `chengdu/qingyang/caotang`, up to four levels.
    /// Empty means unknown.
    Area,
    "area",
    |t| t.is_empty()
        || (t.len() <= MAX_AREA
            && t.split(|&b| b == b'/').count() <= MAX_AREA_LEVELS
            && t.split(|&b| b == b'/')
                .all(|level| !level.is_empty() && level.iter().all(|&b| is_plain(b) || b == b'-'))),
    "up to 4 levels of a-z, 0-9 and - separated by /, 96 characters at most"
);

impl Area {
    /// The area of which nothing is known.
    pub fn unknown() -> Self {
        Self(CompactString::const_new(""))
    }

    /// The district, the second level, which Parquet files are partitioned by; `unknown` when there is none.
    pub fn district(&self) -> &str {
        self.0.split('/').nth(1).unwrap_or("unknown")
    }
}

/// The number of a quantity in the catalogue (`configs/quantities`). Numbers are never reused.
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
pub struct QuantityCode(pub u16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_obey_their_rules() {
        for good in ["a", "caotang-03", "0"] {
            assert!(GatewayId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a/b", "a.b", "草堂", &"a".repeat(33)] {
            assert!(GatewayId::new(bad).is_err(), "{bad}");
        }
        assert!(SensorName::new("kiln.temp_1").is_ok());
        assert!(SensorName::new(".kiln").is_err());
        assert!(Area::new("chengdu/qingyang/caotang/c1").is_ok());
        assert!(Area::new("a/b/c/d/e").is_err());
        assert!(Area::new("a//b").is_err());
        assert_eq!(Area::new("chengdu/qingyang").unwrap().district(), "qingyang");
        assert_eq!(Area::unknown().district(), "unknown");
    }

    #[test]
    fn the_message_teaches() {
        let text = alloc::format!("{}", GatewayId::new("Box 7").unwrap_err());
        assert_eq!(
            text,
            "\"Box 7\" is not a gateway id: 1 to 32 characters of a-z, 0-9 and -, not starting or ending with -"
        );
    }
}
