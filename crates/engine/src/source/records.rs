//! Files of records that are no Parquet: CSV, JSON lines and Arrow files, as a table.
//!
//! Arrow's own decoders read them. Unlike Parquet, CSV and JSON do not say what their values are: every file is read once to
//! find that out ([`look`]), so that a column has a type that all its values have, and no value is lost for it.

mod csv;
mod ipc;
mod json;
mod kinds;
mod open;
mod quotes;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use datafusion::arrow::compute::CastOptions;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::common::nested_struct::cast_column;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectMeta;
use promptmill_core::pipeline::{SourceFormat, SourceSpec};
use promptmill_core::{Error, Mistake, Result};

pub(super) use self::csv::Dialect;
use super::shown;
use crate::files::footers::{UNKNOWN_TYPE, Weights};
use crate::files::merge::Shapes;
use crate::files::partition_value;
use crate::files::weight::rows_of;
use crate::storage::Folder;

/// Rows that are looked at together, as long as nobody knows how large they are.
const FIRST_ROWS: usize = 64;
/// Batches that wait for whoever reads them.
const WAITING: usize = 2;

/// What files are, and how they are to be read.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Csv(Dialect),
    Json,
    Arrow,
}

impl Kind {
    /// As a source of this format says it; `None` for one that is no file of records.
    pub(super) fn of(format: SourceFormat, spec: &SourceSpec) -> Result<Option<Self>, Mistake> {
        let dialect = Dialect::of(spec)?;
        let kind = match format {
            SourceFormat::Csv => return Ok(Some(Self::Csv(dialect))),
            SourceFormat::Jsonl | SourceFormat::Ndjson => Some(Self::Json),
            SourceFormat::Arrow => Some(Self::Arrow),
            SourceFormat::Parquet | SourceFormat::Delta => None,
        };
        match Dialect::first_set(spec) {
            Some(name) => Err(Mistake::new(name, format!("`{name}` says how CSV files are read, and these are {}", name_of(format)))
                .hint(Some("leave it out, or set `format = \"csv\"`"))),
            None => Ok(kind),
        }
    }
}

/// A format, as people call files of it.
pub(super) fn name_of(format: SourceFormat) -> &'static str {
    match format {
        SourceFormat::Csv => "CSV files",
        SourceFormat::Jsonl | SourceFormat::Ndjson => "JSON files",
        SourceFormat::Arrow => "Arrow files",
        SourceFormat::Parquet => "Parquet files",
        SourceFormat::Delta => "a Delta table",
    }
}

/// The format that a file's name says it has, compressed or not.
pub(super) fn format_by_name(name: &str) -> Option<SourceFormat> {
    let name = name.to_lowercase();
    let (plain, is_packed) = match open::Packing::of(&name) {
        open::Packing::None => (name.as_str(), false),
        _ => (name.rsplit_once('.').map_or(name.as_str(), |(plain, _)| plain), true),
    };
    match plain.rsplit_once('.')?.1 {
        "csv" | "tsv" => Some(SourceFormat::Csv),
        "jsonl" | "ndjson" | "json" => Some(SourceFormat::Jsonl),
        "arrow" | "feather" | "ipc" | "arrows" if !is_packed => Some(SourceFormat::Arrow),
        _ => None,
    }
}

/// What a file says of itself.
#[derive(Debug, Default)]
struct Said {
    /// Of Arrow files: their columns.
    schema: Option<SchemaRef>,
    /// Of CSV files: their columns, with what their values can be.
    texts: Vec<(String, kinds::Seen)>,
    /// Of JSON files: what a row is.
    record: json::Shape,
    rows: Option<u64>,
    has_rows: bool,
    /// Bytes that a row takes, where rows are largest.
    row_bytes: u64,
}

/// What some files say together.
#[derive(Debug, Default)]
pub(super) struct Looked {
    pub(super) shapes: Shapes,
    /// Rows, where they have been counted.
    pub(super) rows: Option<u64>,
    /// The places of files without any.
    pub(super) empty: BTreeSet<usize>,
    /// How many rows may be in memory together.
    pub(super) weights: Weights,
    /// Columns that have no type, each with the words to say so.
    pub(super) conflicts: BTreeMap<String, String>,
}

