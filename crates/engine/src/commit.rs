//! Which files belong to the results, in order: numbered records, each written once.
//!
//! A file becomes part of the results by one record, and a record is created or not: readers see whole
//! commits. With each commit goes an index of the rows that it settles, so that the next run knows what has
//! been answered without reading the results. Whatever no record names is an orphan of a run that died, and
//! is swept when the next one starts.
//!
//! Every so often what all records amount to is written beside them as a checkpoint, so that a long history is not
//! read record by record.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, FixedSizeBinaryBuilder, RecordBatch, StringArray, StringBuilder};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use futures::{StreamExt, TryStreamExt};
use parquet::arrow::ArrowWriter;
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use promptmill_core::{Answered, Error, Fingerprint, Result};
use serde::{Deserialize, Serialize};

use crate::format::{self, Format, Version};
use crate::meaning::writer_options;
use crate::shape::{Shape, if_readable};
use crate::sink::decode;
use crate::sorted::Sorted;
use crate::storage::Folder;

/// A checkpoint is written with every so manyeth commit.
const CHECKPOINT_EVERY: u64 = 50;
/// Records and indexes that are read at once.
const READ_AT_ONCE: usize = 8;
/// Rows of an index that are read at once.
const INDEX_BATCH: usize = 8192;
/// On a store without locks every run starts its files at its commit's number times this, so that no two runs ever
/// write a file of the same name.
const FILES_OF_A_COMMIT: u64 = 100_000;
/// Times that somebody reads anew because a run has replaced what was being read.
const READINGS: u32 = 5;

/// A file of results or dead letters, or of the index of settled rows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DataFile {
    /// Its name, relative to its folder: `year=2024/0001-000007.parquet`.
    pub path: String,
    /// Rows in it.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// The values of its partitions, outermost first; `None` is null.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partition: Vec<Option<String>>,
}

impl DataFile {
    /// The columns whose values its partition has, outermost first, as its path names them; `None` if the path does not:
    /// others may name the files of a Delta table as they like.
    pub(crate) fn partition_by(&self) -> Option<Vec<String>> {
        let (folders, _) = self.path.rsplit_once('/').unwrap_or_default();
        let names: Vec<String> = folders.split('/').filter_map(|folder| folder.split_once('=')).map(|(name, _)| decode(name)).collect();
        Some(names).filter(|names| names.len() == self.partition.len())
    }
}

/// One record of the commit log.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Commit {
    /// The version of its format.
    #[serde(default)]
    pub(crate) v: Version<{ format::COMMIT.version }>,
    /// Its number, from 1 without gaps.
    pub commit: u64,
    /// The run that made it.
    pub run_id: String,
    /// The generation that its files belong to.
    pub generation: u64,
    /// When, as RFC 3339.
    pub at: String,
    /// Files that are results from now on.
    pub added: Vec<DataFile>,
    /// Files of dead letters that count from now on.
    pub dead_letters: Vec<DataFile>,
    /// Files of either kind that count no longer, by path; dead letters with `dead_letters/` in front, indexes with
    /// `index/`.
    pub removed: Vec<String>,
    /// Indexes of the rows that this commit settles.
    pub index: Vec<DataFile>,
    /// The number for the next file.
    pub next_file: u64,
    /// What every question has been salted with since `run --fresh`; nothing before the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salt: Option<String>,
    /// The fingerprint of the part of the question that all rows share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<Fingerprint>,
    /// What the results look like from now on; left out: as before.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "if_readable")]
    pub(crate) shape: Option<Shape>,
}

/// What all commits amount to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Folded {
    #[serde(default)]
    v: Version<{ format::CHECKPOINT.version }>,
    commit: u64,
    generation: u64,
    next_file: u64,
    salt: Option<String>,
    question: Option<Fingerprint>,
    #[serde(default, deserialize_with = "if_readable")]
    shape: Option<Shape>,
    results: Vec<DataFile>,
    dead_letters: Vec<DataFile>,
    index: Vec<DataFile>,
}

/// What a record removes, by the folders that the paths are relative to.
#[derive(Debug, Default)]
pub(crate) struct Removed<'c> {
    pub(crate) results: BTreeSet<&'c str>,
    pub(crate) dead_letters: BTreeSet<&'c str>,
    pub(crate) index: BTreeSet<&'c str>,
}

impl Commit {
    /// What it removes.
    pub(crate) fn removes(&self) -> Removed<'_> {
        let mut removed = Removed::default();
        for path in &self.removed {
            match path.split_once('/') {
                Some(("dead_letters", name)) => removed.dead_letters.insert(name),
                Some(("index", name)) => removed.index.insert(name),
                _ => removed.results.insert(path),
            };
        }
        removed
    }
}

/// By how many rows a record changes the results and the dead letters that count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RowChange {
    pub(crate) results: i64,
    pub(crate) dead_letters: i64,
}

impl RowChange {
    /// A row with this outcome comes.
    pub(crate) fn settles(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Answered => self.results += 1,
            Outcome::Dead => self.dead_letters += 1,
            Outcome::Gone => {}
        }
    }
}

