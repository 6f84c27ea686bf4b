//! What a run would take: from what is known before it, and from what the last run observed.
//!
//! Tokens and money are ranges. The low end is what answers of usual length cost if every row is answered the first
//! time; the high end is what would be set aside for asking every row once, canaries twice: a token for each byte, and answers as
//! long as they may be. Rows that have to be asked again come on top, and only the budget bounds those.

use promptmill_core::{Money, Price, Usage};
use promptmill_llm::Tokens;
use promptmill_llm::cost_bound::{AROUND_ITEM, AROUND_ITEMS, ENVELOPE_TOKENS, Grant};

use crate::settings::ModelRecord;

/// Bytes per token where no run has shown them.
const BYTES_PER_TOKEN: f64 = 3.3;
/// Bytes of an answer where no run has shown them: two or three sentences.
const ANSWER_BYTES: f64 = 300.0;
/// What there is to do.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) rows: u64,
    /// Bytes of all items.
    pub(crate) item_bytes: u64,
    /// Bytes that every request repeats.
    pub(crate) shared_bytes: u64,
    pub(crate) rows_per_request: f64,
    pub(crate) max_tokens_per_row: u64,
    /// The share of the rows that are asked once more alone.
    pub(crate) canary: f64,
    /// What the requests grant beside that.
    pub(crate) grant: Grant,
    pub(crate) price: Option<Price>,
    /// Limits that the pipeline file states, a minute.
    pub(crate) rpm: Option<u32>,
    pub(crate) tpm: Option<u64>,
}

/// What the last run that asked this model has shown.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Shown {
    bytes_per_token: Option<f64>,
    output_tokens_per_row: Option<f64>,
    latency_ms: Option<f64>,
    concurrency: Option<f64>,
}

impl Shown {
    /// What the record of a run shows of the model.
    pub(crate) fn by(model: &ModelRecord) -> Self {
        let positive = |number: Option<f64>| number.filter(|number| *number > 0.0);
        let (answers, latency) = (model.max_tokens_per_row.observed.as_ref(), model.timeout_ms.observed.as_ref());
        Self {
            bytes_per_token: positive(model.tokens.bytes_per_input_token),
            output_tokens_per_row: positive(answers.and_then(|answers| answers.mean)),
            latency_ms: positive(latency.and_then(|latency| latency.mean)),
            concurrency: positive(model.concurrency.in_force.map(|most| most as f64)),
        }
    }
}

/// What a run would take.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// Requests, if every row is answered the first time.
    pub requests: u64,
    /// Tokens, usual and at the most.
    pub tokens: (Usage, Usage),
    /// Cost, usual and at the most; `None` if the model has no known price.
    pub cost: Option<(Money, Money)>,
    /// Seconds; `None` if no run has shown how long a request takes and no limit says how many may leave.
    pub seconds: Option<f64>,
    /// Whether an earlier run has shown lengths and latency.
    pub is_from_a_run: bool,
}

/// What this work would take.
pub(crate) fn estimate(work: &Work, shown: &Shown) -> Estimate {
    let packs = (work.rows as f64 / work.rows_per_request.max(1.0)).ceil() as u64;
    // What is asked alone anyhow is no canary.
    let canary = if work.rows_per_request > 1.0 { work.canary } else { 0.0 };
    let alone = (work.rows as f64 * canary).round() as u64;
    let (requests, rows) = (packs + alone, work.rows + alone);
    let item_bytes = work.item_bytes + (work.item_bytes as f64 * canary) as u64;
    let bytes = item_bytes + rows * AROUND_ITEM as u64 + requests * (work.shared_bytes + AROUND_ITEMS as u64);
    let bytes_per_token = shown.bytes_per_token.unwrap_or(BYTES_PER_TOKEN);
    let of_answer = shown.output_tokens_per_row.unwrap_or(ANSWER_BYTES / BYTES_PER_TOKEN).min(work.max_tokens_per_row as f64);
    let usual = Usage {
        input_tokens: (bytes as f64 / bytes_per_token).ceil() as u64,
        output_tokens: (rows as f64 * of_answer).ceil() as u64,
        ..Usage::default()
    };
    let most = Usage {
        input_tokens: bytes + requests * Tokens::bound(0, 2),
        output_tokens: work.grant.tokens(rows * work.max_tokens_per_row + requests * ENVELOPE_TOKENS as u64, requests),
        ..Usage::default()
    };
    let by_latency = shown.latency_ms.zip(shown.concurrency).map(|(latency, concurrency)| {
        let in_a_row = (requests as f64 / concurrency).ceil();
        in_a_row * latency / 1e3
    });
    let by_requests = work.rpm.map(|rpm| requests.saturating_sub(1) as f64 * 60.0 / f64::from(rpm));
    let by_tokens = work.tpm.map(|tpm| (usual.input_tokens + usual.output_tokens) as f64 * 60.0 / tpm as f64);
    Estimate {
        requests,
        tokens: (usual, most),
        cost: work.price.as_ref().map(|price| (costs(price, usual, requests, Price::cost), costs(price, most, requests, Price::most))),
        seconds: [by_latency, by_requests, by_tokens].into_iter().flatten().reduce(f64::max),
        is_from_a_run: *shown != Shown::default(),
    }
}

