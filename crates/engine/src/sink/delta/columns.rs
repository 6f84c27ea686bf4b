//! Columns in the terms of Delta: which types a table can hold, and what it says of the columns of the results.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake_core::kernel::{Action, Metadata, MetadataExt, Protocol, StructField, StructType, new_metadata};
use deltalake_core::table::state::DeltaTableState;
use futures::{StreamExt, TryStreamExt};
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use promptmill_core::{Error, Result};
use serde_json::json;

use super::log::failed;
use crate::commit::DataFile;
use crate::sink::layout::{Layout, folders};
use crate::sink::stored::not_read;
use crate::storage::Folder;

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

/// The columns of the results in Delta's terms. All may be null: rows of other runs may lack them.
pub(super) fn columns(layout: &Layout) -> Result<StructType> {
    let fields: Vec<Field> = layout.shape.columns.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    (&Schema::new(fields)).try_into_kernel().map_err(|error| {
        Error::failed("the results have a column that no Delta table can hold").hint("leave it out with `sink.columns`").because(error)
    })
}

/// What a reader of the table must know; as little as possible.
pub(super) fn protocol(columns: &StructType) -> Result<Protocol> {
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

/// What the next transaction says so that the table's columns are those of the results. Columns that the table has and the
/// results have not stay, unless all rows are replaced.
pub(super) fn reshaped(
    folder: &Folder,
    state: &DeltaTableState,
    columns: &StructType,
    partition_by: &[String],
    is_replaced: bool,
) -> Result<Vec<Action>> {
    let (have, metadata) = (state.schema(), state.metadata());
    let has_partitions = metadata.partition_columns() == partition_by;
    let metadata: Metadata = if is_replaced {
        if *have == *columns && has_partitions {
            return Ok(Vec::new());
        }
        let new = new_metadata(columns, partition_by, metadata.configuration().clone()).map_err(|error| failed(folder, error))?;
        let new = new.with_table_id(metadata.id().to_owned()).map_err(|error| failed(folder, error))?;
        new.with_name(metadata.name().unwrap_or_default().to_owned()).map_err(|error| failed(folder, error))?
    } else {
        if !has_partitions {
            return Err(Error::failed(format!("the Delta table `{folder}` has other partitions than `sink.partition_by` names")).hint(
                format!(
                    "keep `partition_by = {:?}`, or answer everything anew with `promptmill run --fresh`",
                    metadata.partition_columns()
                ),
            ));
        }
        let mut fields: Vec<_> = have.fields().cloned().collect();
        for field in columns.fields() {
            match have.field(field.name()) {
                Some(there) if there.data_type() == field.data_type() => {}
                Some(there) => {
                    let (name, old, new) = (field.name(), there.data_type(), field.data_type());
                    return Err(Error::failed(format!("column `{name}` is `{old}` in the Delta table `{folder}` and would be `{new}`"))
                        .hint("give it another name, or answer everything anew with `promptmill run --fresh`"));
                }
                None => fields.push(field.clone()),
            }
        }
        if fields.len() == have.num_fields() {
            return Ok(Vec::new());
        }
        let columns = StructType::try_new(fields).map_err(|error| failed(folder, error))?;
        metadata.clone().with_schema(&columns).map_err(|error| failed(folder, error))?
    };
    let mut actions = Vec::new();
    if has_local_times(columns) && !has_local_times(&have) {
        actions.push(Action::Protocol(protocol(columns)?));
    }
    actions.push(Action::Metadata(metadata));
    Ok(actions)
}

/// Files from before the sink was a table may lie in other partitions; a table has one kind.
pub(super) fn check_partitions(folder: &Folder, layout: &Layout, files: &[DataFile]) -> Result<()> {
    let fits = |file: &DataFile| {
        let name = file.path.strip_prefix(&folders(&layout.shape.partition_by, &file.partition));
        file.partition.len() == layout.shape.partition_by.len() && name.is_some_and(|name| !name.contains('/'))
    };
    match files.iter().find(|file| !fits(file)) {
        Some(file) => Err(Error::failed(format!("`{folder}/{}` lies in other partitions than `sink.partition_by` names", file.path))
            .hint("choose another `sink.path` for the Delta table: what has been answered is in the journal")),
        None => Ok(()),
    }
}

/// The columns with those that files from before the sink was a table have besides.
pub(super) async fn with_those_of(folder: &Folder, columns: &StructType, files: &[DataFile]) -> Result<StructType> {
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
}
