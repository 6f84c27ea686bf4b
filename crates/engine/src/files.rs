//! Parquet files as a table: these files and no others, whatever else comes to lie beside them.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, FieldRef, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use object_store::ObjectMeta;
use promptmill_core::Result;

use crate::node::from_datafusion;
use crate::storage::Folder;

/// Files whose columns are looked up; of more, as many are taken from the whole list.
const LOOKED_INTO: usize = 128;

/// Parquet files as a table.
pub(crate) struct Files {
    folder: Folder,
    schema: TableSchema,
    files: Vec<PartitionedFile>,
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
            Ok(PartitionedFile::new_from_meta(meta).with_partition_values(values.collect::<Result<Vec<_>>>()?))
        });
        let files = files.collect::<Result<Vec<_>>>()?;
        Ok(Self { folder: folder.clone(), schema: TableSchema::builder(schema).with_table_partition_cols(partitions).build(), files })
    }
}

/// The columns that these files have together.
pub(crate) async fn columns_of(state: &dyn Session, folder: &Folder, files: &[ObjectMeta]) -> DataFusionResult<SchemaRef> {
    let step = files.len().div_ceil(LOOKED_INTO).max(1);
    let mut some: Vec<ObjectMeta> = files.iter().step_by(step).cloned().collect();
    // The newest are the last, as names are numbered, and may have columns that the others lack.
    some.extend(files.last().filter(|_| step > 1).cloned());
    ParquetFormat::default().with_force_view_types(false).infer_schema(state, folder.store(), &some).await
}

fn partition_value(value: Option<&str>, data_type: &DataType) -> Result<ScalarValue> {
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
        let groups = FileGroup::new(self.files.clone()).split_files(state.config().target_partitions());
        let source = Arc::new(ParquetSource::new(self.schema.clone()).with_table_parquet_options(state.table_options().parquet.clone()));
        let config = FileScanConfigBuilder::new(self.folder.store_url().clone(), source)
            .with_file_groups(groups)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        ParquetFormat::default().create_physical_plan(state, config).await
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }
}
