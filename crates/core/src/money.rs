//! Tokens and money, in integers.
//!
//! Sums over rows, over attempts and over a provider's bill have to agree to the last digit, so nothing here
//! is a float: money is counted in nano-dollars, which is also the scale of `decimal(18,9)` on disk.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An amount of US dollars, in whole nano-dollars (10⁻⁹ USD).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Money(i64);

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// More than any bill; used as "no limit".
    pub const MAX: Self = Self(i64::MAX);

    /// The amount of `nano` nano-dollars.
    pub const fn from_nano(nano: i64) -> Self {
        Self(nano)
    }

    /// The amount in nano-dollars.
    pub const fn nano(self) -> i64 {
        self.0
    }

    /// The nearest amount to a number of dollars, as written in a pipeline file. `None` if it is not a finite
    /// number of at most nine billion.
    pub fn from_usd(usd: f64) -> Option<Self> {
        let nano = (usd * 1e9).round();
        (nano.is_finite() && nano.abs() < 9e18).then_some(Self(nano as i64))
    }

    /// The amount in dollars, for display and JSON; not for sums.
    pub fn usd(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// The sum, or [`Money::MAX`] where it would not fit.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// Sums end at the largest amount and never wrap: a bill out of all bounds is to stop a run, not to start it anew.
impl Add for Money {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        self.saturating_add(other)
    }
}

impl Sub for Money {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl AddAssign for Money {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Money {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

/// Exact decimal dollars, without trailing zeros but with at least two decimals: `5.00`, `0.000131340` as
/// `0.00013134`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, fraction) = (self.0.unsigned_abs() / 1_000_000_000, self.0.unsigned_abs() % 1_000_000_000);
        let digits = format!("{fraction:09}");
        let kept = digits.trim_end_matches('0').len().max(2);
        write!(f, "{sign}{whole}.{}", &digits[..kept])
    }
}

/// A text that is not an amount of dollars.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an amount of dollars")]
pub struct ParseMoneyError(String);

/// Reads decimal dollars exactly, also in the exponent form that some providers send (`4e-07`); digits beyond
/// the nano-dollar round up, since a bill is never understated.
impl FromStr for Money {
    type Err = ParseMoneyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_nano(text.trim()).map(Self).ok_or_else(|| ParseMoneyError(text.to_owned()))
    }
}

fn parse_nano(text: &str) -> Option<i64> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.len() + fraction.len() == 0 || whole.len() + fraction.len() > 30 || exponent.abs() > 30 {
        return None;
    }
    let digits: i128 = format!("{whole}{fraction}")
        .bytes()
        .try_fold(0_i128, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i128::from(byte - b'0')))?;
    // The value is digits · 10^(exponent - decimals); in nano-dollars nine powers more.
    let shift = exponent - i32::try_from(fraction.len()).ok()? + 9;
    let power = 10_i128.checked_pow(shift.unsigned_abs())?;
    let nano = if shift >= 0 { digits.checked_mul(power)? } else { digits.div_euclid(power) + i128::from(digits % power != 0) };
    i64::try_from(if negative { -nano } else { nano }).ok()
}

/// How fast a request was served, which a provider may bill by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// As usual.
    #[default]
    Standard,
    /// Later, for less.
    Flex,
    /// Sooner, for more.
    Priority,
    /// Within a day, for less.
    Batch,
}

impl Tier {
    /// The tier that a response calls so, in any case; every word that is not known is the usual one.
    pub fn named(name: &str) -> Self {
        match name.trim().to_ascii_lowercase().as_str() {
            "flex" => Self::Flex,
            "priority" | "fast" => Self::Priority,
            "batch" => Self::Batch,
            _ => Self::Standard,
        }
    }

    fn is_standard(&self) -> bool {
        *self == Self::Standard
    }
}

/// Tokens that a provider reported, or that were estimated in its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt, cached ones included.
    pub input_tokens: u64,
    /// The part of `input_tokens` that the provider read from its cache.
    pub cached_input_tokens: u64,
    /// The part of `input_tokens` that the provider wrote to its cache.
    #[serde(default)]
    pub cache_write_tokens: u64,
    /// Tokens of the answer, reasoning included.
    pub output_tokens: u64,
    /// How fast it was served.
    #[serde(default, skip_serializing_if = "Tier::is_standard")]
    pub tier: Tier,
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.input_tokens = self.input_tokens.saturating_add(other.input_tokens);
        self.cached_input_tokens = self.cached_input_tokens.saturating_add(other.cached_input_tokens);
        self.cache_write_tokens = self.cache_write_tokens.saturating_add(other.cache_write_tokens);
        self.output_tokens = self.output_tokens.saturating_add(other.output_tokens);
    }
}

