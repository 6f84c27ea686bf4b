//! What tokens cost: the pipeline file's own price, else the one in the shipped list, with its date and source.

use std::sync::LazyLock;

use chrono::{NaiveDate, Utc};
use promptmill_core::pipeline::{AboveSpec, ModelSpec, PriceSpec, ProviderSpec};
use promptmill_core::{Above, Money, Price, Quote, Tiers};
use reqwest::Url;
use serde::Deserialize;
use serde_json::Value;

/// The list, as it is kept.
const PRICES: &str = include_str!("../prices.toml");

/// One entry of the shipped list, in US dollars per million tokens.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListedPrice {
    /// The model's name, as providers write it, in lower case; a prefix such as `mistralai/` does not matter.
    pub model: String,
    /// Who asks it.
    pub by: String,
    /// The host of the base URLs that it holds for; left out: the maker's own price.
    pub host: Option<String>,
    /// Prompt tokens.
    pub input: f64,
    /// Cached prompt tokens; left out: as `input`.
    pub cached_input: Option<f64>,
    /// Prompt tokens written to a cache; left out: what the family bills.
    pub cache_write: Option<f64>,
    /// Answer tokens.
    pub output: f64,
    /// Prices of requests with long prompts.
    #[serde(default)]
    pub above: Vec<AboveSpec>,
    /// The last day on which the price holds, if it is known to change; later it is not known.
    pub until: Option<NaiveDate>,
    /// The day on which the model is switched off.
    pub leaves: Option<NaiveDate>,
    /// Where it was read.
    pub source: String,
    /// The page that the source names.
    pub page: Option<String>,
    /// When it was read.
    pub date: NaiveDate,
}

/// The shipped prices.
pub fn listed_prices() -> &'static [ListedPrice] {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct List {
        price: Vec<ListedPrice>,
    }
    static LIST: LazyLock<Vec<ListedPrice>> = LazyLock::new(|| toml::from_str::<List>(PRICES).expect("a list that a test reads").price);
    &LIST
}

/// What a model's tokens cost, and who says so: the pipeline file, else the shipped list.
pub fn quote(model: &ModelSpec, provider: Option<&ProviderSpec>) -> Option<Quote> {
    let name = name_of(model);
    if let Some(own) = &model.price {
        return Some(Quote { price: price(&name, own)?, source: "the pipeline file".to_owned() });
    }
    let listed = listed(model, provider)?;
    if listed.until.is_some_and(|until| until < Utc::now().date_naive()) {
        return None;
    }
    let spec = PriceSpec {
        input: listed.input,
        cached_input: listed.cached_input,
        cache_write: listed.cache_write,
        output: listed.output,
        request: None,
        above: listed.above.clone(),
        tiers: None,
    };
    Some(Quote { price: price(&name, &spec)?, source: format!("{} ({}, {})", listed.by, listed.source, listed.date) })
}

/// When a model is switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaving {
    /// The day.
    pub day: NaiveDate,
    /// Whether that has been.
    pub is_past: bool,
}

/// When a model is switched off by whoever is asked for it, if the shipped list knows.
pub fn leaving(model: &ModelSpec, provider: Option<&ProviderSpec>) -> Option<Leaving> {
    let day = listed(model, provider)?.leaves?;
    Some(Leaving { day, is_past: day <= Utc::now().date_naive() })
}

/// The entry of a model: the host's own comes before the maker's.
fn listed(model: &ModelSpec, provider: Option<&ProviderSpec>) -> Option<&'static ListedPrice> {
    let name = name_of(model);
    let url = provider.and_then(|provider| Url::parse(&provider.base_url).ok());
    let host = url.as_ref().and_then(Url::host_str);
    let mut entries = listed_prices().iter().filter(|entry| entry.model == name);
    let of_host = entries.clone().find(|entry| entry.host.is_some() && entry.host.as_deref() == host);
    of_host.or_else(|| entries.find(|entry| entry.host.is_none()))
}

/// The name of the model that is really asked, as the list has it.
fn name_of(model: &ModelSpec) -> String {
    let asked = model.extra_body.get("model").and_then(Value::as_str).unwrap_or(&model.model);
    asked.rsplit('/').next().unwrap_or_default().to_lowercase()
}

fn price(name: &str, spec: &PriceSpec) -> Option<Price> {
    let input = Money::from_usd(spec.input)?;
    let cached_input = spec.cached_input.map_or(Some(input), Money::from_usd)?;
    let cache_write = spec.cache_write.or_else(|| bills_cache_writes(name).then_some(spec.input * 1.25));
    let cache_write = cache_write.map_or(Some(input), Money::from_usd)?;
    let output = Money::from_usd(spec.output)?;
    let above = spec.above.iter().map(|above| {
        let dearer = |below: f64| if spec.input > 0.0 { below * above.input / spec.input } else { above.input };
        let part = |stated: Option<f64>, below: Money| Money::from_usd(stated.unwrap_or_else(|| dearer(below.usd())));
        Some(Above {
            tokens: above.tokens,
            input: Money::from_usd(above.input)?,
            cached_input: part(above.cached_input, cached_input)?,
            cache_write: part(above.cache_write, cache_write)?,
            output: above.output.map_or(Some(output), Money::from_usd)?,
        })
    });
    let thousandths = |factor: f64| (factor * 1_000.0).round() as u32;
    let tiers = spec.tiers.map_or_else(
        || tiers_of(name),
        |tiers| Tiers { flex: thousandths(tiers.flex), priority: thousandths(tiers.priority), batch: thousandths(tiers.batch) },
    );
    Some(Price {
        input,
        cached_input,
        cache_write,
        output,
        request: spec.request.map_or(Some(Money::ZERO), Money::from_usd)?,
        above: above.collect::<Option<_>>()?,
        tiers,
    })
}

