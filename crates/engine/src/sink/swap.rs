//! The swap at the end of a run: what is staged takes the place of older rows, and rows that have left the source leave
//! the results, all in one commit.
//!
//! The order is: publish the staged files, rewrite the files that lose rows, commit, remove what was replaced. What is
//! published beside older rows of the same keys lies hidden until those have gone, so that a reader of the bare folder sees
//! no row twice; only a whole new generation is shown first. A crash before the commit leaves the older rows as they were,
//! and orphans for the next run to sweep; what was answered is in the journal. After a crash behind the commit the next run
//! shows what is still hidden.

use std::ops::ControlFlow;

use futures::TryStreamExt;
use promptmill_core::{Error, Fingerprint, Result};

use super::stored::keys;
use super::{INDEX_ROWS, Kind, Mode, Sink};
use crate::commit::{Commit, DataFile, Outcome, Settlement, key_digest, key_hash};
use crate::owner::hidden;
use crate::sorted::{Record, Sorted};

/// What is asked about a row that has left.
const NOTHING: Fingerprint = Fingerprint::from_bytes([0; 16]);

impl Sink {
    /// Puts what is staged in place. With the hashes of the source's keys, rows of other keys leave. Returns how many have
    /// left.
    pub(crate) async fn swap(&mut self, source: Option<&Sorted<u64>>) -> Result<u64> {
        self.staged.finish(&mut self.files).await?;
        let mut by = std::mem::take(&mut self.staged.settles);
        if self.staged.index.is_empty() && source.is_none() && self.mode == Mode::Add {
            return Ok(0);
        }
        self.adopt().await?;
        let is_fresh = matches!(self.mode, Mode::Fresh(_));
        let replaced = std::mem::take(&mut self.replaced).finish(|_, _| true)?;
        let is_replaced = |key: &str| is_among(&replaced, key_digest(key));
        let is_gone = |key: &str| source.map_or(Ok::<_, Error>(false), |source| Ok(!is_among(source, key_hash(key))?));
        let leaves = |key: &str| Ok(is_replaced(key)? || is_gone(key)?);
        let mut commit = Commit::default();
        let (mut left, mut gone) = (0, Vec::new());
        let live = [(Kind::Results, self.log.results().to_vec()), (Kind::DeadLetters, self.log.dead_letters().to_vec())];
        for (kind, files) in live {
            let folder = self.files.folder(kind).clone();
            let key = self.files.layout.shape.key.clone();
            for file in files {
                let mut leaving = if is_fresh { file.rows } else { 0 };
                if !is_fresh {
                    let mut batches = Box::pin(keys(&folder, &file, &key).await?);
                    while let Some(keys) = batches.try_next().await? {
                        for key in keys.iter().flatten() {
                            if is_gone(key)? {
                                leaving += 1;
                                gone.push(Settlement { key: key.to_owned(), question: NOTHING, outcome: Outcome::Gone });
                            } else {
                                leaving += u64::from(is_replaced(key)?);
                            }
                        }
                        if gone.len() > INDEX_ROWS {
                            left += gone.len() as u64;
                            self.staged.index.push(self.files.store_index(&std::mem::take(&mut gone)).await?);
                        }
                    }
                }
                if leaving == 0 {
                    continue;
                }
                let rows = if kind == Kind::DeadLetters { &mut by.dead_letters } else { &mut by.results };
                *rows -= leaving as i64;
                if leaving < file.rows {
                    let rest = self.files.merge(kind, &[&file], Some(&leaves)).await?;
                    if kind == Kind::DeadLetters { commit.dead_letters.push(rest) } else { commit.added.push(rest) }
                }
                commit.removed.push(if kind == Kind::DeadLetters { format!("dead_letters/{}", file.path) } else { file.path });
            }
        }
        if is_fresh {
            commit.removed.extend(self.log.index().iter().map(|file| format!("index/{}", file.path)));
        }
        if !gone.is_empty() {
            left += gone.len() as u64;
            self.staged.index.push(self.files.store_index(&gone).await?);
        }
        if self.staged.index.is_empty() && commit.removed.is_empty() && self.mode == Mode::Add {
            return Ok(0);
        }
        commit.added.extend(self.publish(false).await?);
        commit.dead_letters.extend(self.publish(true).await?);
        let record = Commit {
            added: commit.added,
            dead_letters: commit.dead_letters,
            removed: commit.removed,
            index: std::mem::take(&mut self.staged.index),
            question: Some(self.question),
            generation: self.files.generation,
            ..self.record()
        };
        let record = match &self.mode {
            Mode::Fresh(salt) => Commit { salt: Some(salt.clone()), shape: Some(self.files.layout.shape.clone()), ..record },
            Mode::Add | Mode::Replay => record,
        };
        self.settle(record, by).await?;
        let staged = self.files.staging.list().await?;
        self.files.staging.delete_all(staged.iter().map(String::as_str)).await?;
        Ok(left)
    }

    /// Moves staged files to where readers look.
    async fn publish(&mut self, is_dead: bool) -> Result<Vec<DataFile>> {
        let (from, to, mut files) = match is_dead {
            true => (self.files.staging.folder("dead_letters"), &self.files.dead, std::mem::take(&mut self.staged.dead_letters)),
            false => (self.files.staging.folder("results"), &self.files.results, std::mem::take(&mut self.staged.added)),
        };
        let is_hidden = !is_dead && self.mode == Mode::Add && !self.files.is_table;
        for file in &mut files {
            let path = if is_hidden { hidden(&file.path) } else { file.path.clone() };
            to.copy_as(&path, &from, &file.path, file.bytes).await?;
            file.path = path;
        }
        Ok(files)
    }
}

fn is_among<R: Record + PartialEq>(records: &Sorted<R>, record: R) -> Result<bool> {
    let mut found = false;
    records.each(record.place(), |other| {
        found = other == record;
        if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(found)
}
