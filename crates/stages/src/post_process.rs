//! `post-process` repairs answers and turns garbage away.
//!
//! About one model answer in twenty is garbage of some kind: lines in another script, English words, typos,
//! metadata of the prompt, the wrong language. The stage is a list of small steps, each in a file of its
//! own, run in the order in which they are written. Behind an `llm` stage its judgement is lent to that
//! stage, which asks again for what is rejected; alone it works on any text column.

mod cut;
mod drop_lines_in_other_scripts;
mod language;
mod normalize_text;
mod phrases;
mod reject_blank;
mod reject_language;
mod reject_length;
mod reject_words;
mod remove_pattern;
mod replace_words;
#[cfg(test)]
mod samples;
mod step;
mod steps;
mod words;

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListBuilder, RecordBatch, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use futures::{StreamExt, TryStreamExt};
use promptmill_core::{
    Acceptance, Accepted, BatchStream, Declares, Error, Mistake, Rejected, Result, Stage, StageConfig, StageContext, columns, nearest,
};
use schemars::{JsonSchema, Schema as JsonSchemaValue, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::llm::{flags_column, flags_type};

use language::Language;
pub use step::StepKind;
use step::{Rejection, Step, StepConfig, StepContext};
pub use steps::steps;

/// Repairs the answers in a column and turns garbage away, step by step.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PostProcess {
    /// The column of the answers.
    column: String,
    /// The language that the answers should be in, as `nl` or `en`; steps that judge language need it.
    #[serde(default)]
    language: Option<String>,
    /// The steps, in the order in which they run.
    steps: Vec<StepSetting>,
    /// What happens to a rejected answer.
    #[serde(default)]
    on_reject: OnReject,
}

/// What happens to a rejected answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum OnReject {
    /// The row is asked again, then asked of the fallback models; at last it is a dead letter.
    #[default]
    Retry,
    /// The row is a dead letter at once.
    DeadLetter,
    /// The answer is kept, with the flag `rejected:<reason>`.
    Keep,
}

/// One step, as written: a table with `use` and the step's own settings.
#[derive(Clone, Debug, Deserialize)]
struct StepSetting(Map<String, Value>);

impl JsonSchema for StepSetting {
    fn schema_name() -> Cow<'static, str> {
        "Step".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> JsonSchemaValue {
        let one_of: Vec<Value> = steps().iter().map(step_schema).collect();
        json_schema!({ "oneOf": one_of })
    }
}

/// The schema of a step's table, `use` included.
fn step_schema(kind: &StepKind) -> Value {
    let mut schema = (kind.schema)().to_value();
    if let Some(object) = schema.as_object_mut() {
        object.shift_remove("title");
        object.insert("type".to_owned(), "object".into());
        object.insert("additionalProperties".to_owned(), false.into());
        object.insert("description".to_owned(), kind.summary.into());
        let mut properties = Map::from_iter([("use".to_owned(), serde_json::json!({ "const": kind.name }))]);
        properties.extend(object.get("properties").and_then(Value::as_object).cloned().unwrap_or_default());
        object.insert("properties".to_owned(), properties.into());
        let mut required = vec![Value::from("use")];
        required.extend(object.get("required").and_then(Value::as_array).cloned().unwrap_or_default());
        object.insert("required".to_owned(), required.into());
    }
    schema
}

impl StageConfig for PostProcess {
    const NAME: &'static str = "post-process";
    const EXAMPLE: &'static str = r#"column = "summary"
language = "nl"
steps = [
  { use = "drop-lines-in-other-scripts", scripts = ["Latin"] },
  { use = "replace-words", words = { "filthy" = "vuile" } },
  { use = "replace-words", words = { "lageinkomen" = "laag inkomen" } },
  { use = "remove-pattern", pattern = '\(\d+-\d+\)' },
  { use = "normalize-text" },
  { use = "reject-words", list = "english-common", more_than = 10 },
  { use = "reject-language" },
  { use = "reject-length", min_chars = 40, max_chars = 1200 },
]
on_reject = "retry""#;
}

impl Stage for PostProcess {
    fn schema(&self, input: &SchemaRef) -> Result<SchemaRef, Vec<Mistake>> {
        let mut mistakes = self.judge().err().unwrap_or_default();
        let field = input.field_with_name(&self.column).ok();
        match field {
            None => {
                let known: Vec<&str> =
                    input.fields().iter().map(|field| field.name().as_str()).filter(|name| !name.starts_with("__")).collect();
                let hint = nearest(&self.column, known.iter().copied())
                    .map_or_else(|| format!("known columns: {}", known.join(", ")), |near| format!("did you mean `{near}`?"));
                mistakes.push(Mistake::new("column", format!("there is no column `{}` here", self.column)).hint(Some(hint)));
            }
            Some(field) if !field.data_type().is_string() => {
                mistakes.push(Mistake::new("column", format!("column `{}` is no text but {}", self.column, field.data_type())));
            }
            Some(_) => {}
        }
        match field {
            Some(field) if mistakes.is_empty() => Ok(if is_judged(field) { Arc::clone(input) } else { self.own_schema(input) }),
            _ => Err(mistakes),
        }
    }

