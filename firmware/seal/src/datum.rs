//! The datum of a place, as `wire` names it, in CBOR: by a number that never changes.

use minicbor::decode::{Decoder, Error};
use minicbor::encode::{Encoder, Write};
use wire::Datum;

/// Each at its number.
const ALL: [Datum; 4] = [Datum::Wgs84, Datum::Cgcs2000, Datum::Gcj02, Datum::Bd09];

/// Whether places on one and on the other can be compared as they are.
pub(crate) fn are_near(one: Datum, other: Datum) -> bool {
    // Within centimetres of each other; the others are hundreds of metres off.
    let is_earth = |datum| matches!(datum, Datum::Wgs84 | Datum::Cgcs2000);
    one == other || is_earth(one) && is_earth(other)
}

pub(crate) fn encode<C, W: Write>(
    datum: &Datum,
    e: &mut Encoder<W>,
    _: &mut C,
) -> Result<(), minicbor::encode::Error<W::Error>> {
    let number = ALL.iter().position(|one| one == datum).unwrap_or_default();
    e.u8(number as u8)?.ok()
}

pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Datum, Error> {
    let number = d.u8()?;
    ALL.get(usize::from(number)).copied().ok_or_else(|| Error::message("no such datum"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_near_is_compared() {
        for (at, one) in ALL.into_iter().enumerate() {
            for (other_at, other) in ALL.into_iter().enumerate() {
                assert_eq!(
                    are_near(one, other),
                    at == other_at || at < 2 && other_at < 2,
                    "{one:?} {other:?}"
                );
            }
        }
    }
}
