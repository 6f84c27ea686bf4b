//! Limits that providers announce in response headers, in their several dialects; the times in them are read in `waits`.
//!
//! Everything here is a pure function of the headers and the time. What is not understood is left out: a
//! limit that is read wrongly is worse than one that is not known.

mod waits;

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::HeaderMap;

use crate::{RateLimits, Window};

use self::waits::parse_reset;
pub use self::waits::read_retry_after;
pub(crate) use self::waits::{parse_delay, parse_duration, read_quota_reset, server_time};

/// Reads the limits out of a response's headers: those of OpenAI, Azure, Anthropic, Mistral, Groq, Cerebras
/// and OpenRouter. `now` is our clock; the response's own `Date` is preferred where a header names a moment.
pub fn read_rate_limits(headers: &HeaderMap, now: DateTime<Utc>) -> RateLimits {
    let mut drafts = [[Draft::default(); SPANS]; COUNTERS];
    let mut clock = None;
    for (name, value) in headers {
        let Some((part, counter, span)) = parse_name(name.as_str()) else { continue };
        let Ok(value) = value.to_str() else { continue };
        let draft = &mut drafts[counter as usize][span as usize];
        match part {
            Part::Limit => draft.limit = parse_count(value),
            Part::Remaining => draft.remaining = parse_count(value),
            Part::Reset => draft.reset = parse_reset(value, *clock.get_or_insert_with(|| server_time(headers, now))),
        }
    }
    let [requests, tokens, input_tokens, output_tokens] = drafts.map(|spans| binding(&spans));
    RateLimits { requests, tokens, input_tokens, output_tokens }
}

/// Which number of a limit a header holds.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Limit,
    Remaining,
    Reset,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Counter {
    Requests,
    Tokens,
    InputTokens,
    OutputTokens,
}
const COUNTERS: usize = 4;

/// Over how long it is counted, shortest first.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Span {
    Second,
    Minute,
    Hour,
    Day,
    Month,
    /// A header without a word for it and without the habit of a minute (OpenRouter).
    Unsaid,
}
const SPANS: usize = 6;

#[derive(Clone, Copy, Debug, Default)]
struct Draft {
    /// Zero and less stand for "unknown" at Azure, so the sign is kept until all parts are read.
    limit: Option<i64>,
    remaining: Option<i64>,
    reset: Option<Duration>,
}

/// Takes a header's name apart; names arrive in lower case.
fn parse_name(name: &str) -> Option<(Part, Counter, Span)> {
    if let Some(rest) = name.strip_prefix("anthropic-ratelimit-") {
        let (counter, part) = rest.rsplit_once('-')?;
        let counter = match counter {
            "requests" => Counter::Requests,
            "tokens" => Counter::Tokens,
            "input-tokens" => Counter::InputTokens,
            "output-tokens" => Counter::OutputTokens,
            _ => return None,
        };
        return Some((parse_part(part)?, counter, Span::Minute));
    }
    let mut words = name.strip_prefix("x-ratelimit-")?.split('-');
    let part = parse_part(words.next()?)?;
    let counter = match words.next() {
        None => return Some((part, Counter::Requests, Span::Unsaid)),
        Some("requests" | "req") => Counter::Requests,
        Some("tokens") => Counter::Tokens,
        Some(_) => return None,
    };
    let span = match words.next() {
        None | Some("minute") => Span::Minute,
        Some("second") => Span::Second,
        Some("hour") => Span::Hour,
        Some("day") => Span::Day,
        Some("month") => Span::Month,
        Some(_) => return None,
    };
    words.next().is_none().then_some((part, counter, span))
}

fn parse_part(word: &str) -> Option<Part> {
    match word {
        "limit" => Some(Part::Limit),
        "remaining" => Some(Part::Remaining),
        "reset" => Some(Part::Reset),
        _ => None,
    }
}

fn parse_count(value: &str) -> Option<i64> {
    let value = value.trim();
    let whole = || value.parse::<f64>().ok().filter(|number| number.abs() < 9e18).map(|number| number as i64);
    value.parse().ok().or_else(whole)
}

/// The window to go by: a longer one if it is used up, else the shortest that says anything.
fn binding(spans: &[Draft; SPANS]) -> Window {
    let longer = [Span::Month, Span::Day, Span::Hour, Span::Unsaid].map(|span| (span, spans[span as usize].remaining()));
    let used_up = longer.iter().find(|(_, remaining)| *remaining == Some(0)).map(|(span, _)| *span);
    let shortest = || {
        [Span::Minute, Span::Second, Span::Unsaid, Span::Hour, Span::Day, Span::Month].into_iter().find(|span| {
            let draft = &spans[*span as usize];
            draft.limit().is_some() || draft.remaining().is_some()
        })
    };
    let Some(span) = used_up.or_else(shortest) else { return Window::NONE };
    let draft = &spans[span as usize];
    // The pace stays that of the minute while a longer window is what holds requests up.
    let minute = || spans[Span::Minute as usize].limit();
    let limit = minute().or_else(|| spans[Span::Second as usize].limit()?.checked_mul(60));
    Window { limit, remaining: draft.remaining(), reset: draft.reset }
}

impl Draft {
    fn limit(&self) -> Option<u64> {
        self.limit.filter(|limit| *limit > 0).map(i64::unsigned_abs)
    }

    /// Nothing left of a limit that is announced as unknown is unknown too.
    fn remaining(&self) -> Option<u64> {
        let unknown = self.limit.is_some_and(|limit| limit <= 0);
        self.remaining.filter(|remaining| *remaining > 0 || (*remaining == 0 && !unknown)).map(i64::unsigned_abs)
    }
}

#[cfg(test)]
mod tests;
