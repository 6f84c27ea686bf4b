//! Lakes as people have them: folders, globs, tables, files that nearly fit together.

use std::process::Command;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, DictionaryArray, Float64Array, Int32Array, Int64Array, LargeStringArray, ListBuilder, RecordBatch, StringArray,
    StringBuilder, TimestampMicrosecondArray, TimestampMillisecondArray,
};
use arrow::datatypes::Int8Type;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use serde_json::{Value, json};

use crate::bucket::Bucket;
use crate::delta::{has_reader, python};
use crate::support::Project;

const TEXT: &str = "The council is asked to repair the bridge before the winter.";

/// A pipeline over this source, which a test writes.
fn project(source: &str) -> Project {
    let project = Project::new();
    project.write("pipeline.toml", &pipeline(source, ""));
    project
}

/// `source` are the lines of the source but for its key.
fn pipeline(source: &str, filter: &str) -> String {
    let filter = if filter.is_empty() { String::new() } else { format!("[[stages]]\nuse = \"filter\"\nwhere = \"{filter}\"\n") };
    format!(
        "name = \"job\"\n[source]\n{source}\nkey = \"id\"\n{filter}[[stages]]\nuse = \"prompt-pack\"\nprompt = \"Summarise.\"\n\
         item = \"{{{{ text }}}}\"\n[[stages]]\nuse = \"llm\"\nmodel = \"builtin/extractive\"\n[sink]\npath = \"out/answers\"\n"
    )
}

