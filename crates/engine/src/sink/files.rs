//! Where the files of a sink go, and what they are called.

use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, RecordBatch, StringArray};
use promptmill_core::{Error, Result, columns};

use super::bundle::internal;
use super::layout::{Layout, column, folders, partition_texts, unnameable};
use super::stored::{Alike, Leaves};
use crate::commit::{DataFile, Settlement, index_file, writer_properties};
use crate::journal::RunJournal;
use crate::owner::{Owner, hidden};
use crate::storage::Folder;

/// Numbers of files that are reserved at once.
const NUMBERS_AT_ONCE: u64 = 256;

/// What files hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Results,
    DeadLetters,
    Index,
}

/// Where files lie until their commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Place {
    /// Where readers look.
    #[default]
    Shown,
    /// Beside it: they take the place of others.
    Hidden,
    /// In the state, until the run ends.
    Staged,
}

/// Where files go and what they are called.
pub(crate) struct Files {
    /// Who holds the state's lock; nobody where a test writes without one.
    pub(super) journal: Option<Arc<RunJournal>>,
    /// The state's folder.
    pub(super) state: Folder,
    pub(super) results: Folder,
    pub(super) dead: Folder,
    pub(super) index: Folder,
    /// `results/` and `dead_letters/` of what is staged.
    pub(super) staging: Folder,
    pub(super) owner: Owner,
    /// Whether readers learn from the log of a Delta table which files there are, and need no others hidden.
    pub(super) is_table: bool,
    pub(super) generation: u64,
    pub(super) next: u64,
    pub(super) target_bytes: usize,
    pub(super) layout: Layout,
}

/// Files that have become fewer.
#[derive(Default)]
pub(super) struct Merged {
    pub(super) added: Vec<DataFile>,
    /// Their paths, relative to their folder.
    pub(super) removed: Vec<String>,
}

impl Files {
    /// The name of the next file, if this run still may write any. Its number is reserved in the state first, so that a file
    /// of a later state is known as one.
    async fn name(&mut self) -> Result<String> {
        if let Some(journal) = &self.journal {
            journal.check_held().await?;
        }
        let number = self.next;
        if self.owner.reserved().is_none_or(|end| number >= end) {
            self.owner.reserve(&self.state, number + NUMBERS_AT_ONCE).await?;
        }
        self.next += 1;
        Ok(self.owner.file_name(self.generation, number))
    }

    pub(super) fn folder(&self, kind: Kind) -> &Folder {
        match kind {
            Kind::Results => &self.results,
            Kind::DeadLetters => &self.dead,
            Kind::Index => &self.index,
        }
    }

    /// Of each row why no folder can be called after its partition, if none can.
    pub(super) fn unnameable(&self, batch: &RecordBatch) -> Result<Vec<Option<String>>> {
        let partitions = self.layout.shape.partitions();
        let values = partitions.iter().map(|field| Ok((field.name().as_str(), partition_texts(&column(batch, field)?)?)));
        Ok(unnameable(&values.collect::<Result<Vec<_>>>()?, batch.num_rows(), self.results.longest_name()))
    }

    /// Writes files of one kind, and of one partition, as one; without the rows whose keys leave.
    pub(super) async fn merge(&mut self, kind: Kind, files: &[&DataFile], leaves: Option<Leaves<'_>>) -> Result<DataFile> {
        let mut alike = Alike::among(self.folder(kind), files).await?;
        match (alike.pop(), alike.is_empty()) {
            (Some(alike), true) => self.write_alike(kind, files, alike, leaves).await,
            _ => Err(Error::failed("files of other columns cannot be written as one")),
        }
    }

    /// Writes those of these files as one that have the same columns; one that has a company of its own stays as it is.
    pub(super) async fn merge_alike(&mut self, kind: Kind, files: &[&DataFile]) -> Result<Merged> {
        let mut merged = Merged::default();
        for alike in Alike::among(self.folder(kind), files).await? {
            if alike.len() > 1 {
                merged.removed.extend(alike.paths().map(str::to_owned));
                merged.added.push(self.write_alike(kind, files, alike, None).await?);
            }
        }
        Ok(merged)
    }

