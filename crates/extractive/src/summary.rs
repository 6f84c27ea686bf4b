//! Which clauses of a document make its summary, and in which words.
//!
//! The requests come first, whole where they fit; then the reasons that share most words with the title and
//! the requests; of a text that asks nothing, the sentences that are most about what the text is about.

use super::clean::take_markers;
use super::document::{Clause, Document};
use super::leads::{Part, Start, Verb, asks_inside, without_adverb};
use super::sentences::{cut, length};
use super::words::{Stems, stems};

/// The sentences of a summary, unless the text asks for more than that.
const SENTENCES: usize = 3;
/// The most requests that are quoted.
const REQUESTS: usize = 4;
/// A room that is too small for a sentence that says something.
const LEAST: usize = 40;

/// Picks what `text` asks for, and why, in at most `max_chars` characters: two or three sentences in the text's
/// own words, Dutch or English.
///
/// The clauses of a motion (`verzoekt de regering …`, `constaterende dat …`) become sentences; of any other
/// text the most telling sentences are taken. `[[…]]` markers of the text are kept at the end. The answer is
/// empty only for a blank text or no room, depends on nothing but the arguments, and takes time in proportion
/// to the text.
pub fn extract(text: &str, max_chars: usize) -> String {
    summarize(text, &Document::read(text), max_chars)
}

/// As [`extract`], of a text that has been read.
pub(super) fn summarize(text: &str, document: &Document, max_chars: usize) -> String {
    let marked = if document.markers.is_empty() { 0 } else { length(&document.markers) + 1 };
    let (room, marked) = if marked < max_chars { (max_chars - marked, marked) } else { (max_chars, 0) };
    let mut summary = Summary { text: String::with_capacity(room.min(1024) + marked), room, sentences: 0 };
    let requests = summary.requests(document);
    if requests > 0 {
        summary.reasons(document, SENTENCES.saturating_sub(requests));
    } else {
        summary.reasons(document, SENTENCES);
    }
    if summary.is_short() {
        summary.telling_sentences(document);
    }
    if summary.is_short() {
        summary.add(Start::default(), document.title(), true);
    }
    let mut text = if summary.text.is_empty() { raw(text, room) } else { summary.text };
    if marked > 0 {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&document.markers);
    }
    text
}

/// The beginning of a text that nothing could be picked from, without its markers.
fn raw(text: &str, most: usize) -> String {
    let (text, _) = take_markers(text);
    let text = text.trim();
    // Enough for `most` characters with runs of white space between them.
    let text = text.char_indices().nth(most.saturating_mul(4)).map_or(text, |(end, _)| &text[..end]);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    cut(&text, most).0.to_owned()
}

/// A summary in the making.
struct Summary {
    text: String,
    /// The characters that are left.
    room: usize,
    sentences: usize,
}

impl Summary {
    fn is_short(&self) -> bool {
        length(&self.text) < LEAST
    }

    /// Adds what the text asks for, and says how many requests that were. Where not all of it fits, what
    /// somebody is asked to do goes before what is only pronounced.
    fn requests(&mut self, document: &Document) -> usize {
        let mut requests: Vec<(bool, usize, &Verb, &str)> = Vec::new();
        for (index, clause) in document.clauses.iter().enumerate() {
            let words = document.words_of(clause);
            if let Part::Request(verb) = clause.part
                && requests.last().is_none_or(|(_, _, _, last)| *last != words)
            {
                requests.push((!verb.asks_for_action(), index, verb, words));
            }
        }
        requests.sort_unstable_by_key(|(only_pronounced, index, _, _)| (*only_pronounced, *index));
        let mut left = self.room;
        let mut first = true;
        requests.retain(|(_, _, verb, words)| {
            let cost = length(words) + verb.start(1).iter().map(|piece| piece.len()).sum::<usize>() + 4;
            let kept = first || cost <= left;
            left = left.saturating_sub(if kept { cost } else { 0 });
            first = false;
            kept
        });
        requests.truncate(REQUESTS);
        requests.sort_unstable_by_key(|(_, index, _, _)| *index);
        let mut added = 0;
        for (_, _, verb, words) in requests {
            let mut start = verb.start(added);
            let (addressee, words) = without_adverb(words);
            start[3] = addressee;
            added += usize::from(self.add(start, words, true));
        }
        added
    }

