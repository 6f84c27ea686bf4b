//! From what a model said to one answer a row: tolerant of form, strict about identity.
//!
//! Fences, prose around the JSON, wrappers, arrays of objects, ids as numbers and a cut-off end are read for
//! what they hold. But an answer belongs to a row only by its id: never by position, never if the id came
//! twice with different words, never if the id was not asked about.

use std::collections::HashMap;
use std::ops::Range;

use promptmill_core::{AnswerShape, FieldType};
use serde::de::IgnoredAny;
use serde_json::{Deserializer, Value};

/// How deep wrappers may be nested around the answers.
const MAX_DEPTH: usize = 4;

/// What a model said about the rows of a pack.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// One entry a row, in the order of the pack.
    pub rows: Vec<RowAnswer>,
    /// Answers under ids that were not asked about.
    pub unknown_ids: usize,
    /// Whether the JSON was whole. If not, what stood before the break counts.
    pub whole: bool,
}

/// What a model said about one row.
#[derive(Clone, Debug, PartialEq)]
pub enum RowAnswer {
    /// Values of the answer's columns, in their order, each of its declared type.
    Given(Vec<Value>),
    /// Nothing.
    Missing,
    /// Two different things.
    Duplicate,
    /// Something that does not have the answer's shape.
    Invalid(String),
}

impl Reply {
    /// How many rows got something that has the answer's shape.
    pub fn given(&self) -> usize {
        self.rows.iter().filter(|row| matches!(row, RowAnswer::Given(_))).count()
    }
}

/// Reads the answers about the rows `r1` to `r<count>`.
pub fn read_answers(content: &str, count: usize, shape: &AnswerShape) -> Reply {
    let mut found = Found { text: content, entries: Vec::new(), whole: true };
    match content.find(['{', '[']) {
        Some(start) => found.search(start..content.len(), count, 0),
        None => found.whole = false,
    }
    let mut rows: Vec<RowAnswer> = vec![RowAnswer::Missing; count];
    let mut first: HashMap<usize, Value> = HashMap::new();
    let mut unknown_ids = 0;
    for (id, value) in found.entries {
        let Some(position) = id.filter(|position| *position < count) else {
            unknown_ids += 1;
            continue;
        };
        match first.get(&position) {
            None => {
                rows[position] = typed(&value, shape);
                first.insert(position, value);
            }
            // The same thing said twice is still one answer.
            Some(earlier) if *earlier == value => {}
            Some(_) => rows[position] = RowAnswer::Duplicate,
        }
    }
    // A single row asked alone may be answered in plain words: there is no other row they could belong to.
    if count == 1 && unknown_ids == 0 && rows[0] == RowAnswer::Missing && !content.contains(['{', '[']) {
        rows[0] = typed(&Value::String(content.trim().to_owned()), shape);
        found.whole = true;
    }
    Reply { rows, unknown_ids, whole: found.whole }
}

/// Entries found in a text: the position that an id stands for (`None` for an id we never give), and a value.
struct Found<'a> {
    text: &'a str,
    entries: Vec<(Option<usize>, Value)>,
    whole: bool,
}

