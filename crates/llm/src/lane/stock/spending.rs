//! When a request may leave, by what is left: what has been said to be left, less what was sent since, and more by what will
//! have been given back since.
//!
//! What comes back is foretold as the limit has shown itself: steadily, as into a bucket; one turn after it was sent, as from a
//! window that slides; or all at once at the end of a window. What is left is spent so evenly that little of it is left over
//! and nothing is short. Where nothing is left and nothing foretold, a request asks now and then.

use super::book::Book;
use super::{Covered, MISSED, Stock};

/// Requests a second that try whether anything is admitted although nothing is left, before the first refusal has told.
const TRIED: f64 = 4.0;
/// While nothing is left, a request tries this often whether that is so …
const KNOCK: f64 = 2.0;
/// … and no more often than in this part of the time for which nothing has been; the second applies while a moment is announced
/// at which that ends.
const KNOCKS_APART: (f64, f64) = (4.0, 2.0);
/// … and as often as in this part of the time in which all of it used to be given back.
const KNOCKS_OF_ALL: f64 = 0.1;
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
/// How much faster than evenly what is left of a window is spent, for nothing should be left over at its end.
const EVENLY: f64 = 1.03;
/// Seconds that a window may be long which is found to slide: in a shorter one responses tell soon enough what has been given
/// back, and what is left of a longer one is spent as fast as it goes.
const SLIDES: std::ops::Range<f64> = 20.0..120.0;
/// What is sent of a steady return, besides a part of what is left: so much is left in the end that both come to the return.
const SHY: f64 = 0.99;
/// What of a steady return is counted on before a response shows it.
const STEADY: f64 = 0.97;

impl Stock {
    /// Whether each request is given back one turn after it was sent, and never much at once: the window slides.
    pub(super) fn is_sliding(&self) -> bool {
        self.book().turn.is_some_and(|turn| SLIDES.contains(&turn))
            && self.book().misfit <= 0.04 * self.full + 3.0 * self.weight
            && self.missed < MISSED
            && self.period.is_none()
    }

    /// When the next is given back, where that is foretold.
    fn next_return(&self) -> Option<f64> {
        let Book { turn, used, back, .. } = self.book();
        let turn = turn.filter(|_| self.is_sliding())?;
        used.iter().find(|(_, sent, _)| sent > back).map(|(at, ..)| at + turn)
    }

    /// What is left, and what should have been given back since that was said.
    fn available(&self, now: f64, sent: f64) -> Option<(f64, f64)> {
        let latest = self.book().latest?;
        let since = if self.is_sliding() {
            self.book().foretold(now, self.full).map_or(0.0, |foretold| (foretold - latest.given()).max(0.0))
        } else {
            self.steady().map_or(0.0, |slope| STEADY * slope * (now - latest.at))
        };
        Some((latest.left - (sent - latest.sent), since))
    }

    /// Whether a request may leave, and what for; else when to ask again.
    pub(in crate::lane) fn ready(&mut self, now: f64, weight: f64, sent: f64) -> Result<Covered, f64> {
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
            let due = self.next_return().filter(|next| *next > self.last_sent).map_or(due, |next| next + AFTER_THE_END);
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
        if let Some(end) = self.window_end(now) {
            return EVENLY * available / (end - now).max(0.05 * self.period.unwrap_or_default());
        }
        if let Some(turn) = self.book().turn.filter(|_| self.is_sliding()) {
            return (self.full + 0.1 * available) / turn;
        }
        SHY * self.slope().unwrap_or(0.0) + available / self.spent_over()
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
    pub(in crate::lane) fn take(&mut self, now: f64, weight: f64, sent: f64, covered: Covered) {
        self.last_sent = now;
        if let Some((left, steady)) = self.available(now, sent).filter(|_| covered != Covered::No && self.is_sound(now)) {
            let pace = self.spread(now, (left + steady).clamp(weight, self.full.max(weight))).max(weight / KNOCK);
            self.next = self.next.max(now - 0.02) + weight / pace;
        }
    }
}
