//! How many requests may be in flight.
//!
//! A cap at the server shows as refusals at one level, and admissions at every level below it. So the first
//! refusal is taken for a cap and the level is held. Under a cap nothing is refused any more; one request more,
//! now and then, tests it. Under a limited rate refusals go on at levels that were admitted before, and two of
//! them are enough to blame the rate instead.

use std::collections::VecDeque;

use super::Bounds;
use super::board::BEAT;
use super::constants::{
    BACK_AGAIN, CAP_CONTRADICTIONS, CAP_CUT, CAP_DISPROVED, CAP_LOWERED, CAP_REFUTED, CAP_SLACK, CAP_TOGETHER, CAP_TOPPED,
    CAP_TOPPED_AFTER, CEILING_MOVED, DISPLACED, DISPLACED_PROBE, DOUBLING, FIRST_CAP_PROBE, GENTLE_CLIMB, PARADOX_MEMORY, PARADOX_SLACK,
    PARADOXES, PROBE_BACKOFF, PROBE_EVERY, PROBE_EVERY_MAX, TOGETHER,
};

/// The limit on requests in flight.
#[derive(Clone, Debug)]
pub(super) struct Cap {
    bounds: Bounds,
    /// Of the lane, this process's.
    share: f64,
    /// How many may be in flight.
    pub(super) limit: f64,
    mode: Mode,
    /// Whether it kept a request back in the present window.
    pub(super) binding: bool,
    refuted: f64,
    /// Refusals that a cap does not explain, since the last that it does.
    contradictions: u32,
    /// Tests in a row that were admitted.
    risen: u32,
    /// Refusals in a row that a rate was blamed for, at levels above all that were admitted before.
    topped: u32,
    /// The highest level that was admitted of what left since the last refusal: before it, the cap may have been higher.
    highest: usize,
    /// When something was refused below a level that had been admitted just before: no cap does that.
    paradoxes: VecDeque<f64>,
    /// The level before it fell, and when.
    former: Option<(f64, f64)>,
    /// The level that was far too high when the last search began: the cap may rise to it again.
    fallen_from: Option<f64>,
    /// Mean time until a refusal arrives: what left within it is not known to have been refused.
    pub(super) refusal_time: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    /// Growing, one request after the other.
    Climb { since: f64, gentle: bool, due: f64 },
    /// Held at a level that was refused.
    Hold { confirmed: bool, due: f64, wait: f64, probing: bool },
    /// Between a level that was admitted (0: none yet) and one that was refused.
    Search { low: usize, high: usize },
}

/// What explains a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A cap on requests in flight.
    Cap,
    /// A limited rate.
    Rate,
}

