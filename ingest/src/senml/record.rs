//! Records and their resolution (RFC 8428 §4): what base fields and relative times mean, before any mapping.

use std::borrow::Cow;

/// The version of SenML that RFC 8428 defines, and the newest understood.
pub const VERSION: u64 = 10;
/// Times below this many seconds are relative to now (§4.5.3): 2^28, August 1978.
pub const RELATIVE_LIMIT_S: f64 = 268_435_456.0;
/// Furthest a time may lie ahead of its receipt, in milliseconds: more is a wrong clock, and would put readings
/// into windows that nobody can close. An hour forgives a wrong zone's daylight saving.
pub const MAX_AHEAD_MS: i64 = 3_600_000;
/// Longest resolved name in bytes; names beyond it do not identify a device any more.
pub const MAX_NAME: usize = 255;

/// Why a pack cannot be read at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    /// Not JSON or not CBOR.
    #[error("not valid {format}: {detail}")]
    Syntax {
        /// `JSON` or `CBOR`.
        format: &'static str,
        /// What the parser says, with the position.
        detail: String,
    },
    /// Something else than a list of records.
    #[error("a SenML pack is an array of records (RFC 8428 §4), found {found}")]
    NotAPack {
        /// What was there.
        found: String,
    },
    /// Nothing inside.
    #[error("the pack is empty: at least one record expected")]
    Empty,
    /// More than [`super::MAX_RECORDS`].
    #[error("the pack has more than {most} records: split it")]
    TooMany {
        /// How many are taken.
        most: usize,
    },
    /// A base field, which later records depend on, has the wrong type.
    #[error(
        "record {record}: base field {field:?} must be {expected}, found {found}: the records after it cannot be resolved"
    )]
    Base {
        /// The record, from 0.
        record: usize,
        /// The field.
        field: &'static str,
        /// What was expected.
        expected: &'static str,
        /// What was there.
        found: String,
    },
    /// Another version of SenML.
    #[error(
        "record {record}: SenML version (bver) {found} is not understood, expected {VERSION} or less and the same in the whole pack"
    )]
    Version {
        /// The record, from 0.
        record: usize,
        /// The version.
        found: u64,
    },
    /// A field that must be understood and is not.
    #[error(
        "record {record}: field {field:?} ends with _, which means it must be understood (RFC 8428 §4.4), and it is not"
    )]
    MustUnderstand {
        /// The record, from 0.
        record: usize,
        /// The field.
        field: String,
    },
}

/// A value that is no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Other {
    /// `vs`
    Text,
    /// `vb`
    Flag,
    /// `vd`
    Data,
}

/// A record as it was written.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Raw {
    /// `bn`, base name.
    pub base_name: Option<String>,
    /// `bt`, base time in seconds.
    pub base_time: Option<f64>,
    /// `bu`, base unit.
    pub base_unit: Option<String>,
    /// `bv`, base value.
    pub base_value: Option<f64>,
    /// `bs`, base sum; checked, not used: sums are not mapped.
    pub base_sum: Option<f64>,
    /// `bver`, version.
    pub version: Option<u64>,
    /// `n`, name.
    pub name: Option<String>,
    /// `u`, unit.
    pub unit: Option<String>,
    /// `v`, value.
    pub value: Option<f64>,
    /// `vs`, `vb` or `vd`: values that are no numbers.
    pub others: Vec<Other>,
    /// `s`, sum.
    pub sum: Option<f64>,
    /// `t`, time in seconds.
    pub time: Option<f64>,
    /// A field of the wrong type: this record is refused, the others are not.
    pub problem: Option<String>,
}

impl Raw {
    /// Whether it only sets base fields for the records after it.
    fn is_base_only(&self) -> bool {
        let has_base = self.base_name.is_some()
            || self.base_time.is_some()
            || self.base_unit.is_some()
            || self.base_value.is_some()
            || self.base_sum.is_some()
            || self.version.is_some();
        let has_own = self.name.is_some()
            || self.unit.is_some()
            || self.value.is_some()
            || !self.others.is_empty()
            || self.sum.is_some()
            || self.time.is_some()
            || self.problem.is_some();
        has_base && !has_own
    }
}

/// A record that stands for itself (§4.6).
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Base name and name together.
    pub name: String,
    /// Unit or base unit.
    pub unit: Option<String>,
    /// Base value and value together.
    pub value: f64,
    /// Milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Whether that was given as an absolute time.
    pub absolute: bool,
}

/// Position of a record in the pack, and the record or why it is refused.
pub type Judged = (usize, Result<Record, String>);

