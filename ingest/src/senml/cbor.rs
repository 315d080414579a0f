//! SenML in CBOR (RFC 8428 §6): the same records with numbers for field names.

use minicbor::data::{Tag, Type};
use minicbor::decode::{Decoder, Error};

use super::MAX_RECORDS;
use super::record::{Other, PackError, Raw};

/// Most fields of one record: RFC 8428 knows fourteen, extensions add few.
const MAX_FIELDS: u64 = 64;
/// Tag of decimal fractions, RFC 8949 §3.4.4.
const DECIMAL_FRACTION: Tag = Tag::new(4);

/// Reads the records of a CBOR pack.
///
/// # Errors
/// [`PackError`] when the pack as a whole cannot be understood. A field of the wrong type that concerns one
/// record only becomes that record's problem.
pub fn parse(body: &[u8]) -> Result<Vec<Raw>, PackError> {
    if body.is_empty() {
        return Err(PackError::NotAPack { found: "no bytes".into() });
    }
    let mut decoder = Decoder::new(body);
    let kind = decoder.datatype().map_err(syntax)?;
    if !matches!(kind, Type::Array | Type::ArrayIndef) {
        return Err(PackError::NotAPack { found: kind.to_string() });
    }
    let length = decoder.array().map_err(syntax)?;
    if length == Some(0) {
        return Err(PackError::Empty);
    }
    let mut records = Vec::new();
    while !ended(&mut decoder, length, records.len() as u64)? {
        if records.len() == MAX_RECORDS {
            return Err(PackError::TooMany { most: MAX_RECORDS });
        }
        let record = record(&mut decoder, records.len())?;
        records.push(record);
    }
    if records.is_empty() {
        return Err(PackError::Empty);
    }
    match body.len() - decoder.position() {
        0 => Ok(records),
        left => {
            Err(PackError::Syntax { format: "CBOR", detail: format!("{left} bytes are left after the pack") })
        }
    }
}

fn record(decoder: &mut Decoder<'_>, index: usize) -> Result<Raw, PackError> {
    let mut raw = Raw::default();
    let kind = decoder.datatype().map_err(syntax)?;
    if !matches!(kind, Type::Map | Type::MapIndef) {
        raw.problem = Some(format!("a record is a map, found {kind}"));
        decoder.skip().map_err(syntax)?;
        return Ok(raw);
    }
    let length = decoder.map().map_err(syntax)?;
    let mut fields = 0;
    while !ended(decoder, length, fields)? {
        fields += 1;
        if fields > MAX_FIELDS {
            return Err(PackError::Syntax {
                format: "CBOR",
                detail: format!("record {index} has more than {MAX_FIELDS} fields"),
            });
        }
        field(decoder, index, &mut raw)?;
    }
    Ok(raw)
}

fn field(decoder: &mut Decoder<'_>, index: usize, raw: &mut Raw) -> Result<(), PackError> {
    let label = match decoder.datatype().map_err(syntax)? {
        Type::String => {
            let name = decoder.str().map_err(syntax)?;
            if name.ends_with('_') {
                let field = name.chars().take(40).collect();
                return Err(PackError::MustUnderstand { record: index, field });
            }
            // RFC 8428 §6 gives its own fields numbers only: a text is an extension.
            None
        }
        kind if is_integer(kind) => Some(i64::try_from(decoder.int().map_err(syntax)?).unwrap_or(i64::MAX)),
        kind => {
            return Err(PackError::Syntax {
                format: "CBOR",
                detail: format!("record {index}: a field name is a number or a text, found {kind}"),
            });
        }
    };
    match label {
        Some(-2) => raw.base_name = Some(base(decoder, index, "bn", "a text", text)?),
        Some(-3) => raw.base_time = Some(base(decoder, index, "bt", "a number", number)?),
        Some(-4) => raw.base_unit = Some(base(decoder, index, "bu", "a text", text)?),
        Some(-5) => raw.base_value = Some(base(decoder, index, "bv", "a number", number)?),
        Some(-6) => raw.base_sum = Some(base(decoder, index, "bs", "a number", number)?),
        Some(-1) => raw.version = Some(base(decoder, index, "bver", "a whole number above 0", version)?),
        Some(0) => raw.name = own(decoder, &mut raw.problem, "n", "a text", text)?,
        Some(1) => raw.unit = own(decoder, &mut raw.problem, "u", "a text", text)?,
        Some(2) => raw.value = own(decoder, &mut raw.problem, "v", "a number", number)?,
        Some(5) => raw.sum = own(decoder, &mut raw.problem, "s", "a number", number)?,
        Some(6) => raw.time = own(decoder, &mut raw.problem, "t", "a number", number)?,
        Some(7) => {
            own(decoder, &mut raw.problem, "ut", "a number", number)?;
        }
        other => {
            match other {
                Some(3) => raw.others.push(Other::Text),
                Some(4) => raw.others.push(Other::Flag),
                Some(8) => raw.others.push(Other::Data),
                _ => {}
            }
            decoder.skip().map_err(syntax)?;
        }
    }
    Ok(())
}

