//! Rows a second on one core, of the whole list and of each step.

use std::time::Instant;

use promptmill_core::Tally;
use serde_json::{Value, json};

use crate::answers::{Answer, for_each};
use crate::{Result, judge, motions_pipeline, reference_example};

/// The best of so many runs counts: others work on the machine as well.
const RUNS: usize = 3;

pub(crate) fn print(answers: &[Answer]) -> Result<()> {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown processor", |name| name.trim_start_matches([' ', '\t', ':']));
    let build = if cfg!(debug_assertions) { "debug build" } else { "release build" };
    println!("Rows a second on one core, {} generated answers, promptmill {} ({build}), {cpu}\n", answers.len(), env!("CARGO_PKG_VERSION"));
    let (reference, pipeline) = (reference_example()?, motions_pipeline()?);
    for (name, settings) in [("the steps of the reference page", &reference), ("the steps of pipelines/motions.toml", &pipeline)] {
        println!("  {name:<36} {:>10.0}", rows_per_second(settings, answers)?);
    }
    println!("\n  of these, each alone");
    for step in pipeline["steps"].as_array().into_iter().flatten() {
        let settings = json!({"column": "summary", "language": "nl", "steps": [step]});
        println!("    {:<34} {:>10.0}", step["use"].as_str().unwrap_or_default(), rows_per_second(&settings, answers)?);
    }
    Ok(())
}

fn rows_per_second(settings: &Value, answers: &[Answer]) -> Result<f64> {
    let judge = judge(settings)?;
    let run = || {
        let (started, mut tally) = (Instant::now(), Tally::default());
        for_each(answers, |_, answer, about| drop(judge.judge(&answer.text, about, &mut tally)));
        started.elapsed().as_secs_f64()
    };
    let best = (0..RUNS).map(|_| run()).fold(f64::INFINITY, f64::min);
    Ok(answers.len() as f64 / best)
}
