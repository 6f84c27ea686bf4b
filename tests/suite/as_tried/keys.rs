//! Keys of several columns.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array};
use serde_json::json;

use super::Job;
use super::values::{texts, write};
use crate::spy::{Reply, Spy};
use crate::support::Project;

fn server() -> Spy {
    Spy::scripted(|asked, _| Reply::says(asked, |text| if text.contains("none") { String::new() } else { format!("Answer to {text}") }))
}

/// A job over rows that are known by year, place and number.
fn job(spy: &Spy) -> Job {
    let mut job = Job::new(&spy.url);
    job.source = "path = \"rows.parquet\"\nkey = [\"year\", \"place\", \"number\"]".to_owned();
    job.llm = "concurrency = 1\nattempts = 1".to_owned();
    job.sink = "partition_by = [\"year\"]\ncolumns = [\"year\", \"place\", \"number\", \"summary\"]".to_owned();
    job
}

fn put(project: &Project, rows: &[(i32, &str, i64, &str)]) {
    let years: ArrayRef = Arc::new(rows.iter().map(|row| Some(row.0)).collect::<Int32Array>());
    let numbers: ArrayRef = Arc::new(rows.iter().map(|row| Some(row.2)).collect::<Int64Array>());
    let places = texts(&rows.iter().map(|row| Some(row.1)).collect::<Vec<_>>());
    let bodies = texts(&rows.iter().map(|row| Some(row.3)).collect::<Vec<_>>());
    write(project, "rows.parquet", vec![("year", years), ("place", places), ("number", numbers), ("body", bodies)]);
}

const ROWS: [(i32, &str, i64, &str); 4] =
    [(2023, "a|b", 1, "amber"), (2023, "a", 1, "beryl"), (2024, "a", 1, "none"), (2024, "a\",\"1", 1, "coral")];

