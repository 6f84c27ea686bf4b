//! Folders on a local disk or on S3, behind one interface.

mod clouds;
mod credentials;
mod durable;
#[cfg(test)]
mod failing;
mod footer;
mod profile;
mod reader;
mod s3;
mod spool;
mod upload;
mod whole;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Component, Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::prelude::SessionContext;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion};
use parquet::arrow::async_reader::AsyncFileReader;
use promptmill_core::{Error, ErrorKind, Result};

pub(crate) use clouds::is_known as is_known_cloud;
use durable::Durable;
#[cfg(test)]
pub(crate) use failing::{Fault, Faults};
pub(crate) use footer::trusted;
pub(crate) use reader::{Readers, SMALL_BYTES, StoredFile};
pub(crate) use s3::Action;
use upload::PART_BYTES;
pub(crate) use upload::Upload;

/// Between two tries of a conditional write, doubled each time: the first and the last, half a minute in all.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LAST_WAIT: Duration = Duration::from_millis(12_800);

/// Bytes of a whole path on a local disk, of a whole key on S3, and what our own names take of them.
const LONGEST_PATH: usize = 4095;
const LONGEST_KEY: usize = 1024;
const ROOM_FOR_NAMES: usize = 128;

/// A folder in a store.
#[derive(Clone)]
pub struct Folder {
    store: Arc<dyn ObjectStore>,
    root: Path,
    url: ObjectStoreUrl,
    /// The folder on the local disk, if it is one.
    local: Option<PathBuf>,
    shown: String,
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Folder").field(&self.shown).finish()
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Folder {
    /// The folder at a path or at an `s3://` URL; with the features `azure` and `gcs` also at an `az://`, `abfss://` or `gs://`
    /// one. It need not exist.
    ///
    /// # Errors
    /// If the URL is of another kind, or the settings for the store in the environment cannot be used.
    pub fn open(path: &str) -> Result<Self> {
        let shown = path.trim_end_matches('/').to_owned();
        let wrong = |message: String| Error::failed(message).hint("use a local path or `s3://bucket/folder`");
        if let Some(rest) = path.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            if bucket.is_empty() {
                return Err(wrong(format!("`{path}` names no bucket")));
            }
            let store = s3::open(bucket)?;
            let url = ObjectStoreUrl::parse(format!("s3://{bucket}")).map_err(|error| wrong(error.to_string()))?;
            let root = Path::parse(prefix).map_err(|error| wrong(error.to_string()))?;
            return Ok(Self { store, root, url, local: None, shown });
        }
        if let Some(opened) = clouds::open(path) {
            let clouds::Opened { store, url, inside } = opened?;
            let url = ObjectStoreUrl::parse(url).map_err(|error| wrong(error.to_string()))?;
            let root = Path::parse(inside).map_err(|error| wrong(error.to_string()))?;
            return Ok(Self { store, root, url, local: None, shown });
        }
        if path.contains("://") {
            return Err(wrong(format!("`{path}` is no place that promptmill can write to")));
        }
        let absolute = absolute(path).map_err(|error| wrong(format!("`{path}` is no path")).because(error))?;
        let root = Path::from_absolute_path(&absolute).map_err(|error| wrong(format!("`{path}` is no path")).because(error))?;
        Ok(Self { store: Arc::new(Durable::new()), root, url: ObjectStoreUrl::local_filesystem(), local: Some(absolute), shown })
    }

    /// This folder, of which small files are fetched once; one on this machine stays as it is.
    #[must_use]
    pub(crate) fn spooled(&self) -> Self {
        match self.local {
            Some(_) => self.clone(),
            None => Self { store: Arc::new(spool::Spooled::new(Arc::clone(&self.store))), ..self.clone() },
        }
    }

    /// This folder, with faults in its store.
    #[cfg(test)]
    pub(crate) fn with_faults(&self, faults: &Arc<Faults>) -> Self {
        Self { store: faults.within(Arc::clone(&self.store)), ..self.clone() }
    }

