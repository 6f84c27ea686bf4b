//! The text about one item: two or three Dutch sentences in the way of an explanation of a motion.
//!
//! A text follows from the item's marker (or its text), the seed and the mean length, and from nothing else, so the
//! same item always gets the same answer. It says nothing true; it has the length, the language and the faults that
//! a client must cope with. The sentences themselves are in `phrases`.

use crate::faults::Fault;
use crate::hash::{Dice, mix};
use crate::phrases;

/// What a text is made from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    /// Stands for the item and the seed.
    pub(crate) hash: u64,
    /// The item's text, for the start of its request.
    pub(crate) text: &'a str,
    /// Echoed at the end.
    pub(crate) marker: Option<&'a str>,
    /// Mean length in tokens.
    pub(crate) mean_tokens: u32,
}

/// What the simulated provider says about a text, without faults: 75 tokens of Dutch on average, the same for the same
/// text and seed. For whoever needs answers and no server.
pub fn explanation(text: &str, seed: u64) -> String {
    let mut out = String::new();
    let hash = text.bytes().fold(mix(seed), |hash, byte| mix(hash ^ u64::from(byte)));
    Source { hash, text, marker: None, mean_tokens: 75 }.write(&mut out, None);
    out
}

impl Source<'_> {
    /// Appends the text to `out`.
    pub(crate) fn write(&self, out: &mut String, fault: Option<Fault>) {
        let mut dice = Dice::new(self.hash);
        let start = out.len();
        // Aimed 7 % high, because the last sentence rather falls short; the result is 80 to 120 % of the mean.
        let share = 92 + dice.below(31);
        let target = (self.mean_tokens as usize * 4 * share / 100).saturating_sub(self.marker.map_or(0, |m| m.len() + 5));
        match fault {
            Some(Fault::English) => english(out, &mut dice, target),
            _ => dutch(out, &mut dice, target, find_request(self.text)),
        }
        match fault {
            Some(Fault::OtherScripts) => {
                let line = format!("\n{}\n", dice.pick(&phrases::OTHER_SCRIPTS));
                let at = after_first_sentence(out, start);
                out.replace_range(at..at + usize::from(at < out.len()), &line);
            }
            Some(Fault::MetadataLeak) => {
                let fragment = format!(" ({}-{})", 10 + dice.below(90), 10 + dice.below(990));
                let at = out[start..].find(' ').map_or(out.len(), |space| start + space);
                out.insert_str(at, &fragment);
            }
            _ => {}
        }
        if let Some(marker) = self.marker {
            out.extend([" [[", marker, "]]"]);
        }
    }

    /// Appends one short sentence, the `nth` about this item.
    pub(crate) fn write_short(&self, out: &mut String, nth: u64) {
        out.push_str(Dice::new(mix(self.hash ^ nth)).pick(&phrases::CLOSINGS));
    }
}

fn dutch(out: &mut String, dice: &mut Dice, target: usize, request: Option<String>) {
    let end = out.len() + target;
    if target >= 110 {
        match request {
            Some(request) => out.extend([dice.pick(&phrases::BEFORE_REQUEST), " ", request.as_str(), "."]),
            None => out.push_str(dice.pick(&phrases::OPENINGS)),
        }
    }
    let mut kind = dice.below(2);
    while end.saturating_sub(out.len()) > 165 {
        let (lead, clause) = combined(dice, kind);
        out.extend([" ", lead, " ", clause, "."]);
        kind = 1 - kind;
    }
    // The last sentence is the one of a few that comes nearest to the target.
    let left = end.saturating_sub(out.len());
    if left < 25 && target >= 110 {
        return;
    }
    let (mut best, mut distance) = (("", ""), usize::MAX);
    for attempt in 0..16 {
        let pair = if attempt < 8 { (dice.pick(&phrases::CLOSINGS), "") } else { combined(dice, kind) };
        let length = pair.0.len() + pair.1.len() + if pair.1.is_empty() { 1 } else { 3 };
        if length.abs_diff(left) < distance {
            (best, distance) = (pair, length.abs_diff(left));
        }
    }
    if target >= 110 {
        out.push(' ');
    }
    out.push_str(best.0);
    if !best.1.is_empty() {
        out.extend([" ", best.1, "."]);
    }
}

/// A lead and a clause that fits its word order.
fn combined(dice: &mut Dice, kind: usize) -> (&'static str, &'static str) {
    if kind == 0 {
        (dice.pick(&phrases::REASON_LEADS), dice.pick(&phrases::REASONS))
    } else {
        (dice.pick(&phrases::EFFECT_LEADS), dice.pick(&phrases::EFFECTS))
    }
}

fn english(out: &mut String, dice: &mut Dice, target: usize) {
    let end = out.len() + target;
    out.push_str(dice.pick(&phrases::ENGLISH));
    while out.len() + 60 < end {
        out.push(' ');
        out.push_str(dice.pick(&phrases::ENGLISH));
    }
}

/// The place of the space behind the first sentence, or the end.
fn after_first_sentence(out: &str, start: usize) -> usize {
    out[start..].find(". ").map_or(out.len(), |dot| start + dot + 1)
}

