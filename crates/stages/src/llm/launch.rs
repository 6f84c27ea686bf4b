//! Lets packs leave: a place in the lane first, then the pack, then the money set aside for it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use promptmill_core::{Begun, Error, StopReason};
use promptmill_llm::cost_bound::{CostBound, prompt_bytes};
use promptmill_llm::lane::{Load, Pass};
use promptmill_llm::{NotReserved, Request, Reservation};
use tokio::time::Instant;

use super::ask::{Progress, Question, ask, now_micros};
use super::canary::Canary;
use super::desk::{Desk, Landing};
use super::intake::TEMPLATE;
use super::packer::LONGEST_FOR_COMPANY;
use super::queue::Queue;
use super::row::{Fault, Row};

/// Between two questions whether a request may leave, at the least: what timers can tell apart.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);
/// Between two looks whether a request of another partition has made room in the budget.
const OTHERS_WAIT: Duration = Duration::from_millis(50);
/// Requests that have left and are not yet written down: so many for each that may be in flight, and some.
const TASKS_PER_PLACE: usize = 2;
/// See [`TASKS_PER_PLACE`].
const TASKS_AHEAD: usize = 64;
/// Rows that may cost more than what is left of the budget while others still fit: after so many of them it is used up …
const UNAFFORDABLE_ROWS: usize = 64;
/// … or after so many bytes: they are held until the run ends.
const UNAFFORDABLE_BYTES: usize = 32 << 20;

/// A request in flight.
#[derive(Debug)]
pub(super) struct Flying {
    pub(super) model: usize,
    /// The number of rows in force when it was cut; 0 if something else decided: suspects, hedges, the last rows.
    pub(super) size: usize,
    pub(super) rows: Vec<Row>,
    /// Expected tokens of the answer.
    pub(super) output: u64,
    pub(super) hedged: bool,
    /// The row as it was before, where this is about a canary.
    pub(super) canary: Option<Canary>,
    pub(super) progress: Arc<Progress>,
    /// How many requests the model had answered when it left.
    pub(super) answers: u64,
}

impl Desk {
    /// Lets every pack leave that can.
    pub(super) fn launch(&mut self) {
        self.launch_all();
        if self.try_unaffordable_again() {
            self.launch_all();
        }
    }

    fn launch_all(&mut self) {
        let now = Instant::now();
        self.again_at = None;
        // They go first: a row that waits for its canary is not handed out.
        while self.launch_canary() {}
        for model in 0..self.models.len() {
            self.queues[model].wake(now);
            self.pass_over(model, now);
        }
        let mut is_settled = false;
        while !is_settled {
            is_settled = true;
            for model in 0..self.models.len() {
                while self.launch_one(model) {}
                // Its lane may have said that it takes long; then others may have more to do.
                is_settled &= !self.pass_over(model, now);
            }
        }
        self.hedge(now);
    }

    /// Whether there are as many requests as may be. Responses that wait for the disk hold no place at the provider, but
    /// they hold memory.
    pub(super) fn is_full(&self, model: usize) -> bool {
        self.in_flight.len() >= TASKS_PER_PLACE * self.models[model].gate.level().0 + TASKS_AHEAD
    }

    pub(super) fn launch_one(&mut self, model: usize) -> bool {
        if self.queues[model].awake() == 0 || self.is_full(model) {
            return false;
        }
        let usual = (self.size(model), usize::MAX);
        let (mut size, mut at_most) = usual;
        // The place comes first: a pack that cannot leave need not be made.
        let Some(pass) = self.enter(model, self.expected_load(model, size)) else { return false };
        loop {
            let pack = self.take_pack(model, size, at_most);
            if pack.is_empty() {
                pass.withdraw();
                if let Some(since) = self.queues[model].fresh_since() {
                    self.look_again_at(since + LONGEST_FOR_COMPANY);
                }
                return false;
            }
            let request = match self.request(model, &pack) {
                Ok(request) => request,
                Err(error) => {
                    pass.withdraw();
                    self.cannot_be_asked(pack, &error);
                    return true;
                }
            };
            let bytes = prompt_bytes(&request);
            let reservation = match self.reserve(model, &request, bytes) {
                Ok(reservation) => reservation,
                Err(why) => {
                    let is_over = why == NotReserved::Ever && self.in_flight.is_empty();
                    if is_over && pack.len() == 1 && self.can_set_aside(&pack) {
                        self.unaffordable.extend(pack);
                        (size, at_most) = usual;
                        continue;
                    }
                    let rows = pack.len();
                    self.queues[model].put_back(pack);
                    if is_over && rows > 1 {
                        // A pack of short rows may have more of them than its size, but not the same ones again.
                        (size, at_most) = (rows / 2, rows / 2);
                        continue;
                    }
                    // What is in flight will free the surplus of its reservation.
                    if is_over {
                        self.context.stop.request(StopReason::Budget);
                    } else if self.in_flight.is_empty() {
                        // It is another partition's, and nobody tells when it ends.
                        self.look_again_at(Instant::now() + OTHERS_WAIT);
                    }
                    pass.withdraw();
                    return false;
                }
            };
            let is_usual = pack[0].tried.cap == usize::MAX && 2 * pack.len() >= size;
            self.send(model, if is_usual { size } else { 0 }, pack, None, request, bytes, reservation, pass);
            return true;
        }
    }

