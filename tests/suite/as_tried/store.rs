//! Files that cannot be written, that a power cut has left behind, or that somebody reads while they change.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::properties::WriterProperties;

use super::{Job, write_rows};
use crate::bucket::Bucket;
use crate::spy::{Asked, Reply, Spy};
use crate::support::{Project, Ran};

const BODIES: [&str; 8] = ["amber", "beryl", "coral", "diamond", "emerald", "flint", "garnet", "hematite"];

/// What the model says is what the results are partitioned by; of `diamond` it says nothing.
fn spy() -> Spy {
    Spy::scripted(|asked, _| {
        Reply::says(asked, |text| match text {
            "diamond" => String::new(),
            text => text.chars().next().map(String::from).unwrap_or_default(),
        })
        // Slow enough that they come to be written in more than one commit.
        .after(Duration::from_millis(70))
    })
}

fn partitioned(spy: &Spy) -> Job {
    let mut job = Job::new(&spy.url);
    job.llm = "concurrency = 1\nattempts = 1".to_owned();
    job.sink = "partition_by = [\"summary\"]\ncommit_every = \"10ms\"".to_owned();
    job
}

/// Every row is settled once, and what rows and attempts cost is the same.
#[track_caller]
fn assert_whole(project: &Project, rows: usize) {
    let found = project.query("SELECT id FROM results UNION ALL SELECT id FROM dead_letters ORDER BY id");
    let found: Vec<&str> = found.iter().map(|row| row["id"].as_str().expect("a key")).collect();
    let mut all: Vec<String> = (0..rows).map(|row| format!("k{row}")).collect();
    all.sort();
    assert_eq!(found, all);
    project.assert_money_agrees();
}

