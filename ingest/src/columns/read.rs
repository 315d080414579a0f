//! Reading back: one sensor's readings, or the windows of one quantity. Row groups that cannot hold what is wanted
//! are skipped by their statistics, and only one row group is in memory at a time.

use std::fs::File;
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

use super::names::Found;
use super::{FileError, schema};
use crate::cell::{Bbox, Cell};
use crate::pool::Row;
use crate::pool::aggregate::{Aggregate, End};
use crate::pool::sketch::Sketch;
use crate::pool::windows::WindowKey;

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
}

/// Hands the wanted readings of a file to `visit`: time, value, quality; ascending by time.
///
/// # Errors
/// [`FileError`] when the file is not there or not one of ours.
pub fn read_readings(
    path: &Path,
    filter: &ReadingFilter,
    mut visit: impl FnMut(i64, Option<f64>, Quality),
) -> Result<(), FileError> {
    let file = super::compact::open(path)?;
    let read = || -> Result<(), ParquetError> {
        let reader = SerializedFileReader::new(file)?;
        for index in 0..reader.num_row_groups() {
            let meta = reader.metadata().row_group(index);
            let sensor = i64::from(filter.sensor as i32);
            if !may_hold(meta, schema::reading::SENSOR_NO, sensor, sensor)
                || !may_hold(meta, schema::reading::AT_MS, filter.from_ms, filter.to_ms.saturating_sub(1))
            {
                continue;
            }
            let group = reader.get_row_group(index)?;
            let rows = rows_of(meta)?;
            let sensors = plain::<Int32Type>(&*group, schema::reading::SENSOR_NO, rows)?;
            // Sorted by sensor: its rows are one run.
            let start = sensors.partition_point(|&number| i64::from(number) < sensor);
            let end = sensors.partition_point(|&number| i64::from(number) <= sensor);
            if start == end {
                continue;
            }
            let times = plain::<Int64Type>(&*group, schema::reading::AT_MS, rows)?;
            let (values, there, _) = levelled::<DoubleType>(&*group, schema::reading::VALUE, rows)?;
            let qualities = plain::<Int32Type>(&*group, schema::reading::QUALITY, rows)?;
            let mut next = there[..start].iter().filter(|&&level| level > 0).count();
            for row in start..end {
                let value = if there[row] > 0 {
                    next += 1;
                    values.get(next - 1).copied()
                } else {
                    None
                };
                if (filter.from_ms..filter.to_ms).contains(&times[row]) {
                    let quality =
                        Quality::ALL.get(qualities[row] as usize).copied().unwrap_or(Quality::Fault);
                    visit(times[row], value, quality);
                }
            }
        }
        Ok(())
    };
    read().map_err(FileError::format(path))
}

/// Hands the wanted partials of a file to `visit`.
///
/// # Errors
/// As [`read_readings`].
pub fn read_windows(
    path: &Path,
    filter: &WindowFilter,
    mut visit: impl FnMut(WindowKey, Aggregate),
) -> Result<(), FileError> {
    let file = super::compact::open(path)?;
    let read = || -> Result<(), ParquetError> {
        let reader = SerializedFileReader::new(file)?;
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
            window_group(&*reader.get_row_group(index)?, rows_of(meta)?, filter, &mut visit)?;
        }
        Ok(())
    };
    read().map_err(FileError::format(path))
}

