//! The journal as a run and its successors see it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, TimeUnit};
use promptmill_core::{CostSource, Error};
use proptest::prelude::*;
use tempfile::TempDir;

use super::folder::Folder;
use super::log::OpenLog;
use super::samples::{attempt, begun, question};
use super::segment::{self, from_batch};
use super::*;

const FLUSH: Duration = Duration::from_secs(2);

fn state() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn store(state: &TempDir) -> Store {
    Store::open(&state.path().to_string_lossy()).expect("opens")
}

async fn open(state: &TempDir) -> RunJournal {
    open_in(&store(state)).await
}

async fn open_in(state: &Store) -> RunJournal {
    RunJournal::open(state, "run-1", FLUSH).await.expect("opens")
}

/// With logs that are full after some ten attempts.
async fn open_small(state: &Store) -> RunJournal {
    RunJournal::open_with(state, "run-1", FLUSH, 8_000).await.expect("opens")
}

async fn segments(state: &Store) -> Vec<String> {
    let names = state.folder("journal").list().await.expect("a list");
    Contents::of(names.iter().map(String::as_str)).segments.iter().map(Segment::name).collect()
}

async fn sealed(state: &Store) -> Vec<Attempt> {
    let mut attempts = Vec::new();
    for name in segments(state).await {
        for batch in read(state, &name).await {
            attempts.extend(from_batch(&batch).expect("attempts"));
        }
    }
    attempts
}

async fn read(state: &Store, name: &str) -> Vec<RecordBatch> {
    use futures::TryStreamExt;
    let batches = segment::read(&state.folder("journal"), name, None, None).await.expect("a segment");
    batches.try_collect().await.expect("rows")
}

async fn sealed_ids(state: &Store) -> Vec<String> {
    sealed(state).await.into_iter().map(|attempt| attempt.begun.attempt_id).collect()
}

fn batch_ids(batches: &[RecordBatch]) -> Vec<String> {
    let ids = batches.iter().flat_map(|batch| batch["attempt_id"].as_string::<i32>().iter().flatten());
    ids.map(str::to_owned).collect()
}

fn log_of(state: &TempDir, number: u64) -> PathBuf {
    Folder::of(state.path()).log(number)
}

async fn past_of(journal: &RunJournal, key: &str) -> Vec<Past> {
    journal.past(&[(key, question(key))]).await.expect("reads").remove(0)
}

/// How many sealed attempts the journal knows.
async fn known(journal: &RunJournal) -> u32 {
    journal.history.read().await.attempts()
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
    let journal = open(&state).await;
    for attempt in &ended {
        journal.begin(&attempt.begun).await.expect("begins");
        journal.end(attempt).await.expect("ends");
    }
    journal.close().await.expect("closes");
    journal.close().await.expect("closed already");
    journal.end(&ended[0]).await.expect_err("closed");
    assert_eq!(sealed(&store(&state)).await, ended);
    assert!(!log_of(&state, 1).exists());

    let journal = open(&state).await;
    assert_eq!(journal.spent(), Money::from_nano(1_400));
    let past = past_of(&journal, "k2").await;
    assert_eq!(past.iter().map(|past| past.attempt.as_ref()).collect::<Vec<_>>(), [&ended[0], &ended[1]], "oldest first");
    assert_eq!(past.iter().map(|past| past.position).collect::<Vec<_>>(), [1, 0]);
}

#[tokio::test]
async fn a_run_without_attempts_leaves_nothing() {
    let state = state();
    open(&state).await.close().await.expect("closes");
    drop(open(&state).await);
    open(&state).await.close().await.expect("closes");
    assert_eq!(fs::read_dir(state.path().join("journal")).expect("a folder").count(), 0);
}

#[tokio::test]
async fn a_torn_tail_costs_the_torn_attempt_only() {
    let state = state();
    let journal = open(&state).await;
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
        assert_eq!(open(&state).await.spent(), Money::from_nano(700));
        assert_eq!(sealed_ids(&store(&state)).await, ["a1"], "cut at {length}");
    }
}

