//! JSON lines: one object a line.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::json::ReaderBuilder;
use promptmill_core::Result;
use serde_json::{Number, Value};

use super::kinds::is_fraction;
use super::open::text;
use super::tokens::Tokens;
use super::{Each, FIRST_ROWS, File, Said};

/// Whole numbers up to here are fractions without loss.
const EXACT: u64 = 1 << 53;

/// What values are, together; each kind with the place of the first file that has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Shape {
    flag: Option<usize>,
    text: Option<usize>,
    number: Option<usize>,
    numbers: Numbers,
    list: Option<(usize, Box<Shape>)>,
    object: Option<(usize, Vec<(String, Shape)>)>,
}

/// What numbers are, together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Numbers {
    is_negative: bool,
    /// Beyond the signed ones of 64 bits.
    is_big: bool,
    /// Beyond those that are fractions without loss.
    is_wide: bool,
    is_fraction: bool,
    /// With more digits than a number keeps.
    is_long: bool,
}

/// A column of values that are no one type.
#[derive(Debug)]
pub(super) struct Clash {
    pub(super) column: String,
    kinds: [(&'static str, usize); 2],
}

impl Clash {
    pub(super) fn in_words(&self, file: impl Fn(usize) -> String) -> String {
        let [(one, at), (other, other_at)] = self.kinds;
        let column = &self.column;
        if one == EMPTY {
            return format!("column `{column}` has {EMPTY} in `{}`, which no type is", file(at));
        }
        format!("column `{column}` is {one} in `{}` and {other} in `{}`, which are no one type", file(at), file(other_at))
    }
}

/// What an object without fields is called.
const EMPTY: &str = "nothing but objects without fields";

impl Shape {
    /// Takes note of a value of the file at a place. `tokens` are those behind it.
    fn see(&mut self, value: &Value, tokens: &mut Tokens<'_>, place: usize) {
        match value {
            Value::Null => {}
            Value::Bool(_) => _ = self.flag.get_or_insert(place),
            Value::String(_) => _ = self.text.get_or_insert(place),
            Value::Number(number) => {
                self.number.get_or_insert(place);
                self.numbers.see(number, tokens.number());
            }
            Value::Array(values) => {
                let (_, inside) = self.list.get_or_insert_with(|| (place, Box::default()));
                values.iter().for_each(|value| inside.see(value, tokens, place));
            }
            Value::Object(object) => {
                let (_, fields) = self.object.get_or_insert_with(|| (place, Vec::new()));
                for (index, (name, value)) in object.iter().enumerate() {
                    // Most objects have their fields in the same order.
                    let known = fields.get(index).is_some_and(|(known, _)| known == name).then_some(index);
                    let known = known.or_else(|| fields.iter().position(|(known, _)| known == name)).unwrap_or_else(|| {
                        fields.push((name.clone(), Self::default()));
                        fields.len() - 1
                    });
                    fields[known].1.see(value, tokens, place);
                }
            }
        }
    }

    /// The same for all the values of the file at a place.
    pub(super) fn join(&mut self, other: &Self, place: usize) {
        for (mine, theirs) in [(&mut self.flag, other.flag), (&mut self.text, other.text), (&mut self.number, other.number)] {
            if theirs.is_some() {
                mine.get_or_insert(place);
            }
        }
        let (mine, theirs) = (&mut self.numbers, other.numbers);
        *mine = Numbers {
            is_negative: mine.is_negative || theirs.is_negative,
            is_big: mine.is_big || theirs.is_big,
            is_wide: mine.is_wide || theirs.is_wide,
            is_fraction: mine.is_fraction || theirs.is_fraction,
            is_long: mine.is_long || theirs.is_long,
        };
        if let Some((_, inside)) = &other.list {
            self.list.get_or_insert_with(|| (place, Box::default())).1.join(inside, place);
        }
        for (name, theirs) in other.object.iter().flat_map(|(_, fields)| fields) {
            let (_, fields) = self.object.get_or_insert_with(|| (place, Vec::new()));
            let known = fields.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
                fields.push((name.clone(), Self::default()));
                fields.len() - 1
            });
            fields[known].1.join(theirs, place);
        }
        if let (Some(_), None) = (&other.object, &self.object) {
            self.object = Some((place, Vec::new()));
        }
    }

