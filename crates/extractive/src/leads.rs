//! The words that open a clause of a motion, and the sentence that a clause with such an opening becomes.
//!
//! A motion is one sentence with `De Kamer` as its subject: participles (`constaterende dat …;`) give the
//! reasons, a verb in the third person (`verzoekt de regering …,`) says what is asked. Each becomes a sentence
//! of its own by giving it a subject again: `De motie verzoekt de regering …`, `De indieners constateren
//! dat …`.

use std::sync::LazyLock;

/// What a clause does in its motion. Its text starts behind the opening.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    /// Says what is asked.
    Request(&'static Verb),
    /// Says why.
    Consideration(&'static Stance),
    /// Anything else: a sentence as it stands.
    Sentence,
}

impl Part {
    /// Whether it is a reason in English, which opens with a participle that ordinary sentences also open with.
    pub(super) fn is_english_reason(self) -> bool {
        matches!(self, Self::Consideration(stance) if stance.english)
    }
}

/// A verb by which a motion asks something.
#[derive(Debug)]
pub(super) struct Verb {
    /// How the clause opens.
    opening: &'static str,
    /// The verb in the third person: the same, but for a slip of the pen.
    word: &'static str,
    subject: Subject,
    /// With one of these behind it, the verb opens a clause even where no punctuation says so.
    certain_before: &'static [&'static str],
}

/// Who does what the verb says.
#[derive(Clone, Copy, Debug)]
enum Subject {
    /// The motion asks.
    Motion,
    /// The chamber itself acts, if it follows the motion.
    Chamber,
    /// The motion asks, in English.
    English,
}

/// The form in which a motion gives a reason.
#[derive(Debug)]
pub(super) struct Stance {
    openings: &'static [&'static str],
    singular: &'static str,
    plural: &'static str,
    /// What else belongs to the verb, with its space: `wijst` ` erop`.
    tail: &'static str,
    /// Whether the verb goes with `dat …` and not with a noun.
    needs_clause: bool,
    english: bool,
    certain: bool,
}

/// The opening of a clause.
#[derive(Debug)]
pub(super) struct Lead {
    /// What the clause does.
    pub(super) part: Part,
    /// The bytes of the opening, with the space or comma behind it.
    pub(super) length: usize,
    /// Whether these words can hardly stand inside a clause.
    pub(super) certain: bool,
}

const ADDRESSEES: &[&str] = &["de ", "het "];