    async fn write_alike(&mut self, kind: Kind, files: &[&DataFile], alike: Alike<'_>, leaves: Option<Leaves<'_>>) -> Result<DataFile> {
        // The folder that one of them is in is that of them all.
        let partition = files.first().map(|file| file.partition.clone()).unwrap_or_default();
        let beside = files.first().and_then(|file| file.path.rsplit_once('/')).map(|(folders, _)| format!("{folders}/"));
        let mut path = beside.unwrap_or_default() + &self.name().await?;
        if kind == Kind::Results && !self.is_table {
            // Its rows are still in those that it is made of.
            path = hidden(&path);
        }
        let folder = self.folder(kind);
        let properties = if kind == Kind::Results { self.layout.properties.clone() } else { writer_properties().build() };
        let leaves = leaves.map(|leaves| (&self.layout.shape.key, leaves));
        let mut upload = folder.upload(&path);
        match alike.write(folder, leaves, properties, &mut upload).await {
            Ok((rows, bytes)) => upload.finish().await.map(|()| DataFile { path, rows, bytes, partition }),
            Err(error) => {
                upload.abort().await;
                Err(error)
            }
        }
    }

    /// Writes one file of results.
    pub(super) async fn store(&mut self, partition: Vec<Option<String>>, rows: u64, bytes: Vec<u8>, place: Place) -> Result<DataFile> {
        let path = folders(&self.layout.shape.partition_by, &partition) + &self.name().await?;
        let path = if place == Place::Hidden { hidden(&path) } else { path };
        let file = DataFile { path, rows, bytes: bytes.len() as u64, partition };
        match place {
            Place::Staged => self.staging.folder("results").put(&file.path, bytes).await?,
            Place::Shown | Place::Hidden => self.results.put(&file.path, bytes).await?,
        }
        Ok(file)
    }

    /// Writes one file of dead letters.
    pub(super) async fn store_dead(&mut self, rows: u64, bytes: Vec<u8>, place: Place) -> Result<DataFile> {
        let file = DataFile { path: self.name().await?, rows, bytes: bytes.len() as u64, partition: vec![] };
        if place == Place::Staged {
            self.staging.folder("dead_letters").put(&file.path, bytes).await?;
        } else {
            self.dead.put(&file.path, bytes).await?;
        }
        Ok(file)
    }

    /// Writes one file of the index of settled rows.
    pub(super) async fn store_index(&mut self, settlements: &[Settlement]) -> Result<DataFile> {
        let bytes = index_file(settlements)?;
        let file = DataFile { path: self.name().await?, rows: settlements.len() as u64, bytes: bytes.len() as u64, partition: vec![] };
        self.index.put(&file.path, bytes).await?;
        Ok(file)
    }
}

/// The rows with those as dead letters whose partition no folder can be called after, and how many they are.
pub(super) fn unnameable_as_dead(files: &Files, batch: &RecordBatch) -> Result<(RecordBatch, u64)> {
    let reasons = internal(batch, columns::REASON)?.as_string::<i32>();
    let details = files.unnameable(batch)?;
    let count = (0..batch.num_rows()).filter(|row| details[*row].is_some() && reasons.is_null(*row)).count();
    if count == 0 {
        return Ok((batch.clone(), 0));
    }
    let mut arrays = batch.columns().to_vec();
    let (reason, detail) = (batch.schema().index_of(columns::REASON)?, batch.schema().index_of(columns::DETAIL)?);
    let before = internal(batch, columns::DETAIL)?.as_string::<i32>();
    let is_new = |row: usize| details[row].is_some() && reasons.is_null(row);
    let rows = 0..batch.num_rows();
    let why = |row: usize| if is_new(row) { Some(columns::UNSTORABLE_REASON) } else { reasons.is_valid(row).then(|| reasons.value(row)) };
    arrays[reason] = Arc::new(rows.clone().map(why).collect::<StringArray>());
    let what = |row: usize| if is_new(row) { details[row].as_deref() } else { before.is_valid(row).then(|| before.value(row)) };
    arrays[detail] = Arc::new(rows.map(what).collect::<StringArray>());
    Ok((RecordBatch::try_new(batch.schema(), arrays)?, count as u64))
}
