//! The class of a refusal: the providers' words, and the order in which they count.
//!
//! Codes are compared as a whole, texts are searched. What is marked † is known from the providers' own pages, the rest
//! from `reference/providers.md` or from bodies in public issue trackers, of which `cases.toml` holds one of each kind.

use std::sync::LazyLock;

use regex::Regex;

use super::told::Told;
use super::{LimitHint, regex};
use crate::Class;

/// The account is empty or capped. `token_limit_exceeded` is the name of OpenRouter's key limit.
const MONEY: &[&str] = &[
    "insufficient_quota",
    "billing_hard_limit_reached",
    "billing_not_active",
    "organization_spend_limit_exceeded",
    "credit_balance_exhausted",
    "enforced_spend_limit_reached",
    "token_limit_exceeded",
    "billing_error",                // † Anthropic
    "exceeded_current_quota_error", // Moonshot
    "insufficient_balance",
    "insufficient_balance_error", // MiniMax
    "base_resp:1008",             // MiniMax, inside a 200
    "1113",                       // Zhipu
    "budget_exceeded",            // LiteLLM
    "arrearage",                  // Alibaba
    "allocationquota.freetieronly",
    "accountoverdueerror", // Volcano Engine
    "insufficient_user_quota",
    "pre_consume_token_quota_failed",
    "not_enough_balance", // Novita
    "insufficient_credits",
    "insufficient_funds",
    "payment_required",
];
static MONEY_TEXT: LazyLock<Regex> = LazyLock::new(|| {
    regex(concat!(
        r"\b(insufficient|not enough|lack of|out of|negative) (\w+ ){0,2}(balance|credits?|funds|quota)\b",
        r"|\b(no|used all) (\w+ )?(credits?|funds|balance)\b|(not|n't) have any (\w+ )?(credits?|funds|balance)\b",
        r"|\b(balance|credits?|funds) (\w+ ){0,3}(insufficient|not sufficient|too low|exhausted|depleted|used up|not enough)\b",
        r"|\bquota is (not enough|insufficient)\b",
        r"|\b(exceeded|reached) (\w+ ){0,4}(included credits|spending limit|spend limit|credit limit)\b|\bcredit limit exceeded",
        r"|\bbudget (\w+ ){0,3}exceeded\b|\bexceed(s|ed)?:? ?(\w+ ){0,3}budget\b|\bexceededbudget\b|\bover budget\b",
        r"|reached your specified api usage limits|credit balance is too low|account is not active|account is in good standing",
        r"|failure to pay|overdue (payment|balance|bill)|top[- ]up your|please recharge|can only afford|requires more credits",
        r"|free tier of the model has been exhausted|余额不足|欠费|额度不足"
    ))
});
/// What is said of a rate, whatever it is called beside that: quotas are of money, and of requests at a time.
static RATE_TEXT: LazyLock<Regex> =
    LazyLock::new(|| regex(r"\bconcurren(t|cy)\b|\b(requests?|tokens?) per (second|minute|hour)\b|\btoo many requests\b"));
/// OpenAI's words for an empty account, which Google uses for a rate.
const QUOTA_TEXT: &str = "exceeded your current quota, please check your plan and billing details";

const AUTH: &[&str] = &[
    "authentication_error",
    "invalid_api_key",
    "api_key_invalid", // Google
    "unauthenticated",
    "invalid_authentication_error", // Moonshot
    "token_not_found_in_db",        // LiteLLM
    "invalidapikey",                // Alibaba
    "account_deactivated",
    "base_resp:1004",
    "base_resp:2049",
];
static AUTH_TEXT: LazyLock<Regex> = LazyLock::new(|| {
    regex(concat!(
        r"\b(invalid|incorrect|wrong|missing|expired|no) (\w+ ){0,2}(api[ _-]?key|access token|authentication|authorization|credentials)\b",
        r"|\b(api[ _-]?key|access token|subscription key) (\w+ ){0,3}(not valid|invalid|expired|missing|incorrect|revoked|disabled)\b"
    ))
});

const MODEL_MISSING: &[&str] = &[
    "model_not_found",
    "no_endpoints",
    "model_deprecated",
    "model_decommissioned", // Groq
    "model_unavailable_upstream",
    "free_variant_ended",
    "constraint_filtered",
    "privacy_restricted",
    "invalid_model",       // † Mistral, with 400
    "model_not_supported", // Hugging Face
    "model_not_available", // Together
    "deploymentnotfound",  // Azure
    "20012",               // SiliconFlow
    "1211",                // Zhipu
];
static MODEL_TEXT: LazyLock<Regex> = LazyLock::new(|| {
    regex(concat!(
        r"is not a valid model id", // † OpenRouter
        r"|\bmodel (\S+ ){0,3}(not exist|does not exist|not found|decommissioned|is not supported by any provider)\b",
        r"|\binvalid model name passed|\bnot found the model\b|model identifier is invalid|access to the model with the specified model id"
    ))
});

/// What stands at a path, if not the interface that was asked for.
static PATH_TEXT: LazyLock<Regex> = LazyLock::new(|| {
    regex(concat!(
        r"^(404 )?(page )?not found$|^404 page not found|^cannot post |^resource not found$|unexpected endpoint|no such endpoint|unknown endpoint",
        r"|invalid url \(post|unknown_url|no route matched|route (\S+ )?not found|no handler found|path (\S+ )?not found|404 not found"
    ))
});

