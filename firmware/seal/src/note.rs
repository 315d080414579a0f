//! Checkpoints of a log, signed by it and by witnesses.
//!
//! ```text
//! log.example/seals            origin: the log's name
//! 73894                        leaves
//! FQ1wo…=                      root
//!
//! — log.example/seals Az3g…    the log's signature, over the lines above
//! — witness.example mJir…      a witness's, who saw that this log only ever grew
//! ```
//!
//! Formats: C2SP signed-note, tlog-checkpoint v1 and tlog-cosignature v1, of the latter the Ed25519 one. Lines of keys that
//! are not asked for are passed over, as the formats want it.
//!
//! Logs and witnesses sign with Ed25519, and the tree is one of SHA-256, whatever grants and receipts are signed with: these
//! formats have nothing else, and witnesses of others and their tools know nothing else. A key of another algorithm signs no
//! note here and verifies none.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use base64ct::{Base64, Encoding as _};

use crate::keys::{Algorithm, Digest, PublicKey, Signer, digest};

/// Most bytes of a note.
pub const MAX_BYTES: usize = 4096;
/// Most signature lines of one.
pub const MAX_SIGNATURES: usize = 16;
/// Begins a signature line.
const DASH: &str = "\u{2014} ";

/// What a key signs: the byte that stands for it in its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Log = 0x01,
    Witness = 0x04,
}

/// A key with the name under which it signs notes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteKey {
    /// The name: without spaces and plus signs.
    pub name: String,
    /// The key.
    pub key: PublicKey,
}

impl NoteKey {
    fn id(&self, role: Role) -> [u8; 4] {
        let all = digest(&[self.name.as_bytes(), b"\n", &[role as u8], self.key.bytes()]);
        [all[0], all[1], all[2], all[3]]
    }

    /// Whether its key is one that signs notes.
    pub fn signs_notes(&self) -> bool {
        self.key.algorithm() == Algorithm::Ed25519
    }

    /// What another tool needs to verify a log's notes with this key: `name+id+key`.
    pub fn log_verifier(&self) -> String {
        self.verifier(Role::Log)
    }

    /// The same for a witness's cosignatures.
    pub fn witness_verifier(&self) -> String {
        self.verifier(Role::Witness)
    }

    /// Reads what [`NoteKey::log_verifier`] wrote; `None` for anything else.
    pub fn parse_log_verifier(text: &str) -> Option<Self> {
        Self::parse_verifier(text, Role::Log)
    }

    /// Reads what [`NoteKey::witness_verifier`] wrote; `None` for anything else.
    pub fn parse_witness_verifier(text: &str) -> Option<Self> {
        Self::parse_verifier(text, Role::Witness)
    }

    fn parse_verifier(text: &str, role: Role) -> Option<Self> {
        let mut parts = text.splitn(3, '+');
        let (name, _, key) = (parts.next()?, parts.next()?, parts.next()?);
        let is_name = !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control());
        let bytes = Base64::decode_vec(key).ok()?;
        let key = PublicKey::new(Algorithm::Ed25519, bytes.strip_prefix(&[role as u8])?)?;
        let read = Self { name: name.into(), key };
        // Its id must be the key's, as nobody else would know whom it means.
        (is_name && read.verifier(role) == text).then_some(read)
    }

    fn verifier(&self, role: Role) -> String {
        let key = [&[role as u8], self.key.bytes()].concat();
        format!("{}+{:08x}+{}", self.name, u32::from_be_bytes(self.id(role)), Base64::encode_string(&key))
    }
}

/// The state of a log: how many leaves, and the root over them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name.
    pub origin: String,
    /// How many leaves.
    pub size: u64,
    /// The root over them.
    pub root: Digest,
}

impl Checkpoint {
    /// The text that is signed.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, Base64::encode_string(&self.root[..]))
    }

    /// Reads the text of a checkpoint, or says nothing. Extension lines, if any, are signed and not looked at.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        if origin.is_empty() || lines.any(str::is_empty) {
            return None;
        }
        Some(Self { origin: origin.into(), size: number(size)?, root: hash(root)? })
    }
}

/// A decimal number in its one spelling; `None` for any other.
pub fn number(text: &str) -> Option<u64> {
    let is_canonical =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_canonical { text.parse().ok() } else { None }
}

/// A hash in base64; `None` when it is none.
pub fn hash(text: &str) -> Option<Digest> {
    let mut hash = [0; 32];
    let length = Base64::decode(text, &mut hash).ok()?.len();
    (length == hash.len()).then(|| hash.into())
}

/// A text and its signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note<'a> {
    /// The text, its last newline included.
    pub text: &'a str,
    /// The name of each signature, and its bytes: key id and signature.
    signatures: Vec<(&'a str, Vec<u8>)>,
}

