//! The desk: the loop that takes rows in, lets packs leave when a slot is free, and hands rows out.
//!
//! Everything is decided in one task, so there is no lock around the queues; requests run in tasks of their
//! own, so that reading and judging answers uses every core.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use arrow::array::RecordBatch;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use promptmill_core::{Acceptance, BatchStream, Error, ErrorKind, Fingerprint, Result, StageContext, StopReason, Trouble};
use promptmill_llm::cost_bound::{BUDGET_HINT, not_under_budget};
use promptmill_llm::lane::Bounds;
use promptmill_llm::lane::rows::{PackResult, Rows};
use promptmill_llm::{Budget, Class, Model, Models};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::Llm;
use super::ask::Asked;
use super::canary::Canary;
use super::held::Held;
use super::intake::{Asking, TEMPLATE};
use super::launch::Flying;
use super::queue::Queue;
use super::race::{Finished, Races};
use super::retry::{self, Left, Met, Next, Tried, is_of_the_service};
use super::row::{Answer, Done, Fault, Row, to_batch};
use super::standing::Standing;

/// Rows that leave together, at the most …
const OUTPUT_ROWS: usize = 1024;
/// … their bytes, of which one row alone may have more …
const OUTPUT_BYTES: usize = 4 << 20;
/// … and how long an answered row waits for others.
const OUTPUT_WAIT: Duration = Duration::from_millis(200);
/// Rows given up without a single answer, after which a run stops to spend; so many more if an earlier run had answers.
const HOPELESS: (usize, usize) = (30, 200);
/// Backoff after a fault, and after a refusal that names no time: doubled per try up to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Numbers the attempts of a process.
#[derive(Debug, Default)]
pub(super) struct Counter(pub(super) AtomicU64);

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
pub(super) struct Desk {
    pub(super) stage: Arc<Llm>,
    pub(super) context: StageContext,
    pub(super) models: Vec<Arc<Model>>,
    /// The judgements of the stages behind.
    pub(super) judges: Arc<[Arc<dyn Acceptance>]>,
    /// One of each per model of the chain.
    pub(super) queues: Vec<Queue>,
    pub(super) sizes: Vec<Rows>,
    pub(super) budget: Arc<Budget>,
    pub(super) counter: Arc<Counter>,
    pub(super) in_flight: JoinSet<Landing>,
    /// In the order they left.
    pub(super) flying: BTreeMap<u64, Flying>,
    pub(super) races: Races,
    /// Rows that were asked a second time because their request was late.
    pub(super) hedged_rows: usize,
    /// Rows that have their verdict and are to be asked once more alone.
    pub(super) canaries: VecDeque<Canary>,
    /// Mean bytes of an item: packs are measured in tokens, the number of rows is only their usual size.
    pub(super) item_bytes: f64,
    /// What is being asked, with the rows that ask the very same and wait for the first one's answer.
    pub(super) asking_now: HashMap<Fingerprint, Vec<Row>>,
    /// Rows that can cost more than what is left of the budget, and whether nothing but them is left.
    pub(super) unaffordable: Vec<Row>,
    pub(super) has_only_unaffordable: bool,
    pub(super) done: Vec<Done>,
    /// Bytes of those rows.
    done_bytes: usize,
    pub(super) done_since: Option<Instant>,
    pub(super) input_open: bool,
    /// For the waits of rows that are asked again.
    pub(super) dice: StdRng,
    /// When a lane lets the next request leave, where it says so.
    pub(super) again_at: Option<Instant>,
    /// What is known of each model of the chain.
    pub(super) standings: Vec<Standing>,
    /// The rows that are here.
    pub(super) held: Held,
    /// Rows that were answered; whether any was, the journal included; and how many were given up before the first.
    pub(super) answered_rows: u64,
    pub(super) has_worked: bool,
    given_up: usize,
    /// Known from the first batch on.
    pub(super) asking: Option<Asking>,
}

#[derive(Debug)]
pub(super) struct Landing {
    pub(super) number: u64,
    pub(super) asked: Result<Asked>,
}