/// Resolves the records of a pack received at `received_ms`. Each comes with its position in the pack; records
/// that only set base fields vanish.
///
/// # Errors
/// [`PackError`] when the rest of the pack has no meaning: another version.
pub fn resolve(records: Vec<Raw>, received_ms: i64) -> Result<Vec<Judged>, PackError> {
    let mut base = Raw::default();
    let mut version = None;
    let mut resolved = Vec::with_capacity(records.len());
    for (index, mut raw) in records.into_iter().enumerate() {
        if let Some(found) = raw.version {
            if found > VERSION
                || version.is_some_and(|before| before != found)
                || (version.is_none() && index > 0 && found != VERSION)
            {
                return Err(PackError::Version { record: index, found });
            }
            version = Some(found);
        }
        let base_only = raw.is_base_only();
        base.base_name = raw.base_name.take().or(base.base_name);
        base.base_time = raw.base_time.or(base.base_time);
        base.base_unit = raw.base_unit.take().or(base.base_unit);
        base.base_value = raw.base_value.or(base.base_value);
        if !base_only {
            resolved.push((index, one(&base, raw, received_ms)));
        }
    }
    Ok(resolved)
}

fn one(base: &Raw, raw: Raw, received_ms: i64) -> Result<Record, String> {
    let name = full_name(base.base_name.as_deref().unwrap_or(""), raw.name.as_deref().unwrap_or(""))?;
    let refuse = |what: String| format!("{name:?}: {what}");
    if let Some(problem) = raw.problem {
        return Err(refuse(problem));
    }
    if usize::from(raw.value.is_some()) + raw.others.len() > 1 {
        return Err(refuse("more than one value field: exactly one of v, vs, vb and vd expected".into()));
    }
    if let Some(other) = raw.others.first() {
        let found = match other {
            Other::Text => "a text (vs)",
            Other::Flag => "a boolean (vb)",
            Other::Data => "binary data (vd)",
        };
        return Err(refuse(format!(
            "a number (v) expected, found {found}: only numbers are mapped to quantities"
        )));
    }
    let Some(value) = raw.value else {
        let found = if raw.sum.is_some() {
            "only a sum (s), which no mapping understands"
        } else {
            "no value at all"
        };
        return Err(refuse(format!("a number (v) expected, found {found}")));
    };
    let value = value + base.base_value.unwrap_or(0.0);
    if !value.is_finite() {
        return Err(refuse(format!("the value {value} is not a finite number")));
    }
    let (at_ms, absolute) =
        moment(base.base_time.unwrap_or(0.0) + raw.time.unwrap_or(0.0), received_ms).map_err(&refuse)?;
    let unit = raw.unit.or_else(|| base.base_unit.clone());
    Ok(Record { name, unit, value, at_ms, absolute })
}

/// Joins base name and name and checks the alphabet of §4.5.1.
fn full_name(base: &str, name: &str) -> Result<String, String> {
    let full = format!("{base}{name}");
    let shown: Cow<'_, str> =
        if full.len() > 64 { full.chars().take(64).collect::<String>().into() } else { (&full).into() };
    if full.is_empty() {
        return Err("no name: bn and n together must name the sensor".into());
    }
    if full.len() > MAX_NAME {
        return Err(format!("the name {shown:?}… has {} bytes, at most {MAX_NAME} are accepted", full.len()));
    }
    let starts_well = full.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '.' | '/' | '_');
    match full.chars().find(|c| !allowed(*c)) {
        Some(strange) => Err(format!(
            "the name {shown:?} has the character {strange:?}: only A-Z a-z 0-9 - : . / _ are allowed (RFC 8428 §4.5.1)"
        )),
        None if !starts_well => {
            Err(format!("the name {shown:?} must start with a letter or digit (RFC 8428 §4.5.1)"))
        }
        None => Ok(full),
    }
}

