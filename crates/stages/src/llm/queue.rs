//! Who waits for one model, and who goes next.
//!
//! Rows wait in three groups. *Fresh* rows, with those that failed once at the head, so that leftovers fill
//! the very next pack. *Suspects*, which failed twice or were in a pack that was refused as a whole: they
//! share requests with their like only, in ever smaller packs, so that a poisonous row ends alone and never
//! takes fresh neighbours with it. And rows *asleep* until a time, because the server asked for patience.

use std::collections::{BTreeMap, VecDeque};

use tokio::time::Instant;

use super::row::Row;

/// The rows that wait for one model.
#[derive(Debug, Default)]
pub(super) struct Queue {
    fresh: VecDeque<Row>,
    suspects: BTreeMap<usize, VecDeque<Row>>,
    asleep: BTreeMap<(Instant, u64), Row>,
    /// Keeps rows that wake at the same moment apart.
    counter: u64,
    /// Since when the first of the fresh rows waits for company.
    fresh_since: Option<Instant>,
}

/// Who goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Suspects, then fresh rows.
    Usual,
    /// Rows that have not failed since the model's last answer, of which it has given so many: while nothing comes back, only
    /// they can show whether it is the model or the rows.
    UnfailedFirst(u64),
}

impl Queue {
    /// A row that is asked for the first time.
    pub(super) fn push_back(&mut self, row: Row) {
        self.fresh_since.get_or_insert_with(Instant::now);
        self.fresh.push_back(row);
    }

    /// A row that is asked again: with the next pack, or among suspects if it has a cap.
    pub(super) fn push_again(&mut self, row: Row) {
        if row.tried.cap < usize::MAX {
            self.suspects.entry(row.tried.cap).or_default().push_back(row);
        } else {
            self.fresh_since.get_or_insert_with(Instant::now);
            self.fresh.push_front(row);
        }
    }

    /// A row that is asked again after those that wait.
    pub(super) fn push_last(&mut self, row: Row) {
        if row.tried.cap < usize::MAX {
            self.suspects.entry(row.tried.cap).or_default().push_back(row);
        } else {
            self.push_back(row);
        }
    }

    /// A row that is asked again, but not before a time.
    pub(super) fn sleep(&mut self, row: Row, until: Instant) {
        self.counter += 1;
        self.asleep.insert((until, self.counter), row);
    }

    /// Wakes the rows whose time has come.
    pub(super) fn wake(&mut self, now: Instant) {
        while let Some(entry) = self.asleep.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let row = entry.remove();
            self.push_again(row);
        }
    }

    /// When the next row wakes.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.asleep.first_key_value().map(|((at, _), _)| *at)
    }

    /// Rows that could go now.
    pub(super) fn awake(&self) -> usize {
        self.fresh.len() + self.suspects.values().map(VecDeque::len).sum::<usize>()
    }

    /// Rows asked for the first or second time that could go now.
    pub(super) fn fresh(&self) -> usize {
        self.fresh.len()
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.awake() == 0 && self.asleep.is_empty()
    }

    /// Rows that wait, asleep or not.
    pub(super) fn len(&self) -> usize {
        self.awake() + self.asleep.len()
    }

    /// All rows that wait, in no order.
    pub(super) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.fresh.iter().chain(self.suspects.values().flatten()).chain(self.asleep.values())
    }

    /// Takes out every row.
    pub(super) fn drain(&mut self) -> Vec<Row> {
        let Self { fresh, suspects, asleep, .. } = std::mem::take(self);
        fresh.into_iter().chain(suspects.into_values().flatten()).chain(asleep.into_values()).collect()
    }

    /// Since when fresh rows wait.
    pub(super) fn fresh_since(&self) -> Option<Instant> {
        self.fresh_since
    }

    /// The next pack: suspects first, else up to `most` fresh rows; as many of them as `fits` agrees to, one at
    /// least. Fewer than `size` fresh rows go only if `partly`.
    pub(super) fn take(&mut self, order: Order, (size, most): (usize, usize), partly: bool, fits: impl FnMut(&Row) -> bool) -> Vec<Row> {
        let pack = self.taken(order, (size, most), partly, fits);
        self.fresh_since =
            if self.fresh.is_empty() { None } else { self.fresh_since.filter(|_| pack.is_empty()).or_else(|| Some(Instant::now())) };
        pack
    }

    fn taken(&mut self, order: Order, (size, most): (usize, usize), partly: bool, mut fits: impl FnMut(&Row) -> bool) -> Vec<Row> {
        if let Order::UnfailedFirst(answers) = order {
            let is_unfailed = |row: &Row| row.tried.seen != Some(answers);
            let mut pack: Vec<Row> = Vec::new();
            while pack.len() < size && self.fresh.back().is_some_and(|row| is_unfailed(row) && (fits(row) || pack.is_empty())) {
                pack.extend(self.fresh.pop_back());
            }
            if !pack.is_empty() {
                pack.reverse();
                return pack;
            }
            let cap = self.suspects.iter().rev().find(|(_, rows)| rows.iter().any(is_unfailed)).map(|(cap, _)| *cap);
            if let Some(rows) = cap.and_then(|cap| self.suspects.get_mut(&cap)) {
                // They go to the head of their group.
                rows.make_contiguous().sort_by_key(|row| !is_unfailed(row));
                let unfailed = rows.iter().filter(|row| is_unfailed(row)).count();
                let cap = cap.unwrap_or(1);
                let pack = front(rows, cap.min(size.max(1)).min(unfailed), &mut fits);
                if rows.is_empty() {
                    self.suspects.remove(&cap);
                }
                return pack;
            }
        }
        // The smallest groups go last: they are the costly ones, and may have company by then.
        if let Some((&cap, rows)) = self.suspects.iter_mut().next_back() {
            let pack = front(rows, cap.min(size.max(1)), &mut fits);
            if rows.is_empty() {
                self.suspects.remove(&cap);
            }
            return pack;
        }
        if self.fresh.is_empty() || (self.fresh.len() < size && !partly) {
            return Vec::new();
        }
        front(&mut self.fresh, most, &mut fits)
    }

    /// Puts a pack back that could not leave.
    pub(super) fn put_back(&mut self, pack: Vec<Row>) {
        self.fresh_since.get_or_insert_with(Instant::now);
        for row in pack.into_iter().rev() {
            if row.tried.cap < usize::MAX {
                self.suspects.entry(row.tried.cap).or_default().push_front(row);
            } else {
                self.fresh.push_front(row);
            }
        }
    }
}

