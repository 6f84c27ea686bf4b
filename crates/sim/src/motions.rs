//! Generated Dutch parliamentary motions, for tests, examples and measurements at any size.
//!
//! The texts have the shape of the official ones (heading, considerations, request, closing formula,
//! signers) and about their lengths, but the words, people and parties are invented. Motion `n` depends only
//! on the seed and on `n`: any range can be made alone, in any order and on several machines, and ten
//! million rows need no more memory than one batch.
//!
//! ```
//! use promptmill_sim::motions::Motions;
//!
//! let motion = Motions::new(7).motion(41);
//! assert!(motion.title.starts_with("Motie van ") || motion.title.starts_with("Gewijzigde motie van "));
//! let rows: usize = Motions::new(7).record_batches(2_500, 1_000).map(|batch| batch.num_rows()).sum();
//! assert_eq!(rows, 2_500);
//! ```

mod calendar;
mod compose;
mod draw;
mod people;
mod phrases;
mod terms;
mod topics;
mod write;

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Date32Builder, Int32Builder, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono::NaiveDate;

use self::compose::Row;
use self::draw::{Draw, Stream};
pub use self::write::{WriteError, write_parquet};

/// The largest batch: with it, the texts of one column stay far below the 2 GiB that 32-bit offsets reach.
pub const MAX_BATCH: usize = 65_536;

/// Which motions [`write_parquet`] writes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Another seed gives other motions.
    pub seed: u64,
    /// The number of the first motion.
    pub from: u64,
    /// How many motions.
    pub rows: u64,
    /// The share of motions without a usable body, from 0 to 1: half of them null, half empty or blank.
    pub blank_share: f64,
    /// Ends every body with a line `[[<motion_id>]]`, by which the simulated provider knows the row.
    pub marker: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { seed: 0, from: 0, rows: 1_000, blank_share: 0.0, marker: false }
    }
}

/// A source of generated motions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Motions {
    seed: u64,
    blank_share: f64,
    marker: bool,
}

/// One generated motion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Motion {
    /// Year, `Z` and the motion's number, such as `2024Z21456`; unique under one seed.
    pub motion_id: String,
    /// The official subject line: "Motie van het lid X over ...".
    pub title: String,
    /// The text; none or blank in a share of the rows, if asked for.
    pub body: Option<String>,
    /// The day it was put forward, in 2022 to 2025.
    pub date: NaiveDate,
    /// The surnames named in the title, `; ` between them.
    pub submitter: String,
    /// The parties of those members, each once, `; ` between them.
    pub party: String,
    /// The decision, such as `aangenomen` or `verworpen`; none for about a fifth.
    pub vote_result: Option<&'static str>,
}

/// The Arrow schema of the motions: the same columns as the collection of real ones has.
pub fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        Arc::new(Schema::new(vec![
            Field::new("motion_id", DataType::Utf8, false),
            Field::new("title", DataType::Utf8, true),
            Field::new("body", DataType::Utf8, true),
            Field::new("date", DataType::Date32, true),
            Field::new("year", DataType::Int32, true),
            Field::new("submitter", DataType::Utf8, true),
            Field::new("party", DataType::Utf8, true),
            Field::new("vote_result", DataType::Utf8, true),
            Field::new("source", DataType::Utf8, true),
        ]))
    });
    SCHEMA.clone()
}

impl Motions {
    /// Motions with a body each and without markers.
    pub fn new(seed: u64) -> Self {
        Self { seed, blank_share: 0.0, marker: false }
    }

    /// Leaves this share of the bodies, from 0 to 1, null or blank. The other rows stay as they are.
    pub fn with_blank_share(self, share: f64) -> Self {
        Self { blank_share: share, ..self }
    }

    /// Ends every body with a line `[[<motion_id>]]`.
    pub fn with_marker(self, marker: bool) -> Self {
        Self { marker, ..self }
    }

    /// Motion `n`.
    pub fn motion(&self, n: u64) -> Motion {
        let mut row = Row::default();
        let day = row.compose(self.seed, n, self.marker);
        Motion {
            body: match self.blank(n) {
                Some(blank) => blank.map(str::to_owned),
                None => Some(row.body),
            },
            motion_id: row.id,
            title: row.title,
            date: day.date,
            submitter: row.submitter,
            party: row.party,
            vote_result: row.vote_result,
        }
    }

    /// The motions from number `from` up to but not including number `to`.
    pub fn range(&self, from: u64, to: u64) -> impl Iterator<Item = Motion> + use<> {
        let motions = *self;
        (from..to).map(move |n| motions.motion(n))
    }

    /// The first `rows` motions in batches of `batch` rows, the last one shorter; see [`MAX_BATCH`].
    pub fn record_batches(&self, rows: u64, batch: usize) -> impl Iterator<Item = RecordBatch> + use<> {
        self.range_batches(0, rows, batch)
    }

