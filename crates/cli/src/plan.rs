//! `promptmill plan`: what a run would do now.

use std::process::ExitCode;

use clap::Args;
use promptmill_core::Result;
use promptmill_engine::{Engine, Estimate, Forecast};

use crate::{PipelineArgs, output, progress, shared};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  promptmill plan pipelines/motions.toml\n  promptmill plan pipelines/motions.toml --explain")]
pub(crate) struct Plan {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// Adds the DataFusion plan
    #[arg(long)]
    explain: bool,
}

impl Plan {
    pub(crate) async fn execute(&self, engine: &Engine) -> Result<ExitCode> {
        let pipeline = shared(self.pipeline.read(engine).await?);
        let forecast = engine.forecast(pipeline.clone()).await?;
        output::line(&text(&forecast))?;
        if self.explain {
            output::line(&format!("\n{}", engine.explain(&pipeline).await?))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A few lines for people.
fn text(forecast: &Forecast) -> String {
    let mut lines = vec![
        format!("source    {}", forecast.files),
        format!(
            "rows      {} in the source, {} filtered out, {} settled already, {} to ask ({} new, {} changed)",
            forecast.source,
            forecast.filtered_out,
            forecast.unchanged,
            forecast.to_ask,
            forecast.to_ask - forecast.changed,
            forecast.changed
        ),
        format!("asked     {:.1} kB of items", forecast.item_bytes as f64 / 1e3),
    ];
    if forecast.completes_fresh {
        lines.push("fresh     a generation that `--fresh` has begun is completed; the results of now stay until then".to_owned());
    }
    if forecast.changed > 0 {
        let why =
            if forecast.is_question_changed { "prompt, models or answer have changed, for every row" } else { "their items have changed" };
        lines.push(format!("changed   {} rows: {why}; their answers of now stay until the run ends", forecast.changed));
    }
    if forecast.shared > 0 {
        lines.push(format!("shared    {} rows ask the very same as another one, and share its answer", forecast.shared));
    }
    if forecast.unstorable > 0 {
        lines.push(format!(
            "unstored  {} rows are not asked: the values that `sink.partition_by` names are too long for folders; they become dead letters",
            forecast.unstorable
        ));
    }
    if forecast.gone > 0 {
        lines.push(format!(
            "gone      {} settled rows are not in the source any more; `promptmill run --prune` takes them out",
            forecast.gone
        ));
    }
    if forecast.failed_before > 0 {
        lines.push(format!(
            "failed    {} rows are dead letters of earlier runs; `promptmill run --retry-dead-letters` asks them again",
            forecast.failed_before
        ));
    }
    if let Some(Estimate { requests, tokens: (usual, most), cost, seconds, is_from_a_run }) =
        forecast.estimate.filter(|_| forecast.to_ask > 0)
    {
        lines.push(format!("requests  {requests}, if every row is answered the first time"));
        lines.push(format!(
            "tokens    {} to {} in, {} to {} out",
            usual.input_tokens, most.input_tokens, usual.output_tokens, most.output_tokens
        ));
        let budget = forecast.budget.map(|budget| format!("; the budget is ${budget}")).unwrap_or_default();
        lines.push(match cost {
            Some((usual, most)) => {
                format!("cost      ${usual} to ${most}: from usual answers to the most that is set aside for asking each row once{budget}")
            }
            None => "cost      not known: the model has no known price; add `price = { input = …, output = … }` to it".to_owned(),
        });
        lines.push(match seconds {
            Some(seconds) if is_from_a_run => format!("time      about {}, at the pace of the last run", progress::duration(seconds)),
            Some(seconds) => format!("time      {} at the least, by the limits a minute", progress::duration(seconds)),
            None => "time      not known before a first run; try `promptmill run --limit 100`".to_owned(),
        });
    }
    lines.join("\n")
}
