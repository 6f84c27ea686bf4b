//! The bytes of a log: a header, then frames of length, checksum and one [`Entry`] as JSON.
//!
//! Pure functions over bytes. Files, and what is told to the user about them, are left to [`super::log`].
//!
//! A crash can leave any part of the last write unfinished, and with a power cut the parts need not fail in
//! order. What has once been durable, however, must be there. So every write starts with an
//! [`Entry::Durable`] frame, which says that all bytes before it had reached the disk: a bad frame with such a
//! mark somewhere behind it is damage, a bad frame without one is the torn end of a write that nobody was
//! told had succeeded.

use std::borrow::Cow;
use std::io::{self, Read};
use std::ops::Range;

use promptmill_core::{Attempt, Begun, Error, Result};
use serde::{Deserialize, Serialize};

/// The first line of every log. The number changes when an older promptmill could misread what follows.
pub(super) const HEADER: &[u8] = b"promptmill journal 1\n";

/// Every header starts like this, whatever the version.
const MAGIC: &[u8] = b"promptmill journal ";

/// Length and checksum, both `u32` in little-endian order.
const PREFIX: usize = 8;

/// How the payloads start: a cheap test before a checksum is computed at every byte of a torn end.
const STARTS: [&[u8]; 4] = [b"\"Durable\"", b"{\"Begun\":", b"{\"Ended\":", b"{\"Note\":"];

/// One record of a log.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Entry<'a> {
    /// Every byte before this frame is durable.
    Durable,
    /// An attempt is about to be sent.
    Begun(Cow<'a, Begun>),
    /// An attempt has ended.
    Ended(Cow<'a, Attempt>),
    /// Nothing that counts: words that make a log unlike any other.
    Note(Cow<'a, str>),
}

/// The frame that opens every write.
pub(super) fn durable() -> Result<Vec<u8>> {
    encode(&Entry::Durable, 16)
}

/// The frame of an attempt that is about to be sent.
pub(super) fn begun(begun: &Begun) -> Result<Vec<u8>> {
    encode(&Entry::Begun(Cow::Borrowed(begun)), 256 + begun.keys.len() * 64)
}

/// The frame of an attempt that has ended.
pub(super) fn ended(attempt: &Attempt) -> Result<Vec<u8>> {
    let raw = attempt.raw_response.as_ref().map_or(0, String::len);
    let size = 512 + attempt.begun.keys.len() * 64 + raw + raw / 8;
    if attempt.latency_ms.is_finite() {
        return encode(&Entry::Ended(Cow::Borrowed(attempt)), size);
    }
    // JSON has no such number: it would be written as null, and a paid answer could not be read back.
    encode(&Entry::Ended(Cow::Owned(Attempt { latency_ms: 0.0, ..attempt.clone() })), size)
}

/// A frame that records nothing.
pub(super) fn note(words: &str) -> Result<Vec<u8>> {
    encode(&Entry::Note(Cow::Borrowed(words)), 64)
}

fn encode(entry: &Entry<'_>, size: usize) -> Result<Vec<u8>> {
    let failed = || Error::failed("an attempt could not be written as a journal entry");
    let mut frame = Vec::with_capacity(size);
    frame.extend([0; PREFIX]);
    serde_json::to_writer(&mut frame, entry).map_err(|error| failed().because(error))?;
    let length = u32::try_from(frame.len() - PREFIX).map_err(|_| failed().hint("a response must be smaller than 4 GiB"))?;
    let checksum = crc32fast::hash(&frame[PREFIX..]);
    frame[..4].copy_from_slice(&length.to_le_bytes());
    frame[4..PREFIX].copy_from_slice(&checksum.to_le_bytes());
    Ok(frame)
}

/// The entry in the payload of a frame.
pub(super) fn decode(payload: &[u8]) -> serde_json::Result<Entry<'static>> {
    serde_json::from_slice(payload)
}

/// The end of an attempt in a frame; `None` if there is no such thing in it.
pub(super) fn ended_in(frame: &[u8]) -> Option<Attempt> {
    match decode(&frame[frame_at(frame, 0)?]).ok()? {
        Entry::Ended(attempt) => Some(attempt.into_owned()),
        Entry::Durable | Entry::Begun(_) | Entry::Note(_) => None,
    }
}

/// What stands next in a log that is read from its start.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// A whole frame, which is so many bytes long; its payload is in the buffer.
    Frame(usize),
    /// Nothing: the log ends here.
    End,
    /// No whole frame.
    Bad,
}

