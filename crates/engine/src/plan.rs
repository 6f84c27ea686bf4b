//! From a pipeline to a plan, with every mistake that the source brings to light.
//!
//! SQL does what SQL can: the scan, the predicates, the projection to the columns that somebody reads. Then
//! come the stages. Nothing here touches a model or writes a file.

pub(crate) mod names;
mod places;
mod unstorable;

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DataFusionError};
use datafusion::datasource::provider_as_source;
use datafusion::execution::{FunctionRegistry, SessionStateBuilder};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, ScalarUDF, cast, ident};
use datafusion::prelude::{SessionConfig, SessionContext};
use promptmill_core::pipeline::{Draft, SinkFormat};
use promptmill_core::{Declares, Diagnostic, Mistake, Pipeline, Registry, Result, StageContext, columns, meaning, nearest};

use promptmill_llm::cost_bound::{ENVELOPE_TOKENS, Grant, not_under_budget};
use promptmill_llm::goes_out_in_clear;

use crate::commit::CommitLog;
use crate::files::weight::BATCH_ROWS;
use crate::identity::Order;
use crate::instants::Instants;
use crate::key::{self, RowKey, can_be_key};
use crate::node::{StageNode, StageQueryPlanner, from_datafusion};
use crate::run::state_folder;
use crate::shape::{Found, Shape};
use crate::sink::{storable, storable_as_partition};
use crate::source::{self, SourceFiles, SourceSummary};
use crate::storage::Folder;
use crate::uuids::{UuidsAsTexts, as_meant};
use crate::zeros::BothZeros;

/// A pipeline whose every name has been found.
#[derive(Debug)]
pub struct Plan {
    /// The source, as it is.
    pub source: Arc<dyn TableProvider>,
    /// The source's files, as they are.
    pub(crate) files: SourceFiles,
    /// The rows that the stages see: key, and the columns that somebody reads.
    pub(crate) rows: LogicalPlan,
    /// The same, through all the stages.
    pub(crate) answered: LogicalPlan,
    /// The same, up to the question and no further.
    pub(crate) asked: LogicalPlan,
    /// What every stage says of itself, in order.
    pub(crate) declares: Vec<Declares>,
    /// The columns of the results, partitions last, in the order in which they are written.
    pub results: SchemaRef,
    /// The schema of the rows behind the last stage.
    pub(crate) output: SchemaRef,
}

/// What a plan is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Models will be asked: their keys have to be there, and their prices under a budget.
    Asking {
        /// Whether the command line sets a budget.
        has_budget: bool,
    },
    /// Only to look: whoever reads results needs no key.
    Looking,
}

/// A session for pipelines. What a run lends to its stages goes in here, not into the plan.
pub(crate) fn session(context: Option<StageContext>) -> SessionContext {
    let mut config = SessionConfig::new().with_batch_size(BATCH_ROWS).with_information_schema(true);
    // Rows are not dealt out to several parts of a query: the queues between have no bound while one is ahead, and rows may be large.
    config = config.with_round_robin_repartition(false);
    let options = config.options_mut();
    // A folder is everything below it, as for every other reader of folders.
    options.execution.listing_table_ignore_subdirectory = false;
    options.execution.parquet.schema_force_view_types = false;
    options.sql_parser.map_string_types_to_utf8view = false;
    if let Some(context) = context {
        config = config.with_extension(Arc::new(context));
    }
    let state = SessionStateBuilder::new().with_config(config).with_default_features().with_query_planner(Arc::new(StageQueryPlanner));
    let mut state = state.with_optimizer_rule(Arc::new(BothZeros)).build();
    for rewrite in [Arc::new(UuidsAsTexts) as Arc<dyn FunctionRewrite + Send + Sync>, Arc::new(Instants)] {
        if let Err(error) = state.register_function_rewrite(rewrite) {
            tracing::warn!(%error, "UUIDs or times are not compared as they are meant");
        }
    }
    let session = SessionContext::new_with_state(state);
    session.register_udf(ScalarUDF::from(RowKey::new()));
    session
}

/// The ids of the rows for which a predicate holds, in order.
#[cfg(test)]
pub(crate) async fn ids_where(session: &SessionContext, predicate: &str) -> String {
    let query = format!("SELECT coalesce(string_agg(id, ' ' ORDER BY id), '') FROM rows WHERE {predicate}");
    let found = session.sql(&query).await.expect(predicate).collect().await.expect(predicate);
    datafusion::arrow::util::display::array_value_to_string(found[0].column(0), 0).expect("a text")
}

