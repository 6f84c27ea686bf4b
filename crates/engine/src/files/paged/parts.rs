//! Pages of large texts, in parts: the writers that are used most put a thousand rows into a page, whatever they weigh, and a page
//! of a gigabyte would be in memory as it is stored, and once more as it is read.
//!
//! A part is a page like any other, of those rows that have so many bytes together. A dictionary that large is put into a
//! temporary file, and its texts are taken from there. Only pages of texts in columns that are no lists can be taken apart; other
//! pages are read as they are.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use parquet::arrow::arrow_reader::RowGroups;
use parquet::basic::{Compression, Encoding, Type};
use parquet::column::page::{Page, PageIterator, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::ChunkReader;
use parquet::file::serialized_reader::SerializedPageReader;

use super::blocks::Blocks;
use super::header::{Header, Kind, varint};
use super::packed::as_plain;
use super::unpacked::{Stored, unpacked};

/// Bytes of a page beyond which it is read in parts …
const LARGE: u64 = 8 << 20;
/// … of as many bytes, or of one row that has more.
const PART: usize = 2 << 20;
/// What Parquet calls texts as they are, numbers of a dictionary's texts, and levels by their runs.
const PLAIN: i64 = 0;
const NUMBERS: [i64; 2] = [2, 8];
const RUNS: i64 = 3;

/// Some row groups of a file, with their large pages in parts.
pub(super) struct Groups {
    pub(super) file: Arc<Blocks>,
    pub(super) footer: Arc<ParquetMetaData>,
    pub(super) groups: Vec<usize>,
}

impl RowGroups for Groups {
    fn num_rows(&self) -> usize {
        self.row_groups().map(|group| usize::try_from(group.num_rows()).unwrap_or_default()).sum()
    }

    fn column_chunks(&self, column: usize) -> Result<Box<dyn PageIterator>> {
        let (file, footer) = (Arc::clone(&self.file), Arc::clone(&self.footer));
        Ok(Box::new(Chunks { file, footer, column, groups: self.groups.clone().into_iter() }))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(self.groups.iter().map(|group| self.footer.row_group(*group)))
    }

    fn metadata(&self) -> &ParquetMetaData {
        &self.footer
    }
}

/// A column in one row group after the other.
struct Chunks {
    file: Arc<Blocks>,
    footer: Arc<ParquetMetaData>,
    column: usize,
    groups: std::vec::IntoIter<usize>,
}

impl Iterator for Chunks {
    type Item = Result<Box<dyn PageReader>>;

    fn next(&mut self) -> Option<Self::Item> {
        let group = self.footer.row_group(self.groups.next()?);
        let pages = Pages::new(Arc::clone(&self.file), group.column(self.column), group.num_rows());
        Some(pages.map(|pages| Box::new(pages) as _))
    }
}

impl PageIterator for Chunks {}

/// The pages of a column in a row group.
struct Pages<R: ChunkReader> {
    file: Arc<R>,
    column: ColumnChunkMetaData,
    /// The pages as they are.
    whole: SerializedPageReader<R>,
    /// Where the next page begins; `None` if none has to be looked at.
    at: Option<u64>,
    /// The page that is being read in parts.
    large: Option<Large>,
    /// The dictionary, if it is a large one.
    dictionary: Option<Arc<Texts>>,
    /// A page that somebody has asked about.
    ahead: Option<Page>,
}

impl<R: ChunkReader + 'static> Pages<R> {
    fn new(file: Arc<R>, column: &ColumnChunkMetaData, rows: i64) -> Result<Self> {
        let whole = SerializedPageReader::new(Arc::clone(&file), column, usize::try_from(rows).unwrap_or_default(), None)?;
        let of_texts = column.column_type() == Type::BYTE_ARRAY && column.column_descr().max_rep_level() == 0;
        let may_be_large = of_texts && column.uncompressed_size().unsigned_abs() > LARGE;
        let at = may_be_large.then(|| column.byte_range().0);
        Ok(Self { file, column: column.clone(), whole, at, large: None, dictionary: None, ahead: None })
    }

    fn next_page(&mut self) -> Result<Option<Page>> {
        loop {
            if let Some(large) = &mut self.large {
                if let Some(part) = large.part()? {
                    return Ok(Some(part));
                }
                self.large = None;
            }
            match self.next_large()? {
                Some(large) => self.large = Some(large),
                None => return self.whole.get_next_page()?.map(|page| as_plain(page, &self.column)).transpose(),
            }
        }
    }

    /// The next page, if it is to be read in parts.
    fn next_large(&mut self) -> Result<Option<Large>> {
        let (start, length) = self.column.byte_range();
        let Some(at) = self.at.filter(|at| *at < start + length) else { return Ok(None) };
        // What is wrong with a page the other reader says.
        let header = Header::read(&mut self.file.get_read(at)?).unwrap_or_default();
        let end = at + header.length + header.stored;
        if header.kind == Kind::Other || end > start + length {
            self.at = None;
            return Ok(None);
        }
        self.at = Some(end);
        let body = at + header.length;
        if header.kind == Kind::Dictionary && header.bytes > LARGE {
            let stored = Stored::new(Arc::clone(&self.file), body, end);
            if let Some(mut texts) = unpacked(stored, self.column.compression())? {
                self.dictionary = Some(Arc::new(Texts::of(&mut texts, &header)?));
                self.whole.skip_next_page()?;
                return self.next_large();
            }
        }
        let large = Large::open(&self.file, &self.column, (body, &header), self.dictionary.as_ref())?;
        match large {
            Some(_) => self.whole.skip_next_page()?,
            // The other reader has not seen the dictionary.
            None if self.dictionary.is_some() && NUMBERS.contains(&header.encoding) => {
                return Err(ParquetError::NYI("a large dictionary, and a page with levels of the old kind".to_owned()));
            }
            None => {}
        }
        Ok(large)
    }
}

