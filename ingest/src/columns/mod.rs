//! Readings and windows as Parquet files that any engine can read. The only folder that names the `parquet` crate.
//!
//! ```text
//! pool/readings/day=2026-11-22/district=qingyang/{from:020}-{to:020}.parquet
//! pool/windows/day=2026-11-22/{from:020}-{to:020}.parquet
//! ```
//!
//! `from` and `to` are positions of the log: a file holds exactly what that stretch of the log gave. The checkpoint
//! names the positions up to which files of readings and of windows count; those beyond were written by a run that
//! ended before its commit point, and are removed at the next start. Windows come more seldom than readings and in
//! longer stretches: each is then in fewer parts. Those that are missing are made again from the files of readings
//! behind them (`measured`). Late data is another partial of its window, and readers fold partials
//! (sums add, minima are minima of minima). `compact` merges neighbouring files, and with them partials.
//!
//! A day is the UTC day of the reading's own time, not of its receipt.
//!
//! # Layout
//! - `schema`: the columns; `write`: a stretch into files, with its `names`; `chunk`: how a column is encoded, `value`:
//!   what it may hold
//! - `read`: back again; `cards`: which files need not be opened for a question; `measured`: readings for their windows
//! - `compact`: small files become larger ones

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use crate::log::make_folder;

mod cards;
mod chunk;
mod compact;
mod measured;
mod names;
mod read;
mod schema;
mod value;
mod write;

#[cfg(test)]
mod tests;

pub use compact::{MergeStep, REST_MS};
pub use measured::read_measured;
pub use names::Names;
pub use read::{ReadingFilter, WindowFilter, read_readings, read_windows};
pub use write::{write_readings, write_windows};

/// Why files could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system.
    #[error("{path}: {error}")]
    Io {
        /// With what.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// The format.
    #[error("{path}: {error}")]
    Format {
        /// With what.
        path: PathBuf,
        /// What is wrong.
        error: parquet::errors::ParquetError,
    },
}

impl FileError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> FileError {
        let path = path.to_owned();
        move |error| FileError::Io { path, error }
    }

    fn format(path: &Path) -> impl FnOnce(parquet::errors::ParquetError) -> FileError {
        let path = path.to_owned();
        move |error| FileError::Format { path, error }
    }
}

/// A stretch of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stretch {
    /// First position.
    pub from: u64,
    /// One past the last.
    pub to: u64,
}

impl Stretch {
    fn file_name(self) -> String {
        format!("{:020}-{:020}.parquet", self.from, self.to)
    }

    fn parse(name: &str) -> Option<Self> {
        let (from, to) = name.strip_suffix(".parquet")?.split_once('-')?;
        Some(Self { from: from.parse().ok()?, to: to.parse().ok()? })
    }

    fn of(file: &Path) -> Option<Self> {
        Self::parse(file.file_name()?.to_str()?)
    }
}

/// The folder of all files.
#[derive(Debug, Clone)]
pub struct PoolFolder {
    path: PathBuf,
    /// Held for writing while a merged file takes the place of its parts, so that no listing sees both or neither.
    listing: Arc<RwLock<()>>,
    /// What files may hold.
    cards: cards::Cards,
}

/// Days that a query may look at: bounds what one question can cost.
pub const MAX_DAYS: i64 = 400;

