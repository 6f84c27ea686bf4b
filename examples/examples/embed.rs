//! promptmill inside a job of one's own: run a pipeline, watch it, query its results.
//!
//! `cargo run -p promptmill-examples --example embed`

#![expect(clippy::print_stdout, reason = "a program that talks to people")]

use std::sync::Arc;

use datafusion::arrow::util::pretty::pretty_format_batches;
use promptmill_core::{Meter, Stop};
use promptmill_engine::{RunOptions, read, run, sql};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = tempfile::tempdir()?;
    let registry = promptmill_stages::registry();
    // What the command line says with `--set` a job says in the same words.
    let settings = [format!("sink.path={}/motions", out.path().display())];
    let pipeline = Arc::new(read("pipelines/motions.toml".as_ref(), &settings, &registry).await?);

    // Counters to look at while it runs, and a way to stop it in good order.
    let (meter, stop) = (Arc::new(Meter::default()), Stop::default());
    let ended = run(Arc::clone(&pipeline), &registry, RunOptions::default(), Arc::clone(&meter), stop).await?;
    println!("{:?}: {} answered for ${}", ended.summary.status, meter.read().answered, ended.summary.cost_usd);

    let session = sql::open(&pipeline, &registry).await?;
    let rows = session.sql("SELECT party, count(*) AS motions FROM results GROUP BY party ORDER BY motions DESC LIMIT 5").await?;
    println!("{}", pretty_format_batches(&rows.collect().await?)?);
    Ok(())
}
