//! One run at a time on S3, where nobody holds a file: a lock object that its holder keeps changing.
//!
//! Whoever finds the lock taken watches it. If it changes, somebody is at work, and that is said at once; if it stays
//! as it is for the length of a lease, its holder has gone or is stuck, whatever else can be seen of it, and the lock is
//! taken over. Only a holder that has certainly ended ([`State::Gone`]) is not waited for. No clock is compared with
//! another. A holder that was only slow, and wakes, finds the lock changed, and its numbers in the journal and in the
//! commits taken: it can write nothing that counts.

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

/// The lock, for as long as this lives.
#[derive(Debug)]
pub(super) struct Lease {
    state: Folder,
    keeper: JoinHandle<Option<(Holder, UpdateVersion)>>,
    stop: tokio::sync::watch::Sender<bool>,
}

impl Lease {
    /// Takes the lock of a state folder, or says who has it. A lock that is broken later breaks `health`.
    pub(super) async fn take(state: &Folder, run_id: &str, health: Health) -> Result<Self> {
        let me = Holder::me(run_id);
        let version = loop {
            if let Some(version) = state.create_versioned(FILE, json(&me)?).await? {
                break version;
            }
            let Some((bytes, version)) = state.get_versioned(FILE).await? else { continue };
            if !is_free(state, &bytes, &version).await? {
                continue;
            }
            if let Some(version) = state.replace(FILE, json(&me)?, version).await? {
                break version;
            }
        };
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let keeper = tokio::spawn(keep(state.clone(), me, version, health, stopped));
        Ok(Self { state: state.clone(), keeper, stop })
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
        match state.replace(FILE, json, version.clone()).await {
            Ok(Some(kept)) => (holder, version) = (next, kept),
            Ok(None) => {
                let error = Error::failed(format!("another run has taken over the pipeline's state in `{state}`"))
                    .of(ErrorKind::Locked)
                    .hint("this run had not been heard of for longer than a lease; run again when the other one has ended");
                let _ = health.watch(Err(error));
                return None;
            }
            // An outage of the store does not make the lock somebody else's.
            Err(error) => tracing::warn!(%error, "the lock could not be kept up; trying again"),
        }
    }
}

fn json(holder: &Holder) -> Result<Bytes> {
    serde_json::to_vec(holder).map(Bytes::from).map_err(|error| Error::failed("the lock cannot be written as JSON").because(error))
}
