//! One record as bytes. See the essay in [`super`] for why each field is there.
//!
//! ```text
//! offset  bytes  meaning (numbers little-endian)
//!      0      4  CRC-32C over the record's position (8 bytes) and everything from offset 4 to the end of the data
//!      4      4  length of the payload
//!      8      8  received_ms
//!     16      4  distance back to the start of the group commit this record belongs to
//!     20      1  kind, never 0
//!     21      1  length of the source
//!     22      2  zero
//!     24      …  source, payload, zeros up to a multiple of 8
//! ```

use super::Record;

/// Bytes before the source.
pub(super) const HEAD: usize = 24;
/// Records start at multiples of this.
pub(super) const ALIGN: usize = 8;
/// Largest payload in bytes: far above a frame (25 KiB) and a SenML pack with what is kept beside it.
pub const MAX_PAYLOAD: usize = 1 << 20;

const CRC: crc32c::Crc<u32, crc32c::Table<16>> =
    crc32c::Crc::<u32, crc32c::Table<16>>::new(&crc32c::CRC_32_ISCSI);

/// Bytes a record takes in the log.
pub(super) fn size_of(source: &str, payload: &[u8]) -> usize {
    (HEAD + source.len() + payload.len()).next_multiple_of(ALIGN)
}

fn checksum(position: u64, rest: &[u8]) -> u32 {
    // The position goes first, so that bytes of an older life of the same file never pass here.
    let mut digest = CRC.digest();
    digest.update(&position.to_le_bytes());
    digest.update(rest);
    digest.finalize()
}

/// Appends the bytes of a record that will lie at `position`, in a commit that starts at `commit_start`.
pub(super) fn write(
    out: &mut Vec<u8>,
    position: u64,
    commit_start: u64,
    received_ms: i64,
    kind: u8,
    source: &str,
    payload: &[u8],
) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&received_ms.to_le_bytes());
    out.extend_from_slice(&((position - commit_start) as u32).to_le_bytes());
    out.extend_from_slice(&[kind, source.len() as u8, 0, 0]);
    out.extend_from_slice(source.as_bytes());
    out.extend_from_slice(payload);
    let crc = checksum(position, &out[start + 4..]);
    out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
    out.resize(start + size_of(source, payload), 0);
}

/// A record that passed its checksum.
pub(super) struct Read {
    pub(super) record: Record,
    /// Where its group commit began: everything before was durable when this was written.
    pub(super) commit_start: u64,
}

/// Reads the record at `bytes[at..]`, which lies at `position` in the log; `None` when it is not whole.
pub(super) fn read(bytes: &[u8], at: usize, position: u64) -> Option<Read> {
    let head = bytes.get(at..at + HEAD)?;
    let u32_at = |offset: usize| {
        let mut four = [0; 4];
        four.copy_from_slice(&head[offset..offset + 4]);
        u32::from_le_bytes(four)
    };
    let (kind, source_length) = (head[20], usize::from(head[21]));
    let payload_length = u32_at(4) as usize;
    if kind == 0 || payload_length > MAX_PAYLOAD || head[22..24] != [0, 0] {
        return None;
    }
    let data = at + HEAD;
    let end = data + source_length + payload_length;
    let rest = bytes.get(at + 4..end)?;
    if checksum(position, rest) != u32_at(0) {
        return None;
    }
    let mut eight = [0; 8];
    eight.copy_from_slice(&head[8..16]);
    let source = std::str::from_utf8(&bytes[data..data + source_length]).ok()?;
    Some(Read {
        record: Record {
            position,
            end: position + (end - at).next_multiple_of(ALIGN) as u64,
            received_ms: i64::from_le_bytes(eight),
            kind,
            source: source.to_owned(),
            payload: bytes[data + source_length..end].to_vec(),
        },
        commit_start: position.checked_sub(u64::from(u32_at(16)))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_at_its_position_and_nowhere_else() {
        let mut bytes = Vec::new();
        write(&mut bytes, 4096, 4000, 77, 3, "caotang-03", b"abc");
        assert_eq!(bytes.len() % ALIGN, 0);
        let read_back = read(&bytes, 0, 4096).unwrap();
        assert_eq!(read_back.commit_start, 4000);
        let record = read_back.record;
        assert_eq!((record.received_ms, record.kind, record.source.as_str()), (77, 3, "caotang-03"));
        assert_eq!(record.payload, b"abc");
        assert_eq!(record.end, 4096 + bytes.len() as u64);
        assert!(read(&bytes, 0, 4104).is_none(), "stale bytes of another position must not pass");
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let mut bytes = Vec::new();
        write(&mut bytes, 64, 64, -1, 1, "a", &[7; 33]);
        let covered = HEAD + 1 + 33;
        for bit in 0..covered * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&damaged, 0, 64).is_none(), "bit {bit}");
        }
        assert!(read(&bytes[..covered - 1], 0, 64).is_none());
        assert!(read(&[0; 64], 0, 64).is_none(), "zeros are not a record");
    }
}
