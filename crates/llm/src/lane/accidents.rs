//! Refusals that no limit explains.
//!
//! Some providers refuse a few requests whatever the load: an upstream server is busy, a shard restarts. Who takes each
//! of them for a limit slows down for ever, for they go on below every limit that is supposed. A limit shows itself
//! otherwise: above it refusals crowd, below it there are none.
//!
//! So when refusals come one by one although nothing more was tried, the lane tries less: at seven eighths of its speed a
//! limit refuses nothing, and accidents go on. If they do, what the lane has learned from them is unlearned, and from
//! then on a refusal counts only when refusals come more often than accidents did: a sequential test (CUSUM) of their share
//! against a clearly higher one.

use super::cap::Cap;
use super::constants::{
    ACCIDENT_ALARM, ACCIDENT_LIMIT, ACCIDENT_MEMORY, ACCIDENTS, ACCIDENTS_APART, ACCIDENTS_BELOW, ACCIDENTS_END, ACCIDENTS_EXPECTED,
    ACCIDENTS_FASTER, ACCIDENTS_FLOOR, ACCIDENTS_MORE, ACCIDENTS_REST, ACCIDENTS_SILENCE, ACCIDENTS_TRIAL, ACCIDENTS_TRIED,
    ACCIDENTS_TRIED_AT, ACCIDENTS_WITHIN, MEMORY,
};
use super::rate::Rate;

/// Tells accidents from limits.
#[derive(Clone, Debug)]
pub(super) struct Accidents {
    /// The share of requests that accidents refuse; 0 while none are believed in.
    share: f64,
    /// What it may be at the most: what a limit refuses must not pass for accidents little by little.
    most: f64,
    /// How much speaks for more refusals than that.
    excess: f64,
    /// When something was refused last, and what was admitted since.
    last: f64,
    since_last: u64,
    /// Refusals in a row that were not alone.
    crowd: u32,
    at_level: Option<Series>,
    below: Option<Series>,
    trial: Option<Trial>,
    /// To be admitted before the next suspicion, and as it was after the last trial.
    rest: (u64, u64),
}

/// What the lane has learned from refusals.
pub(super) type Learned = (Cap, [Rate; 2]);

/// Refusals, each of them alone, that may be accidents. They are suspect `at_level` if they come although the lane has not
/// become faster, and `below` if they come although it was faster between two refusals: no limit, whatever it has in
/// stock, gives more than its rate between two of them.
#[derive(Clone, Debug)]
struct Series {
    /// As it was when the series began, which is what it goes back to.
    learned: Box<Learned>,
    began: f64,
    /// Requests a second then.
    speed: f64,
    suspect: u32,
    refused: u32,
    admitted: u64,
}

/// A while at a lower speed.
#[derive(Clone, Debug)]
struct Trial {
    learned: Box<Learned>,
    /// Requests a second that may leave, and when the next may.
    speed: f64,
    due: f64,
    refused: u32,
    admitted: u64,
    /// Admitted until it has failed.
    length: u64,
}

/// What a refusal is taken for.
#[derive(Debug)]
pub(super) enum Cause {
    /// The lane was too fast, or too many were in flight.
    Limit,
    /// The lane is not to blame.
    Accident,
    /// The lane is not to blame, and was not in the refusals before: this is what it knew until then.
    AllAccidents(Box<Learned>),
}

impl Default for Accidents {
    fn default() -> Self {
        Self {
            share: 0.0,
            most: 0.0,
            excess: 0.0,
            last: f64::NEG_INFINITY,
            since_last: 0,
            crowd: 0,
            at_level: None,
            below: None,
            trial: None,
            rest: (0, ACCIDENTS_REST),
        }
    }
}

impl Series {
    fn new(now: f64, speed: f64, learned: Learned) -> Self {
        Self { learned: Box::new(learned), began: now, speed, suspect: 1, refused: 1, admitted: 0 }
    }

    /// One more, after so many were admitted.
    fn grow(&mut self, admitted: u64, is_suspect: bool) {
        self.refused += 1;
        self.admitted += admitted;
        self.suspect += u32::from(is_suspect);
    }
}

impl Trial {
    fn new(now: f64, speed: f64, series: Series) -> Self {
        let length = ACCIDENTS_EXPECTED * series.admitted / u64::from(series.refused);
        Self { learned: series.learned, speed: ACCIDENTS_TRIED_AT * speed, due: now, refused: 0, admitted: 0, length }
    }

    /// Whether more accidents should have come by now.
    fn has_failed(&self) -> bool {
        // Where accidents have come so often, so many without one are a limit.
        let silence = ACCIDENTS_SILENCE * self.length / ACCIDENTS_EXPECTED;
        self.admitted > if self.refused == 0 { silence } else { self.length.min(ACCIDENTS_TRIAL) }
    }
}

impl Accidents {
    /// Whether some refusals are accidents.
    pub(super) fn are_known(&self) -> bool {
        self.share > 0.0
    }

    /// Whether a request may leave now, or else when: a trial slows the lane down.
    pub(super) fn ready(&self, now: f64) -> Result<(), f64> {
        self.trial.as_ref().map(|trial| trial.due).filter(|due| now < *due).map_or(Ok(()), Err)
    }

