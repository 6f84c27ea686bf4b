//! A response's body, taken apart. The order of the checks matters:
//! a 200 is no success until its body is one. What is certainly meant is read, in whatever form it comes; and what a body
//! says was used counts, also when its answer cannot be read.

mod finish;
mod mend;
mod ordinary;
mod said;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use chrono::Utc;
use regex::Regex;
use reqwest::header::HeaderMap;
use serde_json::Value;

use super::usage::Bill;
use crate::classify::{classify_json, one_line, says_error};
use crate::{CallError, Charge, Class, Finish, RateLimits, Response};

use self::finish::{is_refusal, read_finish};
use self::mend::{bare, values};
use self::ordinary::ordinary;
use self::said::Said;
use self::stream::Streamed;

/// Reads the body of a 200 that came without headers. `secrets` are kept out of messages.
pub(super) fn read(raw: String, secrets: &[String]) -> Result<Response, CallError> {
    read_with(raw, &HeaderMap::new(), secrets)
}

/// Reads the body of a 200. By the headers it is known when it was written.
pub(super) fn read_with(raw: String, headers: &HeaderMap, secrets: &[String]) -> Result<Response, CallError> {
    let failed = |class, message: &str, charge| CallError {
        class,
        message: one_line(message, secrets),
        hint: None,
        status: None,
        retry_after: None,
        charge,
        raw: Some(raw.clone()),
        limits: RateLimits::NONE,
        limit_hint: None,
    };
    let parts = match ordinary(&raw) {
        Some(parts) => parts,
        None => {
            let Streamed { body, is_whole } = match body(&raw) {
                Ok(read) => read,
                Err(Unread { class, message, hint, charge }) => {
                    return Err(CallError { hint: hint.map(str::to_owned), ..failed(class, &message, charge) });
                }
            };
            let bill = Bill::of(&body);
            let has_choice = choice_of(&body).is_some();
            if is_error(body.get("error")) || is_error(body.pointer("/choices/0/error")) || (!has_choice && says_error(&body)) {
                if let Some(words) = generated_in(&body) {
                    return Ok(broken_off(raw.clone(), words.to_owned(), bill));
                }
                let refusal = classify_json(200, headers, &body, Utc::now(), secrets);
                let charge = if bill.is_known() { bill.charge() } else { charge_inside_200(refusal.class, &body) };
                let error = failed(refusal.class, &refusal.message, charge);
                return Err(CallError { hint: refusal.hint, retry_after: refusal.retry_after, limit_hint: refusal.limit_hint, ..error });
            }
            if let Some(reason) = blocked(&body) {
                return Err(failed(Class::Filtered, &format!("a content filter rejected the prompt (`{reason}`)"), bill.charge()));
            }
            match Parts::of(body, is_whole) {
                Some(parts) => parts,
                None => return Err(failed(Class::Malformed, "the response holds no choices", bill.charge())),
            }
        }
    };
    let Parts { bill, finish, finish_reason, said } = parts;

    if let Some(refusal) = said.refusal {
        return Err(failed(Class::Filtered, &refusal, bill.charge()));
    }
    if finish == Finish::Filtered {
        let reason = finish_reason.unwrap_or_default();
        return Err(failed(Class::Filtered, &format!("the model or a filter would not answer (`{reason}`)"), bill.charge()));
    }
    // A reasoning model that ran out of tokens before it said anything has still been asked and paid.
    if said.content.trim().is_empty() && finish != Finish::Truncated {
        let reason = finish_reason.map_or_else(|| "no finish reason".to_owned(), |reason| format!("finish reason `{reason}`"));
        let elsewhere = said.elsewhere.map_or_else(String::new, |field| format!("; there are words in `{field}` alone"));
        let hint = said.elsewhere.map(|field| {
            format!("the server takes the whole answer for a thought (`{field}`): switch its reasoning parser or the model's thinking off")
        });
        return Err(CallError {
            hint,
            ..failed(Class::Malformed, &format!("the model said nothing ({reason}){elsewhere}"), bill.charge())
        });
    }
    let Bill { usage, cost } = bill;
    Ok(Response { raw, content: said.content, finish, finish_reason, usage, cost, limits: RateLimits::NONE })
}

