//! promptmill inside a job of one's own: run a pipeline, watch it, query its results.
//!
//! `cargo run -p promptmill-examples --example embed`

#![expect(clippy::print_stdout, reason = "a program that talks to people")]

use std::sync::Arc;

use datafusion::arrow::util::pretty::pretty_format_batches;
use promptmill_engine::{Engine, RunOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = tempfile::tempdir()?;
    let engine = Engine::new(promptmill_stages::registry());
    // What the command line says with `--set` a job says in the same words.
    let settings = [format!("sink.path={}/motions", out.path().display())];
    let pipeline = Arc::new(engine.read("pipelines/motions.toml".as_ref(), &settings).await?);

    // It goes while the job does something else; `run.stop()` would end it in good order.
    let run = engine.run(Arc::clone(&pipeline), RunOptions::default());
    println!("{} rows have their answer so far", run.progress().answered);
    let ended = run.wait().await?;
    println!("{:?}: {} answered for ${}", ended.summary.status, ended.summary.rows.answered, ended.summary.cost_usd);

    let session = engine.sql(&pipeline).await?;
    let rows = session.sql("SELECT party, count(*) AS motions FROM results GROUP BY party ORDER BY motions DESC LIMIT 5").await?;
    println!("{}", pretty_format_batches(&rows.collect().await?)?);
    Ok(())
}
