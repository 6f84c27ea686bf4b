//! Which columns go where, and files that are being written.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, new_null_array};
use datafusion::arrow::compute::{CastOptions, cast, cast_with_options};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use promptmill_core::{Error, Result, meaning};

use crate::commit::writer_properties;
use crate::meaning::writer_options;
use crate::shape::Shape;

/// Bytes of a file's open row group beyond which it is encoded.
const ROW_GROUP_BYTES: usize = 24 << 20;
/// The same where files are merged: there both what is read and what is written are in memory.
pub(super) const MERGED_ROW_GROUP_BYTES: usize = 16 << 20;
/// Bytes that the name of a folder may have, on any file system and store in use.
pub(super) const LONGEST_FOLDER: usize = 255;
/// Characters of a value that a message shows.
const SHOWN_CHARS: usize = 40;
/// The name that Hive gives to the partition of nulls.
const NULL_PARTITION: &str = "__HIVE_DEFAULT_PARTITION__";

/// Which columns go where.
#[derive(Debug)]
pub(crate) struct Layout {
    /// What the results look like.
    pub(super) shape: Shape,
    /// The columns inside a file of results.
    pub(super) file: SchemaRef,
    /// The columns of dead letters.
    pub(super) dead: SchemaRef,
    /// How files of results are written.
    pub(super) properties: WriterProperties,
}

impl Layout {
    /// The layout of results of this shape, of which these columns are free texts.
    pub(crate) fn new(shape: Shape, texts: &[&str]) -> Result<Self> {
        // Hardly any value occurs twice in these: a dictionary of them would be a second copy, searched for each row,
        // and some 70 kB a column before the first one.
        let ours = ["input_tokens", "output_tokens", "cost_usd"].map(|name| format!("{}{name}", shape.prefix));
        let mut unique: Vec<&str> = ours.iter().map(String::as_str).collect();
        // Of several columns one may have few values.
        unique.extend(shape.key.columns().iter().filter(|_| !shape.key.is_composite()).map(String::as_str));
        unique.extend(texts);
        let properties = unique
            .into_iter()
            .fold(writer_properties(), |properties, column| properties.set_column_dictionary_enabled(ColumnPath::from(column), false));
        Ok(Self { file: shape.inside(), dead: dead_letters_of(&shape)?, properties: properties.build(), shape })
    }
}

/// The columns of the dead letters beside results of this shape.
pub(crate) fn dead_letters_of(shape: &Shape) -> Result<SchemaRef> {
    let key = shape.key.columns().iter().map(|name| Ok(shape.columns.field_with_name(name)?.clone().with_nullable(true)));
    let mut dead = key.collect::<Result<Vec<_>>>()?;
    let mut ours = ["reason", "detail", "last_text", "llm_model"].map(|name| Field::new(name, DataType::Utf8, true)).to_vec();
    ours.extend([
        Field::new("llm_attempts", DataType::Int32, true),
        Field::new("input_tokens", DataType::Int64, true),
        Field::new("output_tokens", DataType::Int64, true),
        Field::new("cost_usd", DataType::Decimal128(18, 9), true),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
    ]);
    dead.extend(ours.into_iter().map(|field| {
        let name = format!("{}{}", shape.prefix, field.name());
        field.with_name(name)
    }));
    Ok(Arc::new(Schema::new(dead)))
}

/// A file that is being written, in memory.
pub(super) struct OpenFile {
    writer: ArrowWriter<Vec<u8>>,
    rows: u64,
}