    /// The names of its columns.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.object.iter().flat_map(|(_, fields)| fields).map(|(name, _)| name.as_str())
    }

    /// The types of the columns of rows of this shape, and the columns that have none.
    pub(super) fn columns(&self) -> (BTreeMap<String, DataType>, Vec<Clash>) {
        let (mut types, mut clashes) = (BTreeMap::new(), Vec::new());
        for (name, shape) in self.object.iter().flat_map(|(_, fields)| fields) {
            match shape.data_type(name) {
                Ok(data_type) => drop(types.insert(name.clone(), data_type)),
                Err(clash) => clashes.push(clash),
            }
        }
        (types, clashes)
    }

    /// The type of these values. Scalars of several kinds are texts, as they stand in the file.
    fn data_type(&self, column: &str) -> Result<DataType, Clash> {
        let scalar = [("text", self.text), ("true or false", self.flag), ("numbers", self.number)];
        let scalar = scalar.into_iter().filter_map(|(kind, place)| Some((kind, place?))).min_by_key(|(_, place)| *place);
        let nested =
            [("a list", self.list.as_ref().map(|(place, _)| *place)), ("an object", self.object.as_ref().map(|(place, _)| *place))];
        let mut kinds = scalar.into_iter().chain(nested.into_iter().filter_map(|(kind, place)| Some((kind, place?))));
        if let (Some(one), Some(other)) = (kinds.next(), kinds.next()) {
            return Err(Clash { column: column.to_owned(), kinds: [one, other] });
        }
        let inside = |name: &str, shape: &Self| shape.data_type(&format!("{column}.{name}"));
        Ok(match (&self.list, &self.object) {
            (Some((_, element)), _) => DataType::List(Arc::new(Field::new("item", inside("[]", element)?, true))),
            (_, Some((place, fields))) if fields.is_empty() => {
                return Err(Clash { column: column.to_owned(), kinds: [(EMPTY, *place); 2] });
            }
            (_, Some((_, fields))) => {
                let fields = fields.iter().map(|(name, shape)| Ok(Field::new(name, inside(name, shape)?, true)));
                DataType::Struct(fields.collect::<Result<Vec<_>, Clash>>()?.into())
            }
            _ => match (self.text, self.flag, self.number) {
                (None, Some(_), None) => DataType::Boolean,
                (None, None, Some(_)) => self.numbers.data_type(),
                _ => DataType::Utf8,
            },
        })
    }
}

impl Numbers {
    fn see(&mut self, number: &Number, written: &str) {
        if let Some(whole) = number.as_i64() {
            self.is_negative |= whole < 0;
            self.is_wide |= whole.unsigned_abs() > EXACT;
        } else if number.is_u64() {
            (self.is_big, self.is_wide) = (true, true);
        } else {
            self.is_fraction = true;
            self.is_long |= written != "-0" && !is_fraction(written);
        }
    }

    fn data_type(self) -> DataType {
        match self {
            Self { is_long: true, .. } | Self { is_fraction: true, is_wide: true, .. } | Self { is_big: true, is_negative: true, .. } => {
                DataType::Utf8
            }
            Self { is_fraction: true, .. } => DataType::Float64,
            Self { is_big: true, .. } => DataType::UInt64,
            _ => DataType::Int64,
        }
    }
}

/// Reads a file to its end, to learn what its rows are.
pub(super) fn look_into(file: &File<'_>) -> Result<Said> {
    let mut record = Shape::default();
    let (mut rows, mut row_bytes, mut some_bytes) = (0, 0, 0);
    let mut lines = text(file).map_err(|error| file.wrong(format!("cannot be read: {error}")))?;
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        if lines.read_until(b'\n', &mut line).map_err(|error| file.wrong(format!("cannot be read to its end: {error}")))? == 0 {
            break;
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        if rows == 0 && line.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
            return Err(file.wrong("is one JSON array").hint("write one object a line, for example with `jq -c '.[]'`"));
        }
        let value: Value = serde_json::from_slice(&line).map_err(|error| {
            let error = file.wrong(format!("cannot be read as JSON lines: line {number}, column {}: {error}", error.column()));
            error.hint("one object stands on each line; mend it, or leave it out")
        })?;
        if !value.is_object() {
            let what = if value.is_array() { "an array" } else { "a value" };
            let error = file.wrong(format!("has {what} in line {number}, where an object is expected"));
            return Err(error.hint("write one object a line, for example with `jq -c '.[]'`"));
        }
        let mut tokens = std::str::from_utf8(&line)
            .map_err(|error| error.to_string())
            .and_then(|line| Tokens::of(line).map_err(|name| format!("an object has the field `{name}` twice")));
        let tokens = tokens.as_mut().map_err(|what| file.wrong(format!("cannot be read as JSON lines: line {number}: {what}")))?;
        record.see(&value, tokens, 0);
        rows += 1;
        some_bytes += line.len() as u64;
        if rows % FIRST_ROWS as u64 == 0 {
            (row_bytes, some_bytes) = (row_bytes.max(some_bytes / FIRST_ROWS as u64), 0);
        }
    }
    row_bytes = row_bytes.max(some_bytes / FIRST_ROWS.min(rows.max(1) as usize) as u64);
    Ok(Said { record, rows: Some(rows), has_rows: rows > 0, row_bytes, ..Said::default() })
}

