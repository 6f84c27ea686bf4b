//! A stream of events where a whole response was asked for: some gateways stream whatever is asked.

use serde_json::{Map, Value, json};

use super::mend::values;

/// What a stream comes to.
#[derive(Debug, PartialEq)]
pub(super) struct Streamed {
    /// A body as it would have been without a stream.
    pub(super) body: Value,
    /// Whether its end has been seen.
    pub(super) is_whole: bool,
}

/// Whether a text is a stream of events.
pub(super) fn is_stream(text: &str) -> bool {
    ["data:", "event:", "id:", "retry:", ": ", ":\n"].iter().any(|mark| text.starts_with(mark))
}

/// Puts the events of a stream together. `None` if nothing in it can be read.
pub(super) fn read(text: &str) -> Option<Streamed> {
    let mut is_whole = false;
    let mut chunks = Vec::new();
    for line in text.lines() {
        let line = line.trim();
        let data = match line.strip_prefix("data:") {
            Some(data) => data.trim(),
            // A server that has kept the connection alive with comments may send plain JSON behind them.
            None if line.starts_with('{') => line,
            None => continue,
        };
        if data == "[DONE]" {
            is_whole = true;
        } else {
            chunks.extend(values(data).unwrap_or_default());
        }
    }
    put_together(chunks, is_whole)
}

/// Puts together what came one behind the other, as events or without anything around them.
pub(super) fn put_together(chunks: Vec<Value>, is_whole: bool) -> Option<Streamed> {
    let mut whole = Whole { is_whole, ..Whole::default() };
    for chunk in chunks {
        // A single event can hold all of it.
        if chunk.pointer("/choices/0/message").is_some() {
            return Some(Streamed { body: chunk, is_whole: true });
        }
        whole.take(chunk);
    }
    whole.body()
}

/// Whether a value is a part of a stream.
pub(super) fn is_chunk(value: &Value) -> bool {
    value.pointer("/choices/0/delta").is_some() || value.get("object").and_then(Value::as_str) == Some("chat.completion.chunk")
}

#[derive(Debug, Default)]
struct Whole {
    /// Of the response itself: its id, its usage.
    fields: Map<String, Value>,
    message: Map<String, Value>,
    tools: Vec<String>,
    finish_reason: Value,
    error: Option<Value>,
    has_choice: bool,
    is_whole: bool,
}

impl Whole {
    fn take(&mut self, chunk: Value) {
        let Value::Object(mut chunk) = chunk else { return };
        if chunk.get("error").is_some_and(|error| !error.is_null()) {
            self.error = Some(Value::Object(chunk));
            return;
        }
        let choice = chunk.remove("choices").and_then(|choices| match choices {
            // Several answers at once come mixed; only the first was asked for.
            Value::Array(choices) => choices.into_iter().find(|choice| choice.get("index").is_none_or(|index| *index == json!(0))),
            _ => None,
        });
        if let Some(Value::Object(mut choice)) = choice {
            self.has_choice = true;
            if let Some(reason) = choice.remove("finish_reason").filter(|reason| !reason.is_null()) {
                self.finish_reason = reason;
            }
            // Moonshot puts the usage here, Groq under a name of its own.
            if let Some(usage) = choice.remove("usage").filter(|usage| !usage.is_null()) {
                self.fields.insert("usage".to_owned(), usage);
            }
            if let Some(Value::Object(delta)) = choice.remove("delta") {
                delta.into_iter().for_each(|(name, value)| self.say(name, value));
            }
        }
        if let Some(usage) = chunk.get("x_groq").and_then(|groq| groq.get("usage")).filter(|usage| !usage.is_null()) {
            self.fields.insert("usage".to_owned(), usage.clone());
        }
        self.fields.extend(chunk.into_iter().filter(|(_, value)| !value.is_null()));
    }

    /// One field of a part of a message.
    fn say(&mut self, name: String, value: Value) {
        match (name.as_str(), value) {
            ("role", _) | (_, Value::Null) => {}
            ("tool_calls", Value::Array(calls)) => calls.iter().for_each(|call| self.call(call)),
            (_, Value::String(more)) => match self.message.get_mut(&name) {
                Some(Value::String(text)) => text.push_str(&more),
                _ => drop(self.message.insert(name, Value::String(more))),
            },
            (_, Value::Array(mut more)) => match self.message.get_mut(&name) {
                Some(Value::Array(parts)) => parts.append(&mut more),
                _ => drop(self.message.insert(name, Value::Array(more))),
            },
            (_, value) => drop(self.message.insert(name, value)),
        }
    }

