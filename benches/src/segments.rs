//! Reads ingest's log as its own documentation describes it, without ingest: the audit's second witness.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use wire::frame::crc32c;

/// Bytes of a segment before its first record, bytes of a record before its source, and what records are aligned to.
const SEGMENT_HEADER: usize = 64;
const RECORD_HEAD: usize = 24;
const ALIGN: usize = 8;

/// A record as it lies in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'b> {
    /// Where it begins.
    pub position: u64,
    /// What it is, as ingest numbers kinds.
    pub kind: u8,
    /// Who sent it.
    pub source: &'b str,
    /// The bytes as they came.
    pub payload: &'b [u8],
}

/// The segments of a log folder with their first positions, ascending.
///
/// # Errors
/// Of the file system.
pub fn list(folder: &Path) -> anyhow::Result<Vec<(u64, PathBuf)>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let base = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".wfl")?.parse().ok());
        segments.extend(base.map(|base: u64| (base, path)));
    }
    segments.sort();
    Ok(segments)
}

/// Hands every whole record of a segment to `visit` and gives the position where they end.
pub fn read(base: u64, bytes: &[u8], mut visit: impl FnMut(Record<'_>)) -> u64 {
    let mut at = SEGMENT_HEADER;
    while let Some((record, length)) = record(base, bytes, at) {
        visit(record);
        at += length;
    }
    base + at as u64
}

fn record(base: u64, bytes: &[u8], at: usize) -> Option<(Record<'_>, usize)> {
    let head = bytes.get(at..at + RECORD_HEAD)?;
    let number = |from: usize| Some(u32::from_le_bytes(head.get(from..from + 4)?.try_into().ok()?));
    let (kind, source_length) = (head[20], usize::from(head[21]));
    if kind == 0 {
        return None;
    }
    let source_at = at + RECORD_HEAD;
    let payload_at = source_at + source_length;
    let end = payload_at + number(4)? as usize;
    let position = base + at as u64;
    let mut covered = position.to_le_bytes().to_vec();
    covered.extend_from_slice(bytes.get(at + 4..end)?);
    if crc32c(&covered) != number(0)? {
        return None;
    }
    let source = std::str::from_utf8(bytes.get(source_at..payload_at)?).ok()?;
    let record = Record { position, kind, source, payload: bytes.get(payload_at..end)? };
    Some((record, (end - at).next_multiple_of(ALIGN)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(position: u64, source: &str, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![0; 4];
        out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        out.extend_from_slice(&77_i64.to_le_bytes());
        out.extend_from_slice(&0_u32.to_le_bytes());
        out.extend_from_slice(&[3, source.len() as u8, 0, 0]);
        out.extend_from_slice(source.as_bytes());
        out.extend_from_slice(payload);
        let mut covered = position.to_le_bytes().to_vec();
        covered.extend_from_slice(&out[4..]);
        out[..4].copy_from_slice(&crc32c(&covered).to_le_bytes());
        out.resize(out.len().next_multiple_of(ALIGN), 0);
        out
    }

    #[test]
    fn whole_records_are_read_and_torn_ones_end_the_segment() {
        let mut bytes = vec![0; SEGMENT_HEADER];
        let first = written(1000 + 64, "g-01", b"hello");
        bytes.extend_from_slice(&first);
        bytes.extend_from_slice(&written(1000 + 64 + first.len() as u64, "g-02", b"world"));
        let mut seen = Vec::new();
        let end = read(1000, &bytes, |record| seen.push((record.position, record.source.to_owned())));
        assert_eq!((seen.len(), end), (2, 1000 + bytes.len() as u64));
        let last = bytes.len() - 12;
        bytes[last] ^= 1;
        let mut count = 0;
        read(1000, &bytes, |_| count += 1);
        assert_eq!(count, 1);
    }
}
