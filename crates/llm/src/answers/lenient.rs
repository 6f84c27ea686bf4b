//! JSON as models write it: read for what it holds, never further than it can be trusted.
//!
//! Valid JSON is read as what it is. Beside it: commas too many or missing, comments, single and typographic
//! quotes, keys without quotes, `True` and `None`, line breaks and quotes inside a text that lack their
//! escapes. Where a text ends is then a matter of judgement (`quoted`), and a text that turns out to have been
//! cut short by a wrong guess is thrown away.
//!
//! Every byte is looked at a bounded number of times and nesting is bounded, so no input takes long or deep.

mod quoted;

pub(super) use quoted::unescaped;

use super::json::{Json, Whole, known};
use quoted::Quotes;

/// Deeper nesting is taken for the end of what can be read.
const MAX_DEPTH: usize = 64;
/// Brackets in prose that may turn out to begin nothing.
const FALSE_STARTS: usize = 16;
/// Longer words are no keys and no numbers.
const MAX_WORD: usize = 400;

/// What could be read of a text.
#[derive(Debug, PartialEq)]
pub(super) struct Read {
    /// The objects and lists in it, in their order.
    pub(super) values: Vec<Json>,
    /// Whether there are any, and the last of them is whole.
    pub(super) whole: Whole,
    /// Whether the last thing in it is a text in an object that does not end. Where quotes inside texts lack their
    /// escapes, such a text may have been longer.
    pub(super) ends_in_text: bool,
}

/// Reads the objects and lists in a text.
pub(super) fn read(text: &str) -> Read {
    let mut parser = Parser::new(text);
    let (values, whole) = parser.values();
    Read { values, whole, ends_in_text: parser.ends_in_text }
}

/// The one list or object that a text consists of, if it does.
pub(super) fn embedded(text: &str) -> Option<Json> {
    let text = text.trim();
    let is_wrapped = (text.starts_with('{') && text.ends_with('}')) || (text.starts_with('[') && text.ends_with(']'));
    if !is_wrapped {
        return None;
    }
    let Read { mut values, whole, .. } = read(text);
    let value = values.pop()?;
    (whole && values.is_empty()).then_some(value)
}

/// Why reading ended early.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stop {
    /// The text ends.
    End,
    /// Here is something that cannot be.
    Broken,
}

/// Where a text stands, which decides what may follow it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Object,
    List,
}

