//! Refusals that no limit explains.
//!
//! Some providers refuse a few requests whatever the load: an upstream server is busy, a shard restarts. Who takes each
//! of them for a limit slows down for ever, for they go on below every limit that is supposed. A limit shows itself
//! otherwise: above it refusals crowd, below it there are none.
//!
//! So when refusals come one by one although nothing more was tried, the lane dares more, a dozen requests long: at half
//! as much again a limit refuses every third, and accidents are as rare as before (a sequential test of the one share
//! against the other). If that shows a limit, the lane tries less, for there may be accidents besides: at seven eighths of
//! its speed a limit refuses nothing, and accidents go on. If it is accidents, what the lane has learned from them is
//! unlearned, and from then on a refusal counts only when refusals come more often than accidents did: a sequential test
//! (CUSUM) of their share against a clearly higher one.

use super::KINDS;
use super::cap::Cap;
use super::constants::{
    ACCIDENT_ALARM, ACCIDENT_LIMIT, ACCIDENT_MEMORY, ACCIDENTS, ACCIDENTS_APART, ACCIDENTS_BELOW, ACCIDENTS_DARED, ACCIDENTS_DARED_AT,
    ACCIDENTS_END, ACCIDENTS_EXPECTED, ACCIDENTS_FASTER, ACCIDENTS_FLOOR, ACCIDENTS_HASTE, ACCIDENTS_LIKELY, ACCIDENTS_MORE,
    ACCIDENTS_RECALL, ACCIDENTS_REFUSED, ACCIDENTS_REST, ACCIDENTS_SILENCE, ACCIDENTS_SLOW, ACCIDENTS_SOON, ACCIDENTS_SURE,
    ACCIDENTS_TRIAL, ACCIDENTS_TRIED, ACCIDENTS_TRIED_AT, ACCIDENTS_WITHIN, MEMORY,
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
    /// When the last faster trial failed.
    dared: f64,
    /// When the highest speed lately was, and what; and whether the lane is slow beside it.
    fastest: (f64, f64),
    is_slow: bool,
    /// To be admitted before the next suspicion, and as it was after the last trial.
    rest: (u64, u64),
}

/// What the lane has learned from refusals.
pub(super) type Learned = (Cap, [Rate; KINDS]);

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

/// A while at another speed.
#[derive(Clone, Debug)]
struct Trial {
    learned: Box<Learned>,
    /// Before it: requests a second, how many were seen, and the share of them that was refused.
    before: f64,
    seen: f64,
    share: f64,
    /// Refusals that made it suspect.
    suspect: u32,
    began: f64,
    /// Requests a second that may leave, when the next may, and how many did.
    speed: f64,
    due: f64,
    left: u64,
    refused: u32,
    admitted: u64,
    way: Way,
    /// How much speaks for a limit, if it is faster: the logarithm of a likelihood ratio.
    odds: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// More than a limit lets pass.
    Faster,
    /// Less than any limit refuses.
    Slower,
}

/// How fast the lane goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Requests a second.
    pub(super) speed: f64,
    /// Whether it tries for more.
    pub(super) is_test: bool,
    /// Whether a pace is stated, which nothing exceeds.
    pub(super) is_stated: bool,
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
            dared: f64::NEG_INFINITY,
            fastest: (f64::NEG_INFINITY, 0.0),
            is_slow: false,
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
    fn faster(now: f64, speed: f64, series: Series) -> Self {
        let seen = series.admitted as f64 + f64::from(series.refused);
        let share = f64::from(series.refused) / seen;
        Self {
            learned: series.learned,
            before: speed,
            seen,
            share: share.clamp(ACCIDENTS_END, ACCIDENT_LIMIT / 2.0),
            suspect: series.suspect,
            began: now,
            speed: ACCIDENTS_DARED_AT * speed,
            due: now,
            left: 0,
            refused: 0,
            admitted: 0,
            way: Way::Faster,
            odds: 0.0,
        }
    }

    /// What was faster, now slower.
    fn slower(self, now: f64) -> Self {
        let speed = ACCIDENTS_TRIED_AT * self.before;
        Self { began: now, speed, due: now, left: 0, refused: 0, admitted: 0, way: Way::Slower, ..self }
    }

    /// Whether enough left to be more than a limit lets pass.
    fn is_faster(&self) -> bool {
        self.left as f64 > ACCIDENTS_DARED * self.before * (self.due - self.began)
    }

    /// Whether more accidents should have come by now.
    fn has_failed(&self) -> bool {
        // Where accidents have come so often, so many without one are a limit.
        let most = if self.refused == 0 { ACCIDENTS_SILENCE } else { (ACCIDENTS_TRIAL * self.share).min(ACCIDENTS_EXPECTED) };
        self.admitted as f64 * self.share > most
    }
}

impl Accidents {
    /// Whether some refusals are accidents.
    pub(super) fn are_known(&self) -> bool {
        self.share > 0.0
    }

    /// Whether a request may leave now, or else when, if that is up to a trial.
    pub(super) fn ready(&self, now: f64) -> Result<(), f64> {
        self.trial.as_ref().map(|trial| trial.due).filter(|due| now < *due).map_or(Ok(()), Err)
    }

    /// Whether more may leave than the limits that are supposed allow, and how much.
    pub(super) fn dares(&self) -> Option<f64> {
        self.trial.as_ref().filter(|trial| trial.way == Way::Faster).map(|_| ACCIDENTS_DARED_AT)
    }

