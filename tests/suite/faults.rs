//! A provider that fails in every way there is: nothing is lost, nothing is mixed up, the money agrees.

use promptmill_sim::{FAULTS, SimConfig};
use serde_json::json;

use crate::support::Project;

/// Answers that carry another item's marker than their own.
const FOREIGN: &str = "SELECT motion_id FROM results WHERE strpos(summary, '[[' || motion_id || ']]') = 0";

fn config(faults: &[(&str, f64)]) -> SimConfig {
    let mut config = SimConfig::instant();
    for (name, probability) in faults {
        config.faults.set(name, *probability).expect("a fault");
    }
    config.huge_body_mb = 20;
    config.slow_body_ms = 300;
    config
}

#[test]
fn every_fault_at_once() {
    let project = Project::simulated(600, config(&[("all", 0.02)]));
    project.write("pipeline.toml", &project.simulated_pipeline("concurrency = 16\ntimeout = \"2s\"\nattempts = 8"));
    let summary = project.run_pipeline(&[]).expect(0).json();
    assert_eq!(summary["rows"]["remaining"], 0, "{summary}");
    project.assert_settled_once();
    let spent = project.assert_money_agrees();
    let ledger = project.simulator().ledger();
    // Swapped answers carry their neighbours' markers; only a check of the content could see that.
    let foreign: Vec<_> = project
        .query(FOREIGN)
        .into_iter()
        .filter(|row| !ledger.swapped.iter().flatten().any(|marker| row["motion_id"].as_str() == Some(marker)))
        .collect();
    assert!(foreign.is_empty(), "answers on wrong keys: {foreign:?}");
    assert_eq!(spent, ledger.billed_nano_usd as i64, "attempts and the provider's bill differ");
    assert!(project.number("SELECT count(*) FROM results") > 570.0);
}

#[test]
fn each_fault_alone() {
    for fault in FAULTS.iter().filter(|fault| !["quota", "auth"].contains(&fault.name)) {
        let project = Project::simulated(60, config(&[(fault.name, 0.25)]));
        project.write("pipeline.toml", &project.simulated_pipeline("concurrency = 8\ntimeout = \"1s\"\nattempts = 10"));
        let summary = project.run_pipeline(&[]).expect(0).json();
        assert_eq!(summary["rows"]["remaining"], 0, "{}: {summary}", fault.name);
        project.assert_settled_once();
        project.assert_money_agrees();
        if fault.name != "swapped-ids" {
            assert_eq!(project.query(FOREIGN).len(), 0, "{}", fault.name);
        }
    }
}

#[test]
fn a_wrong_key_and_exhausted_credit_end_the_run_at_once() {
    for (fault, status, said) in [("auth", "auth", "turned model `simulated` away"), ("quota", "money-gone", "quota")] {
        let project = Project::simulated(200, config(&[(fault, 1.0)]));
        let ran = project.run_pipeline(&[]).expect(1);
        assert_eq!(ran.json()["status"], "failed");
        assert!(ran.stderr.contains(said) && ran.stderr.contains("hint:"), "{}", ran.stderr);
        assert!(ran.json()["requests"]["sent"].as_u64().is_some_and(|sent| sent <= 16), "{}", ran.stdout);
        let rows = project.query("SELECT DISTINCT status FROM attempts");
        assert_eq!(rows, [json!({"status": status})]);
        project.simulator().control(&json!({"faults": {fault: 0.0}})).expect("a patch");
        project.run_pipeline(&[]).expect(0);
        project.assert_settled_once();
    }
}

#[test]
fn a_poisonous_row_never_takes_its_neighbours_with_it() {
    // The context fits three items at the most: every larger pack is refused until it is small enough.
    let mut small = SimConfig::instant();
    small.context_tokens = Some(3_000);
    let project = Project::simulated(40, small);
    let summary = project.run_pipeline(&[]).expect(0).json();
    assert_eq!(summary["rows"]["dead_letters"], 0, "{summary}");
    project.assert_settled_once();
    assert!(project.number("SELECT count(*) FROM attempts WHERE status = 'context-too-long'") > 0.0);
}

#[test]
fn rows_that_get_no_answer_are_dead_letters_with_their_reason_and_last_text() {
    let project = Project::simulated(20, config(&[("english", 1.0)]));
    project.write("pipeline.toml", &format!("max_dead_letters = 5\n{}", project.simulated_pipeline("attempts = 2")));
    let ran = project.run_pipeline(&[]).expect(4);
    assert_eq!(ran.json()["status"], "completed");
    let dead = project.query("SELECT reason, last_text, llm_attempts, llm_model FROM dead_letters");
    assert_eq!(dead.len(), 20);
    assert!(dead.iter().all(|row| row["last_text"].is_string() && row["llm_attempts"] == 2 && row["llm_model"] == "simulated"), "{dead:?}");
    assert!(dead.iter().all(|row| ["english-words", "wrong-language"].contains(&row["reason"].as_str().unwrap_or_default())), "{dead:?}");
    project.assert_money_agrees();
    // They are not asked again by themselves, and are when told to.
    let again = project.run_pipeline(&[]).expect(4).json();
    assert_eq!(again["requests"]["sent"], 0);
    project.simulator().control(&json!({"faults": {"english": 0.0}})).expect("a patch");
    let retried = project.run_pipeline(&["--retry-dead-letters"]).expect(0).json();
    assert_eq!(retried["rows"]["answered"], 20);
    project.assert_settled_once();
    project.assert_money_agrees();
}

/// Asked alone the last time, a row has what was said to it, also if that was cut off before it became an answer.
#[test]
fn what_was_cut_off_is_kept_for_the_reader() {
    let project = Project::simulated(12, config(&[("truncated", 1.0)]));
    project.write("pipeline.toml", &project.simulated_pipeline("attempts = 2"));
    project.run_pipeline(&[]).expect(0);
    let dead = project.query("SELECT reason, last_text FROM dead_letters WHERE reason = 'truncated'");
    assert!(!dead.is_empty());
    assert!(dead.iter().all(|row| row["last_text"].as_str().is_some_and(|text| text.contains("r1"))), "{dead:?}");
    project.assert_settled_once();
    project.assert_money_agrees();
}

#[test]
fn a_fallback_model_answers_what_the_first_could_not() {
    let project = Project::simulated(30, config(&[("refusal", 1.0)]));
    project.write("pipeline.toml", &project.simulated_pipeline("fallback = [\"builtin/extractive\"]\nattempts = 2"));
    let summary = project.run_pipeline(&[]).expect(0).json();
    assert_eq!(summary["rows"]["remaining"], 0);
    let models = project.query("SELECT llm_model, count(*) AS n FROM results GROUP BY 1");
    assert_eq!(models.len(), 1, "{models:?}");
    assert_eq!(models[0]["llm_model"], "builtin/extractive");
    project.assert_settled_once();
    project.assert_money_agrees();
}

#[test]
fn limits_defer_rows_and_never_drop_them() {
    let mut limited = SimConfig::instant();
    limited.limits.rpm = Some(1_200);
    limited.limits.max_in_flight = Some(6);
    let project = Project::simulated(300, limited);
    let summary = project.run_pipeline(&["--set", "stages.prompt-pack.rows=5"]).expect(0).json();
    assert_eq!(summary["rows"]["answered"], 300, "{summary}");
    assert_eq!(project.number("SELECT max(llm_attempts) FROM results"), 1.0, "waiting for a limit is no attempt");
    project.assert_settled_once();
    project.assert_money_agrees();
}
