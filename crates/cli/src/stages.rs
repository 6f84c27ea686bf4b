//! `promptmill stages` and `promptmill models`: the catalogues.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Args;
use promptmill_core::{Error, Registry, Result, nearest};
use promptmill_llm::listed_prices;
use serde_json::Value;

use crate::output;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  promptmill stages\n  promptmill stages prompt-pack\n  promptmill stages reject-language")]
pub(crate) struct Stages {
    /// A stage or a step of `post-process`
    name: Option<String>,
}

impl Stages {
    pub(crate) fn execute(&self, registry: &Registry) -> Result<ExitCode> {
        let text = match &self.name {
            None => list(registry),
            Some(name) => reference(registry, name).ok_or_else(|| {
                let known = registry.stages.iter().map(|kind| kind.name).chain(registry.steps.iter().map(|step| step.name));
                let hint = nearest(name, known)
                    .map_or_else(|| "`promptmill stages` lists them".to_owned(), |near| format!("did you mean `{near}`?"));
                Error::failed(format!("there is no stage or step `{name}`")).hint(hint)
            })?,
        };
        output::line(&text).map(|()| ExitCode::SUCCESS)
    }
}

fn list(registry: &Registry) -> String {
    let mut text = String::from("stages\n");
    for kind in &registry.stages {
        let _ = writeln!(text, "  {:<30} {}", kind.name, first_sentence(&description(&kind.schema(registry).to_value())));
    }
    text.push_str("\nsteps of post-process\n");
    for step in &registry.steps {
        let _ = writeln!(text, "  {:<30} {}", step.name, step.summary);
    }
    text
}

/// The reference of a stage or a step, as Markdown that also reads well on a terminal.
pub(crate) fn reference(registry: &Registry, name: &str) -> Option<String> {
    if let Some(kind) = registry.stage(name) {
        let schema = kind.schema(registry).to_value();
        let example = format!("[[stages]]\nuse = \"{name}\"\n{}", kind.example);
        return Some(page(name, &description(&schema), &schema, &example));
    }
    let step = registry.step(name)?;
    let separator = if step.example.is_empty() { "" } else { ", " };
    let example = format!("{{ use = \"{name}\"{separator}{} }}", step.example);
    Some(page(name, &description(&(step.schema)().to_value()), &step.table_schema(), &example))
}

fn page(name: &str, description: &str, schema: &Value, example: &str) -> String {
    let mut text = format!("{name}\n\n{description}\n");
    let settings = settings(schema);
    if !settings.is_empty() {
        let _ = write!(text, "\nSettings\n{settings}");
    }
    let indented: String = example.lines().map(|line| format!("    {line}\n")).collect();
    let _ = write!(text, "\nExample\n\n{indented}");
    text
}

/// A table's settings: name, type, default, meaning.
pub(crate) fn settings(schema: &Value) -> String {
    let mut text = String::new();
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        if name == "use" {
            continue;
        }
        let default = match property.get("default") {
            Some(default) if !default.is_null() => format!(", default {default}"),
            _ if required.contains(&name.as_str()) => ", required".to_owned(),
            _ => String::new(),
        };
        let meaning = description(property).replace('\n', " ");
        let _ = writeln!(text, "  {name} ({}{default})\n      {meaning}", type_name(property));
    }
    text
}

/// A type in words, from a JSON Schema.
pub(crate) fn type_name(schema: &Value) -> String {
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().filter_map(Value::as_str).map(|value| format!("\"{value}\"")).collect::<Vec<_>>().join(" | ");
    }
    for key in ["oneOf", "anyOf"] {
        if let Some(alternatives) = schema[key].as_array() {
            if alternatives.iter().all(|one| one["properties"]["use"].is_object()) {
                return "step".to_owned();
            }
            let mut names: Vec<String> = alternatives
                .iter()
                .filter(|one| one["type"] != "null")
                .map(|one| one["const"].as_str().map_or_else(|| type_name(one), |value| format!("\"{value}\"")))
                .collect();
            names.dedup();
            return names.join(" | ");
        }
    }
    let simple = |name: &str| match name {
        "string" if schema["pattern"].as_str().is_some_and(|pattern| pattern.contains("ms|s|m|h")) => "duration".to_owned(),
        "integer" => "whole number".to_owned(),
        "boolean" => "true | false".to_owned(),
        "object" => "table".to_owned(),
        "array" => format!("list of {}", type_name(&schema["items"])),
        other => other.to_owned(),
    };
    match &schema["type"] {
        Value::String(name) => simple(name),
        Value::Array(names) => {
            names.iter().filter_map(Value::as_str).filter(|name| *name != "null").map(simple).collect::<Vec<_>>().join(" | ")
        }
        _ => "value".to_owned(),
    }
}

pub(crate) fn description(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or_default().to_owned()
}

fn first_sentence(text: &str) -> String {
    let text = text.replace('\n', " ");
    text.split_once(". ").map_or(text.clone(), |(first, _)| format!("{first}."))
}

/// The known models and their prices.
pub(crate) fn models() -> String {
    let mut text = String::from("model                                 input  cached  output   (US dollars per million tokens)\n");
    let _ = writeln!(text, "{:<35} {:>7} {:>7} {:>7}   in this process, free", "builtin/extractive", 0, 0, 0);
    for price in listed_prices() {
        let host = price.host.as_ref().map(|host| format!(" at {host}")).unwrap_or_default();
        let until = price.until.map(|until| format!(", until {until}")).unwrap_or_default();
        let leaves = price.leaves.map(|leaves| format!(", switched off on {leaves}")).unwrap_or_default();
        let _ = writeln!(
            text,
            "{:<35} {:>7} {:>7} {:>7}   {}{host}, {}, {}{until}{leaves}",
            price.model,
            price.input,
            price.cached_input.unwrap_or(price.input),
            price.output,
            price.by,
            price.source,
            price.date
        );
    }
    text
}
