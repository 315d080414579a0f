//! The journal: what was committed and lies in no full tile yet.
//!
//! A file of fixed length, zeros at first, in which each commit is one record:
//!
//! ```text
//! magic 8 │ first leaf 8 │ bytes of leaves 4 │ bytes of the note 4 │ CRC-32C 4 │ leaves │ note
//! ```
//!
//! Numbers are little-endian. Leaves are as in a bundle, each behind its length; the note is the checkpoint after them. The
//! first record begins at a multiple of 256 leaves, which all lie in full tiles.

use super::{MAX_GROUP, MAX_LEAF};

/// First bytes of a record; the last one is the version.
const MAGIC: [u8; 8] = *b"WFTLOG\0\x01";
/// Bytes before the leaves.
const HEAD: usize = 28;
/// Where the checksum lies; it covers all but itself.
const CRC_AT: usize = 24;
/// Length of a journal in bytes. Zeros beforehand make a commit three times as fast (see `log`); one of this size takes
/// thousands of usual leaves, and as many bytes of them stay in memory.
pub(super) const JOURNAL_BYTES: usize = 4 << 20;
/// What a record may have: a group of the largest leaves.
const MAX_LEAVES_BYTES: usize = MAX_GROUP * (MAX_LEAF + 2);

/// A commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// Number of the first leaf.
    pub(super) from: u64,
    /// The leaves, as in a bundle.
    pub(super) leaves: &'a [u8],
    /// The signed checkpoint after them.
    pub(super) note: &'a str,
}

impl<'a> Record<'a> {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD + self.leaves.len() + self.note.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.from.to_le_bytes());
        // Both are bounded far below: by a group, and by a note.
        bytes.extend_from_slice(&(self.leaves.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&(self.note.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(self.leaves);
        bytes.extend_from_slice(self.note.as_bytes());
        let crc = checksum(&bytes);
        bytes[CRC_AT..HEAD].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The record at the start of `bytes`, and its length.
    fn read(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let head = bytes.get(..HEAD).filter(|head| head.starts_with(&MAGIC))?;
        let four = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let from = u64::from(four(8)) | u64::from(four(12)) << 32;
        let (leaves, note) = (four(16) as usize, four(20) as usize);
        if leaves > MAX_LEAVES_BYTES || note > seal::note::MAX_BYTES {
            return None;
        }
        let all = bytes.get(..HEAD + leaves + note)?;
        let (leaves, note) = all[HEAD..].split_at(leaves);
        let record = Self { from, leaves, note: std::str::from_utf8(note).ok()? };
        (checksum(all) == four(CRC_AT)).then_some((record, all.len()))
    }
}

fn checksum(record: &[u8]) -> u32 {
    let rest = wire::frame::crc32c(&record[HEAD..]);
    wire::frame::crc32c(&[&record[..CRC_AT], &rest.to_le_bytes()].concat())
}

/// Adds a leaf to a bundle.
pub(super) fn put_leaf(bundle: &mut Vec<u8>, leaf: &[u8]) {
    // At most MAX_LEAF.
    bundle.extend_from_slice(&(leaf.len() as u16).to_be_bytes());
    bundle.extend_from_slice(leaf);
}

/// The leaves of a bundle; `None` when it is none.
pub(super) fn leaves_of(mut bundle: &[u8]) -> Option<Vec<&[u8]>> {
    let mut leaves = Vec::new();
    while !bundle.is_empty() {
        let (length, rest) = bundle.split_first_chunk()?;
        let (leaf, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        leaves.push(leaf);
        bundle = rest;
    }
    Some(leaves)
}

/// What a journal holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found<'a> {
    /// At least one.
    pub(super) records: Vec<Record<'a>>,
    /// Where the next one goes.
    pub(super) end: usize,
    /// Whether bytes of a commit follow that was cut short: nobody was told of it.
    pub(super) is_torn: bool,
}

/// Reads a journal; `None` when it is damaged: when something that had been durable cannot be read any more.
///
/// A commit is synced before the next one begins. So what cannot be read at the end was cut short, and what cannot be read
/// before a later commit is damage.
pub(super) fn read(bytes: &[u8]) -> Option<Found<'_>> {
    let (mut records, mut end, mut size) = (Vec::new(), 0, None);
    while let Some((record, length)) = Record::read(&bytes[end..]) {
        if size.is_some_and(|size| size != record.from) {
            break;
        }
        size = Some(record.from + leaves_of(record.leaves)?.len() as u64);
        records.push(record);
        end += length;
    }
    let size = size?;
    let rest = &bytes[end..];
    let starts = rest.windows(MAGIC.len()).enumerate().filter(|(_, bytes)| **bytes == MAGIC);
    for (at, _) in starts {
        if Record::read(&rest[at..]).is_some_and(|(later, _)| later.from > size) {
            return None;
        }
    }
    Some(Found { records, end, is_torn: rest.iter().any(|&byte| byte != 0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A journal of three commits, and where each ends.
    fn three() -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for (from, count) in [(256, 1), (257, 2), (259, 3)] {
            let mut leaves = Vec::new();
            (0..count).for_each(|leaf| put_leaf(&mut leaves, &[leaf; 9]));
            bytes.extend(Record { from, leaves: &leaves, note: "note" }.bytes());
            ends.push(bytes.len());
        }
        bytes.resize(bytes.len() + 100, 0);
        (bytes, ends)
    }

    fn numbers(bytes: &[u8]) -> Option<(Vec<u64>, usize, bool)> {
        read(bytes)
            .map(|found| (found.records.iter().map(|record| record.from).collect(), found.end, found.is_torn))
    }

    #[test]
    fn what_was_written_is_read() {
        let (bytes, ends) = three();
        assert_eq!(numbers(&bytes), Some((vec![256, 257, 259], ends[2], false)));
    }

    #[test]
    fn a_torn_end_is_told_from_damage() {
        let (good, ends) = three();
        let begin = [0, ends[0], ends[1]];
        for (number, from) in begin.into_iter().enumerate() {
            for at in [from, from + 9, from + HEAD + 1, ends[number] - 1] {
                let mut bytes = good.clone();
                bytes[at] ^= 1;
                let expected = (number == 2).then(|| (vec![256, 257], ends[1], true));
                assert_eq!(numbers(&bytes), expected, "byte {at}");
            }
        }
        for length in ends[1]..ends[2] {
            let mut bytes = good.clone();
            bytes[length..].fill(0);
            let found = numbers(&bytes).unwrap();
            assert_eq!((found.0.len(), found.2), (2, length > ends[1]), "cut at {length}");
        }
        for nothing in [&[][..], &[0; 100]] {
            assert_eq!(read(nothing), None);
        }
    }

    #[test]
    fn a_bundle_is_what_it_is() {
        let mut bundle = Vec::new();
        for leaf in [&b"one"[..], b"", &[7; MAX_LEAF]] {
            put_leaf(&mut bundle, leaf);
        }
        assert_eq!(leaves_of(&bundle).unwrap(), [&b"one"[..], b"", &[7; MAX_LEAF]]);
        assert_eq!(leaves_of(&bundle[..bundle.len() - 1]), None);
        assert_eq!(leaves_of(&bundle[..1]), None);
    }
}