    /// A request leaves.
    pub(super) fn take(&mut self, now: f64) {
        if let Some(trial) = &mut self.trial {
            trial.due = trial.due.max(now) + 1.0 / trial.speed;
        }
    }

    /// A request was admitted.
    pub(super) fn admitted(&mut self) {
        self.rest.0 = self.rest.0.saturating_sub(1);
        self.since_last += 1;
        if self.since_last > ACCIDENTS_WITHIN {
            (self.at_level, self.below) = (None, None);
        }
        if let Some(trial) = &mut self.trial {
            trial.admitted += 1;
            if trial.has_failed() {
                self.give_up();
            }
        }
        if self.share > 0.0 {
            let more = self.more();
            self.excess = (self.excess + ((1.0 - more) / (1.0 - self.share)).ln()).max(0.0);
            self.learn(0.0);
            if self.share < ACCIDENTS_END {
                (self.share, self.excess) = (0.0, 0.0);
            }
        }
    }

    /// A request was refused along with others: what left at the same time shares its fate.
    pub(super) fn crowd(&mut self) {
        self.since_last = 0;
        self.crowd += 1;
        if self.crowd > 1 {
            // One of them may be chance. More of them show a limit.
            (self.at_level, self.below) = (None, None);
            if self.trial.is_some() {
                self.give_up();
            }
        }
    }

    /// The trial has shown a limit.
    fn give_up(&mut self) {
        self.trial = None;
        self.rest = (self.rest.1, (2 * self.rest.1).min(16 * ACCIDENTS_REST));
    }

    /// A request was refused without a word why, while the lane went at this speed; `is_test` if it tried for more.
    pub(super) fn refused(&mut self, now: f64, speed: f64, is_test: bool, learned: impl Fn() -> Learned) -> Cause {
        if self.trial.is_none() && self.share > 0.0 && self.is_usual() {
            return Cause::Accident;
        }
        let seconds = now - std::mem::replace(&mut self.last, now);
        if self.since_last < ACCIDENTS_APART {
            self.crowd();
            return Cause::Limit;
        }
        let admitted = std::mem::take(&mut self.since_last);
        // Only now it is known that the one before was alone.
        let was_alone = std::mem::take(&mut self.crowd) == 0;
        if let Some(cause) = self.tried() {
            return cause;
        }
        if self.rest.0 > 0 {
            return Cause::Limit;
        }
        let between = admitted as f64 / seconds.max(1e-3);
        let mut slow_enough = false;
        match &mut self.below {
            Some(series) if between < series.speed && now - series.began < MEMORY => {
                let share = speed.max(between) / series.speed;
                series.grow(admitted, was_alone && share < ACCIDENTS_BELOW);
                slow_enough = share < ACCIDENTS_FLOOR;
            }
            slow if admitted >= 2 * ACCIDENTS_APART => *slow = Some(Series::new(now, between, learned())),
            _ => {}
        }
        match &mut self.at_level {
            _ if is_test => self.at_level = None,
            Some(series) if speed < ACCIDENTS_FASTER * series.speed => series.grow(admitted, was_alone),
            slow => *slow = Some(Series::new(now, speed, learned())),
        }
        match self.suspect() {
            Some(series) => self.trial = Some(Trial::new(now, speed, series)),
            None if slow_enough => return Cause::Accident,
            None => {}
        }
        Cause::Limit
    }

    /// Whether accidents explain one refusal more.
    fn is_usual(&mut self) -> bool {
        self.excess += (self.more() / self.share).ln();
        if self.excess < ACCIDENT_ALARM {
            self.learn(1.0);
            return true;
        }
        self.excess = ACCIDENT_ALARM / 2.0;
        false
    }

    /// What a refusal during a trial is taken for.
    fn tried(&mut self) -> Option<Cause> {
        let trial = self.trial.as_mut()?;
        trial.refused += 1;
        if trial.refused < ACCIDENTS_TRIED {
            return Some(Cause::Accident);
        }
        let Trial { learned, refused, admitted, .. } = self.trial.take()?;
        // It ends with a refusal, which is one too many.
        let share = f64::from(refused - 1) / (admitted as f64).max(1.0);
        (self.share, self.excess) = (share.min(ACCIDENT_LIMIT), 0.0);
        self.most = ACCIDENTS_MORE * self.share;
        self.rest = (0, ACCIDENTS_REST);
        Some(Cause::AllAccidents(learned))
    }

    /// The series that calls for a trial; then both begin anew.
    fn suspect(&mut self) -> Option<Series> {
        let both = [&mut self.below, &mut self.at_level];
        let suspect = both.into_iter().find_map(|series| series.take_if(|series| series.suspect >= ACCIDENTS))?;
        (self.at_level, self.below) = (None, None);
        Some(suspect)
    }

    fn learn(&mut self, refused: f64) {
        self.share = (self.share + (refused - self.share) / ACCIDENT_MEMORY).min(self.most);
    }

    /// The share of refusals that the test holds against that of accidents.
    fn more(&self) -> f64 {
        2.0 * self.share + 0.03
    }
}