    fn run(self: Arc<Self>, input: BatchStream, _context: StageContext) -> BatchStream {
        let judge = self.judge().map_err(|mistakes| mistakes.first().map_or_else(String::new, |mistake| mistake.message.clone()));
        input
            .and_then(move |batch| {
                let result = match (&judge, batch.schema().field_with_name(&self.column)) {
                    // The `llm` stage in front has applied the judgement already.
                    (_, Ok(field)) if is_judged(field) => Ok(batch),
                    (Ok(judge), _) => self.process(judge, &batch),
                    (Err(message), _) => Err(Error::failed(message.clone())),
                };
                futures::future::ready(result)
            })
            .boxed()
    }

    fn declares(&self) -> Declares {
        let acceptance = self.judge().ok().map(|judge| Arc::new(judge) as Arc<dyn Acceptance>);
        Declares { reads: [self.column.clone()].into(), acceptance, ..Declares::default() }
    }
}

/// Whether a column holds answers that the `llm` stage has judged by this stage's own acceptance.
fn is_judged(field: &Field) -> bool {
    field.metadata().contains_key(columns::ANSWER)
}

impl PostProcess {
    fn judge(&self) -> Result<Judge, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let language = match self.language.as_deref().map(str::parse::<Language>) {
            Some(Err(error)) => {
                mistakes.push(Mistake::new("language", error));
                None
            }
            language => language.and_then(Result::ok),
        };
        let context = StepContext { language };
        let mut compiled = Vec::new();
        for (index, StepSetting(setting)) in self.steps.iter().enumerate() {
            let mut config = setting.clone();
            let name = config.shift_remove("use");
            let kind = steps().iter().find(|kind| name.as_ref().and_then(Value::as_str) == Some(kind.name));
            match kind.map(|kind| (kind.name, (kind.compile)(Value::Object(config), &context))) {
                Some((name, Ok(step))) => compiled.push((name, step)),
                Some((name, Err(message))) => mistakes.push(Mistake::new(format!("steps.{index}"), format!("step `{name}`: {message}"))),
                None => mistakes.push(Mistake::new(format!("steps.{index}"), "unknown step")),
            }
        }
        if mistakes.is_empty() {
            Ok(Judge { column: self.column.clone(), steps: compiled, on_reject: self.on_reject })
        } else {
            Err(mistakes)
        }
    }

    /// The schema where no model stands in front: flags and, for what is rejected, the reason are added.
    fn own_schema(&self, input: &SchemaRef) -> SchemaRef {
        let fields = input.fields().iter().map(|field| {
            if *field.name() == self.column { Arc::new(Field::new(&self.column, DataType::Utf8, true)) } else { Arc::clone(field) }
        });
        let text = |name: &str| Arc::new(Field::new(name, DataType::Utf8, true));
        let added = [
            Arc::new(Field::new(flags_column(&self.column), flags_type(), true)),
            text(columns::REASON),
            text(columns::DETAIL),
            text(columns::LAST_TEXT),
        ];
        Arc::new(Schema::new_with_metadata(fields.chain(added).collect::<Vec<_>>(), input.metadata().clone()))
    }

    fn process(&self, judge: &Judge, batch: &RecordBatch) -> Result<RecordBatch> {
        let schema = self.own_schema(&batch.schema());
        let index = batch.schema().index_of(&self.column)?;
        let texts = cast(batch.column(index), &DataType::Utf8)?;
        let texts = texts.as_string::<i32>();
        let mut kept = StringBuilder::with_capacity(texts.len(), texts.value_data().len());
        let mut flags = ListBuilder::new(StringBuilder::new());
        let (mut reason, mut detail, mut last_text) = (StringBuilder::new(), StringBuilder::new(), StringBuilder::new());
        for text in texts {
            let verdict = text.map(|text| judge.judge(text)).transpose();
            let (accepted, rejected) = match verdict {
                Ok(accepted) => (accepted, None),
                Err(rejected) => (None, Some(rejected)),
            };
            kept.append_option(accepted.as_ref().map(|accepted| &accepted.text));
            accepted.iter().flat_map(|accepted| &accepted.flags).for_each(|flag| flags.values().append_value(flag));
            flags.append(accepted.is_some());
            reason.append_option(rejected.as_ref().map(|rejected| &rejected.reason));
            detail.append_option(rejected.as_ref().map(|rejected| &rejected.detail));
            last_text.append_option(text.filter(|_| rejected.is_some()));
        }
        let mut arrays = batch.columns().to_vec();
        arrays[index] = Arc::new(kept.finish());
        arrays.push(Arc::new(flags.finish()) as ArrayRef);
        arrays.extend([reason, detail, last_text].map(|mut builder| Arc::new(builder.finish()) as ArrayRef));
        Ok(RecordBatch::try_new(schema, arrays)?)
    }
}

