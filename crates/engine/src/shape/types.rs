//! Types that hold the values of two others without loss.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Fields, TimeUnit};

/// The name under which a column says what its values mean beyond its type: a UUID, a JSON text.
const EXTENSION: &str = "ARROW:extension:name";

/// A type that every value of both can be cast to and back. The first one where it can be: what is there stays as it is.
pub(crate) fn joined(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType::{Decimal128, Dictionary, LargeList, List, Map, Null, Struct, Timestamp};
    if a == b {
        return Some(a.clone());
    }
    match (a, b) {
        (Null, other) | (other, Null) => Some(other.clone()),
        (Dictionary(_, a), b) => joined(a, b),
        (a, Dictionary(_, b)) => joined(a, b),
        (a, b) if is_text(a) && is_text(b) || is_binary(a) && is_binary(b) => Some(a.clone()),
        (List(a), List(b) | LargeList(b)) => Some(List(joined_inside(a, b)?)),
        (LargeList(a), List(b) | LargeList(b)) => Some(LargeList(joined_inside(a, b)?)),
        (Map(a, is_sorted), Map(b, _)) => Some(Map(joined_inside(a, b)?, *is_sorted)),
        (Struct(a), Struct(b)) => Some(Struct(joined_members(a, b)?)),
        // Earlier versions wrote dates of the source as they came.
        (DataType::Date64, DataType::Date32 | Timestamp(TimeUnit::Millisecond, None))
        | (DataType::Date32 | Timestamp(TimeUnit::Millisecond, None), DataType::Date64) => Some(DataType::Date64),
        (DataType::Time32(a), DataType::Time32(b)) => finer(*a, *b).map(DataType::Time32),
        (Timestamp(a, zone), Timestamp(b, other)) if zone == other => finer(*a, *b).map(|unit| Timestamp(unit, zone.clone())),
        (Decimal128(p, s), Decimal128(q, t)) => {
            let (scale, whole) = (*s.max(t), (i16::from(*p) - i16::from(*s)).max(i16::from(*q) - i16::from(*t)));
            let precision = u8::try_from(whole + i16::from(scale)).ok()?;
            (precision <= 38).then_some(Decimal128(precision, scale))
        }
        (Decimal128(p, s), whole) | (whole, Decimal128(p, s)) => {
            let digits = [(DataType::Int8, 3), (DataType::Int16, 5), (DataType::Int32, 10), (DataType::Int64, 19)];
            let (_, digits) = digits.into_iter().find(|(of, _)| of == whole)?;
            (i16::from(*p) - i16::from(*s) >= digits).then_some(Decimal128(*p, *s))
        }
        _ => number(a, b),
    }
}

/// Whether two columns look alike to every reader of the files: inside of lists the name of an item does not count, and
/// whether a value may be null never does.
pub(crate) fn alike(a: &Field, b: &Field) -> bool {
    extension(a) == extension(b) && same(a.data_type(), b.data_type())
}

fn same(a: &DataType, b: &DataType) -> bool {
    use DataType::{FixedSizeList, LargeList, List, Map, Struct};
    match (a, b) {
        (List(a), List(b)) | (LargeList(a), LargeList(b)) => same(a.data_type(), b.data_type()),
        (FixedSizeList(a, m), FixedSizeList(b, n)) => m == n && same(a.data_type(), b.data_type()),
        (Map(a, _), Map(b, _)) => same(a.data_type(), b.data_type()),
        (Struct(a), Struct(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.name() == b.name() && same(a.data_type(), b.data_type()))
        }
        _ => a == b,
    }
}

/// A column that holds the values of both.
pub(crate) fn joined_fields(a: &Field, b: &Field) -> Option<Field> {
    let data_type = if same(a.data_type(), b.data_type()) { lenient(a.data_type()) } else { joined(a.data_type(), b.data_type())? };
    let meant = match (extension(a), extension(b)) {
        (Some(a), Some(b)) if a != b => return None,
        (None, Some(_)) => b,
        _ => a,
    };
    // What a value means is said of the type as it is.
    if extension(meant).is_some() && data_type != lenient(meant.data_type()) {
        return None;
    }
    let metadata = meant.metadata().clone();
    Some(a.clone().with_data_type(data_type).with_nullable(a.is_nullable() || b.is_nullable()).with_metadata(metadata))
}

