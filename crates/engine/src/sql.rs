//! SQL over what a pipeline reads and writes: `source`, `results`, `dead_letters`, `attempts`, `runs`.
//!
//! The tables show whole commits: a file counts when a commit names it, wherever else it may lie.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::datasource::MemTable;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::prelude::SessionContext;
use object_store::ObjectStoreExt;
use promptmill_core::{Error, Pipeline, Registry, Result};

use crate::commit::{CommitLog, DataFile};
use crate::journal;
use crate::node::from_datafusion;
use crate::owner::Owner;
use crate::plan::{Plan, Purpose, session};
use crate::record::RunRecord;
use crate::run::state_folder;
use crate::sink::Layout;
use crate::storage::Folder;

/// A session with the five tables of a pipeline.
///
/// # Errors
/// If the pipeline is wrong or its state cannot be read.
pub async fn open(pipeline: &Pipeline, registry: &Registry) -> Result<SessionContext> {
    let session = session(None);
    let plan = Plan::new(&session, pipeline, registry, Purpose::Looking).await?;
    let layout = Layout::new(&plan.results, &pipeline.sink.partition_by, &pipeline.source.key, &plan.output)?;
    let state = state_folder(pipeline)?;
    let sink = Folder::open(&pipeline.sink.path)?;
    Owner::find(&state, &sink).await?;
    let log = CommitLog::open(&state).await?;
    sink.register(&session);
    state.register(&session);
    let partitions = layout
        .partition_by
        .iter()
        .filter_map(|name| plan.results.field_with_name(name).ok())
        .map(|field| Arc::new(field.clone()))
        .collect();
    let results = Committed::open(&session, &sink, log.results(), Arc::clone(&layout.file), partitions).await?;
    let dead_letters =
        Committed::open(&session, &state.folder("dead_letters"), log.dead_letters(), Arc::clone(layout.dead()), Vec::new()).await?;
    let register = |name: &str, table: Arc<dyn TableProvider>| session.register_table(name, table).map(|_| ()).map_err(from_datafusion);
    register("source", plan.source)?;
    register("results", Arc::new(results))?;
    register("dead_letters", Arc::new(dead_letters))?;
    register("attempts", attempts(&session, &state).await?)?;
    register("runs", runs(&state).await?)?;
    Ok(session)
}

/// Committed Parquet files as a table, without looking at what else lies in the folder.
struct Committed {
    folder: Folder,
    schema: TableSchema,
    files: Vec<PartitionedFile>,
}

impl fmt::Debug for Committed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Committed").field("folder", &self.folder).field("files", &self.files.len()).finish_non_exhaustive()
    }
}

impl Committed {
    /// `planned` are the columns of files that a run would write now; older files may have others.
    async fn open(
        session: &SessionContext,
        folder: &Folder,
        files: Vec<DataFile>,
        planned: SchemaRef,
        partitions: Vec<FieldRef>,
    ) -> Result<Self> {
        let mut found = Vec::with_capacity(files.len());
        let mut metas = Vec::with_capacity(files.len());
        for file in files {
            let meta =
                folder.store().head(&folder.path(&file.path)).await.map_err(|error| {
                    Error::failed(format!("`{folder}/{}` is missing, though a commit names it", file.path)).because(error)
                })?;
            let values = file
                .partition
                .iter()
                .zip(&partitions)
                .map(|(value, field)| partition_value(value.as_deref(), field.data_type()))
                .collect::<Result<Vec<_>>>()?;
            found.push(PartitionedFile::new_from_meta(meta.clone()).with_partition_values(values));
            metas.push(meta);
        }
        let schema = if metas.is_empty() {
            planned
        } else {
            let format = ParquetFormat::default().with_force_view_types(false);
            format.infer_schema(&session.state(), folder.store(), &metas).await.map_err(from_datafusion)?
        };
        Ok(Self {
            folder: folder.clone(),
            schema: TableSchema::builder(schema).with_table_partition_cols(partitions).build(),
            files: found,
        })
    }
}

fn partition_value(value: Option<&str>, data_type: &DataType) -> Result<ScalarValue> {
    let text = ScalarValue::Utf8(value.map(str::to_owned));
    text.cast_to(data_type).map_err(from_datafusion)
}

#[async_trait]
impl TableProvider for Committed {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.schema.table_schema())
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
        if self.files.is_empty() {
            let schema = datafusion::physical_plan::project_schema(&self.schema(), projection)?;
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let groups = FileGroup::new(self.files.clone()).split_files(state.config().target_partitions());
        let source = Arc::new(ParquetSource::new(self.schema.clone()).with_table_parquet_options(state.table_options().parquet.clone()));
        let config = FileScanConfigBuilder::new(self.folder.store_url().clone(), source)
            .with_file_groups(groups)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        ParquetFormat::default().create_physical_plan(state, config).await
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }
}

