//! A few bytes for each row of a source, sorted: in memory while they are few, on the local disk when they are many, so
//! that memory does not grow with the rows.
//!
//! Records are taken in as they come. What goes beyond a bound is sorted and written to a file without a name in the
//! folder for temporary files, which the system takes away with the process, however that ends. Reading merges the
//! files ([`Sorted::iter`]); looking up one record ([`Sorted::each`]) costs about one small read in each
//! ([`file`]). Records at the same place keep the order in which they came. What they mean is left to others.

mod file;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::io;
use std::ops::ControlFlow;

use promptmill_core::{Error, ErrorKind, Result};
use tokio::runtime::{Handle, RuntimeFlavor};

use file::{Cursor, SortedFile};

/// Records that stay in memory, of 8 or 16 bytes each: jobs of up to a million rows need no file. In the tests of those who
/// use this a handful, so that they see files as well.
const IN_MEMORY: usize = if cfg!(test) { 4 } else { 1 << 20 };
/// So many files of about one size become one: whoever only writes writes each record a few times, however many there are.
const FILES_OF_A_SIZE: usize = 16;
/// For look-ups a file is kept apart only if it is so many times as long as all that came after it: they are few, then.
const RATIO: u64 = 4;

/// What is sorted.
pub(crate) trait Record: Copy + Send + Sync + 'static {
    /// Its length on disk.
    const BYTES: usize;

    /// Where it stands in the order. Spread evenly, as hashes are: look-ups rely on that to be quick, not to be right.
    fn place(&self) -> u64;

    /// Writes it to as many bytes as it has.
    fn put(&self, to: &mut [u8]);

    /// Reads what [`Record::put`] wrote.
    fn take(from: &[u8]) -> Self;
}

/// A hash.
impl Record for u64 {
    const BYTES: usize = 8;

    fn place(&self) -> u64 {
        *self
    }

    fn put(&self, to: &mut [u8]) {
        to.copy_from_slice(&self.to_le_bytes());
    }

    fn take(from: &[u8]) -> Self {
        Self::from_le_bytes(from.first_chunk().copied().unwrap_or_default())
    }
}

/// A longer one, by its first half; the rest comes with it.
impl Record for u128 {
    const BYTES: usize = 16;

    fn place(&self) -> u64 {
        (self >> 64) as u64
    }

    fn put(&self, to: &mut [u8]) {
        to.copy_from_slice(&self.to_le_bytes());
    }

    fn take(from: &[u8]) -> Self {
        Self::from_le_bytes(from.first_chunk().copied().unwrap_or_default())
    }
}

/// A hash with what is known of it.
impl Record for (u64, u64) {
    const BYTES: usize = 16;

    fn place(&self) -> u64 {
        self.0
    }

    fn put(&self, to: &mut [u8]) {
        self.0.put(&mut to[..8]);
        self.1.put(&mut to[8..]);
    }

    fn take(from: &[u8]) -> Self {
        (u64::take(from), u64::take(&from[8..]))
    }
}

/// A short hash with what is known of it.
impl Record for (u32, u32) {
    const BYTES: usize = 8;

    fn place(&self) -> u64 {
        u64::from(self.0) << 32
    }

    fn put(&self, to: &mut [u8]) {
        (u64::from(self.1) << 32 | u64::from(self.0)).put(to);
    }

    fn take(from: &[u8]) -> Self {
        let both = u64::take(from);
        (both as u32, (both >> 32) as u32)
    }
}

/// Sorted records.
#[derive(Debug)]
pub(crate) struct Sorted<R> {
    /// Those that came before, the oldest first.
    files: Vec<SortedFile<R>>,
    /// Those that came last; in the order in which they came until somebody wants to read.
    recent: Vec<R>,
    /// How many may be in memory.
    at_most: usize,
}

impl<R: Record> Default for Sorted<R> {
    fn default() -> Self {
        Self::with_at_most(IN_MEMORY)
    }
}

impl<R: Record> Sorted<R> {
    fn with_at_most(at_most: usize) -> Self {
        Self { files: Vec::new(), recent: Vec::new(), at_most }
    }

    /// Takes in a record.
    ///
    /// # Errors
    /// If there is no room for it in the folder for temporary files.
    pub(crate) fn push(&mut self, record: R) -> Result<()> {
        if self.recent.len() >= self.at_most {
            blocking(|| self.spill())?;
        }
        self.recent.push(record);
        Ok(())
    }

