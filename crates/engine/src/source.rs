//! The source: files as a table, and what was left out of it.
//!
//! What a path means is said in `place`, by name or as a `pattern`, the same on a disk and in a bucket; which folders are
//! columns in `hive`; how a Delta table names its files in `delta`. The columns are those of all files together
//! ([`crate::files`]). Files that are no Parquet are read by `records`.

mod data;
mod delta;
mod formats;
mod hive;
mod pattern;
mod place;
mod records;
mod seen;
mod summary;
mod tables;
mod whole;
mod wrong;

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::prelude::SessionContext;
use object_store::ObjectMeta;
use promptmill_core::pipeline::{SourceFormat, SourceSpec};
use promptmill_core::{Error, Mistake, Result};

use self::data::data_files;
use self::hive::Partitions;
use self::place::{Found, Place};
use self::records::{Kind, Looked, Records};
pub(crate) use self::seen::SourceFiles;
pub use self::summary::{LeftOut, SourceSummary};
use self::wrong::damaged;
use crate::files::Files;
use crate::files::footers::cache::{self, Cache};
use crate::files::footers::{self, Footers, Weights};
use crate::files::merge::{Conflict, Merged};
use crate::storage::Folder;

/// Stored bytes of a row, and of a file, beyond which the footers of a Delta table's files are looked at.
const LARGE_ROW: u64 = 512;
const LARGE_FILE: u64 = 32 << 20;

/// Lets a session read the store that a source is in.
pub(crate) fn register(session: &SessionContext, spec: &SourceSpec) -> Result<()> {
    let path = spec.path.all().first().map(String::as_str).unwrap_or_default();
    let bucket = place::store_of(path).map_err(|mistake| Error::failed(mistake.message))?;
    Folder::open(if bucket.is_empty() { "." } else { &bucket })?.register(session);
    Ok(())
}

/// Opens the source as the files that are there now. What is wrong with it is a mistake in one of its settings. In the state,
/// if there is one, is kept what their footers said.
pub(crate) async fn open(
    session: &SessionContext,
    spec: &SourceSpec,
    state: Option<&Folder>,
) -> Result<(Arc<dyn TableProvider>, SourceFiles), Mistake> {
    let (folder, places, found) = list(spec).await?;
    folder.register(session);
    let (table, files) = match tables::delta(&places, &found, spec.format).await? {
        Some(table) => open_delta(table, places, spec).await?,
        None => {
            let listed = Listed::of(spec, folder, places, found).await?;
            let looked = listed.look(state).await?;
            listed.build(looked).await?
        }
    };
    files.register(session);
    Ok((table, files))
}

/// Lists what lies at the paths, all of which are in one store.
async fn list(spec: &SourceSpec) -> Result<(Folder, Vec<Place>, Vec<Vec<Found>>), Mistake> {
    let paths = spec.path.all();
    for pair in paths.windows(2) {
        if place::store_of(&pair[0])? != place::store_of(&pair[1])? {
            let message = format!("`{}` and `{}` lie in different stores", pair[0], pair[1]);
            return Err(Mistake::new("path", message).hint(Some("all of one source lies on this machine, or in one bucket")));
        }
    }
    let mut places = Vec::with_capacity(paths.len());
    for path in paths {
        places.push(Place::of(path).await?);
    }
    let Some(first) = places.first() else {
        return Err(Mistake::new("path", "the source names no path").hint(Some("give a file, a folder, a glob or a list of them")));
    };
    let folder = first.folder.spooled();
    let mut found = Vec::with_capacity(places.len());
    for place in &places {
        found.push(place.list().await.map_err(|error| told(&error))?);
    }
    Ok((folder, places, found))
}

/// Files that are data, and how they are to be read.
struct Listed {
    folder: Folder,
    places: Vec<Place>,
    /// What the files are; `None` for Parquet.
    kind: Option<Kind>,
    seen: Vec<ObjectMeta>,
    /// The folders that each lies in.
    folders: Vec<Vec<String>>,
    /// What each is known by in the cache, and whether all have tags.
    keys: Vec<cache::Key>,
    has_tags: bool,
    summary: SourceSummary,
}

impl Listed {
    async fn of(spec: &SourceSpec, folder: Folder, places: Vec<Place>, found: Vec<Vec<Found>>) -> Result<Self, Mistake> {
        let paths = spec.path.all();
        for (name, is_set) in [("version", spec.version.is_some()), ("timestamp", spec.timestamp.is_some())] {
            if is_set {
                let message = format!("`{name}` chooses a version of a Delta table, and `{}` is none", paths.join("`, `"));
                return Err(Mistake::new(name, message).hint(Some("leave it out, or give the folder of a Delta table")));
            }
        }
        let format = formats::format_of(&places, &found, spec.format).await?;
        let kind = Kind::of(format, spec)?;
        let mut summary = SourceSummary { format: formats::named(format).to_owned(), ..SourceSummary::default() };
        let data = match &kind {
            Some(_) => formats::record_files(&places, found, (format, spec.format.is_some()), &mut summary),
            None => data_files(&places, found, &mut summary).await.map_err(|error| told(&error))?,
        };
        let Some(smallest) = data.iter().min_by_key(|file| file.meta.size) else { return Err(nothing(paths, format, &summary)) };
        if smallest.meta.size == 0 {
            let message = format!("source file `{}` is empty, which no Parquet file is", shown(&folder, &smallest.meta));
            return Err(Mistake::new("path", message).hint(Some("write it anew")));
        }
        let has_tags = folder.local().is_none() && data.iter().all(|file| file.tag != 0);
        let keys = data.iter().map(|file| cache::key(&folder, &file.meta, file.tag)).collect();
        summary.files = data.len() as u64;
        summary.bytes = data.iter().map(|file| file.meta.size).sum();
        let (seen, folders) = data.into_iter().map(|file| (file.meta, file.folders)).unzip();
        Ok(Self { folder, places, kind, seen, folders, keys, has_tags, summary })
    }

