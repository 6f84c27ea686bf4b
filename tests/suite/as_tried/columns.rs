//! Columns of the source whose names or types get in the way: each comes out as it went in, or is refused before anything
//! is sent.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Date64Array, DictionaryArray, FixedSizeBinaryArray, Float64Array, Int8Array,
    Int64Array, IntervalYearMonthArray, ListArray, ListBuilder, NullArray, StringArray, StringBuilder, StructArray, Time32SecondArray,
    TimestampSecondArray,
};
use arrow::datatypes::{DataType, Field};
use serde_json::{Value, json};

use super::Job;
use super::values::{Columns, texts, write};
use crate::spy::{Reply, Spy};
use crate::support::Project;

fn server() -> Spy {
    Spy::scripted(|asked, _| Reply::says(asked, |text| if text.contains("beryl") { String::new() } else { format!("Answer to {text}") }))
}

fn project(job: &Job, more: Columns) -> Project {
    let project = Project::new();
    let mut columns: Columns = vec![("id", texts(&[Some("a"), Some("b")])), ("body", texts(&[Some("amber"), Some("beryl")]))];
    columns.extend(more);
    write(&project, "rows.parquet", columns);
    project.write("pipeline.toml", &job.toml());
    project
}

/// `check` and `run` say so, and nothing is sent.
#[track_caller]
fn assert_refused(project: &Project, spy: &Spy, words: &[&str]) {
    for command in [&["check", "pipeline.toml"][..], &["run", "pipeline.toml", "--progress", "none"]] {
        let ran = project.run(command).expect(2);
        assert!(words.iter().all(|word| ran.stderr.contains(word)) && ran.stderr.contains("hint: "), "{words:?}: {}", ran.stderr);
    }
    assert_eq!(spy.asked().len(), 0);
}

#[test]
fn columns_that_are_called_like_ours_are_refused_or_kept_beside_ours() {
    let spy = server();
    let mut job = Job::new(&spy.url);
    job.llm = "concurrency = 1\nattempts = 1".to_owned();
    let theirs =
        || -> Columns { vec![("cost_usd", Arc::new(Float64Array::from(vec![1.5, 2.5]))), ("llm_model", texts(&[Some("human"), None]))] };
    assert_refused(&project(&job, theirs()), &spy, &["`cost_usd`", "`llm_model`", "prefix = \"pm_\""]);
    // DuckDB tells no upper from lower case.
    assert_refused(&project(&job, vec![("Input_Tokens", texts(&[None, None]))]), &spy, &["`Input_Tokens`"]);
    // To be left out they have to be left out in words.
    job.sink = "columns = [\"id\", \"summary\"]".to_owned();
    let without = project(&job, theirs());
    without.run_pipeline(&[]).expect(0);
    assert_eq!(without.query("SELECT llm_model, cost_usd < 1 AS ours FROM results"), [json!({"llm_model": "m", "ours": true})]);
    job.sink = "prefix = \"pm_\"".to_owned();
    let both = project(&job, theirs());
    both.run_pipeline(&[]).expect(0);
    let rows = both.query("SELECT id, cost_usd, llm_model, pm_llm_model, pm_cost_usd < 1 AS ours, pm_llm_attempts FROM results");
    let expected = json!({"id": "a", "cost_usd": 1.5, "llm_model": "human", "pm_llm_model": "m", "ours": true, "pm_llm_attempts": 1});
    assert_eq!(rows, [expected]);
    assert_eq!(both.query("SELECT id, pm_llm_attempts FROM dead_letters"), [json!({"id": "b", "pm_llm_attempts": 1})]);
    both.run(&["report", "pipeline.toml", "--to", "report.html"]).expect(0);
    let asked = spy.asked().len();
    both.run_pipeline(&[]).expect(0);
    let other = both.run_pipeline(&["--set", "sink.prefix=other_"]).expect(2);
    assert!(other.stderr.contains("keep `prefix = \"pm_\"`"), "{}", other.stderr);
    assert_eq!(spy.asked().len(), asked);
}

#[test]
fn a_key_that_is_called_like_a_column_of_dead_letters_is_refused_or_kept() {
    for name in ["reason", "detail", "last_text", "at", "Reason"] {
        let spy = server();
        let mut job = Job::new(&spy.url);
        job.llm = "concurrency = 1\nattempts = 1".to_owned();
        job.source = format!("path = \"rows.parquet\"\nkey = \"{name}\"");
        let keys = || -> Columns { vec![(name, texts(&[Some("k0"), Some("k1")]))] };
        assert_refused(&project(&job, keys()), &spy, &[&format!("`{name}`"), "dead letters", "prefix"]);
        job.sink = "prefix = \"pm_\"".to_owned();
        let kept = project(&job, keys());
        kept.run_pipeline(&[]).expect(0);
        let dead = kept.query(&format!("SELECT \"{name}\" AS key, pm_reason IS NOT NULL AS has_reason FROM dead_letters"));
        assert_eq!(dead, [json!({"key": "k1", "has_reason": true})]);
    }
}

