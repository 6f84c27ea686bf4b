//! `post-process` repairs answers and turns garbage away.
//!
//! About one model answer in twenty is garbage of some kind: lines in another script, English words, typos,
//! metadata of the prompt, the wrong language. The stage is a list of small steps, each in a file of its
//! own, run in the order in which they are written. Behind an `llm` stage its judgement is lent to that
//! stage, which asks again for what is rejected; alone it works on any text column.

mod cut;
mod drop_boilerplate;
mod drop_lines_in_other_scripts;
mod drop_repeated_sentences;
mod excerpt;
mod markdown;
mod normalize_text;
mod phrases;
mod reject_blank;
mod reject_echo;
mod reject_hard_to_read;
mod reject_language;
mod reject_length;
mod reject_pattern;
mod reject_refusal;
mod reject_repetition;
mod reject_swapped;
mod reject_unfounded;
mod reject_unrelated;
mod reject_words;
mod remove_metadata;
mod remove_pattern;
mod replace_words;
#[cfg(test)]
mod samples;
mod sentences;
mod steps;
mod words;

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListBuilder, RecordBatch, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use futures::{StreamExt, TryStreamExt};
use promptmill_core::{
    About, Acceptance, Accepted, BatchStream, Declaration, Effect, Error, Language, Mistake, Place, Registry, Rejected, Rejection, Result,
    Sees, Stage, StageConfig, StageContext, Step, StepConfig, StepContext, StepKind, Tally, columns, nearest,
};
use schemars::{JsonSchema, Schema as JsonSchemaValue, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::llm::{flags_column, flags_type};

pub(crate) use steps::steps;

/// Repairs the answers in a column and turns garbage away, step by step.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PostProcess {
    /// The column of the answers.
    column: String,
    /// The column of what the answers are about, for the steps that compare the two. Only where no `llm` stands in
    /// front: behind one they see what the model was shown.
    #[serde(default)]
    input: Option<String>,
    /// The language that the answers should be in, as `nl` or `en`; steps that judge language need it. Behind an `llm` it is
    /// also the language in which the shape of the answer is asked for: Dutch, German, French and Spanish, else English.
    #[serde(default)]
    language: Option<String>,
    /// The steps, in the order in which they run.
    steps: Vec<StepSetting>,
    /// What happens to a rejected answer. A step that rejects may say otherwise for itself.
    #[serde(default)]
    on_reject: OnReject,
    /// The steps that there are.
    #[serde(skip)]
    #[schemars(skip)]
    known: Vec<StepKind>,
}

/// What happens to a rejected answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum OnReject {
    /// The row is asked again with the reason, then in smaller packs, then of the fallback models; at last it is a dead
    /// letter. Where no model wrote the text, it is one at once.
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
        // Which there are is filled in by the stage.
        json_schema!({ "type": "object" })
    }
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

    fn schema_among(generator: &mut SchemaGenerator, registry: &Registry) -> JsonSchemaValue {
        let mut schema = Self::json_schema(generator);
        if let Some(Value::Object(steps)) = schema.pointer_mut("/properties/steps") {
            let one_of: Vec<Value> = registry.steps.iter().map(StepKind::table_schema).collect();
            steps.insert("items".to_owned(), json!({ "oneOf": one_of }));
        }
        schema
    }

    fn among(self, registry: &Registry) -> Self {
        Self { known: registry.steps.clone(), ..self }
    }
}

impl Stage for PostProcess {
    fn schema(&self, input: &SchemaRef, place: &Place) -> Result<SchemaRef, Vec<Mistake>> {
        let judge = self.judge();
        let mut mistakes = Vec::new();
        let field = text_field(input, "column", &self.column, &mut mistakes);
        let is_judged = field.is_some() && place.is_answered(&self.column);
        if is_judged && field.is_some_and(|field| input.column_with_name(&flags_column(field.name())).is_none()) {
            mistakes.push(Mistake::new("column", format!("column `{}` holds one of a few fixed words, not a text to repair", self.column)));
        }
        match &self.input {
            Some(_) if is_judged => mistakes.push(
                Mistake::new("input", "`input` is for texts that no model was asked for here")
                    .hint(Some("leave it out: the steps see the item")),
            ),
            Some(name) => drop(text_field(input, "input", name, &mut mistakes)),
            None => {}
        }
        match judge {
            Err(wrong) => mistakes.splice(0..0, wrong).for_each(drop),
            Ok(judge) if !is_judged && field.is_some() => mistakes.extend(judge.blind(self.input.is_some())),
            Ok(_) => {}
        }
        match field {
            Some(_) if mistakes.is_empty() => Ok(if is_judged { Arc::clone(input) } else { self.own_schema(input) }),
            _ => Err(mistakes),
        }
    }

