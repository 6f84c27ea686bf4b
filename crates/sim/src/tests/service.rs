//! Routes, connections, keys, control, schedules and outages.

use super::client::{Client, pack, start};
use crate::{Latency, Outage, ScheduleFrom, ScheduledPatch, SimConfig};
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn one_connection_serves_many_requests_and_every_route() {
    let sim = start(SimConfig { models: vec!["mistral-small".into()], ..SimConfig::instant() });
    let mut client = Client::connect(&sim).await;
    for first in 0..20 {
        let reply = client.ask(&pack(first, 1)).await.expect("an answer");
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("x-generation-id"), Some(format!("gen-{}", first + 1).as_str()));
        assert_eq!(reply.header("x-request-id"), Some(format!("req-{}", first + 1).as_str()));
        assert_eq!(reply.json()["id"], format!("gen-{}", first + 1));
    }
    assert_eq!(client.get("/healthz").await["status"], "ok");
    let models = client.get("/v1/models").await;
    assert_eq!(models["data"][0]["id"], "mistral-small");
    assert_eq!(models["data"][0]["pricing"]["prompt"], "0.00000015");
    assert_eq!(client.get("/ledger").await["requests"], 20);
    assert_eq!(client.send("GET", "/nergens", "", b"").await.expect("a response").status, 404);
    assert_eq!(client.send("POST", "/ledger/reset", "", b"").await.expect("a response").status, 200);
    assert_eq!(client.get("/ledger").await["requests"], 0);
    assert!(sim.base_url().starts_with("http://127.0.0.1:") && sim.base_url().ends_with("/v1"));
}

#[tokio::test]
async fn bad_requests_are_told_so() {
    let sim = start(SimConfig { models: vec!["m".into()], context_tokens: Some(50), ..SimConfig::instant() });
    let mut client = Client::connect(&sim).await;
    let hello = json!([{"role": "user", "content": "hallo"}]);
    for (body, status, code) in [
        (json!({"model": "m", "messages": 3}), 400, Value::Null),
        (json!({"model": "m", "messages": []}), 400, Value::Null),
        (json!({"model": "m", "messages": hello, "stream": true}), 400, Value::Null),
        (json!({"model": "x", "messages": hello}), 404, json!("model_not_found")),
        (json!({"model": "m", "messages": hello, "max_tokens": 60}), 400, json!("context_length_exceeded")),
        (json!({"model": "m", "messages": hello, "max_tokens": 30}), 200, Value::Null),
    ] {
        let reply = client.ask(&body).await.expect("a response");
        assert_eq!((reply.status, reply.json()["error"]["code"].clone()), (status, code), "{body}");
    }
    let books = sim.ledger();
    assert_eq!((books.refused["request"], books.refused["context"], books.requests), (4, 1, 6));
    assert_eq!(books.generations, 1);
}

#[tokio::test]
async fn the_key_is_checked_and_never_repeated() {
    let sim = start(SimConfig { api_key: Some("sleutel".into()), ..SimConfig::instant() });
    let mut client = Client::connect(&sim).await;
    let body = pack(1, 1).to_string();
    for (header, status) in [("", 401), ("authorization: Bearer fout\r\n", 401), ("authorization: Bearer sleutel\r\n", 200)] {
        let reply = client.send("POST", "/v1/chat/completions", header, body.as_bytes()).await.expect("a response");
        assert_eq!(reply.status, status);
        assert!(!reply.text().contains("sleutel") && !reply.text().contains("fout"));
        if status == 401 {
            assert_eq!(reply.json()["error"]["code"], "invalid_api_key");
        }
    }
    assert_eq!(sim.ledger().refused["key"], 2);
    assert!(!client.get("/control").await.to_string().contains("sleutel"));
}

#[tokio::test]
async fn latency_is_waited_and_concurrent() {
    let latency = Latency { base_ms: 100.0, per_output_token_ms: 0.5, noise: 0.0, ..Latency::default() };
    let sim = start(SimConfig { latency, ..SimConfig::default() });
    let begin = Instant::now();
    let asks = (0..10).map(|first| {
        let sim = &sim;
        async move { Client::connect(sim).await.ask(&pack(first, 2)).await.expect("an answer").status }
    });
    let statuses = futures::future::join_all(asks).await;
    assert!(statuses.iter().all(|status| *status == 200));
    let took = begin.elapsed();
    // Two answers of about 75 tokens: some 80 ms on top of the base.
    assert!((Duration::from_millis(150)..Duration::from_millis(900)).contains(&took), "{took:?}");
    assert_eq!(sim.ledger().in_flight_peak, 10);
}

