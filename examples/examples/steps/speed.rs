//! Rows a second of processor time, of the whole list and of each step. Others may work on the machine as well: the time
//! that counts is that of this process.

use std::time::Instant;

use promptmill_core::Tally;
use serde_json::{Value, json};

use crate::answers::{Answer, for_each};
use crate::{Result, judge, motions_pipeline, reference_example};

/// The best of so many runs counts.
const RUNS: usize = 3;

/// Processor time of this process in user mode, in seconds: counted by the kernel in hundredths. Elsewhere the clock.
fn cpu_seconds(started: Instant) -> f64 {
    let ticks = std::fs::read_to_string("/proc/self/stat").ok();
    let ticks = ticks.and_then(|stat| stat.rsplit(')').next()?.split_whitespace().nth(11)?.parse::<f64>().ok());
    ticks.map_or_else(|| started.elapsed().as_secs_f64(), |ticks| ticks / 100.0)
}

pub(crate) fn print(answers: &[Answer]) -> Result<()> {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown processor", |name| name.trim_start_matches([' ', '\t', ':']));
    let build = if cfg!(debug_assertions) { "debug build" } else { "release build" };
    println!("Rows a second of one core, {} generated answers, promptmill {} ({build}), {cpu}\n", answers.len(), env!("CARGO_PKG_VERSION"));
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
    let (judge, started) = (judge(settings)?, Instant::now());
    let run = || {
        let mut tally = Tally::default();
        let before = cpu_seconds(started);
        for_each(answers, |_, answer, about| drop(judge.judge(&answer.text, about, &mut tally)));
        (cpu_seconds(started) - before).max(0.01)
    };
    let best = (0..RUNS).map(|_| run()).fold(f64::INFINITY, f64::min);
    Ok(answers.len() as f64 / best)
}
