//! A comparison: the same rows through several models, or through one model in packs of several sizes.
//!
//! Every candidate is a run of the pipeline as it stands with a few settings changed: over a seeded sample, with a sink and
//! a state of its own under `<state>/compare/<id>/`. The pipeline's own state, results and journal are not touched, and
//! what was paid for is in the candidates' journals: the same comparison again costs nothing.

mod figures;
mod judge;
mod packs;
mod ranking;
mod sample;
mod trial;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use promptmill_core::{Error, Money, Pipeline, Question, Result, Stop, Variation};
use serde::Serialize;

pub use figures::{Answer, Figures};
pub use judge::{Judged, Judgement};
pub use packs::{PackSize, PackTrial, Place};
pub use ranking::{Agreement, RANKING};
pub use trial::OUT_OF_BUDGET;

use crate::items::items;
use crate::plan::{Plan, Purpose};
use crate::run::state_folder;
use crate::{Engine, plan, sql};
use figures::Outcome;
use ranking::{agreements, ranked, replaced};
use trial::{Bench, Trial};

/// What is compared.
#[derive(Clone, Debug)]
pub struct CompareOptions {
    /// The pipeline file.
    pub file: PathBuf,
    /// What `--set` changes in it.
    pub settings: Vec<String>,
    /// The models, by their names in the file; none: the pipeline's own.
    pub models: Vec<String>,
    /// Rows a request, for the pack-size trial of one model; none: no such trial.
    pub rows: Vec<usize>,
    /// Rows of the sample.
    pub sample: usize,
    /// The column over whose values the sample is spread.
    pub stratify: Option<String>,
    /// Chooses the sample.
    pub seed: u64,
    /// What the whole comparison may cost; left out: the pipeline's own budget.
    pub budget: Option<Money>,
    /// The model that judges pairs of answers.
    pub judge: Option<String>,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The pipeline's name.
    pub pipeline: String,
    /// Names the sample, and with it the folder.
    pub id: String,
    /// Where it is kept.
    pub folder: String,
    /// The rows, as they were drawn.
    pub keys: Vec<String>,
    /// What the models were shown of them.
    pub items: BTreeMap<String, String>,
    /// The answer's columns.
    pub columns: Vec<String>,
    /// The figures of the candidates, the best one first.
    pub candidates: Vec<Figures>,
    /// Their answers by key, in the same order.
    pub answers: Vec<BTreeMap<String, Answer>>,
    /// How far candidates agree, by their places.
    pub agreement: Vec<Agreement>,
    /// What the judge said.
    pub judgement: Option<Judgement>,
    /// The pack-size trial.
    pub packs: Option<PackTrial>,
    /// What the comparison has cost so far, judge included, in US dollars.
    pub cost_usd: f64,
    /// What it may cost.
    pub budget_usd: Option<f64>,
}

