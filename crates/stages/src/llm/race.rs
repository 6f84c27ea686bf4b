//! Rows that are in several requests at once.
//!
//! Near the end of a run nothing else is left to do with a free slot than to ask again what is late. The first
//! acceptable answer wins, for each row on its own; nothing is merged. A row leaves only when every request that
//! it is in has ended, because it bears its share of the cost of all of them.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use promptmill_core::{Attempt, Result, RowId};
use promptmill_llm::cost_bound::prompt_bytes;
use tokio::time::Instant;

use super::desk::Desk;
use super::queue::Queue;
use super::row::{Answer, Bill, Fault, Row};

/// A request is late when this share of answers of its size has come sooner.
const LATE: f64 = 0.95;
/// … and slow when this share has.
const SLOW: f64 = 0.75;
/// Rows in each part of a late request that is asked again, at the least: parts are answered sooner than the whole.
const HEDGE_ROWS: usize = 4;
/// A request that waits for the journal is looked at again after this long: nobody tells when it leaves.
const UNTIL_IT_HAS_LEFT: Duration = Duration::from_millis(200);

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

impl Desk {
    /// At the end, when slots are free and nothing waits: asks again what is late, in smaller parts.
    pub(super) fn hedge(&mut self, now: Instant) {
        if self.input_open || self.flying.is_empty() || !self.queues.iter().all(Queue::is_empty) {
            return;
        }
        let allowed = (self.stage.hedge * self.context.meter.rows_sent.load(Relaxed) as f64) as usize;
        let open: usize = self.flying.values().filter(|flying| !flying.hedged).map(|flying| flying.rows.len()).sum();
        // Enough for many of them: then the merely slow are worth it too.
        let plenty = 2 * allowed.saturating_sub(self.hedged_rows) >= open;
        let (mut late, mut unseen): (Vec<(Instant, u64)>, bool) = (Vec::new(), false);
        for (number, flying) in self.flying.iter().filter(|(_, flying)| !flying.hedged) {
            let Some(since) = flying.progress.with_the_model_since() else {
                unseen |= flying.progress.is_to_leave();
                continue;
            };
            let patience = self.models[flying.model].gate.late(flying.output, if plenty { SLOW } else { LATE });
            if let Some(patience) = patience {
                late.push((since + patience, *number));
            }
        }
        if unseen {
            self.look_again_at(now + UNTIL_IT_HAS_LEFT);
        }
        late.sort_unstable();
        for (at, number) in late {
            if self.hedged_rows + self.flying[&number].rows.len() > allowed {
                break;
            }
            if at > now {
                self.look_again_at(at);
                break;
            }
            let model = self.flying[&number].model;
            let (limit, in_flight) = self.models[model].gate.level();
            if limit <= in_flight || !self.models[model].gate.is_calm() {
                break;
            }
            self.ask_again(number, limit - in_flight);
        }
    }

    /// Asks about the rows of a late request once more, in as many parts as there are free slots.
    pub(super) fn ask_again(&mut self, number: u64, free: usize) {
        let Some(flying) = self.flying.get_mut(&number) else { return };
        flying.hedged = true;
        let model = flying.model;
        let parts = flying.rows.len().div_ceil(HEDGE_ROWS).min(free).max(1);
        let size = flying.rows.len().div_ceil(parts);
        let mut begin = 0;
        while begin < self.flying[&number].rows.len() {
            let end = (begin + size).min(self.flying[&number].rows.len());
            let Some(pass) = self.enter(model, self.expected_load(model, end - begin)) else { break };
            let pack = self.flying[&number].rows[begin..end].to_vec();
            let Ok(request) = self.request(model, &pack) else {
                pass.withdraw();
                break;
            };
            let bytes = prompt_bytes(&request);
            let Ok(reservation) = self.reserve(model, &request, bytes) else {
                pass.withdraw();
                break;
            };
            if let Some(flying) = self.flying.get_mut(&number) {
                flying.rows[begin..end].iter_mut().for_each(|row| self.races.enter(row));
            }
            let pack = self.flying[&number].rows[begin..end].to_vec();
            self.hedged_rows += pack.len();
            self.send(model, 0, pack, None, request, bytes, reservation, pass);
            begin = end;
        }
    }

    /// When every row has its answer and only the cost of late requests is unknown, nobody waits for them.
    pub(super) fn give_up_the_late(&self) {
        if self.races.is_empty() || self.input_open || !self.queues.iter().all(Queue::is_empty) {
            return;
        }
        let won = |row: &Row| row.racing && self.races.is_won(row.id());
        if self.flying.values().all(|flying| flying.rows.iter().all(won)) {
            self.flying.values().for_each(|flying| flying.progress.given_up.notify_one());
        }
    }
}
