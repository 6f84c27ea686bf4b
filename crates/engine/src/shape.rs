//! What the results look like, and what may change about it between two runs of a pipeline.
//!
//! All files of the results have the same columns, of the same types, in the same partitions: then every reader of the
//! bare folder gets along with them, and merging files changes no value. The commits say what that shape is. A run that
//! would write another one gives the files of before the new shape first, where that loses nothing ([`Shape::with`]);
//! where it would lose something, the run is refused before it sends anything.

mod found;
pub(crate) mod types;

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use promptmill_core::Mistake;
use promptmill_core::pipeline::{Key, SinkFormat};
use serde::{Deserialize, Deserializer, Serialize};

use crate::meaning::has_meanings;

pub(crate) use self::found::{Found, union_of};
use self::types::{alike, joined, joined_as_partition, joined_fields, with_nulls};

/// The settings table in which a mistake is, and the mistake.
pub(crate) type Refusal = (&'static str, Mistake);

/// What the results look like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shape {
    /// The columns of the keys.
    pub(crate) key: Key,
    /// The columns that are folders, outermost first.
    pub(crate) partition_by: Vec<String>,
    /// What stands before the names of the columns that promptmill adds.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) prefix: String,
    /// All columns, the partitions last.
    pub(crate) columns: SchemaRef,
    /// Whether the Parquet types of the files say what columns mean, where they mean more than their types.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) says_meanings: bool,
}

/// A shape in a record; `None` if it is not there, or was written by a version whose types this one does not know.
pub(crate) fn if_readable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Shape>, D::Error> {
    let written = Option::<serde_json::Value>::deserialize(deserializer)?;
    Ok(written.and_then(|written| serde_json::from_value(written).ok()))
}

impl Shape {
    /// The shape of results with these columns, the partitions last. Each may have nulls: rows of other runs may lack it.
    pub(crate) fn new(key: &Key, partition_by: &[String], columns: &SchemaRef) -> Self {
        let columns = with_nulls_of_any(columns);
        let says_meanings = has_meanings(&columns);
        Self { key: key.clone(), partition_by: partition_by.to_vec(), prefix: String::new(), columns, says_meanings }
    }

    /// The columns inside a file.
    pub(crate) fn inside(&self) -> SchemaRef {
        let inside = self.columns.fields().iter().filter(|field| !self.is_partition(field.name()));
        Arc::new(Schema::new(inside.cloned().collect::<Vec<_>>()))
    }

    /// The columns that are folders.
    pub(crate) fn partitions(&self) -> Vec<FieldRef> {
        self.partition_by.iter().filter_map(|name| self.columns.fields().find(name)).map(|(_, field)| Arc::clone(field)).collect()
    }

    /// Whether a column is a folder.
    pub(crate) fn is_partition(&self, name: &str) -> bool {
        self.partition_by.iter().any(|partition| partition == name)
    }

