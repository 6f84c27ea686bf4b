//! The figures in `docs/design/measurements.md`, measured anew: `cargo run --release -p promptmill-examples --example bench -- all`.
//!
//! `service` asks a simulated provider about generated motions in three ways: through promptmill, with one
//! request per motion, and with five workers that send twenty motions each and wait for the slowest of them.
//! `million` sends a million rows through the in-process model and measures promptmill itself. Provider and
//! client are separate processes.

#![expect(clippy::print_stdout, reason = "a program that talks to people")]

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use futures::future::join_all;
use promptmill_core::{Meter, Pipeline, Stop};
use promptmill_engine::{RunOptions, RunRecord};
use promptmill_sim::motions::{Options, write_parquet};
use promptmill_sim::{LedgerSnapshot, SimConfig, Simulator};
use serde_json::{Value, json};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Measures promptmill beside the methods that it replaces.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Everything
    All,
    /// A provider with 64 places, 400 ms and 4 ms a token
    Service {
        /// Motions to ask about
        #[arg(long, default_value_t = 29_000)]
        rows: u64,
    },
    /// Rows through filter, pack, `builtin/extractive`, post-process and sink
    Million {
        /// Rows
        #[arg(long, default_value_t = 1_000_000)]
        rows: u64,
    },
    /// The provider, in a process of its own
    #[command(hide = true)]
    Serve { config: String },
    /// One run, in a process of its own, so that its memory is its own
    #[command(hide = true)]
    Run { pipeline: PathBuf },
}

#[tokio::main]
async fn main() -> Result<()> {
    // The comparison's own client needs one, as promptmill's does; that somebody was earlier is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match Cli::parse().command {
        Bench::All => {
            service(29_000).await?;
            million(1_000_000)
        }
        Bench::Service { rows } => service(rows).await,
        Bench::Million { rows } => million(rows),
        Bench::Serve { config } => serve(&config).await,
        Bench::Run { pipeline } => run(&pipeline).await,
    }
}

/// Places at the provider, and requests that promptmill has in flight.
const PLACES: usize = 64;
/// Motions in a request.
const PACK: usize = 20;
/// How long the slow methods are measured: their rate does not change with time.
const SLOW_METHODS: Duration = Duration::from_secs(60);

async fn service(rows: u64) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let motions = folder.path().join("motions.parquet");
    write_parquet(&motions, &Options { seed: 1, rows, marker: true, ..Options::default() })?;
    let mut config = SimConfig::default();
    config.limits.max_in_flight = Some(PLACES);
    println!(
        "{rows} motions; {} ms + {} ms per token, noise {}, {PLACES} places",
        config.latency.base_ms, config.latency.per_output_token_ms, config.latency.noise
    );

    let provider = Provider::start(&config)?;
    let pipeline = folder.path().join("pipeline.toml");
    std::fs::write(&pipeline, asking(&folder.path().join("out"), &motions, &provider.url))?;
    let (record, memory) = own_run(&pipeline)?;
    std::fs::create_dir_all("out")?;
    std::fs::write("out/bench-run.json", serde_json::to_vec(&record)?)?;
    let ledger = provider.ledger().await?;
    let tokens = ledger.completion_tokens as f64 / ledger.generations as f64;
    let ideal = (PLACES * PACK) as f64 / (config.latency.mean_ms(tokens) / 1e3);
    println!("ideal: {ideal:.1} motions/s ({tokens:.0} tokens an answer of {PACK} motions)\n");
    println!("{:<44} {:>10} {:>9} {:>9}", "method", "motions/s", "of ideal", "refused");
    let answered = record.summary.rows.answered as f64;
    let seconds = ledger.last_answer_seconds.unwrap_or_default() - ledger.first_request_seconds.unwrap_or_default();
    let refused = record.summary.requests.rate_limited as f64 / record.summary.requests.sent as f64;
    line("promptmill, 20 x 64, whole run", answered / seconds, ideal, refused);
    line("promptmill, 20 x 64, middle of the run", middle(&record), ideal, refused);
    println!("  answered {answered}, dead letters {}, peak memory {memory:.0} MB", record.summary.rows.dead_letters);
    drop(provider);

    let texts: Vec<String> =
        promptmill_sim::motions::Motions::new(1).with_marker(true).range(0, 4_000).filter_map(|motion| motion.body).collect();
    for (name, workers, pack) in [("5 workers x 20 motions, chunk by chunk", 5, PACK), ("one request per motion, one after another", 1, 1)]
    {
        let provider = Provider::start(&config)?;
        let rate = chunk_by_chunk(&provider.url, &texts, workers, pack).await?;
        line(name, rate, ideal, 0.0);
    }
    Ok(())
}

