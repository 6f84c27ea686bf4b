//! Columns that have to be looked at before a source can be read as it is meant: those that folders are called after too,
//! whole numbers that become fractions, and times that become nanoseconds. What the statistics of Parquet files do not say, the values do.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int64Type, TimeUnit, UInt64Type};
use datafusion::arrow::util::display::array_value_to_string;
use futures::TryStreamExt;
use object_store::ObjectMeta;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStreamBuilder};
use parquet::errors::ParquetError;
use promptmill_core::{Error, Mistake, Result};

use super::records::{self, Kind};
use super::{damaged, shown, told};
use crate::files::footers::{self, Bounds, Unreadable};
use crate::files::merge::{Conflict, Merged, Shapes};
use crate::storage::{Folder, StoredFile};

/// Whole numbers up to here are fractions without loss.
const EXACT: i128 = 1 << 53;

/// The columns of the files of a source.
pub(super) struct Columns<'s> {
    /// What the files are; `None` for Parquet.
    pub(super) kind: Option<&'s Kind>,
    pub(super) folder: &'s Folder,
    pub(super) seen: &'s [ObjectMeta],
}

impl Columns<'_> {
    /// One schema of all. A column that is all null in some files, as pandas writes it with whatever type, is no conflict there.
    pub(super) async fn merged(&self, mut shapes: Shapes, leave_out: impl Fn(&str) -> bool) -> Result<Merged, Mistake> {
        let merged = shapes.clone().merge(&leave_out);
        if merged.conflicts.is_empty() || self.kind.is_some() {
            return Ok(merged);
        }
        for Conflict { column, .. } in &merged.conflicts {
            let types = footers::types_without_values(self.folder, self.seen, column).await;
            let types = types.map_err(|unreadable| damaged(self.folder, self.seen, &unreadable))?;
            shapes.without_values(column, &types);
        }
        Ok(shapes.merge(leave_out))
    }

    /// Holds what the files say of a column against the folder that they lie in.
    pub(super) async fn check_partition(&self, name: &str, stands: impl Fn(usize) -> Option<String>) -> Result<(), Mistake> {
        for (place, bounds) in self.bounds(name).await? {
            let Some(folder_says) = stands(place) else { continue };
            let other = match bounds {
                Some(Bounds { least, greatest }) => [least, greatest].into_iter().find(|value| is_other(value, &folder_says)),
                None => {
                    let folder_says = folder_says.clone();
                    let find = move |values: &ArrayRef| {
                        let values = cast(values, &DataType::Utf8).ok()?;
                        values.as_string::<i32>().iter().flatten().find(|value| is_other(value, &folder_says)).map(str::to_owned)
                    };
                    self.first(place, name, find).await?
                }
            };
            if let Some(other) = other {
                let file = shown(self.folder, &self.seen[place]);
                let message = format!("`{file}` has a row with `{name}` {other}, but lies in the folder `{name}={folder_says}`");
                let hint = format!("rename the column in the files or the folders: both are called `{name}`");
                return Err(Mistake::new("path", message).hint(Some(hint)));
            }
        }
        Ok(())
    }

    /// Times become nanoseconds where other files have those: none may be out of their reach.
    pub(super) async fn check_in_reach(&self, name: &str) -> Result<(), Mistake> {
        for place in 0..self.seen.len() {
            let Some(time) = self.first(place, name, first_beyond_nanos).await? else { continue };
            let file = shown(self.folder, &self.seen[place]);
            let message = format!(
                "column `{name}` is in nanoseconds in some files, which begin in 1677 and end in 2262, and holds {time} in `{file}`"
            );
            return Err(Mistake::new("path", message).hint(Some("write the column in microseconds in all files")));
        }
        Ok(())
    }

    /// Whole numbers become fractions where other files have those: no number may lose a digit by it.
    pub(super) async fn check_exact(&self, name: &str) -> Result<(), Mistake> {
        let is_inexact = |number: &str| number.parse::<i128>().is_ok_and(|number| number.abs() > EXACT);
        for (place, bounds) in self.bounds(name).await? {
            let lost = match bounds {
                Some(Bounds { least, greatest }) => [least, greatest].into_iter().find(|number| is_inexact(number)),
                None => self.first(place, name, first_inexact).await?,
            };
            if let Some(number) = lost {
                let file = shown(self.folder, &self.seen[place]);
                let message = format!(
                    "column `{name}` is whole numbers in some files and fractions in others, where {number} of `{file}` would lose digits"
                );
                return Err(Mistake::new("path", message).hint(Some("write the column with one type in all files")));
            }
        }
        Ok(())
    }

    /// The bounds of a column in every file; `None` for a file that does not say.
    async fn bounds(&self, name: &str) -> Result<Vec<(usize, Option<Bounds>)>, Mistake> {
        if self.kind.is_some() {
            return Ok((0..self.seen.len()).map(|place| (place, None)).collect());
        }
        footers::bounds(self.folder, self.seen, name).await.map_err(|unreadable| damaged(self.folder, self.seen, &unreadable))
    }

    /// The first thing that is found in the values of a column of a file, batch by batch; `None` for a file without the column.
    async fn first(
        &self,
        place: usize,
        name: &str,
        mut find: impl FnMut(&ArrayRef) -> Option<String> + Send + 'static,
    ) -> Result<Option<String>, Mistake> {
        let meta = &self.seen[place];
        let Some(kind) = self.kind else {
            let found = first_in_parquet(self.folder, meta, name, &mut find).await;
            return found.map_err(|error| damaged(self.folder, self.seen, &Unreadable { place, error }));
        };
        let (kind, folder, meta, name) = (kind.clone(), self.folder.clone(), meta.clone(), name.to_owned());
        let reading = move || {
            let mut found = None;
            records::column(&kind, &folder, &meta, &name, |values| {
                found = find(values);
                found.is_none()
            })?;
            Ok(found)
        };
        let found = tokio::task::spawn_blocking(reading).await.map_err(|error| told(&Error::failed(error.to_string())))?;
        found.map_err(|error: Error| told(&error))
    }
}

