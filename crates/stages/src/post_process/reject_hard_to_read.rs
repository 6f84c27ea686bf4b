//! `reject-hard-to-read`: a score for plain language, from the length of words and sentences. It sees how a text is
//! built and not whether it is clear.

use std::borrow::Cow;

use promptmill_core::About;
use schemars::JsonSchema;
use serde::Deserialize;

use super::excerpt::excerpt;
use super::sentences::sentences;
use super::words::words;
use super::{Language, Rejection, Step, StepConfig, StepContext};

/// Rejects answers whose reading ease is below a score, for `hard-to-read`. 100 is very easy, 60 is plain language, 30 is
/// hard, and below 0 is possible. Texts of fewer than twenty words are not judged.
///
/// With s words a sentence and l syllables a word: for Dutch 206.84 - 0.93 s - 77 l (W.H. Douma, De leesbaarheid van
/// landbouwbladen, 1960), for German 180 - s - 58.5 l (T. Amstad, Wie verständlich sind unsere Zeitungen?, 1978), else
/// 206.835 - 1.015 s - 84.6 l (R. Flesch, A new readability yardstick, 1948), which is made for English. Syllables
/// are counted by their vowels.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RejectHardToRead {
    /// The lowest score that is accepted.
    min_score: f64,
}

impl StepConfig for RejectHardToRead {
    const NAME: &'static str = "reject-hard-to-read";
    const EXAMPLE: &'static str = "min_score = 40";
    const SUMMARY: &'static str = "Rejects answers with long words and sentences, by the Flesch reading ease.";
    const REASONS: &'static [&'static str] = &["hard-to-read"];

    fn compile(self, context: &StepContext) -> Result<Box<dyn Step>, String> {
        let language =
            context.language.ok_or_else(|| "the score goes by the language: give the stage a `language`, such as \"nl\"".to_owned())?;
        if !(-200.0..=121.0).contains(&self.min_score) {
            return Err(format!("`min_score` ({}) is out of reach: scores go from 0, very hard, to 100, very easy", self.min_score));
        }
        Ok(Box::new(Ease { language, min_score: self.min_score }))
    }
}

const FEWEST_WORDS: usize = 20;

#[derive(Debug)]
struct Ease {
    language: Language,
    min_score: f64,
}

impl Step for Ease {
    fn apply<'t>(&self, text: &'t str, _: &About<'_>) -> Result<Cow<'t, str>, Rejection> {
        match self.score(text) {
            Some(score) if score < self.min_score => {
                let detail = format!("reading ease {score:.0}, lower than {}: `{}`", self.min_score, excerpt(text));
                Err(Rejection::new("hard-to-read", detail))
            }
            _ => Ok(Cow::Borrowed(text)),
        }
    }
}

impl Ease {
    /// None: too short to tell.
    fn score(&self, text: &str) -> Option<f64> {
        let (mut count, mut syllables) = (0_usize, 0);
        // Figures are read in many ways, and acronyms letter by letter.
        for word in words(text).filter(|word| !word.has_digit && !word.is_acronym) {
            count += 1;
            syllables += self.syllables(word.text);
        }
        if count < FEWEST_WORDS {
            return None;
        }
        let spoken = sentences(text).filter(|range| text[range.clone()].contains(char::is_alphabetic)).count();
        let (per_sentence, per_word) = (count as f64 / spoken.max(1) as f64, syllables as f64 / count as f64);
        Some(match self.language {
            Language::Nl | Language::Af => 206.84 - 0.93 * per_sentence - 77.0 * per_word,
            Language::De => 180.0 - per_sentence - 58.5 * per_word,
            _ => 206.835 - 1.015 * per_sentence - 84.6 * per_word,
        })
    }

