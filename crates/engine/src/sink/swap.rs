//! The swap at the end of a run: what is staged takes the place of older rows, and rows that have left the source leave
//! the results, all in one commit.
//!
//! The order is: publish the staged files, rewrite the files that lose rows, commit, remove what was replaced. A crash
//! before the commit leaves the older rows as they were, and orphans for the next run to sweep; what was answered is in
//! the journal. Only who reads the bare folder, and not the commits, can see both in the meantime.

use std::collections::HashSet;

use promptmill_core::{Fingerprint, Result};

use super::stored::{each_key, merge, read};
use super::{Mode, Sink};
use crate::commit::{Commit, DataFile, Outcome, Settlement, key_digest, key_hash, writer_properties};

impl Sink {
    /// Puts what is staged in place. With the sorted hashes of the source's keys, rows of other keys leave. Returns how
    /// many have left.
    pub(crate) async fn swap(&mut self, source: Option<&[u64]>) -> Result<u64> {
        self.staged.finish(&mut self.files).await?;
        if self.staged.index.is_empty() && source.is_none() && self.mode == Mode::Add {
            return Ok(0);
        }
        self.adopt().await?;
        let is_fresh = matches!(self.mode, Mode::Fresh(_));
        let replaced: HashSet<u128> = std::mem::take(&mut self.replaced).into_iter().collect();
        let is_gone = |key: &str| source.is_some_and(|source| source.binary_search(&key_hash(key)).is_err());
        let leaves = |key: &str| is_fresh || replaced.contains(&key_digest(key)) || is_gone(key);
        let mut commit = Commit::default();
        let mut gone: Vec<String> = Vec::new();
        for (is_dead, live) in [(false, self.log.results().to_vec()), (true, self.log.dead_letters().to_vec())] {
            let folder = if is_dead { self.files.dead.clone() } else { self.files.results.clone() };
            for file in live {
                let mut leaving = 0;
                if is_fresh {
                    leaving = file.rows;
                } else {
                    each_key(&folder, &file, &self.files.layout.key, |key| {
                        leaving += u64::from(leaves(key));
                        if is_gone(key) {
                            gone.push(key.to_owned());
                        }
                    })
                    .await?;
                }
                if leaving == 0 {
                    continue;
                }
                if leaving < file.rows {
                    let bytes = read(&folder, &file.path).await?;
                    let properties = if is_dead { writer_properties().build() } else { self.files.layout.properties.clone() };
                    let (rows, bytes) = merge(vec![bytes], &self.files.layout.key, properties, leaves)?;
                    match is_dead {
                        true => commit.dead_letters.push(self.files.store_dead(rows, bytes, false).await?),
                        false => commit.added.push(self.files.store(file.partition.clone(), rows, bytes, false).await?),
                    }
                }
                commit.removed.push(if is_dead { format!("dead_letters/{}", file.path) } else { file.path });
            }
        }
        if is_fresh {
            commit.removed.extend(self.log.index().iter().map(|file| format!("index/{}", file.path)));
        }
        if !gone.is_empty() {
            let left =
                gone.iter().map(|key| Settlement { key: key.clone(), question: Fingerprint::from_bytes([0; 16]), outcome: Outcome::Gone });
            self.staged.index.push(self.files.store_index(&left.collect::<Vec<_>>()).await?);
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
            Mode::Fresh(salt) => Commit { salt: Some(salt.clone()), ..record },
            Mode::Add | Mode::Replay => record,
        };
        self.append(record).await?;
        let staged = self.files.staging.list().await?;
        self.files.staging.delete_all(staged.iter().map(String::as_str)).await?;
        Ok(gone.len() as u64)
    }

    /// Moves staged files to where readers look.
    async fn publish(&mut self, is_dead: bool) -> Result<Vec<DataFile>> {
        let (from, to, files) = match is_dead {
            true => (self.files.staging.folder("dead_letters"), &self.files.dead, std::mem::take(&mut self.staged.dead_letters)),
            false => (self.files.staging.folder("results"), &self.files.results, std::mem::take(&mut self.staged.added)),
        };
        for file in &files {
            to.put(&file.path, read(&from, &file.path).await?).await?;
        }
        Ok(files)
    }
}
