//! The log of the table: what is written there, once.

use std::sync::Arc;

use deltalake_core::DeltaTableError;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties, TransactionError};
use deltalake_core::kernel::{Action, Add, Transaction};
use deltalake_core::logstore::{LogStoreRef, StorageConfig, default_logstore};
use deltalake_core::protocol::DeltaOperation;
use deltalake_core::table::state::DeltaTableState;
use object_store::prefix::PrefixStore;
use promptmill_core::{Error, Result};
use serde_json::json;

use crate::commit::DataFile;
use crate::storage::{Action as Deed, Folder};

/// How often a transaction is tried; the waits in between double from the first one, to a quarter of a minute in all.
const TRIES: u32 = 7;
const FIRST_WAIT_MS: u64 = 200;

/// The log of the table in a folder.
pub(crate) fn log_store(folder: &Folder) -> Result<LogStoreRef> {
    let no_url = || Error::failed(format!("`{folder}` cannot be the place of a Delta table"));
    let url = match folder.local() {
        Some(local) => url::Url::from_directory_path(local).map_err(|()| no_url())?,
        None => {
            let mut url = url::Url::parse(folder.store_url().as_str()).map_err(|error| no_url().because(error))?;
            let path = folder.path("");
            url.path_segments_mut().map_err(|()| no_url())?.pop_if_empty().extend(path.parts().map(|part| part.as_ref().to_owned()));
            url
        }
    };
    let inside = Arc::new(PrefixStore::new(Arc::clone(folder.store()), folder.path("")));
    Ok(default_logstore(inside, Arc::clone(folder.store()), &url, &StorageConfig::default()))
}

/// Writes a transaction, once, and returns what the table is then; `None` if others have written since `before`. Those are not
/// waved through where they only rearrange files: who removes a file that is gone already leaves its rows where they went.
pub(super) async fn transact(
    folder: &Folder,
    store: &LogStoreRef,
    before: Option<&DeltaTableState>,
    actions: Vec<Action>,
    operation: DeltaOperation,
    known: &str,
    number: u64,
) -> Result<Option<DeltaTableState>> {
    let mut tries = 0;
    let state = loop {
        let mark = Transaction::new(known, number as i64);
        let properties = CommitProperties::default().with_application_transaction(mark).with_max_retries(0);
        let commit = CommitBuilder::from(properties).with_actions(actions.clone());
        let error = match commit.build(before.map(|state| state as _), Arc::clone(store), operation.clone()).await {
            Ok(done) => break done.snapshot(),
            Err(error) => error,
        };
        // What became of a write that got no answer, the table says.
        let now = DeltaTableState::try_new(store.as_ref(), None).await.ok();
        if let Some(now) = &now
            && seen(now, store, known).await.ok().flatten() >= Some(number)
        {
            break now.clone();
        }
        if matches!(error, DeltaTableError::Transaction { source: TransactionError::MaxCommitAttempts(_) }) {
            return Ok(None);
        }
        tries += 1;
        let is_passing = folder.local().is_none() && matches!(error, DeltaTableError::ObjectStore { .. });
        if tries == TRIES || !is_passing {
            return Err(failed(folder, error));
        }
        tracing::info!(%error, "trying again to write to the Delta table `{folder}`");
        tokio::time::sleep(std::time::Duration::from_millis(FIRST_WAIT_MS << tries)).await;
    };
    Ok(Some(state))
}

/// The number of the last record that the table has seen.
pub(super) async fn seen(state: &DeltaTableState, store: &LogStoreRef, known: &str) -> Result<Option<u64>, DeltaTableError> {
    let seen = state.transaction_version(store.as_ref(), known).await?;
    Ok(seen.map(|seen| seen.unsigned_abs()))
}

pub(super) fn add(file: &DataFile, partition_by: &[String], at: i64, data_change: bool) -> Action {
    let values = partition_by.iter().cloned().zip(file.partition.iter().map(|value| value.clone().filter(|value| !value.is_empty())));
    Action::Add(Add {
        path: file.path.clone(),
        partition_values: values.collect(),
        size: file.bytes as i64,
        modification_time: at,
        data_change,
        stats: Some(json!({"numRecords": file.rows}).to_string()),
        ..Add::default()
    })
}

pub(super) fn failed(folder: &Folder, error: impl Into<DeltaTableError>) -> Error {
    match error.into() {
        DeltaTableError::ObjectStore { source } => folder.failed(Deed::Write, "_delta_log", source),
        error => Error::failed(format!("the Delta table `{folder}` cannot be read or written"))
            .hint("run again: what has been answered is kept")
            .because(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_told_with_its_partitions_and_a_blank_one_is_null() {
        let partition = vec![Some("2024".to_owned()), Some(String::new())];
        let file = DataFile { path: "year=2024/vote=x/a.parquet".into(), rows: 3, bytes: 9, partition };
        let Action::Add(added) = add(&file, &["year".to_owned(), "vote".to_owned()], 7, true) else { panic!("not added") };
        assert_eq!((added.partition_values["year"].as_deref(), &added.partition_values["vote"]), (Some("2024"), &None));
        assert_eq!((added.size, added.stats.as_deref()), (9, Some(r#"{"numRecords":3}"#)));
    }
}
