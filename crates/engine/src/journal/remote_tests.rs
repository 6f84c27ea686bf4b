//! The journal on a store without appending and without locks.

use std::time::Duration;

use promptmill_core::{Attempt, Error, Journal, Money};
use tokio::time::{Instant, sleep};

use super::samples::{attempt, begun, question};
use super::segment::{self, from_batch};
use super::*;

const FLUSH: Duration = Duration::from_secs(2);

async fn open(state: &Store, run_id: &str) -> Result<RunJournal> {
    RunJournal::open_with(state, run_id, FLUSH, 8_000).await
}

/// Ends a run as SIGKILL does; that its process has gone can be seen here only by the lock.
async fn crash(state: &Store, journal: RunJournal) {
    drop(journal);
    tokio::task::yield_now().await;
    state.delete("lock").await.expect("removed");
}

async fn all(state: &Store) -> Vec<Attempt> {
    use futures::TryStreamExt;
    let folder = state.folder("journal");
    let names = folder.list().await.expect("a list");
    let mut attempts = Vec::new();
    for segment in Contents::of(names.iter().map(String::as_str)).segments {
        let batches: Vec<_> =
            segment::read(&folder, &segment.name(), None, None).await.expect("a segment").try_collect().await.expect("rows");
        batches.iter().for_each(|batch| attempts.extend(from_batch(batch).expect("attempts")));
    }
    attempts
}

