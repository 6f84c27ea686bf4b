//! A pipeline as a DataFusion plan: planned, run, resumed, committed, queried. The only crate that knows
//! DataFusion; it is handed a [`Registry`](promptmill_core::Registry) and does not know the stages.

mod canary;
mod commit;
pub mod compare;
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
pub mod sql;
mod stats;
mod storage;
mod uuids;
mod zeros;

pub use canary::{CanaryRows, Mean, Share};
pub use commit::{Commit, CommitLog, DataFile};
pub use estimate::Estimate;
pub use forecast::{Forecast, forecast};
pub use items::items;
pub use key::sql as key_in_sql;
pub use meaning::writer_options;
pub use plan::names::rows_for_parquet;
pub use plan::{Plan, check, explain, read};
pub use record::{RequestCounts, RowCounts, RunRecord, Sample, Status, Summary, Throughput, TokenCounts};
pub use run::{Ended, RunOptions, Scope, run, state_folder};
pub use source::{LeftOut, SourceSummary};
pub use storage::Folder;