#[tokio::test]
async fn damage_in_the_middle_is_an_error_and_changes_nothing() {
    let state = state();
    let journal = open(&state).await;
    for id in ["a1", "a2", "a3"] {
        journal.end(&attempt(id, &["k"])).await.expect("ends");
    }
    drop(journal);
    let mut bytes = fs::read(log_of(&state, 1)).expect("a log");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(log_of(&state, 1), &bytes).expect("written");
    let opened = RunJournal::open(&store(&state), "run-2", FLUSH).await.expect_err("damaged");
    for error in [opened, snapshot(&store(&state).folder("journal")).await.expect_err("damaged")] {
        let text = error.to_string();
        assert!(text.contains("00000001.log` is damaged at byte "), "{text}");
        let Error::Failed(failure) = error else { panic!("a failure") };
        assert!(failure.hint.is_some_and(|hint| hint.contains("backup")));
    }
    assert_eq!(fs::read(log_of(&state, 1)).expect("a log"), bytes);
    assert!(segments(&store(&state)).await.is_empty());
}

#[tokio::test]
async fn a_damaged_segment_is_an_error() {
    let state = state();
    let journal = open(&state).await;
    journal.end(&attempt("a1", &["k"])).await.expect("ends");
    journal.close().await.expect("closes");
    let path = Folder::of(state.path()).segment(1);
    fs::write(&path, "PAR1 but nothing else").expect("written");
    let error = RunJournal::open(&store(&state), "run-2", FLUSH).await.expect_err("damaged").to_string();
    assert!(error.starts_with(&format!("the journal segment `{}` could not be read: ", path.display())), "{error}");
}

#[tokio::test]
async fn a_log_that_was_sealed_and_not_removed_counts_once() {
    let state = state();
    let journal = open(&state).await;
    journal.begin(&begun("a1", &["k1"])).await.expect("begins");
    journal.end(&attempt("a2", &["k2"])).await.expect("ends");
    drop(journal);
    let log = fs::read(log_of(&state, 1)).expect("a log");
    open(&state).await.close().await.expect("closes");
    fs::write(log_of(&state, 1), log).expect("written");
    fs::write(Folder::of(state.path()).unfinished(2), "half a segment").expect("written");
    assert!(snapshot(&store(&state).folder("journal")).await.expect("read").open.is_empty());
    let journal = open(&state).await;
    assert_eq!((journal.spent(), known(&journal).await), (Money::from_nano(1_700), 2));
    assert_eq!(sealed_ids(&store(&state)).await, ["a2", "a1"]);
    assert!(!log_of(&state, 1).exists());
    assert!(!Folder::of(state.path()).unfinished(2).exists());
}

#[tokio::test]
async fn an_attempt_without_an_end_is_lost_at_its_full_price() {
    let state = state();
    for (run, close) in [("a1", false), ("a2", true)] {
        let journal = open(&state).await;
        journal.begin(&begun(run, &["k1", "k2"])).await.expect("begins");
        if close {
            journal.close().await.expect("closes");
        }
    }
    let free = Begun { reserved: Money::ZERO, ..begun("free", &["k1"]) };
    let journal = open(&state).await;
    journal.begin(&free).await.expect("begins");
    assert_eq!(journal.spent(), Money::from_nano(2_000));
    let past = past_of(&journal, "k2").await;
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
    let journal = open(&state).await;
    assert_eq!(journal.spent(), Money::from_nano(2_000), "a free attempt that never ended is nothing");
    let batches = read(&store(&state), &segments(&store(&state)).await[0]).await;
    assert!(batches.iter().all(|batch| batch["latency_ms"].is_null(0)), "unknown, not zero");
}

