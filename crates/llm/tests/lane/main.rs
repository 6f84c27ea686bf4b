//! The lane's scenarios on virtual time: every file under `scenarios/`, sixty seeds each, and one table.

mod family;
mod scenario;
mod service;

use std::path::Path;

use promptmill_llm::lane::Without;
use scenario::{SEEDS, Scenario, Summary};

fn scenarios() -> Vec<Scenario> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lane/scenarios");
    let mut paths: Vec<_> = std::fs::read_dir(folder).expect("the scenarios").map(|entry| entry.expect("a file").path()).collect();
    paths.sort();
    let chosen = std::env::var("PROMPTMILL_SCENARIO").unwrap_or_default();
    paths.iter().map(|path| Scenario::read(path)).filter(|scenario| scenario.name.contains(&chosen)).collect()
}

/// All of them, on two threads.
fn run(scenarios: &[Scenario], seeds: u64, without: Without) -> Vec<Summary> {
    let half = scenarios.len().div_ceil(2).max(1);
    std::thread::scope(|scope| {
        let all = |part: &[Scenario]| part.iter().map(|scenario| scenario.summary(seeds, without)).collect::<Vec<_>>();
        let running: Vec<_> = scenarios.chunks(half).map(|part| scope.spawn(move || all(part))).collect();
        running.into_iter().flat_map(|thread| thread.join().expect("a scenario")).collect()
    })
}

/// What the parts of the controller are worth: `cargo test --test lane -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a check"]
fn ablations() {
    let scenarios = scenarios();
    let none = Without::default();
    for (name, without) in [
        ("whole", none),
        ("without the proven floor", Without { floor: true, ..none }),
        ("without debt", Without { debt: true, ..none }),
        ("without the request gate", Without { gate: true, ..none }),
        ("without single tests of a cap", Without { single_test: true, ..none }),
        ("without telling accidents from limits", Without { accidents: true, ..none }),
        ("without the knee of servers that queue", Without { knee: true, ..none }),
    ] {
        println!("\n{name}\n{}", Summary::HEAD);
        run(&scenarios, SEEDS, without).iter().for_each(|summary| println!("{summary}"));
    }
}

#[test]
fn every_scenario_stays_within_its_bounds() {
    let scenarios = scenarios();
    check(&run(&scenarios, SEEDS, Without::default()));
}

/// What headers say may be meant in many ways, and be wrong: no way of it costs throughput. `PROMPTMILL_SEEDS` says how many
/// seeds: one takes a minute of a core, sixty half an hour of two. All bounds hold with one. With four, the watchdog still finds
/// seven members once each: sliding windows of a minute whose numbers are five seconds old, in the minute after they were used
/// up first, and two members of which nothing right is said.
#[test]
fn whatever_headers_say_the_lane_does_not_starve() {
    let seeds = std::env::var("PROMPTMILL_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(1);
    let chosen = std::env::var("PROMPTMILL_SCENARIO").unwrap_or_default();
    let scenarios: Vec<Scenario> = family::all().into_iter().filter(|scenario| scenario.name.contains(&chosen)).collect();
    let summaries = run(&scenarios, seeds, Without::default());
    check(&summaries);
    for (class, throughput, refused) in family::CLASSES {
        let of_class = || summaries.iter().filter(|summary| family::is_of(&summary.name, class));
        let count = of_class().count();
        if count == 0 {
            assert!(!chosen.is_empty(), "no scenario is of the class {class}");
            continue;
        }
        let mean = |which: usize| of_class().map(|summary| summary.means()[which]).sum::<f64>() / count as f64;
        println!("{class:<14} {count:>5} scenarios {:>6.1} % {:>6.2} %", 100.0 * mean(0), 100.0 * mean(1));
        assert!(mean(0) >= throughput, "{class}: {:.3} of the ideal, not {throughput}", mean(0));
        assert!(mean(1) <= refused, "{class}: {:.4} refused, not {refused}", mean(1));
    }
}

fn check(summaries: &[Summary]) {
    eprintln!("{}", Summary::HEAD);
    summaries.iter().for_each(|summary| eprintln!("{summary}"));
    let missed: Vec<String> = summaries.iter().flat_map(|summary| summary.missed.clone()).collect();
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
