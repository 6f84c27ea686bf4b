//! Puts one motion together: draws who, when and about what, and fills in the templates.

use std::fmt::Write as _;

use super::calendar::{DAYS, Day};
use super::draw::{Draw, Stream};
use super::people::{MEMBERS, Member};
use super::phrases;
use super::terms::Terms;
use super::topics::TOPICS;

/// The length of every body that is there, in characters, the marker included.
pub(super) const LENGTH: std::ops::RangeInclusive<usize> = 600..=2500;

/// No further optional clause once a body has this many bytes: the longest double one and a marker still fit.
const FULL: usize = 1900;

const MAX_SIGNERS: usize = 6;

/// Results other than carried and rejected; the first is the usual one.
const RARE_RESULTS: &[&str] = &["aangehouden", "aangehouden", "gestaakt", "niet aangenomen", "uitstellen"];

/// Requests that begin like this cannot take a phrase in front.
const NO_OPENING: &[&str] = &["samen ", "uiterlijk ", "voor ", "zich ", "de Kamer "];

/// One motion in buffers that are used again for the next one.
#[derive(Debug, Default)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) body: String,
    pub(super) submitter: String,
    pub(super) party: String,
    pub(super) vote_result: Option<&'static str>,
    /// Requests, closing formula and names: written before what stands above them, because their length
    /// decides how much that has to be.
    tail: String,
}

/// Who submits: the first `named` are in the title, and with `others` it says "c.s.".
struct Signers {
    members: [&'static Member; MAX_SIGNERS],
    count: usize,
    named: usize,
    others: bool,
}

/// Blemishes that the official texts have too, each in a small share of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blemish {
    None,
    NoBreakSpace,
    TrailingSpaces,
    DoubleSpace,
    TitleSpace,
}

impl Row {
    /// Composes motion `n` under `seed`, with its body, and returns the day it was put forward.
    pub(super) fn compose(&mut self, seed: u64, n: u64, marker: bool) -> &'static Day {
        let mut draw = Draw::new(seed, n, Stream::Text);
        let topic = TOPICS[draw.below(TOPICS.len())];
        let day = &DAYS[draw.below(DAYS.len())];
        let signers = Signers::draw(&mut draw);
        let terms = Terms::draw(&mut draw, topic, day.year);
        let blemish = match draw.below(100) {
            0..=3 => Blemish::NoBreakSpace,
            4..=5 => Blemish::TrailingSpaces,
            6 => Blemish::DoubleSpace,
            7..=10 => Blemish::TitleSpace,
            _ => Blemish::None,
        };
        let amended = draw.chance(5);
        let request = draw.below(topic.requests.len());

