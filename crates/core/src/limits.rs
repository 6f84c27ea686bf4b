//! Limits of a provider, as it announces them or as a refusal names them.

use std::time::Duration;

/// One limit: how much is allowed a minute, how much is left, and when it is full again.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Window {
    /// The most in a minute. Left out where the provider counts over an hour or longer: such a limit says
    /// nothing about the pace until it is used up.
    pub limit: Option<u64>,
    /// What is left, of the minute or of the longer window that is used up.
    pub remaining: Option<u64>,
    /// Until it is full again: not until the next request may leave, which is sooner.
    pub reset: Option<Duration>,
}

/// The limits of one response.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RateLimits {
    /// Requests.
    pub requests: Window,
    /// Tokens, input and output together.
    pub tokens: Window,
    /// Tokens of prompts alone, where they have a limit of their own (Anthropic).
    pub input_tokens: Window,
    /// Tokens of answers alone, where they have a limit of their own (Anthropic).
    pub output_tokens: Window,
}

impl Window {
    /// Nothing announced.
    pub const NONE: Self = Self { limit: None, remaining: None, reset: None };
}

impl RateLimits {
    /// Nothing announced.
    pub const NONE: Self = Self { requests: Window::NONE, tokens: Window::NONE, input_tokens: Window::NONE, output_tokens: Window::NONE };

    /// How long until the limits that are used up are full again; `None` if none is, or it is not said.
    pub fn exhausted(&self) -> Option<Duration> {
        [self.requests, self.tokens, self.input_tokens, self.output_tokens]
            .into_iter()
            .filter(|window| window.remaining == Some(0))
            .filter_map(|window| window.reset)
            .max()
    }
}

/// A limit that a refusal speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitHint {
    /// What is limited.
    pub dimension: Dimension,
    /// Over how long; nothing for what is in flight at once.
    pub per: Option<Per>,
    /// The limit.
    pub limit: u64,
    /// How much of it was used.
    pub used: Option<u64>,
    /// How much the request asked for.
    pub requested: Option<u64>,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// Requests.
    Requests,
    /// Tokens.
    Tokens,
    /// Requests in flight.
    Concurrency,
}

/// Over how long a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Per {
    /// A minute.
    Minute,
    /// A day.
    Day,
}
