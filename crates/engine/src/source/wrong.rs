//! Why a file of the source cannot be read, and what to do about it.

use object_store::ObjectMeta;
use parquet::errors::ParquetError;
use promptmill_core::Mistake;

use super::data::kind_of;
use super::shown;
use crate::files::footers::{UNKNOWN_TYPE, Unreadable};
use crate::storage::{Folder, chain};

/// A file that cannot be read, as a mistake.
pub(super) fn damaged(folder: &Folder, seen: &[ObjectMeta], unreadable: &Unreadable) -> Mistake {
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
pub(super) struct Wrong {
    pub(super) what: String,
    pub(super) hint: &'static str,
}

const DAMAGED: &str = "cannot be read as Parquet: it is damaged, or was not written to its end";

/// Only what the bytes of a file say themselves makes it damaged: a store may be away, a disk may fail, and there is Parquet
/// that this reader does not know.
pub(super) fn what_is_wrong(error: &ParquetError) -> Wrong {
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
        text if text.contains("utf-8") || text.contains("utf8") => {
            wrong("has a text that is not UTF-8".to_owned(), "write that column as bytes, or its texts as UTF-8")
        }
        text if text.contains("required field") => wrong(
            "has a page that begins with no header: it is damaged, or the column is encrypted".to_owned(),
            "restore or decrypt it, or leave it out",
        ),
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
