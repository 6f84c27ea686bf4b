//! Limits and the words they are told in, on the wire.

use super::client::{Client, Reply, pack, start};
use crate::{Dialect, Latency, Limits, RetryAfter, SimConfig, Simulator, WhenFull, Window};
use serde_json::json;
use std::time::{Duration, Instant};

fn limited(limits: Limits) -> Simulator {
    start(SimConfig { limits, ..SimConfig::instant() })
}

fn slow(limits: Limits, base_ms: f64) -> Simulator {
    let latency = Latency { base_ms, per_output_token_ms: 0.0, noise: 0.0, refusal_ms: 5.0, ..Latency::default() };
    start(SimConfig { latency, limits, ..SimConfig::default() })
}

async fn at_once(sim: &Simulator, count: usize) -> Vec<Reply> {
    let asks = (0..count).map(|first| async move { Client::connect(sim).await.ask(&pack(first, 1)).await.expect("a response") });
    futures::future::join_all(asks).await
}

#[tokio::test]
async fn the_cap_refuses_what_is_above_it_and_can_move() {
    let sim = slow(Limits { max_in_flight: Some(4), ..Limits::default() }, 300.0);
    let count = |replies: &[Reply], status| replies.iter().filter(|reply| reply.status == status).count();
    let replies = at_once(&sim, 10).await;
    assert_eq!((count(&replies, 200), count(&replies, 429)), (4, 6));
    let refused = replies.iter().find(|reply| reply.status == 429).expect("some");
    assert!(!refused.text().contains("per min"));
    sim.control(&json!({"limits": {"max_in_flight": 8}})).expect("valid");
    assert_eq!(count(&at_once(&sim, 10).await, 200), 8);
    sim.control(&json!({"limits": {"max_in_flight": 2}})).expect("valid");
    assert_eq!(count(&at_once(&sim, 10).await, 200), 2);
    let books = sim.ledger();
    assert_eq!((books.ok, books.refused["in-flight"], books.requests), (14, 16, 30));
    assert_eq!((books.in_flight, books.in_flight_peak), (0, 8));
    assert_eq!(books.generations, 14, "a refusal costs nothing");
}

#[tokio::test]
async fn a_client_that_keeps_to_the_cap_is_never_refused() {
    let sim = slow(Limits { max_in_flight: Some(3), ..Limits::default() }, 2.0);
    let clients = (0..3).map(|client| {
        let sim = &sim;
        async move {
            let mut connection = Client::connect(sim).await;
            for n in 0..50 {
                assert_eq!(connection.ask(&pack(client * 50 + n, 1)).await.expect("an answer").status, 200);
            }
        }
    });
    futures::future::join_all(clients).await;
    assert_eq!(sim.ledger().ok, 150);
}

#[tokio::test]
async fn the_queue_serves_everyone_in_turn() {
    let sim = slow(Limits { max_in_flight: Some(2), when_full: WhenFull::Queue, ..Limits::default() }, 100.0);
    let begin = Instant::now();
    assert!(at_once(&sim, 6).await.iter().all(|reply| reply.status == 200));
    assert!(begin.elapsed() >= Duration::from_millis(295), "three rounds of two");
    let books = sim.ledger();
    assert_eq!((books.in_flight_peak, books.queued_peak, books.queued), (2, 4, 0));
}

#[tokio::test]
async fn who_leaves_early_frees_the_place_and_has_paid() {
    let sim = slow(Limits { max_in_flight: Some(1), ..Limits::default() }, 2_000.0);
    let mut client = Client::connect(&sim).await;
    assert!(tokio::time::timeout(Duration::from_millis(100), client.ask(&pack(1, 1))).await.is_err());
    assert_eq!(sim.ledger().in_flight, 1);
    drop(client);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let books = sim.ledger();
    assert_eq!((books.in_flight, books.abandoned, books.generations), (0, 1, 1));
    assert_eq!((sim.item_counts()["m-1"].paid, sim.item_counts()["m-1"].good), (1, 0));
}

