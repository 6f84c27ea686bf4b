//! `cost` sets what the pipeline may spend.
//!
//! The cap has to stop requests before they are sent, so it is lent to the `llm` stage in front, which sets
//! money aside for every request and writes each row's share of the real cost into `cost_usd`. The stage
//! itself lets the rows through.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use promptmill_core::{BatchStream, Declaration, Mistake, Money, Place, Stage, StageConfig, StageContext};
use schemars::JsonSchema;
use serde::Deserialize;

/// Sets what the pipeline may spend, and marks where cost is accounted: every row leaves with its share of
/// the requests that it was part of, failed ones included, exact to the nano-dollar.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cost {
    /// The most that the pipeline may spend over all its runs, in US dollars. Never exceeded, whatever is in
    /// flight: the worst case of a request is set aside before it is sent. Left out: no limit.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1e9))]
    budget_usd: Option<f64>,
}

impl StageConfig for Cost {
    const NAME: &'static str = "cost";
    const EXAMPLE: &'static str = "budget_usd = 5.00";
}

impl Stage for Cost {
    fn schema(&self, input: &SchemaRef, _place: &Place) -> Result<SchemaRef, Vec<Mistake>> {
        if input.column_with_name("cost_usd").is_none() {
            let mistake = Mistake::new("", "stage `cost` stands in front of `llm`, where nothing has cost anything yet");
            return Err(vec![mistake.hint(Some("move it behind the `llm` stage"))]);
        }
        Ok(Arc::clone(input))
    }

    fn run(self: Arc<Self>, input: BatchStream, _context: StageContext) -> BatchStream {
        input
    }

    fn declares(&self) -> Vec<Declaration> {
        let budget = self.budget_usd.and_then(Money::from_usd).map(Declaration::Budget);
        [Declaration::Inert].into_iter().chain(budget).collect()
    }
}
