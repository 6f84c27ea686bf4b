//! What a run would do now, found out by doing everything up to the question.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use async_trait::async_trait;
use datafusion::arrow::array::{Array, AsArray};
use datafusion::physical_plan::execute_stream;
use futures::TryStreamExt;
use promptmill_core::{
    AnswerShape, Attempt, Begun, Extensions, Journal, Meter, Money, Past, Pipeline, Price, Registry, Result, RowId, StageContext, Stop,
    columns,
};

use crate::commit::CommitLog;
use crate::estimate::{Estimate, Shown, Work, estimate};
use crate::node::from_datafusion;
use crate::owner::Owner;
use crate::plan::{Plan, Purpose, session};
use crate::record::RunRecord;
use crate::run::{count_rows, state_folder};
use crate::source;
use crate::storage::Folder;

/// What a run would do now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Forecast {
    /// Rows of the source.
    pub source: u64,
    /// Rows that the filters leave out.
    pub filtered_out: u64,
    /// Rows that are settled already.
    pub unchanged: u64,
    /// Rows that are dead letters, also those whose question has changed or that have left the source.
    pub failed_before: u64,
    /// Rows that would be asked.
    pub to_ask: u64,
    /// Those of them about which something else was asked before.
    pub changed: u64,
    /// Bytes of what the model would be shown of them.
    pub item_bytes: u64,
    /// What asking them would take; `None` if the pipeline asks no model.
    pub estimate: Option<Estimate>,
    /// What the pipeline may spend over all its runs.
    pub budget: Option<Money>,
}

/// Finds out what a run would do now, without sending or writing anything.
///
/// # Errors
/// The pipeline's mistakes, or that its state cannot be read.
pub async fn forecast(pipeline: Arc<Pipeline>, registry: &Registry) -> Result<Forecast> {
    let planning = session(None);
    let plan = Plan::new(&planning, &pipeline, registry, Purpose::Looking).await?;
    let meter = Arc::new(Meter::default());
    count_rows(&planning, &plan, &pipeline, &meter).await?;
    let state = state_folder(&pipeline)?;
    Owner::find(&state, &Folder::open(&pipeline.sink.path)?).await?;
    let log = CommitLog::open(&state).await?;
    let settled = Arc::new(log.settled(true).await?);
    let failed_before = settled.len() - log.settled(false).await?.len();
    let context = StageContext {
        question: plan.question(&pipeline).into(),
        pipeline: Arc::clone(&pipeline),
        run_id: "plan".into(),
        answered: settled.clone(),
        journal: Arc::new(NoJournal),
        acceptance: Arc::new([]),
        budget: None,
        meter: Arc::clone(&meter),
        stop: Stop::default(),
        extensions: Arc::new(Extensions::default()),
    };
    let session = session(Some(context));
    source::register(&session, &pipeline.source)?;
    let session_state = session.state();
    let physical = session_state.create_physical_plan(&plan.asked).await.map_err(from_datafusion)?;
    let mut stream = execute_stream(physical, session_state.task_ctx()).map_err(from_datafusion)?;
    let mut escapes = 0;
    let mut forecast = Forecast { failed_before: failed_before as u64, ..Forecast::default() };
    while let Some(batch) = stream.try_next().await.map_err(from_datafusion)? {
        forecast.to_ask += batch.num_rows() as u64;
        if let Some(keys) = batch.column_by_name(columns::KEY).and_then(|keys| keys.as_string_opt::<i32>()) {
            forecast.changed += keys.iter().flatten().filter(|key| settled.has_key(key)).count() as u64;
        }
        if let Some(items) = batch.column_by_name(columns::ITEM).and_then(|items| items.as_string_opt::<i32>()) {
            forecast.item_bytes += (0..items.len()).map(|row| items.value_length(row) as u64).sum::<u64>();
            escapes += items.iter().flatten().map(escapes_in_json).sum::<u64>();
        }
    }
    forecast.source = meter.source.load(Relaxed);
    forecast.filtered_out = meter.filtered_out.load(Relaxed);
    forecast.unchanged = meter.unchanged.load(Relaxed);
    forecast.budget = plan.budget();
    forecast.estimate = estimated(&forecast, escapes, &pipeline, registry, &plan, &state).await?;
    Ok(forecast)
}

/// Bytes that a text gains when it is written as JSON, or a few more.
fn escapes_in_json(text: &str) -> u64 {
    text.bytes().map(|byte| u64::from(byte == b'"' || byte == b'\\') + 5 * u64::from(byte < 32)).sum()
}

/// What asking the first model of the chain would take; the others have only what it leaves.
async fn estimated(
    forecast: &Forecast,
    escapes: u64,
    pipeline: &Pipeline,
    registry: &Registry,
    plan: &Plan,
    state: &Folder,
) -> Result<Option<Estimate>> {
    let declares = &plan.declares;
    let Some((_, name)) = declares.iter().flat_map(|declares| &declares.models).next() else { return Ok(None) };
    let spec = pipeline.models.get(name);
    let provider = spec.and_then(|spec| pipeline.providers.get(&spec.provider));
    let setting = |path: &str| {
        let found = declares.iter().find_map(|declares| {
            let (name, rest) = path.split_once('/').unwrap_or((path, ""));
            let setting = declares.of_requests.get(name)?;
            if rest.is_empty() { setting.as_u64() } else { setting.get(rest)?.as_u64() }
        });
        found.unwrap_or(1)
    };
    // Typed answers have their schema written out for each row.
    let shapes = declares.iter().filter_map(|declares| serde_json::from_value(declares.question.as_ref()?.get("answer")?.clone()).ok());
    let schema_bytes: usize = shapes
        .map(|shape: AnswerShape| match &shape {
            AnswerShape::Text(_) => 0,
            AnswerShape::Fields(_) => shape.schema().to_string().len(),
        })
        .sum();
    let work = Work {
        rows: forecast.to_ask,
        item_bytes: forecast.item_bytes + escapes + forecast.to_ask * schema_bytes as u64,
        shared_bytes: (plan.question(pipeline).len() + schema_bytes) as u64,
        rows_per_request: setting("rows_per_request/start") as f64,
        max_tokens_per_row: setting("max_tokens_per_row"),
        price: match spec {
            Some(spec) => (registry.price)(spec, provider).map(|quote| quote.price),
            None => Some(Price::FREE),
        },
        rpm: provider.and_then(|provider| provider.rpm),
        tpm: provider.and_then(|provider| provider.tpm),
    };
    let records = RunRecord::all(state).await?;
    let shown = records.iter().rev().filter_map(|record| record.models.get(name)).map(Shown::read);
    let shown = shown.into_iter().find(|shown| *shown != Shown::default());
    Ok(Some(estimate(&work, &shown.unwrap_or_default())))
}

/// Where nothing is asked, nothing is journalled.
#[derive(Debug)]
pub(crate) struct NoJournal;

#[async_trait]
impl Journal for NoJournal {
    async fn begin(&self, _begun: &Begun) -> Result<()> {
        Ok(())
    }

    async fn end(&self, _attempt: &Attempt) -> Result<()> {
        Ok(())
    }

    fn past(&self, _row: RowId) -> Vec<Past> {
        Vec::new()
    }

    fn spent(&self) -> Money {
        Money::ZERO
    }
}
