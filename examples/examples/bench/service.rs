//! A provider with 64 places, told to promptmill, beside the slow methods.

use std::time::Duration;

use promptmill_engine::RunRecord;
use promptmill_sim::SimConfig;
use promptmill_sim::motions::{Motions, Options, write_parquet};

use crate::Result;
use crate::client::own_run;
use crate::peers::chunk_by_chunk;
use crate::pipelines::{PACK, Settings, asking};
use crate::provider::Provider;

/// Places at the provider, and requests that promptmill has in flight.
const PLACES: usize = 64;
/// How long the slow methods are measured: their rate does not change with time.
const SLOW_METHODS: Duration = Duration::from_secs(60);
/// Answer tokens that the slow methods allow a motion; more than enough.
const TOKENS_PER_ROW: usize = 400;

pub(crate) async fn measure(rows: u64) -> Result<()> {
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
    let settings = Settings { rows: PACK, llm: &format!("concurrency = {PLACES}"), priced: false };
    std::fs::write(&pipeline, asking(&folder.path().join("out"), &motions, &provider.url, settings))?;
    let (record, took) = own_run(&pipeline)?;
    std::fs::create_dir_all("out")?;
    std::fs::write("out/bench-run.json", serde_json::to_vec(&record)?)?;
    let ledger = provider.books().await?.ledger;
    let tokens = ledger.completion_tokens as f64 / ledger.generations as f64;
    let ideal = (PLACES * PACK) as f64 / (config.latency.mean_ms(tokens) / 1e3);
    println!("ideal: {ideal:.1} motions/s ({tokens:.0} tokens an answer of {PACK} motions)\n");
    println!("{:<44} {:>10} {:>9} {:>9}", "method", "motions/s", "of ideal", "refused");
    let answered = record.summary.rows.answered as f64;
    let seconds = ledger.last_answer_seconds.unwrap_or_default() - ledger.first_request_seconds.unwrap_or_default();
    let refused = record.summary.requests.rate_limited as f64 / record.summary.requests.sent as f64;
    line("promptmill, 20 x 64, whole run", answered / seconds, ideal, refused);
    line("promptmill, 20 x 64, middle of the run", middle(&record), ideal, refused);
    println!("  answered {answered}, dead letters {}, peak memory {:.0} MB", record.summary.rows.dead_letters, took.peak_mb);
    drop(provider);

    let texts: Vec<String> = Motions::new(1).with_marker(true).range(0, 4_000).filter_map(|motion| motion.body).collect();
    for (name, workers, pack) in [("5 workers x 20 motions, chunk by chunk", 5, PACK), ("one request per motion, one after another", 1, 1)]
    {
        let provider = Provider::start(&config)?;
        let done = chunk_by_chunk(&provider.url, &texts, workers, pack, TOKENS_PER_ROW, SLOW_METHODS).await?;
        line(name, done.answered as f64 / done.seconds, ideal, 0.0);
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
