//! Files in a store, as the reader of Parquet wants them: by pieces, only those that it needs, and a small one as a whole:
//! far away every piece would be a request, and nowhere is its footer kept, which for many such files is memory for nothing.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::future::BoxFuture;
use futures::{FutureExt, TryFutureExt};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::{AsyncFileReader, MetadataSuffixFetch};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use super::Folder;
use super::footer::{misleads, trusted};

/// So much is fetched for a footer at the least: who is smaller has been read whole by then.
pub(crate) const SMALL_BYTES: u64 = 512 << 10;

/// A file in a store.
#[derive(Clone, Debug)]
pub(crate) struct StoredFile {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) path: Path,
    pub(crate) size: Option<u64>,
}

fn foreign(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

impl AsyncFileReader for StoredFile {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        self.store.get_range(&self.path, range).map_err(foreign).boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        async move { self.store.get_ranges(&self.path, &ranges).await.map_err(foreign) }.boxed()
    }

    fn get_metadata<'a>(&'a mut self, options: Option<&'a ArrowReaderOptions>) -> BoxFuture<'a, Result<Arc<ParquetMetaData>>> {
        async move {
            let reader = ParquetMetaDataReader::new().with_arrow_reader_options(options);
            let metadata = match self.size {
                Some(size) => reader.load_and_finish(self, size).await,
                None => reader.load_via_suffix_and_finish(self).await,
            };
            metadata.and_then(trusted).map(Arc::new)
        }
        .boxed()
    }
}

impl MetadataSuffixFetch for &mut StoredFile {
    fn fetch_suffix(&mut self, suffix: usize) -> BoxFuture<'_, Result<Bytes>> {
        let options = GetOptions { range: Some(GetRange::Suffix(suffix as u64)), ..Default::default() };
        async move {
            let found = self.store.get_opts(&self.path, options).await.map_err(foreign)?;
            found.bytes().await.map_err(foreign)
        }
        .boxed()
    }
}

/// Opens the files of a scan. Unlike DataFusion's own it counts nothing: twenty counters a file are more than the rows of a
/// small one, and stay until the query ends.
#[derive(Debug)]
pub(crate) struct Readers {
    store: Arc<dyn ObjectStore>,
    footers: Arc<FileMetadataCache>,
}

impl Readers {
    pub(crate) fn new(folder: &Folder, footers: Arc<FileMetadataCache>) -> Self {
        Self { store: Arc::clone(folder.store()), footers }
    }
}

impl ParquetFileReaderFactory for Readers {
    fn create_reader(
        &self,
        _: usize,
        file: PartitionedFile,
        _: Option<usize>,
        _: &ExecutionPlanMetricsSet,
    ) -> DataFusionResult<Box<dyn AsyncFileReader + Send>> {
        let meta = file.object_meta;
        Ok(match meta.size <= SMALL_BYTES {
            true => Box::new(Whole { store: Arc::clone(&self.store), path: meta.location, bytes: None }),
            false => Box::new(Pieces { store: Arc::clone(&self.store), meta, footers: Arc::clone(&self.footers) }),
        })
    }
}

/// A file that is read by pieces, and its footer once.
struct Pieces {
    store: Arc<dyn ObjectStore>,
    meta: ObjectMeta,
    footers: Arc<FileMetadataCache>,
}

impl AsyncFileReader for Pieces {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        self.store.get_range(&self.meta.location, range).map_err(foreign).boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        async move { self.store.get_ranges(&self.meta.location, &ranges).await.map_err(foreign) }.boxed()
    }

    fn get_metadata<'a>(&'a mut self, options: Option<&'a ArrowReaderOptions>) -> BoxFuture<'a, Result<Arc<ParquetMetaData>>> {
        let reading = DFParquetMetadata::new(&self.store, &self.meta)
            .with_file_metadata_cache(Some(Arc::clone(&self.footers)))
            .with_metadata_size_hint(Some(SMALL_BYTES as usize))
            .with_page_index_policy(options.map(ArrowReaderOptions::column_index_policy));
        async move {
            let footer = reading.fetch_metadata().await.map_err(|error| ParquetError::External(Box::new(error)))?;
            Ok(if misleads(&footer) { Arc::new(trusted(footer.as_ref().clone())?) } else { footer })
        }
        .boxed()
    }
}

/// A file that is fetched at once.
pub(super) struct Whole {
    store: Arc<dyn ObjectStore>,
    path: Path,
    bytes: Option<Bytes>,
}

impl Whole {
    pub(super) fn of(file: StoredFile) -> Self {
        Self { store: file.store, path: file.path, bytes: None }
    }

    async fn bytes(&mut self) -> Result<&Bytes> {
        if self.bytes.is_none() {
            let found = self.store.get(&self.path).await.map_err(foreign)?;
            self.bytes = Some(found.bytes().await.map_err(foreign)?);
        }
        self.bytes.as_ref().ok_or_else(|| ParquetError::General("nothing was fetched".to_owned()))
    }
}

/// A piece, if the file still is as long as it was when it was listed.
fn piece(bytes: &Bytes, range: &Range<u64>) -> Result<Bytes> {
    let (start, end) = (range.start as usize, range.end as usize);
    match start <= end && end <= bytes.len() {
        true => Ok(bytes.slice(start..end)),
        false => Err(ParquetError::EOF(format!("bytes {start} to {end} of a file of {}", bytes.len()))),
    }
}

impl AsyncFileReader for Whole {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        async move { piece(self.bytes().await?, &range) }.boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        async move {
            let bytes = self.bytes().await?;
            ranges.iter().map(|range| piece(bytes, range)).collect()
        }
        .boxed()
    }

    fn get_metadata<'a>(&'a mut self, options: Option<&'a ArrowReaderOptions>) -> BoxFuture<'a, Result<Arc<ParquetMetaData>>> {
        async move {
            let reader = ParquetMetaDataReader::new().with_arrow_reader_options(options);
            reader.parse_and_finish(self.bytes().await?).and_then(trusted).map(Arc::new)
        }
        .boxed()
    }
}
