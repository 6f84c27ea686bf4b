//! Everything that the sink does, with every single operation of its store failing in turn: no row is lost, none is there
//! twice, whatever fails.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, FixedSizeBinaryArray, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use futures::TryStreamExt;
use promptmill_core::Answered;
use promptmill_core::pipeline::Key;

use super::layout::LONGEST_FOLDER;
use super::stored::keys;
use super::*;
use crate::commit::{Outcome, Settlement};
use crate::shape::Shape;
use crate::storage::{Fault, Faults};

/// A row as it comes out of the stages.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    key: String,
    asked: &'static str,
    place: String,
    is_dead: bool,
}

fn rows(count: usize, asked: &'static str) -> Vec<Row> {
    let row = |id: usize| Row { key: format!("k{id}"), asked, place: format!("p{}", id % 2), is_dead: id % 4 == 3 };
    (0..count).map(row).collect()
}

fn schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    Arc::new(Schema::new(vec![text("id"), text("summary"), text("place")]))
}

fn batch(rows: &[Row]) -> RecordBatch {
    let text = |of: &dyn Fn(&Row) -> Option<String>| Arc::new(rows.iter().map(of).collect::<StringArray>()) as ArrayRef;
    let questions = rows.iter().map(|row| *of(row).as_bytes());
    let questions = FixedSizeBinaryArray::try_from_iter(questions).expect("fingerprints");
    RecordBatch::try_from_iter([
        ("id", text(&|row| Some(row.key.clone()))),
        ("summary", text(&|row| Some(format!("{} of {}", row.asked, row.key)))),
        ("place", text(&|row| Some(row.place.clone()))),
        (columns::KEY, text(&|row| Some(row.key.clone()))),
        (columns::QUESTION, Arc::new(questions)),
        (columns::REASON, text(&|row| row.is_dead.then(|| "blank".to_owned()))),
        (columns::DETAIL, text(&|_| None)),
        (columns::LAST_TEXT, text(&|_| None)),
    ])
    .expect("a batch")
}

fn of(row: &Row) -> Fingerprint {
    Fingerprint::of([row.asked.as_bytes(), row.key.as_bytes()])
}

async fn opened(state: &Folder, results: &Folder, mode: Mode) -> Result<Sink> {
    opened_as(SinkFormat::Parquet, state, results, mode).await
}

async fn opened_as(format: SinkFormat, state: &Folder, results: &Folder, mode: Mode) -> Result<Sink> {
    let layout = Layout::new(Shape::new(&Key::of(["id"]), &["place".to_owned()], &schema()), &[])?;
    let log = CommitLog::open(state).await?;
    let opening = Opening {
        results: results.clone(),
        owner: Owner::claim(state, results, !log.results().is_empty()).await?,
        log,
        with_dead_letters: true,
        layout,
        run_id: "run".to_owned(),
        format,
        name: "test".to_owned(),
        target_file_mb: 128,
        mode,
        question: Fingerprint::of([b"all".as_slice()]),
        journal: None,
    };
    Sink::open(state, opening).await
}

/// What a run does once its rows are answered, as `run.rs` does it.
async fn run(state: &Folder, results: &Folder, rows: &[Row], mode: Mode) -> Result<()> {
    run_as(SinkFormat::Parquet, state, results, rows, mode).await
}

async fn run_as(format: SinkFormat, state: &Folder, results: &Folder, rows: &[Row], mode: Mode) -> Result<()> {
    let mut sink = opened_as(format, state, results, mode.clone()).await?;
    let flowed = async {
        for rows in rows.chunks(3) {
            let settled = sink.settled();
            let is_new = |row: &&Row| mode != Mode::Add || !settled.contains(&row.key, of(row)).expect("reads");
            let new: Vec<Row> = rows.iter().filter(is_new).cloned().collect();
            if !new.is_empty() {
                sink.write(&batch(&new)).await?;
                sink.commit().await?;
            }
        }
        Ok(())
    };
    let flowed: Result<()> = flowed.await;
    let mut finished = sink.commit().await;
    if finished.is_ok() && (mode == Mode::Add || flowed.is_ok()) {
        finished = sink.swap(None).await.map(|_| ());
    }
    if finished.is_ok() && flowed.is_ok() {
        finished = sink.compact().await;
    }
    flowed.and(finished)
}

/// How often each key is in files that commits name.
async fn found(state: &Folder, results: &Folder) -> BTreeMap<String, usize> {
    let log = CommitLog::open(state).await.expect("opens");
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for (folder, files) in [(results.clone(), log.results()), (state.folder("dead_letters"), log.dead_letters())] {
        for file in files {
            let batches: Vec<_> = keys(&folder, file, &Key::of(["id"])).await.expect("opens").try_collect().await.expect("reads");
            for key in batches.iter().flatten().flatten() {
                *found.entry(key.to_owned()).or_default() += 1;
            }
        }
    }
    found
}

