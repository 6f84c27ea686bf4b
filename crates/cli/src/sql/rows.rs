//! The rows of a query on their way out: batch by batch, so that memory does not grow with them.
//!
//! Only a table for people is gathered first: its columns are as wide as their widest value. At a terminal it is no wider than
//! that ([`super::table`]).

use std::io::{ErrorKind, Write};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{FieldRef, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::writer::LineDelimited;
use arrow::util::pretty::pretty_format_batches;
use clap::ValueEnum;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::SQLOptions;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use promptmill_core::{Error, Result, meaning};
use promptmill_engine::rows_for_parquet;

use super::spelled::{Maps, with_days, with_text_keys};
use super::table::{Table, write_lines};
use crate::plain::escaped;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RowFormat {
    /// A table for people; at a terminal as wide as it, with the first and the last rows
    Table,
    /// Every value in full, a line each
    Line,
    /// A JSON array of objects
    Json,
    /// CSV with a header
    Csv,
    /// A Parquet file
    Parquet,
}

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// All of them.
    Whole(RowFormat),
    /// As a table that fits into so many columns of a terminal.
    Fitted(usize),
}

/// A row group that has come to this size is written out.
const ROW_GROUP_BYTES: usize = 16 * 1024 * 1024;

/// The rows of a query, of which the first are there.
pub(crate) struct Rows {
    schema: SchemaRef,
    first: Option<RecordBatch>,
    rest: SendableRecordBatchStream,
}

impl Rows {
    /// Asks a query. Only queries: nothing here changes what is stored.
    pub(crate) async fn of(session: &SessionContext, query: &str) -> Result<Self> {
        let failed = |error: DataFusionError| {
            Error::failed("the query failed")
                .hint("tables: source, results, dead_letters, attempts, runs, unassigned_costs")
                .because(error.strip_backtrace())
        };
        let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false);
        let frame = session.sql_with_options(query.trim().trim_end_matches(';'), read_only).await.map_err(failed)?;
        let schema = SchemaRef::new(frame.schema().as_arrow().clone());
        let mut rest = frame.execute_stream().await.map_err(failed)?;
        let first = rest.next().await.transpose().map_err(failed)?;
        Ok(Self { schema, first, rest })
    }

    /// Writes them.
    pub(crate) async fn write(self, form: Form, to: impl Write + Send) -> Result<()> {
        let Self { schema, first, mut rest } = self;
        let mut writer = Writer::new(form, schema, to).map_err(unprintable)?;
        let mut next = first;
        while let Some(batch) = next {
            match writer.write(&batch) {
                // `promptmill sql … | head` has read enough.
                Err(error) if is_broken_pipe(&error) => return Ok(()),
                other => other.map_err(unprintable)?,
            }
            next = rest.next().await.transpose().map_err(|error| {
                Error::failed("the query failed after its first rows")
                    .hint("ask again: the end of a run may have replaced what was being read")
                    .because(error.strip_backtrace())
            })?;
        }
        match writer.finish() {
            Err(error) if is_broken_pipe(&error) => Ok(()),
            other => other.map_err(unprintable),
        }
    }
}

fn unprintable(error: ArrowError) -> Error {
    Error::failed("the rows cannot be written").because(error)
}

/// Whether somebody has stopped reading. Some writers wrap the error, so the whole chain is looked at.
fn is_broken_pipe(error: &ArrowError) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe) {
            return true;
        }
        next = error.source();
    }
    matches!(error, ArrowError::IoError(_, error) if error.kind() == ErrorKind::BrokenPipe) || error.to_string().contains("Broken pipe")
}

enum Writer<W: Write + Send> {
    Table { batches: Vec<RecordBatch>, to: W },
    Fitted(Box<Table>, W),
    Lines { schema: SchemaRef, rows: usize, to: W },
    Json(arrow::json::ArrayWriter<W>, bool),
    Csv(Box<arrow::csv::Writer<W>>, SchemaRef, bool),
    Parquet(Box<ArrowWriter<W>>),
}