const fn asks(word: &'static str, certain_before: &'static [&'static str]) -> Verb {
    Verb { opening: word, word, subject: Subject::Motion, certain_before }
}

const fn acts(word: &'static str, certain_before: &'static [&'static str]) -> Verb {
    Verb { opening: word, word, subject: Subject::Chamber, certain_before }
}

const fn english(word: &'static str, certain_before: &'static [&'static str]) -> Verb {
    Verb { opening: word, word, subject: Subject::English, certain_before }
}

const AUTHORITIES: &[&str] = &[
    "the government",
    "the cabinet",
    "the minister",
    "the secretary",
    "the commission",
    "the council",
    "the member states",
    "the house",
    "the parliament",
];

/// Ordered so that of two verbs with the same beginning the longer one is met first.
static VERBS: &[Verb] = &[
    asks("verzoekt", ADDRESSEES),
    Verb { opening: "verzoeken", ..asks("verzoekt", &["de regering", "het kabinet"]) },
    Verb { opening: "verzoek", ..asks("verzoekt", &["de regering", "het kabinet"]) },
    asks("roept", &["de ", "het ", "alle "]),
    asks("spreekt", &["uit ", "uit:", "de wens ", "zich uit ", "haar "]),
    asks("draagt", &["de regering op", "het kabinet op", "de minister op"]),
    asks("nodigt", &["de regering", "het kabinet", "de minister"]),
    asks("vraagt", &["de regering", "het kabinet", "de minister"]),
    asks("dringt", &["er bij"]),
    asks("doet een beroep", &["op "]),
    asks("zegt", &["het vertrouwen "]),
    asks("keurt", &["de handelwijze"]),
    asks("brengt in herinnering", &[]),
    asks("adviseert", &[]),
    asks("beveelt", &[]),
    asks("benadrukt", &[]),
    asks("bepleit", &[]),
    asks("betreurt", &[]),
    asks("bevestigt", &[]),
    asks("herbevestigt", &[]),
    asks("herinnert", &[]),
    asks("erkent", &[]),
    asks("gelast", &[]),
    asks("machtigt", &[]),
    asks("merkt op", &[]),
    asks("onderschrijft", &[]),
    asks("pleit", &[]),
    asks("steunt", &[]),
    asks("stelt voor", &[]),
    asks("stelt vast", &[]),
    asks("veroordeelt", &[]),
    asks("waarschuwt", &[]),
    asks("wenst", &[]),
    asks("acht", &["het "]),
    acts("besluit", &["om ", "de ", "het ", "dat "]),
    acts("neemt", &[]),
    acts("wijst", &[]),
    acts("verklaart", &[]),
    english("requests", AUTHORITIES),
    english("calls on", AUTHORITIES),
    english("calls upon", AUTHORITIES),
    english("calls for", &[]),
    english("urges", AUTHORITIES),
    english("asks", AUTHORITIES),
    english("invites", AUTHORITIES),
    english("instructs", AUTHORITIES),
    english("encourages", AUTHORITIES),
    english("recommends", &[]),
    english("demands", &[]),
    english("expresses", &[]),
    english("declares", &[]),
    english("condemns", &[]),
    english("resolves", &[]),
];

const fn dutch(openings: &'static [&'static str], [singular, plural, tail]: [&'static str; 3]) -> Stance {
    Stance { openings, singular, plural, tail, needs_clause: false, english: false, certain: true }
}

const fn that(openings: &'static [&'static str], verb: [&'static str; 3]) -> Stance {
    Stance { needs_clause: true, ..dutch(openings, verb) }
}

const fn perhaps(openings: &'static [&'static str], verb: [&'static str; 3]) -> Stance {
    Stance { certain: false, ..dutch(openings, verb) }
}

const fn reason(openings: &'static [&'static str], verb: &'static str) -> Stance {
    Stance { english: true, ..dutch(openings, [verb, verb, ""]) }
}

/// Also for `overwegende het belang van …`.
static POINTS_AT: Stance = perhaps(&["gelet op", "gezien", "in het licht van"], ["wijst", "wijzen", " op"]);

/// Of two openings with the same beginning the longer one is met first.
static STANCES: &[Stance] = &[
    that(&["constaterende", "constaterend", "constateerde"], ["constateert", "constateren", ""]),
    that(&["overwegende", "overwegend", "in overweging nemende", "in aanmerking nemende"], ["wijst", "wijzen", " erop"]),
    dutch(&["van mening zijnde", "van mening"], ["is", "zijn", " van mening"]),
    dutch(&["van oordeel zijnde", "van oordeel"], ["is", "zijn", " van oordeel"]),
    dutch(&["concluderende", "concluderend"], ["concludeert", "concluderen", ""]),
    dutch(&["vaststellende", "vaststellend"], ["stelt", "stellen", " vast"]),
    dutch(&["erkennende", "erkennend"], ["erkent", "erkennen", ""]),
    dutch(&["benadrukkende", "benadrukkend"], ["benadrukt", "benadrukken", ""]),
    dutch(&["beseffende", "beseffend"], ["beseft", "beseffen", ""]),
    dutch(&["memorerende", "memorerend"], ["memoreert", "memoreren", ""]),
    dutch(&["onderstrepende", "onderstrepend"], ["onderstreept", "onderstrepen", ""]),
    dutch(&["kennisgenomen hebbende van", "kennis genomen hebbende van"], ["heeft", "hebben", " kennisgenomen van"]),
    perhaps(&["herinnerende aan"], ["herinnert", "herinneren", " aan"]),
    perhaps(&["waarschuwende", "waarschuwend"], ["waarschuwt", "waarschuwen", ""]),
    reason(&["noting with concern", "noting", "observing", "finding"], "notes"),
    reason(&["considering", "having regard to the fact"], "considers"),
    Stance { needs_clause: true, ..reason(&["whereas"], "notes") },
    reason(&["recognising", "recognizing", "acknowledging"], "recognises"),
    reason(&["believing", "convinced"], "believes"),
    reason(&["of the opinion"], "is of the opinion"),
    reason(&["recalling"], "recalls"),
    reason(&["concluding"], "concludes"),
    reason(&["stressing", "emphasising", "emphasizing"], "stresses"),
    reason(&["concerned"], "is concerned"),
];

/// Words that only string clauses together: before an opening, and between a verb and its object.
const ADVERBS: &[&str] = &[
    "voorts",
    "tevens",
    "verder",
    "ook",
    "daarnaast",
    "bovendien",
    "daarbij",
    "daarom",
    "derhalve",
    "eveneens",
    "aanvullend",
    "nadrukkelijk",
    "tot slot",
    "ten slotte",
    "tenslotte",
    "en",
    "also",
    "further",
    "furthermore",
    "therefore",
    "and",
];

/// What marks a request inside an ordinary sentence, in lower case.
const REQUEST_PHRASES: &[&str] = &[
    "verzoekt de",
    "verzoekt het kabinet",
    "verzoeken de",
    "verzoeken het kabinet",
    "verzoek aan de",
    "roept de regering",
    "roepen de regering",
    "roept het kabinet",
    "roepen het kabinet",
    "oproep aan",
    "vragen de regering",
    "vraagt de regering",
    "vraagt het kabinet",
    "requests the",
    "request that",
    "request the",
    "calls on the",
    "call on the",
    "calls upon",
    "call upon",
    "urges the",
    "urge the",
    "asks the government",
    "ask the government",
    "riksdagen ställer sig bakom",
    "tillkännager",
];

/// Words that a clause can open with.
#[derive(Clone, Copy, Debug)]
struct Opening {
    words: &'static str,
    leads_to: LeadsTo,
}

#[derive(Clone, Copy, Debug)]
enum LeadsTo {
    Request(&'static Verb),
    Consideration(&'static Stance),
    /// To another opening, or nothing.
    Nothing,
}

/// All openings by their first letter: an opening is looked for behind every comma, and is rarely there.
static OPENINGS: LazyLock<[Vec<Opening>; 26]> = LazyLock::new(|| {
    let verbs = VERBS.iter().map(|verb| Opening { words: verb.opening, leads_to: LeadsTo::Request(verb) });
    let stances = STANCES
        .iter()
        .chain([&POINTS_AT])
        .flat_map(|stance| stance.openings.iter().map(move |words| Opening { words, leads_to: LeadsTo::Consideration(stance) }));
    let adverbs = ADVERBS.iter().map(|words| Opening { words, leads_to: LeadsTo::Nothing });
    let mut by_letter: [Vec<Opening>; 26] = Default::default();
    for opening in verbs.chain(stances).chain(adverbs) {
        by_letter[usize::from(opening.words.as_bytes()[0] - b'a')].push(opening);
    }
    by_letter
});

/// The words that `text` opens with, and their length.
fn opening(text: &str) -> Option<(LeadsTo, usize)> {
    let letter = text.bytes().next()?.to_ascii_lowercase().checked_sub(b'a')?;
    let candidates = OPENINGS.get(usize::from(letter))?;
    candidates.iter().find_map(|opening| Some((opening.leads_to, opens(text, opening.words)?)))
}

/// The opening of `text`, if it has one.
pub(super) fn lead(text: &str) -> Option<Lead> {
    let adverbs = skip_adverbs(text);
    let (leads_to, length) = opening(&text[adverbs..])?;
    let mut length = adverbs + length;
    length += skip_adverbs(&text[length..]);
    let (part, certain) = match leads_to {
        LeadsTo::Request(verb) => {
            let rest = &text[length..];
            (Part::Request(verb), verb.certain_before.iter().any(|words| starts_with_folded(rest, words)))
        }
        LeadsTo::Consideration(stance) => (Part::Consideration(stance), stance.certain),
        LeadsTo::Nothing => return None,
    };
    Some(Lead { part, length, certain })
}

/// The bytes of the adverbs that `text` starts with; of a text that is nothing else, not all.
fn skip_adverbs(text: &str) -> usize {
    let mut skipped = 0;
    for _ in 0..4 {
        match opening(&text[skipped..]) {
            Some((LeadsTo::Nothing, length)) => skipped += length,
            _ => break,
        }
    }
    skipped
}

/// Takes `tevens` and the like out of `de regering tevens te …`: the words before it, with a space, and those
/// behind it. A sentence that starts with `Ook verzoekt de motie` says it already.
pub(super) fn without_adverb(words: &str) -> (&'static str, &str) {
    const ADDRESSEES: &[&str] = &[" de regering", " het kabinet", " de Minister", " de Staatssecretaris", " het presidium"];
    const REPEATED: &[&str] = &["tevens", "voorts", "verder", "daarnaast", "aanvullend", "bovendien"];
    for addressee in ADDRESSEES {
        let Some(rest) = words.strip_prefix(addressee.trim_start()).and_then(|rest| rest.strip_prefix(' ')) else {
            continue;
        };
        if let Some(length) = REPEATED.iter().find_map(|adverb| opens(rest, adverb)) {
            return (addressee, &rest[length..]);
        }
    }
    ("", words)
}

/// If `text` opens with these words, the length of them and of the space or comma behind them.
fn opens(text: &str, words: &str) -> Option<usize> {
    if !starts_with_folded(text, words) {
        return None;
    }
    let rest = &text.as_bytes()[words.len()..];
    match rest {
        [] => Some(words.len()),
        [b' ' | b':', ..] => Some(words.len() + 1),
        [b',', b' ', ..] => Some(words.len() + 2),
        [b','] => Some(words.len() + 1),
        _ => None,
    }
}

/// Whether `text` starts with these words, in ASCII of any case.
pub(super) fn starts_with_folded(text: &str, words: &str) -> bool {
    let (text, words) = (text.as_bytes(), words.as_bytes());
    // Most texts differ in their first letter: not worth a call.
    text.first().map(u8::to_ascii_lowercase) == words.first().map(u8::to_ascii_lowercase)
        && text.get(..words.len()).is_some_and(|start| start.eq_ignore_ascii_case(words))
}

/// Whether an ordinary sentence carries a request.
pub(super) fn asks_inside(sentence: &str) -> bool {
    let sentence = sentence.to_lowercase();
    REQUEST_PHRASES.iter().any(|phrase| sentence.contains(phrase))
}

/// The words before the rest of a clause that make it a sentence; they end in a space.
pub(super) type Start = [&'static str; 5];

impl Verb {
    /// Whether it asks somebody to act, and does not just take a position: `spreekt uit dat …`.
    pub(super) fn asks_for_action(&self) -> bool {
        const ACTION: &[&str] = &[
            "verzoekt",
            "verzoeken",
            "roept",
            "draagt",
            "nodigt",
            "vraagt",
            "dringt",
            "doet een beroep",
            "gelast",
            "requests",
            "calls on",
            "calls upon",
            "urges",
            "asks",
            "invites",
            "instructs",
            "demands",
        ];
        ACTION.contains(&self.word)
    }

    /// The start of the sentence, if it is the `nth` request, from 0.
    pub(super) fn start(&self, nth: usize) -> Start {
        let (before, after) = match (self.subject, nth) {
            (Subject::Motion, 0) => ("De motie ", ""),
            (Subject::Motion, 1) => ("Ook ", " de motie"),
            (Subject::Motion, 2) => ("Verder ", " de motie"),
            (Subject::Motion, _) => ("Daarnaast ", " de motie"),
            (Subject::Chamber, 0) => ("Volgens de motie ", " de Kamer"),
            (Subject::Chamber, _) => ("Ook ", " de Kamer"),
            (Subject::English, 0) => ("The motion ", ""),
            (Subject::English, 1) => ("It also ", ""),
            (Subject::English, _) => ("It further ", ""),
        };
        [before, self.word, after, "", " "]
    }
}

impl Stance {
    /// The start of the sentence, if it is the `nth` reason, from 0, and goes on with `rest`.
    pub(super) fn start(&self, nth: usize, one_mover: bool, rest: &str) -> Start {
        if self.english {
            let that = if self.needs_clause && !rest.starts_with("that ") { " that " } else { " " };
            return [if nth == 0 { "The motion " } else { "It also " }, self.singular, "", "", that];
        }
        let (stance, that) = match Object::of(rest) {
            Object::Noun if self.needs_clause => (&POINTS_AT, " "),
            Object::BareClause if self.needs_clause => (self, " dat "),
            _ => (self, " "),
        };
        let (before, verb, after) = match (nth, one_mover) {
            (0, true) => ("De indiener ", stance.singular, ""),
            (0, false) => ("De indieners ", stance.plural, ""),
            (_, true) => ("Ook ", stance.singular, " de indiener"),
            (_, false) => ("Ook ", stance.plural, " zij"),
        };
        [before, verb, after, stance.tail, that]
    }
}

/// What a reason goes on with.
enum Object {
    /// `dat …`, or an adjunct with `dat` somewhere behind it.
    Clause,
    /// `het belang van …`
    Noun,
    /// A clause whose `dat` was forgotten.
    BareClause,
}

impl Object {
    fn of(rest: &str) -> Self {
        const CLAUSE: &[&str] = &[
            "dat", "hoe", "of", "aan", "bij", "blijkens", "door", "evenals", "in", "met", "na", "naar", "op", "sinds", "tot", "uit", "van",
            "volgens", "voor",
        ];
        const NOUN: &[&str] = &["de", "het", "een", "deze", "diens", "zijn", "haar", "hun"];
        let first = rest.split([' ', ',', ':']).next().unwrap_or_default();
        if CLAUSE.contains(&first) {
            Self::Clause
        } else if NOUN.contains(&first) {
            Self::Noun
        } else {
            Self::BareClause
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence(clause: &str, nth: usize, one_mover: bool) -> Option<String> {
        let lead = lead(clause)?;
        let rest = &clause[lead.length..];
        let start = match lead.part {
            Part::Request(verb) => verb.start(nth),
            Part::Consideration(stance) => stance.start(nth, one_mover, rest),
            Part::Sentence => return None,
        };
        Some(start.concat() + rest)
    }

    #[test]
    fn clauses_become_sentences_with_a_subject() {
        let cases = [
            ("verzoekt de regering te fietsen", 0, "De motie verzoekt de regering te fietsen"),
            ("Verzoekt tevens de regering te fietsen", 1, "Ook verzoekt de motie de regering te fietsen"),
            ("voorts verzoekt het kabinet te fietsen", 2, "Verder verzoekt de motie het kabinet te fietsen"),
            ("verzoekt de regering:", 0, "De motie verzoekt de regering:"),
            ("spreekt uit dat het kan", 0, "De motie spreekt uit dat het kan"),
            ("roept de regering op te fietsen", 1, "Ook roept de motie de regering op te fietsen"),
            ("draagt de regering op te fietsen", 0, "De motie draagt de regering op te fietsen"),
            ("zegt het vertrouwen in het kabinet op", 0, "De motie zegt het vertrouwen in het kabinet op"),
            ("besluit een debat te houden", 0, "Volgens de motie besluit de Kamer een debat te houden"),
            ("calls on the government to cycle", 0, "The motion calls on the government to cycle"),
            ("urges the government to cycle", 1, "It also urges the government to cycle"),
            ("constaterende dat het regent", 0, "De indieners constateren dat het regent"),
            ("constaterende, dat het regent", 1, "Ook constateren zij dat het regent"),
            ("voorts overwegende dat het regent", 0, "De indieners wijzen erop dat het regent"),
            ("overwegende het belang van regen", 0, "De indieners wijzen op het belang van regen"),
            ("overwegende er veel regen valt", 0, "De indieners wijzen erop dat er veel regen valt"),
            ("constaterende uit cijfers dat het regent", 0, "De indieners constateren uit cijfers dat het regent"),
            ("daarnaast van mening dat het regent", 1, "Ook zijn zij van mening dat het regent"),
            ("gelet op de regen", 0, "De indieners wijzen op de regen"),
            ("vaststellende dat het regent", 0, "De indieners stellen vast dat het regent"),
            ("noting that it rains", 0, "The motion notes that it rains"),
            ("whereas it rains", 1, "It also notes that it rains"),
        ];
        for (clause, nth, expected) in cases {
            assert_eq!(sentence(clause, nth, false).as_deref(), Some(expected), "{clause}");
        }
    }

    #[test]
    fn what_a_sentence_says_already_is_taken_out() {
        assert_eq!(without_adverb("de regering tevens te fietsen"), (" de regering", "te fietsen"));
        assert_eq!(without_adverb("de regering, voorts te fietsen"), ("", "de regering, voorts te fietsen"));
        assert_eq!(without_adverb("de regering verderop te fietsen"), ("", "de regering verderop te fietsen"));
    }

    #[test]
    fn one_mover_speaks_in_the_singular() {
        assert_eq!(sentence("overwegende dat X", 0, true).as_deref(), Some("De indiener wijst erop dat X"));
        assert_eq!(sentence("van mening dat X", 1, true).as_deref(), Some("Ook is de indiener van mening dat X"));
    }

    #[test]
    fn other_words_open_nothing() {
        for text in ["de trein", "verzoektrein", "Constant", "é", "ook", "en de Kamer te informeren", "spreektijd"] {
            assert!(lead(text).is_none(), "{text}");
        }
    }

    #[test]
    fn requests_are_found_inside_sentences() {
        assert!(asks_inside("Wij VERZOEKEN DE regering om actie."));
        assert!(asks_inside("The authors call on the minister to act."));
        assert!(!asks_inside("Het verzoek werd afgewezen."));
    }
}
