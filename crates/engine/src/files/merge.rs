//! One schema out of those of many files: what every column can be without losing anything, and which columns have none.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use promptmill_core::meaning;

/// The schemas of some files, by shape: most files of a table have the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shapes {
    /// Each with the place of the first file that has it.
    shapes: Vec<(Fields, usize)>,
    /// The same of files without rows: they may add columns, and their types bind nobody.
    of_empty: Vec<(Fields, usize)>,
}

/// A column that has no one type in all files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    pub(crate) column: String,
    /// Two types that do not go together, each with the place of a file that has it.
    pub(crate) types: [(DataType, usize); 2],
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Merged {
    /// The columns that are one, in the order in which they turn up.
    pub(crate) schema: SchemaRef,
    /// The others.
    pub(crate) conflicts: Vec<Conflict>,
    /// Whether some file has another type for a column than the table.
    pub(crate) is_cast: bool,
    /// Columns of intervals, each with the place of a file that has it: their months are not read.
    pub(crate) intervals: Vec<(String, usize)>,
    /// Columns that a file has twice, or whose values have a member twice, each with the place of such a file.
    pub(crate) twice: Vec<(String, usize)>,
    /// Columns of days or times that become nanoseconds, as some file has those: they end in the year 2262.
    pub(crate) to_nanos: Vec<String>,
    /// Columns of whole numbers that become fractions, as some file has those: only numbers up to 2^53 stay what they are.
    pub(crate) to_floats: Vec<String>,
}

impl Shapes {
    /// Takes note of the columns of the file at a place.
    pub(crate) fn add(&mut self, schema: &Schema, place: usize, has_rows: bool) {
        let shapes = if has_rows { &mut self.shapes } else { &mut self.of_empty };
        match shapes.iter_mut().find(|(fields, _)| fields == schema.fields()) {
            Some((_, first)) => *first = place.min(*first),
            None => shapes.push((schema.fields().clone(), place)),
        }
    }

    /// Whether some file has a column of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.shapes.iter().chain(&self.of_empty).any(|(fields, _)| fields.find(name).is_some())
    }

    /// The columns of which nobody knows which of two is meant.
    fn twice(&self, kept: impl Fn(&&FieldRef) -> bool) -> Vec<(String, usize)> {
        let mut twice: Vec<(String, usize)> = Vec::new();
        for (fields, place) in self.shapes.iter().chain(&self.of_empty).filter(|(fields, _)| has_double(fields)) {
            for field in fields.iter().filter(&kept) {
                let is_double = fields.iter().filter(|other| other.name() == field.name()).count() > 1;
                let is_known = twice.iter().any(|(name, _)| name == field.name());
                if !is_known && (is_double || has_double_inside(field.data_type())) {
                    twice.push((field.name().clone(), *place));
                }
            }
        }
        twice
    }

    /// Takes a column for one that holds nothing in all files where it is of one of these types.
    pub(crate) fn without_values(&mut self, column: &str, types: &[DataType]) {
        for (fields, _) in &mut self.shapes {
            let nothing = |field: &FieldRef| match field.name() == column && types.contains(&plain(field.data_type())) {
                true => Arc::new(Field::new(column, DataType::Null, true)),
                false => Arc::clone(field),
            };
            *fields = fields.iter().map(nothing).collect();
        }
    }

    /// Makes one schema of them. Some columns may be left out, whatever they are.
    pub(crate) fn merge(mut self, leave_out: impl Fn(&str) -> bool) -> Merged {
        self.shapes.sort_by_key(|(_, place)| *place);
        self.of_empty.sort_by_key(|(_, place)| *place);
        let mut columns: Vec<(FieldRef, usize)> = Vec::new();
        let (mut conflicts, mut to_floats, mut to_nanos): (Vec<Conflict>, Vec<String>, Vec<String>) = Default::default();
        let kept = |field: &&FieldRef| !leave_out(field.name());
        for (fields, place) in &self.shapes {
            for field in fields.iter().filter(kept) {
                let normal = plain(field.data_type());
                let Some((column, first)) = columns.iter_mut().find(|(column, _)| column.name() == field.name()) else {
                    columns.push((Arc::new(column_of(field, normal)), *place));
                    continue;
                };
                match wider(column.data_type(), &normal) {
                    Some(wide) => {
                        if wide.is_floating() && (has_wide_int(column.data_type()) || has_wide_int(&normal)) {
                            to_floats.push(field.name().clone());
                        }
                        if is_nanos(&wide) && !(is_nanos(column.data_type()) && is_nanos(&normal)) {
                            to_nanos.push(field.name().clone());
                        }
                        *column = Arc::new(Field::new(field.name(), wide, true).with_metadata(meant(column, &column_of(field, normal))));
                    }
                    None if conflicts.iter().any(|conflict| conflict.column == *field.name()) => {}
                    None => conflicts
                        .push(Conflict { column: field.name().clone(), types: [(column.data_type().clone(), *first), (normal, *place)] }),
                }
            }
        }
        for (fields, place) in &self.of_empty {
            for field in fields.iter().filter(kept) {
                if !columns.iter().any(|(column, _)| column.name() == field.name()) {
                    columns.push((Arc::new(column_of(field, plain(field.data_type()))), *place));
                }
            }
        }
        columns.retain(|(column, _)| !conflicts.iter().any(|conflict| conflict.column == *column.name()));
        to_floats.dedup();
        to_nanos.dedup();
        let twice = self.twice(kept);
        columns.retain(|(column, _)| !twice.iter().any(|(name, _)| name == column.name()));
        let of_intervals = columns.iter().filter(|(column, _)| has_interval(column));
        let intervals: Vec<(String, usize)> = of_intervals.map(|(column, place)| (column.name().clone(), *place)).collect();
        columns.retain(|(column, _)| !has_interval(column));
        let schema = Arc::new(Schema::new(columns.into_iter().map(|(column, _)| column).collect::<Vec<_>>()));
        let is_cast = self
            .shapes
            .iter()
            .flat_map(|(fields, _)| fields)
            .any(|field| schema.field_with_name(field.name()).is_ok_and(|column| bare(column.data_type()) != bare(field.data_type())));
        Merged { schema, conflicts, intervals, is_cast, twice, to_nanos, to_floats }
    }
}

