//! `remove-metadata`: what a model copies along from the frame of a request instead of answering. A pattern of your
//! own is `remove_pattern`'s.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use promptmill_core::About;
use regex::Regex;
use schemars::JsonSchema;
use serde::Deserialize;

use super::cut::{Seam, cut};
use super::{Rejection, Step, StepConfig, StepContext};

/// Removes the traces of a request's frame, and the gaps that this leaves:
///
/// - fields and their values, where the name is in snake case: `motie_id: 2024Z01234`, `"row_id" = 7`; in the middle of a
///   sentence only those that are named like an id;
/// - document numbers in brackets: `(36600-12)`, `(36 600-XV, nr. 12)`, `[2024Z01234]`;
/// - the ids of a pack at the start of a line, in square brackets, or in round ones at the end of a sentence: `r3: `, `[r12]`;
/// - marks of chat templates and of thinking: `<|im_end|>`, `[/INST]`, `</s>`, `<think>…</think>`.
///
/// Ranges such as `(45-102)` or `(2024-2025)` stay; `remove-pattern` takes them out where they have to go.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RemoveMetadata {}

impl StepConfig for RemoveMetadata {
    const NAME: &'static str = "remove-metadata";
    const EXAMPLE: &'static str = "";
    const SUMMARY: &'static str = "Removes field names, ids, document numbers and marks of chat templates.";

    fn compile(self, _: &StepContext) -> Result<Box<dyn Step>, String> {
        Ok(Box::new(Remove))
    }
}

static METADATA: LazyLock<Regex> = LazyLock::new(|| {
    // Word boundaries of ASCII: with those of Unicode the fast engine gives up at the first accent.
    const KINDS: [&str; 6] = [
        // A field and its value, up to a comma or a space. A full stop ends the sentence, not the value.
        r#"["'`]?(?-u:\b)[[:alpha:]][[:alnum:]]*(?:_[[:alnum:]]+)+["'`]?[ ]*[:=][ ]*(?:"[^"\n]{0,80}"|[^\s,;"()\[\]]*[^\s,;".()\[\]]),?"#,
        // A document number in brackets.
        r"[(\[](?:[[:alpha:]]+ )?(?:\d{5}|\d{2}[ \x{a0}]\d{3})(?:[-–][A-Z]+)?(?:(?:[-–/]|, ?| )(?:nr\.? ?)?\d+)+[)\]]",
        r"[(\[]\d{4}[A-Z]\d{4,6}[)\]]",
        // The id of a row.
        r#"(?m:^)[ ]*["'`*\[(]{0,3}r\d{1,3}["'`*\])]{0,3}(?:[ ]*[:=]|[.)])[ ]*"#,
        r"\[r\d{1,3}\]|\(r\d{1,3}\)",
        // What templates put around turns, and models around their thoughts.
        r"</?think>|<\|[a-z_]{2,30}\|>|</?s>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>",
    ];
    Regex::new(&KINDS.join("|")).unwrap_or_else(|error| unreachable!("the pattern is tested: {error}"))
});

#[derive(Debug)]
struct Remove;

impl Step for Remove {
    fn apply<'t>(&self, text: &'t str, _: &About<'_>) -> Result<Cow<'t, str>, Rejection> {
        // Most answers have none of the characters that all of it needs.
        if !text.bytes().any(|byte| matches!(byte, b'_' | b'(' | b'[' | b'<')) && !has_row_id(text) {
            return Ok(Cow::Borrowed(text));
        }
        let thoughts = thoughts(text);
        let mut text = if thoughts.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(cut(text, &thoughts, Seam::Spaced)) };
        // Taking one out may bring the next to the start of a line.
        for _ in 0..ROUNDS {
            let spans: Vec<Range<usize>> =
                METADATA.find_iter(&text).map(|found| found.range()).filter(|span| is_frame(&text, span)).collect();
            if spans.is_empty() {
                break;
            }
            text = Cow::Owned(cut(&text, &spans, Seam::Spaced));
        }
        Ok(text)
    }
}

