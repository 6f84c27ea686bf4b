//! The journal as a run and its successors see it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, TimeUnit};
use promptmill_core::{CostSource, NothingAnswered};
use proptest::prelude::*;
use tempfile::TempDir;

use super::samples::{attempt, begun, row};
use super::segment::{self, from_batch};
use super::*;

#[derive(Debug, Default)]
struct Settled(HashSet<RowId>);

impl Answered for Settled {
    fn contains(&self, row: RowId) -> bool {
        self.0.contains(&row)
    }
}

fn state() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn open(state: &TempDir) -> LocalJournal {
    LocalJournal::open(state.path(), "run-1", &NothingAnswered).expect("opens")
}

/// With logs that are full after some ten attempts.
fn open_small(state: &TempDir) -> LocalJournal {
    let options = Options { rotate_at: 8_000, ..Options::default() };
    LocalJournal::open_with(state.path(), "run-1", &NothingAnswered, options).expect("opens")
}

fn sealed(state: &Path) -> Vec<Attempt> {
    let batches = |path: PathBuf| segment::read(&path, None, None).expect("a segment").collect::<Vec<_>>();
    let segments = segments(state).expect("a list");
    segments.into_iter().flat_map(batches).flat_map(|batch| from_batch(&batch.expect("rows")).expect("attempts")).collect()
}

fn sealed_ids(state: &Path) -> Vec<String> {
    sealed(state).into_iter().map(|attempt| attempt.begun.attempt_id).collect()
}

fn batch_ids(batches: &[RecordBatch]) -> Vec<String> {
    let ids = batches.iter().flat_map(|batch| batch["attempt_id"].as_string::<i32>().iter().flatten());
    ids.map(str::to_owned).collect()
}

fn log_of(state: &TempDir, number: u64) -> PathBuf {
    Folder::of(state.path()).log(number)
}

#[tokio::test]
async fn what_was_journalled_is_read_back() {
    let state = state();
    let mut failed = attempt("a2", &["k2", "k3"]);
    failed.status = "timeout".into();
    failed.error = Some("nothing in 120 s".into());
    (failed.usage, failed.cost, failed.cost_source, failed.raw_response, failed.finish_reason) = (None, None, None, None, None);
    let mut estimated = attempt("a3", &["k4"]);
    estimated.cost_source = Some(CostSource::Price);
    estimated.begun.reserved = Money::MAX;
    let ended = [attempt("a1", &["k1", "k2"]), failed, estimated];
    let journal = open(&state);
    for attempt in &ended {
        journal.begin(&attempt.begun).await.expect("begins");
        journal.end(attempt).await.expect("ends");
    }
    journal.close().await.expect("closes");
    journal.close().await.expect("closed already");
    journal.end(&ended[0]).await.expect_err("closed");
    assert_eq!(sealed(state.path()), ended);
    assert!(!log_of(&state, 1).exists());

    let journal = open(&state);
    assert_eq!((journal.spent(), journal.sealed_through()), (Money::from_nano(1_400), 1));
    let past = journal.past(row("k2"));
    assert_eq!(past.iter().map(|past| past.attempt.as_ref()).collect::<Vec<_>>(), [&ended[0], &ended[1]], "oldest first");
    assert_eq!(past.iter().map(|past| past.position).collect::<Vec<_>>(), [1, 0]);
}

#[tokio::test]
async fn a_run_without_attempts_leaves_nothing() {
    let state = state();
    open(&state).close().await.expect("closes");
    drop(open(&state));
    open(&state).close().await.expect("closes");
    assert_eq!(fs::read_dir(state.path().join("journal")).expect("a folder").count(), 0);
}

#[tokio::test]
async fn a_torn_tail_costs_the_torn_attempt_only() {
    let state = state();
    let journal = open(&state);
    journal.end(&attempt("a1", &["k1"])).await.expect("ends");
    let first = fs::metadata(log_of(&state, 1)).expect("a log").len();
    journal.end(&attempt("a2", &["k2"])).await.expect("ends");
    drop(journal);
    let whole = fs::read(log_of(&state, 1)).expect("a log");
    // Every offset is tried on the bytes alone, in `frame`.
    for length in (usize::try_from(first).expect("a length")..whole.len()).step_by(61) {
        let state = tempfile::tempdir().expect("a folder");
        fs::create_dir(state.path().join("journal")).expect("a folder");
        fs::write(log_of(&state, 1), &whole[..length]).expect("written");
        assert_eq!(open(&state).spent(), Money::from_nano(700));
        assert_eq!(sealed_ids(state.path()), ["a1"], "cut at {length}");
    }
}

