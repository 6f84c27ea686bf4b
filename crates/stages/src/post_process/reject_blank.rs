//! `reject-blank`: an answer that says nothing. How much it has to say is `reject_length`'s.

use std::borrow::Cow;

use promptmill_core::About;
use schemars::JsonSchema;
use serde::Deserialize;

use super::excerpt::excerpt;
use super::{Rejection, Step, StepConfig, StepContext};

/// Rejects answers that are `blank`: empty, white space and invisible characters, punctuation alone (`-`,
/// `...`, `"""`), or a single placeholder such as `n/a`, `N.v.t.`, `null`, `[summary]` or `string`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RejectBlank {}

impl StepConfig for RejectBlank {
    const NAME: &'static str = "reject-blank";
    const EXAMPLE: &'static str = "";
    const SUMMARY: &'static str = "Rejects answers that are blank, punctuation alone, or a placeholder.";
    const REASONS: &'static [&'static str] = &["blank"];

    fn compile(self, _: &StepContext) -> Result<Box<dyn Step>, String> {
        Ok(Box::new(Blank))
    }
}

#[derive(Debug)]
struct Blank;

impl Step for Blank {
    fn apply<'t>(&self, text: &'t str, _: &About<'_>) -> Result<Cow<'t, str>, Rejection> {
        if !text.chars().any(says_something) {
            let detail = if text.trim().is_empty() { "no text".to_owned() } else { format!("`{}`", excerpt(text)) };
            return Err(Rejection::new("blank", detail));
        }
        if is_placeholder(text) {
            return Err(Rejection::new("blank", format!("the placeholder `{}`", excerpt(text))));
        }
        Ok(Cow::Borrowed(text))
    }
}

fn says_something(c: char) -> bool {
    match c {
        // Letters by their class, drawn as nothing: the Hangul fillers.
        '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' => false,
        c if c.is_alphanumeric() => true,
        // Pictures: a thumb up can be all that is asked for.
        c => matches!(c, '\u{2600}'..='\u{27bf}' | '\u{1f000}'..='\u{1faff}'),
    }
}

/// What a model, or the program around it, writes for lack of an answer. Letters only, as it is compared.
const PLACEHOLDERS: [&str; 26] = [
    "answer",
    "antwoord",
    "blank",
    "empty",
    "explanation",
    "geenantwoord",
    "geensamenvatting",
    "geenuitleg",
    "leeg",
    "na",
    "nan",
    "nil",
    "noanswer",
    "none",
    "notapplicable",
    "notavailable",
    "null",
    "nvt",
    "placeholder",
    "samenvatting",
    "string",
    "summary",
    "tbd",
    "todo",
    "uitleg",
    "undefined",
];

fn is_placeholder(text: &str) -> bool {
    const LONGEST: usize = 16;
    let mut letters = String::new();
    for c in text.chars().filter(|c| says_something(*c)) {
        letters.push(c);
        if letters.len() > LONGEST {
            return false;
        }
    }
    PLACEHOLDERS.contains(&letters.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_is_what_says_nothing() {
        let table = [
            ("", true),
            (" \n\t\u{a0}\u{200b}\u{feff}\u{ad}\u{3164}\u{2800}", true),
            ("-", true),
            ("...", true),
            ("…", true),
            ("“”", true),
            ("\"\"\"\n```\n{}", true),
            ("---|---", true),
            ("\u{fffd}", true),
            ("n/a", true),
            ("N.v.t.", true),
            ("- NULL -", true),
            ("[Samenvatting]", true),
            ("{{ summary }}", true),
            ("Geen antwoord.", true),
            ("Nee", false),
            ("Geen geld", false),
            ("Geen", false),
            ("Onbekend", false),
            ("0", false),
            ("7", false),
            ("👍", false),
            ("De motie.", false),
            ("是", false),
        ];
        let step = RejectBlank {}.compile(&StepContext::default()).expect("compiles");
        for (text, blank) in table {
            assert_eq!(step.apply(text, &About::NOTHING).is_err(), blank, "{text:?}");
        }
        assert_eq!(step.apply(" \n", &About::NOTHING).expect_err("rejected").to_string(), "blank: no text");
        assert_eq!(step.apply(" …", &About::NOTHING).expect_err("rejected").to_string(), "blank: `…`");
        assert_eq!(step.apply("N.v.t.", &About::NOTHING).expect_err("rejected").to_string(), "blank: the placeholder `N.v.t.`");
    }

    #[test]
    fn placeholders_are_as_they_are_compared() {
        for placeholder in PLACEHOLDERS {
            assert!(is_placeholder(placeholder), "{placeholder}");
        }
        assert!(PLACEHOLDERS.is_sorted());
    }
}
