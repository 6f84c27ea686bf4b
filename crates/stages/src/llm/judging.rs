//! What a model has said, row by row, before the steps behind it.

use std::sync::Arc;

use promptmill_core::{About, Acceptance, AnswerShape, Attempt, Meter, Result, Tally};
use promptmill_llm::{Finish, Model, Request, RowAnswer, read_answers};
use serde_json::Value;

use super::row::{Answer, Fault};

/// Judges what a model said about the rows of a request.
pub(super) fn verdicts(
    rows: &[RowAnswer],
    content: &str,
    request: &Request,
    truncated: bool,
    acceptance: &[Arc<dyn Acceptance>],
    meter: &Meter,
) -> Vec<Result<Answer, Fault>> {
    let items: Vec<&str> = request.items.iter().map(|item| &*item.text).collect();
    let instructions: Vec<&str> = request.system.as_deref().into_iter().chain([request.prompt.as_str()]).collect();
    let mut judging = Judging { rows, content, shape: &request.shape, truncated, acceptance, tally: Tally::default() };
    let mut neighbours = Vec::with_capacity(items.len());
    let verdicts = (0..rows.len())
        .map(|position| {
            neighbours.clear();
            neighbours.extend(items.iter().enumerate().filter(|(other, _)| *other != position).map(|(_, item)| *item));
            let item = items.get(position).copied();
            judging.verdict(position, &About { item, neighbours: &neighbours, others: &[], instructions: &instructions })
        })
        .collect();
    meter.tally(&judging.tally);
    verdicts
}

/// What there is to judge an answer from the journal by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'a> {
    pub(super) shape: &'a AnswerShape,
    pub(super) acceptance: &'a [Arc<dyn Acceptance>],
    /// The system message, and the prompt where it is the same for every request.
    pub(super) instructions: &'a [&'a str],
    pub(super) meter: &'a Meter,
}

/// Reads a journalled attempt again and judges what it says about one row. What stood beside the row is not known
/// any more, but what was said about it is.
pub(super) fn judge_again(
    model: &Model,
    attempt: &Attempt,
    position: usize,
    item: &str,
    rules: Rules<'_>,
) -> Option<Result<Answer, Fault>> {
    let response = model.provider.read(attempt.raw_response.as_deref()?).ok()?;
    let Rules { shape, acceptance, instructions, meter } = rules;
    let truncated = matches!(response.finish, Finish::Truncated | Finish::Broken);
    let reply = read_answers(&response.content, attempt.begun.keys.len(), shape, model.structured);
    let rows = if truncated { reply.cut_off() } else { reply }.rows;
    if position >= rows.len() {
        return None;
    }
    let mut judging = Judging { rows: &rows, content: &response.content, shape, truncated, acceptance, tally: Tally::default() };
    let verdict = judging.verdict(position, &About { item: Some(item), instructions, ..About::NOTHING });
    meter.tally(&judging.tally);
    Some(verdict)
}

/// One reply, and who judges it.
struct Judging<'a> {
    rows: &'a [RowAnswer],
    content: &'a str,
    shape: &'a AnswerShape,
    truncated: bool,
    acceptance: &'a [Arc<dyn Acceptance>],
    tally: Tally,
}

impl Judging<'_> {
    fn verdict(&mut self, position: usize, about: &About<'_>) -> Result<Answer, Fault> {
        match &self.rows[position] {
            RowAnswer::Given(values) => self.judge(position, values.clone(), about),
            RowAnswer::Missing if self.truncated => Err(self.fault("truncated", "the answer was cut off before this row".to_owned())),
            RowAnswer::Missing => Err(self.fault("missing", "the answer does not name this row".to_owned())),
            RowAnswer::Duplicate => Err(self.fault("duplicate", "the answer names this row twice, with different words".to_owned())),
            RowAnswer::Invalid { why, said } => Err(Fault { text: Some(said.clone()), ..self.fault("invalid", why.clone()) }),
        }
    }

    fn fault(&self, reason: &str, detail: String) -> Fault {
        // What a model said when it was asked about one row alone was about that row, in whatever form.
        let said = self.content.trim();
        let text = (self.rows.len() == 1 && !said.is_empty()).then(|| said.to_owned());
        Fault { reason: reason.to_owned(), detail, text, retry: true }
    }

    fn judge(&mut self, position: usize, mut values: Vec<Value>, about: &About<'_>) -> Result<Answer, Fault> {
        let names = self.shape.columns();
        let mut flags = vec![Vec::new(); names.len()];
        for stage in self.acceptance {
            let Some(index) = names.iter().position(|name| *name == stage.column()) else { continue };
            let Some(text) = values[index].as_str() else { continue };
            let others: Vec<&str> = others(self.rows, position, index).collect();
            match stage.judge(text, &About { others: &others, ..*about }, &mut self.tally) {
                Ok(accepted) => {
                    flags[index].extend(accepted.flags);
                    values[index] = Value::String(accepted.text);
                }
                Err(rejected) => {
                    let text = Some(text.to_owned());
                    return Err(Fault { reason: rejected.reason, detail: rejected.detail, text, retry: rejected.retry });
                }
            }
        }
        Ok(Answer { values, flags })
    }
}

/// What a reply says in a column about the other rows.
fn others(rows: &[RowAnswer], position: usize, column: usize) -> impl Iterator<Item = &str> {
    rows.iter().enumerate().filter(move |(other, _)| *other != position).filter_map(move |(_, row)| match row {
        RowAnswer::Given(values) => values[column].as_str(),
        _ => None,
    })
}
