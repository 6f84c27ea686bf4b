//! A pipeline as a DataFusion plan: planned, run, resumed, committed, queried. The only crate that knows
//! DataFusion; an [`Engine`] is handed a [`Registry`](promptmill_core::Registry) and does not know the stages.

mod canary;
mod commit;
pub mod compare;
mod engine;
mod estimate;
mod files;
mod forecast;
mod format;
mod fresh;
mod identity;
mod instants;
mod items;
pub mod journal;
mod key;
mod meaning;
mod node;
mod owner;
mod plan;
mod record;
mod run;
mod settings;
mod shape;
mod sink;
mod sorted;
mod source;
mod sql;
mod stats;
mod storage;
mod uuids;
mod zeros;

pub use canary::{CanaryRows, Mean, Share};
pub use commit::{Commit, CommitLog, DataFile};
pub use engine::{Engine, RunHandle};
pub use estimate::Estimate;
pub use forecast::Forecast;
pub use key::sql as key_in_sql;
pub use meaning::writer_options;
pub use plan::Plan;
pub use plan::names::rows_for_parquet;
pub use record::{RequestCounts, RowCounts, RunRecord, Sample, Status, Summary, Throughput, TokenCounts};
pub use run::{Ended, RunOptions, Scope, state_folder};
pub use source::{LeftOut, SourceSummary};
pub use storage::Folder;
