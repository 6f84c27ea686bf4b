//! What the owner of a Delta table may have asked of its writers that we do not do: it is refused before anything is sent.

use deltalake_core::kernel::transaction::PROTOCOL;
use deltalake_core::table::state::DeltaTableState;
use promptmill_core::{Error, Result};

use crate::storage::Folder;

/// Properties of a table that we do not keep, where they are set to something else than this, and what they ask for.
const NOT_KEPT: [(&str, &str, &str); 4] = [
    ("delta.appendOnly", "false", "that no row is ever taken out"),
    ("delta.enableChangeDataFeed", "false", "a feed of changed rows"),
    ("delta.enableDeletionVectors", "false", "deletion vectors"),
    ("delta.columnMapping.mode", "none", "other names for columns in files"),
];
/// How the names of properties begin that ask for a check of every row.
const CONSTRAINT: &str = "delta.constraints.";

/// An error if a table asks for something of its writers that we would not do.
pub(super) fn check_kept(folder: &Folder, state: &DeltaTableState) -> Result<()> {
    let of_property = |name: &str, what: &str| {
        let message = format!("the Delta table `{folder}` asks {what} (`{name}`) of who writes to it, and promptmill does not do that");
        Err(Error::failed(message).hint(format!("take the property `{name}` off the table, or choose another `sink.path`")))
    };
    for (name, value) in state.metadata().configuration() {
        if name.starts_with(CONSTRAINT) {
            return of_property(name, "that every row passes a check");
        }
        let not_kept = NOT_KEPT.iter().find(|(known, without, _)| name == known && !value.eq_ignore_ascii_case(without));
        if let Some((_, _, what)) = not_kept {
            return of_property(name, what);
        }
    }
    PROTOCOL.can_write_to(state).map_err(|error| {
        Error::failed(format!("the Delta table `{folder}` has features that promptmill cannot write"))
            .hint("choose another `sink.path`: what has been answered is in the journal")
            .because(error)
    })
}
