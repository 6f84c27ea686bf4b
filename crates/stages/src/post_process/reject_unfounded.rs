//! `reject-unfounded`: figures and names that come out of nowhere. Neither proves an invention, and both are what
//! inventions are full of: `on_reject = "keep"` marks the rows instead of asking again.

use std::borrow::Cow;
use std::collections::HashSet;

use promptmill_core::{About, Sees};
use schemars::JsonSchema;
use serde::Deserialize;

use super::words::words;
use super::{Language, Rejection, Step, StepConfig, StepContext};

/// Rejects answers with numbers (`unfounded-number`) or names (`unfounded-name`) that the row's item does not have.
///
/// `1.000`, `1 000` and `1000` are the same number, and so are `50.000.000` and the `50` of `50 miljoen`; numbers up to
/// twelve are often counted or spelled out, and pass. A name is a word with a capital inside a sentence; it is there if
/// the item has it or its stem (`Nederlandse` for `Nederland`), whatever the case. Acronyms pass, as they may be made
/// from what they stand for. In German, where every noun has a capital, names are not looked at.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RejectUnfounded {
    /// Whether numbers are looked at.
    #[serde(default = "yes")]
    numbers: bool,
    /// Whether names are looked at.
    #[serde(default = "yes")]
    names: bool,
    /// Names that every answer may have.
    #[serde(default)]
    known: Vec<String>,
    /// How many of both are still accepted.
    #[serde(default)]
    more_than: usize,
}

fn yes() -> bool {
    true
}

impl StepConfig for RejectUnfounded {
    const NAME: &'static str = "reject-unfounded";
    const EXAMPLE: &'static str = r#"known = ["Tweede Kamer", "Nederland"]"#;
    const SUMMARY: &'static str = "Rejects answers with numbers or names that are not in the row's item.";
    const REASONS: &'static [&'static str] = &["unfounded-number", "unfounded-name"];
    const SEES: Sees = Sees::Item;

    fn compile(self, context: &StepContext) -> Result<Box<dyn Step>, String> {
        let names = self.names && context.language != Some(Language::De);
        if !self.numbers && !names {
            return Err("`numbers` and `names` are both off (names always are in German), so nothing is looked at".to_owned());
        }
        let known = self.known.join(" ").to_lowercase();
        Ok(Box::new(Founded { numbers: self.numbers, names, known, more_than: self.more_than }))
    }
}

#[derive(Debug)]
struct Founded {
    numbers: bool,
    names: bool,
    /// In lower case, as one text to search.
    known: String,
    more_than: usize,
}

/// More than this many names are not looked up: each is a search of the item.
const MOST_NAMES: usize = 64;
/// Names as short as this are words of another kind too often.
const SHORTEST_NAME: usize = 4;
/// Numbers up to this one are counted or spelled out.
const SMALL: u64 = 12;

impl Step for Founded {
    fn apply<'t>(&self, text: &'t str, about: &About<'_>) -> Result<Cow<'t, str>, Rejection> {
        let Some(item) = about.item else { return Ok(Cow::Borrowed(text)) };
        let unfounded_numbers = if self.numbers { unfounded_numbers(text, item) } else { Vec::new() };
        let unfounded_names = if self.names { self.unfounded_names(text, item) } else { Vec::new() };
        if unfounded_numbers.len() + unfounded_names.len() <= self.more_than {
            return Ok(Cow::Borrowed(text));
        }
        let reason = if unfounded_numbers.is_empty() { "unfounded-name" } else { "unfounded-number" };
        let seen: Vec<String> = unfounded_numbers.iter().chain(&unfounded_names).take(8).map(|seen| format!("`{seen}`")).collect();
        Err(Rejection::new(reason, format!("not in the item: {}", seen.join(", "))))
    }
}

fn unfounded_numbers<'t>(text: &'t str, item: &str) -> Vec<&'t str> {
    let said: Vec<(&str, String)> =
        numbers(text).filter(|(_, digits)| digits.parse::<u64>().map_or(true, |number| number > SMALL)).collect();
    if said.is_empty() {
        return Vec::new();
    }
    let founded: HashSet<String> = numbers(item).map(|(_, digits)| magnitude(&digits).to_owned()).collect();
    let is_founded = |digits: &str| {
        let digits = magnitude(digits);
        // `'24` for `2024`.
        founded.contains(digits) || (digits.len() == 2 && founded.iter().any(|number| number.len() == 4 && number.ends_with(digits)))
    };
    said.into_iter().filter(|(_, digits)| !is_founded(digits)).map(|(number, _)| number).collect()
}

