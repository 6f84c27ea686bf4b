//! The providers' words.
//!
//! Codes are compared as a whole, texts are searched. What is marked † is known from the providers' own pages, the rest
//! from bodies in public issue trackers, of which `cases.toml` holds one of each kind.

use std::sync::LazyLock;

use regex::Regex;

use super::regex;

/// The account is empty or capped. `token_limit_exceeded` is the name of OpenRouter's key limit.
pub(super) const MONEY: &[&str] = &[
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
pub(super) static MONEY_TEXT: LazyLock<Regex> = LazyLock::new(|| {
    regex(concat!(
        r"\b(insufficient|not enough|lack of|out of|negative) (\w+ ){0,2}(balance|credits?|funds|quota)\b",
        r"|\b(no|used all) (\w+ )?(credits?|funds|balance)\b|(not|n't) have any (\w+ )?(credits?|funds|balance)\b",
        r"|\b(balance|credits?|funds) (\w+ ){0,3}(insufficient|not sufficient|too low|exhausted|depleted|used up|not enough)\b",
        r"|\bquota is (not enough|insufficient)\b",
        r"|\b(exceeded|reached) (\w+ ){0,4}(included credits|spending limit|spend limit|credit limit)\b|\bcredit limit exceeded",
        r"|\bbudget (\w+ ){0,3}exceeded\b|\bexceed(s|ed)?:? ?(\w+ ){0,3}budget\b|\bexceededbudget\b|\bover budget\b",
        r"|reached your specified api usage limits|credit balance is too low|account is not active|account is in good standing",
        r"|failure to pay|overdue (payment|balance|bill)|top[- ]up your|please recharge|can only afford|requires more credits",
        r"|free tier of the model has been exhausted|余额不足|欠费|额度不足",
        // OpenRouter and Mistral, with 403 and 401.
        r"|\bkey limit exceeded\b|\binactive subscription\b"
    ))
});
/// What is said of a rate, whatever it is called beside that: quotas are of money, and of requests at a time.
pub(super) static RATE_TEXT: LazyLock<Regex> =
    LazyLock::new(|| regex(r"\bconcurren(t|cy)\b|\b(requests?|tokens?) per (second|minute|hour)\b|\btoo many requests\b"));
/// OpenAI's words for an empty account, which Google uses for a rate.
pub(super) const QUOTA_TEXT: &str = "exceeded your current quota, please check your plan and billing details";

pub(super) const AUTH: &[&str] = &[
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
/// About where the key or whoever holds it is.
pub(super) static PLACE_TEXT: LazyLock<Regex> =
    LazyLock::new(|| regex(r"\b(location|country|region|territory)\b[^.]{0,40}\bnot (currently )?(supported|available|allowed)\b"));
pub(super) static AUTH_TEXT: LazyLock<Regex> = LazyLock::new(|| {
    regex(concat!(
        r"\b(invalid|incorrect|wrong|missing|expired|no) (\w+ ){0,2}(api[ _-]?key|access token|authentication|authorization|credentials)\b",
        r"|\b(api[ _-]?key|access token|subscription key) (\w+ ){0,3}(not valid|invalid|expired|missing|incorrect|revoked|disabled)\b"
    ))
});

pub(super) const MODEL_MISSING: &[&str] = &[
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
pub(super) static MODEL_TEXT: LazyLock<Regex> = LazyLock::new(|| {
    regex(concat!(
        r"is not a valid model id", // † OpenRouter
        r"|\bmodel (\S+ ){0,3}(not exist|does not exist|not found|decommissioned|is not supported by any provider)\b",
        r"|\binvalid model name passed|\bnot found the model\b|model identifier is invalid|access to the model with the specified model id"
    ))
});

/// What stands at a path, if not the interface that was asked for.
pub(super) static PATH_TEXT: LazyLock<Regex> = LazyLock::new(|| {
    regex(concat!(
        r"^(404 )?(page )?not found$|^404 page not found|^cannot post |^resource not found$|unexpected endpoint|no such endpoint|unknown endpoint",
        r"|invalid url \(post|unknown_url|no route matched|route (\S+ )?not found|no handler found|path (\S+ )?not found|404 not found"
    ))
});

pub(super) const FILTERED: &[&str] = &[
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
pub(super) static FILTERED_TEXT: LazyLock<Regex> = LazyLock::new(|| {
    regex(concat!(
        r"content exists risk|content (management )?polic(y|ies)|content filter|usage polic(y|ies)|safety system|considered high risk",
        r"|inappropriate content|inappropriate\b.{0,20}(input|prompt)|not appropriate|new_sensitive|sensitive[ _](words?|content|information)",
        r"|\b(prompt|input|request|output|response|content|message)s? (\w+ ){0,2}(was |were |is |has been |been )?(blocked|flagged|moderated)\b",
        r"|guardrail|content moderation|harmful content|敏感|违规内容|不当内容"
    ))
});

pub(super) const CONTEXT: &[&str] = &[
    "context_length_exceeded",
    "exceed_context_size_error",
    "contextwindowexceedederror", // LiteLLM
    "context_window_exceeded",
    "model_context_window_exceeded",
    "1261", // Zhipu
];
pub(super) static CONTEXT_TEXT: LazyLock<Regex> = LazyLock::new(|| {
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
pub(super) static CONTEXT_TEXT_WITH_500: LazyLock<Regex> = LazyLock::new(|| {
    regex(r"context size has been exceeded|exceeds the available context size|input length exceeds the (maximum )?context length")
});

/// The bound of the output, and that it is too high.
pub(super) static OUTPUT_TEXT: LazyLock<Regex> = LazyLock::new(|| {
    regex(concat!(
        r"(?s)(max_tokens|max_completion_tokens|max_output_tokens|max_new_tokens|maxtokens|maximum tokens you requested|output tokens)\b",
        r".*(too large|too high|exceed|greater than|less than or equal|smaller than|at most|range|should be \[|must be between|up to|maximum allowed|> ?\d|<= ?\d|cannot be (more|greater))"
    ))
});
/// The schema, and that it is too large.
pub(super) static SCHEMA_TEXT: LazyLock<Regex> = LazyLock::new(|| {
    regex(concat!(
        r"(?s)(schema|grammar|response_format|object properties|enum values)\b",
        r".*(too (many|large|complex|big|deep|long)|exceed|at most|maximum|upper limit|complexity)"
    ))
});
pub(super) static UNSUPPORTED_TEXT: LazyLock<Regex> =
    LazyLock::new(|| regex(r"unsupported|not supported|unknown|unrecogni[sz]ed|not permitted|at least 1\b|not allowed with"));

/// What was generated does not have the shape that the host holds it against: llama.cpp with 500, Groq with 400.
pub(super) const MALFORMED: &[&str] = &["json_validate_failed", "output_parse_failed", "tool_use_failed"];
pub(super) const MALFORMED_TEXTS: &[&str] = &[
    "model produced output that does not match the expected",
    "failed to generate json",
    "model generated output that could not be parsed",
];

pub(super) const NO_CAPACITY: &[&str] = &[
    "service_tier_capacity_exceeded",
    "3505",
    "capacity_exhausted",
    "resource_unavailable", // † OpenAI's flex tier
];
pub(super) const OVERLOADED: &[&str] =
    &["overloaded_error", "temporarily_unavailable", "provider_overloaded", "provider_unavailable", "base_resp:1013"];
pub(super) const LIMITED: &[&str] = &[
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
/// With any status, also that of a request which is not well formed.
pub(super) const THROTTLED: &[&str] = &["rate_limit_error", "rate_limit_exceeded", "rate_limited", "too_many_requests"];
/// With the status of something forbidden.
pub(super) const LIMITED_WITH_403: &[&str] = &["ratelimitexceeded", "userratelimitexceeded", "rate_limit_exceeded", "rate_limited"];
pub(super) const TIMEOUT: &[&str] = &["timeout", "timeout_error", "request_timeout", "gateway_timeout", "base_resp:1001"];
