//! A refusal, as far as one rate is concerned: what it measures, and the pace that it leaves.

use super::{Mark, Rate, Refusal};
use crate::lane::constants::{
    CEILING_MOVED, CREEP, CUTS, DEBT, DEBT_REQUESTS, FAR_OFF, GAIN, GAIN_MAX, GAIN_MIN, HOLD, KNOCK, KNOCKS_APART, MEASURED, MEMORY,
    PAUSE_EARNED, PROBE_BACKOFF, PROBE_EVERY, PROBE_EVERY_MAX, SAFE, SHARED_CUT, STREAK, TOLD_TEST, TRIAL_WON, USE_OF_STATED,
};

impl Rate {
    /// The server refused, and this rate is to blame or may be.
    pub(in crate::lane) fn refused(&mut self, now: f64, refusal: &Refusal) {
        let newly = refusal.told.filter(|told| self.told.is_none_or(|known| (known / told - 1.0).abs() > 0.01));
        if let Some(told) = newly {
            self.told_limit(now, told, refusal);
            return;
        }
        // Nothing was admitted since the last refusal: what was learned then still holds, and the only question is
        // how long it takes until something is admitted again.
        let last = self.marks.back().map(|mark| mark.count);
        if self.is_set() && last.is_some_and(|count| refusal.mark.count <= count) {
            if self.dry == 0 {
                self.dry_since = now;
            }
            self.dry += 1;
            self.last_refusal = now;
            self.withhold(now, f64::INFINITY);
            return;
        }
        if self.returns.take().is_some() {
            // There is no way back.
            self.once = self.once.min(self.pace);
        }
        self.dry = 0;
        let rapid = now - self.last_refusal < STREAK;
        self.streak = if rapid { self.streak + 1 } else { 1 };
        self.last_refusal = now;
        if refusal.pause > 0.0 {
            // While the lane pauses the server's bucket fills and runs over: across it nothing is measured.
            self.marks.clear();
            self.pausing = true;
        }
        let estimate =
            self.marks.back().map_or(0.0, |mark| ((refusal.mark.work - mark.work) / (refusal.mark.at - mark.at).max(1e-3)).max(0.0));
        let lower = self.lower_bound(refusal).filter(|_| !self.without.floor);
        let upper = self.upper_bound(refusal);
        if let Some(mark) = self.marks.back()
            && refusal.mark.count.saturating_sub(mark.count) >= MEASURED
        {
            self.samples.push_back((refusal.mark.work - mark.work) / (refusal.mark.at - mark.at).max(1e-3));
            if self.samples.len() > 5 {
                self.samples.pop_front();
            }
        }
        // Refused again and again at a pace that was proved: the limit has fallen.
        let at_floor = self.proven.is_some_and(|(proven, _)| self.pace <= CEILING_MOVED * proven) && self.test.is_none();
        self.doubts = if at_floor && rapid { self.doubts + 1 } else { 0 };
        let doubts = self.doubts;
        let fallen = |proven: f64| doubts >= 3 || (doubts >= 1 && upper.is_some_and(|upper| upper < 0.9 * proven));
        let measured = self.proven.is_some();
        self.proven = match lower {
            Some((proven, _)) if fallen(proven) => {
                // Admitted work from before the limit fell proves nothing any more.
                self.marks.clear();
                None
            }
            Some(proven) => Some(proven),
            None => self.proven.filter(|(proven, _)| !fallen(*proven)),
        };
        self.note(refusal.mark);
        let before = self.pace.min(refusal.lately.max(f64::MIN_POSITIVE));
        if let Some(announced) = self.announced.as_mut().filter(|announced| announced.is_believed(now)) {
            if let Some(test) = self.test.take() {
                if test.before > TRIAL_WON * announced.rate {
                    // Far more was admitted than is announced.
                    announced.disbelieve();
                    self.test = Some(test);
                } else {
                    announced.confirm(now);
                    self.pace = HOLD * self.announced_pace;
                    self.withhold(now, f64::INFINITY);
                    return;
                }
            } else if announced.has_stock() || self.pace > FAR_OFF * refusal.lately && !announced.is_crowded(now) {
                announced.lie();
            } else {
                // Refused although the headers are honoured: others use the key too.
                self.pace = announced.refused(now, self.pace);
                self.withhold(now, f64::INFINITY);
                return;
            }
        }
        let was_test = self.test.is_some();
        if refusal.pause > 0.0 && self.is_set() {
            // What was kept up before the test is as good as measured.
            self.proven = match self.test {
                Some(test) => Some((SAFE * test.before, MEASURED)),
                None => self.proven.map(|(_, admitted)| (CUTS[1] * self.pace, admitted)),
            };
        }
        let mut pace = match self.test.take() {
            _ if refusal.shared => before * SHARED_CUT,
            Some(test) => {
                let has_moved = !measured || self.careful || self.ceiling.is_none_or(|ceiling| test.before > CEILING_MOVED * ceiling);
                self.ceiling = Some(test.before);
                self.gain = (self.gain / 2.0).max(GAIN_MIN);
                // Steps near the ceiling were paid from what was left over: only what was kept up before them lasts for sure.
                HOLD * if has_moved || refusal.fixed { test.before } else { test.origin + CREEP * (test.before - test.origin) }
            }
            // Another kind of work was tested, so this one was not too fast, or less of it than its pace has left.
            None if self.pace.is_finite() && refusal.tested && measured => self.pace.min(CEILING_MOVED * refusal.lately),
            None if self.pace.is_finite() => {
                self.ceiling = Some(self.pace);
                self.gain = GAIN;
                self.pace * CUTS[self.streak.min(CUTS.len()) - 1]
            }
            // The first: what left lately was a burst, and may be far above the rate.
            None => {
                self.gain = GAIN_MAX;
                before * CUTS[3]
            }
        };
        // Where a test failed, the pace before it was admitted; a second refusal soon after says that this was stock.
        if !refusal.shared && (self.proven.is_none() || !measured) && (!was_test || rapid) {
            // Hardly measured yet: the middle of what is possible, half of it while nothing at all was admitted.
            let likely = if estimate > 0.0 { Some(1.15 * estimate) } else { upper.map(|upper| upper / 2.0) };
            pace = likely.map_or(pace, |likely| pace.min(likely));
            if !was_test {
                self.gain = GAIN_MAX;
            }
            self.ceiling = None;
        }
        if let Some((proven, _)) = self.proven.filter(|_| !refusal.shared) {
            pace = pace.max(SAFE * proven);
        }
        if self.pace.is_finite() {
            pace = pace.min(0.99 * self.pace);
        }
        if let (Some((proven, _)), Some(announced)) = (self.proven.filter(|_| measured && !refusal.shared), &mut self.announced)
            && let Some(announced) = announced.vindicate(now, proven)
        {
            pace = announced;
        }
        self.pace = pace.max(self.mean_weight.max(1.0) / KNOCK).min(self.stated.unwrap_or(f64::INFINITY));
        self.forgive();
        // What a test came to is known; what refused otherwise is not.
        let over = if refusal.tested && measured && refusal.pause == 0.0 && !refusal.together {
            (before - self.pace).max(0.0)
        } else {
            f64::INFINITY
        };
        self.withhold(now, over);
        self.wait = if rapid { (self.wait * PROBE_BACKOFF).min(PROBE_EVERY_MAX) } else { PROBE_EVERY };
        let wait = if self.proven.is_none() { (3.0 * self.mean_weight / self.pace).max(1.0) } else { self.wait };
        // A test has to be able to earn the pause that its failure costs.
        let pause = if self.proven.is_none() { 0.0 } else { PAUSE_EARNED * refusal.pause / self.gain };
        self.next_test = now + refusal.pause + pause + wait * refusal.jitter;
    }

