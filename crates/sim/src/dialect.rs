//! The words in which limits are told: headers on every response, and the body of a refusal.
//!
//! Three providers' ways; which limit was met, and by how much, is decided in `limits`.

use crate::config::{Dialect, Limits, RetryAfter};
use crate::meter::{Limit, Refusal, Standing};
use crate::outcome::Outcome;
use crate::reply::openai_error;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue, RETRY_AFTER};

/// Adds the headers that tell how much of the limits is left. `weight` is what this request cost in tokens.
pub(crate) fn push_standing(
    headers: &mut HeaderMap,
    dialect: Dialect,
    (requests, tokens): (Option<Standing>, Option<Standing>),
    weight: u64,
) {
    let mut put = |name: &'static str, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    match dialect {
        Dialect::OpenAi => {
            if let Some(requests) = requests {
                put("x-ratelimit-limit-requests", requests.allowed.to_string());
                put("x-ratelimit-remaining-requests", requests.remaining.to_string());
                put("x-ratelimit-reset-requests", duration(requests.reset));
            }
            if let Some(tokens) = tokens {
                put("x-ratelimit-limit-tokens", tokens.allowed.to_string());
                put("x-ratelimit-remaining-tokens", tokens.remaining.to_string());
                put("x-ratelimit-reset-tokens", duration(tokens.reset));
            }
        }
        Dialect::Mistral => {
            if let Some(requests) = requests {
                put("x-ratelimit-limit-req-minute", requests.allowed.to_string());
                put("x-ratelimit-remaining-req-minute", requests.remaining.to_string());
            }
            if let Some(tokens) = tokens {
                put("x-ratelimit-limit-tokens-minute", tokens.allowed.to_string());
                put("x-ratelimit-remaining-tokens-minute", tokens.remaining.to_string());
                put("x-ratelimit-tokens-query-cost", weight.to_string());
            }
        }
        Dialect::Anthropic => {
            let full_at = |standing: Standing| after(standing.reset).to_rfc3339_opts(SecondsFormat::Secs, true);
            if let Some(requests) = requests {
                put("anthropic-ratelimit-requests-limit", requests.allowed.to_string());
                put("anthropic-ratelimit-requests-remaining", requests.remaining.to_string());
                put("anthropic-ratelimit-requests-reset", full_at(requests));
            }
            if let Some(tokens) = tokens {
                put("anthropic-ratelimit-tokens-limit", tokens.allowed.to_string());
                put("anthropic-ratelimit-tokens-remaining", tokens.remaining.to_string());
                put("anthropic-ratelimit-tokens-reset", full_at(tokens));
            }
        }
    }
}

