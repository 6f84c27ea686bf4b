//! The journal: every attempt durable before anybody acts on it, on a local disk or on S3.
//!
//! A run appends to a log and turns what is full into Parquet segments; the next run turns the log of a crashed one
//! into a segment first. The folder `<state>/journal/` thus holds
//!
//! ```text
//! 00000001.parquet           sealed attempts, one row each, for this journal and for any other reader
//! 00000002-00000009.parquet  the same, of eight logs: on S3 each write is a log of its own
//! 00000010.log               what the running process writes, or what a crash left
//! ```
//!
//! [`RunJournal`] is the [`Journal`] of a run: a log that is written ([`local`], [`remote`]) and a history that is
//! looked up ([`history`]). [`snapshot`] reads beside it. What a response means is left to those who asked.

mod folder;
mod frame;
mod history;
mod holder;
mod lease;
mod local;
mod lock;
mod log;
mod names;
mod open;
mod read;
mod remote;
#[cfg(test)]
mod remote_tests;
#[cfg(test)]
mod samples;
mod seal;
mod segment;
#[cfg(test)]
mod tests;
mod trouble;
mod writer;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use promptmill_core::{Attempt, Begun, Experience, Fingerprint, Journal, Money, Past, Result};
use tokio::sync::RwLock;

use crate::storage::Folder as Store;
use history::{History, bearing_of, of_question};
use lease::Lease;
use local::LocalLog;
use names::{Contents, Segment};
use remote::RemoteLog;
use trouble::Health;

pub(crate) use read::snapshot;
pub use segment::attempts_schema;

/// The status of an attempt whose end nobody saw.
pub const LOST: &str = "lost";

/// How many bytes of log make it full: some thousand responses, so that segments are few and scanned fast, and still
/// sealed in about a second and read back as quickly after a crash.
const ROTATE_AT: u64 = 64 << 20;

/// Where the end of an attempt stands in a log that is not sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    log: u64,
    at: u64,
    bytes: u32,
}

impl Place {
    /// The place of the next frame, so many bytes long; moves on behind it.
    fn next(&mut self, bytes: usize) -> Self {
        let here = Self { bytes: u32::try_from(bytes).unwrap_or(u32::MAX), ..*self };
        self.at += bytes as u64;
        here
    }
}

/// The log of this run.
#[derive(Debug)]
enum Log {
    Local(LocalLog),
    Remote(Box<RemoteLog>, tokio::sync::Mutex<Option<Box<Lease>>>),
}

/// The journal of the one run that works on a state folder.
///
/// Dropped without [`RunJournal::close`] it leaves its log as a crash would, for the next run to recover.
#[derive(Debug)]
pub struct RunJournal {
    log: Log,
    spent: Money,
    experience: Vec<(String, Experience)>,
    history: RwLock<History>,
    recent: Mutex<Recent>,
}

/// What this run has asked, by log: the start of each question's fingerprint, and where its attempt stands.
type Recent = BTreeMap<u64, HashMap<u32, Place>>;

impl RunJournal {
    /// Opens the journal in a state folder for a run, after recovering what a crash left. On S3 a response is durable
    /// at most `flush` after it was received.
    ///
    /// # Errors
    /// When another run is at work there, when disk or store fail, or when a file of the journal is damaged.
    pub async fn open(state: &Store, run_id: &str, flush: Duration) -> Result<Self> {
        Self::open_with(state, run_id, flush, ROTATE_AT).await
    }

    async fn open_with(state: &Store, run_id: &str, flush: Duration, rotate_at: u64) -> Result<Self> {
        let folder = state.folder("journal");
        let log = match state.local() {
            Some(local) => Log::Local(LocalLog::open(local, run_id, rotate_at)?),
            None => {
                let health = Health::default();
                let lease = Lease::take(state, run_id, health.clone()).await?;
                let log = match RemoteLog::open(folder.clone(), flush, rotate_at, health).await {
                    Ok(log) => log,
                    Err(error) => {
                        lease.release().await;
                        return Err(error);
                    }
                };
                Log::Remote(Box::new(log), tokio::sync::Mutex::new(Some(Box::new(lease))))
            }
        };
        let names = folder.list().await?;
        let contents = Contents::of(names.iter().map(String::as_str));
        let history = History::read(folder, contents.segments).await?;
        let (spent, experience) = (history.spent(), history.experience().collect());
        Ok(Self { log, spent, experience, history: RwLock::new(history), recent: Mutex::default() })
    }

