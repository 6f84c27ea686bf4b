//! Any server with the chat completions API: OpenAI, OpenRouter, Mistral, vLLM, llama.cpp, Ollama and the rest.
//!
//! One request goes out, once: no redirect is followed and nothing that may have been read is sent twice. What matters
//! besides the answer is what a failure may have cost. A request that never left, or was refused before anything was
//! generated, costs nothing; one that was sent and not answered may have been billed in full. Where a broken
//! response can still be looked up (OpenRouter), it is.

// An error carries what there was of the response; it is moved once a request.
#![allow(clippy::result_large_err)]

mod body;
mod cache;
mod limit;
mod lookup;
mod reach;
mod reply;
mod settings;
mod stale;
#[cfg(test)]
mod tests;
mod unpack;
mod usage;

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::Utc;
use promptmill_core::pipeline::MaxTokensField;
use promptmill_core::{Error, ProviderSpec};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, StatusCode, Url};
use tokio::time::timeout;

use crate::classify::{ERROR_BODY_BYTES, SHORTEST_SECRET, one_line, redact};
use crate::{CallError, Charge, Class, Provider, RateLimits, Refusal, Request, Response, classify, read_rate_limits, read_retry_after};

use self::body::Form;
use self::cache::{CacheAdvice, CacheHints};
use self::limit::{LIMIT_FIELDS, LimitField};
use self::reach::{causes, is_untouched};
use self::settings::{join, key_header, open_client, read_base_url, read_header, sounds_secret};
use self::unpack::unpacked;
use self::usage::Bill;

/// A larger response is none that was asked for.
const MOST_BODY_BYTES: usize = 16 * 1_024 * 1_024;
/// A refusal is known by its status; its words are not waited for longer than this.
const WORDS_TIMEOUT: Duration = Duration::from_secs(2);
/// A shorter key is not cut out of answers, which may well contain its text (`none`, `ollama`).
const SHORTEST_SECRET_IN_ANSWERS: usize = 16;

/// A server with the chat completions API.
pub struct OpenAi {
    name: String,
    client: Client,
    /// The same without a connection that was used before; opened when one has gone stale.
    fresh_client: OnceLock<Option<Client>>,
    /// Whether either has ever opened a connection.
    connected: Arc<AtomicBool>,
    base: Url,
    /// Sent with every request.
    headers: HeaderMap,
    /// Of the completions, with whatever query the base URL has.
    url: Url,
    generation_url: Url,
    limit: LimitField,
    cache: CacheAdvice,
    most_body_bytes: usize,
    /// The key, and the values of headers and queries that by their names hold one.
    secrets: Vec<String>,
}

/// A text as it stands in the query of an address.
fn in_address(text: &str, base: &Url) -> String {
    let mut address = base.clone();
    address.query_pairs_mut().clear().append_key_only(text);
    address.query().unwrap_or_default().to_owned()
}

impl OpenAi {
    /// The provider that the pipeline file calls `name`. Nothing is sent.
    ///
    /// # Errors
    /// If the base URL, a header or the key cannot be used.
    pub fn new(name: &str, spec: &ProviderSpec, key: Option<String>) -> Result<Self, Error> {
        let base = read_base_url(name, &spec.base_url)?;
        let secret_queries = base.query_pairs().filter(|(name, _)| sounds_secret(name));
        let mut secrets: Vec<String> = secret_queries.map(|(_, value)| value.into_owned()).collect();
        let (mut headers, connected) = (HeaderMap::new(), Arc::default());
        if let Some(key) = key {
            let key = key.trim();
            headers.insert(AUTHORIZATION, key_header(name, spec, key)?);
            secrets.push(key.to_owned());
        }
        for (header, value) in &spec.headers {
            let (header, value) = read_header(name, header, value, &mut secrets)?;
            headers.insert(header, value);
        }
        // A proxy may say what it was sent as it would stand in an address.
        let in_addresses: Vec<String> = secrets.iter().map(|secret| in_address(secret, &base)).collect();
        secrets.extend(in_addresses);
        secrets.sort_unstable_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        Ok(Self {
            name: name.to_owned(),
            client: open_client(name, &base, &headers, true, &connected)?,
            connected,
            fresh_client: OnceLock::new(),
            url: join(&base, &["chat", "completions"]),
            generation_url: join(&base, &["generation"]),
            limit: LimitField::new(base.host_str().unwrap_or_default(), None),
            cache: CacheAdvice::new(base.host_str().unwrap_or_default()),
            base,
            headers,
            most_body_bytes: MOST_BODY_BYTES,
            secrets,
        })
    }

    /// The same provider with a name for the field that bounds the output, instead of the one that follows from the
    /// model's family and the server's words.
    #[must_use]
    pub fn with_max_tokens_field(mut self, field: Option<MaxTokensField>) -> Self {
        self.limit = LimitField::new(self.base.host_str().unwrap_or_default(), field);
        self
    }

    /// The same provider with another bound on the size of a response, 16 MiB without.
    #[must_use]
    pub fn with_most_body_bytes(mut self, bytes: usize) -> Self {
        self.most_body_bytes = bytes;
        self
    }

