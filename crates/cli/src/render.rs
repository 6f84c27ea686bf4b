//! Draws what went wrong, for a person at a terminal: the message, the line with a caret, what to do about it.

use std::borrow::Cow;
use std::error::Error as _;
use std::fmt::Write;
use std::ops::Range;

use ariadne::{Color, Config, Label, Report, ReportKind, Source};
use promptmill_core::{Diagnostic, Diagnostics, Error, Origin};

const RED: &str = "\u{1b}[1;31m";
const CYAN: &str = "\u{1b}[1;36m";
const DIM: &str = "\u{1b}[2m";

/// All the mistakes of a pipeline, with the lines they are in.
pub(crate) fn diagnostics(diagnostics: &Diagnostics, color: bool) -> String {
    let text = drawable(&diagnostics.text);
    let source = Source::from(&*text);
    let mut drawn = String::new();
    for diagnostic in &diagnostics.list {
        push_line(&mut drawn, "error:", RED, &diagnostic.message, color);
        match &diagnostic.origin {
            Origin::File(range) => {
                drawn.push_str(&snippet(&diagnostics.file, &source, &diagnostics.text, range.clone(), diagnostic, color));
            }
            Origin::Set(setting) => push_line(&mut drawn, "  -->", DIM, &format!("--set {setting}"), color),
            Origin::Whole => push_line(&mut drawn, "  -->", DIM, &diagnostics.file, color),
        }
        if let Some(hint) = &diagnostic.hint {
            push_line(&mut drawn, "hint:", CYAN, hint, color);
        }
        drawn.push('\n');
    }
    let count = diagnostics.list.len();
    let _ = writeln!(drawn, "{count} mistake{} in {}", if count == 1 { "" } else { "s" }, one_line(&diagnostics.file));
    drawn
}

/// Why a command could not do its work.
pub(crate) fn error(error: &Error, color: bool) -> String {
    let failure = match error {
        Error::Invalid(mistakes) => return diagnostics(mistakes, color),
        Error::Failed(failure) => failure,
    };
    let mut drawn = String::new();
    push_line(&mut drawn, "error:", RED, &failure.message, color);
    let mut hint = failure.hint.as_deref();
    let mut said = failure.message.clone();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = match error.downcast_ref::<Error>() {
            // Its own words alone: what lies beneath it comes next.
            Some(Error::Failed(beneath)) => {
                hint = hint.or(beneath.hint.as_deref());
                beneath.message.clone()
            }
            _ => error.to_string(),
        };
        // Many errors repeat in their message what lies beneath.
        if !message.is_empty() && !said.contains(&message) {
            push_line(&mut drawn, "caused by:", DIM, &message, color);
            said = message;
        }
        cause = error.source();
    }
    if let Some(hint) = hint {
        push_line(&mut drawn, "hint:", CYAN, hint, color);
    }
    drawn
}

fn push_line(drawn: &mut String, head: &str, style: &str, text: &str, color: bool) {
    let (style, reset) = if color { (style, "\u{1b}[0m") } else { ("", "") };
    let _ = writeln!(drawn, "{style}{head}{reset} {}", one_line(text));
}

/// The line of a mistake, with a caret under it.
fn snippet(file: &str, source: &Source<&str>, text: &str, bytes: Range<usize>, diagnostic: &Diagnostic, color: bool) -> String {
    let file = one_line(file).into_owned();
    let span = (file.clone(), characters(text, bytes));
    // Without words there would be no caret either.
    let words = one_line(diagnostic.label.as_deref().unwrap_or("here"));
    let label = Label::new(span.clone()).with_color(Color::Red).with_message(words);
    let config = Config::default().with_color(color);
    let report = Report::build(ReportKind::Error, span).with_config(config).with_label(label).finish();
    let mut drawn = Vec::new();
    if report.write((file, source), &mut drawn).is_err() {
        return String::new();
    }
    // The first line is the report's own heading; ours has been written.
    let lines = String::from_utf8_lossy(&drawn);
    lines.lines().skip(1).flat_map(|line| [line.trim_end(), "\n"]).collect()
}

