//! Column chunks, encoded by us: one dictionary page and one data page, or one data page of deltas, of split doubles or
//! of texts without what they share with the one before.
//!
//! The crate's writer takes a column value by value. Ours come in runs (the readings of a frame share all but time
//! and value), so a column of runs costs as much as it has runs. Two more things the crate does not do, and zstd
//! likes: dictionaries are sorted, and what is packed is packed to whole bytes. Layout, headers and footer stay the
//! crate's.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufWriter;

use foldhash::fast::RandomState;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::statistics::Statistics;
use parquet::file::writer::{
    SerializedFileWriter, SerializedPageWriter, SerializedRowGroupWriter, TrackedWrite,
};
use parquet::schema::types::ColumnDescPtr;
use zstd::bulk::Compressor;

use super::value::{Integer, Value};
use crate::varint::{put as varint, zigzag};

/// Level of zstd. On what is encoded already, 3 takes some nanoseconds a reading more than 1 and leaves a twentieth less;
/// higher ones take many more for next to nothing.
const LEVEL: i32 = 3;
/// With fewer than one different double in so many, a dictionary is the shorter form beyond doubt.
const SURELY_ALIKE: usize = 16;
/// Values on which the base of a column of lists is tried.
const SAMPLE: usize = 4096;
/// Deltas of a block, and of each of its miniblocks.
const BLOCK: usize = 128;
const MINIBLOCK: usize = 32;

pub(super) type Writer = SerializedFileWriter<BufWriter<File>>;

/// Which of a column's places hold a value, and which begin a row. Empty for a column that always holds one.
#[derive(Debug, Default)]
pub(super) struct Levels {
    /// Runs of 1 (a value) and 0 (none).
    pub(super) there: Vec<(u32, u32)>,
    /// Runs of 0 (a row begins) and 1 (it goes on). Empty when every place is a row.
    pub(super) inside: Vec<(u32, u32)>,
}

/// Notes `length` more of `value` in a list of runs.
pub(super) fn extend_run(runs: &mut Vec<(u32, u32)>, value: u32, length: u32) {
    match runs.last_mut() {
        Some((last, so_far)) if *last == value => *so_far += length,
        _ => runs.push((value, length)),
    }
}

fn total(runs: &[(u32, u32)]) -> usize {
    runs.iter().map(|&(_, length)| length as usize).sum()
}

/// A row group that is being written, column by column.
pub(super) struct Group<'a> {
    writer: SerializedRowGroupWriter<'a, BufWriter<File>>,
    columns: std::vec::IntoIter<ColumnDescPtr>,
    zstd: &'a mut Compressor<'static>,
}

/// The content of a page, and what zstd makes of it.
struct Pressed {
    bytes: Vec<u8>,
    zstd: Vec<u8>,
}

impl Pressed {
    fn of(compressor: &mut Compressor<'static>, bytes: Vec<u8>) -> Result<Self, ParquetError> {
        let zstd = compressor.compress(&bytes)?;
        Ok(Self { bytes, zstd })
    }
}

/// A compressor for the groups of a thread: making one costs more than a small column.
pub(super) fn compressor() -> Result<Compressor<'static>, ParquetError> {
    Compressor::new(LEVEL).map_err(|error| ParquetError::External(Box::new(error)))
}

impl<'a> Group<'a> {
    pub(super) fn begin(
        file: &'a mut Writer,
        zstd: &'a mut Compressor<'static>,
    ) -> Result<Self, ParquetError> {
        let columns = file.schema_descr().columns().to_vec().into_iter();
        Ok(Self { writer: file.next_row_group()?, columns, zstd })
    }

    pub(super) fn end(self) -> Result<(), ParquetError> {
        self.writer.close().map(drop)
    }

    /// A column of runs: each a value and how often it stands.
    pub(super) fn runs<T: Value>(
        &mut self,
        runs: impl Iterator<Item = (T, usize)>,
    ) -> Result<(), ParquetError> {
        let dictionary = Dictionary::of(runs);
        self.dictionary(&dictionary, &Levels::default())
    }

