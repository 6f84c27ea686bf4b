//! The books against what a client saw.

use super::client::{Client, pack, start, with_faults};
use crate::{Above, Billing, CostForm, Latency, Limits, Price, SimConfig, TICK_MS, Thinking, Tick, UsageNames};
use serde_json::{Value, json};
use std::time::Duration;

/// The decimal `text` in whole nano-dollars.
fn nano(text: &str) -> u64 {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{part:0<9}").parse().expect("a decimal with at most nine places")
}

#[tokio::test]
async fn totals_equal_the_sum_of_usages_and_costs() {
    let price = Price { input: 0.137, cached_input: Some(0.0131), output: 0.613, ..Price::default() };
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
async fn every_rule_of_billing_is_in_the_books_and_in_the_response() {
    let above = Above { tokens: 60, input: 2.0, cached_input: 0.2, cache_write: 2.5, output: 3.0 };
    let tiers = [("flex".to_owned(), 0.5), ("priority".to_owned(), 1.8)].into();
    let price =
        Price { input: 1.0, cached_input: Some(0.1), cache_write: Some(1.25), output: 2.0, request: 0.000_5, above: vec![above], tiers };
    for (names, thinking, cost) in [
        (UsageNames::OpenAi, Thinking::Inside, CostForm::Number),
        (UsageNames::Anthropic, Thinking::Inside, CostForm::Text),
        (UsageNames::DeepSeek, Thinking::Beside, CostForm::Table),
    ] {
        let billing = Billing { cache_writes: true, thinking_tokens: 7, thinking, tier_kept: 0.5, names, cost };
        let sim = start(SimConfig { price: price.clone(), billing, cached_prefix: true, report_cost: true, ..SimConfig::instant() });
        let mut client = Client::connect(&sim).await;
        let (mut bill, mut served) = (0, [0, 0]);
        for n in 0..40 {
            let mut request = pack(n * 5, 1 + n % 5);
            request["service_tier"] = json!("flex");
            let reply = client.ask(&request).await.expect("an answer");
            let body = reply.json();
            let usage = &body["usage"];
            let count = |names: &[&str]| names.iter().find_map(|name| usage.pointer(name)?.as_u64()).unwrap_or(0);
            let cached = count(&["/prompt_tokens_details/cached_tokens", "/cache_read_input_tokens", "/prompt_cache_hit_tokens"]);
            let written = count(&["/prompt_tokens_details/cache_write_tokens", "/cache_creation_input_tokens", "/cache_write_tokens"]);
            let plain = if names == UsageNames::Anthropic { cached + written } else { 0 };
            let prompt = count(&["/prompt_tokens", "/input_tokens"]) + plain;
            let said = count(&["/completion_tokens", "/output_tokens"]);
            assert_eq!(prompt, cached + written, "what is not read is written");
            let output = reply.content().len().div_ceil(4) as u64 + 7;
            assert_eq!(said, if thinking == Thinking::Beside { output - 7 } else { output });
            assert_eq!(usage["total_tokens"].as_u64(), Some(prompt + output));
            let (read, write, out) = if prompt > 60 { (200, 2_500, 3_000) } else { (100, 1_250, 2_000) };
            let sum = cached * read + written * write + output * out;
            let flex = body["service_tier"] == "flex";
            served[usize::from(flex)] += 1;
            let nano_usd = if flex { sum.div_ceil(2) } else { sum } + 500_000;
            let cost = usage.pointer("/cost/total_cost").unwrap_or(&usage["cost"]);
            let text = cost.as_str().map_or_else(|| format!("{:.9}", cost.as_f64().expect("a number")), |text| text[1..].to_owned());
            assert_eq!(nano(&text), nano_usd);
            bill += nano_usd;
        }
        assert!(served[0] > 5 && served[1] > 5, "{served:?}");
        let books = sim.ledger();
        assert_eq!((books.billed_nano_usd, books.thinking_tokens), (bill, 40 * 7));
        assert_eq!(books.cache_write_tokens + books.cached_tokens, books.prompt_tokens);
    }
}

#[tokio::test]
async fn a_request_says_what_is_written_to_the_cache() {
    let billing = Billing { cache_writes: true, ..Billing::default() };
    let sim = start(SimConfig { billing, cached_prefix: true, ..SimConfig::instant() });
    let mut client = Client::connect(&sim).await;
    let mut ask = async |explicit: bool, marked: bool, n: usize| {
        let mut request = pack(n, 1);
        let system = "s".repeat(400);
        let mut part = json!({"type": "text", "text": system});
        if marked {
            part["prompt_cache_breakpoint"] = json!({"mode": "explicit"});
        }
        request["messages"][0] = json!({"role": "system", "content": [part]});
        if explicit {
            request["prompt_cache_options"] = json!({"mode": "explicit"});
        }
        let details = client.ask(&request).await.expect("an answer").json()["usage"]["prompt_tokens_details"].clone();
        (details["cache_write_tokens"].as_u64().expect("tokens"), details["cached_tokens"].as_u64().expect("tokens"))
    };
    assert_eq!(ask(true, false, 1).await, (0, 0), "nothing is marked");
    let (written, cached) = ask(false, false, 2).await;
    assert!(written > 0 && cached >= 100, "{written} {cached}");
    let (written, cached) = ask(true, true, 3).await;
    assert!(written == 0 && cached >= 100, "the mark's part was read: {written} {cached}");
}

#[tokio::test]
async fn the_body_of_an_error_states_what_was_billed() {
    let sim = with_faults("billed-error=1");
    let mut client = Client::connect(&sim).await;
    let mut seen = std::collections::BTreeSet::new();
    for n in 0..30 {
        let reply = client.ask(&pack(n, 1)).await.expect("a response");
        let body = reply.json();
        let usage = ["/usage", "/error/usage", "/error/metadata/usage"].iter().find_map(|place| body.pointer(place)).expect("usage");
        assert!(usage["prompt_tokens"].as_u64() > Some(0), "{body}");
        seen.insert(reply.status);
    }
    assert_eq!((seen, sim.ledger().generations), ([429, 500, 503].into(), 30));
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
        ("billed-error", 4, 4, Some(4)),
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
