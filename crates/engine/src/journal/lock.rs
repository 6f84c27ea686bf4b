//! One run at a time: an advisory lock on `<state>/lock`, which the system releases if the process dies.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

use chrono::{SecondsFormat, Utc};
use promptmill_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::trouble::disk;

/// The lock, for as long as this lives.
#[derive(Debug)]
pub(super) struct Lock {
    /// Closing the file releases the lock.
    _file: File,
}

/// Who holds the lock; the content of its file.
#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    pid: u32,
    run_id: String,
    since: String,
}

impl Lock {
    /// Takes the lock of a state folder, or says who has it.
    pub(super) fn take(state_dir: &Path, run_id: &str) -> Result<Self> {
        let path = state_dir.join("lock");
        // Not truncated: until it is locked the content is somebody else's.
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| disk(&path, "opened", error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(taken(&file)),
            Err(TryLockError::Error(error)) => {
                return Err(disk(&path, "locked", error).hint("set `state.path` to a folder on a disk that has file locks"));
            }
        }
        let since = Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true);
        let holder = Holder { pid: std::process::id(), run_id: run_id.to_owned(), since };
        let written = file.set_len(0).and_then(|()| file.write_all(&serde_json::to_vec(&holder)?));
        written.map_err(|error| disk(&path, "written", error))?;
        Ok(Self { _file: file })
    }
}

fn taken(mut file: &File) -> Error {
    let mut text = String::new();
    // Nothing is there yet if it was locked this very moment.
    let holder = file.read_to_string(&mut text).ok().and_then(|_| serde_json::from_str::<Holder>(&text).ok());
    let message = "another run works on this pipeline";
    match holder {
        Some(holder) => Error::failed(format!("{message}: {holder}"))
            .hint(format!("wait for it to end, or stop it with `kill {}`; it can be carried on afterwards", holder.pid)),
        None => Error::failed(message).hint("wait for it to end"),
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "run `{}` (process {}) since {}", self.run_id, self.pid, self.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_the_first_is() {
        let state = tempfile::tempdir().expect("a folder");
        let first = Lock::take(state.path(), "run-1").expect("the lock");
        let error = Lock::take(state.path(), "run-2").expect_err("taken").to_string();
        let who = format!("another run works on this pipeline: run `run-1` (process {}) since 20", std::process::id());
        assert!(error.starts_with(&who), "{error}");
        drop(first);
        Lock::take(state.path(), "run-2").expect("free again");
    }
}
