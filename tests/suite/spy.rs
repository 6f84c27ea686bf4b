//! A server that answers by the book, or breaks it as it was told, and remembers what it was asked, when, and
//! in what company. What it does is a [`Manner`], or a function of what it is asked ([`Spy::scripted`]).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

/// How a spy behaves.
#[derive(Clone, Debug)]
pub(crate) struct Manner {
    /// What it says about each row.
    pub(crate) says: &'static str,
    /// A word, and what it says about rows that have it, until it is told that an answer about them was rejected.
    pub(crate) stubborn: Option<(&'static str, &'static str)>,
    /// What it says about a row that is asked alone, if that is something else.
    pub(crate) alone: Option<&'static str>,
    /// How long it takes to.
    pub(crate) wait: Duration,
    /// One request that takes much longer: its number, from 1 on, and its time.
    pub(crate) straggler: Option<(usize, Duration)>,
    /// Which requests get an answer that cannot be read.
    pub(crate) breaks: Breaks,
    /// So many requests, the first ones, are turned away as too many.
    pub(crate) refuses: usize,
    /// As a judge: the word that makes one of two answers the better one; without it, it says the first choice there is.
    pub(crate) prefers: Option<&'static str>,
    /// What it adds to `usage`.
    pub(crate) usage: Map<String, Value>,
}

/// Which requests get an answer that cannot be read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Breaks {
    None,
    All,
    First(usize),
    Model(&'static str),
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            says: "De motie verzoekt de regering om de wachttijden in de zorg te verkorten.",
            stubborn: None,
            alone: None,
            wait: Duration::ZERO,
            straggler: None,
            breaks: Breaks::None,
            refuses: 0,
            prefers: None,
            usage: Map::new(),
        }
    }
}

/// One request, as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The request line and the headers, in lower case.
    pub(crate) head: String,
    pub(crate) body: Value,
    /// Since the spy began.
    pub(crate) at: Duration,
    /// Requests under way, this one included.
    pub(crate) in_flight: usize,
    /// Requests that were over by then.
    pub(crate) after: usize,
}

impl Asked {
    /// The user's message.
    pub(crate) fn message(&self) -> &str {
        let message = self.body["messages"].as_array().and_then(|messages| messages.last());
        message.and_then(|message| message["content"].as_str()).unwrap_or_default()
    }

    /// What it says of earlier answers about the row of this id, if it says anything.
    pub(crate) fn told(&self, id: &str) -> Option<&str> {
        let (english, dutch) = (format!("The answer for \"{id}\" was rejected: "), format!("Het antwoord voor \"{id}\" is afgekeurd: "));
        self.message().lines().find_map(|line| line.strip_prefix(&english).or_else(|| line.strip_prefix(&dutch)))
    }

    /// The ids of the rows in it.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.items().into_iter().map(|(id, _)| id).collect()
    }

    /// The rows in it: their ids and texts.
    pub(crate) fn items(&self) -> Vec<(String, String)> {
        let items = self.message().lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        items.filter_map(|item| Some((item["id"].as_str()?.to_owned(), item["text"].as_str()?.to_owned()))).collect()
    }
}

/// What a scripted spy sends back.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Besides `content-length`.
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// How long it takes.
    pub(crate) wait: Duration,
    /// The connection is closed without a word.
    pub(crate) drops: bool,
}

impl Reply {
    /// Any body under any status.
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self { status, headers, body: body.into(), wait: Duration::ZERO, drops: false }
    }

    /// An error in the usual form.
    pub(crate) fn error(status: u16, message: &str) -> Self {
        Self::new(status, json!({"error": {"message": message, "code": status}}).to_string())
    }

    /// A completion with this content, of 100 tokens in and 20 out.
    pub(crate) fn content(content: &str) -> Self {
        let usage = json!({"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120});
        Self::completion(&json!({"role": "assistant", "content": content}), "stop", &usage)
    }

    /// A completion of one message.
    pub(crate) fn completion(message: &Value, finish_reason: &str, usage: &Value) -> Self {
        let choices = json!([{"index": 0, "finish_reason": finish_reason, "message": message}]);
        Self::new(200, json!({"id": "c1", "object": "chat.completion", "choices": choices, "usage": usage}).to_string())
    }

    /// A completion that says something about every row that is asked about.
    pub(crate) fn says(asked: &Asked, say: impl Fn(&str) -> String) -> Self {
        let answers: Map<String, Value> = asked.items().into_iter().map(|(id, text)| (id, say(&text).into())).collect();
        Self::content(&Value::Object(answers).to_string())
    }

    pub(crate) fn drops() -> Self {
        Self { drops: true, ..Self::new(200, "") }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn after(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }
}

#[derive(Debug, Default)]
struct Book {
    asked: Vec<Asked>,
    in_flight: usize,
    over: usize,
}

/// The running server.
#[derive(Debug)]
pub(crate) struct Spy {
    /// The base URL.
    pub(crate) url: String,
    book: Arc<Mutex<Book>>,
}

impl Spy {
    pub(crate) fn new(manner: Manner) -> Self {
        Self::scripted(move |asked, number| {
            let straggler = manner.straggler.filter(|(which, _)| *which == number);
            let reply = if number <= manner.refuses {
                Reply::error(429, "Rate limit exceeded")
            } else {
                Reply::new(200, answer(asked, &manner, number).to_string())
            };
            reply.after(straggler.map_or(manner.wait, |(_, wait)| wait))
        })
    }

    /// A spy that does what a function says: of what it is asked, and the request's number, from 1 on.
    pub(crate) fn scripted(script: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/v1", listener.local_addr().expect("an address"));
        let book = Arc::new(Mutex::new(Book::default()));
        let (shared, begun, script) = (Arc::clone(&book), Instant::now(), Arc::new(script));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (book, script) = (Arc::clone(&shared), Arc::clone(&script));
                std::thread::spawn(move || while serve(&stream, &*script, &book, begun).is_some() {});
            }
        });
        Self { url, book }
    }

    /// Everything that was asked so far, in the order of arrival.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.book.lock().expect("a book").asked.clone()
    }
}

