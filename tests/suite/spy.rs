//! A server that answers by the book, or breaks it as it was told, and remembers what it was asked, when, and
//! in what company.

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
        self.message().lines().find_map(|line| line.strip_prefix(&format!("The answer for \"{id}\" was rejected: ")))
    }

    /// The ids of the rows in it.
    pub(crate) fn ids(&self) -> Vec<String> {
        let items = self.message().lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        items.filter_map(|item| item["id"].as_str().map(str::to_owned)).collect()
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
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/v1", listener.local_addr().expect("an address"));
        let book = Arc::new(Mutex::new(Book::default()));
        let (shared, begun) = (Arc::clone(&book), Instant::now());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (book, manner) = (Arc::clone(&shared), manner.clone());
                std::thread::spawn(move || while serve(&stream, &manner, &book, begun).is_some() {});
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
fn serve(stream: &TcpStream, manner: &Manner, book: &Mutex<Book>, begun: Instant) -> Option<()> {
    let (head, body) = receive(stream)?;
    let mut asked = Asked { head, body, at: begun.elapsed(), in_flight: 0, after: 0 };
    let number = {
        let mut book = book.lock().expect("a book");
        book.in_flight += 1;
        (asked.in_flight, asked.after) = (book.in_flight, book.over);
        book.asked.push(asked.clone());
        book.asked.len()
    };
    std::thread::sleep(manner.straggler.filter(|(which, _)| *which == number).map_or(manner.wait, |(_, wait)| wait));
    let (status, response) = if number <= manner.refuses {
        ("429 Too Many Requests", json!({"error": {"message": "Rate limit exceeded", "code": 429}}))
    } else {
        ("200 OK", answer(&asked, manner, number))
    };
    {
        let mut book = book.lock().expect("a book");
        book.in_flight -= 1;
        book.over += 1;
    }
    let response = response.to_string();
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", response.len());
    (&mut &*stream).write_all(format!("{head}{response}").as_bytes()).ok()
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