const FILTERED: &[&str] = &[
    "content_filter",
    "content_policy_violation",
    "contentpolicyviolationerror",
    "responsibleaipolicyviolation",
    "refusal",
    "data_inspection_failed", // Alibaba
    "datainspectionfailed",
    "invalid_prompt",           // OpenAI
    "sensitive_words_detected", // New API
    "prohibited_content",
    "moderation_blocked",
    "1301", // Zhipu
    "base_resp:1026",
    "base_resp:1027",
];
static FILTERED_TEXT: LazyLock<Regex> = LazyLock::new(|| {
    regex(concat!(
        r"content exists risk|content (management )?polic(y|ies)|content filter|usage polic(y|ies)|safety system|considered high risk",
        r"|inappropriate content|inappropriate\b.{0,20}(input|prompt)|not appropriate|new_sensitive|sensitive[ _](words?|content|information)",
        r"|\b(prompt|input|request|output|response|content|message)s? (\w+ ){0,2}(was |were |is |has been |been )?(blocked|flagged|moderated)\b",
        r"|guardrail|content moderation|harmful content|敏感|违规内容|不当内容"
    ))
});

const CONTEXT: &[&str] = &[
    "context_length_exceeded",
    "exceed_context_size_error",
    "contextwindowexceedederror", // LiteLLM
    "context_window_exceeded",
    "model_context_window_exceeded",
    "1261", // Zhipu
];
static CONTEXT_TEXT: LazyLock<Regex> = LazyLock::new(|| {
    regex(concat!(
        r"maximum context length|exceeds the available context size|context size has been exceeded|exceed context limit|longer than the (model's )?context length",
        r"|input tokens exceed the configured limit|exceeds the maximum number of tokens allowed|prompt is too long",
        r"|too large for model with|exceeds the context window|contextwindowexceeded|(input|prompt) is too long",
        r"|range of input length should be|input length should be|number of tokens in the prompt cannot exceed",
        r"|max_(completion_)?tokens must be at least 1, got -",
        r"|current length is .*while limit is |maximum input length is .* tokens"
    ))
});

/// The words of llama.cpp and Ollama, which have no better status for it. Others break in the middle of saying so.
static CONTEXT_TEXT_WITH_500: LazyLock<Regex> = LazyLock::new(|| {
    regex(r"context size has been exceeded|exceeds the available context size|input length exceeds the (maximum )?context length")
});

/// The bound of the output, and that it is too high.
static OUTPUT_TEXT: LazyLock<Regex> = LazyLock::new(|| {
    regex(concat!(
        r"(?s)(max_tokens|max_completion_tokens|max_output_tokens|max_new_tokens|maxtokens|maximum tokens you requested|output tokens)\b",
        r".*(too large|too high|exceed|greater than|less than or equal|smaller than|at most|range|should be \[|must be between|up to|maximum allowed|> ?\d|<= ?\d|cannot be (more|greater))"
    ))
});
/// The schema, and that it is too large.
static SCHEMA_TEXT: LazyLock<Regex> = LazyLock::new(|| {
    regex(concat!(
        r"(?s)(schema|grammar|response_format|object properties|enum values)\b",
        r".*(too (many|large|complex|big|deep|long)|exceed|at most|maximum|upper limit|complexity)"
    ))
});
static UNSUPPORTED_TEXT: LazyLock<Regex> =
    LazyLock::new(|| regex(r"unsupported|not supported|unknown|unrecogni[sz]ed|not permitted|at least 1\b|not allowed with"));

/// What was generated does not have the shape that the host holds it against: llama.cpp with 500, Groq with 400.
const MALFORMED: &[&str] = &["json_validate_failed", "output_parse_failed", "tool_use_failed"];
const MALFORMED_TEXTS: &[&str] = &[
    "model produced output that does not match the expected",
    "failed to generate json",
    "model generated output that could not be parsed",
];

const NO_CAPACITY: &[&str] = &[
    "service_tier_capacity_exceeded",
    "3505",
    "capacity_exhausted",
    "resource_unavailable", // † OpenAI's flex tier
];
const OVERLOADED: &[&str] =
    &["overloaded_error", "temporarily_unavailable", "provider_overloaded", "provider_unavailable", "base_resp:1013"];
const LIMITED: &[&str] = &[
    "rate_limit_exceeded",
    "rate_limit_error",
    "rate_limited",
    "rate_limit_reached_error", // Moonshot
    "resource_exhausted",       // Google
    "too_many_requests",
    "1300",
    "1302", // Zhipu
    "1303",
    "1305",
    "base_resp:1002",
    "base_resp:1039",
    "base_resp:1041",
];
/// With the status of something forbidden.
const LIMITED_WITH_403: &[&str] = &["ratelimitexceeded", "userratelimitexceeded", "rate_limit_exceeded", "rate_limited"];
const TIMEOUT: &[&str] = &["timeout", "timeout_error", "request_timeout", "gateway_timeout", "base_resp:1001"];
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
    if says(&["request_too_large"]) {
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
    if says(LIMITED) || is_throttled(told) || told.text.contains("rate limit") || told.text.contains("too many requests") {
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

/// Whether a smaller pack is what would be taken.
fn is_too_large(text: &str) -> bool {
    !UNSUPPORTED_TEXT.is_match(text) && (OUTPUT_TEXT.is_match(text) || SCHEMA_TEXT.is_match(text))
}

fn is_throttled(told: &Told) -> bool {
    told.codes.iter().any(|code| code.starts_with("throttling"))
}
