//! What a log sends to a witness (C2SP tlog-witness, add-checkpoint), both directions in one place.
//!
//! ```text
//! old 20852014          the size that the witness saw last
//! PlRNCrwH…=            hashes that lead from there to the checkpoint
//!
//! log.example/seals     the checkpoint, see `seal::note`
//! …
//! ```

use std::fmt::Write as _;

use base64ct::{Base64, Encoding as _};
use seal::keys::Digest;
use seal::note;
use seal::tree::MAX_PATH;

/// Most bytes of a submission: a line for the size, hashes of 44 characters, and the note.
pub const MAX_SUBMISSION: usize = 32 + MAX_PATH * 45 + note::MAX_BYTES;

/// A submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission<'a> {
    /// The size that the witness saw last.
    pub old: u64,
    /// Hashes that show that the checkpoint's tree begins with that one.
    pub proof: Vec<Digest>,
    /// The signed checkpoint.
    pub note: &'a str,
}

impl<'a> Submission<'a> {
    /// The text.
    pub fn text(&self) -> String {
        // Writing into memory has no way to fail.
        let mut text = format!("old {}\n", self.old);
        for hash in &self.proof {
            let _ = writeln!(text, "{}", Base64::encode_string(&hash[..]));
        }
        text + "\n" + self.note
    }

    /// Reads one; `None` when it is none.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (head, note) = std::str::from_utf8(bytes).ok()?.split_once("\n\n")?;
        let mut lines = head.split('\n');
        let old = note::number(lines.next()?.strip_prefix("old ")?)?;
        let proof: Vec<Digest> = lines.map(note::hash).collect::<Option<_>>()?;
        (proof.len() <= MAX_PATH).then_some(Self { old, proof, note })
    }
}

#[cfg(test)]
mod tests {
    use seal::tree::leaf;

    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let some =
            Submission { old: 7, proof: vec![leaf(b"a"), leaf(b"b")], note: "log\n9\nroot\n\n— log sig\n" };
        let text = some.text();
        assert_eq!(Submission::parse(text.as_bytes()), Some(some.clone()));
        let first = Submission { old: 0, proof: Vec::new(), ..some.clone() };
        assert_eq!(Submission::parse(first.text().as_bytes()), Some(first));
        let long = Submission { proof: vec![leaf(b"a"); MAX_PATH + 1], ..some };
        for (bad, why) in [
            (long.text(), "too many hashes"),
            (text.replace("old 7", "old 07"), "a leading zero"),
            (text.replace("old 7", "new 7"), "another word"),
            (text.replacen("=\n", "\n", 1), "a short hash"),
            (text.replacen("\n\n", "\n", 2), "no empty line"),
            (String::new(), "nothing"),
        ] {
            assert_eq!(Submission::parse(bad.as_bytes()), None, "{why}");
        }
        assert_eq!(Submission::parse(b"old 7\n\n\xff"), None);
    }
}
