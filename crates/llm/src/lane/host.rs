//! The lane's board on disk: one small file for each lane, behind a file lock.
//!
//! Nothing here can stop a run: a board that cannot be read or written only means that this process goes alone, and nobody
//! waits for a lock, or for a file system that does not answer.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak, mpsc};
use std::time::{Duration, SystemTime};

use promptmill_core::Fingerprint;

use super::Gate;
use super::board::{BEAT, Board, LEASE, Share};

/// The longest that anybody waits for the file system.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a lock is tried that somebody else has, and the time between: a board is locked for an instant only.
const TRIES: u32 = 10;
const BETWEEN: Duration = Duration::from_millis(3);
/// A board of this size is none.
const MOST_BYTES: u64 = 1 << 20;

/// Names the folder of the boards; empty: no boards.
const VARIABLE: &str = "PROMPTMILL_LANES";

/// What a lane is: everybody who has the same three shares it.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// The base URL.
    pub url: &'a str,
    /// The key itself; only its hash leaves this function.
    pub key: &'a str,
    /// The model, as the provider calls it.
    pub model: &'a str,
}

/// Joins the lane's board on this host, for as long as the gate lives.
pub fn join(gate: &Arc<Gate>, identity: Identity<'_>) {
    let Some((folder, chosen)) = folder() else { return };
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    let name = Fingerprint::of([identity.url.as_bytes(), identity.key.as_bytes(), identity.model.as_bytes()]);
    let file = BoardFile::new(folder.join(format!("{name}.json")));
    let part = file.beat(None, 0, 0);
    if let Some(part) = part {
        // What listens on this machine is restarted with other limits more often than it is met again.
        if let Some(memory) = part.memory.filter(|_| chosen || !is_loopback(identity.url)) {
            gate.lane().resume(&memory);
        }
        gate.take_part(&Share { memory: None, ..part });
    }
    runtime.spawn(keep(Arc::downgrade(gate), file, part));
}

async fn keep(gate: Weak<Gate>, file: BoardFile, mut last: Option<Share>) {
    let file = Arc::new(file);
    let mut missed = 0.0;
    while !file.is_stuck() {
        tokio::time::sleep(Duration::from_secs_f64(BEAT)).await;
        let Some(gate) = gate.upgrade() else { return };
        let (memory, reading) = (gate.memory(), gate.reading());
        let beating = Arc::clone(&file);
        // It may take a moment, in which nobody else should have to wait.
        match tokio::task::spawn_blocking(move || beating.beat(Some(&memory), reading.refused, reading.in_flight)).await {
            Ok(Some(part)) => {
                gate.take_part(&part);
                (last, missed) = (Some(part), 0.0);
            }
            _ => missed += BEAT,
        }
        // A board that nobody can use for so long tells nothing of the others any more.
        if (missed > LEASE || file.is_stuck())
            && let Some(part) = last.take()
        {
            gate.take_part(&Share { share: 1.0, leads: true, memory: None, ..part });
        }
    }
}

#[derive(Debug)]
struct BoardFile {
    path: PathBuf,
    who: String,
    /// The file system did not answer in time: it is not asked again.
    stuck: AtomicBool,
}

impl BoardFile {
    fn new(path: PathBuf) -> Self {
        Self { path, who: format!("{}-{}", std::process::id(), rand_suffix()), stuck: AtomicBool::new(false) }
    }

    fn is_stuck(&self) -> bool {
        self.stuck.load(Ordering::Relaxed)
    }

    /// Says that this process is there, and returns its part; `None` if the board cannot be used now.
    fn beat(&self, memory: Option<&super::Memory>, refused: u64, in_flight: usize) -> Option<Share> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs_f64();
        let (who, memory) = (self.who.clone(), memory.copied());
        self.change(move |board| board.beat(&who, now, memory.as_ref(), refused, in_flight))
    }

    /// Changes the board on a thread of its own, which is left alone if it takes too long: there is no other way out of a
    /// call to a file system that does not answer.
    fn change<T: Send + 'static>(&self, change: impl FnOnce(&mut Board) -> T + Send + 'static) -> Option<T> {
        if self.is_stuck() {
            return None;
        }
        let (done, outcome) = mpsc::sync_channel(1);
        let path = self.path.clone();
        std::thread::Builder::new().name("lane board".to_owned()).spawn(move || done.send(changed(&path, change))).ok()?;
        outcome.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            self.stuck.store(true, Ordering::Relaxed);
            None
        })
    }
}

