//! The budget: the most is set aside before a request leaves, and replaced by its real cost afterwards.
//!
//! `spent + reserved <= cap` holds at every moment, whatever is in flight. Making a reservation durable is
//! the journal's work; it happens after [`Budget::reserve`] and before the bytes leave.

use std::sync::{Arc, Mutex, PoisonError};

use promptmill_core::Money;

/// Money of one pipeline: what it may spend, what it has spent, what is set aside.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Mutex<Account>>);

#[derive(Debug)]
struct Account {
    cap: Money,
    spent: Money,
    reserved: Money,
}

/// Money set aside for one attempt. Dropped without [`Reservation::settle`], it counts as spent in full: an
/// unknown outcome is not a free one.
#[derive(Debug)]
pub struct Reservation {
    account: Arc<Mutex<Account>>,
    amount: Money,
    settled: bool,
}

impl Budget {
    /// A budget of `cap` (`None`: no limit), of which `spent` is gone already.
    pub fn new(cap: Option<Money>, spent: Money) -> Self {
        Self(Arc::new(Mutex::new(Account { cap: cap.unwrap_or(Money::MAX), spent, reserved: Money::ZERO })))
    }

    /// Sets `worst` aside, or returns `None` if it does not fit into what is left.
    pub fn reserve(&self, worst: Money) -> Option<Reservation> {
        let mut account = lock(&self.0);
        let committed = account.spent.saturating_add(account.reserved).saturating_add(worst);
        if worst > Money::ZERO && committed > account.cap {
            return None;
        }
        account.reserved += worst;
        Some(Reservation { account: Arc::clone(&self.0), amount: worst, settled: false })
    }

    /// What has been spent, over all runs.
    pub fn spent(&self) -> Money {
        lock(&self.0).spent
    }

    /// What is set aside now.
    pub fn reserved(&self) -> Money {
        lock(&self.0).reserved
    }
}

impl Reservation {
    /// The amount set aside.
    pub fn amount(&self) -> Money {
        self.amount
    }

    /// Replaces the amount by what it really cost.
    pub fn settle(mut self, actual: Money) {
        self.replace_by(actual);
    }

    fn replace_by(&mut self, actual: Money) {
        let mut account = lock(&self.account);
        account.reserved -= self.amount;
        account.spent = account.spent.saturating_add(actual);
        self.settled = true;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.settled {
            self.replace_by(self.amount);
        }
    }
}

fn lock(account: &Mutex<Account>) -> std::sync::MutexGuard<'_, Account> {
    account.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_dropped_reservation_counts_as_spent() {
        let budget = Budget::new(Some(Money::from_nano(100)), Money::ZERO);
        drop(budget.reserve(Money::from_nano(60)));
        assert_eq!((budget.spent(), budget.reserved()), (Money::from_nano(60), Money::ZERO));
        assert!(budget.reserve(Money::from_nano(41)).is_none());
        assert!(budget.reserve(Money::from_nano(40)).is_some());
    }

    #[test]
    fn what_earlier_runs_spent_is_gone() {
        let budget = Budget::new(Some(Money::from_nano(100)), Money::from_nano(100));
        assert!(budget.reserve(Money::from_nano(1)).is_none());
        assert!(budget.reserve(Money::ZERO).is_some(), "a free model runs on an empty budget");
    }

    proptest! {
        #[test]
        fn spent_and_reserved_never_exceed_the_cap(
            cap in 0_i64..1_000,
            steps in prop::collection::vec((0_i64..200, 0_u8..3, any::<prop::sample::Index>()), 0..200),
        ) {
            let budget = Budget::new(Some(Money::from_nano(cap)), Money::ZERO);
            let mut open = Vec::new();
            for (amount, action, which) in steps {
                match action {
                    0 => open.extend(budget.reserve(Money::from_nano(amount))),
                    _ if open.is_empty() => {}
                    1 => {
                        let reservation: Reservation = open.swap_remove(which.index(open.len()));
                        let actual = reservation.amount().nano().min(amount);
                        reservation.settle(Money::from_nano(actual));
                    }
                    _ => drop(open.swap_remove(which.index(open.len()))),
                }
                prop_assert!(budget.spent() + budget.reserved() <= Money::from_nano(cap));
                prop_assert!(budget.reserved() == open.iter().map(Reservation::amount).sum());
            }
        }
    }
}
