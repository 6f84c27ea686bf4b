//! What makes two questions the same: the text that all rows share, canonical.
//!
//! A cosmetic change of the file is to ask nothing anew, so keys of `extra_body` count in the order of their names, in
//! whatever order they are written. Earlier versions took the order of the file. A state that they left has its rows
//! settled under that order, and keeps it: which order a question of a state is known by stands in `question.json`.

use promptmill_core::{Blueprint, Error, Fingerprint, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::commit::CommitLog;
use crate::format::{self, Version};
use crate::storage::Folder;

/// The file in the state folder.
const FILE: &str = "question.json";
/// Questions that are remembered: the last ones.
const REMEMBERED: usize = 100;

/// The questions of a state, oldest first.
#[derive(Debug, Serialize, Deserialize)]
struct Known {
    #[serde(default)]
    v: Version<{ format::QUESTION.version }>,
    questions: Vec<Entry>,
}

/// One of them.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    /// The fingerprint of its canonical text.
    question: Fingerprint,
    /// The order of the keys in each model's `extra_body`, where it is not that of their names. Keys alone: a value may be
    /// a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    order: Option<Vec<Value>>,
}

/// The text of the question as this state knows it, without a salt. What is chosen for a question for the first time is
/// written down if `notes` says so; `is_new` if nothing has been asked or settled there.
pub(crate) async fn identify(blueprint: &Blueprint, state: &Folder, log: &CommitLog, is_new: bool, notes: bool) -> Result<String> {
    let canonical = text(blueprint, &Order::ByName);
    let question = fingerprint(&canonical, None);
    let mut known = read(state).await?;
    if let Some(entry) = known.questions.iter().rev().find(|entry| entry.question == question) {
        return Ok(match &entry.order {
            Some(order) => text(blueprint, &Order::Known(order)),
            None => canonical,
        });
    }
    let written = text(blueprint, &Order::AsWritten);
    let is_canonical = is_new || canonical == written || log.question() == Some(fingerprint(&canonical, log.salt()));
    if notes {
        let order = (!is_canonical).then(|| bodies(blueprint).map(order_of).collect());
        known.questions.push(Entry { question, order });
        let surplus = known.questions.len().saturating_sub(REMEMBERED);
        known.questions.drain(..surplus);
        let json = serde_json::to_vec(&known).map_err(|error| Error::failed("a question cannot be written as JSON").because(error))?;
        state.put(FILE, json).await?;
    }
    Ok(if is_canonical { canonical } else { written })
}

/// Everything that is part of the question, as one text: a change of it asks every row anew. What a model's name stands for
/// counts, not the name alone.
pub(crate) fn text(blueprint: &Blueprint, order: &Order<'_>) -> String {
    let Some(question) = blueprint.question() else { return "[]".to_owned() };
    let pack = &question.pack;
    let mut asked = json!({"system": pack.system, "prompt": pack.prompt, "answer": pack.shape});
    // A question without them is what it was before they could be said.
    if let Some(instructions) = &pack.instructions {
        asked["instructions"] = instructions.as_str().into();
    }
    let mut place = 0..;
    let models = question.models.iter().map(|model| match &model.spec {
        Some(spec) => json!([spec.model, order.of(place.next().unwrap_or(0), &spec.extra_body)]),
        None => json!(model.name),
    });
    json!([[asked, []], [{"temperature": question.ask.temperature}, models.collect::<Vec<_>>()]]).to_string()
}

/// What is merged into the requests of each model, in their order.
fn bodies(blueprint: &Blueprint) -> impl Iterator<Item = &Map<String, Value>> {
    blueprint.models().iter().filter_map(|model| Some(&model.spec.as_ref()?.extra_body))
}

/// The question that rows are asked: a salt makes it another one.
pub(crate) fn salted(question: &str, salt: Option<&str>) -> String {
    salt.map_or_else(|| question.to_owned(), |salt| format!("{question} {salt}"))
}

fn fingerprint(question: &str, salt: Option<&str>) -> Fingerprint {
    Fingerprint::of([salted(question, salt).as_bytes()])
}

async fn read(state: &Folder) -> Result<Known> {
    let nothing = Known { v: Version, questions: Vec::new() };
    let Some(bytes) = state.get(FILE).await? else { return Ok(nothing) };
    format::QUESTION.check_json(&format!("{state}/{FILE}"), &bytes)?;
    // What a power cut left half-written was never told to be written.
    Ok(serde_json::from_slice(&bytes).unwrap_or_else(|error| {
        tracing::warn!(%error, "`{state}/{FILE}` cannot be read and counts as not written");
        nothing
    }))
}

/// The order in which keys of `extra_body` are part of a question.
#[derive(Debug)]
pub(crate) enum Order<'o> {
    /// That of their names.
    ByName,
    /// That of the file.
    AsWritten,
    /// A known one, for each model.
    Known(&'o [Value]),
}

impl Order<'_> {
    /// The body of the model at this place, in this order.
    pub(crate) fn of(&self, model: usize, body: &Map<String, Value>) -> Value {
        let body = Value::Object(body.clone());
        match self {
            Self::ByName => by_name(body),
            Self::AsWritten => body,
            Self::Known(orders) => orders.get(model).map_or_else(|| by_name(body.clone()), |order| arranged(body.clone(), order)),
        }
    }
}

fn by_name(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<(String, Value)> = fields.into_iter().map(|(name, value)| (name, by_name(value))).collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(fields.into_iter().collect())
        }
        Value::Array(values) => values.into_iter().map(by_name).collect(),
        other => other,
    }
}

