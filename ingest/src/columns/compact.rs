//! Compaction: small files of one folder become a larger one, without a moment in which a reader of ours sees both.
//!
//! The names are the manifest. A merged file covers the stretch of all its parts, and **a file whose stretch lies
//! inside that of another file of its folder does not count**. So the rename of the merged file is the commit point:
//!
//! 1. the merged file is written aside and synced (a crash leaves `.new`, which the next start removes);
//! 2. it gets its name and the folder is synced (a crash leaves parts that do not count, removed at the next start);
//! 3. the parts are renamed to `.old`: strangers no longer see them, questions that listed them before still do;
//! 4. after [`REST_MS`] they are removed.
//!
//! Between 2 and 3, for milliseconds, a stranger who reads the folder as it lies sees both; one who must not leaves
//! out files inside others. Listings of ours wait for 3.

use std::cmp::Reverse;
use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::chunk::{Group, Writer, compressor};
use super::names::Found;
use super::write::{self, Filling, GROUP_ROWS};
use super::{FileError, PoolFolder, Stretch, entries, read, schema};
use crate::cell::PRECISIONS;
use crate::log::sync_folder;
use crate::pool::rows::{Row, Rows};

/// How many files become one. More means fewer rewrites and more memory: each is open with one row group.
const FAN_IN: usize = 8;
/// Largest file that merging makes: a day of 100,000 sensors that report once a minute takes one or two.
const MAX_BYTES: u64 = 256 << 20;
/// Files rest this long before they are merged, and as long again before they are removed: longer than any question
/// runs that found them, and longer than one that began before the checkpoint that covers them.
pub const REST_MS: i64 = 600_000;

/// The steps of a merge, for tests that end in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeStep {
    /// The merged file is written aside.
    Written,
    /// It has its name: it counts, its parts no longer do.
    Named,
    /// Its parts are out of sight.
    Retired,
}

/// A file that may be merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    stretch: Stretch,
    bytes: u64,
}

/// Which files of a folder to merge, given in the order of the log: [`FAN_IN`] neighbours of which the largest is at
/// most a quarter of all, the smallest such first. So a byte is rewritten only when its file grows fourfold, and a
/// large file is not rewritten for a few small ones.
fn plan(files: &[Part]) -> Option<Range<usize>> {
    let worth = |(start, parts): (usize, &[Part])| {
        let all: u64 = parts.iter().map(|part| part.bytes).sum();
        let largest = parts.iter().map(|part| part.bytes).max().unwrap_or(0);
        (largest <= all / 4 && all <= MAX_BYTES).then_some((all, start))
    };
    let (_, start) = files.windows(FAN_IN).enumerate().filter_map(worth).min()?;
    Some(start..start + FAN_IN)
}

/// One file of a merge: its rows, one row group at a time.
struct Cursor<T> {
    group: usize,
    rows: std::vec::IntoIter<T>,
    reader: SerializedFileReader<File>,
}

type Load<'a, T> = dyn FnMut(&SerializedFileReader<File>, usize) -> Result<Vec<T>, ParquetError> + 'a;

impl<T> Cursor<T> {
    /// The next row, which stays; `None` at the end.
    fn head(&mut self, load: &mut Load<'_, T>) -> Result<Option<&T>, ParquetError> {
        while self.rows.as_slice().is_empty() && self.group < self.reader.num_row_groups() {
            self.rows = load(&self.reader, self.group)?.into_iter();
            self.group += 1;
        }
        Ok(self.rows.as_slice().first())
    }
}

/// Hands the rows of sorted files to `emit` in the order of their keys.
fn merge<T, K: Ord>(
    files: &[PathBuf],
    load: &mut Load<'_, T>,
    key: impl Fn(&T) -> K,
    mut emit: impl FnMut(T) -> Result<(), ParquetError>,
) -> Result<(), ParquetError> {
    let mut cursors = Vec::with_capacity(files.len());
    for file in files {
        let reader = SerializedFileReader::new(File::open(file)?)?;
        cursors.push(Cursor { group: 0, rows: Vec::new().into_iter(), reader });
    }
    loop {
        let mut heads = Vec::with_capacity(cursors.len());
        for (number, cursor) in cursors.iter_mut().enumerate() {
            if let Some(row) = cursor.head(load)? {
                heads.push((key(row), number));
            }
        }
        heads.sort();
        let Some(&(_, first)) = heads.first() else { return Ok(()) };
        // All that come before the next file's.
        let bound = heads.get(1).map(|head| &head.0);
        let rows = &mut cursors[first].rows;
        let count = match bound {
            Some(bound) => rows.as_slice().iter().take_while(|row| key(row) <= *bound).count(),
            None => rows.len(),
        };
        rows.take(count).try_for_each(&mut emit)?;
    }
}

