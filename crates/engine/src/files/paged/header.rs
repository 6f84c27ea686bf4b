//! What stands in front of a page: how long it is, and how it is written.
//!
//! The reader of Parquet keeps the headers of pages to itself. This is as much of Thrift's compact protocol as they need.

use std::io::{Error, ErrorKind, Read, Result};

/// Structs within structs that a header may have.
const MOST_DEPTH: usize = 8;
/// In place of the number of a struct that is within one of those that count.
const INSIDE: i64 = -1;

/// What a header says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    /// Its own length.
    pub(super) length: u64,
    /// The page behind it, as it is stored and as it is read.
    pub(super) stored: u64,
    pub(super) bytes: u64,
    pub(super) kind: Kind,
    /// Values, nulls included.
    pub(super) values: u64,
    /// How the values are written, and the levels in front of them.
    pub(super) encoding: i64,
    pub(super) level_encoding: i64,
    /// Bytes of levels that stand uncompressed in front of the values, of a page of version 2.
    pub(super) repetitions: u64,
    pub(super) definitions: u64,
    /// Whether the values of a page of version 2 are stored as they are.
    pub(super) is_plain: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    DataV2,
    Dictionary,
    #[default]
    Other,
}

impl Header {
    /// Reads a header.
    pub(super) fn read(input: &mut impl Read) -> Result<Self> {
        let mut header = Self::default();
        let mut thrift = Thrift { input, read: 0 };
        let mut see = |of: i64, field: i64, value: i64| {
            let size = value.unsigned_abs();
            match (of, field) {
                (0, 1) => {
                    header.kind = match value {
                        0 => Kind::Data,
                        2 => Kind::Dictionary,
                        3 => Kind::DataV2,
                        _ => Kind::Other,
                    }
                }
                (0, 2) => header.bytes = size,
                (0, 3) => header.stored = size,
                (5 | 7 | 8, 1) => header.values = size,
                (5 | 7, 2) | (8, 4) => header.encoding = value,
                (5, 3) => header.level_encoding = value,
                (8, 5) => header.definitions = size,
                (8, 6) => header.repetitions = size,
                (8, 7) => header.is_plain = value == 0,
                _ => {}
            }
        };
        thrift.fields(0, MOST_DEPTH, &mut see)?;
        header.length = thrift.read;
        Ok(header)
    }
}

/// Thrift's compact protocol.
struct Thrift<'i, R> {
    input: &'i mut R,
    read: u64,
}

impl<R: Read> Thrift<'_, R> {
    fn byte(&mut self) -> Result<u8> {
        let mut byte = [0];
        self.input.read_exact(&mut byte)?;
        self.read += 1;
        Ok(byte[0])
    }

    fn number(&mut self) -> Result<u64> {
        varint(u64::BITS, || self.byte())?.ok_or_else(wrong)
    }

    fn signed(&mut self) -> Result<i64> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// The fields of a struct, which is a field itself; `see` is told of every number in it.
    fn fields(&mut self, of: i64, depth: usize, see: &mut dyn FnMut(i64, i64, i64)) -> Result<()> {
        let mut field = 0;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Ok(());
            }
            field = if head >> 4 == 0 { self.signed()? } else { field + i64::from(head >> 4) };
            match head & 15 {
                kind @ (1 | 2) => see(of, field, i64::from(kind == 1)),
                4..=6 => {
                    let value = self.signed()?;
                    see(of, field, value);
                }
                // The statistics within a header have fields of the same numbers.
                12 if depth > 0 => self.fields(if of == 0 { field } else { INSIDE }, depth - 1, see)?,
                kind => self.skip(kind, depth)?,
            }
        }
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Result<()> {
        match kind {
            1..=3 => self.byte().map(drop),
            4..=6 => self.number().map(drop),
            7 => self.pass(8),
            8 => {
                let length = self.number()?;
                self.pass(length)
            }
            9 | 10 if depth > 0 => {
                let head = self.byte()?;
                let count = if head >> 4 == 15 { self.number()? } else { u64::from(head >> 4) };
                (0..count).try_for_each(|_| self.skip(head & 15, depth - 1))
            }
            12 if depth > 0 => self.fields(0, depth - 1, &mut |_, _, _| {}),
            _ => Err(wrong()),
        }
    }

    fn pass(&mut self, length: u64) -> Result<()> {
        let passed = std::io::copy(&mut self.input.by_ref().take(length), &mut std::io::sink())?;
        self.read += passed;
        if passed == length { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
    }
}

/// A number of seven bits a byte, the least first; `None` if it goes on behind so many bits.
pub(super) fn varint<E>(bits: u32, mut byte: impl FnMut() -> std::result::Result<u8, E>) -> std::result::Result<Option<u64>, E> {
    let mut number = 0;
    for shift in (0..bits).step_by(7) {
        let byte = byte()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

fn wrong() -> Error {
    Error::new(ErrorKind::InvalidData, "a page begins with no header")
}
