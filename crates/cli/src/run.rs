//! `promptmill run`: runs a pipeline and reports how it went.

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use promptmill_core::{Error, Money, Result, Stop, StopReason};
use promptmill_engine::{CanaryRows, Ended, Engine, RunOptions, Scope, Status, Summary};
use tokio::signal::unix::{SignalKind, signal};

use crate::progress::{self, Progress};
use crate::{PipelineArgs, fail, output, shared};

pub(crate) const EXIT_BUDGET: u8 = 3;
const EXIT_DEAD_LETTERS: u8 = 4;
/// A shell's exit code for a process that a signal ended: this and the signal's number.
pub(crate) const EXIT_SIGNAL: i32 = 128;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  promptmill run pipelines/motions.toml\n  promptmill run pipelines/motions.toml --limit 100 --budget-usd 0.50\n  promptmill run pipelines/motions.toml --set stages.llm.model=mistral-small --output json\n  promptmill run pipelines/motions.toml --prune"
)]
pub(crate) struct Run {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// Only the first N rows that pass the filters
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// In place of the pipeline's `budget_usd`, over all its runs
    #[arg(long, value_name = "X", value_parser = money)]
    budget_usd: Option<Money>,
    /// Asks rows again that are dead letters
    #[arg(long)]
    retry_dead_letters: bool,
    /// Answers everything anew; the old results stay until the new ones are complete
    #[arg(long)]
    fresh: bool,
    /// Takes rows out of the results that the source no longer has, or that the filters leave out
    #[arg(long)]
    prune: bool,
    /// What is printed at the end
    #[arg(long, default_value = "text")]
    output: OutputFormat,
    /// How progress is shown
    #[arg(long, default_value = "auto")]
    progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// A few lines for people
    Text,
    /// One JSON object on standard output
    Json,
}

pub(crate) fn money(text: &str) -> Result<Money, String> {
    let money: Money = text.parse().map_err(|error: promptmill_core::ParseMoneyError| error.to_string())?;
    if money < Money::ZERO { Err("a budget cannot be negative".to_owned()) } else { Ok(money) }
}

impl Run {
    pub(crate) async fn execute(&self, engine: &Engine) -> Result<ExitCode> {
        let scope = if self.fresh { Scope::Everything } else { Scope::Changed };
        let options = RunOptions {
            limit: self.limit,
            budget: self.budget_usd,
            retry_dead_letters: self.retry_dead_letters,
            prune: self.prune,
            scope,
        };
        execute(&self.pipeline, options, self.output, self.progress, engine).await
    }
}