impl Plan {
    /// Plans a pipeline, for a purpose.
    ///
    /// # Errors
    /// All its mistakes together.
    pub(crate) async fn new(session: &SessionContext, pipeline: &Pipeline, registry: &Registry, purpose: Purpose) -> Result<Self> {
        let declares: Vec<Declares> = pipeline.stages.iter().map(|stage| stage.stage.declares()).collect();
        let mut checker = Checker { pipeline, declares: &declares, list: Vec::new() };
        checker.stages();
        if let Purpose::Asking { has_budget } = purpose {
            checker.contexts();
            checker.providers(registry, has_budget);
        }
        // A state that cannot be opened is told of by whoever needs it.
        let state = state_folder(pipeline).ok();
        let source = source::open(session, &pipeline.source, state.as_ref()).await;
        let source = source.map_err(|mistake| checker.wrong(&["source"], mistake)).ok();
        let planned = match &source {
            // Who asks for a column that is no one type is not told besides that there is none.
            Some((source, files)) if checker.files(files) => checker.plan(session, source)?,
            _ => None,
        };
        match (source, planned) {
            (Some((source, files)), Some(Planned { rows, asked, answered, results, output })) if checker.list.is_empty() => {
                Ok(Self { source, files, rows, asked, answered, declares, results, output })
            }
            _ => Err(pipeline.diagnostics(checker.list).into()),
        }
    }

    /// What the source is made of.
    pub fn source_summary(&self) -> &SourceSummary {
        &self.files.summary
    }

    /// The budget that the stages declare.
    pub(crate) fn budget(&self) -> Option<promptmill_core::Money> {
        self.declares.iter().filter_map(|declares| declares.budget).min()
    }

    /// What is merged into the requests of each model that the stages name, in their order.
    pub(crate) fn bodies<'p>(&'p self, pipeline: &'p Pipeline) -> impl Iterator<Item = &'p serde_json::Map<String, serde_json::Value>> {
        let names = self.declares.iter().flat_map(|declares| &declares.models);
        names.filter_map(|(_, name)| Some(&pipeline.models.get(name)?.extra_body))
    }

    /// Everything that is part of the question, as one text: a change of it asks every row anew. The tests of this file
    /// hold it fast.
    pub(crate) fn question(&self, pipeline: &Pipeline, order: &Order<'_>) -> String {
        let mut bodies = 0..;
        let parts: Vec<serde_json::Value> = self
            .declares
            .iter()
            .filter(|declares| declares.question.is_some() || !declares.models.is_empty())
            .map(|declares| {
                // What a name stands for counts, not the name alone.
                let models: Vec<_> = declares
                    .models
                    .iter()
                    .map(|(_, name)| {
                        pipeline.models.get(name).map_or_else(
                            || serde_json::json!(name),
                            |spec| serde_json::json!([spec.model, order.of(bodies.next().unwrap_or(0), &spec.extra_body)]),
                        )
                    })
                    .collect();
                serde_json::json!([declares.question, models])
            })
            .collect();
        serde_json::Value::Array(parts).to_string()
    }

    /// What the results would look like if there were none yet.
    pub(crate) fn shape(&self, pipeline: &Pipeline) -> Shape {
        let shape = Shape::new(&pipeline.source.key, &pipeline.sink.partition_by, &self.results);
        Shape { prefix: pipeline.sink.prefix.clone(), ..shape }
    }

    /// What the results look like when this run goes on with those that are there.
    ///
    /// # Errors
    /// What has changed since in a way that would lose values, as mistakes of the pipeline.
    pub(crate) async fn shape_behind(
        &self,
        pipeline: &Pipeline,
        log: &CommitLog,
        state: &Folder,
        sink: &Folder,
        has_table: bool,
    ) -> Result<Shape> {
        let planned = self.shape(pipeline);
        let wrong = |refused: Vec<(&str, Mistake)>| {
            let list = refused.into_iter().map(|(table, mistake)| pipeline.diagnostic(&[table], mistake));
            Err(pipeline.diagnostics(list.collect()).into())
        };
        if has_table && pipeline.sink.format == SinkFormat::Parquet {
            let message = format!("sink `{sink}` is a Delta table, and its log would no longer say what is in it");
            let mistake = Mistake::new("format", message).hint(Some("keep `format = \"delta\"`, or choose another `sink.path`"));
            return wrong(vec![("sink", mistake)]);
        }
        let Some(found) = Found::of(log, log.results(), state, sink, Some(&planned)).await? else { return Ok(planned) };
        let refused = found.refusals();
        if !refused.is_empty() {
            return wrong(refused);
        }
        let source = self.source.schema();
        let is_of_source = |name: &str| source.field_with_name(name).is_ok();
        found.shape.with(&planned, pipeline.sink.format, &is_of_source).or_else(wrong)
    }

