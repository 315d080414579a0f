//! Keys: 32 secret random bytes in a file of its own that only the gateway reads.
//!
//! - The key of the device. Whoever copies the file can sign receipts, so a secure element is better; it stands behind
//!   [`::seal::keys::Signer`]. No stamp can be made with it: that takes a grant.
//! - The key of the serial lines to seals that are devices of their own. Whoever copies it can pass for this gateway there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ::line::noise::{Public, Secret};
use ::seal::keys::{Algorithm, MemoryKey, PublicKey, Signer, digest};
use base64ct::{Base64, Base64UrlUnpadded, Encoding as _};

use super::hex;

/// What the file of a device's key begins with.
const MARK: &str = "watchfire-seal-key-1 ";
/// The same of an SM2 key. Who reads Ed25519 keys only finds it damaged.
const SM2_MARK: &str = "watchfire-seal-key-1 sm2 ";
/// What the file of a line's key begins with.
const LINE_MARK: &str = "watchfire-line-key-1 ";
/// What the public key of a line begins with: nobody takes it for the key of a device.
const LINE: &str = "line-";
/// Bytes of the name of a line's key: five groups on the telephone, and nobody finds another key of the same name.
const LINE_NAME_BYTES: usize = 10;
/// Longest file that can be one.
const MAX_FILE: u64 = 256;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It was not made yet.
    #[error("{0} 不存在：请先运行 gateway seal init --config FILE  is missing: run gateway seal init first")]
    Missing(PathBuf),
    /// It is there already, and is never overwritten.
    #[error(
        "{0} 已存在，不会覆盖 exists and is never overwritten: a seal has one key for its life; move it away by hand to begin anew"
    )]
    Exists(PathBuf),
    /// Others can read it.
    #[error(
        "{path} 权限为 {mode:03o}，应为 600 has mode {mode:03o}, 600 expected: others may have read it; chmod 600, or make a new one and enrol it"
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// What is there is not what was written.
    #[error(
        "{path} 已损坏 is damaged: \"{mark}\" and 32 bytes in base64 expected; put back what was saved, or make a new one and enrol it"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What it begins with.
        mark: &'static str,
    },
    /// It is of an algorithm that this build lacks.
    #[error(
        "{0} 是 SM2 密钥，而本程序编译时未启用国密特性 sm is a key of SM2, which this build lacks: build the gateway with --features sm"
    )]
    Lacking(PathBuf),
    /// The disk.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        error: io::Error,
    },
    /// The system's source of chance.
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
    /// Once in four thousand million times random bytes are no key of SM2.
    #[error("随机数不能作为密钥，请重试 these random bytes are no key of SM2: run it again")]
    Unlucky,
}

/// Reads the key of the device.
///
/// # Errors
/// [`KeyError`].
pub fn load(path: &Path) -> Result<MemoryKey, KeyError> {
    let text = text_of(path)?;
    let is_sm2 = text.starts_with(SM2_MARK);
    let (algorithm, mark) = if is_sm2 { (Algorithm::Sm2, SM2_MARK) } else { (Algorithm::Ed25519, MARK) };
    if !algorithm.is_built_in() {
        return Err(KeyError::Lacking(path.into()));
    }
    let key = MemoryKey::new(algorithm, &secret_in(&text, path, mark)?);
    key.ok_or_else(|| KeyError::Damaged { path: path.into(), mark })
}

/// Makes the key of the device, of an algorithm that this build has, where there is none.
///
/// # Errors
/// [`KeyError`].
pub fn make(path: &Path, algorithm: Algorithm) -> Result<MemoryKey, KeyError> {
    if !algorithm.is_built_in() {
        return Err(KeyError::Lacking(path.into()));
    }
    let secret = random()?;
    let key = MemoryKey::new(algorithm, &secret).ok_or(KeyError::Unlucky)?;
    keep(path, if algorithm == Algorithm::Sm2 { SM2_MARK } else { MARK }, &secret)?;
    Ok(key)
}

/// The key of the serial lines of the gateway, or of a seal, with this data folder. It is made when it is missing: nobody
/// believes it before its public half was given to the other end.
///
/// # Errors
/// [`KeyError`].
pub fn of_lines(data: &Path) -> Result<Secret, KeyError> {
    let path = data.join("line.key");
    match text_of(&path) {
        Err(KeyError::Missing(_)) => {
            let secret = random()?;
            keep(&path, LINE_MARK, &secret)?;
            Ok(secret)
        }
        text => secret_in(&text?, &path, LINE_MARK),
    }
}

fn random() -> Result<[u8; 32], KeyError> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(KeyError::Random)?;
    Ok(secret)
}

/// What is in a file that nobody else reads.
fn text_of(path: &Path) -> Result<String, KeyError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => KeyError::Missing(path.into()),
        _ => KeyError::Io { path: path.into(), error },
    };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Open { path: path.into(), mode });
    }
    let mut text = String::new();
    file.take(MAX_FILE).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

fn secret_in(text: &str, path: &Path, mark: &'static str) -> Result<[u8; 32], KeyError> {
    let mut secret = [0; 32];
    let body = text.strip_prefix(mark).and_then(|rest| rest.strip_suffix('\n'));
    let decoded = body.and_then(|body| Base64::decode(body, &mut secret).ok());
    if decoded.is_none_or(|bytes| bytes.len() != 32) {
        return Err(KeyError::Damaged { path: path.into(), mark });
    }
    Ok(secret)
}

