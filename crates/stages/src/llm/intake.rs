//! Takes rows in: what the journal can answer leaves at once, what asks the same as another row waits for that one.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use promptmill_core::{AnswerShape, Bounds, Error, Fingerprint, PackSpec, Past, Place, Result, Stage, columns};
use promptmill_llm::lane::rows::Rows;
use promptmill_llm::{Class, Language};

use super::desk::Desk;
use super::held::Held;
use super::judging::{Rules, judge_again};
use super::packer::Prompt;
use super::retry::{self, Met, Next, Tried};
use super::row::{Answer, Bill, Fault, Rejections, Row};
use super::{Llm, of_items};

/// Rows taken in beyond those that could leave at once, so that a slot never waits for the source.
const ROWS_AHEAD: usize = 1024;
/// The reason of a row that a template cannot be rendered for.
pub(super) const TEMPLATE: &str = "template";
/// Weight of an item in the mean length of items.
const ITEM_WEIGHT: f64 = 0.01;

/// How to ask, and who judges what is answered.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) system: Option<Arc<str>>,
    pub(super) prompt: Prompt,
    pub(super) instructions: Option<Prompt>,
    pub(super) shape: Arc<AnswerShape>,
    pub(super) language: Language,
    pub(super) rows: Bounds,
    pub(super) output: SchemaRef,
}

impl Asking {
    pub(super) fn new(stage: &Llm, input: &SchemaRef, place: &Place) -> Result<Self> {
        let output = stage.schema(input, place).map_err(|mistakes| Error::failed(mistakes[0].message.clone()))?;
        let question = place.question().ok_or_else(|| Error::failed("the rows have passed no `prompt-pack`"))?;
        let PackSpec { system, prompt, instructions, rows, shape } = question.pack.clone();
        let language = question.judges.iter().find_map(|stage| stage.language()).and_then(|code| code.parse().ok()).unwrap_or_default();
        Ok(Self {
            system: system.map(Into::into),
            prompt: Prompt::new("prompt", prompt)?,
            instructions: instructions.map(|own| Prompt::new("instructions", own)).transpose()?,
            language,
            shape: Arc::new(shape),
            rows,
            output,
        })
    }
}

impl Desk {
    /// Whether to read on: a slot must never wait for the source, and no more may wait than memory is meant for.
    pub(super) fn wants_rows(&self) -> bool {
        self.input_open && self.queues[0].fresh() < self.rows_wanted() && !self.held.is_full()
    }

    /// Rows to have at hand: enough for every free slot, and some.
    fn rows_wanted(&self) -> usize {
        let (limit, in_flight) = self.models[0].gate.level();
        let size = self.sizes.first().map_or(1, Rows::now);
        (limit.saturating_sub(in_flight) + 1) * size + ROWS_AHEAD
    }

    /// Takes in a batch of questions; those that the journal can answer leave at once.
    pub(super) async fn arrive(&mut self, batch: &RecordBatch) -> Result<()> {
        if self.asking.is_none() {
            self.asking = Some(Asking::new(&self.stage, &batch.schema(), &self.context.place)?);
            let Bounds { start, min, max } = self.asking()?.rows;
            self.sizes = self.models.iter().map(|_| Rows::new(start, min, max)).collect();
        }
        let text = |name| {
            let array = batch.column_by_name(name).and_then(|array| array.as_string_opt::<i32>());
            array.ok_or_else(|| Error::failed(format!("column `{name}` is not in the plan")))
        };
        let (keys, items) = (text(columns::KEY)?, text(columns::ITEM)?);
        // Why nothing is asked about a row, where nothing is.
        let unasked = [(columns::UNSTORABLE, columns::UNSTORABLE_REASON), (columns::ITEM_ERROR, TEMPLATE)];
        let unasked = unasked.map(|(name, reason)| (batch.column_by_name(name).and_then(|array| array.as_string_opt::<i32>()), reason));
        let questions = batch
            .column_by_name(columns::QUESTION)
            .and_then(|array| array.as_fixed_size_binary_opt())
            .ok_or_else(|| Error::failed(format!("column `{}` is not in the plan", columns::QUESTION)))?;
        let kept: Vec<usize> =
            batch.schema().fields().iter().enumerate().filter(|(_, field)| !of_items(field.name())).map(|(index, _)| index).collect();
        let rest = Arc::new(batch.project(&kept)?);
        let batch_bytes = Held::batch_bytes(&rest);
        let questions: Vec<Fingerprint> = questions
            .iter()
            .map(|question| question.and_then(|question| question.try_into().ok()).map(Fingerprint::from_bytes))
            .collect::<Option<_>>()
            .ok_or_else(|| Error::failed("a question is not 16 bytes long"))?;
        let rows: Vec<(&str, Fingerprint)> = questions.iter().enumerate().map(|(index, question)| (keys.value(index), *question)).collect();
        let pasts = self.context.run.journal.past(&rows).await?;
        for (index, (question, past)) in questions.into_iter().zip(pasts).enumerate() {
            let item: Arc<str> = items.value(index).into();
            let mut row = Row {
                bytes: Held::row_bytes(&item, batch_bytes),
                batch: Arc::clone(&rest),
                index,
                key: keys.value(index).into(),
                item,
                question,
                model: 0,
                tried: Tried::NOTHING,
                spent: Vec::new(),
                bill: Bill::default(),
                fault: None,
                rejections: Rejections::default(),
                racing: false,
            };
            self.held.add(&row);
            let mut why = unasked
                .iter()
                .filter_map(|(errors, reason)| errors.filter(|errors| errors.is_valid(index)).map(|errors| (errors.value(index), *reason)));
            if let Some((error, reason)) = why.next() {
                // It bears what was asked about it before; nothing can be asked now.
                let _ = self.recall(&mut row, &past);
                self.context.meter.reject(reason);
                self.finish(row, 0, Err(Fault { retry: false, ..Fault::new(reason, error) }));
                continue;
            }
            let weight = if self.item_bytes == 0.0 { 1.0 } else { ITEM_WEIGHT };
            self.item_bytes += weight * (row.item.len() as f64 - self.item_bytes);
            match self.recall(&mut row, &past) {
                Some((model, answer)) => {
                    self.context.meter.add(|meter| &meter.from_journal, 1);
                    self.finish(row, model, Ok(answer));
                }
                None if self.context.run.asks => self.ask_or_give_up(row),
                None => self.give_up_settled(row, &past)?,
            }
        }
        Ok(())
    }

