//! The body of an error, taken apart: every provider has its own form, and gateways send web pages.

use std::sync::LazyLock;
use std::time::Duration;

use regex::Regex;
use serde_json::Value;

use super::regex;

/// What a body tells, taken out of the many forms that errors have.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) message: String,
    /// Everything readable, in lower case, for the rules that go by words.
    pub(super) text: String,
    /// The provider's codes and types, in lower case.
    pub(super) codes: Vec<String>,
    /// The code of the provider behind a router: about a request's content or the model as good as the
    /// router's own, but not about money, which is the router's there.
    pub(super) provider_code: Option<String>,
    /// An HTTP status that the body names.
    status: Option<u16>,
    pub(super) availability: Option<Availability>,
    /// Whether a moderation's reasons are given.
    pub(super) moderated: bool,
}

/// OpenRouter's word on whether and when the model can be had.
#[derive(Debug)]
pub(super) struct Availability {
    pub(super) retryable: Option<bool>,
    pub(super) retry_after: Option<Duration>,
}

impl Told {
    pub(super) fn from_json(body: &Value) -> Self {
        // Google's compatible interface puts the error into a list.
        let body = body.get(0).unwrap_or(body);
        let choice_error = || body.pointer("/choices/0/error").filter(|error| !error.is_null());
        let error = body.get("error").filter(|error| !error.is_null()).or_else(choice_error);
        let metadata = error.and_then(|error| error.get("metadata"));
        let availability = [error, Some(body)].into_iter().flatten().find_map(|part| part.get("availability"));
        let mut told = Self { availability: availability.map(Availability::read), ..Self::default() };

        let inner = ["details", "innererror"].into_iter().filter_map(|name| error?.get(name));
        let parts = [error, metadata, availability].into_iter().flatten().chain(inner);
        // The body of a normal answer has an `object` and an `id`, but no code.
        for part in parts.chain([body]) {
            told.take_codes(part);
        }
        told.provider_code = metadata.and_then(|metadata| word(metadata.get("provider_code")?));
        told.moderated = metadata.is_some_and(|metadata| metadata.get("reasons").or(metadata.get("flagged_input")).is_some());

        told.message = error.and_then(message_in).or_else(|| message_in(body)).unwrap_or_default();
        // What the provider behind a router said; the router's own message is often no more than "error".
        if let Some(raw) = metadata.and_then(|metadata| metadata.get("raw")) {
            let raw = match raw {
                Value::String(text) => {
                    serde_json::from_str(text).ok().and_then(|raw| message_in_error(&raw)).unwrap_or_else(|| text.clone())
                }
                raw => message_in_error(raw).unwrap_or_else(|| raw.to_string()),
            };
            if !told.message.contains(&raw) {
                let separator = if told.message.is_empty() { "" } else { ": " };
                told.message = format!("{}{separator}{raw}", told.message);
            }
        }
        told.text = told.message.to_lowercase();
        told
    }

    pub(super) fn from_text(body: &str) -> Self {
        let body = body.trim();
        let message = if body.starts_with('<') { html_words(body) } else { body.to_owned() };
        Self { text: message.to_lowercase(), message, ..Self::default() }
    }

    fn take_codes(&mut self, part: &Value) {
        for name in ["code", "type", "error_type", "error_code"] {
            self.codes.extend(part.get(name).and_then(word));
        }
        for name in ["code", "http_status", "status", "status_code", "raw_status_code"] {
            let status = part.get(name).and_then(word).and_then(|word| word.parse().ok());
            self.status = self.status.or(status.filter(|status| (400..600).contains(status)));
        }
    }

    /// The status of the response, or the one that is named in the body of a 200.
    pub(super) fn effective_status(&self, status: u16) -> u16 {
        if status < 300 { self.status.unwrap_or(status) } else { status }
    }
}

impl Availability {
    fn read(availability: &Value) -> Self {
        let seconds = availability.get("retry_after").and_then(Value::as_f64);
        Self {
            retryable: availability.get("retryable").and_then(Value::as_bool),
            retry_after: seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        }
    }
}

/// A code, be it a text or a number, in lower case.
fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_lowercase()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The message of `{"error": …}`, or of an error without that around it.
fn message_in_error(body: &Value) -> Option<String> {
    body.get("error").and_then(message_in).or_else(|| message_in(body))
}

/// The message of an error: a text, or in `message` or `detail`, which can be texts, objects or lists.
fn message_in(error: &Value) -> Option<String> {
    let message = match error {
        Value::String(text) => text.clone(),
        Value::Array(details) => details.iter().filter_map(message_of_detail).collect::<Vec<_>>().join("; "),
        Value::Object(fields) => return ["message", "detail", "msg"].iter().find_map(|name| message_in(fields.get(*name)?)),
        _ => return None,
    };
    (!message.trim().is_empty()).then_some(message)
}

/// One of FastAPI's details: where in the body, and what is wrong there.
fn message_of_detail(detail: &Value) -> Option<String> {
    let message = message_in(detail)?;
    let place: Vec<String> = detail.get("loc").and_then(Value::as_array).into_iter().flatten().filter_map(word).collect();
    Some(if place.is_empty() { message } else { format!("{}: {message}", place.join(".")) })
}

/// The title of a gateway's page, or else its words.
fn html_words(page: &str) -> String {
    static TITLE: LazyLock<Regex> = LazyLock::new(|| regex(r"(?is)<title[^>]*>(.*?)</title>"));
    static TAG: LazyLock<Regex> = LazyLock::new(|| regex(r"(?is)<(style|script)\b.*?</(style|script)>|<[^>]*>"));
    let title = TITLE.captures(page).map(|found| found[1].trim().to_owned());
    title.filter(|title| !title.is_empty()).unwrap_or_else(|| TAG.replace_all(page, " ").into_owned())
}
