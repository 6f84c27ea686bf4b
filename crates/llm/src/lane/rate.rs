//! One rate: requests, or tokens, that may leave a second.
//!
//! A refusal by a server's bucket says that the bucket was empty then. Between two refusals it was filled with
//! exactly the rate times the time, and what was admitted is what it gave. So admitted work over time measures
//! the rate from below, whatever the size of the bucket (what overflowed is missing, nothing is too much), and
//! the more requests lie between, the more exactly. Two refusals in quick succession bound it from above too.

use std::collections::VecDeque;

use super::Without;
use super::announced::{Announced, Trial};
use super::constants::{
    ANNOUNCED_START, BURST, CEILING_MOVED, CREEP, CUTS, DEBT, DEBT_REQUESTS, FAR_OFF, GAIN, GAIN_MAX, GAIN_MIN, HOLD, KNOCK, KNOCKS_APART,
    MEASURED, MEMORY, ONCE, PAUSE_EARNED, PROBE_BACKOFF, PROBE_EVERY, PROBE_EVERY_MAX, PROBE_GATE, QUIET, SAFE, SHARED_CUT, SHARED_EVERY,
    SHARED_STEP, STEP_BACK, STREAK, TEST, TEST_REQUESTS, TEST_REQUESTS_PAUSING, TOLD_GATE, TOLD_TEST, TOO_LITTLE, TRIAL_WON, USE_OF_STATED,
    WINDOW_TEST, WINDOWED,
};
use crate::Window;

/// The pace of one kind of work.
#[derive(Clone, Debug)]
pub(super) struct Rate {
    /// From the pipeline file, a second. Never exceeded.
    stated: Option<f64>,
    announced: Option<Announced>,
    /// The pace before more than is announced was tried.
    announced_pace: f64,
    /// What refusals say the limit is, a second.
    told: Option<f64>,
    /// Work a second that may leave; infinite while no limit is known.
    pub(super) pace: f64,
    level: f64,
    filled: f64,
    test: Option<Test>,
    gain: f64,
    /// Where the last refusal came.
    ceiling: Option<f64>,
    next_test: f64,
    wait: f64,
    streak: usize,
    /// Refusals in a row with nothing admitted in between: the limit is used up, whatever it is.
    dry: u32,
    /// The first of them.
    dry_since: f64,
    /// When work was admitted again after such a time, and what had been by then.
    resumed: Option<Mark>,
    /// What had been admitted at moments of the last minutes.
    history: VecDeque<Mark>,
    /// The server counts in windows: it admits all and then nothing, so that a test must outlast a window: seconds that
    /// each step of one lasts.
    windowed: Option<f64>,
    /// A refusal makes the lane pause: tests are longer then, and their steps do not grow.
    pausing: bool,
    /// Tests are careful: see [`TEST_REQUESTS_PAUSING`].
    careful: bool,
    /// The most a second that was ever admitted over [`ONCE`], and whether it is on the way back to it.
    once: f64,
    returns: Option<f64>,
    /// Refusals in a row at a pace that was thought proved.
    doubts: u32,
    last_refusal: f64,
    marks: VecDeque<Mark>,
    /// The rate that admitted work has proved, and the admissions that prove it.
    pub(super) proven: Option<(f64, u64)>,
    /// Measured rates, newest last: the true limit's are the more alike.
    pub(super) samples: VecDeque<f64>,
    /// Whether this rate kept a request back in the present window.
    pub(super) binding: bool,
    /// Whether it is obeyed: where the other kind of work is what the server counts, it is not.
    pub(super) enforced: bool,
    mean_weight: f64,
    without: Without,
}

#[derive(Clone, Copy, Debug)]
struct Test {
    /// The pace that was kept before it.
    origin: f64,
    /// The pace before this step.
    before: f64,
    since: f64,
}

/// The state at a refusal: when the refused request left, and what had been admitted by then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) at: f64,
    pub(super) work: f64,
    pub(super) count: u64,
}

/// What else there is beside this rate that may explain what happens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doubts {
    /// Some requests are refused by accident.
    pub(super) accidents: bool,
    /// Headers announce a limit of some kind of work.
    pub(super) announced: bool,
}

