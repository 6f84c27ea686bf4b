//! The source: Parquet files as a table, their Hive partitions as columns.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;
use object_store::ObjectMeta;
use promptmill_core::pipeline::SourceSpec;
use promptmill_core::{Mistake, Result};

use crate::storage::{Folder, absolute};

/// Lets a session read the store that the source is in.
pub(crate) fn register(session: &SessionContext, spec: &SourceSpec) -> Result<Folder> {
    // The folder in front of a glob is enough to find the store.
    let folder = Folder::open(plain(&spec.path))?;
    folder.register(session);
    Ok(folder)
}

/// A path up to its first wildcard.
fn plain(path: &str) -> &str {
    path.split(['*', '?', '[']).next().unwrap_or_default()
}

/// Opens the source. What is wrong with it is a mistake in `path`.
pub(crate) async fn open(session: &SessionContext, spec: &SourceSpec) -> Result<Arc<dyn TableProvider>, Mistake> {
    let wrong = |message: String| Mistake::new("path", message);
    let plain = plain(&spec.path);
    let folder = register(session, spec).map_err(|error| wrong(error.to_string()))?;
    let path = if folder.local().is_some() {
        absolute(&spec.path).map_err(|error| wrong(error.to_string()))?.to_string_lossy().into_owned()
    } else {
        spec.path.clone()
    };
    if let Some(local) = folder.local().filter(|local| plain == spec.path && !local.exists()) {
        let hint = format!("`{}` is not there; check the path, which is relative to the folder that the command runs in", local.display());
        return Err(wrong(format!("source `{}` does not exist", spec.path)).hint(Some(hint)));
    }
    // A folder is a folder also without the slash at its end.
    let is_folder = folder.local().is_some_and(std::path::Path::is_dir) && plain == spec.path;
    let path = if is_folder && !path.ends_with('/') { format!("{path}/") } else { path };
    let url = ListingTableUrl::parse(&path).map_err(|error| wrong(format!("`{}` is no path or URL: {error}", spec.path)))?;
    let state = session.state();
    let files: Vec<ObjectMeta> = match url.list_all_files(&state, folder.store().as_ref(), "").await {
        Ok(files) => files.try_collect().await.map_err(|error| wrong(format!("source `{}` cannot be listed: {error}", spec.path)))?,
        Err(error) => return Err(wrong(format!("source `{}` cannot be listed: {error}", spec.path))),
    };
    let files: Vec<&ObjectMeta> = files.iter().filter(|file| is_data(&url, file)).collect();
    let Some(first) = files.first() else {
        let hint = "give a Parquet file, a folder or a glob such as `data/*.parquet`";
        return Err(wrong(format!("source `{}` holds no Parquet file", spec.path)).hint(Some(hint)));
    };
    let extension = first.location.extension().map(|extension| format!(".{extension}")).unwrap_or_default();
    let format = ParquetFormat::default().with_force_view_types(false);
    let options = ListingOptions::new(Arc::new(format)).with_file_extension(extension).with_table_partition_cols(partitions(&url, &files));
    let schema = options
        .infer_schema(&state, &url)
        .await
        .map_err(|error| wrong(format!("source `{}` cannot be read as Parquet: {error}", spec.path)))?;
    let config = ListingTableConfig::new(url).with_listing_options(options).with_schema(schema);
    let table = ListingTable::try_new(config).map_err(|error| wrong(format!("source `{}` cannot be read: {error}", spec.path)))?;
    Ok(Arc::new(table))
}

/// Whether a file is data: not empty, and no part of its path hidden, as writers of folders leave `_SUCCESS`
/// and `.crc` files behind.
fn is_data(url: &ListingTableUrl, file: &ObjectMeta) -> bool {
    let hidden = url.strip_prefix(&file.location).is_some_and(|mut parts| parts.any(|part| part.starts_with(['_', '.'])));
    file.size > 0 && !hidden
}

/// The Hive partitions that all files share, outermost first: numbers where every value is one, else text.
fn partitions(url: &ListingTableUrl, files: &[&ObjectMeta]) -> Vec<(String, DataType)> {
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