/// Whether an array or map of `length` items, of which `done` were read, ends here.
fn ended(decoder: &mut Decoder<'_>, length: Option<u64>, done: u64) -> Result<bool, PackError> {
    match length {
        Some(length) => Ok(done >= length),
        None => match decoder.datatype().map_err(syntax)? {
            Type::Break => {
                decoder.skip().map_err(syntax)?;
                Ok(true)
            }
            _ => Ok(false),
        },
    }
}

fn is_integer(kind: Type) -> bool {
    matches!(
        kind,
        Type::U8
            | Type::U16
            | Type::U32
            | Type::U64
            | Type::I8
            | Type::I16
            | Type::I32
            | Type::I64
            | Type::Int
    )
}

/// A number in any form §6 allows; `Ok(None)` leaves the decoder where it was.
fn number(decoder: &mut Decoder<'_>) -> Result<Option<f64>, Error> {
    Ok(match decoder.datatype()? {
        kind if is_integer(kind) => Some(i128::from(decoder.int()?) as f64),
        Type::F16 => Some(f64::from(decoder.f16()?)),
        Type::F32 => Some(f64::from(decoder.f32()?)),
        Type::F64 => Some(decoder.f64()?),
        Type::Tag if decoder.probe().tag()? == DECIMAL_FRACTION => {
            decoder.tag()?;
            if decoder.array()? != Some(2) {
                return Err(Error::message("a decimal fraction is an array of exponent and mantissa"));
            }
            let exponent = i128::from(decoder.int()?).clamp(-400, 400) as i32;
            let mantissa = i128::from(decoder.int()?);
            // Through text, so that 2150 and -2 give the same double as 21.50 in JSON.
            format!("{mantissa}e{exponent}").parse().ok()
        }
        _ => None,
    })
}

fn text(decoder: &mut Decoder<'_>) -> Result<Option<String>, Error> {
    match decoder.datatype()? {
        Type::String => decoder.str().map(|text| Some(text.to_owned())),
        _ => Ok(None),
    }
}

fn version(decoder: &mut Decoder<'_>) -> Result<Option<u64>, Error> {
    match decoder.datatype()? {
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => {
            decoder.u64().map(|version| Some(version).filter(|v| *v > 0))
        }
        _ => Ok(None),
    }
}

