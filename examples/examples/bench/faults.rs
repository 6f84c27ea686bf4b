//! `bench faults`: everything fails that can. What is answered wrongly, what is lost, and what is paid beyond need.

use clap::Args;
use datafusion::arrow::util::pretty::pretty_format_batches;
use promptmill_core::Pipeline;
use promptmill_sim::SimConfig;
use promptmill_sim::motions::{Options, write_parquet};

use crate::Result;
use crate::client::own_run;
use crate::pipelines::{PACK, asking};
use crate::provider::Provider;

/// Rows that may be paid for each one that is needed, beyond those that the faults destroyed.
const MOST_SURPLUS: f64 = 1.15;

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
const WRONG: &str = "SELECT motion_id FROM results WHERE strpos(summary, '[[' || motion_id || ']]') = 0";
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
        // Larger than what promptmill reads of a response, and no larger than that needs.
        let mut config = SimConfig { huge_body_mb: 20, slow_body_ms: 300, ..SimConfig::instant() };
        for fault in &self.of {
            config.faults.set(fault, self.each)?;
        }
        let provider = Provider::start(&config)?;
        let file = folder.path().join("pipeline.toml");
        let llm = format!("timeout = \"2s\"\nattempts = {}", self.attempts);
        let text = asking(&folder.path().join("out"), &motions, &provider.url, PACK, &llm);
        std::fs::write(
            &file,
            text.replace("model = \"simulated\"\n\n[prov", "model = \"simulated\"\nprice = { input = 0.15, output = 0.60 }\n\n[prov"),
        )?;
        println!("{} motions, {PACK} a request; {} at {} % each", self.rows, self.of.join(", "), 100.0 * self.each);
        let (record, took) = own_run(&file)?;
        let ledger = provider.books().await?.ledger;

        let registry = promptmill_stages::registry();
        let pipeline = Pipeline::read(&file, &[], &registry)?;
        let session = promptmill_engine::sql::open(&pipeline, &registry).await?;
        let wrong = session.sql(WRONG).await?.collect().await?;
        let swapped: std::collections::HashSet<&str> = ledger.swapped.iter().flatten().map(String::as_str).collect();
        let (mut of_swaps, mut own) = (0, Vec::new());
        for batch in &wrong {
            let keys = datafusion::arrow::compute::cast(batch.column(0), &datafusion::arrow::datatypes::DataType::Utf8)?;
            let keys = keys.as_any().downcast_ref::<datafusion::arrow::array::StringArray>().ok_or("keys are text")?;
            for key in keys.iter().flatten() {
                if swapped.contains(key) { of_swaps += 1 } else { own.push(key.to_owned()) }
            }
        }
        let doubled = session.sql(DOUBLED).await?.count().await?;
        let rows = &record.summary.rows;
        let destroyed: u64 = ledger.destroyed.values().sum();
        let paid = ledger.items.paid;
        let needed = paid.saturating_sub(destroyed);
        let ratio = needed as f64 / self.rows as f64;
        println!("{} requests in {:.1} s; peak memory {:.0} MB", ledger.requests, record.summary.seconds, took.peak_mb);
        println!("rows {}: {} answered, {} dead letters, {} lost, {doubled} twice", self.rows, rows.answered, rows.dead_letters, took.lost);
        println!("answers on a wrong key: {} ({of_swaps} more whose provider had swapped them){}", own.len(), names(&own));
        println!("paid rows {paid}, of which faults destroyed {destroyed}; the rest is {ratio:.3} a row (at most {MOST_SURPLUS})");
        println!("bill {} USD, journal {} USD", ledger.billed_usd, record.summary.cost_usd);
        println!("\ndestroyed, by fault: {}", list(&ledger.destroyed));
        println!("rejected, by reason: {}", list(&record.summary.rejections));
        println!("left by the client before there was an answer: {} requests", ledger.abandoned);
        for query in [ATTEMPTS, DEAD] {
            println!("{}", pretty_format_batches(&session.sql(query).await?.collect().await?)?);
        }
        let reached = own.is_empty() && took.lost == 0 && doubled == 0 && ratio <= MOST_SURPLUS;
        println!("{}", if reached { "reached" } else { "MISSED" });
        Ok(())
    }
}

fn list(counts: &std::collections::BTreeMap<String, u64>) -> String {
    counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}

fn names(keys: &[String]) -> String {
    if keys.is_empty() { String::new() } else { format!(", such as {}", keys[..keys.len().min(5)].join(", ")) }
}
