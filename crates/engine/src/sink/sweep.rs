//! What a run finds in its folders as it begins: files that commits name and that are not there, and files that no commit names.
//!
//! A run that died before it could record its files leaves some that no commit names; the journal has what is in them, so they
//! are removed. Others look the same and hold what nobody else has: those of a later state than this one, which was put back
//! from a backup or was copied, and those that stood there before the files that are missing now, since the results were put
//! back. Nothing is removed then, and the run says what it found.

use std::collections::{BTreeMap, BTreeSet};

use parquet::arrow::async_reader::AsyncFileReader;
use parquet::file::metadata::RowGroupMetaData;
use promptmill_core::{Error, Result};

use super::files::{Files, Kind};
use crate::commit::{CommitLog, DataFile};
use crate::owner::{Owner, is_hidden};
use crate::storage::Folder;

/// Files that commits name and that are not there, by their paths.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Missing {
    pub(super) results: BTreeSet<String>,
    pub(super) dead_letters: BTreeSet<String>,
    /// Files of results that are there with as many rows as were written, and of another length, by that length: another tool
    /// has written them anew.
    pub(super) rewritten: BTreeMap<String, u64>,
    /// Whether no file of results is there at all.
    pub(super) is_all_gone: bool,
}

impl Missing {
    /// The same once it is known what others have done to a table: what they have replaced is not missed.
    pub(super) fn of_table(self, log: &CommitLog) -> Self {
        let named = || log.results().iter().map(|file| &file.path);
        let results: BTreeSet<String> = named().filter(|path| self.results.contains(*path)).cloned().collect();
        let is_all_gone = !results.is_empty() && named().all(|path| results.contains(path));
        Self { results, is_all_gone, ..self }
    }
}

impl Files {
    /// Removes our own files that no commit names. Files with later numbers than ours belong to a run that has taken over, and
    /// files of results with earlier numbers than `from` to older versions of a table. Returns the files that commits name and
    /// that are not there, or not whole.
    pub(super) async fn sweep(&self, log: &CommitLog, from: u64) -> Result<Missing> {
        let staged = self.staging.list().await?;
        self.staging.delete_all(staged.iter().map(String::as_str)).await?;
        let folders = [(Kind::Results, log.results(), from), (Kind::DeadLetters, log.dead_letters(), 0), (Kind::Index, log.index(), 0)];
        let mut missing = Missing::default();
        for (kind, files, from) in folders {
            let folder = self.folder(kind);
            folder.remove_unfinished(|name| self.owner.number(name).is_some()).await?;
            let sizes = folder.sizes().await?;
            let live: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
            let orphans = || {
                let orphans = sizes.keys().map(String::as_str).filter(|name| !live.contains(name));
                orphans.filter_map(|name| Some((self.owner.number(name)?, name)))
            };
            let is_table = kind == Kind::Results && self.owner.has_table();
            // Files that others have written for a Delta table may have names that are escaped in another way.
            let known = files.iter().filter(|file| !is_table || self.owner.number(&file.path).is_some());
            let mut gone = if kind == Kind::Index { BTreeSet::new() } else { gone(known, &sizes) };
            if kind == Kind::Results && !is_table {
                for (file, bytes) in
                    files.iter().filter_map(|file| Some((file, *sizes.get(&file.path).filter(|bytes| **bytes != file.bytes)?)))
                {
                    if is_as_before(folder, file, bytes).await? {
                        gone.remove(&file.path);
                        missing.rewritten.insert(file.path.clone(), bytes);
                    }
                }
            }
            if kind == Kind::Results && !is_table {
                let seen = || orphans().filter(|(_, name)| !is_hidden(name));
                self.refuse_later(folder, seen().filter(|(number, _)| self.owner.reserved().is_some_and(|end| *number >= end)))?;
                if !gone.is_empty() {
                    refuse_earlier(folder, gone.len(), seen().filter(|(number, _)| *number < log.next_file()))?;
                }
            }
            match kind {
                Kind::Results => {
                    missing.is_all_gone = !gone.is_empty() && !sizes.keys().any(|name| self.owner.number(name).is_some());
                    missing.results = gone;
                    if !files.is_empty() {
                        self.look_at_others(&sizes).await?;
                    }
                }
                Kind::DeadLetters => missing.dead_letters = gone,
                Kind::Index => {}
            }
            let orphans = orphans().filter(|(number, _)| *number >= from && (folder.local().is_some() || *number < self.next));
            let orphans: Vec<&str> = orphans.map(|(_, name)| name).collect();
            if !orphans.is_empty() {
                tracing::info!(files = orphans.len(), %folder, "sweeping files that no commit names");
                folder.delete_all(orphans).await?;
            }
        }
        Ok(missing)
    }

