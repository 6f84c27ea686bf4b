//! `reject-swapped`: an answer about another row of the same request. Ids are checked when a reply is read; a model
//! that mixes up the texts behind them gives every row an answer, and some the wrong one.

use std::borrow::Cow;

use promptmill_core::{About, Sees};
use schemars::JsonSchema;
use serde::Deserialize;

use super::excerpt::excerpt;
use super::words::{HashedMap, Lowered, hash, words};
use super::{Rejection, Step, StepConfig, StepContext};

/// Rejects answers that fit another row of their request far better than their own, for `fits-another-row`.
///
/// Compared are the long words, shortened to eight letters so that endings do not matter, and the numbers; a word
/// counts the more the fewer rows of the request have it (tf-idf within the pack). It takes a lot: four words and more
/// that the other row has and the own one does not, a third of all the weight of the answer on the other row, and a
/// third of that at the most on its own. An answer from the journal, whose neighbours are not kept, is rejected
/// if an answer of the same request fits its row so much better.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RejectSwapped {}

impl StepConfig for RejectSwapped {
    const NAME: &'static str = "reject-swapped";
    const EXAMPLE: &'static str = "";
    const SUMMARY: &'static str = "Rejects answers that fit another row of their request far better than their own.";
    const REASONS: &'static [&'static str] = &["fits-another-row"];
    const SEES: Sees = Sees::Request;

    fn compile(self, _: &StepContext) -> Result<Box<dyn Step>, String> {
        Ok(Box::new(Swapped))
    }
}

/// Words that only the other text shares, at the least.
const FEWEST_WORDS: usize = 4;
/// What the other text has to have of the weight of all words.
const FITS: f64 = 1.0 / 3.0;
/// What the own one may have of that, at the most.
const FITS_NOT: f64 = 1.0 / 3.0;
/// An answer with this share of its words in its own item is in its place: nothing else is looked at.
const IN_PLACE: f64 = 0.25;

#[derive(Debug)]
struct Swapped;

impl Step for Swapped {
    fn apply<'t>(&self, text: &'t str, about: &About<'_>) -> Result<Cow<'t, str>, Rejection> {
        let Some(item) = about.item.filter(|_| !about.neighbours.is_empty() || !about.others.is_empty()) else {
            return Ok(Cow::Borrowed(text));
        };
        let said = Stems::of(text);
        let enough = (IN_PLACE * said.len() as f64).ceil() as usize;
        // Most answers are in their place, and a part of the item shows it.
        let own = said.found_in(item, enough);
        if said.len() <= FEWEST_WORDS || own.count >= enough {
            return Ok(Cow::Borrowed(text));
        }
        let swapped =
            if about.neighbours.is_empty() { fits_worse(&own, item, about.others) } else { fits_elsewhere(&said, &own, about.neighbours) };
        match swapped {
            None => Ok(Cow::Borrowed(text)),
            Some(words) => Err(Rejection::new(
                "fits-another-row",
                format!("{words} of its words are another row's, {} its own: `{}`", own.count, excerpt(text)),
            )),
        }
    }
}

/// The other item that has what the answer says, by the number of its words there.
fn fits_elsewhere(said: &Stems, own: &Found, neighbours: &[&str]) -> Option<usize> {
    let found: Vec<Found> = neighbours.iter().map(|item| said.found_in(item, usize::MAX)).collect();
    let weights: Vec<f64> = (0..said.len())
        .map(|stem| {
            let having = found.iter().chain([own]).filter(|found| found.has[stem]).count();
            ((neighbours.len() + 2) as f64 / having.max(1) as f64).ln()
        })
        .collect();
    let all: f64 = weights.iter().sum();
    let weight = |found: &Found| found.has.iter().zip(&weights).filter(|(has, _)| **has).map(|(_, weight)| weight).sum::<f64>();
    let (best, fit) = found.iter().map(|found| (found, weight(found))).max_by(|(_, a), (_, b)| a.total_cmp(b))?;
    let only_there = best.has.iter().zip(&own.has).filter(|(there, here)| **there && !**here).count();
    (only_there >= FEWEST_WORDS && fit >= FITS * all && weight(own) <= FITS_NOT * fit).then_some(only_there)
}

/// The answer about another row that says so much more of what this item says, by the number of its words.
fn fits_worse(own: &Found, item: &str, others: &[&str]) -> Option<usize> {
    let share = |found: &Found| found.count as f64 / found.has.len().max(1) as f64;
    let found =
        others.iter().map(|other| Stems::of(other).found_in(item, usize::MAX)).filter(|found| found.count > own.count + FEWEST_WORDS);
    let best = found.max_by(|a, b| share(a).total_cmp(&share(b)))?;
    (share(&best) >= FITS && share(own) <= FITS_NOT * share(&best)).then_some(best.count)
}