/// Whether some name stands twice among these columns, or within one of them.
fn has_double(fields: &Fields) -> bool {
    let mut names: Vec<&String> = fields.iter().map(|field| field.name()).collect();
    names.sort_unstable();
    names.windows(2).any(|pair| pair[0] == pair[1]) || fields.iter().any(|field| has_double_inside(field.data_type()))
}

fn has_double_inside(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(fields) => has_double(fields),
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) | DataType::Map(field, _) => {
            has_double_inside(field.data_type())
        }
        DataType::Dictionary(_, values) => has_double_inside(values),
        _ => false,
    }
}

fn is_nanos(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(TimeUnit::Nanosecond, _))
}

/// A column of the table: it may be missing in some file, and of what a file says of it only the name of a type is kept.
fn column_of(field: &Field, data_type: DataType) -> Field {
    Field::new(field.name(), data_type, true).with_metadata(extension(field))
}

/// What a column means beyond its type. Some writers say that there is nothing to say besides, others do not say it.
fn extension(field: &Field) -> HashMap<String, String> {
    let extension = field.metadata().iter().filter(|(key, value)| key.starts_with("ARROW:extension:") && !value.is_empty());
    extension.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// What the values of two columns mean together. Any sixteen bytes are a UUID, if some of them are; other meanings are only
/// those of all.
fn meant(one: &Field, other: &Field) -> HashMap<String, String> {
    match (meaning::is_uuid(one), meaning::is_uuid(other)) {
        _ if one.data_type() != other.data_type() && !is_text(one.data_type()) => HashMap::new(),
        (true, false) if extension(other).is_empty() => extension(one),
        (false, true) if extension(one).is_empty() => extension(other),
        _ if extension(one) == extension(other) => extension(one),
        _ => HashMap::new(),
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// A type without dictionaries: what they hold, as each file has one of its own.
pub(crate) fn plain(data_type: &DataType) -> DataType {
    let inside = |field: &FieldRef| {
        Arc::new(Field::new(field.name(), plain(field.data_type()), field.is_nullable()).with_metadata(extension(field)))
    };
    match data_type {
        DataType::Dictionary(_, values) => plain(values),
        DataType::List(field) => DataType::List(inside(field)),
        DataType::LargeList(field) => DataType::LargeList(inside(field)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inside).collect()),
        other => other.clone(),
    }
}

fn has_interval(field: &Field) -> bool {
    meaning::has(field, &|field| matches!(field.data_type(), DataType::Interval(_)))
}

/// A type without what its fields inside say besides: the reader needs not be told of it.
fn bare(data_type: &DataType) -> DataType {
    let inside = |field: &FieldRef| Arc::new(Field::new(field.name(), bare(field.data_type()), field.is_nullable()));
    match data_type {
        DataType::List(field) => DataType::List(inside(field)),
        DataType::LargeList(field) => DataType::LargeList(inside(field)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inside).collect()),
        other => other.clone(),
    }
}

fn has_wide_int(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int64 | DataType::UInt64)
}