/// What a model's tokens cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Nano-dollars per million prompt tokens.
    pub input: Money,
    /// Nano-dollars per million prompt tokens that came from the provider's cache.
    pub cached_input: Money,
    /// Nano-dollars per million prompt tokens that were written to the provider's cache.
    pub cache_write: Money,
    /// Nano-dollars per million answer tokens.
    pub output: Money,
    /// A fee for each request.
    pub request: Money,
    /// Other prices for requests with longer prompts.
    pub above: Vec<Above>,
    /// What each tier is billed at.
    pub tiers: Tiers,
}

/// Prices of a whole request whose prompt has more than so many tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Above {
    /// So many are not yet enough.
    pub tokens: u64,
    /// As in [`Price`].
    pub input: Money,
    /// As in [`Price`].
    pub cached_input: Money,
    /// As in [`Price`].
    pub cache_write: Money,
    /// As in [`Price`].
    pub output: Money,
}

/// What tiers are billed at, in thousandths of the price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named and described as the variants of `Tier`")]
pub struct Tiers {
    pub flex: u32,
    pub priority: u32,
    pub batch: u32,
}

impl Default for Tiers {
    fn default() -> Self {
        Self { flex: 1_000, priority: 1_000, batch: 1_000 }
    }
}

impl Tiers {
    fn of(self, tier: Tier) -> u32 {
        match tier {
            Tier::Standard => 1_000,
            Tier::Flex => self.flex,
            Tier::Priority => self.priority,
            Tier::Batch => self.batch,
        }
    }
}

impl Price {
    /// The price of a model that costs nothing.
    pub const FREE: Self = Self {
        input: Money::ZERO,
        cached_input: Money::ZERO,
        cache_write: Money::ZERO,
        output: Money::ZERO,
        request: Money::ZERO,
        above: Vec::new(),
        tiers: Tiers { flex: 1_000, priority: 1_000, batch: 1_000 },
    };

    /// A price per million tokens that knows no other rules.
    pub fn per_million(input: Money, output: Money) -> Self {
        Self { input, cached_input: input, cache_write: input, output, ..Self::FREE }
    }

    /// What `usage` costs, rounded up to the nano-dollar once.
    pub fn cost(&self, usage: Usage) -> Money {
        let cached = usage.cached_input_tokens.min(usage.input_tokens);
        let written = usage.cache_write_tokens.min(usage.input_tokens - cached);
        let rates = self.rates(usage.input_tokens);
        let parts = [
            (usage.input_tokens - cached - written, rates.input),
            (cached, rates.cached_input),
            (written, rates.cache_write),
            (usage.output_tokens, rates.output),
        ];
        self.sum(parts, self.tiers.of(usage.tier))
    }

    /// The most that so many tokens cost, whatever a cache does, at the tier asked for or the usual one.
    pub fn most(&self, usage: Usage) -> Money {
        let tier = self.tiers.of(usage.tier).max(1_000);
        // Fewer tokens than the bound may cost more each.
        let steps = self.above.iter().filter(|above| usage.input_tokens > above.tokens).copied();
        let dearest = steps.chain([self.rates(0)]).map(|rates| {
            let input = rates.input.max(rates.cached_input).max(rates.cache_write);
            self.sum([(usage.input_tokens, input), (usage.output_tokens, rates.output), (0, Money::ZERO), (0, Money::ZERO)], tier)
        });
        dearest.max().unwrap_or(Money::ZERO)
    }

    fn rates(&self, input_tokens: u64) -> Above {
        let Self { input, cached_input, cache_write, output, .. } = *self;
        let base = Above { tokens: 0, input, cached_input, cache_write, output };
        let steps = self.above.iter().filter(|above| input_tokens > above.tokens);
        steps.max_by_key(|above| above.tokens).copied().unwrap_or(base)
    }

    fn sum(&self, parts: [(u64, Money); 4], tier: u32) -> Money {
        let part = |(tokens, rate): (u64, Money)| i128::from(tokens).saturating_mul(i128::from(rate.nano()));
        let millionths = parts.into_iter().map(part).fold(0, i128::saturating_add);
        let billionths = millionths.saturating_mul(i128::from(tier));
        let nano = billionths.div_euclid(1_000_000_000) + i128::from(billionths.rem_euclid(1_000_000_000) != 0);
        Money(i64::try_from(nano).unwrap_or(i64::MAX)).saturating_add(self.request)
    }
}

/// A price, and who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// The price.
    pub price: Price,
    /// Where it comes from, with its date if it is from a list.
    pub source: String,
}