    /// A column of runs of texts: by dictionary when most are long; else each as how much it has in common with the one
    /// before, and the rest.
    pub(super) fn texts<'t>(
        &mut self,
        runs: impl Iterator<Item = (&'t [u8], usize)> + Clone,
    ) -> Result<(), ParquetError> {
        let (number, rows) = runs.clone().fold((0, 0), |(number, rows), run| (number + 1, rows + run.1));
        if number * 2 <= rows {
            return self.runs(runs);
        }
        let texts: Vec<&[u8]> = runs.flat_map(|(text, times)| std::iter::repeat_n(text, times)).collect();
        let statistics = Value::statistics(texts.iter().min().copied(), texts.iter().max().copied(), 0);
        let page = Pressed::of(self.zstd, front_coded(&texts))?;
        self.chunk(None, (Encoding::DELTA_BYTE_ARRAY, page), rows, &Levels::default(), statistics)
    }

    /// A column of values: by dictionary, or one by one when they are seldom alike.
    pub(super) fn values<T: Value>(
        &mut self,
        values: impl Iterator<Item = T>,
        levels: &Levels,
    ) -> Result<(), ParquetError> {
        let dictionary = Dictionary::of(values.map(|value| (value, 1)));
        let count = total(&dictionary.runs);
        if dictionary.is_short_for(count) {
            return self.dictionary(&dictionary, levels);
        }
        let mut bytes = Vec::with_capacity(count * 8);
        for &(place, length) in &dictionary.runs {
            (0..length).for_each(|_| dictionary.values[place as usize].put(&mut bytes));
        }
        let page = Pressed::of(self.zstd, bytes)?;
        self.chunk(None, (Encoding::PLAIN, page), count, levels, dictionary.statistics(levels))
    }

    /// A column of measured values: by dictionary, as chips tell few values apart, or the bytes of the same place of all
    /// doubles together. Which is shorter depends on how often values come again and how near they are to each other, so
    /// unless it is plain both are tried.
    pub(super) fn doubles(&mut self, values: &[f64], levels: &Levels) -> Result<(), ParquetError> {
        let dictionary = Dictionary::of(values.iter().map(|&value| (value, 1)));
        if dictionary.values.len() < values.len() / SURELY_ALIKE {
            return self.dictionary(&dictionary, levels);
        }
        let split = Pressed::of(self.zstd, split(values))?;
        let pages = self.pages(&dictionary)?;
        if pages.0.zstd.len() + pages.1.zstd.len() <= split.zstd.len() {
            return self.paged(&dictionary, pages, levels);
        }
        let statistics = dictionary.statistics(levels);
        self.chunk(None, (Encoding::BYTE_STREAM_SPLIT, split), values.len(), levels, statistics)
    }

    /// A column of integers near to those before them.
    pub(super) fn deltas<T: Integer>(&mut self, values: &[T], levels: &Levels) -> Result<(), ParquetError> {
        self.steps(values, Base::Least, levels)
    }

    /// A column of lists, each of which ascends. Which base is the shorter one is tried on the first values: that depends on
    /// how long the lists are and how regular.
    pub(super) fn ascending<T: Integer>(
        &mut self,
        values: &[T],
        levels: &Levels,
    ) -> Result<(), ParquetError> {
        let sample = &values[..values.len().min(SAMPLE)];
        let least = self.zstd.compress(&delta_bytes(sample, Base::Least))?.len();
        let forward = self.zstd.compress(&delta_bytes(sample, Base::LeastForward))?.len();
        let base = if forward < least { Base::LeastForward } else { Base::Least };
        self.steps(values, base, levels)
    }

    /// A column of integers by dictionary when they come again; else they are near to those before them.
    pub(super) fn integers<T: Integer>(&mut self, values: &[T], levels: &Levels) -> Result<(), ParquetError> {
        let dictionary = Dictionary::of(values.iter().map(|&value| (value, 1)));
        if dictionary.is_short_for(values.len()) {
            return self.dictionary(&dictionary, levels);
        }
        self.deltas(values, levels)
    }

    fn steps<T: Integer>(&mut self, values: &[T], base: Base, levels: &Levels) -> Result<(), ParquetError> {
        let nulls = total(&levels.there).saturating_sub(values.len());
        let statistics =
            T::statistics(values.iter().min().copied(), values.iter().max().copied(), nulls as u64);
        let page = Pressed::of(self.zstd, delta_bytes(values, base))?;
        self.chunk(None, (Encoding::DELTA_BINARY_PACKED, page), values.len(), levels, statistics)
    }

    fn dictionary<T: Value>(
        &mut self,
        dictionary: &Dictionary<T>,
        levels: &Levels,
    ) -> Result<(), ParquetError> {
        let pages = self.pages(dictionary)?;
        self.paged(dictionary, pages, levels)
    }

