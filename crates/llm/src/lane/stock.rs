//! What headers say is left of one kind of work, kept like an account.
//!
//! What is left at one response, less what was sent since, is what is left at the next, and more by what was given back
//! meanwhile. Numbers that keep to this are worth something: nothing is sent that they do not cover, so that nothing is
//! refused, whatever the window and the size of the bucket. But they have to prove themselves: a request goes when they say
//! that nothing is left. If it is refused, they are right; if one after the other is admitted, they are not, and are no reason
//! to wait for anything.

mod book;
mod spending;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use self::book::{Book, Entry};

/// Responses before anything is made of their numbers.
const HEARD: u32 = 8;
/// Admitted in a row although nothing was left, before any refusal, by which it is shown that the numbers mean nothing.
const DISPROVED: u32 = 6;
/// What has gone amiss, as a share of what is sent, where others draw on the same.
const DRAWN_ON: f64 = 0.5;
/// How long they mean nothing then, at first; doubled each time.
const DISTRUST: f64 = 300.0;
/// A window has ended where at once so much of all is left.
const WHOLE: f64 = 0.75;
/// How often it is narrowed down how long all lasts.
const TURNS: usize = 3;
/// Refusals in a row of what should have been given back steadily, after which it is not.
const MISSED: u32 = 2;
/// What lasts for less than so many seconds is better paced than counted: by the time a response says what has been given back,
/// a part of it has been lost.
const LASTS: f64 = 3.0;
/// Requests for which enough has been given back before it is counted on.
const RETURNS: f64 = 5.0;
/// What is reserved after a refusal that was not foreseen, as a share of the request's weight, and the share of it that is
/// released with each request that is admitted.
const RESERVED: f64 = 0.5;
const RELEASED: f64 = 0.003;
/// Refusals in [`DOUBTED_WITHIN`] seconds that the numbers do not explain, after which something else must.
const DOUBTS: u32 = 4;
const DOUBTED_WITHIN: f64 = 10.0;

/// Senses of a number: what was left when the answer was done, when the request arrived, or at the response before.
const LATE: usize = 0;
const EARLY: usize = 1;
const BEHIND: usize = 2;

/// The account of one kind of work.
#[derive(Clone, Debug, Default)]
pub(super) struct Stock {
    heard: u32,
    /// The numbers in each sense, and the sense that fits.
    books: [Book; 3],
    sense: usize,
    /// When the last response came, and what had been sent by then.
    before: Option<(f64, f64)>,
    /// Seconds that numbers are old when they arrive, if they were written when the request did.
    age: f64,
    /// Kept, for what is on its way and counted by one side only: as much as it takes that few are refused.
    reserve: f64,
    /// The most that was ever left; what there was before the first response, in each sense; and the most of both.
    most: f64,
    first: [f64; 3],
    full: f64,
    /// What had been given back at moments of the last time.
    history: VecDeque<(f64, f64)>,
    /// What a request weighs.
    weight: f64,
    /// When much was given back at once, and the least time between two such moments.
    jumped: f64,
    period: Option<f64>,
    /// Refusals in a row of what should have been given back.
    missed: u32,
    /// When it is said to be given back.
    reset: Option<f64>,
    is_confirmed: bool,
    /// Admitted in a row although nothing was left.
    beyond: u32,
    distrusted: u32,
    distrusted_until: f64,
    doubts: (f64, u32),
    empty_since: Option<f64>,
    last_sent: f64,
    next: f64,
}

/// What a response says, and what is known of its request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    pub(super) at: f64,
    pub(super) left: f64,
    pub(super) reset: Option<f64>,
    /// All that has been sent, and how much of it the server cannot have counted yet.
    pub(super) sent: f64,
    pub(super) unknown: f64,
    /// When the request left, what had been sent with it, and what it weighs.
    pub(super) departed: f64,
    pub(super) sent_by_then: f64,
    pub(super) weight: f64,
}

/// What speaks for a request that leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Covered {
    /// What is left, as far as is said at all.
    #[default]
    Yes,
    /// What should have been given back by now.
    Likely,
    /// Nothing: it tries whether nothing is left.
    No,
}

