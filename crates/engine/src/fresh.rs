//! A generation that `run --fresh` has begun and not completed: a note in the state folder, so that after a crash the
//! next run carries on with it and pays nothing twice.

use promptmill_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::commit::CommitLog;
use crate::storage::Folder;

/// The note's file in the state folder.
const FILE: &str = "fresh.json";

/// The note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unfinished {
    /// What makes every question of the generation another one than before.
    pub(crate) salt: String,
}

impl Unfinished {
    /// The generation that has been begun, if its place in the results has not been taken yet.
    pub(crate) async fn find(state: &Folder, log: &CommitLog) -> Result<Option<Self>> {
        let Some(bytes) = state.get(FILE).await? else { return Ok(None) };
        let unfinished: Self = serde_json::from_slice(&bytes).map_err(|error| {
            Error::failed(format!("`{state}/{FILE}` cannot be read"))
                .hint("remove it to give up the generation that `--fresh` has begun; its answers stay in the journal")
                .because(error)
        })?;
        // A crash may have come between the commit and the removal of the note.
        Ok(Some(unfinished).filter(|unfinished| log.salt() != Some(&unfinished.salt)))
    }

    /// Notes that a run begins a generation.
    pub(crate) async fn begin(state: &Folder, run_id: &str) -> Result<Self> {
        let unfinished = Self { salt: run_id.to_owned() };
        let json = serde_json::to_vec(&unfinished).map_err(|error| Error::failed("a note cannot be written as JSON").because(error))?;
        state.put(FILE, json).await?;
        Ok(unfinished)
    }

    /// Notes that the generation is complete.
    pub(crate) async fn end(state: &Folder) -> Result<()> {
        state.delete(FILE).await
    }
}
