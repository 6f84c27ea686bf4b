//! The footers of many files, looked at in parallel: which columns they have, and how many rows.

pub(crate) mod cache;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::Utc;
use datafusion::arrow::datatypes::{DataType, Schema, TimeUnit};
use datafusion::datasource::physical_plan::parquet::Int96Coercer;
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectMeta, ObjectStoreExt};
use parquet::arrow::parquet_to_arrow_schema;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::statistics::Statistics;

use self::cache::{Cache, Known};
use super::merge::{Shapes, plain};
use super::weight::{Dictionary, Weight, dictionaries};
use crate::meaning;
use crate::storage::{Folder, StoredFile, trusted};

/// Footers that are asked for at once of a store on the network.
const AT_ONCE: usize = 64;
/// So much is fetched for a footer: most are smaller, and files that are, are there whole.
const FOOTER_BYTES: usize = 64 << 10;

/// Dictionaries that are looked at; of files with more it is taken for granted that they have to be read page by page.
const LOOKED_AT: usize = 256;

/// What is said of a file that no reader here knows all types of.
pub(crate) const UNKNOWN_TYPE: &str = "a column is of a type that is not known here, such as a whole number of 128 bits";

/// What the footers of some files say together.
#[derive(Debug)]
pub(crate) struct Footers {
    pub(crate) shapes: Shapes,
    pub(crate) rows: u64,
    /// The places of files without any.
    pub(crate) empty: BTreeSet<usize>,
    pub(crate) weights: Weights,
}

/// How much the rows of some files weigh.
#[derive(Debug)]
pub(crate) struct Weights {
    /// All together.
    pub(crate) all: Weight,
    /// The places of files that may have to be read page by page.
    pub(crate) heavy: BTreeSet<usize>,
}

impl Default for Weights {
    fn default() -> Self {
        Self { all: Weight::LIGHT, heavy: BTreeSet::new() }
    }
}

impl Weights {
    fn add(&mut self, place: usize, weight: Weight) {
        self.all = self.all.and(weight);
        if weight.by_page {
            self.heavy.insert(place);
        }
    }
}

/// A file whose footer cannot be read.
#[derive(Debug)]
pub(crate) struct Unreadable {
    /// Its place in the list.
    pub(crate) place: usize,
    pub(crate) error: ParquetError,
}

/// What is known of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OfFile {
    /// Its place among the schemas.
    schema: usize,
    rows: u64,
    weight: Weight,
}

/// Looks into every file, but for those that the cache knows.
pub(crate) async fn read(folder: &Folder, files: &[ObjectMeta], cache: Option<Cache<'_>>) -> Result<Footers, Unreadable> {
    let now = Utc::now();
    let Known { mut schemas, files: mut known } = match &cache {
        Some(cache) => cache.load().await,
        None => Known::default(),
    };
    let keys = cache.map(|cache| cache.keys).unwrap_or_default();
    let mut found: Vec<Option<OfFile>> = (0..files.len()).map(|place| known.remove(keys.get(place)?)).collect();
    drop(known);
    let new: Vec<usize> = (0..files.len()).filter(|place| found[*place].is_none()).collect();
    if !new.is_empty() {
        let metas: Cow<'_, [ObjectMeta]> = match new.len() == files.len() {
            true => Cow::Borrowed(files),
            false => new.iter().map(|place| files[*place].clone()).collect(),
        };
        let read =
            read_all(folder, &metas, schemas).await.map_err(|unreadable| Unreadable { place: new[unreadable.place], ..unreadable })?;
        schemas = read.0;
        new.iter().zip(read.1).for_each(|(place, file)| found[*place] = Some(file));
    }
    let found: Vec<OfFile> = found.into_iter().flatten().collect();
    if let Some(cache) = cache.filter(|_| !new.is_empty()) {
        cache.save(files, &schemas, &found, now).await;
    }
    Ok(Footers::of(&schemas, &found))
}

impl Footers {
    fn of(schemas: &[Schema], files: &[OfFile]) -> Self {
        let mut footers = Self { shapes: Shapes::default(), rows: 0, empty: BTreeSet::new(), weights: Weights::default() };
        // The first file of each schema stands for the others.
        let mut seen = BTreeSet::new();
        for (place, file) in files.iter().enumerate() {
            let has_rows = file.rows > 0;
            if seen.insert((file.schema, has_rows)) {
                footers.shapes.add(&schemas[file.schema], place, has_rows);
            }
            footers.rows += file.rows;
            if !has_rows {
                footers.empty.insert(place);
            }
            footers.weights.add(place, file.weight);
        }
        footers
    }
}

