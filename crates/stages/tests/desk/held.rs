//! How much the desk takes in while nothing is answered, and that rows which ask the same are asked once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use promptmill_core::{Extensions, NothingAnswered, RunContext, Stop, columns};
use promptmill_llm::{CallError, Finish, Models, Provider, RateLimits, Request, Response};
use tokio::time::sleep;

use crate::ledger::Ledger;
use crate::scenario::{pipeline_of, through};

const BATCH: usize = 1_000;

/// Answers after an hour.
#[derive(Debug)]
struct Slow;

#[async_trait]
impl Provider for Slow {
    async fn complete(&self, request: &Request) -> Result<Response, CallError> {
        sleep(Duration::from_secs(3_600)).await;
        let answers: Vec<String> = request.items.iter().map(|item| format!("\"{}\": \"an answer\"", item.id)).collect();
        let content = format!("{{{}}}", answers.join(", "));
        Ok(Response {
            raw: content.clone(),
            content,
            finish: Finish::Stop,
            finish_reason: None,
            usage: None,
            cost: None,
            limits: RateLimits::NONE,
        })
    }

    fn read(&self, _raw: &str) -> Result<Response, CallError> {
        unreachable!("nothing is read again here")
    }
}

fn table(text: &str) -> toml::Table {
    toml::from_str(text).expect("TOML")
}

/// What was taken in before the first answer, of so many rows with texts of so many bytes; and how many requests left.
fn taken_in(rows: usize, bytes: usize, is_same: bool) -> (usize, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        let ledger = Arc::new(Ledger::new(None));
        let services = Extensions::default();
        services.insert(Models::default().with_seed(1).with_provider("simulated", Arc::new(Slow)));
        let pipeline = pipeline_of(table("rows = 5"), table("concurrency = 4\nhedge = 0.0\ntimeout = \"2h\""));
        let stop = Stop::default();
        let context = RunContext {
            id: "run".into(),
            question: "question".into(),
            answered: Arc::new(NothingAnswered),
            journal: Arc::clone(&ledger) as _,
            asks: true,
            counts_earlier: true,
            budget: None,
            shared: Extensions::default(),
        };
        let pulled = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&pulled);
        let text = "x".repeat(bytes);
        let batch = move |first: usize| {
            counted.fetch_add(BATCH, Relaxed);
            let keys: StringArray = (first..first + BATCH).map(|row| Some(format!("k{row}"))).collect();
            let texts: StringArray =
                (first..first + BATCH).map(|row| Some(if is_same { text.clone() } else { format!("{row} {text}") })).collect();
            let columns: [(&str, ArrayRef); 2] = [(columns::KEY, Arc::new(keys)), ("text", Arc::new(texts))];
            Ok(RecordBatch::try_from_iter(columns).expect("a batch"))
        };
        let rows_in = stream::iter((0..rows).step_by(BATCH)).map(batch).boxed();
        let flow = through(&pipeline, Vec::new(), rows_in, context, services, &stop);
        let run = tokio::spawn(async move { flow.try_fold(0, |rows, batch| async move { Ok(rows + batch.num_rows()) }).await });
        sleep(Duration::from_secs(1_800)).await;
        let before = pulled.load(Relaxed);
        if is_same {
            assert_eq!(run.await.expect("no panic").expect("runs"), rows, "every row is handed out");
        } else {
            stop.request(promptmill_core::StopReason::Interrupted(2));
            run.await.expect("no panic").expect("runs");
        }
        (before, ledger.close().packs.len())
    })
}

#[test]
fn rows_that_wait_for_the_same_answer_are_bounded_and_asked_once() {
    // The journal of these tests remembers nothing, so whoever comes after the first answer is asked anew, together.
    let (taken, requests) = taken_in(120_000, 40, true);
    assert!((1_000..=34_000).contains(&taken), "{taken} rows were taken in");
    assert!(requests <= 5, "{requests} requests for {taken} rows at a time of 120,000 that ask the same");
}

#[test]
fn what_waits_is_bounded_in_bytes_too() {
    // Each row is here twice, as its item and in its batch: of 100 kB each, 128 MiB are some 670.
    let (taken, _) = taken_in(4_000, 100_000, true);
    assert!((1_000..=2_000).contains(&taken), "{taken} rows were taken in");
}

#[test]
fn rows_that_differ_are_read_a_little_ahead() {
    let (taken, requests) = taken_in(50_000, 40, false);
    assert!((1_000..=4_000).contains(&taken), "{taken} rows were taken in");
    assert_eq!(requests, 4, "as many as may be in flight");
}
