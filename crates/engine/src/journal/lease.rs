//! One run at a time on S3, where nobody holds a file: a lock object that its holder keeps changing.
//!
//! Whoever finds the lock taken watches it. If it changes, somebody is at work, and that is said at once; if it stays
//! as it is for the length of a lease, its holder has gone or is stuck, whatever else can be seen of it, and the lock is
//! taken over. Only a holder that has certainly ended ([`State::Gone`]) is not waited for. No clock is compared with
//! another. A holder that was only slow, and wakes, finds the lock changed, and its numbers in the journal and in the
//! commits taken: it can write nothing that counts. So that it shows nothing either, it looks at the lock before it writes a
//! file of results where readers look ([`Lease::check`]).
//!
//! All this needs a store that keeps the conditions of a request. Some take them and do as if they had not been made; whoever
//! has taken the lock tries that first.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use object_store::UpdateVersion;
use promptmill_core::{Error, ErrorKind, Result};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::holder::{Holder, State};
use super::trouble::Health;
use crate::format;
use crate::storage::Folder;

/// The lock's file in the state folder.
const FILE: &str = "lock";
/// How long a lock stays unchanged before its holder counts as gone.
const LEASE: Duration = Duration::from_secs(15);
/// How often the holder changes it: thrice in a lease, so that one slow answer of the store does no harm.
const BEAT: Duration = Duration::from_secs(4);
/// How often somebody who waits looks at it.
const LOOK: Duration = Duration::from_millis(500);

/// Until when nobody else can have taken the lock.
#[derive(Clone, Debug)]
struct Held(Arc<Mutex<Instant>>);

impl Held {
    /// The lock was changed by a request that was sent then.
    fn since(sent: Instant) -> Self {
        Self(Arc::new(Mutex::new(sent + LEASE)))
    }

    fn renewed(&self, sent: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = sent + LEASE;
    }