/// How often each row of a bare folder is there for a reader that takes every `.parquet` file below it.
fn bare(folder: &Path) -> BTreeMap<String, usize> {
    let mut rows = BTreeMap::new();
    for file in files(folder).iter().filter(|path| path.extension().is_some_and(|end| end == "parquet")) {
        // It may have gone in the meantime.
        let Ok(file) = std::fs::File::open(file) else { continue };
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("a whole file").build().expect("a reader");
        for batch in reader.map(|batch| batch.expect("rows")) {
            let keys = batch.column_by_name("id").expect("keys");
            let keys = keys.as_any().downcast_ref::<arrow::array::StringArray>().expect("texts");
            keys.iter().flatten().for_each(|key| *rows.entry(key.to_owned()).or_default() += 1);
        }
    }
    rows
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn a_file_that_cannot_be_written_loses_no_row_whatever_it_holds() {
    // Something lies where a folder is needed: of results, of dead letters, of the index, of the records themselves.
    for place in ["out/results/summary=c", "dead_letters", "index", "commits/00000002.json"] {
        let spy = spy();
        let project = partitioned(&spy).project(&BODIES);
        let place = if place.starts_with("out/") { project.path(place) } else { project.path("out/_promptmill/job").join(place) };
        std::fs::create_dir_all(place.parent().expect("a folder")).expect("made");
        if place.extension().is_some() {
            std::fs::create_dir(&place).expect("made");
        } else {
            std::fs::write(&place, "no folder").expect("written");
        }
        let ran = project.run_pipeline(&[]).expect(1);
        let asked = spy.asked().len();
        if place.is_dir() { std::fs::remove_dir(&place) } else { std::fs::remove_file(&place) }.expect("out of the way");
        let summary = project.run_pipeline(&[]).expect(0).json();
        assert_eq!(summary["rows"]["remaining"], 0, "{}: {summary}", ran.stderr);
        assert_whole(&project, BODIES.len());
        let (all, again) = (spy.asked().len(), project.run_pipeline(&[]).expect(0).json());
        assert_eq!((again["rows"]["unchanged"].as_u64(), spy.asked().len()), (Some(8), all), "{}", place.display());
        // Only the row that has no answer may be asked about again.
        let texts = |asked: &[Asked]| asked.iter().flat_map(Asked::items).map(|(_, text)| text).collect::<Vec<_>>();
        let all = spy.asked();
        let (before, later) = (texts(&all[..asked]), texts(&all[asked..]));
        let twice: Vec<&String> = later.iter().filter(|text| *text != "diamond" && before.contains(text)).collect();
        assert!(twice.is_empty(), "{}: paid twice: {twice:?}", place.display());
    }
}

#[test]
fn changed_rows_keep_their_old_answers_until_the_new_ones_are_stored() {
    let spy = spy();
    let project = partitioned(&spy).project(&BODIES);
    project.run_pipeline(&[]).expect(0);
    let changed: Vec<String> = BODIES.iter().map(|body| format!("new {body}")).collect();
    write_rows(&project, "rows.parquet", &changed.iter().map(String::as_str).collect::<Vec<_>>());
    // Where the new files are to lie until the old ones have gone.
    let staging = project.path("out/results/_staging");
    std::fs::write(&staging, "no folder").expect("written");
    project.run_pipeline(&[]).expect(1);
    assert_eq!(project.query("SELECT DISTINCT summary FROM results").len(), 7, "the old ones");
    std::fs::remove_file(&staging).expect("out of the way");
    let asked = spy.asked().len();
    project.run_pipeline(&[]).expect(0);
    assert_whole(&project, BODIES.len());
    assert_eq!(project.query("SELECT DISTINCT summary FROM results").len(), 1, "all are new: `n`");
    assert_eq!(spy.asked().len(), asked, "from the journal");
}

#[test]
fn a_store_that_refuses_one_file_once_loses_no_row() {
    let Some(bucket) = Bucket::start() else { return };
    let refused = ["/out/results/", "/dead_letters/", "/index/", "/commits/00000003"];
    for (number, path) in refused.into_iter().enumerate() {
        let spy = spy();
        let mut project = partitioned(&spy).project(&BODIES);
        project.environment = bucket.environment();
        let text = std::fs::read_to_string(project.path("pipeline.toml")).expect("a pipeline");
        project.write("pipeline.toml", &text.replace("\"out/results\"", &format!("\"s3://lake/{number}/out/results\"")));
        bucket.faults(&serde_json::json!({"once": ["PUT", path]}));
        project.run_pipeline(&[]).expect(1);
        project.run_pipeline(&[]).expect(0);
        assert_whole(&project, BODIES.len());
        let again = project.run_pipeline(&[]).expect(0).json();
        assert_eq!(again["rows"]["unchanged"], 8, "{path}: {again}");
    }
}

#[test]
fn a_partition_whose_name_is_too_long_makes_a_dead_letter_and_the_answer_is_kept() {
    let spy = Spy::scripted(|asked, _| Reply::says(asked, |text| if text == "coral" { "x".repeat(300) } else { "é/é".to_owned() }));
    let project = partitioned(&spy).project(&BODIES[..4]);
    let summary = project.run_pipeline(&[]).expect(0).json();
    assert_eq!((summary["rows"]["answered"].as_u64(), summary["rows"]["dead_letters"].as_u64()), (Some(3), Some(1)));
    assert_whole(&project, 4);
    let letter = &project.query("SELECT * FROM dead_letters")[0];
    assert_eq!((letter["id"].as_str(), letter["reason"].as_str()), (Some("k2"), Some("partition-too-long")));
    assert!(letter["detail"].as_str().is_some_and(|detail| detail.contains("308 bytes")), "{letter}");
    assert_eq!(project.run_pipeline(&[]).expect(0).json()["rows"]["unchanged"], 4);
    // With other partitions the answer that the journal has is good.
    let text = std::fs::read_to_string(project.path("pipeline.toml")).expect("a pipeline");
    project.write("pipeline.toml", &text.replace("partition_by = [\"summary\"]", "").replace("out/results", "out/others"));
    project.write("pipeline.toml", &text.replace("partition_by = [\"summary\"]", ""));
    let ran = project.run_pipeline(&["--fresh", "--set", "sink.path=other/results"]).expect(0).json();
    assert_eq!(ran["rows"]["dead_letters"], 0, "{ran}");
}

#[test]
fn a_row_whose_partition_the_source_makes_too_long_is_not_asked() {
    let spy = Spy::scripted(|asked, _| Reply::says(asked, |text| if text == "short" { "x".repeat(300) } else { text.to_owned() }));
    let mut job = Job::new(&spy.url);
    job.llm = "concurrency = 1\nattempts = 1".to_owned();
    job.sink = "partition_by = [\"body\", \"summary\"]".to_owned();
    // Once escaped, each of these characters is three bytes.
    let bodies = ["short".to_owned(), "y".repeat(251), "/".repeat(84), "é".repeat(126), "fits".to_owned()];
    let project = job.project(&bodies.iter().map(String::as_str).collect::<Vec<_>>());
    let plan = project.run(&["plan", "pipeline.toml"]).expect(0).stdout;
    assert!(plan.contains("2 to ask") && plan.contains("3 rows are not asked"), "{plan}");
    let summary = project.run_pipeline(&["--set", "max_dead_letters=100%"]).expect(0).json();
    assert_eq!((summary["rows"]["answered"].as_u64(), summary["rows"]["dead_letters"].as_u64()), (Some(1), Some(4)), "{summary}");
    assert_eq!(summary["rejections"]["partition-too-long"], 3, "those that the source tells: {summary}");
    assert_eq!(spy.asked().len(), 2);
    let letters = project.query("SELECT id, reason, llm_attempts, detail FROM dead_letters ORDER BY id");
    let letters: Vec<_> = letters.iter().map(|row| (row["id"].as_str(), row["reason"].as_str(), row["llm_attempts"].as_u64())).collect();
    let long = |id, attempts| (Some(id), Some("partition-too-long"), Some(attempts));
    assert_eq!(letters, [long("k0", 1), long("k1", 0), long("k2", 0), long("k3", 0)]);
    assert_whole(&project, 5);
    assert_eq!(project.run_pipeline(&["--set", "max_dead_letters=100%"]).expect(0).json()["rows"]["unchanged"], 5);
    // Asked again, they are turned away again, unpaid.
    project.run_pipeline(&["--retry-dead-letters", "--set", "max_dead_letters=100%"]).expect(0);
    assert_eq!(spy.asked().len(), 2);
    project.assert_money_agrees();
}

#[test]
fn what_a_power_cut_has_left_unwritten_counts_as_not_written() {
    let last = |folder: PathBuf| files(&folder).into_iter().filter(|path| path.extension().is_some_and(|end| end == "json")).max();
    type Find = fn(PathBuf, &dyn Fn(PathBuf) -> Option<PathBuf>) -> PathBuf;
    let torn: [(&str, Find); 6] = [
        ("the last record", |state, last| last(state.join("commits")).expect("a record")),
        ("a checkpoint", |state, _| state.join("commits/00000002.checkpoint")),
        ("the sink's bond", |state, _| state.join("sink.json")),
        ("what questions are known by", |state, _| state.join("question.json")),
        ("a note of --fresh", |state, _| state.join("fresh.json")),
        ("a record of a run", |state, last| last(state.join("runs")).expect("a record")),
    ];
    for (what, find) in torn {
        for left in ["", "{\"comm", "\0\0\0\0\0\0\0\0"] {
            let spy = spy();
            let project = partitioned(&spy).project(&BODIES[..5]);
            project.run_pipeline(&[]).expect(0);
            write_rows(&project, "rows.parquet", &BODIES[..7]);
            project.run_pipeline(&[]).expect(0);
            let asked = spy.asked().len();
            std::fs::write(find(project.path("out/_promptmill/job"), &last), left).expect("torn");
            for command in ["plan", "report"] {
                project.run(&[command, "pipeline.toml"]).expect(0);
            }
            let before = project.query("SELECT count(*) AS n FROM dead_letters");
            assert_eq!(before[0]["n"], 1, "{what}");
            write_rows(&project, "rows.parquet", &BODIES);
            let ran = project.run_pipeline(&[]).expect(0);
            assert_whole(&project, BODIES.len());
            let new: Vec<String> = spy.asked()[asked..].iter().flat_map(|asked| asked.items()).map(|(_, text)| text).collect();
            assert!(new.iter().all(|text| text == "hematite" || text == "diamond"), "{what}: {new:?}");
            assert_eq!(bare(&project.path("out/results")).values().sum::<usize>(), 7, "{what}: {}", ran.stderr);
            assert_eq!(project.run_pipeline(&[]).expect(0).json()["rows"]["unchanged"], 8, "{what}");
        }
    }
}

#[test]
fn a_reader_of_the_bare_folder_sees_no_row_twice() {
    let spy = spy();
    let mut job = Job::new(&spy.url);
    job.sink = "commit_every = \"1ms\"".to_owned();
    let project = job.project(&BODIES);
    // Many small files, made one while somebody looks; then some rows take the place of others.
    for number in 1..6 {
        let bodies: Vec<String> = (0..8 + number * 4).map(|row| format!("{} {row} {}", BODIES[row % 8], number * row / 16)).collect();
        write_rows(&project, "rows.parquet", &bodies.iter().map(String::as_str).collect::<Vec<_>>());
        let mut child = project.command(&["run", "pipeline.toml", "--progress", "none"]).spawn().expect("starts");
        let mut looks = 0;
        while child.try_wait().expect("waits").is_none() {
            let doubled: Vec<String> =
                bare(&project.path("out/results")).into_iter().filter(|(_, times)| *times > 1).map(|(key, _)| key).collect();
            assert!(doubled.is_empty(), "run {number}, look {looks}: {doubled:?}");
            looks += 1;
        }
        assert!(child.wait().expect("waits").success());
        assert!(looks > 0);
        let rows = bare(&project.path("out/results"));
        assert!(rows.len() == bodies.len() && rows.values().all(|times| *times == 1), "run {number}: {rows:?}");
        assert!(files(&project.path("out/results")).iter().all(|path| path.extension().is_some_and(|end| end == "parquet")));
    }
}

#[test]
fn a_run_that_was_killed_before_its_files_were_shown_is_finished_by_the_next() {
    let spy = spy();
    let project = Job::new(&spy.url).project(&BODIES);
    project.run_pipeline(&[]).expect(0);
    // What a kill leaves behind the record of a merge, and before the move to where readers look.
    let (results, commits) = (project.path("out/results"), project.path("out/_promptmill/job/commits"));
    let [file] = files(&results).try_into().expect("one file");
    let name = file.file_name().expect("a name").to_string_lossy().into_owned();
    let last = files(&commits).into_iter().max().expect("a record");
    let mut record: serde_json::Value = serde_json::from_slice(&std::fs::read(&last).expect("reads")).expect("JSON");
    let number = record["commit"].as_u64().expect("a number") + 1;
    let bytes = std::fs::metadata(&file).expect("a size").len();
    let hidden = format!("_staging/{name}.staged");
    std::fs::create_dir(results.join("_staging")).expect("made");
    std::fs::rename(&file, results.join(&hidden)).expect("moved");
    record["commit"] = number.into();
    record["removed"] = serde_json::json!([name]);
    record["added"] = serde_json::json!([{"path": hidden, "rows": 7, "bytes": bytes}]);
    record["dead_letters"] = serde_json::json!([]);
    record["index"] = serde_json::json!([]);
    std::fs::write(commits.join(format!("{number:08}.json")), record.to_string()).expect("written");

    assert_whole(&project, BODIES.len());
    project.run(&["report", "pipeline.toml"]).expect(0);
    assert!(bare(&results).is_empty());
    let again = project.run_pipeline(&[]).expect(0).json();
    assert_eq!(again["rows"]["unchanged"], 8, "{again}");
    assert_whole(&project, BODIES.len());
    assert_eq!(bare(&results).len(), 7);
    assert_eq!(files(&results).len(), 1, "nothing is hidden any more");
}

#[test]
fn a_last_record_that_is_torn_costs_nothing_that_only_the_results_have() {
    for left in ["", "{\"comm"] {
        let spy = spy();
        let project = Job::new(&spy.url).project(&BODIES[..3]);
        project.run_pipeline(&[]).expect(0);
        write_rows(&project, "rows.parquet", &BODIES[..7]);
        project.run_pipeline(&[]).expect(0);
        let before = project.query("SELECT id, summary, cost_usd FROM results ORDER BY id");
        let commits = files(&project.path("out/_promptmill/job/commits"));
        let last = commits.into_iter().filter(|path| path.extension().is_some_and(|end| end == "json")).max();
        std::fs::write(last.expect("a record"), left).expect("torn");
        // Most rows have left the source: there is nothing to make them of again.
        write_rows(&project, "rows.parquet", &BODIES[..2]);
        assert_eq!(project.query("SELECT id, summary, cost_usd FROM results ORDER BY id"), before);
        project.run_pipeline(&[]).expect(0);
        assert_eq!(project.query("SELECT id, summary, cost_usd FROM results ORDER BY id"), before);
        assert_eq!(bare(&project.path("out/results")).len(), before.len());
    }
}

#[test]
fn two_pipelines_never_fill_one_sink() {
    let spy = spy();
    let mut job = Job::new(&spy.url);
    job.sink = "commit_every = \"1h\"".to_owned();
    let project = job.project(&BODIES);
    let mut first = project.command(&["run", "pipeline.toml", "--progress", "none"]).spawn().expect("starts");
    while spy.asked().is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let another: [&[&str]; 2] = [&["--set", "name=another"], &["--set", "state.path=another"]];
    // While the first one has written nothing, when it was killed before it could, and when it is through.
    let refused = |asked: usize| {
        for settings in another {
            let ran = project.run_pipeline(settings).expect(2);
            assert!(ran.stderr.contains("another pipeline") || ran.stderr.contains("has not written"), "{}", ran.stderr);
            project.run(&[&["plan", "pipeline.toml"], settings].concat()).expect(2);
        }
        assert!(spy.asked().len() <= asked, "nothing is sent");
    };
    refused(usize::MAX);
    first.kill().expect("SIGKILL");
    first.wait().expect("is gone");
    refused(spy.asked().len());
    project.run_pipeline(&[]).expect(0);
    assert!(files(&project.path("out/results")).iter().all(|path| path.extension().is_some_and(|end| end == "parquet")));
    refused(spy.asked().len());
    // What others put there all the same is said.
    let files = files(&project.path("out/results"));
    std::fs::copy(&files[0], project.path("out/results/part-0.parquet")).expect("a copy");
    assert!(project.run_pipeline(&[]).expect(0).stderr.contains("part-0.parquet"));
}

/// Copies a folder and all below it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() { copy(&entry.path(), &to) } else { std::fs::copy(entry.path(), &to).map(drop).expect("a copy") }
    }
}

