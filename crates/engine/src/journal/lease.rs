//! One run at a time on S3, where nobody holds a file: a lock object that its holder keeps changing.
//!
//! Whoever finds the lock taken watches it. If it changes, somebody is at work, and that is said at once; if it stays
//! as it is for the length of a lease, its holder has gone, and the lock is taken over. No clock is compared with
//! another. A holder that was only slow, and wakes, finds the lock changed, and its numbers in the journal and in the
//! commits taken: it can write nothing that counts.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use chrono::{SecondsFormat, Utc};
use object_store::UpdateVersion;
use promptmill_core::{Error, Result};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::trouble::Health;
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

/// Who holds the lock; the content of its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    run_id: String,
    /// The machine since it was started, where that is known.
    host: String,
    boot: Option<String>,
    pid: u32,
    since: String,
    /// Counts up while the holder lives.
    beat: u64,
    /// Whether the lock is free.
    released: bool,
}

impl Lease {
    /// Takes the lock of a state folder, or says who has it. A lock that is broken later breaks `health`.
    pub(super) async fn take(state: &Folder, run_id: &str, health: Health) -> Result<Self> {
        let me = Holder::me(run_id);
        let version = loop {
            if let Some(version) = state.create_versioned(FILE, me.to_json()?).await? {
                break version;
            }
            let Some((bytes, version)) = state.get_versioned(FILE).await? else { continue };
            if !is_free(state, &bytes, &version).await? {
                continue;
            }
            if let Some(version) = state.replace(FILE, me.to_json()?, version).await? {
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
        let Ok(json) = (Holder { released: true, ..holder }).to_json() else { return };
        // If this fails the lock runs out by itself.
        if let Err(error) = self.state.replace(FILE, json, version).await {
            tracing::warn!(%error, "the lock could not be released; it runs out in {} s", LEASE.as_secs());
        }
    }
}

/// Whether the lock in this version may be taken: it was released, or its holder has gone.
async fn is_free(state: &Folder, bytes: &Bytes, version: &UpdateVersion) -> Result<bool> {
    // What cannot be read was written by nobody who keeps it up: it is watched like any other.
    let holder: Option<Holder> = serde_json::from_slice(bytes).ok();
    if holder.as_ref().is_some_and(|holder| holder.released || holder.is_dead()) {
        return Ok(true);
    }
    if let Some(holder) = holder.as_ref().filter(|holder| holder.is_alive_here()) {
        return Err(taken(state, Some(holder)));
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
        let Ok(json) = next.to_json() else { continue };
        match state.replace(FILE, json, version.clone()).await {
            Ok(Some(kept)) => (holder, version) = (next, kept),
            Ok(None) => {
                let error = Error::failed(format!("another run has taken over the pipeline's state in `{state}`"))
                    .hint("this run had not been heard of for longer than a lease; run again when the other one has ended");
                let _ = health.watch(Err(error));
                return None;
            }
            // An outage of the store does not make the lock somebody else's.
            Err(error) => tracing::warn!(%error, "the lock could not be kept up; trying again"),
        }
    }
}

impl Holder {
    fn me(run_id: &str) -> Self {
        Self {
            run_id: run_id.to_owned(),
            host: host(),
            boot: boot(),
            pid: std::process::id(),
            since: Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true),
            beat: 0,
            released: false,
        }
    }

    fn to_json(&self) -> Result<Bytes> {
        serde_json::to_vec(self).map(Bytes::from).map_err(|error| Error::failed("the lock cannot be written as JSON").because(error))
    }

    /// Whether the holder ran on this very machine, where processes can be looked up.
    fn is_here(&self) -> bool {
        self.boot.is_some() && self.boot == boot() && self.host == host()
    }

    fn is_dead(&self) -> bool {
        self.is_here() && !is_process(self.pid)
    }

    fn is_alive_here(&self) -> bool {
        self.is_here() && is_process(self.pid)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "run `{}` (process {} on `{}`) since {}", self.run_id, self.pid, self.host, self.since)
    }
}

fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| std::env::var("HOSTNAME").ok());
    name.map_or_else(|| "unknown".to_owned(), |name| name.trim().to_owned())
}

/// The identity of this machine since it was started; containers on it share it, but not its host's name.
fn boot() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|id| id.trim().to_owned())
}

fn is_process(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}
