//! SQL over what a pipeline reads and writes: `source`, `results`, `dead_letters`, `attempts`, `runs`.
//!
//! The tables show whole commits: a file counts when a commit names it, wherever else it may lie.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use object_store::ObjectMeta;
use promptmill_core::{Error, Pipeline, Registry, Result};

use crate::commit::{CommitLog, DataFile};
use crate::files::{Files, columns_of};
use crate::journal;
use crate::node::from_datafusion;
use crate::owner::Owner;
use crate::plan::{Plan, Purpose, session};
use crate::record::RunRecord;
use crate::run::state_folder;
use crate::sink::{Layout, in_table};
use crate::storage::Folder;

/// A session with the five tables of a pipeline, as they are now.
///
/// A run that ends may replace files that the session names: who reads while runs go on uses [`reading`].
///
/// # Errors
/// If the pipeline is wrong or its state cannot be read.
pub async fn open(pipeline: &Pipeline, registry: &Registry) -> Result<SessionContext> {
    reading(pipeline, registry, async |session| Ok(session.clone())).await
}

/// Reads from the five tables; and anew from a new session, if that failed and a run has meanwhile committed: it may have
/// replaced the files that were being read.
///
/// # Errors
/// If the pipeline is wrong, its state cannot be read, or what `read` says.
pub async fn reading<T>(pipeline: &Pipeline, registry: &Registry, mut read: impl AsyncFnMut(&SessionContext) -> Result<T>) -> Result<T> {
    let state = state_folder(pipeline)?;
    let sink = Folder::open(&pipeline.sink.path)?;
    let owner = Owner::find(&state, &sink).await?;
    CommitLog::reading(&state, async |log| {
        let results = match owner.as_ref().and_then(Owner::known) {
            Some(known) => in_table(&sink, known, log).await,
            None => log.results().to_vec(),
        };
        read(&tables(pipeline, registry, &state, log, &results).await?).await
    })
    .await
}

async fn tables(pipeline: &Pipeline, registry: &Registry, state: &Folder, log: &CommitLog, results: &[DataFile]) -> Result<SessionContext> {
    let session = session(None);
    let plan = Plan::new(&session, pipeline, registry, Purpose::Looking).await?;
    let layout = Layout::new(&plan.results, &pipeline.sink.partition_by, &pipeline.source.key, &plan.output)?;
    let sink = Folder::open(&pipeline.sink.path)?;
    sink.register(&session);
    state.register(&session);
    let partitions = layout
        .partition_by
        .iter()
        .filter_map(|name| plan.results.field_with_name(name).ok())
        .map(|field| Arc::new(field.clone()))
        .collect();
    let results = committed(&session, &sink, results, Arc::clone(&layout.file), partitions).await?;
    let dead_letters =
        committed(&session, &state.folder("dead_letters"), log.dead_letters(), Arc::clone(layout.dead()), Vec::new()).await?;
    let register = |name: &str, table: Arc<dyn TableProvider>| session.register_table(name, table).map(|_| ()).map_err(from_datafusion);
    register("source", plan.source)?;
    register("results", Arc::new(results))?;
    register("dead_letters", Arc::new(dead_letters))?;
    register("attempts", attempts(&session, state).await?)?;
    register("runs", runs(state).await?)?;
    Ok(session)
}

/// The files that a commit names, as a table. `planned` are the columns of files that a run would write now; older
/// files may have others.
async fn committed(
    session: &SessionContext,
    folder: &Folder,
    files: &[DataFile],
    planned: SchemaRef,
    partitions: Vec<FieldRef>,
) -> Result<Files> {
    // The commit knows the sizes: nobody has to ask the store about each file.
    let meta = |file: &DataFile| ObjectMeta {
        location: folder.path(&file.path),
        last_modified: DateTime::<Utc>::UNIX_EPOCH,
        size: file.bytes,
        e_tag: None,
        version: None,
    };
    let metas: Vec<ObjectMeta> = files.iter().map(meta).collect();
    let schema = match metas.is_empty() {
        true => planned,
        false => columns_of(&session.state(), folder, &metas).await.map_err(|error| {
            Error::failed(format!("a file in `{folder}` cannot be read, though a commit names it"))
                .hint("restore it, or answer everything anew with `promptmill run --fresh`")
                .because(error)
        })?,
    };
    Files::new(folder, schema, partitions, metas.into_iter().zip(files).map(|(meta, file)| (meta, file.partition.clone())).collect())
}

/// Attempts in sealed segments and in logs that are still open.
async fn attempts(session: &SessionContext, state: &Folder) -> Result<Arc<dyn TableProvider>> {
    let schema = journal::attempts_schema();
    let folder = state.folder("journal");
    let snapshot = journal::snapshot(&folder).await?;
    let mut metas = Vec::with_capacity(snapshot.segments.len());
    for name in &snapshot.segments {
        metas.push((folder.head(name).await?, Vec::new()));
    }
    let sealed = Files::new(&folder, Arc::clone(&schema), Vec::new(), metas)?;
    let open = MemTable::try_new(Arc::clone(&schema), vec![snapshot.open]).map_err(from_datafusion)?;
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let both =
        session.read_table(Arc::new(sealed)).and_then(|sealed| sealed.select_columns(&names)?.union(session.read_table(Arc::new(open))?));
    Ok(both.map_err(from_datafusion)?.into_view())
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
