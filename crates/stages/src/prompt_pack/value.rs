//! Values of a source as templates see them: numbers, texts, lists and records, and everything else as a person would write it.

use std::fmt::{self, Write};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StructArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float16Type, Float32Type, Float64Type, Int64Type, UInt64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use minijinja::value::{Enumerator, Object, ObjectRepr, Value};
use minijinja::{Error, ErrorKind};

/// Bytes that are no text are shown as hexadecimal digits, as hashes and ids are, up to so many.
const SHOWN_BYTES: usize = 64;

/// The value at a place of an array.
pub(super) fn value(array: &ArrayRef, row: usize) -> Value {
    if array.is_null(row) {
        return Value::from(());
    }
    number_or_text(array, row).unwrap_or_else(|| match text(array, row) {
        _ if is_list(array.data_type()) => list(array, row),
        Ok(text) if is_record(array.data_type()) => Value::from_object(Record { text, array: Arc::clone(array), row }),
        Ok(text) => text.into(),
        Err(error) => error.into(),
    })
}

/// Writes the value at a place of an array, as a template would; a null is nothing.
pub(super) fn push(array: &ArrayRef, row: usize, out: &mut String) -> Result<(), Error> {
    if array.is_null(row) {
        return Ok(());
    }
    match number_or_text(array, row) {
        Some(value) if value.is_none() => {}
        Some(value) => {
            // Writing to a string does not fail.
            let _ = write!(out, "{value}");
        }
        None => out.push_str(&text(array, row)?),
    }
    Ok(())
}

fn is_list(data_type: &DataType) -> bool {
    matches!(data_type, DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..))
}

fn is_record(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Struct(_) | DataType::Map(..))
}

fn is_nested(data_type: &DataType) -> bool {
    is_list(data_type) || is_record(data_type)
}

fn number_or_text(array: &ArrayRef, row: usize) -> Option<Value> {
    use DataType::{
        Boolean, Dictionary, Float16, Float32, Float64, Int8, Int16, Int32, Int64, LargeUtf8, UInt8, UInt16, UInt32, UInt64, Utf8, Utf8View,
    };
    let one = || array.slice(row, 1);
    Some(match array.data_type() {
        Utf8 => array.as_string::<i32>().value(row).into(),
        LargeUtf8 => array.as_string::<i64>().value(row).into(),
        Utf8View => array.as_string_view().value(row).into(),
        Boolean => array.as_boolean().value(row).into(),
        Int64 => array.as_primitive::<Int64Type>().value(row).into(),
        Int8 | Int16 | Int32 => cast(&one(), &Int64).ok()?.as_primitive::<Int64Type>().value(0).into(),
        UInt8 | UInt16 | UInt32 | UInt64 => cast(&one(), &UInt64).ok()?.as_primitive::<UInt64Type>().value(0).into(),
        Float16 => short(array.as_primitive::<Float16Type>().value(row).to_f32()).into(),
        Float32 => short(array.as_primitive::<Float32Type>().value(row)).into(),
        Float64 => array.as_primitive::<Float64Type>().value(row).into(),
        Dictionary(_, values) if is_nested(values) || values.is_primitive() || values.is_string() => value(&cast(&one(), values).ok()?, 0),
        _ => return None,
    })
}

/// The number that a person would write for a short one: 0.1 and not 0.10000000149011612.
pub(super) fn short(number: f32) -> f64 {
    number.to_string().parse().unwrap_or_else(|_| f64::from(number))
}

/// A value that is neither number nor text, as text: dates as `2024-03-05`, lists as `[a, b]`.
pub(super) fn text(array: &dyn Array, row: usize) -> Result<String, Error> {
    let bytes = match array.data_type() {
        DataType::Binary => Some(array.as_binary::<i32>().value(row)),
        DataType::LargeBinary => Some(array.as_binary::<i64>().value(row)),
        DataType::BinaryView => Some(array.as_binary_view().value(row)),
        _ => None,
    };
    if let Some(bytes) = bytes {
        match std::str::from_utf8(bytes) {
            Ok(text) if text.chars().all(|letter| !letter.is_control() || letter.is_whitespace()) => return Ok(text.to_owned()),
            _ if bytes.len() > SHOWN_BYTES => return Err(cannot(&format!("{} bytes that are no text", bytes.len()))),
            _ => {}
        }
    }
    // Left to itself, what cannot be formatted is shown as the words of the error.
    let options = FormatOptions::default().with_display_error(false);
    let shown = ArrayFormatter::try_new(array, &options).map_err(|error| cannot(&error.to_string()))?;
    shown.value(row).try_to_string().map_err(|error| cannot(&error.to_string()))
}

fn cannot(what: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("a value cannot be shown: {what}"))
}

fn list(array: &ArrayRef, row: usize) -> Value {
    let elements = match array.data_type() {
        DataType::List(_) => array.as_list::<i32>().value(row),
        DataType::LargeList(_) => array.as_list::<i64>().value(row),
        _ => array.as_fixed_size_list().value(row),
    };
    match text(array, row) {
        Ok(text) => Value::from_object(Elements { text, elements }),
        Err(error) => error.into(),
    }
}

/// A list. Printed whole it is `[a, b]`.
#[derive(Debug)]
struct Elements {
    text: String,
    elements: ArrayRef,
}

impl Object for Elements {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let index = key.as_usize().filter(|index| *index < self.elements.len())?;
        Some(value(&self.elements, index))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.elements.len())
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A struct or a map. Printed whole it is `{name: value}`.
#[derive(Debug)]
struct Record {
    text: String,
    array: ArrayRef,
    row: usize,
}

impl Record {
    fn entries(&self) -> Option<StructArray> {
        self.array.as_map_opt().map(|map| map.value(self.row))
    }
}

impl Object for Record {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match self.entries() {
            Some(entries) => {
                let at = (0..entries.len()).find(|at| value(entries.column(0), *at) == *key)?;
                Some(value(entries.column(1), at))
            }
            None => Some(value(self.array.as_struct().column_by_name(key.as_str()?)?, self.row)),
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(match self.entries() {
            Some(entries) => (0..entries.len()).map(|at| value(entries.column(0), at)).collect(),
            None => self.array.as_struct().column_names().into_iter().map(Value::from).collect(),
        })
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
