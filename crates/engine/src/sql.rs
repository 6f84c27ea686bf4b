//! SQL over what a pipeline reads and writes: `source`, `results`, `dead_letters`, `attempts`, `runs`, `unassigned_costs`.
//!
//! The tables show whole commits: a file counts when a commit names it, wherever else it may lie.

mod tables;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::arrow::array::{Array, ArrayRef, Decimal128Array, Float64Array, RecordBatch, StringArray, UInt64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::prelude::{DataFrame, SessionContext};
use object_store::ObjectMeta;
use promptmill_core::pipeline::Key;
use promptmill_core::{Error, Money, Pipeline, Registry, Result};

use self::tables::{Tables, Trouble};
use crate::commit::{CommitLog, DataFile};
use crate::files::Files;
use crate::journal;
use crate::key;
use crate::node::from_datafusion;
use crate::owner::Owner;
use crate::plan::{Plan, Purpose, session};
use crate::record::RunRecord;
use crate::run::state_folder;
use crate::shape::{Found, Shape, union_of};
use crate::sink::{columns_of_each, dead_letters_of, in_table};
use crate::storage::Folder;

/// A session with the tables of a pipeline, as they are now.
///
/// A run that ends may replace files that the session names: who reads while runs go on uses [`reading`].
///
/// # Errors
/// If the pipeline is wrong or its state cannot be read.
pub(crate) async fn open(pipeline: &Pipeline, registry: &Registry) -> Result<SessionContext> {
    reading(pipeline, registry, async |session| Ok(session.clone())).await
}

/// Reads from the tables; and anew from a new session, if that failed and a run has meanwhile committed: it may have
/// replaced the files that were being read.
///
/// # Errors
/// If the pipeline is wrong, its state cannot be read, or what `read` says.
pub(crate) async fn reading<T>(pipeline: &Pipeline, registry: &Registry, read: impl AsyncFnMut(&SessionContext) -> Result<T>) -> Result<T> {
    reading_planned(pipeline, registry, None, read).await
}

/// The same, where the pipeline has been planned already.
async fn reading_planned<T>(
    pipeline: &Pipeline,
    registry: &Registry,
    plan: Option<&Plan>,
    mut read: impl AsyncFnMut(&SessionContext) -> Result<T>,
) -> Result<T> {
    let state = state_folder(pipeline)?;
    let sink = Folder::open(&pipeline.sink.path)?;
    let owner = Owner::find(&state, &sink).await.map_err(|error| error.of(pipeline))?;
    let trouble = Trouble::default();
    let read = CommitLog::reading(&state, async |log| {
        let results = match owner.as_ref().and_then(Owner::known) {
            Some(known) => in_table(&sink, known, log).await,
            None => log.results().to_vec(),
        };
        let reading = Reading { pipeline, registry, plan, state: &state, sink: &sink, log, results: &results };
        read(&reading.session(&trouble).await?).await
    });
    read.await.map_err(|error| trouble.behind(error, pipeline))
}

/// What is read.
struct Reading<'r> {
    pipeline: &'r Pipeline,
    registry: &'r Registry,
    /// If there is one already.
    plan: Option<&'r Plan>,
    state: &'r Folder,
    sink: &'r Folder,
    log: &'r CommitLog,
    results: &'r [DataFile],
}

impl Reading<'_> {
    async fn session(&self, trouble: &Trouble) -> Result<SessionContext> {
        let Self { pipeline, registry, plan, state, sink, log, results } = *self;
        let session = session(None);
        sink.register(&session);
        state.register(&session);
        let mut tables = Tables::new(pipeline, state, trouble);
        let shape = match Found::of(log, results, state, sink, None).await? {
            Some(found) => Ok(found.shape),
            // Nothing has been written yet: the columns are those that a run would write.
            None => match plan {
                Some(plan) => Ok(plan.shape(pipeline)),
                None => Plan::new(&session, pipeline, registry, Purpose::Looking).await.map(|plan| {
                    tables.opened(Arc::clone(&plan.source));
                    plan.shape(pipeline)
                }),
            },
        };
        let key_and_cost = shape.as_ref().ok().map(|shape: &Shape| (key::sql(&shape.key), cost_of_rows(&shape.prefix)));
        let (letters, files) = (state.folder("dead_letters"), log.dead_letters());
        let dead = match (&shape, files) {
            (Ok(shape), []) => Some(dead_letters_of(shape)?),
            (Err(_), []) => None,
            _ => Some(union_of(&columns_of_each(&letters, files).await?)),
        };
        if let Ok(shape) = &shape {
            tables.add("results", committed(&session, sink, results, shape)?)?;
        }
        if let Some(columns) = &dead {
            tables.add("dead_letters", committed(&session, &letters, files, &Shape::new(&Key::of([""]), &[], columns))?)?;
        }
        if let Err(error) = shape {
            tables.fail(if dead.is_some() { &["results"] } else { &["results", "dead_letters"] }, error);
        }
        tables.add("attempts", attempts(&session, state).await?)?;
        tables.add("runs", runs(state).await?)?;
        tables.register(&session)?;
        // Where one of the tables beneath cannot be opened, neither can this one.
        if let Some((key, cost)) = key_and_cost {
            let unassigned = session.sql(&unassigned_costs(&key, &cost)).await.map_err(from_datafusion)?;
            session.register_table("unassigned_costs", unassigned.into_view()).map_err(from_datafusion)?;
        }
        Ok(session)
    }
}

