//! What an earlier run left: logs become segments, segments are read for what was spent and what was said.
//!
//! Segments are never changed and never removed. Only what the results do not have yet is kept in memory,
//! so a long history costs a scan of its keys and no more.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use promptmill_core::{Answered, Money, Past, Result, RowId};

use super::folder::Folder;
use super::frame::Entry;
use super::log::Log;
use super::seal::seal;
use super::segment;
use super::trouble::disk;

/// Earlier attempts by the rows that still have use for them.
pub(super) type PastByRow = HashMap<RowId, Vec<Past>>;

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
                Entry::Durable => continue,
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

/// Reads the segments: what all attempts cost, and those of segments after `settled_through` about rows that
/// are not yet answered.
pub(super) fn load(folder: &Folder, settled_through: u64, answered: &dyn Answered) -> Result<(Money, PastByRow)> {
    let (mut spent, mut past) = (Money::ZERO, PastByRow::new());
    for number in folder.segments()? {
        let path = folder.segment(number);
        let (cost, wanted) = scan(&path, (number > settled_through).then_some(answered))?;
        spent = spent.saturating_add(cost);
        fetch(&path, wanted, &mut past)?;
    }
    Ok((spent, past))
}

/// An attempt that somebody may ask for: its row in the segment, and the rows of its pack.
type Wanted = (usize, Vec<(usize, RowId)>);

fn scan(path: &Path, answered: Option<&dyn Answered>) -> Result<(Money, Vec<Wanted>)> {
    let columns: &[&str] = if answered.is_some() { &["cost_usd", "keys", "questions"] } else { &["cost_usd"] };
    let (mut spent, mut wanted, mut first) = (Money::ZERO, Vec::new(), 0);
    for batch in segment::read(path, Some(columns), None)? {
        let batch = batch?;
        for row in 0..batch.num_rows() {
            spent = spent.saturating_add(segment::amount(&batch, "cost_usd", row)?.unwrap_or_default());
            let Some(answered) = answered else { continue };
            let (keys, questions) = (segment::keys(&batch, row)?, segment::questions(&batch, row)?);
            let ids = keys.iter().zip(questions).map(|(key, question)| RowId::new(key, question)).enumerate();
            let open: Vec<_> = ids.filter(|(_, id)| !answered.contains(*id)).collect();
            if !open.is_empty() {
                wanted.push((first + row, open));
            }
        }
        first += batch.num_rows();
    }
    Ok((spent, wanted))
}

fn fetch(path: &Path, wanted: Vec<Wanted>, past: &mut PastByRow) -> Result<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    let rows: Vec<usize> = wanted.iter().map(|(row, _)| *row).collect();
    let mut wanted = wanted.into_iter();
    for batch in segment::read(path, None, Some(&rows))? {
        for (attempt, (_, open)) in segment::from_batch(&batch?)?.into_iter().zip(&mut wanted) {
            let attempt = Arc::new(attempt);
            for (position, id) in open {
                past.entry(id).or_default().push(Past { attempt: Arc::clone(&attempt), position });
            }
        }
    }
    Ok(())
}
