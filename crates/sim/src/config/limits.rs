//! The settings of limits: what is admitted, and in whose words a refusal is told.

use serde::{Deserialize, Serialize};

/// What the service admits, and how it says no.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Most requests in flight at once; left out: no cap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<usize>,
    /// What happens to a request above `max_in_flight`.
    pub when_full: WhenFull,
    /// Requests per minute; left out: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rpm: Option<u64>,
    /// Tokens per minute, where a request weighs its prompt tokens plus the output limit it asks for (without one:
    /// its real output); left out: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tpm: Option<u64>,
    /// How `rpm` and `tpm` are counted.
    pub window: Window,
    /// Bucket only: how many seconds' worth of the rate may be spent at once. Headers show a full bucket as the
    /// whole limit of a minute.
    pub burst_seconds: f64,
    /// Fixed window only: its length in seconds; the limit of a window is its share of the limit of a minute.
    pub window_seconds: f64,
    /// Whether requests refused by `rpm` or `tpm` use up the limit as well, as OpenAI warns they do.
    pub refusals_count: bool,
    /// Whether every response tells the limits in headers.
    pub headers: bool,
    /// Whose header names and error bodies are spoken.
    pub dialect: Dialect,
    /// Whether and how a 429 says when to come back.
    pub retry_after: RetryAfter,
    /// Time in milliseconds that `retry_after` names; left out: the true time until the request would fit (one
    /// second above `max_in_flight`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<f64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_in_flight: None,
            when_full: WhenFull::Refuse,
            rpm: None,
            tpm: None,
            window: Window::Bucket,
            burst_seconds: 1.0,
            window_seconds: 60.0,
            refusals_count: false,
            headers: false,
            dialect: Dialect::OpenAi,
            retry_after: RetryAfter::None,
            retry_after_ms: None,
        }
    }
}

/// What happens to a request that finds every place taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenFull {
    /// It gets a 429 that does not say which limit it met.
    Refuse,
    /// It waits its turn, first come first served, as at vLLM.
    Queue,
}

/// How a limit per minute is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Window {
    /// A bucket that refills continuously.
    Bucket,
    /// A counter that starts anew at fixed moments.
    Fixed,
}

/// Whose words the limits are told in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// `x-ratelimit-limit-requests` and its kin, resets as durations (`1.5s`).
    #[serde(rename = "openai")]
    OpenAi,
    /// `x-ratelimit-limit-req-minute` and its kin, no resets.
    Mistral,
    /// `anthropic-ratelimit-requests-limit` and its kin, resets as RFC 3339 times.
    Anthropic,
}

/// Whether and how a 429 says when to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RetryAfter {
    /// It does not.
    None,
    /// `retry-after` in whole seconds, rounded up.
    Seconds,
    /// `retry-after` in seconds with a fraction.
    Float,
    /// `retry-after` as an HTTP date.
    HttpDate,
    /// `retry-after-ms` in milliseconds.
    Milliseconds,
}