    /// The two pages of a dictionary: its values, and the places among them.
    fn pages<T: Value>(&mut self, dictionary: &Dictionary<T>) -> Result<(Pressed, Pressed), ParquetError> {
        let plain = Pressed::of(self.zstd, dictionary.plain())?;
        Ok((plain, Pressed::of(self.zstd, dictionary.indices())?))
    }

    fn paged<T: Value>(
        &mut self,
        dictionary: &Dictionary<T>,
        (plain, places): (Pressed, Pressed),
        levels: &Levels,
    ) -> Result<(), ParquetError> {
        let (count, statistics) = (total(&dictionary.runs), dictionary.statistics(levels));
        let plain = (dictionary.values.len(), plain);
        self.chunk(Some(plain), (Encoding::RLE_DICTIONARY, places), count, levels, statistics)
    }

    /// Writes the next column: a dictionary if there is one, and a page of `count` values.
    fn chunk(
        &mut self,
        dictionary: Option<(usize, Pressed)>,
        (encoding, values): (Encoding, Pressed),
        count: usize,
        levels: &Levels,
        statistics: Statistics,
    ) -> Result<(), ParquetError> {
        let column = self
            .columns
            .next()
            .ok_or_else(|| ParquetError::General("more columns written than the schema has".into()))?;
        let mut sink = TrackedWrite::new(Vec::with_capacity(values.zstd.len() + 256));
        let mut pages = SerializedPageWriter::new(&mut sink);
        let (mut raw, mut packed) = (0, 0);
        let mut put = |page: CompressedPage| -> Result<u64, ParquetError> {
            let spec = pages.write_page(page)?;
            raw += spec.uncompressed_size as i64;
            packed += spec.compressed_size as i64;
            Ok(spec.offset)
        };
        let mut encodings = vec![Encoding::RLE, encoding];
        let mut dictionary_offset = None;
        if let Some((entries, plain)) = dictionary {
            let page = Page::DictionaryPage {
                buf: plain.zstd.into(),
                num_values: entries as u32,
                encoding: Encoding::PLAIN,
                is_sorted: true,
            };
            encodings.insert(0, Encoding::PLAIN);
            dictionary_offset = Some(put(CompressedPage::new(page, plain.bytes.len()))? as i64);
        }
        let (inside, there) = (bits(&levels.inside), bits(&levels.there));
        let places = if levels.there.is_empty() { count } else { total(&levels.there) };
        let rows = if levels.inside.is_empty() {
            places
        } else {
            levels.inside.iter().filter(|run| run.0 == 0).map(|run| run.1 as usize).sum()
        };
        let is_compressed = values.zstd.len() < values.bytes.len();
        let before = inside.len() + there.len();
        let mut buf = inside;
        let inside_length = buf.len();
        buf.extend_from_slice(&there);
        buf.extend_from_slice(if is_compressed { &values.zstd } else { &values.bytes });
        let page = Page::DataPageV2 {
            buf: buf.into(),
            num_values: places as u32,
            encoding,
            num_nulls: (places - count) as u32,
            num_rows: rows as u32,
            def_levels_byte_len: there.len() as u32,
            rep_levels_byte_len: inside_length as u32,
            is_compressed,
            statistics: None,
        };
        let offset = put(CompressedPage::new(page, before + values.bytes.len()))?;
        let metadata = ColumnChunkMetaData::builder(column)
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(LEVEL)?))
            .set_encodings(encodings)
            .set_total_compressed_size(packed)
            .set_total_uncompressed_size(raw)
            .set_num_values(places as i64)
            .set_dictionary_page_offset(dictionary_offset)
            .set_data_page_offset(offset as i64)
            .set_statistics(statistics)
            .build()?;
        let written = bytes::Bytes::from(sink.into_inner()?);
        let close = ColumnCloseResult {
            bytes_written: written.len() as u64,
            rows_written: rows as u64,
            metadata,
            bloom_filter: None,
            column_index: None,
            offset_index: None,
        };
        self.writer.append_column(&written, close)
    }
}

/// The different values of a column, ascending, and the column as runs of places among them.
struct Dictionary<T> {
    values: Vec<T>,
    runs: Vec<(u32, u32)>,
}

