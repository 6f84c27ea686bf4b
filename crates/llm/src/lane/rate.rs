//! One rate: requests, or tokens, that may leave a second.
//!
//! A refusal by a server's bucket says that the bucket was empty then. Between two refusals it was filled with
//! exactly the rate times the time, and what was admitted is what it gave. So admitted work over time measures
//! the rate from below, whatever the size of the bucket (what overflowed is missing, nothing is too much), and
//! the more requests lie between, the more exactly. Two refusals in quick succession bound it from above too.

use std::collections::VecDeque;

use super::Without;
use super::constants::{
    ANNOUNCED_CUT, ANNOUNCED_FOR, ANNOUNCED_START, BURST, CEILING_MOVED, CUTS, DEBT, DEBT_REQUESTS, EXCUSES, GAIN, GAIN_MAX, GAIN_MIN,
    HOLD, KNOCK, LEFT_HIGH, LEFT_LOW, LEFT_TOPS, LIES, MEASURED, MEMORY, PAUSE_EARNED, PROBE_BACKOFF, PROBE_EVERY, PROBE_EVERY_MAX,
    PROBE_GATE, SAFE, SHARED_CUT, SHARED_EVERY, SHARED_STEP, STREAK, TEST, TEST_REQUESTS, TEST_REQUESTS_PAUSING, TOLD_GATE, TOLD_TEST,
    USE_OF_STATED, WINDOWED,
};
use crate::Window;