/// The numbers of a text, and their digits alone: separators of thousands and decimals are left out.
fn numbers(text: &str) -> impl Iterator<Item = (&str, String)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + text[at..].find(|c: char| c.is_ascii_digit())?;
        let bytes = text.as_bytes();
        let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
        let mut end = start;
        let mut digits = String::new();
        loop {
            while digit(end) {
                digits.push(char::from(bytes[end]));
                end += 1;
            }
            let joined = match bytes.get(end) {
                Some(b'.' | b',') if digit(end + 1) => 1,
                // A space joins threes only: `in 2024 150 huizen` are two numbers.
                Some(b' ') if (1..=3).all(|next| digit(end + next)) && !digit(end + 4) && digits.len() <= 3 => 1,
                Some(0xc2) if bytes.get(end + 1) == Some(&0xa0) && digit(end + 2) => 2,
                _ => break,
            };
            end += joined;
        }
        at = end;
        Some((&text[start..end], digits))
    })
}

/// Digits without the noughts around them, so that `50` and `50.000.000` compare equal.
fn magnitude(digits: &str) -> &str {
    let digits = digits.trim_start_matches('0');
    let bare = digits.trim_end_matches('0');
    if digits.len() - bare.len() >= 3 { &digits[..bare.len() + (digits.len() - bare.len()) % 3] } else { digits }
}

impl Founded {
    fn unfounded_names<'t>(&self, text: &'t str, item: &str) -> Vec<&'t str> {
        let mut lowered: Option<String> = None;
        let mut unfounded = Vec::new();
        let names = words(text).filter(|word| word.is_name && !word.is_acronym && !word.has_digit);
        for name in names.filter(|name| name.text.chars().count() >= SHORTEST_NAME).take(MOST_NAMES) {
            let item = lowered.get_or_insert_with(|| item.to_lowercase());
            let low = name.text.to_lowercase();
            let length = low.chars().count();
            let stem = low
                .char_indices()
                .nth(length.saturating_sub(3).max(SHORTEST_NAME).min(length))
                .map_or(low.as_str(), |(end, _)| &low[..end]);
            if !item.contains(stem) && !self.known.contains(stem) && !unfounded.contains(&name.text) {
                unfounded.push(name.text);
            }
        }
        unfounded
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ITEM: &str = "Motie van Beckerman: in 2024 zijn 1.250 huizen in Groningen beschadigd; Nederland trekt 50 miljoen euro uit, \
                        dat is 3,5 procent van de begroting van de Rijksdienst voor Ondernemend Nederland.";

    fn seen(text: &str) -> Option<String> {
        let config = RejectUnfounded { numbers: true, names: true, known: vec!["Tweede Kamer".to_owned()], more_than: 0 };
        let step = config.compile(&StepContext::default()).expect("compiles");
        step.apply(text, &About { item: Some(ITEM), ..About::NOTHING }).err().map(|rejection| rejection.to_string())
    }

    #[test]
    fn what_the_item_has_is_founded() {
        for text in [
            "In Groningen zijn 1250 huizen beschadigd, zegt Beckerman.",
            "Het kost 50.000.000 euro, of 3,5 procent, sinds '24.",
            "De Nederlandse Tweede Kamer wil in 2024 twee of 3 dingen van de EU.",
            "In de Groningse dorpen zijn 1 250 huizen stuk.",
            "Zomaar Een zin zonder niets.",
        ] {
            assert_eq!(seen(text).filter(|_| !text.starts_with("Zomaar")), None, "{text}");
        }
    }

    #[test]
    fn what_it_does_not_have_is_seen() {
        assert_eq!(seen("Het kost 75 miljoen euro.").as_deref(), Some("unfounded-number: not in the item: `75`"));
        assert_eq!(seen("Dat vindt ook mevrouw Janssen.").as_deref(), Some("unfounded-name: not in the item: `Janssen`"));
        assert_eq!(seen("In 2031 gaat Utrecht voor.").as_deref(), Some("unfounded-number: not in the item: `2031`, `Utrecht`"));
    }

    #[test]
    fn without_an_item_nothing_is_judged() {
        let config = RejectUnfounded { numbers: true, names: true, known: Vec::new(), more_than: 0 };
        let step = config.clone().compile(&StepContext::default()).expect("compiles");
        assert!(step.apply("In 2031 wint Janssen 75 miljoen.", &About::NOTHING).is_ok());
        let off = RejectUnfounded { numbers: false, ..config };
        assert!(off.compile(&StepContext { language: Some(Language::De) }).expect_err("refused").contains("nothing is looked at"));
    }

    #[test]
    fn numbers_are_read_as_written() {
        let read = |text| numbers(text).map(|(_, digits)| digits).collect::<Vec<_>>();
        assert_eq!(read("1.000,50 en 12 000, in 2024 150 huizen. Artikel 5."), ["100050", "12000", "2024", "150", "5"]);
        assert_eq!((magnitude("50000000"), magnitude("50"), magnitude("1250"), magnitude("0")), ("50", "50", "1250", ""));
    }

    proptest! {
        #[test]
        fn never_panics_and_a_text_founds_itself(text in prop_oneof![any::<String>(), "[0-9., \u{a0}A-Za-zé]{0,60}"]) {
            let step = Founded { numbers: true, names: true, known: String::new(), more_than: 0 };
            let verdict = step.apply(&text, &About { item: Some(&text), ..About::NOTHING });
            prop_assert!(verdict.is_ok(), "{:?}", verdict);
        }
    }
}
