//! Values that texts and JSON have no form for as they are: maps with other keys than texts, and days that no calendar has.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringArray};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, Schema, TimeUnit};
use arrow::error::ArrowError;
use arrow::json::writer::{EncoderFactory, EncoderOptions, NullableEncoder, make_encoder};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use promptmill_core::meaning;

/// Seconds from 1970 to the last year that has a name here, and back to the first.
const LAST_SECOND: i64 = 8_200_000_000_000;
const DAY: i64 = 86_400;

/// How maps become JSON: a key without a value is one too.
#[derive(Debug)]
pub(super) struct Maps;

impl EncoderFactory for Maps {
    fn make_default_encoder<'a>(
        &self,
        field: &'a FieldRef,
        array: &'a dyn Array,
        _: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        static WITH_NULLS: LazyLock<EncoderOptions> = LazyLock::new(|| EncoderOptions::default().with_explicit_nulls(true));
        let is_map = matches!(array.data_type(), DataType::Map(..));
        is_map.then(|| make_encoder(field, array, &WITH_NULLS)).transpose()
    }
}

/// The same rows, with texts for the keys of maps.
pub(super) fn with_text_keys(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    each(batch, |field, column| {
        let data_type = text_keyed(field.data_type()).map_err(|keys| {
            ArrowError::NotYetImplemented(format!("the keys of the maps of column `{}` are {keys}, no texts", field.name()))
        })?;
        (data_type != *field.data_type()).then(|| cast_strictly(column, &data_type)).transpose()
    })
}

/// A type with texts for the keys of maps; the error is a type of keys that are none.
fn text_keyed(data_type: &DataType) -> Result<DataType, DataType> {
    let inside = |field: &FieldRef| Ok(Arc::new(field.as_ref().clone().with_data_type(text_keyed(field.data_type())?)));
    Ok(match data_type {
        DataType::List(field) => DataType::List(inside(field)?),
        DataType::LargeList(field) => DataType::LargeList(inside(field)?),
        DataType::FixedSizeList(field, length) => DataType::FixedSizeList(inside(field)?, *length),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inside).collect::<Result<_, DataType>>()?),
        DataType::Map(entries, is_sorted) => {
            let DataType::Struct(members) = entries.data_type() else { return Ok(data_type.clone()) };
            let members = members.iter().enumerate().map(|(place, member)| match member.data_type() {
                _ if place > 0 => inside(member),
                DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Ok(Arc::clone(member)),
                keys if keys.is_nested() => Err(keys.clone()),
                _ => Ok(Arc::new(member.as_ref().clone().with_data_type(DataType::Utf8))),
            });
            let members = DataType::Struct(members.collect::<Result<_, DataType>>()?);
            DataType::Map(Arc::new(entries.as_ref().clone().with_data_type(members)), *is_sorted)
        }
        other => other.clone(),
    })
}

/// The same rows, with what DuckDB and Postgres call a day without end.
///
/// # Errors
/// If a column has another day that no calendar has.
pub(super) fn with_days(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    each(batch, |field, column| {
        let Some(last) = last_value(field.data_type()) else {
            let is_time = |field: &Field| last_value(field.data_type()).is_some();
            if field.data_type().is_nested() && meaning::has(field, &is_time) {
                let texts = meaning::changed(field, &|field| is_time(field).then(|| field.clone().with_data_type(DataType::Utf8)));
                cast_strictly(column, texts.data_type()).map_err(|_| no_calendar(field))?;
            }
            return Ok(None);
        };
        let numbers = cast(&as_numbers(column)?, &DataType::Int64)?;
        let numbers = numbers.as_primitive::<Int64Type>();
        if numbers.iter().flatten().all(|number| number.unsigned_abs() <= last) {
            return Ok(None);
        }
        let options = FormatOptions::default();
        let texts = ArrayFormatter::try_new(column.as_ref(), &options)?;
        let end = if *field.data_type() == DataType::Date32 { i64::from(i32::MAX) } else { i64::MAX };
        let spelled = numbers.iter().enumerate().map(|(row, number)| match number {
            None => Ok(None),
            Some(number) if number == end => Ok(Some("infinity".to_owned())),
            Some(number) if number <= -end => Ok(Some("-infinity".to_owned())),
            Some(_) => texts.value(row).try_to_string().map(Some).map_err(|_| no_calendar(field)),
        });
        Ok(Some(Arc::new(spelled.collect::<Result<StringArray, _>>()?)))
    })
}

fn no_calendar(field: &Field) -> ArrowError {
    ArrowError::CastError(format!("column `{}` has a day that no calendar has", field.name()))
}

/// The numbers that days and times are.
fn as_numbers(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match column.data_type() {
        DataType::Date32 => cast(column, &DataType::Int32),
        _ => cast(column, &DataType::Int64),
    }
}

/// The greatest number that is a day or time of some calendar, if not every number of the type is.
fn last_value(data_type: &DataType) -> Option<u64> {
    let last = match data_type {
        DataType::Date32 => LAST_SECOND / DAY,
        DataType::Timestamp(TimeUnit::Second, _) => LAST_SECOND,
        DataType::Date64 | DataType::Timestamp(TimeUnit::Millisecond, _) => LAST_SECOND * 1_000,
        DataType::Timestamp(TimeUnit::Microsecond, _) => LAST_SECOND * 1_000_000,
        _ => return None,
    };
    Some(last.unsigned_abs())
}

fn cast_strictly(column: &ArrayRef, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(column, data_type, &CastOptions { safe: false, ..CastOptions::default() })
}

/// The rows with some columns changed.
fn each(
    batch: &RecordBatch,
    change: impl Fn(&Field, &ArrayRef) -> Result<Option<ArrayRef>, ArrowError>,
) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema_ref();
    let changed = schema.fields().iter().zip(batch.columns()).map(|(field, column)| change(field, column));
    let changed: Vec<Option<ArrayRef>> = changed.collect::<Result<_, _>>()?;
    if changed.iter().all(Option::is_none) {
        return Ok(batch.clone());
    }
    let columns: Vec<ArrayRef> =
        changed.into_iter().zip(batch.columns()).map(|(new, old)| new.unwrap_or_else(|| Arc::clone(old))).collect();
    let fields =
        schema.fields().iter().zip(&columns).map(|(field, column)| field.as_ref().clone().with_data_type(column.data_type().clone()));
    let schema = Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone());
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(schema), columns, &options)
}