impl Folded {
    /// By how many rows the files of a record change what counts.
    fn change(&self, commit: &Commit) -> RowChange {
        let removed = commit.removes();
        let rows = |come: &[DataFile], live: &[DataFile], gone: &BTreeSet<&str>| {
            let come: u64 = come.iter().map(|file| file.rows).sum();
            let gone: u64 = live.iter().filter(|file| gone.contains(file.path.as_str())).map(|file| file.rows).sum();
            come as i64 - gone as i64
        };
        RowChange {
            results: rows(&commit.added, &self.results, &removed.results),
            dead_letters: rows(&commit.dead_letters, &self.dead_letters, &removed.dead_letters),
        }
    }

    fn apply(&mut self, commit: Commit) {
        let removed = commit.removes();
        self.results.retain(|file| !removed.results.contains(file.path.as_str()));
        self.dead_letters.retain(|file| !removed.dead_letters.contains(file.path.as_str()));
        // Of a key the last word counts: an index that stands for older ones takes their place, not the end.
        let is_removed = |file: &DataFile| removed.index.contains(file.path.as_str());
        let place = self.index.iter().position(is_removed).unwrap_or(self.index.len());
        self.index.retain(|file| !is_removed(file));
        self.index.splice(place..place, commit.index);
        self.results.extend(commit.added);
        self.dead_letters.extend(commit.dead_letters);
        (self.commit, self.generation, self.next_file) = (commit.commit, commit.generation, commit.next_file);
        self.salt = commit.salt;
        self.question = commit.question.or(self.question);
        self.shape = commit.shape.or(self.shape.take());
    }
}

/// What a commit says of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is in the results.
    Answered,
    /// It is in the dead letters.
    Dead,
    /// It has left both.
    Gone,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Dead => "dead",
            Self::Gone => "gone",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Answered, Self::Dead, Self::Gone].into_iter().find(|outcome| outcome.name() == name)
    }
}

/// A row that a commit settles.
#[derive(Clone, Debug)]
pub(crate) struct Settlement {
    pub(crate) key: String,
    pub(crate) question: Fingerprint,
    pub(crate) outcome: Outcome,
}

/// The commits of a pipeline and what follows from them.
#[derive(Debug)]
pub struct CommitLog {
    state: Folder,
    folded: Folded,
    /// Whether something that cannot be read lies where the next record belongs: a power cut came before it was whole.
    is_torn: bool,
    /// The last record, where it cannot be read and its copy can.
    copied: Option<Commit>,
}

/// A copy of the last record, on a local disk: what it names has taken the place of files that are gone, so that nobody could
/// do without it. A store writes an object whole or not at all.
const COPY: &str = "commits/last.copy";

impl CommitLog {
    /// Reads the log in a state folder. What a power cut has left of the last record or of a checkpoint counts as not
    /// written: nobody was told that it exists.
    ///
    /// # Errors
    /// If a record is missing from the middle or cannot be read.
    pub async fn open(state: &Folder) -> Result<Self> {
        let folder = state.folder("commits");
        let names = folder.list().await?;
        let numbered = |end: &str| {
            let number = |name: &str| name.strip_suffix(end).and_then(|digits| digits.parse::<u64>().ok());
            let mut numbered: Vec<(u64, &str)> = names.iter().filter_map(|name| Some((number(name)?, name.as_str()))).collect();
            numbered.sort_unstable();
            numbered
        };
        let mut folded = Folded { generation: 1, next_file: 1, ..Folded::default() };
        for (_, name) in numbered(".checkpoint").into_iter().rev() {
            match read_json(&folder, name, format::CHECKPOINT).await? {
                Ok(checkpoint) => {
                    folded = checkpoint;
                    break;
                }
                Err(error) => tracing::warn!(%error, "the checkpoint `{folder}/{name}` cannot be read: the commits before it are"),
            }
        }
        let mut later = numbered(".json");
        later.retain(|(number, _)| *number > folded.commit);
        let last = later.last().map(|(number, _)| *number);
        let mut commits = futures::stream::iter(later)
            .map(|(number, name)| {
                let folder = &folder;
                async move { read_json::<Commit>(folder, name, format::COMMIT).await.map(|commit| (number, name, commit)) }
            })
            .buffered(READ_AT_ONCE);
        let (mut is_torn, mut copied) = (false, None);
        while let Some((number, name, commit)) = commits.try_next().await? {
            if number != folded.commit + 1 {
                return Err(
                    Error::failed(format!("commit {} is missing in `{folder}`", folded.commit + 1)).hint("restore it from a backup")
                );
            }
            match commit {
                Ok(commit) => folded.apply(Commit { commit: number, ..commit }),
                Err(error) if Some(number) == last => {
                    copied = copy_of(state, number).await?;
                    if let Some(copied) = copied.clone() {
                        tracing::warn!(%error, "the last commit, `{folder}/{name}`, cannot be read: its copy is");
                        folded.apply(copied);
                    } else {
                        tracing::warn!(%error, "the last commit, `{folder}/{name}`, cannot be read and counts as not written");
                        is_torn = true;
                    }
                }
                Err(error) => return Err(unreadable_commit(&folder, name, error)),
            }
        }
        drop(commits);
        Ok(Self { state: state.clone(), folded, is_torn, copied })
    }