    /// What results of this shape look like from a run on that plans another one: every column of both, each of a type that
    /// holds the values of both, in the partitions that are planned. Columns keep their order, new ones follow.
    ///
    /// `is_of_source` tells the columns of the source from those that promptmill adds.
    ///
    /// # Errors
    /// What has changed in a way that would lose values.
    pub(crate) fn with(&self, planned: &Self, format: SinkFormat, is_of_source: &dyn Fn(&str) -> bool) -> Result<Self, Vec<Refusal>> {
        let mut refused = Vec::new();
        if self.key != planned.key {
            let message = format!("the rows of the results are known by {}, and would now be known by {}", self.key, planned.key);
            let hint = format!("keep `key = {}`; {ANEW}", serde_json::json!(self.key));
            refused.push(("source", Mistake::new("key", message).hint(Some(hint))));
        }
        if self.prefix != planned.prefix {
            let (before, now) = (&self.prefix, &planned.prefix);
            let message = format!("the columns that promptmill adds have the prefix `{before}` in the results, and would have `{now}`");
            refused.push(("sink", Mistake::new("prefix", message).hint(Some(format!("keep `prefix = \"{before}\"`; {ANEW}")))));
        }
        if format == SinkFormat::Delta && self.partition_by != planned.partition_by {
            let message = format!(
                "the results are partitioned by {:?}, and a Delta table of them cannot be by {:?}",
                self.partition_by, planned.partition_by
            );
            let hint = format!("keep `partition_by = {:?}`; {ANEW}", self.partition_by);
            refused.push(("sink", Mistake::new("partition_by", message).hint(Some(hint))));
        }
        let mut fields: Vec<FieldRef> = Vec::new();
        for field in self.columns.fields() {
            let Ok(now) = planned.columns.field_with_name(field.name()) else {
                fields.push(Arc::clone(field));
                continue;
            };
            let is_partition = self.is_partition(field.name()) || planned.is_partition(field.name());
            let join = if is_partition { joined_as_partition } else { joined_fields };
            match join(field, now).filter(|joined| format != SinkFormat::Delta || alike(joined, field)) {
                Some(joined) => fields.push(Arc::new(joined)),
                None => {
                    let is_key = self.key.has(field.name());
                    refused.push(other_type(field, now.data_type(), is_key, is_of_source(field.name())));
                }
            }
        }
        let new = planned.columns.fields().iter().filter(|field| self.columns.field_with_name(field.name()).is_err());
        fields.extend(new.cloned());
        if !refused.is_empty() {
            return Err(refused);
        }
        // The partitions are last, in their own order.
        let place = |field: &FieldRef| planned.partition_by.iter().position(|name| name == field.name());
        fields.sort_by_key(|field| place(field).map_or(0, |place| place + 1));
        let columns = Schema::new(fields);
        Ok(Self { says_meanings: has_meanings(&columns), columns: Arc::new(columns), ..planned.clone() })
    }

    /// Whether files of this shape have the other one too.
    pub(crate) fn has_files_of(&self, other: &Self) -> bool {
        let are_alike = self.partition_by == other.partition_by && self.says_meanings == other.says_meanings;
        are_alike && same_columns(&self.inside(), &other.inside())
    }
}

/// What always helps.
pub(crate) const ANEW: &str = "or answer everything anew, which replaces all results: promptmill run PIPELINE --fresh";

/// Whether files with these columns look alike to every reader: the same names and types in the same order.
pub(crate) fn same_columns(a: &Schema, b: &Schema) -> bool {
    a.fields().len() == b.fields().len() && a.fields().iter().zip(b.fields()).all(|(a, b)| a.name() == b.name() && alike(a, b))
}

/// The columns of files that look alike, with nulls wherever one of them may have some.
pub(crate) fn with_nulls_of_any(columns: &Schema) -> SchemaRef {
    Arc::new(Schema::new(columns.fields().iter().map(|field| with_nulls(field)).collect::<Vec<_>>()))
}

