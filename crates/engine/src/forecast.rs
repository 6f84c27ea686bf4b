//! What a run would do now, found out by doing everything up to the question.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::compute::{filter_record_batch, is_null};
use datafusion::physical_plan::execute_stream;
use futures::TryStreamExt;
use promptmill_core::{
    AnswerShape, Answered, AskedModel, Blueprint, Error, Fingerprint, Meter, Money, NothingAnswered, Pipeline, Place, Price, Registry,
    Result, RunContext, StageContext, Stop, columns,
};
use promptmill_llm::cost_bound::{Grant, escapes, words_of};
use serde_json::Map;

use crate::commit::CommitLog;
use crate::estimate::{Estimate, Shown, Work, estimate};
use crate::fresh::Unfinished;
use crate::identity::{self, Order, identify, salted};
use crate::node::from_datafusion;
use crate::owner::Owner;
use crate::plan::{Plan, Purpose, session};
use crate::record::RunRecord;
use crate::run::{count_rows, nothing_was_asked, state_folder};
use crate::sorted::Sorted;
use crate::source::SourceSummary;
use crate::storage::Folder;

/// What a run would do now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Forecast {
    /// What the source is made of.
    pub files: SourceSummary,
    /// Rows of the source.
    pub source: u64,
    /// Rows that the filters leave out.
    pub filtered_out: u64,
    /// Rows that are settled already.
    pub unchanged: u64,
    /// Rows that are dead letters, also those whose question has changed or that have left the source.
    pub failed_before: u64,
    /// Rows that would be dead letters without being asked: no folder can be called after their partition.
    pub unstorable: u64,
    /// Rows that would be asked.
    pub to_ask: u64,
    /// Those of them about which something else was asked before.
    pub changed: u64,
    /// Those of them whose question another row asks too: it is asked once, and the answer shared.
    pub shared: u64,
    /// Whether prompt, models or answer have changed since the last commit, and not only rows.
    pub is_question_changed: bool,
    /// Whether a generation that `--fresh` has begun is to be completed.
    pub completes_fresh: bool,
    /// Rows in the results or dead letters that the source no longer has, or the filters leave out.
    pub gone: u64,
    /// Bytes of what the model would be shown of them.
    pub item_bytes: u64,
    /// What asking them would take; `None` if the pipeline asks no model.
    pub estimate: Option<Estimate>,
    /// What the pipeline may spend over all its runs.
    pub budget: Option<Money>,
}

/// Finds out what a run would do now, without sending or writing anything; but for what the footers of many files said, which the
/// state keeps for the next time.
///
/// # Errors
/// The pipeline's mistakes, or that its state cannot be read.
pub(crate) async fn forecast(pipeline: Arc<Pipeline>, registry: &Registry) -> Result<Forecast> {
    let planning = session(None);
    let plan = Plan::new(&planning, &pipeline, registry, Purpose::Looking).await?;
    let meter = Arc::new(Meter::default());
    let keys = count_rows(&planning, &plan, &pipeline, &meter).await?;
    let state = state_folder(&pipeline)?;
    let sink = Folder::open(&pipeline.sink.path)?;
    let owner = Owner::find(&state, &sink).await.map_err(|error| error.of(&pipeline))?;
    if owner.is_none() {
        Owner::check_unclaimed(&sink).await.map_err(|error| error.of(&pipeline))?;
    }
    let has_table = owner.is_some_and(|owner| owner.has_table());
    let is_new = nothing_was_asked(&state).await?;
    let committed = CommitLog::reading(&state, async |log| {
        let settled = log.settled(true).await?;
        if settled.keys_known() > log.rows() {
            let lost = settled.keys_known() - log.rows();
            tracing::warn!("{lost} rows are settled and in no file of results or dead letters: the next run settles them again");
        }
        let failed_before = settled.len() - log.settled(false).await?.len();
        let unfinished = Unfinished::find(&state, log).await?;
        if unfinished.is_none() {
            plan.shape_behind(&pipeline, log, &state, &sink, has_table).await?;
        }
        let salt = unfinished.as_ref().map_or(log.salt(), |unfinished| Some(unfinished.salt.as_str()));
        let question = salted(&identify(&plan.blueprint, &state, log, is_new, false).await?, salt);
        Ok((settled, failed_before, question, unfinished.is_some(), log.question()))
    });
    let (settled, failed_before, question, is_unfinished, question_before) = committed.await?;
    let settled = Arc::new(settled);
    let asked = Fingerprint::of([question.as_bytes()]);
    let answered: Arc<dyn Answered> = if is_unfinished { Arc::new(NothingAnswered) } else { settled.clone() };
    let context = StageContext {
        place: Place::alone(),
        run: Arc::new(RunContext::looking(question, answered)),
        meter: Arc::clone(&meter),
        stop: Stop::default(),
        services: Arc::default(),
    };
    let session = session(Some(context));
    plan.files.register(&session);
    let session_state = session.state();
    let physical = session_state.create_physical_plan(&plan.flow.asked(plan.rows.clone())?).await.map_err(from_datafusion)?;
    let mut stream = execute_stream(physical, session_state.task_ctx()).map_err(from_datafusion)?;
    let mut escaped = 0;
    let mut forecast = Forecast {
        files: plan.source_summary().clone(),
        failed_before,
        is_question_changed: !is_unfinished && question_before.is_some_and(|before| before != asked),
        completes_fresh: is_unfinished,
        gone: without(settled.keys()?, keys.iter()?)?,
        ..Forecast::default()
    };
    drop(keys);
    let mut questions = Sorted::default();
    while let Some(batch) = stream.try_next().await.map_err(from_datafusion)? {
        let unstorable = batch.column_by_name(columns::UNSTORABLE);
        let batch = match unstorable.filter(|why| why.null_count() < why.len()) {
            Some(why) => {
                forecast.unstorable += (why.len() - why.null_count()) as u64;
                filter_record_batch(&batch, &is_null(why)?)?
            }
            None => batch,
        };
        forecast.to_ask += batch.num_rows() as u64;
        if let Some(keys) = batch.column_by_name(columns::KEY).and_then(|keys| keys.as_string_opt::<i32>()) {
            for key in keys.iter().flatten() {
                forecast.changed += u64::from(settled.has_key(key)?);
            }
        }
        if let Some(asked) = batch.column_by_name(columns::QUESTION).and_then(|asked| asked.as_fixed_size_binary_opt()) {
            asked
                .iter()
                .flatten()
                .filter_map(|asked| asked.try_into().ok())
                .try_for_each(|asked| questions.push(u128::from_le_bytes(asked)))?;
        }
        if let Some(items) = batch.column_by_name(columns::ITEM).and_then(|items| items.as_string_opt::<i32>()) {
            forecast.item_bytes += (0..items.len()).map(|row| items.value_length(row) as u64).sum::<u64>();
            escaped += items.iter().flatten().map(|item| escapes(item) as u64).sum::<u64>();
        }
    }
    let all = questions.len();
    forecast.shared = all - questions.finish(|question, behind| behind != Some(question))?.len();
    forecast.source = meter.source.load(Relaxed);
    forecast.filtered_out = meter.filtered_out.load(Relaxed);
    forecast.unchanged = meter.unchanged.load(Relaxed);
    forecast.budget = plan.blueprint.budget();
    forecast.estimate = estimated(&forecast, escaped, &plan.blueprint, registry, &state).await?;
    Ok(forecast)
}

