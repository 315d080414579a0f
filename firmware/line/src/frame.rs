//! Frames on the wire: what kind, the body, a checksum; in COBS, between zeros. A byte that is lost or added costs the frame
//! that it is in, and no other.
//!
//! ```text
//! 0 COBS( kind, body…, CRC-32C of both, little-endian ) 0
//! ```
//! The checksum tells noise from somebody who meddles; it protects nothing.

use alloc::vec::Vec;

use crc32c::{CRC_32_ISCSI, Crc};

/// Most bytes of a fragment of a message: 50 ms at 115,200 baud, and a microcontroller has room for it.
pub const MAX_FRAGMENT: usize = 512;
/// Most bytes of a body: number, what a record says of itself, a fragment, the cipher's tag.
pub const MAX_BODY: usize = 8 + crate::session::HEAD_BYTES + MAX_FRAGMENT + 16;
/// Most bytes of a frame on the wire, with its zeros: COBS adds one of 254.
pub const MAX_FRAME: usize = MAX_PLAIN + MAX_PLAIN / 254 + 1 + 2;

const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
const MAX_PLAIN: usize = 1 + MAX_BODY + 4;

/// What a frame is. The numbers never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The gateway wants to begin a session: the first message of a handshake.
    Knock = 1,
    /// The seal's answer: the second.
    Answer = 2,
    /// Something said in a session.
    Record = 3,
}

/// The bytes of a frame.
pub fn write(kind: Kind, body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(1 + body.len() + 4);
    plain.push(kind as u8);
    plain.extend_from_slice(body);
    plain.extend_from_slice(&CRC.checksum(&plain).to_le_bytes());
    let mut frame = alloc::vec![0];
    frame.extend(cobs::encode_vec(&plain));
    frame.push(0);
    frame
}

/// Finds frames in what comes, whatever comes.
#[derive(Debug, Default)]
pub struct Reader {
    held: Vec<u8>,
    is_too_long: bool,
    noise: u64,
}

impl Reader {
    /// Takes a byte; the frame that it ends.
    pub fn push(&mut self, byte: u8) -> Option<(Kind, Vec<u8>)> {
        if byte != 0 {
            self.is_too_long |= self.held.len() == MAX_FRAME;
            if !self.is_too_long {
                self.held.push(byte);
            }
            return None;
        }
        let mut held = core::mem::take(&mut self.held);
        let is_too_long = core::mem::take(&mut self.is_too_long);
        if held.is_empty() {
            return None;
        }
        let frame = if is_too_long { None } else { parsed(&mut held) };
        self.noise = self.noise.saturating_add(u64::from(frame.is_none()));
        frame
    }

    /// How much came that was no frame.
    pub fn noise(&self) -> u64 {
        self.noise
    }
}

fn parsed(held: &mut [u8]) -> Option<(Kind, Vec<u8>)> {
    let length = cobs::decode_in_place(held).ok()?;
    let (plain, sum) = held.get(..length)?.split_last_chunk::<4>()?;
    if CRC.checksum(plain) != u32::from_le_bytes(*sum) {
        return None;
    }
    let (kind, body) = plain.split_first()?;
    let kind = match kind {
        1 => Kind::Knock,
        2 => Kind::Answer,
        3 => Kind::Record,
        _ => return None,
    };
    (body.len() <= MAX_BODY).then(|| (kind, body.to_vec()))
}