fn line(name: &str, rate: f64, ideal: f64, refused: f64) {
    println!("{name:<44} {rate:>10.1} {:>8.1}% {:>8.2}%", 100.0 * rate / ideal, 100.0 * refused);
}

/// Rows a second between a fifth and four fifths of the run's time.
fn middle(record: &RunRecord) -> f64 {
    let end = record.timeline.last().map_or(0.0, |sample| sample.t);
    let inside: Vec<_> = record.timeline.iter().filter(|sample| sample.t > 0.2 * end && sample.t < 0.8 * end).collect();
    match (inside.first(), inside.last()) {
        (Some(first), Some(last)) if last.t > first.t => (last.rows - first.rows) as f64 / (last.t - first.t),
        _ => 0.0,
    }
}

/// The method of the story: so many requests at once, and the next ones when all have come back.
async fn chunk_by_chunk(url: &str, texts: &[String], workers: usize, pack: usize) -> Result<f64> {
    let client = reqwest::Client::new();
    let (started, mut done) = (Instant::now(), 0);
    for chunk in texts.chunks(workers * pack) {
        let requests = chunk.chunks(pack).map(|texts| ask(&client, url, texts));
        for answered in join_all(requests).await {
            done += answered?;
        }
        if started.elapsed() > SLOW_METHODS {
            break;
        }
    }
    Ok(done as f64 / started.elapsed().as_secs_f64())
}

async fn ask(client: &reqwest::Client, url: &str, texts: &[String]) -> Result<usize> {
    let items: Vec<String> =
        texts.iter().enumerate().map(|(n, text)| json!({"id": format!("r{}", n + 1), "text": text}).to_string()).collect();
    let body = json!({"model": "simulated", "messages": [{"role": "user", "content": items.join("\n")}]}).to_string();
    let response = client.post(format!("{url}/chat/completions")).header("content-type", "application/json").body(body).send().await?;
    let text = response.error_for_status()?.text().await?;
    let answer: Value = serde_json::from_str(&text)?;
    let content = answer["choices"][0]["message"]["content"].as_str().unwrap_or_default();
    Ok(serde_json::from_str::<Value>(content)?.as_object().map_or(0, serde_json::Map::len))
}

fn million(rows: u64) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let motions = folder.path().join("motions.parquet");
    write_parquet(&motions, &Options { seed: 1, rows, blank_share: 0.01, ..Options::default() })?;
    let pipeline = folder.path().join("pipeline.toml");
    std::fs::write(&pipeline, extractive(&folder.path().join("out"), &motions))?;
    let (record, memory) = own_run(&pipeline)?;
    let summary = &record.summary;
    println!("\n{rows} rows through filter, pack, builtin/extractive, post-process, cost and sink");
    println!(
        "{:.0} rows/s ({:.1} s), {} answered, {} dead letters, {} filtered out; peak memory {memory:.0} MB",
        (summary.rows.answered + summary.rows.dead_letters) as f64 / summary.seconds,
        summary.seconds,
        summary.rows.answered,
        summary.rows.dead_letters,
        summary.rows.filtered_out
    );
    let (again, _) = own_run(&pipeline)?;
    println!("again: {} requests in {:.1} s", again.summary.requests.sent, again.summary.seconds);
    Ok(())
}