/// Runs a comparison.
///
/// # Errors
/// If the pipeline or a candidate is wrong, before anything is sent; what befalls one candidate later is among its figures.
pub(crate) async fn compare(options: &CompareOptions, engine: &Engine, stop: &Stop) -> Result<Comparison> {
    let registry = engine.registry();
    let pipeline = plan::read(&options.file, &options.settings, registry).await?;
    let budget = options.budget.or_else(|| pipeline.blueprint().budget());
    let session = sql::open(&pipeline, registry).await?;
    let keys = sample::draw(&session, &pipeline, options.sample, options.stratify.as_deref(), options.seed).await?;
    if keys.is_empty() {
        return Err(Error::failed("no row passes the filters, so there is nothing to ask about").hint("promptmill plan PIPELINE"));
    }
    let id = format!("{}-{}", keys.len(), &blake3::hash(keys.join("\0").as_bytes()).to_hex()[..8]);
    let folder = state_folder(&pipeline)?.folder(&format!("compare/{id}"));
    let sampled = trial::write_sample(&session, &pipeline.source.key, &keys, &folder).await?;
    let bench = Bench { pipeline: &pipeline, folder: &folder, sample: &sampled, engine };
    let shape = &asked(&pipeline)?.pack.shape;

    let trials = trials(&bench, options)?;
    // Keys, prices, SQL: what is wrong is found before anybody is asked.
    let mut to_plan: Vec<Arc<Pipeline>> = trials.iter().map(|trial| trial.pipeline.clone()).collect();
    if let Some(model) = &options.judge {
        to_plan.push(bench.trial("judge".to_owned(), model, pipeline.varied(&Variation::FirstModel(model)), "")?.pipeline);
    }
    let purpose = Purpose::Asking { has_budget: budget.is_some() };
    for pipeline in to_plan {
        Plan::new(&plan::session(None), &pipeline, registry, purpose).await?;
    }
    let errors = trial::run_all(&trials, engine, budget, stop).await?;
    let mut outcomes = Vec::new();
    for (trial, error) in trials.iter().zip(errors) {
        outcomes.push(figures::read(trial, registry, &keys, error).await?);
    }
    let cost =
        |outcomes: &[Outcome]| outcomes.iter().map(|outcome| Money::from_usd(outcome.figures.cost_usd).unwrap_or_default()).sum::<Money>();
    let spent = cost(&outcomes);
    let items = match trials.first() {
        Some(trial) => items(trial.pipeline.clone(), registry, &keys).await?,
        None => BTreeMap::new(),
    };
    let packs = if options.rows.is_empty() {
        None
    } else {
        let sizes = sizes(options).into_iter().skip(1).zip(outcomes.iter().skip(2).cloned()).collect();
        Some(packs::judge(&outcomes[0], &outcomes[1], sizes, shape))
    };
    let left = budget.map(|budget| Money::from_nano((budget.nano() - spent.nano()).max(0)));
    let judgement = match &options.judge {
        Some(model) if !stop.is_requested() => Some(judge::judge(&bench, model, &outcomes, &items, left, stop).await?),
        _ => None,
    };
    let cost_usd = spent.usd() + judgement.as_ref().map_or(0.0, |judgement| judgement.cost_usd);
    // The pack-size trial has an order of its own.
    let order = if packs.is_some() { (0..outcomes.len()).collect() } else { ranked(&outcomes, judgement.as_ref()) };
    let judgement = judgement.map(|judgement| replaced(judgement, &order));
    let outcomes: Vec<Outcome> = order.iter().map(|index| outcomes[*index].clone()).collect();
    Ok(Comparison {
        pipeline: pipeline.name.clone(),
        id,
        folder: folder.to_string(),
        keys,
        items,
        columns: shape.columns().into_iter().map(str::to_owned).collect(),
        agreement: agreements(&outcomes, shape),
        judgement,
        packs,
        cost_usd,
        budget_usd: budget.map(Money::usd),
        candidates: outcomes.iter().map(|outcome| outcome.figures.clone()).collect(),
        answers: outcomes.into_iter().map(|outcome| outcome.answers).collect(),
    })
}

/// The sizes of a pack-size trial: always with 1, the smallest first.
fn sizes(options: &CompareOptions) -> Vec<usize> {
    let mut sizes = options.rows.clone();
    sizes.push(1);
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

fn trials(bench: &Bench<'_>, options: &CompareOptions) -> Result<Vec<Trial>> {
    let with = |model: &str| bench.pipeline.varied(&Variation::OnlyModel(model));
    let own = asked(bench.pipeline)?.models.first().map(|model| model.name.clone());
    let models = if options.models.is_empty() { own.into_iter().collect() } else { options.models.clone() };
    let mut trials = Vec::new();
    if options.rows.is_empty() {
        for model in &models {
            trials.push(bench.trial(model.clone(), model, with(model), "")?);
        }
        return Ok(trials);
    }
    let [model] = models.as_slice() else {
        return Err(Error::failed("the pack-size trial is about one model").hint("name one: `--models A --rows 1,4,8,16`"));
    };
    for (place, rows) in sizes(options).into_iter().enumerate() {
        let changed = |rows: usize| [with(model), bench.pipeline.varied(&Variation::Rows(rows))].concat();
        let name = if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") };
        trials.push(bench.trial(name, model, changed(rows), "")?);
        if place == 0 {
            trials.push(bench.trial("1 row, again".to_owned(), model, changed(1), "again")?);
        }
    }
    Ok(trials)
}

/// The question that a pipeline asks.
fn asked(pipeline: &Pipeline) -> Result<&Question> {
    let nothing =
        || Error::failed("the pipeline asks no model").hint("add the stages `prompt-pack` and `llm`; `promptmill init demo` shows both");
    pipeline.blueprint().question().ok_or_else(nothing)
}

/// The setting that a comparison would write into the pipeline file, as its path and its TOML.
///
/// # Errors
/// If there is no best candidate.
pub fn to_write(comparison: &Comparison, pipeline: &Pipeline) -> Result<Vec<(Vec<String>, String)>> {
    asked(pipeline)?;
    let settings = match &comparison.packs {
        Some(packs) => pipeline.varied(&Variation::MostRows(packs.chosen)),
        None => {
            let best = comparison.candidates.first().filter(|best| best.answered > 0);
            let best = best.ok_or_else(|| Error::failed("no candidate answered anything, so there is none to write"))?;
            pipeline.varied(&Variation::FirstModel(&best.model))
        }
    };
    // In the file a stage goes by its number.
    let place = |name: &str| pipeline.stages.iter().position(|stage| stage.name == name).unwrap_or_default().to_string();
    let written = settings.into_iter().map(|(path, value)| {
        let path = path.iter().enumerate().map(|(part, name)| if part == 1 { place(name) } else { name.clone() });
        (path.collect(), value.to_string())
    });
    Ok(written.collect())
}
