//! `reject-language`: answers that are in another language than they should be. "Cannot tell" is an outcome,
//! and keeps the answer: a wrong rejection costs a paid answer, a wrong language that slips through is rare.
//! Single foreign words are `reject_words`'s and other alphabets `drop_lines_in_other_scripts`'s business.
//!
//! Function words decide first, as they are in every sentence, are no names and tell close relatives apart:
//! *niet* and *een* are no Afrikaans, *nie* and *vir* no Dutch. Only the few texts they leave open are put to
//! whatlang, which goes by letter triples, is much dearer, and is easily led astray by names.

use std::borrow::Cow;
use std::sync::LazyLock;

use promptmill_core::About;
use schemars::JsonSchema;
use serde::Deserialize;
use unicode_script::UnicodeScript;
use whatlang::{Detector, Lang};

use super::excerpt::excerpt;
use super::words::{Lowered, WordMap, list, words};
use super::{Language, Rejection, Step, StepConfig, StepContext};

/// Rejects answers that are clearly in another language, for `wrong-language`. Answers that are short, mixed
/// or undecided are kept.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RejectLanguage {
    /// The language that answers are to be in, by its ISO 639-1 code. Left out: the stage's `language`.
    #[serde(default)]
    language: Option<Language>,
}

impl StepConfig for RejectLanguage {
    const NAME: &'static str = "reject-language";
    const EXAMPLE: &'static str = r#"language = "nl""#;
    const SUMMARY: &'static str = "Rejects answers that are clearly in another language.";
    const REASONS: &'static [&'static str] = &["wrong-language"];

    fn compile(self, context: &StepContext) -> Result<Box<dyn Step>, String> {
        let expected = self
            .language
            .or(context.language)
            .ok_or_else(|| "which language? Give the stage a `language`, or this step: `language = \"nl\"`".to_owned())?;
        Ok(Box::new(Expect { expected, detector: detector(expected) }))
    }
}

#[derive(Debug)]
struct Expect {
    expected: Language,
    detector: Detector,
}

