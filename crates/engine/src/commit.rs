//! Which files belong to the results, in order: numbered records, each written once.
//!
//! A file becomes part of the results by one record, and a record is created or not: readers see whole
//! commits. With each commit goes an index of the rows that it settles, so that the next run knows what has
//! been answered without reading the results. Whatever no record names is an orphan of a run that died, and
//! is swept when the next one starts.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::{ArrayRef, AsArray, BooleanArray, FixedSizeBinaryBuilder, RecordBatch, StringBuilder};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use promptmill_core::{Answered, Error, Fingerprint, Result, RowId};
use serde::{Deserialize, Serialize};

use crate::storage::Folder;

/// A file of results or dead letters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DataFile {
    /// Its name, relative to its folder: `year=2024/0001-000007.parquet`.
    pub path: String,
    /// Rows in it.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// The values of its partitions, outermost first; `None` is null.
    #[serde(default)]
    pub partition: Vec<Option<String>>,
}

/// One record of the commit log.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Commit {
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
    /// Files of either kind that count no longer, by path; dead letters with `dead_letters/` in front.
    pub removed: Vec<String>,
    /// The index of the rows that this commit settles, if it settles any.
    pub index: Option<String>,
    /// The number for the next file.
    pub next_file: u64,
    /// Rows of this commit whose keys stand in files of earlier commits too, with an older answer.
    #[serde(default)]
    pub superseded: u64,
    /// Whether the files of earlier commits hold no such older answer any more.
    #[serde(default)]
    pub tidied: bool,
}

/// A row that a commit settles.
#[derive(Clone, Debug)]
pub(crate) struct Settlement {
    pub(crate) key: String,
    pub(crate) question: Fingerprint,
    pub(crate) is_dead: bool,
    /// Whether an older answer to its key has to leave the results.
    pub(crate) supersedes: bool,
}

/// The commits of a pipeline and what follows from them.
#[derive(Debug)]
pub struct CommitLog {
    state: Folder,
    commits: Vec<Commit>,
}

impl CommitLog {
    /// Reads the log in a state folder.
    ///
    /// # Errors
    /// If a record is missing from the middle or cannot be read.
    pub async fn open(state: &Folder) -> Result<Self> {
        let folder = state.folder("commits");
        let mut commits: Vec<Commit> = Vec::new();
        for name in folder.list().await?.iter().filter(|name| name.ends_with(".json")) {
            let bytes = folder.get(name).await?.unwrap_or_default();
            let commit: Commit = serde_json::from_slice(&bytes).map_err(|error| {
                Error::failed(format!("commit `{folder}/{name}` cannot be read"))
                    .hint("restore it from a backup; the results' files are untouched")
                    .because(error)
            })?;
            if commit.commit != commits.len() as u64 + 1 {
                return Err(
                    Error::failed(format!("commit {} is missing in `{folder}`", commits.len() + 1)).hint("restore it from a backup")
                );
            }
            commits.push(commit);
        }
        Ok(Self { state: state.clone(), commits })
    }

    /// Files of results that count.
    pub fn results(&self) -> Vec<DataFile> {
        let removed = self.removed();
        self.commits.iter().flat_map(|commit| &commit.added).filter(|file| !removed.contains(file.path.as_str())).cloned().collect()
    }

    /// Files of dead letters that count.
    pub fn dead_letters(&self) -> Vec<DataFile> {
        let removed = self.removed();
        let counts = |file: &&DataFile| !removed.contains(format!("dead_letters/{}", file.path).as_str());
        self.commits.iter().flat_map(|commit| &commit.dead_letters).filter(counts).cloned().collect()
    }

    fn removed(&self) -> BTreeSet<&str> {
        self.commits.iter().flat_map(|commit| &commit.removed).map(String::as_str).collect()
    }

    /// The generation that new files belong to.
    pub fn generation(&self) -> u64 {
        self.commits.last().map_or(1, |commit| commit.generation)
    }

    /// The number for the next file.
    pub(crate) fn next_file(&self) -> u64 {
        self.commits.last().map_or(1, |commit| commit.next_file)
    }

    /// How many commits there are.
    pub fn len(&self) -> usize {
        self.commits.len()
    }

    /// Whether nothing has been committed.
    pub fn is_empty(&self) -> bool {
        self.commits.is_empty()
    }

    /// Appends a record, with the index of the rows that it settles.
    ///
    /// # Errors
    /// If it cannot be written, or somebody else has written one of this number.
    pub(crate) async fn append(&mut self, mut commit: Commit, settled: &[Settlement]) -> Result<()> {
        commit.commit = self.commits.len() as u64 + 1;
        if !settled.is_empty() {
            let name = format!("index/{:08}.parquet", commit.commit);
            self.state.put(&name, index_file(settled)?).await?;
            commit.index = Some(name);
            commit.superseded = settled.iter().filter(|row| row.supersedes).count() as u64;
        }
        let name = format!("commits/{:08}.json", commit.commit);
        let json =
            serde_json::to_vec_pretty(&commit).map_err(|error| Error::failed("a commit cannot be written as JSON").because(error))?;
        if !self.state.create(&name, json).await? {
            return Err(
                Error::failed(format!("another run has written `{}/{name}`", self.state)).hint("let one run at a time work on a pipeline")
            );
        }
        self.commits.push(commit);
        Ok(())
    }

