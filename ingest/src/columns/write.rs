//! Writing one stretch of the log.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;

use foldhash::fast::RandomState;
use parquet::data_type::{
    ByteArray, ByteArrayType, DataType, DoubleType, FixedLenByteArray, FixedLenByteArrayType, Int32Type,
    Int64Type,
};
use parquet::errors::ParquetError;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::TypePtr;

use super::{FileError, PoolFolder, Stretch, day_of, schema};
use crate::cell::PRECISIONS;
use crate::log::{make_folder, sync_folder};
use crate::pool::Row;
use crate::pool::aggregate::Aggregate;
use crate::pool::sensors::Sensors;
use crate::pool::windows::{BASE_MS, WindowKey, Windows};

/// Most rows of a row group: what a reader must unpack to see one row of it.
const GROUP_ROWS: usize = 32 * 1024;

/// Names of the sensors and districts of a stretch.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// Gateway and sensor by the sensor's number.
    sensors: HashMap<u32, (ByteArray, ByteArray), RandomState>,
    /// District by the area's number.
    districts: HashMap<u32, String>,
}

impl Names {
    /// The names of all rows.
    pub fn of(rows: &[Row], sensors: &Sensors) -> Self {
        let mut names = Self::default();
        for run in rows.chunk_by(|a, b| (a.sensor, a.area) == (b.sensor, b.area)) {
            let &Row { sensor, area, .. } = &run[0];
            if let (Entry::Vacant(empty), Some(named)) = (names.sensors.entry(sensor), sensors.get(sensor)) {
                empty.insert((named.gateway.as_str().into(), named.name.into()));
            }
            names.districts.entry(area).or_insert_with(|| sensors.district(area).to_owned());
        }
        names
    }
}

type Writer = SerializedFileWriter<BufWriter<File>>;

/// Writes the readings of a stretch, one file per day and district, and makes them last. Returns how many files.
///
/// # Errors
/// [`FileError`]; files that were written stay, and are removed or replaced later.
pub fn write_readings(
    folder: &PoolFolder,
    stretch: Stretch,
    rows: &[Row],
    names: &Names,
) -> Result<u64, FileError> {
    let mut parts: BTreeMap<(i64, &str), Vec<&Row>> = BTreeMap::new();
    for row in rows {
        let district = names.districts.get(&row.area).map_or("unknown", String::as_str);
        parts.entry((row.at_ms.div_euclid(86_400_000), district)).or_default().push(row);
    }
    for ((day, district), part) in &mut parts {
        part.sort_by_key(|row| (row.sensor, row.at_ms, row.store, row.sequence));
        let place = folder.readings_folder(&day_of(day * 86_400_000), district);
        write_file(&place, stretch, schema::readings, |writer| {
            for group in part.chunks(GROUP_ROWS) {
                let mut columns = writer.next_row_group()?;
                reading_group(&mut columns, group, names)?;
                columns.close()?;
            }
            Ok(())
        })?;
    }
    Ok(parts.len() as u64)
}

/// Writes the windows of a stretch at every precision, one file per day, and makes them last. Returns how many files.
///
/// # Errors
/// As [`write_readings`].
pub fn write_windows(folder: &PoolFolder, stretch: Stretch, windows: &Windows) -> Result<u64, FileError> {
    let mut parts: BTreeMap<i64, Vec<Vec<(WindowKey, Aggregate)>>> = BTreeMap::new();
    for precision in PRECISIONS {
        let mut days: BTreeMap<i64, Vec<(WindowKey, Aggregate)>> = BTreeMap::new();
        for window in windows.rolled_up(precision, BASE_MS) {
            days.entry(window.0.start_ms.div_euclid(86_400_000)).or_default().push(window);
        }
        for (day, windows) in days {
            parts.entry(day).or_default().push(windows);
        }
    }
    for (day, precisions) in &parts {
        let place = folder.windows_folder(&day_of(day * 86_400_000));
        write_file(&place, stretch, schema::windows, |writer| {
            // A row group holds one precision, so that a reader of one skips the others.
            for group in precisions.iter().flat_map(|windows| windows.chunks(GROUP_ROWS)) {
                let mut columns = writer.next_row_group()?;
                window_group(&mut columns, group)?;
                columns.close()?;
            }
            Ok(())
        })?;
    }
    Ok(parts.len() as u64)
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
    let aside = path.with_extension("new");
    let file = File::create(&aside).map_err(FileError::io(&aside))?;
    let write = || -> Result<BufWriter<File>, ParquetError> {
        let mut writer = SerializedFileWriter::new(BufWriter::new(file), schema()?, schema::properties()?)?;
        content(&mut writer)?;
        writer.into_inner()
    };
    let buffer = write().map_err(FileError::format(&aside))?;
    let file = buffer.into_inner().map_err(|error| FileError::io(&aside)(error.into_error()))?;
    file.sync_all().map_err(FileError::io(&aside))?;
    fs::rename(&aside, &path).map_err(FileError::io(&path))?;
    sync_folder(folder).map_err(FileError::io(folder))
}

type Group<'a> = SerializedRowGroupWriter<'a, BufWriter<File>>;

fn column<T: DataType>(
    group: &mut Group<'_>,
    values: &[T::T],
    levels: Option<(&[i16], Option<&[i16]>)>,
) -> Result<(), ParquetError> {
    let mut column = group
        .next_column()?
        .ok_or_else(|| ParquetError::General("more columns written than the schema has".into()))?;
    let (definition, repetition) = levels.map_or((None, None), |(d, r)| (Some(d), r));
    column.typed::<T>().write_batch(values, definition, repetition)?;
    column.close()
}