    /// A folder in memory, which stands for one on S3 in tests.
    #[cfg(test)]
    pub(crate) fn in_memory() -> Self {
        Self {
            store: Arc::new(object_store::memory::InMemory::new()),
            root: Path::from("state"),
            url: ObjectStoreUrl::parse("s3://memory").expect("a URL"),
            local: None,
            shown: "s3://memory/state".to_owned(),
        }
    }

    /// The folder inside this one.
    #[must_use]
    pub fn folder(&self, name: &str) -> Self {
        Self {
            root: self.path(name),
            local: self.local.as_ref().map(|local| local.join(name)),
            shown: format!("{}/{name}", self.shown),
            ..self.clone()
        }
    }

    /// The folder around this one; `None` at the top.
    pub(crate) fn above(&self) -> Option<Self> {
        let root = match self.root.as_ref().rsplit_once('/') {
            Some((above, _)) => Path::parse(above).ok()?,
            None if self.root.as_ref().is_empty() => return None,
            None => Path::default(),
        };
        let local = match &self.local {
            Some(local) => Some(local.parent()?.to_owned()),
            None => None,
        };
        let shown = match &local {
            Some(local) => local.to_string_lossy().into_owned(),
            None => self.shown.rsplit_once('/')?.0.to_owned(),
        };
        Some(Self { root, local, shown, ..self.clone() })
    }

    /// The folder on the local disk, if it is one.
    pub fn local(&self) -> Option<&FilePath> {
        self.local.as_deref()
    }

    /// Bytes that the names of files in this folder may have in all, with room left for what stands around them.
    pub(crate) fn longest_name(&self) -> usize {
        let most = if self.local.is_some() { LONGEST_PATH } else { LONGEST_KEY };
        most.saturating_sub(self.root.as_ref().len() + ROOM_FOR_NAMES)
    }

    /// Lets DataFusion read from here.
    pub fn register(&self, session: &SessionContext) {
        session.register_object_store(self.url.as_ref(), Arc::clone(&self.store));
    }

    /// The store's URL, as DataFusion knows it.
    pub(crate) fn store_url(&self) -> &ObjectStoreUrl {
        &self.url
    }

    /// The store.
    pub(crate) fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// A file of this folder, for readers of Parquet; on its size, if it is known, nobody spends a request.
    pub(crate) fn file(&self, name: &str, size: Option<u64>) -> StoredFile {
        StoredFile { store: Arc::clone(&self.store), path: self.path(name), size }
    }

    /// The same, for readers of all of it: a small file is fetched at once.
    pub(crate) fn reader(&self, name: &str, size: u64) -> Box<dyn AsyncFileReader> {
        let file = self.file(name, Some(size));
        if size <= SMALL_BYTES { Box::new(reader::Whole::of(file)) } else { Box::new(file) }
    }

    /// The place of a file of this folder in the store.
    pub(crate) fn path(&self, name: &str) -> Path {
        // Names come from us, with partition values encoded, so they are taken as they stand; a part that no
        // path can hold is escaped.
        name.split('/').filter(|part| !part.is_empty()).fold(self.root.clone(), |path, part| {
            let verbatim = object_store::path::PathPart::parse(part);
            verbatim.map_or_else(|_| path.clone().join(part), |verbatim| path.clone().join(verbatim))
        })
    }

    /// Writes a file whole: readers see all of it or nothing. Replaces an older one.
    ///
    /// # Errors
    /// If it cannot be written.
    pub async fn put(&self, name: &str, bytes: impl Into<Bytes>) -> Result<()> {
        let bytes = bytes.into();
        if self.local.is_none() && bytes.len() > PART_BYTES {
            let mut upload = self.upload(name);
            return match upload.write(bytes).await {
                Ok(()) => upload.finish().await,
                Err(error) => {
                    upload.abort().await;
                    Err(error)
                }
            };
        }
        let payload = PutPayload::from_bytes(bytes);
        self.store.put(&self.path(name), payload).await.map_err(|error| self.failed(Action::Write, name, error))?;
        Ok(())
    }

