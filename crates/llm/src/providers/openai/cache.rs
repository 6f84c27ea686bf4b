//! What a request says about the server's cache of prompts.
//!
//! The end of a pack's prompt is another one in every request. Where a service bills what it writes to its cache, and writes
//! whole prompts by itself (OpenAI from GPT-5.6 on), it is told to keep nothing but the system message; where it keeps
//! nothing unless it is told to (Claude), the system message is marked if it is long enough to be kept. A field goes only
//! to the families that know it, and a server that refuses it all the same is asked again without, and from then on not
//! sent it any more.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use promptmill_core::Fingerprint;
use serde_json::Value;

use crate::price::gpt_version;
use crate::{Class, Refusal, Request};

/// Bytes of a system message from which on it may have the 1,024 tokens that caches ask for at least. A mark on a shorter
/// one has no effect.
const LONG: usize = 3 * 1_024;
/// The same for Mistral, which keeps blocks of 64 tokens.
const LONG_FOR_MISTRAL: usize = 3 * 64;
/// Fields by which the pipeline file takes the matter into its own hands.
const OWN: [&str; 6] = ["prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "cache_control", "session_id", "messages"];
/// The words by which a refusal names one of ours.
const NAMES: [&str; 4] = ["prompt_cache_key", "prompt_cache_options", "prompt_cache_breakpoint", "cache_control"];

/// What is sent with one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CacheHints {
    /// Requests with the same system message belong together.
    pub(super) key: bool,
    /// Nothing is to be kept but what is marked.
    pub(super) explicit: bool,
    /// How the end of the system message is marked.
    pub(super) mark: Option<Mark>,
}

/// A mark at the end of the part of a prompt that is to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// OpenAI's.
    Breakpoint,
    /// Anthropic's, as gateways take it.
    CacheControl,
}

impl Mark {
    /// The field of the text that is marked.
    pub(super) fn json(self) -> &'static str {
        match self {
            Self::Breakpoint => r#""prompt_cache_breakpoint":{"mode":"explicit"}"#,
            Self::CacheControl => r#""cache_control":{"type":"ephemeral"}"#,
        }
    }
}

impl CacheHints {
    const NONE: Self = Self { key: false, explicit: false, mark: None };

    pub(super) fn is_none(self) -> bool {
        self == Self::NONE
    }
}

/// The value of `prompt_cache_key`: the same for all that have this system message.
pub(super) fn cache_key(system: &str) -> String {
    format!("promptmill-{}", Fingerprint::of([system.as_bytes()]))
}

/// What one server is told of caching.
#[derive(Debug)]
pub(super) struct CacheAdvice {
    host: String,
    /// Whether the server has refused it.
    is_refused: AtomicBool,
    /// Whether it has answered a request with it.
    is_taken: AtomicBool,
}

impl CacheAdvice {
    pub(super) fn new(host: &str) -> Self {
        Self { host: host.to_owned(), is_refused: AtomicBool::new(false), is_taken: AtomicBool::new(false) }
    }

    fn is_at(&self, domain: &str) -> bool {
        self.host.strip_suffix(domain).is_some_and(|front| front.is_empty() || front.ends_with('.'))
    }

    /// What to send with this request.
    pub(super) fn hints(&self, request: &Request) -> CacheHints {
        let extra = &request.extra_body;
        if self.is_refused.load(Relaxed) || OWN.iter().any(|field| extra.contains_key(*field)) {
            return CacheHints::NONE;
        }
        let system = request.system.as_ref().map_or(0, |system| system.len());
        let is_long = system >= LONG;
        let model = extra.get("model").and_then(Value::as_str).unwrap_or(&request.model).to_lowercase();
        let name = model.rsplit('/').next().unwrap_or_default();
        if self.is_at("api.mistral.ai") {
            return CacheHints { key: system >= LONG_FOR_MISTRAL, ..CacheHints::NONE };
        }
        let is_openai = self.is_at("api.openai.com");
        if gpt_version(name).is_some_and(|version| version >= (5, 6)) {
            // A router that is to ask only those who know every field may find nobody, and does not say for which.
            let is_strict = extra.get("provider").and_then(|provider| provider.get("require_parameters")).and_then(Value::as_bool);
            if self.is_at("openrouter.ai") && is_strict == Some(true) {
                return CacheHints::NONE;
            }
            return CacheHints { key: is_openai && is_long, explicit: true, mark: is_long.then_some(Mark::Breakpoint) };
        }
        // Anthropic's own compatible interface caches nothing.
        let is_claude = name.starts_with("claude-") || name.contains("anthropic.claude");
        if is_claude && is_long && !self.is_at("api.anthropic.com") {
            return CacheHints { mark: Some(Mark::CacheControl), ..CacheHints::NONE };
        }
        CacheHints { key: is_openai && is_long, ..CacheHints::NONE }
    }

    /// A request with these hints was answered.
    pub(super) fn taken(&self, hints: CacheHints) {
        if !hints.is_none() {
            self.is_taken.store(true, Relaxed);
        }
    }

    /// Whether a request with these hints is to be sent once more without: they are named, or may be what a server that has
    /// never taken them does not like.
    pub(super) fn may_be_refused(&self, hints: CacheHints, refusal: &Refusal) -> bool {
        if hints.is_none() || refusal.class != Class::BadRequest {
            return false;
        }
        self.names(refusal) || (refusal.parameter.is_none() && !self.is_taken.load(Relaxed))
    }

