//! The form of CBOR that is read here: a walk over it before anything is decoded, and one way to write each thing.

use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use crate::grant::MAX_TEXT;

/// Deepest nesting: lists in a map in an envelope.
const MAX_DEPTH: usize = 4;

/// Whether bytes are one item of definite lengths, not nested deeper than anything here is, and nothing behind it. What
/// passes is decoded in memory in proportion to its size.
pub(crate) fn is_plain(bytes: &[u8]) -> bool {
    // Items left to read at each depth.
    let (mut left, mut depth) = ([0_u64; MAX_DEPTH + 1], 0);
    left[0] = 1;
    let mut rest = bytes;
    loop {
        while left[depth] == 0 {
            if depth == 0 {
                return rest.is_empty();
            }
            depth -= 1;
        }
        left[depth] -= 1;
        let Some((kind, number, behind)) = head(rest) else { return false };
        rest = behind;
        let inside = match kind {
            // Texts and bytes.
            2 | 3 => {
                let length = usize::try_from(number).unwrap_or(usize::MAX);
                let Some((_, behind)) = rest.split_at_checked(length) else { return false };
                rest = behind;
                0
            }
            4 => number,
            5 => number.saturating_mul(2),
            // A tag stands before one item.
            6 => 1,
            _ => 0,
        };
        if inside > 0 {
            if depth == MAX_DEPTH || inside > rest.len() as u64 {
                return false;
            }
            depth += 1;
            left[depth] = inside;
        }
    }
}

/// The bytes of something.
pub(crate) fn bytes_of<T: Encode<()>>(thing: &T) -> Vec<u8> {
    // Writing into memory has no way to fail.
    minicbor::to_vec(thing).unwrap_or_default()
}

/// Reads something that is plain and in its one form.
pub(crate) fn one_form<'b, T: Decode<'b, ()> + Encode<()>>(bytes: &'b [u8]) -> Option<T> {
    let thing: T = minicbor::decode(Some(bytes).filter(|bytes| is_plain(bytes))?).ok()?;
    (bytes_of(&thing) == bytes).then_some(thing)
}

/// Whether this is a name or a text that may stand in what is signed.
pub(crate) fn is_text(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_TEXT && !text.chars().any(char::is_control)
}

/// A flag that is written only when it is raised, at the end of a list: absent means no, and has no second spelling.
pub(crate) mod flag {
    use minicbor::decode::{Decoder, Error};
    use minicbor::encode::{Encoder, Write};

    pub(crate) fn encode<C, W: Write>(
        flag: &bool,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bool(*flag)?.ok()
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<bool, Error> {
        d.bool()
    }

    pub(crate) fn is_nil(flag: &bool) -> bool {
        !flag
    }

    pub(crate) fn nil() -> Option<bool> {
        Some(false)
    }
}

/// The kind of an item, its number, and what follows; `None` for one of indefinite length.
fn head(bytes: &[u8]) -> Option<(u8, u64, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let (kind, short) = (first >> 5, first & 31);
    let length = match short {
        0..=23 => return Some((kind, u64::from(short), rest)),
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        _ => return None,
    };
    let (number, rest) = rest.split_at_checked(length)?;
    Some((kind, number.iter().fold(0, |all, &byte| all << 8 | u64::from(byte)), rest))
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn only_plain_items_are_read() {
        for (bytes, expected, why) in [
            (vec![0x00], true, "a number"),
            (vec![0x82, 0x01, 0x41, 0x07], true, "a list"),
            (vec![0xd8, 0x62, 0x80], true, "a tag"),
            (vec![0xa1, 0x01, 0x82, 0x81, 0x01, 0x02], true, "lists in a map"),
            (vec![], false, "nothing"),
            (vec![0x00, 0x00], false, "two items"),
            (vec![0x82, 0x01], false, "one too few"),
            (vec![0x42, 0x01], false, "cut short"),
            (vec![0x9f, 0xff], false, "of indefinite length"),
            (vec![0x5f, 0xff], false, "bytes of indefinite length"),
            (vec![0x9b, 255, 255, 255, 255, 255, 255, 255, 255], false, "more items than bytes"),
            (vec![0x5b, 255, 255, 255, 255, 255, 255, 255, 255], false, "more bytes than there are"),
            (vec![0x81, 0x81, 0x81, 0x81, 0x00], true, "four deep"),
            (vec![0x81, 0x81, 0x81, 0x81, 0x81, 0x00], false, "five deep"),
            (vec![0xc1, 0xc1, 0xc1, 0xc1, 0xc1, 0x00], false, "tags too"),
        ] {
            assert_eq!(is_plain(&bytes), expected, "{why}");
        }
    }
}