#[test]
fn results_of_a_later_state_and_results_older_than_the_state_are_never_removed() {
    let (state, results) = ("out/_promptmill/job", "out/results");
    for (put_back, said) in [(state, "a later state"), (results, "older than the state")] {
        let spy = spy();
        let project = Job::new(&spy.url).project(&BODIES[..4]);
        let ids = || project.query("SELECT id, summary FROM results ORDER BY id");
        project.run_pipeline(&[]).expect(0);
        let backup = project.path("backup");
        copy(&project.path(put_back), &backup);
        // In the second run some rows are new and one is changed, so that a file takes the place of another.
        write_rows(&project, "rows.parquet", &["onyx", "beryl", "coral", "amber", "emerald", "flint"]);
        project.run_pipeline(&[]).expect(0);
        let (later, newest) = (ids(), project.path("newest"));
        copy(&project.path(put_back), &newest);
        // Afterwards most rows have left the source, so that only the results have them.
        write_rows(&project, "rows.parquet", &["onyx"]);
        std::fs::remove_dir_all(project.path(put_back)).expect("removed");
        copy(&backup, &project.path(put_back));
        let before: Vec<PathBuf> = files(&project.path(results));
        let asked = spy.asked().len();
        for arguments in [&[][..], &["--limit", "1"]] {
            let ran = project.run_pipeline(arguments).expect(1);
            assert!(ran.stderr.contains(said) && ran.stderr.contains("hint: "), "{}", ran.stderr);
        }
        assert_eq!((files(&project.path(results)), spy.asked().len()), (before, asked), "nothing is removed, nothing is sent");
        // What belongs together is put back: all is as it was.
        std::fs::remove_dir_all(project.path(put_back)).expect("removed");
        copy(&newest, &project.path(put_back));
        project.run_pipeline(&[]).expect(0);
        assert_eq!((ids(), spy.asked().len()), (later, asked));
    }
}

