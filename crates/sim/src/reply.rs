//! The body of a chat completion: what stands around the content, and the faults that lie there.
//!
//! Also the errors that a provider states in a body. Leaves status lines and headers to `chat`.

use crate::config::{Billing, CostForm, Thinking, UsageNames};
use crate::content::{BAD_BYTE, Content};
use crate::faults::Fault;
use crate::hash::Dice;
use crate::phrases;
use crate::price::{Tokens, usd};
use crate::value::push_json_str;
use std::fmt::Write;

/// Everything that a body states besides its content.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) number: u64,
    pub(crate) model: &'a str,
    /// Unix time in seconds.
    pub(crate) created: u64,
    pub(crate) tokens: Tokens,
    /// The price in nano-dollars, where it is to be stated.
    pub(crate) cost: Option<u64>,
    /// The service tier, where one was asked for.
    pub(crate) tier: Option<&'a str>,
    /// The names and forms of the bill.
    pub(crate) billing: &'a Billing,
    pub(crate) fault: Option<Fault>,
    pub(crate) detail: u64,
    pub(crate) cut: bool,
}

/// What the message says, once the fault of the request is known.
pub(crate) enum Message<'a> {
    Content(&'a str),
    Refusal(&'a str),
    Null,
}

impl<'a> Message<'a> {
    /// The message that carries `content`, and the bytes of it that are billed as output.
    pub(crate) fn of(content: &'a Content, fault: Option<Fault>, detail: u64) -> (Self, usize) {
        match fault {
            Some(Fault::NullContent) => (Self::Null, content.text.len()),
            Some(Fault::EmptyContent) => (Self::Content(""), 0),
            Some(Fault::Refusal) => {
                let words = Dice::new(detail).pick(&phrases::REFUSALS);
                (Self::Refusal(words), words.len())
            }
            _ => (Self::Content(&content.text), content.text.len()),
        }
    }
}

impl Frame<'_> {
    /// The whole body.
    pub(crate) fn body(&self, message: &Message<'_>) -> Vec<u8> {
        let room = if let Message::Content(content) = message { content.len() * 9 / 8 } else { 0 };
        let mut out = String::with_capacity(room + 640);
        // Writing to a string cannot fail.
        _ = write!(out, r#"{{"id":"gen-{}","object":"chat.completion","created":{},"model":"#, self.number, self.created);
        push_json_str(&mut out, self.model);
        let reason = if self.cut || self.fault == Some(Fault::Truncated) { "length" } else { "stop" };
        _ = write!(out, r#","choices":[{{"index":0,"finish_reason":"{reason}","logprobs":null,"message":{{"role":"assistant","content":"#);
        match message {
            Message::Content(content) if self.fault == Some(Fault::InvalidUtf8) => {
                push_json_str(&mut out, &with_bad_byte(content));
            }
            Message::Content(content) => push_json_str(&mut out, content),
            Message::Refusal(_) | Message::Null => out.push_str("null"),
        }
        out.push_str(r#","refusal":"#);
        match message {
            Message::Refusal(words) => push_json_str(&mut out, words),
            _ => out.push_str("null"),
        }
        out.push_str("}}]");
        if let Some(tier) = self.tier {
            out.push_str(r#","service_tier":"#);
            push_json_str(&mut out, tier);
        }
        if self.fault != Some(Fault::MissingUsage) {
            out.push_str(r#","usage":"#);
            self.push_usage(&mut out);
        }
        out.push('}');
        let mut body = out.into_bytes();
        if self.fault == Some(Fault::InvalidUtf8) {
            let stand_in = BAD_BYTE.len_utf8();
            let mut sign = [0; 4];
            let sign = BAD_BYTE.encode_utf8(&mut sign).as_bytes();
            if let Some(at) = body.windows(stand_in).position(|window| window == sign) {
                body.splice(at..at + stand_in, [0xff]);
            }
        }
        body
    }

    /// A body of status 200 that states an error, at the top or in the choice. Nothing was generated.
    pub(crate) fn error_body(&self) -> Vec<u8> {
        let mut out = String::new();
        let error = r#"{"code":502,"message":"Provider returned error","metadata":{"error_type":"provider_unavailable","provider_name":"simulated"}}"#;
        _ = write!(out, r#"{{"id":"gen-{}","object":"chat.completion","created":{},"model":"#, self.number, self.created);
        push_json_str(&mut out, self.model);
        _ = if self.detail.is_multiple_of(2) {
            write!(out, r#","choices":[],"error":{error}}}"#)
        } else {
            write!(
                out,
                r#","choices":[{{"index":0,"finish_reason":"error","error":{error},"message":{{"role":"assistant","content":"","refusal":null}}}}]}}"#
            )
        };
        out.into_bytes()
    }

    /// An error of a server that lost the answer, with the status: what was billed stands in one of the places where
    /// services state it.
    pub(crate) fn billed_error(&self) -> (u16, Vec<u8>) {
        let mut usage = String::new();
        self.push_usage(&mut usage);
        let mut tier = String::new();
        if let Some(name) = self.tier {
            tier.push_str(r#","service_tier":"#);
            push_json_str(&mut tier, name);
        }
        let (status, body) = match self.detail % 3 {
            0 => (500, format!(r#"{{"error":{{"message":"The upstream broke off","code":500}},"usage":{usage}{tier}}}"#)),
            1 => (429, format!(r#"{{"error":{{"message":"Provider returned error","code":429,"usage":{usage}}}{tier}}}"#)),
            _ => (503, format!(r#"{{"error":{{"message":"Service unavailable","code":503,"metadata":{{"usage":{usage}}}}}{tier}}}"#)),
        };
        (status, body.into_bytes())
    }

    fn push_usage(&self, out: &mut String) {
        let Tokens { prompt, cached, written, completion, thought } = self.tokens;
        let said = if self.billing.thinking == Thinking::Beside { completion - thought } else { completion };
        let total = prompt + completion;
        _ = match self.billing.names {
            UsageNames::OpenAi => write!(
                out,
                r#"{{"prompt_tokens":{prompt},"completion_tokens":{said},"total_tokens":{total},"prompt_tokens_details":{{"cached_tokens":{cached},"cache_write_tokens":{written}}},"completion_tokens_details":{{"reasoning_tokens":{thought}}}"#
            ),
            UsageNames::Anthropic => write!(
                out,
                r#"{{"input_tokens":{},"cache_read_input_tokens":{cached},"cache_creation_input_tokens":{written},"output_tokens":{said},"total_tokens":{total}"#,
                prompt - cached - written
            ),
            UsageNames::DeepSeek => write!(
                out,
                r#"{{"prompt_tokens":{prompt},"prompt_cache_hit_tokens":{cached},"prompt_cache_miss_tokens":{},"cache_write_tokens":{written},"completion_tokens":{said},"total_tokens":{total},"completion_tokens_details":{{"reasoning_tokens":{thought}}}"#,
                prompt - cached
            ),
        };
        if let Some(cost) = self.cost {
            let exact = usd(cost);
            let exact = exact.trim_end_matches('0').trim_end_matches('.');
            _ = match self.billing.cost {
                CostForm::Number => write!(out, r#","cost":{exact},"is_byok":false"#),
                CostForm::Text => write!(out, r#","cost":"${exact}""#),
                CostForm::Table => write!(out, r#","cost":{{"currency":"USD","total_cost":{exact}}}"#),
            };
        }
        out.push('}');
    }
}

/// `content` with the stand-in for the bad byte within one of its texts: behind the first space of its second half.
fn with_bad_byte(content: &str) -> String {
    let middle = content.floor_char_boundary(content.len() / 2);
    let space = content[middle..].find(' ').map(|at| middle + at).or_else(|| content.find(' '));
    let mut spoilt = content.to_owned();
    spoilt.insert(space.map_or(middle, |space| space + 1), BAD_BYTE);
    spoilt
}

/// A failure of the server: its status, and a body that is HTML where a gateway wrote it.
pub(crate) fn server_error(detail: u64) -> (u16, &'static str, &'static str) {
    const JSON: &str = "application/json";
    const HTML: &str = "text/html; charset=UTF-8";
    [
        (
            500,
            JSON,
            r#"{"error":{"message":"The server had an error while processing your request. Sorry about that!","type":"server_error","param":null,"code":null}}"#,
        ),
        (
            502,
            HTML,
            "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>cloudflare</center>\r\n</body>\r\n</html>\r\n",
        ),
        (
            503,
            JSON,
            r#"{"error":{"message":"The engine is currently overloaded, please try again later","type":"server_error","param":null,"code":null}}"#,
        ),
        (
            521,
            HTML,
            "<!DOCTYPE html>\n<html lang=\"en-US\">\n<head><title>simulated | 521: Web server is down</title></head>\n<body><h1>Error 521</h1></body>\n</html>\n",
        ),
        (529, JSON, r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":null}"#),
    ][Dice::new(detail).below(5)]
}

/// An error in the shape that OpenAI gives it.
pub(crate) fn openai_error(message: &str, kind: &str, param: Option<&str>, code: Option<&str>) -> String {
    let mut out = String::from(r#"{"error":{"message":"#);
    push_json_str(&mut out, message);
    out.push_str(r#","type":"#);
    push_json_str(&mut out, kind);
    for (name, value) in [("param", param), ("code", code)] {
        _ = write!(out, r#","{name}":"#);
        match value {
            Some(value) => push_json_str(&mut out, value),
            None => out.push_str("null"),
        }
    }
    out.push_str("}}");
    out
}

/// The 400 of a request above the context length.
pub(crate) fn context_error(context: u64, prompt: u64, output: u64) -> String {
    let message = format!(
        "This model's maximum context length is {context} tokens. However, you requested {} tokens ({prompt} in the messages, {output} in the completion). Please reduce the length of the messages or completion.",
        prompt + output
    );
    openai_error(&message, "invalid_request_error", Some("messages"), Some("context_length_exceeded"))
}

/// The 429 of an account without money.
pub(crate) fn quota_error() -> String {
    let message = "You exceeded your current quota, please check your plan and billing details. For more information on this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.";
    openai_error(message, "insufficient_quota", None, Some("insufficient_quota"))
}

/// The 401 of a wrong key, which it does not repeat.
pub(crate) fn key_error() -> String {
    let message = "Incorrect API key provided. You can find your API key at https://platform.openai.com/account/api-keys.";
    openai_error(message, "invalid_request_error", None, Some("invalid_api_key"))
}
