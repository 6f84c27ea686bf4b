//! The judgement of answers: what `post-process` lends to the stage that asks, and what is counted of it.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::{Deserialize, Serialize};

/// What an answer is about, as far as it is known when the answer is judged.
#[derive(Clone, Copy, Debug, Default)]
pub struct About<'a> {
    /// What the model was shown of the row.
    pub item: Option<&'a str>,
    /// What it was shown of the other rows of its request. Empty for an answer from the journal, which does not
    /// keep them.
    pub neighbours: &'a [&'a str],
    /// What it said about the other rows of its request.
    pub others: &'a [&'a str],
    /// What it was told once a request: the system message and the prompt.
    pub instructions: &'a [&'a str],
}

impl About<'_> {
    /// For a text that nobody asked about.
    pub const NOTHING: About<'static> = About { item: None, neighbours: &[], others: &[], instructions: &[] };
}

/// An accepted answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The text, repaired where it had to be.
    pub text: String,
    /// The repairs, by the names of the steps that made them.
    pub flags: Vec<String>,
}

/// A rejected answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// A stable name, counted per run.
    pub reason: String,
    /// What was seen, for a person who reads the dead letter and for the model that is asked again.
    pub detail: String,
    /// Whether asking again may help.
    pub retry: bool,
}

/// The pure function of the stages behind a model call: an answer in, a verdict out.
pub trait Acceptance: Debug + Send + Sync + 'static {
    /// The answer's column that is judged.
    fn column(&self) -> &str;

    /// The language that its answers should be in, as `nl`, if it is said: the shape of the answer is asked for in it.
    fn language(&self) -> Option<&str> {
        None
    }

    /// Judges a text, and notes in `tally` what each step did about it.
    ///
    /// # Errors
    /// The reason, if the text is turned away.
    fn judge(&self, text: &str, about: &About<'_>, tally: &mut Tally) -> Result<Accepted, Rejected>;
}

/// What a step does about an answer that is not in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It puts it right.
    Repaired,
    /// It lets it pass, and says so on the row.
    Flagged,
    /// It turns it away.
    Rejected,
}

/// How often a step had which effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named and described as the variants of `Effect`")]
pub struct Effects {
    pub repaired: u64,
    pub flagged: u64,
    pub rejected: u64,
}

/// What the steps did, by their names. A step that found everything in order is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tally(BTreeMap<String, Effects>);

impl Tally {
    /// Counts one effect of a step.
    pub fn note(&mut self, step: &str, effect: Effect) {
        let effects = self.of(step);
        match effect {
            Effect::Repaired => effects.repaired += 1,
            Effect::Flagged => effects.flagged += 1,
            Effect::Rejected => effects.rejected += 1,
        }
    }

    /// Adds what another tally has counted.
    pub fn add(&mut self, other: &Self) {
        for (step, counted) in &other.0 {
            let effects = self.of(step);
            effects.repaired += counted.repaired;
            effects.flagged += counted.flagged;
            effects.rejected += counted.rejected;
        }
    }

    /// Whether no step did anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What a step did.
    pub fn get(&self, step: &str) -> Effects {
        self.0.get(step).copied().unwrap_or_default()
    }

    /// The steps that did something, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Effects)> {
        self.0.iter().map(|(step, effects)| (step.as_str(), *effects))
    }

    fn of(&mut self, step: &str) -> &mut Effects {
        self.0.entry(step.to_owned()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_add_up() {
        let (mut all, mut one) = (Tally::default(), Tally::default());
        one.note("normalize-text", Effect::Repaired);
        one.note("reject-length", Effect::Rejected);
        one.note("reject-length", Effect::Flagged);
        all.add(&one);
        all.add(&one);
        assert_eq!(all.get("normalize-text"), Effects { repaired: 2, ..Effects::default() });
        assert_eq!(all.get("reject-length"), Effects { flagged: 2, rejected: 2, repaired: 0 });
        assert_eq!(all.get("reject-language"), Effects::default());
        assert_eq!(
            serde_json::to_string(&one).expect("serialises"),
            r#"{"normalize-text":{"repaired":1,"flagged":0,"rejected":0},"reject-length":{"repaired":0,"flagged":1,"rejected":1}}"#
        );
    }
}
