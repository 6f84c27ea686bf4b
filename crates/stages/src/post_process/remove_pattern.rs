//! `remove-pattern`: takes out what a pattern describes, such as a document number that the model copied
//! along. Replacing one word by another is `replace_words`'s.

use std::borrow::Cow;

use promptmill_core::About;
use regex::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::Deserialize;

use super::cut::{Seam, cut};
use super::{Rejection, Step, StepConfig, StepContext};

/// Removes every match of a regular expression, and the doubled spaces, orphaned commas, empty brackets and
/// empty lines that this leaves; the rest of the text stays as it is.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RemovePattern {
    /// A regular expression in the syntax of Rust's `regex` crate: no look-around and no back-references, in
    /// return for which no text makes it hang. Single quotes keep TOML from reading the backslashes:
    /// `'\(\d+-\d+\)'`.
    pattern: String,
}

impl StepConfig for RemovePattern {
    const NAME: &'static str = "remove-pattern";
    const EXAMPLE: &'static str = r"pattern = '\(\d+-\d+\)'";
    const SUMMARY: &'static str = "Removes what matches a regular expression, and the gaps that this leaves.";

    fn compile(self, _: &StepContext) -> Result<Box<dyn Step>, String> {
        Ok(Box::new(Remove { pattern: compile_pattern(&self.pattern)? }))
    }
}

/// The expression that a setting `pattern` holds.
pub(super) fn compile_pattern(pattern: &str) -> Result<Regex, String> {
    if pattern.is_empty() {
        return Err("`pattern` is empty".to_owned());
    }
    RegexBuilder::new(pattern).size_limit(SIZE_LIMIT).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => {
            "`pattern` is too large once compiled; large counts such as `{1000}` and `\\w` repeated many times make it so".to_owned()
        }
        error => format!("`pattern` is not a regular expression: {error}"),
    })
}

/// What a pattern may take in memory: room for any sensible one, not for one that slows every row down.
const SIZE_LIMIT: usize = 2 << 20;

#[derive(Debug)]
struct Remove {
    pattern: Regex,
}

impl Step for Remove {
    fn apply<'t>(&self, text: &'t str, _: &About<'_>) -> Result<Cow<'t, str>, Rejection> {
        // A pattern such as `x*` matches the nothing between two letters, which there is no need to remove.
        let spans: Vec<_> = self.pattern.find_iter(text).map(|found| found.range()).filter(|range| !range.is_empty()).collect();
        if spans.is_empty() {
            return Ok(Cow::Borrowed(text));
        }
        Ok(Cow::Owned(cut(text, &spans, Seam::Closed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn step(pattern: &str) -> Result<Box<dyn Step>, String> {
        RemovePattern { pattern: pattern.to_owned() }.compile(&StepContext::default())
    }

    #[test]
    fn removes_and_tidies() {
        let table = [
            (r"\(\d+-\d+\)", "De motie (45-102) vraagt (1-2), of (3-4).", "De motie vraagt, of."),
            (r"\(\d+-\d+\)", "De motie vraagt dit. (45-102)", "De motie vraagt dit."),
            (r"\(\d+-\d+\)", "(45-102)\nDe motie  vraagt dit.", "De motie  vraagt dit."),
            (r"\(\d+-\d+\)", "De motie (45-10a) vraagt dit.", "De motie (45-10a) vraagt dit."),
            (r"\(\d+-\d+\)", "(45-102)", ""),
            (r"\*+", "**De** mo*ti*e", "De motie"),
            (r"(?m)^Samenvatting:\s*", "Samenvatting: De motie\nSamenvatting:\nx", "De motie\nx"),
            (r" ", "a b  c", "abc"),
            (r"x*", "axb", "ab"),
            (r"x*", "ab", "ab"),
            (r"é", "één", "n"),
        ];
        for (pattern, text, expected) in table {
            assert_eq!(step(pattern).expect("compiles").apply(text, &About::NOTHING).expect("kept"), expected, "{pattern} in {text:?}");
        }
    }

    #[test]
    fn a_bad_pattern_says_why() {
        assert_eq!(step("").expect_err("refused"), "`pattern` is empty");
        let unclosed = step("(a").expect_err("refused");
        assert!(unclosed.starts_with("`pattern` is not a regular expression: ") && unclosed.contains("unclosed group"));
        assert!(step("(?=a)").expect_err("refused").contains("look-around"));
        assert!(step(r"\w{1000}").expect_err("refused").contains("too large once compiled"));
    }

    proptest! {
        #[test]
        fn idempotent_where_no_match_can_arise(text in "[a1 .,()\n\"]{0,40}") {
            let step = step("[0-9]+").expect("compiles");
            let once = step.apply(&text, &About::NOTHING).expect("kept");
            prop_assert_eq!(step.apply(&once, &About::NOTHING).expect("kept"), once.as_ref());
        }

        #[test]
        fn never_panics(text in any::<String>(), pattern in "[a-z.*+?|() \\\\sw\\[\\]]{1,6}") {
            if let Ok(step) = step(&pattern) {
                let _ = step.apply(&text, &About::NOTHING);
            }
        }
    }
}