/// Looks into every file.
pub(super) async fn look(kind: &Kind, folder: &Folder, files: &[ObjectMeta]) -> Result<Looked, Mistake> {
    let at_once = std::thread::available_parallelism().map_or(1, usize::from);
    let looking = futures::stream::iter(files.iter().cloned()).map(|meta| {
        let (kind, folder) = (kind.clone(), folder.clone());
        async move {
            let name = shown(&folder, &meta);
            let one = move || look_into(&kind, &folder, &meta);
            // Types of Arrow that are younger than our reader of them make it panic.
            let unknown = |_| Error::failed(format!("source file `{name}` cannot be read: {UNKNOWN_TYPE}"));
            let looked = tokio::task::spawn_blocking(one).await;
            looked.map_err(|error| unknown(error).hint("write that column with another type"))?
        }
    });
    let said: Vec<Said> = looking.buffered(at_once).try_collect().await.map_err(|error: Error| super::told(&error))?;
    let mut looked = Looked { rows: said.iter().map(|said| said.rows).sum(), ..Looked::default() };
    let row_bytes = said.iter().map(|said| said.row_bytes).max().unwrap_or_default();
    looked.weights.all.rows_at_once = rows_of(row_bytes);
    looked.empty = said.iter().enumerate().filter(|(_, said)| !said.has_rows).map(|(place, _)| place).collect();
    let add = |looked: &mut Looked, place: usize, schema: &Schema| looked.shapes.add(schema, place, said[place].has_rows);
    match kind {
        Kind::Arrow => {
            for (place, schema) in said.iter().enumerate().filter_map(|(place, said)| Some((place, said.schema.as_ref()?))) {
                add(&mut looked, place, schema);
            }
        }
        Kind::Csv(dialect) => {
            let types = csv::types(dialect, said.iter().map(|said| said.texts.as_slice()))?;
            for (place, said) in said.iter().enumerate() {
                let fields = said.texts.iter().map(|(name, _)| Field::new(name, types[name].clone(), true));
                add(&mut looked, place, &Schema::new(fields.collect::<Vec<_>>()));
            }
        }
        Kind::Json => {
            let mut record = json::Shape::default();
            for (place, said) in said.iter().enumerate() {
                record.join(&said.record, place);
            }
            let (types, clashes) = record.columns();
            let file = |place: usize| shown(folder, &files[place]);
            looked.conflicts = clashes.into_iter().map(|clash| (clash.column.clone(), clash.in_words(file))).collect();
            for (place, said) in said.iter().enumerate() {
                let fields = said.record.names().filter_map(|name| Some(Field::new(name, types.get(name)?.clone(), true)));
                add(&mut looked, place, &Schema::new(fields.collect::<Vec<_>>()));
            }
        }
    }
    Ok(looked)
}

fn look_into(kind: &Kind, folder: &Folder, meta: &ObjectMeta) -> Result<Said> {
    let file = File { folder, meta };
    match kind {
        Kind::Csv(dialect) => csv::look_into(dialect, &file),
        Kind::Json => json::look_into(&file),
        Kind::Arrow => ipc::look_into(&file),
    }
}

/// A file of a source.
struct File<'f> {
    folder: &'f Folder,
    meta: &'f ObjectMeta,
}

impl File<'_> {
    fn name(&self) -> String {
        shown(self.folder, self.meta)
    }

    /// A failure that names the file.
    fn wrong(&self, what: impl fmt::Display) -> Error {
        Error::failed(format!("source file `{}` {what}", self.name())).hint("mend it, or leave it out")
    }
}

/// Rows of a file on their way; whether more are wanted.
type Each<'e> = &'e mut dyn FnMut(RecordBatch) -> Result<bool>;

/// Reads these columns of a file, each in its type; one that the file does not have is null.
fn read(kind: &Kind, file: &File<'_>, (columns, at_once): (&SchemaRef, usize), each: Each<'_>) -> Result<()> {
    let mut rows_before = 0;
    let mut adapted = |batch: RecordBatch| {
        let rows = rows_before..rows_before + batch.num_rows();
        rows_before = rows.end;
        each(
            as_columns(&batch, columns)
                .map_err(|error| file.wrong(format!("has rows {} to {} that cannot be read: {error}", rows.start + 1, rows.end)))?,
        )
    };
    match kind {
        Kind::Csv(dialect) => csv::read(dialect, file, (columns, at_once), each),
        Kind::Json => json::read(file, (columns, at_once), &mut adapted),
        Kind::Arrow => ipc::read(file, (columns, at_once), &mut adapted),
    }
}

/// Rows in the columns of a table. A value that does not fit is an error.
fn as_columns(batch: &RecordBatch, columns: &SchemaRef) -> DataFusionResult<RecordBatch> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let arrays = columns.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        Some(array) if array.data_type() == field.data_type() => Ok(Arc::clone(array)),
        Some(array) => {
            // What each file numbers in its own way, as the values that it numbers.
            let plain = match array.data_type() {
                DataType::Dictionary(_, values) => datafusion::arrow::compute::cast(array, values)?,
                _ => Arc::clone(array),
            };
            cast_column(&plain, field.data_type(), &options)
        }
        None => Ok(new_null_array(field.data_type(), batch.num_rows())),
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(columns), arrays.collect::<DataFusionResult<Vec<_>>>()?, &options)?)
}

