//! One rate: requests, or tokens, that may leave a second.
//!
//! A refusal by a server's bucket says that the bucket was empty then. Between two refusals it was filled with
//! exactly the rate times the time, and what was admitted is what it gave. So admitted work over time measures
//! the rate from below, whatever the size of the bucket (what overflowed is missing, nothing is too much), and
//! the more requests lie between, the more exactly. Two refusals in quick succession bound it from above too.

mod headers;
mod refused;
mod search;

use std::collections::VecDeque;

use super::Without;
use super::announced::Announced;
use super::constants::{BURST, GAIN, MEASURED, PROBE_EVERY, USE_OF_STATED};

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

    /// Starts from a pace that was known a little while ago.
    pub(super) fn resume(&mut self, pace: f64, proven: Option<f64>) {
        self.pace = pace.min(self.stated.unwrap_or(f64::INFINITY));
        self.proven = proven.map(|proven| (proven, MEASURED));
        self.ceiling = proven;
    }
}
