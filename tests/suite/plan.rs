//! What `plan` says beforehand is what `run` then does.

use promptmill_sim::SimConfig;

use crate::support::Project;

/// The two ends of the line that begins with `name`, the dollar signs left out.
fn range(plan: &str, name: &str) -> (f64, f64) {
    let line = plan.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}: {plan}"));
    let mut numbers = line.split([' ', ':', ',']).filter_map(|word| word.trim_start_matches('$').parse::<f64>().ok());
    (numbers.next().expect("a low end"), numbers.next().expect("a high end"))
}

#[test]
fn the_cost_lies_in_the_range_and_is_near_its_low_end_once_a_run_has_shown_the_lengths() {
    let project = Project::simulated(120, SimConfig::instant());
    let plan = project.run(&["plan", "pipeline.toml"]).expect(0).stdout;
    assert!(
        plan.contains("120 to ask (120 new, 0 changed)") && plan.contains("requests  12,") && plan.contains("not known before a first run"),
        "{plan}"
    );
    let (low, high) = range(&plan, "cost");
    assert!(0.0 < low && low < high, "{plan}");
    let first = project.run_pipeline(&["--limit", "40"]).expect(0).json();

    let plan = project.run(&["plan", "pipeline.toml"]).expect(0).stdout;
    assert!(plan.contains("80 to ask") && plan.contains("at the pace of the last run"), "{plan}");
    let (usual, _) = range(&plan, "cost");
    let rest = project.run_pipeline(&[]).expect(0).json();
    let (first, rest) = (first["cost_usd"].as_f64().expect("a cost"), rest["cost_usd"].as_f64().expect("a cost"));
    assert!(first + rest <= high, "{} of {high}", first + rest);
    assert!((usual - rest).abs() < rest * 0.25, "{usual} was said, {rest} was paid");
    // Where nothing is left to ask, nothing is said of its cost.
    let plan = project.run(&["plan", "pipeline.toml"]).expect(0).stdout;
    assert!(plan.contains("0 to ask") && !plan.contains("cost"), "{plan}");
}

#[test]
fn rows_are_told_apart_by_what_has_become_of_them() {
    let mut garbage = SimConfig::instant();
    garbage.faults.set("refusal", 1.0).expect("a fault");
    let project = Project::simulated(60, garbage);
    let llm = ["--set", "stages.llm.attempts=1"];
    project.run_pipeline(&[&llm[..], &["--limit", "20"]].concat()).expect(4);
    let plan = project.run(&["plan", "pipeline.toml"]).expect(0).stdout;
    assert!(plan.contains("20 settled already, 40 to ask (40 new, 0 changed)") && plan.contains("failed    20 rows"), "{plan}");
    let plan = project.run(&["plan", "pipeline.toml", "--set", "stages.prompt-pack.prompt=Anders."]).expect(0).stdout;
    assert!(plan.contains("0 settled already") && plan.contains("60 to ask (40 new, 20 changed)"), "{plan}");
}

#[test]
fn a_price_that_is_not_known_and_a_limit_that_is_are_said() {
    let project = Project::simulated(120, SimConfig::instant());
    let text = project.simulated_pipeline("").replace("price = { input = 0.15, cached_input = 0.015, output = 0.60 }", "");
    project.write("pipeline.toml", &text);
    let plan = project.run(&["plan", "pipeline.toml", "--set", "providers.simulator.rpm=1"]).expect(0).stdout;
    assert!(plan.contains("cost      not known") && plan.contains("price = {"), "{plan}");
    assert!(plan.contains("time      11m 00s at the least"), "{plan}");
}
