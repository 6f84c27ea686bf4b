//! A stage of one's own beside the built-in ones: `redact` blanks e-mail addresses before a model sees them.
//!
//! `cargo run -p promptmill-examples --example custom_stage`

#![expect(clippy::print_stdout, reason = "a program that talks to people")]

use std::sync::Arc;

use datafusion::arrow::array::{AsArray, RecordBatch, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use futures::{StreamExt, TryStreamExt};
use promptmill_core::{BatchStream, Declaration, Mistake, Place, Result, Stage, StageConfig, StageContext, StageKind};
use promptmill_engine::{Engine, RunOptions};
use schemars::JsonSchema;
use serde::Deserialize;

/// Replaces every e-mail address in a text column by `…@…`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Redact {
    /// The text column.
    column: String,
}

impl StageConfig for Redact {
    const NAME: &'static str = "redact";
    const EXAMPLE: &'static str = r#"column = "body""#;
}

impl Stage for Redact {
    fn schema(&self, input: &SchemaRef, _place: &Place) -> Result<SchemaRef, Vec<Mistake>> {
        match input.field_with_name(&self.column) {
            Ok(field) if field.data_type().is_string() => Ok(Arc::clone(input)),
            _ => Err(vec![Mistake::new("column", format!("there is no text column `{}`", self.column))]),
        }
    }

    fn run(self: Arc<Self>, input: BatchStream, _context: StageContext) -> BatchStream {
        input.and_then(move |batch| futures::future::ready(self.redacted(&batch))).boxed()
    }

    fn declares(&self) -> Vec<Declaration> {
        vec![Declaration::Reads(self.column.clone())]
    }
}

impl Redact {
    fn redacted(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let index = batch.schema().index_of(&self.column)?;
        let clean = |text: &str| text.split(' ').map(|word| if word.contains('@') { "…@…" } else { word }).collect::<Vec<_>>().join(" ");
        // Texts come as `Utf8`, `LargeUtf8` or `Utf8View`, as the writer of the source chose.
        let texts = cast(batch.column(index), &DataType::Utf8)?;
        let texts: StringArray = texts.as_string::<i32>().iter().map(|text| text.map(clean)).collect();
        let mut columns = batch.columns().to_vec();
        columns[index] = cast(&texts, batch.column(index).data_type())?;
        Ok(RecordBatch::try_new(batch.schema(), columns)?)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut registry = promptmill_stages::registry();
    registry.stages.push(StageKind::of::<Redact>());

    let folder = tempfile::tempdir()?;
    let shipped = std::fs::read_to_string("pipelines/motions.toml")?;
    let with_redact = shipped.replacen(
        "[[stages]]\nuse = \"prompt-pack\"",
        "[[stages]]\nuse = \"redact\"\ncolumn = \"body\"\n\n[[stages]]\nuse = \"prompt-pack\"",
        1,
    );
    let path = folder.path().join("motions.toml");
    std::fs::write(&path, with_redact)?;

    let settings = [format!("sink.path={}/motions", folder.path().display())];
    let engine = Engine::new(registry);
    let pipeline = Arc::new(engine.read(&path, &settings).await?);
    let ended = engine.run(pipeline, RunOptions::default()).wait().await?;
    println!("{:?}: {} answered through a stage of our own", ended.summary.status, ended.summary.rows.answered);
    Ok(())
}