    fn names(&self, refusal: &Refusal) -> bool {
        let named = refusal.parameter.as_deref().unwrap_or_default();
        NAMES.iter().any(|name| named == *name || refusal.message.contains(name))
            // The list of parts in place of a text.
            || (named == "messages" && !self.is_taken.load(Relaxed))
    }

    /// It was refused with them and then answered without, or has named one: they are sent no more.
    pub(super) fn refused(&self) {
        self.is_refused.store(true, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::super::body::tests::request;
    use super::*;
    use promptmill_core::pipeline::Structured;

    fn asked(model: &str, system: usize, extra: serde_json::Value) -> Request {
        Request { model: model.into(), system: Some("x".repeat(system).into()), ..request(Structured::JsonSchema, extra) }
    }

    #[test]
    fn a_family_is_told_what_it_knows_and_others_nothing() {
        let explicit = CacheHints { explicit: true, ..CacheHints::NONE };
        let marked = CacheHints { mark: Some(Mark::Breakpoint), ..explicit };
        let claude = CacheHints { mark: Some(Mark::CacheControl), ..CacheHints::NONE };
        let key = CacheHints { key: true, ..CacheHints::NONE };
        for (host, model, system, hints) in [
            ("api.openai.com", "gpt-5.6-luna", 100, explicit),
            ("api.openai.com", "gpt-5.6-luna", 4_000, CacheHints { key: true, ..marked }),
            ("eu.api.openai.com", "gpt-6", 100, explicit),
            ("api.openai.com", "gpt-5.4-nano", 4_000, key),
            ("api.openai.com", "gpt-5.4-nano", 100, CacheHints::NONE),
            ("api.openai.com.example.org", "gpt-5.4-nano", 4_000, CacheHints::NONE),
            ("openrouter.ai", "openai/gpt-5.6-terra", 4_000, marked),
            ("openrouter.ai", "anthropic/claude-haiku-4-5", 4_000, claude),
            ("openrouter.ai", "anthropic/claude-haiku-4-5", 100, CacheHints::NONE),
            ("openrouter.ai", "mistralai/mistral-small-2603", 4_000, CacheHints::NONE),
            ("gateway.example.org", "bedrock/eu.anthropic.claude-sonnet-5-v1:0", 4_000, claude),
            ("gateway.example.org", "gpt-5.6-luna", 100, explicit),
            ("api.anthropic.com", "claude-haiku-4-5", 4_000, CacheHints::NONE),
            ("api.mistral.ai", "mistral-small-2603", 400, key),
            ("api.mistral.ai", "mistral-small-2603", 40, CacheHints::NONE),
            ("localhost", "llama", 4_000, CacheHints::NONE),
        ] {
            assert_eq!(CacheAdvice::new(host).hints(&asked(model, system, json!({}))), hints, "{host} {model} {system}");
        }
        let luna = |extra| CacheAdvice::new("openrouter.ai").hints(&asked("openai/gpt-5.6-luna", 100, extra));
        assert_eq!(luna(json!({"provider": {"require_parameters": true}})), CacheHints::NONE);
        assert_eq!(luna(json!({"prompt_cache_options": {"mode": "implicit"}})), CacheHints::NONE, "the pipeline file decides");
        assert_eq!(luna(json!({"model": "openai/gpt-5.4-nano"})), CacheHints::NONE, "another model is asked");
    }

    #[test]
    fn hints_are_dropped_once_they_are_named_or_may_be_meant() {
        let refusal = |parameter: Option<&str>, message: &str, class| Refusal {
            class,
            message: message.to_owned(),
            hint: None,
            retry_after: None,
            limit_hint: None,
            parameter: parameter.map(str::to_owned),
        };
        let request = asked("gpt-5.6-luna", 4_000, json!({}));
        let advice = CacheAdvice::new("gateway.example.org");
        let hints = advice.hints(&request);
        let named = refusal(Some("prompt_cache_options"), "", Class::BadRequest);
        let in_words = refusal(Some("messages"), "messages[0].content[0].prompt_cache_breakpoint: extra inputs", Class::BadRequest);
        let unnamed = refusal(None, "bad request", Class::BadRequest);
        for refused in [&named, &in_words, &unnamed] {
            assert!(advice.may_be_refused(hints, refused), "{refused:?}");
            assert!(!advice.may_be_refused(CacheHints::NONE, refused), "{refused:?}");
        }
        for other in [refusal(Some("temperature"), "", Class::BadRequest), refusal(None, "", Class::RateLimited)] {
            assert!(!advice.may_be_refused(hints, &other), "{other:?}");
        }
        advice.taken(hints);
        assert!(advice.may_be_refused(hints, &named) && !advice.may_be_refused(hints, &unnamed), "what it has taken it takes");
        advice.refused();
        assert!(advice.hints(&request).is_none());
    }

    #[test]
    fn the_key_follows_from_the_system_message_alone() {
        let system: Arc<str> = "Je legt moties uit.".into();
        assert_eq!(cache_key(&system), cache_key("Je legt moties uit."));
        assert_ne!(cache_key(&system), cache_key("Je legt wetten uit."));
        assert!(cache_key(&system).len() <= 64);
    }
}
