//! What headers say is left of one kind of work, kept like an account.
//!
//! What is left at one response, less what was sent since, is what is left at the next, and more by what was given back
//! meanwhile. Numbers that keep to this are worth something: nothing is sent that they do not cover, so that nothing is
//! refused, whatever the window and the size of the bucket. But they have to prove themselves: a request goes when they say
//! that nothing is left. If it is refused, they are right; if one after the other is admitted, they are not, and are no reason
//! to wait for anything.

use std::collections::VecDeque;

/// Responses before anything is made of their numbers.
const HEARD: u32 = 8;
/// What may go amiss, as a share of what is sent: requests on their way are counted by one side only.
const AMISS: f64 = 0.15;
/// Admitted in a row although nothing was left, before any refusal, by which it is shown that the numbers mean nothing.
const DISPROVED: u32 = 6;
/// How long they mean nothing then, at first; doubled each time.
const DISTRUST: f64 = 300.0;
/// Requests a second that try whether anything is admitted although nothing is left, before the first refusal has told.
const TRIED: f64 = 4.0;
/// While nothing is left, a request tries this often whether that is so …
const KNOCK: f64 = 2.0;
/// … and no more often than in this part of the time for which nothing has been; the second applies while a moment is announced
/// at which that ends.
const KNOCKS_APART: (f64, f64) = (4.0, 2.0);
/// What is left is spent over so many seconds at the least, and at the most …
const SPENT_OVER: (f64, f64) = (0.5, 60.0);
/// … or so much faster than it is given back, for nothing should be left over.
const HASTE: f64 = 1.1;
/// What of a steady return is counted on before a response shows it.
const STEADY: f64 = 0.97;
/// Refusals in a row of what should have been given back steadily, after which it is not.
const MISSED: u32 = 2;
/// So long next to nothing is left of what lasts: windows of a minute and less have ended by then.
const LOW_FOR: f64 = 70.0;
/// Requests for which enough has been given back before it is counted on.
const RETURNS: f64 = 5.0;
/// What lasts for less than so many seconds is better paced than counted: by the time a response says what has been given back,
/// a part of it has been lost.
const LASTS: f64 = 300.0;
/// What is reserved after a refusal that was not foreseen, as a share of the request's weight, and the share of it that is
/// released with each request that is admitted.
const RESERVED: f64 = 0.5;
const RELEASED: f64 = 0.003;
/// Refusals in [`DOUBTED_WITHIN`] seconds that the numbers do not explain, after which something else must.
const DOUBTS: u32 = 4;
const DOUBTED_WITHIN: f64 = 10.0;