    fn run(self: Arc<Self>, input: BatchStream, context: StageContext) -> BatchStream {
        let judge = self.judge().map_err(|mistakes| mistakes.first().map_or_else(String::new, |mistake| mistake.message.clone()));
        input
            .and_then(move |batch| {
                let result = match &judge {
                    // The `llm` stage in front has applied the judgement already.
                    _ if context.place.is_answered(&self.column) => Ok(batch),
                    Ok(judge) => {
                        let mut tally = Tally::default();
                        let processed = self.process(judge, &batch, &mut tally);
                        context.meter.tally(&tally);
                        processed
                    }
                    Err(message) => Err(Error::failed(message.clone())),
                };
                futures::future::ready(result)
            })
            .boxed()
    }

    fn declares(&self) -> Vec<Declaration> {
        let judge = self.judge().ok().map(|judge| Declaration::Judge(Arc::new(judge)));
        let reads = [Some(&self.column), self.input.as_ref()].into_iter().flatten().cloned().map(Declaration::Reads);
        reads.chain(judge).collect()
    }
}

/// The column that a setting names, if it is there and a text.
fn text_field<'s>(input: &'s SchemaRef, setting: &str, name: &str, mistakes: &mut Vec<Mistake>) -> Option<&'s Field> {
    let Ok(field) = input.field_with_name(name) else {
        let known: Vec<&str> = input.fields().iter().map(|field| field.name().as_str()).filter(|name| !name.starts_with("__")).collect();
        let hint = nearest(name, known.iter().copied())
            .map_or_else(|| format!("known columns: {}", known.join(", ")), |near| format!("did you mean `{near}`?"));
        mistakes.push(Mistake::new(setting, format!("there is no column `{name}` here")).hint(Some(hint)));
        return None;
    };
    if !field.data_type().is_string() {
        mistakes.push(Mistake::new(setting, format!("column `{name}` is no text but {}", field.data_type())));
    }
    Some(field)
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
            match Compiled::new(&self.known, setting.clone(), &context, self.on_reject) {
                Ok(step) => compiled.push(step),
                Err(message) => mistakes.push(Mistake::new(format!("steps.{index}"), message)),
            }
        }
        if mistakes.is_empty() {
            Ok(Judge { column: self.column.clone(), language, steps: compiled, on_reject: self.on_reject })
        } else {
            Err(mistakes)
        }
    }

    /// The schema where no model stands in front: flags and, for what is rejected, the reason are added.
    fn own_schema(&self, input: &SchemaRef) -> SchemaRef {
        let fields = input.fields().iter().map(|field| {
            if *field.name() == self.column { Arc::new(Field::new(&self.column, DataType::Utf8, true)) } else { Arc::clone(field) }
        });
        let flags = Arc::new(Field::new(flags_column(&self.column), flags_type(), true));
        // Behind an `llm` that wrote other columns the reasons are there already.
        let verdict = VERDICT.iter().filter(|name| input.column_with_name(name).is_none());
        let added = verdict.map(|name| Arc::new(Field::new(*name, DataType::Utf8, true)));
        Arc::new(Schema::new_with_metadata(fields.chain([flags]).chain(added).collect::<Vec<_>>(), input.metadata().clone()))
    }

    fn process(&self, judge: &Judge, batch: &RecordBatch, tally: &mut Tally) -> Result<RecordBatch> {
        let schema = self.own_schema(&batch.schema());
        let index = batch.schema().index_of(&self.column)?;
        let texts = cast(batch.column(index), &DataType::Utf8)?;
        let texts = texts.as_string::<i32>();
        let inputs =
            self.input.as_ref().and_then(|name| batch.column_by_name(name)).map(|column| cast(column, &DataType::Utf8)).transpose()?;
        let inputs = inputs.as_ref().map(|inputs| inputs.as_string::<i32>());
        let mut kept = StringBuilder::with_capacity(texts.len(), texts.value_data().len());
        let mut flags = ListBuilder::new(StringBuilder::new());
        let before = VERDICT.map(|name| batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>()));
        let mut verdict = VERDICT.map(|_| StringBuilder::new());
        for (row, text) in texts.iter().enumerate() {
            if before[0].is_some_and(|reasons| reasons.is_valid(row)) {
                kept.append_option(text);
                flags.append(false);
                for (builder, before) in verdict.iter_mut().zip(before) {
                    builder.append_option(before.filter(|before| before.is_valid(row)).map(|before| before.value(row)));
                }
                continue;
            }
            let item = inputs.filter(|inputs| inputs.is_valid(row)).map(|inputs| inputs.value(row));
            let judged = text.map(|text| judge.judge(text, &About { item, ..About::NOTHING }, tally)).transpose();
            let (accepted, rejected) = match judged {
                Ok(accepted) => (accepted, None),
                Err(rejected) => (None, Some(rejected)),
            };
            kept.append_option(accepted.as_ref().map(|accepted| &accepted.text));
            accepted.iter().flat_map(|accepted| &accepted.flags).for_each(|flag| flags.values().append_value(flag));
            flags.append(accepted.is_some());
            let said = rejected.as_ref().map(|rejected| [rejected.reason.as_str(), rejected.detail.as_str(), text.unwrap_or_default()]);
            for (place, builder) in verdict.iter_mut().enumerate() {
                builder.append_option(said.map(|said| said[place]));
            }
        }
        let mut arrays = batch.columns().to_vec();
        arrays[index] = Arc::new(kept.finish());
        arrays.push(Arc::new(flags.finish()) as ArrayRef);
        for (name, mut builder) in VERDICT.into_iter().zip(verdict) {
            let array: ArrayRef = Arc::new(builder.finish());
            match batch.schema().index_of(name) {
                Ok(place) => arrays[place] = array,
                Err(_) => arrays.push(array),
            }
        }
        Ok(RecordBatch::try_new(schema, arrays)?)
    }
}

