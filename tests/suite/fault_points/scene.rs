//! A small job whose rows, words and money are known beforehand, and what is wrong with what a run has left of it.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rustix::process::{Pid, Signal, kill_process};

use crate::as_tried::Job;
use crate::bucket::Bucket;
use crate::spy::{Reply, Spy};
use crate::support::{Project, Ran};

/// The longest that anything here takes.
const PATIENCE: Duration = Duration::from_secs(90);

/// A row of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) id: i64,
    pub(crate) body: String,
}

/// The row of an id: two ask the same, and one gets no answer.
pub(crate) fn row(id: i64) -> Row {
    let body = match id {
        3 => "dead 3".to_owned(),
        6 | 7 => "the same".to_owned(),
        id => format!("text {id}"),
    };
    Row { id, body }
}

/// What has to be there in the end.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) rows: Vec<Row>,
    /// What the results say of every row before its body, and what the server does.
    pub(crate) says: &'static str,
    pub(crate) said: &'static str,
    /// Whether rows of which it says `dead` are answered.
    pub(crate) answers_dead: bool,
    /// So many answers about one text may have been paid for and journalled.
    pub(crate) answers: usize,
    /// Whether rows bear all that attempts have cost: nothing was asked otherwise, and no row has gone.
    pub(crate) rows_bear_all: bool,
    /// Whether any reader of Parquet may read the sink.
    pub(crate) bare: bool,
}

/// A project, and the bucket that its results and its state are in, if they are not on the disk.
pub(crate) struct Trial<'b> {
    pub(crate) project: Project,
    pub(crate) bucket: Option<&'b Bucket>,
}

impl Trial<'_> {
    /// Every Parquet file of the sink.
    fn sink_files(&self) -> Vec<(String, Bytes)> {
        let is_parquet = |name: &str| name.ends_with(".parquet");
        if let Some(bucket) = self.bucket {
            let objects = bucket.contents().into_iter().map(|(name, bytes)| (name, Bytes::from(bytes)));
            return objects.filter(|(name, _)| name.starts_with("out/results/") && is_parquet(name)).collect();
        }
        let names = self.project.files().into_iter().filter(|name| name.starts_with("out/results/") && is_parquet(name));
        names.map(|name| (name.clone(), std::fs::read(self.project.path(&name)).expect("a file").into())).collect()
    }
}

/// A server that says `Answer to TEXT.`, and nothing about rows that are `dead` until it is told to.
pub(crate) fn server(answers_dead: &Arc<AtomicBool>) -> Spy {
    let answers_dead = Arc::clone(answers_dead);
    Spy::scripted(move |asked, _| {
        let silent = |text: &str| text.contains("dead") && !answers_dead.load(Ordering::Relaxed);
        Reply::says(asked, |text| if silent(text) { String::new() } else { format!("Answer to {text}.") })
    })
}

/// The job: two rows a request, two requests at a time, as many commits as there can be.
pub(crate) fn job(url: &str) -> Job {
    let mut job = Job::new(url);
    // Most shapes have dead letters among few rows.
    job.top = "max_dead_letters = \"100%\"".to_owned();
    job.rows = "2".to_owned();
    job.llm = "concurrency = 2\nattempts = 2".to_owned();
    // On S3 a response waits for company.
    job.more = "[state]\nflush = \"20ms\"".to_owned();
    job.sink = "partition_by = [\"place\"]\ncommit_every = \"1ms\"".to_owned();
    job
}

/// Writes the source.
pub(crate) fn write_rows(project: &Project, rows: &[Row]) {
    let ids: Int64Array = rows.iter().map(|row| Some(row.id)).collect();
    let bodies: StringArray = rows.iter().map(|row| Some(row.body.as_str())).collect();
    let places: StringArray = rows.iter().map(|row| Some(if row.id % 2 == 0 { "a" } else { "b" })).collect();
    let columns: [(&str, ArrayRef); 3] = [("id", Arc::new(ids)), ("body", Arc::new(bodies)), ("place", Arc::new(places))];
    let batch = RecordBatch::try_from_iter(columns).expect("a batch");
    let file = std::fs::File::create(project.path("rows.parquet")).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("rows");
    writer.close().expect("a footer");
}

/// The exit code of a command that never ends.
pub(crate) const ENDLESS: i32 = -99;

/// Runs a command to its end.
pub(crate) fn run(command: Command) -> Ran {
    run_when(command, |_| {})
}

/// Runs a command to its end; before it gets a line to read, something is done with its number.
pub(crate) fn run_when(mut command: Command, ready: impl FnOnce(u32)) -> Ran {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let pid = Pid::from_child(&child);
    ready(child.id());
    if let Some(mut input) = child.stdin.take() {
        input.write_all(b"go\n").expect("written");
    }
    let (ended, outcome) = mpsc::channel();
    std::thread::spawn(move || ended.send(child.wait_with_output()));
    match outcome.recv_timeout(PATIENCE) {
        Ok(output) => output.expect("ends").into(),
        Err(_) => {
            let _ = kill_process(pid, Signal::KILL);
            Ran { code: ENDLESS, stdout: String::new(), stderr: format!("still at work after {} s", PATIENCE.as_secs()) }
        }
    }
}