#[test]
fn files_of_results_that_another_tool_has_written_anew_keep_their_rows() {
    let spy = spy();
    let project = Job::new(&spy.url).project(&BODIES[..3]);
    project.run_pipeline(&[]).expect(0);
    let file = files(&project.path("out/results")).into_iter().next().expect("a file");
    let batches: Vec<_> = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&file).expect("opens"))
        .expect("a file")
        .build()
        .expect("a reader")
        .map(|batch| batch.expect("rows"))
        .collect();
    let rewrite = |rows: usize| {
        let to = std::fs::File::create(&file).expect("a file");
        let properties = WriterProperties::builder().set_created_by("another tool".to_owned()).build();
        let mut writer = ArrowWriter::try_new(to, batches[0].schema(), Some(properties)).expect("a writer");
        writer.write(&batches[0].slice(0, rows)).expect("written");
        writer.close().expect("closed");
    };
    // Most rows have left the source: there is nothing to make them of again.
    write_rows(&project, "rows.parquet", &BODIES[..1]);
    let (before, asked) = (project.query("SELECT id, summary FROM results ORDER BY id"), spy.asked().len());
    rewrite(3);
    for said in [true, false] {
        let ran = project.run_pipeline(&[]).expect(0);
        assert_eq!(ran.stderr.contains("written anew"), said, "{}", ran.stderr);
        assert_eq!(project.query("SELECT id, summary FROM results ORDER BY id"), before);
    }
    rewrite(2);
    let ran = project.run_pipeline(&[]).expect(1);
    assert!(ran.stderr.contains("holds 2 rows where 3 were written") && ran.stderr.contains("hint: "), "{}", ran.stderr);
    assert_eq!((bare(&project.path("out/results")).len(), spy.asked().len()), (2, asked));
}

