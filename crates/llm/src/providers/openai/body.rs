//! The body of a request, written straight from the request: no tree of values and no text of the message
//! stands in between, since this is the one thing that happens for every request before it leaves.

use promptmill_core::pipeline::Structured;
use serde::Serialize;

use super::cache::{CacheHints, cache_key};
use super::limit::LIMIT_FIELDS;
use crate::Request;
use crate::escape::push_once;
use crate::prompt::{push_pack_schema, push_user_message};

/// Bytes around the texts: the names of fields, the instruction.
const AROUND: usize = 1_536;
/// Bytes around an item: in its line, in the instruction, in the schema.
const AROUND_ITEM: usize = 80;

/// What differs between servers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    /// The name of the field that bounds the output.
    pub(super) limit_field: &'static str,
    /// What is said about the server's cache.
    pub(super) cache: CacheHints,
}

/// The body as JSON. What stands in `extra_body` replaces our own field of that name.
pub(super) fn write(request: &Request, Form { limit_field, cache }: Form) -> serde_json::Result<Vec<u8>> {
    let extra = &*request.extra_body;
    let ours = |field: &str| !extra.contains_key(field);
    let texts: usize = request.items.iter().map(|item| item.text.len() + item.text.len() / 16 + AROUND_ITEM).sum();
    let words = request.prompt.len() + request.system.as_ref().map_or(0, |system| system.len());
    let mut body = Object(Vec::with_capacity(texts + words + words / 8 + AROUND));
    if ours("model") {
        body.field("model", &*request.model)?;
    }
    if ours("messages") {
        write_messages(body.named("messages")?, request, cache);
    }
    if ours("response_format") {
        match request.structured {
            Structured::JsonSchema => {
                let format = body.named("response_format")?;
                format.extend_from_slice(br#"{"type":"json_schema","json_schema":{"name":"rows","strict":true,"schema":"#);
                push_pack_schema(format, request);
                format.extend_from_slice(b"}}");
            }
            Structured::JsonObject => body.named("response_format")?.extend_from_slice(br#"{"type":"json_object"}"#),
            Structured::Text => {}
        }
    }
    if let Some(max_tokens) = request.max_tokens.filter(|_| LIMIT_FIELDS.into_iter().all(ours)) {
        body.field(limit_field, &max_tokens)?;
    }
    if let Some(temperature) = request.temperature.filter(|_| ours("temperature")) {
        body.field("temperature", &temperature)?;
    }
    if ours("stream") {
        body.field("stream", &false)?;
    }
    if let Some(system) = request.system.as_ref().filter(|_| cache.key) {
        body.field("prompt_cache_key", &cache_key(system))?;
    }
    if cache.explicit {
        body.named("prompt_cache_options")?.extend_from_slice(br#"{"mode":"explicit"}"#);
    }
    for (field, value) in extra {
        body.field(field, value)?;
    }
    Ok(body.end())
}

/// Whether the body of a request has a setting of this name, in whatever case.
pub(super) fn has_field(request: &Request, name: &str) -> bool {
    let is_ours = match name {
        "temperature" => request.temperature.is_some(),
        "response_format" | "json_schema" => request.structured != Structured::Text,
        "stream" => true,
        name => LIMIT_FIELDS.contains(&name) && request.max_tokens.is_some(),
    };
    is_ours || request.extra_body.keys().any(|field| field.eq_ignore_ascii_case(name))
}

fn write_messages(json: &mut Vec<u8>, request: &Request, cache: CacheHints) {
    json.push(b'[');
    match (&request.system, cache.mark) {
        (Some(system), None) => {
            json.extend_from_slice(br#"{"role":"system","content":""#);
            push_once(json, system);
            json.extend_from_slice(br#""},"#);
        }
        // Only a part of a message can bear a mark.
        (Some(system), Some(mark)) => {
            json.extend_from_slice(br#"{"role":"system","content":[{"type":"text","text":""#);
            push_once(json, system);
            json.extend_from_slice(br#"","#);
            json.extend_from_slice(mark.json().as_bytes());
            json.extend_from_slice(b"}]},");
        }
        (None, _) => {}
    }
    json.extend_from_slice(br#"{"role":"user","content":""#);
    push_user_message(json, request);
    json.extend_from_slice(br#""}]"#);
}

/// An object that is being written.
struct Object(Vec<u8>);

impl Object {
    fn field(&mut self, name: &str, value: &(impl Serialize + ?Sized)) -> serde_json::Result<()> {
        serde_json::to_writer(self.named(name)?, value)
    }

    /// Where the value of the next field, which has this name, is to be written.
    fn named(&mut self, name: &str) -> serde_json::Result<&mut Vec<u8>> {
        self.0.push(if self.0.is_empty() { b'{' } else { b',' });
        serde_json::to_writer(&mut self.0, name)?;
        self.0.push(b':');
        Ok(&mut self.0)
    }

    fn end(mut self) -> Vec<u8> {
        // A body without fields cannot be: `stream` is ours or the extra body's.
        self.0.push(b'}');
        self.0
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use promptmill_core::{AnswerField, AnswerShape, FieldType};
    use serde_json::{Map, Value, json};

    use super::super::cache::Mark;
    use super::*;
    use crate::{Item, pack_schema, row_id, user_message};

    pub(in crate::providers::openai) fn request(structured: Structured, extra_body: Value) -> Request {
        let Value::Object(extra_body) = extra_body else { panic!("an object") };
        Request {
            model: "m/one".into(),
            system: Some("Je legt moties uit.\n\"Eenvoudig\".".into()),
            prompt: "Leg uit.".into(),
            items: vec![Item::new(row_id(0), "Verzoekt de regering\u{2028}…")],
            shape: Arc::new(AnswerShape::Text("summary".into())),
            language: crate::Language::default(),
            instructions: None,
            structured,
            max_tokens: Some(900),
            temperature: Some(0.2),
            extra_body: Arc::new(extra_body),
            timeout: Duration::from_secs(1),
        }
    }

    fn form(limit_field: &'static str) -> Form {
        Form { limit_field, cache: CacheHints::default() }
    }

    fn written(request: &Request, limit_field: &'static str) -> Map<String, Value> {
        serde_json::from_slice(&write(request, form(limit_field)).expect("written")).expect("an object, each field once")
    }

    #[test]
    fn the_body_holds_what_was_asked_for() {
        let request = request(Structured::JsonSchema, json!({"provider": {"require_parameters": true}}));
        let body = written(&request, "max_tokens");
        assert_eq!(
            Value::Object(body),
            json!({
                "model": "m/one",
                "messages": [
                    {"role": "system", "content": "Je legt moties uit.\n\"Eenvoudig\"."},
                    {"role": "user", "content": user_message(&request)},
                ],
                "response_format": {"type": "json_schema", "json_schema": {"name": "rows", "strict": true, "schema": pack_schema(&request)}},
                "max_tokens": 900,
                "temperature": 0.2,
                "stream": false,
                "provider": {"require_parameters": true},
            })
        );
    }

    #[test]
    fn a_body_of_many_rows_holds_their_message_and_schema() {
        let mut request = request(Structured::JsonSchema, json!({}));
        let texts = ["een \"woord\"\\", "twee\r\n\tregels\u{1}", "drie \u{2028} …"];
        request.items = texts.iter().enumerate().map(|(row, text)| Item::new(row_id(row), *text)).collect();
        request.items[1].rejected = Some("too-short: `\"\n`".into());
        let fields = vec![AnswerField::new("a\"b", FieldType::Int), AnswerField::new("c", FieldType::Enum(vec!["\\".to_owned()]))];
        for shape in [AnswerShape::Text("summary".into()), AnswerShape::Fields(fields)] {
            request.shape = Arc::new(shape);
            let body = written(&request, "max_tokens");
            assert_eq!(body["messages"][1]["content"], user_message(&request));
            assert_eq!(body["response_format"]["json_schema"]["schema"], pack_schema(&request));
        }
    }

    #[test]
    fn what_was_not_asked_for_is_left_out() {
        let mut request = request(Structured::Text, json!({}));
        (request.system, request.max_tokens, request.temperature) = (None, None, None);
        let body = written(&request, "max_tokens");
        assert_eq!(body.keys().collect::<Vec<_>>(), ["model", "messages", "stream"]);
        assert_eq!(body["messages"], json!([{"role": "user", "content": user_message(&request)}]));
        request.structured = Structured::JsonObject;
        assert_eq!(written(&request, "max_tokens")["response_format"], json!({"type": "json_object"}));
    }

    #[test]
    fn extra_body_wins_field_by_field() {
        let extra = json!({
            "model": "other", "messages": [], "response_format": null, "temperature": 1, "stream": true,
            "max_completion_tokens": 7, "seed": 1
        });
        let text = write(&request(Structured::JsonSchema, extra.clone()), form("max_tokens")).expect("written");
        assert_eq!(String::from_utf8_lossy(&text), extra.to_string());
    }

    #[test]
    fn a_field_is_there_if_it_was_asked_for() {
        let bare = Request { temperature: None, ..request(Structured::Text, json!({"topK": 4})) };
        let full = request(Structured::JsonSchema, json!({}));
        for (name, in_bare, in_full) in [
            ("temperature", false, true),
            ("response_format", false, true),
            ("max_completion_tokens", true, true),
            ("topk", true, false),
            ("could", false, false),
        ] {
            assert_eq!((has_field(&bare, name), has_field(&full, name)), (in_bare, in_full), "{name}");
        }
    }

    #[test]
    fn what_is_said_about_the_cache_stands_beside_the_words() {
        let request = request(Structured::Text, json!({}));
        let system = request.system.as_deref().expect("one");
        for (mark, field, value) in [
            (Mark::Breakpoint, "prompt_cache_breakpoint", json!({"mode": "explicit"})),
            (Mark::CacheControl, "cache_control", json!({"type": "ephemeral"})),
        ] {
            let cache = CacheHints { key: true, explicit: true, mark: Some(mark) };
            let body = write(&request, Form { cache, ..form("max_tokens") }).expect("written");
            let body: Map<String, Value> = serde_json::from_slice(&body).expect("an object");
            assert_eq!(body["messages"][0], json!({"role": "system", "content": [{"type": "text", "text": system, field: value}]}));
            assert_eq!(body["prompt_cache_options"], json!({"mode": "explicit"}));
            assert_eq!(body["prompt_cache_key"], json!(cache_key(system)));
        }
    }

    #[test]
    fn openai_has_its_own_name_for_the_output_limit() {
        let body = written(&request(Structured::Text, json!({})), "max_completion_tokens");
        assert_eq!((body.get("max_tokens"), &body["max_completion_tokens"]), (None, &json!(900)));
    }

    /// Processor time, by the kernel's count; the machine may be busy. Read by
    /// `cargo test --release -- --ignored --nocapture body_time`.
    #[test]
    #[ignore = "a measurement"]
    fn body_time() {
        let mut request = request(Structured::JsonSchema, json!({"provider": {"require_parameters": true}}));
        for (rows, chars) in [(1, 1_500), (15, 1_500)] {
            let text: Arc<str> = "De Kamer, gehoord de \"beraadslaging\", ".repeat(chars / 38).into();
            request.items = (0..rows).map(|row| Item::new(row_id(row), Arc::clone(&text))).collect();
            let begun = cpu_time();
            for _ in 0..10_000 {
                std::hint::black_box(write(&request, form("max_tokens")).expect("written"));
            }
            eprintln!("{rows} rows of {chars} characters: {:?} a body", (cpu_time() - begun) / 10_000);
        }
    }

    /// What this thread has used of a processor.
    pub(in crate::providers::openai) fn cpu_time() -> Duration {
        let counts = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        Duration::from_nanos(counts.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or_default())
    }
}