/// What so many tokens cost in so many requests of about the same size.
fn costs(price: &Price, usage: Usage, requests: u64, cost: impl Fn(&Price, Usage) -> Money) -> Money {
    if requests == 0 {
        return Money::ZERO;
    }
    // A fee and a price by length are each request's own; without them the sum is exact.
    if price.request == Money::ZERO && price.above.is_empty() {
        return cost(price, usage);
    }
    let each = |tokens: u64| tokens.div_ceil(requests);
    let one = cost(price, Usage { input_tokens: each(usage.input_tokens), output_tokens: each(usage.output_tokens), ..usage });
    Money::from_nano(one.nano().saturating_mul(i64::try_from(requests).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;

    fn shown(model: Value) -> Shown {
        Shown::by(&serde_json::from_value(model).expect("a record"))
    }

    fn work() -> Work {
        let price = Price::per_million(Money::from_nano(1_000_000_000), Money::from_nano(2_000_000_000));
        Work {
            rows: 100,
            item_bytes: 25_000,
            shared_bytes: 600,
            rows_per_request: 10.0,
            max_tokens_per_row: 200,
            canary: 0.0,
            grant: Grant::of(&Map::new(), None).expect("a bound"),
            price: Some(price),
            rpm: None,
            tpm: None,
        }
    }

    #[test]
    fn the_high_end_is_what_is_set_aside_and_the_low_end_what_is_usual() {
        let estimate = estimate(&work(), &Shown::default());
        let (usual, most) = estimate.tokens;
        assert_eq!(estimate.requests, 10);
        assert_eq!((usual.input_tokens, usual.output_tokens), (13_031, 9_091));
        assert_eq!((most.input_tokens, most.output_tokens), (43_000 + 960, 20_000 + 640));
        assert_eq!(estimate.cost.map(|(usual, most)| (usual.nano(), most.nano())), Some((31_213_000, 85_240_000)));
        assert_eq!((estimate.seconds, estimate.is_from_a_run), (None, false));
    }

    #[test]
    fn what_the_last_run_has_shown_goes_before_assumptions() {
        let record = shown(json!({
            "tokens": {"bytes_per_input_token": 4.3},
            "max_tokens_per_row": {"observed": {"mean": 50.0}},
            "timeout_ms": {"observed": {"mean": 2_000.0}},
            "concurrency": {"in_force": 4},
        }));
        let estimate = estimate(&work(), &record);
        assert_eq!((estimate.tokens.0.input_tokens, estimate.tokens.0.output_tokens), (10_000, 5_000));
        assert_eq!((estimate.seconds, estimate.is_from_a_run), (Some(6.0), true));
        assert_eq!(shown(json!({"tokens": {"bytes_per_input_token": null}})), Shown::default());
    }

    #[test]
    fn the_narrowest_limit_says_how_long_it_takes() {
        let slow = Work { rpm: Some(6), tpm: Some(10_000), ..work() };
        assert_eq!(estimate(&slow, &Shown::default()).seconds, Some(22_122.0 * 60.0 / 10_000.0));
        assert_eq!(estimate(&Work { tpm: None, ..slow }, &Shown::default()).seconds, Some(90.0));
    }

    #[test]
    fn canary_rows_are_asked_alone_besides() {
        let estimate = estimate(&Work { canary: 0.1, ..work() }, &Shown::default());
        assert_eq!(estimate.requests, 20);
        assert_eq!(estimate.tokens.1.input_tokens, 27_500 + 110 * 80 + 20 * 1_000 + 20 * 96);
        assert_eq!(estimate.tokens.1.output_tokens, 110 * 200 + 20 * 64);
        let alone = Work { rows_per_request: 1.0, ..work() };
        assert_eq!(super::estimate(&Work { canary: 0.1, ..alone.clone() }, &Shown::default()), super::estimate(&alone, &Shown::default()));
    }

    #[test]
    fn what_extra_body_grants_and_what_a_request_costs_by_itself_are_in_the_high_end() {
        let with = |extra: Value| {
            let grant = Grant::of(extra.as_object().expect("an object"), None).expect("a bound");
            estimate(&Work { grant, ..work() }, &Shown::default()).tokens.1.output_tokens
        };
        assert_eq!((with(json!({"max_tokens": 4_000})), with(json!({"n": 3}))), (40_000, 3 * 20_640));
        let plain = work().price.expect("a price");
        let fee = Work { price: Some(Price { request: Money::from_nano(1_000), ..plain }), ..work() };
        let (usual, _) = estimate(&fee, &Shown::default()).cost.expect("a price");
        // A token more for each request at the most: what does not divide.
        assert!((0..10 * 3_000).contains(&(usual.nano() - 31_213_000 - 10 * 1_000)), "{usual}");
    }

    #[test]
    fn nothing_to_do_costs_nothing() {
        let none = Work { rows: 0, item_bytes: 0, ..work() };
        let estimate = estimate(&none, &Shown::default());
        assert_eq!((estimate.requests, estimate.cost), (0, Some((Money::ZERO, Money::ZERO))));
    }
}
