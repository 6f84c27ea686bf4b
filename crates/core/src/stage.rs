//! Stages, and what a run lends them.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use futures::stream::BoxStream;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::watch;

use crate::blueprint::{Declaration, Place, Setting, Variation};
use crate::journal::NoJournal;
use crate::{Answered, Error, ErrorKind, Journal, Meter, Mistake, Money, Registry, Result};

/// Record batches as they flow between stages.
pub type BatchStream = BoxStream<'static, Result<RecordBatch>>;

/// Columns that the engine and the stages pass to each other and that never reach a file. Their names start
/// with two underscores, which a source's column may not.
pub mod columns {
    /// Utf8, not null: the row's key as text. Added by the engine in front of the stages.
    pub const KEY: &str = "__key";
    /// Utf8: what the model is shown of the row; null where there is nothing to show. Added by `prompt-pack`.
    pub const ITEM: &str = "__item";
    /// Utf8: why there is no item; null where there is one. Added by `prompt-pack`.
    pub const ITEM_ERROR: &str = "__item_error";
    /// FixedSizeBinary(16), not null: the fingerprint of what is asked about the row. Added by `prompt-pack`.
    pub const QUESTION: &str = "__question";
    /// Utf8: why the row can have no place in the results, whatever is answered; null for all others. Added by the engine in
    /// front of the stages, where columns of the source tell.
    pub const UNSTORABLE: &str = "__unstorable";
    /// The reason of such a row.
    pub const UNSTORABLE_REASON: &str = "partition-too-long";
    /// Utf8: why the row is a dead letter; null for a row with an answer. Added by `llm`.
    pub const REASON: &str = "__reason";
    /// Utf8: the reason in more words.
    pub const DETAIL: &str = "__detail";
    /// Utf8: the last thing a model said about a dead letter.
    pub const LAST_TEXT: &str = "__last_text";

    /// The columns in which `llm` accounts for a row. A source that is another pipeline's results has them too;
    /// they do not travel along.
    pub const ACCOUNTING: [&str; 5] = ["llm_model", "llm_attempts", "input_tokens", "output_tokens", "cost_usd"];
}

/// One step of a pipeline. The config struct, as written in TOML, is the stage.
///
/// A stage in front of the question may change, add and drop rows. One behind it passes every row on, once: behind the stage
/// that makes questions it keeps the columns that those pass on, behind the stage that asks the answers and what they cost. It may
/// add columns, and turn a row away with a reason in [`columns::REASON`].
pub trait Stage: Debug + Send + Sync + 'static {
    /// The schema this stage emits for `input`, where it stands. Plan time: pure, finds every mistake.
    ///
    /// # Errors
    /// All the mistakes that this input brings to light.
    fn schema(&self, input: &SchemaRef, place: &Place) -> Result<SchemaRef, Vec<Mistake>>;

    /// Turns one partition into another. Run time: I/O is welcome; row order need not be kept.
    fn run(self: Arc<Self>, input: BatchStream, context: StageContext) -> BatchStream;

    /// What the planner has to know of this stage beyond its schema. No stream runs backwards: what a stage lends to those in
    /// front of it, such as a judgement or a budget, it declares.
    fn declares(&self) -> Vec<Declaration> {
        Vec::new()
    }

    /// The settings by which the stage, of which the table says `written`, takes part in another way to ask; none if it has no
    /// part in it.
    fn varied(&self, _variation: &Variation<'_>, _written: &Value) -> Vec<Setting> {
        Vec::new()
    }
}

/// What a stage needs to be listed: name, example, typed config.
pub trait StageConfig: Stage + DeserializeOwned + JsonSchema {
    /// The name after `use`.
    const NAME: &'static str;
    /// The stage's table in TOML, without `use`: shown in the reference, parsed by a test.
    const EXAMPLE: &'static str;

    /// The JSON Schema of the stage's table, where that depends on what else a registry lists.
    fn schema_among(generator: &mut SchemaGenerator, _registry: &Registry) -> Schema {
        Self::json_schema(generator)
    }

    /// The stage, made acquainted with what else a registry lists.
    #[must_use]
    fn among(self, _registry: &Registry) -> Self {
        self
    }
}

