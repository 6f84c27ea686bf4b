//! A file that is written piece by piece, so that it need not be in memory as a whole: nobody sees it before it is
//! complete.

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};
use parquet::arrow::async_writer::AsyncFileWriter;
use parquet::errors::ParquetError;
use promptmill_core::{Error, Result};
use tokio::task::JoinSet;

use super::{Action, Folder};

/// Files beyond this size travel in parts of this size: far away, a fault costs a part and not the file.
pub(super) const PART_BYTES: usize = 16 << 20;
/// The same on a local disk, where it is only about memory.
const LOCAL_PART_BYTES: usize = 4 << 20;
/// Parts under way at once, where there is a way.
const PARTS_AT_ONCE: usize = 4;

/// A file that is being written. Dropped before it is complete it leaves nothing on a local disk; on S3 that takes
/// [`Upload::abort`].
#[derive(Debug)]
pub(crate) struct Upload {
    folder: Folder,
    name: String,
    /// Once there is more than one.
    parts: Option<Box<dyn MultipartUpload>>,
    under_way: JoinSet<object_store::Result<()>>,
    /// The next part.
    waiting: Vec<Bytes>,
    waiting_bytes: usize,
}

impl Folder {
    /// Begins a file, which takes the place of an older one when it is complete.
    pub(crate) fn upload(&self, name: &str) -> Upload {
        let (parts, under_way, waiting) = (None, JoinSet::new(), Vec::new());
        Upload { folder: self.clone(), name: name.to_owned(), parts, under_way, waiting, waiting_bytes: 0 }
    }
}

impl Upload {
    /// Writes the next bytes.
    ///
    /// # Errors
    /// If they, or what was written before, cannot be written.
    pub(crate) async fn write(&mut self, bytes: Bytes) -> Result<()> {
        let written = self.add(bytes).await;
        written.map_err(|error| self.failed(error))
    }

    async fn add(&mut self, mut bytes: Bytes) -> object_store::Result<()> {
        let part_bytes = if self.folder.local.is_some() { LOCAL_PART_BYTES } else { PART_BYTES };
        // The last part is sent at the end: a file that has only one needs no parts.
        while self.waiting_bytes + bytes.len() > part_bytes {
            self.waiting.push(bytes.split_to(part_bytes - self.waiting_bytes));
            self.send().await?;
        }
        self.waiting_bytes += bytes.len();
        self.waiting.push(bytes);
        Ok(())
    }

    async fn send(&mut self) -> object_store::Result<()> {
        let part: PutPayload = std::mem::take(&mut self.waiting).into_iter().collect();
        self.waiting_bytes = 0;
        let parts = match &mut self.parts {
            Some(parts) => parts,
            None => self.parts.insert(self.folder.store.put_multipart(&self.folder.path(&self.name)).await?),
        };
        let at_once = if self.folder.local.is_some() { 1 } else { PARTS_AT_ONCE };
        while self.under_way.len() >= at_once {
            landed(&mut self.under_way).await?;
        }
        self.under_way.spawn(parts.put_part(part));
        Ok(())
    }

    /// Completes the file: readers see it, and it outlives a power cut.
    ///
    /// # Errors
    /// If it cannot be written. Nothing of it is left then.
    pub(crate) async fn finish(mut self) -> Result<()> {
        match self.complete().await {
            Ok(()) => Ok(()),
            Err(error) => {
                let error = self.failed(error);
                self.abort().await;
                Err(error)
            }
        }
    }

    async fn complete(&mut self) -> object_store::Result<()> {
        if self.parts.is_none() {
            let whole: PutPayload = std::mem::take(&mut self.waiting).into_iter().collect();
            return self.folder.store.put(&self.folder.path(&self.name), whole).await.map(|_| ());
        }
        if self.waiting_bytes > 0 {
            self.send().await?;
        }
        while !self.under_way.is_empty() {
            landed(&mut self.under_way).await?;
        }
        match &mut self.parts {
            Some(parts) => parts.complete().await.map(|_| ()),
            None => Ok(()),
        }
    }

    /// Gives the file up, so that no parts are left that nobody sees and somebody pays for.
    pub(crate) async fn abort(mut self) {
        self.under_way.shutdown().await;
        if let Some(mut parts) = self.parts.take() {
            let _ = parts.abort().await;
        }
    }

    fn failed(&self, error: object_store::Error) -> Error {
        self.folder.failed(Action::Write, &self.name, error)
    }
}

/// Waits for a part.
async fn landed(under_way: &mut JoinSet<object_store::Result<()>>) -> object_store::Result<()> {
    match under_way.join_next().await {
        Some(Ok(landed)) => landed,
        Some(Err(source)) => Err(object_store::Error::JoinError { source }),
        None => Ok(()),
    }
}

/// What writes Parquet completes it itself.
impl AsyncFileWriter for &mut Upload {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, parquet::errors::Result<()>> {
        async move { Upload::write(self, bytes).await.map_err(|error| ParquetError::External(Box::new(error))) }.boxed()
    }

    fn complete(&mut self) -> BoxFuture<'_, parquet::errors::Result<()>> {
        std::future::ready(Ok(())).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_there_when_it_is_complete_and_not_before() {
        let temp = tempfile::tempdir().expect("a folder");
        let local = Folder::open(&temp.path().to_string_lossy()).expect("opens");
        for folder in [local.clone(), Folder::in_memory()] {
            for size in [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES + 5] {
                let bytes: Bytes = (0..size).map(|at| (at / 7) as u8).collect::<Vec<_>>().into();
                let mut upload = folder.upload("a/b");
                for piece in bytes.chunks(5 << 20) {
                    upload.write(bytes.slice_ref(piece)).await.expect("written");
                    assert_eq!(folder.get("a/b").await.expect("reads"), None);
                }
                upload.finish().await.expect("written");
                assert!(folder.get("a/b").await.expect("reads").expect("there") == bytes, "{size} bytes");
                folder.delete("a/b").await.expect("removed");
                let mut given_up = folder.upload("a/b");
                given_up.write(bytes.clone()).await.expect("written");
                given_up.abort().await;
                assert_eq!(folder.list().await.expect("lists"), Vec::<String>::new());
            }
        }
        local.remove_unfinished(|name| panic!("{name} is left")).await.expect("nothing");
    }

    #[tokio::test]
    async fn what_a_crash_leaves_of_a_file_is_removed() {
        let temp = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(&temp.path().to_string_lossy()).expect("opens");
        folder.folder("none").remove_unfinished(|_| true).await.expect("no folder");
        std::fs::create_dir_all(temp.path().join("year=2024")).expect("a folder");
        for name in ["a.parquet", "a.parquet#1", ".a.parquet#2", "year=2024/b.parquet#12", "year=2024/c#x", "d#", "other#3"] {
            std::fs::write(temp.path().join(name), "x").expect("written");
        }
        folder.remove_unfinished(|name| name.ends_with(".parquet")).await.expect("removed");
        let is_there = |name: &str| temp.path().join(name).exists();
        assert!(!is_there("a.parquet#1") && !is_there(".a.parquet#2") && !is_there("year=2024/b.parquet#12"));
        assert!(is_there("a.parquet") && is_there("year=2024/c#x") && is_there("d#") && is_there("other#3"));
    }
}