fn text(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

/// A file of one row, called after its key, and more columns.
fn bytes(id: &str, more: &[(&str, ArrayRef)]) -> Vec<u8> {
    let mut columns = vec![("id", text(&[id])), ("text", text(&[TEXT]))];
    columns.extend(more.iter().map(|(name, array)| (*name, Arc::clone(array))));
    let batch = RecordBatch::try_from_iter(columns).expect("a batch");
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("a row");
    writer.close().expect("a footer");
    bytes
}

fn put(project: &Project, name: &str, more: &[(&str, ArrayRef)]) {
    let path = project.path(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(path, bytes(name.strip_prefix("in/").unwrap_or(name), more)).expect("a file");
}

/// The keys that a source of these lines has.
fn keys(project: &Project, source: &str) -> Vec<String> {
    project.write("pipeline.toml", &pipeline(source, ""));
    project.query("SELECT id FROM source ORDER BY id").iter().map(|row| row["id"].as_str().unwrap_or_default().to_owned()).collect()
}

/// What `check` says that is wrong with it.
fn refused(project: &Project) -> String {
    project.run(&["check", "pipeline.toml"]).expect(2).stderr
}

const FILES: [&str; 9] = [
    "in/year=2023/month=1/a.parquet",
    "in/year=2024/month=1/a.parquet",
    "in/year=2024/month=2/b=1.parquet",
    "in/plain/x/c.parquet",
    "in/pct%20x/d.parquet",
    "in/pct x/d.parquet",
    "in/part-1.parquet",
    "in/part-10.parquet",
    "in/old [1].parquet",
];

/// Paths, and the keys of the files that they stand for, wherever the files lie.
const MEANINGS: [(&str, &[&str]); 14] = [
    (
        "in/*/*/*.parquet",
        &["plain/x/c.parquet", "year=2023/month=1/a.parquet", "year=2024/month=1/a.parquet", "year=2024/month=2/b=1.parquet"],
    ),
    ("in/year=*/month=[12]/*.parquet", &["year=2023/month=1/a.parquet", "year=2024/month=1/a.parquet", "year=2024/month=2/b=1.parquet"]),
    ("in/year=202?/month=1/a.parquet", &["year=2023/month=1/a.parquet", "year=2024/month=1/a.parquet"]),
    ("in/year=2024", &["year=2024/month=1/a.parquet", "year=2024/month=2/b=1.parquet"]),
    ("in/{plain,year=2023}/**/*.parquet", &["plain/x/c.parquet", "year=2023/month=1/a.parquet"]),
    ("in/**/a.parquet", &["year=2023/month=1/a.parquet", "year=2024/month=1/a.parquet"]),
    ("in/*.parquet", &["old [1].parquet", "part-1.parquet", "part-10.parquet"]),
    ("in/part-?.parquet", &["part-1.parquet"]),
    ("in/part-*", &["part-1.parquet", "part-10.parquet"]),
    ("in/old [1].parquet", &["old [1].parquet"]),
    ("in/old \\\\[?\\\\].parquet", &["old [1].parquet"]),
    ("in/pct%20x", &["pct%20x/d.parquet"]),
    ("in/pct x/", &["pct x/d.parquet"]),
    ("in/pct[!x]x", &["pct x/d.parquet"]),
];

#[test]
fn a_path_means_the_same_on_a_disk_and_in_a_bucket() {
    let mut project = project("path = \"in\"");
    for file in FILES {
        put(&project, file, &[]);
    }
    for (path, expected) in MEANINGS {
        assert_eq!(keys(&project, &format!("path = \"{path}\"")), expected, "{path}");
    }
    let absolute = project.path("in").display().to_string();
    assert_eq!(keys(&project, &format!("path = \"file://{absolute}/part-?.parquet\"")), ["part-1.parquet"]);
    assert_eq!(keys(&project, "path = [\"in/part-1.parquet\", \"in/part-*.parquet\"]"), ["part-1.parquet", "part-10.parquet"]);
    let Some(bucket) = Bucket::start() else { return };
    project.environment = bucket.environment();
    for file in FILES {
        bucket.put(file, std::fs::read(project.path(file)).expect("a file"));
    }
    for (path, expected) in MEANINGS {
        assert_eq!(keys(&project, &format!("path = \"s3://lake/{path}\"")), expected, "s3://lake/{path}");
    }
    assert_eq!(keys(&project, "path = \"s3a://lake/in/part-?.parquet\""), ["part-1.parquet"]);
}

#[test]
fn folders_are_columns_of_the_type_that_their_values_have() {
    let project = project("path = \"in\"");
    put(&project, "in/year=2023/day=2024-01-31/zip=01234/a.parquet", &[("year", Arc::new(Int64Array::from(vec![2023])))]);
    put(&project, "in/year=2024/b.parquet", &[("year", Arc::new(Int64Array::from(vec![2024])))]);
    put(&project, "in/part=7.parquet", &[]);
    let rows =
        project.query("SELECT arrow_typeof(year) AS t, year + 1 AS year, day + interval '1 day' AS day, zip FROM source ORDER BY id");
    assert_eq!(rows[0]["t"], "Int64");
    assert_eq!((&rows[0]["year"], &rows[1]["year"], &rows[2]["year"]), (&Value::Null, &json!(2024), &json!(2025)), "{rows:?}");
    assert!(rows[1]["day"].as_str().is_some_and(|day| day.starts_with("2024-02-01")), "{rows:?}");
    assert_eq!(rows[1]["zip"], "01234", "a number that begins with a zero is a name");
    let said = project.run(&["check", "pipeline.toml"]).expect(0).stdout;
    assert!(
        said.contains("3 files, 3 rows") && said.contains("`year` is in the files too") && said.contains("2 files lie outside"),
        "{said}"
    );
    // A file that says something else than its folder.
    put(&project, "in/year=2025/c.parquet", &[("year", Arc::new(Int64Array::from(vec![2020])))]);
    let said = refused(&project);
    assert!(said.contains("has a row with `year` 2020, but lies in the folder `year=2025`"), "{said}");
}

#[test]
fn types_of_files_widen_or_the_conflict_names_them() {
    let small: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let categories: DictionaryArray<Int8Type> = ["x"].into_iter().collect();
    let pairs: [(ArrayRef, ArrayRef, [Value; 2]); 5] = [
        (Arc::clone(&small), Arc::new(Int64Array::from(vec![1 << 40])), [json!(1), json!(1_u64 << 40)]),
        (Arc::new(Int64Array::from(vec![1])), Arc::new(Float64Array::from(vec![2.5])), [json!(1.0), json!(2.5)]),
        (text(&["x"]), Arc::new(LargeStringArray::from(vec!["y"])), [json!("x"), json!("y")]),
        (Arc::new(categories), text(&["y"]), [json!("x"), json!("y")]),
        (
            Arc::new(TimestampMicrosecondArray::from(vec![1_000_001])),
            Arc::new(TimestampMillisecondArray::from(vec![2_000])),
            [json!("1970-01-01T00:00:01.000001"), json!("1970-01-01T00:00:02")],
        ),
    ];
    for (one, other, expected) in pairs {
        let project = project("path = \"in\"");
        put(&project, "in/a.parquet", &[("v", one)]);
        put(&project, "in/b.parquet", &[("v", other)]);
        assert_eq!(project.run_pipeline(&[]).expect(0).json()["rows"]["answered"], 2);
        let rows = project.query("SELECT v FROM results ORDER BY id");
        assert_eq!([&rows[0]["v"], &rows[1]["v"]], [&expected[0], &expected[1]], "{rows:?}");
    }
    let project = project("path = \"in\"");
    put(&project, "in/a.parquet", &[("v", Arc::new(Int64Array::from(vec![i64::MAX])))]);
    put(&project, "in/b.parquet", &[("v", Arc::new(Float64Array::from(vec![2.5])))]);
    let said = refused(&project);
    assert!(said.contains("9223372036854775807") && said.contains("would lose digits"), "{said}");
}

/// Of many files one has another type: a filter holds for it, or is refused; and where nobody reads the column it is in nobody's way.
#[test]
fn a_backslash_makes_a_letter_mean_itself_in_a_name_without_wildcards_too() {
    let mut project = project("path = \"in\"");
    let names = ["in/a*b.parquet", "in/axb.parquet", "in/{a,b}.parquet", "in/[c].parquet"];
    names.iter().for_each(|name| put(&project, name, &[]));
    let sources = [
        (r"in/a\\*b.parquet", "a*b.parquet"),
        (r"in/\\{a,b\\}.parquet", "{a,b}.parquet"),
        (r"in/\\[c\\].parquet", "[c].parquet"),
        (r"in/a*b.parquet", "a*b.parquet"),
    ];
    for (path, expected) in sources {
        assert_eq!(keys(&project, &format!("path = \"{path}\"")), [expected], "{path}");
    }
    project.write("pipeline.toml", &pipeline(r#"path = "in/a\\*c.parquet""#, ""));
    assert!(refused(&project).contains("does not exist"), "and is no pattern where nothing is there");
    let Some(bucket) = Bucket::start() else { return };
    for name in names {
        bucket.put(name, std::fs::read(project.path(name)).expect("a file"));
    }
    project.environment = bucket.environment();
    for (path, expected) in &sources[..3] {
        assert_eq!(keys(&project, &format!("path = \"s3://lake/{path}\"")), [*expected], "{path}");
    }
}

#[test]
fn a_column_that_is_all_null_has_the_type_of_the_other_files() {
    let project = project("path = \"in\"");
    // As pandas writes a column that it knows nothing of.
    let nothing = || Arc::new(Float64Array::from(vec![None])) as ArrayRef;
    put(&project, "in/a.parquet", &[("x", nothing())]);
    put(&project, "in/b.parquet", &[("x", text(&["amber"]))]);
    put(&project, "in/c.parquet", &[("x", nothing())]);
    assert_eq!(project.query("SELECT id FROM source WHERE x = 'amber'"), [json!({"id": "b.parquet"})]);
    assert_eq!(project.query("SELECT count(x) AS n FROM source"), [json!({"n": 1})]);
    let summary = project.run_pipeline(&[]).expect(0).json();
    assert_eq!(summary["rows"]["answered"], 3, "{summary}");
    assert_eq!(project.query("SELECT id FROM results WHERE x IS NULL ORDER BY id").len(), 2);
    // One number is enough for a conflict.
    put(&project, "in/c.parquet", &[("x", Arc::new(Float64Array::from(vec![0.5])))]);
    assert!(refused(&project).contains("column `x` is"));
}

#[test]
fn a_filter_holds_in_every_file() {
    let project = project("path = \"in\"");
    for n in 0..150 {
        let mut list = ListBuilder::new(StringBuilder::new());
        list.append_value([Some("nl")]);
        let lang: ArrayRef = match n {
            101 => Arc::new(list.finish()),
            _ => text(&[if n % 2 == 0 { "nl" } else { "en" }]),
        };
        let number: ArrayRef =
            if n % 3 == 0 { Arc::new(Int32Array::from(vec![n])) } else { Arc::new(Int64Array::from(vec![i64::from(n)])) };
        put(&project, &format!("in/{n:03}.parquet"), &[("lang", lang), ("n", number)]);
    }
    project.write("pipeline.toml", &pipeline("path = \"in\"", "lang = 'nl'"));
    let said = refused(&project);
    assert!(said.contains("column `lang` is text in `") && said.contains("000.parquet` and a list of text in `"), "{said}");
    assert!(said.contains("101.parquet`") && said.contains("1 mistake"), "{said}");
    project.write(
        "pipeline.toml",
        &pipeline("path = \"in\"", "n >= 100").replace("out/answers\"", "out/answers\"\ncolumns = [\"id\", \"answer\"]"),
    );
    let summary = project.run_pipeline(&[]).expect(0).json();
    let rows = &summary["rows"];
    assert_eq!(
        (rows["source"].as_u64(), rows["filtered_out"].as_u64(), rows["answered"].as_u64()),
        (Some(150), Some(100), Some(50)),
        "{summary}"
    );
    let said = project.run(&["check", "pipeline.toml"]).expect(0).stdout;
    assert!(said.contains("it is left out, as nothing reads it"), "{said}");
}

#[test]
fn files_are_known_by_what_is_in_them_and_what_is_left_out_is_said() {
    let project = project("path = \"in\"");
    for name in ["a.parquet", "b.parquet.gzip", "C.PARQUET", "d.parquet.snappy", "part-00000", "e.parquet.bak"] {
        put(&project, &format!("in/{name}"), &[]);
    }
    for (name, text) in
        [("_SUCCESS", ""), (".hidden.parquet", "x"), ("a.parquet.crc", "checksum, longer than twelve"), ("notes.csv", "id,text\na,b\n")]
    {
        project.write(&format!("in/{name}"), text);
    }
    assert_eq!(keys(&project, "path = \"in\""), ["C.PARQUET", "a.parquet", "b.parquet.gzip", "d.parquet.snappy", "part-00000"]);
    let said = project.run(&["plan", "pipeline.toml"]).expect(0).stdout;
    for part in ["5 files, 5 rows", "1 checksums (a.parquet.crc)", "1 CSV files (notes.csv)", "(e.parquet.bak)"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let summary = project.run_pipeline(&[]).expect(0).json();
    let record = std::fs::read(project.path(&format!("out/_promptmill/job/runs/{}.json", summary["run_id"].as_str().expect("an id"))));
    let record: Value = serde_json::from_slice(&record.expect("a record")).expect("JSON");
    assert_eq!(record["source"]["left_out"].as_array().map(Vec::len), Some(3), "{}", record["source"]);
    std::fs::create_dir(project.path("csv")).expect("a folder");
    project.write("csv/notes.csv", "id,text\na,b\n");
    project.write("pipeline.toml", &pipeline("path = \"csv\"\nformat = \"parquet\"", ""));
    assert!(refused(&project).contains("holds no Parquet file, but CSV files (`notes.csv`)"));
    assert_eq!(keys(&project, "path = \"csv\""), ["a"], "where nothing else lies, the names say what files are");
    put(&project, "misnamed/really.csv", &[]);
    assert_eq!(keys(&project, "path = \"misnamed/really.csv\""), ["misnamed/really.csv"], "but what is in them is stronger");
    project.write("csv/notes.jsonl", "{}");
    project.write("pipeline.toml", &pipeline("path = \"csv\"", ""));
    let said = refused(&project);
    assert!(said.contains("holds CSV files (`notes.csv`) and JSON files (`notes.jsonl`)") && said.contains("format = \"csv\""), "{said}");
}

#[test]
fn numbers_that_would_lose_digits_are_found_without_statistics() {
    let project = project("path = \"in\"");
    let put = |name: &str, number: ArrayRef, statistics: bool| {
        let rows = RecordBatch::try_from_iter([("id", text(&[name])), ("text", text(&[TEXT])), ("n", number)]).expect("a batch");
        let enabled = if statistics { EnabledStatistics::Chunk } else { EnabledStatistics::None };
        let properties = WriterProperties::builder().set_statistics_enabled(enabled).build();
        let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties)).expect("a writer");
        writer.write(&rows).expect("a row");
        let path = project.path(&format!("in/{name}"));
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, writer.into_inner().expect("a file")).expect("a file");
    };
    let ints = |number: i64| Arc::new(Int64Array::from(vec![number])) as ArrayRef;
    put("a.parquet", Arc::new(Float64Array::from(vec![0.5])), true);
    put("b.parquet", ints(1 << 53), false);
    assert_eq!(project.query("SELECT n FROM source ORDER BY n"), [json!({"n": 0.5}), json!({"n": (1_i64 << 53) as f64})]);
    for statistics in [true, false] {
        put("b.parquet", ints((1 << 53) + 1), statistics);
        let said = refused(&project);
        assert!(said.contains("where 9007199254740993 of `in/b.parquet` would lose digits"), "{statistics}: {said}");
    }
    // So are rows that lie in the folder of others.
    std::fs::remove_dir_all(project.path("in")).expect("removed");
    put("n=5/a.parquet", ints(5), false);
    assert_eq!(project.query("SELECT n FROM source"), [json!({"n": 5})]);
    put("n=5/b.parquet", ints(6), false);
    assert!(refused(&project).contains("has a row with `n` 6, but lies in the folder `n=5`"));
}

#[test]
fn what_no_run_can_do_is_found_by_check() {
    let project = project("path = \"in\"");
    put(&project, "in/a.parquet", &[]);
    for (filter, said) in [
        ("random() < 0.1", "`random()`, which says something else each time"),
        ("id = uuid()", "`uuid()`"),
        ("count(*) > 1", "the aggregate `count`"),
        ("row_number() over () < 10", "the window function `row_number`"),
        ("$1 = 1", "the parameter `$1`"),
    ] {
        project.write("pipeline.toml", &pipeline("path = \"in\"", filter));
        let refused = refused(&project);
        assert!(refused.contains(said) && refused.contains("hint: "), "{filter}: {refused}");
    }
    for (sink, is_inside) in [("in/out", true), ("in/_out", false), ("inner", false)] {
        project.write("pipeline.toml", &pipeline("path = \"in\"", "").replace("out/answers", sink));
        let ran = project.run(&["check", "pipeline.toml"]);
        assert_eq!(ran.stderr.contains("the results would lie in the source"), is_inside, "{sink}: {}", ran.stderr);
    }
    for (source, said) in [
        ("path = \"ftp://b/in\"", "write it as a local path"),
        ("path = \"gs://b/in\"", "--features gcs"),
        ("path = \"abfss://c@a.dfs.core.windows.net/in\"", "--features azure"),
        ("path = \"in/{a\"", "has no `}`"),
        ("path = \"in\"\nversion = 3", "chooses a version of a Delta table"),
        ("path = \"in\"\nformat = \"delta\"", "is no Delta table"),
        ("path = [\"in\", \"s3://lake/in\"]", "lie in different stores"),
    ] {
        project.write("pipeline.toml", &pipeline(source, ""));
        let refused = project.run(&["check", "pipeline.toml", "--set", "name=other"]).expect(2).stderr;
        assert!(refused.contains(said), "{source}: {refused}");
    }
}

/// Makes Delta tables: `removed` (a, b of a, b, c, d), `grown` (three versions), `mapped` (column mapping), and part of an Iceberg table.
const MAKE_TABLES: &str = r#"
import json, os, sys
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
os.chdir(sys.argv[1])
def rows(*ids):
    return pa.table({"id": list(ids), "text": [f"The council is asked to plan {i}." for i in ids], "region": ["north" if i < "c" else "south" for i in ids]})
write_deltalake("removed", rows("a", "b", "c", "d"), partition_by=["region"])
DeltaTable("removed").delete("region = 'south'")
write_deltalake("grown", rows("a"))
write_deltalake("grown", rows("b"), mode="append")
write_deltalake("grown", rows("x", "y"), mode="overwrite")
write_deltalake("mapped", rows("a"))
first = "mapped/_delta_log/00000000000000000000.json"
lines = [json.loads(line) for line in open(first)]
for line in lines:
    if "metaData" in line:
        line["metaData"]["configuration"]["delta.columnMapping.mode"] = "name"
        schema = json.loads(line["metaData"]["schemaString"])
        for number, field in enumerate(schema["fields"]):
            field["metadata"] = {"delta.columnMapping.id": number + 1, "delta.columnMapping.physicalName": field["name"]}
        line["metaData"]["schemaString"] = json.dumps(schema)
    if "protocol" in line:
        line["protocol"] = {"minReaderVersion": 2, "minWriterVersion": 5}
open(first, "w").write("".join(json.dumps(line) + "\n" for line in lines))
def field(name, kind, nullable=True):
    return {"name": name, "type": kind, "nullable": nullable, "metadata": {}}
inside = pa.table({"id": ["a", "b"], "text": ["The bridge is old."] * 2, "s": [{"l": 1}, None], "l": [[1], None], "m": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64()))})
write_deltalake("strict", inside)
first = "strict/_delta_log/00000000000000000000.json"
lines = [json.loads(line) for line in open(first)]
for line in lines:
    if "metaData" in line:
        schema = json.loads(line["metaData"]["schemaString"])
        schema["fields"][2:] = [
            field("s", {"type": "struct", "fields": [field("l", "long", False)]}),
            field("l", {"type": "array", "elementType": "long", "containsNull": False}),
            field("m", {"type": "map", "keyType": "string", "valueType": "long", "valueContainsNull": False}),
        ]
        line["metaData"]["schemaString"] = json.dumps(schema)
