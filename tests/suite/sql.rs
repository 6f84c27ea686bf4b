//! SQL over what a pipeline leaves behind, as query files with their expected rows.
//!
//! The queries run against one pipeline with a seeded provider, so that the rows are always the same.

use std::process::Command;

use promptmill_sim::SimConfig;
use sqllogictest::{DBOutput, DefaultColumnType, Runner, default_column_validator, default_normalizer, default_validator};

use crate::support::{Project, root};

struct Binary<'a>(&'a Project);

#[derive(Debug)]
struct Failed(String);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failed {}

impl sqllogictest::DB for Binary<'_> {
    type Error = Failed;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failed> {
        let mut command: Command = self.0.command(&["sql", "pipeline.toml", sql, "--output", "csv"]);
        let output = command.output().map_err(|error| Failed(error.to_string()))?;
        if !output.status.success() {
            return Err(Failed(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut lines = text.lines();
        let columns = lines.next().map_or(0, |header| header.split(',').count());
        let rows = lines
            .map(|line| line.split(',').map(|cell| if cell.is_empty() { "NULL".to_owned() } else { cell.to_owned() }).collect())
            .collect();
        Ok(DBOutput::Rows { types: vec![DefaultColumnType::Any; columns], rows })
    }
}

#[test]
fn queries_over_results_attempts_and_dead_letters() {
    let mut config = SimConfig::instant();
    config.seed = 5;
    config.faults.set("missing-ids", 0.1).expect("a fault");
    config.faults.set("english", 0.1).expect("a fault");
    config.faults.set("metadata-leak", 0.1).expect("a fault");
    let project = Project::simulated(200, config);
    project.write("pipeline.toml", &project.simulated_pipeline("concurrency = 1\nattempts = 2"));
    project.run_pipeline(&[]).expect(0);
    for file in ["results", "dead_letters", "attempts"] {
        let mut runner = Runner::new(|| async { Ok(Binary(&project)) });
        let path = root().join(format!("tests/sql/{file}.slt"));
        // With `UPDATE_SLT=1` the files are written anew from what the queries say now; read the difference.
        if std::env::var_os("UPDATE_SLT").is_some() {
            let update = runner.update_test_file(&path, " ", default_validator, default_normalizer, default_column_validator);
            futures::executor::block_on(update).expect("the file is written");
        }
        runner.run_file(&path).unwrap_or_else(|error| panic!("{}", error.display(false)));
    }
}

#[test]
fn rows_are_printed_as_table_json_and_csv() {
    let project = Project::simulated(10, SimConfig::instant());
    project.run_pipeline(&[]).expect(0);
    let query = "SELECT count(*) AS n, 'a,b' AS text FROM results";
    let print = |format: &str| project.run(&["sql", "pipeline.toml", query, "--output", format]).expect(0).stdout;
    assert_eq!(print("json").trim(), r#"[{"n":10,"text":"a,b"}]"#);
    assert_eq!(print("csv"), "n,text\n10,\"a,b\"\n");
    assert!(print("table").contains("| 10 | a,b  |"), "{}", print("table"));
    let nested = "SELECT [1, 2] AS list, named_struct('a', 'x') AS it, NULL AS none";
    let csv = project.run(&["sql", "pipeline.toml", nested, "--output", "csv"]).expect(0).stdout;
    assert_eq!(csv, "list,it,none\n\"[1,2]\",\"{\"\"a\"\":\"\"x\"\"}\",\n");
}

#[test]
fn queries_only_and_clear_errors() {
    let project = Project::simulated(10, SimConfig::instant());
    let ran = project.run(&["sql", "pipeline.toml", "SELECT nothing FROM results"]).expect(1);
    assert!(ran.stderr.contains("nothing"), "{}", ran.stderr);
    project.run(&["sql", "pipeline.toml", "DROP TABLE results"]).expect(1);
    let empty = project.run(&["sql", "pipeline.toml", "SELECT * FROM results", "--output", "json"]).expect(0);
    assert_eq!(empty.stdout.trim(), "[]", "a pipeline that has not run has no results");
    for table in ["source", "results", "dead_letters", "attempts", "runs"] {
        project.run(&["sql", "pipeline.toml", &format!("SELECT count(*) FROM {table}")]).expect(0);
    }
}

#[test]
fn rows_are_written_as_parquet_to_a_pipe_or_a_file_and_whole_or_not_at_all() {
    let project = Project::simulated(30, SimConfig::instant());
    project.run_pipeline(&[]).expect(0);
    let rows = |path: &str| {
        let file = std::fs::File::open(project.path(path)).expect("a file");
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet").build().expect("rows");
        reader.map(|batch| batch.expect("a batch").num_rows()).sum::<usize>()
    };
    let query = "SELECT motion_id, summary, summary_flags, cost_usd, year FROM results";
    project.run(&["sql", "pipeline.toml", query, "--output", "parquet", "--to", "rows.parquet"]).expect(0);
    let piped = project.command(&["sql", "pipeline.toml", query, "--output", "parquet"]).output().expect("the binary runs");
    std::fs::write(project.path("piped.parquet"), &piped.stdout).expect("a file");
    assert_eq!((rows("rows.parquet"), rows("piped.parquet")), (30, 30));
    // No rows are a file too, with the columns.
    project.run(&["sql", "pipeline.toml", "SELECT * FROM dead_letters", "--output", "parquet", "--to", "none.parquet"]).expect(0);
    assert_eq!(rows("none.parquet"), 0);
    // A query that fails half way leaves what was there, and nothing beside it.
    let wrong = "SELECT 1 / (CASE WHEN motion_id > '' THEN 0 ELSE 1 END) FROM results";
    let ran = project.run(&["sql", "pipeline.toml", wrong, "--output", "parquet", "--to", "rows.parquet"]).expect(1);
    assert!(ran.stderr.contains("the query failed"), "{}", ran.stderr);
    assert_eq!(rows("rows.parquet"), 30);
    assert!(!project.files().iter().any(|file| file.ends_with(".part")), "{:?}", project.files());
    project.run(&["sql", "pipeline.toml", "SELECT 1 AS one", "--output", "csv", "--to", "one.csv"]).expect(0);
    assert_eq!(std::fs::read_to_string(project.path("one.csv")).expect("a file"), "one\n1\n");
}
