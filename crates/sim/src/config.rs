//! What a simulated provider can be told: every setting, its unit and its default.
//!
//! Leaves to others: what a fault does ([`crate::faults`]), how a change at run time is merged and played from a
//! schedule (`control`), and how limits are enforced
//! (the module `limits` of the crate, not the one here, which holds their settings).

mod billing;
mod limits;

pub use billing::{Above, Billing, CostForm, Price, Thinking, UsageNames};
pub use limits::{Dialect, Limits, RetryAfter, WhenFull, Window};

use crate::control::ScheduledPatch;
use crate::faults::FaultRates;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

/// Everything that shapes a simulated provider. The default is a service of 400 ms plus 4 ms per output token with
/// log-normal noise, without limits or faults, on a free port of the loopback address.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimConfig {
    /// Address to listen on; port 0 takes any free port.
    pub listen: SocketAddr,
    /// Fixes answers, latencies and fault draws: the same seed and the same requests give the same responses,
    /// whatever their order of arrival.
    pub seed: u64,
    /// Model names that exist; another name gets a 404. Empty: every name is accepted.
    pub models: Vec<String>,
    /// The bearer key that requests must carry; left out: no key is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key: Option<String>,
    /// How long an answer takes.
    pub latency: Latency,
    /// How many requests and tokens are admitted, and what a refusal looks like.
    pub limits: Limits,
    /// Whether the whole service is down, and how that shows.
    pub outage: Outage,
    /// Probability of each fault by name, 0 to 1; `all` stands for every fault that does not end a run.
    pub faults: FaultRates,
    /// Time in milliseconds over which the fault `slow-body` spreads a body.
    pub slow_body_ms: u64,
    /// Size in megabytes (10^6 bytes) of the padding that the fault `huge-body` adds.
    pub huge_body_mb: u64,
    /// Mean length in tokens of the answer about one item.
    pub answer_tokens: u32,
    /// The items of a request that get a good-looking answer about nothing in particular, as models write when they are
    /// asked too much at once.
    pub careless: Careless,
    /// Context length in tokens, prompt and output limit together; above it a request gets a 400. Left out: no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_tokens: Option<u64>,
    /// What tokens cost.
    pub price: Price,
    /// By which rules requests are billed.
    pub billing: Billing,
    /// Whether `usage.cost` states the price of each answer in USD, as OpenRouter does.
    pub report_cost: bool,
    /// Whether prompt tokens whose prefix was seen before count as cached. Three prefixes are remembered per request:
    /// the system message, that with the user's up to the first item, and with the user's first 1,024 bytes.
    pub cached_prefix: bool,
    /// Changes to play while the service runs.
    pub schedule: Vec<ScheduledPatch>,
    /// The moment from which `schedule` counts.
    pub schedule_from: ScheduleFrom,
}

impl Default for SimConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            seed: 0,
            models: Vec::new(),
            api_key: None,
            latency: Latency::default(),
            limits: Limits::default(),
            outage: Outage::None,
            faults: FaultRates::default(),
            slow_body_ms: 3_000,
            huge_body_mb: 64,
            answer_tokens: 75,
            careless: Careless::default(),
            context_tokens: None,
            price: Price::default(),
            billing: Billing::default(),
            report_cost: false,
            cached_prefix: false,
            schedule: Vec::new(),
            schedule_from: ScheduleFrom::FirstRequest,
        }
    }
}

impl SimConfig {
    /// A service that answers at once: for tests of anything but time.
    pub fn instant() -> Self {
        Self { latency: Latency { instant: true, ..Latency::default() }, ..Self::default() }
    }

