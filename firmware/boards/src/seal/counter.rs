//! A number that never goes back: what an old card is told by.
//!
//! A seal's memory demands that the counter shows exactly what the memory says (see the crate `seal`): less is another
//! device's counter, more an old card. It is moved by one for each use, after that use is on stable storage.
//!
//! # A chip that counts
//! A driver of a TPM or a secure element implements [`Counter`], and [`Counter::advance_to`] like this: read; equal is
//! done; one below is counted once and read again, and only what was asked for is a success; anything else is an error.
//! An ATECC608 may skip numbers when the power goes while it counts. Then it shows more than the memory says, which is
//! what an old card looks like, and the seal refuses. It tells the number in its next question to the authority; the
//! signed answer carries it, and by that the memory takes it over. A chip that does not begin at zero is taken over in
//! the same way, by the first answer. So a driver must neither hide a skip nor subtract one: who looks at the receipts has
//! to see it. It ends at 2,097,151: from there on it refuses, and so does the seal.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// What a counter's file begins with.
const MARK: &str = "watchfire counter 1";
/// Longest file that can be one.
const MAX_FILE: u64 = 256;

/// Why a counter does not count.
#[derive(Debug, thiserror::Error)]
pub enum CounterError {
    /// There is none.
    #[error(
        "{0} is missing: where the seal has been used, that is an old card or a lost counter; only the authority can help"
    )]
    Missing(PathBuf),
    /// There is one, and it was to be made.
    #[error("{0} exists already: a counter is never begun twice")]
    Exists(PathBuf),
    /// What is there is not what was written.
    #[error(
        "{path} is damaged: expected \"{MARK}\" and a number written twice, found {found:?}; it is not guessed"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is in it.
        found: String,
    },
    /// It would go back.
    #[error("the counter shows {shows} and never goes back to {asked}")]
    Back {
        /// What it shows.
        shows: u64,
        /// What was asked for.
        asked: u64,
    },
    /// It would skip.
    #[error("the counter shows {shows} and moves by one, not to {asked}: this is another device's memory")]
    Skip {
        /// What it shows.
        shows: u64,
        /// What was asked for.
        asked: u64,
    },
    /// The disk, or the bus to the chip.
    #[error("the counter {path}: {error}")]
    Io {
        /// The file, or the chip's.
        path: PathBuf,
        /// What happened.
        error: io::Error,
    },
}

/// A counter that never goes back.
pub trait Counter: Send {
    /// What it shows.
    ///
    /// # Errors
    /// [`CounterError`]; never a number in doubt.
    fn read(&mut self) -> Result<u64, CounterError>;

    /// Moves it to this, which is one more than it shows; nothing is to be done when it shows that already. When it returns
    /// a power cut cannot take it back. After an error nobody knows: read it.
    ///
    /// # Errors
    /// [`CounterError`].
    fn advance_to(&mut self, to: u64) -> Result<(), CounterError>;
}

/// A counter in a file of its own. Who copies the card copies it too: it tells apart a memory and a counter of different
/// times (a buffer restored from a backup, a disk that forgot what it had flushed), and nothing against somebody who takes
/// the whole card. For that it takes a chip.
pub struct FileCounter {
    path: PathBuf,
}

impl FileCounter {
    /// The counter in this file, which exists.
    ///
    /// # Errors
    /// [`CounterError::Missing`], [`CounterError::Damaged`], [`CounterError::Io`].
    pub fn open(path: &Path) -> Result<Self, CounterError> {
        let mut counter = Self { path: path.into() };
        counter.read()?;
        Ok(counter)
    }

