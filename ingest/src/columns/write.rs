//! Writing one stretch of the log.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use parquet::errors::ParquetError;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::TypePtr;

use super::cards::Card;
use super::chunk::{Group, Levels, Writer, compressor, extend_run};
use super::names::Names;
use super::{FileError, PoolFolder, Stretch, day_of, schema};
use crate::cell::PRECISIONS;
use crate::log::{make_folder, sync_folder};
use crate::pool::aggregate::{Aggregate, End};
use crate::pool::hot::{Hot, each_coarser};
use crate::pool::packed::Packed;
use crate::pool::rows::{Head, Row, Rows};
use crate::pool::windows::{BASE_MS, WindowKey};

/// Most rows of a row group: what a reader must unpack to see one row of it.
pub(super) const GROUP_ROWS: usize = 64 * 1024;
/// The same of windows, which take some ten times the memory: a merge holds one group of each of its files.
const GROUP_WINDOWS: usize = 16 * 1024;
/// About as many sensors do all windows of a row group have: coarse ones have thousands, and 4 MiB are enough.
const GROUP_SENSORS: usize = 1 << 20;
/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// Readings that differ in time, value and quality only: what one frame says of one sensor, at one day.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run<'a> {
    /// At least one.
    pub(super) rows: &'a [Row],
    pub(super) head: &'a Head,
}

impl Run<'_> {
    fn first(&self) -> (u32, i64, u64, u64) {
        order(&self.rows[0], self.head)
    }

    fn last(&self) -> (u32, i64, u64, u64) {
        order(&self.rows[self.rows.len() - 1], self.head)
    }
}

/// The runs of rows, in their order.
pub(super) fn runs(rows: &Rows) -> impl Iterator<Item = Run<'_>> {
    let are_alike = |a: &Row, b: &Row| {
        (a.sensor, a.head, a.quantity) == (b.sensor, b.head, b.quantity)
            && a.at_ms.div_euclid(DAY_MS) == b.at_ms.div_euclid(DAY_MS)
    };
    rows.as_slice().chunk_by(are_alike).map(|run| Run { rows: run, head: rows.head_of(&run[0]) })
}

/// The order of a file.
pub(super) fn order(row: &Row, head: &Head) -> (u32, i64, u64, u64) {
    (row.sensor, row.at_ms, head.store, head.sequence)
}

/// Sorts the rows of runs. Nearly always whole runs follow one another; where they overlap, they become runs of one.
fn sort<'a>(runs: &mut Vec<Run<'a>>) {
    runs.sort_by_key(Run::first);
    let rows_ascend = |run: &Run<'_>| run.rows.is_sorted_by_key(|row| row.at_ms);
    let follows = |a: &Run<'_>, b: &Run<'_>| a.last() <= b.first();
    if runs.iter().all(rows_ascend) && runs.is_sorted_by(follows) {
        return;
    }
    let mut sorted = Vec::with_capacity(runs.len());
    for of_sensor in runs.chunk_by(|a, b| a.rows[0].sensor == b.rows[0].sensor) {
        let from = sorted.len();
        if of_sensor.iter().all(rows_ascend) && of_sensor.is_sorted_by(follows) {
            sorted.extend_from_slice(of_sensor);
        } else {
            let alone = |run: &Run<'a>| {
                let head = run.head;
                run.rows.chunks(1).map(move |rows| Run { rows, head })
            };
            sorted.extend(of_sensor.iter().flat_map(alone));
            sorted[from..].sort_by_key(Run::first);
        }
    }
    *runs = sorted;
}

/// The runs of each row group.
fn groups<'a, 'b>(mut runs: &'b [Run<'a>]) -> impl Iterator<Item = &'b [Run<'a>]> {
    std::iter::from_fn(move || {
        let mut rows = 0;
        let whole = runs.iter().take_while(|run| {
            rows += run.rows.len();
            rows <= GROUP_ROWS
        });
        // A run longer than a group has one of its own.
        let (group, rest) = runs.split_at(whole.count().max(1).min(runs.len()));
        runs = rest;
        (!group.is_empty()).then_some(group)
    })
}

