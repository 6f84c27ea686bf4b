//! What the values of a column mean beyond its type: that sixteen bytes are a UUID, or that a text is JSON.
//!
//! Arrow says so in the metadata of a field, under the names of its extension types; Parquet in its logical types. Whoever
//! shows a value, or hands it to something that has no such type, takes UUIDs as the text that everybody writes.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, GenericListArray, MapArray, OffsetSizeTrait, RecordBatch, StringArray, StructArray,
};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};
use arrow::error::ArrowError;

/// The metadata of a field that names its extension type.
pub const NAME: &str = "ARROW:extension:name";
/// The metadata of a field with what its extension type says besides.
pub const DETAILS: &str = "ARROW:extension:metadata";
/// Sixteen bytes that are a UUID.
pub const UUID: &str = "arrow.uuid";
/// A text that is JSON.
pub const JSON: &str = "arrow.json";

/// Whether a column is one of UUIDs.
pub fn is_uuid(field: &Field) -> bool {
    field.data_type() == &DataType::FixedSizeBinary(16) && field.metadata().get(NAME).is_some_and(|name| name == UUID)
}

/// Whether a column is one of UUIDs, or has some inside.
pub fn has_uuids(field: &Field) -> bool {
    has(field, &is_uuid)
}

/// Whether something is so of a column, or of what its lists, maps and structs hold.
pub fn has(field: &Field, is_so: &impl Fn(&Field) -> bool) -> bool {
    match field.data_type() {
        DataType::List(inside) | DataType::LargeList(inside) | DataType::FixedSizeList(inside, _) | DataType::Map(inside, _) => {
            has(inside, is_so)
        }
        DataType::Struct(fields) => fields.iter().any(|field| has(field, is_so)),
        _ => is_so(field),
    }
}

/// The column with the type of its values changed, or of those that its lists, maps and structs hold; what is not changed
/// stays as it is.
pub fn changed(field: &Field, change: &impl Fn(&Field) -> Option<Field>) -> Field {
    let inside = |field: &FieldRef| Arc::new(changed(field, change));
    let data_type = match field.data_type() {
        DataType::List(field) => DataType::List(inside(field)),
        DataType::LargeList(field) => DataType::LargeList(inside(field)),
        DataType::FixedSizeList(field, length) => DataType::FixedSizeList(inside(field), *length),
        DataType::Map(field, is_sorted) => DataType::Map(inside(field), *is_sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inside).collect()),
        _ => return change(field).unwrap_or_else(|| field.clone()),
    };
    field.clone().with_data_type(data_type)
}

/// The column with a text in the place of every UUID.
pub fn with_texts(field: &Field) -> Field {
    changed(field, &|field| {
        let mut metadata = is_uuid(field).then(|| field.metadata().clone())?;
        metadata.retain(|name, _| name != NAME && name != DETAILS);
        Some(Field::new(field.name(), DataType::Utf8, field.is_nullable()).with_metadata(metadata))
    })
}

/// The values of a column with a text in the place of every UUID, as [`with_texts`] says of its type.
///
/// # Errors
/// If the array is not of the column's type.
pub fn texts(array: &ArrayRef, field: &Field) -> Result<ArrayRef, ArrowError> {
    if !has_uuids(field) {
        return Ok(Arc::clone(array));
    }
    Ok(match field.data_type() {
        DataType::List(inside) => Arc::new(list(array.as_list::<i32>(), inside)?),
        DataType::LargeList(inside) => Arc::new(list(array.as_list::<i64>(), inside)?),
        DataType::FixedSizeList(inside, _) => {
            let (_, length, values, nulls) = array.as_fixed_size_list().clone().into_parts();
            Arc::new(FixedSizeListArray::try_new(Arc::new(with_texts(inside)), length, texts(&values, inside)?, nulls)?)
        }
        DataType::Map(inside, _) => {
            let (_, offsets, entries, nulls, is_sorted) = array.as_map().clone().into_parts();
            let entries: ArrayRef = Arc::new(entries);
            let entries = texts(&entries, inside)?.as_struct().clone();
            Arc::new(MapArray::try_new(Arc::new(with_texts(inside)), offsets, entries, nulls, is_sorted)?)
        }
        DataType::Struct(fields) => {
            let (_, arrays, nulls) = array.as_struct().clone().into_parts();
            let arrays = fields.iter().zip(&arrays).map(|(field, array)| texts(array, field)).collect::<Result<_, _>>()?;
            Arc::new(StructArray::try_new(fields.iter().map(|field| with_texts(field)).collect::<Fields>(), arrays, nulls)?)
        }
        _ => {
            let ids = array
                .as_fixed_size_binary_opt()
                .ok_or_else(|| ArrowError::CastError(format!("column `{}` is {}, which are no UUIDs", field.name(), array.data_type())))?;
            Arc::new(ids.iter().map(|id| id.map(uuid)).collect::<StringArray>())
        }
    })
}

