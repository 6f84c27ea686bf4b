//! `reject-pattern`: what a regular expression describes and no answer should have. Taking it out instead is
//! `remove_pattern`'s.

use std::borrow::Cow;

use promptmill_core::About;
use regex::Regex;
use schemars::JsonSchema;
use serde::Deserialize;

use super::excerpt::excerpt;
use super::remove_pattern::compile_pattern;
use super::{Rejection, Step, StepConfig, StepContext};

/// Rejects answers in which a regular expression finds something, for `pattern`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RejectPattern {
    /// A regular expression, as for `remove-pattern`: `(?i)` in front ignores case.
    pattern: String,
}

impl StepConfig for RejectPattern {
    const NAME: &'static str = "reject-pattern";
    const EXAMPLE: &'static str = r"pattern = '(?i)als (AI|taalmodel) kan ik'";
    const SUMMARY: &'static str = "Rejects answers that match a regular expression.";
    const REASONS: &'static [&'static str] = &["pattern"];

    fn compile(self, _: &StepContext) -> Result<Box<dyn Step>, String> {
        Ok(Box::new(Forbid { pattern: compile_pattern(&self.pattern)? }))
    }
}

#[derive(Debug)]
struct Forbid {
    pattern: Regex,
}

impl Step for Forbid {
    fn apply<'t>(&self, text: &'t str, _: &About<'_>) -> Result<Cow<'t, str>, Rejection> {
        match self.pattern.find(text) {
            None => Ok(Cow::Borrowed(text)),
            Some(found) => Err(Rejection::new("pattern", format!("it has `{}`", excerpt(found.as_str())))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_match_is_a_rejection() {
        let step = RejectPattern { pattern: "(?i)taalmodel".to_owned() }.compile(&StepContext::default()).expect("compiles");
        assert_eq!(step.apply("Ik ben een Taalmodel.", &About::NOTHING).expect_err("rejected").to_string(), "pattern: it has `Taalmodel`");
        assert!(step.apply("Ik ben een model.", &About::NOTHING).is_ok());
        let refused = RejectPattern { pattern: "(".to_owned() }.compile(&StepContext::default()).expect_err("refused");
        assert!(refused.contains("not a regular expression"), "{refused}");
    }
}
