//! What smart seals send: signed envelopes, and the photographs that they name.

use alloc::vec::Vec;

use bincode::{Decode, Encode};

/// Most envelopes in one frame.
pub const MAX_ENVELOPES: usize = 4;
/// Largest envelope in bytes.
pub const MAX_ENVELOPE_BYTES: usize = 4096;
/// Largest photograph in bytes.
pub const MAX_PICTURE_BYTES: usize = 2 << 20;
/// Largest part of a photograph in bytes: with its frame it fits into [`MAX_FRAME_BYTES`](crate::frame::MAX_FRAME_BYTES).
pub const MAX_PART_BYTES: usize = 24 * 1024;

/// Envelopes as seals have signed them, carried unread: receipts and hellos, in the order in which they were signed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Envelopes {
    /// COSE_Sign of the crate `seal`, each at most [`MAX_ENVELOPE_BYTES`].
    pub envelopes: Vec<Vec<u8>>,
}

/// A part of a photograph. The parts of one come in the order of their offsets.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PicturePart {
    /// SHA-256 of the whole photograph.
    pub digest: [u8; 32],
    /// Its length in bytes.
    pub total: u32,
    /// Where this part begins.
    pub offset: u32,
    /// The part.
    pub bytes: Vec<u8>,
}

impl Envelopes {
    /// Whether each is of a size that an envelope may have.
    pub(crate) fn is_sound(&self) -> bool {
        self.envelopes.iter().all(|envelope| (1..=MAX_ENVELOPE_BYTES).contains(&envelope.len()))
    }
}

impl PicturePart {
    /// Whether it lies within its photograph, and that is not too large.
    pub(crate) fn is_sound(&self) -> bool {
        let (total, end) = (self.total as usize, (self.offset as usize).saturating_add(self.bytes.len()));
        !self.bytes.is_empty()
            && self.bytes.len() <= MAX_PART_BYTES
            && end <= total
            && total <= MAX_PICTURE_BYTES
    }
}