open(first, "w").write("".join(json.dumps(line) + "\n" for line in lines))
os.makedirs("ice/metadata")
open("ice/metadata/00001-x.metadata.json", "w").write("{}")
"#;

#[test]
fn a_delta_table_is_read_through_its_log() {
    if !has_reader() {
        return;
    }
    let mut project = project("path = \"removed\"");
    let made = Command::new(python()).args(["-c", MAKE_TABLES]).arg(project.path(".")).output().expect("python");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    put(&project, "ice/data/in/a.parquet", &[]);
    assert_eq!(keys(&project, "path = \"removed\""), ["a", "b"]);
    assert_eq!(keys(&project, "path = \"removed\"\nformat = \"parquet\""), ["a", "b", "c", "d"], "past the log, as was asked for");
    assert_eq!(keys(&project, "path = \"grown\""), ["x", "y"]);
    assert_eq!(keys(&project, "path = \"strict\""), ["a", "b"], "what the log says can never be null, the files say may be");
    let rows = project.query("SELECT s, l, m FROM source ORDER BY id");
    assert_eq!(rows, [json!({"s": {"l": 1}, "l": [1], "m": {"k": 1}}), json!({})]);
    assert_eq!(keys(&project, "path = \"grown\"\nversion = 1"), ["a", "b"]);
    assert_eq!(keys(&project, "path = \"grown\"\ntimestamp = \"2099-01-01\""), ["x", "y"]);
    project.write("pipeline.toml", &pipeline("path = \"grown\"\nversion = 1", ""));
    let summary = project.run_pipeline(&[]).expect(0).json();
    assert_eq!(summary["rows"]["answered"], 2, "{summary}");
    let record = std::fs::read(project.path(&format!("out/_promptmill/job/runs/{}.json", summary["run_id"].as_str().expect("an id"))));
    let record: Value = serde_json::from_slice(&record.expect("a record")).expect("JSON");
    assert_eq!((&record["source"]["format"], &record["source"]["version"]), (&json!("delta"), &json!(1)));
    for (source, said) in [
        ("path = \"removed/region=north\"", "is part of a Delta table"),
        ("path = \"removed/region=*/*.parquet\"", "is part of a Delta table"),
        ("path = \"[gr]*/*.parquet\"", "is a Delta table"),
        ("path = \"mapped\"", "uses column mapping"),
        ("path = \"grown\"\nversion = 9", "has no version 9"),
        ("path = \"grown\"\ntimestamp = \"2001-01-01T00:00:00Z\"", "has no version as old as"),
        ("path = \"grown\"\ntimestamp = \"yesterday\"", "is no point in time"),
        ("path = \"ice\"", "is an Iceberg table"),
        ("path = \"ice/data\"", "is an Iceberg table"),
    ] {
        project.write("pipeline.toml", &pipeline(source, ""));
        let refused = refused(&project);
        assert!(refused.contains(said), "{source}: {refused}");
    }
    let Some(bucket) = Bucket::start() else { return };
    for file in project.files().iter().filter(|file| file.starts_with("grown/")) {
        bucket.put(file, std::fs::read(project.path(file)).expect("a file"));
    }
    project.environment = bucket.environment();
    assert_eq!(keys(&project, "path = \"s3://lake/grown\""), ["x", "y"]);
    assert_eq!(keys(&project, "path = \"s3://lake/grown\"\nversion = 0"), ["a"]);
    project.write("pipeline.toml", &pipeline("path = \"s3://lake/grown/*.parquet\"", ""));
    assert!(refused(&project).contains("is part of a Delta table"));
}
