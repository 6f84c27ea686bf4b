//! A run: from the pipeline to committed results, and the record of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use chrono::{SecondsFormat, Utc};
use datafusion::arrow::array::{Array, AsArray};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, ident};
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::SessionContext;
use futures::{StreamExt, TryStreamExt};
use promptmill_core::{
    AnswerShape, Blueprint, Error, Extensions, Fingerprint, Journal, Meter, Mistake, Money, NothingAnswered, Pipeline, Place, Result,
    RunContext, StageContext, Stop, StopReason, columns,
};
use promptmill_llm::without_query;

use crate::Engine;
use crate::canary::CanaryRows;
use crate::commit::{CommitLog, key_hash};
use crate::fresh::Unfinished;
use crate::identity::{identify, salted};
use crate::journal::RunJournal;
use crate::node::from_datafusion;
use crate::owner::Owner;
use crate::plan::{Plan, Purpose, session};
use crate::record::{RunRecord, Status, Summary, Timeline};
use crate::settings;
use crate::sink::{Layout, Mode, Opening, Sink};
use crate::sorted::Sorted;
use crate::sql;
use crate::storage::Folder;

/// Wrong keys that an error names …
const NAMED_KEYS: usize = 5;
/// … out of so many.
const WRONG_KEYS: usize = 10_000;

/// Rows that wait for a commit at the most, however far away it is: they are remembered one by one until then.
const UNCOMMITTED_ROWS: usize = 100_000;

/// What the command line says about one run.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Only the first so many rows that pass the filters.
    pub limit: Option<u64>,
    /// In place of the pipeline's budget.
    pub budget: Option<Money>,
    /// Whether rows that are dead letters are asked again.
    pub retry_dead_letters: bool,
    /// Whether rows that the source no longer has, or that the filters leave out now, leave the results.
    pub prune: bool,
    /// What is answered.
    pub scope: Scope,
}

/// What a run answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// What is new or changed.
    #[default]
    Changed,
    /// Everything anew, into a new generation that takes the place of the old one when it is complete.
    Everything,
    /// Everything that the journal has answers to, from there: nothing is sent.
    Journalled,
}

/// A run that has ended, well or badly.
#[derive(Debug)]
pub struct Ended {
    /// The summary.
    pub summary: Summary,
    /// Dead letters that there are now, those of earlier runs included.
    pub dead_letters: u64,
    /// What canary rows say about packs; `None` if there were none.
    pub canaries: Option<CanaryRows>,
    /// What failed, if something did. What was received before is committed.
    pub error: Option<Error>,
}

