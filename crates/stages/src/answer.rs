//! The setting `answer` of `prompt-pack`: what is asked about each row, as it is written in a pipeline file.
//!
//! ```toml
//! answer = "summary"
//! answer = { summary = "string", score = "int?", topics = "list<string>", urgency = { enum = ["low", "high"] } }
//! ```
//!
//! A type is a word, or a table where there is more to say than a word can. Here it becomes the shape that the
//! schema, the instruction, the parser and the columns are made from.

use promptmill_core::{AnswerField, AnswerShape, FieldType, Mistake, nearest};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Nesting that every strict mode takes, with the pack and the row around it.
const MAX_DEPTH: usize = 6;
const WORDS: [&str; 5] = ["string", "int", "float", "bool", "list<string>"];
/// What says the type in a table: one of these.
const KINDS: [&str; 4] = ["type", "enum", "fields", "list"];
const KEYS: [&str; 6] = ["type", "enum", "fields", "list", "nullable", "description"];

/// A text column's name, or a table of typed fields.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum AnswerSetting {
    /// The name of the text column.
    Name(String),
    /// Names and types of the columns.
    Fields(Map<String, Value>),
}

impl Default for AnswerSetting {
    fn default() -> Self {
        Self::Name("answer".to_owned())
    }
}

impl AnswerSetting {
    /// The setting that asks for this shape.
    pub(crate) fn of(shape: &AnswerShape) -> Self {
        match shape {
            AnswerShape::Text(name) => Self::Name(name.clone()),
            AnswerShape::Fields(fields) => Self::Fields(written(fields)),
        }
    }

    /// As it stands in a pipeline file.
    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Name(name) => Value::from(name.as_str()),
            Self::Fields(fields) => Value::Object(fields.clone()),
        }
    }

    /// The shape that this asks for.
    pub(crate) fn shape(&self) -> Result<AnswerShape, Mistake> {
        match self {
            Self::Name(name) => column_name("answer", name).map(|()| AnswerShape::Text(name.clone())),
            Self::Fields(table) => fields("answer", table, 0).map(AnswerShape::Fields),
        }
    }
}

fn written(fields: &[AnswerField]) -> Map<String, Value> {
    let of = |field: &AnswerField| {
        let mut table = written_kind(&field.kind);
        if field.nullable {
            table.insert("nullable".to_owned(), true.into());
        }
        table.extend(field.description.iter().map(|text| ("description".to_owned(), Value::from(text.as_str()))));
        (field.name.clone(), Value::Object(table))
    };
    fields.iter().map(of).collect()
}

fn written_kind(kind: &FieldType) -> Map<String, Value> {
    let (key, value) = match kind {
        FieldType::String => ("type", "string".into()),
        FieldType::Int => ("type", "int".into()),
        FieldType::Float => ("type", "float".into()),
        FieldType::Bool => ("type", "bool".into()),
        FieldType::Enum(values) => ("enum", values.clone().into()),
        FieldType::List(items) => ("list", Value::Object(written_kind(items))),
        FieldType::Struct(fields) => ("fields", Value::Object(written(fields))),
    };
    Map::from_iter([(key.to_owned(), value)])
}

fn fields(at: &str, table: &Map<String, Value>, depth: usize) -> Result<Vec<AnswerField>, Mistake> {
    if table.is_empty() {
        return Err(Mistake::new(at, format!("`{}` has no fields", leaf(at))).hint(Some("write, for example, `{ summary = \"string\" }`")));
    }
    if depth == MAX_DEPTH {
        return Err(Mistake::new(at, format!("`{at}` lies deeper than {MAX_DEPTH} levels of fields")).hint(Some("ask for fewer levels")));
    }
    table.iter().map(|(name, written)| field(&format!("{at}.{name}"), name, written, depth)).collect()
}

