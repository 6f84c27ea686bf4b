//! What a model provider is: a request in, a response or a reason out; and how a kind of provider, or a model that needs none,
//! is listed.

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::pipeline::Structured;
use crate::{AnswerShape, Error, ErrorKind, Language, LimitHint, ModelSpec, Money, ProviderSpec, RateLimits, Result, Usage};

/// One row of a pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The row's id inside the request: short and ours, `r1`, `r2`, …
    pub id: String,
    /// What the model is shown of the row.
    pub text: Arc<str>,
    /// Why earlier answers about it were rejected, in words that the model is told.
    pub rejected: Option<Arc<str>>,
}

impl Item {
    /// A row that is asked about for the first time.
    pub fn new(id: String, text: impl Into<Arc<str>>) -> Self {
        Self { id, text: text.into(), rejected: None }
    }
}

/// A question about a pack of rows.
#[derive(Clone, Debug)]
pub struct Request {
    /// The model's name at the provider.
    pub model: Arc<str>,
    /// The system message.
    pub system: Option<Arc<str>>,
    /// What is asked about every row of the pack.
    pub prompt: String,
    /// The rows.
    pub items: Vec<Item>,
    /// The shape that the answer about each row has to have.
    pub shape: Arc<AnswerShape>,
    /// The language in which it is asked for; English where nobody has written the words.
    pub language: Language,
    /// What is said of the items and of the answer's form, where it is not what the language's words say.
    pub instructions: Option<Arc<str>>,
    /// How that shape is asked for.
    pub structured: Structured,
    /// The most tokens that the whole answer may have.
    pub max_tokens: Option<u32>,
    /// The sampling temperature.
    pub temperature: Option<f64>,
    /// Merged into the body as it stands.
    pub extra_body: Arc<Map<String, Value>>,
    /// How long to wait for the whole response.
    pub timeout: Duration,
}

/// Why the model stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// It had said everything.
    Stop,
    /// It ran into the output limit: complete rows count, the last one may be cut.
    Truncated,
    /// It, or a filter in front of it, would not answer.
    Filtered,
    /// Its words did not come to their end: a stream broke off, or the service made an error of them. Complete rows
    /// count, the last one may be cut; no bound on the output is known by it.
    Broken,
    /// Anything else.
    Other,
}

/// What came back from a model, with the money it cost and the limits it announced.
#[derive(Clone, Debug)]
pub struct Response {
    /// The body as received.
    pub raw: String,
    /// What the model said.
    pub content: String,
    /// Why it stopped.
    pub finish: Finish,
    /// The provider's own word for that.
    pub finish_reason: Option<String>,
    /// Tokens, if reported.
    pub usage: Option<Usage>,
    /// The cost, if reported.
    pub cost: Option<Money>,
    /// Limits, if announced.
    pub limits: RateLimits,
}

/// What kind of failure a call met; each has its own treatment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The key is missing or wrong: ends the run.
    Auth,
    /// The key may not do this: ends the run before the first success; after it, it is about a row: bisect down to the row, and
    /// the run ends only if different rows meet it and nothing is answered between them.
    Forbidden,
    /// The model is not there: it is skipped, and the run ends if no other model is left.
    ModelMissing,
    /// Credit or quota is exhausted: ends the run.
    MoneyGone,
    /// The request's form is wrong: that of one row, or, if different rows meet it before the first success, that of all; then
    /// the model is skipped like one that is missing.
    BadRequest,
    /// The request is larger than the per-minute quota: split.
    TooBigForQuota,
    /// Prompt and answer do not fit into the context: split.
    ContextTooLong,
    /// The request grants more output than the model writes, or its schema is too large for the service: split.
    PackTooLarge,
    /// The body is too large: split.
    BodyTooLarge,
    /// Too many requests or tokens a minute, or in flight: wait. Does not count as an attempt.
    RateLimited,
    /// The provider has no capacity now: wait longer. Does not count as an attempt.
    NoCapacity,
    /// The way to the service is wrong or closed, so that nothing was asked: nothing listens, a certificate, TLS where there
    /// is none, a proxy, a path that is not there. Ends the run before the first success; is waited for after it.
    Unreachable,
    /// The server failed: back off.
    Overloaded,
    /// No response in time, or the connection broke; whether it is billed is unknown: back off.
    Timeout,
    /// The model or a filter refused: bisect down to the row.
    Filtered,
    /// The response could not be read.
    Malformed,
    /// Given up because another request answered its rows first; whether it is billed is unknown.
    Superseded,
}

