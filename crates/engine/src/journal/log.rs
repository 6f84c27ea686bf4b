//! One log file: the open one that is written to, and closed ones that are read.
//!
//! When to write and when to begin a new log is decided by [`super::writer`]; the bytes are [`super::frame`]'s.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use promptmill_core::{Attempt, Error, ErrorKind as Kind, Result};

use super::Place;
use super::folder::Folder;
use super::frame::{self, Damage, Entry, Frames, Next};
use super::trouble::{FORSAKE, disk};

/// The log that is written to.
#[derive(Debug)]
pub(super) struct OpenLog {
    number: u64,
    path: PathBuf,
    file: File,
    length: u64,
}

impl OpenLog {
    /// Makes a log that starts with these frames. It is durable when this returns.
    pub(super) fn create<'a>(folder: &Folder, number: u64, carried: impl Iterator<Item = &'a Vec<u8>>) -> Result<Self> {
        let path = folder.log(number);
        // Never an existing file: whatever it holds, it was paid for.
        let opened = OpenOptions::new().write(true).create_new(true).open(&path);
        let file = opened.map_err(|error| disk(&path, "made", error))?;
        let mut log = Self { number, path, file, length: 0 };
        let mut head = frame::HEADER.to_vec();
        carried.for_each(|frame| head.extend(frame));
        log.append(&head)?;
        folder.sync()?;
        Ok(log)
    }

    /// Writes bytes at the end; they are durable when this returns.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.file.write_all(bytes).and_then(|()| self.file.sync_data());
        written.map_err(|error| disk(&self.path, "written", error))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Its number.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Its length in bytes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// A log on a file that was opened elsewhere.
    #[cfg(test)]
    pub(super) fn on(file: File, path: &Path) -> Self {
        Self { number: 1, path: path.to_owned(), file, length: 0 }
    }
}

/// A log that is read, or as much of one that somebody else is writing as there was.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    bytes: Vec<u8>,
    frames: Frames,
}

impl Log {
    /// Reads a log.
    pub(super) fn read(path: &Path) -> Result<Self> {
        Self::parse(path, fs::read(path).map_err(|error| disk(path, "read", error))?)
    }

    /// Takes what was read from `path` for a log.
    pub(super) fn parse(path: &Path, bytes: Vec<u8>) -> Result<Self> {
        let frames = frame::frames(&bytes).map_err(|damage| told(path, &damage))?;
        Ok(Self { path: path.to_owned(), bytes, frames })
    }

    /// The same log, if all of it is there. A log that another one follows, or that was closed, had been durable to
    /// its last byte: a torn end is damage there.
    pub(super) fn whole(self) -> Result<Self> {
        match self.frames.torn {
            None => Ok(self),
            Some((at, _)) => Err(told(&self.path, &Damage::Frame(at))),
        }
    }

    /// How many bytes its process had not finished to write when it died; nobody was told that it had.
    pub(super) fn torn(&self) -> usize {
        self.frames.torn.map_or(0, |(_, bytes)| bytes)
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What it records, in order.
    pub(super) fn entries(&self) -> impl Iterator<Item = Result<Entry<'static>>> {
        self.frames.payloads.iter().map(|payload| decode(&self.path, payload.start, &self.bytes[payload.clone()]))
    }
}

/// The end of an attempt that stands at a place in a log; `None` if the log has been sealed and has gone.
pub(super) fn read_at(path: &Path, place: Place) -> Result<Option<Attempt>> {
    let not_read = |error: io::Error| disk(path, "read", error);
    let mut file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(not_read)?,
    };
    let mut frame = vec![0; place.bytes as usize];
    file.seek(SeekFrom::Start(place.at)).and_then(|_| file.read_exact(&mut frame)).map_err(not_read)?;
    frame::ended_in(&frame).map(Some).ok_or_else(|| told(path, &Damage::Frame(place.at as usize)))
}

/// How much of a log is read at once.
const PIECE: usize = 256 * 1024;

/// What a log records, in order, read piece by piece: for a log that was closed, and so had been durable to its last
/// byte. Anything in it that is no whole frame is damage.
pub(super) fn closed_entries(path: &Path) -> Result<impl Iterator<Item = Result<Entry<'static>>> + use<>> {
    let path = path.to_owned();
    let not_read = |error: io::Error| disk(&path, "read", error);
    let mut log = BufReader::with_capacity(PIECE, File::open(&path).map_err(not_read)?);
    if !frame::read_header(&mut log).map_err(not_read)? {
        return Err(damage_of(&path, 0));
    }
    let (mut at, mut payload) = (frame::HEADER.len(), Vec::new());
    Ok(std::iter::from_fn(move || match frame::read_next(&mut log, &mut payload) {
        Ok(Next::Frame(length)) => {
            let start = at + length - payload.len();
            at += length;
            Some(decode(&path, start, &payload))
        }
        Ok(Next::End) => None,
        Ok(Next::Bad) => Some(Err(damage_of(&path, at))),
        Err(error) => Some(Err(disk(&path, "read", error))),
    }))
}

/// What is wrong with a closed log that has no whole frame at `at`: told by reading all of it.
fn damage_of(path: &Path, at: usize) -> Error {
    match Log::read(path).and_then(Log::whole) {
        Ok(_) => told(path, &Damage::Frame(at)),
        Err(error) => error,
    }
}

fn decode(path: &Path, at: usize, payload: &[u8]) -> Result<Entry<'static>> {
    frame::decode(payload).map_err(|error| {
        let message = format!("the journal entry at byte {at} of `{}` could not be read", path.display());
        Error::failed(message).of(Kind::State).hint("run the version of promptmill that wrote it").because(error)
    })
}

fn told(path: &Path, damage: &Damage) -> Error {
    let path = path.display();
    let error = match damage {
        Damage::Frame(offset) => {
            Error::failed(format!("the journal `{path}` is damaged at byte {offset}: the entry there does not match its checksum"))
                .hint(FORSAKE)
        }
        Damage::NotALog => Error::failed(format!("`{path}` is not a journal of promptmill, or its start is damaged")).hint(FORSAKE),
        Damage::Version(line) => {
            Error::failed(format!("`{path}` is a journal of another version: `{line}`")).hint("run the version of promptmill that wrote it")
        }
    };
    error.of(Kind::State)
}
