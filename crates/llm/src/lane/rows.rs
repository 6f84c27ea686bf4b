//! How many rows share a request.
//!
//! The number follows failures, what a good row costs, and the ceilings of the model: how long an answer may be, and
//! how long prompt and answer together. It never follows latency. Latency is affine in the number of rows, so every increase looks like
//! a slowdown, and a rule that follows latency settles wherever noise leads it.

/// The steps. Near the bottom one row more is much, near the top it is nothing.
const LADDER: [usize; 18] = [1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 32, 40, 50, 64, 80, 100];
/// Up to here two steps are taken at once.
const TWO_STEPS_BELOW: usize = 8;
/// Requests on a step before the next one up is tried.
const PATIENCE: u32 = 20;
/// The share of rows without a usable answer that is still well.
const ROW_FAILURES: f64 = 0.02;
/// The share of requests whose answer is cut off or unreadable that is still well.
const PACK_FAILURES: f64 = 0.05;
/// A step is too dear when a good row costs this much more than on the step below.
const DEARER: f64 = 1.05;
/// How rarely an accident may be taken for none: two broken answers in a row where one in twenty is.
const ACCIDENT: f64 = 0.0025;
/// So many in a row are none, whatever is usual.
const ACCIDENTS_AT_MOST: u32 = 8;
/// For so many requests a number of rows that was too long is not tried again.
const FITS_FOR: u32 = 25 * PATIENCE;
/// Of the longest answer seen to be cut off by the model itself: estimates are not exact.
const USE_OF_OUTPUT: f64 = 0.8;
/// Two answers that were cut off this close to each other were cut off at the same length.
const SAME_LENGTH: f64 = 0.03;
/// Standard deviations of the interval around a measured share (95 %, one-sided on each side).
const Z: f64 = 1.96;

/// Rows per request of one lane: a pure state machine.
#[derive(Debug)]
pub struct Rows {
    min: usize,
    max: usize,
    now: usize,
    /// Requests of this size whose answer was broken, and the share of their rows that failed in the mean.
    packs: Share,
    rows: Share,
    /// Requests of any size whose answer was broken.
    ever: Share,
    bad_in_a_row: u32,
    /// The most rows that were answered in one request.
    answered: usize,
    /// The most rows that are not too long, and for how many requests that holds.
    fits: Option<(usize, u32)>,
    /// Packs that a step which failed before is left alone for.
    closed: u32,
    /// What good rows have cost on this step, and what one cost on the step below when it was left.
    cost: f64,
    good_rows: u32,
    below: Option<(usize, f64)>,
    /// Answer tokens at which the model cuts an answer off, whatever it is asked for.
    longest_output: Option<u64>,
    /// Requests until that is forgotten.
    ceiling_holds: u32,
    /// Tokens of the last answer that was cut off, and of the longest that was not.
    last_cut: Option<u64>,
    longest_whole: u64,
    /// What fails though nothing is smaller, or with more rows no less: it has nothing to do with their number.
    usual: Option<Usual>,
}

/// What fails whatever the number of rows.
#[derive(Clone, Copy, Debug)]
struct Usual {
    packs: Share,
    rows: Share,
}

/// What failed of so many requests. Of each it may be a part: rows of one request share its fate, so that failures in one
/// request are one observation, however many rows it has. That rows do well each of them shows.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    bad: f64,
    all: u32,
    parts: u32,
}

impl Share {
    fn add(&mut self, bad: usize, parts: usize) {
        let parts = parts.max(1);
        self.bad += bad.min(parts) as f64 / parts as f64;
        self.all += 1;
        self.parts += parts as u32;
    }

    fn mean(self) -> f64 {
        self.bad / f64::from(self.all.max(1))
    }

    /// Whether more fails than is well, and more than is usual: by more than chance explains.
    fn is_too_much(self, well: f64, usual: Option<Self>) -> bool {
        interval(self.bad, self.all).0 > well && usual.is_none_or(|usual| self.differs(usual) > Z)
    }

    /// Whether it is sure that no more fails than is well or usual, but for a margin.
    fn is_well(self, well: f64, margin: f64, usual: Option<Self>) -> bool {
        interval(self.mean() * f64::from(self.parts), self.parts).1 < margin * well
            || usual.is_some_and(|usual| self.all > 0 && self.differs(usual) < Z)
    }

