//! A small HTTP/1.1 client that shows also what breaks off, and the requests that the tests send.

use crate::{SimConfig, Simulator};
use serde_json::{Map, Value, json};
use std::io::{self, ErrorKind};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One connection.
pub(super) struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

/// A response, perhaps only the beginning of one.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    head: String,
    pub(super) body: Vec<u8>,
    /// What broke off the body, if something did.
    pub(super) broken: Option<ErrorKind>,
}

impl Client {
    pub(super) async fn connect(sim: &Simulator) -> Self {
        let stream = TcpStream::connect(sim.address()).await.expect("it listens");
        stream.set_nodelay(true).expect("a TCP socket");
        Self { stream, read: Vec::new() }
    }

    /// Sends a request and reads the response. An error: there was none.
    pub(super) async fn send(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> io::Result<Reply> {
        let head = format!("{method} {path} HTTP/1.1\r\nhost: sim\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
        self.stream.write_all(head.as_bytes()).await?;
        self.stream.write_all(body).await?;
        let end = loop {
            if let Some(end) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        };
        let head = String::from_utf8(self.read.drain(..end + 4).collect()).expect("heads are ASCII");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let mut reply = Reply { status, head, body: Vec::new(), broken: None };
        let length: usize = reply.header("content-length").and_then(|length| length.parse().ok()).expect("a length");
        while self.read.len() < length && reply.broken.is_none() {
            let read = tokio::time::timeout(Duration::from_millis(700), self.stream.read_buf(&mut self.read)).await;
            reply.broken = match read {
                Ok(Ok(0)) => Some(ErrorKind::UnexpectedEof),
                Ok(Ok(_)) => None,
                Ok(Err(error)) => Some(error.kind()),
                Err(_) => Some(ErrorKind::TimedOut),
            };
        }
        reply.body = self.read.drain(..length.min(self.read.len())).collect();
        Ok(reply)
    }

    pub(super) async fn ask(&mut self, body: &Value) -> io::Result<Reply> {
        self.send("POST", "/v1/chat/completions", "", body.to_string().as_bytes()).await
    }

    pub(super) async fn get(&mut self, path: &str) -> Value {
        self.send("GET", path, "", b"").await.expect("a response").json()
    }
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    pub(super) fn content(&self) -> String {
        self.json()["choices"][0]["message"]["content"].as_str().expect("content").to_owned()
    }

    /// The content as the object that it should be.
    pub(super) fn answers(&self) -> Map<String, Value> {
        serde_json::from_str(&self.content()).expect("a JSON object")
    }
}

/// A service with the faults of `spec` that answers at once.
pub(super) fn with_faults(spec: &str) -> Simulator {
    let config = SimConfig { faults: spec.parse().expect("valid"), seed: 1, ..SimConfig::instant() };
    start(config)
}

pub(super) fn start(config: SimConfig) -> Simulator {
    Simulator::start(config).expect("starts")
}

/// A request about `count` motions from number `first` on.
pub(super) fn pack(first: usize, count: usize) -> Value {
    let lines: Vec<_> = (0..count)
        .map(|n| {
            let text = format!(
                "Motie over onderwerp {0}\n\nDe Kamer,\nverzoekt de regering een plan voor onderwerp {0} te maken,\nen gaat over tot de orde van de dag. [[m-{0}]]",
                first + n
            );
            json!({"id": format!("r{}", n + 1), "text": text}).to_string()
        })
        .collect();
    json!({
        "model": "mistral-small",
        "messages": [
            {"role": "system", "content": "Je legt moties uit in eenvoudig Nederlands."},
            {"role": "user", "content": format!("Schrijf voor elke motie uitleg.\n{}", lines.join("\n"))},
        ],
    })
}

/// The same, with a JSON schema.
pub(super) fn with_schema(mut request: Value, schema: &Value) -> Value {
    request["response_format"] = json!({"type": "json_schema", "json_schema": {"name": "rows", "strict": true, "schema": schema}});
    request
}
