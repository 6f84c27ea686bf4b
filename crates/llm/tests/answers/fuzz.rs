//! A fuzzer of the reader of answers: the corpus, mutated and spliced for as long as it is given.
//!
//! ```text
//! PROMPTMILL_FUZZ_SECONDS=600 cargo test --release --test answers -- --ignored --nocapture fuzz
//! ```
//!
//! Texts that bring about an outcome not seen before join the pool. Whatever the text, the reader must not panic
//! or take long, must answer for exactly the rows that were asked about, with values of the types that were asked
//! for, must read its own answers back as they are, and must say no more of a beginning than of the whole. And a
//! reply of which a sign or two got lost must never put one row's words on another.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use promptmill_core::pipeline::Structured;
use promptmill_core::{AnswerField, AnswerShape, FieldType};
use promptmill_llm::{Reply, RowAnswer, read_answers, row_id};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value};

use crate::corpus;

/// What mutations put in: signs that mean something to a reader, and values that are hard to hold.
const TOKENS: &[&str] = &[
    "\"",
    "'",
    "“",
    "”",
    "„",
    "‘",
    "’",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    ";",
    "\\",
    "\\\"",
    "\\u",
    "\\ud83d",
    "\\u00e9",
    "/",
    "//",
    "/*",
    "*/",
    "\n",
    "\t",
    "\u{0}",
    "\u{1}",
    "\u{feff}",
    "\u{fffd}",
    "…",
    "...",
    "```",
    "```json\n",
    "<think>",
    "</think>",
    "null",
    "None",
    "true",
    "NaN",
    "-Infinity",
    "1e999",
    "1.000",
    "9223372036854775808",
    "-0",
    "\"r1\"",
    "\"r2\": ",
    "\"r3\": \"",
    "\"1\": ",
    "\"r0\": 1,",
    "{\"id\": \"r1\", ",
    "{\"id\": 2, ",
    "\"summary\": ",
    "\"score\": ",
    "\"mover\": {",
    "\"rows\": [",
    "{\"r1\": {\"r2\": ",
    "é",
    "列",
    "🚆",
    " ",
    "0",
    "r1",
    "r2",
];
/// Texts that are mutated further grow no longer than this.
const LONGEST: usize = 16_384;
/// Bytes of the longest mark that ends a thought or names a channel.
const LONGEST_MARK: usize = 24;
const POOL: usize = 20_000;

/// A text, the rows that were asked about, and the shape, by its place in the corpus.
#[derive(Clone, Debug)]
struct Said {
    text: String,
    rows: usize,
    shape: usize,
}

#[derive(Debug)]
struct Fuzzer {
    shapes: Vec<AnswerShape>,
    pool: Vec<Said>,
    seen: HashSet<u64>,
    rng: StdRng,
    executions: u64,
    slowest: (f64, usize),
}

impl Fuzzer {
    fn new(seed: u64) -> Self {
        let corpora = corpus::read();
        let cases = corpora
            .iter()
            .enumerate()
            .flat_map(|(shape, corpus)| corpus.cases.iter().map(move |case| Said { text: case.says.clone(), rows: case.is.len(), shape }));
        Self {
            pool: cases.collect(),
            shapes: corpora.iter().map(|corpus| corpus.shape.clone()).collect(),
            seen: HashSet::new(),
            rng: StdRng::seed_from_u64(seed),
            executions: 0,
            slowest: (0.0, 0),
        }
    }

    /// One mutated text of the pool.
    fn step(&mut self) {
        let mut said = self.pool.choose(&mut self.rng).expect("a pool").clone();
        for _ in 0..self.rng.random_range(1..=4) {
            self.mutate(&mut said);
        }
        let reply = self.check(&said);
        let mut hasher = DefaultHasher::new();
        let kinds: Vec<String> = reply.rows.iter().map(kind_of).collect();
        (kinds, reply.unknown_ids.min(3), reply.whole, &reply.open, said.shape, said.text.len().checked_ilog2()).hash(&mut hasher);
        if self.seen.insert(hasher.finish()) && self.pool.len() < POOL && said.text.len() < LONGEST {
            self.pool.push(said);
        }
    }

    fn mutate(&mut self, said: &mut Said) {
        let rng = &mut self.rng;
        let text = &mut said.text;
        let place = |rng: &mut StdRng, text: &str| text.floor_char_boundary(rng.random_range(0..=text.len()));
        let (one, two) = (place(rng, text), place(rng, text));
        let near = text.floor_char_boundary((one + rng.random_range(0..12)).min(text.len()));
        let (start, end) = if rng.random_bool(0.7) { (one, near) } else { (one.min(two), one.max(two)) };
        match rng.random_range(0..12) {
            0 | 1 => text.replace_range(start..end, ""),
            2 | 3 => text.insert_str(one, TOKENS.choose(rng).expect("tokens")),
            4 => text.replace_range(start..end, TOKENS.choose(rng).expect("tokens")),
            5 => text.truncate(one),
            6 => {
                let part = text[start..end].to_owned();
                text.insert_str(two, &part);
            }
            7 => {
                let other = &self.pool.choose(rng).expect("a pool").text;
                let (from, to) = (place(rng, other), place(rng, other));
                text.replace_range(start..end, &other[from.min(to)..from.max(to)]);
            }
            8 => {
                let part = text[start..end].to_owned();
                let times = rng.random_range(1..200_usize).min(4 * LONGEST / part.len().max(1));
                text.insert_str(one, &part.repeat(times));
            }
            9 => *text = Value::from(text.as_str()).to_string(),
            10 => *text = format!("{}{text}{}", TOKENS.choose(rng).expect("tokens"), TOKENS.choose(rng).expect("tokens")),
            _ => said.rows = rng.random_range(0..5),
        }
        if said.text.len() > 4 * LONGEST {
            said.text.truncate(said.text.floor_char_boundary(LONGEST));
        }
    }

