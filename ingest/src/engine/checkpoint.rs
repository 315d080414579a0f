//! The checkpoint file: the commit point.
//!
//! ```text
//! offset  bytes  meaning (numbers little-endian)
//!      0      8  magic "WFCKPT\0\1": the last two bytes are the version
//!      8      8  log position up to which everything is in the body, in Parquet, or in SQL
//!     16      8  Parquet files written so far
//!     24      8  readings in them
//!     32      8  length of the body
//!     40      n  body: see [`crate::pool::snapshot`]
//!   40+n      4  CRC-32C over all before
//! ```
//!
//! Written aside, synced, renamed over the old one, folder synced: there is always exactly one whole checkpoint.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::log::sync_folder;

const MAGIC: [u8; 8] = *b"WFCKPT\x00\x01";
const HEAD: usize = 40;

/// What a checkpoint says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) position: u64,
    pub(super) files: u64,
    pub(super) rows: u64,
    pub(super) body: Vec<u8>,
}

pub(super) fn path(data: &Path) -> PathBuf {
    data.join("checkpoint")
}

impl Checkpoint {
    /// Replaces the checkpoint in `data`.
    pub(super) fn write(&self, data: &Path) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(HEAD + self.body.len() + 4);
        bytes.extend_from_slice(&MAGIC);
        for number in [self.position, self.files, self.rows, self.body.len() as u64] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.body);
        let crc = wire::frame::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        let aside = data.join("checkpoint.new");
        let mut file = File::create(&aside)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&aside, path(data))?;
        sync_folder(data)
    }

    /// Reads the checkpoint in `data`; `None` when there is none yet.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub(super) fn read(data: &Path) -> Result<Option<Self>, String> {
        let mut bytes = match fs::read(path(data)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        if bytes.len() < HEAD + 4 {
            return Err(format!("it has {} bytes, at least {} expected", bytes.len(), HEAD + 4));
        }
        if bytes[..8] != MAGIC {
            return Err("it is not a checkpoint of this version".into());
        }
        let number = |at: usize| {
            let mut eight = [0; 8];
            eight.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(eight)
        };
        let (position, files, rows, length) = (number(8), number(16), number(24), number(32));
        let end = bytes.len() - 4;
        if length != (end - HEAD) as u64 {
            return Err(format!("its body has {} bytes, {length} expected", end - HEAD));
        }
        let mut four = [0; 4];
        four.copy_from_slice(&bytes[end..]);
        if u32::from_le_bytes(four) != wire::frame::crc32c(&bytes[..end]) {
            return Err("its checksum does not match".into());
        }
        bytes.truncate(end);
        bytes.drain(..HEAD);
        Ok(Some(Self { position, files, rows, body: bytes }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_whole_or_says_why_not() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Checkpoint::read(folder.path()), Ok(None));
        let checkpoint = Checkpoint { position: 7, files: 2, rows: 9, body: vec![1, 2, 3] };
        checkpoint.write(folder.path()).unwrap();
        assert_eq!(Checkpoint::read(folder.path()), Ok(Some(checkpoint.clone())));
        Checkpoint { position: 8, ..checkpoint.clone() }.write(folder.path()).unwrap();
        assert_eq!(Checkpoint::read(folder.path()).unwrap().unwrap().position, 8);
        let good = fs::read(path(folder.path())).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            fs::write(path(folder.path()), &bad).unwrap();
            assert!(Checkpoint::read(folder.path()).is_err(), "byte {at}");
        }
        fs::write(path(folder.path()), &good[..20]).unwrap();
        assert!(Checkpoint::read(folder.path()).is_err());
    }
}
