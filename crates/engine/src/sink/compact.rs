//! Small files into large ones, when a run ends: in one commit, so that a crash leaves either the small ones or the
//! large one.

use std::collections::BTreeMap;

use parquet::file::properties::WriterProperties;
use promptmill_core::Result;

use super::Sink;
use super::stored::{merge, read};
use crate::commit::{Commit, DataFile, writer_properties};
use crate::storage::Folder;

/// Files of dead letters or of the index that may be small: they are read together, and seldom.
const SMALL_FILES: usize = 16;

impl Sink {
    /// Merges the files of results that are smaller than half of their target size, partition by partition, and what
    /// has gathered of small files of dead letters and of the index.
    pub(crate) async fn compact(&mut self) -> Result<()> {
        self.adopt().await?;
        let mut commit = Commit::default();
        let mut partitions: BTreeMap<Vec<Option<String>>, Vec<DataFile>> = BTreeMap::new();
        for file in self.log.results() {
            partitions.entry(file.partition.clone()).or_default().push(file.clone());
        }
        let key = self.files.layout.key.clone();
        for (partition, files) in partitions {
            for group in groups(&files, self.files.target_bytes as u64) {
                let properties = self.files.layout.properties.clone();
                let (rows, bytes) = merged(&self.files.results, &group, &key, properties).await?;
                commit.removed.extend(group.iter().map(|file| file.path.clone()));
                commit.added.push(self.files.store(partition.clone(), rows, bytes, false).await?);
            }
        }
        let letters = self.log.dead_letters().to_vec();
        if letters.len() > SMALL_FILES {
            for group in groups(&letters, self.files.target_bytes as u64) {
                let (rows, bytes) = merged(&self.files.dead, &group, &key, writer_properties().build()).await?;
                commit.removed.extend(group.iter().map(|file| format!("dead_letters/{}", file.path)));
                commit.dead_letters.push(self.files.store_dead(rows, bytes, false).await?);
            }
        }
        let index = self.log.index().to_vec();
        let neighbours = longest_run(&index, self.files.target_bytes as u64);
        if neighbours.len() > SMALL_FILES {
            let (rows, bytes) = merged(&self.files.index, &neighbours, "key", writer_properties().build()).await?;
            commit.removed.extend(neighbours.iter().map(|file| format!("index/{}", file.path)));
            let file = DataFile { path: self.files.name(), rows, bytes: bytes.len() as u64, partition: vec![] };
            self.files.index.put(&file.path, bytes).await?;
            commit.index.push(file);
        }
        if commit.removed.is_empty() {
            return Ok(());
        }
        let Commit { added, dead_letters, index, removed, .. } = commit;
        self.append(Commit { added, dead_letters, index, removed, ..self.record() }).await
    }
}

/// These files of a folder in one, and how many rows it has.
async fn merged(folder: &Folder, group: &[&DataFile], key: &str, properties: WriterProperties) -> Result<(u64, Vec<u8>)> {
    let mut parts = Vec::with_capacity(group.len());
    for file in group {
        parts.push(read(folder, &file.path).await?);
    }
    merge(parts, key, properties, |_| false)
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