    /// Everything that has been settled; without the dead letters, if they are to be asked again.
    ///
    /// # Errors
    /// If an index is missing or cannot be read.
    pub(crate) async fn settled(&self, with_dead_letters: bool) -> Result<Settled> {
        let latest = self.latest_of_superseded().await?;
        let mut settled = Settled::default();
        for name in self.commits.iter().filter_map(|commit| commit.index.as_ref()) {
            self.read_index(name, |row| {
                settled.keys.push(key_hash(row.key));
                // Of a key that was answered more than once only the last question is settled.
                let counts = latest.get(row.key).is_none_or(|(question, _)| *question == row.question);
                if counts && (with_dead_letters || !row.is_dead) {
                    settled.rows.push(RowId::new(row.key, row.question).to_u128());
                }
            })
            .await?;
        }
        settled.rows.sort_unstable();
        settled.keys.sort_unstable();
        Ok(settled)
    }

    /// Keys whose older answers may still stand in files, with the commit that superseded them.
    pub(crate) async fn untidy(&self) -> Result<HashMap<String, u64>> {
        let tidied = self.commits.iter().rposition(|commit| commit.tidied).map_or(0, |index| index + 1);
        if self.commits[tidied..].iter().all(|commit| commit.superseded == 0) {
            return Ok(HashMap::new());
        }
        let latest = self.latest_of_superseded().await?;
        Ok(latest.into_iter().filter(|(_, (_, commit))| *commit > tidied as u64).map(|(key, (_, commit))| (key, commit)).collect())
    }

    /// Of every key that was answered more than once: the last question and its commit.
    async fn latest_of_superseded(&self) -> Result<HashMap<String, (Fingerprint, u64)>> {
        let mut latest = HashMap::new();
        for commit in self.commits.iter().filter(|commit| commit.superseded > 0) {
            let Some(name) = &commit.index else { continue };
            self.read_index(name, |row| {
                if row.supersedes {
                    latest.insert(row.key.to_owned(), (row.question, commit.commit));
                }
            })
            .await?;
        }
        Ok(latest)
    }

    /// The commit that added a file of results.
    pub(crate) fn commit_of(&self, path: &str) -> u64 {
        let adds = |commit: &&Commit| {
            commit.added.iter().any(|file| file.path == path)
                || commit.dead_letters.iter().any(|file| format!("dead_letters/{}", file.path) == path)
        };
        self.commits.iter().rev().find(adds).map_or(0, |commit| commit.commit)
    }

    async fn read_index(&self, name: &str, each: impl FnMut(IndexRow<'_>)) -> Result<()> {
        let bytes = self.state.get(name).await?.ok_or_else(|| Error::failed(format!("index `{}/{name}` is missing", self.state)))?;
        read_index(bytes, each).map_err(|error| Error::failed(format!("index `{}/{name}` cannot be read", self.state)).because(error))
    }
}

/// A row of an index file.
struct IndexRow<'a> {
    key: &'a str,
    question: Fingerprint,
    is_dead: bool,
    supersedes: bool,
}

fn read_index(bytes: Bytes, mut each: impl FnMut(IndexRow<'_>)) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    for batch in ParquetRecordBatchReaderBuilder::try_new(bytes)?.build()? {
        let batch = batch?;
        let keys = batch.column(0).as_string_opt::<i32>().ok_or("no keys")?;
        let questions = batch.column(1).as_fixed_size_binary_opt().ok_or("no questions")?;
        let (dead, supersedes) = (batch.column(2).as_boolean_opt().ok_or("no flags")?, batch.column(3).as_boolean_opt().ok_or("no flags")?);
        for row in 0..batch.num_rows() {
            each(IndexRow {
                key: keys.value(row),
                question: Fingerprint::from_bytes(questions.value(row).try_into()?),
                is_dead: dead.value(row),
                supersedes: supersedes.value(row),
            });
        }
    }
    Ok(())
}

fn index_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("question", DataType::FixedSizeBinary(16), false),
        Field::new("dead", DataType::Boolean, false),
        Field::new("supersedes", DataType::Boolean, false),
    ]))
}