/// Reads the header of a log; says whether it is one.
pub(super) fn read_header(log: &mut impl Read) -> io::Result<bool> {
    let mut header = Vec::with_capacity(HEADER.len());
    log.take(HEADER.len() as u64).read_to_end(&mut header)?;
    Ok(header == HEADER)
}

/// Reads the next frame of a log into `payload`, which is emptied first.
pub(super) fn read_next(log: &mut impl Read, payload: &mut Vec<u8>) -> io::Result<Next> {
    payload.clear();
    log.take(PREFIX as u64).read_to_end(payload)?;
    if payload.is_empty() {
        return Ok(Next::End);
    }
    let Some((length, checksum)) = payload.first_chunk::<PREFIX>().map(|prefix| {
        let [a, b, c, d, e, f, g, h] = *prefix;
        (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]))
    }) else {
        return Ok(Next::Bad);
    };
    payload.clear();
    log.take(u64::from(length)).read_to_end(payload)?;
    // As in a log that is read in one go, what does not start as an entry does is no frame, whatever its checksum.
    let is_whole = payload.len() as u64 == u64::from(length)
        && STARTS.iter().any(|start| payload.starts_with(start))
        && crc32fast::hash(payload) == checksum;
    Ok(if is_whole { Next::Frame(PREFIX + payload.len()) } else { Next::Bad })
}

/// Where the whole frames of a log are.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Frames {
    /// The payloads, in order, without the marks of what is durable.
    pub(super) payloads: Vec<Range<usize>>,
    /// The torn end: where it starts and how many bytes behind there belong to no frame.
    pub(super) torn: Option<(usize, usize)>,
}

/// Why a file cannot be read as a log.
#[derive(Debug, PartialEq)]
pub(super) enum Damage {
    /// It does not start as a log does.
    NotALog,
    /// It is a log of another version; this is its first line.
    Version(String),
    /// The frame at this offset had been durable and is no longer what it was.
    Frame(usize),
}

/// Finds the frames of a log.
pub(super) fn frames(bytes: &[u8]) -> Result<Frames, Damage> {
    let mut frames = Frames::default();
    if !bytes.starts_with(HEADER) {
        return headless(bytes).map(|()| Frames { torn: Some((0, bytes.len())), ..frames });
    }
    let mut at = HEADER.len();
    while at < bytes.len() {
        match frame_at(bytes, at) {
            Some(payload) => {
                at = payload.end;
                if !is_mark(&bytes[payload.clone()]) {
                    frames.payloads.push(payload);
                } else if let Some((bad, _)) = frames.torn {
                    return Err(Damage::Frame(bad));
                }
            }
            None => {
                // Whole frames behind a hole in the last write are answers all the same.
                let next = (at + 1..bytes.len()).find(|&next| frame_at(bytes, next).is_some()).unwrap_or(bytes.len());
                frames.torn.get_or_insert((at, 0)).1 += next - at;
                at = next;
            }
        }
    }
    Ok(frames)
}

