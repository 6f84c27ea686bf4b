//! Sources that are no Parquet: CSV, JSON lines and Arrow files, in folders, globs and partitions, near and far.

use std::io::Write;
use std::process::Command;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use arrow::ipc::{CompressionType, MetadataVersion};
use serde_json::json;

use super::Job;
use crate::bucket::Bucket;
use crate::delta::{has, python};
use crate::spy::{Reply, Spy};
use crate::support::Project;

fn server() -> Spy {
    Spy::scripted(|asked, _| Reply::says(asked, |text| format!("Answer to {text}")))
}

/// A project over this source, without any file yet.
fn project(url: &str, source: &str) -> Project {
    let project = Project::new();
    let mut job = Job::new(url);
    job.source = source.to_owned();
    project.write("pipeline.toml", &job.toml());
    project
}

fn put(project: &Project, name: &str, bytes: impl AsRef<[u8]>) {
    let path = project.path(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(path, bytes).expect("a file");
}

fn packed(text: &str) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(text.as_bytes()).expect("packed");
    gzip.finish().expect("packed")
}

fn arrow_file(columns: Vec<(&str, ArrayRef)>, compression: Option<CompressionType>) -> Vec<u8> {
    let rows = RecordBatch::try_from_iter(columns).expect("rows");
    let options = IpcWriteOptions::try_new(8, false, MetadataVersion::V5).and_then(|options| options.try_with_compression(compression));
    let mut writer = FileWriter::try_new_with_options(Vec::new(), &rows.schema(), options.expect("options")).expect("a writer");
    writer.write(&rows).expect("rows");
    writer.into_inner().expect("a file")
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

/// What `check` says that is wrong.
#[track_caller]
fn refused(project: &Project) -> String {
    project.run(&["check", "pipeline.toml"]).expect(2).stderr
}

const CSV: &str = "\u{feff}id,body,zip,amount,open,since,at,\"a, b\"\r\n\
    a,\"two\nlines and \"\"quotes\"\"\",0012,1.50,true,2024-01-31,2024-01-31 10:00:00,x\r\n\
    b,beryl,1012,2,FALSE,,2024-02-29 10:00:00.5,\r\n";

#[test]
fn csv_files_have_the_types_that_lose_nothing() {
    let spy = server();
    let project = project(&spy.url, "path = \"in/*.csv\"\nkey = \"id\"");
    put(&project, "in/a.csv", CSV);
    put(&project, "in/notes.txt", "nothing to do with it");
    let rows = project.query("SELECT * FROM source ORDER BY id");
    assert_eq!(rows[0]["zip"], "0012", "zeros in front are part of a name");
    assert_eq!((&rows[0]["amount"], &rows[0]["open"], rows[1].get("a, b")), (&json!(1.5), &json!(true), None), "{rows:?}");
    assert_eq!(rows[0]["body"], "two\nlines and \"quotes\"");
    let types = project.query("SELECT DISTINCT arrow_typeof(since) AS since, arrow_typeof(at) AS at FROM source");
    assert_eq!(types, [json!({"since": "Date32", "at": "Timestamp(µs)"})]);
    let summary = project.run_pipeline(&[]).expect(0).json();
    assert_eq!(summary["rows"]["answered"], 2);
    let rows = project.query("SELECT id, zip, summary FROM results ORDER BY id");
    assert_eq!(rows[1], json!({"id": "b", "zip": "1012", "summary": "Answer to beryl"}));
    let said = project.run(&["check", "pipeline.toml"]).expect(0).stdout;
    assert!(said.contains("1 file, 2 rows"), "{said}");
    // One value of another kind, far behind the first thousand rows, makes a column of texts, and loses nothing.
    let amount = |row: usize| if row == 2_999 { "n/a".to_owned() } else { row.to_string() };
    let many: String = (0..3_000).map(|row| format!("k{row},body,{}\n", amount(row))).collect();
    put(&project, "in/a.csv", format!("id,body,amount\n{many}"));
    let rows = project.query("SELECT amount FROM source WHERE id IN ('k7', 'k2999') ORDER BY 1");
    assert_eq!(rows, [json!({"amount": "7"}), json!({"amount": "n/a"})]);
}

#[test]
fn files_of_a_folder_are_one_table_by_the_names_of_their_columns() {
    let spy = server();
    let mut project = project(&spy.url, "path = \"in\"\nkey = \"id\"");
    let files = [
        ("in/year=2023/a.csv", Vec::from("id,body,n\na,amber,1\n")),
        ("in/year=2023/b.csv.gz", packed("n,id,body\n2.5,b,beryl\n")),
        ("in/year=2024/c.tsv", Vec::from("body\tid\tmore\ncoral\tc\tx\n")),
        ("in/year=2024/none.csv", Vec::from("id,body\n")),
        ("in/_SUCCESS", Vec::new()),
        ("in/empty.csv", Vec::new()),
        ("in/old.csv.bak", Vec::from("id\nz\n")),
    ];
    files.iter().for_each(|(name, bytes)| put(&project, name, bytes));
    let expected = [
        json!({"id": "a", "body": "amber", "n": 1.0, "year": 2023}),
        json!({"id": "b", "body": "beryl", "n": 2.5, "year": 2023}),
        json!({"id": "c", "body": "coral", "more": "x", "year": 2024}),
    ];
    assert_eq!(project.query("SELECT * FROM source ORDER BY id"), expected);
    let said = project.run(&["plan", "pipeline.toml"]).expect(0).stdout;
    for part in ["4 files, 3 rows", "1 empty files (empty.csv)", "(old.csv.bak)"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(project.run_pipeline(&["--set", "sink.partition_by=['year']"]).expect(0).json()["rows"]["answered"], 3);
    let rows = project.query("SELECT id, n, more, year FROM results ORDER BY id");
    assert_eq!(rows[2], json!({"id": "c", "more": "x", "year": 2024}));
    let Some(bucket) = Bucket::start() else { return };
    project.environment = bucket.environment();
    files.iter().for_each(|(name, bytes)| bucket.put(name, bytes.clone()));
    let row = vec![("id", texts(&["d"])), ("body", texts(&["flint"]))];
    bucket.put("in/year=2024/d.arrow", arrow_file(row, Some(CompressionType::LZ4_FRAME)));
    let text = std::fs::read_to_string(project.path("pipeline.toml")).expect("a pipeline");
    for (path, format, count) in [("s3://lake/in", "csv", 3), ("s3://lake/in/**/*.arrow", "arrow", 1)] {
        project.write("far.toml", &text.replace("path = \"in\"\n", &format!("path = \"{path}\"\nformat = \"{format}\"\n")));
        let ran = project.run(&["sql", "far.toml", "SELECT count(*) AS n FROM source", "--output", "json"]).expect(0);
        assert_eq!(ran.json(), json!([{"n": count}]), "{path}");
    }
}

#[test]
fn a_value_that_is_not_what_its_column_is_said_to_be_is_an_error_with_its_place() {
    let spy = server();
    let types = "{ n = \"int\", price = \"decimal(6, 2)\", id = \"string\" }";
    let project = project(&spy.url, &format!("path = \"in\"\nkey = \"id\"\ntypes = {types}"));
    put(&project, "in/a.csv", "id,body,n,price\n007,amber,1,2.50\n8,beryl,,1\n");
    let rows = project.query("SELECT id, n, CAST(price AS VARCHAR) AS price FROM source ORDER BY id");
    assert_eq!(rows, [json!({"id": "007", "n": 1, "price": "2.50"}), json!({"id": "8", "price": "1.00"})]);
    for (line, words) in [
        ("c,coral,many,1", "has in row 3 a `n` that is no Int64: `many`"),
        ("c,coral,1,1.005", "has in row 3 a `price` that is no Decimal128(6, 2): `1.005`"),
        ("c,coral,1", "line 4"),
        ("c,coral,99999999999999999999,1", "is no Int64"),
    ] {
        put(&project, "in/a.csv", format!("id,body,n,price\n007,amber,1,2.50\n8,beryl,,1\n{line}\n"));
        let ran = project.run_pipeline(&[]);
        assert!(ran.code != 0 && ran.stderr.contains("in/a.csv") && ran.stderr.contains(words), "{words}: {}", ran.stderr);
    }
    put(&project, "in/a.csv", b"id,body,n,price\n1,caf\xe9,1,1\n");
    let said = refused(&project);
    assert!(said.contains("invalid UTF-8") && said.contains("line 2"), "{said}");
    assert!(spy.asked().is_empty());
    let text = std::fs::read_to_string(project.path("pipeline.toml")).expect("a pipeline");
    put(&project, "in/a.csv", "id,body,n,price\n1,amber,1,1\n");
    for (other, words) in [("{ m = \"int\" }", "there is no column `m`"), ("{ n = \"number\" }", "`number` is no type of a CSV column")] {
        project.write("other.toml", &text.replace(types, other));
        let said = project.run(&["check", "other.toml"]).expect(2).stderr;
        assert!(said.contains(words) && said.contains("other.toml:7:"), "{said}");
    }
}

#[test]
fn settings_of_csv_are_refused_where_nothing_is_csv() {
    let spy = server();
    let first = project(&spy.url, "path = \"in\"\nkey = \"id\"\ndelimiter = \";\"");
    put(&first, "in/a.jsonl", "{\"id\":\"a\",\"body\":\"amber\"}\n");
    let said = refused(&first);
    assert!(
        said.contains("`delimiter` says how CSV files are read, and these are JSON files") && said.contains("pipeline.toml:7:"),
        "{said}"
    );
    let second = project(&spy.url, "path = \"in\"\nkey = \"id\"\nformat = \"csv\"\ndelimiter = \"||\"");
    put(&second, "in/a.csv", "id;body\na;amber\n");
    assert!(refused(&second).contains("`||` is not one ASCII character"));
    let third = project(&spy.url, "path = \"in\"\nkey = \"id\"");
    put(&third, "in/a.csv", "id;body\na;amber\n");
    let said = refused(&third);
    assert!(said.contains("there is no column `id`") && said.contains("known columns: id;body"), "{said}");
}

#[test]
fn json_lines_keep_every_value_and_nested_ones_too() {
    let spy = server();
    let mut job = Job::new(&spy.url);
    job.source = "path = \"in\"\nkey = \"id\"".to_owned();
    job.item = "{{ author.name }}: {{ tags | join('/') }}".to_owned();
    let mut project = Project::new();
    project.write("pipeline.toml", &job.toml());
    put(
        &project,
        "in/a.jsonl",
        "{\"id\":\"a\",\"author\":{\"name\":\"Ada\"},\"tags\":[\"x\",\"y\"],\"n\":1,\"big\":18446744073709551615,\"mixed\":1.50}\n\n\
         {\"id\":\"b\",\"author\":{\"age\":36},\"tags\":[],\"n\":2.5,\"mixed\":\"text\",\"new\":true}\n",
    );
    put(&project, "in/b.ndjson.gz", packed("{\"id\":\"c\",\"huge\":123456789012345678901234567890,\"when\":\"2024-01-31\"}"));
    let rows = project.query("SELECT * FROM source ORDER BY id");
    let first = json!({
        "id": "a", "author": {"name": "Ada"}, "tags": ["x", "y"], "n": 1.0, "big": 18_446_744_073_709_551_615_u64, "mixed": "1.50",
    });
    assert_eq!(rows[0], first);
    assert_eq!((&rows[1]["mixed"], &rows[1]["new"], &rows[1]["author"]), (&json!("text"), &json!(true), &json!({"age": 36})));
    assert_eq!((&rows[2]["huge"], &rows[2]["when"]), (&json!("123456789012345678901234567890"), &json!("2024-01-31")));
    project.run_pipeline(&["--limit", "1"]).expect(0);
    assert_eq!(project.query("SELECT summary FROM results"), [json!({"summary": "Answer to Ada: x/y"})]);
    // A field that is a text here and an object there is no column, and whoever needs it is told where.
    put(&project, "in/c.jsonl", "{\"id\":\"d\",\"author\":\"Bob\"}\n");
    let said = refused(&project);
    assert!(
        said.contains("column `author` is") && said.contains("text in `in/c.jsonl`") && said.contains("an object in `in/a.jsonl`"),
        "{said}"
    );
    for (text, words) in [
        ("[{\"id\":\"d\"}]", "is one JSON array"),
        ("{\"id\":\"d\"}\n{\"id\": nope}\n", "line 2, column"),
        ("{\"id\":\"d\"}\n[1]\n", "has an array in line 2"),
        ("{\"id\":\"d\"}\n{\"id\":\"e\"", "line 2"),
    ] {
        put(&project, "in/c.jsonl", text);
        let said = refused(&project);
        assert!(said.contains("in/c.jsonl") && said.contains(words) && said.contains("hint: "), "{words}: {said}");
    }
    let Some(bucket) = Bucket::start() else { return };
    project.environment = bucket.environment();
    bucket.put("in/a.jsonl", std::fs::read(project.path("in/a.jsonl")).expect("a file"));
    project.write("pipeline.toml", &job.toml().replace("path = \"in\"", "path = \"s3://lake/in/*.jsonl\""));
    assert_eq!(project.query("SELECT id, mixed FROM source ORDER BY id")[1], json!({"id": "b", "mixed": "text"}));
}

#[test]
fn arrow_files_are_read_as_they_are_and_widen_or_conflict_as_parquet_does() {
    let spy = server();
    let project = project(&spy.url, "path = \"in\"\nkey = \"id\"");
    let ints = |number: i32| Arc::new(Int32Array::from(vec![number])) as ArrayRef;
    let row = |id: &'static str, n: ArrayRef| vec![("id", texts(&[id])), ("body", texts(&["amber"])), ("n", n)];
    put(&project, "in/a.arrow", arrow_file(row("a", ints(1)), None));
    put(&project, "in/b.feather", arrow_file(row("b", Arc::new(Int64Array::from(vec![1_i64 << 40]))), Some(CompressionType::ZSTD)));
    let rows = RecordBatch::try_from_iter(vec![("body", texts(&["flint"])), ("id", texts(&["c"]))]).expect("rows");
    let mut stream = StreamWriter::try_new(Vec::new(), &rows.schema()).expect("a writer");
    stream.write(&rows).expect("rows");
    put(&project, "in/c.arrows", stream.into_inner().expect("a stream"));
    let rows = project.query("SELECT id, n FROM source ORDER BY id");
    assert_eq!(rows, [json!({"id": "a", "n": 1}), json!({"id": "b", "n": 1_i64 << 40}), json!({"id": "c"})]);
    assert_eq!(project.run_pipeline(&[]).expect(0).json()["rows"]["answered"], 3);
    // A whole number that no fraction is; a type that is no other.
    std::fs::remove_file(project.path("in/b.feather")).expect("removed");
    put(&project, "in/d.arrow", arrow_file(row("d", Arc::new(Float64Array::from(vec![0.5]))), None));
    put(&project, "in/e.arrow", arrow_file(row("e", Arc::new(Int64Array::from(vec![1_i64 << 53]))), None));
    assert_eq!(project.query("SELECT n FROM source WHERE id = 'd'"), [json!({"n": 0.5})]);
    put(&project, "in/e.arrow", arrow_file(row("e", Arc::new(Int64Array::from(vec![(1_i64 << 53) + 1]))), None));
    assert!(refused(&project).contains("9007199254740993 of `in/e.arrow` would lose digits"));
    put(&project, "in/e.arrow", arrow_file(row("e", texts(&["many"])), None));
    let said = refused(&project);
    assert!(said.contains("column `n` is") && said.contains("in/e.arrow"), "{said}");
    put(&project, "in/e.arrow", "ARROW1 and then nothing of the kind");
    assert!(refused(&project).contains("source file `in/e.arrow` cannot be read as Arrow"));
}

/// Arrow files as others write them: before its version 1.0, and with whole numbers of 128 bits.
const MAKE_ARROW: &str = r#"
import os, sys
import polars as pl
import pyarrow as pa
os.chdir(sys.argv[1])
old = pa.ipc.IpcWriteOptions(metadata_version=pa.ipc.MetadataVersion.V4)
table = pa.table({"id": ["a"], "body": ["amber"]})
with pa.ipc.new_file("old.arrow", table.schema, options=old) as writer:
    writer.write_table(table)
pl.DataFrame({"id": ["a"], "body": ["amber"], "n": pl.Series([2**100], dtype=pl.Int128)}).write_ipc("wide.arrow")
"#;

#[test]
fn arrow_files_that_no_reader_here_knows_are_refused_by_name() {
    if !has("PyArrow or Polars", "import polars, pyarrow", "polars pyarrow") {
        return;
    }
    let project = project("http://127.0.0.1:9", "path = \"old.arrow\"\nkey = \"id\"");
    let made = Command::new(python()).args(["-c", MAKE_ARROW]).arg(project.path(".")).output().expect("python");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let said = refused(&project);
    assert!(said.contains("`old.arrow` cannot be read as Arrow") && said.contains("before Arrow 1.0"), "{said}");
    let pipeline = std::fs::read_to_string(project.path("pipeline.toml")).expect("a pipeline");
    project.write("pipeline.toml", &pipeline.replace("old.arrow", "wide.arrow"));
    let said = refused(&project);
    assert!(said.contains("wide.arrow") && said.contains("128 bits"), "{said}");
}

#[test]
fn a_comparison_takes_its_sample_from_any_kind_of_file() {
    let spy = server();
    let project = project(&spy.url, "path = \"in\"\nkey = [\"id\", \"zip\"]\ndelimiter = \";\"\ntypes = { zip = \"string\" }");
    let rows: String = (0..6).map(|row| format!("{row};{row}{row};body {row}\n")).collect();
    put(&project, "in/a.csv", format!("id;zip;body\n{rows}"));
    let text = std::fs::read_to_string(project.path("pipeline.toml")).expect("a pipeline");
    let other =
        "[models.n]\nprovider = \"p\"\nmodel = \"other\"\nprice = { input = 1.0, output = 2.0 }\nstructured = \"text\"\n\n[models.m]";
    project.write("pipeline.toml", &text.replace("[models.m]", other));
    project.run(&["compare", "pipeline.toml", "--models", "m,n", "--sample", "4"]).expect(0);
    assert_eq!(spy.asked().len(), 8);
    assert!(spy.asked().iter().all(|asked| asked.message().contains("body ")));
}

#[test]
fn a_row_of_a_folder_that_says_something_else_is_found_in_any_kind_of_file() {
    let spy = server();
    let project = project(&spy.url, "path = \"in\"\nkey = \"id\"");
    put(&project, "in/year=2024/a.csv", "id,body,year\na,amber,2024\n");
    assert_eq!(project.query("SELECT id, year FROM source"), [json!({"id": "a", "year": 2024})]);
    put(&project, "in/year=2024/b.csv", "id,body,year\nb,beryl,2024\nc,coral,2025\n");
    let said = refused(&project);
    assert!(said.contains("`in/year=2024/b.csv` has a row with `year` 2025, but lies in the folder `year=2024`"), "{said}");
    std::fs::remove_dir_all(project.path("in")).expect("removed");
    put(&project, "in/year=2024/a.jsonl", "{\"id\":\"a\",\"year\":2023}\n");
    assert!(refused(&project).contains("has a row with `year` 2023"), "JSON lines too");
}

#[test]
fn lines_that_swallow_others_and_fields_that_stand_twice_are_refused() {
    let spy = server();
    let csv = project(&spy.url, "path = \"in\"\nkey = \"id\"");
    let lines: String = (0..50).map(|row| format!("k{row},{}\n", if row == 3 { "\"cut" } else { "text" })).collect();
    put(&csv, "in/rows.csv", format!("id,body\n{lines}"));
    let said = refused(&csv);
    assert!(said.contains("in/rows.csv` has a quote in line 5 that is never closed"), "{said}");
    let json = project(&spy.url, "path = \"in\"\nkey = \"id\"");
    put(&json, "in/rows.jsonl", "{\"id\":\"a\",\"body\":\"x\"}\n{\"id\":\"b\",\"body\":\"y\",\"body\":\"z\"}\n");
    let said = refused(&json);
    assert!(said.contains("line 2") && said.contains("field `body` twice"), "{said}");
}
