//! The log: the truth of this ingest. Everything else can be rebuilt from it.
//!
//! # What it must do
//! - An answer "durable" leaves only after the bytes are on stable storage.
//! - A power cut at any moment loses nothing that was answered, and doubles nothing.
//! - Damage is never taken for data, and never passed over in silence.
//! - Many small messages share one `fdatasync`: a disk makes some hundreds to thousands of them a second, a city
//!   sends more.
//!
//! # Segments
//! A segment is a file of fixed length, written full of zeros and synced *before* it is used: an `fdatasync` into
//! a file whose blocks and length are settled costs a third of one that has to journal metadata (3,563 against
//! 1,100 a second on our machine). The next segment is made ready by a helper thread while the present one fills.
//! A segment appears under its final name only when whole (written aside, synced, renamed, folder synced), so
//! that every named file has a header.
//!
//! The file name is the *position* of the segment's first byte, twenty digits. Positions are byte offsets that
//! only ever grow. A segment begins exactly where the one before ended, so that a missing tail is noticed.
//!
//! ```text
//! 00000000000000000000.wfl   header 64 bytes │ record │ record │ … │ zeros
//! 00000000000033554120.wfl   header 64 bytes │ record │ …
//! ```
//!
//! # Group commit
//! One thread owns the log. It takes whatever waits in its queue, writes it, syncs *once*, answers everybody.
//! There is no timer: while a sync runs the next group gathers, so that a lone message waits for nothing and a
//! flood makes large groups.
//!
//! # Telling a torn tail from damage
//! A record carries the distance back to the start of its group commit: everything before that start was durable
//! when the record was written. When reading stops at position `q`, a later valid record whose commit began at or
//! before `q` belongs to the same commit, which was cut by a power loss and which nobody was told of: it is cut
//! off, and the rest is overwritten with zeros so that no stale byte can ever follow a new record. A later
//! valid record whose commit began *after* `q` proves that the bytes at `q` had been durable: that is damage. So
//! is a segment that stops before its successor begins. Damage is reported with its range, degrades `/health`,
//! and what lies behind it is still read: those records were acknowledged too.
//!
//! The checksum covers the record's position, so that bytes left from an older life of a disk block never pass.
//!
//! # Failure
//! After an error of a write or a sync nobody knows what is on the disk. The log is then *poisoned*: every answer is
//! "unavailable", nothing is acknowledged, gateways keep what they have. A restart reads what survived. A disk that
//! is full shows when the next segment is made, before anything is written to it: the answer is "unavailable" too, but
//! the log goes on by itself as soon as there is room.

mod open;
mod record;
mod storage;
mod thread;
mod writer;

#[cfg(test)]
mod crash_tests;

pub(crate) use open::visit;
pub use open::{OpenError, Opened};
pub use record::MAX_PAYLOAD;
pub use storage::{Folder, SegmentFile, Storage};
pub(crate) use storage::{make_folder, sync_folder};
pub(crate) use thread::{Append, Command, Committed, LogThread, QUEUE, URGENT_QUEUE};
pub use writer::{Appended, Entry, Log};

/// A record as read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it begins.
    pub position: u64,
    /// Where it ends: a checkpoint at this position contains it.
    pub end: u64,
    /// When it was received, in milliseconds since 1970 UTC.
    pub received_ms: i64,
    /// What it is; the log does not care.
    pub kind: u8,
    /// Who sent it.
    pub source: String,
    /// The bytes as they came.
    pub payload: Vec<u8>,
}

/// How segments are cut and kept.
#[derive(Debug, Clone, Copy)]
pub struct LogConfig {
    /// Length of a segment in bytes; at least [`MIN_SEGMENT_BYTES`].
    pub segment_bytes: u64,
    /// How long segments before the checkpoint are kept, in milliseconds.
    pub keep_ms: i64,
    /// How many bytes of them are kept at most.
    pub keep_bytes: u64,
}

/// A segment must hold its header and the largest record.
pub const MIN_SEGMENT_BYTES: u64 = MAX_PAYLOAD as u64 + 4096;