#[tokio::test]
async fn control_changes_settings_at_run_time() {
    let sim = start(SimConfig::instant());
    let mut client = Client::connect(&sim).await;
    let patch = json!({"faults": {"null-content": 1.0}, "answer_tokens": 20});
    let reply = client.send("POST", "/control", "", patch.to_string().as_bytes()).await.expect("a response");
    assert_eq!((reply.status, reply.json()["faults"]["null-content"].as_f64()), (200, Some(1.0)));
    assert!(client.ask(&pack(1, 1)).await.expect("an answer").json()["choices"][0]["message"]["content"].is_null());
    sim.control(&json!({"faults": null})).expect("valid");
    assert!(client.ask(&pack(1, 1)).await.expect("an answer").content().len() < 180);
    let reply = client.send("POST", "/control", "", br#"{"faults":{"resett":1}}"#).await.expect("a response");
    assert!(reply.status == 400 && reply.text().contains("unknown fault `resett`"), "{}", reply.text());
    assert!(sim.control(&json!({"seed": 2})).is_err());
    assert_eq!(sim.config().answer_tokens, 20);
}

#[tokio::test]
async fn a_schedule_plays_from_the_first_request() {
    let at = |at_seconds, patch| ScheduledPatch { at_seconds, patch };
    let sim =
        start(SimConfig { schedule: vec![at(0.4, json!({"outage": "none"})), at(0.1, json!({"outage": "503"}))], ..SimConfig::instant() });
    let mut client = Client::connect(&sim).await;
    tokio::time::sleep(Duration::from_millis(250)).await;
    let mut seen = Vec::new();
    for pause in [0, 200, 400] {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        seen.push(client.ask(&pack(1, 1)).await.expect("a response").status);
    }
    assert_eq!(seen, [200, 503, 200]);
    let bad = SimConfig { schedule: vec![at(1.0, json!({"sed": 1}))], schedule_from: ScheduleFrom::Start, ..SimConfig::instant() };
    assert_eq!(crate::Simulator::start(bad).expect_err("no such setting").kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn outages_come_in_three_forms() {
    let sim = start(SimConfig::instant());
    let mut client = Client::connect(&sim).await;
    sim.control(&json!({"outage": "503"})).expect("valid");
    assert_eq!(client.ask(&pack(1, 1)).await.expect("a response").status, 503);

    sim.control(&json!({"outage": "refused"})).expect("valid");
    let error = client.ask(&pack(1, 1)).await.expect_err("no response");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let mut stream = TcpStream::connect(sim.address()).await.expect("the kernel accepts");
    assert!(matches!(stream.read_u8().await, Err(error) if error.kind() == ErrorKind::ConnectionReset));

    sim.control(&json!({"outage": "hang"})).expect("valid");
    let mut client = Client::connect(&sim).await;
    let waited = tokio::time::timeout(Duration::from_millis(200), client.ask(&pack(1, 1))).await;
    assert!(waited.is_err(), "silence");

    sim.control(&json!({"outage": "none"})).expect("valid");
    assert_eq!(Client::connect(&sim).await.ask(&pack(1, 1)).await.expect("an answer").status, 200);
    let books = sim.ledger();
    assert_eq!((books.outage["503"], books.outage["refused"], books.outage["hang"]), (1, 1, 1));
    assert_eq!((books.connections_refused, books.requests, books.generations), (1, 4, 1));
    assert_eq!(sim.config().outage, Outage::None);
}

#[tokio::test]
async fn shutdown_frees_the_port_and_closes_connections() {
    let sim = start(SimConfig::instant());
    let address = sim.address();
    let mut client = Client::connect(&sim).await;
    assert_eq!(client.ask(&pack(1, 1)).await.expect("an answer").status, 200);
    sim.shutdown().await;
    assert!(client.ask(&pack(1, 1)).await.is_err());
    let again = start(SimConfig { listen: address, ..SimConfig::instant() });
    assert_eq!(again.address(), address);
}

/// HTTP/2 without TLS, by hand: preface, settings, one request with literal headers, and the frames that come back.
#[tokio::test]
async fn http2_is_spoken_in_clear() {
    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }
    let sim = start(SimConfig::instant());
    let mut stream = TcpStream::connect(sim.address()).await.expect("it listens");
    let body = pack(1, 1).to_string();
    let mut headers = Vec::new();
    for (name, value) in [(":method", "POST"), (":scheme", "http"), (":path", "/v1/chat/completions"), (":authority", "sim")] {
        // A literal without indexing, name and value as plain text.
        headers.extend([0, name.len() as u8]);
        headers.extend(name.as_bytes());
        headers.push(value.len() as u8);
        headers.extend(value.as_bytes());
    }
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    sent.extend(frame(4, 0, 0, b""));
    sent.extend(frame(1, 4, 1, &headers));
    sent.extend(frame(0, 1, 1, body.as_bytes()));
    stream.write_all(&sent).await.expect("sent");
    let mut data = Vec::new();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.expect("a frame");
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).await.expect("its payload");
        if head[3] == 1 {
            assert_eq!(payload[0], 0x88, "indexed header: status 200");
        }
        if head[3] == 0 {
            data.extend(payload);
            if head[4] & 1 == 1 {
                break;
            }
        }
    }
    let answer: Value = serde_json::from_slice(&data).expect("JSON");
    assert!(answer["choices"][0]["message"]["content"].as_str().expect("content").contains("[[m-1]]"));
}
