//! The lane's board on disk: one small file for each lane, behind a file lock.
//!
//! Nothing here can stop a run: a board that cannot be read or written only means that this process goes alone.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use promptmill_core::Fingerprint;

use super::Gate;
use super::board::{BEAT, Board, Share};

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
    let file = BoardFile { path: folder.join(format!("{name}.json")), who: format!("{}-{}", std::process::id(), rand_suffix()) };
    let Some(part) = file.beat(None, 0) else { return };
    // What listens on this machine is restarted with other limits more often than it is met again.
    if let Some(memory) = part.memory.filter(|_| chosen || !is_loopback(identity.url)) {
        gate.lane().resume(&memory);
    }
    gate.take_part(&Share { memory: None, ..part });
    runtime.spawn(keep(Arc::downgrade(gate), file));
}

async fn keep(gate: Weak<Gate>, file: BoardFile) {
    let file = Arc::new(file);
    loop {
        tokio::time::sleep(Duration::from_secs_f64(BEAT)).await;
        let Some(gate) = gate.upgrade() else { break };
        let (memory, refused) = (gate.memory(), gate.reading().refused);
        let beating = Arc::clone(&file);
        // File locks block, if only for an instant.
        if let Ok(Some(part)) = tokio::task::spawn_blocking(move || beating.beat(Some(&memory), refused)).await {
            gate.take_part(&part);
        }
    }
}

#[derive(Debug)]
struct BoardFile {
    path: PathBuf,
    who: String,
}

impl BoardFile {
    fn beat(&self, memory: Option<&super::Memory>, refused: u64) -> Option<Share> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs_f64();
        let mut part = None;
        self.change(|board| part = Some(board.beat(&self.who, now, memory, refused)));
        part
    }

    fn change(&self, change: impl FnOnce(&mut Board)) -> Option<()> {
        std::fs::create_dir_all(self.path.parent()?).ok()?;
        let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&self.path).ok()?;
        file.lock().ok()?;
        let mut text = String::new();
        // Whoever was killed while writing has left half a board: an empty one is as good.
        let _ = file.read_to_string(&mut text);
        let mut board: Board = serde_json::from_str(&text).unwrap_or_default();
        change(&mut board);
        file.seek(SeekFrom::Start(0)).ok()?;
        file.set_len(0).ok()?;
        file.write_all(serde_json::to_string(&board).ok()?.as_bytes()).ok()
    }
}

impl Drop for BoardFile {
    fn drop(&mut self) {
        self.change(|board| board.leave(&self.who));
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

    #[test]
    fn boards_survive_garbage_and_keep_no_key() {
        let folder = std::env::temp_dir().join(format!("promptmill-board-{}", rand_suffix()));
        let path = folder.join("lane.json");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(&path, "{\"holders\": {\"a").expect("a file");
        let one = BoardFile { path: path.clone(), who: "one".to_owned() };
        let two = BoardFile { path, who: "two".to_owned() };
        assert_eq!(one.beat(None, 0).expect("a part").share, 1.0);
        assert_eq!(two.beat(None, 0).expect("a part").share, 0.5);
        drop(one);
        assert_eq!(two.beat(None, 0).expect("a part").share, 1.0);
        drop(two);
        std::fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn loopback_is_known() {
        assert!(is_loopback("http://127.0.0.1:9000/v1") && is_loopback("http://localhost:1/v1") && is_loopback("http://[::1]:8/v1"));
        assert!(!is_loopback("https://api.mistral.ai/v1"));
    }
}
