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
    Fields(Vec<AnswerField>),
}

/// One field of an answer, or of a struct in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(String, StoredType)", into = "(String, StoredType)")]
pub struct AnswerField {
    /// Its name, and that of its column.
    pub name: String,
    /// The type of its values.
    pub kind: FieldType,
    /// Whether a model may answer `null`.
    pub nullable: bool,
    /// What the model is told about it.
    pub description: Option<String>,
}

/// The type of a value in an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredType", into = "StoredType")]
pub enum FieldType {
    /// Any text.
    String,
    /// A whole number of 64 bits.
    Int,
    /// A finite number.
    Float,
    /// True or false.
    Bool,
    /// One of these texts.
    Enum(Vec<String>),
    /// A list of values of one type, none of them null.
    List(Box<FieldType>),
    /// Fields that belong together.
    Struct(Vec<AnswerField>),
}

impl AnswerShape {
    /// The names of the columns that an answer becomes.
    pub fn columns(&self) -> Vec<&str> {
        match self {
            Self::Text(name) => vec![name],
            Self::Fields(fields) => fields.iter().map(|field| field.name.as_str()).collect(),
        }
    }

    /// The JSON Schema of the answer about one row.
    pub fn schema(&self) -> Value {
        match self {
            Self::Text(_) => FieldType::String.schema(),
            Self::Fields(fields) => fields_schema(fields),
        }
    }

    /// The JSON Schema of the answer to a whole pack: an object with one property an id.
    pub fn pack_schema<'a>(&self, ids: impl IntoIterator<Item = &'a str>) -> Value {
        let row = self.schema();
        object_schema(ids.into_iter().map(|id| (id.to_owned(), row.clone())))
    }
}

impl AnswerField {
    /// A field that has to be there, of which the model is told no more than its name and type.
    pub fn new(name: impl Into<String>, kind: FieldType) -> Self {
        Self { name: name.into(), kind, nullable: false, description: None }
    }

    /// Whether its values are free texts, which can be repaired.
    pub fn is_text(&self) -> bool {
        self.kind == FieldType::String
    }

    /// The JSON Schema of its values.
    pub fn schema(&self) -> Value {
        let mut schema = self.kind.schema();
        if self.nullable {
            schema = or_null(schema);
        }
        if let Some(description) = &self.description {
            schema["description"] = json!(description);
        }
        schema
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
            Self::List(items) => json!({"type": "array", "items": items.schema()}),
            Self::Struct(fields) => fields_schema(fields),
        }
    }
}

fn fields_schema(fields: &[AnswerField]) -> Value {
    object_schema(fields.iter().map(|field| (field.name.clone(), field.schema())))
}

/// The JSON Schema of an object with exactly these properties, in the strict form that providers ask for:
/// all of them required, no others allowed.
fn object_schema(properties: impl IntoIterator<Item = (String, Value)>) -> Value {
    let properties: Map<String, Value> = properties.into_iter().collect();
    let required: Vec<&String> = properties.keys().collect();
    json!({"type": "object", "additionalProperties": false, "required": required, "properties": properties})
}

/// The same or null, as strict modes want it: a union of types; for objects, which not every server takes as one
/// type of several, alternatives.
fn or_null(mut schema: Value) -> Value {
    if schema["type"] == "object" {
        return json!({"anyOf": [schema, {"type": "null"}]});
    }
    if let Some(values) = schema.get_mut("enum").and_then(Value::as_array_mut) {
        values.push(Value::Null);
    }
    schema["type"] = json!([schema["type"], "null"]);
    schema
}

/// A type as it is written down. The shape is part of the fingerprint of a question: the form of what could be
/// asked before there were nullable and nested fields stays what it was, so that nothing is asked anew.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StoredType {
    String,
    Int,
    Float,
    Bool,
    Enum(Vec<String>),
    ListOfString,
    List(Box<StoredType>),
    Struct(Vec<AnswerField>),
    Nullable(Box<StoredType>),
    Described(String, Box<StoredType>),
}

impl From<FieldType> for StoredType {
    fn from(kind: FieldType) -> Self {
        match kind {
            FieldType::String => Self::String,
            FieldType::Int => Self::Int,
            FieldType::Float => Self::Float,
            FieldType::Bool => Self::Bool,
            FieldType::Enum(values) => Self::Enum(values),
            FieldType::List(items) if *items == FieldType::String => Self::ListOfString,
            FieldType::List(items) => Self::List(Box::new((*items).into())),
            FieldType::Struct(fields) => Self::Struct(fields),
        }
    }
}