fn plain<T: DataType, R>(
    group: &mut Group<'_>,
    rows: &[R],
    value: impl Fn(&R) -> T::T,
) -> Result<(), ParquetError> {
    let values: Vec<T::T> = rows.iter().map(value).collect();
    column::<T>(group, &values, None)
}

fn reading_group(group: &mut Group<'_>, rows: &[&Row], names: &Names) -> Result<(), ParquetError> {
    // Rows of a sensor stand together, and share its names.
    let (mut gateways, mut sensors) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
    for run in rows.chunk_by(|a, b| a.sensor == b.sensor) {
        let (gateway, sensor) = names.sensors.get(&run[0].sensor).cloned().unwrap_or_default();
        gateways.extend(std::iter::repeat_n(gateway, run.len()));
        sensors.extend(std::iter::repeat_n(sensor, run.len()));
    }
    column::<ByteArrayType>(group, &gateways, None)?;
    column::<ByteArrayType>(group, &sensors, None)?;
    plain::<Int32Type, _>(group, rows, |row| row.sensor as i32)?;
    plain::<Int32Type, _>(group, rows, |row| i32::from(row.quantity))?;
    plain::<Int64Type, _>(group, rows, |row| row.at_ms)?;
    let values: Vec<f64> = rows.iter().filter_map(|row| row.value).collect();
    let there: Vec<i16> = rows.iter().map(|row| i16::from(row.value.is_some())).collect();
    column::<DoubleType>(group, &values, Some((&there, None)))?;
    plain::<Int32Type, _>(group, rows, |row| i32::from(row.quality))?;
    plain::<Int32Type, _>(group, rows, |row| i32::from(row.clock))?;
    plain::<Int32Type, _>(group, rows, |row| row.lat_e7)?;
    plain::<Int32Type, _>(group, rows, |row| row.lon_e7)?;
    // Random numbers of 64 bits, bit for bit in a signed column.
    plain::<Int64Type, _>(group, rows, |row| row.store as i64)?;
    plain::<Int32Type, _>(group, rows, |row| i32::from(row.lane))?;
    plain::<Int64Type, _>(group, rows, |row| row.sequence as i64)?;
    plain::<Int64Type, _>(group, rows, |row| row.received_ms)
}

fn list<T: DataType, R, I: Iterator<Item = T::T>>(
    group: &mut Group<'_>,
    rows: &[R],
    items: impl Fn(&R) -> I,
) -> Result<(), ParquetError> {
    let (mut values, mut definition, mut repetition) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        let before = values.len();
        for item in items(row) {
            repetition.push(i16::from(values.len() > before));
            definition.push(1);
            values.push(item);
        }
        if values.len() == before {
            repetition.push(0);
            definition.push(0);
        }
    }
    column::<T>(group, &values, Some((&definition, Some(&repetition))))
}

fn window_group(group: &mut Group<'_>, rows: &[(WindowKey, Aggregate)]) -> Result<(), ParquetError> {
    type Item = (WindowKey, Aggregate);
    plain::<Int32Type, Item>(group, rows, |(key, _)| i32::from(key.quantity))?;
    plain::<Int32Type, Item>(group, rows, |(key, _)| i32::from(key.cell.precision()))?;
    plain::<ByteArrayType, Item>(group, rows, |(key, _)| ByteArray::from(key.cell.to_string().as_str()))?;
    plain::<Int64Type, Item>(group, rows, |(key, _)| key.start_ms)?;
    plain::<Int64Type, Item>(group, rows, |_| BASE_MS)?;
    plain::<Int64Type, Item>(group, rows, |(_, all)| all.count as i64)?;
    plain::<FixedLenByteArrayType, Item>(group, rows, |(_, all)| {
        FixedLenByteArray::from(all.sum_micro.to_be_bytes().to_vec())
    })?;
    plain::<DoubleType, Item>(group, rows, |(_, all)| all.min)?;
    plain::<DoubleType, Item>(group, rows, |(_, all)| all.max)?;
    plain::<Int64Type, Item>(group, rows, |(_, all)| all.first.at_ms)?;
    plain::<DoubleType, Item>(group, rows, |(_, all)| all.first.value)?;
    plain::<Int64Type, Item>(group, rows, |(_, all)| all.last.at_ms)?;
    plain::<DoubleType, Item>(group, rows, |(_, all)| all.last.value)?;
    plain::<Int32Type, Item>(group, rows, |(_, all)| all.first.sensor as i32)?;
    plain::<Int32Type, Item>(group, rows, |(_, all)| all.last.sensor as i32)?;
    list::<Int32Type, Item, _>(group, rows, |(_, all)| {
        all.sensors.iter().map(|&sensor| sensor as i32).collect::<Vec<_>>().into_iter()
    })?;
    list::<Int32Type, Item, _>(group, rows, |(_, all)| {
        all.sketch.buckets().iter().map(|bucket| bucket.0).collect::<Vec<_>>().into_iter()
    })?;
    list::<Int64Type, Item, _>(group, rows, |(_, all)| {
        all.sketch.buckets().iter().map(|bucket| bucket.1 as i64).collect::<Vec<_>>().into_iter()
    })
}
