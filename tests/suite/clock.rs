//! A clock that jumps, by hours and years, between runs and in the middle of one: the job gets done, and nothing is lost,
//! there twice, or waited for.
//!
//! The clock is that of `libfaketime`, loaded into the binary. Where that is not installed, these tests say so and are
//! skipped; with `PROMPTMILL_TEST_S3=required`, as in CI, they fail. Time that only goes forward, by which waits are measured, is
//! left alone, as no administrator can set it either; and so are the ages of files.

use std::path::PathBuf;
use std::process::Stdio;

use promptmill_sim::SimConfig;

use crate::bucket::Bucket;
use crate::support::{Project, Ran};

const ROWS: u64 = 200;

fn library() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let found = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).find(|file| file.exists());
    if found.is_none() {
        assert!(std::env::var("PROMPTMILL_TEST_S3").is_err(), "no libfaketime: apt-get install faketime");
        eprintln!("skipped: no libfaketime; apt-get install faketime");
    }
    found
}

/// A project whose commands go by a clock of their own; `None` without a library for it.
fn project(bucket: Option<&Bucket>) -> Option<Project> {
    let library = library()?;
    let mut config = SimConfig::default();
    config.latency.base_ms = 120.0;
    let mut project = Project::simulated(ROWS, config);
    let text = project.simulated_pipeline("concurrency = 2").replace("[sink]", "[sink]\ncommit_every = \"400ms\"");
    project.write("pipeline.toml", &text);
    if let Some(bucket) = bucket {
        bucket.take(&mut project);
    }
    project.environment.extend([
        ("LD_PRELOAD", library.to_string_lossy().into_owned()),
        ("FAKETIME_TIMESTAMP_FILE", project.path("clock").to_string_lossy().into_owned()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("NO_FAKE_STAT", "1".to_owned()),
    ]);
    set(&project, "+0");
    Some(project)
}

/// Sets the clock so far off, such as `+9h`, in one step.
fn set(project: &Project, offset: &str) {
    project.write("clock.new", offset);
    std::fs::rename(project.path("clock.new"), project.path("clock")).expect("set");
}

/// Everything is there once, and the journal has seen a day at least between its first attempt and its last.
#[track_caller]
fn assert_whole(project: &Project) {
    project.assert_settled_once();
    project.assert_money_agrees();
    assert_eq!(project.number("SELECT count(*) - count(DISTINCT attempt_id) FROM attempts"), 0.0, "attempts of the same name");
    let hours = project
        .number("SELECT CAST(date_part('epoch', max(started_at)) - date_part('epoch', min(started_at)) AS BIGINT) / 3600 FROM attempts");
    assert!(hours >= 24.0, "the clock has not jumped: {hours} hours");
    // What is measured is not the clock's.
    assert!(project.number("SELECT max(latency_ms) FROM attempts") < 600_000.0);
}

#[test]
fn the_clock_jumps_between_runs() {
    let Some(project) = project(None) else { return };
    for (run, offset) in ["+0", "-30h", "+700d"].iter().enumerate() {
        set(&project, offset);
        let limit = (40 * (run + 1)).to_string();
        project.run_pipeline(&["--limit", &limit]).expect(0);
        assert_eq!(project.number("SELECT count(*) FROM results"), 40.0 * (run + 1) as f64);
    }
    // And once more behind a crash.
    set(&project, "-3000d");
    let mut command = project.command(&["run", "pipeline.toml", "--progress", "none"]);
    let before = project.simulator().ledger().requests;
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
    project.wait_for_requests(before + 4);
    child.kill().expect("SIGKILL");
    child.wait().expect("is gone");
    set(&project, "+9h");
    project.run_pipeline(&[]).expect(0);
    assert_whole(&project);
    let twice = project.simulator().ledger().items.paid_more_than_once;
    assert!(twice <= 20, "{twice} rows paid twice: more than were in flight at the kill");
    assert_eq!(project.number("SELECT count(*) - count(DISTINCT run_id) FROM runs"), 0.0, "runs of the same name");
    let sent = project.simulator().ledger().requests;
    set(&project, "-9000d");
    project.run_pipeline(&[]).expect(0);
    assert_eq!(project.simulator().ledger().requests, sent, "nothing is asked again");
}

/// Forward and back again while requests are in flight: none is given up, none is waited for.
fn jumps_in_the_middle(bucket: Option<&Bucket>) {
    let Some(project) = project(bucket) else { return };
    let mut command = project.command(&["run", "pipeline.toml", "--output", "json", "--progress", "none"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    for (requests, offset) in [(4, "+26h"), (8, "-700d"), (12, "+3h")] {
        project.wait_for_requests(requests);
        set(&project, offset);
    }
    let ran = Ran::from(child.wait_with_output().expect("ends")).expect(0);
    assert!(ran.json()["seconds"].as_f64().is_some_and(|seconds| (0.0..600.0).contains(&seconds)), "{}", ran.stdout);
    assert_whole(&project);
    assert_eq!(project.number("SELECT count(*) FROM attempts WHERE status = 'timeout'"), 0.0, "a request was given up");
    assert_eq!(project.simulator().ledger().items.paid_more_than_once, 0);
}

#[test]
fn the_clock_jumps_in_the_middle_of_a_run() {
    jumps_in_the_middle(None);
}

#[test]
fn the_clock_jumps_in_the_middle_of_a_run_in_a_bucket() {
    let Some(bucket) = Bucket::start() else { return };
    jumps_in_the_middle(Some(&bucket));
}