/// Serves one request; `None` when the connection is over.
fn serve(stream: &TcpStream, script: &(dyn Fn(&Asked, usize) -> Reply + Sync), book: &Mutex<Book>, begun: Instant) -> Option<()> {
    let (head, body) = receive(stream)?;
    let mut asked = Asked { head, body, at: begun.elapsed(), in_flight: 0, after: 0 };
    let number = {
        let mut book = book.lock().expect("a book");
        book.in_flight += 1;
        (asked.in_flight, asked.after) = (book.in_flight, book.over);
        book.asked.push(asked.clone());
        book.asked.len()
    };
    let reply = script(&asked, number);
    std::thread::sleep(reply.wait);
    {
        let mut book = book.lock().expect("a book");
        book.in_flight -= 1;
        book.over += 1;
    }
    if reply.drops {
        return stream.shutdown(std::net::Shutdown::Both).err().map(|_| ());
    }
    let mut head = format!("HTTP/1.1 {} Status\r\ncontent-length: {}\r\n", reply.status, reply.body.len());
    reply.headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    let bytes = [head.as_bytes(), b"\r\n", &reply.body].concat();
    (&mut &*stream).write_all(&bytes).ok()
}

/// The head, in lower case, and the body of one request.
fn receive(stream: &TcpStream) -> Option<(String, Value)> {
    // Nobody sends the next request before this one is answered, so nothing is lost with the reader.
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return None;
        }
        let line = line.to_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    if length == 0 {
        // Somebody looks whether we are here.
        return None;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    Some((head, serde_json::from_slice(&body).expect("JSON")))
}

fn answer(asked: &Asked, manner: &Manner, number: usize) -> Value {
    let broken = match manner.breaks {
        Breaks::None => false,
        Breaks::All => true,
        Breaks::First(count) => number <= count,
        Breaks::Model(model) => asked.body["model"] == model,
    };
    let properties = &asked.body["response_format"]["json_schema"]["schema"]["properties"];
    let items = asked.message().lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let answers: Map<String, Value> = items
        .filter_map(|item| {
            let (id, text) = (item["id"].as_str()?, item["text"].as_str()?);
            let stubborn = manner.stubborn.filter(|(word, _)| text.contains(word) && asked.told(id).is_none());
            let says = stubborn.map(|(_, says)| says).or(manner.alone.filter(|_| asked.ids().len() == 1)).unwrap_or(manner.says);
            Some((id.to_owned(), said(&properties[id], says, manner.prefers, text)))
        })
        .collect();
    let content = if broken { "I had rather not.".to_owned() } else { Value::Object(answers).to_string() };
    let mut usage =
        json!({"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110, "prompt_tokens_details": {"cached_tokens": 40}});
    usage.as_object_mut().expect("an object").extend(manner.usage.clone());
    json!({
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}],
        "usage": usage,
    })
}

/// An answer of the type that a schema asks for.
fn said(schema: &Value, says: &str, prefers: Option<&str>, item: &str) -> Value {
    if let Some(choices) = schema["enum"].as_array() {
        let better = || {
            let (_, answers) = item.split_once("Answer A:")?;
            let (first, second) = answers.split_once("Answer B:")?;
            match (first.contains(prefers?), second.contains(prefers?)) {
                (true, false) => Some(json!("A")),
                (false, true) => Some(json!("B")),
                _ => Some(json!("equal")),
            }
        };
        return better().unwrap_or_else(|| choices[0].clone());
    }
    match schema["type"].as_str() {
        Some("object") => {
            let fields = schema["properties"].as_object().into_iter().flatten();
            Value::Object(fields.map(|(name, field)| (name.clone(), said(field, says, prefers, item))).collect())
        }
        Some("integer" | "number") => json!(7),
        Some("boolean") => json!(true),
        Some("array") => json!([says]),
        _ => json!(says),
    }
}
