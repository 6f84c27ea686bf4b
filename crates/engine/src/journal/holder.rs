//! Who holds a lock, and what can be said from here about that process.
//!
//! A process number alone says little: containers on one machine number their processes anew, and so does a container
//! that is restarted in place; numbers are given again. So a lock also names the PID namespace, and when its process was
//! started. Whatever cannot be compared, because the lock was written elsewhere or by an older version, or because there is
//! no `/proc` here, is [`State::Unknown`].

use std::fmt;

use chrono::{SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use crate::format::{self, Version};

/// Who holds a lock; the content of its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Holder {
    #[serde(default)]
    pub(super) v: Version<{ format::LOCK.version }>,
    pub(super) run_id: String,
    /// The machine's name; empty in locks of older versions.
    #[serde(default)]
    pub(super) host: String,
    /// The machine since it was started, where that is known.
    #[serde(default)]
    pub(super) boot: Option<String>,
    /// Where the process number counts, if that is known.
    #[serde(default)]
    pub(super) pid_namespace: Option<String>,
    pub(super) pid: u32,
    /// When the process was started, in ticks since the machine was: tells it from others that got its number.
    #[serde(default)]
    pub(super) started: Option<u64>,
    pub(super) since: String,
    /// Counts up while the holder lives, on S3.
    #[serde(default)]
    pub(super) beat: u64,
    /// Whether the lock is free, on S3.
    #[serde(default)]
    pub(super) released: bool,
}

/// What a holder's process does, as far as that can be seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It is at work.
    Runs,
    /// Somebody has stopped it, with SIGSTOP or Ctrl-Z; it may go on at any time.
    Suspended,
    /// It has ended, whoever has its number now.
    Gone,
    /// It cannot be seen from here.
    Unknown,
}

impl Holder {
    /// This process, for a run.
    pub(super) fn me(run_id: &str) -> Self {
        let pid = std::process::id();
        Self {
            v: Version,
            run_id: run_id.to_owned(),
            host: host(),
            boot: boot(),
            pid_namespace: pid_namespace(),
            pid,
            started: pid_namespace().and_then(|_| Process::of(pid)).map(|process| process.started),
            since: Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true),
            beat: 0,
            released: false,
        }
    }

    /// What the holder's process does now.
    pub(super) fn state(&self) -> State {
        let is_here = self.boot.is_some() && self.boot == boot() && self.host == host();
        if !is_here || self.pid_namespace.is_none() || self.pid_namespace != pid_namespace() {
            return State::Unknown;
        }
        match (exists(self.pid), Process::of(self.pid), self.started) {
            (Some(false), _, _) => State::Gone,
            (_, Some(process), Some(started)) if process.started != started || process.is_over() => State::Gone,
            (_, Some(process), Some(_)) if process.is_stopped() => State::Suspended,
            (_, Some(_), Some(_)) => State::Runs,
            // Others' processes may be hidden in /proc.
            _ => State::Unknown,
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run_id, pid, host, since, .. } = self;
        match host.as_str() {
            "" => write!(f, "run `{run_id}` (process {pid}) since {since}"),
            host => write!(f, "run `{run_id}` (process {pid} on `{host}`) since {since}"),
        }
    }
}

/// What `/proc` says about a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    state: char,
    started: u64,
}

impl Process {
    fn of(pid: u32) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The fields behind the name, which stands in brackets and may hold some itself: the state is the third of all, the
    /// start the twenty-second.
    fn parse(stat: &str) -> Option<Self> {
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?.chars().next()?;
        Some(Self { state, started: fields.nth(18)?.parse().ok()? })
    }

    /// Ended, and nobody has asked how.
    fn is_over(self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }

    fn is_stopped(self) -> bool {
        matches!(self.state, 'T' | 't')
    }
}

/// Whether there is a process of this number, which the system says also about those that `/proc` hides; `None` if it does
/// not say.
#[cfg(unix)]
fn exists(pid: u32) -> Option<bool> {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).ok()?)?;
    match rustix::process::test_kill_process(pid) {
        Ok(()) | Err(rustix::io::Errno::PERM) => Some(true),
        Err(rustix::io::Errno::SRCH) => Some(false),
        Err(_) => None,
    }
}

