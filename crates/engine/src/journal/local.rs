//! The log of a run on a local disk: a file that is appended to and synced by one thread for all.

use std::fmt;
use std::path::Path;
use std::sync::mpsc::Sender;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use promptmill_core::{Attempt, Begun, Error, Result};
use tokio::sync::oneshot;

use super::Place;
use super::folder::Folder;
use super::lock::Lock;
use super::log::{self, OpenLog};
use super::trouble::Health;
use super::writer::{self, Done, Message};
use super::{frame, open};

/// The log of the one run that works on a local state folder.
///
/// Dropped without [`LocalLog::close`] it leaves its log as a crash would, for the next run to recover.
pub(super) struct LocalLog {
    folder: Folder,
    health: Health,
    writer: Option<Sender<Message>>,
    thread: Option<JoinHandle<()>>,
    /// Released last: until then nobody else may touch the logs.
    lock: Mutex<Option<Lock>>,
}

impl LocalLog {
    /// Opens the log in a state folder for a run, after recovering what a crash left. Blocks while it reads.
    ///
    /// # Errors
    /// When another run is at work there, when the disk fails, or when a file of the journal is damaged.
    pub(super) fn open(state_dir: &Path, run_id: &str, rotate_at: u64) -> Result<Self> {
        let folder = Folder::of(state_dir);
        folder.create()?;
        let lock = Lock::take(state_dir, run_id)?;
        let sealed_through = open::recover(&folder)?;
        let health = Health::default();
        let log = OpenLog::create(&folder, sealed_through + 1, std::iter::empty())?;
        let (writer, thread) = writer::start(&folder, log, rotate_at, health.clone())?;
        Ok(Self { folder, health, writer: Some(writer), thread: Some(thread), lock: Mutex::new(Some(lock)) })
    }

    /// Writes out what is waiting, seals the log and lets the next run in. Attempts that have begun and not ended
    /// count as lost. Nothing can be journalled afterwards.
    ///
    /// # Errors
    /// When the disk fails, now or before. What was durable stays so.
    pub(super) async fn close(&self) -> Result<()> {
        if guard(&self.lock).is_none() {
            return Ok(());
        }
        let outcome = self.ask(|done| Message::Close { done }).await.map(|_| ());
        guard(&self.lock).take();
        outcome
    }

    async fn ask(&self, message: impl FnOnce(Done) -> Message) -> Result<Place> {
        let closed = || Error::failed(format!("the journal in `{}` is closed", self.folder.path().display()));
        let (done, outcome) = oneshot::channel();
        let writer = self.writer.as_ref().ok_or_else(closed)?;
        writer.send(message(done)).map_err(|_| closed())?;
        outcome.await.map_err(|_| closed())?
    }

    /// Returns when it is durable that this attempt is about to be sent.
    pub(super) async fn begin(&self, begun: &Begun) -> Result<()> {
        self.health.check()?;
        let frame = frame::begun(begun)?;
        self.ask(|done| Message::Begun { attempt_id: begun.attempt_id.clone(), frame, done }).await.map(|_| ())
    }

    /// Returns when it is durable how the attempt ended, and where that stands.
    pub(super) async fn end(&self, attempt: &Attempt) -> Result<Place> {
        self.health.check()?;
        let frame = frame::ended(attempt)?;
        self.ask(|done| Message::Ended { attempt_id: attempt.begun.attempt_id.clone(), frame, done }).await
    }

    /// Whether a log has become a segment.
    pub(super) fn is_sealed(&self, number: u64) -> bool {
        !self.folder.log(number).exists()
    }

    /// What stands at a place; `None` if its log has been sealed.
    pub(super) fn read(&self, place: Place) -> Result<Option<Attempt>> {
        log::read_at(&self.folder.log(place.log), place)
    }
}

impl Drop for LocalLog {
    fn drop(&mut self) {
        drop(self.writer.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for LocalLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalLog").field("folder", &self.folder).finish_non_exhaustive()
    }
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
