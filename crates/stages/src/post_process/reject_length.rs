//! `reject-length`: an answer that is too short to say anything, or that rambles on.

use std::borrow::Cow;

use promptmill_core::About;
use schemars::JsonSchema;
use serde::Deserialize;

use super::excerpt::excerpt;
use super::{Rejection, Step, StepConfig, StepContext};

/// Rejects answers that are `too-short` or `too-long`. At least one bound is needed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RejectLength {
    /// The fewest characters (not bytes; as SQL's `length` counts them) that are accepted. Left out: no bound.
    #[serde(default)]
    min_chars: Option<usize>,
    /// The most characters that are accepted. Left out: no bound.
    #[serde(default)]
    max_chars: Option<usize>,
}

impl StepConfig for RejectLength {
    const NAME: &'static str = "reject-length";
    const EXAMPLE: &'static str = "min_chars = 40, max_chars = 1200";
    const SUMMARY: &'static str = "Rejects answers with too few or too many characters.";
    const REASONS: &'static [&'static str] = &["too-short", "too-long"];

    fn compile(self, _: &StepContext) -> Result<Box<dyn Step>, String> {
        let (min, max) = match (self.min_chars, self.max_chars) {
            (None, None) => return Err("give `min_chars`, `max_chars` or both".to_owned()),
            (_, Some(0)) => return Err("`max_chars = 0` would reject every answer".to_owned()),
            (min, max) => (min.unwrap_or(0), max.unwrap_or(usize::MAX)),
        };
        if min > max {
            return Err(format!("`min_chars` ({min}) is more than `max_chars` ({max})"));
        }
        Ok(Box::new(Bounds { min, max }))
    }
}

#[derive(Debug)]
struct Bounds {
    min: usize,
    max: usize,
}

impl Step for Bounds {
    fn apply<'t>(&self, text: &'t str, _: &About<'_>) -> Result<Cow<'t, str>, Rejection> {
        let Self { min, max } = self;
        let chars = text.chars().count();
        if chars < *min {
            let detail = format!("{chars} characters, fewer than {min}: `{}`", excerpt(text));
            return Err(Rejection::new("too-short", detail));
        }
        if chars > *max {
            return Err(Rejection::new("too-long", format!("{chars} characters, more than {max}")));
        }
        Ok(Cow::Borrowed(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(min_chars: Option<usize>, max_chars: Option<usize>) -> Result<Box<dyn Step>, String> {
        RejectLength { min_chars, max_chars }.compile(&StepContext::default())
    }

    #[test]
    fn characters_are_counted_and_bounds_are_accepted() {
        let table = [
            (Some(3), None, "ab", Some("too-short")),
            (Some(3), None, "één", None),
            (None, Some(3), "één", None),
            (None, Some(3), "één!", Some("too-long")),
            (Some(2), Some(2), "👍👍", None),
            (Some(1), Some(9), "", Some("too-short")),
            (Some(0), None, "", None),
        ];
        for (min, max, text, expected) in table {
            let reason = step(min, max).expect("compiles").apply(text, &About::NOTHING).err().map(|rejection| rejection.reason);
            assert_eq!(reason, expected, "{min:?} {max:?} {text:?}");
        }
        let rejection = step(Some(40), None).expect("compiles").apply("Te kort.\n", &About::NOTHING).expect_err("rejected");
        assert_eq!(rejection.to_string(), "too-short: 9 characters, fewer than 40: `Te kort.`");
    }

    #[test]
    fn bounds_are_checked() {
        assert_eq!(step(None, None).expect_err("refused"), "give `min_chars`, `max_chars` or both");
        assert_eq!(step(Some(5), Some(4)).expect_err("refused"), "`min_chars` (5) is more than `max_chars` (4)");
        assert!(step(None, Some(0)).expect_err("refused").contains("every answer"));
    }
}