    /// Writes a file that is in another folder, or has another name, as it is.
    pub(crate) async fn copy_as(&self, name: &str, from: &Self, its_name: &str, bytes: u64) -> Result<()> {
        // Within a store the bytes need not travel; where it cannot do that they do.
        if self.url == from.url && self.store.copy(&from.path(its_name), &self.path(name)).await.is_ok() {
            return Ok(());
        }
        let mut upload = self.upload(name);
        let copied = async {
            for start in (0..bytes).step_by(PART_BYTES) {
                let piece = start..bytes.min(start + PART_BYTES as u64);
                let read = from.store.get_range(&from.path(its_name), piece).await;
                upload.write(read.map_err(|error| from.failed(Action::Read, its_name, error))?).await?;
            }
            Ok(())
        };
        match copied.await {
            Ok(()) => upload.finish().await,
            Err(error) => {
                upload.abort().await;
                Err(error)
            }
        }
    }

    /// Writes a file that must not exist yet; `false` if it does.
    ///
    /// # Errors
    /// If it cannot be written.
    pub async fn create(&self, name: &str, bytes: impl Into<Bytes>) -> Result<bool> {
        Ok(self.create_versioned(name, bytes.into()).await?.is_some())
    }

    /// The same, with the version that was written; `None` if the file is there.
    pub(crate) async fn create_versioned(&self, name: &str, bytes: Bytes) -> Result<Option<UpdateVersion>> {
        self.put_if(name, bytes, PutMode::Create).await
    }

    /// Replaces a file if it is still the version that was read; `None` if it is not.
    pub(crate) async fn replace(&self, name: &str, bytes: Bytes, version: UpdateVersion) -> Result<Option<UpdateVersion>> {
        self.put_if(name, bytes, PutMode::Update(version)).await
    }

