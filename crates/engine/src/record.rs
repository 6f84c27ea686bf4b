//! What a run reports: the summary, and the record that stays in the state folder.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use promptmill_core::{Meter, Money, Reading, Result, Tally};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::canary::CanaryRows;
use crate::format::{self, Version};
use crate::settings::ModelRecord;
use crate::source::SourceSummary;
use crate::storage::Folder;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Every row that passed the filters is settled.
    Completed,
    /// The next request did not fit into the budget.
    BudgetExhausted,
    /// A signal came.
    Interrupted,
    /// Something failed.
    Failed,
}

/// Rows by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named as in the contract and described by `Meter`")]
pub struct RowCounts {
    pub source: u64,
    pub filtered_out: u64,
    pub unchanged: u64,
    pub from_journal: u64,
    pub answered: u64,
    pub dead_letters: u64,
    pub remaining: u64,
}

/// Requests by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named as in the contract and described by `Meter`")]
pub struct RequestCounts {
    pub sent: u64,
    pub ok: u64,
    pub rate_limited: u64,
    pub failed: u64,
    pub retried: u64,
}

/// Tokens of all requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named as in the contract and described by `Usage`")]
pub struct TokenCounts {
    pub input: u64,
    pub cached_input: u64,
    pub output: u64,
}

/// How the work was spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Throughput {
    /// Rows a request had in the mean.
    pub rows_per_request: f64,
    /// Requests in flight in the mean, while any was.
    pub concurrency_mean: f64,
    /// Requests in flight at the most.
    pub concurrency_peak: u64,
    /// Requests that might be in flight at the end.
    pub concurrency_last: u64,
}

/// The summary of a run: what `run --output json` prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Unique; sorts by time.
    pub run_id: String,
    /// How it ended.
    pub status: Status,
    /// Rows.
    pub rows: RowCounts,
    /// Requests.
    pub requests: RequestCounts,
    /// Tokens.
    pub tokens: TokenCounts,
    /// What this run cost.
    #[serde(serialize_with = "usd", deserialize_with = "read_usd")]
    pub cost_usd: Money,
    /// What the pipeline may cost over all its runs.
    #[serde(serialize_with = "maybe_usd", deserialize_with = "read_maybe_usd")]
    pub budget_usd: Option<Money>,
    /// How long it took.
    pub seconds: f64,
    /// Rows settled a second.
    pub rows_per_second: f64,
    /// How the work was spread.
    pub throughput: Throughput,
    /// Rejected answers by reason.
    pub rejections: BTreeMap<String, u64>,
    /// Where the results are.
    pub results: String,
    /// What attempts of this and of earlier runs have cost that no row bears: a prompt that was taken back, rows that have
    /// left, rows that are not settled yet. Rows and this together are all attempts. `None` where it could not be counted.
    #[serde(default, serialize_with = "maybe_usd", deserialize_with = "read_maybe_usd")]
    pub unassigned_usd: Option<Money>,
}

/// Money as a JSON number: the shortest that is read back as the same amount, up to four million dollars.
fn number<E: serde::ser::Error>(money: Money) -> Result<serde_json::Number, E> {
    serde_json::Number::from_f64(money.usd()).ok_or_else(|| E::custom("not a number"))
}

fn usd<S: Serializer>(money: &Money, serializer: S) -> Result<S::Ok, S::Error> {
    number(*money)?.serialize(serializer)
}

fn maybe_usd<S: Serializer>(money: &Option<Money>, serializer: S) -> Result<S::Ok, S::Error> {
    money.map(number).transpose()?.serialize(serializer)
}

fn read_usd<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Money, D::Error> {
    let usd = f64::deserialize(deserializer)?;
    // Earlier versions could write amounts out of all bounds; a summary that has one is still a summary.
    Ok(Money::from_usd(usd).unwrap_or(if usd < 0.0 { Money::ZERO } else { Money::MAX }))
}

fn read_maybe_usd<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Money>, D::Error> {
    Ok(Option::<f64>::deserialize(deserializer)?.and_then(Money::from_usd))
}

