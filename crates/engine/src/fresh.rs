//! A generation that `run --fresh` has begun and not completed: a note in the state folder, so that after a crash the
//! next run carries on with it and pays nothing twice.

use promptmill_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::commit::CommitLog;
use crate::format::{self, Version};
use crate::storage::Folder;

/// The note's file in the state folder.
const FILE: &str = "fresh.json";

/// The note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unfinished {
    #[serde(default)]
    v: Version<{ format::FRESH.version }>,
    /// What makes every question of the generation another one than before.
    pub(crate) salt: String,
}

impl Unfinished {
    /// The generation that has been begun, if its place in the results has not been taken yet.
    pub(crate) async fn find(state: &Folder, log: &CommitLog) -> Result<Option<Self>> {
        let unfinished = Self::read(state).await?.and_then(Result::ok);
        // A crash may have come between the commit and the removal of the note.
        Ok(unfinished.filter(|unfinished| log.salt() != Some(&unfinished.salt)))
    }

    /// Removes a note that cannot be read: nothing has been asked for its generation before it was whole.
    pub(crate) async fn remove_unreadable(state: &Folder) -> Result<()> {
        let Some(Err(error)) = Self::read(state).await? else { return Ok(()) };
        tracing::warn!(%error, "`{state}/{FILE}` cannot be read: a generation that `--fresh` has begun is given up");
        Self::end(state).await
    }

    async fn read(state: &Folder) -> Result<Option<serde_json::Result<Self>>> {
        let Some(bytes) = state.get(FILE).await? else { return Ok(None) };
        format::FRESH.check_json(&format!("{state}/{FILE}"), &bytes)?;
        Ok(Some(serde_json::from_slice(&bytes)))
    }

    /// Notes that a run begins a generation.
    pub(crate) async fn begin(state: &Folder, run_id: &str) -> Result<Self> {
        let unfinished = Self { v: Version, salt: run_id.to_owned() };
        let json = serde_json::to_vec(&unfinished).map_err(|error| Error::failed("a note cannot be written as JSON").because(error))?;
        state.put(FILE, json).await?;
        Ok(unfinished)
    }

    /// Notes that the generation is complete.
    pub(crate) async fn end(state: &Folder) -> Result<()> {
        state.delete(FILE).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_note_is_written_as_ever_and_one_of_a_later_version_is_refused() {
        let state = Folder::in_memory();
        Unfinished::begin(&state, "20260101T000000-00000000").await.expect("notes");
        let written = state.get(FILE).await.expect("reads").expect("is there");
        let read = |bytes: &[u8]| serde_json::from_slice::<Unfinished>(bytes).is_ok_and(|read| read.salt == "20260101T000000-00000000");
        format::golden::check(format::FRESH, &written, read);
        state.put(FILE, r#"{"v":2,"salts":[]}"#).await.expect("written");
        let error = Unfinished::remove_unreadable(&state).await.expect_err("a later version").to_string();
        assert!(error.contains(FILE) && error.contains("later version"), "{error}");
        assert!(state.get(FILE).await.expect("reads").is_some(), "it stays");
    }

    #[tokio::test]
    async fn a_note_that_was_not_whole_yet_is_no_note() {
        let state = Folder::in_memory();
        let log = CommitLog::open(&state).await.expect("opens");
        let begun = Unfinished::begin(&state, "run-1").await.expect("notes");
        Unfinished::remove_unreadable(&state).await.expect("nothing to do");
        assert_eq!(Unfinished::find(&state, &log).await.expect("reads"), Some(begun));
        for torn in ["", "{\"salt\": \"ru"] {
            state.put(FILE, torn).await.expect("torn");
            assert_eq!(Unfinished::find(&state, &log).await.expect("no error"), None);
            Unfinished::remove_unreadable(&state).await.expect("removed");
            assert_eq!(state.get(FILE).await.expect("reads"), None);
        }
    }
}