fn base<T>(
    decoder: &mut Decoder<'_>,
    record: usize,
    field: &'static str,
    expected: &'static str,
    read: impl Fn(&mut Decoder<'_>) -> Result<Option<T>, Error>,
) -> Result<T, PackError> {
    let found = decoder.datatype().map_err(syntax)?;
    read(decoder).map_err(syntax)?.ok_or_else(|| PackError::Base {
        record,
        field,
        expected,
        found: found.to_string(),
    })
}

fn own<T>(
    decoder: &mut Decoder<'_>,
    problem: &mut Option<String>,
    field: &str,
    expected: &str,
    read: impl Fn(&mut Decoder<'_>) -> Result<Option<T>, Error>,
) -> Result<Option<T>, PackError> {
    let found = decoder.datatype().map_err(syntax)?;
    let value = read(decoder).map_err(syntax)?;
    if value.is_none() {
        decoder.skip().map_err(syntax)?;
        problem.get_or_insert_with(|| format!("field {field:?} must be {expected}, found {found}"));
    }
    Ok(value)
}

fn syntax(error: Error) -> PackError {
    let detail = if error.is_end_of_input() {
        "the pack ends in the middle of a record".into()
    } else {
        error.to_string()
    };
    PackError::Syntax { format: "CBOR", detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc_is_read() {
        // RFC 8428 §6, the first record of its example: bver 5, bn, bt 1.276020076e9, bu "A", n "voltage", u "V", v 120.1.
        let mut bytes = vec![0x81, 0xa7, 0x20, 0x05, 0x21, 0x78, 0x1b];
        bytes.extend(b"urn:dev:ow:10e2073a0108006:");
        bytes.extend([
            0x22, 0xfb, 0x41, 0xd3, 0x03, 0xa1, 0x5b, 0x00, 0x10, 0x62, 0x23, 0x61, 0x41, 0x00, 0x67,
        ]);
        bytes.extend(b"voltage");
        bytes.extend([0x01, 0x61, 0x56, 0x02, 0xfb, 0x40, 0x5e, 0x06, 0x66, 0x66, 0x66, 0x66, 0x66]);
        let record = parse(&bytes).unwrap().remove(0);
        assert_eq!(record.version, Some(5));
        assert_eq!(record.base_name.as_deref(), Some("urn:dev:ow:10e2073a0108006:"));
        assert_eq!(record.base_time, Some(1_276_020_076.001));
        assert_eq!((record.base_unit.as_deref(), record.unit.as_deref()), (Some("A"), Some("V")));
        assert_eq!((record.name.as_deref(), record.value), (Some("voltage"), Some(120.1)));
    }

    #[test]
    fn numbers_come_in_many_forms() {
        for (bytes, expected) in [
            (vec![0x02, 0x18, 0x2a], 42.0),
            (vec![0x02, 0x38, 0x29], -42.0),
            (vec![0x02, 0xf9, 0x3e, 0x00], 1.5),
            (vec![0x02, 0xfa, 0x3f, 0xc0, 0, 0], 1.5),
            (vec![0x02, 0xc4, 0x82, 0x21, 0x19, 0x08, 0x66], 21.50),
        ] {
            let mut pack = vec![0x9f, 0xbf, 0x00, 0x61, b'a'];
            pack.extend(bytes);
            pack.extend([0xff, 0xff]);
            assert_eq!(parse(&pack).unwrap()[0].value, Some(expected));
        }
    }

    #[test]
    fn a_wrong_field_hurts_its_own_record_only() {
        // [{0: "a", 2: "x"}, {0: "b", 2: 1}]
        let records = parse(&[0x82, 0xa2, 0, 0x61, b'a', 2, 0x61, b'x', 0xa2, 0, 0x61, b'b', 2, 1]).unwrap();
        assert!(
            records[0].problem.as_deref().unwrap().starts_with("field \"v\" must be a number"),
            "{records:?}"
        );
        assert_eq!((records[1].problem.as_ref(), records[1].value), (None, Some(1.0)));
    }

    #[test]
    fn what_is_no_pack_is_named() {
        assert!(matches!(parse(&[]), Err(PackError::NotAPack { .. })));
        assert!(matches!(parse(&[0xa0]), Err(PackError::NotAPack { .. })));
        assert_eq!(parse(&[0x80]), Err(PackError::Empty));
        assert_eq!(parse(&[0x9f, 0xff]), Err(PackError::Empty));
        let cut = parse(&[0x82, 0xa1]).unwrap_err();
        assert_eq!(cut.to_string(), "not valid CBOR: the pack ends in the middle of a record");
        assert!(
            matches!(parse(&[0x81, 0xa1, 0x02, 0x01, 0x00]), Err(PackError::Syntax { .. })),
            "bytes after the pack"
        );
        // An announced length of 2^63 costs nothing.
        assert!(matches!(parse(&[0x9b, 0x80, 0, 0, 0, 0, 0, 0, 0]), Err(PackError::Syntax { .. })));
        // Deep nesting inside an unknown field is skipped without recursion.
        let mut deep = vec![0x81, 0xa1, 0x18, 0x63];
        deep.extend(vec![0x81; 60_000]);
        deep.push(0);
        assert!(parse(&deep).is_ok());
    }

    #[test]
    fn fields_that_must_be_understood_are_not_skipped() {
        let error = parse(&[0x81, 0xa1, 0x62, b'x', b'_', 1]).unwrap_err();
        assert_eq!(error, PackError::MustUnderstand { record: 0, field: "x_".into() });
    }
}
