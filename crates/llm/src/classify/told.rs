//! The body of an error, taken apart: every provider has its own form, and gateways send web pages.

use std::sync::LazyLock;
use std::time::Duration;

use regex::Regex;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::{Dimension, LimitHint, Per, regex};
use crate::headers::{parse_delay, parse_duration};

/// Names under which a message may stand.
const MESSAGES: [&str; 11] =
    ["message", "detail", "msg", "error_msg", "errmsg", "status_msg", "Message", "faultstring", "error_description", "reason", "title"];

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
    /// Whether it is a web page.
    pub(super) is_page: bool,
    /// Headers of the response behind a router, which it hands on in the body.
    pub(super) headers: Option<HeaderMap>,
    /// How long to wait, in a field of its own.
    pub(super) retry_after: Option<Duration>,
    /// The limit of the day, named by an id and not in words (Google).
    pub(super) day_limit: Option<LimitHint>,
    /// The field of the request that an error names in a field of its own.
    parameter: Option<String>,
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
        let error = error_in(body);
        let metadata = error.and_then(|error| error.get("metadata"));
        let availability = [error, Some(body)].into_iter().flatten().find_map(|part| part.get("availability"));
        let mut told = Self { availability: availability.map(Availability::read), ..Self::default() };

        let inner = ["details", "innererror", "detail"].into_iter().filter_map(|name| error?.get(name));
        let parts = [error, metadata, availability].into_iter().flatten().chain(inner);
        // The body of a normal answer has an `object` and an `id`, but no code.
        for part in parts.chain([body]) {
            told.take_codes(part);
            told.retry_after = told.retry_after.or_else(|| wait_in(part));
        }
        for detail in error.and_then(|error| error.get("details")).and_then(Value::as_array).into_iter().flatten() {
            told.take_detail(detail);
        }
        if let Some(code) = body.pointer("/base_resp/status_code").and_then(word).filter(|code| code != "0") {
            told.codes.push(format!("base_resp:{code}"));
        }
        told.provider_code = metadata.and_then(|metadata| word(metadata.get("provider_code")?));
        told.moderated = metadata.is_some_and(|metadata| metadata.get("reasons").or(metadata.get("flagged_input")).is_some());
        told.headers = metadata.and_then(|metadata| read_headers(metadata.get("headers")?));
        told.parameter = error.and_then(|error| error.get("param")?.as_str()).map(str::to_owned);

        told.message = error.and_then(message_in).or_else(|| message_in(body)).unwrap_or_default();
        // Where the error is a word, the message beside it says more.
        if let (Some(Value::String(_)), Some(more)) = (error, MESSAGES.iter().find_map(|name| body.get(name)?.as_str()))
            && !told.message.contains(more)
        {
            told.message = format!("{}: {more}", told.message);
        }
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
        let body = body.trim().trim_start_matches('\u{feff}').trim_start();
        let is_page = body.starts_with('<');
        let message = if is_page { html_words(body) } else { body.to_owned() };
        Self { text: message.to_lowercase(), message, is_page, ..Self::default() }
    }

    fn take_codes(&mut self, part: &Value) {
        for name in ["code", "type", "error_type", "error_code", "reason", "status", "__type", "errorcode"] {
            self.codes.extend(part.get(name).and_then(word).map(|code| code.rsplit('#').next().unwrap_or_default().to_owned()));
        }
        self.codes.extend(part.pointer("/errors/0/reason").and_then(word));
        for name in ["code", "http_status", "http_code", "status", "status_code", "statusCode", "raw_status_code"] {
            let status = part.get(name).and_then(word).and_then(|word| word.parse().ok());
            self.status = self.status.or(status.filter(|status| (400..600).contains(status)));
        }
    }

    /// One of Google's details, each of a type of its own.
    fn take_detail(&mut self, detail: &Value) {
        self.codes.extend(detail.get("reason").and_then(word));
        let delay = detail.get("retryDelay").and_then(Value::as_str).and_then(parse_duration);
        self.retry_after = self.retry_after.or(delay);
        for violation in detail.get("violations").and_then(Value::as_array).into_iter().flatten() {
            let Some(id) = violation.get("quotaId").and_then(Value::as_str).filter(|id| id.contains("PerDay")) else { continue };
            let limit = violation.get("quotaValue").and_then(word).and_then(|limit| limit.parse().ok()).unwrap_or(0);
            let dimension = if id.contains("Token") { Dimension::Tokens } else { Dimension::Requests };
            self.day_limit = Some(LimitHint { dimension, per: Some(Per::Day), limit, used: None, requested: None });
        }
    }

    /// The status of the response, or the one that is named in the body of a 200.
    pub(super) fn effective_status(&self, status: u16) -> u16 {
        if status < 300 { self.status.unwrap_or(status) } else { status }
    }

    /// The field of the request that is refused, named in a field of its own or in words.
    pub(super) fn parameter(&self) -> Option<String> {
        static NAMED: LazyLock<Regex> = LazyLock::new(|| {
            regex(concat!(
                r#"(?:unsupported|unknown|unrecogni[sz]ed|invalid|unexpected) (?:request )?(?:parameter|argument|field|name|property|value)s?(?: supplied)?:? ?["'`]?([a-z][a-z0-9_.]*)"#,
                r#"|(?:parameter|field|property|argument) ["'`]([a-z][a-z0-9_.]*)["'`]"#,
                r#"|["'`]([a-z][a-z0-9_.]*)["'`] (?:is )?(?:not supported|unsupported|not permitted|not allowed)"#,
                r#"|\b([a-z]+_[a-z0-9_]*|temperature|seed|stop|stream) (?:is )?(?:not supported|unsupported|not permitted)"#,
                r#"|not supported on this model: ["'`]?([a-z][a-z0-9_.]*)"#,
                r#"|\bbody\.([a-z][a-z0-9_]*): "#
            ))
        });
        let named =
            || NAMED.captures(&self.text).and_then(|found| found.iter().skip(1).flatten().next().map(|name| name.as_str().to_owned()));
        let name = self.parameter.clone().or_else(named)?;
        // `response_format.json_schema.strict` is the field `response_format`.
        Some(name.split(['.', '[']).next().unwrap_or_default().to_owned()).filter(|name| !name.is_empty())
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

/// How long to wait, in a field of its own.
fn wait_in(part: &Value) -> Option<Duration> {
    let names = [("retry_after_ms", 1e-3), ("retry_after", 1.0), ("retry_after_seconds", 1.0)];
    names.into_iter().find_map(|(name, unit)| parse_delay(&word(part.get(name)?)?, unit))
}

/// Where the error stands in a body.
pub(super) fn error_in(body: &Value) -> Option<&Value> {
    let says = |error: &&Value| match error {
        Value::Null | Value::Bool(_) => false,
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Number(_) => true,
    };
    let places = ["/error", "/choices/0/error", "/errors/0", "/errors", "/response/error", "/fault", "/base_resp"];
    places.into_iter().filter_map(|place| body.pointer(place)).find(|error| says(error) && !is_zero(error))
}

/// MiniMax sends a table of this form with every answer.
fn is_zero(error: &Value) -> bool {
    error.get("status_code").and_then(Value::as_i64) == Some(0)
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

/// The message of an error: a text, or under one of the usual names, where it can be a text, an object or a list.
fn message_in(error: &Value) -> Option<String> {
    let message = match error {
        Value::String(text) => text.clone(),
        Value::Array(details) => details.iter().filter_map(message_of_detail).collect::<Vec<_>>().join("; "),
        Value::Object(fields) => return MESSAGES.iter().chain(&["error"]).find_map(|name| message_in(fields.get(*name)?)),
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

/// Headers in a table of texts.
fn read_headers(table: &Value) -> Option<HeaderMap> {
    let pairs = table.as_object()?.iter().filter_map(|(name, value)| {
        let value = HeaderValue::from_str(&word(value)?).ok()?;
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value))
    });
    Some(pairs.collect())
}

/// The title of a gateway's page, or else its words.
fn html_words(page: &str) -> String {
    static TITLE: LazyLock<Regex> = LazyLock::new(|| regex(r"(?is)<title[^>]*>(.*?)</title>"));
    static TAG: LazyLock<Regex> = LazyLock::new(|| regex(r"(?is)<(style|script)\b.*?</(style|script)>|<[^>]*>"));
    let title = TITLE.captures(page).map(|found| found[1].trim().to_owned());
    title.filter(|title| !title.is_empty()).unwrap_or_else(|| TAG.replace_all(page, " ").into_owned())
}
