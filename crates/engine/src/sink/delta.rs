//! The sink as a Delta Lake table: the table's log follows the commits.
//!
//! The numbered records stay the truth, as for bare Parquet. Behind each record that adds or removes files of results
//! goes one transaction with the same files and the record's number, in the way in which Delta lets an application
//! say how far it has come. A crash in between leaves the table one record behind; the next run reads the number and
//! writes what is missing, once.
//!
//! Files that a commit takes out stay where they are: older versions of the table name them, until its owner's VACUUM.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use deltalake_core::DeltaTableError;
use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake_core::kernel::{Action, Add, Metadata, MetadataExt, Protocol, Remove, StructField, StructType, Transaction, new_metadata};
use deltalake_core::logstore::{LogStoreRef, StorageConfig, default_logstore};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::table::state::DeltaTableState;
use futures::{StreamExt, TryStreamExt};
use object_store::prefix::PrefixStore;
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use promptmill_core::{Error, Result};
use serde_json::json;

use super::layout::{Layout, folders};
use super::stored::not_read;
use crate::commit::{Commit, CommitLog, DataFile};
use crate::storage::{Action as Deed, Folder};

/// How often a transaction is tried; the waits in between double from the first one, to a quarter of a minute in all.
const TRIES: u32 = 7;
const FIRST_WAIT_MS: u64 = 200;
/// Files whose columns are read at once.
const READ_AT_ONCE: usize = 8;

/// A column's type as a Delta table can hold it: without unsigned numbers, times in microseconds. `None` if it has
/// nothing like it.
pub(crate) fn storable(data_type: &DataType) -> Option<DataType> {
    let inside = |field: &Arc<Field>| Some(Arc::new(field.as_ref().clone().with_data_type(storable(field.data_type())?)));
    Some(match data_type {
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        DataType::Timestamp(_, None) => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Timestamp(_, Some(_)) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        DataType::Date64 => DataType::Date32,
        DataType::Dictionary(_, values) => storable(values)?,
        DataType::List(field) => DataType::List(inside(field)?),
        DataType::LargeList(field) => DataType::LargeList(inside(field)?),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inside).collect::<Option<_>>()?),
        DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Boolean
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::Date32 => data_type.clone(),
        DataType::Decimal128(_, scale) if *scale >= 0 => data_type.clone(),
        _ => return None,
    })
}

