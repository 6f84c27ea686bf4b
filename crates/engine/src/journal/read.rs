//! The journal as a table, for whoever asks while a run may be writing. Takes no lock, changes nothing.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use promptmill_core::Result;

use super::attempts_schema;
use super::folder::Folder;
use super::frame::Entry;
use super::log::Log;
use super::segment::to_batch;
use super::trouble::disk;

/// Every attempt that had ended at one moment, each exactly once.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The sealed segments, oldest first: Parquet with the columns of [`attempts_schema`] and a few more.
    pub segments: Vec<PathBuf>,
    /// The attempts that are not in a segment yet, with the columns of [`attempts_schema`].
    pub open: Vec<RecordBatch>,
}

/// The attempts of the pipeline with this state folder, also while a run adds to them.
///
/// # Errors
/// When a file cannot be read or is damaged.
pub fn snapshot(state_dir: &Path) -> Result<Snapshot> {
    let folder = Folder::of(state_dir);
    'again: loop {
        // In this order: a log that is gone by now has its segment in the later list.
        let logs = folder.logs()?;
        let segments = folder.segments()?;
        let mut open = Vec::new();
        for number in logs.into_iter().filter(|number| !segments.contains(number)) {
            let path = folder.log(number);
            let bytes = match fs::read(&path) {
                // Sealed meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => continue 'again,
                read => read.map_err(|error| disk(&path, "read", error))?,
            };
            let mut attempts = Vec::new();
            for entry in Log::parse(&path, bytes)?.entries() {
                if let Entry::Ended(attempt) = entry? {
                    attempts.push(attempt.into_owned());
                }
            }
            if !attempts.is_empty() {
                let columns: Vec<usize> = (0..attempts_schema().fields().len()).collect();
                open.push(to_batch(&attempts)?.project(&columns)?);
            }
        }
        return Ok(Snapshot { segments: segments.into_iter().map(|number| folder.segment(number)).collect(), open });
    }
}

/// The sealed segments of the pipeline with this state folder, oldest first.
///
/// # Errors
/// When the folder cannot be listed.
pub fn segments(state_dir: &Path) -> Result<Vec<PathBuf>> {
    let folder = Folder::of(state_dir);
    Ok(folder.segments()?.into_iter().map(|number| folder.segment(number)).collect())
}

/// The attempts that have ended and are not in a segment yet. To have every attempt exactly once while a run
/// is writing, take these and the segments from one [`snapshot`].
///
/// # Errors
/// When a log cannot be read or is damaged.
pub fn open_attempts(state_dir: &Path) -> Result<Vec<RecordBatch>> {
    snapshot(state_dir).map(|snapshot| snapshot.open)
}
