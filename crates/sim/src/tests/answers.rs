//! Answers in every shape.

use super::client::{Client, pack, start, with_schema};
use crate::SimConfig;
use serde_json::{Value, json};

#[tokio::test]
async fn without_a_schema_ids_are_keys_and_markers_come_last() {
    let sim = start(SimConfig::instant());
    let mut client = Client::connect(&sim).await;
    for format in [Value::Null, json!({"type": "json_object"}), json!({"type": "text"})] {
        let mut request = pack(1, 3);
        request["response_format"] = format;
        let reply = client.ask(&request).await.expect("an answer");
        let answers = reply.answers();
        assert_eq!(answers.keys().collect::<Vec<_>>(), ["r1", "r2", "r3"]);
        for (index, answer) in answers.values().enumerate() {
            let answer = answer.as_str().expect("a text");
            assert!(answer.ends_with(&format!(". [[m-{}]]", index + 1)), "{answer}");
            assert!(answer.contains(&format!("een plan voor onderwerp {} te maken", index + 1)), "{answer}");
        }
        assert_eq!(reply.json()["choices"][0]["finish_reason"], "stop");
    }
}

#[tokio::test]
async fn behind_a_place_answers_can_be_careless() {
    let (plain, mut careless) = (SimConfig::instant(), SimConfig::instant());
    (careless.careless.behind, careless.careless.share) = (Some(4), 1.0);
    let mut said = Vec::new();
    for config in [plain, careless] {
        let sim = start(config);
        said.push(Client::connect(&sim).await.ask(&pack(1, 6)).await.expect("an answer").answers());
    }
    let text = |config: usize, id: &str| said[config][id].as_str().expect("a text").to_owned();
    for id in ["r1", "r2", "r3", "r4"] {
        assert_eq!(text(0, id), text(1, id));
    }
    for (id, number) in [("r5", 5), ("r6", 6)] {
        let own = format!("onderwerp {number} ");
        assert!(text(0, id).contains(&own) && !text(1, id).contains(&own), "{}", text(1, id));
        assert!(text(1, id).ends_with(&format!(" [[m-{number}]]")), "valid in every way");
    }
}

#[tokio::test]
async fn a_schema_by_ids_is_followed() {
    let sim = start(SimConfig::instant());
    let mut client = Client::connect(&sim).await;
    let typed = json!({"type": "object", "properties": {
        "urgency": {"type": "string", "enum": ["laag", "hoog"]},
        "summary": {"type": ["string", "null"]},
        "why": {"type": "string"},
        "score": {"type": "integer", "minimum": 3, "maximum": 5},
        "share": {"type": "number"},
        "new": {"type": "boolean"},
        "topics": {"type": "array", "items": {"type": "string"}},
        "levels": {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}, "minItems": 2},
        "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    }});
    let schema = json!({"type": "object", "properties": {"r1": {"type": "string"}, "r2": {"$ref": "#/$defs/row"}, "x": {"type": "string"}}, "$defs": {"row": typed}});
    let mut nulls = 0;
    for first in 0..40 {
        let answers = client.ask(&with_schema(pack(first, 3), &schema)).await.expect("an answer").answers();
        assert_eq!(answers.keys().collect::<Vec<_>>(), ["r1", "r2"], "only what the schema names and was asked");
        assert!(answers["r1"].as_str().expect("a text").ends_with("]]"));
        let typed = answers["r2"].as_object().expect("an object");
        assert!(["laag", "hoog"].contains(&typed["urgency"].as_str().expect("a word")));
        assert!(typed["summary"].as_str().expect("the answer").ends_with(&format!("[[m-{}]]", first + 1)));
        assert!((3..=5).contains(&typed["score"].as_i64().expect("an integer")));
        assert!((0.0..=1.0).contains(&typed["share"].as_f64().expect("a number")));
        assert!(typed["new"].is_boolean());
        let topics = typed["topics"].as_array().expect("a list");
        assert!((1..=3).contains(&topics.len()) && topics.iter().all(Value::is_string));
        let levels = typed["levels"].as_array().expect("a list");
        assert!(levels.len() >= 2 && levels.iter().all(|level| level == "a" || level == "b"));
        assert!(typed["maybe"].is_null() || typed["maybe"].is_i64());
        nulls += usize::from(typed["maybe"].is_null());
    }
    assert!((1..20).contains(&nulls), "{nulls}");
}

#[tokio::test]
async fn a_schema_with_rows_gets_rows() {
    let sim = start(SimConfig::instant());
    let mut client = Client::connect(&sim).await;
    let row = json!({"type": "object", "properties": {"id": {"type": "string"}, "uitleg": {"type": "string"}}});
    let schema = json!({"type": "object", "properties": {"rows": {"type": "array", "items": row}}});
    let answers = client.ask(&with_schema(pack(1, 2), &schema)).await.expect("an answer").answers();
    let rows = answers["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[1]["id"], "r2");
    assert!(rows[1]["uitleg"].as_str().expect("a text").ends_with("[[m-2]]"));
}

#[tokio::test]
async fn a_prompt_without_ids_is_one_item() {
    let sim = start(SimConfig::instant());
    let mut client = Client::connect(&sim).await;
    let mut request = json!({"model": "m", "messages": [{"role": "user", "content": "Leg uit: verzoekt de regering treinen te laten rijden. [[alleen]]"}]});
    let reply = client.ask(&request).await.expect("an answer");
    assert!(reply.content().contains("treinen te laten rijden") && reply.content().ends_with("[[alleen]]"));
    request = with_schema(request, &json!({"type": "object", "properties": {"uitleg": {"type": "string"}}}));
    let reply = client.ask(&request).await.expect("an answer");
    assert!(reply.answers()["uitleg"].as_str().expect("a text").ends_with("[[alleen]]"));
    assert_eq!(sim.item_counts()["alleen"].paid, 2);
}

#[tokio::test]
async fn answers_follow_from_seed_and_item_alone() {
    let ask = |seed, first, count| async move {
        let sim = start(SimConfig { seed, ..SimConfig::instant() });
        Client::connect(&sim).await.ask(&pack(first, count)).await.expect("an answer").answers()
    };
    let whole = ask(1, 1, 4).await;
    assert_eq!(whole, ask(1, 1, 4).await);
    assert_eq!(whole["r3"], ask(1, 3, 1).await["r1"], "the company it is in does not matter");
    assert_ne!(whole, ask(2, 1, 4).await);
}

#[tokio::test]
async fn a_request_gets_no_more_than_it_asked_for() {
    let sim = start(SimConfig::instant());
    let mut client = Client::connect(&sim).await;
    let mut request = pack(1, 3);
    request["max_completion_tokens"] = json!(120);
    let reply = client.ask(&request).await.expect("an answer").json();
    assert_eq!(reply["choices"][0]["finish_reason"], "length");
    assert_eq!(reply["usage"]["completion_tokens"], 120);
    let books = sim.ledger();
    assert_eq!((books.ok, books.cut_by_max_tokens, books.completion_tokens), (0, 1, 120));
    assert_eq!(books.items.good, 1, "the first answer was whole");
}