#[test]
fn a_copied_state_does_not_remove_what_the_other_has_written() {
    let spy = spy();
    let project = Job::new(&spy.url).project(&BODIES[..2]);
    project.run_pipeline(&[]).expect(0);
    copy(&project.path("out/_promptmill/job"), &project.path("out/_promptmill/copied"));
    write_rows(&project, "rows.parquet", &BODIES[..4]);
    project.run_pipeline(&["--set", "name=copied"]).expect(0);
    let there = files(&project.path("out/results"));
    let ran = project.run_pipeline(&[]).expect(1);
    assert!(ran.stderr.contains("a later state"), "{}", ran.stderr);
    assert_eq!(files(&project.path("out/results")), there);
    project.run_pipeline(&["--set", "name=copied"]).expect(0);
    assert_eq!(bare(&project.path("out/results")).len(), 3);
}

#[test]
fn the_state_and_the_results_do_not_lie_in_each_other() {
    let spy = spy();
    let project = Job::new(&spy.url).project(&BODIES[..2]);
    for state in ["out/results/_checkpoints", "out/results", "out"] {
        let sink = if state == "out" { "out/index" } else { "out/results" };
        let places = ["--set", &format!("state.path={state}"), "--set", &format!("sink.path={sink}")];
        let ran = project.run_pipeline(&places).expect(2);
        assert!(ran.stderr.contains("would lie in"), "{}", ran.stderr);
    }
    assert_eq!(spy.asked().len(), 0);
}