    /// Adds the best `most` reasons that fit, in the order of the text.
    fn reasons(&mut self, document: &Document, most: usize) {
        let mut ranked = rank_reasons(document);
        ranked.sort_unstable_by_key(|(score, index)| (-score, *index));
        let mut chosen: Vec<usize> = Vec::with_capacity(most);
        let mut left = self.room;
        for (_, index) in &ranked {
            let cost = length(document.words_of(&document.clauses[*index])) + 40;
            if chosen.len() < most && cost <= left {
                left -= cost;
                chosen.push(*index);
            }
        }
        if chosen.is_empty() && self.is_short() {
            chosen.extend(ranked.first().map(|(_, index)| *index).filter(|_| most > 0));
        }
        chosen.sort_unstable();
        for (nth, index) in chosen.into_iter().enumerate() {
            let clause = &document.clauses[index];
            let words = document.words_of(clause);
            if let Part::Consideration(stance) = clause.part {
                self.add(stance.start(nth, document.one_mover, words), words, nth == 0);
            }
        }
    }

    /// Adds the sentences that are most about what the text is about, those that ask something first.
    fn telling_sentences(&mut self, document: &Document) {
        let sentences: Vec<&Clause> = document.clauses.iter().filter(|clause| matches!(clause.part, Part::Sentence)).collect();
        let ranked = rank_sentences(document, &sentences);
        let mut chosen: Vec<(bool, usize)> = Vec::new();
        let mut left = self.room;
        for (asks, index) in ranked {
            let cost = length(document.words_of(sentences[index])) + 2;
            if self.sentences + chosen.len() < SENTENCES && (cost <= left || chosen.is_empty()) {
                left = left.saturating_sub(cost);
                chosen.push((!asks, index));
            }
        }
        chosen.sort_unstable();
        for (_, index) in chosen {
            let first = self.text.is_empty();
            self.add(Start::default(), document.words_of(sentences[index]), first);
        }
    }

    /// Adds a sentence if it fits, or, if it `may_be_cut`, what fits of it.
    fn add(&mut self, start: Start, words: &str, may_be_cut: bool) -> bool {
        let space = usize::from(!self.text.is_empty());
        let around = space + start.iter().map(|piece| length(piece)).sum::<usize>() + 1;
        let Some(room) = self.room.checked_sub(around).filter(|room| *room > 0 && !words.is_empty()) else {
            return false;
        };
        let (kept, whole) = cut(words, room);
        if kept.len() < words.len() && !may_be_cut {
            return false;
        }
        let before = self.text.len();
        if space > 0 {
            self.text.push(' ');
        }
        let sentence = self.text.len();
        start.iter().for_each(|piece| self.text.push_str(piece));
        self.text.push_str(kept);
        capitalize(&mut self.text, sentence);
        if !whole {
            self.text.push('…');
        } else if !kept.ends_with(['.', '!', '?', '…', '。', '！', '？']) {
            self.text.push('.');
        }
        self.room = self.room.saturating_sub(length(&self.text[before..]));
        self.sentences += 1;
        true
    }
}

/// Makes the letter at `at` a capital, where that is one character too.
fn capitalize(text: &mut String, at: usize) {
    let Some(first) = text[at..].chars().next().filter(|first| first.is_lowercase()) else { return };
    let mut upper = first.to_uppercase();
    if let (Some(capital), None) = (upper.next(), upper.next()) {
        let mut buffer = [0; 4];
        text.replace_range(at..at + first.len_utf8(), capital.encode_utf8(&mut buffer));
    }
}

/// The reasons of a document, each with a score: the words that it shares with the title and the requests,
/// against its length.
fn rank_reasons(document: &Document) -> Vec<(i64, usize)> {
    let requests = document.clauses.iter().filter(|clause| matches!(clause.part, Part::Request(_)));
    let (title, asked) = (Stems::of([document.title()]), Stems::of(requests.map(|clause| document.words_of(clause))));
    let score = |clause: &Clause| {
        let words = document.words_of(clause);
        let (mut count, mut shared) = (0, 0);
        for stem in stems(words) {
            count += 1;
            shared += 3 * i64::from(title.contains(stem)) + 2 * i64::from(asked.contains(stem));
        }
        let telling = 100 * (1 + shared) / (6 + count);
        if points_back(words) { telling / 3 } else { telling }
    };
    let reasons = document.clauses.iter().enumerate();
    reasons.filter(|(_, clause)| matches!(clause.part, Part::Consideration(_))).map(|(index, clause)| (score(clause), index)).collect()
}