impl Cap {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            share: 1.0,
            limit: bounds.start.clamp(bounds.min, bounds.max) as f64,
            mode: Mode::Climb { since: 0.0, gentle: false, due: 0.0 },
            binding: false,
            refuted: f64::NEG_INFINITY,
            contradictions: 0,
            risen: 0,
            topped: 0,
            highest: 0,
            paradoxes: VecDeque::new(),
            former: None,
            fallen_from: None,
            refusal_time: 0.05,
        }
    }

    pub(super) fn is_fixed(&self) -> bool {
        self.bounds.min == self.bounds.max
    }

    /// Whether a cap is suspected or known.
    pub(super) fn is_held(&self) -> bool {
        !matches!(self.mode, Mode::Climb { .. })
    }

    /// Whether a new level is looked for.
    pub(super) fn is_searched(&self) -> bool {
        matches!(self.mode, Mode::Search { .. })
    }

    /// Whether more is tried than ever, with a request that leaves at this level.
    pub(super) fn is_tried(&self, level: usize) -> bool {
        matches!(self.mode, Mode::Climb { .. }) && level >= self.highest.max(1) && self.limit < self.most()
    }

    /// The suspected or known cap.
    pub(super) fn ceiling(&self) -> Option<usize> {
        match self.mode {
            Mode::Climb { .. } => None,
            Mode::Hold { .. } => Some(self.limit as usize),
            Mode::Search { high, .. } => Some(high),
        }
    }

    /// Whether one more may leave at this level, and whether it leaves as a test; else when to ask again.
    /// `permitted` is the level up to which answers have shown that more is better; `gate` whether enough was
    /// admitted since the last test.
    pub(super) fn room(&mut self, now: f64, level: usize, permitted: f64, gate: bool, leads: bool) -> Result<bool, f64> {
        let limit = ((self.limit * self.share) as usize).max(1);
        if level < limit {
            return Ok(false);
        }
        self.binding = true;
        const LATER: f64 = 0.5;
        if self.limit >= self.most() || !leads {
            return Err(now + LATER);
        }
        match &mut self.mode {
            Mode::Climb { since, gentle, due } => {
                if self.limit + 1.0 > permitted {
                    return Err(now + LATER);
                }
                if now < *due {
                    return Err(*due);
                }
                let doubling = self.limit * std::f64::consts::LN_2 / DOUBLING;
                let is_back = self.fallen_from.is_some_and(|level| (CAP_LOWERED..CEILING_MOVED).contains(&(self.limit / level)));
                let speed = match *gentle {
                    true if is_back => doubling.min(BACK_AGAIN),
                    true => doubling.min(GENTLE_CLIMB * ((now - *since) / DOUBLING).exp2()),
                    false => doubling,
                };
                if self.share < 1.0 {
                    // The others follow at their next look, and only then is anything known of the new level.
                    *due = now + 1.5 * BEAT;
                    self.limit *= TOGETHER;
                    return Ok(false);
                }
                if *due == 0.0 {
                    *due = now + 1.0 / speed.max(1.0);
                    return Err(*due);
                }
                // Who comes a little late may catch up, but never a whole burst.
                *due = due.max(now - 0.02) + 1.0 / speed.max(1.0);
                self.limit += 1.0 / self.share;
                Ok(false)
            }
            Mode::Hold { confirmed, due, probing, .. } => {
                let displaced = self.former.is_some_and(|(at, _)| now - at < DISPLACED);
                if *probing || now < *due || (*confirmed && !displaced && !gate && self.risen == 0) || level > limit {
                    return Err(due.max(now + 0.1));
                }
                *probing = true;
                Ok(true)
            }
            Mode::Search { .. } => Err(now + LATER),
        }
    }

    /// Only to see what single tests are worth: goes a twentieth over a cap whose test is due, all at once.
    pub(super) fn overrun(&mut self, now: f64, level: usize) -> bool {
        match &mut self.mode {
            Mode::Hold { due, wait, .. } if level as f64 >= self.limit => {
                if now >= *due && (level as f64) < 1.05 * self.limit {
                    return true;
                }
                if now >= *due {
                    *due = now + *wait;
                }
                false
            }
            _ => false,
        }
    }

    /// A request that left at this level was admitted; `fresh` if it left after the last refusal was known: in a search
    /// what was admitted before, above the level that is refused now, says nothing.
    pub(super) fn admitted(&mut self, now: f64, level: usize, test: bool, fresh: bool) {
        if fresh {
            self.highest = self.highest.max(level);
        }
        match self.mode {
            Mode::Hold { probing: true, .. } if test => {
                self.contradictions = 0;
                self.set(self.limit + 1.0 / self.share);
                self.risen += 1;
                // One may have slipped into a place that became free just then. And several processes go step by step,
                // so that the others can follow.
                if self.risen > 1 && self.share == 1.0 {
                    self.climb(now, true);
                } else {
                    let due = if self.share < 1.0 { now + 1.5 * BEAT } else { now };
                    self.mode = Mode::Hold { confirmed: true, due, wait: PROBE_EVERY, probing: false };
                }
            }
            Mode::Hold { .. } if level as f64 >= self.limit + (CAP_SLACK * self.limit).max(2.0) => self.climb(now, true),
            Mode::Search { low, high } if fresh || level < high => {
                let reached = self.reached(level);
                if reached >= self.limit as usize && reached > low {
                    self.narrow(now, reached, high);
                }
            }
            _ => {}
        }
    }

    /// How many are in flight once one has left at this level: the limit, where this process has used its share of it, which is
    /// rarely a whole number.
    fn reached(&self, level: usize) -> usize {
        let own = (level as f64 * self.share).round() as usize + 1;
        if self.share < 1.0 && own >= (self.limit * self.share) as usize { self.limit as usize } else { level + 1 }
    }

    /// Whether the cap explains a refusal at this level, of a request that left after the last one was known.
    pub(super) fn refused(&mut self, now: f64, level: usize, in_transit: usize, test: bool, gate_wait: f64, jitter: f64) -> Verdict {
        // A cap admits one at least.
        if level == 0 {
            return Verdict::Rate;
        }
        if self.is_paradox(now, level) {
            self.paradoxes.clear();
            self.refuted = now + CAP_DISPROVED;
            return Verdict::Rate;
        }
        let slack =
            (CAP_SLACK * level as f64).max(1.0).max(in_transit as f64).max(if self.share < 1.0 { 2.0 / self.share } else { 0.0 }) as usize;
        match self.mode {
            Mode::Climb { .. } => {
                self.suspect(now, level);
                Verdict::Cap
            }
            Mode::Hold { wait, .. } if test => {
                let displaced = self.former.is_some_and(|(at, _)| now - at < DISPLACED);
                let restored = self.former.is_some_and(|(_, former)| self.limit >= CAP_LOWERED * former);
                // What has risen again is like any other cap once a second test of it is refused.
                if restored && wait > PROBE_EVERY {
                    self.former = None;
                }
                let longer = (wait * PROBE_BACKOFF).min(PROBE_EVERY_MAX);
                let wait = if displaced && !restored { DISPLACED_PROBE } else { longer };
                self.contradictions = 0;
                self.risen = 0;
                self.mode = Mode::Hold { confirmed: true, due: now + (wait * jitter).max(gate_wait), wait, probing: false };
                Verdict::Cap
            }
            Mode::Hold { confirmed, due, wait, probing } => {
                self.contradictions += 1;
                self.risen = 0;
                if confirmed && self.share < 1.0 {
                    self.ease(now, level);
                    let longer = (wait * PROBE_BACKOFF).min(PROBE_EVERY_MAX);
                    self.mode = Mode::Hold { confirmed, due: now + longer * jitter, wait: longer, probing: false };
                    return Verdict::Cap;
                }
                let near = level + slack >= self.limit as usize;
                if !confirmed && (self.contradictions >= CAP_CONTRADICTIONS || (gate_wait > 0.0 && !near)) {
                    return Verdict::Rate;
                }
                if near && self.contradictions <= CAP_CONTRADICTIONS {
                    if (level as f64) < CAP_LOWERED * self.limit {
                        self.former = Some((now, self.limit));
                    }
                    self.set(level as f64);
                    self.mode = Mode::Hold { confirmed, due, wait, probing };
                } else {
                    self.former = Some((now, self.limit));
                    self.fallen_from = Some(self.limit).filter(|_| confirmed);
                    self.search(level);
                }
                Verdict::Cap
            }
            Mode::Search { low, high } => {
                if level < low.saturating_sub(slack) || high <= self.bounds.min.max(1) {
                    return Verdict::Rate;
                }
                let high = level.min(high).max(1);
                self.narrow(now, low.min(high), high);
                Verdict::Cap
            }
        }
    }

    /// The request that tested the cap brought no word on it.
    pub(super) fn test_lost(&mut self) {
        if let Mode::Hold { probing, .. } = &mut self.mode {
            *probing = false;
        }
    }

    /// Takes over what another process has learned.
    pub(super) fn adopt(&mut self, limit: f64) {
        if !self.is_fixed() {
            self.set(limit);
        }
    }

    /// Several processes share the lane: the bounds are each one's own, the limit is that of all.
    pub(super) fn set_share(&mut self, share: f64) {
        if self.share != share {
            self.share = share;
            self.set(if self.is_fixed() { f64::INFINITY } else { self.limit });
        }
    }

    /// Whether it has happened too often that a lower level was refused after a higher one had been admitted.
    fn is_paradox(&mut self, now: f64, level: usize) -> bool {
        let highest = std::mem::take(&mut self.highest);
        if self.share == 1.0 && highest as f64 > level as f64 + (CAP_SLACK * level as f64).max(PARADOX_SLACK) {
            self.paradoxes.push_back(now);
        }
        while self.paradoxes.front().is_some_and(|at| now - at > PARADOX_MEMORY) {
            self.paradoxes.pop_front();
        }
        self.paradoxes.len() >= PARADOXES
    }

    /// A rate is blamed for a refusal at this level, after so many were admitted since the last one. Returns whether it looks
    /// like a cap all the same: a rate refuses at any level, a cap only where nothing was admitted before.
    pub(super) fn is_topped(&mut self, level: usize, admitted: u64) -> bool {
        let highest = std::mem::take(&mut self.highest);
        if level < highest {
            self.topped = 0;
        } else if admitted >= CAP_TOPPED_AFTER {
            self.topped += 1;
        }
        self.topped >= CAP_TOPPED && self.share == 1.0
    }

    /// One of a burst was refused at a lower level than the first.
    pub(super) fn lower(&mut self, level: usize) {
        if let Mode::Hold { confirmed: false, .. } = self.mode {
            self.give_way(level);
        }
    }

    /// Goes down to this level, whatever it means.
    pub(super) fn give_way(&mut self, level: usize) {
        self.set(self.limit.min(level as f64));
    }

    /// Goes towards this level, by a little: those of several processes are known roughly only, so that any refusal may be
    /// chance. It is tried soon whether it was.
    pub(super) fn ease(&mut self, now: f64, level: usize) {
        self.former = self.former.filter(|(at, _)| now - at < DISPLACED).or(Some((now, self.limit)));
        self.set(self.limit.min(level as f64).max(CAP_TOGETHER * self.limit));
    }

    /// Takes this level for the cap, until refusals below or admissions above it tell otherwise.
    pub(super) fn suspect(&mut self, now: f64, level: usize) {
        (self.contradictions, self.risen, self.topped) = (0, 0, 0);
        self.set(level as f64);
        self.mode = Mode::Hold { confirmed: false, due: now + FIRST_CAP_PROBE, wait: PROBE_EVERY, probing: false };
    }

    pub(super) fn may_suspect(&self, now: f64) -> bool {
        !self.is_held() && now - self.refuted > CAP_REFUTED
    }

    /// No cap explains what happens: back to the level before it was suspected.
    pub(super) fn refute(&mut self, now: f64) {
        self.refuted = self.refuted.max(now);
        self.contradictions = 0;
        self.fallen_from = None;
        let former = self.former.take().map_or(0.0, |(_, level)| level);
        self.set(self.limit.max(former));
        self.climb(now, false);
    }

    /// What was refused was refused by accident: nothing speaks against a cap, or for one. It is
    /// looked for from this level up.
    pub(super) fn acquit(&mut self, now: f64, level: usize) {
        self.set(self.limit.min(level as f64));
        self.refuted = f64::NEG_INFINITY;
        self.paradoxes.clear();
        self.contradictions = 0;
        self.climb(now, true);
    }

    fn search(&mut self, level: usize) {
        let high = level.max(1);
        self.mode = Mode::Search { low: 0, high };
        self.set((CAP_CUT * high as f64).floor());
    }

    fn narrow(&mut self, now: f64, low: usize, high: usize) {
        let high = high.max(1);
        self.mode = Mode::Search { low, high };
        if low == 0 {
            self.set((CAP_CUT * high as f64).floor());
            return;
        }
        if high <= low || (high - low) as f64 <= CAP_SLACK * low as f64 {
            self.set(low as f64);
            self.contradictions = 0;
            self.mode = Mode::Hold { confirmed: true, due: now + DISPLACED_PROBE, wait: PROBE_EVERY, probing: false };
            return;
        }
        self.set((low + (high - low).div_ceil(2)) as f64);
    }

    fn climb(&mut self, now: f64, gentle: bool) {
        self.risen = 0;
        self.mode = Mode::Climb { since: now, gentle, due: now };
    }

    /// Holds the level where work done stops growing; see `knee`.
    pub(super) fn settle(&mut self, limit: f64) {
        if !self.is_held() {
            self.set(self.limit.min(limit));
        }
    }

    fn most(&self) -> f64 {
        self.bounds.max as f64 / self.share
    }

    fn set(&mut self, limit: f64) {
        self.limit = limit.clamp(self.bounds.min as f64, self.most()).max(1.0);
    }

    /// Starts from a level that was known a little while ago.
    pub(super) fn resume(&mut self, limit: f64) {
        self.set(limit);
    }
}