impl Desk {
    fn open(stage: Arc<Llm>, context: StageContext) -> Result<Self> {
        let services = context.services.get_or_init(Models::default);
        let question = context.place.question().ok_or_else(|| Error::failed("no question is asked in this pipeline"))?;
        let bounds = Bounds { start: stage.concurrency.start, min: stage.concurrency.min, max: stage.concurrency.max };
        let models = question.models.iter().map(|asked| services.open(asked, bounds).map(Arc::new)).collect::<Result<Vec<_>>>()?;
        // Whoever comes this way without a check: a budget that cannot be kept is none.
        if context.run.budget.is_some() && context.run.asks {
            let unkept = |model: &Arc<Model>| {
                Some((Arc::clone(&model.name), not_under_budget(model.price.as_ref(), &model.extra_body, model.context)?))
            };
            if let Some((name, why)) = models.iter().find_map(unkept) {
                let error = Error::failed(format!("model `{name}` cannot be asked under a budget: {why}"));
                return Err(error.of(ErrorKind::Unbounded).hint(BUDGET_HINT));
            }
        }
        let run = &context.run;
        let (spent, experience) = (run.journal.spent(), run.journal.experience());
        Ok(Self {
            queues: models.iter().map(|_| Queue::default()).collect(),
            standings: models.iter().map(|_| Standing::default()).collect(),
            sizes: Vec::new(),
            budget: run.shared.get_or_init(|| Budget::new(run.budget, spent).with_experience(experience)),
            counter: run.shared.get_or_init(Counter::default),
            judges: Arc::clone(&question.judges),
            models,
            dice: StdRng::seed_from_u64(services.seed()),
            stage,
            context,
            in_flight: JoinSet::new(),
            flying: BTreeMap::new(),
            races: Races::default(),
            hedged_rows: 0,
            canaries: VecDeque::new(),
            item_bytes: 0.0,
            asking_now: HashMap::new(),
            unaffordable: Vec::new(),
            has_only_unaffordable: false,
            done: Vec::new(),
            done_bytes: 0,
            done_since: None,
            input_open: true,
            again_at: None,
            held: Held::default(),
            answered_rows: 0,
            has_worked: false,
            given_up: 0,
            asking: None,
        })
    }