impl Class {
    /// The class's name in `attempts.status`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Forbidden => "forbidden",
            Self::ModelMissing => "model-missing",
            Self::MoneyGone => "money-gone",
            Self::BadRequest => "bad-request",
            Self::TooBigForQuota => "too-big-for-quota",
            Self::ContextTooLong => "context-too-long",
            Self::PackTooLarge => "pack-too-large",
            Self::BodyTooLarge => "body-too-large",
            Self::RateLimited => "rate-limited",
            Self::NoCapacity => "no-capacity",
            Self::Unreachable => "unreachable",
            Self::Overloaded => "overloaded",
            Self::Timeout => "timeout",
            Self::Filtered => "filtered",
            Self::Malformed => "malformed",
            Self::Superseded => "superseded",
        }
    }

    /// Whether no retry can help, whatever the row, as long as nothing was answered.
    pub fn is_fatal(self) -> bool {
        matches!(self, Self::Auth | Self::Forbidden | Self::ModelMissing | Self::MoneyGone)
    }

    /// Whether a smaller pack can help.
    pub fn wants_split(self) -> bool {
        matches!(self, Self::TooBigForQuota | Self::ContextTooLong | Self::PackTooLarge | Self::BodyTooLarge | Self::Filtered)
    }

    /// Whether a limit, and not a fault, turned the request away.
    pub fn is_limit(self) -> bool {
        matches!(self, Self::RateLimited | Self::NoCapacity)
    }
}

/// What a failed call may have cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge {
    /// Certainly nothing: it was refused before anything was generated.
    Nothing,
    /// It may have been billed in full.
    Unknown,
    /// Exactly this.
    Known {
        /// Tokens, if reported.
        usage: Option<Usage>,
        /// The cost, if reported.
        cost: Option<Money>,
    },
}

/// Why a call brought no response.
#[derive(Clone, Debug)]
pub struct CallError {
    /// The kind of failure.
    pub class: Class,
    /// What happened, in the provider's words. Never holds a secret.
    pub message: String,
    /// What can be done about it, where that is known.
    pub hint: Option<String>,
    /// The HTTP status, if there was one.
    pub status: Option<u16>,
    /// How long the provider asks to wait.
    pub retry_after: Option<Duration>,
    /// What it may have cost.
    pub charge: Charge,
    /// The body, or what there was of it.
    pub raw: Option<String>,
    /// Limits, if announced.
    pub limits: RateLimits,
    /// The limit that a refusal names.
    pub limit_hint: Option<LimitHint>,
}

/// A model behind an interface.
#[async_trait]
pub trait Provider: Debug + Send + Sync + 'static {
    /// Asks once. Retries, limits and money are the caller's.
    ///
    /// # Errors
    /// The reason, with what it may have cost.
    async fn complete(&self, request: &Request) -> Result<Response, CallError>;

    /// Reads a body that was received earlier, as `complete` would have.
    ///
    /// # Errors
    /// The reason, if it is no usable response.
    fn read(&self, raw: &str) -> Result<Response, CallError>;
}

/// What a provider is opened with.
#[derive(Debug)]
#[non_exhaustive]
pub struct Opening<'o> {
    /// The provider's name in the pipeline file.
    pub name: &'o str,
    /// Its table.
    pub spec: &'o ProviderSpec,
    /// The table of the model that is to be asked.
    pub model: &'o ModelSpec,
    /// The key, from the variable that the table names.
    pub key: Option<String>,
}

impl<'o> Opening<'o> {
    /// With what is read from the environment.
    ///
    /// # Errors
    /// If the variable that holds the key is not set, or holds none.
    pub fn new(name: &'o str, spec: &'o ProviderSpec, model: &'o ModelSpec) -> Result<Self> {
        Ok(Self { name, spec, model, key: read_key(name, spec)? })
    }
}

fn read_key(name: &str, spec: &ProviderSpec) -> Result<Option<String>> {
    let Some(variable) = &spec.api_key_env else { return Ok(None) };
    match std::env::var(variable) {
        Ok(key) if !key.trim().is_empty() => Ok(Some(key)),
        Ok(_) => Err(Error::failed(format!("the key of provider `{name}` is empty: `{variable}` is set to nothing"))),
        Err(std::env::VarError::NotPresent) => {
            Err(Error::failed(format!("the key of provider `{name}` is not in the environment: `{variable}` is not set")))
        }
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(Error::failed(format!("the key of provider `{name}` is not readable: `{variable}` is not valid UTF-8")))
        }
    }
    .map_err(|error| {
        error.of(ErrorKind::Credentials).hint(format!("export {variable}=…, or leave out `api_key_env` if the server takes no key"))
    })
}

type Open = dyn Fn(Opening<'_>) -> Result<Arc<dyn Provider>> + Send + Sync;

/// A kind of provider: what `kind` says in a table of `[providers]`.
#[derive(Clone)]
pub struct ProviderKind {
    /// Its name in `kind`.
    pub name: &'static str,
    open: Arc<Open>,
}

impl ProviderKind {
    /// The kind of this name, of which providers are opened like this. Nothing is sent then.
    pub fn new(name: &'static str, open: impl Fn(Opening<'_>) -> Result<Arc<dyn Provider>> + Send + Sync + 'static) -> Self {
        Self { name, open: Arc::new(open) }
    }

    /// Opens a provider of this kind.
    ///
    /// # Errors
    /// If its settings cannot be used.
    pub fn open(&self, opening: Opening<'_>) -> Result<Arc<dyn Provider>> {
        (self.open)(opening)
    }
}

impl Debug for ProviderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderKind").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A model that needs no table in the pipeline file: it answers in this process, and sends no bill.
#[derive(Clone, Debug)]
pub struct BuiltinModel {
    /// Its name, such as `builtin/extractive`.
    pub name: &'static str,
    /// What answers.
    pub provider: Arc<dyn Provider>,
}