    /// How many records there are.
    pub(crate) fn len(&self) -> u64 {
        self.files.iter().map(SortedFile::len).sum::<u64>() + self.recent.len() as u64
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes what was taken in ready to be read, when more will come.
    ///
    /// # Errors
    /// As [`Sorted::push`] has them.
    pub(crate) fn settle(&mut self) -> Result<()> {
        self.recent.sort_by_key(R::place);
        // From the end, all files that are not much longer than what came after them.
        let (mut from, mut after) = (self.files.len(), 0);
        while let Some(file) = from.checked_sub(1).map(|last| &self.files[last])
            && (after == 0 || file.len() < after * RATIO)
        {
            after += file.len();
            from -= 1;
        }
        if from + 1 < self.files.len() { blocking(|| self.merge_files(from)) } else { Ok(()) }
    }

    /// Makes what was taken in ready to be read, when nothing more will come. Of each record, with the one behind it, it
    /// is asked whether it stays.
    ///
    /// # Errors
    /// As [`Sorted::push`] has them.
    pub(crate) fn finish(mut self, mut stays: impl FnMut(R, Option<R>) -> bool) -> Result<Self> {
        self.recent.sort_by_key(R::place);
        if self.files.is_empty() {
            let mut kept = 0;
            for at in 0..self.recent.len() {
                if stays(self.recent[at], self.recent.get(at + 1).copied()) {
                    self.recent[kept] = self.recent[at];
                    kept += 1;
                }
            }
            self.recent.truncate(kept);
            return Ok(self);
        }
        blocking(|| {
            let mut records = self.iter()?.peekable();
            let kept = std::iter::from_fn(|| {
                loop {
                    let record = match records.next()? {
                        Ok(record) => record,
                        error => return Some(error),
                    };
                    // What cannot be read behind it is told next.
                    let behind = records.peek().and_then(|behind| behind.as_ref().ok().copied());
                    if stays(record, behind) {
                        return Some(Ok(record));
                    }
                }
            });
            let file = SortedFile::write(kept)?;
            Ok(Self { files: vec![file], ..Self::with_at_most(self.at_most) })
        })
    }

    /// Visits the records at a place in the order in which they came, until `visit` has seen enough.
    ///
    /// # Errors
    /// If a temporary file cannot be read.
    pub(crate) fn each(&self, place: u64, mut visit: impl FnMut(R) -> ControlFlow<()>) -> Result<()> {
        for file in &self.files {
            if file.each(place, &mut visit).map_err(not_read)?.is_break() {
                return Ok(());
            }
        }
        let from = self.recent.partition_point(|record| record.place() < place);
        let here = self.recent[from..].iter().take_while(|record| record.place() == place);
        let _ = here.copied().try_for_each(visit);
        Ok(())
    }

    /// The last record at a place.
    ///
    /// # Errors
    /// If a temporary file cannot be read.
    pub(crate) fn last(&self, place: u64) -> Result<Option<R>> {
        let mut last = None;
        self.each(place, |record| {
            last = Some(record);
            ControlFlow::Continue(())
        })?;
        Ok(last)
    }

    /// All records, in order.
    ///
    /// # Errors
    /// If a temporary file cannot be read.
    pub(crate) fn iter(&self) -> Result<impl Iterator<Item = Result<R>> + '_> {
        Merged::new(self.files.iter().map(|file| Part::File(file.cursor())).chain([Part::Memory(self.recent.iter())]))
    }

    /// Writes what is in memory to a file.
    fn spill(&mut self) -> Result<()> {
        self.recent.sort_by_key(R::place);
        self.files.push(SortedFile::write(self.recent.iter().copied().map(Ok))?);
        self.recent.clear();
        // A file is as large as what is in memory, or so many times that, or so many times so many, …
        let mut size = self.at_most as u64;
        while self.files.len() >= FILES_OF_A_SIZE {
            let from = self.files.len() - FILES_OF_A_SIZE;
            if self.files[from..].iter().any(|file| file.len() > size) {
                break;
            }
            self.merge_files(from)?;
            size *= FILES_OF_A_SIZE as u64;
        }
        Ok(())
    }

    /// Makes one of the files from this one on.
    fn merge_files(&mut self, from: usize) -> Result<()> {
        let merged = SortedFile::write(Merged::new(self.files[from..].iter().map(|file| Part::File(file.cursor())))?)?;
        self.files.truncate(from);
        self.files.push(merged);
        Ok(())
    }
}