/// Writes row groups and tells `pace` how many bytes each took; it answers whether to go on.
struct Output<'a> {
    writer: &'a mut Writer,
    pace: &'a mut dyn FnMut(u64) -> bool,
    written: u64,
}

impl Output<'_> {
    fn group(
        &mut self,
        content: impl FnOnce(&mut Group<'_>) -> Result<(), ParquetError>,
    ) -> Result<(), ParquetError> {
        let mut zstd = compressor()?;
        let mut group = Group::begin(self.writer, &mut zstd)?;
        content(&mut group)?;
        group.end()?;
        let bytes = self.writer.bytes_written() as u64 - self.written;
        self.written += bytes;
        if (self.pace)(bytes) { Ok(()) } else { Err(ParquetError::General("told to stop".into())) }
    }
}

fn merge_readings(files: &[PathBuf], out: &mut Output<'_>) -> Result<(), ParquetError> {
    // Those of all cursors.
    let names = std::cell::RefCell::new(Found::default());
    let mut load =
        |reader: &SerializedFileReader<File>, group| read::rows(reader, group, &mut names.borrow_mut());
    let mut rows = Rows::default();
    let mut write = |rows: &mut Rows| {
        out.group(|group| {
            let runs: Vec<_> = write::runs(rows).collect();
            write::reading_group(group, &runs, names.borrow_mut().names())
        })?;
        rows.clear();
        Ok::<(), ParquetError>(())
    };
    let order = |(row, head): &_| write::order(row, head);
    merge(files, &mut load, order, |(row, head)| {
        let head = rows.head(head);
        rows.push(Row { head, ..row });
        if rows.len() < GROUP_ROWS { Ok(()) } else { write(&mut rows) }
    })?;
    if rows.is_empty() { Ok(()) } else { write(&mut rows) }
}

/// Partials of one window become one row.
fn merge_windows(files: &[PathBuf], out: &mut Output<'_>) -> Result<(), ParquetError> {
    for precision in PRECISIONS {
        let mut load = |reader: &SerializedFileReader<File>, group| read::windows(reader, group, precision);
        let mut rows = Filling::default();
        merge(
            files,
            &mut load,
            |row| row.0,
            |(key, part)| {
                if rows.is_full_for(&key) {
                    out.group(|group| rows.write(group))?;
                }
                rows.add(key, part);
                Ok(())
            },
        )?;
        if !rows.is_empty() {
            out.group(|group| rows.write(group))?;
        }
    }
    Ok(())
}

/// Files with stretches in their names, in the order of the log: those that count, and parts of a merged file that do
/// not. Both folder by folder.
pub(super) fn told_apart(files: Vec<PathBuf>) -> (Vec<(Stretch, PathBuf)>, Vec<PathBuf>) {
    let mut named: Vec<_> = files.into_iter().filter_map(|file| Some((Stretch::of(&file)?, file))).collect();
    // Of files that begin together the longest first: what ends inside it is a part.
    let order = |(stretch, file): &(Stretch, PathBuf)| {
        (file.parent().map(Path::to_owned), stretch.from, Reverse(stretch.to))
    };
    named.sort_by_cached_key(order);
    let (mut counting, mut parts) = (Vec::<(Stretch, PathBuf)>::new(), Vec::new());
    for (stretch, file) in named {
        match counting.last() {
            Some((last, whole)) if whole.parent() == file.parent() && stretch.to <= last.to => {
                parts.push(file)
            }
            _ => counting.push((stretch, file)),
        }
    }
    (counting, parts)
}

