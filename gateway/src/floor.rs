//! What one start tells the next: the time floor, and how many starts there were.
//!
//! The floor is a wall time that has certainly passed, kept in `{data}/time-floor`.
//! A box without a battery-backed clock boots in 1970. With the floor it knows at least that it is later than when it
//! last ran, so that what it claims is never absurd. See [`crate::clock`].

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::clock::BUILT_MS;

/// How often the floor is saved, in ms: what a power cut can take from it, against a few pages of flash each time.
pub const SAVE_EVERY_MS: u64 = 300_000;
/// A floor later than this after the build is damage, not time: thirty years, in ms.
const MAX_AHEAD_MS: i64 = 30 * 365 * 86_400_000;
/// Its name in the data folder.
const NAME: &str = "time-floor";
/// Name of the file beside it that counts the starts.
const STARTS: &str = "starts";

/// What the last start left in `data`, or the build of this program: in ms since 1970 UTC.
pub fn load(data: &Path) -> i64 {
    match fs::read_to_string(data.join(NAME)) {
        Ok(text) => parse(&text).unwrap_or_else(|| {
            tracing::warn!(
                file = %data.join(NAME).display(),
                "the time floor is not a time in ms since 1970: the build of this program counts instead"
            );
            BUILT_MS
        }),
        // The first start, or a folder that the buffer is about to complain about.
        Err(_) => BUILT_MS,
    }
}

fn parse(text: &str) -> Option<i64> {
    let floor_ms: i64 = text.trim().parse().ok()?;
    (floor_ms <= BUILT_MS.saturating_add(MAX_AHEAD_MS)).then_some(floor_ms.max(BUILT_MS))
}

/// Saves the floor in one step: a power cut leaves the old one or the new one.
///
/// # Errors
/// The operating system's.
pub fn save(data: &Path, floor_ms: i64) -> io::Result<()> {
    keep(data, NAME, &floor_ms.to_string())
}

/// Counts this start: how many there were, this one included. One that cannot be counted is told of in the log.
pub fn count_start(data: &Path) -> u64 {
    let before = fs::read_to_string(data.join(STARTS)).ok().and_then(|text| text.trim().parse().ok());
    let starts = before.unwrap_or(0_u64).saturating_add(1);
    if let Err(error) = keep(data, STARTS, &starts.to_string()) {
        tracing::warn!(%error, "this start cannot be counted");
    }
    starts
}

fn keep(data: &Path, name: &str, line: &str) -> io::Result<()> {
    let temporary = data.join(format!("{name}.new"));
    let mut file = File::create(&temporary)?;
    writeln!(file, "{line}")?;
    file.sync_data()?;
    fs::rename(temporary, data.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_comes_back_and_damage_does_not() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(load(folder.path()), BUILT_MS, "the first start");
        save(folder.path(), BUILT_MS + 5).expect("writes");
        assert_eq!(load(folder.path()), BUILT_MS + 5);
        for (text, expected) in [
            ("0", Some(BUILT_MS)),
            ("-9223372036854775808", Some(BUILT_MS)),
            ("9223372036854775807", None),
            ("", None),
            ("12 apples", None),
        ] {
            assert_eq!(parse(text), expected, "{text:?}");
        }
    }

    #[test]
    fn starts_are_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!([(); 3].map(|()| count_start(folder.path())), [1, 2, 3]);
        fs::write(folder.path().join(STARTS), "?").expect("writes");
        assert_eq!(count_start(folder.path()), 1);
        assert_eq!(count_start(Path::new("/no/such/folder")), 1);
    }
}
