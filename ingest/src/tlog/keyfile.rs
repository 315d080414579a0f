//! Keys under which notes are signed, each in a file of its own that only its owner can read.
//!
//! One line, as Go's tools write the secret of a signed note: `PRIVATE+KEY+name+id+base64 of the algorithm and the secret`.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64ct::{Base64, Encoding as _};
use seal::keys::{MemoryKey, Signer as _};
use seal::note::NoteKey;

const PREFIX: &str = "PRIVATE+KEY+";
/// Longest name of a key: it stands in every checkpoint.
const MAX_NAME: usize = 128;
/// Longest key file.
const MAX_FILE: u64 = 512;

/// What a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRole {
    /// Checkpoints of its own log.
    Log = 0x01,
    /// Checkpoints of others.
    Witness = 0x04,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file system.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// A name that cannot be.
    #[error(
        "{0:?} cannot name a key: 1 to {MAX_NAME} characters without spaces and plus signs, such as witness.example/w1"
    )]
    Name(String),
    /// A key is there already.
    #[error(
        "{0} is there already and is not overwritten: what was signed with its key could never be signed again"
    )]
    Exists(PathBuf),
    /// Others can read it.
    #[error("{0} can be read by others (mode {1:o}): chmod 600 it, or make a new key if somebody may have")]
    Open(PathBuf, u32),
    /// Not a key.
    #[error("{0} holds no {1:?} key; `ingest witness --new-key FILE --name NAME` makes one for a witness")]
    Content(PathBuf, KeyRole),
}

/// A key that was read.
pub struct NamedKey {
    /// The public half with its name.
    pub public: NoteKey,
    /// What signs.
    pub signer: MemoryKey,
}

impl NamedKey {
    fn of(name: &str, secret: &[u8; 32]) -> Self {
        let signer = MemoryKey::from_secret(secret);
        Self { public: NoteKey { name: name.into(), key: signer.public() }, signer }
    }
}

/// What others need to verify a key.
fn verifier(key: &NoteKey, role: KeyRole) -> String {
    match role {
        KeyRole::Log => key.log_verifier(),
        KeyRole::Witness => key.witness_verifier(),
    }
}

/// Makes a key under this name and writes it to a file that was not there. Returns what others need to verify it.
///
/// # Errors
/// [`KeyFileError`].
pub fn make(path: &Path, name: &str, role: KeyRole) -> Result<String, KeyFileError> {
    let is_name = (1..=MAX_NAME).contains(&name.len())
        && !name.contains(|c: char| c == '+' || c.is_whitespace() || c.is_control());
    if !is_name {
        return Err(KeyFileError::Name(name.into()));
    }
    let io = |error| KeyFileError::Io(path.into(), error);
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| io(std::io::Error::other(error.to_string())))?;
    let public = verifier(&NamedKey::of(name, &secret).public, role);
    // The name and the id of the verifier; what follows there is the public key, which may have plus signs.
    let named: Vec<&str> = public.splitn(3, '+').take(2).collect();
    let named = named.join("+");
    let line = format!("{PREFIX}{named}+{}\n", Base64::encode_string(&[&[role as u8], &secret[..]].concat()));
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = made.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => KeyFileError::Exists(path.into()),
        _ => io(error),
    })?;
    file.write_all(line.as_bytes()).and_then(|()| file.sync_all()).map_err(io)?;
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    crate::log::sync_folder(folder).map_err(io)?;
    Ok(public)
}

/// Reads a key.
///
/// # Errors
/// [`KeyFileError`].
pub fn load(path: &Path, role: KeyRole) -> Result<NamedKey, KeyFileError> {
    let io = |error| KeyFileError::Io(path.into(), error);
    let file = File::open(path).map_err(io)?;
    let mode = file.metadata().map_err(io)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Open(path.into(), mode));
    }
    let mut text = String::new();
    file.take(MAX_FILE).read_to_string(&mut text).map_err(io)?;
    parse(&text, role).ok_or_else(|| KeyFileError::Content(path.into(), role))
}

fn parse(text: &str, role: KeyRole) -> Option<NamedKey> {
    let rest = text.strip_suffix('\n').unwrap_or(text).strip_prefix(PREFIX)?;
    let mut parts = rest.splitn(3, '+');
    let (name, id, secret) = (parts.next()?, parts.next()?, parts.next()?);
    let bytes = Base64::decode_vec(secret).ok()?;
    let secret = <[u8; 32]>::try_from(bytes.strip_prefix(&[role as u8])?).ok()?;
    let key = NamedKey::of(name, &secret);
    verifier(&key.public, role).starts_with(&format!("{name}+{id}+")).then_some(key)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_read_by_its_owner_only() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("w.key");
        let public = make(&path, "witness.example/w1", KeyRole::Witness).unwrap();
        let key = load(&path, KeyRole::Witness).unwrap();
        assert_eq!(key.public.witness_verifier(), public);
        assert_eq!(key.signer.public(), key.public.key);
        assert!(matches!(load(&path, KeyRole::Log), Err(KeyFileError::Content(..))));
        let again = make(&path, "witness.example/w1", KeyRole::Witness);
        assert!(matches!(again, Err(KeyFileError::Exists(_))));
        let other = make(&folder.path().join("w2.key"), "witness.example/w1", KeyRole::Witness).unwrap();
        assert_ne!(other, public, "keys are random");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(load(&path, KeyRole::Witness), Err(KeyFileError::Open(_, 0o640))));
        for name in ["", "two words", "a+b", &"n".repeat(MAX_NAME + 1)] {
            let refused = make(&folder.path().join("bad"), name, KeyRole::Log);
            assert!(matches!(refused, Err(KeyFileError::Name(_))), "{name}");
        }
    }

    #[test]
    fn what_is_no_key_is_not_read() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("log.key");
        make(&path, "log.example", KeyRole::Log).unwrap();
        let good = fs::read_to_string(&path).unwrap();
        assert!(parse(&good, KeyRole::Log).is_some());
        for bad in [
            good.replace("log.example", "other.example"),
            good.replace(PREFIX, ""),
            good[..good.len() - 5].to_owned(),
            String::new(),
            format!("{PREFIX}a"),
        ] {
            assert!(parse(&bad, KeyRole::Log).is_none(), "{bad}");
        }
    }
}