/// The response in the body of a refusal that holds what the model has said: a host that has held it against the
/// schema, and thrown it away.
pub(super) fn read_refused(raw: &str) -> Option<Response> {
    let body = values(bare(raw)).ok()?.into_iter().next()?;
    let words = generated_in(&body)?.to_owned();
    Some(broken_off(raw.to_owned(), words, Bill::of(&body)))
}

/// The response in a stream that broke off with its connection, if a model had begun to speak.
pub(super) fn read_cut(raw: &str, secrets: &[String]) -> Option<Response> {
    let response = stream::is_stream(bare(raw)).then(|| read(raw.to_owned(), secrets).ok()).flatten();
    response.filter(|response| !response.content.trim().is_empty())
}

fn broken_off(raw: String, content: String, Bill { usage, cost }: Bill) -> Response {
    let finish_reason = Some("failed_generation".to_owned());
    Response { raw, content, finish: Finish::Broken, finish_reason, usage, cost, limits: RateLimits::NONE }
}

fn generated_in(body: &Value) -> Option<&str> {
    let places = ["/error/failed_generation", "/failed_generation", "/error/metadata/failed_generation"];
    places.into_iter().find_map(|place| body.pointer(place)?.as_str()).filter(|words| !words.trim().is_empty())
}

/// Why a body cannot be read.
struct Unread {
    class: Class,
    message: String,
    hint: Option<&'static str>,
    charge: Charge,
}

/// The body as a tree of values, put together if it is a stream.
fn body(raw: &str) -> Result<Streamed, Unread> {
    let text = bare(raw);
    let unread = |class, message: String, hint, charge| Err(Unread { class, message, hint, charge });
    if text.is_empty() {
        // A server in trouble: nothing was said, and nobody bills for nothing.
        return unread(Class::Overloaded, "the response is empty".to_owned(), None, Charge::Nothing);
    }
    if text.starts_with('<') {
        let hint = Some("look at `base_url`: a web page stands where the interface was asked for");
        return unread(Class::Unreachable, "the response is a web page, not JSON".to_owned(), hint, Charge::Nothing);
    }
    if stream::is_stream(text) {
        let message = "nothing in the stream of events can be read".to_owned();
        return stream::read(text).map_or_else(|| unread(Class::Malformed, message, None, stated_in(text)), Ok);
    }
    match values(text) {
        Ok(chunks) if chunks.first().is_some_and(stream::is_chunk) => {
            let is_whole = text.ends_with("[DONE]");
            stream::put_together(chunks, is_whole)
                .map_or_else(|| unread(Class::Malformed, "the response holds no choices".to_owned(), None, stated_in(text)), Ok)
        }
        Ok(values) => {
            let body = values.into_iter().next().map_or(Value::Null, unwrapped);
            Ok(Streamed { body, is_whole: true })
        }
        Err(error) => unread(Class::Malformed, format!("the response is not JSON: {error}"), None, stated_in(text)),
    }
}

/// What a text that cannot be read says of its cost.
fn stated_in(text: &str) -> Charge {
    Bill::stated(mend::object(text, "usage").as_ref(), None).charge()
}

/// A response inside the envelope of a gateway, be it a list of one, with its choices in order.
fn unwrapped(body: Value) -> Value {
    let mut fields = match body {
        Value::Object(fields) => fields,
        Value::Array(mut bodies) if bodies.len() == 1 && bodies[0].is_object() => return unwrapped(bodies.remove(0)),
        _ => return body,
    };
    if let Some(Value::Array(choices)) = fields.get_mut("choices") {
        choices.sort_by_key(|choice| choice.get("index").and_then(Value::as_u64).unwrap_or(0));
    }
    if !fields.contains_key("choices") {
        let is_response = |inner: &Value| inner.pointer("/choices/0").is_some();
        let name = ["data", "result", "response", "output", "body"].into_iter().find(|name| fields.get(*name).is_some_and(is_response));
        if let Some(mut inner) = name.and_then(|name| fields.remove(name)) {
            if let (Some(usage), None) = (fields.remove("usage"), inner.get("usage")) {
                inner["usage"] = usage;
            }
            return inner;
        }
    }
    Value::Object(fields)
}

