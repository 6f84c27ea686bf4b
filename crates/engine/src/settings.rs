//! Settings in three columns, for the run record: what was configured, what was in force, what was observed.
//!
//! A value that does not reach the requests is seen here, because the columns have different origins: the first
//! is the pipeline file's, the second is what the last request carried, the third was counted on the wire.

use promptmill_core::{Declares, Departure, Meter, Money, Pipeline, Price, Registry, Traffic};
use serde_json::{Map, Value, json};

/// The settings of each model that the pipeline may call.
pub(crate) fn of_models(pipeline: &Pipeline, declares: &[Declares], registry: &Registry, meter: &Meter) -> Map<String, Value> {
    let configured: Map<String, Value> = declares.iter().flat_map(|declares| declares.of_requests.clone()).collect();
    let (traffic, nothing) = (meter.traffic(), Traffic::default());
    let names = declares.iter().flat_map(|declares| &declares.models).map(|(_, name)| name);
    names.map(|name| (name.clone(), of_model(name, pipeline, registry, &configured, traffic.get(name).unwrap_or(&nothing)))).collect()
}

fn of_model(name: &str, pipeline: &Pipeline, registry: &Registry, configured: &Map<String, Value>, traffic: &Traffic) -> Value {
    let configured = |name: &str| configured.get(name).cloned().unwrap_or_default();
    let last = traffic.last.as_ref();
    let in_force = |of: &dyn Fn(&Departure) -> Value| last.map(of);
    let spec = pipeline.models.get(name);
    let provider = spec.and_then(|spec| pipeline.providers.get(&spec.provider));
    let quote = spec.and_then(|spec| (registry.price)(spec, provider));
    let tokens = traffic.usage;
    json!({
        "provider": spec.map(|spec| &spec.provider),
        "requests": traffic.sent,
        "rows_per_request": {
            "configured": configured("rows_per_request"),
            "in_force": in_force(&|last| last.rows_in_force.into()),
            "observed": last.map(|_| json!({
                "min": traffic.rows_min,
                "mean": share(traffic.rows as f64, traffic.sent as f64),
                "max": traffic.rows_max,
            })),
        },
        "concurrency": {
            "configured": configured("concurrency"),
            "in_force": in_force(&|last| last.concurrency_in_force.into()),
            "observed": last.map(|_| json!({"mean": round(traffic.in_flight.mean()), "peak": traffic.in_flight.peak()})),
        },
        "attempts": {
            "configured": configured("attempts"),
            "observed": last.map(|_| json!({"max": traffic.attempts_max})),
        },
        "max_tokens_per_row": {
            "configured": configured("max_tokens_per_row"),
            "in_force": in_force(&|last| last.max_tokens_per_row.into()),
            "observed": last.map(|_| json!({"mean": share(tokens.output_tokens as f64, traffic.rows as f64)})),
        },
        "temperature": {
            "configured": configured("temperature"),
            "in_force": in_force(&|last| last.temperature.into()),
        },
        "timeout_ms": {
            "configured": configured("timeout_ms"),
            "in_force": in_force(&|last| (last.timeout.as_millis() as u64).into()),
            "observed": last.map(|_| json!({
                "mean": share(traffic.latency_ms, traffic.returned as f64),
                "max": round(traffic.latency_ms_max),
            })),
        },
        "requests_per_minute": {
            "configured": provider.and_then(|provider| provider.rpm),
            "announced": traffic.announced_rpm,
            "observed": traffic.rpm().map(round),
        },
        "tokens_per_minute": {
            "configured": provider.and_then(|provider| provider.tpm),
            "announced": traffic.announced_tpm,
            "observed": traffic.tpm().map(round),
        },
        "price": {
            "configured": spec.and_then(|spec| spec.price.clone()),
            "in_force": last.and_then(|last| last.price.as_ref()).map(dollars),
            "source": if spec.is_none() { Some("in this process".to_owned()) } else { quote.map(|quote| quote.source) },
            "observed": {"stated_by_provider": traffic.costs_by_provider, "counted_from_tokens": traffic.costs_by_price},
        },
        "tokens": {
            "input": tokens.input_tokens,
            "cached_input": tokens.cached_input_tokens,
            "cache_write": tokens.cache_write_tokens,
            "cached_share": share(tokens.cached_input_tokens as f64, tokens.input_tokens as f64),
            "output": tokens.output_tokens,
            "bytes_per_input_token": share(traffic.counted_bytes as f64, traffic.counted_tokens as f64),
        },
    })
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
