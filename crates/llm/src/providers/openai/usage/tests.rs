use super::*;
use proptest::prelude::*;
use serde_json::json;

fn usage(reported: &Value) -> Option<(u64, u64, u64, u64)> {
    let usage = Bill::of(&json!({"usage": reported})).usage?;
    Some((usage.input_tokens, usage.cached_input_tokens, usage.cache_write_tokens, usage.output_tokens))
}

fn cost(reported: &Value) -> Option<i64> {
    Bill::of(&json!({"usage": reported})).cost.map(Money::nano)
}

#[test]
fn usage_is_made_consistent_or_left_out() {
    for nothing in [
        json!(null),
        json!({}),
        json!([1]),
        json!({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}),
        json!({"prompt_tokens": -1, "completion_tokens": 5}),
        json!({"prompt_tokens": 10}),
        json!({"total_tokens": 10}),
        json!({"prompt_tokens": u64::MAX, "completion_tokens": 5}),
        json!({"prompt_tokens": 5, "completion_tokens": 1e15}),
        json!({"prompt_tokens": "many", "completion_tokens": "5"}),
        json!({"prompt_tokens": "NaN", "completion_tokens": "5"}),
    ] {
        assert_eq!(usage(&nothing), None, "{nothing}");
    }
    for (reported, counted) in [
        (json!({"prompt_tokens": 10, "total_tokens": 15}), (10, 0, 0, 5)),
        (json!({"completion_tokens": 5, "total_tokens": 15}), (10, 0, 0, 5)),
        (json!({"prompt_tokens": 10.0, "completion_tokens": 5.0}), (10, 0, 0, 5)),
        (json!({"prompt_tokens": "10", "completion_tokens": " 5 ", "total_tokens": "15"}), (10, 0, 0, 5)),
        (json!({"prompt_tokens": 10, "completion_tokens": 0}), (10, 0, 0, 0)),
        (json!({"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 99}}), (10, 10, 0, 5)),
        (json!({"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": null}), (10, 0, 0, 5)),
    ] {
        assert_eq!(usage(&reported), Some(counted), "{reported}");
    }
}

#[test]
fn cached_reads_and_writes_are_found_under_every_name() {
    let with = |name: &str, value: Value| {
        let mut reported = json!({"prompt_tokens": 100, "completion_tokens": 5});
        reported[name] = value;
        usage(&reported)
    };
    for name in ["prompt_cache_hit_tokens", "cache_read_input_tokens", "num_cached_tokens", "cached_tokens", "cached_input_tokens"] {
        assert_eq!(with(name, json!(40)), Some((100, 40, 0, 5)), "{name}");
    }
    for name in ["cache_creation_input_tokens", "cache_write_tokens"] {
        assert_eq!(with(name, json!(40)), Some((100, 0, 40, 5)), "{name}");
    }
    for name in ["cache_write_tokens", "cache_creation_tokens"] {
        assert_eq!(with("prompt_tokens_details", json!({"cached_tokens": 30, name: 40})), Some((100, 30, 40, 5)), "{name}");
    }
    assert_eq!(with("prompt_tokens_details", json!({"cached_tokens": 80, "cache_write_tokens": 40})), Some((100, 80, 20, 5)));
    let beside_zeros = json!({"prompt_tokens": 100, "completion_tokens": 5, "cache_read_input_tokens": 40, "cache_creation_input_tokens": 20,
        "prompt_tokens_details": {"cached_tokens": 0, "cache_creation_tokens": 0}});
    assert_eq!(usage(&beside_zeros), Some((100, 40, 20, 5)));
    // Anthropic's three exclude each other, the names of OpenAI's responses do not.
    let anthropic = json!({"input_tokens": 210, "cache_creation_input_tokens": 30, "cache_read_input_tokens": 1200, "output_tokens": 96});
    assert_eq!(usage(&anthropic), Some((1_440, 1_200, 30, 96)));
    let responses = json!({"input_tokens": 210, "input_tokens_details": {"cached_tokens": 200}, "output_tokens": 96, "total_tokens": 306});
    assert_eq!(usage(&responses), Some((210, 200, 0, 96)));
}

#[test]
fn thinking_counts_inside_the_answer_and_beside_it() {
    let thinks = |completion: u64, total: Option<u64>, thought: u64| {
        let details = json!({"reasoning_tokens": thought});
        usage(&json!({"prompt_tokens": 1000, "completion_tokens": completion, "total_tokens": total, "completion_tokens_details": details}))
            .map(|(.., output)| output)
    };
    assert_eq!(thinks(100, Some(4100), 3000), Some(3100), "beside it: the total has them");
    assert_eq!(thinks(3100, Some(4100), 3000), Some(3100), "inside it");
    assert_eq!(thinks(3100, None, 3000), Some(3100), "inside it, for all that is known");
    assert_eq!(thinks(100, None, 3000), Some(3100), "it cannot be inside");
    assert_eq!(thinks(100, Some(50), 0), Some(100), "a total that is wrong is none");
}

#[test]
fn the_tier_is_the_one_that_the_response_names() {
    let tier = |body: Value| Bill::of(&body).usage.map(|usage| usage.tier);
    let usage = json!({"prompt_tokens": 1, "completion_tokens": 1});
    for (name, named) in [("flex", Tier::Flex), ("priority", Tier::Priority), ("batch", Tier::Batch), ("default", Tier::Standard)] {
        assert_eq!(tier(json!({"usage": usage, "service_tier": name})), Some(named));
    }
    assert_eq!(tier(json!({"usage": usage, "service_tier": null})), Some(Tier::Standard));
    assert_eq!(tier(json!({"usage": usage, "service_tier": "Flex"})), Some(Tier::Flex));
    let groq = json!({"x_groq": {"id": "req_1", "usage": usage}, "service_tier": "on_demand"});
    assert_eq!(tier(groq.clone()), Some(Tier::Standard));
    assert!(!Bill::of(&json!({"usage": {}, "x_groq": groq})).is_known());
    let mut inside = usage;
    inside["service_tier"] = json!("priority");
    assert_eq!(tier(json!({"usage": inside})), Some(Tier::Priority));
}

#[test]
fn with_a_key_of_ones_own_the_hosts_bill_is_part_of_the_cost() {
    let cost = |own_key: bool, elsewhere: Value| {
        cost(&json!({"cost": 0.000_005, "is_byok": own_key, "cost_details": {"upstream_inference_cost": elsewhere}}))
    };
    assert_eq!(cost(true, json!(0.0001)), Some(105_000));
    assert_eq!(cost(true, json!(null)), Some(5_000));
    assert_eq!(cost(false, json!(0.0001)), Some(5_000), "what it cost the gateway is in its own price");
}

#[test]
fn the_cost_is_read_to_the_nano_dollar_whatever_its_form() {
    for (stated, nano) in [
        (json!(0.000_131_34), 131_340),
        (json!(1.3134e-4), 131_340),
        (json!("0.00013134"), 131_340),
        (json!("$0.00013134"), 131_340),
        (json!(" 0.00013134 USD"), 131_340),
        (json!(0), 0),
        (json!(2), 2_000_000_000),
        (json!("0.0000000001"), 1),
        (json!(123.123_456_789), 123_123_456_789),
        (json!({"input_tokens_cost": 0.001, "output_tokens_cost": "0.002", "request_cost": 0.005, "total_cost": 0.008}), 8_000_000),
        (json!({"input_cost": 0.001, "output_cost": 0.002}), 3_000_000),
        (json!({"total": 0.5, "currency": "USD"}), 500_000_000),
    ] {
        assert_eq!(cost(&json!({"cost": stated})), Some(nano), "{stated}");
    }
    for nothing in [
        json!(null),
        json!(-1),
        json!("x"),
        json!("nan"),
        json!([]),
        json!({}),
        json!(1e18),
        json!(5e9),
        json!({"total": 0.5, "currency": "EUR"}),
        json!({"input_cost": 0.001, "output_cost": "?"}),
    ] {
        assert_eq!(cost(&json!({"cost": nothing})), None, "{nothing}");
    }
    assert_eq!(cost(&json!({"cost_in_usd_ticks": 37_756_001})), Some(3_775_601), "a bill is never understated");
    assert_eq!(cost(&json!({"estimated_cost": 0.25})), Some(250_000_000));
    assert_eq!(cost(&json!({"estimated_cost": 0.25, "cost": 0.5})), Some(500_000_000));
}

#[test]
fn the_cost_beside_a_response_is_one_unless_it_is_nothing() {
    let stated = |text: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert("x-litellm-response-cost", text.parse().expect("a value"));
        cost_in(&headers).map(Money::nano)
    };
    assert_eq!((stated("0.000123"), stated("1.23e-05")), (Some(123_000), Some(12_300)));
    for nothing in ["0.0", "0", "None", "", "-1", "5e9"] {
        assert_eq!(stated(nothing), None, "{nothing}");
    }
    assert_eq!(cost_in(&HeaderMap::new()), None);
}

#[test]
fn the_body_of_an_error_may_state_what_was_billed() {
    let usage = json!({"prompt_tokens": 500, "completion_tokens": 900, "cost": 0.002});
    for body in [
        json!({"error": {"message": "broke off"}, "usage": usage}),
        json!({"error": {"message": "broke off", "usage": usage}}),
        json!({"error": {"message": "broke off", "metadata": {"usage": usage}}}),
    ] {
        let bill = Bill::of_error(body.to_string().as_bytes()).expect("a bill");
        assert_eq!((bill.cost.map(Money::nano), bill.usage.map(|usage| usage.output_tokens)), (Some(2_000_000), Some(900)), "{body}");
    }
    for nothing in ["", "<html>", "{}", r#"{"usage": {"prompt_tokens": 0, "completion_tokens": 0}}"#, r#"{"error": {"usage": 7}}"#] {
        assert_eq!(Bill::of_error(nothing.as_bytes()), None, "{nothing}");
    }
}

proptest! {
    /// Through `f64` and back.
    #[test]
    fn costs_are_exact(nano in 0_i64..4_000_000_000_000_000) {
        let text = Money::from_nano(nano).to_string();
        let value: Value = serde_json::from_str(&text).expect("a number");
        prop_assert_eq!(money(&value), Some(Money::from_nano(nano)), "{}", text);
    }

    #[test]
    fn no_usage_panics_and_parts_are_no_more_than_the_whole(
        names in prop::collection::vec((prop::sample::select(vec![
            "prompt_tokens", "input_tokens", "completion_tokens", "output_tokens", "total_tokens", "cache_read_input_tokens",
            "cache_creation_input_tokens", "cached_tokens", "reasoning_tokens", "cost_in_usd_ticks", "cost",
        ]), any::<u64>()), 0..8),
    ) {
        let reported: serde_json::Map<String, Value> = names.into_iter().map(|(name, count)| (name.to_owned(), (count >> 20).into())).collect();
        if let Some(usage) = tokens_of(&Value::Object(reported.clone())) {
            prop_assert!(usage.cached_input_tokens + usage.cache_write_tokens <= usage.input_tokens);
        }
        let _ = cost_of(&Value::Object(reported));
    }
}
