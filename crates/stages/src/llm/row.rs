//! A row on its way through the models, and the record batches that rows leave in.

use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Builder, Int32Builder, Int64Builder, ListBuilder, RecordBatch, StringBuilder};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::SchemaRef;
use promptmill_core::{AnswerShape, Attempt, FieldType, Fingerprint, Result, RowId, share};
use serde_json::Value;

use super::retry::Tried;
use super::typed::array_of;

/// A row that waits for its answer.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// The batch it came in, and its place there.
    pub(super) batch: Arc<RecordBatch>,
    pub(super) index: usize,
    pub(super) key: Arc<str>,
    pub(super) item: Arc<str>,
    pub(super) question: Fingerprint,
    /// The model of the chain whose turn it is.
    pub(super) model: usize,
    /// What it has been through with that model.
    pub(super) tried: Tried,
    /// Models of the chain that have had their chance.
    pub(super) spent: Vec<usize>,
    /// Bytes that it takes while it waits, its share of the batch included.
    pub(super) bytes: usize,
    pub(super) bill: Bill,
    /// Why the last try failed.
    pub(super) fault: Option<Fault>,
    /// Why its answers were rejected, for the model that is asked again.
    pub(super) rejections: Rejections,
    /// Whether it is in several requests at once; see `race`.
    pub(super) racing: bool,
}

impl Row {
    pub(super) fn id(&self) -> RowId {
        RowId::new(&self.key, self.question)
    }
}

/// What a row has cost so far: its shares of the attempts that it was part of.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bill {
    attempts: i32,
    input_tokens: i64,
    output_tokens: i64,
    /// The sum of what is known; `None` while nothing is.
    nano_usd: Option<i64>,
}

impl Bill {
    /// Whether the row has been asked just once, over all runs.
    pub(super) fn is_of_the_first_attempt(&self) -> bool {
        self.attempts == 1
    }

    /// Adds the share of the row at `position` of an attempt. It follows from the journalled attempt alone, so
    /// that a resumed run comes to the same sums.
    pub(super) fn add(&mut self, attempt: &Attempt, position: usize, is_limit: bool) {
        let count = attempt.begun.keys.len();
        self.attempts += i32::from(!is_limit);
        if let Some(usage) = attempt.usage {
            let tokens = |tokens: u64| share(i64::try_from(tokens).unwrap_or(i64::MAX), position, count);
            self.input_tokens = self.input_tokens.saturating_add(tokens(usage.input_tokens));
            self.output_tokens = self.output_tokens.saturating_add(tokens(usage.output_tokens));
        }
        if let Some(cost) = attempt.cost {
            self.nano_usd = Some(self.nano_usd.unwrap_or(0).saturating_add(share(cost.nano(), position, count)));
        }
    }
}

/// Why a row got no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// A stable name: `missing`, `timeout`, `wrong-language`, …
    pub(super) reason: String,
    pub(super) detail: String,
    /// What the model said, if it said anything.
    pub(super) text: Option<String>,
    /// Whether asking again may help.
    pub(super) retry: bool,
}

impl Fault {
    pub(super) fn new(reason: &str, detail: &str) -> Self {
        Self { reason: reason.to_owned(), detail: detail.to_owned(), text: None, retry: true }
    }

    /// Whether there was an answer, and it was turned away. What was not said can be said no better.
    fn is_of_an_answer(&self) -> bool {
        self.text.is_some() || self.reason == "duplicate"
    }
}

/// Why the answers about a row were rejected so far: of each kind the latest, the last few kinds.
#[derive(Clone, Debug, Default)]
pub(super) struct Rejections(Vec<(String, String)>);

impl Rejections {
    /// So many kinds are kept: a model that avoids the last fault is not to fall back into the one before.
    const KINDS: usize = 3;
    /// Characters of a detail: it may quote the answer, at any length where the rule is not one of ours.
    const DETAIL: usize = 160;

    /// Takes note of a fault, if it is one of an answer.
    pub(super) fn note(&mut self, fault: &Fault) {
        if !fault.is_of_an_answer() {
            return;
        }
        self.0.retain(|(reason, _)| *reason != fault.reason);
        if self.0.len() == Self::KINDS {
            self.0.remove(0);
        }
        let detail = match fault.detail.char_indices().nth(Self::DETAIL) {
            Some((end, _)) => format!("{}…", &fault.detail[..end]),
            None => fault.detail.clone(),
        };
        self.0.push((fault.reason.clone(), detail));
    }

    /// What the model is told of them.
    pub(super) fn words(&self) -> Option<Arc<str>> {
        let each: Vec<String> = self.0.iter().map(|(reason, detail)| format!("{reason}: {detail}")).collect();
        Some(each.join("; ").into()).filter(|_| !each.is_empty())
    }
}

/// An accepted answer: a value for each column of the shape, and the repairs made to each.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) values: Vec<Value>,
    pub(super) flags: Vec<Vec<String>>,
}