/// Writes the readings of a stretch, one file per day and district, and makes them last. Returns how many files.
///
/// # Errors
/// [`FileError`]; files that were written stay, and are removed or replaced later.
pub fn write_readings(
    folder: &PoolFolder,
    stretch: Stretch,
    rows: &Rows,
    names: &Names,
) -> Result<u64, FileError> {
    let mut parts: BTreeMap<(i64, &str), Vec<Run<'_>>> = BTreeMap::new();
    let place = |run: &Run<'_>| (run.rows[0].at_ms.div_euclid(DAY_MS), run.head.area);
    let mut runs = runs(rows).peekable();
    while let Some(first) = runs.next() {
        // Readings of a box stand together, and so do those of a place.
        let (day, area) = place(&first);
        let part = parts.entry((day, names.district(area))).or_default();
        part.push(first);
        part.extend(std::iter::from_fn(|| runs.next_if(|run| place(run) == (day, area))));
    }
    for ((day, district), runs) in &mut parts {
        sort(runs);
        let place = folder.readings_folder(&day_of(day * DAY_MS), district);
        write_file(&place, stretch, schema::readings, |writer| {
            let mut zstd = compressor()?;
            for runs in groups(runs) {
                let mut group = Group::begin(writer, &mut zstd)?;
                reading_group(&mut group, runs, names)?;
                group.end()?;
            }
            Ok(())
        })?;
        folder.cards.put(place.join(stretch.file_name()), Card::of_readings(runs));
    }
    Ok(parts.len() as u64)
}