    /// A request leaves.
    pub(super) fn take(&mut self, now: f64) {
        if let Some(trial) = &mut self.trial {
            trial.left += 1;
            trial.due = trial.due.max(now) + 1.0 / trial.speed;
        }
    }

    /// A request that left then was admitted. Returns what is to be unlearned, if that shows that refusals were accidents.
    pub(super) fn admitted(&mut self, at: f64) -> Option<Box<Learned>> {
        self.rest.0 = self.rest.0.saturating_sub(if self.is_slow { ACCIDENTS_HASTE } else { 1 });
        self.since_last += 1;
        if self.since_last > ACCIDENTS_WITHIN {
            (self.at_level, self.below) = (None, None);
        }
        if self.share > 0.0 {
            let more = self.more();
            self.excess = (self.excess + ((1.0 - more) / (1.0 - self.share)).ln()).max(0.0);
            self.learn(0.0);
            if self.share < ACCIDENTS_END {
                (self.share, self.excess) = (0.0, 0.0);
            }
        }
        let trial = self.trial.as_mut().filter(|trial| at >= trial.began)?;
        trial.admitted += 1;
        if trial.way == Way::Slower {
            if trial.has_failed() {
                self.give_up();
            }
            return None;
        }
        trial.odds += ((1.0 - ACCIDENTS_REFUSED) / (1.0 - trial.share)).ln();
        if trial.odds > ACCIDENTS_SURE.0 {
            return None;
        }
        if !trial.is_faster() {
            // The lane has no more to send: this shows nothing.
            self.fall_back(at);
            return None;
        }
        let trial = self.trial.take()?;
        let (likely, weight) = ACCIDENTS_LIKELY;
        // The series ended with a refusal, which is one too many.
        let refused = trial.share * trial.seen + f64::from(trial.refused) - 1.0;
        let share = (refused + likely * weight) / (trial.seen + trial.admitted as f64 + weight);
        Some(self.believe(share, trial.learned))
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

    /// Faster has not shown accidents. Slower may: there may be a limit, and accidents besides.
    fn fall_back(&mut self, now: f64) {
        match self.trial.take() {
            Some(trial) if trial.suspect >= ACCIDENTS => self.trial = Some(trial.slower(now)),
            _ => self.give_up(),
        }
    }

    fn believe(&mut self, share: f64, learned: Box<Learned>) -> Box<Learned> {
        (self.share, self.excess) = (share.min(ACCIDENT_LIMIT), 0.0);
        self.most = ACCIDENTS_MORE * self.share;
        self.rest = (0, ACCIDENTS_REST);
        learned
    }

    /// A request that left `at` was refused without a word why.
    pub(super) fn refused(&mut self, now: f64, at: f64, lane: Pace, learned: impl Fn() -> Learned) -> Cause {
        let Pace { speed, is_test, is_stated } = lane;
        if self.trial.is_none() && self.share > 0.0 && self.is_usual() {
            return Cause::Accident;
        }
        let seconds = now - std::mem::replace(&mut self.last, now);
        if let Some(cause) = self.dared(now, at) {
            self.since_last = 0;
            return cause;
        }
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
        if speed > self.fastest.1 || now - self.fastest.0 > ACCIDENTS_RECALL {
            self.fastest = (now, speed);
        }
        self.is_slow = speed < ACCIDENTS_SLOW * self.fastest.1;
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
        // Who has become slow has much to win, and needs long to see much.
        let enough = if self.is_slow && !is_stated { ACCIDENTS_SOON } else { ACCIDENTS };
        match self.suspect(enough).map(|series| Trial::faster(now, speed, series)) {
            Some(trial) if is_stated => {
                self.trial = Some(trial.slower(now));
                Cause::Limit
            }
            Some(trial) => {
                self.trial = Some(trial);
                Cause::Accident
            }
            None if slow_enough => Cause::Accident,
            None => Cause::Limit,
        }
    }

    /// What the refusal of a request is taken for that left in a faster trial.
    fn dared(&mut self, now: f64, at: f64) -> Option<Cause> {
        let trial = match &mut self.trial {
            Some(trial) if trial.way == Way::Faster => trial,
            _ => return (at < self.dared).then_some(Cause::Accident),
        };
        if at < trial.began {
            return None;
        }
        trial.refused += 1;
        trial.odds += (ACCIDENTS_REFUSED / trial.share).ln();
        if trial.odds < ACCIDENTS_SURE.1 {
            return Some(Cause::Accident);
        }
        self.dared = now;
        self.fall_back(now);
        Some(Cause::Limit)
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

    /// What a refusal during a slower trial is taken for.
    fn tried(&mut self) -> Option<Cause> {
        let trial = self.trial.as_mut()?;
        trial.refused += 1;
        if trial.refused < ACCIDENTS_TRIED {
            return Some(Cause::Accident);
        }
        let Trial { learned, refused, admitted, .. } = self.trial.take()?;
        // It ends with a refusal, which is one too many.
        let share = f64::from(refused - 1) / (admitted as f64).max(1.0);
        Some(Cause::AllAccidents(self.believe(share, learned)))
    }

    /// The series that calls for a trial; then both begin anew.
    fn suspect(&mut self, enough: u32) -> Option<Series> {
        let both = [&mut self.below, &mut self.at_level];
        let suspect = both.into_iter().find_map(|series| series.take_if(|series| series.suspect >= enough))?;
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
