//! `strip-markdown` and `reject-markdown`: marks of layout in what should be plain text.

use std::borrow::Cow;

use promptmill_core::About;
use schemars::JsonSchema;
use serde::Deserialize;

use super::excerpt::excerpt;
use super::{Rejection, Step, StepConfig, StepContext};

/// Takes the marks out and leaves the words: headings, bullets, quotes, rules, code fences and code spans, bold,
/// italic and struck text, links and pictures (their texts stay), tables (their cells stay, with commas between).
/// Numbers of a list stay, and so does a sign before a number (`- 5 degrees`, `> 50 percent`), unless the lines around it
/// begin with the same mark.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StripMarkdown {}

/// Rejects answers with such marks, for `markdown`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RejectMarkdown {}

impl StepConfig for StripMarkdown {
    const NAME: &'static str = "strip-markdown";
    const EXAMPLE: &'static str = "";
    const SUMMARY: &'static str = "Takes Markdown out and leaves its words.";

    fn compile(self, _: &StepContext) -> Result<Box<dyn Step>, String> {
        Ok(Box::new(Markdown { rejects: false }))
    }
}

impl StepConfig for RejectMarkdown {
    const NAME: &'static str = "reject-markdown";
    const EXAMPLE: &'static str = "";
    const SUMMARY: &'static str = "Rejects answers that have Markdown in them.";
    const REASONS: &'static [&'static str] = &["markdown"];

    fn compile(self, _: &StepContext) -> Result<Box<dyn Step>, String> {
        Ok(Box::new(Markdown { rejects: true }))
    }
}

#[derive(Debug)]
struct Markdown {
    rejects: bool,
}

impl Step for Markdown {
    fn apply<'t>(&self, text: &'t str, _: &About<'_>) -> Result<Cow<'t, str>, Rejection> {
        if !text.bytes().any(|byte| matches!(byte, b'#' | b'*' | b'_' | b'`' | b'~' | b'>' | b'|' | b'-' | b'+' | b'=' | b'[')) {
            return Ok(Cow::Borrowed(text));
        }
        let mut plain = Cow::Borrowed(text);
        // Marks may stand within marks.
        for _ in 0..ROUNDS {
            let stripped = strip(&plain);
            if stripped == plain.as_ref() {
                break;
            }
            plain = Cow::Owned(stripped);
        }
        match plain {
            Cow::Owned(_) if self.rejects => Err(Rejection::new("markdown", format!("marks in `{}`", excerpt(text)))),
            plain => Ok(plain),
        }
    }
}

/// Deeper than anybody nests. A text made to go deeper keeps the rest of its marks.
const ROUNDS: usize = 8;

fn strip(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut dropped = false;
    let mut before = "";
    let mut lines = text.split_inclusive('\n');
    while let Some(raw) = lines.next() {
        let line = raw.trim_end_matches(['\n', '\r']);
        let ending = &raw[line.len()..];
        let bare = line.trim();
        if is_rule(bare) || bare.starts_with("```") || bare.starts_with("~~~") || is_table_rule(bare) {
            dropped = true;
            continue;
        }
        match cells(bare) {
            Some(cells) => out.push_str(&inline(&cells)),
            None if is_signed(bare)
                && !is_point(before, bare)
                && !lines.clone().map(str::trim).find(|next| !next.is_empty()).is_some_and(|next| is_point(next, bare)) =>
            {
                out.push_str(&inline(line));
            }
            None => out.push_str(&inline(without_prefix(line))),
        }
        out.push_str(ending);
        if !bare.is_empty() {
            before = bare;
        }
    }
    // A fence at the end takes the line break before it along.
    if dropped && !text.ends_with('\n') {
        out.truncate(out.trim_end_matches(['\n', '\r']).len());
    }
    out
}

/// Whether a line begins with a sign and a number, as no point of a list needs to.
fn is_signed(line: &str) -> bool {
    let Some(rest) = line.strip_prefix(['-', '+', '>', '#']) else { return false };
    let number = rest.trim_start_matches([' ', '€', '$', '£']);
    let after = number.trim_start_matches(|c: char| c.is_ascii_digit());
    // A chapter has a number, too: `# 1. Introduction`.
    let is_chapter = line.starts_with('#') && (after.is_empty() || after.starts_with(['.', ')', ':']));
    rest.starts_with(' ') && after.len() < number.len() && !is_chapter
}