    /// Admitted work over time since earlier refusals: the rate is above this.
    fn lower_bound(&self, refusal: &Refusal) -> Option<(f64, u64)> {
        let Mark { at, work, count } = refusal.mark;
        let bounds = self.marks.iter().filter(|mark| at - mark.at <= MEMORY && count.saturating_sub(mark.count) >= MEASURED);
        bounds
            .map(|mark| (((work - mark.work - 0.5 * refusal.weight) / (at - mark.at)).max(0.0), count.saturating_sub(mark.count)))
            .max_by(|a, b| a.0.total_cmp(&b.0))
    }

    /// The same from above: right while no bucket can have overflowed in between.
    fn upper_bound(&self, refusal: &Refusal) -> Option<f64> {
        let Mark { at, work, .. } = refusal.mark;
        let close = self.marks.iter().filter(|mark| at - mark.at <= 2.0 && at > mark.at);
        close.map(|mark| ((work - mark.work).max(0.0) + refusal.weight) / (at - mark.at)).min_by(f64::total_cmp)
    }

    /// Keeps a refusal as the beginning of a measurement.
    pub(super) fn note(&mut self, mark: Mark) {
        self.marks.push_back(mark);
        if self.marks.len() > 8 {
            self.marks.pop_front();
        }
    }

    /// A refusal named the limit itself.
    fn told_limit(&mut self, now: f64, told: f64, refusal: &Refusal) {
        self.told = Some(told);
        self.note(refusal.mark);
        self.test = None;
        self.pace = (told * USE_OF_STATED).min(self.stated.unwrap_or(f64::INFINITY));
        self.proven = Some((self.pace, MEASURED));
        self.ceiling = Some(told);
        self.last_refusal = now;
        self.streak = 1;
        self.withhold(now, f64::INFINITY);
        self.next_test = now + refusal.pause + TOLD_TEST * refusal.jitter;
    }

    /// What was withheld at a far higher pace would be withheld for minutes at this one.
    pub(super) fn forgive(&mut self) {
        if self.stated.is_none() {
            self.level = self.level.max(-self.pace * KNOCK);
        }
    }

    /// Withholds allowance after a refusal, so that the server's bucket refills.
    pub(super) fn withhold(&mut self, now: f64, over: f64) {
        let over = over.min(self.pace);
        let debt = (DEBT * over).max(DEBT_REQUESTS * self.mean_weight) * f64::from(1 << self.dry.min(16));
        let debt = if self.without.debt { 0.0 } else { debt };
        // It never takes much longer than a knock, or a low pace would be withheld for minutes.
        let knock = if self.dry > 0 { KNOCK.max((now - self.dry_since) / KNOCKS_APART) } else { KNOCK };
        self.level = self.level.min(0.0) - debt.min(self.pace * knock);
        self.filled = now;
    }
}