/// Runs a pipeline, or carries on where its last run stopped.
///
/// # Errors
/// If the pipeline is wrong or the run could not begin; nothing has been sent then.
pub(crate) async fn run(engine: &Engine, pipeline: Arc<Pipeline>, options: RunOptions, meter: Arc<Meter>, stop: Stop) -> Result<Ended> {
    let registry = engine.registry();
    let (started, started_at) = (Instant::now(), now());
    let run_id = new_run_id();
    let planning = session(None);
    let purpose = match options.scope {
        Scope::Journalled => Purpose::Looking,
        Scope::Changed | Scope::Everything => Purpose::Asking { has_budget: options.budget.is_some() },
    };
    let plan = Plan::new(&planning, &pipeline, registry, purpose).await?;
    let keys = match count_rows(&planning, &plan, &pipeline, &meter).await {
        Ok(keys) => keys,
        Err(error) => return Err(plan.blame(error).await),
    };
    let rows = keys.len();
    let keys = options.prune.then_some(keys);
    meter.set_limit_rows(options.limit);

    let state = state_folder(&pipeline)?;
    let results = Folder::open(&pipeline.sink.path)?;
    Owner::find(&state, &results).await.map_err(|error| error.of(&pipeline))?;
    let is_new = nothing_was_asked(&state).await?;
    let journal = Arc::new(RunJournal::open(&state, &run_id, pipeline.state.flush.0).await?);
    let spent_before = journal.spent();
    let budget = options.budget.or_else(|| plan.blueprint.budget());
    let job = Job {
        pipeline: &pipeline,
        plan: &plan,
        options: &options,
        state: &state,
        run_id: &run_id,
        budget,
        rows,
        is_new,
        services: engine.services(),
    };
    let mut timeline = Timeline::new();
    let worked = job.work(results, keys, Arc::clone(&journal), &meter, &stop, &mut timeline).await;
    // Whatever went wrong, the next run is let in.
    let closed = journal.close().await;
    let Worked { dead_letters, outcome } = worked?;
    let outcome = outcome.and(closed).and(stop.clone().into_result());
    timeline.sample(&meter);

    let status = match (&outcome, stop.reason()) {
        (Err(_), _) => Status::Failed,
        (Ok(()), Some(StopReason::Budget)) => Status::BudgetExhausted,
        (Ok(()), Some(_)) => Status::Interrupted,
        (Ok(()), None) => Status::Completed,
    };
    let mut summary = Summary::new(&run_id, status, &meter.read(), budget, started.elapsed(), &pipeline.sink.path);
    summary.unassigned_usd = match sql::unassigned(&pipeline, registry, &plan).await {
        Ok(unassigned) => Some(unassigned),
        Err(error) => {
            tracing::warn!("what no row bears of the cost could not be counted: {error}");
            None
        }
    };
    let error = outcome.err();
    let canaries = CanaryRows::of(&meter.canaries());
    let record = RunRecord {
        v: crate::format::Version,
        pipeline: pipeline.name.clone(),
        started_at,
        ended_at: now(),
        versions: versions(),
        configuration: without_secrets(pipeline.config().clone()),
        source: plan.source_summary().clone(),
        models: settings::of_models(&plan.blueprint, registry, &meter)?,
        budget: settings::of_budget(plan.blueprint.budget(), options.budget, spent_before, summary.cost_usd),
        steps: meter.steps(),
        canaries: canaries.clone(),
        summary: summary.clone(),
        error: error.as_ref().map(ToString::to_string),
        timeline: timeline.into_samples(),
    };
    let json =
        serde_json::to_vec_pretty(&record).map_err(|error| Error::failed("the run record cannot be written as JSON").because(error))?;
    let recorded = state.put(&format!("runs/{run_id}.json"), json).await;
    // Of two errors the first one is the cause.
    Ok(Ended { summary, dead_letters, canaries, error: error.or(recorded.err()) })
}

/// What one run is about.
struct Job<'r> {
    pipeline: &'r Arc<Pipeline>,
    plan: &'r Plan,
    options: &'r RunOptions,
    state: &'r Folder,
    run_id: &'r str,
    budget: Option<Money>,
    /// Rows that pass the filters.
    rows: u64,
    /// Whether nothing has been asked here before.
    is_new: bool,
    /// What outlives the run.
    services: &'r Arc<Extensions>,
}

/// What came of it.
struct Worked {
    dead_letters: u64,
    outcome: Result<()>,
}

