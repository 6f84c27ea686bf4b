//! What headers say of one kind of work, and how far they are to be believed.
//!
//! A number in a header may mean many things. A limit may be a minute's or its window's, what is left may be a step behind or
//! another key's, a reset may count to the end of a window or until all is there again. So the numbers only propose: the limit
//! a pace to start from, what is left a reason to go slower for a while. What was admitted without a refusal disposes. How much
//! a full bucket holds is learned from the most that was ever left, never taken for a minute's limit.

use std::collections::VecDeque;

use super::constants::{
    AGREES, ANNOUNCED_CUT, ANNOUNCED_FOR, ANNOUNCED_START, CHANGES, CROWDED, CUTS, EXCUSES, LEFT_HIGH, LEFT_LOW, LEFT_TOPS, LIES, LOWERED,
    RISE_AFTER, SENSES, SHARED, STOCK_OVER, STOCK_SPAN, STREAK, TRIAL_AFTER, TRIAL_EVERY, TRIAL_FAR, TRIAL_WON, TRUST, UNREFUSED,
};
use crate::Window;

/// The limit that headers announce.
#[derive(Clone, Debug)]
pub(super) struct Announced {
    limit: u64,
    /// Work a second, in the sense in which the limit is taken.
    pub(super) rate: f64,
    seen: f64,
    /// When the pace was last changed for what is left.
    changed: f64,
    /// When it was last lowered, or refused, or tried.
    held: f64,
    /// The most that was ever left, and the longest time until it is full again or its window ends.
    capacity: f64,
    longest: f64,
    /// Work a second that is given back, by what is missing and the time until it is not.
    given_back: Option<f64>,
    /// The same at the least and at the most, however little is missing.
    ratios: (f64, f64),
    /// The share of the capacity that is left; none where it is not said, or said too late to mean anything.
    pub(super) left: Option<f64>,
    /// When so much was left, and so much had been sent.
    stock: VecDeque<(f64, f64, f64)>,
    /// What is used of the announced rate.
    trust: f64,
    /// When the last response said how long it takes until all is there again, and how long.
    reset: Option<(f64, f64)>,
    /// When what is left last rose by much, at once.
    rose: Option<f64>,
    refused: f64,
    /// When it was last refused far below what is announced.
    crowded: f64,
    next_trial: f64,
    trials: u32,
    senses: u32,
    changes: u32,
    lies: u32,
    left_lies: bool,
    excuses: u32,
}

/// What is tried where the announced pace seems too low.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Trial {
    /// Another sense of the same numbers.
    Pace(f64),
    /// A little more, step by step.
    Steps,
}

impl Announced {
    pub(super) fn new(now: f64, limit: u64) -> Self {
        let rate = limit as f64 / 60.0;
        Self {
            limit,
            rate,
            seen: now,
            changed: now,
            held: now,
            capacity: 0.0,
            longest: 0.0,
            given_back: None,
            ratios: (0.0, 0.0),
            left: None,
            stock: VecDeque::new(),
            trust: 1.0,
            reset: None,
            rose: None,
            refused: f64::NEG_INFINITY,
            crowded: f64::NEG_INFINITY,
            next_trial: now,
            trials: 0,
            senses: 0,
            changes: 0,
            lies: 0,
            left_lies: false,
            excuses: 0,
        }
    }

    /// Takes a response's numbers; `unknown` is what left since that they cannot know of yet, `sent` all that has left. Returns
    /// whether another limit is announced than before.
    pub(super) fn hear(&mut self, now: f64, limit: u64, window: &Window, unknown: f64, sent: f64, is_counted: bool) -> bool {
        self.seen = now;
        let renewed = (limit as f64 / self.limit as f64 - 1.0).abs() > 0.01;
        if renewed {
            self.limit = limit;
            self.rate = limit as f64 / 60.0;
            self.changes += 1;
            self.changed = now;
            // A limit that is another one all the time is nobody's.
            if self.changes > CHANGES {
                self.disbelieve();
            }
        }
        let Some(remaining) = window.remaining.map(|remaining| remaining as f64) else {
            self.left = None;
            return renewed;
        };
        self.capacity = self.capacity.max(remaining);
        if let Some(reset) = window.reset.map(|reset| reset.as_secs_f64()).filter(|reset| *reset > 0.0) {
            self.longest = self.longest.max(reset);
            self.reset = Some((now, reset));
            let missing = self.capacity - remaining;
            if missing >= 5.0 {
                let ratio = missing / reset;
                let (least, most) = self.ratios;
                self.ratios = (if least > 0.0 { least.min(ratio) } else { ratio }, most.max(ratio));
            }
            self.given_back = (missing >= 0.1 * self.capacity.max(100.0)).then_some(missing / reset).or(self.given_back);
        }
        if is_counted {
            self.left = None;
            self.stock.clear();
            return renewed;
        }
        self.left = (unknown <= 0.5 * self.capacity && !self.left_lies).then(|| (remaining - unknown).max(0.0) / self.capacity.max(1.0));
        if window.reset.is_none()
            && !self.is_crowded(now)
            && let Some((at, before, _)) = self.stock.back()
            && remaining - unknown > before + 0.05 * self.capacity
            && now - at < STOCK_SPAN
        {
            // A window has ended; from one end to the next is its length.
            self.longest =
                self.rose.map_or(self.longest, |rose| if self.longest > 0.0 { self.longest.min(now - rose) } else { now - rose });
            self.rose = Some(now);
        }
        if self.stock.back().is_none_or(|(at, ..)| now - at >= 0.25) {
            self.stock.push_back((now, remaining - unknown, sent));
        }
        while self.stock.front().is_some_and(|(at, ..)| now - at > STOCK_OVER) {
            self.stock.pop_front();
        }
        renewed
    }