impl<R: ChunkReader + 'static> PageReader for Pages<R> {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        match self.ahead.take() {
            Some(page) => Ok(Some(page)),
            None => self.next_page(),
        }
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        if self.ahead.is_none() {
            self.ahead = self.next_page()?;
        }
        let rows = |page: &Page| match page {
            Page::DataPageV2 { num_rows, .. } => Some(*num_rows as usize),
            _ => None,
        };
        let seen = |page: &Page| {
            let num_levels = page.is_data_page().then(|| page.num_values() as usize);
            PageMetadata { num_rows: rows(page), num_levels, is_dict: page.is_dictionary_page() }
        };
        Ok(self.ahead.as_ref().map(seen))
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.get_next_page().map(drop)
    }
}

impl<R: ChunkReader + 'static> Iterator for Pages<R> {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

/// The texts of a dictionary, in a temporary file.
struct Texts {
    file: Mutex<File>,
    /// Where each begins; and where the last one ends.
    starts: Vec<u64>,
}

impl Texts {
    fn of(from: &mut impl Read, header: &Header) -> Result<Self> {
        let (mut file, mut starts) = (BufWriter::new(tempfile::tempfile()?), vec![0]);
        let mut end = 0;
        for _ in 0..header.values {
            let length = u64::from(number(from)?);
            end += length;
            if end > header.bytes || std::io::copy(&mut from.by_ref().take(length), &mut file)? < length {
                return Err(ParquetError::EOF("a dictionary ends within a text".to_owned()));
            }
            starts.push(end);
        }
        let file = file.into_inner().map_err(|error| ParquetError::from(error.into_error()))?;
        Ok(Self { file: Mutex::new(file), starts })
    }

    /// Adds a text, with its length before it.
    fn add(&self, place: usize, to: &mut Vec<u8>) -> Result<()> {
        let [start, end] = self
            .starts
            .get(place..place + 2)
            .and_then(|ends| ends.first_chunk::<2>())
            .copied()
            .ok_or_else(|| ParquetError::General(format!("text {place} of a dictionary that has {}", self.starts.len() - 1)))?;
        let length = u32::try_from(end - start).map_err(|error| ParquetError::External(Box::new(error)))?;
        to.extend(length.to_le_bytes());
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(start))?;
        let read = file.by_ref().take(end - start).read_to_end(to)?;
        if (read as u64) < end - start { Err(std::io::Error::from(ErrorKind::UnexpectedEof).into()) } else { Ok(()) }
    }
}

/// The values of a page.
enum Values {
    /// Each with its length before it, and bytes that may still come.
    Plain(Box<dyn Read + Send>, u64),
    /// Texts of a dictionary, by their numbers.
    Numbers(Arc<Texts>, std::vec::IntoIter<u32>),
}

