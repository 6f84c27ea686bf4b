//! What a response says of its tokens and its cost, under every name that servers use for them.
//!
//! Tokens of a prompt are counted whole: those read from a cache and those written to one are parts of them, as OpenAI
//! counts. Anthropic's names stand for parts that exclude each other; they are put together here. Tokens of thinking are
//! part of the answer's, whether the server counts them inside `completion_tokens` or beside them: the total tells.

use promptmill_core::{Money, Tier, Usage};
use reqwest::header::HeaderMap;
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
        Self::stated(usage_in(body.get("usage"), body.get("x_groq")), body.get("service_tier"))
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

/// What a body says of its use, which Groq may put into a table of its own.
pub(super) fn usage_in<'a>(usage: Option<&'a Value>, groq: Option<&'a Value>) -> Option<&'a Value> {
    usage.filter(|usage| usage.is_object()).or_else(|| groq?.get("usage"))
}

/// The tokens; the total stands in for what was not counted.
fn tokens_of(reported: &Value) -> Option<Usage> {
    let counts = |paths: &[&str]| paths.iter().filter_map(|path| reported.pointer(path).and_then(tokens)).collect::<Vec<_>>();
    let count = |paths: &[&str]| counts(paths).first().copied();
    // Gateways put a 0 where the usual name is, and the count where the host behind them has it.
    let part = |paths: &[&str]| counts(paths).into_iter().reduce(|first, next| if first > 0 { first } else { next });
    let cached = part(&[
        "/prompt_tokens_details/cached_tokens",
        "/input_tokens_details/cached_tokens",
        "/prompt_cache_hit_tokens",
        "/cache_read_input_tokens",
        "/num_cached_tokens",
        "/cached_tokens",
        "/cached_input_tokens",
    ]);
    let written = part(&[
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

/// The cost that LiteLLM's proxy states beside the response. It says 0 where it knows no price: that is no statement.
pub(super) fn cost_in(headers: &HeaderMap) -> Option<Money> {
    let stated = headers.get("x-litellm-response-cost")?.to_str().ok()?;
    money(&Value::String(stated.to_owned())).filter(|cost| (Money::from_nano(1)..=MOST_COST).contains(cost))
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
    let written = || count.as_str()?.trim().parse().ok();
    let float = count.as_f64().or_else(written).filter(|count| (0.0..MOST_TOKENS).contains(count))?;
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
mod tests;
