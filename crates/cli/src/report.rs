//! `promptmill report`: one HTML page of a run, for whoever paid for it. What it says comes from the run's record and from
//! the tables that `sql` shows.

mod gather;
mod html;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use promptmill_core::{Error, Result, nearest};
use promptmill_engine::{Engine, RunRecord, state_folder};

use crate::{PipelineArgs, output, shared};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  promptmill report pipelines/motions.toml\n  promptmill report pipelines/motions.toml --to run.html\n  promptmill report pipelines/motions.toml --run 20261123T101500-1f2e3d4c"
)]
pub(crate) struct Report {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// The run; left out: the last one. `promptmill sql PIPELINE "SELECT run_id FROM runs"` lists them
    #[arg(long, value_name = "RUN_ID")]
    run: Option<String>,
    /// The file; left out: `reports/RUN_ID.html` in the state folder
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

impl Report {
    pub(crate) async fn execute(&self, engine: &Engine) -> Result<ExitCode> {
        let pipeline = shared(self.pipeline.read(engine).await?);
        let state = state_folder(&pipeline)?;
        let record = self.choose(RunRecord::all(&state).await?)?;
        let run_id = record.summary.run_id.clone();
        let page = html::render(&gather::gather(pipeline, engine, record).await?);
        let path = match &self.to {
            Some(path) => {
                std::fs::write(path, page)
                    .map_err(|error| Error::failed(format!("`{}` cannot be written", path.display())).because(error))?;
                path.display().to_string()
            }
            None => {
                let name = format!("reports/{run_id}.html");
                state.put(&name, page).await?;
                format!("{state}/{name}")
            }
        };
        output::line(&path).map(|()| ExitCode::SUCCESS)
    }

    fn choose(&self, mut records: Vec<RunRecord>) -> Result<RunRecord> {
        let file = self.pipeline.pipeline.display();
        let Some(wanted) = &self.run else {
            return records.pop().ok_or_else(|| Error::failed("this pipeline has not run yet").hint(format!("promptmill run {file}")));
        };
        let known: Vec<String> = records.iter().map(|record| record.summary.run_id.clone()).collect();
        records.into_iter().find(|record| record.summary.run_id == *wanted).ok_or_else(|| {
            let hint = match nearest(wanted, known.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("promptmill sql {file} \"SELECT run_id, started_at FROM runs\""),
            };
            Error::failed(format!("there is no run `{wanted}`")).hint(hint)
        })
    }
}
