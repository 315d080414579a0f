//! The checkpoint file: the commit point.
//!
//! ```text
//! offset  bytes  meaning (numbers little-endian)
//!      0      8  magic "WFCKPT\0\3": the last two bytes are the version
//!      8      8  log position up to which everything but windows is in the body, in the tables, in Parquet, or in SQL
//!     16      8  Parquet files written so far
//!     24      8  readings in them
//!     32      8  log position from which on newest readings may be missing in the tables
//!     40      8  log position up to which windows are in Parquet
//!     48      8  length of the map
//!     56      8  length of the body
//!     64      m  map: which pages of the tables count, see [`super::tables`]
//!   64+m      n  body: see [`crate::pool::snapshot`]
//! 64+m+n      4  CRC-32C over all before
//! ```
//!
//! Version 2 wrote windows as often as readings and has no position of their own: its lengths lie 8 bytes earlier.
//! Version 1 had no tables: its head ends with the length of the body, which holds the sensors too. Both are read.
//!
//! Written aside, synced, renamed over the old one, folder synced: there is always exactly one whole checkpoint.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::tables::Map;
use crate::log::sync_folder;
use crate::pool::apply::{decode, encode};

const MAGIC: [u8; 8] = *b"WFCKPT\x00\x03";
const HEAD: usize = 64;
const MAGIC_2: [u8; 8] = *b"WFCKPT\x00\x02";
const HEAD_2: usize = 56;
const MAGIC_1: [u8; 8] = *b"WFCKPT\x00\x01";
const HEAD_1: usize = 40;

/// What a checkpoint says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) position: u64,
    pub(super) files: u64,
    pub(super) rows: u64,
    pub(super) missing_from: u64,
    pub(super) windows_kept: u64,
    pub(super) map: Map,
    pub(super) body: Vec<u8>,
}

pub(super) fn path(data: &Path) -> PathBuf {
    data.join("checkpoint")
}

impl Checkpoint {
    /// Replaces the checkpoint in `data`.
    pub(super) fn write(&self, data: &Path) -> io::Result<()> {
        let map = encode(&self.map);
        let mut bytes = Vec::with_capacity(HEAD + map.len() + self.body.len() + 4);
        bytes.extend_from_slice(&MAGIC);
        let lengths = [map.len() as u64, self.body.len() as u64];
        let numbers = [self.position, self.files, self.rows, self.missing_from, self.windows_kept];
        for number in numbers.into_iter().chain(lengths) {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&map);
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
        let versions = [(MAGIC_1, HEAD_1), (MAGIC_2, HEAD_2), (MAGIC, HEAD)];
        let Some((magic, head)) = versions.into_iter().find(|(magic, _)| bytes.starts_with(magic)) else {
            return Err(match bytes.strip_prefix(&MAGIC[..7]) {
                Some([version, ..]) => format!(
                    "it is of version {version}, and this build reads 1 to {}: start the newer ingest that wrote it",
                    MAGIC[7]
                ),
                _ => "it does not begin with WFCKPT, as a checkpoint does".into(),
            });
        };
        if bytes.len() < head + 4 {
            return Err(format!("it has {} bytes, at least {} expected", bytes.len(), head + 4));
        }
        let number = |at: usize| {
            let mut eight = [0; 8];
            eight.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(eight)
        };
        let (position, files, rows) = (number(8), number(16), number(24));
        let (missing_from, windows_kept, map_length, length) = match magic {
            MAGIC_1 => (position, position, 0, number(32)),
            MAGIC_2 => (number(32), position, number(40), number(48)),
            _ => (number(32), number(40), number(48), number(56)),
        };
        let end = bytes.len() - 4;
        let body = usize::try_from(map_length).ok().and_then(|map| head.checked_add(map));
        let Some(body) = body.filter(|&body| body <= end && length == (end - body) as u64) else {
            let there = end - head;
            return Err(format!("map and body have {there} bytes, {map_length} and {length} expected"));
        };
        let mut four = [0; 4];
        four.copy_from_slice(&bytes[end..]);
        if u32::from_le_bytes(four) != wire::frame::crc32c(&bytes[..end]) {
            return Err("its checksum does not match".into());
        }
        let map = if magic == MAGIC_1 { Some(Map::default()) } else { decode(&bytes[head..body]) };
        let map = map.ok_or("its map cannot be read")?;
        bytes.truncate(end);
        bytes.drain(..body);
        Ok(Some(Self { position, files, rows, missing_from, windows_kept, map, body: bytes }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tables::Tables;
    use super::*;
    use crate::pool::pages::{Page, PageKind};

    #[test]
    fn it_comes_back_whole_or_says_why_not() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Checkpoint::read(folder.path()), Ok(None));
        let page = Page { kind: PageKind::Names, number: 1, bytes: vec![7] };
        let map = Tables::open(folder.path(), Map::default()).unwrap().write(&[page]).unwrap();
        let (missing_from, windows_kept, body) = (5, 6, vec![1, 2, 3]);
        let checkpoint = Checkpoint { position: 7, files: 2, rows: 9, missing_from, windows_kept, map, body };
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
        let mut newer = good.clone();
        newer[7] = 9;
        for (bytes, expected) in [(newer.as_slice(), "of version 9"), (b"something", "not begin with WFCKPT")]
        {
            fs::write(path(folder.path()), bytes).unwrap();
            let error = Checkpoint::read(folder.path()).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        fs::write(path(folder.path()), &good[..20]).unwrap();
        assert!(Checkpoint::read(folder.path()).is_err());
    }

    #[test]
    fn earlier_versions_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let map = encode(&Map::default());
        // As the last ingests without tables and with windows in every cut wrote it: position 7, 2 files, 9 readings,
        // of the second newest readings from 5 on, a body of 3 bytes.
        for (version, rest, missing_from, map) in
            [(1, vec![3], 7, vec![]), (2, vec![5, map.len() as u64, 3], 5, map)]
        {
            let mut bytes = b"WFCKPT\x00".to_vec();
            bytes.push(version);
            bytes.extend([7, 2, 9].into_iter().chain(rest).flat_map(u64::to_le_bytes));
            bytes.extend(map);
            bytes.extend([1, 2, 3]);
            bytes.extend(wire::frame::crc32c(&bytes).to_le_bytes());
            fs::write(path(folder.path()), bytes).unwrap();
            let (map, body) = (Map::default(), vec![1, 2, 3]);
            let expected =
                Checkpoint { position: 7, files: 2, rows: 9, missing_from, windows_kept: 7, map, body };
            assert_eq!(Checkpoint::read(folder.path()), Ok(Some(expected)), "version {version}");
        }
    }
}