/// Whether a line is a point of the list that another one, of a sign and a number, would be a point of.
fn is_point(line: &str, other: &str) -> bool {
    !other.starts_with('#') && line.chars().next() == other.chars().next() && line.get(1..2) == Some(" ")
}

/// A line without the mark that makes it a heading, a quote or a point of a list.
fn without_prefix(line: &str) -> &str {
    let bare = line.trim_start();
    let after = |mark: &str| bare.strip_prefix(mark).filter(|rest| rest.starts_with(' ')).map(str::trim_start);
    let heading = || {
        let marks = bare.bytes().take_while(|byte| *byte == b'#').count();
        (1..=6)
            .contains(&marks)
            .then(|| bare[marks..].strip_prefix(' '))
            .flatten()
            .map(|rest| rest.trim_start().trim_end_matches(['#', ' ']))
    };
    heading().or_else(|| ["-", "*", "+", ">", "•"].iter().find_map(|mark| after(mark))).unwrap_or(line)
}

/// Three marks and more that draw a line, under a heading or between paragraphs.
fn is_rule(line: &str) -> bool {
    let mut marks = line.chars().filter(|c| *c != ' ');
    let Some(first) = marks.next().filter(|c| matches!(c, '-' | '*' | '_' | '=')) else { return false };
    line.len() >= 3 && marks.all(|c| c == first) && line.matches(first).count() >= 3
}

fn is_table_rule(line: &str) -> bool {
    line.contains('|') && line.contains("--") && line.chars().all(|c| matches!(c, '|' | '-' | ':' | ' '))
}

/// The cells of a line of a table.
fn cells(line: &str) -> Option<String> {
    let inner = line.strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(str::trim).filter(|cell| !cell.is_empty()).collect::<Vec<_>>().join(", "))
}

/// A line without the marks around its words.
fn inline(line: &str) -> String {
    let line = without_links(line);
    // Runs of marks that may open, waiting for the same run to close them.
    let mut open: Vec<(usize, &str)> = Vec::new();
    let mut cut: Vec<(usize, usize)> = Vec::new();
    let mut at = 0;
    while at < line.len() {
        let mark = line.as_bytes()[at];
        if !matches!(mark, b'*' | b'_' | b'`' | b'~') {
            at += 1;
            continue;
        }
        let length = line.as_bytes()[at..].iter().take_while(|byte| **byte == mark).count();
        let run = &line[at..at + length];
        let before = line[..at].chars().next_back();
        let after = line[at + length..].chars().next();
        let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        let is_blank = |c: Option<char>| c.is_none_or(char::is_whitespace);
        // `snake_case` and `a * b` are no marks; a single `~` is a figure's.
        let counts = length <= 3 && !(mark == b'_' && is_word(before) && is_word(after)) && !(mark == b'~' && length == 1);
        let closes = counts && !is_blank(before) && !(mark == b'_' && is_word(after));
        let opens = counts && !is_blank(after) && !(mark == b'_' && is_word(before));
        let partner = open.iter().rposition(|(_, waiting)| closes && *waiting == run);
        if let Some(partner) = partner {
            cut.extend([(open[partner].0, length), (at, length)]);
            open.truncate(partner);
        } else if opens && open.len() < MOST_OPEN {
            open.push((at, run));
        }
        at += length;
    }
    if cut.is_empty() {
        return line.into_owned();
    }
    cut.sort_unstable();
    let mut out = String::with_capacity(line.len());
    let mut copied = 0;
    for (start, length) in cut {
        out.push_str(&line[copied..start]);
        copied = start + length;
    }
    out.push_str(&line[copied..]);
    // What stood apart must not become a link or a fence, which would take words along.
    let makes = |mark: &str| out.matches(mark).count() > line.matches(mark).count();
    if ["](", "```", "~~~"].into_iter().any(makes) { line.into_owned() } else { out }
}

