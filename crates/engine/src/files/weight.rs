//! How much the rows of a Parquet file weigh, by its footer: how many may be read at once, and whether that has to happen
//! page by page.
//!
//! A footer tells how many bytes a column has as it is stored. A dictionary holds a text once that thousands of rows have;
//! newer writers say how much that makes, and where one does not, a look at its dictionary tells.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::Type;
use parquet::column::page::{Page, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;

use super::paged::packed::is_wide;

/// Rows that travel together: enough to be quick, few enough that a stage between two of them stays lively.
pub(crate) const BATCH_ROWS: usize = 1024;
/// Bytes of rows that travel together; one row alone may have more.
pub(crate) const BATCH_BYTES: u64 = 4 << 20;
/// Where fewer rows than these may be in memory together, they are read page by page.
const HEAVY_ROWS: usize = BATCH_ROWS / 4;
/// Bytes of a row group, of those columns that are read, beyond which it is read page by page: otherwise it is in memory as
/// a whole.
const GROUP_BYTES: u64 = 48 << 20;
/// Bytes of a column beneath which nobody looks how long the texts of its dictionary are: a batch of them has 256 MB at the
/// very worst.
const SMALL_DICTIONARY: u64 = 256 << 10;
/// Bytes of a text in a dictionary beyond which rows that have it are counted by what they really take.
const LONG_TEXT: u64 = 128 << 10;

/// What is to be known of the rows of a file before they are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Weight {
    /// Rows that may be in memory together.
    pub(crate) rows_at_once: usize,
    /// Whether the file is to be read page by page.
    pub(crate) by_page: bool,
}

impl Weight {
    /// Of rows that nobody has to care about.
    pub(crate) const LIGHT: Self = Self { rows_at_once: BATCH_ROWS, by_page: false };

    /// Whether the rows are so large that only one part of the scan reads them: each has pages of them in memory.
    pub(crate) fn in_turn(self) -> bool {
        self.rows_at_once < HEAVY_ROWS
    }

    /// The weight of the columns with these leaves.
    pub(crate) fn of(footer: &ParquetMetaData, is_read: impl Fn(usize) -> bool) -> Self {
        let groups = footer.row_groups().iter().filter(|group| group.num_rows() > 0);
        groups.fold(Self::LIGHT, |weight, group| {
            let read = || group.columns().iter().enumerate().filter(|(leaf, _)| is_read(*leaf)).map(|(_, column)| column);
            let stored: u64 = read().map(|column| column.compressed_size().unsigned_abs()).sum();
            let bytes: u64 = read().map(bytes_of).sum();
            let rows_at_once = rows_of(bytes / group.num_rows().unsigned_abs());
            weight.and(Self { rows_at_once, by_page: rows_at_once < HEAVY_ROWS || stored > GROUP_BYTES || read().any(is_wide) })
        })
    }

    /// The weight of rows of this kind and rows of another.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { rows_at_once: self.rows_at_once.min(other.rows_at_once), by_page: self.by_page || other.by_page }
    }
}

/// How many rows of so many bytes may be in memory together.
pub(crate) fn rows_of(bytes: u64) -> usize {
    usize::try_from(BATCH_BYTES / bytes.max(1)).unwrap_or(BATCH_ROWS).clamp(1, BATCH_ROWS)
}

/// Bytes of a column's values, as far as the footer tells.
fn bytes_of(column: &ColumnChunkMetaData) -> u64 {
    let texts = column.unencoded_byte_array_data_bytes().unwrap_or_default();
    column.uncompressed_size().max(texts).unsigned_abs()
}

/// Where the dictionary of a column is, if its values may be far larger than the footer tells.
fn hides_its_size(column: &ColumnChunkMetaData) -> Option<Range<u64>> {
    let is_known = column.column_type() != Type::BYTE_ARRAY || column.unencoded_byte_array_data_bytes().is_some();
    let start = column.dictionary_page_offset().filter(|_| !is_known && bytes_of(column) > SMALL_DICTIONARY)?;
    let (start, end) = (start.unsigned_abs(), column.data_page_offset().unsigned_abs());
    (start < end).then_some(start..end)
}

/// Whether one of the columns with these leaves may have far larger values than the footer tells.
pub(crate) fn may_be_larger(footer: &ParquetMetaData, is_read: impl Fn(usize) -> bool) -> bool {
    let mut groups = footer.row_groups().iter();
    groups.any(|group| group.columns().iter().enumerate().any(|(leaf, column)| is_read(leaf) && hides_its_size(column).is_some()))
}

/// The dictionaries that a look has to be taken at, of the first row group that has rows.
pub(crate) fn dictionaries(footer: &ParquetMetaData) -> Vec<Dictionary> {
    let group = footer.row_groups().iter().find(|group| group.num_rows() > 0);
    let columns = group.into_iter().flat_map(RowGroupMetaData::columns);
    columns.filter_map(|column| Some(Dictionary { range: hides_its_size(column)?, column: column.clone() })).collect()
}

/// A dictionary whose texts may be long.
pub(crate) struct Dictionary {
    pub(crate) range: Range<u64>,
    column: ColumnChunkMetaData,
}

impl Dictionary {
    /// The weight of rows that have texts of it. A dictionary that cannot be read says nothing: who reads the rows tells of
    /// that.
    pub(crate) fn weight(&self, bytes: Bytes) -> Weight {
        let piece = Piece { start: self.range.start, bytes };
        let pages = SerializedPageReader::new(Arc::new(piece), &self.column, 0, None);
        match pages.and_then(|mut pages| pages.get_next_page()) {
            Ok(Some(Page::DictionaryPage { buf, num_values, .. })) => {
                let rows_at_once = rows_of(buf.len() as u64 / u64::from(num_values.max(1)));
                Weight { rows_at_once, by_page: rows_at_once < HEAVY_ROWS || longest(&buf) > LONG_TEXT }
            }
            _ => Weight::LIGHT,
        }
    }
}

/// The longest of some texts, each with its length before it.
fn longest(mut texts: &[u8]) -> u64 {
    let mut longest = 0;
    while let Some((length, behind)) = texts.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length);
        longest = longest.max(u64::from(length));
        texts = behind.get(length as usize..).unwrap_or_default();
    }
    longest
}

/// Bytes from the middle of a file.
struct Piece {
    start: u64,
    bytes: Bytes,
}

impl Length for Piece {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for Piece {
    type T = std::io::Cursor<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        let length = self.len().saturating_sub(start);
        Ok(std::io::Cursor::new(self.get_bytes(start, length as usize)?))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let from = start.checked_sub(self.start).and_then(|from| usize::try_from(from).ok());
        let range = from.and_then(|from| Some(from..from.checked_add(length)?)).filter(|range| range.end <= self.bytes.len());
        range.map(|range| self.bytes.slice(range)).ok_or_else(|| ParquetError::EOF("a dictionary ends behind its column".to_owned()))
    }
}