impl<'a> Note<'a> {
    /// Reads a note; `None` when it is not one, or larger than it may be.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let all = core::str::from_utf8(bytes).ok().filter(|all| all.len() <= MAX_BYTES)?;
        if all.chars().any(|c| c.is_control() && c != '\n') {
            return None;
        }
        let (before, lines) = all.rsplit_once("\n\n")?;
        let text = &all[..before.len() + 1];
        let mut signatures = Vec::new();
        for line in lines.strip_suffix('\n')?.split('\n') {
            let (name, signature) = line.strip_prefix(DASH)?.split_once(' ')?;
            let is_name = !name.is_empty() && !name.contains(|c: char| c == '+' || c.is_whitespace());
            if !is_name || signatures.len() == MAX_SIGNATURES {
                return None;
            }
            signatures.push((name, Base64::decode_vec(signature).ok().filter(|bytes| bytes.len() > 4)?));
        }
        Some(Self { text, signatures })
    }

    /// The signatures of a key, without its id; none of a key that signs no notes.
    fn of(&self, key: &NoteKey, role: Role) -> impl Iterator<Item = &[u8]> {
        let id = key.id(role);
        let is_its = move |&(name, bytes): &(&str, &[u8])| {
            key.signs_notes() && name == key.name && bytes.starts_with(&id)
        };
        self.signatures
            .iter()
            .map(|(name, bytes)| (*name, bytes.as_slice()))
            .filter(is_its)
            .map(|(_, bytes)| &bytes[4..])
    }

    /// Whether the log with this key signed it. A wrong signature by a known key makes the note wrong.
    pub fn is_signed_by(&self, log: &NoteKey) -> bool {
        let mut all =
            self.of(log, Role::Log).map(|bytes| log.key.verifies(self.text.as_bytes(), bytes)).peekable();
        all.peek().is_some() && all.all(|verifies| verifies)
    }

    /// When the witness with this key cosigned it last, in seconds since 1970; `None` when it did not.
    pub fn cosigned_s(&self, witness: &NoteKey) -> Option<u64> {
        let mut last_s = None;
        for bytes in self.of(witness, Role::Witness) {
            let (time, signature) = bytes.split_first_chunk()?;
            // Larger ones must not be (tlog-cosignature).
            let time_s = Some(u64::from_be_bytes(*time)).filter(|&time_s| time_s <= i64::MAX as u64)?;
            if !witness.key.verifies(cosigned(self.text, time_s).as_bytes(), signature) {
                return None;
            }
            last_s = last_s.max(Some(time_s));
        }
        last_s
    }
}

fn cosigned(text: &str, time_s: u64) -> String {
    format!("cosignature/v1\ntime {time_s}\n{text}")
}

fn line(name: &str, parts: &[&[u8]]) -> String {
    format!("{DASH}{name} {}\n", Base64::encode_string(&parts.concat()))
}

/// A checkpoint as a note signed by its log; `None` when the signer cannot, or signs no notes.
pub fn signed(checkpoint: &Checkpoint, signer: &dyn Signer) -> Option<String> {
    let log = NoteKey { name: checkpoint.origin.clone(), key: signer.public() };
    let text = checkpoint.text();
    let signature = signer.sign(text.as_bytes()).filter(|_| log.signs_notes())?;
    Some(format!("{text}\n{}", line(&log.name, &[&log.id(Role::Log), &signature])))
}

