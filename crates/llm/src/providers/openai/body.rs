//! The body of a request, written straight from the request: no tree of values stands in between, since
//! this is the one thing that happens for every request before it leaves.

use promptmill_core::pipeline::Structured;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::Request;
use crate::prompt::{pack_schema, user_message};

/// The two names of the output limit. A body holds at most one: some servers refuse both together.
pub(super) const LIMIT_FIELDS: [&str; 2] = ["max_tokens", "max_completion_tokens"];

/// The body as JSON. What stands in `extra_body` replaces our own field of that name.
pub(super) fn write(request: &Request, limit_field: &'static str) -> serde_json::Result<Vec<u8>> {
    let user = user_message(request);
    let mut json = Vec::with_capacity(user.len() + user.len() / 4 + 1_024);
    serde_json::to_writer(&mut json, &Body { request, user: &user, limit_field })?;
    Ok(json)
}

struct Body<'a> {
    request: &'a Request,
    user: &'a str,
    limit_field: &'static str,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: &'a str,
}

#[derive(Serialize)]
struct ResponseFormat {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    json_schema: Option<JsonSchema>,
}

#[derive(Serialize)]
struct JsonSchema {
    name: &'static str,
    strict: bool,
    schema: Value,
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (request, extra) = (self.request, &*self.request.extra_body);
        let ours = |field: &str| !extra.contains_key(field);
        let mut body = serializer.serialize_map(None)?;
        if ours("model") {
            body.serialize_entry("model", &*request.model)?;
        }
        if ours("messages") {
            let user = Message { role: "user", content: self.user };
            match &request.system {
                Some(system) => body.serialize_entry("messages", &[Message { role: "system", content: system }, user])?,
                None => body.serialize_entry("messages", &[user])?,
            }
        }
        if let Some(format) = ours("response_format").then(|| response_format(request)).flatten() {
            body.serialize_entry("response_format", &format)?;
        }
        if let Some(max_tokens) = request.max_tokens.filter(|_| LIMIT_FIELDS.into_iter().all(ours)) {
            body.serialize_entry(self.limit_field, &max_tokens)?;
        }
        if let Some(temperature) = request.temperature.filter(|_| ours("temperature")) {
            body.serialize_entry("temperature", &temperature)?;
        }
        if ours("stream") {
            body.serialize_entry("stream", &false)?;
        }
        for (field, value) in extra {
            body.serialize_entry(field, value)?;
        }
        body.end()
    }
}

fn response_format(request: &Request) -> Option<ResponseFormat> {
    match request.structured {
        Structured::JsonSchema => {
            let json_schema = JsonSchema { name: "rows", strict: true, schema: pack_schema(request) };
            Some(ResponseFormat { r#type: "json_schema", json_schema: Some(json_schema) })
        }
        Structured::JsonObject => Some(ResponseFormat { r#type: "json_object", json_schema: None }),
        Structured::Text => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use promptmill_core::AnswerShape;
    use serde_json::{Map, json};

    use super::*;
    use crate::{Item, row_id};

    fn request(structured: Structured, extra_body: Value) -> Request {
        let Value::Object(extra_body) = extra_body else { panic!("an object") };
        Request {
            model: "m/one".into(),
            system: Some("Je legt moties uit.\n\"Eenvoudig\".".into()),
            prompt: "Leg uit.".into(),
            items: vec![Item { id: row_id(0), text: "Verzoekt de regering\u{2028}…".into() }],
            shape: Arc::new(AnswerShape::Text("summary".into())),
            structured,
            max_tokens: Some(900),
            temperature: Some(0.2),
            extra_body: Arc::new(extra_body),
            timeout: Duration::from_secs(1),
        }
    }

    fn written(request: &Request, limit_field: &'static str) -> Map<String, Value> {
        serde_json::from_slice(&write(request, limit_field).expect("written")).expect("an object, each field once")
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
        let text = write(&request(Structured::JsonSchema, extra.clone()), "max_tokens").expect("written");
        assert_eq!(String::from_utf8_lossy(&text), extra.to_string());
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
            request.items = (0..rows).map(|row| Item { id: row_id(row), text: Arc::clone(&text) }).collect();
            let begun = cpu_time();
            for _ in 0..10_000 {
                std::hint::black_box(write(&request, "max_tokens").expect("written"));
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
