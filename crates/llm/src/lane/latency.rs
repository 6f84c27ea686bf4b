//! How long answers take, for their size.
//!
//! The time of an answer is about `a + b * tokens`. Both are learned by least squares with forgetting, so that
//! times of small and large requests can be compared: a *strain* of 1 is the usual time for that size.

/// Weight of the past at each new answer.
const FORGET: f64 = 0.99;
/// Strains kept for their quantiles.
const KEPT: usize = 256;
/// Answers before anything is said.
const ENOUGH: usize = 10;

/// Times of answers by their size.
#[derive(Clone, Debug, Default)]
pub(super) struct Latency {
    n: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
    strains: Vec<f64>,
    next: usize,
}

impl Latency {
    /// The usual time of an answer of so many tokens; `None` until some were seen.
    pub(super) fn usual(&self, tokens: f64) -> Option<f64> {
        if self.strains.len() < ENOUGH {
            return None;
        }
        Some(self.fit(tokens))
    }

    /// The usual time of an answer of mean size; `None` until some were seen.
    pub(super) fn usual_of_mean(&self) -> Option<f64> {
        (self.strains.len() >= ENOUGH).then(|| self.y / self.n)
    }

    fn fit(&self, tokens: f64) -> f64 {
        let (x, y) = (self.x / self.n, self.y / self.n);
        let spread = self.xx / self.n - x * x;
        // Sizes that hardly differ say nothing about the slope: then time is taken as proportional above a third.
        let slope = if spread > 0.01 * x * x { ((self.xy / self.n - x * y) / spread).max(0.0) } else { 0.67 * y / x.max(1.0) };
        let slope = slope.min(y / x.max(1.0));
        (y + slope * (tokens - x)).max(0.05 * y).max(1e-4)
    }

    /// How much longer an answer of this size takes than the mean answer.
    pub(super) fn size_factor(&self, tokens: f64) -> f64 {
        if self.n < 1.0 { 1.0 } else { self.fit(tokens) / (self.y / self.n).max(1e-6) }
    }

    pub(super) fn observe(&mut self, tokens: f64, seconds: f64) {
        let strain = if self.n < 1.0 { 1.0 } else { seconds / self.fit(tokens) };
        // A straggler counts as a late answer, not as a new usual time.
        let counted = if self.strains.len() < ENOUGH { seconds } else { seconds.min(4.0 * self.fit(tokens)) };
        self.n = FORGET * self.n + 1.0;
        self.x = FORGET * self.x + tokens;
        self.y = FORGET * self.y + counted;
        self.xx = FORGET * self.xx + tokens * tokens;
        self.xy = FORGET * self.xy + tokens * counted;
        if self.strains.len() < KEPT {
            self.strains.push(strain);
        } else {
            self.strains[self.next] = strain;
            self.next = (self.next + 1) % KEPT;
        }
    }

    /// The strain that this share of answers stays below; `None` until some were seen.
    pub(super) fn strain(&self, share: f64) -> Option<f64> {
        if self.strains.len() < ENOUGH {
            return None;
        }
        let mut strains = self.strains.clone();
        let index = ((strains.len() - 1) as f64 * share).round() as usize;
        Some(*strains.select_nth_unstable_by(index, f64::total_cmp).1)
    }
}