/// Attempts in sealed segments and in logs that are still open.
async fn attempts(session: &SessionContext, state: &Folder) -> Result<Arc<dyn TableProvider>> {
    let schema = journal::attempts_schema();
    let Some(local) = state.local() else {
        return Ok(Arc::new(MemTable::try_new(schema, vec![vec![]]).map_err(from_datafusion)?));
    };
    let snapshot = journal::snapshot(local)?;
    let folder = state.folder("journal");
    let segments: Vec<DataFile> = snapshot.segments.iter().filter_map(|path| file_of(path)).collect();
    let sealed = Committed::open(session, &folder, segments, Arc::clone(&schema), Vec::new()).await?;
    let open = MemTable::try_new(Arc::clone(&schema), vec![snapshot.open]).map_err(from_datafusion)?;
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let both =
        session.read_table(Arc::new(sealed)).and_then(|sealed| sealed.select_columns(&names)?.union(session.read_table(Arc::new(open))?));
    Ok(both.map_err(from_datafusion)?.into_view())
}

fn file_of(path: &Path) -> Option<DataFile> {
    let name = path.file_name()?.to_str()?.to_owned();
    Some(DataFile { path: name, rows: 0, bytes: 0, partition: Vec::new() })
}

/// Run records as a table, a row a run.
async fn runs(state: &Folder) -> Result<Arc<dyn TableProvider>> {
    let records = RunRecord::all(state).await?;
    let batch = run_batch(&records)?;
    Ok(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]]).map_err(from_datafusion)?))
}

fn run_batch(records: &[RunRecord]) -> Result<RecordBatch> {
    let text = |of: &dyn Fn(&RunRecord) -> Option<String>| Arc::new(records.iter().map(of).collect::<StringArray>()) as ArrayRef;
    let number =
        |of: &dyn Fn(&RunRecord) -> f64| Arc::new(records.iter().map(|record| Some(of(record))).collect::<Float64Array>()) as ArrayRef;
    let count =
        |of: &dyn Fn(&RunRecord) -> u64| Arc::new(records.iter().map(|record| Some(of(record))).collect::<UInt64Array>()) as ArrayRef;
    let time = |of: &dyn Fn(&RunRecord) -> &str| -> Result<ArrayRef> {
        let texts: StringArray = records.iter().map(|record| Some(of(record).to_owned())).collect();
        Ok(cast(&texts, &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())))?)
    };
    let status =
        |record: &RunRecord| serde_json::to_value(record.summary.status).ok().and_then(|status| status.as_str().map(str::to_owned));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("run_id", text(&|record| Some(record.summary.run_id.clone()))),
        ("pipeline", text(&|record| Some(record.pipeline.clone()))),
        ("status", text(&status)),
        ("started_at", time(&|record| &record.started_at)?),
        ("ended_at", time(&|record| &record.ended_at)?),
        ("seconds", number(&|record| record.summary.seconds)),
        ("rows_source", count(&|record| record.summary.rows.source)),
        ("rows_filtered_out", count(&|record| record.summary.rows.filtered_out)),
        ("rows_unchanged", count(&|record| record.summary.rows.unchanged)),
        ("rows_from_journal", count(&|record| record.summary.rows.from_journal)),
        ("rows_answered", count(&|record| record.summary.rows.answered)),
        ("rows_dead_letters", count(&|record| record.summary.rows.dead_letters)),
        ("rows_remaining", count(&|record| record.summary.rows.remaining)),
        ("requests_sent", count(&|record| record.summary.requests.sent)),
        ("requests_ok", count(&|record| record.summary.requests.ok)),
        ("requests_rate_limited", count(&|record| record.summary.requests.rate_limited)),
        ("requests_failed", count(&|record| record.summary.requests.failed)),
        ("requests_retried", count(&|record| record.summary.requests.retried)),
        ("input_tokens", count(&|record| record.summary.tokens.input)),
        ("cached_input_tokens", count(&|record| record.summary.tokens.cached_input)),
        ("output_tokens", count(&|record| record.summary.tokens.output)),
        ("cost_usd", number(&|record| record.summary.cost_usd.usd())),
        ("rows_per_second", number(&|record| record.summary.rows_per_second)),
        ("rows_per_request", number(&|record| record.summary.throughput.rows_per_request)),
        ("concurrency_mean", number(&|record| record.summary.throughput.concurrency_mean)),
        ("concurrency_peak", count(&|record| record.summary.throughput.concurrency_peak)),
        ("error", text(&|record| record.error.clone())),
    ];
    let fields: Vec<Field> = columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, array)| array).collect())?)
}
