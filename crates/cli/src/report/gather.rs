//! What a report says, gathered from the record, the tables and the source. No page here, and nothing of unbounded size.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::prelude::SessionContext;
use promptmill_core::{Error, Pipeline, Result};
use promptmill_engine::{Engine, RunRecord};

/// Answers that are shown.
const ANSWERS: usize = 12;

/// Dead letters that are shown of each reason.
const EXAMPLES: usize = 3;

/// Everything on a report.
#[derive(Debug)]
pub(crate) struct Gathered {
    pub(crate) record: RunRecord,
    /// Attempts of the run by model and status: model, status, attempts, rows answered, quantiles of the latency, cost.
    pub(crate) attempts: Rows,
    /// Dead letters that there are now, by reason.
    pub(crate) dead: Rows,
    /// Some of them: reason, key, detail, last text, model.
    pub(crate) examples: Rows,
    /// The names of the answer's columns.
    pub(crate) answer_columns: Vec<String>,
    /// Some answers: key, model, cost, repairs, and the answer's columns.
    pub(crate) answers: Rows,
    /// What the model was shown of these rows, by key.
    pub(crate) items: BTreeMap<String, String>,
}

/// Rows as texts; a null is none.
pub(crate) type Rows = Vec<Vec<Option<String>>>;

/// Gathers everything.
pub(crate) async fn gather(pipeline: Arc<Pipeline>, engine: &Engine, record: RunRecord) -> Result<Gathered> {
    let read = async |session: &SessionContext| query(session, &pipeline, record.clone()).await;
    let gathered = engine.reading(&pipeline, read).await?;
    let shown = gathered.answers.iter().map(|row| &row[0]).chain(gathered.examples.iter().map(|row| &row[1]));
    let keys: Vec<String> = shown.filter_map(Clone::clone).collect();
    let items = if keys.is_empty() { BTreeMap::new() } else { engine.items(pipeline, &keys).await? };
    Ok(Gathered { items, ..gathered })
}

/// Everything that the tables say.
async fn query(session: &SessionContext, pipeline: &Pipeline, record: RunRecord) -> Result<Gathered> {
    let run_id = record.summary.run_id.replace('\'', "''");
    let attempts = rows(
        session,
        &format!(
            "SELECT model, status, count(*), sum(answered), min(latency_ms), approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY latency_ms), \
             approx_percentile_cont(0.95) WITHIN GROUP (ORDER BY latency_ms), max(latency_ms), coalesce(sum(cost_usd), 0) \
             FROM attempts WHERE run_id = '{run_id}' GROUP BY model, status ORDER BY model, count(*) DESC"
        ),
    )
    .await?;
    let key = promptmill_engine::key_in_sql(&pipeline.source.key);
    let [reason, detail, last_text, llm_model, cost_usd] =
        ["reason", "detail", "last_text", "llm_model", "cost_usd"].map(|name| quoted(&format!("{}{name}", pipeline.sink.prefix)));
    let reasons = format!("SELECT {reason}, count(*), coalesce(sum({cost_usd}), 0) FROM dead_letters GROUP BY {reason} ORDER BY 2 DESC");
    let dead = rows(session, &reasons).await?;
    let examples = rows(
        session,
        &format!(
            "SELECT reason, key, detail, last_text, llm_model FROM (SELECT {reason} AS reason, {key} AS key, \
             {detail} AS detail, {last_text} AS last_text, {llm_model} AS llm_model, row_number() OVER (PARTITION BY {reason} ORDER BY md5({key})) AS place FROM dead_letters) AS numbered \
             WHERE place <= {EXAMPLES} ORDER BY reason, place"
        ),
    )
    .await?;
    let asked = pipeline.blueprint().question().map(|question| question.pack.shape.columns());
    let frame = session.table("results").await.map_err(failed)?;
    let there = |name: &str| frame.schema().has_column_with_unqualified_name(name);
    // Results of an earlier version of the pipeline may have other columns.
    let answer_columns: Vec<String> = asked.into_iter().flatten().filter(|name| there(name)).map(str::to_owned).collect();
    let flags: Vec<String> = answer_columns.iter().map(|name| format!("{name}_flags")).filter(|name| there(name)).collect();
    let flags = match flags.as_slice() {
        [] => "NULL".to_owned(),
        some => format!(
            "concat_ws(', ', {})",
            some.iter().map(|name| format!("array_to_string({}, ', ')", quoted(name))).collect::<Vec<_>>().join(", ")
        ),
    };
    let columns: String = answer_columns.iter().map(|name| format!(", {}", quoted(name))).collect();
    // A digest of the key spreads the sample over all rows, and shows the same rows each time.
    let answers =
        rows(session, &format!("SELECT {key}, {llm_model}, {cost_usd}, {flags}{columns} FROM results ORDER BY md5({key}) LIMIT {ANSWERS}"))
            .await?;
    Ok(Gathered { record, attempts, dead, examples, answer_columns, answers, items: BTreeMap::new() })
}

#[expect(clippy::needless_pass_by_value, reason = "as `map_err` hands it over")]
fn failed(error: datafusion::error::DataFusionError) -> Error {
    Error::failed("the run's tables cannot be read").because(error.strip_backtrace())
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

async fn rows(session: &SessionContext, query: &str) -> Result<Rows> {
    let batches = session.sql(query).await.map_err(failed)?.collect().await.map_err(failed)?;
    let mut rows = Vec::new();
    for batch in &batches {
        rows.extend(texts(batch)?);
    }
    Ok(rows)
}

fn texts(batch: &RecordBatch) -> Result<Rows> {
    let options = FormatOptions::default();
    let columns = batch.columns().iter().map(|column| Ok((column, ArrayFormatter::try_new(column.as_ref(), &options)?)));
    let columns: Vec<_> = columns.collect::<Result<_>>()?;
    let cell = |row: usize| columns.iter().map(move |(column, shown)| column.is_valid(row).then(|| shown.value(row).to_string()));
    Ok((0..batch.num_rows()).map(|row| cell(row).collect()).collect())
}