    /// Everything that is written on a condition is unlike what anybody else would write there.
    async fn put_if(&self, name: &str, bytes: Bytes, mode: PutMode) -> Result<Option<UpdateVersion>> {
        let mut wait = FIRST_WAIT;
        loop {
            let options = PutOptions { mode: mode.clone(), ..Default::default() };
            match self.store.put_opts(&self.path(name), PutPayload::from_bytes(bytes.clone()), options).await {
                Ok(put) => return Ok(Some(put.into())),
                Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                    // It may be our own, if the answer to an earlier try got lost on its way.
                    let there = self.get_versioned(name).await?;
                    return Ok(there.filter(|(found, _)| *found == bytes).map(|(_, version)| version));
                }
                // The store does not try such a write again by itself: it cannot know what became of it. We can.
                Err(error) => self.wait_after(error, &mut wait).await.map_err(|error| self.failed(Action::Write, name, error))?,
            }
        }
    }

    /// Reads a file; `None` if there is none.
    ///
    /// # Errors
    /// If it is there and cannot be read.
    pub async fn get(&self, name: &str) -> Result<Option<Bytes>> {
        Ok(self.get_versioned(name).await?.map(|(bytes, _)| bytes))
    }

    /// Reads a file and which version of it that is; `None` if there is none.
    pub(crate) async fn get_versioned(&self, name: &str) -> Result<Option<(Bytes, UpdateVersion)>> {
        let failed = |error| self.failed(Action::Read, name, error);
        match self.store.get(&self.path(name)).await {
            Ok(found) => {
                let version = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
                found.bytes().await.map(|bytes| Some((bytes, version))).map_err(failed)
            }
            Err(error @ object_store::Error::NotFound { .. }) if self.is_bucket_missing(&error) => Err(failed(error)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Whether this is no folder but a file; on S3, where folders are not there to be asked for.
    pub(crate) async fn is_file(&self) -> Result<bool> {
        if self.root.as_ref().is_empty() {
            return Ok(false);
        }
        match self.store.head(&self.root).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(self.failed(Action::Read, "", error)),
        }
    }

    /// Size, version and age of a file.
    pub(crate) async fn head(&self, name: &str) -> Result<ObjectMeta> {
        self.store.head(&self.path(name)).await.map_err(|error| self.failed(Action::Read, name, error))
    }

    /// Removes a file; it is no error if it has gone.
    ///
    /// # Errors
    /// If it is there and stays.
    pub async fn delete(&self, name: &str) -> Result<()> {
        self.delete_all([name]).await
    }

    /// Removes files; it is no error if some have gone.
    ///
    /// # Errors
    /// If one is there and stays.
    pub async fn delete_all<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Result<()> {
        let names: Vec<&str> = names.into_iter().collect();
        let mut wait = FIRST_WAIT;
        while let Err(error) = self.try_to_delete(&names).await {
            // Nothing happens twice: what has gone is gone.
            self.wait_after(error, &mut wait).await.map_err(|error| self.failed(Action::Remove, "", error))?;
        }
        self.sync_folders_of(&names).await
    }

    /// Waits before something is tried again, twice as long each time; gives the error back where that is in vain.
    async fn wait_after(&self, error: object_store::Error, wait: &mut Duration) -> object_store::Result<()> {
        if *wait > LAST_WAIT || self.local.is_some() || !is_passing(&error) {
            return Err(error);
        }
        tracing::info!(%error, "`{self}`: trying again in {wait:?}");
        tokio::time::sleep(*wait).await;
        *wait *= 2;
        Ok(())
    }

    async fn try_to_delete(&self, names: &[&str]) -> object_store::Result<()> {
        let paths: Vec<_> = names.iter().map(|name| Ok(self.path(name))).collect();
        let mut deleted = self.store.delete_stream(futures::stream::iter(paths).boxed());
        while let Some(outcome) = deleted.next().await {
            match outcome {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Makes that files were removed survive a power cut, on a local disk.
    async fn sync_folders_of(&self, names: &[&str]) -> Result<()> {
        let Some(local) = &self.local else { return Ok(()) };
        let folders: BTreeSet<&str> = names.iter().map(|name| name.rsplit_once('/').map_or("", |(folder, _)| folder)).collect();
        let files: Vec<PathBuf> = folders.into_iter().map(|folder| local.join(folder).join("removed")).collect();
        let synced = tokio::task::spawn_blocking(move || files.iter().try_for_each(|file| durable::sync_parent(file)));
        let failed = |error| Error::failed(format!("what was removed from `{}` cannot be made durable", self.shown)).because(error);
        synced.await.map_err(|error| failed(std::io::Error::other(error)))?.map_err(failed)
    }

    /// The names of all files below the folder, relative to it, in order.
    ///
    /// # Errors
    /// If they cannot be listed.
    pub async fn list(&self) -> Result<Vec<String>> {
        Ok(self.sizes().await?.into_keys().collect())
    }

    /// The same, with their sizes in bytes.
    pub(crate) async fn sizes(&self) -> Result<BTreeMap<String, u64>> {
        let metas: Vec<ObjectMeta> = match self.store.list(Some(&self.root)).try_collect().await {
            Ok(metas) => metas,
            Err(error @ object_store::Error::NotFound { .. }) if self.local.is_none() => return Err(self.failed(Action::List, "", error)),
            Err(object_store::Error::NotFound { .. }) => Vec::new(),
            Err(error) => return Err(self.failed(Action::List, "", error)),
        };
        let named = metas.iter().filter_map(|meta| {
            let parts: Vec<_> = meta.location.prefix_match(&self.root)?.map(|part| part.as_ref().to_owned()).collect();
            Some((parts.join("/"), meta.size))
        });
        Ok(named.filter(|(name, _)| !name.is_empty()).collect())
    }

    /// Removes what a crash on a local disk has left of files that were not complete, if the name that they were to get is
    /// one of ours. Nobody lists them.
    pub(crate) async fn remove_unfinished(&self, is_ours: impl Fn(&str) -> bool) -> Result<()> {
        let Some(local) = self.local.clone() else { return Ok(()) };
        let failed = |error| Error::failed(format!("unfinished files in `{}` cannot be removed", self.shown)).because(error);
        let walked = tokio::task::spawn_blocking(move || unfinished(&local));
        for (path, name) in walked.await.map_err(|error| failed(std::io::Error::other(error)))?.map_err(failed)? {
            if is_ours(&name) {
                std::fs::remove_file(path).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// What to say when the store refuses something.
    pub(crate) fn failed(&self, action: Action, name: &str, error: object_store::Error) -> Error {
        let place = if name.is_empty() { self.shown.clone() } else { format!("{}/{name}", self.shown) };
        let message = format!("`{place}` cannot be {}", action.done());
        let failed = Error::failed(message).of(match &error {
            object_store::Error::Unauthenticated { .. } | object_store::Error::PermissionDenied { .. } if self.local.is_none() => {
                ErrorKind::Credentials
            }
            _ => ErrorKind::Storage,
        });
        match self.bucket() {
            Some(bucket) => failed.hint(s3::hint(bucket, action, &error)).because(error),
            None => failed.because(error),
        }
    }

    /// The bucket, on S3.
    fn bucket(&self) -> Option<&str> {
        self.url.as_str().strip_prefix("s3://").map(|bucket| bucket.trim_end_matches('/'))
    }

    fn is_bucket_missing(&self, error: &object_store::Error) -> bool {
        self.bucket().is_some() && format!("{error:?}").contains("NoSuchBucket")
    }
}

/// The files below a folder that the local store has not given their names yet, and those names.
fn unfinished(folder: &FilePath) -> std::io::Result<Vec<(PathBuf, String)>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() {
            found.extend(unfinished(&entry.path())?);
        } else if let Some((name, digits)) = name.rsplit_once('#')
            && !digits.is_empty()
            && digits.bytes().all(|digit| digit.is_ascii_digit())
        {
            found.push((entry.path(), name.strip_prefix('.').unwrap_or(name).to_owned()));
        }
    }
    Ok(found)
}

/// An error with everything beneath it.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let beneath = std::iter::successors(error.source(), |error| error.source());
    beneath.fold(error.to_string(), |text, error| format!("{text}: {error}"))
}

/// Whether a failure may pass by itself: the connection broke, or the server has trouble.
fn is_passing(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::Generic { .. })
        && !error.to_string().contains("status code: 4")
        && !format!("{error:?}").contains("status: 4")
}

/// A local path from the root, without `.` and `..`: stores know neither.
pub(crate) fn absolute(path: &str) -> std::io::Result<PathBuf> {
    let mut whole = PathBuf::new();
    for part in std::path::absolute(path)?.components() {
        match part {
            Component::ParentDir => {
                whole.pop();
            }
            Component::CurDir => {}
            part => whole.push(part),
        }
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_are_written_whole_created_once_and_listed() {
        let temp = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(&temp.path().join("new").to_string_lossy()).expect("opens");
        assert_eq!(folder.list().await.expect("lists"), Vec::<String>::new());
        folder.put("a/b=1/c", "x").await.expect("writes");
        assert!(folder.create("d", "first").await.expect("creates"));
        assert!(!folder.create("d", "second").await.expect("refuses"));
        assert_eq!(folder.get("d").await.expect("reads").as_deref(), Some(b"first".as_slice()));
        assert_eq!(folder.list().await.expect("lists"), ["a/b=1/c", "d"]);
        folder.delete("d").await.expect("removes");
        folder.delete("d").await.expect("has gone");
        assert_eq!(folder.get("d").await.expect("reads"), None);
    }

    #[test]
    fn paths_may_go_up_and_have_spaces() {
        let temp = tempfile::tempdir().expect("a folder");
        let path = temp.path().join("a/b/../é c/./d");
        let folder = Folder::open(&path.to_string_lossy()).expect("opens");
        assert_eq!(folder.local(), Some(temp.path().join("a/é c/d").as_path()));
    }

    #[test]
    fn other_places_are_refused_by_name() {
        let error = Folder::open("ftp://bucket/x").expect_err("refused");
        assert!(error.to_string().contains("ftp://bucket/x"), "{error}");
    }
}