/// The characters of some bytes, on the first of their lines: of a long text its beginning is enough.
fn characters(text: &str, bytes: Range<usize>) -> Range<usize> {
    let mut start = floor(text, bytes.start);
    if start == text.len() {
        // Something is missing at the end: what comes last is on a line that can be shown.
        start = text.trim_end().char_indices().next_back().map_or(0, |(last, _)| last);
    }
    let line_end = text[start..].find(['\n', '\r']).map_or(text.len(), |length| start + length);
    let end = floor(text, bytes.end).min(line_end);
    let before = text[..start].chars().count();
    let length = text.get(start..end).map_or(0, |part| part.chars().count());
    before..before + if start < line_end { length.max(1) } else { 0 }
}

fn floor(text: &str, byte: usize) -> usize {
    (0..=byte.min(text.len())).rev().find(|byte| text.is_char_boundary(*byte)).unwrap_or(0)
}

/// The text, character for character, without what would move a terminal's cursor or begin a line elsewhere
/// than TOML does.
fn drawable(text: &str) -> String {
    let mut characters = text.chars().peekable();
    let mut drawable = String::with_capacity(text.len());
    while let Some(next) = characters.next() {
        let keep = match next {
            '\n' | '\t' => true,
            '\r' => characters.peek() == Some(&'\n'),
            _ => !is_unruly(next),
        };
        drawable.push(if keep { next } else { '\u{fffd}' });
    }
    drawable
}

