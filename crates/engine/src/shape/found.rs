//! The shape of results that are there: as the commits say it, or, where they were written by a version that did not say
//! it, as the files have it.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use promptmill_core::pipeline::Key;
use promptmill_core::{Mistake, Result};

use super::{ANEW, Refusal, Shape, joined};
use crate::commit::{CommitLog, DataFile};
use crate::record::RunRecord;
use crate::sink::columns_of_each;
use crate::storage::Folder;

/// The shape of results that are there.
#[derive(Debug)]
pub(crate) struct Found {
    /// What they look like.
    pub(crate) shape: Shape,
    /// Columns that are of several types which no one type holds; in the shape they are texts.
    mixed: Vec<(String, DataType, DataType)>,
}

impl Found {
    /// The shape of these files, which the log names or which stand for those that it names; `None` if there are none. What
    /// is planned tells of partitions what no file says: their types.
    pub(crate) async fn of(
        log: &CommitLog,
        files: &[DataFile],
        state: &Folder,
        sink: &Folder,
        planned: Option<&Shape>,
    ) -> Result<Option<Self>> {
        if let Some(shape) = log.shape() {
            return Ok(Some(Self { shape: shape.clone(), mixed: Vec::new() }));
        }
        if files.is_empty() {
            return Ok(None);
        }
        let schemas = match columns_of_each(sink, files).await {
            Ok(schemas) => schemas,
            // A file that was removed has no say; the next run writes its rows again.
            Err(error) => {
                let names = sink.list().await?;
                let there: Vec<DataFile> = files.iter().filter(|file| names.contains(&file.path)).cloned().collect();
                if there.is_empty() || there.len() == files.len() {
                    return Err(error);
                }
                columns_of_each(sink, &there).await?
            }
        };
        // The key that the last run had stands in its record.
        let records = RunRecord::all(state).await?;
        let key = records.last().and_then(|record| serde_json::from_value(record.configuration.get("source")?.get("key")?.clone()).ok());
        Ok(Some(Self::in_files(&key.unwrap_or_else(|| Key::of([""])), files, &schemas, planned)))
    }

    fn in_files(key: &Key, files: &[DataFile], schemas: &[SchemaRef], planned: Option<&Shape>) -> Self {
        let mut found = Self { shape: Shape::new(key, &[], &Arc::new(Schema::empty())), mixed: Vec::new() };
        let mut fields: Vec<FieldRef> = Vec::new();
        // The newest run's columns come first.
        for field in schemas.iter().rev().flat_map(|schema| schema.fields()) {
            found.add(&mut fields, field);
        }
        let mut partition_by = Vec::new();
        for names in files.iter().rev().filter_map(DataFile::partition_by).collect::<BTreeSet<_>>() {
            for (place, name) in names.iter().enumerate() {
                let values = files.iter().filter(|file| file.partition_by().as_ref() == Some(&names));
                let values = values.filter_map(|file| file.partition.get(place)).filter_map(Option::as_deref);
                let data_type = type_of(values, name, &fields, planned);
                found.add(&mut fields, &Arc::new(Field::new(name, data_type, true)));
            }
        }
        if let Some(names) = files.last().and_then(DataFile::partition_by) {
            partition_by = names;
        }
        fields.sort_by_key(|field| partition_by.iter().position(|name| name == field.name()).map_or(0, |place| place + 1));
        found.shape.partition_by = partition_by;
        found.shape.columns = Arc::new(Schema::new(fields));
        found
    }

    /// Adds a column, or what its type has to hold besides.
    fn add(&mut self, fields: &mut Vec<FieldRef>, field: &FieldRef) {
        let Some(known) = fields.iter_mut().find(|known| known.name() == field.name()) else {
            fields.push(Arc::new(field.as_ref().clone().with_nullable(true)));
            return;
        };
        let data_type = joined(known.data_type(), field.data_type()).unwrap_or_else(|| {
            if !self.mixed.iter().any(|(name, ..)| name == field.name()) {
                self.mixed.push((field.name().clone(), known.data_type().clone(), field.data_type().clone()));
            }
            DataType::Utf8
        });
        *known = Arc::new(known.as_ref().clone().with_data_type(data_type));
    }