    /// Writes out what is waiting, seals the log and lets the next run in. Attempts that have begun and not ended
    /// count as lost. Nothing can be journalled afterwards.
    ///
    /// # Errors
    /// When disk or store fail, now or before. What was durable stays so.
    pub async fn close(&self) -> Result<()> {
        match &self.log {
            Log::Local(log) => log.close().await,
            Log::Remote(log, lease) => {
                let outcome = log.close().await;
                let lease = lease.lock().await.take();
                if let Some(lease) = lease {
                    lease.release().await;
                }
                outcome
            }
        }
    }

    /// An error if another run has taken over the state, so that nothing more may be written. On a disk that cannot be while
    /// this run lives.
    pub(crate) async fn check_held(&self) -> Result<()> {
        match &self.log {
            Log::Local(_) => Ok(()),
            Log::Remote(_, lease) => match &*lease.lock().await {
                Some(lease) => lease.check().await,
                None => Ok(()),
            },
        }
    }

    /// Takes what this run has sealed into the history.
    async fn catch_up(&self) -> Result<()> {
        let logs: Vec<u64> = self.recent().keys().copied().collect();
        let (Some(&first), Some(&last)) = (logs.first(), logs.last()) else { return Ok(()) };
        let sealed: Vec<Segment> = match &self.log {
            Log::Local(log) => (first..last).filter(|number| log.is_sealed(*number)).map(|log| Segment { first: log, last: log }).collect(),
            Log::Remote(log, _) => log.sealed().into_iter().filter(|segment| segment.last >= first).collect(),
        };
        if sealed.is_empty() {
            return Ok(());
        }
        let is_sealed = |log: u64| sealed.iter().any(|segment| segment.first <= log && log <= segment.last);
        let mut history = self.history.write().await;
        history.add(sealed.clone()).await?;
        self.recent().retain(|log, _| !is_sealed(*log));
        Ok(())
    }

    fn recent(&self) -> std::sync::MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this run itself has asked about a question, if its log is not sealed yet.
    async fn asked_lately(&self, question: Fingerprint) -> Result<Option<Attempt>> {
        let place = self.recent().values().find_map(|places| places.get(&of_question(question)).copied());
        match (place, &self.log) {
            (None, _) => Ok(None),
            (Some(place), Log::Local(log)) => log.read(place),
            (Some(place), Log::Remote(log, _)) => log.read(place).await,
        }
    }
}

#[async_trait]
impl Journal for RunJournal {
    async fn begin(&self, begun: &Begun) -> Result<()> {
        if begun.reserved <= Money::ZERO {
            // If it never ends it has cost nothing; if it ends, its end tells all that this could.
            return Ok(());
        }
        match &self.log {
            Log::Local(log) => log.begin(begun).await,
            Log::Remote(log, _) => log.begin(begun).await,
        }
    }

    async fn end(&self, attempt: &Attempt) -> Result<()> {
        let place = match &self.log {
            Log::Local(log) => log.end(attempt).await?,
            Log::Remote(log, _) => log.end(attempt).await?,
        };
        if attempt.answered > 0 {
            let mut recent = self.recent();
            let places = recent.entry(place.log).or_default();
            places.extend(attempt.begun.questions.iter().map(|question| (of_question(*question), place)));
        }
        Ok(())
    }

    async fn past(&self, rows: &[(&str, Fingerprint)]) -> Result<Vec<Vec<Past>>> {
        self.catch_up().await?;
        let history = self.history.read().await;
        let mut past = if history.is_empty() { vec![Vec::new(); rows.len()] } else { history.past(rows).await? };
        drop(history);
        for (row, past) in rows.iter().zip(&mut past) {
            // Whatever earlier runs know of the question, this one may have its answer.
            if let Some(attempt) = self.asked_lately(row.1).await? {
                past.extend(bearing_of(&Arc::new(attempt), *row));
            }
        }
        Ok(past)
    }

    fn spent(&self) -> Money {
        self.spent
    }

    fn experience(&self) -> Vec<(String, Experience)> {
        self.experience.clone()
    }
}