    /// Reads a text and holds it against everything that must be so.
    fn check(&mut self, said: &Said) -> Reply {
        let Said { text, rows, shape } = said;
        let shape = &self.shapes[*shape];
        self.executions += 1;
        let begun = cpu_time();
        let reply = catch_unwind(AssertUnwindSafe(|| read_answers(text, *rows, shape, Structured::Text)))
            .unwrap_or_else(|_| panic!("a panic on {said:?}"));
        let took = (cpu_time() - begun).as_secs_f64();
        if text.len() > LONGEST / 2 && took / text.len() as f64 > self.slowest.0 {
            self.slowest = (took / text.len() as f64, text.len());
        }
        assert!(took < 0.05 + 2e-6 * text.len() as f64, "{took} s for {} bytes: {said:?}", text.len());
        assert_eq!(reply.rows.len(), *rows, "{said:?}");
        let mut again = Map::new();
        for (index, row) in reply.rows.iter().enumerate() {
            let RowAnswer::Given(values) = row else { continue };
            assert!(fits(values, shape), "row {index} is {values:?} for {said:?}");
            assert!(*rows == 1 || mentions(text, index + 1), "row {index} has an answer without its id: {said:?}");
            again.insert(row_id(index), as_json(values, shape));
        }
        let again = Value::Object(again).to_string();
        let second = read_answers(&again, *rows, shape, Structured::Text);
        for (first, second) in reply.rows.iter().zip(&second.rows) {
            // A text that itself is the JSON of an answer is read as that.
            let is_json =
                |row: &RowAnswer| matches!(row, RowAnswer::Given(values) if values[0].as_str().is_some_and(|text| text.starts_with('{')));
            if matches!(first, RowAnswer::Given(_)) && !is_json(first) {
                assert_eq!(first, second, "read again, of {said:?}");
            }
        }
        let cut = text.floor_char_boundary(self.rng.random_range(0..=text.len()));
        let part = read_answers(&text[..cut], *rows, shape, Structured::Text).cut_off();
        // A thought whose beginning is damaged and whose end is cut off cannot be told from an answer.
        let behind = &text[text.floor_char_boundary(cut.saturating_sub(LONGEST_MARK))..];
        let ends_a_thought = ["</", "[/", "<|"].iter().any(|mark| behind.contains(mark));
        for (whole, part) in reply.rows.iter().zip(&part.rows) {
            if let (RowAnswer::Given(_), RowAnswer::Given(_), false) = (whole, part, ends_a_thought) {
                assert_eq!(whole, part, "cut at {cut}: {said:?}");
            }
        }
        reply
    }

    /// A reply in which every row says which it is, with a sign or two lost or come by.
    fn damage(&mut self) {
        let rng = &mut self.rng;
        let rows = rng.random_range(2..6_usize);
        let text_shape = rng.random_bool(0.5);
        let words =
            ["de motie", "vraagt \\\"meer\\\"", "vraagt, zegt zij,", "om: treinen;", "it's", "{x}", "[y]", "列車", "en\\nverder", "r9"];
        let (open, close) = *[("\"", "\""), ("\"", "\""), ("'", "'"), ("“", "”")].choose(rng).expect("quotes");
        let quoted = |text: &str| format!("{open}{text}{close}");
        let mut parts: Vec<String> = Vec::new();
        for row in 1..=rows {
            let said: Vec<&str> = (0..rng.random_range(1..5)).map(|_| *words.choose(rng).expect("words")).collect();
            let said = quoted(&format!("<{row}> {} <{row}>", said.join(" ")));
            let value = match text_shape {
                true => said,
                false => {
                    format!("{{{}: {said}, {}: [{}, {}]}}", quoted("summary"), quoted("topics"), quoted(&format!("<{row}>")), quoted("x"))
                }
            };
            let colon = if rng.random_bool(0.8) { ": " } else { " :\n" };
            parts.push(format!("{}{colon}{value}", quoted(&row_id(row - 1))));
        }
        let mut text = format!("{{{}}}", parts.join(if rng.random_bool(0.5) { ", " } else { ",\n  " }));
        for _ in 0..rng.random_range(1..=2) {
            let signs: Vec<usize> =
                text.match_indices(|sign: char| !sign.is_alphanumeric() && !"<>".contains(sign)).map(|(at, _)| at).collect();
            let Some(&at) = signs.choose(rng) else { break };
            let sign = text[at..].chars().next().map_or(1, char::len_utf8);
            match rng.random_range(0..4) {
                0 | 1 => text.replace_range(at..at + sign, ""),
                2 => text.insert_str(at, ["\"", "'", ",", "{", "}", "[", "]", ":", "\n", " "].choose(rng).expect("signs")),
                _ => text.truncate(at),
            }
        }
        let fields =
            vec![AnswerField::new("summary", FieldType::String), AnswerField::new("topics", FieldType::List(Box::new(FieldType::String)))];
        let shape = if text_shape { AnswerShape::Text("summary".into()) } else { AnswerShape::Fields(fields) };
        let reply = read_answers(&text, rows, &shape, Structured::Text).cut_off();
        self.executions += 1;
        for (index, row) in reply.rows.iter().enumerate() {
            let RowAnswer::Given(values) = row else { continue };
            let said = Value::from(values.clone()).to_string();
            let foreign = (1..=rows).find(|other| *other != index + 1 && said.contains(&format!("<{other}>")));
            assert_eq!(foreign, None, "row r{} says {said}, of {text}", index + 1);
        }
    }
}