/// Adds the header that says when to come back, as the settings will have it; `wait` is the true time in seconds.
pub(crate) fn push_retry_after(headers: &mut HeaderMap, limits: &Limits, wait: f64) {
    let wait = limits.retry_after_ms.map_or(wait, |ms| ms / 1_000.0).max(0.0);
    let (name, value) = match limits.retry_after {
        RetryAfter::None => return,
        RetryAfter::Seconds => (RETRY_AFTER, format!("{}", wait.ceil())),
        RetryAfter::Float => (RETRY_AFTER, format!("{}", (wait * 1_000.0).ceil() / 1_000.0)),
        // Dates have whole seconds; rounding up keeps the promise.
        RetryAfter::HttpDate => (RETRY_AFTER, after(wait + 0.999).format("%a, %d %b %Y %H:%M:%S GMT").to_string()),
        RetryAfter::Milliseconds => (HeaderName::from_static("retry-after-ms"), format!("{}", (wait * 1_000.0).ceil())),
    };
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

/// The body of a 429, and how it is booked.
pub(crate) fn refusal_body(dialect: Dialect, refusal: &Refusal, model: &str) -> (String, Outcome) {
    let Refusal { limit, allowed, used, requested, wait } = *refusal;
    let outcome = match limit {
        Limit::InFlight => Outcome::RefusedInFlight,
        Limit::Requests => Outcome::RefusedRpm,
        Limit::Tokens => Outcome::RefusedTpm,
        Limit::RequestSize => Outcome::RefusedTooLarge,
    };
    let body = match (dialect, limit) {
        // Hosted services do not say that it was the number of requests in flight.
        (Dialect::OpenAi, Limit::InFlight) => {
            openai_error("Rate limit reached for requests", "rate_limit_error", None, Some("rate_limit_exceeded"))
        }
        (Dialect::OpenAi, Limit::RequestSize) => {
            let message = format!(
                "Request too large for {model} in organization org-sim on tokens per min (TPM): Limit {allowed}, Requested {requested}. The input or output tokens must be reduced in order to run successfully. Visit https://platform.openai.com/account/rate-limits to learn more."
            );
            openai_error(&message, "tokens", None, Some("rate_limit_exceeded"))
        }
        (Dialect::OpenAi, Limit::Requests | Limit::Tokens) => {
            let (unit, short, kind) =
                if limit == Limit::Requests { ("requests", "RPM", "requests") } else { ("tokens", "TPM", "tokens") };
            let message = format!(
                "Rate limit reached for {model} in organization org-sim on {unit} per min ({short}): Limit {allowed}, Used {used}, Requested {requested}. Please try again in {}. Visit https://platform.openai.com/account/rate-limits to learn more.",
                duration(wait)
            );
            openai_error(&message, kind, None, Some("rate_limit_exceeded"))
        }
        (Dialect::Mistral, Limit::InFlight) => {
            r#"{"object":"error","message":"Service tier capacity exceeded for this model.","type":"service_tier_capacity_exceeded","param":null,"code":"3505"}"#.to_owned()
        }
        (Dialect::Mistral, Limit::Requests) => r#"{"message":"Requests rate limit exceeded"}"#.to_owned(),
        (Dialect::Mistral, _) => {
            r#"{"object":"error","message":"Rate limit exceeded","type":"rate_limited","param":null,"code":"1300","raw_status_code":429}"#.to_owned()
        }
        (Dialect::Anthropic, limit) => {
            let message = match limit {
                Limit::InFlight => "Number of concurrent connections has exceeded your rate limit. Please try again later or contact sales.".to_owned(),
                Limit::Requests => format!("This request would exceed your organization's rate limit of {allowed} requests per minute"),
                _ => format!("This request would exceed your organization's rate limit of {allowed} tokens per minute"),
            };
            format!(r#"{{"type":"error","error":{{"type":"rate_limit_error","message":"{message}"}},"request_id":null}}"#)
        }
    };
    (body, outcome)
}

fn after(seconds: f64) -> DateTime<Utc> {
    Utc::now() + TimeDelta::milliseconds((seconds.clamp(0.0, 1e9) * 1_000.0) as i64)
}

/// Seconds as OpenAI writes them: `12ms`, `1.5s`, `6m0s`, `1h2m3.5s`.
fn duration(seconds: f64) -> String {
    let ms = (seconds.clamp(0.0, 1e9) * 1_000.0).ceil() as u64;
    if ms < 1_000 {
        return format!("{ms}ms");
    }
    let (hours, minutes, ms) = (ms / 3_600_000, ms / 60_000 % 60, ms % 60_000);
    let rest = format!("{}s", ms as f64 / 1_000.0);
    match (hours, minutes) {
        (0, 0) => rest,
        (0, _) => format!("{minutes}m{rest}"),
        _ => format!("{hours}h{minutes}m{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(limit: Limit) -> Refusal {
        Refusal { limit, allowed: 200_000, used: 195_869, requested: 4_412, wait: 0.084 }
    }

    #[test]
    fn durations_are_written_as_openai_writes_them() {
        for (seconds, text) in [(0.0, "0ms"), (0.0115, "12ms"), (1.0, "1s"), (1.5, "1.5s"), (360.0, "6m0s"), (3_723.5, "1h2m3.5s")] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn openai_names_limit_used_and_requested() {
        let (body, outcome) = refusal_body(Dialect::OpenAi, &refusal(Limit::Tokens), "m");
        assert!(body.contains("on tokens per min (TPM): Limit 200000, Used 195869, Requested 4412. Please try again in 84ms."));
        assert_eq!(outcome, Outcome::RefusedTpm);
        let (body, _) = refusal_body(Dialect::OpenAi, &refusal(Limit::RequestSize), "m");
        assert!(body.contains("Request too large") && body.contains("Limit 200000, Requested 4412."));
        let (body, _) = refusal_body(Dialect::OpenAi, &refusal(Limit::InFlight), "m");
        assert!(!body.contains("per min"), "the cap is not told: {body}");
    }

    #[test]
    fn every_refusal_is_json() {
        for dialect in [Dialect::OpenAi, Dialect::Mistral, Dialect::Anthropic] {
            for limit in [Limit::InFlight, Limit::Requests, Limit::Tokens, Limit::RequestSize] {
                let (body, _) = refusal_body(dialect, &refusal(limit), "a \"model\"");
                assert!(serde_json::from_str::<serde_json::Value>(&body).is_ok(), "{body}");
            }
        }
    }

    #[test]
    fn retry_after_takes_every_form() {
        let value = |retry_after, retry_after_ms, name: &str| {
            let mut headers = HeaderMap::new();
            let limits = Limits { retry_after, retry_after_ms, ..Limits::default() };
            push_retry_after(&mut headers, &limits, 1.2344);
            headers.get(name).map(|value| value.to_str().expect("ascii").to_owned())
        };
        assert_eq!(value(RetryAfter::None, None, "retry-after"), None);
        assert_eq!(value(RetryAfter::Seconds, None, "retry-after").as_deref(), Some("2"));
        assert_eq!(value(RetryAfter::Float, None, "retry-after").as_deref(), Some("1.235"));
        assert_eq!(value(RetryAfter::Float, Some(100.0), "retry-after").as_deref(), Some("0.1"));
        assert_eq!(value(RetryAfter::Milliseconds, None, "retry-after-ms").as_deref(), Some("1235"));
        let date = value(RetryAfter::HttpDate, Some(5_000.0), "retry-after").expect("a date");
        let date = DateTime::parse_from_rfc2822(&date).expect("an HTTP date");
        let ahead = (date.to_utc() - Utc::now()).num_milliseconds();
        assert!((4_000..=6_000).contains(&ahead), "{ahead}");
    }
}
