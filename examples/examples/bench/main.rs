//! The figures in `docs/design/measurements.md`, measured anew: `cargo run --release -p promptmill-examples --example bench -- all`.
//!
//! `service` asks a simulated provider about generated motions in three ways: through promptmill, with one
//! request per motion, and with five workers that send twenty motions each and wait for the slowest of them.
//! `million` sends a million rows through the in-process model and measures promptmill itself. `lane` measures how
//! well promptmill finds and follows limits that nobody told it, beside other methods; `faults` what it pays when
//! everything fails that can. Provider and client are separate processes.

#![expect(clippy::print_stdout, reason = "a program that talks to people")]

mod client;
mod curve;
mod faults;
mod lane;
mod million;
mod peers;
mod pipelines;
mod provider;
mod scenario;
mod service;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

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
    /// Limits that nobody told, troughs and outages: promptmill at its defaults beside other methods
    Lane(lane::Lane),
    /// Every fault at once
    Faults(faults::Faults),
    /// The provider, in a process of its own
    #[command(hide = true)]
    Serve { config: String },
    /// One run, in a process of its own, so that its memory and its time are its own
    #[command(hide = true)]
    Run { pipeline: PathBuf },
    /// The method of the story, in a process of its own
    #[command(hide = true)]
    Chunks(peers::Chunks),
}

#[tokio::main]
async fn main() -> Result<()> {
    // The comparison's own client needs one, as promptmill's does; that somebody was earlier is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match Cli::parse().command {
        Bench::All => {
            service::measure(29_000).await?;
            million::measure(1_000_000)
        }
        Bench::Service { rows } => service::measure(rows).await,
        Bench::Million { rows } => million::measure(rows),
        Bench::Lane(lane) => lane.measure().await,
        Bench::Faults(faults) => faults.measure().await,
        Bench::Serve { config } => provider::serve(&config).await,
        Bench::Run { pipeline } => client::run(&pipeline).await,
        Bench::Chunks(chunks) => chunks.run().await,
    }
}
