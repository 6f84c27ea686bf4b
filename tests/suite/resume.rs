//! Runs that are stopped and carry on: by a budget, by signals, by SIGKILL.

use std::process::{Child, Stdio};

use promptmill_sim::SimConfig;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Project, Ran};

/// About 40 requests of 10 rows, four at a time, each 100 to 200 ms.
fn slow_project() -> Project {
    let mut config = SimConfig::default();
    config.latency.base_ms = 120.0;
    config.latency.per_output_token_ms = 0.02;
    let project = Project::simulated(400, config);
    project.write("pipeline.toml", &project.simulated_pipeline("concurrency = 4").replace("[sink]", "[sink]\ncommit_every = \"300ms\""));
    project
}

fn start(project: &Project) -> Child {
    let mut command = project.command(&["run", "pipeline.toml", "--output", "json", "--progress", "none"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts")
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_child(child);
    kill_process(pid, signal).expect("a signal");
}

#[test]
fn a_signal_stops_in_good_order_and_the_next_run_carries_on() {
    for (number, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let project = slow_project();
        let child = start(&project);
        project.wait_for_requests(12);
        signal(&child, number);
        let ran = Ran::from(child.wait_with_output().expect("ends")).expect(code);
        let summary = ran.json();
        assert_eq!(summary["status"], "interrupted");
        let (answered, remaining) =
            (summary["rows"]["answered"].as_u64().expect("a count"), summary["rows"]["remaining"].as_u64().expect("a count"));
        assert!(answered > 0 && remaining > 0 && answered + remaining == 400, "{summary}");
        project.assert_money_agrees();
        let rest = project.run_pipeline(&[]).expect(0).json();
        assert_eq!(rest["rows"]["unchanged"].as_u64(), Some(answered));
        assert_eq!(rest["rows"]["answered"].as_u64(), Some(remaining));
        project.assert_settled_once();
        assert_eq!(project.assert_money_agrees(), project.simulator().ledger().billed_nano_usd as i64);
        assert_eq!(project.simulator().ledger().items.paid_more_than_once, 0);
    }
}

#[test]
fn a_killed_run_carries_on_and_pays_at_most_what_was_in_flight_twice() {
    let project = slow_project();
    for requests in [6, 14, 25] {
        let mut child = start(&project);
        project.wait_for_requests(requests);
        child.kill().expect("SIGKILL");
        child.wait().expect("is gone");
    }
    let summary = project.run_pipeline(&[]).expect(0).json();
    assert_eq!(summary["rows"]["remaining"], 0);
    project.assert_settled_once();
    // Three kills with four requests of ten rows in flight.
    let twice = project.simulator().ledger().items.paid_more_than_once;
    assert!(twice <= 3 * 4 * 10, "{twice} rows paid twice");
    // What was in flight counts at its worst case, so the books never fall short of the bill.
    let spent = project.assert_money_agrees();
    let billed = project.simulator().ledger().billed_nano_usd as i64;
    assert!(spent >= billed, "{spent} < {billed}");
    assert!(project.number("SELECT count(*) FROM attempts WHERE status = 'lost'") <= 12.0);
}

#[test]
fn a_journalled_answer_is_used_and_not_paid_again() {
    let project = slow_project();
    // Nothing is committed before the end, so everything that was received is in the journal alone.
    project.write("pipeline.toml", &std::fs::read_to_string(project.path("pipeline.toml")).expect("the pipeline").replace("300ms", "1h"));
    let mut child = start(&project);
    project.wait_for_requests(20);
    child.kill().expect("SIGKILL");
    child.wait().expect("is gone");
    let summary = project.run_pipeline(&[]).expect(0).json();
    let from_journal = summary["rows"]["from_journal"].as_u64().expect("a count");
    assert!((100..=200).contains(&from_journal), "{summary}");
    assert_eq!(summary["rows"]["answered"], 400);
    assert!(project.simulator().ledger().items.paid_more_than_once <= 40);
    project.assert_settled_once();
    project.assert_money_agrees();
}

#[test]
fn the_budget_is_never_exceeded_and_a_higher_one_carries_on() {
    let project = slow_project();
    let whole = {
        let other = slow_project();
        other.run_pipeline(&[]).expect(0);
        other.simulator().ledger().billed_nano_usd as f64 / 1e9
    };
    let budget = format!("{:.6}", whole / 2.0);
    let summary = project.run_pipeline(&["--budget-usd", &budget]).expect(3).json();
    assert_eq!(summary["status"], "budget_exhausted");
    let billed = project.simulator().ledger().billed_nano_usd as f64 / 1e9;
    assert!(billed <= whole / 2.0, "{billed} of {budget}");
    assert!(billed > whole / 2.0 * 0.8, "stopped at {billed} of {budget}");
    assert!(summary["rows"]["answered"].as_u64().is_some_and(|count| count > 100), "{summary}");
    project.assert_money_agrees();
    // The same budget again has nothing left to spend; a higher one carries on.
    project.run_pipeline(&["--budget-usd", &budget]).expect(3);
    let rest = project.run_pipeline(&["--budget-usd", "5"]).expect(0).json();
    assert_eq!(rest["rows"]["remaining"], 0);
    project.assert_settled_once();
    assert_eq!(project.simulator().ledger().items.paid_more_than_once, 0);
}

#[test]
fn a_changed_question_is_asked_anew_and_replaces_the_old_answer() {
    let project = slow_project();
    project.run_pipeline(&["--limit", "40"]).expect(0);
    let changed = ["--limit", "40", "--set", "stages.prompt-pack.prompt=Leg elke motie uit in een zin."];
    let plan = project.run(&["plan", "pipeline.toml", changed[2], changed[3]]).expect(0).stdout;
    assert!(plan.contains("0 settled already"), "{plan}");
    let summary = project.run_pipeline(&changed).expect(0).json();
    assert_eq!((summary["rows"]["answered"].as_u64(), summary["rows"]["unchanged"].as_u64()), (Some(40), Some(0)));
    assert_eq!(project.number("SELECT count(*) FROM results"), 40.0);
    assert_eq!(project.number("SELECT count(DISTINCT motion_id) FROM results"), 40.0);
    // A timeout is no part of the question.
    let same = [&changed[..], &["--set", "stages.llm.timeout=9s"]].concat();
    assert_eq!(project.run_pipeline(&same).expect(0).json()["requests"]["sent"], 0);
}

#[test]
fn two_runs_at_once_are_kept_apart() {
    let project = slow_project();
    let mut first = start(&project);
    project.wait_for_requests(4);
    let second = project.run_pipeline(&[]).expect(1);
    assert!(second.stderr.contains("another run"), "{}", second.stderr);
    first.kill().expect("SIGKILL");
    first.wait().expect("is gone");
    project.run_pipeline(&[]).expect(0);
    project.assert_settled_once();
}

#[test]
fn pipelines_that_share_a_folder_never_touch_each_others_files() {
    let project = slow_project();
    project.run_pipeline(&["--limit", "20"]).expect(0);
    let files = || -> Vec<String> {
        let ran = project.run(&["sql", "pipeline.toml", "SELECT count(*) AS n FROM results", "--output", "json"]).expect(0);
        vec![ran.stdout]
    };
    let before = files();
    // Another name has another state, to which the files in the sink are strangers.
    let renamed = project.run_pipeline(&["--limit", "20", "--set", "name=other"]).expect(2);
    assert!(renamed.stderr.contains("has not written") && renamed.stderr.contains("hint:"), "{}", renamed.stderr);
    // Another sink beside it has the same state, which belongs to the first one.
    let moved = project.run_pipeline(&["--limit", "20", "--set", "sink.path=out/elsewhere"]).expect(2);
    assert!(moved.stderr.contains("belongs to another sink"), "{}", moved.stderr);
    assert!(!project.path("out/elsewhere").exists());
    assert_eq!(files(), before);
    project.run_pipeline(&[]).expect(0);
    project.assert_settled_once();
}
