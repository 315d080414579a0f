//! Readings for their windows: only the columns that decide these.

use std::path::Path;

use parquet::data_type::{DoubleType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};

use super::read::{levelled, plain, rows_of};
use super::{FileError, compact, schema};
use crate::pool::readings::Measured;

/// Hands all readings of a file to `visit`, a row group at a time.
///
/// # Errors
/// [`FileError`] when the file is not there or not one of ours.
pub fn read_measured(path: &Path, mut visit: impl FnMut(&[Measured])) -> Result<(), FileError> {
    let file = compact::open(path)?;
    let read = || -> Result<(), ParquetError> {
        let reader = SerializedFileReader::new(file)?;
        for index in 0..reader.num_row_groups() {
            visit(&measured(&*reader.get_row_group(index)?)?);
        }
        Ok(())
    };
    read().map_err(FileError::format(path))
}

fn measured(group: &dyn RowGroupReader) -> Result<Vec<Measured>, ParquetError> {
    let rows = rows_of(group.metadata())?;
    let numbers = |column| plain::<Int32Type>(group, column, 0..rows);
    let sensors = numbers(schema::reading::SENSOR_NO)?;
    let quantities = numbers(schema::reading::QUANTITY)?;
    let qualities = numbers(schema::reading::QUALITY)?;
    let clocks = numbers(schema::reading::CLOCK)?;
    let lats = numbers(schema::reading::LAT_E7)?;
    let lons = numbers(schema::reading::LON_E7)?;
    let times = plain::<Int64Type>(group, schema::reading::AT_MS, 0..rows)?;
    let (values, there, _) = levelled::<DoubleType>(group, schema::reading::VALUE, 0..rows)?;
    let mut values = values.into_iter();
    let row = |row: usize| Measured {
        sensor: sensors[row] as u32,
        quantity: quantities[row] as u16,
        quality: qualities[row] as u8,
        clock: clocks[row] as u8,
        at_ms: times[row],
        value: if there[row] > 0 { values.next() } else { None },
        lat_e7: lats[row],
        lon_e7: lons[row],
    };
    Ok((0..rows).map(row).collect())
}
