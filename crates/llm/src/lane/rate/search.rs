//! While nothing is refused: when more is tried, how long each step lasts, and what was admitted meanwhile.

use super::{Doubts, Mark, Rate, Test};
use crate::lane::announced::Announced;
use crate::lane::constants::{
    CEILING_MOVED, GAIN, GAIN_MAX, KNOCK, MEASURED, MEMORY, ONCE, PROBE_GATE, QUIET, SAFE, SHARED_EVERY, SHARED_STEP, STEP_BACK, TEST,
    TEST_REQUESTS, TEST_REQUESTS_PAUSING, TOLD_GATE, TOO_LITTLE, WINDOW_TEST, WINDOWED,
};

impl Rate {
    /// At the end of a window without a refusal.
    pub(in crate::lane) fn window(&mut self, mark: Mark, admitted: u64, cost: u32, shared: bool, leads: bool, doubts: Doubts) {
        let now = mark.at;
        let binding = std::mem::take(&mut self.binding);
        self.remember(mark);
        if let Some(then) = self.history.iter().rev().find(|then| mark.at - then.at >= ONCE) {
            self.once = self.once.max((mark.work - then.work) / (mark.at - then.at));
        }
        if !self.pace.is_finite() {
            return;
        }
        let most = self.stated.unwrap_or(f64::INFINITY);
        if binding && leads && !shared && self.comes_back(now, most, doubts.announced) {
            return;
        }
        if self.is_believed(now) {
            if binding && leads && !shared {
                self.try_beyond_announced(now, most);
            }
            return;
        }
        if shared {
            if binding && now >= self.next_test {
                self.pace = (self.pace + SHARED_STEP * self.mean_weight).min(most);
                self.next_test = now + SHARED_EVERY;
            }
            return;
        }
        if let Some((proven, _)) = self.proven
            && now - self.last_refusal > 2.0
            && self.pace < 0.97 * proven
        {
            self.pace += 0.5 * (SAFE * proven - self.pace);
        }
        if !binding || !leads {
            return;
        }
        // A limit that was named is tested seldom: it may have risen since.
        let patience = if self.told.is_some_and(|told| self.pace > 0.98 * told) { TOLD_GATE } else { 1.0 };
        let due = now >= self.next_test && admitted as f64 >= patience * self.gate(cost);
        let careful = self.pausing || doubts.accidents;
        self.careful = careful;
        let requests = if careful { TEST_REQUESTS_PAUSING } else { TEST_REQUESTS };
        let start = match self.test {
            // Nothing is measured yet: as fast as anything can be seen.
            Some(test) if self.proven.is_none() => {
                let over = now - test.since >= (2.0 * self.mean_weight / self.pace).max(1.0);
                if over {
                    self.gain = (2.0 * self.gain).min(1.0);
                }
                over
            }
            Some(test) if self.windowed.is_some_and(|span| now - test.since < span) => false,
            Some(test) if now - test.since < self.step_time().max(requests * self.mean_weight / self.pace) => false,
            Some(_) if careful => true,
            Some(_) => {
                let beyond = self.windowed.is_none() && self.ceiling.is_none_or(|ceiling| self.pace > CEILING_MOVED * ceiling);
                self.gain = if beyond { (2.0 * self.gain).min(GAIN_MAX) } else { GAIN };
                true
            }
            None => due,
        };
        if start && self.pace < most {
            let origin = self.test.map_or(self.pace, |test| test.origin);
            self.test = Some(Test { origin, before: self.pace, since: now });
            self.pace = (self.pace * (1.0 + self.gain)).min(most);
        }
    }

    /// Nothing has been refused for long, and more than twice as much was admitted once: whatever speaks for this pace, it is too
    /// low. Returns whether it rises.
    fn comes_back(&mut self, now: f64, most: f64, announces: bool) -> bool {
        // Where others use the key, too, or nothing is announced that could be wrong, less may be all there is.
        let is_content = self.announced.as_ref().map_or(!announces, Announced::was_crowded);
        if is_content || now - self.last_refusal < QUIET || self.pace > TOO_LITTLE * self.once.min(most) {
            self.returns = None;
            return false;
        }
        if self.returns.is_some_and(|since| now - since < STEP_BACK) {
            return true;
        }
        if let Some(announced) = &mut self.announced {
            announced.disbelieve();
        }
        self.returns = Some(now);
        (self.test, self.proven, self.ceiling) = (None, None, None);
        self.pace = (1.5 * self.pace).min(self.once).min(most);
        self.gain = GAIN_MAX;
        true
    }

    fn remember(&mut self, mark: Mark) {
        if self.history.is_empty() && self.once == 0.0 {
            // What left in the first moment counts, too.
            self.history.push_back(Mark { at: mark.at, work: 0.0, count: 0 });
        }
        if self.history.back().is_none_or(|last| mark.at - last.at >= 1.0) {
            self.history.push_back(mark);
        }
        while self.history.front().is_some_and(|first| mark.at - first.at > MEMORY) {
            self.history.pop_front();
        }
        let Some(last) = self.marks.back().copied() else { return };
        if mark.count <= last.count {
            return;
        }
        let was_dry = self.dry >= WINDOWED || self.dry > 0 && self.last_refusal - self.dry_since > KNOCK;
        if !was_dry {
            return;
        }
        // It admits again after it had admitted nothing for a while: a window has ended, and it admitted all that it allows. Over
        // less than a window there is more of the time without an admission in it, over more of them some are not used up: so the
        // most that was admitted in any time up to here is the pace that lasts.
        self.dry = 0;
        let before = self.resumed.replace(mark);
        let since = before.map_or(f64::NEG_INFINITY, |before| before.at);
        let spans = self.history.iter().chain(&before).filter(|then| then.at >= since && mark.at - then.at > KNOCK);
        let pace = |then: &Mark| (mark.work - then.work) / (mark.at - then.at);
        let best = spans.map(|then| (pace(then), mark.count.saturating_sub(then.count))).max_by(|a, b| a.0.total_cmp(&b.0));
        self.test = None;
        match best {
            Some((lasting, admitted)) if admitted >= MEASURED => {
                self.windowed = Some(if before.is_some() { 0.6 * MEMORY } else { WINDOW_TEST });
                let lasting = (SAFE * lasting).max(self.mean_weight.max(1.0) / KNOCK);
                self.pace = lasting.min(self.stated.unwrap_or(f64::INFINITY));
                self.proven = Some((self.pace, PROBE_GATE as u64));
                self.ceiling = Some(self.pace);
                self.gain = GAIN;
                self.marks.clear();
                self.forgive();
            }
            // Next to nothing was tried: that is no measurement.
            _ => (self.windowed, self.proven, self.ceiling) = (None, None, None),
        }
    }

    /// Requests to admit before the next test, after `cost` refusals: a rough figure is worth refining soon.
    pub(in crate::lane) fn gate(&self, cost: u32) -> f64 {
        match self.proven {
            _ if self.without.gate => 0.0,
            None => 0.0,
            Some((_, admitted)) => (PROBE_GATE * f64::from(cost.max(1))).min(2.0 * admitted as f64),
        }
    }

    /// How long a step of a test lasts: beyond the last ceiling the way is known to be free.
    pub(super) fn step_time(&self) -> f64 {
        let beyond = self.ceiling.is_none_or(|ceiling| self.pace > CEILING_MOVED * ceiling);
        if beyond && !self.pausing { 0.5 * TEST } else { TEST }
    }
}
