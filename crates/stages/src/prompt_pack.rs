//! `prompt-pack` turns rows into questions.
//!
//! It renders what the model is shown of each row, gives the question its fingerprint, and lets go of rows
//! that are settled already. How to ask it declares. The packs themselves are cut by `llm`, at the moment a slot is
//! free: only there are leftover rows, the size that works and the lane known.

mod item;
mod names;
mod value;

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, FixedSizeBinaryBuilder, RecordBatch, StringBuilder};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_stream::try_stream;
use futures::{StreamExt, TryStreamExt};
use minijinja::{Environment, UndefinedBehavior};
use promptmill_core::{
    AnswerShape, BatchStream, Declaration, Error, Fingerprint, Mistake, PackSpec, Place, Result, Setting, Stage, StageConfig, StageContext,
    Variation, columns,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use self::item::Template;
use self::names::Known;
use crate::answer::AnswerSetting;
use crate::setting::Adaptive;

/// Rows that share a request, as the setting says it.
type Rows = Adaptive<15, 1, 40>;

/// Turns rows into questions, several to a request. Each row is shown to the model as one item with a short
/// id of its own; the answer has to name the ids.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PromptPack {
    /// The system message.
    #[serde(default)]
    system: Option<String>,
    /// What is asked, once a request: a Jinja template over the pack, with `count`, `ids` and `items`.
    #[serde(default)]
    prompt: String,
    /// What is said between `prompt` and the items, instead of the words that the stage's `language` chooses: that each line
    /// is an item, which keys the answer has, and in what form. A Jinja template over the pack, with `ids`, `count`,
    /// `answer` (the name of the answer's column) and `fields` (of a typed answer, each with `name` and `schema`).
    #[serde(default)]
    instructions: Option<String>,
    /// What the model is shown of a row: a Jinja template over the row's columns, lists and records included. A column whose
    /// name is no plain word is written as `row["Full text"]`. A row for which it fails, or comes to nothing, is a dead letter.
    item: String,
    /// Rows that share a request. As a table, the number adapts to failures between `min` and `max`; a plain
    /// number is fixed.
    #[serde(default)]
    rows: Rows,
    /// The answer's column, `answer` if left out; or a table of typed fields, each of which becomes a column. Types are
    /// `string`, `int`, `float`, `bool`, `list<…>`, with `?` where null is an answer, and tables:
    /// `{ enum = ["low", "high"] }`, `{ fields = { name = "string" } }`, `{ list = { fields = { … } } }`,
    /// `{ type = "int", nullable = true, description = "from 1 to 10" }`. A value that does not fit its type is rejected;
    /// see the guide on typed answers.
    #[serde(default)]
    answer: AnswerSetting,
}

/// What a prompt template may name.
pub(crate) const PACK_VARIABLES: [&str; 3] = ["count", "ids", "items"];
/// What a template of instructions may name.
const INSTRUCTION_VARIABLES: [&str; 4] = ["answer", "count", "fields", "ids"];

impl StageConfig for PromptPack {
    const NAME: &'static str = "prompt-pack";
    const EXAMPLE: &'static str = r#"system = "Je legt moties uit in eenvoudig Nederlands."
prompt = "Schrijf voor elke motie twee tot drie zinnen uitleg."
item = "{{ title }}\n\n{{ body }}"
rows = { start = 15, min = 1, max = 40 }
answer = "summary""#;
}

impl Stage for PromptPack {
    fn schema(&self, input: &SchemaRef, _place: &Place) -> Result<SchemaRef, Vec<Mistake>> {
        let mut mistakes = names::check("item", &self.item, Known::Columns(input));
        mistakes.extend(names::check("prompt", &self.prompt, Known::Variables(&PACK_VARIABLES)));
        if let Some(instructions) = &self.instructions {
            mistakes.extend(names::check("instructions", instructions, Known::Variables(&INSTRUCTION_VARIABLES)));
            if instructions.trim().is_empty() {
                let hint = "leave it out for the words that `language` chooses";
                mistakes.push(Mistake::new("instructions", "`instructions` says nothing".to_owned()).hint(Some(hint)));
            }
        }
        mistakes.extend(self.answer.shape().err());
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let added = [
            Arc::new(Field::new(columns::ITEM, DataType::Utf8, true)),
            Arc::new(Field::new(columns::ITEM_ERROR, DataType::Utf8, true)),
            Arc::new(Field::new(columns::QUESTION, DataType::FixedSizeBinary(16), false)),
        ];
        Ok(Arc::new(Schema::new(input.fields().iter().cloned().chain(added).collect::<Vec<_>>())))
    }