pub(super) fn reading_group(
    group: &mut Group<'_>,
    runs: &[Run<'_>],
    names: &Names,
) -> Result<(), ParquetError> {
    let rows = || runs.iter().flat_map(|run| run.rows);
    let length = |runs: &[Run<'_>]| runs.iter().map(|run| run.rows.len()).sum::<usize>();
    // Neighbours of a frame and place, whatever the sensor.
    let headed =
        || runs.chunk_by(|a, b| std::ptr::eq(a.head, b.head)).map(|runs| (runs[0].head, length(runs)));
    let none = Levels::default();
    // Readings of a box stand together, and so do those of a sensor: told apart by number, not by text.
    let gateways = runs.chunk_by(|a, b| a.head.gateway == b.head.gateway);
    group.runs(gateways.map(|runs| (names.gateway(runs[0].head.gateway), length(runs))))?;
    let named = runs.chunk_by(|a, b| a.rows[0].name == b.rows[0].name);
    group.texts(named.map(|runs| (names.sensor(runs[0].rows[0].name), length(runs))))?;
    let sensors: Vec<i32> = rows().map(|row| row.sensor as i32).collect();
    group.deltas(&sensors, &none)?;
    group.runs(runs.iter().map(|run| (i32::from(run.rows[0].quantity), run.rows.len())))?;
    let times: Vec<i64> = rows().map(|row| row.at_ms).collect();
    group.deltas(&times, &none)?;
    let values: Vec<f64> = rows().filter_map(Row::value).collect();
    let mut levels = Levels::default();
    rows().for_each(|row| extend_run(&mut levels.there, u32::from(row.has_value), 1));
    group.doubles(&values, &levels)?;
    group.runs(rows().map(|row| (i32::from(row.quality), 1)))?;
    group.runs(headed().map(|(head, n)| (i32::from(head.clock), n)))?;
    group.runs(headed().map(|(head, n)| (head.lat_e7, n)))?;
    group.runs(headed().map(|(head, n)| (head.lon_e7, n)))?;
    // Random numbers of 64 bits, bit for bit in a signed column.
    group.runs(headed().map(|(head, n)| (head.store as i64, n)))?;
    group.runs(headed().map(|(head, n)| (i32::from(head.lane), n)))?;
    group.runs(headed().map(|(head, n)| (head.sequence as i64, n)))?;
    group.runs(headed().map(|(head, n)| (head.received_ms, n)))
}

/// Writes the windows of a stretch at every precision, one file per day, and makes them last. Returns how many files.
/// They are unpacked a row group at a time.
///
/// # Errors
/// As [`write_readings`].
pub fn write_windows(folder: &PoolFolder, stretch: Stretch, windows: &Hot) -> Result<u64, FileError> {
    let mut days: BTreeMap<i64, Vec<(WindowKey, &Packed)>> = BTreeMap::new();
    for window in windows.iter() {
        days.entry(window.0.start_ms.div_euclid(DAY_MS)).or_default().push(window);
    }
    for (day, windows) in &mut days {
        windows.sort_unstable_by_key(|window| window.0);
        let place = folder.windows_folder(&day_of(day * DAY_MS));
        write_file(&place, stretch, schema::windows, |writer| {
            let mut zstd = compressor()?;
            let mut write = |rows: &mut Filling| {
                let mut group = Group::begin(writer, &mut zstd)?;
                rows.write(&mut group)?;
                group.end()
            };
            // A row group holds one precision, so that a reader of one skips the others.
            for precision in PRECISIONS {
                let mut rows = Filling::default();
                each_coarser(windows, precision, |key, all| {
                    if rows.is_full_for(&key) {
                        write(&mut rows)?;
                    }
                    rows.add(key, all);
                    Ok::<(), ParquetError>(())
                })?;
                write(&mut rows)?;
            }
            Ok(())
        })?;
        folder.cards.put(place.join(stretch.file_name()), Card::of_windows(windows.iter().map(|w| &w.0)));
    }
    Ok(days.len() as u64)
}

/// Windows that become a row group.
#[derive(Debug, Default)]
pub(super) struct Filling {
    rows: Vec<(WindowKey, Aggregate)>,
    /// Of all of them.
    sensors: usize,
}

impl Filling {
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether the next part belongs into another row group: this one has enough, and all parts of its last window.
    pub(super) fn is_full_for(&self, key: &WindowKey) -> bool {
        let has_enough = self.rows.len() >= GROUP_WINDOWS || self.sensors >= GROUP_SENSORS;
        has_enough && self.rows.last().is_some_and(|last| last.0 != *key)
    }

    /// Adds a part; those of one window follow one another.
    pub(super) fn add(&mut self, key: WindowKey, part: Aggregate) {
        self.sensors += part.sensors.len();
        match self.rows.last_mut() {
            Some((last, all)) if *last == key => all.merge(&part),
            _ => self.rows.push((key, part)),
        }
    }

    /// Writes the row group, and begins the next one.
    pub(super) fn write(&mut self, group: &mut Group<'_>) -> Result<(), ParquetError> {
        self.sensors = 0;
        window_group(group, &self.rows)?;
        self.rows.clear();
        Ok(())
    }
}

fn window_group(group: &mut Group<'_>, rows: &[(WindowKey, Aggregate)]) -> Result<(), ParquetError> {
    let keys = || rows.iter().map(|row| &row.0);
    let all = || rows.iter().map(|row| &row.1);
    let none = Levels::default();
    group.runs(keys().map(|key| (i32::from(key.quantity), 1)))?;
    group.runs(keys().map(|key| (i32::from(key.cell.precision()), 1)))?;
    let cells: Vec<(String, usize)> = (rows.chunk_by(|a, b| a.0.cell == b.0.cell))
        .map(|run| (run[0].0.cell.to_string(), run.len()))
        .collect();
    group.texts(cells.iter().map(|(cell, n)| (cell.as_bytes(), *n)))?;
    group.values(keys().map(|key| key.start_ms), &none)?;
    group.runs(std::iter::once((BASE_MS, rows.len())))?;
    group.values(all().map(|all| all.count as i64), &none)?;
    group.values(all().map(|all| all.sum_micro), &none)?;
    let doubles = |value: fn(&Aggregate) -> f64, group: &mut Group<'_>| {
        let values: Vec<f64> = all().map(value).collect();
        group.doubles(&values, &none)
    };
    let times = |end: fn(&Aggregate) -> &End, group: &mut Group<'_>| {
        // Boxes that poll in step see the same moments again and again.
        let values: Vec<i64> = all().map(|all| end(all).at_ms).collect();
        group.integers(&values, &none)
    };
    let sensors = |end: fn(&Aggregate) -> &End, group: &mut Group<'_>| {
        let values: Vec<i32> = all().map(|all| end(all).sensor as i32).collect();
        group.deltas(&values, &none)
    };
    doubles(|all| all.min, group)?;
    doubles(|all| all.max, group)?;
    times(|all| &all.first, group)?;
    doubles(|all| all.first.value, group)?;
    times(|all| &all.last, group)?;
    doubles(|all| all.last.value, group)?;
    sensors(|all| &all.first, group)?;
    sensors(|all| &all.last, group)?;
    let levels = lists(all().map(|all| all.sensors.len()));
    let values: Vec<i32> = all().flat_map(|all| &all.sensors).map(|&sensor| sensor as i32).collect();
    group.ascending(&values, &levels)?;
    let levels = lists(all().map(|all| all.sketch.buckets().len()));
    let values: Vec<i32> = all().flat_map(|all| all.sketch.buckets()).map(|bucket| bucket.0).collect();
    group.deltas(&values, &levels)?;
    group.values(all().flat_map(|all| all.sketch.buckets()).map(|bucket| bucket.1 as i64), &levels)
}