impl<T: Value> Dictionary<T> {
    fn of(runs: impl Iterator<Item = (T, usize)>) -> Self {
        let mut places: HashMap<T::Key, u32, RandomState> = HashMap::default();
        let (mut values, mut found): (Vec<T>, Vec<(u32, u32)>) = (Vec::new(), Vec::new());
        for (value, length) in runs {
            let place = match found.last() {
                Some(&(last, _)) if values[last as usize].key() == value.key() => last,
                _ => *places.entry(value.key()).or_insert_with(|| {
                    values.push(value);
                    values.len() as u32 - 1
                }),
            };
            extend_run(&mut found, place, length as u32);
        }
        let mut order: Vec<u32> = (0..values.len() as u32).collect();
        order.sort_unstable_by(|&a, &b| values[a as usize].order(&values[b as usize]));
        let mut ranks = vec![0; values.len()];
        for (rank, &place) in order.iter().enumerate() {
            ranks[place as usize] = rank as u32;
        }
        for (place, _) in &mut found {
            *place = ranks[*place as usize];
        }
        Self { values: order.into_iter().map(|place| values[place as usize]).collect(), runs: found }
    }

    fn statistics(&self, levels: &Levels) -> Statistics {
        let nulls = total(&levels.there).saturating_sub(total(&self.runs));
        T::statistics(self.values.first().copied(), self.values.last().copied(), nulls as u64)
    }

    /// Whether it is worth its values: each of `count` comes twice, about.
    fn is_short_for(&self, count: usize) -> bool {
        self.values.len() <= count / 2 + 1
    }

    /// The values as Parquet writes them.
    fn plain(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.values.len() * 8);
        self.values.iter().for_each(|value| value.put(&mut bytes));
        bytes
    }

    /// The runs as Parquet writes them: width in bits, then runs as such, or all places one by one when most runs
    /// are short. The width is whole bytes, so that zstd sees what repeats.
    fn indices(&self) -> Vec<u8> {
        let places = total(&self.runs);
        let width = (1..4).find(|width| self.values.len() <= 1 << (8 * width)).unwrap_or(4);
        let mut bytes = vec![8 * width as u8];
        if self.runs.len() * 2 > places {
            let eights = places.div_ceil(8);
            bytes.reserve(eights * 8 * width + 8);
            varint(&mut bytes, (eights as u64) << 1 | 1);
            for &(place, length) in &self.runs {
                for _ in 0..length {
                    bytes.extend_from_slice(&place.to_le_bytes()[..width]);
                }
            }
            bytes.resize(bytes.len() + (eights * 8 - places) * width, 0);
        } else {
            for &(place, length) in &self.runs {
                varint(&mut bytes, u64::from(length) << 1);
                bytes.extend_from_slice(&place.to_le_bytes()[..width]);
            }
        }
        bytes
    }
}

/// Levels of 0 and 1: as runs, or bit by bit where that is shorter; levels are not compressed.
fn bits(runs: &[(u32, u32)]) -> Vec<u8> {
    let places = total(runs);
    let mut bytes = Vec::new();
    if runs.len() * 3 <= places / 8 + 3 {
        for &(level, length) in runs {
            varint(&mut bytes, u64::from(length) << 1);
            bytes.push(level as u8);
        }
        return bytes;
    }
    varint(&mut bytes, (places.div_ceil(8) as u64) << 1 | 1);
    let (start, mut at) = (bytes.len(), 0);
    bytes.resize(start + places.div_ceil(8), 0);
    for &(level, length) in runs {
        for place in at..at + length as usize {
            bytes[start + place / 8] |= (level as u8) << (place % 8);
        }
        at += length as usize;
    }
    bytes
}

/// What the steps of a block are counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Base {
    /// The least of them: the fewest bits.
    Least,
    /// The least of those forward, so that blocks of lists look alike, which zstd likes. A step back, where a list ends
    /// and the next begins, goes around the width of the type, as the format wants it.
    LeastForward,
}

/// `DELTA_BINARY_PACKED`: the first value, then blocks of steps above the block's base, packed to whole bytes.
fn delta_bytes<T: Integer>(values: &[T], base: Base) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(values.len() * 3 + 32);
    for number in [BLOCK as u64, (BLOCK / MINIBLOCK) as u64, values.len() as u64] {
        varint(&mut bytes, number);
    }
    varint(&mut bytes, zigzag(values.first().map_or(0, |&first| first.wide())));
    let mut steps = [0_i64; BLOCK];
    for start in (1..values.len()).step_by(BLOCK) {
        let count = BLOCK.min(values.len() - start);
        for (step, pair) in steps.iter_mut().zip(values[start - 1..start + count].windows(2)) {
            *step = pair[1].step(pair[0]);
        }
        let from = if base == Base::Least { i64::MIN } else { 0 };
        let least = steps[..count].iter().copied().filter(|&step| step >= from).min().unwrap_or(0);
        varint(&mut bytes, zigzag(least));
        let widths = bytes.len();
        bytes.resize(widths + BLOCK / MINIBLOCK, 0);
        for (number, part) in steps[..count].chunks(MINIBLOCK).enumerate() {
            let above = |&step: &i64| step.wrapping_sub(least) as u64 & T::MASK;
            let all = part.iter().fold(0, |all, step| all | above(step));
            let width = (u64::BITS - all.leading_zeros()).div_ceil(8) as usize;
            bytes[widths + number] = 8 * width as u8;
            for step in part {
                bytes.extend_from_slice(&above(step).to_le_bytes()[..width]);
            }
            bytes.resize(bytes.len() + (MINIBLOCK - part.len()) * width, 0);
        }
    }
    bytes
}

