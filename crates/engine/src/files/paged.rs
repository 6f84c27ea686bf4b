//! Large rows and large row groups, read page by page and handed on in batches of so many bytes.
//!
//! The usual reader of Parquet has the columns of a row group in memory as a whole and makes batches of so many rows; where a
//! row has a megabyte, or a row group one and a half gigabytes, both are too much. Here a page at a time is read, and a large
//! one in parts; texts stay
//! in the pages that they came in until a batch is cut, by the bytes that its rows really have. Which files need that is said
//! by [`super::weight`]. So are pages that the usual reader takes for damaged ones ([`packed`]).

mod blocks;
mod header;
pub(in crate::files) mod packed;
mod parts;
mod unpacked;

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::common::cast::as_boolean_array;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::FileSource;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::projection::{ProjectionExprs, Projector};
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::physical_expr_adapter::{DefaultPhysicalExprAdapterFactory, PhysicalExprAdapterFactory, replace_columns_with_literals};
use datafusion_datasource::morsel::{Morsel, MorselPlan, MorselPlanner, Morselizer};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectMeta;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::{ProjectionMask, parquet_to_arrow_field_levels};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use tokio::sync::mpsc;

use self::blocks::Blocks;
use self::parts::Groups;
use super::footers::{local_path, stored_schema_of};
use super::weight::{BATCH_BYTES, Weight, may_be_larger};
use crate::storage::{Folder, StoredFile};

/// Says of a file in a scan that it may have to be read page by page.
#[derive(Clone, Copy, Debug)]
pub(super) struct MayBeHeavy;

/// Reads the files of a scan that are marked page by page, if the columns that are read are heavy, and leaves others to
/// their reader.
pub(super) struct Paged {
    pub(super) others: Box<dyn Morselizer>,
    pub(super) scan: Arc<Scan>,
}

impl fmt::Debug for Paged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Paged").field("others", &self.others).finish_non_exhaustive()
    }
}

/// What is read of each file.
pub(super) struct Scan {
    pub(super) folder: Folder,
    /// With the projection and the predicate.
    pub(super) source: Arc<dyn FileSource>,
    pub(super) adapters: Option<Arc<dyn PhysicalExprAdapterFactory>>,
    /// Whether the scan has to leave out rows by itself.
    pub(super) filters: bool,
    pub(super) batch_rows: usize,
}

impl Morselizer for Paged {
    fn plan_file(&self, file: PartitionedFile) -> DataFusionResult<Box<dyn MorselPlanner>> {
        if file.extension::<MayBeHeavy>().is_none() {
            return self.others.plan_file(file);
        }
        // The planner of the others is made at once: it does nothing before it is asked.
        let other = self.others.plan_file(file.clone())?;
        Ok(Box::new(Undecided { scan: Arc::clone(&self.scan), file, other }))
    }
}

/// A file of which nobody knows yet how it is to be read.
struct Undecided {
    scan: Arc<Scan>,
    file: PartitionedFile,
    other: Box<dyn MorselPlanner>,
}

impl fmt::Debug for Undecided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Undecided").field("file", &self.file.object_meta.location).finish_non_exhaustive()
    }
}

impl MorselPlanner for Undecided {
    fn plan(self: Box<Self>) -> DataFusionResult<Option<MorselPlan>> {
        let Self { scan, file, other } = *self;
        Ok(Some(MorselPlan::new().with_pending_planner(async move {
            Ok(match scan.open(&file).await? {
                Some(batches) => Box::new(Ready(batches)) as Box<dyn MorselPlanner>,
                None => other,
            })
        })))
    }
}

/// The batches of a file.
struct Ready(BoxStream<'static, DataFusionResult<RecordBatch>>);

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ready")
    }
}

impl MorselPlanner for Ready {
    fn plan(self: Box<Self>) -> DataFusionResult<Option<MorselPlan>> {
        Ok(Some(MorselPlan::new().with_morsels(vec![self])))
    }
}