/// Writes a new file that nobody else reads, and has it on stable storage.
fn keep(path: &Path, mark: &str, secret: &[u8; 32]) -> Result<(), KeyError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => KeyError::Exists(path.into()),
        _ => KeyError::Io { path: path.into(), error },
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    let text = format!("{mark}{}\n", Base64::encode_string(secret));
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

/// What is enrolled with the authority, and what two people compare on the telephone.
pub fn words(key: &dyn Signer) -> String {
    let public = key.public();
    format!(
        "公钥 public key     {}\n指纹 fingerprint    {}\n",
        configs::roots::key_text(&public),
        fingerprint(&public)
    )
}

/// The name of a key in groups of four digits.
pub fn fingerprint(key: &PublicKey) -> String {
    grouped(&key.id()[..])
}

/// What is given to the other end of a line, and what two people compare.
pub fn line_words(key: &Public) -> String {
    format!("线路公钥 line key       {}\n线路指纹 fingerprint    {}\n", line_text(key), line_fingerprint(key))
}

/// The public key of a line as it stands in configurations.
pub fn line_text(key: &Public) -> String {
    format!("{LINE}{}", Base64UrlUnpadded::encode_string(key))
}

/// Reads the public key of a line.
///
/// # Errors
/// What is expected.
pub fn read_line_key(text: &str) -> Result<Public, String> {
    let mut key = [0; 32];
    let decoded = text
        .strip_prefix(LINE)
        .and_then(|body| Base64UrlUnpadded::decode(body, &mut key).ok())
        .map(<[u8]>::len);
    // Zeros are the key of nobody: whoever has it could be anybody.
    if decoded == Some(32) && key != [0; 32] {
        return Ok(key);
    }
    Err(format!("{text:?} is no key of a line: {LINE:?} and 43 characters expected, as the seal shows it"))
}

/// The name of a line's key in groups of four digits.
pub fn line_fingerprint(key: &Public) -> String {
    let name = digest(&[b"watchfire line key 1", key]);
    grouped(name.get(..LINE_NAME_BYTES).unwrap_or_default())
}

fn grouped(bytes: &[u8]) -> String {
    let digits = hex(bytes);
    digits.as_bytes().chunks(4).map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_nobody_else_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data").join("seal.key");
        assert!(matches!(load(&path), Err(KeyError::Missing(_))));
        let made = make(&path, Algorithm::Ed25519).unwrap().public();
        assert_eq!(load(&path).unwrap().public(), made);
        assert!(matches!(make(&path, Algorithm::Ed25519), Err(KeyError::Exists(_))));
        assert_eq!(load(&path).unwrap().public(), made);
        assert_eq!(fingerprint(&made).len(), 19);

        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(load(&path), Err(KeyError::Open { mode: 0o640, .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let whole = fs::read_to_string(&path).unwrap();
        for text in ["", MARK, &whole[1..], &whole[..whole.len() - 2], &format!("{whole}x")] {
            fs::write(&path, text).unwrap();
            assert!(matches!(load(&path), Err(KeyError::Damaged { .. })), "{text:?}");
        }
    }

    #[test]
    fn a_key_says_its_algorithm() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seal.key");
        let write = |text: String| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            load(&path)
        };
        // As it was written before there were others.
        let secret = Base64::encode_string(&[7; 32]);
        let old = write(format!("{MARK}{secret}\n")).unwrap().public();
        assert_eq!(old, MemoryKey::from_secret(&[7; 32]).public());
        let sm2 = write(format!("{SM2_MARK}{secret}\n"));
        fs::remove_file(&path).unwrap();
        let made = make(&path, Algorithm::Sm2);
        if Algorithm::Sm2.is_built_in() {
            assert!(matches!(sm2.unwrap().public(), PublicKey::Sm2(_)));
            let public = made.unwrap().public();
            assert_eq!(load(&path).unwrap().public(), public);
            assert!(words(&load(&path).unwrap()).contains("sm2:"));
            let none = Base64::encode_string(&[0xff; 32]);
            assert!(matches!(write(format!("{SM2_MARK}{none}\n")), Err(KeyError::Damaged { .. })));
        } else {
            assert!(matches!(sm2, Err(KeyError::Lacking(_))));
            assert!(matches!(made, Err(KeyError::Lacking(_))) && !path.exists());
        }
    }

    #[test]
    fn a_line_has_a_key_of_its_own_from_the_first_look() {
        let folder = tempfile::tempdir().unwrap();
        let made = of_lines(folder.path()).unwrap();
        assert_eq!(of_lines(folder.path()).unwrap(), made);
        fs::set_permissions(folder.path().join("line.key"), fs::Permissions::from_mode(0o604)).unwrap();
        assert!(
            matches!(of_lines(folder.path()), Err(KeyError::Open { mode: 0o604, .. })),
            "never a new one"
        );

        let public = ::line::noise::public(&made);
        assert_eq!(read_line_key(&line_text(&public)), Ok(public));
        assert_eq!(line_fingerprint(&public).len(), 24);
        let device = MemoryKey::from_secret(&made).public();
        let zeros = line_text(&[0; 32]);
        for text in ["", LINE, &configs::roots::key_text(&device), &zeros, &line_text(&public)[..47]] {
            assert!(read_line_key(text).is_err(), "{text:?}");
        }
    }
}
