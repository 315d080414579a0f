//! Keys under which notes, grants and rules are signed, each in a file of its own that only its owner can read.
//!
//! One line, as Go's tools write the secret of a signed note: `PRIVATE+KEY+name+id+base64 of the algorithm and the secret`.
//! Keys of SM2 sign no notes, and no tool of others would know them: `PRIVATE+SM2+name+id+base64 of the secret`.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64ct::{Base64, Encoding as _};
use seal::keys::{Algorithm, MemoryKey, PublicKey, Signer as _};
use seal::note::NoteKey;

const PREFIX: &str = "PRIVATE+KEY+";
const PREFIX_SM2: &str = "PRIVATE+SM2+";
/// Longest name of a key: it stands in every checkpoint.
const MAX_NAME: usize = 128;
/// Longest key file.
const MAX_FILE: u64 = 512;

/// What a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRole {
    /// Checkpoints of its own log.
    Log,
    /// Checkpoints of others.
    Witness,
    /// Grants, notices or rules: no notes, so it may be a key of SM2 too.
    Signer,
}

impl KeyRole {
    /// The algorithm of signed notes. Signers have always had that of a log.
    fn byte(self) -> u8 {
        match self {
            KeyRole::Log | KeyRole::Signer => 0x01,
            KeyRole::Witness => 0x04,
        }
    }
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
    /// A key of SM2 where notes are signed.
    #[error(
        "{0} 是 SM2 密钥，日志与见证只用 Ed25519 holds a key of SM2: logs and witnesses sign with Ed25519 only"
    )]
    NoNotes(PathBuf),
    /// A key of an algorithm that this build lacks.
    #[error(
        "{0} 是 SM2 密钥，而本程序编译时未启用国密特性 sm holds a key of SM2, which this build lacks: build it with --features sm"
    )]
    Lacking(PathBuf),
}

/// A key that was read.
pub struct NamedKey {
    /// The public half with its name. One of SM2 signs no notes.
    pub public: NoteKey,
    /// What signs.
    pub signer: MemoryKey,
}

impl NamedKey {
    fn of(name: &str, signer: MemoryKey) -> Self {
        Self { public: NoteKey { name: name.into(), key: signer.public() }, signer }
    }
}

/// What others need to verify a key.
fn verifier(key: &NoteKey, role: KeyRole) -> String {
    match role {
        KeyRole::Log | KeyRole::Signer => key.log_verifier(),
        KeyRole::Witness => key.witness_verifier(),
    }
}

/// Makes a key under this name and writes it to a file that was not there. Returns what others need to verify it.
///
/// # Errors
/// [`KeyFileError`].
pub fn make(path: &Path, name: &str, role: KeyRole) -> Result<String, KeyFileError> {
    let (secret, key) = random(path, name, Algorithm::Ed25519)?;
    let public = verifier(&key.public, role);
    // The name and the id of the verifier; what follows there is the public key, which may have plus signs.
    let named: Vec<&str> = public.splitn(3, '+').take(2).collect();
    let named = named.join("+");
    let secret = Base64::encode_string(&[&[role.byte()], &secret[..]].concat());
    write(path, &format!("{PREFIX}{named}+{secret}\n"))?;
    Ok(public)
}

/// Makes a key that signs no notes, as [`make`] does. Returns its public half.
///
/// # Errors
/// [`KeyFileError`].
pub fn make_sm2(path: &Path, name: &str) -> Result<PublicKey, KeyFileError> {
    let (secret, key) = random(path, name, Algorithm::Sm2)?;
    let public = key.public.key;
    write(path, &format!("{PREFIX_SM2}{name}+{}+{}\n", id_of(&public), Base64::encode_string(&secret)))?;
    Ok(public)
}

/// The id of a key that signs no notes: how its own begins.
fn id_of(key: &PublicKey) -> String {
    let [a, b, c, d, ..] = *key.id();
    format!("{:08x}", u32::from_be_bytes([a, b, c, d]))
}