impl PoolFolder {
    /// Opens or makes it.
    ///
    /// # Errors
    /// As the system says.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        for folder in [path.to_owned(), path.join("readings"), path.join("windows")] {
            make_folder(&folder).map_err(FileError::io(&folder))?;
        }
        sync_tree(path).map_err(FileError::io(path))?;
        Ok(Self { path: path.to_owned(), listing: Arc::default(), cards: cards::Cards::default() })
    }

    fn readings_folder(&self, day: &str, district: &str) -> PathBuf {
        self.path.join("readings").join(format!("day={day}")).join(format!("district={district}"))
    }

    fn windows_folder(&self, day: &str) -> PathBuf {
        self.path.join("windows").join(format!("day={day}"))
    }

    /// Removes what a run wrote that ended before its commit point: files of readings beyond `checkpoint`, files of
    /// windows beyond `windows_kept`, and unfinished ones. Returns how many.
    ///
    /// # Errors
    /// As the system says.
    pub fn remove_beyond(&self, checkpoint: u64, windows_kept: u64) -> Result<usize, FileError> {
        let mut removed = 0;
        let windows = self.path.join("windows");
        for file in files_below(&self.path)? {
            let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let bound = if file.starts_with(&windows) { windows_kept } else { checkpoint };
            let beyond = Stretch::parse(name).is_some_and(|stretch| stretch.to > bound);
            if beyond || name.ends_with(".new") {
                fs::remove_file(&file).map_err(FileError::io(&file))?;
                if let Some(folder) = file.parent() {
                    crate::log::sync_folder(folder).map_err(FileError::io(folder))?;
                }
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Files of windows that may begin in `from_ms..to_ms`, of the log up to `windows_kept`, oldest stretch first.
    ///
    /// # Errors
    /// As the system says.
    pub fn window_files(
        &self,
        from_ms: i64,
        to_ms: i64,
        windows_kept: u64,
    ) -> Result<Vec<PathBuf>, FileError> {
        let _whole = self.listing.read().unwrap_or_else(PoisonError::into_inner);
        let mut files = Vec::new();
        for day in days(&self.path.join("windows"), from_ms, to_ms)? {
            files.extend(files_below(&day)?);
        }
        Ok(covered(files, windows_kept))
    }

    /// Files of readings of one district, of the log up to `checkpoint`; all districts without one.
    ///
    /// # Errors
    /// As the system says.
    pub fn reading_files(
        &self,
        district: Option<&str>,
        from_ms: i64,
        to_ms: i64,
        checkpoint: u64,
    ) -> Result<Vec<PathBuf>, FileError> {
        let _whole = self.listing.read().unwrap_or_else(PoisonError::into_inner);
        let mut files = Vec::new();
        for day in days(&self.path.join("readings"), from_ms, to_ms)? {
            files.extend(files_below(&match district {
                Some(district) => day.join(format!("district={district}")),
                None => day,
            })?);
        }
        Ok(covered(files, checkpoint))
    }

    /// Files of readings of a stretch of the log. It begins where a file does: merging keeps off it.
    ///
    /// # Errors
    /// As the system says.
    pub fn reading_files_of(&self, stretch: Stretch) -> Result<Vec<PathBuf>, FileError> {
        let mut files = self.reading_files(None, i64::MIN, i64::MAX, stretch.to)?;
        files.retain(|file| Stretch::of(file).is_some_and(|of_file| of_file.from >= stretch.from));
        Ok(files)
    }
}

/// Syncs a folder and those below it: a run that made one and ended before it was synced would leave it so for ever.
fn sync_tree(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_tree(&entry.path())?;
        }
    }
    crate::log::sync_folder(folder)
}

/// 9999-01-01 UTC, in milliseconds since 1970.
const LAST_DAY_MS: i64 = 253_370_764_800_000;

/// The UTC day of a time, as in folder names; times before 1970 and after 9998 fall on the nearest day in between.
pub fn day_of(at_ms: i64) -> String {
    let timestamp = jiff::Timestamp::from_millisecond(at_ms.clamp(0, LAST_DAY_MS)).unwrap_or_default();
    timestamp.strftime("%Y-%m-%d").to_string()
}

fn days(folder: &Path, from_ms: i64, to_ms: i64) -> Result<Vec<PathBuf>, FileError> {
    let (first, last) = (day_of(from_ms), day_of(to_ms.saturating_sub(1).max(from_ms)));
    let mut days = Vec::new();
    for entry in entries(folder)? {
        let name = entry.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let day = name.strip_prefix("day=");
        // Years have four digits, so the order of text is the order of time.
        if day.is_some_and(|day| (first.as_str()..=last.as_str()).contains(&day)) {
            days.push(entry);
        }
    }
    days.sort();
    Ok(days)
}

fn covered(files: Vec<PathBuf>, checkpoint: u64) -> Vec<PathBuf> {
    let (mut files, _) = compact::told_apart(files);
    files.retain(|(stretch, _)| stretch.to <= checkpoint);
    files.sort();
    files.into_iter().map(|(_, file)| file).collect()
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    match fs::read_dir(folder) {
        Ok(entries) => {
            entries.map(|entry| entry.map(|entry| entry.path()).map_err(FileError::io(folder))).collect()
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(FileError::io(folder)(error)),
    }
}

/// All files below a folder; our own tree is three levels deep.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let mut files = Vec::new();
    for entry in entries(folder)? {
        // What has the name of a file of ours is not looked at: there are thousands.
        if Stretch::of(&entry).is_none() && entry.is_dir() {
            files.extend(files_below(&entry)?);
        } else {
            files.push(entry);
        }
    }
    Ok(files)
}
