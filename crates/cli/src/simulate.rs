//! `promptmill simulate`: a model provider that costs nothing, and motions to ask it about.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use promptmill_core::{Error, Result};
use promptmill_sim::{FAULTS, SimConfig, Simulator, WhenFull, motions};
use serde_json::Value;

use crate::output;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  promptmill simulate --port 9000 --max-in-flight 64\n  promptmill simulate --port 9000 --rpm 3000 --headers --fault all=0.02 --seed 7\n  promptmill simulate --port 9000 --set careless.behind=16 --set careless.share=0.5\n  promptmill simulate --motions 29000 --out data/motions.parquet\n\nThe server counts what it bills: GET /ledger, GET /ledger?items=true, GET /ledger?timeline=true, POST /ledger/reset, POST /control."
)]
pub(crate) struct Simulate {
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    host: std::net::IpAddr,
    /// The port to listen on; 0 takes any free one
    #[arg(long, default_value_t = 9000)]
    port: u16,
    /// Fixes answers, latencies and faults
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Milliseconds that every answer takes
    #[arg(long, value_name = "MS")]
    latency_ms: Option<f64>,
    /// Milliseconds for each token of an answer
    #[arg(long, value_name = "MS")]
    per_token_ms: Option<f64>,
    /// Spread of the log-normal noise on the latency
    #[arg(long, value_name = "SIGMA")]
    noise: Option<f64>,
    /// Share of answers that take `--tail-factor` times as long
    #[arg(long, value_name = "SHARE")]
    tail: Option<f64>,
    /// How many times longer an answer of the tail takes
    #[arg(long, value_name = "FACTOR")]
    tail_factor: Option<f64>,
    /// Answers at once
    #[arg(long)]
    instant: bool,
    /// Requests in flight that are admitted; more get a 429
    #[arg(long, value_name = "N")]
    max_in_flight: Option<usize>,
    /// Lets requests above `--max-in-flight` wait their turn instead
    #[arg(long)]
    queue: bool,
    /// Requests a minute
    #[arg(long)]
    rpm: Option<u64>,
    /// Tokens a minute
    #[arg(long)]
    tpm: Option<u64>,
    /// Tells the limits in response headers
    #[arg(long)]
    headers: bool,
    /// A fault and its probability, as `truncated=0.05`, or `all=0.02`; may be repeated
    #[arg(long = "fault", value_name = "NAME=P")]
    faults: Vec<String>,
    /// Lists the faults
    #[arg(long)]
    list_faults: bool,
    /// States the cost of each answer in its usage, as OpenRouter does
    #[arg(long)]
    report_cost: bool,
    /// Any other setting by its dotted path, as `price.input=0.3`; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Writes so many generated motions to `--out` instead of starting a server
    #[arg(long, value_name = "N", requires = "out")]
    motions: Option<u64>,
    /// The Parquet file for the motions
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Ends every generated body with its id as `[[id]]`, which the server counts by
    #[arg(long)]
    marker: bool,
    /// Share of generated motions without a body
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    blank_share: f64,
}

impl Simulate {
    pub(crate) async fn execute(&self) -> Result<ExitCode> {
        if self.list_faults {
            let list: Vec<String> = FAULTS.iter().map(|fault| format!("{:<18} {}", fault.name, fault.summary)).collect();
            return output::line(&list.join("\n")).map(|()| ExitCode::SUCCESS);
        }
        if let (Some(rows), Some(out)) = (self.motions, &self.out) {
            return self.generate(rows, out);
        }
        let simulator = Simulator::start(self.config()?).map_err(|error| {
            Error::failed(format!("the simulated provider cannot listen on {}:{}", self.host, self.port))
                .hint("choose another `--port`")
                .because(error)
        })?;
        output::error(&format!("simulated provider at {} (ledger: GET /ledger); stop with Ctrl-C", simulator.base_url()));
        tokio::signal::ctrl_c().await.map_err(|error| Error::failed("Ctrl-C cannot be waited for").because(error))?;
        let ledger = serde_json::to_string_pretty(&simulator.ledger())
            .map_err(|error| Error::failed("the ledger cannot be printed").because(error))?;
        simulator.shutdown().await;
        output::line(&ledger).map(|()| ExitCode::SUCCESS)
    }

    fn generate(&self, rows: u64, out: &Path) -> Result<ExitCode> {
        let options = motions::Options { seed: self.seed, from: 0, rows, blank_share: self.blank_share, marker: self.marker };
        if let Some(folder) = out.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|error| Error::failed(format!("`{}` cannot be made", folder.display())).because(error))?;
        }
        let written = motions::write_parquet(out, &options)
            .map_err(|error| Error::failed(format!("`{}` cannot be written", out.display())).because(error))?;
        output::error(&format!("{written} motions in {}", out.display()));
        Ok(ExitCode::SUCCESS)
    }

    fn config(&self) -> Result<SimConfig> {
        let mut config = SimConfig {
            listen: SocketAddr::new(self.host, self.port),
            seed: self.seed,
            report_cost: self.report_cost,
            ..SimConfig::default()
        };
        let wrong = |setting: &str, error: String| Error::failed(format!("`{setting}`: {error}"));
        let latency = &mut config.latency;
        latency.instant = self.instant;
        latency.base_ms = self.latency_ms.unwrap_or(latency.base_ms);
        latency.per_output_token_ms = self.per_token_ms.unwrap_or(latency.per_output_token_ms);
        latency.noise = self.noise.unwrap_or(latency.noise);
        latency.tail_probability = self.tail.unwrap_or(latency.tail_probability);
        latency.tail_factor = self.tail_factor.unwrap_or(latency.tail_factor);
        config.limits.max_in_flight = self.max_in_flight;
        config.limits.rpm = self.rpm;
        config.limits.tpm = self.tpm;
        config.limits.headers = self.headers;
        if self.queue {
            config.limits.when_full = WhenFull::Queue;
        }
        for fault in &self.faults {
            let (name, probability) = fault.split_once('=').ok_or_else(|| wrong(fault, "expected NAME=P".to_owned()))?;
            let probability = probability.parse().map_err(|_| wrong(fault, format!("`{probability}` is no probability")))?;
            config
                .faults
                .set(name, probability)
                .map_err(|error| wrong(fault, error.to_string()).hint("`promptmill simulate --list-faults` lists them"))?;
        }
        for setting in &self.settings {
            let (key, value) = setting.split_once('=').ok_or_else(|| wrong(setting, "expected KEY=VALUE".to_owned()))?;
            let mut json = serde_json::to_value(&config).map_err(|error| wrong(setting, error.to_string()))?;
            let value: Value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
            let mut place = &mut json;
            for part in key.split('.') {
                place = &mut place[part];
            }
            *place = value;
            config = serde_json::from_value(json).map_err(|error| wrong(setting, error.to_string()))?;
        }
        config.check().map_err(|error| wrong("simulate", error.to_string()))?;
        Ok(config)
    }
}
