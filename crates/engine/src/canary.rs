//! What canary rows say about packs, for the run record: shares, likenesses, and the two tests that can be made of rows
//! that were asked once in a pack and once alone.
//!
//! How much two askings differ by chance is not known here, and nothing is said of it: the pack-size trial of `compare`
//! asks alone twice and knows it. What can be told is whether packs cost rows their answer, and whether answers are
//! less like those alone towards the end of packs.

use std::collections::BTreeMap;

use promptmill_core::{Canaries, Likenesses};
use serde::{Deserialize, Serialize};

use crate::stats::{Z, beyond, holm, mcnemar, wilson};

/// Rows of each half of the packs without which halves are not compared: so many make the mean a normal variable.
const FEWEST: u64 = 20;

/// What the canary rows of a run came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CanaryRows {
    /// Requests about one of them alone.
    pub asked: u64,
    /// Those that brought nothing to compare.
    pub failed: u64,
    /// What they cost, in US dollars: a part of the cost of their rows.
    pub cost_usd: f64,
    /// Rows that were compared.
    pub compared: u64,
    /// Those of them whose answer was accepted in the pack.
    pub accepted_in_packs: Share,
    /// Those whose answer was accepted alone.
    pub accepted_alone: Share,
    /// Those accepted alone and not in the pack, and the reverse.
    pub lost: (u64, u64),
    /// p-value: packs cost no more rows their answer than chance does.
    pub p_lost: f64,
    /// How alike the two answers are, where both were accepted.
    pub likeness: Option<Mean>,
    /// The same of rows in the first half of their pack …
    pub first_half: Option<Mean>,
    /// … and in the second.
    pub second_half: Option<Mean>,
    /// p-value: answers in the second half are no less alike. `None`: too few rows.
    pub p_later: Option<f64>,
    /// How alike they are by the rows of the pack, up to this many.
    pub by_rows: BTreeMap<u64, Mean>,
    /// What is significant, in words.
    pub warnings: Vec<String>,
}

/// A share of rows with its 95% interval, after Wilson.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// Rows.
    pub rows: u64,
    /// Their share.
    pub share: f64,
    /// Its interval.
    pub interval: (f64, f64),
}

/// A mean with its 95% interval, by the normal distribution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mean {
    /// Rows.
    pub rows: u64,
    /// Their mean.
    pub mean: f64,
    /// Its interval; `None` of one row.
    pub interval: Option<(f64, f64)>,
}

impl CanaryRows {
    /// What these rows say; `None` if there are none.
    pub(crate) fn of(canaries: &Canaries) -> Option<Self> {
        if canaries.asked == 0 {
            return None;
        }
        let compared = canaries.compared();
        let share = |rows: u64| Share {
            rows,
            share: if compared > 0 { round(rows as f64 / compared as f64) } else { 0.0 },
            interval: rounded(wilson(rows, compared)),
        };
        let (first, second) = (&canaries.first_half, &canaries.second_half);
        let mut rows = Self {
            asked: canaries.asked,
            failed: canaries.failed,
            cost_usd: canaries.cost.usd(),
            compared,
            accepted_in_packs: share(canaries.both + canaries.only_packed),
            accepted_alone: share(canaries.both + canaries.only_alone),
            lost: (canaries.only_alone, canaries.only_packed),
            p_lost: fine(mcnemar(canaries.only_alone, canaries.only_packed)),
            likeness: Mean::of(&canaries.all()),
            first_half: Mean::of(first),
            second_half: Mean::of(second),
            p_later: later(first, second).map(fine),
            by_rows: canaries.by_rows.iter().filter_map(|(rows, likenesses)| Some((*rows, Mean::of(likenesses)?))).collect(),
            warnings: Vec::new(),
        };
        rows.warnings = rows.significant();
        Some(rows)
    }

    /// What both tests together say at 95%, after Holm.
    fn significant(&self) -> Vec<String> {
        let tests: Vec<f64> = [Some(self.p_lost), self.p_later].into_iter().flatten().collect();
        let significant = holm(&tests);
        let (lost, won) = self.lost;
        let mut warnings = Vec::new();
        if significant[0] {
            warnings.push(format!(
                "of {} canary rows {lost} had an acceptable answer alone and none in their pack, {won} the reverse ({})",
                self.compared,
                said(self.p_lost)
            ));
        }
        if let (Some(true), Some(first), Some(second), Some(p)) = (significant.get(1), self.first_half, self.second_half, self.p_later) {
            warnings.push(format!(
                "answers in the second half of packs are less like those alone than in the first: {:.2} over {} canary rows, {:.2} over {} ({})",
                second.mean,
                second.rows,
                first.mean,
                first.rows,
                said(p)
            ));
        }
        warnings
    }
}

