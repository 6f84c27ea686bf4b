//! The desk: the loop that takes rows in, lets packs leave when a slot is free, and hands rows out.
//!
//! Everything is decided in one task, so there is no lock around the queues; requests run in tasks of their
//! own, so that reading and judging answers uses every core.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use minijinja::value::Value;
use minijinja::{Environment, context};
use promptmill_core::{AnswerShape, BatchStream, Begun, Error, Fingerprint, Past, Result, Stage, StageContext, StopReason, columns};
use promptmill_llm::lane::rows::{PackResult, Rows};
use promptmill_llm::lane::{Bounds, Load, Pass};
use promptmill_llm::{Budget, Class, Item, Model, Models, Request, Reservation, Tokens, row_id};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::ask::{Asked, Progress, Question, Rules, ask, counted_worst_case, judge_again, now_micros, prompt_bytes, worst_case};
use super::canary::Canary;
use super::queue::Queue;
use super::race::{Finished, Races};
use super::row::{Answer, Bill, Done, Fault, Rejections, Row, to_batch};
use super::{Llm, pack_plan};
use crate::prompt_pack::{PackPlan, environment};

/// Rows that leave together, at the most …
const OUTPUT_ROWS: usize = 1024;
/// … and how long an answered row waits for others.
const OUTPUT_WAIT: Duration = Duration::from_millis(200);
/// Rows taken in beyond those that could leave at once, so that a slot never waits for the source.
const ROWS_AHEAD: usize = 1024;
/// A request may take this much more than its rows' tokens, for the JSON around them.
pub(super) const ENVELOPE_TOKENS: usize = 64;
/// Of a prompt without its items, for estimates.
const PROMPT_BYTES: usize = 1024;
/// Around each item stand its id and its quotes.
const AROUND_ITEM: usize = 80;
/// The share of the context that is used: estimates are not exact.
const USE_OF_CONTEXT: f64 = 0.9;
/// From this share of the context on, tokens are counted and not estimated.
const NEAR: f64 = 0.7;
/// Malformed requests in a row, without a success, after which the mistake is ours and not a row's.
const BAD_REQUESTS: u32 = 3;
/// A provider without capacity does not have it back at once.
const NO_CAPACITY_PAUSE: Duration = Duration::from_secs(5);
/// Between two questions whether a request may leave, at the least: what timers can tell apart.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);
/// Backoff after a fault, and after a refusal that names no time: doubled per try up to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Requests that have left and are not yet written down: so many for each that may be in flight, and some.
const TASKS_PER_PLACE: usize = 2;
/// See [`TASKS_PER_PLACE`].
const TASKS_AHEAD: usize = 64;
/// Weight of an item in the mean length of items.
const ITEM_WEIGHT: f64 = 0.01;
/// A request is late when this share of answers of its size has come sooner.
const LATE: f64 = 0.95;
/// … and slow when this share has.
const SLOW: f64 = 0.75;
/// Rows in each part of a late request that is asked again, at the least: parts are answered sooner than the whole.
const HEDGE_ROWS: usize = 4;
/// A request that waits for the journal is looked at again after this long: nobody tells when it leaves.
const UNTIL_IT_HAS_LEFT: Duration = Duration::from_millis(200);
/// Of the tokens of a minute: a larger request would hold up all others.
const USE_OF_MINUTE: f64 = 0.25;

/// Numbers the attempts of a process.
#[derive(Debug, Default)]
struct Counter(AtomicU64);

/// The stream of answered rows.
pub(super) fn open(stage: Arc<Llm>, input: BatchStream, context: StageContext) -> BoxStream<'static, Result<RecordBatch>> {
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        let result = match Desk::open(stage, context) {
            Ok(desk) => desk.run(input, &sender).await,
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            // Nobody listens any more if this fails: the run has ended already.
            let _ = sender.send(Err(error)).await;
        }
    });
    stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|batch| (batch, receiver)) }).boxed()
}

#[derive(Debug)]
struct Desk {
    stage: Arc<Llm>,
    context: StageContext,
    models: Vec<Arc<Model>>,
    /// One of each per model of the chain.
    queues: Vec<Queue>,
    sizes: Vec<Rows>,
    budget: Arc<Budget>,
    counter: Arc<Counter>,
    in_flight: JoinSet<Landing>,
    /// In the order they left.
    flying: BTreeMap<u64, Flying>,
    races: Races,
    /// Rows that were asked a second time because their request was late.
    hedged_rows: usize,
    /// Rows that have their verdict and are to be asked once more alone.
    canaries: VecDeque<Canary>,
    /// Mean bytes of an item: packs are measured in tokens, the number of rows is only their usual size.
    item_bytes: f64,
    /// What is being asked, with the rows that ask the very same and wait for the first one's answer.
    asking_now: HashMap<Fingerprint, Vec<Row>>,
    done: Vec<Done>,
    done_since: Option<Instant>,
    input_open: bool,
    /// For the waits of rows that are asked again.
    dice: StdRng,
    /// When a lane lets the next request leave, where it says so.
    again_at: Option<Instant>,
    bad_requests: u32,
    /// Known from the first batch on.
    asking: Option<Asking>,
}