/// The payload of the frame that starts at `at`, if a whole one does.
fn frame_at(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let start = at.checked_add(PREFIX)?;
    let rest = bytes.get(start..)?;
    // Also keeps out a length of zero, whose checksum is zero: a file system may fill a torn end with zeros.
    if !STARTS.iter().any(|prefix| rest.starts_with(prefix)) {
        return None;
    }
    let number = |from: usize| bytes.get(from..from + 4)?.try_into().ok().map(u32::from_le_bytes);
    let payload = rest.get(..usize::try_from(number(at)?).ok()?)?;
    (crc32fast::hash(payload) == number(at + 4)?).then(|| start..start + payload.len())
}

fn is_mark(payload: &[u8]) -> bool {
    payload == STARTS[0]
}

/// A file without a whole header. If it was torn while it was made, before anything was written to it, it is a
/// log of nothing.
fn headless(bytes: &[u8]) -> Result<(), Damage> {
    // A file system may fill up with zeros what did not reach the disk.
    let written = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    if HEADER.starts_with(&bytes[..written]) {
        return Ok(());
    }
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let readable = line.starts_with(MAGIC) && line.len() < 64;
    Err(if readable { Damage::Version(String::from_utf8_lossy(line).into_owned()) } else { Damage::NotALog })
}

#[cfg(test)]
mod tests {
    use super::super::samples::{attempt, begun as sample_begun};
    use super::*;
    use crate::format::{Format, golden};

    /// A log of one write per list of frames.
    fn log(writes: &[&[Vec<u8>]]) -> Vec<u8> {
        let mut bytes = HEADER.to_vec();
        for write in writes {
            bytes.extend(durable().expect("a mark"));
            write.iter().for_each(|frame| bytes.extend(frame));
        }
        bytes
    }

    #[test]
    fn a_log_is_written_as_ever() {
        let begun = sample_begun("a1", &["k1", "k2"]);
        let (begun, ended) = (super::begun(&begun).expect("a frame"), frame("a1"));
        let written = log(&[&[begun], &[ended, note("words").expect("a frame")]]);
        let entries = |bytes: &[u8]| -> Vec<String> {
            let frames = frames(bytes).expect("a log");
            frames.payloads.iter().map(|payload| format!("{:?}", decode(&bytes[payload.clone()]).expect("an entry"))).collect()
        };
        let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let version = HEADER.strip_prefix(MAGIC).and_then(|rest| std::str::from_utf8(rest).ok()?.trim().parse().ok());
        let format = Format { name: "log", version: version.expect("a version") };
        golden::check_as(format, "log", &written, shown, |bytes| entries(bytes) == entries(&written));
    }

    fn frame(id: &str) -> Vec<u8> {
        ended(&attempt(id, &["k1", "k2"])).expect("a frame")
    }

    fn ids(bytes: &[u8]) -> Vec<String> {
        let id = |payload: Range<usize>| match decode(&bytes[payload]).expect("an entry") {
            Entry::Ended(attempt) => attempt.begun.attempt_id.clone(),
            other => panic!("{other:?}"),
        };
        frames(bytes).expect("a log").payloads.into_iter().map(id).collect()
    }

    #[test]
    fn entries_are_read_back() {
        let (begins, ends) = (sample_begun("a1", &["k"]), attempt("a1", &["k"]));
        let bytes = log(&[&[begun(&begins).expect("a frame")], &[ended(&ends).expect("a frame")]]);
        let found = frames(&bytes).expect("a log");
        let entries: Vec<_> = found.payloads.into_iter().map(|payload| decode(&bytes[payload]).expect("an entry")).collect();
        assert_eq!(entries, [Entry::Begun(Cow::Owned(begins)), Entry::Ended(Cow::Owned(ends))]);
        assert_eq!(found.torn, None);
    }

