//! What a trial came to: read from its journal, its results and its run records, so that it says the same whether it has
//! just run or long ago.

use std::collections::BTreeMap;

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{Decimal128Type, Float64Type, Int32Type, Int64Type};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::prelude::SessionContext;
use promptmill_core::{Money, Pipeline, Registry, Result};
use serde::Serialize;

use super::trial::{Trial, answer_columns};
use crate::key;
use crate::node::from_datafusion;
use crate::record::RunRecord;
use crate::run::state_folder;
use crate::sql;
use crate::sql::quoted;
use crate::stats::wilson;

/// The figures of one candidate.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    /// How it is called.
    pub name: String,
    /// The model that it asked.
    pub model: String,
    /// Rows of the sample.
    pub rows: u64,
    /// Rows with an accepted answer.
    pub answered: u64,
    /// Rows that had one when they were asked for the first time.
    pub first: u64,
    /// The 95% interval of that share, after Wilson.
    pub first_interval: (f64, f64),
    /// Dead letters by reason.
    pub dead_letters: BTreeMap<String, u64>,
    /// Rows that were not asked, or not to the end.
    pub not_reached: u64,
    /// Answers turned away, by reason; `missing` are those that the model left out.
    pub rejections: BTreeMap<String, u64>,
    /// Requests, and those of them that brought no response.
    pub requests: u64,
    /// Requests without a response.
    pub failed: u64,
    /// Rows of a request in the mean, over first requests.
    pub rows_per_request: f64,
    /// Median and 95th percentile of the latency of responses, in milliseconds.
    pub latency_ms: (f64, f64),
    /// Prompt tokens.
    pub input_tokens: u64,
    /// Answer tokens.
    pub output_tokens: u64,
    /// What it cost, in US dollars.
    pub cost_usd: f64,
    /// What a thousand answered rows cost.
    pub cost_per_1000_rows_usd: Option<f64>,
    /// Characters of an answer in the mean.
    pub characters: f64,
    /// Answers by the language that they are in, where it can be told.
    pub languages: BTreeMap<String, u64>,
    /// What went wrong, if it did not end by itself.
    pub error: Option<String>,
}

/// An accepted answer.
#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    /// The answer's columns, as texts.
    pub values: Vec<String>,
    /// How often the row was asked.
    pub attempts: i32,
}

/// The answers of one candidate by key, its figures, and where in its first request each row stood.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    pub(super) figures: Figures,
    pub(super) answers: BTreeMap<String, Answer>,
    /// Place from 0, and rows of that request.
    pub(super) places: BTreeMap<String, (usize, usize)>,
}

/// What a pipeline has spent.
pub(super) async fn spent(pipeline: &Pipeline, registry: &Registry) -> Result<Money> {
    let session = sql::open(pipeline, registry).await?;
    let batches = collect(&session, "SELECT cost_usd FROM attempts").await?;
    Ok(batches.iter().map(|batch| money(batch, 0)).sum())
}

