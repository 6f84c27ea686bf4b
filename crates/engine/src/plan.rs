//! From a pipeline to a plan, with every mistake that the source brings to light.
//!
//! SQL does what SQL can: the scan, the predicates, the projection to the columns that somebody reads. Then
//! come the stages. Nothing here touches a model or writes a file.

mod flow;
pub(crate) mod names;
mod places;
mod unstorable;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::datasource::provider_as_source;
use datafusion::execution::{FunctionRegistry, SessionStateBuilder};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, ScalarUDF, cast, ident};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{CastExpr, Literal};
use datafusion::prelude::{SessionConfig, SessionContext};
use promptmill_core::pipeline::{Draft, SinkFormat};
use promptmill_core::{
    AskedModel, Blueprint, Diagnostic, Mistake, Pipeline, Predicate, Registry, Result, StageContext, columns, meaning, nearest,
};

use promptmill_llm::cost_bound::{ENVELOPE_TOKENS, Grant, not_under_budget};
use promptmill_llm::goes_out_in_clear;

pub(crate) use self::flow::Flow;
use crate::commit::CommitLog;
use crate::files::weight::BATCH_ROWS;
use crate::instants::{self, Instants, Micros};
use crate::key::{self, RowKey, can_be_key};
use crate::node::{Kept, StageQueryPlanner, from_datafusion};
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
    /// Their way through the stages.
    pub(crate) flow: Flow,
    /// What the stages declare.
    pub(crate) blueprint: Arc<Blueprint>,
    /// The columns of the results, partitions last, in the order in which they are written.
    pub results: SchemaRef,
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
    let mut state = state.with_optimizer_rule(Arc::new(BothZeros)).with_type_planner(Arc::new(Micros)).build();
    for rewrite in [Arc::new(UuidsAsTexts) as Arc<dyn FunctionRewrite + Send + Sync>, Arc::new(Instants)] {
        if let Err(error) = state.register_function_rewrite(rewrite) {
            tracing::warn!(%error, "UUIDs or times are not compared as they are meant");
        }
    }
    let session = SessionContext::new_with_state(state);
    session.register_udf(ScalarUDF::from(RowKey::new()));
    instants::functions().into_iter().for_each(|function| session.register_udf(function));
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
        let mut checker = Checker { pipeline, blueprint: pipeline.blueprint(), list: Vec::new() };
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
            (Some((source, files)), Some(Planned { rows, flow, results })) if checker.list.is_empty() => {
                Ok(Self { source, files, rows, flow, blueprint: Arc::clone(pipeline.blueprint()), results })
            }
            _ => Err(pipeline.diagnostics(checker.list).into()),
        }
    }

    /// What the source is made of.
    pub fn source_summary(&self) -> &SourceSummary {
        &self.files.summary
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
    flow: Flow,
    results: SchemaRef,
}