/// What is said about a row that is rejected: why, in more words, and the text.
const VERDICT: [&str; 3] = [columns::REASON, columns::DETAIL, columns::LAST_TEXT];

/// The steps in their order, ready to judge a text.
#[derive(Debug)]
struct Judge {
    column: String,
    language: Option<Language>,
    steps: Vec<Compiled>,
    on_reject: OnReject,
}

/// A step, and what happens to what it rejects.
#[derive(Debug)]
struct Compiled {
    kind: StepKind,
    step: Box<dyn Step>,
    on_reject: OnReject,
}

impl Compiled {
    /// Makes a step from its table; what the stage says holds where the step says nothing.
    fn new(known: &[StepKind], mut config: Map<String, Value>, context: &StepContext, of_stage: OnReject) -> Result<Self, String> {
        let name = config.shift_remove("use");
        let kind = *known.iter().find(|kind| name.as_ref().and_then(Value::as_str) == Some(kind.name)).ok_or("unknown step")?;
        let own = if kind.reasons.is_empty() { None } else { config.shift_remove("on_reject") };
        let on_reject = own.map(serde_json::from_value).transpose().map_err(|error| format!("step `{}`: {error}", kind.name))?;
        let step = (kind.compile)(Value::Object(config), context).map_err(|message| format!("step `{}`: {message}", kind.name))?;
        Ok(Self { kind, step, on_reject: on_reject.unwrap_or(of_stage) })
    }
}

/// The step that stands at the end of every list, said or not.
const NOT_BLANK: &str = "reject-blank";

impl Acceptance for Judge {
    fn column(&self) -> &str {
        &self.column
    }

    fn language(&self) -> Option<&str> {
        self.language.map(Language::code)
    }

    fn judge(&self, text: &str, about: &About<'_>, tally: &mut Tally) -> Result<Accepted, Rejected> {
        let mut text = Cow::Borrowed(text);
        let mut flags: Vec<String> = Vec::new();
        let mut flag = |name: &str| {
            if !flags.iter().any(|flag| flag == name) {
                flags.push(name.to_owned());
            }
        };
        for Compiled { kind, step, on_reject } in &self.steps {
            let repaired = match step.apply(&text, about) {
                Ok(Cow::Borrowed(_)) => continue,
                Ok(Cow::Owned(repaired)) => repaired,
                Err(rejection) if *on_reject == OnReject::Keep => {
                    tally.note(kind.name, Effect::Flagged);
                    flag(&format!("rejected:{}", rejection.reason));
                    continue;
                }
                Err(rejection) => {
                    tally.note(kind.name, Effect::Rejected);
                    return Err(rejected(rejection.reason, rejection.detail, *on_reject));
                }
            };
            tally.note(kind.name, Effect::Repaired);
            flag(kind.name);
            text = Cow::Owned(repaired);
        }
        if text.trim().is_empty() {
            tally.note(NOT_BLANK, Effect::Rejected);
            return Err(rejected("blank", "nothing is left of the answer".to_owned(), self.on_reject));
        }
        Ok(Accepted { text: text.into_owned(), flags })
    }
}

