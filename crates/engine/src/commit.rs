//! Which files belong to the results, in order: numbered records, each written once.
//!
//! A file becomes part of the results by one record, and a record is created or not: readers see whole
//! commits. With each commit goes an index of the rows that it settles, so that the next run knows what has
//! been answered without reading the results. Whatever no record names is an orphan of a run that died, and
//! is swept when the next one starts.
//!
//! Every so often what all records amount to is written beside them as a checkpoint, so that a long history is not
//! read record by record.

mod file;
mod record;
mod settled;
#[cfg(test)]
mod tests;

use futures::{StreamExt, TryStreamExt};
use promptmill_core::{Error, ErrorKind, Fingerprint, Result};
use serde::Serialize;

use crate::format::{self, Format};
use crate::shape::Shape;
use crate::storage::Folder;
#[cfg(test)]
pub(crate) use file::parquet_file;
pub(crate) use file::writer_properties;
use record::Folded;
pub(crate) use record::RowChange;
pub use record::{Commit, DataFile};
pub(crate) use settled::{Outcome, Settled, Settlement, index_file, key_digest, key_hash};

/// A checkpoint is written with every so manyeth commit.
const CHECKPOINT_EVERY: u64 = 50;
/// Records and indexes that are read at once.
const READ_AT_ONCE: usize = 8;
/// On a store without locks every run starts its files at its commit's number times this, so that no two runs ever
/// write a file of the same name.
const FILES_OF_A_COMMIT: u64 = 100_000;
/// Times that somebody reads anew because a run has replaced what was being read.
const READINGS: u32 = 5;

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
                return Err(Error::failed(format!("commit {} is missing in `{folder}`", folded.commit + 1))
                    .of(ErrorKind::State)
                    .hint("restore it from a backup"));
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
                .of(ErrorKind::Locked)
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
        .of(ErrorKind::State)
        .hint("restore it from a backup; the results' files are untouched")
        .because(error)
}

fn to_json(record: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(record).map_err(|error| Error::failed("a commit cannot be written as JSON").because(error))
}