/// What a response consists of.
#[derive(Debug, PartialEq)]
struct Parts {
    bill: Bill,
    finish: Finish,
    finish_reason: Option<String>,
    said: Said,
}

impl Parts {
    /// The parts of a body that is no error; `None` if there is no choice in it.
    fn of(mut body: Value, is_whole: bool) -> Option<Self> {
        let bill = Bill::of(&body);
        let place = choice_of(&body)?;
        let choice = body.pointer_mut(place)?;
        let reasons = ["finish_reason", "stop_reason", "done_reason"];
        // A router calls everything that has ended `stop`; what the host behind it calls a refusal is one.
        let native = choice.get("native_finish_reason").and_then(Value::as_str).filter(|reason| is_refusal(reason));
        let finish_reason = native.or_else(|| reasons.into_iter().find_map(|name| choice.get(name)?.as_str())).map(str::to_owned);
        let said = match choice.get_mut("message").filter(|message| message.is_object()) {
            Some(message) => Said::read(message),
            // The old interface for completions, and messages that stand in no choice.
            None => match choice.get("text").and_then(Value::as_str).map(str::to_owned) {
                Some(content) => Said { content, ..Said::default() },
                None => Said::read(choice),
            },
        };
        let finish = if is_whole { read_finish(finish_reason.as_deref()) } else { Finish::Broken };
        Some(Self { bill, finish, finish_reason, said })
    }
}

/// Where in a body the answer is: in the first choice, or in the body itself as Anthropic and Ollama write their own.
fn choice_of(body: &Value) -> Option<&'static str> {
    if body.pointer("/choices/0").is_some_and(Value::is_object) {
        return Some("/choices/0");
    }
    let is_message = body.pointer("/message/content").is_some() || body.get("content").is_some_and(Value::is_array);
    is_message.then_some("")
}

/// Why a prompt was turned away, where the response holds no more than that (Google, Azure).
fn blocked(body: &Value) -> Option<&str> {
    if choice_of(body).is_some() {
        return None;
    }
    let places = ["/promptFeedback/blockReason", "/prompt_feedback/block_reason", "/vertex_ai_extra/prompt_feedback/block_reason"];
    places.into_iter().find_map(|place| body.pointer(place)?.as_str()).or_else(|| {
        let results = body.get("prompt_filter_results")?.as_array()?;
        let mut kinds = results.iter().filter_map(|result| result.get("content_filter_results")?.as_object()).flatten();
        kinds.find(|(_, found)| found["filtered"] == true).map(|(kind, _)| kind.as_str())
    })
}

/// The id under which OpenRouter can say later what a response cost. Also of a body that broke off: the id
/// stands at its beginning, and a quotation of one inside the content has its quotes escaped.
pub(super) fn generation_id(raw: &str) -> Option<&str> {
    static ID: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#""id"\s*:\s*"(gen-[\w-]+)""#).expect("a pattern that compiles"));
    Some(ID.captures(raw)?.get(1)?.as_str())
}

/// An error counts as one if it says anything: some servers send `"error": null` or an empty one with every answer.
fn is_error(error: Option<&Value>) -> bool {
    match error {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Object(fields)) => !fields.is_empty(),
        Some(_) => true,
    }
}

/// An error inside a 200 came after the request had been accepted. Nothing was generated if a limit or the
/// request's form is the reason and no word has come; else it may have been.
fn charge_inside_200(class: Class, body: &Value) -> Charge {
    let spoken = body.pointer("/choices/0/message/content").and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    match class {
        Class::Overloaded | Class::Timeout | Class::Filtered | Class::Malformed => Charge::Unknown,
        _ if spoken => Charge::Unknown,
        _ => Charge::Nothing,
    }
}