#[tokio::test]
async fn the_past_is_what_bears_on_a_row() {
    let state = state();
    let journal = open(&state).await;
    let mut other_question = attempt("a2", &["k1"]);
    other_question.begun.questions = vec![question("else")];
    let mut refused = attempt("a3", &["k1"]);
    (refused.status, refused.cost, refused.usage) = ("rate-limited".into(), Some(Money::ZERO), None);
    let mut same_question = attempt("a4", &["k9"]);
    same_question.begun.questions = vec![question("k1")];
    for attempt in [attempt("a1", &["k0", "k1"]), other_question, refused, same_question] {
        journal.end(&attempt).await.expect("ends");
    }
    let told = |past: Vec<Past>| {
        let told = past.iter().map(|past| (past.attempt.begun.attempt_id.clone(), past.position, past.is_own, past.is_same_question));
        told.collect::<Vec<_>>()
    };
    // What this run has asked itself bears on others that ask the same.
    assert_eq!(told(journal.past(&[("new", question("k0"))]).await.expect("reads").remove(0)), [("a1".to_owned(), 0, false, true)]);
    journal.close().await.expect("closes");
    let journal = open(&state).await;
    let all = journal.past(&[("k1", question("k1")), ("k2", question("k2")), ("k9", question("k0"))]).await.expect("reads");
    let [k1, k2, k9] = all.try_into().expect("three rows");
    let expected = [("a1", 1, true, true), ("a2", 0, true, false), ("a4", 0, false, true)];
    assert_eq!(told(k1.clone()), expected.map(|(id, position, own, same)| (id.to_owned(), position, own, same)));
    assert!(k1[1].attempt.raw_response.is_none(), "of another question nobody needs the answer");
    assert_eq!(k1[2].attempt.raw_response, attempt("a4", &[]).raw_response);
    assert!(k2.is_empty());
    assert_eq!(told(k9), [("a1".to_owned(), 0, false, true), ("a4".to_owned(), 0, true, false)]);
}

