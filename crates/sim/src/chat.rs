//! One chat completion from arrival to response: outage, key, limits, early faults, waiting, response.
//!
//! Leaves the answer and its bill to `generation` and the ways in which a body goes wrong to `body`.

use crate::body::{self, SimBody};
use crate::config::{Outage, SimConfig};
use crate::dialect;
use crate::draw::Draw;
use crate::faults::Fault;
use crate::generation::{Answer, Generating, milliseconds};
use crate::limits::{Admission, Slot};
use crate::outcome::Outcome;
use crate::prompt::{ChatRequest, Shape, pack_hash};
use crate::reply;
use crate::shared::Shared;
use crate::wire::Line;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{HeaderMap, Request, Response, StatusCode, Version};
use std::io;
use std::sync::Arc;
use std::time::Duration;

const JSON: &str = "application/json";
const LARGEST_REQUEST: usize = 64_000_000;

/// One request under way. Dropped before it is settled, it counts as abandoned.
struct Visit {
    shared: Arc<Shared>,
    config: Arc<SimConfig>,
    number: u64,
    /// What it weighs against the token limit, for the headers.
    weight: u64,
    /// Since when it holds a place, if it does.
    held_since: Option<u64>,
    settled: bool,
}

/// Serves one completion. An error closes the connection without a response.
pub(crate) async fn complete(shared: &Arc<Shared>, request: Request<Incoming>, line: &Arc<Line>) -> io::Result<Response<SimBody>> {
    let mut visit = Visit::begin(shared);
    let config = Arc::clone(&visit.config);
    // Over HTTP/2 a reset is one of the stream: the connection carries other requests.
    let line = (request.version() != Version::HTTP_2).then(|| Arc::clone(line));
    if config.outage == Outage::Refused {
        visit.settle(Outcome::OutageReset);
        if let Some(line) = line {
            line.cut();
        }
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    let key_fits = config.api_key.as_ref().is_none_or(|key| bearer(request.headers()) == Some(key));
    // The body is read also where it does not matter: the connection can then be used again, and a client that leaves
    // is noticed.
    let body = match Limited::new(request.into_body(), LARGEST_REQUEST).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            let body = reply::openai_error("Request body too large", "invalid_request_error", None, None);
            return Ok(visit.refuse(Outcome::RefusedRequest, 413, JSON, body, None).await);
        }
        Err(error) => return Err(io::Error::other(error)),
    };
    if config.outage == Outage::Hang {
        visit.settle(Outcome::OutageHang);
        return std::future::pending().await;
    }
    if config.outage == Outage::Unavailable {
        let body = reply::openai_error("Service temporarily unavailable", "service_unavailable", None, None);
        return Ok(visit.refuse(Outcome::OutageUnavailable, 503, JSON, body, config.limits.retry_after_ms).await);
    }
    if !key_fits {
        return Ok(visit.refuse(Outcome::RefusedKey, 401, JSON, reply::key_error(), None).await);
    }
    let chat = match ChatRequest::read(&body) {
        Ok(chat) => chat,
        Err(error) => {
            let message = format!("We could not parse the JSON body of your request: {error}");
            let body = reply::openai_error(&message, "invalid_request_error", None, None);
            return Ok(visit.refuse(Outcome::RefusedRequest, 400, JSON, body, None).await);
        }
    };
    if let Some((outcome, status, body)) = visit.objection(&chat) {
        return Ok(visit.refuse(outcome, status, JSON, body, None).await);
    }
    let prompt = chat.prompt_tokens();
    visit.weight = prompt + chat.max_tokens().unwrap_or(0);
    let slot = match shared.limiter.admit(visit.weight, shared.seconds()) {
        Admission::Admitted(slot) => slot,
        Admission::Queued(place) => place.await.map_err(io::Error::other)?,
        Admission::Refused(refusal) => {
            let (body, outcome) = dialect::refusal_body(config.limits.dialect, &refusal, &chat.model);
            return Ok(visit.refuse(outcome, 429, JSON, body, Some(refusal.wait * 1_000.0)).await);
        }
    };
    visit.held_since = Some(shared.ledger.micros());
    shared.ledger.admit(visit.weight);
    let items = chat.items();
    let shape = chat.shape(&items);
    let json = !matches!(shape, Shape::Plain);
    let pack = pack_hash(&items);
    let draw = Draw::new(config.seed, pack, shared.asked(pack), items.len(), json, &config.faults);
    if let Some(early) = draw.fault.and_then(|fault| before_generation(fault, draw.detail, prompt)) {
        let (fault, status, kind, body) = early;
        let response = visit.refuse(Outcome::Fault(fault), status, kind, body, None).await;
        drop(slot);
        return Ok(response);
    }
    let answer = Generating { shared, config: &config, number: visit.number }.answer(&chat, &items, &shape, &draw);
    // A waiting request holds no more than its answer.
    drop((items, shape));
    drop(chat);
    drop(body);
    if !answer.wait.is_zero() {
        tokio::time::sleep(answer.wait).await;
    }
    Ok(visit.hand_over(answer, slot, line))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

