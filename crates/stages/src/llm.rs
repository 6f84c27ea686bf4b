//! `llm` asks a model about the rows, many requests at a time.
//!
//! The desk takes rows in, cuts packs whenever a slot is free and hands rows out again as they are answered,
//! in whatever order that happens. A row that got no acceptable answer is asked again, then asked of the next
//! model of the chain, and at last handed out as a dead letter with its reason. The parts: the row
//! and what it has been through (`row`), one request from reservation to judgement (`ask`), who waits for
//! what (`queue`), what becomes of a row (`retry`), who shares a request (`packer`), when it leaves (`launch`), who is asked
//! twice (`race`, `canary`), how rows come in (`intake`), and the loop that joins them (`desk`). Answers become columns in
//! `typed`.

mod ask;
mod canary;
mod chain;
mod desk;
mod held;
mod intake;
mod judging;
mod launch;
mod packer;
mod queue;
mod race;
mod retry;
mod row;
mod standing;
mod typed;

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use futures::StreamExt;
use promptmill_core::pipeline::Period;
use promptmill_core::{
    AnswerShape, AskSpec, BatchStream, Declaration, Mistake, NamedModel, Place, Setting, Stage, StageConfig, StageContext, Variation,
    columns,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use self::typed::arrow_type;
use crate::setting::Adaptive;

/// Asks a model about the rows, many requests at a time. Answers are matched to rows by id alone; what is
/// missing, doubled or rejected is asked again, and only that.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Llm {
    /// The model: a name under `[models]`, or `builtin/extractive`.
    model: String,
    /// Models tried, in this order, for the rows that the models before could not answer; and for all rows while a model
    /// before is missing, has answered nobody for 20 seconds, or is kept back by a limit for two minutes.
    #[serde(default)]
    fallback: Vec<String>,
    /// Requests in flight. As a table, the number follows what the provider admits; a plain number is fixed.
    #[serde(default)]
    concurrency: Adaptive<4, 1, 256>,
    /// How long to wait for a whole response.
    #[serde(default = "two_minutes")]
    timeout: Period,
    /// How often a row is asked, for each model; faults of the connection count while others are answered, waits for a limit
    /// and for a server that is down do not.
    #[serde(default = "four")]
    #[schemars(range(min = 1, max = 20))]
    attempts: u32,
    /// The most answer tokens that a row may take; a request may take this many times its rows.
    #[serde(default = "four_hundred")]
    #[schemars(range(min = 1, max = 100_000))]
    max_tokens_per_row: u32,
    /// The share of the rows that may be asked a second time at the end of a run, when slots are free and a request is
    /// late: the first answer counts, and both are paid. 0: none.
    #[serde(default = "two_percent")]
    #[schemars(range(min = 0.0, max = 0.2))]
    hedge: f64,
    /// The share of the rows that, besides being asked in a pack, are asked once more alone, to see what packs do to
    /// answers: the answer of the pack counts, and both are paid. 0: none.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    canary: f64,
    /// The sampling temperature; left out: the provider's default.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 2.0))]
    temperature: Option<f64>,
}

fn two_minutes() -> Period {
    Period(Duration::from_secs(120))
}

fn two_percent() -> f64 {
    0.02
}

fn four() -> u32 {
    4
}

fn four_hundred() -> u32 {
    400
}

impl StageConfig for Llm {
    const NAME: &'static str = "llm";
    const EXAMPLE: &'static str = r#"model = "mistral-small"
fallback = ["gemma"]
concurrency = { start = 4, min = 1, max = 256 }
timeout = "120s"
attempts = 4
max_tokens_per_row = 200
hedge = 0.02
canary = 0.01
temperature = 0.2"#;
}

