//! A sink that is a Delta table, read by two other implementations of Delta: `tests/delta.py` and, on the local disk, DuckDB
//! in `tests/duck.py`, which reads plain Parquet too.
//!
//! They run on the Python that `PROMPTMILL_TEST_PYTHON` names, or else `python3`. Where that has no `deltalake` or no DuckDB,
//! these tests say so and are skipped; with `PROMPTMILL_TEST_S3=required`, as in CI, they fail.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use promptmill_sim::SimConfig;
use serde_json::{Value, json};

use crate::bucket::Bucket;
use crate::changes::come_change_and_go;
use crate::support::{Project, Ran, root};

const ROWS: u64 = 120;

/// Whether there is a reader of Delta tables on this machine.
pub(crate) fn has_reader() -> bool {
    has("deltalake", "import deltalake, pyarrow", "deltalake pyarrow")
}

fn has_duckdb() -> bool {
    has("DuckDB", "import duckdb, duckdb_extension_delta", "duckdb==1.5.5 duckdb-extension-delta==1.5.5")
}

pub(crate) fn has(name: &str, import: &str, install: &str) -> bool {
    let ran = Command::new(python()).args(["-c", import]).stderr(Stdio::null()).status();
    let has = ran.is_ok_and(|status| status.success());
    if !has {
        assert!(std::env::var("PROMPTMILL_TEST_S3").is_err(), "`{}` has no {name}: pip install {install}", python());
        eprintln!("skipped: `{}` has no {name}; pip install {install} or set PROMPTMILL_TEST_PYTHON", python());
    }
    has
}

