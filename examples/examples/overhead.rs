//! What a request costs promptmill itself: `cargo run --release -p promptmill-examples --example overhead`.
//!
//! A simulated provider that answers at once has one core, promptmill another; journal, validation and
//! accounting are on. What counts is processor time, user and system: on a machine with other guests it is
//! steadier than the clock.

#![expect(clippy::print_stdout, reason = "a program that talks to people")]

use std::error::Error;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use clap::{Parser, Subcommand};
use promptmill_core::Pipeline;
use promptmill_engine::{Engine, RunOptions};
use promptmill_sim::motions::{Options, write_parquet};
use promptmill_sim::{SimConfig, Simulator};
use serde::{Deserialize, Serialize};

// The allocator of the command line, so that the figures are its figures.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Measures the processor time and the memory that a request costs.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Option<Part>,
    /// Motions to ask about
    #[arg(long, default_value_t = 29_000)]
    motions: u64,
    /// Motions in a request; may be repeated
    #[arg(long = "rows", value_name = "N", default_values_t = [1, 20])]
    rows: Vec<usize>,
    /// Requests in flight; may be repeated
    #[arg(long = "concurrency", value_name = "N", default_values_t = [64, 256])]
    concurrency: Vec<usize>,
    /// Runs of each
    #[arg(long, default_value_t = 3)]
    repeat: usize,
}

#[derive(Subcommand)]
enum Part {
    /// The provider, in a process of its own
    #[command(hide = true)]
    Serve,
    /// One run, in a process of its own, so that its time and memory are its own
    #[command(hide = true)]
    Run { pipeline: PathBuf },
}

/// What a run says of itself.
#[derive(Serialize, Deserialize)]
struct Measured {
    answered: u64,
    requests: u64,
    seconds: f64,
    cpu_seconds: f64,
    peak_mb: f64,
}

/// The core of the provider, and that of promptmill.
const CORES: (usize, usize) = (0, 1);

#[tokio::main]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    match cli.command {
        None => measure(&cli),
        Some(Part::Serve) => serve().await,
        Some(Part::Run { pipeline }) => run(&pipeline).await,
    }
}

fn measure(cli: &Cli) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let motions = folder.path().join("motions.parquet");
    write_parquet(&motions, &Options { seed: 1, rows: cli.motions, marker: true, ..Options::default() })?;
    println!("{} motions; CPU s of promptmill, user and system, whole process\n", cli.motions);
    println!(
        "{:>5} {:>10} {:>9} {:>11} {:>13} {:>17} {:>8}",
        "rows", "in flight", "requests", "requests/s", "CPU s", "CPU s/1,000 req.", "peak MB"
    );
    for &rows in &cli.rows {
        for &concurrency in &cli.concurrency {
            for repeat in 0..cli.repeat {
                let provider = Provider::start()?;
                let out = folder.path().join(format!("{rows}-{concurrency}-{repeat}"));
                let pipeline = folder.path().join("pipeline.toml");
                std::fs::write(&pipeline, asking(&out, &motions, &provider.url, rows, concurrency))?;
                let measured = own_run(&pipeline)?;
                if measured.answered != cli.motions {
                    return Err(format!("only {} motions were answered", measured.answered).into());
                }
                println!(
                    "{rows:>5} {concurrency:>10} {:>9} {:>11.0} {:>13.2} {:>17.4} {:>8.0}",
                    measured.requests,
                    measured.requests as f64 / measured.seconds,
                    measured.cpu_seconds,
                    1e3 * measured.cpu_seconds / measured.requests as f64,
                    measured.peak_mb
                );
                std::fs::remove_dir_all(&out)?;
            }
        }
    }
    Ok(())
}