/// How to ask, as `prompt-pack` left it.
#[derive(Debug)]
struct Asking {
    system: Option<Arc<str>>,
    prompt: Prompt,
    shape: Arc<AnswerShape>,
    rows: (usize, usize, usize),
    output: SchemaRef,
}

/// A request in flight.
#[derive(Debug)]
struct Flying {
    model: usize,
    /// The number of rows in force when it was cut; 0 if something else decided: suspects, hedges, the last rows.
    size: usize,
    rows: Vec<Row>,
    /// Expected tokens of the answer.
    output: u64,
    hedged: bool,
    /// The row as it was before, where this is about a canary.
    canary: Option<Canary>,
    progress: Arc<Progress>,
}

#[derive(Debug)]
struct Landing {
    number: u64,
    asked: Result<Asked>,
}

impl Desk {
    fn open(stage: Arc<Llm>, context: StageContext) -> Result<Self> {
        let shared = context.extensions.get_or_init(Models::default);
        let bounds = Bounds { start: stage.concurrency.start, min: stage.concurrency.min, max: stage.concurrency.max };
        let models = std::iter::once(&stage.model)
            .chain(&stage.fallback)
            .map(|name| shared.open(&context.pipeline, name, bounds).map(Arc::new))
            .collect::<Result<Vec<_>>>()?;
        let spent = context.journal.spent();
        Ok(Self {
            queues: models.iter().map(|_| Queue::default()).collect(),
            sizes: Vec::new(),
            budget: context.extensions.get_or_init(|| Budget::new(context.budget, spent)),
            counter: context.extensions.get_or_init(Counter::default),
            models,
            dice: StdRng::seed_from_u64(shared.seed()),
            stage,
            context,
            in_flight: JoinSet::new(),
            flying: BTreeMap::new(),
            races: Races::default(),
            hedged_rows: 0,
            canaries: VecDeque::new(),
            item_bytes: 0.0,
            asking_now: HashMap::new(),
            done: Vec::new(),
            done_since: None,
            input_open: true,
            again_at: None,
            bad_requests: 0,
            asking: None,
        })
    }

    async fn run(mut self, mut input: BatchStream, output: &mpsc::Sender<Result<RecordBatch>>) -> Result<()> {
        loop {
            let stopping = self.context.stop.is_requested() || output.is_closed();
            if stopping {
                std::mem::take(&mut self.canaries).into_iter().for_each(|canary| self.let_go(canary));
            } else {
                self.launch()?;
            }
            let flush_at = self.done_since.map(|since| since + OUTPUT_WAIT);
            if self.done.len() >= OUTPUT_ROWS || flush_at.is_some_and(|at| at <= Instant::now()) {
                self.flush(output).await?;
                continue;
            }
            let idle = self.in_flight.is_empty();
            if idle && (stopping || (!self.input_open && self.canaries.is_empty() && self.queues.iter().all(Queue::is_empty))) {
                break;
            }
            let wants_rows = self.input_open && !stopping && self.queues[0].fresh() < self.rows_wanted();
            let wake_at = [flush_at, self.again_at.filter(|_| !stopping), self.queues.iter().filter_map(Queue::next_wake).min()]
                .into_iter()
                .flatten()
                .min();
            tokio::select! {
                // What is here counts before what is to come; and nothing is left to chance, so that a test is the same
                // every time.
                biased;
                () = self.context.stop.requested(), if !stopping => {}
                Some(landing) = self.in_flight.join_next(), if !idle => {
                    self.land(landing)?;
                    while let Some(landing) = self.in_flight.try_join_next() {
                        self.land(landing)?;
                    }
                }
                batch = input.try_next(), if wants_rows => match batch? {
                    Some(batch) => self.arrive(&batch).await?,
                    None => self.input_open = false,
                },
                () = tokio::time::sleep_until(wake_at.unwrap_or_else(Instant::now)), if wake_at.is_some() => {}
                // Somebody else's request has landed in a lane that we share.
                () = self.models[0].gate.landed(), if idle && !stopping => {}
            }
        }
        self.flush(output).await
    }

    /// Rows to have at hand: enough for every free slot, and some.
    fn rows_wanted(&self) -> usize {
        let (limit, in_flight) = self.models[0].gate.level();
        let size = self.sizes.first().map_or(1, Rows::now);
        (limit.saturating_sub(in_flight) + 1) * size + ROWS_AHEAD
    }

