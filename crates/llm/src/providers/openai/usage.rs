//! What a response says of its tokens and its cost, under every name that servers use for them.
//!
//! Tokens of a prompt are counted whole: those read from a cache and those written to one are parts of them, as OpenAI
//! counts. Anthropic's names stand for parts that exclude each other; they are put together here. Tokens of thinking are
//! part of the answer's, whether the server counts them inside `completion_tokens` or beside them: the total tells.

use promptmill_core::{Money, Tier, Usage};
use serde_json::Value;

use crate::Charge;

/// More than any request can cost: a larger amount is a mistake of the server, and no statement.
const MOST_COST: Money = Money::from_nano(1_000_000_000_000);
/// More tokens than any request has: the same.
const MOST_TOKENS: f64 = 1e12;
/// Parts of a dollar in which xAI counts.
const TICKS_PER_NANO: u64 = 10;

/// What is known of the cost of a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bill {
    pub(super) usage: Option<Usage>,
    pub(super) cost: Option<Money>,
}

impl Bill {
    /// What a body says.
    pub(super) fn of(body: &Value) -> Self {
        Self::stated(body.get("usage"), body.get("service_tier"))
    }

    /// What the body of an error says, if it says anything: what broke off may have been billed so far.
    pub(super) fn of_error(body: &[u8]) -> Option<Self> {
        let body: Value = serde_json::from_slice(body).ok()?;
        let places = ["/usage", "/error/usage", "/error/metadata/usage", "/error/metadata/raw/usage"];
        let bills =
            places.into_iter().filter_map(|place| body.pointer(place)).map(|usage| Self::stated(Some(usage), body.get("service_tier")));
        bills.into_iter().find(|bill| bill.is_known())
    }

    /// What `usage` says, billed at the tier that the response names.
    pub(super) fn stated(usage: Option<&Value>, tier: Option<&Value>) -> Self {
        let Some(reported) = usage.filter(|usage| usage.is_object()) else { return Self::default() };
        let tier = tier.and_then(Value::as_str).or_else(|| reported.get("service_tier")?.as_str()).map_or(Tier::Standard, Tier::named);
        let usage = tokens_of(reported).map(|usage| Usage { tier, ..usage });
        Self { usage, cost: cost_of(reported) }
    }

    /// What OpenRouter says later of a generation; `None` while it does not know.
    pub(super) fn of_generation(raw: &str) -> Option<Self> {
        let body: Value = serde_json::from_str(raw).ok()?;
        let data = body.get("data")?;
        let count = |names: [&str; 2]| names.into_iter().find_map(|name| data.get(name).and_then(tokens));
        let cost = Some(data.get("total_cost").and_then(money)?);
        let input = count(["native_tokens_prompt", "tokens_prompt"]);
        let output = count(["native_tokens_completion", "tokens_completion"]);
        let cached = data.get("native_tokens_cached").and_then(tokens);
        Some(Self { usage: input.zip(output).and_then(|(input, output)| consistent(input, cached, None, output)), cost })
    }

    pub(super) fn charge(self) -> Charge {
        if self.is_known() { Charge::Known { usage: self.usage, cost: self.cost } } else { Charge::Unknown }
    }

    pub(super) fn is_known(self) -> bool {
        self.usage.is_some() || self.cost.is_some()
    }
}

/// The tokens; the total stands in for what was not counted.
fn tokens_of(reported: &Value) -> Option<Usage> {
    let count = |paths: &[&str]| paths.iter().find_map(|path| reported.pointer(path).and_then(tokens));
    let cached = count(&[
        "/prompt_tokens_details/cached_tokens",
        "/input_tokens_details/cached_tokens",
        "/prompt_cache_hit_tokens",
        "/cache_read_input_tokens",
        "/num_cached_tokens",
        "/cached_tokens",
        "/cached_input_tokens",
    ]);
    let written = count(&[
        "/prompt_tokens_details/cache_write_tokens",
        "/prompt_tokens_details/cache_creation_tokens",
        "/input_tokens_details/cache_write_tokens",
        "/cache_creation_input_tokens",
        "/cache_write_tokens",
    ]);
    let total = count(&["/total_tokens"]);
    let said = count(&["/completion_tokens", "/output_tokens"]);
    let whole = count(&["/prompt_tokens"]).or_else(|| {
        let rest = count(&["/input_tokens"])?;
        // Under Anthropic's names the three exclude each other.
        let is_part = ["cache_read_input_tokens", "cache_creation_input_tokens"].iter().any(|name| reported.get(name).is_some());
        Some(if is_part { rest.saturating_add(cached.unwrap_or(0)).saturating_add(written.unwrap_or(0)) } else { rest })
    });
    let input = whole.or_else(|| total?.checked_sub(said?))?;
    let thought = count(&["/completion_tokens_details/reasoning_tokens", "/output_tokens_details/reasoning_tokens", "/reasoning_tokens"]);
    let output = match (said, total.and_then(|total| total.checked_sub(input))) {
        (Some(said), Some(rest)) => said.max(rest),
        (Some(said), None) => thought.filter(|thought| *thought > said).map_or(said, |thought| said.saturating_add(thought)),
        (None, rest) => rest?,
    };
    consistent(input, cached, written, output)
}

