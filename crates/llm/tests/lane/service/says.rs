//! What a simulated provider's headers say of its limits, rightly or not.

use std::time::Duration;

use promptmill_llm::{RateLimits, Window};
use rand::RngExt;
use serde::Deserialize;

use super::{KINDS, Service};

/// How each of the three numbers is made.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Says {
    pub(crate) limit: Limit,
    pub(crate) remaining: Remaining,
    pub(crate) reset: Reset,
    /// Headers are written when the request is admitted, not when its answer is done.
    pub(crate) early: bool,
}

/// The limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Limit {
    /// Of a minute, however long the window is.
    #[default]
    Minute,
    /// Of the window.
    Window,
    Missing,
    One,
    Huge,
    /// Another one in every response, as of a proxy in front of many.
    Random,
    /// A fifth of the right one, or five times as much: another key's.
    Fifth,
    Fivefold,
}

/// What is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Remaining {
    #[default]
    Left,
    /// As it was at the response before.
    Behind,
    /// As it was at the first response.
    Stale,
    Missing,
    Zero,
    Full,
    Huge,
    Random,
    /// Another key's, which somebody uses up to the last every minute.
    Another,
}

/// The time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reset {
    /// Until all of it is there again.
    #[default]
    Full,
    /// Until the window ends, or its oldest request leaves it.
    End,
    Missing,
    Zero,
    Month,
}

impl Service {
    /// The headers of a response at this moment.
    pub(super) fn said(&mut self, now: f64, says: Says) -> RateLimits {
        let windows: [Window; KINDS] = std::array::from_fn(|which| self.window_said(now, says, which));
        let [requests, tokens, input_tokens, output_tokens] = windows;
        RateLimits { requests, tokens, input_tokens, output_tokens }
    }

    fn window_said(&mut self, now: f64, says: Says, which: usize) -> Window {
        let (rate, capacity, span) = (self.rates()[which], self.capacities()[which], self.span());
        if rate <= 0.0 {
            return Window::NONE;
        }
        let level = self.levels[which].max(0.0);
        let limit = match says.limit {
            Limit::Minute => Some(60.0 * rate),
            Limit::Window => Some(rate * span),
            Limit::Missing => None,
            Limit::One => Some(1.0),
            Limit::Huge => Some(9e18),
            Limit::Random => Some(self.random.random_range(1.0..600.0 * rate)),
            Limit::Fifth => Some(12.0 * rate),
            Limit::Fivefold => Some(300.0 * rate),
        };
        let of_minute = limit.unwrap_or(60.0 * rate);
        let remaining = match says.remaining {
            Remaining::Left => Some(level),
            Remaining::Behind => {
                self.said[which].rotate_left(1);
                self.said[which][1] = level;
                Some(self.said[which][0].min(capacity))
            }
            Remaining::Stale => {
                if self.said[which][0].is_infinite() {
                    self.said[which][0] = level;
                }
                Some(self.said[which][0])
            }
            Remaining::Missing => None,
            Remaining::Zero => Some(0.0),
            Remaining::Full => Some(capacity),
            Remaining::Huge => Some(9e18),
            Remaining::Random => Some(self.random.random_range(0.0..=capacity)),
            Remaining::Another => Some(of_minute * (1.0 - now % 60.0 / 60.0)),
        };
        let full = (capacity - level) / rate;
        let reset = match (says.reset, self.config.window > 0.0, self.config.sliding > 0.0) {
            (Reset::Missing, ..) => None,
            (Reset::Zero, ..) => Some(0.0),
            (Reset::Month, ..) => Some(31.0 * 86_400.0),
            (Reset::Full | Reset::End, true, _) => Some(span - now % span),
            (Reset::Full, _, true) => Some(self.admitted.back().map_or(0.0, |(at, _)| at + span - now)),
            (Reset::End, _, true) => Some(self.admitted.front().map_or(0.0, |(at, _)| at + span - now)),
            (Reset::Full, ..) => Some(full),
            (Reset::End, ..) => Some(full.min(1.0 / rate)),
        };
        Window {
            limit: limit.map(|limit| limit as u64),
            remaining: remaining.map(|remaining| remaining as u64),
            reset: reset.map(|reset| Duration::from_secs_f64(reset.max(0.0))),
        }
    }
}
