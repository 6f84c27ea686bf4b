//! From a value to the answer's types: what fits, what may be read as fitting, and why the rest does not.
//!
//! Only what can mean one thing is read as another form: a number or a truth value in quotes, a whole number
//! written `3.0`, a word of a fixed set in other case, a list or struct that was put in quotes. Nothing becomes
//! a text, and nothing but `null` becomes null.

use std::num::IntErrorKind;

use promptmill_core::{AnswerField, AnswerShape, FieldType};
use serde_json::{Map, Number, Value};

use super::find::is_id;
use super::json::{Json, is_number};
use super::lenient::embedded;

/// Of numbers that no column of ours can hold.
const BEYOND: &str = "is beyond 64 bits";
const BROKEN: &str = "broken characters";
/// Wrappers around the fields of one row.
const MAX_WRAPPERS: usize = 3;

/// The values of the answer's columns, in their order.
///
/// # Errors
/// Why the value does not have the shape, naming the field.
pub(super) fn fit(value: &Json, shape: &AnswerShape) -> Result<Vec<Value>, String> {
    match shape {
        AnswerShape::Text(name) => text_of(value, name).map(|text| vec![Value::String(text)]),
        AnswerShape::Fields(fields) => row_of(value, fields, 0),
    }
}

/// Whether this is an object with one of these names, or a wrapper around one: the answer itself, without an id.
pub(super) fn is_bare(value: &Json, columns: &[&str], depth: usize) -> bool {
    let Json::Object(pairs, true) = value else { return false };
    match pairs.as_slice() {
        _ if columns.iter().any(|column| pairs.iter().any(|(name, _)| is_name(name, column))) => true,
        [(key, inner)] => depth < MAX_WRAPPERS && !is_id(key) && is_bare(inner, columns, depth + 1),
        _ => false,
    }
}

/// The answer's text, bare or in an object under the column's name or as its only text.
fn text_of(value: &Json, name: &str) -> Result<String, String> {
    match value {
        Json::Text(text) => match embedded(text) {
            Some(Json::Object(pairs, true)) if pairs.iter().any(|(key, _)| is_name(key, name)) => text_of(&Json::Object(pairs, true), name),
            _ => checked(text).map_err(str::to_owned),
        },
        Json::Object(pairs, _) => match field(pairs, name)? {
            Some(Json::Text(text)) => checked(text).map_err(str::to_owned),
            Some(_) => Err(format!("`{name}` is not a text")),
            None => {
                let mut texts = pairs.iter().filter(|(_, value)| matches!(value, Json::Text(_)));
                match (texts.next(), texts.next()) {
                    // What stands under an id belongs to that row.
                    (Some((key, Json::Text(text))), None) if !is_id(key) => checked(text).map_err(str::to_owned),
                    _ => Err(format!("`{name}` is missing")),
                }
            }
        },
        Json::Null => Err("null".to_owned()),
        _ => Err("not a text".to_owned()),
    }
}

/// The fields of a row, in an object of theirs or in wrappers around it; of a single field also the bare value.
fn row_of(value: &Json, fields: &[AnswerField], depth: usize) -> Result<Vec<Value>, String> {
    let deeper = depth < MAX_WRAPPERS;
    match (value, fields) {
        (Json::Object(pairs, _), _) => match pairs.as_slice() {
            [(key, inner @ (Json::Object(..) | Json::List(..)))]
                if deeper && !is_id(key) && !fields.iter().any(|field| is_name(key, &field.name)) =>
            {
                row_of(inner, fields, depth + 1)
            }
            _ => fields.iter().map(|field| field_of(pairs, field).map_err(|misfit| misfit.to_string())).collect(),
        },
        (Json::List(items, _), _) if deeper && matches!(items.as_slice(), [Json::Object(..)]) => row_of(&items[0], fields, depth + 1),
        (Json::Text(text), _) if deeper && text.trim_start().starts_with('{') => match embedded(text) {
            Some(inner) => row_of(&inner, fields, depth + 1),
            None => Err("not an object".to_owned()),
        },
        (Json::Null, _) => Err("null".to_owned()),
        (_, [only]) => value_of(value, &only.kind).map(|value| vec![value]).map_err(|misfit| misfit.under(&only.name).to_string()),
        _ => Err("not an object".to_owned()),
    }
}

/// Why a value does not fit, and where in the row it stands.
#[derive(Debug)]
struct Misfit {
    path: String,
    why: String,
}

impl Misfit {
    fn new(why: impl Into<String>) -> Self {
        Self { path: String::new(), why: why.into() }
    }

