//! Writes generated motions to a Parquet file.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::{fmt, io};

use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use super::{Motions, Options, schema};

/// Rows per row group in a file: small enough that a reader can split a file well.
const ROW_GROUP: usize = 10_000;

/// Writes motions to one Parquet file, batch by batch, and returns how many rows it has.
///
/// The file is written beside its place under another name and moved there when it is complete, so that
/// nobody reads half a file. Folders are not made.
///
/// # Errors
///
/// If the file cannot be created, written or moved.
pub fn write_parquet(path: &Path, options: &Options) -> Result<u64, WriteError> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let written = write_file(&partial, options).and_then(|rows| std::fs::rename(&partial, path).map(|()| rows).map_err(Cause::File));
    written.map_err(|cause| {
        // Best effort: the error that matters is already there.
        let _ = std::fs::remove_file(&partial);
        WriteError { path: path.to_owned(), cause }
    })
}

fn write_file(path: &Path, options: &Options) -> Result<u64, Cause> {
    // Columns in which nearly every value is different: a dictionary would be built and thrown away.
    let unlike = ["motion_id", "title", "body"];
    let properties = unlike
        .into_iter()
        .fold(WriterProperties::builder(), |builder, column| builder.set_column_dictionary_enabled(ColumnPath::from(column), false))
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP))
        .build();
    let file = File::create(path).map_err(Cause::File)?;
    let mut writer = ArrowWriter::try_new(file, schema(), Some(properties)).map_err(Cause::Parquet)?;
    let to = options.from.saturating_add(options.rows);
    let mut rows = 0;
    for batch in Motions::from(options).range_batches(options.from, to, ROW_GROUP) {
        writer.write(&batch).map_err(Cause::Parquet)?;
        rows += batch.num_rows() as u64;
    }
    writer.close().map_err(Cause::Parquet)?;
    Ok(rows)
}

/// A file of motions could not be written.
#[derive(Debug)]
pub struct WriteError {
    path: PathBuf,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    File(io::Error),
    Parquet(ParquetError),
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot write motions to {}", self.path.display())
    }
}

impl std::error::Error for WriteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.cause {
            Cause::File(error) => Some(error),
            Cause::Parquet(error) => Some(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::RecordBatch;
    use arrow::compute::concat_batches;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    fn whole(batches: impl Iterator<Item = RecordBatch>) -> RecordBatch {
        let batches: Vec<_> = batches.collect();
        concat_batches(&schema(), &batches).expect("one schema")
    }

    #[test]
    fn a_file_has_every_row_in_its_row_groups() {
        let path = std::env::temp_dir().join(format!("promptmill-motions-{}.parquet", std::process::id()));
        let options = Options { seed: 4, from: 30, rows: 12_345, blank_share: 0.01, marker: true };
        assert_eq!(write_parquet(&path, &options).expect("written"), 12_345);
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).expect("a file")).expect("Parquet");
        let groups: Vec<_> = reader.metadata().row_groups().iter().map(|group| group.num_rows()).collect();
        assert_eq!(groups, [10_000, 2_345]);
        let read = whole(reader.build().expect("a reader").map(|batch| batch.expect("a batch")));
        assert_eq!(read, whole(Motions::from(&options).range_batches(30, 12_375, 1_000)));
        std::fs::remove_file(&path).expect("removed");
    }

    #[test]
    fn an_error_names_the_file() {
        let path = Path::new("/nowhere/at/all.parquet");
        let error = write_parquet(path, &Options::default()).expect_err("no such folder");
        assert!(error.to_string().contains("/nowhere/at/all.parquet"));
        assert!(std::error::Error::source(&error).is_some());
    }
}