impl Values {
    /// Adds the next one, with its length before it.
    fn add(&mut self, to: &mut Vec<u8>) -> Result<()> {
        match self {
            Self::Plain(from, left) => {
                let length = number(from)?;
                to.extend(length.to_le_bytes());
                exactly(from, u64::from(length), *left, to)?;
                *left = left.saturating_sub(4 + u64::from(length));
                Ok(())
            }
            Self::Numbers(texts, numbers) => {
                let number = numbers.next().ok_or_else(|| ParquetError::EOF("a page ends before its values".to_owned()))?;
                texts.add(number as usize, to)
            }
        }
    }
}

/// A page that is read in parts.
struct Large {
    values: Values,
    /// Of each row whether it has a value: the level of those that have one is the highest. None if all have.
    levels: Vec<u32>,
    highest: u32,
    rows: usize,
    row: usize,
}

impl Large {
    /// Opens a page of which this is the header; `None` if it is to be read as it is.
    fn open<R: ChunkReader + 'static>(
        file: &Arc<R>,
        column: &ColumnChunkMetaData,
        (start, header): (u64, &Header),
        dictionary: Option<&Arc<Texts>>,
    ) -> Result<Option<Self>> {
        let highest = column.column_descr().max_def_level();
        let (Ok(highest), Ok(rows)) = (u32::try_from(highest), usize::try_from(header.values)) else { return Ok(None) };
        let dictionary = dictionary.filter(|_| NUMBERS.contains(&header.encoding));
        let is_large = header.encoding == PLAIN && header.bytes >= LARGE;
        if !(is_large || dictionary.is_some()) || !matches!(header.kind, Kind::Data | Kind::DataV2) {
            return Ok(None);
        }
        let end = start + header.stored;
        let stored = |start: u64| Stored::new(Arc::clone(file), start, end);
        let (before, codec) = match header.kind {
            Kind::DataV2 if header.is_plain => (header.repetitions + header.definitions, Compression::UNCOMPRESSED),
            Kind::DataV2 => (header.repetitions + header.definitions, column.compression()),
            _ if highest > 0 && header.level_encoding != RUNS => return Ok(None),
            _ => (0, column.compression()),
        };
        if start + before > end {
            return Err(ParquetError::EOF("the levels of a page are longer than it is".to_owned()));
        }
        let Some(mut values) = unpacked(stored(start + before), codec)? else { return Ok(None) };
        let mut levels = Vec::new();
        if highest > 0 {
            let mut encoded = Vec::new();
            if header.kind == Kind::DataV2 {
                stored(start + header.repetitions).take(header.definitions).read_to_end(&mut encoded)?;
            } else {
                let length = u64::from(number(&mut values)?);
                exactly(&mut values, length, header.bytes, &mut encoded)?;
            }
            levels = decoded(&encoded, width(highest), rows)?;
        }
        let values = match dictionary {
            None => Values::Plain(values, header.bytes),
            Some(texts) => {
                let mut bytes = Vec::new();
                values.read_to_end(&mut bytes)?;
                let count = if highest > 0 { levels.iter().filter(|level| **level == highest).count() } else { rows };
                let (width, numbers) = bytes.split_first().map_or((0, &[][..]), |(width, numbers)| (usize::from(*width), numbers));
                Values::Numbers(Arc::clone(texts), decoded(numbers, width, count)?.into_iter())
            }
        };
        Ok(Some(Self { values, levels, highest, rows, row: 0 }))
    }

    /// The next rows, as a page.
    fn part(&mut self) -> Result<Option<Page>> {
        let start = self.row;
        if start == self.rows {
            return Ok(None);
        }
        let mut values = Vec::new();
        let mut nulls = 0;
        while self.row < self.rows && values.len() < PART {
            if self.levels.get(self.row).is_none_or(|level| *level == self.highest) {
                self.values.add(&mut values)?;
            } else {
                nulls += 1;
            }
            self.row += 1;
        }
        let levels = self.levels.get(start..self.row).map_or_else(Vec::new, |levels| encoded(levels, width(self.highest)));
        let rows = (self.row - start) as u32;
        // The values need not move where there are no levels.
        let (definitions, buf) = (levels.len() as u32, if levels.is_empty() { values } else { [levels, values].concat() });
        Ok(Some(Page::DataPageV2 {
            buf: Bytes::from(buf),
            num_values: rows,
            encoding: Encoding::PLAIN,
            num_nulls: nulls,
            num_rows: rows,
            def_levels_byte_len: definitions,
            rep_levels_byte_len: 0,
            is_compressed: false,
            statistics: None,
        }))
    }
}