fn ids(attempts: &[Attempt]) -> Vec<&str> {
    attempts.iter().map(|attempt| attempt.begun.attempt_id.as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn what_was_journalled_is_read_back_and_sealed_on_the_way() {
    let state = Store::in_memory();
    let journal = open(&state, "run-1").await.expect("opens");
    journal.begin(&begun("long", &["k"])).await.expect("begins");
    journal.begin(&begun("lost", &["k"])).await.expect("begins");
    let names: Vec<String> = (0..60).map(|number| format!("a{number:02}")).collect();
    for id in &names {
        journal.begin(&begun(id, &[id])).await.expect("begins");
        journal.end(&attempt(id, &[id])).await.expect("ends");
    }
    // What has been sealed meanwhile can be looked up as well as what has not.
    for id in ["a03", "a59"] {
        let past = journal.past(&[("other", question(id))]).await.expect("reads").remove(0);
        assert_eq!((past.len(), past[0].is_own, past[0].attempt.begun.attempt_id.as_str()), (1, false, id));
    }
    journal.end(&attempt("long", &["k"])).await.expect("ends");
    journal.close().await.expect("closes");
    let sealed = all(&state).await;
    let mut expected: Vec<&str> = names.iter().map(String::as_str).collect();
    expected.extend(["long", "lost"]);
    assert_eq!(ids(&sealed), expected);
    let files = state.folder("journal").list().await.expect("a list");
    assert!(files.len() > 1 && files.iter().all(|name| name.ends_with(".parquet")), "{files:?}");
    let journal = open(&state, "run-2").await.expect("opens");
    assert_eq!(journal.spent(), Money::from_nano(61 * 700 + 1_000));
}

#[tokio::test(start_paused = true)]
async fn a_response_waits_for_company_and_a_beginning_does_not() {
    let state = Store::in_memory();
    let journal = Arc::new(open(&state, "run-1").await.expect("opens"));
    let started = Instant::now();
    journal.begin(&begun("a1", &["k"])).await.expect("begins");
    assert!(started.elapsed() < Duration::from_millis(200), "{:?}", started.elapsed());
    let started = Instant::now();
    journal.end(&attempt("a1", &["k"])).await.expect("ends");
    let alone = started.elapsed();
    assert!(alone > Duration::from_secs(1) && alone <= FLUSH, "{alone:?}");
    // A beginning that comes meanwhile takes the response along.
    let started = Instant::now();
    let ended = tokio::spawn({
        let journal = Arc::clone(&journal);
        async move { journal.end(&attempt("a2", &["k"])).await }
    });
    sleep(Duration::from_millis(300)).await;
    journal.begin(&begun("a3", &["k"])).await.expect("begins");
    ended.await.expect("no panic").expect("ends");
    assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_crash_costs_what_was_in_flight_and_nothing_else() {
    let state = Store::in_memory();
    let mut expected = Vec::new();
    for run in 0..4 {
        let journal = open(&state, &format!("run-{run}")).await.expect("opens");
        for number in 0..15 {
            let id = format!("{run}-{number:02}");
            journal.begin(&begun(&id, &["k"])).await.expect("begins");
            journal.end(&attempt(&id, &["k"])).await.expect("ends");
            expected.push(id);
        }
        journal.begin(&begun(&format!("{run}-lost"), &["k"])).await.expect("begins");
        expected.push(format!("{run}-lost"));
        crash(&state, journal).await;
    }
    open(&state, "last").await.expect("opens").close().await.expect("closes");
    let sealed = all(&state).await;
    assert_eq!(ids(&sealed), expected);
    assert_eq!(sealed.iter().filter(|attempt| attempt.status == LOST).count(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_taken_for_dead_can_write_no_more() {
    let state = Store::in_memory();
    let sleeper = open(&state, "sleeper").await.expect("opens");
    sleeper.begin(&begun("a1", &["k"])).await.expect("begins");
    state.delete("lock").await.expect("removed");
    let heir = open(&state, "heir").await.expect("opens");
    assert_eq!(heir.spent(), Money::from_nano(1_000), "what was in flight counts");
    let error = sleeper.end(&attempt("a1", &["k"])).await.expect_err("too late").to_string();
    assert!(error.contains("another run has taken over"), "{error}");
    sleeper.begin(&begun("a2", &["k"])).await.expect_err("nor may it send anything");
    sleeper.close().await.expect_err("broken");
    heir.end(&attempt("b1", &["k"])).await.expect("ends");
    heir.close().await.expect("closes");
    assert_eq!(ids(&all(&state).await), ["a1", "b1"]);
}

#[tokio::test(start_paused = true)]
async fn one_run_at_a_time_and_the_second_is_told_who_the_first_is() {
    let state = Store::in_memory();
    let first = open(&state, "run-1").await.expect("opens");
    let error = open(&state, "run-2").await.expect_err("taken");
    assert!(error.to_string().contains("another run works on this pipeline: run `run-1` (process "), "{error}");
    first.close().await.expect("closes");
    open(&state, "run-3").await.expect("free").close().await.expect("closes");
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_nobody_keeps_up_runs_out() {
    let state = Store::in_memory();
    let holder = r#"{"run_id":"gone","host":"elsewhere","boot":"b","pid":1,"since":"2026-01-01T00:00:00Z","beat":7,"released":false}"#;
    state.put("lock", holder.as_bytes().to_vec()).await.expect("written");
    let started = Instant::now();
    let journal = open(&state, "run-1").await.expect("takes over");
    assert!((Duration::from_secs(10)..Duration::from_secs(20)).contains(&started.elapsed()), "{:?}", started.elapsed());
    // Kept up by somebody elsewhere, it does not.
    let beating = tokio::spawn({
        let state = state.clone();
        async move {
            for beat in 0.. {
                let holder = holder.replace(":7,", &format!(":{beat},"));
                state.put("lock", holder.into_bytes()).await.expect("written");
                sleep(Duration::from_secs(4)).await;
            }
        }
    });
    sleep(Duration::from_secs(30)).await;
    let error = journal.begin(&begun("a1", &["k"])).await.expect_err("lost the lock").to_string();
    assert!(error.contains("taken over"), "{error}");
    let error = open(&state, "run-2").await.expect_err("taken").to_string();
    assert!(error.contains("run `gone` (process 1 on `elsewhere`)"), "{error}");
    beating.abort();
}

#[tokio::test(start_paused = true)]
async fn a_missing_or_damaged_object_is_an_error() {
    for damage in [true, false] {
        let state = Store::in_memory();
        let journal = open(&state, "run-1").await.expect("opens");
        for id in ["a1", "a2", "a3"] {
            journal.end(&attempt(id, &["k"])).await.expect("ends");
        }
        crash(&state, journal).await;
        let folder = state.folder("journal");
        match damage {
            true => folder.put("00000003.log", b"promptmill journal 1\nand nonsense".to_vec()).await.expect("written"),
            false => folder.delete("00000003.log").await.expect("removed"),
        }
        let Error::Failed(failure) = open(&state, "run-2").await.expect_err("damaged") else { panic!("a failure") };
        assert!(failure.message.contains("00000003.log"), "{}", failure.message);
        assert!(failure.hint.is_some());
        // Whoever mends it is not kept waiting for a lock.
        assert!(matches!(open(&state, "run-3").await, Err(error) if error.to_string().contains("00000003.log")));
    }
}
