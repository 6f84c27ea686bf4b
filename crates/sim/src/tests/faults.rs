//! Every fault as it looks on the wire.

use super::client::{Client, Reply, pack, start, with_faults, with_schema};
use crate::{FAULTS, LedgerSnapshot, Scope, SimConfig};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::io::ErrorKind;
use std::time::Instant;

/// The reply of a service on which `fault` always strikes, to a request about four items, and its books.
async fn struck(fault: &str) -> (Reply, LedgerSnapshot) {
    let sim = with_faults(&format!("{fault}=1"));
    let reply = Client::connect(&sim).await.ask(&pack(1, 4)).await.expect("a response");
    let books = sim.ledger();
    let counted = books.faults.get(fault).copied();
    if fault.parse::<crate::Fault>().expect("a fault").info().scope == Scope::Request {
        assert_eq!(counted, Some(1), "{fault} is counted");
        assert_eq!(books.generations == 1, fault.parse::<crate::Fault>().expect("a fault").info().billed, "{fault} is billed as it says");
    }
    (reply, books)
}

#[tokio::test]
async fn errors_before_generation() {
    let (reply, _) = struck("rate-limit").await;
    assert_eq!(reply.status, 429);
    assert!(!reply.text().contains("per min"));
    let (reply, _) = struck("quota").await;
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (429, &json!("insufficient_quota")));
    let (reply, _) = struck("auth").await;
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (401, &json!("invalid_api_key")));
    let (reply, books) = struck("context-too-long").await;
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (400, &json!("context_length_exceeded")));
    assert!(reply.text().contains("This model's maximum context length is"));
    assert_eq!(books.billed_nano_usd, 0);
}

#[tokio::test]
async fn a_too_long_context_is_cured_by_splitting() {
    let sim = with_faults("context-too-long=1");
    let mut client = Client::connect(&sim).await;
    assert_eq!(client.ask(&pack(1, 2)).await.expect("a response").status, 400);
    assert_eq!(client.ask(&pack(1, 1)).await.expect("an answer").status, 200);
}

#[tokio::test]
async fn server_errors_are_of_five_kinds() {
    let sim = with_faults("server-error=1");
    let mut client = Client::connect(&sim).await;
    let mut seen = HashSet::new();
    for n in 0..60 {
        let reply = client.ask(&pack(n, 1)).await.expect("a response");
        let html = reply.header("content-type").is_some_and(|kind| kind.starts_with("text/html"));
        assert_eq!(html, reply.text().starts_with('<'));
        seen.insert((reply.status, html));
    }
    assert_eq!(seen, HashSet::from([(500, false), (502, true), (503, false), (521, true), (529, false)]));
}

#[tokio::test]
async fn reset_breaks_off_in_the_body() {
    let (reply, books) = struck("reset").await;
    assert_eq!((reply.status, reply.broken), (200, Some(ErrorKind::ConnectionReset)));
    assert!(!reply.body.is_empty() && reply.text().starts_with("{\"id\":\"gen-1\""));
    assert!(reply.header("x-generation-id").is_some());
    assert_eq!((books.items.paid, books.items.good, books.in_flight), (4, 0, 0));
}

#[tokio::test]
async fn stall_falls_silent_and_holds_its_place() {
    let sim = with_faults("stall=1");
    let mut client = Client::connect(&sim).await;
    let reply = client.ask(&pack(1, 4)).await.expect("a head");
    assert_eq!((reply.status, reply.broken), (200, Some(ErrorKind::TimedOut)));
    assert!(!reply.body.is_empty());
    assert_eq!(sim.ledger().in_flight, 1);
    drop(client);
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    let books = sim.ledger();
    assert_eq!((books.in_flight, books.faults["stall"], books.abandoned), (0, 1, 0));
}

#[tokio::test]
async fn a_slow_body_comes_whole() {
    let sim = with_faults("slow-body=1");
    sim.control(&json!({"slow_body_ms": 400})).expect("valid");
    let mut client = Client::connect(&sim).await;
    let begin = Instant::now();
    let reply = client.ask(&pack(1, 4)).await.expect("an answer");
    assert!(begin.elapsed().as_millis() >= 350 && reply.broken.is_none());
    assert_eq!(reply.answers().len(), 4);
    assert_eq!(sim.ledger().items.good, 4);
    assert_eq!(client.ask(&pack(1, 4)).await.expect("the connection lives").status, 200);
}

#[tokio::test]
async fn a_huge_body_is_valid_and_huge() {
    let sim = with_faults("huge-body=1");
    sim.control(&json!({"huge_body_mb": 3})).expect("valid");
    let mut client = Client::connect(&sim).await;
    for _ in 0..2 {
        let reply = client.ask(&pack(1, 4)).await.expect("an answer");
        assert!(reply.broken.is_none() && reply.body.len() > 3_000_000);
        assert_eq!(reply.answers().len(), 4);
    }
}

