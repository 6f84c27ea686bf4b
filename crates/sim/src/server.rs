//! The service: its socket, its connections, its routes, and the handle that a test holds.
//!
//! Leaves what a completion does to `chat`.

use crate::body::SimBody;
use crate::books::{ItemCount, LedgerSnapshot};
use crate::chat;
use crate::config::{BadSetting, Outage, ScheduleFrom, SimConfig};
use crate::control::{self, ScheduledPatch};
use crate::price::{usd, usd_per_token};
use crate::reply;
use crate::shared::Shared;
use crate::timeline::Tick;
use crate::wire::{Line, Wire};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioExecutor;
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, JoinSet};

const BACKLOG: i32 = 4_096;
const LARGEST_PATCH: usize = 1_000_000;

/// A simulated provider that is running. Dropping it ends the service.
#[derive(Debug)]
pub struct Simulator {
    address: SocketAddr,
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

impl Simulator {
    /// Starts the service that `config` describes on the current tokio runtime.
    ///
    /// # Errors
    /// Settings that cannot be (kind `InvalidInput`), an address that cannot be bound, or no tokio runtime here.
    pub fn start(config: SimConfig) -> io::Result<Self> {
        let runtime = Handle::try_current().map_err(io::Error::other)?;
        let invalid = |error: BadSetting| io::Error::new(io::ErrorKind::InvalidInput, error);
        config.check().map_err(invalid)?;
        let mut schedule = config.schedule.clone();
        schedule.sort_by(|one, two| one.at_seconds.total_cmp(&two.at_seconds));
        let mut played = config.clone();
        for entry in &schedule {
            played = control::patched(&played, &entry.patch).map_err(invalid)?;
            if !(0.0..=1e9).contains(&entry.at_seconds) {
                let message = format!("`schedule.at_seconds` must be between 0 and 1e9, not {}", entry.at_seconds);
                return Err(invalid(BadSetting::new(message)));
            }
        }
        let listener = bind(config.listen)?;
        let address = listener.local_addr()?;
        let from = config.schedule_from;
        let shared = Arc::new(Shared::new(config));
        let mut tasks = vec![runtime.spawn(accept(listener, Arc::clone(&shared)))];
        if !schedule.is_empty() {
            tasks.push(runtime.spawn(play(schedule, from, Arc::clone(&shared))));
        }
        Ok(Self { address, shared, tasks })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a client takes as its base URL: `http://127.0.0.1:PORT/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The settings in force, with every change so far.
    pub fn config(&self) -> SimConfig {
        (*self.shared.config()).clone()
    }

    /// The books as they stand.
    pub fn ledger(&self) -> LedgerSnapshot {
        self.shared.snapshot()
    }

    /// How often each item was paid and answered, by its marker (without the brackets), or for an item without one by
    /// `#` and the hash of its text.
    pub fn item_counts(&self) -> BTreeMap<String, ItemCount> {
        self.shared.ledger.item_counts()
    }

    /// What happened since the books were opened, in ticks of [`TICK_MS`](crate::TICK_MS).
    pub fn timeline(&self) -> Vec<Tick> {
        self.shared.ledger.timeline()
    }

    /// Opens new books. Requests under way are booked in the new ones.
    pub fn reset_ledger(&self) {
        self.shared.reset();
    }

    /// Merges a JSON merge patch into the settings, such as `json!({"limits": {"max_in_flight": 16}})`. It holds for
    /// every request that arrives from now on.
    ///
    /// # Errors
    /// A patch that touches what cannot change, or leads to settings that cannot be; nothing changes then.
    pub fn control(&self, patch: &Value) -> Result<(), BadSetting> {
        self.shared.apply(patch)
    }

    /// Ends the service: the port is free and every connection closed when this returns.
    pub async fn shutdown(mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
            // The error says that it was aborted.
            _ = task.await;
        }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Dropping the set when this task is aborted ends the connections with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    if shared.config().outage == Outage::Refused {
                        shared.ledger.connection_refused();
                        _ = stream.set_zero_linger();
                        continue;
                    }
                    connections.spawn(serve(stream, Arc::clone(&shared)));
                }
                // Out of descriptors, or a client that left already: others may still come.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    // Without it small answers wait for acknowledgements; where it fails they are merely slow.
    _ = stream.set_nodelay(true);
    let line = Arc::new(Line::default());
    let wire = Wire::new(stream, Arc::clone(&line));
    let service = service_fn(move |request| {
        let (shared, line) = (Arc::clone(&shared), Arc::clone(&line));
        async move { route(&shared, request, &line).await }
    });
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http2().max_concurrent_streams(4_096);
    // An error here is a client that left or a fault that was asked for.
    _ = server.serve_connection(wire, service).await;
}

async fn route(shared: &Arc<Shared>, request: Request<Incoming>, line: &Arc<Line>) -> io::Result<Response<SimBody>> {
    let path = request.uri().path().trim_end_matches('/');
    let query = |name: &str| {
        let pairs = request.uri().query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        pairs.into_iter().find_map(|(key, value)| (key == name).then(|| value.to_owned()))
    };
    let (status, body) = match (request.method(), path) {
        (&Method::POST, path) if path.ends_with("/chat/completions") => {
            return chat::complete(shared, request, line).await;
        }
        (&Method::GET, path) if path.ends_with("/models") => (200, models(&shared.config())),
        (&Method::GET, path) if path.ends_with("/generation") => generation(shared, &query("id").unwrap_or_default()),
        (&Method::GET, "/healthz") => (200, json!({"status": "ok"})),
        (&Method::GET, "/ledger") => {
            let mut books = serde_json::to_value(shared.snapshot()).map_err(io::Error::other)?;
            if query("items").as_deref() == Some("true") {
                books["item_counts"] = serde_json::to_value(shared.ledger.item_counts()).map_err(io::Error::other)?;
            }
            if query("timeline").as_deref() == Some("true") {
                books["timeline"] = serde_json::to_value(shared.ledger.timeline()).map_err(io::Error::other)?;
            }
            (200, books)
        }
        (&Method::POST, "/ledger/reset") => {
            shared.reset();
            (200, json!({"status": "reset"}))
        }
        (&Method::GET, "/control") => (200, control::settings(&shared.config())),
        (&Method::POST, "/control") => {
            let body = Limited::new(request.into_body(), LARGEST_PATCH).collect().await.map_err(io::Error::other)?;
            let patch = serde_json::from_slice(&body.to_bytes()).map_err(|error| BadSetting::new(error.to_string()));
            match patch.and_then(|patch| shared.apply(&patch)) {
                Ok(()) => (200, control::settings(&shared.config())),
                Err(error) => (400, json!({"error": {"message": error.to_string()}})),
            }
        }
        (method, path) => {
            let message = format!("Unknown request URL: {method} {path}");
            let body = reply::openai_error(&message, "invalid_request_error", None, Some("unknown_url"));
            return Ok(respond(404, body));
        }
    };
    Ok(respond(status, body.to_string()))
}

fn respond(status: u16, body: String) -> Response<SimBody> {
    let mut response = Response::new(SimBody::Whole(body.into()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(HeaderName::from_static("x-request-id"), HeaderValue::from_static("req-0"));
    response
}

fn models(config: &SimConfig) -> Value {
    let names = if config.models.is_empty() { &["simulated".to_owned()][..] } else { &config.models };
    let price = &config.price;
    let pricing = json!({
        "prompt": usd_per_token(price.input),
        "completion": usd_per_token(price.output),
        "input_cache_read": usd_per_token(price.cached_input.unwrap_or(price.input)),
        "input_cache_write": usd_per_token(price.cache_write.unwrap_or(price.input)),
        "request": usd_per_token(price.request * 1e6),
    });
    let list: Vec<_> = names
        .iter()
        .map(|name| {
            json!({
                "id": name,
                "object": "model",
                "created": 0,
                "owned_by": "promptmill-sim",
                "context_length": config.context_tokens,
                "pricing": pricing,
            })
        })
        .collect();
    json!({"object": "list", "data": list})
}

fn generation(shared: &Shared, id: &str) -> (u16, Value) {
    let number = id.strip_prefix("gen-").and_then(|number| number.parse().ok());
    let Some(found) = number.and_then(|number| shared.ledger.generation(number)) else {
        return (404, json!({"error": {"code": 404, "message": format!("Generation {id} not found")}}));
    };
    // As a number this would pass through a float; every nano-dollar below nine million dollars survives that.
    let cost: Value = usd(found.nano_usd).parse::<f64>().map_or(Value::Null, Value::from);
    (
        200,
        json!({"data": {
            "id": id,
            "total_cost": cost,
            "usage": cost,
            "native_tokens_prompt": found.tokens.prompt,
            "native_tokens_completion": found.tokens.completion,
            "native_tokens_cached": found.tokens.cached,
            "native_tokens_reasoning": found.tokens.thought,
            "is_byok": false,
            "streamed": false,
            "cancelled": false,
            "provider_name": "simulated",
        }}),
    )
}

/// Plays a schedule that is sorted by time.
async fn play(schedule: Vec<ScheduledPatch>, from: ScheduleFrom, shared: Arc<Shared>) {
    if from == ScheduleFrom::FirstRequest {
        shared.first_request.notified().await;
    }
    let start = tokio::time::Instant::now();
    for entry in schedule {
        tokio::time::sleep_until(start + Duration::from_secs_f64(entry.at_seconds)).await;
        // Checked at the start; a patch from outside meanwhile can have made it impossible, and then wins.
        _ = shared.apply(&entry.patch);
    }
}
