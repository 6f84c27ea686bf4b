//! What tokens cost: the pipeline file's own price, else the one in the shipped list, with its date and source.

use std::sync::LazyLock;

use promptmill_core::pipeline::{ModelSpec, ProviderSpec};
use promptmill_core::{Money, Price, Quote};
use reqwest::Url;
use serde::Deserialize;

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
    /// Answer tokens.
    pub output: f64,
    /// Where it was read.
    pub source: String,
    /// The page that the source names.
    pub page: Option<String>,
    /// When it was read.
    pub date: String,
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
    if let Some(own) = model.price {
        let price = price(own.input, own.cached_input, own.output)?;
        return Some(Quote { price, source: "the pipeline file".to_owned() });
    }
    let name = model.model.rsplit('/').next().unwrap_or_default().to_lowercase();
    let url = provider.and_then(|provider| Url::parse(&provider.base_url).ok());
    let host = url.as_ref().and_then(Url::host_str);
    let mut entries = listed_prices().iter().filter(|entry| entry.model == name);
    // The host's own price comes before the maker's.
    let listed = entries.clone().find(|entry| entry.host.is_some() && entry.host.as_deref() == host);
    let listed = listed.or_else(|| entries.find(|entry| entry.host.is_none()))?;
    let price = price(listed.input, listed.cached_input, listed.output)?;
    Some(Quote { price, source: format!("{} ({}, {})", listed.by, listed.source, listed.date) })
}

fn price(input: f64, cached_input: Option<f64>, output: f64) -> Option<Price> {
    let input = Money::from_usd(input)?;
    let cached_input = cached_input.map_or(Some(input), Money::from_usd)?;
    Some(Price { input, cached_input, output: Money::from_usd(output)? })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chrono::NaiveDate;

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
        assert!(shipped.source.starts_with("Mistral (LiteLLM 1.109.1, 2026-"), "{}", shipped.source);
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
    fn every_entry_is_whole_and_stands_there_once() {
        let mut seen = BTreeSet::new();
        for entry in listed_prices() {
            assert!(seen.insert((&entry.model, &entry.host)), "`{}` stands there twice", entry.model);
            assert!(!entry.source.is_empty() && !entry.by.is_empty(), "{entry:?}");
            NaiveDate::parse_from_str(&entry.date, "%Y-%m-%d").unwrap_or_else(|error| panic!("{entry:?}: {error}"));
            assert_eq!((entry.model.to_lowercase(), entry.model.contains('/')), (entry.model.clone(), false), "it would not be found");
            let prices = [Some(entry.input), entry.cached_input, Some(entry.output)];
            assert!(prices.iter().flatten().all(|price| (0.001..1_000.0).contains(price)), "not dollars per million: {entry:?}");
            assert!(entry.cached_input.is_none_or(|cached| cached <= entry.input), "{entry:?}");
        }
        assert!(seen.len() >= 20, "{}", seen.len());
    }
}
