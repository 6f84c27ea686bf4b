//! The kinds of provider, one file a kind.

pub mod openai;

use std::sync::Arc;

use promptmill_core::{Error, Opening, Provider, ProviderKind, Result, nearest};

/// Every kind that this crate knows. A new one is a file beside this and a line here; one of somebody else's is a
/// [`ProviderKind`] in a registry.
pub fn kinds() -> Vec<ProviderKind> {
    vec![ProviderKind::new("openai", |Opening { name, spec, model, key, .. }| {
        Ok(Arc::new(openai::OpenAi::new(name, spec, key)?.with_max_tokens_field(model.max_tokens_field)))
    })]
}

/// Opens a provider with the kind that its table names. Nothing is sent.
///
/// # Errors
/// If its kind is none of these, or its settings cannot be used.
pub(crate) fn open(kinds: &[ProviderKind], opening: Opening<'_>) -> Result<Arc<dyn Provider>> {
    let Some(kind) = kinds.iter().find(|kind| kind.name == opening.spec.kind) else {
        let known: Vec<String> = kinds.iter().map(|kind| format!("`{}`", kind.name)).collect();
        let guess = nearest(&opening.spec.kind, kinds.iter().map(|kind| kind.name)).unwrap_or("openai");
        let message = format!("provider `{}` is of the unknown kind `{}`; there is {}", opening.name, opening.spec.kind, known.join(", "));
        return Err(Error::failed(message).hint(format!("write `kind = \"{guess}\"`")));
    };
    kind.open(opening)
}

#[cfg(test)]
mod tests {
    use promptmill_core::{ModelSpec, ProviderSpec};

    use super::*;

    fn spec(kind: &str, api_key_env: Option<&str>) -> ProviderSpec {
        ProviderSpec {
            kind: kind.into(),
            base_url: "http://127.0.0.1:1/v1".into(),
            api_key_env: api_key_env.map(Into::into),
            headers: Default::default(),
            rpm: None,
            tpm: None,
            allow_http: false,
            shared: false,
        }
    }

    fn opened(spec: &ProviderSpec) -> Result<Arc<dyn Provider>> {
        let model: ModelSpec = serde_json::from_value(serde_json::json!({"provider": "local", "model": "m"})).expect("a model");
        open(&kinds(), Opening::new("local", spec, &model)?)
    }

    fn message(spec: &ProviderSpec) -> String {
        match opened(spec) {
            Err(Error::Failed(failure)) => format!("{} | {}", failure.message, failure.hint.unwrap_or_default()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_kind_opens() {
        for kind in kinds() {
            opened(&spec(kind.name, None)).expect("opens");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(
            message(&spec("opnai", None)),
            "provider `local` is of the unknown kind `opnai`; there is `openai` | write `kind = \"openai\"`"
        );
        assert_eq!(
            message(&spec("openai", Some("PROMPTMILL_NO_SUCH_KEY"))),
            "the key of provider `local` is not in the environment: `PROMPTMILL_NO_SUCH_KEY` is not set | \
             export PROMPTMILL_NO_SUCH_KEY=…, or leave out `api_key_env` if the server takes no key"
        );
    }
}
