//! Results that are there into the shape that they are to have from this run on, before anything is sent.
//!
//! Partitions that have changed, a column that has come, a type that has become wider: the rows are written anew, in one
//! commit, so that every file looks like every other. Values stay what they are.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{Field, FieldRef, Schema};
use futures::TryStreamExt;
use promptmill_core::{Error, Result};

use super::layout::whole;
use super::stored::{columns_of_each, not_read, rows};
use super::{Bundle, Files, Mode, OPEN_BYTES, OPEN_FILES, Place, Sink};
use crate::commit::{Commit, CommitLog, DataFile};
use crate::shape::same_columns;

impl Sink {
    /// Writes those files anew that have another shape than the layout says. A Delta table says itself what its files look
    /// like, and a new generation takes the place of all files.
    pub(super) async fn reshape(&mut self) -> Result<()> {
        let shape = &self.files.layout.shape;
        if matches!(self.mode, Mode::Fresh(_)) || self.log.shape() == Some(shape) || self.log.results().is_empty() {
            return Ok(());
        }
        let has_same_files = self.table.is_some() || self.log.shape().is_some_and(|before| before.has_files_of(shape));
        let others = if has_same_files { Vec::new() } else { of_other_shape(&self.files, &self.log).await? };
        let mut record = self.record();
        if !others.is_empty() {
            tracing::info!(files = others.len(), "writing results anew: their columns or partitions have changed");
            let (mut bundle, mut written) = (Bundle::new(Place::Hidden), 0);
            for file in &others {
                written += self.rewrite(file, &mut bundle).await?;
            }
            while let Some((_, partition)) = bundle.largest() {
                bundle.close(&mut self.files, partition).await?;
            }
            let before: u64 = others.iter().map(|file| file.rows).sum();
            let now: u64 = bundle.added.iter().map(|file| file.rows).sum();
            if before != written || written != now {
                return Err(Error::failed(format!("of {before} rows of results {now} were written anew"))
                    .hint("the files of before are kept; run again, or keep the columns and partitions as they were"));
            }
            record = Commit {
                added: bundle.added,
                removed: others.into_iter().map(|file| file.path).collect(),
                next_file: self.files.next,
                ..record
            };
        }
        self.append(record).await
    }

    /// Writes the rows of a file into the partitions that they are to be in. Returns how many.
    async fn rewrite(&mut self, file: &DataFile, bundle: &mut Bundle) -> Result<u64> {
        let folder = self.files.results.clone();
        let mut batches = rows(&folder, file).await?;
        let mut read = 0;
        while let Some(batch) = batches.try_next().await.map_err(|error| not_read(&folder, file, error))? {
            read += batch.num_rows() as u64;
            bundle.write_results(&self.files.layout, &self.with_partition(&batch, file)?)?;
            while let Some((bytes, partition)) = bundle.largest() {
                if bytes < self.files.target_bytes && bundle.open_bytes() <= OPEN_BYTES && bundle.open.len() <= OPEN_FILES {
                    break;
                }
                bundle.close(&mut self.files, partition).await?;
            }
        }
        Ok(read)
    }

    /// The rows of a file with the columns that its folders say.
    fn with_partition(&self, batch: &RecordBatch, file: &DataFile) -> Result<RecordBatch> {
        let names = file.partition_by().ok_or_else(|| Error::failed(format!("the folders of `{}` name no partitions", file.path)))?;
        let mut fields: Vec<FieldRef> = batch.schema().fields().iter().cloned().collect();
        let mut arrays: Vec<ArrayRef> = batch.columns().to_vec();
        for (name, value) in names.iter().zip(&file.partition) {
            let Ok(field) = self.files.layout.shape.columns.field_with_name(name) else { continue };
            let texts = StringArray::from_iter(std::iter::repeat_n(value.as_deref(), batch.num_rows()));
            let field = Field::new(name, field.data_type().clone(), true);
            arrays.push(whole(&(Arc::new(texts) as ArrayRef), &field)?);
            fields.push(Arc::new(field));
        }
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
    }
}

/// The files of results that have other columns, or lie in other partitions.
async fn of_other_shape(Files { layout, results, .. }: &Files, log: &CommitLog) -> Result<Vec<DataFile>> {
    let files = log.results();
    let columns = columns_of_each(results, files).await?;
    let is_other = |file: &DataFile, columns: &Schema| {
        file.partition_by().as_ref() != Some(&layout.shape.partition_by) || !same_columns(columns, &layout.file)
    };
    Ok(files.iter().zip(&columns).filter(|(file, columns)| is_other(file, columns)).map(|(file, _)| file.clone()).collect())
}
