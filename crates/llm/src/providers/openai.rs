//! Any server with the chat completions API: OpenAI, OpenRouter, Mistral, vLLM, llama.cpp, Ollama and the rest.
//!
//! One request goes out, once: no redirect is followed and nothing is sent twice. What matters besides the
//! answer is what a failure may have cost. A request that never left, or was refused before anything was
//! generated, costs nothing; one that was sent and not answered may have been billed in full. Where a broken
//! response can still be looked up (OpenRouter), it is.

// An error carries what there was of the response; it is moved once a request.
#![allow(clippy::result_large_err)]

mod body;
mod reply;
mod settings;
#[cfg(test)]
mod tests;
mod usage;

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use chrono::Utc;
use promptmill_core::{Error, ProviderSpec};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, StatusCode, Url};
use tokio::time::{sleep, timeout};

use crate::classify::{ERROR_BODY_BYTES, SHORTEST_SECRET, one_line, redact};
use crate::{CallError, Charge, Class, Provider, RateLimits, Refusal, Request, Response, classify, read_rate_limits, read_retry_after};

use self::settings::{join, key_header, open_client, read_base_url, read_header, sounds_secret};
use self::usage::Bill;

/// A larger response is none that was asked for.
const MOST_BODY_BYTES: usize = 16 * 1_024 * 1_024;
/// A refusal is known by its status; its words are not waited for longer than this.
const WORDS_TIMEOUT: Duration = Duration::from_secs(2);
/// Before each look-up of a generation, which is known some seconds after its response.
const LOOK_UP_PAUSES: [Duration; 3] = [Duration::from_millis(250), Duration::from_millis(1_000), Duration::from_millis(2_000)];
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(5);
/// A shorter key is not cut out of answers, which may well contain its text (`none`, `ollama`).
const SHORTEST_SECRET_IN_ANSWERS: usize = 16;

