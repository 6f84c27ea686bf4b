//! What a post-processing step is: a pure function from an answer to an answer, or to the reason it is
//! turned away, made from a typed config. Which steps there are is the business of a [`Registry`](crate::Registry);
//! the order they run in, the flags they leave and what happens to a rejected row belong to the stage.

use std::borrow::Cow;
use std::fmt::{self, Debug};

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::{About, Language};

/// Why a step turned an answer away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Stable and kebab-case: runs count their rejections by it.
    pub reason: &'static str,
    /// What was seen, for a person who reads the dead letter and for the model that is asked again.
    pub detail: String,
}

impl Rejection {
    /// A rejection for `reason`, with what was seen.
    pub fn new(reason: &'static str, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.detail)
    }
}

/// One step, ready to run. It holds no clock, socket or file, so the same answer always fares alike.
pub trait Step: Debug + Send + Sync {
    /// Keeps the text (`Cow::Borrowed`), repairs it (`Cow::Owned`, and then it differs: the step's name
    /// becomes a flag of the row) or turns it away. `about` is for the steps that compare the answer with what
    /// was asked; what is not known of it is no reason to turn an answer away.
    ///
    /// # Errors
    /// Why the answer is turned away.
    fn apply<'t>(&self, text: &'t str, about: &About<'_>) -> Result<Cow<'t, str>, Rejection>;
}

/// What a step needs to be listed: the config struct as it is written in the pipeline file.
pub trait StepConfig: DeserializeOwned + JsonSchema {
    /// What `use` says in the pipeline file, and the flag on the rows that the step repaired.
    const NAME: &'static str;
    /// The rest of an inline table that uses it, as TOML: shown in the reference, compiled by a test.
    const EXAMPLE: &'static str;
    /// One sentence for the catalogue.
    const SUMMARY: &'static str;
    /// The reasons that it rejects for; none for a step that only repairs.
    const REASONS: &'static [&'static str] = &[];
    /// What it has to see.
    const SEES: Sees = Sees::Text;

    /// Checks the config and makes the step. The message says which value is wrong and what would be right.
    ///
    /// # Errors
    /// That message.
    fn compile(self, context: &StepContext) -> Result<Box<dyn Step>, String>;
}

/// What the stage tells its steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StepContext {
    /// The language that the answers are meant to be in: the stage's `language`.
    pub language: Option<Language>,
}

/// What a step looks at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sees {
    /// The answer alone.
    #[default]
    Text,
    /// What was asked about the row, too.
    Item,
    /// The whole request, too.
    Request,
}

/// A step in the catalogue, its config type erased.
#[derive(Debug, Clone, Copy)]
pub struct StepKind {
    /// See [`StepConfig::NAME`].
    pub name: &'static str,
    /// See [`StepConfig::EXAMPLE`].
    pub example: &'static str,
    /// See [`StepConfig::SUMMARY`].
    pub summary: &'static str,
    /// See [`StepConfig::REASONS`].
    pub reasons: &'static [&'static str],
    /// See [`StepConfig::SEES`].
    pub sees: Sees,
    /// The JSON Schema of everything but `use`; self-contained, so it can be put inside another.
    pub schema: fn() -> Schema,
    /// Reads the config (without `use`) and makes the step.
    pub compile: Compile,
}

type Compile = fn(Value, &StepContext) -> Result<Box<dyn Step>, String>;

impl StepKind {
    /// The catalogue entry of `T`.
    #[must_use]
    pub const fn of<T: StepConfig>() -> Self {
        Self {
            name: T::NAME,
            example: T::EXAMPLE,
            summary: T::SUMMARY,
            reasons: T::REASONS,
            sees: T::SEES,
            schema: schema::<T>,
            compile: compile::<T>,
        }
    }

    /// The JSON Schema of the step's whole table, with `use` and, for a step that rejects, `on_reject`.
    #[must_use]
    pub fn table_schema(&self) -> Value {
        let mut schema = (self.schema)().to_value();
        let Some(object) = schema.as_object_mut() else { return schema };
        object.shift_remove("title");
        object.insert("type".to_owned(), "object".into());
        object.insert("additionalProperties".to_owned(), false.into());
        object.insert("description".to_owned(), self.summary.into());
        let mut properties = Map::from_iter([("use".to_owned(), json!({ "const": self.name }))]);
        properties.extend(object.get("properties").and_then(Value::as_object).cloned().unwrap_or_default());
        if !self.reasons.is_empty() {
            properties.insert("on_reject".to_owned(), self.on_reject_schema());
        }
        object.insert("properties".to_owned(), properties.into());
        let mut required = vec![Value::from("use")];
        required.extend(object.get("required").and_then(Value::as_array).cloned().unwrap_or_default());
        object.insert("required".to_owned(), required.into());
        schema
    }

    /// The setting by which a step that rejects departs from its stage.
    fn on_reject_schema(&self) -> Value {
        let reasons = self.reasons.iter().map(|reason| format!("`{reason}`")).collect::<Vec<_>>().join(", ");
        json!({
            "type": "string",
            "enum": ["retry", "dead-letter", "keep"],
            "description": format!(
                "What happens to an answer that this step rejects, for {reasons}. Left out: what the stage says. With `keep` the answer \
                 stays, with the flag `rejected:<reason>`."
            ),
        })
    }
}

fn schema<T: StepConfig>() -> Schema {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    settings.into_generator().into_root_schema_for::<T>()
}

fn compile<T: StepConfig>(value: Value, context: &StepContext) -> Result<Box<dyn Step>, String> {
    let config: T = serde_json::from_value(value).map_err(|error| error.to_string())?;
    config.compile(context)
}