impl Found<'_> {
    /// Collects the entries of the object or array that starts at the beginning of `range`.
    fn search(&mut self, range: Range<usize>, count: usize, depth: usize) {
        let start = range.start;
        if self.text.as_bytes().get(start) == Some(&b'[') {
            let (elements, whole) = self.elements(range);
            self.whole &= whole;
            for element in elements {
                self.element(element, count, depth);
            }
            return;
        }
        let (pairs, whole) = self.pairs(range);
        self.whole &= whole;
        let has_ids = pairs.iter().any(|(key, _)| position(key).is_some());
        for (key, value) in pairs {
            let opens = matches!(self.text.as_bytes().get(value.start), Some(b'{' | b'['));
            // No id among the keys: a wrapper such as {"rows": [...]}.
            if !has_ids && opens && depth < MAX_DEPTH {
                self.search(value, count, depth + 1);
            } else if let Ok(value) = serde_json::from_str(&self.text[value]) {
                self.entries.push((position(&key), value));
            }
        }
    }

    /// Reads one element of an array: `{"id": "r1", "summary": "…"}`, or an object keyed by ids.
    fn element(&mut self, range: Range<usize>, count: usize, depth: usize) {
        let Ok(Value::Object(mut object)) = serde_json::from_str::<Value>(&self.text[range.clone()]) else {
            // A cut-off last element, or something that is no object.
            return;
        };
        let Some(id) = object.shift_remove("id") else {
            if depth < MAX_DEPTH {
                self.search(range, count, depth + 1);
            }
            return;
        };
        let id = match &id {
            Value::String(id) => position(id),
            Value::Number(number) => number.as_u64().and_then(|number| (number as usize).checked_sub(1)),
            _ => None,
        };
        self.entries.push((id, Value::Object(object)));
    }

    /// The keys of an object and where their values stand, as far as it is whole.
    fn pairs(&self, range: Range<usize>) -> (Vec<(String, Range<usize>)>, bool) {
        let mut pairs = Vec::new();
        let mut at = range.start + 1;
        loop {
            at = self.skip(at, range.end, b",");
            match self.text.as_bytes().get(at).filter(|_| at < range.end) {
                Some(b'}') => return (pairs, true),
                Some(b'"') => {}
                _ => return (pairs, false),
            }
            let mut keys = Deserializer::from_str(&self.text[at..range.end]).into_iter::<String>();
            let Some(Ok(key)) = keys.next() else { return (pairs, false) };
            at = self.skip(at + keys.byte_offset(), range.end, b"");
            if self.text.as_bytes().get(at) != Some(&b':') {
                return (pairs, false);
            }
            at = self.skip(at + 1, range.end, b"");
            match self.value_end(at, range.end) {
                Ok(end) => {
                    pairs.push((key, at..end));
                    at = end;
                }
                Err(()) => {
                    // Cut off inside a wrapper: what it holds so far may be whole.
                    pairs.push((key, at..range.end));
                    return (pairs, false);
                }
            }
        }
    }

    /// Where the elements of an array stand, as far as it is whole.
    fn elements(&self, range: Range<usize>) -> (Vec<Range<usize>>, bool) {
        let mut elements = Vec::new();
        let mut at = range.start + 1;
        loop {
            at = self.skip(at, range.end, b",");
            match self.text.as_bytes().get(at).filter(|_| at < range.end) {
                Some(b']') => return (elements, true),
                Some(_) => {}
                None => return (elements, false),
            }
            match self.value_end(at, range.end) {
                Ok(end) => {
                    elements.push(at..end);
                    at = end;
                }
                Err(()) => return (elements, false),
            }
        }
    }

    fn value_end(&self, at: usize, end: usize) -> Result<usize, ()> {
        let mut values = Deserializer::from_str(self.text.get(at..end).ok_or(())?).into_iter::<IgnoredAny>();
        match values.next() {
            Some(Ok(_)) => Ok(at + values.byte_offset()),
            _ => Err(()),
        }
    }

    fn skip(&self, mut at: usize, end: usize, also: &[u8]) -> usize {
        let bytes = self.text.as_bytes();
        while at < end && bytes.get(at).is_some_and(|byte| byte.is_ascii_whitespace() || also.contains(byte)) {
            at += 1;
        }
        at
    }
}

/// The position that an id stands for: `r3`, also as `R3` or `3`.
fn position(id: &str) -> Option<usize> {
    let id = id.trim();
    let digits = id.strip_prefix(['r', 'R']).unwrap_or(id);
    let plain = !digits.is_empty() && digits.len() < 7 && !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse::<usize>().ok()?.checked_sub(1)).flatten()
}

fn typed(value: &Value, shape: &AnswerShape) -> RowAnswer {
    let result = match shape {
        AnswerShape::Text(name) => text_of(value, name).map(|text| vec![Value::String(text.to_owned())]),
        AnswerShape::Fields(fields) => match value {
            Value::Object(object) => fields
                .iter()
                .map(|(name, field)| match object.get(name) {
                    Some(value) => typed_field(value, field).map_err(|expected| format!("`{name}` is not {expected}")),
                    None => Err(format!("`{name}` is missing")),
                })
                .collect(),
            _ => Err("not an object".to_owned()),
        },
    };
    match result {
        Ok(values) => RowAnswer::Given(values),
        Err(detail) => RowAnswer::Invalid(detail),
    }
}

/// The answer's text, bare or in an object under the column's name or as its only text.
fn text_of<'a>(value: &'a Value, name: &str) -> Result<&'a str, String> {
    let text = match value {
        Value::String(text) => text,
        Value::Object(object) => match object.get(name) {
            Some(Value::String(text)) => text,
            Some(_) => return Err(format!("`{name}` is not a text")),
            None => {
                let mut texts = object.values().filter_map(Value::as_str);
                match (texts.next(), texts.next()) {
                    (Some(text), None) => text,
                    _ => return Err(format!("`{name}` is missing")),
                }
            }
        },
        Value::Null => return Err("null".to_owned()),
        _ => return Err("not a text".to_owned()),
    };
    checked_text(text)
}