impl Mean {
    fn of(likenesses: &Likenesses) -> Option<Self> {
        let mean = likenesses.mean()?;
        let interval = likenesses.squared_error().map(|error| {
            let half = Z * error.sqrt();
            rounded(((mean - half).max(0.0), (mean + half).min(1.0)))
        });
        Some(Self { rows: likenesses.count, mean: round(mean), interval })
    }
}

/// Welch's test with many rows, one-sided: how likely it is that the second mean falls behind the first at least so far, if
/// both are equal.
fn later(first: &Likenesses, second: &Likenesses) -> Option<f64> {
    if first.count.min(second.count) < FEWEST {
        return None;
    }
    let difference = first.mean()? - second.mean()?;
    let error = (first.squared_error()? + second.squared_error()?).sqrt();
    Some(if error > 0.0 { beyond(difference / error) } else { f64::from(u8::from(difference <= 0.0)) })
}

fn round(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// A p-value, in words.
fn said(p: f64) -> String {
    if p < 0.001 { "p < 0.001".to_owned() } else { format!("p = {p:.3}") }
}

/// A p-value as it is kept.
fn fine(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

fn rounded((low, high): (f64, f64)) -> (f64, f64) {
    (round(low), round(high))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many rows at each of the two halves of packs of ten, with these likenesses.
    fn canaries(rows: usize, first: f64, second: f64) -> Canaries {
        let mut canaries = Canaries::default();
        for row in 0..rows {
            let noise = if row % 2 == 0 { 0.1 } else { -0.1 };
            canaries.compare((1, 10), (true, true), Some(first + noise));
            canaries.compare((8, 10), (true, true), Some(second + noise));
        }
        canaries.asked = 2 * rows as u64;
        canaries
    }

    #[test]
    fn what_packs_do_is_told_from_chance() {
        assert_eq!(CanaryRows::of(&Canaries::default()), None);
        let same = CanaryRows::of(&canaries(40, 0.6, 0.6)).expect("rows");
        assert_eq!((same.warnings.len(), same.compared, same.p_lost), (0, 80, 1.0));
        assert!(same.p_later.is_some_and(|p| (p - 0.5).abs() < 1e-6), "{same:?}");
        assert_eq!(same.likeness.map(|likeness| (likeness.rows, likeness.mean)), Some((80, 0.6)));
        assert_eq!(same.by_rows.keys().collect::<Vec<_>>(), [&16]);
        // A tenth less over forty rows each is 4.4 standard errors; over so few that nobody can tell, nothing.
        let worse = CanaryRows::of(&canaries(40, 0.6, 0.5)).expect("rows");
        assert!(worse.warnings.len() == 1 && worse.warnings[0].contains("second half"), "{worse:?}");
        assert!(CanaryRows::of(&canaries(40, 0.5, 0.6)).expect("rows").warnings.is_empty(), "better is no loss");
        let few = CanaryRows::of(&canaries(19, 0.6, 0.1)).expect("rows");
        assert_eq!((few.p_later, few.warnings.len()), (None, 0));
    }

    #[test]
    fn rows_that_lose_their_answer_in_packs_are_counted_against_those_that_win_one() {
        let lost = |lost: usize, won: usize| {
            let mut canaries = canaries(10, 0.6, 0.6);
            (0..lost).for_each(|_| canaries.compare((0, 10), (false, true), None));
            (0..won).for_each(|_| canaries.compare((0, 10), (true, false), None));
            CanaryRows::of(&canaries).expect("rows")
        };
        // 1/32 for five to nothing, 1/16 for four; 5 to 4 is a coin.
        assert_eq!((lost(5, 0).warnings.len(), lost(4, 0).warnings.len(), lost(5, 4).warnings.len()), (1, 0, 0));
        let rows = lost(5, 0);
        assert_eq!((rows.accepted_in_packs.rows, rows.accepted_alone.rows, rows.lost), (20, 25, (5, 0)));
        assert_eq!(rows.accepted_in_packs.share, 0.8);
        assert!(rows.accepted_in_packs.interval.0 < 0.65 && rows.accepted_in_packs.interval.1 > 0.9, "{rows:?}");
    }
}