/// The line that a witness adds to a note with this text; `None` when the signer cannot, or signs no notes.
pub fn cosignature(text: &str, name: &str, signer: &dyn Signer, time_s: u64) -> Option<String> {
    let witness = NoteKey { name: name.into(), key: signer.public() };
    let signature = signer.sign(cosigned(text, time_s).as_bytes()).filter(|_| witness.signs_notes())?;
    Some(line(name, &[&witness.id(Role::Witness), &time_s.to_be_bytes(), &signature]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::MemoryKey;

    fn checkpoint() -> Checkpoint {
        Checkpoint { origin: "log.example/seals".into(), size: 7, root: digest(&[b"root"]) }
    }

    fn note_key(name: &str, signer: &MemoryKey) -> NoteKey {
        NoteKey { name: name.into(), key: signer.public() }
    }

    #[test]
    fn a_checkpoint_is_signed_and_witnessed() {
        let [log, witness, stranger] = [1, 2, 3].map(|n| MemoryKey::from_secret(&[n; 32]));
        let mut bytes = signed(&checkpoint(), &log).unwrap();
        bytes += &cosignature(&checkpoint().text(), "witness.example", &witness, 1_790_000_000).unwrap();
        let note = Note::parse(bytes.as_bytes()).unwrap();
        assert_eq!(Checkpoint::parse(note.text), Some(checkpoint()));
        let (log, witness) = (note_key("log.example/seals", &log), note_key("witness.example", &witness));
        assert!(note.is_signed_by(&log) && note.cosigned_s(&witness) == Some(1_790_000_000));
        for (name, key) in [("log.example/seals", stranger.public()), ("another", log.key)] {
            let other = NoteKey { name: name.into(), key };
            assert!(!note.is_signed_by(&other) && note.cosigned_s(&other).is_none(), "{name}");
        }
        assert!(!note.is_signed_by(&witness) && note.cosigned_s(&log).is_none(), "roles are not mixed");
        let altered = bytes.replacen("\n7\n", "\n8\n", 1);
        let altered = Note::parse(altered.as_bytes()).unwrap();
        assert!(!altered.is_signed_by(&log) && altered.cosigned_s(&witness).is_none());
    }

    #[cfg(feature = "sm")]
    #[test]
    fn a_key_of_another_algorithm_signs_no_note_and_verifies_none() {
        let sm2 = MemoryKey::new(Algorithm::Sm2, &[1; 32]).unwrap();
        let key = note_key("log.example/seals", &sm2);
        let text = checkpoint().text();
        assert_eq!(signed(&checkpoint(), &sm2), None);
        assert_eq!(cosignature(&text, "log.example/seals", &sm2, 7), None);
        assert_eq!(NoteKey::parse_log_verifier(&key.log_verifier()), None);
        // Nor if somebody writes one all the same.
        let signature = sm2.sign(text.as_bytes()).unwrap();
        let cosignature = sm2.sign(cosigned(&text, 7).as_bytes()).unwrap();
        let bytes = text.clone()
            + "\n"
            + &line(&key.name, &[&key.id(Role::Log), &signature])
            + &line(&key.name, &[&key.id(Role::Witness), &7_u64.to_be_bytes(), &cosignature]);
        let note = Note::parse(bytes.as_bytes()).unwrap();
        assert!(key.key.verifies(note.text.as_bytes(), &signature));
        assert!(!note.is_signed_by(&key) && note.cosigned_s(&key).is_none());
    }

    #[test]
    fn verifiers_are_read_as_they_are_written() {
        let key = note_key("log.example/seals", &MemoryKey::from_secret(&[1; 32]));
        let (log, witness) = (key.log_verifier(), key.witness_verifier());
        assert_eq!(NoteKey::parse_log_verifier(&log).as_ref(), Some(&key));
        assert_eq!(NoteKey::parse_witness_verifier(&witness), Some(key));
        // The key of Go's checksum database, as its tools carry it.
        let go = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
        assert_eq!(NoteKey::parse_log_verifier(go).unwrap().name, "sum.golang.org");
        for (bad, why) in [
            (witness.as_str(), "another role"),
            (&log.replace("log.example", "other.example"), "the id of another name"),
            (&log.to_uppercase(), "another spelling"),
            (&log[..log.len() - 4], "a short key"),
            (&log.replace('/', " "), "a space"),
            ("log.example/seals", "no key"),
            ("", "nothing"),
        ] {
            assert_eq!(NoteKey::parse_log_verifier(bad), None, "{why}");
        }
    }

    #[test]
    fn only_notes_are_notes() {
        let good = signed(&checkpoint(), &MemoryKey::from_secret(&[1; 32])).unwrap();
        assert!(Note::parse(good.as_bytes()).is_some());
        let line = good.lines().last().unwrap();
        let many = format!("{good}{}", format!("{line}\n").repeat(MAX_SIGNATURES));
        for (bad, why) in [
            (good.trim_end(), "no newline at the end"),
            (&good.replace("\n\n", "\n"), "no blank line"),
            (&good.replace('\u{2014}', "-"), "no dash"),
            (&good.replace("log.example/seals ", "a+b "), "a plus in the name"),
            (&good.replace("7\n", "7\r\n"), "a control character"),
            (&good.replace("\u{2014} log.example/seals", "\u{2014} log.example/seals AAAA"), "two words"),
            (&good.replace("log.example/seals ", "log\u{3000}example "), "a wide space in the name"),
            (&many, "too many lines"),
            ("", "nothing"),
        ] {
            assert!(bad != good && Note::parse(bad.as_bytes()).is_none(), "{why}");
        }
        for (text, why) in [
            ("o\n07\nAAAA\n", "a leading zero"),
            ("o\n+7\nAAAA\n", "a sign"),
            ("o\n7\nAAAA\n", "a short root"),
            ("\n7\nAAAA\n", "no name"),
            ("o\n7\n", "no root"),
        ] {
            assert_eq!(Checkpoint::parse(text), None, "{why}");
        }
    }
}
