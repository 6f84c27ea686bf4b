//! How many requests a second the simulated provider serves: a load loop over raw sockets.
//!
//! ```text
//! load                                   service and load in one process, one and twenty items a request
//! load serve ADDRESS                     only the service, answering at once (pin it to one core with taskset)
//! load run ADDRESS SECONDS CONNECTIONS ITEMS    only the load
//! ```

#![allow(clippy::print_stdout, reason = "the figures are what this program is for")]

use promptmill_sim::{SimConfig, Simulator};
use serde_json::json;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Stands in the request for the number that tells items apart.
const NUMBER: &str = "00000000";

#[tokio::main]
async fn main() -> io::Result<()> {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => {
            let sim = Simulator::start(SimConfig::instant())?;
            run(sim.address(), 5, 32, 1).await?;
            run(sim.address(), 5, 32, 20).await
        }
        ["serve", address] => {
            let config = SimConfig { listen: address.parse().map_err(io::Error::other)?, ..SimConfig::instant() };
            let sim = Simulator::start(config)?;
            println!("serving {}", sim.base_url());
            std::future::pending().await
        }
        ["run", address, seconds, connections, items] => {
            let number = |word: &str| word.parse().map_err(io::Error::other);
            let address = address.parse().map_err(io::Error::other)?;
            run(address, number(seconds)?, number(connections)?, number(items)?).await
        }
        _ => Err(io::Error::other("usage: load | load serve ADDRESS | load run ADDRESS SECONDS CONNECTIONS ITEMS")),
    }
}

async fn run(address: SocketAddr, seconds: u64, connections: u64, items: u64) -> io::Result<()> {
    let request: Arc<[u8]> = request(items).into();
    let (served, bytes) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let begin = Instant::now();
    let end = begin + Duration::from_secs(seconds);
    let loops: Vec<_> = (0..connections)
        .map(|connection| {
            let (request, served, bytes) = (Arc::clone(&request), Arc::clone(&served), Arc::clone(&bytes));
            tokio::spawn(async move {
                let mut request = request.to_vec();
                let places: Vec<_> = (0..request.len() - NUMBER.len()).filter(|at| request[*at..].starts_with(NUMBER.as_bytes())).collect();
                let mut stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                let mut read = Vec::with_capacity(65_536);
                let mut next = connection * 1_000_000;
                while Instant::now() < end {
                    for place in &places {
                        next += 1;
                        request[*place..*place + NUMBER.len()].copy_from_slice(format!("{next:08}").as_bytes());
                    }
                    stream.write_all(&request).await?;
                    bytes.fetch_add(response(&mut stream, &mut read).await?, Relaxed);
                    served.fetch_add(1, Relaxed);
                }
                Ok::<_, io::Error>(())
            })
        })
        .collect();
    for load in loops {
        load.await.map_err(io::Error::other)??;
    }
    let took = begin.elapsed().as_secs_f64();
    let served = served.load(Relaxed);
    println!(
        "{items} items, {} bytes a request, {connections} connections: {:.0} requests/s, {:.0} items/s, {} bytes a response",
        request.len(),
        served as f64 / took,
        (served * items) as f64 / took,
        bytes.load(Relaxed) / served.max(1)
    );
    Ok(())
}

/// Reads one response and tells its size.
async fn response(stream: &mut TcpStream, read: &mut Vec<u8>) -> io::Result<u64> {
    read.clear();
    let mut size = None;
    loop {
        if stream.read_buf(read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if size.is_none()
            && let Some(head) = read.windows(4).position(|window| window == b"\r\n\r\n")
        {
            let text = std::str::from_utf8(&read[..head]).map_err(io::Error::other)?;
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.and_then(|length| length.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
            if !text.starts_with("HTTP/1.1 200") {
                return Err(io::Error::other(text.to_owned()));
            }
            size = Some(head + 4 + length);
        }
        if size.is_some_and(|size| read.len() >= size) {
            return Ok(read.len() as u64);
        }
    }
}

/// A request about `items` motions of some 1.3 kB each.
fn request(items: u64) -> Vec<u8> {
    let sentence = "constaterende dat veel mensen in het land hier al jaren op wachten en dat eerdere plannen niet zijn uitgevoerd;\n\n";
    let text = format!(
        "Motie over een betere dienstregeling\n\nDe Kamer,\n\ngehoord de beraadslaging,\n\n{}verzoekt de regering een plan te maken voor een betere dienstregeling op het platteland,\n\nen gaat over tot de orde van de dag. [[m-{NUMBER}]]",
        sentence.repeat(10)
    );
    let lines: Vec<_> = (1..=items).map(|n| json!({"id": format!("r{n}"), "text": text}).to_string()).collect();
    let fields: serde_json::Map<_, _> = (1..=items).map(|n| (format!("r{n}"), json!({"type": "string"}))).collect();
    let body = json!({
        "model": "mistral-small",
        "messages": [
            {"role": "system", "content": "Je legt moties uit in eenvoudig Nederlands."},
            {"role": "user", "content": format!("Schrijf voor elke motie twee tot drie zinnen uitleg.\n{}", lines.join("\n"))},
        ],
        "temperature": 0.2,
        "max_tokens": 200 * items,
        "response_format": {"type": "json_schema", "json_schema": {"name": "rows", "strict": true, "schema": {
            "type": "object", "additionalProperties": false, "properties": fields, "required": fields.keys().collect::<Vec<_>>(),
        }}},
    })
    .to_string();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: sim\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head, body].concat().into_bytes()
}