/// Whether a find is of the frame for sure: what a sentence goes on around may be its own.
fn is_frame(text: &str, span: &Range<usize>) -> bool {
    let (found, before, after) = (&text[span.clone()], text[..span.start].trim_end(), text[span.end..].trim_start_matches(' '));
    let begins = || !before.ends_with(char::is_alphanumeric);
    let ends = || !after.starts_with(|c: char| c.is_lowercase() || c.is_ascii_digit());
    if found.strip_prefix("(r").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
        return ends() || before.is_empty() || text[..span.start].trim_end_matches(' ').ends_with('\n');
    }
    if found == "<s>" {
        return begins();
    }
    if found == "</s>" {
        return ends();
    }
    let name = found.split([':', '=']).next().unwrap_or_default().trim_matches(['"', '\'', '`', ' ']);
    let is_field = name.contains('_') && !found.starts_with(['<', '[', '(']);
    let is_id =
        || ["id", "ids", "key", "nr", "no", "number", "nummer"].iter().any(|word| name.to_lowercase().ends_with(&format!("_{word}")));
    !is_field || begins() || is_id()
}

/// Enough for what models write; more would be a text made for it.
const ROUNDS: usize = 4;

/// What stands between `<think>` and `</think>`. Not a pattern's work: one that looks for the end from every beginning
/// takes quadratic time.
fn thoughts(text: &str) -> Vec<Range<usize>> {
    const END: &str = "</think>";
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(start) = text[at..].find("<think>").map(|start| at + start) {
        let Some(length) = text[start..].find(END) else { break };
        at = start + length + END.len();
        found.push(start..at);
    }
    found
}

/// Whether a line begins as an id of a row would.
fn has_row_id(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim_start_matches([' ', '"', '\'', '`', '*']);
        line.strip_prefix('r').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without(text: &str) -> String {
        Remove.apply(text, &About::NOTHING).expect("kept").into_owned()
    }

    #[test]
    fn the_frame_of_a_request_goes() {
        let table = [
            ("motie_id: 2024Z01234\nDe motie vraagt geld.", "De motie vraagt geld."),
            ("De motie vraagt geld (36600-12).", "De motie vraagt geld."),
            ("De motie (36 600-XV, nr. 12) vraagt geld.", "De motie vraagt geld."),
            ("De motie [2024Z01234] vraagt geld. motie_id: 2024Z01234.", "De motie vraagt geld."),
            ("\"motion_id\": \"2024Z01234\", De motie vraagt geld.", "De motie vraagt geld."),
            ("r3: De motie vraagt geld.", "De motie vraagt geld."),
            ("**r3**: De motie vraagt geld.", "De motie vraagt geld."),
            ("De motie vraagt geld. [r12]", "De motie vraagt geld."),
            ("<think>Even denken.\nJa.</think>\nDe motie vraagt geld.<|im_end|>", "De motie vraagt geld."),
            ("[INST] De motie vraagt geld. [/INST]</s>", "De motie vraagt geld."),
            ("row_id=5 r7) De motie", "De motie"),
            ("De motie vraagt geld motie_id: 2024Z01234", "De motie vraagt geld"),
            ("De motie vraagt geld. source_text: ja", "De motie vraagt geld."),
            ("De motie vraagt geld (r2).", "De motie vraagt geld."),
            ("(r2) De motie vraagt geld.", "De motie vraagt geld."),
            ("<s>De motie vraagt geld.</s>", "De motie vraagt geld."),
        ];
        for (text, expected) in table {
            assert_eq!(without(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_an_answer_may_say_stays() {
        for text in [
            "De motie (45-102) over mensen (18-65 jaar) in 2024-2025.",
            "Het gaat om 36.600 euro (12 procent), dus: meer geld.",
            "Mensen (r) wonen in regio r.",
            "Zie www.tweedekamer.nl/mijn_pagina of een_woord met streepje.",
            "De uitkomst: ja. In artikel 12a staat: nee.",
            "if a < b then c",
            "The correlation (r2) was high in both groups.",
            "De waarde max_tokens = 400 staat in het bestand.",
            "Use <s> for struck text.",
        ] {
            assert!(matches!(Remove.apply(text, &About::NOTHING), Ok(Cow::Borrowed(_))), "{text}: {}", without(text));
        }
    }
}
