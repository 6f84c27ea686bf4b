//! The lane's scenarios on virtual time: every file under `scenarios/`, ten seeds each, and one table.

mod scenario;
mod service;

use std::path::Path;

use scenario::{Scenario, Summary};

fn scenarios() -> Vec<Scenario> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lane/scenarios");
    let mut paths: Vec<_> = std::fs::read_dir(folder).expect("the scenarios").map(|entry| entry.expect("a file").path()).collect();
    paths.sort();
    let chosen = std::env::var("PROMPTMILL_SCENARIO").unwrap_or_default();
    paths.iter().map(|path| Scenario::read(path)).filter(|scenario| scenario.name.contains(&chosen)).collect()
}

#[test]
fn every_scenario_stays_within_its_bounds() {
    let scenarios = scenarios();
    let summaries: Vec<Summary> = std::thread::scope(|scope| {
        let running: Vec<_> = scenarios
            .chunks(scenarios.len().div_ceil(2).max(1))
            .map(|part| scope.spawn(|| part.iter().map(Scenario::summary).collect::<Vec<_>>()))
            .collect();
        running.into_iter().flat_map(|thread| thread.join().expect("a scenario")).collect()
    });
    println!("{}", Summary::HEAD);
    summaries.iter().for_each(|summary| println!("{summary}"));
    let missed: Vec<String> = summaries.iter().flat_map(|summary| summary.missed.clone()).collect();
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
