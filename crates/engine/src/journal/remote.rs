//! The log of a run on S3, where nothing can be appended to: every write is an object of its own, numbered, made only
//! if it is not there.
//!
//! Whatever arrives during one write goes into the next, so that a write is shared by all that wait for it. What a
//! request may cost has to be durable before it is sent, so beginnings are written at once; responses wait for
//! company, at most as long as the pipeline's `state.flush` says. After some hundred objects they are sealed into one
//! Parquet segment.
//!
//! The numbers are also the fence: a run that was taken for dead, and wakes, finds its next number taken by its
//! successor, and writes nothing more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use promptmill_core::{Attempt, Begun, Error, ErrorKind, Result};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::frame::{self, Entry};
use super::log::Log;
use super::names::{self, Contents, Segment};
use super::trouble::{Health, repeated};
use super::{Place, seal};
use crate::storage::Folder;

/// Between two writes for beginnings, at the least: one in ten waits a tenth of a second, and a request to the store
/// costs money.
const APART: Duration = Duration::from_millis(50);
/// Of `state.flush` a response waits this much for company: the rest is for the write itself.
const WAIT: f64 = 0.75;
/// So many who wait are company enough: a write then has much to carry, and nobody waits longer.
const CROWD: usize = 24;
/// Objects that make a log full, besides its bytes: after a crash every one of them is read.
const MOST_OBJECTS: u64 = 256;
/// Objects read at once.
const OBJECTS_AT_ONCE: usize = 16;

/// The log of the one run that works on a state folder on S3.
#[derive(Debug)]
pub(super) struct RemoteLog {
    /// The journal's folder.
    folder: Folder,
    health: Health,
    sender: mpsc::UnboundedSender<Message>,
    sealed: Arc<Mutex<Vec<Segment>>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Message {
    attempt_id: String,
    frame: Vec<u8>,
    is_beginning: bool,
    done: oneshot::Sender<Result<Place>>,
}

impl RemoteLog {
    /// Opens the log in a journal's folder, after recovering what a crash left.
    ///
    /// # Errors
    /// When the store fails, or a part of the journal is damaged or missing.
    pub(super) async fn open(folder: Folder, flush: Duration, rotate_at: u64, health: Health) -> Result<Self> {
        let next = claim(&folder).await?;
        recover(&folder, next).await?;
        let (sender, inbox) = mpsc::unbounded_channel();
        let sealed = Arc::new(Mutex::new(Vec::new()));
        let writer = Writer {
            folder: folder.clone(),
            flush: flush.mul_f64(WAIT),
            rotate_at,
            health: health.clone(),
            first: next,
            next: next + 1,
            bytes: 0,
            in_flight: HashMap::new(),
            sealing: None,
            sealed: Arc::clone(&sealed),
        };
        let task = Mutex::new(Some(tokio::spawn(writer.run(inbox))));
        Ok(Self { folder, health, sender, sealed, task })
    }

    /// Writes out what is waiting and seals the log. Nothing can be journalled afterwards.
    pub(super) async fn close(&self) -> Result<()> {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(task) = task else { return Ok(()) };
        // An empty frame is the last word.
        let (done, outcome) = oneshot::channel();
        let last = Message { attempt_id: String::new(), frame: Vec::new(), is_beginning: true, done };
        if self.sender.send(last).is_ok() {
            let _ = outcome.await;
        }
        task.await.map_err(|error| Error::failed("the task that writes the journal has died").because(error))?;
        self.health.check()
    }

    pub(super) async fn begin(&self, begun: &Begun) -> Result<()> {
        let frame = frame::begun(begun)?;
        self.ask(begun.attempt_id.clone(), frame, true).await.map(|_| ())
    }

    pub(super) async fn end(&self, attempt: &Attempt) -> Result<Place> {
        let frame = frame::ended(attempt)?;
        self.ask(attempt.begun.attempt_id.clone(), frame, false).await
    }

    /// What stands at a place; `None` if its object has been sealed.
    pub(super) async fn read(&self, place: Place) -> Result<Option<Attempt>> {
        let name = names::log(place.log);
        let Some(object) = self.folder.get(&name).await? else { return Ok(None) };
        let at = usize::try_from(place.at).unwrap_or(usize::MAX);
        let damaged = || Error::failed(format!("the journal `{}/{name}` is damaged at byte {at}", self.folder)).of(ErrorKind::State);
        let frame = object.get(at..at.saturating_add(place.bytes as usize)).and_then(frame::ended_in);
        frame.map(Some).ok_or_else(damaged)
    }

