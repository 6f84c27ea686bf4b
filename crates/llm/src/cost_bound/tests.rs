use std::sync::Arc;
use std::time::Duration;

use promptmill_core::pipeline::Structured;
use serde_json::json;

use super::*;
use crate::{Item, row_id};

fn request(rows: usize, extra_body: Value) -> Request {
    let item = |row: usize| {
        let rejected = row.is_multiple_of(2).then(|| "pattern: `\"\n\u{1}`; ".repeat(20 * row).into());
        Item { rejected, ..Item::new(row_id(row), "een \"motie\"\n\u{1}".repeat(row)) }
    };
    let Value::Object(extra_body) = extra_body else { panic!("an object") };
    Request {
        model: "gpt-4o-mini".into(),
        system: Some("Je legt moties uit.".into()),
        prompt: "Leg uit.".into(),
        items: (0..rows).map(item).collect(),
        shape: Arc::new(AnswerShape::Text("summary".into())),
        language: crate::Language::Fr,
        instructions: rows.is_multiple_of(2).then(|| "Sleutels: r1, r2. ".repeat(rows).into()),
        structured: Structured::Text,
        max_tokens: Some(100),
        temperature: None,
        extra_body: Arc::new(extra_body),
        timeout: Duration::from_secs(1),
    }
}

#[test]
fn what_is_set_aside_covers_every_byte_also_of_what_a_row_is_told_when_asked_again() {
    for rows in [1, 2, 15, 120] {
        let request = request(rows, json!({}));
        let read = user_message(&request).len() + request.system.as_deref().map_or(0, str::len) + pack_schema(&request).to_string().len();
        assert!(read <= prompt_bytes(&request), "{rows} rows: {read} bytes, of which {} are known", prompt_bytes(&request));
        let told = rejections(&request).len();
        let untold =
            Request { items: request.items.iter().map(|item| Item { rejected: None, ..item.clone() }).collect(), ..request.clone() };
        assert_eq!(prompt_bytes(&untold) + told, prompt_bytes(&request));
    }
}

#[test]
fn the_limit_is_the_one_that_the_request_really_grants() {
    for (extra, tokens) in [
        (json!({}), Some(100)),
        (json!({"max_tokens": 20_000}), Some(20_000)),
        (json!({"max_completion_tokens": 4_000.0}), Some(4_000)),
        (json!({"max_tokens": 50, "max_completion_tokens": 70}), Some(70)),
        (json!({"max_output_tokens": 7}), Some(100)),
        (json!({"max_output_tokens": 700}), Some(700)),
        (json!({"options": {"num_predict": 900}}), Some(900)),
        (json!({"n": 50}), Some(5_000)),
        (json!({"n": 2, "best_of": 5, "max_tokens": 10}), Some(50)),
        (json!({"n": 0}), Some(100)),
        (json!({"thinking": {"type": "enabled", "budget_tokens": 1_000}}), Some(1_100)),
        (json!({"reasoning": {"max_tokens": 1_000}, "n": 2}), Some(2_200)),
        (json!({"reasoning": {"effort": "high"}}), Some(100)),
        (json!({"max_tokens": -1}), None),
        (json!({"max_tokens": "many"}), None),
        (json!({"n_predict": -1}), None),
        (json!({"n": "two"}), None),
        (json!({"n": -3}), None),
    ] {
        assert_eq!(granted(&request(1, extra.clone()), None), tokens, "{extra}");
    }
    assert_eq!(
        granted(&request(1, json!({"max_tokens": -1, "n": 2})), Some(8_000)),
        Some(16_000),
        "the context bounds what nothing else does"
    );
    let own = Request { max_tokens: None, ..request(1, json!({})) };
    assert_eq!((granted(&own, None), granted(&own, Some(8_000))), (None, Some(8_000)));
}

#[test]
fn a_budget_is_told_what_has_no_bound() {
    let price = Price::per_million(Money::from_nano(1_000_000_000), Money::from_nano(2_000_000_000));
    let words = |extra: Value, price: &Price| unbounded(extra.as_object().expect("an object"), None, price);
    for extra in [json!({}), json!({"max_tokens": 5}), json!({"tools": []}), json!({"models": null}), json!({"seed": 1})] {
        assert_eq!(words(extra.clone(), &price), None, "{extra}");
    }
    for extra in [json!({"max_tokens": -1}), json!({"n": "x"}), json!({"models": ["a"]}), json!({"plugins": [{"id": "web"}]})] {
        assert!(words(extra.clone(), &price).is_some(), "{extra}");
    }
    let with_fee = Price { request: Money::from_nano(5_000_000), ..price };
    assert_eq!(words(json!({"plugins": [{"id": "web"}]}), &with_fee), None);
}

#[test]
fn the_bound_is_the_dearest_way_to_bill_the_request() {
    let price = Price {
        cache_write: Money::from_nano(3_000_000_000),
        request: Money::from_nano(7),
        ..Price::per_million(Money::from_nano(1_000_000_000), Money::from_nano(2_000_000_000))
    };
    let plain = request(1, json!({}));
    let bytes = prompt_bytes(&plain);
    let bound = CostBound::by_bytes(Some(&price), &plain, None, bytes);
    let input = Tokens::bound(bytes, 2) as i64;
    assert_eq!(bound.cost.nano(), input * 3_000 + 100 * 2_000 + 7);
    assert_eq!(CostBound::by_bytes(None, &plain, None, bytes).cost, Money::ZERO);
    assert!(CostBound::counted(Some(&price), &plain, None).expect("a known tokenizer").cost < bound.cost);
}

#[test]
fn counts_out_of_all_proportion_are_none() {
    let bound = CostBound::by_bytes(None, &request(1, json!({})), None, 1_000);
    let of = |input_tokens, output_tokens| bound.allows(Usage { input_tokens, output_tokens, ..Usage::default() });
    assert!(of(100, 20) && of(1_000, 3_100) && of(900_000, 60_000));
    assert!(!of(1 << 40, 5) && !of(5, 1 << 40) && !of(10_000_000, 1));
}
