//! Files of results and dead letters that are read again: which keys are in them, and all rows but some.

use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::{AsArray, BooleanArray, RecordBatch};
use datafusion::arrow::compute::{cast, filter_record_batch};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use futures::TryStreamExt;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use parquet::file::properties::WriterProperties;
use promptmill_core::{Error, Result};

use super::layout::{OpenFile, column};
use crate::commit::DataFile;
use crate::storage::Folder;

/// Goes through the keys in a file.
pub(super) async fn each_key(folder: &Folder, file: &DataFile, key: &str, mut each: impl FnMut(&str)) -> Result<()> {
    let failed = |error| not_read(folder, file, error);
    let builder = ParquetRecordBatchStreamBuilder::new(folder.file(&file.path, Some(file.bytes))).await.map_err(failed)?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), [key]);
    let mut batches = builder.with_projection(mask).build().map_err(failed)?;
    while let Some(batch) = batches.try_next().await.map_err(failed)? {
        let keys = keys_of(&batch, key)?;
        keys.as_string::<i32>().iter().flatten().for_each(&mut each);
    }
    Ok(())
}

/// The rows of several files in one, without those whose keys `leaves` names. Each part is let go of once it is read: what is
/// merged is in memory once.
pub(super) fn merge(parts: Vec<Bytes>, key: &str, properties: WriterProperties, leaves: impl Fn(&str) -> bool) -> Result<(u64, Vec<u8>)> {
    let failed = |error: parquet::errors::ParquetError| Error::failed("a file of results cannot be read").because(error);
    // Files of different runs may have different columns: the newest run's come first, older ones fill in nulls.
    let mut fields: Vec<Arc<Field>> = Vec::new();
    for file in parts.iter().rev() {
        let schema = Arc::clone(ParquetRecordBatchReaderBuilder::try_new(file.clone()).map_err(failed)?.schema());
        for field in schema.fields() {
            if !fields.iter().any(|known| known.name() == field.name()) {
                fields.push(Arc::new(field.as_ref().clone().with_nullable(true)));
            }
        }
    }
    let schema = Arc::new(Schema::new(fields));
    let mut output = OpenFile::with_capacity(&schema, properties, parts.iter().map(Bytes::len).sum())?;
    for file in parts {
        for batch in ParquetRecordBatchReaderBuilder::try_new(file).map_err(failed)?.build().map_err(failed)? {
            let batch = batch?;
            let keys = keys_of(&batch, key)?;
            let stays: BooleanArray = keys.as_string::<i32>().iter().map(|key| Some(key.is_none_or(|key| !leaves(key)))).collect();
            let kept = filter_record_batch(&batch, &stays)?;
            let arrays = schema.fields().iter().map(|field| column(&kept, field)).collect::<Result<Vec<_>>>()?;
            output.write(&RecordBatch::try_new(Arc::clone(&schema), arrays)?)?;
        }
    }
    output.finish()
}

/// The bytes of a file that a commit names.
pub(super) async fn read(folder: &Folder, path: &str) -> Result<Bytes> {
    let found = folder.get(path).await?;
    found.ok_or_else(|| {
        Error::failed(format!("`{folder}/{path}` is missing, though a commit names it"))
            .hint("restore it, or answer everything anew with `promptmill run --fresh`")
    })
}

fn keys_of(batch: &RecordBatch, key: &str) -> Result<datafusion::arrow::array::ArrayRef> {
    let keys = batch.column_by_name(key).ok_or_else(|| Error::failed(format!("a file of results has no column `{key}`")))?;
    Ok(cast(keys, &DataType::Utf8)?)
}

pub(super) fn not_read(folder: &Folder, file: &DataFile, error: parquet::errors::ParquetError) -> Error {
    Error::failed(format!("`{folder}/{}` cannot be read, though a commit names it", file.path))
        .hint("restore it, or answer everything anew with `promptmill run --fresh`")
        .because(error)
}