impl Morsel for Ready {
    fn into_stream(self: Box<Self>) -> BoxStream<'static, DataFusionResult<RecordBatch>> {
        self.0
    }
}

impl Scan {
    /// The batches of a file, if it has to be read page by page.
    async fn open(&self, file: &PartitionedFile) -> DataFusionResult<Option<BoxStream<'static, DataFusionResult<RecordBatch>>>> {
        let pages = Pages::open(&self.folder, &file.object_meta).await?;
        let Some(pages) = pages else { return Ok(None) };
        let table = self.source.table_schema();
        let partitions = table.table_partition_cols().iter().zip(&file.partition_values);
        let partitions: HashMap<&str, &ScalarValue> = partitions.map(|(field, value)| (field.name().as_str(), value)).collect();
        let adapter = self.adapters.as_deref().unwrap_or(&DefaultPhysicalExprAdapterFactory);
        let adapter = adapter.create(Arc::clone(table.file_schema()), Arc::clone(&pages.schema))?;
        let adapt = |expr: Arc<dyn PhysicalExpr>| adapter.rewrite(replace_columns_with_literals(expr, &partitions)?);
        let all = || (0..table.table_schema().fields().len()).collect::<Vec<_>>();
        let projection = self.source.projection().cloned();
        let projection = projection.unwrap_or_else(|| ProjectionExprs::from_indices(&all(), table.table_schema()));
        let output = Arc::new(projection.project_schema(table.table_schema())?);
        let projection = projection.try_map_exprs(adapt)?;
        let predicate = self.source.filter().filter(|_| self.filters).map(adapt).transpose()?;
        let mut columns = projection.column_indices();
        columns.extend(predicate.iter().flat_map(collect_columns).map(|column| column.index()));
        columns.sort_unstable();
        columns.dedup();
        let mask = ProjectionMask::roots(pages.footer.file_metadata().schema_descr(), columns.iter().copied());
        let is_read = |leaf| mask.leaf_included(leaf);
        let weight = Weight::of(&pages.footer, is_read);
        if !weight.by_page && !may_be_larger(&pages.footer, is_read) {
            return Ok(None);
        }
        let read = Arc::new(pages.schema.project(&columns)?);
        let predicate = predicate.map(|predicate| reassign_expr_columns(predicate, &read)).transpose()?;
        let projector = projection.try_map_exprs(|expr| reassign_expr_columns(expr, &read))?.make_projector(&read)?;
        let part = Arc::new(Part { predicate, projector, output });
        let range = file.range.clone();
        let is_in_range = move |group: &RowGroupMetaData| range.as_ref().is_none_or(|range| range.contains(start_of(group)));
        let rows = self.batch_rows.min(weight.rows_at_once);
        let batches = pages.batches(Some(mask), rows, &is_in_range)?.map_err(DataFusionError::from);
        let parts = batches.map_ok(move |batch| {
            let part = Arc::clone(&part);
            // One after the other: a batch of pages may be far more rows than fit.
            futures::stream::iter(cut(&batch)).map(move |rows| part.of(&rows)).filter_map(async |part| part.transpose())
        });
        Ok(Some(parts.try_flatten().boxed()))
    }
}

/// Where a row group begins: of a file that is read in parts each part has those that begin in it.
fn start_of(group: &RowGroupMetaData) -> i64 {
    let first = group.column(0);
    first.dictionary_page_offset().unwrap_or_else(|| first.data_page_offset())
}

/// What becomes of some rows of a file.
struct Part {
    predicate: Option<Arc<dyn PhysicalExpr>>,
    projector: Projector,
    output: SchemaRef,
}