/// A name as it stands in a query.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// What the column with the cost of a row is called, in results and dead letters.
fn cost_of_rows(prefix: &str) -> String {
    quoted(&format!("{prefix}cost_usd"))
}

/// What attempts have cost that no row of results or dead letters bears, by key: rows + this = attempts, to the
/// nano-dollar, whatever was changed, killed or removed in between. A row's share of an attempt is the one that
/// [`promptmill_core::share`] gives it.
fn unassigned_costs(key: &str, cost: &str) -> String {
    format!(
        "WITH shares AS (
            SELECT unnest(keys) AS key, unnest(range(0, CAST(cardinality(keys) AS BIGINT))) AS place, CAST(cardinality(keys) AS BIGINT) AS count,
                CAST(cost_usd AS DECIMAL(38, 9)) * 1000000000 AS nano
            FROM attempts WHERE cost_usd IS NOT NULL
        ), asked AS (
            SELECT key, sum(CAST(CAST(nano AS BIGINT) * (place + 1) / count - CAST(nano AS BIGINT) * place / count AS BIGINT)) AS nano, count(*) AS attempts
            FROM shares GROUP BY key
        ), borne AS (
            SELECT key, sum(nano) AS nano FROM (
                SELECT {key} AS key, CAST(CAST({cost} AS DECIMAL(38, 9)) * 1000000000 AS BIGINT) AS nano FROM results
                UNION ALL
                SELECT {key} AS key, CAST(CAST({cost} AS DECIMAL(38, 9)) * 1000000000 AS BIGINT) AS nano FROM dead_letters
            ) GROUP BY key
        )
        SELECT coalesce(asked.key, borne.key) AS key,
            CASE WHEN borne.key IS NULL THEN 'no row' ELSE 'another question' END AS reason,
            coalesce(asked.attempts, 0) AS attempts,
            CAST(CAST(coalesce(asked.nano, 0) - coalesce(borne.nano, 0) AS DECIMAL(38, 9)) / 1000000000 AS DECIMAL(18, 9)) AS cost_usd
        FROM asked FULL OUTER JOIN borne ON asked.key = borne.key
        WHERE coalesce(asked.nano, 0) <> coalesce(borne.nano, 0)"
    )
}

/// What no row bears of what all attempts of a planned pipeline have cost; see [`unassigned_costs`].
///
/// # Errors
/// If the pipeline is wrong or its state cannot be read.
pub(crate) async fn unassigned(pipeline: &Pipeline, registry: &Registry, plan: &Plan) -> Result<Money> {
    reading_planned(pipeline, registry, Some(plan), async |session| {
        // A run has refused another prefix than that of the results.
        let cost = cost_of_rows(&pipeline.sink.prefix);
        let sum = format!(
            "SELECT (SELECT coalesce(sum(cost_usd), 0) FROM attempts) - (SELECT coalesce(sum({cost}), 0) FROM results)
            - (SELECT coalesce(sum({cost}), 0) FROM dead_letters) AS nano"
        );
        let batches = session.sql(&sum).await.map_err(from_datafusion)?.collect().await.map_err(from_datafusion)?;
        let sums = batches.first().map(|batch| cast(batch.column(0), &DataType::Decimal128(38, 9))).transpose()?;
        let nano = sums.and_then(|sums| sums.as_any().downcast_ref::<Decimal128Array>().map(|sums| sums.value(0)));
        Ok(Money::from_nano(i64::try_from(nano.unwrap_or_default()).unwrap_or(i64::MAX)))
    })
    .await
}

/// The files that a commit names, as a table. Those from before the partitions changed lie in others.
fn committed(session: &SessionContext, folder: &Folder, files: &[DataFile], shape: &Shape) -> Result<Arc<dyn TableProvider>> {
    let mut kinds: BTreeMap<Vec<String>, Vec<&DataFile>> = BTreeMap::new();
    for file in files {
        kinds.entry(file.partition_by().unwrap_or_else(|| shape.partition_by.clone())).or_default().push(file);
    }
    if kinds.len() < 2 {
        let kind = kinds.pop_first().unwrap_or_else(|| (shape.partition_by.clone(), Vec::new()));
        return Ok(Arc::new(of_a_kind(folder, kind, shape)?));
    }
    let names: Vec<&str> = shape.columns.fields().iter().map(|field| field.name().as_str()).collect();
    let mut all: Option<DataFrame> = None;
    for kind in kinds {
        let part = session.read_table(Arc::new(of_a_kind(folder, kind, shape)?)).and_then(|part| part.select_columns(&names));
        all = Some(
            match all {
                Some(all) => part.and_then(|part| all.union(part)),
                None => part,
            }
            .map_err(from_datafusion)?,
        );
    }
    all.map(DataFrame::into_view).ok_or_else(|| Error::failed("a table without files"))
}

/// Files in the same partitions.
fn of_a_kind(folder: &Folder, (partition_by, files): (Vec<String>, Vec<&DataFile>), shape: &Shape) -> Result<Files> {
    let shape = Shape { partition_by, ..shape.clone() };
    // The commit knows the sizes: nobody has to ask the store about each file.
    let meta = |file: &DataFile| ObjectMeta {
        location: folder.path(&file.path),
        last_modified: DateTime::<Utc>::UNIX_EPOCH,
        size: file.bytes,
        e_tag: None,
        version: None,
    };
    let files = files.into_iter().map(|file| (meta(file), file.partition.clone())).collect();
    Files::new(folder, shape.inside(), shape.partitions(), files)
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
