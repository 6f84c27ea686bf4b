//! Text of rows and answers on its way to a terminal: what would steer the terminal is shown as an escape.

use std::io::Write;

/// Whether a character does something else than being shown: control characters (of which a line's end and a tab are
/// layout), and those that turn the direction of what follows.
fn steers(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        character => character.is_control(),
    }
}

/// The text with such characters as `\u001b`, which is also how JSON writes them.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if steers(character) {
            escaped.push_str(&format!("\\u{:04x}", character as u32));
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// Escapes what is written through it.
pub(crate) struct Escaping<W> {
    to: W,
    /// The start of a character of which the rest is still to come.
    begun: Vec<u8>,
}

impl<W: Write> Escaping<W> {
    pub(crate) fn new(to: W) -> Self {
        Self { to, begun: Vec::new() }
    }
}

impl<W: Write> Write for Escaping<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.begun.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.begun) {
            Ok(text) => text.len(),
            // Only an end is waited for: bytes that can never be text are shown as such.
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => self.begun.len(),
        };
        let rest = self.begun.split_off(whole);
        let text = std::mem::replace(&mut self.begun, rest);
        self.to.write_all(escaped(&String::from_utf8_lossy(&text)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_steers_a_terminal_is_shown() {
        let evil = "a\x1b]0;owned\x07\u{9b}2J\r\u{202e}b\u{2066}\u{7f}\tc\nd é 漢 👍";
        assert_eq!(escaped(evil), "a\\u001b]0;owned\\u0007\\u009b2J\\u000d\\u202eb\\u2066\\u007f\tc\nd é 漢 👍");
    }

    proptest! {
        #[test]
        fn text_written_in_pieces_is_escaped_like_the_whole(text in any::<String>(), at in any::<prop::sample::Index>()) {
            let (bytes, mut out) = (text.as_bytes(), Vec::new());
            let (first, second) = bytes.split_at(if bytes.is_empty() { 0 } else { at.index(bytes.len()) });
            let mut to = Escaping::new(&mut out);
            to.write_all(first).and_then(|()| to.write_all(second)).expect("memory");
            prop_assert_eq!(String::from_utf8(out).expect("text"), escaped(&text));
        }
    }
}