fn index_file(settled: &[Settlement]) -> Result<Vec<u8>> {
    let (mut keys, mut questions) = (StringBuilder::new(), FixedSizeBinaryBuilder::with_capacity(settled.len(), 16));
    for row in settled {
        keys.append_value(&row.key);
        questions.append_value(row.question.as_bytes())?;
    }
    let dead: BooleanArray = settled.iter().map(|row| Some(row.is_dead)).collect();
    let supersedes: BooleanArray = settled.iter().map(|row| Some(row.supersedes)).collect();
    let columns: Vec<ArrayRef> = vec![Arc::new(keys.finish()), Arc::new(questions.finish()), Arc::new(dead), Arc::new(supersedes)];
    let batch = RecordBatch::try_new(index_schema(), columns)?;
    parquet_file(&index_schema(), [&batch])
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
pub(crate) fn parquet_file<'a>(schema: &SchemaRef, batches: impl IntoIterator<Item = &'a RecordBatch>) -> Result<Vec<u8>> {
    let failed = |error| Error::failed("a Parquet file cannot be made").because(error);
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(schema), Some(writer_properties().build())).map_err(failed)?;
    for batch in batches {
        writer.write(batch).map_err(failed)?;
    }
    writer.into_inner().map_err(failed)
}

/// The rows that are settled, as sorted hashes: 16 bytes a row, 8 a key.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    rows: Vec<u128>,
    keys: Vec<u64>,
}

impl Settled {
    /// How many rows.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether some question has been settled about the row with this key.
    pub(crate) fn has_key(&self, key: &str) -> bool {
        !self.keys.is_empty() && self.keys.binary_search(&key_hash(key)).is_ok()
    }
}

impl Answered for Settled {
    fn contains(&self, row: RowId) -> bool {
        self.rows.binary_search(&row.to_u128()).is_ok()
    }

    fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// 64 bits of a key's hash: for sets in which a rare collision is checked or harmless.
pub(crate) fn key_hash(key: &str) -> u64 {
    let hash = blake3::hash(key.as_bytes());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settlement(key: &str, is_dead: bool) -> Settlement {
        Settlement { key: key.into(), question: Fingerprint::of([key.as_bytes()]), is_dead, supersedes: false }
    }

    fn file(path: &str) -> DataFile {
        DataFile { path: path.into(), rows: 1, bytes: 1, partition: vec![] }
    }

    #[tokio::test]
    async fn what_is_committed_is_read_back_and_a_number_is_used_once() {
        let temp = tempfile::tempdir().expect("a folder");
        let state = Folder::open(&temp.path().to_string_lossy()).expect("opens");
        let mut log = CommitLog::open(&state).await.expect("opens");
        let mut late = CommitLog::open(&state).await.expect("opens");
        let commit = |added: &[&str], removed: &[&str]| Commit {
            generation: 1,
            added: added.iter().map(|path| file(path)).collect(),
            removed: removed.iter().map(|path| (*path).to_owned()).collect(),
            next_file: 9,
            ..Commit::default()
        };
        log.append(commit(&["a", "b"], &[]), &[settlement("k1", false), settlement("k2", true)]).await.expect("commits");
        log.append(commit(&["c"], &["a"]), &[]).await.expect("commits");
        late.append(commit(&["x"], &[]), &[]).await.expect_err("the number is taken");
        let log = CommitLog::open(&state).await.expect("opens");
        assert_eq!(log.results().iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!((log.len(), log.next_file()), (2, 9));
        let settled = log.settled(true).await.expect("reads");
        assert!(settled.contains(RowId::new("k1", Fingerprint::of([b"k1".as_slice()]))));
        assert!(!settled.contains(RowId::new("k1", Fingerprint::of([b"other".as_slice()]))));
        assert!(settled.has_key("k2") && !settled.has_key("k3"));
        let asked_again = log.settled(false).await.expect("reads");
        assert!(!asked_again.contains(RowId::new("k2", Fingerprint::of([b"k2".as_slice()]))), "a dead letter, when told to");
        assert_eq!(log.untidy().await.expect("reads").len(), 0);
    }

    #[tokio::test]
    async fn of_a_key_answered_twice_the_last_question_counts() {
        let temp = tempfile::tempdir().expect("a folder");
        let state = Folder::open(&temp.path().to_string_lossy()).expect("opens");
        let mut log = CommitLog::open(&state).await.expect("opens");
        let asks = |question: &str, supersedes| Settlement {
            key: "k".into(),
            question: Fingerprint::of([question.as_bytes()]),
            is_dead: false,
            supersedes,
        };
        let row = |question: &str| RowId::new("k", Fingerprint::of([question.as_bytes()]));
        for (question, supersedes) in [("a", false), ("b", true), ("a", true)] {
            log.append(Commit::default(), &[asks(question, supersedes)]).await.expect("commits");
        }
        let settled = log.settled(true).await.expect("reads");
        assert!(settled.contains(row("a")) && !settled.contains(row("b")));
        assert_eq!(log.untidy().await.expect("reads"), HashMap::from([("k".to_owned(), 3)]));
        log.append(Commit { tidied: true, ..Commit::default() }, &[]).await.expect("commits");
        assert_eq!(log.untidy().await.expect("reads").len(), 0);
    }
}
