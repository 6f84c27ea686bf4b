//! The pipeline file: read, checked as a whole, and turned into stages that can run.
//!
//! Reading goes in steps, each with a module: TOML becomes a tree that knows its places (`document`), `--set`
//! and `${VAR}` change it (`settings`, `variables`), the JSON Schema of all tables judges it (`schema`,
//! `validate`), and only what is right becomes the structs of `config` and the stages of the registry. All
//! mistakes come out together, each once, each with its place. What needs more than the file to be judged, such
//! as the columns of the source, is found later and brought back here for its place: [`Pipeline::diagnostic`].

mod config;
mod document;
mod edit;
mod schema;
mod settings;
mod validate;
mod variables;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

pub use config::{
    AboveSpec, Access, Header, Key, MaxDeadLetters, MaxTokensField, ModelSpec, Nulls, Paths, Period, PriceSpec, ProviderSpec, SinkFormat,
    SinkSpec, SourceFormat, SourceSpec, StateSpec, Structured, TierSpec,
};
pub use edit::with_value;
pub use schema::{json_schema, schema_generator};

use crate::registry::dotted;
use crate::{
    Blueprint, Declaration, Diagnostic, Diagnostics, Error, Mistake, NamedModel, Origin, Registry, Result, Setting, Stage, Variation,
    nearest,
};
use document::{Document, Found, Node, Tree, shown};
use validate::{as_name, did_you_mean, is_name, listed};

/// A pipeline, as its file, the command line and the environment declare it.
pub struct Pipeline {
    /// Its name: part of the paths of its state.
    pub name: String,
    /// With more dead letters than this a run ends with exit code 4.
    pub max_dead_letters: MaxDeadLetters,
    /// Where the journal, the commits, the dead letters and the run records are kept.
    pub state: StateSpec,
    /// Where the rows come from.
    pub source: SourceSpec,
    /// What happens to the rows, in this order.
    pub stages: Vec<StageSpec>,
    /// Where the results go.
    pub sink: SinkSpec,
    /// The models that stages name.
    pub models: BTreeMap<String, ModelSpec>,
    /// The servers that models are called on.
    pub providers: BTreeMap<String, ProviderSpec>,
    blueprint: Arc<Blueprint>,
    config: Value,
    document: Document,
}

/// A stage of a pipeline.
#[derive(Clone, Debug)]
pub struct StageSpec {
    /// What `--set` and messages call it; by default its `use`.
    pub name: String,
    /// What the registry calls it: its `use`.
    pub kind: String,
    /// The stage itself.
    pub stage: Arc<dyn Stage>,
    /// Its settings, without `use` and `name`: its wire form on a cluster.
    pub config: Value,
}

impl fmt::Debug for Pipeline {
    // Headers may carry credentials from the environment; the configuration of the run record does not.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").field("name", &self.name).field("config", &self.config).finish_non_exhaustive()
    }
}

impl Pipeline {
    /// Reads a pipeline file, with the variables of this process's environment.
    ///
    /// # Errors
    /// Every mistake in the file and the settings; a file that is not there, or cannot be read.
    pub fn read(path: &Path, settings: &[String], registry: &Registry) -> Result<Self> {
        Ok(Self::read_draft(path, settings, registry)?.into_pipeline()?)
    }