    /// The motions of [`Motions::range`] in batches. This is the fast way: buffers are used again.
    pub fn range_batches(&self, from: u64, to: u64, batch: usize) -> impl Iterator<Item = RecordBatch> + use<> {
        let motions = *self;
        let batch = batch.clamp(1, MAX_BATCH);
        let mut row = Row::default();
        let mut next = from;
        std::iter::from_fn(move || {
            let end = to.min(next.saturating_add(batch as u64));
            let range = next..end;
            next = end;
            (!range.is_empty()).then(|| motions.batch(range, &mut row))
        })
    }

    fn batch(&self, range: std::ops::Range<u64>, row: &mut Row) -> RecordBatch {
        let rows = (range.end - range.start) as usize;
        let text = |bytes: usize| StringBuilder::with_capacity(rows, rows * bytes);
        let mut motion_id = text(12);
        let mut title = text(120);
        let mut body = text(1_400);
        let mut date = Date32Builder::with_capacity(rows);
        let mut year = Int32Builder::with_capacity(rows);
        let mut submitter = text(16);
        let mut party = text(16);
        let mut vote_result = text(12);
        let mut source = text(10);
        for n in range {
            let day = row.compose(self.seed, n, self.marker);
            motion_id.append_value(&row.id);
            title.append_value(&row.title);
            match self.blank(n) {
                Some(blank) => body.append_option(blank),
                None => body.append_value(&row.body),
            }
            date.append_value(day.days);
            year.append_value(day.year);
            submitter.append_value(&row.submitter);
            party.append_value(&row.party);
            vote_result.append_option(row.vote_result);
            source.append_value("generated");
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(motion_id.finish()),
            Arc::new(title.finish()),
            Arc::new(body.finish()),
            Arc::new(date.finish()),
            Arc::new(year.finish()),
            Arc::new(submitter.finish()),
            Arc::new(party.finish()),
            Arc::new(vote_result.finish()),
            Arc::new(source.finish()),
        ];
        RecordBatch::try_new(schema(), columns).expect("the columns are made after the schema")
    }

    /// For a row that is to have no usable body: what stands there instead.
    fn blank(&self, n: u64) -> Option<Option<&'static str>> {
        // A share that is no number is not above 0 either.
        if self.blank_share > 0.0 {
            let mut draw = Draw::new(self.seed, n, Stream::Blank);
            if draw.unit() < self.blank_share {
                return Some([None, None, Some(""), Some(" \n ")][draw.below(4)]);
            }
        }
        None
    }
}

impl From<&Options> for Motions {
    fn from(options: &Options) -> Self {
        Self { seed: options.seed, blank_share: options.blank_share, marker: options.marker }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};
    use std::fs::File;
    use std::path::Path;

    use arrow::array::{Array, AsArray};
    use arrow::compute::concat_batches;
    use arrow::datatypes::Int32Type;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use proptest::prelude::*;

    use super::*;

    const CLOSING: &str = "gaat over tot de orde van de dag";

    fn whole(batches: impl Iterator<Item = RecordBatch>) -> RecordBatch {
        let batches: Vec<_> = batches.collect();
        concat_batches(&schema(), &batches).expect("one schema")
    }

    fn check(motion: &Motion) {
        let body = motion.body.as_deref().expect("a body");
        let length = body.chars().count();
        assert!(compose::LENGTH.contains(&length), "{}: {length} characters", motion.motion_id);
        assert_eq!(body.matches(CLOSING).count(), 1, "{}", motion.motion_id);
        let parts = ["Vergaderjaar ", "\nNr. ", "MOTIE VAN ", "\nVoorgesteld ", "\nDe Kamer,\n"];
        for part in parts.into_iter().chain(["\nconstaterende dat ", "\noverwegende dat ", "\nverzoekt de regering "]) {
            assert!(body.contains(part), "{}: no {part:?}", motion.motion_id);
        }
        for text in [body, &motion.title] {
            assert!(!text.contains(['{', '}', '[', ']', '|']), "{}: a template is left", motion.motion_id);
        }
        assert!(motion.title.contains(" over "), "{}", motion.title);
        assert!(!motion.submitter.is_empty() && !motion.party.is_empty());
    }

    #[test]
    fn a_seed_is_for_ever() {
        let batch = whole(Motions::new(11).record_batches(300, 100));
        assert_eq!(batch, whole(Motions::new(11).record_batches(300, 7)), "whatever the batches");
        assert_ne!(batch, whole(Motions::new(12).record_batches(300, 100)));
        assert_eq!(batch.schema(), schema());
    }

    #[test]
    fn any_range_can_be_made_alone() {
        let motions = Motions::new(3).with_blank_share(0.1).with_marker(true);
        let batch = whole(motions.record_batches(400, 64));
        let part = whole(motions.range_batches(150, 290, 33));
        assert_eq!(part, batch.slice(150, 140));
        let body = batch.column_by_name("body").expect("a body").as_string::<i32>();
        let ids = batch.column_by_name("motion_id").expect("an id").as_string::<i32>();
        for (index, motion) in (150..290).zip(motions.range(150, 290)) {
            assert_eq!(motion.motion_id, ids.value(index));
            assert_eq!(motion.body.as_deref(), body.is_valid(index).then(|| body.value(index)));
        }
        assert_eq!(motions.range(5, 5).count() + motions.range_batches(9, 2, 10).count(), 0);
    }