impl From<StoredType> for FieldType {
    fn from(stored: StoredType) -> Self {
        match stored {
            StoredType::String => Self::String,
            StoredType::Int => Self::Int,
            StoredType::Float => Self::Float,
            StoredType::Bool => Self::Bool,
            StoredType::Enum(values) => Self::Enum(values),
            StoredType::ListOfString => Self::List(Box::new(Self::String)),
            StoredType::List(items) => Self::List(Box::new((*items).into())),
            StoredType::Struct(fields) => Self::Struct(fields),
            // Of fields alone, which take these off themselves.
            StoredType::Nullable(inner) | StoredType::Described(_, inner) => (*inner).into(),
        }
    }
}

impl From<AnswerField> for (String, StoredType) {
    fn from(field: AnswerField) -> Self {
        let mut stored = StoredType::from(field.kind);
        if field.nullable {
            stored = StoredType::Nullable(Box::new(stored));
        }
        if let Some(description) = field.description {
            stored = StoredType::Described(description, Box::new(stored));
        }
        (field.name, stored)
    }
}

impl From<(String, StoredType)> for AnswerField {
    fn from((name, mut stored): (String, StoredType)) -> Self {
        let mut description = None;
        if let StoredType::Described(text, inner) = stored {
            (description, stored) = (Some(text), *inner);
        }
        let nullable = matches!(stored, StoredType::Nullable(_));
        Self { name, kind: stored.into(), nullable, description }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested() -> AnswerShape {
        let party =
            AnswerField { nullable: true, description: Some("as in the text".into()), ..AnswerField::new("party", FieldType::String) };
        let person = FieldType::Struct(vec![AnswerField::new("name", FieldType::String), party]);
        let tone = AnswerField { nullable: true, ..AnswerField::new("tone", FieldType::Enum(vec!["mild".into(), "sharp".into()])) };
        AnswerShape::Fields(vec![
            AnswerField { nullable: true, description: Some("who moves it".into()), ..AnswerField::new("mover", person.clone()) },
            AnswerField::new("signers", FieldType::List(Box::new(person))),
            AnswerField { nullable: true, ..AnswerField::new("years", FieldType::List(Box::new(FieldType::Int))) },
            tone,
        ])
    }

    #[test]
    fn what_could_be_asked_before_is_written_as_before() {
        let urgency = FieldType::Enum(vec!["low".into(), "high".into()]);
        for (shape, stored) in [
            (AnswerShape::Text("summary".into()), r#"{"text":"summary"}"#),
            (
                AnswerShape::Fields(vec![
                    AnswerField::new("summary", FieldType::String),
                    AnswerField::new("topics", FieldType::List(Box::new(FieldType::String))),
                    AnswerField::new("urgency", urgency),
                    AnswerField::new("score", FieldType::Int),
                    AnswerField::new("share", FieldType::Float),
                    AnswerField::new("asks", FieldType::Bool),
                ]),
                r#"{"fields":[["summary","string"],["topics","list-of-string"],["urgency",{"enum":["low","high"]}],["score","int"],["share","float"],["asks","bool"]]}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&shape).expect("written"), stored);
            assert_eq!(serde_json::from_str::<AnswerShape>(stored).expect("read"), shape);
        }
    }

    #[test]
    fn every_shape_is_read_back_as_it_was() {
        let stored = serde_json::to_string(&nested()).expect("written");
        assert_eq!(serde_json::from_str::<AnswerShape>(&stored).expect("read"), nested());
    }

    #[test]
    fn schemas_are_strict_at_every_level() {
        let person = json!({
            "type": "object", "additionalProperties": false, "required": ["name", "party"],
            "properties": {"name": {"type": "string"}, "party": {"type": ["string", "null"], "description": "as in the text"}},
        });
        assert_eq!(
            nested().schema(),
            json!({
                "type": "object", "additionalProperties": false, "required": ["mover", "signers", "years", "tone"],
                "properties": {
                    "mover": {"anyOf": [person, {"type": "null"}], "description": "who moves it"},
                    "signers": {"type": "array", "items": person},
                    "years": {"type": ["array", "null"], "items": {"type": "integer"}},
                    "tone": {"type": ["string", "null"], "enum": ["mild", "sharp", null]},
                },
            })
        );
    }
}