/// The account of one kind of work.
#[derive(Clone, Debug, Default)]
pub(super) struct Stock {
    heard: u32,
    latest: Option<Entry>,
    /// The same, as if headers were written when the request arrives: the departure, and what was given back by then.
    by_departure: Option<(f64, f64)>,
    /// By how much it has gone amiss of late, in both senses, of how much that was sent, and by how much the numbers changed.
    amiss: [f64; 2],
    sent: f64,
    moved: f64,
    /// Kept, for what is on its way and counted by one side only: as much as it takes that few are refused.
    reserve: f64,
    /// The most that was ever left.
    full: f64,
    /// What had been given back at moments of the last time.
    history: VecDeque<(f64, f64)>,
    /// Since when next to nothing was left, and whether that ever lasted for long.
    low_since: Option<f64>,
    has_lasted: bool,
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

/// What a response said.
#[derive(Clone, Copy, Debug)]
struct Entry {
    at: f64,
    left: f64,
    /// All that had been sent and counted by then.
    sent: f64,
}

impl Entry {
    /// What has been given back by then, from an arbitrary moment on.
    fn given(&self) -> f64 {
        self.left + self.sent
    }
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
        let entry = Entry { at, left, sent: sent - heard.unknown };
        self.heard = self.heard.saturating_add(1);
        self.weight = heard.weight;
        self.full = self.full.max(left);
        self.reset = heard.reset.filter(|reset| *reset > 0.0).map(|reset| at + reset);
        if left < (0.02 * self.full).max(2.0 * heard.weight) {
            self.has_lasted |= at - *self.low_since.get_or_insert(at) > LOW_FOR;
        } else {
            self.low_since = None;
        }
        let last = self.latest.replace(entry);
        let Some(last) = last else { return };
        let fade = 0.98;
        let amiss = (last.given() - entry.given()).max(0.0);
        self.amiss[0] = fade * self.amiss[0] + amiss;
        self.sent = fade * self.sent + (entry.sent - last.sent).abs();
        self.moved = fade * self.moved + (entry.left - last.left).abs();
        if self.by_departure.is_none_or(|(departed, _)| heard.departed >= departed) {
            let given = left + heard.sent_by_then;
            let before = self.by_departure.replace((heard.departed, given)).map_or(given, |(_, before)| before);
            self.amiss[1] = fade * self.amiss[1] + (before - given).max(0.0);
        }
        // Much at once, and not by and by: a window has ended.
        let returned = entry.given() - last.given();
        if returned > 0.5 * heard.weight {
            self.missed = 0;
        }
        if returned > (2.5 * self.slope().unwrap_or(0.0) * (at - last.at) + 3.0 * heard.weight).max(0.1 * self.full) {
            let span = at - std::mem::replace(&mut self.jumped, at);
            self.period = Some(self.period.map_or(span, |period| period.min(span))).filter(|_| span < at);
        }
        if self.history.back().is_none_or(|(then, _)| at - then >= 0.25) {
            self.remember(at, entry.given());
        }
    }

    /// Keeps what was given back over a few times of what a full account lasts, the older the coarser.
    fn remember(&mut self, at: f64, given: f64) {
        const MOST: usize = 128;
        self.history.push_back((at, given));
        let span = self.slope().map_or(f64::INFINITY, |slope| (4.0 * self.full / slope).max(4.0));
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
        if let Some(latest) = self.latest.as_mut().filter(|latest| departed <= latest.at) {
            latest.sent -= weight;
        }
        for (at, given) in &mut self.history {
            if departed <= *at {
                *given -= weight;
            }
        }
        if let Some((at, given)) = &mut self.by_departure
            && departed <= *at
        {
            *given -= weight;
        }
    }

    /// Whether the numbers keep to what is sent.
    pub(super) fn is_sound(&self, now: f64) -> bool {
        const SILENT: f64 = 60.0;
        let is_recent = self.is_confirmed || self.latest.is_some_and(|latest| now - latest.at < SILENT);
        is_recent
            && self.slope().is_none_or(|slope| self.full > LASTS * slope)
            && self.heard >= HEARD
            && now >= self.distrusted_until
            && self.moved > 0.0
            && match self.is_confirmed {
                true => self.amiss[0] <= 2.0 * AMISS * self.sent,
                false => self.amiss[0] <= (AMISS * self.sent).min(1.5 * self.amiss[1] + 0.02 * self.sent),
            }
    }

    /// Whether they alone say what may leave: a refusal has confirmed them.
    pub(super) fn governs(&self, now: f64) -> bool {
        self.is_confirmed && self.has_lasted && self.is_sound(now)
    }

    /// Work a second that was given back of late, if it is given back steadily.
    fn steady(&self) -> Option<f64> {
        let ((_, first), (at, given)) = (*self.history.front()?, *self.history.back()?);
        if given - first < RETURNS * self.weight {
            return None;
        }
        self.slope().filter(|_| self.missed < MISSED).filter(|slope| self.jumped == 0.0 || at - self.jumped > 4.0 * self.full / slope)
    }

    /// Work a second that was given back in the mean of the last time.
    pub(super) fn slope(&self) -> Option<f64> {
        let ((then, before), (at, after)) = (*self.history.front()?, *self.history.back()?);
        (at - then > 2.0 && after > before).then(|| (after - before) / (at - then))
    }

