//! SenML in JSON (RFC 8428 §5).

use serde_json::Value;

use super::MAX_RECORDS;
use super::record::{Other, PackError, Raw};

/// Reads the records of a JSON pack.
///
/// # Errors
/// [`PackError`] when the pack as a whole cannot be understood. A field of the wrong type that concerns one
/// record only becomes that record's problem.
pub fn parse(body: &[u8]) -> Result<Vec<Raw>, PackError> {
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| PackError::Syntax { format: "JSON", detail: error.to_string() })?;
    let Value::Array(items) = value else {
        return Err(PackError::NotAPack { found: describe(&value) });
    };
    if items.is_empty() {
        return Err(PackError::Empty);
    }
    if items.len() > MAX_RECORDS {
        return Err(PackError::TooMany { most: MAX_RECORDS });
    }
    items.iter().enumerate().map(|(index, item)| record(index, item)).collect()
}

fn record(index: usize, item: &Value) -> Result<Raw, PackError> {
    let mut raw = Raw::default();
    let Value::Object(fields) = item else {
        raw.problem = Some(format!("a record is an object, found {}", describe(item)));
        return Ok(raw);
    };
    for (key, value) in fields {
        match key.as_str() {
            "bn" => raw.base_name = Some(base(index, "bn", "a text", value, text)?),
            "bt" => raw.base_time = Some(base(index, "bt", "a number", value, Value::as_f64)?),
            "bu" => raw.base_unit = Some(base(index, "bu", "a text", value, text)?),
            "bv" => raw.base_value = Some(base(index, "bv", "a number", value, Value::as_f64)?),
            "bs" => raw.base_sum = Some(base(index, "bs", "a number", value, Value::as_f64)?),
            "bver" => raw.version = Some(base(index, "bver", "a whole number above 0", value, version)?),
            "n" => raw.name = own(&mut raw.problem, "n", "a text", value, text),
            "u" => raw.unit = own(&mut raw.problem, "u", "a text", value, text),
            "v" => raw.value = own(&mut raw.problem, "v", "a number", value, Value::as_f64),
            "s" => raw.sum = own(&mut raw.problem, "s", "a number", value, Value::as_f64),
            "t" => raw.time = own(&mut raw.problem, "t", "a number", value, Value::as_f64),
            // The update time says when to expect the next one: nothing here depends on it.
            "ut" => {
                own(&mut raw.problem, "ut", "a number", value, Value::as_f64);
            }
            "vs" => raw.others.push(Other::Text),
            "vb" => raw.others.push(Other::Flag),
            "vd" => raw.others.push(Other::Data),
            other if other.ends_with('_') => {
                return Err(PackError::MustUnderstand { record: index, field: cut(other) });
            }
            _ => {}
        }
    }
    Ok(raw)
}

fn base<T>(
    record: usize,
    field: &'static str,
    expected: &'static str,
    value: &Value,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<T, PackError> {
    read(value).ok_or_else(|| PackError::Base { record, field, expected, found: describe(value) })
}

fn own<T>(
    problem: &mut Option<String>,
    field: &str,
    expected: &str,
    value: &Value,
    read: impl Fn(&Value) -> Option<T>,
) -> Option<T> {
    let found = read(value);
    if found.is_none() && problem.is_none() {
        *problem = Some(format!("field {field:?} must be {expected}, found {}", describe(value)));
    }
    found
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn version(value: &Value) -> Option<u64> {
    value.as_u64().filter(|version| *version > 0)
}

fn cut(text: &str) -> String {
    text.chars().take(40).collect()
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(flag) => format!("the boolean {flag}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the text {:?}", cut(text)),
        Value::Array(items) => format!("an array of {}", items.len()),
        Value::Object(fields) => format!("an object of {} fields", fields.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_multiple_measurements_of_the_rfc_are_read() {
        // RFC 8428 §5.1.3, shortened.
        let pack = br#"[{"bn":"urn:dev:ow:10e2073a0108006:","bt":1.276020076001e+09,"bu":"A","bver":5,"n":"voltage","u":"V","v":120.1},
            {"n":"current","t":-5,"v":1.2}]"#;
        let records = parse(pack).unwrap();
        assert_eq!(records.len(), 2);
        assert_eq!(records[0].base_time, Some(1_276_020_076.001));
        assert_eq!(records[0].version, Some(5));
        assert_eq!(
            records[1],
            Raw { name: Some("current".into()), time: Some(-5.0), value: Some(1.2), ..Raw::default() }
        );
    }

    #[test]
    fn a_wrong_field_hurts_its_own_record_only() {
        let records = parse(br#"[{"n":"a","v":"12"},{"n":"b","v":1},7]"#).unwrap();
        assert_eq!(
            records[0].problem.as_deref(),
            Some("field \"v\" must be a number, found the text \"12\"")
        );
        assert_eq!(records[1].problem, None);
        assert_eq!(records[2].problem.as_deref(), Some("a record is an object, found the number 7"));
    }

    #[test]
    fn a_wrong_base_field_hurts_the_pack() {
        let error = parse(br#"[{"n":"a","v":1,"bt":"now"}]"#).unwrap_err();
        assert_eq!(
            error.to_string(),
            "record 0: base field \"bt\" must be a number, found the text \"now\": the records after it cannot be resolved"
        );
    }

    #[test]
    fn what_is_no_pack_is_named() {
        assert_eq!(parse(b"{}"), Err(PackError::NotAPack { found: "an object of 0 fields".into() }));
        assert_eq!(parse(b"[]"), Err(PackError::Empty));
        assert!(matches!(parse(b"[{]"), Err(PackError::Syntax { .. })));
        assert!(matches!(parse(&[b'['; 60_000]), Err(PackError::Syntax { .. })), "depth is bounded");
        let many = format!("[{}]", vec!["{}"; MAX_RECORDS + 1].join(","));
        assert_eq!(parse(many.as_bytes()), Err(PackError::TooMany { most: MAX_RECORDS }));
    }

    #[test]
    fn fields_that_must_be_understood_are_not_skipped() {
        assert!(parse(br#"[{"n":"a","v":1,"label":"x"}]"#).is_ok());
        let error = parse(br#"[{"n":"a","v":1,"scale_":10}]"#).unwrap_err();
        assert_eq!(error, PackError::MustUnderstand { record: 0, field: "scale_".into() });
    }
}
