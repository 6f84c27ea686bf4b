//! `promptmill compare`: which model, or how many rows a request, before the money is spent on all of them.

mod html;
mod text;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use promptmill_core::pipeline::with_value;
use promptmill_core::{Error, Money, Result, Stop, StopReason};
use promptmill_engine::compare::{CompareOptions, Comparison, OUT_OF_BUDGET, to_write};
use promptmill_engine::{Engine, Folder};

use crate::run::{EXIT_BUDGET, EXIT_SIGNAL, OutputFormat, money, stop_on_signals};
use crate::{PipelineArgs, output};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  promptmill compare pipelines/motions.toml --models mistral-small,local --sample 50 --budget-usd 0.10\n  promptmill compare pipelines/motions.toml --models mistral-small,local --judge mistral-small --stratify year\n  promptmill compare pipelines/motions.toml --models mistral-small --rows 1,4,8,16,32 --sample 200 --write\n\nThe candidates run at the same time over the same rows, with sinks and states of their own below `compare/` in the state\nfolder. What they were answered is kept there: the same comparison again costs nothing."
)]
pub(crate) struct Compare {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// The models, by their names under `[models]`; left out: the pipeline's own
    #[arg(long, value_name = "A,B", value_delimiter = ',', required_unless_present = "rows")]
    models: Vec<String>,
    /// Rows of the sample
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    sample: u32,
    /// A column over whose values the sample is spread
    #[arg(long, value_name = "COLUMN")]
    stratify: Option<String>,
    /// Chooses the sample; the same seed draws the same rows
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// What the whole comparison may cost, over all its runs; left out: the pipeline's `budget_usd`
    #[arg(long, value_name = "X", value_parser = money)]
    budget_usd: Option<Money>,
    /// Sizes to try instead, of one model: how many rows may share a request before the answers suffer
    #[arg(long, value_name = "1,4,8", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=4096))]
    rows: Vec<u32>,
    /// A model that judges the answers in pairs, in both orders
    #[arg(long, value_name = "MODEL", conflicts_with = "rows")]
    judge: Option<String>,
    /// What is printed at the end
    #[arg(long, default_value = "text")]
    output: OutputFormat,
    /// The page; left out: `compare.html` in the folder of the comparison
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Writes the best model, or the largest size that loses nothing, into the pipeline file
    #[arg(long)]
    write: bool,
}

impl Compare {
    pub(crate) async fn execute(&self, engine: &Engine) -> Result<ExitCode> {
        // Here it says who may read the files that are made.
        self.pipeline.read(engine).await?;
        let options = CompareOptions {
            file: self.pipeline.pipeline.clone(),
            settings: self.pipeline.settings.clone(),
            models: self.unlike_models()?,
            rows: self.rows.iter().map(|rows| *rows as usize).collect(),
            sample: self.sample as usize,
            stratify: self.stratify.clone(),
            seed: self.seed,
            budget: self.budget_usd,
            judge: self.judge.clone(),
        };
        let candidates = if options.rows.is_empty() { "each model" } else { "each size" };
        output::error(&format!("asking {candidates} about the same {} rows; Ctrl-C keeps what has been answered", options.sample));
        let stop = Stop::default();
        let signals = tokio::spawn(stop_on_signals(stop.clone()));
        let comparison = engine.compare(&options, &stop).await;
        signals.abort();
        let comparison = comparison?;
        let page = self.write_page(&comparison).await?;
        match self.output {
            OutputFormat::Json => {
                let json =
                    serde_json::to_string(&comparison).map_err(|error| Error::failed("the comparison cannot be printed").because(error))?;
                output::line(&json)?;
            }
            OutputFormat::Text => output::line(&text::render(&comparison))?,
        }
        output::error(&format!("page      {page}"));
        if let Some(StopReason::Interrupted(signal)) = stop.reason() {
            output::error("interrupted: run again to carry on; what has been answered is kept");
            return Ok(ExitCode::from(u8::try_from(EXIT_SIGNAL + signal).unwrap_or(1)));
        }
        let whole = comparison.candidates.iter().all(|candidate| candidate.error.is_none());
        if self.write {
            if !whole {
                return Err(Error::failed("nothing was written: a candidate did not come to its end")
                    .hint("see what it says above, and compare again"));
            }
            self.write(&comparison, engine).await?;
        }
        let by_budget = comparison.candidates.iter().all(|candidate| candidate.error.as_deref().is_none_or(|error| error == OUT_OF_BUDGET));
        if !whole && by_budget {
            output::error("stopped by the budget: compare again with a higher `--budget-usd` to carry on");
            return Ok(ExitCode::from(EXIT_BUDGET));
        }
        Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Writes the page and says where it is.
    async fn write_page(&self, comparison: &Comparison) -> Result<String> {
        let page = html::render(comparison);
        if let Some(path) = &self.html {
            let shown = path.display().to_string();
            return std::fs::write(path, page)
                .map_err(|error| Error::failed(format!("`{shown}` cannot be written")).because(error))
                .map(|()| shown);
        }
        Folder::open(&comparison.folder)?.put("compare.html", page).await?;
        Ok(format!("{}/compare.html", comparison.folder))
    }

    /// The models, each once.
    fn unlike_models(&self) -> Result<Vec<String>> {
        let mut models: Vec<String> = Vec::new();
        for model in self.models.iter().map(|model| model.trim()).filter(|model| !model.is_empty()) {
            if models.iter().any(|known| known == model) {
                return Err(Error::failed(format!("model `{model}` is named twice")).hint("name each model once in `--models`"));
            }
            models.push(model.to_owned());
        }
        Ok(models)
    }

    /// Writes what was found into the pipeline file, and nothing else of it.
    async fn write(&self, comparison: &Comparison, engine: &Engine) -> Result<()> {
        let path = &self.pipeline.pipeline;
        let failed = |error: std::io::Error| Error::failed(format!("`{}` cannot be written", path.display())).because(error);
        let pipeline = self.pipeline.read(engine).await?;
        let before = std::fs::read_to_string(path).map_err(failed)?;
        let mut text = before.clone();
        for (setting, value) in to_write(comparison, &pipeline)? {
            let place: Vec<&str> = setting.iter().map(String::as_str).collect();
            let name = place.last().copied().unwrap_or_default();
            text = with_value(&text, &place, &value).ok_or_else(|| {
                Error::failed(format!("`{name}` has no place of its own in `{}`", path.display()))
                    .hint(format!("write `{name} = {value}` into it by hand"))
            })?;
            output::error(&format!("wrote     {name} = {value} into {}", path.display()));
        }
        if text != before {
            std::fs::write(path, text).map_err(failed)?;
        }
        Ok(())
    }
}