    /// An error if there are files with numbers that this state has never given out.
    fn refuse_later<'n>(&self, folder: &Folder, mut files: impl Iterator<Item = (u64, &'n str)>) -> Result<()> {
        let Some((_, file)) = files.next() else { return Ok(()) };
        let state = &self.state;
        Err(Error::failed(format!(
            "`{folder}` holds files that a later state than the one in `{state}` has written, such as `{file}`{}: nothing is removed",
            more(files.count())
        ))
        .hint(format!(
            "put the state back that belongs to these results, or the results that belong to this state; or, if these files are not \
             needed, move them out of `{folder}`"
        )))
    }

    /// Takes back a claim that a run died before it could, and says which files of others lie among the results.
    async fn look_at_others(&self, there: &BTreeMap<String, u64>) -> Result<()> {
        if there.keys().any(|name| Owner::is_claim(name)) {
            Owner::release(&self.results).await?;
        }
        let mut others = self.owner.others(there.keys());
        if let (Some(file), false) = (others.next(), self.owner.has_table()) {
            let more = more(others.count());
            tracing::warn!(
                "`{}` holds files that this pipeline has not written (`{file}`{more}): who reads the folder reads them too",
                self.results
            );
        }
        Ok(())
    }
}

/// Those of these files that are not there. One that is not as long as it was written is as good as gone.
fn gone<'f>(files: impl Iterator<Item = &'f DataFile>, sizes: &BTreeMap<String, u64>) -> BTreeSet<String> {
    files.filter(|file| sizes.get(&file.path) != Some(&file.bytes)).map(|file| file.path.clone()).collect()
}

/// Whether a file that is not as long as it was written has as many rows; an error if it has others. One that cannot be read at
/// all was cut off.
async fn is_as_before(folder: &Folder, file: &DataFile, bytes: u64) -> Result<bool> {
    let Ok(footer) = folder.file(&file.path, Some(bytes)).get_metadata(None).await else { return Ok(false) };
    let rows: i64 = footer.row_groups().iter().map(RowGroupMetaData::num_rows).sum();
    if u64::try_from(rows) == Ok(file.rows) {
        return Ok(true);
    }
    let path = &file.path;
    Err(Error::failed(format!("`{folder}/{path}` holds {rows} rows where {} were written: nothing is changed", file.rows)).hint(format!(
        "put the file back that was there; or move it out of `{folder}`: then what is missing is written anew from the journal, as far \
         as its rows are still in the source"
    )))
}

/// An error if there are files that commits have replaced, while some that they name are not there.
fn refuse_earlier<'n>(folder: &Folder, gone: usize, mut files: impl Iterator<Item = (u64, &'n str)>) -> Result<()> {
    let Some((_, file)) = files.next() else { return Ok(()) };
    Err(Error::failed(format!(
        "`{folder}` lacks {gone} of its files and holds some that were replaced, such as `{file}`{}: the results are older than the \
         state; nothing is removed",
        more(files.count())
    ))
    .hint(format!(
        "put the results back that belong to this state; or move the replaced files out of `{folder}`: then what is missing is \
         written anew from the journal, as far as its rows are still in the source"
    )))
}

/// How many more there are than the one that is named.
fn more(count: usize) -> String {
    if count == 0 { String::new() } else { format!(" and {count} more") }
}
