//! The source: Parquet files as a table, their Hive partitions as columns.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::DataFusionError;
use datafusion::datasource::listing::ListingTableUrl;
use datafusion::execution::SessionState;
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;
use object_store::ObjectMeta;
use object_store::path::Path;
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use parquet::errors::ParquetError;
use promptmill_core::pipeline::SourceSpec;
use promptmill_core::{Error, Mistake, Result};

use crate::files::{Files, columns_of};
use crate::node::from_datafusion;
use crate::plan::session;
use crate::storage::{Action, Folder, StoredFile, absolute};

/// Lets a session read the store that the source is in.
pub(crate) fn register(session: &SessionContext, spec: &SourceSpec) -> Result<Folder> {
    // The folder in front of a glob is enough to find the store.
    let before = plain(&spec.path);
    let folder = Folder::open(if before.is_empty() { "." } else { before })?;
    folder.register(session);
    Ok(folder)
}

/// A path up to its first wildcard.
fn plain(path: &str) -> &str {
    path.split(['*', '?', '[']).next().unwrap_or_default()
}

/// Opens the source as the files that are there now. What is wrong with it is a mistake in `path`.
pub(crate) async fn open(session: &SessionContext, spec: &SourceSpec) -> Result<(Arc<dyn TableProvider>, SourceFiles), Mistake> {
    let wrong = |message: String| Mistake::new("path", message);
    let plain = plain(&spec.path);
    let folder = register(session, spec).map_err(|error| told("", &error))?;
    let mut path = if folder.local().is_some() {
        absolute(&spec.path).map_err(|error| wrong(error.to_string()))?.to_string_lossy().into_owned()
    } else {
        spec.path.clone()
    };
    if let Some(local) = folder.local().filter(|local| plain == spec.path && !local.exists()) {
        let hint = format!("`{}` is not there; check the path, which is relative to the folder that the command runs in", local.display());
        return Err(wrong(format!("source `{}` does not exist", spec.path)).hint(Some(hint)));
    }
    // A folder is a folder also without the slash at its end.
    let is_folder = match folder.local() {
        Some(local) => local.is_dir(),
        None => !folder.is_file().await.map_err(|error| told("", &error))?,
    };
    if is_folder && plain == spec.path && !path.ends_with('/') {
        path.push('/');
    }
    let url = ListingTableUrl::parse(&path).map_err(|error| wrong(format!("`{}` is no path or URL: {error}", spec.path)))?;
    let files = SourceFiles::list(&spec.path, folder, url, &session.state()).await.map_err(|error| told("", &error))?;
    let Some(first) = files.seen.first() else {
        let hint = "give a Parquet file, a folder or a glob such as `data/*.parquet`";
        return Err(wrong(format!("source `{}` holds no Parquet file", spec.path)).hint(Some(hint)));
    };
    if first.size == 0 {
        return Err(wrong(format!("source file `{}` is empty, which no Parquet file is", first.location)).hint(Some("write it anew")));
    }
    let schema = match columns_of(&session.state(), &files.folder, &files.seen).await {
        Ok(schema) => schema,
        Err(error) => return Err(told("", &files.blame(from_datafusion(error), false).await)),
    };
    let partitions: Vec<FieldRef> =
        partitions(&files.url, &files.seen).into_iter().map(|(name, data_type)| Arc::new(Field::new(name, data_type, true))).collect();
    let values = |file: &ObjectMeta| partitions.iter().map(|field| partition_of(&files.url, file, field.name())).collect();
    let metas = files.seen.iter().map(|file| (file.clone(), values(file))).collect();
    let table = Files::new(&files.folder, schema, partitions.clone(), metas).map_err(|error| told("", &error))?;
    Ok((Arc::new(table), files))
}

/// A failure as a mistake in `path`.
fn told(at: &str, error: &Error) -> Mistake {
    let at = if at.is_empty() { "path" } else { at };
    match error {
        Error::Failed(failure) => Mistake::new(at, error.to_string()).hint(failure.hint.clone()),
        Error::Invalid(_) => Mistake::new(at, error.to_string()),
    }
}

/// The files of a source, as they were when it was opened.
#[derive(Debug)]
pub(crate) struct SourceFiles {
    /// As in the pipeline file.
    path: String,
    folder: Folder,
    url: ListingTableUrl,
    /// In the order of their names; an empty one would come first.
    seen: Vec<ObjectMeta>,
}

impl SourceFiles {
    async fn list(path: &str, folder: Folder, url: ListingTableUrl, state: &SessionState) -> Result<Self> {
        let failed = |error: DataFusionError| match error.find_root() {
            DataFusionError::ObjectStore(_) => {
                let DataFusionError::ObjectStore(error) = error else { return from_datafusion(error) };
                folder.failed(Action::List, "", *error)
            }
            _ => Error::failed(format!("source `{path}` cannot be listed")).because(error),
        };
        let listed = url.list_all_files(state, folder.store().as_ref(), "").await.map_err(failed)?;
        let mut seen: Vec<ObjectMeta> = listed.try_collect().await.map_err(failed)?;
        seen.retain(|file| is_data(&url, file) && is_as_deep(path, &url, file));
        // One of a kind: what lies beside Parquet files and is none is left alone.
        if seen.iter().any(is_parquet) {
            seen.retain(is_parquet);
        }
        // Nobody asks for these, and of a hundred thousand files they are a third of the list.
        seen.iter_mut().for_each(|file| (file.e_tag, file.version) = (None, None));
        seen.sort_by(|a, b| (a.size > 0, &a.location).cmp(&(b.size > 0, &b.location)));
        Ok(Self { path: path.to_owned(), folder, url, seen })
    }

