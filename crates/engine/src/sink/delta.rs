//! The sink as a Delta Lake table: the table's log follows the commits.
//!
//! The numbered records stay the truth, as for bare Parquet. Behind each record that adds or removes files of results
//! goes one transaction with the same files and the record's number, in the way in which Delta lets an application
//! say how far it has come. A crash in between leaves the table one record behind; the next run reads the number and
//! writes what is missing, once.
//!
//! Files that a commit takes out stay where they are: older versions of the table name them, until its owner's VACUUM.

mod columns;
mod log;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use deltalake_core::kernel::{Action, MetadataExt, Remove, StructType, new_metadata};
use deltalake_core::logstore::LogStoreRef;
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::table::state::DeltaTableState;
use promptmill_core::{Error, Result};

use self::columns::{check_partitions, columns, protocol, reshaped, with_those_of};
pub(crate) use self::columns::{storable, storable_as_partition};
use self::log::{add, failed, log_store, seen, transact};
use super::layout::Layout;
use crate::commit::{Commit, CommitLog};
use crate::storage::Folder;

/// What the table looks like from this run on.
pub(super) struct Shape<'l> {
    pub(super) layout: &'l Layout,
    /// What the table is called.
    pub(super) name: String,
    /// Whether nothing of what is in the table will stay when this run is through.
    pub(super) is_replaced: bool,
}

/// A Delta table behind the commits.
pub(super) struct Table {
    folder: Folder,
    store: LogStoreRef,
    state: DeltaTableState,
    /// What our transactions are known by in its log.
    known: String,
    partition_by: Vec<String>,
    /// New columns: part of the next transaction.
    pending: Vec<Action>,
}

impl Table {
    /// Opens the table of a sink, or makes it from what has been committed, and lets it catch up.
    pub(super) async fn open(folder: &Folder, known: String, shape: Shape<'_>, log: &CommitLog) -> Result<Self> {
        let Shape { layout, name, is_replaced } = shape;
        let store = log_store(folder)?;
        let columns = columns(layout)?;
        let mut table = if store.is_delta_table_location().await.map_err(|error| failed(folder, error))? {
            let state = DeltaTableState::try_new(store.as_ref(), None).await.map_err(|error| failed(folder, error))?;
            Self { folder: folder.clone(), store, state, known, partition_by: layout.partition_by.clone(), pending: Vec::new() }
        } else {
            check_partitions(folder, layout, log.results())?;
            let columns = with_those_of(folder, &columns, log.results()).await?;
            let metadata =
                new_metadata(&columns, &layout.partition_by, Vec::<(String, String)>::new()).and_then(|metadata| metadata.with_name(name));
            let metadata = metadata.map_err(|error| failed(folder, error))?;
            let protocol = protocol(&columns)?;
            let mut actions = vec![Action::Protocol(protocol.clone()), Action::Metadata(metadata.clone())];
            let at = Utc::now().timestamp_millis();
            actions.extend(log.results().iter().map(|file| add(file, &layout.partition_by, at, true)));
            let location = store.root_url().clone();
            let operation = DeltaOperation::Create { mode: SaveMode::ErrorIfExists, location, protocol, metadata };
            let state = transact(folder, &store, None, actions, operation, &known, log.len()).await?;
            Self { folder: folder.clone(), store, state, known, partition_by: layout.partition_by.clone(), pending: Vec::new() }
        };
        let Some(seen) = seen(&table.state, &table.store, &table.known).await.map_err(|error| failed(folder, error))? else {
            return Err(Error::failed(format!("sink `{folder}` holds a Delta table that this pipeline has not written"))
                .hint("choose another `sink.path`; or, if the pipeline's name has changed, point `state.path` at its old state"));
        };
        let live = table.live();
        // After a crash it may be a record that is yet to follow that leaves nothing behind.
        let stays = log.results().iter().any(|file| live.contains(&file.path));
        if !is_replaced {
            table.reshape(&columns, !stays)?;
        }
        for commit in log.since(seen).await? {
            table.follow(&commit).await?;
        }
        table.check_untouched(log)?;
        if is_replaced {
            table.reshape(&columns, true)?;
        }
        Ok(table)
    }

    /// Does what a record says, in one transaction.
    pub(super) async fn follow(&mut self, commit: &Commit) -> Result<()> {
        let removed = commit.removes().results;
        if commit.added.is_empty() && removed.is_empty() {
            return Ok(());
        }
        let at = DateTime::parse_from_rfc3339(&commit.at).map_or_else(|_| Utc::now().timestamp_millis(), |at| at.timestamp_millis());
        // Only a record that merges files settles nothing.
        let is_merge = commit.question.is_none();
        let operation = match (is_merge, removed.is_empty()) {
            (true, _) => DeltaOperation::Optimize { predicate: None, target_size: 0 },
            (false, true) => {
                DeltaOperation::Write { mode: SaveMode::Append, partition_by: Some(self.partition_by.clone()), predicate: None }
            }
            (false, false) => DeltaOperation::Update { predicate: None },
        };
        let mut actions = self.pending.clone();
        let remove =
            |path: &str| Remove { path: path.to_owned(), data_change: !is_merge, deletion_timestamp: Some(at), ..Remove::default() };
        actions.extend(removed.into_iter().map(|path| Action::Remove(remove(path))));
        actions.extend(commit.added.iter().map(|file| add(file, &self.partition_by, at, !is_merge)));
        self.state = transact(&self.folder, &self.store, Some(&self.state), actions, operation, &self.known, commit.commit).await?;
        self.pending.clear();
        Ok(())
    }

    /// Makes the table's columns those of the results with the next transaction.
    fn reshape(&mut self, columns: &StructType, is_replaced: bool) -> Result<()> {
        self.pending.extend(reshaped(&self.folder, &self.state, columns, &self.partition_by, is_replaced)?);
        Ok(())
    }

    /// The files that the table has now.
    fn live(&self) -> BTreeSet<String> {
        self.state.log_data().iter().map(|file| file.path().into_owned()).collect()
    }

    /// Whoever else writes to the table would have rows doubled or lost by the next commit.
    fn check_untouched(&self, log: &CommitLog) -> Result<()> {
        let live = self.live();
        let committed: BTreeSet<String> = log.results().iter().map(|file| file.path.clone()).collect();
        let has_deletions = self.state.log_data().iter().find(|file| file.deletion_vector_descriptor().is_some());
        let other = live.symmetric_difference(&committed).next().cloned().or_else(|| has_deletions.map(|file| file.path().into_owned()));
        let Some(other) = other else { return Ok(()) };
        Err(Error::failed(format!("something else than promptmill has changed the Delta table `{}`: see `{other}`", self.folder))
            .hint("restore the version that the last run left; or choose another `sink.path`: what has been answered is in the journal"))
    }
}
