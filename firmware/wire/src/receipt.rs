//! Ingest's word to a gateway, needed when a broker that is not ours stands between them.

use alloc::vec::Vec;

use bincode::{Decode, Encode};

use crate::frame::{DecodeError, bounded};
use crate::lane::Lane;

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Verdict {
    /// On stable storage: you may forget it.
    Durable,
    /// Refused for good: set it aside, sending it again is useless.
    Refused,
}

/// Settles frames of one store and lane.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Receipt {
    /// The store the sequences belong to.
    pub store: u64,
    /// The lane.
    pub lane: Lane,
    /// The sequences, at most [`MAX_SEQUENCES`].
    pub sequences: Vec<u64>,
    /// What became of them.
    pub verdict: Verdict,
}

/// Most sequences in one receipt.
pub const MAX_SEQUENCES: usize = 512;
/// First byte of a receipt: its version.
const VERSION: u8 = 1;

impl Receipt {
    /// The bytes on the wire: version byte, then bincode.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = alloc::vec![VERSION];
        // Writing plain data into memory has no way to fail.
        bytes.extend(bincode::encode_to_vec(self, bincode::config::standard()).unwrap_or_default());
        bytes
    }

    /// Reads a receipt.
    ///
    /// # Errors
    /// [`DecodeError`] for another version, trailing bytes, or anything malformed or oversized.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (&version, rest) = bytes.split_first().ok_or(DecodeError::Truncated { have: 0, need: 1 })?;
        if version != VERSION {
            return Err(DecodeError::Version { found: version });
        }
        let receipt: Self = bounded(rest)?;
        if receipt.sequences.len() > MAX_SEQUENCES {
            return Err(DecodeError::TooMany {
                what: "sequences",
                found: receipt.sequences.len(),
                most: MAX_SEQUENCES,
            });
        }
        Ok(receipt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_comes_back_and_its_bytes_are_frozen() {
        let receipt = Receipt {
            store: 7,
            lane: Lane::Reading,
            sequences: alloc::vec![1, 2, 300],
            verdict: Verdict::Durable,
        };
        let bytes = receipt.encode();
        assert_eq!(bytes, [1, 7, 2, 3, 1, 2, 251, 44, 1, 0], "receipt v1 is frozen: never edit this test");
        assert_eq!(Receipt::decode(&bytes), Ok(receipt));
        assert!(Receipt::decode(&bytes[..bytes.len() - 1]).is_err());
        assert!(Receipt::decode(&[2]).is_err());
        assert!(Receipt::decode(&[]).is_err());
    }
}