#[tokio::test]
async fn damage_in_the_middle_is_an_error_and_changes_nothing() {
    let state = state();
    let journal = open(&state);
    for id in ["a1", "a2", "a3"] {
        journal.end(&attempt(id, &["k"])).await.expect("ends");
    }
    drop(journal);
    let mut bytes = fs::read(log_of(&state, 1)).expect("a log");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(log_of(&state, 1), &bytes).expect("written");
    for error in
        [LocalJournal::open(state.path(), "run-2", &NothingAnswered).expect_err("damaged"), snapshot(state.path()).expect_err("damaged")]
    {
        let text = error.to_string();
        assert!(text.contains("00000001.log` is damaged at byte "), "{text}");
        let Error::Failed(failure) = error else { panic!("a failure") };
        assert!(failure.hint.is_some_and(|hint| hint.contains("backup")));
    }
    assert_eq!(fs::read(log_of(&state, 1)).expect("a log"), bytes);
    assert!(segments(state.path()).expect("a list").is_empty());
}

#[tokio::test]
async fn a_damaged_segment_is_an_error() {
    let state = state();
    let journal = open(&state);
    journal.end(&attempt("a1", &["k"])).await.expect("ends");
    journal.close().await.expect("closes");
    let path = segments(state.path()).expect("a list").remove(0);
    fs::write(&path, "PAR1 but nothing else").expect("written");
    let error = LocalJournal::open(state.path(), "run-2", &NothingAnswered).expect_err("damaged").to_string();
    assert!(error.starts_with(&format!("the journal segment `{}` could not be read: ", path.display())), "{error}");
}

#[tokio::test]
async fn a_log_that_was_sealed_and_not_removed_counts_once() {
    let state = state();
    let journal = open(&state);
    journal.begin(&begun("a1", &["k1"])).await.expect("begins");
    journal.end(&attempt("a2", &["k2"])).await.expect("ends");
    drop(journal);
    let log = fs::read(log_of(&state, 1)).expect("a log");
    open(&state).close().await.expect("closes");
    fs::write(log_of(&state, 1), log).expect("written");
    fs::write(Folder::of(state.path()).unfinished(2), "half a segment").expect("written");
    assert!(snapshot(state.path()).expect("read").open.is_empty());
    let journal = open(&state);
    assert_eq!((journal.spent(), journal.past_len()), (Money::from_nano(1_700), 2));
    assert_eq!(sealed_ids(state.path()), ["a2", "a1"]);
    assert!(!log_of(&state, 1).exists());
    assert!(!Folder::of(state.path()).unfinished(2).exists());
}

#[tokio::test]
async fn an_attempt_without_an_end_is_lost_at_its_full_price() {
    let state = state();
    for (run, close) in [("a1", false), ("a2", true)] {
        let journal = open(&state);
        journal.begin(&begun(run, &["k1", "k2"])).await.expect("begins");
        if close {
            journal.close().await.expect("closes");
        }
    }
    let free = Begun { reserved: Money::ZERO, ..begun("free", &["k1"]) };
    let journal = open(&state);
    journal.begin(&free).await.expect("begins");
    assert_eq!(journal.spent(), Money::from_nano(2_000));
    let past = journal.past(row("k2"));
    assert_eq!(past.len(), 2);
    let expected = Attempt {
        begun: begun("a1", &["k1", "k2"]),
        latency_ms: 0.0,
        status: "lost".into(),
        error: Some("the process ended while this request was in flight".into()),
        finish_reason: None,
        usage: None,
        cost: Some(Money::from_nano(1_000)),
        cost_source: Some(CostSource::Price),
        answered: 0,
        raw_response: None,
    };
    assert_eq!(*past[0].attempt, expected);
    drop(journal);
    let journal = open(&state);
    assert_eq!(journal.spent(), Money::from_nano(2_000), "a free attempt that never ended is nothing");
    let latencies = segment::read(&segments(state.path()).expect("a list")[0], Some(&["latency_ms"]), None);
    assert!(latencies.expect("a segment").all(|batch| batch.expect("rows")["latency_ms"].is_null(0)), "unknown, not zero");
}

