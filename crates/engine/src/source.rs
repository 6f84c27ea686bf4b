//! The source: files as a table, and what was left out of it.
//!
//! What a path means is said in `place`, by name or as a `pattern`, the same on a disk and in a bucket; which folders are
//! columns in `hive`; how a Delta table names its files in `delta`. The columns are those of all files together
//! ([`crate::files`]). Files that are no Parquet are read by `records`.

mod delta;
mod formats;
mod hive;
mod pattern;
mod place;
mod records;
mod tables;
mod whole;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::prelude::SessionContext;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use promptmill_core::pipeline::{SourceFormat, SourceSpec};
use promptmill_core::{Error, Mistake, Result};
use serde::{Deserialize, Serialize};

use self::hive::Partitions;
use self::place::{Found, Place};
use self::records::{Kind, Looked, Records};
use crate::files::Files;
use crate::files::footers::cache::{self, Cache};
use crate::files::footers::{self, Footers, UNKNOWN_TYPE, Unreadable, Weights};
use crate::files::merge::{Conflict, Merged};
use crate::files::paged;
use crate::storage::{Folder, StoredFile, chain};

/// Files with odd names that are looked into; more are left out by their names.
const LOOKED_INTO: usize = 1_000;
/// Files that a message names.
const NAMED: usize = 3;
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

/// What a source is made of, as `check`, `plan` and the run record say it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceSummary {
    /// `parquet`, `delta`, `csv`, `jsonl` or `arrow`.
    pub format: String,
    /// The version of a Delta table that was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Files that are read.
    pub files: u64,
    /// Rows in them, where that is known without reading them.
    pub rows: Option<u64>,
    /// Their size.
    pub bytes: u64,
    /// What was left out, and why; hidden files and markers are not counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// What somebody who looks at the rows should know of the files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Files that are no part of a source, for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Why.
    pub why: String,
    /// How many.
    pub files: u64,
    /// Some of them.
    pub some: Vec<String>,
}

impl fmt::Display for SourceSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(version) = self.version {
            write!(f, "Delta table at version {version}, ")?;
        }
        write!(f, "{}", files_are(self.files, "", "").trim_end())?;
        if let Some(rows) = self.rows {
            write!(f, ", {rows} {}", if rows == 1 { "row" } else { "rows" })?;
        }
        write!(f, ", {:.1} kB", self.bytes as f64 / 1e3)?;
        for LeftOut { why, files, some } in &self.left_out {
            let more = if *files as usize > some.len() { ", …" } else { "" };
            write!(f, "; left out: {files} {why} ({}{more})", some.join(", "))?;
        }
        self.notes.iter().try_for_each(|note| write!(f, "; {note}"))
    }
}

impl SourceSummary {
    fn leave_out(&mut self, why: &str, name: String) {
        let known = self.left_out.iter().position(|known| known.why == why);
        let at = known.unwrap_or_else(|| {
            self.left_out.push(LeftOut { why: why.to_owned(), files: 0, some: Vec::new() });
            self.left_out.len() - 1
        });
        let left_out = &mut self.left_out[at];
        left_out.files += 1;
        if left_out.some.len() < NAMED {
            left_out.some.push(name);
        }
    }
}