    /// Reads a pipeline file that may have mistakes, for somebody who can look for more of them.
    ///
    /// # Errors
    /// A file that is not there or cannot be read; mistakes that leave nothing to look at.
    pub fn read_draft(path: &Path, settings: &[String], registry: &Registry) -> Result<Draft> {
        let file = path.display().to_string();
        let wrong = |message: String, hint: Option<String>| {
            let list = vec![Diagnostic { message, origin: Origin::Whole, label: None, hint }];
            Error::from(Diagnostics { file: file.clone(), text: "".into(), list })
        };
        let bytes = fs::read(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => wrong("there is no such pipeline file".to_owned(), similar_file(path)),
            ErrorKind::IsADirectory => wrong("a folder, where a pipeline file was expected".to_owned(), first_file(path)),
            ErrorKind::PermissionDenied => {
                Error::failed(format!("`{file}` cannot be read")).hint(format!("chmod u+r {file}")).because(error)
            }
            _ => Error::failed(format!("`{file}` cannot be read")).hint(format!("cat {file}")).because(error),
        })?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
            wrong(format!("line {line} is not UTF-8 text"), Some(format!("iconv -f latin1 -t utf-8 {file}")))
        })?;
        Ok(Self::parse_draft(&file, &text, settings, &|name| std::env::var(name).ok(), registry)?)
    }

    /// Reads the text of a pipeline file. `settings` are `KEY=VALUE` as after `--set`.
    ///
    /// # Errors
    /// Every mistake in the text and the settings.
    pub fn parse(
        file: &str,
        text: &str,
        settings: &[String],
        env: &dyn Fn(&str) -> Option<String>,
        registry: &Registry,
    ) -> Result<Self, Diagnostics> {
        Self::parse_draft(file, text, settings, env, registry)?.into_pipeline()
    }

    fn parse_draft(
        file: &str,
        text: &str,
        settings: &[String],
        env: &dyn Fn(&str) -> Option<String>,
        registry: &Registry,
    ) -> Result<Draft, Diagnostics> {
        let mut found = Vec::new();
        let mut document = match Document::parse(file, text, &mut found) {
            Ok(document) => document,
            Err(list) => return Err(sorted(file, text.into(), list)),
        };
        settings::apply(&mut document, settings, &mut found);
        variables::fill_in(&mut document, env, &mut found);
        validate::validate(&document, &json_schema(registry), &mut found);
        Reader { document, found, registry }.read()
    }

    /// The place of a mistake in the table at `path`, such as `["stages", "2"]`: as near to the setting as the
    /// file goes.
    pub fn diagnostic(&self, path: &[&str], mistake: Mistake) -> Diagnostic {
        self.document.diagnostic(path, mistake)
    }

    /// These mistakes, in the order of the file.
    pub fn diagnostics(&self, list: Vec<Diagnostic>) -> Diagnostics {
        sorted(&self.document.file, self.document.text.clone(), list)
    }

    /// What the stages declare, together.
    pub fn blueprint(&self) -> &Arc<Blueprint> {
        &self.blueprint
    }

    /// The pipeline with other settings, each by its path in the file; a stage goes by its name.
    ///
    /// # Errors
    /// Every mistake that there is then.
    pub fn with(&self, settings: &[Setting], registry: &Registry) -> Result<Self, Diagnostics> {
        let (mut document, mut found) = (self.document.clone(), Vec::new());
        settings::put(&mut document, settings, &mut found);
        validate::validate(&document, &json_schema(registry), &mut found);
        Reader { document, found, registry }.read()?.into_pipeline()
    }

    /// The settings by which the stages take part in another way to ask. A stage that has no part in another question is gone.
    pub fn varied(&self, variation: &Variation<'_>) -> Vec<Setting> {
        let of_stage = |stage: &StageSpec| stage.stage.varied(variation, &stage.config);
        if !matches!(variation, Variation::Question(_)) {
            let placed = |stage: &StageSpec| {
                let above = ["stages".to_owned(), stage.name.clone()];
                of_stage(stage).into_iter().map(move |(path, value)| (above.iter().cloned().chain(path).collect(), value))
            };
            return self.stages.iter().flat_map(placed).collect();
        }
        let table = |stage: &StageSpec| match of_stage(stage).pop() {
            Some((_, Value::Object(table))) => {
                let mut whole = Map::from_iter([("use".to_owned(), json!(stage.kind))]);
                whole.extend(table);
                Some(Value::Object(whole))
            }
            _ => None,
        };
        vec![(vec!["stages".to_owned()], self.stages.iter().filter_map(table).collect())]
    }

    /// What is in force: the file with `--set`, variables and defaults. Made to be recorded, so credentials are
    /// not in it: texts of providers and in `extra_body` show their variables by name.
    pub fn config(&self) -> &Value {
        &self.config
    }
}

/// What is right of a pipeline, beside the mistakes that reading it found.
#[derive(Debug)]
pub struct Draft {
    /// The pipeline; of the stages, those in front of the first that is wrong.
    pub pipeline: Pipeline,
    /// The mistakes found so far.
    pub mistakes: Vec<Diagnostic>,
    /// Whether the pipeline has all its stages.
    pub has_all_stages: bool,
    /// Whether the pipeline has its sink.
    pub has_sink: bool,
}