/// Whether what is written to a cache costs more than what is not. The name may have `openai/` in front no more.
pub(crate) fn bills_cache_writes(name: &str) -> bool {
    name.starts_with("claude-") || gpt_version(name).is_some_and(|version| version >= (5, 6))
}

/// `gpt-5.6-luna` is 5.6.
pub(crate) fn gpt_version(name: &str) -> Option<(u32, u32)> {
    let version = name.strip_prefix("gpt-")?.split('-').next()?;
    let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// What the makers bill their service tiers at.
fn tiers_of(name: &str) -> Tiers {
    let is_openai = ["gpt-", "chatgpt-", "o1", "o3", "o4"].iter().any(|family| name.starts_with(family)) && !name.starts_with("gpt-oss");
    if is_openai {
        Tiers { flex: 500, priority: 2_000, batch: 500 }
    } else if name.starts_with("gemini-") {
        Tiers { flex: 500, priority: 1_800, batch: 500 }
    } else if ["claude-", "mistral-", "ministral-"].iter().any(|family| name.starts_with(family)) {
        Tiers { batch: 500, ..Tiers::default() }
    } else {
        Tiers::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use promptmill_core::{Tier, Usage};

    use super::*;

    fn spec(json: &str) -> ModelSpec {
        serde_json::from_str(json).expect("a model")
    }

    fn at(base_url: &str) -> ProviderSpec {
        serde_json::from_value(serde_json::json!({"kind": "openai", "base_url": base_url})).expect("a provider")
    }

    #[test]
    fn the_pipeline_files_price_wins() {
        let own = spec(r#"{"provider": "p", "model": "gpt-4o-mini", "price": {"input": 0.07, "output": 0.34}}"#);
        let Quote { price, source } = quote(&own, None).expect("a price");
        assert_eq!((price.input.nano(), price.cached_input.nano(), price.output.nano()), (70_000_000, 70_000_000, 340_000_000));
        assert_eq!(source, "the pipeline file");
    }

    #[test]
    fn a_shipped_price_is_found_under_a_hosts_prefix_and_an_unknown_one_is_unknown() {
        let shipped = quote(&spec(r#"{"provider": "p", "model": "mistralai/mistral-small-2603"}"#), None).expect("a price");
        assert_eq!(shipped.price.cached_input.nano(), 15_000_000);
        assert!(shipped.source.starts_with("Mistral (LiteLLM "), "{}", shipped.source);
        assert_eq!(quote(&spec(r#"{"provider": "p", "model": "nobody/knows"}"#), None), None);
    }

    #[test]
    fn a_hosts_price_holds_for_that_host_alone() {
        let gemma = spec(r#"{"provider": "p", "model": "google/gemma-4-26B-A4B-it"}"#);
        let input = |provider: Option<ProviderSpec>| quote(&gemma, provider.as_ref()).map(|quote| quote.price.input.nano());
        assert_eq!(input(Some(at("https://api.deepinfra.com/v1/openai"))), Some(70_000_000));
        assert_eq!(input(Some(at("https://api.novita.ai/openai/v1"))), Some(130_000_000));
        assert_eq!(input(Some(at("https://openrouter.ai/api/v1"))), None);
        assert_eq!(input(None), None);
    }

    #[test]
    fn every_rule_of_billing_can_be_written_down() {
        let own = spec(
            r#"{"provider": "p", "model": "x", "price": {"input": 1, "cached_input": 0.1, "cache_write": 1.5, "output": 4, "request": 0.005,
                "above": [{"tokens": 1000, "input": 2, "output": 6}], "tiers": {"flex": 0.5}}}"#,
        );
        let price = quote(&own, None).expect("a price").price;
        let usage = Usage { input_tokens: 1_000, cached_input_tokens: 100, cache_write_tokens: 200, output_tokens: 10, ..Usage::default() };
        assert_eq!(price.cost(usage).nano(), 700 * 1_000 + 100 * 100 + 200 * 1_500 + 10 * 4_000 + 5_000_000);
        let long = Usage { input_tokens: 1_001, ..usage };
        assert_eq!(price.cost(long).nano(), 701 * 2_000 + 100 * 200 + 200 * 3_000 + 10 * 6_000 + 5_000_000);
        let flex = Usage { tier: Tier::Flex, ..usage };
        assert_eq!(price.cost(flex).nano(), (700 * 1_000 + 100 * 100 + 200 * 1_500 + 10 * 4_000) / 2 + 5_000_000);
        assert_eq!(price.cost(Usage { tier: Tier::Priority, ..usage }), price.cost(usage));
    }

    #[test]
    fn families_bill_what_they_bill() {
        let of = |model: &str| {
            let own = format!(r#"{{"provider": "p", "model": "{model}", "price": {{"input": 2, "output": 10}}}}"#);
            let price = quote(&spec(&own), None).expect("a price").price;
            (price.cache_write.nano() / 1_000_000, price.tiers.flex, price.tiers.priority, price.tiers.batch)
        };
        assert_eq!(of("openai/gpt-5.6-luna"), (2_500, 500, 2_000, 500));
        assert_eq!(of("gpt-6"), (2_500, 500, 2_000, 500));
        assert_eq!(of("gpt-5.4-nano"), (2_000, 500, 2_000, 500));
        assert_eq!(of("anthropic/claude-sonnet-5"), (2_500, 1_000, 1_000, 500));
        assert_eq!(of("google/gemini-3.8-flash"), (2_000, 500, 1_800, 500));
        assert_eq!(of("openai/gpt-oss-20b"), (2_000, 1_000, 1_000, 1_000));
        assert_eq!(of("mistral-small-2603"), (2_000, 1_000, 1_000, 500));
    }

    #[test]
    fn the_price_is_that_of_the_model_that_the_request_names() {
        let own = spec(r#"{"provider": "p", "model": "mistral-small-2603", "extra_body": {"model": "nobody/knows"}}"#);
        assert_eq!(quote(&own, None), None);
    }

    #[test]
    fn a_model_that_is_to_be_switched_off_says_when() {
        let of = |model: &str, host: &str| {
            leaving(&spec(&format!(r#"{{"provider": "p", "model": "{model}"}}"#)), Some(&at(host))).map(|leaving| leaving.day.to_string())
        };
        assert_eq!(of("openai/gpt-5-nano", "https://openrouter.ai/api/v1").as_deref(), Some("2026-12-11"));
        assert_eq!(of("gpt-4.1-nano", "https://api.openai.com/v1").as_deref(), Some("2026-10-23"));
        assert_eq!(of("mistral-small-2603", "https://api.mistral.ai/v1"), None);
        assert_eq!(of("mistral-small-2506", "https://api.mistral.ai/v1").as_deref(), Some("2026-07-31"), "at its maker");
        assert_eq!(of("mistral-small-2506", "https://oai.endpoints.kepler.ai.cloud.ovh.net/v1"), None, "others still have it");
    }

    #[test]
    fn the_newest_models_cost_what_the_list_of_november_says() {
        // Input, cached, written, output and the batch price of input, in thousandths of a dollar per million.
        for (model, prices) in [
            ("gpt-5.6-luna", [200, 20, 250, 1_200, 100]),
            ("gpt-5.6-terra", [2_000, 200, 2_500, 12_000, 1_000]),
            ("gpt-5.4-nano", [200, 20, 200, 1_250, 100]),
            ("claude-haiku-4-5", [1_000, 100, 1_250, 5_000, 500]),
            ("claude-sonnet-5", [2_000, 200, 2_500, 10_000, 1_000]),
        ] {
            let price = quote(&spec(&format!(r#"{{"provider": "p", "model": "{model}"}}"#)), None).expect("a price").price;
            let batch = price.input.nano() / 1_000 * i64::from(price.tiers.batch);
            let stated = [price.input.nano(), price.cached_input.nano(), price.cache_write.nano(), price.output.nano(), batch];
            assert_eq!(stated.map(|nano| nano / 1_000_000), prices, "{model}");
        }
        let long = Usage { input_tokens: 272_001, output_tokens: 1_000, ..Usage::default() };
        let luna = quote(&spec(r#"{"provider": "p", "model": "gpt-5.6-luna"}"#), None).expect("a price").price;
        assert_eq!(luna.cost(long).nano(), 272_001 * 400 + 1_000 * 1_800);
    }

    #[test]
    fn every_entry_is_whole_and_stands_there_once() {
        let mut seen = BTreeSet::new();
        for entry in listed_prices() {
            assert!(seen.insert((&entry.model, &entry.host)), "`{}` stands there twice", entry.model);
            assert!(!entry.source.is_empty() && !entry.by.is_empty(), "{entry:?}");
            assert_eq!((entry.model.to_lowercase(), entry.model.contains('/')), (entry.model.clone(), false), "it would not be found");
            let prices = [Some(entry.input), entry.cached_input, entry.cache_write, Some(entry.output)];
            assert!(prices.iter().flatten().all(|price| (0.001..1_000.0).contains(price)), "not dollars per million: {entry:?}");
            assert!(entry.cached_input.is_none_or(|cached| cached <= entry.input), "{entry:?}");
        }
        assert!(seen.len() >= 20, "{}", seen.len());
    }
}
