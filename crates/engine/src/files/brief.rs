//! A scan that gives each file the reader that fits it, and forgets what it counted in a file once that is read.
//!
//! Heavy files are read page by page ([`super::paged`]). Of many files nothing is kept: the reader of Parquet files counts some twenty things in each of them (row groups pruned, bytes
//! scanned, time spent on the footer) and keeps the counts until the query ends. Of 100,000 small
//! files they are most of the memory of a run, and nobody looks at them.

use std::sync::Arc;
use std::{any, fmt};

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileOpener, FileScanConfig, FileScanConfigBuilder, FileSource, ParquetSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_plan::DisplayFormatType;
use datafusion::physical_plan::filter_pushdown::FilterPushdownPropagation;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion_datasource::morsel::{MorselPlanner, Morselizer};
use object_store::ObjectStore;

use super::paged::{Paged, Scan};
use super::weight::BATCH_ROWS;
use crate::storage::Folder;

/// Parquet files of which each gets its reader.
pub(super) struct Brief {
    source: Arc<dyn FileSource>,
    how: How,
    /// Rows at once, known when a partition is opened.
    batch_size: Option<usize>,
}

/// How files are read.
#[derive(Clone, Debug)]
pub(super) struct How {
    /// Each by a source of its own, whose counts end with it.
    pub(super) is_brief: bool,
    /// Where they are, if some may have to be read page by page.
    pub(super) heavy: Option<Folder>,
    /// One after the other, none in several parts.
    pub(super) in_turn: bool,
}

impl Brief {
    pub(super) fn new(source: ParquetSource, how: How) -> Self {
        Self { source: Arc::new(source), how, batch_size: None }
    }

    fn of(&self, source: Arc<dyn FileSource>) -> Arc<dyn FileSource> {
        Arc::new(Self { source, how: self.how.clone(), batch_size: self.batch_size })
    }

    /// The scan without its list of files, which is all that a reader of one file needs to know of it.
    fn outline(&self, scan: &FileScanConfig) -> FileScanConfig {
        FileScanConfigBuilder::new(scan.object_store_url.clone(), Arc::clone(&self.source))
            .with_batch_size(self.batch_size)
            .with_limit(scan.limit)
            .with_preserve_order(scan.preserve_order)
            .with_expr_adapter(scan.expr_adapter_factory.clone())
            .build()
    }
}

/// The same source, with nothing counted yet.
fn afresh(source: &dyn FileSource, batch_size: Option<usize>) -> Result<Arc<dyn FileSource>> {
    let old = (source as &dyn any::Any).downcast_ref::<ParquetSource>();
    let old = old.ok_or_else(|| DataFusionError::Internal("a scan of Parquet files became one of others".to_owned()))?;
    let mut new = ParquetSource::new(old.table_schema().clone()).with_table_parquet_options(old.table_parquet_options().clone());
    if let Some(readers) = old.parquet_file_reader_factory() {
        new = new.with_parquet_file_reader_factory(Arc::clone(readers));
    }
    if let Some(predicate) = old.filter() {
        new = new.with_predicate(predicate);
    }
    // Of all columns, as a new source has them, this chooses those that the old one had chosen.
    let chosen = old.projection().map(|columns| new.try_pushdown_projection(columns)).transpose()?.flatten();
    let new = chosen.unwrap_or_else(|| Arc::new(new));
    Ok(batch_size.map(|rows| new.with_batch_size(rows)).unwrap_or(new))
}

impl FileSource for Brief {
    fn create_file_opener(&self, store: Arc<dyn ObjectStore>, scan: &FileScanConfig, partition: usize) -> Result<Arc<dyn FileOpener>> {
        self.source.create_file_opener(store, scan, partition)
    }

    fn create_morselizer(&self, store: Arc<dyn ObjectStore>, scan: &FileScanConfig, partition: usize) -> Result<Box<dyn Morselizer>> {
        let each: Box<dyn Morselizer> = match self.how.is_brief {
            true => Box::new(FileByFile { outline: self.outline(scan), store, partition }),
            false => self.source.create_morselizer(store, scan, partition)?,
        };
        let Some(folder) = self.how.heavy.clone() else { return Ok(each) };
        let parquet = (self.source.as_ref() as &dyn any::Any).downcast_ref::<ParquetSource>();
        let scan = Scan {
            folder,
            source: Arc::clone(&self.source),
            adapters: scan.expr_adapter_factory.clone(),
            filters: parquet.is_some_and(|parquet| parquet.table_parquet_options().global.pushdown_filters),
            batch_rows: self.batch_size.unwrap_or(BATCH_ROWS),
        };
        Ok(Box::new(Paged { others: each, scan: Arc::new(scan) }))
    }

    fn table_schema(&self) -> &TableSchema {
        self.source.table_schema()
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        Arc::new(Self { source: self.source.with_batch_size(batch_size), how: self.how.clone(), batch_size: Some(batch_size) })
    }

    fn supports_repartitioning(&self) -> bool {
        !self.how.in_turn
    }

    fn filter(&self) -> Option<Arc<dyn PhysicalExpr>> {
        self.source.filter()
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        self.source.projection()
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        self.source.metrics()
    }