/// Runs a pipeline with these options and says how it went.
pub(crate) async fn execute(
    pipeline: &PipelineArgs,
    options: RunOptions,
    output: OutputFormat,
    progress: Progress,
    engine: &Engine,
) -> Result<ExitCode> {
    let pipeline = shared(pipeline.read(engine).await?);
    let scope = options.scope;
    let run = engine.run(Arc::clone(&pipeline), options);
    let (meter, stop) = (run.meter(), run.stopper());
    let signals = tokio::spawn(stop_on_signals(stop.clone()));
    let shown = tokio::spawn(progress::show(progress, Arc::clone(&meter)));
    let ended = run.wait().await;
    shown.abort();
    let _ = shown.await;
    signals.abort();
    let Ended { summary, dead_letters, canaries, error } = ended?;
    match output {
        OutputFormat::Json => {
            let json = serde_json::to_string(&summary).map_err(|error| Error::failed("the summary cannot be printed").because(error))?;
            output::line(&json)?;
        }
        OutputFormat::Text => output::line(&text(&summary, meter.read().pruned, canaries.as_ref()))?,
    }
    for warning in canaries.iter().flat_map(|canaries| &canaries.warnings) {
        output::error(&format!("warning: {warning}"));
        output::error("hint: ask about fewer rows a request; `promptmill compare PIPELINE --rows 1,4,8,16` finds how many may share one");
    }
    if let Some(error) = error {
        return Ok(fail(&error));
    }
    if summary.rows.answered == 0 && summary.rows.dead_letters > 0 {
        let reasons = summary.rejections.iter().max_by_key(|(_, count)| **count);
        let most = reasons.map(|(reason, _)| format!(", mostly for `{reason}`")).unwrap_or_default();
        output::error(&format!("warning: none of the {} rows of this run has an answer{most}", summary.rows.dead_letters));
    }
    if scope == Scope::Everything && summary.rows.remaining > 0 {
        output::error(&format!(
            "the new generation lacks {} rows, so the old results stay; `promptmill run` completes it, with nothing paid twice",
            summary.rows.remaining
        ));
    }
    Ok(match (summary.status, stop.reason()) {
        (Status::BudgetExhausted, _) => {
            output::error("stopped by the budget: what was paid is kept; run again with a higher `--budget-usd` to carry on");
            ExitCode::from(EXIT_BUDGET)
        }
        (Status::Interrupted, Some(StopReason::Interrupted(signal))) => {
            output::error("interrupted: what was in flight is settled and committed; run again to carry on");
            ExitCode::from(u8::try_from(EXIT_SIGNAL + signal).unwrap_or(1))
        }
        (Status::Completed, _) if !pipeline.max_dead_letters.allows(dead_letters, settled(&summary)) => {
            let (settled, most) = (settled(&summary), pipeline.max_dead_letters);
            output::error(&format!(
                "error: {dead_letters} of {settled} settled rows are dead letters, where `max_dead_letters` allows {most}"
            ));
            output::error(
                "hint: see `promptmill sql PIPELINE \"SELECT reason, detail, last_text FROM dead_letters\"`; `--retry-dead-letters` asks them again",
            );
            ExitCode::from(EXIT_DEAD_LETTERS)
        }
        (Status::Completed, _) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// The first SIGINT or SIGTERM asks for a stop in good order; the second leaves at once. A file that a limit of the process
/// keeps from growing (`ulimit -f`) is an error of that file, and no end without a word.
pub(crate) async fn stop_on_signals(stop: Stop) {
    // To listen is enough: the write then fails.
    let _listens = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()));
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else { return };
    loop {
        let number = tokio::select! {
            _ = interrupt.recv() => SignalKind::interrupt().as_raw_value(),
            _ = terminate.recv() => SignalKind::terminate().as_raw_value(),
        };
        if stop.is_requested() {
            std::process::exit(EXIT_SIGNAL + number);
        }
        output::error("stopping: waiting for what is in flight (once more to leave at once)");
        stop.request(StopReason::Interrupted(number));
    }
}

/// Rows that have an answer or are dead letters, in this run or before.
fn settled(summary: &Summary) -> u64 {
    summary.rows.unchanged + summary.rows.answered + summary.rows.dead_letters
}

/// A few lines for people.
fn text(summary: &Summary, pruned: u64, canaries: Option<&CanaryRows>) -> String {
    let Summary { rows, requests, throughput, .. } = summary;
    let status = match summary.status {
        Status::Completed => "completed",
        Status::BudgetExhausted => "stopped by the budget",
        Status::Interrupted => "interrupted",
        Status::Failed => "failed",
    };
    let mut lines = vec![format!(
        "{status} in {}: {} answered, {} dead letters, {} unchanged, {} filtered out, {} remaining",
        progress::duration(summary.seconds),
        rows.answered,
        rows.dead_letters,
        rows.unchanged,
        rows.filtered_out,
        rows.remaining
    )];
    if requests.sent > 0 {
        lines.push(format!(
            "requests  {} sent, {} ok, {} rate limited, {} failed, {} retried; {:.1} rows each, {:.1} in flight (peak {})",
            requests.sent,
            requests.ok,
            requests.rate_limited,
            requests.failed,
            requests.retried,
            throughput.rows_per_request,
            throughput.concurrency_mean,
            throughput.concurrency_peak
        ));
        lines
            .push(format!("tokens    {} in ({} cached), {} out", summary.tokens.input, summary.tokens.cached_input, summary.tokens.output));
        let budget = summary.budget_usd.map(|budget| format!(" of ${budget}")).unwrap_or_default();
        lines.push(format!("cost      ${}{budget}", summary.cost_usd));
        lines.push(format!("speed     {:.1} rows a second", summary.rows_per_second));
    }
    if let Some(unassigned) = summary.unassigned_usd.filter(|unassigned| *unassigned != Money::ZERO) {
        lines.push(format!("no row's  ${unassigned} of all that was spent is in no row: see the table `unassigned_costs`"));
    }
    if rows.from_journal > 0 {
        lines.push(format!("journal   {} answers were there already and cost nothing", rows.from_journal));
    }
    if pruned > 0 {
        lines.push(format!("pruned    {pruned} rows have left the results"));
    }
    if !summary.rejections.is_empty() {
        let reasons: Vec<String> = summary.rejections.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        lines.push(format!("rejected  {} (and asked again)", reasons.join(", ")));
    }
    if let Some(canaries) = canaries {
        let alike = canaries.likeness.map(|likeness| format!(", answers {:.2} alike", likeness.mean)).unwrap_or_default();
        lines.push(format!(
            "canaries  {} rows asked alone, too, for ${}: {} of {} accepted in their packs, {} alone{alike}",
            canaries.asked, canaries.cost_usd, canaries.accepted_in_packs.rows, canaries.compared, canaries.accepted_alone.rows
        ));
    }
    lines.push(format!("results   {}", summary.results));
    lines.join("\n")
}
