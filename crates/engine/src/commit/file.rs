//! How our own Parquet files are written.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use promptmill_core::{Error, Result};

use crate::meaning::writer_options;

/// What gathers in a column of a file before it is compressed: a quarter of the usual, as a file is open for each
/// partition of the results.
const PAGE_BYTES: usize = 256 << 10;

/// How our files are written: fast compression, and nothing that readers of our own day lack.
pub(crate) fn writer_properties() -> WriterPropertiesBuilder {
    let level = ZstdLevel::try_new(1).unwrap_or_default();
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_data_page_size_limit(PAGE_BYTES)
        .set_created_by(format!("promptmill {}", env!("CARGO_PKG_VERSION")))
}

/// Record batches as the bytes of a Parquet file.
#[cfg(test)]
pub(crate) fn parquet_file<'a>(schema: &SchemaRef, batches: impl IntoIterator<Item = &'a RecordBatch>) -> Result<Vec<u8>> {
    parquet_file_with(schema, batches, writer_properties().build())
}

pub(super) fn parquet_file_with<'a>(
    schema: &SchemaRef,
    batches: impl IntoIterator<Item = &'a RecordBatch>,
    properties: WriterProperties,
) -> Result<Vec<u8>> {
    let failed = |error| Error::failed("a Parquet file cannot be made").because(error);
    let options = writer_options(schema, properties).map_err(failed)?;
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), Arc::clone(schema), options).map_err(failed)?;
    for batch in batches {
        writer.write(batch).map_err(failed)?;
    }
    writer.into_inner().map_err(failed)
}