/// The type that holds every value of both, as it is; `None` if there is none.
pub(crate) fn wider(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType::{
        Binary, BinaryView, Date32, Date64, Duration, FixedSizeBinary, FixedSizeList, Float32, Float64, LargeBinary, LargeList, LargeUtf8,
        List, Map, Null, Struct, Time32, Time64, Timestamp, Utf8, Utf8View,
    };
    Some(match (a, b) {
        _ if a == b => a.clone(),
        (Null, other) | (other, Null) => other.clone(),
        (Utf8 | LargeUtf8 | Utf8View, Utf8 | LargeUtf8 | Utf8View) => {
            if [a, b].contains(&&LargeUtf8) {
                LargeUtf8
            } else {
                Utf8
            }
        }
        (Binary | LargeBinary | BinaryView | FixedSizeBinary(_), Binary | LargeBinary | BinaryView | FixedSizeBinary(_)) => {
            if [a, b].contains(&&LargeBinary) { LargeBinary } else { Binary }
        }
        _ if a.is_integer() && b.is_integer() => wider_int(a, b),
        _ if a.is_floating() && b.is_floating() => wider_float(a, b),
        (float, int) | (int, float) if float.is_floating() && int.is_integer() => match bits(int) {
            8 | 16 => wider_float(float, &Float32),
            _ => Float64,
        },
        _ if is_decimal(a) || is_decimal(b) => wider_decimal(a, b)?,
        (Date32, Date64) | (Date64, Date32) => Timestamp(TimeUnit::Millisecond, None),
        (Date32 | Date64, Timestamp(unit, None)) | (Timestamp(unit, None), Date32 | Date64) => {
            Timestamp(finer(*unit, TimeUnit::Millisecond), None)
        }
        (Timestamp(one, None), Timestamp(other, None)) => Timestamp(finer(*one, *other), None),
        (Timestamp(one, Some(zone)), Timestamp(other, Some(second))) => {
            // Both are moments, wherever their clocks hang.
            let zone = if zone == second { Arc::clone(zone) } else { "UTC".into() };
            Timestamp(finer(*one, *other), Some(zone))
        }
        (Time32(one) | Time64(one), Time32(other) | Time64(other)) => match finer(*one, *other) {
            unit @ (TimeUnit::Second | TimeUnit::Millisecond) => Time32(unit),
            unit => Time64(unit),
        },
        (Duration(one), Duration(other)) => Duration(finer(*one, *other)),
        (List(one) | LargeList(one) | FixedSizeList(one, _), List(other) | LargeList(other) | FixedSizeList(other, _)) => {
            let element = Field::new(one.name(), wider(one.data_type(), other.data_type())?, true).with_metadata(meant(one, other));
            let is_large = matches!(a, LargeList(_)) || matches!(b, LargeList(_));
            if is_large { LargeList(Arc::new(element)) } else { List(Arc::new(element)) }
        }
        (Struct(one), Struct(other)) => Struct(wider_struct(one, other)?),
        (Map(one, is_sorted), Map(other, other_is_sorted)) => {
            let entries = Field::new(one.name(), wider(one.data_type(), other.data_type())?, false);
            Map(Arc::new(entries), *is_sorted && *other_is_sorted)
        }
        _ => return None,
    })
}