    /// By how many standard deviations more fails here than there.
    fn differs(self, there: Self) -> f64 {
        let (here, of_there) = (f64::from(self.all.max(1)), f64::from(there.all.max(1)));
        // One more failure and one more success on each side: of none seen so far nobody knows that there are none.
        let pooled = (self.bad + there.bad + 1.0) / (here + of_there + 2.0);
        (self.mean() - there.mean()) / (pooled * (1.0 - pooled) * (1.0 / here + 1.0 / of_there)).sqrt()
    }
}

/// What became of one request, as far as its size is concerned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PackResult {
    /// The number of rows that was in force for it: packs are cut by tokens and may hold a few more or less.
    /// 0 for a pack that was cut in another way; it says nothing about any size.
    pub size: usize,
    /// Rows in it.
    pub rows: usize,
    /// Rows without an answer of the right shape.
    pub bad_rows: usize,
    /// Whether the answer was cut off or unreadable as a whole.
    pub broken: bool,
    /// What the request cost, in any unit, if that is known.
    pub cost: Option<f64>,
}

impl Rows {
    /// Starts with `start` rows and stays between `min` and `max`; a fixed number if they are equal.
    pub fn new(start: usize, min: usize, max: usize) -> Self {
        let (min, max) = (min.max(1), max.max(min).max(1));
        let now = start.clamp(min, max);
        Self {
            min,
            max,
            now,
            packs: Share::default(),
            rows: Share::default(),
            ever: Share::default(),
            bad_in_a_row: 0,
            answered: 0,
            fits: None,
            closed: 0,
            cost: 0.0,
            good_rows: 0,
            below: None,
            longest_output: None,
            ceiling_holds: 0,
            last_cut: None,
            longest_whole: 0,
            usual: None,
        }
    }

    /// The number of rows for the next request, as far as failures go.
    pub fn now(&self) -> usize {
        self.now
    }

    /// The same, kept so small that answers of `per_row` tokens a row do not end in the middle.
    pub fn within(&self, per_row: Option<f64>) -> usize {
        let (Some(longest), Some(per_row), false) = (self.longest_output, per_row, self.is_fixed()) else { return self.now };
        let rows = USE_OF_OUTPUT * longest as f64 / per_row.max(1.0);
        self.now.min(rows as usize).max(self.min)
    }

    /// The most rows that a request may have.
    pub fn most(&self) -> usize {
        self.fits.map_or(self.max, |(rows, _)| rows).clamp(self.min, self.max)
    }

    /// The model ended an answer after so many tokens, though more had been allowed. A model that has a limit of its own
    /// ends them all there; what ends elsewhere each time is an accident.
    pub fn cut_off(&mut self, tokens: u64) {
        let is_same = |before: u64| before.abs_diff(tokens) as f64 <= SAME_LENGTH * tokens as f64;
        if tokens > self.longest_whole && self.last_cut.is_some_and(is_same) {
            self.longest_output = Some(self.longest_output.map_or(tokens, |longest| longest.min(tokens)));
            self.ceiling_holds = 10 * PATIENCE;
        }
        self.last_cut = Some(tokens).filter(|tokens| *tokens > 0);
    }

    /// The model gave a whole answer of so many tokens: it has no limit below that.
    pub fn whole(&mut self, tokens: u64) {
        self.longest_whole = self.longest_whole.max(tokens);
        self.longest_output = self.longest_output.filter(|longest| *longest > tokens);
    }

    /// Whether the number can change at all.
    pub fn is_fixed(&self) -> bool {
        self.min == self.max
    }