    /// Groups of vowels, one at the least. A vowel with a diaeresis begins a group of its own.
    fn syllables(&self, word: &str) -> usize {
        let (mut groups, mut in_group) = (0, false);
        for c in word.chars().flat_map(char::to_lowercase) {
            let apart = matches!(c, 'ë' | 'ï' | 'ö' | 'ü') && self.language == Language::Nl;
            let vowel = apart || is_vowel(c);
            groups += usize::from(vowel && (apart || !in_group));
            in_group = vowel;
        }
        // `like` has one and `table` two.
        let silent = self.language == Language::En && word.ends_with('e') && !word.ends_with("le") && groups > 1;
        (groups - usize::from(silent)).max(1)
    }
}

fn is_vowel(c: char) -> bool {
    matches!(c, 'a' | 'e' | 'i' | 'o' | 'u' | 'y' | 'à'..='æ' | 'è'..='ï' | 'ò'..='ö' | 'ø'..='ý' | 'ÿ' | 'œ' | 'ą' | 'ę')
}

#[cfg(test)]
mod tests {
    use super::super::samples::{DUTCH, answers};
    use super::*;
    use proptest::prelude::*;

    fn ease(language: Language) -> Ease {
        Ease { language, min_score: 0.0 }
    }

    #[test]
    fn syllables_are_counted() {
        for (language, word, expected) in [
            (Language::Nl, "motie", 2),
            (Language::Nl, "geïnd", 2),
            (Language::Nl, "bereikbaarheid", 4),
            (Language::Nl, "ijs", 1),
            (Language::Nl, "brr", 1),
            (Language::En, "like", 1),
            (Language::En, "table", 2),
            (Language::En, "the", 1),
            (Language::De, "Straße", 2),
        ] {
            assert_eq!(ease(language).syllables(word), expected, "{word}");
        }
    }

    #[test]
    fn plain_sentences_are_easier_than_the_language_of_motions() {
        let plain =
            "De bus rijdt niet meer in ons dorp. Dat is niet goed. De motie wil dat de bus weer gaat rijden, elke dag. Dat kost geld.";
        let formal = "Constaterende dat de bereikbaarheidsproblematiek van plattelandsgemeenten onvoldoende beleidsmatige aandacht krijgt, \
                      overwegende dat vervoersconcessies gemeentegrensoverschrijdend georganiseerd behoren te worden, verzoekt de regering.";
        let score = |text| ease(Language::Nl).score(text).expect("long enough");
        // Counted by hand: 26 words in 4 sentences, 29 syllables. 206.84 - 0.93 * 26 / 4 - 77 * 29 / 26.
        assert!((score(plain) - 114.91).abs() < 0.01, "{}", score(plain));
        assert!(score(formal) < -30.0, "{}", score(formal));
        let rejection = Ease { language: Language::Nl, min_score: 40.0 }.apply(formal, &About::NOTHING).expect_err("rejected");
        assert!(rejection.to_string().starts_with("hard-to-read: reading ease -"), "{rejection}");
    }

    #[test]
    fn short_texts_are_not_judged_and_usual_answers_pass() {
        assert_eq!(ease(Language::Nl).score("Bereikbaarheidsproblematiek in plattelandsgemeenten."), None);
        let scores: Vec<f64> = answers(DUTCH).iter().filter_map(|text| ease(Language::Nl).score(text)).collect();
        let low = scores.iter().filter(|score| **score < 20.0).count();
        assert!(low * 20 < scores.len(), "{low} of {}: {scores:?}", scores.len());
    }

    #[test]
    fn a_language_is_needed() {
        let compile = |min_score, language| RejectHardToRead { min_score }.compile(&StepContext { language }).map(drop);
        assert!(compile(40.0, None).expect_err("refused").contains("give the stage a `language`"));
        assert!(compile(400.0, Some(Language::Nl)).expect_err("refused").contains("out of reach"));
        assert_eq!(compile(40.0, Some(Language::Nl)), Ok(()));
    }

    proptest! {
        #[test]
        fn a_score_is_a_number(text in prop_oneof![any::<String>(), "([a-zé]{1,9}[ .]){0,60}"]) {
            for language in Language::ALL {
                prop_assert!(ease(language).score(&text).is_none_or(f64::is_finite));
            }
        }
    }
}