/// The same for a column whose values name folders: their texts stay as they are.
pub(crate) fn joined_as_partition(a: &Field, b: &Field) -> Option<Field> {
    let joined = joined_fields(a, b)?;
    let is_kept = |field: &Field| {
        let data_type = field.data_type();
        let is_number = data_type.is_integer() && joined.data_type().is_integer();
        data_type == joined.data_type() || data_type.is_null() || is_text(&value_type(data_type)) || is_number
    };
    (is_kept(a) && is_kept(b)).then_some(joined)
}

/// The column with nulls allowed wherever they can be.
pub(crate) fn with_nulls(field: &Field) -> Field {
    field.clone().with_data_type(lenient(field.data_type())).with_nullable(true)
}

fn extension(field: &Field) -> Option<&String> {
    field.metadata().get(EXTENSION)
}

/// The type with nulls allowed wherever they can be: rows of another run may have some.
fn lenient(data_type: &DataType) -> DataType {
    use DataType::{LargeList, List, Struct};
    let inside = |field: &Arc<Field>| Arc::new(field.as_ref().clone().with_data_type(lenient(field.data_type())).with_nullable(true));
    match data_type {
        List(field) => List(inside(field)),
        LargeList(field) => LargeList(inside(field)),
        Struct(fields) => Struct(fields.iter().map(inside).collect()),
        DataType::Map(entries, is_sorted) => DataType::Map(Arc::new(with_null_values(entries)), *is_sorted),
        other => other.clone(),
    }
}

/// The entries of a map: the values may be null, keys and entries never are.
fn with_null_values(entries: &Field) -> Field {
    let DataType::Struct(members) = entries.data_type() else { return entries.clone() };
    let members = members.iter().enumerate().map(|(place, member)| match place {
        0 => Arc::clone(member),
        _ => Arc::new(with_nulls(member)),
    });
    entries.clone().with_data_type(DataType::Struct(members.collect()))
}

fn joined_inside(a: &Field, b: &Field) -> Option<Arc<Field>> {
    joined_fields(a, b).map(Arc::new)
}

fn joined_members(a: &Fields, b: &Fields) -> Option<Fields> {
    let members = a.iter().zip(b).map(|(a, b)| if a.name() == b.name() { joined_inside(a, b) } else { None });
    (a.len() == b.len()).then(|| members.collect())?
}

fn value_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => values.as_ref().clone(),
        other => other.clone(),
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_binary(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

/// The finer of two units of time. Nanoseconds end in the year 2262, which the others do not.
fn finer(a: TimeUnit, b: TimeUnit) -> Option<TimeUnit> {
    let fineness = |unit| match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 1,
        TimeUnit::Microsecond => 2,
        TimeUnit::Nanosecond => 3,
    };
    let finer = if fineness(a) > fineness(b) { a } else { b };
    (finer != TimeUnit::Nanosecond || a == b).then_some(finer)
}

