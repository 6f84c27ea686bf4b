//! The shape that an answer about one row has to have.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// What is asked about each row: one text, or several typed fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnswerShape {
    /// One text, which becomes the column of this name.
    Text(String),
    /// Several fields, each of which becomes a column.
    Fields(Vec<(String, FieldType)>),
}

/// The type of one field of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FieldType {
    /// Any text.
    String,
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// True or false.
    Bool,
    /// One of these texts.
    Enum(Vec<String>),
    /// A list of texts.
    ListOfString,
}

impl AnswerShape {
    /// The names of the columns that an answer becomes.
    pub fn columns(&self) -> Vec<&str> {
        match self {
            Self::Text(name) => vec![name],
            Self::Fields(fields) => fields.iter().map(|(name, _)| name.as_str()).collect(),
        }
    }

    /// The JSON Schema of the answer about one row.
    pub fn schema(&self) -> Value {
        match self {
            Self::Text(_) => json!({"type": "string"}),
            Self::Fields(fields) => object_schema(fields.iter().map(|(name, field)| (name.clone(), field.schema()))),
        }
    }
}

impl FieldType {
    /// The JSON Schema of a value of this type.
    pub fn schema(&self) -> Value {
        match self {
            Self::String => json!({"type": "string"}),
            Self::Int => json!({"type": "integer"}),
            Self::Float => json!({"type": "number"}),
            Self::Bool => json!({"type": "boolean"}),
            Self::Enum(values) => json!({"type": "string", "enum": values}),
            Self::ListOfString => json!({"type": "array", "items": {"type": "string"}}),
        }
    }
}

/// The JSON Schema of an object with exactly these properties, in the strict form that providers ask for:
/// all of them required, no others allowed.
pub(crate) fn object_schema(properties: impl IntoIterator<Item = (String, Value)>) -> Value {
    let properties: Map<String, Value> = properties.into_iter().collect();
    let required: Vec<&String> = properties.keys().collect();
    json!({"type": "object", "additionalProperties": false, "required": required, "properties": properties})
}

impl AnswerShape {
    /// The JSON Schema of the answer to a whole pack: an object with one property an id.
    pub fn pack_schema<'a>(&self, ids: impl IntoIterator<Item = &'a str>) -> Value {
        let row = self.schema();
        object_schema(ids.into_iter().map(|id| (id.to_owned(), row.clone())))
    }
}