/// A row that leaves, with its answer or as a dead letter.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) row: Row,
    pub(super) model: Arc<str>,
    pub(super) result: Result<Answer, Fault>,
}

/// The rows as one record batch of the stage's output schema.
pub(super) fn to_batch(done: &[Done], shape: &AnswerShape, schema: &SchemaRef) -> Result<RecordBatch> {
    let mut batches: Vec<&Arc<RecordBatch>> = Vec::new();
    let picks: Vec<(usize, usize)> = done
        .iter()
        .map(|done| {
            // Rows of one batch mostly leave together, so the search is short from the end.
            let place = batches.iter().rposition(|batch| Arc::ptr_eq(batch, &done.row.batch)).unwrap_or_else(|| {
                batches.push(&done.row.batch);
                batches.len() - 1
            });
            (place, done.row.index)
        })
        .collect();
    let batches: Vec<&RecordBatch> = batches.into_iter().map(Arc::as_ref).collect();
    let mut arrays = interleave_record_batch(&batches, &picks)?.columns().to_vec();
    match shape {
        AnswerShape::Text(_) => push_answer(&mut arrays, done, 0, &FieldType::String)?,
        AnswerShape::Fields(fields) => {
            for (index, field) in fields.iter().enumerate() {
                push_answer(&mut arrays, done, index, &field.kind)?;
            }
        }
    }
    let mut model = StringBuilder::new();
    let mut attempts = Int32Builder::with_capacity(done.len());
    let mut input_tokens = Int64Builder::with_capacity(done.len());
    let mut output_tokens = Int64Builder::with_capacity(done.len());
    let mut cost = Decimal128Builder::with_capacity(done.len()).with_precision_and_scale(18, 9)?;
    let (mut reason, mut detail, mut last_text) = (StringBuilder::new(), StringBuilder::new(), StringBuilder::new());
    for done in done {
        let bill = &done.row.bill;
        model.append_value(&done.model);
        attempts.append_value(bill.attempts);
        input_tokens.append_value(bill.input_tokens);
        output_tokens.append_value(bill.output_tokens);
        // A row that shared another one's answer, or never left, has cost nothing.
        cost.append_option(bill.nano_usd.or((bill.attempts == 0).then_some(0)).map(i128::from));
        let fault = done.result.as_ref().err();
        reason.append_option(fault.map(|fault| &fault.reason));
        detail.append_option(fault.map(|fault| &fault.detail));
        last_text.append_option(fault.and_then(|fault| fault.text.as_ref()));
    }
    arrays.extend([
        Arc::new(model.finish()) as ArrayRef,
        Arc::new(attempts.finish()),
        Arc::new(input_tokens.finish()),
        Arc::new(output_tokens.finish()),
        Arc::new(cost.finish()),
        Arc::new(reason.finish()),
        Arc::new(detail.finish()),
        Arc::new(last_text.finish()),
    ]);
    Ok(RecordBatch::try_new(Arc::clone(schema), arrays)?)
}

/// Adds one column of the answer and, for a text, the column of its repairs.
fn push_answer(arrays: &mut Vec<ArrayRef>, done: &[Done], index: usize, kind: &FieldType) -> Result<()> {
    let values: Vec<Option<&Value>> = done.iter().map(|done| done.result.as_ref().ok().map(|answer| &answer.values[index])).collect();
    arrays.push(array_of(kind, &values)?);
    if *kind == FieldType::String {
        let mut builder = ListBuilder::new(StringBuilder::new());
        for done in done {
            match &done.result {
                Ok(answer) => {
                    answer.flags[index].iter().for_each(|flag| builder.values().append_value(flag));
                    builder.append(true);
                }
                Err(_) => builder.append(false),
            }
        }
        arrays.push(Arc::new(builder.finish()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected(reason: &str, detail: &str) -> Fault {
        Fault { text: Some("said".to_owned()), ..Fault::new(reason, detail) }
    }

    #[test]
    fn a_model_is_told_of_the_faults_of_answers_each_kind_once_and_not_at_length() {
        let mut rejections = Rejections::default();
        for fault in [Fault::new("missing", "the answer does not name this row"), Fault::new("timeout", "no answer")] {
            rejections.note(&fault);
        }
        assert_eq!(rejections.words(), None, "nothing was said that could be said better");
        rejections.note(&rejected("too-short", "4 characters, fewer than 40"));
        rejections.note(&rejected("wrong-language", "en, not nl"));
        rejections.note(&rejected("too-short", "9 characters, fewer than 40"));
        assert_eq!(rejections.words().as_deref(), Some("wrong-language: en, not nl; too-short: 9 characters, fewer than 40"));
        rejections.note(&Fault::new("duplicate", "the answer names this row twice, with different words"));
        rejections.note(&rejected("mine", &"é".repeat(10_000)));
        let words = rejections.words().expect("reasons");
        assert!(!words.contains("wrong-language") && words.starts_with("too-short: 9 characters") && words.contains("; duplicate: "));
        assert!(words.ends_with(&format!("; mine: {}…", "é".repeat(160))), "{words}");
    }
}