/// The same for a column whose values name folders: as texts, which for times no two readers write alike.
pub(crate) fn storable_as_partition(data_type: &DataType) -> Option<DataType> {
    storable(data_type).filter(|stored| {
        use DataType::{Binary, BinaryView, LargeBinary, LargeList, List, Struct, Timestamp};
        !matches!(stored, Timestamp(..) | Binary | LargeBinary | BinaryView | List(_) | LargeList(_) | Struct(_))
    })
}

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

    /// Makes the table's columns those of the results with the next transaction. Columns that the table has and the
    /// results have not stay, unless all rows are replaced.
    fn reshape(&mut self, columns: &StructType, is_replaced: bool) -> Result<()> {
        let (have, metadata) = (self.state.schema(), self.state.metadata());
        let has_partitions = *metadata.partition_columns() == self.partition_by;
        let metadata: Metadata = if is_replaced {
            if *have == *columns && has_partitions {
                return Ok(());
            }
            let new =
                new_metadata(columns, &self.partition_by, metadata.configuration().clone()).map_err(|error| failed(&self.folder, error))?;
            let new = new.with_table_id(metadata.id().to_owned()).map_err(|error| failed(&self.folder, error))?;
            new.with_name(metadata.name().unwrap_or_default().to_owned()).map_err(|error| failed(&self.folder, error))?
        } else {
            if !has_partitions {
                return Err(Error::failed(format!(
                    "the Delta table `{}` has other partitions than `sink.partition_by` names",
                    self.folder
                ))
                .hint(format!(
                    "keep `partition_by = {:?}`, or answer everything anew with `promptmill run --fresh`",
                    metadata.partition_columns()
                )));
            }
            let mut fields: Vec<_> = have.fields().cloned().collect();
            for field in columns.fields() {
                match have.field(field.name()) {
                    Some(there) if there.data_type() == field.data_type() => {}
                    Some(there) => {
                        let (name, old, new) = (field.name(), there.data_type(), field.data_type());
                        return Err(Error::failed(format!(
                            "column `{name}` is `{old}` in the Delta table `{}` and would be `{new}`",
                            self.folder
                        ))
                        .hint("give it another name, or answer everything anew with `promptmill run --fresh`"));
                    }
                    None => fields.push(field.clone()),
                }
            }
            if fields.len() == have.num_fields() {
                return Ok(());
            }
            let columns = StructType::try_new(fields).map_err(|error| failed(&self.folder, error))?;
            metadata.clone().with_schema(&columns).map_err(|error| failed(&self.folder, error))?
        };
        if has_local_times(columns) && !has_local_times(&have) {
            self.pending.push(Action::Protocol(protocol(columns)?));
        }
        self.pending.push(Action::Metadata(metadata));
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

/// Writes a transaction, once, and returns what the table is then. Others may write at the same time, if they leave our
/// files alone.
async fn transact(
    folder: &Folder,
    store: &LogStoreRef,
    before: Option<&DeltaTableState>,
    actions: Vec<Action>,
    operation: DeltaOperation,
    known: &str,
    number: u64,
) -> Result<DeltaTableState> {
    let mut tries = 0;
    let state = loop {
        let mark = Transaction::new(known, number as i64);
        let commit = CommitBuilder::from(CommitProperties::default().with_application_transaction(mark)).with_actions(actions.clone());
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
        tries += 1;
        let is_passing = folder.local().is_none() && matches!(error, DeltaTableError::ObjectStore { .. });
        if tries == TRIES || !is_passing {
            return Err(failed(folder, error));
        }
        tracing::info!(%error, "trying again to write to the Delta table `{folder}`");
        tokio::time::sleep(std::time::Duration::from_millis(FIRST_WAIT_MS << tries)).await;
    };
    folder.sync(&format!("_delta_log/{:020}.json", state.version())).await?;
    Ok(state)
}

/// The number of the last record that the table has seen.
async fn seen(state: &DeltaTableState, store: &LogStoreRef, known: &str) -> Result<Option<u64>, DeltaTableError> {
    let seen = state.transaction_version(store.as_ref(), known).await?;
    Ok(seen.map(|seen| seen.unsigned_abs()))
}

/// The log of the table in a folder.
fn log_store(folder: &Folder) -> Result<LogStoreRef> {
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

/// The columns of the results in Delta's terms. All may be null: rows of other runs may lack them.
fn columns(layout: &Layout) -> Result<StructType> {
    let fields: Vec<Field> = layout.results.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    (&Schema::new(fields)).try_into_kernel().map_err(|error| {
        Error::failed("the results have a column that no Delta table can hold").hint("leave it out with `sink.columns`").because(error)
    })
}

/// What a reader of the table must know; as little as possible.
fn protocol(columns: &StructType) -> Result<Protocol> {
    let least = if has_local_times(columns) {
        json!({"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["timestampNtz"], "writerFeatures": ["timestampNtz"]})
    } else {
        json!({"minReaderVersion": 1, "minWriterVersion": 1})
    };
    serde_json::from_value(least).map_err(|error| Error::failed("the protocol of a Delta table cannot be made").because(error))
}

/// Whether a column holds times without a zone, which not every reader knows.
fn has_local_times(columns: &StructType) -> bool {
    columns.fields().any(|field| field.data_type().to_string().contains("timestamp_ntz"))
}

fn add(file: &DataFile, partition_by: &[String], at: i64, data_change: bool) -> Action {
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

/// Files from before the sink was a table may lie in other partitions; a table has one kind.
fn check_partitions(folder: &Folder, layout: &Layout, files: &[DataFile]) -> Result<()> {
    let fits = |file: &DataFile| {
        let name = file.path.strip_prefix(&folders(&layout.partition_by, &file.partition));
        file.partition.len() == layout.partition_by.len() && name.is_some_and(|name| !name.contains('/'))
    };
    match files.iter().find(|file| !fits(file)) {
        Some(file) => Err(Error::failed(format!("`{folder}/{}` lies in other partitions than `sink.partition_by` names", file.path))
            .hint("choose another `sink.path` for the Delta table: what has been answered is in the journal")),
        None => Ok(()),
    }
}

/// The columns with those that files from before the sink was a table have besides.
async fn with_those_of(folder: &Folder, columns: &StructType, files: &[DataFile]) -> Result<StructType> {
    let mut fields: Vec<StructField> = columns.fields().cloned().collect();
    let mut schemas = futures::stream::iter(files)
        .map(|file| async move {
            let opened = ParquetRecordBatchStreamBuilder::new(folder.file(&file.path, Some(file.bytes))).await;
            opened.map(|opened| (file, Arc::clone(opened.schema()))).map_err(|error| not_read(folder, file, error))
        })
        .buffered(READ_AT_ONCE);
    while let Some((file, schema)) = schemas.try_next().await? {
        for field in schema.fields() {
            let field = field.as_ref().clone().with_nullable(true).with_metadata(Default::default());
            let (name, data_type) = (field.name().clone(), field.data_type().clone());
            let stored: Option<StructField> = (&field).try_into_kernel().ok().filter(|_| storable(&data_type).as_ref() == Some(&data_type));
            match (stored, fields.iter().find(|known| *known.name() == name)) {
                (Some(stored), Some(known)) if known.data_type() == stored.data_type() => {}
                (Some(stored), None) => fields.push(stored),
                _ => {
                    let place = format!("{folder}/{}", file.path);
                    return Err(Error::failed(format!(
                        "column `{name}` of `{place}` is {data_type}, which does not fit into the Delta table"
                    ))
                    .hint("choose another `sink.path` for the Delta table: what has been answered is in the journal"));
                }
            }
        }
    }
    drop(schemas);
    StructType::try_new(fields).map_err(|error| failed(folder, error))
}

fn failed(folder: &Folder, error: impl Into<DeltaTableError>) -> Error {
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
    fn types_become_what_a_table_can_hold_or_are_refused() {
        let list = |inside: DataType| DataType::List(Arc::new(Field::new("item", inside, true)));
        let micros = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
        assert_eq!(storable(&list(DataType::UInt32)), Some(list(DataType::Int64)));
        assert_eq!(storable(&DataType::Timestamp(TimeUnit::Nanosecond, None)), Some(micros(None)));
        assert_eq!(storable(&DataType::Timestamp(TimeUnit::Second, Some("+01:00".into()))), Some(micros(Some("UTC"))));
        for refused in [DataType::UInt64, DataType::Time64(TimeUnit::Microsecond), list(DataType::Float16)] {
            assert_eq!(storable(&refused), None, "{refused}");
        }
        assert_eq!(storable_as_partition(&DataType::UInt8), Some(DataType::Int16));
        assert_eq!(storable_as_partition(&micros(None)), None);
    }

    #[test]
    fn a_file_is_told_with_its_partitions_and_a_blank_one_is_null() {
        let partition = vec![Some("2024".to_owned()), Some(String::new())];
        let file = DataFile { path: "year=2024/vote=x/a.parquet".into(), rows: 3, bytes: 9, partition };
        let Action::Add(added) = add(&file, &["year".to_owned(), "vote".to_owned()], 7, true) else { panic!("not added") };
        assert_eq!((added.partition_values["year"].as_deref(), &added.partition_values["vote"]), (Some("2024"), &None));
        assert_eq!((added.size, added.stats.as_deref()), (9, Some(r#"{"numRecords":3}"#)));
    }
}