impl Draft {
    /// The pipeline, if it is right.
    ///
    /// # Errors
    /// The mistakes.
    pub fn into_pipeline(self) -> Result<Pipeline, Diagnostics> {
        if self.mistakes.is_empty() { Ok(self.pipeline) } else { Err(self.pipeline.diagnostics(self.mistakes)) }
    }
}

/// Takes what is right out of a checked document.
struct Reader<'r> {
    document: Document,
    found: Vec<Found>,
    registry: &'r Registry,
}

impl Reader<'_> {
    fn read(mut self) -> Result<Draft, Diagnostics> {
        let name = self.name();
        let max_dead_letters = self.document.get(&["max_dead_letters"]).and_then(|node| MaxDeadLetters::from_json(&node.to_json()));
        let source = self.table::<SourceSpec>(&["source"]);
        let sink = self.table::<SinkSpec>(&["sink"]);
        let state = match self.document.get(&["state"]) {
            Some(_) => self.table::<StateSpec>(&["state"]),
            None => Some(StateSpec::default()),
        };
        let models = self.tables::<ModelSpec>("models");
        let providers = self.tables::<ProviderSpec>("providers");
        self.check_providers_of_models();
        let (stages, has_all_stages) = self.stages();
        let mistakes: Vec<Diagnostic> = self.found.into_iter().map(|found| found.diagnostic).collect();
        let Some(source) = source else {
            return Err(sorted(&self.document.file, self.document.text.clone(), mistakes));
        };
        let has_sink = sink.is_some();
        let (sink, state) = (sink.unwrap_or_else(|| SinkSpec::at("")), state.unwrap_or_default());
        let mut pipeline = Pipeline {
            name,
            max_dead_letters: max_dead_letters.unwrap_or_default(),
            state,
            source,
            stages,
            sink,
            models,
            providers,
            blueprint: Arc::default(),
            config: Value::Null,
            document: self.document,
        };
        let declared = pipeline.stages.iter().map(|stage| stage.stage.declares()).collect();
        pipeline.blueprint = Arc::new(Blueprint::new(declared, &pipeline.models, &pipeline.providers));
        pipeline.config = recorded(&pipeline);
        Ok(Draft { pipeline, mistakes, has_all_stages, has_sink })
    }

    fn name(&mut self) -> String {
        if let Some(node) = self.document.get(&["name"]) {
            return node.as_str().unwrap_or_default().to_owned();
        }
        let stem = Path::new(&self.document.file).file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let stem = stem.unwrap_or_default();
        if is_name(&stem) {
            return stem;
        }
        let message = format!("`{}` cannot be a name: only letters, digits, `-`, `_` and `.` can", shown(&stem));
        let hint = format!("add `name = \"{}\"`", as_name(&stem));
        self.found.push(Found::new(&[], Origin::Whole, message).hint(Some(hint)));
        stem
    }

    /// Whether nothing is wrong at or below a path so far.
    fn is_right(&self, path: &[&str]) -> bool {
        !self.found.iter().any(|found| found.path.len() >= path.len() && found.path.iter().zip(path).all(|(a, b)| a == b))
    }

    fn report(&mut self, path: &[&str], mistake: Mistake) {
        let diagnostic = self.document.diagnostic(path, mistake);
        self.found.push(Found { path: path.iter().map(|part| (*part).to_owned()).collect(), diagnostic });
    }

    /// The table at a path, if it is there and right.
    fn table<T: DeserializeOwned>(&mut self, path: &[&str]) -> Option<T> {
        let json = self.document.get(path).filter(|_| self.is_right(path))?.to_json();
        match serde_path_to_error::deserialize(json) {
            Ok(table) => Some(table),
            Err(error) => {
                self.report(path, Mistake::new(dotted(error.path()), error.inner().to_string()));
                None
            }
        }
    }

    fn tables<T: DeserializeOwned>(&mut self, list: &str) -> BTreeMap<String, T> {
        let names: Vec<String> = keys(&self.document, list).map(ToOwned::to_owned).collect();
        names.into_iter().filter_map(|name| Some((name.clone(), self.table(&[list, &name])?))).collect()
    }

    fn check_providers_of_models(&mut self) {
        let mut mistakes = Vec::new();
        for model in keys(&self.document, "models") {
            let path = ["models", model, "provider"];
            let Some(provider) = self.document.get(&path).and_then(Node::as_str) else { continue };
            if !keys(&self.document, "providers").any(|known| known == provider) {
                let hint = match nearest(provider, keys(&self.document, "providers")) {
                    Some(known) => did_you_mean(known),
                    None => format!("add `[providers.{}]`", bare(provider)),
                };
                let message = format!("unknown provider `{}` in model `{}`", shown(provider), shown(model));
                mistakes.push((model.to_owned(), Mistake::new("provider", message).hint(Some(hint))));
            }
        }
        for (model, mistake) in mistakes {
            self.report(&["models", &model], mistake);
        }
    }

    /// The stages up to the first one that is wrong, and whether that is all of them.
    fn stages(&mut self) -> (Vec<StageSpec>, bool) {
        let count = self.document.get(&["stages"]).map_or(0, |list| list.items().len());
        let read: Vec<Option<StageSpec>> = (0..count).map(|index| self.stage(&["stages", &index.to_string()])).collect();
        let stages: Vec<StageSpec> = read.into_iter().map_while(|stage| stage).collect();
        let mut names: Vec<String> = Vec::new();
        for index in (0..count).map(|index| index.to_string()) {
            let Some(node) = self.document.get(&["stages", &index]) else { continue };
            let Some(name) = settings::stage_name(node).map(ToOwned::to_owned) else { continue };
            if names.contains(&name) {
                let (at, verb) = if node.field("name").is_some() { ("name", "write") } else { ("use", "add") };
                let free = (2..).map(|number| format!("{name}-{number}")).find(|free| !names.contains(free));
                let hint = free.map(|free| format!("{verb} `name = \"{free}\"`"));
                let message = format!("two stages are named `{}`", shown(&name));
                self.report(&["stages", &index], Mistake::new(at, message).hint(hint));
            }
            names.push(name);
        }
        let has_all = stages.len() == count;
        (stages, has_all)
    }

    fn stage(&mut self, path: &[&str]) -> Option<StageSpec> {
        let node = self.document.get(path).filter(|_| self.is_right(path))?;
        let name = settings::stage_name(node)?.to_owned();
        let kind = self.registry.stage(node.field("use")?.as_str()?)?;
        let mut config = node.to_json();
        if let Value::Object(table) = &mut config {
            table.shift_remove("use");
            table.shift_remove("name");
        }
        let stage = match kind.build(config.clone(), self.registry) {
            Ok(stage) => stage,
            Err(mistake) => {
                self.report(path, mistake);
                return None;
            }
        };
        let named = stage.declares().into_iter().filter_map(|declaration| match declaration {
            Declaration::Ask(ask) => Some(ask.models),
            _ => None,
        });
        for NamedModel { setting, name: model } in named.flatten() {
            if let Some(mistake) = self.unknown_model(&setting, &model, &name) {
                self.report(path, mistake);
            }
        }
        Some(StageSpec { name, kind: kind.name.to_owned(), stage, config })
    }

    fn unknown_model(&self, at: &str, model: &str, stage: &str) -> Option<Mistake> {
        let known = || keys(&self.document, "models").chain(self.registry.models.iter().map(|model| model.name));
        if known().any(|known| known == model) {
            return None;
        }
        let table = format!("`[models.{}]`", bare(model));
        let hint = match nearest(model, known()) {
            Some(known) => did_you_mean(known),
            None if known().next().is_none() => format!("add {table}"),
            None => format!("add {table}, or write {}", listed(known(), "or")),
        };
        let message = format!("unknown model `{}` in stage `{}`", shown(model), shown(stage));
        Some(Mistake::new(at, message).hint(Some(hint)))
    }
}