#[tokio::test]
async fn requests_per_minute_are_limited_and_told() {
    let sim = limited(Limits { rpm: Some(60), burst_seconds: 2.0, headers: true, ..Limits::default() });
    let mut client = Client::connect(&sim).await;
    let first = client.ask(&pack(1, 1)).await.expect("an answer");
    assert_eq!(first.header("x-ratelimit-limit-requests"), Some("60"));
    let remaining: u32 = first.header("x-ratelimit-remaining-requests").and_then(|n| n.parse().ok()).expect("a number");
    assert!((30..40).contains(&remaining), "half of the bucket: {remaining}");
    assert_eq!(client.ask(&pack(2, 1)).await.expect("an answer").status, 200);
    let refused = client.ask(&pack(3, 1)).await.expect("a response");
    assert_eq!(refused.status, 429);
    let remaining: u32 = refused.header("x-ratelimit-remaining-requests").and_then(|n| n.parse().ok()).expect("a number");
    assert!(remaining < 20, "less than a request: {remaining}");
    assert!(refused.header("x-ratelimit-reset-requests").expect("a reset").ends_with('s'));
    assert!(refused.header("retry-after").is_none());
    let error = refused.json();
    let message = error["error"]["message"].as_str().expect("a message");
    assert!(
        message.contains("on requests per min (RPM): Limit 60, Used ") && message.contains(", Requested 1. Please try again in "),
        "{message}"
    );
    assert_eq!((&error["error"]["type"], &error["error"]["code"]), (&json!("requests"), &json!("rate_limit_exceeded")));
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    assert_eq!(client.ask(&pack(3, 1)).await.expect("an answer").status, 200);
    assert_eq!(sim.ledger().refused["rpm"], 1);
}

#[tokio::test]
async fn tokens_per_minute_weigh_prompt_and_output_limit() {
    let sim = limited(Limits { tpm: Some(60_000), headers: true, ..Limits::default() });
    let mut client = Client::connect(&sim).await;
    let mut request = pack(1, 1);
    request["max_tokens"] = json!(900);
    let first = client.ask(&request).await.expect("an answer");
    assert_eq!((first.status, first.header("x-ratelimit-limit-tokens")), (200, Some("60000")));
    let refused = client.ask(&request).await.expect("a response");
    assert_eq!(refused.status, 429);
    assert!(refused.text().contains("on tokens per min (TPM): Limit 60000, Used ") && refused.text().contains("\"type\":\"tokens\""));
    request["max_tokens"] = json!(70_000);
    let large = client.ask(&request).await.expect("a response");
    assert!(large.status == 429 && large.text().contains("Request too large"));
    let books = sim.ledger();
    assert_eq!((books.refused["tpm"], books.refused["too-large"]), (1, 1));
}

#[tokio::test]
async fn without_an_output_limit_the_real_output_counts() {
    let sim = limited(Limits { tpm: Some(6_000), burst_seconds: 2.0, ..Limits::default() });
    let mut client = Client::connect(&sim).await;
    let statuses = [client.ask(&pack(1, 1)).await, client.ask(&pack(2, 1)).await].map(|reply| reply.expect("a response").status);
    assert_eq!(statuses, [200, 429], "75 prompt tokens fit twice into 200, with the 75 of the output they do not");
}

#[tokio::test]
async fn fixed_windows_reset_at_once() {
    let sim = limited(Limits { rpm: Some(120), window: Window::Fixed, window_seconds: 1.0, ..Limits::default() });
    let mut client = Client::connect(&sim).await;
    let mut statuses = Vec::new();
    for n in 0..6 {
        if n == 3 {
            tokio::time::sleep(Duration::from_millis(1_050)).await;
        }
        statuses.push(client.ask(&pack(n, 1)).await.expect("a response").status);
    }
    assert_eq!(statuses, [200, 200, 429, 200, 200, 429]);
}

#[tokio::test]
async fn other_dialects_have_their_own_names() {
    for (dialect, name, text) in [
        (Dialect::Mistral, "x-ratelimit-remaining-req-minute", "Requests rate limit exceeded"),
        (Dialect::Anthropic, "anthropic-ratelimit-requests-remaining", "rate_limit_error"),
    ] {
        let limits =
            Limits { rpm: Some(60), tpm: Some(1_000_000), headers: true, dialect, retry_after: RetryAfter::Seconds, ..Limits::default() };
        let sim = limited(limits);
        let mut client = Client::connect(&sim).await;
        let reply = client.ask(&pack(1, 1)).await.expect("an answer");
        assert!(reply.header(name).is_some() && reply.header("x-ratelimit-limit-requests").is_none());
        let refused = client.ask(&pack(1, 1)).await.expect("a response");
        assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
        assert!(refused.text().contains(text), "{}", refused.text());
    }
}