fn number(from: &mut impl Read) -> Result<u32> {
    let mut bytes = [0; 4];
    from.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

/// So many bytes behind those that are there, if there can be as many.
fn exactly(from: &mut impl Read, length: u64, most: u64, to: &mut Vec<u8>) -> Result<()> {
    if length > most {
        return Err(ParquetError::EOF(format!("a text of {length} bytes in a page of {most}")));
    }
    to.reserve(length as usize);
    let read = from.take(length).read_to_end(to)?;
    if (read as u64) < length { Err(std::io::Error::from(ErrorKind::UnexpectedEof).into()) } else { Ok(()) }
}

/// Bits of a level.
fn width(highest: u32) -> usize {
    (u32::BITS - highest.leading_zeros()) as usize
}

/// Levels, or numbers of texts, out of runs and packed bits.
fn decoded(mut bytes: &[u8], width: usize, count: usize) -> Result<Vec<u32>> {
    let ends = || ParquetError::EOF("the levels of a page end before its values".to_owned());
    let mut levels = Vec::with_capacity(count.min(1 << 20));
    while levels.len() < count {
        let byte = || {
            let (byte, rest) = bytes.split_first().ok_or_else(ends)?;
            bytes = rest;
            Ok::<_, ParquetError>(*byte)
        };
        let head = varint(63, byte)?.ok_or_else(ends)?;
        let left = count - levels.len();
        if head & 1 == 0 {
            let (level, rest) = bytes.split_at_checked(width.div_ceil(8)).filter(|_| width <= 32).ok_or_else(ends)?;
            bytes = rest;
            let level = level.iter().rev().fold(0, |level, byte| level << 8 | u32::from(*byte));
            levels.resize(levels.len() + left.min(usize::try_from(head >> 1).unwrap_or(left)), level);
            continue;
        }
        // The last group may be cut off behind the values that count.
        let groups = usize::try_from(head >> 1).unwrap_or(usize::MAX).min(left.div_ceil(8));
        let (packed, rest) = bytes.split_at_checked((groups * width).min(bytes.len())).ok_or_else(ends)?;
        if width > 32 || packed.len() * 8 < left.min(groups * 8) * width {
            return Err(ends());
        }
        bytes = rest;
        let bit = |place: usize| u32::from(packed[place / 8] >> (place % 8) & 1);
        let level = |place: usize| (0..width).fold(0, |level, of| level | bit(place * width + of) << of);
        levels.extend((0..left.min(groups * 8)).map(level));
    }
    Ok(levels)
}

/// Levels as packed bits.
fn encoded(levels: &[u32], width: usize) -> Vec<u8> {
    let groups = levels.len().div_ceil(8);
    let mut bytes = Vec::with_capacity(groups * width + 5);
    let mut head = (groups as u64) << 1 | 1;
    while head > 0x7f {
        bytes.push(head as u8 | 0x80);
        head >>= 7;
    }
    bytes.push(head as u8);
    let start = bytes.len();
    bytes.resize(start + groups * width, 0);
    for (place, level) in levels.iter().enumerate() {
        for of in 0..width {
            let bit = place * width + of;
            bytes[start + bit / 8] |= ((level >> of & 1) as u8) << (bit % 8);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use parquet::arrow::ArrowWriter;
    use parquet::basic::{GzipLevel, ZstdLevel};
    use parquet::column::reader::ColumnReaderImpl;
    use parquet::data_type::{ByteArray, ByteArrayType};
    use parquet::file::metadata::ParquetMetaDataReader;
    use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};

    use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray, StructArray};
    use datafusion::arrow::datatypes::{DataType, Field};

    use super::*;

    /// Texts in one page: long ones, short ones and none.
    fn file(version: WriterVersion, codec: Compression, (has_nulls, is_inside, has_dictionary): (bool, bool, bool)) -> Bytes {
        let text = |row: usize| match row % 5 {
            0 if has_nulls => None,
            1 => Some(format!("short {row}")),
            _ => Some((0..500).map(|word| format!("{row} and {} ", word * row % 977)).collect::<String>().repeat(80)),
        };
        let texts: ArrayRef = Arc::new((0..50).map(text).collect::<StringArray>());
        let column: ArrayRef = match is_inside {
            true => Arc::new(StructArray::from(vec![(Arc::new(Field::new("text", DataType::Utf8, true)), texts)])),
            false => texts,
        };
        let batch = RecordBatch::try_from_iter_with_nullable([("text", column, has_nulls)]).expect("rows");
        let properties =
            WriterProperties::builder().set_writer_version(version).set_compression(codec).set_dictionary_enabled(has_dictionary);
        let properties = properties.set_data_page_size_limit(1 << 30).set_write_batch_size(1 << 20).set_encoding(Encoding::PLAIN);
        let properties = properties.set_dictionary_page_size_limit(1 << 30);
        let properties = properties.set_statistics_enabled(EnabledStatistics::Page).set_write_page_header_statistics(true);
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties.build())).expect("a writer");
        writer.write(&batch).expect("written");
        Bytes::from(writer.into_inner().expect("closed"))
    }

    fn values(column: &ColumnChunkMetaData, pages: Box<dyn PageReader>) -> (Vec<ByteArray>, Vec<i16>) {
        let mut reader = ColumnReaderImpl::<ByteArrayType>::new(column.column_descr_ptr(), pages);
        let (mut values, mut levels) = (Vec::new(), Vec::new());
        reader.read_records(usize::MAX, Some(&mut levels), None, &mut values).expect("reads");
        (values, levels)
    }

    #[test]
    fn a_page_in_parts_is_the_page() {
        let codecs = [
            Compression::UNCOMPRESSED,
            Compression::SNAPPY,
            Compression::ZSTD(ZstdLevel::default()),
            Compression::GZIP(GzipLevel::default()),
            Compression::LZ4_RAW,
        ];
        for codec in codecs {
            for (version, has_nulls, is_inside, has_dictionary) in [
                (WriterVersion::PARQUET_1_0, false, false, false),
                (WriterVersion::PARQUET_1_0, true, false, false),
                (WriterVersion::PARQUET_1_0, true, false, true),
                (WriterVersion::PARQUET_2_0, true, false, false),
                (WriterVersion::PARQUET_2_0, false, true, true),
            ] {
                let bytes = Arc::new(file(version, codec, (has_nulls, is_inside, has_dictionary)));
                let footer = ParquetMetaDataReader::new().parse_and_finish(bytes.as_ref()).expect("a footer");
                let column = footer.row_group(0).column(0);
                let whole = || Box::new(SerializedPageReader::new(Arc::clone(&bytes), column, 50, None).expect("pages"));
                let parts = || Box::new(Pages::new(Arc::clone(&bytes), column, 50).expect("pages"));
                let case = format!("{codec:?} {version:?} {has_nulls} {is_inside} {has_dictionary}");
                assert_eq!(whole().count(), 1 + usize::from(has_dictionary), "{case}");
                let sizes: Vec<usize> = parts().map(|page| page.expect("a page").buffer().len()).collect();
                let is_whole = codec == Compression::LZ4_RAW;
                assert!(is_whole || sizes.len() > 4 && sizes.iter().all(|size| *size < PART + (1 << 20)), "{case}: {sizes:?}");
                assert!(values(column, parts()) == values(column, whole()), "{case}");
                let mut asked = parts();
                let seen = std::iter::from_fn(|| {
                    let seen = asked.peek_next_page().expect("a page")?;
                    asked.skip_next_page().expect("skipped");
                    // A dictionary has none.
                    Some(seen.num_levels.unwrap_or_default())
                });
                assert!(seen.sum::<usize>() == 50, "{case}");
            }
        }
    }

    #[test]
    fn levels_are_read_as_they_are_written() {
        for (highest, count) in [(1, 1), (1, 8), (1, 1_001), (2, 17), (3, 16), (7, 100)] {
            let levels: Vec<u32> = (0..count).map(|place| (place * 7 % 11 % (highest + 1)) as u32).collect();
            let highest = highest as u32;
            assert_eq!(decoded(&encoded(&levels, width(highest)), width(highest), count).expect("levels"), levels, "{highest} {count}");
        }
        assert_eq!(decoded(&[3 << 1, 1, 2 << 1, 0], 1, 5).expect("runs"), [1, 1, 1, 0, 0]);
        assert!(decoded(&[3 << 1, 1], 1, 5).is_err() && decoded(&[3], 1, 5).is_err());
    }
}