/// The words of a text that tell what it is about, each once.
pub(super) struct Stems(HashedMap<usize>);

/// Which of them another text has.
pub(super) struct Found {
    pub(super) has: Vec<bool>,
    pub(super) count: usize,
}

impl Stems {
    pub(super) fn of(text: &str) -> Self {
        let mut all = HashedMap::default();
        for_each_stem(text, |stem| {
            let next = all.len();
            all.entry(stem).or_insert(next);
            true
        });
        Self(all)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Which of them a text has, or the first `enough` of these.
    pub(super) fn found_in(&self, text: &str, enough: usize) -> Found {
        let mut found = Found { has: vec![false; self.len()], count: 0 };
        for_each_stem(text, |stem| {
            if let Some(&index) = self.0.get(&stem)
                && !std::mem::replace(&mut found.has[index], true)
            {
                found.count += 1;
            }
            found.count < enough
        });
        found
    }
}

/// Hands over the stems one by one, for as long as `goes_on` says so.
fn for_each_stem(text: &str, mut goes_on: impl FnMut(u64) -> bool) {
    const SHORTEST: usize = 5;
    const STEM: usize = 8;
    let mut lowered = Lowered::new(text);
    for word in words(text) {
        let tells = word.text.len() >= SHORTEST || (word.has_digit && word.text.len() > 1);
        if tells {
            let low = lowered.get(&word);
            let end = low.char_indices().nth(STEM).map_or(low.len(), |(end, _)| end);
            if !goes_on(hash(&low[..end])) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{DUTCH, answers};
    use super::*;

    const ITEMS: [&str; 4] = [
        "Motie over de bus: constaterende dat buslijnen in dorpen op het platteland verdwijnen, verzoekt de regering om reizigers een bereikbaarheidsgarantie te geven.",
        "Motie over pulsvissen: constaterende dat vissers uit Urk minder tong en schol vangen, verzoekt de regering om visserijkansen in Brussel te bepleiten.",
        "Motie over huisartsen: constaterende dat huisartsen veel formulieren invullen, verzoekt de regering om administratieve lasten in zorgcontracten te schrappen.",
        "Motie over schoolreizen: constaterende dat ouders de schoolreis niet betalen kunnen, verzoekt de regering om een steunfonds voor kinderen in armoede.",
    ];
    const ANSWERS: [&str; 4] = [
        "Buslijnen op het platteland verdwijnen. De motie wil dat reizigers in dorpen een bereikbaarheidsgarantie krijgen.",
        "Vissers uit Urk vangen minder tong en schol. De regering moet in Brussel vragen om meer visserijkansen.",
        "Huisartsen zijn veel tijd kwijt aan formulieren. De motie wil administratieve lasten in zorgcontracten schrappen.",
        "Sommige ouders kunnen de schoolreis niet betalen. De motie vraagt een steunfonds voor kinderen in armoede.",
    ];

    fn without<'t>(texts: &[&'t str], row: usize) -> Vec<&'t str> {
        texts.iter().enumerate().filter(|(other, _)| *other != row).map(|(_, text)| *text).collect()
    }

    #[test]
    fn answers_that_changed_places_are_noticed() {
        for (row, item) in ITEMS.iter().enumerate() {
            let neighbours = without(&ITEMS, row);
            for (answer, text) in ANSWERS.iter().enumerate() {
                let about = About { item: Some(item), neighbours: &neighbours, ..About::NOTHING };
                let reason = Swapped.apply(text, &about).err().map(|rejection| rejection.reason);
                assert_eq!(reason, (row != answer).then_some("fits-another-row"), "row {row}, answer {answer}");
            }
        }
    }

    #[test]
    fn the_journal_is_enough_where_two_changed_places() {
        let swapped = [ANSWERS[1], ANSWERS[0], ANSWERS[2], ANSWERS[3]];
        for (row, item) in ITEMS.iter().enumerate() {
            let others = without(&swapped, row);
            let about = About { item: Some(item), others: &others, ..About::NOTHING };
            assert_eq!(Swapped.apply(swapped[row], &about).is_err(), row < 2, "row {row}");
        }
    }

    #[test]
    fn general_answers_are_kept() {
        for (row, item) in ITEMS.iter().enumerate() {
            let (neighbours, others) = (without(&ITEMS, row), without(&ANSWERS, row));
            for text in answers(DUTCH)
                .iter()
                .filter(|text| !["vis", "Urk", "bus", "formulier", "schoolreis"].iter().any(|word| text.contains(word)))
            {
                for about in [
                    About { item: Some(item), neighbours: &neighbours, ..About::NOTHING },
                    About { item: Some(item), others: &others, ..About::NOTHING },
                    About::NOTHING,
                ] {
                    let verdict = Swapped.apply(text, &about);
                    assert!(verdict.is_ok(), "{verdict:?}");
                }
            }
        }
    }
}
