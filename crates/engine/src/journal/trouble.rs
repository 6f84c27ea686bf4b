//! What goes wrong with a disk: words for it, and remembering that it happened.
//!
//! After a failed write or sync nobody knows what a file holds, so the journal does not try again: it is
//! broken for good, everybody who waits or comes later is told why, and the next run reads what is there.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use parquet::errors::ParquetError;
use promptmill_core::{Error, ErrorKind as Kind, Result};

/// The failure to do something with a file of the journal: `` `path` could not be written: no space left ``.
pub(super) fn disk(path: &Path, could_not: &str, error: io::Error) -> Error {
    let hint = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "free some space and run again: nothing that was journalled is lost",
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "make the folder writable for this user, or set `state.path` to another one"
        }
        _ => "check the disk and run again: nothing that was journalled is lost",
    };
    Error::failed(format!("`{}` could not be {could_not}", path.display())).of(Kind::Storage).hint(hint).because(error)
}

/// The same for a segment, where Parquet stands between.
pub(super) fn segment(shown: &str, could_not: &str, error: ParquetError) -> Error {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(error) => disk(Path::new(shown), could_not, *error),
            Err(source) => match source.downcast::<object_store::Error>() {
                // The store cannot be reached, or refuses: nothing is wrong with the file.
                Ok(error) if !matches!(*error, object_store::Error::NotFound { .. }) => {
                    Error::failed(format!("`{shown}` could not be {could_not}"))
                        .of(Kind::Storage)
                        .hint("check the store and run again: nothing that was journalled is lost")
                        .because(error)
                }
                Ok(error) => damaged_segment(shown, could_not).because(error),
                Err(source) => damaged_segment(shown, could_not).because(source),
            },
        },
        error => damaged_segment(shown, could_not).because(error),
    }
}

fn damaged_segment(shown: &str, could_not: &str) -> Error {
    Error::failed(format!("the journal segment `{shown}` could not be {could_not}")).of(Kind::State).hint(FORSAKE)
}

/// What to do about a file of the journal that cannot be read.
pub(super) const FORSAKE: &str = "restore the file from a backup; to go on without it, move it away: what it answered will be \
     asked and paid for again, and what it cost no longer counts against the budget";

/// Whether the journal still works; shared by its threads and its callers.
#[derive(Clone, Debug, Default)]
pub(super) struct Health(Arc<OnceLock<Error>>);

impl Health {
    /// Fails with what broke the journal, if something did.
    pub(super) fn check(&self) -> Result<()> {
        self.0.get().map_or(Ok(()), |error| Err(repeated(error)))
    }

    /// Breaks the journal for good, unless it is broken already, and passes the outcome on.
    pub(super) fn watch(&self, outcome: Result<()>) -> Result<()> {
        outcome.map_err(|error| {
            let again = repeated(&error);
            let _ = self.0.set(error);
            again
        })
    }
}

/// An error like this one: one disk fails many callers.
pub(super) fn repeated(error: &Error) -> Error {
    let Error::Failed(failure) = error else { return Error::failed(error.to_string()) };
    let mut again = Error::failed(&failure.message).of(error.kind());
    if let Some(hint) = &failure.hint {
        again = again.hint(hint);
    }
    match &failure.source {
        Some(source) => again.because(source.to_string()),
        None => again,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_to_everybody_with_what_to_do() {
        let health = Health::default();
        health.check().expect("healthy");
        let path = Path::new("journal/00000001.log");
        let full = || disk(path, "written", io::Error::from(ErrorKind::StorageFull));
        health.watch(Err(full())).expect_err("watched");
        health.watch(Err(Error::failed("a consequence"))).expect_err("watched");
        for _ in 0..2 {
            let error = health.check().expect_err("broken");
            assert_eq!(error.to_string(), full().to_string());
            let Error::Failed(failure) = error else { panic!("a failure") };
            assert!(failure.hint.expect("a hint").starts_with("free some space"));
        }
    }
}
