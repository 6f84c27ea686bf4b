//! The value of one entry of an answer, by the schema that asks for it: types, enums, bounds of numbers and lists,
//! nullable fields and references within the schema. Patterns and lengths of strings are not looked at.

use crate::answer::Source;
use crate::faults::Fault;
use crate::hash::Dice;
use crate::phrases;
use crate::prompt::ChatRequest;
use serde_json::{Map, Value};

/// Writes the value of one entry.
pub(crate) struct ValueWriter<'w> {
    request: &'w ChatRequest<'w>,
    key: &'w str,
    source: Source<'w>,
    fault: Option<Fault>,
    dice: Dice,
    /// Strings written so far: the first is the answer, the others are short.
    strings: u64,
    scratch: &'w mut String,
}

impl<'w> ValueWriter<'w> {
    /// A writer of the value that stands under `key`, empty where there is none.
    pub(crate) fn new(
        request: &'w ChatRequest<'w>,
        key: &'w str,
        source: Source<'w>,
        fault: Option<Fault>,
        scratch: &'w mut String,
    ) -> Self {
        Self { request, key, source, fault, dice: Dice::new(!source.hash), strings: 0, scratch }
    }

    /// The text as it stands.
    pub(crate) fn plain(&mut self, out: &mut String) {
        self.source.write(out, self.fault);
    }

    /// A string: the answer the first time, then something short.
    pub(crate) fn string(&mut self, out: &mut String) {
        self.scratch.clear();
        if self.strings == 0 {
            self.source.write(self.scratch, self.fault);
        } else {
            self.source.write_short(self.scratch, self.strings);
        }
        self.strings += 1;
        push_json_str(out, self.scratch);
    }

    /// An object of `fields`, of which `id` is the key.
    pub(crate) fn object(&mut self, out: &mut String, fields: &Map<String, Value>, depth: u32) {
        out.push('{');
        for (index, (name, schema)) in fields.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            push_json_str(out, name);
            out.push(':');
            if name == "id" && !self.key.is_empty() {
                push_json_str(out, self.key);
            } else {
                self.by_schema(out, schema, depth);
            }
        }
        out.push('}');
    }

    /// Whatever `schema` wants.
    pub(crate) fn by_schema(&mut self, out: &mut String, schema: &Value, depth: u32) {
        let request = self.request;
        let schema = request.resolve(schema);
        let one_of = ["anyOf", "oneOf"].iter().find_map(|name| schema.get(name)?.as_array());
        if let Some(choices) = one_of {
            let is_null = |choice: &&Value| choice.get("type").and_then(Value::as_str) == Some("null");
            let real = choices.iter().find(|choice| !is_null(choice));
            let real = real.map_or(&Value::Null, |real| request.resolve(real));
            return self.maybe_null(out, real, choices.iter().any(|c| is_null(&c)), depth);
        }
        let kinds = schema.get("type").and_then(Value::as_array);
        let nullable = kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind == "null"));
        self.maybe_null(out, schema, nullable, depth);
    }

    fn maybe_null(&mut self, out: &mut String, schema: &Value, nullable: bool, depth: u32) {
        let kind = match schema.get("type") {
            Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null"),
            Some(kind) => kind.as_str(),
            None => None,
        };
        let choices = schema.get("enum").and_then(Value::as_array);
        // The answer itself, the first string, is never withheld.
        let leads = choices.is_none() && self.strings == 0 && matches!(kind, Some("string") | None);
        if depth > 8 || (nullable && !leads && self.dice.below(8) == 0) {
            return out.push_str("null");
        }
        if let Some(choices) = choices {
            let real: Vec<_> = choices.iter().filter(|choice| !choice.is_null()).collect();
            let chosen = real.get(self.dice.below(real.len())).map_or(Value::Null, |choice| (*choice).clone());
            return out.push_str(&chosen.to_string());
        }
        if let Some(constant) = schema.get("const") {
            return out.push_str(&constant.to_string());
        }
        let bound = |name: &str, default: f64| schema.get(name).and_then(Value::as_f64).unwrap_or(default);
        match kind {
            Some("integer") => {
                let low = bound("minimum", 0.0).ceil();
                let high = bound("maximum", low + 10.0).floor().max(low);
                let steps = (high - low).min(1e6) as usize + 1;
                out.push_str(&format!("{}", low as i64 + self.dice.below(steps) as i64));
            }
            Some("number") => {
                let low = bound("minimum", 0.0);
                let high = bound("maximum", low + 1.0).max(low);
                let value = low + (high - low) * self.dice.below(101) as f64 / 100.0;
                out.push_str(&Value::from((value * 1e4).round() / 1e4).to_string());
            }
            Some("boolean") => out.push_str(if self.dice.below(2) == 0 { "false" } else { "true" }),
            Some("null") => out.push_str("null"),
            Some("array") => {
                let fewest = (bound("minItems", 1.0) as usize).min(100);
                let most = (bound("maxItems", 3.0) as usize).max(fewest);
                let count = fewest + self.dice.below((most - fewest).min(2) + 1);
                self.array(out, schema.get("items").unwrap_or(&Value::Null), count, depth);
            }
            Some("object") => match schema.get("properties").and_then(Value::as_object) {
                Some(fields) => self.object(out, fields, depth + 1),
                None => out.push_str("{}"),
            },
            _ => self.string(out),
        }
    }

    fn array(&mut self, out: &mut String, items: &Value, count: usize, depth: u32) {
        out.push('[');
        let terms = items.get("enum").is_none() && items.get("type").is_none_or(|kind| kind == "string");
        let from = self.dice.below(phrases::TOPICS.len());
        for index in 0..count {
            if index > 0 {
                out.push(',');
            }
            if terms {
                push_json_str(out, phrases::TOPICS[(from + index) % phrases::TOPICS.len()]);
            } else {
                self.by_schema(out, items, depth + 1);
            }
        }
        out.push(']');
    }
}

/// Appends `text` as a JSON string.
pub(crate) fn push_json_str(out: &mut String, text: &str) {
    out.push('"');
    let mut done = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..0x20 => "",
            _ => continue,
        };
        out.push_str(&text[done..at]);
        done = at + 1;
        if escape.is_empty() {
            out.push_str(&format!("\\u{byte:04x}"));
        } else {
            out.push_str(escape);
        }
    }
    out.push_str(&text[done..]);
    out.push('"');
}