    /// Fails if a file has changed or gone since. New ones are no part of this run.
    pub(crate) async fn unchanged(&self) -> Result<()> {
        let state = session(None).state();
        let now = Self::list(&self.path, self.folder.clone(), self.url.clone(), &state).await?;
        let now: BTreeMap<&Path, &ObjectMeta> = now.seen.iter().map(|file| (&file.location, file)).collect();
        for file in &self.seen {
            let what = match now.get(&file.location) {
                None => "disappeared",
                Some(found) if found.size != file.size || found.last_modified != file.last_modified => "changed",
                Some(_) => continue,
            };
            return Err(Error::failed(format!("source file `{}` {what} during the run", file.location))
                .hint("what was answered is kept; run again to ask about what has changed"));
        }
        Ok(())
    }

    /// The failure of a query over the source, with the file that is to blame if there is one: they are read one by one.
    pub(crate) async fn blame(&self, error: Error, whole: bool) -> Error {
        for file in &self.seen {
            let Err(found) = read_through(&self.folder, file, whole).await else { continue };
            let text = found.to_string();
            let what = match text.to_lowercase() {
                text if text.contains("encrypt") => "is encrypted, and promptmill reads plain Parquet only",
                text if text.contains("not found") || text.contains("no such file") => "has disappeared",
                _ => "cannot be read as Parquet: it is damaged, or was not written to its end",
            };
            return Error::failed(format!("source file `{}` {what}", file.location))
                .hint("restore it, or leave it out; what was answered is kept")
                .because(found);
        }
        error
    }
}

async fn read_through(folder: &Folder, file: &ObjectMeta, whole: bool) -> Result<(), ParquetError> {
    let reader = StoredFile { store: Arc::clone(folder.store()), path: file.location.clone(), size: Some(file.size) };
    let builder = ParquetRecordBatchStreamBuilder::new(reader).await?;
    if whole {
        let mut batches = builder.build()?;
        while batches.try_next().await?.is_some() {}
    }
    Ok(())
}

fn is_parquet(file: &ObjectMeta) -> bool {
    file.location.extension().is_some_and(|extension| ["parquet", "parq", "pq"].contains(&extension))
}

/// The value of a file's partition.
fn partition_of(url: &ListingTableUrl, file: &ObjectMeta, name: &str) -> Option<String> {
    let mut parts = url.strip_prefix(&file.location)?;
    let value = parts.find_map(|part| part.split_once('=').filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned()))?;
    let value = percent_decode(&value);
    (value != "__HIVE_DEFAULT_PARTITION__").then_some(value)
}

/// Hive writes what no path should hold as `%2F`.
fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut decoded, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let escaped = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(escaped.unwrap_or(bytes[at]));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8(decoded).unwrap_or_else(|_| text.to_owned())
}

/// Whether a file is data: not empty, and no part of its path hidden, as writers of folders leave `_SUCCESS`
/// and `.crc` files behind.
fn is_data(url: &ListingTableUrl, file: &ObjectMeta) -> bool {
    let hidden = url.strip_prefix(&file.location).is_some_and(|mut parts| parts.any(|part| part.starts_with(['_', '.'])));
    // An empty file without a telling name is a marker of some writer; one that should be Parquet is a mistake.
    !hidden && (file.size > 0 || is_parquet(file))
}

/// A glob that names files, such as `data/*.parquet`, means those in that folder and not in folders below; `**` means
/// all of them.
fn is_as_deep(pattern: &str, url: &ListingTableUrl, file: &ObjectMeta) -> bool {
    let last = pattern.rsplit('/').next().unwrap_or_default();
    if !last.contains(['*', '?', '[']) || !last.ends_with(".parquet") || pattern.contains("**") {
        return true;
    }
    // The pattern's folders in front of its first wildcard are the URL's.
    let folders_with_wildcards = pattern[plain(pattern).rfind('/').map_or(0, |slash| slash + 1)..].matches('/').count();
    url.strip_prefix(&file.location).is_none_or(|parts| parts.count() == folders_with_wildcards + 1)
}

/// The Hive partitions that all files share, outermost first: numbers where every value is one, else text.
fn partitions(url: &ListingTableUrl, files: &[ObjectMeta]) -> Vec<(String, DataType)> {
    let mut names: Option<Vec<String>> = None;
    let mut is_number: BTreeMap<String, bool> = BTreeMap::new();
    for file in files {
        let parts: Vec<&str> = url.strip_prefix(&file.location).map(Iterator::collect).unwrap_or_default();
        let pairs: Vec<(&str, &str)> = parts.iter().filter_map(|part| part.split_once('=')).collect();
        for (name, value) in &pairs {
            *is_number.entry((*name).to_owned()).or_insert(true) &=
                value.parse::<i64>().is_ok() && (*value == "0" || !value.starts_with('0'));
        }
        let found: Vec<String> = pairs.iter().map(|(name, _)| (*name).to_owned()).collect();
        match &names {
            None => names = Some(found),
            Some(first) if *first == found => {}
            // Files at different depths: whatever the folders mean, they are no partitions of one table.
            Some(_) => return Vec::new(),
        }
    }
    let type_of = |name: &str| if is_number.get(name) == Some(&true) { DataType::Int64 } else { DataType::Utf8 };
    names.unwrap_or_default().into_iter().map(|name| (name.clone(), type_of(&name))).collect()
}

/// The columns that users know: without those that pass between engine and stages.
pub(crate) fn visible(schema: &SchemaRef) -> Vec<&str> {
    schema.fields().iter().map(|field| field.name().as_str()).filter(|name| !name.starts_with("__")).collect()
}