/// The narrowest number that holds both.
fn number(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType::{Float16, Float32, Float64, Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64};
    // The types that hold each, itself first.
    let holds = |data_type: &DataType| -> &[DataType] {
        match data_type {
            Int8 => &[Int8, Int16, Int32, Int64, Float16, Float32, Float64],
            Int16 => &[Int16, Int32, Int64, Float32, Float64],
            Int32 => &[Int32, Int64, Float64],
            Int64 => &[Int64],
            UInt8 => &[UInt8, UInt16, UInt32, UInt64, Int16, Int32, Int64, Float16, Float32, Float64],
            UInt16 => &[UInt16, UInt32, UInt64, Int32, Int64, Float32, Float64],
            UInt32 => &[UInt32, UInt64, Int64, Float64],
            UInt64 => &[UInt64],
            Float16 => &[Float16, Float32, Float64],
            Float32 => &[Float32, Float64],
            Float64 => &[Float64],
            _ => &[],
        }
    };
    holds(a).iter().find(|held| holds(b).contains(held)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_widened_where_nothing_is_lost() {
        use DataType::*;
        let list = |inside| List(Arc::new(Field::new("item", inside, false)));
        for (a, b, both) in [
            (Int32, Int64, Some(Int64)),
            (Int64, Int8, Some(Int64)),
            (UInt8, Int8, Some(Int16)),
            (UInt32, Int32, Some(Int64)),
            (UInt64, Int64, None),
            (Int32, Float32, Some(Float64)),
            (Int64, Float64, None),
            (Float64, Int32, Some(Float64)),
            (Utf8, LargeUtf8, Some(Utf8)),
            (Utf8View, Utf8, Some(Utf8View)),
            (Dictionary(Box::new(Int8), Box::new(Utf8)), Utf8, Some(Utf8)),
            (Utf8, Int64, None),
            (Int64, Utf8, None),
            (Null, Utf8, Some(Utf8)),
            (Boolean, Int8, None),
            (Date32, Utf8, None),
            (Date32, Timestamp(TimeUnit::Second, None), None),
            (Timestamp(TimeUnit::Millisecond, None), Timestamp(TimeUnit::Microsecond, None), Some(Timestamp(TimeUnit::Microsecond, None))),
            (Timestamp(TimeUnit::Microsecond, None), Timestamp(TimeUnit::Nanosecond, None), None),
            (Timestamp(TimeUnit::Second, None), Timestamp(TimeUnit::Second, Some("UTC".into())), None),
            (Decimal128(10, 2), Decimal128(9, 4), Some(Decimal128(12, 4))),
            (Decimal128(38, 0), Decimal128(38, 10), None),
            (Decimal128(20, 2), Int32, Some(Decimal128(20, 2))),
            (Decimal128(10, 2), Int64, None),
            (list(Int32), list(Int64), Some(list(Int64))),
            (list(Utf8), list(Int64), None),
        ] {
            assert_eq!(joined(&a, &b), both, "{a} and {b}");
        }
    }

    #[test]
    fn what_others_call_the_items_of_a_list_is_no_change() {
        let list = |name: &str, null| DataType::List(Arc::new(Field::new(name, DataType::Int32, null)));
        let (a, b) = (Field::new("l", list("item", false), true), Field::new("l", list("element", true), true));
        assert!(alike(&a, &b));
        assert_eq!(joined_fields(&a, &b).expect("one type").data_type(), &list("item", true));
    }

    #[test]
    fn texts_of_folders_stay_as_they_are() {
        let join = |a: DataType, b: DataType| joined_as_partition(&Field::new("p", a, true), &Field::new("p", b, true)).is_some();
        assert!(join(DataType::Int32, DataType::Int64) && join(DataType::Utf8, DataType::LargeUtf8));
        assert!(!join(DataType::Float32, DataType::Float64), "0.1 would be another text");
        assert!(!join(DataType::Int32, DataType::Float64) && !join(DataType::Int32, DataType::Decimal128(20, 2)));
    }

    #[test]
    fn what_a_value_means_is_kept() {
        let uuid = [(EXTENSION.to_owned(), "arrow.uuid".to_owned())];
        let plain = Field::new("u", DataType::FixedSizeBinary(16), true);
        let meant = plain.clone().with_metadata(uuid.into());
        assert!(!alike(&plain, &meant));
        assert_eq!(joined_fields(&plain, &meant), Some(meant.clone()));
        assert_eq!(joined_fields(&meant, &plain), Some(meant.clone()));
        assert_eq!(joined_fields(&meant, &Field::new("u", DataType::Utf8, true)), None);
    }

    #[test]
    fn whatever_is_inside_of_a_column_may_be_null_but_for_keys() {
        let inside = |is_nullable| {
            let entry = vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Int64, is_nullable)];
            let entries = Field::new("entries", DataType::Struct(entry.into()), false);
            let map = Field::new("map", DataType::Map(Arc::new(entries), false), is_nullable);
            let list = Field::new("list", DataType::List(Arc::new(Field::new("item", DataType::Int8, is_nullable))), is_nullable);
            Field::new("c", DataType::Struct(vec![map, list].into()), is_nullable)
        };
        assert_eq!(with_nulls(&inside(false)), inside(true));
    }
}
