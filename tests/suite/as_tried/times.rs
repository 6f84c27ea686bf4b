//! Times compared with times that are finer, or farther than nanoseconds reach; and numbers that only look like times.

use std::fs::File;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampNanosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::{ARROW_SCHEMA_META_KEY, ArrowWriter, encode_arrow_schema};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use serde_json::json;

use crate::support::Project;

/// A pipeline over the folder `in`, with a filter.
fn set(project: &Project, filter: &str) {
    project.write(
        "pipeline.toml",
        &format!(
            "name = \"job\"\n[source]\npath = \"in\"\nkey = \"id\"\n[[stages]]\nuse = \"filter\"\nwhere = \"{filter}\"\n[[stages]]\n\
             use = \"prompt-pack\"\nprompt = \"Summarise.\"\nitem = \"Row {{{{ id }}}} is about a bridge.\"\nanswer = \"summary\"\n[[stages]]\n\
             use = \"llm\"\nmodel = \"builtin/extractive\"\n[sink]\npath = \"out/answers\"\n"
        ),
    );
}

/// Writes a file of these keys and one more column.
fn write(project: &Project, name: &str, keys: &[&str], column: (&str, ArrayRef), options: ArrowWriterOptions) {
    let columns: [(&str, ArrayRef); 2] = [("id", Arc::new(StringArray::from(keys.to_vec()))), column];
    let rows = RecordBatch::try_from_iter(columns).expect("rows");
    std::fs::create_dir_all(project.path("in")).expect("a folder");
    let file = File::create(project.path(&format!("in/{name}"))).expect("a file");
    let mut writer = ArrowWriter::try_new_with_options(file, rows.schema(), options).expect("a writer");
    writer.write(&rows).expect("written");
    writer.close().expect("closed");
}

#[track_caller]
fn assert_found(project: &Project, predicates: &[(&str, &str)]) {
    for (predicate, expected) in predicates {
        let found = project.query(&format!("SELECT string_agg(id, ' ' ORDER BY id) AS id FROM source WHERE {predicate}"));
        assert_eq!(found[0]["id"].as_str().unwrap_or_default(), *expected, "{predicate}");
    }
}

