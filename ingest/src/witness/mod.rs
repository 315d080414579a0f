//! `ingest witness`: another body's eye on a log of seals (C2SP tlog-witness v1).
//!
//! A witness remembers how far it has seen each log, and cosigns a newer checkpoint only when that log begins with what it
//! has seen. So two who trust the same witness see the same log, whoever runs the log. That holds as long as the witness does
//! not forget: it remembers on stable storage before it answers, and refuses to start with a memory that it cannot read.
//!
//! # Layout
//! - here: what it remembers and decides; [`submission`]: what it is sent; `command`: the program
//! - HTTP is in `http::witness`; the log's half of the protocol in `tlog`

use std::io;

use seal::keys::{Digest, digest};
use seal::note::{Checkpoint, Note, NoteKey, cosignature};
use seal::tree::is_consistent;

use crate::tlog::keyfile::NamedKey;
use crate::tlog::{Storage, put};

mod command;
mod submission;

pub use command::{EXAMPLES, Ready, WitnessArgs, WitnessError};
pub use submission::{MAX_SUBMISSION, Submission};

/// Most logs that one witness watches: each costs a file and a hundred bytes.
pub const MAX_LOGS: usize = 1024;

/// Why a witness cannot start.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The disk.
    #[error("what {0} remembers: {1}")]
    Disk(String, #[source] io::Error),
    /// Something else than it wrote.
    #[error(
        "见证记录无法读取，拒绝启动 what was remembered of {origin} is no checkpoint signed by the key given now ({name}): bring the \
         file back. A witness that forgets could be shown another history; if the file is lost, retire the witness's key"
    )]
    Unreadable {
        /// The log's name.
        origin: String,
        /// The file.
        name: String,
    },
}

/// What is said to a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The line to add to the checkpoint.
    Cosigned(String),
    /// Not a submission, or one that contradicts itself: what is wrong.
    Malformed(&'static str),
    /// Not signed by the log's key.
    NotSigned,
    /// Nobody here watches a log of this name.
    Unknown,
    /// This size was seen last.
    Seen(u64),
    /// The log shows another tree of the size that was seen.
    Forked {
        /// That size.
        size: u64,
        /// What was seen, and what is shown now, both signed by the log: together a proof.
        evidence: [String; 2],
    },
    /// The log does not begin with what was seen, or the proof is wrong.
    Inconsistent {
        /// What was seen, and what is shown now.
        evidence: [String; 2],
    },
    /// It cannot be remembered or signed now.
    Failed(String),
}

/// A log that is watched.
struct Watched {
    log: NoteKey,
    size: u64,
    root: Digest,
    /// The checkpoint that says so; empty at first.
    note: String,
}

impl Watched {
    /// Name of the file that remembers it: origins are any text.
    fn file(&self) -> String {
        let id = digest(&[self.log.name.as_bytes()]);
        let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        hex + ".note"
    }
}

/// A witness with its memory. Owned by whoever asks it one thing at a time.
pub struct Witness<S: Storage> {
    key: NamedKey,
    storage: S,
    watched: Vec<Watched>,
    _lock: S::Lock,
}

impl<S: Storage> std::fmt::Debug for Witness<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Witness").field("name", &self.key.public.name).finish_non_exhaustive()
    }
}

impl<S: Storage> Witness<S> {
    /// A witness of these logs, at most [`MAX_LOGS`], with what it remembers of them.
    ///
    /// # Errors
    /// [`MemoryError`].
    pub fn open(storage: S, key: NamedKey, logs: Vec<NoteKey>) -> Result<Self, MemoryError> {
        let lock = storage.lock().map_err(|error| MemoryError::Disk(key.public.name.clone(), error))?;
        let mut watched = Vec::new();
        for log in logs.into_iter().take(MAX_LOGS) {
            let mut one = Watched { log, size: 0, root: digest(&[]), note: String::new() };
            let name = one.file();
            let bytes =
                storage.read(&name).map_err(|error| MemoryError::Disk(key.public.name.clone(), error))?;
            if let Some(bytes) = bytes {
                let origin = one.log.name.clone();
                let Ok((checkpoint, _)) = shown(&bytes, &one.log) else {
                    return Err(MemoryError::Unreadable { origin, name });
                };
                (one.size, one.root) = (checkpoint.size, checkpoint.root);
                one.note = String::from_utf8_lossy(&bytes).into_owned();
            }
            watched.push(one);
        }
        Ok(Self { key, storage, watched, _lock: lock })
    }

    /// The sizes that were seen last, with the names of their logs.
    pub fn seen(&self) -> impl Iterator<Item = (&str, u64)> {
        self.watched.iter().map(|one| (one.log.name.as_str(), one.size))
    }

    /// Judges a submission (tlog-witness, add-checkpoint). What is cosigned is remembered on stable storage before.
    pub fn add_checkpoint(&mut self, body: &[u8], now_s: u64) -> Verdict {
        let Some(submission) = Submission::parse(body) else {
            return Verdict::Malformed("not \"old\" with a size, hashes, an empty line and a checkpoint");
        };
        let Some(note) = Note::parse(submission.note.as_bytes()) else {
            return Verdict::Malformed("the checkpoint is no signed note");
        };
        let Some(origin) = note.text.split('\n').next() else { return Verdict::Unknown };
        let Some(one) = self.watched.iter_mut().find(|one| one.log.name == origin) else {
            return Verdict::Unknown;
        };
        let (checkpoint, text) = match shown(submission.note.as_bytes(), &one.log) {
            Ok(shown) => shown,
            Err(verdict) => return verdict,
        };
        if submission.old > checkpoint.size {
            return Verdict::Malformed("the old size is larger than the checkpoint's");
        }
        if submission.old != one.size {
            return Verdict::Seen(one.size);
        }
        let evidence = || [one.note.clone(), submission.note.to_owned()];
        if checkpoint.size == one.size && checkpoint.root != one.root {
            return Verdict::Forked { size: one.size, evidence: evidence() };
        }
        if !is_consistent((one.size, &one.root), (checkpoint.size, &checkpoint.root), &submission.proof) {
            return Verdict::Inconsistent { evidence: evidence() };
        }
        let Some(line) = cosignature(text, &self.key.public.name, &self.key.signer, now_s) else {
            return Verdict::Failed("the witness's key did not sign".into());
        };
        if checkpoint.size > one.size {
            let kept = put(&self.storage, &one.file(), submission.note.as_bytes());
            if let Err(error) = kept.and_then(|()| self.storage.sync_folder("")) {
                return Verdict::Failed(format!("the checkpoint cannot be remembered: {error}"));
            }
            (one.size, one.root) = (checkpoint.size, checkpoint.root);
            one.note = submission.note.to_owned();
        }
        Verdict::Cosigned(line)
    }
}

/// A checkpoint that a log has signed, and the text that is signed.
fn shown<'a>(note: &'a [u8], log: &NoteKey) -> Result<(Checkpoint, &'a str), Verdict> {
    let note = Note::parse(note).ok_or(Verdict::Malformed("the checkpoint is no signed note"))?;
    let checkpoint = Checkpoint::parse(note.text).ok_or(Verdict::Malformed("the note is no checkpoint"))?;
    if checkpoint.origin != log.name || !note.is_signed_by(log) {
        return Err(Verdict::NotSigned);
    }
    Ok((checkpoint, note.text))
}

#[cfg(test)]
mod tests;