/// Reads the footers of all these files: their schemas, besides those that are known, and what each has.
async fn read_all(folder: &Folder, files: &[ObjectMeta], schemas: Vec<Schema>) -> Result<(Vec<Schema>, Vec<OfFile>), Unreadable> {
    let none = OfFile { schema: 0, rows: 0, weight: Weight::LIGHT };
    let found = Mutex::new((schemas, vec![none; files.len()], Vec::new()));
    each(folder, files, |place, footer| {
        let schema = schema_of(footer)?;
        // The sum is there too, but not every writer has counted.
        let rows = footer.row_groups().iter().map(|group| group.num_rows().unsigned_abs()).sum();
        let (weight, dictionaries) = (Weight::of(footer, |_| true), dictionaries(footer));
        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
        let (schemas, files, looks) = &mut *found;
        let known = schemas.iter().position(|known| *known == schema);
        let schema = known.unwrap_or_else(|| {
            schemas.push(schema);
            schemas.len() - 1
        });
        files[place] = OfFile { schema, rows, weight };
        looks.extend(dictionaries.into_iter().map(|dictionary| (place, dictionary)));
        Ok(())
    })
    .await?;
    let (schemas, mut found, looks) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    look_at(folder, files, looks, &mut found).await;
    Ok((schemas, found))
}

/// How much the rows of some files weigh, where nothing else is to be known of them.
pub(crate) async fn weigh(folder: &Folder, files: &[ObjectMeta]) -> Result<Weights, Unreadable> {
    Ok(read(folder, files, None).await?.weights)
}

/// Takes a look at dictionaries whose texts may be long.
async fn look_at(folder: &Folder, files: &[ObjectMeta], mut looks: Vec<(usize, Dictionary)>, found: &mut [OfFile]) {
    for (place, _) in looks.drain(LOOKED_AT.min(looks.len())..) {
        found[place].weight.by_page = true;
    }
    let looking = futures::stream::iter(looks).map(|(place, dictionary)| async move {
        let bytes = folder.store().get_range(&files[place].location, dictionary.range.clone()).await;
        (place, bytes.map_or(Weight { by_page: true, ..Weight::LIGHT }, |bytes| dictionary.weight(bytes)))
    });
    let looked: Vec<(usize, Weight)> = looking.buffer_unordered(AT_ONCE).collect().await;
    looked.into_iter().for_each(|(place, weight)| found[place].weight = found[place].weight.and(weight));
}

/// The columns of a file.
fn schema_of(footer: &ParquetMetaData) -> Result<Schema> {
    Ok(meaning::columns_of(&stored_schema_of(footer)?, footer.file_metadata()))
}

/// The same as the file has them, without what they mean.
pub(crate) fn stored_schema_of(footer: &ParquetMetaData) -> Result<Schema> {
    let file = footer.file_metadata();
    // Types of Arrow that are younger than our reader of them make it panic.
    let read = AssertUnwindSafe(|| parquet_to_arrow_schema(file.schema_descr(), file.key_value_metadata()));
    let schema = catch_unwind(read).unwrap_or_else(|_| Err(ParquetError::General(UNKNOWN_TYPE.to_owned())))?;
    // Times of twelve bytes may be of any year, which nanoseconds are not.
    Ok(Int96Coercer::new(file.schema_descr(), &schema, &TimeUnit::Microsecond).coerce().unwrap_or(schema))
}

/// Does something with the footer of every file, several at a time; the error is that of the first file that has one.
async fn each(
    folder: &Folder,
    files: &[ObjectMeta],
    with: impl Fn(usize, &ParquetMetaData) -> Result<()> + Sync,
) -> Result<(), Unreadable> {
    if folder.local().is_some() {
        return on_disk(files, &with);
    }
    let footers = futures::stream::iter(files.iter().enumerate()).map(|(place, meta)| {
        let mut file = StoredFile { store: Arc::clone(folder.store()), path: meta.location.clone(), size: Some(meta.size) };
        let with = &with;
        async move {
            let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Skip).with_prefetch_hint(Some(FOOTER_BYTES));
            let read = reader.load_and_finish(&mut file, meta.size).await.and_then(trusted).and_then(|footer| with(place, &footer));
            read.map_err(|error| Unreadable { place, error })
        }
    });
    footers.buffer_unordered(AT_ONCE).try_collect().await
}

