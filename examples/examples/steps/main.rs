//! What the steps of `post-process` catch, what they wrongly reject and how fast they are:
//! `cargo run --release -p promptmill-examples --example steps`.
//!
//! Answers are those of the simulated provider about generated motions, and, where `PROMPTMILL_REAL_MOTIONS` names a
//! file of real ones, pieces of these, taken for answers. `--dump FILE` writes the texts for `peers/steps.py`, which does
//! the steps of the reference page in Python.

#![expect(clippy::print_stdout, reason = "a program that talks to people")]

mod answers;
mod garbage;
mod speed;

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use promptmill_core::{Acceptance, Declaration};
use serde_json::Value;

use crate::answers::{generated, real};

// The allocator of the command line, so that the figures are its figures.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Measures what the steps catch and what they cost.
#[derive(Parser)]
struct Cli {
    /// Answers of each kind
    #[arg(long, default_value_t = 29_000)]
    answers: usize,
    /// Write the texts of the generated answers here, one JSON string a line, and measure nothing
    #[arg(long, value_name = "FILE")]
    dump: Option<PathBuf>,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let simulated = generated(cli.answers);
    if let Some(path) = cli.dump {
        let lines: String = simulated.iter().map(|answer| format!("{}\n", Value::from(answer.text.as_str()))).collect();
        return Ok(std::fs::write(path, lines)?);
    }
    let mut kinds = vec![("generated motions", simulated)];
    if let Ok(path) = std::env::var("PROMPTMILL_REAL_MOTIONS") {
        kinds.push(("real motions", real(path.as_ref(), cli.answers)?));
    }
    let (pipeline, before) = (judge(&motions_pipeline()?)?, judge(&without_unrelated(motions_pipeline()?))?);
    println!("Garbage in 5% of the answers, steps of pipelines/motions.toml\n");
    for (name, answers) in &kinds {
        println!("{}", garbage::measure(pipeline.as_ref(), before.as_ref(), answers).table(name));
    }
    speed::print(&kinds[0].1)
}

/// The settings of the stage in the pipeline that people start from.
fn motions_pipeline() -> Result<Value> {
    let pipeline: Value = toml::from_str(include_str!("../../../pipelines/motions.toml"))?;
    let mut stages = pipeline["stages"].as_array().into_iter().flatten();
    let mut stage = stages.find(|stage| stage["use"] == "post-process").cloned().ok_or("no such stage")?;
    stage.as_object_mut().and_then(|settings| settings.shift_remove("use"));
    Ok(stage)
}

/// The same without `reject-unrelated`, and with `reject-unfounded` asking again: what there was against texts about nothing.
fn without_unrelated(mut stage: Value) -> Value {
    if let Some(steps) = stage["steps"].as_array_mut() {
        steps.retain(|step| step["use"] != "reject-unrelated");
        let unfounded = steps.iter_mut().filter(|step| step["use"] == "reject-unfounded");
        unfounded.filter_map(Value::as_object_mut).for_each(|step| {
            step.shift_remove("on_reject");
        });
    }
    stage
}

/// The settings of the stage on its page of the reference.
fn reference_example() -> Result<Value> {
    let registry = promptmill_stages::registry();
    Ok(toml::from_str(registry.stage("post-process").ok_or("no such stage")?.example)?)
}

/// The judgement that a stage with these settings lends to the model call in front of it.
fn judge(settings: &Value) -> Result<Arc<dyn Acceptance>> {
    let registry = promptmill_stages::registry();
    let kind = registry.stage("post-process").ok_or("no such stage")?;
    let stage = kind.build(settings.clone(), &registry).map_err(|mistake| mistake.message)?;
    let declared = stage.declares();
    Ok(Arc::clone(declared.iter().find_map(Declaration::judge).ok_or("a mistake in the settings")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_good_enough(name: &str, answers: &[answers::Answer]) {
        let settings = motions_pipeline().expect("a pipeline");
        let (all, before) = (judge(&settings).expect("compiles"), judge(&without_unrelated(settings)).expect("compiles"));
        let measured = garbage::measure(all.as_ref(), before.as_ref(), answers);
        let (caught, wrongly_rejected) = measured.shares();
        assert!(caught >= 0.99 && wrongly_rejected <= 0.005, "{}", measured.table(name));
        let (earlier, now) = measured.about_nothing();
        assert!(now >= 0.5 && now > earlier, "{}", measured.table(name));
        eprintln!("{}", measured.table(name));
    }

    #[test]
    fn garbage_is_caught_and_good_answers_are_kept() {
        assert_good_enough("generated motions", &generated(2_000));
        match std::env::var("PROMPTMILL_REAL_MOTIONS") {
            Ok(path) => assert_good_enough("real motions", &real(path.as_ref(), 4_000).expect("motions")),
            Err(_) => eprintln!("skipped on real motions: PROMPTMILL_REAL_MOTIONS is not set"),
        }
    }
}
