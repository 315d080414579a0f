//! The record of everything a disk was sent, and the image that a power cut leaves of it.
//!
//! The format is that of Linux dm-log-writes, as QEMU's blklogwrites writes it; little-endian, in sectors of the log:
//! ```text
//! sector 0    magic u64, version u64, entries u64, bytes of a sector u32
//! each entry  a sector: where u64, sectors u64, flags u64, length of a mark u64; then the data, if it has any
//! ```
//! The disk is thought to have a volatile cache. What was sent before the last flush is on it. What came after that
//! flush may be lost, each write by itself, so that writes also change places; a survivor may be torn at a sector.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, ensure};
use fastrand::Rng;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
const MARK: u64 = 8;
/// Bytes of an entry that say anything.
const ENTRY_BYTES: usize = 32;

/// One thing the disk was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    /// Where on the disk, in bytes.
    to: u64,
    /// How much, in bytes; 0 without data.
    bytes: u64,
    /// Where its data lies in the log.
    at: u64,
    flags: u64,
}

/// A recorded disk.
#[derive(Debug)]
pub struct WriteLog {
    file: File,
    sector_bytes: u64,
    entries: Vec<Entry>,
}

/// A power cut and what the disk made of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cut {
    /// The first entry that never came.
    pub at: usize,
    /// Chance that a write after the last flush is lost.
    pub loss: f64,
    /// Whether survivors are torn, with the same chance.
    pub tear: bool,
    /// Seed of the chances.
    pub seed: u64,
}

impl Cut {
    /// Cut number `case` of a recording whose first promise is entry `begun`: all over the recording, more often before
    /// that promise, and around flushes.
    pub fn of_case(log: &WriteLog, begun: usize, seed: u64, case: u64) -> Self {
        let mut random = Rng::with_seed(seed ^ case.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let end = log.len();
        let flushes = log.flushes();
        let at = match case % 5 {
            0 => random.usize(1..=begun),
            // The flush after any entry: long stretches without one are hit more often.
            1 => {
                let entry = random.usize(begun..=end);
                let next = flushes.get(flushes.partition_point(|&flush| flush < entry));
                next.unwrap_or(&end) + random.usize(0..=1)
            }
            _ => random.usize(begun..=end),
        };
        let fates = [(0.5, false), (0.5, true), (1.0, false), (0.0, false), (0.1, true), (0.9, false)];
        let (loss, tear) = fates[random.usize(..fates.len())];
        Self { at: at.min(end), loss, tear, seed: random.u64(..) }
    }
}

impl WriteLog {
    /// Reads the index of a log; data stays in the file.
    ///
    /// # Errors
    /// Of the file system, and when it is no such log.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| path.display().to_string())?;
        let mut head = [0; 28];
        file.read_exact_at(&mut head, 0)?;
        let (magic, count) = (number(&head, 0), number(&head, 16));
        let sector_bytes = number(&head, 20) >> 32;
        ensure!(
            magic == MAGIC && number(&head, 8) == 1 && sector_bytes >= 512,
            "{} is no write log: magic {magic:#x}, expected {MAGIC:#x}",
            path.display()
        );
        let mut entries = Vec::new();
        let mut at = sector_bytes;
        for index in 0..count {
            let mut raw = [0; ENTRY_BYTES];
            file.read_exact_at(&mut raw, at).with_context(|| format!("entry {index} of {count}"))?;
            let (sector, sectors, flags) = (number(&raw, 0), number(&raw, 8), number(&raw, 16));
            at += sector_bytes;
            let bytes = if flags & (DISCARD | MARK) == 0 { sectors * sector_bytes } else { 0 };
            entries.push(Entry { to: sector * sector_bytes, bytes, at, flags });
            at += bytes;
        }
        Ok(Self { file, sector_bytes, entries })
    }

    /// Things the disk was told.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it was told nothing.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Numbers of the flushes.
    pub fn flushes(&self) -> Vec<usize> {
        (0..self.len()).filter(|index| self.entries[*index].flags & FLUSH != 0).collect()
    }

    /// Bytes written.
    pub fn written(&self) -> u64 {
        self.entries.iter().map(|entry| entry.bytes).sum()
    }

    /// What was written to the place `to` (in bytes), as text, with the number of each entry.
    ///
    /// # Errors
    /// Of the file system.
    pub fn notes(&self, to: u64) -> io::Result<Vec<(usize, String)>> {
        let here = self.entries.iter().enumerate().filter(|(_, entry)| entry.to == to && entry.bytes > 0);
        here.map(|(index, entry)| {
            let data = self.data(entry)?;
            let text = data.split(|byte| *byte == 0 || *byte == b'\n').next().unwrap_or_default();
            Ok((index, String::from_utf8_lossy(text).into_owned()))
        })
        .collect()
    }

    fn data(&self, entry: &Entry) -> io::Result<Vec<u8>> {
        let mut data = vec![0; usize::try_from(entry.bytes).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut data, entry.at)?;
        Ok(data)
    }

    fn write(&self, disk: &File, entry: &Entry) -> io::Result<()> {
        if entry.bytes > 0 { disk.write_all_at(&self.data(entry)?, entry.to) } else { Ok(()) }
    }
}

