//! `reject-words`: answers with too many words of a list, such as English ones in a Dutch text. Whether a
//! text as a whole is in another language is `reject_language`'s.

use std::borrow::Cow;

use promptmill_core::About;
use schemars::JsonSchema;
use serde::Deserialize;

use super::phrases::Phrases;
use super::words::{Lowered, WordMap, list, words};
use super::{Rejection, Step, StepConfig, StepContext};

/// Rejects answers in which the words of a list occur too often, every occurrence counted: for `english-words`,
/// `dutch-words` and so on with a built-in list, for `banned-words` with words of your own.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RejectWords {
    /// A built-in list: some 300 to 420 frequent words of a language that are no words of the other four as well.
    /// Acronyms (`WHO`) and parts of compounds (`check-in`) are not counted. Give this or `words`.
    #[serde(default)]
    list: Option<WordList>,
    /// Words and phrases of your own: whole words, whatever their case. Give this or `list`.
    #[serde(default)]
    words: Option<Vec<String>>,
    /// How many occurrences are still accepted. Left out: 10 with `list`, none at all with `words`.
    #[serde(default)]
    more_than: Option<usize>,
}

/// A list of words that comes with promptmill.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[schemars(inline)]
enum WordList {
    #[serde(rename = "english-common")]
    English,
    #[serde(rename = "dutch-common")]
    Dutch,
    #[serde(rename = "german-common")]
    German,
    #[serde(rename = "french-common")]
    French,
    #[serde(rename = "spanish-common")]
    Spanish,
}

impl WordList {
    /// The words, and what an answer with too many of them is rejected for.
    const fn contents(self) -> (&'static str, &'static str) {
        match self {
            Self::English => (include_str!("words/english-common.txt"), "english-words"),
            Self::Dutch => (include_str!("words/dutch-common.txt"), "dutch-words"),
            Self::German => (include_str!("words/german-common.txt"), "german-words"),
            Self::French => (include_str!("words/french-common.txt"), "french-words"),
            Self::Spanish => (include_str!("words/spanish-common.txt"), "spanish-words"),
        }
    }
}

impl StepConfig for RejectWords {
    const NAME: &'static str = "reject-words";
    const EXAMPLE: &'static str = r#"list = "english-common", more_than = 10"#;
    const SUMMARY: &'static str = "Rejects answers that have too many words of a list.";

    const REASONS: &'static [&'static str] =
        &["english-words", "dutch-words", "german-words", "french-words", "spanish-words", "banned-words"];

    fn compile(self, _: &StepContext) -> Result<Box<dyn Step>, String> {
        match (self.list, self.words) {
            (Some(name), None) => {
                let (file, reason) = name.contents();
                let words = list(file).map(|word| (word, ())).collect();
                Ok(Box::new(ListedWords { words, reason, more_than: self.more_than.unwrap_or(10) }))
            }
            (None, Some(words)) => Ok(Box::new(BannedWords {
                phrases: Phrases::new(words.iter().map(String::as_str)).map_err(|error| format!("`words`: {error}"))?,
                more_than: self.more_than.unwrap_or(0),
            })),
            (None, None) => Err("give a `list` (`english-common`, `dutch-common`, …) or `words` of your own".to_owned()),
            (Some(_), Some(_)) => Err("give `list` or `words`, not both; two steps can check two lists".to_owned()),
        }
    }
}

#[derive(Debug)]
struct ListedWords {
    words: WordMap<()>,
    reason: &'static str,
    more_than: usize,
}

impl Step for ListedWords {
    fn apply<'t>(&self, text: &'t str, _: &About<'_>) -> Result<Cow<'t, str>, Rejection> {
        let mut lowered = Lowered::new(text);
        let found = words(text)
            // `WHO` and `check-in` are at home in a Dutch text.
            .filter(|word| !word.is_acronym && !word.in_compound && word.text.len() <= LONGEST)
            .filter(|word| self.words.contains_key(lowered.get(word)))
            .map(|word| word.text);
        check(found, self.reason, self.more_than).map(|()| Cow::Borrowed(text))
    }
}

/// No listed word is longer, which saves looking up the long words that Dutch has many of.
const LONGEST: usize = 14;

#[derive(Debug)]
struct BannedWords {
    phrases: Phrases,
    more_than: usize,
}

impl Step for BannedWords {
    fn apply<'t>(&self, text: &'t str, _: &About<'_>) -> Result<Cow<'t, str>, Rejection> {
        let found = self.phrases.find(text);
        check(found.into_iter().map(|found| &text[found.range]), "banned-words", self.more_than).map(|()| Cow::Borrowed(text))
    }
}