    /// Takes in a batch of questions; those that the journal can answer leave at once.
    async fn arrive(&mut self, batch: &RecordBatch) -> Result<()> {
        if self.asking.is_none() {
            self.asking = Some(Asking::new(&self.stage, &batch.schema())?);
            let (start, min, max) = self.asking()?.rows;
            self.sizes = self.models.iter().map(|_| Rows::new(start, min, max)).collect();
        }
        let text = |name| {
            let array = batch.column_by_name(name).and_then(|array| array.as_string_opt::<i32>());
            array.ok_or_else(|| Error::failed(format!("column `{name}` is not in the plan")))
        };
        let (keys, items) = (text(columns::KEY)?, text(columns::ITEM)?);
        let questions = batch
            .column_by_name(columns::QUESTION)
            .and_then(|array| array.as_fixed_size_binary_opt())
            .ok_or_else(|| Error::failed(format!("column `{}` is not in the plan", columns::QUESTION)))?;
        let kept: Vec<usize> =
            batch.schema().fields().iter().enumerate().filter(|(_, field)| field.name() != columns::ITEM).map(|(index, _)| index).collect();
        let rest = Arc::new(batch.project(&kept)?);
        let questions: Vec<Fingerprint> = questions
            .iter()
            .map(|question| question.and_then(|question| question.try_into().ok()).map(Fingerprint::from_bytes))
            .collect::<Option<_>>()
            .ok_or_else(|| Error::failed("a question is not 16 bytes long"))?;
        let rows: Vec<(&str, Fingerprint)> = questions.iter().enumerate().map(|(index, question)| (keys.value(index), *question)).collect();
        let pasts = self.context.journal.past(&rows).await?;
        for (index, (question, past)) in questions.into_iter().zip(pasts).enumerate() {
            let mut row = Row {
                batch: Arc::clone(&rest),
                index,
                key: keys.value(index).into(),
                item: items.value(index).into(),
                question,
                model: 0,
                tries: 0,
                cap: usize::MAX,
                bill: Bill::default(),
                fault: None,
                rejections: Rejections::default(),
                racing: false,
            };
            let weight = if self.item_bytes == 0.0 { 1.0 } else { ITEM_WEIGHT };
            self.item_bytes += weight * (row.item.len() as f64 - self.item_bytes);
            match self.recall(&mut row, &past) {
                Some((model, answer)) => {
                    self.context.meter.add(|meter| &meter.from_journal, 1);
                    self.finish(row, model, Ok(answer));
                }
                None if self.context.asks => self.wait(row),
                None => self.give_up_settled(row, &past)?,
            }
        }
        Ok(())
    }

    /// A row that has to be asked waits for its turn; or for another row, if that asks the very same.
    fn wait(&mut self, row: Row) {
        match self.asking_now.entry(row.question) {
            Entry::Occupied(mut others) => others.get_mut().push(row),
            Entry::Vacant(first) => {
                first.insert(Vec::new());
                self.queues[0].push_back(row);
            }
        }
    }

    /// Where nothing may be asked: a row that was settled by an answer which is turned away now has none any more. One
    /// that was never settled stays what it is.
    fn give_up_settled(&mut self, mut row: Row, past: &[Past]) -> Result<()> {
        let Some(fault) = row.fault.take() else { return Ok(()) };
        if self.context.answered.contains(&row.key, row.question)? {
            let last = past.iter().rev().find_map(|past| self.models.iter().position(|model| *model.name == *past.attempt.begun.model));
            self.context.meter.reject(&fault.reason);
            self.finish(row, last.unwrap_or(0), Err(fault));
        }
        Ok(())
    }

    /// Charges a row for what was asked about it earlier, and finds an answer that is acceptable now.
    fn recall(&self, row: &mut Row, past: &[Past]) -> Option<(usize, Answer)> {
        let asking = self.asking.as_ref()?;
        let prompt = match &asking.prompt {
            Prompt::Same(prompt) => Some(prompt.as_str()),
            Prompt::Template(_) => None,
        };
        let instructions: Vec<&str> = asking.system.as_deref().into_iter().chain(prompt).collect();
        let rules =
            Rules { shape: &asking.shape, acceptance: &self.context.acceptance, instructions: &instructions, meter: &self.context.meter };
        let mut found = None;
        for Past { attempt, position, is_own, is_same_question } in past {
            if *is_own {
                let is_limit = [Class::RateLimited.name(), Class::NoCapacity.name()].contains(&attempt.status.as_str());
                row.bill.add(attempt, *position, is_limit);
            }
            let model = self.models.iter().position(|model| *model.name == *attempt.begun.model);
            let Some(model) = model.filter(|_| found.is_none() && *is_same_question) else { continue };
            match judge_again(&self.models[model], attempt, *position, &row.item, rules) {
                Some(Ok(answer)) => found = Some((model, answer)),
                Some(Err(fault)) => {
                    row.rejections.note(&fault);
                    row.fault = Some(fault);
                }
                None => {}
            }
        }
        found
    }

