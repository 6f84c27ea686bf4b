//! `reject-echo`: an answer that gives back what it was given.

use std::borrow::Cow;

use promptmill_core::{About, Sees};
use schemars::JsonSchema;
use serde::Deserialize;

use super::excerpt::excerpt;
use super::words::{HashedSet, hash_of_run, sounds};
use super::{Rejection, Step, StepConfig, StepContext};

/// Rejects answers that are copied: most of their words stand in the row's item, for `echo-of-input`, or in the
/// system message and the prompt, for `echo-of-prompt`, eight and more of them in the same order. A quotation within an
/// answer is fine. An answer that is hardly more or less than one line of the item, such as its title, is rejected too,
/// for `echo-of-line`, from four words on.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RejectEcho {
    /// The share of an answer's words, from 0 to 1, that may be copied from the one or from the other. With 1, only copies of
    /// a line are rejected, and only of a line that does not end as a sentence or a clause does, as titles do: for models that
    /// answer with sentences of the item.
    #[serde(default = "seven_tenths")]
    #[schemars(range(min = 0.0, max = 1.0))]
    share: f64,
}

fn seven_tenths() -> f64 {
    0.7
}

impl StepConfig for RejectEcho {
    const NAME: &'static str = "reject-echo";
    const EXAMPLE: &'static str = "share = 0.7";
    const SUMMARY: &'static str = "Rejects answers that repeat the row's item or the prompt.";
    const REASONS: &'static [&'static str] = &["echo-of-input", "echo-of-prompt", "echo-of-line"];
    const SEES: Sees = Sees::Item;

    fn compile(self, _: &StepContext) -> Result<Box<dyn Step>, String> {
        if !(0.0..=1.0).contains(&self.share) {
            return Err(format!("`share` ({}) is no share: give a number from 0 to 1", self.share));
        }
        Ok(Box::new(Echo { share: self.share }))
    }
}

/// Words of the shortest copy of a line: a name may well be the answer.
const FEWEST: usize = 4;
/// Of the longer of two texts, so much is in the shorter if one is the other's copy.
const ALIKE: f64 = 0.75;
/// Words in the same order that no two texts share by chance.
const RUN: usize = 8;

#[derive(Debug)]
struct Echo {
    share: f64,
}

impl Step for Echo {
    fn apply<'t>(&self, text: &'t str, about: &About<'_>) -> Result<Cow<'t, str>, Rejection> {
        let said = sounds(text);
        let takes_sentences = self.share >= 1.0;
        let counts = |line: &&str| !(takes_sentences && is_of_a_sentence(line));
        let is_line =
            |item: &str| item.lines().skip_while(|line| line.trim() == item.trim()).filter(counts).any(|line| is_of_line(&said, line));
        if about.item.is_some_and(is_line) {
            return Err(Rejection::new("echo-of-line", format!("it is a line of the item: `{}`", excerpt(text))));
        }
        if said.len() < RUN {
            return Ok(Cow::Borrowed(text));
        }
        let check = |reason, copied: usize| {
            if copied as f64 > self.share * said.len() as f64 {
                return Err(Rejection::new(reason, format!("{copied} of {} words are copied: `{}`", said.len(), excerpt(text))));
            }
            Ok(())
        };
        check("echo-of-prompt", about.instructions.iter().map(|source| copied(&said, source)).sum())?;
        check("echo-of-input", about.item.map_or(0, |source| copied(&said, source)))?;
        Ok(Cow::Borrowed(text))
    }
}

/// Whether a text says what a line says: the same words, but for a few before or after them in the one or the other.
fn is_of_line(said: &[u64], line: &str) -> bool {
    if said.len() < FEWEST {
        return false;
    }
    let line = sounds(line);
    let (short, long) = if said.len() <= line.len() { (said, line.as_slice()) } else { (line.as_slice(), said) };
    short.len() >= FEWEST && short.len() as f64 >= ALIKE * long.len() as f64 && long.windows(short.len()).any(|part| part == short)
}