/// Rows with a text in the place of every UUID.
///
/// # Errors
/// If a column is not what its field says.
pub fn rows_with_texts(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema_ref();
    if !schema.fields().iter().any(|field| has_uuids(field)) {
        return Ok(batch.clone());
    }
    let arrays = schema.fields().iter().zip(batch.columns()).map(|(field, array)| texts(array, field)).collect::<Result<_, _>>()?;
    let fields: Vec<Field> = schema.fields().iter().map(|field| with_texts(field)).collect();
    RecordBatch::try_new(Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())), arrays)
}

fn list<O: OffsetSizeTrait>(array: &GenericListArray<O>, inside: &Field) -> Result<GenericListArray<O>, ArrowError> {
    let (_, offsets, values, nulls) = array.clone().into_parts();
    GenericListArray::try_new(Arc::new(with_texts(inside)), offsets, texts(&values, inside)?, nulls)
}

/// A UUID of sixteen bytes, as everybody writes it.
fn uuid(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if [4, 6, 8, 10].contains(&index) {
            text.push('-');
        }
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use arrow::array::{FixedSizeBinaryArray, ListBuilder};
    use arrow::buffer::OffsetBuffer;
    use arrow::util::display::array_value_to_string;

    use super::*;

    const SHOWN: &str = "00000000-0000-0000-0000-000000000001";

    fn column(name: &str) -> Field {
        Field::new(name, DataType::FixedSizeBinary(16), true).with_metadata([(NAME.to_owned(), UUID.to_owned())].into())
    }

    fn ids() -> ArrayRef {
        let mut one = [0; 16];
        one[15] = 1;
        Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size([Some(one), None].into_iter(), 16).expect("two values"))
    }

    #[test]
    fn a_uuid_is_the_text_that_everybody_writes() {
        let shown = texts(&ids(), &column("id")).expect("texts");
        assert_eq!((shown.as_string::<i32>().value(0), shown.is_null(1)), (SHOWN, true));
        assert_eq!(with_texts(&column("id")), Field::new("id", DataType::Utf8, true));
        let plain = Field::new("id", DataType::FixedSizeBinary(16), true);
        assert!(!is_uuid(&plain) && !has_uuids(&plain), "sixteen bytes alone are none");
        assert_eq!(texts(&ids(), &plain).expect("as it is").data_type(), plain.data_type());
    }

    #[test]
    fn uuids_inside_of_lists_and_structs_are_texts_too() {
        let inside = Arc::new(column("item"));
        let list: ArrayRef = Arc::new(
            GenericListArray::<i32>::try_new(Arc::clone(&inside), OffsetBuffer::from_lengths([2, 0]), ids(), None).expect("a list"),
        );
        let list_field = Field::new("ids", DataType::List(inside), true);
        let fields = Fields::from(vec![list_field, column("own")]);
        let record: ArrayRef = Arc::new(StructArray::try_new(fields.clone(), vec![list, ids()], None).expect("a struct"));
        let field = Field::new("r", DataType::Struct(fields), true);
        assert!(has_uuids(&field));
        let shown = texts(&record, &field).expect("texts");
        assert_eq!(shown.data_type(), with_texts(&field).data_type());
        assert_eq!(array_value_to_string(&shown, 0).expect("shown"), format!("{{ids: [{SHOWN}, ], own: {SHOWN}}}"));
        let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![record]).expect("a batch");
        let rows = rows_with_texts(&batch).expect("texts");
        assert!(!has_uuids(rows.schema().field(0)));
        let others = ListBuilder::new(arrow::array::Int32Builder::new()).finish_cloned();
        assert_eq!(
            texts(&(Arc::new(others.clone()) as ArrayRef), &Field::new("n", others.data_type().clone(), true)).expect("none").len(),
            0
        );
    }
}
