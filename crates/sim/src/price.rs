//! Exact money: what tokens cost in whole nano-dollars, and amounts as decimals.
//!
//! A request is rounded up once, at the end, so that the bill is never below the price.

use crate::config::Price;

const NANO: f64 = 1e9;

/// The tokens of one generation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tokens {
    /// Prompt tokens, cached and written ones included.
    pub(crate) prompt: u64,
    /// Prompt tokens whose prefix was cached.
    pub(crate) cached: u64,
    /// Prompt tokens that were written to the cache.
    pub(crate) written: u64,
    /// Output tokens, thinking included.
    pub(crate) completion: u64,
    /// Those of thinking.
    pub(crate) thought: u64,
}

/// What `tokens` cost at a service tier, in nano-dollars, rounded up once, and the fee.
pub(crate) fn nano_usd(price: &Price, tokens: Tokens, tier: &str) -> u64 {
    // Prices are decimals with few digits; in nano-dollars per million tokens they are whole numbers.
    let whole = |usd: f64| u128::from((usd * NANO).round() as u64);
    let long = price.above.iter().filter(|above| tokens.prompt > above.tokens).max_by_key(|above| above.tokens);
    let [input, cached, written, output] = match long {
        Some(long) => [long.input, long.cached_input, long.cache_write, long.output],
        None => [price.input, price.cached_input.unwrap_or(price.input), price.cache_write.unwrap_or(price.input), price.output],
    }
    .map(whole);
    let sum = u128::from(tokens.prompt - tokens.cached - tokens.written) * input
        + u128::from(tokens.cached) * cached
        + u128::from(tokens.written) * written
        + u128::from(tokens.completion) * output;
    let thousandths = price.tiers.get(tier).map_or(1_000, |factor| (factor * 1_000.0).round() as u128);
    let nano = (sum * thousandths).div_ceil(1_000_000_000) + whole(price.request);
    u64::try_from(nano).unwrap_or(u64::MAX)
}

/// `nano` nano-dollars as a decimal of USD with nine places.
pub(crate) fn usd(nano: u64) -> String {
    format!("{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000)
}

/// A price per million tokens as the decimal price of one token, without trailing zeros, as model lists state it.
pub(crate) fn usd_per_token(usd_per_million: f64) -> String {
    let femto = (usd_per_million * NANO).round() as u64;
    let text = format!("{}.{:015}", femto / 1_000_000_000_000_000, femto % 1_000_000_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Above;

    #[test]
    fn costs_are_exact_and_rounded_up_once() {
        let price = Price::default();
        let of = |price: &Price, tokens| nano_usd(price, tokens, "default");
        let cost = |prompt, cached, completion| of(&price, Tokens { prompt, cached, completion, ..Tokens::default() });
        assert_eq!(cost(1_000_000, 0, 0), 150_000_000);
        assert_eq!(cost(1, 0, 0), 150);
        assert_eq!(cost(1_410, 1_152, 96), 258 * 150 + 1_152 * 15 + 96 * 600);
        let dear = Price { input: 0.000_001_5, cached_input: None, output: 0.0, ..Price::default() };
        assert_eq!(of(&dear, Tokens { prompt: 1, ..Tokens::default() }), 1);
        assert_eq!(of(&dear, Tokens { prompt: 1_000_000, cached: 10, ..Tokens::default() }), 1_500);
    }

    #[test]
    fn writes_long_prompts_tiers_and_fees_have_their_prices() {
        let above = Above { tokens: 1_000, input: 0.3, cached_input: 0.03, cache_write: 0.4, output: 0.9 };
        let tiers = [("flex".to_owned(), 0.5), ("priority".to_owned(), 1.8)].into();
        let price = Price { cache_write: Some(0.2), request: 0.000_1, above: vec![above], tiers, ..Price::default() };
        let tokens = |prompt| Tokens { prompt, cached: 100, written: 200, completion: 10, thought: 5 };
        let short = 700 * 150 + 100 * 15 + 200 * 200 + 10 * 600;
        let long = 701 * 300 + 100 * 30 + 200 * 400 + 10 * 900;
        for (prompt, tier, nano) in [
            (1_000, "default", short),
            (1_000, "flex", short / 2),
            (1_000, "priority", short * 18 / 10),
            (1_001, "default", long),
            (1_001, "flex", u64::div_ceil(long, 2)),
        ] {
            assert_eq!(nano_usd(&price, tokens(prompt), tier), nano + 100_000, "{prompt} {tier}");
        }
    }

    #[test]
    fn amounts_are_decimals() {
        assert_eq!(usd(0), "0.000000000");
        assert_eq!(usd(12_000_000_345), "12.000000345");
        assert_eq!(usd_per_token(0.15), "0.00000015");
        assert_eq!(usd_per_token(0.015), "0.000000015");
        assert_eq!(usd_per_token(2_000_000.0), "2");
        assert_eq!(usd_per_token(0.0), "0");
    }
}
