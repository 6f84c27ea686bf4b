//! Folders on a local disk or on S3, behind one interface.

use std::fmt;
use std::path::{Component, Path as FilePath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use promptmill_core::{Error, Result};

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
    /// The folder at a path or an `s3://` URL. It need not exist.
    ///
    /// # Errors
    /// If the URL is of another kind, or the settings for S3 in the environment cannot be used.
    pub fn open(path: &str) -> Result<Self> {
        let shown = path.trim_end_matches('/').to_owned();
        let wrong = |message: String| Error::failed(message).hint("use a local path or `s3://bucket/folder`");
        if let Some(rest) = path.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let store = AmazonS3Builder::from_env().with_bucket_name(bucket).build().map_err(|error| {
                Error::failed(format!("bucket `{bucket}` cannot be opened")).hint("set the AWS_* variables").because(error)
            })?;
            let url = ObjectStoreUrl::parse(format!("s3://{bucket}")).map_err(|error| wrong(error.to_string()))?;
            let root = Path::parse(prefix).map_err(|error| wrong(error.to_string()))?;
            return Ok(Self { store: Arc::new(store), root, url, local: None, shown });
        }
        if path.contains("://") {
            return Err(wrong(format!("`{path}` is no place that promptmill can write to")));
        }
        let absolute = absolute(path).map_err(|error| wrong(format!("`{path}` is no path")).because(error))?;
        let root = Path::from_absolute_path(&absolute).map_err(|error| wrong(format!("`{path}` is no path")).because(error))?;
        Ok(Self {
            store: Arc::new(LocalFileSystem::new().with_automatic_cleanup(true)),
            root,
            url: ObjectStoreUrl::local_filesystem(),
            local: Some(absolute),
            shown,
        })
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

    /// The folder on the local disk, if it is one.
    pub fn local(&self) -> Option<&FilePath> {
        self.local.as_deref()
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
        let payload = PutPayload::from_bytes(bytes.into());
        self.store.put(&self.path(name), payload).await.map_err(|error| self.failed("written", name, error))?;
        self.sync(name).await
    }

    /// Writes a file that must not exist yet; `false` if it does.
    ///
    /// # Errors
    /// If it cannot be written.
    pub async fn create(&self, name: &str, bytes: impl Into<Bytes>) -> Result<bool> {
        let options = PutOptions { mode: PutMode::Create, ..Default::default() };
        match self.store.put_opts(&self.path(name), PutPayload::from_bytes(bytes.into()), options).await {
            Ok(_) => self.sync(name).await.map(|()| true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(self.failed("written", name, error)),
        }
    }

    /// Makes a local file and its name survive a power cut; a store on S3 has done so already.
    async fn sync(&self, name: &str) -> Result<()> {
        let Some(local) = &self.local else { return Ok(()) };
        let file = local.join(name);
        let synced = tokio::task::spawn_blocking(move || {
            std::fs::File::open(&file)?.sync_all()?;
            // The name lives in the folder; on systems where folders cannot be opened it is durable with the file.
            file.parent().and_then(|folder| std::fs::File::open(folder).ok()).map_or(Ok(()), |folder| folder.sync_all())
        });
        let failed = |error| Error::failed(format!("`{}/{name}` cannot be made durable", self.shown)).because(error);
        synced.await.map_err(|error| failed(std::io::Error::other(error)))?.map_err(failed)
    }

    /// Reads a file; `None` if there is none.
    ///
    /// # Errors
    /// If it is there and cannot be read.
    pub async fn get(&self, name: &str) -> Result<Option<Bytes>> {
        match self.store.get(&self.path(name)).await {
            Ok(found) => found.bytes().await.map(Some).map_err(|error| self.failed("read", name, error)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("read", name, error)),
        }
    }

    /// Removes a file; it is no error if it has gone.
    ///
    /// # Errors
    /// If it is there and stays.
    pub async fn delete(&self, name: &str) -> Result<()> {
        match self.store.delete(&self.path(name)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed("removed", name, error)),
        }
    }

    /// The names of all files below the folder, relative to it, in order.
    ///
    /// # Errors
    /// If they cannot be listed.
    pub async fn list(&self) -> Result<Vec<String>> {
        let metas: Vec<ObjectMeta> = match self.store.list(Some(&self.root)).try_collect().await {
            Ok(metas) => metas,
            Err(object_store::Error::NotFound { .. }) => Vec::new(),
            Err(error) => return Err(self.failed("listed", "", error)),
        };
        let mut names: Vec<String> = metas
            .iter()
            .filter_map(|meta| {
                let parts: Vec<_> = meta.location.prefix_match(&self.root)?.map(|part| part.as_ref().to_owned()).collect();
                Some(parts.join("/"))
            })
            .filter(|name| !name.is_empty())
            .collect();
        names.sort();
        Ok(names)
    }

    fn failed(&self, what: &str, name: &str, error: object_store::Error) -> Error {
        let place = if name.is_empty() { self.shown.clone() } else { format!("{}/{name}", self.shown) };
        Error::failed(format!("`{place}` cannot be {what}")).because(error)
    }
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
        let error = Folder::open("gs://bucket/x").expect_err("refused");
        assert!(error.to_string().contains("gs://bucket/x"), "{error}");
    }
}