fn asking(out: &Path, motions: &Path, url: &str, rows: usize, concurrency: usize) -> String {
    format!(
        r#"
[source]
path = "{}"
key = "motion_id"

[[stages]]
use = "prompt-pack"
system = "Je legt moties uit in eenvoudig Nederlands."
prompt = "Schrijf voor elke motie twee tot drie zinnen uitleg."
item = "{{{{ title }}}}\n\n{{{{ body }}}}"
rows = {rows}
answer = "summary"

[[stages]]
use = "llm"
model = "simulated"
concurrency = {concurrency}

[[stages]]
use = "post-process"
column = "summary"
language = "nl"
steps = [
  {{ use = "drop-lines-in-other-scripts" }},
  {{ use = "replace-words", words = {{ "filthy" = "vuile", "lageinkomen" = "laag inkomen" }} }},
  {{ use = "remove-pattern", pattern = '\(\d+-\d+\)' }},
  {{ use = "normalize-text" }},
  {{ use = "reject-words", list = "english-common", more_than = 10 }},
  {{ use = "reject-language" }},
  {{ use = "reject-length", min_chars = 20, max_chars = 3000 }},
]

[[stages]]
use = "cost"
budget_usd = 1000

[sink]
path = "{}/motions"
partition_by = ["year"]
columns = ["motion_id", "title", "summary"]

[models.simulated]
provider = "simulator"
model = "simulated"
price = {{ input = 0.15, output = 0.60 }}

[providers.simulator]
kind = "openai"
base_url = "{url}"
"#,
        motions.display(),
        out.display()
    )
}

/// This program with these arguments, on one core where the system can do that.
fn on_core(core: usize, arguments: &[&OsStr]) -> Result<Command> {
    let own = std::env::current_exe()?;
    let can_pin = Command::new("taskset").args(["-c", &core.to_string(), "true"]).stderr(Stdio::null()).status();
    let mut command = if can_pin.is_ok_and(|status| status.success()) {
        let mut pinned = Command::new("taskset");
        pinned.args(["-c", &core.to_string()]).arg(own);
        pinned
    } else {
        Command::new(own)
    };
    command.args(arguments);
    Ok(command)
}

fn own_run(pipeline: &Path) -> Result<Measured> {
    let output = on_core(CORES.1, &["run".as_ref(), pipeline.as_ref()])?.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err("the run failed".into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

async fn run(path: &Path) -> Result<()> {
    let registry = promptmill_stages::registry();
    let pipeline = Arc::new(Pipeline::read(path, &[], &registry)?);
    let ended = Engine::new(registry).with_limits_of_this_machine().run(pipeline, RunOptions::default()).wait().await?;
    if let Some(error) = ended.error {
        return Err(error.into());
    }
    let measured = Measured {
        answered: ended.summary.rows.answered,
        requests: ended.summary.requests.sent,
        seconds: ended.summary.seconds,
        cpu_seconds: cpu_seconds(),
        peak_mb: peak_memory_mb(),
    };
    println!("{}", serde_json::to_string(&measured)?);
    Ok(())
}

/// Processor time of this process so far, user and system; 0 where the system does not tell.
fn cpu_seconds() -> f64 {
    /// What Linux counts in, on every architecture that it tells users of.
    const TICKS_A_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is the program's name, which may hold anything; `utime` and `stime` are the 14th and 15th.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: f64 = fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
    ticks / TICKS_A_SECOND
}

/// The largest resident set of this process so far, in megabytes; 0 where the system does not tell.
fn peak_memory_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")).and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    peak.unwrap_or_default() / 1e3
}

struct Provider {
    child: Child,
    url: String,
}

impl Provider {
    fn start() -> Result<Self> {
        let mut child = on_core(CORES.0, &["serve".as_ref()])?.stdout(Stdio::piped()).spawn()?;
        let mut url = String::new();
        BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut url)?;
        Ok(Self { child, url: url.trim().to_owned() })
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        // It has nothing to save; that it has gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn serve() -> Result<()> {
    let mut config = SimConfig::default();
    config.latency.instant = true;
    let simulator = Simulator::start(config)?;
    println!("{}", simulator.base_url());
    std::future::pending::<()>().await;
    drop(simulator);
    Ok(())
}
