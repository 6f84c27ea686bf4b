//! The budget: the most is set aside before a request leaves, and replaced by its real cost afterwards.
//!
//! `spent + reserved <= cap` holds at every moment, whatever is in flight. Making a reservation durable is
//! the journal's work; it happens after [`Budget::reserve`] and before the bytes leave.
//!
//! What is set aside is what the price says, and a provider may bill more: by a price that it has raised, by thinking
//! that nobody could foresee, by a cost that it states for a model said to be free. So under a cap a model is asked by
//! one request until its first bill is in, and from a bill above the bound on, so much more is set aside.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use promptmill_core::{Experience, Money};

/// Money of one pipeline: what it may spend, what it has spent, what is set aside.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Mutex<Account>>);

#[derive(Debug)]
struct Account {
    cap: Option<Money>,
    spent: Money,
    reserved: Money,
    /// Reservations that are neither settled nor dropped.
    open: usize,
    models: HashMap<String, Known>,
}

/// What is known of a model's bills.
#[derive(Debug, Default)]
struct Known {
    experience: Experience,
    open: u32,
    /// Requests that have ended, in whatever way.
    ended: u32,
}

impl Known {
    /// Requests that may be in flight. Where none brings a bill, that is doubled: a server that only fails is not to
    /// hold up the others for ever.
    fn places(&self) -> u32 {
        if self.experience.bills > 0 { u32::MAX } else { 1 << self.ended.min(8) }
    }
}

/// Money set aside for one attempt. Dropped without [`Reservation::settle`], it counts as spent in full: an
/// unknown outcome is not a free one.
#[derive(Debug)]
pub struct Reservation {
    account: Arc<Mutex<Account>>,
    /// Whose bill it is for; `None` for a model that sends none.
    model: Option<String>,
    rows: usize,
    amount: Money,
    settled: bool,
}

/// Why nothing was set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotReserved {
    /// The end of a request that is in flight may make room.
    Yet,
    /// Nothing is in flight, and it does not fit into what is left.
    Ever,
}

impl Budget {
    /// A budget of `cap` (`None`: no limit), of which `spent` is gone already.
    pub fn new(cap: Option<Money>, spent: Money) -> Self {
        Self(Arc::new(Mutex::new(Account { cap, spent, reserved: Money::ZERO, open: 0, models: HashMap::new() })))
    }

    /// The same, where it is known what these models have billed before.
    #[must_use]
    pub fn with_experience(self, known: impl IntoIterator<Item = (String, Experience)>) -> Self {
        let known = known.into_iter().map(|(model, experience)| (model, Known { experience, ..Known::default() }));
        lock(&self.0).models.extend(known);
        self
    }

    /// Sets aside what a request about so many rows can cost: `bound`, or more where this model has billed more before.
    ///
    /// # Errors
    /// Whether there may be room for it later.
    pub fn reserve(&self, model: &str, rows: usize, bound: Money) -> Result<Reservation, NotReserved> {
        let mut account = lock(&self.0);
        let Account { cap, spent, reserved, open, models } = &mut *account;
        if !models.contains_key(model) {
            models.insert(model.to_owned(), Known::default());
        }
        let known = models.get_mut(model);
        let amount = known.as_ref().map_or(bound, |known| known.experience.bound(bound, rows));
        if let Some(cap) = *cap {
            let committed = spent.saturating_add(*reserved).saturating_add(amount);
            if amount > Money::ZERO && committed > cap {
                return Err(if *open > 0 { NotReserved::Yet } else { NotReserved::Ever });
            }
            if known.as_ref().is_some_and(|known| known.open >= known.places()) {
                return Err(NotReserved::Yet);
            }
        }
        if let Some(known) = known {
            known.open += 1;
        }
        *reserved += amount;
        *open += 1;
        Ok(Reservation { account: Arc::clone(&self.0), model: Some(model.to_owned()), rows, amount, settled: false })
    }