#[test]
fn a_limit_on_the_size_of_files_is_an_error_that_names_the_file() {
    let spy = spy();
    let bodies: Vec<String> = (0..40).map(|row| format!("{} {row} {}", BODIES[row % 8], "long ".repeat(200))).collect();
    let project = Job::new(&spy.url).project(&bodies.iter().map(String::as_str).collect::<Vec<_>>());
    let command = project.command(&["run", "pipeline.toml", "--progress", "none"]);
    let mut limited = std::process::Command::new("bash");
    limited.args(["-c", "ulimit -f 16; exec \"$@\"", "limited"]).arg(command.get_program()).args(command.get_args());
    limited.current_dir(project.folder.path());
    let ran = Ran::from(limited.output().expect("runs")).expect(1);
    assert!(ran.stderr.contains("error: ") && ran.stderr.contains("_promptmill"), "{}", ran.stderr);
    project.run_pipeline(&[]).expect(0);
    assert_whole(&project, bodies.len());
}

#[test]
fn a_file_that_is_cut_short_is_written_again_from_the_journal() {
    for folder in ["out/results", "out/_promptmill/job/dead_letters"] {
        let spy = spy();
        let project = partitioned(&spy).project(&BODIES);
        project.run_pipeline(&[]).expect(0);
        let asked = spy.asked().len();
        let file = files(&project.path(folder)).into_iter().next().expect("a file");
        let bytes = std::fs::read(&file).expect("reads");
        std::fs::write(&file, &bytes[..bytes.len() / 2]).expect("cut");
        let ran = project.run_pipeline(&[]).expect(0);
        assert!(ran.stderr.contains("not whole"), "{}", ran.stderr);
        assert_whole(&project, BODIES.len());
        // Of a dead letter there is no answer to be found.
        let again = spy.asked()[asked..].iter().flat_map(Asked::items).map(|(_, text)| text).collect::<Vec<_>>();
        assert!(again.iter().all(|text| text == "diamond"), "{folder}: the answers are in the journal: {again:?}");
    }
}
