//! What a refusal means, from its status, headers and body.
//!
//! Providers agree on neither: a 429 can be a rate, a lack of capacity, a request that will never fit or an
//! empty account, and a 200 can hold an error. The body decides, then the status: `told` takes a body apart,
//! `words` holds what providers say, `class` the order in which it counts, `limits` reads which limit was met and how
//! long to wait, `hints` says what can be done.

mod class;
mod hints;
mod limits;
#[cfg(test)]
mod tests;
mod told;
mod words;

use std::time::Duration;

use chrono::{DateTime, Utc};
use regex::Regex;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::headers::{read_quota_reset, server_time};
use crate::{Class, Dimension, LimitHint, Per, read_rate_limits, read_retry_after};

use self::limits::{read_limit_hint, read_wait};
use self::told::Told;

/// Why a provider turned a request away.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The kind of failure.
    pub class: Class,
    /// The provider's words, on one line, at most about 300 characters, without secrets.
    pub message: String,
    /// What can be done about it, where that is known.
    pub hint: Option<String>,
    /// How long it asks to wait, at most a day.
    pub retry_after: Option<Duration>,
    /// The limit that was met, where the words tell.
    pub limit_hint: Option<LimitHint>,
    /// The field of the request that is not taken, where the words tell.
    pub parameter: Option<String>,
}

/// So much of an error's body is looked at.
pub(crate) const ERROR_BODY_BYTES: usize = 64 * 1_024;
const MESSAGE_CHARS: usize = 300;
/// In a message, where little is lost by cutting out too much.
pub(crate) const SHORTEST_SECRET: usize = 4;
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3_600);
/// A limit of the day that does not say when it is over is tried again after so long.
const DAY_LIMIT_WAIT: Duration = Duration::from_secs(3_600);

/// Says what a refusal means. `now` is our clock, for a `Retry-After` date in a response without a `Date`;
/// `secrets` are cut out of the message.
pub fn classify(status: u16, headers: &HeaderMap, body: &[u8], now: DateTime<Utc>, secrets: &[String]) -> Refusal {
    let body = String::from_utf8_lossy(&body[..body.len().min(ERROR_BODY_BYTES)]);
    match serde_json::from_str::<Value>(body.trim_start_matches('\u{feff}')) {
        Ok(json) => refusal(status, headers, &Told::from_json(&json), now, secrets),
        Err(_) => refusal(status, headers, &Told::from_text(&body), now, secrets),
    }
}

/// As [`classify`], of a body that has been read already.
pub(crate) fn classify_json(status: u16, headers: &HeaderMap, body: &Value, now: DateTime<Utc>, secrets: &[String]) -> Refusal {
    refusal(status, headers, &Told::from_json(body), now, secrets)
}

/// Whether a body without a choice says that something went wrong.
pub(crate) fn says_error(body: &Value) -> bool {
    let body = body.get(0).unwrap_or(body);
    told::error_in(body).is_some() || body.get("success") == Some(&Value::Bool(false)) || !Told::from_json(body).message.is_empty()
}

/// Cuts the secrets out of a text. What is shorter than `least` bytes is taken for none: local servers are
/// given keys like `none`, and a text has to survive those.
pub(crate) fn redact(text: String, secrets: &[String], least: usize) -> String {
    secrets
        .iter()
        .filter(|secret| secret.len() >= least)
        .fold(text, |text, secret| if text.contains(secret.as_str()) { text.replace(secret.as_str(), "[key]") } else { text })
}

/// One line of at most about 300 characters, without control characters and secrets.
pub(crate) fn one_line(text: &str, secrets: &[String]) -> String {
    let words: Vec<&str> = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect();
    let mut line = redact(words.join(" "), secrets, SHORTEST_SECRET);
    if let Some((end, _)) = line.char_indices().nth(MESSAGE_CHARS) {
        line.truncate(end);
        line.push('…');
    }
    line
}

fn refusal(status: u16, headers: &HeaderMap, told: &Told, now: DateTime<Utc>, secrets: &[String]) -> Refusal {
    let day_limit = told.day_limit;
    let limit_hint = day_limit.or_else(|| read_limit_hint(&told.text));
    let class = class::class_of(told.effective_status(status), told, limit_hint);
    let mut message = one_line(&told.message, secrets);
    if message.is_empty() {
        let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("no reason given");
        message = format!("HTTP {status} ({})", reason.to_lowercase());
    }
    if (300..400).contains(&status) {
        let place = headers.get("location").and_then(|place| place.to_str().ok()).unwrap_or_default();
        // Its query may hold a key.
        let place = one_line(place.split('?').next().unwrap_or_default(), secrets);
        let to = if place.is_empty() { String::new() } else { format!(" to `{place}`") };
        message.push_str(&format!("{to}; redirects are not followed, so `base_url` has to name where it leads"));
    }
    if let Some(hint) = day_limit.filter(|_| class.is_limit()) {
        let unit = if hint.dimension == Dimension::Tokens { "tokens" } else { "requests" };
        message.push_str(&format!(" (the limit of the day: {} {unit})", hint.limit));
    }
    let told_headers = told.headers.as_ref();
    // The clock of whoever answered is the one that moments are named by, also those that it hands on.
    let now = server_time(headers, now);
    let wait = read_retry_after(headers, now)
        .or_else(|| told.availability.as_ref()?.retry_after)
        .or(told.retry_after)
        .or_else(|| read_wait(&told.text))
        .or_else(|| read_retry_after(told_headers?, now))
        .or_else(|| read_rate_limits(headers, now).exhausted().filter(|_| class.is_limit()))
        .or_else(|| read_quota_reset(headers, now).filter(|_| class.is_limit()))
        .or_else(|| read_rate_limits(told_headers?, now).exhausted().filter(|_| class.is_limit()));
    // Who says "try again in two seconds" of a limit of the day means a limit of the minute.
    let least = day_limit.filter(|_| class.is_limit()).map(|_| DAY_LIMIT_WAIT);
    let retry_after = wait.max(least).map(|wait| wait.min(LONGEST_WAIT));
    let parameter = told.parameter();
    let hint = hints::hint(class, status, told, parameter.as_deref());
    Refusal { class, message, hint, retry_after, limit_hint, parameter }
}

/// A pattern of this module; the tests use each of them.
fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a pattern that compiles")
}
