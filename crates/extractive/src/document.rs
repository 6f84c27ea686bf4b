//! A text taken apart: its title, and the clauses or sentences of its body.
//!
//! What is official form (header lines, the opening formula, the closing formula, signatures, page footers) is
//! left out. The body is read line by line, because the official XML has one clause a line and PDFs break
//! lines anywhere; lines are joined into paragraphs, and a paragraph is split where it is closed.

use std::mem::take;
use std::ops::Range;

use super::clean::{push_clean, take_markers};
use super::form::{bullet, closes, is_form, is_lone_mark, is_name, split_at_opening};
use super::leads::{Lead, Part, asks_inside, lead};
use super::markup::strip_markup;
use super::sentences::{Joint, next_joint};

/// A text taken apart.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// What the ranges point into: the title and the body with single spaces.
    text: String,
    title: Range<usize>,
    /// The clauses of the body, in order.
    pub(super) clauses: Vec<Clause>,
    /// The `[[…]]` markers of the text, in order.
    pub(super) markers: String,
    /// Whether the motion names one mover, without `c.s.`
    pub(super) one_mover: bool,
}

/// A clause, or a sentence.
#[derive(Clone, Debug)]
pub(super) struct Clause {
    /// What it does.
    pub(super) part: Part,
    range: Range<usize>,
}

impl Document {
    /// Reads any text; takes time in proportion to its length.
    pub(super) fn read(text: &str) -> Self {
        let (text, markers) = take_markers(text);
        let text = strip_markup(&text);
        let (head, body, official) = split_at_opening(&text);
        let mut reader = Reader::new(text.len(), markers, official);
        let body = if official {
            reader.head(head);
            body
        } else {
            reader.leading_title(body)
        };
        for line in body.lines() {
            reader.line(line.trim());
        }
        reader.finish()
    }

    /// The title, or nothing.
    pub(super) fn title(&self) -> &str {
        &self.text[self.title.clone()]
    }

    /// The words of a clause, behind its opening and without the punctuation that only joins it to the next.
    pub(super) fn words_of(&self, clause: &Clause) -> &str {
        &self.text[clause.range.clone()]
    }

    /// Whether it asks for something, in official form or in a sentence.
    pub(super) fn asks(&self) -> bool {
        let asks = |clause: &Clause| match clause.part {
            Part::Request(_) => true,
            Part::Consideration(_) => false,
            Part::Sentence => asks_inside(self.words_of(clause)),
        };
        self.clauses.iter().any(asks)
    }

    /// The title and the clauses.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.title()).chain(self.clauses.iter().map(|clause| self.words_of(clause)))
    }
}

/// What joins a clause to its neighbours, and belongs to neither.
const JOINTS: [char; 4] = [',', ';', ':', ' '];

/// Whether an opening in the middle of a paragraph, behind this joint of a clause that does `part`, opens a clause.
fn starts_clause(joint: Joint, part: Part, lead: &Lead) -> bool {
    match joint {
        Joint::Semicolon => true,
        Joint::Sentence => lead.certain,
        // `verzoekt de regering om, gezien het advies, …`
        Joint::Comma => lead.certain && !matches!((part, lead.part), (Part::Request(_), Part::Consideration(_))),
    }
}

/// What a paragraph is made of, line by line.
#[derive(Debug)]
struct Reader {
    document: Document,
    official: bool,
    /// The paragraph that is being read, from here to the end of the text.
    start: usize,
    part: Part,
    /// The paragraph has list items.
    list: bool,
    /// The mark of a list item stood on a line of its own.
    mark: bool,
    /// There was an empty line after the last one.
    gap: bool,
    /// There was the footer of a page after the last line.
    page_break: bool,
    /// Between the closing formula and the next empty line stand the names of who signed.
    signatures: bool,
    requested: bool,
    /// The characters of the last line.
    last_length: usize,
}

impl Reader {
    /// A line that is shorter than this, without punctuation at its end, was not broken by its page's width.
    const HEADING: usize = 45;

    fn new(capacity: usize, markers: String, official: bool) -> Self {
        Self {
            document: Document {
                text: String::with_capacity(capacity + 16),
                clauses: Vec::with_capacity(8),
                markers,
                ..Document::default()
            },
            official,
            start: 0,
            part: Part::Sentence,
            list: false,
            mark: false,
            gap: false,
            page_break: false,
            signatures: false,
            requested: false,
            last_length: 0,
        }
    }

    /// Reads what stands before the opening formula: a title, if there is one, and who moves.
    fn head(&mut self, head: &str) {
        for line in head.lines().map(str::trim) {
            self.movers(line);
            if !line.is_empty() && !is_form(line) && self.document.title.is_empty() {
                self.title(line);
            }
        }
    }