#[test]
fn several_columns_are_a_key_together() {
    let spy = server();
    let project = Project::new();
    put(&project, &ROWS);
    project.write("pipeline.toml", &job(&spy).toml());
    project.run(&["check", "pipeline.toml"]).expect(0);
    let summary = project.run_pipeline(&[]).expect(0).json();
    assert_eq!((&summary["rows"]["answered"], &summary["rows"]["dead_letters"]), (&json!(3), &json!(1)), "{summary}");
    let rows = project.query("SELECT year, place, number, summary FROM results ORDER BY year, place");
    assert_eq!(rows[1], json!({"year": 2023, "place": "a|b", "number": 1, "summary": "Answer to amber"}));
    let letters = project.query("SELECT year, place, number, reason FROM dead_letters");
    assert_eq!((letters.len(), &letters[0]["year"], &letters[0]["number"]), (1, &json!(2024), &json!(1)), "{letters:?}");
    let keys = project.query("SELECT unnest(keys) AS key FROM attempts ORDER BY 1");
    let keys: Vec<_> = keys.iter().map(|row| row["key"].as_str().unwrap_or_default()).collect();
    assert_eq!(keys, [r#"["2023","a","1"]"#, r#"["2023","a|b","1"]"#, r#"["2024","a","1"]"#, r#"["2024","a\",\"1","1"]"#]);
    assert_eq!(project.number("SELECT count(*) FROM unassigned_costs"), 0.0);
    assert_eq!(project.number("SELECT count(*) FROM results WHERE row_key(year, place, number) = '[\"2023\",\"a|b\",\"1\"]'"), 1.0);
    project.assert_money_agrees();
    project.run(&["report", "pipeline.toml", "--to", "report.html"]).expect(0);
    assert_eq!(project.run_pipeline(&[]).expect(0).json()["rows"]["unchanged"], 4);
    assert_eq!(project.run_pipeline(&["--retry-dead-letters"]).expect(0).json()["rows"]["dead_letters"], 1);
    assert_eq!(spy.asked().len(), 5);
    // A row that has changed takes the place of its older self, one that has left goes, and the others stay.
    put(&project, &[ROWS[0], (2023, "a", 1, "beryl, again"), ROWS[3]]);
    let plan = project.run(&["plan", "pipeline.toml"]).expect(0).stdout;
    assert!(plan.contains("1 to ask (0 new, 1 changed)"), "{plan}");
    project.run_pipeline(&["--prune"]).expect(0);
    let rows = project.query("SELECT year, place, summary FROM results ORDER BY year, place");
    assert_eq!((rows.len(), &rows[0]["summary"]), (3, &json!("Answer to beryl, again")), "{rows:?}");
    assert_eq!(project.number("SELECT count(*) FROM dead_letters"), 0.0);
    project.run(&["replay", "pipeline.toml", "--progress", "none"]).expect(0);
    assert_eq!(project.query("SELECT year, place, summary FROM results ORDER BY year, place"), rows);
    let asked = spy.asked().len();
    project.run_pipeline(&["--fresh"]).expect(0);
    assert_eq!((project.number("SELECT count(*) FROM results"), spy.asked().len()), (3.0, asked + 3));
    let sums = "SELECT (SELECT coalesce(sum(cost_usd), 0) FROM attempts) - (SELECT coalesce(sum(cost_usd), 0) FROM results) \
                - (SELECT coalesce(sum(cost_usd), 0) FROM unassigned_costs) AS difference";
    assert_eq!(project.number(sums), 0.0);
}

#[test]
fn a_key_of_several_columns_that_is_none_is_refused() {
    let spy = server();
    let project = Project::new();
    put(&project, &[ROWS[0], (2023, "a|b", 1, "twice")]);
    project.write("pipeline.toml", &job(&spy).toml());
    let said = project.run_pipeline(&[]).expect(2).stderr;
    assert!(said.contains(r#"the key columns `year`, `place`, `number` are not unique: `["2023","a|b","1"]` (2 rows)"#), "{said}");
    for (key, words) in
        [("[\"year\", \"plaec\"]", "did you mean `place`?"), ("[\"year\", \"year\"]", "stands twice"), ("[]", "`key`"), ("3", "`key`")]
    {
        project.write("pipeline.toml", &job(&spy).toml().replace("[\"year\", \"place\", \"number\"]\n", &format!("{key}\n")));
        let said = project.run(&["check", "pipeline.toml"]).expect(2).stderr;
        assert!(said.contains(words) && said.contains("pipeline.toml:6:"), "{key}: {said}");
    }
    let without = job(&spy).toml().replace("columns = [\"year\", ", "columns = [");
    project.write("pipeline.toml", &without);
    assert!(project.run(&["check", "pipeline.toml"]).expect(2).stderr.contains("`columns` leaves out the key `year`"));
    write(
        &project,
        "rows.parquet",
        vec![
            ("year", Arc::new(Int32Array::from(vec![2024, 2024])) as ArrayRef),
            ("place", texts(&[None, Some("a")])),
            ("number", Arc::new(Int64Array::from(vec![1, 1])) as ArrayRef),
            ("body", texts(&[Some("x"), Some("y")])),
        ],
    );
    project.write("pipeline.toml", &job(&spy).toml());
    let said = project.run_pipeline(&[]).expect(2).stderr;
    assert!(said.contains("1 row has no value in the key columns `year`, `place`, `number`"), "{said}");
    assert!(spy.asked().is_empty());
}

#[test]
fn a_list_of_one_column_is_that_column_and_another_key_is_refused() {
    let spy = server();
    let mut job = Job::new(&spy.url);
    let project = job.project(&["amber", "beryl"]);
    project.run_pipeline(&[]).expect(0);
    job.source = "path = \"rows.parquet\"\nkey = [\"id\"]".to_owned();
    project.write("pipeline.toml", &job.toml());
    assert_eq!(project.run_pipeline(&[]).expect(0).json()["rows"]["unchanged"], 2);
    job.source = "path = \"rows.parquet\"\nkey = [\"id\", \"body\"]".to_owned();
    project.write("pipeline.toml", &job.toml());
    let said = project.run_pipeline(&[]).expect(2).stderr;
    assert!(
        said.contains("known by column `id`") && said.contains("known by columns `id`, `body`") && said.contains("keep `key = \"id\"`"),
        "{said}"
    );
    assert_eq!(spy.asked().len(), 2);
}

#[test]
fn a_key_that_is_a_partition_is_found_in_the_folders() {
    let spy = server();
    let mut job = Job::new(&spy.url);
    job.sink = "partition_by = [\"id\"]".to_owned();
    let project = job.project(&["amber", "beryl"]);
    project.run_pipeline(&[]).expect(0);
    super::write_rows(&project, "rows.parquet", &["amber, again"]);
    project.run_pipeline(&["--prune"]).expect(0);
    assert_eq!(project.query("SELECT id, summary FROM results"), [json!({"id": "k0", "summary": "Answer to amber, again"})]);
}
