//! JSON as servers send it: with marks in front and texts behind, and nearly JSON. Read is what is certainly meant.

use std::borrow::Cow;

use serde_json::{Deserializer, Value};

/// A body without what does not belong to it: the mark of its byte order, blanks that kept the connection alive.
pub(super) fn bare(raw: &str) -> &str {
    raw.trim_matches(|sign: char| sign.is_whitespace() || matches!(sign, '\u{feff}' | '\0'))
}

/// The values at the beginning of a text, one behind the other, up to what is none.
///
/// # Errors
/// If there is none.
pub(super) fn values(text: &str) -> serde_json::Result<Vec<Value>> {
    let (found, error) = read(text);
    if !found.is_empty() {
        return Ok(found);
    }
    let mended = mended(text);
    let (found, _) = if mended == text { (found, None) } else { read(&mended) };
    match error {
        _ if !found.is_empty() => Ok(found),
        Some(error) => Err(error),
        // There is nothing at all.
        None => serde_json::from_str(text).map(|value| vec![value]),
    }
}

fn read(text: &str) -> (Vec<Value>, Option<serde_json::Error>) {
    let mut found = Vec::new();
    for value in Deserializer::from_str(text).into_iter::<Value>() {
        match value {
            Ok(value) => found.push(value),
            Err(error) => return (found, Some(error)),
        }
    }
    (found, None)
}

/// The object in a text that cannot be read as a whole, by its name: an object of this name in a string has its quotes
/// escaped.
pub(super) fn object(text: &str, name: &str) -> Option<Value> {
    let quoted = format!("\"{name}\"");
    let at = text.rfind(&quoted)?;
    let rest = text[at + quoted.len()..].trim_start().strip_prefix(':')?;
    values(rest).ok()?.into_iter().next().filter(Value::is_object)
}

/// The text with what JSON does not allow put right: control characters and lone surrogates in strings, escapes that are
/// none, and numbers that are no numbers.
fn mended(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    // What has been copied so far.
    let mut done = 0;
    let mut in_string = false;
    let mut at = 0;
    let bytes = text.as_bytes();
    let mut replace = |done: &mut usize, from: usize, to: usize, with: &str| {
        out.push_str(&text[*done..from]);
        out.push_str(with);
        *done = to;
    };
    while at < bytes.len() {
        match bytes[at] {
            b'"' => in_string = !in_string,
            byte if in_string && byte < 0x20 => replace(&mut done, at, at + 1, &format!("\\u{byte:04x}")),
            b'\\' if in_string => {
                let length = escape(&text[at..]);
                match length {
                    Escape::Good(length) => at += length - 1,
                    Escape::LoneSurrogate => {
                        replace(&mut done, at, at + 6, "\\ufffd");
                        at += 5;
                    }
                    // `\'` stands for `'`.
                    Escape::None => replace(&mut done, at, at + 1, ""),
                }
            }
            b'N' | b'I' | b'-' if !in_string => {
                if let Some(word) = ["NaN", "Infinity", "-Infinity", "-NaN"].into_iter().find(|word| text[at..].starts_with(word)) {
                    replace(&mut done, at, at + word.len(), "null");
                    at += word.len() - 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    if done == 0 {
        return text.into();
    }
    out.push_str(&text[done..]);
    out.into()
}

enum Escape {
    /// So many bytes long.
    Good(usize),
    /// Six bytes that stand for half a character.
    LoneSurrogate,
    None,
}

/// The escape at the beginning of a text.
fn escape(text: &str) -> Escape {
    let unit = |text: &str| {
        let digits = text.strip_prefix("\\u")?.get(..4).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        u16::from_str_radix(digits, 16).ok()
    };
    match (text.as_bytes().get(1), unit(text)) {
        (_, Some(0xd800..=0xdbff)) => match text.get(6..).and_then(unit) {
            Some(0xdc00..=0xdfff) => Escape::Good(12),
            _ => Escape::LoneSurrogate,
        },
        (_, Some(0xdc00..=0xdfff)) => Escape::LoneSurrogate,
        (_, Some(_)) => Escape::Good(6),
        (Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't'), _) => Escape::Good(2),
        _ => Escape::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn first(text: &str) -> Option<Value> {
        values(text).ok()?.into_iter().next()
    }

    #[test]
    fn what_is_nearly_json_is_read_for_what_it_means() {
        for (text, meant) in [
            ("{\"a\": \"one\ttwo\nthree\u{1}\"}", json!({"a": "one\ttwo\nthree\u{1}"})),
            (r#"{"a": NaN, "b": -Infinity, "c": "NaN"}"#, json!({"a": null, "b": null, "c": "NaN"})),
            (r#"{"a": "half \ud83d of it", "b": "\ude00"}"#, json!({"a": "half \u{fffd} of it", "b": "\u{fffd}"})),
            ("{\"a\": \"\\ud83d\\ude00\n\"}", json!({"a": "\u{1f600}\n"})),
            (r#"{"a": "it\'s \x41"}"#, json!({"a": "it's x41"})),
            (r#"{"a": 1} data: [DONE]"#, json!({"a": 1})),
            ("{\"a\": \"x\ty\"}\n\ndata: [DONE]\n", json!({"a": "x\ty"})),
        ] {
            assert_eq!(first(text), Some(meant), "{text}");
        }
        for text in ["", "a", "{\"a\": ", "{\"a\": \"\\", "{\"a\": \"\\u", "{\"a\": \"\\ud83d", "<html>"] {
            assert!(values(text).is_err(), "{text}");
        }
        assert_eq!(bare("\u{feff}\r\n {} \0\n"), "{}");
    }

    #[test]
    fn a_part_of_what_is_broken_is_found_by_its_name() {
        let text = r#"{"choices":[{"message":{"content":"\"usage\": {\"a\": 1}"}}, oh no, "usage": {"prompt_tokens": 3}}"#;
        assert_eq!(object(text, "usage"), Some(json!({"prompt_tokens": 3})));
        for text in [r#"{"choices":[{"message":{"content":"\"usage\": {\"a\": 1}"}}"#, r#"{"usage": null, x"#, r#"{"usage"#] {
            assert_eq!(object(text, "usage"), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn json_stays_what_it_is(text in "\\PC{0,40}", number in any::<i32>()) {
            let value = json!({"a": text, "b": [number, {"c": null}]});
            let text = value.to_string();
            prop_assert_eq!(&*mended(&text), text.as_str());
            prop_assert_eq!(first(&format!("{text}\n x")), Some(value));
        }

        #[test]
        fn no_text_panics(text in "([\\[\\]{}\":,\\\\udDNaI0-9-]|\\PC){0,40}") {
            let _ = (values(&text), object(&text, "a"));
        }
    }
}
