//! The class of a refusal: the order in which the providers' words count, and then the status.

use super::LimitHint;
use super::told::Told;
use super::words::{
    AUTH, AUTH_TEXT, CONTEXT, CONTEXT_TEXT, CONTEXT_TEXT_WITH_500, FILTERED, FILTERED_TEXT, LIMITED, LIMITED_WITH_403, MALFORMED,
    MALFORMED_TEXTS, MODEL_MISSING, MODEL_TEXT, MONEY, MONEY_TEXT, NO_CAPACITY, OUTPUT_TEXT, OVERLOADED, PATH_TEXT, PLACE_TEXT, QUOTA_TEXT,
    RATE_TEXT, SCHEMA_TEXT, THROTTLED, TIMEOUT, UNSUPPORTED_TEXT,
};
use crate::Class;

/// So much of a message is searched for words about the account: behind that may stand an echo of a row.
const ACCOUNT_CHARS: usize = 400;

/// The class of a refusal of this status, which is the one that counts inside a 200.
pub(super) fn class_of(status: u16, told: &Told, hint: Option<LimitHint>) -> Class {
    let says = |words: &[&str]| told.codes.iter().any(|code| words.contains(&code.as_str()));
    let upstream_says = |words: &[&str]| says(words) || told.provider_code.as_deref().is_some_and(|code| words.contains(&code));
    let reads = |texts: &[&str]| texts.iter().any(|text| told.text.contains(text));
    let head = told.text.char_indices().nth(ACCOUNT_CHARS).map_or(told.text.as_str(), |(end, _)| &told.text[..end]);
    let is_about_request = matches!(status, ..300 | 400 | 403 | 422 | 451 | 500);

    let is_rate = status == 429 && RATE_TEXT.is_match(head);
    if status == 402 || (!is_rate && (says(MONEY) || (!told.is_page && is_money_text(head, told)))) {
        return Class::MoneyGone;
    }
    if status == 401 || says(AUTH) || (matches!(status, ..300 | 400 | 403) && AUTH_TEXT.is_match(head)) {
        return Class::Auth;
    }
    if says(MODEL_MISSING) || (matches!(status, ..300 | 400 | 403 | 404) && MODEL_TEXT.is_match(head)) {
        return Class::ModelMissing;
    }
    if told.availability.as_ref().is_some_and(|availability| availability.retryable == Some(false)) {
        // Whatever the reason: asking again does not help.
        return Class::ModelMissing;
    }
    if is_no_way(status, told) {
        return Class::Unreachable;
    }
    if is_of_the_place(status, head) {
        return Class::Forbidden;
    }
    // GitHub and Google say so of a rate, others of a key or of what a row holds.
    if status == 403 && (says(LIMITED_WITH_403) || head.contains("rate limit") || RATE_TEXT.is_match(head)) {
        return Class::RateLimited;
    }
    // A page with this status is a firewall's, which has read what a row holds.
    let is_firewall = matches!(status, 403 | 406) && told.is_page;
    if upstream_says(FILTERED)
        || is_firewall
        || (status == 403 && told.moderated)
        || (is_about_request && FILTERED_TEXT.is_match(&told.text))
    {
        return Class::Filtered;
    }
    if upstream_says(CONTEXT)
        || (status == 500 && CONTEXT_TEXT_WITH_500.is_match(head))
        || (!matches!(status, 429 | 500..) && !says(&["string_above_max_length"]) && CONTEXT_TEXT.is_match(&told.text))
    {
        return Class::ContextTooLong;
    }
    let never_fits = hint.and_then(|hint| Some(hint.requested? > hint.limit));
    if matches!(status, 413 | 429) && never_fits.unwrap_or(status == 429 && told.text.contains("request too large")) {
        return Class::TooBigForQuota;
    }
    if upstream_says(NO_CAPACITY) || (status == 429 && told.text.contains("resource unavailable")) {
        return Class::NoCapacity;
    }
    if says(MALFORMED) || reads(MALFORMED_TEXTS) {
        return Class::Malformed;
    }
    if matches!(status, ..300 | 400 | 422) && is_too_large(&told.text) {
        return Class::PackTooLarge;
    }
    if says(OVERLOADED) {
        return Class::Overloaded;
    }
    if says(&["request_too_large", "string_above_max_length"]) {
        return Class::BodyTooLarge;
    }
    class_of_status(status, told)
}