/// Changes the board in a file; `None` if somebody else has it, or it cannot be read or written.
fn changed<T>(path: &Path, change: impl FnOnce(&mut Board) -> T) -> Option<T> {
    std::fs::create_dir_all(path.parent()?).ok()?;
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(path).ok()?;
    lock(&file)?;
    let mut text = String::new();
    // Whoever was killed while writing has left half a board: an empty one is as good.
    let _ = (&file).take(MOST_BYTES).read_to_string(&mut text);
    let mut board: Board = serde_json::from_str(&text).unwrap_or_default();
    let outcome = change(&mut board);
    file.seek(SeekFrom::Start(0)).ok()?;
    file.set_len(0).ok()?;
    file.write_all(serde_json::to_string(&board).ok()?.as_bytes()).ok()?;
    Some(outcome)
}

/// Locks a board, unless somebody has it for longer than a board is locked: he may have been stopped.
fn lock(file: &File) -> Option<()> {
    for _ in 0..TRIES {
        match file.try_lock() {
            Ok(()) => return Some(()),
            Err(TryLockError::WouldBlock) => std::thread::sleep(BETWEEN),
            Err(TryLockError::Error(_)) => return None,
        }
    }
    None
}

impl Drop for BoardFile {
    fn drop(&mut self) {
        let who = std::mem::take(&mut self.who);
        self.change(move |board| board.leave(&who));
    }
}

/// The folder of the boards, and whether it was chosen by the user.
fn folder() -> Option<(PathBuf, bool)> {
    if let Some(folder) = std::env::var_os(VARIABLE) {
        return (!folder.is_empty()).then(|| (folder.into(), true));
    }
    let state = std::env::var_os("XDG_STATE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    let state = state.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")))?;
    Some((state.join("promptmill/lanes"), false))
}

fn is_loopback(url: &str) -> bool {
    let host = reqwest::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    host == "localhost" || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Keeps apart two lanes of one process, and processes that got the same number.
fn rand_suffix() -> String {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos().to_le_bytes()[..8]);
    format!("{:x}", u64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> PathBuf {
        let folder = std::env::temp_dir().join(format!("promptmill-board-{}-{}", std::process::id(), rand_suffix()));
        std::fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    #[test]
    fn boards_survive_garbage_and_keep_no_key() {
        let folder = folder();
        let path = folder.join("lane.json");
        std::fs::write(&path, "{\"holders\": {\"a").expect("a file");
        let mut one = BoardFile::new(path.clone());
        let mut two = BoardFile::new(path);
        (one.who, two.who) = ("one".to_owned(), "two".to_owned());
        assert_eq!(one.beat(None, 0, 0).expect("a part").share, 1.0);
        assert_eq!(two.beat(None, 0, 0).expect("a part").share, 0.5);
        drop(one);
        assert_eq!(two.beat(None, 0, 0).expect("a part").share, 1.0);
        drop(two);
        std::fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn a_board_that_somebody_holds_is_done_without_and_used_again_later() {
        let folder = folder();
        let path = folder.join("lane.json");
        let file = BoardFile::new(path.clone());
        file.beat(None, 0, 0).expect("a part");
        let held = File::open(&path).expect("a file");
        held.lock().expect("locked");
        assert_eq!(file.beat(None, 0, 0), None);
        assert!(!file.is_stuck());
        drop(held);
        file.beat(None, 0, 0).expect("a part");
        std::fs::remove_dir_all(folder).expect("removed");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_system_that_does_not_answer_is_asked_once() {
        let folder = folder();
        let path = folder.join("lane.json");
        // Nobody ever writes into it, so that reading takes for ever.
        let made = std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo");
        assert!(made.success());
        let file = BoardFile::new(path);
        assert_eq!(file.beat(None, 0, 0), None);
        assert!(file.is_stuck());
        std::fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn a_board_that_cannot_be_is_done_without() {
        let folder = folder();
        std::fs::write(folder.join("file"), "").expect("a file");
        let file = BoardFile::new(folder.join("file/lanes/lane.json"));
        assert_eq!(file.beat(None, 0, 0), None);
        assert!(!file.is_stuck());
        std::fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn loopback_is_known() {
        assert!(is_loopback("http://127.0.0.1:9000/v1") && is_loopback("http://localhost:1/v1") && is_loopback("http://[::1]:8/v1"));
        assert!(!is_loopback("https://api.mistral.ai/v1"));
    }
}