    /// Work a second that was sent of late and not refused, and by how much what is left has fallen a second meanwhile.
    fn flow(&self, now: f64) -> Option<(f64, f64)> {
        let (then, before, sent_before) = self.stock.iter().find(|(at, ..)| *at > self.refused).copied()?;
        let (at, after, sent) = self.stock.back().copied()?;
        let span = at - then;
        (span >= STOCK_SPAN && now - at < STOCK_OVER).then(|| ((sent - sent_before) / span, (before - after) / span))
    }

    /// Whether what is left falls by all that is sent, as in a window that is refilled at once at its end.
    fn is_window(&self, now: f64) -> bool {
        self.flow(now).is_some_and(|(sent, falls)| (0.9..1.1).contains(&(falls / sent.max(1e-9))))
    }

    /// The pace at which what is left lasts until it is refilled at once, as far as that is said.
    fn lasting(&self) -> Option<f64> {
        let (_, left, _) = self.stock.back()?;
        let (at, reset) = self.reset?;
        (self.seen - at < 1.0 && reset > 0.1).then(|| left.max(0.0) / reset)
    }

    /// Whether what is left falls so many times faster than we send: others draw on it.
    fn is_shared(&self, now: f64, times: f64) -> bool {
        self.flow(now).is_some_and(|(sent, falls)| falls > times * sent)
    }

    /// Whether others seem to use the key, too.
    pub(super) fn is_crowded(&self, now: f64) -> bool {
        now - self.crowded < CROWDED
    }

    /// Whether others ever seemed to.
    pub(super) fn was_crowded(&self) -> bool {
        self.crowded.is_finite()
    }

    /// The pace after a response, from the present one.
    pub(super) fn steer(&mut self, now: f64, pace: f64, is_binding: bool, most: f64) -> f64 {
        if self.left.is_some_and(|left| left < LEFT_TOPS[1].0) && self.is_shared(now, SHARED.0) {
            self.crowded = now;
        }
        let since = now - self.changed;
        let rate = self.trust * self.rate;
        let is_refused = now - self.refused < UNREFUSED || self.is_crowded(now);
        let left = self.left.unwrap_or(0.0);
        if left < LEFT_LOW && since > 1.0 && (is_refused || pace > rate) && self.left.is_some() {
            let given_back = self.flow(now).map_or(0.0, |(sent, falls)| sent - falls.max(0.0));
            let floor = match (self.is_crowded(now), is_refused) {
                (true, _) => 0.0,
                (false, true) => given_back,
                (false, false) => given_back.max(rate),
            };
            let lowered = (0.95 * pace).max(floor).max(0.05 * rate).min(pace);
            if lowered < pace {
                (self.changed, self.held) = (now, now);
            }
            return lowered;
        }
        // A stock is there to be used, but where it is refilled at once it has to last until then.
        let stock = LEFT_TOPS.iter().find(|(above, _)| left > *above).map_or(1.0, |(_, top)| *top);
        let top = match self.flow(now) {
            Some(_) if !self.is_window(now) => stock * rate,
            _ => rate,
        };
        let patience = if left > LEFT_HIGH || self.left.is_none() { 0.5 } else { RISE_AFTER };
        if pace < top && is_binding && since > patience && (patience < RISE_AFTER || !is_refused && pace >= LOWERED * rate) {
            self.changed = now;
            return (pace + 0.01 * rate).min(top).min(most);
        }
        if pace > top && since > 1.0 { (0.99 * pace).max(top).min(most) } else { pace }
    }