    /// Finds settings that make no sense, such as a probability above 1 or a limit of nothing.
    ///
    /// # Errors
    /// The first such setting, by its dotted name.
    pub fn check(&self) -> Result<(), BadSetting> {
        let latency = &self.latency;
        let limits = &self.limits;
        for (name, value) in [
            ("latency.base_ms", latency.base_ms),
            ("latency.per_output_token_ms", latency.per_output_token_ms),
            ("latency.noise", latency.noise),
            ("latency.tail_factor", latency.tail_factor),
            ("latency.refusal_ms", latency.refusal_ms),
            ("limits.burst_seconds", limits.burst_seconds),
            ("limits.retry_after_ms", limits.retry_after_ms.unwrap_or(0.0)),
            ("price.input", self.price.input),
            ("price.cached_input", self.price.cached_input.unwrap_or(0.0)),
            ("price.cache_write", self.price.cache_write.unwrap_or(0.0)),
            ("price.output", self.price.output),
            ("price.request", self.price.request),
        ] {
            if !(value.is_finite() && (0.0..=1e9).contains(&value)) {
                return Err(BadSetting::new(format!("`{name}` must be between 0 and 1e9, not {value}")));
            }
        }
        if !(0.0..=1.0).contains(&latency.tail_probability) {
            return Err(BadSetting::new(format!("`latency.tail_probability` must be between 0 and 1, not {}", latency.tail_probability)));
        }
        if !(0.0..=1.0).contains(&self.careless.share) {
            return Err(BadSetting::new(format!("`careless.share` must be between 0 and 1, not {}", self.careless.share)));
        }
        if !(0.0..=1.0).contains(&self.billing.tier_kept) {
            return Err(BadSetting::new(format!("`billing.tier_kept` must be between 0 and 1, not {}", self.billing.tier_kept)));
        }
        let above = self.price.above.iter().flat_map(|above| [above.input, above.cached_input, above.cache_write, above.output]);
        if let Some(value) = above.chain(self.price.tiers.values().copied()).find(|value| !(0.0..=1e9).contains(value)) {
            return Err(BadSetting::new(format!("`price.above` and `price.tiers` must be between 0 and 1e9, not {value}")));
        }
        if !(limits.window_seconds.is_finite() && limits.window_seconds > 0.0) {
            return Err(BadSetting::new(format!("`limits.window_seconds` must be above 0, not {}", limits.window_seconds)));
        }
        for (name, value) in [("limits.rpm", limits.rpm), ("limits.tpm", limits.tpm)] {
            if value == Some(0) {
                return Err(BadSetting::new(format!("`{name}` must be above 0; leave it out for no limit")));
            }
        }
        Ok(())
    }
}

/// The time an answer takes: `(base_ms + per_output_token_ms * tokens) * noise`, and for a few requests much longer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Latency {
    /// No waiting at all, neither for answers nor for refusals; the other fields then have no effect.
    pub instant: bool,
    /// Time in milliseconds that every answer takes, however short.
    pub base_ms: f64,
    /// Time in milliseconds per token of output.
    pub per_output_token_ms: f64,
    /// Spread of the log-normal noise: the standard deviation of its logarithm. Its median is 1, so half of the
    /// answers take longer than the two fields above say; its mean is `exp(noise^2 / 2)`. 0: no noise.
    pub noise: f64,
    /// Share of answers in the heavy tail, 0 to 1.
    pub tail_probability: f64,
    /// How many times longer an answer of the tail takes.
    pub tail_factor: f64,
    /// Time in milliseconds that a refusal or an early error takes.
    pub refusal_ms: f64,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            instant: false,
            base_ms: 400.0,
            per_output_token_ms: 4.0,
            noise: 0.35,
            tail_probability: 0.0,
            tail_factor: 8.0,
            refusal_ms: 20.0,
        }
    }
}

impl Latency {
    /// Mean time in milliseconds of an answer of `tokens` output tokens: what an ideal client can count on.
    pub fn mean_ms(&self, tokens: f64) -> f64 {
        if self.instant {
            return 0.0;
        }
        let noise = (self.noise * self.noise / 2.0).exp();
        let tail = 1.0 + self.tail_probability * (self.tail_factor - 1.0);
        (self.base_ms + self.per_output_token_ms * tokens) * noise * tail
    }
}

