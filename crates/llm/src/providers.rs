//! The kinds of provider, one file a kind.

pub mod builtin;
pub mod openai;

use std::env;
use std::sync::Arc;

use promptmill_core::pipeline::MaxTokensField;
use promptmill_core::{Error, ErrorKind, ProviderSpec, Result, nearest};

use crate::Provider;

/// A kind of provider: its name in `kind`, and how one is opened with the key from the environment.
struct Kind {
    name: &'static str,
    open: Open,
}

type Open = fn(&str, &ProviderSpec, Option<String>, Option<MaxTokensField>) -> Result<Arc<dyn Provider>>;

/// Every kind. A new one is a file above and a line here.
const KINDS: &[Kind] = &[Kind {
    name: "openai",
    open: |name, spec, key, field| Ok(Arc::new(openai::OpenAi::new(name, spec, key)?.with_max_tokens_field(field))),
}];

/// The names that `kind` can have.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.name)
}

/// Opens the provider that the pipeline file calls `name`, for a model of which it says how the output's bound is called.
/// Nothing is sent.
///
/// # Errors
/// If its kind is unknown, its key is not in the environment, or its settings cannot be used.
pub fn open(name: &str, spec: &ProviderSpec, field: Option<MaxTokensField>) -> Result<Arc<dyn Provider>> {
    let Some(kind) = KINDS.iter().find(|kind| kind.name == spec.kind) else {
        let known: Vec<String> = kinds().map(|kind| format!("`{kind}`")).collect();
        let guess = nearest(&spec.kind, kinds()).unwrap_or("openai");
        return Err(Error::failed(format!("provider `{name}` is of the unknown kind `{}`; there is {}", spec.kind, known.join(", ")))
            .hint(format!("write `kind = \"{guess}\"`")));
    };
    (kind.open)(name, spec, read_key(name, spec)?, field)
}

fn read_key(name: &str, spec: &ProviderSpec) -> Result<Option<String>> {
    let Some(variable) = &spec.api_key_env else { return Ok(None) };
    match env::var(variable) {
        Ok(key) if !key.trim().is_empty() => Ok(Some(key)),
        Ok(_) => Err(Error::failed(format!("the key of provider `{name}` is empty: `{variable}` is set to nothing"))),
        Err(env::VarError::NotPresent) => {
            Err(Error::failed(format!("the key of provider `{name}` is not in the environment: `{variable}` is not set")))
        }
        Err(env::VarError::NotUnicode(_)) => {
            Err(Error::failed(format!("the key of provider `{name}` is not readable: `{variable}` is not valid UTF-8")))
        }
    }
    .map_err(|error| {
        error.of(ErrorKind::Credentials).hint(format!("export {variable}=…, or leave out `api_key_env` if the server takes no key"))
    })
}

#[cfg(test)]
mod tests {
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

    fn message(spec: &ProviderSpec) -> String {
        match open("local", spec, None) {
            Err(Error::Failed(failure)) => format!("{} | {}", failure.message, failure.hint.unwrap_or_default()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_kind_opens() {
        for kind in kinds() {
            open("local", &spec(kind, None), None).expect("opens");
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