impl Summary {
    /// The summary of what a meter has counted.
    pub fn new(run_id: &str, status: Status, reading: &Reading, budget: Option<Money>, took: Duration, results: &str) -> Self {
        let settled = reading.answered + reading.dead_letters;
        let seconds = took.as_secs_f64();
        let per = |count: u64, by: f64| if by > 0.0 { count as f64 / by } else { 0.0 };
        Self {
            run_id: run_id.to_owned(),
            status,
            rows: RowCounts {
                source: reading.source,
                filtered_out: reading.filtered_out,
                unchanged: reading.unchanged,
                from_journal: reading.from_journal,
                answered: reading.answered,
                dead_letters: reading.dead_letters,
                remaining: reading.remaining(),
            },
            requests: RequestCounts {
                sent: reading.sent,
                ok: reading.ok,
                rate_limited: reading.rate_limited,
                failed: reading.failed,
                retried: reading.retried,
            },
            tokens: TokenCounts {
                input: reading.usage.input_tokens,
                cached_input: reading.usage.cached_input_tokens,
                output: reading.usage.output_tokens,
            },
            cost_usd: reading.cost,
            budget_usd: budget,
            seconds: round(seconds),
            rows_per_second: round(per(settled, seconds)),
            throughput: Throughput {
                rows_per_request: round(per(reading.rows_sent, reading.sent as f64)),
                concurrency_mean: round(reading.in_flight_mean),
                concurrency_peak: reading.in_flight_peak,
                concurrency_last: reading.limit,
            },
            rejections: reading.rejections.clone(),
            results: results.to_owned(),
            unassigned_usd: None,
        }
    }
}

fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// The record of a run, `runs/<run_id>.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunRecord {
    /// The version of its format.
    #[serde(default)]
    pub(crate) v: Version<{ format::RUN.version }>,
    /// The pipeline's name.
    pub pipeline: String,
    /// When it started, as RFC 3339.
    pub started_at: String,
    /// When it ended.
    pub ended_at: String,
    /// What it ran with.
    pub versions: BTreeMap<String, String>,
    /// The pipeline as it was in force, after `--set` and the environment.
    pub configuration: Value,
    /// What the source was made of: files, rows, the version of a Delta table, what was left out.
    #[serde(default)]
    pub source: SourceSummary,
    /// Of each model the settings that shape its requests: configured, in force, observed.
    #[serde(default)]
    pub models: Map<String, Value>,
    /// The budget: configured, in force, spent.
    #[serde(default)]
    pub budget: Value,
    /// What the steps of `post-process` did about the answers: repaired, flagged, rejected.
    #[serde(default)]
    pub steps: Tally,
    /// What canary rows say about packs; `None` if there were none.
    #[serde(default)]
    pub canaries: Option<CanaryRows>,
    /// The summary.
    pub summary: Summary,
    /// What failed, if it failed.
    pub error: Option<String>,
    /// The run over time.
    pub timeline: Vec<Sample>,
}

impl RunRecord {
    /// The settings of a model; `None` if it was not called, or they stand in another way than they do now.
    pub(crate) fn model(&self, name: &str) -> Option<ModelRecord> {
        ModelRecord::deserialize(self.models.get(name)?).ok()
    }

    /// The records of all runs in a state folder, the first one first. One that cannot be read is left out, with a warning:
    /// it tells of a run, nothing follows from it.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn all(state: &Folder) -> Result<Vec<Self>> {
        let folder = state.folder("runs");
        let mut records: Vec<Self> = Vec::new();
        for name in folder.list().await?.iter().filter(|name| name.ends_with(".json")) {
            let bytes = folder.get(name).await?.unwrap_or_default();
            if let Err(error) = format::RUN.check_json(&format!("{folder}/{name}"), &bytes) {
                tracing::warn!("{error}; it is left out: run the version that wrote it to see it");
                continue;
            }
            match serde_json::from_slice(&bytes) {
                Ok(record) => records.push(record),
                Err(error) => tracing::warn!(%error, "the run record `{folder}/{name}` cannot be read and is left out"),
            }
        }
        records.sort_by(|a, b| a.started_at.cmp(&b.started_at));
        Ok(records)
    }
}

/// One moment of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Seconds since the start.
    pub t: f64,
    /// Rows settled so far.
    pub rows: u64,
    /// Requests sent so far.
    pub sent: u64,
    /// Requests refused by a limit so far.
    pub rate_limited: u64,
    /// Requests in flight.
    pub in_flight: u64,
    /// Requests that might be in flight.
    pub limit: u64,
    /// Cost so far, in US dollars.
    pub cost_usd: f64,
}

