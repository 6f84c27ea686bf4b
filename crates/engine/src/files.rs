//! Parquet files as a table: these files and no others, whatever else comes to lie beside them.

mod brief;
pub(crate) mod footers;
pub(crate) mod merge;
pub(crate) mod paged;
pub(crate) mod weight;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, FieldRef, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, FileSource, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use object_store::ObjectMeta;
use object_store::path::Path;
use promptmill_core::Result;

use self::brief::{Brief, How};
use self::paged::MayBeHeavy;
use self::weight::Weight;
use crate::instants::files::Exactly;
use crate::node::from_datafusion;
use crate::storage::{Folder, Readers, SMALL_BYTES};

/// Small files that are read at once from a store on the network.
const SMALL_AT_ONCE: usize = 32;

/// Files that are read without keeping what was counted in each; fewer show it in `EXPLAIN ANALYZE`.
const MANY: usize = 1_000;

/// Parquet files as a table.
pub(crate) struct Files {
    folder: Folder,
    schema: TableSchema,
    /// With the values of their partitions. As the scan wants them they would take three times the memory.
    files: Vec<(ObjectMeta, Vec<ScalarValue>)>,
    /// Whether some file may have other types than the table.
    is_cast: bool,
    /// Those that may have to be read page by page.
    heavy: HashSet<Path>,
    /// How much their rows weigh.
    weight: Weight,
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").field("folder", &self.folder).field("files", &self.files.len()).finish_non_exhaustive()
    }
}

impl Files {
    /// A table of files with these columns inside, each with the values of its partitions as text.
    pub(crate) fn new(
        folder: &Folder,
        schema: SchemaRef,
        partitions: Vec<FieldRef>,
        files: Vec<(ObjectMeta, Vec<Option<String>>)>,
    ) -> Result<Self> {
        let files = files.into_iter().map(|(meta, values)| {
            let values = values.iter().zip(&partitions).map(|(value, field)| partition_value(value.as_deref(), field.data_type()));
            Ok((meta, values.collect::<Result<Vec<_>>>()?))
        });
        let files = files.collect::<Result<Vec<_>>>()?;
        let schema = TableSchema::builder(schema).with_table_partition_cols(partitions).build();
        Ok(Self { folder: folder.clone(), schema, files, is_cast: true, heavy: HashSet::new(), weight: Weight::LIGHT })
    }

    /// Says whether some file has other types than the table. Where none has, the reader of the files filters by itself; where one
    /// has, a predicate that it cannot apply to that file would be none.
    pub(crate) fn cast(self, is_cast: bool) -> Self {
        Self { is_cast, ..self }
    }

    /// Says how much the rows weigh, and which files may have to be read page by page.
    pub(crate) fn weighing(self, weight: Weight, heavy: HashSet<Path>) -> Self {
        Self { weight, heavy, ..self }
    }

    /// Whether the files are small ones far away, where each is one request and mostly waiting.
    fn are_whole(&self) -> bool {
        let bytes: u64 = self.files.iter().map(|(meta, _)| meta.size).sum();
        self.folder.local().is_none() && bytes < SMALL_BYTES * self.files.len() as u64
    }
}

/// The value of a partition, of which the folder has the text.
pub(crate) fn partition_value(value: Option<&str>, data_type: &DataType) -> Result<ScalarValue> {
    let text = ScalarValue::Utf8(value.map(str::to_owned));
    text.cast_to(data_type).map_err(from_datafusion)
}

#[async_trait]
impl TableProvider for Files {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.schema.table_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        if self.files.is_empty() {
            let schema = datafusion::physical_plan::project_schema(&self.schema(), projection)?;
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let mut options = state.table_options().parquet.clone();
        options.global.pushdown_filters = !self.is_cast;
        options.global.reorder_filters = true;
        options.global.coerce_int96 = Some("us".to_owned());
        let mut at_once = if self.weight.in_turn() { 1 } else { state.config().target_partitions() };
        if self.are_whole() {
            // What is asked for in turn stays in turn.
            at_once = if at_once > 1 { at_once.max(SMALL_AT_ONCE) } else { at_once };
            // Looking for a filter in them opens a file twice.
            options.global.bloom_filter_on_read = false;
        }
        let files = self.files.iter().cloned().map(|(meta, values)| {
            let is_heavy = self.heavy.contains(&meta.location);
            let file = PartitionedFile::new_from_meta(meta).with_partition_values(values);
            if is_heavy { file.with_extension(MayBeHeavy) } else { file }
        });
        let groups = FileGroup::new(files.collect()).split_files(at_once);
        let source = ParquetSource::new(self.schema.clone()).with_table_parquet_options(options);
        let footers = state.runtime_env().cache_manager.get_file_metadata_cache();
        let source = source.with_parquet_file_reader_factory(Arc::new(Readers::new(&self.folder, footers)));
        let how = How {
            is_brief: self.files.len() > MANY,
            heavy: (!self.heavy.is_empty()).then(|| self.folder.clone()),
            in_turn: self.weight.in_turn(),
        };
        let is_plain = !how.is_brief && how.heavy.is_none();
        let source: Arc<dyn FileSource> = if is_plain { Arc::new(source) } else { Arc::new(Brief::new(source, how)) };
        let config = FileScanConfigBuilder::new(self.folder.store_url().clone(), source)
            .with_file_groups(groups)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .with_expr_adapter(Some(Arc::new(Exactly)))
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }
}