/// Seconds to milliseconds since 1970; relative below 2^28 (§4.5.3).
fn moment(seconds: f64, received_ms: i64) -> Result<(i64, bool), String> {
    // 1e11 s lies in the year 5138: milliseconds of it fit an i64 many times.
    if !seconds.is_finite() || seconds.abs() > 1e11 {
        return Err(format!(
            "the time {seconds} s is not a time: seconds since 1970 or relative to now expected"
        ));
    }
    let ms = (seconds * 1000.0).round() as i64;
    let absolute = seconds >= RELATIVE_LIMIT_S;
    let at_ms = if absolute { ms } else { received_ms.saturating_add(ms) };
    if at_ms > received_ms.saturating_add(MAX_AHEAD_MS) {
        let ahead = (at_ms - received_ms) / 1000;
        return Err(format!(
            "the time {seconds} s lies {ahead} s in the future, at most {} s are accepted: check the sender's clock (seconds, not milliseconds)",
            MAX_AHEAD_MS / 1000
        ));
    }
    if at_ms < 0 {
        return Err(format!("the time {seconds} s lies before 1970"));
    }
    Ok((at_ms, absolute))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_760_000_000_000;

    fn named(name: &str, value: f64) -> Raw {
        Raw { name: Some(name.into()), value: Some(value), ..Raw::default() }
    }

    fn only(raw: Raw) -> Result<Record, String> {
        resolve(vec![raw], NOW).unwrap().remove(0).1
    }

    #[test]
    fn base_fields_reach_the_records_after_them() {
        let first = Raw {
            base_name: Some("urn:dev:ow:10e2073a01080063:".into()),
            base_time: Some(1.32e9),
            base_unit: Some("A".into()),
            base_value: Some(10.0),
            version: Some(5),
            ..named("voltage", 1.0)
        };
        let second = Raw { unit: Some("V".into()), time: Some(-5.0), ..named("current", 2.5) };
        let both = resolve(vec![first, second], NOW).unwrap();
        let records: Vec<&Record> = both.iter().map(|(_, record)| record.as_ref().unwrap()).collect();
        assert_eq!(records[0].name, "urn:dev:ow:10e2073a01080063:voltage");
        assert_eq!((records[0].value, records[0].unit.as_deref()), (11.0, Some("A")));
        assert_eq!((records[0].at_ms, records[0].absolute), (1_320_000_000_000, true));
        assert_eq!((records[1].value, records[1].unit.as_deref()), (12.5, Some("V")));
        assert_eq!(records[1].at_ms, 1_319_999_995_000);
    }

    #[test]
    fn a_record_of_base_fields_only_is_no_reading() {
        let base = Raw { base_name: Some("a".into()), ..Raw::default() };
        let all = resolve(vec![base, named("b", 1.0)], NOW).unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].0, all[0].1.as_ref().unwrap().name.as_str()), (1, "ab"));
    }

    #[test]
    fn small_times_are_relative_to_receipt() {
        for (time, expected, absolute) in [
            (None, NOW, false),
            (Some(-60.0), NOW - 60_000, false),
            (Some(1.5), NOW + 1500, false),
            (Some(268_435_456.0), 268_435_456_000, true),
        ] {
            let record = only(Raw { time, ..named("a", 1.0) }).unwrap();
            assert_eq!((record.at_ms, record.absolute), (expected, absolute), "{time:?}");
        }
    }

    #[test]
    fn impossible_times_are_refused() {
        for time in [f64::NAN, f64::INFINITY, 1e300, -1e12, 1.76e9 + 7200.0, 1.76e12, -1.8e9] {
            assert!(only(Raw { time: Some(time), ..named("a", 1.0) }).is_err(), "{time}");
        }
        let message = only(Raw { time: Some(1_760_007_200.0), ..named("a", 1.0) }).unwrap_err();
        assert!(message.contains("7200 s in the future"), "{message}");
    }

    #[test]
    fn names_obey_their_alphabet() {
        for good in ["a", "urn:dev:mac:0024befffe804ff1", "A/b.c_d-e", "0"] {
            assert!(only(named(good, 1.0)).is_ok(), "{good}");
        }
        for bad in ["", "-a", ":a", "a b", "温度", "a#", &"a".repeat(256)] {
            assert!(only(named(bad, 1.0)).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_one_number_is_a_value() {
        let text = Raw { value: None, others: vec![Other::Text], ..named("a", 0.0) };
        assert_eq!(
            only(text).unwrap_err(),
            "\"a\": a number (v) expected, found a text (vs): only numbers are mapped to quantities"
        );
        let two = Raw { others: vec![Other::Flag], ..named("a", 0.0) };
        assert!(only(two).unwrap_err().contains("more than one value field"));
        let none = Raw { value: None, ..named("a", 0.0) };
        assert!(only(none).unwrap_err().contains("no value at all"));
        let sum = Raw { value: None, sum: Some(1.0), ..named("a", 0.0) };
        assert!(only(sum).unwrap_err().contains("only a sum"));
        let huge = Raw { base_value: Some(f64::MAX), ..named("a", f64::MAX) };
        assert!(only(huge).unwrap_err().contains("not a finite number"));
    }

    #[test]
    fn versions_are_understood_or_refused() {
        let with = |version| Raw { version: Some(version), ..named("a", 1.0) };
        assert!(resolve(vec![with(10), named("b", 1.0)], NOW).is_ok());
        assert_eq!(resolve(vec![with(11)], NOW), Err(PackError::Version { record: 0, found: 11 }));
        assert_eq!(resolve(vec![with(10), with(9)], NOW), Err(PackError::Version { record: 1, found: 9 }));
        assert_eq!(
            resolve(vec![named("b", 1.0), with(9)], NOW),
            Err(PackError::Version { record: 1, found: 9 })
        );
    }
}