/// All rows of a row group of readings; adds the names of their sensors. The area is not in the file: 0.
pub(super) fn rows(
    reader: &SerializedFileReader<File>,
    group: usize,
    known: &mut Found,
) -> Result<Vec<Row>, ParquetError> {
    let group = reader.get_row_group(group)?;
    let rows = rows_of(group.metadata())?;
    let sensors = plain::<Int32Type>(&*group, schema::reading::SENSOR_NO, rows)?;
    name_sensors(&*group, &sensors, known)?;
    let quantities = plain::<Int32Type>(&*group, 3, rows)?;
    let times = plain::<Int64Type>(&*group, schema::reading::AT_MS, rows)?;
    let (values, there, _) = levelled::<DoubleType>(&*group, schema::reading::VALUE, rows)?;
    let qualities = plain::<Int32Type>(&*group, schema::reading::QUALITY, rows)?;
    let clocks = plain::<Int32Type>(&*group, 7, rows)?;
    let lats = plain::<Int32Type>(&*group, 8, rows)?;
    let lons = plain::<Int32Type>(&*group, 9, rows)?;
    let stores = plain::<Int64Type>(&*group, 10, rows)?;
    let lanes = plain::<Int32Type>(&*group, 11, rows)?;
    let sequences = plain::<Int64Type>(&*group, 12, rows)?;
    let received = plain::<Int64Type>(&*group, 13, rows)?;
    let mut values = values.into_iter();
    let mut found = Vec::with_capacity(rows);
    let mut places = (u32::MAX, (0, 0));
    for row in 0..rows {
        let sensor = sensors[row] as u32;
        if row == 0 || places.0 != sensor {
            places = (sensor, known.places_of(sensor).unwrap_or_default());
        }
        let (gateway, name) = places.1;
        found.push(Row {
            sensor,
            gateway,
            name,
            area: 0,
            quantity: quantities[row] as u16,
            quality: qualities[row] as u8,
            clock: clocks[row] as u8,
            lane: lanes[row] as u8,
            at_ms: times[row],
            received_ms: received[row],
            value: if there[row] > 0 { values.next() } else { None },
            lat_e7: lats[row],
            lon_e7: lons[row],
            store: stores[row] as u64,
            sequence: sequences[row] as u64,
        });
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
    let quantities = plain::<Int32Type>(group, 0, rows)?;
    let precisions = plain::<Int32Type>(group, 1, rows)?;
    let cells = plain::<ByteArrayType>(group, 2, rows)?;
    let starts = plain::<Int64Type>(group, 3, rows)?;
    let keys: Vec<Option<WindowKey>> = (0..rows)
        .map(|row| {
            let cell = Cell::parse(cells[row].as_utf8().ok()?)?;
            let key =
                WindowKey { quantity: u16::try_from(quantities[row]).ok()?, cell, start_ms: starts[row] };
            (precisions[row] == i32::from(filter.precision) && filter.wants(&key)).then_some(key)
        })
        .collect();
    if keys.iter().all(Option::is_none) {
        return Ok(());
    }
    let counts = plain::<Int64Type>(group, 5, rows)?;
    let sums = plain::<FixedLenByteArrayType>(group, 6, rows)?;
    let minima = plain::<DoubleType>(group, 7, rows)?;
    let maxima = plain::<DoubleType>(group, 8, rows)?;
    let first_times = plain::<Int64Type>(group, 9, rows)?;
    let firsts = plain::<DoubleType>(group, 10, rows)?;
    let last_times = plain::<Int64Type>(group, 11, rows)?;
    let lasts = plain::<DoubleType>(group, 12, rows)?;
    let first_sensors = plain::<Int32Type>(group, 13, rows)?;
    let last_sensors = plain::<Int32Type>(group, 14, rows)?;
    let sensors = lists::<Int32Type>(group, 15, rows)?;
    let buckets = lists::<Int32Type>(group, 16, rows)?;
    let bucket_counts = lists::<Int64Type>(group, 17, rows)?;
    for (row, key) in keys.into_iter().enumerate() {
        let Some(key) = key else { continue };
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

fn rows_of(meta: &RowGroupMetaData) -> Result<usize, ParquetError> {
    usize::try_from(meta.num_rows()).map_err(|_| ParquetError::General("a negative number of rows".into()))
}

/// Whether a row group may hold a value in `from..=to`; yes when nothing is known.
fn may_hold(meta: &RowGroupMetaData, column: usize, from: i64, to: i64) -> bool {
    if column >= meta.num_columns() {
        return true;
    }
    let bounds = match meta.column(column).statistics() {
        Some(Statistics::Int32(bounds)) => {
            bounds.min_opt().zip(bounds.max_opt()).map(|(&low, &high)| (i64::from(low), i64::from(high)))
        }
        Some(Statistics::Int64(bounds)) => {
            bounds.min_opt().zip(bounds.max_opt()).map(|(&low, &high)| (low, high))
        }
        _ => None,
    };
    bounds.is_none_or(|(low, high)| low <= to && from <= high)
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

/// All values of a column with definition and repetition levels.
pub(super) fn levelled<T: DataType>(
    group: &dyn RowGroupReader,
    column: usize,
    rows: usize,
) -> Result<Levelled<T::T>, ParquetError> {
    let (mut reader, descriptor) = typed::<T>(group, column)?;
    let (mut values, mut definition, mut repetition) = (Vec::with_capacity(rows), Vec::new(), Vec::new());
    let mut have = 0;
    while have < rows {
        let (records, ..) = reader.read_records(
            rows - have,
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
    rows: usize,
) -> Result<Vec<T::T>, ParquetError> {
    let (values, ..) = levelled::<T>(group, column, rows)?;
    if values.len() == rows {
        Ok(values)
    } else {
        Err(ParquetError::General(format!("column {column} has {} values for {rows} rows", values.len())))
    }
}

pub(super) fn lists<T: DataType>(
    group: &dyn RowGroupReader,
    column: usize,
    rows: usize,
) -> Result<Vec<Vec<T::T>>, ParquetError> {
    let (values, definition, repetition) = levelled::<T>(group, column, rows)?;
    let mut lists: Vec<Vec<T::T>> = Vec::with_capacity(rows);
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
    if lists.len() == rows {
        Ok(lists)
    } else {
        Err(ParquetError::General(format!("column {column} has {} lists for {rows} rows", lists.len())))
    }
}
