//! Renders items: what the model is shown of each row.
//!
//! Most templates only name columns. Those are put together from their pieces, as a template engine costs more for a row
//! than everything else that happens to it before it is sent; the others are left to the engine.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayAccessor, AsArray, BooleanArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, UInt64Type};
use minijinja::Environment;
use minijinja::value::{Enumerator, Object, Value};
use promptmill_core::{Error, Result, meaning};

use super::names::{ROW, reads};
use super::{environment, value};

/// The name of the template in its environment.
const ITEM: &str = "item";

/// A template over the columns of a row.
#[derive(Debug)]
pub(super) struct Template {
    environment: Environment<'static>,
    /// The columns that it names.
    reads: Vec<String>,
    /// The same template in pieces, if it does nothing but name columns.
    pieces: Option<Vec<Piece>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// The place of a column among those that are read.
    Column(usize),
}

impl Template {
    pub(super) fn new(source: &str) -> Result<Self> {
        let failed = |error| Error::failed("the template `item` cannot be used").because(error);
        let mut environment = environment();
        environment.add_template_owned(ITEM, source.to_owned()).map_err(failed)?;
        let reads: Vec<String> = reads(source).into_iter().collect();
        let pieces = pieces(source, &reads);
        Ok(Self { environment, reads, pieces })
    }

    /// The items of a batch, one after the other, in the order of its rows.
    pub(super) fn items(&self, batch: &RecordBatch) -> Result<Items<'_>> {
        let schema = batch.schema();
        let columns = self.reads.iter().map(|name| {
            let column = schema.column_with_name(name).map(|(index, field)| Column::new(batch.column(index), field));
            Ok((name.as_str().into(), column.transpose()?.unwrap_or(Column::Missing)))
        });
        Ok(Items { template: self, columns: columns.collect::<Result<_>>()?, item: String::new() })
    }
}

/// The pieces of a template; `None` if anything in it is more than the name of a column.
fn pieces(source: &str, columns: &[String]) -> Option<Vec<Piece>> {
    if source.contains("{%") || source.contains("{#") {
        return None;
    }
    // As the engine does: one line break at the end belongs to the file and not to the text.
    let source = source.strip_suffix('\n').unwrap_or(source);
    let mut rest = source.strip_suffix('\r').unwrap_or(source);
    let mut pieces = Vec::new();
    while let Some((text, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}")?;
        let name = name.trim_matches(|c: char| c.is_ascii_whitespace());
        pieces.push(Piece::Text(text.to_owned()));
        pieces.push(Piece::Column(columns.iter().position(|column| column == name)?));
        rest = after;
    }
    pieces.push(Piece::Text(rest.to_owned()));
    Some(pieces)
}

/// The items of one batch.
#[derive(Debug)]
pub(super) struct Items<'t> {
    template: &'t Template,
    columns: Arc<[(Box<str>, Column)]>,
    item: String,
}

impl Items<'_> {
    /// The item of a row.
    pub(super) fn of(&mut self, row: usize) -> Result<&str, minijinja::Error> {
        match &self.template.pieces {
            Some(pieces) => {
                self.item.clear();
                for piece in pieces {
                    match piece {
                        Piece::Text(text) => self.item.push_str(text),
                        Piece::Column(column) => self.columns[*column].1.push(row, &mut self.item)?,
                    }
                }
            }
            None => self.item = self.rendered(row)?,
        }
        Ok(&self.item)
    }

    /// The same by the engine, whatever the template.
    fn rendered(&self, row: usize) -> Result<String, minijinja::Error> {
        let row = Value::from_object(Row { columns: Arc::clone(&self.columns), row });
        self.template.environment.get_template(ITEM)?.render(row)
    }
}

/// A column in a form from which templates can read values.
#[derive(Debug)]
enum Column {
    Text(arrow::array::StringArray),
    Int(arrow::array::Int64Array),
    UInt(arrow::array::UInt64Array),
    Float(arrow::array::Float64Array),
    Bool(BooleanArray),
    /// Anything else: lists and records, and what has a text of its own, such as dates.
    Other(Arc<dyn Array>),
    /// No column of that name: nothing.
    Missing,
}

impl Column {
    fn new(array: &Arc<dyn Array>, field: &Field) -> Result<Self> {
        use DataType::{
            Boolean, Dictionary, Float16, Float32, Float64, Int8, Int16, Int32, Int64, LargeUtf8, UInt8, UInt16, UInt32, UInt64, Utf8,
            Utf8View,
        };
        let array = &meaning::texts(array, field)?;
        Ok(match array.data_type() {
            Utf8 | LargeUtf8 | Utf8View => Self::Text(cast(array, &Utf8)?.as_string().clone()),
            Dictionary(_, value) if value.is_string() => Self::Text(cast(array, &Utf8)?.as_string().clone()),
            Int8 | Int16 | Int32 | Int64 => Self::Int(cast(array, &Int64)?.as_primitive::<Int64Type>().clone()),
            UInt8 | UInt16 | UInt32 | UInt64 => Self::UInt(cast(array, &UInt64)?.as_primitive::<UInt64Type>().clone()),
            Float16 | Float32 => {
                let short = cast(array, &Float32)?;
                Self::Float(short.as_primitive::<arrow::datatypes::Float32Type>().unary(value::short))
            }
            Float64 => Self::Float(array.as_primitive::<Float64Type>().clone()),
            Boolean => Self::Bool(array.as_boolean().clone()),
            _ => Self::Other(Arc::clone(array)),
        })
    }

