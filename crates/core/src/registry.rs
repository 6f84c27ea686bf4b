//! Stages by name: an explicit list that is handed around. No globals, no link-time magic.

use std::sync::Arc;

use schemars::{Schema, SchemaGenerator};
use serde_json::Value;

use crate::{Mistake, ModelSpec, ProviderSpec, Quote, Stage, StageConfig};

/// A line of the registry: `StageKind::of::<Filter>()`.
#[derive(Clone, Copy, Debug)]
pub struct StageKind {
    /// The name after `use`.
    pub name: &'static str,
    /// The stage's table in TOML, without `use`.
    pub example: &'static str,
    schema: fn(&mut SchemaGenerator) -> Schema,
    build: fn(Value) -> Result<Arc<dyn Stage>, Mistake>,
}

impl StageKind {
    /// The line of the stage `S`.
    pub fn of<S: StageConfig>() -> Self {
        Self {
            name: S::NAME,
            example: S::EXAMPLE,
            schema: S::json_schema,
            build: |config| {
                let stage: S = serde_path_to_error::deserialize(config)
                    .map_err(|error| Mistake::new(dotted(error.path()), error.inner().to_string()))?;
                Ok(Arc::new(stage))
            },
        }
    }

    /// The JSON Schema of the stage's table, without `use` and `name`. Its description is the reference text.
    pub fn schema(&self) -> Schema {
        (self.schema)(&mut crate::pipeline::schema_generator())
    }

    /// The stage with these settings.
    ///
    /// # Errors
    /// The first setting that cannot be read.
    pub fn build(&self, config: Value) -> Result<Arc<dyn Stage>, Mistake> {
        (self.build)(config)
    }
}

/// The path of a setting as `rows.max` or `steps.3.pattern`.
pub(crate) fn dotted(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let parts: Vec<String> = path
        .iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(index.to_string()),
            Segment::Map { key } => Some(key.clone()),
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect();
    parts.join(".")
}

/// Everything that a pipeline file may name.
#[derive(Clone, Debug)]
pub struct Registry {
    /// The stages, in the order in which a list shows them.
    pub stages: Vec<StageKind>,
    /// The kinds of providers.
    pub provider_kinds: Vec<&'static str>,
    /// The models that need no provider.
    pub builtin_models: Vec<&'static str>,
    /// What a model's tokens cost at a provider, if that is known.
    pub price: fn(&ModelSpec, Option<&ProviderSpec>) -> Option<Quote>,
}

impl Default for Registry {
    fn default() -> Self {
        Self { stages: Vec::new(), provider_kinds: Vec::new(), builtin_models: Vec::new(), price: |_, _| None }
    }
}

impl Registry {
    /// The stage of this name.
    pub fn stage(&self, name: &str) -> Option<&StageKind> {
        self.stages.iter().find(|kind| kind.name == name)
    }
}
