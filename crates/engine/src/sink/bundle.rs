//! Rows that become part of the results together: an open file per partition, and what is written of them.

use std::collections::{BTreeMap, btree_map};
use std::sync::Arc;

use chrono::Utc;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array};
use datafusion::arrow::compute::{cast, filter_record_batch, take_record_batch};
use datafusion::arrow::datatypes::DataType;
use promptmill_core::{Error, Fingerprint, Result, columns};

use super::KEPT;
use super::files::{Files, Place};
use super::layout::{Layout, OpenFile, column};
use crate::commit::{DataFile, Outcome, RowChange, Settlement, writer_properties};

/// Rows that become part of the results together.
#[derive(Default)]
pub(super) struct Bundle {
    place: Place,
    pub(super) open: BTreeMap<Vec<Option<String>>, OpenFile>,
    pub(super) open_dead: Option<OpenFile>,
    /// Written, but not yet committed.
    pub(super) added: Vec<DataFile>,
    pub(super) dead_letters: Vec<DataFile>,
    pub(super) index: Vec<DataFile>,
    /// Rows that are in no index yet.
    pub(super) settlements: Vec<Settlement>,
    /// By how many rows the bundle changes what counts, by those that it settles.
    pub(super) settles: RowChange,
    /// Whether something of it could not be written: its rows are not settled then, and nothing of it is committed. The
    /// journal has their answers for the next run.
    is_broken: bool,
}

impl Bundle {
    /// An empty one, whose files lie there until their commit.
    pub(super) fn new(place: Place) -> Self {
        Self { place, ..Self::default() }
    }

    /// Begins to write something, which may fail: then the bundle is broken, until somebody says otherwise.
    fn risk(&mut self) -> Result<()> {
        if self.is_broken {
            return Err(Error::failed("nothing more is committed after a file of the same rows could not be written").hint(KEPT));
        }
        self.is_broken = true;
        Ok(())
    }

    /// Takes in rows.
    pub(super) fn write(&mut self, files: &mut Files, batch: &RecordBatch) -> Result<()> {
        self.risk()?;
        let keys = cast(internal(batch, columns::KEY)?, &DataType::Utf8)?;
        let keys = keys.as_string::<i32>();
        let questions = internal(batch, columns::QUESTION)?.as_fixed_size_binary();
        let reasons = internal(batch, columns::REASON)?.as_string::<i32>();
        for row in 0..batch.num_rows() {
            let question: [u8; 16] = questions.value(row).try_into().map_err(|_| Error::failed("a question is not 16 bytes long"))?;
            let outcome = if reasons.is_valid(row) { Outcome::Dead } else { Outcome::Answered };
            self.settles.settles(outcome);
            let question = Fingerprint::from_bytes(question);
            self.settlements.push(Settlement { key: keys.value(row).to_owned(), question, outcome });
        }
        if reasons.null_count() < batch.num_rows() {
            let dead: BooleanArray = reasons.iter().map(|reason| Some(reason.is_some())).collect();
            let letters = dead_letters(&files.layout, &filter_record_batch(batch, &dead)?)?;
            let file = match &mut self.open_dead {
                Some(file) => file,
                None => self.open_dead.insert(OpenFile::new(&files.layout.dead, writer_properties().build())?),
            };
            file.write(&letters)?;
        }
        if reasons.null_count() > 0 {
            let good: BooleanArray = reasons.iter().map(|reason| Some(reason.is_none())).collect();
            self.write_results(&files.layout, &filter_record_batch(batch, &good)?)?;
        }
        self.is_broken = false;
        Ok(())
    }

