//! The columns. Other engines rely on them: add at the end, never rename.

use std::sync::Arc;

use parquet::errors::ParquetError;
use parquet::file::properties::{WriterProperties, WriterPropertiesPtr, WriterVersion};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::TypePtr;

/// One row per reading, sorted by `sensor_no`, `at_ms`.
const READINGS: &str = "
message reading {
  required binary gateway (STRING);
  required binary sensor (STRING);
  required int32 sensor_no;
  required int32 quantity;
  required int64 at_ms (TIMESTAMP(MILLIS,true));
  optional double value;
  required int32 quality;
  required int32 clock;
  required int32 lat_e7;
  required int32 lon_e7;
  required int64 store;
  required int32 lane;
  required int64 sequence;
  required int64 received_ms (TIMESTAMP(MILLIS,true));
}";

/// One row per partial of a window, sorted by `precision`, `quantity`, `cell`, `start_ms`.
const WINDOWS: &str = "
message window {
  required int32 quantity;
  required int32 precision;
  required binary cell (STRING);
  required int64 start_ms (TIMESTAMP(MILLIS,true));
  required int64 length_ms;
  required int64 count;
  required fixed_len_byte_array(16) sum (DECIMAL(38,6));
  required double min;
  required double max;
  required int64 first_ms (TIMESTAMP(MILLIS,true));
  required double first;
  required int64 last_ms (TIMESTAMP(MILLIS,true));
  required double last;
  required int32 first_sensor;
  required int32 last_sensor;
  required group sensors (LIST) { repeated group list { required int32 element; } }
  required group buckets (LIST) { repeated group list { required int32 element; } }
  required group bucket_counts (LIST) { repeated group list { required int64 element; } }
}";

/// Readings by column number.
pub(super) mod reading {
    pub(in super::super) const SENSOR_NO: usize = 2;
    pub(in super::super) const QUANTITY: usize = 3;
    pub(in super::super) const AT_MS: usize = 4;
    pub(in super::super) const VALUE: usize = 5;
    pub(in super::super) const QUALITY: usize = 6;
    pub(in super::super) const CLOCK: usize = 7;
    pub(in super::super) const LAT_E7: usize = 8;
    pub(in super::super) const LON_E7: usize = 9;
}

/// Windows by column number.
pub(super) mod window {
    pub(in super::super) const QUANTITY: usize = 0;
    pub(in super::super) const PRECISION: usize = 1;
    pub(in super::super) const CELL: usize = 2;
    pub(in super::super) const START_MS: usize = 3;
}

pub(super) fn readings() -> Result<TypePtr, ParquetError> {
    parse_message_type(READINGS).map(Arc::new)
}

pub(super) fn windows() -> Result<TypePtr, ParquetError> {
    parse_message_type(WINDOWS).map(Arc::new)
}

/// What the footer needs to know: chunks are encoded in [`super::chunk`].
pub(super) fn properties() -> WriterPropertiesPtr {
    let builder = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_2_0)
        .set_offset_index_disabled(true)
        .set_created_by(concat!("watchfire ", env!("CARGO_PKG_VERSION")).to_owned());
    Arc::new(builder.build())
}
