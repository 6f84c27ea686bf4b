//! `reject-unrelated`: a text about nothing. Under a strict schema a model has to fill in something for every row, also for
//! those that it forgot: words that would fit any of them, or fit none.

use std::borrow::Cow;

use promptmill_core::{About, Sees};
use schemars::JsonSchema;
use serde::Deserialize;

use super::excerpt::excerpt;
use super::reject_swapped::Stems;
use super::{Rejection, Step, StepConfig, StepContext};

/// Rejects answers that say nothing of their own row, for `unrelated`.
///
/// Compared are the long words, shortened to eight letters so that endings do not matter, and the numbers. A word tells
/// something of a row if its item has it, and no more than a fifth of the other items of the request do; or, as in an answer
/// from the journal, whose neighbours are not kept, of the other answers. An answer of eight such words and more of which
/// not one tells anything is about nothing. Requests of fewer than ten rows are too small to say what any row would have:
/// there an answer is rejected only if it has no word of its item at all. For answers in the language of the items: a
/// translation shares no words with what it translates.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RejectUnrelated {}

impl StepConfig for RejectUnrelated {
    const NAME: &'static str = "reject-unrelated";
    const EXAMPLE: &'static str = "";
    const SUMMARY: &'static str = "Rejects answers that say nothing of their own row.";
    const REASONS: &'static [&'static str] = &["unrelated"];
    const SEES: Sees = Sees::Request;

    fn compile(self, _: &StepContext) -> Result<Box<dyn Step>, String> {
        Ok(Box::new(Unrelated))
    }
}

/// Words of an answer from which on it should have said something.
const FEWEST_WORDS: usize = 8;
/// Other rows from which on they show what any row would have.
const FEWEST_OTHERS: usize = 9;
/// Of the other rows so many may have a word that tells something: one in five.
const ONE_IN: usize = 5;
/// An answer with so many words of its item is in its place: nothing else is looked at.
const IN_PLACE: usize = 12;

#[derive(Debug)]
struct Unrelated;

impl Step for Unrelated {
    fn apply<'t>(&self, text: &'t str, about: &About<'_>) -> Result<Cow<'t, str>, Rejection> {
        let Some(item) = about.item else { return Ok(Cow::Borrowed(text)) };
        let said = Stems::of(text);
        if said.len() < FEWEST_WORDS {
            return Ok(Cow::Borrowed(text));
        }
        let own = said.found_in(item, IN_PLACE);
        if own.count >= IN_PLACE {
            return Ok(Cow::Borrowed(text));
        }
        let tells_nothing = |others: &[&str]| {
            let found: Vec<_> = others.iter().map(|other| said.found_in(other, usize::MAX)).collect();
            let having = |stem: usize| found.iter().filter(|found| found.has[stem]).count();
            others.len() >= FEWEST_OTHERS && (0..said.len()).all(|stem| !own.has[stem] || having(stem) * ONE_IN > others.len())
        };
        if own.count == 0 || tells_nothing(about.neighbours) || tells_nothing(about.others) {
            let words = said.len();
            return Err(Rejection::new("unrelated", format!("none of its {words} words tells anything of the item: `{}`", excerpt(text))));
        }
        Ok(Cow::Borrowed(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENING: &str = "Motie over";
    const SUBJECTS: [&str; 10] = [
        "buslijnen in dorpen op het platteland, verzoekt de regering om reizigers een bereikbaarheidsgarantie te geven",
        "pulsvissers uit Urk, verzoekt de regering om visserijkansen voor tong en schol te bepleiten",
        "huisartsen, verzoekt de regering om administratieve lasten in zorgcontracten te schrappen",
        "schoolreizen, verzoekt de regering om een steunfonds voor kinderen in armoede",
        "wolven op de Veluwe, verzoekt de regering om schapenhouders rasters te vergoeden",
        "stikstofkaarten, verzoekt de regering om metingen van ammoniak te publiceren",
        "huurtoeslag, verzoekt de regering om jongeren onder de huurgrens mee te tellen",
        "tandartsen, verzoekt de regering om mondzorg voor volwassenen te vergoeden",
        "munitie, verzoekt de regering om bestellingen bij fabrieken te bundelen",
        "laadpalen, verzoekt de regering om netaansluitingen voor vrachtwagens te versnellen",
    ];
    const GENERAL: &str = "Deze motie verzoekt de regering om maatregelen, omdat de huidige situatie volgens de indieners beter moet. \
                           Zij vragen daarom om een plan van aanpak en verwachten binnenkort een uitgebreide rapportage.";

    fn reason(text: &str, row: usize, rows: usize, others: &[&str]) -> Option<&'static str> {
        let items: Vec<String> = SUBJECTS[..rows].iter().map(|subject| format!("{OPENING} {subject}.")).collect();
        let neighbours: Vec<&str> = items.iter().enumerate().filter(|(other, _)| *other != row).map(|(_, item)| item.as_str()).collect();
        let about = About { item: Some(&items[row]), neighbours: &neighbours, others, ..About::NOTHING };
        Unrelated.apply(text, &about).err().map(|rejection| rejection.reason)
    }

    #[test]
    fn what_would_fit_any_row_is_about_none() {
        for (row, subject) in SUBJECTS.iter().enumerate().take(10) {
            assert_eq!(reason(GENERAL, row, 10, &[]), Some("unrelated"), "{row}");
            let own = format!("{GENERAL} Het gaat over {}.", subject.split(',').next().expect("a subject"));
            assert_eq!(reason(&own, row, 10, &[]), None, "{row}");
        }
        assert_eq!(reason("De motie verzoekt de regering om maatregelen.", 0, 10, &[]), None, "too short to tell");
    }

    #[test]
    fn a_few_rows_do_not_show_what_any_row_would_have() {
        assert_eq!(reason(GENERAL, 0, 4, &[]), None, "it has `motie`, and nobody knows how much that says");
        let foreign = "Betere fietspaden zorgen volgens gemeenten ervoor dat schoolkinderen veiliger thuiskomen uit drukke stadswijken.";
        assert_eq!(reason(foreign, 0, 1, &[]), Some("unrelated"), "not a word of the item");
        assert_eq!(Unrelated.apply(foreign, &About::NOTHING).err().map(|rejection| rejection.reason), None, "nothing to compare with");
    }

    #[test]
    fn in_the_journal_the_other_answers_show_it() {
        let others: Vec<String> = (0..9).map(|other| format!("{GENERAL} Ten slotte: onderwerp {other}.")).collect();
        let others: Vec<&str> = others.iter().map(String::as_str).collect();
        assert_eq!(reason(GENERAL, 0, 1, &others), Some("unrelated"));
        let own = "De regering moet reizigers in dorpen garanderen dat buslijnen blijven bestaan, ook waar weinig mensen wonen.";
        assert_eq!(reason(own, 0, 1, &others), None);
    }
}