/// The share of the `index`-th of `count` rows in `total`. The shares of all rows sum to `total` exactly and
/// differ by at most one.
pub fn share(total: i64, index: usize, count: usize) -> i64 {
    let (total, index, count) = (i128::from(total), index as i128, count.max(1) as i128);
    let upto = |rows: i128| total * rows / count;
    (upto(index + 1) - upto(index)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dollars_are_read_exactly() {
        for (text, nano) in [
            ("5", 5_000_000_000),
            ("0.00013134", 131_340),
            ("4e-07", 400),
            ("1.5E2", 150_000_000_000),
            ("-0.25", -250_000_000),
            ("0.0000000001", 1),
        ] {
            assert_eq!(text.parse(), Ok(Money(nano)), "{text}");
        }
        for text in ["", ".", "five", "1,5", "1e99", "0x10", "--1"] {
            assert!(text.parse::<Money>().is_err(), "{text}");
        }
    }

    #[test]
    fn dollars_are_shown_exactly() {
        for (nano, text) in [(0, "0.00"), (5_000_000_000, "5.00"), (131_340, "0.00013134"), (-250_000_000, "-0.25")] {
            assert_eq!(Money(nano).to_string(), text);
        }
    }

    #[test]
    fn cached_tokens_have_their_own_price() {
        let price = Price { cached_input: Money(15_000_000), ..Price::per_million(Money(150_000_000), Money(600_000_000)) };
        let usage = Usage { input_tokens: 1_410, cached_input_tokens: 1_152, output_tokens: 96, ..Usage::default() };
        // 258 · 150 + 1152 · 15 + 96 · 600 nano-dollars
        assert_eq!(price.cost(usage), Money(258 * 150 + 1152 * 15 + 96 * 600));
        let written = Price { cache_write: Money(200_000_000), ..price };
        let usage = Usage { cache_write_tokens: 200, ..usage };
        assert_eq!(written.cost(usage), Money(58 * 150 + 1152 * 15 + 200 * 200 + 96 * 600));
    }

    #[test]
    fn long_prompts_tiers_and_fees_have_their_prices() {
        let above =
            |tokens, rate| Above { tokens, input: Money(rate), cached_input: Money(rate), cache_write: Money(rate), output: Money(rate) };
        let price = Price {
            request: Money(5),
            above: vec![above(1_000, 2_000_000), above(2_000, 3_000_000)],
            tiers: Tiers { flex: 500, priority: 1_800, batch: 500 },
            ..Price::per_million(Money(1_000_000), Money(1_000_000))
        };
        let of = |input_tokens, tier| price.cost(Usage { input_tokens, output_tokens: 1, tier, ..Usage::default() }).nano();
        assert_eq!((of(1_000, Tier::Standard), of(1_001, Tier::Standard), of(2_001, Tier::Standard)), (1_006, 2_009, 6_011));
        assert_eq!((of(999, Tier::Flex), of(999, Tier::Priority), of(999, Tier::Batch)), (505, 1_805, 505));
        let most = |input_tokens, tier| price.most(Usage { input_tokens, output_tokens: 1, tier, ..Usage::default() }).nano();
        assert_eq!((most(1_000, Tier::Standard), most(3_000, Tier::Flex), most(999, Tier::Priority)), (1_006, 9_008, 1_805));
    }

    #[test]
    fn sums_end_at_the_largest_amount() {
        let (mut sum, dear) = (Money::MAX, Price::per_million(Money::MAX, Money::MAX));
        sum += Money(1);
        assert_eq!((sum, [Money::MAX, Money::MAX].into_iter().sum::<Money>()), (Money::MAX, Money::MAX));
        assert_eq!(dear.cost(Usage { input_tokens: u64::MAX, output_tokens: u64::MAX, ..Usage::default() }), Money::MAX);
    }

    proptest! {
        #[test]
        fn shares_sum_to_the_total(total in 0_i64..1_000_000_000_000, count in 1_usize..200) {
            let shares: Vec<i64> = (0..count).map(|index| share(total, index, count)).collect();
            prop_assert_eq!(shares.iter().sum::<i64>(), total);
            let (low, high) = (shares.iter().min().copied(), shares.iter().max().copied());
            prop_assert!(high.zip(low).is_some_and(|(high, low)| high - low <= 1));
        }

        #[test]
        fn shown_dollars_are_read_back(nano in any::<i64>()) {
            prop_assume!(nano != i64::MIN);
            prop_assert_eq!(Money(nano).to_string().parse(), Ok(Money(nano)));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = text.parse::<Money>();
        }
    }
}
