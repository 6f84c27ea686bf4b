//! Exact money: what tokens cost in whole nano-dollars, and amounts as decimals.
//!
//! A request is rounded up once, at the end, so that the bill is never below the price.

use crate::config::Price;

const NANO: f64 = 1e9;

/// The tokens of one generation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tokens {
    /// Prompt tokens, cached ones included.
    pub(crate) prompt: u64,
    /// Prompt tokens whose prefix was cached.
    pub(crate) cached: u64,
    /// Output tokens.
    pub(crate) completion: u64,
}

/// What `tokens` cost in nano-dollars, rounded up.
pub(crate) fn nano_usd(price: &Price, tokens: Tokens) -> u64 {
    // Prices are decimals with few digits; in nano-dollars per million tokens they are whole numbers.
    let whole = |usd: f64| u128::from((usd * NANO).round() as u64);
    let input = whole(price.input);
    let cached_input = price.cached_input.map_or(input, whole);
    let sum = u128::from(tokens.prompt - tokens.cached) * input
        + u128::from(tokens.cached) * cached_input
        + u128::from(tokens.completion) * whole(price.output);
    u64::try_from(sum.div_ceil(1_000_000)).unwrap_or(u64::MAX)
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

    #[test]
    fn costs_are_exact_and_rounded_up_once() {
        let price = Price { input: 0.15, cached_input: Some(0.015), output: 0.60 };
        let cost = |prompt, cached, completion| nano_usd(&price, Tokens { prompt, cached, completion });
        assert_eq!(cost(1_000_000, 0, 0), 150_000_000);
        assert_eq!(cost(1, 0, 0), 150);
        assert_eq!(cost(1_410, 1_152, 96), 258 * 150 + 1_152 * 15 + 96 * 600);
        let dear = Price { input: 0.0000015, cached_input: None, output: 0.0 };
        assert_eq!(nano_usd(&dear, Tokens { prompt: 1, ..Tokens::default() }), 1);
        assert_eq!(nano_usd(&dear, Tokens { prompt: 1_000_000, cached: 10, ..Tokens::default() }), 1_500);
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