/// Whether a reason leans on the one before it: `dat dit …`, `dat … hierdoor …`.
fn points_back(words: &str) -> bool {
    const AT_THE_START: &[&str] = &[
        "dit",
        "deze",
        "die",
        "dat",
        "daarbij",
        "daarnaast",
        "daarom",
        "hier",
        "hierbij",
        "hij",
        "zij",
        "ze",
        "echter",
        "this",
        "these",
        "those",
        "it",
        "they",
    ];
    const ANYWHERE: &[&str] = &["hierdoor", "hiermee", "hiervoor", "hiervan", "daardoor", "daarmee", "dergelijke"];
    let mut all = words.split([' ', ',']);
    let leans = matches!(all.next(), Some("dat" | "that")) && all.next().is_some_and(|word| AT_THE_START.contains(&word));
    leans || all.any(|word| word.len() > 6 && ANYWHERE.contains(&word))
}

/// The sentences of a text that asks nothing in official form, best first: whether each asks something, and
/// its index.
fn rank_sentences(document: &Document, sentences: &[&Clause]) -> Vec<(bool, usize)> {
    const SLOTS: usize = 4096;
    let mut counts = vec![0_u32; SLOTS];
    for stem in sentences.iter().flat_map(|clause| stems(document.words_of(clause))) {
        counts[stem as usize % SLOTS] += 1;
    }
    let title = Stems::of([document.title()]);
    let mut ranked: Vec<(bool, i64, usize)> = Vec::with_capacity(sentences.len());
    for (index, clause) in sentences.iter().enumerate() {
        let words = document.words_of(clause);
        if words == document.title() {
            continue;
        }
        let (mut count, mut weight) = (0, 0);
        for stem in stems(words) {
            count += 1;
            weight += i64::from(counts[stem as usize % SLOTS].min(12)) + 6 * i64::from(title.contains(stem));
        }
        // What a text is about stands at its beginning; a line of three words is a heading.
        let place = 60 / (1 + index as i64);
        let heading = if count < 4 { 40 } else { 0 };
        ranked.push((asks_inside(words), 20 * weight / (4 + count) + place - heading, index));
    }
    ranked.sort_unstable_by_key(|(asks, score, index)| (!asks, -score, *index));
    ranked.into_iter().map(|(asks, _, index)| (asks, index)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MOTION: &str = "Motie van de leden De Wit en Zwart over groene bruggen\n\nVergaderjaar 2024-2025\nNr. 755\n\
         MOTIE VAN DE LEDEN DE WIT EN ZWART\nVoorgesteld 28 mei 2025\nDe Kamer,\ngehoord de beraadslaging,\nconstaterende \
         dat grijze bruggen in de schemering slecht zichtbaar zijn voor schippers;\nconstaterende dat dit veel geld \
         kost;\noverwegende dat groene verf op bruggen even duur is als grijze;\nvan mening dat vertier erbij hoort;\n\
         verzoekt de regering te onderzoeken of bruggen bij groot onderhoud groen geverfd kunnen worden;\nverzoekt de \
         regering tevens de Kamer daarover vóór 1 januari 2026 te informeren,\nen gaat over tot de orde van de dag.\n\
         De Wit\nZwart";

    #[test]
    fn a_motion_becomes_its_requests_and_its_best_reason() {
        assert_eq!(
            extract(MOTION, 600),
            "De motie verzoekt de regering te onderzoeken of bruggen bij groot onderhoud groen geverfd kunnen worden. \
             Ook verzoekt de motie de regering de Kamer daarover vóór 1 januari 2026 te informeren. \
             De indieners wijzen erop dat groene verf op bruggen even duur is als grijze."
        );
    }

    #[test]
    fn what_fits_is_whole_and_the_request_goes_first() {
        assert_eq!(
            extract(MOTION, 220),
            "De motie verzoekt de regering te onderzoeken of bruggen bij groot onderhoud groen geverfd kunnen worden. \
             Ook verzoekt de motie de regering de Kamer daarover vóór 1 januari 2026 te informeren."
        );
        assert_eq!(
            extract(MOTION, 120),
            "De motie verzoekt de regering te onderzoeken of bruggen bij groot onderhoud groen geverfd kunnen worden."
        );
        assert_eq!(extract(MOTION, 60), "De motie verzoekt de regering te onderzoeken of bruggen bij…");
    }

    #[test]
    fn texts_of_other_kinds() {
        let cases = [
            (
                "Motie van het lid De Wit over bruggen\n\nDe Kamer,\nspreekt uit dat bruggen groen horen te zijn,\nen gaat over \
                 tot de orde van de dag.\nDe Wit",
                "De motie spreekt uit dat bruggen groen horen te zijn.",
            ),
            (
                "De Kamer,\ngehoord de beraadslaging,\nzegt het vertrouwen in de brugwachter op,\nen gaat over tot de orde van \
                 de dag.",
                "De motie zegt het vertrouwen in de brugwachter op.",
            ),
            (
                "De Kamer, gehoord de beraadslaging, overwegende dat groene bruggen mooi zijn; verzoekt de regering: • te \
                 verven; • te vieren, en gaat over tot de orde van de dag. De Wit",
                "De motie verzoekt de regering: te verven; te vieren. De indieners wijzen erop dat groene bruggen mooi zijn.",
            ),
            (
                "The House,\nhaving heard the debate,\nnoting that bridges are grey;\nurges the government to paint them green,\n\
                 and proceeds to the order of the day.\nWhite",
                "The motion urges the government to paint them green. The motion notes that bridges are grey.",
            ),
            ("Motie van het lid De Wit over groene bruggen ", "Motie van het lid De Wit over groene bruggen."),
            (
                "Groene bruggen\n\nHet regende gisteren. Volgens dhr. J. de Wit zijn er o.a. 12 grijze bruggen, goed voor 3,5 \
                 mln. euro. Wij roepen de regering op om bruggen groen te verven! Daarna ging iedereen naar huis. De bruggen \
                 bleven grijs.",
                "Wij roepen de regering op om bruggen groen te verven! Het regende gisteren. Volgens dhr. J. de Wit zijn er \
                 o.a. 12 grijze bruggen, goed voor 3,5 mln. euro.",
            ),
            ("MOTIE VAN HET LID DE WIT", "MOTIE VAN HET LID DE WIT"),
            ("\u{200b}", "\u{200b}"),
            ("<br>", "<br>"),
            ("  \n \t", ""),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(extract(text, 600), expected, "{text}");
        }
    }

    #[test]
    fn markers_stand_at_the_end() {
        assert_eq!(extract("[[b]] Groen [[c:1]] is mooi.", 600), "Groen is mooi. [[b]][[c:1]]");
        assert_eq!(extract("[[b]]", 600), "[[b]]");
        assert_eq!(extract("Groen is de kleur van gras. [[b]]", 14), "Groen… [[b]]");
        assert_eq!(extract("Groen [[een-lange-naam]]", 6), "Groen.");
    }

    #[test]
    fn time_is_in_proportion_to_the_text() {
        let pieces = [
            "verzoekt de regering te bouwen;\n",
            "ook, ",
            "... ",
            ".",
            ";",
            "• \n",
            "•",
            "[[",
            "[[a]",
            "<p",
            "</p><style>",
            "<!--",
            "gehoord de beraadslaging",
            "De Kamer,\n",
            "\n",
            " ",
            "\u{a0}",
            "a",
            "é. ",
            "1. ",
            "overwegende dat ...\n• a\n",
            "((((. A",
            "en gaat over tot de orde van de dag. ",
            "\u{200b}•",
            "spreekt uit dat X, verzoekt de regering Y. ",
        ];
        for piece in pieces {
            // A hundred times what a motion has: squared, it would take minutes.
            let text = piece.repeat(100_000 / piece.len());
            let start = std::time::Instant::now();
            extract(&text, 600);
            assert!(start.elapsed().as_secs() < 10, "{piece:?}");
        }
    }

    /// Texts that meet many of the rules: pieces of motions, of markup and of anything in any order.
    fn texts() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            proptest::sample::select(vec![
                "De Kamer,",
                "gehoord de beraadslaging,",
                "constaterende dat ",
                "overwegende, dat ",
                "van mening dat ",
                "verzoekt de regering",
                "spreekt uit ",
                "tevens ",
                "en gaat over tot de orde van de dag.",
                "\n",
                "\n\n",
                ";",
                ", ",
                ". ",
                ":",
                "• ",
                "– ",
                "1. ",
                "...",
                "…",
                "Van der Plas",
                "MOTIE VAN HET LID ",
                "Nr. 5",
                "<p>",
                "</p>",
                "<style>",
                "&amp;",
                "&#",
                "[[a]]",
                "[[",
                "]]",
                "\u{a0}",
                "\u{ad}",
                "\u{c}",
                "\u{200b}",
                "noting that ",
                "The House, having heard the debate",
                "ß",
                "é",
            ])
            .prop_map(str::to_owned),
            "\\PC{0,8}",
            "[a-z]{1,9} ",
            any::<char>().prop_map(String::from),
        ];
        proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_text_gets_an_answer_within_bounds(text in texts(), most in 0_usize..700) {
            let answer = extract(&text, most);
            prop_assert!(answer.chars().count() <= most);
            prop_assert_eq!(answer.is_empty(), most == 0 || text.trim().is_empty());
            prop_assert_eq!(&extract(&text, most), &answer);
        }
    }
}