    #[test]
    fn a_tail_torn_anywhere_is_cut() {
        let whole = log(&[&[frame("a1")], &[frame("a2")]]);
        for length in 0..=whole.len() {
            let (first, second) = (log(&[&[frame("a1")]]).len(), whole.len());
            let expected: &[&str] = if length == second {
                &["a1", "a2"]
            } else if length >= first {
                &["a1"]
            } else {
                &[]
            };
            assert_eq!(ids(&whole[..length]), expected, "cut at {length}");
            // The disk may also have got the length of a write and not its content, or other content.
            for filler in [0_u8, b'{', 0xff] {
                let mut filled = whole[..length].to_vec();
                filled.resize(whole.len(), filler);
                if length >= HEADER.len() || filler == 0 {
                    assert_eq!(ids(&filled), expected, "filled with {filler:#x} from {length}");
                }
            }
        }
    }

    #[test]
    fn damage_before_a_durable_frame_is_found_wherever_it_is() {
        let whole = log(&[&[frame("a1")], &[frame("a2")], &[frame("a3")]]);
        let (second, third) = (log(&[&[frame("a1")]]).len(), log(&[&[frame("a1")], &[frame("a2")]]).len());
        for at in second..third {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x41;
            let Err(Damage::Frame(offset)) = frames(&damaged) else { panic!("damage at {at} went unseen") };
            assert!((second..=at).contains(&offset), "damage at {at} is blamed on {offset}");
        }
    }

    #[test]
    fn a_hole_in_the_last_write_leaves_what_stands_behind_it() {
        let mut bytes = log(&[&[frame("a1")], &[frame("a2"), frame("a3")]]);
        let at = log(&[&[frame("a1")], &[]]).len() + 40;
        bytes[at..at + 20].fill(0);
        assert_eq!(ids(&bytes), ["a1", "a3"]);
    }

    #[test]
    fn other_files_are_not_taken_for_logs() {
        assert_eq!(frames(b"PAR1"), Err(Damage::NotALog));
        assert_eq!(frames(b"promptmill journal 7\nxyz"), Err(Damage::Version("promptmill journal 7".into())));
    }

    #[test]
    fn a_log_read_frame_by_frame_is_the_log_read_in_one_go() {
        let whole = log(&[&[frame("a1")], &[frame("a2"), frame("a3")]]);
        let read = |mut bytes: &[u8]| {
            let (mut payload, mut ids) = (Vec::new(), Vec::new());
            assert!(read_header(&mut bytes).expect("memory"));
            loop {
                match read_next(&mut bytes, &mut payload).expect("memory") {
                    Next::Frame(_) if is_mark(&payload) => {}
                    Next::Frame(_) => match decode(&payload).expect("an entry") {
                        Entry::Ended(attempt) => ids.push(attempt.begun.attempt_id.clone()),
                        other => panic!("{other:?}"),
                    },
                    end => return (ids, end),
                }
            }
        };
        assert_eq!(read(&whole), (ids(&whole), Next::End));
        for at in HEADER.len()..whole.len() {
            let cut = read(&whole[..at]);
            assert!(cut.1 == Next::Bad || frames(&whole[..at]).expect("a log").torn.is_none(), "cut at {at}");
            let mut damaged = whole.clone();
            damaged[at] ^= 0x41;
            assert_eq!(read(&damaged).1, Next::Bad, "damaged at {at}");
        }
        assert!(!read_header(&mut b"promptmill".as_slice()).expect("memory"));
    }

    #[test]
    fn a_response_that_looks_like_a_frame_is_text() {
        let inner = frame("inner");
        let raw = String::from_utf8_lossy(&inner).into_owned();
        let outer = ended(&Attempt { raw_response: Some(raw), ..attempt("outer", &["k"]) }).expect("a frame");
        let whole = log(&[&[frame("a1")], &[outer]]);
        assert_eq!(ids(&whole), ["a1", "outer"]);
        assert_eq!(ids(&whole[..whole.len() - 1]), ["a1"]);
    }

    #[test]
    fn an_impossible_latency_does_not_cost_the_answer() {
        let attempt = Attempt { latency_ms: f64::NAN, ..attempt("a1", &["k"]) };
        assert_eq!(ids(&log(&[&[ended(&attempt).expect("a frame")]])), ["a1"]);
    }
}
