//! The short way through a response, which nearly all of them take.

use serde::Deserialize;
use serde_json::Value;

use super::Parts;
use super::finish::{is_refusal, read_finish};
use super::said::Said;
use crate::providers::openai::usage::{Bill, usage_in};

/// Reads a response as nearly all of them are: no error, a text, tokens. `None` if it is anything else, which is
/// then looked at as a tree of values; making that for every response would be most of reading it.
pub(super) fn ordinary(raw: &str) -> Option<Parts> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        error: Option<()>,
        choices: Vec<Choice>,
        #[serde(default)]
        usage: Option<Value>,
        #[serde(default)]
        service_tier: Option<Value>,
        #[serde(default)]
        x_groq: Option<Value>,
    }
    #[derive(Deserialize)]
    struct Choice {
        #[serde(default)]
        index: Option<u64>,
        #[serde(default)]
        error: Option<()>,
        #[serde(default)]
        finish_reason: Option<String>,
        #[serde(default)]
        native_finish_reason: Option<String>,
        message: Message,
    }
    #[derive(Deserialize)]
    struct Message {
        content: String,
        #[serde(default)]
        refusal: Option<()>,
    }
    let Body { error: None, choices, usage, service_tier, x_groq } = serde_json::from_str(raw).ok()? else { return None };
    // Only one was asked for, and where there are more it is the one of the lowest number, wherever it stands.
    let first = choices.into_iter().min_by_key(|choice| choice.index.unwrap_or(0))?;
    let Choice { error: None, finish_reason, native_finish_reason, message: Message { content, refusal: None }, .. } = first else {
        return None;
    };
    // The answer may stand beside an empty content, and only whoever has said why has stopped.
    if content.trim().is_empty() || native_finish_reason.as_deref().is_some_and(is_refusal) {
        return None;
    }
    let bill = Bill::stated(usage_in(usage.as_ref(), x_groq.as_ref()), service_tier.as_ref());
    let finish = read_finish(finish_reason.as_deref());
    Some(Parts { bill, finish, finish_reason, said: Said { content, ..Said::default() } })
}
