//! The sink as a Delta Lake table: the table's log follows the commits.
//!
//! The numbered records stay the truth, as for bare Parquet. Behind each record that adds or removes files of results
//! goes one transaction with the same files and the record's number, in the way in which Delta lets an application
//! say how far it has come. A crash in between leaves the table one record behind; the next run reads the number and
//! writes what is missing, once.
//!
//! Files that a commit takes out stay where they are: older versions of the table name them, until its owner's VACUUM.
//! Its OPTIMIZE is taken over into the records ([`others`]).

mod columns;
mod kept;
mod log;
mod others;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use deltalake_core::kernel::{Action, MetadataExt, Remove, StructType, new_metadata};
use deltalake_core::logstore::LogStoreRef;
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::table::state::DeltaTableState;
use promptmill_core::{Error, Result};

use self::columns::{check_partitions, columns, protocol, reshaped, with_those_of};
pub(crate) use self::columns::{storable, storable_as_partition};
use self::kept::check_kept;
pub(crate) use self::log::log_store;
use self::log::{add, failed, seen, transact};
use self::others::Rearranged;
use super::layout::Layout;
use crate::commit::{Commit, CommitLog, DataFile, RowChange};
use crate::storage::Folder;

/// How often a transaction is made anew because somebody else was quicker.
const OTHERS: u32 = 7;

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
    /// Records that are yet to follow.
    behind: Vec<Commit>,
}

impl Table {
    /// Opens the table of a sink, or makes it from what has been committed, and lets it catch up.
    pub(super) async fn open(folder: &Folder, known: String, shape: Shape<'_>, log: &mut CommitLog, record: Commit) -> Result<Self> {
        let Shape { layout, name, is_replaced } = shape;
        let store = log_store(folder)?;
        let columns = columns(layout)?;
        let state = if store.is_delta_table_location().await.map_err(|error| failed(folder, error))? {
            let state = DeltaTableState::try_new(store.as_ref(), None).await.map_err(|error| failed(folder, error))?;
            check_kept(folder, &state)?;
            state
        } else {
            check_partitions(folder, layout, log.results())?;
            let columns = with_those_of(folder, &columns, log.results()).await?;
            let metadata = new_metadata(&columns, &layout.shape.partition_by, Vec::<(String, String)>::new())
                .and_then(|metadata| metadata.with_name(name));
            let metadata = metadata.map_err(|error| failed(folder, error))?;
            let protocol = protocol(&columns)?;
            let mut actions = vec![Action::Protocol(protocol.clone()), Action::Metadata(metadata.clone())];
            let at = Utc::now().timestamp_millis();
            actions.extend(log.results().iter().map(|file| add(file, &layout.shape.partition_by, at, true)));
            let location = store.root_url().clone();
            let operation = DeltaOperation::Create { mode: SaveMode::ErrorIfExists, location, protocol, metadata };
            let made = transact(folder, &store, None, actions, operation, &known, log.len()).await?;
            made.ok_or_else(|| {
                Error::failed(format!("something else has just made a Delta table of `{folder}`")).hint("choose another `sink.path`")
            })?
        };
        let (folder, partition_by) = (folder.clone(), layout.shape.partition_by.clone());
        let mut table = Self { folder, store, state, known, partition_by, pending: Vec::new(), behind: Vec::new() };
        let Some(seen) = seen(&table.state, &table.store, &table.known).await.map_err(|error| failed(&table.folder, error))? else {
            let folder = &table.folder;
            return Err(Error::failed(format!("sink `{folder}` holds a Delta table that this pipeline has not written"))
                .hint("choose another `sink.path`; or, if the pipeline's name has changed, point `state.path` at its old state"));
        };
        let live = table.live();
        // After a crash it may be a record that is yet to follow that leaves nothing behind.
        let stays = log.results().iter().any(|file| live.contains(&file.path));
        if !is_replaced {
            table.reshape(&columns, !stays)?;
        }
        table.behind = log.since(seen).await?;
        table.catch_up(log.results()).await?;
        table.adopt(log, record).await?;
        if is_replaced {
            table.reshape(&columns, true)?;
        }
        Ok(table)
    }

    /// Takes what others have rearranged over into the records, with a record like this one.
    pub(super) async fn adopt(&mut self, log: &mut CommitLog, record: Commit) -> Result<()> {
        self.refresh().await?;
        let Some(Rearranged { gone, come }) = self.rearranged(log.results()).await? else { return Ok(()) };
        tracing::info!(gone = gone.len(), come = come.len(), "the Delta table `{}` has been rearranged", self.folder);
        let record = Commit { removed: gone, added: come, ..record };
        log.append(record.clone(), RowChange::default()).await?;
        self.follow(Commit { commit: log.len(), ..record }, log.results()).await
    }

    /// Does what a record says, in one transaction. `results` are what the record leaves behind.
    pub(super) async fn follow(&mut self, commit: Commit, results: &[DataFile]) -> Result<()> {
        self.behind.push(commit);
        self.catch_up(results).await
    }

