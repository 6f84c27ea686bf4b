//! The JSON Schema of the whole file: what editors complete by, and what [`validate`](super::validate) checks by.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::{Registry, StageKind};

use super::{MaxDeadLetters, ModelSpec, ProviderSpec, SinkSpec, SourceSpec, StateSpec};

/// What the name of a pipeline or a stage looks like: it becomes part of paths.
pub(super) const NAME: &str = "^[A-Za-z0-9_-][A-Za-z0-9._-]*$";

/// A language model over the rows of a data lake: a source, a sequence of stages and a sink.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes the file; its tables are read one by one")]
struct PipelineFile {
    /// The pipeline's name, part of the paths of its state; left out: the file's name without `.toml`.
    #[schemars(regex(pattern = NAME))]
    name: Option<String>,
    /// With more dead letters than this a run ends with exit code 4: a number, or a share of the rows that are settled, such as
    /// `"5%"`; left out: `"50%"`.
    max_dead_letters: Option<MaxDeadLetters>,
    /// Where the journal, the commits, the dead letters and the run records are kept.
    state: Option<StateSpec>,
    /// Where the rows come from.
    source: SourceSpec,
    /// What happens to the rows, in this order.
    #[schemars(length(min = 1))]
    stages: Vec<Map<String, Value>>,
    /// Where the results go.
    sink: SinkSpec,
    /// The models that stages name.
    models: Option<BTreeMap<String, ModelSpec>>,
    /// The servers that models are called on.
    providers: Option<BTreeMap<String, ProviderSpec>>,
}

/// A generator that writes subschemas where they are used, so that nothing has to follow a `$ref`.
pub fn schema_generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true).into_generator()
}

/// The JSON Schema of the pipeline file with the stages and provider kinds of this registry.
pub fn json_schema(registry: &Registry) -> Value {
    let mut schema = schema_generator().into_root_schema_for::<PipelineFile>();
    RecursiveTransform(without_null).transform(&mut schema);
    let stages: Vec<Value> = registry.stages.iter().map(|kind| stage_schema(kind, registry)).collect();
    if let Some(Value::Object(stage)) = schema.pointer_mut("/properties/stages") {
        stage.insert("items".to_owned(), json!({"oneOf": stages}));
    }
    if let Some(Value::Object(kind)) = schema.pointer_mut("/properties/providers/additionalProperties/properties/kind") {
        kind.insert("enum".to_owned(), json!(registry.providers.iter().map(|kind| kind.name).collect::<Vec<_>>()));
    }
    let mut document = Map::new();
    for key in ["$schema", "title", "description"] {
        document.insert(key.to_owned(), schema.remove(key).unwrap_or_default());
    }
    document.insert("title".to_owned(), json!("promptmill pipeline"));
    document.extend(schema.to_value().as_object().cloned().unwrap_or_default());
    Value::Object(document)
}

/// The table of a stage: its own settings, `use` and `name`.
fn stage_schema(kind: &StageKind, registry: &Registry) -> Value {
    let mut schema = kind.schema(registry);
    RecursiveTransform(without_null).transform(&mut schema);
    let mut properties = Map::new();
    properties.insert("use".to_owned(), json!({"const": kind.name, "type": "string"}));
    let name = json!({"description": "How `--set` and messages call the stage; left out: as `use`.", "type": "string", "pattern": NAME});
    properties.insert("name".to_owned(), name);
    if let Some(Value::Object(own)) = schema.remove("properties") {
        properties.extend(own.into_iter().filter(|(key, _)| key != "use" && key != "name"));
    }
    let mut required = vec![json!("use")];
    if let Some(Value::Array(own)) = schema.remove("required") {
        required.extend(own);
    }
    let mut table = Map::new();
    table.insert("title".to_owned(), json!(kind.name));
    table.extend(schema.to_value().as_object().cloned().unwrap_or_default().into_iter().filter(|(key, _)| key != "title"));
    table.insert("type".to_owned(), json!("object"));
    table.insert("properties".to_owned(), Value::Object(properties));
    table.insert("required".to_owned(), Value::Array(required));
    table.entry("additionalProperties").or_insert(Value::Bool(false));
    Value::Object(table)
}

/// TOML has no null: an optional setting is left out.
fn without_null(schema: &mut Schema) {
    let is_null = |schema: &Value| schema.get("type").is_some_and(|kind| kind == "null");
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    if schema.get("default").is_some_and(Value::is_null) {
        schema.remove("default");
    }
    if let Some(Value::Array(alternatives)) = schema.get_mut("anyOf") {
        alternatives.retain(|alternative| !is_null(alternative));
        if let [Value::Object(only)] = alternatives.as_mut_slice() {
            let only = std::mem::take(only);
            schema.remove("anyOf");
            // What the setting says of itself goes before what its type says in general.
            for (key, value) in only {
                if schema.get(&key).is_none() {
                    schema.insert(key, value);
                }
            }
        }
    }
}