fn modified_ms(file: &Path) -> Result<i64, FileError> {
    let modified = fs::metadata(file).and_then(|meta| meta.modified()).map_err(FileError::io(file))?;
    let since = modified.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Ok(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

impl PoolFolder {
    /// Merges files of one folder, if there is one with enough of them. Takes only files that end at `kept` or before,
    /// up to where windows are in Parquet by the durable checkpoint, and that have rested: from readings behind it a
    /// start makes their windows again, and a row of a merged file has no position of its own. Tells `pace` how many
    /// bytes it wrote, from time to time, and stops when that answers false. Returns the name of the merged file.
    ///
    /// # Errors
    /// [`FileError`]; nothing has changed then, or the merge has succeeded.
    pub fn compact(
        &self,
        kept: u64,
        now_ms: i64,
        pace: &mut dyn FnMut(u64) -> bool,
        mut after: impl FnMut(MergeStep) -> Result<(), FileError>,
    ) -> Result<Option<PathBuf>, FileError> {
        for (folder, is_readings) in self.leaves()? {
            self.remove_retired(&folder, now_ms)?;
            let mut files = Vec::new();
            for (stretch, file) in told_apart(entries(&folder)?).0 {
                if stretch.to > kept || now_ms.saturating_sub(modified_ms(&file)?) < REST_MS {
                    break;
                }
                let bytes = fs::metadata(&file).map_err(FileError::io(&file))?.len();
                files.push((Part { stretch, bytes }, file));
            }
            let parts: Vec<Part> = files.iter().map(|file| file.0).collect();
            let Some(range) = plan(&parts) else { continue };
            let stretch =
                Stretch { from: parts[range.start].stretch.from, to: parts[range.end - 1].stretch.to };
            let paths: Vec<PathBuf> = files[range].iter().map(|file| file.1.clone()).collect();
            let schema = if is_readings { schema::readings } else { schema::windows };
            let aside = write::write_aside(&folder, stretch, schema, |writer| {
                let mut out = Output { writer, pace, written: 0 };
                if is_readings { merge_readings(&paths, &mut out) } else { merge_windows(&paths, &mut out) }
            })?;
            after(MergeStep::Written)?;
            let merged = folder.join(stretch.file_name());
            let _swap = self.listing.write().unwrap_or_else(PoisonError::into_inner);
            fs::rename(&aside, &merged).map_err(FileError::io(&merged))?;
            sync_folder(&folder).map_err(FileError::io(&folder))?;
            after(MergeStep::Named)?;
            for path in &paths {
                fs::rename(path, retired(path)).map_err(FileError::io(path))?;
            }
            after(MergeStep::Retired)?;
            return Ok(Some(merged));
        }
        Ok(None)
    }

    /// Ends what a crash interrupted: removes parts of merged files. Only when nobody reads. Returns how many.
    ///
    /// # Errors
    /// As the system says.
    pub fn finish_merges(&self) -> Result<usize, FileError> {
        let mut removed = 0;
        for (folder, _) in self.leaves()? {
            let (_, parts) = told_apart(entries(&folder)?);
            for part in &parts {
                fs::remove_file(part).map_err(FileError::io(part))?;
            }
            // Not synced: what a power cut brings back is found again.
            removed += parts.len() + self.remove_retired(&folder, i64::MAX)?;
        }
        Ok(removed)
    }

    /// Removes parts out of sight whose merged file has rested. Returns how many.
    fn remove_retired(&self, folder: &Path, now_ms: i64) -> Result<usize, FileError> {
        let files = entries(folder)?;
        let retired: Vec<PathBuf> = files.iter().filter(|file| is_retired(file)).cloned().collect();
        let (counting, _) = told_apart(files);
        let mut removed = 0;
        for file in retired {
            let Some(part) = Stretch::of(&file.with_extension("parquet")) else { continue };
            let holds_it = |(whole, _): &&(Stretch, PathBuf)| whole.from <= part.from && part.to <= whole.to;
            if let Some((_, merged)) = counting.iter().find(holds_it)
                && now_ms.saturating_sub(modified_ms(merged)?) >= REST_MS
            {
                fs::remove_file(&file).map_err(FileError::io(&file))?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// The folders that hold files: readings (true) by day and district, windows (false) by day. Newest day first:
    /// what is asked most is small soonest.
    fn leaves(&self) -> Result<Vec<(PathBuf, bool)>, FileError> {
        let mut leaves: Vec<_> =
            entries(&self.path.join("windows"))?.into_iter().map(|day| (day, false)).collect();
        for day in entries(&self.path.join("readings"))? {
            leaves.extend(entries(&day)?.into_iter().map(|district| (district, true)));
        }
        leaves.sort_by(|a, b| b.cmp(a));
        Ok(leaves)
    }
}

/// Where a part waits to be removed.
fn retired(part: &Path) -> PathBuf {
    part.with_extension("old")
}

fn is_retired(file: &Path) -> bool {
    file.extension().is_some_and(|kind| kind == "old")
}

/// Opens a file that a listing gave, also when it was merged since.
pub(super) fn open(path: &Path) -> Result<File, FileError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => File::open(retired(path)),
        other => other,
    };
    file.map_err(FileError::io(path))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::columns::{
        Names, ReadingFilter, WindowFilter, read_readings, read_windows, write_readings, write_windows,
    };
    use crate::pool::State;
    use crate::pool::aggregate::Aggregate;
    use crate::pool::tests::{T0, packed, readings, rules};
    use crate::pool::windows::WindowKey;

    const ALWAYS: (i64, i64) = (T0 - 86_400_000, T0 + 86_400_000);
    /// When all files have rested.
    const LATER: i64 = i64::MAX / 2;

    #[test]
    fn neighbours_of_a_size_are_merged_smallest_first() {
        const M: u64 = 1 << 20;
        for (sizes, expected, why) in [
            (vec![], None, "nothing"),
            (vec![M; 7], None, "too few"),
            (vec![M; 8], Some(0..8), "enough"),
            (vec![M; 20], Some(0..8), "no more than may be open"),
            ([vec![60 * M; 9], vec![M; 8]].concat(), Some(9..17), "the small ones first"),
            (
                [vec![M; 4], vec![40 * M], vec![M; 4]].concat(),
                None,
                "a large one is not rewritten for small ones",
            ),
            ([vec![M; 5], vec![4 * M; 3]].concat(), Some(0..8), "sizes need not be equal"),
            (vec![40 * M; 8], None, "they would be too large"),
            (vec![200 * M; 30], None, "these are done"),
        ] {
            let files: Vec<Part> = (0..)
                .zip(&sizes)
                .map(|(from, &bytes)| Part { stretch: Stretch { from, to: from + 1 }, bytes })
                .collect();
            assert_eq!(plan(&files), expected, "{why}");
        }
    }

    /// A pool with these stretches of 100 positions; gateway, minute and value of each frame are made up from `seed`,
    /// so that late data and repeats of a window are common.
    fn pool(folder: &Path, written: Range<u64>, seed: u64) -> PoolFolder {
        let pool = PoolFolder::open(folder).unwrap();
        let mut state = State::new(rules());
        let mut random = fastrand::Rng::with_seed(seed);
        let mut sequence = 0;
        for stretch in 0..written.end {
            // Midnight is in the middle: each stretch has frames of both days.
            for at_ms in [-1, 0, random.i64(-5..5), random.i64(-5..5)].map(|minute| T0 + minute * 60_000) {
                sequence += 1;
                let values: Vec<f64> = (0..6).map(|_| f64::from(random.i32(-20..200)) / 4.0).collect();
                let gateway = ["a", "b", "c"][random.usize(0..3)];
                state.apply_frame(&readings(gateway, sequence, at_ms, &values), at_ms);
            }
            state.position += 100;
            let names = Names::of(&state.current.rows, &state.sensors);
            let span = state.cut().unwrap();
            if written.contains(&stretch) {
                let stretch = Stretch { from: stretch * 100, to: stretch * 100 + 100 };
                write_readings(&pool, stretch, &span.rows, &names).unwrap();
                write_windows(&pool, stretch, &packed(&span.windows)).unwrap();
            }
            state.written(state.position, 0, T0);
        }
        pool
    }

    type Answers = (Vec<String>, BTreeMap<WindowKey, Aggregate>);

    /// All readings with all columns, and all windows folded; and how many partials and files there are.
    fn answers(pool: &PoolFolder) -> (Answers, usize, usize) {
        let (mut rows, mut windows, mut partials) = (Vec::new(), BTreeMap::new(), 0);
        let files = pool.reading_files(None, ALWAYS.0, ALWAYS.1, u64::MAX).unwrap();
        for file in &files {
            let reader = SerializedFileReader::new(open(file).unwrap()).unwrap();
            rows.extend(reader.get_row_iter(None).unwrap().map(|row| row.unwrap().to_string()));
            for sensor in 0..9 {
                let filter = ReadingFilter { sensor, from_ms: ALWAYS.0, to_ms: ALWAYS.1 };
                let mut last = i64::MIN;
                read_readings(file, &filter, |at_ms, _, _| {
                    assert!(last <= at_ms, "ascending by time");
                    last = at_ms;
                })
                .unwrap();
            }
        }
        rows.sort();
        let window_files = pool.window_files(ALWAYS.0, ALWAYS.1, u64::MAX).unwrap();
        for file in &window_files {
            for precision in PRECISIONS {
                let filter = WindowFilter {
                    quantity: None,
                    precision,
                    from_ms: ALWAYS.0,
                    to_ms: ALWAYS.1,
                    bbox: None,
                };
                read_windows(file, &filter, |key, part| {
                    partials += 1;
                    windows.entry(key).and_modify(|all: &mut Aggregate| all.merge(&part)).or_insert(part);
                })
                .unwrap();
            }
        }
        ((rows, windows), partials, files.len() + window_files.len())
    }

    fn compact_all(pool: &PoolFolder, checkpoint: u64) -> usize {
        std::iter::from_fn(|| pool.compact(checkpoint, LATER, &mut |_| true, |_| Ok(())).unwrap()).count()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]
        #[test]
        fn merging_changes_no_answer(stretches in 8..20_u64, seed in any::<u64>()) {
            let folder = tempfile::tempdir().unwrap();
            let pool = pool(folder.path(), 0..stretches, seed);
            let (before, partials, files) = answers(&pool);
            prop_assert!(compact_all(&pool, stretches * 100) > 0);
            let (after, fewer_partials, fewer_files) = answers(&pool);
            prop_assert_eq!(before, after);
            prop_assert!(fewer_files < files && fewer_partials < partials);
        }
    }

    fn killed(step: MergeStep) -> FileError {
        FileError::Io { path: "test".into(), error: std::io::Error::other(format!("killed after {step:?}")) }
    }

    #[test]
    fn a_kill_at_any_step_leaves_the_old_or_the_new_set() {
        let folder = tempfile::tempdir().unwrap();
        let (expected, ..) = answers(&pool(folder.path(), 0..8, 1));
        for step in [MergeStep::Written, MergeStep::Named, MergeStep::Retired] {
            let folder = tempfile::tempdir().unwrap();
            let pool = pool(folder.path(), 0..8, 1);
            for _ in 0..2 {
                let kill = |at| if at == step { Err(killed(at)) } else { Ok(()) };
                pool.compact(800, LATER, &mut |_| true, kill).unwrap_err();
                assert_eq!(answers(&pool).0, expected, "{step:?}, before the next start");
                let pool = PoolFolder::open(folder.path()).unwrap();
                pool.remove_beyond(800, 800).unwrap();
                pool.finish_merges().unwrap();
                assert_eq!(answers(&pool).0, expected, "{step:?}, after the next start");
                let left = crate::columns::files_below(folder.path()).unwrap();
                assert!(left.iter().all(|file| Stretch::of(file).is_some()), "{step:?} {left:?}");
            }
            compact_all(&pool, 800);
            assert_eq!(answers(&pool).0, expected, "{step:?}");
        }
    }

    #[test]
    fn a_question_that_listed_the_parts_still_reads_them() {
        let folder = tempfile::tempdir().unwrap();
        let pool = pool(folder.path(), 0..8, 2);
        let listed = pool.window_files(ALWAYS.0, ALWAYS.1, 800).unwrap();
        let once = || pool.compact(800, LATER, &mut |_| true, |_| Ok(())).unwrap();
        assert!(once().is_some());
        assert!(listed.iter().any(|file| !file.exists()));
        assert!(listed.iter().all(|file| open(file).is_ok()));
        once();
        assert!(listed.iter().any(|file| open(file).is_err()), "removed after their rest");
    }

    #[test]
    fn what_the_keeper_writes_meanwhile_stays() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let (expected, ..) = answers(&pool(folders[0].path(), 0..11, 5));
        let pool_before = pool(folders[1].path(), 0..8, 5);
        let mut next = 8;
        pool_before
            .compact(800, LATER, &mut |_| true, |_| {
                // The next stretch appears at each step of the merge: the same readings as in the other pool.
                pool(folders[1].path(), next..next + 1, 5);
                next += 1;
                Ok(())
            })
            .unwrap();
        assert_eq!((next, answers(&pool_before).0), (11, expected));
    }

    #[test]
    fn what_is_young_or_beyond_the_checkpoint_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let pool = pool(folder.path(), 0..8, 3);
        let young = pool.compact(800, crate::clock::now_ms(), &mut |_| true, |_| Ok(())).unwrap();
        let beyond = pool.compact(799, LATER, &mut |_| true, |_| Ok(())).unwrap();
        assert_eq!((young, beyond), (None, None));
    }

    #[test]
    fn a_merge_tells_its_bytes_and_stops_when_told() {
        let folder = tempfile::tempdir().unwrap();
        let pool = pool(folder.path(), 0..8, 4);
        let (before, _, files) = answers(&pool);
        pool.compact(800, LATER, &mut |_| false, |_| Ok(())).unwrap_err();
        let (after, _, as_many) = answers(&pool);
        assert_eq!((before, files), (after, as_many));
        let mut told = 0;
        let mut pace = |bytes| {
            told += bytes;
            true
        };
        let merged = pool.compact(800, LATER, &mut pace, |_| Ok(())).unwrap().unwrap();
        let length = fs::metadata(merged).unwrap().len();
        assert!(told > 0 && told <= length, "{told} of {length}: all but the footer");
    }
}