fn check<'t>(found: impl Iterator<Item = &'t str>, reason: &'static str, more_than: usize) -> Result<(), Rejection> {
    const SHOWN: usize = 8;
    let mut first: Vec<&str> = Vec::new();
    let mut count = 0;
    for word in found {
        count += 1;
        if first.len() < SHOWN && !first.contains(&word) {
            first.push(word);
        }
    }
    if count <= more_than {
        return Ok(());
    }
    Err(Rejection::new(reason, format!("{count}, more than {more_than}: {}", first.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::super::samples::{DUTCH, ENGLISH, FRENCH, GERMAN, SPANISH, answers};
    use super::*;

    fn step(list: Option<WordList>, words: Option<&[&str]>, more_than: Option<usize>) -> Result<Box<dyn Step>, String> {
        let words = words.map(|words| words.iter().map(|word| (*word).to_owned()).collect());
        RejectWords { list, words, more_than }.compile(&StepContext::default())
    }

    fn reason(step: &dyn Step, text: &str) -> Option<String> {
        step.apply(text, &About::NOTHING).err().map(|rejection| rejection.to_string())
    }

    #[test]
    fn english_words_are_counted() {
        let english = |more_than| step(Some(WordList::English), None, more_than).expect("compiles");
        let text = "The motion asks the government to do more for people with the lowest incomes, and soon.";
        assert_eq!(
            reason(english(None).as_ref(), text).expect("rejected"),
            "english-words: 13, more than 10: The, asks, the, government, to, do, more, for"
        );
        assert_eq!(reason(english(Some(13)).as_ref(), text), None);
        let dutch = "De WHO wil in New York een check-in, to-do en start-up: “Build Back Better” en Housing First.";
        assert_eq!(reason(english(Some(6)).as_ref(), dutch), None);
    }

    #[test]
    fn own_words_are_banned() {
        type Case = (&'static [&'static str], Option<usize>, &'static str, Option<&'static str>);
        let table: &[Case] = &[
            (&["als AI"], None, "Als AI kan ik dit niet", Some("banned-words: 1, more than 0: Als AI")),
            (&["als AI"], None, "Als AI’er kan ik dit wel", None),
            (&["ja", "nee"], Some(1), "Ja, ja", Some("banned-words: 2, more than 1: Ja, ja")),
            (&["ja", "nee"], Some(2), "Ja, nee", None),
        ];
        for (words, more_than, text, expected) in table {
            let step = step(None, Some(words), *more_than).expect("compiles");
            assert_eq!(reason(step.as_ref(), text).as_deref(), *expected, "{text:?}");
        }
    }

    #[test]
    fn one_kind_of_list_is_needed() {
        assert!(step(None, None, None).expect_err("refused").starts_with("give a `list`"));
        assert!(step(Some(WordList::English), Some(&["x"]), None).expect_err("refused").contains("not both"));
        assert_eq!(step(None, Some(&[]), None).expect_err("refused"), "`words`: the list is empty");
    }

    #[test]
    fn each_language_has_its_words() {
        let table = [
            (WordList::Dutch, DUTCH, "dutch-words"),
            (WordList::English, ENGLISH, "english-words"),
            (WordList::German, GERMAN, "german-words"),
            (WordList::French, FRENCH, "french-words"),
            (WordList::Spanish, SPANISH, "spanish-words"),
        ];
        for (list, own, name) in table {
            let step = step(Some(list), None, Some(4)).expect("compiles");
            for (_, sentences, _) in table {
                let texts = answers(sentences);
                let rejected = texts.iter().filter(|text| reason(step.as_ref(), text).is_some()).count();
                let share = rejected as f64 / texts.len() as f64;
                assert!(if sentences == own { share > 0.9 } else { share == 0.0 }, "{name}: {share} of {:?}", texts[0]);
            }
        }
    }

    #[test]
    fn the_lists_are_lower_case_and_apart() {
        let lists = [WordList::English, WordList::Dutch, WordList::German, WordList::French, WordList::Spanish];
        let mut seen = std::collections::HashMap::new();
        for (file, reason) in lists.map(WordList::contents) {
            assert!(list(file).count() >= 280, "{reason}");
            for word in list(file) {
                assert!(word.len() <= LONGEST && word == word.to_lowercase() && word.chars().all(char::is_alphabetic), "{reason}: {word}");
                assert_eq!(seen.insert(word, reason), None, "{reason}: {word} is in another list, or twice in this one");
            }
        }
    }
}
