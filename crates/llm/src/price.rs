//! What tokens cost: the shipped list, with date and source of every entry.

use promptmill_core::pipeline::ModelSpec;
use promptmill_core::{Money, Price};

/// One entry of the shipped list, in US dollars per million tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PriceList {
    /// The model's name, as providers write it; a prefix such as `mistralai/` does not matter.
    pub model: &'static str,
    /// Prompt tokens.
    pub input: f64,
    /// Cached prompt tokens.
    pub cached_input: f64,
    /// Answer tokens.
    pub output: f64,
    /// Whose price it is; other hosts of the same model ask other prices.
    pub source: &'static str,
    /// When it was read.
    pub date: &'static str,
}

const fn entry(model: &'static str, input: f64, cached_input: f64, output: f64, source: &'static str) -> PriceList {
    PriceList { model, input, cached_input, output, source, date: "2026-08-21" }
}

/// The shipped prices. Only entries whose model has one maker's price: where hosts differ, the pipeline file
/// has to say which price applies.
pub const PRICES: &[PriceList] = &[
    entry("mistral-small-2603", 0.15, 0.015, 0.60, "Mistral"),
    entry("ministral-3b-2512", 0.10, 0.10, 0.10, "Mistral"),
    entry("ministral-8b-2512", 0.15, 0.15, 0.15, "Mistral"),
    entry("ministral-14b-2512", 0.20, 0.20, 0.20, "Mistral"),
    entry("mistral-large-latest", 0.50, 0.50, 1.50, "Mistral"),
    entry("gpt-4o-mini", 0.15, 0.075, 0.60, "OpenAI"),
    entry("gpt-5-nano", 0.05, 0.05, 0.40, "OpenAI"),
    entry("gpt-5-mini", 0.25, 0.25, 2.00, "OpenAI"),
    entry("gpt-5.4-nano", 0.20, 0.20, 1.25, "OpenAI"),
    entry("gemini-2.5-flash-lite", 0.10, 0.10, 0.40, "Google"),
    entry("claude-haiku-4-5", 1.00, 0.10, 5.00, "Anthropic"),
];

impl PriceList {
    /// The price of a model: its own in the pipeline file, else the shipped one.
    pub fn price(spec: &ModelSpec) -> Option<Price> {
        if let Some(own) = spec.price {
            let input = Money::from_usd(own.input)?;
            let cached_input = own.cached_input.map_or(Some(input), Money::from_usd)?;
            return Some(Price { input, cached_input, output: Money::from_usd(own.output)? });
        }
        let name = spec.model.rsplit('/').next().unwrap_or(&spec.model);
        let shipped = PRICES.iter().find(|entry| entry.model == name)?;
        Some(Price {
            input: Money::from_usd(shipped.input)?,
            cached_input: Money::from_usd(shipped.cached_input)?,
            output: Money::from_usd(shipped.output)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(toml: &str) -> ModelSpec {
        serde_json::from_str(toml).expect("a model")
    }

    #[test]
    fn the_pipeline_files_price_wins() {
        let own = spec(r#"{"provider": "p", "model": "gpt-4o-mini", "price": {"input": 0.07, "output": 0.34}}"#);
        let price = PriceList::price(&own).expect("a price");
        assert_eq!((price.input.nano(), price.cached_input.nano(), price.output.nano()), (70_000_000, 70_000_000, 340_000_000));
    }

    #[test]
    fn a_shipped_price_is_found_under_a_hosts_prefix_and_an_unknown_one_is_unknown() {
        let shipped = PriceList::price(&spec(r#"{"provider": "p", "model": "mistralai/mistral-small-2603"}"#));
        assert_eq!(shipped.map(|price| price.cached_input.nano()), Some(15_000_000));
        assert_eq!(PriceList::price(&spec(r#"{"provider": "p", "model": "nobody/knows"}"#)), None);
    }
}