    /// Learns from a request of the present size; others say nothing about it.
    pub fn observe(&mut self, result: PackResult) {
        self.closed = self.closed.saturating_sub(1);
        // Small packs show nothing of a limit: whether it is there still is found out now and then.
        self.ceiling_holds = self.ceiling_holds.saturating_sub(1);
        self.longest_output = self.longest_output.filter(|_| self.ceiling_holds > 0);
        self.fits = self.fits.map(|(rows, requests)| (rows, requests - 1)).filter(|(_, requests)| *requests > 0);
        self.answered = self.answered.max(if result.broken { 0 } else { result.rows });
        if result.size != self.now || self.is_fixed() {
            return;
        }
        self.packs.add(usize::from(result.broken), 1);
        self.ever.add(usize::from(result.broken), 1);
        self.rows.add(result.bad_rows, result.rows);
        self.good_rows += (result.rows - result.bad_rows.min(result.rows)) as u32;
        self.cost += result.cost.unwrap_or(0.0);
        self.bad_in_a_row = if result.broken { self.bad_in_a_row + 1 } else { 0 };
        self.learn_what_is_usual();
        let (packs, rows) = (self.usual.map(|usual| usual.packs), self.usual.map(|usual| usual.rows));
        let is_tried = self.packs.all >= PATIENCE;
        if self.bad_in_a_row >= self.no_accident() && self.now > self.min {
            self.step_to(self.now / 2);
            self.closed = self.rest();
        } else if (self.rows.is_too_much(ROW_FAILURES, rows) || self.packs.is_too_much(PACK_FAILURES, packs)) && self.now > self.min
            || is_tried && self.is_dearer_than_below()
        {
            self.step_to(LADDER.iter().rev().copied().find(|step| *step < self.now).unwrap_or(1));
            self.closed = self.rest();
        } else if is_tried
            && self.closed == 0
            && self.rows.is_well(ROW_FAILURES, 2.0, rows)
            && self.packs.is_well(PACK_FAILURES, 4.0, packs)
        {
            // It takes a hundred rows to see that they do well: on the small steps, long enough to take two at once.
            let steps = if self.now < TWO_STEPS_BELOW { 2 } else { 1 };
            self.step_to(LADDER.iter().copied().filter(|step| *step > self.now).take(steps).last().unwrap_or(self.now));
        }
    }

    /// What fails with the fewest rows does not fail because of their number: more rows are judged by it. Where less fails
    /// with more rows, less is usual.
    fn learn_what_is_usual(&mut self) {
        let seen = Usual { packs: self.packs, rows: self.rows };
        if self.now == self.min && self.packs.all >= PATIENCE {
            self.usual = Some(seen);
            // With what was seen there is no reason to wait any longer.
            if self.is_rough() {
                self.closed = 0;
            }
        } else if let Some(usual) = &mut self.usual
            && self.packs.all >= 5 * PATIENCE
        {
            if seen.packs.mean() < usual.packs.mean() {
                usual.packs = seen.packs;
            }
            if seen.rows.mean() < usual.rows.mean() {
                usual.rows = seen.rows;
            }
        }
    }

    /// The share of requests that fails whatever the number of rows.
    fn failing(&self) -> f64 {
        self.usual.map_or(0.0, |usual| usual.packs.mean().max(usual.rows.mean())).min(0.9)
    }

    /// Whether so much fails whatever the number of rows that a few failures say nothing about that number.
    fn is_rough(&self) -> bool {
        self.failing() > PACK_FAILURES
    }

    /// For how many requests a step that failed is left alone.
    fn rest(&self) -> u32 {
        if self.is_rough() { 2 * PATIENCE } else { 10 * PATIENCE }
    }

    /// So many broken answers one after the other are no accident: two where hardly any are.
    fn no_accident(&self) -> u32 {
        let usual = self.usual.map_or(0.0, |usual| interval(usual.packs.bad, usual.packs.all).1);
        let usual = if self.is_rough() { usual } else { 0.0 };
        let ever = if self.ever.all >= PATIENCE { self.ever.mean() } else { 0.0 };
        let broken = usual.max(ever).clamp(0.01, 0.9);
        ((ACCIDENT.ln() / broken.ln()).ceil() as u32).clamp(2, ACCIDENTS_AT_MOST)
    }

    /// The prompt and answer of so many rows were too long for the model or the quota. Where as many rows have been
    /// answered just before, it is not their number; should that happen again, it is.
    pub fn too_long(&mut self, rows: usize) {
        if rows <= self.answered {
            self.answered = rows - 1;
        } else if rows <= self.now && !self.is_fixed() {
            self.step_to(rows * 4 / 5);
            self.fits = Some((self.now, FITS_FOR));
        }
    }

