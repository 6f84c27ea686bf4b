//! The provider against real sockets: a server that does exactly what its script says, byte by byte.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use promptmill_core::pipeline::Structured;
use promptmill_core::{AnswerShape, Money, Usage};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::body::tests::cpu_time;
use super::*;
use crate::{Finish, Item, row_id, user_message};

const KEY: &str = "sk-or-v1-0123456789abcdef";

/// One thing that the server does after it has read a request.
#[derive(Clone)]
enum Act {
    Send(Vec<u8>),
    Wait(Duration),
    /// Close with data pending: the client meets a reset.
    Reset,
    Close,
}

/// A request as it arrived: its head in lower case, its body as it was.
#[derive(Clone, Debug)]
struct Seen {
    head: String,
    body: String,
}

struct Server {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Answers the n-th request with the n-th script, and those beyond with the last.
    async fn start(scripts: Vec<Vec<Act>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/v1", listener.local_addr().expect("an address"));
        let (seen, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let (log, count) = (Arc::clone(&seen), Arc::clone(&connections));
        let scripts = Arc::new(scripts);
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(socket, Arc::clone(&scripts), Arc::clone(&log)));
            }
        });
        Self { url, seen, connections, task }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no panic").clone()
    }
}

async fn serve(mut socket: TcpStream, scripts: Arc<Vec<Vec<Act>>>, log: Arc<Mutex<Vec<Seen>>>) -> io::Result<()> {
    while let Some(seen) = read_request(&mut socket).await? {
        let number = {
            let mut log = log.lock().expect("no panic");
            log.push(seen);
            log.len() - 1
        };
        for act in scripts[number.min(scripts.len() - 1)].clone() {
            match act {
                Act::Send(bytes) => socket.write_all(&bytes).await?,
                Act::Wait(pause) => sleep(pause).await,
                Act::Reset => return socket.set_zero_linger(),
                Act::Close => return socket.shutdown().await,
            }
        }
    }
    Ok(())
}

async fn read_request(socket: &mut TcpStream) -> io::Result<Option<Seen>> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if socket.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    while bytes.len() < head_end + length {
        if socket.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(Seen { head, body: String::from_utf8_lossy(&bytes[head_end..]).into_owned() }))
}

fn head(status: &str, headers: &[&str], length: usize) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n");
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    (head + "\r\n").into_bytes()
}

fn response(status: &str, headers: &[&str], body: impl AsRef<[u8]>) -> Vec<Act> {
    let body = body.as_ref();
    vec![Act::Send([&head(status, headers, body.len()), body].concat())]
}

fn answer(content: &str) -> String {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content, "refusal": null}}],
        "usage": {"prompt_tokens": 1410, "completion_tokens": 96, "total_tokens": 1506, "cost": 0.00013134}
    })
    .to_string()
}

const USAGE: Usage =
    Usage { input_tokens: 1_410, cached_input_tokens: 0, cache_write_tokens: 0, output_tokens: 96, tier: promptmill_core::Tier::Standard };
const COST: Money = Money::from_nano(131_340);

fn spec(url: &str) -> ProviderSpec {
    ProviderSpec {
        kind: "openai".into(),
        base_url: url.into(),
        api_key_env: Some("OPENROUTER_API_KEY".into()),
        headers: [("X-Title".to_owned(), "promptmill".to_owned())].into(),
        rpm: None,
        tpm: None,
        allow_http: false,
        shared: false,
    }
}

fn open(url: &str) -> OpenAi {
    OpenAi::new("local", &spec(url), Some(KEY.into())).expect("a provider")
}

fn request() -> Request {
    Request {
        model: "m/one".into(),
        system: Some("Je legt moties uit.".into()),
        prompt: "Leg uit.".into(),
        items: vec![Item::new(row_id(0), "Verzoekt de regering…")],
        shape: Arc::new(AnswerShape::Text("summary".into())),
        language: crate::Language::default(),
        instructions: None,
        structured: Structured::JsonSchema,
        max_tokens: Some(900),
        temperature: Some(0.2),
        extra_body: Arc::new([("provider".to_owned(), json!({"require_parameters": true}))].into_iter().collect()),
        timeout: Duration::from_secs(5),
    }
}