    /// A reservation of nothing, for a model in this process, which sends no bill.
    pub fn nothing(&self) -> Reservation {
        lock(&self.0).open += 1;
        Reservation { account: Arc::clone(&self.0), model: None, rows: 0, amount: Money::ZERO, settled: false }
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

    /// Replaces the amount by what it really cost; `is_bill` if the provider says so, and it is not only taken to be so
    /// much.
    pub fn settle(mut self, actual: Money, is_bill: bool) {
        self.replace_by(actual, is_bill);
    }

    fn replace_by(&mut self, actual: Money, is_bill: bool) {
        let mut account = lock(&self.account);
        account.reserved -= self.amount;
        account.open -= 1;
        account.spent = account.spent.saturating_add(actual);
        if let Some(known) = self.model.as_ref().and_then(|model| account.models.get_mut(model)) {
            known.open -= 1;
            known.ended += 1;
            if is_bill {
                known.experience.note(self.amount, actual, self.rows);
            }
        }
        self.settled = true;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.settled {
            self.replace_by(self.amount, false);
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

    fn nano(nano: i64) -> Money {
        Money::from_nano(nano)
    }

    /// A budget under which `m` has sent a bill before.
    fn budget(cap: i64, spent: i64) -> Budget {
        Budget::new(Some(nano(cap)), nano(spent)).with_experience([("m".to_owned(), Experience { bills: 1, ..Experience::default() })])
    }

    #[test]
    fn a_dropped_reservation_counts_as_spent() {
        let budget = budget(100, 0);
        drop(budget.reserve("m", 1, nano(60)));
        assert_eq!((budget.spent(), budget.reserved()), (nano(60), Money::ZERO));
        assert_eq!(budget.reserve("m", 1, nano(41)).err(), Some(NotReserved::Ever));
        let _fits = budget.reserve("m", 1, nano(40)).expect("it fits");
        assert_eq!(budget.reserve("m", 1, nano(1)).err(), Some(NotReserved::Yet));
    }

    #[test]
    fn what_earlier_runs_spent_is_gone() {
        let budget = budget(100, 100);
        assert!(budget.reserve("m", 1, nano(1)).is_err());
        assert!(budget.reserve("m", 1, Money::ZERO).is_ok(), "a free model runs on an empty budget");
        budget.nothing().settle(Money::ZERO, false);
        assert_eq!(budget.spent(), nano(100));
    }

    #[test]
    fn a_model_that_never_sent_a_bill_is_asked_alone_and_where_it_only_fails_by_ever_more() {
        let budget = Budget::new(Some(nano(1_000)), Money::ZERO);
        let first = budget.reserve("m", 1, nano(1)).expect("the first");
        assert_eq!(budget.reserve("m", 1, nano(1)).err(), Some(NotReserved::Yet));
        let _other = budget.reserve("n", 1, nano(1)).expect("another model");
        first.settle(Money::ZERO, false);
        let two = [budget.reserve("m", 1, nano(1)).expect("one"), budget.reserve("m", 1, nano(1)).expect("two")];
        assert_eq!(budget.reserve("m", 1, nano(1)).err(), Some(NotReserved::Yet));
        two.into_iter().for_each(|reservation| reservation.settle(nano(1), true));
        let many: Vec<_> = (0..50).map(|_| budget.reserve("m", 1, nano(1)).expect("a bill is in")).collect();
        assert_eq!(many.len(), 50);
        let unlimited = Budget::new(None, Money::ZERO);
        let both = [unlimited.reserve("m", 1, nano(1)), unlimited.reserve("m", 1, nano(1))];
        assert!(both.iter().all(Result::is_ok), "without a cap nothing is to be held");
    }

    #[test]
    fn a_bill_above_the_bound_raises_the_next_ones_also_from_zero() {
        let budget = Budget::new(Some(nano(1_000)), Money::ZERO);
        budget.reserve("m", 2, nano(10)).expect("fits").settle(nano(35), true);
        assert_eq!(budget.reserve("m", 2, nano(10)).expect("fits").amount(), nano(35));
        assert_eq!(budget.reserve("m", 2, nano(100)).expect("fits").amount(), nano(350));
        assert_eq!(budget.reserve("m", 1, nano(1)).expect("fits").amount(), nano(26), "what came on top may come with any request");
        let free = Budget::new(Some(nano(50)), Money::ZERO);
        free.reserve("m", 1, Money::ZERO).expect("nothing is known").settle(nano(20), true);
        let held = free.reserve("m", 1, Money::ZERO).expect("fits");
        assert_eq!(held.amount(), nano(20));
        assert!(free.reserve("m", 1, Money::ZERO).is_err(), "20 are spent, 20 held, and 20 more are too many");
    }

    #[test]
    fn amounts_out_of_all_bounds_end_the_budget_and_do_not_wrap() {
        let budget = Budget::new(Some(nano(1_000)), Money::ZERO);
        budget.reserve("m", 1, nano(1)).expect("fits").settle(Money::MAX, true);
        assert_eq!(budget.spent(), Money::MAX);
        assert_eq!(budget.reserve("m", 1, nano(1)).err(), Some(NotReserved::Ever));
    }

    proptest! {
        #[test]
        fn spent_and_reserved_never_exceed_the_cap(
            cap in 0_i64..1_000,
            steps in prop::collection::vec((0_i64..200, 0_u8..3, any::<prop::sample::Index>()), 0..200),
        ) {
            let budget = budget(cap, 0);
            let mut open = Vec::new();
            for (amount, action, which) in steps {
                match action {
                    0 => open.extend(budget.reserve("m", 1, nano(amount)).ok()),
                    _ if open.is_empty() => {}
                    1 => {
                        let reservation: Reservation = open.swap_remove(which.index(open.len()));
                        let actual = reservation.amount().nano().min(amount);
                        reservation.settle(nano(actual), true);
                    }
                    _ => drop(open.swap_remove(which.index(open.len()))),
                }
                prop_assert!(budget.spent() + budget.reserved() <= nano(cap));
                prop_assert!(budget.reserved() == open.iter().map(Reservation::amount).sum());
            }
        }

        /// Every bill is `times` what the price says, or a fixed amount where the price is zero: a price that is not the real
        /// one. Whatever the number in flight, only the first bill can be a surprise.
        #[test]
        fn a_price_that_is_wrong_costs_no_more_than_the_first_bill_beyond_the_cap(
            cap in 1_i64..2_000,
            times in 1_i64..30,
            free in any::<bool>(),
            steps in prop::collection::vec((1_i64..100, any::<bool>(), any::<prop::sample::Index>()), 0..200),
        ) {
            let budget = Budget::new(Some(nano(cap)), Money::ZERO);
            let (mut open, mut first) = (Vec::new(), None);
            for (amount, sends, which) in steps {
                if sends {
                    let bound = if free { 0 } else { amount };
                    let bill = if free { times } else { amount * times };
                    open.extend(budget.reserve("m", 1, nano(bound)).ok().map(|reservation| (reservation, bill)));
                } else if !open.is_empty() {
                    let (reservation, bill) = open.swap_remove(which.index(open.len()));
                    first.get_or_insert(bill);
                    reservation.settle(nano(bill), true);
                }
                let beyond = budget.spent().nano() - cap;
                prop_assert!(beyond <= first.unwrap_or(0), "{beyond} beyond {cap}");
            }
        }
    }
}