impl OpenFile {
    pub(super) fn new(schema: &SchemaRef, properties: WriterProperties) -> Result<Self> {
        let options = writer_options(schema, properties).map_err(not_written)?;
        let writer = ArrowWriter::try_new_with_options(Vec::new(), Arc::clone(schema), options).map_err(not_written)?;
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
    match batch.schema_ref().column_with_name(field.name()) {
        // What has no UUIDs has their texts.
        Some((place, of)) if meaning::has_uuids(of) && !meaning::has_uuids(field) => {
            whole(&meaning::texts(batch.column(place), of)?, field)
        }
        Some((place, _)) => whole(batch.column(place), field),
        None => Ok(new_null_array(field.data_type(), batch.num_rows())),
    }
}

/// Values in the type of `field`. One that does not fit is an error: it must not become null.
pub(super) fn whole(array: &ArrayRef, field: &Field) -> Result<ArrayRef> {
    if array.data_type() == field.data_type() {
        return Ok(Arc::clone(array));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let cast = cast_with_options(array, field.data_type(), &options).map_err(|error| {
        Error::failed(format!("column `{}` is {}, and not every value of it is {}", field.name(), array.data_type(), field.data_type()))
            .hint("cast it in the source, or leave it out with `sink.columns`")
            .because(error)
    })?;
    if cast.logical_null_count() != array.logical_null_count() {
        return Err(Error::failed(format!("column `{}` would lose values as {}", field.name(), field.data_type())));
    }
    Ok(cast)
}

/// The folders of a partition: `year=2024/`.
pub(super) fn folders(partition_by: &[String], partition: &[Option<String>]) -> String {
    let values = partition_by.iter().zip(partition);
    values
        .map(|(name, value)| format!("{}={}/", encode(name), value.as_deref().map_or_else(|| NULL_PARTITION.to_owned(), encode)))
        .collect()
}

/// Values of partitions as texts; null also where a value has none.
pub(crate) fn partition_texts(values: &ArrayRef) -> std::result::Result<ArrayRef, ArrowError> {
    if let Ok(texts) = cast(values, &DataType::Utf8) {
        return Ok(texts);
    }
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(values.as_ref(), &options)?;
    let text = |row: usize| values.is_valid(row).then(|| formatter.value(row).try_to_string().ok()).flatten();
    Ok(Arc::new((0..values.len()).map(text).collect::<StringArray>()))
}

/// Of each row why no folder can be called after its partition, if none can. `partitions` are names and values as text,
/// outermost first; `most` is how many bytes all folders may have together.
pub(crate) fn unnameable(partitions: &[(&str, ArrayRef)], rows: usize, most: usize) -> Vec<Option<String>> {
    let mut details = vec![None; rows];
    let mut paths = vec![0; rows];
    for (name, values) in partitions {
        for (row, value) in values.as_string::<i32>().iter().enumerate() {
            let bytes = folder_bytes(name, value);
            paths[row] += bytes + 1;
            if bytes > LONGEST_FOLDER || paths[row] > most {
                let start: String = value.unwrap_or_default().chars().take(SHOWN_CHARS).collect();
                details[row].get_or_insert_with(|| {
                    format!("`{name}` = `{start}…` makes a folder of {bytes} bytes: at most {LONGEST_FOLDER} are possible, {most} for all")
                });
            }
        }
    }
    details
}

/// How many bytes the name of a partition's folder has.
fn folder_bytes(name: &str, value: Option<&str>) -> usize {
    // What is escaped becomes three bytes of one.
    let at_most = 3 * (name.len() + value.map_or(NULL_PARTITION.len(), str::len)) + 1;
    if at_most <= 255 { at_most } else { encode(name).len() + 1 + value.map_or(NULL_PARTITION.len(), |value| encode(value).len()) }
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

/// A part of a path as it was before it was written as Hive does.
pub(crate) fn decode(part: &str) -> String {
    let mut decoded = Vec::with_capacity(part.len());
    let mut rest = part;
    while let Some((before, behind)) = rest.split_once('%') {
        decoded.extend_from_slice(before.as_bytes());
        let escaped = behind.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(escaped.unwrap_or(b'%'));
        rest = if escaped.is_some() { &behind[2..] } else { behind };
    }
    decoded.extend_from_slice(rest.as_bytes());
    String::from_utf8(decoded).unwrap_or_else(|_| part.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_folders_are_read_as_they_were_written() {
        for name in ["year", "a=b", "50%", "a/b", "100%41", "ä:ö", "%", "with space"] {
            assert_eq!(decode(&encode(name)), name);
        }
    }
}