#[tokio::test]
async fn the_past_is_handed_out_once_and_only_of_what_is_open() {
    let state = state();
    let journal = open(&state);
    journal.end(&attempt("a1", &["k1", "k2", "k3"])).await.expect("ends");
    journal.end(&attempt("a2", &["k1"])).await.expect("ends");
    journal.close().await.expect("closes");
    let answered = Settled([row("k1")].into());
    let journal = LocalJournal::open(state.path(), "run-2", &answered).expect("opens");
    assert_eq!(journal.past_len(), 2);
    assert!(journal.past(row("k1")).is_empty());
    let (second, third) = (journal.past(row("k2")), journal.past(row("k3")));
    assert!(Arc::ptr_eq(&second[0].attempt, &third[0].attempt), "one copy of the response for all its rows");
    assert_eq!(second[0].attempt.raw_response, attempt("a1", &[]).raw_response);
    assert!(journal.past(row("k2")).is_empty());
    assert_eq!(journal.past_len(), 0);
    drop(journal);
    let options = Options { settled_through: 1, ..Options::default() };
    let journal = LocalJournal::open_with(state.path(), "run-3", &NothingAnswered, options).expect("opens");
    assert_eq!((journal.past_len(), journal.spent()), (0, Money::from_nano(1_400)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_at_once_are_all_durable() {
    let state = state();
    let options = Options { rotate_at: 1_000_000, ..Options::default() };
    let journal = Arc::new(LocalJournal::open_with(state.path(), "run-1", &NothingAnswered, options).expect("opens"));
    let mut ends = tokio::task::JoinSet::new();
    for number in 0..10_000 {
        let journal = Arc::clone(&journal);
        ends.spawn(async move { journal.end(&attempt(&format!("a{number:05}"), &["k"])).await });
    }
    ends.join_all().await.into_iter().collect::<Result<()>>().expect("all end");
    drop(journal);
    let journal = open(&state);
    assert_eq!(journal.spent(), Money::from_nano(10_000 * 700));
    let ids = sealed_ids(state.path());
    assert_eq!((ids.len(), ids.into_iter().collect::<BTreeSet<_>>().len()), (10_000, 10_000));
}

#[tokio::test]
async fn full_logs_are_sealed_while_the_run_goes_on() {
    let state = state();
    let journal = open_small(&state);
    journal.begin(&begun("long", &["k"])).await.expect("begins");
    journal.begin(&begun("lost", &["k"])).await.expect("begins");
    let ids: Vec<String> = (0..60).map(|number| format!("a{number:02}")).collect();
    for id in &ids {
        journal.end(&attempt(id, &["k"])).await.expect("ends");
    }
    journal.end(&attempt("long", &["k"])).await.expect("ends");
    journal.close().await.expect("closes");
    assert!(segments(state.path()).expect("a list").len() > 3);
    assert_eq!(sealed_ids(state.path()), [&ids[..], &["long".to_owned(), "lost".to_owned()]].concat());
    assert_eq!(open(&state).spent(), Money::from_nano(61 * 700 + 1_000));
}

#[tokio::test]
async fn a_log_that_cannot_be_made_breaks_the_journal_for_all() {
    let state = state();
    let journal = open_small(&state);
    fs::create_dir(log_of(&state, 2)).expect("in the way");
    let mut acknowledged = 0;
    let error = loop {
        match journal.end(&attempt(&format!("a{acknowledged}"), &["k"])).await {
            Ok(()) => acknowledged += 1,
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("00000002.log` could not be made"), "{error}");
    assert_eq!(journal.begin(&begun("b", &["k"])).await.expect_err("broken").to_string(), error);
    assert_eq!(journal.close().await.expect_err("broken").to_string(), error);
    fs::remove_dir(log_of(&state, 2)).expect("out of the way");
    drop(open(&state));
    assert_eq!(sealed_ids(state.path()).len(), acknowledged, "what was acknowledged is there");
}

#[tokio::test]
async fn one_run_at_a_time() {
    let state = state();
    let first = open(&state);
    first.end(&attempt("a1", &["k"])).await.expect("ends");
    let error = LocalJournal::open(state.path(), "run-2", &NothingAnswered).expect_err("taken").to_string();
    assert!(error.contains("another run works on this pipeline: run `run-1` (process "), "{error}");
    first.end(&attempt("a2", &["k"])).await.expect("not disturbed");
    first.close().await.expect("closes");
    drop(open(&state));
    drop(open(&state));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_sees_every_attempt_once_while_a_run_writes() {
    let state = state();
    let journal = Arc::new(open_small(&state));
    let ended = Arc::new(AtomicUsize::new(0));
    let writing = tokio::spawn({
        let (journal, ended) = (Arc::clone(&journal), Arc::clone(&ended));
        async move {
            for number in 0..150 {
                journal.begin(&begun(&format!("a{number:03}"), &["k"])).await.expect("begins");
                journal.end(&attempt(&format!("a{number:03}"), &["k"])).await.expect("ends");
                ended.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    loop {
        let (last, before) = (writing.is_finished(), ended.load(Ordering::SeqCst));
        let seen = snapshot(state.path()).expect("read");
        for batch in &seen.open {
            assert_eq!(batch.schema(), attempts_schema());
        }
        let read = |path: PathBuf| segment::read(&path, None, None).expect("a segment").collect::<Result<Vec<_>>>();
        let mut ids: Vec<String> = seen.segments.into_iter().flat_map(|path| batch_ids(&read(path).expect("rows"))).collect();
        ids.extend(batch_ids(&seen.open));
        let expected: Vec<String> = (0..ids.len()).map(|number| format!("a{number:03}")).collect();
        assert_eq!(ids, expected);
        assert!(ids.len() >= before, "{} of {before}", ids.len());
        if last {
            break;
        }
    }
    writing.await.expect("all written");
    assert!(!open_attempts(state.path()).expect("read").is_empty());
    journal.close().await.expect("closes");
    assert!(open_attempts(state.path()).expect("read").is_empty());
}

#[test]
fn recovery_may_be_cut_short_anywhere() {
    let frames = |begins: &[&str], ends: &[&str]| {
        let begins = begins.iter().map(|id| frame::begun(&begun(id, &["k"])).expect("a frame"));
        begins.chain(ends.iter().map(|id| frame::ended(&attempt(id, &["k"])).expect("a frame"))).collect::<Vec<_>>()
    };
    // `a` and `b` are carried along; `a` ends in the third log, `b` and `d` never do.
    let logs = [frames(&["a", "b"], &["c"]), frames(&["a", "b", "d"], &["e"]), frames(&["a", "b", "d"], &["a", "f"])];
    let prepare = |state: &TempDir| {
        let folder = Folder::of(state.path());
        folder.create().expect("a folder");
        for (number, frames) in (1..).zip(&logs) {
            OpenLog::create(&folder, number, frames.iter()).expect("a log");
        }
        folder
    };
    let done = state();
    assert_eq!(open::recover(&prepare(&done)).expect("recovers"), 3);
    assert_eq!(sealed_ids(done.path()), ["c", "e", "a", "f", "b", "d"]);
    for sealed in 1..=3 {
        for removed in [sealed, sealed - 1] {
            let state = state();
            let folder = prepare(&state);
            for number in 1..=sealed {
                fs::copy(Folder::of(done.path()).segment(number), folder.segment(number)).expect("copied");
            }
            (1..=removed).for_each(|number| fs::remove_file(folder.log(number)).expect("removed"));
            open::recover(&folder).expect("recovers");
            assert_eq!(sealed_ids(state.path()), ["c", "e", "a", "f", "b", "d"], "{sealed} sealed, {removed} removed");
        }
    }
    // A log that was followed by another had been complete.
    let state = state();
    let folder = prepare(&state);
    let log = OpenOptions::new().write(true).open(folder.log(2)).expect("a log");
    log.set_len(log.metadata().expect("a length").len() - 1).expect("cut");
    let error = open::recover(&folder).expect_err("damaged").to_string();
    assert!(error.contains("00000002.log` is damaged at byte "), "{error}");
}

#[test]
fn the_table_has_the_columns_of_the_contract() {
    let schema = attempts_schema();
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let contract = "attempt_id run_id model provider keys started_at latency_ms status error finish_reason input_tokens \
                    cached_input_tokens output_tokens cost_usd cost_source answered raw_response";
    assert_eq!(names, contract.split_whitespace().collect::<Vec<_>>());
    let is = |name: &str, kind: DataType| assert_eq!(schema.field_with_name(name).expect("a column").data_type(), &kind);
    is("keys", DataType::new_list(DataType::Utf8, true));
    is("started_at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));
    is("latency_ms", DataType::Float64);
    is("output_tokens", DataType::Int64);
    is("cost_usd", DataType::Decimal128(18, 9));
    is("answered", DataType::Int32);
}

/// Something that happens to a journal.
#[derive(Clone, Debug)]
enum Step {
    /// An attempt begins that can cost this much.
    Begin(i64),
    /// One of those in flight ends, at this cost.
    End(prop::sample::Index, Option<i64>),
    /// The process dies, in the middle of a write if there are bytes.
    Crash(Vec<u8>),
    /// The process dies between renaming a segment and removing its log.
    CrashWhileSealing,
    /// The run ends well.
    Close,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => prop_oneof![Just(0), 1_i64..1_000].prop_map(Step::Begin),
        6 => (any::<prop::sample::Index>(), prop::option::of(0_i64..1_000)).prop_map(|(which, cost)| Step::End(which, cost)),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Step::Crash),
        1 => Just(Step::CrashWhileSealing),
        1 => Just(Step::Close),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_every_attempt_is_there_once(steps in steps(), rotate_at in 500_u64..6_000) {
        let state = state();
        let options = Options { rotate_at, ..Options::default() };
        let opened = || LocalJournal::open_with(state.path(), "run-1", &NothingAnswered, options).expect("opens");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let (mut journal, mut in_flight, mut ended) = (opened(), Vec::new(), BTreeMap::new());
        for (number, step) in steps.into_iter().chain([Step::Crash(Vec::new())]).enumerate() {
            let id = format!("a{number:03}");
            match &step {
                Step::Begin(reserved) => {
                    let begun = Begun { reserved: Money::from_nano(*reserved), ..begun(&id, &[&id]) };
                    runtime.block_on(journal.begin(&begun)).expect("begins");
                    in_flight.push(begun);
                    continue;
                }
                Step::End(which, cost) => {
                    if !in_flight.is_empty() {
                        let begun: Begun = in_flight.swap_remove(which.index(in_flight.len()));
                        let cost = cost.map(Money::from_nano);
                        let attempt = Attempt { begun, cost, ..attempt("", &[]) };
                        runtime.block_on(journal.end(&attempt)).expect("ends");
                        ended.insert(attempt.begun.attempt_id, ("ok".to_owned(), cost));
                    }
                    continue;
                }
                Step::Close => runtime.block_on(journal.close()).expect("closes"),
                Step::Crash(_) | Step::CrashWhileSealing => {}
            }
            drop(journal);
            let folder = Folder::of(state.path());
            let log = folder.logs().expect("a list").last().map(|&number| folder.log(number));
            match (step, log) {
                (Step::Crash(torn), Some(log)) => {
                    let bytes = [fs::read(&log).expect("a log"), torn].concat();
                    fs::write(&log, bytes).expect("written");
                }
                (Step::CrashWhileSealing, Some(log)) => {
                    let bytes = fs::read(&log).expect("a log");
                    drop(opened());
                    if log.with_extension("parquet").exists() {
                        fs::write(&log, bytes).expect("written");
                    }
                }
                _ => {}
            }
            journal = opened();
            for begun in in_flight.drain(..).filter(|begun| begun.reserved > Money::ZERO) {
                ended.insert(begun.attempt_id, (LOST.to_owned(), Some(begun.reserved)));
            }
            prop_assert_eq!(journal.spent(), ended.values().filter_map(|(_, cost)| *cost).sum::<Money>());
            prop_assert_eq!(journal.past_len(), ended.len());
            let found = sealed(state.path());
            prop_assert_eq!(found.len(), ended.len());
            let found = found.into_iter().map(|attempt| (attempt.begun.attempt_id, (attempt.status, attempt.cost)));
            prop_assert_eq!(&found.collect::<BTreeMap<_, _>>(), &ended);
        }
    }
}
