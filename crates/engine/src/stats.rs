//! The statistics of comparisons: intervals, and the tests that decide what is measurable.
//!
//! Pure functions; where chance is needed it is seeded, so that the same answers give the same verdict.

/// The two-sided 95% quantile of the normal distribution.
pub(crate) const Z: f64 = 1.959_963_985;

/// Draws of a permutation test or a bootstrap: enough that a p-value of 0.001 is known to a third of itself.
const DRAWS: u32 = 10_000;

/// Wilson's score interval at 95% of a share of `part` in `whole`; everything is possible where nothing was seen.
pub(crate) fn wilson(part: u64, whole: u64) -> (f64, f64) {
    if whole == 0 {
        return (0.0, 1.0);
    }
    let (n, p) = (whole as f64, part as f64 / whole as f64);
    let denominator = 1.0 + Z * Z / n;
    let middle = (p + Z * Z / (2.0 * n)) / denominator;
    let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt() / denominator;
    ((middle - half).max(0.0), (middle + half).min(1.0))
}

/// The exact McNemar test, one-sided: how likely it is that of the rows on which two candidates differ at least `worse`
/// go against one of them, if both are equally good. `better` are those that go its way.
pub(crate) fn mcnemar(worse: u64, better: u64) -> f64 {
    let n = worse + better;
    // The tail of the binomial distribution of a fair coin, summed in logarithms.
    let log_choose = |k: u64| (1..=k).map(|i| ((n - k + i) as f64 / i as f64).ln()).sum::<f64>();
    let tail: f64 = (worse..=n).map(|k| (log_choose(k) - n as f64 * std::f64::consts::LN_2).exp()).sum();
    tail.min(1.0)
}

/// How likely it is that a standard normal variable is at least `z`: Abramowitz and Stegun, 26.2.17, to 7.5e-8.
pub(crate) fn beyond(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let weights = [1.330_274_429, -1.821_255_978, 1.781_477_937, -0.356_563_782, 0.319_381_530];
    let tail = (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt() * weights.iter().fold(0.0, |sum, weight| (sum + weight) * t);
    if z < 0.0 { 1.0 - tail } else { tail }
}

/// A paired permutation test, one-sided: how likely a mean difference of at least this size is, if the sign of each
/// difference is chance.
pub(crate) fn sign_flips(differences: &[f64]) -> f64 {
    let observed: f64 = differences.iter().sum();
    let mut chance = Chance(0x5eed);
    // What equals the observed sum but for rounding counts as reaching it.
    let reach = observed - 1e-9;
    let reached =
        (0..DRAWS).filter(|_| differences.iter().map(|d| if chance.next() & 1 == 0 { *d } else { -d }).sum::<f64>() >= reach).count();
    (reached as f64 + 1.0) / f64::from(DRAWS + 1)
}

/// The 95% percentile bootstrap interval of a mean.
pub(crate) fn bootstrap(values: &[f64]) -> (f64, f64) {
    if values.is_empty() {
        return (0.0, 0.0);
    }
    let mut chance = Chance(0xb007);
    let n = values.len();
    let draws = DRAWS.min(4_000_000 / n as u32 + 200);
    let mut means: Vec<f64> =
        (0..draws).map(|_| (0..n).map(|_| values[(chance.next() % n as u64) as usize]).sum::<f64>() / n as f64).collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means[((means.len() - 1) as f64 * share).round() as usize];
    (at(0.025), at(0.975))
}

/// Holm's step-down correction: which of several tests are significant when, all together, at most one comparison in
/// twenty may raise a false alarm.
pub(crate) fn holm(p_values: &[f64]) -> Vec<bool> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let mut significant = vec![false; p_values.len()];
    for (place, index) in order.iter().enumerate() {
        if p_values[*index] > 0.05 / (p_values.len() - place) as f64 {
            break;
        }
        significant[*index] = true;
    }
    significant
}

/// SplitMix64: small, and the same everywhere.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 5e-4
    }

    #[test]
    fn intervals_and_tests_agree_with_the_tables() {
        // Wilson for 8 of 10, and for 0 of 20.
        let (low, high) = wilson(8, 10);
        assert!(near(low, 0.4902) && near(high, 0.9433), "{low} {high}");
        let (low, high) = wilson(0, 20);
        assert!(near(low, 0.0) && near(high, 0.1611), "{low} {high}");
        assert_eq!(wilson(0, 0), (0.0, 1.0));
        // A coin that falls one way five times, and eight times of ten.
        assert!(near(mcnemar(5, 0), 1.0 / 32.0) && near(mcnemar(8, 2), 56.0 / 1024.0) && near(mcnemar(0, 0), 1.0));
        assert!(near(beyond(0.0), 0.5) && near(beyond(Z), 0.025) && near(beyond(-Z), 0.975) && beyond(6.0) < 1e-8);
        assert!(near(mcnemar(0, 5), 1.0) && mcnemar(700, 300) < 1e-9, "large numbers do not overflow");
    }

    #[test]
    fn chance_is_told_from_a_difference() {
        let none: Vec<f64> = (0..60).map(|i| if i % 2 == 0 { 0.2 } else { -0.2 }).collect();
        assert!(sign_flips(&none) > 0.4, "{}", sign_flips(&none));
        assert!(sign_flips(&[0.0; 40]) > 0.99, "no difference at all");
        let some: Vec<f64> = (0..60).map(|i| if i % 3 == 0 { -0.1 } else { 0.2 }).collect();
        assert!(sign_flips(&some) < 0.001, "{}", sign_flips(&some));
        let (low, high) = bootstrap(&some);
        assert!(low > 0.05 && high < 0.15 && low < high, "{low} {high}");
    }

    #[test]
    fn many_tests_raise_no_more_false_alarms_than_one() {
        assert_eq!(holm(&[0.04, 0.5, 0.6]), [false, false, false]);
        assert_eq!(holm(&[0.01, 0.02, 0.04]), [true, true, true]);
        assert_eq!(holm(&[0.06]), [false]);
        assert!(holm(&[]).is_empty());
    }
}
