//! Reads the readings files of a pool as any stranger would: by column name, knowing nothing of ingest.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use parquet::column::reader::{ColumnReaderImpl, get_typed_column_reader};
use parquet::data_type::{ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};

/// What audit and stories need of one stored reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// Ingest's number of the sensor.
    pub sensor_no: i32,
    /// When it was taken, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// The gateway's buffer, 0 for SenML.
    pub store: u64,
    /// Number of the lane.
    pub lane: u8,
    /// The frame it came in.
    pub sequence: u64,
    /// What is known of its time: 0 a guess, 1 held over, 2 synchronised.
    pub clock: i32,
    /// Its value, as bits; `None` for a fault.
    pub value: Option<u64>,
}

/// All Parquet files below a folder, sorted.
///
/// # Errors
/// Of the file system.
pub fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = below(folder)?;
    found.retain(|path| path.extension().is_some_and(|extension| extension == "parquet"));
    Ok(found)
}

/// All files below a folder, sorted.
fn below(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    Ok(found)
}

/// Lets files look an hour old: ingest merges, and clears away, only what has rested for minutes. Gives those that were
/// merged into others and wait to be removed.
///
/// # Errors
/// Of the file system. Ingest must not run: files may not vanish meanwhile.
pub fn age(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    #[allow(clippy::disallowed_methods)] // for programs that drive
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    let mut merged = below(folder)?;
    for path in &merged {
        File::options().write(true).open(path)?.set_modified(hour_ago)?;
    }
    merged.retain(|path| path.extension().is_some_and(|extension| extension == "old"));
    Ok(merged)
}

/// Reads a file's structure, which lies at its end.
///
/// # Errors
/// When it is not whole.
pub fn whole(path: &Path) -> anyhow::Result<()> {
    SerializedFileReader::new(File::open(path)?)?;
    Ok(())
}

/// Hands every row of a readings file to `visit`, with the gateway's name.
///
/// # Errors
/// When the file cannot be read, or lacks a column.
pub fn read(path: &Path, mut visit: impl FnMut(&str, Row)) -> anyhow::Result<()> {
    let reader = SerializedFileReader::new(File::open(path)?)?;
    for number in 0..reader.num_row_groups() {
        let group = reader.get_row_group(number)?;
        let gateways = column::<ByteArrayType>(&*group, "gateway")?;
        let sensors = column::<Int32Type>(&*group, "sensor_no")?;
        let times = column::<Int64Type>(&*group, "at_ms")?;
        let stores = column::<Int64Type>(&*group, "store")?;
        let lanes = column::<Int32Type>(&*group, "lane")?;
        let sequences = column::<Int64Type>(&*group, "sequence")?;
        let clocks = column::<Int32Type>(&*group, "clock")?;
        let mut values = optional::<DoubleType>(&*group, "value")?.into_iter();
        for (index, gateway) in gateways.iter().enumerate() {
            let row = Row {
                sensor_no: sensors[index],
                at_ms: times[index],
                store: stores[index] as u64,
                lane: u8::try_from(lanes[index]).context("a lane that is none")?,
                sequence: sequences[index] as u64,
                clock: clocks[index],
                value: values.next().flatten().map(f64::to_bits),
            };
            visit(std::str::from_utf8(gateway.data())?, row);
        }
    }
    Ok(())
}

/// A whole column that has no nulls.
fn column<T: DataType>(group: &dyn RowGroupReader, name: &str) -> anyhow::Result<Vec<T::T>> {
    let values: Option<Vec<T::T>> = optional::<T>(group, name)?.into_iter().collect();
    values.with_context(|| format!("column {name:?} has nulls"))
}

/// A whole column.
fn optional<T: DataType>(group: &dyn RowGroupReader, name: &str) -> anyhow::Result<Vec<Option<T::T>>> {
    let columns = group.metadata().columns();
    let index = columns.iter().position(|column| column.column_path().string() == name);
    let index = index.with_context(|| format!("there is no column {name:?}"))?;
    let rows = usize::try_from(group.metadata().num_rows())?;
    let most = columns[index].column_descr().max_def_level();
    let mut reader: ColumnReaderImpl<T> = get_typed_column_reader(group.get_column_reader(index)?);
    let mut values = Vec::with_capacity(rows);
    let mut levels = Vec::with_capacity(rows);
    let mut read = 0;
    while read < rows {
        let (records, _, _) = reader.read_records(rows - read, Some(&mut levels), None, &mut values)?;
        if records == 0 {
            bail!("column {name:?} ends after {read} of {rows} rows");
        }
        read += records;
    }
    let mut values = values.into_iter();
    // A column without nulls has no levels.
    levels.resize(rows, most);
    Ok(levels.into_iter().map(|level| if level == most { values.next() } else { None }).collect())
}