fn checked_text(text: &str) -> Result<&str, String> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        Err("empty".to_owned())
    } else if trimmed.contains('\u{fffd}') {
        // Bytes that were no text arrived as this sign: a part of the answer is lost.
        Err("broken characters".to_owned())
    } else {
        Ok(trimmed)
    }
}

fn typed_field(value: &Value, field: &FieldType) -> Result<Value, String> {
    match (field, value) {
        (FieldType::String, Value::String(text)) => checked_text(text).map(|text| Value::String(text.to_owned())),
        (FieldType::Int, Value::Number(number)) if number.is_i64() => Ok(value.clone()),
        (FieldType::Float, Value::Number(_)) | (FieldType::Bool, Value::Bool(_)) => Ok(value.clone()),
        (FieldType::Enum(values), Value::String(text)) => match values.iter().find(|value| *value == text.trim()) {
            Some(value) => Ok(Value::String(value.clone())),
            None => Err(format!("one of {}", values.join(", "))),
        },
        (FieldType::ListOfString, Value::Array(items)) if items.iter().all(Value::is_string) => Ok(value.clone()),
        (FieldType::String, _) => Err("a text".to_owned()),
        (FieldType::Int, _) => Err("a whole number".to_owned()),
        (FieldType::Float, _) => Err("a number".to_owned()),
        (FieldType::Bool, _) => Err("true or false".to_owned()),
        (FieldType::Enum(values), _) => Err(format!("one of {}", values.join(", "))),
        (FieldType::ListOfString, _) => Err("a list of texts".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Rows as text: the answer, or `-` missing, `2` duplicate, `!why` invalid.
    fn read(content: &str, count: usize) -> (String, usize, bool) {
        let reply = read_answers(content, count, &AnswerShape::Text("summary".into()));
        let rows: Vec<String> = reply
            .rows
            .iter()
            .map(|row| match row {
                RowAnswer::Given(values) => values[0].as_str().expect("a text").to_owned(),
                RowAnswer::Missing => "-".into(),
                RowAnswer::Duplicate => "2".into(),
                RowAnswer::Invalid(why) => format!("!{why}"),
            })
            .collect();
        (rows.join(" | "), reply.unknown_ids, reply.whole)
    }

    #[test]
    fn forms_that_models_send() {
        for (content, count, rows, unknown, whole) in [
            (r#"{"r1": "een", "r2": "twee"}"#, 2, "een | twee", 0, true),
            (r#"{"r2": "twee", "r1": "een"}"#, 2, "een | twee", 0, true),
            ("```json\n{\"r1\": \"een\"}\n```", 1, "een", 0, true),
            (r#"Natuurlijk! Hier is het: {"r1": "een", "r2": "twee"} Succes."#, 2, "een | twee", 0, true),
            (r#"{"rows": [{"id": "r1", "summary": "een"}, {"id": "r2", "summary": "twee"}]}"#, 2, "een | twee", 0, true),
            (r#"[{"id": 2, "summary": "twee"}, {"id": 1, "summary": "een"}]"#, 2, "een | twee", 0, true),
            (r#"{"answers": {"r1": {"summary": "een"}, "r2": {"uitleg": "twee"}}}"#, 2, "een | twee", 0, true),
            (r#"[{"r1": "een"}, {"r2": "twee"}]"#, 2, "een | twee", 0, true),
            (r#"{"1": "een", "R2": "twee"}"#, 2, "een | twee", 0, true),
            (r#"{"r1": "een",}"#, 1, "een", 0, true),
            ("Gewoon een antwoord.", 1, "Gewoon een antwoord.", 0, true),
            ("Gewoon een antwoord.", 2, "- | -", 0, false),
            ("", 1, "!empty", 0, true),
        ] {
            assert_eq!(read(content, count), (rows.to_owned(), unknown, whole), "{content}");
        }
    }

    #[test]
    fn an_answer_belongs_to_a_row_only_by_its_id() {
        for (content, count, rows, unknown) in [
            (r#"{"r1": "een", "r1": "anders"}"#, 1, "2", 0),
            (r#"{"r1": "een", "r1": "een"}"#, 1, "een", 0),
            (r#"{"r1": "een", "r1": "anders", "r1": "een"}"#, 1, "2", 0),
            (r#"{"r1": "een", "r9": "vreemd"}"#, 2, "een | -", 1),
            (r#"{"r1": "een", "motie": "vreemd", "r0": "nul", "r01": "nul"}"#, 1, "een", 3),
            (r#"["een", "twee"]"#, 2, "- | -", 0),
            (r#"{"rows": ["een", "twee"]}"#, 2, "- | -", 0),
            (r#"{"r1": null, "r2": 7, "r3": "  "}"#, 3, "!null | !not a text | !empty", 0),
            ("{\"r1\": \"kapot\u{fffd}\"}", 1, "!broken characters", 0),
        ] {
            let (found, found_unknown, _) = read(content, count);
            assert_eq!((found.as_str(), found_unknown), (rows, unknown), "{content}");
        }
    }

    #[test]
    fn what_stands_before_a_break_counts() {
        for (content, rows) in [
            (r#"{"r1": "een", "r2": "tw"#, "een | -"),
            (r#"{"r1": "een", "r2": "twee""#, "een | twee"),
            (r#"{"rows": [{"id": "r1", "summary": "een"}, {"id": "r2", "summary": "tw"#, "een | -"),
            (r#"{"r1": "een" "r2": "twee"}"#, "een | twee"),
            (r#"{"r1": "een"; "r2": "twee"}"#, "een | -"),
        ] {
            assert_eq!(read(content, 2).0, rows, "{content}");
        }
        assert!(!read(r#"{"r1": "een", "r2": "tw"#, 2).2);
    }

    #[test]
    fn typed_fields_are_of_their_type_or_invalid() {
        let shape = AnswerShape::Fields(vec![
            ("summary".into(), FieldType::String),
            ("topics".into(), FieldType::ListOfString),
            ("urgency".into(), FieldType::Enum(vec!["low".into(), "high".into()])),
            ("score".into(), FieldType::Int),
        ]);
        let read = |content: &str| read_answers(content, 1, &shape).rows.remove(0);
        let good = read(r#"{"r1": {"score": 3, "summary": "een", "topics": ["a"], "urgency": "high"}}"#);
        assert_eq!(good, RowAnswer::Given(vec!["een".into(), serde_json::json!(["a"]), "high".into(), 3.into()]));
        for (content, why) in [
            (r#"{"r1": {"summary": "een", "topics": ["a"], "urgency": "hoog", "score": 3}}"#, "`urgency` is not one of low, high"),
            (r#"{"r1": {"summary": "een", "topics": ["a"], "urgency": "low", "score": 3.5}}"#, "`score` is not a whole number"),
            (r#"{"r1": {"summary": "een", "topics": "a", "urgency": "low", "score": 3}}"#, "`topics` is not a list of texts"),
            (r#"{"r1": {"summary": "een", "urgency": "low", "score": 3}}"#, "`topics` is missing"),
            (r#"{"r1": "een"}"#, "not an object"),
        ] {
            assert_eq!(read(content), RowAnswer::Invalid(why.into()), "{content}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(content in "[\\[\\]{}\",:r0-9a \\\\]{0,60}", count in 0_usize..5) {
            let reply = read_answers(&content, count, &AnswerShape::Text("summary".into()));
            prop_assert_eq!(reply.rows.len(), count);
        }

        #[test]
        fn a_cut_never_invents_an_answer(texts in prop::collection::vec("[a-zé\"\\\\{},: ]{1,12}[a-z]", 1..6), cut in any::<prop::sample::Index>()) {
            let whole: serde_json::Map<String, Value> =
                texts.iter().enumerate().map(|(n, text)| (format!("r{}", n + 1), Value::String(text.clone()))).collect();
            let content = serde_json::to_string(&whole).expect("serialises");
            let mut end = cut.index(content.len());
            while !content.is_char_boundary(end) { end -= 1; }
            let reply = read_answers(&content[..end], texts.len(), &AnswerShape::Text("summary".into()));
            for (row, text) in reply.rows.iter().zip(&texts) {
                match row {
                    RowAnswer::Given(values) => prop_assert_eq!(values[0].as_str(), Some(text.trim())),
                    RowAnswer::Missing => {}
                    other => prop_assert!(texts.len() == 1, "{:?}", other),
                }
            }
        }
    }
}