    /// Takes the first line for the title if an empty line follows it, and returns the rest.
    fn leading_title<'a>(&mut self, text: &'a str) -> &'a str {
        let text = text.trim().trim_start_matches(['#', '*', ' ']);
        let Some((first, rest)) = text.split_once('\n') else { return text };
        let (first, second) = (first.trim(), rest.split('\n').next().unwrap_or_default().trim());
        let is_title = second.is_empty() && !first.is_empty() && first.len() < 500 && !is_form(first);
        if !is_title || lead(first).is_some_and(|lead| lead.certain) {
            return text;
        }
        self.movers(first);
        self.title(first);
        rest
    }

    fn title(&mut self, line: &str) {
        push_clean(&mut self.document.text, line);
        self.document.title = 0..self.document.text.trim_end().len();
        self.start = self.document.text.len();
    }

    fn movers(&mut self, line: &str) {
        if line.contains("otie van het lid ") || line.contains("OTIE VAN HET LID ") {
            self.document.one_mover = !line.contains("c.s.") && !line.contains("C.S.");
        } else if line.contains("otie van de leden ") || line.contains("OTIE VAN DE LEDEN ") {
            self.document.one_mover = false;
        }
    }

    fn line(&mut self, line: &str) {
        if line.is_empty() {
            (self.gap, self.signatures) = (true, false);
            return;
        }
        if self.signatures {
            return;
        }
        if is_form(line) {
            self.page_break = true;
            return;
        }
        if self.is_motion() && closes(line) {
            self.close();
            self.signatures = true;
            return;
        }
        if self.has_request() && line.len() < 60 && self.last_is(&[',', '.', ';']) && is_name(line) {
            self.close();
            self.signatures = true;
            return;
        }
        if is_lone_mark(line) {
            self.mark = true;
            return;
        }
        let (gap, page_break) = (take(&mut self.gap), take(&mut self.page_break));
        if let Some(lead) = self.opening(line, gap) {
            self.close();
            self.part = lead.part;
            self.append(&line[lead.length..]);
        } else if let Some(mark) = bullet(line).or(take(&mut self.mark).then_some(0)) {
            self.item(&line[mark..]);
        } else if self.continues(line, gap, page_break) {
            self.append(line);
        } else {
            self.close();
            self.append(line);
        }
        self.last_length = line.chars().count();
    }

    /// Whether a request or the opening formula has been met, so that the closing formula may follow.
    fn is_motion(&self) -> bool {
        self.official || self.has_request()
    }

    fn has_request(&self) -> bool {
        self.requested || matches!(self.part, Part::Request(_))
    }

    /// The opening that `text` starts with. In prose that is no motion only what is certain counts, and no
    /// English participle with a capital: `Considering the weather, we left.`
    fn lead(&self, text: &str) -> Option<Lead> {
        let prose = |lead: &Lead| lead.certain && !(lead.part.is_english_reason() && text.starts_with(char::is_uppercase));
        lead(text).filter(|lead| self.official || prose(lead))
    }

    /// The opening of a clause, if this line starts one.
    fn opening(&mut self, line: &str, gap: bool) -> Option<Lead> {
        let apart = !self.is_open() || gap || self.last_is(&[';', '.', ':']);
        let found = self.lead(line).filter(|lead| apart || (lead.certain && (self.official || self.last_is(&[',']))))?;
        self.official = true;
        Some(found)
    }

    /// Whether this line goes on with the paragraph.
    fn continues(&self, line: &str, gap: bool, page_break: bool) -> bool {
        if !self.is_open() {
            return true;
        }
        let ended = self.last_is(&['.', '!', '?', '…']) || (!self.official && self.last_is(&[':']));
        let lower = line.starts_with(char::is_lowercase);
        if gap {
            return !ended && (lower || page_break);
        }
        let broken_early = self.last_length < Self::HEADING && !lower && !self.last_is(&[',', ';']);
        ended || self.official || !broken_early
    }

    /// An item of a list: part of its sentence where one leads up to it, a sentence of its own elsewhere.
    fn item(&mut self, item: &str) {
        let text = &mut self.document.text;
        if self.start < text.len() && !self.list && ["..", "…"].iter().any(|dots| text.trim_end().ends_with(dots)) {
            // `overwegende dat ...` and then the list.
            text.truncate(text.trim_end_matches(['.', '…', ' ']).len().max(self.start));
            text.push(':');
        }
        let leads_up = self.list || self.last_is(&[':', ',', ';']) || (self.official && !self.last_is(&['.']));
        if !(self.is_open() && leads_up) {
            self.close();
            return self.append(item);
        }
        let text = &mut self.document.text;
        text.truncate(text.trim_end().len());
        match (self.list, text.chars().next_back()) {
            (false, Some(':')) | (true, Some(';' | ',' | ':')) => {}
            (false, Some(',' | ';')) => {
                text.pop();
                text.push(':');
            }
            (false, _) => text.push(':'),
            (true, Some('.')) => {
                text.pop();
                text.push(';');
            }
            (true, _) => text.push(';'),
        }
        self.list = true;
        self.append(item);
    }

    fn is_open(&self) -> bool {
        self.start < self.document.text.len()
    }

    fn last_is(&self, characters: &[char]) -> bool {
        self.is_open() && self.document.text.trim_end().ends_with(characters)
    }

    fn append(&mut self, line: &str) {
        if self.is_open() && !self.document.text.ends_with(' ') {
            self.document.text.push(' ');
        }
        push_clean(&mut self.document.text, line);
    }

    /// Splits the paragraph into clauses and starts the next one.
    fn close(&mut self) {
        let text = take(&mut self.document.text);
        let (mut part, mut start) = (self.part, self.start);
        let mut from = start;
        while let Some((joint, end, next)) = next_joint(&text, start, from) {
            from = next;
            let rest = &text[next..];
            if self.is_motion() && closes(rest) {
                self.push(part, &text, start..end);
                start = text.len();
                break;
            }
            if let Some(lead) = self.lead(rest).filter(|lead| starts_clause(joint, part, lead)) {
                self.push(part, &text, start..end);
                (part, start) = (lead.part, next + lead.length);
                from = start;
                self.official = true;
            } else if joint == Joint::Sentence {
                self.push(part, &text, start..end);
                (part, start) = (Part::Sentence, next);
            }
        }
        self.push(part, &text, start..text.len());
        self.start = text.len();
        self.document.text = text;
        self.part = Part::Sentence;
        self.list = false;
    }

    fn push(&mut self, part: Part, text: &str, range: Range<usize>) {
        let words = &text[range.clone()];
        let start = range.start + words.len() - words.trim_start_matches(JOINTS).len();
        let words = text[start..range.end].trim_end();
        let words = words.strip_suffix(" en").or_else(|| words.strip_suffix(" and")).unwrap_or(words);
        let words = words.trim_end_matches(JOINTS);
        if !words.is_empty() {
            self.requested |= matches!(part, Part::Request(_));
            self.document.clauses.push(Clause { part, range: start..start + words.len() });
        }
    }

    fn finish(mut self) -> Document {
        self.close();
        self.document
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The clauses as `R …`, `C …` and `S …`.
    fn clauses(document: &Document) -> Vec<String> {
        let kind = |part| match part {
            Part::Request(_) => 'R',
            Part::Consideration(_) => 'C',
            Part::Sentence => 'S',
        };
        document.clauses.iter().map(|clause| format!("{} {}", kind(clause.part), document.words_of(clause))).collect()
    }

    #[test]
    fn a_motion_in_official_xml() {
        let document = Document::read(
            "Motie van het lid De Wit over groene bruggen \n\nVergaderjaar 2024-2025\nTweede Kamer der Staten-Generaal\n2\n\
             Kamerstukken\n25 424\nBruggen en wegen\nNr. 755\nMOTIE VAN HET LID DE WIT\nVoorgesteld 28\u{a0}mei 2025\n\
             De Kamer,\ngehoord de beraadslaging,\nconstaterende dat bruggen (nr. 12) grijs zijn;\nvoorts overwegende, dat \
             groen, mits licht, rust geeft;\nverzoekt de regering bruggen groen te verven,\nen gaat over tot de orde van \
             de dag.\nDe Wit\nVan Zwart",
        );
        assert_eq!(document.title(), "Motie van het lid De Wit over groene bruggen");
        assert!(document.one_mover);
        let expected =
            ["C dat bruggen (nr. 12) grijs zijn", "C dat groen, mits licht, rust geeft", "R de regering bruggen groen te verven"];
        assert_eq!(clauses(&document), expected);
    }

    #[test]
    fn a_motion_from_a_pdf() {
        let document = Document::read(
            "Tweede Kamer der Staten-Generaal\n\n2\n\nVergaderjaar 2022–2023\n\nNr. 9\n\nMOTIE VAN DE LEDEN DE WIT EN \
             ZWART\nVoorgesteld 1 februari 2023\nDe Kamer,\ngehoord de beraadslaging,\nconstaterende dat bruggen van \
             staal en van\nbeton grijs zijn;\nverzoekt de regering met de gemeenten af te spreken dat de\n\n\
             kst-32034-48\nISSN 0921 - 7371\n’s-Gravenhage 2023\n\nTweede Kamer, vergaderjaar 2022–2023, 32 034, nr. \
             48\n\n1\n\u{c}\n\nBredase bruggen groen worden,\nen gaat over tot de orde van de dag.\nDe Wit\nZwart\n\n\
             Tweede Kamer, vergaderjaar 2022–2023, 32 034, nr. 48\n\u{c}",
        );
        assert!(!document.one_mover);
        let expected = [
            "C dat bruggen van staal en van beton grijs zijn",
            "R de regering met de gemeenten af te spreken dat de Bredase bruggen groen worden",
        ];
        assert_eq!(clauses(&document), expected);
    }

    #[test]
    fn what_motions_do_otherwise() {
        let cases: &[(&str, &[&str])] = &[
            // Line breaks lost.
            (
                "De Kamer, gehoord de beraadslaging, constaterende dat het regent; verzoekt de regering te bouwen, en gaat over \
              tot de orde van de dag. De Wit",
                &["C dat het regent", "R de regering te bouwen"],
            ),
            // Lists, with and without punctuation, with the mark on a line of its own.
            (
                "De Kamer,\nverzoekt de regering:\n• te bouwen\n• te verven.\n• te wachten,\nen gaat over tot de orde van de dag.",
                &["R de regering: te bouwen; te verven; te wachten"],
            ),
            (
                "De Kamer,\nverzoekt de regering,\n1.\nte bouwen;\n2.\nte verven;\nen de Kamer te informeren,\nen gaat over tot \
              de orde van de dag.",
                &["R de regering: te bouwen; te verven; en de Kamer te informeren"],
            ),
            ("De Kamer,\noverwegende dat ...\n– het regent;\n– het waait;", &["C dat: het regent; het waait"]),
            // A verb at the start of a line that is no opening, and an opening without punctuation before it.
            (
                "De Kamer,\noverwegende dat een motie de regering\nverzoekt om te bouwen\nverzoekt de regering dat te doen,",
                &["C dat een motie de regering verzoekt om te bouwen", "R de regering dat te doen"],
            ),
            // No closing formula.
            ("De Kamer,\nverzoekt de regering te bouwen,\nVan der Wit\nZwart", &["R de regering te bouwen"]),
            ("De Kamer,\nverzoekt de regering te bouwen, en\ngaat over tot de orde van de dag.", &["R de regering te bouwen"]),
            // An inserted reason does not end a request.
            (
                "De Kamer,\nverzoekt de regering om, kennisgenomen hebbende van het advies, te bouwen,",
                &["R de regering om, kennisgenomen hebbende van het advies, te bouwen"],
            ),
            // Only the clauses.
            ("verzoekt de regering te bouwen", &["R de regering te bouwen"]),
            (
                "The House,\nhaving heard the debate,\nnoting that it rains;\ncalls on the government to build,\nand proceeds to \
              the order of the day.\nWhite",
                &["C that it rains", "R the government to build"],
            ),
            (
                "<al>De Kamer,</al><al>gehoord de beraadslaging,</al><al>verzoekt de regering <nadruk>te</nadruk> bouwen,</al>",
                &["R de regering te bouwen"],
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(clauses(&Document::read(text)), *expected, "{text}");
        }
    }

    #[test]
    fn prose_becomes_sentences() {
        let cases: &[(&str, &str, &[&str])] = &[
            ("", "", &[]),
            ("Alleen een titel", "", &["S Alleen een titel"]),
            ("# Kop\n\nEen zin over\nmeer regels. En nog een.", "Kop", &["S Een zin over meer regels.", "S En nog een."]),
            ("Een zin.\nEen tweede,\nmet staart.", "", &["S Een zin.", "S Een tweede, met staart."]),
            (
                "Considering the weather, we left. It rained; calls on the phone stopped.",
                "",
                &["S Considering the weather, we left.", "S It rained; calls on the phone stopped."],
            ),
            ("Te doen\n\n- melk halen\n- brood halen", "Te doen", &["S melk halen", "S brood halen"]),
        ];
        for (text, title, expected) in cases {
            let document = Document::read(text);
            assert_eq!(
                (document.title(), &*clauses(&document)),
                (*title, &*expected.iter().map(ToString::to_string).collect::<Vec<_>>()),
                "{text}"
            );
        }
    }
}
