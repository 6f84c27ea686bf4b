//! One candidate of a comparison: the pipeline with a few settings changed, over the sample, with a sink and a state of its
//! own. What it has been answered stays in its journal, so that the same trial costs nothing the second time.

use std::pin::pin;
use std::sync::Arc;

use futures::future::join_all;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use promptmill_core::pipeline::Key;
use promptmill_core::{Error, Money, Pipeline, Result, Setting, Stop};
use serde_json::{Value, json};

use super::figures::spent;
use crate::meaning::writer_options;
use crate::storage::Folder;
use crate::{Engine, RunOptions, Status, key};

/// Rounds in which money that some trials left over goes to those that ran out of theirs.
const ROUNDS: usize = 8;

/// What is said of a candidate that needs more money.
pub const OUT_OF_BUDGET: &str = "stopped by the budget";

/// A candidate, ready to run.
#[derive(Debug)]
pub(super) struct Trial {
    /// How the reports call it.
    pub(super) name: String,
    /// The model that it asks.
    pub(super) model: String,
    /// Its pipeline.
    pub(super) pipeline: Arc<Pipeline>,
}

/// Where the trials of a comparison live, and what they are made from.
#[derive(Debug)]
pub(super) struct Bench<'b> {
    /// The pipeline.
    pub(super) pipeline: &'b Pipeline,
    /// The folder of this comparison.
    pub(super) folder: &'b Folder,
    /// The sampled rows.
    pub(super) sample: &'b str,
    /// What runs them.
    pub(super) engine: &'b Engine,
}

impl Bench<'_> {
    /// The pipeline with these settings, over the sample. `salt` sets trials with the same settings apart.
    pub(super) fn trial(&self, name: String, model: &str, changed: Vec<Setting>, salt: &str) -> Result<Trial> {
        let base = self.pipeline.with(&changed, self.engine.registry())?;
        let folder = format!("{}/{}-{}", self.folder, slug(&name), identity(&base, model, salt));
        let columns = base.source.key.columns().iter().cloned().chain(answer_columns(&base));
        let set = |path: &[&str], value: Value| (path.iter().map(|part| (*part).to_owned()).collect(), value);
        let moved = [
            // A Parquet file, whatever the source is.
            set(&["source"], json!({"path": self.sample, "key": base.source.key})),
            set(&["sink", "path"], format!("{folder}/results").into()),
            set(&["state", "path"], format!("{folder}/state").into()),
            set(&["sink", "partition_by"], json!([])),
            set(&["sink", "columns"], columns.collect()),
        ];
        let settings: Vec<Setting> = changed.into_iter().chain(moved).collect();
        let pipeline = Arc::new(self.pipeline.with(&settings, self.engine.registry())?);
        Ok(Trial { name, model: model.to_owned(), pipeline })
    }
}

/// The columns of the answers that a pipeline asks for.
pub(super) fn answer_columns(pipeline: &Pipeline) -> Vec<String> {
    let shape = pipeline.blueprint().question().map(|question| &question.pack.shape);
    shape.into_iter().flat_map(|shape| shape.columns()).map(str::to_owned).collect()
}

/// Runs all trials at the same time, within one budget; returns what went wrong with each, if anything did.
///
/// Each trial has its share of what is left as its own cap, so that the sum cannot be exceeded whatever is in flight.
/// When one ends below its cap, the others run again with what it left.
pub(super) async fn run_all(trials: &[Trial], engine: &Engine, budget: Option<Money>, stop: &Stop) -> Result<Vec<Option<String>>> {
    let mut open: Vec<usize> = (0..trials.len()).collect();
    let mut errors = vec![None; trials.len()];
    for _ in 0..ROUNDS {
        let mut gone = Vec::new();
        for trial in trials {
            gone.push(spent(&trial.pipeline, engine.registry()).await?);
        }
        let total: Money = gone.iter().copied().sum();
        let share = budget.map(|budget| Money::from_nano((budget.nano() - total.nano()).max(0) / open.len().max(1) as i64));
        let runs = open.iter().map(|index| one(&trials[*index], engine, share.map(|share| gone[*index].saturating_add(share)), stop));
        let mut still_open = Vec::new();
        let mut more = Money::ZERO;
        for (index, ended) in open.iter().zip(join_all(runs).await) {
            let (status, error) = ended?;
            errors[*index] = error;
            if status == Status::BudgetExhausted {
                still_open.push(*index);
                errors[*index] = Some(OUT_OF_BUDGET.to_owned());
            }
            more += spent(&trials[*index].pipeline, engine.registry()).await? - gone[*index];
        }
        // With nobody left, nothing spent by anybody and nothing handed back, another round would end like this one.
        let all_open = still_open.len() == open.len();
        open = still_open;
        if open.is_empty() || stop.is_requested() || (all_open && more == Money::ZERO) {
            break;
        }
    }
    Ok(errors)
}

