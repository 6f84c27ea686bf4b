//! The bytes of a page, read from its beginning to its end without ever having all of them in memory.

use std::io::{Error, ErrorKind, Read, Result};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use flate2::read::MultiGzDecoder;
use parquet::basic::Compression;
use parquet::file::reader::ChunkReader;

use super::header::varint;

/// Bytes that are read at once of what is stored.
const PIECE: u64 = 256 << 10;
/// As far back as everybody's Snappy looks for what repeats …
const WINDOW: usize = 64 << 10;
/// … and bytes that are there before what is behind them is let go.
const KEPT: usize = 1 << 20;

/// The bytes of a part of a file, as they are once they are unpacked; `None` if that cannot be done piece by piece.
pub(super) fn unpacked<R: ChunkReader + 'static>(stored: Stored<R>, codec: Compression) -> Result<Option<Box<dyn Read + Send>>> {
    Ok(Some(match codec {
        Compression::UNCOMPRESSED => Box::new(stored),
        Compression::SNAPPY => Box::new(Snappy::new(stored)?),
        Compression::GZIP(_) => Box::new(MultiGzDecoder::new(stored)),
        Compression::ZSTD(_) => Box::new(zstd::stream::read::Decoder::new(stored)?),
        _ => return Ok(None),
    }))
}

/// A part of a file.
pub(super) struct Stored<R> {
    file: Arc<R>,
    start: u64,
    /// What comes next, and where the part ends.
    at: u64,
    end: u64,
    piece: Bytes,
}

impl<R: ChunkReader> Stored<R> {
    pub(super) fn new(file: Arc<R>, start: u64, end: u64) -> Self {
        Self { file, start, at: start, end, piece: Bytes::new() }
    }

    /// What is there without waiting, after a wait if need be; empty at the end.
    fn ahead(&mut self) -> Result<&mut Bytes> {
        if self.piece.is_empty() && self.at < self.end {
            let length = PIECE.min(self.end - self.at);
            self.piece = self.file.get_bytes(self.at, length as usize).map_err(Error::other)?;
            self.at += length;
        }
        Ok(&mut self.piece)
    }

    fn byte(&mut self) -> Result<u8> {
        let piece = self.ahead()?;
        if piece.is_empty() { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(piece.get_u8()) }
    }

    /// A number of so many bytes, the least first.
    fn number(&mut self, bytes: u32) -> Result<u64> {
        (0..bytes).try_fold(0, |number, place| Ok(number | u64::from(self.byte()?) << (8 * place)))
    }

    fn begin_again(&mut self) {
        (self.at, self.piece) = (self.start, Bytes::new());
    }
}

impl<R: ChunkReader> Read for Stored<R> {
    fn read(&mut self, to: &mut [u8]) -> Result<usize> {
        let piece = self.ahead()?;
        let count = piece.len().min(to.len());
        piece.copy_to_slice(&mut to[..count]);
        Ok(count)
    }
}

/// A block of Snappy, which other decoders unpack as a whole: literals, and copies of what was unpacked before.
struct Snappy<R> {
    stored: Stored<R>,
    /// Bytes that it has, and those that have been unpacked.
    length: u64,
    done: u64,
    /// The last bytes that were unpacked, and how many of them have been handed on.
    bytes: Vec<u8>,
    read: usize,
    /// Bytes of the literal that is being taken over.
    literal: u64,
    /// Whether all is kept, as some writer copies from further back.
    keeps_all: bool,
}

impl<R: ChunkReader> Snappy<R> {
    fn new(mut stored: Stored<R>) -> Result<Self> {
        let length = length(&mut stored)?;
        Ok(Self { stored, length, done: 0, bytes: Vec::new(), read: 0, literal: 0, keeps_all: false })
    }

    /// Unpacks some more.
    fn unpack(&mut self) -> Result<()> {
        if self.literal == 0 {
            let tag = self.stored.byte()?;
            let short = u64::from(tag >> 2);
            let (length, offset) = match tag & 3 {
                0 => {
                    self.literal = 1 + if short < 60 { short } else { self.stored.number(short as u32 - 59)? };
                    return self.check(self.literal);
                }
                1 => (4 + (short & 7), u64::from(tag >> 5) << 8 | self.stored.number(1)?),
                2 => (1 + short, self.stored.number(2)?),
                _ => (1 + short, self.stored.number(4)?),
            };
            self.check(length)?;
            return self.copy(length as usize, offset);
        }
        let piece = self.stored.ahead()?;
        if piece.is_empty() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let taken = piece.split_to(self.literal.min(piece.len() as u64) as usize);
        self.bytes.extend_from_slice(&taken);
        self.literal -= taken.len() as u64;
        self.done += taken.len() as u64;
        Ok(())
    }