fn other_type(field: &Field, now: &DataType, is_key: bool, is_of_source: bool) -> Refusal {
    let (name, before) = (field.name(), field.data_type());
    if is_key {
        let message = format!("the key column `{name}` is {before} in the results, and is {now} in the source");
        let hint = format!("cast it to {before} in the source, or choose another key; {ANEW}");
        return ("source", Mistake::new("key", message).hint(Some(hint)));
    }
    let message = format!("column `{name}` is {before} in the results and would be {now}");
    let hint = match is_of_source {
        true => format!("cast it to {before} in the source, leave it out with `sink.columns`; {ANEW}"),
        false => format!("give the answer another name; {ANEW}"),
    };
    ("sink", Mistake::new("path", message).hint(Some(hint)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(key: &str, partition_by: &[&str], columns: &[(&str, DataType)]) -> Shape {
        let fields: Vec<Field> = columns.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), false)).collect();
        let partition_by: Vec<String> = partition_by.iter().map(|name| (*name).to_owned()).collect();
        Shape::new(&Key::of([key]), &partition_by, &Arc::new(Schema::new(fields)))
    }

    fn shown(shape: &Shape) -> Vec<String> {
        shape.columns.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect()
    }

    #[test]
    fn a_shape_grows_by_what_is_planned_and_loses_nothing() {
        use DataType::{Int32, Int64, LargeUtf8, Utf8};
        let before = shape("id", &["year"], &[("id", Int32), ("ref", Utf8), ("gone", Utf8), ("year", Int64)]);
        let planned = shape("id", &["place"], &[("id", Int64), ("new", Utf8), ("ref", LargeUtf8), ("year", Int32), ("place", Utf8)]);
        let both = before.with(&planned, SinkFormat::Parquet, &|_| true).expect("nothing is lost");
        assert_eq!(shown(&both), ["id Int64", "ref Utf8", "gone Utf8", "year Int64", "new Utf8", "place Utf8"]);
        assert_eq!(both.partition_by, ["place"]);
        assert!(both.columns.field_with_name("gone").expect("a column").is_nullable(), "new rows have none");
        assert!(!before.has_files_of(&both) && both.has_files_of(&both));
        let again = both.with(&planned, SinkFormat::Parquet, &|_| true).expect("nothing is lost");
        assert_eq!(again, both, "once is enough");
    }

    #[test]
    fn what_would_lose_values_is_refused_by_name() {
        use DataType::{Float64, Int64, Utf8};
        let before = shape("id", &["year"], &[("id", Utf8), ("ref", Utf8), ("score", Int64), ("year", Utf8)]);
        let planned = shape("uid", &[], &[("uid", Utf8), ("id", Int64), ("ref", Int64), ("score", Float64), ("year", Int64)]);
        let refused = before.with(&planned, SinkFormat::Parquet, &|name| name != "score").expect_err("values are lost");
        let words: Vec<&str> = refused.iter().map(|(_, mistake)| mistake.message.as_str()).collect();
        assert_eq!(words.len(), 5, "{words:?}");
        for name in ["`uid`", "`id`", "`ref`", "`score`", "`year`"] {
            assert!(words.iter().any(|word| word.contains(name)), "{name} {words:?}");
        }
        assert!(refused.iter().all(|(_, mistake)| mistake.hint.as_ref().is_some_and(|hint| hint.contains("--fresh"))));
        let planned = shape("id", &[], &[("id", Utf8), ("ref", Utf8), ("score", Int64), ("year", Utf8)]);
        assert!(before.with(&planned, SinkFormat::Parquet, &|_| true).is_ok());
        let refused = before.with(&planned, SinkFormat::Delta, &|_| true).expect_err("a table keeps its partitions");
        assert!(refused[0].1.message.contains("partitioned by [\"year\"]"), "{refused:?}");
    }

    #[test]
    fn a_shape_is_written_into_a_record_and_one_of_a_later_version_is_passed_over() {
        #[derive(Serialize, Deserialize)]
        struct Record {
            #[serde(default, deserialize_with = "if_readable")]
            shape: Option<Shape>,
        }
        let inside = Field::new("item", DataType::Struct(vec![Field::new("a", DataType::Int8, true)].into()), true);
        let shape = shape("id", &["y"], &[("id", DataType::Utf8), ("l", DataType::List(Arc::new(inside))), ("y", DataType::Date32)]);
        let json = serde_json::to_string(&Record { shape: Some(shape.clone()) }).expect("JSON");
        let read: Record = serde_json::from_str(&json).expect("read");
        assert_eq!(read.shape, Some(shape));
        let later: Record = serde_json::from_str(&json.replace("Date32", "Date512")).expect("read");
        assert_eq!(later.shape, None);
        assert_eq!(serde_json::from_str::<Record>("{}").expect("read").shape, None);
    }
}
