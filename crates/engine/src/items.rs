//! What a model is shown of some rows: rendered as a run would, and sent nowhere. For pages that set it beside the answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::AsArray;
use datafusion::logical_expr::{LogicalPlanBuilder, ident, lit};
use datafusion::physical_plan::execute_stream;
use futures::TryStreamExt;
use promptmill_core::{NothingAnswered, Pipeline, Place, Registry, Result, RunContext, StageContext, Stop, columns};

use crate::identity::{self, Order};
use crate::node::from_datafusion;
use crate::plan::{Plan, Purpose, session};

/// The items of these rows by key; rows that the source does not have, or that its filters leave out, are not in it.
///
/// # Errors
/// The pipeline's mistakes, or that its source cannot be read.
pub(crate) async fn items(pipeline: Arc<Pipeline>, registry: &Registry, keys: &[String]) -> Result<BTreeMap<String, String>> {
    let plan = Plan::new(&session(None), &pipeline, registry, Purpose::Looking).await?;
    let wanted = ident(columns::KEY).in_list(keys.iter().map(|key| lit(key.as_str())).collect(), false);
    let only = LogicalPlanBuilder::from(plan.rows.clone()).filter(wanted).and_then(LogicalPlanBuilder::build).map_err(from_datafusion)?;
    let question = identity::text(&plan.blueprint, &Order::ByName);
    let context = StageContext {
        place: Place::alone(),
        run: Arc::new(RunContext::looking(question, Arc::new(NothingAnswered))),
        meter: Arc::default(),
        stop: Stop::default(),
        services: Arc::default(),
    };
    let session = session(Some(context));
    plan.files.register(&session);
    let state = session.state();
    let physical = state.create_physical_plan(&plan.flow.asked(only)?).await.map_err(from_datafusion)?;
    let mut stream = execute_stream(physical, state.task_ctx()).map_err(from_datafusion)?;
    let mut items = BTreeMap::new();
    while let Some(batch) = stream.try_next().await.map_err(from_datafusion)? {
        let text = |name: &str| batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
        if let (Some(keys), Some(texts)) = (text(columns::KEY), text(columns::ITEM)) {
            items.extend(keys.iter().zip(texts).filter_map(|(key, text)| Some((key?.to_owned(), text?.to_owned()))));
        }
    }
    Ok(items)
}
