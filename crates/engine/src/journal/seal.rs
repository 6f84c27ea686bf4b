//! Sealing: a closed log becomes the segment of its number, off the path of whoever writes.
//!
//! The order is: write, sync, rename, sync the folder, remove the log. A crash in between leaves either the
//! log or the log and its segment, and where both are the log is a leftover.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};

use promptmill_core::{Attempt, Begun, CostSource, Result};

use super::LOST;
use super::folder::Folder;
use super::frame::Entry;
use super::log::closed_entries;
use super::segment::Unfinished;
use super::trouble::{self, Health, disk};

/// A log that is ready to be sealed.
#[derive(Debug)]
pub(super) enum Closed {
    /// It is full, and what was in flight has been carried into the next one.
    Full(u64),
    /// It is the last of its run: what is still in flight in it is lost.
    Last(u64),
}

/// Starts a thread that seals what it is sent, until the sender is gone or something fails.
pub(super) fn start(folder: Folder, health: Health) -> std::io::Result<(Sender<Closed>, JoinHandle<()>)> {
    let (sender, inbox) = mpsc::channel();
    let thread = thread::Builder::new().name("journal-seal".to_owned()).spawn(move || {
        for closed in inbox {
            let (Closed::Full(number) | Closed::Last(number)) = closed;
            let settles = |_: &str| matches!(closed, Closed::Last(_));
            let sealed = closed_entries(&folder.log(number)).and_then(|entries| seal(&folder, number, entries, settles));
            // What is not sealed is still in its log. But a disk that fails here is no place to go on paying.
            if health.watch(sealed).is_err() {
                break;
            }
        }
    })?;
    Ok((sender, thread))
}

/// Seals the log with this number, which records these entries. An attempt that it saw begin and not end is lost
/// if `settles` says that no later log knows more about it. A log without attempts is removed and leaves no
/// segment.
pub(super) fn seal(
    folder: &Folder,
    number: u64,
    entries: impl Iterator<Item = Result<Entry<'static>>>,
    settles: impl Fn(&str) -> bool,
) -> Result<()> {
    // Under a name by which nobody looks for it, until it is whole.
    let unfinished = folder.unfinished(number);
    let create = || File::create(&unfinished).map_err(|error| disk(&unfinished, "made", error));
    if let Some(file) = write(&unfinished.to_string_lossy(), create, entries, settles)? {
        let segment = folder.segment(number);
        let named = file.sync_all().and_then(|()| fs::rename(&unfinished, &segment));
        named.map_err(|error| disk(&segment, "written", error))?;
        folder.sync()?;
    }
    let log = folder.log(number);
    fs::remove_file(&log).map_err(|error| disk(&log, "removed", error))
}

/// Writes a segment of what has ended according to these entries, and of what is lost. `None` if that is nothing.
pub(super) fn write<W: Write + Send>(
    shown: &str,
    create: impl Fn() -> Result<W>,
    entries: impl Iterator<Item = Result<Entry<'static>>>,
    settles: impl Fn(&str) -> bool,
) -> Result<Option<W>> {
    let failed = |error| trouble::segment(shown, "written", error);
    let mut segment = None;
    // By id, which is by time.
    let mut in_flight = BTreeMap::new();
    let mut keep = |attempt| {
        let segment = match &mut segment {
            Some(segment) => segment,
            None => segment.insert(Unfinished::new(create()?).map_err(failed)?),
        };
        segment.push(attempt).map_err(failed)
    };
    for entry in entries {
        match entry? {
            Entry::Durable | Entry::Note(_) => {}
            Entry::Begun(begun) => {
                in_flight.insert(begun.attempt_id.clone(), begun.into_owned());
            }
            Entry::Ended(attempt) => {
                in_flight.remove(&attempt.begun.attempt_id);
                keep(attempt.into_owned())?;
            }
        }
    }
    in_flight.into_iter().filter(|(id, _)| settles(id)).try_for_each(|(_, begun)| keep(lost(begun)))?;
    segment.map(|segment| segment.finish().map_err(failed)).transpose()
}

/// What is on record of an attempt whose end nobody saw: it may have cost all that was set aside for it.
fn lost(begun: Begun) -> Attempt {
    Attempt {
        latency_ms: 0.0,
        status: LOST.to_owned(),
        error: Some("the process ended while this request was in flight".to_owned()),
        finish_reason: None,
        usage: None,
        cost: Some(begun.reserved),
        cost_source: Some(CostSource::Price),
        answered: 0,
        raw_response: None,
        begun,
    }
}