/// A refusal, as far as a rate is concerned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refusal {
    pub(super) mark: Mark,
    pub(super) weight: f64,
    /// Work a second that left lately.
    pub(super) lately: f64,
    /// How long the server asks to be left alone.
    pub(super) pause: f64,
    /// The limit a second, if the refusal names it.
    pub(super) told: Option<f64>,
    pub(super) shared: bool,
    /// Whether a test of any kind of work was under way.
    pub(super) tested: bool,
    /// Whether what is in flight is fixed, so that nothing but a rate can be blamed.
    pub(super) fixed: bool,
    /// Whether other processes use the lane.
    pub(super) together: bool,
    pub(super) jitter: f64,
}

impl Rate {
    pub(super) fn new(stated: Option<f64>, without: Without) -> Self {
        let stated = stated.map(|rate| rate * USE_OF_STATED);
        Self {
            stated,
            announced: None,
            announced_pace: 0.0,
            told: None,
            pace: stated.unwrap_or(f64::INFINITY),
            level: 0.0,
            filled: f64::NEG_INFINITY,
            test: None,
            gain: GAIN,
            ceiling: stated,
            next_test: 0.0,
            wait: PROBE_EVERY,
            streak: 0,
            dry: 0,
            dry_since: f64::NEG_INFINITY,
            resumed: None,
            once: 0.0,
            returns: None,
            doubts: 0,
            history: VecDeque::new(),
            windowed: None,
            pausing: false,
            careful: false,
            last_refusal: f64::NEG_INFINITY,
            marks: VecDeque::new(),
            proven: None,
            samples: VecDeque::new(),
            binding: false,
            enforced: true,
            mean_weight: 0.0,
            without,
        }
    }

    /// Whether a limit of this kind is known or suspected.
    pub(super) fn is_set(&self) -> bool {
        self.pace.is_finite()
    }

    /// The share of a pace that belongs to one of several processes is applied by the caller through `share`.
    pub(super) fn ready(&mut self, now: f64, weight: f64, share: f64) -> Result<(), f64> {
        if !self.pace.is_finite() {
            return Ok(());
        }
        let pace = self.pace * share;
        let burst = (pace * BURST).max(weight.min(self.mean_weight)).max(1.0);
        if self.filled == f64::NEG_INFINITY {
            self.level = 1.0;
            self.filled = now;
        }
        self.level = (self.level + (now - self.filled).max(0.0) * pace).min(burst);
        self.filled = now;
        // What is heavier than the burst leaves when the bucket is full, and is paid off afterwards.
        let missing = weight.min(burst) - self.level;
        if missing <= 1e-6 * burst || !self.enforced {
            return Ok(());
        }
        self.binding = true;
        Err(now + (missing / pace).min(3_600.0) + 1e-6)
    }

    /// A request of this weight leaves; `obeyed` if this rate was asked.
    pub(super) fn take(&mut self, weight: f64, obeyed: bool) {
        let learned = if self.mean_weight == 0.0 { 1.0 } else { 0.05 };
        self.mean_weight += learned * (weight - self.mean_weight);
        if self.pace.is_finite() && self.enforced && obeyed {
            self.level -= weight;
        }
    }

    /// Corrects what was taken.
    pub(super) fn take_more(&mut self, weight: f64) {
        if self.pace.is_finite() && self.enforced {
            self.level -= weight;
        }
    }

