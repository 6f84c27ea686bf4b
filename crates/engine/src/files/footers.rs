//! The footers of many files, looked at in parallel: which columns they have, and how many rows.

use std::collections::BTreeSet;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::datatypes::Schema;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectMeta;
use parquet::arrow::parquet_to_arrow_schema;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::statistics::Statistics;

use super::merge::Shapes;
use crate::meaning;
use crate::storage::{Folder, StoredFile};

/// Footers that are asked for at once of a store on the network.
const AT_ONCE: usize = 64;
/// So much is fetched for a footer: most are smaller, and files that are, are there whole.
const FOOTER_BYTES: usize = 64 << 10;

/// What is said of a file that no reader here knows all types of.
pub(crate) const UNKNOWN_TYPE: &str = "a column is of a type that is not known here, such as a whole number of 128 bits";

/// What the footers of some files say together.
#[derive(Debug, Default)]
pub(crate) struct Footers {
    pub(crate) shapes: Shapes,
    pub(crate) rows: u64,
    /// The places of files without any.
    pub(crate) empty: BTreeSet<usize>,
}

/// A file whose footer cannot be read.
#[derive(Debug)]
pub(crate) struct Unreadable {
    /// Its place in the list.
    pub(crate) place: usize,
    pub(crate) error: ParquetError,
}

/// Looks into every file.
pub(crate) async fn read(folder: &Folder, files: &[ObjectMeta]) -> Result<Footers, Unreadable> {
    let found = Mutex::new(Footers::default());
    each(folder, files, |place, footer| {
        let schema = schema_of(footer)?;
        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = footer.file_metadata().num_rows().unsigned_abs();
        found.shapes.add(&schema, place, rows > 0);
        found.rows += rows;
        if rows == 0 {
            found.empty.insert(place);
        }
        Ok(())
    })
    .await?;
    Ok(found.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// The columns of a file.
fn schema_of(footer: &ParquetMetaData) -> Result<Schema> {
    let file = footer.file_metadata();
    // Types of Arrow that are younger than our reader of them make it panic.
    let read = AssertUnwindSafe(|| parquet_to_arrow_schema(file.schema_descr(), file.key_value_metadata()));
    let schema = catch_unwind(read).unwrap_or_else(|_| Err(ParquetError::General(UNKNOWN_TYPE.to_owned())))?;
    Ok(meaning::columns_of(&schema, file))
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
            let read = reader.load_and_finish(&mut file, meta.size).await.and_then(|footer| with(place, &footer));
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
    ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Skip).parse_and_finish(&file)
}

/// The path of a file on the local disk.
fn local_path(meta: &ObjectMeta) -> String {
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
