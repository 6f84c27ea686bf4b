//! What pipelines may name: explicit lists that are handed around, and that anybody may add to. No globals, no link-time magic.

use std::sync::Arc;

use schemars::{Schema, SchemaGenerator};
use serde_json::Value;

use crate::{BuiltinModel, Mistake, ModelSpec, ProviderKind, ProviderSpec, Quote, Stage, StageConfig, StepKind};

/// A line of the registry: `StageKind::of::<Filter>()`.
#[derive(Clone, Copy, Debug)]
pub struct StageKind {
    /// The name after `use`.
    pub name: &'static str,
    /// The stage's table in TOML, without `use`.
    pub example: &'static str,
    schema: fn(&mut SchemaGenerator, &Registry) -> Schema,
    build: Build,
}

/// Reads a stage's settings.
type Build = fn(Value, &Registry) -> Result<Arc<dyn Stage>, Mistake>;

impl StageKind {
    /// The line of the stage `S`.
    pub fn of<S: StageConfig>() -> Self {
        Self {
            name: S::NAME,
            example: S::EXAMPLE,
            schema: S::schema_among,
            build: |config, registry| {
                let stage: S = serde_path_to_error::deserialize(config)
                    .map_err(|error| Mistake::new(dotted(error.path()), error.inner().to_string()))?;
                Ok(Arc::new(stage.among(registry)))
            },
        }
    }

    /// The JSON Schema of the stage's table, without `use` and `name`. Its description is the reference text.
    pub fn schema(&self, registry: &Registry) -> Schema {
        (self.schema)(&mut crate::pipeline::schema_generator(), registry)
    }

    /// The stage with these settings, among what the registry lists.
    ///
    /// # Errors
    /// The first setting that cannot be read.
    pub fn build(&self, config: Value, registry: &Registry) -> Result<Arc<dyn Stage>, Mistake> {
        (self.build)(config, registry)
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
    /// The steps of `post-process`, in the order in which a list shows them.
    pub steps: Vec<StepKind>,
    /// The kinds of providers.
    pub providers: Vec<ProviderKind>,
    /// The models that need no table in the pipeline file.
    pub models: Vec<BuiltinModel>,
    /// What a model's tokens cost at a provider, if that is known.
    pub price: fn(&ModelSpec, Option<&ProviderSpec>) -> Option<Quote>,
}

impl Default for Registry {
    fn default() -> Self {
        Self { stages: Vec::new(), steps: Vec::new(), providers: Vec::new(), models: Vec::new(), price: |_, _| None }
    }
}

impl Registry {
    /// The step of this name.
    pub fn step(&self, name: &str) -> Option<&StepKind> {
        self.steps.iter().find(|kind| kind.name == name)
    }

    /// The model of this name that needs no table in the pipeline file.
    pub fn model(&self, name: &str) -> Option<&BuiltinModel> {
        self.models.iter().find(|model| model.name == name)
    }

    /// The stage of this name.
    pub fn stage(&self, name: &str) -> Option<&StageKind> {
        self.stages.iter().find(|kind| kind.name == name)
    }
}