/// `BYTE_STREAM_SPLIT`: the first bytes of all doubles, then their second ones, and so on.
fn split(values: &[f64]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(values.len() * 8);
    for place in 0..8 {
        bytes.extend(values.iter().map(|value| (value.to_bits() >> (8 * place)) as u8));
    }
    bytes
}

/// `DELTA_BYTE_ARRAY`: how many bytes each text shares with the one before, and what follows them.
fn front_coded(texts: &[&[u8]]) -> Vec<u8> {
    let (mut shared, mut lengths) = (Vec::with_capacity(texts.len()), Vec::with_capacity(texts.len()));
    let (mut rests, mut before) = (Vec::with_capacity(texts.len() * 4), &[][..]);
    for &text in texts {
        let same = text.iter().zip(before).take_while(|(a, b)| a == b).count();
        shared.push(same as i32);
        lengths.push((text.len() - same) as i32);
        rests.extend_from_slice(&text[same..]);
        before = text;
    }
    let mut bytes = delta_bytes(&shared, Base::Least);
    bytes.extend(delta_bytes(&lengths, Base::Least));
    bytes.extend(rests);
    bytes
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parquet::data_type::{ByteArrayType, DoubleType, FixedLenByteArrayType, Int32Type, Int64Type};
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::schema::parser::parse_message_type;
    use proptest::prelude::*;

    use super::*;
    use crate::columns::read::{levelled, lists, plain};
    use crate::columns::{schema, write};

    const SCHEMA: &str = "
    message test {
      required binary name (STRING);
      required binary text (STRING);
      required int64 run;
      required int64 time;
      required int32 number;
      optional double value;
      required fixed_len_byte_array(16) sum (DECIMAL(38,6));
      required group list (LIST) { repeated group list { required int32 element; } }
      required group again (LIST) { repeated group list { required int32 element; } }
    }";

    #[derive(Debug, Clone)]
    struct Row {
        name: String,
        run: i64,
        time: i64,
        number: i32,
        value: Option<f64>,
        sum: i128,
        list: Vec<i32>,
    }

    /// Writes rows as one row group and reads them with the crate.
    fn there_and_back(rows: &[Row]) -> Result<(), ParquetError> {
        let place = tempfile::NamedTempFile::new().unwrap();
        let schema_of_test = Arc::new(parse_message_type(SCHEMA)?);
        let file = BufWriter::new(place.reopen().unwrap());
        let mut writer = Writer::new(file, schema_of_test, schema::properties())?;
        let mut zstd = compressor()?;
        let mut group = Group::begin(&mut writer, &mut zstd)?;
        let none = Levels::default();
        group.runs(rows.iter().map(|row| (row.name.as_bytes(), 1)))?;
        group.texts(rows.iter().map(|row| (row.name.as_bytes(), 1)))?;
        group.runs(rows.chunk_by(|a, b| a.run == b.run).map(|run| (run[0].run, run.len())))?;
        group.deltas(&rows.iter().map(|row| row.time).collect::<Vec<_>>(), &none)?;
        group.integers(&rows.iter().map(|row| row.number).collect::<Vec<_>>(), &none)?;
        let mut levels = Levels::default();
        rows.iter().for_each(|row| extend_run(&mut levels.there, u32::from(row.value.is_some()), 1));
        group.doubles(&rows.iter().filter_map(|row| row.value).collect::<Vec<_>>(), &levels)?;
        group.values(rows.iter().map(|row| row.sum), &none)?;
        let levels = write::lists(rows.iter().map(|row| row.list.len()));
        group.values(rows.iter().flat_map(|row| &row.list).copied(), &levels)?;
        let elements: Vec<i32> = rows.iter().flat_map(|row| &row.list).copied().collect();
        group.ascending(&elements, &levels)?;
        group.end()?;
        writer.close()?;

        let reader = SerializedFileReader::new(place.reopen().unwrap())?;
        let group = reader.get_row_group(0)?;
        let count = rows.len();
        let texts = plain::<ByteArrayType>(&*group, 0, 0..count)?;
        let again = plain::<ByteArrayType>(&*group, 1, 0..count)?;
        let runs = plain::<Int64Type>(&*group, 2, 0..count)?;
        let times = plain::<Int64Type>(&*group, 3, 0..count)?;
        let numbers = plain::<Int32Type>(&*group, 4, 0..count)?;
        let (values, there, _) = levelled::<DoubleType>(&*group, 5, 0..count)?;
        let sums = plain::<FixedLenByteArrayType>(&*group, 6, 0..count)?;
        let found_lists = lists::<Int32Type>(&*group, 7, 0..count)?;
        let found_again = lists::<Int32Type>(&*group, 8, 0..count)?;
        let mut values = values.into_iter();
        for (at, row) in rows.iter().enumerate() {
            assert_eq!((texts[at].as_utf8()?, again[at].as_utf8()?), (row.name.as_str(), row.name.as_str()));
            assert_eq!((runs[at], times[at], numbers[at]), (row.run, row.time, row.number));
            let value = if there[at] > 0 { values.next() } else { None };
            assert_eq!(value.map(f64::to_bits), row.value.map(f64::to_bits));
            assert_eq!(sums[at].data(), row.sum.to_be_bytes());
            assert_eq!((&found_lists[at], &found_again[at]), (&row.list, &row.list));
        }
        let bounds = |column: usize| group.metadata().column(column).statistics().cloned();
        if let (Some(Statistics::Int64(times)), Some(Statistics::Double(values))) = (bounds(3), bounds(5)) {
            assert_eq!(times.min_opt(), rows.iter().map(|row| row.time).min().as_ref());
            assert_eq!(times.max_opt(), rows.iter().map(|row| row.time).max().as_ref());
            assert_eq!(
                values.null_count_opt(),
                Some(rows.iter().filter(|row| row.value.is_none()).count() as u64)
            );
            let empty = rows.iter().filter(|row| row.list.is_empty()).count() as u64;
            let nulls = bounds(8).and_then(|bounds| bounds.null_count_opt());
            assert_eq!(nulls, Some(empty));
            let inside = |value: f64| values.min_opt() <= Some(&value) && Some(&value) <= values.max_opt();
            let bounded = values.min_opt().is_some();
            assert!(!bounded || rows.iter().filter_map(|row| row.value).all(inside));
        } else {
            panic!("statistics of another type");
        }
        Ok(())
    }

    fn row() -> impl Strategy<Value = Row> {
        let value = prop_oneof![
            6 => (0..40_i32).prop_map(|tenths| Some(f64::from(tenths) / 10.0)),
            2 => any::<f64>().prop_map(Some),
            1 => Just(None),
            1 => prop_oneof![Just(Some(0.0)), Just(Some(-0.0)), Just(Some(f64::NAN))],
        ];
        let time = prop_oneof![8 => 0..100_000_i64, 1 => any::<i64>()];
        let number = prop_oneof![8 => 0..50_i32, 1 => any::<i32>()];
        let list = prop::collection::vec(any::<i32>(), 0..4);
        ("[a-c]{0,2}", 0..3_i64, time, number, value, any::<i128>(), list).prop_map(
            |(name, run, time, number, value, sum, list)| Row { name, run, time, number, value, sum, list },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_is_written_the_crate_reads(rows in prop::collection::vec(row(), 1..700)) {
            there_and_back(&rows).unwrap();
        }
    }

    #[test]
    fn wide_dictionaries_and_long_runs_too() {
        let row = |at: i64| Row {
            name: "one".into(),
            run: at / 50_000,
            time: at * 1000 + at % 3,
            number: -(at as i32),
            value: Some((at / 2) as f64),
            // Two of a kind: as many different values as a dictionary may have.
            sum: i128::from(at / 2),
            list: vec![at as i32; usize::from(at % 2 == 0)],
        };
        // More than two bytes can number.
        there_and_back(&(0..140_000).map(row).collect::<Vec<_>>()).unwrap();
        let same = vec![row(7); 100];
        there_and_back(&same).unwrap();
        there_and_back(&vec![Row { value: None, list: Vec::new(), ..row(7) }; 100]).unwrap();
    }
}
