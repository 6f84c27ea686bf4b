//! Small files of a store, kept in a temporary file on this machine once they have been fetched: a plan looks at the footer of
//! each, counts its rows and asks about them, and every time it would be a request of its own.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::SMALL_BYTES;

/// Bytes of files that are kept; what goes beyond is fetched again.
const MOST_BYTES: u64 = 1 << 30;

/// A store of which small files are fetched once.
#[derive(Debug)]
pub(super) struct Spooled {
    inner: Arc<dyn ObjectStore>,
    kept: Mutex<Kept>,
}

/// What has been fetched.
#[derive(Default)]
struct Kept {
    /// Made when the first file comes.
    file: Option<File>,
    bytes: u64,
    files: HashMap<Path, Place>,
}

/// Where a file is.
#[derive(Clone, Copy)]
struct Place {
    start: u64,
    size: u64,
    last_modified: DateTime<Utc>,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("files", &self.files.len()).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Kept {
    /// Part of a file, if the file is here.
    fn get(&mut self, location: &Path, options: &GetOptions) -> Option<(Place, Range<u64>, Bytes)> {
        let place = *self.files.get(location)?;
        let range = match &options.range {
            Some(range) => range.as_range(place.size).ok()?,
            None => 0..place.size,
        };
        let file = self.file.as_mut()?;
        let mut bytes = vec![0; usize::try_from(range.end - range.start).ok()?];
        file.seek(SeekFrom::Start(place.start + range.start)).and_then(|_| file.read_exact(&mut bytes)).ok()?;
        Some((place, range, bytes.into()))
    }

    /// Keeps a file, if there is room.
    fn put(&mut self, meta: &ObjectMeta, bytes: &[u8]) -> io::Result<()> {
        if self.bytes + meta.size > MOST_BYTES || self.files.contains_key(&meta.location) {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile()?),
        };
        file.seek(SeekFrom::Start(self.bytes))?;
        file.write_all(bytes)?;
        let place = Place { start: self.bytes, size: meta.size, last_modified: meta.last_modified };
        self.files.insert(meta.location.clone(), place);
        self.bytes += meta.size;
        Ok(())
    }
}

impl Spooled {
    pub(super) fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, kept: Mutex::default() }
    }
}

impl fmt::Display for Spooled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// Whether nothing is asked but for bytes.
fn is_plain(options: &GetOptions) -> bool {
    let has_condition = options.if_match.is_some()
        || options.if_none_match.is_some()
        || options.if_modified_since.is_some()
        || options.if_unmodified_since.is_some();
    !has_condition && options.version.is_none() && !options.head
}

fn result(meta: ObjectMeta, range: Range<u64>, bytes: Bytes) -> GetResult {
    let payload = GetResultPayload::Stream(futures::stream::once(async move { Ok(bytes) }).boxed());
    GetResult { payload, meta, range, attributes: Attributes::default() }
}

#[async_trait]
impl ObjectStore for Spooled {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if !is_plain(&options) {
            return self.inner.get_opts(location, options).await;
        }
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(location, &options);
        if let Some((Place { size, last_modified, .. }, range, bytes)) = kept {
            let meta = ObjectMeta { location: location.clone(), last_modified, size, e_tag: None, version: None };
            return Ok(result(meta, range, bytes));
        }
        let found = self.inner.get_opts(location, options).await?;
        if found.meta.size > SMALL_BYTES || found.range != (0..found.meta.size) {
            return Ok(found);
        }
        let (meta, range) = (found.meta.clone(), found.range.clone());
        let bytes = found.bytes().await?;
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).put(&meta, &bytes);
        if let Err(error) = kept {
            tracing::debug!("a small file is not kept: {error}");
        }
        Ok(result(meta, range, bytes))
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let parts = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            let part = |range: &Range<u64>| {
                let options = GetOptions { range: Some(range.clone().into()), ..GetOptions::default() };
                kept.get(location, &options).map(|(_, _, bytes)| bytes)
            };
            ranges.iter().map(part).collect::<Option<Vec<_>>>()
        };
        match parts {
            Some(parts) => Ok(parts),
            None => self.inner.get_ranges(location, ranges).await,
        }
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn a_small_file_is_fetched_once_and_a_large_one_as_it_is_asked_for() {
        let inner = Arc::new(InMemory::new());
        let spooled = Spooled::new(Arc::clone(&inner) as Arc<dyn ObjectStore>);
        let (small, large) = (Path::from("small"), Path::from("large"));
        inner.put(&small, vec![7; 100].into()).await.expect("written");
        inner.put(&large, vec![7; SMALL_BYTES as usize + 1].into()).await.expect("written");
        assert_eq!(spooled.get_range(&small, 90..100).await.expect("a part").len(), 10);
        assert_eq!(spooled.get_range(&small, 0..100).await.expect("the whole").len(), 100);
        spooled.get(&large).await.expect("fetched").bytes().await.expect("bytes");
        inner.delete(&small).await.expect("deleted");
        inner.delete(&large).await.expect("deleted");
        assert_eq!(spooled.get(&small).await.expect("kept").bytes().await.expect("bytes"), vec![7; 100]);
        assert_eq!(spooled.get_range(&small, 95..200).await.expect("kept").len(), 5);
        assert_eq!(spooled.get_ranges(&small, &[0..4, 50..60]).await.expect("kept").len(), 2);
        assert!(spooled.get_range(&large, 0..10).await.is_err() && spooled.head(&small).await.is_err());
    }
}