/// Records that come in order.
enum Part<'p, R> {
    Memory(std::slice::Iter<'p, R>),
    File(Cursor<'p, R>),
}

impl<R: Record> Part<'_, R> {
    fn next(&mut self) -> Result<Option<R>> {
        match self {
            Self::Memory(records) => Ok(records.next().copied()),
            Self::File(records) => records.next().map_err(not_read),
        }
    }
}

/// Several of them as one. Of records at the same place those of the part before come first.
struct Merged<'p, R> {
    parts: Vec<(Part<'p, R>, R)>,
    /// By the place of the next record of each part, and the part's number.
    next: BinaryHeap<Reverse<(u64, usize)>>,
}

impl<'p, R: Record> Merged<'p, R> {
    fn new(parts: impl Iterator<Item = Part<'p, R>>) -> Result<Self> {
        let mut merged = Self { parts: Vec::new(), next: BinaryHeap::new() };
        for mut part in parts {
            if let Some(first) = part.next()? {
                merged.next.push(Reverse((first.place(), merged.parts.len())));
                merged.parts.push((part, first));
            }
        }
        Ok(merged)
    }
}

impl<R: Record> Iterator for Merged<'_, R> {
    type Item = Result<R>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut first = self.next.peek_mut()?;
        let (part, record) = &mut self.parts[first.0.1];
        let here = *record;
        match part.next() {
            Ok(Some(behind)) => {
                *record = behind;
                first.0.0 = behind.place();
            }
            Ok(None) => drop(PeekMut::pop(first)),
            Err(error) => {
                PeekMut::pop(first);
                return Some(Err(error));
            }
        }
        Some(Ok(here))
    }
}

/// Does what keeps a disk busy for a while; where there are other threads, they take over what else this one had to do.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

fn not_written(error: io::Error) -> Error {
    let folder = std::env::temp_dir();
    Error::failed(format!("a temporary file in `{}` cannot be written", folder.display()))
        .of(ErrorKind::Storage)
        .hint("free some space there, 50 bytes for each row of the source, or name another folder with the variable `TMPDIR`")
        .because(error)
}