fn keys<'d>(document: &'d Document, table: &str) -> impl Iterator<Item = &'d str> {
    document.get(&[table]).into_iter().flat_map(Node::entries).map(|(key, _)| key.as_str())
}

/// A key as TOML writes it.
fn bare(key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|next| next.is_ascii_alphanumeric() || matches!(next, '-' | '_'));
    if bare { key.to_owned() } else { format!("\"{}\"", shown(key)) }
}

fn sorted(file: &str, text: Arc<str>, mut list: Vec<Diagnostic>) -> Diagnostics {
    list.sort_by_key(|diagnostic| match &diagnostic.origin {
        Origin::Whole => (0, 0),
        Origin::File(range) => (1, range.start),
        Origin::Set(_) => (2, 0),
    });
    list.dedup();
    Diagnostics { file: file.to_owned(), text, list }
}

/// The configuration for the run record: the typed tables for their defaults, and over them what the document
/// says, with the variables of texts that may carry credentials left as they are written.
fn recorded(pipeline: &Pipeline) -> Value {
    let stages: Vec<Value> = pipeline
        .stages
        .iter()
        .map(|stage| {
            let mut table = Map::new();
            table.insert("use".to_owned(), json!(stage.kind));
            table.insert("name".to_owned(), json!(stage.name));
            table.extend(stage.config.as_object().cloned().unwrap_or_default());
            Value::Object(table)
        })
        .collect();
    let written = |table: &str| pipeline.document.get(&[table]).map_or_else(|| json!({}), as_written);
    let mut providers = over(json(&pipeline.providers), written("providers"));
    for provider in providers.as_object_mut().into_iter().flat_map(Map::values_mut) {
        if let Some(Value::String(url)) = provider.get_mut("base_url") {
            *url = without_credentials(url);
        }
        for (name, value) in provider.get_mut("headers").and_then(Value::as_object_mut).into_iter().flatten() {
            if is_secret_header(name) && !value.as_str().is_some_and(|text| text.contains("${")) {
                *value = json!("***");
            }
        }
    }
    let mut models = json(&pipeline.models);
    for (name, model) in models.as_object_mut().into_iter().flatten() {
        if let Some(extra_body) = pipeline.document.get(&["models", name, "extra_body"]) {
            model["extra_body"] = as_written(extra_body);
        }
    }
    let mut config = json!({
        "name": pipeline.name,
        "max_dead_letters": pipeline.max_dead_letters,
        "state": json(&pipeline.state),
        "source": json(&pipeline.source),
        "stages": stages,
        "sink": json(&pipeline.sink),
        "models": models,
        "providers": providers,
    });
    drop_null(&mut config);
    config
}

fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// The tree as JSON, with its strings as they were before variables were filled in.
fn as_written(node: &Node) -> Value {
    match (&node.tree, &node.written) {
        (_, Some(written)) => json!(written),
        (Tree::List(items), _) => items.iter().map(as_written).collect(),
        (Tree::Table(entries), _) => entries.iter().map(|(key, node)| (key.clone(), as_written(node))).collect(),
        _ => node.to_json(),
    }
}

fn over(below: Value, above: Value) -> Value {
    match (below, above) {
        (Value::Object(mut below), Value::Object(above)) => {
            for (key, value) in above {
                let value = over(below.get_mut(&key).map(Value::take).unwrap_or_default(), value);
                below.insert(key, value);
            }
            Value::Object(below)
        }
        (_, above) => above,
    }
}

fn drop_null(value: &mut Value) {
    match value {
        Value::Object(table) => {
            table.retain(|_, value| !value.is_null());
            table.values_mut().for_each(drop_null);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_null),
        _ => {}
    }
}

fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    match host.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://***@{host}{path}"),
        None => url.to_owned(),
    }
}

fn is_secret_header(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["authorization", "key", "token", "secret", "cookie", "password"].iter().any(|word| name.contains(word))
}

/// The pipeline file beside a missing one that was most likely meant.
fn similar_file(path: &Path) -> Option<String> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let files = pipeline_files(folder);
    let wanted = path.file_name()?.to_string_lossy().into_owned();
    match nearest(&wanted, files.iter().map(String::as_str)) {
        Some(file) => Some(did_you_mean(&path.with_file_name(file).display().to_string())),
        None => Some("promptmill init".to_owned()),
    }
}

fn first_file(folder: &Path) -> Option<String> {
    pipeline_files(folder).first().map(|file| did_you_mean(&folder.join(file).display().to_string()))
}

fn pipeline_files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    files.retain(|file| file.ends_with(".toml"));
    files.sort();
    files
}

#[cfg(test)]
mod tests;