    #[test]
    fn five_thousand_motions_have_shape_length_and_difference() {
        let mut ids = HashSet::new();
        let mut bodies = HashSet::new();
        let mut lengths = Vec::new();
        let mut votes: BTreeMap<_, usize> = BTreeMap::new();
        for motion in Motions::new(2024).range(0, 5_000) {
            check(&motion);
            let body = motion.body.expect("a body");
            lengths.push(body.chars().count());
            *votes.entry(motion.vote_result).or_default() += 1;
            assert!(ids.insert(motion.motion_id));
            // Without its heading, so that a number alone does not make the difference.
            let text = body.split_once("De Kamer,").expect("an opening").1.to_owned();
            assert!(bodies.insert(text), "twice the same text");
        }
        lengths.sort_unstable();
        let median = lengths[lengths.len() / 2];
        assert!((930..=1_400).contains(&median), "median {median}");
        assert!((2_100..2_900).contains(&votes[&Some("aangenomen")]), "{votes:?}");
        assert!((1_100..1_900).contains(&votes[&Some("verworpen")]), "{votes:?}");
        assert!((800..1_200).contains(&votes[&None]), "{votes:?}");
    }

    #[test]
    fn a_few_rows_are_awkward_as_in_life() {
        let motions: Vec<_> = Motions::new(5).range(0, 2_000).collect();
        let share = |test: &dyn Fn(&str) -> bool| motions.iter().filter(|motion| motion.body.as_deref().is_some_and(test)).count();
        assert!((20..200).contains(&share(&|body| body.contains('\u{a0}'))));
        assert!((10..120).contains(&share(&|body| body.contains("  \n"))));
        assert!((20..200).contains(&motions.iter().filter(|motion| motion.title.ends_with(' ')).count()));
    }

    #[test]
    fn options_change_only_what_they_name() {
        let plain: Vec<_> = Motions::new(9).range(0, 500).collect();
        let mut blank = 0;
        for (plain, motion) in plain.iter().zip(Motions::new(9).with_blank_share(0.2).range(0, 500)) {
            if motion.body.as_deref().is_none_or(|body| body.trim().is_empty()) {
                blank += 1;
                assert_eq!(Motion { body: plain.body.clone(), ..motion }, *plain);
            } else {
                assert_eq!(motion, *plain);
            }
        }
        assert!((60..140).contains(&blank), "{blank}");
        for (plain, motion) in plain.iter().zip(Motions::new(9).with_marker(true).range(0, 500)) {
            let body = plain.body.as_deref().expect("a body");
            assert_eq!(motion.body, Some(format!("{body}\n[[{}]]", motion.motion_id)));
            assert!(body.chars().count() + 20 <= *compose::LENGTH.end());
        }
    }

    #[test]
    fn shares_that_are_no_shares_do_no_harm() {
        for (share, expected) in [(f64::NAN, 0), (-1.0, 0), (0.0, 0), (1.0, 50), (9.0, 50), (f64::INFINITY, 50)] {
            let blank = Motions::new(1)
                .with_blank_share(share)
                .range(0, 50)
                .filter(|motion| motion.body.as_deref().is_none_or(|body| body.trim().is_empty()))
                .count();
            assert_eq!(blank, expected, "{share}");
        }
    }

    /// The shipped sample is what `make_sample` writes today; a change of the generator has to renew it.
    #[test]
    fn the_shipped_sample_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines/data/motions-sample.parquet");
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).expect("a sample")).expect("Parquet");
        let read = whole(reader.build().expect("a reader").map(|batch| batch.expect("a batch")));
        let motions = Motions::new(2024).with_blank_share(0.02);
        assert_eq!(read, whole(motions.record_batches(200, 200)));
        let body = read.column_by_name("body").expect("a body").as_string::<i32>();
        let blank = body.iter().filter(|body| body.is_none_or(|body| body.trim().is_empty())).count();
        assert!((3..=5).contains(&blank), "{blank} rows without a body");
        let year = read.column_by_name("year").expect("a year").as_primitive::<Int32Type>();
        let years: HashSet<_> = year.iter().flatten().collect();
        assert_eq!(years, HashSet::from([2022, 2023, 2024, 2025]));
        assert!(path.metadata().expect("a size").len() < 100_000);
    }

    proptest! {
        #[test]
        fn every_number_and_seed_gives_a_sound_motion(seed: u64, n: u64) {
            check(&Motions::new(seed).motion(n));
        }

        #[test]
        fn the_end_of_the_numbers_is_no_trouble(rows in 0_u64..40, batch in 0_usize..10) {
            let from = u64::MAX - 20;
            let made: usize = Motions::new(1)
                .range_batches(from, from.saturating_add(rows), batch)
                .map(|batch| batch.num_rows())
                .sum();
            prop_assert_eq!(made as u64, rows.min(20));
        }
    }
}