    /// What to try where this pace has been all that leaves for a while.
    pub(super) fn trial(&mut self, now: f64, pace: f64) -> Option<Trial> {
        if now - self.held < TRIAL_AFTER || now < self.next_trial || self.is_crowded(now) {
            return None;
        }
        // Little is left at a pace that is not announced to use it up: others do.
        if pace < LOWERED * self.rate && self.left.is_some_and(|left| left < LEFT_TOPS[1].0) {
            return None;
        }
        // A reset of a moment is that of a bucket that is nearly full, and so is one that is as long as much is missing.
        let (least, most) = self.ratios;
        let is_bucket = least > 0.0 && most < 2.0 * least;
        let by_window = Some(self.capacity / self.longest).filter(|_| self.longest > 0.5 && !is_bucket);
        let mut senses = [by_window, self.given_back].into_iter().flatten();
        if self.senses < SENSES
            && let Some(rate) = senses.find(|rate| rate.is_finite() && *rate > 1.1 * pace && *rate < TRIAL_FAR * pace.max(1.0))
        {
            self.senses += 1;
            self.rate = rate;
            (self.changed, self.held) = (now, now);
            return Some(Trial::Pace(ANNOUNCED_START * rate));
        }
        // Of what is refilled at once, and nobody knows when, any pace would seem right until it is used up.
        let is_riddle = self.is_window(now)
            && self.reset.is_none()
            && self.left.is_some_and(|left| left < LEFT_TOPS[0].0 || now - self.held < UNREFUSED);
        (!is_riddle).then_some(Trial::Steps)
    }

    /// The pace to go on with, if what is left shows that a trial from `before` has come to a pace that is too high.
    pub(super) fn overdrawn(&self, now: f64, before: f64, pace: f64) -> Option<f64> {
        let left = self.left?;
        if left < LEFT_TOPS[1].0 && self.is_shared(now, SHARED.1) {
            return Some(before);
        }
        if self.is_window(now) {
            let lasting = self.lasting()?;
            let (_, reset) = self.reset?;
            return (lasting < before && (before - lasting) * reset > 0.1 * self.capacity).then_some(lasting.max(0.5 * before));
        }
        // Far above what is announced only a refusal is to be believed: what is given back shows late.
        let (sent, falls) = self.flow(now).filter(|_| pace <= TRIAL_WON * self.rate)?;
        (left < LEFT_TOPS[1].0 && falls > 0.0 && falls < 0.9 * sent).then_some((sent - falls).max(before))
    }

    /// A trial has shown that the announced pace is right.
    pub(super) fn confirm(&mut self, now: f64) {
        self.trials += 1;
        self.next_trial = now + TRIAL_EVERY * f64::from(1 << self.trials.min(4));
        (self.changed, self.held) = (now, now);
    }

    /// A refusal at this pace although it is honoured. Returns what is left of the pace.
    pub(super) fn refused(&mut self, now: f64, pace: f64) -> f64 {
        let rapid = now - self.refused < STREAK;
        (self.changed, self.held, self.refused) = (now, now, now);
        if pace >= TRUST * self.rate {
            self.trust = (self.trust - 0.01).max(TRUST);
        } else if pace < LOWERED * self.rate {
            self.crowded = now;
        }
        // Once is a limit that is counted a little differently; again, and others use the key too.
        if rapid || self.is_crowded(now) { ANNOUNCED_CUT * pace } else { CUTS[0] * pace }
    }

    /// A refusal that what is left contradicts.
    pub(super) fn lie(&mut self) {
        self.lies += 1;
        self.left_lies = true;
    }

    /// What was measured, while nothing was believed, comes to what is announced: it is right after all, if perhaps not what
    /// it says is left. Returns the pace.
    pub(super) fn vindicate(&mut self, now: f64, measured: f64) -> Option<f64> {
        let is_it = self.lies >= LIES && self.is_current(now) && self.changes <= CHANGES && AGREES.contains(&(measured / self.rate));
        is_it.then(|| {
            self.lies = 0;
            self.trials = self.trials.max(1);
            self.confirm(now);
            TRUST * self.rate
        })
    }

    pub(super) fn disbelieve(&mut self) {
        self.lies = self.lies.max(LIES);
    }

    /// A refusal was put down to a cap. Returns whether that was too often.
    pub(super) fn excuse(&mut self, cap_is_confirmed: bool) -> bool {
        self.excuses = if cap_is_confirmed { 0 } else { self.excuses + 1 };
        let too_often = self.excuses > EXCUSES && self.lies < LIES;
        if too_often {
            self.disbelieve();
        }
        too_often
    }

    pub(super) fn is_current(&self, now: f64) -> bool {
        now - self.seen < ANNOUNCED_FOR
    }

    pub(super) fn is_believed(&self, now: f64) -> bool {
        self.lies < LIES && self.is_current(now)
    }

    /// Whether much is left, as far as is said.
    pub(super) fn has_stock(&self) -> bool {
        self.left.is_some_and(|left| left > LEFT_HIGH)
    }
}