/// A disk that goes forward through its log, to be cut again and again.
#[derive(Debug)]
pub struct Disk<'l> {
    log: &'l WriteLog,
    durable: std::path::PathBuf,
    file: File,
    /// Entries before this one are on the durable image.
    applied: usize,
}

impl<'l> Disk<'l> {
    /// The disk as it was before the recording; `scratch` is overwritten.
    ///
    /// # Errors
    /// Of the file system.
    pub fn new(log: &'l WriteLog, base: &Path, scratch: &Path) -> anyhow::Result<Self> {
        fs::copy(base, scratch).with_context(|| base.display().to_string())?;
        let file = File::options().write(true).open(scratch)?;
        Ok(Self { log, durable: scratch.into(), file, applied: 0 })
    }

    /// Leaves in `image` what the disk holds after the cut, and says how many writes were lost. Cuts must come in
    /// rising order.
    ///
    /// # Errors
    /// Of the file system, and when a later cut came before.
    pub fn cut(&mut self, cut: &Cut, image: &Path) -> anyhow::Result<usize> {
        let entries = self.log.entries.get(..cut.at).context("the cut lies behind the end of the log")?;
        let flushed = entries.iter().rposition(|entry| entry.flags & FLUSH != 0).unwrap_or(0);
        ensure!(flushed >= self.applied, "cuts must come in rising order");
        for entry in &entries[self.applied..flushed] {
            self.log.write(&self.file, entry)?;
        }
        self.applied = flushed;
        fs::copy(&self.durable, image)?;
        let disk = File::options().write(true).open(image)?;
        let mut random = Rng::with_seed(cut.seed);
        let mut lost = 0;
        for entry in entries[flushed..].iter().filter(|entry| entry.bytes > 0) {
            if entry.flags & FUA != 0 {
                self.log.write(&disk, entry)?;
            } else if random.f64() < cut.loss {
                lost += 1;
            } else if cut.tear && entry.bytes > self.log.sector_bytes && random.f64() < cut.loss {
                let data = self.log.data(entry)?;
                let sector = self.log.sector_bytes as usize;
                for (part, to) in data.chunks(sector).zip((entry.to..).step_by(sector)) {
                    if random.bool() {
                        disk.write_all_at(part, to)?;
                    }
                }
            } else {
                self.log.write(&disk, entry)?;
            }
        }
        Ok(lost)
    }
}

fn number(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log of (sector, text, flags), each text one sector; no text for a bare flush.
    fn written(entries: &[(u64, &str, u64)]) -> (tempfile::TempDir, WriteLog) {
        let mut bytes = MAGIC.to_le_bytes().to_vec();
        bytes.extend(1_u64.to_le_bytes());
        bytes.extend((entries.len() as u64).to_le_bytes());
        bytes.extend(512_u32.to_le_bytes());
        bytes.resize(512, 0);
        for (sector, text, flags) in entries {
            let start = bytes.len();
            for field in [*sector, u64::from(!text.is_empty()), *flags, 0] {
                bytes.extend(field.to_le_bytes());
            }
            bytes.resize(start + 512, 0);
            if !text.is_empty() {
                bytes.extend(text.as_bytes());
                bytes.resize(start + 1024, 0);
            }
        }
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("log"), bytes).unwrap();
        fs::write(folder.path().join("base"), [0; 4 * 512]).unwrap();
        let log = WriteLog::open(&folder.path().join("log")).unwrap();
        (folder, log)
    }

    fn cut(at: usize, loss: f64) -> Cut {
        Cut { at, loss, tear: false, seed: 1 }
    }

    #[test]
    fn what_was_flushed_survives_every_cut_and_the_rest_may_not() {
        let (folder, log) = written(&[(0, "a", 0), (0, "", FLUSH), (1, "b", 0), (2, "c", FUA), (3, "d", 0)]);
        let mut disk = Disk::new(&log, &folder.path().join("base"), &folder.path().join("durable")).unwrap();
        let mut after = |cut: &Cut| {
            let image = folder.path().join("image");
            let lost = disk.cut(cut, &image).unwrap();
            let bytes = fs::read(image).unwrap();
            let kept: String =
                bytes.chunks(512).map(|s| if s[0] == 0 { '-' } else { s[0] as char }).collect();
            (kept, lost)
        };
        assert_eq!(after(&cut(0, 0.0)), ("----".into(), 0));
        assert_eq!(after(&cut(1, 1.0)), ("----".into(), 1), "no flush yet");
        assert_eq!(after(&cut(2, 1.0)), ("a---".into(), 0));
        assert_eq!(after(&cut(5, 1.0)), ("a-c-".into(), 2), "FUA needs no flush");
        assert_eq!(after(&cut(5, 0.0)), ("abcd".into(), 0));
        assert!(disk.cut(&cut(0, 0.0), &folder.path().join("image")).is_err(), "it does not go back");
    }

    #[test]
    fn notes_are_found_at_their_place() {
        let (_folder, log) = written(&[(3, "one\n", 0), (1, "no\n", 0), (0, "", FLUSH), (3, "two\n", 0)]);
        assert_eq!(log.notes(3 * 512).unwrap(), [(0, "one".to_owned()), (3, "two".to_owned())]);
        assert_eq!((log.flushes(), log.written(), log.len()), (vec![2], 3 * 512, 4));
    }
}
