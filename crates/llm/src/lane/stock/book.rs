//! What responses say is left, beside what was sent: the one less the other is what has been given back.
//!
//! Whether a number was written when its answer was done, when its request arrived, or at the response before is not said, so
//! there is a book for each sense, and that is right in which least comes out wrong: what has been given back never becomes less.
//!
//! How long it takes until what is used up has been given back is measured here, too, whatever the kind of limit: from one
//! moment until all that had been sent by then has come back.

use std::collections::VecDeque;

/// What may go amiss, as a share of what is sent: requests on their way are counted by one side only.
const AMISS: f64 = 0.15;
/// How many times what is sent the numbers may fall.
const MOVES: f64 = 2.0;

/// The numbers in one sense.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    pub(super) latest: Option<Entry>,
    /// The most that had ever been given back.
    peak: f64,
    /// By how much it has gone amiss of late, beyond what may be on its way and in all; of how much that was sent; and by how
    /// much the numbers changed.
    pub(super) amiss: f64,
    pub(super) fallen: f64,
    pub(super) sent: f64,
    moved: f64,
    /// What may be on its way.
    slack: f64,
    /// When so much had been sent, and so much was missing: until all of that is given back.
    pub(super) used: VecDeque<(f64, f64, f64)>,
    /// What had been sent by the last of these moments for which that was so.
    pub(super) back: f64,
    /// Seconds until what is used up is given back; and how far off it is, in the mean, that all which was sent so long ago has
    /// been, and nothing since.
    pub(super) turn: Option<f64>,
    pub(super) misfit: f64,
}

impl Book {
    /// Takes an entry; returns the one before, unless that is the later one.
    pub(super) fn take(&mut self, entry: Entry, slack: f64, full: f64) -> Option<Entry> {
        const FADE: f64 = 0.98;
        if self.latest.is_some_and(|last| entry.at < last.at) {
            return None;
        }
        let last = self.latest.replace(entry)?;
        self.amiss = FADE * self.amiss + fallen(&mut self.peak, entry.given(), slack);
        self.fallen = FADE * self.fallen + (last.given() - entry.given()).max(0.0);
        self.sent = FADE * self.sent + (entry.sent - last.sent).abs();
        self.moved = FADE * self.moved + (last.left - entry.left).max(0.0);
        self.slack = slack;
        self.measure_return(entry, entry.at - last.at, full);
        Some(last)
    }

    /// A request that left then was refused: it has not been sent.
    pub(super) fn unsent(&mut self, weight: f64, departed: f64) {
        if let Some(latest) = self.latest.as_mut().filter(|latest| departed <= latest.at) {
            latest.sent -= weight;
        }
        for (at, sent, _) in &mut self.used {
            *sent -= if departed <= *at { weight } else { 0.0 };
        }
        self.peak -= weight;
    }

    /// Whatever the window, what is used up at one moment has been given back by another: when as much as was ever sent by then
    /// has come back, and all that was there at first. In the mean the limit gives all of it in that time.
    fn measure_return(&mut self, entry: Entry, since_last: f64, full: f64) {
        const MOST: usize = 128;
        const MISSING: f64 = 0.9;
        const CLOSE: f64 = 1.0;
        while let Some((at, sent, missing)) = self.used.front().copied().filter(|(_, sent, _)| sent + full <= entry.given()) {
            // What was noticed late is better than nothing.
            if missing >= MISSING * full && (since_last < CLOSE || self.turn.is_none()) {
                let turn = self.turn.get_or_insert(entry.at - at);
                *turn += 0.25 * (entry.at - at - *turn);
            }
            self.back = sent;
            self.used.pop_front();
        }
        if let Some(foretold) = self.foretold(entry.at, full) {
            self.misfit += 0.05 * ((foretold - entry.given()).abs() - self.misfit);
        }
        let (last, sent) = self.used.back().map_or((entry.at, f64::NEG_INFINITY), |(at, sent, _)| (*at, *sent));
        if entry.sent > sent && (entry.at - last >= 0.25 || self.used.is_empty()) {
            // Where nothing was sent for a while, it is not known to which moment a return belongs.
            let missing = if entry.at - last < CLOSE { full - entry.left } else { 0.0 };
            self.used.push_back((entry.at, entry.sent, missing));
        }
        if self.used.len() > MOST {
            let mut index = 0;
            self.used.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
    }

    /// What is given back by then, if it is what was sent one turn before.
    pub(super) fn foretold(&self, at: f64, full: f64) -> Option<f64> {
        let then = at - self.turn?;
        Some(full + self.used.iter().take_while(|(at, ..)| *at <= then).last().map_or(self.back, |(_, sent, _)| *sent))
    }

    /// Whether the numbers keep to what is sent.
    pub(super) fn keeps_account(&self) -> bool {
        self.moved > 0.0 && self.moved <= MOVES * self.sent && self.amiss <= AMISS * self.sent + self.slack
    }
}

/// What a response said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) at: f64,
    pub(super) left: f64,
    /// All that had been sent and counted by then.
    pub(super) sent: f64,
}

impl Entry {
    /// What has been given back by then, from an arbitrary moment on.
    pub(super) fn given(&self) -> f64 {
        self.left + self.sent
    }
}

/// By how much more than this slack what was given back has fallen below the most that it was.
fn fallen(peak: &mut f64, given: f64, slack: f64) -> f64 {
    let fallen = (*peak - given - slack).max(0.0);
    *peak = peak.max(given).min(given + slack);
    fallen
}