    async fn run(mut self, mut input: BatchStream, output: &mpsc::Sender<Result<RecordBatch>>) -> Result<()> {
        // Whatever goes wrong, what is in flight has been paid for: it lands first.
        let mut failed: Option<Error> = None;
        loop {
            let stopping = failed.is_some() || self.context.stop.is_requested() || output.is_closed();
            if stopping {
                std::mem::take(&mut self.canaries).into_iter().for_each(|canary| self.let_go(canary));
            } else {
                self.launch();
            }
            let flush_at = self.done_since.map(|since| since + OUTPUT_WAIT);
            if self.done.len() >= OUTPUT_ROWS || self.done_bytes >= OUTPUT_BYTES || flush_at.is_some_and(|at| at <= Instant::now()) {
                self.flush(output).await?;
                continue;
            }
            let idle = self.in_flight.is_empty();
            if idle && (stopping || (!self.input_open && self.canaries.is_empty() && self.queues.iter().all(Queue::is_empty))) {
                break;
            }
            let wants_rows = !stopping && self.wants_rows();
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
                    let mut next = Some(landing);
                    while let Some(landing) = next {
                        if let Err(error) = self.land(landing) {
                            failed.get_or_insert(error);
                        }
                        next = self.in_flight.try_join_next();
                    }
                }
                batch = input.try_next(), if wants_rows => match batch {
                    Ok(Some(batch)) => {
                        if let Err(error) = self.arrive(&batch).await {
                            failed.get_or_insert(error);
                        }
                    }
                    Ok(None) => self.input_open = false,
                    Err(error) => {
                        failed.get_or_insert(error);
                    }
                },
                () = tokio::time::sleep_until(wake_at.unwrap_or_else(Instant::now)), if wake_at.is_some() => {}
                // Somebody else's request has landed in a lane that we share.
                () = self.models[0].gate.landed(), if idle && !stopping => {}
            }
        }
        self.flush(output).await?;
        failed.map_or(Ok(()), Err)
    }

    fn land(&mut self, landing: Result<Landing, JoinError>) -> Result<()> {
        let Landing { number, asked } = landing.map_err(|error| Error::failed("a request ended in a panic").because(error))?;
        let asked = asked?;
        let Some(Flying { model, size, rows, canary, answers, .. }) = self.flying.remove(&number) else {
            return Err(Error::failed("a response came to a request that was never sent"));
        };
        let class = self.class_of(model, &rows, &asked);
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
        self.judge_model(model, &rows, &asked, class);
        if let Some(canary) = canary {
            return self.land_canary(canary, &asked);
        }
        let (pack, retry_after, is_away, is_page) = (rows.len(), asked.retry_after, asked.is_away, asked.is_page);
        let met = move |fault: &Fault| Met { class, pack, retry: fault.retry, retry_after, is_away, is_page };
        for (position, (mut row, verdict)) in rows.into_iter().zip(asked.verdicts).enumerate() {
            let is_limit = class.is_some_and(Class::is_limit);
            if row.racing {
                match self.races.land(row, model, &asked.attempt, position, is_limit, &verdict) {
                    None => {}
                    Some(Finished { row, answer: Some((model, answer)) }) => self.finish(row, model, Ok(answer)),
                    Some(Finished { row, answer: None }) => {
                        let fault = verdict.err().unwrap_or_else(|| Fault::new("superseded", "no request about it was answered"));
                        let met = met(&fault);
                        self.again(row, fault, met, answers);
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
                Err(fault) => {
                    let met = met(&fault);
                    self.again(row, fault, met, answers);
                }
            }
        }
        self.give_up_the_late();
        Ok(())
    }

    /// What went wrong with a call. A page that turns everybody away is an outage, or, where nothing was ever answered, no way to
    /// the service; and no row is to blame.
    fn class_of(&mut self, model: usize, rows: &[Row], asked: &Asked) -> Option<Class> {
        let (class, _) = asked.error.as_ref()?;
        if !asked.is_page {
            return Some(*class);
        }
        let has_worked = self.has_worked || !self.context.run.answered.is_empty();
        let standing = &mut self.standings[model];
        if let Some(row) = rows.first() {
            standing.met_page(row.question, Instant::now());
        }
        Some(match standing.is_walled(has_worked) {
            false => *class,
            true if standing.answers > 0 || has_worked => Class::Overloaded,
            true => Class::Unreachable,
        })
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

    /// Takes note of what a model does, and ends the run where no retry and no other model can help.
    fn judge_model(&mut self, model: usize, rows: &[Row], asked: &Asked, class: Option<Class>) {
        let now = Instant::now();
        let (Some((named, message)), Some(class)) = (&asked.error, class) else {
            self.standings[model].answered();
            self.context.meter.set_trouble(None);
            return;
        };
        self.standings[model].failed(class, message, now);
        let (name, what) = (&self.models[model].name, format!("{}: {message}", named.name()));
        let until = asked.retry_after.map(|wait| (now + wait).into_std());
        if is_of_the_service(class) {
            self.context.meter.set_trouble(Some(Trouble { model: name.to_string(), what, since: std::time::Instant::now(), until }));
        }
        let alone = rows.first().filter(|_| rows.len() == 1).map(|row| row.question);
        if class == Class::BadRequest {
            let is_last = self.left(model) != Left::Fresh;
            let standing = &mut self.standings[model];
            // Who names a field that is not taken, and is right, says so of every request.
            let is_bad_form = asked.hint.is_some() && standing.refused_field();
            if is_bad_form || alone.is_some_and(|question| standing.bad_request(question, is_last)) {
                standing.leave(message);
            }
        }
        let ends = match class {
            Class::ModelMissing => false,
            Class::Forbidden => {
                let in_flight = self.flying.values().filter(|flying| flying.model == model).count();
                self.standings[model].forbidden(alone, self.has_worked || !self.context.run.answered.is_empty(), in_flight)
            }
            class => class.is_fatal(),
        };
        let is_over = |standing: &Standing| standing.is_gone() || standing.is_given_up(now);
        if ends || self.standings.iter().all(is_over) {
            let hint = asked.hint.clone().or_else(|| self.fatal_hint(model, class));
            self.context.stop.request(StopReason::Fatal { kind: kind_of(class), message: self.fatal(model, message), hint });
        }
    }

    /// What becomes of a row that got no answer; see [`retry`].
    pub(super) fn again(&mut self, mut row: Row, fault: Fault, met: Met, answers: u64) {
        let now = Instant::now();
        row.rejections.note(&fault);
        let others = self.others(&row, met, answers, now);
        let (tried, next) = retry::next(row.tried, met, others, self.stage.attempts);
        row.tried = Tried { seen: Some(self.standings[row.model].answers), ..tried };
        // What the model said last stays with the row, also when later tries bring nothing.
        let text = fault.text.clone().or_else(|| row.fault.take().and_then(|earlier| earlier.text));
        row.fault = Some(Fault { text, ..fault });
        if matches!(self.context.stop.reason(), Some(StopReason::Fatal { .. } | StopReason::Failed)) && met.class.is_some() {
            // The run ends, and no row is to blame for that.
            return self.queues[row.model].push_again(row);
        }
        match next {
            Next::Now | Next::Split => self.queues[row.model].push_again(row),
            Next::Backoff(doublings) => {
                let wait = self.backoff(doublings);
                self.queues[row.model].sleep(row, now + wait);
            }
            Next::Sleep(wait) => self.queues[row.model].sleep(row, now + wait),
            Next::OtherModel => {
                self.hand_on(row, true, now);
            }
            Next::PassOver => {
                self.hand_on(row, false, now);
            }
            Next::Dead => {
                let (model, fault) = (row.model, row.fault.take());
                self.finish(row, model, Err(fault.unwrap_or_else(|| Fault::new("failed", "no reason is known"))));
            }
        }
    }

    /// Full jitter: a random wait up to the doubled step, so that rows which failed together do not return together.
    fn backoff(&mut self, tries: u32) -> Duration {
        let (first, longest) = BACKOFF;
        first.saturating_mul(1 << tries.min(10)).min(longest).mul_f64(self.dice.random_range(0.1..1.0))
    }

    /// A row leaves, and with it those that asked the very same and waited for it: what it cost is its own.
    pub(super) fn finish(&mut self, row: Row, model: usize, result: Result<Answer, Fault>) {
        let others = self.asking_now.remove(&row.question).unwrap_or_default();
        let count = 1 + others.len() as u64;
        for row in [&row].into_iter().chain(&others) {
            self.held.remove(row);
            self.done_bytes += row.bytes;
        }
        match &result {
            Ok(_) => {
                self.context.meter.add(|meter| &meter.answered, count);
                self.answered_rows += count;
                self.has_worked = true;
            }
            Err(fault) => {
                self.context.meter.add(|meter| &meter.dead_letters, count);
                self.give_up(model, fault, others.len() + 1);
            }
        }
        self.done_since.get_or_insert_with(Instant::now);
        let name = &self.models[model].name;
        for other in others {
            self.done.push(Done { row: other, model: Arc::clone(name), result: result.clone() });
        }
        self.done.push(Done { row, model: Arc::clone(name), result });
    }

    /// Rows were given up. Where nothing usable has come back from the start, the run stops before it spends more.
    fn give_up(&mut self, model: usize, fault: &Fault, rows: usize) {
        if fault.reason == TEMPLATE || !self.context.run.asks {
            return;
        }
        self.given_up += rows;
        let (first, later) = HOPELESS;
        let most = if self.context.run.answered.is_empty() { first } else { later };
        if self.has_worked || self.given_up < most {
            return;
        }
        let said = fault.text.as_deref().map(|text| format!("; it said: {}", shortened(text))).unwrap_or_default();
        let message = format!(
            "nothing usable came back: model `{}` was asked about {} rows, and none has an answer; the last one: {}: {}{said}",
            self.models[model].name, self.given_up, fault.reason, fault.detail
        );
        let hint = "see `promptmill sql PIPELINE \"SELECT error, raw_response FROM attempts\"`; what was given up is in `dead_letters`, and `--retry-dead-letters` asks it again";
        self.context.stop.request(StopReason::Fatal { kind: ErrorKind::ProviderRefused, message, hint: Some(hint.to_owned()) });
    }

    /// Hands the finished rows out.
    async fn flush(&mut self, output: &mpsc::Sender<Result<RecordBatch>>) -> Result<()> {
        self.done_since = None;
        if self.done.is_empty() {
            return Ok(());
        }
        let mut done = std::mem::take(&mut self.done);
        self.done_bytes = 0;
        let asking = self.asking()?;
        while !done.is_empty() {
            let rows: Vec<Done> = done.drain(..together(&done)).collect();
            // A consumer that has gone has nothing to lose: the journal has every answer.
            let _ = output.send(to_batch(&rows, &asking.shape, &asking.output)).await;
        }
        Ok(())
    }

    fn fatal(&self, model: usize, message: &str) -> String {
        let model = &self.models[model];
        format!("provider `{}` turned model `{}` away: {message}", model.provider_name, model.name)
    }

    fn fatal_hint(&self, model: usize, class: Class) -> Option<String> {
        let provider = self.context.place.question()?.models.get(model)?.provider.as_ref()?;
        Some(match (class, &provider.api_key_env) {
            (Class::Auth, Some(variable)) => format!("check the key in `{variable}`"),
            (Class::Auth, None) => "name the variable that holds the key with `api_key_env`".to_owned(),
            (Class::ModelMissing, _) => format!("check `models.{}.model`", self.models[model].name),
            (Class::MoneyGone, _) => "add credit at the provider; what was paid is kept, and `run` carries on from there".to_owned(),
            (Class::BadRequest, _) => "see `promptmill sql PIPELINE \"SELECT error, raw_response FROM attempts\"`; a model that takes no schema needs `structured = \"json_object\"` or \"text\"".to_owned(),
            (Class::Unreachable, _) => format!("check `providers.{}.base_url`, and that the server is there", self.models[model].provider_name),
            (Class::Timeout, _) => format!(
                "it has answered nothing yet: check `providers.{0}.base_url`, allow it more time with `timeout`, or ask for fewer rows at once",
                self.models[model].provider_name
            ),
            (class, _) if is_of_the_service(class) => {
                "it has answered nothing yet, and was asked again and again: run again later; what is answered is kept".to_owned()
            }
            _ => format!("check what the key may do at `providers.{}.base_url`", self.models[model].provider_name),
        })
    }
}

/// What kind of error it is that a failure of this class ends a run with.
fn kind_of(class: Class) -> ErrorKind {
    match class {
        Class::Auth | Class::Forbidden => ErrorKind::Credentials,
        Class::MoneyGone => ErrorKind::QuotaExhausted,
        Class::Unreachable | Class::Timeout | Class::Overloaded | Class::NoCapacity | Class::RateLimited => ErrorKind::ProviderUnreachable,
        _ => ErrorKind::ProviderRefused,
    }
}

/// How many rows leave together.
fn together(done: &[Done]) -> usize {
    let mut bytes = 0;
    let fits = |done: &&Done| {
        bytes += done.row.bytes;
        bytes <= OUTPUT_BYTES
    };
    done.iter().take(OUTPUT_ROWS).take_while(fits).count().max(1)
}

/// The beginning of what a model said, on one line.
fn shortened(text: &str) -> String {
    const CHARS: usize = 200;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