impl Stock {
    /// Takes a response's number.
    pub(super) fn hear(&mut self, heard: Heard) {
        let Heard { at, left, sent, .. } = heard;
        let left = left.min(1e15);
        self.heard = self.heard.saturating_add(1);
        self.weight = heard.weight;
        self.reset = heard.reset.filter(|reset| *reset > 0.0).map(|reset| at + reset);
        // What is on its way may be counted by one side only: that much is no sign of anything.
        let slack = 2.0 * heard.weight + heard.unknown;
        let counted = sent - heard.unknown;
        let (before_at, before) = self.before.replace((at, counted)).unwrap_or((at, counted));
        let entries = [(at, counted), (heard.departed, heard.sent_by_then), (before_at, before)].map(|(at, sent)| Entry { at, left, sent });
        if self.heard == 1 {
            // What was used before the first response was there, too, if it is as little as it seems.
            self.first = [counted, heard.sent_by_then, 0.0].map(|used| if used < 0.1 * left { left + used } else { left });
        }
        self.most = self.most.max(left);
        let full = self.first.map(|first| self.most.max(first));
        let lasts = [LATE, EARLY, BEHIND].map(|sense| self.books[sense].take(entries[sense], slack, full[sense]));
        self.age += 0.1 * (at - heard.departed - self.age);
        let wrong = |sense: usize| self.books[sense].fallen;
        let best = [LATE, EARLY, BEHIND].into_iter().min_by(|a, b| wrong(*a).total_cmp(&wrong(*b))).unwrap_or(LATE);
        if wrong(self.sense) > 1.5 * wrong(best) + 0.25 * self.book().sent {
            self.sense = best;
            (self.period, self.jumped) = (None, 0.0);
            self.history.clear();
        }
        self.full = full[self.sense];
        let (entry, last) = (entries[self.sense], lasts[self.sense]);
        let Some(last) = last else { return };
        if self.heard >= HEARD && self.book().amiss > DRAWN_ON * self.book().sent && at >= self.distrusted_until {
            // Others draw on it, or it is nobody's.
            self.distrust(at);
        }
        let at = entry.at;
        // Much at once, and not by and by: a window has ended.
        let returned = entry.given() - last.given();
        if returned > 0.5 * heard.weight {
            // What is admitted although nothing was left has been given back meanwhile.
            (self.missed, self.beyond) = (0, 0);
        }
        if returned > (2.5 * self.slope().unwrap_or(0.0) * (at - last.at) + 3.0 * heard.weight).max(0.1 * self.full)
            && left > WHOLE * self.full
        {
            self.window_ended(at);
        }
        if self.history.back().is_none_or(|(then, _)| at - then >= 0.25) {
            self.remember(at, entry.given());
        }
    }

    /// Keeps what was given back over a few times of what a full account lasts, the older the coarser.
    fn remember(&mut self, at: f64, given: f64) {
        const MOST: usize = 128;
        self.history.push_back((at, given));
        let span = self.slope().map_or(f64::INFINITY, |slope| (2.0 * self.full / slope).max(4.0));
        while self.history.len() > 8 && self.history.front().is_some_and(|(then, _)| at - then > span) {
            self.history.pop_front();
        }
        if self.history.len() > MOST {
            let mut index = 0;
            self.history.retain(|_| {
                index += 1;
                index > MOST / 2 || index % 2 == 1
            });
        }
    }

    /// Work a second that was given back in the last two seconds and a bit.
    fn lately(&self) -> Option<f64> {
        let (at, after) = *self.history.back()?;
        let (then, before) = *self.history.iter().rev().find(|(then, _)| at - then > 2.0)?;
        Some(((after - before) / (at - then)).max(0.0))
    }

    /// A request was refused: it has not been sent.
    pub(super) fn unsent(&mut self, weight: f64, departed: f64) {
        self.books.iter_mut().for_each(|book| book.unsent(weight, departed));
        if let Some((at, sent)) = &mut self.before
            && departed <= *at
        {
            *sent -= weight;
        }
        for (at, given) in &mut self.history {
            if departed <= *at {
                *given -= weight;
            }
        }
    }

    /// The numbers in the sense that fits.
    fn book(&self) -> &Book {
        &self.books[self.sense]
    }

    /// Whether the numbers keep to what is sent.
    pub(super) fn keeps_account(&self, now: f64) -> bool {
        const SILENT: f64 = 60.0;
        let is_recent = self.is_confirmed || self.book().latest.is_some_and(|latest| now - latest.at < SILENT);
        is_recent && self.heard >= HEARD && now >= self.distrusted_until && self.book().keeps_account()
    }

