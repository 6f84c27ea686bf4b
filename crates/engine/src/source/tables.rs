//! Tables in folders: Parquet files of which only a log says which of them count.

use promptmill_core::Mistake;
use promptmill_core::pipeline::SourceFormat;

use super::place::{Found, Place, holds_anything, is_part_of_table};
use crate::storage::Folder;

/// The folder of a Delta table, if the source is one. What is a table and cannot be read as one is refused by name.
pub(super) async fn delta(places: &[Place], found: &[Vec<Found>], format: Option<SourceFormat>) -> Result<Option<Folder>, Mistake> {
    // Whoever says what the files are reads them past the log of a table.
    if format.is_some_and(|format| format != SourceFormat::Delta) {
        return Ok(None);
    }
    for (place, found) in places.iter().zip(found) {
        let starts = |name: &str| found.iter().any(|file| file.inside.len() > 1 && file.inside[0] == name);
        if place.is_folder() && starts("_delta_log") {
            if places.len() > 1 {
                let message = format!("`{}` is a Delta table, which cannot be one path of several", place.written);
                return Err(Mistake::new("path", message).hint(Some("give the folder of the table alone")));
            }
            return Ok(Some(place.folder.clone()));
        }
        let is_metadata = |file: &Found| file.inside.len() > 1 && file.inside[0] == "metadata" && is_iceberg(file);
        if place.is_folder() && found.iter().any(is_metadata) {
            return Err(iceberg(&place.written));
        }
        if starts(".hoodie") {
            return Err(refused(&place.written, "Hudi", "write a snapshot of it as Parquet, and give that"));
        }
        let deeper = found.iter().find_map(|file| {
            let at = file.inside.iter().position(|name| name == "_delta_log" || name == ".hoodie").filter(|at| *at > 0)?;
            Some((file.inside[..at].join("/"), file.inside[at].as_str()))
        });
        if let Some((inside, log)) = deeper {
            let kind = if log == "_delta_log" { "Delta" } else { "Hudi" };
            let table = format!("{}/{inside}", place.folder);
            return Err(refused(&table, kind, "give the folder of one table"));
        }
        let deeper = found.iter().find(|file| is_iceberg(file) && file.inside.iter().rev().nth(1).is_some_and(|name| name == "metadata"));
        if let Some(file) = deeper {
            let inside = file.inside[..file.inside.len() - 2].join("/");
            return Err(iceberg(&format!("{}/{inside}", place.folder)));
        }
        above(place).await?;
    }
    match format {
        Some(SourceFormat::Delta) => {
            let written: Vec<&str> = places.iter().map(|place| place.written.as_str()).collect();
            let message = format!("`{}` is no Delta table: it has no `_delta_log`", written.join("`, `"));
            Err(Mistake::new("format", message).hint(Some("give the folder of the table, or leave `format` out")))
        }
        _ => Ok(None),
    }
}

/// Part of a table is no table: its files, or one of its partitions, hold rows that its log has taken away.
async fn above(place: &Place) -> Result<(), Mistake> {
    // A partition lies below its table, and a file in it; no other folder above has a say.
    let mut folder = match (place.is_file(), place.is_folder()) {
        (true, _) => place.folder.above(),
        (_, true) => place.folder.above().filter(|_| is_part_of_table(&place.folder)),
        _ => Some(place.folder.clone()),
    };
    while let Some(table) = folder {
        if holds_anything(&table.folder("_delta_log")).await? {
            let hint = format!("give the folder of the table, `{table}`, and choose rows with a `filter`; or set `format = \"parquet\"`");
            let message = format!("`{}` is part of a Delta table: read without its log it has rows that were removed", place.written);
            return Err(Mistake::new("path", message).hint(Some(hint)));
        }
        let metadata = table.folder("metadata").list().await.unwrap_or_default();
        if metadata.iter().any(|name| name.ends_with(".metadata.json")) {
            return Err(iceberg(&table.to_string()));
        }
        folder = table.above().filter(|_| is_part_of_table(&table));
    }
    Ok(())
}

fn is_iceberg(file: &Found) -> bool {
    file.inside.last().is_some_and(|name| name.ends_with(".metadata.json"))
}

fn iceberg(table: &str) -> Mistake {
    let hint = "write a snapshot of it as Parquet and give that, for example with DuckDB: \
                `COPY (FROM iceberg_scan('TABLE')) TO 'notes.parquet'`";
    refused(table, "Iceberg", hint)
}

fn refused(table: &str, kind: &str, hint: &str) -> Mistake {
    Mistake::new("path", format!("`{table}` is {} {kind} table", if kind == "Iceberg" { "an" } else { "a" }))
        .hint(Some(format!("{}{hint}", if kind == "Delta" { "" } else { "its files alone do not say which rows count: " })))
}
