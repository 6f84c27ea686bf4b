//! What an earlier run left on a local disk: its logs become segments, which are never changed and never removed.

use std::collections::{BTreeSet, HashMap};
use std::fs;

use promptmill_core::Result;

use super::folder::Folder;
use super::frame::Entry;
use super::log::Log;
use super::seal::seal;
use super::trouble::disk;

/// Seals every log that a run left behind, settles what was in flight, and returns the number of the last
/// segment.
pub(super) fn recover(folder: &Folder) -> Result<u64> {
    folder.remove_unfinished()?;
    let sealed: BTreeSet<u64> = folder.segments()?.into_iter().collect();
    let mut logs = Vec::new();
    for number in folder.logs()? {
        if sealed.contains(&number) {
            let path = folder.log(number);
            fs::remove_file(&path).map_err(|error| disk(&path, "removed", error))?;
        } else {
            logs.push(number);
        }
    }
    // An attempt in flight is carried from log to log; the last one that names it has the last word. Told
    // from all logs before the first is sealed, this holds however often recovery itself is cut short.
    let read = |number| {
        let log = Log::read(&folder.log(number))?;
        if Some(&number) == logs.last() { Ok(log) } else { log.whole() }
    };
    let mut last_word = HashMap::new();
    for &number in &logs {
        for entry in read(number)?.entries() {
            let id = match entry? {
                Entry::Durable | Entry::Note(_) => continue,
                Entry::Begun(begun) => begun.into_owned().attempt_id,
                Entry::Ended(attempt) => attempt.into_owned().begun.attempt_id,
            };
            last_word.insert(id, number);
        }
    }
    for &number in &logs {
        let log = read(number)?;
        if log.torn() > 0 {
            let (log, bytes) = (log.path().display(), log.torn());
            tracing::warn!(%log, bytes, "the last write to the journal had not been finished and is dropped");
        }
        seal(folder, number, log.entries(), |id| last_word.get(id) == Some(&number))?;
    }
    Ok(folder.segments()?.last().copied().unwrap_or_default())
}