    /// The same, seen from outside.
    fn under(mut self, name: &str) -> Self {
        let joint = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{name}{joint}{}", self.path);
        self
    }
}

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` {}", self.path, self.why)
    }
}

fn field_of(pairs: &[(String, Json)], asked: &AnswerField) -> Result<Value, Misfit> {
    let value = match field(pairs, &asked.name) {
        Ok(Some(Json::Null)) if asked.nullable => return Ok(Value::Null),
        Ok(Some(Json::Null)) => Err(Misfit::new("is null")),
        Ok(Some(value)) => value_of(value, &asked.kind),
        Ok(None) => Err(Misfit::new("is missing")),
        Err(_) => Err(Misfit::new("is given twice, differently")),
    };
    value.map_err(|misfit| misfit.under(&asked.name))
}

/// The value under a name, exact or else in other case. The same thing said twice is still one value.
fn field<'a>(pairs: &'a [(String, Json)], name: &str) -> Result<Option<&'a Json>, String> {
    let one = |matches: &dyn Fn(&str) -> bool| {
        let mut named = pairs.iter().filter(|(key, _)| matches(key)).map(|(_, value)| value);
        let Some(first) = named.next() else { return Ok(None) };
        if named.all(|next| next == first) { Ok(Some(first)) } else { Err(format!("`{name}` is given twice, differently")) }
    };
    match one(&|key| key == name)? {
        Some(value) => Ok(Some(value)),
        None => one(&|key| is_name(key, name)),
    }
}

/// Whether a key is this name, in whatever case, with `-` or a blank for `_`.
fn is_name(key: &str, name: &str) -> bool {
    let plain = |letter: char| if letter == '-' || letter == ' ' { '_' } else { letter };
    let folded = |text: &str| text.trim().chars().map(plain).flat_map(char::to_lowercase).collect::<String>();
    key == name || (key.len() < 2 * name.len() + 8 && folded(key) == folded(name))
}

fn value_of(value: &Json, kind: &FieldType) -> Result<Value, Misfit> {
    let not = || Misfit::new(format!("is not {}", expected(kind)));
    match (kind, value) {
        (_, Json::Null) => Err(Misfit::new("is null")),
        (FieldType::String, Json::Text(text)) => checked(text).map(Value::String).map_err(Misfit::from_check),
        (FieldType::Int, Json::Number(word)) => int(word),
        (FieldType::Int, Json::Text(text)) if is_number(text.trim()) && !text.contains('.') => int(text.trim()),
        (FieldType::Float, Json::Number(word)) => float(word),
        (FieldType::Float, Json::Text(text)) if is_clear(text.trim()) => float(text.trim()),
        (FieldType::Bool, Json::Bool(value)) => Ok(Value::Bool(*value)),
        (FieldType::Bool, Json::Text(text)) => match text.trim() {
            word if word.eq_ignore_ascii_case("true") => Ok(Value::Bool(true)),
            word if word.eq_ignore_ascii_case("false") => Ok(Value::Bool(false)),
            _ => Err(not()),
        },
        (FieldType::Enum(values), Json::Text(text)) => one_of(values, text.trim()).ok_or_else(not),
        (FieldType::List(kind), Json::List(items, _)) => {
            let fitted =
                items.iter().enumerate().map(|(index, item)| value_of(item, kind).map_err(|misfit| misfit.under(&format!("[{index}]"))));
            fitted.collect::<Result<_, _>>().map(Value::Array)
        }
        (FieldType::Struct(fields), Json::Object(pairs, _)) => {
            let fitted = fields.iter().map(|field| Ok((field.name.clone(), field_of(pairs, field)?)));
            fitted.collect::<Result<Map<_, _>, _>>().map(Value::Object)
        }
        (FieldType::List(_) | FieldType::Struct(_), Json::Text(text)) => match embedded(text) {
            Some(inner) => value_of(&inner, kind),
            None => Err(not()),
        },
        _ => Err(not()),
    }
}

impl Misfit {
    fn from_check(why: &str) -> Self {
        Self::new(if why == BROKEN { format!("has {BROKEN}") } else { format!("is {why}") })
    }
}

fn checked(text: &str) -> Result<String, &'static str> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        Err("empty")
    } else if trimmed.contains('\u{fffd}') {
        // Bytes that were no text arrived as this sign: a part of the answer is lost.
        Err(BROKEN)
    } else {
        Ok(trimmed.to_owned())
    }
}

/// A whole number, also written `3.0`: as long as nothing is lost.
fn int(word: &str) -> Result<Value, Misfit> {
    let whole = match word.split_once('.') {
        Some((whole, fraction)) if fraction.bytes().all(|digit| digit == b'0') => whole,
        _ => word,
    };
    match whole.parse::<i64>() {
        Ok(number) => Ok(number.into()),
        Err(error) if matches!(error.kind(), IntErrorKind::PosOverflow | IntErrorKind::NegOverflow) => Err(Misfit::new(BEYOND)),
        Err(_) => Err(Misfit::new(format!("is not {}", expected(&FieldType::Int)))),
    }
}

/// A number; what is beyond the largest is none.
fn float(word: &str) -> Result<Value, Misfit> {
    let number = word.parse().ok().and_then(Number::from_f64);
    number.map(Value::Number).ok_or_else(|| Misfit::new(BEYOND))
}

/// Whether a text is a number that everybody reads alike: `1.000` is a thousand to many.
fn is_clear(text: &str) -> bool {
    is_number(text) && text.split_once('.').is_none_or(|(_, fraction)| fraction.len() != 3)
}

/// The word of a fixed set that a text is, exactly or else as the only one in other case.
fn one_of(values: &[String], text: &str) -> Option<Value> {
    if values.iter().any(|value| value == text) {
        return Some(text.into());
    }
    let folded = text.to_lowercase();
    let mut alike = values.iter().filter(|value| value.to_lowercase() == folded);
    alike.next().filter(|_| alike.next().is_none()).map(|value| value.as_str().into())
}

/// What a value should have been.
fn expected(kind: &FieldType) -> String {
    match kind {
        FieldType::String => "a text".to_owned(),
        FieldType::Int => "a whole number".to_owned(),
        FieldType::Float => "a number".to_owned(),
        FieldType::Bool => "true or false".to_owned(),
        FieldType::Enum(values) => format!("one of {}", values.join(", ")),
        FieldType::List(items) => format!("a list of {}", many(items)),
        FieldType::Struct(_) => "an object".to_owned(),
    }
}

fn many(kind: &FieldType) -> &'static str {
    match kind {
        FieldType::String | FieldType::Enum(_) => "texts",
        FieldType::Int => "whole numbers",
        FieldType::Float => "numbers",
        FieldType::Bool => "true and false",
        FieldType::List(_) => "lists",
        FieldType::Struct(_) => "objects",
    }
}
