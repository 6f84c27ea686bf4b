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
/// What has gone amiss, as a share of what is sent, where others draw on the same.
const DRAWN_ON: f64 = 0.5;
/// How many times what is sent the numbers may move. In a window they fall by it, and rise by it at the end.
const MOVES: f64 = 4.0;
/// How long they mean nothing then, at first; doubled each time.
const DISTRUST: f64 = 300.0;
/// Requests a second that try whether anything is admitted although nothing is left, before the first refusal has told.
const TRIED: f64 = 4.0;
/// While nothing is left, a request tries this often whether that is so …
const KNOCK: f64 = 2.0;
/// … and no more often than in this part of the time for which nothing has been; the second applies while a moment is announced
/// at which that ends.
const KNOCKS_APART: (f64, f64) = (4.0, 2.0);
/// … and as often as in this part of the time in which all of it used to be given back.
const KNOCKS_OF_ALL: f64 = 0.1;
/// A window has ended where at once so much of all is left.
const WHOLE: f64 = 0.75;
/// What is left is spent over so many seconds at the least, and at the most …
const SPENT_OVER: (f64, f64) = (0.5, 45.0);
/// Before a refusal has confirmed the numbers, the last of what is left is spent so gently, in seconds.
const SOFT_END: f64 = 0.5;
/// … or so much faster than it is given back, for nothing should be left over.
const HASTE: f64 = 1.1;
/// The part of the time in which all is given back, over which what is left is spent. More would be late, much less would
/// overshoot in a window that gives back what was used one such time ago.
const SPENT_PART: f64 = 0.75;
/// Seconds after the expected end of a window until it is tried whether it has.
const AFTER_THE_END: f64 = 0.05;
/// How often it is narrowed down how long all lasts.
const TURNS: usize = 3;
/// How much faster than evenly what is left of a window is spent, for nothing should be left over at its end.
const EVENLY: f64 = 1.03;
/// What is sent of a steady return, besides a part of what is left: so much is left in the end that both come to the return.
const SHY: f64 = 0.99;
/// What of a steady return is counted on before a response shows it.
const STEADY: f64 = 0.97;
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

/// The account of one kind of work.
#[derive(Clone, Debug, Default)]
pub(super) struct Stock {
    heard: u32,
    latest: Option<Entry>,
    /// The most that had ever been given back, and the same as if headers were written when the request arrives.
    peak: f64,
    by_departure: Option<(f64, f64)>,
    jitter: [f64; 2],
    /// By how much it has gone amiss of late, in both senses, of how much that was sent, and by how much the numbers changed.
    amiss: f64,
    sent: f64,
    moved: f64,
    /// Kept, for what is on its way and counted by one side only: as much as it takes that few are refused.
    reserve: f64,
    /// The most that was ever left.
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
        let last = self.latest.replace(entry);
        let Some(last) = last else { return };
        let fade = 0.98;
        // What is on its way may be counted by one side only: that much is no sign of anything.
        let slack = 2.0 * heard.weight + heard.unknown;
        self.amiss = fade * self.amiss + fallen(&mut self.peak, entry.given(), slack);
        self.sent = fade * self.sent + (entry.sent - last.sent).abs();
        self.moved = fade * self.moved + (entry.left - last.left).abs();
        if self.heard >= HEARD && self.amiss > DRAWN_ON * self.sent && at >= self.distrusted_until {
            // Others draw on it, or it is nobody's.
            self.distrust(at);
        }
        self.jitter[0] = fade * self.jitter[0] + (last.given() - entry.given()).max(0.0);
        if self.by_departure.is_none_or(|(departed, _)| heard.departed >= departed) {
            let given = left + heard.sent_by_then;
            let before = self.by_departure.replace((heard.departed, given)).map_or(given, |(_, before)| before);
            self.jitter[1] = fade * self.jitter[1] + (before - given).max(0.0);
        }
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
        if let Some(latest) = self.latest.as_mut().filter(|latest| departed <= latest.at) {
            latest.sent -= weight;
        }
        for (at, given) in &mut self.history {
            if departed <= *at {
                *given -= weight;
            }
        }
        self.peak -= weight;
        if let Some((at, given)) = &mut self.by_departure
            && departed <= *at
        {
            *given -= weight;
        }
    }

    /// Whether the numbers keep to what is sent.
    pub(super) fn keeps_account(&self, now: f64) -> bool {
        const SILENT: f64 = 60.0;
        let is_recent = self.is_confirmed || self.latest.is_some_and(|latest| now - latest.at < SILENT);
        is_recent
            && self.heard >= HEARD
            && now >= self.distrusted_until
            && self.moved > 0.0
            && self.moved <= MOVES * self.sent
            && self.amiss <= AMISS * self.sent
            && (self.is_confirmed || self.jitter[0] <= 1.5 * self.jitter[1] + 0.02 * self.sent)
    }

    /// Whether they do, and are worth waiting for.
    pub(super) fn is_sound(&self, now: f64) -> bool {
        self.keeps_account(now) && self.slope().is_none_or(|slope| self.full > LASTS * slope)
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

    /// What is left, and what should have been given back since that was said.
    fn available(&self, now: f64, sent: f64) -> Option<(f64, f64)> {
        let latest = self.latest?;
        let steady = self.steady().map_or(0.0, |slope| STEADY * slope * (now - latest.at));
        Some((latest.left - (sent - latest.sent), steady))
    }

    /// Whether a request may leave, and what for; else when to ask again.
    pub(super) fn ready(&mut self, now: f64, weight: f64, sent: f64) -> Result<Covered, f64> {
        let Some((left, steady)) = self.available(now, sent).filter(|_| self.is_sound(now)) else { return Ok(Covered::Yes) };
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
            // What was given back before says how long it takes at the most.
            let soon = self.slope().map_or(f64::INFINITY, |slope| KNOCKS_OF_ALL * self.full / slope);
            let due = self.last_sent.max(since) + KNOCK.max(((now - since) / apart).min(soon)).max(expected);
            // Where windows end at equal distances, nobody has to ask before the end of this one.
            let due = self.window_end(since).map_or(due, |end| if self.last_sent < end { end + AFTER_THE_END } else { due });
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
            return (HASTE * self.lately().unwrap_or(0.0)).max(available / SOFT_END);
        }
        let slope = self.slope().unwrap_or(0.0);
        if let Some(end) = self.window_end(now) {
            return EVENLY * available / (end - now).max(0.05 * self.period.unwrap_or_default());
        }
        SHY * slope + available / self.spent_over()
    }

    /// Seconds over which what is left is spent: a part of those in which all of it is given back.
    fn spent_over(&self) -> f64 {
        (SPENT_PART * self.full / self.slope().unwrap_or(0.0)).clamp(SPENT_OVER.0, SPENT_OVER.1)
    }

    /// When the present window ends, where several have ended at once and at equal distances.
    fn window_end(&self, now: f64) -> Option<f64> {
        let period = self.period?;
        Some(self.jumped + period * ((now - self.jumped) / period).floor().max(0.0) + period)
    }

    /// A request leaves.
    pub(super) fn take(&mut self, now: f64, weight: f64, sent: f64, covered: Covered) {
        self.last_sent = now;
        if let Some((left, steady)) = self.available(now, sent).filter(|_| covered != Covered::No && self.is_sound(now)) {
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

/// By how much more than this slack what was given back has fallen below the most that it was.
fn fallen(peak: &mut f64, given: f64, slack: f64) -> f64 {
    let fallen = (*peak - given - slack).max(0.0);
    *peak = peak.max(given).min(given + slack);
    fallen
}
