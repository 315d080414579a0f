//! What is said over a line, each behind a byte that says what it is. The numbers never change.

use alloc::vec::Vec;

use wire::PicturePart;
use wire::sealed::{MAX_ENVELOPE_BYTES, MAX_PART_BYTES, MAX_PICTURE_BYTES};

/// Most bytes of what a seal sends: a part of a photograph.
pub const MAX_UP: usize = 1 + PICTURE_HEAD + MAX_PART_BYTES;
/// Most bytes of what a gateway sends: a grant with its proof.
pub const MAX_DOWN: usize = 1 + MAX_ENVELOPE_BYTES;

const ENVELOPE: u8 = 1;
const PICTURE: u8 = 2;
const SAID: u8 = 3;
const ONLINE: u8 = 4;
/// Bytes before a part of a photograph: digest, length of the whole, where the part begins.
const PICTURE_HEAD: usize = 32 + 4 + 4;

/// What a seal sends. It is acknowledged once the gateway has it on stable storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Up {
    /// A receipt or a hello, signed.
    Envelope(Vec<u8>),
    /// A part of a photograph.
    Picture(PicturePart),
}

/// What a gateway sends. Nothing of it is believed because it comes from there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Down {
    /// What the authority has sent: an answer, a grant, rules; or nothing: ask.
    Said(Vec<u8>),
    /// Whether a question would reach the authority at once.
    Online(bool),
}

impl Up {
    /// The bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Up::Envelope(envelope) => [&[ENVELOPE], &envelope[..]].concat(),
            Up::Picture(PicturePart { digest, total, offset, bytes }) => {
                [&[PICTURE], &digest[..], &total.to_le_bytes(), &offset.to_le_bytes(), bytes].concat()
            }
        }
    }

    /// Reads what was sent; `None` when it is nothing that a seal may send.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (&ENVELOPE, rest) => {
                (1..=MAX_ENVELOPE_BYTES).contains(&rest.len()).then(|| Up::Envelope(rest.into()))
            }
            (&PICTURE, rest) => {
                let (digest, rest) = rest.split_first_chunk::<32>()?;
                let (total, rest) = rest.split_first_chunk::<4>()?;
                let (offset, rest) = rest.split_first_chunk::<4>()?;
                let (total, offset) = (u32::from_le_bytes(*total), u32::from_le_bytes(*offset));
                let end = (offset as usize).checked_add(rest.len())?;
                let is_sound = (1..=MAX_PART_BYTES).contains(&rest.len())
                    && end <= total as usize
                    && total as usize <= MAX_PICTURE_BYTES;
                is_sound
                    .then(|| Up::Picture(PicturePart { digest: *digest, total, offset, bytes: rest.into() }))
            }
            _ => None,
        }
    }
}

impl Down {
    /// The bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Down::Said(said) => [&[SAID], &said[..]].concat(),
            Down::Online(is_online) => alloc::vec![ONLINE, u8::from(*is_online)],
        }
    }

    /// Reads what was sent; `None` when it is nothing that a gateway may send.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (&SAID, said) => (said.len() <= MAX_ENVELOPE_BYTES).then(|| Down::Said(said.into())),
            (&ONLINE, [0]) => Some(Down::Online(false)),
            (&ONLINE, [1]) => Some(Down::Online(true)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn messages_come_back_and_others_are_none() {
        let part = |total, offset, bytes| PicturePart { digest: [7; 32], total, offset, bytes };
        for up in [
            Up::Envelope(vec![1]),
            Up::Envelope(vec![9; MAX_ENVELOPE_BYTES]),
            Up::Picture(part(MAX_PICTURE_BYTES as u32, 0, vec![5; MAX_PART_BYTES])),
            Up::Picture(part(9, 8, vec![5])),
        ] {
            assert!(up.to_bytes().len() <= MAX_UP);
            assert_eq!(Up::read(&up.to_bytes()), Some(up));
        }
        for down in [Down::Said(vec![]), Down::Said(vec![7; MAX_ENVELOPE_BYTES]), Down::Online(true)] {
            assert!(down.to_bytes().len() <= MAX_DOWN);
            assert_eq!(Down::read(&down.to_bytes()), Some(down.clone()));
            assert_eq!(Up::read(&down.to_bytes()), None, "each way has its own");
        }
        for up in [
            Up::Envelope(vec![]),
            Up::Envelope(vec![9; MAX_ENVELOPE_BYTES + 1]),
            Up::Picture(part(9, 9, vec![5])),
            Up::Picture(part(9, u32::MAX, vec![5])),
            Up::Picture(part(9, 0, vec![])),
            Up::Picture(part(MAX_PICTURE_BYTES as u32 + 1, 0, vec![5])),
        ] {
            assert_eq!(Up::read(&up.to_bytes()), None, "{up:?}");
        }
        assert_eq!((Up::read(&[]), Up::read(&[PICTURE; 40])), (None, None));
        assert_eq!((Down::read(&[]), Down::read(&[ONLINE, 2]), Down::read(&[ONLINE])), (None, None, None));
    }
}