/// Files on the local disk are read by a few threads, one after the other: handing each to another thread would take longer
/// than reading it.
fn on_disk(files: &[ObjectMeta], with: &(impl Fn(usize, &ParquetMetaData) -> Result<()> + Sync)) -> Result<(), Unreadable> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(files.len().div_ceil(64)).max(1);
    let share = files.len().div_ceil(threads).max(1);
    let read_some = |first: usize, some: &[ObjectMeta]| {
        some.iter().enumerate().try_for_each(|(index, meta)| {
            let place = first + index;
            read_local(meta).and_then(|footer| with(place, &footer)).map_err(|error| Unreadable { place, error })
        })
    };
    std::thread::scope(|scope| {
        let shares = files.chunks(share).enumerate().map(|(index, some)| scope.spawn(move || read_some(index * share, some)));
        let shares: Vec<_> = shares.collect();
        // All are waited for before the first failure is told.
        let done: Vec<_> = shares.into_iter().map(|share| share.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect();
        done.into_iter().collect()
    })
}

fn read_local(meta: &ObjectMeta) -> Result<ParquetMetaData> {
    let path = local_path(meta);
    let file = File::open(&path)?;
    ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Skip).parse_and_finish(&file).and_then(trusted)
}

/// The path of a file on the local disk.
pub(super) fn local_path(meta: &ObjectMeta) -> String {
    if cfg!(windows) { meta.location.to_string() } else { format!("/{}", meta.location) }
}

/// What the statistics of a column say: its least and its greatest whole number or text, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) least: String,
    pub(crate) greatest: String,
}

/// The bounds of a column in every file that has it; `None` for a file that does not say.
pub(crate) async fn bounds(folder: &Folder, files: &[ObjectMeta], column: &str) -> Result<Vec<(usize, Option<Bounds>)>, Unreadable> {
    let found = Mutex::new(Vec::new());
    each(folder, files, |place, footer| {
        let columns = footer.file_metadata().schema_descr().columns();
        if let Some(index) = columns.iter().position(|found| found.path().parts() == [column.to_owned()]) {
            let of_file = bounds_of(footer, index);
            found.lock().unwrap_or_else(PoisonError::into_inner).push((place, of_file));
        }
        Ok(())
    })
    .await?;
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by_key(|(place, _)| *place);
    Ok(found)
}

/// The types of a column in those files where all its values are null, if it is so in all files where it has that type.
pub(crate) async fn types_without_values(folder: &Folder, files: &[ObjectMeta], column: &str) -> Result<Vec<DataType>, Unreadable> {
    let found: Mutex<Vec<(DataType, bool)>> = Mutex::default();
    each(folder, files, |_, footer| {
        let schema = schema_of(footer)?;
        let Ok(place) = schema.index_of(column) else { return Ok(()) };
        let data_type = plain(schema.field(place).data_type());
        let leaves = footer.file_metadata().schema_descr();
        let of_column = |leaf: &usize| leaves.get_column_root_idx(*leaf) == place;
        let groups = || footer.row_groups().iter().filter(|group| group.num_rows() > 0);
        let is_null = |group: &RowGroupMetaData, leaf: usize| {
            group.column(leaf).statistics().and_then(Statistics::null_count_opt) == Some(group.column(leaf).num_values().unsigned_abs())
        };
        let is_empty = (0..leaves.num_columns()).filter(of_column).all(|leaf| groups().all(|group| is_null(group, leaf)));
        if groups().next().is_some() {
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            match found.iter_mut().find(|(known, _)| *known == data_type) {
                Some((_, are_empty)) => *are_empty &= is_empty,
                None => found.push((data_type, is_empty)),
            }
        }
        Ok(())
    })
    .await?;
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(found.into_iter().filter(|(_, are_empty)| *are_empty).map(|(data_type, _)| data_type).collect())
}

fn bounds_of(footer: &ParquetMetaData, column: usize) -> Option<Bounds> {
    let (mut ints, mut texts): (Vec<i64>, Vec<String>) = (Vec::new(), Vec::new());
    for group in footer.row_groups().iter().filter(|group| group.num_rows() > 0) {
        match group.column(column).statistics()? {
            Statistics::Int32(found) => ints.extend([i64::from(*found.min_opt()?), i64::from(*found.max_opt()?)]),
            Statistics::Int64(found) => ints.extend([*found.min_opt()?, *found.max_opt()?]),
            Statistics::ByteArray(found) => {
                for value in [found.min_opt()?, found.max_opt()?] {
                    texts.push(value.as_utf8().ok()?.to_owned());
                }
            }
            _ => return None,
        }
    }
    match (ints.iter().min(), ints.iter().max()) {
        (Some(least), Some(greatest)) => Some(Bounds { least: least.to_string(), greatest: greatest.to_string() }),
        _ => Some(Bounds { least: texts.iter().min()?.clone(), greatest: texts.iter().max()?.clone() }),
    }
}