        self.id.clear();
        // The number is `n` itself: no two rows can share an id, whatever the year.
        let _ = write!(self.id, "{}Z{n:05}", day.year);
        self.write_people(&signers);
        self.vote_result = vote(&mut draw, signers.members[0]);
        self.write_title(&mut draw, &terms, &signers, topic.requests[request].0, amended, blemish);
        self.write_tail(&mut draw, &terms, &signers, request, blemish);
        self.body.clear();
        self.write_heading(&mut draw, &terms, &signers, day, amended, blemish);
        self.write_clauses(&mut draw, &terms);
        self.body.push_str(&self.tail);
        if marker {
            let _ = write!(self.body, "\n[[{}]]", self.id);
        }
        day
    }

    fn write_people(&mut self, signers: &Signers) {
        self.submitter.clear();
        self.party.clear();
        for (index, member) in signers.members[..signers.named].iter().enumerate() {
            if index > 0 {
                self.submitter.push_str("; ");
            }
            self.submitter.push_str(member.name);
            // A party counts once, however many of its members signed.
            let seen = signers.members[..index].iter().any(|earlier| earlier.party == member.party);
            if !seen {
                if index > 0 {
                    self.party.push_str("; ");
                }
                self.party.push_str(member.party);
            }
        }
    }

    fn write_title(&mut self, draw: &mut Draw, terms: &Terms, signers: &Signers, about: &str, amended: bool, blemish: Blemish) {
        let title = &mut self.title;
        title.clear();
        title.push_str(if amended { "Gewijzigde motie van " } else { "Motie van " });
        title.push_str(if signers.named == 1 { "het lid " } else { "de leden " });
        signers.list(title, |member| member.name, " en ");
        if signers.others {
            title.push_str(" c.s.");
        }
        title.push_str(" over ");
        terms.render(about, draw, title);
        if blemish == Blemish::TitleSpace {
            title.push(' ');
        }
    }

    fn write_heading(&mut self, draw: &mut Draw, terms: &Terms, signers: &Signers, day: &Day, amended: bool, blemish: Blemish) {
        let (number, dossier) = terms.topic.dossiers[draw.below(terms.topic.dossiers.len())];
        let paper = draw.between(4, 1400);
        let body = &mut self.body;
        body.push_str("Vergaderjaar ");
        body.push_str(&day.session);
        body.push_str("\nTweede Kamer der Staten-Generaal\n2\nKamerstukken\n");
        if blemish == Blemish::NoBreakSpace {
            body.extend(number.chars().map(|char| if char == ' ' { '\u{a0}' } else { char }));
        } else {
            body.push_str(number);
        }
        body.push('\n');
        body.push_str(dossier);
        if blemish == Blemish::TrailingSpaces {
            body.push_str("  ");
        }
        let _ = write!(body, "\nNr. {paper}");
        body.push_str(if amended { "\nGEWIJZIGDE MOTIE VAN " } else { "\nMOTIE VAN " });
        body.push_str(if signers.named == 1 { "HET LID " } else { "DE LEDEN " });
        signers.list(body, |member| member.upper.as_str(), " EN ");
        if signers.others {
            body.push_str(" C.S.");
        }
        body.push_str("\nVoorgesteld ");
        if draw.chance(9) {
            body.push_str("tijdens het ");
            body.push_str(draw.pick(phrases::MEETINGS));
            body.push_str(" van ");
        }
        body.push_str(&day.long);
        body.push_str("\nDe Kamer,\ngehoord de beraadslaging,\n");
    }

    fn write_clauses(&mut self, draw: &mut Draw, terms: &Terms) {
        let topic = terms.topic;
        // Some motions are much longer than most: every sort of clause, and clauses that say two things.
        let long = draw.chance(8);
        let (facts, considerations, view) = if long {
            (draw.between(3, 4), 4, draw.chance(60))
        } else {
            (1 + draw.weighted(&[42, 32, 17, 9]), 1 + draw.weighted(&[32, 36, 20, 12]), draw.chance(10))
        };

        let general = phrases::FACTS.fitting(topic.abroad);
        let mut used = 0;
        for index in 0..facts {
            if index == 0 || self.body.len() + self.tail.len() < FULL {
                let fact = unused(draw, &mut used, topic.facts, general);
                let second = (long && draw.chance(60)).then(|| unused(draw, &mut used, topic.facts, general));
                self.write_clause(draw, terms, "constaterende dat ", fact, second);
            }
        }
        let general = phrases::CONSIDERATIONS.fitting(topic.abroad);
        used = 0;
        let mut index = 0;
        // The first one always, the drawn number if they fit, and more while the motion is too short.
        while index == 0
            || (index < considerations && self.body.len() + self.tail.len() < FULL)
            || self.body.chars().count() + self.tail.chars().count() < *LENGTH.start()
        {
            let first = unused(draw, &mut used, topic.considerations, general);
            let second = (long && draw.chance(60)).then(|| unused(draw, &mut used, topic.considerations, general));
            self.write_clause(draw, terms, "overwegende dat ", first, second);
            index += 1;
        }
        if view && self.body.len() + self.tail.len() < FULL {
            let view = draw.pick(phrases::VIEWS.fitting(topic.abroad));
            self.write_clause(draw, terms, "van mening dat ", view, None);
        }
    }

    fn write_clause(&mut self, draw: &mut Draw, terms: &Terms, start: &str, first: &str, second: Option<&str>) {
        self.body.push_str(start);
        terms.render(first, draw, &mut self.body);
        if let Some(second) = second {
            self.body.push_str(", en dat ");
            terms.render(second, draw, &mut self.body);
        }
        self.body.push_str(";\n");
    }

    fn write_tail(&mut self, draw: &mut Draw, terms: &Terms, signers: &Signers, first: usize, blemish: Blemish) {
        let tail = &mut self.tail;
        tail.clear();
        tail.push_str("verzoekt de regering ");
        if blemish == Blemish::DoubleSpace {
            tail.push(' ');
        }
        let requests = terms.topic.requests;
        let request = requests[first].1;
        if draw.chance(45) && !NO_OPENING.iter().any(|start| request.starts_with(start)) {
            terms.render(draw.pick(phrases::OPENINGS), draw, tail);
        }
        terms.render(request, draw, tail);
        if draw.chance(55) && !request.contains(", en ") {
            terms.render(draw.pick(phrases::CLOSINGS.fitting(terms.topic.abroad)), draw, tail);
        }
        if draw.chance(25) {
            let also = ["\nen verzoekt de regering tevens ", "\nverzoekt de regering tevens "];
            let separate = draw.below(2);
            tail.push(if separate == 1 { ';' } else { ',' });
            tail.push_str(also[separate]);
            // Another request of the topic, or one that fits any first request.
            let second = if draw.chance(50) {
                requests[(first + draw.between(1, requests.len() - 1)) % requests.len()].1
            } else {
                draw.pick(phrases::SECOND_REQUESTS.fitting(terms.topic.abroad))
            };
            terms.render(second, draw, tail);
        }
        tail.push(',');
        if blemish == Blemish::TrailingSpaces {
            tail.push_str("  ");
        }
        tail.push_str("\nen gaat over tot de orde van de dag.");
        for member in &signers.members[..signers.count] {
            tail.push('\n');
            tail.push_str(member.name);
        }
    }
}

