//! Settings in three columns, for the run record: what was configured, what was in force, what was observed.
//!
//! A value that does not reach the requests is seen here, because the columns have different origins: the first
//! is the pipeline file's, the second is what the last request carried, the third was counted on the wire.

use promptmill_core::pipeline::PriceSpec;
use promptmill_core::{AskedModel, Blueprint, Bounds, Departure, Error, Meter, Money, Price, Question, Registry, Result, Traffic};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The settings of a model in a run record. What a record of another version lacks is not known.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ModelRecord {
    provider: Option<String>,
    requests: u64,
    rows_per_request: Setting<Bounds, u64, Spread>,
    pub(crate) concurrency: Setting<Bounds, u64, InFlight>,
    attempts: Attempts,
    pub(crate) max_tokens_per_row: Setting<u32, u64, Mean>,
    temperature: Temperature,
    pub(crate) timeout_ms: Setting<u64, u64, Latency>,
    requests_per_minute: Limit,
    tokens_per_minute: Limit,
    price: PriceRecord,
    pub(crate) tokens: Tokens,
}

/// A setting: what was configured, in force and observed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, bound(deserialize = "C: Deserialize<'de>, F: Deserialize<'de>, O: Deserialize<'de>"))]
pub(crate) struct Setting<C, F, O> {
    configured: Option<C>,
    pub(crate) in_force: Option<F>,
    pub(crate) observed: Option<O>,
}

impl<C, F, O> Default for Setting<C, F, O> {
    fn default() -> Self {
        Self { configured: None, in_force: None, observed: None }
    }
}

/// How many there were of something.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Spread {
    min: u64,
    mean: Option<f64>,
    max: u64,
}

/// How many requests were in flight.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct InFlight {
    mean: f64,
    peak: u64,
}

/// How much there was of something in the mean.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Mean {
    pub(crate) mean: Option<f64>,
}