/// A server with the chat completions API.
pub struct OpenAi {
    name: String,
    client: Client,
    /// Of the completions, with whatever query the base URL has.
    url: Url,
    generation_url: Url,
    limit_field: &'static str,
    most_body_bytes: usize,
    /// The key, and the values of headers and queries that by their names hold one.
    secrets: Vec<String>,
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
        let mut headers = HeaderMap::new();
        if let Some(key) = key {
            let key = key.trim();
            headers.insert(AUTHORIZATION, key_header(name, spec, key)?);
            secrets.push(key.to_owned());
        }
        for (header, value) in &spec.headers {
            let (header, value) = read_header(name, header, value, &mut secrets)?;
            headers.insert(header, value);
        }
        let host = base.host_str().unwrap_or_default();
        let is_openai = host == "api.openai.com" || host.ends_with(".api.openai.com");
        let [max_tokens, max_completion_tokens] = body::LIMIT_FIELDS;
        Ok(Self {
            name: name.to_owned(),
            client: open_client(name, &base, &headers)?,
            url: join(&base, &["chat", "completions"]),
            generation_url: join(&base, &["generation"]),
            limit_field: if is_openai { max_completion_tokens } else { max_tokens },
            most_body_bytes: MOST_BODY_BYTES,
            secrets,
        })
    }

    /// The same provider with another bound on the size of a response, 16 MiB without.
    #[must_use]
    pub fn with_most_body_bytes(mut self, bytes: usize) -> Self {
        self.most_body_bytes = bytes;
        self
    }

    async fn send(&self, request: &Request) -> Result<reqwest::Response, CallError> {
        let body = body::write(request, self.limit_field)
            .map_err(|error| self.failed(Class::BadRequest, Charge::Nothing, &format!("the request cannot be written as JSON: {error}")))?;
        self.client
            .post(self.url.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .timeout(request.timeout)
            .body(body)
            .send()
            .await
            .map_err(|error| self.not_answered(&error, request.timeout))
    }

    /// Nothing came back: what that means depends on how far the request got.
    fn not_answered(&self, error: &reqwest::Error, patience: Duration) -> CallError {
        let causes = causes(error);
        let host = self.url.host_str().unwrap_or_default();
        if error.is_connect() {
            return self.failed(Class::Overloaded, Charge::Nothing, &format!("no connection to `{host}`: {causes}"));
        }
        if error.is_builder() {
            return self.failed(Class::BadRequest, Charge::Nothing, &format!("the request cannot be sent: {causes}"));
        }
        if error.is_timeout() {
            return self.failed(Class::Timeout, Charge::Unknown, &format!("no response from `{host}` within {patience:?}"));
        }
        // The two ways in which an HTTP/2 server says that it has not looked at a request, in the words of h2.
        let untouched = ["stream error received: refused stream", "connection error received: not a result of an error"];
        if untouched.iter().any(|words| causes.contains(words)) {
            return self.failed(Class::Overloaded, Charge::Nothing, &format!("`{host}` would not take the request: {causes}"));
        }
        self.failed(Class::Timeout, Charge::Unknown, &format!("the connection to `{host}` broke before a response came: {causes}"))
    }

    /// A response with another status than success.
    async fn refused(&self, response: reqwest::Response, headers: &HeaderMap, limits: RateLimits) -> CallError {
        let status = response.status();
        let mut words = Vec::new();
        // What has come by then is enough, and a connection that broke here changes nothing.
        let _ = timeout(WORDS_TIMEOUT, read_up_to(response, ERROR_BODY_BYTES, &mut words)).await;
        let Refusal { class, message, retry_after, limit_hint } = classify(status.as_u16(), headers, &words, Utc::now(), &self.secrets);
        CallError {
            class,
            message,
            hint: None,
            status: Some(status.as_u16()),
            retry_after,
            // What it states comes before what its kind makes likely.
            charge: Bill::of_error(&words).map_or_else(|| charge_of(class, status), Bill::charge),
            raw: (!words.is_empty()).then(|| redact(String::from_utf8_lossy(&words).into_owned(), &self.secrets, SHORTEST_SECRET)),
            limits,
            limit_hint,
        }
    }

    /// The body of a successful response, read as far as it came.
    async fn receive(&self, response: reqwest::Response, patience: Duration) -> Result<Response, CallError> {
        let mut bytes = Vec::with_capacity(response.content_length().unwrap_or(0).min(1 << 20) as usize);
        let end = read_up_to(response, self.most_body_bytes, &mut bytes).await;
        let text = |mut bytes: Vec<u8>, most: usize| {
            bytes.truncate(most);
            // Invalid UTF-8 stays visible as U+FFFD, for the checks on answers to see.
            let text = String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
            redact(text, &self.secrets, SHORTEST_SECRET_IN_ANSWERS)
        };
        let error = match end {
            Ok(End::Complete) => return reply::read(text(bytes, usize::MAX), &self.secrets),
            Ok(End::TooLong) => {
                let message = format!("the response is larger than {} bytes", self.most_body_bytes);
                self.failed(Class::Malformed, Charge::Unknown, &message)
            }
            Err(error) if error.is_timeout() => {
                self.failed(Class::Timeout, Charge::Unknown, &format!("the response was not complete within {patience:?}"))
            }
            Err(error) => match causes(&error) {
                // The words of hyper, whose types are not ours to look at.
                causes if causes.contains("reading a body from connection") => {
                    self.failed(Class::Timeout, Charge::Unknown, &format!("the connection broke inside the response: {causes}"))
                }
                causes => self.failed(Class::Malformed, Charge::Unknown, &format!("the response cannot be unpacked: {causes}")),
            },
        };
        Err(CallError { raw: (!bytes.is_empty()).then(|| text(bytes, ERROR_BODY_BYTES)), ..error })
    }

    /// Asks what a generation cost. `None` if that is not to be learned within five seconds.
    async fn look_up(&self, id: &str) -> Option<Bill> {
        let mut url = self.generation_url.clone();
        url.query_pairs_mut().append_pair("id", id);
        let attempts = async {
            for pause in LOOK_UP_PAUSES {
                sleep(pause).await;
                let Ok(response) = self.client.get(url.clone()).send().await else { continue };
                let status = response.status();
                let mut bytes = Vec::new();
                if status.is_success() && read_up_to(response, ERROR_BODY_BYTES, &mut bytes).await.is_ok() {
                    if let Some(bill) = Bill::of_generation(&String::from_utf8_lossy(&bytes)) {
                        return Some(bill);
                    }
                } else if status.is_client_error() && status != StatusCode::NOT_FOUND && status != StatusCode::TOO_MANY_REQUESTS {
                    return None;
                }
            }
            None
        };
        timeout(LOOK_UP_TIMEOUT, attempts).await.ok().flatten()
    }

    /// Fills in what a response cost where it did not say so itself and the provider can be asked.
    async fn reconcile(&self, outcome: &mut Result<Response, CallError>, header_id: Option<String>) {
        let (is_unknown, raw) = match outcome {
            Ok(response) => (response.usage.is_none() && response.cost.is_none(), Some(response.raw.as_str())),
            Err(error) => (error.charge == Charge::Unknown, error.raw.as_deref()),
        };
        if !is_unknown {
            return;
        }
        let Some(id) = header_id.or_else(|| reply::generation_id(raw?).map(str::to_owned)) else { return };
        let Some(bill) = self.look_up(&id).await else {
            tracing::debug!(provider = self.name, id, "the cost of a generation could not be looked up");
            return;
        };
        match outcome {
            Ok(response) => (response.usage, response.cost) = (bill.usage, bill.cost),
            Err(error) => error.charge = bill.charge(),
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
        let mut response = self.send(request).await?;
        let headers = std::mem::take(response.headers_mut());
        let limits = read_rate_limits(&headers, Utc::now());
        let status = response.status();
        if !status.is_success() {
            return Err(self.refused(response, &headers, limits).await);
        }
        // Kept before the body is read: it is what a broken one is looked up by.
        let generation = headers.get("x-generation-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
        let mut outcome = self.receive(response, request.timeout).await;
        self.reconcile(&mut outcome, generation).await;
        match outcome {
            Ok(response) => Ok(Response { limits, ..response }),
            Err(error) => {
                let retry_after = error.retry_after.or_else(|| read_retry_after(&headers, Utc::now()));
                Err(CallError { status: Some(status.as_u16()), retry_after, limits, ..error })
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

/// The causes beneath an error, without its URL, which may hold a secret.
fn causes(error: &reqwest::Error) -> String {
    let mut causes: Vec<String> = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        // The layers of the HTTP client say no more than that it was they.
        let is_layer = cause.is::<reqwest::Error>() || text.starts_with("client error (");
        if !is_layer && !causes.iter().any(|known| known.contains(&text)) {
            causes.push(text);
        }
        next = cause.source();
    }
    if causes.is_empty() { "the HTTP client gives no reason".to_owned() } else { causes.join(": ") }
}
