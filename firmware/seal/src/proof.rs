//! The proof that something was logged and seen by witnesses, for use without a network (C2SP tlog-proof v1).
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! index 73894
//! gSKyX…=               hashes, from the leaf to the root
//!
//! log.example/seals     the checkpoint, see `note`
//! …
//! ```

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use base64ct::{Base64, Encoding as _};

use crate::keys::Digest;
use crate::note::{self, Checkpoint, Note, NoteKey};
use crate::tree;

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1\n";

/// Why a proof does not prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofError {
    /// Not a proof.
    Malformed,
    /// The checkpoint is not of this log, or not signed by it.
    Log,
    /// The hashes do not lead from the leaf to the checkpoint's root.
    Path,
    /// Too few witnesses have cosigned it.
    Witnesses,
}

/// Whom to believe about a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogTrust {
    /// The log. Its name is the checkpoints' origin.
    pub log: NoteKey,
    /// Its witnesses, each a body of its own.
    pub witnesses: Vec<NoteKey>,
    /// How many of them must have cosigned: at least one, whatever is said here.
    pub needed: usize,
}

/// A proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof<'a> {
    /// Number of the leaf.
    pub index: u64,
    /// Hashes from the leaf to the root.
    pub path: Vec<Digest>,
    /// The signed checkpoint.
    pub checkpoint: &'a str,
}

impl<'a> Proof<'a> {
    /// Reads a proof. One with extra data is refused: nobody here would know what it says.
    ///
    /// # Errors
    /// [`ProofError::Malformed`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ProofError> {
        let parse = || {
            let all = core::str::from_utf8(bytes).ok()?.strip_prefix(FIRST_LINE)?;
            let (head, checkpoint) = all.split_once("\n\n")?;
            let mut lines = head.split('\n');
            let index = note::number(lines.next()?.strip_prefix("index ")?)?;
            let mut path = Vec::new();
            for line in lines {
                if path.len() == tree::MAX_PATH {
                    return None;
                }
                path.push(note::hash(line)?);
            }
            Some(Self { index, path, checkpoint })
        };
        parse().ok_or(ProofError::Malformed)
    }

    /// The text.
    pub fn text(&self) -> String {
        let mut text = String::from(FIRST_LINE);
        // Writing into memory has no way to fail.
        let _ = writeln!(text, "index {}", self.index);
        for hash in &self.path {
            let _ = writeln!(text, "{}", Base64::encode_string(&hash[..]));
        }
        text + "\n" + self.checkpoint
    }

    /// The checkpoint by which `leaf` is in the log, if that is proven, and when a witness last saw it: that time is past.
    ///
    /// # Errors
    /// [`ProofError`]: the first thing that is wrong.
    pub fn verify(&self, leaf: &[u8], trust: &LogTrust) -> Result<(Checkpoint, u64), ProofError> {
        let note = Note::parse(self.checkpoint.as_bytes()).ok_or(ProofError::Malformed)?;
        let checkpoint = Checkpoint::parse(note.text).ok_or(ProofError::Malformed)?;
        if checkpoint.origin != trust.log.name || !note.is_signed_by(&trust.log) {
            return Err(ProofError::Log);
        }
        let root = tree::root_of_inclusion(tree::leaf(leaf), self.index, checkpoint.size, &self.path);
        if root != Some(checkpoint.root) {
            return Err(ProofError::Path);
        }
        // A body that is listed twice is one body, and the log is no witness of itself.
        let all = &trust.witnesses;
        let is_other = |at: usize| {
            all[at].key != trust.log.key && all[..at].iter().all(|other| other.key != all[at].key)
        };
        let seen = (0..all.len()).filter(|&at| is_other(at)).filter_map(|at| note.cosigned_s(&all[at]));
        let (count, last_s) = seen.fold((0, 0), |(count, last_s), time_s| (count + 1, time_s.max(last_s)));
        if count < trust.needed.max(1) {
            return Err(ProofError::Witnesses);
        }
        Ok((checkpoint, last_s))
    }
}
