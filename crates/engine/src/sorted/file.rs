//! Sorted records in a temporary file, and finding some of them with about one read.
//!
//! A table in memory, of one size whatever the file's, says for the first bits of a place where its records start.
//! Between two starts the records are spread evenly, so a guess is hardly ever off by more than what is read at once.

use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::marker::PhantomData;
use std::ops::ControlFlow;

use promptmill_core::Result;

use super::{Record, not_written};

/// Bytes that are read at once to find a record …
const WINDOW: usize = 4 << 10;
/// … and to go through all of them.
const PIECE: usize = 64 << 10;
/// The first bits of a place, for which the table has a line each: 128 kB in all.
const BITS: u32 = 14;
/// Guesses by which a place is looked for before the middle is taken: many records at one place are not spread evenly.
const GUESSES: u32 = 3;

/// Records in a file, in order.
pub(super) struct SortedFile<R> {
    file: File,
    /// For each value of the first bits of a place, the number of the first record there; and how many there are.
    starts: Vec<u64>,
    of: PhantomData<R>,
}

impl<R> fmt::Debug for SortedFile<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SortedFile").field(&self.starts.last()).finish()
    }
}

fn first_bits(place: u64) -> usize {
    (place >> (u64::BITS - BITS)) as usize
}

impl<R: Record> SortedFile<R> {
    /// Writes records that come in order.
    pub(super) fn write(records: impl Iterator<Item = Result<R>>) -> Result<Self> {
        let mut file = BufWriter::with_capacity(PIECE, tempfile::tempfile().map_err(not_written)?);
        let mut starts = Vec::with_capacity((1 << BITS) + 1);
        let mut bytes = [0; WINDOW];
        let mut length = 0;
        for record in records {
            let record = record?;
            // Lines up to this place that are not there yet: nothing stands before it.
            starts.resize(starts.len().max(first_bits(record.place()) + 1), length);
            record.put(&mut bytes[..R::BYTES]);
            file.write_all(&bytes[..R::BYTES]).map_err(not_written)?;
            length += 1;
        }
        starts.resize((1 << BITS) + 1, length);
        let file = file.into_inner().map_err(|error| not_written(error.into_error()))?;
        Ok(Self { file, starts, of: PhantomData })
    }

    /// How many records there are.
    pub(super) fn len(&self) -> u64 {
        self.starts[1 << BITS]
    }

    /// Visits the records at a place in order, until `visit` has seen enough.
    pub(super) fn each(&self, place: u64, visit: &mut impl FnMut(R) -> ControlFlow<()>) -> io::Result<ControlFlow<()>> {
        let line = first_bits(place);
        let end = self.starts[line + 1];
        // What stands before `from` is before the place, what stands from `to` on is not; and the places around them.
        let (mut from, mut to) = (self.starts[line], end);
        let (mut low, mut high) = ((line as u128) << (u64::BITS - BITS), (line as u128 + 1) << (u64::BITS - BITS));
        let mut window = Window::<R>::new();
        let mut guesses = 0;
        let mut at = loop {
            let (between, most) = (u128::from(to - from), Window::<R>::RECORDS);
            if between == 0 {
                break from;
            }
            let guess = if guesses < GUESSES { (u128::from(place) - low) * between / (high - low).max(1) } else { between / 2 };
            guesses += 1;
            let start = (from + guess as u64).saturating_sub(most / 2).min(to.saturating_sub(most)).max(from);
            window.read(&self.file, start, most.min(to - start))?;
            let before = window.before(place);
            if before == 0 && start > from {
                (to, high) = (start, window.record(start).place().into());
            } else if start + before < to && before == window.records {
                (from, low) = (start + before, window.record(start + before - 1).place().into());
            } else {
                break start + before;
            }
        };
        while at < end {
            if !window.holds(at) {
                window.read(&self.file, at, Window::<R>::RECORDS.min(end - at))?;
            }
            let record = window.record(at);
            if record.place() != place {
                break;
            }
            if visit(record).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            at += 1;
        }
        Ok(ControlFlow::Continue(()))
    }

    /// All records, in order.
    pub(super) fn cursor(&self) -> Cursor<'_, R> {
        Cursor { file: self, read: 0, piece: Vec::new(), at: 0 }
    }
}

/// Some records of a file, read at once.
struct Window<R> {
    bytes: [u8; WINDOW],
    start: u64,
    records: u64,
    of: PhantomData<R>,
}

impl<R: Record> Window<R> {
    const RECORDS: u64 = (WINDOW / R::BYTES) as u64;

    fn new() -> Self {
        Self { bytes: [0; WINDOW], start: 0, records: 0, of: PhantomData }
    }

    fn read(&mut self, file: &File, start: u64, records: u64) -> io::Result<()> {
        (self.start, self.records) = (start, records);
        read_at(file, &mut self.bytes[..records as usize * R::BYTES], start * R::BYTES as u64)
    }

    fn holds(&self, at: u64) -> bool {
        (self.start..self.start + self.records).contains(&at)
    }

    fn record(&self, at: u64) -> R {
        let offset = (at - self.start) as usize * R::BYTES;
        R::take(&self.bytes[offset..offset + R::BYTES])
    }

    /// How many of them stand before a place.
    fn before(&self, place: u64) -> u64 {
        let (mut from, mut to) = (0, self.records);
        while from < to {
            let middle = (from + to) / 2;
            if self.record(self.start + middle).place() < place {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        from
    }
}

/// Goes through the records of a file.
pub(super) struct Cursor<'f, R> {
    file: &'f SortedFile<R>,
    /// How many have been read.
    read: u64,
    piece: Vec<u8>,
    at: usize,
}

impl<R: Record> Cursor<'_, R> {
    pub(super) fn next(&mut self) -> io::Result<Option<R>> {
        if self.at == self.piece.len() {
            let records = (self.file.len() - self.read).min((PIECE / R::BYTES) as u64);
            if records == 0 {
                return Ok(None);
            }
            self.piece.resize(records as usize * R::BYTES, 0);
            read_at(&self.file.file, &mut self.piece, self.read * R::BYTES as u64)?;
            (self.read, self.at) = (self.read + records, 0);
        }
        self.at += R::BYTES;
        Ok(Some(R::take(&self.piece[self.at - R::BYTES..self.at])))
    }
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

#[cfg(windows)]
fn read_at(file: &File, mut bytes: &mut [u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let read = std::os::windows::fs::FileExt::seek_read(file, bytes, at)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes = &mut bytes[read..];
        at += read as u64;
    }
    Ok(())
}