    pub(super) fn write_results(&mut self, layout: &Layout, batch: &RecordBatch) -> Result<()> {
        let project = |batch: &RecordBatch| -> Result<RecordBatch> {
            let columns = layout.file.fields().iter().map(|field| column(batch, field)).collect::<Result<Vec<_>>>()?;
            Ok(RecordBatch::try_new(Arc::clone(&layout.file), columns)?)
        };
        let partitions = layout.shape.partitions();
        let values: Vec<StringArray> = partitions
            .iter()
            .map(|field| Ok(cast(&column(batch, field)?, &DataType::Utf8)?.as_string::<i32>().clone()))
            .collect::<Result<_>>()?;
        let mut groups: BTreeMap<Vec<Option<String>>, Vec<u64>> = BTreeMap::new();
        for row in 0..batch.num_rows() {
            let partition = values.iter().map(|values| values.is_valid(row).then(|| values.value(row).to_owned())).collect();
            groups.entry(partition).or_default().push(row as u64);
        }
        let one = groups.len() == 1;
        for (partition, rows) in groups {
            let part = if one { project(batch)? } else { project(&take_record_batch(batch, &UInt64Array::from(rows))?)? };
            let file = match self.open.entry(partition) {
                btree_map::Entry::Occupied(open) => open.into_mut(),
                btree_map::Entry::Vacant(free) => free.insert(OpenFile::new(&layout.file, layout.properties.clone())?),
            };
            file.write(&part)?;
        }
        Ok(())
    }

    pub(super) fn open_bytes(&self) -> usize {
        self.open.values().map(OpenFile::bytes).sum()
    }

    pub(super) fn largest(&self) -> Option<(usize, Vec<Option<String>>)> {
        let largest = self.open.iter().map(|(partition, file)| (file.bytes(), partition)).max();
        largest.map(|(bytes, partition)| (bytes, partition.clone()))
    }

    pub(super) async fn close(&mut self, files: &mut Files, partition: Vec<Option<String>>) -> Result<()> {
        let Some(file) = self.open.remove(&partition) else { return Ok(()) };
        self.risk()?;
        let (rows, bytes) = file.finish()?;
        let added = files.store(partition, rows, bytes, self.place).await?;
        self.added.push(added);
        self.is_broken = false;
        Ok(())
    }

    /// Writes out everything that was taken in.
    pub(super) async fn finish(&mut self, files: &mut Files) -> Result<()> {
        let partitions: Vec<_> = self.open.keys().cloned().collect();
        for partition in partitions {
            self.close(files, partition).await?;
        }
        self.close_dead(files).await?;
        self.write_index(files).await?;
        // Also where nothing was left to be written now.
        self.risk()?;
        self.is_broken = false;
        Ok(())
    }

    pub(super) async fn close_dead(&mut self, files: &mut Files) -> Result<()> {
        let Some(file) = self.open_dead.take() else { return Ok(()) };
        self.risk()?;
        let (rows, bytes) = file.finish()?;
        self.dead_letters.push(files.store_dead(rows, bytes, self.place).await?);
        self.is_broken = false;
        Ok(())
    }

    pub(super) async fn write_index(&mut self, files: &mut Files) -> Result<()> {
        if !self.settlements.is_empty() {
            self.risk()?;
            self.index.push(files.store_index(&std::mem::take(&mut self.settlements)).await?);
            self.is_broken = false;
        }
        Ok(())
    }
}

pub(super) fn internal<'b>(batch: &'b RecordBatch, name: &str) -> Result<&'b ArrayRef> {
    batch.column_by_name(name).ok_or_else(|| Error::failed(format!("column `{name}` is not in the plan")))
}

/// Rows with a reason, as dead letters.
fn dead_letters(layout: &Layout, batch: &RecordBatch) -> Result<RecordBatch> {
    let (at, keys) = (Utc::now().timestamp_micros(), layout.shape.key.columns().len());
    let arrays = layout
        .dead
        .fields()
        .iter()
        .enumerate()
        // The first ones are the key.
        .map(|(place, field)| match field.name().strip_prefix(&layout.shape.prefix).filter(|_| place >= keys).unwrap_or_default() {
            "reason" => column(batch, &field.as_ref().clone().with_name(columns::REASON)),
            "detail" => column(batch, &field.as_ref().clone().with_name(columns::DETAIL)),
            "last_text" => column(batch, &field.as_ref().clone().with_name(columns::LAST_TEXT)),
            "at" => Ok(Arc::new(TimestampMicrosecondArray::from(vec![at; batch.num_rows()]).with_timezone("UTC")) as ArrayRef),
            _ => column(batch, field),
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(Arc::clone(&layout.dead), arrays)?)
}
