use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use promptmill_core::Answered;

use super::settled::index_rows;
use super::*;

fn settlement(key: &str, question: &str, outcome: Outcome) -> Settlement {
    Settlement { key: key.into(), question: of(question), outcome }
}

fn of(question: &str) -> Fingerprint {
    Fingerprint::of([question.as_bytes()])
}

fn file(path: &str) -> DataFile {
    DataFile { path: path.into(), rows: 1, bytes: 1, partition: vec![] }
}

fn by(results: i64) -> RowChange {
    RowChange { results, dead_letters: 0 }
}

fn sample() -> Commit {
    let columns = Schema::new(vec![Field::new("id", DataType::Utf8, true), Field::new("year", DataType::Int32, true)]);
    let data = |path: &str, partition| DataFile { path: path.into(), rows: 7, bytes: 900, partition };
    Commit {
        commit: 3,
        run_id: "20260101T000000-00000000".into(),
        generation: 2,
        at: "2026-01-01T00:00:00Z".into(),
        added: vec![data("year=2024/0002a3f2-000007.parquet", vec![Some("2024".into())]), data("year=x/a", vec![None])],
        dead_letters: vec![data("0002a3f2-000008.parquet", vec![])],
        removed: vec!["year=2024/0002a3f2-000001.parquet".into(), "dead_letters/a".into(), "index/b".into()],
        index: vec![data("0002a3f2-000009.parquet", vec![])],
        next_file: 10,
        salt: Some("20260101T000000-00000000".into()),
        question: Some(of("q")),
        shape: Some(Shape::new(&promptmill_core::pipeline::Key::of(["id"]), &["year".to_owned()], &Arc::new(columns))),
        ..Commit::default()
    }
}

#[test]
fn a_record_is_written_as_ever() {
    let read = |bytes: &[u8]| {
        let read: Commit = serde_json::from_slice(bytes).expect("a record");
        read.commit == 3 && read.added == sample().added && read.question == sample().question && read.shape == sample().shape
    };
    format::golden::check(format::COMMIT, &to_json(&sample()).expect("JSON"), read);
    let mut folded = Folded { generation: 1, next_file: 1, commit: 2, ..Folded::default() };
    folded.apply(sample());
    let read = |bytes: &[u8]| {
        let read: Folded = serde_json::from_slice(bytes).expect("a checkpoint");
        read.commit == 3 && read.results == sample().added && read.shape == sample().shape
    };
    format::golden::check(format::CHECKPOINT, &to_json(&folded).expect("JSON"), read);
}

#[test]
fn an_index_is_written_as_ever() {
    let rows = [settlement("k1", "q", Outcome::Answered), settlement("k2", "q", Outcome::Dead), settlement("é", "r", Outcome::Gone)];
    let read = |bytes: &[u8]| {
        let file = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::copy_from_slice(bytes));
        let batch = file.expect("a file").build().expect("a reader").next().expect("a batch").expect("rows");
        let read: Vec<_> = index_rows(&batch).expect("an index").map(|row| row.expect("a row")).collect();
        read == rows.iter().map(|row| (row.key.as_str(), row.question, row.outcome)).collect::<Vec<_>>()
    };
    format::golden::check_parquet(format::INDEX, &index_file(&rows).expect("a file"), read);
}