    /// Reads what the log names; and anew, if that failed and the log has grown meanwhile: the end of a run may have
    /// replaced the files that were being read.
    ///
    /// # Errors
    /// As [`CommitLog::open`] and `read` have them.
    pub(crate) async fn reading<T>(state: &Folder, mut read: impl AsyncFnMut(&Self) -> Result<T>) -> Result<T> {
        let mut log = Self::open(state).await?;
        for _ in 1..READINGS {
            match read(&log).await {
                Ok(read) => return Ok(read),
                Err(error) => {
                    let now = Self::open(state).await?;
                    if now.len() == log.len() {
                        return Err(error);
                    }
                    log = now;
                }
            }
        }
        read(&log).await
    }

    /// Files of results that count.
    pub fn results(&self) -> &[DataFile] {
        &self.folded.results
    }

    /// Files of dead letters that count.
    pub fn dead_letters(&self) -> &[DataFile] {
        &self.folded.dead_letters
    }

    /// Files of the index of settled rows that count.
    pub(crate) fn index(&self) -> &[DataFile] {
        &self.folded.index
    }

    /// The generation that new files belong to.
    pub fn generation(&self) -> u64 {
        self.folded.generation
    }

    /// What every question is salted with.
    pub fn salt(&self) -> Option<&str> {
        self.folded.salt.as_deref()
    }

    /// The fingerprint of the part of the question that all rows shared in the last commit that settled some.
    pub(crate) fn question(&self) -> Option<Fingerprint> {
        self.folded.question
    }

    /// What the results look like; `None` if there have been none yet, or a version wrote them that did not say.
    pub(crate) fn shape(&self) -> Option<&Shape> {
        self.folded.shape.as_ref()
    }

    /// The number for the next file.
    pub(crate) fn next_file(&self) -> u64 {
        self.folded.next_file
    }

    /// How many commits there are.
    pub fn len(&self) -> u64 {
        self.folded.commit
    }

    /// Whether nothing has been committed.
    pub fn is_empty(&self) -> bool {
        self.folded.commit == 0
    }

    /// Takes the next number for a run that works on a store without locks: whoever was at work before can commit
    /// nothing from then on, and writes no file of a name that this run will write.
    ///
    /// # Errors
    /// If it cannot be written, or another run is quicker.
    pub(crate) async fn claim(&mut self, run_id: &str, at: String) -> Result<()> {
        let next_file = self.next_file().max((self.folded.commit + 1) * FILES_OF_A_COMMIT);
        let claim = Commit { run_id: run_id.to_owned(), at, next_file, ..self.unchanged() };
        self.append(claim, RowChange::default()).await
    }

    /// A record that changes nothing.
    pub(crate) fn unchanged(&self) -> Commit {
        let Folded { generation, next_file, salt, .. } = self.folded.clone();
        Commit { generation, next_file, salt, ..Commit::default() }
    }

    /// Appends a record that changes what counts by so many rows: what it settles less what leaves.
    ///
    /// # Errors
    /// If its files hold more or fewer rows than that, if it cannot be written, or if somebody else has written one of this
    /// number.
    pub(crate) async fn append(&mut self, mut commit: Commit, by: RowChange) -> Result<()> {
        // A row that is settled and in no file would be lost for good: nobody would ask about it again.
        let of_files = self.folded.change(&commit);
        if of_files != by {
            return Err(Error::failed(format!(
                "a commit was refused: its files change the results by {} rows and the dead letters by {}, the rows that it settles by \
                 {} and {}",
                of_files.results, of_files.dead_letters, by.results, by.dead_letters
            ))
            .hint("run again: what has been answered is in the journal; please report this"));
        }
        if let Some(copied) = self.copied.take() {
            self.state.put(&record_name(copied.commit), to_json(&copied)?).await?;
        }
        commit.commit = self.folded.commit + 1;
        let name = record_name(commit.commit);
        let json = to_json(&commit)?;
        if !self.write(&name, json.clone()).await? {
            return Err(Error::failed(format!("another run has written `{}/{name}`", self.state))
                .hint("let one run at a time work on a pipeline; what this one had journalled is kept"));
        }
        self.is_torn = false;
        if self.state.local().is_some() {
            self.state.put(COPY, json).await?;
        }
        self.folded.apply(commit);
        if self.folded.commit.is_multiple_of(CHECKPOINT_EVERY) {
            let name = format!("commits/{:08}.checkpoint", self.folded.commit);
            // It only saves reading: the record counts without it.
            if let Err(error) = self.state.put(&name, to_json(&self.folded)?).await {
                tracing::warn!(%error, "no checkpoint of the commits was written; the next one will be");
            }
        }
        Ok(())
    }

