//! `replace-words`: a word the model keeps getting wrong, put right. Fixed words only; patterns are
//! `remove_pattern`'s.

use std::borrow::Cow;
use std::collections::BTreeMap;

use promptmill_core::About;
use schemars::JsonSchema;
use serde::Deserialize;

use super::cut::{Seam, cut};
use super::phrases::Phrases;
use super::{Language, Rejection, Step, StepConfig, StepContext};

/// Replaces whole words and phrases, whatever their case: `filthy` is found in `Filthy air`, not in
/// `filthyrich`. Where two entries fit, the longer wins; what was put in is not looked at again.
///
/// The replacement takes over the case it finds: `Filthy` becomes `Vuile`, `FILTHY` becomes `VUILE`. A word
/// written exactly as in the table is replaced by exactly what stands there, so `WMO = "Wmo"` works.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplaceWords {
    /// What to replace, and by what: `{ lageinkomen = "laag inkomen" }`. The space in a phrase stands for any
    /// white space; an empty replacement takes the word out.
    words: BTreeMap<String, String>,
}

impl StepConfig for ReplaceWords {
    const NAME: &'static str = "replace-words";
    const EXAMPLE: &'static str = r#"words = { "filthy" = "vuile", "lageinkomen" = "laag inkomen" }"#;
    const SUMMARY: &'static str = "Replaces whole words and phrases, keeping their case.";

    fn compile(self, context: &StepContext) -> Result<Box<dyn Step>, String> {
        let phrases = Phrases::new(self.words.keys().map(String::as_str)).map_err(|error| format!("`words`: {error}"))?;
        let (from, to) = self.words.into_iter().unzip();
        Ok(Box::new(Replace { phrases, from, to, joined_ij: context.language == Some(Language::Nl) }))
    }
}

#[derive(Debug)]
struct Replace {
    phrases: Phrases,
    from: Vec<String>,
    to: Vec<String>,
    /// Whether `ij` is one letter with one capital, as in `IJsselmeer`.
    joined_ij: bool,
}

impl Step for Replace {
    fn apply<'t>(&self, text: &'t str, _: &About<'_>) -> Result<Cow<'t, str>, Rejection> {
        let found = self.phrases.find(text);
        if found.is_empty() {
            return Ok(Cow::Borrowed(text));
        }
        let mut out = String::with_capacity(text.len() + 16);
        let mut emptied = Vec::new();
        let mut copied = 0;
        for found in found {
            out.push_str(&text[copied..found.range.start]);
            let start = out.len();
            self.put(&text[found.range.clone()], found.index, &mut out);
            if out.len() == start {
                // Left in for `cut`, which closes the gap.
                out.push_str(&text[found.range.clone()]);
                emptied.push(start..out.len());
            }
            copied = found.range.end;
        }
        out.push_str(&text[copied..]);
        if !emptied.is_empty() {
            out = cut(&out, &emptied, Seam::Closed);
        }
        Ok(if out == text { Cow::Borrowed(text) } else { Cow::Owned(out) })
    }
}

impl Replace {
    fn put(&self, seen: &str, index: usize, out: &mut String) {
        let to = self.to[index].as_str();
        if seen == self.from[index] {
            out.push_str(to);
            return;
        }
        match case(seen, self.joined_ij) {
            Case::Upper => out.extend(to.chars().flat_map(char::to_uppercase)),
            Case::Capitalised => {
                let letters = first_letter(to, self.joined_ij);
                out.extend(to[..letters].chars().flat_map(char::to_uppercase));
                out.push_str(&to[letters..]);
            }
            Case::Other => out.push_str(to),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Case {
    Upper,
    Capitalised,
    Other,
}

fn case(seen: &str, joined_ij: bool) -> Case {
    let letters = || seen.chars().filter(|c| c.is_alphabetic());
    if !seen.starts_with(char::is_uppercase) {
        return Case::Other;
    }
    let first = first_letter(seen, joined_ij);
    if !letters().any(char::is_lowercase) && letters().map(char::len_utf8).sum::<usize>() > first {
        return Case::Upper;
    }
    Case::Capitalised
}

/// How many bytes the first letter takes; a Dutch `ij` is one letter.
fn first_letter(word: &str, joined_ij: bool) -> usize {
    let ij = joined_ij && word.get(..2).is_some_and(|start| matches!(start, "ij" | "IJ"));
    if ij { 2 } else { word.chars().next().map_or(0, char::len_utf8) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn step(words: &[(&str, &str)]) -> Result<Box<dyn Step>, String> {
        let words = words.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
        ReplaceWords { words }.compile(&StepContext { language: Some(Language::Nl) })
    }

    #[test]
    fn replaces_whole_words_and_keeps_their_case() {
        type Case = (&'static [(&'static str, &'static str)], &'static str, &'static str);
        let table: &[Case] = &[
            (&[("filthy", "vuile")], "filthy Filthy FILTHY filthyrich fILTHY", "vuile Vuile VUILE filthyrich vuile"),
            (&[("lageinkomen", "laag inkomen")], "Mensen met lageinkomen, lageinkomens.", "Mensen met laag inkomen, lageinkomens."),
            (&[("foto", "plaat")], "foto's, 'foto' en foto-album", "foto's, 'plaat' en plaat-album"),
            (&[("wmo", "Wmo")], "WMO Wmo wmo", "WMO Wmo Wmo"),
            (&[("WMO", "Wmo")], "WMO Wmo wmo", "Wmo Wmo Wmo"),
            (&[("De Kamer", "de Kamer")], "De Kamer DE KAMER", "de Kamer DE KAMER"),
            (&[("hard", "ijverig"), ("ijs", "koude")], "Hard werken, IJs en HARD IJS", "IJverig werken, Koude en IJVERIG KOUDE"),
            (&[("a", "één"), ("b", "twee")], "A b A. AB", "Één twee Één. AB"),
            (&[("in order to", "om"), ("in", "uit")], "In  order to winnen in de cup", "Om winnen uit de cup"),
            (&[("very", "")], "Dit is very, goed (very).", "Dit is, goed."),
            (&[("a", "b"), ("b", "a")], "a b", "b a"),
            (&[("ok", "ok")], "Ok ok", "Ok ok"),
            (&[("straat", "straße")], "STRAAT", "STRASSE"),
        ];
        for (words, text, expected) in table {
            let step = step(words).expect("compiles");
            assert_eq!(step.apply(text, &About::NOTHING).expect("kept"), *expected, "{words:?} in {text:?}");
        }
    }

    #[test]
    fn no_change_is_no_repair() {
        let step = step(&[("nederland", "Nederland")]).expect("compiles");
        assert!(matches!(step.apply("In Nederland", &About::NOTHING).expect("kept"), Cow::Borrowed(_)));
    }

    #[test]
    fn the_table_is_checked() {
        assert_eq!(step(&[]).expect_err("refused"), "`words`: the list is empty");
        assert_eq!(step(&[("", "x")]).expect_err("refused"), "`words`: an empty word is in the list");
        assert!(step(&[("De", "x"), ("de", "y")]).expect_err("refused").contains("`De` and `de` are the same word"));
    }

    proptest! {
        #[test]
        fn idempotent_when_nothing_put_in_is_looked_for(text in "[abcxyABé .,'\n]{0,40}") {
            let step = step(&[("a", "x"), ("ab b", "y é"), ("c", "")]).expect("compiles");
            let once = step.apply(&text, &About::NOTHING).expect("kept");
            prop_assert_eq!(step.apply(&once, &About::NOTHING).expect("kept"), once.as_ref());
        }
    }
}
