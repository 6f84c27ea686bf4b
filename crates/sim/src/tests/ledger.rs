//! The books against what a client saw.

use super::client::{Client, pack, start, with_faults};
use crate::{Latency, Limits, Price, SimConfig, TICK_MS, Tick};
use serde_json::{Value, json};
use std::time::Duration;

/// The decimal `text` in whole nano-dollars.
fn nano(text: &str) -> u64 {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{part:0<9}").parse().expect("a decimal with at most nine places")
}

#[tokio::test]
async fn totals_equal_the_sum_of_usages_and_costs() {
    let price = Price { input: 0.137, cached_input: Some(0.0131), output: 0.613 };
    let sim = start(SimConfig { price, report_cost: true, ..SimConfig::instant() });
    let mut client = Client::connect(&sim).await;
    let (mut prompt, mut completion, mut cost) = (0, 0, 0);
    for n in 0..50 {
        let reply = client.ask(&pack(n * 5, 1 + n % 5)).await.expect("an answer");
        let usage = &reply.json()["usage"];
        let (asked, said) = (usage["prompt_tokens"].as_u64().expect("tokens"), usage["completion_tokens"].as_u64().expect("tokens"));
        assert_eq!(said, reply.content().len().div_ceil(4) as u64);
        assert_eq!(usage["total_tokens"].as_u64(), Some(asked + said));
        let text = reply.text();
        let stated = &text[text.find("\"cost\":").expect("a cost") + 7..];
        let stated = nano(&stated[..stated.find(',').expect("more")]);
        assert_eq!(stated, (asked * 137_000_000 + said * 613_000_000).div_ceil(1_000_000));
        let found = client.get(&format!("/v1/generation?id={}", reply.header("x-generation-id").expect("an id"))).await;
        assert_eq!(found["data"]["native_tokens_prompt"].as_u64(), Some(asked));
        assert_eq!(found["data"]["native_tokens_completion"].as_u64(), Some(said));
        assert_eq!(nano(&format!("{:.9}", found["data"]["total_cost"].as_f64().expect("a cost"))), stated);
        prompt += asked;
        completion += said;
        cost += stated;
    }
    let books = sim.ledger();
    assert_eq!((books.prompt_tokens, books.completion_tokens, books.billed_nano_usd), (prompt, completion, cost));
    assert_eq!(nano(&books.billed_usd), cost);
    assert_eq!((books.ok, books.generations, books.requests), (50, 50, 50));
    assert_eq!(client.send("GET", "/generation?id=gen-999", "", b"").await.expect("a response").status, 404);
}

#[tokio::test]
async fn items_are_counted_by_marker() {
    let sim = start(SimConfig::instant());
    let mut client = Client::connect(&sim).await;
    for _ in 0..2 {
        client.ask(&pack(1, 3)).await.expect("an answer");
    }
    client.ask(&pack(3, 2)).await.expect("an answer");
    let books = client.get("/ledger?items=true").await;
    assert_eq!(books["items"], json!({"distinct": 4, "paid_more_than_once": 3, "paid": 8, "good": 8}));
    assert_eq!(books["item_counts"]["m-3"], json!({"paid": 3, "good": 3}));
    assert_eq!(books["item_counts"]["m-4"], json!({"paid": 1, "good": 1}));
    assert!(client.get("/ledger").await.get("item_counts").is_none());
    let unmarked = json!({"messages": [{"role": "user", "content": "Zonder merk."}]});
    client.ask(&unmarked).await.expect("an answer");
    assert_eq!(sim.item_counts().keys().filter(|name| name.starts_with('#')).count(), 1);
}