struct Checker<'a> {
    pipeline: &'a Pipeline,
    blueprint: &'a Arc<Blueprint>,
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
        for (index, mistake) in self.blueprint.misplaced() {
            match index {
                Some(index) => self.stage_wrong(*index, mistake.clone()),
                None => self.wrong(&["stages"], mistake.clone()),
            }
        }
    }

    /// The models whose context has no room for the answer about a single row, let alone for what is asked.
    fn contexts(&mut self) {
        let mut wrong = Vec::new();
        let Some(question) = self.blueprint.question() else { return };
        let answer = u64::from(question.ask.max_tokens_per_row);
        for AskedModel { name, spec, .. } in &question.models {
            let Some((spec, context)) = spec.as_ref().and_then(|spec| Some((spec, spec.context?))) else { continue };
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
        wrong.into_iter().for_each(|(name, mistake)| self.wrong(&["models", &name], mistake));
    }

    /// The models that are used: keys that are there, prices where a budget needs them.
    fn providers(&mut self, registry: &Registry, has_budget: bool) {
        let has_budget = has_budget || self.blueprint.budget().is_some();
        let used: BTreeMap<&String, &AskedModel> = self.blueprint.models().iter().map(|asked| (&asked.name, asked)).collect();
        let mut checked = BTreeSet::new();
        for (name, asked) in used {
            let Some(spec) = &asked.spec else { continue };
            if has_budget {
                let quote = (registry.price)(spec, asked.provider.as_ref());
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
            let Some(provider) = &asked.provider else { continue };
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
        let name = column.to_lowercase();
        let is_filtered = self.blueprint.filters().any(|(_, predicate)| predicate.sql.to_lowercase().contains(&name));
        let is_named = is_filtered || self.blueprint.reads(0).any(|read| read == column);
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
        let mut flow = Flow::default();
        let mut emitted = Arc::new(rows.schema().as_arrow().clone());
        for (index, stage) in self.pipeline.stages.iter().enumerate() {
            if self.blueprint.question().is_some_and(|question| question.asked_at == index) {
                flow.asks_next();
            }
            let Some(output) = self.through(index, &emitted) else { return Ok(None) };
            if !self.blueprint.is_run(index) {
                continue;
            }
            let kept = Kept::of(self.blueprint.question(), index, &emitted);
            flow.through(stage, self.blueprint.place(index), Arc::clone(&output), kept);
            emitted = output;
            // What only the question needed has done its work once the question is made.
            let later: BTreeSet<&str> = self.blueprint.reads(index + 1).collect();
            let is_kept = |name: &str| {
                name.starts_with("__") || results.field_with_name(name).is_ok() || later.contains(name) || !known.contains(&name)
            };
            let keep: Vec<usize> = (0..emitted.fields().len()).filter(|index| is_kept(emitted.field(*index).name())).collect();
            if keep.len() < emitted.fields().len() {
                emitted = Arc::new(emitted.project(&keep)?);
                flow.columns(emitted.fields().iter().map(|field| field.name().clone()).collect());
            }
        }
        Ok(Some(Planned { rows, flow, results }))
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
        for (index, Predicate { setting: at, sql: predicate }) in self.blueprint.filters() {
            let parsed = session.parse_sql_expr(predicate, &columns).and_then(|expr| {
                let expr = as_meant(expr, &columns)?;
                Ok((unfit(at, &expr), builder.clone().filter(expr.clone())?, expr))
            });
            match parsed {
                Ok((None, filtered, expr)) => match session.create_physical_expr(expr, &columns).and_then(|expr| constants(&expr)) {
                    Ok(()) => builder = filtered,
                    // Types that cannot be compared, and texts that are not of the type that they are compared with.
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
        for index in 0..self.pipeline.stages.len() {
            schema = self.through(index, &schema)?;
        }
        Some(schema)
    }

    /// The schema that a stage emits for this one.
    fn through(&mut self, index: usize, input: &SchemaRef) -> Option<SchemaRef> {
        let place = self.blueprint.place(index);
        let output = self.pipeline.stages[index].stage.schema(input, &place);
        let lost = |output: &SchemaRef| Kept::of(place.question(), index, input)?.lost(input, output);
        let mistakes = match output {
            Ok(output) => match lost(&output) {
                None => return Some(output),
                Some(mistake) => vec![mistake],
            },
            Err(mistakes) => mistakes,
        };
        mistakes.into_iter().for_each(|mistake| self.stage_wrong(index, mistake));
        None
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
            let is_kept = |name: &&str| sink.columns.as_ref().is_none_or(|columns| columns.iter().any(|kept| kept == name));
            bad.extend(names::alike(&known.iter().copied().filter(is_kept).collect::<Vec<_>>()));
        }
        if !bad.is_empty() {
            bad.into_iter().for_each(|mistake| self.wrong(&["sink"], mistake));
            return None;
        }
        let source_columns: Vec<&str> = of_source.into_iter().filter(|name| self.travels(name)).collect();
        let is_answer = |name: &str| self.blueprint.question().is_some_and(|question| question.answers(name));
        let chosen = |name: &str| match &sink.columns {
            // Columns that promptmill adds are always there: they carry the money.
            Some(columns) => columns.iter().any(|column| column == name) || (!source_columns.contains(&name) && !is_answer(name)),
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
        let read: BTreeSet<&str> = self.blueprint.reads(0).collect();
        let is_wanted = |name: &str| {
            self.travels(name) && (read.contains(name) || results.field_with_name(name).is_ok() || self.pipeline.source.key.has(name))
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

/// Reads what a predicate has as text and means as something else: a text that is no such thing is a mistake whatever the rows are.
fn constants(predicate: &Arc<dyn PhysicalExpr>) -> datafusion::error::Result<()> {
    let nothing = RecordBatch::new_empty(Arc::new(Schema::empty()));
    let read = |expr: &Arc<dyn PhysicalExpr>| {
        let cast = expr.downcast_ref::<CastExpr>();
        if cast.is_some_and(|cast| cast.expr().downcast_ref::<Literal>().is_some()) {
            expr.evaluate(&nothing)?;
        }
        Ok(TreeNodeRecursion::Continue)
    };
    predicate.apply(read).map(drop)
}

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
pub(crate) async fn explain(pipeline: &Pipeline, registry: &Registry) -> Result<String> {
    let session = session(None);
    let plan = Plan::new(&session, pipeline, registry, Purpose::Looking).await?;
    let answered = plan.flow.answered(plan.rows)?;
    let physical = session.state().create_physical_plan(&answered).await.map_err(from_datafusion)?;
    Ok(datafusion::physical_plan::displayable(physical.as_ref()).indent(false).to_string())
}

/// Reads a pipeline file. One with mistakes is held against its source as far as it is right, so that whoever
/// mends it hears of all of them at once.
///
/// # Errors
/// All its mistakes together, or that it cannot be read.
pub(crate) async fn read(path: &Path, settings: &[String], registry: &Registry) -> Result<Pipeline> {
    let draft = Pipeline::read_draft(path, settings, registry)?;
    if draft.mistakes.is_empty() {
        return Ok(draft.into_pipeline()?);
    }
    let Draft { pipeline, mistakes, has_all_stages, has_sink } = draft;
    let mut checker = Checker { pipeline: &pipeline, blueprint: pipeline.blueprint(), list: mistakes };
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
pub(crate) async fn check(pipeline: &Pipeline, registry: &Registry) -> Result<Plan> {
    Plan::new(&session(None), pipeline, registry, Purpose::Asking { has_budget: false }).await
}
