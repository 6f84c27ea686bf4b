//! The bytes of a file as a reader of pages asks for them, on a disk or far away.
//!
//! Far away a page is fetched with what stands behind it, as the next page of the same column is asked for next.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, Read};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use object_store::ObjectStoreExt;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{ChunkReader, Length};
use tokio::runtime::Handle;

use crate::storage::StoredFile;

/// Bytes that are kept of a file far away …
const KEPT_BYTES: u64 = 32 << 20;
/// … and bytes that are fetched at once, as far as every column has its share of those.
const BLOCK_BYTES: Range<u64> = 64 << 10..4 << 20;

/// A file.
pub(super) enum Blocks {
    Near(File),
    Far(Arc<Far>),
}

impl Blocks {
    pub(super) fn near(file: File) -> Self {
        Self::Near(file)
    }

    /// A file in a store. It is read by a thread that may wait.
    pub(super) fn far(file: StoredFile, size: u64, footer: &ParquetMetaData) -> Self {
        let columns = footer.row_groups().iter().flat_map(|group| group.columns());
        let mut columns: Vec<Range<u64>> = columns
            .map(|column| {
                let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset()).unsigned_abs();
                start..start.saturating_add(column.compressed_size().unsigned_abs())
            })
            .collect();
        columns.sort_by_key(|column| column.start);
        let width = footer.file_metadata().schema_descr().num_columns() as u64;
        let block = (KEPT_BYTES / width.max(1)).clamp(BLOCK_BYTES.start, BLOCK_BYTES.end);
        Self::Far(Arc::new(Far { runtime: Handle::current(), file, size, columns, block, kept: Mutex::default() }))
    }

    pub(super) fn is_near(&self) -> bool {
        matches!(self, Self::Near(_))
    }
}

/// A file in a store, of which the blocks are kept that were fetched last.
pub(super) struct Far {
    runtime: Handle,
    file: StoredFile,
    size: u64,
    /// Where its columns are, in order.
    columns: Vec<Range<u64>>,
    /// Bytes that are fetched at once.
    block: u64,
    /// The oldest first, each with its place.
    kept: Mutex<VecDeque<(u64, Bytes)>>,
}

impl Far {
    /// Bytes from a place on: at least so many, if there are.
    fn bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let wanted = start..start.saturating_add(length as u64);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let has = |(at, bytes): &(u64, Bytes)| *at <= wanted.start && wanted.end <= at + bytes.len() as u64;
        if let Some(place) = kept.iter().position(has)
            && let Some(block) = kept.remove(place)
        {
            let found = block.1.slice((start - block.0) as usize..);
            kept.push_back(block);
            return Ok(found);
        }
        // Not beyond the end of the column: what stands there is asked for by somebody else, or by nobody.
        let column = self.columns.partition_point(|column| column.end <= start);
        let column_end = self.columns.get(column).map_or(self.size, |column| column.end);
        let end = wanted.end.max((start + self.block).min(column_end)).min(self.size);
        let fetched = self.runtime.block_on(self.file.store.get_range(&self.file.path, start..end));
        let fetched = fetched.map_err(|error| ParquetError::External(Box::new(error)))?;
        kept.push_back((start, fetched.clone()));
        while kept.len() > 1 && kept.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>() > KEPT_BYTES {
            kept.pop_front();
        }
        Ok(fetched)
    }
}

impl Length for Blocks {
    fn len(&self) -> u64 {
        match self {
            Self::Near(file) => Length::len(file),
            Self::Far(far) => far.size,
        }
    }
}

impl ChunkReader for Blocks {
    type T = Reader;

    fn get_read(&self, start: u64) -> Result<Reader> {
        Ok(match self {
            Self::Near(file) => Reader::Near(file.get_read(start)?),
            Self::Far(far) => Reader::Far(Arc::clone(far), start),
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let far = match self {
            Self::Near(file) => return file.get_bytes(start, length),
            Self::Far(far) => far,
        };
        let found = far.bytes(start, length)?;
        match found.len() < length {
            true => Err(ParquetError::EOF(format!("{length} bytes at {start} of a file of {}", far.size))),
            false => Ok(found.slice(..length)),
        }
    }
}

/// Reads on from a place.
pub(super) enum Reader {
    Near(BufReader<File>),
    Far(Arc<Far>, u64),
}

impl Read for Reader {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Near(file) => file.read(to),
            Self::Far(far, at) if *at >= far.size || to.is_empty() => Ok(0),
            Self::Far(far, at) => {
                let found = far.bytes(*at, 1).map_err(std::io::Error::other)?;
                let count = found.len().min(to.len());
                to[..count].copy_from_slice(&found[..count]);
                *at += count as u64;
                Ok(count)
            }
        }
    }
}