    /// Sends a request; once more, on a connection of its own, if it met one that had gone stale.
    async fn send(&self, request: &Request, form: Form) -> Result<reqwest::Response, CallError> {
        let body = body::write(request, form)
            .map_err(|error| self.failed(Class::BadRequest, Charge::Nothing, &format!("the request cannot be written as JSON: {error}")))?;
        let body = Bytes::from(body);
        let begun = Instant::now();
        let (sent, is_new_connection) = stale::watched(self.post(&self.client, body.clone(), request.timeout)).await;
        let error = match sent {
            Ok(response) => return Ok(response),
            Err(error) => error,
        };
        let is_stale = !is_new_connection && !error.is_connect() && !error.is_timeout() && stale::is_unread(&error, begun.elapsed());
        let Some(fresh) = self.fresh_client().filter(|_| is_stale || is_untouched(&causes(&error))) else {
            return Err(self.not_answered(&error, request.timeout));
        };
        tracing::debug!(provider = self.name, error = causes(&error), "a connection had gone stale; the request is sent on a new one");
        let patience = request.timeout.saturating_sub(begun.elapsed());
        self.post(fresh, body, patience).await.map_err(|error| self.not_answered(&error, request.timeout))
    }

    async fn post(&self, client: &Client, body: Bytes, patience: Duration) -> reqwest::Result<reqwest::Response> {
        client
            .post(self.url.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .timeout(patience)
            .body(body)
            .send()
            .await
    }

    fn fresh_client(&self) -> Option<&Client> {
        self.fresh_client.get_or_init(|| open_client(&self.name, &self.base, &self.headers, false, &self.connected).ok()).as_ref()
    }

    /// A response with another status than success: mostly a refusal, now and then one that holds what the model has said.
    async fn refused(
        &self,
        response: reqwest::Response,
        headers: &HeaderMap,
        limits: RateLimits,
    ) -> Result<Response, (CallError, Refusal)> {
        let status = response.status();
        let mut words = Vec::new();
        // What has come by then is enough, and a connection that broke here changes nothing.
        let _ = timeout(WORDS_TIMEOUT, read_up_to(response, ERROR_BODY_BYTES, &mut words)).await;
        let words = unpacked(words, ERROR_BODY_BYTES).map(|(words, _)| words).unwrap_or_default();
        if let Some(response) = reply::read_refused(&self.text(&words)) {
            return Ok(Response { limits, ..response });
        }
        let refusal = classify(status.as_u16(), headers, &words, Utc::now(), &self.secrets);
        let error = CallError {
            class: refusal.class,
            message: refusal.message.clone(),
            hint: refusal.hint.clone(),
            status: Some(status.as_u16()),
            retry_after: refusal.retry_after,
            // What it states comes before what its kind makes likely.
            charge: Bill::of_error(&words).map_or_else(|| charge_of(refusal.class, status), Bill::charge),
            raw: (!words.is_empty()).then(|| redact(String::from_utf8_lossy(&words).into_owned(), &self.secrets, SHORTEST_SECRET)),
            limits,
            limit_hint: refusal.limit_hint,
        };
        Err((error, refusal))
    }

    /// A body as a text, without secrets. Invalid UTF-8 stays visible as U+FFFD, for the checks on answers to see.
    fn text(&self, bytes: &[u8]) -> String {
        redact(String::from_utf8_lossy(bytes).into_owned(), &self.secrets, SHORTEST_SECRET_IN_ANSWERS)
    }

    /// The body of a successful response, read as far as it came.
    async fn receive(&self, response: reqwest::Response, headers: &HeaderMap, patience: Duration) -> Result<Response, CallError> {
        let mut bytes = Vec::with_capacity(response.content_length().unwrap_or(0).min(1 << 20) as usize);
        let end = read_up_to(response, self.most_body_bytes, &mut bytes).await;
        let (bytes, unpacking) = match unpacked(bytes, self.most_body_bytes) {
            Ok((bytes, is_more)) => (bytes, Ok(is_more)),
            Err(error) => (Vec::new(), Err(error)),
        };
        let error = match (end, unpacking) {
            (Ok(End::Complete), Ok(false)) => {
                // As a string that is moved where it can be: most bodies are.
                let text = String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
                return reply::read_with(redact(text, &self.secrets, SHORTEST_SECRET_IN_ANSWERS), headers, &self.secrets);
            }
            (Ok(_), Ok(_)) => {
                let message = format!("the response is larger than {} bytes", self.most_body_bytes);
                self.failed(Class::Malformed, Charge::Unknown, &message)
            }
            (Ok(_), Err(error)) => self.failed(Class::Malformed, Charge::Unknown, &format!("the response cannot be unpacked: {error}")),
            (Err(error), _) if error.is_timeout() => {
                self.failed(Class::Timeout, Charge::Unknown, &format!("the response was not complete within {patience:?}"))
            }
            (Err(error), _) => {
                // What has come of a stream counts; of anything else nothing can be known.
                if let Some(response) = reply::read_cut(&self.text(&bytes), &self.secrets) {
                    return Ok(response);
                }
                self.failed(Class::Timeout, Charge::Unknown, &format!("the connection broke inside the response: {}", causes(&error)))
            }
        };
        let raw = &bytes[..bytes.len().min(ERROR_BODY_BYTES)];
        Err(CallError { raw: (!raw.is_empty()).then(|| self.text(raw)), ..error })
    }

    /// Asks once, in this form.
    async fn ask(&self, request: &Request, form: Form) -> Result<Response, (CallError, Option<Refusal>)> {
        let mut response = self.send(request, form).await.map_err(|error| (error, None))?;
        let headers = std::mem::take(response.headers_mut());
        let limits = read_rate_limits(&headers, Utc::now());
        let status = response.status();
        if !status.is_success() {
            return self.refused(response, &headers, limits).await.map_err(|(mut error, refusal)| {
                // Words that are taken for the name of a field are none if no such field was sent.
                if refusal.parameter.as_deref().is_some_and(|name| error.class == Class::BadRequest && !body::has_field(request, name)) {
                    error.hint = error.hint.filter(|_| matches!(error.status, Some(404 | 405)));
                }
                (error, Some(refusal))
            });
        }
        // Kept before the body is read: it is what a broken one is looked up by.
        let generation = headers.get("x-generation-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
        let mut outcome = self.receive(response, &headers, request.timeout).await;
        // Where something was generated, nothing in the body does not mean that nothing is billed.
        if let Err(error @ CallError { charge: Charge::Nothing, class: Class::Overloaded | Class::Unreachable, .. }) = &mut outcome
            && generation.is_some()
        {
            error.charge = Charge::Unknown;
        }
        self.reconcile(&mut outcome, generation).await;
        match outcome {
            Ok(response) => Ok(Response { limits, cost: response.cost.or_else(|| usage::cost_in(&headers)), ..response }),
            Err(error) => {
                let retry_after = error.retry_after.or_else(|| read_retry_after(&headers, Utc::now()));
                Err((CallError { status: Some(status.as_u16()), retry_after, limits, ..error }, None))
            }
        }
    }

    fn failed(&self, class: Class, charge: Charge, message: &str) -> CallError {
        CallError {
            class,
            message: one_line(message, &self.secrets),
            hint: None,
            status: None,
            retry_after: None,
            charge,
            raw: None,
            limits: RateLimits::NONE,
            limit_hint: None,
        }
    }
}

#[async_trait]
impl Provider for OpenAi {
    async fn complete(&self, request: &Request) -> Result<Response, CallError> {
        let mut form = Form { limit_field: self.limit.name(&request.model), cache: self.cache.hints(request) };
        let mut is_other_limit = false;
        let mut is_without_hints = false;
        // Nobody has looked at more than the request's form, and another one may be all that is asked for: once each.
        loop {
            let (error, refusal) = match self.ask(request, form).await {
                Ok(response) => {
                    self.cache.taken(form.cache);
                    if is_without_hints {
                        self.cache.refused();
                    }
                    return Ok(response);
                }
                Err(refused) => refused,
            };
            let Some(refusal) = refusal else { return Err(error) };
            let is_sent = request.max_tokens.is_some() && !LIMIT_FIELDS.iter().any(|field| request.extra_body.contains_key(*field));
            let instead = if is_sent && !is_other_limit { self.limit.instead_of(form.limit_field, &refusal) } else { None };
            if let Some(other) = instead {
                form.limit_field = other;
                is_other_limit = true;
            } else if self.cache.may_be_refused(form.cache, &refusal) {
                form.cache = CacheHints::default();
                is_without_hints = true;
            } else {
                return Err(error);
            }
        }
    }

    fn read(&self, raw: &str) -> Result<Response, CallError> {
        reply::read(raw.to_owned(), &self.secrets)
    }
}

/// Names no secret: neither the key nor headers, nor the query of the URL.
impl fmt::Debug for OpenAi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut url = self.url.clone();
        url.set_query(None);
        f.debug_struct("OpenAi").field("name", &self.name).field("url", &url.as_str()).finish_non_exhaustive()
    }
}

/// How reading a body ended.
enum End {
    Complete,
    TooLong,
}

/// Reads a body, unpacked, into `bytes`, and drops the connection if it goes on beyond `most`.
async fn read_up_to(mut response: reqwest::Response, most: usize, bytes: &mut Vec<u8>) -> reqwest::Result<End> {
    while let Some(chunk) = response.chunk().await? {
        let room = most - bytes.len();
        bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            return Ok(End::TooLong);
        }
    }
    Ok(End::Complete)
}

/// What a refusal may have cost. A gateway that gave up waiting says nothing about the server behind it, and a server
/// that cannot read what its model has said has let it speak.
fn charge_of(class: Class, status: StatusCode) -> Charge {
    match status.as_u16() {
        _ if class == Class::Malformed => Charge::Unknown,
        // Two of Cloudflare's: an empty or broken response, and none in time.
        408 | 504 | 520 | 524 => Charge::Unknown,
        _ => Charge::Nothing,
    }
}