/// Reads these columns of a file.
pub(super) fn read(file: &File<'_>, (columns, at_once): (&SchemaRef, usize), each: Each<'_>) -> Result<()> {
    // With no column to read, the rows are counted all the same.
    let schema =
        if columns.fields().is_empty() { Arc::new(Schema::new(vec![Field::new("", DataType::Utf8, true)])) } else { Arc::clone(columns) };
    let text = text(file).map_err(|error| file.wrong(format!("cannot be read: {error}")))?;
    let reader = ReaderBuilder::new(schema).with_coerce_primitive(true).with_batch_size(at_once).build(text)?;
    let mut rows = 0;
    for batch in reader {
        let batch = batch.map_err(|error| file.wrong(format!("cannot be read as JSON lines behind row {rows}: {error}")))?;
        rows += batch.num_rows();
        if !each(batch)? {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> (String, Vec<String>) {
        let mut whole = Shape::default();
        let mut joined = Shape::default();
        for line in lines {
            let value = serde_json::from_str(line).expect("JSON");
            let tokens = || Tokens::of(line).expect("no field twice");
            whole.see(&value, &mut tokens(), 0);
            let mut alone = Shape::default();
            alone.see(&value, &mut tokens(), 0);
            joined.join(&alone, 0);
        }
        assert_eq!(whole, joined, "{lines:?}: file by file as in one");
        let (types, clashes) = whole.columns();
        let types = whole.names().filter_map(|name| Some(format!("{name} {}", types.get(name)?))).collect::<Vec<_>>().join(", ");
        (types, clashes.iter().map(|clash| clash.in_words(|place| place.to_string())).collect())
    }

    #[test]
    fn a_column_has_the_type_that_all_its_values_have() {
        for (lines, types) in [
            (&[r#"{"a":1,"b":"x"}"#, r#"{"b":null,"c":true}"#][..], "a Int64, b Utf8, c Boolean"),
            (&[r#"{"a":1}"#, r#"{"a":1.5}"#], "a Float64"),
            (&[r#"{"a":9007199254740993}"#, r#"{"a":1.5}"#], "a Utf8"),
            (&[r#"{"a":18446744073709551615}"#], "a UInt64"),
            (&[r#"{"a":18446744073709551615}"#, r#"{"a":-1}"#], "a Utf8"),
            (&[r#"{"a":100000000000000000000000000000001}"#], "a Utf8"),
            (&[r#"{"a":1e300}"#], "a Float64"),
            (&[r#"{"a":0.1000000000000000055}"#], "a Utf8"),
            (&[r#"{"a":0.1,"b":"0.1000000000000000055"}"#, r#"{"a":-0}"#, r#"{"a":1.0}"#], "a Float64, b Utf8"),
            (&[r#"{"a":1}"#, r#"{"a":"x"}"#, r#"{"a":true}"#], "a Utf8"),
            (&[r#"{"a":null}"#], "a Utf8"),
            (&[r#"{"a":[]}"#, r#"{"a":[1,null]}"#], "a List(Int64)"),
            (&[r#"{"a":{"x":1}}"#, r#"{"a":{"y":"z"}}"#, r#"{}"#], r#"a Struct("x": Int64, "y": Utf8)"#),
        ] {
            let (found, clashes) = of(lines);
            assert_eq!((found.as_str(), clashes.is_empty()), (types, true), "{lines:?}");
        }
    }

    #[test]
    fn what_is_no_one_type_has_none_and_says_why() {
        let (types, clashes) = of(&[r#"{"id":1,"a":1}"#, r#"{"id":2,"a":{"x":1}}"#]);
        assert_eq!(types, "id Int64");
        assert_eq!(clashes, ["column `a` is numbers in `0` and an object in `0`, which are no one type"]);
        assert!(of(&[r#"{"a":[1,[2]]}"#]).1[0].contains("`a.[]`"));
        assert!(of(&[r#"{"a":{}}"#]).1[0].contains(EMPTY));
    }
}