impl Signers {
    fn draw(draw: &mut Draw) -> Self {
        let (count, named, others) = match draw.weighted(&[49, 21, 4, 26]) {
            0 => (1, 1, false),
            1 => (2, 2, false),
            2 => (3, 3, false),
            _ => (draw.between(2, MAX_SIGNERS), 1, true),
        };
        let mut members = [&MEMBERS[0]; MAX_SIGNERS];
        for index in 0..count {
            members[index] = loop {
                let member = &MEMBERS[draw.below(MEMBERS.len())];
                if !members[..index].iter().any(|earlier| earlier.name == member.name) {
                    break member;
                }
            };
        }
        Self { members, count, named, others }
    }

    /// Writes "A", "A en B" or "A, B en C".
    fn list(&self, out: &mut String, spelling: impl Fn(&'static Member) -> &'static str, and: &str) {
        for (index, member) in self.members[..self.named].iter().enumerate() {
            if index > 0 {
                out.push_str(if index + 1 == self.named { and } else { ", " });
            }
            out.push_str(spelling(member));
        }
    }
}

fn vote(draw: &mut Draw, first: &Member) -> Option<&'static str> {
    match draw.below(1000) {
        0..=199 => None,
        200..=207 => Some(draw.pick(RARE_RESULTS)),
        _ if draw.below(1000) < first.carried => Some("aangenomen"),
        _ => Some("verworpen"),
    }
}

/// A phrase that this motion does not have yet: mostly one of its topic, sometimes a general one.
fn unused(draw: &mut Draw, used: &mut u32, topic: &[&'static str], general: &[&'static str]) -> &'static str {
    let count = topic.len() + general.len();
    let mut index = if draw.chance(72) { draw.below(topic.len()) } else { topic.len() + draw.below(general.len()) };
    while *used & (1 << index) != 0 && *used != (1 << count) - 1 {
        index = (index + 1) % count;
    }
    *used |= 1 << index;
    if index < topic.len() { topic[index] } else { general[index - topic.len()] }
}