#[test]
fn columns_with_two_underscores_come_out_as_they_went_in() {
    let spy = server();
    let project = project(
        &Job::new(&spy.url),
        vec![("__index_level_0__", Arc::new(Int64Array::from(vec![0, 2]))), ("__v", texts(&[Some("x"), None]))],
    );
    project.run_pipeline(&["--set", "stages.llm.attempts=1"]).expect(0);
    let rows = project.query("SELECT id, __index_level_0__ AS place, __v AS v FROM results");
    assert_eq!(rows, [json!({"id": "a", "place": 0, "v": "x"})]);
    let taken = self::project(&Job::new(&spy.url), vec![("__key", texts(&[None, None]))]);
    let spy = server();
    assert_refused(&taken, &spy, &["`__key`"]);
}

#[test]
fn partitions_and_keys_that_no_text_can_hold_are_refused_by_check() {
    let member = Arc::new(Field::new("a", DataType::Int64, true));
    let records = StructArray::from(vec![(member, Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef)]);
    let mut lists = ListBuilder::new(StringBuilder::new());
    (0..2).for_each(|_| {
        lists.values().append_value("x");
        lists.append(true);
    });
    let bytes = FixedSizeBinaryArray::try_from_iter([[1_u8; 16], [2; 16]].into_iter()).expect("bytes");
    let refused: [(&str, ArrayRef); 4] = [
        ("a struct", Arc::new(records)),
        ("a list of text", Arc::new(lists.finish())),
        ("Binary", Arc::new(BinaryArray::from(vec![&b"\xff"[..], b"ok"]))),
        ("16 bytes", Arc::new(bytes)),
    ];
    let spy = server();
    for (what, array) in &refused {
        let mut job = Job::new(&spy.url);
        job.sink = "partition_by = [\"v\"]".to_owned();
        assert_refused(&project(&job, vec![("v", Arc::clone(array))]), &spy, &["`v`", what, "partition"]);
        if *what != "Binary" {
            let mut job = Job::new(&spy.url);
            job.source = "path = \"rows.parquet\"\nkey = \"v\"".to_owned();
            assert_refused(&project(&job, vec![("v", Arc::clone(array))]), &spy, &["key column `v`", what]);
        }
    }
    let kept: [(ArrayRef, Value); 3] = [
        (Arc::new(BooleanArray::from(vec![true, false])), json!(true)),
        (Arc::new(Date32Array::from(vec![19_000, 19_001])), json!("2022-01-08")),
        (Arc::new(Float64Array::from(vec![0.1, -2.5])), json!(0.1)),
    ];
    for (array, value) in kept {
        let mut job = Job::new(&spy.url);
        (job.sink, job.llm) = ("partition_by = [\"v\"]".to_owned(), "concurrency = 1\nattempts = 1".to_owned());
        let project = project(&job, vec![("v", array)]);
        project.run_pipeline(&[]).expect(0);
        assert_eq!(project.query("SELECT v FROM results"), [json!({"v": value})]);
    }
}

#[test]
fn dictionaries_of_many_files_with_few_codes_come_out_as_they_went_in() {
    let spy = server();
    let mut job = Job::new(&spy.url);
    job.source = "path = \"in\"\nkey = \"id\"".to_owned();
    (job.rows, job.llm) = ("40".to_owned(), "concurrency = 4".to_owned());
    job.item = "{{ id }} {{ city }}".to_owned();
    let project = Project::new();
    std::fs::create_dir(project.path("in")).expect("a folder");
    // Each file has a hundred words of its own, and a code of eight bits for each.
    for file in 0..3 {
        let words = StringArray::from_iter_values((0..100).map(|word| format!("{file}-{word}")));
        let codes: Int8Array = (0..100_i32).map(|row| (row % 10 != 3).then_some(i8::try_from(row * 7 % 100).expect("a code"))).collect();
        let cities = DictionaryArray::new(codes, Arc::new(words));
        let item = Arc::new(Field::new("item", arrow::array::Array::data_type(&cities).clone(), true));
        let offsets = arrow::buffer::OffsetBuffer::from_lengths([1; 100]);
        let lists = ListArray::new(item, offsets, Arc::new(cities.clone()), None);
        let ids = Int64Array::from_iter_values((0..100).map(|row| file * 100 + row));
        write(
            &project,
            &format!("in/{file}.parquet"),
            vec![("id", Arc::new(ids)), ("city", Arc::new(cities)), ("cities", Arc::new(lists))],
        );
    }
    project.write("pipeline.toml", &job.toml());
    project.run_pipeline(&[]).expect(0);
    let all = project.query("SELECT count(*) AS n, count(city) AS cities, count(DISTINCT city) AS kinds FROM results");
    assert_eq!(all[0]["n"], 300);
    let wrong = "SELECT count(*) AS n FROM results r JOIN source s USING (id) \
                 WHERE (CAST(r.city AS VARCHAR) IS DISTINCT FROM CAST(s.city AS VARCHAR)) OR (r.cities[1] IS DISTINCT FROM s.cities[1])";
    assert_eq!(project.query(wrong), [json!({"n": 0})]);
    assert_eq!(all[0]["cities"], 270);
}