#[tokio::test]
async fn an_error_in_a_200_has_two_places() {
    let sim = with_faults("error-in-200=1");
    let mut client = Client::connect(&sim).await;
    let (mut top, mut choice) = (0, 0);
    for n in 0..20 {
        let reply = client.ask(&pack(n, 1)).await.expect("a response");
        assert_eq!(reply.status, 200);
        let body = reply.json();
        assert!(body.get("usage").is_none());
        top += usize::from(body["error"]["code"] == 502);
        choice += usize::from(body["choices"][0]["error"]["code"] == 502);
    }
    assert!(top > 0 && choice > 0 && top + choice == 20);
    assert_eq!((sim.ledger().billed_nano_usd, sim.ledger().faults["error-in-200"]), (0, 20));
}

#[tokio::test]
async fn missing_usage_can_be_looked_up() {
    let sim = with_faults("missing-usage=1");
    let mut client = Client::connect(&sim).await;
    let reply = client.ask(&pack(1, 4)).await.expect("an answer");
    assert!(reply.json().get("usage").is_none());
    assert_eq!(reply.answers().len(), 4);
    let found = client.get(&format!("/v1/generation?id={}", reply.header("x-generation-id").expect("an id"))).await;
    assert_eq!(found["data"]["native_tokens_completion"].as_u64(), Some(sim.ledger().completion_tokens));
    assert_eq!(sim.ledger().items.good, 4);
}

#[tokio::test]
async fn messages_without_content() {
    let message = |reply: &Reply| reply.json()["choices"][0]["message"].clone();
    let (reply, books) = struck("null-content").await;
    assert!(message(&reply)["content"].is_null() && message(&reply)["refusal"].is_null());
    assert!(books.completion_tokens > 200, "the tokens of the lost answer");
    assert_eq!(reply.json()["usage"]["completion_tokens"].as_u64(), Some(books.completion_tokens));
    let (reply, books) = struck("empty-content").await;
    assert_eq!((message(&reply)["content"].as_str(), books.completion_tokens), (Some(""), 0));
    let (reply, books) = struck("refusal").await;
    assert!(message(&reply)["content"].is_null() && message(&reply)["refusal"].is_string());
    assert_eq!((books.items.good, reply.json()["choices"][0]["finish_reason"].as_str()), (0, Some("stop")));
}

#[tokio::test]
async fn truncated_content_ends_in_the_middle() {
    let (reply, books) = struck("truncated").await;
    assert_eq!(reply.json()["choices"][0]["finish_reason"], "length");
    assert!(serde_json::from_str::<Value>(&reply.content()).is_err());
    assert_eq!(books.completion_tokens, reply.content().len().div_ceil(4) as u64);
    let whole = reply.content().matches("]]\"").count() as u64;
    assert_eq!(books.items.good, whole, "answers before the cut are good");
}

#[tokio::test]
async fn invalid_utf8_is_within_a_text() {
    let (reply, books) = struck("invalid-utf8").await;
    assert!(std::str::from_utf8(&reply.body).is_err());
    assert_eq!(reply.body.iter().filter(|byte| **byte == 0xff).count(), 1);
    let lossy: Value = serde_json::from_str(&String::from_utf8_lossy(&reply.body)).expect("JSON but for the byte");
    let content = lossy["choices"][0]["message"]["content"].as_str().expect("content");
    let answers: serde_json::Map<String, Value> = serde_json::from_str(content).expect("the byte is in a text");
    assert_eq!((answers.len(), books.items.good), (4, 0));
}

#[tokio::test]
async fn malformed_json_never_parses_and_fenced_json_does() {
    let row = json!({"type": "object", "properties": {"id": {"type": "string"}, "n": {"type": "integer"}}});
    let schema = json!({"type": "object", "properties": {"rows": {"type": "array", "items": row}}});
    let (broken, fenced) = (with_faults("malformed-json=1"), with_faults("fences=1"));
    let mut broken_client = Client::connect(&broken).await;
    let mut fenced_client = Client::connect(&fenced).await;
    for n in 0..40 {
        for request in [pack(n * 5, 1 + n % 5), with_schema(pack(n * 5, 1 + n % 5), &schema)] {
            let content = broken_client.ask(&request).await.expect("an answer").content();
            assert!(serde_json::from_str::<Value>(&content).is_err(), "{content}");
            let content = fenced_client.ask(&request).await.expect("an answer").content();
            let inside = content.split("```").nth(1).expect("a fence").trim_start_matches("json");
            assert!(serde_json::from_str::<Value>(&content).is_err() && serde_json::from_str::<Value>(inside).is_ok());
        }
    }
    assert_eq!(broken.ledger().items.good, 0);
    assert_eq!(fenced.ledger().items.good, fenced.ledger().items.paid);
}

