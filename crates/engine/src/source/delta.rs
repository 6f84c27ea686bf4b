//! A Delta table as a source: the files that its log names at one version, and no others.

use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};
use datafusion::arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use deltalake_core::table::state::DeltaTableState;
use deltalake_core::{DeltaTable, DeltaTableError};
use object_store::ObjectMeta;
use promptmill_core::Mistake;
use promptmill_core::pipeline::SourceSpec;

use super::told;
use crate::shape::types::with_nulls;
use crate::sink::log_store;
use crate::storage::Folder;

/// What a reader of the table may have to know that this one does: none of it changes what stands in a file.
const KNOWN: [&str; 6] = ["timestampNtz", "v2Checkpoint", "vacuumProtocolCheck", "deletionVectors", "columnMapping", "typeWidening"];

/// A table at one version.
pub(super) struct Snapshot {
    pub(super) version: u64,
    /// The columns inside the files.
    pub(super) schema: SchemaRef,
    pub(super) partitions: Vec<FieldRef>,
    /// With the values of their partitions.
    pub(super) files: Vec<(ObjectMeta, Vec<Option<String>>)>,
    /// Rows, where every file says how many it has.
    pub(super) rows: Option<u64>,
}

/// Reads the log of the table in a folder.
pub(super) async fn read(folder: &Folder, spec: &SourceSpec) -> Result<Snapshot, Mistake> {
    let store = log_store(folder).map_err(|error| told(&error))?;
    let mut table = DeltaTable::new(store);
    let loaded = match (&spec.version, &spec.timestamp) {
        (Some(version), _) => table.load_version(*version).await,
        (None, Some(at)) => table.load_with_datetime(moment(at)?).await,
        (None, None) => table.load().await,
    };
    loaded.map_err(|error| unread(folder, spec, &error))?;
    let state = table.snapshot().map_err(|error| unread(folder, spec, &error))?;
    if let Some(at) = &spec.timestamp
        && state.version_timestamp(state.version()).is_some_and(|made| made > moment(at).map_or(i64::MAX, |at| at.timestamp_millis()))
    {
        let mistake = Mistake::new("timestamp", format!("the Delta table `{folder}` has no version as old as {at}"));
        return Err(mistake.hint(Some(format!("the oldest that its log has is version {}", state.version()))));
    }
    check_features(folder, state)?;
    let names = state.metadata().partition_columns().to_vec();
    let all = state.snapshot().arrow_schema();
    // What the log says can never be null may be so by the types of the files all the same.
    let plain = |field: &FieldRef| Arc::new(with_nulls(&Field::new(field.name(), field.data_type().clone(), true)));
    let partitions: Vec<FieldRef> =
        names.iter().filter_map(|name| all.column_with_name(name)).map(|(_, field)| plain(&Arc::new(field.clone()))).collect();
    let inside: Vec<FieldRef> = all.fields().iter().filter(|field| !names.contains(field.name())).map(plain).collect();
    let (mut files, mut rows) = (Vec::new(), Some(0));
    for file in state.log_data().iter() {
        if file.deletion_vector_descriptor().is_some() {
            let message = format!("the Delta table `{folder}` has deletion vectors, which promptmill does not read");
            let hint = "write its files anew without them: `REORG TABLE … APPLY (PURGE)`, with `delta.enableDeletionVectors = false`";
            return Err(Mistake::new("path", message).hint(Some(hint)));
        }
        let path = file.path();
        if path.contains("://") || path.starts_with('/') {
            let message =
                format!("the Delta table `{folder}` names a file elsewhere, `{path}`: a shallow clone, which promptmill does not read");
            return Err(Mistake::new("path", message).hint(Some("make a deep clone of it, or give the table that it was cloned from")));
        }
        rows = rows.zip(file.num_records()).map(|(sum, rows)| sum + rows as u64);
        let values = file.partition_values_map();
        let values = names.iter().map(|name| values.get(name).cloned().flatten().filter(|value| !value.is_empty())).collect();
        let meta = ObjectMeta {
            location: folder.path(&path),
            last_modified: file.modification_datetime().unwrap_or(DateTime::<Utc>::UNIX_EPOCH),
            size: file.size().unsigned_abs(),
            e_tag: None,
            version: None,
        };
        files.push((meta, values));
    }
    files.sort_by(|(one, _), (other, _)| one.location.cmp(&other.location));
    Ok(Snapshot { version: state.version(), schema: Arc::new(Schema::new(inside)), partitions, files, rows })
}

fn check_features(folder: &Folder, state: &DeltaTableState) -> Result<(), Mistake> {
    let wrong = |what: &str, hint: &str| {
        Err(Mistake::new("path", format!("the Delta table `{folder}` uses {what}, which promptmill does not read")).hint(Some(hint)))
    };
    let mode = state.metadata().configuration().get("delta.columnMapping.mode").cloned();
    if mode.is_some_and(|mode| mode != "none") {
        return wrong("column mapping", "write its rows into a table without it, for example with `CREATE TABLE … AS SELECT`");
    }
    let protocol = serde_json::to_value(state.protocol()).unwrap_or_default();
    let features = protocol.get("readerFeatures").and_then(serde_json::Value::as_array).cloned().unwrap_or_default();
    let unknown = features
        .iter()
        .filter_map(serde_json::Value::as_str)
        .find(|feature| !KNOWN.contains(feature) && *feature != "typeWidening-preview");
    match unknown {
        Some(feature) => wrong(
            &format!("the feature `{feature}`"),
            "write its rows into a table without it, for example with `CREATE TABLE … AS SELECT`",
        ),
        None => Ok(()),
    }
}

/// A point in time as people write it.
fn moment(text: &str) -> Result<DateTime<Utc>, Mistake> {
    let of_day = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().and_then(|day| day.and_hms_opt(0, 0, 0)).map(|day| day.and_utc());
    let of_clock = |form: &str| chrono::NaiveDateTime::parse_from_str(text, form).ok().map(|at| at.and_utc());
    let found = DateTime::parse_from_rfc3339(text).ok().map(DateTime::<Utc>::from);
    found.or_else(of_day).or_else(|| of_clock("%Y-%m-%d %H:%M:%S")).or_else(|| of_clock("%Y-%m-%dT%H:%M:%S")).ok_or_else(|| {
        Mistake::new("timestamp", format!("`{text}` is no point in time"))
            .hint(Some("write `2026-11-30T12:00:00Z` or `2026-11-30`, in UTC"))
    })
}

fn unread(folder: &Folder, spec: &SourceSpec, error: &DeltaTableError) -> Mistake {
    let words = error.to_string();
    match spec.version {
        Some(version) => Mistake::new("version", format!("the Delta table `{folder}` has no version {version} that can be read: {words}"))
            .hint(Some("leave `version` out for the newest; older ones may have been cleaned up")),
        None => Mistake::new("path", format!("the Delta table `{folder}` cannot be read: {words}")),
    }
}