    /// Does what the records say that the table has yet to follow.
    async fn catch_up(&mut self, results: &[DataFile]) -> Result<()> {
        let Some(commit) = together(&self.behind) else { return Ok(()) };
        let removed = commit.removes().results;
        if commit.added.is_empty() && removed.is_empty() {
            self.behind.clear();
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
        let remove = |path: String| Remove { path, data_change: !is_merge, deletion_timestamp: Some(at), ..Remove::default() };
        for _ in 0..OTHERS {
            let (leave, come) = self.change(&commit, results).await?;
            let mut actions = self.pending.clone();
            actions.extend(leave.into_iter().map(|path| Action::Remove(remove(path))));
            actions.extend(come.iter().map(|file| add(file, &self.partition_by, at, !is_merge)));
            let done = transact(&self.folder, &self.store, Some(&self.state), actions, operation.clone(), &self.known, commit.commit);
            if let Some(state) = done.await? {
                self.state = state;
                self.pending.clear();
                self.behind.clear();
                return Ok(());
            }
            let before = self.state.metadata().clone();
            self.refresh().await?;
            if !self.pending.is_empty() && *self.state.metadata() != before {
                break;
            }
        }
        Err(Error::failed(format!("something else keeps writing to the Delta table `{}`", self.folder))
            .hint("run again when it has ended: what has been answered is kept"))
    }

    /// The files that leave the table and those that come with a record.
    async fn change(&self, commit: &Commit, results: &[DataFile]) -> Result<(Vec<String>, Vec<DataFile>)> {
        let removed: BTreeSet<String> = commit.removes().results.into_iter().map(str::to_owned).collect();
        let live = if removed.is_empty() { BTreeSet::new() } else { self.live() };
        if removed.is_subset(&live) {
            return Ok((removed.into_iter().collect(), commit.added.clone()));
        }
        // Others have rearranged rows while they were replaced here. The table gets the files that the records name, as if
        // those others had not.
        let (named, added) = (paths(results), paths(&commit.added));
        let come: Vec<DataFile> = results.iter().filter(|file| !live.contains(&file.path)).cloned().collect();
        if live != named {
            self.check_same_rows(&live, &(&named - &added) | &removed).await?;
            for file in come.iter().filter(|file| !added.contains(&file.path)) {
                self.folder.head(&file.path).await.map_err(|error| self.touched(&file.path).because(error))?;
            }
        }
        Ok(((&live - &named).into_iter().collect(), come))
    }

    /// Looks what others have written.
    async fn refresh(&mut self) -> Result<()> {
        self.state.update(self.store.as_ref(), None).await.map_err(|error| failed(&self.folder, error))
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
}

/// The files of results as a Delta table has them. Since the last run others may have rearranged them and taken the old ones
/// away; if they have done anything else, these are the files that the records name.
pub(crate) async fn in_table(folder: &Folder, known: &str, log: &CommitLog) -> Vec<DataFile> {
    let rearranged = async {
        let store = log_store(folder)?;
        let state = DeltaTableState::try_new(store.as_ref(), None).await.map_err(|error| failed(folder, error))?;
        let seen = seen(&state, &store, known).await.map_err(|error| failed(folder, error))?.unwrap_or_default();
        let (folder, known, partition_by) = (folder.clone(), known.to_owned(), state.metadata().partition_columns().to_vec());
        let behind = log.since(seen).await?;
        // Between a record and its transaction the table cannot be compared; the record's files are there then.
        let is_behind = behind.iter().any(|commit| !commit.added.is_empty() || !commit.removes().results.is_empty());
        let table = Table { folder, store, state, known, partition_by, pending: Vec::new(), behind };
        if is_behind { Ok(None) } else { table.rearranged(log.results()).await }
    };
    let mut results = log.results().to_vec();
    match rearranged.await {
        Ok(Some(Rearranged { gone, come })) => {
            let gone: BTreeSet<String> = gone.into_iter().collect();
            results.retain(|file| !gone.contains(&file.path));
            results.extend(come);
        }
        Ok(None) => {}
        Err(error) => tracing::debug!(%error, "taking the files of `{folder}` from the records"),
    }
    results
}

fn paths(files: &[DataFile]) -> BTreeSet<String> {
    files.iter().map(|file| file.path.clone()).collect()
}

/// The files that readers of the table see.
#[cfg(test)]
pub(super) async fn seen_by_readers(folder: &Folder) -> BTreeSet<String> {
    let store = log_store(folder).expect("a log");
    let state = DeltaTableState::try_new(store.as_ref(), None).await.expect("a table");
    state.log_data().iter().map(|file| file.path().into_owned()).collect()
}

/// Several records as one that does what they do in turn.
fn together(commits: &[Commit]) -> Option<Commit> {
    let (first, rest) = commits.split_first()?;
    let one = rest.iter().fold(first.clone(), |mut one, next| {
        let removed = next.removes().results;
        let (undone, kept): (Vec<DataFile>, _) = one.added.into_iter().partition(|file| removed.contains(file.path.as_str()));
        one.added = kept;
        one.added.extend(next.added.iter().cloned());
        let is_undone = |path: &str| undone.iter().any(|file| file.path == path);
        one.removed.extend(removed.into_iter().filter(|path| !is_undone(path)).map(str::to_owned));
        Commit { commit: next.commit, at: next.at.clone(), question: next.question.or(one.question), ..one }
    });
    Some(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_are_yet_to_follow_are_done_together() {
        let file = |path: &str| DataFile { path: path.into(), rows: 1, bytes: 1, partition: vec![] };
        let commit = |commit, added: &[&str], removed: &[&str]| Commit {
            commit,
            added: added.iter().map(|path| file(path)).collect(),
            removed: removed.iter().map(|path| (*path).to_owned()).collect(),
            ..Commit::default()
        };
        let one = together(&[commit(7, &["a", "b"], &["x"]), commit(8, &[], &[]), commit(9, &["c"], &["a", "y", "index/1"])]);
        let one = one.expect("records");
        assert_eq!((one.commit, paths(&one.added)), (9, paths(&[file("b"), file("c")])));
        assert_eq!(one.removes().results, BTreeSet::from(["x", "y"]), "`a` never came into the table");
        assert!(together(&[]).is_none());
    }
}