    /// A failure of a query; if a file of the source is to blame, with its name.
    pub(crate) async fn blame(&self, error: promptmill_core::Error) -> promptmill_core::Error {
        let is_of_query = matches!(&error, promptmill_core::Error::Failed(failure)
            if failure.source.as_ref().is_some_and(|source| source.is::<DataFusionError>()));
        if is_of_query { self.files.blame(error, true).await } else { error }
    }

    /// Whether the source still is what it was when the plan was made.
    ///
    /// # Errors
    /// If one of its files has changed, has gone or has come.
    pub(crate) async fn unchanged(&self) -> Result<()> {
        self.files.unchanged().await
    }
}

struct Planned {
    rows: LogicalPlan,
    asked: LogicalPlan,
    answered: LogicalPlan,
    results: SchemaRef,
    output: SchemaRef,
}

struct Checker<'a> {
    pipeline: &'a Pipeline,
    declares: &'a [Declares],
    list: Vec<Diagnostic>,
}

impl Checker<'_> {
    fn wrong(&mut self, path: &[&str], mistake: Mistake) {
        self.list.push(self.pipeline.diagnostic(path, mistake));
    }

    fn stage_wrong(&mut self, index: usize, mistake: Mistake) {
        self.wrong(&["stages", &index.to_string()], mistake);
    }

    /// The order of the stages.
    fn stages(&mut self) {
        let asking: Vec<usize> = (0..self.declares.len()).filter(|index| !self.declares[*index].models.is_empty()).collect();
        match asking.as_slice() {
            [] => {
                let mistake = Mistake::new("", "no stage asks a model").hint(Some("add a stage with `use = \"llm\"`"));
                self.wrong(&["stages"], mistake);
            }
            [first, rest @ ..] => {
                for index in rest {
                    let mistake = Mistake::new("", "a second stage asks a model; a pipeline has one")
                        .hint(Some("run two pipelines, the second with the first one's results as its source"));
                    self.stage_wrong(*index, mistake);
                }
                for index in *first..self.declares.len() {
                    if self.declares[index].predicate.is_some() {
                        let mistake = Mistake::new("", "a filter behind `llm` would drop rows that have been paid for")
                            .hint(Some("move it in front of `llm`, or filter the results with `promptmill sql`"));
                        self.stage_wrong(index, mistake);
                    }
                }
            }
        }
    }

    /// The models whose context has no room for the answer about a single row, let alone for what is asked.
    fn contexts(&mut self) {
        let mut wrong = Vec::new();
        for declares in self.declares {
            let Some(answer) = declares.of_requests.get("max_tokens_per_row").and_then(serde_json::Value::as_u64) else { continue };
            for (_, name) in &declares.models {
                let Some((spec, context)) = self.pipeline.models.get(name).and_then(|spec| Some((spec, spec.context?))) else { continue };
                // What bounds nothing ends at the context.
                let Ok(grant) = Grant::of(&spec.extra_body, None) else { continue };
                let granted = grant.of_one_answer(answer + ENVELOPE_TOKENS as u64);
                if granted >= u64::from(context) {
                    let message =
                        format!("a context of {context} tokens has no room for a request: the answer about one row may have {granted}");
                    let hint = format!(
                        "write the context that the model has, or lower `max_tokens_per_row`: {ENVELOPE_TOKENS} tokens are added to it"
                    );
                    wrong.push((name.clone(), Mistake::new("context", message).hint(Some(hint))));
                }
            }
        }
        wrong.into_iter().for_each(|(name, mistake)| self.wrong(&["models", &name], mistake));
    }

    /// The models that are used: keys that are there, prices where a budget needs them.
    fn providers(&mut self, registry: &Registry, has_budget: bool) {
        let has_budget = has_budget || self.declares.iter().any(|declares| declares.budget.is_some());
        let used: BTreeSet<&String> = self.declares.iter().flat_map(|declares| &declares.models).map(|(_, name)| name).collect();
        let mut checked = BTreeSet::new();
        for name in used {
            let Some(spec) = self.pipeline.models.get(name) else { continue };
            if has_budget {
                let quote = (registry.price)(spec, self.pipeline.providers.get(&spec.provider));
                if quote.is_none() {
                    let mistake = Mistake::new("", format!("model `{name}` has no known price, and a budget cannot be kept without one"))
                        .hint(Some("add `price = { input = …, output = … }`, in US dollars per million tokens"));
                    self.wrong(&["models", name], mistake);
                } else if let Some(why) = not_under_budget(quote.as_ref().map(|quote| &quote.price), &spec.extra_body, spec.context) {
                    let mistake = Mistake::new("extra_body", format!("model `{name}` cannot be asked under a budget: {why}"))
                        .hint(Some("write a limit that is a number, or a price that has the fee (`request = …`); or run without a budget"));
                    self.wrong(&["models", name], mistake);
                }
            }
            let Some(provider) = self.pipeline.providers.get(&spec.provider) else { continue };
            if !checked.insert(&spec.provider) {
                continue;
            }
            if goes_out_in_clear(&provider.base_url) && !provider.allow_http {
                let mistake = Mistake::new("base_url", format!("provider `{}` would be sent rows and key in clear", spec.provider))
                    .hint(Some("write `https://`; or, on a network that you trust, add `allow_http = true`"));
                self.wrong(&["providers", &spec.provider], mistake);
            }
            let Some(variable) = &provider.api_key_env else { continue };
            if std::env::var_os(variable).is_none_or(|value| value.is_empty()) {
                let mistake = Mistake::new("api_key_env", format!("the environment variable `{variable}` is not set"))
                    .hint(Some(format!("export {variable}=…")));
                self.wrong(&["providers", &spec.provider], mistake);
            }
        }
    }

    /// What is wrong with the source's files as this pipeline uses them.
    fn files(&mut self, files: &SourceFiles) -> bool {
        let before = self.list.len();
        if let Some(path) = Folder::open(&self.pipeline.sink.path).ok().and_then(|sink| files.holding(&sink)) {
            let message =
                format!("the results would lie in the source: `{path}` holds everything below it, from the next run on also these");
            let hint = "choose a `sink.path` beside the source, or a glob for the source that leaves it out";
            self.wrong(&["sink"], Mistake::new("path", message).hint(Some(hint)));
        }
        let sink = &self.pipeline.sink;
        if let (Ok(state), Ok(results)) = (state_folder(self.pipeline), Folder::open(&sink.path))
            && let Some(mistake) = places::nested(&state, &results, sink.format)
        {
            self.wrong(&["sink"], mistake);
        }
        for (column, words) in &files.conflicts {
            if self.is_read(column) {
                let hint = "write the files with another type, one for all; or leave the column out with `sink.columns`, where nothing else reads it";
                self.wrong(&["source"], Mistake::new("path", words.clone()).hint(Some(hint)));
            }
        }
        self.list.len() == before
    }

    /// Whether a column of the source is used, as far as that is known without its type; rather yes than no.
    fn is_read(&self, column: &str) -> bool {
        let sink = &self.pipeline.sink;
        let is_kept = sink.columns.as_ref().is_none_or(|columns| columns.iter().any(|kept| kept == column));
        let is_partition = sink.partition_by.iter().any(|partition| partition == column);
        let is_named = self.declares.iter().any(|declares| {
            let in_predicate = declares.predicate.as_ref().is_some_and(|(_, sql)| sql.to_lowercase().contains(&column.to_lowercase()));
            in_predicate || declares.reads.contains(column)
        });
        is_kept || is_partition || is_named || self.pipeline.source.key.has(column)
    }

    /// Scan, predicates, projection, stages, sink.
    fn plan(&mut self, session: &SessionContext, source: &Arc<dyn TableProvider>) -> Result<Option<Planned>> {
        let schema = source.schema();
        let known: Vec<&str> = source::visible(&schema).into_iter().filter(|name| !columns::ACCOUNTING.contains(name)).collect();
        let builder = self.filtered(session, source)?;
        let results = self.through_stages(&schema).and_then(|output| self.results(&schema, &output));
        let Some(results) = results.filter(|_| self.list.is_empty()) else { return Ok(None) };
        let wanted = self.wanted(&schema, &results);
        let carried = |name: &&str| {
            let given = schema.field_with_name(name).map_or(DataType::Null, |field| field.data_type().clone());
            let (aside, plain) = (names::among_stages(name), self.plain(name, &given));
            let column = if plain == given { ident(*name) } else { cast(ident(*name), plain).alias(*name) };
            if aside == **name { column } else { column.alias(aside) }
        };
        let projection = wanted.iter().map(carried).chain([key::expr(&self.pipeline.source.key, &schema).alias(columns::KEY)]);
        let unstorable = unstorable::expr(&self.pipeline.sink, &schema, &results);
        let projection = projection.chain(unstorable.map(|why| why.alias(columns::UNSTORABLE)));
        let rows = builder.project(projection.collect::<Vec<Expr>>()).and_then(LogicalPlanBuilder::build).map_err(from_datafusion)?;
        let (mut plan, mut asked) = (rows.clone(), rows.clone());
        let mut emitted = Arc::new(plan.schema().as_arrow().clone());
        for (index, stage) in self.pipeline.stages.iter().enumerate() {
            if self.declares[index].predicate.is_some() {
                continue;
            }
            if !self.declares[index].models.is_empty() {
                asked = plan.clone();
            }
            match stage.stage.schema(&emitted) {
                Ok(schema) => {
                    plan = StageNode::plan(&stage.name, Arc::clone(&stage.stage), plan, &schema).map_err(from_datafusion)?;
                    emitted = schema;
                }
                Err(mistakes) => mistakes.into_iter().for_each(|mistake| self.stage_wrong(index, mistake)),
            }
            // What only the question needed has done its work once the question is made.
            let later: BTreeSet<&String> = self.declares[index + 1..].iter().flat_map(|declares| &declares.reads).collect();
            let keep: Vec<&str> = emitted
                .fields()
                .iter()
                .map(|field| field.name().as_str())
                .filter(|name| {
                    name.starts_with("__")
                        || results.field_with_name(name).is_ok()
                        || later.contains(&(*name).to_owned())
                        || !known.contains(name)
                })
                .collect();
            if keep.len() < emitted.fields().len() {
                let expressions = keep.iter().map(|name| Expr::Column(Column::from_name(*name)));
                plan = LogicalPlanBuilder::from(plan)
                    .project(expressions.collect::<Vec<_>>())
                    .and_then(LogicalPlanBuilder::build)
                    .map_err(from_datafusion)?;
                let metadata = emitted.metadata().clone();
                emitted = Arc::new(plan.schema().as_arrow().clone().with_metadata(metadata));
            }
        }
        Ok(Some(Planned { rows, asked, answered: plan, results, output: emitted }))
    }

    /// The source with the predicates in front of it, as far as they are right.
    fn filtered(&mut self, session: &SessionContext, source: &Arc<dyn TableProvider>) -> Result<LogicalPlanBuilder> {
        let schema = source.schema();
        let known: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        for name in known.iter().filter(|name| names::is_taken(name)) {
            let mistake = Mistake::new("path", format!("the source has a column `{name}`, a name that is promptmill's own"));
            self.wrong(&["source"], mistake.hint(Some("rename it in the source")));
        }
        let key = &self.pipeline.source.key;
        for (index, name) in key.columns().iter().enumerate() {
            let at = if key.is_composite() { format!("key.{index}") } else { "key".to_owned() };
            match schema.field_with_name(name) {
                Err(_) => self.wrong(&["source"], unknown_column(&at, name, &known)),
                Ok(field) if !can_be_key(field) => {
                    let what = source::name_of(field.data_type());
                    let mistake = Mistake::new(at, format!("the key column `{name}` is {what}, which is no text"));
                    self.wrong(&["source"], mistake.hint(Some("choose another key, or cast it to a text in the source")));
                }
                Ok(_) => {}
            }
        }
        let mut builder = LogicalPlanBuilder::scan("source", provider_as_source(Arc::clone(source)), None).map_err(from_datafusion)?;
        let columns = DFSchema::try_from_qualified_schema("source", &schema).map_err(from_datafusion)?;
        for (index, declares) in self.declares.iter().enumerate() {
            let Some((at, predicate)) = &declares.predicate else { continue };
            let parsed = session.parse_sql_expr(predicate, &columns).and_then(|expr| {
                let expr = as_meant(expr, &columns)?;
                Ok((unfit(at, &expr), builder.clone().filter(expr.clone())?, expr))
            });
            match parsed {
                Ok((None, filtered, expr)) => match session.create_physical_expr(expr, &columns) {
                    Ok(_) => builder = filtered,
                    // Types that cannot be compared.
                    Err(error) => self.stage_wrong(index, sql_mistake(at, predicate, &error, &known)),
                },
                Ok((Some(mistake), ..)) => self.stage_wrong(index, mistake),
                Err(error) => self.stage_wrong(index, sql_mistake(at, predicate, &error, &known)),
            }
        }
        Ok(builder)
    }

    /// The schema behind the last stage if every source column travels along.
    fn through_stages(&mut self, source: &SchemaRef) -> Option<SchemaRef> {
        let carried = source.fields().iter().filter(|field| self.travels(field.name()));
        let plain = |field: &Arc<Field>| {
            let data_type = self.plain(field.name(), field.data_type());
            Arc::new(names::plain_field(field).with_data_type(data_type).with_name(names::among_stages(field.name())))
        };
        let mut fields: Vec<_> = carried.map(plain).collect();
        fields.push(Arc::new(Field::new(columns::KEY, DataType::Utf8, true)));
        let mut schema = Arc::new(Schema::new(fields));
        for (index, stage) in self.pipeline.stages.iter().enumerate() {
            match stage.stage.schema(&schema) {
                Ok(output) => schema = output,
                Err(mistakes) => {
                    mistakes.into_iter().for_each(|mistake| self.stage_wrong(index, mistake));
                    return None;
                }
            }
        }
        Some(schema)
    }

    /// The schema of the results: the sink's choice of what comes out behind the last stage.
    fn results(&mut self, source: &SchemaRef, output: &SchemaRef) -> Option<SchemaRef> {
        let sink = &self.pipeline.sink;
        let output = &names::of_results(output, &sink.prefix);
        let known: Vec<&str> = output.fields().iter().map(|field| field.name().as_str()).collect();
        let mut bad = Vec::new();
        for (index, name) in sink.partition_by.iter().enumerate().filter(|(_, name)| !known.contains(&name.as_str())) {
            bad.push(unknown_column(&format!("partition_by.{index}"), name, &known));
        }
        for (index, name) in sink.columns.iter().flatten().enumerate().filter(|(_, name)| !known.contains(&name.as_str())) {
            bad.push(unknown_column(&format!("columns.{index}"), name, &known));
        }
        let key = &self.pipeline.source.key;
        let is_left_out = |name: &&String| sink.columns.as_ref().is_some_and(|columns| !columns.contains(name));
        for name in key.columns().iter().filter(|name| source.field_with_name(name).is_ok()).filter(is_left_out) {
            bad.push(Mistake::new("columns", format!("`columns` leaves out the key `{name}`")).hint(Some(format!("add \"{name}\""))));
        }
        let of_source: Vec<&str> = source.fields().iter().map(|field| field.name().as_str()).collect();
        let is_to_be_kept = |name: &&str| sink.columns.as_ref().is_none_or(|columns| columns.iter().any(|column| column == name));
        bad.extend(names::clash(&of_source.iter().copied().filter(is_to_be_kept).collect::<Vec<_>>(), key, &sink.prefix));
        for (index, name) in sink.partition_by.iter().enumerate() {
            let data_type = output.field_with_name(name).ok().map(Field::data_type);
            if let Some(data_type) = data_type.filter(|data_type| sink.format == SinkFormat::Parquet && !names::can_be_folders(data_type)) {
                let message = format!("column `{name}` is {}, and its values cannot be names of folders", source::name_of(data_type));
                let hint = "partition by a text, a number or a date; or cast it in the source";
                bad.push(Mistake::new(format!("partition_by.{index}"), message).hint(Some(hint)));
            }
        }
        if !bad.is_empty() {
            bad.into_iter().for_each(|mistake| self.wrong(&["sink"], mistake));
            return None;
        }
        if sink.format == SinkFormat::Delta {
            bad.extend(names::alike(&known));
        }
        if !bad.is_empty() {
            bad.into_iter().for_each(|mistake| self.wrong(&["sink"], mistake));
            return None;
        }
        let source_columns: Vec<&str> = of_source.into_iter().filter(|name| self.travels(name)).collect();
        let chosen = |name: &str| match &sink.columns {
            // Columns that promptmill adds are always there: they carry the money.
            Some(columns) => columns.iter().any(|column| column == name) || (!source_columns.contains(&name) && !is_answer(output, name)),
            None => true,
        };
        let is_partition = |name: &str| sink.partition_by.iter().any(|partition| partition == name);
        let named: Vec<&str> = match &sink.columns {
            Some(columns) => columns
                .iter()
                .map(String::as_str)
                .chain(known.iter().copied().filter(|name| !columns.iter().any(|column| column == name)))
                .collect(),
            None => known.clone(),
        };
        let plain = named.into_iter().filter(|name| chosen(name) && !is_partition(name));
        let order: Vec<&str> = plain.chain(sink.partition_by.iter().map(String::as_str)).collect();
        let mut fields: Vec<_> = order
            .iter()
            .filter_map(|name| output.field_with_name(name).ok())
            .map(|field| field.clone().with_metadata(meant(field)))
            .collect();
        if sink.format == SinkFormat::Delta {
            for field in &mut fields {
                let place = if is_partition(field.name()) { "partition_by" } else { "format" };
                // A table has no UUIDs: they are texts there.
                let texts = meaning::with_texts(field);
                let stored =
                    if is_partition(field.name()) { storable_as_partition(texts.data_type()) } else { storable(texts.data_type()) };
                match stored {
                    Some(stored) => *field = texts.with_data_type(stored),
                    None => bad.push(
                        Mistake::new(
                            place,
                            format!("column `{}` is {}, which a Delta table cannot hold here", field.name(), field.data_type()),
                        )
                        .hint(Some("leave it out with `columns`, or cast it in the source")),
                    ),
                }
            }
        }
        bad.extend(fields.iter().filter_map(names::not_held));
        if !bad.is_empty() {
            bad.into_iter().for_each(|mistake| self.wrong(&["sink"], mistake));
            return None;
        }
        Some(Arc::new(Schema::new(fields)))
    }

    /// The type of a column of the source among the stages. A key has one of which the text is that of the source: rows are
    /// known by it.
    fn plain(&self, name: &str, given: &DataType) -> DataType {
        match given {
            DataType::Date64 if self.pipeline.source.key.has(name) => DataType::Timestamp(TimeUnit::Millisecond, None),
            given => names::plain(given),
        }
    }

    /// Whether a column of the source goes through the stages. Without a prefix those of our names stay behind.
    fn travels(&self, name: &str) -> bool {
        !self.pipeline.sink.prefix.is_empty() || !columns::ACCOUNTING.contains(&name)
    }

    /// The source's columns that a stage or the sink reads.
    fn wanted<'s>(&self, source: &'s SchemaRef, results: &SchemaRef) -> Vec<&'s str> {
        let read: BTreeSet<&String> = self.declares.iter().flat_map(|declares| &declares.reads).collect();
        let is_wanted = |name: &str| {
            self.travels(name)
                && (read.contains(&name.to_owned()) || results.field_with_name(name).is_ok() || self.pipeline.source.key.has(name))
        };
        source.fields().iter().map(|field| field.name().as_str()).filter(|name| is_wanted(name)).collect()
    }
}