#[tokio::test]
async fn a_log_of_a_later_version_is_refused_and_left_as_it_is() {
    for (name, text) in [
        ("commits/00000001.json", r#"{"v":2,"commit":"another shape"}"#),
        ("commits/00000050.checkpoint", r#"{"v":2,"results":{"of":"another shape"}}"#),
    ] {
        let state = Folder::in_memory();
        state.put(name, text).await.expect("written");
        let error = CommitLog::open(&state).await.expect_err("a later version").to_string();
        assert!(error.contains(name) && error.contains("later version"), "{error}");
        assert_eq!(state.get(name).await.expect("reads").expect("is there"), text.as_bytes());
    }
    // An index of a later version.
    let state = Folder::in_memory();
    let mut later = index_file(&[settlement("k", "q", Outcome::Answered)]).expect("a file");
    let at = later.windows(17).position(|bytes| bytes == b"promptmill.format").expect("its metadata");
    let at = at + later[at..].iter().position(|byte| *byte == b'1').expect("a version");
    later[at] = b'2';
    state.put("index/a.parquet", later.clone()).await.expect("written");
    let mut log = CommitLog::open(&state).await.expect("opens");
    let index = vec![DataFile { path: "a.parquet".into(), rows: 1, bytes: later.len() as u64, partition: vec![] }];
    log.append(Commit { index, ..log.unchanged() }, RowChange::default()).await.expect("commits");
    let error = log.settled(true).await.expect_err("a later version").to_string();
    assert!(error.contains("index/a.parquet") && error.contains("later version"), "{error}");
}

#[tokio::test]
async fn a_record_whose_files_hold_other_rows_than_it_settles_is_refused() {
    let temp = tempfile::tempdir().expect("a folder");
    let state = Folder::open(&temp.path().to_string_lossy()).expect("opens");
    let mut log = CommitLog::open(&state).await.expect("opens");
    let two = Commit { added: vec![file("a"), file("b")], ..log.unchanged() };
    for wrong in [by(1), by(3), RowChange { results: 2, dead_letters: 1 }, RowChange { results: 1, dead_letters: 1 }] {
        let error = log.append(two.clone(), wrong).await.expect_err("refused");
        assert!(error.to_string().contains("a commit was refused"), "{error}");
    }
    assert!(log.is_empty() && state.folder("commits").list().await.expect("lists").is_empty(), "nothing was written");
    log.append(two, by(2)).await.expect("commits");
    let merged = Commit { added: vec![file("c")], removed: vec!["a".into(), "b".into()], ..log.unchanged() };
    log.append(merged.clone(), RowChange::default()).await.expect_err("a merge that lost a row");
    log.append(merged, by(-1)).await.expect("commits");
    let letters = Commit { dead_letters: vec![file("d")], removed: vec!["c".into()], ..log.unchanged() };
    log.append(letters, RowChange { results: -1, dead_letters: 1 }).await.expect("an answer gives way to a dead letter");
    assert_eq!(log.rows(), 1);
}

#[tokio::test]
async fn a_checkpoint_that_cannot_be_written_holds_nobody_up() {
    let state = Folder::in_memory();
    // One list and a record each; then the checkpoint.
    let faults = crate::storage::Faults::at(CHECKPOINT_EVERY as usize + 2, crate::storage::Fault::Refused, false);
    let mut log = CommitLog::open(&state.with_faults(&faults)).await.expect("opens");
    for number in 0..=CHECKPOINT_EVERY {
        log.append(Commit { added: vec![file(&format!("f{number}"))], ..log.unchanged() }, by(1)).await.expect("commits");
    }
    assert!(faults.first().is_some_and(|first| first.contains(".checkpoint")), "{:?}", faults.first());
    assert_eq!(CommitLog::open(&state).await.expect("opens").rows(), CHECKPOINT_EVERY + 1);
}

#[tokio::test]
async fn what_a_power_cut_left_of_the_last_record_and_of_a_checkpoint_was_never_written() {
    let temp = tempfile::tempdir().expect("a folder");
    let local = Folder::open(&temp.path().to_string_lossy()).expect("opens");
    for state in [local, Folder::in_memory()] {
        let mut log = CommitLog::open(&state).await.expect("opens");
        for number in 0..CHECKPOINT_EVERY + 2 {
            log.append(Commit { added: vec![file(&format!("f{number}"))], ..log.unchanged() }, by(1)).await.expect("commits");
        }
        for torn in ["", "{\"commit\": 52, \"run_", "\0\0\0\0"] {
            state.put(COPY, torn).await.expect("torn");
            state.put(&format!("commits/{:08}.json", CHECKPOINT_EVERY + 2), torn).await.expect("torn");
            state.put(&format!("commits/{CHECKPOINT_EVERY:08}.checkpoint"), torn).await.expect("torn");
            let mut log = CommitLog::open(&state).await.expect("opens");
            assert_eq!((log.len(), log.rows()), (CHECKPOINT_EVERY + 1, CHECKPOINT_EVERY + 1));
            let mut late = CommitLog::open(&state).await.expect("opens");
            log.append(Commit { added: vec![file("g")], ..log.unchanged() }, by(1)).await.expect("takes its place");
            let error = late.append(late.unchanged(), by(0)).await.expect_err("somebody else was quicker");
            assert!(error.to_string().contains("another run has written"), "{error}");
            let again = CommitLog::open(&state).await.expect("opens");
            assert_eq!(again.results().last().map(|file| file.path.as_str()), Some("g"));
        }
        state.put("commits/00000007.json", "").await.expect("damaged");
        let error = CommitLog::open(&state).await.expect_err("one in the middle is needed");
        assert!(error.to_string().contains("00000007.json` cannot be read"), "{error}");
    }
}

#[tokio::test]
async fn a_copy_stands_for_the_last_record_and_puts_it_back() {
    let temp = tempfile::tempdir().expect("a folder");
    let state = Folder::open(&temp.path().to_string_lossy()).expect("opens");
    let mut log = CommitLog::open(&state).await.expect("opens");
    for name in ["f", "g"] {
        log.append(Commit { added: vec![file(name)], ..log.unchanged() }, by(1)).await.expect("commits");
    }
    let whole = state.get(&record_name(2)).await.expect("reads").expect("is there");
    state.put(&record_name(2), &b"{\"comm"[..]).await.expect("torn");
    let mut log = CommitLog::open(&state).await.expect("opens");
    assert_eq!((log.len(), log.rows()), (2, 2));
    assert_ne!(state.get(&record_name(2)).await.expect("reads"), Some(whole.clone()), "a reader writes nothing");
    log.append(Commit { added: vec![file("h")], ..log.unchanged() }, by(1)).await.expect("commits");
    assert_eq!(state.get(&record_name(2)).await.expect("reads"), Some(whole));
    assert_eq!(CommitLog::open(&state).await.expect("opens").rows(), 3);
    // The copy of another record is none of this one.
    state.put(&record_name(3), &b""[..]).await.expect("torn");
    let older = state.get(&record_name(2)).await.expect("reads").expect("is there");
    state.put(COPY, older).await.expect("an older copy");
    assert_eq!(CommitLog::open(&state).await.expect("opens").rows(), 2);
}

async fn indexed(log: &CommitLog, name: &str, rows: &[Settlement]) -> Vec<DataFile> {
    let index = index_file(rows).expect("an index");
    let (rows, bytes) = (rows.len() as u64, index.len() as u64);
    log.state.put(&format!("index/{name}"), index).await.expect("written");
    vec![DataFile { path: name.into(), rows, bytes, partition: vec![] }]
}

#[tokio::test]
async fn what_is_committed_is_read_back_and_a_number_is_used_once() {
    let temp = tempfile::tempdir().expect("a folder");
    let state = Folder::open(&temp.path().to_string_lossy()).expect("opens");
    let mut log = CommitLog::open(&state).await.expect("opens");
    let mut late = CommitLog::open(&state).await.expect("opens");
    let commit = |added: &[&str], removed: &[&str], index: Vec<DataFile>| Commit {
        generation: 1,
        added: added.iter().map(|path| file(path)).collect(),
        removed: removed.iter().map(|path| (*path).to_owned()).collect(),
        next_file: 9,
        run_id: "run-1".into(),
        index,
        ..Commit::default()
    };
    let first = [
        settlement("k1", "a", Outcome::Answered),
        settlement("k2", "a", Outcome::Dead),
        settlement("k3", "a", Outcome::Answered),
        settlement("k4", "a", Outcome::Answered),
    ];
    let index = indexed(&log, "1", &first).await;
    log.append(commit(&["a", "b"], &[], index), by(2)).await.expect("commits");
    let second = [settlement("k3", "b", Outcome::Answered), settlement("k4", "a", Outcome::Gone)];
    let index = indexed(&log, "2", &second).await;
    log.append(commit(&["c"], &["a"], index), by(0)).await.expect("commits");
    let error = late.append(Commit { run_id: "run-2".into(), ..commit(&["d"], &[], vec![]) }, by(1)).await.expect_err("too late");
    assert!(error.to_string().contains("another run has written"), "{error}");

    let log = CommitLog::open(&state).await.expect("opens");
    assert_eq!(log.results().iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["b", "c"]);
    assert_eq!((log.len(), log.next_file()), (2, 9));
    let settled = log.settled(true).await.expect("reads");
    assert_eq!(settled.len(), 3);
    assert!(settled.contains("k1", of("a")).expect("reads") && !settled.contains("k1", of("b")).expect("reads"));
    assert!(settled.contains("k2", of("a")).expect("reads"));
    assert!(settled.contains("k3", of("b")).expect("reads") && !settled.contains("k3", of("a")).expect("reads"), "the last word counts");
    assert!(!settled.has_key("k4").expect("reads") && !settled.contains("k4", of("a")).expect("reads"), "it has left");
    let asked_again = log.settled(false).await.expect("reads");
    assert_eq!(asked_again.len(), 2);
    assert!(
        !asked_again.contains("k2", of("a")).expect("reads") && asked_again.has_key("k2").expect("reads"),
        "a dead letter, when told to"
    );
}

#[tokio::test]
async fn a_checkpoint_stands_for_what_was_before_it() {
    let temp = tempfile::tempdir().expect("a folder");
    let state = Folder::open(&temp.path().to_string_lossy()).expect("opens");
    let mut log = CommitLog::open(&state).await.expect("opens");
    for number in 0..CHECKPOINT_EVERY + 3 {
        let removed = if number % 2 == 1 { vec![format!("f{}", number - 1)] } else { vec![] };
        let added = vec![file(&format!("f{number}"))];
        log.append(Commit { added, removed, next_file: number, ..log.unchanged() }, by(1 - (number % 2) as i64)).await.expect("commits");
    }
    let whole = log.results().to_vec();
    for number in 1..=CHECKPOINT_EVERY {
        std::fs::remove_file(temp.path().join(format!("commits/{number:08}.json"))).expect("removed");
    }
    let again = CommitLog::open(&state).await.expect("opens");
    assert_eq!((again.results(), again.len()), (whole.as_slice(), CHECKPOINT_EVERY + 3));
}