#[tokio::test]
async fn ids_go_missing_and_come_extra() {
    let (reply, books) = struck("missing-ids").await;
    assert_eq!((reply.answers().len(), books.items.paid, books.items.good), (3, 4, 3));
    let (reply, books) = struck("extra-ids").await;
    let answers = reply.answers();
    assert!((5..=6).contains(&answers.len()) && answers.contains_key("r5"));
    assert_eq!(books.items.good, 4);
    assert_eq!(answers.values().filter(|answer| answer.as_str().is_some_and(|text| text.contains("[["))).count(), 4);
}

#[tokio::test]
async fn an_id_is_answered_twice() {
    let (reply, books) = struck("duplicate-ids").await;
    let content = reply.content();
    let doubled = (1..=4).filter(|n| content.matches(&format!("\"r{n}\":")).count() == 2).count();
    assert_eq!((doubled, reply.answers().len(), books.items.good), (1, 4, 3));
    let texts: HashSet<_> = content.split("\"r").skip(1).map(|part| part.split_once(':').expect("a text").1).collect();
    assert_eq!(texts.len(), 5, "with different texts");
}

#[tokio::test]
async fn swapped_answers_are_recorded() {
    let (reply, books) = struck("swapped-ids").await;
    let wrong: Vec<_> = reply
        .answers()
        .iter()
        .filter(|(id, answer)| !answer.as_str().is_some_and(|text| text.ends_with(&format!("[[m-{}]]", &id[1..]))))
        .map(|(id, _)| format!("m-{}", &id[1..]))
        .collect();
    assert_eq!((wrong.len(), books.items.good, books.swapped.len()), (2, 2, 1));
    assert!(books.swapped[0].iter().all(|marker| wrong.contains(marker)), "{:?} {wrong:?}", books.swapped);
    let sim = with_faults("swapped-ids=1");
    Client::connect(&sim).await.ask(&pack(1, 1)).await.expect("an answer");
    assert_eq!((sim.ledger().ok, sim.ledger().swapped.len()), (1, 0), "one item has nothing to swap with");
}

#[tokio::test]
async fn items_are_spoilt_one_by_one() {
    for (fault, sign) in [("english", " the "), ("other-scripts", "\n"), ("metadata-leak", " (")] {
        let (reply, books) = struck(fault).await;
        assert_eq!((books.item_faults[fault], books.items.good, books.ok), (4, 0, 1));
        for (id, answer) in &reply.answers() {
            let answer = answer.as_str().expect("a text");
            assert!(answer.contains(sign) && answer.ends_with(&format!("[[m-{}]]", &id[1..])), "{answer}");
        }
    }
    let sim = with_faults("english=0.5");
    Client::connect(&sim).await.ask(&pack(1, 40)).await.expect("an answer");
    let books = sim.ledger();
    assert!((8..32).contains(&books.items.good));
    assert_eq!(books.items.good + books.item_faults["english"], 40);
}

#[tokio::test]
async fn faults_of_the_ids_strike_rows_as_well() {
    let row = json!({"type": "object", "properties": {"id": {"type": "string"}, "uitleg": {"type": "string"}}});
    let schema = json!({"type": "object", "properties": {"rows": {"type": "array", "items": row}}});
    for (fault, rows) in [("missing-ids", 3..=3), ("extra-ids", 5..=6), ("duplicate-ids", 5..=5), ("swapped-ids", 4..=4)] {
        let sim = with_faults(&format!("{fault}=1"));
        let reply = Client::connect(&sim).await.ask(&with_schema(pack(1, 4), &schema)).await.expect("an answer");
        assert!(rows.contains(&reply.answers()["rows"].as_array().expect("rows").len()), "{fault}");
    }
}

#[tokio::test]
async fn plain_text_is_spared_the_faults_of_json() {
    let request = json!({"messages": [{"role": "user", "content": "Leg uit. [[a]]"}]});
    for info in FAULTS.iter().filter(|info| !info.fault.applies(1, false)) {
        let sim = with_faults(&format!("{}=1", info.name));
        let reply = Client::connect(&sim).await.ask(&request).await.expect("an answer");
        assert!(reply.content().ends_with("[[a]]"), "{}", info.name);
        assert_eq!(sim.ledger().ok, 1);
    }
}

#[tokio::test]
async fn a_run_repeats_by_its_seed_whatever_the_order() {
    let run = |seed, backwards: bool| async move {
        let mut config = SimConfig { seed, huge_body_mb: 1, slow_body_ms: 20, ..SimConfig::instant() };
        config.faults = "all=0.04,stall=0,reset=0".parse().expect("valid");
        let sim = start(config);
        let mut client = Client::connect(&sim).await;
        let mut order: Vec<_> = (0..60).collect();
        if backwards {
            order.reverse();
        }
        for round in 0..2 {
            for n in &order {
                client.ask(&pack(n * 3 + round, 3)).await.expect("a response");
            }
        }
        let books = sim.ledger();
        let mut swapped = books.swapped;
        swapped.sort();
        (books.faults, books.item_faults, books.billed_nano_usd, swapped)
    };
    let one = run(1, false).await;
    assert_eq!(one, run(1, true).await);
    assert_ne!(one, run(2, false).await);
}