/// Samples of a run: at most so many, at ever longer distances.
#[derive(Debug)]
pub(crate) struct Timeline {
    started: Instant,
    every: Duration,
    samples: Vec<Sample>,
}

/// Samples kept of a run of any length.
const SAMPLES: usize = 600;

impl Timeline {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), every: Duration::from_millis(500), samples: Vec::new() }
    }

    /// How long to wait for the next sample.
    pub(crate) fn every(&self) -> Duration {
        self.every
    }

    /// Takes a sample; where there are too many, every second one goes.
    pub(crate) fn sample(&mut self, meter: &Meter) {
        let reading = meter.read();
        self.samples.push(Sample {
            t: round(self.started.elapsed().as_secs_f64()),
            rows: reading.answered + reading.dead_letters,
            sent: reading.sent,
            rate_limited: reading.rate_limited,
            in_flight: reading.in_flight,
            limit: reading.limit,
            cost_usd: reading.cost.usd(),
        });
        if self.samples.len() > SAMPLES {
            let mut index = 0;
            self.samples.retain(|_| {
                index += 1;
                index % 2 == 0
            });
            self.every *= 2;
        }
    }

    pub(crate) fn into_samples(self) -> Vec<Sample> {
        self.samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_keeps_a_bounded_timeline() {
        let (mut timeline, meter) = (Timeline::new(), Meter::default());
        for _ in 0..5_000 {
            timeline.sample(&meter);
        }
        assert!(timeline.every() > Duration::from_secs(2));
        assert!(timeline.into_samples().len() <= SAMPLES);
    }

    #[tokio::test]
    async fn a_record_is_written_as_ever_and_one_of_a_later_version_is_left_out() {
        let mut summary =
            Summary::new("r", Status::Completed, &Reading::default(), Some(Money::from_nano(1_500_000_001)), Duration::from_secs(1), "out");
        summary.unassigned_usd = Some(Money::from_nano(7));
        let sample = Sample { t: 0.5, rows: 1, sent: 2, rate_limited: 3, in_flight: 4, limit: 5, cost_usd: 0.25 };
        let record = RunRecord {
            v: Version,
            pipeline: "motions".into(),
            started_at: "2026-01-01T00:00:00Z".into(),
            ended_at: "2026-01-01T00:00:01Z".into(),
            versions: BTreeMap::from([("promptmill".to_owned(), "0.1.0".to_owned())]),
            configuration: serde_json::json!({"name": "motions"}),
            source: SourceSummary::default(),
            models: Map::new(),
            budget: Value::Null,
            steps: Tally::default(),
            canaries: None,
            summary: summary.clone(),
            error: Some("none".into()),
            timeline: vec![sample],
        };
        let written = serde_json::to_vec_pretty(&record).expect("JSON");
        let read = |bytes: &[u8]| {
            serde_json::from_slice::<RunRecord>(bytes).is_ok_and(|read| read.summary == summary && read.timeline == [sample])
        };
        format::golden::check(format::RUN, &written, read);
        let state = Folder::in_memory();
        state.put("runs/a.json", written).await.expect("written");
        state.put("runs/b.json", r#"{"v":2}"#).await.expect("written");
        assert_eq!(RunRecord::all(&state).await.expect("reads").len(), 1);
    }

    #[test]
    fn the_summary_has_the_contracts_fields() {
        let summary = Summary::new(
            "r",
            Status::BudgetExhausted,
            &Reading::default(),
            Some(Money::from_nano(1_500_000_001)),
            Duration::from_secs(1),
            "out",
        );
        let json = serde_json::to_value(&summary).expect("serialises");
        let keys: Vec<&str> = json.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            [
                "run_id",
                "status",
                "rows",
                "requests",
                "tokens",
                "cost_usd",
                "budget_usd",
                "seconds",
                "rows_per_second",
                "throughput",
                "rejections",
                "results",
                "unassigned_usd"
            ]
        );
        assert_eq!((json["status"].as_str(), json["budget_usd"].to_string().as_str()), (Some("budget_exhausted"), "1.500000001"));
        assert_eq!(serde_json::from_value::<Summary>(json).expect("reads"), summary);
    }
}
