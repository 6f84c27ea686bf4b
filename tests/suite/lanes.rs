//! Processes of one host that use the same key share its limit, and a killed one leaves its part to the others.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use promptmill_sim::SimConfig;
use serde_json::Value;

use crate::support::{Project, Ran};

/// Requests that the provider has in work at once; more are refused, and nobody is told.
const PLACES: u64 = 24;

/// A run of a pipeline of its own: the same rows, asked of the same model, into another sink.
fn start(project: &Project, name: &str) -> Child {
    let (name, sink) = (format!("name={name}"), format!("sink.path=out/{name}"));
    let mut command = project.command(&["run", "pipeline.toml", "--output", "json", "--progress", "none", "--set", &name, "--set", &sink]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts")
}

/// Requests in flight in a run over time, from so many seconds on until so many.
fn in_flight(record: &Value, from: f64, until: f64) -> Vec<u64> {
    let samples = record["timeline"].as_array().expect("samples").iter();
    let within = samples.filter(|sample| sample["t"].as_f64().is_some_and(|t| (from..until).contains(&t)));
    within.map(|sample| sample["in_flight"].as_u64().expect("a count")).collect()
}

#[test]
fn two_processes_share_a_limit_and_one_that_is_killed_leaves_its_part() {
    let mut config = SimConfig::default();
    (config.latency.base_ms, config.latency.per_output_token_ms) = (250.0, 0.1);
    config.limits.max_in_flight = Some(PLACES as usize);
    let project = Project::simulated(1_200, config);
    project.write("pipeline.toml", &project.simulated_pipeline("").replace("rows = 10", "rows = 1"));

    // The first one finds the limit, the second one is told.
    let mut first = start(&project, "first");
    project.wait_for_requests(500);
    let (second, began) = (start(&project, "second"), Instant::now());
    std::thread::sleep(Duration::from_secs(6));
    first.kill().expect("SIGKILL");
    first.wait().expect("is gone");
    let killed = began.elapsed().as_secs_f64();
    let summary = Ran::from(second.wait_with_output().expect("ends")).expect(0).json();
    assert_eq!(summary["rows"]["dead_letters"], 0, "{summary}");

    let record = std::fs::read(project.path(&format!("out/_promptmill/second/runs/{}.json", summary["run_id"].as_str().expect("an id"))));
    let record: Value = serde_json::from_slice(&record.expect("a record")).expect("JSON");
    let shared = in_flight(&record, 2.0, killed);
    let alone = in_flight(&record, killed + 7.0, f64::INFINITY);
    // Half of the places and one for a test, while there are two; all of them when the lease of the other one is over.
    assert!(shared.iter().all(|count| *count <= PLACES / 2 + 1), "{shared:?}");
    assert!(shared.iter().sum::<u64>() >= shared.len() as u64 * PLACES / 3, "{shared:?}");
    assert!(summary["requests"]["rate_limited"].as_u64().is_some_and(|refused| refused <= 60), "{summary}");
    assert!(alone.iter().any(|count| *count > PLACES * 3 / 4), "{alone:?}");
}