/// `promptmill COMMAND pipeline.toml …` for a run or a replay.
pub(crate) fn command(project: &Project, arguments: &[&str]) -> Command {
    let mut command = project.command(&[arguments[0], "pipeline.toml", "--progress", "none"]);
    command.args(&arguments[1..]);
    command
}

const EVERYTHING: &str = "SELECT 'result' AS kind, id, summary AS said, CAST(coalesce(cost_usd, 0) * 1000000000 AS BIGINT) AS nano FROM results \
     UNION ALL SELECT 'dead', id, NULL, CAST(coalesce(cost_usd, 0) * 1000000000 AS BIGINT) FROM dead_letters \
     UNION ALL SELECT 'attempt', answered, raw_response, CAST(coalesce(cost_usd, 0) * 1000000000 AS BIGINT) FROM attempts \
     UNION ALL SELECT 'unassigned', NULL, concat(key, ': ', reason), CAST(cost_usd * 1000000000 AS BIGINT) FROM unassigned_costs";

/// What is wrong in the end: rows, words, money, answers that were paid for twice.
pub(crate) fn wrong(trial: &Trial<'_>, expected: &Expected) -> Vec<String> {
    let ran = run(trial.project.command(&["sql", "pipeline.toml", EVERYTHING, "--output", "json"]));
    if ran.code != 0 {
        return vec![format!("sql: exit {}: {}", ran.code, first_lines(&ran.stderr))];
    }
    let found = ran.json();
    let mut wrong = Vec::new();
    let mut times: BTreeMap<i64, usize> = BTreeMap::new();
    let (mut rows, mut attempts, mut unassigned, mut answers) = (0, 0, 0, Vec::new());
    for line in found.as_array().expect("rows") {
        let (kind, said) = (line["kind"].as_str().expect("a kind"), line["said"].as_str());
        let (id, nano) = (line["id"].as_i64().unwrap_or_default(), line["nano"].as_i64().expect("money"));
        if kind == "attempt" {
            attempts += nano;
            answers.extend(said.filter(|_| id > 0));
            continue;
        }
        if kind == "unassigned" {
            unassigned += nano;
            if nano < 0 || expected.rows_bear_all {
                wrong.push(format!("{nano} nano-dollars of attempts are in no row: {}", said.unwrap_or_default()));
            }
            continue;
        }
        rows += nano;
        *times.entry(id).or_default() += 1;
        let body = expected.rows.iter().find(|row| row.id == id).map(|row| row.body.as_str());
        let right = body.filter(|body| expected.answers_dead || !body.contains("dead")).map(|body| format!("{}{body}.", expected.says));
        if said != right.as_deref() || body.is_none() {
            wrong.push(format!("key {id} is in {kind}s with {said:?}, not {right:?}"));
        }
    }
    for row in &expected.rows {
        let times = times.get(&row.id).copied().unwrap_or_default();
        if times != 1 {
            wrong.push(format!("key {} is there {times} times", row.id));
        }
        let answer = format!("{}{}.", expected.said, row.body);
        let answers = answers.iter().filter(|said| said.contains(&answer)).count();
        if answers > expected.answers {
            wrong.push(format!("{answers} answers about `{}` were journalled", row.body));
        }
    }
    if rows + unassigned != attempts {
        wrong.push(format!("rows cost {rows} nano-dollars, {unassigned} are no row's, attempts {attempts}"));
    }
    if expected.bare {
        wrong.extend(wrong_in_folder(trial, Some(expected)));
    }
    wrong
}

/// What is wrong for somebody who reads every Parquet file of the sink: rows that are there twice, and at the end any that
/// are not there.
pub(crate) fn wrong_in_folder(trial: &Trial<'_>, expected: Option<&Expected>) -> Vec<String> {
    let mut times: BTreeMap<i64, usize> = BTreeMap::new();
    for (name, bytes) in trial.sink_files() {
        match ids(bytes) {
            Ok(ids) => ids.into_iter().for_each(|id| *times.entry(id).or_default() += 1),
            Err(error) => return vec![format!("{name} cannot be read: {error}")],
        }
    }
    let mut wrong: Vec<String> =
        times.iter().filter(|(_, times)| **times > 1).map(|(id, times)| format!("the folder has key {id} {times} times")).collect();
    if let Some(expected) = expected {
        let answered = expected.rows.iter().filter(|row| expected.answers_dead || !row.body.contains("dead"));
        let missing = answered.filter(|row| !times.contains_key(&row.id));
        wrong.extend(missing.map(|row| format!("the folder has no key {}", row.id)));
        let strangers = times.keys().filter(|id| !expected.rows.iter().any(|row| row.id == **id));
        wrong.extend(strangers.map(|id| format!("the folder still has key {id}")));
    }
    wrong
}

fn ids(file: Bytes) -> Result<Vec<i64>, Box<dyn std::error::Error>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)?.build()?;
    let mut ids = Vec::new();
    for batch in reader {
        ids.extend(batch?.column_by_name("id").ok_or("no id")?.as_primitive::<Int64Type>().values());
    }
    Ok(ids)
}

/// The beginning of what a command said, for a report of one line.
pub(crate) fn first_lines(text: &str) -> String {
    text.lines().filter(|line| !line.is_empty()).take(3).collect::<Vec<_>>().join(" | ")
}