/// What became of a row, without its words.
fn kind_of(row: &RowAnswer) -> String {
    match row {
        RowAnswer::Given(values) => values.iter().map(|value| if value.is_null() { '0' } else { 'g' }).collect(),
        RowAnswer::Missing => "-".to_owned(),
        RowAnswer::Duplicate => "2".to_owned(),
        RowAnswer::Invalid { why, .. } => why.clone(),
    }
}

/// Whether a text has a row's number in it, also as an escape.
fn mentions(text: &str, number: usize) -> bool {
    text.contains(&number.to_string()) || text.contains("\\u00")
}

fn as_json(values: &[Value], shape: &AnswerShape) -> Value {
    match shape {
        AnswerShape::Text(_) => values[0].clone(),
        AnswerShape::Fields(fields) => {
            fields.iter().map(|field| field.name.clone()).zip(values.iter().cloned()).collect::<Map<_, _>>().into()
        }
    }
}

fn fits(values: &[Value], shape: &AnswerShape) -> bool {
    match shape {
        AnswerShape::Text(_) => values.len() == 1 && is_of(&FieldType::String, &values[0]),
        AnswerShape::Fields(fields) => {
            values.len() == fields.len()
                && fields.iter().zip(values).all(|(field, value)| if value.is_null() { field.nullable } else { is_of(&field.kind, value) })
        }
    }
}

fn is_of(kind: &FieldType, value: &Value) -> bool {
    match (kind, value) {
        (FieldType::String, Value::String(text)) => !text.trim().is_empty() && !text.contains('\u{fffd}'),
        (FieldType::Enum(values), Value::String(text)) => values.contains(text),
        (FieldType::Int, Value::Number(number)) => number.is_i64(),
        (FieldType::Float, Value::Number(number)) => number.as_f64().is_some_and(f64::is_finite),
        (FieldType::Bool, Value::Bool(_)) => true,
        (FieldType::List(kind), Value::Array(items)) => items.iter().all(|item| is_of(kind, item)),
        (FieldType::Struct(fields), Value::Object(object)) => {
            let names: Vec<&String> = object.keys().collect();
            let values: Vec<Value> = object.values().cloned().collect();
            names == fields.iter().map(|field| &field.name).collect::<Vec<_>>() && fits(&values, &AnswerShape::Fields(fields.clone()))
        }
        _ => false,
    }
}

/// What this thread has used of a processor, where the kernel counts it.
fn cpu_time() -> Duration {
    let counts = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(counts.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or_default())
}

fn run(seed: u64, time: Duration, executions: u64) -> Fuzzer {
    let mut fuzzer = Fuzzer::new(seed);
    for said in fuzzer.pool.clone() {
        fuzzer.check(&said);
    }
    let begun = Instant::now();
    while begun.elapsed() < time && fuzzer.executions < executions {
        fuzzer.step();
        fuzzer.damage();
    }
    fuzzer
}

/// A little of it with every run of the tests, always the same.
#[test]
fn mutated_answers_are_read_safely() {
    run(7, Duration::from_secs(600), 20_000);
}

#[test]
#[ignore = "runs for PROMPTMILL_FUZZ_SECONDS, ten by default"]
fn fuzz() {
    let setting = |name: &str, default| std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default);
    let seed = setting("PROMPTMILL_FUZZ_SEED", rand::random());
    eprintln!("PROMPTMILL_FUZZ_SEED={seed}");
    let fuzzer = run(seed, Duration::from_secs(setting("PROMPTMILL_FUZZ_SECONDS", 10)), u64::MAX);
    let (slowest, bytes) = fuzzer.slowest;
    eprintln!(
        "{} texts read, {} outcomes, {} in the pool; the slowest took {:.0} ns a byte of {bytes}",
        fuzzer.executions,
        fuzzer.seen.len(),
        fuzzer.pool.len(),
        slowest * 1e9
    );
}
