//! Which format the files of a source have, and which of its files are meant by one that is no Parquet.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use promptmill_core::Mistake;
use promptmill_core::pipeline::SourceFormat;

use super::data::{Data, LOOKED_INTO, is_left_behind, is_named_parquet, is_parquet_inside, kind_of};
use super::place::{Found, Place};
use super::{SourceSummary, records, told};

/// What the files of a source are: as it is said, else Parquet files where there are any, else what their names say.
pub(super) async fn format_of(places: &[Place], found: &[Vec<Found>], said: Option<SourceFormat>) -> Result<SourceFormat, Mistake> {
    if let Some(format) = said {
        return Ok(format);
    }
    let mut by_name: BTreeMap<&'static str, (SourceFormat, String)> = BTreeMap::new();
    let mut others = Vec::new();
    let shown =
        places.iter().zip(found).flat_map(|(place, found)| found.iter().filter(|file| place.is_file() || !place.is_hidden(&file.inside)));
    for file in shown {
        let name = file.meta.location.filename().unwrap_or_default();
        if is_named_parquet(name) {
            return Ok(SourceFormat::Parquet);
        } else if let Some(format) = records::format_by_name(name) {
            if let Entry::Vacant(free) = by_name.entry(named(format)) {
                free.insert((format, name.to_owned()));
                // Whatever it is called, a Parquet file is one.
                others.push(&file.meta);
            }
        } else if is_left_behind(name).is_none() {
            others.push(&file.meta);
        }
    }
    if by_name.is_empty() {
        return Ok(SourceFormat::Parquet);
    }
    for meta in others.into_iter().take(LOOKED_INTO) {
        if is_parquet_inside(&places[0].folder, meta).await.map_err(|error| told(&error))? {
            return Ok(SourceFormat::Parquet);
        }
    }
    let formats: Vec<&(SourceFormat, String)> = by_name.values().collect();
    match formats.as_slice() {
        [(format, _)] => Ok(*format),
        several => {
            let what: Vec<String> = several.iter().map(|(format, name)| format!("{} (`{name}`)", records::name_of(*format))).collect();
            let message = format!("`{}` holds {}", places[0].written, what.join(" and "));
            Err(Mistake::new("path", message).hint(Some("say which are meant, for example `format = \"csv\"`")))
        }
    }
}

/// A format, as a summary has it.
pub(super) fn named(format: SourceFormat) -> &'static str {
    match format {
        SourceFormat::Parquet => "parquet",
        SourceFormat::Delta => "delta",
        SourceFormat::Csv => "csv",
        SourceFormat::Jsonl | SourceFormat::Ndjson => "jsonl",
        SourceFormat::Arrow => "arrow",
    }
}

/// The files of records of a format, each with the folders that it lies in, in the order of their names. In a folder those are
/// meant that are named so; where the format is said, a path or a pattern means what it names.
pub(super) fn record_files(
    places: &[Place],
    found: Vec<Vec<Found>>,
    (format, is_said): (SourceFormat, bool),
    summary: &mut SourceSummary,
) -> Vec<Data> {
    let mut data: Vec<Data> = Vec::new();
    for (place, found) in places.iter().zip(found) {
        for file in found {
            let name = file.meta.location.filename().unwrap_or_default().to_owned();
            let is_named = records::format_by_name(&name).is_some_and(|by_name| named(by_name) == named(format));
            let is_meant = is_named || is_said && !place.is_folder() && is_left_behind(&name).is_none();
            if place.is_hidden(&file.inside) && !place.is_file() || file.meta.size == 0 && !is_meant {
                continue;
            }
            if file.meta.size == 0 {
                summary.leave_out("empty files", name);
            } else if is_meant || place.is_file() {
                data.push(Data { folders: place.folders_of(&file), tag: file.tag, meta: file.meta });
            } else {
                let why = is_left_behind(&name).unwrap_or_else(|| if is_named_parquet(&name) { "Parquet files" } else { kind_of(&name) });
                summary.leave_out(why, name);
            }
        }
    }
    data.sort_by(|one, other| one.meta.location.cmp(&other.meta.location));
    data.dedup_by(|one, other| one.meta.location == other.meta.location);
    data
}