    /// What is left, and what should have been given back since that was said.
    fn available(&self, now: f64, sent: f64) -> Option<(f64, f64)> {
        let latest = self.latest?;
        let steady = self.steady().map_or(0.0, |slope| STEADY * slope * (now - latest.at));
        Some((latest.left - (sent - latest.sent), steady))
    }

    /// Whether a request may leave, and what for; else when to ask again.
    pub(super) fn ready(&mut self, now: f64, weight: f64, sent: f64) -> Result<Covered, f64> {
        let Some((left, steady)) = self.available(now, sent).filter(|_| self.is_sound(now)) else { return Ok(Covered::Yes) };

        if !self.has_lasted {
            return Ok(if left < weight.min(self.full) { Covered::No } else { Covered::Yes });
        }
        let available = (left + steady).min(self.full);
        let needed = weight.min(self.full) + self.reserve;
        if available >= needed {
            self.empty_since = None;
            let covered = if left >= needed { Covered::Yes } else { Covered::Likely };
            return if now + 1e-6 >= self.next { Ok(covered) } else { Err(self.next) };
        }
        let since = *self.empty_since.get_or_insert(now);
        let due = if self.is_confirmed {
            // What is given back steadily is known to come, and when.
            let expected = self.steady().map_or(0.0, |slope| 1.5 * needed / slope);
            let expected = if now - since > 3.0 * expected { 0.0 } else { expected };
            let apart = if self.reset.is_some_and(|reset| reset > now) { KNOCKS_APART.1 } else { KNOCKS_APART.0 };
            let due = self.last_sent.max(since) + KNOCK.max((now - since) / apart).max(expected);
            // Said rightly or not, a moment for which something is announced is worth a try.
            let announced =
                self.reset.map(|reset| reset + 0.05).filter(|reset| expected == 0.0 && *reset > self.last_sent + KNOCK && *reset < due);
            let steady = self.steady().map_or(f64::INFINITY, |slope| now + ((needed - available) / slope).max(0.01));
            if now >= due || announced.is_some_and(|announced| now >= announced) {
                return Ok(Covered::No);
            }
            due.min(announced.unwrap_or(due)).min(steady)
        } else {
            let due = self.last_sent + 1.0 / TRIED.max(self.lately().unwrap_or_default() / weight.max(1.0));
            if now >= due {
                return Ok(Covered::No);
            }
            due
        };
        Err(due.min(now + 0.5).max(now + 1e-3))
    }

    /// The pace at which what is left is spent: a little faster than it is given back, and faster where much is left.
    fn spread(&self, now: f64, available: f64) -> f64 {
        if !self.is_confirmed {
            return (HASTE * self.lately().unwrap_or(0.0)).max(available / SPENT_OVER.0);
        }
        let slope = self.slope().unwrap_or(0.0).max(self.period.map_or(0.0, |period| self.full / period));
        let until_reset = self.reset.map_or(0.0, |reset| if reset > now { HASTE * available / (reset - now) } else { 0.0 });
        (HASTE * slope).max(available / (0.25 * self.full / slope).clamp(SPENT_OVER.0, SPENT_OVER.1)).max(until_reset)
    }

    /// A request leaves.
    pub(super) fn take(&mut self, now: f64, weight: f64, sent: f64, covered: Covered) {
        self.last_sent = now;
        if let Some((left, steady)) = self.available(now, sent).filter(|_| covered != Covered::No) {
            let pace = self.spread(now, (left + steady).clamp(weight, self.full.max(weight))).max(weight / KNOCK);
            self.next = self.next.max(now - 0.02) + weight / pace;
        }
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
        if self.beyond >= DISPROVED && self.has_lasted && !self.is_confirmed {
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
        if !self.has_lasted {
            self.is_confirmed |= covered == Covered::No || self.latest.is_some_and(|latest| latest.left < weight.min(self.full));
            return false;
        }
        // The refusal itself may say that nothing is left.
        let says_so = self.latest.is_some_and(|latest| latest.left < weight.min(self.full));
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