impl Job<'_> {
    /// Everything between opening the journal and closing it.
    async fn work(
        &self,
        results: Folder,
        keys: Option<Sorted<u64>>,
        journal: Arc<RunJournal>,
        meter: &Arc<Meter>,
        stop: &Stop,
        timeline: &mut Timeline,
    ) -> Result<Worked> {
        let Self { pipeline, plan, options, state, run_id, budget, rows, is_new, services } = *self;
        let log = CommitLog::open(state).await?;
        Unfinished::remove_unreadable(state).await?;
        let unfinished = Unfinished::find(state, &log).await?;
        let mode = match (options.scope, unfinished) {
            (Scope::Journalled, _) => Mode::Replay,
            (_, Some(unfinished)) => Mode::Fresh(unfinished.salt),
            (Scope::Everything, None) => Mode::Fresh(Unfinished::begin(state, run_id).await?.salt),
            (Scope::Changed, None) => Mode::Add,
        };
        let salt = match &mode {
            Mode::Fresh(salt) => Some(salt.as_str()),
            Mode::Add | Mode::Replay => log.salt(),
        };
        let question = salted(&identify(&plan.blueprint, state, &log, is_new, options.scope != Scope::Journalled).await?, salt);
        let owner = Owner::claim(state, &results, !log.results().is_empty()).await.map_err(|error| error.of(pipeline))?;
        let shape = match mode {
            // Nothing of what is there stays.
            Mode::Fresh(_) => plan.shape(pipeline),
            Mode::Add | Mode::Replay => plan.shape_behind(pipeline, &log, state, &results, owner.has_table()).await?,
        };
        let opening = Opening {
            results,
            owner,
            log,
            with_dead_letters: !options.retry_dead_letters,
            layout: Layout::new(shape, &texts(&plan.blueprint))?,
            run_id: run_id.to_owned(),
            format: pipeline.sink.format,
            name: pipeline.name.clone(),
            target_file_mb: pipeline.sink.target_file_mb,
            mode: mode.clone(),
            question: Fingerprint::of([question.as_bytes()]),
            journal: Some(Arc::clone(&journal)),
        };
        let mut sink = Sink::open(state, opening).await?;
        let lent = RunContext {
            id: run_id.into(),
            question: question.as_str().into(),
            answered: if matches!(mode, Mode::Fresh(_)) { Arc::new(NothingAnswered) } else { sink.settled() },
            journal,
            asks: options.scope != Scope::Journalled,
            counts_earlier: !options.retry_dead_letters,
            budget,
            shared: Extensions::default(),
        };
        let context = StageContext {
            place: Place::alone(),
            run: Arc::new(lent),
            meter: Arc::clone(meter),
            stop: stop.clone(),
            services: Arc::clone(services),
        };
        let flowed = flow(plan, context, options, &mut sink, timeline, meter, pipeline.sink.commit_every.0).await;
        let flowed = match flowed {
            Ok(()) => plan.unchanged().await,
            Err(error) => Err(plan.blame(error).await),
        };
        // Whatever went wrong, what has been received is kept.
        let committed = sink.commit().await;
        let is_through = flowed.is_ok() && !stop.is_requested();
        // By what lies there, not by what was counted on the way: a generation that is not whole must not take the place of one that is.
        let is_complete = is_through && sink.staged() == rows;
        let swaps = match mode {
            Mode::Add => true,
            Mode::Replay => is_through,
            Mode::Fresh(_) => is_complete,
        };
        let mut finished = committed;
        if finished.is_ok() && swaps {
            let keys = keys.filter(|_| is_through);
            finished = sink.swap(keys.as_ref()).await.map(|gone| meter.add(|meter| &meter.pruned, gone));
            if finished.is_ok() && matches!(mode, Mode::Fresh(_)) {
                finished = Unfinished::end(state).await;
            }
        }
        if finished.is_ok() && is_through {
            finished = sink.compact().await;
        }
        Ok(Worked { dead_letters: sink.dead_letters_now(), outcome: flowed.and(finished) })
    }
}

/// Sends the rows through the stages into the sink, with a commit every so often.
async fn flow(
    plan: &Plan,
    context: StageContext,
    options: &RunOptions,
    sink: &mut Sink,
    timeline: &mut Timeline,
    meter: &Meter,
    commit_every: Duration,
) -> Result<()> {
    let stop = context.stop.clone();
    let session = session(Some(context));
    let mut rows = plan.rows.clone();
    if let Some(limit) = options.limit {
        let first = Some(usize::try_from(limit).unwrap_or(usize::MAX));
        rows = LogicalPlanBuilder::from(rows).limit(0, first).and_then(LogicalPlanBuilder::build).map_err(from_datafusion)?;
        // With one partition the first rows are the first rows each time.
        session.state_ref().write().config_mut().options_mut().execution.target_partitions = 1;
    }
    plan.files.register(&session);
    let state = session.state();
    let physical = state.create_physical_plan(&plan.flow.answered(rows)?).await.map_err(from_datafusion)?;
    let mut stream = execute_stream(physical, state.task_ctx()).map_err(from_datafusion)?;
    let result = drain(&mut stream, sink, timeline, meter, commit_every).await;
    if result.is_err() {
        // Nothing more is sent, but what is in flight has been paid for: it still reaches the journal.
        stop.request(StopReason::Failed);
        while stream.next().await.is_some() {}
    }
    result
}

