//! Appending: one group, one sync.

use std::io;

use super::record::{ALIGN, size_of, write};
use super::{LogConfig, SegmentFile, Storage};

/// Bytes of a segment before its first record.
pub(super) const HEADER: u64 = 64;
/// First bytes of a segment; the last two are the version.
pub(super) const MAGIC: [u8; 8] = *b"WFLOG\x0001";

/// What is to be appended.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// When it was received, in milliseconds since 1970 UTC.
    pub received_ms: i64,
    /// What it is, never 0.
    pub kind: u8,
    /// Who sent it, at most 255 bytes.
    pub source: &'a str,
    /// The bytes as they came, at most [`super::MAX_PAYLOAD`].
    pub payload: &'a [u8],
}

/// What became of a group.
#[derive(Debug)]
pub struct Appended {
    /// End positions of the entries that are on stable storage: the first ones, in their order.
    pub ends: Vec<u64>,
    /// Why the others are not.
    pub failed: Option<io::Error>,
}

/// A segment as the log knows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    pub(super) base: u64,
    /// When its first record was received.
    pub(super) created_ms: i64,
}

/// The log, open for appending. Owned by one thread; see the essay at the top of the folder.
pub struct Log<S: Storage> {
    pub(super) storage: S,
    pub(super) config: LogConfig,
    /// Ascending; the last one is being written.
    pub(super) segments: Vec<Segment>,
    pub(super) file: S::File,
    pub(super) length: u64,
    pub(super) position: u64,
    pub(super) poisoned: Option<String>,
    pub(super) buffer: Vec<u8>,
}

/// The bytes at the start of a segment.
pub(super) fn header(base: u64, created_ms: i64) -> [u8; HEADER as usize] {
    let mut header = [0; HEADER as usize];
    header[..8].copy_from_slice(&MAGIC);
    header[8..16].copy_from_slice(&base.to_le_bytes());
    header[16..24].copy_from_slice(&created_ms.to_le_bytes());
    let crc = wire::frame::crc32c(&header[..24]);
    header[24..28].copy_from_slice(&crc.to_le_bytes());
    header
}

/// Reads a header back: when the segment was created; `None` when it is not the header of `base`.
pub(super) fn read_header(bytes: &[u8], base: u64) -> Option<i64> {
    let mut eight = [0; 8];
    eight.copy_from_slice(bytes.get(16..24)?);
    let created_ms = i64::from_le_bytes(eight);
    (bytes.get(..HEADER as usize)? == header(base, created_ms)).then_some(created_ms)
}

impl<S: Storage> Log<S> {
    /// Where the next record goes.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Appends a group and returns when it is on stable storage.
    ///
    /// A disk that has no room for another segment is no reason to give up: nothing is unknown, and the next group
    /// tries again. After any other error the log is *poisoned*, and every later call fails with the same words: what
    /// is on disk is unknown until it is opened again.
    pub fn append(&mut self, entries: &[Entry<'_>]) -> Appended {
        if let Some(why) = &self.poisoned {
            let failed =
                io::Error::other(format!("the log failed earlier ({why}): fix the disk and restart"));
            return Appended { ends: Vec::new(), failed: Some(failed) };
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let appended = self.append_with(&mut buffer, entries);
        self.buffer = buffer;
        appended
    }

    /// Whether the log has failed for good.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned.is_some()
    }

    fn append_with(&mut self, buffer: &mut Vec<u8>, entries: &[Entry<'_>]) -> Appended {
        buffer.clear();
        // Ends of entries that are durable, and of those in the buffer.
        let (mut ends, mut buffered) = (Vec::with_capacity(entries.len()), Vec::new());
        // Where this commit begins, and where the buffer goes: the same, as each part is synced before the next.
        let mut start = self.position;
        for entry in entries {
            let size = size_of(entry.source, entry.payload) as u64;
            let end_of_segment = self.base() + self.length;
            if start + buffer.len() as u64 + size > end_of_segment {
                if let Err(error) = self.commit(start, buffer) {
                    return Appended { ends, failed: Some(error) };
                }
                ends.append(&mut buffered);
                buffer.clear();
                if let Err(error) = self.rotate(entry.received_ms) {
                    return Appended { ends, failed: Some(error) };
                }
                start = self.position;
            }
            let position = start + buffer.len() as u64;
            write(buffer, position, start, entry.received_ms, entry.kind, entry.source, entry.payload);
            buffered.push(start + buffer.len() as u64);
        }
        match self.commit(start, buffer) {
            Ok(()) => {
                ends.append(&mut buffered);
                Appended { ends, failed: None }
            }
            Err(error) => Appended { ends, failed: Some(error) },
        }
    }

    fn base(&self) -> u64 {
        self.segments.last().map_or(0, |segment| segment.base)
    }

    fn commit(&mut self, start: u64, bytes: &[u8]) -> io::Result<()> {
        if !bytes.is_empty() {
            let at = start - self.base();
            let written = self.file.write(at, bytes).and_then(|()| self.file.sync());
            written.inspect_err(|error| self.poisoned = Some(error.to_string()))?;
            self.position = start + bytes.len() as u64;
        }
        Ok(())
    }

    /// Goes on in a new segment, which begins where this one ended.
    fn rotate(&mut self, created_ms: i64) -> io::Result<()> {
        let base = self.position.next_multiple_of(ALIGN as u64);
        self.file = self.storage.create(base, &header(base, created_ms), self.config.segment_bytes)?;
        self.length = self.config.segment_bytes;
        self.segments.push(Segment { base, created_ms });
        self.position = base + HEADER;
        Ok(())
    }

    /// Deletes segments that lie wholly before `checkpoint` and are older, or more, than is to be kept. Returns
    /// how many were deleted.
    ///
    /// # Errors
    /// What the disk said; the log itself goes on.
    pub fn retire(&mut self, checkpoint: u64, now_ms: i64) -> io::Result<usize> {
        let retired = self.segments.windows(2).take_while(|pair| pair[1].base <= checkpoint).count();
        let mut bytes = match (self.segments.first(), self.segments.get(retired)) {
            (Some(first), Some(after)) => after.base - first.base,
            _ => 0,
        };
        let mut deleted = 0;
        while deleted < retired {
            let (segment, next) = (self.segments[0], self.segments[1]);
            let old = now_ms.saturating_sub(next.created_ms) > self.config.keep_ms;
            if !old && bytes <= self.config.keep_bytes {
                break;
            }
            self.storage.remove(segment.base)?;
            self.segments.remove(0);
            bytes -= next.base - segment.base;
            deleted += 1;
        }
        Ok(deleted)
    }
}
