//! What is taken out of a text before it is read: markers, and white space beyond one space.

use std::borrow::Cow;

/// The most markers that are taken for markers: more of them are somebody's notation.
const MOST_MARKERS: usize = 4;
const LONGEST_MARKER: usize = 64;

/// `text` without its first `[[…]]` markers, and these markers.
pub(super) fn take_markers(text: &str) -> (Cow<'_, str>, String) {
    let mut markers = String::new();
    if !text.contains("[[") {
        return (Cow::Borrowed(text), markers);
    }
    let mut without = String::with_capacity(text.len());
    let mut rest = text;
    for _ in 0..MOST_MARKERS {
        let Some((start, end)) = find_marker(rest) else { break };
        markers.push_str(&rest[start..end]);
        without.push_str(&rest[..start]);
        rest = &rest[end..];
    }
    without.push_str(rest);
    (Cow::Owned(without), markers)
}

fn find_marker(text: &str) -> Option<(usize, usize)> {
    text.match_indices("[[").find_map(|(start, _)| {
        let inside = &text.as_bytes()[start + 2..];
        let length = inside.iter().take(LONGEST_MARKER).position(|byte| matches!(byte, b']' | b'[' | b'\n'))?;
        (length > 0 && inside[length..].starts_with(b"]]")).then_some((start, start + 2 + length + 2))
    })
}

/// Appends `line` with every run of white space and control characters as one space.
pub(super) fn push_clean(out: &mut String, line: &str) {
    let bytes = line.as_bytes();
    let floor = out.len();
    let (mut run, mut at) = (0, 0);
    while at < bytes.len() {
        let (width, space) = match bytes[at] {
            // One space between words stays part of the run.
            b' ' if bytes.get(at + 1).is_some_and(|next| (0x21..0x7F).contains(next)) && at > run => {
                at += 1;
                continue;
            }
            0..=0x20 | 0x7F => (1, true),
            0xC2 if matches!(bytes[at + 1], 0xA0 | 0x85) => (2, true),
            // The soft hyphen, zero-width characters and the byte order mark are not seen: they go.
            0xC2 if bytes[at + 1] == 0xAD => (2, false),
            0xE2 if bytes[at + 1..].starts_with(&[0x80, 0xA2]) => {
                // A list whose line breaks were lost.
                out.push_str(&line[run..at]);
                let kept = floor + out[floor..].trim_end().len();
                if out[floor..kept].ends_with(char::is_alphanumeric) {
                    out.truncate(kept);
                    out.push(';');
                }
                run = at;
                (3, true)
            }
            0xE2 if bytes[at + 1] == 0x80 && matches!(bytes[at + 2], 0x8B..=0x8F) => (3, false),
            0xE2 if bytes[at + 1] == 0x80 && matches!(bytes[at + 2], 0x80..=0x8A | 0xA8 | 0xA9 | 0xAF) => (3, true),
            0xEF if bytes[at + 1] == 0xBB && bytes[at + 2] == 0xBF => (3, false),
            _ => {
                at += 1;
                continue;
            }
        };
        out.push_str(&line[run..at]);
        if space && !out.ends_with(' ') {
            out.push(' ');
        }
        at += width;
        run = at;
    }
    out.push_str(&line[run..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_taken_out_in_order() {
        let cases = [
            ("geen [markers] [[", "geen [markers] [[", ""),
            ("[[a]]tekst [[b-1]]", "tekst ", "[[a]][[b-1]]"),
            ("[[[a]]]", "[[[a]]]", ""),
            ("[[]] [[a\nb]] [[a] ]]", "[[]] [[a\nb]] [[a] ]]", ""),
            ("[[1]][[2]][[3]][[4]][[5]]", "[[5]]", "[[1]][[2]][[3]][[4]]"),
        ];
        for (text, without, markers) in cases {
            assert_eq!(take_markers(text), (without.into(), markers.to_owned()), "{text}");
        }
    }

    #[test]
    fn white_space_becomes_one_space() {
        let cases = [
            ("een  twee", "een twee"),
            ("28\u{a0}mei\u{202f}2025", "28 mei 2025"),
            ("af\u{ad}breken\u{200b}", "afbreken"),
            ("\u{feff}een\t\u{0} é  ü\u{7f}x", "een é ü x"),
            ("te doen: • een; • twee • drie", "te doen: een; twee; drie"),
        ];
        for (line, expected) in cases {
            let mut out = String::new();
            push_clean(&mut out, line);
            assert_eq!(out, expected, "{line:?}");
        }
    }
}
