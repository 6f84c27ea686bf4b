//! What canary rows show: rows that were answered in a pack and asked once more alone. Sums alone, of bounded size however
//! many rows there are; what they mean is for the run record to say.

use std::collections::BTreeMap;

use crate::Money;

/// What canary rows came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Canaries {
    /// Requests about one of them alone.
    pub asked: u64,
    /// Those that brought nothing to compare.
    pub failed: u64,
    /// What they cost.
    pub cost: Money,
    /// Rows whose answer was accepted in the pack and alone …
    pub both: u64,
    /// … in the pack and not alone …
    pub only_packed: u64,
    /// … alone and not in the pack …
    pub only_alone: u64,
    /// … and in neither.
    pub neither: u64,
    /// How alike the answers are of rows that stood in the first half of their pack, where both were accepted …
    pub first_half: Likenesses,
    /// … and in the second.
    pub second_half: Likenesses,
    /// The same by the number of rows in the pack, up to the next power of two.
    pub by_rows: BTreeMap<u64, Likenesses>,
}

/// Sums over likenesses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Likenesses {
    /// How many.
    pub count: u64,
    sum: f64,
    squares: f64,
}

impl Canaries {
    /// Takes in a row that stood at `position`, from 0, in a pack of so many: whether its answer was accepted there and
    /// alone, and how alike the two are if both were.
    pub fn compare(&mut self, (position, rows): (usize, usize), (packed, alone): (bool, bool), likeness: Option<f64>) {
        *match (packed, alone) {
            (true, true) => &mut self.both,
            (true, false) => &mut self.only_packed,
            (false, true) => &mut self.only_alone,
            (false, false) => &mut self.neither,
        } += 1;
        if let Some(likeness) = likeness {
            if 2 * position < rows { &mut self.first_half } else { &mut self.second_half }.add(likeness);
            self.by_rows.entry(rows.next_power_of_two() as u64).or_default().add(likeness);
        }
    }

    /// Rows that were compared.
    pub fn compared(&self) -> u64 {
        self.both + self.only_packed + self.only_alone + self.neither
    }

    /// The likenesses of all of them.
    pub fn all(&self) -> Likenesses {
        let (a, b) = (self.first_half, self.second_half);
        Likenesses { count: a.count + b.count, sum: a.sum + b.sum, squares: a.squares + b.squares }
    }
}

impl Likenesses {
    fn add(&mut self, likeness: f64) {
        self.count += 1;
        self.sum += likeness;
        self.squares += likeness * likeness;
    }

    /// The mean; `None` of nothing.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }

    /// The square of the mean's standard error; `None` of less than two.
    pub fn squared_error(&self) -> Option<f64> {
        let n = self.count as f64;
        (self.count > 1).then(|| ((self.squares - self.sum * self.sum / n) / (n - 1.0)).max(0.0) / n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_told_apart_by_verdict_half_and_pack() {
        let mut canaries = Canaries::default();
        // Of three places two are in the first half.
        for (position, likeness) in [(0, 1.0), (1, 0.5), (2, 0.0)] {
            canaries.compare((position, 3), (true, true), Some(likeness));
        }
        canaries.compare((8, 9), (false, true), None);
        canaries.compare((8, 9), (true, false), None);
        canaries.compare((8, 9), (false, false), None);
        assert_eq!((canaries.both, canaries.only_packed, canaries.only_alone, canaries.neither, canaries.compared()), (3, 1, 1, 1, 6));
        assert_eq!((canaries.first_half.mean(), canaries.second_half.mean(), canaries.all().mean()), (Some(0.75), Some(0.0), Some(0.5)));
        assert_eq!(canaries.by_rows.keys().collect::<Vec<_>>(), [&4]);
        // The values 1, 0.5 and 0 have the variance 0.25.
        assert!((canaries.all().squared_error().expect("three") - 0.25 / 3.0).abs() < 1e-12);
        assert_eq!((canaries.second_half.squared_error(), Likenesses::default().mean()), (None, None));
    }
}
