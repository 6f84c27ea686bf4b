//! Answers as typed Arrow columns.
//!
//! Every column and every field in one may be null, whatever was asked: dead letters pass as rows without an
//! answer, and files from before a field became nullable are read together with those after it.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, ListArray, StringArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use promptmill_core::{AnswerField, FieldType, Result};
use serde_json::Value;

/// The type of the column that holds values of this kind.
pub(super) fn arrow_type(kind: &FieldType) -> DataType {
    match kind {
        FieldType::String | FieldType::Enum(_) => DataType::Utf8,
        FieldType::Int => DataType::Int64,
        FieldType::Float => DataType::Float64,
        FieldType::Bool => DataType::Boolean,
        FieldType::List(items) => DataType::List(item_field(items)),
        FieldType::Struct(fields) => DataType::Struct(arrow_fields(fields)),
    }
}

fn item_field(items: &FieldType) -> FieldRef {
    Arc::new(Field::new("item", arrow_type(items), true))
}

fn arrow_fields(fields: &[AnswerField]) -> Fields {
    fields.iter().map(|field| Field::new(&field.name, arrow_type(&field.kind), true)).collect()
}

/// The column of these values, each of the kind or absent.
pub(super) fn array_of(kind: &FieldType, values: &[Option<&Value>]) -> Result<ArrayRef> {
    let is_there = |value: &Option<&Value>| value.is_some_and(|value| !value.is_null());
    let nulls = || Some(NullBuffer::from_iter(values.iter().map(is_there))).filter(|nulls| nulls.null_count() > 0);
    let each = || values.iter().map(|value| value.as_ref());
    Ok(match kind {
        FieldType::String | FieldType::Enum(_) => Arc::new(each().map(|value| value?.as_str()).collect::<StringArray>()),
        FieldType::Int => Arc::new(each().map(|value| value?.as_i64()).collect::<Int64Array>()),
        FieldType::Float => Arc::new(each().map(|value| value?.as_f64()).collect::<Float64Array>()),
        FieldType::Bool => Arc::new(each().map(|value| value?.as_bool()).collect::<BooleanArray>()),
        FieldType::List(items) => {
            let lists = || each().map(|value| value.and_then(|value| value.as_array()).map_or(&[][..], Vec::as_slice));
            let flat: Vec<Option<&Value>> = lists().flatten().map(Some).collect();
            let offsets = OffsetBuffer::from_lengths(lists().map(<[Value]>::len));
            Arc::new(ListArray::try_new(item_field(items), offsets, array_of(items, &flat)?, nulls())?)
        }
        FieldType::Struct(fields) => {
            let column = |field: &AnswerField| {
                let inside: Vec<Option<&Value>> = each().map(|value| value?.get(&field.name)).collect();
                array_of(&field.kind, &inside)
            };
            let columns = fields.iter().map(column).collect::<Result<Vec<_>>>()?;
            Arc::new(StructArray::try_new_with_length(arrow_fields(fields), columns, nulls(), values.len())?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, RecordBatch};
    use arrow::datatypes::Schema;
    use serde_json::json;

    #[test]
    fn nested_values_come_back_as_they_went_in() {
        let person = FieldType::Struct(vec![
            AnswerField::new("name", FieldType::String),
            AnswerField { nullable: true, ..AnswerField::new("seats", FieldType::Int) },
            AnswerField::new("tags", FieldType::List(Box::new(FieldType::Enum(vec!["a".into(), "b".into()])))),
        ]);
        let people = FieldType::List(Box::new(person.clone()));
        let one = json!({"name": "Kröger", "seats": 3, "tags": ["a", "b"]});
        let other = json!({"name": "De Wit", "seats": null, "tags": []});
        let (null, both, none) = (Value::Null, json!([one, other]), json!([]));
        for (kind, values) in [
            (&person, vec![Some(&one), Some(&null), Some(&other), None]),
            (&people, vec![Some(&both), None, Some(&none), Some(&null), Some(&both)]),
            (&FieldType::List(Box::new(people.clone())), vec![None, Some(&none)]),
        ] {
            let array = array_of(kind, &values).expect("an array");
            assert_eq!(array.data_type(), &arrow_type(kind));
            let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![Field::new("it", arrow_type(kind), true)])), vec![array]);
            let mut writer =
                arrow::json::WriterBuilder::new().with_explicit_nulls(true).build::<_, arrow::json::writer::JsonArray>(Vec::new());
            writer.write(&batch.expect("a batch")).expect("written");
            writer.finish().expect("written");
            let read: Vec<Value> = serde_json::from_slice(&writer.into_inner()).expect("JSON");
            let expected: Vec<Value> = values.iter().map(|value| json!({"it": value})).collect();
            assert_eq!(read, expected);
        }
    }

    #[test]
    fn a_column_of_dead_letters_alone_has_the_type_too() {
        for kind in [FieldType::Bool, FieldType::Float, FieldType::Struct(vec![AnswerField::new("a", FieldType::Int)])] {
            let array = array_of(&kind, &[None, None]).expect("an array");
            assert_eq!((array.len(), array.null_count(), array.data_type()), (2, 2, &arrow_type(&kind)));
        }
    }
}
