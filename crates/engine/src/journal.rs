//! The journal in a local folder: every attempt on disk before anybody acts on it.
//!
//! A run appends to a log and turns full logs into Parquet segments; the next run turns the log of a crashed
//! one into a segment first. The folder `<state>/journal/` thus holds
//!
//! ```text
//! 00000001.parquet   sealed attempts, one row each, for this journal and for any other reader
//! 00000002.parquet
//! 00000003.log       what the running process appends to, or what a crash left
//! ```
//!
//! [`LocalJournal`] is the [`Journal`] of a run; [`snapshot`] reads beside it. What a response means is left
//! to those who asked.

mod folder;
mod frame;
mod lock;
mod log;
mod open;
mod read;
#[cfg(test)]
mod samples;
mod seal;
mod segment;
#[cfg(test)]
mod tests;
mod trouble;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::mpsc::Sender;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use async_trait::async_trait;
use promptmill_core::{Answered, Attempt, Begun, Error, Journal, Money, Past, Result, RowId};
use tokio::sync::oneshot;

use folder::Folder;
use lock::Lock;
use log::OpenLog;
use open::PastByRow;
use trouble::Health;
use writer::{Done, Message};

pub use read::{Snapshot, open_attempts, segments, snapshot};
pub use segment::attempts_schema;

/// The status of an attempt whose end nobody saw.
pub const LOST: &str = "lost";

/// How a journal is opened.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many bytes of log make it full.
    pub rotate_at: u64,
    /// Attempts up to this segment are not handed out as past, whatever was asked in them: all their rows are
    /// settled, or nobody wants their answers. Their money counts as ever. See [`LocalJournal::sealed_through`].
    pub settled_through: u64,
}

impl Default for Options {
    /// 64 MiB: some thousand responses, so that segments are few and scanned fast, and still sealed in about a
    /// second and read back as quickly after a crash.
    fn default() -> Self {
        Self { rotate_at: 64 * 1024 * 1024, settled_through: 0 }
    }
}

/// The journal of the one run that works on a local state folder.
///
/// Dropped without [`LocalJournal::close`] it leaves its log as a crash would, for the next run to recover.
pub struct LocalJournal {
    folder: Folder,
    health: Health,
    spent: Money,
    sealed_through: u64,
    past: Mutex<PastByRow>,
    writer: Option<Sender<Message>>,
    thread: Option<JoinHandle<()>>,
    /// Released last: until then nobody else may touch the logs.
    lock: Mutex<Option<Lock>>,
}

impl LocalJournal {
    /// Opens the journal in a state folder for a run, after recovering what a crash left. Blocks while it reads.
    ///
    /// # Errors
    /// When another run is at work there, when the disk fails, or when a file of the journal is damaged.
    pub fn open(state_dir: &Path, run_id: &str, answered: &dyn Answered) -> Result<Self> {
        Self::open_with(state_dir, run_id, answered, Options::default())
    }

    /// The same with other options.
    ///
    /// # Errors
    /// As [`LocalJournal::open`].
    pub fn open_with(state_dir: &Path, run_id: &str, answered: &dyn Answered, options: Options) -> Result<Self> {
        let folder = Folder::of(state_dir);
        folder.create()?;
        let lock = Lock::take(state_dir, run_id)?;
        let sealed_through = open::recover(&folder)?;
        let (spent, past) = open::load(&folder, options.settled_through, answered)?;
        let health = Health::default();
        let log = OpenLog::create(&folder, sealed_through + 1, std::iter::empty())?;
        let (writer, thread) = writer::start(&folder, log, options.rotate_at, health.clone())?;
        let (past, lock) = (Mutex::new(past), Mutex::new(Some(lock)));
        Ok(Self { folder, health, spent, sealed_through, past, writer: Some(writer), thread: Some(thread), lock })
    }

    /// Writes out what is waiting, seals the log and lets the next run in. Attempts that have begun and not ended
    /// count as lost. Nothing can be journalled afterwards.
    ///
    /// # Errors
    /// When the disk fails, now or before. What was durable stays so.
    pub async fn close(&self) -> Result<()> {
        if guard(&self.lock).is_none() {
            return Ok(());
        }
        let outcome = self.ask(|done| Message::Close { done }).await;
        guard(&self.lock).take();
        outcome
    }

    /// How many rows have earlier attempts that were not asked for yet.
    pub fn past_len(&self) -> usize {
        guard(&self.past).len()
    }

    /// The number of the last segment that was there when this run began.
    pub fn sealed_through(&self) -> u64 {
        self.sealed_through
    }

    async fn ask(&self, message: impl FnOnce(Done) -> Message) -> Result<()> {
        let closed = || Error::failed(format!("the journal in `{}` is closed", self.folder.path().display()));
        let (done, outcome) = oneshot::channel();
        let writer = self.writer.as_ref().ok_or_else(closed)?;
        writer.send(message(done)).map_err(|_| closed())?;
        outcome.await.map_err(|_| closed())?
    }
}

#[async_trait]
impl Journal for LocalJournal {
    async fn begin(&self, begun: &Begun) -> Result<()> {
        self.health.check()?;
        if begun.reserved <= Money::ZERO {
            // If it never ends it has cost nothing; if it ends, its end tells all that this could.
            return Ok(());
        }
        let frame = frame::begun(begun)?;
        self.ask(|done| Message::Begun { attempt_id: begun.attempt_id.clone(), frame, done }).await
    }

    async fn end(&self, attempt: &Attempt) -> Result<()> {
        self.health.check()?;
        let frame = frame::ended(attempt)?;
        self.ask(|done| Message::Ended { attempt_id: attempt.begun.attempt_id.clone(), frame, done }).await
    }

    fn past(&self, row: RowId) -> Vec<Past> {
        guard(&self.past).remove(&row).unwrap_or_default()
    }

    fn spent(&self) -> Money {
        self.spent
    }
}

impl Drop for LocalJournal {
    fn drop(&mut self) {
        drop(self.writer.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for LocalJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalJournal").field("folder", &self.folder).field("spent", &self.spent).finish_non_exhaustive()
    }
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