fn front(rows: &mut VecDeque<Row>, size: usize, fits: &mut impl FnMut(&Row) -> bool) -> Vec<Row> {
    let mut pack = Vec::with_capacity(size.min(rows.len()));
    while pack.len() < size {
        match rows.front() {
            Some(row) if fits(row) || pack.is_empty() => pack.extend(rows.pop_front()),
            _ => break,
        }
    }
    pack
}

#[cfg(test)]
mod tests {
    use super::super::retry::Tried;
    use super::*;
    use arrow::array::RecordBatch;
    use arrow::datatypes::Schema;
    use promptmill_core::Fingerprint;
    use std::sync::Arc;
    use std::time::Duration;

    fn row(key: &str, cap: usize) -> Row {
        Row {
            batch: Arc::new(RecordBatch::new_empty(Arc::new(Schema::empty()))),
            index: 0,
            key: key.into(),
            item: "tekst".into(),
            question: Fingerprint::from_bytes([0; 16]),
            model: 0,
            tried: Tried { cap, ..Tried::NOTHING },
            spent: Vec::new(),
            bytes: 0,
            bill: super::super::row::Bill::default(),
            fault: None,
            rejections: super::super::row::Rejections::default(),
            racing: false,
        }
    }

    fn keys(pack: &[Row]) -> String {
        pack.iter().map(|row| &*row.key).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn leftovers_fill_the_next_pack_and_suspects_stay_among_themselves() {
        let mut queue = Queue::default();
        for key in ["a", "b", "c"] {
            queue.push_back(row(key, usize::MAX));
        }
        queue.push_again(row("again", usize::MAX));
        queue.push_again(row("s1", 2));
        queue.push_again(row("s2", 2));
        queue.push_again(row("s3", 2));
        queue.push_again(row("alone", 1));
        assert_eq!(keys(&queue.take(Order::Usual, (3, 3), false, |_| true)), "s1 s2");
        assert_eq!(keys(&queue.take(Order::Usual, (3, 3), false, |_| true)), "s3");
        assert_eq!(keys(&queue.take(Order::Usual, (3, 3), false, |_| true)), "alone");
        assert_eq!(keys(&queue.take(Order::Usual, (3, 3), false, |_| true)), "again a b");
        assert_eq!(keys(&queue.take(Order::Usual, (3, 3), false, |_| true)), "", "one row waits for company");
        assert_eq!(keys(&queue.take(Order::Usual, (3, 3), true, |_| true)), "c");
        assert!(queue.is_empty());
    }

    #[test]
    fn a_pack_holds_what_fits_but_one_row_at_least() {
        let mut queue = Queue::default();
        for key in ["a", "b", "c"] {
            queue.push_back(row(key, usize::MAX));
        }
        let mut room = 2;
        let pack = queue.take(Order::Usual, (3, 3), true, |_| {
            room -= 1;
            room >= 0
        });
        assert_eq!(keys(&pack), "a b");
        assert_eq!(keys(&queue.take(Order::Usual, (3, 3), true, |_| false)), "c");
    }

    #[test]
    fn a_pack_put_back_is_the_next_one() {
        let mut queue = Queue::default();
        for key in ["a", "b", "c"] {
            queue.push_back(row(key, usize::MAX));
        }
        let pack = queue.take(Order::Usual, (2, 2), true, |_| true);
        queue.put_back(pack);
        assert_eq!(keys(&queue.take(Order::Usual, (3, 3), true, |_| true)), "a b c");
    }

    #[test]
    fn sleepers_wake_in_time() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.sleep(row("late", usize::MAX), now + Duration::from_secs(2));
        queue.sleep(row("soon", usize::MAX), now + Duration::from_secs(1));
        assert_eq!(queue.next_wake(), Some(now + Duration::from_secs(1)));
        queue.wake(now + Duration::from_secs(1));
        assert_eq!((queue.awake(), queue.is_empty()), (1, false));
        assert_eq!(keys(&queue.take(Order::Usual, (5, 5), true, |_| true)), "soon");
        queue.wake(now + Duration::from_secs(9));
        assert_eq!(keys(&queue.take(Order::Usual, (5, 5), true, |_| true)), "late");
    }
}
