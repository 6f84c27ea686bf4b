//! `promptmill plan`: what a run would do now.

use std::process::ExitCode;

use clap::Args;
use promptmill_core::{Registry, Result};

use crate::{PipelineArgs, output, shared};

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
    pub(crate) async fn execute(&self, registry: &Registry) -> Result<ExitCode> {
        let pipeline = shared(self.pipeline.read(registry).await?);
        let forecast = promptmill_engine::forecast(pipeline.clone(), registry).await?;
        output::line(&format!(
            "rows      {} in the source, {} filtered out, {} settled already, {} to ask\nasked     {:.1} kB of items",
            forecast.source,
            forecast.filtered_out,
            forecast.unchanged,
            forecast.to_ask,
            forecast.item_bytes as f64 / 1e3
        ))?;
        if self.explain {
            output::line(&format!("\n{}", promptmill_engine::explain(&pipeline, registry).await?))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
