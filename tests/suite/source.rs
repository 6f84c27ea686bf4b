//! Sources of every kind, and keys that are none.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, LargeStringArray, RecordBatch, StringArray, StringViewArray};
use parquet::arrow::ArrowWriter;
use promptmill_sim::SimConfig;

use crate::support::Project;

const PIPELINE: &str = r#"
[source]
path = "SOURCE"
key = "id"

[[stages]]
use = "prompt-pack"
item = "{{ text }}"

[[stages]]
use = "llm"
model = "builtin/extractive"

[sink]
path = "out/answers"
"#;

const TEXT: &str = "verzoekt de regering om de wachttijden in de zorg te verkorten en de Kamer hierover voor de zomer te informeren.";

fn project(source: &str) -> Project {
    let project = Project::new();
    project.write("pipeline.toml", &PIPELINE.replace("SOURCE", source));
    project
}

fn write(project: &Project, name: &str, ids: ArrayRef) {
    let path = project.path(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let texts: StringArray = (0..ids.len()).map(|row| Some(format!("Motie {row}. {TEXT}"))).collect();
    let batch = RecordBatch::try_from_iter([("id", ids), ("text", Arc::new(texts) as ArrayRef)]).expect("a batch");
    let mut writer = ArrowWriter::try_new(std::fs::File::create(path).expect("a file"), batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("writes");
    writer.close().expect("closes");
}

fn ids(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

#[track_caller]
fn answered(project: &Project) -> u64 {
    project.run_pipeline(&[]).expect(0).json()["rows"]["answered"].as_u64().expect("a count")
}

#[test]
fn a_file_a_folder_a_glob_and_hive_partitions() {
    for (source, files, rows) in [
        ("in/a.parquet", vec!["in/a.parquet"], 2),
        ("in", vec!["in/a.parquet", "in/b.parquet", "in/sub/c.parquet"], 6),
        ("in/", vec!["in/a.parquet", "in/b.parquet"], 4),
        ("out/../in/a.parquet", vec!["in/a.parquet"], 2),
        ("./in", vec!["in/a b é.parquet"], 2),
        ("in/a*.parquet", vec!["in/a1.parquet", "in/a2.parquet", "in/b.parquet"], 4),
        ("in", vec!["in/year=2023/a.parquet", "in/year=2024/b.parquet"], 4),
    ] {
        let project = project(source);
        for file in &files {
            write(&project, file, ids(&[&format!("{file}-1"), &format!("{file}-2")]));
        }
        assert_eq!(answered(&project), rows, "{source} with {files:?}");
    }
}

#[test]
fn hive_partitions_are_columns() {
    let project = project("in");
    write(&project, "in/year=2023/party=A/x.parquet", ids(&["1"]));
    write(&project, "in/year=2024/party=B/x.parquet", ids(&["2"]));
    assert_eq!(answered(&project), 2);
    let rows = project.query("SELECT id, year + 1 AS next, party FROM results ORDER BY id");
    assert_eq!(rows[0]["next"], 2024, "{rows:?}");
    assert_eq!(rows[1]["party"], "B");
}

#[test]
fn keys_of_every_type_that_casts_to_text() {
    let arrays: [ArrayRef; 4] = [
        Arc::new(StringArray::from(vec!["a", "b"])),
        Arc::new(LargeStringArray::from(vec!["a", "b"])),
        Arc::new(StringViewArray::from(vec!["a", "b"])),
        Arc::new(Int64Array::from(vec![7, -8])),
    ];
    for array in arrays {
        let project = project("in.parquet");
        let kind = array.data_type().clone();
        write(&project, "in.parquet", array);
        assert_eq!(answered(&project), 2, "{kind}");
        assert_eq!(project.run_pipeline(&[]).expect(0).json()["rows"]["unchanged"], 2, "{kind}");
    }
}

#[test]
fn null_and_double_keys_are_named_before_anything_is_asked() {
    let project = project("in.parquet");
    write(&project, "in.parquet", Arc::new(StringArray::from(vec![Some("a"), None, Some("b")])));
    let ran = project.run_pipeline(&[]).expect(2);
    assert!(ran.stderr.contains("1 row has no value in the key column `id`"), "{}", ran.stderr);
    write(&project, "in.parquet", ids(&["a", "b", "a", "c", "b", "a"]));
    let ran = project.run_pipeline(&[]).expect(2);
    assert!(ran.stderr.contains("`a` (3 rows), `b` (2 rows)"), "{}", ran.stderr);
    assert!(ran.stderr.contains("pipeline.toml:4:"), "{}", ran.stderr);
    assert!(!project.path("out").exists(), "nothing is written");
}

#[test]
fn predicates_and_columns_are_pushed_into_the_scan() {
    let project = project("in.parquet");
    let text = std::fs::read_to_string(project.path("pipeline.toml")).expect("the pipeline");
    let filter = "[[stages]]\nuse = \"filter\"\nwhere = \"n > 5\"\n\n[[stages]]\nuse = \"prompt-pack\"";
    project.write(
        "pipeline.toml",
        &text
            .replacen("[[stages]]\nuse = \"prompt-pack\"", filter, 1)
            .replace("path = \"out/answers\"", "path = \"out/answers\"\ncolumns = [\"id\", \"answer\"]"),
    );
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", ids(&["a", "b"])),
        ("text", ids(&[TEXT, TEXT])),
        ("n", Arc::new(Int64Array::from(vec![3, 9]))),
        ("unused", ids(&["x", "y"])),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("a batch");
    let mut writer =
        ArrowWriter::try_new(std::fs::File::create(project.path("in.parquet")).expect("a file"), batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("writes");
    writer.close().expect("closes");
    let plan = project.run(&["plan", "pipeline.toml", "--explain"]).expect(0).stdout;
    let scan = plan.lines().find(|line| line.contains("DataSourceExec")).expect("a scan");
    assert!(scan.contains("predicate=n") && !scan.contains("unused"), "{plan}");
    assert!(!plan.contains("FilterExec"), "the scan filters by itself: {plan}");
    assert!(plan.contains("1 filtered out") && plan.contains("1 to ask"), "{plan}");
    assert_eq!(answered(&project), 1);
}

/// More partitions than files may be open at once: some are closed before their time, and nothing is lost or doubled.
#[test]
fn a_partition_for_every_row() {
    let project = Project::simulated(600, SimConfig::instant());
    let settings = ["--set", "sink.partition_by=['motion_id']", "--set", "sink.columns=['motion_id', 'year', 'summary']"];
    let summary = project.run_pipeline(&settings).expect(0).json();
    let files = project.files().iter().filter(|name| name.starts_with("out/motions/motion_id=")).count();
    assert_eq!(summary["rows"]["answered"].as_u64(), Some(files as u64), "a file a row");
    let query = "SELECT count(*) AS n, count(DISTINCT motion_id) AS keys FROM results";
    let ran = project.run(&[&["sql", "pipeline.toml", query, "--output", "json"], &settings[..]].concat()).expect(0).json();
    assert_eq!((ran[0]["n"].as_u64(), ran[0]["keys"].as_u64()), (Some(files as u64), Some(files as u64)));
}
