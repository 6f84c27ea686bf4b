//! The way of the rows through the stages, as a plan over whichever rows go it: all of them, the first ones, or a few.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Column;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use promptmill_core::pipeline::StageSpec;
use promptmill_core::{Place, Result};

use crate::node::{Kept, StageNode, from_datafusion};

/// The steps, in their order.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    steps: Vec<Step>,
    /// The step that asks.
    asks_at: Option<usize>,
}

#[derive(Debug)]
enum Step {
    /// Rows go through a stage.
    Stage(StageNode),
    /// Only these columns go on.
    Columns(Vec<String>),
}

impl Flow {
    /// Rows go through a stage, out of which they come with this schema; `kept` is what it must pass on as it is.
    pub(super) fn through(&mut self, spec: &StageSpec, place: Place, output: SchemaRef, kept: Option<Kept>) {
        let stage = Arc::clone(&spec.stage);
        self.steps.push(Step::Stage(StageNode::new(&spec.name, stage, place, output, kept)));
    }

    /// Only these columns go on.
    pub(super) fn columns(&mut self, names: Vec<String>) {
        self.steps.push(Step::Columns(names));
    }

    /// The next step is the one that asks.
    pub(super) fn asks_next(&mut self) {
        self.asks_at = Some(self.steps.len());
    }

    /// These rows, through all the stages.
    pub(crate) fn answered(&self, rows: LogicalPlan) -> Result<LogicalPlan> {
        over(&self.steps, rows)
    }

    /// These rows, up to the question and no further.
    pub(crate) fn asked(&self, rows: LogicalPlan) -> Result<LogicalPlan> {
        over(&self.steps[..self.asks_at.unwrap_or(0)], rows)
    }
}

fn over(steps: &[Step], rows: LogicalPlan) -> Result<LogicalPlan> {
    let next = |rows: LogicalPlan, step: &Step| match step {
        Step::Stage(stage) => stage.over(rows),
        Step::Columns(names) => {
            let columns = names.iter().map(|name| Expr::Column(Column::from_name(name)));
            LogicalPlanBuilder::from(rows).project(columns.collect::<Vec<_>>()).and_then(LogicalPlanBuilder::build)
        }
    };
    steps.iter().try_fold(rows, next).map_err(from_datafusion)
}
