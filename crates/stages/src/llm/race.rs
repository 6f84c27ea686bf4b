//! Rows that are in several requests at once.
//!
//! Near the end of a run nothing else is left to do with a free slot than to ask again what is late. The first
//! acceptable answer wins, for each row on its own; nothing is merged. A row leaves only when every request that
//! it is in has ended, because it bears its share of the cost of all of them.

use std::collections::HashMap;

use promptmill_core::{Attempt, Result, RowId};

use super::row::{Answer, Bill, Fault, Row};

/// The rows that race.
#[derive(Debug, Default)]
pub(super) struct Races(HashMap<u128, Runner>);

#[derive(Debug)]
struct Runner {
    /// Requests that the row is in.
    running: u32,
    bill: Bill,
    /// The first acceptable answer, and the model that gave it.
    answer: Option<(usize, Answer)>,
}

/// A row that no request is about any more.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) row: Row,
    pub(super) answer: Option<(usize, Answer)>,
}

impl Races {
    /// One request more asks about this row.
    pub(super) fn enter(&mut self, row: &mut Row) {
        let first = !row.racing;
        row.racing = true;
        let bill = row.bill;
        let runner = self.0.entry(row.id().to_u128()).or_insert(Runner { running: 0, bill, answer: None });
        // Besides the request that makes it a race there is the one that it was in.
        runner.running += if first { 2 } else { 1 };
    }

    /// A request about this row has ended. Returns the row when it was the last.
    pub(super) fn land(
        &mut self,
        mut row: Row,
        model: usize,
        attempt: &Attempt,
        position: usize,
        is_limit: bool,
        verdict: &Result<Answer, Fault>,
    ) -> Option<Finished> {
        let id = row.id().to_u128();
        let runner = self.0.get_mut(&id)?;
        runner.bill.add(attempt, position, is_limit);
        runner.running -= 1;
        if let (Ok(answer), None) = (verdict, &runner.answer) {
            runner.answer = Some((model, answer.clone()));
        }
        if runner.running > 0 {
            return None;
        }
        let runner = self.0.remove(&id)?;
        row.racing = false;
        row.bill = runner.bill;
        Some(Finished { row, answer: runner.answer })
    }

    /// Whether this row has its answer and only waits for the cost of other requests.
    pub(super) fn is_won(&self, id: RowId) -> bool {
        self.0.get(&id.to_u128()).is_some_and(|runner| runner.answer.is_some())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