#[cfg(not(unix))]
fn exists(_pid: u32) -> Option<bool> {
    None
}

fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| std::env::var("HOSTNAME").ok());
    name.map_or_else(|| "unknown".to_owned(), |name| name.trim().to_owned())
}

/// The identity of this machine since it was started; containers on it share it.
fn boot() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|id| id.trim().to_owned())
}

/// The PID namespace of this process, if `/proc` shows that one and not its parent's.
fn pid_namespace() -> Option<String> {
    let is_ours = std::fs::read_link("/proc/self").ok()?.to_str() == Some(&std::process::id().to_string());
    let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?;
    is_ours.then(|| namespace.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let stat = "123 (a (b) c) T 1 123 123 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 9 0 987654 1 2 3";
        assert_eq!(Process::parse(stat), Some(Process { state: 'T', started: 987_654 }));
        assert_eq!(Process::parse("123 (a) R 1 2"), None);
        assert_eq!(Process::parse(""), None);
    }

    #[test]
    fn a_lock_is_written_as_ever() {
        let holder = Holder {
            v: Version,
            run_id: "20260101T000000-00000000".into(),
            host: "host".into(),
            boot: Some("boot".into()),
            pid_namespace: Some("pid:[4026531836]".into()),
            pid: 7,
            started: Some(987_654),
            since: "2026-01-01T00:00:00Z".into(),
            beat: 3,
            released: true,
        };
        let written = serde_json::to_vec(&holder).expect("JSON");
        format::golden::check(format::LOCK, &written, |bytes| serde_json::from_slice::<Holder>(bytes).is_ok_and(|read| read == holder));
    }

    #[test]
    fn locks_of_older_versions_are_read_and_say_nothing_about_their_process() {
        let local = r#"{"pid":1,"run_id":"r","since":"2026-01-01T00:00:00Z"}"#;
        let holder: Holder = serde_json::from_str(local).expect("reads");
        assert_eq!(holder.to_string(), "run `r` (process 1) since 2026-01-01T00:00:00Z");
        assert_eq!(holder.state(), State::Unknown);
        let me = Holder::me("r");
        let remote = serde_json::json!({
            "run_id": "r", "host": me.host, "boot": me.boot, "pid": me.pid, "since": "", "beat": 7, "released": false
        });
        let holder: Holder = serde_json::from_value(remote).expect("reads");
        assert_eq!((holder.beat, holder.state()), (7, State::Unknown));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_is_gone_only_where_its_number_means_something() {
        let me = Holder::me("r");
        assert_eq!(me.state(), State::Runs);
        // Our number was somebody else's before.
        let reused = Holder { started: me.started.map(|started| started - 1), ..me.clone() };
        assert_eq!(reused.state(), State::Gone);
        // A container restarted in place: the same machine, name and number.
        let restarted = Holder { pid_namespace: Some("pid:[1]".to_owned()), ..reused };
        assert_eq!(restarted.state(), State::Unknown);
        // Another container, in which nobody here has that number.
        let mut child = std::process::Command::new("true").spawn().expect("starts");
        let ended = Holder { pid: child.id(), started: Process::of(child.id()).map(|process| process.started), ..me };
        assert!(ended.started.is_some());
        // Dead is dead also before somebody asks how it ended.
        while Process::of(child.id()).is_some_and(|process| !process.is_over()) {
            std::thread::yield_now();
        }
        assert_eq!(ended.state(), State::Gone);
        child.wait().expect("ends");
        assert_eq!(ended.state(), State::Gone);
        let elsewhere = [
            Holder { boot: Some("another".to_owned()), ..ended.clone() },
            Holder { boot: None, ..ended.clone() },
            Holder { host: "renamed".to_owned(), ..ended.clone() },
            Holder { pid_namespace: None, ..ended },
        ];
        for holder in elsewhere {
            assert_eq!(holder.state(), State::Unknown, "{holder:?}");
        }
    }
}