/// Every key that the index calls settled is in exactly one file, and no other.
async fn assert_agrees(state: &Folder, results: &Folder, all: &[Row], what: &str) {
    let log = CommitLog::open(state).await.expect("opens");
    let settled = log.settled(true).await.expect("reads");
    let found = found(state, results).await;
    for row in all {
        let times = found.get(&row.key).copied().unwrap_or_default();
        let is_settled = settled.has_key(&row.key).expect("reads");
        assert_eq!(times, usize::from(is_settled), "{}, settled: {is_settled}; {what}", row.key);
    }
}

/// The bare folder has what the commits say, once.
async fn assert_swept(state: &Folder, results: &Folder, what: &str) {
    let log = CommitLog::open(state).await.expect("opens");
    let mut named: Vec<String> = log.results().iter().map(|file| file.path.clone()).collect();
    named.sort();
    assert_eq!(results.list().await.expect("lists"), named, "{what}");
}

/// Two places for a state and its sink: a local disk, and something like S3.
fn places(temp: &tempfile::TempDir) -> Vec<(Folder, Folder)> {
    let local = |name: &str| Folder::open(&temp.path().join(name).to_string_lossy()).expect("opens");
    let memory = Folder::in_memory();
    vec![(local("state"), local("results")), (memory.folder("state"), memory.folder("results"))]
}

/// Nobody who reads all files that end in `.parquet` sees a row twice.
async fn assert_bare(results: &Folder, what: &str) {
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    for path in results.list().await.expect("lists").into_iter().filter(|path| path.ends_with(".parquet")) {
        let bytes = results.head(&path).await.expect("is there").size;
        let file = DataFile { path, rows: 0, bytes, partition: vec![] };
        let batches: Vec<_> = keys(results, &file, &Key::of(["id"])).await.expect("opens").try_collect().await.expect("reads");
        for key in batches.iter().flatten().flatten() {
            let before = seen.insert(key.to_owned(), file.path.clone());
            assert!(before.is_none(), "{key} is in {before:?} and {}; {what}", file.path);
        }
    }
}

/// Runs `before` undisturbed, then `now` with each of its operations failing in turn, then `now` again.
async fn try_all(before: &[Row], now: &[Row], mode: Mode) {
    let in_memory = [(1, Fault::Refused, false), (1, Fault::AnswerLost, false), (1, Fault::Refused, true)];
    for (place, fault, goes_on) in in_memory.into_iter().chain([(0, Fault::AnswerLost, false)]) {
        let mut failed = 0;
        for at in 1.. {
            let temp = tempfile::tempdir().expect("a folder");
            let (state, results) = places(&temp).swap_remove(place);
            run(&state, &results, before, Mode::Add).await.expect("nothing fails yet");
            let faults = Faults::at(at, fault, goes_on);
            let outcome = run(&state.with_faults(&faults), &results.with_faults(&faults), now, mode.clone()).await;
            let Some(first) = faults.first() else { break };
            failed += usize::from(outcome.is_err());
            let what = format!("{fault:?} at {at}, {first}, goes on: {goes_on}: {:?}", outcome.map_err(|error| error.to_string()));
            assert_agrees(&state, &results, now, &what).await;
            if mode == Mode::Add {
                assert_bare(&results, &what).await;
            }
            run(&state, &results, now, mode.clone()).await.unwrap_or_else(|error| panic!("the next run: {error}; {what}"));
            assert_agrees(&state, &results, now, &what).await;
            let found = found(&state, &results).await;
            assert!(now.iter().all(|row| found.get(&row.key) == Some(&1)), "{found:?}; {what}");
            assert_eq!(found.len(), now.len(), "{what}");
            assert_swept(&state, &results, &what).await;
            assert_bare(&results, &what).await;
        }
        assert!(failed > 10, "{failed} of the operations mattered");
    }
}

#[tokio::test]
async fn no_failure_of_the_store_loses_or_doubles_a_row_of_a_first_run() {
    try_all(&[], &rows(5, "first"), Mode::Add).await;
}

#[tokio::test]
async fn no_failure_of_the_store_loses_or_doubles_a_row_that_takes_the_place_of_an_older_one() {
    let mut now = rows(5, "first");
    now[0].asked = "second";
    (now[3].asked, now[3].is_dead) = ("second", false);
    try_all(&rows(5, "first"), &now, Mode::Add).await;
}

#[tokio::test]
async fn no_failure_of_the_store_loses_or_doubles_a_row_of_a_new_generation() {
    for mode in [Mode::Replay, Mode::Fresh("salt".to_owned())] {
        try_all(&rows(4, "first"), &rows(4, "second"), mode).await;
    }
}