    /// Looks into every file, but for those of which the cache knows what they say.
    async fn look(&self, state: Option<&Folder>) -> Result<Looked, Mistake> {
        let Self { folder, seen, keys, has_tags, .. } = self;
        if let Some(kind) = &self.kind {
            return records::look(kind, folder, seen).await;
        }
        let cache = state.map(|state| Cache { state, keys, has_tags: *has_tags });
        let read = footers::read(folder, seen, cache).await;
        let Footers { shapes, rows, empty, weights } = read.map_err(|unreadable| damaged(folder, seen, &unreadable))?;
        Ok(Looked { shapes, rows: Some(rows), empty, weights, conflicts: BTreeMap::new() })
    }

    /// Makes one table of the files.
    async fn build(self, looked: Looked) -> Result<(Arc<dyn TableProvider>, SourceFiles), Mistake> {
        let Self { folder, places, kind, seen, folders, keys: _, has_tags: _, mut summary } = self;
        let Looked { shapes, rows, empty, weights, conflicts: of_records } = looked;
        let columns = whole::Columns { kind: kind.as_ref(), folder: &folder, seen: &seen };
        let partitions = Partitions::of(folders.iter().map(Vec::as_slice));
        let partition_fields: Vec<FieldRef> =
            partitions.columns().map(|(name, data_type)| Arc::new(Field::new(name, data_type, true))).collect();
        let is_partition = |name: &str| partition_fields.iter().any(|field| field.name() == name);
        let in_files: Vec<&String> = partition_fields.iter().map(|field| field.name()).filter(|name| shapes.has(name)).collect();
        for name in in_files {
            columns.check_partition(name, |place| hive::value_of(&folders[place], name)).await?;
            summary.notes.push(format!("column `{name}` is in the files too: the folders' values are taken, with which the files agree"));
        }
        let merged = columns.merged(shapes, is_partition).await?;
        for name in &merged.to_floats {
            columns.check_exact(name).await?;
        }
        for name in &merged.to_nanos {
            columns.check_in_reach(name).await?;
        }
        if partitions.uneven() > 0 {
            let names: Vec<&str> = partition_fields.iter().map(|field| field.name().as_str()).collect();
            let count = files_are(partitions.uneven() as u64, "lies", "lie");
            let names = names.join(", ");
            summary.notes.push(format!("{count} outside of some folder of the partitions {names}, whose columns are null there"));
        }
        let mut conflicts = conflicts_of(&merged, &folder, &seen);
        conflicts.extend(of_records);
        summary.notes.extend(conflicts.values().map(|words| format!("{words}: it is left out, as nothing reads it")));
        summary.rows = rows;
        let values = |folders: &[String]| partition_fields.iter().map(|field| hive::value_of(folders, field.name())).collect::<Vec<_>>();
        // Files without rows are not opened again, whatever types they have.
        let with_rows = seen.iter().zip(&folders).enumerate().filter(|(place, _)| !empty.contains(place));
        let metas = with_rows.map(|(_, (meta, folders))| (meta.clone(), values(folders))).collect();
        let Weights { all: weight, heavy } = weights;
        let heavy = heavy.into_iter().map(|place| seen[place].location.clone()).collect();
        let Merged { schema, is_cast, .. } = merged;
        let table: Arc<dyn TableProvider> = match kind {
            Some(kind) => Arc::new(Records::new(kind, &folder, &schema, &partition_fields, metas).map_err(|error| told(&error))?),
            None => {
                let files = Files::new(&folder, schema, partition_fields, metas).map_err(|error| told(&error))?;
                Arc::new(files.cast(is_cast).weighing(weight, heavy))
            }
        };
        Ok((table, SourceFiles { places, folder, seen, summary, conflicts, rows_at_once: weight.rows_at_once }))
    }
}

