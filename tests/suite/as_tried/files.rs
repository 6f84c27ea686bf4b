//! Files that are right and easily read wrong: numbers that are none, times beyond nanoseconds, columns of one name, types that
//! a result cannot have.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Date64Array, Decimal128Array, Float64Array, Int32Array, Int32Builder, MapBuilder, RecordBatch, StringArray,
    StringBuilder, TimestampMicrosecondArray, TimestampNanosecondArray, UnionArray,
};
use arrow::datatypes::{DataType, Field, UnionFields};
use arrow::ipc::writer::FileWriter;
use parquet::arrow::ArrowWriter;
use parquet::data_type::{ByteArray, ByteArrayType, Int96, Int96Type};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::json;

use crate::support::Project;

/// A pipeline over these columns beside the keys `a`, `b` …
fn project(columns: Vec<(&str, ArrayRef)>) -> Project {
    let project = Project::new();
    write(&project, "in/rows.parquet", columns);
    set(&project, "", "");
    project
}

fn set(project: &Project, filter: &str, sink: &str) {
    let filter = if filter.is_empty() { String::new() } else { format!("[[stages]]\nuse = \"filter\"\nwhere = \"{filter}\"\n") };
    project.write(
        "pipeline.toml",
        &format!(
            "name = \"job\"\n[source]\npath = \"in\"\nkey = \"id\"\n{filter}[[stages]]\nuse = \"prompt-pack\"\nprompt = \"Summarise.\"\n\
             item = \"Row {{{{ id }}}} is about a bridge.\"\nanswer = \"summary\"\n[[stages]]\nuse = \"llm\"\nmodel = \"builtin/extractive\"\n\
             [sink]\npath = \"out/answers\"\n{sink}\n"
        ),
    );
}

fn rows(mut columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let count = columns[0].1.len();
    if columns.iter().all(|(name, _)| *name != "id") {
        let keys = ('a'..='z').take(count).map(|key| Some(key.to_string()));
        columns.insert(0, ("id", Arc::new(keys.collect::<StringArray>())));
    }
    let fields = columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect::<Vec<_>>();
    RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), columns.into_iter().map(|(_, array)| array).collect())
        .expect("rows")
}

fn write(project: &Project, name: &str, columns: Vec<(&str, ArrayRef)>) {
    let rows = rows(columns);
    std::fs::create_dir_all(project.path("in")).expect("a folder");
    let file = std::fs::File::create(project.path(name)).expect("a file");
    let mut writer = ArrowWriter::try_new(file, rows.schema(), None).expect("a writer");
    writer.write(&rows).expect("written");
    writer.close().expect("closed");
}

fn ids(project: &Project, query: &str) -> String {
    let found = project.query(query);
    found.iter().map(|row| row["id"].as_str().unwrap_or_default()).collect::<Vec<_>>().join(" ")
}

/// What `check` says that is wrong.
#[track_caller]
fn refused(project: &Project) -> String {
    project.run(&["check", "pipeline.toml"]).expect(2).stderr
}

#[test]
fn what_is_no_number_is_found_beside_any_other_and_zeros_whatever_their_sign() {
    let numbers = project(vec![("x", Arc::new(Float64Array::from(vec![1.0, f64::NAN])))]);
    for (predicate, expected) in [("x > 2", "b"), ("x <> 1", "b"), ("NOT (x < 2)", "b"), ("x = 1", "a"), ("x IS NOT NULL", "a b")] {
        assert_eq!(ids(&numbers, &format!("SELECT id FROM source WHERE {predicate} ORDER BY id")), expected, "{predicate}");
    }
    assert_eq!(ids(&numbers, "SELECT id FROM source ORDER BY x DESC LIMIT 1"), "b");
    set(&numbers, "x > 2", "");
    numbers.run_pipeline(&[]).expect(0);
    assert_eq!(ids(&numbers, "SELECT id FROM results"), "b");

    let zeros = project(vec![("x", Arc::new(Float64Array::from(vec![-0.0, 0.0, 1.0])))]);
    set(&zeros, "x IN (0.0)", "");
    let ran = zeros.run_pipeline(&[]).expect(0).json();
    assert_eq!((&ran["rows"]["answered"], &ran["rows"]["filtered_out"]), (&json!(2), &json!(1)));
    assert_eq!(ids(&zeros, "SELECT id FROM source WHERE x IN (-0.0, 2, 3, 4) ORDER BY id"), "a b");
}