impl Part {
    /// The rows that are wanted, as the scan wants them.
    fn of(&self, rows: &RecordBatch) -> DataFusionResult<Option<RecordBatch>> {
        let kept = match &self.predicate {
            Some(predicate) => {
                let kept = predicate.evaluate(rows)?.into_array(rows.num_rows())?;
                Some(filter_record_batch(rows, as_boolean_array(&kept)?)?)
            }
            None => None,
        };
        let rows = kept.as_ref().unwrap_or(rows);
        if rows.num_rows() == 0 {
            return Ok(None);
        }
        let columns = self.projector.project_batch(rows)?.columns().to_vec();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        Ok(Some(RecordBatch::try_new_with_options(Arc::clone(&self.output), columns, &options)?))
    }
}

/// A batch in parts of so many bytes, or of one row that has more.
fn cut(batch: &RecordBatch) -> Vec<RecordBatch> {
    let rows = batch.num_rows();
    let mut bytes = vec![0; rows];
    for column in batch.columns() {
        add_bytes(column, &mut bytes);
    }
    let (mut parts, mut start, mut sum) = (Vec::new(), 0, 0);
    for (row, bytes) in bytes.into_iter().enumerate() {
        if row > start && sum + bytes > BATCH_BYTES {
            parts.push(batch.slice(start, row - start));
            (start, sum) = (row, 0);
        }
        sum += bytes;
    }
    if rows > start {
        parts.push(batch.slice(start, rows - start));
    }
    parts
}

/// Adds what each row of a column takes once it stands on its own.
fn add_bytes(column: &ArrayRef, bytes: &mut [u64]) {
    let views = match column.data_type() {
        DataType::Utf8View => Some(column.as_string_view().views()),
        DataType::BinaryView => Some(column.as_binary_view().views()),
        _ => None,
    };
    match views {
        // The first four bytes of a view are the length.
        Some(views) => bytes.iter_mut().zip(views.iter()).for_each(|(bytes, view)| *bytes += u64::from(*view as u32)),
        None => {
            let each = column.get_array_memory_size() as u64 / (column.len() as u64).max(1);
            bytes.iter_mut().for_each(|bytes| *bytes += each);
        }
    }
}

/// A file that has been opened to be read page by page.
struct Pages {
    file: Blocks,
    footer: Arc<ParquetMetaData>,
    /// Its columns, with texts as views of the pages.
    schema: SchemaRef,
}

impl Pages {
    /// Opens a file; `None` if its texts cannot be left in their pages.
    async fn open(folder: &Folder, meta: &ObjectMeta) -> Result<Option<Self>> {
        let mut stored = StoredFile { store: Arc::clone(folder.store()), path: meta.location.clone(), size: Some(meta.size) };
        let footer = stored.get_metadata(None).await?;
        let schema = Arc::new(with_views(&stored_schema_of(&footer)?));
        let options = ArrowReaderOptions::new().with_schema(Arc::clone(&schema));
        if ArrowReaderMetadata::try_new(Arc::clone(&footer), options).is_err() {
            return Ok(None);
        }
        let file = match folder.local() {
            Some(_) => Blocks::near(File::open(local_path(meta))?),
            None => Blocks::far(stored, meta.size, &footer),
        };
        Ok(Some(Self { file, footer, schema }))
    }

    /// Its rows, so many at a time, of some row groups.
    fn batches(
        self,
        columns: Option<ProjectionMask>,
        rows: usize,
        is_wanted: &dyn Fn(&RowGroupMetaData) -> bool,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let groups = self.footer.row_groups().iter().enumerate().filter(|(_, group)| is_wanted(group));
        let groups: Vec<usize> = groups.map(|(place, _)| place).collect();
        let is_near = self.file.is_near();
        let mask = columns.unwrap_or_else(ProjectionMask::all);
        let columns = parquet_to_arrow_field_levels(self.footer.file_metadata().schema_descr(), mask, Some(self.schema.fields()))?;
        let groups = Groups { file: Arc::new(self.file), footer: self.footer, groups };
        let open = move || ParquetRecordBatchReader::try_new_with_row_groups(&columns, &groups, rows, None);
        if is_near {
            // In this very thread: what others read for it, the allocator would keep for them.
            return Ok(futures::stream::iter(open()?).map_err(ParquetError::from).boxed());
        }
        let (sender, receiver) = mpsc::channel(1);
        tokio::task::spawn_blocking(move || {
            let batches = open().map(|batches| batches.map(|batch| batch.map_err(ParquetError::from)));
            let send = |batch| sender.blocking_send(batch).map_err(|_| ());
            // Nobody reads on if this fails.
            let _ = match batches {
                Ok(mut batches) => batches.try_for_each(send),
                Err(error) => send(Err(error)),
            };
        });
        Ok(futures::stream::unfold(receiver, async |mut receiver| receiver.recv().await.map(|batch| (batch, receiver))).boxed())
    }
}