/// The fields of both, by name.
fn wider_struct(one: &Fields, other: &Fields) -> Option<Fields> {
    let mut fields: Vec<FieldRef> = Vec::new();
    for field in one {
        let (data_type, metadata) = match other.find(field.name()) {
            Some((_, second)) => (wider(field.data_type(), second.data_type())?, meant(field, second)),
            None => (field.data_type().clone(), extension(field)),
        };
        let is_nullable = field.is_nullable() || other.find(field.name()).is_none_or(|(_, second)| second.is_nullable());
        fields.push(Arc::new(Field::new(field.name(), data_type, is_nullable).with_metadata(metadata)));
    }
    let more = other.iter().filter(|field| one.find(field.name()).is_none());
    fields.extend(more.map(|field| Arc::new(field.as_ref().clone().with_nullable(true))));
    Some(fields.into())
}

fn bits(int: &DataType) -> u8 {
    match int {
        DataType::Int8 | DataType::UInt8 => 8,
        DataType::Int16 | DataType::UInt16 => 16,
        DataType::Int32 | DataType::UInt32 => 32,
        _ => 64,
    }
}

fn wider_int(a: &DataType, b: &DataType) -> DataType {
    let signed = |bits| match bits {
        8 => DataType::Int8,
        16 => DataType::Int16,
        32 => DataType::Int32,
        64 => DataType::Int64,
        _ => DataType::Decimal128(20, 0),
    };
    match (a.is_signed_integer(), b.is_signed_integer()) {
        (true, true) => signed(bits(a).max(bits(b))),
        (false, false) if bits(a) >= bits(b) => a.clone(),
        (false, false) => b.clone(),
        // An unsigned number fits into a signed one of twice its width.
        (true, false) => signed(bits(a).max(bits(b) * 2)),
        (false, true) => signed(bits(b).max(bits(a) * 2)),
    }
}

fn wider_float(a: &DataType, b: &DataType) -> DataType {
    let order = [DataType::Float16, DataType::Float32, DataType::Float64];
    order.into_iter().rev().find(|float| float == a || float == b).unwrap_or(DataType::Float64)
}

fn is_decimal(data_type: &DataType) -> bool {
    digits(data_type).is_some() && !data_type.is_integer()
}

/// Digits in front of the point and behind it.
fn digits(data_type: &DataType) -> Option<(u8, i8)> {
    Some(match data_type {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => (precision.saturating_add_signed(-*scale), *scale),
        int if int.is_integer() => ([3, 5, 10, 20][usize::from(bits(int).trailing_zeros() as u8 - 3)], 0),
        _ => return None,
    })
}

fn wider_decimal(a: &DataType, b: &DataType) -> Option<DataType> {
    let ((whole, scale), (other_whole, other_scale)) = (digits(a)?, digits(b)?);
    let scale = scale.max(other_scale);
    let precision = whole.max(other_whole).checked_add_signed(scale)?;
    match precision {
        0..=38 => Some(DataType::Decimal128(precision, scale)),
        39..=76 => Some(DataType::Decimal256(precision, scale)),
        _ => None,
    }
}