/// Opens the source as the files that are there now. What is wrong with it is a mistake in one of its settings. In the state,
/// if there is one, is kept what their footers said.
pub(crate) async fn open(
    session: &SessionContext,
    spec: &SourceSpec,
    state: Option<&Folder>,
) -> Result<(Arc<dyn TableProvider>, SourceFiles), Mistake> {
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
    let folder = first.folder.clone();
    folder.register(session);
    let mut found = Vec::with_capacity(places.len());
    for place in &places {
        found.push(place.list().await.map_err(|error| told(&error))?);
    }
    if let Some(table) = tables::delta(&places, &found, spec.format).await? {
        return open_delta(session, table, places, spec).await;
    }
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
    let (mut seen, mut folders, mut keys) =
        (Vec::with_capacity(data.len()), Vec::with_capacity(data.len()), Vec::with_capacity(data.len()));
    let mut has_tags = folder.local().is_none();
    for Data { meta, folders: names, tag } in data {
        has_tags &= tag != 0;
        keys.push(cache::key(&folder, &meta, tag));
        seen.push(meta);
        folders.push(names);
    }
    let Some(smallest) = seen.iter().min_by_key(|file| file.size) else { return Err(nothing(paths, format, &summary)) };
    if smallest.size == 0 {
        let message = format!("source file `{}` is empty, which no Parquet file is", shown(&folder, smallest));
        return Err(Mistake::new("path", message).hint(Some("write it anew")));
    }
    let looked = match &kind {
        Some(kind) => records::look(kind, &folder, &seen).await?,
        None => {
            let cache = state.map(|state| Cache { state, keys: &keys, has_tags });
            let Footers { shapes, rows, empty, weights } =
                footers::read(&folder, &seen, cache).await.map_err(|unreadable| damaged(&folder, &seen, &unreadable))?;
            Looked { shapes, rows: Some(rows), empty, weights, conflicts: BTreeMap::new() }
        }
    };
    drop(keys);
    let Looked { shapes, rows, empty, weights, conflicts: of_records } = looked;
    let columns = whole::Columns { kind: kind.as_ref(), folder: &folder, seen: &seen };
    let partitions = Partitions::of(folders.iter().map(Vec::as_slice));
    let partition_fields: Vec<FieldRef> =
        partitions.columns().map(|(name, data_type)| Arc::new(Field::new(name, data_type, true))).collect();
    let is_partition = |name: &str| partition_fields.iter().any(|field| field.name() == name);
    let in_files: Vec<String> = partition_fields.iter().map(|field| field.name().clone()).filter(|name| shapes.has(name)).collect();
    let Merged { schema, conflicts, intervals, is_cast, to_floats } = shapes.merge(is_partition);
    let values = |folders: &[String]| partition_fields.iter().map(|field| hive::value_of(folders, field.name())).collect::<Vec<_>>();
    for name in &in_files {
        let stands = |place: usize| hive::value_of(&folders[place], name);
        columns.check_partition(name, stands).await?;
        summary.notes.push(format!("column `{name}` is in the files too: the folders' values are taken, with which the files agree"));
    }
    for name in &to_floats {
        columns.check_exact(name).await?;
    }
    if partitions.uneven() > 0 {
        let names: Vec<&str> = partition_fields.iter().map(|field| field.name().as_str()).collect();
        let count = files_are(partitions.uneven() as u64, "lies", "lie");
        summary.notes.push(format!("{count} outside of some folder of the partitions {}, whose columns are null there", names.join(", ")));
    }
    // Files without rows are not opened again, whatever types they have.
    let with_rows = seen.iter().zip(&folders).enumerate().filter(|(place, _)| !empty.contains(place));
    let metas = with_rows.map(|(_, (meta, folders))| (meta.clone(), values(folders))).collect();
    let Weights { all: weight, heavy } = weights;
    let heavy = heavy.into_iter().map(|place| seen[place].location.clone()).collect();
    let table: Arc<dyn TableProvider> = match kind {
        Some(kind) => Arc::new(Records::new(kind, &folder, &schema, &partition_fields, metas).map_err(|error| told(&error))?),
        None => {
            let files = Files::new(&folder, schema, partition_fields, metas).map_err(|error| told(&error))?;
            Arc::new(files.cast(is_cast).weighing(weight, heavy))
        }
    };
    (summary.files, summary.rows) = (seen.len() as u64, rows);
    summary.bytes = seen.iter().map(|file| file.size).sum();
    let in_words = |conflict: Conflict| (conflict.column.clone(), in_words(&folder, &seen, &conflict));
    let mut conflicts: BTreeMap<String, String> = conflicts.into_iter().map(in_words).chain(of_records).collect();
    conflicts.extend(intervals.into_iter().map(|(column, place)| {
        let file = shown(&folder, &seen[place]);
        let words = format!("column `{column}` holds intervals in `{file}`, of which days and times are read and months are not");
        (column, words)
    }));
    summary.notes.extend(conflicts.values().map(|words| format!("{words}: it is left out, as nothing reads it")));
    let files = SourceFiles { places, folder, seen, summary, conflicts, rows_at_once: weight.rows_at_once };
    files.register(session);
    Ok((table, files))
}

async fn open_delta(
    session: &SessionContext,
    folder: Folder,
    places: Vec<Place>,
    spec: &SourceSpec,
) -> Result<(Arc<dyn TableProvider>, SourceFiles), Mistake> {
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
    files.register(session);
    Ok((Arc::new(table), files))
}

/// A file that is data.
struct Data {
    meta: ObjectMeta,
    /// The folders that it lies in.
    folders: Vec<String>,
    tag: u64,
}

