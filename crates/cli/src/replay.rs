//! `promptmill replay`: what stands behind the model call, anew.

use std::process::ExitCode;

use clap::Args;
use promptmill_core::Result;
use promptmill_engine::{Engine, RunOptions, Scope};

use crate::PipelineArgs;
use crate::progress::Progress;
use crate::run::{OutputFormat, execute};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  promptmill replay pipelines/motions.toml\n  promptmill replay pipelines/motions.toml --output json\n\nThe rows that the journal has answers to become a new generation of the results, in one step. A row whose\nstored answers are all turned away by the rules of now becomes a dead letter; `promptmill run\n--retry-dead-letters` asks about it again. Other rows stay as they are."
)]
pub(crate) struct Replay {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// What is printed at the end
    #[arg(long, default_value = "text")]
    output: OutputFormat,
    /// How progress is shown
    #[arg(long, default_value = "auto")]
    progress: Progress,
}

impl Replay {
    pub(crate) async fn execute(&self, engine: &Engine) -> Result<ExitCode> {
        let options = RunOptions { scope: Scope::Journalled, ..RunOptions::default() };
        execute(&self.pipeline, options, self.output, self.progress, engine).await
    }
}
