//! A store that fails when a test says so.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, Result, UploadPart,
};

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is not done.
    Refused,
    /// It is done, and whoever asked for it is told that it has failed.
    AnswerLost,
}

/// Which operations fail.
#[derive(Debug)]
pub(crate) struct Faults {
    /// The number of the operation that fails, from 1; and whether all behind it fail too.
    at: usize,
    goes_on: bool,
    fault: Fault,
    done: Mutex<Vec<String>>,
}

impl Faults {
    /// One operation fails, or all from it on.
    pub(crate) fn at(at: usize, fault: Fault, goes_on: bool) -> Arc<Self> {
        Arc::new(Self { at, goes_on, fault, done: Mutex::default() })
    }

    pub(super) fn within(self: &Arc<Self>, inner: Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
        Arc::new(Failing { inner, faults: Arc::clone(self) })
    }

    /// The operation that failed first, if one did.
    pub(crate) fn first(&self) -> Option<String> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).get(self.at - 1).cloned()
    }

    /// How this operation fails, if it does.
    fn step(&self, what: &str, path: &Path) -> Option<(Fault, Error)> {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.push(format!("{what} {path}"));
        let fails = done.len() == self.at || self.goes_on && done.len() > self.at;
        // Of a kind that nobody tries again.
        let error = || Error::PermissionDenied { path: path.to_string(), source: "as the test wants it".into() };
        fails.then(|| (self.fault, error()))
    }
}

/// A store in which some operations fail.
#[derive(Debug)]
struct Failing {
    inner: Arc<dyn ObjectStore>,
    faults: Arc<Faults>,
}

impl fmt::Display for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

async fn faulty<T>(fault: Option<(Fault, Error)>, work: impl Future<Output = Result<T>>) -> Result<T> {
    match fault {
        None => work.await,
        Some((Fault::Refused, error)) => Err(error),
        Some((Fault::AnswerLost, error)) => work.await.and(Err(error)),
    }
}

#[async_trait]
impl ObjectStore for Failing {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        faulty(self.faults.step("put", location), self.inner.put_opts(location, payload, opts)).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let parts = faulty(self.faults.step("begin", location), self.inner.put_multipart_opts(location, opts)).await?;
        Ok(Box::new(FailingParts { parts, location: location.clone(), faults: Arc::clone(&self.faults) }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        faulty(self.faults.step("get", location), self.inner.get_opts(location, options)).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        faulty(self.faults.step("get", location), self.inner.get_ranges(location, ranges)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (inner, faults) = (Arc::clone(&self.inner), Arc::clone(&self.faults));
        let delete = move |location: Result<Path>| {
            let (inner, faults) = (Arc::clone(&inner), Arc::clone(&faults));
            async move {
                let location = location?;
                let mut deleted = inner.delete_stream(futures::stream::iter([Ok(location.clone())]).boxed());
                faulty(faults.step("delete", &location), async { deleted.next().await.unwrap_or(Ok(location)) }).await
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.faults.step("list", prefix.unwrap_or(&Path::ROOT)) {
            Some((_, error)) => futures::stream::iter([Err(error)]).boxed(),
            None => self.inner.list(prefix),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        faulty(self.faults.step("copy", to), self.inner.copy_opts(from, to, options)).await
    }
}

/// A file in parts, some of which may fail.
#[derive(Debug)]
struct FailingParts {
    parts: Box<dyn MultipartUpload>,
    location: Path,
    faults: Arc<Faults>,
}

#[async_trait]
impl MultipartUpload for FailingParts {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let fault = self.faults.step("part", &self.location);
        faulty(fault, self.parts.put_part(data)).boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        faulty(self.faults.step("complete", &self.location), self.parts.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts.abort().await
    }
}
