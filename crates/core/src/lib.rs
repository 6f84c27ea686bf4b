//! The vocabulary of promptmill: what a stage, a pipeline, an amount of money and a journalled attempt are.
//!
//! A pipeline file declares a source, a sequence of [`Stage`]s and a sink. Rows flow through the stages as
//! Arrow record batches; what a stage needs from the run it is part of is lent to it in a [`StageContext`].
//! This crate knows Arrow and nothing of DataFusion, of storage or of any model provider, so that somebody
//! who writes a stage compiles little.

mod acceptance;
mod answer;
mod blueprint;
mod canary;
mod diagnostic;
mod error;
mod fingerprint;
mod journal;
mod language;
mod likeness;
mod limits;
pub mod meaning;
mod meter;
mod money;
pub mod pipeline;
mod provider;
mod registry;
mod stage;
mod step;
mod traffic;

pub use acceptance::{About, Acceptance, Accepted, Effect, Effects, Rejected, Tally};
pub use answer::{AnswerField, AnswerShape, FieldType};
pub use blueprint::{
    AskSpec, AskedModel, Blueprint, Bounds, Declaration, NamedModel, OtherQuestion, PackSpec, Place, Predicate, Question, Setting,
    Variation,
};
pub use canary::{Canaries, Likenesses};
pub use diagnostic::{Diagnostic, Diagnostics, Mistake, Origin, nearest};
pub use error::{Error, ErrorKind, Failure, Result};
pub use fingerprint::{Fingerprint, RowId};
pub use journal::{Answered, Attempt, Begun, CostSource, Experience, Journal, NothingAnswered, Past};
pub use language::Language;
pub use likeness::likeness;
pub use limits::{Dimension, LimitHint, Per, RateLimits, Window};
pub use meter::{Flight, Meter, Reading, Trouble};
pub use money::{Above, Money, ParseMoneyError, Price, Quote, Tier, Tiers, Usage, share};
pub use pipeline::{ModelSpec, Pipeline, ProviderSpec, StageSpec};
pub use provider::{BuiltinModel, CallError, Charge, Class, Finish, Item, Opening, Provider, ProviderKind, Request, Response};
pub use registry::{Registry, StageKind};
pub use stage::{BatchStream, Extensions, RunContext, Stage, StageConfig, StageContext, Stop, StopReason, columns};
pub use step::{Rejection, Sees, Step, StepConfig, StepContext, StepKind};
pub use traffic::{Departure, InFlight, Returned, Traffic};