/// The columns that the files have and the table has not, each with the words to say so.
fn conflicts_of(merged: &Merged, folder: &Folder, seen: &[ObjectMeta]) -> BTreeMap<String, String> {
    let of_types = merged.conflicts.iter().map(|conflict| (conflict.column.clone(), in_words(folder, seen, conflict)));
    let twice = merged.twice.iter().map(|(column, place)| {
        let file = shown(folder, &seen[*place]);
        (column.clone(), format!("column `{column}`, or a part of it, stands twice in `{file}` under one name"))
    });
    let intervals = merged.intervals.iter().map(|(column, place)| {
        let file = shown(folder, &seen[*place]);
        let words = format!("column `{column}` holds intervals in `{file}`, of which days and times are read and months are not");
        (column.clone(), words)
    });
    of_types.chain(twice).chain(intervals).collect()
}

async fn open_delta(folder: Folder, places: Vec<Place>, spec: &SourceSpec) -> Result<(Arc<dyn TableProvider>, SourceFiles), Mistake> {
    let delta::Snapshot { version, schema, partitions, files, rows } = delta::read(&folder, spec).await?;
    let seen: Vec<ObjectMeta> = files.iter().map(|(meta, _)| meta.clone()).collect();
    let summary = SourceSummary {
        format: "delta".to_owned(),
        version: Some(version),
        files: seen.len() as u64,
        rows,
        bytes: seen.iter().map(|file| file.size).sum(),
        ..SourceSummary::default()
    };
    // Its log says nothing of the rows' sizes; where they cannot be small, the footers are asked.
    let mean = seen.iter().map(|file| file.size).sum::<u64>() / rows.unwrap_or(1).max(1);
    let large: Vec<ObjectMeta> = seen.iter().filter(|file| mean > LARGE_ROW || file.size > LARGE_FILE).cloned().collect();
    let weights = footers::weigh(&folder, &large).await.map_err(|unreadable| damaged(&folder, &large, &unreadable))?;
    let heavy = weights.heavy.into_iter().map(|place| large[place].location.clone()).collect();
    // Files of one table may be older than its columns: each is brought to the types that the log says.
    let table = Files::new(&folder, schema, partitions, files).map_err(|error| told(&error))?.cast(true).weighing(weights.all, heavy);
    let rows_at_once = weights.all.rows_at_once;
    let files = SourceFiles { places, folder, seen, summary, conflicts: BTreeMap::new(), rows_at_once };
    Ok((Arc::new(table), files))
}

/// What to say where nothing is left to read.
fn nothing(paths: &[String], format: SourceFormat, summary: &SourceSummary) -> Mistake {
    let (source, kind) = (paths.join("`, `"), records::name_of(format).trim_end_matches('s'));
    match summary.left_out.iter().max_by_key(|left_out| left_out.files) {
        Some(LeftOut { why, some, .. }) => {
            let message = format!("source `{source}` holds no {kind}, but {why} (`{}`)", some.join("`, `"));
            Mistake::new("path", message).hint(Some(
                "promptmill reads Parquet, CSV, JSON lines and Arrow files, and Delta tables; `format` says what files are whose names do not",
            ))
        }
        None => Mistake::new("path", format!("source `{source}` holds no {kind}"))
            .hint(Some("give a file, a folder, a glob such as `data/*.parquet`, or a list of them")),
    }
}

/// A conflict of types, in words.
fn in_words(folder: &Folder, seen: &[ObjectMeta], conflict: &Conflict) -> String {
    let [(one, at), (other, other_at)] = &conflict.types;
    let (file, other_file) = (shown(folder, &seen[*at]), shown(folder, &seen[*other_at]));
    format!("column `{}` is {} in `{file}` and {} in `{other_file}`, which are no one type", conflict.column, name_of(one), name_of(other))
}

/// A type as people call it.
pub(crate) fn name_of(data_type: &DataType) -> String {
    match data_type {
        DataType::FixedSizeBinary(length) => format!("{length} bytes"),
        DataType::Map(..) => "a map".to_owned(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        DataType::List(of) | DataType::LargeList(of) | DataType::FixedSizeList(of, _) => format!("a list of {}", name_of(of.data_type())),
        DataType::Struct(_) => "a struct".to_owned(),
        DataType::Boolean => "true or false".to_owned(),
        other => other.to_string(),
    }
}

fn files_are(count: u64, one: &str, many: &str) -> String {
    if count == 1 { format!("1 file {one}") } else { format!("{count} files {many}") }
}

/// A file as its owner would name it.
fn shown(folder: &Folder, file: &ObjectMeta) -> String {
    match folder.local() {
        Some(_) => {
            let path = format!("/{}", file.location);
            let here = std::env::current_dir().unwrap_or_default();
            std::path::Path::new(&path).strip_prefix(here).map_or(path.clone(), |path| path.display().to_string())
        }
        None => format!("{}/{}", folder.store_url().as_str().trim_end_matches('/'), file.location),
    }
}

/// A failure as a mistake in `path`.
fn told(error: &Error) -> Mistake {
    match error {
        Error::Failed(failure) => Mistake::new("path", error.to_string()).hint(failure.hint.clone()),
        Error::Invalid(_) => Mistake::new("path", error.to_string()),
    }
}

/// The columns that users know: without those that pass between engine and stages.
pub(crate) fn visible(schema: &SchemaRef) -> Vec<&str> {
    schema.fields().iter().map(|field| field.name().as_str()).filter(|name| !name.starts_with("__")).collect()
}