/// Writes what comes out of the stages, with a commit and a sample every so often.
async fn drain(
    stream: &mut SendableRecordBatchStream,
    sink: &mut Sink,
    timeline: &mut Timeline,
    meter: &Meter,
    commit_every: Duration,
) -> Result<()> {
    let mut commit_at = Instant::now() + commit_every;
    let mut sample_at = Instant::now() + timeline.every();
    loop {
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(sample_at.into()) => {
                timeline.sample(meter);
                sample_at = Instant::now() + timeline.every();
            }
            () = tokio::time::sleep_until(commit_at.into()) => {
                sink.commit().await?;
                commit_at = Instant::now() + commit_every;
            }
            batch = stream.next() => match batch {
                Some(batch) => {
                    let unnameable = sink.write(&batch.map_err(from_datafusion)?).await?;
                    meter.dies(unnameable);
                    if sink.uncommitted() > UNCOMMITTED_ROWS {
                        sink.commit().await?;
                    }
                }
                None => return Ok(()),
            },
        }
    }
}

/// The columns of the answer that are free texts, in which hardly any value occurs twice.
fn texts(blueprint: &Blueprint) -> Vec<&str> {
    match blueprint.question().map(|question| &question.pack.shape) {
        Some(AnswerShape::Text(name)) => vec![name],
        Some(AnswerShape::Fields(fields)) => fields.iter().filter(|field| field.is_text()).map(|field| field.name.as_str()).collect(),
        None => Vec::new(),
    }
}

/// Counts the source's rows and those that pass the filters, and checks their keys: before anything is asked.
/// Returns the hashes of the keys that pass.
pub(crate) async fn count_rows(session: &SessionContext, plan: &Plan, pipeline: &Pipeline, meter: &Meter) -> Result<Sorted<u64>> {
    let keys = LogicalPlanBuilder::from(plan.rows.clone())
        .project([ident(columns::KEY)])
        .and_then(LogicalPlanBuilder::build)
        .map_err(from_datafusion)?;
    let (mut passed, mut nulls, mut hashes) = (0_u64, 0_u64, Sorted::default());
    each_key(session, &keys, |key| {
        passed += 1;
        match key {
            Some(key) => hashes.push(key_hash(key))?,
            None => nulls += 1,
        }
        Ok(())
    })
    .await?;
    // Without a filter everything passes, and no file is opened only to be counted; nor where the footers have said it.
    let has_filter = plan.blueprint.filters().next().is_some();
    let total = match plan.files.summary.rows {
        _ if !has_filter => passed,
        Some(rows) => rows,
        None => session.read_table(Arc::clone(&plan.source)).map_err(from_datafusion)?.count().await.map_err(from_datafusion)? as u64,
    };
    meter.source.store(total, Relaxed);
    meter.filtered_out.store(total.saturating_sub(passed), Relaxed);
    let (mut suspects, mut suspected, mut last) = (BTreeSet::new(), 0, None);
    let hashes = hashes.finish(|hash, behind| {
        let is_double = behind == Some(hash);
        if is_double && last != Some(hash) {
            suspected += 1;
            if suspects.len() < WRONG_KEYS {
                suspects.insert(hash);
            }
        }
        last = Some(hash);
        !is_double
    })?;
    let wrong = |message: String, hint: &str| {
        let mistake = Mistake::new("key", message).hint(Some(hint));
        Err(pipeline.diagnostics(vec![pipeline.diagnostic(&["source"], mistake)]).into())
    };
    if nulls > 0 {
        let rows = if nulls == 1 { "1 row has".to_owned() } else { format!("{nulls} rows have") };
        return wrong(
            format!("{rows} no value in the key {}", pipeline.source.key),
            "choose another key, or leave these rows out with a `filter`",
        );
    }
    if suspects.is_empty() {
        return Ok(hashes);
    }
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    each_key(session, &keys, |key| {
        if let Some(key) = key.filter(|key| suspects.contains(&key_hash(key))) {
            *counts.entry(key.to_owned()).or_default() += 1;
        }
        Ok(())
    })
    .await?;
    let doubled: Vec<String> =
        counts.iter().filter(|(_, count)| **count > 1).map(|(key, count)| format!("`{key}` ({count} rows)")).collect();
    if doubled.is_empty() {
        return Ok(hashes);
    }
    let named = doubled.iter().take(NAMED_KEYS).cloned().collect::<Vec<_>>().join(", ");
    let more = (doubled.len() + suspected - suspects.len()).saturating_sub(NAMED_KEYS);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    wrong(
        format!(
            "the key {} {} not unique: {named}{more}",
            pipeline.source.key,
            if pipeline.source.key.is_composite() { "are" } else { "is" }
        ),
        "choose a key that identifies a row, or remove the doubles from the source",
    )
}

