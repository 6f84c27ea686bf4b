//! Rows that are settled and in no file: a version that counted rows as settled before their file was stored has lost
//! them, or somebody has removed files. They become unsettled, so that the journal's answers settle them again.
//!
//! That rows are missing is noticed by counting: there are more keys in the index than rows in the files that commits
//! name. Only then the files are read.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures::TryStreamExt;
use promptmill_core::{Error, Fingerprint, Result};

use super::stored::keys;
use super::sweep::Missing;
use super::{INDEX_ROWS, Kind, Mode, Sink};
use crate::commit::{Commit, DataFile, Outcome, RowChange, Settlement, key_hash};
use crate::sorted::Sorted;

/// Keys that a message names.
const NAMED_KEYS: usize = 5;

impl Sink {
    /// Takes the files of results as they are that another tool has written anew, with all their rows.
    async fn take_rewritten(&mut self, rewritten: &BTreeMap<String, u64>) -> Result<()> {
        let old = self.log.results().iter().filter_map(|file| Some((file, *rewritten.get(&file.path)?)));
        let added: Vec<DataFile> = old.map(|(file, bytes)| DataFile { bytes, ..file.clone() }).collect();
        let Some(file) = added.first() else { return Ok(()) };
        tracing::warn!(
            "`{}` holds files that something else has written anew, such as `{}`: they have as many rows as before and stay as they are",
            self.files.results,
            file.path
        );
        let removed = added.iter().map(|file| file.path.clone()).collect();
        let record = Commit { removed, added, ..self.plain_record() };
        self.record_and_remove(record, RowChange::default()).await
    }

    /// Unsettles the rows that are in no file, and forgets the files that are not there.
    pub(super) async fn mend(&mut self, missing: &Missing, with_dead_letters: bool) -> Result<()> {
        // A new generation needs nothing of what was there.
        if !matches!(self.mode, Mode::Fresh(_)) {
            self.take_rewritten(&missing.rewritten).await?;
        }
        let is_whole = missing.results.is_empty() && missing.dead_letters.is_empty() && self.settled.keys_known() <= self.log.rows();
        if is_whole || matches!(self.mode, Mode::Fresh(_)) {
            return Ok(());
        }
        if missing.is_all_gone {
            let (folder, files) = (&self.files.results, missing.results.len());
            return Err(Error::failed(format!("of the {files} files of results in `{folder}` that commits name none is there"))
                .hint("mount the disk or restore the folder; or answer everything anew with `promptmill run --fresh`"));
        }
        let mut there = Sorted::default();
        let (mut by, mut removed) = (RowChange::default(), Vec::new());
        let live = [(Kind::Results, self.log.results()), (Kind::DeadLetters, self.log.dead_letters())];
        for (kind, files) in live {
            let folder = self.files.folder(kind).clone();
            let is_dead = kind == Kind::DeadLetters;
            let (gone, rows) = if is_dead { (&missing.dead_letters, &mut by.dead_letters) } else { (&missing.results, &mut by.results) };
            for file in files {
                if gone.contains(&file.path) {
                    *rows -= file.rows as i64;
                    removed.push(if is_dead { format!("dead_letters/{}", file.path) } else { file.path.clone() });
                    continue;
                }
                let mut batches = Box::pin(keys(&folder, file, &self.files.layout.shape.key).await?);
                while let Some(keys) = batches.try_next().await? {
                    keys.iter().flatten().try_for_each(|key| there.push(key_hash(key)))?;
                }
            }
        }
        let there = there.finish(|hash, behind| behind != Some(hash))?;
        let lost = among_first(self.settled.keys()?, there.iter()?)?;
        if lost.is_empty() && removed.is_empty() {
            return Ok(());
        }
        let (index, told) = self.unsettle(lost).await?;
        let files = removed.len();
        let question = self.log.question();
        let record = Commit { removed, index, question, ..self.plain_record() };
        self.record_and_remove(record, by).await?;
        self.settled = Arc::new(self.log.settled(with_dead_letters).await?);
        if files > 0 {
            tracing::warn!("{files} files that commits name were not there any more, or not whole; see `{}`", self.files.results);
        }
        if !told.is_empty() {
            tracing::warn!(
                "{told} had been settled and in no file of results or dead letters, after a write that had failed or a file that was \
             removed: settled again, with the answers that the journal has"
            );
        }
        Ok(())
    }

    /// Writes to the index that the rows with these hashes have left. Returns also what to say of them.
    async fn unsettle(&mut self, mut lost: HashSet<u64>) -> Result<(Vec<DataFile>, String)> {
        let (mut rows, mut index) = (Vec::new(), Vec::new());
        let question = Fingerprint::from_bytes([0; 16]);
        self.log
            .each_settled(|key, _, _| {
                if lost.remove(&key_hash(key)) {
                    rows.push(Settlement { key: key.to_owned(), question, outcome: Outcome::Gone });
                }
                Ok(())
            })
            .await?;
        if !lost.is_empty() {
            return Err(Error::failed("the index of settled rows changed while it was read").hint("run again"));
        }
        for rows in rows.chunks(INDEX_ROWS) {
            index.push(self.files.store_index(rows).await?);
        }
        if rows.is_empty() {
            return Ok((index, String::new()));
        }
        let named = rows.iter().take(NAMED_KEYS).map(|row| format!("`{}`", row.key)).collect::<Vec<_>>().join(", ");
        let more = if rows.len() > NAMED_KEYS { ", …" } else { "" };
        Ok((index, format!("{} row{} ({named}{more})", rows.len(), if rows.len() == 1 { "" } else { "s" })))
    }
}

/// Those of the first that are not among the second; both in order.
fn among_first(first: impl Iterator<Item = Result<u64>>, second: impl Iterator<Item = Result<u64>>) -> Result<HashSet<u64>> {
    let (mut only, mut second) = (HashSet::new(), second.peekable());
    for hash in first {
        let hash = hash?;
        let is_there = loop {
            match second.peek() {
                None => break false,
                Some(Ok(other)) => match other.cmp(&hash) {
                    Ordering::Less => {
                        second.next();
                    }
                    order => break order == Ordering::Equal,
                },
                Some(Err(_)) => {
                    second.next().transpose()?;
                }
            }
        };
        if !is_there {
            only.insert(hash);
        }
    }
    Ok(only)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_the_first_has_is_found() {
        let of = |hashes: &[u64]| hashes.iter().copied().map(Ok).collect::<Vec<_>>().into_iter();
        let only = |first: &[u64], second: &[u64]| among_first(of(first), of(second)).expect("no errors");
        assert_eq!(only(&[1, 3, 5, 9], &[0, 3, 4, 9, 12]), HashSet::from([1, 5]));
        assert_eq!(only(&[1, 2], &[]), HashSet::from([1, 2]));
        assert!(only(&[], &[1]).is_empty());
        let failing = vec![Ok(1), Err(Error::failed("no"))].into_iter();
        among_first(of(&[2, 3]), failing).expect_err("an error is no key");
    }
}