/// What a run lends to a stage for one partition.
#[derive(Clone, Debug)]
pub struct StageContext {
    /// Where the stage stands, and what the pipeline declares.
    pub place: Place,
    /// The run that it is part of.
    pub run: Arc<RunContext>,
    /// Where the run is counted.
    pub meter: Arc<Meter>,
    /// Says when to send nothing more.
    pub stop: Stop,
    /// Services that outlive the run.
    pub services: Arc<Extensions>,
}

impl StageContext {
    /// The same for a stage at this place.
    #[must_use]
    pub fn at(&self, place: &Place) -> Self {
        Self { place: place.clone(), ..self.clone() }
    }
}

/// A run, as the stages see it.
#[derive(Debug)]
pub struct RunContext {
    /// Its identity.
    pub id: Arc<str>,
    /// What all rows are asked, as one text.
    pub question: Arc<str>,
    /// The rows that are settled already.
    pub answered: Arc<dyn Answered>,
    /// Where attempts become durable.
    pub journal: Arc<dyn Journal>,
    /// Whether models may be asked. If not, the journal's answers are all there is.
    pub asks: bool,
    /// Whether what earlier runs have asked about a row that is not settled counts towards its attempts. It does not where rows
    /// that were given up are asked once more.
    pub counts_earlier: bool,
    /// The most that the pipeline may spend, over all its runs.
    pub budget: Option<Money>,
    /// What the partitions of the run share.
    pub shared: Extensions,
}

impl RunContext {
    /// For somebody who only looks at what would be asked: nothing is journalled.
    pub fn looking(question: impl Into<Arc<str>>, answered: Arc<dyn Answered>) -> Self {
        Self {
            id: "none".into(),
            question: question.into(),
            answered,
            journal: Arc::new(NoJournal),
            asks: true,
            counts_earlier: true,
            budget: None,
            shared: Extensions::default(),
        }
    }
}

/// Services by their type: one of each.
#[derive(Default)]
pub struct Extensions(Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>);

impl Extensions {
    /// The service of this type, made by `init` if it is the first time that it is asked for.
    pub fn get_or_init<T: Send + Sync + 'static>(&self, init: impl FnOnce() -> T) -> Arc<T> {
        let mut services = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let service = services.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(init())).clone();
        drop(services);
        service.downcast().unwrap_or_else(|_| unreachable!("services are filed under their own type"))
    }

    /// Puts a service in place, before anybody asks for it.
    pub fn insert<T: Send + Sync + 'static>(&self, service: T) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(TypeId::of::<T>(), Arc::new(service));
    }
}

impl Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let services = self.0.lock().unwrap_or_else(PoisonError::into_inner).len();
        write!(f, "Extensions({services})")
    }
}

/// Why a run sends nothing more although rows are left.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// A signal, by its number.
    Interrupted(i32),
    /// The next request does not fit into what is left of the budget.
    Budget,
    /// Somebody asked for it.
    Asked,
    /// Something in this process failed; the run says what.
    Failed,
    /// Something that no retry cures: a wrong key, exhausted credit, a model that is not there.
    Fatal {
        /// What kind of thing it is.
        kind: ErrorKind,
        /// What happened.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
}

/// Says when to send nothing more: what is in flight is settled, what is answered is committed, the rest stays.
#[derive(Clone, Debug)]
pub struct Stop(watch::Sender<Option<StopReason>>);

impl Default for Stop {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Stop {
    /// Asks for the stop. The first reason stands.
    pub fn request(&self, reason: StopReason) {
        self.0.send_if_modified(|current| {
            let first = current.is_none();
            if first {
                *current = Some(reason);
            }
            first
        });
    }

    /// Why the run stops, if it does.
    pub fn reason(&self) -> Option<StopReason> {
        self.0.borrow().clone()
    }

    /// Whether the run stops.
    pub fn is_requested(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Returns when a stop has been asked for.
    pub async fn requested(&self) {
        // The sender lives in `self`, so the channel cannot close while this waits.
        let _ = self.0.subscribe().wait_for(Option::is_some).await;
    }

    /// The reason as an error, where it is one.
    ///
    /// # Errors
    /// If the stop has a fatal reason.
    pub fn into_result(self) -> Result<()> {
        match self.reason() {
            Some(StopReason::Fatal { kind, message, hint }) => {
                let error = Error::failed(message).of(kind);
                Err(match hint {
                    Some(hint) => error.hint(hint),
                    None => error,
                })
            }
            _ => Ok(()),
        }
    }
}