#[tokio::test]
async fn an_answer_is_found_behind_any_number_of_failures() {
    let state = state();
    let question = question("same");
    let asked = |id: &str, key: &str, status: &str, answered: u32| {
        let mut attempt = attempt(id, &[key]);
        (attempt.begun.questions, attempt.status, attempt.answered) = (vec![question], status.to_owned(), answered);
        attempt
    };
    let found = async |journal: &RunJournal, key: &str| {
        let past = journal.past(&[(key, question)]).await.expect("reads").remove(0);
        past.iter().map(|past| (past.attempt.begun.attempt_id.clone(), past.is_own)).collect::<Vec<_>>()
    };
    // A run asked about `k0` a hundred times in vain, and was killed.
    let journal = open(&state).await;
    for number in 0..100 {
        journal.end(&asked(&format!("f{number:02}"), "k0", if number % 2 == 0 { "overloaded" } else { "timeout" }, 0)).await.expect("ends");
    }
    journal.begin(&begun("lost", &["k0"])).await.expect("begins");
    journal.close().await.expect("closes");
    let journal = open(&state).await;
    assert!(found(&journal, "k1").await.is_empty(), "what nobody has said anything about bears on its own row alone");
    // The next one has the answer; who asks the same later in that run gets it, and in every later one.
    journal.end(&asked("answer", "k0", "ok", 1)).await.expect("ends");
    assert_eq!(found(&journal, "k1").await, [("answer".to_owned(), false)]);
    assert_eq!(found(&journal, "k0").await.len(), 102, "its own attempts bear on `k0`, all of them");
    for number in 0..20 {
        // What was said and turned away stands behind it.
        journal.end(&asked(&format!("g{number:02}"), "k2", "ok", 0)).await.expect("ends");
    }
    journal.end(&asked("again", "k3", "ok", 1)).await.expect("ends");
    journal.close().await.expect("closes");
    let journal = open(&state).await;
    let later = found(&journal, "k9").await;
    assert_eq!(later.last(), Some(&("again".to_owned(), false)), "{later:?}");
    assert_eq!(later.len(), 8, "the latest ones are enough");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_at_once_are_all_durable() {
    let state = state();
    let journal = Arc::new(RunJournal::open_with(&store(&state), "run-1", FLUSH, 1_000_000).await.expect("opens"));
    let mut ends = tokio::task::JoinSet::new();
    for number in 0..10_000 {
        let journal = Arc::clone(&journal);
        ends.spawn(async move { journal.end(&attempt(&format!("a{number:05}"), &["k"])).await });
    }
    ends.join_all().await.into_iter().collect::<Result<()>>().expect("all end");
    drop(journal);
    let journal = open(&state).await;
    assert_eq!(journal.spent(), Money::from_nano(10_000 * 700));
    let ids = sealed_ids(&store(&state)).await;
    assert_eq!((ids.len(), ids.into_iter().collect::<BTreeSet<_>>().len()), (10_000, 10_000));
}

#[tokio::test]
async fn full_logs_are_sealed_while_the_run_goes_on() {
    let state = state();
    let journal = open_small(&store(&state)).await;
    journal.begin(&begun("long", &["k"])).await.expect("begins");
    journal.begin(&begun("lost", &["k"])).await.expect("begins");
    let ids: Vec<String> = (0..60).map(|number| format!("a{number:02}")).collect();
    for id in &ids {
        journal.end(&attempt(id, &["k"])).await.expect("ends");
    }
    journal.end(&attempt("long", &["k"])).await.expect("ends");
    journal.close().await.expect("closes");
    assert!(segments(&store(&state)).await.len() > 3);
    assert_eq!(sealed_ids(&store(&state)).await, [&ids[..], &["long".to_owned(), "lost".to_owned()]].concat());
    assert_eq!(open(&state).await.spent(), Money::from_nano(61 * 700 + 1_000));
}

#[tokio::test]
async fn a_log_that_cannot_be_made_breaks_the_journal_for_all() {
    let state = state();
    let journal = open_small(&store(&state)).await;
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
    drop(open(&state).await);
    assert_eq!(sealed_ids(&store(&state)).await.len(), acknowledged, "what was acknowledged is there");
}

#[tokio::test]
async fn one_run_at_a_time() {
    let state = state();
    let first = open(&state).await;
    first.end(&attempt("a1", &["k"])).await.expect("ends");
    let error = RunJournal::open(&store(&state), "run-2", FLUSH).await.expect_err("taken").to_string();
    assert!(error.contains("another run works on this pipeline: run `run-1` (process "), "{error}");
    first.end(&attempt("a2", &["k"])).await.expect("not disturbed");
    first.close().await.expect("closes");
    drop(open(&state).await);
    drop(open(&state).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_sees_every_attempt_once_while_a_run_writes() {
    let state = state();
    let journal = Arc::new(open_small(&store(&state)).await);
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
        let seen = snapshot(&store(&state).folder("journal")).await.expect("read");
        for batch in &seen.open {
            assert_eq!(batch.schema(), attempts_schema());
        }
        let mut ids: Vec<String> = Vec::new();
        for name in seen.segments {
            ids.extend(batch_ids(&read(&store(&state), &name).await));
        }
        ids.extend(batch_ids(&seen.open));
        let expected: Vec<String> = (0..ids.len()).map(|number| format!("a{number:03}")).collect();
        assert_eq!(ids, expected);
        assert!(ids.len() >= before, "{} of {before}", ids.len());
        if last {
            break;
        }
    }
    writing.await.expect("all written");
    assert!(!snapshot(&store(&state).folder("journal")).await.expect("read").open.is_empty());
    journal.close().await.expect("closes");
    assert!(snapshot(&store(&state).folder("journal")).await.expect("read").open.is_empty());
}

#[tokio::test]
async fn recovery_may_be_cut_short_anywhere() {
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
    assert_eq!(sealed_ids(&store(&done)).await, ["c", "e", "a", "f", "b", "d"]);
    for sealed in 1..=3 {
        for removed in [sealed, sealed - 1] {
            let state = state();
            let folder = prepare(&state);
            for number in 1..=sealed {
                fs::copy(Folder::of(done.path()).segment(number), folder.segment(number)).expect("copied");
            }
            (1..=removed).for_each(|number| fs::remove_file(folder.log(number)).expect("removed"));
            open::recover(&folder).expect("recovers");
            assert_eq!(sealed_ids(&store(&state)).await, ["c", "e", "a", "f", "b", "d"], "{sealed} sealed, {removed} removed");
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
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let opened = || runtime.block_on(RunJournal::open_with(&store(&state), "run-1", FLUSH, rotate_at)).expect("opens");
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
            prop_assert_eq!(runtime.block_on(known(&journal)) as usize, ended.len());
            let found = runtime.block_on(sealed(&store(&state)));
            prop_assert_eq!(found.len(), ended.len());
            let found = found.into_iter().map(|attempt| (attempt.begun.attempt_id, (attempt.status, attempt.cost)));
            prop_assert_eq!(&found.collect::<BTreeMap<_, _>>(), &ended);
        }
    }
}
