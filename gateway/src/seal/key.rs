//! The key of the device: 32 secret random bytes in a file of its own that only the gateway reads. Before those of an SM2 key
//! stands its word.
//!
//! Whoever copies the file can sign receipts, so a secure element is better; it stands behind [`::seal::keys::Signer`]. No
//! stamp can be made with it: that takes a grant.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ::seal::keys::{Algorithm, MemoryKey, PublicKey, Signer};
use base64ct::{Base64, Encoding as _};

use super::hex;

/// What the file begins with.
const MARK: &str = "watchfire-seal-key-1 ";
/// What follows in the file of an SM2 key. Who reads Ed25519 keys only finds it damaged.
const SM2: &str = "sm2 ";
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
        "{0} 已损坏 is damaged: \"{MARK}\" and 32 bytes in base64 expected; put back what was saved, or make a new one and enrol it"
    )]
    Damaged(PathBuf),
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

/// Reads the key.
///
/// # Errors
/// [`KeyError`].
pub fn load(path: &Path) -> Result<MemoryKey, KeyError> {
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
    let mut secret = [0; 32];
    let body = text.strip_prefix(MARK).and_then(|rest| rest.strip_suffix('\n'));
    let (algorithm, body) = match body.and_then(|body| body.strip_prefix(SM2)) {
        Some(body) => (Algorithm::Sm2, Some(body)),
        None => (Algorithm::Ed25519, body),
    };
    if !algorithm.is_built_in() {
        return Err(KeyError::Lacking(path.into()));
    }
    let decoded = body.and_then(|body| Base64::decode(body, &mut secret).ok());
    let key = decoded.and_then(|bytes| MemoryKey::new(algorithm, bytes.try_into().ok()?));
    key.ok_or_else(|| KeyError::Damaged(path.into()))
}

/// Makes a key of an algorithm that this build has, where there is none.
///
/// # Errors
/// [`KeyError`].
pub fn make(path: &Path, algorithm: Algorithm) -> Result<MemoryKey, KeyError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => KeyError::Exists(path.into()),
        _ => KeyError::Io { path: path.into(), error },
    };
    if !algorithm.is_built_in() {
        return Err(KeyError::Lacking(path.into()));
    }
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(KeyError::Random)?;
    let key = MemoryKey::new(algorithm, &secret).ok_or(KeyError::Unlucky)?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    let word = if algorithm == Algorithm::Sm2 { SM2 } else { "" };
    let text = format!("{MARK}{word}{}\n", Base64::encode_string(&secret));
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    Ok(key)
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
    let digits = hex(&key.id()[..]);
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
            assert!(matches!(load(&path), Err(KeyError::Damaged(_))), "{text:?}");
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
        let sm2 = write(format!("{MARK}{SM2}{secret}\n"));
        fs::remove_file(&path).unwrap();
        let made = make(&path, Algorithm::Sm2);
        if Algorithm::Sm2.is_built_in() {
            assert!(matches!(sm2.unwrap().public(), PublicKey::Sm2(_)));
            let public = made.unwrap().public();
            assert_eq!(load(&path).unwrap().public(), public);
            assert!(words(&load(&path).unwrap()).contains("sm2:"));
            let none = Base64::encode_string(&[0xff; 32]);
            assert!(matches!(write(format!("{MARK}{SM2}{none}\n")), Err(KeyError::Damaged(_))));
        } else {
            assert!(matches!(sm2, Err(KeyError::Lacking(_))));
            assert!(matches!(made, Err(KeyError::Lacking(_))) && !path.exists());
        }
    }
}