    /// Repeats bytes from further back, which may reach into what is being written.
    fn copy(&mut self, length: usize, offset: u64) -> Result<()> {
        if offset == 0 || offset > self.done {
            return Err(wrong());
        }
        if offset > self.bytes.len() as u64 {
            self.begin_again()?;
        }
        let start = self.bytes.len() - offset as usize;
        if offset >= length as u64 {
            self.bytes.extend_from_within(start..start + length);
        } else {
            (start..start + length).for_each(|from| self.bytes.push(self.bytes[from]));
        }
        self.done += length as u64;
        Ok(())
    }

    /// Unpacks what has been unpacked once more, and keeps it.
    fn begin_again(&mut self) -> Result<()> {
        let unread = self.bytes.len() - self.read;
        let (stored, piece, done) = (self.stored.at, self.stored.piece.clone(), self.done);
        self.stored.begin_again();
        length(&mut self.stored)?;
        (self.keeps_all, self.done) = (true, 0);
        self.bytes.clear();
        while self.done < done {
            self.unpack()?;
        }
        if self.done > done || self.literal > 0 {
            return Err(wrong());
        }
        (self.stored.at, self.stored.piece, self.read) = (stored, piece, self.bytes.len() - unread);
        Ok(())
    }

    /// Fails if so many bytes would be more than there are.
    fn check(&self, length: u64) -> Result<()> {
        if self.done + length > self.length { Err(wrong()) } else { Ok(()) }
    }
}

impl<R: ChunkReader> Read for Snappy<R> {
    fn read(&mut self, to: &mut [u8]) -> Result<usize> {
        while self.read == self.bytes.len() && self.done < self.length {
            if self.bytes.len() > KEPT && !self.keeps_all {
                self.bytes.drain(..self.bytes.len() - WINDOW);
            }
            self.read = self.bytes.len();
            while self.bytes.len() < self.read + WINDOW && self.done < self.length {
                self.unpack()?;
            }
        }
        let unread = &self.bytes[self.read..];
        let count = unread.len().min(to.len());
        to[..count].copy_from_slice(&unread[..count]);
        self.read += count;
        Ok(count)
    }
}

/// The number of bytes that a block has.
fn length<R: ChunkReader>(stored: &mut Stored<R>) -> Result<u64> {
    varint(35, || stored.byte())?.ok_or_else(wrong)
}

fn wrong() -> Error {
    Error::new(ErrorKind::InvalidData, "a page is no block of Snappy")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block of Snappy by hand: its length, and elements.
    fn snappy(length: u8, elements: &[&[u8]]) -> Vec<u8> {
        [&[length], elements.concat().as_slice()].concat()
    }

    fn read(block: Vec<u8>) -> Result<Vec<u8>> {
        let end = block.len() as u64;
        let mut bytes = Vec::new();
        Snappy::new(Stored::new(Arc::new(Bytes::from(block)), 0, end))?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn literals_and_copies_that_overlap_are_unpacked_and_damage_is_told() {
        let literal: &[u8] = &[2 << 2, b'a', b'b', b'c'];
        let back: &[u8] = &[(7 - 4) << 2 | 1, 2];
        assert_eq!(read(snappy(10, &[literal, back])).expect("a block"), b"abcbcbcbcb");
        let back: &[u8] = &[(3 - 1) << 2 | 2, 3, 0];
        assert_eq!(read(snappy(6, &[literal, back])).expect("a block"), b"abcabc");
        let back: &[u8] = &[(3 - 1) << 2 | 3, 3, 0, 0, 0];
        assert_eq!(read(snappy(6, &[literal, back])).expect("a block"), b"abcabc");
        for wrong in [
            snappy(6, &[literal]),
            snappy(2, &[literal]),
            snappy(6, &[literal, &[2 << 2 | 2, 9, 0]]),
            snappy(6, &[literal, &[2 << 2 | 2, 0, 0]]),
        ] {
            assert!(read(wrong.clone()).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_copied_from_far_back_is_found_once_more() {
        let long: Vec<u8> = (0..3_u64 << 20).map(|place| ((place * place) >> 7) as u8).collect();
        let length = |bytes: u32| bytes.to_le_bytes();
        let mut block = vec![];
        let mut total = long.len() as u64 + 64;
        while total > 0 {
            block.push((total & 0x7f) as u8 | if total > 0x7f { 0x80 } else { 0 });
            total >>= 7;
        }
        block.push(63 << 2);
        block.extend(length(long.len() as u32 - 1));
        block.extend(&long);
        block.push(63 << 2 | 3);
        block.extend(length(3_000_000));
        let from = long.len() - 3_000_000;
        assert_eq!(read(block).expect("a block"), [&long[..], &long[from..from + 64]].concat());
    }
}