/// The steps in their order, ready to judge a text.
#[derive(Debug)]
struct Judge {
    column: String,
    steps: Vec<(&'static str, Box<dyn Step>)>,
    on_reject: OnReject,
}

impl Acceptance for Judge {
    fn column(&self) -> &str {
        &self.column
    }

    fn judge(&self, text: &str) -> Result<Accepted, Rejected> {
        let mut text = Cow::Borrowed(text);
        let mut flags: Vec<String> = Vec::new();
        let mut flag = |name: &str| {
            if !flags.iter().any(|flag| flag == name) {
                flags.push(name.to_owned());
            }
        };
        for (name, step) in &self.steps {
            let repaired = match step.apply(&text) {
                Ok(Cow::Borrowed(_)) => continue,
                Ok(Cow::Owned(repaired)) => repaired,
                Err(rejection) if self.on_reject == OnReject::Keep => {
                    flag(&format!("rejected:{}", rejection.reason));
                    continue;
                }
                Err(rejection) => return Err(self.rejected(rejection.reason, rejection.detail)),
            };
            flag(name);
            text = Cow::Owned(repaired);
        }
        if text.trim().is_empty() {
            return Err(self.rejected("blank", "nothing is left of the answer".to_owned()));
        }
        Ok(Accepted { text: text.into_owned(), flags })
    }
}

impl Judge {
    fn rejected(&self, reason: &str, detail: String) -> Rejected {
        Rejected { reason: reason.to_owned(), detail, retry: self.on_reject == OnReject::Retry }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(json: Value) -> PostProcess {
        serde_json::from_value(json).expect("a config")
    }

    fn judge(on_reject: &str) -> Judge {
        stage(serde_json::json!({
            "column": "summary",
            "language": "nl",
            "on_reject": on_reject,
            "steps": [
                {"use": "replace-words", "words": {"filthy": "vuile"}},
                {"use": "remove-pattern", "pattern": "\\(\\d+-\\d+\\)"},
                {"use": "reject-length", "min_chars": 10},
            ],
        }))
        .judge()
        .expect("compiles")
    }

    #[test]
    fn repairs_are_flagged_and_rejections_have_a_reason() {
        let accepted = judge("retry").judge("De filthy lucht (45-102) moet schoner.").expect("accepted");
        assert_eq!(accepted.text, "De vuile lucht moet schoner.");
        assert_eq!(accepted.flags, ["replace-words", "remove-pattern"]);
        let rejected = judge("retry").judge("Kort.").expect_err("too short");
        assert_eq!((rejected.reason.as_str(), rejected.retry), ("too-short", true));
        assert!(!judge("dead-letter").judge("Kort.").expect_err("too short").retry);
        assert_eq!(judge("keep").judge("Kort.").expect("kept").flags, ["rejected:too-short"]);
    }

    #[test]
    fn every_wrong_step_is_reported_at_its_place() {
        let mistakes = stage(serde_json::json!({
            "column": "summary",
            "steps": [{"use": "normalize-text"}, {"use": "remove-pattern", "pattern": "("}, {"use": "reject-length"}],
        }))
        .judge()
        .expect_err("mistakes");
        assert_eq!(mistakes.iter().map(|mistake| mistake.at.as_str()).collect::<Vec<_>>(), ["steps.1", "steps.2"]);
    }

    #[test]
    fn alone_it_works_on_any_text_column() {
        let stage = stage(serde_json::json!({"column": "text", "steps": [{"use": "reject-length", "min_chars": 10}]}));
        let texts: ArrayRef = Arc::new(arrow::array::StringArray::from(vec![Some("lang genoeg om te blijven"), Some("kort"), None]));
        let batch = RecordBatch::try_from_iter([("text", texts)]).expect("a batch");
        let judge = stage.judge().expect("compiles");
        let out = stage.process(&judge, &batch).expect("processes");
        let reasons = out.column_by_name(columns::REASON).expect("reasons").as_string::<i32>();
        assert_eq!(reasons.iter().collect::<Vec<_>>(), [None, Some("too-short"), None]);
        assert_eq!(out.column_by_name("text").expect("texts").null_count(), 2);
    }
}