    /// Whether they do, and are worth waiting for.
    pub(super) fn is_sound(&self, now: f64) -> bool {
        let lasts = LASTS * (1.0 + if self.sense == EARLY { self.age } else { 0.0 });
        self.keeps_account(now) && self.slope().is_none_or(|slope| self.full > lasts * slope)
    }

    /// Whether they alone say what may leave: a refusal has confirmed them.
    pub(super) fn governs(&self, now: f64) -> bool {
        self.is_confirmed && self.is_sound(now)
    }

    /// Work a second that was given back of late, if it is given back steadily.
    fn steady(&self) -> Option<f64> {
        let ((_, first), (at, given)) = (*self.history.front()?, *self.history.back()?);
        if given - first < RETURNS * self.weight {
            return None;
        }
        self.slope().filter(|_| self.missed < MISSED).filter(|slope| self.jumped == 0.0 || at - self.jumped > 4.0 * self.full / slope)
    }

    /// Takes note that a window has ended. What comes far too soon for all to be used again is an old number among new ones.
    fn window_ended(&mut self, at: f64) {
        let span = at - self.jumped;
        if self.jumped > 0.0 && self.slope().is_some_and(|slope| span < 0.25 * self.full / slope) {
            return;
        }
        self.period = match self.period {
            Some(period) if span > 1.25 * period => Some(period),
            Some(period) if span > 0.75 * period => Some(period + if span < period { 0.5 } else { 0.2 } * (span - period)),
            _ => Some(span).filter(|_| self.jumped > 0.0),
        };
        self.jumped = at;
    }

    /// Work a second that was given back in the mean of the last time, or of as much of it as all lasts for: it is never more
    /// than the limit, and less only where less was used.
    pub(super) fn slope(&self) -> Option<f64> {
        let ((then, before), (at, after)) = (*self.history.front()?, *self.history.back()?);
        if at - then <= 2.0 || after <= before {
            return None;
        }
        let mut slope = (after - before) / (at - then);
        for _ in 0..TURNS {
            let turn = (self.full / slope).max(2.0);
            let lately = self.history.iter().rev().find(|(then, _)| at - then >= turn);
            slope = lately.map_or(slope, |(then, before)| slope.max((after - before) / (at - then)));
        }
        Some(slope)
    }

    /// A request was admitted.
    pub(super) fn admitted(&mut self, now: f64, covered: Covered) {
        self.reserve *= 1.0 - RELEASED;
        if covered != Covered::No {
            return;
        }
        // Something is left after all, even if a response says so only later.
        self.empty_since = Some(now);
        self.beyond += 1;
        if self.beyond >= DISPROVED && !self.is_confirmed {
            self.distrust(now);
        }
    }

    fn distrust(&mut self, now: f64) {
        self.distrusted_until = now + DISTRUST * f64::from(1 << self.distrusted.min(10));
        self.distrusted += 1;
        (self.beyond, self.is_confirmed, self.heard) = (0, false, 0);
    }

    /// A request was refused. Returns whether what was left explains it.
    pub(super) fn refused(&mut self, now: f64, weight: f64, covered: Covered) -> bool {
        if !self.is_sound(now) {
            return false;
        }
        // The refusal itself may say that nothing is left.
        let says_so = self.book().latest.is_some_and(|latest| latest.left < weight.min(self.full));
        if covered == Covered::No || says_so {
            self.beyond = 0;
            self.is_confirmed = true;
        }
        if covered != Covered::Yes || says_so {
            if covered == Covered::Likely {
                self.missed += 1;
                self.hold_back(weight);
            }
            return true;
        }
        if !self.is_confirmed {
            return false;
        }
        let (since, doubts) = self.doubts;
        self.doubts = if now - since > DOUBTED_WITHIN { (now, 1) } else { (since, doubts + 1) };
        self.hold_back(weight);
        self.doubts.1 <= DOUBTS
    }

    fn hold_back(&mut self, weight: f64) {
        self.reserve = (self.reserve + RESERVED * weight).min(0.2 * self.full);
    }

    /// Nothing that is said explains what happens.
    pub(super) fn doubt(&mut self, now: f64) {
        if self.governs(now) {
            self.distrust(now);
        }
    }
}