#[test]
fn a_column_that_knows_of_nothing_but_nulls_is_merged_and_may_get_a_type() {
    let spy = server();
    let project = Project::new();
    project.write("pipeline.toml", &Job::new(&spy.url).toml());
    let run = |ids: &[&str], remark: ArrayRef| {
        let ids: Vec<Option<&str>> = ids.iter().copied().map(Some).collect();
        write(&project, "rows.parquet", vec![("id", texts(&ids)), ("body", texts(&ids)), ("remark", remark)]);
        project.run_pipeline(&[]).expect(0);
    };
    run(&["a", "b"], Arc::new(NullArray::new(2)));
    run(&["a", "b", "c"], Arc::new(NullArray::new(3)));
    assert_eq!(project.files().iter().filter(|file| file.starts_with("out/results/")).count(), 1, "merged");
    run(&["a", "b", "c", "d"], texts(&[None, None, None, Some("now")]));
    run(&["e"], Arc::new(NullArray::new(1)));
    project.run(&["replay", "pipeline.toml"]).expect(0);
    let rows = project.query("SELECT id, remark FROM results WHERE remark IS NOT NULL OR id = 'e' ORDER BY id");
    assert_eq!(rows, [json!({"id": "d", "remark": "now"}), json!({"id": "e"})]);
    assert_eq!(spy.asked().len(), 5);
}

/// What Parquet has no type for, such as a date in milliseconds, would be a mere number to every reader of the results.
#[test]
fn dates_and_times_of_any_unit_are_dates_and_times_for_other_readers() {
    let spy = server();
    let mut job = Job::new(&spy.url);
    job.item = "{{ body }} {{ day }} {{ at }} {{ clock }}".to_owned();
    let days: [i64; 2] = [19_782, 0];
    let of_day = |unit: i64| days.map(|day| day * unit).to_vec();
    let project = project(
        &job,
        vec![
            ("day", Arc::new(Date64Array::from(of_day(86_400_000)))),
            ("at", Arc::new(TimestampSecondArray::from(of_day(86_400)))),
            ("clock", Arc::new(Time32SecondArray::from(vec![3_600, 61]))),
        ],
    );
    project.run_pipeline(&[]).expect(0);
    let asked = spy.asked()[0].body["messages"].to_string();
    assert!(asked.contains("amber 2024-02-29 2024-02-29T00:00:00 01:00:00"), "{asked}");
    let file = project.files().into_iter().find(|file| file.starts_with("out/results/")).expect("a file");
    let file = std::fs::File::open(project.path(&file)).expect("a file");
    let reader = parquet::file::reader::SerializedFileReader::new(file).expect("Parquet");
    let columns = parquet::file::reader::FileReader::metadata(&reader).file_metadata().schema_descr_ptr();
    for name in ["day", "at", "clock"] {
        let column = columns.columns().iter().find(|column| column.name() == name).expect("a column");
        assert!(column.logical_type_ref().is_some(), "{column:?}");
    }
}

#[test]
fn intervals_whose_months_would_be_lost_are_refused_or_left_out() {
    let spy = server();
    let mut job = Job::new(&spy.url);
    let interval = || -> Columns { vec![("term", Arc::new(IntervalYearMonthArray::from(vec![3, 12])))] };
    assert_refused(&project(&job, interval()), &spy, &["`term`", "months"]);
    job.sink = "columns = [\"id\", \"summary\"]".to_owned();
    let without = project(&job, interval());
    without.run_pipeline(&[]).expect(0);
    assert_eq!(without.query("SELECT id FROM results ORDER BY id").len(), 1);
}