fn finer(one: TimeUnit, other: TimeUnit) -> TimeUnit {
    let order = [TimeUnit::Nanosecond, TimeUnit::Microsecond, TimeUnit::Millisecond, TimeUnit::Second];
    order.into_iter().find(|unit| *unit == one || *unit == other).unwrap_or(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(of: DataType) -> DataType {
        DataType::List(Arc::new(Field::new("item", of, true)))
    }

    #[test]
    fn types_widen_without_loss_or_not_at_all() {
        use DataType::{
            Boolean, Date32, Decimal128, Float32, Float64, Int8, Int32, Int64, LargeUtf8, Null, UInt8, UInt32, UInt64, Utf8, Utf8View,
        };
        let ms = DataType::Timestamp(TimeUnit::Millisecond, None);
        let us = DataType::Timestamp(TimeUnit::Microsecond, None);
        for (a, b, both) in [
            (Int32, Int64, Some(Int64)),
            (UInt8, Int8, Some(DataType::Int16)),
            (UInt32, Int32, Some(Int64)),
            (UInt64, Int8, Some(Decimal128(20, 0))),
            (Int64, Float64, Some(Float64)),
            (Int32, Float32, Some(Float64)),
            (Int8, Float32, Some(Float32)),
            (Utf8, LargeUtf8, Some(LargeUtf8)),
            (Utf8, Utf8View, Some(Utf8)),
            (Null, list(Utf8), Some(list(Utf8))),
            (ms, us.clone(), Some(us.clone())),
            (Date32, us.clone(), Some(us.clone())),
            (us, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), None),
            (Decimal128(9, 2), Decimal128(18, 4), Some(Decimal128(18, 4))),
            (Decimal128(9, 2), Int64, Some(Decimal128(22, 2))),
            (Decimal128(9, 2), Float64, None),
            (list(Int32), list(Int64), Some(list(Int64))),
            (list(Utf8), Utf8, None),
            (Utf8, Int64, None),
            (Boolean, Int8, None),
        ] {
            assert_eq!(wider(&a, &b), both, "{a} and {b}");
            assert_eq!(wider(&b, &a), both, "{b} and {a}");
        }
    }

    #[test]
    fn what_columns_mean_is_what_all_files_say_of_them() {
        let field = |data_type: DataType, metadata: &[(&str, &str)]| {
            let metadata = metadata.iter().map(|(key, value)| (format!("ARROW:extension:{key}"), (*value).to_owned()));
            Field::new("c", data_type, true).with_metadata(metadata.collect())
        };
        let name_of = |one: Field, other: Field| {
            let mut shapes = Shapes::default();
            shapes.add(&Schema::new(vec![one]), 0, true);
            shapes.add(&Schema::new(vec![other]), 1, true);
            let merged = shapes.merge(|_| false);
            merged.schema.fields().first().and_then(|field| field.metadata().get("ARROW:extension:name").cloned())
        };
        let uuid = |details: &[(&str, &str)]| field(DataType::FixedSizeBinary(16), &[&[("name", "arrow.uuid")], details].concat());
        let json = || field(DataType::Utf8, &[("name", "arrow.json")]);
        assert_eq!(name_of(uuid(&[("metadata", "")]), uuid(&[])).as_deref(), Some("arrow.uuid"), "nothing said is nothing");
        assert_eq!(name_of(field(DataType::FixedSizeBinary(16), &[]), uuid(&[])).as_deref(), Some("arrow.uuid"));
        assert_eq!(name_of(json(), field(DataType::LargeUtf8, &[("name", "arrow.json")])).as_deref(), Some("arrow.json"));
        assert_eq!(name_of(json(), field(DataType::Utf8, &[])), None, "a text need not be JSON");
    }

    #[test]
    fn columns_come_and_go_and_conflicts_name_their_files() {
        let schema = |fields: &[(&str, DataType)]| {
            Schema::new(fields.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), false)).collect::<Vec<_>>())
        };
        let mut shapes = Shapes::default();
        shapes.add(&schema(&[("id", DataType::Utf8), ("lang", DataType::Utf8), ("n", DataType::Int32)]), 4, true);
        shapes.add(&schema(&[("id", DataType::Utf8), ("lang", list(DataType::Utf8)), ("n", DataType::Int32)]), 7, true);
        shapes.add(&schema(&[("more", DataType::Int64), ("n", DataType::Int64)]), 9, true);
        shapes.add(&schema(&[("id", DataType::Int32), ("none", DataType::Utf8)]), 1, false);
        let Merged { schema, conflicts, is_cast, .. } = shapes.merge(|_| false);
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["id", "n", "more", "none"]);
        assert_eq!(schema.field(0).data_type(), &DataType::Utf8, "a file without rows binds nobody");
        assert!(is_cast && schema.fields().iter().all(|field| field.is_nullable()));
        assert_eq!(schema.field(1).data_type(), &DataType::Int64);
        let types = [(DataType::Utf8, 4), (list(DataType::Utf8), 7)];
        assert_eq!(conflicts, [Conflict { column: "lang".to_owned(), types }]);
    }
}