    /// Writes the next record; `false` if somebody else has.
    async fn write(&self, name: &str, json: Vec<u8>) -> Result<bool> {
        if self.is_torn
            && let Some((bytes, version)) = self.state.get_versioned(name).await?
        {
            format::COMMIT.check_json(&format!("{}/{name}", self.state), &bytes)?;
            if serde_json::from_slice::<Commit>(&bytes).is_ok() {
                return Ok(false);
            }
            // On a local disk we are alone here.
            return match self.state.local() {
                Some(_) => self.state.put(name, json).await.map(|()| true),
                None => Ok(self.state.replace(name, json.into(), version).await?.is_some()),
            };
        }
        self.state.create(name, json).await
    }

    /// The records behind the one of this number, in order.
    ///
    /// # Errors
    /// If one is missing or cannot be read.
    pub(crate) async fn since(&self, number: u64) -> Result<Vec<Commit>> {
        let folder = self.state.folder("commits");
        let names = (number + 1..=self.folded.commit).map(|number| format!("{number:08}.json"));
        futures::stream::iter(names)
            .map(|name| {
                let folder = &folder;
                async move { read_json::<Commit>(folder, &name, format::COMMIT).await?.map_err(|error| unreadable_commit(folder, &name, error)) }
            })
            .buffered(READ_AT_ONCE)
            .try_collect()
            .await
    }

    /// How many rows are in the files that count.
    pub(crate) fn rows(&self) -> u64 {
        self.results().iter().chain(self.dead_letters()).map(|file| file.rows).sum()
    }

    /// Everything that has been settled; of dead letters only that their keys are known, if they are to be asked again.
    ///
    /// # Errors
    /// If an index is missing or cannot be read.
    pub(crate) async fn settled(&self, with_dead_letters: bool) -> Result<Settled> {
        let mut rows = Sorted::default();
        self.each_settled(|key, question, outcome| {
            let question = match outcome {
                Outcome::Answered => of_question(question),
                Outcome::Dead if with_dead_letters => of_question(question),
                Outcome::Dead => UNSETTLED,
                Outcome::Gone => GONE,
            };
            rows.push((key_hash(key), question))
        })
        .await?;
        Settled::new(rows)
    }

    /// What the indexes say, row by row; of a key the last word counts.
    ///
    /// # Errors
    /// If an index is missing or cannot be read.
    pub(crate) async fn each_settled(&self, mut each: impl FnMut(&str, Fingerprint, Outcome) -> Result<()>) -> Result<()> {
        let folder = self.state.folder("index");
        let mut files = futures::stream::iter(&self.folded.index)
            .map(|file| {
                let folder = &folder;
                async move {
                    let name = format!("{folder}/{}", file.path);
                    let opened = ParquetRecordBatchStreamBuilder::new(folder.reader(&file.path, file.bytes)).await;
                    let opened = opened.map_err(|error| unreadable(&name, error))?;
                    format::INDEX.check_metadata(&name, opened.metadata().file_metadata().key_value_metadata())?;
                    let batches = opened.with_batch_size(INDEX_BATCH).build().map_err(|error| unreadable(&name, error))?;
                    Ok::<_, Error>((name, batches))
                }
            })
            .buffered(READ_AT_ONCE);
        while let Some((name, mut batches)) = files.try_next().await? {
            while let Some(batch) = batches.try_next().await.map_err(|error| unreadable(&name, error))? {
                for row in index_rows(&batch).map_err(|error| unreadable(&name, error))? {
                    let (key, question, outcome) = row.map_err(|error| unreadable(&name, error))?;
                    each(key, question, outcome)?;
                }
            }
        }
        Ok(())
    }
}

fn record_name(number: u64) -> String {
    format!("commits/{number:08}.json")
}

/// The record of this number, if it is the one that there is a copy of.
async fn copy_of(state: &Folder, number: u64) -> Result<Option<Commit>> {
    let Some(json) = state.get(COPY).await? else { return Ok(None) };
    format::COMMIT.check_json(&format!("{state}/{COPY}"), &json)?;
    let copied: Option<Commit> = serde_json::from_slice(&json).ok();
    Ok(copied.filter(|copied| copied.commit == number))
}

/// What a file says; the inner error if it is not what was written. One of a later version is an error of its own.
async fn read_json<T: serde::de::DeserializeOwned>(folder: &Folder, name: &str, format: Format) -> Result<serde_json::Result<T>> {
    let bytes = folder.get(name).await?.unwrap_or_default();
    format.check_json(&format!("{folder}/{name}"), &bytes)?;
    Ok(serde_json::from_slice(&bytes))
}

fn unreadable_commit(folder: &Folder, name: &str, error: serde_json::Error) -> Error {
    Error::failed(format!("commit `{folder}/{name}` cannot be read"))
        .hint("restore it from a backup; the results' files are untouched")
        .because(error)
}

fn to_json(record: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(record).map_err(|error| Error::failed("a commit cannot be written as JSON").because(error))
}

/// Why an index cannot be read.
type Unreadable = Box<dyn std::error::Error + Send + Sync>;

fn unreadable(index: &str, error: impl Into<Unreadable>) -> Error {
    Error::failed(format!("index `{index}` cannot be read")).hint("restore it from a backup").because(error)
}