pub(crate) fn python() -> String {
    std::env::var("PROMPTMILL_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

fn project(config: SimConfig) -> Project {
    let project = Project::simulated(ROWS, config);
    let text = project.simulated_pipeline("concurrency = 2");
    let sink = "[sink]\nformat = \"delta\"\ncommit_every = \"800ms\"";
    project.write("pipeline.toml", &text.replace("[sink]", sink).replace("[\"year\"]", "[\"year\", \"vote_result\"]"));
    project
}

/// What the reader sees, whatever it does before.
fn read(project: &Project, deeds: &[&str]) -> Value {
    let is_in_bucket = project.environment.iter().any(|(name, _)| name.starts_with("AWS_"));
    let table = if is_in_bucket { "s3://lake/out/motions".to_owned() } else { project.path("out/motions").to_string_lossy().into_owned() };
    let output = Command::new(python())
        .arg(root().join("tests/delta.py"))
        .args([table.as_str(), "motion_id"])
        .args(deeds)
        .envs(project.environment.iter().cloned())
        .env("AWS_ALLOW_HTTP", "true")
        .output()
        .expect("Python runs");
    Ran::from(output).expect(0).json()
}

/// What DuckDB reads in the sink.
fn duck(project: &Project, kind: &str) -> Value {
    let sink = project.path("out/motions");
    let output = Command::new(python()).arg(root().join("tests/duck.py")).arg(kind).arg(sink).output().expect("Python runs");
    Ran::from(output).expect(0).json()
}

/// Rows as texts, whoever has read them.
fn rows(rows: &Value, cost: &str) -> BTreeSet<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let columns = ["motion_id", "year", "vote_result", "title", "summary", "llm_model", cost];
    rows.as_array().expect("rows").iter().map(|row| columns.map(|column| text(&row[column])).join(" | ")).collect()
}

/// What `promptmill sql` says.
#[track_caller]
fn rows_by_sql(project: &Project, settings: &[&str]) -> BTreeSet<String> {
    let query = "SELECT motion_id, year, vote_result, title, summary, llm_model, CAST(cost_usd AS VARCHAR) AS cost FROM results";
    let ran = project.run(&[&["sql", "pipeline.toml", query, "--output", "json"], settings].concat()).expect(0);
    rows(&ran.json(), "cost")
}

/// After a kill the table has the rows that `promptmill sql` has, but perhaps not yet those of the last commit.
#[track_caller]
fn assert_agrees_but_for_the_last_commit(project: &Project) {
    let (sql, delta) = (rows_by_sql(project, &[]), rows(&read(project, &[])["rows"], "cost_usd"));
    let wrong: Vec<_> = delta.difference(&sql).take(4).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The table says what `promptmill sql` says, and every version of it had every key once.
#[track_caller]
fn assert_agrees(project: &Project, settings: &[&str]) -> Value {
    let table = read(project, &[]);
    let (sql, delta) = (rows_by_sql(project, settings), rows(&table["rows"], "cost_usd"));
    let wrong: Vec<_> = sql.symmetric_difference(&delta).take(4).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    // A table in a bucket would need another extension.
    if project.path("out/motions").exists() && has_duckdb() {
        let table = duck(project, "delta");
        let duckdb = rows(&table["rows"], "cost_usd");
        let wrong: Vec<_> = sql.symmetric_difference(&duckdb).take(4).collect();
        assert!(wrong.is_empty() && count(&table) == sql.len() as u64, "DuckDB: {wrong:#?}");
    }
    for (version, keys) in table["versions"].as_array().expect("versions").iter().enumerate() {
        assert_eq!(keys[0], keys[1], "a key twice in version {version}");
    }
    table
}

fn count(table: &Value) -> u64 {
    table["rows"].as_array().expect("rows").len() as u64
}

fn last_transaction(project: &Project) -> std::path::PathBuf {
    let files = project.files();
    let last = files.iter().rfind(|name| name.contains("_delta_log/") && name.ends_with(".json")).expect("a log");
    project.path(last)
}

/// The records of commits that change the results, as far as they are kept one by one.
fn commits(project: &Project) -> usize {
    let is_commit = |name: &&String| name.contains("/commits/") && name.ends_with(".json");
    let changes = |name: &String| -> bool {
        let commit: Value = serde_json::from_slice(&std::fs::read(project.path(name)).expect("a commit")).expect("JSON");
        let is_result = |path: &Value| !["dead_letters/", "index/"].iter().any(|prefix| path.as_str().expect("a path").starts_with(prefix));
        !commit["added"].as_array().expect("files").is_empty() || commit["removed"].as_array().expect("paths").iter().any(is_result)
    };
    project.files().iter().filter(is_commit).filter(|name| changes(name)).count()
}

#[test]
fn every_commit_is_one_transaction_and_other_readers_see_the_same() {
    if !has_reader() {
        return;
    }
    let mut config = SimConfig::default();
    config.latency.base_ms = 100.0;
    let project = project(config);
    project.run_pipeline(&[]).expect(0);
    let table = assert_agrees(&project, &[]);
    assert_eq!((count(&table), &table["name"]), (ROWS, &json!("motions")));
    assert_eq!(table["partitions"], json!(["year", "vote_result"]));
    assert!(table["rows"].as_array().expect("rows").iter().any(|row| row["vote_result"].is_null()), "a null partition");
    let both = come_change_and_go(&project);
    project.run_pipeline(&both).expect(0);
    assert_eq!(count(&assert_agrees(&project, &both)), ROWS + 30);
    project.assert_money_agrees();
    project.run_pipeline(&[&both[..], &["--prune"]].concat()).expect(0);
    assert_eq!(count(&assert_agrees(&project, &both)), ROWS + 30 - 7);
    project.run(&["replay", "pipeline.toml", both[0], both[1]]).expect(0);
    project.run_pipeline(&[&both[..], &["--fresh"]].concat()).expect(0);
    let table = assert_agrees(&project, &both);
    let operations: Vec<&str> = table["operations"].as_array().expect("a history").iter().filter_map(Value::as_str).collect();
    assert_eq!(operations.len(), 1 + commits(&project), "{operations:?}");
    assert_eq!(operations[0], "CREATE TABLE");
    assert!(["WRITE", "UPDATE", "OPTIMIZE"].iter().all(|operation| operations.contains(operation)), "{operations:?}");
}

#[test]
fn a_table_that_a_crash_left_behind_catches_up_once() {
    if !has_reader() {
        return;
    }
    let mut config = SimConfig::default();
    config.latency.base_ms = 120.0;
    let project = project(config);
    for requests in [4, 9] {
        killed_after(&project, requests);
    }
    project.run_pipeline(&[]).expect(0);
    project.assert_settled_once();
    let before = assert_agrees(&project, &[]);
    assert_eq!(count(&before), ROWS);
    // As if the crash had come between the record and the transaction.
    std::fs::remove_file(last_transaction(&project)).expect("removed");
    assert_ne!(read(&project, &[])["operations"], before["operations"]);
    let asked = project.simulator().ledger().requests;
    project.run_pipeline(&[]).expect(0);
    project.run_pipeline(&[]).expect(0);
    assert_eq!(assert_agrees(&project, &[])["operations"], before["operations"], "once");
    assert_eq!(project.simulator().ledger().requests, asked);
    // And in front of the table's first transaction.
    std::fs::remove_dir_all(project.path("out/motions/_delta_log")).expect("removed");
    project.run_pipeline(&[]).expect(0);
    assert_eq!(assert_agrees(&project, &[])["operations"], json!(["CREATE TABLE"]));
}

/// Starts a run and kills it when so many requests have come: what it has committed lies in small files.
fn killed_after(project: &Project, requests: u64) {
    let mut command = project.command(&["run", "pipeline.toml", "--progress", "none"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
    project.wait_for_requests(requests);
    child.kill().expect("SIGKILL");
    child.wait().expect("is gone");
}

/// What others do to the table: afterwards it has the same rows in other files.
#[track_caller]
fn rearrange(project: &Project, deeds: &[&str]) {
    let before = read(project, &[]);
    let after = read(project, deeds);
    assert_eq!(rows(&before["rows"], "cost_usd"), rows(&after["rows"], "cost_usd"));
    let times = |table: &Value| table["operations"].as_array().expect("a history").iter().filter(|name| **name == "OPTIMIZE").count();
    assert!(times(&after) > times(&before), "nothing was rearranged: {}", after["operations"]);
}

#[test]
fn optimize_and_vacuum_are_harmless() {
    if !has_reader() {
        return;
    }
    let mut config = SimConfig::default();
    config.latency.base_ms = 120.0;
    let project = project(config);
    let text = std::fs::read_to_string(project.path("pipeline.toml")).expect("a pipeline");
    project.write("pipeline.toml", &text.replace("\"800ms\"", "\"100ms\""));
    killed_after(&project, 6);
    rearrange(&project, &["optimize", "vacuum"]);
    // Before the next run, who only looks finds the rows where they are now.
    assert_agrees_but_for_the_last_commit(&project);
    // Files of ours beside files of others.
    killed_after(&project, 12);
    assert_agrees_but_for_the_last_commit(&project);
    project.run_pipeline(&[]).expect(0);
    project.assert_settled_once();
    rearrange(&project, &["order", "vacuum"]);
    let asked = project.simulator().ledger().requests;
    project.run_pipeline(&[]).expect(0);
    assert_eq!((count(&assert_agrees(&project, &[])), project.simulator().ledger().requests), (ROWS, asked), "nothing to do");
    project.assert_money_agrees();
    rearrange(&project, &["order", "vacuum"]);
    let both = come_change_and_go(&project);
    project.run_pipeline(&[&both[..], &["--prune"]].concat()).expect(0);
    assert_eq!(count(&assert_agrees(&project, &both)), ROWS + 30 - 7);
    rearrange(&project, &["order", "vacuum"]);
    project.run_pipeline(&[&both[..], &["--fresh"]].concat()).expect(0);
    assert_eq!(count(&assert_agrees(&project, &both)), ROWS + 30 - 7);
}

#[test]
fn optimize_during_a_run_and_before_a_table_has_caught_up_is_harmless() {
    if !has_reader() {
        return;
    }
    let mut config = SimConfig::default();
    config.latency.base_ms = 120.0;
    let project = project(config);
    project.run_pipeline(&[]).expect(0);
    // Every row is replaced at the end of this run.
    let changed = ["--set", "stages.prompt-pack.prompt=Kort."];
    let asked = project.simulator().ledger().requests;
    let mut command = project.command(&["run", "pipeline.toml", "--progress", "none", changed[0], changed[1]]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
    project.wait_for_requests(asked + 2);
    rearrange(&project, &["order", "vacuum"]);
    assert!(child.wait().expect("ends").success());
    assert_eq!(count(&assert_agrees(&project, &changed)), ROWS);
    // The table is one record behind, and does not know that rows have left, when somebody rearranges it.
    let both = come_change_and_go(&project);
    let both = [&changed[..], &both[..]].concat();
    project.run_pipeline(&both).expect(0);
    let asked = project.simulator().ledger().requests;
    project.run_pipeline(&[&both[..], &["--prune"]].concat()).expect(0);
    std::fs::remove_file(last_transaction(&project)).expect("removed");
    assert_eq!(count(&read(&project, &[])), ROWS + 30);
    rearrange(&project, &["order"]);
    project.run_pipeline(&both).expect(0);
    assert_eq!(count(&assert_agrees(&project, &both)), ROWS + 30 - 7);
    assert_eq!(project.simulator().ledger().requests, asked);
}

#[test]
fn new_columns_come_in_and_what_does_not_fit_is_said_before_anything_is_sent() {
    if !has_reader() {
        return;
    }
    let project = project(SimConfig::instant());
    project.run_pipeline(&["--limit", "50"]).expect(0);
    let more = ["--set", "sink.columns=['motion_id', 'title', 'summary', 'body']"];
    project.run_pipeline(&more).expect(0);
    let table = assert_agrees(&project, &more);
    let columns: Vec<&str> = table["columns"].as_array().expect("columns").iter().filter_map(Value::as_str).collect();
    assert_eq!((count(&table), columns.last()), (ROWS, Some(&"body")), "{columns:?}");
    assert!(table["rows"].as_array().expect("rows").iter().any(|row| row["body"].is_null()), "older rows have none");
    // Other types and other partitions do not fit, unless everything is replaced.
    let sent = project.simulator().ledger().requests;
    let text = std::fs::read_to_string(project.path("pipeline.toml")).expect("a pipeline");
    let place = |stage: &str| text.find(&format!("[[stages]]\nuse = \"{stage}\"")).expect("a stage");
    project.write("typed.toml", &format!("{}{}", &text[..place("post-process")], &text[place("cost")..]));
    let typed = ["typed.toml", "--set", "stages.prompt-pack.answer={ summary = 'int' }"];
    let partitions = ["pipeline.toml", "--set", "sink.partition_by=['year']"];
    for (arguments, says) in [(typed, "`summary` is Utf8 in the results"), (partitions, "partitioned by [\"year\", \"vote_result\"]")] {
        let ran = project.run(&[&["run"], &arguments[..]].concat()).expect(2);
        assert!(ran.stderr.contains(says) && ran.stderr.contains("--fresh"), "{}", ran.stderr);
    }
    assert_eq!(project.simulator().ledger().requests, sent);
    let fresh = ["--set", "sink.partition_by=['party']"];
    project.run_pipeline(&[&fresh[..], &["--fresh"]].concat()).expect(0);
    let sql = [&fresh[..], &["--set", "sink.columns=['motion_id', 'title', 'summary', 'year', 'vote_result']"]].concat();
    let table = assert_agrees_on_keys(&project, &sql);
    assert_eq!((count(&table), &table["partitions"]), (ROWS, &json!(["party"])));
    assert_eq!(project.run_pipeline(&fresh).expect(0).json()["rows"]["answered"], 0);
}

/// The same keys and partitions; for parties, whose names have blanks and slashes.
#[track_caller]
fn assert_agrees_on_keys(project: &Project, settings: &[&str]) -> Value {
    let table = read(project, &[]);
    let query = "SELECT motion_id, party, summary FROM results";
    let ran = project.run(&[&["sql", "pipeline.toml", query, "--output", "json"], settings].concat()).expect(0);
    let rows = |rows: &Value| -> BTreeSet<String> {
        rows.as_array().expect("rows").iter().map(|row| format!("{} {} {}", row["motion_id"], row["party"], row["summary"])).collect()
    };
    assert_eq!(rows(&ran.json()), rows(&table["rows"]));
    table
}

#[test]
fn results_in_parquet_become_a_table_and_stay_one() {
    if !has_reader() {
        return;
    }
    let project = project(SimConfig::instant());
    let parquet = ["--set", "sink.format=parquet"];
    let party = ["--set", "sink.partition_by=['party']"];
    project.run_pipeline(&[&party[..], &parquet[..], &["--limit", "50"]].concat()).expect(0);
    let other = project.run_pipeline(&[]).expect(2);
    assert!(other.stderr.contains("partitioned by [\"party\"]"), "{}", other.stderr);
    project.run_pipeline(&party).expect(0);
    let table = assert_agrees_on_keys(&project, &party);
    assert_eq!((count(&table), &table["versions"][0]), (ROWS, &json!([50, 50])));
    rearrange(&project, &["order", "vacuum"]);
    let changed = [&party[..], &["--set", "stages.prompt-pack.prompt=Kort."]].concat();
    project.run_pipeline(&changed).expect(0);
    assert_eq!(count(&assert_agrees_on_keys(&project, &changed)), ROWS);
    let back = project.run_pipeline(&[&party[..], &parquet[..]].concat()).expect(2);
    assert!(back.stderr.contains("is a Delta table") && back.stderr.contains("format = \"delta\""), "{}", back.stderr);
}

#[test]
fn what_others_do_to_the_table_is_seen_before_anything_is_sent() {
    if !has_reader() {
        return;
    }
    let project = project(SimConfig::instant());
    project.run_pipeline(&["--limit", "50"]).expect(0);
    let sent = project.simulator().ledger().requests;
    let key = project.query("SELECT motion_id FROM results LIMIT 1")[0]["motion_id"].as_str().expect("a key").to_owned();
    let last = (read(&project, &[])["operations"].as_array().expect("a history").len() - 1).to_string();
    // Also if the rows that stay, or are there twice, are rearranged behind that.
    for (deeds, rows) in
        [(["delete", &key], 49), (["order", "order"], 49), (["restore", &last], 50), (["double", &key], 51), (["order", "order"], 51)]
    {
        assert_eq!(count(&read(&project, &deeds)), rows, "{deeds:?}");
        if rows != 50 {
            let ran = project.run_pipeline(&[]).expect(1);
            assert!(ran.stderr.contains("something else than promptmill has changed the Delta table"), "{}", ran.stderr);
            assert_eq!(project.simulator().ledger().requests, sent);
        }
    }
    // As the hint says.
    read(&project, &["restore", &last]);
    project.run_pipeline(&["--limit", "50"]).expect(0);
    assert_eq!((count(&read(&project, &[])), project.simulator().ledger().requests), (50, sent));
    // A table of somebody else's, at a sink of ours.
    std::fs::rename(project.path("out/motions/_delta_log"), project.path("log")).expect("moved");
    std::fs::create_dir_all(project.path("elsewhere/results")).expect("a folder");
    std::fs::rename(project.path("log"), project.path("elsewhere/results/_delta_log")).expect("moved");
    let ran = project.run_pipeline(&["--set", "sink.path=elsewhere/results"]).expect(1);
    assert!(ran.stderr.contains("that this pipeline has not written"), "{}", ran.stderr);
    assert_eq!(project.simulator().ledger().requests, sent);
}

#[test]
fn what_a_table_asks_of_its_writers_is_kept_or_refused_before_anything_is_sent() {
    if !has_reader() {
        return;
    }
    let project = project(SimConfig::instant());
    project.run_pipeline(&["--limit", "20"]).expect(0);
    let sent = project.simulator().ledger().requests;
    let refused = |name: &str| {
        read(&project, &["set", &format!("{name}=true")]);
        let ran = project.run_pipeline(&["--limit", "40"]).expect(1);
        assert!(ran.stderr.contains(name) && ran.stderr.contains("hint: take the property"), "{}", ran.stderr);
    };
    refused("delta.appendOnly");
    assert_eq!(project.simulator().ledger().requests, sent);
    read(&project, &["set", "delta.appendOnly=false"]);
    project.run_pipeline(&["--limit", "40"]).expect(0);
    assert_eq!(count(&assert_agrees(&project, &[])), 40);
    refused("delta.enableChangeDataFeed");
}

#[test]
fn data_files_of_a_table_that_are_gone_are_written_again_from_the_journal() {
    if !has_reader() {
        return;
    }
    let project = project(SimConfig::instant());
    project.run_pipeline(&["--limit", "60"]).expect(0);
    let sent = project.simulator().ledger().requests;
    let data = || {
        let files = project.files().into_iter();
        files
            .filter(|name| name.starts_with("out/motions/") && name.ends_with(".parquet") && !name.contains("_delta_log"))
            .collect::<Vec<_>>()
    };
    let before = rows_by_sql(&project, &[]);
    std::fs::remove_file(project.path(&data()[0])).expect("removed");
    let ran = project.run_pipeline(&["--limit", "60"]).expect(0);
    assert!(ran.stderr.contains("were not there any more"), "{}", ran.stderr);
    assert_eq!(rows(&read(&project, &[])["rows"], "cost_usd"), before);
    assert_eq!((rows_by_sql(&project, &[]), project.simulator().ledger().requests), (before, sent));
    data().iter().for_each(|file| std::fs::remove_file(project.path(file)).expect("removed"));
    let ran = project.run_pipeline(&["--limit", "60"]).expect(1);
    assert!(ran.stderr.contains("none is there") && ran.stderr.contains("hint: "), "{}", ran.stderr);
}

#[test]
fn a_table_in_a_bucket_survives_a_kill() {
    if !has_reader() {
        return;
    }
    let Some(bucket) = Bucket::start() else { return };
    let mut config = SimConfig::default();
    config.latency.base_ms = 120.0;
    let mut project = project(config);
    bucket.take(&mut project);
    let mut command = project.command(&["run", "pipeline.toml", "--progress", "none"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
    project.wait_for_requests(6);
    child.kill().expect("SIGKILL");
    child.wait().expect("is gone");
    project.run_pipeline(&[]).expect(0);
    rearrange(&project, &["order", "vacuum"]);
    let changed = ["--set", "stages.prompt-pack.prompt=Kort."];
    project.run_pipeline(&changed).expect(0);
    assert_eq!(count(&assert_agrees(&project, &changed)), ROWS);
    project.assert_money_agrees();
}

/// The plain sink needs no extension: a folder of Parquet with its partitions, as the guide says.
#[test]
fn duckdb_reads_the_plain_sink() {
    if !has_duckdb() {
        return;
    }
    let project = project(SimConfig::instant());
    project.write(
        "pipeline.toml",
        &std::fs::read_to_string(project.path("pipeline.toml")).expect("a pipeline").replace("\"delta\"", "\"parquet\""),
    );
    project.run_pipeline(&[]).expect(0);
    let table = duck(&project, "parquet");
    let query = "SELECT motion_id, year, summary, CAST(cost_usd AS VARCHAR) AS cost FROM results";
    let row = |row: &Value, cost: &str| format!("{} {} {} {}", row["motion_id"], row["year"], row["summary"], row[cost]);
    let ours: BTreeSet<String> = project.query(query).iter().map(|one| row(one, "cost")).collect();
    let theirs: BTreeSet<String> = table["rows"].as_array().expect("rows").iter().map(|one| row(one, "cost_usd")).collect();
    assert_eq!((count(&table), ours.len() as u64), (ROWS, ROWS));
    assert_eq!(ours, theirs);
}
