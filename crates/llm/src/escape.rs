//! Text inside JSON quotes, written in runs.
//!
//! What a request asks about is text inside JSON inside a text inside JSON: looked at byte by byte, and twice, it
//! would be the dearest part of a request. Most of it needs no escape, and is found and copied in runs.

use std::io::Write;

/// Bytes that are looked at together: a width that compilers turn into vector instructions.
const WIDTH: usize = 32;

/// Adds `text` as it stands inside JSON quotes.
pub(crate) fn push_once(json: &mut Vec<u8>, text: &str) {
    push(json, text, |json, byte| match byte {
        b'"' => json.extend_from_slice(br#"\""#),
        b'\\' => json.extend_from_slice(br"\\"),
        b'\n' => json.extend_from_slice(br"\n"),
        b'\t' => json.extend_from_slice(br"\t"),
        b'\r' => json.extend_from_slice(br"\r"),
        control => push_control(json, br"\u", control),
    });
}

/// Adds `text` as it stands inside the JSON quotes of a text that itself stands inside JSON quotes.
pub(crate) fn push_twice(json: &mut Vec<u8>, text: &str) {
    push(json, text, |json, byte| match byte {
        b'"' => json.extend_from_slice(br#"\\\""#),
        b'\\' => json.extend_from_slice(br"\\\\"),
        b'\n' => json.extend_from_slice(br"\\n"),
        b'\t' => json.extend_from_slice(br"\\t"),
        b'\r' => json.extend_from_slice(br"\\r"),
        control => push_control(json, br"\\u", control),
    });
}

fn push(json: &mut Vec<u8>, text: &str, escape: impl Fn(&mut Vec<u8>, u8)) {
    let mut rest = text.as_bytes();
    loop {
        let plain = plain_run(rest);
        json.extend_from_slice(&rest[..plain]);
        let Some(&byte) = rest.get(plain) else { return };
        escape(json, byte);
        rest = &rest[plain + 1..];
    }
}

fn push_control(json: &mut Vec<u8>, start: &[u8], byte: u8) {
    json.extend_from_slice(start);
    // Writing into memory cannot fail.
    let _ = write!(json, "{byte:04x}");
}

/// How many bytes at the beginning need no escape.
fn plain_run(bytes: &[u8]) -> usize {
    let wide =
        bytes.chunks_exact(WIDTH).take_while(|chunk| !chunk.iter().fold(false, |any, byte| any | needs_escape(*byte))).count() * WIDTH;
    wide + bytes[wide..].iter().take_while(|byte| !needs_escape(**byte)).count()
}

fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn quoted(push: fn(&mut Vec<u8>, &str), text: &str) -> String {
        let mut json = vec![b'"'];
        push(&mut json, text);
        json.push(b'"');
        String::from_utf8(json).expect("UTF-8")
    }

    proptest! {
        #[test]
        fn it_is_what_a_json_library_reads_back(text in prop_oneof![any::<String>(), "[a-z\"\\\\\n\t\r\u{0}\u{1f}\u{7f}é…]{0,120}"]) {
            let read = |json: &str| serde_json::from_str::<String>(json).expect("JSON");
            prop_assert_eq!(&read(&quoted(push_once, &text)), &text);
            let inner = format!("\"{}\"", read(&quoted(push_twice, &text)));
            prop_assert_eq!(&read(&inner), &text);
        }
    }
}
