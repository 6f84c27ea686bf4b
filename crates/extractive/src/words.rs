//! The words of a text: which of them carry its meaning, and how often each occurs.
//!
//! Words are compared by the hash of their first bytes, in lower case. That folds most of Dutch and English
//! inflection (`onderzoek`, `onderzoeken`) without a stemmer and without allocating.

use std::collections::HashMap;
use std::sync::LazyLock;

/// The bytes of a word that are compared.
const STEM: usize = 7;

/// The words of `text`, in order: runs of letters and digits, so that a hyphen separates.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < bytes.len() && !is_word(bytes, at) {
            at += width(bytes[at]);
        }
        let start = at;
        while at < bytes.len() && is_word(bytes, at) {
            at += width(bytes[at]);
        }
        (start < at).then(|| &text[start..at])
    })
}

/// Whether a character that starts at `at` belongs to a word. Beyond ASCII everything does but Latin-1's
/// signs (`«`, `·`), general punctuation (`–`, `’`, `€`) and the ideographic one.
fn is_word(bytes: &[u8], at: usize) -> bool {
    match bytes[at] {
        byte if byte < 0x80 => byte.is_ascii_alphanumeric(),
        0xC2 | 0xE2 => false,
        0xE3 => bytes.get(at + 1) != Some(&0x80),
        _ => true,
    }
}

/// The bytes of the UTF-8 character that starts with `byte`.
fn width(byte: u8) -> usize {
    match byte {
        0..0xC0 => 1,
        0xC0..0xE0 => 2,
        0xE0..0xF0 => 3,
        _ => 4,
    }
}

/// What a word is compared by: the FNV-1a hash of its first bytes in lower case.
fn stem(word: &str) -> u32 {
    word.bytes().take(STEM).fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0193))
}

/// The stems of the words of `text` that carry meaning.
pub(super) fn stems(text: &str) -> impl Iterator<Item = u32> {
    words(text).filter(|word| word.len() > 2).map(stem).filter(|stem| !STOP_WORDS.contains(*stem))
}

/// A set of stems.
#[derive(Debug, Default)]
pub(super) struct Stems(Vec<u32>);

impl Stems {
    /// The stems of the words of these texts that carry meaning.
    pub(super) fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut stems: Vec<u32> = texts.into_iter().flat_map(stems).collect();
        stems.sort_unstable();
        stems.dedup();
        Self(stems)
    }

    /// Whether this stem is among them.
    pub(super) fn contains(&self, stem: u32) -> bool {
        self.0.binary_search(&stem).is_ok()
    }
}

/// The `most` words of these texts that occur most often and carry meaning, in lower case; of equals the
/// one that comes first.
pub(super) fn frequent<'a>(texts: impl IntoIterator<Item = &'a str>, most: usize) -> Vec<String> {
    let mut counts: HashMap<u32, (usize, usize, &str)> = HashMap::new();
    let mut seen = 0;
    for word in texts.into_iter().flat_map(words) {
        let stem = stem(word);
        if word.len() < 4 || STOP_WORDS.contains(stem) || !word.chars().any(char::is_alphabetic) {
            continue;
        }
        seen += 1;
        counts.entry(stem).or_insert((0, seen, word)).0 += 1;
    }
    let mut counts: Vec<(usize, usize, &str)> = counts.into_values().collect();
    counts.sort_unstable_by_key(|(count, first, _)| (usize::MAX - count, *first));
    counts.into_iter().take(most).map(|(_, _, word)| word.to_lowercase()).collect()
}

/// How often `phrase` occurs in `text` as whole words; both in lower case.
pub(super) fn occurrences(text: &str, phrase: &str) -> usize {
    let apart = |neighbour: Option<char>| !neighbour.is_some_and(char::is_alphanumeric);
    if phrase.is_empty() {
        return 0;
    }
    let whole = |at: &usize| apart(text[..*at].chars().next_back()) && apart(text[*at + phrase.len()..].chars().next());
    text.match_indices(phrase).map(|(at, _)| at).filter(whole).count()
}

/// A hash table of stems, open addressing.
#[derive(Debug)]
struct Table(Box<[u32]>);

impl Table {
    const SLOTS: usize = 2048;

    fn of(words: &str) -> Self {
        let mut slots = vec![0; Self::SLOTS].into_boxed_slice();
        for stem in words.split_ascii_whitespace().map(stem) {
            let mut slot = stem as usize % Self::SLOTS;
            while slots[slot] != 0 && slots[slot] != stem {
                slot = (slot + 1) % Self::SLOTS;
            }
            slots[slot] = stem;
        }
        Self(slots)
    }