/// The files that are data, in the order of their names.
async fn data_files(places: &[Place], found: Vec<Vec<Found>>, summary: &mut SourceSummary) -> Result<Vec<Data>> {
    let mut data: Vec<Data> = Vec::new();
    let mut odd = Vec::new();
    for (place, found) in places.iter().zip(found) {
        for file in found {
            let name = file.meta.location.filename().unwrap_or_default().to_owned();
            if place.is_file() || (is_named_parquet(&name) && !place.is_hidden(&file.inside)) {
                data.push(Data { folders: place.folders_of(&file), tag: file.tag, meta: file.meta });
            } else if !place.is_hidden(&file.inside) && file.meta.size > 0 {
                odd.push((Data { folders: place.folders_of(&file), tag: file.tag, meta: file.meta }, name));
            }
        }
    }
    let are_few = odd.len() <= LOOKED_INTO;
    for (file, name) in odd {
        if let Some(why) = is_left_behind(&name) {
            summary.leave_out(why, name);
        } else if !are_few {
            summary.leave_out("not named as Parquet files are", name);
        } else if is_parquet_inside(&places[0].folder, &file.meta).await? {
            data.push(file);
        } else {
            summary.leave_out(kind_of(&name), name);
        }
    }
    data.sort_by(|one, other| one.meta.location.cmp(&other.meta.location));
    data.dedup_by(|one, other| one.meta.location == other.meta.location);
    Ok(data)
}

fn is_named_parquet(name: &str) -> bool {
    let name = name.to_lowercase();
    ["parquet", "parq", "pq"].iter().any(|ending| name.strip_suffix(ending).is_some_and(|before| before.ends_with('.')))
}

/// What writers and editors leave behind, whatever is in it.
fn is_left_behind(name: &str) -> Option<&'static str> {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_lowercase()).unwrap_or_default();
    match ending.as_str() {
        "crc" => Some("checksums"),
        "tmp" | "temp" | "bak" | "old" | "orig" | "swp" | "inprogress" | "crdownload" => Some("backups or unfinished files by their names"),
        _ if name.ends_with('~') => Some("backups or unfinished files by their names"),
        _ => None,
    }
}

/// What a file is by its name, if it is no Parquet file.
fn kind_of(name: &str) -> &'static str {
    let name = name.to_lowercase();
    let name = ["gz", "zst", "bz2", "xz"].iter().find_map(|packed| name.strip_suffix(packed)?.strip_suffix('.')).unwrap_or(&name);
    match name.rsplit_once('.').map_or("", |(_, ending)| ending) {
        "csv" | "tsv" => "CSV files",
        "json" | "jsonl" | "ndjson" => "JSON files",
        "arrow" | "feather" | "ipc" | "arrows" => "Arrow files",
        "orc" => "ORC files",
        "avro" => "Avro files",
        "xlsx" | "xls" | "ods" => "spreadsheets",
        "zip" | "tar" | "tgz" | "7z" => "archives",
        "txt" | "md" => "texts",
        _ => "other files",
    }
}

async fn is_parquet_inside(folder: &Folder, meta: &ObjectMeta) -> Result<bool> {
    if meta.size < 12 {
        return Ok(false);
    }
    let ranges = [0..4, meta.size - 4..meta.size];
    let read = folder.store().get_ranges(&meta.location, &ranges).await;
    let ends = read.map_err(|error| Error::failed(format!("source file `{}` cannot be read", shown(folder, meta))).because(error))?;
    Ok(ends.iter().all(|end| end.as_ref() == b"PAR1"))
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

/// A file that cannot be read, as a mistake.
fn damaged(folder: &Folder, seen: &[ObjectMeta], unreadable: &Unreadable) -> Mistake {
    let file = &seen[unreadable.place];
    let name = file.location.filename().unwrap_or_default();
    let Wrong { what, hint } = match (kind_of(name), what_is_wrong(&unreadable.error)) {
        (kind, Wrong { what, .. }) if kind != "other files" && what == DAMAGED => {
            Wrong { what: format!("cannot be read as Parquet: by its name it is one of {kind}"), hint: "leave it out" }
        }
        (_, wrong) => wrong,
    };
    Mistake::new("path", format!("source file `{}` {what}", shown(folder, file))).hint(Some(hint))
}

/// Why a file cannot be read, and what to do about it.
struct Wrong {
    what: String,
    hint: &'static str,
}

const DAMAGED: &str = "cannot be read as Parquet: it is damaged, or was not written to its end";

/// Only what the bytes of a file say themselves makes it damaged: a store may be away, a disk may fail, and there is Parquet
/// that this reader does not know.
fn what_is_wrong(error: &ParquetError) -> Wrong {
    let wrong = |what: String, hint| Wrong { what, hint };
    let (words, all) = (error.to_string(), chain(error).to_lowercase());
    let is_of_file = !matches!(error, ParquetError::External(cause) if is_of_store(cause.as_ref()));
    match all {
        text if text.contains("encrypt") => {
            wrong("is encrypted, and promptmill reads plain Parquet only".to_owned(), "decrypt it, or leave it out")
        }
        text if text.contains("not found") || text.contains("no such file") => {
            wrong("has disappeared".to_owned(), "restore it, or leave it out")
        }
        _ if words.contains(UNKNOWN_TYPE) => wrong(format!("cannot be read: {UNKNOWN_TYPE}"), "write that column with another type"),
        text if text.contains("permission denied") => wrong("may not be read by this user".to_owned(), "allow that, or leave it out"),
        _ if !is_of_file => wrong(format!("cannot be read now: {words}"), "run again when it can be reached"),
        text if text.contains("overflow decoding") || text.contains("offset overflow") => {
            wrong(format!("has more in one batch than fits: {words}"), "write it anew with smaller row groups")
        }
        text if matches!(error, ParquetError::NYI(_))
            || ["disabled feature", "not supported", "unsupported"].iter().any(|no| text.contains(no)) =>
        {
            wrong(format!("is Parquet of a kind that promptmill does not read: {words}"), "write it anew, with zstd or snappy")
        }
        _ => wrong(DAMAGED.to_owned(), "restore it, or leave it out"),
    }
}

/// Whether an error is one of reading, not of what was read.
fn is_of_store(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.any(|error| error.is::<object_store::Error>() || error.downcast_ref::<std::io::Error>().is_some_and(is_of_disk))
}

/// Decoders tell of bad bytes as errors of input as well.
fn is_of_disk(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    !matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::Other)
}

