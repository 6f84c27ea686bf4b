//! Makes generated motions: the shipped sample, or a file of any size for a measurement.
//!
//! ```text
//! cargo run --example make_sample                                 # pipelines/data/motions-sample.parquet
//! cargo run --release --example make_sample -- motions.parquet --rows 10000000 --seed 7
//! ```
#![allow(clippy::print_stdout, reason = "a program that reports to the terminal")]

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use promptmill_sim::motions::{Options, write_parquet};

/// Writes generated motions to a Parquet file. Without options it renews the shipped sample.
#[derive(Debug, Parser)]
struct Args {
    /// The file to write
    #[arg(default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../pipelines/data/motions-sample.parquet"))]
    path: PathBuf,
    /// How many motions
    #[arg(long, default_value_t = 200)]
    rows: u64,
    /// Another seed gives other motions
    #[arg(long, default_value_t = 2024)]
    seed: u64,
    /// Number of the first motion: parts of one collection can be made apart
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Share of motions with a null or blank body, from 0 to 1
    #[arg(long, default_value_t = 0.02)]
    blank_share: f64,
    /// End every body with a line [[motion_id]], by which the simulated provider knows the row
    #[arg(long)]
    marker: bool,
}

fn main() -> ExitCode {
    let Args { path, rows, seed, from, blank_share, marker } = Args::parse();
    let start = Instant::now();
    match write_parquet(&path, &Options { seed, from, rows, blank_share, marker }) {
        Ok(written) => {
            let seconds = start.elapsed().as_secs_f64();
            println!("{written} motions in {seconds:.1} s: {}", path.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            eprintln!("error: {error}{cause}");
            ExitCode::FAILURE
        }
    }
}