/// The levels of lists of these lengths.
pub(super) fn lists(lengths: impl Iterator<Item = usize>) -> Levels {
    let mut levels = Levels::default();
    for length in lengths {
        extend_run(&mut levels.inside, 0, 1);
        extend_run(&mut levels.there, u32::from(length > 0), length.max(1) as u32);
        if length > 1 {
            extend_run(&mut levels.inside, 1, length as u32 - 1);
        }
    }
    levels
}

/// Writes aside, syncs, renames, syncs the folder: a named file is whole.
fn write_file(
    folder: &Path,
    stretch: Stretch,
    schema: impl FnOnce() -> Result<TypePtr, ParquetError>,
    content: impl FnOnce(&mut Writer) -> Result<(), ParquetError>,
) -> Result<(), FileError> {
    if let Some(parent) = folder.parent() {
        make_folder(parent).map_err(FileError::io(parent))?;
    }
    make_folder(folder).map_err(FileError::io(folder))?;
    let path = folder.join(stretch.file_name());
    let aside = write_aside(folder, stretch, schema, content)?;
    fs::rename(&aside, &path).map_err(FileError::io(&path))?;
    sync_folder(folder).map_err(FileError::io(folder))
}

/// Writes a file aside and syncs it. Returns where it is.
pub(super) fn write_aside(
    folder: &Path,
    stretch: Stretch,
    schema: impl FnOnce() -> Result<TypePtr, ParquetError>,
    content: impl FnOnce(&mut Writer) -> Result<(), ParquetError>,
) -> Result<PathBuf, FileError> {
    let aside = folder.join(stretch.file_name()).with_extension("new");
    let file = File::create(&aside).map_err(FileError::io(&aside))?;
    let write = || -> Result<BufWriter<File>, ParquetError> {
        let mut writer = SerializedFileWriter::new(BufWriter::new(file), schema()?, schema::properties())?;
        content(&mut writer)?;
        writer.into_inner()
    };
    let buffer = write().map_err(FileError::format(&aside))?;
    let file = buffer.into_inner().map_err(|error| FileError::io(&aside)(error.into_error()))?;
    file.sync_all().map_err(FileError::io(&aside))?;
    Ok(aside)
}
