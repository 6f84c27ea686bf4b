//! What others do to the table.
//!
//! Compaction and clustering put the same rows into other files, and say so in their transactions: no file that they add
//! or remove changes data. Such files are taken over. Whatever does change rows stops the run, because the next swap would
//! bring deleted rows back or leave rows twice.

use std::collections::{BTreeMap, BTreeSet};

use deltalake_core::kernel::{Add, Remove, Transaction};
use futures::{StreamExt, TryStreamExt};
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use promptmill_core::{Error, Result};
use serde::Deserialize;
use serde_json::Value;

use super::log::failed;
use super::{Table, paths};
use crate::commit::DataFile;
use crate::sink::stored::not_read;

/// Files whose rows are counted at once, where the log does not say how many there are.
const READ_AT_ONCE: usize = 8;

/// Rows of ours in files of others.
pub(super) struct Rearranged {
    /// Files that the records name and the table has no longer.
    pub(super) gone: Vec<String>,
    /// Files that have the same rows.
    pub(super) come: Vec<DataFile>,
}

/// A line of a transaction, as far as it matters here: transactions of others may say things that we do not know.
#[derive(Deserialize)]
struct Line {
    add: Option<Value>,
    remove: Option<Remove>,
    txn: Option<Transaction>,
}

/// What a file says of itself, as far as it matters here.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Stats {
    num_records: Option<u64>,
}

impl Table {
    /// How others have rearranged the files that the records name, if they have; an error if they have changed rows.
    pub(super) async fn rearranged(&self, results: &[DataFile]) -> Result<Option<Rearranged>> {
        if let Some(file) = self.state.log_data().iter().find(|file| file.deletion_vector_descriptor().is_some()) {
            return Err(self.touched(&file.path()));
        }
        let (live, named) = (self.live(), paths(results));
        if live == named {
            return Ok(None);
        }
        let added = self.check_same_rows(&live, named.clone()).await?;
        let come = live.difference(&named).map(|path| added.get(path).ok_or_else(|| self.touched(path)));
        let come = futures::stream::iter(come).map(|add| async { self.data_file(add?).await });
        let come: Vec<DataFile> = come.buffered(READ_AT_ONCE).try_collect().await?;
        let gone: Vec<&DataFile> = results.iter().filter(|file| !live.contains(&file.path)).collect();
        if gone.iter().map(|file| file.rows).sum::<u64>() != come.iter().map(|file| file.rows).sum::<u64>() {
            let one = come.first().map(|file| &file.path).or(gone.first().map(|file| &file.path));
            return Err(self.touched(one.map_or("_delta_log", String::as_str)));
        }
        Ok(Some(Rearranged { gone: gone.into_iter().map(|file| file.path.clone()).collect(), come }))
    }

    /// Fails unless the files of the table have come from those `named` by nothing but rearranging and our own transactions.
    /// Returns the files that others have added on the way.
    pub(super) async fn check_same_rows(&self, live: &BTreeSet<String>, mut named: BTreeSet<String>) -> Result<BTreeMap<String, Add>> {
        let mut live = live.clone();
        let mut added = BTreeMap::new();
        let mut version = self.state.version();
        // Backwards, transaction by transaction, until the files are those.
        while live != named {
            let read = self.store.read_commit_entry(version).await.map_err(|error| failed(&self.folder, error))?;
            let Some(read) = read else { return Err(self.touched(&format!("_delta_log/{version:020}.json"))) };
            let lines = serde_json::Deserializer::from_slice(&read).into_iter::<Line>().collect::<Result<Vec<_>, _>>();
            let lines = lines.map_err(|error| self.not_understood(version, error))?;
            let is_ours = lines.iter().filter_map(|line| line.txn.as_ref()).any(|txn| txn.app_id == self.known);
            for line in lines {
                if let Some(raw) = line.add {
                    let add = Add::deserialize(&raw).map_err(|error| self.not_understood(version, error))?;
                    if is_ours {
                        live.remove(&add.path);
                        named.remove(&add.path);
                    } else if add.data_change || !is_written_alike(&add, &raw) {
                        return Err(self.touched(&add.path));
                    } else {
                        // A file that was there before may be told once more, with other statistics.
                        if !named.contains(&add.path) {
                            live.remove(&add.path);
                        }
                        added.entry(add.path.clone()).or_insert(add);
                    }
                }
                if let Some(remove) = line.remove {
                    if is_ours {
                        named.insert(remove.path.clone());
                    } else if remove.data_change {
                        return Err(self.touched(&remove.path));
                    }
                    live.insert(remove.path);
                }
            }
            let Some(before) = version.checked_sub(1) else {
                let other = live.symmetric_difference(&named).next().cloned();
                return other.map_or(Ok(added), |other| Err(self.touched(&other)));
            };
            version = before;
        }
        Ok(added)
    }

    /// A file of somebody else's as a commit names it.
    async fn data_file(&self, add: &Add) -> Result<DataFile> {
        let stats: Stats = add.stats.as_deref().and_then(|stats| serde_json::from_str(stats).ok()).unwrap_or_default();
        let columns = self.state.metadata().partition_columns();
        let partition = columns.iter().map(|column| add.partition_values.get(column).cloned().flatten()).collect();
        let mut file = DataFile { path: add.path.clone(), rows: 0, bytes: add.size.unsigned_abs(), partition };
        file.rows = match stats.num_records {
            Some(rows) => rows,
            None => {
                let opened = ParquetRecordBatchStreamBuilder::new(self.folder.file(&file.path, Some(file.bytes))).await;
                let opened = opened.map_err(|error| not_read(&self.folder, &file, error))?;
                opened.metadata().file_metadata().num_rows().unsigned_abs()
            }
        };
        Ok(file)
    }

    /// Whoever else changes rows of the table would have rows doubled or lost by the next commit.
    pub(super) fn touched(&self, other: &str) -> Error {
        Error::failed(format!("something else than promptmill has changed the Delta table `{}`: see `{other}`", self.folder))
            .hint("restore the version that the last run left; or choose another `sink.path`: what has been answered is in the journal")
    }

    fn not_understood(&self, version: u64, error: serde_json::Error) -> Error {
        Error::failed(format!("`{}/_delta_log/{version:020}.json` cannot be read", self.folder))
            .hint("restore the version of the table that the last run left")
            .because(error)
    }
}

/// Whether a file's path is written to the log as it was found there. There are several ways to escape what a URI cannot hold,
/// and only who writes the same one can remove the file from the table.
fn is_written_alike(add: &Add, raw: &Value) -> bool {
    let is_here = !add.path.contains("://") && !add.path.starts_with('/');
    is_here && serde_json::to_value(add).is_ok_and(|again| again["path"] == raw["path"])
}