    /// Lets every pack leave that can.
    fn launch(&mut self) -> Result<()> {
        let now = Instant::now();
        self.again_at = None;
        // They go first: a row that waits for its canary is not handed out.
        while self.launch_canary()? {}
        for model in 0..self.models.len() {
            self.queues[model].wake(now);
            while self.launch_one(model)? {}
        }
        self.hedge(now)
    }

    /// Whether there are as many requests as may be. Responses that wait for the disk hold no place at the provider, but
    /// they hold memory.
    fn is_full(&self, model: usize) -> bool {
        self.in_flight.len() >= TASKS_PER_PLACE * self.models[model].gate.level().0 + TASKS_AHEAD
    }

    /// Asks the next canary alone. Where the budget has no room for it, it is let go: no row is to be lost for a check.
    fn launch_canary(&mut self) -> Result<bool> {
        let Some(model) = self.canaries.front().map(|canary| canary.model).filter(|model| !self.is_full(*model)) else { return Ok(false) };
        let Some(pass) = self.enter(model, self.expected_load(model, 1)) else { return Ok(false) };
        let Some(canary) = self.canaries.pop_front() else { return Ok(false) };
        let pack = vec![canary.alone()];
        let request = self.request(model, &pack)?;
        let bytes = prompt_bytes(&request);
        match self.reserve(model, &request, bytes) {
            Some(reservation) => self.send(model, 0, pack, Some(canary), request, bytes, reservation, pass),
            None => {
                pass.withdraw();
                self.let_go(canary);
            }
        }
        Ok(true)
    }

    /// Sets what a canary was told alone beside what came of its pack.
    fn land_canary(&mut self, mut canary: Canary, asked: &Asked) -> Result<()> {
        let class = asked.error.as_ref().map(|(class, _)| *class);
        canary.row.bill.add(&asked.attempt, 0, class.is_some_and(Class::is_limit));
        let shape = Arc::clone(&self.asking()?.shape);
        self.context.meter.canary(|canaries| {
            canaries.asked += 1;
            canaries.cost += asked.spent;
            match asked.verdicts.first().filter(|_| class.is_none()) {
                Some(alone) => canary.compare(alone, &shape, canaries),
                None => canaries.failed += 1,
            }
        });
        self.let_go(canary);
        Ok(())
    }

    /// A canary goes where the verdict of its pack sends it.
    fn let_go(&mut self, canary: Canary) {
        let Canary { row, model, place, packed } = canary;
        match packed {
            Ok(answer) => self.finish(row, model, Ok(answer)),
            Err(fault) => self.again(row, place.1, fault, None, None),
        }
    }

    fn launch_one(&mut self, model: usize) -> Result<bool> {
        if self.queues[model].awake() == 0 || self.is_full(model) {
            return Ok(false);
        }
        let mut size = self.size(model);
        // The place comes first: a pack that cannot leave need not be made.
        let Some(pass) = self.enter(model, self.expected_load(model, size)) else { return Ok(false) };
        loop {
            let pack = self.take_pack(model, size);
            if pack.is_empty() {
                pass.withdraw();
                return Ok(false);
            }
            let request = self.request(model, &pack)?;
            let bytes = prompt_bytes(&request);
            let Some(reservation) = self.reserve(model, &request, bytes) else {
                let rows = pack.len();
                self.queues[model].put_back(pack);
                // What is in flight will free the surplus of its reservation.
                if self.in_flight.is_empty() && rows > 1 {
                    size = rows / 2;
                    continue;
                }
                if self.in_flight.is_empty() {
                    self.context.stop.request(StopReason::Budget);
                }
                pass.withdraw();
                return Ok(false);
            };
            let usual = pack[0].cap == usize::MAX && 2 * pack.len() >= size;
            self.send(model, if usual { size } else { 0 }, pack, None, request, bytes, reservation, pass);
            return Ok(true);
        }
    }

    /// Sets aside the most that a request can cost. Its bytes bound its tokens; where that is too much for what is
    /// left of the budget, and the model's tokenizer is known, its tokens are counted.
    fn reserve(&self, model: usize, request: &Request, bytes: usize) -> Option<Reservation> {
        let price = self.models[model].price;
        let by_bytes = self.budget.reserve(worst_case(price, request, bytes));
        by_bytes.or_else(|| self.budget.reserve(counted_worst_case(price, request)?))
    }

