//! `promptmill check`: every mistake of a pipeline, without sending anything.

use std::process::ExitCode;

use clap::Args;
use promptmill_core::Result;
use promptmill_engine::Engine;

use crate::{PipelineArgs, output};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  promptmill check pipelines/motions.toml\n  promptmill check pipelines/motions.toml --set source.path=s3://bucket/in"
)]
pub(crate) struct Check {
    #[command(flatten)]
    pipeline: PipelineArgs,
}

impl Check {
    pub(crate) async fn execute(&self, engine: &Engine) -> Result<ExitCode> {
        let pipeline = self.pipeline.read(engine).await?;
        let plan = engine.check(&pipeline).await?;
        for (name, spec) in &pipeline.models {
            let Some(leaving) = promptmill_llm::leaving(spec, pipeline.providers.get(&spec.provider)) else { continue };
            let (is, choose) = if leaving.is_past { ("was", "choose another one") } else { ("is", "choose another one before") };
            output::error(&format!("warning: model `{name}` (`{}`) {is} switched off on {}: {choose}", spec.model, leaving.day));
        }
        let columns: Vec<&str> = plan.results.fields().iter().map(|field| field.name().as_str()).collect();
        output::line(&format!(
            "{}: ok, {} stages; results: {}",
            self.pipeline.pipeline.display(),
            pipeline.stages.len(),
            columns.join(", ")
        ))?;
        output::line(&format!("source: {}", plan.source_summary()))?;
        Ok(ExitCode::SUCCESS)
    }
}
