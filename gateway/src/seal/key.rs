//! The key of the device: 32 secret random bytes in a file of its own that only the gateway reads.
//!
//! Whoever copies the file can sign receipts, so a secure element is better; it stands behind [`::seal::keys::Signer`]. No
//! stamp can be made with it: that takes a grant.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ::seal::keys::{MemoryKey, PublicKey, Signer};
use base64ct::{Base64, Encoding as _};

use super::hex;

/// What the file begins with.
const MARK: &str = "watchfire-seal-key-1 ";
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
    let decoded = body.and_then(|body| Base64::decode(body, &mut secret).ok());
    if decoded.is_none_or(|bytes| bytes.len() != 32) {
        return Err(KeyError::Damaged(path.into()));
    }
    Ok(MemoryKey::from_secret(&secret))
}

/// Makes a key where there is none.
///
/// # Errors
/// [`KeyError`].
pub fn make(path: &Path) -> Result<MemoryKey, KeyError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => KeyError::Exists(path.into()),
        _ => KeyError::Io { path: path.into(), error },
    };
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(KeyError::Random)?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    let text = format!("{MARK}{}\n", Base64::encode_string(&secret));
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    Ok(MemoryKey::from_secret(&secret))
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
        let made = make(&path).unwrap().public();
        assert_eq!(load(&path).unwrap().public(), made);
        assert!(matches!(make(&path), Err(KeyError::Exists(_))));
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
}
