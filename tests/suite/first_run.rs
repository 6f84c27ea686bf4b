//! The first thing that anybody does: the shipped pipeline on the shipped sample.

use crate::support::{Project, root};

fn shipped() -> Project {
    let project = Project::new();
    let text = std::fs::read_to_string(root().join("pipelines/motions.toml")).expect("the pipeline");
    project.write("pipeline.toml", &text);
    std::fs::create_dir_all(project.path("pipelines/data")).expect("a folder");
    std::fs::copy(root().join("pipelines/data/motions-sample.parquet"), project.path("pipelines/data/motions-sample.parquet"))
        .expect("the sample");
    project
}

#[test]
fn the_shipped_pipeline_answers_the_shipped_sample() {
    let project = shipped();
    let summary = project.run_pipeline(&[]).expect(0).json();
    assert_eq!(summary["status"], "completed");
    let rows = &summary["rows"];
    assert_eq!(rows["source"], 200);
    assert_eq!(rows["remaining"], 0);
    assert_eq!(rows["filtered_out"], 2, "null and empty bodies: {rows}");
    assert!(rows["dead_letters"].as_u64().is_some_and(|count| count <= 2), "{rows}");
    project.assert_settled_once();
    assert_eq!(project.assert_money_agrees(), 0);
    // Hive partitions on disk, with nothing half-written beside them.
    let folders: Vec<String> = std::fs::read_dir(project.path("out/motions"))
        .expect("results")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    assert!(!folders.is_empty() && folders.iter().all(|name| name.starts_with("year=20")), "{folders:?}");
    // The answers are labelled as what they are, and are about their own motion.
    let honest =
        project.number("SELECT count(*) FROM results WHERE llm_model = 'builtin/extractive' AND summary IS NOT NULL AND cost_usd = 0");
    assert_eq!(honest as u64, rows["answered"].as_u64().expect("a count"));
}

#[test]
fn a_second_run_sends_nothing() {
    let project = shipped();
    let first = project.run_pipeline(&[]).expect(0).json();
    let attempts = project.number("SELECT count(*) FROM attempts");
    let second = project.run_pipeline(&[]).expect(0).json();
    assert_eq!(second["requests"]["sent"], 0);
    assert_eq!(second["rows"]["answered"], 0);
    assert_eq!(
        second["rows"]["unchanged"].as_u64(),
        Some(first["rows"]["answered"].as_u64().unwrap_or(0) + first["rows"]["dead_letters"].as_u64().unwrap_or(0))
    );
    assert_eq!(project.number("SELECT count(*) FROM attempts"), attempts);
    assert_eq!(project.number("SELECT count(*) FROM runs"), 2.0);
    project.assert_settled_once();
}

#[test]
fn the_summary_has_the_fields_of_the_contract_and_stands_alone_on_standard_output() {
    let project = shipped();
    let ran = project.run_pipeline(&["--limit", "10"]).expect(0);
    assert_eq!(ran.stdout.lines().count(), 1, "{}", ran.stdout);
    let summary = ran.json();
    for (path, is_right) in [
        ("/run_id", summary["run_id"].is_string()),
        ("/rows/from_journal", summary["rows"]["from_journal"].is_u64()),
        ("/rows/answered", summary["rows"]["answered"] == 10),
        ("/requests/rate_limited", summary["requests"]["rate_limited"] == 0),
        ("/tokens/cached_input", summary["tokens"]["cached_input"] == 0),
        ("/cost_usd", summary["cost_usd"] == 0.0),
        ("/budget_usd", summary["budget_usd"] == 5.0),
        ("/throughput/concurrency_peak", summary["throughput"]["concurrency_peak"].is_u64()),
        ("/rejections", summary["rejections"].is_object()),
        ("/results", summary["results"] == "out/motions"),
    ] {
        assert!(is_right, "{path}: {summary}");
    }
}

#[test]
fn readers_of_the_folder_find_what_sql_finds() {
    let project = shipped();
    project.run_pipeline(&[]).expect(0);
    let by_sql = project.number("SELECT count(*) FROM results");
    // The results are the source of a second pipeline, which asks something else about them.
    project.write(
        "reader.toml",
        r#"
[source]
path = "out/motions"
key = "motion_id"

[[stages]]
use = "prompt-pack"
item = "{{ year }}: {{ summary }}"
answer = "headline"

[[stages]]
use = "llm"
model = "builtin/extractive"

[sink]
path = "out/headlines"
# The first pipeline has given its columns the usual names.
prefix = "headline_"
"#,
    );
    let ran = project.run(&["sql", "reader.toml", "SELECT count(*) AS n, min(year) AS low FROM source", "--output", "json"]).expect(0);
    let row = &ran.json()[0];
    assert_eq!(row["n"].as_f64(), Some(by_sql));
    assert!(row["low"].as_i64().is_some_and(|year| year >= 2022), "partitions are numbers: {row}");
    project.run(&["run", "reader.toml", "--progress", "none"]).expect(0);
    let rows = project
        .run(&[
            "sql",
            "reader.toml",
            "SELECT count(*) AS n FROM results WHERE headline IS NOT NULL AND summary IS NOT NULL",
            "--output",
            "json",
        ])
        .expect(0);
    assert_eq!(rows.json()[0]["n"].as_f64(), Some(by_sql));
}