    /// Whether this is the kind of work that the server counts. What has not been obeyed for a while starts from
    /// what leaves now.
    pub(super) fn enforce(&mut self, enforced: bool, lately: f64) {
        if enforced && !self.enforced && self.pace.is_finite() {
            self.pace = self.pace.max(lately);
            self.level = 0.0;
        }
        self.enforced = enforced;
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

    /// A refusal that a cap explains. If caps explain many that turn out not to be there, while the headers say that
    /// much is left, the headers are wrong.
    pub(super) fn excused(&mut self, mark: Mark, cap_is_confirmed: bool) {
        if let Some(announced) = &mut self.announced
            && announced.excuse(cap_is_confirmed)
        {
            self.pace = self.pace.min(announced.rate);
            self.ceiling = Some(self.pace);
        }
        self.note(mark);
    }

    /// Keeps a refusal as the beginning of a measurement.
    fn note(&mut self, mark: Mark) {
        self.marks.push_back(mark);
        if self.marks.len() > 8 {
            self.marks.pop_front();
        }
    }

    /// The server refused, and this rate is to blame or may be.
    pub(super) fn refused(&mut self, now: f64, refusal: &Refusal) {
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

    /// How long a step of a test lasts: beyond the last ceiling the way is known to be free.
    fn step_time(&self) -> f64 {
        let beyond = self.ceiling.is_none_or(|ceiling| self.pace > CEILING_MOVED * ceiling);
        if beyond && !self.pausing { 0.5 * TEST } else { TEST }
    }

    /// Requests to admit before the next test, after `cost` refusals: a rough figure is worth refining soon.
    pub(super) fn gate(&self, cost: u32) -> f64 {
        match self.proven {
            _ if self.without.gate => 0.0,
            None => 0.0,
            Some((_, admitted)) => (PROBE_GATE * f64::from(cost.max(1))).min(2.0 * admitted as f64),
        }
    }

    /// At the end of a window without a refusal.
    pub(super) fn window(&mut self, mark: Mark, admitted: u64, cost: u32, shared: bool, leads: bool, doubts: Doubts) {
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

    /// Whether the pipeline file states a limit of this kind.
    pub(super) fn is_stated(&self) -> bool {
        self.stated.is_some()
    }

    /// Whether headers announce a limit of this kind.
    pub(super) fn is_announced(&self) -> bool {
        self.announced.is_some()
    }

    /// Whether headers govern this kind of work.
    pub(super) fn is_believed(&self, now: f64) -> bool {
        self.announced.as_ref().is_some_and(|announced| announced.is_believed(now))
    }

    /// What a response's headers say about this kind of work; `in_flight` is what left since that they cannot
    /// know of yet, `sent` all that has left.
    pub(super) fn announced(&mut self, now: f64, window: &Window, in_flight: f64, sent: f64, is_counted: bool) {
        let Some(limit) = window.limit.filter(|limit| *limit > 0) else { return };
        let most = self.stated.unwrap_or(f64::INFINITY);
        let Some(announced) = &mut self.announced else {
            let mut announced = Announced::new(now, limit);
            announced.hear(now, limit, window, in_flight, sent, is_counted);
            self.test = None;
            self.ceiling = Some(announced.rate);
            self.pace = (ANNOUNCED_START * announced.rate).max(self.mean_weight.max(1.0) / KNOCK).min(most);
            self.announced = Some(announced);
            return;
        };
        let was_believed = announced.is_believed(now);
        let renewed = announced.hear(now, limit, window, in_flight, sent, is_counted);
        if !announced.is_believed(now) {
            return;
        }
        if renewed || !was_believed {
            self.test = None;
            self.ceiling = Some(announced.rate);
            self.pace = (ANNOUNCED_START * announced.rate).max(self.mean_weight.max(1.0) / KNOCK).min(most);
        } else if self.test.is_none() {
            self.pace = announced.steer(now, self.pace, self.binding, most);
        }
    }

    /// What is announced may be less than is admitted: more is tried now and then, and goes on for as long as nothing
    /// speaks against it.
    fn try_beyond_announced(&mut self, now: f64, most: f64) {
        let Some(announced) = &mut self.announced else { return };
        let Some(test) = self.test else {
            match announced.trial(now, self.pace) {
                Some(Trial::Pace(pace)) => self.pace = pace.min(most),
                Some(Trial::Steps) if self.pace < most => {
                    self.announced_pace = self.pace;
                    self.gain = GAIN;
                    self.test = Some(Test { origin: self.pace, before: self.pace, since: now });
                    self.pace = (self.pace * (1.0 + GAIN)).min(most);
                }
                _ => {}
            }
            return;
        };
        if let Some(pace) = announced.overdrawn(now, self.announced_pace, self.pace) {
            announced.confirm(now);
            self.pace = pace.min(self.pace);
            announced.rate = announced.rate.max(self.pace);
            self.test = None;
        } else if now - test.since >= (0.5 * TEST).max(2.0 * self.mean_weight / self.pace) && self.pace < most {
            // A pace of a few requests a second is on its way for minutes otherwise.
            let slow = self.pace < 4.0 * self.mean_weight;
            self.gain = if slow { 1.0 } else { (2.0 * self.gain).min(GAIN_MAX) };
            self.test = Some(Test { origin: self.pace, before: self.pace, since: now });
            self.pace = (self.pace * (1.0 + self.gain)).min(most);
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
    fn forgive(&mut self) {
        if self.stated.is_none() {
            self.level = self.level.max(-self.pace * KNOCK);
        }
    }

    /// Withholds allowance after a refusal, so that the server's bucket refills.
    fn withhold(&mut self, now: f64, over: f64) {
        let over = over.min(self.pace);
        let debt = (DEBT * over).max(DEBT_REQUESTS * self.mean_weight) * f64::from(1 << self.dry.min(16));
        let debt = if self.without.debt { 0.0 } else { debt };
        // It never takes much longer than a knock, or a low pace would be withheld for minutes.
        let knock = if self.dry > 0 { KNOCK.max((now - self.dry_since) / KNOCKS_APART) } else { KNOCK };
        self.level = self.level.min(0.0) - debt.min(self.pace * knock);
        self.filled = now;
    }

    /// Whether nothing was admitted since the last refusal.
    pub(super) fn is_dry(&self) -> bool {
        self.dry > 0
    }

    /// Whether it is tried whether more is admitted.
    pub(super) fn is_tested(&self) -> bool {
        self.enforced && self.test.is_some()
    }

    /// Whether headers that are believed say that much is left: then something else is to blame.
    pub(super) fn has_stock(&self, now: f64) -> bool {
        self.announced.as_ref().is_some_and(|announced| announced.is_believed(now) && announced.has_stock())
    }

    /// Whether a refusal is no surprise: a test is under way, or the pace is at what was measured.
    pub(super) fn is_near_its_limit(&self) -> bool {
        self.enforced && self.is_set() && (self.test.is_some() || self.proven.is_none_or(|(proven, _)| self.pace > 0.97 * proven))
    }

    /// Takes over what another process has learned.
    pub(super) fn adopt(&mut self, pace: Option<f64>, proven: Option<f64>) {
        self.pace = pace.unwrap_or(f64::INFINITY).min(self.stated.unwrap_or(f64::INFINITY));
        self.proven = proven.map(|proven| (proven, MEASURED));
    }

    /// After an outage: what was admitted before it measures nothing across it.
    pub(super) fn forget_marks(&mut self) {
        self.marks.clear();
        self.test = None;
    }

    /// No limit of this kind after all.
    pub(super) fn lift(&mut self, now: f64) {
        if self.stated.is_none() && !self.is_believed(now) {
            let announced = self.announced.take();
            *self = Self { mean_weight: self.mean_weight, announced, ..Self::new(None, self.without) };
        }
    }

    /// Goes on at a pace that something else has kept so far, and soon tries more.
    pub(super) fn go_on(&mut self, now: f64, pace: f64) {
        if let Some(announced) = self.announced.as_mut().filter(|announced| announced.rate > FAR_OFF * pace) {
            announced.disbelieve();
        }
        self.level = self.level.max(0.0);
        self.lift(now);
        self.test = None;
        self.pace = pace.max(self.mean_weight.max(1.0) / KNOCK).min(self.stated.unwrap_or(f64::INFINITY));
        self.gain = GAIN_MAX;
    }

    /// Starts from a pace that was known a little while ago.
    pub(super) fn resume(&mut self, pace: f64, proven: Option<f64>) {
        self.pace = pace.min(self.stated.unwrap_or(f64::INFINITY));
        self.proven = proven.map(|proven| (proven, MEASURED));
        self.ceiling = proven;
    }
}
