//! Finds words and phrases of a list in a text, whole and whatever their case: at the word boundaries of
//! Unicode (UAX #29), so `foto` is not found in `foto's`. What is done about a find is for the steps.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use regex::{Regex, RegexBuilder};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc, is_nfc_quick};
use unicode_segmentation::UnicodeSegmentation;

/// A list to look for.
#[derive(Debug)]
pub(super) struct Phrases {
    /// Tells quickly that nothing can be found, as in nearly every answer. None: the list is too long for it.
    any: Option<Regex>,
    /// Whether a phrase has an accent, so that a text with accents of its own writing may still hold it.
    accented: bool,
    /// By their first word, the longest first.
    by_head: HashMap<String, Vec<Phrase>>,
}

#[derive(Debug)]
struct Phrase {
    /// What follows the first word: words, marks, and `" "` for white space.
    tail: Vec<String>,
    index: usize,
}

/// A place where phrase number `index` stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) index: usize,
    pub(super) range: Range<usize>,
}

impl Phrases {
    /// More phrases than this and every text is cut into words: the automaton would cost more than it saves.
    const MOST_FOR_REGEX: usize = 500;

    /// A phrase is named in the error as it was given.
    pub(super) fn new<'p>(phrases: impl IntoIterator<Item = &'p str>) -> Result<Self, String> {
        let mut by_head: HashMap<String, Vec<Phrase>> = HashMap::new();
        let mut given: HashMap<Vec<String>, &str> = HashMap::new();
        let mut patterns = Vec::new();
        let mut accented = false;
        for (index, phrase) in phrases.into_iter().enumerate() {
            let parts = parts(phrase.trim());
            if parts.is_empty() {
                return Err("an empty word is in the list".to_owned());
            }
            if let Some(other) = given.insert(parts.clone(), phrase) {
                return Err(format!("`{other}` and `{phrase}` are the same word but for their case"));
            }
            accented |= !phrase.is_ascii();
            patterns.push(parts.iter().map(|part| pattern(part)).collect::<String>());
            let mut parts = parts.into_iter();
            if let Some(head) = parts.next() {
                by_head.entry(head).or_default().push(Phrase { tail: parts.collect(), index });
            }
        }
        if by_head.is_empty() {
            return Err("the list is empty".to_owned());
        }
        for phrases in by_head.values_mut() {
            phrases.sort_by_key(|phrase| std::cmp::Reverse(phrase.tail.len()));
        }
        let any = (patterns.len() <= Self::MOST_FOR_REGEX)
            .then(|| RegexBuilder::new(&patterns.join("|")).case_insensitive(true).build().ok())
            .flatten();
        Ok(Self { any, accented, by_head })
    }

    /// Every find from left to right, none overlapping, the longest at each place.
    pub(super) fn find(&self, text: &str) -> Vec<Found> {
        if !self.is_possible(text) {
            return Vec::new();
        }
        let parts: Vec<(usize, &str)> = text.split_word_bound_indices().collect();
        let mut found = Vec::new();
        let mut at = 0;
        while let Some(&(start, head)) = parts.get(at) {
            let hit = self.by_head.get(fold(head).as_ref()).into_iter().flatten().find_map(|phrase| {
                let after = follow(&phrase.tail, &parts, at + 1)?;
                Some((phrase.index, after))
            });
            at = if let Some((index, after)) = hit {
                let end = parts.get(after).map_or(text.len(), |(start, _)| *start);
                found.push(Found { index, range: start..end });
                after
            } else {
                at + 1
            };
        }
        found
    }

    fn is_possible(&self, text: &str) -> bool {
        let composed = || !self.accented || text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes;
        self.any.as_ref().is_none_or(|any| any.is_match(text)) || !composed()
    }
}

/// Where in `parts` the tail of a phrase ends, if it stands at `at`.
fn follow(tail: &[String], parts: &[(usize, &str)], mut at: usize) -> Option<usize> {
    for wanted in tail {
        if wanted == " " {
            let blanks = parts[at..].iter().take_while(|(_, part)| is_blank(part)).count();
            if blanks == 0 {
                return None;
            }
            at += blanks;
        } else {
            let (_, part) = parts.get(at)?;
            if fold(part) != wanted.as_str() {
                return None;
            }
            at += 1;
        }
    }
    Some(at)
}