#[tokio::test]
async fn a_seen_prefix_is_cached_and_cheaper() {
    let sim = start(SimConfig { cached_prefix: true, report_cost: true, ..SimConfig::instant() });
    let mut client = Client::connect(&sim).await;
    let cached = |reply: &Value| reply["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().expect("tokens");
    let first = client.ask(&pack(1, 1)).await.expect("an answer").json();
    let other = client.ask(&pack(2, 1)).await.expect("an answer").json();
    let again = client.ask(&pack(2, 1)).await.expect("an answer").json();
    assert_eq!(cached(&first), 0);
    assert_eq!(cached(&other), (43 + 31) / 4, "everything before the items");
    assert!(cached(&again) > cached(&other), "the items as well");
    assert!(again["usage"]["cost"].as_f64() < other["usage"]["cost"].as_f64());
    assert_eq!(sim.ledger().cached_tokens, cached(&other) + cached(&again));
}

#[tokio::test]
async fn every_request_has_one_outcome_and_only_generations_are_billed() {
    let sim = with_faults("all=0.04,stall=0.005");
    sim.control(&json!({"huge_body_mb": 1, "slow_body_ms": 20})).expect("valid");
    let mut client = Client::connect(&sim).await;
    for n in 0..300 {
        let reply = client.ask(&pack(n * 3, 3)).await;
        if !reply.is_ok_and(|reply| reply.broken.is_none()) {
            client = Client::connect(&sim).await;
        }
    }
    let books = sim.ledger();
    let sum = |counts: &std::collections::BTreeMap<String, u64>| counts.values().sum::<u64>();
    let outcomes = books.ok + books.cut_by_max_tokens + books.abandoned + sum(&books.refused) + sum(&books.outage) + sum(&books.faults);
    assert_eq!((outcomes, books.requests), (300, 300));
    let unbilled: u64 =
        ["server-error", "rate-limit", "context-too-long", "error-in-200"].iter().filter_map(|name| books.faults.get(*name)).sum();
    assert!(unbilled > 0);
    assert_eq!(books.generations, 300 - unbilled);
    assert_eq!(books.items.paid, 3 * books.generations);
    assert!(books.items.good < books.items.paid && books.items.good > books.items.paid / 3);
    assert_eq!(sim.item_counts().values().map(|count| u64::from(count.paid)).sum::<u64>(), books.items.paid);
}

#[tokio::test]
async fn the_timeline_tells_when_what_happened() {
    let latency = Latency { base_ms: 300.0, per_output_token_ms: 0.0, noise: 0.0, refusal_ms: 0.0, ..Latency::default() };
    let limits = Limits { max_in_flight: Some(1), ..Limits::default() };
    let sim = start(SimConfig { latency, limits, ..SimConfig::default() });
    let (mut first, mut second) = (Client::connect(&sim).await, Client::connect(&sim).await);
    let (asked, other) = (pack(1, 3), pack(4, 1));
    let (answered, refused) = futures::future::join(first.ask(&asked), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        second.ask(&other).await
    })
    .await;
    assert_eq!((answered.expect("an answer").status, refused.expect("a response").status), (200, 429));
    sim.control(&json!({"outage": "503"})).expect("valid");
    assert_eq!(second.ask(&other).await.expect("a response").status, 503);
    let ticks = sim.timeline();
    let sum = |count: fn(&Tick) -> u64| ticks.iter().map(count).sum::<u64>();
    assert_eq!(sum(|tick| tick.arrived), 3);
    assert_eq!((sum(|tick| tick.answers), sum(|tick| tick.items)), (1, 3));
    assert_eq!((sum(|tick| tick.refused), sum(|tick| tick.outage)), (1, 1));
    let held: f64 = ticks.iter().map(|tick| tick.held_ms).sum();
    assert!((300.0..400.0).contains(&held), "{held}");
    let books = sim.ledger();
    assert!((0.3..0.4).contains(&books.answer_seconds), "{}", books.answer_seconds);
    let arrival = books.first_request_seconds.expect("a request") * 1e3;
    let answer = books.last_answer_seconds.expect("an answer") * 1e3;
    assert!(ticks[arrival as usize / TICK_MS as usize].arrived > 0 && ticks[answer as usize / TICK_MS as usize].answers > 0);
    assert_eq!(books.weighed_tokens, books.prompt_tokens, "no output limit was asked for");
    assert_eq!(client_view(&mut second).await.len(), ticks.len());
}

async fn client_view(client: &mut Client) -> Vec<Tick> {
    let books = client.get("/ledger?timeline=true").await;
    serde_json::from_value(books["timeline"].clone()).expect("ticks")
}

#[tokio::test]
async fn what_faults_destroy_is_told_from_what_a_client_can_use() {
    for (fault, items, paid, destroyed) in [
        ("reset", 4, 4, Some(4)),
        ("null-content", 4, 4, Some(4)),
        ("invalid-utf8", 4, 4, Some(1)),
        ("duplicate-ids", 4, 4, Some(1)),
        ("english", 4, 4, Some(4)),
        ("missing-ids", 2, 2, Some(1)),
        ("error-in-200", 4, 0, None),
        ("server-error", 4, 0, None),
        ("other-scripts", 4, 4, None),
        ("metadata-leak", 4, 4, None),
        ("swapped-ids", 4, 4, None),
        ("fences", 4, 4, None),
        ("extra-ids", 4, 4, None),
        ("missing-usage", 4, 4, None),
    ] {
        let sim = with_faults(&format!("{fault}=1"));
        // What the connection did to the response does not matter here.
        let _ = Client::connect(&sim).await.ask(&pack(1, items)).await;
        let books = sim.ledger();
        assert_eq!((books.items.paid, books.destroyed.get(fault).copied()), (paid, destroyed), "{fault}: {:?}", books.destroyed);
        assert_eq!(books.destroyed.values().sum::<u64>(), destroyed.unwrap_or(0), "{fault}");
    }
    // Broken in three ways, of which one leaves every answer whole and the others touch one.
    let sim = with_faults("malformed-json=1");
    let mut client = Client::connect(&sim).await;
    for first in 0..60 {
        client.ask(&pack(4 * first, 4)).await.expect("an answer");
    }
    assert!((25..55).contains(&sim.ledger().destroyed["malformed-json"]), "{:?}", sim.ledger().destroyed);
    let sim = start(SimConfig::instant());
    let mut request = pack(1, 3);
    request["max_tokens"] = json!(20);
    Client::connect(&sim).await.ask(&request).await.expect("an answer");
    let books = sim.ledger();
    assert_eq!((books.cut_by_max_tokens, books.items.good, books.destroyed.len()), (1, 0, 0), "the client's own limit destroyed them");
    assert_eq!(books.weighed_tokens, books.prompt_tokens + 20);
}
