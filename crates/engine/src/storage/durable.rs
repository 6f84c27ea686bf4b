//! The local disk as a store whose files outlive a power cut: a file gets its name when its bytes are on the disk, and
//! who has written it goes on when the name is, too.
//!
//! Until then it has a hidden name, `.name#1`, that neither readers of a folder nor [`ObjectStore::list`] take for a file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

/// The local disk.
#[derive(Debug)]
pub(super) struct Durable(LocalFileSystem);

impl Durable {
    pub(super) fn new() -> Self {
        Self(LocalFileSystem::new().with_automatic_cleanup(true))
    }
}

impl std::fmt::Display for Durable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What was written of it so far is no longer needed.
fn put_result() -> PutResult {
    PutResult { e_tag: None, version: None }
}

fn failed(path: &FilePath, error: &io::Error) -> Error {
    let source: Box<dyn std::error::Error + Send + Sync> = format!("{}: {error}", path.display()).into();
    match error.kind() {
        ErrorKind::AlreadyExists => Error::AlreadyExists { path: path.display().to_string(), source },
        ErrorKind::NotFound => Error::NotFound { path: path.display().to_string(), source },
        _ => Error::Generic { store: "LocalFileSystem", source },
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|source| Error::JoinError { source })?
}

/// A file that has no name of its own yet. Dropped it is gone.
#[derive(Debug)]
struct Unnamed {
    file: File,
    hidden: PathBuf,
    name: PathBuf,
    is_named: bool,
}