/// A new key under this name, and its secret.
fn random(path: &Path, name: &str, algorithm: Algorithm) -> Result<([u8; 32], NamedKey), KeyFileError> {
    let is_name = (1..=MAX_NAME).contains(&name.len())
        && !name.contains(|c: char| c == '+' || c.is_whitespace() || c.is_control());
    if !is_name {
        return Err(KeyFileError::Name(name.into()));
    }
    if !algorithm.is_built_in() {
        return Err(KeyFileError::Lacking(path.into()));
    }
    let failed = |why: String| KeyFileError::Io(path.into(), io::Error::other(why));
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| failed(error.to_string()))?;
    // Once in four thousand million times.
    let signer = MemoryKey::new(algorithm, &secret);
    let signer = signer.ok_or_else(|| failed("these random bytes are no key of SM2: run it again".into()))?;
    Ok((secret, NamedKey::of(name, signer)))
}

/// Writes a file that was not there.
fn write(path: &Path, line: &str) -> Result<(), KeyFileError> {
    let io = |error| KeyFileError::Io(path.into(), error);
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = made.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => KeyFileError::Exists(path.into()),
        _ => io(error),
    })?;
    file.write_all(line.as_bytes()).and_then(|()| file.sync_all()).map_err(io)?;
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    crate::log::sync_folder(folder).map_err(io)
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
    if text.starts_with(PREFIX_SM2) {
        if role != KeyRole::Signer {
            return Err(KeyFileError::NoNotes(path.into()));
        }
        if !Algorithm::Sm2.is_built_in() {
            return Err(KeyFileError::Lacking(path.into()));
        }
        return parse_sm2(&text).ok_or_else(|| KeyFileError::Content(path.into(), role));
    }
    parse(&text, role).ok_or_else(|| KeyFileError::Content(path.into(), role))
}

/// The name, the id and the bytes of a line.
fn parts<'t>(text: &'t str, prefix: &str) -> Option<(&'t str, &'t str, Vec<u8>)> {
    let rest = text.strip_suffix('\n').unwrap_or(text).strip_prefix(prefix)?;
    let mut parts = rest.splitn(3, '+');
    let (name, id, secret) = (parts.next()?, parts.next()?, parts.next()?);
    Some((name, id, Base64::decode_vec(secret).ok()?))
}

fn parse_sm2(text: &str) -> Option<NamedKey> {
    let (name, id, secret) = parts(text, PREFIX_SM2)?;
    let signer = MemoryKey::new(Algorithm::Sm2, &secret.try_into().ok()?)?;
    (id_of(&signer.public()) == id).then(|| NamedKey::of(name, signer))
}

fn parse(text: &str, role: KeyRole) -> Option<NamedKey> {
    let (name, id, bytes) = parts(text, PREFIX)?;
    let secret = <[u8; 32]>::try_from(bytes.strip_prefix(&[role.byte()])?).ok()?;
    let key = NamedKey::of(name, MemoryKey::from_secret(&secret));
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
    fn a_key_of_sm2_signs_anything_but_notes() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("issuer.key");
        // Of the secret number 1: the base point of the curve.
        let line = format!("{PREFIX_SM2}issuer+14962f08+{}=\n", "A".repeat(42) + "E");
        let mut fresh = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
        fresh.write_all(line.as_bytes()).unwrap();
        for role in [KeyRole::Log, KeyRole::Witness] {
            assert!(matches!(load(&path, role), Err(KeyFileError::NoNotes(_))), "{role:?}");
        }
        let (made, other) = (load(&path, KeyRole::Signer), folder.path().join("other.key"));
        if !Algorithm::Sm2.is_built_in() {
            assert!(matches!(made, Err(KeyFileError::Lacking(_))));
            assert!(matches!(make_sm2(&other, "issuer"), Err(KeyFileError::Lacking(_))));
            assert!(!other.exists());
            return;
        }
        let public = made.unwrap().public;
        assert_eq!((public.name.as_str(), id_of(&public.key).as_str()), ("issuer", "14962f08"));
        let public = make_sm2(&other, "issuer").unwrap();
        let again = load(&other, KeyRole::Signer).unwrap();
        assert_eq!((again.signer.public(), again.public.key), (public, public));
        assert!(matches!(make_sm2(&other, "issuer"), Err(KeyFileError::Exists(_))));
        for bad in [
            line.replace("14962f08", "14962f00"),
            line.replace("E=", "A="),
            line.replace("issuer+", ""),
            line.replace("AAAA", ""),
        ] {
            assert!(bad != line && parse_sm2(&bad).is_none(), "{bad}");
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
