//! The one thread that writes: it takes all that is waiting, writes it at once, syncs once, tells everybody.
//!
//! Under load the wait for the disk is shared by all requests that end meanwhile; alone, an entry waits for
//! nobody. Callers serialise their entries themselves, so that this thread does little but wait for the disk, and
//! hear of it from a task among them, so that it wakes their threads once a write and not once an entry.

use std::collections::HashMap;
use std::mem;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use promptmill_core::{Error, Result};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::Place;
use super::folder::Folder;
use super::frame;
use super::log::OpenLog;
use super::seal::{self, Closed};
use super::trouble::{Health, repeated};

/// Where a caller waits.
pub(super) type Done = oneshot::Sender<Result<Place>>;

/// How long a write waits for company if the one before it had some: next to nothing beside what a model takes,
/// and under a load at which that is not so it saves most of the syncs.
const COMPANY: Duration = Duration::from_micros(500);

/// What callers ask of the thread.
#[derive(Debug)]
pub(super) enum Message {
    /// Write a frame that says that this attempt has begun.
    Begun { attempt_id: String, frame: Vec<u8>, done: Done },
    /// Write a frame that says that this attempt has ended.
    Ended { attempt_id: String, frame: Vec<u8>, done: Done },
    /// Seal the log and stop.
    Close { done: Done },
}

/// The state of the thread.
#[derive(Debug)]
struct Writer {
    folder: Folder,
    log: OpenLog,
    rotate_at: u64,
    health: Health,
    sealer: Sender<Closed>,
    /// What has begun and not ended: the frames that the next log starts with.
    in_flight: HashMap<String, Vec<u8>>,
    buffer: Vec<u8>,
    /// The length of the mark in front of what is written last.
    mark: usize,
    /// Where the callers are, if they are tasks.
    runtime: Option<Handle>,
}

/// Starts the thread, which writes to `log` until it is asked to close or nobody is left to ask.
pub(super) fn start(folder: &Folder, log: OpenLog, rotate_at: u64, health: Health) -> Result<(Sender<Message>, JoinHandle<()>)> {
    let no_thread = |error| Error::failed("the journal's threads could not be started").because(error);
    let (sender, inbox) = mpsc::channel();
    let (sealer, sealing) = seal::start(folder.clone(), health.clone()).map_err(no_thread)?;
    let (in_flight, buffer, runtime) = (HashMap::new(), Vec::new(), Handle::try_current().ok());
    let writer = Writer { folder: folder.clone(), log, rotate_at, health, sealer, in_flight, buffer, mark: 0, runtime };
    let thread = thread::Builder::new().name("journal-write".to_owned()).spawn(move || writer.run(&inbox, sealing));
    Ok((sender, thread.map_err(no_thread)?))
}

impl Writer {
    fn run(mut self, inbox: &Receiver<Message>, sealing: JoinHandle<()>) {
        let mut closing = None;
        let mut had_company = false;
        while closing.is_none()
            && let Ok(first) = inbox.recv()
        {
            if had_company {
                thread::sleep(COMPANY);
            }
            let waiting: Vec<Message> = std::iter::once(first).chain(inbox.try_iter()).collect();
            had_company = waiting.len() > 1;
            let mut told = Vec::with_capacity(waiting.len());
            let mut place = Place { log: self.log.number(), at: self.log.length(), bytes: 0 };
            let outcome = self.health.check().and_then(|()| self.write(waiting.iter()));
            let outcome = self.health.watch(outcome);
            place.at += self.mark as u64;
            for message in waiting {
                told.push(match message {
                    Message::Begun { attempt_id, frame, done } => {
                        let here = place.next(frame.len());
                        self.in_flight.insert(attempt_id, frame);
                        (here, done)
                    }
                    Message::Ended { attempt_id, frame, done } => {
                        let here = place.next(frame.len());
                        self.in_flight.remove(&attempt_id);
                        (here, done)
                    }
                    Message::Close { done } => {
                        closing = Some(done);
                        continue;
                    }
                });
            }
            let is_written = outcome.is_ok();
            self.tell(outcome, told);
            if is_written && self.log.length() >= self.rotate_at {
                let rotated = self.rotate();
                let _ = self.health.watch(rotated);
            }
        }
        if closing.is_some() && self.health.check().is_ok() {
            let _ = self.sealer.send(Closed::Last(self.log.number()));
        }
        drop(self.sealer);
        if sealing.join().is_err() {
            let _ = self.health.watch(Err(Error::failed("the thread that seals the journal has died")));
        }
        if let Some(done) = closing {
            let _ = done.send(self.health.check().map(|()| Place::default()));
        }
    }

    fn write<'a>(&mut self, messages: impl Iterator<Item = &'a Message>) -> Result<()> {
        self.buffer.clear();
        for message in messages {
            if let Message::Begun { frame, .. } | Message::Ended { frame, .. } = message {
                if self.buffer.is_empty() {
                    self.buffer.extend(frame::durable()?);
                    self.mark = self.buffer.len();
                }
                self.buffer.extend_from_slice(frame);
            }
        }
        if self.buffer.is_empty() { Ok(()) } else { self.log.append(&self.buffer) }
    }

    /// Tells all who wait how their write went.
    fn tell(&self, outcome: Result<()>, waiting: Vec<(Place, Done)>) {
        let is_crowd = waiting.len() > 1;
        let tell = move || {
            for (place, done) in waiting {
                // Whoever gave up waiting does not hear it.
                let _ = done.send(outcome.as_ref().map(|()| place).map_err(repeated));
            }
        };
        match &self.runtime {
            Some(runtime) if is_crowd => drop(runtime.spawn(async move { tell() })),
            _ => tell(),
        }
    }

    /// Goes on in a new log. What is in flight goes with it, durably, before the old one may be sealed: sealed
    /// logs then hold no attempt whose end is still to come.
    fn rotate(&mut self) -> Result<()> {
        let next = OpenLog::create(&self.folder, self.log.number() + 1, self.in_flight.values())?;
        let full = mem::replace(&mut self.log, next);
        // Nobody receives when sealing has failed, and then that is what everybody is told.
        let _ = self.sealer.send(Closed::Full(full.number()));
        Ok(())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::fs::OpenOptions;
    use std::path::Path;

    use super::super::samples::attempt;
    use super::*;

    #[tokio::test]
    async fn a_full_disk_reaches_everybody_and_stays() {
        let state = tempfile::tempdir().expect("a folder");
        let full = Path::new("/dev/full");
        let log = OpenLog::on(OpenOptions::new().write(true).open(full).expect("a device"), full);
        let health = Health::default();
        let (sender, thread) = start(&Folder::of(state.path()), log, 1, health.clone()).expect("threads");
        let end = |id: &str| {
            let (done, outcome) = oneshot::channel();
            let frame = frame::ended(&attempt(id, &["k"])).expect("a frame");
            sender.send(Message::Ended { attempt_id: id.to_owned(), frame, done }).expect("a thread");
            outcome
        };
        let waiting: Vec<_> = ["a1", "a2", "a3"].map(end).into();
        for outcome in waiting {
            let error = outcome.await.expect("told").expect_err("full").to_string();
            assert!(error.starts_with("`/dev/full` could not be written: No space left"), "{error}");
        }
        end("a4").await.expect("told").expect_err("still broken");
        health.check().expect_err("broken");
        let (done, outcome) = oneshot::channel();
        sender.send(Message::Close { done }).expect("a thread");
        outcome.await.expect("told").expect_err("never sealed");
        thread.join().expect("stopped");
    }
}