/// Key, question and outcome of each row of an index.
fn index_rows(batch: &RecordBatch) -> Result<impl Iterator<Item = Result<(&str, Fingerprint, Outcome), Unreadable>>, Unreadable> {
    let keys = batch.column(0).as_string_opt::<i32>().ok_or("no keys")?;
    let questions = batch.column(1).as_fixed_size_binary_opt().ok_or("no questions")?;
    let outcomes = batch.column(2).as_string_opt::<i32>().ok_or("no outcomes")?;
    Ok((0..batch.num_rows()).map(|row| {
        let question = Fingerprint::from_bytes(questions.value(row).try_into()?);
        Ok((keys.value(row), question, Outcome::named(outcomes.value(row)).ok_or("an unknown outcome")?))
    }))
}

fn index_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("question", DataType::FixedSizeBinary(16), false),
        Field::new("outcome", DataType::Utf8, false),
    ]))
}

/// An index of settled rows, as the bytes of a Parquet file.
pub(crate) fn index_file(settled: &[Settlement]) -> Result<Vec<u8>> {
    let (mut keys, mut questions) = (StringBuilder::new(), FixedSizeBinaryBuilder::with_capacity(settled.len(), 16));
    for row in settled {
        keys.append_value(&row.key);
        questions.append_value(row.question.as_bytes())?;
    }
    let outcomes = StringArray::from_iter_values(settled.iter().map(|row| row.outcome.name()));
    let columns: Vec<ArrayRef> = vec![Arc::new(keys.finish()), Arc::new(questions.finish()), Arc::new(outcomes)];
    let batch = RecordBatch::try_new(index_schema(), columns)?;
    let properties = writer_properties().set_key_value_metadata(Some(format::INDEX.metadata()));
    parquet_file_with(&index_schema(), [&batch], properties.build())
}

/// What gathers in a column of a file before it is compressed: a quarter of the usual, as a file is open for each
/// partition of the results.
const PAGE_BYTES: usize = 256 << 10;

/// How our files are written: fast compression, and nothing that readers of our own day lack.
pub(crate) fn writer_properties() -> WriterPropertiesBuilder {
    let level = ZstdLevel::try_new(1).unwrap_or_default();
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_data_page_size_limit(PAGE_BYTES)
        .set_created_by(format!("promptmill {}", env!("CARGO_PKG_VERSION")))
}

/// Record batches as the bytes of a Parquet file.
#[cfg(test)]
pub(crate) fn parquet_file<'a>(schema: &SchemaRef, batches: impl IntoIterator<Item = &'a RecordBatch>) -> Result<Vec<u8>> {
    parquet_file_with(schema, batches, writer_properties().build())
}

fn parquet_file_with<'a>(
    schema: &SchemaRef,
    batches: impl IntoIterator<Item = &'a RecordBatch>,
    properties: WriterProperties,
) -> Result<Vec<u8>> {
    let failed = |error| Error::failed("a Parquet file cannot be made").because(error);
    let options = writer_options(schema, properties).map_err(failed)?;
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), Arc::clone(schema), options).map_err(failed)?;
    for batch in batches {
        writer.write(batch).map_err(failed)?;
    }
    writer.into_inner().map_err(failed)
}

/// Stands for the question of a row whose key is known and that is to be asked all the same.
const UNSETTLED: u64 = 0;
/// Stands for the question of a row that has left the results.
const GONE: u64 = 1;

/// The rows that are settled, as sorted hashes of key and question: 16 bytes a row, not all of them in memory.
#[derive(Debug)]
pub(crate) struct Settled {
    rows: Sorted<(u64, u64)>,
    settled: u64,
}

impl Settled {
    /// Of every key the last word counts.
    fn new(rows: Sorted<(u64, u64)>) -> Result<Self> {
        let mut settled = 0;
        let rows = rows.finish(|(key, question), behind| {
            let stays = question != GONE && behind.is_none_or(|(behind, _)| behind != key);
            settled += u64::from(stays && question != UNSETTLED);
            stays
        })?;
        Ok(Self { rows, settled })
    }

    /// How many rows are settled.
    pub(crate) fn len(&self) -> u64 {
        self.settled
    }

    /// How many keys are known: of rows that are settled, and of those that are to be asked again.
    pub(crate) fn keys_known(&self) -> u64 {
        self.rows.len()
    }

    /// Whether the row with this key is in the results or the dead letters, whatever was asked.
    pub(crate) fn has_key(&self, key: &str) -> Result<bool> {
        Ok(!self.rows.is_empty() && self.question(key)?.is_some())
    }

    /// The hashes of all keys, in order.
    pub(crate) fn keys(&self) -> Result<impl Iterator<Item = Result<u64>> + '_> {
        Ok(self.rows.iter()?.map(|row| row.map(|(key, _)| key)))
    }

    fn question(&self, key: &str) -> Result<Option<u64>> {
        Ok(self.rows.last(key_hash(key))?.map(|(_, question)| question))
    }
}