impl<W: Write + Send> Writer<W> {
    fn new(form: Form, schema: SchemaRef, to: W) -> Result<Self, ArrowError> {
        let format = match form {
            Form::Fitted(width) => {
                let shown = meaning::rows_with_texts(&RecordBatch::new_empty(schema))?.schema();
                return Ok(Self::Fitted(Box::new(Table::new(shown, width)), to));
            }
            Form::Whole(format) => format,
        };
        Ok(match format {
            RowFormat::Line => Self::Lines { schema, rows: 0, to },
            RowFormat::Table => Self::Table { batches: vec![meaning::rows_with_texts(&RecordBatch::new_empty(schema))?], to },
            RowFormat::Json => Self::Json(arrow::json::WriterBuilder::new().with_encoder_factory(Arc::new(Maps)).build(to), false),
            RowFormat::Csv => Self::Csv(Box::new(arrow::csv::WriterBuilder::new().with_header(true).build(to)), schema, false),
            RowFormat::Parquet => {
                let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
                let schema = rows_for_parquet(&RecordBatch::new_empty(schema)).map_err(foreign)?.schema();
                let options = promptmill_engine::writer_options(&schema, properties)?;
                Self::Parquet(Box::new(ArrowWriter::try_new_with_options(to, schema, options)?))
            }
        })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        // Of what is written only Parquet has UUIDs, and only JSON wants texts for keys.
        let batch = match self {
            Self::Parquet(_) => rows_for_parquet(batch).map_err(foreign)?,
            Self::Json(..) | Self::Csv(..) => with_text_keys(&with_days(&meaning::rows_with_texts(batch)?)?)?,
            _ => with_days(&meaning::rows_with_texts(batch)?)?,
        };
        match self {
            Self::Table { batches, .. } => batches.push(batch),
            Self::Fitted(table, _) => table.add(&batch)?,
            Self::Lines { schema, rows, to } => {
                write_lines(schema, &batch, *rows, to)?;
                *rows += batch.num_rows();
            }
            Self::Json(writer, any) => {
                *any |= batch.num_rows() > 0;
                writer.write(&batch)?;
            }
            Self::Csv(writer, _, any) => {
                *any = true;
                writer.write(&flat(&batch)?)?;
            }
            Self::Parquet(writer) => {
                writer.write(&batch)?;
                if writer.in_progress_size() > ROW_GROUP_BYTES {
                    writer.flush()?;
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<(), ArrowError> {
        match self {
            Self::Table { batches, mut to } => {
                let table = pretty_format_batches(&batches)?;
                // A table is for people, wherever it goes.
                writeln!(to, "{}", escaped(&table.to_string()))?;
                to.flush()?;
            }
            Self::Fitted(table, mut to) => table.write(&mut to)?,
            Self::Lines { mut to, .. } => to.flush()?,
            Self::Json(mut writer, any) => {
                if any {
                    writer.finish()?;
                }
                let mut to = writer.into_inner();
                to.write_all(if any { b"\n" } else { b"[]\n" })?;
                to.flush()?;
            }
            Self::Csv(mut writer, schema, any) => {
                if !any {
                    // A header also over no rows.
                    writer.write(&flat(&meaning::rows_with_texts(&RecordBatch::new_empty(schema))?)?)?;
                }
                writer.into_inner().flush()?;
            }
            Self::Parquet(writer) => writer.into_inner()?.flush()?,
        }
        Ok(())
    }
}

fn foreign(error: Error) -> ArrowError {
    ArrowError::ExternalError(Box::new(error))
}

/// The same rows with lists and structs as JSON: CSV has none.
fn flat(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let column = |(field, array): (&FieldRef, &ArrayRef)| {
        if !array.data_type().is_nested() {
            return Ok((field.name().clone(), Arc::clone(array)));
        }
        let alone = RecordBatch::try_from_iter_with_nullable([("v", Arc::clone(array), true)])?;
        let mut writer = arrow::json::WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(Vec::new());
        writer.write(&alone)?;
        writer.finish()?;
        let lines = String::from_utf8_lossy(&writer.into_inner()).into_owned();
        let values = lines.lines().map(|line| line.strip_prefix("{\"v\":")?.strip_suffix('}').filter(|value| *value != "null"));
        Ok((field.name().clone(), Arc::new(values.collect::<StringArray>()) as ArrayRef))
    };
    let columns = batch.schema_ref().fields().iter().zip(batch.columns()).map(column).collect::<Result<Vec<_>, ArrowError>>()?;
    // Without columns the number of rows would be lost, and there is nothing to flatten.
    if columns.is_empty() { Ok(batch.clone()) } else { RecordBatch::try_from_iter(columns) }
}