const POST_PROCESS: &str = r#"
[[stages]]
use = "post-process"
column = "summary"
language = "nl"
steps = [
  { use = "drop-lines-in-other-scripts" },
  { use = "replace-words", words = { "filthy" = "vuile", "lageinkomen" = "laag inkomen" } },
  { use = "remove-pattern", pattern = '\(\d+-\d+\)' },
  { use = "normalize-text" },
  { use = "reject-words", list = "english-common", more_than = 10 },
  { use = "reject-language" },
  { use = "reject-length", min_chars = 20, max_chars = 3000 },
]

[[stages]]
use = "cost"
"#;

fn asking(out: &Path, motions: &Path, url: &str) -> String {
    format!(
        r#"
[source]
path = "{}"
key = "motion_id"

[[stages]]
use = "prompt-pack"
prompt = "Schrijf voor elke motie twee tot drie zinnen uitleg."
item = "{{{{ title }}}}\n\n{{{{ body }}}}"
rows = {PACK}
answer = "summary"

[[stages]]
use = "llm"
model = "simulated"
concurrency = {PLACES}
{POST_PROCESS}
[sink]
path = "{}/motions"
partition_by = ["year"]
columns = ["motion_id", "title", "summary"]

[models.simulated]
provider = "simulator"
model = "simulated"

[providers.simulator]
kind = "openai"
base_url = "{url}"
"#,
        motions.display(),
        out.display()
    )
}

fn extractive(out: &Path, motions: &Path) -> String {
    format!(
        r#"
[source]
path = "{}"
key = "motion_id"

[[stages]]
use = "filter"
where = "body IS NOT NULL AND length(trim(body)) > 0"

[[stages]]
use = "prompt-pack"
item = "{{{{ title }}}}\n\n{{{{ body }}}}"
rows = {PACK}
answer = "summary"

[[stages]]
use = "llm"
model = "builtin/extractive"
concurrency = 32
{POST_PROCESS}
[sink]
path = "{}/motions"
partition_by = ["year"]
columns = ["motion_id", "title", "summary"]
"#,
        motions.display(),
        out.display()
    )
}

/// A run in a process of its own: its record, and its peak memory in megabytes.
fn own_run(pipeline: &Path) -> Result<(RunRecord, f64)> {
    let output = Command::new(std::env::current_exe()?).arg("run").arg(pipeline).stderr(Stdio::inherit()).output()?;
    let said = String::from_utf8(output.stdout)?;
    let (path, memory) =
        said.trim().split_once('\n').filter(|_| output.status.success()).ok_or_else(|| format!("the run failed: {said}"))?;
    Ok((serde_json::from_slice(&std::fs::read(path)?)?, memory.parse()?))
}

async fn run(path: &Path) -> Result<()> {
    let registry = promptmill_stages::registry();
    let pipeline = Arc::new(Pipeline::read(path, &[], &registry)?);
    let ended =
        promptmill_engine::run(Arc::clone(&pipeline), &registry, RunOptions::default(), Arc::new(Meter::default()), Stop::default())
            .await?;
    if let Some(error) = ended.error {
        return Err(error.into());
    }
    let state = promptmill_engine::state_folder(&pipeline)?;
    println!("{}/runs/{}.json\n{:.0}", state, ended.summary.run_id, peak_memory_mb());
    Ok(())
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
    fn start(config: &SimConfig) -> Result<Self> {
        let config = serde_json::to_string(config)?;
        let mut child = Command::new(std::env::current_exe()?).args(["serve", &config]).stdout(Stdio::piped()).spawn()?;
        let mut url = String::new();
        BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut url)?;
        Ok(Self { child, url: url.trim().to_owned() })
    }

    async fn ledger(&self) -> Result<LedgerSnapshot> {
        let text = reqwest::get(self.url.replace("/v1", "/ledger")).await?.text().await?;
        Ok(serde_json::from_str(&text)?)
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        // It has nothing to save; that it has gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn serve(config: &str) -> Result<()> {
    let simulator = Simulator::start(serde_json::from_str(config)?)?;
    println!("{}", simulator.base_url());
    std::future::pending::<()>().await;
    drop(simulator);
    Ok(())
}