    /// The segments that this run has sealed.
    pub(super) fn sealed(&self) -> Vec<Segment> {
        self.sealed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn ask(&self, attempt_id: String, frame: Vec<u8>, is_beginning: bool) -> Result<Place> {
        self.health.check()?;
        let closed = || Error::failed(format!("the journal in `{}` is closed", self.folder));
        let (done, outcome) = oneshot::channel();
        self.sender.send(Message { attempt_id, frame, is_beginning, done }).map_err(|_| closed())?;
        outcome.await.map_err(|_| closed())?
    }
}

/// Takes the next free number, which nobody who wrote before us can have from then on.
async fn claim(folder: &Folder) -> Result<u64> {
    loop {
        let names = folder.list().await?;
        let next = Contents::of(names.iter().map(String::as_str)).last() + 1;
        let object = [frame::HEADER, &frame::durable()?, &unique()].concat();
        if folder.create(&names::log(next), object).await? {
            return Ok(next);
        }
    }
}

/// A frame that no other run writes: what two runs would write alike could not keep them apart.
fn unique() -> Vec<u8> {
    frame::note(&uuid::Uuid::new_v4().to_string()).unwrap_or_default()
}

/// Seals what earlier runs left in objects before `next`.
async fn recover(folder: &Folder, next: u64) -> Result<()> {
    loop {
        let names = folder.list().await?;
        let Contents { logs, leftovers, segments } = Contents::of(names.iter().map(String::as_str));
        folder.delete_all(leftovers.iter().map(String::as_str)).await?;
        let logs: Vec<u64> = logs.into_iter().filter(|log| *log < next).collect();
        let (Some(&first), Some(&last)) = (logs.first(), logs.last()) else { return Ok(()) };
        // Numbers are given one after the other: one that is missing has been lost.
        let before = segments.iter().map(|segment| segment.last).filter(|number| *number < first).max();
        if logs.len() as u64 != last - first + 1 {
            let missing = logs.windows(2).find(|pair| pair[0] + 1 != pair[1]).map_or(first, |pair| pair[0] + 1);
            return Err(Error::failed(format!("`{folder}/{}` is missing from the journal", names::log(missing)))
                .of(ErrorKind::State)
                .hint("restore it from the bucket's versions; to go on without it, move the later ones away"));
        }
        // Whoever sealed while he was taken for dead has removed what he sealed: look again.
        if sealed(folder, Segment { first: before.map_or(first, |before| before + 1).min(first), last }, &logs, true).await?.is_some() {
            return Ok(());
        }
    }
}

/// Makes a segment of objects, then removes them. `None` if some of them have gone meanwhile.
async fn sealed(folder: &Folder, segment: Segment, logs: &[u64], is_last: bool) -> Result<Option<()>> {
    let objects: Vec<(u64, Option<Bytes>)> = futures::stream::iter(logs.to_vec())
        .map(|number| async move { folder.get(&names::log(number)).await.map(|bytes| (number, bytes)) })
        .buffered(OBJECTS_AT_ONCE)
        .try_collect()
        .await?;
    let mut entries: Vec<Result<Entry<'static>>> = Vec::new();
    for (number, bytes) in objects {
        let Some(bytes) = bytes else { return Ok(None) };
        let path = format!("{folder}/{}", names::log(number));
        entries.extend(Log::parse(path.as_ref(), bytes.to_vec())?.whole()?.entries());
    }
    let name = segment.name();
    let shown = format!("{folder}/{name}");
    // Encoding takes a moment of pure work, in which nobody else should have to wait.
    let written = tokio::task::spawn_blocking(move || seal::write(&shown, || Ok(Vec::new()), entries.into_iter(), |_| is_last)).await;
    if let Some(bytes) = written.map_err(|error| Error::failed("the journal could not be sealed").because(error))?? {
        folder.put(&name, bytes).await?;
    }
    let names: Vec<String> = logs.iter().map(|log| names::log(*log)).collect();
    folder.delete_all(names.iter().map(String::as_str)).await?;
    Ok(Some(()))
}

/// The state of the task that writes.
struct Writer {
    folder: Folder,
    flush: Duration,
    rotate_at: u64,
    health: Health,
    /// The first object that is not sealed, and the next one to be written.
    first: u64,
    next: u64,
    /// Bytes in the objects that are not sealed.
    bytes: u64,
    /// What has begun and not ended: the frames that the first object behind a sealed one starts with.
    in_flight: HashMap<String, Vec<u8>>,
    sealing: Option<JoinHandle<()>>,
    sealed: Arc<Mutex<Vec<Segment>>>,
}

impl Writer {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Message>) {
        let mut waiting: Vec<Message> = Vec::new();
        let mut not_before = Instant::now();
        let mut closing = None;
        while closing.is_none() {
            let Some(first) = inbox.recv().await else { break };
            let mut at = self.patience(&first, not_before);
            waiting.push(first);
            // Company is welcome until somebody's time has come.
            while let Ok(message) = timeout_at(at, inbox.recv()).await {
                let Some(message) = message else { break };
                at = at.min(self.patience(&message, not_before));
                waiting.push(message);
                if waiting.len() >= CROWD {
                    at = at.min(not_before.max(Instant::now()));
                }
            }
            if let Some(place) = waiting.iter().position(|message| message.frame.is_empty()) {
                closing = Some(waiting.remove(place).done);
            }
            not_before = Instant::now() + APART;
            self.write(std::mem::take(&mut waiting)).await;
            if self.bytes >= self.rotate_at || self.next - self.first >= MOST_OBJECTS {
                self.rotate().await;
            }
        }
        if let Some(sealing) = self.sealing.take() {
            let _ = sealing.await;
        }
        // Left as it is by whoever drops the journal: as a crash would.
        let Some(done) = closing else { return };
        if self.health.check().is_ok() {
            let logs: Vec<u64> = (self.first..self.next).collect();
            let segment = Segment { first: self.first, last: self.next - 1 };
            let outcome = sealed(&self.folder, segment, &logs, true).await.map(|_| ());
            let _ = self.health.watch(outcome);
        }
        let _ = done.send(Ok(Place::default()));
    }

