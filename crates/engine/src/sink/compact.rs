//! Small files into large ones, when a run ends: in one commit, so that a crash leaves either the small ones or the
//! large one.

use std::collections::BTreeMap;

use promptmill_core::Result;

use super::{Kind, Merged, Sink};
use crate::commit::{Commit, DataFile};

/// Files of dead letters or of the index that may be small: they are read together, and seldom.
const SMALL_FILES: usize = 16;

impl Sink {
    /// Merges the files of results that are smaller than half of their target size, partition by partition, and what
    /// has gathered of small files of dead letters and of the index. Only files of the same columns become one.
    pub(crate) async fn compact(&mut self) -> Result<()> {
        self.adopt().await?;
        let mut commit = Commit::default();
        // By the names of the partition's columns and their values.
        let mut partitions: BTreeMap<(Option<Vec<_>>, Vec<Option<_>>), Vec<DataFile>> = BTreeMap::new();
        for file in self.log.results() {
            partitions.entry((file.partition_by(), file.partition.clone())).or_default().push(file.clone());
        }
        for files in partitions.values() {
            for group in groups(files, self.files.target_bytes as u64) {
                let Merged { added, removed } = self.files.merge_alike(Kind::Results, &group).await?;
                commit.added.extend(added);
                commit.removed.extend(removed);
            }
        }
        let letters = self.log.dead_letters().to_vec();
        if letters.len() > SMALL_FILES {
            for group in groups(&letters, self.files.target_bytes as u64) {
                let Merged { added, removed } = self.files.merge_alike(Kind::DeadLetters, &group).await?;
                commit.dead_letters.extend(added);
                commit.removed.extend(removed.iter().map(|path| format!("dead_letters/{path}")));
            }
        }
        let index = self.log.index().to_vec();
        let neighbours = longest_run(&index, self.files.target_bytes as u64);
        if neighbours.len() > SMALL_FILES {
            commit.index.push(self.files.merge(Kind::Index, &neighbours, None).await?);
            commit.removed.extend(neighbours.iter().map(|file| format!("index/{}", file.path)));
        }
        if commit.removed.is_empty() {
            return Ok(());
        }
        let Commit { added, dead_letters, index, removed, .. } = commit;
        self.append(Commit { added, dead_letters, index, removed, ..self.record() }).await
    }
}

/// The most small files that stand next to each other: in the index the order counts.
fn longest_run(files: &[DataFile], target_bytes: u64) -> Vec<&DataFile> {
    let (mut longest, mut run): (Vec<&DataFile>, Vec<&DataFile>) = (Vec::new(), Vec::new());
    for file in files {
        if file.bytes * 2 >= target_bytes || run.iter().map(|file| file.bytes).sum::<u64>() + file.bytes > target_bytes {
            run.clear();
        }
        if file.bytes * 2 < target_bytes {
            run.push(file);
        }
        if run.len() > longest.len() {
            longest.clone_from(&run);
        }
    }
    longest
}

/// The files that are worth rewriting, those to be merged together.
fn groups(files: &[DataFile], target_bytes: u64) -> Vec<Vec<&DataFile>> {
    let mut groups: Vec<Vec<&DataFile>> = Vec::new();
    let (mut group, mut bytes): (Vec<&DataFile>, u64) = (Vec::new(), 0);
    for file in files.iter().filter(|file| file.bytes * 2 < target_bytes) {
        if bytes + file.bytes > target_bytes {
            groups.push(std::mem::take(&mut group));
            bytes = 0;
        }
        bytes += file.bytes;
        group.push(file);
    }
    groups.push(group);
    groups.retain(|group| group.len() > 1);
    groups
}