    fn contains(&self, stem: u32) -> bool {
        let mut slot = stem as usize % Self::SLOTS;
        while self.0[slot] != 0 {
            if self.0[slot] == stem {
                return true;
            }
            slot = (slot + 1) % Self::SLOTS;
        }
        false
    }
}

/// Words that say nothing about what a text is about: Dutch, English, and what every motion says.
static STOP_WORDS: LazyLock<Table> = LazyLock::new(|| {
    Table::of(
        "aan aangezien achter after again all alle allen alles als also alsmede alsnog although altijd and ander \
         andere anderen any are aren because been before being beide below ben bent between bij bijvoorbeeld \
         binnen both boven but buiten can cannot could daar daarbij daardoor daarin daarmee daarna daarnaast \
         daarom daarop daarvan daarvoor dan dat deel den der des deze dezelfde did die dient dienen diens dit \
         does doen doet doing door down draagt dragen dus each echter een eens eerste elk elke enige enkele enz \
         er erop ervan ervoor etc even gaan gaat geacht geen gehad gehoord gekomen geweest geworden goed \
         graag groot grote haar had half has have having heb hebben hebt heeft heel hem her here hers het hier \
         hierbij hierdoor hierin hiermee hierover hiertoe hiervan hiervoor him his hoe hoewel houden how hun \
         ieder iedere iemand iets immers inclusief indien into inzake its itself ja jaar jaren jij jou jouw \
         juist just kan kamer komen komt kon konden kunnen laat langs laten maak maakt maar maken man mate \
         may meer mee meest men met might mij mijn minder moest moet moeten mogelijk mogen more most much must na naar \
         naast nadat namelijk net niet niets niks nieuw nieuwe nog noch not now nu of off often ofwel om omdat \
         onder ondanks ons onze ook onder only op other our out over own per same shall she should sinds slechts \
         some soms staat staan steeds still such te tegen ten ter than that the their them then there these \
         they this those through tijdens toch toe ten tot tussen twee under until up uit uiterlijk upon \
         vaak van vanaf vanuit veel verder verschillende very via volgens voor vooral voordat voorts waar \
         waarbij waardoor waarin waarmee waarop waarvan waarvoor wanneer want waren was wat weer wel welke wens \
         were werd werden wet what when where which while who whom why wie wij will willen wil with within \
         without wordt worden would you your zal zeer zelf zich zichzelf zijn zodat zoals zonder zou zouden \
         zowel zullen \
         beraadslaging brengen constateert constateren constaterende considering gaande government \
         house indiener indieners leden leid lid mening minister motie motion mening nederland nederlandse \
         oordeel overwegende overweegt parliament regering kabinet requests spreekt urges verzoekt zorgen",
    )
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_end_at_signs_of_any_script() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            ("«pay on behalf»-model", &["pay", "on", "behalf", "model"]),
            ("zo’n €5 mln.", &["zo", "n", "5", "mln"]),
            ("naïeve coöperaties, één", &["naïeve", "coöperaties", "één"]),
            ("電車。駅", &["電車", "駅"]),
            ("🚆 trein 🚆", &["🚆", "trein", "🚆"]),
        ];
        for (text, expected) in cases {
            assert_eq!(words(text).collect::<Vec<_>>(), *expected, "{text:?}");
        }
    }

    #[test]
    fn inflections_meet_and_stop_words_vanish() {
        let stems = Stems::of(["het onderzoek naar de treinen", "Spoorwegen"]);
        assert!(stems.contains(stem("ONDERZOEKEN")));
        assert!(!stems.contains(stem("naar")));
        assert!(!stems.contains(stem("spoor")));
    }

    #[test]
    fn the_most_frequent_words_come_first_and_equals_in_order() {
        let text = "De trein rijdt. Treinen rijden, de TREIN stopt bij het station; een station heeft perrons. 2024 2024";
        assert_eq!(frequent([text], 3), ["trein", "station", "rijdt"]);
        assert_eq!(frequent(["de het een"], 3), Vec::<String>::new());
    }

    #[test]
    fn occurrences_are_of_whole_words() {
        assert_eq!(occurrences("laag, lager, laag", "laag"), 2);
        assert_eq!(occurrences("lowland", "low"), 0);
        assert_eq!(occurrences("één hoge é", "é"), 1);
        assert_eq!(occurrences("anything", ""), 0);
    }
}