/// One run, with a stop of its own: a trial that its budget stops must not stop the others.
async fn one(trial: &Trial, engine: &Engine, budget: Option<Money>, stop: &Stop) -> Result<(Status, Option<String>)> {
    let run = engine.run(Arc::clone(&trial.pipeline), RunOptions { budget, ..RunOptions::default() });
    let own = run.stopper();
    let mut ended = pin!(run.wait());
    let ended = tokio::select! {
        ended = &mut ended => ended?,
        () = stop.requested() => {
            stop.reason().into_iter().for_each(|reason| own.request(reason));
            ended.await?
        }
    };
    Ok((ended.summary.status, ended.error.map(|error| error.to_string())))
}

/// What decides the answers of a trial, as eight digits: the stages without their pace and the budget, and the model.
fn identity(pipeline: &Pipeline, model: &str, salt: &str) -> String {
    let (blueprint, spec) = (pipeline.blueprint(), pipeline.models.get(model));
    let mut parts = vec![json!([model, salt, spec])];
    for (index, stage) in pipeline.stages.iter().enumerate().filter(|(index, _)| !blueprint.sets_budget(*index)) {
        let mut config = stage.config.clone();
        let pace = blueprint.question().filter(|question| question.asked_at == index).map_or(&[][..], |question| question.ask.pace);
        if let Some(config) = config.as_object_mut() {
            pace.iter().for_each(|name| _ = config.shift_remove(*name));
        }
        parts.push(json!([stage.kind, config]));
    }
    blake3::hash(Value::Array(parts).to_string().as_bytes()).to_hex()[..8].to_owned()
}

/// A name as a folder.
fn slug(name: &str) -> String {
    name.chars().map(|next| if next.is_ascii_alphanumeric() { next } else { '-' }).take(40).collect()
}

/// The rows of the sample as a Parquet file beside the trials: the same for all of them, also when the source moves on.
pub(super) async fn write_sample(
    session: &datafusion::prelude::SessionContext,
    key: &Key,
    keys: &[String],
    folder: &Folder,
) -> Result<String> {
    use crate::node::from_datafusion;
    use futures::TryStreamExt;
    let list: Vec<String> = keys.iter().map(|key| format!("'{}'", key.replace('\'', "''"))).collect();
    let query = format!("SELECT * FROM source WHERE {} IN ({})", key::sql(key), list.join(", "));
    let frame = session.sql(&query).await.map_err(from_datafusion)?;
    let schema = Arc::new(frame.schema().as_arrow().clone());
    let mut stream = frame.execute_stream().await.map_err(from_datafusion)?;
    let unwritable = |error: parquet::errors::ParquetError| Error::failed("the sample cannot be written").because(error);
    let options = writer_options(&schema, WriterProperties::default()).map_err(unwritable)?;
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), schema, options).map_err(unwritable)?;
    while let Some(batch) = stream.try_next().await.map_err(from_datafusion)? {
        writer.write(&batch).map_err(unwritable)?;
    }
    folder.put("sample.parquet", writer.into_inner().map_err(unwritable)?).await?;
    Ok(format!("{folder}/sample.parquet"))
}
