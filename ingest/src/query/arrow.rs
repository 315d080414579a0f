//! A sheet as an Arrow IPC file. The only file that knows the arrow crates.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema, TimeUnit};
use serde_json::Value;

use super::sheet::{Column, Kind, Sheet};

/// The zone of all times.
const ZONE: &str = "UTC";

fn field(column: &Column) -> Field {
    let kind = match column.kind {
        Kind::Text => DataType::Utf8,
        Kind::Time => DataType::Timestamp(TimeUnit::Millisecond, Some(ZONE.into())),
        Kind::Count => DataType::Int64,
        Kind::Number => DataType::Float64,
    };
    Field::new(column.name, kind, true)
}

fn array<'a>(column: &Column, values: impl Iterator<Item = &'a Value>) -> ArrayRef {
    match column.kind {
        Kind::Text => Arc::new(values.map(Value::as_str).collect::<StringArray>()),
        Kind::Time => {
            let times: TimestampMillisecondArray = values.map(Value::as_i64).collect();
            Arc::new(times.with_timezone(ZONE))
        }
        Kind::Count => Arc::new(values.map(Value::as_i64).collect::<Int64Array>()),
        Kind::Number => Arc::new(values.map(Value::as_f64).collect::<Float64Array>()),
    }
}

/// The bytes of the file: one batch, what it is about in the metadata.
///
/// # Errors
/// [`ArrowError`], which an answer of ours does not cause.
pub(super) fn file(sheet: &Sheet<'_>) -> Result<Vec<u8>, ArrowError> {
    let fields: Vec<Field> = sheet.columns.iter().map(field).collect();
    let about = HashMap::from([("title".to_owned(), sheet.title.clone())]);
    let schema = Arc::new(Schema::new_with_metadata(fields, about));
    let columns = sheet.columns.iter().enumerate();
    let arrays = columns.map(|(at, column)| array(column, sheet.rows.iter().map(|row| row[at]))).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays)?;
    let mut writer = FileWriter::try_new(Vec::new(), &schema)?;
    writer.write(&batch)?;
    writer.finish()?;
    writer.into_inner()
}

#[cfg(test)]
mod tests {
    use arrow_array::Array;
    use arrow_ipc::reader::FileReader;
    use serde_json::json;

    use super::super::sheet::{COVERAGE, SERIES};
    use super::*;

    fn read_back(bytes: Vec<u8>) -> (Arc<Schema>, RecordBatch) {
        let mut reader = FileReader::try_new(std::io::Cursor::new(bytes), None).unwrap();
        let batch = reader.next().unwrap().unwrap();
        (reader.schema(), batch)
    }

    #[test]
    fn what_is_written_reads_back() {
        let body = json!({ "blind": [
            { "cell": "wm3yr", "sensors": 3, "last_ms": 1_795_305_600_000_i64, "bbox": [104, 30.5, 105, 31] },
            { "cell": "wm3yx", "sensors": 1, "last_ms": null, "bbox": [104, 30.5, 105, 31] },
        ], "blind_cells": 2 });
        let (schema, batch) = read_back(file(&Sheet::of(&body, "blind", COVERAGE)).unwrap());
        assert_eq!(schema.metadata()["title"], "blind 2");
        let cells = batch.column(0).as_any().downcast_ref::<StringArray>().unwrap();
        assert_eq!(cells.iter().flatten().collect::<Vec<_>>(), ["wm3yr", "wm3yx"]);
        let counts = batch.column(1).as_any().downcast_ref::<Int64Array>().unwrap();
        assert_eq!(counts.values().as_ref(), [3, 1]);
        let times = batch.column(2).as_any().downcast_ref::<TimestampMillisecondArray>().unwrap();
        assert_eq!(
            (times.value(0), times.is_null(1), times.timezone()),
            (1_795_305_600_000, true, Some("UTC"))
        );
        let west = batch.column(3).as_any().downcast_ref::<Float64Array>().unwrap();
        assert_eq!(west.value(0), 104.0, "whole numbers too");
    }

    #[test]
    fn an_empty_answer_is_a_file_with_columns() {
        let (schema, batch) = read_back(file(&Sheet::of(&json!({}), "points", SERIES)).unwrap());
        assert_eq!((schema.fields().len(), batch.num_rows()), (SERIES.len(), 0));
    }
}