/// Reads what a trial came to, over these keys.
pub(super) async fn read(trial: &Trial, registry: &Registry, keys: &[String], error: Option<String>) -> Result<Outcome> {
    let session = sql::open(&trial.pipeline, registry).await?;
    let key = key::sql(&trial.pipeline.source.key);
    let mut outcome = Outcome::default();
    let figures = &mut outcome.figures;
    (figures.name, figures.model, figures.rows, figures.error) = (trial.name.clone(), trial.model.clone(), keys.len() as u64, error);

    let columns: Vec<String> = answer_columns(&trial.pipeline).iter().map(|name| quoted(name)).collect();
    let query =
        format!("SELECT {key}, {}, {} FROM results", quoted(&format!("{}llm_attempts", trial.pipeline.sink.prefix)), columns.join(", "));
    for batch in collect(&session, &query).await? {
        let (names, attempts) = (batch.column(0).as_string::<i32>(), batch.column(1).as_primitive::<Int32Type>());
        let options = FormatOptions::default();
        let shown = batch.columns()[2..].iter().map(|column| Ok(ArrayFormatter::try_new(column.as_ref(), &options)?));
        let shown = shown.collect::<Result<Vec<_>>>()?;
        for row in 0..batch.num_rows() {
            let values = shown.iter().map(|column| column.value(row).to_string()).collect();
            outcome.answers.insert(names.value(row).to_owned(), Answer { values, attempts: attempts.value(row) });
        }
    }
    // Rows that an earlier source had are no part of this comparison.
    outcome.answers.retain(|key, _| keys.contains(key));
    for batch in collect(&session, "SELECT reason, count(*) FROM dead_letters GROUP BY reason").await? {
        let (reasons, counts) = (batch.column(0).as_string::<i32>(), batch.column(1).as_primitive::<Int64Type>());
        figures.dead_letters.extend((0..batch.num_rows()).map(|row| (reasons.value(row).to_owned(), counts.value(row) as u64)));
    }
    for record in RunRecord::all(&state_folder(&trial.pipeline)?).await? {
        for (reason, count) in record.summary.rejections {
            *figures.rejections.entry(reason).or_default() += count;
        }
    }
    figures.answered = outcome.answers.len() as u64;
    figures.first = outcome.answers.values().filter(|answer| answer.attempts <= 1).count() as u64;
    figures.first_interval = wilson(figures.first, figures.rows);
    figures.not_reached = figures.rows.saturating_sub(figures.answered + figures.dead_letters.values().sum::<u64>());
    let texts = || outcome.answers.values().filter_map(|answer| answer.values.first());
    figures.characters = mean(texts().map(|text| text.chars().count() as f64));
    for text in texts() {
        let told = whatlang::detect(text).filter(whatlang::Info::is_reliable).map_or("not clear", |info| info.lang().eng_name());
        *figures.languages.entry(told.to_owned()).or_default() += 1;
    }

    let query = "SELECT status, latency_ms, input_tokens, output_tokens, cost_usd, keys FROM attempts ORDER BY started_at, attempt_id";
    let (mut latencies, mut first_sizes, mut cost) = (Vec::new(), Vec::new(), Money::ZERO);
    for batch in collect(&session, query).await? {
        let statuses = batch.column(0).as_string::<i32>();
        let tokens = |column: usize| batch.column(column).as_primitive::<Int64Type>().iter().flatten().sum::<i64>() as u64;
        figures.requests += batch.num_rows() as u64;
        figures.input_tokens += tokens(2);
        figures.output_tokens += tokens(3);
        cost += money(&batch, 4);
        for row in 0..batch.num_rows() {
            if ["ok", "incomplete", "truncated", "malformed"].contains(&statuses.value(row)) {
                let latency = batch.column(1).as_primitive::<Float64Type>();
                latencies.extend(latency.is_valid(row).then(|| latency.value(row)));
            } else {
                figures.failed += 1;
            }
            let pack = batch.column(5).as_list::<i32>().value(row);
            let pack: Vec<&str> = pack.as_string::<i32>().iter().flatten().collect();
            if !pack.iter().any(|key| outcome.places.contains_key(*key)) {
                first_sizes.push(pack.len() as f64);
            }
            for (place, key) in pack.iter().enumerate() {
                outcome.places.entry((*key).to_owned()).or_insert((place, pack.len()));
            }
        }
    }
    latencies.sort_by(f64::total_cmp);
    let quantile = |share: f64| latencies.get(((latencies.len().max(1) - 1) as f64 * share).round() as usize).copied().unwrap_or_default();
    figures.latency_ms = (quantile(0.5), quantile(0.95));
    figures.rows_per_request = mean(first_sizes);
    figures.cost_usd = cost.usd();
    figures.cost_per_1000_rows_usd = (figures.answered > 0).then(|| cost.usd() / figures.answered as f64 * 1e3);
    Ok(outcome)
}

/// The mean; 0 of nothing.
pub(super) fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (sum, count) = values.into_iter().fold((0.0, 0_u64), |(sum, count), value| (sum + value, count + 1));
    if count > 0 { sum / count as f64 } else { 0.0 }
}

async fn collect(session: &SessionContext, query: &str) -> Result<Vec<RecordBatch>> {
    session.sql(query).await.map_err(from_datafusion)?.collect().await.map_err(from_datafusion)
}

fn money(batch: &RecordBatch, column: usize) -> Money {
    let nano: i128 = batch.column(column).as_primitive::<Decimal128Type>().iter().flatten().sum();
    Money::from_nano(i64::try_from(nano).unwrap_or(i64::MAX))
}