impl Step for Expect {
    fn apply<'t>(&self, text: &'t str, _: &About<'_>) -> Result<Cow<'t, str>, Rejection> {
        match self.verdict(text) {
            Verdict::Expected | Verdict::CannotTell => Ok(Cow::Borrowed(text)),
            Verdict::Other(seen) => {
                let detail = format!("{seen}, not {}: `{}`", self.expected, excerpt(text));
                Err(Rejection::new("wrong-language", detail))
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Expected,
    CannotTell,
    /// Another language, by its name.
    Other(String),
}

/// What the expected language has to have for every word of another, and the other way round.
const CLEAR: usize = 2;
const VERY_CLEAR: usize = 3;
/// Words and letters that whatlang is not asked below: its certainty means little there.
const FEWEST_WORDS: usize = 8;
const FEWEST_LETTERS: usize = 40;
/// Letters of another alphabet that make a text a foreign one. A sentence in Chinese is no longer.
const FEWEST_OTHER_LETTERS: usize = 8;

impl Expect {
    fn verdict(&self, text: &str) -> Verdict {
        let evidence = Evidence::of(text, self.expected);
        if evidence.other_letters >= FEWEST_OTHER_LETTERS && evidence.other_letters > evidence.latin_letters {
            let script = text.chars().find(|c| is_other_letter(*c)).map_or("another", |c| c.script().full_name());
            return Verdict::Other(format!("{script} script"));
        }
        let Tally { words, .. } = *evidence.tally();
        let clearly_expected = |other: Language| {
            let (ours, theirs) = evidence.against(other);
            ours >= CLEAR && ours >= CLEAR * theirs
        };
        if self.others().all(clearly_expected) {
            return Verdict::Expected;
        }
        let best = self.others().max_by_key(|other| {
            let (ours, theirs) = evidence.against(*other);
            (theirs as isize - ours as isize, evidence.all(*other))
        });
        if let Some(other) = best {
            let (ours, theirs) = evidence.against(other);
            if theirs >= VERY_CLEAR && theirs >= VERY_CLEAR * ours && theirs * 8 >= words {
                return Verdict::Other(other.to_string());
            }
        }
        self.ask_whatlang(text, &evidence)
    }

    fn others(&self) -> impl Iterator<Item = Language> {
        Language::ALL.into_iter().filter(|language| *language != self.expected)
    }

    fn ask_whatlang(&self, text: &str, evidence: &Evidence) -> Verdict {
        let tally = evidence.tally();
        // Of 28,000 lines of real Dutch motions one in two thousand has fewer listed words than one in five.
        let sparse = tally.expected * 6 < tally.words;
        let outdone = |other| matches!(evidence.against(other), (ours, theirs) if theirs > ours);
        if tally.words < FEWEST_WORDS || !(sparse || self.others().any(outdone)) {
            return Verdict::CannotTell;
        }
        let mut sample = String::with_capacity(text.len());
        for word in words(text).filter(|word| evidence.names_count || !word.is_name) {
            sample.push_str(word.text);
            sample.push(' ');
        }
        if sample.chars().filter(|c| c.is_alphabetic()).count() < FEWEST_LETTERS {
            return Verdict::CannotTell;
        }
        let Some(info) = self.detector.detect(&sample).filter(|info| info.is_reliable()) else {
            return Verdict::CannotTell;
        };
        let seen = Language::ALL.into_iter().find(|language| whatlang(*language) == info.lang());
        match seen {
            Some(seen) if seen == self.expected => Verdict::Expected,
            // Letters alone do not overrule function words.
            Some(seen) if outdone(seen) => Verdict::Other(seen.to_string()),
            None if sparse => Verdict::Other(info.lang().eng_name().to_owned()),
            Some(_) | None => Verdict::CannotTell,
        }
    }
}

/// What the words of a text say.
#[derive(Debug)]
struct Evidence {
    ordinary: Tally,
    everything: Tally,
    /// Whether words with a capital count: in a text that is all capitals they are no names.
    names_count: bool,
    latin_letters: usize,
    other_letters: usize,
}

#[derive(Debug, Default)]
struct Tally {
    words: usize,
    /// Words in the list of the expected language.
    expected: usize,
    /// Of these, the ones that are in the list of another language as well.
    shared: [usize; Language::ALL.len()],
    /// Words that are in the list of another language and not in that of the expected one.
    foreign: [usize; Language::ALL.len()],
}

impl Evidence {
    fn of(text: &str, expected: Language) -> Self {
        let mut evidence =
            Self { ordinary: Tally::default(), everything: Tally::default(), names_count: false, latin_letters: 0, other_letters: 0 };
        let mut lowered = Lowered::new(text);
        let (mut names, mut acronyms) = (Tally::default(), 0);
        let frequent = &*FREQUENT;
        for word in words(text) {
            let other = if word.text.is_ascii() { 0 } else { word.text.chars().filter(|c| is_other_letter(*c)).count() };
            evidence.other_letters += other;
            evidence.latin_letters += if other == 0 { word.text.len() } else { 0 };
            if word.has_digit || other > 0 {
                continue;
            }
            let lists = if word.text.len() <= LONGEST { frequent.get(lowered.get(&word)).copied().unwrap_or_default() } else { 0 };
            acronyms += usize::from(word.is_acronym);
            let tally = if word.is_name { &mut names } else { &mut evidence.ordinary };
            tally.add(lists, expected);
        }
        evidence.everything = names.and(&evidence.ordinary);
        evidence.names_count = acronyms * 2 > evidence.everything.words;
        evidence
    }

    fn tally(&self) -> &Tally {
        if self.names_count { &self.everything } else { &self.ordinary }
    }

    /// The words that speak for the expected language and not for `other`, and the other way round.
    fn against(&self, other: Language) -> (usize, usize) {
        let tally = self.tally();
        (tally.expected - tally.shared[other as usize], tally.foreign[other as usize])
    }

    /// The words that are in the list of `other`, whatever other lists they are in.
    fn all(&self, other: Language) -> usize {
        self.tally().shared[other as usize] + self.tally().foreign[other as usize]
    }
}

impl Tally {
    fn add(&mut self, lists: Lists, expected: Language) {
        self.words += 1;
        let is_expected = lists & bit(expected) != 0;
        self.expected += usize::from(is_expected);
        let counts = if is_expected { &mut self.shared } else { &mut self.foreign };
        let mut rest = lists;
        while rest != 0 {
            counts[rest.trailing_zeros() as usize] += 1;
            rest &= rest - 1;
        }
    }

    /// Both together.
    fn and(mut self, other: &Self) -> Self {
        self.words += other.words;
        self.expected += other.expected;
        self.shared.iter_mut().zip(other.shared).for_each(|(sum, count)| *sum += count);
        self.foreign.iter_mut().zip(other.foreign).for_each(|(sum, count)| *sum += count);
        self
    }
}

fn is_other_letter(c: char) -> bool {
    // All letters below are Latin.
    c >= '\u{2b0}' && c.is_alphabetic() && c.script() != unicode_script::Script::Latin
}

/// The languages that a word is frequent in, a bit for each.
type Lists = u16;

fn bit(language: Language) -> Lists {
    1 << language as u32
}

/// No word in the lists is longer.
const LONGEST: usize = 14;

static FREQUENT: LazyLock<WordMap<Lists>> = LazyLock::new(|| {
    let mut lists = WordMap::default();
    for language in Language::ALL {
        for word in list(frequent_words(language)) {
            *lists.entry(word).or_default() |= bit(language);
        }
    }
    lists
});

fn frequent_words(language: Language) -> &'static str {
    match language {
        Language::Nl => include_str!("words/frequent-nl.txt"),
        Language::En => include_str!("words/frequent-en.txt"),
        Language::De => include_str!("words/frequent-de.txt"),
        Language::Fr => include_str!("words/frequent-fr.txt"),
        Language::Es => include_str!("words/frequent-es.txt"),
        Language::It => include_str!("words/frequent-it.txt"),
        Language::Pt => include_str!("words/frequent-pt.txt"),
        Language::Sv => include_str!("words/frequent-sv.txt"),
        Language::Da => include_str!("words/frequent-da.txt"),
        Language::No => include_str!("words/frequent-no.txt"),
        Language::Pl => include_str!("words/frequent-pl.txt"),
        Language::Af => include_str!("words/frequent-af.txt"),
    }
}

fn whatlang(language: Language) -> Lang {
    match language {
        Language::Nl => Lang::Nld,
        Language::En => Lang::Eng,
        Language::De => Lang::Deu,
        Language::Fr => Lang::Fra,
        Language::Es => Lang::Spa,
        Language::It => Lang::Ita,
        Language::Pt => Lang::Por,
        Language::Sv => Lang::Swe,
        Language::Da => Lang::Dan,
        Language::No => Lang::Nob,
        Language::Pl => Lang::Pol,
        Language::Af => Lang::Afr,
    }
}

/// whatlang, asked for nothing but languages that a model plausibly slips into and that it tells from the
/// expected one: what is nearly the same by letter triples, function words have to decide.
fn detector(expected: Language) -> Detector {
    const ALSO: [Lang; 8] = [Lang::Ces, Lang::Fin, Lang::Hrv, Lang::Hun, Lang::Ind, Lang::Ron, Lang::Tur, Lang::Vie];
    let left_out = |language: Language| match language {
        Language::Nl => expected == Language::Af,
        Language::Da => expected == Language::No,
        // Beside Dutch and Danish their rivalry would pass for doubt.
        Language::Af | Language::No => language != expected,
        _ => false,
    };
    let mut asked: Vec<Lang> = Language::ALL.into_iter().filter(|language| !left_out(*language)).map(whatlang).collect();
    asked.extend(ALSO);
    Detector::with_allowlist(asked)
}

#[cfg(test)]
mod tests {
    use super::super::samples::{DUTCH, ENGLISH, FAR_LANGUAGES, FRENCH, GERMAN, OTHER_LANGUAGES, SPANISH, answers};
    use super::*;
    use proptest::prelude::*;

    fn expect(expected: Language) -> Expect {
        Expect { expected, detector: detector(expected) }
    }

    const SAMPLES: [(Language, &[&str]); 5] =
        [(Language::Nl, DUTCH), (Language::En, ENGLISH), (Language::De, GERMAN), (Language::Fr, FRENCH), (Language::Es, SPANISH)];

    #[test]
    fn answers_in_the_expected_language_are_kept() {
        for (expected, sentences) in SAMPLES {
            let step = expect(expected);
            for text in answers(sentences).iter().map(String::as_str).chain(sentences.iter().copied()) {
                assert!(!matches!(step.verdict(text), Verdict::Other(_)), "{expected}: {text} {:?}", step.verdict(text));
            }
        }
        for (code, text) in OTHER_LANGUAGES {
            assert_eq!(expect(code.parse().expect("a known code")).verdict(text), Verdict::Expected, "{code}: {text}");
        }
    }

    #[test]
    fn answers_in_another_language_are_rejected() {
        for (expected, _) in SAMPLES {
            let step = expect(expected);
            let (mut missed, mut all) = (Vec::new(), 0);
            for (_, sentences) in SAMPLES.into_iter().filter(|(language, _)| *language != expected) {
                let answers = answers(sentences);
                all += answers.len();
                missed.extend(answers.into_iter().filter(|text| !matches!(step.verdict(text), Verdict::Other(_))));
            }
            assert!(missed.len() * 100 <= all, "{expected}: {} of {all}: {missed:#?}", missed.len());
        }
    }

    #[test]
    fn other_languages_are_recognised_where_dutch_is_expected() {
        let dutch = expect(Language::Nl);
        for (code, text) in OTHER_LANGUAGES {
            let language: Language = code.parse().expect("a known code");
            let verdict = dutch.verdict(text);
            // They differ by little, and which of them it is, is all the same here.
            let nordic = matches!(language, Language::Da | Language::No | Language::Sv);
            assert!(
                verdict == Verdict::Other(language.to_string()) || (nordic && matches!(verdict, Verdict::Other(_))),
                "{language}: {verdict:?}"
            );
        }
        for text in FAR_LANGUAGES {
            assert!(matches!(dutch.verdict(text), Verdict::Other(_)), "{:?} {text}", dutch.verdict(text));
        }
    }

    #[test]
    fn what_cannot_be_told_is_kept() {
        let texts = [
            "",
            "12-3",
            "The motion",
            "Dank u!",
            "Oké 👍",
            "Beckerman, Grinwis, Kostić, Van Kent, El Abassi, De Hoop, Bamenga, Teunissen, Eerdmans, Dassen, Piri, Ergin",
            "NAVO, EU, WHO, RIVM, GGD, NS, AIVD, COA, IND, UWV, SVB, DUO, CBS, CPB, SCP, PBL, KNMI, TNO, ACM, AFM",
            "De motie noemt “The Future of the North Sea and the Role of the Coastal States in a Changing World” als bron.",
            "Programma's: Horizon Europe, Creative Europe, Digital Europe, Next Generation EU, Fit for 55, Build Back Better.",
            "El Abassi wil dat De Nederlandsche Bank en La Poste met Le Monde, Los Angeles en Das Haus praten.",
            "Zonnepanelen, warmtepompen, laadpalen, windmolens, kerncentrales, batterijen, waterstof, aardwarmte en isolatie.",
            "Subsidie energiebesparing huishoudens middeninkomens verhoogd, aanvraagprocedure vereenvoudigd, uitbetaling versneld.",
        ];
        let dutch = expect(Language::Nl);
        for text in texts {
            assert!(!matches!(dutch.verdict(text), Verdict::Other(_)), "{:?} {text}", dutch.verdict(text));
        }
    }

    #[test]
    fn capitals_and_short_sentences_are_read_too() {
        let dutch = expect(Language::Nl);
        for text in [
            "THE MOTION ASKS THE GOVERNMENT TO SPEND MORE MONEY ON SCHOOLS.",
            "I'm sorry, but I can't help with that.",
            "Hier is de uitleg: The motion asks the government to spend more money on schools, so that they can help children.",
        ] {
            assert_eq!(dutch.verdict(text), Verdict::Other("English".to_owned()), "{text}");
        }
        assert_eq!(dutch.verdict("DE MOTIE VRAAGT MEER GELD VOOR DE SCHOLEN"), Verdict::Expected);
        assert_eq!(
            dutch.apply("The motion asks for more money.", &About::NOTHING).expect_err("rejected").to_string(),
            "wrong-language: English, not Dutch: `The motion asks for more money.`"
        );
    }

    #[test]
    fn a_language_is_needed() {
        let compile = |language, stage| RejectLanguage { language }.compile(&StepContext { language: stage }).map(drop);
        assert!(compile(None, None).expect_err("refused").starts_with("which language?"));
        assert_eq!(compile(None, Some(Language::Nl)), Ok(()));
        assert_eq!(compile(Some(Language::En), None), Ok(()));
        let unknown = serde_json::from_str::<RejectLanguage>(r#"{"language":"xx"}"#).expect_err("refused").to_string();
        assert!(unknown.contains("unknown language `xx`"), "{unknown}");
    }

    #[test]
    fn the_lists_are_lower_case_and_short_enough() {
        for language in Language::ALL {
            let mut seen = std::collections::HashSet::new();
            for word in list(frequent_words(language)) {
                assert!(word.len() <= LONGEST && word == word.to_lowercase(), "{language}: {word}");
                assert!(word.chars().all(char::is_alphabetic), "{language}: {word}");
                assert!(seen.insert(word), "{language}: {word} twice");
            }
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in prop_oneof![any::<String>(), "[A-Za-zéëı'.и的 ]{0,300}"], language in 0..Language::ALL.len()) {
            let step = expect(Language::ALL[language]);
            let _ = step.apply(&text, &About::NOTHING);
            // Past the function words, too.
            let _ = step.detector.detect(&text);
        }
    }
}