/// What the metadata of a column says of its values: that they are UUIDs, or JSON.
fn meant(field: &Field) -> HashMap<String, String> {
    field
        .metadata()
        .iter()
        .filter(|(name, _)| name.starts_with("ARROW:extension:"))
        .map(|(name, what)| (name.clone(), what.clone()))
        .collect()
}

fn is_answer(schema: &SchemaRef, name: &str) -> bool {
    schema.field_with_name(name).is_ok_and(|field| field.metadata().contains_key(columns::ANSWER))
}

fn unknown_column(at: &str, name: &str, known: &[&str]) -> Mistake {
    let hint = nearest(name, known.iter().copied())
        .map_or_else(|| format!("known columns: {}", known.join(", ")), |near| format!("did you mean `{near}`?"));
    Mistake::new(at, format!("there is no column `{name}`")).hint(Some(hint))
}

/// What a predicate may not hold, though it is SQL: it says of one row, always the same, whether it is kept.
fn unfit(at: &str, predicate: &Expr) -> Option<Mistake> {
    let mut found = None;
    let looked = predicate.apply(|expr| {
        found = match expr {
            Expr::AggregateFunction(function) => Some((format!("the aggregate `{}`", function.func.name()), ONE_ROW)),
            Expr::WindowFunction(function) => Some((format!("the window function `{}`", function.fun), ONE_ROW)),
            Expr::Placeholder(placeholder) => Some((format!("the parameter `{}`", placeholder.id), "write its value")),
            Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_) => {
                Some(("a query of its own".to_owned(), ONE_ROW))
            }
            Expr::ScalarFunction(function) if expr.is_volatile_node() => Some((
                format!("`{}()`, which says something else each time it is asked", function.func.name()),
                "for a sample take a condition on the key that stays what it is, such as `substr(md5(id), 1, 1) = '0'`",
            )),
            _ => return Ok(TreeNodeRecursion::Continue),
        };
        Ok(TreeNodeRecursion::Stop)
    });
    looked.ok()?;
    found.map(|(what, hint)| Mistake::new(at, format!("`{at}` has {what}")).hint(Some(hint)))
}

