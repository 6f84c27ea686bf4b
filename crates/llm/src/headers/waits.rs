//! Times in headers: how long to wait, until when, and by whose clock.
//!
//! A moment is counted from the response's own `Date`, so that it does not matter whether our clock is right.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// Longer than any window, so that a strange number cannot stop a run for ever.
pub(super) const LONGEST_RESET: Duration = Duration::from_secs(31 * 24 * 3_600);
pub(super) const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 3_600);

/// How long the provider asks to wait: `retry-after-ms` before `retry-after`, at most a day. A moment is
/// counted from the response's own `Date` (from `now` without one), whatever our clock says.
pub fn read_retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let wait = longest(headers, "retry-after-ms", |text| parse_delay(text, 1e-3))
        .or_else(|| longest(headers, RETRY_AFTER.as_str(), |text| parse_wait(text, server_time(headers, now))))?;
    Some(wait.min(LONGEST_RETRY_AFTER))
}

/// How long until a used-up quota is full again, in the fields of the IETF's drafts: `ratelimit: "default";r=0;t=8`, in an older
/// one `limit=10, remaining=0, reset=8`, and before that in fields of their own.
pub(crate) fn read_quota_reset(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let now = server_time(headers, now);
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let is_used_up = |left: Option<&str>| left.is_none_or(|left| left.parse() == Ok(0.0));
    let quotas = headers.get_all("ratelimit").into_iter().filter_map(|value| value.to_str().ok());
    // Quotas stand side by side in one line, as the parts of the one quota of the older form do.
    let quotas = quotas.flat_map(|line| if line.contains("reset=") { vec![line] } else { line.split(',').collect() });
    let resets = quotas.filter_map(|quota| {
        let part = |names: [&str; 2]| {
            let mut parts = quota.split([';', ',']).filter_map(|part| part.trim().split_once('='));
            parts.find(|(name, _)| names.contains(name)).map(|(_, value)| value)
        };
        parse_reset(part(["t", "reset"])?, now).filter(|_| is_used_up(part(["r", "remaining"])))
    });
    resets.max().or_else(|| parse_reset(text("ratelimit-reset")?, now).filter(|_| is_used_up(text("ratelimit-remaining"))))
}

/// The longest of the waits that a header names, should it stand there more than once, be it as a list in one line.
fn longest(headers: &HeaderMap, name: &str, read: impl Fn(&str) -> Option<Duration>) -> Option<Duration> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    let waits = values.filter_map(|value| read(value.trim()).or_else(|| value.split(',').filter_map(|part| read(part.trim())).max()));
    waits.max()
}

/// Seconds, or the moment until which to wait, as HTTP writes it or as an epoch.
fn parse_wait(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    let delay = parse_delay(text, 1.0);
    let moment = || Some((parse_http_date(text)? - now).to_std().unwrap_or_default());
    match text.parse() {
        Ok(number) if delay.is_some() && number >= EPOCH => Some(since_epoch(number, now)),
        _ => delay.or_else(moment),
    }
}

/// A delay as RFC 9110 has it, with or without a fraction: nothing but digits. A number with an exponent or in another base is
/// none, and neither is one below zero. With a unit it is a duration.
pub(crate) fn parse_delay(text: &str, unit: f64) -> Option<Duration> {
    let is_plain = text.starts_with(|c: char| c.is_ascii_digit()) && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if !is_plain {
        return parse_duration(text);
    }
    let number: f64 = text.parse().ok()?;
    Some(Duration::try_from_secs_f64(number * unit).unwrap_or(LONGEST_RESET))
}

/// Nobody waits so many seconds: from here on a number is a moment.
const EPOCH: f64 = 1e9;

/// How long until a moment, an epoch in seconds, or in milli-, micro- or nanoseconds.
fn since_epoch(number: f64, now: DateTime<Utc>) -> Duration {
    let of_a_second = match number {
        _ if number < 1e11 => 1.0,
        _ if number < 1e14 => 1e3,
        _ if number < 1e17 => 1e6,
        _ => 1e9,
    };
    let epoch = now.timestamp_millis() as f64 / 1e3;
    Duration::try_from_secs_f64((number / of_a_second - epoch).max(0.0)).unwrap_or(LONGEST_RESET)
}

/// Reads the time until a limit is full: a duration (`12ms`, `6m0s`, `1h2m3.5s`), seconds, an epoch in seconds
/// or smaller units, or a date. `None` for what is negative or none of these.
pub(super) fn parse_reset(value: &str, now: DateTime<Utc>) -> Option<Duration> {
    let value = value.trim();
    let reset = if let Ok(number) = value.parse::<f64>() {
        if !number.is_finite() || number < 0.0 {
            return None;
        }
        if number >= EPOCH { since_epoch(number, now) } else { Duration::from_secs_f64(number) }
    } else if let Some(duration) = parse_duration(value) {
        duration
    } else {
        let date = DateTime::parse_from_rfc3339(value).map(|date| date.to_utc()).ok();
        (date.or_else(|| parse_http_date(value))? - now).to_std().unwrap_or_default()
    };
    Some(reset.min(LONGEST_RESET))
}

/// Reads a duration in Go's form: numbers with units, largest first, nothing between them.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let (mut rest, mut seconds) = (text, 0.0_f64);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number = rest[..digits].parse::<f64>().ok()?;
        let unit_and_rest = &rest[digits..];
        let unit_length = unit_and_rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(unit_and_rest.len());
        let (unit, after) = unit_and_rest.split_at(unit_length);
        seconds += number
            * match unit {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3_600.0,
                "d" => 86_400.0,
                _ => return None,
            };
        rest = after;
    }
    if text.is_empty() { None } else { Duration::try_from_secs_f64(seconds).ok() }
}

/// Reads a date as HTTP writes them: the form in use and the two that RFC 9110 still accepts.
fn parse_http_date(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(date) = DateTime::parse_from_rfc2822(text) {
        return Some(date.to_utc());
    }
    ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
        .map(|date| date.and_utc())
}

/// The server's clock when it sent the response.
pub(crate) fn server_time(headers: &HeaderMap, now: DateTime<Utc>) -> DateTime<Utc> {
    headers.get(DATE).and_then(|date| parse_http_date(date.to_str().ok()?)).unwrap_or(now)
}