    fn run(self: Arc<Self>, mut input: BatchStream, context: StageContext) -> BatchStream {
        try_stream! {
            let questions = Questions { template: Template::new(&self.item)?, asked: Fingerprint::of([context.run.question.as_bytes()]) };
            let mut schema: Option<SchemaRef> = None;
            while let Some(batch) = input.try_next().await? {
                let schema = match &schema {
                    Some(schema) => Arc::clone(schema),
                    None => {
                        let output = self.schema(&batch.schema(), &context.place).map_err(|mistakes| Error::failed(mistakes[0].message.clone()))?;
                        Arc::clone(schema.insert(output))
                    }
                };
                let batch = questions.of(&batch, schema, &context)?;
                if batch.num_rows() > 0 {
                    yield batch;
                }
            }
        }
        .boxed()
    }

    fn declares(&self) -> Vec<Declaration> {
        let pack = PackSpec {
            system: self.system.clone(),
            prompt: self.prompt.clone(),
            instructions: self.instructions.clone(),
            rows: self.rows.bounds(),
            // What is wrong with the setting is found with the schema, and nothing is planned then.
            shape: self.answer.shape().unwrap_or_else(|_| AnswerShape::Text(String::new())),
        };
        names::reads(&self.item).into_iter().map(Declaration::Reads).chain([Declaration::Pack(pack)]).collect()
    }

    fn varied(&self, variation: &Variation<'_>, written: &Value) -> Vec<Setting> {
        match variation {
            Variation::Rows(rows) => vec![(vec!["rows".to_owned()], (*rows).into())],
            Variation::MostRows(most) => Rows::at_most("rows", written.get("rows"), *most),
            Variation::Question(other) => {
                let answer = AnswerSetting::of(other.shape).to_json();
                let table = json!({"system": other.system, "prompt": other.prompt, "item": other.item, "rows": 1, "answer": answer});
                vec![(Vec::new(), table)]
            }
            _ => Vec::new(),
        }
    }
}

/// Templates as a writer of prompts expects them: a null is nothing, not the word `none`.
pub(crate) fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_formatter(|out, state, value| if value.is_none() { Ok(()) } else { minijinja::escape_formatter(out, state, value) });
    environment
}

/// Makes questions of the rows of a batch.
struct Questions {
    template: Template,
    /// The fingerprint of what all questions share.
    asked: Fingerprint,
}

impl Questions {
    /// The batch with item and question, without the rows that are settled.
    fn of(&self, batch: &RecordBatch, schema: SchemaRef, context: &StageContext) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let keys = batch
            .column_by_name(columns::KEY)
            .and_then(|keys| keys.as_string_opt::<i32>())
            .ok_or_else(|| Error::failed(format!("column `{}` is not in the plan", columns::KEY)))?;
        let mut rendered = self.template.items(batch)?;
        let mut items = StringBuilder::with_capacity(rows, rows * 1024);
        let mut errors = StringBuilder::new();
        let mut questions = FixedSizeBinaryBuilder::with_capacity(rows, 16);
        let mut open = Vec::with_capacity(rows);
        // Where nothing is asked, what is settled is answered once more from the journal.
        let all_open = context.run.answered.is_empty() || !context.run.asks;
        for row in 0..rows {
            let question = match rendered.of(row) {
                Ok(item) if !item.trim().is_empty() => {
                    items.append_value(item);
                    errors.append_null();
                    Fingerprint::of([self.asked.as_bytes().as_slice(), item.as_bytes()])
                }
                unasked => {
                    // One row's trouble is that row's. There is nothing to ask about it; what is wrong stands for what is asked.
                    let error = unasked.map_or_else(|error| words_of(&error), |_| "the item is empty".to_owned());
                    items.append_null();
                    errors.append_value(&error);
                    Fingerprint::of([self.asked.as_bytes().as_slice(), columns::ITEM_ERROR.as_bytes(), error.as_bytes()])
                }
            };
            open.push(all_open || !context.run.answered.contains(keys.value(row), question)?);
            questions.append_value(question.as_bytes())?;
        }
        let mut arrays = batch.columns().to_vec();
        arrays.push(Arc::new(items.finish()));
        arrays.push(Arc::new(errors.finish()));
        arrays.push(Arc::new(questions.finish()));
        let whole = RecordBatch::try_new(schema, arrays)?;
        let kept = open.iter().filter(|open| **open).count();
        context.meter.add(|meter| &meter.unchanged, (rows - kept) as u64);
        if kept == rows { Ok(whole) } else { Ok(filter_record_batch(&whole, &BooleanArray::from(open))?) }
    }
}

/// An error of a template with everything beneath it, as one line.
fn words_of(error: &minijinja::Error) -> String {
    let mut words = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(error) = next {
        words.push_str(": ");
        words.push_str(&error.to_string());
        next = error.source();
    }
    words
}