const ONE_ROW: &str = "a filter sees one row at a time; make a column of it in the source";

/// What DataFusion says of a predicate, in our words and at its place.
fn sql_mistake(at: &str, predicate: &str, error: &DataFusionError, known: &[&str]) -> Mistake {
    let root = error.find_root();
    if let DataFusionError::SchemaError(inner, _) = root
        && let datafusion::common::SchemaError::FieldNotFound { field, .. } = inner.as_ref()
    {
        let place = predicate.to_lowercase().find(&field.name.to_lowercase()).map(|start| start..start + field.name.len());
        return unknown_column(at, &field.name, known).range(place);
    }
    let message = root.strip_backtrace();
    let message = message.lines().next().unwrap_or_default();
    let short = ["SQL error: ParserError(\"", "Error during planning: ", "This feature is not implemented: "]
        .iter()
        .find_map(|prefix| message.strip_prefix(prefix))
        .unwrap_or(message)
        .trim_end_matches("\")");
    // The parser counts characters of the predicate's own lines.
    let place = short.rsplit_once(" at Line: ").and_then(|(_, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        let (line, column): (usize, usize) = (line.trim().parse().ok()?, column.trim().parse().ok()?);
        let line_start: usize = predicate.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum();
        let start =
            predicate[line_start..].char_indices().nth(column.checked_sub(1)?).map_or(predicate.len(), |(offset, _)| line_start + offset);
        Some(start..predicate.len().min(start + 1).max(start))
    });
    let short = short.rsplit_once(" at Line: ").map_or(short, |(message, _)| message);
    Mistake::new(at, format!("`{at}` is not a valid SQL predicate: {short}"))
        .range(place)
        .hint(Some("any DataFusion SQL expression that is true or false, such as `length(body) > 0`"))
}

