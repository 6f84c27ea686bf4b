//! `bench faults`: everything fails that can. What is answered wrongly, what is lost, and what is paid beyond need.
//!
//! A row counts as paid each time that the provider bills a request with it. What faults destroyed had to be paid
//! again; what else was paid more than once is the client's doing. How the provider tells the two apart stands at
//! [`LedgerSnapshot::destroyed`](promptmill_sim::LedgerSnapshot).

use std::collections::{BTreeMap, HashSet};
use std::fmt::Display;

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::util::pretty::pretty_format_batches;
use clap::Args;
use datafusion::prelude::SessionContext;
use promptmill_engine::Engine;
use promptmill_sim::motions::{Options, write_parquet};
use promptmill_sim::{LedgerSnapshot, SimConfig};

use crate::Result;
use crate::client::own_run;
use crate::pipelines::{PACK, Settings, asking};
use crate::provider::Provider;

/// Rows that may be paid for each one that is answered, beyond those that the faults destroyed.
const MOST_PAID: f64 = 1.15;

/// The arguments.
#[derive(Debug, Args)]
pub(crate) struct Faults {
    /// Motions to ask about
    #[arg(long, default_value_t = 29_000)]
    rows: u64,
    /// The probability of each fault
    #[arg(long, default_value_t = 0.05)]
    each: f64,
    /// The faults, of which each has that probability
    #[arg(long, default_value = "all", value_delimiter = ',')]
    of: Vec<String>,
    /// How often a row is asked
    #[arg(long, default_value_t = 8)]
    attempts: u32,
}

/// Answers that carry another motion's marker.
const FOREIGN: &str = "SELECT motion_id FROM results WHERE strpos(summary, '[[' || motion_id || ']]') = 0";
const DOUBLED: &str = "SELECT motion_id FROM (SELECT motion_id FROM results UNION ALL SELECT motion_id FROM dead_letters) AS settled \
     GROUP BY motion_id HAVING count(*) > 1";
const ATTEMPTS: &str = "SELECT status, count(*) AS requests, sum(cardinality(keys)) AS rows, sum(answered) AS answered, \
     sum(cost_usd) AS cost_usd FROM attempts GROUP BY status ORDER BY rows DESC";
const DEAD: &str = "SELECT reason, count(*) AS rows FROM dead_letters GROUP BY reason ORDER BY rows DESC";

impl Faults {
    pub(crate) async fn measure(&self) -> Result<()> {
        let folder = tempfile::tempdir()?;
        let motions = folder.path().join("motions.parquet");
        write_parquet(&motions, &Options { seed: 1, rows: self.rows, marker: true, ..Options::default() })?;
        let provider = Provider::start(&self.config()?)?;
        let file = folder.path().join("pipeline.toml");
        let llm = format!("timeout = \"2s\"\nattempts = {}", self.attempts);
        let settings = Settings { rows: PACK, llm: &llm, priced: true };
        std::fs::write(&file, asking(&folder.path().join("out"), &motions, &provider.url, settings))?;
        println!("{} motions, {PACK} a request; {} at {} % each", self.rows, self.of.join(", "), 100.0 * self.each);
        let (record, took) = own_run(&file)?;
        let ledger = provider.books().await?.ledger;

        let engine = Engine::new(promptmill_stages::registry());
        let session = engine.sql(&engine.read(&file, &[]).await?).await?;
        let (wrong, swapped) = foreign(&session, &ledger).await?;
        let doubled = session.sql(DOUBLED).await?.count().await?;
        let (summary, rows) = (&record.summary, &record.summary.rows);
        let (paid, destroyed) = (ledger.items.paid, ledger.destroyed.values().sum::<u64>());
        let ratio = paid.saturating_sub(destroyed) as f64 / rows.answered.max(1) as f64;
        let reached = wrong.is_empty() && took.lost == 0 && doubled == 0 && ratio <= MOST_PAID;

        println!("{} requests in {:.1} s; peak memory {:.0} MB", ledger.requests, summary.seconds, took.peak_mb);
        println!("rows {}: {} answered, {} dead letters, {} lost, {doubled} twice", self.rows, rows.answered, rows.dead_letters, took.lost);
        println!("answers on a wrong key {}{}; swapped by the provider {swapped}", wrong.len(), such_as(&wrong));
        println!("paid rows {paid}, of which faults destroyed {destroyed}: {ratio:.3} for each answered one (at most {MOST_PAID})");
        println!("billed {} USD, journalled {} USD", ledger.billed_usd, summary.cost_usd);
        println!("destroyed, by fault: {}", list(&ledger.destroyed));
        println!("rejected, by reason: {}", list(&summary.rejections));
        println!("requests left by the client before there was an answer: {}", ledger.abandoned);
        for query in [ATTEMPTS, DEAD] {
            println!("{}", pretty_format_batches(&session.sql(query).await?.collect().await?)?);
        }
        println!("{}", if reached { "reached" } else { "MISSED" });
        Ok(())
    }

    fn config(&self) -> Result<SimConfig> {
        // Larger than what promptmill reads of a response, and no larger than that needs.
        let mut config = SimConfig { huge_body_mb: 20, slow_body_ms: 300, ..SimConfig::instant() };
        for fault in &self.of {
            config.faults.set(fault, self.each)?;
        }
        Ok(config)
    }
}

/// The keys that have another motion's answer, and how many have one because the provider exchanged it.
async fn foreign(session: &SessionContext, ledger: &LedgerSnapshot) -> Result<(Vec<String>, usize)> {
    let swapped: HashSet<&str> = ledger.swapped.iter().flatten().map(String::as_str).collect();
    let (mut wrong, mut count) = (Vec::new(), 0);
    for batch in session.sql(FOREIGN).await?.collect().await? {
        let keys = cast(batch.column(0), &DataType::Utf8)?;
        for key in keys.as_string::<i32>().iter().flatten() {
            if swapped.contains(key) {
                count += 1;
            } else {
                wrong.push(key.to_owned());
            }
        }
    }
    Ok((wrong, count))
}

fn list(counts: &BTreeMap<String, impl Display>) -> String {
    counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}

fn such_as(keys: &[String]) -> String {
    if keys.is_empty() { String::new() } else { format!(", such as {}", keys[..keys.len().min(5)].join(", ")) }
}
