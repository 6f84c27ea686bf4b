//! The name under which the bound of the output is sent.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use promptmill_core::pipeline::MaxTokensField;

use crate::{Class, Refusal};

/// The two names. A body holds at most one: some servers refuse both together.
pub(super) const LIMIT_FIELDS: [&str; 2] = [MAX_TOKENS, MAX_COMPLETION_TOKENS];
const MAX_TOKENS: &str = "max_tokens";
const MAX_COMPLETION_TOKENS: &str = "max_completion_tokens";
/// Families of OpenAI's that refuse the older name, also behind a gateway.
const NEWER_FAMILIES: [&str; 4] = ["o1", "o3", "o4", "gpt-5"];

/// Which of the two names a model is sent.
#[derive(Debug)]
pub(super) struct LimitField {
    /// As the pipeline file says.
    fixed: Option<MaxTokensField>,
    is_openai: bool,
    /// Whether the server has asked for the other name.
    is_other: AtomicBool,
}

impl LimitField {
    pub(super) fn new(host: &str, fixed: Option<MaxTokensField>) -> Self {
        let is_openai = host == "api.openai.com" || host.ends_with(".api.openai.com");
        Self { fixed, is_openai, is_other: AtomicBool::new(false) }
    }

    /// The name for a model: what is set, or what its family takes until the server asks for the other one.
    pub(super) fn name(&self, model: &str) -> &'static str {
        match self.fixed {
            Some(MaxTokensField::MaxTokens) => MAX_TOKENS,
            Some(MaxTokensField::MaxCompletionTokens) => MAX_COMPLETION_TOKENS,
            None if (self.is_openai || is_newer(model)) != self.is_other.load(Relaxed) => MAX_COMPLETION_TOKENS,
            None => MAX_TOKENS,
        }
    }

    /// The name to send instead, if it is the name `sent` that a server has refused: once, since a server that takes
    /// neither is not to be asked for ever.
    pub(super) fn instead_of(&self, sent: &'static str, refusal: &Refusal) -> Option<&'static str> {
        let is_named = refusal.parameter.as_deref() == Some(sent) && refusal.class == Class::BadRequest;
        if self.fixed.is_some() || !is_named {
            return None;
        }
        // Requests in flight are refused together; all of them are sent again.
        self.is_other.store(true, Relaxed);
        LIMIT_FIELDS.into_iter().find(|name| *name != sent)
    }
}

fn is_newer(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    NEWER_FAMILIES
        .iter()
        .any(|family| name.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.', '@', ':'])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(parameter: Option<&str>, class: Class) -> Refusal {
        let parameter = parameter.map(str::to_owned);
        Refusal { class, message: String::new(), hint: None, retry_after: None, limit_hint: None, parameter }
    }

    #[test]
    fn the_name_follows_the_host_and_the_family() {
        for (host, model, name) in [
            ("api.openai.com", "gpt-4o-mini", MAX_COMPLETION_TOKENS),
            ("eu.api.openai.com", "gpt-4o-mini", MAX_COMPLETION_TOKENS),
            ("api.openai.com.example.org", "gpt-4o-mini", MAX_TOKENS),
            ("gateway.example.org", "openai/gpt-5.4-nano", MAX_COMPLETION_TOKENS),
            ("gateway.example.org", "o3", MAX_COMPLETION_TOKENS),
            ("gateway.example.org", "o4-mini", MAX_COMPLETION_TOKENS),
            ("gateway.example.org", "gpt-50", MAX_TOKENS),
            ("gateway.example.org", "o1abc", MAX_TOKENS),
            ("openrouter.ai", "mistralai/mistral-small-2603", MAX_TOKENS),
            ("localhost", "llama", MAX_TOKENS),
        ] {
            assert_eq!(LimitField::new(host, None).name(model), name, "{host} {model}");
        }
        let fixed = LimitField::new("api.openai.com", Some(MaxTokensField::MaxTokens));
        assert_eq!(fixed.name("gpt-5"), MAX_TOKENS);
    }

    #[test]
    fn the_other_name_is_sent_once_it_is_asked_for() {
        let field = LimitField::new("localhost", None);
        assert_eq!(field.instead_of(MAX_TOKENS, &refusal(Some("temperature"), Class::BadRequest)), None);
        assert_eq!(field.instead_of(MAX_TOKENS, &refusal(Some(MAX_TOKENS), Class::PackTooLarge)), None);
        assert_eq!(field.name("llama"), MAX_TOKENS);
        for _ in 0..2 {
            assert_eq!(field.instead_of(MAX_TOKENS, &refusal(Some(MAX_TOKENS), Class::BadRequest)), Some(MAX_COMPLETION_TOKENS));
            assert_eq!(field.name("llama"), MAX_COMPLETION_TOKENS);
        }
        let fixed = LimitField::new("localhost", Some(MaxTokensField::MaxTokens));
        assert_eq!(fixed.instead_of(MAX_TOKENS, &refusal(Some(MAX_TOKENS), Class::BadRequest)), None);
    }
}
