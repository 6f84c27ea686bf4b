//! The one plan node that carries every stage: DataFusion sees a node with a name, a stage author sees two
//! methods.
//!
//! A stage is opaque to the optimiser, so nothing is pushed through it; what SQL can do stands in front of
//! it. What a run lends to its stages travels beside the plan, in the session's extensions, and never in it.

mod kept;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, DFSchemaRef, internal_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, Partitioning, PlanProperties};
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};
use futures::{StreamExt, TryStreamExt};
use promptmill_core::{Error, ErrorKind, Place, Stage, StageContext};

pub(crate) use self::kept::Kept;

/// A stage in a plan.
#[derive(Clone, Debug)]
struct Placed {
    name: String,
    stage: Arc<dyn Stage>,
    place: Place,
    /// What it must pass on as it is.
    kept: Option<Kept>,
}

/// A stage that rows can be sent through.
#[derive(Debug)]
pub(crate) struct StageNode {
    placed: Arc<Placed>,
    output: SchemaRef,
}

impl StageNode {
    /// A stage at its place, out of which rows come with this schema.
    pub(crate) fn new(name: &str, stage: Arc<dyn Stage>, place: Place, output: SchemaRef, kept: Option<Kept>) -> Self {
        Self { placed: Arc::new(Placed { name: name.to_owned(), stage, place, kept }), output }
    }

    /// A plan that sends these rows through the stage.
    pub(crate) fn over(&self, input: LogicalPlan) -> Result<LogicalPlan> {
        let schema = Arc::new(DFSchema::try_from(Arc::clone(&self.output))?);
        let node = Node { placed: Arc::clone(&self.placed), input, schema };
        Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
    }
}

/// A stage in a logical plan.
#[derive(Clone, Debug)]
struct Node {
    placed: Arc<Placed>,
    input: LogicalPlan,
    schema: DFSchemaRef,
}

// A stage's identity is its place in the plan: its name is unique in the pipeline.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.placed.name == other.placed.name && self.input == other.input
    }
}

impl Eq for Node {}

impl PartialOrd for Node {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.placed.name.partial_cmp(&other.placed.name)
    }
}

impl Hash for Node {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.placed.name.hash(state);
        self.input.hash(state);
    }
}

impl UserDefinedLogicalNodeCore for Node {
    fn name(&self) -> &str {
        "Stage"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stage: {}", self.placed.name)
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        match inputs.pop() {
            Some(input) if inputs.is_empty() => Ok(Self { input, ..self.clone() }),
            _ => internal_err!("a stage has one input"),
        }
    }
}

/// Plans the stages, and leaves everything else to DataFusion.
#[derive(Debug)]
pub(crate) struct StageQueryPlanner;

#[async_trait]
impl QueryPlanner for StageQueryPlanner {
    async fn create_physical_plan(&self, plan: &LogicalPlan, state: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(StagePlanner)]).create_physical_plan(plan, state).await
    }
}

struct StagePlanner;

#[async_trait]
impl ExtensionPlanner for StagePlanner {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        _session: &dyn Session,
        _context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(node) = node.as_any().downcast_ref::<Node>() else { return Ok(None) };
        let [input] = physical_inputs else { return internal_err!("a stage has one input") };
        let schema = Arc::clone(node.schema.inner());
        Ok(Some(Arc::new(StageExec::new(Arc::clone(&node.placed), Arc::clone(input), schema))))
    }
}

/// A stage in a physical plan.
#[derive(Debug)]
struct StageExec {
    placed: Arc<Placed>,
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl StageExec {
    fn new(placed: Arc<Placed>, input: Arc<dyn ExecutionPlan>, schema: SchemaRef) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(input.properties().partitioning.partition_count()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { placed, input, properties: Arc::new(properties) }
    }
}

impl DisplayAs for StageExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StageExec: {}", self.placed.name)
    }
}

impl ExecutionPlan for StageExec {
    fn name(&self) -> &'static str {
        "StageExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    /// One partition feeds a lane well, since its work is waiting; and only in one do leftover rows of
    /// different requests meet and share the next one.
    fn required_input_distribution(&self) -> Vec<Distribution> {
        vec![Distribution::SinglePartition]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(&self, _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        match children.pop() {
            Some(input) if children.is_empty() => Ok(Arc::new(Self::new(Arc::clone(&self.placed), input, self.schema()))),
            _ => internal_err!("a stage has one input"),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let Some(lent) = context.session_config().get_extension::<StageContext>() else {
            return internal_err!("stage `{}` is executed outside a run", self.placed.name);
        };
        let Placed { name, stage, place, kept } = &*self.placed;
        let input = self.input.execute(partition, context)?.map_err(from_datafusion).boxed();
        let run = |input| Arc::clone(stage).run(input, lent.at(place));
        let output = match kept {
            Some(kept) => kept.clone().watch(name, Arc::clone(&lent.meter), input, run),
            None => run(input),
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), output.map_err(to_datafusion))))
    }
}

/// Our error through DataFusion's.
pub(crate) fn to_datafusion(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// Our error out of DataFusion's, wherever it is wrapped; any other as a failure.
pub(crate) fn from_datafusion(error: DataFusionError) -> Error {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(foreign) => Error::failed("the query failed").of(ErrorKind::Query).because(foreign),
        },
        DataFusionError::Context(_, inner) => from_datafusion(*inner),
        DataFusionError::Shared(shared) => match Arc::try_unwrap(shared) {
            Ok(inner) => from_datafusion(inner),
            Err(shared) => Error::failed(shared.to_string()).of(ErrorKind::Query),
        },
        other => Error::failed("the query failed").of(ErrorKind::Query).because(other),
    }
}
