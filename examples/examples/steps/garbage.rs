//! Garbage of the kinds that models leave in one answer of twenty, and how much of it gets through.

use std::collections::BTreeMap;
use std::fmt::Write;

use promptmill_core::{Acceptance, Tally};

use crate::answers::{Answer, for_each};

/// What was planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    ArabicLines,
    ForeignWord,
    Typo,
    Metadata,
    Blank,
}

const KINDS: [Kind; 5] = [Kind::ArabicLines, Kind::ForeignWord, Kind::Typo, Kind::Metadata, Kind::Blank];
/// One answer in so many is spoilt.
const EVERY: usize = 20;

const ARABIC: [&str; 3] = ["يطلب الاقتراح من الحكومة المزيد من الأموال للمدارس.", "الحكومة", "هذا نص باللغة العربية (2024)"];
const FOREIGN: [&str; 2] = ["filthy", "Filthy"];
const TYPO: [&str; 2] = ["formuliernoten", "Formuliernoten,"];
const METADATA: [&str; 4] = ["(36600-12)", "motie_id: 2024Z01234", "(45-102)", "[2024Z01234]"];
const BLANK: [&str; 4] = ["", " \n", "\u{200b}", "\n\n\t"];

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::ArabicLines => "lines in Arabic",
            Self::ForeignWord => "an English word",
            Self::Typo => "a made-up word",
            Self::Metadata => "metadata",
            Self::Blank => "blank",
        }
    }

    /// The text with garbage of this kind, the `nth` of it.
    fn spoil(self, text: &str, nth: usize) -> String {
        let pick = |list: &'static [&'static str]| list[nth % list.len()];
        // Anywhere between two words.
        let within = |what: &str, before: &str, after: &str| {
            let gaps: Vec<usize> = text.match_indices(' ').map(|(at, _)| at).collect();
            let at = gaps.get((nth * 7) % gaps.len().max(1)).copied().unwrap_or(text.len());
            format!("{}{before}{what}{after}{}", &text[..at], text[at..].trim_start())
        };
        match self {
            Self::ArabicLines if nth.is_multiple_of(2) => within(pick(&ARABIC), "\n", "\n"),
            Self::ArabicLines => within(pick(&ARABIC), " ", " "),
            Self::ForeignWord => within(pick(&FOREIGN), " ", " "),
            Self::Typo => within(pick(&TYPO), " ", " "),
            Self::Metadata => within(pick(&METADATA), " ", " "),
            Self::Blank => pick(&BLANK).to_owned(),
        }
    }

    /// Whether something of it is left.
    fn remains_in(self, text: &str) -> bool {
        let low = text.to_lowercase();
        match self {
            Self::ArabicLines => text.chars().any(|c| ('\u{600}'..='\u{6ff}').contains(&c)),
            Self::ForeignWord => low.contains("filthy"),
            Self::Typo => low.contains("formuliernoten"),
            Self::Metadata => ["36600", "motie_id", "2024z01234", "45-102"].iter().any(|part| low.contains(part)),
            Self::Blank => text.trim().is_empty(),
        }
    }
}

/// What became of the answers.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    /// Spoilt answers by kind: all of them, repaired, rejected.
    spoilt: BTreeMap<Kind, (u64, u64, u64)>,
    /// Good answers that were given to the wrong row, and how many of these were rejected. Not part of the shares: what
    /// the simulated provider says would fit many rows.
    swapped: (u64, u64),
    /// Texts about nothing, as a model writes for a row that it forgot, in the place of good answers: by whose they are all of
    /// them, those that `reject-swapped` and `reject-unfounded` turn away, and those that the whole list does. Not part of the
    /// shares either: a text that happens to fit cannot be told from an answer.
    about_nothing: BTreeMap<&'static str, (u64, u64, u64)>,
    good: u64,
    good_changed: u64,
    /// Good answers that were rejected, by reason, with one of them.
    good_rejected: BTreeMap<String, (u64, String)>,
    tally: Tally,
}

/// What models write that have nothing to say.
const GENERAL: [&str; 5] = [
    "De motie vraagt de regering om maatregelen te nemen en de Kamer hierover voor de zomer uitgebreid te informeren.",
    "De indieners van deze motie vinden dat het kabinet meer moet doen. Zij vragen daarom om een concreet plan van aanpak.",
    "Deze motie gaat over een belangrijk onderwerp en verzoekt de regering om samen met betrokken partijen actie te ondernemen.",
    "De motie roept op om de huidige situatie te verbeteren, zodat mensen sneller geholpen worden en problemen worden voorkomen.",
    "In deze motie wordt gevraagd om betere fietspaden in grote steden, omdat fietsers zich onveilig voelen in het verkeer.",
];