fn not_read(error: io::Error) -> Error {
    Error::failed(format!("a temporary file in `{}` cannot be read", std::env::temp_dir().display()))
        .of(ErrorKind::Storage)
        .hint("check the disk, or name another folder with the variable `TMPDIR`, and run again")
        .because(error)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Hashes of which some are the same, some next to each other and some at the ends.
    fn hash() -> impl Strategy<Value = u64> {
        prop_oneof![
            4 => any::<u64>(),
            2 => 0_u64..4,
            1 => Just(u64::MAX),
            1 => (0_u64..4).prop_map(|near| (1 << 50) - 2 + near),
            2 => (0_u64..3).prop_map(|bits| bits << 62),
        ]
    }

    fn all<R: Record>(sorted: &Sorted<R>) -> Vec<R> {
        sorted.iter().expect("reads").map(|record| record.expect("reads")).collect()
    }

    fn at<R: Record>(sorted: &Sorted<R>, place: u64) -> Vec<R> {
        let mut found = Vec::new();
        sorted
            .each(place, |record| {
                found.push(record);
                ControlFlow::Continue(())
            })
            .expect("reads");
        found
    }

    /// The model: a list that is sorted without changing the order of what stands at the same place.
    fn model<R: Record>(records: &[R]) -> Vec<R> {
        let mut records = records.to_vec();
        records.sort_by_key(R::place);
        records
    }

    fn is_like_the_model<R: Record + PartialEq + std::fmt::Debug>(sorted: &Sorted<R>, model: &[R], others: &[u64]) {
        assert_eq!(sorted.len(), model.len() as u64);
        assert_eq!(all(sorted), model);
        for place in model.iter().map(R::place).chain(others.iter().copied()) {
            let here: Vec<R> = model.iter().copied().filter(|record| record.place() == place).collect();
            assert_eq!(at(sorted, place), here, "at {place}");
            assert_eq!(sorted.last(place).expect("reads"), here.last().copied(), "at {place}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

        #[test]
        fn records_are_kept_in_order_wherever_they_are(
            records in prop::collection::vec((hash(), 0_u64..4), 0..300),
            others in prop::collection::vec(hash(), 0..8),
            at_most in 1_usize..40,
            settled in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        ) {
            let settles: Vec<usize> = settled.iter().map(|at| at.index(records.len() + 1)).collect();
            let mut sorted = Sorted::with_at_most(at_most);
            for (number, record) in records.iter().enumerate() {
                if settles.contains(&number) {
                    sorted.settle().expect("writes");
                    is_like_the_model(&sorted, &model(&records[..number]), &others);
                }
                sorted.push(*record).expect("writes");
            }
            sorted.settle().expect("writes");
            is_like_the_model(&sorted, &model(&records), &others);
        }

        #[test]
        fn the_last_word_counts(
            words in prop::collection::vec((hash(), 0_u64..4), 0..300),
            others in prop::collection::vec(hash(), 0..8),
            at_most in 1_usize..400,
        ) {
            let mut sorted = Sorted::with_at_most(at_most);
            words.iter().for_each(|word| sorted.push(*word).expect("writes"));
            let sorted = sorted.finish(|word, behind| word.1 != 1 && behind.is_none_or(|behind| behind.0 != word.0)).expect("writes");
            let mut last: std::collections::BTreeMap<u64, u64> = words.iter().copied().collect();
            last.retain(|_, word| *word != 1);
            is_like_the_model(&sorted, &last.into_iter().collect::<Vec<_>>(), &others);
        }

        #[test]
        fn short_and_long_records_are_sorted_alike(
            short in prop::collection::vec((prop_oneof![any::<u32>(), 0_u32..3, Just(u32::MAX)], any::<u32>()), 0..200),
            long in prop::collection::vec(any::<u128>(), 0..100),
            hashes in prop::collection::vec(hash(), 0..200),
            at_most in 1_usize..30,
        ) {
            fn check<R: Record + PartialEq + std::fmt::Debug>(records: &[R], at_most: usize) {
                let mut sorted = Sorted::with_at_most(at_most);
                records.iter().for_each(|record| sorted.push(*record).expect("writes"));
                sorted.settle().expect("writes");
                is_like_the_model(&sorted, &model(records), &[]);
                is_like_the_model(&sorted.finish(|_, _| true).expect("writes"), &model(records), &[]);
            }
            check(&short, at_most);
            check(&long, at_most);
            check(&hashes, at_most);
        }
    }

    /// More than one window, line of the table and piece; and so many records at one place that guesses lead nowhere.
    #[test]
    fn many_records_are_found_in_a_large_file() {
        let spread = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let crowd = spread(7);
        let mut sorted = Sorted::with_at_most(10_000);
        for number in 0..200_000 {
            sorted.push((spread(number), number)).expect("writes");
            if number % 4 == 0 {
                sorted.push((crowd, number)).expect("writes");
            }
        }
        let sorted = sorted.finish(|_, _| true).expect("writes");
        assert_eq!((sorted.files.len(), sorted.recent.len()), (1, 0));
        for number in (0..200_000).filter(|number| *number != 7) {
            assert_eq!(at(&sorted, spread(number)), [(spread(number), number)]);
        }
        for number in 200_000..210_000 {
            assert_eq!(at(&sorted, spread(number)), []);
        }
        let here = at(&sorted, crowd);
        assert_eq!(here.len(), 50_001);
        assert!(here.is_sorted_by_key(|(_, number)| *number), "in the order in which they came");
        let mut first = None;
        let seen = sorted.each(crowd, |record| {
            first = Some(record);
            ControlFlow::Break(())
        });
        seen.expect("reads");
        assert_eq!(first, Some((crowd, 0)));
    }

    #[test]
    fn a_full_disk_is_told_with_the_folder_and_the_way_out() {
        let error = not_written(io::Error::from(io::ErrorKind::StorageFull));
        assert!(error.to_string().contains(&format!("`{}`", std::env::temp_dir().display())), "{error}");
        let Error::Failed(failure) = error else { panic!("a failure") };
        assert!(failure.hint.expect("a hint").contains("`TMPDIR`"));
    }

    #[test]
    fn few_files_are_open_however_many_there_were() {
        let mut sorted = Sorted::with_at_most(1);
        for number in 0..5_000_u64 {
            sorted.push(number).expect("writes");
            assert!(sorted.files.len() < 4 * FILES_OF_A_SIZE);
        }
        sorted.settle().expect("writes");
        assert!(sorted.files.len() <= 6, "{sorted:?}");
        assert_eq!(all(&sorted), (0..5_000).collect::<Vec<_>>());
    }
}
