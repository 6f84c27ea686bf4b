//! Cuts a text into sentences: good enough for counting them and for finding one that comes twice.

use std::ops::Range;

/// The sentences of a text in order, without the white space between them. One ends at `.`, `!`, `?` or `…` before
/// white space (closing quotes and brackets included), and at the end of a line. Linear.
pub(super) fn sentences(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        at += text[at..].len() - text[at..].trim_start().len();
        if at == text.len() {
            return None;
        }
        let start = at;
        let mut ended = false;
        let mut chars = text[start..].char_indices();
        let end = loop {
            let Some((offset, c)) = chars.next() else { break text.len() };
            match c {
                '\n' | '\r' => break start + offset,
                c if ended && c.is_whitespace() => break start + offset,
                '.' | '!' | '?' | '…' => ended = true,
                '"' | '\'' | '”' | '’' | '»' | ')' | ']' => {}
                _ => ended = false,
            }
        };
        at = end;
        Some(start..start + text[start..end].trim_end().len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sentences_end_at_marks_and_lines() {
        let table: &[(&str, &[&str])] = &[
            ("Eén zin. Nog een! “Echt?” Ja…", &["Eén zin.", "Nog een!", "“Echt?”", "Ja…"]),
            ("Kop\nRegel een\r\n\r\n Regel 1.5 op nu.nl ", &["Kop", "Regel een", "Regel 1.5 op nu.nl"]),
            (" \n", &[]),
            ("...", &["..."]),
        ];
        for (text, expected) in table {
            assert_eq!(sentences(text).map(|range| &text[range]).collect::<Vec<_>>(), *expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_but_white_space_is_left_out(text in any::<String>()) {
            let kept: String = sentences(&text).map(|range| &text[range]).collect();
            let solid = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            prop_assert_eq!(solid(&kept), solid(&text));
        }
    }
}
