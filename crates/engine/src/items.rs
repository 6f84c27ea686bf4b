//! What a model is shown of some rows: rendered as a run would, and sent nowhere. For pages that set it beside the answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::AsArray;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{LogicalPlanBuilder, ident, lit};
use datafusion::physical_plan::execute_stream;
use futures::TryStreamExt;
use promptmill_core::{AnswerShape, Extensions, Meter, NothingAnswered, Pipeline, Registry, Result, StageContext, Stop, columns};

use crate::forecast::NoJournal;
use crate::identity::Order;
use crate::node::from_datafusion;
use crate::plan::{Plan, Purpose, session};

/// The items of these rows by key; rows that the source does not have, or that its filters leave out, are not in it.
///
/// # Errors
/// The pipeline's mistakes, or that its source cannot be read.
pub async fn items(pipeline: Arc<Pipeline>, registry: &Registry, keys: &[String]) -> Result<BTreeMap<String, String>> {
    let plan = Plan::new(&session(None), &pipeline, registry, Purpose::Looking).await?;
    let wanted = ident(columns::KEY).in_list(keys.iter().map(|key| lit(key.as_str())).collect(), false);
    let only = LogicalPlanBuilder::from(plan.rows.clone()).filter(wanted).and_then(LogicalPlanBuilder::build).map_err(from_datafusion)?;
    let asked = plan.asked.clone().transform_down(|node| {
        Ok(if node == plan.rows { Transformed::new(only.clone(), true, TreeNodeRecursion::Stop) } else { Transformed::no(node) })
    });
    let context = StageContext {
        question: plan.question(&pipeline, &Order::ByName).into(),
        pipeline: Arc::clone(&pipeline),
        run_id: "items".into(),
        answered: Arc::new(NothingAnswered),
        journal: Arc::new(NoJournal),
        asks: true,
        acceptance: Arc::new([]),
        budget: None,
        meter: Arc::new(Meter::default()),
        stop: Stop::default(),
        extensions: Arc::new(Extensions::default()),
    };
    let session = session(Some(context));
    plan.files.register(&session);
    let state = session.state();
    let physical = state.create_physical_plan(&asked.map_err(from_datafusion)?.data).await.map_err(from_datafusion)?;
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

/// The shape of the answers that a pipeline asks for.
pub fn answer_shape(pipeline: &Pipeline) -> Option<AnswerShape> {
    let declares = pipeline.stages.iter().map(|stage| stage.stage.declares());
    let mut shapes = declares.filter_map(|declares| serde_json::from_value(declares.question?.get("answer")?.clone()).ok());
    shapes.next()
}