    /// A place in the model's lane; if there is none now, takes note of when to ask again.
    fn enter(&mut self, model: usize, load: Load) -> Option<Pass> {
        match self.models[model].gate.enter(load) {
            Ok(pass) => Some(pass),
            Err(again) => {
                // The lane counts in floats: a moment that it names may come out as the present one, for ever on a
                // clock that moves only when nothing else is left to do.
                let again = again.max(Instant::now() + SHORTEST_WAIT);
                self.again_at = Some(self.again_at.map_or(again, |at| at.min(again)));
                None
            }
        }
    }

    /// At the end, when slots are free and nothing waits: asks again what is late, in smaller parts.
    fn hedge(&mut self, now: Instant) -> Result<()> {
        if self.input_open || self.flying.is_empty() || !self.queues.iter().all(Queue::is_empty) {
            return Ok(());
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
            let at = now + UNTIL_IT_HAS_LEFT;
            self.again_at = Some(self.again_at.map_or(at, |again| again.min(at)));
        }
        late.sort_unstable();
        for (at, number) in late {
            if self.hedged_rows + self.flying[&number].rows.len() > allowed {
                break;
            }
            if at > now {
                self.again_at = Some(self.again_at.map_or(at, |again| again.min(at)));
                break;
            }
            let model = self.flying[&number].model;
            let (limit, in_flight) = self.models[model].gate.level();
            if limit <= in_flight || !self.models[model].gate.is_calm() {
                break;
            }
            self.ask_again(number, limit - in_flight)?;
        }
        Ok(())
    }