    /// A part of the arguments of a tool.
    fn call(&mut self, call: &Value) {
        let index = call.get("index").and_then(Value::as_u64).unwrap_or(0).min(64) as usize;
        self.tools.resize(self.tools.len().max(index + 1), String::new());
        self.tools[index].push_str(call.pointer("/function/arguments").and_then(Value::as_str).unwrap_or_default());
    }

    fn body(mut self) -> Option<Streamed> {
        let has_spoken = !self.message.is_empty() || !self.tools.is_empty();
        if let Some(mut error) = self.error.filter(|_| !has_spoken) {
            if let Some(usage) = self.fields.remove("usage") {
                error["usage"] = usage;
            }
            return Some(Streamed { body: error, is_whole: true });
        }
        if !self.has_choice {
            // What names no choice at all is an error of some form, if it is anything.
            return (!self.fields.is_empty()).then_some(Streamed { body: Value::Object(self.fields), is_whole: true });
        }
        if !self.tools.is_empty() {
            let calls = self.tools.into_iter().map(|arguments| json!({"function": {"arguments": arguments}}));
            self.message.insert("tool_calls".to_owned(), calls.collect());
        }
        let is_whole = self.is_whole || !self.finish_reason.is_null();
        let choice = json!({"index": 0, "finish_reason": self.finish_reason, "message": self.message});
        self.fields.insert("choices".to_owned(), json!([choice]));
        Some(Streamed { body: Value::Object(self.fields), is_whole })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(delta: &Value, finish: &Value) -> String {
        let chunk =
            json!({"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
        format!("data: {chunk}\n\n")
    }

    const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n";

    #[test]
    fn the_parts_become_a_body() {
        let text = [
            ": comment\n\n".to_owned(),
            "event: message\n".to_owned(),
            chunk(&json!({"role": "assistant", "content": "Eé"}), &json!(null)),
            "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"another\"}}]}\n\n".to_owned(),
            chunk(&json!({"content": "n.", "reasoning_content": "hm"}), &json!(null)).replace("data: ", "data:"),
            chunk(&json!({}), &json!("stop")).replace('\n', "\r\n"),
            USAGE.to_owned(),
            "data: [DONE]\n\n".to_owned(),
        ]
        .concat();
        assert!(is_stream(&text));
        let read = read(&text).expect("a stream");
        assert_eq!(
            read.body["choices"],
            json!([{"index": 0, "finish_reason": "stop", "message": {"content": "Eén.", "reasoning_content": "hm"}}])
        );
        assert_eq!((&read.body["usage"]["prompt_tokens"], read.is_whole), (&json!(3), true));
    }

    #[test]
    fn a_stream_that_broke_off_is_not_whole() {
        let text = chunk(&json!({"content": "half"}), &json!(null));
        let broken = read(&text).expect("a stream");
        assert_eq!((&broken.body["choices"][0]["message"]["content"], broken.is_whole), (&json!("half"), false));
        let cut = format!("{text}data: {{\"choices\":[{{\"delta\":{{\"cont");
        assert_eq!(read(&cut), Some(broken));
        assert!(read(&format!("{text}data: [DONE]")).expect("a stream").is_whole);
    }

    #[test]
    fn an_error_in_a_stream_is_one_unless_words_came_before_it() {
        let error = "data: {\"error\":{\"code\":429,\"message\":\"slow down\"}}\n\n";
        let alone = read(&format!("{USAGE}{error}")).expect("a stream");
        assert_eq!((&alone.body["error"]["code"], &alone.body["usage"]["prompt_tokens"]), (&json!(429), &json!(3)));
        let behind = read(&format!("{}{error}", chunk(&json!({"content": "half"}), &json!(null)))).expect("a stream");
        assert_eq!((behind.body.get("error"), behind.is_whole), (None, false));
    }

    #[test]
    fn arguments_of_tools_and_usage_in_odd_places() {
        let call = |arguments: &str| chunk(&json!({"tool_calls": [{"index": 0, "function": {"arguments": arguments}}]}), &json!(null));
        let last = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\",\"usage\":{\"prompt_tokens\":7}}]}\n";
        let read_ = read(&[call("{\"r1\":"), call("\"a\"}"), last.to_owned()].concat()).expect("a stream");
        assert_eq!(read_.body["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"], "{\"r1\":\"a\"}");
        assert_eq!(read_.body["usage"]["prompt_tokens"], 7);
        let groq = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}],\"x_groq\":{\"usage\":{\"prompt_tokens\":8}}}\n";
        assert_eq!(read(groq).expect("a stream").body["usage"]["prompt_tokens"], 8);
        let whole = "data: {\"choices\":[{\"message\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\n";
        assert_eq!(read(whole).expect("a stream").body["choices"][0]["message"]["content"], "a");
        assert_eq!(read(": nothing\n\ndata: [DONE]\n"), None);
    }
}
