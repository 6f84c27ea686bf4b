//! Everything in a bucket: the same job, the same promises, and the faults that only a store has.

use std::process::Stdio;

use promptmill_sim::SimConfig;
use promptmill_sim::motions::{Options, write_parquet};
use serde_json::json;

use crate::bucket::Bucket;
use crate::support::{Project, Ran};

/// About 30 requests of 10 rows, four at a time, each 100 to 200 ms.
fn project(bucket: &Bucket, rows: u64) -> Project {
    let mut config = SimConfig::default();
    config.latency.base_ms = 120.0;
    config.latency.per_output_token_ms = 0.02;
    let mut project = Project::simulated(rows, config);
    let text =
        project.simulated_pipeline("concurrency = 4").replace("[sink]", "[state]\nflush = \"500ms\"\n\n[sink]\ncommit_every = \"500ms\"");
    project.write("pipeline.toml", &text);
    bucket.take(&mut project);
    project
}

#[test]
fn a_job_from_bucket_to_bucket_survives_kills() {
    let Some(bucket) = Bucket::start() else { return };
    let project = project(&bucket, 300);
    for requests in [5, 12] {
        let mut command = project.command(&["run", "pipeline.toml", "--progress", "none"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
        project.wait_for_requests(requests);
        child.kill().expect("SIGKILL");
        child.wait().expect("is gone");
    }
    let summary = project.run_pipeline(&[]).expect(0).json();
    assert_eq!((summary["rows"]["remaining"].as_u64(), summary["results"].as_str()), (Some(0), Some("s3://lake/out/motions")));
    project.assert_settled_once();
    let spent = project.assert_money_agrees();
    assert!(spent >= project.simulator().ledger().billed_nano_usd as i64);
    // Four requests of ten in flight at each kill, and what four of them bring in half a second, twice.
    let twice = project.simulator().ledger().items.paid_more_than_once;
    assert!(twice <= 2 * (40 + 40 * 4), "{twice} rows paid twice");
    let before = project.simulator().ledger().requests;
    assert_eq!(project.run_pipeline(&[]).expect(0).json()["rows"]["unchanged"], 300);
    assert_eq!(project.simulator().ledger().requests, before, "nothing is asked twice");
    // Everything is where the contract says, and nothing else is left.
    for name in bucket.list() {
        let known = ["in/", "out/motions/year=", "out/_promptmill/motions/"].iter().any(|prefix| name.starts_with(prefix));
        assert!(known && !name.contains("staging/") && !name.ends_with(".log"), "{name}");
    }
    assert!(!project.path("out").exists(), "nothing on the local disk");
}

#[test]
fn a_state_on_the_local_disk_and_results_in_a_bucket_and_the_other_way_round() {
    let Some(bucket) = Bucket::start() else { return };
    for setting in ["state.path=state", "sink.path=elsewhere"] {
        let project = project(&bucket, 60);
        let name = format!("name={}", &setting[..5]);
        let settings = match setting.starts_with("state") {
            true => vec!["--set", setting, "--set", "sink.path=s3://lake/mixed", "--set", &name],
            false => vec!["--set", setting, "--set", "state.path=s3://lake/state", "--set", &name],
        };
        let summary = project.run_pipeline(&settings).expect(0).json();
        assert_eq!(summary["rows"]["answered"], 60, "{setting}");
        let again = project.run_pipeline(&settings).expect(0).json();
        assert_eq!((again["rows"]["unchanged"].as_u64(), again["requests"]["sent"].as_u64()), (Some(60), Some(0)), "{setting}");
    }
}

#[test]
fn sixteen_at_once_are_kept_apart() {
    let Some(bucket) = Bucket::start() else { return };
    let on_s3 = project(&bucket, 200);
    let local = project(&bucket, 200);
    local.write("pipeline.toml", &local.simulated_pipeline("concurrency = 4"));
    for project in [on_s3, local] {
        let start = |_| {
            let mut command = project.command(&["run", "pipeline.toml", "--progress", "none", "--output", "json"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts")
        };
        let children: Vec<_> = (0..16).map(start).collect();
        let ran: Vec<Ran> = children.into_iter().map(|child| Ran::from(child.wait_with_output().expect("ends"))).collect();
        let (worked, told): (Vec<&Ran>, Vec<&Ran>) = ran.iter().partition(|ran| ran.code == 0);
        // Whoever comes after the first has ended finds nothing to do.
        let answered: u64 = worked.iter().map(|ran| ran.json()["rows"]["answered"].as_u64().expect("a count")).sum();
        assert_eq!(answered, 200);
        for ran in told {
            assert_eq!(ran.code, 1, "{}", ran.stderr);
            assert!(ran.stderr.contains("another run works on this pipeline: run `") && ran.stderr.contains("hint:"), "{}", ran.stderr);
        }
        project.assert_settled_once();
        project.assert_money_agrees();
        assert_eq!(project.simulator().ledger().items.paid_more_than_once, 0);
    }
}

#[test]
fn a_store_in_trouble_is_sat_out() {
    let Some(bucket) = Bucket::start() else { return };
    for (seed, kinds) in [(1, vec!["500", "slow-down"]), (2, vec!["reset", "reset-after"])] {
        let project = project(&bucket, 120);
        let settings = ["--set", &format!("sink.path=s3://lake/trouble-{seed}/results")];
        bucket.faults(&json!({"share": 0.08, "kinds": kinds, "seed": seed}));
        let summary = project.run_pipeline(&settings).expect(0).json();
        bucket.heal();
        assert_eq!((summary["rows"]["answered"].as_u64(), summary["rows"]["remaining"].as_u64()), (Some(120), Some(0)));
        let counts = project.run(
            &[
                &["sql", "pipeline.toml", "SELECT count(*) AS n, count(DISTINCT motion_id) AS d FROM results", "--output", "json"],
                &settings[..],
            ]
            .concat(),
        );
        assert_eq!(counts.expect(0).json(), json!([{"n": 120, "d": 120}]));
        assert_eq!(project.simulator().ledger().items.paid_more_than_once, 0);
    }
}

#[test]
fn credentials_that_expire_in_the_middle_end_the_run_and_lose_nothing() {
    let Some(bucket) = Bucket::start() else { return };
    let project = project(&bucket, 300);
    let mut command = project.command(&["run", "pipeline.toml", "--progress", "none"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    project.wait_for_requests(10);
    bucket.faults(&json!({"expired": true}));
    let ran = Ran::from(child.wait_with_output().expect("ends")).expect(1);
    assert!(ran.stderr.contains("credentials have expired") && ran.stderr.contains("AWS_SESSION_TOKEN"), "{}", ran.stderr);
    bucket.heal();
    project.run_pipeline(&[]).expect(0);
    project.assert_settled_once();
    project.assert_money_agrees();
    let twice = project.simulator().ledger().items.paid_more_than_once;
    assert!(twice <= 40 + 40 * 4, "{twice} rows paid twice");
}

#[test]
fn what_is_missing_is_named() {
    let Some(bucket) = Bucket::start() else { return };
    let mut project = project(&bucket, 20);
    let says = |project: &Project, arguments: &[&str], code: i32, words: &[&str]| {
        let ran = project.run(arguments).expect(code);
        for word in words {
            assert!(ran.stderr.contains(word), "`{word}` is not in:\n{}", ran.stderr);
        }
    };
    bucket.faults(&json!({"denied": ["PUT"]}));
    says(
        &project,
        &["run", "pipeline.toml", "--progress", "none"],
        1,
        &["s3://lake/out/_promptmill/motions", "s3:PutObject", "bucket `lake`"],
    );
    bucket.faults(&json!({"denied": ["GET"]}));
    says(&project, &["check", "pipeline.toml"], 2, &["s3://lake/in", "s3:", "bucket `lake`"]);
    bucket.heal();
    says(&project, &["check", "pipeline.toml", "--set", "source.path=s3://puddle/in"], 2, &["no bucket `puddle`", "AWS_ENDPOINT_URL"]);
    says(
        &project,
        &["check", "pipeline.toml", "--set", "source.path=s3://lake/nothing"],
        2,
        &["s3://lake/nothing", "holds no Parquet file"],
    );
    project.environment.retain(|(name, _)| *name != "AWS_ENDPOINT_URL");
    project.environment.push(("AWS_ENDPOINT_URL", "http://storage.example.org:9000".to_owned()));
    says(&project, &["check", "pipeline.toml"], 2, &["in clear", "AWS_ALLOW_HTTP"]);
}

/// Each piece of a file is a request, so a small one is fetched whole: once for its columns, once for its rows; and once more for
/// its columns while there are no results, whose columns then are those that a run would write.
#[test]
fn small_files_are_one_request_each() {
    let Some(bucket) = Bucket::start() else { return };
    let project = project(&bucket, 5);
    const FILES: u64 = 60;
    for file in 0..FILES {
        let options = Options { seed: 11, from: 100 + file * 5, rows: 5, ..Options::default() };
        write_parquet(&project.path("part.parquet"), &options).expect("motions");
        bucket.put(&format!("many/part-{file}.parquet"), std::fs::read(project.path("part.parquet")).expect("a file"));
    }
    let before = bucket.requests("GET");
    let query = "SELECT count(DISTINCT motion_id) AS n, max(title) AS title FROM source WHERE vote_result IS NOT NULL OR body <> 'x'";
    let many = ["sql", "pipeline.toml", query, "--output", "json", "--set", "source.path=s3://lake/many"];
    let rows = project.run(&many).expect(0).json();
    assert!(rows[0]["n"].as_u64().is_some_and(|n| n > FILES * 4), "{rows}");
    // And what is asked of the state and the listing.
    let asked = bucket.requests("GET") - before;
    assert!(asked <= 3 * FILES + 10, "{asked} requests for {FILES} files");
}
