//! Columns whose values mean more than their type says: UUIDs, JSON, geometries, types of others.

use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, FixedSizeBinaryArray, Int8Array, RecordBatch, StringArray, StructArray};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use super::Job;
use crate::spy::{Reply, Spy};
use crate::support::Project;

const ONE: &str = "00000000-0000-0000-0000-000000000001";
const TWO: &str = "00000000-0000-0000-0000-000000000002";

fn meant(name: &str, data_type: DataType, extension: &str) -> Field {
    Field::new(name, data_type, true).with_metadata(HashMap::from([("ARROW:extension:name".to_owned(), extension.to_owned())]))
}

fn ids(values: &[u128]) -> ArrayRef {
    Arc::new(FixedSizeBinaryArray::try_from_iter(values.iter().map(|value| value.to_be_bytes())).expect("ids"))
}

/// Two rows of everything.
fn rows() -> RecordBatch {
    let texts = |values: [&str; 2]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
    let inside = meant("u", DataType::FixedSizeBinary(16), "arrow.uuid");
    let record = StructArray::from(vec![(Arc::new(inside.clone()), ids(&[1, 2]))]);
    let fields = vec![
        meant("id", DataType::FixedSizeBinary(16), "arrow.uuid"),
        Field::new("body", DataType::Utf8, true),
        meant("doc", DataType::Utf8, "arrow.json"),
        Field::new("r", DataType::Struct(vec![inside].into()), true),
        meant("flag", DataType::Int8, "arrow.bool8"),
        meant("place", DataType::Binary, "geoarrow.wkb"),
        meant("own", DataType::Utf8, "acme.name"),
    ];
    let columns: Vec<ArrayRef> = vec![
        ids(&[1, 2]),
        texts(["amber", "beryl"]),
        texts(["{\"a\":1}", "[]"]),
        Arc::new(record),
        Arc::new(Int8Array::from(vec![1, 0])),
        Arc::new(BinaryArray::from(vec![b"\x01\x01".as_slice(), b"\x01\x02"])),
        texts(["x", "y"]),
    ];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("rows")
}

fn write(project: &Project, name: &str, rows: &RecordBatch) {
    let file = File::create(project.path(name)).expect("a file");
    let mut writer = ArrowWriter::try_new(file, rows.schema(), None).expect("a writer");
    writer.write(rows).expect("rows");
    writer.close().expect("a footer");
}

fn server() -> Spy {
    Spy::scripted(|asked, _| Reply::says(asked, |text| if text.contains("beryl") { String::new() } else { format!("Answer to {text}") }))
}

fn files(project: &Project, folder: &str) -> Vec<PathBuf> {
    let files = project.files().into_iter().filter(|name| name.starts_with(folder) && name.ends_with(".parquet"));
    files.map(|name| project.path(&name)).collect()
}

/// What the Parquet types of every file of a folder say of a column, and Arrow's name for what it means.
#[track_caller]
fn said(project: &Project, folder: &str, column: &str) -> (String, String) {
    let mut all: Vec<(String, String)> = files(project, folder)
        .iter()
        .map(|path| {
            let read = ParquetRecordBatchReaderBuilder::try_new(File::open(path).expect("a file")).expect("a reader");
            let parquet = read.parquet_schema().root_schema().get_fields().iter().find(|field| field.name() == column).expect("a column");
            let name = read.schema().field_with_name(column).expect("a column").metadata().get("ARROW:extension:name").cloned();
            (format!("{parquet:?}"), name.unwrap_or_default())
        })
        .collect();
    all.dedup_by(|a, b| a.1 == b.1 && a.0.contains("Uuid") == b.0.contains("Uuid"));
    assert_eq!(all.len(), 1, "files of one folder look alike: {all:?}");
    all.remove(0)
}

