//! The journal as a table, for whoever asks while a run may be writing. Takes no lock, changes nothing.

use arrow::array::RecordBatch;
use futures::{StreamExt, TryStreamExt};
use promptmill_core::Result;

use super::attempts_schema;
use super::frame::Entry;
use super::log::Log;
use super::names::{Contents, Segment, log};
use super::segment::to_batch;
use crate::storage::Folder;

/// Logs that are read at once: on S3 there are many, and most of the time is waiting.
const LOGS_AT_ONCE: usize = 8;

/// Every attempt that had ended at one moment, each exactly once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    /// The names of the sealed segments, oldest first: Parquet with the columns of [`attempts_schema`] and a few more.
    pub(crate) segments: Vec<String>,
    /// The attempts that are not in a segment yet, with the columns of [`attempts_schema`].
    pub(crate) open: Vec<RecordBatch>,
}

/// The attempts in a journal's folder, also while a run adds to them.
///
/// # Errors
/// When a file cannot be read or is damaged.
pub(crate) async fn snapshot(folder: &Folder) -> Result<Snapshot> {
    'again: loop {
        let names = folder.list().await?;
        let contents = Contents::of(names.iter().map(String::as_str));
        let mut open = Vec::new();
        let mut logs = futures::stream::iter(contents.logs)
            .map(|number| async move { folder.get(&log(number)).await.map(|bytes| (number, bytes)) })
            .buffered(LOGS_AT_ONCE);
        while let Some((number, bytes)) = logs.try_next().await? {
            // Sealed meanwhile: its segment is not in this list.
            let Some(bytes) = bytes else { continue 'again };
            let path = format!("{folder}/{}", log(number));
            let mut attempts = Vec::new();
            for entry in Log::parse(path.as_ref(), bytes.to_vec())?.entries() {
                if let Entry::Ended(attempt) = entry? {
                    attempts.push(attempt.into_owned());
                }
            }
            if !attempts.is_empty() {
                let columns: Vec<usize> = (0..attempts_schema().fields().len()).collect();
                open.push(to_batch(&attempts)?.project(&columns)?);
            }
        }
        return Ok(Snapshot { segments: contents.segments.iter().map(Segment::name).collect(), open });
    }
}