fn class_of_status(status: u16, told: &Told) -> Class {
    match status {
        ..300 => class_of_words(told),
        403 => Class::Forbidden,
        404 | 410 => Class::ModelMissing,
        408 | 504 => Class::Timeout,
        413 => Class::BodyTooLarge,
        429 => Class::RateLimited,
        498 /* † Groq's flex tier */ => Class::NoCapacity,
        _ if is_throttled(told) => Class::RateLimited,
        // Conflict and too early: no fault of the request, the SDKs ask again.
        409 | 425 | 500.. => Class::Overloaded,
        _ => Class::BadRequest,
    }
}

/// The class of an error inside a 200 that names no status.
fn class_of_words(told: &Told) -> Class {
    let says = |words: &[&str]| told.codes.iter().any(|code| words.contains(&code.as_str()));
    // "qps" is Baidu's word for it.
    if says(LIMITED)
        || ["rate limit", "too many requests", "qps request limit"].iter().any(|words| told.text.contains(words))
        || is_throttled(told)
    {
        Class::RateLimited
    } else if says(TIMEOUT) {
        Class::Timeout
    } else if says(&["permission_error"]) {
        Class::Forbidden
    } else if says(&["not_found_error"]) {
        Class::ModelMissing
    } else if says(&["invalid_request_error", "badrequesterror", "base_resp:2013"]) {
        Class::BadRequest
    } else {
        Class::Overloaded
    }
}

fn is_money_text(head: &str, told: &Told) -> bool {
    // Google says so of a rate, and a thought has a budget, too.
    let is_rate = told.codes.iter().any(|code| code == "resource_exhausted") || head.contains("ai.google.dev");
    let is_quota = head.contains(QUOTA_TEXT) && head.contains("openai") && !is_rate;
    is_quota || (MONEY_TEXT.is_match(head) && !head.contains("thinking") && !head.contains("token budget"))
}

/// Whether the request went somewhere else than to the service.
fn is_no_way(status: u16, told: &Told) -> bool {
    match status {
        ..300 => told.is_page || PATH_TEXT.is_match(&told.text),
        300..400 | 407 | 495..498 | 511 => true,
        400 => {
            told.text.contains("plain http request was sent to https port")
                || told.text.contains("client sent an http request to an https server")
        }
        // Without a body nobody knows what is missing.
        404 => told.is_page || PATH_TEXT.is_match(&told.text),
        // Cloudflare, about an address or a client as such.
        403 => ["error code: 1006", "error code: 1007", "error code: 1008", "error code: 1009", "error code: 1010"]
            .iter()
            .any(|text| told.text.starts_with(text)),
        _ => false,
    }
}

/// Whether nobody is let in from where the request came from: Google says so with 400, OpenAI with 403.
pub(super) fn is_of_the_place(status: u16, text: &str) -> bool {
    matches!(status, 400 | 403) && PLACE_TEXT.is_match(text)
}

/// Whether a smaller pack is what would be taken.
fn is_too_large(text: &str) -> bool {
    !UNSUPPORTED_TEXT.is_match(text) && (OUTPUT_TEXT.is_match(text) || SCHEMA_TEXT.is_match(text))
}

/// Whether the words are a limit's, whatever the status is.
fn is_throttled(told: &Told) -> bool {
    told.codes.iter().any(|code| code.starts_with("throttling") || THROTTLED.contains(&code.as_str()))
}