fn rejected(reason: &str, detail: String, on_reject: OnReject) -> Rejected {
    Rejected { reason: reason.to_owned(), detail, retry: on_reject == OnReject::Retry }
}

impl Judge {
    /// The steps that could see nothing of what they compare with, where no model was asked.
    fn blind(&self, has_input: bool) -> impl Iterator<Item = Mistake> {
        self.steps.iter().enumerate().filter_map(move |(index, Compiled { kind, .. })| {
            let at = format!("steps.{index}");
            match kind.sees {
                Sees::Item if !has_input => Some(
                    Mistake::new(at, format!("step `{}` compares a text with what it is about", kind.name))
                        .hint(Some("name the column of that: `input = \"body\"`")),
                ),
                Sees::Request => {
                    Some(Mistake::new(at, format!("step `{}` compares the rows of a request: it works behind `llm` only", kind.name)))
                }
                Sees::Item | Sees::Text => None,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(json: Value) -> PostProcess {
        let stage: PostProcess = serde_json::from_value(json).expect("a config");
        stage.among(&crate::registry())
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
        let accepted =
            judge("retry").judge("De filthy lucht (45-102) moet schoner.", &About::NOTHING, &mut Tally::default()).expect("accepted");
        assert_eq!(accepted.text, "De vuile lucht moet schoner.");
        assert_eq!(accepted.flags, ["replace-words", "remove-pattern"]);
        let rejected = judge("retry").judge("Kort.", &About::NOTHING, &mut Tally::default()).expect_err("too short");
        assert_eq!((rejected.reason.as_str(), rejected.retry), ("too-short", true));
        assert!(!judge("dead-letter").judge("Kort.", &About::NOTHING, &mut Tally::default()).expect_err("too short").retry);
        assert_eq!(judge("keep").judge("Kort.", &About::NOTHING, &mut Tally::default()).expect("kept").flags, ["rejected:too-short"]);
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
        let (judge, mut tally) = (stage.judge().expect("compiles"), Tally::default());
        let out = stage.process(&judge, &batch, &mut tally).expect("processes");
        let reasons = out.column_by_name(columns::REASON).expect("reasons").as_string::<i32>();
        assert_eq!(reasons.iter().collect::<Vec<_>>(), [None, Some("too-short"), None]);
        assert_eq!(out.column_by_name("text").expect("texts").null_count(), 2);
    }

    #[test]
    fn a_step_may_depart_from_its_stage_and_all_is_counted() {
        let judge = stage(serde_json::json!({
            "column": "summary",
            "steps": [
                {"use": "normalize-text"},
                {"use": "reject-length", "max_chars": 20, "on_reject": "keep"},
                {"use": "reject-words", "words": ["taalmodel"]},
            ],
        }))
        .judge()
        .expect("compiles");
        let mut tally = Tally::default();
        let accepted = judge.judge("De motie vraagt  om geld.", &About::NOTHING, &mut tally).expect("kept");
        assert_eq!(accepted.flags, ["normalize-text", "rejected:too-long"]);
        assert!(judge.judge("Ik  ben een taalmodel.", &About::NOTHING, &mut tally).expect_err("rejected").retry);
        judge.judge(" ", &About::NOTHING, &mut tally).expect_err("blank");
        let counted: Vec<_> = tally.iter().map(|(step, did)| (step, did.repaired, did.flagged, did.rejected)).collect();
        assert_eq!(
            counted,
            [("normalize-text", 3, 0, 0), ("reject-blank", 0, 0, 1), ("reject-length", 0, 2, 0), ("reject-words", 0, 0, 1)]
        );
    }

    #[test]
    fn a_repair_has_nothing_to_reject() {
        let mistakes = stage(serde_json::json!({
            "column": "summary",
            "steps": [{"use": "normalize-text", "on_reject": "keep"}, {"use": "reject-blank", "on_reject": "drop"}],
        }))
        .judge()
        .expect_err("mistakes");
        let messages: Vec<_> = mistakes.iter().map(|mistake| mistake.message.as_str()).collect();
        assert!(messages[0].starts_with("step `normalize-text`: unknown field `on_reject`"), "{messages:?}");
        assert!(messages[1].starts_with("step `reject-blank`: unknown variant `drop`, expected one of `retry`"), "{messages:?}");
    }

    #[test]
    fn texts_are_compared_with_the_input_column() {
        let steps = serde_json::json!([{"use": "reject-unfounded"}]);
        let texts = |texts: [&str; 2]| Arc::new(arrow::array::StringArray::from(texts.to_vec())) as ArrayRef;
        let body = ["In 2024 zijn 150 huizen beschadigd.", "In 2031 ook."];
        let summary = ["Er zijn 150 huizen stuk.", "Er zijn 99 huizen stuk."];
        let batch = RecordBatch::try_from_iter([("body", texts(body)), ("summary", texts(summary))]).expect("a batch");
        let blind = stage(serde_json::json!({"column": "summary", "steps": steps}));
        let mistakes = blind.schema(&batch.schema(), &Place::alone()).expect_err("nothing to compare with");
        assert_eq!(
            (mistakes[0].at.as_str(), mistakes[0].hint.as_deref()),
            ("steps.0", Some("name the column of that: `input = \"body\"`"))
        );
        let seeing = stage(serde_json::json!({"column": "summary", "input": "body", "steps": steps}));
        seeing.schema(&batch.schema(), &Place::alone()).expect("fits");
        let out = seeing.process(&seeing.judge().expect("compiles"), &batch, &mut Tally::default()).expect("processes");
        let reasons = out.column_by_name(columns::REASON).expect("reasons").as_string::<i32>();
        assert_eq!(reasons.iter().collect::<Vec<_>>(), [None, Some("unfounded-number")]);
        let request = stage(serde_json::json!({"column": "summary", "input": "body", "steps": [{"use": "reject-swapped"}]}));
        assert!(request.schema(&batch.schema(), &Place::alone()).expect_err("no request")[0].message.contains("works behind `llm` only"));
    }

    #[test]
    fn a_row_that_is_a_dead_letter_stays_one() {
        let texts = |texts: [Option<&str>; 2]| Arc::new(arrow::array::StringArray::from(texts.to_vec())) as ArrayRef;
        let batch = RecordBatch::try_from_iter([
            ("title", texts([Some("Kort"), Some("Kort")])),
            (columns::REASON, texts([Some("missing"), None])),
            (columns::DETAIL, texts([Some("not named"), None])),
            (columns::LAST_TEXT, texts([None, None])),
        ])
        .expect("a batch");
        let stage = stage(serde_json::json!({"column": "title", "steps": [{"use": "reject-length", "min_chars": 10}]}));
        let out = stage.process(&stage.judge().expect("compiles"), &batch, &mut Tally::default()).expect("processes");
        let column = |name| out.column_by_name(name).expect("a column").as_string::<i32>().iter().collect::<Vec<_>>();
        assert_eq!(column(columns::REASON), [Some("missing"), Some("too-short")]);
        assert_eq!(column(columns::LAST_TEXT), [None, Some("Kort")]);
        assert_eq!(out.num_columns(), 5, "a column of flags and nothing else is new: {:?}", out.schema());
    }

    #[test]
    fn fields_of_a_typed_answer_are_texts_or_they_are_not() {
        use std::collections::BTreeMap;

        use promptmill_core::{AnswerField, AnswerShape, AskSpec, Blueprint, Bounds, FieldType, PackSpec};
        let answer = |name: &str| Field::new(name, DataType::Utf8, true);
        let shape = ["summary", "urgency"].map(|name| AnswerField::new(name, FieldType::String)).to_vec();
        let pack = PackSpec {
            system: None,
            prompt: String::new(),
            instructions: None,
            rows: Bounds::default(),
            shape: AnswerShape::Fields(shape),
        };
        let ask = AskSpec {
            models: Vec::new(),
            temperature: None,
            concurrency: Bounds::default(),
            attempts: 1,
            max_tokens_per_row: 1,
            canary: 0.0,
            timeout: std::time::Duration::from_secs(1),
            pace: &[],
        };
        let declared = vec![vec![Declaration::Pack(pack)], vec![Declaration::Ask(ask)], Vec::new()];
        let place = Arc::new(Blueprint::new(declared, &BTreeMap::new(), &BTreeMap::new())).place(2);
        let schema = Arc::new(Schema::new(vec![answer("summary"), Field::new("summary_flags", flags_type(), true), answer("urgency")]));
        let of = |column: &str| stage(serde_json::json!({"column": column, "steps": [{"use": "reject-swapped"}]})).schema(&schema, &place);
        assert_eq!(of("summary"), Ok(Arc::clone(&schema)));
        let mistakes = of("urgency").expect_err("no text");
        assert_eq!(mistakes[0].message, "column `urgency` holds one of a few fixed words, not a text to repair");
        let with_input = stage(serde_json::json!({"column": "summary", "input": "summary", "steps": []})).schema(&schema, &place);
        assert_eq!(with_input.expect_err("no use")[0].at, "input");
    }
}