    /// A new counter at zero. For a seal that has never been used, and only then.
    ///
    /// # Errors
    /// [`CounterError::Exists`], [`CounterError::Io`].
    pub fn create(path: &Path) -> Result<Self, CounterError> {
        let counter = Self { path: path.into() };
        match fs::symlink_metadata(path) {
            Ok(_) => Err(CounterError::Exists(path.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                counter.write(0).map_err(|error| counter.failed(error))?;
                Ok(counter)
            }
            Err(error) => Err(counter.failed(error)),
        }
    }

    fn failed(&self, error: io::Error) -> CounterError {
        CounterError::Io { path: self.path.clone(), error }
    }

    /// Written beside, flushed, put in its place, and the place flushed: after a power cut it is the old one or the new one.
    fn write(&self, number: u64) -> io::Result<()> {
        let folder = match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let new = self.path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(text(number).as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        File::open(folder)?.sync_all()
    }
}

/// The number stands there twice, once as what is missing to the largest one: no single slip makes another valid file.
fn text(number: u64) -> String {
    format!("{MARK} {number} {}\n", u64::MAX - number)
}

impl Counter for FileCounter {
    fn read(&mut self) -> Result<u64, CounterError> {
        let file = File::open(&self.path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => CounterError::Missing(self.path.clone()),
            _ => self.failed(error),
        })?;
        let mut bytes = Vec::new();
        file.take(MAX_FILE).read_to_end(&mut bytes).map_err(|error| self.failed(error))?;
        let found = String::from_utf8_lossy(&bytes);
        let number = found.strip_prefix(MARK).and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        // Only what would be written again is read.
        number
            .filter(|&number| text(number) == found)
            .ok_or_else(|| CounterError::Damaged { path: self.path.clone(), found: found.into_owned() })
    }

    fn advance_to(&mut self, to: u64) -> Result<(), CounterError> {
        let shows = self.read()?;
        match to.checked_sub(shows) {
            None => Err(CounterError::Back { shows, asked: to }),
            // Read from the file, it may still not be on the disk: after an error nobody knew.
            Some(0 | 1) => self.write(to).map_err(|error| self.failed(error)),
            Some(_) => Err(CounterError::Skip { shows, asked: to }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_by_one_and_never_back_over_starts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("counter");
        assert!(matches!(FileCounter::open(&path), Err(CounterError::Missing(_))));
        FileCounter::create(&path).unwrap();
        assert!(matches!(FileCounter::create(&path), Err(CounterError::Exists(_))));
        for to in 1..=3 {
            let mut counter = FileCounter::open(&path).unwrap();
            counter.advance_to(to).unwrap();
            counter.advance_to(to).unwrap();
        }
        let mut counter = FileCounter::open(&path).unwrap();
        assert!(matches!(counter.advance_to(2), Err(CounterError::Back { shows: 3, asked: 2 })));
        assert!(matches!(counter.advance_to(5), Err(CounterError::Skip { shows: 3, asked: 5 })));
        assert_eq!(counter.read().unwrap(), 3);
    }

    #[test]
    fn a_damaged_file_is_never_a_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("counter");
        let whole = text(1_234);
        for index in 0..whole.len() {
            let mut bytes = whole.clone().into_bytes();
            bytes[index] ^= 1;
            fs::write(&path, &bytes).unwrap();
            assert!(matches!(FileCounter::open(&path), Err(CounterError::Damaged { .. })), "byte {index}");
            fs::write(&path, &whole[..index]).unwrap();
            assert!(matches!(FileCounter::open(&path), Err(CounterError::Damaged { .. })), "cut at {index}");
        }
        fs::write(&path, whole.clone() + "x").unwrap();
        assert!(FileCounter::open(&path).is_err());
        fs::write(&path, whole).unwrap();
        assert_eq!(FileCounter::open(&path).unwrap().read().unwrap(), 1_234);
    }

    #[test]
    fn a_write_that_was_cut_leaves_the_old_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("counter");
        FileCounter::create(&path).unwrap().advance_to(1).unwrap();
        fs::write(path.with_extension("new"), "watchf").unwrap();
        let mut counter = FileCounter::open(&path).unwrap();
        assert_eq!(counter.read().unwrap(), 1);
        counter.advance_to(2).unwrap();
        assert_eq!(counter.read().unwrap(), 2);
    }
}
