//! Which rows are settled: an index beside each commit, and what all of them amount to.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, FixedSizeBinaryBuilder, RecordBatch, StringArray, StringBuilder};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use futures::{StreamExt, TryStreamExt};
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use promptmill_core::{Answered, Error, ErrorKind, Fingerprint, Result};

use super::file::{parquet_file_with, writer_properties};
use super::{CommitLog, READ_AT_ONCE};
use crate::format;
use crate::sorted::Sorted;

/// Rows of an index that are read at once.
const INDEX_BATCH: usize = 8192;
/// Stands for the question of a row whose key is known and that is to be asked all the same.
const UNSETTLED: u64 = 0;
/// Stands for the question of a row that has left the results.
const GONE: u64 = 1;

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

impl CommitLog {
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

/// Why an index cannot be read.
type Unreadable = Box<dyn std::error::Error + Send + Sync>;

fn unreadable(index: &str, error: impl Into<Unreadable>) -> Error {
    Error::failed(format!("index `{index}` cannot be read")).of(ErrorKind::State).hint("restore it from a backup").because(error)
}

/// Key, question and outcome of each row of an index.
pub(super) fn index_rows(
    batch: &RecordBatch,
) -> Result<impl Iterator<Item = Result<(&str, Fingerprint, Outcome), Unreadable>>, Unreadable> {
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