    fn cost_per_good_row(&self) -> f64 {
        self.cost / f64::from(self.good_rows.max(1))
    }

    /// Whether re-asking has eaten what sharing the prompt saves.
    fn is_dearer_than_below(&self) -> bool {
        let below = self.below.filter(|(rows, cost)| *rows < self.now && *cost > 0.0);
        // Where much fails, chance alone makes one price differ from the other.
        let failing = self.failing();
        let chance = if self.is_rough() { Z * (failing / (1.0 - failing) / f64::from(self.packs.all.max(1))).sqrt() } else { 0.0 };
        below.is_some_and(|(_, cost)| self.cost_per_good_row() > (DEARER + chance) * cost)
    }

    fn step_to(&mut self, rows: usize) {
        self.below = (rows > self.now && self.good_rows > 0).then(|| (self.now, self.cost_per_good_row()));
        (self.cost, self.good_rows) = (0.0, 0);
        self.now = rows.clamp(self.min, self.most());
        (self.packs, self.rows, self.bad_in_a_row) = (Share::default(), Share::default(), 0);
    }
}

/// Wilson's interval for the share that `hits` of `count` stand for.
fn interval(hits: f64, count: u32) -> (f64, f64) {
    if count == 0 {
        return (0.0, 1.0);
    }
    let n = f64::from(count);
    let p = hits / n;
    let centre = p + Z * Z / (2.0 * n);
    let spread = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    ((centre - spread) / scale, (centre + spread) / scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(rows: &mut Rows, packs: usize, bad: impl Fn(usize) -> PackResult) {
        for _ in 0..packs {
            let result = bad(rows.now());
            rows.observe(result);
        }
    }

    fn good(rows: usize) -> PackResult {
        PackResult { size: rows, rows, bad_rows: 0, broken: false, cost: None }
    }

    #[test]
    fn good_answers_lead_to_the_maximum() {
        let mut rows = Rows::new(15, 1, 40);
        run(&mut rows, 400, good);
        assert_eq!(rows.now(), 40);
    }

    #[test]
    fn a_size_that_breaks_is_left() {
        let mut rows = Rows::new(15, 1, 100);
        run(&mut rows, 2_000, |rows| PackResult {
            size: rows,
            rows,
            bad_rows: if rows > 20 { rows } else { 0 },
            broken: rows > 20,
            cost: None,
        });
        assert!((10..=25).contains(&rows.now()), "{}", rows.now());
    }

    #[test]
    fn dear_rows_lead_back() {
        let mut rows = Rows::new(15, 1, 40);
        // Above 20 rows the longer prompts cost more than sharing saves.
        run(&mut rows, 600, |rows| {
            let per_row = if rows > 20 { 2.0 } else { 1.0 };
            PackResult { size: rows, rows, bad_rows: 0, broken: false, cost: Some(per_row * rows as f64) }
        });
        assert!(rows.now() <= 25, "{}", rows.now());
    }

    #[test]
    fn a_model_that_cuts_answers_off_gets_fewer_rows() {
        let mut rows = Rows::new(40, 1, 40);
        assert_eq!(rows.within(Some(100.0)), 40);
        rows.cut_off(2_000);
        assert_eq!(rows.within(Some(100.0)), 40, "once is an accident");
        rows.cut_off(2_010);
        assert_eq!(rows.within(Some(100.0)), 16);
        assert_eq!(rows.within(None), 40, "nothing is known yet of the length of answers");
        run(&mut rows, 10 * PATIENCE as usize, good);
        assert_eq!(rows.within(Some(100.0)), 40, "after a while it is tried again");
        let mut fixed = Rows::new(40, 40, 40);
        fixed.cut_off(2_000);
        fixed.cut_off(2_000);
        assert_eq!(fixed.within(Some(100.0)), 40);
    }

    #[test]
    fn answers_cut_off_by_accident_leave_packs_as_they_are() {
        let mut rows = Rows::new(20, 1, 40);
        rows.whole(1_500);
        for tokens in [40, 700, 41, 300, 310, 1_200, 1_210, 15, 15] {
            rows.cut_off(tokens);
            assert_eq!(rows.within(Some(60.0)), 20, "longer ones have been whole");
        }
        rows.cut_off(1_600);
        rows.cut_off(1_600);
        assert_eq!(rows.within(Some(100.0)), 12);
        rows.whole(1_700);
        assert_eq!(rows.within(Some(100.0)), 20);
    }

    #[test]
    fn what_fails_whatever_the_size_is_no_reason_for_small_packs() {
        for (broken_of, bad_rows_of) in [(5, 1_000), (6, 20), (8, 12), (10, 1_000), (14, 30), (1_000, 12)] {
            let mut sizes = 0;
            for seed in 1..=10_u64 {
                let mut rows = Rows::new(15, 1, 40);
                let mut dice = seed;
                let mut throw = |sides: u64| {
                    dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (dice >> 33).is_multiple_of(sides)
                };
                for number in 0..2_000 {
                    // As many answers are broken with one row as with forty; the prompt costs as much as five rows.
                    let now = rows.now();
                    let broken = throw(broken_of);
                    let bad_rows = if broken { now } else { (0..now).filter(|_| throw(bad_rows_of)).count() };
                    rows.observe(PackResult { size: now, rows: now, bad_rows, broken, cost: Some(5.0 + now as f64) });
                    sizes += if number >= 1_000 { rows.now() } else { 0 };
                }
            }
            let mean = sizes as f64 / 10e3;
            assert!(mean >= 20.0, "{mean} rows in the mean with 1 of {broken_of} answers broken and 1 of {bad_rows_of} rows bad");
        }
    }

    #[test]
    fn what_fails_with_more_rows_is_found_among_what_fails_anyway() {
        let mut sizes = 0;
        for seed in 1..=10_u64 {
            let mut rows = Rows::new(15, 1, 40);
            let mut dice = seed;
            for number in 0..2_000 {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let now = rows.now();
                // One answer in eight is broken anyway, and of more than sixteen rows every second one.
                let broken = (dice >> 33).is_multiple_of(if now > 16 { 2 } else { 8 });
                rows.observe(PackResult { size: now, rows: now, bad_rows: if broken { now } else { 0 }, broken, cost: None });
                sizes += if number >= 1_000 { rows.now() } else { 0 };
            }
        }
        assert!((8.0..=18.0).contains(&(sizes as f64 / 10e3)), "{} rows in the mean", sizes as f64 / 10e3);
    }

    #[test]
    fn a_fixed_number_stays() {
        let mut rows = Rows::new(20, 20, 20);
        run(&mut rows, 100, |rows| PackResult { size: rows, rows, bad_rows: rows, broken: true, cost: None });
        rows.too_long(20);
        assert_eq!(rows.now(), 20);
    }

    #[test]
    fn too_long_once_among_longer_ones_is_no_ceiling() {
        let mut rows = Rows::new(20, 1, 40);
        run(&mut rows, 5, good);
        rows.too_long(12);
        assert_eq!(rows.now(), 20);
        run(&mut rows, 5, good);
        rows.too_long(20);
        assert_eq!(rows.now(), 20);
        rows.too_long(20);
        assert_eq!(rows.now(), 16, "twice, with none as long in between");
    }

    #[test]
    fn too_long_is_a_lasting_ceiling() {
        let mut rows = Rows::new(20, 1, 40);
        rows.too_long(20);
        assert_eq!(rows.now(), 16);
        run(&mut rows, 400, good);
        assert_eq!((rows.now(), rows.most()), (16, 16));
        run(&mut rows, 400, good);
        assert_eq!(rows.most(), 40, "after a while it is tried again");
    }

    proptest! {
        #[test]
        fn the_bounds_hold(start in 0_usize..200, min in 0_usize..50, max in 0_usize..120, results in prop::collection::vec((any::<bool>(), 0_usize..100), 0..300)) {
            let mut rows = Rows::new(start, min, max);
            for (broken, bad_rows) in results {
                let now = rows.now();
                prop_assert!(now >= min.max(1) && now <= max.max(min).max(1));
                rows.observe(PackResult { size: now, rows: now, bad_rows: bad_rows.min(now), broken, cost: None });
            }
        }
    }
}
