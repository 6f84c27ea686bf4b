//! Who may work on a state: processes that are frozen, numbers that are given again, locks that cannot be had.

use std::fs::File;
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::Job;
use crate::bucket::Bucket;
use crate::fault_points::shim::{self, Mode};
use crate::spy::{Reply, Spy};
use crate::support::{Project, Ran};

const BODIES: [&str; 6] = ["amber", "beryl", "coral", "diamond", "emerald", "flint"];

/// A server that takes its time, so that a run can be met at work.
fn slow_spy() -> Spy {
    Spy::scripted(|asked, _| Reply::says(asked, |text| format!("Answer to {text}")).after(Duration::from_millis(150)))
}

fn start(project: &Project) -> Child {
    let mut command = project.command(&["run", "pipeline.toml", "--output", "json", "--progress", "none"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts")
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("a signal");
}

fn wait_for(spy: &Spy, requests: usize) {
    let until = std::time::Instant::now() + Duration::from_secs(60);
    while spy.asked().len() < requests {
        assert!(std::time::Instant::now() < until, "the run does not get going");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Every row is there once, with its own answer.
fn assert_answered(project: &Project) {
    let rows = project.query("SELECT id, summary FROM results ORDER BY id");
    let expected: Vec<Value> =
        (0..).zip(BODIES).map(|(row, body)| json!({"id": format!("k{row}"), "summary": format!("Answer to {body}")})).collect();
    assert_eq!(rows, expected);
    project.assert_money_agrees();
}

#[test]
fn a_lane_board_that_somebody_keeps_locked_holds_nobody_up() {
    let spy = Spy::scripted(|asked, _| Reply::says(asked, |text| format!("Answer to {text}")));
    let project = Job::new(&spy.url).project(&BODIES[..3]);
    project.run_pipeline(&[]).expect(0);
    let board = std::fs::read_dir(project.path("lanes")).expect("boards").next().expect("a board").expect("an entry").path();
    let held = File::open(board).expect("a file");
    held.lock().expect("locked");
    super::write_rows(&project, "rows.parquet", &BODIES);
    project.run_pipeline(&[]).expect(0);
    drop(held);
    assert_answered(&project);
}

#[test]
fn boards_that_cannot_be_written_or_make_no_sense_hold_nobody_up() {
    let spy = Spy::scripted(|asked, _| Reply::says(asked, |text| format!("Answer to {text}")));
    let mut project = Job::new(&spy.url).project(&BODIES[..2]);
    project.run_pipeline(&[]).expect(0);
    let board = std::fs::read_dir(project.path("lanes")).expect("boards").next().expect("a board").expect("an entry").path();
    // A limit of nothing, in a board that looks like one of now.
    let now = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).expect("a clock").as_secs_f64();
    let memory = json!({"limit": 0.0, "pace": [1e-300, 0.0], "proven": [null, null]});
    std::fs::write(&board, json!({"holders": {}, "memory": memory, "updated": now}).to_string()).expect("written");
    super::write_rows(&project, "rows.parquet", &BODIES[..4]);
    project.run_pipeline(&[]).expect(0);
    // A home that is none.
    project.environment = vec![("PROMPTMILL_LANES", project.path("pipeline.toml").join("lanes").to_string_lossy().into_owned())];
    super::write_rows(&project, "rows.parquet", &BODIES);
    project.run_pipeline(&[]).expect(0);
    assert_answered(&project);
}

/// As on some network file systems: ENOLCK.
#[test]
fn where_there_are_no_file_locks_boards_are_done_without_and_a_state_is_refused() {
    if shim::shim().is_none() {
        return;
    }
    let spy = Spy::scripted(|asked, _| Reply::says(asked, |text| format!("Answer to {text}")));
    let project = Job::new(&spy.url).project(&BODIES);
    let without_locks = |folder: &str| {
        let mut command = project.command(&["run", "pipeline.toml", "--output", "json", "--progress", "none"]);
        shim::load(&mut command, &project.path(folder), Mode::NoLock, 0, &project.path("fault.log"));
        Ran::from(command.output().expect("runs"))
    };
    let ran = without_locks("out").expect(1);
    assert!(ran.stderr.contains("job/lock` could not be locked") && ran.stderr.contains("state.path"), "{}", ran.stderr);
    assert_eq!(spy.asked().len(), 0);
    without_locks("lanes").expect(0);
    assert_answered(&project);
}

#[test]
fn a_suspended_run_keeps_its_lock_and_whoever_comes_is_told_so() {
    let spy = slow_spy();
    let project = Job::new(&spy.url).project(&BODIES);
    let first = start(&project);
    wait_for(&spy, 2);
    signal(&first, Signal::STOP);
    let ran = project.run_pipeline(&[]).expect(1);
    let hint = format!("kill -CONT {}", first.id());
    assert!(ran.stderr.contains("another run works on this pipeline: run `"), "{}", ran.stderr);
    #[cfg(target_os = "linux")]
    assert!(ran.stderr.contains(&hint), "{}", ran.stderr);
    signal(&first, Signal::CONT);
    Ran::from(first.wait_with_output().expect("ends")).expect(0);
    assert_answered(&project);
    assert_eq!(spy.asked().len(), BODIES.len());
}

/// On S3 a lock that nobody changes is worth a lease, whoever seems to hold it: one that names a living process with the
/// number of its holder, one of a run that is suspended, one that cannot be read.
#[test]
fn an_unchanged_lock_in_a_bucket_runs_out_whoever_seems_to_hold_it() {
    let Some(bucket) = Bucket::start() else { return };
    let spy = slow_spy();
    let at = |name: &str| {
        let mut job = Job::new(&spy.url);
        job.sink = "commit_every = \"200ms\"".to_owned();
        let mut project = job.project(&BODIES);
        project.write("pipeline.toml", &job.toml().replace("\"out/results\"", &format!("\"s3://lake/{name}/results\"")));
        project.environment = bucket.environment();
        project
    };
    let line = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let boot = line("/proc/sys/kernel/random/boot_id");
    let reused = json!({
        "run_id": "r", "host": line("/proc/sys/kernel/hostname"), "boot": boot, "pid": std::process::id(), "since": "", "beat": 17, "released": false,
    });
    let (reused_by, torn, suspended) = (at("reused"), at("torn"), at("suspended"));
    bucket.put("reused/_promptmill/job/lock", reused.to_string().into_bytes());
    bucket.put("torn/_promptmill/job/lock", reused.to_string().into_bytes()[..40].to_vec());
    let sleeper = start(&suspended);
    wait_for(&spy, 2);
    signal(&sleeper, Signal::STOP);
    for heir in [&reused_by, &torn, &suspended].map(start) {
        let ran = Ran::from(heir.wait_with_output().expect("ends")).expect(0);
        assert_eq!(ran.json()["rows"]["remaining"], 0);
    }
    // It wakes, and can write nothing more, nor show what nobody has committed.
    let results = || bucket.list().into_iter().filter(|name| name.starts_with("suspended/results/")).collect::<Vec<_>>();
    let before = results();
    signal(&sleeper, Signal::CONT);
    let ran = Ran::from(sleeper.wait_with_output().expect("ends")).expect(1);
    assert!(ran.stderr.contains("another run has "), "{}", ran.stderr);
    assert_eq!(results(), before);
    for project in [&reused_by, &torn, &suspended] {
        assert_answered(project);
    }
}

#[test]
fn a_store_that_passes_over_conditions_is_refused_before_anything_is_sent() {
    let Some(bucket) = Bucket::start() else { return };
    let spy = slow_spy();
    let job = Job::new(&spy.url);
    let mut project = job.project(&BODIES);
    project.write("pipeline.toml", &job.toml().replace("\"out/results\"", "\"s3://lake/results\""));
    project.environment = bucket.environment();
    bucket.faults(&json!({"unconditional": true}));
    let ran = project.run_pipeline(&[]).expect(1);
    assert!(ran.stderr.contains("does not keep the condition `If-") && ran.stderr.contains("hint: "), "{}", ran.stderr);
    assert_eq!(spy.asked().len(), 0);
    bucket.heal();
    project.run_pipeline(&[]).expect(0);
}