/// Whether a line ends as a sentence does, or a part of one.
fn is_of_a_sentence(line: &str) -> bool {
    line.trim_end().ends_with(['.', ',', ';', ':', '!', '?'])
}

/// How many words of a text stand in runs that a source has as well.
fn copied(said: &[u64], source: &str) -> usize {
    let runs: HashedSet = sounds(source).windows(RUN).map(hash_of_run).collect();
    let (mut copied, mut counted_to) = (0, 0);
    for (start, run) in said.windows(RUN).enumerate() {
        if runs.contains(&hash_of_run(run)) {
            copied += start + RUN - counted_to.max(start);
            counted_to = start + RUN;
        }
    }
    copied
}

#[cfg(test)]
mod tests {
    use super::*;

    const ITEM: &str = "De Kamer, gehoord de beraadslaging, constaterende dat de bus in dorpen verdwijnt, verzoekt de regering om geld.";
    const PROMPT: &str = "Schrijf voor elke motie twee tot drie zinnen uitleg: wat vraagt de motie, en waarom?";

    fn reason(text: &str) -> Option<&'static str> {
        let step = RejectEcho { share: 0.7 }.compile(&StepContext::default()).expect("compiles");
        let about = About { item: Some(ITEM), instructions: &[PROMPT], ..About::NOTHING };
        step.apply(text, &about).err().map(|rejection| rejection.reason)
    }

    #[test]
    fn copies_are_noticed() {
        assert_eq!(reason(ITEM), Some("echo-of-input"));
        assert_eq!(reason("constaterende dat de bus in dorpen verdwijnt verzoekt de regering"), Some("echo-of-input"));
        assert_eq!(reason(&format!("{PROMPT} De bus.")), Some("echo-of-prompt"));
    }

    #[test]
    fn a_title_is_no_explanation_of_what_is_below_it() {
        let item = "Motie van het lid Bos over geld voor dorpsbussen\n\nDe Kamer, constaterende dat de bus verdwijnt, verzoekt de regering om geld.\nPvdA";
        let about = About { item: Some(item), instructions: &[PROMPT], ..About::NOTHING };
        for share in [0.7, 1.0] {
            let step = RejectEcho { share }.compile(&StepContext::default()).expect("compiles");
            let reason = |text: &str| step.apply(text, &about).err().map(|rejection| rejection.reason);
            assert_eq!(reason("Motie van het lid Bos over geld voor dorpsbussen."), Some("echo-of-line"));
            assert_eq!(reason("Titel: Motie van het lid Bos, over geld voor dorpsbussen"), Some("echo-of-line"));
            assert_eq!(reason("van het lid Bos over geld voor dorpsbussen"), Some("echo-of-line"));
            assert_eq!(reason("PvdA"), None);
            assert_eq!(
                reason("Motie van het lid Bos over geld voor dorpsbussen: de bus verdwijnt uit dorpen en daarom moet er geld komen."),
                None
            );
            assert_eq!(reason("De bus verdwijnt, dus vraagt Bos om geld."), None);
            let sentence = (share < 1.0).then_some("echo-of-line");
            assert_eq!(reason("De Kamer, constaterende dat de bus verdwijnt, verzoekt de regering om geld"), sentence);
        }
    }

    #[test]
    fn answers_and_quotations_pass() {
        assert_eq!(reason("De motie wil dat er geld komt, want de bus verdwijnt uit de dorpen."), None);
        assert_eq!(
            reason(
                "Kort gezegd schrijven de indieners “constaterende dat de bus in dorpen verdwijnt”, en daar willen zij iets aan doen met geld van het Rijk."
            ),
            None
        );
        assert_eq!(reason("verzoekt de regering"), None);
        assert!(RejectEcho { share: 0.5 }.compile(&StepContext::default()).expect("compiles").apply(ITEM, &About::NOTHING).is_ok());
    }
}