    fn value(&self, row: usize) -> Value {
        match self {
            Self::Text(array) => value_at(array, row),
            Self::Int(array) => value_at(array, row),
            Self::UInt(array) => value_at(array, row),
            Self::Float(array) => value_at(array, row),
            Self::Bool(array) => value_at(array, row),
            Self::Other(array) => value::value(array, row),
            Self::Missing => Value::UNDEFINED,
        }
    }

    /// Writes the value of a row as the engine would.
    fn push(&self, row: usize, out: &mut String) -> Result<(), minijinja::Error> {
        match self {
            Self::Text(array) if array.is_valid(row) => out.push_str(array.value(row)),
            Self::Text(_) | Self::Missing => {}
            Self::Other(array) => value::push(array, row, out)?,
            other => {
                let value = other.value(row);
                if !value.is_none() {
                    // Writing to a string does not fail.
                    let _ = write!(out, "{value}");
                }
            }
        }
        Ok(())
    }
}

fn value_at<'a, A>(array: &'a A, row: usize) -> Value
where
    &'a A: ArrayAccessor<Item: Into<Value>>,
{
    if array.is_null(row) { Value::from(()) } else { ArrayAccessor::value(&array, row).into() }
}

/// One row, as a template sees it.
#[derive(Debug)]
struct Row {
    columns: Arc<[(Box<str>, Column)]>,
    row: usize,
}

impl Object for Row {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let name = key.as_str()?;
        match self.columns.iter().find(|(column, _)| **column == *name) {
            Some((_, Column::Missing)) | None if name == ROW => Some(Value::from_dyn_object(Arc::clone(self))),
            found => Some(found?.1.value(self.row)),
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.columns.iter().map(|(name, _)| Value::from(&**name)).collect())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Date32Array, Float64Array, Int32Array, ListBuilder, StringArray, StringBuilder, UInt8Array};
    use proptest::prelude::*;

    use super::*;

    fn batch() -> RecordBatch {
        let mut list = ListBuilder::new(StringBuilder::new());
        list.append_value([Some("a"), None]);
        list.append_null();
        list.append_value(Vec::<Option<&str>>::new());
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("text", Arc::new(StringArray::from(vec![Some("een <b>\n\"twee\" {{ body }}"), None, Some("")]))),
            ("int", Arc::new(Int32Array::from(vec![Some(-3), None, Some(0)]))),
            ("uint", Arc::new(UInt8Array::from(vec![Some(3), None, Some(255)]))),
            ("float", Arc::new(Float64Array::from(vec![Some(1.0), None, Some(1e300)]))),
            ("bool", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
            ("date", Arc::new(Date32Array::from(vec![Some(19_000), None, Some(0)]))),
            ("list", Arc::new(list.finish())),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).expect("a batch")
    }

    /// Renders by both ways and holds them against each other; says whether there are two.
    fn agree(source: &str) -> bool {
        let template = Template::new(source).expect("a template");
        let mut items = template.items(&batch()).expect("columns");
        for row in 0..3 {
            let rendered = items.rendered(row).expect("renders");
            assert_eq!(items.of(row).expect("renders"), rendered, "row {row} of {source:?}");
        }
        template.pieces.is_some()
    }

    #[test]
    fn names_of_columns_are_put_together_as_the_engine_would() {
        for source in [
            "{{ text }}\n\n{{int}}",
            "{{uint}}{{ float }} {{\n\tbool }}\r\n",
            "{{ date }}: {{ list }}\n\n",
            "} }} { {{text}} }}",
            "{{ unheard_of }}!",
            "",
            "no column",
        ] {
            assert!(agree(source), "{source:?}");
        }
    }

    #[test]
    fn everything_else_is_left_to_the_engine() {
        for source in [
            "{{ text | upper }}",
            "{{- text -}} a",
            "a {{+ text }}",
            "{{ text ~ int }}",
            "{{ 'text' }}",
            "{{ true }}{{ none }}",
            "{% if text %}{{ text }}{% endif %}",
            "{# {{ text }} #}",
            "{% raw %}{{ text }}{% endraw %}",
            "{{ {'a': int}.a }}",
        ] {
            assert!(!agree(source), "{source:?}");
        }
    }

    proptest! {
        #[test]
        fn both_ways_agree(
            parts in prop::collection::vec(
                prop_oneof![
                    "[a-z}{ \r\n\t\"-]{0,6}",
                    "[ \n\t]?(text|int|uint|float|bool|date|list|other)[ \n\t]?".prop_map(|name| format!("{{{{{name}}}}}")),
                ],
                0..8,
            ),
        ) {
            let source = parts.concat();
            prop_assume!(Template::new(&source).is_ok());
            agree(&source);
        }
    }
}
