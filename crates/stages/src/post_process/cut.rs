//! Takes spans out of a text and closes the wound: no doubled space, no space left before a comma, no
//! empty pair of brackets, no empty line. Only the places that were cut are touched; tidying the rest of
//! a text is `normalize_text`'s.

use std::ops::Range;

/// What to put where a cut would weld two words together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seam {
    /// Nothing: `on*be*kend` without its asterisks is one word.
    Closed,
    /// A space: what was cut stood between words.
    Spaced,
}

/// The text without `spans`, which are sorted and do not overlap. Linear in the length of the text.
pub(super) fn cut(text: &str, spans: &[Range<usize>], seam: Seam) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    let mut spans = spans.iter().cloned().peekable();
    while let Some(mut span) = spans.next() {
        // Touching spans are one wound.
        while let Some(next) = spans.next_if(|next| next.start <= span.end) {
            span.end = span.end.max(next.end);
        }
        // Closing an earlier wound may have eaten into this span.
        if span.end <= at {
            continue;
        }
        out.push_str(&text[at..span.start.max(at)]);
        // What follows belongs to the seam only up to the next span: that is about to go as well.
        let until = spans.peek().map_or(text.len(), |next| next.start);
        at = span.end + close(&mut out, &text[span.end..until], until == text.len(), seam);
    }
    out.push_str(&text[at..]);
    out
}

/// Joins what stands before the cut to what follows it; returns how much of the latter is used up.
fn close(out: &mut String, right: &str, right_is_last: bool, seam: Seam) -> usize {
    let mut at = 0;
    loop {
        let left = out.trim_end_matches(is_blank);
        let rest = right[at..].trim_start_matches(is_blank);
        let blank = left.len() < out.len() || rest.len() < right.len() - at;
        let skipped = right.len() - rest.len();
        let line_starts = left.is_empty() || left.ends_with('\n');
        let line_ends = if rest.is_empty() { right_is_last } else { rest.starts_with(['\n', '\r']) };
        let before = left.chars().next_back();
        let after = rest.chars().next();
        let kept = left.len();

        if let (Some(before), Some(after)) = (before, after)
            && (is_pair(before, after) || (before == '"' && after == '"' && !blank))
        {
            out.truncate(kept - before.len_utf8());
            at = skipped + after.len_utf8();
            continue;
        }
        out.truncate(kept);
        if line_starts && line_ends {
            return skipped + drop_empty_line(out, rest);
        }
        if line_ends {
            return skipped;
        }
        let Some(after) = after else {
            // The next span follows at once and will decide.
            if blank && !line_starts {
                out.push(' ');
            }
            return skipped;
        };
        let mark = is_mark(after) && ends_phrase(&rest[after.len_utf8()..]);
        if line_starts {
            if mark && rest[after.len_utf8()..].starts_with(|c| is_blank(c) || c == '\n') {
                at = skipped + after.len_utf8();
                continue;
            }
            return skipped;
        }
        if mark {
            return skipped
                + match before {
                    Some('.' | '!' | '?' | '…') => after.len_utf8(),
                    Some(',' | ';' | ':') => {
                        out.pop();
                        0
                    }
                    _ => 0,
                };
        }
        let weld = seam == Seam::Spaced && before.is_some_and(char::is_alphanumeric) && after.is_alphanumeric();
        if (blank || weld) && !before.is_some_and(is_opening) && !is_closing(after) {
            out.push(' ');
        }
        return skipped;
    }
}

/// The line that was cut is empty now: it goes, and so does the second of two blank lines that meet.
fn drop_empty_line(out: &mut String, rest: &str) -> usize {
    let newline = |text: &str| if text.starts_with("\r\n") { 2 } else { usize::from(text.starts_with('\n')) };
    if rest.is_empty() {
        out.truncate(out.strip_suffix('\n').map_or(out.len(), |line| line.strip_suffix('\r').unwrap_or(line).len()));
        return 0;
    }
    let used = newline(rest);
    let blank_before = out.is_empty() || out.ends_with("\n\n") || out.ends_with("\n\r\n");
    used + if blank_before { newline(&rest[used..]) } else { 0 }
}

/// White space within a line.
pub(super) fn is_blank(c: char) -> bool {
    c.is_whitespace() && !matches!(c, '\n' | '\r')
}

fn is_mark(c: char) -> bool {
    matches!(c, ',' | '.' | ';' | ':' | '!' | '?')
}

/// Whether a mark that is followed by `rest` ends something: the dot of `.nl` and of `.5` does not.
fn ends_phrase(rest: &str) -> bool {
    rest.chars().next().is_none_or(|c| c.is_whitespace() || is_mark(c) || is_closing(c))
}

fn is_opening(c: char) -> bool {
    matches!(c, '(' | '[' | '{' | '“' | '‘' | '„' | '«')
}

fn is_closing(c: char) -> bool {
    matches!(c, ')' | ']' | '}' | '”' | '’' | '»')
}

fn is_pair(before: char, after: char) -> bool {
    matches!((before, after), ('(', ')') | ('[', ']') | ('{', '}') | ('“' | '„', '”') | ('‘', '’') | ('«', '»'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn without(text: &str, pattern: &str, seam: Seam) -> String {
        let spans: Vec<_> = text.match_indices(pattern).map(|(at, part)| at..at + part.len()).collect();
        cut(text, &spans, seam)
    }

    #[test]
    fn closes_the_wound() {
        let table = [
            ("X De motie", "De motie"),
            ("De X motie", "De motie"),
            ("De motie X", "De motie"),
            ("De motie X.", "De motie."),
            ("De motie X, die", "De motie, die"),
            ("De motie, X, die", "De motie, die"),
            ("De motie, X.", "De motie."),
            ("De motie. X. Nu", "De motie. Nu"),
            ("De motie. X Nu", "De motie. Nu"),
            ("De motie (X) nu", "De motie nu"),
            ("De motie ( X ) nu", "De motie nu"),
            ("De motie ((X)). Nu", "De motie. Nu"),
            ("De motie (nr. X) nu", "De motie (nr.) nu"),
            ("De motie (X nu)", "De motie (nu)"),
            ("De motie “X” nu", "De motie nu"),
            ("De \"X\" motie", "De motie"),
            ("\"De\" X \"motie\"", "\"De\" \"motie\""),
            ("X, de motie", "de motie"),
            ("X: de motie", "de motie"),
            ("X X XX de X motie X X.", "de motie."),
            ("aXb", "ab"),
            ("X .nl en X .5", ".nl en .5"),
            ("een\nX\ntwee", "een\ntwee"),
            ("een\r\n X \r\ntwee", "een\r\ntwee"),
            ("een\n\nX\n\ntwee", "een\n\ntwee"),
            ("een\nX", "een"),
            ("een\r\nX", "een"),
            ("X\neen", "een"),
            ("een X\ntwee", "een\ntwee"),
            ("X", ""),
            ("(X)", ""),
            ("", ""),
            ("blijft  zo , dus", "blijft  zo , dus"),
        ];
        for (text, expected) in table {
            assert_eq!(without(text, "X", Seam::Closed), expected, "{text:?}");
        }
        assert_eq!(without("geldXvoor (X)", "X", Seam::Spaced), "geld voor");
    }

    proptest! {
        #[test]
        fn keeps_every_letter_that_was_not_cut(text in "[aX .,:\n\r()“”\u{a0}\"é]{0,40}") {
            let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric() && *c != 'X').collect::<String>();
            let out = without(&text, "X", Seam::Closed);
            prop_assert_eq!(letters(&out), letters(&text));
            prop_assert!(!out.contains('X'));
        }
    }
}