/// The pace of one kind of work.
#[derive(Clone, Debug)]
pub(super) struct Rate {
    /// From the pipeline file, a second. Never exceeded.
    stated: Option<f64>,
    announced: Option<Announced>,
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
    /// What had been admitted at moments of the last minutes.
    history: VecDeque<Mark>,
    /// The server counts in windows: it admits all and then nothing, so that a test must outlast a window.
    windowed: bool,
    /// A refusal makes the lane pause: tests are longer then, and their steps do not grow.
    pausing: bool,
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
struct Announced {
    rate: f64,
    seen: f64,
    changed: f64,
    /// The share of a minute's limit that is left.
    left: f64,
    lies: u32,
    excuses: u32,
}

#[derive(Clone, Copy, Debug)]
struct Test {
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
    pub(super) jitter: f64,
}

impl Rate {
    pub(super) fn new(stated: Option<f64>, without: Without) -> Self {
        let stated = stated.map(|rate| rate * USE_OF_STATED);
        Self {
            stated,
            announced: None,
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
            doubts: 0,
            history: VecDeque::new(),
            windowed: false,
            pausing: false,
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

    pub(super) fn take(&mut self, weight: f64) {
        let learned = if self.mean_weight == 0.0 { 1.0 } else { 0.05 };
        self.mean_weight += learned * (weight - self.mean_weight);
        if self.pace.is_finite() && self.enforced {
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
        if let Some(announced) = &mut self.announced {
            announced.excuses = if cap_is_confirmed { 0 } else { announced.excuses + 1 };
            if announced.excuses > EXCUSES && announced.lies < LIES {
                announced.lies = LIES;
                self.pace = self.pace.min(announced.rate);
                self.ceiling = Some(self.pace);
            }
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
            self.dry += 1;
            self.last_refusal = now;
            self.withhold(now);
            return;
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
        if let Some(announced) = self.announced.as_mut().filter(|announced| now - announced.seen < ANNOUNCED_FOR) {
            if announced.left > LEFT_HIGH {
                announced.lies += 1;
            } else if announced.lies < LIES {
                // Refused although the headers are honoured: others use the key too.
                announced.changed = now;
                self.pace *= ANNOUNCED_CUT;
                self.withhold(now);
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
                self.ceiling = Some(test.before);
                self.gain = (self.gain / 2.0).max(GAIN_MIN);
                HOLD * test.before
            }
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
        self.pace = pace.max(self.mean_weight.max(1.0) / KNOCK).min(self.stated.unwrap_or(f64::INFINITY));
        self.withhold(now);
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
    pub(super) fn window(&mut self, mark: Mark, admitted: u64, cost: u32, shared: bool, leads: bool, accidents: bool) {
        let now = mark.at;
        let binding = std::mem::take(&mut self.binding);
        self.remember(mark);
        if !self.pace.is_finite() {
            return;
        }
        if self.believed(now).is_some() {
            return;
        }
        let most = self.stated.unwrap_or(f64::INFINITY);
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
        let careful = self.pausing || accidents;
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
            Some(test) if self.windowed && now - test.since < 0.6 * MEMORY => false,
            Some(test) if now - test.since < self.step_time().max(requests * self.mean_weight / self.pace) => false,
            Some(_) if careful => true,
            Some(_) => {
                let beyond = !self.windowed && self.ceiling.is_none_or(|ceiling| self.pace > CEILING_MOVED * ceiling);
                self.gain = if beyond { (2.0 * self.gain).min(GAIN_MAX) } else { GAIN };
                true
            }
            None => due,
        };
        if start && self.pace < most {
            self.test = Some(Test { before: self.pace, since: now });
            self.pace = (self.pace * (1.0 + self.gain)).min(most);
        }
    }

    fn remember(&mut self, mark: Mark) {
        if self.history.back().is_none_or(|last| mark.at - last.at >= 5.0) {
            self.history.push_back(mark);
        }
        while self.history.front().is_some_and(|first| mark.at - first.at > MEMORY) {
            self.history.pop_front();
        }
        let Some(last) = self.marks.back().copied() else { return };
        if self.dry < WINDOWED || mark.count <= last.count {
            return;
        }
        // It admits again after it had admitted nothing for a while. The pace that lasts is that of the last minutes.
        self.dry = 0;
        let then = self.history.front().filter(|first| mark.at - first.at > 0.3 * MEMORY);
        if let Some(then) = then {
            self.windowed = true;
            let lasting = ((last.work - then.work) / (mark.at - then.at)).max(self.mean_weight.max(1.0) / KNOCK);
            self.pace = lasting.min(self.stated.unwrap_or(f64::INFINITY));
            self.proven = Some((self.pace, PROBE_GATE as u64));
            self.ceiling = Some(self.pace);
            self.gain = GAIN;
            self.test = None;
            self.marks.clear();
        }
    }

    fn believed(&self, now: f64) -> Option<Announced> {
        self.announced.filter(|announced| announced.lies < LIES && now - announced.seen < ANNOUNCED_FOR)
    }

    /// What a response's headers say about this kind of work; `in_flight` is what left since that they cannot
    /// know of yet.
    pub(super) fn announced(&mut self, now: f64, window: &Window, in_flight: f64) {
        let Some(limit) = window.limit.filter(|limit| *limit > 0) else { return };
        let rate = limit as f64 / 60.0;
        let most = self.stated.unwrap_or(f64::INFINITY);
        let first = self.announced.is_none_or(|announced| (announced.rate / rate - 1.0).abs() > 0.01);
        if first {
            self.announced = Some(Announced { rate, seen: now, changed: now, left: 0.0, lies: 0, excuses: 0 });
            self.test = None;
            self.ceiling = Some(rate);
            self.pace = (ANNOUNCED_START * rate).min(most);
            return;
        }
        let Some(announced) = &mut self.announced else { return };
        announced.seen = now;
        if announced.lies >= LIES {
            return;
        }
        let Some(remaining) = window.remaining else {
            self.pace = rate.min(most);
            return;
        };
        let left = (remaining as f64 - in_flight).max(0.0) / limit as f64;
        announced.left = left;
        if left < LEFT_LOW && now - announced.changed > 1.0 {
            announced.changed = now;
            self.pace = (0.95 * self.pace).max(0.05 * rate);
        } else if left > LEFT_HIGH && self.binding && now - announced.changed > 0.5 {
            announced.changed = now;
            let top = LEFT_TOPS.iter().find(|(above, _)| left > *above).map_or(1.0, |(_, top)| *top);
            self.pace = (self.pace + 0.01 * rate).min(top * rate).min(most);
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
        self.withhold(now);
        self.next_test = now + refusal.pause + TOLD_TEST * refusal.jitter;
    }

    /// Withholds allowance after a refusal, so that the server's bucket refills.
    fn withhold(&mut self, now: f64) {
        let debt = (DEBT * self.pace).max(DEBT_REQUESTS * self.mean_weight) * f64::from(1 << self.dry.min(6));
        let debt = if self.without.debt { 0.0 } else { debt };
        // It never takes longer than a knock, or a low pace would be withheld for minutes.
        self.level = self.level.min(0.0) - debt.min(self.pace * KNOCK);
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
        self.believed(now).is_some_and(|announced| announced.left > LEFT_HIGH)
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
        if self.stated.is_none() && self.believed(now).is_none() {
            *self = Self { mean_weight: self.mean_weight, ..Self::new(None, self.without) };
        }
    }

    /// Starts from a pace that was known a little while ago.
    pub(super) fn resume(&mut self, pace: f64, proven: Option<f64>) {
        self.pace = pace.min(self.stated.unwrap_or(f64::INFINITY));
        self.proven = proven.map(|proven| (proven, MEASURED));
        self.ceiling = proven;
    }
}
