//! The key of a row as one text: what index, journal and messages know it by.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray};
use datafusion::arrow::compute::{CastOptions, can_cast_types, cast_with_options};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::DataFusionError;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, cast, ident};
use promptmill_core::meaning;
use promptmill_core::pipeline::Key;
use promptmill_core::{Error, Result};

use crate::sql::quoted;

/// The function's name in SQL.
const NAME: &str = "row_key";

/// Whether values of a column can be part of a key: each casts to text.
pub(crate) fn can_be_key(field: &Field) -> bool {
    let data_type = field.data_type();
    meaning::is_uuid(field) || (!data_type.is_nested() && can_cast_types(data_type, &DataType::Utf8))
}

/// The keys of rows; null where one of the values is.
pub(crate) fn texts<'a>(columns: impl IntoIterator<Item = (&'a ArrayRef, &'a Field)>) -> Result<StringArray> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let columns = columns.into_iter().map(|(array, field)| {
        let array = meaning::texts(array, field)?;
        let texts = cast_with_options(&array, &DataType::Utf8, &options).map_err(|error| {
            Error::failed(format!("the key column `{}` has a value that has no text: {error}", field.name()))
                .hint("choose another key; or leave such rows out where the source is written: of a day that no calendar has, or of bytes that are no text, nobody knows which row it is")
        })?;
        Ok(texts.as_string::<i32>().clone())
    });
    let columns: Vec<StringArray> = columns.collect::<Result<_>>()?;
    match columns.as_slice() {
        [] => Err(Error::failed("a key without columns")),
        [column] => Ok(column.clone()),
        columns => {
            let of_row =
                |row: usize| columns.iter().map(|column| column.is_valid(row).then(|| column.value(row))).collect::<Option<Vec<_>>>();
            Ok((0..columns[0].len()).map(|row| of_row(row).map(|values| Key::text(&values))).collect())
        }
    }
}

/// Whether every value of a type has a text.
fn has_text(data_type: &DataType) -> bool {
    data_type.is_numeric() || data_type.is_string() || *data_type == DataType::Boolean
}

/// The key as an expression over the columns of a schema.
pub(crate) fn expr(key: &Key, schema: &Schema) -> Expr {
    match key.columns() {
        [column] if schema.field_with_name(column).is_ok_and(|field| has_text(field.data_type())) => cast(ident(column), DataType::Utf8),
        columns => ScalarUDF::from(RowKey::new()).call(columns.iter().map(ident).collect()),
    }
}

/// The key in SQL, over a table that has its columns.
pub fn sql(key: &Key) -> String {
    format!("{NAME}({})", key.columns().iter().map(|column| quoted(column)).collect::<Vec<_>>().join(", "))
}

/// `row_key(a, …)` in SQL: the key of a row as one text.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct RowKey {
    signature: Signature,
}

impl RowKey {
    pub(crate) fn new() -> Self {
        Self { signature: Signature::variadic_any(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for RowKey {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let arrays = args.args.iter().map(|value| value.to_array(args.number_rows)).collect::<DataFusionResult<Vec<_>>>()?;
        let keys = texts(arrays.iter().zip(args.arg_fields.iter().map(AsRef::as_ref)));
        keys.map(|keys| ColumnarValue::Array(Arc::new(keys))).map_err(|error| DataFusionError::External(Box::new(error)))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::Int32Array;

    use super::*;

    #[test]
    fn no_two_keys_share_a_text() {
        let field = |data_type| Field::new("k", data_type, true);
        let text = |values: &[Option<&str>]| Arc::new(values.iter().copied().collect::<StringArray>()) as ArrayRef;
        let (a, b) =
            (text(&[Some("a|b"), Some("a"), Some("\""), None, Some("")]), text(&[Some("c"), Some("b|c"), Some(","), Some("x"), Some("")]));
        let of_text = field(DataType::Utf8);
        let keys = texts([(&a, &of_text), (&b, &of_text)]).expect("keys");
        let keys: Vec<Option<&str>> = keys.iter().collect();
        assert_eq!(keys, [Some(r#"["a|b","c"]"#), Some(r#"["a","b|c"]"#), Some(r#"["\"",","]"#), None, Some(r#"["",""]"#)]);
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![1, -2]));
        let alone = texts([(&numbers, &field(DataType::Int32))]).expect("keys");
        assert_eq!(alone.iter().collect::<Vec<_>>(), [Some("1"), Some("-2")], "one column is its value");
    }

    #[test]
    fn what_is_no_one_text_is_no_key() {
        let field = |data_type| Field::new("k", data_type, true);
        for refused in [
            DataType::FixedSizeBinary(16),
            DataType::Struct(vec![field(DataType::Utf8)].into()),
            DataType::List(Arc::new(field(DataType::Int8))),
        ] {
            assert!(!can_be_key(&field(refused.clone())), "{refused}");
        }
        let uuid = field(DataType::FixedSizeBinary(16)).with_metadata([(meaning::NAME.to_owned(), meaning::UUID.to_owned())].into());
        assert!(can_be_key(&uuid) && can_be_key(&field(DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8)))));
        assert!(can_be_key(&field(DataType::Decimal128(9, 2))) && can_be_key(&field(DataType::Int64)));
    }
}
