//! promptmill itself: a million rows through the in-process model.

use promptmill_sim::motions::{Options, write_parquet};

use crate::Result;
use crate::client::own_run;
use crate::pipelines::extractive;

pub(crate) fn measure(rows: u64) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let motions = folder.path().join("motions.parquet");
    write_parquet(&motions, &Options { seed: 1, rows, blank_share: 0.01, ..Options::default() })?;
    let pipeline = folder.path().join("pipeline.toml");
    std::fs::write(&pipeline, extractive(&folder.path().join("out"), &motions))?;
    let (record, took) = own_run(&pipeline)?;
    let summary = &record.summary;
    println!("\n{rows} rows through filter, pack, builtin/extractive, post-process, cost and sink");
    println!(
        "{:.0} rows/s ({:.1} s), {} answered, {} dead letters, {} filtered out; peak memory {:.0} MB",
        (summary.rows.answered + summary.rows.dead_letters) as f64 / summary.seconds,
        summary.seconds,
        summary.rows.answered,
        summary.rows.dead_letters,
        summary.rows.filtered_out,
        took.peak_mb
    );
    let (again, _) = own_run(&pipeline)?;
    println!("again: {} requests in {:.1} s", again.summary.requests.sent, again.summary.seconds);
    Ok(())
}
