//! The desk's scenarios: the real `llm` stage behind the real `prompt-pack`, asking a provider in memory on a paused
//! clock. Every file under `scenarios/` is a provider, settings and bounds; each runs with ten seeds, and what all of
//! them came to is printed as one table.
//!
//! Whatever the scenario says, every run has to hand out each row exactly once, with the answer that was given about
//! it; to end every attempt that it begins, once; to keep `spent + reserved <= cap` at every event; and to charge the
//! rows exactly what the attempts cost.
//!
//! The numbers in the names are those of the list of scenarios that a controller must have. 18, answers that get worse
//! with the number of rows in a request, is not here: nothing in the desk compares answers yet.
//!
//! `PROMPTMILL_SCENARIO=17` runs the scenarios with that in their name, `PROMPTMILL_TRACE=3` prints every request of seed 3.

mod held;
mod ledger;
mod scenario;
mod service;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use scenario::{Scenario, Summary};

/// Scenarios that run at the same time.
const THREADS: usize = 2;

fn scenarios() -> Vec<Scenario> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/desk/scenarios");
    let mut paths: Vec<_> = std::fs::read_dir(folder).expect("the scenarios").map(|entry| entry.expect("a file").path()).collect();
    paths.sort();
    let chosen = std::env::var("PROMPTMILL_SCENARIO").unwrap_or_default();
    paths.iter().map(|path| Scenario::read(path)).filter(|scenario| scenario.name.contains(&chosen)).collect()
}

#[test]
fn every_scenario_stays_within_its_bounds() {
    let scenarios = scenarios();
    let (next, summaries) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    // Long and short ones: each thread takes the next when it is done.
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some((index, scenario)) = Some(next.fetch_add(1, Relaxed)).and_then(|index| Some((index, scenarios.get(index)?)))
                {
                    let summary = scenario.summary();
                    summaries.lock().expect("no panic under the lock").insert(index, summary);
                }
            });
        }
    });
    let summaries: Vec<Summary> = summaries.into_inner().expect("no panic under the lock").into_values().collect();
    println!("{}", Summary::HEAD);
    summaries.iter().for_each(|summary| println!("{summary}"));
    let missed: Vec<String> = summaries.iter().flat_map(|summary| summary.missed.clone()).collect();
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
