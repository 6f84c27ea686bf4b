//! Files of results, dead letters and the index that are read again: which keys are in them, and all rows but some, as
//! one file. Neither what is read nor what is written is in memory as a whole.

use std::fs::File;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, StringArray};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::{DataType, Field, SchemaRef};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStreamBuilder};
use parquet::arrow::{AsyncArrowWriter, ProjectionMask};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::SchemaDescriptor;
use promptmill_core::pipeline::Key;
use promptmill_core::{Error, ErrorKind, Result};

use super::layout::{MERGED_ROW_GROUP_BYTES, not_written, whole};
use crate::commit::DataFile;
use crate::files::weight::Weight;
use crate::key::texts;
use crate::meaning::{columns_for_all, writer_options};
use crate::shape::{same_columns, with_nulls_of_any};
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
    fn columns_for_all(&self) -> SchemaRef {
        let file = match self {
            Self::Near(builder) => builder.parquet_schema(),
            Self::Far(builder) => builder.parquet_schema(),
        };
        Arc::new(columns_for_all(self.schema(), file))
    }

    fn schema(&self) -> &SchemaRef {
        match self {
            Self::Near(builder) => builder.schema(),
            Self::Far(builder) => builder.schema(),
        }
    }

    /// Its rows, of all columns or of some, as many at a time as their size allows.
    fn rows(self, columns: Option<&[&str]>) -> Result<BoxStream<'static, Result<RecordBatch, ParquetError>>, ParquetError> {
        let mask = |schema: &SchemaDescriptor| {
            columns.map_or_else(ProjectionMask::all, |names| ProjectionMask::columns(schema, names.iter().copied()))
        };
        Ok(match self {
            Self::Near(builder) => {
                let mask = mask(builder.parquet_schema());
                let rows = Weight::of(builder.metadata(), |leaf| mask.leaf_included(leaf)).rows_at_once;
                let builder = builder.with_batch_size(rows);
                futures::stream::iter(builder.with_projection(mask).build()?).map_err(ParquetError::from).boxed()
            }
            Self::Far(builder) => {
                let mask = mask(builder.parquet_schema());
                let rows = Weight::of(builder.metadata(), |leaf| mask.leaf_included(leaf)).rows_at_once;
                builder.with_batch_size(rows).with_projection(mask).build()?.boxed()
            }
        })
    }
}

/// The keys in a file.
pub(super) async fn keys(folder: &Folder, file: &DataFile, key: &Key) -> Result<impl Stream<Item = Result<StringArray>>> {
    let opened = open(folder, file).await?;
    let inside = key.columns().iter().map(String::as_str).filter(|name| opened.schema().column_with_name(name).is_some());
    let inside: Vec<&str> = inside.collect();
    let batches = opened.rows(Some(&inside)).map_err(|error| not_read(folder, file, error))?;
    Ok(batches.map(move |batch| keys_of(&batch.map_err(|error| not_read(folder, file, error))?, key, file)))
}

/// The columns of each file, as every reader sees them.
pub(crate) async fn columns_of_each(folder: &Folder, files: &[DataFile]) -> Result<Vec<SchemaRef>> {
    let opening = futures::stream::iter(files).map(|file| async { Ok(open(folder, file).await?.columns_for_all()) });
    opening.buffered(OPENED_AT_ONCE).try_collect().await
}

/// The rows of a file, as they are.
pub(super) async fn rows(folder: &Folder, file: &DataFile) -> Result<BoxStream<'static, Result<RecordBatch, ParquetError>>> {
    open(folder, file).await?.rows(None).map_err(|error| not_read(folder, file, error))
}

/// Files that look alike, to be written as one.
pub(super) struct Alike<'m> {
    schema: SchemaRef,
    /// Those that are open still are small.
    files: Vec<(&'m DataFile, Option<Opened>)>,
}

