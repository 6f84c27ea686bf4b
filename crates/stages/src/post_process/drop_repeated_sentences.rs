//! `drop-repeated-sentences`: a model that says the same thing twice. One that cannot stop is
//! `reject_repetition`'s.

use std::borrow::Cow;

use promptmill_core::About;
use schemars::JsonSchema;
use serde::Deserialize;

use super::cut::{Seam, cut};
use super::sentences::sentences;
use super::words::{HashedSet, hash_of_run, sounds};
use super::{Rejection, Step, StepConfig, StepContext};

/// Drops every sentence that has been said before in the same words, whatever its case and marks. Sentences of
/// fewer than four words stay: `Dat is nodig.` may well be said twice.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DropRepeatedSentences {}

impl StepConfig for DropRepeatedSentences {
    const NAME: &'static str = "drop-repeated-sentences";
    const EXAMPLE: &'static str = "";
    const SUMMARY: &'static str = "Drops sentences that have been said before.";

    fn compile(self, _: &StepContext) -> Result<Box<dyn Step>, String> {
        Ok(Box::new(Once))
    }
}

const FEWEST_WORDS: usize = 4;

#[derive(Debug)]
struct Once;

impl Step for Once {
    fn apply<'t>(&self, text: &'t str, _: &About<'_>) -> Result<Cow<'t, str>, Rejection> {
        let mut seen = HashedSet::default();
        let mut repeated = Vec::new();
        for range in sentences(text) {
            let said = sounds(&text[range.clone()]);
            if said.len() >= FEWEST_WORDS && !seen.insert(hash_of_run(&said)) {
                repeated.push(range);
            }
        }
        Ok(if repeated.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(cut(text, &repeated, Seam::Spaced)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_said_once() {
        let table = [
            ("De motie vraagt om geld. De motie vraagt om geld.", "De motie vraagt om geld."),
            (
                "De motie vraagt om geld. Dat is nodig. de Motie vraagt om geld! Dat is nodig.",
                "De motie vraagt om geld. Dat is nodig. Dat is nodig.",
            ),
            ("De motie vraagt om geld.\nDe motie vraagt om geld.\nKlaar.", "De motie vraagt om geld.\nKlaar."),
            ("De motie vraagt om geld. De motie vraagt om tijd.", "De motie vraagt om geld. De motie vraagt om tijd."),
            ("", ""),
        ];
        for (text, expected) in table {
            assert_eq!(Once.apply(text, &About::NOTHING).expect("kept"), expected, "{text:?}");
        }
    }
}