impl Answered for Settled {
    fn contains(&self, key: &str, question: Fingerprint) -> Result<bool> {
        Ok(!self.rows.is_empty() && self.question(key)? == Some(of_question(question)))
    }

    fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// 64 bits of a question's fingerprint, none of those that stand for something else.
fn of_question(question: Fingerprint) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *question.as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h]).max(GONE + 1)
}

/// A key as a number that no two keys share: 128 bits of its hash.
pub(crate) fn key_digest(key: &str) -> u128 {
    let hash = blake3::hash(key.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_bytes()[..16]);
    u128::from_le_bytes(bytes)
}

/// 64 bits of it: for sets in which a rare collision is checked or harmless.
pub(crate) fn key_hash(key: &str) -> u64 {
    key_digest(key) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settlement(key: &str, question: &str, outcome: Outcome) -> Settlement {
        Settlement { key: key.into(), question: of(question), outcome }
    }

    fn of(question: &str) -> Fingerprint {
        Fingerprint::of([question.as_bytes()])
    }

    fn file(path: &str) -> DataFile {
        DataFile { path: path.into(), rows: 1, bytes: 1, partition: vec![] }
    }

    fn by(results: i64) -> RowChange {
        RowChange { results, dead_letters: 0 }
    }

    fn sample() -> Commit {
        let columns = Schema::new(vec![Field::new("id", DataType::Utf8, true), Field::new("year", DataType::Int32, true)]);
        let data = |path: &str, partition| DataFile { path: path.into(), rows: 7, bytes: 900, partition };
        Commit {
            commit: 3,
            run_id: "20260101T000000-00000000".into(),
            generation: 2,
            at: "2026-01-01T00:00:00Z".into(),
            added: vec![data("year=2024/0002a3f2-000007.parquet", vec![Some("2024".into())]), data("year=x/a", vec![None])],
            dead_letters: vec![data("0002a3f2-000008.parquet", vec![])],
            removed: vec!["year=2024/0002a3f2-000001.parquet".into(), "dead_letters/a".into(), "index/b".into()],
            index: vec![data("0002a3f2-000009.parquet", vec![])],
            next_file: 10,
            salt: Some("20260101T000000-00000000".into()),
            question: Some(of("q")),
            shape: Some(Shape::new(&promptmill_core::pipeline::Key::of(["id"]), &["year".to_owned()], &Arc::new(columns))),
            ..Commit::default()
        }
    }

    #[test]
    fn a_record_is_written_as_ever() {
        let read = |bytes: &[u8]| {
            let read: Commit = serde_json::from_slice(bytes).expect("a record");
            read.commit == 3 && read.added == sample().added && read.question == sample().question && read.shape == sample().shape
        };
        format::golden::check(format::COMMIT, &to_json(&sample()).expect("JSON"), read);
        let mut folded = Folded { generation: 1, next_file: 1, commit: 2, ..Folded::default() };
        folded.apply(sample());
        let read = |bytes: &[u8]| {
            let read: Folded = serde_json::from_slice(bytes).expect("a checkpoint");
            read.commit == 3 && read.results == sample().added && read.shape == sample().shape
        };
        format::golden::check(format::CHECKPOINT, &to_json(&folded).expect("JSON"), read);
    }

    #[test]
    fn an_index_is_written_as_ever() {
        let rows = [settlement("k1", "q", Outcome::Answered), settlement("k2", "q", Outcome::Dead), settlement("é", "r", Outcome::Gone)];
        let read = |bytes: &[u8]| {
            let file = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::copy_from_slice(bytes));
            let batch = file.expect("a file").build().expect("a reader").next().expect("a batch").expect("rows");
            let read: Vec<_> = index_rows(&batch).expect("an index").map(|row| row.expect("a row")).collect();
            read == rows.iter().map(|row| (row.key.as_str(), row.question, row.outcome)).collect::<Vec<_>>()
        };
        format::golden::check_parquet(format::INDEX, &index_file(&rows).expect("a file"), read);
    }

    #[tokio::test]
    async fn a_log_of_a_later_version_is_refused_and_left_as_it_is() {
        for (name, text) in [
            ("commits/00000001.json", r#"{"v":2,"commit":"another shape"}"#),
            ("commits/00000050.checkpoint", r#"{"v":2,"results":{"of":"another shape"}}"#),
        ] {
            let state = Folder::in_memory();
            state.put(name, text).await.expect("written");
            let error = CommitLog::open(&state).await.expect_err("a later version").to_string();
            assert!(error.contains(name) && error.contains("later version"), "{error}");
            assert_eq!(state.get(name).await.expect("reads").expect("is there"), text.as_bytes());
        }
        // An index of a later version.
        let state = Folder::in_memory();
        let mut later = index_file(&[settlement("k", "q", Outcome::Answered)]).expect("a file");
        let at = later.windows(17).position(|bytes| bytes == b"promptmill.format").expect("its metadata");
        let at = at + later[at..].iter().position(|byte| *byte == b'1').expect("a version");
        later[at] = b'2';
        state.put("index/a.parquet", later.clone()).await.expect("written");
        let mut log = CommitLog::open(&state).await.expect("opens");
        let index = vec![DataFile { path: "a.parquet".into(), rows: 1, bytes: later.len() as u64, partition: vec![] }];
        log.append(Commit { index, ..log.unchanged() }, RowChange::default()).await.expect("commits");
        let error = log.settled(true).await.expect_err("a later version").to_string();
        assert!(error.contains("index/a.parquet") && error.contains("later version"), "{error}");
    }

    #[tokio::test]
    async fn a_record_whose_files_hold_other_rows_than_it_settles_is_refused() {
        let temp = tempfile::tempdir().expect("a folder");
        let state = Folder::open(&temp.path().to_string_lossy()).expect("opens");
        let mut log = CommitLog::open(&state).await.expect("opens");
        let two = Commit { added: vec![file("a"), file("b")], ..log.unchanged() };
        for wrong in [by(1), by(3), RowChange { results: 2, dead_letters: 1 }, RowChange { results: 1, dead_letters: 1 }] {
            let error = log.append(two.clone(), wrong).await.expect_err("refused");
            assert!(error.to_string().contains("a commit was refused"), "{error}");
        }
        assert!(log.is_empty() && state.folder("commits").list().await.expect("lists").is_empty(), "nothing was written");
        log.append(two, by(2)).await.expect("commits");
        let merged = Commit { added: vec![file("c")], removed: vec!["a".into(), "b".into()], ..log.unchanged() };
        log.append(merged.clone(), RowChange::default()).await.expect_err("a merge that lost a row");
        log.append(merged, by(-1)).await.expect("commits");
        let letters = Commit { dead_letters: vec![file("d")], removed: vec!["c".into()], ..log.unchanged() };
        log.append(letters, RowChange { results: -1, dead_letters: 1 }).await.expect("an answer gives way to a dead letter");
        assert_eq!(log.rows(), 1);
    }

    #[tokio::test]
    async fn a_checkpoint_that_cannot_be_written_holds_nobody_up() {
        let state = Folder::in_memory();
        // One list and a record each; then the checkpoint.
        let faults = crate::storage::Faults::at(CHECKPOINT_EVERY as usize + 2, crate::storage::Fault::Refused, false);
        let mut log = CommitLog::open(&state.with_faults(&faults)).await.expect("opens");
        for number in 0..=CHECKPOINT_EVERY {
            log.append(Commit { added: vec![file(&format!("f{number}"))], ..log.unchanged() }, by(1)).await.expect("commits");
        }
        assert!(faults.first().is_some_and(|first| first.contains(".checkpoint")), "{:?}", faults.first());
        assert_eq!(CommitLog::open(&state).await.expect("opens").rows(), CHECKPOINT_EVERY + 1);
    }

    #[tokio::test]
    async fn what_a_power_cut_left_of_the_last_record_and_of_a_checkpoint_was_never_written() {
        let temp = tempfile::tempdir().expect("a folder");
        let local = Folder::open(&temp.path().to_string_lossy()).expect("opens");
        for state in [local, Folder::in_memory()] {
            let mut log = CommitLog::open(&state).await.expect("opens");
            for number in 0..CHECKPOINT_EVERY + 2 {
                log.append(Commit { added: vec![file(&format!("f{number}"))], ..log.unchanged() }, by(1)).await.expect("commits");
            }
            for torn in ["", "{\"commit\": 52, \"run_", "\0\0\0\0"] {
                state.put(COPY, torn).await.expect("torn");
                state.put(&format!("commits/{:08}.json", CHECKPOINT_EVERY + 2), torn).await.expect("torn");
                state.put(&format!("commits/{CHECKPOINT_EVERY:08}.checkpoint"), torn).await.expect("torn");
                let mut log = CommitLog::open(&state).await.expect("opens");
                assert_eq!((log.len(), log.rows()), (CHECKPOINT_EVERY + 1, CHECKPOINT_EVERY + 1));
                let mut late = CommitLog::open(&state).await.expect("opens");
                log.append(Commit { added: vec![file("g")], ..log.unchanged() }, by(1)).await.expect("takes its place");
                let error = late.append(late.unchanged(), by(0)).await.expect_err("somebody else was quicker");
                assert!(error.to_string().contains("another run has written"), "{error}");
                let again = CommitLog::open(&state).await.expect("opens");
                assert_eq!(again.results().last().map(|file| file.path.as_str()), Some("g"));
            }
            state.put("commits/00000007.json", "").await.expect("damaged");
            let error = CommitLog::open(&state).await.expect_err("one in the middle is needed");
            assert!(error.to_string().contains("00000007.json` cannot be read"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_copy_stands_for_the_last_record_and_puts_it_back() {
        let temp = tempfile::tempdir().expect("a folder");
        let state = Folder::open(&temp.path().to_string_lossy()).expect("opens");
        let mut log = CommitLog::open(&state).await.expect("opens");
        for name in ["f", "g"] {
            log.append(Commit { added: vec![file(name)], ..log.unchanged() }, by(1)).await.expect("commits");
        }
        let whole = state.get(&record_name(2)).await.expect("reads").expect("is there");
        state.put(&record_name(2), &b"{\"comm"[..]).await.expect("torn");
        let mut log = CommitLog::open(&state).await.expect("opens");
        assert_eq!((log.len(), log.rows()), (2, 2));
        assert_ne!(state.get(&record_name(2)).await.expect("reads"), Some(whole.clone()), "a reader writes nothing");
        log.append(Commit { added: vec![file("h")], ..log.unchanged() }, by(1)).await.expect("commits");
        assert_eq!(state.get(&record_name(2)).await.expect("reads"), Some(whole));
        assert_eq!(CommitLog::open(&state).await.expect("opens").rows(), 3);
        // The copy of another record is none of this one.
        state.put(&record_name(3), &b""[..]).await.expect("torn");
        let older = state.get(&record_name(2)).await.expect("reads").expect("is there");
        state.put(COPY, older).await.expect("an older copy");
        assert_eq!(CommitLog::open(&state).await.expect("opens").rows(), 2);
    }

    async fn indexed(log: &CommitLog, name: &str, rows: &[Settlement]) -> Vec<DataFile> {
        let index = index_file(rows).expect("an index");
        let (rows, bytes) = (rows.len() as u64, index.len() as u64);
        log.state.put(&format!("index/{name}"), index).await.expect("written");
        vec![DataFile { path: name.into(), rows, bytes, partition: vec![] }]
    }

    #[tokio::test]
    async fn what_is_committed_is_read_back_and_a_number_is_used_once() {
        let temp = tempfile::tempdir().expect("a folder");
        let state = Folder::open(&temp.path().to_string_lossy()).expect("opens");
        let mut log = CommitLog::open(&state).await.expect("opens");
        let mut late = CommitLog::open(&state).await.expect("opens");
        let commit = |added: &[&str], removed: &[&str], index: Vec<DataFile>| Commit {
            generation: 1,
            added: added.iter().map(|path| file(path)).collect(),
            removed: removed.iter().map(|path| (*path).to_owned()).collect(),
            next_file: 9,
            run_id: "run-1".into(),
            index,
            ..Commit::default()
        };
        let first = [
            settlement("k1", "a", Outcome::Answered),
            settlement("k2", "a", Outcome::Dead),
            settlement("k3", "a", Outcome::Answered),
            settlement("k4", "a", Outcome::Answered),
        ];
        let index = indexed(&log, "1", &first).await;
        log.append(commit(&["a", "b"], &[], index), by(2)).await.expect("commits");
        let second = [settlement("k3", "b", Outcome::Answered), settlement("k4", "a", Outcome::Gone)];
        let index = indexed(&log, "2", &second).await;
        log.append(commit(&["c"], &["a"], index), by(0)).await.expect("commits");
        let error = late.append(Commit { run_id: "run-2".into(), ..commit(&["d"], &[], vec![]) }, by(1)).await.expect_err("too late");
        assert!(error.to_string().contains("another run has written"), "{error}");

        let log = CommitLog::open(&state).await.expect("opens");
        assert_eq!(log.results().iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!((log.len(), log.next_file()), (2, 9));
        let settled = log.settled(true).await.expect("reads");
        assert_eq!(settled.len(), 3);
        assert!(settled.contains("k1", of("a")).expect("reads") && !settled.contains("k1", of("b")).expect("reads"));
        assert!(settled.contains("k2", of("a")).expect("reads"));
        assert!(
            settled.contains("k3", of("b")).expect("reads") && !settled.contains("k3", of("a")).expect("reads"),
            "the last word counts"
        );
        assert!(!settled.has_key("k4").expect("reads") && !settled.contains("k4", of("a")).expect("reads"), "it has left");
        let asked_again = log.settled(false).await.expect("reads");
        assert_eq!(asked_again.len(), 2);
        assert!(
            !asked_again.contains("k2", of("a")).expect("reads") && asked_again.has_key("k2").expect("reads"),
            "a dead letter, when told to"
        );
    }

    #[tokio::test]
    async fn a_checkpoint_stands_for_what_was_before_it() {
        let temp = tempfile::tempdir().expect("a folder");
        let state = Folder::open(&temp.path().to_string_lossy()).expect("opens");
        let mut log = CommitLog::open(&state).await.expect("opens");
        for number in 0..CHECKPOINT_EVERY + 3 {
            let removed = if number % 2 == 1 { vec![format!("f{}", number - 1)] } else { vec![] };
            let added = vec![file(&format!("f{number}"))];
            log.append(Commit { added, removed, next_file: number, ..log.unchanged() }, by(1 - (number % 2) as i64))
                .await
                .expect("commits");
        }
        let whole = log.results().to_vec();
        for number in 1..=CHECKPOINT_EVERY {
            std::fs::remove_file(temp.path().join(format!("commits/{number:08}.json"))).expect("removed");
        }
        let again = CommitLog::open(&state).await.expect("opens");
        assert_eq!((again.results(), again.len()), (whole.as_slice(), CHECKPOINT_EVERY + 3));
    }
}