/// A schema with texts that stay in the pages that they come in.
fn with_views(schema: &Schema) -> Schema {
    let fields = schema.fields().iter().map(|field| {
        let data_type = match field.data_type() {
            DataType::Dictionary(_, values) => values,
            other => other,
        };
        Arc::new(field.as_ref().clone().with_data_type(match data_type {
            DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
            DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
            _ => return Arc::clone(field),
        }))
    });
    Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone())
}

/// Reads a file to its end, to see whether that can be done.
pub(crate) async fn read_through(folder: &Folder, meta: &ObjectMeta) -> Result<()> {
    let Some(pages) = Pages::open(folder, meta).await? else { return Ok(()) };
    let rows = Weight::of(&pages.footer, |_| true).rows_at_once;
    let mut batches = pages.batches(None, rows, &|_| true)?;
    while batches.try_next().await?.is_some() {}
    Ok(())
}

/// The first column that cannot be read, if it is a column that is to blame.
pub(crate) async fn unreadable_column(folder: &Folder, meta: &ObjectMeta) -> Result<Option<String>> {
    let Some(pages) = Pages::open(folder, meta).await? else { return Ok(None) };
    let columns: Vec<String> = pages.schema.fields().iter().map(|field| field.name().clone()).collect();
    for (place, column) in columns.into_iter().enumerate() {
        let Some(pages) = Pages::open(folder, meta).await? else { return Ok(None) };
        let mask = ProjectionMask::roots(pages.footer.file_metadata().schema_descr(), [place]);
        let rows = Weight::of(&pages.footer, |leaf| mask.leaf_included(leaf)).rows_at_once;
        let mut batches = pages.batches(Some(mask), rows, &|_| true)?;
        loop {
            match batches.try_next().await {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return Ok(Some(column)),
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, DictionaryArray, Int32Array, Int64Array, StringArray};
    use datafusion::arrow::datatypes::{Field, Int32Type};
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use datafusion::prelude::SessionContext;

    use super::super::Files;
    use super::super::footers;
    use super::*;
    use crate::commit::parquet_file;
    use crate::plan::session;

    /// Rows of some 40 kB, some of them null, some of them ten times as long, in row groups of the writer's choice.
    fn rows(first: i64) -> RecordBatch {
        let numbers = first..first + 60;
        let text = |number: i64| match number % 7 {
            0 => None,
            3 => Some(format!("{number} é {}", "long ".repeat(80_000))),
            _ => Some(format!("{number} {}", "x".repeat(40_000))),
        };
        let kinds: DictionaryArray<Int32Type> =
            numbers.clone().map(|number| (number % 5 > 0).then_some(["one", "two"][(number % 2) as usize])).collect();
        let small: Int32Array = numbers.clone().map(|number| Some(number as i32)).collect();
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(numbers.clone().map(Some).collect::<Int64Array>())),
            ("small", Arc::new(small)),
            ("text", Arc::new(numbers.map(text).collect::<StringArray>())),
            ("kind", Arc::new(kinds)),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).expect("rows")
    }

    async fn table(folder: &Folder, is_marked: bool) -> Arc<Files> {
        let mut files = Vec::new();
        for place in [0, 1] {
            let batch = rows(place * 60);
            let name = format!("{place}.parquet");
            folder.put(&name, parquet_file(&batch.schema(), [&batch]).expect("a file")).await.expect("written");
            files.push((folder.head(&name).await.expect("is there"), vec![Some(format!("p{place}"))]));
        }
        let metas: Vec<ObjectMeta> = files.iter().map(|(meta, _)| meta.clone()).collect();
        let weights = footers::weigh(folder, &metas).await.expect("reads");
        assert!(weights.all.rows_at_once < 100 && weights.heavy.len() == 2, "{weights:?}");
        let columns = [
            ("id", DataType::Int64),
            ("small", DataType::Int64),
            ("text", DataType::Utf8),
            ("kind", DataType::Utf8),
            ("none", DataType::Int64),
        ];
        let schema = Schema::new(columns.map(|(name, data_type)| Field::new(name, data_type, true)).to_vec());
        let partition = Arc::new(Field::new("part", DataType::Utf8, true));
        let table = Files::new(folder, Arc::new(schema), vec![partition], files).expect("a table").cast(false);
        let heavy = metas.into_iter().filter(|_| is_marked).map(|meta| meta.location).collect();
        Arc::new(table.weighing(weights.all, heavy))
    }

    async fn shown(session: &SessionContext, query: &str) -> String {
        let found = session.sql(query).await.expect("a query").collect().await.expect("reads");
        assert!(found.iter().all(|batch| batch.get_array_memory_size() < 12 << 20), "no batch is large");
        pretty_format_batches(&found).expect("rows").to_string()
    }

    #[tokio::test]
    async fn what_is_read_page_by_page_is_what_the_usual_reader_reads_near_and_far() {
        let temp = tempfile::tempdir().expect("a folder");
        for folder in [Folder::open(&temp.path().to_string_lossy()).expect("opens"), Folder::in_memory()] {
            let session = session(None);
            folder.register(&session);
            for (name, is_marked) in [("paged", true), ("usual", false)] {
                session.register_table(name, table(&folder, is_marked).await).expect("registered");
            }
            for query in [
                "SELECT count(*), count(text), sum(id), sum(small), sum(length(text)), min(kind), max(part), count(none) FROM {}",
                "SELECT id, small, md5(text) AS text, kind, part, none FROM {} ORDER BY id",
                "SELECT id, part, length(text) AS long FROM {} WHERE length(text) > 100000 OR kind = 'two' AND part = 'p1' ORDER BY id",
                "SELECT md5(text) AS text FROM {} WHERE id > 55 AND id < 66 ORDER BY id",
                "SELECT count(*) FROM (SELECT text FROM {} WHERE text IS NOT NULL LIMIT 13)",
                "SELECT count(*) FROM {} WHERE kind IS NULL",
            ] {
                let read = async |table: &str| shown(&session, &query.replace("{}", &format!("{table} AS files"))).await;
                assert_eq!(read("paged").await, read("usual").await, "{folder}: {query}");
            }
            let plan =
                session.sql("SELECT text FROM paged WHERE id = 3").await.expect("a query").create_physical_plan().await.expect("a plan");
            let plan = datafusion::physical_plan::displayable(plan.as_ref()).indent(false).to_string();
            assert!(plan.contains("predicate=id@0 = 3") && !plan.contains("FilterExec"), "{plan}");
        }
    }

    #[test]
    fn batches_are_cut_by_what_their_rows_have() {
        let texts: StringArray = [3, 1, 5, 0, 2, 2].iter().map(|mb| Some("x".repeat(mb << 20))).collect();
        let views = datafusion::arrow::compute::cast(&texts, &DataType::Utf8View).expect("views");
        let batch = RecordBatch::try_from_iter([("text", views)]).expect("rows");
        let parts: Vec<usize> = cut(&batch).iter().map(RecordBatch::num_rows).collect();
        assert_eq!(parts, [2, 1, 3], "4 MB, 5 MB alone, 4 MB");
    }
}