#[test]
fn a_uuid_is_a_key_and_stays_one_and_so_does_what_other_columns_mean() {
    let spy = server();
    let mut job = Job::new(&spy.url);
    job.llm = "concurrency = 1\nattempts = 1".to_owned();
    job.item = "{{ id }} {{ r.u }} {{ doc }} {{ body }}".to_owned();
    let project = Project::new();
    write(&project, "rows.parquet", &rows());
    project.write("pipeline.toml", &job.toml());
    project.run(&["check", "pipeline.toml"]).expect(0);
    project.run_pipeline(&[]).expect(0);
    assert_eq!(
        project.query("SELECT id, summary FROM results"),
        [json!({"id": ONE, "summary": format!("Answer to {ONE} {ONE} {{\"a\":1}} amber")})]
    );
    assert_eq!(project.query("SELECT id, reason FROM dead_letters"), [json!({"id": TWO, "reason": "invalid"})]);
    let keys = project.query("SELECT DISTINCT unnest(keys) AS key FROM attempts ORDER BY 1");
    assert_eq!(keys, [json!({"key": ONE}), json!({"key": TWO})]);
    assert_eq!(project.number("SELECT count(*) FROM unassigned_costs"), 0.0);
    assert_eq!(project.run_pipeline(&[]).expect(0).json()["rows"]["unchanged"], 2);
    for (column, parquet, arrow) in [
        ("id", "Uuid", "arrow.uuid"),
        ("doc", "Json", "arrow.json"),
        ("r", "Uuid", ""),
        ("place", "Geometry", "geoarrow.wkb"),
        ("flag", "Integer", "arrow.bool8"),
        ("own", "String", "acme.name"),
    ] {
        let (said, name) = said(&project, "out/results", column);
        assert!(said.contains(parquet) && name == arrow, "{column}: {said} {name}");
    }
    assert!(said(&project, "out/_promptmill/job/dead_letters", "id").0.contains("Uuid"));
    // Rows of another run and the merge at its end change nothing of it.
    let more =
        RecordBatch::try_from_iter([("id", ids(&[3])), ("body", Arc::new(StringArray::from(vec!["coral"])) as ArrayRef)]).expect("a row");
    std::fs::create_dir(project.path("in")).expect("a folder");
    std::fs::rename(project.path("rows.parquet"), project.path("in/rows.parquet")).expect("moved");
    write(&project, "in/more.parquet", &more);
    project.write("pipeline.toml", &job.toml().replace("path = \"rows.parquet\"", "path = \"in\""));
    project.run_pipeline(&[]).expect(0);
    assert_eq!(project.query("SELECT id FROM results ORDER BY id")[1], json!({"id": "00000000-0000-0000-0000-000000000003"}));
    assert!(said(&project, "out/results", "id").0.contains("Uuid"), "a file that says nothing of its bytes goes along");
    // Out of SQL they come as what they are, and are compared with what people write.
    project.run(&["sql", "pipeline.toml", "SELECT id, doc FROM results", "--output", "parquet", "--to", "sql.parquet"]).expect(0);
    assert!(said(&project, "sql.parquet", "id").0.contains("Uuid") && said(&project, "sql.parquet", "doc").0.contains("Json"));
    assert_eq!(project.number(&format!("SELECT count(*) FROM results WHERE id = '{}'", ONE.to_uppercase())), 1.0);
    project.run(&["report", "pipeline.toml", "--to", "report.html"]).expect(0);
    let page = std::fs::read_to_string(project.path("report.html")).expect("a page");
    assert!(page.contains(ONE), "the report names rows by their keys");
    // A row that has left goes by its key too.
    std::fs::remove_file(project.path("in/more.parquet")).expect("removed");
    project.run_pipeline(&["--prune"]).expect(0);
    assert_eq!(project.query("SELECT id FROM results"), [json!({"id": ONE})]);
}

#[test]
fn a_filter_compares_uuids_with_texts_or_is_refused_at_its_place() {
    let spy = server();
    let project = Project::new();
    write(&project, "rows.parquet", &rows());
    let filtered = |predicate: &str| {
        Job::new(&spy.url).toml().replacen("[[stages]]", &format!("[[stages]]\nuse = \"filter\"\nwhere = \"{predicate}\"\n\n[[stages]]"), 1)
    };
    project.write("pipeline.toml", &filtered(&format!("id = '{ONE}'")));
    assert_eq!(project.run_pipeline(&[]).expect(0).json()["rows"]["filtered_out"], 1);
    for (predicate, words) in [("id = 'one'", "`one` is no UUID"), ("id = 1", "FixedSizeBinary(16) = Int64"), ("r > 5", "comparison")] {
        project.write("pipeline.toml", &filtered(predicate));
        let said = project.run(&["check", "pipeline.toml"]).expect(2).stderr;
        assert!(said.contains(words) && said.contains("where = ") && said.contains("hint: "), "{said}");
    }
}