/// The keys of a body, as a list of pairs: a key, and the keys below it.
fn order_of(body: &Map<String, Value>) -> Value {
    fn of(value: &Value) -> Value {
        match value {
            Value::Object(fields) => fields.iter().map(|(name, value)| json!([name, of(value)])).collect(),
            Value::Array(values) => json!({"items": values.iter().map(of).collect::<Vec<_>>()}),
            _ => Value::Null,
        }
    }
    body.iter().map(|(name, value)| json!([name, of(value)])).collect()
}

/// A value with its keys in a known order. Both have the same keys: their canonical texts are one.
fn arranged(value: Value, order: &Value) -> Value {
    match (value, order) {
        (Value::Object(mut fields), Value::Array(order)) => {
            let mut arranged_fields = Map::new();
            for pair in order {
                let Some((name, value)) = pair.get(0).and_then(Value::as_str).and_then(|name| fields.remove_entry(name)) else { continue };
                arranged_fields.insert(name, arranged(value, pair.get(1).unwrap_or(&Value::Null)));
            }
            arranged_fields.extend(fields);
            Value::Object(arranged_fields)
        }
        (Value::Array(values), order) => {
            let below = |index: usize| order.pointer(&format!("/items/{index}")).unwrap_or(&Value::Null);
            values.into_iter().enumerate().map(|(index, value)| arranged(value, below(index))).collect()
        }
        (value, _) => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(json: &str) -> Map<String, Value> {
        serde_json::from_str(json).expect("an object")
    }

    #[test]
    fn the_order_of_keys_is_forgotten_or_kept() {
        let one = body(r#"{"top_p": 0.9, "seed": 1, "provider": {"sort": "price", "only": [{"b": 1, "a": 2}]}}"#);
        let other = body(r#"{"provider": {"only": [{"a": 2, "b": 1}], "sort": "price"}, "seed": 1, "top_p": 0.9}"#);
        let text = |order: &Order<'_>, body: &Map<String, Value>| order.of(0, body).to_string();
        assert_eq!(text(&Order::ByName, &one), text(&Order::ByName, &other));
        assert_eq!(text(&Order::ByName, &one), r#"{"provider":{"only":[{"a":2,"b":1}],"sort":"price"},"seed":1,"top_p":0.9}"#);
        assert_ne!(text(&Order::AsWritten, &one), text(&Order::AsWritten, &other));
        let known = [order_of(&one)];
        assert_eq!(text(&Order::Known(&known), &other), text(&Order::AsWritten, &one));
        assert!(!known[0].to_string().contains("price\"") && !known[0].to_string().contains("0.9"), "keys alone: {}", known[0]);
    }

    /// What a question is known by, byte for byte: if this changes, every row of every user is paid for again.
    #[test]
    fn the_text_of_a_question_is_what_it_was() {
        use std::collections::BTreeMap;
        use std::time::Duration;

        use promptmill_core::{AnswerField, AnswerShape, AskSpec, Bounds, Declaration, FieldType, ModelSpec, NamedModel, PackSpec};
        let spec: ModelSpec =
            serde_json::from_value(json!({"provider": "p", "model": "vendor/m", "extra_body": {"top_p": 0.9, "seed": 1}}))
                .expect("a model");
        let ask = AskSpec {
            models: ["m", "builtin/extractive"].map(|name| NamedModel { setting: "model".into(), name: name.into() }).to_vec(),
            temperature: Some(0.2),
            concurrency: Bounds::default(),
            attempts: 1,
            max_tokens_per_row: 1,
            canary: 0.0,
            timeout: Duration::from_secs(1),
            pace: &[],
        };
        let of = |system: Option<&str>, instructions: Option<&str>, shape| {
            let (system, instructions) = (system.map(str::to_owned), instructions.map(str::to_owned));
            let pack = PackSpec { system, prompt: "Explain.".into(), instructions, rows: Bounds::default(), shape };
            let stages = vec![Vec::new(), vec![Declaration::Pack(pack)], vec![Declaration::Ask(ask.clone())]];
            text(&Blueprint::new(stages, &BTreeMap::from([("m".to_owned(), spec.clone())]), &BTreeMap::new()), &Order::ByName)
        };
        assert_eq!(
            of(Some("Be brief."), None, AnswerShape::Text("summary".into())),
            r#"[[{"system":"Be brief.","prompt":"Explain.","answer":{"text":"summary"}},[]],[{"temperature":0.2},[["vendor/m",{"seed":1,"top_p":0.9}],"builtin/extractive"]]]"#
        );
        let topics = AnswerField::new("topics", FieldType::List(Box::new(FieldType::String)));
        assert_eq!(
            of(None, Some("Say {{ ids }}."), AnswerShape::Fields(vec![topics])),
            r#"[[{"system":null,"prompt":"Explain.","answer":{"fields":[["topics","list-of-string"]]},"instructions":"Say {{ ids }}."},[]],[{"temperature":0.2},[["vendor/m",{"seed":1,"top_p":0.9}],"builtin/extractive"]]]"#
        );
    }

    /// The file's format. A change of it needs another version.
    #[test]
    fn the_file_is_what_it_was() {
        let entry = |order| Entry { question: Fingerprint::of([b"q".as_slice()]), order };
        let known = Known { v: Version, questions: vec![entry(None), entry(Some(vec![order_of(&body(r#"{"b": {"c": 1}, "a": 1}"#))]))] };
        let text = serde_json::to_string(&known).expect("JSON");
        let read = |bytes: &[u8]| {
            serde_json::from_slice::<Known>(bytes).is_ok_and(|read| read.questions.len() == 2 && read.questions[1].order.is_some())
        };
        format::golden::check(format::QUESTION, text.as_bytes(), read);
    }
}