/// The start of what a motion asks, such as `te onderzoeken hoe dit beter kan`: words only, to the first mark or to
/// about a hundred bytes.
fn find_request(text: &str) -> Option<String> {
    let mut rest = text;
    let asked = loop {
        rest = &rest[rest.find("erzoekt ")? + "erzoekt ".len()..];
        let whom = phrases::ASKED.iter().find_map(|whom| rest.strip_prefix(whom));
        if let Some(asked) = whom {
            break asked;
        }
    };
    let mut request = String::new();
    for line in asked.split('\n').take_while(|line| !line.trim().is_empty()).take(4) {
        let words = line.split([' ', '\u{a0}', '\r']);
        for word in words.filter(|word| !word.is_empty()) {
            let plain = word.trim_end_matches([',', ';', '.', ':']);
            let is_word = |letter: char| (letter.is_alphanumeric() && letter < '\u{250}') || "-'’".contains(letter);
            if !plain.chars().all(is_word) || request.len() + plain.len() > 110 {
                return finished(request, false);
            }
            if !request.is_empty() {
                request.push(' ');
            }
            request.push_str(plain);
            if plain.len() < word.len() {
                return finished(request, true);
            }
        }
    }
    finished(request, false)
}

fn finished(mut request: String, whole: bool) -> Option<String> {
    if request.len() < 12 {
        return None;
    }
    if !whole {
        request.push_str(", zo begint het verzoek");
    }
    Some(request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MOTION: &str = "De Kamer,\n\nconstaterende dat treinen te vol zijn;\n\nverzoekt de regering te onderzoeken hoe er\nmeer plaats in de spits komt, en gaat over tot de orde van de dag. [[m-7]]";

    fn text(hash: u64, text: &str, marker: Option<&str>, fault: Option<Fault>) -> String {
        let mut out = String::new();
        Source { hash, text, marker, mean_tokens: 75 }.write(&mut out, fault);
        out
    }

    #[test]
    fn the_request_is_mixed_in_and_the_marker_comes_last() {
        let answer = text(5, MOTION, Some("m-7"), None);
        assert!(answer.contains(" te onderzoeken hoe er meer plaats in de spits komt."), "{answer}");
        assert!(answer.ends_with(". [[m-7]]"), "{answer}");
        assert_eq!(answer, text(5, MOTION, Some("m-7"), None));
        assert_ne!(answer, text(6, MOTION, Some("m-7"), None));
    }

    #[test]
    fn requests_end_where_words_end() {
        assert_eq!(find_request("verzoekt de regering:"), None);
        assert_eq!(find_request("verzoekt de Koning iets"), None);
        assert_eq!(find_request("Verzoekt het kabinet om een plan (zie 12-34)").as_deref(), None);
        let asked = "verzoekt de commissie x; verzoekt de regering een plan te maken (zie bijlage 45-102)";
        assert_eq!(find_request(asked).as_deref(), Some("een plan te maken, zo begint het verzoek"));
        let endless = format!("verzoekt de regering {}", "woord ".repeat(99));
        assert!(find_request(&endless).expect("words").len() < 140);
    }

    #[test]
    fn lengths_meet_the_mean() {
        for source in [MOTION, "Iets anders."] {
            let lengths: Vec<_> = (0..2_000).map(|n| text(mix(n), source, Some("m-7"), None).len() / 4).collect();
            let mean = lengths.iter().sum::<usize>() as f64 / lengths.len() as f64;
            let usual = lengths.iter().filter(|tokens| (55..=95).contains(*tokens)).count();
            assert!((70.0..80.0).contains(&mean), "mean {mean}");
            assert!(usual > 1_950, "usual {usual}, {:?}", (lengths.iter().min(), lengths.iter().max()));
        }
        let mut out = String::new();
        Source { hash: 1, text: "", marker: None, mean_tokens: 15 }.write(&mut out, None);
        assert!((20..110).contains(&out.len()), "{out}");
        out.clear();
        Source { hash: 1, text: "", marker: None, mean_tokens: 750 }.write(&mut out, None);
        assert!((2_400..3_600).contains(&out.len()), "{}", out.len());
    }

    #[test]
    fn item_faults_show() {
        let english = text(1, MOTION, Some("m-7"), Some(Fault::English));
        assert!(english.contains(" the ") && english.ends_with("[[m-7]]"), "{english}");
        let scripts = text(1, MOTION, Some("m-7"), Some(Fault::OtherScripts));
        let strange = scripts.lines().filter(|line| line.chars().any(|c| ('\u{400}'..'\u{700}').contains(&c)));
        assert_eq!(strange.count(), 1, "{scripts}");
        assert!(scripts.ends_with("[[m-7]]"));
        let leak = text(1, MOTION, Some("m-7"), Some(Fault::MetadataLeak));
        assert!(leak.contains(" (") && leak.contains("-"), "{leak}");
    }

    proptest! {
        #[test]
        fn any_text_gives_a_plain_answer(hash: u64, source in ".{0,300}", asked in "verzoekt de regering .{0,200}") {
            for source in [&source, &asked] {
                let answer = text(hash, source, None, None);
                prop_assert!(answer.ends_with('.') && !answer.contains(['(', '\n', '"', '\\']), "{answer}");
            }
        }
    }
}