fn parts(phrase: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for part in phrase.split_word_bounds() {
        if !is_blank(part) {
            parts.push(fold(part).into_owned());
        } else if parts.last().is_some_and(|last| last != " ") {
            parts.push(" ".to_owned());
        }
    }
    parts
}

fn pattern(part: &str) -> Cow<'static, str> {
    if part == " " { r"\s+".into() } else { regex::escape(part).into() }
}

/// Lower case, with accents composed: how words are compared.
fn fold(part: &str) -> Cow<'_, str> {
    if part.is_ascii() {
        if part.bytes().any(|byte| byte.is_ascii_uppercase()) { part.to_ascii_lowercase().into() } else { part.into() }
    } else if is_nfc(part) {
        part.to_lowercase().into()
    } else {
        part.nfc().collect::<String>().to_lowercase().into()
    }
}

fn is_blank(part: &str) -> bool {
    part.chars().all(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn find(phrases: &[&str], text: &str) -> Vec<String> {
        let phrases = Phrases::new(phrases.iter().copied()).expect("compiles");
        phrases.find(text).into_iter().map(|found| text[found.range].to_owned()).collect()
    }

    #[test]
    fn whole_words_in_any_case_the_longest_first() {
        let table: &[(&[&str], &str, &[&str])] = &[
            (&["foto"], "Foto foto's fotograaf FOTO, foto.", &["Foto", "FOTO", "foto"]),
            (&["laag", "laag inkomen", "laag ink"], "Laag  inkomen, laag ink en laag inkt", &["Laag  inkomen", "laag ink", "laag"]),
            (&["laag inkomen"], "laag\u{a0}inkomen en laag\ninkomen", &["laag\u{a0}inkomen", "laag\ninkomen"]),
            (&["geïnd"], "gei\u{308}nd, GEÏND, geïnde", &["gei\u{308}nd", "GEÏND"]),
            (&["e.g."], "Iets, e.g. dit, en e.g.x", &["e.g."]),
            (&["en en"], "en en en en en", &["en en", "en en"]),
            (&["co2-uitstoot"], "CO2-uitstoot", &["CO2-uitstoot"]),
            (&["%"], "5 % en 6%", &["%", "%"]),
            (&["straße"], "STRASSE Straße", &["Straße"]),
        ];
        for (phrases, text, expected) in table {
            assert_eq!(&find(phrases, text), expected, "{phrases:?} in {text:?}");
        }
    }

    #[test]
    fn a_long_list_is_searched_without_the_regex() {
        let words: Vec<String> = (0..1_000).map(|n| format!("woord{n}")).collect();
        let phrases = Phrases::new(words.iter().map(String::as_str)).expect("compiles");
        assert!(phrases.any.is_none());
        assert_eq!(phrases.find("een Woord999 hier"), [Found { index: 999, range: 4..12 }]);
    }

    #[test]
    fn a_list_is_checked() {
        let error = |list: &[&str]| Phrases::new(list.iter().copied()).expect_err("refused");
        assert_eq!(error(&[]), "the list is empty");
        assert_eq!(error(&["a", " "]), "an empty word is in the list");
        assert_eq!(error(&["De", "de"]), "`De` and `de` are the same word but for their case");
    }

    proptest! {
        /// The regex in front must never hide what the search would find.
        #[test]
        fn the_shortcut_changes_nothing(text in "([aAéE\u{301}e ß.'\u{a0}]|éa|a e){0,12}", list in proptest::collection::hash_set("[aée]{1,2}( [aée])?", 1..4)) {
            let quick = Phrases::new(list.iter().map(String::as_str)).expect("compiles");
            let slow = Phrases { any: None, ..Phrases::new(list.iter().map(String::as_str)).expect("compiles") };
            prop_assert_eq!(quick.find(&text), slow.find(&text));
        }

        #[test]
        fn never_panics(text in any::<String>(), phrase in "\\PC{1,8}") {
            if let Ok(phrases) = Phrases::new([phrase.as_str()]) {
                for found in phrases.find(&text) {
                    prop_assert!(text.get(found.range).is_some());
                }
            }
        }
    }
}