/// Whether a value is another one than a folder says. Of a number and a text nobody knows.
fn is_other(value: &str, folder_says: &str) -> bool {
    let (number, of_folder) = (value.parse::<i64>().ok(), folder_says.parse::<i64>().ok());
    number.is_some() == of_folder.is_some() && value != folder_says && (number.is_none() || number != of_folder)
}

async fn first_in_parquet(
    folder: &Folder,
    meta: &ObjectMeta,
    name: &str,
    find: &mut (dyn FnMut(&ArrayRef) -> Option<String> + Send),
) -> Result<Option<String>, ParquetError> {
    let mut file = StoredFile { store: Arc::clone(folder.store()), path: meta.location.clone(), size: Some(meta.size) };
    let footer = file.get_metadata(None).await?;
    let options = ArrowReaderOptions::new().with_schema(Arc::new(footers::stored_schema_of(&footer)?));
    let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(file, ArrowReaderMetadata::try_new(footer, options)?);
    if builder.schema().column_with_name(name).is_none() {
        return Ok(None);
    }
    let mask = ProjectionMask::columns(builder.parquet_schema(), [name]);
    let mut batches = builder.with_projection(mask).build()?;
    while let Some(batch) = batches.try_next().await? {
        if let Some(found) = find(batch.column(0)) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The first whole number that a fraction of 64 bits is not.
fn first_inexact(values: &ArrayRef) -> Option<String> {
    match values.data_type() {
        DataType::Int64 => values
            .as_primitive::<Int64Type>()
            .iter()
            .flatten()
            .find(|number| i128::from(*number).abs() > EXACT)
            .map(|number| number.to_string()),
        DataType::UInt64 => {
            values.as_primitive::<UInt64Type>().iter().flatten().find(|number| i128::from(*number) > EXACT).map(|number| number.to_string())
        }
        _ => None,
    }
}

/// The first day or time that nanoseconds do not reach.
fn first_beyond_nanos(values: &ArrayRef) -> Option<String> {
    let nanos = cast(values, &DataType::Timestamp(TimeUnit::Nanosecond, None)).ok()?;
    let row = (0..values.len()).find(|row| values.is_valid(*row) && nanos.is_null(*row))?;
    Some(array_value_to_string(values, row).unwrap_or_else(|_| "a day that no calendar has".to_owned()))
}