    /// Until when a message may wait.
    fn patience(&self, message: &Message, not_before: Instant) -> Instant {
        if message.is_beginning { not_before.max(Instant::now()) } else { Instant::now() + self.flush }
    }

    /// Writes an object of what is waiting and tells everybody.
    async fn write(&mut self, waiting: Vec<Message>) {
        if waiting.is_empty() {
            return;
        }
        let mut object = frame::HEADER.to_vec();
        let outcome = self.health.check().and_then(|()| frame::durable()).map(|mark| object.extend(mark));
        let mut told = Vec::with_capacity(waiting.len());
        for Message { attempt_id, frame, is_beginning, done } in waiting {
            let place = Place { log: self.next, at: object.len() as u64, bytes: u32::try_from(frame.len()).unwrap_or(u32::MAX) };
            object.extend(&frame);
            match is_beginning {
                true => drop(self.in_flight.insert(attempt_id, frame)),
                false => drop(self.in_flight.remove(&attempt_id)),
            }
            told.push((place, done));
        }
        let outcome = match outcome {
            Ok(()) => self.put(object).await,
            Err(error) => Err(error),
        };
        let outcome = self.health.watch(outcome);
        for (place, done) in told {
            // Whoever gave up waiting does not hear it.
            let _ = done.send(outcome.as_ref().map(|()| place).map_err(repeated));
        }
    }

    async fn put(&mut self, object: Vec<u8>) -> Result<()> {
        let bytes = object.len() as u64;
        if !self.folder.create(&names::log(self.next), object).await? {
            return Err(Error::failed(format!("another run has taken over the journal in `{}`", self.folder))
                .of(ErrorKind::Locked)
                .hint("let one run at a time work on a pipeline; what this one had journalled is kept"));
        }
        self.next += 1;
        self.bytes += bytes;
        Ok(())
    }

    /// Goes on behind what is full, which is sealed meanwhile. What is in flight goes along, durably, before that:
    /// sealed objects then hold no attempt whose end is still to come.
    async fn rotate(&mut self) {
        let logs: Vec<u64> = (self.first..self.next).collect();
        let carried = frame::durable().map(|mark| {
            let frames = self.in_flight.values().flatten().copied();
            frame::HEADER.iter().copied().chain(mark).chain(unique()).chain(frames).collect()
        });
        (self.first, self.bytes) = (self.next, 0);
        let outcome = match carried {
            Ok(object) => self.put(object).await,
            Err(error) => Err(error),
        };
        if self.health.watch(outcome).is_err() {
            return;
        }
        if let Some(before) = self.sealing.take() {
            let _ = before.await;
        }
        let (folder, health, done) = (self.folder.clone(), self.health.clone(), Arc::clone(&self.sealed));
        self.sealing = Some(tokio::spawn(async move {
            let (Some(&first), Some(&last)) = (logs.first(), logs.last()) else { return };
            let segment = Segment { first, last };
            // What is not sealed is still in its objects. But a store that fails here is no place to go on paying.
            let outcome = sealed(&folder, segment.clone(), &logs, false).await.map(|_| ());
            if health.watch(outcome).is_ok() {
                done.lock().unwrap_or_else(PoisonError::into_inner).push(segment);
            }
        }));
    }
}