/// Usage whose parts are no more than the whole. All zeros is what servers send that do not count: no prompt is empty.
fn consistent(input: u64, cached: Option<u64>, written: Option<u64>, output: u64) -> Option<Usage> {
    let cached = cached.unwrap_or(0).min(input);
    let written = written.unwrap_or(0).min(input - cached);
    let usage =
        Usage { input_tokens: input, cached_input_tokens: cached, cache_write_tokens: written, output_tokens: output, ..Usage::default() };
    (input > 0 || output > 0).then_some(usage)
}

/// The cost in dollars: a number, a text, or a table of its parts.
fn cost_of(reported: &Value) -> Option<Money> {
    let ticks = || {
        let ticks = reported.get("cost_in_usd_ticks").and_then(Value::as_u64)?;
        i64::try_from(ticks.div_ceil(TICKS_PER_NANO)).ok().map(Money::from_nano)
    };
    let named = ["cost", "total_cost", "cost_usd"].into_iter().find_map(|name| amount(reported.get(name)?));
    let cost = named.or_else(ticks).or_else(|| amount(reported.get("estimated_cost")?))?;
    Some(cost.saturating_add(upstream(reported))).filter(|cost| *cost <= MOST_COST)
}

/// An amount, also where it is a table: its total, or the sum of its parts.
fn amount(cost: &Value) -> Option<Money> {
    let Value::Object(parts) = cost else { return money(cost) };
    let is_foreign = parts.get("currency").and_then(Value::as_str).is_some_and(|currency| !currency.eq_ignore_ascii_case("usd"));
    if is_foreign {
        return None;
    }
    let total = ["total_cost", "total", "cost", "amount", "usd"].into_iter().find_map(|name| parts.get(name).and_then(money));
    total.or_else(|| {
        let mut parts = parts.iter().filter(|(name, _)| name.ends_with("cost")).map(|(_, part)| money(part)).peekable();
        parts.peek()?;
        // A sum of which a part cannot be read is no sum.
        parts.try_fold(Money::ZERO, |sum, part| Some(sum.saturating_add(part?)))
    })
}

/// With a key of one's own at OpenRouter, `cost` is its fee alone; the model's host sends the rest of the bill.
fn upstream(reported: &Value) -> Money {
    let own_key = reported.get("is_byok").and_then(Value::as_bool) == Some(true);
    let elsewhere = reported.pointer("/cost_details/upstream_inference_cost").and_then(money);
    elsewhere.filter(|_| own_key).unwrap_or_default()
}

fn tokens(count: &Value) -> Option<u64> {
    let float = count.as_f64().filter(|count| (0.0..MOST_TOKENS).contains(count))?;
    count.as_u64().or(Some(float as u64))
}

/// Reads an amount of dollars, a number or a text. A number passes through an `f64` and back to its shortest
/// decimal form. That is the number that was sent if it had at most 15 digits, and up to four million dollars
/// also if it was whole nano-dollars; what differs further back is the noise of the provider's own floats.
fn money(amount: &Value) -> Option<Money> {
    let amount: Money = match amount {
        Value::String(text) => {
            let text = text.trim();
            let text = text.strip_prefix('$').or_else(|| text.strip_suffix("USD")).unwrap_or(text);
            text.trim().parse().ok()?
        }
        Value::Number(number) => number.to_string().parse().ok()?,
        _ => return None,
    };
    (amount >= Money::ZERO).then_some(amount)
}

#[cfg(test)]
mod tests {
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
        ] {
            assert_eq!(usage(&nothing), None, "{nothing}");
        }
        for (reported, counted) in [
            (json!({"prompt_tokens": 10, "total_tokens": 15}), (10, 0, 0, 5)),
            (json!({"completion_tokens": 5, "total_tokens": 15}), (10, 0, 0, 5)),
            (json!({"prompt_tokens": 10.0, "completion_tokens": 5.0}), (10, 0, 0, 5)),
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
        // Anthropic's three exclude each other, the names of OpenAI's responses do not.
        let anthropic =
            json!({"input_tokens": 210, "cache_creation_input_tokens": 30, "cache_read_input_tokens": 1200, "output_tokens": 96});
        assert_eq!(usage(&anthropic), Some((1_440, 1_200, 30, 96)));
        let responses =
            json!({"input_tokens": 210, "input_tokens_details": {"cached_tokens": 200}, "output_tokens": 96, "total_tokens": 306});
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
}