/// Spoils one answer in twenty and has all of them judged; `before` are the steps that were there before `reject-unrelated`.
pub(crate) fn measure(judge: &dyn Acceptance, before: &dyn Acceptance, answers: &[Answer]) -> Measured {
    let mut measured = Measured::default();
    for_each(answers, |number, answer, about| {
        if number % EVERY == 0 {
            let nth = number / EVERY;
            let kind = KINDS[nth % KINDS.len()];
            let verdict = judge.judge(&kind.spoil(&answer.text, nth / KINDS.len()), about, &mut measured.tally);
            let (all, repaired, rejected) = measured.spoilt.entry(kind).or_default();
            *all += 1;
            match verdict {
                Ok(accepted) => *repaired += u64::from(!kind.remains_in(&accepted.text)),
                Err(_) => *rejected += 1,
            }
            return;
        }
        if number % EVERY == EVERY / 2
            && let Some(other) = about.others.first()
        {
            measured.swapped.0 += 1;
            measured.swapped.1 += u64::from(judge.judge(other, about, &mut Tally::default()).is_err());
        }
        if number % EVERY == EVERY / 4 {
            // Nobody is asked about the rows of another pack: what is said about one of them is about nothing here.
            let foreign = &answers[(number + answers.len() / 2) % answers.len()].text;
            for (name, text) in [("general words", GENERAL[number / EVERY % GENERAL.len()]), ("about a row of another request", foreign)] {
                let (all, earlier, caught) = measured.about_nothing.entry(name).or_default();
                *all += 1;
                *earlier += u64::from(before.judge(text, about, &mut Tally::default()).is_err());
                *caught += u64::from(judge.judge(text, about, &mut Tally::default()).is_err());
            }
        }
        measured.good += 1;
        match judge.judge(&answer.text, about, &mut Tally::default()) {
            Ok(accepted) => measured.good_changed += u64::from(accepted.text != answer.text),
            Err(rejected) => {
                let (count, example) = measured.good_rejected.entry(rejected.reason).or_default();
                *count += 1;
                *example = rejected.detail;
            }
        }
    });
    measured
}

impl Measured {
    /// The share of the garbage that is repaired or rejected, and the share of good answers that are rejected.
    pub(crate) fn shares(&self) -> (f64, f64) {
        let (all, caught) = self.spoilt.values().fold((0, 0), |(all, caught), kind| (all + kind.0, caught + kind.1 + kind.2));
        let rejected: u64 = self.good_rejected.values().map(|(count, _)| count).sum();
        (caught as f64 / all.max(1) as f64, rejected as f64 / self.good.max(1) as f64)
    }

    /// The share of the texts about nothing that is rejected, with the steps of before and with all.
    #[cfg(test)]
    pub(crate) fn about_nothing(&self) -> (f64, f64) {
        let sum = |count: fn(&(u64, u64, u64)) -> u64| self.about_nothing.values().map(count).sum::<u64>() as f64;
        let all = sum(|counts| counts.0).max(1.0);
        (sum(|counts| counts.1) / all, sum(|counts| counts.2) / all)
    }

    pub(crate) fn table(&self, name: &str) -> String {
        let mut text = format!("{name}\n  {:<16} {:>7} {:>9} {:>9} {:>8}\n", "planted", "answers", "repaired", "rejected", "caught");
        for (kind, (all, repaired, rejected)) in &self.spoilt {
            let caught = 100.0 * (repaired + rejected) as f64 / *all as f64;
            let _ = writeln!(text, "  {:<16} {all:>7} {repaired:>9} {rejected:>9} {caught:>7.2}%", kind.name());
        }
        let (caught, wrongly) = self.shares();
        let _ = writeln!(
            text,
            "  caught {:.3}% of the garbage; wrongly rejected {:.3}% of {} good answers",
            100.0 * caught,
            100.0 * wrongly,
            self.good
        );
        let _ = writeln!(text, "  of {} answers given to another row of the pack {} are rejected", self.swapped.0, self.swapped.1);
        for (name, (all, earlier, caught)) in &self.about_nothing {
            let _ = writeln!(
                text,
                "  of {all} texts about nothing ({name}) {caught} are rejected, {earlier} without `reject-unrelated` and with `reject-unfounded`"
            );
        }
        let _ = writeln!(text, "  changed {} good answers", self.good_changed);
        for (reason, (count, example)) in &self.good_rejected {
            let _ = writeln!(text, "    {reason}: {count}, such as: {example}");
        }
        text
    }
}