    /// A row that every model has had its chance with in earlier runs is given up as it would have been then; any other is asked.
    fn ask_or_give_up(&mut self, mut row: Row) {
        let is_used_up = row.spent.len() == self.models.len() && !self.asking_now.contains_key(&row.question);
        match row.fault.take() {
            Some(fault) if is_used_up => {
                let model = row.spent.last().copied().unwrap_or_default();
                self.finish(row, model, Err(fault));
            }
            fault => {
                row.fault = fault;
                self.wait(row);
            }
        }
    }

    /// A row that has to be asked waits for its turn; or for another row, if that asks the very same.
    fn wait(&mut self, row: Row) {
        match self.asking_now.entry(row.question) {
            Entry::Occupied(mut others) => others.get_mut().push(row),
            Entry::Vacant(first) => {
                first.insert(Vec::new());
                self.queues[row.model].push_last(row);
            }
        }
    }

    /// Where nothing may be asked: a row that was settled by an answer which is turned away now has none any more. One
    /// that was never settled stays what it is.
    fn give_up_settled(&mut self, mut row: Row, past: &[Past]) -> Result<()> {
        let Some(fault) = row.fault.take() else {
            self.held.remove(&row);
            return Ok(());
        };
        if self.context.run.answered.contains(&row.key, row.question)? {
            let last = past.iter().rev().find_map(|past| self.models.iter().position(|model| *model.name == *past.attempt.begun.model));
            self.context.meter.reject(&fault.reason);
            self.finish(row, last.unwrap_or(0), Err(fault));
        } else {
            self.held.remove(&row);
        }
        Ok(())
    }

    /// Charges a row for what was asked about it earlier, and finds an answer that is acceptable now. If there is none, its turn
    /// is with the model that it would be with if it had been asked in this run: what was answered and turned away counts.
    fn recall(&self, row: &mut Row, past: &[Past]) -> Option<(usize, Answer)> {
        let asking = self.asking.as_ref()?;
        let prompt = match &asking.prompt {
            Prompt::Same(prompt) => Some(prompt.as_str()),
            Prompt::Template(..) => None,
        };
        let instructions: Vec<&str> = asking.system.as_deref().into_iter().chain(prompt).collect();
        let rules = Rules { shape: &asking.shape, acceptance: &self.judges, instructions: &instructions, meter: &self.context.meter };
        let mut found = None;
        let mut tried = vec![Tried::NOTHING; self.models.len()];
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
                    if *is_own && self.context.run.counts_earlier && !row.spent.contains(&model) {
                        let met = Met { retry: fault.retry, ..Met::answer(attempt.begun.keys.len()) };
                        let (after, next) = retry::failed(tried[model], met, self.stage.attempts);
                        tried[model] = after;
                        if matches!(next, Next::OtherModel | Next::Dead) {
                            row.spent.push(model);
                        }
                    }
                    row.fault = Some(fault);
                }
                None => {}
            }
        }
        if let Some(model) = (0..self.models.len()).find(|model| !row.spent.contains(model)) {
            (row.model, row.tried) = (model, tried[model]);
        }
        found
    }

    pub(super) fn asking(&self) -> Result<&Asking> {
        self.asking.as_ref().ok_or_else(|| Error::failed("rows were asked for before the first batch"))
    }
}
