//! Reading back: one sensor's readings, or the windows of one quantity. Row groups that cannot hold what is wanted
//! are skipped by their statistics, and only one row group is in memory at a time.

use std::cmp::Ordering;
use std::fs::File;
use std::ops::{Range, RangeInclusive};
use std::path::Path;

use parquet::basic::Type;
use parquet::column::reader::{ColumnReaderImpl, get_typed_column_reader};
use parquet::data_type::{ByteArrayType, DataType, DoubleType, FixedLenByteArrayType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnDescPtr;
use wire::Quality;

use super::cards::{self, Card};
use super::names::Found;
use super::{FileError, schema};
use crate::cell::{Bbox, Cell};
use crate::pool::aggregate::{Aggregate, End};
use crate::pool::rows::{Head, Row};
use crate::pool::sketch::Sketch;
use crate::pool::windows::WindowKey;

/// Row groups of a file that are unpacked to know its sensors; in larger ones each is of few sensors anyway.
const MAX_UNPACKED: usize = 4;
/// A step to the neighbouring cell, in degrees: far less than any cell is wide.
const NUDGE: f64 = 1e-9;

/// Which readings.
#[derive(Debug, Clone, Copy)]
pub struct ReadingFilter {
    /// Number of the sensor.
    pub sensor: u32,
    /// From here, inclusive, in milliseconds since 1970 UTC.
    pub from_ms: i64,
    /// To here, exclusive.
    pub to_ms: i64,
}

/// Which windows.
#[derive(Debug, Clone, Copy)]
pub struct WindowFilter {
    /// Of which quantity; `None` for all.
    pub quantity: Option<u16>,
    /// Of which precision.
    pub precision: u8,
    /// Beginning from here, inclusive, in milliseconds since 1970 UTC.
    pub from_ms: i64,
    /// To here, exclusive.
    pub to_ms: i64,
    /// Touching this rectangle.
    pub bbox: Option<Bbox>,
}

impl WindowFilter {
    /// Whether a window is wanted; its precision is the caller's business.
    pub fn wants(&self, key: &WindowKey) -> bool {
        self.quantity.is_none_or(|quantity| quantity == key.quantity)
            && (self.from_ms..self.to_ms).contains(&key.start_ms)
            && self.bbox.is_none_or(|bbox| key.cell.bbox().touches(&bbox))
    }

    /// The first and the last cell of the precision that may touch the rectangle: cells are numbered so that all of a
    /// rectangle lie between those of its south-western and its north-eastern corner.
    pub fn reach(&self) -> RangeInclusive<Cell> {
        match self.bbox {
            None => Cell::from_bits(0, self.precision)..=Cell::from_bits(u64::MAX, self.precision),
            Some(Bbox { west, south, east, north }) => {
                // A cell beyond the edge touches it too.
                let corner = |lat: f64, lon: f64, outward: f64| {
                    Cell::at(lat + outward * NUDGE, lon + outward * NUDGE, self.precision)
                };
                corner(south, west, -1.0)..=corner(north, east, 1.0)
            }
        }
    }
}

/// What a file of readings may hold. Of large files only what their statistics say.
pub(super) fn reading_card(path: &Path) -> Result<Card, FileError> {
    let file = super::compact::open(path)?;
    let read = || -> Result<Card, ParquetError> {
        let reader = SerializedFileReader::new(file)?;
        let groups = reader.metadata().row_groups();
        let mut sensors = Vec::new();
        for (index, meta) in groups.iter().enumerate() {
            match bounds(meta, schema::reading::SENSOR_NO) {
                Some((low, high)) if groups.len() > MAX_UNPACKED => sensors.push((low as u32, high as u32)),
                _ => {
                    let group = reader.get_row_group(index)?;
                    let numbers = plain::<Int32Type>(&*group, schema::reading::SENSOR_NO, 0..rows_of(meta)?)?;
                    sensors.extend(numbers.chunk_by(|a, b| a == b).map(|run| (run[0] as u32, run[0] as u32)));
                }
            }
        }
        Ok(Card { times: times(groups, schema::reading::AT_MS), sensors: cards::ranges(sensors.into_iter()) })
    };
    read().map_err(FileError::format(path))
}

/// What a file of windows may hold.
pub(super) fn window_card(path: &Path) -> Result<Card, FileError> {
    let file = super::compact::open(path)?;
    let reader = SerializedFileReader::new(file).map_err(FileError::format(path))?;
    let times = times(reader.metadata().row_groups(), schema::window::START_MS);
    Ok(Card { times, sensors: Box::default() })
}

/// Least and largest value of a column, if all row groups tell.
fn times(groups: &[RowGroupMetaData], column: usize) -> Option<(i64, i64)> {
    let all: Option<Vec<(i64, i64)>> = groups.iter().map(|meta| bounds(meta, column)).collect();
    let all = all?;
    all.iter().map(|bounds| bounds.0).min().zip(all.iter().map(|bounds| bounds.1).max())
}

/// Hands the wanted readings of a file to `visit`: time, value, quality; ascending by time. Returns how many row
/// groups were unpacked.
///
/// # Errors
/// [`FileError`] when the file is not there or not one of ours.
pub fn read_readings(
    path: &Path,
    filter: &ReadingFilter,
    mut visit: impl FnMut(i64, Option<f64>, Quality),
) -> Result<usize, FileError> {
    let file = super::compact::open(path)?;
    let read = || -> Result<usize, ParquetError> {
        let reader = SerializedFileReader::new(file)?;
        let mut unpacked = 0;
        for index in 0..reader.num_row_groups() {
            let meta = reader.metadata().row_group(index);
            let sensor = i64::from(filter.sensor as i32);
            if !may_hold(meta, schema::reading::SENSOR_NO, sensor, sensor)
                || !may_hold(meta, schema::reading::AT_MS, filter.from_ms, filter.to_ms.saturating_sub(1))
            {
                continue;
            }
            unpacked += 1;
            let group = reader.get_row_group(index)?;
            let sensors = plain::<Int32Type>(&*group, schema::reading::SENSOR_NO, 0..rows_of(meta)?)?;
            // Sorted by sensor: its rows are one run.
            let start = sensors.partition_point(|&number| i64::from(number) < sensor);
            let end = sensors.partition_point(|&number| i64::from(number) <= sensor);
            if start == end {
                continue;
            }
            let rows = start..end;
            let times = plain::<Int64Type>(&*group, schema::reading::AT_MS, rows.clone())?;
            let (values, there, _) = levelled::<DoubleType>(&*group, schema::reading::VALUE, rows.clone())?;
            let qualities = plain::<Int32Type>(&*group, schema::reading::QUALITY, rows)?;
            let mut values = values.into_iter();
            for ((at_ms, quality), there) in times.into_iter().zip(qualities).zip(there) {
                let value = if there > 0 { values.next() } else { None };
                if (filter.from_ms..filter.to_ms).contains(&at_ms) {
                    visit(
                        at_ms,
                        value,
                        Quality::ALL.get(quality as usize).copied().unwrap_or(Quality::Fault),
                    );
                }
            }
        }
        Ok(unpacked)
    };
    read().map_err(FileError::format(path))
}

/// Hands the wanted partials of a file to `visit`. Returns how many row groups were unpacked.
///
/// # Errors
/// As [`read_readings`].
pub fn read_windows(
    path: &Path,
    filter: &WindowFilter,
    mut visit: impl FnMut(WindowKey, Aggregate),
) -> Result<usize, FileError> {
    let file = super::compact::open(path)?;
    let read = || -> Result<usize, ParquetError> {
        let reader = SerializedFileReader::new(file)?;
        let mut unpacked = 0;
        for index in 0..reader.num_row_groups() {
            let meta = reader.metadata().row_group(index);
            let precision = i64::from(filter.precision);
            let quantity = filter.quantity.map(i64::from);
            if !may_hold(meta, schema::window::PRECISION, precision, precision)
                || !may_hold(meta, schema::window::START_MS, filter.from_ms, filter.to_ms.saturating_sub(1))
                || quantity.is_some_and(|q| !may_hold(meta, schema::window::QUANTITY, q, q))
            {
                continue;
            }
            unpacked += 1;
            window_group(&*reader.get_row_group(index)?, rows_of(meta)?, filter, &mut visit)?;
        }
        Ok(unpacked)
    };
    read().map_err(FileError::format(path))
}

/// All rows of a row group of readings, each with its head; adds the names of their sensors. The area is not in the
/// file: 0.
pub(super) fn rows(
    reader: &SerializedFileReader<File>,
    group: usize,
    known: &mut Found,
) -> Result<Vec<(Row, Head)>, ParquetError> {
    let group = reader.get_row_group(group)?;
    let rows = rows_of(group.metadata())?;
    let sensors = plain::<Int32Type>(&*group, schema::reading::SENSOR_NO, 0..rows)?;
    name_sensors(&*group, &sensors, known)?;
    let quantities = plain::<Int32Type>(&*group, schema::reading::QUANTITY, 0..rows)?;
    let times = plain::<Int64Type>(&*group, schema::reading::AT_MS, 0..rows)?;
    let (values, there, _) = levelled::<DoubleType>(&*group, schema::reading::VALUE, 0..rows)?;
    let qualities = plain::<Int32Type>(&*group, schema::reading::QUALITY, 0..rows)?;
    let clocks = plain::<Int32Type>(&*group, schema::reading::CLOCK, 0..rows)?;
    let lats = plain::<Int32Type>(&*group, schema::reading::LAT_E7, 0..rows)?;
    let lons = plain::<Int32Type>(&*group, schema::reading::LON_E7, 0..rows)?;
    let stores = plain::<Int64Type>(&*group, 10, 0..rows)?;
    let lanes = plain::<Int32Type>(&*group, 11, 0..rows)?;
    let sequences = plain::<Int64Type>(&*group, 12, 0..rows)?;
    let received = plain::<Int64Type>(&*group, 13, 0..rows)?;
    let mut values = values.into_iter();
    let mut found = Vec::with_capacity(rows);
    let mut places = (u32::MAX, (0, 0));
    for row in 0..rows {
        let sensor = sensors[row] as u32;
        if row == 0 || places.0 != sensor {
            places = (sensor, known.places_of(sensor).unwrap_or_default());
        }
        let (gateway, name) = places.1;
        let value = if there[row] > 0 { values.next() } else { None };
        let head = Head {
            received_ms: received[row],
            store: stores[row] as u64,
            sequence: sequences[row] as u64,
            gateway,
            area: 0,
            lat_e7: lats[row],
            lon_e7: lons[row],
            clock: clocks[row] as u8,
            lane: lanes[row] as u8,
        };
        let row = Row {
            at_ms: times[row],
            value: value.unwrap_or_default(),
            sensor,
            name,
            head: 0,
            quantity: quantities[row] as u16,
            quality: qualities[row] as u8,
            has_value: value.is_some(),
        };
        found.push((row, head));
    }
    Ok(found)
}

/// Adds the names of sensors that are not known yet: of each row group some, so nearly all texts are passed over.
fn name_sensors(group: &dyn RowGroupReader, sensors: &[i32], known: &mut Found) -> Result<(), ParquetError> {
    let (mut gateways, mut names) =
        (typed::<ByteArrayType>(group, 0)?.0, typed::<ByteArrayType>(group, 1)?.0);
    let (mut read, mut row) = (0, 0);
    for run in sensors.chunk_by(|a, b| a == b) {
        let sensor = run[0] as u32;
        if known.places_of(sensor).is_none() {
            let mut text = Vec::with_capacity(2);
            for column in [&mut gateways, &mut names] {
                column.skip_records(row - read)?;
                column.read_records(1, None, None, &mut text)?;
            }
            let [gateway, name] = &text[..] else {
                return Err(ParquetError::General("names of sensors end early".into()));
            };
            if !known.add(sensor, gateway.as_utf8()?, name.as_utf8()?) {
                return Err(ParquetError::General("4 GiB of names are too many".into()));
            }
            read = row + 1;
        }
        row += run.len();
    }
    Ok(())
}

/// All partials of a row group of windows, if it is of this precision.
pub(super) fn windows(
    reader: &SerializedFileReader<File>,
    group: usize,
    precision: u8,
) -> Result<Vec<(WindowKey, Aggregate)>, ParquetError> {
    let meta = reader.metadata().row_group(group);
    let mut found = Vec::new();
    if may_hold(meta, schema::window::PRECISION, precision.into(), precision.into()) {
        let all = WindowFilter { quantity: None, precision, from_ms: i64::MIN, to_ms: i64::MAX, bbox: None };
        window_group(&*reader.get_row_group(group)?, rows_of(meta)?, &all, &mut |key, part| {
            found.push((key, part));
        })?;
    }
    Ok(found)
}

fn window_group(
    group: &dyn RowGroupReader,
    rows: usize,
    filter: &WindowFilter,
    visit: &mut impl FnMut(WindowKey, Aggregate),
) -> Result<(), ParquetError> {
    let mut rows = 0..rows;
    if let Some(wanted) = filter.quantity {
        let quantities = plain::<Int32Type>(group, schema::window::QUANTITY, rows.clone())?;
        // Sorted by quantity, then cell: those of one are one run.
        rows = run_of(rows.start, &quantities, |quantity| quantity.cmp(&i32::from(wanted)));
    }
    let cells = plain::<ByteArrayType>(group, schema::window::CELL, rows.clone())?;
    let cells: Vec<Option<Cell>> =
        cells.iter().map(|text| text.as_utf8().ok().and_then(Cell::parse)).collect();
    let reach = filter.reach();
    let mut skipped = 0;
    if filter.quantity.is_some() {
        let near = run_of(rows.start, &cells, |cell| match cell {
            Some(cell) if cell < reach.start() => Ordering::Less,
            Some(cell) if cell > reach.end() => Ordering::Greater,
            _ => Ordering::Equal,
        });
        skipped = near.start - rows.start;
        rows = near;
    }
    if rows.is_empty() {
        return Ok(());
    }
    let quantities = plain::<Int32Type>(group, schema::window::QUANTITY, rows.clone())?;
    let precisions = plain::<Int32Type>(group, schema::window::PRECISION, rows.clone())?;
    let starts = plain::<Int64Type>(group, schema::window::START_MS, rows.clone())?;
    let keys: Vec<Option<WindowKey>> = (0..rows.len())
        .map(|row| {
            let quantity = u16::try_from(quantities[row]).ok()?;
            let key = WindowKey { quantity, cell: cells[skipped + row]?, start_ms: starts[row] };
            (precisions[row] == i32::from(filter.precision) && filter.wants(&key)).then_some(key)
        })
        .collect();
    let Some(first) = keys.iter().position(Option::is_some) else { return Ok(()) };
    let last = keys.iter().rposition(Option::is_some).unwrap_or(first);
    let keys = &keys[first..=last];
    let rows = rows.start + first..rows.start + last + 1;
    let counts = plain::<Int64Type>(group, 5, rows.clone())?;
    let sums = plain::<FixedLenByteArrayType>(group, 6, rows.clone())?;
    let minima = plain::<DoubleType>(group, 7, rows.clone())?;
    let maxima = plain::<DoubleType>(group, 8, rows.clone())?;
    let first_times = plain::<Int64Type>(group, 9, rows.clone())?;
    let firsts = plain::<DoubleType>(group, 10, rows.clone())?;
    let last_times = plain::<Int64Type>(group, 11, rows.clone())?;
    let lasts = plain::<DoubleType>(group, 12, rows.clone())?;
    let first_sensors = plain::<Int32Type>(group, 13, rows.clone())?;
    let last_sensors = plain::<Int32Type>(group, 14, rows.clone())?;
    let sensors = lists::<Int32Type>(group, 15, rows.clone())?;
    let buckets = lists::<Int32Type>(group, 16, rows.clone())?;
    let bucket_counts = lists::<Int64Type>(group, 17, rows)?;
    for (row, key) in keys.iter().enumerate() {
        let Some(key) = *key else { continue };
        let mut sketch = Sketch::default();
        for (&bucket, &count) in buckets[row].iter().zip(&bucket_counts[row]) {
            sketch.add_bucket(bucket, count as u64);
        }
        let mut sum = [0; 16];
        let bytes = sums[row].data();
        if bytes.len() != 16 {
            return Err(ParquetError::General(format!("a sum of {} bytes, 16 expected", bytes.len())));
        }
        sum.copy_from_slice(bytes);
        visit(
            key,
            Aggregate {
                count: counts[row] as u64,
                sum_micro: i128::from_be_bytes(sum),
                min: minima[row],
                max: maxima[row],
                first: End { at_ms: first_times[row], sensor: first_sensors[row] as u32, value: firsts[row] },
                last: End { at_ms: last_times[row], sensor: last_sensors[row] as u32, value: lasts[row] },
                sketch,
                sensors: sensors[row].iter().map(|&sensor| sensor as u32).collect(),
            },
        );
    }
    Ok(())
}

pub(super) fn rows_of(meta: &RowGroupMetaData) -> Result<usize, ParquetError> {
    usize::try_from(meta.num_rows()).map_err(|_| ParquetError::General("a negative number of rows".into()))
}

/// Whether a row group may hold a value in `from..=to`; yes when nothing is known.
fn may_hold(meta: &RowGroupMetaData, column: usize, from: i64, to: i64) -> bool {
    bounds(meta, column).is_none_or(|(low, high)| low <= to && from <= high)
}

/// The least and the largest value of a column of integers, if the row group tells.
fn bounds(meta: &RowGroupMetaData, column: usize) -> Option<(i64, i64)> {
    if column >= meta.num_columns() {
        return None;
    }
    match meta.column(column).statistics()? {
        Statistics::Int32(bounds) => {
            bounds.min_opt().zip(bounds.max_opt()).map(|(&low, &high)| (i64::from(low), i64::from(high)))
        }
        Statistics::Int64(bounds) => bounds.min_opt().zip(bounds.max_opt()).map(|(&low, &high)| (low, high)),
        _ => None,
    }
}

/// The rows, counted from `start`, whose value is the wanted one; values ascend.
fn run_of<T>(start: usize, values: &[T], order: impl Fn(&T) -> Ordering) -> Range<usize> {
    let first = values.partition_point(|value| order(value).is_lt());
    let end = values.partition_point(|value| order(value).is_le());
    start + first..start + end
}

pub(super) type Levelled<T> = (Vec<T>, Vec<i16>, Vec<i16>);

/// A column that must be of this type.
fn typed<T: DataType>(
    group: &dyn RowGroupReader,
    column: usize,
) -> Result<(ColumnReaderImpl<T>, ColumnDescPtr), ParquetError> {
    if column >= group.num_columns() {
        return Err(ParquetError::General(format!("column {column} is missing: not one of our files")));
    }
    let descriptor = group.metadata().column(column).column_descr_ptr();
    if descriptor.physical_type() != T::get_physical_type() {
        let (found, wanted): (Type, Type) = (descriptor.physical_type(), T::get_physical_type());
        return Err(ParquetError::General(format!("column {column} holds {found}, {wanted} expected")));
    }
    Ok((get_typed_column_reader::<T>(group.get_column_reader(column)?), descriptor))
}

/// The values of a column in some rows, with definition and repetition levels.
pub(super) fn levelled<T: DataType>(
    group: &dyn RowGroupReader,
    column: usize,
    rows: Range<usize>,
) -> Result<Levelled<T::T>, ParquetError> {
    let (mut reader, descriptor) = typed::<T>(group, column)?;
    let (mut values, mut definition, mut repetition) =
        (Vec::with_capacity(rows.len()), Vec::new(), Vec::new());
    reader.skip_records(rows.start)?;
    let mut have = 0;
    while have < rows.len() {
        let (records, ..) = reader.read_records(
            rows.len() - have,
            (descriptor.max_def_level() > 0).then_some(&mut definition),
            (descriptor.max_rep_level() > 0).then_some(&mut repetition),
            &mut values,
        )?;
        if records == 0 {
            return Err(ParquetError::General(format!("column {column} ends early")));
        }
        have += records;
    }
    Ok((values, definition, repetition))
}

pub(super) fn plain<T: DataType>(
    group: &dyn RowGroupReader,
    column: usize,
    rows: Range<usize>,
) -> Result<Vec<T::T>, ParquetError> {
    let count = rows.len();
    let (values, ..) = levelled::<T>(group, column, rows)?;
    if values.len() == count {
        Ok(values)
    } else {
        Err(ParquetError::General(format!("column {column} has {} values for {count} rows", values.len())))
    }
}

pub(super) fn lists<T: DataType>(
    group: &dyn RowGroupReader,
    column: usize,
    rows: Range<usize>,
) -> Result<Vec<Vec<T::T>>, ParquetError> {
    let count = rows.len();
    let (values, definition, repetition) = levelled::<T>(group, column, rows)?;
    let mut lists: Vec<Vec<T::T>> = Vec::with_capacity(count);
    let mut values = values.into_iter();
    for (defined, repeated) in definition.into_iter().zip(repetition) {
        if repeated == 0 {
            lists.push(Vec::new());
        }
        if defined > 0
            && let (Some(list), Some(value)) = (lists.last_mut(), values.next())
        {
            list.push(value);
        }
    }
    if lists.len() == count {
        Ok(lists)
    } else {
        Err(ParquetError::General(format!("column {column} has {} lists for {count} rows", lists.len())))
    }
}