fn field(at: &str, name: &str, written: &Value, depth: usize) -> Result<AnswerField, Mistake> {
    column_name(at, name)?;
    match written {
        Value::String(word) => {
            let (kind, nullable) = nullable_kind(at, word)?;
            Ok(AnswerField { nullable, ..AnswerField::new(name, kind) })
        }
        Value::Object(table) => {
            let (kind, or_null) = described_kind(at, table, depth)?;
            let nullable = match table.get("nullable") {
                None => or_null,
                Some(Value::Bool(nullable)) => *nullable || or_null,
                Some(_) => return Err(Mistake::new(format!("{at}.nullable"), "`nullable` is `true` or `false`")),
            };
            let description = match table.get("description") {
                None => None,
                Some(Value::String(text)) if !text.trim().is_empty() => Some(text.trim().to_owned()),
                Some(_) => return Err(Mistake::new(format!("{at}.description"), "`description` is a text")),
            };
            Ok(AnswerField { name: name.to_owned(), kind, nullable, description })
        }
        _ => Err(Mistake::new(at, format!("`{name}` has no type")).hint(Some(examples()))),
    }
}

/// The type that a table says, and whether its word ends in `?`.
fn described_kind(at: &str, table: &Map<String, Value>, depth: usize) -> Result<(FieldType, bool), Mistake> {
    if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
        let hint = nearest(key, KEYS).map_or_else(|| format!("known keys: {}", KEYS.join(", ")), |near| format!("did you mean `{near}`?"));
        return Err(Mistake::new(format!("{at}.{key}"), format!("unknown key `{key}` in `{at}`")).hint(Some(hint)));
    }
    let said: Vec<&str> = KINDS.into_iter().filter(|kind| table.contains_key(*kind)).collect();
    let [kind] = said.as_slice() else {
        let message = if said.is_empty() { "has no type".to_owned() } else { format!("has several types: `{}`", said.join("`, `")) };
        let hint = "write one of `type = \"int\"`, `enum = [\"a\", \"b\"]`, `fields = { … }` and `list = \"int\"`";
        return Err(Mistake::new(at, format!("`{}` {message}", leaf(at))).hint(Some(hint)));
    };
    let inside = format!("{at}.{kind}");
    match (*kind, &table[*kind]) {
        ("type", Value::String(word)) => nullable_kind(&inside, word),
        ("enum", Value::Array(values)) => enumeration(&inside, values).map(|kind| (kind, false)),
        ("fields", Value::Object(table)) => fields(&inside, table, depth + 1).map(|fields| (FieldType::Struct(fields), false)),
        ("list", items) => items_of(&inside, items, depth).map(|items| (FieldType::List(Box::new(items)), false)),
        ("type", _) => Err(Mistake::new(&inside, "`type` is the name of a type").hint(Some(examples()))),
        ("enum", _) => Err(Mistake::new(&inside, "expected `enum = [\"a\", \"b\"]`")),
        _ => Err(Mistake::new(&inside, "expected `fields = { name = \"string\" }`")),
    }
}

/// The type of a list's items, which stand for themselves: none is null, and the list is what is described.
fn items_of(at: &str, written: &Value, depth: usize) -> Result<FieldType, Mistake> {
    if depth == MAX_DEPTH {
        return Err(Mistake::new(at, format!("`{at}` lies deeper than {MAX_DEPTH} levels")).hint(Some("ask for fewer levels")));
    }
    match written {
        Value::String(word) => word_kind(at, word, word),
        Value::Object(table) => {
            if let Some(key) = ["nullable", "description"].into_iter().find(|key| table.contains_key(*key)) {
                let hint = format!("write `{key}` beside `list`");
                return Err(Mistake::new(format!("{at}.{key}"), format!("the items of a list have no `{key}`")).hint(Some(hint)));
            }
            match described_kind(at, table, depth + 1)? {
                (kind, false) => Ok(kind),
                (_, true) => Err(null_items(at)),
            }
        }
        _ => Err(Mistake::new(at, "expected the type of the items").hint(Some(examples()))),
    }
}