#[test]
fn of_two_columns_of_one_name_neither_is_taken() {
    let text = |value: &str| Arc::new(StringArray::from(vec![value])) as ArrayRef;
    let project = project(vec![("x", text("one")), ("y", text("y")), ("x", text("other"))]);
    let said = refused(&project);
    assert!(said.contains("column `x`, or a part of it, stands twice in `in/rows.parquet`"), "{said}");
    set(&project, "", "columns = [\"id\", \"summary\", \"y\"]");
    assert_eq!(project.query("SELECT * FROM source"), [json!({"id": "a", "y": "y"})]);
    project.run_pipeline(&[]).expect(0);
}

#[test]
fn times_of_files_are_read_as_they_are_or_refused_by_name() {
    // 3000-01-01 and 2024-01-01.
    let far = TimestampMicrosecondArray::from(vec![32_503_680_000_000_000]);
    let project = project(vec![("x", Arc::new(far))]);
    let near = TimestampNanosecondArray::from(vec![1_704_067_200_000_000_000]);
    write(&project, "in/more.parquet", vec![("id", Arc::new(StringArray::from(vec!["b"]))), ("x", Arc::new(near))]);
    let said = refused(&project);
    assert!(said.contains("`x` is in nanoseconds") && said.contains("holds 3000-01-01T00:00:00 in `in/rows.parquet`"), "{said}");

    let schema = parse_message_type("message m { required binary id (UTF8); required int96 x; }").expect("a schema");
    let file = std::fs::File::create(project.path("in/rows.parquet")).expect("a file");
    let mut writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::default()).expect("a writer");
    let mut group = writer.next_row_group().expect("a row group");
    let mut ids = group.next_column().expect("a column").expect("the keys");
    ids.typed::<ByteArrayType>().write_batch(&[ByteArray::from("a")], None, None).expect("written");
    ids.close().expect("closed");
    let mut times = group.next_column().expect("a column").expect("the times");
    let mut time = Int96::new();
    // The last day of 9999, as a Julian one.
    time.set_data(0, 0, 5_373_484);
    times.typed::<Int96Type>().write_batch(&[time], None, None).expect("written");
    times.close().expect("closed");
    group.close().expect("closed");
    writer.close().expect("closed");
    std::fs::remove_file(project.path("in/more.parquet")).expect("removed");
    set(&project, "x > '2300-01-01'", "");
    project.run_pipeline(&[]).expect(0);
    let found = project.query("SELECT CAST(x AS VARCHAR) AS x FROM results");
    assert_eq!(found, [json!({"x": "9999-12-31T00:00:00"})]);
}

#[test]
fn rows_with_a_date_in_milliseconds_for_a_key_are_known_again() {
    let days = Date64Array::from(vec![1_709_164_800_000, 1_709_251_200_000]);
    let project = project(vec![("id", Arc::new(days)), ("more", Arc::new(Int32Array::from(vec![1, 2])))]);
    project.run_pipeline(&[]).expect(0);
    let again = project.run_pipeline(&["--prune"]).expect(0).json();
    assert_eq!((&again["rows"]["unchanged"], &again["requests"]["sent"]), (&json!(2), &json!(0)));
    assert_eq!(project.number("SELECT count(*) FROM results"), 2.0, "none has left the source");
    assert_eq!(project.number("SELECT count(*) FROM unassigned_costs"), 0.0);
}

#[test]
fn what_no_parquet_file_holds_is_refused_before_anything_is_asked() {
    let negative = Decimal128Array::from(vec![100]).with_precision_and_scale(5, -2).expect("a decimal");
    let members = UnionFields::try_new([0], [Field::new("number", DataType::Int32, true)]).expect("members");
    let union = UnionArray::try_new(members, vec![0_i8].into(), None, vec![Arc::new(Int32Array::from(vec![1]))]).expect("a union");
    let project = project(vec![("x", Arc::new(Int32Array::from(vec![1])))]);
    std::fs::remove_file(project.path("in/rows.parquet")).expect("removed");
    for column in [Arc::new(negative) as ArrayRef, Arc::new(union)] {
        let rows = rows(vec![("odd", column)]);
        let file = std::fs::File::create(project.path("in/rows.arrow")).expect("a file");
        let mut writer = FileWriter::try_new(file, &rows.schema()).expect("a writer");
        writer.write(&rows).expect("written");
        writer.finish().expect("closed");
        set(&project, "", "");
        let said = refused(&project);
        assert!(said.contains("column `odd` is") && said.contains("which Parquet cannot hold"), "{said}");
        set(&project, "", "columns = [\"id\", \"summary\"]");
        project.run(&["check", "pipeline.toml"]).expect(0);
    }
}

