//! One run at a time: an advisory lock on `<state>/lock`, which the system releases if the process dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use promptmill_core::{Error, ErrorKind, Result};

use super::holder::{Holder, State};
use super::trouble::disk;

/// A lock says who holds it a moment after it was taken: so long it is waited for at the most …
const NAMELESS_AT_MOST: Duration = Duration::from_millis(500);
/// … and looked at so often.
const LOOK: Duration = Duration::from_millis(10);

/// The lock, for as long as this lives.
#[derive(Debug)]
pub(super) struct Lock {
    /// Closing the files releases the locks: the lock's own, and the state folder, where it can be locked, which stays
    /// when somebody removes the lock's file.
    _files: (File, Option<File>),
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
        let folder = File::open(state_dir).ok();
        if folder.as_ref().is_some_and(|folder| matches!(folder.try_lock(), Err(TryLockError::WouldBlock))) {
            return Err(taken(&file));
        }
        let written = file.set_len(0).and_then(|()| file.write_all(&serde_json::to_vec(&Holder::me(run_id))?));
        written.map_err(|error| disk(&path, "written", error))?;
        Ok(Self { _files: (file, folder) })
    }
}

fn taken(file: &File) -> Error {
    // Nothing is there yet if it was locked this very moment.
    let until = Instant::now() + NAMELESS_AT_MOST;
    let holder = loop {
        let holder = holder(file);
        if holder.is_some() || Instant::now() > until {
            break holder;
        }
        std::thread::sleep(LOOK);
    };
    let message = "another run works on this pipeline";
    let Some(holder) = holder else { return Error::failed(message).of(ErrorKind::Locked).hint("wait for it to end") };
    let pid = holder.pid;
    let hint = match holder.state() {
        State::Runs => format!("wait for it to end, or stop it with `kill {pid}`; it can be carried on afterwards"),
        State::Suspended => {
            format!("it is suspended: let it go on with `kill -CONT {pid}`, or end it with `kill -KILL {pid}` and carry it on")
        }
        // Its number may be anybody's here.
        State::Gone | State::Unknown => "wait for it to end, or stop it where it runs; it can be carried on afterwards".to_owned(),
    };
    Error::failed(format!("{message}: {holder}")).of(ErrorKind::Locked).hint(hint)
}

/// Who holds a lock, as its file says.
fn holder(mut file: &File) -> Option<Holder> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_string(&mut text)).ok()?;
    serde_json::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_the_first_is() {
        let state = tempfile::tempdir().expect("a folder");
        let first = Lock::take(state.path(), "run-1").expect("the lock");
        let error = Lock::take(state.path(), "run-2").expect_err("taken").to_string();
        let who = format!("another run works on this pipeline: run `run-1` (process {}", std::process::id());
        assert!(error.starts_with(&who), "{error}");
        drop(first);
        Lock::take(state.path(), "run-2").expect("free again");
    }

    #[test]
    fn a_lock_is_held_whatever_becomes_of_its_file() {
        let state = tempfile::tempdir().expect("a folder");
        let path = state.path().join("lock");
        let taken = |content: &str| {
            std::fs::write(&path, content).expect("written");
            let Error::Failed(failure) = Lock::take(state.path(), "run-2").expect_err("taken") else { panic!("a failure") };
            (failure.message, failure.hint.expect("a hint"))
        };
        let first = Lock::take(state.path(), "run-1").expect("the lock");
        assert_eq!(taken("").0, "another run works on this pipeline");
        assert_eq!(taken("{\"pid\":").0, "another run works on this pipeline");
        let (message, hint) = taken(r#"{"pid":1,"run_id":"old","since":"2026-01-01T00:00:00Z"}"#);
        assert!(message.ends_with("run `old` (process 1) since 2026-01-01T00:00:00Z"), "{message}");
        assert!(!hint.contains("kill"), "the number may be anybody's: {hint}");
        std::fs::remove_file(&path).expect("removed");
        #[cfg(target_os = "linux")]
        Lock::take(state.path(), "run-2").expect_err("taken");
        drop(first);
        Lock::take(state.path(), "run-2").expect("free again");
    }
}