/// How long requests took, in milliseconds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Latency {
    pub(crate) mean: Option<f64>,
    max: f64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Attempts {
    configured: Option<u32>,
    observed: Option<MostAttempts>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct MostAttempts {
    max: u32,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Temperature {
    configured: Option<f64>,
    in_force: Option<f64>,
}

/// A limit of so many a minute.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Limit {
    configured: Option<u64>,
    announced: Option<u64>,
    observed: Option<f64>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct PriceRecord {
    configured: Option<PriceSpec>,
    in_force: Option<Value>,
    source: Option<String>,
    observed: CostSources,
}

/// Where costs came from.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct CostSources {
    stated_by_provider: u64,
    counted_from_tokens: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Tokens {
    input: u64,
    cached_input: u64,
    cache_write: u64,
    cached_share: Option<f64>,
    output: u64,
    pub(crate) bytes_per_input_token: Option<f64>,
}

/// The settings of each model that the pipeline may call.
pub(crate) fn of_models(blueprint: &Blueprint, registry: &Registry, meter: &Meter) -> Result<Map<String, Value>> {
    let (traffic, nothing) = (meter.traffic(), Traffic::default());
    let Some(question) = blueprint.question() else { return Ok(Map::new()) };
    let of = |asked: &AskedModel| {
        let record = of_model(asked, question, registry, traffic.get(&asked.name).unwrap_or(&nothing));
        let json = serde_json::to_value(record);
        Ok((asked.name.clone(), json.map_err(|error| Error::failed("the run record cannot be written as JSON").because(error))?))
    };
    question.models.iter().map(of).collect()
}

fn of_model(asked: &AskedModel, question: &Question, registry: &Registry, traffic: &Traffic) -> ModelRecord {
    let AskedModel { spec, provider, .. } = asked;
    let (ask, last, tokens) = (&question.ask, traffic.last.as_ref(), traffic.usage);
    let in_force = |of: fn(&Departure) -> u64| last.map(of);
    let quote = spec.as_ref().and_then(|spec| (registry.price)(spec, provider.as_ref()));
    ModelRecord {
        provider: spec.as_ref().map(|spec| spec.provider.clone()),
        requests: traffic.sent,
        rows_per_request: Setting {
            configured: Some(question.pack.rows),
            in_force: in_force(|last| last.rows_in_force),
            observed: last.map(|_| Spread {
                min: traffic.rows_min,
                mean: share(traffic.rows as f64, traffic.sent as f64),
                max: traffic.rows_max,
            }),
        },
        concurrency: Setting {
            configured: Some(ask.concurrency),
            in_force: in_force(|last| last.concurrency_in_force),
            observed: last.map(|_| InFlight { mean: round(traffic.in_flight.mean()), peak: traffic.in_flight.peak() }),
        },
        attempts: Attempts { configured: Some(ask.attempts), observed: last.map(|_| MostAttempts { max: traffic.attempts_max }) },
        max_tokens_per_row: Setting {
            configured: Some(ask.max_tokens_per_row),
            in_force: last.and_then(|last| last.max_tokens_per_row),
            observed: last.map(|_| Mean { mean: share(tokens.output_tokens as f64, traffic.rows as f64) }),
        },
        temperature: Temperature { configured: ask.temperature, in_force: last.and_then(|last| last.temperature) },
        timeout_ms: Setting {
            configured: Some(ask.timeout.as_millis() as u64),
            in_force: in_force(|last| last.timeout.as_millis() as u64),
            observed: last
                .map(|_| Latency { mean: share(traffic.latency_ms, traffic.returned as f64), max: round(traffic.latency_ms_max) }),
        },
        requests_per_minute: Limit {
            configured: provider.as_ref().and_then(|provider| provider.rpm).map(u64::from),
            announced: traffic.announced_rpm,
            observed: traffic.rpm().map(round),
        },
        tokens_per_minute: Limit {
            configured: provider.as_ref().and_then(|provider| provider.tpm),
            announced: traffic.announced_tpm,
            observed: traffic.tpm().map(round),
        },
        price: PriceRecord {
            configured: spec.as_ref().and_then(|spec| spec.price.clone()),
            in_force: last.and_then(|last| last.price.as_ref()).map(dollars),
            source: match spec {
                Some(_) => quote.map(|quote| quote.source),
                None => Some("in this process".to_owned()),
            },
            observed: CostSources { stated_by_provider: traffic.costs_by_provider, counted_from_tokens: traffic.costs_by_price },
        },
        tokens: Tokens {
            input: tokens.input_tokens,
            cached_input: tokens.cached_input_tokens,
            cache_write: tokens.cache_write_tokens,
            cached_share: share(tokens.cached_input_tokens as f64, tokens.input_tokens as f64),
            output: tokens.output_tokens,
            bytes_per_input_token: share(traffic.counted_bytes as f64, traffic.counted_tokens as f64),
        },
    }
}

/// The budget, from where it was said to what is left of it.
pub(crate) fn of_budget(configured: Option<Money>, flag: Option<Money>, spent_before: Money, cost: Money) -> Value {
    json!({
        "configured_usd": configured.map(Money::usd),
        "flag_usd": flag.map(Money::usd),
        "in_force_usd": flag.or(configured).map(Money::usd),
        "spent_before_usd": spent_before.usd(),
        "spent_usd": spent_before.saturating_add(cost).usd(),
    })
}

/// US dollars per million tokens, as the pipeline file writes them.
fn dollars(price: &Price) -> Value {
    let mut dollars = json!({"input": price.input.usd(), "cached_input": price.cached_input.usd(), "output": price.output.usd()});
    // Rules that not every price has.
    if price.cache_write != price.input {
        dollars["cache_write"] = price.cache_write.usd().into();
    }
    if price.request > Money::ZERO {
        dollars["request"] = price.request.usd().into();
    }
    if !price.above.is_empty() {
        let above = price.above.iter().map(|above| {
            json!({
                "tokens": above.tokens,
                "input": above.input.usd(),
                "cached_input": above.cached_input.usd(),
                "cache_write": above.cache_write.usd(),
                "output": above.output.usd(),
            })
        });
        dollars["above"] = above.collect();
    }
    dollars
}

fn share(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| round(part / whole))
}

fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