impl Stage for Llm {
    fn schema(&self, input: &SchemaRef, place: &Place) -> Result<SchemaRef, Vec<Mistake>> {
        let question = place.question().ok_or_else(|| {
            vec![Mistake::new("", "stage `llm` has no `prompt-pack` in front of it").hint(Some("add a stage with `use = \"prompt-pack\"`"))]
        })?;
        if input.column_with_name(columns::REASON).is_some() {
            let mistake = Mistake::new("", "a stage in front of `llm` turns rows away already");
            return Err(vec![mistake.hint(Some("put `post-process` behind `llm`; what `llm` should not see is left out by `filter`"))]);
        }
        let added = added_fields(&question.pack.shape);
        let taken: Vec<Mistake> = added
            .iter()
            .filter(|field| input.column_with_name(field.name()).is_some())
            .map(|field| {
                Mistake::new("", format!("the source already has a column `{}`, which `llm` would add", field.name()))
                    .hint(Some("choose another name with `answer`, or rename the source's column"))
            })
            .collect();
        let twice = added.iter().enumerate().filter(|(index, field)| added[..*index].iter().any(|before| before.name() == field.name()));
        let mistakes: Vec<Mistake> = taken.into_iter().chain(twice.map(|(_, field)| stands_twice(field.name()))).collect();
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let kept = input.fields().iter().filter(|field| !of_items(field.name())).cloned();
        Ok(Arc::new(Schema::new(kept.chain(added.into_iter().map(Arc::new)).collect::<Vec<_>>())))
    }

    fn run(self: Arc<Self>, input: BatchStream, context: StageContext) -> BatchStream {
        desk::open(self, input, context).boxed()
    }

    fn declares(&self) -> Vec<Declaration> {
        let named = |setting: String, name: &String| NamedModel { setting, name: name.clone() };
        let fallback = self.fallback.iter().enumerate().map(|(index, name)| named(format!("fallback.{index}"), name));
        vec![Declaration::Ask(AskSpec {
            models: std::iter::once(named("model".to_owned(), &self.model)).chain(fallback).collect(),
            temperature: self.temperature,
            concurrency: self.concurrency.bounds(),
            attempts: self.attempts,
            max_tokens_per_row: self.max_tokens_per_row,
            canary: self.canary,
            timeout: self.timeout.0,
            pace: &["concurrency", "timeout", "hedge", "canary"],
        })]
    }

    fn varied(&self, variation: &Variation<'_>, _written: &Value) -> Vec<Setting> {
        let set = |name: &str, value: Value| (vec![name.to_owned()], value);
        match variation {
            Variation::FirstModel(model) => vec![set("model", json!(model))],
            // No fallback, or another model's answers would count for this one; nothing asked twice, or the cost would not be its own.
            Variation::OnlyModel(model) => {
                vec![set("model", json!(model)), set("fallback", json!([])), set("hedge", json!(0.0)), set("canary", json!(0.0))]
            }
            Variation::Question(other) => {
                let table = json!({"model": other.model, "max_tokens_per_row": other.max_tokens_per_row, "temperature": 0.0});
                vec![(Vec::new(), table)]
            }
            _ => Vec::new(),
        }
    }
}

fn stands_twice(column: &str) -> Mistake {
    Mistake::new("", format!("`answer` has a field `{column}`, and `llm` adds a column of that name itself"))
        .hint(Some(format!("rename the field, for example to `{column}_of_answer`")))
}

/// Whether a column is about what the model is shown, and nobody behind the stage needs it.
fn of_items(column: &str) -> bool {
    [columns::ITEM, columns::ITEM_ERROR, columns::UNSTORABLE].contains(&column)
}

/// The columns that the stage adds.
fn added_fields(shape: &AnswerShape) -> Vec<Field> {
    let mut fields = Vec::new();
    match shape {
        AnswerShape::Text(name) => {
            fields.push(Field::new(name, DataType::Utf8, true));
            fields.push(Field::new(flags_column(name), flags_type(), true));
        }
        AnswerShape::Fields(answers) => {
            for answer in answers {
                fields.push(Field::new(&answer.name, arrow_type(&answer.kind), true));
                if answer.is_text() {
                    fields.push(Field::new(flags_column(&answer.name), flags_type(), true));
                }
            }
        }
    }
    fields.extend([
        Field::new("llm_model", DataType::Utf8, true),
        Field::new("llm_attempts", DataType::Int32, false),
        Field::new("input_tokens", DataType::Int64, false),
        Field::new("output_tokens", DataType::Int64, false),
        Field::new("cost_usd", DataType::Decimal128(18, 9), true),
        Field::new(columns::REASON, DataType::Utf8, true),
        Field::new(columns::DETAIL, DataType::Utf8, true),
        Field::new(columns::LAST_TEXT, DataType::Utf8, true),
    ]);
    fields
}

/// The column that holds the repairs of an answer's column.
pub(crate) fn flags_column(answer: &str) -> String {
    format!("{answer}_flags")
}

/// Its type.
pub(crate) fn flags_type() -> DataType {
    DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)))
}
