//! The command line of promptmill: flags, words, exit codes. One file a subcommand.

mod check;
mod compare;
mod init;
mod output;
mod page;
mod plain;
mod plan;
mod progress;
mod reference;
mod render;
mod replay;
mod report;
mod run;
mod simulate;
mod sql;
mod stages;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, CommandFactory, Parser, Subcommand};
use promptmill_core::pipeline::Access;
use promptmill_core::{Error, Pipeline, Result};
use promptmill_engine::Engine;
use rustix::fs::Mode;

// Millions of small texts come and go in several threads; the system's allocator spends a fifth of a run on it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs a language model over the rows of a data lake.
#[derive(Debug, Parser)]
#[command(
    name = "promptmill",
    version,
    arg_required_else_help = true,
    after_help = "Examples:\n  promptmill check pipelines/motions.toml\n  promptmill run pipelines/motions.toml\n  promptmill sql pipelines/motions.toml \"SELECT count(*) FROM results\"\n\nExit codes: 0 completed, 1 failed, 2 wrong usage or pipeline, 3 stopped by the budget,\n4 completed with more dead letters than allowed, 130/143 interrupted."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Writes a small pipeline that runs at once, with rows for it
    Init(init::Init),
    /// Runs a pipeline, or carries on where its last run stopped
    Run(run::Run),
    /// Validates file, templates, SQL, columns and models without sending anything
    Check(check::Check),
    /// Shows what a run would do now: rows, requests, tokens, cost
    Plan(plan::Plan),
    /// Applies the stages after the model call anew to the journalled responses; sends nothing
    Replay(replay::Replay),
    /// SQL over `source`, `results`, `dead_letters`, `attempts` and `runs`
    Sql(sql::Sql),
    /// Asks several models, or in packs of several sizes, about the same rows
    Compare(Box<compare::Compare>),
    /// Writes one HTML page of a run
    Report(report::Report),
    /// Lists the stages and steps, or explains one of them
    Stages(stages::Stages),
    /// Lists known models and their prices
    Models,
    /// Starts a simulated chat-completions server, or generates motions to ask about
    Simulate(Box<simulate::Simulate>),
    /// Prints the JSON Schema of the pipeline file, for editors
    Schema,
    /// Prints completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Writes the reference pages into a folder
    #[command(hide = true)]
    Reference {
        /// The folder
        folder: PathBuf,
    },
}

/// A pipeline file and what changes it.
#[derive(Debug, Args)]
struct PipelineArgs {
    /// The pipeline file
    pipeline: PathBuf,
    /// Overrides a value by its dotted path, as `stages.llm.concurrency.max=64`; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

impl PipelineArgs {
    async fn read(&self, engine: &Engine) -> Result<Pipeline> {
        let pipeline = engine.read(&self.pipeline, &self.settings).await?;
        // Before any file is made. It holds for the whole process, which has this one pipeline.
        if pipeline.state.access == Access::Owner {
            let usual = rustix::process::umask(Mode::RWXG | Mode::RWXO);
            rustix::process::umask(usual | Mode::RWXG | Mode::RWXO);
        }
        Ok(pipeline)
    }
}

/// What is logged without `PROMPTMILL_LOG`. A certificate that is not trusted is an error of a request, which says so
/// itself, and with what to do about it; so is a Delta table that cannot be read.
const LOGGED: &str = "warn,rustls_platform_verifier=off,delta_kernel=off,buoyant_kernel=off,deltalake_core=off";

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_env("PROMPTMILL_LOG").unwrap_or_else(|_| LOGGED.into()))
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&Error::failed("the runtime cannot start").because(error)),
    };
    let result = runtime.block_on(dispatch(cli.command));
    // A request that is still in flight after the last word has been settled by its reservation.
    runtime.shutdown_background();
    match result {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

async fn dispatch(command: Command) -> Result<ExitCode> {
    let engine = Engine::new(promptmill_stages::registry()).with_limits_of_this_machine();
    match command {
        Command::Init(init) => init.execute(),
        Command::Run(run) => run.execute(&engine).await,
        Command::Check(check) => check.execute(&engine).await,
        Command::Plan(plan) => plan.execute(&engine).await,
        Command::Replay(replay) => replay.execute(&engine).await,
        Command::Sql(sql) => sql.execute(&engine).await,
        Command::Compare(compare) => compare.execute(&engine).await,
        Command::Report(report) => report.execute(&engine).await,
        Command::Stages(stages) => stages.execute(engine.registry()),
        Command::Models => output::line(&stages::models()).map(|()| ExitCode::SUCCESS),
        Command::Simulate(simulate) => simulate.execute().await,
        Command::Schema => {
            let schema = promptmill_core::pipeline::json_schema(engine.registry());
            let text =
                serde_json::to_string_pretty(&schema).map_err(|error| Error::failed("the schema cannot be printed").because(error))?;
            output::line(&text).map(|()| ExitCode::SUCCESS)
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "promptmill", &mut script);
            output::bytes(&script).map(|()| ExitCode::SUCCESS)
        }
        Command::Reference { folder } => reference::write(&folder, engine.registry(), Cli::command()).map(|()| ExitCode::SUCCESS),
    }
}

/// Says what went wrong and which exit code that is.
fn fail(error: &Error) -> ExitCode {
    let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    output::error(&render::error(error, color));
    ExitCode::from(error.kind().exit_code())
}

/// A pipeline behind a pointer, as runs share it.
fn shared(pipeline: Pipeline) -> Arc<Pipeline> {
    Arc::new(pipeline)
}