struct Parser<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    stopped: Option<Stop>,
    /// Whether this has proved to be JSON and no bracket in prose.
    trusted: bool,
    ends_in_text: bool,
    /// The quotes of the last key, if it had any.
    key_quotes: Option<Quotes>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, bytes: text.as_bytes(), at: 0, stopped: None, trusted: false, ends_in_text: false, key_quotes: None }
    }

    fn values(&mut self) -> (Vec<Json>, Whole) {
        let mut values = Vec::new();
        let mut false_starts = 0;
        if self.peek() == Some(b'"') {
            // The first brace may have been left out.
            let value = self.pairs(0);
            if self.trusted {
                return (vec![value], self.stopped.is_none());
            }
            self.reset(0);
        }
        while let Some(start) = self.text[self.at..].find(['{', '[']).map(|offset| self.at + offset) {
            self.reset(start);
            let value = if self.bytes[start] == b'{' { self.object(0) } else { self.list(0) };
            if self.stopped.is_none() {
                values.push(value);
            } else if self.trusted {
                // What stands behind a break might be anything, also part of a text: it is not read.
                values.push(value);
                return (values, false);
            } else if false_starts == FALSE_STARTS {
                return (values, false);
            } else {
                false_starts += 1;
                self.reset(start + 1);
            }
        }
        let whole = !values.is_empty();
        (values, whole)
    }

    fn reset(&mut self, at: usize) {
        (self.at, self.stopped, self.trusted, self.ends_in_text) = (at, None, false, false);
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn stop<T>(&mut self, why: Stop) -> Option<T> {
        self.stopped = Some(why);
        None
    }

    fn is_broken(&self) -> bool {
        self.stopped == Some(Stop::Broken)
    }

    fn object(&mut self, depth: usize) -> Json {
        self.at += 1;
        self.pairs(depth)
    }

    fn pairs(&mut self, depth: usize) -> Json {
        let mut pairs: Vec<(String, Json)> = Vec::new();
        loop {
            self.space();
            match self.peek() {
                Some(b'}') => {
                    self.at += 1;
                    return Json::Object(pairs, true);
                }
                Some(b',' | b';') => {
                    self.at += 1;
                    continue;
                }
                Some(_) if self.is_elision() => {
                    self.stopped = Some(Stop::Broken);
                    return Json::Object(pairs, false);
                }
                _ => {}
            }
            let begin = self.at;
            let Some((key, is_quoted)) = self.key() else {
                let next_row = self.text[begin..].trim_start_matches(['"', '\'', '“']).starts_with(['r', 'R']);
                return self.open_object(pairs, next_row);
            };
            self.trusted |= is_quoted;
            let value = self.value(depth, Place::Object);
            pairs.extend(value.map(|value| (key, value)));
            if self.stopped.is_some() {
                return Json::Object(pairs, false);
            }
            if !self.can_go_on(Place::Object) {
                return self.open_object(pairs, false);
            }
            self.trusted = true;
        }
    }

    /// What there is of an object that ends without its brace. Only a key behind it, or the beginning of the `next_row`,
    /// shows that a text has ended.
    fn open_object(&mut self, mut pairs: Vec<(String, Json)>, next_row: bool) -> Json {
        if self.is_broken() {
            pairs.pop_if(|(_, value)| value.is_doubtful());
        }
        self.ends_in_text = !next_row && matches!(pairs.last(), Some((_, Json::Text(_))));
        Json::Object(pairs, false)
    }

    fn list(&mut self, depth: usize) -> Json {
        self.at += 1;
        let mut items: Vec<Json> = Vec::new();
        loop {
            self.space();
            match self.peek() {
                Some(b']') => {
                    self.at += 1;
                    return Json::List(items, true);
                }
                Some(b',') => {
                    self.at += 1;
                    continue;
                }
                Some(_) if self.is_elision() => {
                    self.stopped = Some(Stop::Broken);
                    return Json::List(items, false);
                }
                Some(b'"') => self.trusted = true,
                _ => {}
            }
            items.extend(self.value(depth, Place::List));
            if self.stopped.is_none() && self.can_go_on(Place::List) {
                continue;
            }
            // A text in front of something that cannot be may have been cut short by a wrong guess.
            if self.is_broken() {
                items.pop_if(|item| item.is_doubtful());
            }
            return Json::List(items, false);
        }
    }

    /// Whether what stands behind a value may stand there.
    fn can_go_on(&mut self, place: Place) -> bool {
        self.space();
        let Some(byte) = self.peek() else {
            self.stopped = Some(Stop::End);
            return false;
        };
        let may = match (byte, place) {
            (b',', _) | (b';' | b'}', Place::Object) | (b']' | b'{' | b'[', Place::List) => true,
            _ => Quotes::at(&self.text[self.at..]).is_some(),
        };
        if !may {
            self.stopped = Some(Stop::Broken);
        }
        may
    }

    /// A key and the colon behind it; whether the key stood in quotes.
    fn key(&mut self) -> Option<(String, bool)> {
        let quotes = Quotes::at(&self.text[self.at..]);
        self.key_quotes = quotes.map(|(quotes, _)| quotes);
        let key = match quotes {
            Some((quotes, length)) => {
                self.at += length;
                self.quoted(quotes, None)?
            }
            None => self.word()?,
        };
        self.space();
        match self.peek() {
            Some(b':') => {
                self.at += 1;
                Some((key, quotes.is_some()))
            }
            Some(_) => self.stop(Stop::Broken),
            None => self.stop(Stop::End),
        }
    }

    fn value(&mut self, depth: usize, place: Place) -> Option<Json> {
        self.space();
        match self.peek() {
            None => self.stop(Stop::End),
            Some(b'{' | b'[') if depth + 1 == MAX_DEPTH => self.stop(Stop::Broken),
            Some(_) if self.is_elision() => self.stop(Stop::Broken),
            Some(b'{') => Some(self.object(depth + 1)),
            Some(b'[') => Some(self.list(depth + 1)),
            Some(_) => match Quotes::at(&self.text[self.at..]) {
                Some((quotes, length)) => {
                    self.at += length;
                    self.quoted(quotes, Some(place)).map(Json::Text)
                }
                None => self.word().map(known),
            },
        }
    }

    /// Letters and digits without quotes, which do not end where the text ends: there they may have been cut.
    fn word(&mut self) -> Option<String> {
        let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+' | b'.' | b'$');
        let length = self.bytes[self.at..].iter().take(MAX_WORD).take_while(is_part).count();
        if self.at + length == self.bytes.len() {
            return self.stop(Stop::End);
        }
        if length == 0 || length == MAX_WORD {
            return self.stop(Stop::Broken);
        }
        let word = &self.text[self.at..self.at + length];
        self.at += length;
        Some(word.to_owned())
    }

    fn is_elision(&self) -> bool {
        let rest = &self.text[self.at..];
        rest.starts_with("...") || rest.starts_with('…')
    }

    fn after_blanks(&self, at: usize) -> usize {
        let rest = self.text.get(at..).unwrap_or_default();
        at + rest.len() - rest.trim_start().len()
    }

    /// Steps over blanks and comments.
    fn space(&mut self) {
        loop {
            self.at = self.after_blanks(self.at);
            let rest = &self.text[self.at..];
            let end = match rest.as_bytes() {
                [b'/', b'/', ..] => rest.find('\n'),
                [b'/', b'*', ..] => rest[2..].find("*/").map(|end| end + 4),
                _ => return,
            };
            self.at += end.unwrap_or(rest.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    /// What a strict reader makes of it, in our terms.
    fn strictly(value: &Value) -> Json {
        match value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Number(number) => Json::Number(number.to_string()),
            Value::String(text) => Json::Text(text.clone()),
            Value::Array(items) => Json::List(items.iter().map(strictly).collect(), true),
            Value::Object(pairs) => Json::Object(pairs.iter().map(|(key, value)| (key.clone(), strictly(value))).collect(), true),
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let text = prop_oneof!["[a-zé\"'“”\\\\{}\\[\\],:; \n/]{0,16}", any::<String>()];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            text.prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec(("[a-z\"\\\\:, ]{0,6}", inner), 0..6).prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]
        #[test]
        fn valid_json_is_read_as_what_it_is(value in json(), pretty: bool) {
            prop_assume!(value.is_object() || value.is_array());
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.expect("JSON");
            let expected = Read { values: vec![strictly(&value)], whole: true, ends_in_text: false };
            prop_assert_eq!(read(&text), expected, "{}", text);
            prop_assert_eq!(serde_json::from_str::<Value>(&strictly(&value).to_string()).expect("JSON"), value);
        }
    }

    #[test]
    fn no_text_takes_long() {
        const SIZE: usize = 500_000;
        let units = [
            "[",
            "{",
            "{\"a\":",
            "[{\"a\":[",
            "\"",
            "[\"",
            "{\"a\": \"b\" ",
            "/*",
            "[/*",
            "\\",
            "{'",
            "{“",
            "[\" ,",
            "[1,",
            "'a', ",
            "\"a\":1,",
            "\"a\":\"b\",",
            "{\"a\":1},",
            "\" ,",
            "\",  ",
            "' ",
            "”",
            "\" /*",
            "\" \"",
            "a",
            "{a:",
            "\\u",
            " ",
            "\n//",
        ];
        for begin in ["", "{", "[", "{\"a\":\"", "{'a':'", "{“a”:“"] {
            for unit in units {
                let text = format!("{begin}{}", unit.repeat(SIZE / unit.len()));
                let begun = std::time::Instant::now();
                let _ = read(&text);
                let _ = unescaped(&text);
                assert!(begun.elapsed().as_secs() < 2, "{begin} and {unit}: {:?}", begun.elapsed());
            }
        }
    }
}
