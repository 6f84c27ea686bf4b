//! The text inside HTML or XML: tags away, blocks on lines of their own, entities resolved.
//!
//! Not a parser: whatever it is given, it returns something, in one pass. Cleaning a source is the business of
//! its pipeline; this only keeps style sheets and tags out of an answer.

use std::borrow::Cow;

/// Elements that do not end a line.
const INLINE: &[&str] = &[
    "a",
    "abbr",
    "b",
    "cite",
    "code",
    "datum",
    "em",
    "extref",
    "font",
    "i",
    "inf",
    "intref",
    "mark",
    "nadruk",
    "ondernummer",
    "q",
    "s",
    "small",
    "span",
    "strong",
    "sub",
    "sup",
    "u",
];

/// Elements whose content is not text.
const HIDDEN: &[&str] = &["style", "script"];

/// `text` without markup, if it has any.
pub(super) fn strip_markup(text: &str) -> Cow<'_, str> {
    if is_markup(text) { Cow::Owned(strip(text)) } else { Cow::Borrowed(text) }
}

/// A `<` alone is also a comparison, and `<naam>` a blank to fill in.
fn is_markup(text: &str) -> bool {
    text.contains('<') && ["</", "/>", "<br", "<p>", "<?xml"].iter().any(|sign| text.contains(sign))
}

fn strip(text: &str) -> String {
    let mut out = String::with_capacity(text.len() / 2);
    let mut rest = text;
    // Known from the start, so that comments which are never closed do not each search to the end.
    let behind_comments = text.rfind("-->").map_or(0, |at| at + 3);
    while let Some(open) = rest.find('<') {
        push_text(&mut out, &rest[..open]);
        rest = &rest[open..];
        let Some(tag) = Tag::read(rest, text.len() - rest.len() < behind_comments) else {
            out.push('<');
            rest = &rest[1..];
            continue;
        };
        rest = &rest[tag.length..];
        if HIDDEN.iter().any(|name| name.eq_ignore_ascii_case(tag.name)) {
            rest = skip_element(rest, tag.name);
        }
        if !tag.name.is_empty() && !INLINE.iter().any(|name| name.eq_ignore_ascii_case(tag.name)) {
            out.push('\n');
        }
    }
    push_text(&mut out, rest);
    out
}

struct Tag<'a> {
    /// Without the slash of a closing tag; empty for a comment, a declaration, an instruction.
    name: &'a str,
    length: usize,
}

impl<'a> Tag<'a> {
    /// The tag that `text` starts with. A comment that is never closed ends at its first `>`, as any other tag.
    fn read(text: &'a str, comments_close: bool) -> Option<Self> {
        if comments_close && text.starts_with("<!--") {
            return text.find("-->").map(|end| Self { name: "", length: end + 3 });
        }
        let inner = text[1..].strip_prefix('/').unwrap_or(&text[1..]);
        let name = inner.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').map_or(inner, |end| &inner[..end]);
        let is_tag = name.starts_with(|c: char| c.is_ascii_alphabetic()) || inner.starts_with(['!', '?']);
        if !is_tag {
            return None;
        }
        Self::end(text).map(|length| Self { name, length })
    }

    /// Where the tag ends; another `<` before that means that it is none, and bounds the search.
    fn end(text: &str) -> Option<usize> {
        let end = 1 + text[1..].find(['<', '>'])?;
        (text.as_bytes()[end] == b'>').then_some(end + 1)
    }
}

/// What follows the closing tag of the element that was just opened; nothing if it is never closed.
fn skip_element<'a>(text: &'a str, name: &str) -> &'a str {
    let mut rest = text;
    while let Some(close) = rest.find("</") {
        rest = &rest[close + 2..];
        if rest.get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name)) {
            return rest.find('>').map_or("", |end| &rest[end + 1..]);
        }
    }
    ""
}

/// Appends text with its entities resolved.
fn push_text(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        match entity(rest) {
            Some((character, length)) => {
                out.push(character);
                rest = &rest[length..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
}

/// The character of the entity that `text` starts with, and the entity's length.
fn entity(text: &str) -> Option<(char, usize)> {
    let end = text.bytes().take(12).position(|byte| byte == b';')?;
    let name = &text[1..end];
    let character = match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => ' ',
        "shy" => '\u{ad}',
        "ndash" => '–',
        "mdash" => '—',
        "hellip" => '…',
        "lsquo" => '‘',
        "rsquo" => '’',
        "ldquo" => '“',
        "rdquo" => '”',
        "laquo" => '«',
        "raquo" => '»',
        "euro" => '€',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)?
        }
    };
    Some((character, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_go_and_blocks_become_lines() {
        let cases = [
            ("als a < b en b > c", "als a < b en b > c"),
            ("beste <naam>", "beste <naam>"),
            ("<p>Een</p><p>twee <b>drie</b></p>", "\nEen\n\ntwee drie\n"),
            ("<stuknr>Nr. <ondernummer kamer=\"2\">7</ondernummer></stuknr>", "\nNr. 7\n"),
            ("<STYLE>p { a: b > c }</style>tekst<br/>", "\ntekst\n"),
            ("<?xml version=\"1.0\"?><!-- > <p> -->a<br>", "a\n"),
            ("<p>a &lt; b &amp;&#233;&#xE9; &onzin; & &#x110000;</p>", "\na < b &éé &onzin; & &#x110000;\n"),
            ("<style>nooit gesloten</p>", "\n"),
            ("<p>open <a href=", "\nopen <a href="),
        ];
        for (text, expected) in cases {
            assert_eq!(strip_markup(text), expected, "{text}");
        }
    }

    #[test]
    fn unclosed_tags_cost_no_more_than_their_length() {
        for sign in ["<a ", "<!-- ", "<style>", "</style", "<", "&", "&#", "</p><style"] {
            let text = sign.repeat(300_000) + "</p>";
            let start = std::time::Instant::now();
            strip_markup(&text);
            assert!(start.elapsed().as_secs() < 20, "{sign}");
        }
    }
}