fn is_unruly(next: char) -> bool {
    next.is_control()
        || matches!(next, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A message on one line. Some of it comes from files and servers.
fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unruly) {
        return Cow::Borrowed(text);
    }
    let shown = |next: char| match next {
        '\n' | '\r' | '\t' => ' ',
        _ if is_unruly(next) => '\u{fffd}',
        _ => next,
    };
    Cow::Owned(text.trim_end().chars().map(shown).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistake(message: &str, origin: Origin) -> Diagnostic {
        Diagnostic { message: message.to_owned(), origin, label: None, hint: None }
    }

    fn draw(text: &str, list: Vec<Diagnostic>) -> String {
        diagnostics(&Diagnostics { file: "pipelines/reviews.toml".to_owned(), text: text.into(), list }, false)
    }

    /// The place in the heading, and what stands over the caret line's dashes.
    fn marked(text: &str, bytes: Range<usize>) -> (String, String) {
        let drawn = draw(text, vec![mistake("x", Origin::File(bytes))]);
        let lines: Vec<&str> = drawn.lines().collect();
        let place = lines[1].split_whitespace().nth(1).expect("a place").to_owned();
        let (line, carets) = (lines[3].chars(), lines[4].chars().skip(4));
        let marked = line.skip(4).zip(carets).filter(|(_, caret)| matches!(caret, '─' | '┬'));
        (place, marked.map(|(next, _)| next).collect())
    }

    #[test]
    fn each_mistake_is_drawn_in_its_line() {
        let text = "[source]\npath = \"a\"\n\n[[stages]]\nuse = \"llm\"\nmax-tokns = 300\n";
        let start = text.find("max-tokns").expect("is there");
        let list = vec![
            Diagnostic { hint: Some("add `[sink]` with `path`".to_owned()), ..mistake("missing table `[sink]`", Origin::Whole) },
            Diagnostic {
                label: Some("expected `model` or `max_tokens`".to_owned()),
                hint: Some("did you mean `max_tokens`?".to_owned()),
                ..mistake("unknown key `max-tokns` in stage `llm`", Origin::File(start..start + 9))
            },
            mistake("unknown key `x`", Origin::Set("x=1".to_owned())),
        ];
        let expected = "\
error: missing table `[sink]`
  --> pipelines/reviews.toml
hint: add `[sink]` with `path`

error: unknown key `max-tokns` in stage `llm`
   ╭─[ pipelines/reviews.toml:6:1 ]
   │
 6 │ max-tokns = 300
   │ ────┬────
   │     ╰────── expected `model` or `max_tokens`
───╯
hint: did you mean `max_tokens`?

error: unknown key `x`
  --> --set x=1

3 mistakes in pipelines/reviews.toml
";
        assert_eq!(draw(text, list.clone()), expected);
        assert!(draw(text, list[..1].to_vec()).ends_with("\n1 mistake in pipelines/reviews.toml\n"));
        assert!(!draw(text, list.clone()).contains('\u{1b}'));
        let colored = diagnostics(&Diagnostics { file: "pipelines/reviews.toml".to_owned(), text: text.into(), list }, true);
        let mut plain = String::new();
        for (index, part) in colored.split('\u{1b}').enumerate() {
            plain.push_str(if index == 0 { part } else { part.split_once('m').expect("a style").1 });
        }
        let trimmed: String = plain.lines().flat_map(|line| [line.trim_end(), "\n"]).collect();
        assert_eq!(trimmed, expected);
    }

    #[test]
    fn carets_stand_under_the_right_characters() {
        let text = "# één\r\nnaam = \"zoë\" # ☃\r\nsleutel = \"déjà vu\"\r\n";
        let bytes = |needle: &str| {
            let start = text.find(needle).expect("is there");
            start..start + needle.len()
        };
        assert_eq!(marked(text, bytes("\"zoë\"")), ("pipelines/reviews.toml:2:8".to_owned(), "\"zoë\"".to_owned()));
        assert_eq!(marked(text, bytes("vu")), ("pipelines/reviews.toml:3:17".to_owned(), "vu".to_owned()));
        // A place that is empty, at the end, or longer than its line is still one that can be pointed at.
        let start = bytes("naam").start;
        assert_eq!(marked(text, start..start).1, "n");
        assert_eq!(marked(text, text.len()..text.len()), ("pipelines/reviews.toml:3:19".to_owned(), "\"".to_owned()));
        assert_eq!(marked(text, start..text.len()).1, "naam = \"zoë\" # ☃");
        assert_eq!(marked("a = \"\u{2028}\u{1b}[31m\" # b", 17..18), ("pipelines/reviews.toml:1:16".to_owned(), "b".to_owned()));
    }

    #[test]
    fn nothing_that_is_drawn_steers_the_terminal() {
        let text = "a = \"\u{1b}[2J\u{202e}\"\rb";
        let evil = Diagnostic {
            label: Some("l\u{1b}[0m".to_owned()),
            hint: Some("h\nerror: x".to_owned()),
            ..mistake("m\u{7}\nerror: x", Origin::File(4..8))
        };
        let drawn = draw(text, vec![evil]);
        assert!(!drawn.contains(['\u{1b}', '\u{7}', '\r', '\u{202e}']), "{drawn:?}");
        assert_eq!(drawn.lines().filter(|line| line.starts_with("error:")).count(), 1);
    }

    #[test]
    fn any_place_is_drawn_without_a_panic() {
        for text in ["", "\n", "é", "a\r\n\r\n", "\u{feff}a = 1", "a\n\n\n  "] {
            for start in 0..text.len() + 2 {
                for end in start..text.len() + 3 {
                    assert!(draw(text, vec![mistake("m", Origin::File(start..end))]).contains("error: m\n"), "{text:?}");
                }
            }
        }
    }

    #[test]
    fn a_failure_tells_its_causes_and_what_to_do() {
        let cause = std::io::Error::other("no route to host");
        let inner = Error::failed("the store cannot be reached").because(cause).hint("check `AWS_ENDPOINT_URL`");
        let outer = Error::failed("the journal could not be opened").because(inner);
        assert_eq!(
            error(&outer, false),
            "error: the journal could not be opened\ncaused by: the store cannot be reached\ncaused by: no route to host\n\
             hint: check `AWS_ENDPOINT_URL`\n"
        );
        let twice = Error::failed("it failed: disk full").because(std::io::Error::other("disk full"));
        assert_eq!(error(&twice, false), "error: it failed: disk full\n");
        let wrong = Diagnostics { file: "p.toml".to_owned(), text: "".into(), list: vec![mistake("m", Origin::Whole)] };
        assert_eq!(error(&wrong.into(), false), "error: m\n  --> p.toml\n\n1 mistake in p.toml\n");
    }
}