impl Unnamed {
    /// Begins the file that is to get this name, in a folder that is made if there is none.
    fn create(name: &FilePath) -> io::Result<Self> {
        for number in 1_u64.. {
            let hidden = hidden(name, number);
            match OpenOptions::new().write(true).create_new(true).open(&hidden) {
                Ok(file) => return Ok(Self { file, hidden, name: name.to_owned(), is_named: false }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == ErrorKind::NotFound => create_parents(name)?,
                Err(error) => return Err(error),
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }

    /// Gives it its name, in place of an older file or only if there is none.
    fn persist(mut self, is_new: bool) -> io::Result<()> {
        self.file.sync_all()?;
        if is_new {
            fs::hard_link(&self.hidden, &self.name)?;
            let _ = fs::remove_file(&self.hidden);
        } else {
            fs::rename(&self.hidden, &self.name)?;
        }
        self.is_named = true;
        sync_parent(&self.name)
    }
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        if !self.is_named {
            let _ = fs::remove_file(&self.hidden);
        }
    }
}

fn hidden(name: &FilePath, number: u64) -> PathBuf {
    name.with_file_name(format!(".{}#{number}", name.file_name().unwrap_or_default().to_string_lossy()))
}

/// Makes the folders above a file, durably.
fn create_parents(file: &FilePath) -> io::Result<()> {
    let Some(parent) = file.parent() else { return Ok(()) };
    let missing: Vec<&FilePath> = parent.ancestors().take_while(|folder| !folder.exists()).collect();
    fs::create_dir_all(parent)?;
    missing.iter().try_for_each(|folder| sync_parent(folder))
}

/// Makes the names in the folder of a file durable. On systems where folders cannot be opened they are durable with the
/// files.
pub(super) fn sync_parent(file: &FilePath) -> io::Result<()> {
    file.parent().and_then(|folder| File::open(folder).ok()).map_or(Ok(()), |folder| folder.sync_all())
}

#[async_trait]
impl ObjectStore for Durable {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let is_new = match opts.mode {
            PutMode::Create => true,
            PutMode::Overwrite => false,
            PutMode::Update(_) => return self.0.put_opts(location, payload, opts).await,
        };
        let name = self.0.path_to_filesystem(location)?;
        blocking(move || {
            let written = Unnamed::create(&name).and_then(|mut unnamed| {
                payload.iter().try_for_each(|bytes| unnamed.file.write_all(bytes))?;
                unnamed.persist(is_new)
            });
            written.map(|()| put_result()).map_err(|error| failed(&name, &error))
        })
        .await
    }

    async fn put_multipart_opts(&self, location: &Path, _opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let name = self.0.path_to_filesystem(location)?;
        let unnamed = blocking({
            let name = name.clone();
            move || Unnamed::create(&name).map_err(|error| failed(&name, &error))
        });
        let unnamed = Arc::new(Mutex::new(Some(unnamed.await?)));
        Ok(Box::new(Parts { unnamed, name, written: 0 }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.0.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    /// Files are written once, so that a second name for the same bytes is as good as a copy.
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let name = self.0.path_to_filesystem(to)?;
        let copied = match options.mode {
            CopyMode::Create => self.0.copy_opts(from, to, options).await,
            CopyMode::Overwrite => {
                let (from, name) = (self.0.path_to_filesystem(from)?, name.clone());
                blocking(move || link(&from, &name).map_err(|error| failed(&name, &error))).await
            }
        };
        copied?;
        blocking(move || sync_parent(&name).map_err(|error| failed(&name, &error))).await
    }
}

/// Gives a file a second name.
fn link(from: &FilePath, name: &FilePath) -> io::Result<()> {
    for number in 1_u64.. {
        let hidden = hidden(name, number);
        match fs::hard_link(from, &hidden) {
            Ok(()) => {
                return fs::rename(&hidden, name).inspect_err(|_| {
                    let _ = fs::remove_file(&hidden);
                });
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) if error.kind() == ErrorKind::NotFound && from.exists() => create_parents(name)?,
            Err(error) => return Err(error),
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

/// A file that is written part by part.
#[derive(Debug)]
struct Parts {
    unnamed: Arc<Mutex<Option<Unnamed>>>,
    name: PathBuf,
    /// Where the next part begins.
    written: u64,
}

#[async_trait]
impl MultipartUpload for Parts {
    fn put_part(&mut self, part: PutPayload) -> UploadPart {
        let at = self.written;
        self.written += part.content_length() as u64;
        let (unnamed, name) = (Arc::clone(&self.unnamed), self.name.clone());
        blocking(move || {
            let mut unnamed = unnamed.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(unnamed) = unnamed.as_mut() else { return Err(given_up(&name)) };
            let written =
                unnamed.file.seek(SeekFrom::Start(at)).and_then(|_| part.iter().try_for_each(|bytes| unnamed.file.write_all(bytes)));
            written.map_err(|error| failed(&name, &error))
        })
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let unnamed = self.unnamed.lock().unwrap_or_else(PoisonError::into_inner).take();
        let unnamed = unnamed.ok_or_else(|| given_up(&self.name))?;
        let name = self.name.clone();
        blocking(move || unnamed.persist(false).map(|()| put_result()).map_err(|error| failed(&name, &error))).await
    }

    async fn abort(&mut self) -> Result<()> {
        drop(self.unnamed.lock().unwrap_or_else(PoisonError::into_inner).take());
        Ok(())
    }
}

fn given_up(name: &FilePath) -> Error {
    failed(name, &io::Error::other("the file has been completed or given up"))
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;

    use super::*;

    fn path(folder: &tempfile::TempDir, name: &str) -> Path {
        Path::from_absolute_path(folder.path().join(name)).expect("a path")
    }

    fn names(folder: &tempfile::TempDir) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder.path())
            .expect("lists")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into())
            .collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn a_file_is_named_when_it_is_whole_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Durable::new();
        store.put(&path(&folder, "a"), "one".into()).await.expect("written");
        store.put(&path(&folder, "a"), "two".into()).await.expect("replaced");
        let create = || PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        store.put_opts(&path(&folder, "b"), "one".into(), create()).await.expect("created");
        let again = store.put_opts(&path(&folder, "b"), "two".into(), create()).await.expect_err("is there");
        assert!(matches!(again, Error::AlreadyExists { .. }), "{again}");
        store.copy(&path(&folder, "a"), &path(&folder, "c")).await.expect("copied");
        store.delete(&path(&folder, "a")).await.expect("removed");
        assert_eq!(names(&folder), ["b", "c"]);
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).expect("reads");
        assert_eq!((read("b"), read("c")), ("one".to_owned(), "two".to_owned()));
        let mut parts = store.put_multipart(&path(&folder, "d")).await.expect("begins");
        parts.put_part("thr".into()).await.expect("written");
        assert_eq!(names(&folder), [".d#1", "b", "c"], "nobody takes it for a file yet");
        assert_eq!(store.list_with_delimiter(Some(&path(&folder, ""))).await.expect("lists").objects.len(), 2);
        parts.put_part("ee".into()).await.expect("written");
        parts.complete().await.expect("completed");
        assert_eq!((names(&folder), read("d")), (vec!["b".to_owned(), "c".to_owned(), "d".to_owned()], "three".to_owned()));
        parts.put_part("x".into()).await.expect_err("is complete");
    }

    #[tokio::test]
    async fn what_fails_leaves_nothing_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Durable::new();
        fs::create_dir(folder.path().join("taken")).expect("a folder");
        store.put(&path(&folder, "taken"), "x".into()).await.expect_err("a folder has that name");
        let long = "y".repeat(300);
        let error = store.put(&path(&folder, &format!("{long}/a")), "x".into()).await.expect_err("too long");
        assert!(error.to_string().contains("too long"), "{error}");
        let mut parts = store.put_multipart(&path(&folder, "e")).await.expect("begins");
        parts.put_part("x".into()).await.expect("written");
        parts.abort().await.expect("given up");
        drop(store.put_multipart(&path(&folder, "f")).await.expect("begins"));
        assert_eq!(names(&folder), ["taken"]);
    }
}