impl<'m> Alike<'m> {
    /// These files, those together that have the same columns of the same types.
    pub(super) async fn among(folder: &Folder, files: &[&'m DataFile]) -> Result<Vec<Self>> {
        let mut opening =
            futures::stream::iter(files).map(|file| async { Ok((*file, open(folder, file).await?)) }).buffered(OPENED_AT_ONCE);
        let (mut alike, mut kept): (Vec<Self>, u64) = (Vec::new(), 0);
        while let Some((file, opened)) = opening.try_next().await.map_err(|error: Error| error)? {
            let schema = Arc::clone(opened.schema());
            kept += file.bytes;
            let opened = (file, Some(opened).filter(|_| kept <= KEPT_BYTES));
            match alike.iter_mut().find(|alike| same_columns(&alike.schema, &schema)) {
                Some(alike) => {
                    if alike.schema != schema {
                        alike.schema = with_nulls_of_any(&alike.schema);
                    }
                    alike.files.push(opened);
                }
                None => alike.push(Self { schema, files: vec![opened] }),
            }
        }
        Ok(alike)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// Their paths.
    pub(super) fn paths(&self) -> impl Iterator<Item = &'m str> {
        self.files.iter().map(|(file, _)| file.path.as_str())
    }

    /// Writes them, batch by batch, as one file, without the rows whose keys, in a column, leave. Returns how many rows and
    /// bytes that makes. What was read and what is written are counted against each other before anybody removes a file.
    pub(super) async fn write(
        self,
        folder: &Folder,
        leaves: Option<(&Key, Leaves<'_>)>,
        properties: WriterProperties,
        to: &mut Upload,
    ) -> Result<(u64, u64)> {
        let Self { schema, files } = self;
        let options = writer_options(&schema, properties).map_err(not_written)?;
        let mut writer = AsyncArrowWriter::try_new_with_options(to, Arc::clone(&schema), options).map_err(not_written)?;
        let (mut rows, mut nulls) = (0, vec![0; schema.fields().len()]);
        for (file, opened) in files {
            let opened = match opened {
                Some(opened) => opened,
                None => open(folder, file).await?,
            };
            let mut batches = opened.rows(None).map_err(|error| not_read(folder, file, error))?;
            let mut read = 0;
            while let Some(mut batch) = batches.try_next().await.map_err(|error| not_read(folder, file, error))? {
                read += batch.num_rows() as u64;
                if let Some((key, leaves)) = leaves {
                    batch = without(&batch, key, file, leaves)?;
                }
                // The same columns; only where nulls may be, and what the items of a list are called, may differ.
                let fields = schema.fields().iter().zip(batch.columns());
                let arrays = fields.map(|(field, array)| whole(array, field)).collect::<Result<Vec<_>>>()?;
                nulls.iter_mut().zip(&arrays).for_each(|(nulls, array)| *nulls += array.logical_null_count() as u64);
                rows += batch.num_rows() as u64;
                writer.write(&RecordBatch::try_new(Arc::clone(&schema), arrays)?).await.map_err(not_written)?;
                if writer.in_progress_size() > MERGED_ROW_GROUP_BYTES {
                    writer.flush().await.map_err(not_written)?;
                }
            }
            if read != file.rows {
                return Err(miscounted(&format!("`{folder}/{}` has {read} rows, and its commit says {}", file.path, file.rows)));
            }
        }
        let written = writer.finish().await.map_err(not_written)?;
        check(&written, &schema, rows, &nulls)?;
        Ok((rows, writer.bytes_written() as u64))
    }
}

/// Whether the row with a key is left out.
pub(super) type Leaves<'l> = &'l (dyn Fn(&str) -> Result<bool> + Sync);

/// Whether a file that has been written has so many rows, and so many nulls in each of its plain columns.
fn check(written: &ParquetMetaData, schema: &SchemaRef, rows: u64, nulls: &[u64]) -> Result<()> {
    let found = written.file_metadata().num_rows().unsigned_abs();
    if found != rows {
        return Err(miscounted(&format!("of {rows} rows {found} were written")));
    }
    let descriptor = written.file_metadata().schema_descr();
    for (leaf, column) in descriptor.columns().iter().enumerate().filter(|(_, column)| column.path().parts().len() == 1) {
        let Ok(place) = schema.index_of(column.name()) else { continue };
        let counts = written.row_groups().iter().map(|group| group.column(leaf).statistics()?.null_count_opt());
        // Without statistics there is nothing to compare.
        let Some(found) = counts.sum::<Option<u64>>() else { continue };
        if found != nulls[place] {
            return Err(miscounted(&format!("of {} nulls in column `{}` {found} were written", nulls[place], column.name())));
        }
    }
    Ok(())
}

/// The files that are there stay as they are.
fn miscounted(what: &str) -> Error {
    Error::failed(format!("rows of results are not rewritten: {what}")).hint("the files of before are kept; run again")
}

/// The rows that stay.
fn without(batch: &RecordBatch, key: &Key, file: &DataFile, leaves: Leaves<'_>) -> Result<RecordBatch> {
    let keys = keys_of(batch, key, file)?;
    let stays = (0..keys.len()).map(|row| Ok(keys.is_null(row) || !leaves(keys.value(row))?)).collect::<Result<Vec<bool>>>()?;
    Ok(filter_record_batch(batch, &BooleanArray::from(stays))?)
}

/// The keys of rows of a file. What of them is a partition stands in the file's folders.
fn keys_of(batch: &RecordBatch, key: &Key, file: &DataFile) -> Result<StringArray> {
    let folders = file.partition_by().unwrap_or_default();
    let columns = key.columns().iter().map(|name| {
        if let Some((place, field)) = batch.schema_ref().column_with_name(name) {
            return Ok((Arc::clone(batch.column(place)), field.clone()));
        }
        let value = folders.iter().position(|folder| folder == name).and_then(|place| file.partition.get(place));
        let value = value.ok_or_else(|| Error::failed(format!("a file of results has no column `{name}`")))?;
        let values: StringArray = std::iter::repeat_n(value.as_deref(), batch.num_rows()).collect();
        Ok((Arc::new(values) as ArrayRef, Field::new(name, DataType::Utf8, true)))
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    texts(columns.iter().map(|(array, field)| (array, field)))
}

pub(super) fn not_read(folder: &Folder, file: &DataFile, error: ParquetError) -> Error {
    Error::failed(format!("`{folder}/{}` cannot be read, though a commit names it", file.path))
        .of(ErrorKind::State)
        .hint("restore it, or answer everything anew with `promptmill run --fresh`")
        .because(error)
}
