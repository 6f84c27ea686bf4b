//! Values that are stored stay what they are, whatever changes between two runs.
//!
//! The guide has a table of what may change; here it is walked row by row: a run, the change, a run, and then everybody
//! who reads results is asked, `promptmill sql`, `report` and `replay` as well as readers of the bare folder.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array, LargeStringArray, RecordBatch, StringArray, StringDictionaryBuilder};
use arrow::datatypes::{Int8Type, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use super::Job;
use crate::spy::{Reply, Spy};
use crate::support::{Project, Ran, root};

/// Columns of a source, by name.
pub(super) type Columns = Vec<(&'static str, ArrayRef)>;

/// Of each type that a change is about.
fn columns(rows: usize) -> Columns {
    let ids: Int64Array = (0..rows as i64).map(Some).collect();
    let bodies: StringArray = (0..rows).map(|row| Some(format!("body {row}"))).collect();
    let years: Int32Array = (0..rows as i32).map(|row| Some(2020 + row % 2)).collect();
    let refs: StringArray = (0..rows).map(|row| ["A-1", "0042", "12.5"].get(row % 4)).collect();
    let counts: Int32Array = (0..rows as i32).map(|row| (row != 1).then_some(row)).collect();
    let scores: Float64Array = (0..rows).map(|row| Some(row as f64 - 0.25)).collect();
    vec![
        ("id", Arc::new(ids)),
        ("body", Arc::new(bodies)),
        ("year", Arc::new(years)),
        ("ref", Arc::new(refs)),
        ("count", Arc::new(counts)),
        ("score", Arc::new(scores)),
    ]
}

fn with(mut columns: Columns, name: &'static str, array: impl Into<Option<ArrayRef>>) -> Columns {
    let place = columns.iter().position(|(known, _)| *known == name);
    match (place, array.into()) {
        (Some(place), Some(array)) => columns[place].1 = array,
        (None, Some(array)) => columns.push((name, array)),
        (Some(place), None) => drop(columns.remove(place)),
        (None, None) => {}
    }
    columns
}

pub(super) fn write(project: &Project, name: &str, columns: Columns) {
    let batch = RecordBatch::try_from_iter(columns).expect("a batch");
    let mut writer = ArrowWriter::try_new(File::create(project.path(name)).expect("a file"), batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("rows");
    writer.close().expect("a footer");
}

pub(super) fn texts(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

/// A pipeline in which more can change than a [`Job`] says.
struct Setup {
    job: Job,
    name: &'static str,
    results: &'static str,
    alias: &'static str,
}

impl Setup {
    fn toml(&self) -> String {
        let text = self.job.toml().replace("name = \"job\"", &format!("name = \"{}\"", self.name));
        let text = text.replace("out/results", self.results).replace("[models.m]", &format!("[models.{}]", self.alias));
        text.replace("model = \"m\"", &format!("model = \"{}\"", self.alias))
    }
}

/// What comes of a change.
enum Outcome {
    /// The second run asks about so many rows, and every value of before is there.
    Works(usize),
    /// The second run sends nothing and says these words.
    Refused(&'static [&'static str]),
}
use Outcome::{Refused, Works};

/// A row of the guide's table, and what it takes to try it.
struct Change {
    row: &'static str,
    before: fn(&mut Setup),
    then: fn(&mut Setup),
    source: Columns,
    outcome: Outcome,
}

fn change(row: &'static str, source: Columns, then: fn(&mut Setup), outcome: Outcome) -> Change {
    Change { row, before: |_| {}, then, source, outcome }
}

const ROWS: usize = 4;

#[expect(clippy::too_many_lines, reason = "a list")]
fn changes() -> Vec<Change> {
    let same = || columns(ROWS);
    let more = || columns(ROWS + 1);
    let partitioned: fn(&mut Setup) = |setup| setup.job.sink = "partition_by = [\"year\"]".to_owned();
    let delta: fn(&mut Setup) = |setup| setup.job.sink = "format = \"delta\"".to_owned();
    let long: ArrayRef = Arc::new(Int64Array::from(vec![Some(0), None, Some(2), Some(3), Some(1 << 40)]));
    let mut dictionary = StringDictionaryBuilder::<Int8Type>::new();
    ["A-1", "0042", "12.5", "x", "A-1"].iter().for_each(|text| dictionary.append_value(text));
    let mut turned = more();
    turned.reverse();
    vec![
        change("nothing", same(), |_| {}, Works(0)),
        change(
            "a column of the source comes",
            with(more(), "extra", texts(&[Some("a"), None, Some("c"), Some("d"), Some("e")])),
            |_| {},
            Works(1),
        ),
        Change {
            before: partitioned,
            ..change("a column of the source comes", with(more(), "extra", texts(&[Some("a"); ROWS + 1])), |_| {}, Works(1))
        },
        change("a column of the source goes", with(more(), "ref", None), |_| {}, Works(1)),
        change(
            "a column of the source gets another name",
            with(with(more(), "ref", None), "reference", texts(&[Some("A-1"); ROWS + 1])),
            |_| {},
            Works(1),
        ),
        change("the order of the source's columns", turned, |_| {}, Works(1)),
        change("a column's type, to a wider one", with(more(), "count", long.clone()), |_| {}, Works(1)),
        Change {
            before: partitioned,
            ..change(
                "a column's type, to a wider one",
                with(more(), "year", Arc::new(Int64Array::from(vec![2020; ROWS + 1])) as ArrayRef),
                |_| {},
                Works(1),
            )
        },
        change(
            "a column's type, to a narrower one",
            with(more(), "score", Arc::new(Int32Array::from(vec![1; ROWS + 1])) as ArrayRef),
            |_| {},
            Works(1),
        ),
        change(
            "how a text is held: as a dictionary, as a large text",
            with(more(), "ref", Arc::new(dictionary.finish()) as ArrayRef),
            |_| {},
            Works(1),
        ),
        change(
            "how a text is held: as a dictionary, as a large text",
            with(more(), "ref", Arc::new(LargeStringArray::from(vec!["L"; ROWS + 1])) as ArrayRef),
            |_| {},
            Works(1),
        ),
        change("a column's type, to any other", with(more(), "ref", long.clone()), |_| {}, Refused(&["`ref`", "Utf8", "Int64", "--fresh"])),
        change("a column's type, to any other", with(more(), "score", long.clone()), |_| {}, Refused(&["`score`", "sink.columns"])),
        Change {
            before: partitioned,
            ..change("a column's type, to any other", with(more(), "year", texts(&[Some("2020"); ROWS + 1])), |_| {}, Refused(&["`year`"]))
        },
        change(
            "the key's type, to any other",
            with(more(), "id", texts(&[Some("0"), Some("1"), Some("2"), Some("3"), Some("4")])),
            |_| {},
            Refused(&["key column `id`", "Int64", "Utf8"]),
        ),
        change(
            "`source.key`",
            with(more(), "uid", texts(&[Some("a"), Some("b"), Some("c"), Some("d"), Some("e")])),
            |setup| setup.job.source = setup.job.source.replace("\"id\"", "\"uid\""),
            Refused(&["`id`", "`uid`", "keep `key = \"id\"`"]),
        ),
        change("`sink.partition_by`", more(), partitioned, Works(1)),
        Change { before: partitioned, ..change("`sink.partition_by`", more(), |setup| setup.job.sink = String::new(), Works(1)) },
        Change {
            before: partitioned,
            ..change("`sink.partition_by`", more(), |setup| setup.job.sink = "partition_by = [\"ref\", \"year\"]".to_owned(), Works(1))
        },
        change("`sink.columns`", more(), |setup| setup.job.sink = "columns = [\"id\", \"summary\"]".to_owned(), Works(1)),
        Change {
            before: |setup| setup.job.sink = "columns = [\"id\", \"summary\"]".to_owned(),
            ..change("`sink.columns`", more(), |setup| setup.job.sink = String::new(), Works(1))
        },
        change(
            "`sink.prefix`",
            same(),
            |setup| setup.job.sink = "prefix = \"pm_\"".to_owned(),
            Refused(&["have the prefix ``", "keep `prefix = \"\"`"]),
        ),
        change("`sink.format`, to `delta`", more(), delta, Works(1)),
        Change {
            before: delta,
            ..change(
                "`sink.format`, back to `parquet`",
                more(),
                |setup| setup.job.sink = String::new(),
                Refused(&["Delta table", "format = \"delta\""]),
            )
        },
        Change {
            before: delta,
            ..change("a Delta table's partitions, or a column's type in it", with(more(), "count", long), |_| {}, Refused(&["`count`"]))
        },
        Change {
            before: delta,
            ..change(
                "a Delta table's partitions, or a column's type in it",
                more(),
                |setup| setup.job.sink.push_str("\npartition_by = [\"year\"]"),
                Refused(&["partitioned by", "keep `partition_by = []`"]),
            )
        },
        change("the answer's name", same(), |setup| setup.job.answer = "\"explanation\"".to_owned(), Works(ROWS)),
        change(
            "the answer's shape, by a field that comes",
            same(),
            |setup| setup.job.answer = "{ summary = \"string\", mood = \"string\" }".to_owned(),
            Works(ROWS),
        ),
        change(
            "the answer's shape, by a field of another type",
            same(),
            |setup| setup.job.answer = "{ summary = \"int\" }".to_owned(),
            Refused(&["`summary`", "Int64"]),
        ),
        change("a model's alias under `[models]`", same(), |setup| setup.alias = "other", Works(0)),
        change("`name`", same(), |setup| setup.name = "another", Refused(&["has not written", "state.path"])),
        change(
            "`state.path`",
            same(),
            |setup| setup.job.more = "[state]\npath = \"elsewhere\"".to_owned(),
            Refused(&["has not written", "state.path"]),
        ),
        change(
            "`sink.path`, in the same parent folder",
            same(),
            |setup| setup.results = "out/others",
            Refused(&["another sink", "state.path"]),
        ),
        change("`sink.path`, elsewhere", same(), |setup| setup.results = "elsewhere/results", Works(ROWS)),
    ]
}

/// The rows of the guide's table: what changes, and whether that is refused.
fn table_of_the_guide() -> BTreeMap<String, bool> {
    let guide = std::fs::read_to_string(root().join("docs/guide/durable.md")).expect("the guide");
    let (_, table) = guide.split_once("## What may change between two runs").expect("the table");
    let rows = table.split("\n## ").next().unwrap_or_default().lines().filter(|line| line.starts_with("| ")).skip(2);
    let cells = rows.map(|row| row.trim_matches('|').splitn(2, " | ").map(|cell| cell.trim().to_owned()).collect::<Vec<_>>());
    cells.map(|cells| (cells[0].clone(), cells[1].starts_with("refused"))).collect()
}

#[test]
fn the_guides_table_is_walked_as_a_whole() {
    let mut walked: BTreeMap<String, bool> = BTreeMap::new();
    for change in changes() {
        let is_refused = matches!(change.outcome, Refused(_));
        assert_eq!(*walked.entry(change.row.to_owned()).or_insert(is_refused), is_refused, "{}: two outcomes", change.row);
    }
    walked.remove("nothing");
    assert_eq!(table_of_the_guide(), walked);
}

#[test]
fn whatever_changes_between_two_runs_keeps_every_value_or_is_refused() {
    let spy = Spy::scripted(|asked, _| {
        let mut named: serde_json::Map<String, Value> = serde_json::Map::new();
        for (id, text) in asked.items() {
            let says = format!("Answer to {text}");
            let fields = asked.message().contains("mood");
            named.insert(id, if fields { serde_json::json!({"summary": says, "mood": "calm"}) } else { says.into() });
        }
        Reply::content(&Value::Object(named).to_string())
    });
    for (number, change) in changes().into_iter().enumerate() {
        let mut setup = Setup { job: Job::new(&spy.url), name: "job", results: "out/results", alias: "m" };
        (change.before)(&mut setup);
        let project = Project::new();
        write(&project, "rows.parquet", columns(ROWS));
        project.write("pipeline.toml", &setup.toml());
        project.run_pipeline(&[]).expect(0);
        let before = Results::of(&project, &setup);
        write(&project, "rows.parquet", change.source);
        (change.then)(&mut setup);
        project.write("pipeline.toml", &setup.toml());
        let asked = spy.asked().len();
        let ran = project.run_pipeline(&[]);
        let (asked, what) = (spy.asked().len() - asked, format!("{number}: {}: {}", change.row, ran.stderr));
        match change.outcome {
            Works(rows) => {
                assert_eq!((ran.code, asked), (0, rows), "{what}");
                let after = Results::of(&project, &setup);
                if !setup.results.starts_with("elsewhere") {
                    after.assert_keeps(&before, &what);
                }
                after.assert_readers_agree(&project, &setup, &what);
                // What has been done once is done, and nothing is asked twice.
                let names = project.files();
                project.run_pipeline(&[]).expect(0);
                let is_result = |name: &&String| name.starts_with(setup.results);
                assert!(names.iter().filter(is_result).eq(project.files().iter().filter(is_result)), "{what}");
                // Rows of a new generation have what the source has now.
                project.run(&["replay", "pipeline.toml"]).expect(0);
                let replayed = Results::of(&project, &setup);
                assert_eq!(replayed.column("summary"), after.column("summary"), "{what}");
                replayed.assert_readers_agree(&project, &setup, &what);
                project.run(&["report", "pipeline.toml", "--to", "report.html"]).expect(0);
            }
            Refused(words) => {
                assert_eq!((ran.code, asked), (2, 0), "{what}");
                assert!(ran.stderr.contains("hint: ") && words.iter().all(|word| ran.stderr.contains(word)), "{what}");
                let plan = project.run(&["plan", "pipeline.toml"]);
                // Whether a sink has files of others is looked at when a run takes hold of it.
                assert!(plan.code == 2 || words.contains(&"has not written"), "{what}: {}", plan.stdout);
                if !words.contains(&"state.path") {
                    let after = Results::of(&project, &setup);
                    after.assert_keeps(&before, &what);
                    before.assert_keeps(&after, &what);
                    after.assert_readers_agree(&project, &setup, &what);
                    // What is said to help helps.
                    let fresh = project.run_pipeline(&["--fresh"]);
                    // This server answers in words also where a number is asked for.
                    let expected = if change.row.starts_with("the answer") { 4 } else { 0 };
                    assert!(fresh.code == expected || words.contains(&"Delta table"), "{what}: {}", fresh.stderr);
                }
            }
        }
    }
}

/// The rows of results by key, each a map from column to text.
struct Results(BTreeMap<String, BTreeMap<String, String>>);

impl Results {
    fn of(project: &Project, setup: &Setup) -> Self {
        let rows = project.query("SELECT * FROM results");
        assert!(setup.results.starts_with("elsewhere") || !rows.is_empty());
        Self::by_key(&rows)
    }

    fn by_key(rows: &[Value]) -> Self {
        let row = |row: &Value| -> BTreeMap<String, String> {
            let cells = row.as_object().expect("a row").iter().filter(|(name, value)| !value.is_null() && !name.ends_with("_flags"));
            cells.filter(|(name, _)| *name != "cost_usd").map(|(name, value)| (name.clone(), text(value))).collect()
        };
        let rows: Vec<_> = rows.iter().map(row).collect();
        let count = rows.len();
        let keyed: BTreeMap<_, _> = rows.into_iter().map(|row| (row["id"].clone(), row)).collect();
        assert_eq!(keyed.len(), count, "a row twice");
        Self(keyed)
    }

    /// The values of a column by key.
    fn column(&self, name: &str) -> Vec<(&String, Option<&String>)> {
        self.0.iter().map(|(key, row)| (key, row.get(name))).collect()
    }

    /// Every value of `before` is there; what was asked anew has other answers.
    #[track_caller]
    fn assert_keeps(&self, before: &Self, what: &str) {
        let is_of_source =
            |name: &str| !["summary", "explanation", "mood"].contains(&name) && !name.starts_with("llm_") && !name.ends_with("_tokens");
        for (key, row) in &before.0 {
            let now = self.0.get(key).unwrap_or_else(|| panic!("{what}: row {key} has gone"));
            for (name, value) in row.iter().filter(|(name, _)| is_of_source(name)) {
                // A column that the source has no longer is null in rows that were asked anew.
                let is_gone = now.contains_key("explanation") || now.contains_key("mood");
                assert!(now.get(name) == Some(value) || is_gone, "{what}: {name} of {key} was {value}: {now:?}");
            }
        }
    }

    /// Everybody who reads the bare folder reads the same; all files look alike.
    #[track_caller]
    fn assert_readers_agree(&self, project: &Project, setup: &Setup, what: &str) {
        if project.path(setup.results).join("_delta_log").exists() {
            // Its log says which of the files count.
            return;
        }
        let folder = project.path(setup.results);
        let files: Vec<String> = project.files().into_iter().filter(|name| name.starts_with(&format!("{}/", setup.results))).collect();
        let schemas: Vec<SchemaRef> = files.iter().map(|name| schema(&project.path(name))).collect();
        assert!(schemas.windows(2).all(|two| two[0].fields() == two[1].fields()), "{what}: {schemas:?}");
        for (reader, rows) in read_by_others(&folder) {
            let Value::Array(rows) = rows else { panic!("{what}: {reader} reads {rows}") };
            assert_eq!(Self::by_key(&rows).0, self.0, "{what}: {reader}");
        }
    }
}

/// A value as a text that does not depend on who wrote the JSON.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), |number| number.to_string()),
        other => other.to_string(),
    }
}

fn schema(path: &Path) -> SchemaRef {
    Arc::clone(ParquetRecordBatchReaderBuilder::try_new(File::open(path).expect("a file")).expect("Parquet").schema())
}

/// What others read in the bare folder, those that are installed.
fn read_by_others(folder: &Path) -> BTreeMap<String, Value> {
    let python = std::env::var("PROMPTMILL_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let ran: Ran = match Command::new(python).arg(root().join("tests/folder.py")).arg(folder).output() {
        Ok(output) => output.into(),
        Err(_) => return BTreeMap::new(),
    };
    serde_json::from_value(ran.expect(0).json()).expect("rows of each reader")
}

#[test]
fn results_are_asked_about_when_the_source_has_gone() {
    let spy =
        Spy::scripted(|asked, _| Reply::says(asked, |text| if text == "beryl" { String::new() } else { format!("Answer to {text}") }));
    let mut job = Job::new(&spy.url);
    job.llm = "concurrency = 1\nattempts = 1".to_owned();
    let project = job.project(&["amber", "beryl"]);
    let ask = |query: &str| project.run(&["sql", "pipeline.toml", query, "--output", "json"]);
    let hide = || std::fs::rename(project.path("rows.parquet"), project.path("away")).expect("moved");
    hide();
    // Before there are results, their columns are those that a run would write: for that it takes the source.
    for query in ["SELECT * FROM results", "SELECT * FROM dead_letters", "SELECT * FROM source"] {
        assert!(ask(query).expect(2).stderr.contains("source `rows.parquet` does not exist"));
    }
    assert_eq!(ask("SELECT * FROM runs").expect(0).json(), serde_json::json!([]));
    assert_eq!(ask("SELECT * FROM attempts").expect(0).json(), serde_json::json!([]));
    std::fs::rename(project.path("away"), project.path("rows.parquet")).expect("moved");
    assert_eq!(project.query("SELECT id, summary FROM results"), Vec::<Value>::new());
    project.run_pipeline(&[]).expect(0);
    let queries = [
        ("SELECT id, summary FROM results", serde_json::json!([{"id": "k0", "summary": "Answer to amber"}])),
        ("SELECT id FROM dead_letters", serde_json::json!([{"id": "k1"}])),
        ("SELECT count(*) AS n FROM attempts", serde_json::json!([{"n": 2}])),
        ("SELECT count(*) AS n FROM runs", serde_json::json!([{"n": 1}])),
        ("SELECT count(*) AS n FROM results, dead_letters, attempts", serde_json::json!([{"n": 2}])),
    ];
    for is_gone in [false, true] {
        if is_gone {
            hide();
        }
        for (query, rows) in &queries {
            assert_eq!(ask(query).expect(0).json(), *rows, "{query}");
        }
    }
    let both = ask("SELECT count(*) FROM source JOIN results USING (id)").expect(2);
    assert!(both.stderr.contains("source `rows.parquet` does not exist") && both.stderr.contains("pipeline.toml:"), "{}", both.stderr);
    // A table that is nowhere is still one that is nowhere.
    assert!(ask("SELECT * FROM sauce").expect(1).stderr.contains("tables: source, results"));
}