    /// Asks about the rows of a late request once more, in as many parts as there are free slots.
    fn ask_again(&mut self, number: u64, free: usize) -> Result<()> {
        let Some(flying) = self.flying.get_mut(&number) else { return Ok(()) };
        flying.hedged = true;
        let model = flying.model;
        let parts = flying.rows.len().div_ceil(HEDGE_ROWS).min(free).max(1);
        let size = flying.rows.len().div_ceil(parts);
        let mut begin = 0;
        while begin < self.flying[&number].rows.len() {
            let end = (begin + size).min(self.flying[&number].rows.len());
            let Some(pass) = self.enter(model, self.expected_load(model, end - begin)) else { break };
            let pack = self.flying[&number].rows[begin..end].to_vec();
            let request = self.request(model, &pack)?;
            let bytes = prompt_bytes(&request);
            let Some(reservation) = self.reserve(model, &request, bytes) else {
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
        Ok(())
    }

    /// When every row has its answer and only the cost of late requests is unknown, nobody waits for them.
    fn give_up_the_late(&self) {
        if self.races.is_empty() || self.input_open || !self.queues.iter().all(Queue::is_empty) {
            return;
        }
        let won = |row: &Row| row.racing && self.races.is_won(row.id());
        if self.flying.values().all(|flying| flying.rows.iter().all(won)) {
            self.flying.values().for_each(|flying| flying.progress.given_up.notify_one());
        }
    }

    /// Rows for the next pack. At the end of the input the last rows are spread over all free slots.
    fn size(&self, model: usize) -> usize {
        let rows = &self.sizes[model];
        let size = rows.within(self.models[model].tokens.high_per_row());
        if self.input_open || rows.is_fixed() {
            return size;
        }
        let (limit, in_flight) = self.models[model].gate.level();
        let free = limit.saturating_sub(in_flight).max(1);
        size.min(self.queues[model].awake().div_ceil(free)).max(1)
    }

    /// What a request of so many rows is expected to weigh.
    fn expected_load(&self, model: usize, rows: usize) -> Load {
        let tokens = &self.models[model].tokens;
        let output = tokens.of_rows(rows).min(u64::from(self.stage.max_tokens_per_row) * rows as u64);
        let prompt = PROMPT_BYTES + rows * (self.item_bytes as usize + AROUND_ITEM);
        Load { tokens: tokens.of_prompt(prompt) + output, output }
    }

    /// Takes the next pack: rows until their tokens are what so many usual rows have.
    fn take_pack(&mut self, model: usize, size: usize) -> Vec<Row> {
        let (tokens, name) = (&self.models[model].tokens, Arc::clone(&self.models[model].model));
        let rows = &self.sizes[model];
        let per_row = u64::from(self.stage.max_tokens_per_row);
        let context = self.models[model].context.map_or(u64::MAX, |context| (f64::from(context) * USE_OF_CONTEXT) as u64);
        let minute = self.models[model].gate.reading().tpm.map_or(u64::MAX, |tpm| (USE_OF_MINUTE * tpm) as u64);
        let target = (size as f64 * (self.item_bytes + AROUND_ITEM as f64)) as usize;
        let most = if rows.is_fixed() { size } else { (2 * size).min(rows.most()) };
        let (mut used, mut bytes) = (tokens.of_prompt(PROMPT_BYTES) + ENVELOPE_TOKENS as u64, 0);
        let partly = !self.input_open;
        self.queues[model].take(size, most, partly, |row| {
            let weight = row.item.len() + AROUND_ITEM;
            bytes += weight;
            // Near the end of the context an estimate is not enough, where there is better.
            let near = used as f64 > NEAR * context as f64;
            let counted = near.then(|| Tokens::counted(&name, &row.item)).flatten().map(|counted| counted + AROUND_ITEM as u64 / 2);
            // Why a row is asked again takes room, but makes it no more than one row to answer.
            let told = row.rejections.words().map_or(0, |words| tokens.of_prompt(words.len() + AROUND_ITEM));
            used += per_row + told + counted.unwrap_or_else(|| tokens.of_prompt(weight));
            // To the nearest row: in the mean a pack has as many as are in force.
            used <= context && (rows.is_fixed() || (bytes <= target + weight / 2 && used <= minute))
        })
    }

    fn request(&self, model: usize, pack: &[Row]) -> Result<Request> {
        let asking = self.asking()?;
        let item =
            |(position, row): (usize, &Row)| Item { id: row_id(position), text: Arc::clone(&row.item), rejected: row.rejections.words() };
        let items: Vec<Item> = pack.iter().enumerate().map(item).collect();
        let prompt = asking.prompt.of(&items)?;
        let tokens = self.stage.max_tokens_per_row as usize * pack.len() + ENVELOPE_TOKENS;
        let model = &self.models[model];
        Ok(Request {
            model: Arc::clone(&model.model),
            system: asking.system.clone(),
            prompt,
            items,
            shape: Arc::clone(&asking.shape),
            structured: model.structured,
            max_tokens: Some(u32::try_from(tokens).unwrap_or(u32::MAX)),
            temperature: self.stage.temperature,
            extra_body: Arc::clone(&model.extra_body),
            timeout: self.stage.timeout.0,
        })
    }

    #[expect(clippy::too_many_arguments, reason = "what a request needs, from four owners")]
    fn send(
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
            attempt_id: format!("{}-{number:08}", self.context.run_id),
            run_id: self.context.run_id.to_string(),
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
        meter.add(|meter| &meter.retried, u64::from(pack.iter().any(|row| row.tries > 0 || row.model > 0)));
        meter.set_reserved(self.budget.reserved());
        meter.set_limit(self.models[model].gate.level().0 as u64);
        let question = Question {
            model: Arc::clone(&self.models[model]),
            meter: Arc::clone(meter),
            rows_in_force: self.sizes[model].now(),
            tries: pack.iter().map(|row| row.tries).max().unwrap_or(0),
            request,
            prompt_bytes,
            begun,
            reservation,
            pass,
            progress: Arc::clone(&progress),
            journal: Arc::clone(&self.context.journal),
            acceptance: Arc::clone(&self.context.acceptance),
            is_canary: canary.is_some(),
        };
        // A canary that is late holds up its own row alone.
        let hedged = canary.is_some();
        self.flying.insert(number, Flying { model, size, rows: pack, output, hedged, canary, progress });
        self.in_flight.spawn(async move { Landing { number, asked: ask(question).await } });
    }

    fn land(&mut self, landing: Result<Landing, JoinError>) -> Result<()> {
        let Landing { number, asked } = landing.map_err(|error| Error::failed("a request ended in a panic").because(error))?;
        let asked = asked?;
        let Some(Flying { model, size, rows, canary, .. }) = self.flying.remove(&number) else {
            return Err(Error::failed("a response came to a request that was never sent"));
        };
        let class = asked.error.as_ref().map(|(class, _)| *class);
        self.count(&asked, class, canary.is_some());
        if canary.is_none() && (class.is_none() || class == Some(Class::Malformed)) {
            self.sizes[model].observe(PackResult {
                size,
                rows: rows.len(),
                bad_rows: asked.bad_rows,
                broken: asked.broken,
                cost: Some(asked.spent.nano() as f64),
            });
        }
        if class.is_some_and(|class| class.wants_split() && class != Class::Filtered) && rows.len() > 1 {
            self.sizes[model].too_long(rows.len());
        }
        if let Some(tokens) = asked.cut_off_at {
            self.sizes[model].cut_off(tokens);
        }
        if let (None, false, Some(usage)) = (class, asked.broken, asked.attempt.usage) {
            self.sizes[model].whole(usage.output_tokens);
        }
        match &asked.error {
            Some((class, message)) if class.is_fatal() => {
                self.context.stop.request(StopReason::Fatal { message: self.fatal(model, message), hint: self.fatal_hint(model, *class) });
            }
            Some((Class::BadRequest, message)) => {
                self.bad_requests += 1;
                if self.bad_requests >= BAD_REQUESTS {
                    let hint = "see `promptmill sql PIPELINE \"SELECT error, raw_response FROM attempts\"`; a model that takes no schema needs `structured = \"json_object\"` or \"text\"";
                    self.context.stop.request(StopReason::Fatal { message: self.fatal(model, message), hint: Some(hint.to_owned()) });
                }
            }
            None => self.bad_requests = 0,
            Some(_) => {}
        }
        if let Some(canary) = canary {
            return self.land_canary(canary, &asked);
        }
        let pack = rows.len();
        for (position, (mut row, verdict)) in rows.into_iter().zip(asked.verdicts).enumerate() {
            let is_limit = class.is_some_and(Class::is_limit);
            if row.racing {
                match self.races.land(row, model, &asked.attempt, position, is_limit, &verdict) {
                    None => {}
                    Some(Finished { row, answer: Some((model, answer)) }) => self.finish(row, model, Ok(answer)),
                    Some(Finished { row, answer: None }) => {
                        let fault = verdict.err().unwrap_or_else(|| Fault::new("superseded", "no request about it was answered"));
                        self.again(row, pack, fault, class, asked.retry_after);
                    }
                }
                continue;
            }
            row.bill.add(&asked.attempt, position, is_limit);
            if class.is_none() && self.is_canary(&row, pack) {
                self.canaries.push_back(Canary { row, model, place: (position, pack), packed: verdict });
                continue;
            }
            match verdict {
                Ok(answer) => self.finish(row, model, Ok(answer)),
                Err(fault) => self.again(row, pack, fault, class, asked.retry_after),
            }
        }
        self.give_up_the_late();
        Ok(())
    }

    /// Whether a row that has been answered in a pack is to be asked alone, too: once, whatever the answer was.
    fn is_canary(&self, row: &Row, pack: usize) -> bool {
        pack > 1 && row.bill.is_of_the_first_attempt() && Canary::is_drawn(row.question, self.stage.canary)
    }

    fn count(&self, asked: &Asked, class: Option<Class>, is_canary: bool) {
        let meter = &self.context.meter;
        match class {
            None => meter.add(|meter| &meter.ok, 1),
            Some(class) if class.is_limit() => meter.add(|meter| &meter.rate_limited, 1),
            Some(_) => meter.add(|meter| &meter.failed, 1),
        }
        meter.spend(asked.attempt.usage.unwrap_or_default(), asked.spent);
        meter.set_reserved(self.budget.reserved());
        if class.is_none() && !is_canary {
            asked.verdicts.iter().filter_map(|verdict| verdict.as_ref().err()).for_each(|fault| meter.reject(&fault.reason));
        }
    }

    /// What becomes of a row that got no answer.
    fn again(&mut self, mut row: Row, pack: usize, fault: Fault, class: Option<Class>, retry_after: Option<Duration>) {
        let now = Instant::now();
        row.rejections.note(&fault);
        match class {
            Some(class) if class.is_fatal() => return self.queues[row.model].push_again(row),
            Some(class) if class.is_limit() => {
                let least = if class == Class::NoCapacity { NO_CAPACITY_PAUSE } else { Duration::ZERO };
                let wait = retry_after.unwrap_or_else(|| self.backoff(0)).max(least);
                return self.queues[row.model].sleep(row, now + wait);
            }
            Some(class) if class.wants_split() && pack > 1 => {
                row.cap = pack / 2;
                row.fault = Some(fault);
                return self.queues[row.model].push_again(row);
            }
            // A model that refuses may change its mind, once; a length does not.
            Some(Class::Filtered) => row.tries += self.stage.attempts.div_ceil(2),
            Some(class) if class.wants_split() => row.tries = self.stage.attempts,
            // While the server is down, no row is to blame.
            Some(Class::Unreachable | Class::Overloaded | Class::Timeout) if self.models[row.model].gate.reading().down => {
                let wait = self.backoff(row.tries);
                row.fault = Some(fault);
                return self.queues[row.model].sleep(row, now + wait);
            }
            _ => row.tries += 1,
        }
        let retry = fault.retry;
        row.fault = Some(Fault { text: fault.text.clone().or_else(|| row.fault.take().and_then(|earlier| earlier.text)), ..fault.clone() });
        if !retry {
            let model = row.model;
            let fault = row.fault.take().unwrap_or(fault);
            return self.finish(row, model, Err(fault));
        }
        if row.tries >= self.stage.attempts {
            if row.model + 1 == self.models.len() {
                let model = row.model;
                let fault = row.fault.take().unwrap_or(fault);
                return self.finish(row, model, Err(fault));
            }
            row.model += 1;
            row.tries = 0;
            row.cap = usize::MAX;
            return self.queues[row.model].push_back(row);
        }
        // Twice is no accident: from then on in smaller company, and alone the last time.
        if row.tries + 1 == self.stage.attempts {
            row.cap = 1;
        } else if row.tries > 1 && !matches!(class, Some(Class::Unreachable | Class::Overloaded | Class::Timeout)) {
            row.cap = (pack / 2).max(1);
        }
        match class {
            Some(Class::Unreachable | Class::Overloaded | Class::Timeout) => {
                let wait = self.backoff(row.tries);
                self.queues[row.model].sleep(row, now + wait);
            }
            _ => self.queues[row.model].push_again(row),
        }
    }

    /// Full jitter: a random wait up to the doubled step, so that rows which failed together do not return together.
    fn backoff(&mut self, tries: u32) -> Duration {
        let (first, longest) = BACKOFF;
        first.saturating_mul(1 << tries.min(10)).min(longest).mul_f64(self.dice.random_range(0.1..1.0))
    }

    /// A row leaves, and with it those that asked the very same and waited for it: what it cost is its own.
    fn finish(&mut self, row: Row, model: usize, result: Result<Answer, Fault>) {
        let others = self.asking_now.remove(&row.question).unwrap_or_default();
        let count = 1 + others.len() as u64;
        match &result {
            Ok(_) => self.context.meter.add(|meter| &meter.answered, count),
            Err(_) => self.context.meter.add(|meter| &meter.dead_letters, count),
        }
        self.done_since.get_or_insert_with(Instant::now);
        let name = &self.models[model].name;
        for other in others {
            self.done.push(Done { row: other, model: Arc::clone(name), result: result.clone() });
        }
        self.done.push(Done { row, model: Arc::clone(name), result });
    }

    /// Hands the finished rows out.
    async fn flush(&mut self, output: &mpsc::Sender<Result<RecordBatch>>) -> Result<()> {
        self.done_since = None;
        if self.done.is_empty() {
            return Ok(());
        }
        let done = std::mem::take(&mut self.done);
        let asking = self.asking()?;
        for rows in done.chunks(OUTPUT_ROWS) {
            // A consumer that has gone has nothing to lose: the journal has every answer.
            let _ = output.send(to_batch(rows, &asking.shape, &asking.output)).await;
        }
        Ok(())
    }

    fn asking(&self) -> Result<&Asking> {
        self.asking.as_ref().ok_or_else(|| Error::failed("rows were asked for before the first batch"))
    }

    fn fatal(&self, model: usize, message: &str) -> String {
        let model = &self.models[model];
        format!("provider `{}` turned model `{}` away: {message}", model.provider_name, model.name)
    }

    fn fatal_hint(&self, model: usize, class: Class) -> Option<String> {
        let provider = self.context.pipeline.providers.get(&*self.models[model].provider_name)?;
        Some(match (class, &provider.api_key_env) {
            (Class::Auth, Some(variable)) => format!("check the key in `{variable}`"),
            (Class::Auth, None) => "name the variable that holds the key with `api_key_env`".to_owned(),
            (Class::ModelMissing, _) => format!("check `models.{}.model`", self.models[model].name),
            (Class::MoneyGone, _) => "add credit at the provider; what was paid is kept, and `run` carries on from there".to_owned(),
            _ => format!("check what the key may do at {}", provider.base_url),
        })
    }
}

impl Asking {
    fn new(stage: &Llm, input: &SchemaRef) -> Result<Self> {
        let output = stage.schema(input).map_err(|mistakes| Error::failed(mistakes[0].message.clone()))?;
        let PackPlan { system, prompt, rows, shape } =
            pack_plan(input).ok_or_else(|| Error::failed("the rows have passed no `prompt-pack`"))?;
        Ok(Self { system: system.map(Into::into), prompt: Prompt::new(prompt)?, shape: Arc::new(shape), rows, output })
    }
}

/// What is asked of each pack.
#[derive(Debug)]
enum Prompt {
    /// The same of every pack: the usual case, and nothing to render.
    Same(String),
    /// A template that names something of the pack.
    Template(Box<Environment<'static>>),
}

impl Prompt {
    fn new(source: String) -> Result<Self> {
        let failed = |error| Error::failed("the template `prompt` cannot be used").because(error);
        let mut environment = environment();
        environment.add_template_owned("prompt", source).map_err(failed)?;
        let template = environment.get_template("prompt").map_err(failed)?;
        if template.undeclared_variables(false).is_empty() {
            return template.render(()).map(Self::Same).map_err(failed);
        }
        Ok(Self::Template(Box::new(environment)))
    }

    fn of(&self, items: &[Item]) -> Result<String> {
        let environment = match self {
            Self::Same(prompt) => return Ok(prompt.clone()),
            Self::Template(environment) => environment,
        };
        let ids: Value = items.iter().map(|item| Value::from(item.id.as_str())).collect();
        let texts: Value = items.iter().map(|item| Value::from(&*item.text)).collect();
        let rendered =
            environment.get_template("prompt").and_then(|template| template.render(context! { count => items.len(), ids, items => texts }));
        rendered.map_err(|error| Error::failed("the template `prompt` cannot be rendered").because(error))
    }
}
