//! `reject-repetition`: a model that is caught in a loop. A single sentence that comes twice is
//! `drop_repeated_sentences`'s.

use std::borrow::Cow;

use promptmill_core::About;
use schemars::JsonSchema;
use serde::Deserialize;

use super::excerpt::excerpt;
use super::words::{HashedSet, hash_of_run, sounds, words};
use super::{Rejection, Step, StepConfig, StepContext};

/// Rejects answers that go in circles, for `repetition`: the same word six times in a row, the same character
/// forty times, or too many words that stand in a run of five which has been before.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RejectRepetition {
    /// The share of the words that may be such repetition, from 0 to 1. Texts of fewer than twenty words are not
    /// measured.
    #[serde(default = "three_tenths")]
    #[schemars(range(min = 0.0, max = 1.0))]
    share: f64,
}

fn three_tenths() -> f64 {
    0.3
}

impl StepConfig for RejectRepetition {
    const NAME: &'static str = "reject-repetition";
    const EXAMPLE: &'static str = "share = 0.3";
    const SUMMARY: &'static str = "Rejects answers that go in circles.";
    const REASONS: &'static [&'static str] = &["repetition"];

    fn compile(self, _: &StepContext) -> Result<Box<dyn Step>, String> {
        if !(0.0..=1.0).contains(&self.share) {
            return Err(format!("`share` ({}) is no share: give a number from 0 to 1", self.share));
        }
        Ok(Box::new(Loops { share: self.share }))
    }
}

const SAME_WORDS: usize = 6;
const SAME_CHARS: usize = 40;
const RUN: usize = 5;
const FEWEST_WORDS: usize = 20;

#[derive(Debug)]
struct Loops {
    share: f64,
}

impl Step for Loops {
    fn apply<'t>(&self, text: &'t str, _: &About<'_>) -> Result<Cow<'t, str>, Rejection> {
        let rejected = |detail: String| Err(Rejection::new("repetition", detail));
        if let Some(c) = stuck_character(text) {
            return rejected(format!("`{c}` {SAME_CHARS} times in a row and more"));
        }
        let heard = sounds(text);
        if let Some(start) = heard.windows(SAME_WORDS).position(|run| run.iter().all(|sound| *sound == run[0])) {
            let word = words(text).nth(start).map_or("", |word| word.text);
            return rejected(format!("`{}` {SAME_WORDS} times in a row", excerpt(word)));
        }
        if heard.len() < FEWEST_WORDS {
            return Ok(Cow::Borrowed(text));
        }
        let repeated = repeated_words(&heard);
        if repeated as f64 > self.share * heard.len() as f64 {
            return rejected(format!("{repeated} of {} words repeat what stands before: `{}`", heard.len(), excerpt(text)));
        }
        Ok(Cow::Borrowed(text))
    }
}

/// A character other than a space or a mark of layout that does not come to an end.
fn stuck_character(text: &str) -> Option<char> {
    let (mut last, mut count) = ('\0', 0);
    text.chars().find(|&c| {
        count = if c == last { count + 1 } else { 1 };
        last = c;
        count == SAME_CHARS && c.is_alphanumeric()
    })
}

/// Words that stand in a run which has been before.
fn repeated_words(heard: &[u64]) -> usize {
    let mut runs = HashedSet::with_capacity_and_hasher(heard.len(), Default::default());
    let (mut repeated, mut counted_to) = (0, 0);
    for (start, run) in heard.windows(RUN).enumerate() {
        if !runs.insert(hash_of_run(run)) {
            repeated += start + RUN - counted_to.max(start);
            counted_to = start + RUN;
        }
    }
    repeated
}

#[cfg(test)]
mod tests {
    use super::super::samples::{DUTCH, answers};
    use super::*;

    fn reason(text: &str) -> Option<String> {
        let step = RejectRepetition { share: 0.3 }.compile(&StepContext::default()).expect("compiles");
        step.apply(text, &About::NOTHING).err().map(|rejection| rejection.detail)
    }

    #[test]
    fn loops_are_noticed() {
        assert_eq!(reason("De motie vraagt geld geld geld Geld geld geld").as_deref(), Some("`geld` 6 times in a row"));
        assert!(reason(&"a".repeat(50)).is_some_and(|detail| detail.starts_with("`a` 40 times")));
        let circle = "De regering moet met een plan komen en ".repeat(4);
        assert!(reason(&circle).is_some_and(|detail| detail.starts_with("24 of 32 words repeat")), "{:?}", reason(&circle));
    }

    #[test]
    fn what_is_said_once_passes() {
        for text in answers(DUTCH) {
            assert_eq!(reason(&text), None, "{text}");
        }
        assert_eq!(reason("ja ja ja, nee nee nee"), None);
        assert_eq!(reason(&format!("een {} twee", "-".repeat(90))), None);
    }

    #[test]
    fn the_share_is_one() {
        let refused = RejectRepetition { share: 30.0 }.compile(&StepContext::default()).expect_err("refused");
        assert_eq!(refused, "`share` (30) is no share: give a number from 0 to 1");
    }
}