async fn each_key(session: &SessionContext, keys: &LogicalPlan, mut each: impl FnMut(Option<&str>) -> Result<()>) -> Result<()> {
    let state = session.state();
    let physical = state.create_physical_plan(keys).await.map_err(from_datafusion)?;
    let mut stream = execute_stream(physical, state.task_ctx()).map_err(from_datafusion)?;
    while let Some(batch) = stream.try_next().await.map_err(from_datafusion)? {
        let keys = batch.column(0).as_string_opt::<i32>().ok_or_else(|| Error::failed("the key does not cast to text"))?;
        (0..keys.len()).try_for_each(|row| each(keys.is_valid(row).then(|| keys.value(row))))?;
    }
    Ok(())
}

/// Whether nothing has been journalled or committed in a state folder.
pub(crate) async fn nothing_was_asked(state: &Folder) -> Result<bool> {
    Ok(state.folder("journal").list().await?.is_empty() && state.folder("commits").list().await?.is_empty())
}

/// Where a pipeline keeps its state: as configured, else beside the sink.
///
/// # Errors
/// If it is no place that can be opened.
pub fn state_folder(pipeline: &Pipeline) -> Result<Folder> {
    if let Some(path) = &pipeline.state.path {
        return Folder::open(path);
    }
    let sink = pipeline.sink.path.trim_end_matches('/');
    let parent = match sink.rsplit_once('/') {
        Some(("", _)) => "/",
        Some((parent, _)) => parent,
        None => ".",
    };
    Folder::open(&format!("{}/_promptmill/{}", parent.trim_end_matches('/'), pipeline.name))
}

fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Sorts by time, and two runs that start together still differ.
fn new_run_id() -> String {
    let unique = uuid::Uuid::now_v7().simple().to_string();
    format!("{}-{}", Utc::now().format("%Y%m%dT%H%M%S"), &unique[unique.len() - 8..])
}

fn versions() -> BTreeMap<String, String> {
    [("promptmill", env!("CARGO_PKG_VERSION")), ("datafusion", datafusion::DATAFUSION_VERSION)]
        .map(|(name, version)| (name.to_owned(), version.to_owned()))
        .into()
}

/// Headers, and the query of a URL, are where a secret from the environment may stand, so they stay out of the record.
fn without_secrets(mut config: serde_json::Value) -> serde_json::Value {
    let providers = config.get_mut("providers").and_then(serde_json::Value::as_object_mut);
    for provider in providers.into_iter().flat_map(|providers| providers.values_mut()) {
        let headers = provider.get_mut("headers").and_then(serde_json::Value::as_object_mut);
        headers.into_iter().flat_map(|headers| headers.values_mut()).for_each(|value| *value = "…".into());
        if let Some(url) = provider.get_mut("base_url") {
            let shown = url.as_str().map(without_query);
            *url = shown.into();
        }
    }
    config
}