    /// Why no run can go on with these results.
    pub(crate) fn refusals(&self) -> Vec<Refusal> {
        let refusal = |(name, one, other): &(String, DataType, DataType)| {
            let message = format!("column `{name}` is {one} in some files of the results and {other} in others");
            ("sink", Mistake::new("path", message).hint(Some(format!("choose another `sink.path`; {ANEW}"))))
        };
        self.mixed.iter().map(refusal).collect()
    }
}

/// The columns of all these files together.
pub(crate) fn union_of(schemas: &[SchemaRef]) -> SchemaRef {
    Found::in_files(&Key::of([""]), &[], schemas, None).shape.columns
}

/// The type of a partition's values: that of the column inside other files, or the planned one, if its values are written
/// so; else a number where every value is one.
fn type_of<'v>(values: impl Iterator<Item = &'v str>, name: &str, fields: &[FieldRef], planned: Option<&Shape>) -> DataType {
    let inside = fields.iter().find(|field| field.name() == name).map(|field| field.data_type().clone());
    let planned = planned.and_then(|planned| Some(planned.columns.field_with_name(name).ok()?.data_type().clone()));
    let values: BTreeSet<&str> = values.collect();
    let is = |data_type: &DataType| {
        values.iter().all(|text| {
            let value = ScalarValue::Utf8(Some((*text).to_owned())).cast_to(data_type);
            let again = value.and_then(|value| value.cast_to(&DataType::Utf8));
            again.is_ok_and(|again| again == ScalarValue::Utf8(Some((*text).to_owned())))
        })
    };
    inside
        .into_iter()
        .chain(planned)
        .chain([DataType::Int64])
        .find(|data_type| !values.is_empty() && is(data_type))
        .unwrap_or(DataType::Utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, partition: &[&str]) -> DataFile {
        let partition = partition.iter().map(|value| Some((*value).to_owned())).collect();
        DataFile { path: path.into(), rows: 1, bytes: 1, partition }
    }

    fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
        Arc::new(Schema::new(columns.iter().map(|(name, of)| Field::new(*name, of.clone(), false)).collect::<Vec<_>>()))
    }

    #[test]
    fn files_of_before_are_read_by_the_names_in_their_paths() {
        let files = [file("year=2020/1.parquet", &["2020"]), file("place=a%3Db/2.parquet", &["a=b"]), file("code=007/3.parquet", &["007"])];
        let schemas = [
            schema(&[("id", DataType::Int32), ("place", DataType::Utf8)]),
            schema(&[("id", DataType::Int64), ("year", DataType::Int32)]),
            schema(&[("id", DataType::Int64), ("year", DataType::Int32), ("place", DataType::Utf8)]),
        ];
        let found = Found::in_files(&Key::of(["id"]), &files, &schemas, None);
        assert!(found.refusals().is_empty());
        let shown: Vec<String> =
            found.shape.columns.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect();
        assert_eq!(shown, ["id Int64", "year Int32", "place Utf8", "code Utf8"]);
        assert_eq!(found.shape.partition_by, ["code"]);
    }

    #[test]
    fn columns_of_several_types_are_texts_and_refused() {
        let files = [file("1.parquet", &[]), file("2.parquet", &[])];
        let found = Found::in_files(
            &Key::of(["id"]),
            &files,
            &[schema(&[("id", DataType::Utf8), ("ref", DataType::Utf8)]), schema(&[("id", DataType::Utf8), ("ref", DataType::Int64)])],
            None,
        );
        assert_eq!(found.shape.columns.field_with_name("ref").expect("a column").data_type(), &DataType::Utf8);
        assert!(found.refusals()[0].1.message.contains("`ref` is Int64 in some files"), "{:?}", found.refusals());
    }
}