/// The values of one column of a file, batch by batch: of Arrow files as they are, of others as texts.
pub(super) fn column(kind: &Kind, folder: &Folder, meta: &ObjectMeta, name: &str, mut each: impl FnMut(&ArrayRef) -> bool) -> Result<()> {
    let columns = Arc::new(Schema::new(vec![Field::new(name, DataType::Utf8, true)]));
    let file = File { folder, meta };
    let mut each = |batch: RecordBatch| Ok(batch.column_by_name(name).is_some_and(&mut each));
    match kind {
        Kind::Csv(dialect) => csv::read(dialect, &file, (&columns, FIRST_ROWS), &mut each),
        Kind::Json => json::read(&file, (&columns, FIRST_ROWS), &mut each),
        Kind::Arrow => ipc::read(&file, (&columns, FIRST_ROWS), &mut each),
    }
}

/// Files of records as a table.
pub(super) struct Records {
    kind: Kind,
    folder: Folder,
    schema: SchemaRef,
    /// How many of the columns, the first ones, are inside the files; the others are folders.
    inside: usize,
    files: Vec<(ObjectMeta, Vec<ScalarValue>)>,
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").field("folder", &self.folder).field("files", &self.files.len()).finish_non_exhaustive()
    }
}

impl Records {
    /// A table of files with these columns inside, each with the values of its partitions as text.
    pub(super) fn new(
        kind: Kind,
        folder: &Folder,
        inside: &SchemaRef,
        partitions: &[FieldRef],
        files: Vec<(ObjectMeta, Vec<Option<String>>)>,
    ) -> Result<Self> {
        let files = files.into_iter().map(|(meta, values)| {
            let values = values.iter().zip(partitions).map(|(value, field)| partition_value(value.as_deref(), field.data_type()));
            Ok((meta, values.collect::<Result<Vec<_>>>()?))
        });
        let files = files.collect::<Result<Vec<_>>>()?;
        let fields: Vec<FieldRef> = inside.fields().iter().chain(partitions).cloned().collect();
        Ok(Self { kind, folder: folder.clone(), schema: Arc::new(Schema::new(fields)), inside: inside.fields().len(), files })
    }
}

#[async_trait]
impl TableProvider for Records {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let schema = datafusion::physical_plan::project_schema(&self.schema, projection)?;
        if self.files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let places: Vec<usize> = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let share = self.files.len().div_ceil(state.config().target_partitions().max(1));
        let parts = self.files.chunks(share).map(|files| {
            let part = Part {
                kind: self.kind.clone(),
                folder: self.folder.clone(),
                schema: Arc::clone(&schema),
                places: places.clone(),
                inside: self.inside,
                files: files.to_vec(),
            };
            Arc::new(part) as Arc<dyn PartitionStream>
        });
        Ok(Arc::new(StreamingTableExec::try_new(Arc::clone(&schema), parts.collect(), None, None, false, limit)?))
    }
}

/// Files that are read one after the other.
struct Part {
    kind: Kind,
    folder: Folder,
    schema: SchemaRef,
    /// Where the columns of `schema` stand among all of the table.
    places: Vec<usize>,
    inside: usize,
    files: Vec<(ObjectMeta, Vec<ScalarValue>)>,
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("folder", &self.folder).field("files", &self.files.len()).finish_non_exhaustive()
    }
}

impl PartitionStream for Part {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let Self { kind, folder, schema, places, inside, files } = self;
        let mut stream = RecordBatchReceiverStreamBuilder::new(Arc::clone(schema), WAITING);
        let to = stream.tx();
        let at_once = context.session_config().batch_size();
        let (kind, folder, schema, places, inside, files) =
            (kind.clone(), folder.clone(), Arc::clone(schema), places.clone(), *inside, files.clone());
        stream.spawn_blocking(move || {
            let in_files = schema.fields().iter().zip(&places).filter(|(_, place)| **place < inside).map(|(field, _)| Arc::clone(field));
            let columns = Arc::new(Schema::new(in_files.collect::<Vec<_>>()));
            for (meta, folders) in &files {
                let mut is_wanted = true;
                let mut send = |batch: RecordBatch| {
                    let rows = batch.num_rows();
                    let mut of_file = batch.columns().iter();
                    let arrays = places.iter().map(|place| match place.checked_sub(inside) {
                        Some(folder) => folders[folder].to_array_of_size(rows),
                        None => of_file.next().cloned().ok_or_else(|| DataFusionError::Internal("a column is missing".to_owned())),
                    });
                    let arrays = arrays.collect::<DataFusionResult<Vec<_>>>().map_err(crate::node::from_datafusion)?;
                    let options = RecordBatchOptions::new().with_row_count(Some(rows));
                    let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), arrays, &options)?;
                    is_wanted = to.blocking_send(Ok(batch)).is_ok();
                    Ok(is_wanted)
                };
                read(&kind, &File { folder: &folder, meta }, (&columns, at_once), &mut send)
                    .map_err(|error| DataFusionError::External(Box::new(error)))?;
                if !is_wanted {
                    break;
                }
            }
            Ok(())
        });
        stream.build()
    }
}