async fn ask(scripts: Vec<Vec<Act>>) -> (Result<Response, CallError>, Server) {
    let server = Server::start(scripts).await;
    (open(&server.url).complete(&request()).await, server)
}

async fn ask_in_vain(scripts: Vec<Vec<Act>>) -> CallError {
    let (outcome, _server) = ask(scripts).await;
    outcome.expect_err("no response")
}

#[tokio::test]
async fn a_request_arrives_as_it_was_meant() {
    let headers = ["x-ratelimit-limit-requests: 5000", "x-ratelimit-remaining-requests: 4999", "x-ratelimit-reset-requests: 12ms"];
    let (outcome, server) = ask(vec![response("200 OK", &headers, answer(r#"{"r1":"Uitleg."}"#))]).await;
    let response = outcome.expect("a response");
    assert_eq!(response.content, r#"{"r1":"Uitleg."}"#);
    assert_eq!((response.finish, response.usage, response.cost), (Finish::Stop, Some(USAGE), Some(COST)));
    assert_eq!(response.raw, answer(r#"{"r1":"Uitleg."}"#));
    assert_eq!((response.limits.requests.limit, response.limits.requests.remaining), (Some(5_000), Some(4_999)));

    let [seen] = &server.seen()[..] else { panic!("one request") };
    assert!(seen.head.starts_with("post /v1/chat/completions http/1.1\r\n"), "{}", seen.head);
    for line in [
        format!("authorization: bearer {KEY}"),
        "x-title: promptmill".into(),
        "content-type: application/json".into(),
        format!("user-agent: promptmill/{}", env!("CARGO_PKG_VERSION")),
        "accept-encoding: gzip".into(),
    ] {
        assert!(seen.head.lines().any(|header| header == line), "{line}\n{}", seen.head);
    }
    let body: Value = serde_json::from_str(&seen.body).expect("JSON");
    assert_eq!(body["model"], "m/one");
    assert_eq!(body["messages"][0], json!({"role": "system", "content": "Je legt moties uit."}));
    assert_eq!(body["messages"][1], json!({"role": "user", "content": user_message(&request())}));
    assert_eq!(body["response_format"]["type"], "json_schema");
    assert_eq!(body["response_format"]["json_schema"]["schema"], crate::pack_schema(&request()));
    assert_eq!(
        (&body["response_format"]["json_schema"]["name"], &body["response_format"]["json_schema"]["strict"]),
        (&json!("rows"), &json!(true))
    );
    assert_eq!((&body["max_tokens"], &body["temperature"], &body["stream"]), (&json!(900), &json!(0.2), &json!(false)));
    assert_eq!(body["provider"], json!({"require_parameters": true}));
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let refusal = response("429 Too Many Requests", &["retry-after: 7"], r#"{"error":{"message":"slow down"}}"#);
    let server = Server::start(vec![response("200 OK", &[], answer("{}")), refusal, response("200 OK", &[], answer("{}"))]).await;
    let provider = open(&server.url);
    provider.complete(&request()).await.expect("a response");
    let error = provider.complete(&request()).await.expect_err("refused");
    assert_eq!((error.class, error.retry_after), (Class::RateLimited, Some(Duration::from_secs(7))));
    provider.complete(&request()).await.expect("a response");
    assert_eq!((server.seen().len(), server.connections.load(Ordering::SeqCst)), (3, 1));
}

#[tokio::test]
async fn a_refusal_says_what_it_is_and_costs_nothing() {
    let words = r#"{"error":{"message":"Request too large for m on tokens per min (TPM): Limit 30000, Requested 34307. Key sk-or-v1-0123456789abcdef","type":"tokens","code":"rate_limit_exceeded"}}"#;
    let error = ask_in_vain(vec![response("429 Too Many Requests", &[], words)]).await;
    assert_eq!((error.class, error.status, error.charge), (Class::TooBigForQuota, Some(429), Charge::Nothing));
    let hint = error.limit_hint.expect("the words name the limit");
    assert_eq!((hint.limit, hint.requested), (30_000, Some(34_307)));
    assert!(error.message.ends_with("Key [key]"), "{}", error.message);
    assert!(error.raw.expect("a body").contains("Key [key]"));

    for (status, class, charge) in [
        ("400 Bad Request", Class::BadRequest, Charge::Nothing),
        ("401 Unauthorized", Class::Auth, Charge::Nothing),
        ("402 Payment Required", Class::MoneyGone, Charge::Nothing),
        ("403 Forbidden", Class::Forbidden, Charge::Nothing),
        ("404 Not Found", Class::ModelMissing, Charge::Nothing),
        ("408 Request Timeout", Class::Timeout, Charge::Unknown),
        ("413 Payload Too Large", Class::BodyTooLarge, Charge::Nothing),
        ("500 Internal Server Error", Class::Overloaded, Charge::Nothing),
        ("503 Service Unavailable", Class::Overloaded, Charge::Nothing),
        ("504 Gateway Timeout", Class::Timeout, Charge::Unknown),
        ("524 A Timeout Occurred", Class::Overloaded, Charge::Unknown),
        ("529 Overloaded", Class::Overloaded, Charge::Nothing),
    ] {
        let error = ask_in_vain(vec![response(status, &[], "")]).await;
        assert_eq!((error.class, error.charge, error.raw), (class, charge, None), "{status}");
    }
}

#[tokio::test]
async fn an_endless_refusal_is_read_for_64_kib_and_a_silent_one_for_two_seconds() {
    let mut long = head("400 Bad Request", &[], 100 << 20);
    long.extend(vec![b'a'; 1 << 20]);
    let error = ask_in_vain(vec![vec![Act::Send(long), Act::Wait(Duration::from_secs(60))]]).await;
    assert_eq!((error.class, error.raw.map(|raw| raw.len())), (Class::BadRequest, Some(ERROR_BODY_BYTES)));

    let begun = Instant::now();
    let server = Server::start(vec![vec![Act::Send(head("429 Too Many Requests", &[], 10)), Act::Wait(Duration::from_secs(60))]]).await;
    let patient = Request { timeout: Duration::from_secs(50), ..request() };
    let error = open(&server.url).complete(&patient).await.expect_err("refused");
    assert_eq!((error.class, error.charge), (Class::RateLimited, Charge::Nothing));
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let server =
        Server::start(vec![response("307 Temporary Redirect", &["location: /v1/elsewhere"], ""), response("200 OK", &[], answer("{}"))])
            .await;
    let error = open(&server.url).complete(&request()).await.expect_err("redirected");
    assert_eq!((error.class, error.status, error.charge), (Class::Unreachable, Some(307), Charge::Nothing));
    assert!(error.message.contains("`base_url`"), "{}", error.message);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn what_never_left_costs_nothing() {
    // A port that nobody listens on any more.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let error = open(&format!("http://{address}/v1")).complete(&request()).await.expect_err("refused");
    assert_eq!((error.class, error.charge, error.status), (Class::Unreachable, Charge::Nothing, None));
    assert!(error.hint.expect("what to do").contains("nothing listens"));
    assert_eq!(error.message, "no connection to `127.0.0.1`: tcp connect error: Connection refused (os error 111)");
}

#[tokio::test]
async fn a_failed_handshake_costs_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("https://{}/v1", listener.local_addr().expect("an address"));
    let task = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await?;
        let mut hello = [0; 64];
        socket.read_exact(&mut hello).await?;
        socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await
    });
    let error = open(&url).complete(&request()).await.expect_err("no TLS");
    assert_eq!((error.class, error.charge), (Class::Unreachable, Charge::Nothing), "{}", error.message);
    assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("`http://`")), "{error:?}");
    task.await.expect("no panic").expect("the hello came");
}

#[tokio::test]
async fn what_was_sent_and_not_answered_may_have_been_billed() {
    let impatient = Request { timeout: Duration::from_millis(200), ..request() };
    let silence = vec![Act::Wait(Duration::from_secs(60))];
    let after_headers = vec![Act::Send(head("200 OK", &[], 100)), Act::Wait(Duration::from_secs(60))];
    let inside_body = vec![Act::Send(head("200 OK", &[], 100)), Act::Send(br#"{"choices"#.to_vec()), Act::Wait(Duration::from_secs(60))];
    for (script, words, raw) in [
        (silence, "no response from `127.0.0.1` within 200ms", None),
        (after_headers, "the response was not complete within 200ms", None),
        (inside_body, "the response was not complete within 200ms", Some(r#"{"choices"#)),
    ] {
        let server = Server::start(vec![script]).await;
        let begun = Instant::now();
        let error = open(&server.url).complete(&impatient).await.expect_err("too late");
        assert_eq!((error.class, error.charge, error.raw.as_deref()), (Class::Timeout, Charge::Unknown, raw), "{}", error.message);
        assert_eq!(error.message, words);
        assert!(begun.elapsed() < Duration::from_secs(3));
    }

    let half = [&head("200 OK", &[], 100)[..], br#"{"choices"#].concat();
    for script in [vec![Act::Reset], vec![Act::Close], vec![Act::Send(half.clone()), Act::Reset], vec![Act::Send(half), Act::Close]] {
        let error = ask_in_vain(vec![script]).await;
        assert_eq!((error.class, error.charge), (Class::Timeout, Charge::Unknown), "{}", error.message);
        assert!(error.message.contains("broke"), "{}", error.message);
    }
}

#[tokio::test]
async fn nothing_that_was_read_is_sent_twice() {
    for script in
        [vec![Act::Reset], vec![Act::Close], response("500 Internal Server Error", &[], ""), response("503 Busy", &["retry-after: 0"], "")]
    {
        let (outcome, server) = ask(vec![script]).await;
        outcome.expect_err("failed");
        sleep(Duration::from_millis(50)).await;
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn a_response_beyond_the_bound_is_dropped() {
    let long = [head("200 OK", &[], 1 << 30), vec![b' '; 200_000]].concat();
    let server = Server::start(vec![vec![Act::Send(long), Act::Wait(Duration::from_secs(60))]]).await;
    let error = open(&server.url).with_most_body_bytes(100_000).complete(&request()).await.expect_err("too long");
    assert_eq!((error.class, error.charge), (Class::Malformed, Charge::Unknown));
    assert_eq!(error.message, "the response is larger than 100000 bytes");
    assert_eq!(error.raw.map(|raw| raw.len()), Some(ERROR_BODY_BYTES));

    let exact = answer("{}");
    let server = Server::start(vec![response("200 OK", &[], &exact)]).await;
    open(&server.url).with_most_body_bytes(exact.len()).complete(&request()).await.expect("it just fits");
}

/// `gzip` of a chat completion whose content is `{"r1":"gezipt"}`.
#[rustfmt::skip]
const ZIPPED: &[u8] = &[
    31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 69, 142, 75, 14, 194, 48, 12, 68, 175, 82, 121, 205, 130, 207,
    174, 87, 33, 168, 138, 138, 105, 45, 26, 59, 138, 141, 132, 26, 229, 238, 56, 44, 96, 247, 244, 102, 52, 154,
    10, 243, 42, 52, 163, 194, 56, 92, 43, 16, 223, 241, 237, 120, 60, 12, 240, 32, 38, 93, 167, 130, 81, 133,
    221, 129, 154, 100, 240, 32, 161, 106, 92, 208, 85, 133, 34, 91, 7, 136, 170, 164, 22, 217, 122, 97, 22, 54,
    116, 116, 95, 3, 148, 83, 128, 49, 192, 130, 59, 101, 11, 208, 160, 181, 155, 151, 94, 191, 141, 92, 36, 101,
    155, 76, 158, 200, 253, 199, 229, 59, 145, 242, 134, 70, 194, 127, 127, 110, 237, 3, 45, 252, 109, 93, 175, 0,
    0, 0,
];

#[tokio::test]
async fn a_zipped_response_is_unpacked_and_a_broken_one_is_malformed() {
    let (outcome, _server) = ask(vec![response("200 OK", &["content-encoding: gzip"], ZIPPED)]).await;
    assert_eq!(outcome.expect("a response").content, r#"{"r1":"gezipt"}"#);
    let mut broken = ZIPPED.to_vec();
    broken[20] ^= 0xff;
    for body in [&broken[..], &ZIPPED[..ZIPPED.len() - 20], b"not zipped at all"] {
        let error = ask_in_vain(vec![response("200 OK", &["content-encoding: gzip"], body)]).await;
        assert_eq!((error.class, error.charge), (Class::Malformed, Charge::Unknown), "{}", error.message);
    }
}

#[tokio::test]
async fn what_is_packed_is_seen_by_what_it_is() {
    let (outcome, _server) = ask(vec![response("200 OK", &[], ZIPPED)]).await;
    assert_eq!(outcome.expect("unpacked without a header").content, r#"{"r1":"gezipt"}"#);
    let (outcome, _server) = ask(vec![response("200 OK", &["content-encoding: gzip"], answer("plain"))]).await;
    assert_eq!(outcome.expect("plain in spite of its header").content, "plain");
    let server = Server::start(vec![response("200 OK", &["content-encoding: gzip"], ZIPPED)]).await;
    let error = open(&server.url).with_most_body_bytes(ZIPPED.len()).complete(&request()).await.expect_err("too long");
    assert_eq!((error.class, error.charge), (Class::Malformed, Charge::Unknown));
    assert!(error.message.contains("larger than"), "{}", error.message);
}

#[tokio::test]
async fn a_connection_that_has_gone_stale_is_no_attempt() {
    for end in [Act::Reset, Act::Close] {
        let good = response("200 OK", &[], answer("{}"));
        let server = Server::start(vec![good.clone(), vec![end.clone()], good.clone()]).await;
        let provider = open(&server.url);
        for _ in 0..3 {
            provider.complete(&request()).await.expect("a response");
        }
        // The connection of the second try is not kept.
        assert_eq!((server.seen().len(), server.connections.load(Ordering::SeqCst)), (4, 3));

        // What breaks off on a connection of its own was read.
        let server = Server::start(vec![good, vec![end]]).await;
        let provider = open(&server.url);
        provider.complete(&request()).await.expect("a response");
        let error = provider.complete(&request()).await.expect_err("broken");
        assert_eq!((error.class, error.charge, server.seen().len()), (Class::Timeout, Charge::Unknown, 3));
    }
    // Nor was it stale if it took its time.
    let late = vec![Act::Wait(Duration::from_millis(400)), Act::Close];
    let server = Server::start(vec![response("200 OK", &[], answer("{}")), late]).await;
    let provider = open(&server.url);
    provider.complete(&request()).await.expect("a response");
    let error = provider.complete(&request()).await.expect_err("broken");
    assert_eq!((error.class, error.charge, server.seen().len()), (Class::Timeout, Charge::Unknown, 2));
}

#[tokio::test]
async fn the_other_name_of_the_limit_is_sent_when_the_server_asks_for_it() {
    let refusal = r#"{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.","param":"max_tokens","code":"unsupported_parameter"}}"#;
    let refused = response("400 Bad Request", &[], refusal);
    let good = response("200 OK", &[], answer("{}"));
    let server = Server::start(vec![refused.clone(), good.clone()]).await;
    let provider = open(&server.url);
    provider.complete(&request()).await.expect("a response");
    provider.complete(&request()).await.expect("a response");
    let names: Vec<bool> = server.seen().iter().map(|seen| seen.body.contains("\"max_tokens\":900")).collect();
    assert_eq!(names, [true, false, false]);
    assert!(server.seen()[2].body.contains("\"max_completion_tokens\":900"));

    // What the pipeline file says stays, and the error says what to write.
    let server = Server::start(vec![refused]).await;
    let provider = open(&server.url).with_max_tokens_field(Some(MaxTokensField::MaxTokens));
    let error = provider.complete(&request()).await.expect_err("refused");
    assert_eq!((error.class, server.seen().len()), (Class::BadRequest, 1));
    assert!(error.hint.expect("what to do").contains("max_tokens_field"));
}

#[tokio::test]
async fn what_a_host_has_thrown_away_is_a_response() {
    let words = r#"{"error":{"code":"json_validate_failed","message":"invalid","failed_generation":"{\"r1\":\"a\",\"r"}}"#;
    let (outcome, _server) = ask(vec![response("400 Bad Request", &[], words)]).await;
    let response = outcome.expect("a response");
    assert_eq!((response.content.as_str(), response.finish, response.usage), (r#"{"r1":"a","r"#, Finish::Broken, None));
    assert_eq!(open("http://127.0.0.1:1/v1").read(&response.raw).expect("read again").finish, Finish::Broken);
}

#[tokio::test]
async fn a_stream_whose_connection_breaks_counts_up_to_the_break() {
    let event = "data: {\"choices\":[{\"delta\":{\"content\":\"{\\\"r1\\\":\\\"a\\\",\"}}]}\n\n";
    let (outcome, _server) = ask(vec![vec![Act::Send([&head("200 OK", &[], 5_000), event.as_bytes()].concat()), Act::Close]]).await;
    let response = outcome.expect("a response");
    assert_eq!((response.content.as_str(), response.finish, response.usage), (r#"{"r1":"a","#, Finish::Broken, None));
    let error = ask_in_vain(vec![vec![Act::Send([&head("200 OK", &[], 5_000), ": wait\n\n".as_bytes()].concat()), Act::Close]]).await;
    assert_eq!((error.class, error.charge), (Class::Timeout, Charge::Unknown));
}

#[tokio::test]
async fn an_empty_response_costs_nothing() {
    for script in [response("204 No Content", &[], ""), response("200 OK", &[], "\n\n")] {
        let error = ask_in_vain(vec![script]).await;
        assert_eq!((error.class, error.charge), (Class::Overloaded, Charge::Nothing), "{}", error.message);
    }
}

#[tokio::test]
async fn a_chunked_response_may_split_a_character() {
    let body = answer("één");
    let at = body.find('é').expect("it is in there") + 1;
    let chunk = |bytes: &[u8]| [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
    let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    let (first, second) = body.as_bytes().split_at(at);
    let script = vec![
        Act::Send([head, chunk(first)].concat()),
        Act::Wait(Duration::from_millis(30)),
        Act::Send([chunk(second), chunk(b"")].concat()),
    ];
    let (outcome, _server) = ask(vec![script]).await;
    assert_eq!(outcome.expect("a response").content, "één");
}

#[tokio::test]
async fn bytes_that_are_no_utf_8_stay_visible() {
    let mut body = answer("goed").into_bytes();
    let at = body.windows(4).position(|window| window == b"goed").expect("it is in there");
    body[at] = 0xff;
    let (outcome, _server) = ask(vec![response("200 OK", &[], body)]).await;
    assert_eq!(outcome.expect("a response").content, "\u{fffd}oed");
}

#[tokio::test]
async fn a_200_may_be_an_error() {
    let limits = ["x-ratelimit-limit-tokens: 1000", "retry-after: 3"];
    let error = ask_in_vain(vec![response("200 OK", &limits, r#"{"error":{"code":429,"message":"Rate limit exceeded"}}"#)]).await;
    assert_eq!((error.class, error.status, error.charge), (Class::RateLimited, Some(200), Charge::Nothing));
    assert_eq!((error.limits.tokens.limit, error.retry_after), (Some(1_000), Some(Duration::from_secs(3))));
    let error = ask_in_vain(vec![response("200 OK", &[], "<html>welcome</html>")]).await;
    assert_eq!((error.class, error.charge), (Class::Unreachable, Charge::Nothing));
    assert_eq!(error.raw.as_deref(), Some("<html>welcome</html>"));
}

const GENERATION: &str = r#"{"data":{"id":"gen-1","total_cost":0.00013134,"native_tokens_prompt":1410,"native_tokens_completion":96}}"#;

#[tokio::test]
async fn an_unpriced_response_is_looked_up() {
    let unpriced = r#"{"id":"gen-1","choices":[{"message":{"content":"{}"},"finish_reason":"stop"}]}"#;
    let not_yet = response("404 Not Found", &[], "{}");
    let (outcome, server) = ask(vec![response("200 OK", &[], unpriced), not_yet, response("200 OK", &[], GENERATION)]).await;
    let found = outcome.expect("a response");
    assert_eq!((found.usage, found.cost), (Some(USAGE), Some(COST)));
    let seen = server.seen();
    assert_eq!(seen.len(), 3);
    assert!(seen[2].head.starts_with("get /v1/generation?id=gen-1 http/1.1\r\n"), "{}", seen[2].head);
    assert!(seen[2].head.contains("authorization: bearer"));
}

#[tokio::test]
async fn a_broken_response_is_looked_up_by_its_header() {
    let half = [&head("200 OK", &["x-generation-id: gen-7"], 100)[..], br#"{"choices"#].concat();
    for script in [
        vec![Act::Send(half.clone()), Act::Reset],
        vec![Act::Send(half), Act::Wait(Duration::from_secs(60))],
        response("200 OK", &["x-generation-id: gen-7"], "<html>"),
    ] {
        let server = Server::start(vec![script, response("200 OK", &[], GENERATION)]).await;
        let error = open(&server.url).complete(&Request { timeout: Duration::from_millis(300), ..request() }).await.expect_err("broken");
        assert_eq!(error.charge, Charge::Known { usage: Some(USAGE), cost: Some(COST) }, "{}", error.message);
        assert!(server.seen()[1].head.starts_with("get /v1/generation?id=gen-7 "));
    }
    // What nobody can say stays unknown, after one question.
    let (outcome, server) = ask(vec![response("200 OK", &["x-generation-id: gen-7"], "<html>"), response("403 Forbidden", &[], "")]).await;
    assert_eq!(outcome.expect_err("broken").charge, Charge::Unknown);
    assert_eq!(server.seen().len(), 2);
    // What has its usage is not asked about.
    let (outcome, server) = ask(vec![response("200 OK", &["x-generation-id: gen-7"], answer("{}"))]).await;
    outcome.expect("a response");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn no_secret_shows() {
    let server = Server::start(vec![
        response("401 Unauthorized", &[], format!(r#"{{"error":{{"message":"bad key {KEY} or gateway-pass or q-secret-1"}}}}"#)),
        response("200 OK", &[], format!("<html>{KEY}</html>")),
        response("200 OK", &[], answer(&format!("your key is {KEY}, ok?"))),
    ])
    .await;
    let mut spec = spec(&format!("{}?api-version=7&key=q-secret-1", server.url));
    spec.headers.insert("X-Gateway-Token".into(), "Pass gateway-pass".into());
    let provider = OpenAi::new("local", &spec, Some(format!("{KEY}\n"))).expect("a key with its line break");
    let shown = [
        format!("{provider:?}"),
        format!("{:?}", provider.complete(&request()).await),
        format!("{:?}", provider.complete(&request()).await),
        format!("{:?}", provider.complete(&request()).await),
        format!("{:?}", provider.read(&format!("{{\"error\":\"{KEY}\"}}")).map_err(|error| error.message)),
        format!("{:?}", open("http://127.0.0.1:1/v1?key=q-secret-1").complete(&request()).await),
    ];
    for text in &shown {
        for secret in [KEY, "gateway-pass", "q-secret-1"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
    assert_eq!(shown[0], format!("OpenAi {{ name: \"local\", url: \"{}/chat/completions\", .. }}", server.url));
    let seen = server.seen();
    assert!(seen[0].head.starts_with("post /v1/chat/completions?api-version=7&key=q-secret-1 http/1.1"), "{}", seen[0].head);
    assert!(seen[0].head.contains(&format!("authorization: bearer {KEY}\r\n")));
    assert!(seen[0].head.contains("x-gateway-token: pass gateway-pass\r\n"));
}

#[tokio::test]
async fn who_was_never_connected_has_sent_nothing() {
    // It takes the connection, and says nothing to begin TLS with.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("https://{}/v1", silent.local_addr().expect("an address"));
    let impatient = Request { timeout: Duration::from_millis(300), ..request() };
    let error = open(&url).complete(&impatient).await.expect_err("no connection");
    assert_eq!((error.class, error.charge), (Class::Unreachable, Charge::Nothing), "{}", error.message);
}

#[test]
fn a_key_is_known_as_it_stands_in_an_address() {
    let provider =
        OpenAi::new("local", &spec("http://127.0.0.1:1/v1?region=x"), Some("tok+SECRET/xyz/0123456789=".into())).expect("a provider");
    let text = provider.text(b"neither tok+SECRET/xyz/0123456789= nor tok%2BSECRET%2Fxyz%2F0123456789%3D");
    assert_eq!(text, "neither [key] nor [key]");
}

#[test]
fn a_stored_body_is_read_as_it_was_when_it_came() {
    let provider = open("http://127.0.0.1:1/v1");
    let response = provider.read(&answer("{}")).expect("a response");
    assert_eq!((response.content.as_str(), response.usage, response.cost), ("{}", Some(USAGE), Some(COST)));
    let error = provider.read(r#"{"choices":[]}"#).expect_err("malformed");
    assert_eq!((error.class, error.status), (Class::Malformed, None));
}

#[test]
fn a_short_key_is_left_in_answers() {
    let provider = OpenAi::new("local", &spec("http://127.0.0.1:1/v1"), Some("none".into())).expect("a provider");
    assert_eq!(provider.read(&answer("none of it")).expect("a response").content, "none of it");
}

#[test]
fn the_dialect_follows_the_host() {
    for (url, field) in [
        ("https://api.openai.com/v1", "max_completion_tokens"),
        ("https://eu.api.openai.com/v1/", "max_completion_tokens"),
        ("https://openrouter.ai/api/v1", "max_tokens"),
        ("https://api.openai.com.example.org/v1", "max_tokens"),
        ("http://localhost:8000/v1", "max_tokens"),
    ] {
        let provider = open(url);
        assert_eq!(provider.limit.name("m"), field, "{url}");
        assert!(provider.url.as_str().ends_with("/v1/chat/completions"), "{}", provider.url);
    }
}

#[test]
fn settings_that_cannot_work_are_named() {
    let message = |change: &dyn Fn(&mut ProviderSpec), key: Option<&str>| {
        let mut spec = spec("http://127.0.0.1:1/v1");
        change(&mut spec);
        match OpenAi::new("local", &spec, key.map(str::to_owned)) {
            Err(Error::Failed(failure)) => format!("{} | {}", failure.message, failure.hint.unwrap_or_default()),
            other => panic!("{other:?}"),
        }
    };
    let example = "write it like `https://openrouter.ai/api/v1`: all that stands in front of `/chat/completions`";
    let url = |url: &'static str| message(&move |spec: &mut ProviderSpec| spec.base_url = url.into(), None);
    assert_eq!(url("openrouter.ai/api/v1"), format!("the base URL of provider `local` is no URL: relative URL without a base | {example}"));
    assert_eq!(url("ftp://x/v1"), format!("the base URL of provider `local` does not begin with `http://` or `https://` | {example}"));
    assert_eq!(url("http://x/v1/chat/completions/"), format!("the base URL of provider `local` goes too far | {example}"));
    let with_password = url("http://me:hunter22@x/v1");
    assert!(with_password.contains("holds a user name or a password") && !with_password.contains("hunter22"), "{with_password}");

    let header = |name: &'static str, value: &'static str| {
        message(&move |spec: &mut ProviderSpec| drop(spec.headers.insert(name.into(), value.into())), None)
    };
    assert_eq!(header("X Title", "a"), "the header `X Title` of provider `local` is no name of a header | use letters, digits and hyphens");
    let broken = header("X-Auth", "hunter22\n");
    assert_eq!(
        broken,
        "the header `X-Auth` of provider `local` has a value that cannot be sent | use printable ASCII characters on one line"
    );
    assert!(header("Content-Length", "5").contains("cannot be set"));

    assert_eq!(message(&|_| {}, Some(" ")), "the key of provider `local` is empty | look at the variable `OPENROUTER_API_KEY`");
    let broken = message(&|_| {}, Some("hunter\n22"));
    assert_eq!(broken, "the key of provider `local` holds characters that cannot be sent | look at the variable `OPENROUTER_API_KEY`");
}

/// Processor time of the whole of a call, socket and this server's part included. Read by
/// `cargo test --release -- --ignored --nocapture call_time`.
#[tokio::test]
#[ignore = "a measurement"]
async fn call_time() {
    let server = Server::start(vec![response("200 OK", &[], answer("{}"))]).await;
    let provider = open(&server.url);
    provider.complete(&request()).await.expect("a response");
    let begun = cpu_time();
    for _ in 0..5_000 {
        provider.complete(&request()).await.expect("a response");
        server.seen.lock().expect("no panic").clear();
    }
    eprintln!("{:?} a call", (cpu_time() - begun) / 5_000);
    let raw = answer("{}");
    let begun = cpu_time();
    for _ in 0..5_000 {
        provider.read(&raw).expect("a response");
    }
    eprintln!("{:?} a reading", (cpu_time() - begun) / 5_000);
}