/// How the whole service is down. Requests that were already admitted are answered all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outage {
    /// It is not.
    None,
    /// Every request gets a 503.
    #[serde(rename = "503")]
    Unavailable,
    /// New connections and requests on old ones are reset at once.
    Refused,
    /// Requests are taken and never answered, also when the outage is over.
    Hang,
}

/// When answers are careless: valid in every way, and not about their item.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Careless {
    /// Items behind this place of a request may be answered carelessly, as 16 leaves the first sixteen as they are.
    /// Left out: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behind: Option<usize>,
    /// The share of them that is, 0 to 1.
    pub share: f64,
}

/// The moment from which a schedule counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleFrom {
    /// The arrival of the first request for a completion, so that a client's start-up time does not matter.
    FirstRequest,
    /// The start of the service.
    Start,
}

/// A setting that cannot be: its name, what is wrong, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadSetting(String);

impl BadSetting {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for BadSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadSetting {}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_field_survives_json() {
        let config = SimConfig {
            api_key: Some("sleutel".into()),
            context_tokens: Some(8_192),
            limits: Limits {
                max_in_flight: Some(64),
                rpm: Some(3_000),
                tpm: Some(200_000),
                dialect: Dialect::Anthropic,
                retry_after: RetryAfter::HttpDate,
                retry_after_ms: Some(100.0),
                ..Limits::default()
            },
            outage: Outage::Unavailable,
            faults: "all=0.02,reset=0.5".parse().expect("valid"),
            price: Price {
                cache_write: Some(0.1875),
                request: 0.001,
                above: vec![Above { tokens: 9, input: 1.0, cached_input: 1.0, cache_write: 1.0, output: 1.0 }],
                tiers: [("flex".to_owned(), 0.5)].into(),
                ..Price::default()
            },
            billing: Billing {
                thinking: Thinking::Beside,
                thinking_tokens: 30,
                names: UsageNames::Anthropic,
                cost: CostForm::Table,
                ..Billing::default()
            },
            ..SimConfig::default()
        };
        let text = serde_json::to_string(&config).expect("serializes");
        assert_eq!(serde_json::from_str::<SimConfig>(&text).expect("reads back"), config);
    }

    #[test]
    fn words_of_a_file_are_kebab_case_and_unknown_ones_refused() {
        let config: SimConfig = serde_json::from_value(json!({
            "limits": {"when_full": "queue", "window": "fixed", "dialect": "openai", "retry_after": "http-date"},
            "outage": "503",
            "schedule": [{"at_seconds": 1.5, "patch": {"limits": {"max_in_flight": 16}}}],
        }))
        .expect("valid");
        assert_eq!(config.limits.when_full, WhenFull::Queue);
        assert_eq!(config.outage, Outage::Unavailable);
        assert!(serde_json::from_value::<SimConfig>(json!({"latencyy": {}})).is_err());
        assert!(serde_json::from_value::<SimConfig>(json!({"faults": {"resett": 0.1}})).is_err());
    }

    #[test]
    fn check_names_the_bad_setting() {
        let mut config = SimConfig::default();
        assert_eq!(config.check(), Ok(()));
        config.latency.tail_probability = 1.5;
        assert!(config.check().expect_err("above 1").to_string().contains("latency.tail_probability"));
        config = SimConfig::default();
        config.limits.rpm = Some(0);
        assert!(config.check().expect_err("nothing").to_string().contains("limits.rpm"));
        config = SimConfig::default();
        config.latency.base_ms = f64::NAN;
        assert!(config.check().is_err());
    }

    #[test]
    fn mean_latency_counts_noise_and_tail() {
        let latency = Latency { noise: 0.0, tail_probability: 0.01, tail_factor: 8.0, ..Latency::default() };
        assert!((latency.mean_ms(100.0) - 800.0 * 1.07).abs() < 1e-9);
        assert_eq!(SimConfig::instant().latency.mean_ms(100.0), 0.0);
    }
}
