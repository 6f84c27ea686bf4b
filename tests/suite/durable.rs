//! Crashes at random moments, on the local disk and on S3: the job gets done, nothing is there twice, and the results are
//! those of a run that nobody disturbed.
//!
//! Each case follows from its seed. `PROMPTMILL_DURABLE_RUNS` sets how many there are of each kind.

use std::process::Stdio;
use std::time::{Duration, Instant};

use promptmill_sim::SimConfig;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use crate::bucket::Bucket;
use crate::support::Project;

const USUAL_CASES: u64 = 4;
const PACK: u64 = 10;

struct Case {
    rows: u64,
    config: SimConfig,
    in_flight: u64,
    commit_every: &'static str,
    flush_ms: u64,
    /// When each run is killed, after its start.
    kills: Vec<Duration>,
}

impl Case {
    fn new(seed: u64) -> Self {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let mut config = SimConfig { seed, ..SimConfig::default() };
        config.latency.base_ms = dice.random_range(20.0..150.0);
        config.latency.per_output_token_ms = 0.02;
        let kills = dice.random_range(1..6);
        Self {
            rows: dice.random_range(100..300),
            config,
            in_flight: dice.random_range(1..9),
            commit_every: ["100ms", "500ms", "1h"][dice.random_range(0..3)],
            flush_ms: dice.random_range(100..800),
            kills: (0..kills).map(|_| Duration::from_millis(dice.random_range(50..1_500))).collect(),
        }
    }

    fn project(&self, seed: u64, bucket: Option<&Bucket>) -> Project {
        let mut project = Project::simulated(self.rows, self.config.clone());
        let text = project
            .simulated_pipeline(&format!("concurrency = {}", self.in_flight))
            .replace("[sink]", &format!("[state]\nflush = \"{}ms\"\n\n[sink]\ncommit_every = \"{}\"", self.flush_ms, self.commit_every));
        project.write("pipeline.toml", &text);
        if let Some(bucket) = bucket {
            bucket.take(&mut project);
            let text = std::fs::read_to_string(project.path("pipeline.toml")).expect("a pipeline");
            let text = text
                .replace("s3://lake/in", &format!("s3://lake/in/case-{seed}"))
                .replace("s3://lake/out", &format!("s3://lake/case-{seed}"));
            project.write("pipeline.toml", &text);
            bucket.put(&format!("in/case-{seed}/motions.parquet"), std::fs::read(project.path("motions.parquet")).expect("motions"));
        }
        project
    }
}

fn answers(project: &Project) -> Vec<Value> {
    project.query("SELECT motion_id, year, title, summary FROM results ORDER BY motion_id")
}

fn case(seed: u64, bucket: Option<&Bucket>) {
    let case = Case::new(seed);
    let project = case.project(seed, bucket);
    let mut kills = 0;
    for after in &case.kills {
        let mut command = project.command(&["run", "pipeline.toml", "--progress", "none"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
        let until = Instant::now() + *after;
        while Instant::now() < until && child.try_wait().expect("waits").is_none() {
            std::thread::sleep(Duration::from_millis(2));
        }
        kills += u64::from(child.try_wait().expect("waits").is_none());
        let _ = child.kill();
        child.wait().expect("is gone");
    }
    let summary = project.run_pipeline(&[]).expect(0).json();
    assert_eq!(summary["rows"]["remaining"], 0, "case {seed}: {summary}");
    project.assert_settled_once();
    let spent = project.assert_money_agrees();
    let ledger = project.simulator().ledger();
    assert!(spent >= ledger.billed_nano_usd as i64, "case {seed}: {spent} on record, {} billed", ledger.billed_nano_usd);
    // What is in flight at a kill; on S3 also what comes back until it is written.
    let rounds = match bucket {
        Some(_) => 1 + (case.flush_ms as f64 / case.config.latency.base_ms).ceil() as u64,
        None => 1,
    };
    let most = kills * case.in_flight * PACK * rounds;
    let twice = ledger.items.paid_more_than_once;
    assert!(twice <= most, "case {seed}: {twice} rows paid twice, {most} allowed after {kills} kills");
    let undisturbed = Case { kills: Vec::new(), ..Case::new(seed) }.project(seed, None);
    undisturbed.run_pipeline(&[]).expect(0);
    assert_eq!(answers(&project), answers(&undisturbed), "case {seed}");
}

fn cases() -> u64 {
    std::env::var("PROMPTMILL_DURABLE_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(USUAL_CASES)
}

#[test]
fn runs_killed_at_random_come_to_the_same_results_on_the_local_disk() {
    (0..cases()).for_each(|seed| case(seed, None));
}

#[test]
fn runs_killed_at_random_come_to_the_same_results_on_s3() {
    let Some(bucket) = Bucket::start() else { return };
    (1_000..1_000 + cases()).for_each(|seed| case(seed, Some(&bucket)));
}