/// The files of a source, as they were when it was opened.
#[derive(Debug)]
pub(crate) struct SourceFiles {
    places: Vec<Place>,
    folder: Folder,
    seen: Vec<ObjectMeta>,
    pub(crate) summary: SourceSummary,
    /// Columns that are not in the table because their types do not go together, each with the words to say so.
    pub(crate) conflicts: BTreeMap<String, String>,
    /// Rows that may be in memory together.
    rows_at_once: usize,
}

impl SourceFiles {
    /// Lets a session read the source, as many rows at a time as its rows allow: whatever gathers rows on their way goes by
    /// their number. Nor are they dealt out to several filters, whose queues know no bound while one of them is ahead.
    pub(crate) fn register(&self, session: &SessionContext) {
        self.folder.register(session);
        let state = session.state_ref();
        let mut state = state.write();
        let config = state.config_mut();
        *config = config.clone().with_batch_size(self.rows_at_once).with_round_robin_repartition(false);
    }

    /// Fails if a file has changed or gone since. New ones are no part of this run.
    pub(crate) async fn unchanged(&self) -> Result<()> {
        // The files of a Delta table are never changed, and its log says which version was read.
        if self.summary.version.is_some() {
            return Ok(());
        }
        let mut now: BTreeMap<Path, ObjectMeta> = BTreeMap::new();
        for place in &self.places {
            now.extend(place.list().await?.into_iter().map(|found| (found.meta.location.clone(), found.meta)));
        }
        for file in &self.seen {
            let what = match now.get(&file.location) {
                None => "disappeared",
                Some(found) if found.size != file.size || found.last_modified != file.last_modified => "changed",
                Some(_) => continue,
            };
            return Err(Error::failed(format!("source file `{}` {what} during the run", shown(&self.folder, file)))
                .hint("what was answered is kept; run again to ask about what has changed"));
        }
        Ok(())
    }

    /// The failure of a query over the source, with the file that is to blame if there is one: they are read one by one.
    pub(crate) async fn blame(&self, error: Error, whole: bool) -> Error {
        // What reads other files names them itself.
        let are_parquet =
            [formats::named(SourceFormat::Parquet), formats::named(SourceFormat::Delta)].contains(&self.summary.format.as_str());
        for file in self.seen.iter().filter(|_| are_parquet) {
            let Err(found) = read_through(&self.folder, file, whole).await else { continue };
            let Wrong { what, hint } = what_is_wrong(&found);
            return Error::failed(format!("source file `{}` {what}", shown(&self.folder, file)))
                .hint(format!("{hint}; what was answered is kept"))
                .because(found);
        }
        error
    }

    /// The path of the source that would hold what is written into a folder.
    pub(crate) fn holding(&self, folder: &Folder) -> Option<&str> {
        self.places.iter().find(|place| place.would_hold(folder)).map(|place| place.written.as_str())
    }
}

async fn read_through(folder: &Folder, file: &ObjectMeta, whole: bool) -> Result<(), ParquetError> {
    if whole {
        return paged::read_through(folder, file).await;
    }
    let mut stored = StoredFile { store: Arc::clone(folder.store()), path: file.location.clone(), size: Some(file.size) };
    stored.get_metadata(None).await.map(drop)
}

/// The columns that users know: without those that pass between engine and stages.
pub(crate) fn visible(schema: &SchemaRef) -> Vec<&str> {
    schema.fields().iter().map(|field| field.name().as_str()).filter(|name| !name.starts_with("__")).collect()
}