fn enumeration(at: &str, written: &[Value]) -> Result<FieldType, Mistake> {
    let values: Option<Vec<String>> = written.iter().map(|value| value.as_str().map(str::to_owned)).collect();
    let Some(values) = values.filter(|values| !values.is_empty()) else {
        return Err(Mistake::new(at, "expected texts, as in `enum = [\"a\", \"b\"]`"));
    };
    for (index, value) in values.iter().enumerate() {
        if value.trim().is_empty() || value.trim() != value {
            return Err(Mistake::new(format!("{at}.{index}"), format!("`{value}` cannot be a value: it is empty or has blanks around it")));
        }
        if values[..index].contains(value) {
            return Err(Mistake::new(format!("{at}.{index}"), format!("`{value}` stands twice in `enum`")));
        }
    }
    Ok(FieldType::Enum(values))
}

/// A type's name, with `?` behind it where null is an answer.
fn nullable_kind(at: &str, word: &str) -> Result<(FieldType, bool), Mistake> {
    match word.strip_suffix('?') {
        Some(plain) => word_kind(at, plain, word).map(|kind| (kind, true)),
        None => word_kind(at, word, word).map(|kind| (kind, false)),
    }
}

/// The type of this name, which is part of what was `written`.
fn word_kind(at: &str, name: &str, written: &str) -> Result<FieldType, Mistake> {
    match name {
        "string" => Ok(FieldType::String),
        "int" => Ok(FieldType::Int),
        "float" => Ok(FieldType::Float),
        "bool" => Ok(FieldType::Bool),
        _ if name.ends_with('?') => Err(null_items(at)),
        _ => match name.strip_prefix("list<").and_then(|rest| rest.strip_suffix('>')) {
            Some(items) if written.len() < 64 => word_kind(at, items, written).map(|items| FieldType::List(Box::new(items))),
            _ => {
                let hint = nearest(name, WORDS).map_or_else(examples, |near| format!("did you mean `{near}`?"));
                Err(Mistake::new(at, format!("unknown type `{written}`")).hint(Some(hint)))
            }
        },
    }
}

fn null_items(at: &str) -> Mistake {
    Mistake::new(at, "the items of a list cannot be null").hint(Some("write `list<int>?` for a list that may be null"))
}

fn examples() -> String {
    "`string`, `int`, `float`, `bool`, `list<string>`, `int?` or a table such as `{ enum = [\"a\", \"b\"] }`".to_owned()
}

fn column_name(at: &str, name: &str) -> Result<(), Mistake> {
    if name.trim().is_empty() || name.starts_with("__") {
        return Err(Mistake::new(at, format!("`{name}` cannot be the name of a column")));
    }
    Ok(())
}