#[test]
fn columns_of_a_delta_table_that_differ_by_case_only_are_refused_by_check() {
    let text = |value: &str| Arc::new(StringArray::from(vec![value])) as ArrayRef;
    let project = project(vec![("P", text("one")), ("p", text("other"))]);
    set(&project, "", "format = \"delta\"");
    let said = refused(&project);
    assert!(said.contains("`P`") && said.contains("`p`") && said.contains("hint: "), "{said}");
    set(&project, "", "format = \"delta\"\ncolumns = [\"id\", \"summary\", \"P\"]");
    project.run_pipeline(&[]).expect(0);
    assert_eq!(project.query("SELECT \"P\" FROM results").len(), 1);
}

#[test]
fn a_text_that_is_none_is_said_with_its_file_and_column() {
    let schema = parse_message_type("message m { required binary id (UTF8); required binary body (UTF8); }").expect("a schema");
    let project = project(vec![("body", Arc::new(StringArray::from(vec!["whole"])))]);
    let file = std::fs::File::create(project.path("in/bytes.parquet")).expect("a file");
    let mut writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::default()).expect("a writer");
    let mut group = writer.next_row_group().expect("a row group");
    for bytes in [b"z".as_slice(), b"caf\xe9"] {
        let mut column = group.next_column().expect("a column").expect("two of them");
        column.typed::<ByteArrayType>().write_batch(&[ByteArray::from(bytes)], None, None).expect("written");
        column.close().expect("closed");
    }
    group.close().expect("closed");
    writer.close().expect("closed");
    let pipeline = std::fs::read_to_string(project.path("pipeline.toml")).expect("a pipeline");
    project.write("pipeline.toml", &pipeline.replace("Row {{ id }} is", "{{ body }} is"));
    let said = project.run(&["run", "pipeline.toml"]).expect(1).stderr;
    assert!(said.contains("in/bytes.parquet` has a text that is not UTF-8 (column `body`)") && said.contains("hint: "), "{said}");
}

#[test]
fn days_that_no_calendar_has_are_said_as_such_and_make_no_folders() {
    let days = Date32Array::from(vec![Some(i32::MAX), Some(19_782), None, Some(-i32::MAX)]);
    let project = project(vec![("day", Arc::new(days))]);
    let said = project.query("SELECT day FROM source ORDER BY id");
    let days = ["infinity", "2024-02-29", "", "-infinity"];
    assert_eq!(said.iter().map(|row| row["day"].as_str().unwrap_or_default()).collect::<Vec<_>>(), days);
    let lines = project.run(&["sql", "pipeline.toml", "SELECT day FROM source ORDER BY id", "--output", "line"]).expect(0).stdout;
    assert!(lines.contains("day = infinity") && !lines.contains("ERROR"), "{lines}");
    set(&project, "", "partition_by = [\"day\"]");
    project.run_pipeline(&[]).expect(0);
    assert_eq!(ids(&project, "SELECT id FROM results ORDER BY id"), "b c");
    assert_eq!(ids(&project, "SELECT id FROM dead_letters WHERE llm_attempts = 0 AND detail LIKE '%no text%' ORDER BY id"), "a d");
}

#[test]
fn rows_of_a_query_are_written_as_what_they_are() {
    let mut map = MapBuilder::new(None, Int32Builder::new(), StringBuilder::new());
    map.keys().append_value(7);
    map.values().append_null();
    map.append(true).expect("a map");
    let project = project(vec![("m", Arc::new(map.finish()))]);
    assert_eq!(project.query("SELECT m FROM source"), [json!({"m": {"7": null}})]);
    let csv = project.run(&["sql", "pipeline.toml", "SELECT m FROM source", "--output", "csv"]).expect(0).stdout;
    assert!(csv.contains(r#""{""7"":null}""#), "{csv}");
    let query = "SELECT arrow_cast('2024-02-29', 'Date64') AS day, to_timestamp_seconds(86400) AS at";
    project.run(&["sql", "pipeline.toml", query, "--output", "parquet", "--to", "rows.parquet"]).expect(0);
    let file = std::fs::File::open(project.path("rows.parquet")).expect("a file");
    let footer = parquet::file::metadata::ParquetMetaDataReader::new().parse_and_finish(&file).expect("a footer");
    let columns = footer.file_metadata().schema_descr().columns();
    assert!(columns.iter().all(|column| column.logical_type_ref().is_some()), "{columns:?}");
}