/// The physical plan of a pipeline, as text.
///
/// # Errors
/// The pipeline's mistakes, or that no plan can be made.
pub async fn explain(pipeline: &Pipeline, registry: &Registry) -> Result<String> {
    let session = session(None);
    let plan = Plan::new(&session, pipeline, registry, Purpose::Looking).await?;
    let physical = session.state().create_physical_plan(&plan.answered).await.map_err(from_datafusion)?;
    Ok(datafusion::physical_plan::displayable(physical.as_ref()).indent(false).to_string())
}

/// Reads a pipeline file. One with mistakes is held against its source as far as it is right, so that whoever
/// mends it hears of all of them at once.
///
/// # Errors
/// All its mistakes together, or that it cannot be read.
pub async fn read(path: &Path, settings: &[String], registry: &Registry) -> Result<Pipeline> {
    let draft = Pipeline::read_draft(path, settings, registry)?;
    if draft.mistakes.is_empty() {
        return Ok(draft.into_pipeline()?);
    }
    let Draft { pipeline, mistakes, has_all_stages, has_sink } = draft;
    let declares: Vec<Declares> = pipeline.stages.iter().map(|stage| stage.stage.declares()).collect();
    let mut checker = Checker { pipeline: &pipeline, declares: &declares, list: mistakes };
    let session = session(None);
    match source::open(&session, &pipeline.source, None).await {
        Ok((source, files)) if checker.files(&files) => {
            checker.filtered(&session, &source)?;
            let schema = source.schema();
            let output = checker.through_stages(&schema);
            if let Some(output) = output.filter(|_| has_all_stages && has_sink) {
                checker.results(&schema, &output);
            }
        }
        Ok(_) => {}
        Err(mistake) => checker.wrong(&["source"], mistake),
    }
    Err(pipeline.diagnostics(checker.list).into())
}

/// Checks a pipeline against its source, without sending or writing anything; but for what the footers of many files said, which
/// the state keeps for the next time.
///
/// # Errors
/// All its mistakes together.
pub async fn check(pipeline: &Pipeline, registry: &Registry) -> Result<Plan> {
    Plan::new(&session(None), pipeline, registry, Purpose::Asking { has_budget: false }).await
}