    fn is_certain(&self) -> bool {
        Instant::now() < *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lock, for as long as this lives.
#[derive(Debug)]
pub(super) struct Lease {
    state: Folder,
    run_id: String,
    held: Held,
    keeper: JoinHandle<Option<(Holder, UpdateVersion)>>,
    stop: tokio::sync::watch::Sender<bool>,
}

impl Lease {
    /// Takes the lock of a state folder, or says who has it. A lock that is broken later breaks `health`.
    pub(super) async fn take(state: &Folder, run_id: &str, health: Health) -> Result<Self> {
        let me = Holder::me(run_id);
        let (version, sent) = loop {
            let sent = Instant::now();
            if let Some(version) = state.create_versioned(FILE, json(&me)?).await? {
                break (version, sent);
            }
            let Some((bytes, version)) = state.get_versioned(FILE).await? else { continue };
            if !is_free(state, &bytes, &version).await? {
                continue;
            }
            let sent = Instant::now();
            if let Some(version) = state.replace(FILE, json(&me)?, version).await? {
                break (version, sent);
            }
        };
        let (me, version) = keeps_conditions(state, me, version).await?;
        let held = Held::since(sent);
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let keeper = tokio::spawn(keep(state.clone(), me, version, held.clone(), health, stopped));
        Ok(Self { state: state.clone(), run_id: run_id.to_owned(), held, keeper, stop })
    }

    /// An error if the lock is somebody else's. The store is asked only where that is possible.
    pub(super) async fn check(&self) -> Result<()> {
        if self.held.is_certain() {
            return Ok(());
        }
        let holder = self.state.get_versioned(FILE).await?.and_then(|(bytes, _)| serde_json::from_slice::<Holder>(&bytes).ok());
        if holder.is_some_and(|holder| holder.run_id == self.run_id) { Ok(()) } else { Err(taken_over(&self.state)) }
    }

    /// Lets the next run in.
    pub(super) async fn release(self) {
        let _ = self.stop.send(true);
        let Ok(Some((holder, version))) = self.keeper.await else { return };
        let Ok(json) = json(&Holder { released: true, ..holder }) else { return };
        // If this fails the lock runs out by itself.
        if let Err(error) = self.state.replace(FILE, json, version).await {
            tracing::warn!(%error, "the lock could not be released; it runs out in {} s", LEASE.as_secs());
        }
    }
}

/// Changes the lock that was just taken, and tries what must be refused then: to make it again, and to replace what it was.
async fn keeps_conditions(state: &Folder, me: Holder, version: UpdateVersion) -> Result<(Holder, UpdateVersion)> {
    let next = Holder { beat: me.beat + 1, ..me };
    let Some(now) = state.replace(FILE, json(&next)?, version.clone()).await? else { return Err(taken_over(state)) };
    // Neither is what stands there, so that it is not taken for the outcome of a request that was sent twice.
    let other = |beats| json(&Holder { beat: next.beat + beats, ..next.clone() });
    let is_made_again = state.create_versioned(FILE, other(1)?).await?.is_some();
    if is_made_again || state.replace(FILE, other(2)?, version).await?.is_some() {
        let condition = if is_made_again { "If-None-Match" } else { "If-Match" };
        return Err(Error::failed(format!("the store of `{state}` does not keep the condition `{condition}` of a request"))
            .hint("without it two runs at once cannot be told apart: keep the state on a disk with `state.path`, or in a store that keeps conditions"));
    }
    Ok((next, now))
}

/// Whether the lock in this version may be taken: it was released, or its holder has gone.
async fn is_free(state: &Folder, bytes: &Bytes, version: &UpdateVersion) -> Result<bool> {
    format::LOCK.check_json(&format!("{state}/{FILE}"), bytes)?;
    // What cannot be read was written by nobody who keeps it up: it is watched like any other.
    let holder: Option<Holder> = serde_json::from_slice(bytes).ok();
    if holder.as_ref().is_some_and(|holder| holder.released || holder.state() == State::Gone) {
        return Ok(true);
    }
    if let Some(holder) = &holder {
        tracing::warn!("waiting up to {} s to see whether {holder} is still alive", LEASE.as_secs());
    }
    let until = Instant::now() + LEASE;
    while Instant::now() < until {
        sleep(LOOK).await;
        let Some((bytes, now)) = state.get_versioned(FILE).await? else { return Ok(false) };
        if now != *version {
            let holder: Option<Holder> = serde_json::from_slice(&bytes).ok();
            return if holder.as_ref().is_some_and(|holder| holder.released) { Ok(false) } else { Err(taken(state, holder.as_ref())) };
        }
    }
    Ok(true)
}

fn taken(state: &Folder, holder: Option<&Holder>) -> Error {
    let who = holder.map_or_else(String::new, |holder| format!(": {holder}"));
    Error::failed(format!("another run works on this pipeline{who}"))
        .of(ErrorKind::Locked)
        .hint(format!("wait for it to end, or stop it; it can be carried on afterwards (the lock is `{state}/{FILE}`)"))
}

/// Keeps the lock until it is told to stop; breaks the journal's health if the lock is somebody else's.
async fn keep(
    state: Folder,
    mut holder: Holder,
    mut version: UpdateVersion,
    held: Held,
    health: Health,
    mut stopped: tokio::sync::watch::Receiver<bool>,
) -> Option<(Holder, UpdateVersion)> {
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return Some((holder, version)),
            () = sleep(BEAT) => {}
        }
        let next = Holder { beat: holder.beat + 1, ..holder.clone() };
        let Ok(json) = json(&next) else { continue };
        let sent = Instant::now();
        match state.replace(FILE, json, version.clone()).await {
            Ok(Some(kept)) => {
                held.renewed(sent);
                (holder, version) = (next, kept);
            }
            Ok(None) => {
                let _ = health.watch(Err(taken_over(&state)));
                return None;
            }
            // An outage of the store does not make the lock somebody else's.
            Err(error) => tracing::warn!(%error, "the lock could not be kept up; trying again"),
        }
    }
}

fn taken_over(state: &Folder) -> Error {
    Error::failed(format!("another run has taken over the pipeline's state in `{state}`"))
        .of(ErrorKind::Locked)
        .hint("this run had not been heard of for longer than a lease; run again when the other one has ended")
}

fn json(holder: &Holder) -> Result<Bytes> {
    serde_json::to_vec(holder).map(Bytes::from).map_err(|error| Error::failed("the lock cannot be written as JSON").because(error))
}
