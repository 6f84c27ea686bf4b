//! `filter` keeps the rows that meet an SQL predicate.
//!
//! The predicate belongs to DataFusion: the planner puts it into the plan in front of the stages, and from
//! there it is pushed into the Parquet scan. Nothing is left for the stage itself to do at run time.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use promptmill_core::{BatchStream, Declaration, Mistake, Place, Predicate, Stage, StageConfig, StageContext};
use schemars::JsonSchema;
use serde::Deserialize;

/// Keeps the rows for which an SQL predicate is true. It is pushed into the scan, so what it leaves out is
/// not even read where the file's statistics allow.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Filter {
    /// Any DataFusion SQL predicate over the source's columns.
    #[serde(rename = "where")]
    predicate: String,
}

impl StageConfig for Filter {
    const NAME: &'static str = "filter";
    const EXAMPLE: &'static str = r#"where = "body IS NOT NULL AND length(trim(body)) > 0""#;
}

impl Stage for Filter {
    fn schema(&self, input: &SchemaRef, _place: &Place) -> Result<SchemaRef, Vec<Mistake>> {
        Ok(Arc::clone(input))
    }

    fn run(self: Arc<Self>, input: BatchStream, _context: StageContext) -> BatchStream {
        input
    }

    fn declares(&self) -> Vec<Declaration> {
        vec![Declaration::Filter(Predicate { setting: "where", sql: self.predicate.clone() }), Declaration::Inert]
    }
}
