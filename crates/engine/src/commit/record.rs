//! A record of the commit log, and what all of them amount to.

use std::collections::BTreeSet;

use promptmill_core::Fingerprint;
use serde::{Deserialize, Serialize};

use super::Outcome;
use crate::format::{self, Version};
use crate::shape::{Shape, if_readable};
use crate::sink::decode;

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
pub(super) struct Folded {
    #[serde(default)]
    pub(super) v: Version<{ format::CHECKPOINT.version }>,
    pub(super) commit: u64,
    pub(super) generation: u64,
    pub(super) next_file: u64,
    pub(super) salt: Option<String>,
    pub(super) question: Option<Fingerprint>,
    #[serde(default, deserialize_with = "if_readable")]
    pub(super) shape: Option<Shape>,
    pub(super) results: Vec<DataFile>,
    pub(super) dead_letters: Vec<DataFile>,
    pub(super) index: Vec<DataFile>,
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
    pub(super) fn change(&self, commit: &Commit) -> RowChange {
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

    pub(super) fn apply(&mut self, commit: Commit) {
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
