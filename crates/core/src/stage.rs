//! Stages, and what a run lends them.

use std::any::{Any, TypeId};
use std::collections::{BTreeSet, HashMap};
use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use futures::stream::BoxStream;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::{Acceptance, Answered, Error, Journal, Meter, Mistake, Money, Pipeline, Result};

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

    /// Key of the schema metadata in which `prompt-pack` tells `llm` how to ask, as JSON.
    pub const PACK: &str = "promptmill.pack";
    /// Key of the field metadata that marks a column as a model's answer, already judged by the acceptance.
    pub const ANSWER: &str = "promptmill.answer";
}

/// One step of a pipeline. The config struct, as written in TOML, is the stage.
pub trait Stage: Debug + Send + Sync + 'static {
    /// The schema this stage emits for `input`. Plan time: pure, finds every mistake.
    ///
    /// # Errors
    /// All the mistakes that this input brings to light.
    fn schema(&self, input: &SchemaRef) -> Result<SchemaRef, Vec<Mistake>>;

    /// Turns one partition into another. Run time: I/O is welcome; row order need not be kept.
    fn run(self: Arc<Self>, input: BatchStream, context: StageContext) -> BatchStream;

    /// What the planner has to know of this stage beyond its schema.
    fn declares(&self) -> Declares {
        Declares::default()
    }
}

/// What a stage needs to be listed: name, example, typed config.
pub trait StageConfig: Stage + DeserializeOwned + JsonSchema {
    /// The name after `use`.
    const NAME: &'static str;
    /// The stage's table in TOML, without `use`: shown in the reference, parsed by a test.
    const EXAMPLE: &'static str;
}

/// What a stage tells the planner, and what it lends to the stages before it. No stream runs backwards: a
/// rejected answer must be asked again by the stage that has the row and the budget, so `post-process` lends
/// its judgement to the `llm` in front of it, and `cost` its cap.
#[derive(Clone, Debug, Default)]
pub struct Declares {
    /// Columns of the source that the stage reads.
    pub reads: BTreeSet<String>,
    /// An SQL predicate that the rows in front of all stages must meet, with the setting it stands in.
    pub predicate: Option<(&'static str, String)>,
    /// Names under `[models]` that the stage calls, each with the setting that names it.
    pub models: Vec<(String, String)>,
    /// Everything of this stage that is part of the question asked about a row. A change here asks rows anew.
    pub question: Option<serde_json::Value>,
    /// Judges a model's answer before it counts as one.
    pub acceptance: Option<Arc<dyn Acceptance>>,
    /// The most that the whole pipeline may spend, over all its runs.
    pub budget: Option<Money>,
    /// What is configured of the requests: the run record sets it beside what was in force and observed.
    pub of_requests: serde_json::Map<String, serde_json::Value>,
}

/// What a run lends to a stage for one partition.
#[derive(Clone, Debug)]
pub struct StageContext {
    /// The pipeline, for the models and providers it declares.
    pub pipeline: Arc<Pipeline>,
    /// The identity of this run.
    pub run_id: Arc<str>,
    /// Every stage's part of the question, in order, as one text.
    pub question: Arc<str>,
    /// The rows that are settled already.
    pub answered: Arc<dyn Answered>,
    /// Where attempts become durable.
    pub journal: Arc<dyn Journal>,
    /// Whether models may be asked. If not, the journal's answers are all there is.
    pub asks: bool,
    /// The judgements of the stages behind, in their order.
    pub acceptance: Arc<[Arc<dyn Acceptance>]>,
    /// The cap declared by a stage behind.
    pub budget: Option<Money>,
    /// Where the run is counted.
    pub meter: Arc<Meter>,
    /// Says when to send nothing more.
    pub stop: Stop,
    /// Services shared by all partitions of the process.
    pub extensions: Arc<Extensions>,
}

/// Services by their type: one of each in a process.
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
pub enum StopReason {
    /// A signal, by its number.
    Interrupted(i32),
    /// The next request does not fit into what is left of the budget.
    Budget,
    /// Something that no retry cures: a wrong key, exhausted credit, a model that is not there.
    Fatal {
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
            Some(StopReason::Fatal { message, hint: Some(hint) }) => Err(Error::failed(message).hint(hint)),
            Some(StopReason::Fatal { message, hint: None }) => Err(Error::failed(message)),
            _ => Ok(()),
        }
    }
}
