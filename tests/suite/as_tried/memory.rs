//! Rows of megabytes: they take no more memory than small ones, wherever they are on their way.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, DictionaryArray, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::Int32Type;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use crate::support::Project;

const MB: usize = 1 << 20;
/// What the binary of the tests takes with nothing to do is 110 MB of it.
#[cfg(target_os = "linux")]
const MOST_MB: u64 = 280;

fn write(project: &Project, columns: [(&str, ArrayRef); 2], properties: WriterProperties) {
    let batch = RecordBatch::try_from_iter(columns).expect("rows");
    let file = std::fs::File::create(project.path("rows.parquet")).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
}

fn pipeline(item: &str, columns: &str) -> String {
    format!(
        "name = \"job\"\n\n[source]\npath = \"rows.parquet\"\nkey = \"id\"\n\n[[stages]]\nuse = \"filter\"\nwhere = \"text > 'A'\"\n\n\
         [[stages]]\nuse = \"prompt-pack\"\nprompt = \"Explain.\"\nitem = \"{item}\"\nanswer = \"summary\"\n\n\
         [[stages]]\nuse = \"llm\"\nmodel = \"builtin/extractive\"\n\n[sink]\npath = \"out/results\"\ncolumns = {columns}\n"
    )
}

/// Runs to the end, and tells the most memory that the process had, in megabytes.
#[track_caller]
fn run(command: &mut Command) -> u64 {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("started");
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    let ended = loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse::<u64>().ok());
        most = most.max(peak.unwrap_or_default() / 1024);
        match child.try_wait().expect("a child") {
            Some(ended) => break ended,
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let mut said = String::new();
    child.stderr.take().expect("its words").read_to_string(&mut said).expect("read");
    assert!(ended.success(), "{said}");
    most
}

#[track_caller]
fn assert_small(project: &Project, commands: &[&[&str]], rows: usize) {
    for arguments in commands {
        let most = run(&mut project.command(arguments));
        #[cfg(target_os = "linux")]
        assert!((1..MOST_MB).contains(&most), "{arguments:?} took {most} MB");
        let _ = most;
    }
    let found = project.query("SELECT count(*) AS rows, count(DISTINCT id) AS keys, count(summary) AS answers FROM results");
    assert_eq!(found, [serde_json::json!({"rows": rows, "keys": rows, "answers": rows})]);
}

#[test]
fn one_large_text_in_many_rows_is_read_though_a_batch_of_them_would_be_gigabytes() {
    let project = Project::new();
    let ids: StringArray = (0..600).map(|row| Some(format!("k{row}"))).collect();
    let text = StringArray::from(vec![format!("The bridge is closed. {}", "x".repeat(4 * MB))]);
    let texts = DictionaryArray::<Int32Type>::new(Int32Array::from(vec![0; 600]), Arc::new(text));
    let properties = WriterProperties::builder().set_dictionary_page_size_limit(64 * MB).set_compression(Compression::SNAPPY);
    write(&project, [("id", Arc::new(ids)), ("text", Arc::new(texts))], properties.build());
    project.write("pipeline.toml", &pipeline("{{ id }}: {{ text[:20] }}", "[\"id\", \"summary\"]"));
    assert_small(&project, &[&["run", "pipeline.toml"]], 600);
}

#[test]
fn large_rows_in_one_row_group_pass_through_the_stages_and_into_the_results() {
    let project = Project::new();
    let rows = 120;
    let ids: StringArray = (0..rows).map(|row| Some(format!("k{row}"))).collect();
    let texts: StringArray = (0..rows).map(|row| Some(format!("The bridge {row} is closed. {}", "x".repeat(MB)))).collect();
    let properties = WriterProperties::builder().set_dictionary_enabled(false).set_compression(Compression::UNCOMPRESSED);
    write(&project, [("id", Arc::new(ids)), ("text", Arc::new(texts))], properties.build());
    project.write("pipeline.toml", &pipeline("{{ id }}: {{ text[:30] }}", "[\"id\", \"summary\", \"text\"]"));
    // Also where nothing is left to do, and where everything is written anew.
    assert_small(&project, &[&["run", "pipeline.toml"], &["run", "pipeline.toml"], &["replay", "pipeline.toml"]], rows);
    let lengths = project.query("SELECT min(length(text)) > 1048576 AS whole FROM results");
    assert_eq!(lengths, [serde_json::json!({"whole": true})]);
}

#[test]
fn large_rows_in_one_large_page_are_read_part_by_part() {
    let project = Project::new();
    let rows = 200;
    let ids: StringArray = (0..rows).map(|row| Some(format!("k{row}"))).collect();
    let texts: StringArray = (0..rows).map(|row| Some(format!("The bridge {row} is closed. {}", "x".repeat(2 * MB)))).collect();
    // As the writers do that end a page after so many rows.
    let properties = WriterProperties::builder().set_dictionary_enabled(false).set_compression(Compression::SNAPPY);
    let properties = properties.set_data_page_size_limit(1 << 30).set_write_batch_size(1_024);
    let properties = properties.set_write_page_header_statistics(true);
    write(&project, [("id", Arc::new(ids)), ("text", Arc::new(texts))], properties.build());
    project.write("pipeline.toml", &pipeline("{{ id }}: {{ text[:30] }}", "[\"id\", \"summary\"]"));
    assert_small(&project, &[&["run", "pipeline.toml"]], rows);
}
