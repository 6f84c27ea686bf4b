//! Arrow files, as Feather and `write_ipc` make them, and streams of the same.

use std::io::SeekFrom;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ipc::reader::{FileReader, StreamReader};
use promptmill_core::Result;

use super::open::{Pieces, pieces};
use super::{Each, File, Said};

/// What stands at the beginning of an Arrow file; a stream begins otherwise.
const MAGIC: &[u8] = b"ARROW1";
/// The same of Feather's first version.
const FEATHER: &[u8] = b"FEA1";

enum Opened {
    File(FileReader<Box<dyn Pieces>>),
    Stream(StreamReader<Box<dyn Pieces>>),
}

/// Opens a file, for the columns of these names; `None` for all.
fn open(file: &File<'_>, columns: Option<&SchemaRef>) -> Result<Opened> {
    let damaged = |error: &dyn std::fmt::Display| {
        file.wrong(format!("cannot be read as Arrow: {error}")).hint("it is damaged, was not written to its end, or is no Arrow file")
    };
    let opened = || -> Result<Box<dyn Pieces>, std::io::Error> {
        let mut bytes = pieces(file)?;
        bytes.seek(SeekFrom::Start(0))?;
        Ok(bytes)
    };
    let mut start = [0; 6];
    let mut bytes = opened().map_err(|error| damaged(&error))?;
    bytes.read_exact(&mut start).map_err(|error| damaged(&error))?;
    if start.starts_with(FEATHER) {
        return Err(file.wrong("is of Feather's first version, which nobody writes any more").hint("write it anew, or as Parquet"));
    }
    let places = |schema: &SchemaRef| {
        columns.map(|columns| columns.fields().iter().filter_map(|field| schema.index_of(field.name()).ok()).collect::<Vec<usize>>())
    };
    let wrong = |error: ArrowError| damaged(&error);
    if start == MAGIC {
        let schema = FileReader::try_new(opened().map_err(|error| damaged(&error))?, None).map_err(wrong)?.schema();
        let reader = FileReader::try_new(opened().map_err(|error| damaged(&error))?, places(&schema)).map_err(wrong)?;
        return Ok(Opened::File(reader));
    }
    let schema = StreamReader::try_new(opened().map_err(|error| damaged(&error))?, None).map_err(wrong)?.schema();
    let reader = StreamReader::try_new(opened().map_err(|error| damaged(&error))?, places(&schema)).map_err(wrong)?;
    Ok(Opened::Stream(reader))
}

/// What a file says of its columns.
pub(super) fn look_into(file: &File<'_>) -> Result<Said> {
    // The first rows show whether this reader knows them: those of before Arrow 1.0 it does not.
    let none = SchemaRef::new(Schema::empty());
    let first = match open(file, Some(&none))? {
        Opened::File(mut reader) => reader.next(),
        Opened::Stream(mut reader) => reader.next(),
    };
    if let Some(Err(error)) = first {
        let hint = "it is damaged, or was written before Arrow 1.0: write it anew, or leave it out";
        return Err(file.wrong(format!("cannot be read as Arrow: {error}")).hint(hint));
    }
    let (schema, has_rows) = match open(file, None)? {
        Opened::File(reader) => (reader.schema(), reader.num_batches() > 0),
        // That is only known at its end.
        Opened::Stream(reader) => (reader.schema(), true),
    };
    Ok(Said { schema: Some(schema), has_rows, ..Said::default() })
}

/// Reads these columns of a file.
pub(super) fn read(file: &File<'_>, (columns, at_once): (&SchemaRef, usize), each: Each<'_>) -> Result<()> {
    let batches: Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>>> = match open(file, Some(columns))? {
        Opened::File(reader) => Box::new(reader),
        Opened::Stream(reader) => Box::new(reader),
    };
    let mut rows = 0;
    for batch in batches {
        let batch = batch.map_err(|error| file.wrong(format!("cannot be read as Arrow behind row {rows}: {error}")))?;
        rows += batch.num_rows();
        // One batch may be the whole file.
        for start in (0..batch.num_rows()).step_by(at_once) {
            if !each(batch.slice(start, at_once.min(batch.num_rows() - start)))? {
                return Ok(());
            }
        }
    }
    Ok(())
}
