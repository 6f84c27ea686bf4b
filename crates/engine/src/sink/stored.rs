//! Files of results, dead letters and the index that are read again: which keys are in them, and all rows but some, as
//! one file. Neither what is read nor what is written is in memory as a whole.

use std::fs::File;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray};
use datafusion::arrow::compute::{cast, filter_record_batch};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStreamBuilder};
use parquet::arrow::{AsyncArrowWriter, ProjectionMask};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::SchemaDescriptor;
use promptmill_core::{Error, Result};

use super::layout::{MERGED_ROW_GROUP_BYTES, column, not_written};
use crate::commit::DataFile;
use crate::storage::{Folder, Upload};

/// Files that are opened at once: far away most of the time is waiting.
const OPENED_AT_ONCE: usize = 8;
/// Bytes of small files that stay in memory from when their columns were looked at until their rows are read.
const KEPT_BYTES: u64 = 8 << 20;

/// A file that has been opened. A near one is read page by page in this very thread: what others read for it, the allocator
/// would keep for them.
enum Opened {
    Near(ParquetRecordBatchReaderBuilder<File>),
    Far(ParquetRecordBatchStreamBuilder<Box<dyn AsyncFileReader>>),
}

async fn open(folder: &Folder, file: &DataFile) -> Result<Opened> {
    let opened = match folder.local() {
        Some(local) => {
            let near = File::open(local.join(&file.path)).map_err(ParquetError::from);
            near.and_then(ParquetRecordBatchReaderBuilder::try_new).map(Opened::Near)
        }
        None => ParquetRecordBatchStreamBuilder::new(folder.reader(&file.path, file.bytes)).await.map(Opened::Far),
    };
    opened.map_err(|error| not_read(folder, file, error))
}

impl Opened {
    fn schema(&self) -> &SchemaRef {
        match self {
            Self::Near(builder) => builder.schema(),
            Self::Far(builder) => builder.schema(),
        }
    }

    /// Its rows, of all columns or of one.
    fn rows(self, column: Option<&str>) -> Result<BoxStream<'static, Result<RecordBatch, ParquetError>>, ParquetError> {
        let mask = |schema: &SchemaDescriptor| column.map_or_else(ProjectionMask::all, |name| ProjectionMask::columns(schema, [name]));
        Ok(match self {
            Self::Near(builder) => {
                let mask = mask(builder.parquet_schema());
                futures::stream::iter(builder.with_projection(mask).build()?).map_err(ParquetError::from).boxed()
            }
            Self::Far(builder) => {
                let mask = mask(builder.parquet_schema());
                builder.with_projection(mask).build()?.boxed()
            }
        })
    }
}

/// The keys in a file.
pub(super) async fn keys(folder: &Folder, file: &DataFile, key: &str) -> Result<impl Stream<Item = Result<StringArray>>> {
    let batches = open(folder, file).await?.rows(Some(key)).map_err(|error| not_read(folder, file, error))?;
    Ok(batches.map(move |batch| {
        let keys = keys_of(&batch.map_err(|error| not_read(folder, file, error))?, key)?;
        Ok(keys.as_string::<i32>().clone())
    }))
}

/// Files to be written as one.
pub(super) struct Merge<'m> {
    pub(super) folder: &'m Folder,
    pub(super) files: &'m [&'m DataFile],
    /// The column of the keys, and which rows are left out; `None`: all stay.
    pub(super) leaves: Option<(&'m str, Leaves<'m>)>,
    pub(super) properties: WriterProperties,
}

/// Whether the row with a key is left out.
pub(super) type Leaves<'l> = &'l (dyn Fn(&str) -> Result<bool> + Sync);

impl Merge<'_> {
    /// Writes them, batch by batch. Returns how many rows and bytes that makes.
    pub(super) async fn write(self, to: &mut Upload) -> Result<(u64, u64)> {
        let Self { folder, files, leaves, properties } = self;
        let mut opening = futures::stream::iter(files).map(|file| open(folder, file)).buffered(OPENED_AT_ONCE);
        let (mut opened, mut schemas, mut kept) = (Vec::with_capacity(files.len()), Vec::with_capacity(files.len()), 0);
        for file in files {
            let Some(builder) = opening.try_next().await? else { break };
            schemas.push(Arc::clone(builder.schema()));
            kept += file.bytes;
            opened.push((file, if kept <= KEPT_BYTES { Some(builder) } else { None }));
        }
        drop(opening);
        // Files of different runs may have different columns: the newest run's come first, older ones fill in nulls.
        let mut fields: Vec<Arc<Field>> = Vec::new();
        for field in schemas.iter().rev().flat_map(|schema| schema.fields()) {
            if !fields.iter().any(|known| known.name() == field.name()) {
                fields.push(Arc::new(field.as_ref().clone().with_nullable(true)));
            }
        }
        drop(schemas);
        let schema = Arc::new(Schema::new(fields));
        let mut writer = AsyncArrowWriter::try_new(to, Arc::clone(&schema), Some(properties)).map_err(not_written)?;
        let mut rows = 0;
        for (file, builder) in opened {
            let builder = match builder {
                Some(builder) => builder,
                None => open(folder, file).await?,
            };
            let mut batches = builder.rows(None).map_err(|error| not_read(folder, file, error))?;
            while let Some(mut batch) = batches.try_next().await.map_err(|error| not_read(folder, file, error))? {
                if let Some((key, leaves)) = leaves {
                    batch = without(&batch, key, leaves)?;
                }
                let arrays = schema.fields().iter().map(|field| column(&batch, field)).collect::<Result<Vec<_>>>()?;
                rows += batch.num_rows() as u64;
                writer.write(&RecordBatch::try_new(Arc::clone(&schema), arrays)?).await.map_err(not_written)?;
                if writer.in_progress_size() > MERGED_ROW_GROUP_BYTES {
                    writer.flush().await.map_err(not_written)?;
                }
            }
        }
        writer.finish().await.map_err(not_written)?;
        Ok((rows, writer.bytes_written() as u64))
    }
}

/// The rows that stay.
fn without(batch: &RecordBatch, key: &str, leaves: Leaves<'_>) -> Result<RecordBatch> {
    let keys = keys_of(batch, key)?;
    let keys = keys.as_string::<i32>();
    let stays = (0..keys.len()).map(|row| Ok(keys.is_null(row) || !leaves(keys.value(row))?)).collect::<Result<Vec<bool>>>()?;
    Ok(filter_record_batch(batch, &BooleanArray::from(stays))?)
}

fn keys_of(batch: &RecordBatch, key: &str) -> Result<ArrayRef> {
    let keys = batch.column_by_name(key).ok_or_else(|| Error::failed(format!("a file of results has no column `{key}`")))?;
    Ok(cast(keys, &DataType::Utf8)?)
}

pub(super) fn not_read(folder: &Folder, file: &DataFile, error: ParquetError) -> Error {
    Error::failed(format!("`{folder}/{}` cannot be read, though a commit names it", file.path))
        .hint("restore it, or answer everything anew with `promptmill run --fresh`")
        .because(error)
}