fn leaf(at: &str) -> &str {
    at.rsplit('.').next().unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(toml: &str) -> Result<AnswerShape, Mistake> {
        #[derive(Deserialize)]
        struct Pack {
            answer: AnswerSetting,
        }
        toml::from_str::<Pack>(toml).expect("TOML").answer.shape()
    }

    #[test]
    fn every_type_has_a_word_or_a_table() {
        let shape = read(
            r#"
            [answer]
            summary = "string"
            score = { type = "int", nullable = true, description = " from 1 to 10 " }
            share = "float?"
            asks = "bool"
            topics = "list<string>"
            rows = "list<list<int>>?"
            urgency = { enum = ["low", "high"], nullable = true }
            tones = { list = { enum = ["mild", "sharp"] } }
            mover = { fields = { name = "string", party = "string?" }, description = "who moves it" }
            signers = { list = { fields = { name = "string" } }, nullable = true }
            "#,
        );
        let list = |kind: FieldType| FieldType::List(Box::new(kind));
        let values = |values: [&str; 2]| FieldType::Enum(values.map(str::to_owned).to_vec());
        let field = AnswerField::new;
        let or_null = |field: AnswerField| AnswerField { nullable: true, ..field };
        let described = |field: AnswerField, text: &str| AnswerField { description: Some(text.to_owned()), ..field };
        let mover = FieldType::Struct(vec![field("name", FieldType::String), or_null(field("party", FieldType::String))]);
        let expected = vec![
            field("summary", FieldType::String),
            described(or_null(field("score", FieldType::Int)), "from 1 to 10"),
            or_null(field("share", FieldType::Float)),
            field("asks", FieldType::Bool),
            field("topics", list(FieldType::String)),
            or_null(field("rows", list(list(FieldType::Int)))),
            or_null(field("urgency", values(["low", "high"]))),
            field("tones", list(values(["mild", "sharp"]))),
            described(field("mover", mover), "who moves it"),
            or_null(field("signers", list(FieldType::Struct(vec![field("name", FieldType::String)])))),
        ];
        assert_eq!(shape.expect("a shape"), AnswerShape::Fields(expected.clone()));
        let again = AnswerSetting::of(&AnswerShape::Fields(expected.clone()));
        assert_eq!(again.shape().expect("what is written is read"), AnswerShape::Fields(expected));
        assert_eq!(read("answer = \"summary\"").expect("a shape"), AnswerShape::Text("summary".into()));
    }

    #[test]
    fn mistakes_say_where_and_what_to_write() {
        let deep = format!("answer = {{ a = {}\"int\"{} }}", "{ fields = { a = ".repeat(7), " } }".repeat(7));
        for (toml, at, message, hint) in [
            ("answer = {}", "answer", "`answer` has no fields", "{ summary = \"string\" }"),
            ("answer = { a = \"strin\" }", "answer.a", "unknown type `strin`", "did you mean `string`?"),
            ("answer = { a = \"list<date>\" }", "answer.a", "unknown type `list<date>`", "`list<string>`"),
            ("answer = { a = \"list<int?>\" }", "answer.a", "cannot be null", "`list<int>?`"),
            ("answer = { a = 4 }", "answer.a", "`a` has no type", "`string`"),
            ("answer = { a = { enm = [] } }", "answer.a.enm", "unknown key `enm` in `answer.a`", "did you mean `enum`?"),
            ("answer = { a = { enum = [] } }", "answer.a.enum", "expected texts", ""),
            ("answer = { a = { enum = [\"x\", \"x\"] } }", "answer.a.enum.1", "`x` stands twice in `enum`", ""),
            ("answer = { a = { nullable = true } }", "answer.a", "`a` has no type", "`type = \"int\"`"),
            ("answer = { a = { type = \"int\", list = \"int\" } }", "answer.a", "several types: `type`, `list`", "write one of"),
            ("answer = { a = { type = \"int\", nullable = 1 } }", "answer.a.nullable", "`true` or `false`", ""),
            ("answer = { a = { fields = { b = \"in\" } } }", "answer.a.fields.b", "unknown type `in`", "did you mean `int`?"),
            (
                "answer = { a = { list = { type = \"int\", nullable = true } } }",
                "answer.a.list.nullable",
                "have no `nullable`",
                "beside `list`",
            ),
            ("answer = { a = { list = \"int?\" } }", "answer.a.list", "cannot be null", "`list<int>?`"),
            ("answer = { __a = \"int\" }", "answer.__a", "cannot be the name of a column", ""),
            (deep.as_str(), "answer.a.fields.a.fields.a.fields.a.fields.a.fields.a.fields", "deeper than 6", "fewer"),
        ] {
            let mistake = read(toml).expect_err(toml);
            assert_eq!(mistake.at, at, "{toml}");
            assert!(mistake.message.contains(message), "{toml}: {}", mistake.message);
            assert!(mistake.hint.unwrap_or_default().contains(hint), "{toml}");
        }
    }
}