#[tokio::test]
async fn no_failure_of_the_store_parts_a_delta_table_from_its_commits() {
    let mut now = rows(4, "first");
    (now[1].asked, now[3].asked, now[3].is_dead) = ("second", "second", false);
    for fault in [Fault::Refused, Fault::AnswerLost] {
        for at in 1.. {
            let temp = tempfile::tempdir().expect("a folder");
            let (state, results) = places(&temp).swap_remove(0);
            run_as(SinkFormat::Delta, &state, &results, &rows(3, "first"), Mode::Add).await.expect("nothing fails yet");
            let faults = Faults::at(at, fault, false);
            let (faulty_state, faulty_results) = (state.with_faults(&faults), results.with_faults(&faults));
            let outcome = run_as(SinkFormat::Delta, &faulty_state, &faulty_results, &now, Mode::Add).await;
            let Some(first) = faults.first() else { break };
            let what = format!("{fault:?} at {at}, {first}: {:?}", outcome.map_err(|error| error.to_string()));
            assert_agrees(&state, &results, &now, &what).await;
            let again = run_as(SinkFormat::Delta, &state, &results, &now, Mode::Add).await;
            again.unwrap_or_else(|error| panic!("the next run: {error}; {what}"));
            assert_agrees(&state, &results, &now, &what).await;
            assert_eq!(found(&state, &results).await.len(), now.len(), "{what}");
            let log = CommitLog::open(&state).await.expect("opens");
            let named = log.results().iter().map(|file| file.path.clone()).collect();
            assert_eq!(delta::seen_by_readers(&results).await, named, "{what}");
        }
    }
}

#[tokio::test]
async fn rows_that_an_earlier_version_has_lost_are_unsettled() {
    let temp = tempfile::tempdir().expect("a folder");
    for (state, results) in places(&temp) {
        let all = rows(8, "first");
        run(&state, &results, &all, Mode::Add).await.expect("runs");
        // A record as that version wrote it: in its index are rows whose files could not be written.
        let mut sink = opened(&state, &results, Mode::Add).await.expect("opens");
        let lost = [Row { key: "lost".into(), ..all[0].clone() }, Row { key: "dead".into(), ..all[3].clone() }];
        let settlements: Vec<Settlement> =
            lost.iter().map(|row| Settlement { key: row.key.clone(), question: of(row), outcome: Outcome::Answered }).collect();
        let index = vec![sink.files.store_index(&settlements).await.expect("written")];
        sink.settle(Commit { index, ..sink.record() }, RowChange::default()).await.expect("commits");
        drop(sink);
        let sink = opened(&state, &results, Mode::Add).await.expect("opens");
        let settled = sink.settled();
        assert!(lost.iter().all(|row| !settled.has_key(&row.key).expect("reads")), "they are asked again");
        assert!(all.iter().all(|row| settled.contains(&row.key, of(row)).expect("reads")), "the others are not");
        let commits = sink.log.len();
        drop(sink);
        let sink = opened(&state, &results, Mode::Add).await.expect("opens");
        assert!(sink.log.len() - commits <= 1, "there is nothing left to mend");
        drop(sink);
        let whole: Vec<Row> = all.iter().chain(&lost).cloned().collect();
        run(&state, &results, &whole, Mode::Add).await.expect("runs");
        assert_agrees(&state, &results, &whole, "mended").await;
        assert_eq!(found(&state, &results).await.len(), 10);
    }
}

#[tokio::test]
async fn files_that_have_disappeared_are_written_again_unless_all_have() {
    let temp = tempfile::tempdir().expect("a folder");
    for (state, results) in places(&temp) {
        let all = rows(8, "first");
        run(&state, &results, &all, Mode::Add).await.expect("runs");
        let files = results.list().await.expect("lists");
        assert_eq!(files.len(), 2);
        results.delete(&files[0]).await.expect("removed");
        run(&state, &results, &all, Mode::Add).await.expect("runs");
        assert_agrees(&state, &results, &all, "one file was gone").await;
        assert_eq!(found(&state, &results).await.len(), 8);
        let files = results.list().await.expect("lists");
        results.delete_all(files.iter().map(String::as_str)).await.expect("removed");
        let error = run(&state, &results, &all, Mode::Add).await.expect_err("perhaps a disk is not mounted");
        assert!(error.to_string().contains("none is there"), "{error}");
        run(&state, &results, &rows(8, "second"), Mode::Fresh("salt".into())).await.expect("everything anew needs none of it");
        assert_agrees(&state, &results, &all, "anew").await;
    }
}

#[tokio::test]
async fn a_partition_that_no_folder_can_be_called_after_makes_a_dead_letter() {
    let temp = tempfile::tempdir().expect("a folder");
    for (state, results) in places(&temp) {
        let mut all = rows(3, "first");
        let long = LONGEST_FOLDER - "place=".len();
        all[0].place = "y".repeat(long);
        all[1].place = "y".repeat(long + 1);
        // Of one character three bytes are left.
        all[2].place = "/".repeat(long / 3 + 1);
        let mut sink = opened(&state, &results, Mode::Add).await.expect("opens");
        assert_eq!(sink.write(&batch(&all)).await.expect("written"), 2);
        sink.commit().await.expect("commits");
        let rows = |files: &[DataFile]| files.iter().map(|file| file.rows).sum::<u64>();
        assert_eq!((rows(sink.log.results()), rows(sink.log.dead_letters())), (1, 2));
        assert_agrees(&state, &results, &all, "too long").await;
    }
}