#[test]
fn a_key_that_is_no_text_is_refused_with_its_place() {
    let spy = server();
    let project = Project::new();
    let mut columns: Vec<(&str, ArrayRef)> = vec![("bytes", ids(&[1])), ("body", Arc::new(StringArray::from(vec!["amber"])))];
    let rows = rows();
    columns.push(("r", rows.column_by_name("r").expect("a struct").slice(0, 1)));
    columns.push(("id", Arc::new(StringArray::from(vec!["a"]))));
    write(&project, "rows.parquet", &RecordBatch::try_from_iter(columns).expect("a row"));
    for (key, message) in [
        ("\"bytes\"", "the key column `bytes` is 16 bytes, which is no text"),
        ("\"r\"", "the key column `r` is a struct"),
        ("[\"id\", \"r\"]", "the key column `r` is a struct"),
        ("[\"id\", \"boby\"]", "did you mean `body`?"),
    ] {
        let mut job = Job::new(&spy.url);
        job.source = format!("path = \"rows.parquet\"\nkey = {key}");
        project.write("pipeline.toml", &job.toml());
        let said = project.run(&["check", "pipeline.toml"]).expect(2).stderr;
        assert!(said.contains(message) && said.contains("pipeline.toml:6:") && said.contains("hint: "), "{said}");
    }
    assert!(spy.asked().is_empty());
}

#[test]
fn a_delta_table_has_the_texts_of_uuids() {
    let spy = server();
    let mut job = Job::new(&spy.url);
    job.llm = "concurrency = 1\nattempts = 1".to_owned();
    job.sink = "format = \"delta\"\ncolumns = [\"id\", \"doc\", \"r\", \"summary\"]".to_owned();
    let project = Project::new();
    write(&project, "rows.parquet", &rows());
    project.write("pipeline.toml", &job.toml());
    project.run_pipeline(&[]).expect(0);
    assert_eq!(project.query("SELECT id, r FROM results"), [json!({"id": ONE, "r": {"u": ONE}})]);
    assert_eq!(project.run_pipeline(&[]).expect(0).json()["rows"]["unchanged"], 2);
    let log: Vec<String> = project.files().into_iter().filter(|name| name.contains("_delta_log/") && name.ends_with("0.json")).collect();
    let log = std::fs::read_to_string(project.path(&log[0])).expect("a log");
    let schema = log
        .lines()
        .find_map(|line| serde_json::from_str::<Value>(line).ok()?.pointer("/metaData/schemaString")?.as_str().map(str::to_owned));
    assert!(schema.is_some_and(|schema| schema.contains(r#""name":"id","type":"string""#)), "{log}");
    assert!(said(&project, "out/results", "id").0.contains("String"));
}

#[test]
fn files_of_before_that_say_it_to_arrow_alone_are_written_anew() {
    let spy = Spy::scripted(|asked, _| Reply::says(asked, |text| format!("Answer to {text}")));
    let mut job = Job::new(&spy.url);
    job.source = "path = \"rows.parquet\"\nkey = \"body\"".to_owned();
    let project = Project::new();
    write(&project, "rows.parquet", &rows());
    project.write("pipeline.toml", &job.toml());
    project.run_pipeline(&["--limit", "1"]).expect(0);
    // As a version wrote it whose files and records did not say so.
    let mut sizes = Vec::new();
    for path in files(&project, "out/results") {
        let read = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).expect("a file")).expect("a reader");
        let rows: Vec<RecordBatch> = read.build().expect("a reader").collect::<Result<_, _>>().expect("rows");
        let mut writer = ArrowWriter::try_new(Vec::new(), rows[0].schema(), None).expect("a writer");
        rows.iter().for_each(|rows| writer.write(rows).expect("rows"));
        let (before, bytes) = (std::fs::metadata(&path).expect("a size").len(), writer.into_inner().expect("a file"));
        sizes.push((format!("\"bytes\": {before}"), format!("\"bytes\": {}", bytes.len())));
        std::fs::write(&path, bytes).expect("a file");
    }
    assert!(!said(&project, "out/results", "id").0.contains("Uuid"));
    for name in project.files().iter().filter(|name| name.contains("/commits/")) {
        let path = project.path(name);
        let text = std::fs::read_to_string(&path).expect("a record");
        let text = sizes.iter().fold(text, |text, (before, now)| text.replace(before, now));
        std::fs::write(
            &path,
            text.replace("\"says_meanings\":true", "\"says_meanings\":false")
                .replace("\"says_meanings\": true", "\"says_meanings\": false"),
        )
        .expect("a record");
    }
    let asked = spy.asked().len();
    let summary = project.run_pipeline(&[]).expect(0).json();
    assert_eq!((&summary["rows"]["unchanged"], spy.asked().len() - asked), (&json!(1), 1), "{summary}");
    assert!(said(&project, "out/results", "id").0.contains("Uuid"));
    assert_eq!(project.number("SELECT count(*) FROM results"), 2.0);
}
