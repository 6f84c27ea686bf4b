//! Which columns go where, and files that are being written.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, new_null_array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use promptmill_core::{Error, Result, columns};

use crate::commit::writer_properties;

/// Bytes of a file's open row group beyond which it is encoded.
const ROW_GROUP_BYTES: usize = 24 << 20;
/// The same where files are merged: there both what is read and what is written are in memory.
pub(super) const MERGED_ROW_GROUP_BYTES: usize = 16 << 20;
/// The name that Hive gives to the partition of nulls.
const NULL_PARTITION: &str = "__HIVE_DEFAULT_PARTITION__";

/// Which columns go where.
#[derive(Debug)]
pub(crate) struct Layout {
    /// The columns of the results, the partitions last.
    pub(super) results: SchemaRef,
    /// The columns inside a file of results.
    pub(crate) file: SchemaRef,
    /// The columns that are folders.
    pub(crate) partition_by: Vec<String>,
    /// The columns of dead letters.
    pub(super) dead: SchemaRef,
    /// The column of the keys.
    pub(super) key: String,
    /// How files of results are written.
    pub(super) properties: WriterProperties,
}

impl Layout {
    /// The layout of results with these columns, the partitions last.
    pub(crate) fn new(results: &SchemaRef, partition_by: &[String], key: &str, output: &SchemaRef) -> Result<Self> {
        let inside = results.fields().len() - partition_by.len();
        let mut dead = vec![output.field_with_name(key)?.clone().with_nullable(true)];
        dead.extend(["reason", "detail", "last_text", "llm_model"].map(|name| Field::new(name, DataType::Utf8, true)));
        dead.extend([
            Field::new("llm_attempts", DataType::Int32, true),
            Field::new("input_tokens", DataType::Int64, true),
            Field::new("output_tokens", DataType::Int64, true),
            Field::new("cost_usd", DataType::Decimal128(18, 9), true),
            Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        ]);
        // Hardly any value occurs twice in these: a dictionary of them would be a second copy, searched for each row,
        // and some 70 kB a column before the first one.
        let mut unique = vec![key, "input_tokens", "output_tokens", "cost_usd"];
        // Free texts are the answers that can be repaired; those of a fixed set are not.
        let is_text = |field: &Field| {
            field.metadata().contains_key(columns::ANSWER) && output.column_with_name(&format!("{}_flags", field.name())).is_some()
        };
        unique.extend(output.fields().iter().filter(|field| is_text(field)).map(|field| field.name().as_str()));
        let properties = unique
            .into_iter()
            .fold(writer_properties(), |properties, column| properties.set_column_dictionary_enabled(ColumnPath::from(column), false));
        Ok(Self {
            results: Arc::clone(results),
            file: Arc::new(Schema::new(results.fields()[..inside].to_vec())),
            partition_by: partition_by.to_vec(),
            dead: Arc::new(Schema::new(dead)),
            key: key.to_owned(),
            properties: properties.build(),
        })
    }

    /// The columns of dead letters.
    pub(crate) fn dead(&self) -> &SchemaRef {
        &self.dead
    }
}

/// A file that is being written, in memory.
pub(super) struct OpenFile {
    writer: ArrowWriter<Vec<u8>>,
    rows: u64,
}

impl OpenFile {
    pub(super) fn new(schema: &SchemaRef, properties: WriterProperties) -> Result<Self> {
        let writer = ArrowWriter::try_new(Vec::new(), Arc::clone(schema), Some(properties)).map_err(not_written)?;
        Ok(Self { writer, rows: 0 })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(batch).map_err(not_written)?;
        self.rows += batch.num_rows() as u64;
        if self.writer.in_progress_size() > ROW_GROUP_BYTES {
            self.writer.flush().map_err(not_written)?;
        }
        Ok(())
    }

    /// Its size so far, or a little more.
    pub(super) fn bytes(&self) -> usize {
        self.writer.bytes_written() + self.writer.in_progress_size()
    }

    /// How many rows it has, and its bytes.
    pub(super) fn finish(self) -> Result<(u64, Vec<u8>)> {
        Ok((self.rows, self.writer.into_inner().map_err(not_written)?))
    }
}

pub(super) fn not_written(error: parquet::errors::ParquetError) -> Error {
    Error::failed("results cannot be written as Parquet").because(error)
}

/// A column of a batch in the type of `field`; nulls if it is not there.
pub(super) fn column(batch: &RecordBatch, field: &Field) -> Result<ArrayRef> {
    match batch.column_by_name(field.name()) {
        Some(array) if array.data_type() == field.data_type() => Ok(Arc::clone(array)),
        Some(array) => Ok(cast(array, field.data_type())?),
        None => Ok(new_null_array(field.data_type(), batch.num_rows())),
    }
}

/// The folders of a partition: `year=2024/`.
pub(super) fn folders(partition_by: &[String], partition: &[Option<String>]) -> String {
    let values = partition_by.iter().zip(partition);
    values
        .map(|(name, value)| format!("{}={}/", encode(name), value.as_deref().map_or_else(|| NULL_PARTITION.to_owned(), encode)))
        .collect()
}

/// A partition's value as a part of a path, as Hive writes it.
fn encode(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '\u{1}'..='\u{1f}'
            | '\u{7f}'
            | '"'
            | '#'
            | '%'
            | '\''
            | '*'
            | '/'
            | ':'
            | '='
            | '?'
            | '\\'
            | '{'
            | '}'
            | '['
            | ']'
            | '^'
            | '<'
            | '>'
            | '|'
            | '`'
            | '~'
            | '\0' => {
                encoded.push_str(&format!("%{:02X}", c as u32));
            }
            _ => encoded.push(c),
        }
    }
    if encoded.is_empty() { NULL_PARTITION.to_owned() } else { encoded }
}
