//! Which files are data: those that are named so, and those that turn out to be when they are looked into.

use object_store::ObjectMeta;
use promptmill_core::{Error, Result};

use super::place::{Found, Place};
use super::shown;
use super::summary::SourceSummary;
use crate::storage::Folder;

/// Files with odd names that are looked into; more are left out by their names.
pub(super) const LOOKED_INTO: usize = 1_000;

/// A file that is data.
pub(super) struct Data {
    pub(super) meta: ObjectMeta,
    /// The folders that it lies in.
    pub(super) folders: Vec<String>,
    pub(super) tag: u64,
}

/// The files that are data, in the order of their names.
pub(super) async fn data_files(places: &[Place], found: Vec<Vec<Found>>, summary: &mut SourceSummary) -> Result<Vec<Data>> {
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

pub(super) fn is_named_parquet(name: &str) -> bool {
    let name = name.to_lowercase();
    ["parquet", "parq", "pq"].iter().any(|ending| name.strip_suffix(ending).is_some_and(|before| before.ends_with('.')))
}

/// What writers and editors leave behind, whatever is in it.
pub(super) fn is_left_behind(name: &str) -> Option<&'static str> {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_lowercase()).unwrap_or_default();
    match ending.as_str() {
        "crc" => Some("checksums"),
        "tmp" | "temp" | "bak" | "old" | "orig" | "swp" | "inprogress" | "crdownload" => Some("backups or unfinished files by their names"),
        _ if name.ends_with('~') => Some("backups or unfinished files by their names"),
        _ => None,
    }
}

/// What a file is by its name, if it is no Parquet file.
pub(super) fn kind_of(name: &str) -> &'static str {
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

pub(super) async fn is_parquet_inside(folder: &Folder, meta: &ObjectMeta) -> Result<bool> {
    if meta.size < 12 {
        return Ok(false);
    }
    let ranges = [0..4, meta.size - 4..meta.size];
    let read = folder.store().get_ranges(&meta.location, &ranges).await;
    let ends = read.map_err(|error| Error::failed(format!("source file `{}` cannot be read", shown(folder, meta))).because(error))?;
    Ok(ends.iter().all(|end| end.as_ref() == b"PAR1"))
}