    /// Whether a row that what is left of the budget cannot pay may wait, so that others are asked that it can.
    fn can_set_aside(&self, pack: &[Row]) -> bool {
        let bytes: usize = self.unaffordable.iter().chain(pack).map(|row| row.bytes).sum();
        !self.has_only_unaffordable && self.unaffordable.len() < UNAFFORDABLE_ROWS && bytes <= UNAFFORDABLE_BYTES
    }

    /// Once nothing else is left, rows that were set aside are tried once more, the smallest first: other requests may have cost
    /// less than was reserved for them. If that one still cannot be paid, the budget is used up.
    fn try_unaffordable_again(&mut self) -> bool {
        let is_nothing_else_left = !self.input_open && self.in_flight.is_empty() && self.canaries.is_empty();
        if self.unaffordable.is_empty() || !is_nothing_else_left || !self.queues.iter().all(Queue::is_empty) {
            return false;
        }
        self.has_only_unaffordable = true;
        let mut rows = std::mem::take(&mut self.unaffordable);
        rows.sort_by_key(|row| row.item.len());
        rows.into_iter().for_each(|row| self.queues[row.model].push_last(row));
        true
    }

    /// Sets aside the most that a request can cost. Its bytes bound its tokens; where that is too much for what is
    /// left of the budget, and the model's tokenizer is known, its tokens are counted.
    pub(super) fn reserve(&self, model: usize, request: &Request, bytes: usize) -> Result<Reservation, NotReserved> {
        let model = &self.models[model];
        if model.is_in_process() {
            return Ok(self.budget.nothing());
        }
        let price = model.price.as_ref();
        let reserve = |bound: CostBound| self.budget.reserve(&model.name, request.items.len(), bound.cost);
        reserve(CostBound::by_bytes(price, request, model.context, bytes)).or_else(|why| {
            let counted = CostBound::counted(price, request, model.context);
            counted.map_or(Err(why), reserve)
        })
    }

    /// A place in the model's lane; if there is none now, takes note of when to ask again.
    pub(super) fn enter(&mut self, model: usize, load: Load) -> Option<Pass> {
        match self.models[model].gate.enter(load) {
            Ok(pass) => {
                self.standings[model].blocked_until = None;
                Some(pass)
            }
            Err(again) => {
                // The lane counts in floats: a moment that it names may come out as the present one, for ever on a
                // clock that moves only when nothing else is left to do.
                let again = again.max(Instant::now() + SHORTEST_WAIT);
                self.standings[model].blocked_until = Some(again);
                self.look_again_at(again);
                None
            }
        }
    }

    /// Takes note that something may be done then.
    pub(super) fn look_again_at(&mut self, at: Instant) {
        self.again_at = Some(self.again_at.map_or(at, |again| again.min(at)));
    }

    /// The prompt cannot be rendered for these rows: halved, until it is known for which.
    fn cannot_be_asked(&mut self, pack: Vec<Row>, error: &Error) {
        let rows = pack.len();
        for mut row in pack {
            if rows > 1 {
                row.tried.cap = rows / 2;
                self.queues[row.model].push_again(row);
            } else {
                self.context.meter.reject(TEMPLATE);
                let model = row.model;
                self.finish(row, model, Err(Fault { retry: false, ..Fault::new(TEMPLATE, &error.to_string()) }));
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what a request needs, from four owners")]
    pub(super) fn send(
        &mut self,
        model: usize,
        size: usize,
        pack: Vec<Row>,
        canary: Option<Canary>,
        request: Request,
        prompt_bytes: usize,
        reservation: Reservation,
        pass: Pass,
    ) {
        let number = self.counter.0.fetch_add(1, Relaxed);
        let begun = Begun {
            attempt_id: format!("{}-{number:08}", self.context.run.id),
            run_id: self.context.run.id.to_string(),
            model: self.models[model].name.to_string(),
            provider: self.models[model].provider_name.to_string(),
            keys: pack.iter().map(|row| row.key.to_string()).collect(),
            questions: pack.iter().map(|row| row.question).collect(),
            started_at: now_micros(),
            reserved: reservation.amount(),
        };
        let output = self.expected_load(model, pack.len()).output;
        pass.amend(Load { tokens: self.models[model].tokens.of_prompt(prompt_bytes) + output, output });
        let progress = Arc::new(Progress::default());
        let meter = &self.context.meter;
        meter.add(|meter| &meter.sent, 1);
        meter.add(|meter| &meter.rows_sent, pack.len() as u64);
        meter.add(|meter| &meter.retried, u64::from(pack.iter().any(|row| row.tried.tries > 0 || row.model > 0)));
        meter.set_reserved(self.budget.reserved());
        meter.set_limit(self.models[model].gate.level().0 as u64);
        let question = Question {
            model: Arc::clone(&self.models[model]),
            meter: Arc::clone(meter),
            rows_in_force: self.sizes[model].now(),
            tries: pack.iter().map(|row| row.tried.tries).max().unwrap_or(0),
            request,
            prompt_bytes,
            begun,
            reservation,
            pass,
            progress: Arc::clone(&progress),
            journal: Arc::clone(&self.context.run.journal),
            acceptance: Arc::clone(&self.judges),
            is_canary: canary.is_some(),
            is_walled: self.standings[model].is_walled(self.has_worked || !self.context.run.answered.is_empty()),
        };
        // A canary that is late holds up its own row alone.
        let hedged = canary.is_some();
        self.flying
            .insert(number, Flying { model, size, rows: pack, output, hedged, canary, progress, answers: self.standings[model].answers });
        self.in_flight.spawn(async move { Landing { number, asked: ask(question).await } });
    }
}
