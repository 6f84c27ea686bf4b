//! States that earlier releases left behind (`tests/states`) open, ask nothing that is settled, and carry on.

use std::path::Path;

use crate::spy::{Reply, Spy};
use crate::support::{Project, root};

const SETTLED: &str = "SELECT id FROM results UNION ALL SELECT id FROM dead_letters ORDER BY id";

/// The state of this name in a folder of its own, and a server that answers whatever is still asked.
fn open(name: &str) -> (Project, Spy) {
    let spy = Spy::scripted(|asked, _| Reply::says(asked, |text| format!("Later answer to {text}")));
    let mut project = Project::new();
    copy(&root().join("tests/states").join(name), project.folder.path());
    project.environment.push(("URL", spy.url.clone()));
    (project, spy)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry")) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).expect("a copy");
        }
    }
}

/// Every key of the source but `k7`, which the filter leaves out.
#[track_caller]
fn assert_all_settled(project: &Project) {
    let keys: Vec<String> = project.query(SETTLED).iter().map(|row| row["id"].as_str().expect("a key").to_owned()).collect();
    assert_eq!(keys, ["k0", "k1", "k10", "k11", "k2", "k3", "k4", "k5", "k6", "k8", "k9"]);
}

#[test]
fn what_is_settled_stays_settled() {
    for (name, dead_letters) in [("plain", 2), ("typed", 0), ("delta", 2)] {
        let (project, spy) = open(name);
        let before = project.query("SELECT * FROM results ORDER BY id");
        let summary = project.run_pipeline(&[]).expect(0).json();
        assert_eq!(summary["rows"]["unchanged"], 11, "{name}: {summary}");
        assert_eq!(project.query("SELECT * FROM results ORDER BY id"), before, "{name}");
        assert_eq!(project.query("SELECT id FROM dead_letters").len(), dead_letters, "{name}");
        assert_all_settled(&project);
        project.assert_money_agrees();
        project.run(&["replay", "pipeline.toml"]).expect(0);
        assert_eq!(project.query("SELECT * FROM results ORDER BY id"), before, "{name}, replayed");
        project.run(&["report", "pipeline.toml"]).expect(0);
        assert!(spy.asked().is_empty(), "{name}: {:?}", spy.asked());
    }
}

#[test]
fn an_interrupted_run_and_one_that_a_budget_stopped_carry_on() {
    let (project, spy) = open("interrupted");
    let summary = project.run_pipeline(&[]).expect(0).json();
    assert_all_settled(&project);
    assert!(summary["rows"]["from_journal"].as_u64().expect("a count") >= 3, "{summary}");
    assert!(spy.asked().iter().map(|asked| asked.ids().len()).sum::<usize>() <= 8);

    let (project, spy) = open("budget");
    let spent = project.nano("attempts");
    assert_eq!(project.run_pipeline(&["--budget-usd", "0.0003"]).expect(3).json()["rows"]["answered"], 0, "the old costs count");
    assert!(spy.asked().is_empty());
    project.run_pipeline(&["--budget-usd", "1"]).expect(0);
    assert_all_settled(&project);
    assert!(project.assert_money_agrees() > spent);
}

#[test]
fn rows_that_a_failed_write_has_lost_are_brought_back_from_the_journal() {
    let (project, spy) = open("lost");
    let ran = project.run_pipeline(&[]).expect(0);
    assert_all_settled(&project);
    assert!(spy.asked().is_empty(), "its answer is in the journal: {:?}", spy.asked());
    assert!(ran.stderr.contains("k5") || ran.stderr.contains("1 row"), "it is said: {}", ran.stderr);
}

#[test]
fn a_file_of_results_that_was_removed_is_written_again_from_the_journal() {
    let (project, spy) = open("plain");
    let before = project.query("SELECT * FROM results ORDER BY id");
    let file = project.files().into_iter().find(|file| file.starts_with("out/results/") && file.ends_with(".parquet"));
    std::fs::remove_file(project.path(&file.expect("a file of results"))).expect("removed");
    let ran = project.run_pipeline(&[]).expect(0);
    assert!(ran.stderr.contains("not there any more"), "it is said: {}", ran.stderr);
    assert!(spy.asked().is_empty(), "its answers are in the journal: {:?}", spy.asked());
    assert_eq!(project.query("SELECT id, summary FROM results ORDER BY id").len(), before.len());
    assert_all_settled(&project);
}