/// How many of these hashes are not among those; both in order.
fn without(these: impl Iterator<Item = Result<u64>>, those: impl Iterator<Item = Result<u64>>) -> Result<u64> {
    let (mut count, mut those) = (0, those.peekable());
    for hash in these {
        let hash = hash?;
        while those.next_if(|other| other.as_ref().is_ok_and(|other| *other < hash)).is_some() {}
        match those.peek() {
            Some(Ok(other)) if *other == hash => {}
            Some(Err(_)) => drop(those.next().transpose()?),
            _ => count += 1,
        }
    }
    Ok(count)
}

/// What asking the first model of the chain would take; the others have only what it leaves.
async fn estimated(
    forecast: &Forecast,
    escaped: u64,
    blueprint: &Blueprint,
    registry: &Registry,
    state: &Folder,
) -> Result<Option<Estimate>> {
    let Some(question) = blueprint.question() else { return Ok(None) };
    let Some(AskedModel { name, spec, provider }) = question.models.first() else { return Ok(None) };
    // Typed answers have their schema written out for each row.
    let schema_bytes = match &question.pack.shape {
        AnswerShape::Text(_) => 0,
        shape @ AnswerShape::Fields(_) => shape.schema().to_string().len(),
    };
    // What has no bound is refused under a budget; without one the range is that of the settings.
    let nothing = Map::new();
    let grant = Grant::of(spec.as_ref().map_or(&nothing, |spec| &spec.extra_body), spec.as_ref().and_then(|spec| spec.context));
    let grant = grant.or_else(|_| Grant::of(&nothing, None)).map_err(Error::failed)?;
    let words = spec.as_ref().map_or(0, |spec| words_of(&spec.extra_body));
    let work = Work {
        rows: forecast.to_ask - forecast.shared,
        item_bytes: forecast.item_bytes + escaped + forecast.to_ask * schema_bytes as u64,
        shared_bytes: (identity::text(blueprint, &Order::ByName).len() + schema_bytes + words) as u64,
        rows_per_request: question.pack.rows.start as f64,
        max_tokens_per_row: question.ask.max_tokens_per_row.into(),
        canary: question.ask.canary,
        grant,
        price: match spec {
            Some(spec) => (registry.price)(spec, provider.as_ref()).map(|quote| quote.price),
            None => Some(Price::FREE),
        },
        rpm: provider.as_ref().and_then(|provider| provider.rpm),
        tpm: provider.as_ref().and_then(|provider| provider.tpm),
    };
    let records = RunRecord::all(state).await?;
    let shown = records.iter().rev().filter_map(|record| record.model(name)).map(|model| Shown::by(&model));
    let shown = shown.into_iter().find(|shown| *shown != Shown::default());
    Ok(Some(estimate(&work, &shown.unwrap_or_default())))
}