/// The keys that a run asks about.
fn asked(project: &Project, filter: &str) -> String {
    set(project, filter);
    project.run_pipeline(&["--fresh"]).expect(0);
    let found = project.query("SELECT string_agg(id, ' ' ORDER BY id) AS id FROM results");
    found[0]["id"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn what_is_finer_than_a_column_or_a_file_is_not_cut_to_it() {
    let project = Project::new();
    let plain = ArrowWriterOptions::new;
    let moments = TimestampMillisecondArray::from(vec![-2, 1_704_067_200_998, 1_704_067_200_999]);
    write(&project, "a.parquet", &["a", "b", "c"], ("at", Arc::new(moments)), plain());
    assert_eq!(asked(&project, "at < timestamp '2024-01-01 00:00:00.9985'"), "a b");
    assert_eq!(asked(&project, "at IN ('2024-01-01 00:00:00.9985', '2024-01-01 00:00:00.999')"), "c");
    assert_found(
        &project,
        &[
            ("at >= '2024-01-01 00:00:00.9985'", "c"),
            ("at = timestamp '2024-01-01 00:00:00.9985'", ""),
            ("at NOT IN (timestamp '2024-01-01 00:00:00.9985')", "a b c"),
            ("at BETWEEN '1969-12-31 23:59:59.9975' AND '2024-01-01 00:00:00.9985'", "a b"),
            ("at < '1969-12-31 23:59:59.9979999'", ""),
        ],
    );
    // The same files beside one in nanoseconds, which the column is in then: each is left out or read by what it has.
    let nanos = TimestampNanosecondArray::from(vec![1_704_067_200_998_500_001]);
    write(&project, "b.parquet", &["d"], ("at", Arc::new(nanos)), plain());
    let micros = TimestampMicrosecondArray::from(vec![1_704_067_200_998_500]);
    write(&project, "c.parquet", &["e"], ("at", Arc::new(micros)), plain());
    let early = TimestampMicrosecondArray::from(vec![-1]);
    write(&project, "d.parquet", &["f"], ("at", Arc::new(early)), plain());
    assert_found(
        &project,
        &[
            ("at < '2024-01-01 00:00:00.998500001'", "a b e f"),
            ("at >= '2024-01-01 00:00:00.998500001'", "c d"),
            ("at = '2024-01-01 00:00:00.998500001'", "d"),
            ("at <> timestamp '2024-01-01 00:00:00.998500001'", "a b c e f"),
            ("at NOT IN ('2024-01-01 00:00:00.998500001', '2024-01-01 00:00:00.998500002')", "a b c e f"),
            ("at IN ('2024-01-01 00:00:00.9985', '2024-01-01 00:00:00.998500001')", "d e"),
            ("at < '1969-12-31 23:59:59.999999001'", "a f"),
            ("at > '1969-12-31 23:59:59.999998999'", "b c d e f"),
        ],
    );
}

#[test]
fn times_of_every_year_are_reckoned_with() {
    let project = Project::new();
    // The first and the last day of a calendar, and one of now.
    let days = [-719_162, 2_932_896, 19_723];
    let moments: TimestampMicrosecondArray = days.iter().map(|day| Some(i64::from(*day) * 86_400_000_000)).collect();
    write(&project, "a.parquet", &["first", "last", "now"], ("at", Arc::new(moments)), ArrowWriterOptions::new());
    assert_eq!(asked(&project, "date_trunc('month', at) < now()"), "first now");
    assert_found(
        &project,
        &[
            ("date_trunc('year', at) = '9999-01-01'", "last"),
            ("date_trunc('week', at) <= date_bin(interval '7 days', at, timestamp '1970-01-05')", "first last now"),
            ("date_bin(interval '1 day', at) > now()", "last"),
            ("cast(cast(at AS varchar) AS timestamp) = at", "first last now"),
            ("cast(at AS date) < now()", "first now"),
            ("coalesce(at, now()) < now()", "first now"),
            ("at AT TIME ZONE 'Europe/Amsterdam' > now()", "last"),
        ],
    );
    // Months from an origin of its own are the one thing that is not reckoned, and that is said.
    let query = "SELECT date_bin(interval '1 month', at, timestamp '2001-02-03') FROM source";
    let said = project.run(&["sql", "pipeline.toml", query]).expect(1).stderr;
    assert!(said.contains("`date_bin` by months with an origin of its own"), "{said}");
    // What is no day is found by `check`, at its place.
    set(&project, "at > '2024-02-30'");
    let said = project.run(&["check", "pipeline.toml"]).expect(2).stderr;
    assert!(said.contains("2024-02-30") && said.contains("where = "), "{said}");
}

#[test]
fn a_number_that_an_old_schema_calls_a_time_is_a_number() {
    let project = Project::new();
    for (name, was) in [
        ("a.parquet", DataType::Timestamp(TimeUnit::Microsecond, None)),
        ("b.parquet", DataType::Time32(TimeUnit::Second)),
        ("c.parquet", DataType::Date32),
    ] {
        let schema = Schema::new(vec![Field::new("id", DataType::Utf8, true), Field::new("x", was, true)]);
        let entry = KeyValue::new(ARROW_SCHEMA_META_KEY.to_owned(), encode_arrow_schema(&schema));
        let writer = WriterProperties::builder().set_created_by("parquet-cpp-arrow version 26.0.1".to_owned());
        let options = ArrowWriterOptions::new().with_properties(writer.set_key_value_metadata(Some(vec![entry])).build());
        write(&project, name, &[name], ("x", Arc::new(Int32Array::from(vec![1]))), options.with_skip_arrow_metadata(true));
    }
    set(&project, "x = 1");
    assert_eq!(project.query("SELECT x FROM source"), [json!({"x": 1}), json!({"x": 1}), json!({"x": 1})]);
    assert_eq!(project.run_pipeline(&[]).expect(0).json()["rows"]["answered"], 3);
}

#[test]
fn a_day_that_no_calendar_has_is_no_key_and_the_column_is_named() {
    let project = Project::new();
    let days = Date32Array::from(vec![19_723, i32::MAX]);
    write(&project, "a.parquet", &["a", "b"], ("day", Arc::new(days)), ArrowWriterOptions::new());
    set(&project, "id <> ''");
    let toml = std::fs::read_to_string(project.path("pipeline.toml")).expect("a pipeline");
    project.write("pipeline.toml", &toml.replace("key = \"id\"", "key = \"day\""));
    for command in ["plan", "run"] {
        let said = project.run(&[command, "pipeline.toml"]).expect(1).stderr;
        assert!(said.contains("the key column `day` has a value that has no text") && said.contains("hint: "), "{said}");
    }
}