/// The response of a fault that strikes before anything is generated.
fn before_generation(fault: Fault, detail: u64, prompt: u64) -> Option<(Fault, u16, &'static str, String)> {
    let (status, kind, body) = match fault {
        Fault::ServerError => {
            let (status, kind, body) = reply::server_error(detail);
            (status, kind, body.to_owned())
        }
        Fault::RateLimit => (429, JSON, r#"{"error":{"code":429,"message":"Provider returned error"}}"#.to_owned()),
        Fault::Quota => (429, JSON, reply::quota_error()),
        Fault::Auth => (401, JSON, reply::key_error()),
        Fault::ContextTooLong => (400, JSON, reply::context_error(prompt / 2, prompt, 0)),
        _ => return None,
    };
    Some((fault, status, kind, body))
}

impl Visit {
    fn begin(shared: &Arc<Shared>) -> Self {
        let number = shared.ledger.arrive();
        shared.first_request();
        Self { shared: Arc::clone(shared), config: shared.config(), number, weight: 0, held_since: None, settled: false }
    }

    fn settle(&mut self, outcome: Outcome) {
        self.settled = true;
        self.shared.ledger.settle(outcome);
    }

    /// What is wrong with a request in itself.
    fn objection(&self, chat: &ChatRequest<'_>) -> Option<(Outcome, u16, String)> {
        let refuse = |status, message: &str, code| {
            let body = reply::openai_error(message, "invalid_request_error", None, code);
            Some((Outcome::RefusedRequest, status, body))
        };
        if chat.messages.is_empty() {
            return refuse(400, "Invalid 'messages': empty array.", None);
        }
        if chat.stream == Some(true) {
            return refuse(400, "Streaming is not simulated; send \"stream\": false.", None);
        }
        let models = &self.config.models;
        if !models.is_empty() && !models.iter().any(|model| *model == *chat.model) {
            let message = format!("The model `{}` does not exist or you do not have access to it.", chat.model);
            return refuse(404, &message, Some("model_not_found"));
        }
        let (prompt, output) = (chat.prompt_tokens(), chat.max_tokens().unwrap_or(0));
        let context = self.config.context_tokens.filter(|context| prompt + output > *context)?;
        Some((Outcome::RefusedContext, 400, reply::context_error(context, prompt, output)))
    }

    /// Sends an answer on its way, in the manner of its fault.
    fn hand_over(mut self, answer: Answer, slot: Slot, line: Option<Arc<Line>>) -> Response<SimBody> {
        self.settle(answer.outcome);
        if let Some(from) = self.held_since.filter(|_| answer.outcome == Outcome::Ok) {
            self.shared.ledger.took(from);
        }
        answer.destroyed.iter().for_each(|(fault, items)| self.shared.ledger.destroy(*fault, *items));
        let body = Bytes::from(answer.body);
        let shared = Arc::clone(&self.shared);
        let clean = answer.clean;
        let delivered = move || shared.ledger.deliver(&clean);
        let body = match answer.fault {
            Some(Fault::Reset) => body::broken(&body, line, slot),
            Some(Fault::Stall) => body::stalled(&body, slot),
            Some(Fault::SlowBody) => body::slow(&body, Duration::from_millis(self.config.slow_body_ms), slot, Box::new(delivered)),
            Some(Fault::HugeBody) => body::padded(&body, self.config.huge_body_mb, slot),
            _ => {
                delivered();
                // Free before the client can know that it has its answer: its next request finds a place.
                drop(slot);
                SimBody::Whole(body)
            }
        };
        self.respond(answer.status, JSON, body)
    }

    /// A response of an early error, after the time that one takes. `retry_after_ms` is when to come back.
    async fn refuse(
        &mut self,
        outcome: Outcome,
        status: u16,
        kind: &'static str,
        body: String,
        retry_after_ms: Option<f64>,
    ) -> Response<SimBody> {
        self.settle(outcome);
        let latency = &self.config.latency;
        if !latency.instant && latency.refusal_ms > 0.0 {
            tokio::time::sleep(milliseconds(latency.refusal_ms)).await;
        }
        let mut response = self.respond(status, kind, SimBody::Whole(body.into()));
        if let Some(ms) = retry_after_ms {
            dialect::push_retry_after(response.headers_mut(), &self.config.limits, ms / 1_000.0);
        }
        response
    }

    fn respond(&self, status: u16, kind: &'static str, body: SimBody) -> Response<SimBody> {
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        for (name, stem) in [("x-request-id", "req-"), ("x-generation-id", "gen-")] {
            if let Ok(value) = HeaderValue::try_from(format!("{stem}{}", self.number)) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        if self.config.limits.headers {
            let standing = self.shared.limiter.standing(self.shared.seconds());
            dialect::push_standing(headers, self.config.limits.dialect, standing, self.weight);
        }
        response
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if let Some(from) = self.held_since {
            self.shared.ledger.release(from);
        }
        if !self.settled {
            self.shared.ledger.settle(Outcome::Abandoned);
        }
    }
}