    fn file_type(&self) -> &str {
        self.source.file_type()
    }

    fn fmt_extra(&self, style: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        self.source.fmt_extra(style, f)
    }

    fn try_pushdown_filters(
        &self,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn FileSource>>> {
        let mut pushed = self.source.try_pushdown_filters(filters, config)?;
        pushed.updated_node = pushed.updated_node.map(|source| self.of(source));
        Ok(pushed)
    }

    fn try_pushdown_projection(&self, projection: &ProjectionExprs) -> Result<Option<Arc<dyn FileSource>>> {
        Ok(self.source.try_pushdown_projection(projection)?.map(|source| self.of(source)))
    }

    fn apply_expressions(&self, f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        self.source.apply_expressions(f)
    }
}

/// Gives each file its reader.
#[derive(Debug)]
struct FileByFile {
    outline: FileScanConfig,
    store: Arc<dyn ObjectStore>,
    partition: usize,
}

impl Morselizer for FileByFile {
    fn plan_file(&self, file: PartitionedFile) -> Result<Box<dyn MorselPlanner>> {
        let source = afresh(self.outline.file_source().as_ref(), self.outline.batch_size)?;
        source.create_morselizer(Arc::clone(&self.store), &self.outline, self.partition)?.plan_file(file)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Int64Array, RecordBatch, StringArray};
    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use datafusion::physical_plan::{ExecutionPlan, collect, displayable};
    use object_store::ObjectMeta;

    use super::super::{Files, MANY};
    use crate::commit::parquet_file;
    use crate::plan::session;
    use crate::storage::Folder;

    use super::*;

    fn counts(plan: &Arc<dyn ExecutionPlan>) -> usize {
        let own = plan.metrics().map_or(0, |metrics| metrics.iter().count());
        own + plan.children().into_iter().map(counts).sum::<usize>()
    }

    #[tokio::test]
    async fn many_files_are_read_as_few_are_and_nothing_is_kept_of_each() {
        let temp = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(&temp.path().to_string_lossy()).expect("opens");
        let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true), Field::new("text", DataType::Utf8, true)]));
        let year = Arc::new(Field::new("year", DataType::Int64, true));
        let rows = RecordBatch::try_new(
            Arc::clone(&schema),
            vec![Arc::new(Int64Array::from(vec![1, 2, 3])), Arc::new(StringArray::from(vec!["a", "b", "c"]))],
        );
        let bytes = parquet_file(&schema, [&rows.expect("rows")]).expect("a file");
        let files: Vec<(ObjectMeta, Vec<Option<String>>)> = (0..MANY + 10)
            .map(|number| {
                let (name, size) = (format!("{number:05}.parquet"), bytes.len() as u64);
                std::fs::write(temp.path().join(&name), &bytes).expect("written");
                let last_modified = chrono::DateTime::UNIX_EPOCH;
                (
                    ObjectMeta { location: folder.path(&name), last_modified, size, e_tag: None, version: None },
                    vec![Some((number % 3).to_string())],
                )
            })
            .collect();
        let session = session(None);
        folder.register(&session);
        let (some, others) = files.split_at(MANY / 2);
        for (name, files) in [("many", files.as_slice()), ("some", some), ("others", others)] {
            let table = Files::new(&folder, Arc::clone(&schema), vec![Arc::clone(&year)], files.to_vec()).expect("a table").cast(false);
            session.register_table(name, Arc::new(table)).expect("registered");
        }
        session.sql("CREATE VIEW few AS SELECT * FROM some UNION ALL SELECT * FROM others").await.expect("a view");
        for query in [
            "SELECT count(*), sum(id), min(text), max(year) FROM {}",
            "SELECT text, year, count(*) FROM {} WHERE id > 1 AND year <> 1 GROUP BY text, year ORDER BY text, year",
            "SELECT count(*) FROM {} WHERE year = 2 OR text = 'c'",
            "SELECT id FROM {} WHERE id = 4",
            "SELECT count(*) FROM (SELECT text FROM {} WHERE id = 2 LIMIT 7)",
            "SELECT text || year AS both FROM {} ORDER BY year DESC, id LIMIT 5",
        ] {
            let read = async |table: &str| {
                let found =
                    session.sql(&query.replace("{}", &format!("{table} AS files"))).await.expect("a query").collect().await.expect("reads");
                pretty_format_batches(&found).expect("rows").to_string()
            };
            assert_eq!(read("many").await, read("few").await, "{query}");
        }
        let query = session.sql("SELECT text FROM many WHERE id = 2").await.expect("a query");
        let plan = query.create_physical_plan().await.expect("a plan");
        let shown = displayable(plan.as_ref()).indent(false).to_string();
        assert!(shown.contains("projection=[text]") && shown.contains("predicate=id@0 = 2"), "{shown}");
        let found = collect(Arc::clone(&plan), session.task_ctx()).await.expect("reads");
        assert_eq!(found.iter().map(RecordBatch::num_rows).sum::<usize>(), MANY + 10);
        assert!(counts(&plan) < MANY, "{} counts", counts(&plan));
    }
}