/// Marks that may be open at once on a line: it bounds the search for the partner.
const MOST_OPEN: usize = 16;

/// `[text](address)` and `![text](address)` become their text.
fn without_links(line: &str) -> Cow<'_, str> {
    if !line.contains("](") {
        return Cow::Borrowed(line);
    }
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(middle) = rest.find("](") {
        let (left, right) = (&rest[..middle], &rest[middle + 2..]);
        match (left.rfind('['), right.find(')')) {
            (Some(start), Some(end)) if !right[..end].contains(char::is_whitespace) => {
                out.push_str(left[..start].strip_suffix('!').unwrap_or(&left[..start]));
                out.push_str(&left[start + 1..]);
                rest = &right[end + 1..];
            }
            _ => {
                out.push_str(&rest[..middle + 2]);
                rest = right;
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(text: &str) -> String {
        Markdown { rejects: false }.apply(text, &About::NOTHING).expect("kept").into_owned()
    }

    #[test]
    fn marks_go_and_words_stay() {
        let table = [
            ("# De motie", "De motie"),
            ("### De **motie** ###", "De motie"),
            ("- geld\n* tijd\n  + rust\n> zei hij\n1. een", "geld\ntijd\nrust\nzei hij\n1. een"),
            ("De **motie** vraagt *veel* `geld` en ~~tijd~~ __nu__ en _snel_.", "De motie vraagt veel geld en tijd nu en snel."),
            ("***Belangrijk***: ja", "Belangrijk: ja"),
            ("Zie [de motie](https://example.org/a_b) en ![plaat](x.png).", "Zie de motie en plaat."),
            ("```json\nDe motie\n```", "De motie"),
            ("Een\n\n---\n\nTwee", "Een\n\n\nTwee"),
            ("| wat | kost |\n|---|---:|\n| bus | 3 |", "wat, kost\nbus, 3"),
            ("> > > diep", "diep"),
            ("- **Doel:** geld", "Doel: geld"),
            ("- 5 bussen\n- 3 trams", "5 bussen\n3 trams"),
            ("- bussen\n\n- 3 trams", "bussen\n\n3 trams"),
            ("- 3 trams\n\n- bussen", "3 trams\n\nbussen"),
            ("> zei hij\n> 50 keer", "zei hij\n50 keer"),
            ("# 1. Inleiding\n# 2024", "1. Inleiding\n2024"),
            ("* 5 bussen", "5 bussen"),
        ];
        for (text, expected) in table {
            assert_eq!(plain(text), expected, "{text:?}");
        }
    }

    #[test]
    fn plain_text_is_no_markdown() {
        for text in [
            "De motie-Van der Plas - dus nu - kost 3 * 4 euro, 2 > 1 en snake_case_naam blijft.",
            "C# en #hashtag, ~5 en a_b; [1] en (2) en 5 | 6.",
            "-5 graden",
            "- 5 graden was het in Zwolle.",
            "> 50 procent van de boeren stemde voor.",
            "+ 3 procent meer dan vorig jaar",
            "+ € 3 miljoen",
            "# 3 in de ranglijst",
            "Zo koud was het:\n- 5 graden in Zwolle\nen dat is koud.",
            "[]_(a)_ en [a]**(b)**",
            "_",
            "**",
        ] {
            assert_eq!(plain(text), text);
            assert!(Markdown { rejects: true }.apply(text, &About::NOTHING).is_ok(), "{text}");
        }
        let rejection = Markdown { rejects: true }.apply("De **motie**", &About::NOTHING).expect_err("rejected");
        assert_eq!(rejection.to_string(), "markdown: marks in `De **motie**`");
    }

    proptest! {
        #[test]
        fn words_are_never_lost(text in "[a-c *_`~#>|\\[\\]()\n-]{0,60}") {
            let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
            // An address is no word, and the name of a fence's language is none.
            prop_assume!(!text.contains("](") && !text.contains("```") && !text.contains("~~~"));
            prop_assert_eq!(letters(&plain(&text)), letters(&text));
        }
    }
}
