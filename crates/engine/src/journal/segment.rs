//! Segments: sealed attempts as Parquet, one row an attempt, written once and read by any engine.
//!
//! The columns of the table `attempts` come first; `questions` and `reserved` follow for the journal's own
//! use. Which attempts become a segment is decided by [`super::seal`].

use std::io::Write;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, Decimal128Array, FixedSizeBinaryArray, FixedSizeBinaryBuilder, Float64Array, Int32Array, Int64Array, ListArray,
    ListBuilder, RecordBatch, StringArray, StringBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use futures::{Stream, TryStreamExt};
use parquet::arrow::ArrowWriter;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, RowSelection};
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::PageIndexPolicy;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use promptmill_core::{Attempt, Begun, CostSource, Error, ErrorKind, Fingerprint, Money, Result, Usage};

use super::LOST;
use super::trouble;
use crate::files::weight::Weight;
use crate::format;
use crate::storage::Folder;

/// How much response text becomes one record batch while a segment is written; keeps memory flat.
const BATCH_BYTES: usize = 1024 * 1024;

/// Rows of one record batch while a segment is read; fewer where responses are long.
const BATCH_ROWS: usize = 512;

static COLUMNS: LazyLock<(SchemaRef, SchemaRef)> = LazyLock::new(|| {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    let number = |name: &str| Field::new(name, DataType::Int64, true);
    let list = |name: &str, item| Field::new_list(name, Field::new_list_field(item, true), false);
    let mut fields = vec![
        text("attempt_id", false),
        text("run_id", false),
        text("model", false),
        text("provider", false),
        list("keys", DataType::Utf8),
        Field::new("started_at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
        Field::new("latency_ms", DataType::Float64, true),
        text("status", false),
        text("error", true),
        text("finish_reason", true),
        number("input_tokens"),
        number("cached_input_tokens"),
        number("output_tokens"),
        Field::new("cost_usd", DataType::Decimal128(18, 9), true),
        text("cost_source", true),
        Field::new("answered", DataType::Int32, false),
        text("raw_response", true),
    ];
    let attempts = Arc::new(Schema::new(fields.clone()));
    fields.push(list("questions", DataType::FixedSizeBinary(16)));
    fields.push(Field::new("reserved", DataType::Decimal128(18, 9), false));
    (attempts, Arc::new(Schema::new(fields)))
});

/// The columns of the table `attempts`.
pub fn attempts_schema() -> SchemaRef {
    Arc::clone(&COLUMNS.0)
}

/// The columns of a segment: those of `attempts` and the journal's own.
fn segment_schema() -> SchemaRef {
    Arc::clone(&COLUMNS.1)
}

/// Attempts as rows of a segment.
pub(super) fn to_batch(attempts: &[Attempt]) -> Result<RecordBatch> {
    let begun = || attempts.iter().map(|attempt| &attempt.begun);
    let tokens = |count: fn(Usage) -> u64| -> ArrayRef {
        let counts = attempts.iter().map(|attempt| attempt.usage.map(|usage| i64::try_from(count(usage)).unwrap_or(i64::MAX)));
        Arc::new(counts.collect::<Int64Array>())
    };
    let mut keys = ListBuilder::new(StringBuilder::new());
    let mut questions = ListBuilder::new(FixedSizeBinaryBuilder::new(16));
    for begun in begun() {
        begun.keys.iter().for_each(|key| keys.values().append_value(key));
        keys.append(true);
        begun.questions.iter().try_for_each(|question| questions.values().append_value(question.as_bytes()))?;
        questions.append(true);
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(begun().map(|begun| &begun.attempt_id))),
        Arc::new(StringArray::from_iter_values(begun().map(|begun| &begun.run_id))),
        Arc::new(StringArray::from_iter_values(begun().map(|begun| &begun.model))),
        Arc::new(StringArray::from_iter_values(begun().map(|begun| &begun.provider))),
        Arc::new(keys.finish()),
        Arc::new(TimestampMicrosecondArray::from_iter_values(begun().map(|begun| begun.started_at)).with_timezone("UTC")),
        // Of a lost attempt nobody knows how long it took, and averages are better without it.
        Arc::new(attempts.iter().map(|attempt| (attempt.status != LOST).then_some(attempt.latency_ms)).collect::<Float64Array>()),
        Arc::new(StringArray::from_iter_values(attempts.iter().map(|attempt| &attempt.status))),
        Arc::new(attempts.iter().map(|attempt| attempt.error.as_deref()).collect::<StringArray>()),
        Arc::new(attempts.iter().map(|attempt| attempt.finish_reason.as_deref()).collect::<StringArray>()),
        tokens(|usage| usage.input_tokens),
        tokens(|usage| usage.cached_input_tokens),
        tokens(|usage| usage.output_tokens),
        money(attempts.iter().map(|attempt| attempt.cost))?,
        Arc::new(attempts.iter().map(|attempt| attempt.cost_source.map(source_name)).collect::<StringArray>()),
        Arc::new(Int32Array::from_iter_values(attempts.iter().map(|attempt| i32::try_from(attempt.answered).unwrap_or(i32::MAX)))),
        Arc::new(attempts.iter().map(|attempt| attempt.raw_response.as_deref()).collect::<StringArray>()),
        Arc::new(questions.finish()),
        money(begun().map(|begun| Some(begun.reserved)))?,
    ];
    Ok(RecordBatch::try_new(segment_schema(), columns)?)
}

fn money(amounts: impl Iterator<Item = Option<Money>>) -> Result<ArrayRef> {
    let nano: Decimal128Array = amounts.map(|amount| amount.map(|amount| i128::from(amount.nano()))).collect();
    Ok(Arc::new(nano.with_precision_and_scale(18, 9)?))
}

fn source_name(source: CostSource) -> &'static str {
    match source {
        CostSource::Provider => "provider",
        CostSource::Price => "price",
    }
}

/// A segment that is being written, wherever its bytes go.
pub(super) struct Unfinished<W: Write + Send> {
    writer: ArrowWriter<W>,
    attempts: Vec<Attempt>,
    bytes: usize,
}

impl<W: Write + Send> Unfinished<W> {
    /// Starts a segment.
    pub(super) fn new(to: W) -> Result<Self, ParquetError> {
        let mut properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default()));
        // Hardly any value occurs twice here, and nobody searches by range: neither would pay.
        for column in ["attempt_id", "raw_response", "keys.list.item", "questions.list.item"] {
            properties = properties.set_column_dictionary_enabled(column.split('.').map(str::to_owned).collect::<Vec<_>>().into(), false);
        }
        for column in ["raw_response", "error"] {
            properties = properties.set_column_statistics_enabled(column.into(), EnabledStatistics::None);
        }
        properties = properties.set_key_value_metadata(Some(format::SEGMENT.metadata()));
        let writer = ArrowWriter::try_new(to, segment_schema(), Some(properties.build()))?;
        Ok(Self { writer, attempts: Vec::new(), bytes: 0 })
    }

    /// Adds an attempt.
    pub(super) fn push(&mut self, attempt: Attempt) -> Result<(), ParquetError> {
        self.bytes += attempt.raw_response.as_ref().map_or(0, String::len) + 1024;
        self.attempts.push(attempt);
        if self.bytes < BATCH_BYTES { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<(), ParquetError> {
        let batch = to_batch(&self.attempts).map_err(|error| ParquetError::External(Box::new(error)))?;
        self.attempts.clear();
        self.bytes = 0;
        self.writer.write(&batch)
    }

    /// Writes what is left and the end of the file.
    pub(super) fn finish(mut self) -> Result<W, ParquetError> {
        self.flush()?;
        self.writer.into_inner()
    }
}

/// Reads these columns of a segment in a journal's folder, or all, in these rows, or all; `rows` in ascending order.
pub(super) async fn read(
    folder: &Folder,
    name: &str,
    columns: Option<&[&str]>,
    rows: Option<&[usize]>,
) -> Result<impl Stream<Item = Result<RecordBatch>> + use<>> {
    let shown = format!("{folder}/{name}");
    let failed = |error| trouble::segment(&shown, "read", error);
    let file = folder.file(name, None);
    // The page index is what lets a reader skip the pages of rows that nobody asked for.
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional).with_schema(segment_schema());
    let reader = match ParquetRecordBatchStreamBuilder::new_with_options(file, options).await {
        Ok(reader) => reader,
        Err(error) => {
            // One of a later version may have other columns, and says so.
            if let Ok(file) = ParquetRecordBatchStreamBuilder::new(folder.file(name, None)).await {
                format::SEGMENT.check_metadata(&shown, file.metadata().file_metadata().key_value_metadata())?;
            }
            return Err(failed(error));
        }
    };
    format::SEGMENT.check_metadata(&shown, reader.metadata().file_metadata().key_value_metadata())?;
    let mask = match columns {
        Some(columns) => ProjectionMask::columns(reader.parquet_schema(), columns.iter().copied()),
        None => ProjectionMask::all(),
    };
    let rows_at_once = Weight::of(reader.metadata(), |leaf| mask.leaf_included(leaf)).rows_at_once;
    let mut reader = reader.with_batch_size(rows_at_once.min(BATCH_ROWS)).with_projection(mask);
    if let Some(rows) = rows {
        let total = usize::try_from(reader.metadata().file_metadata().num_rows()).unwrap_or_default();
        reader = reader.with_row_selection(RowSelection::from_consecutive_ranges(rows.iter().map(|&row| row..row + 1), total));
    }
    let batches = reader.build().map_err(failed)?;
    Ok(batches.map_err(move |error| trouble::segment(&shown, "read", error)))
}

/// The columns of an attempt without its texts, which are most of its bytes.
pub(super) const WITHOUT_TEXTS: [&str; 16] = [
    "attempt_id",
    "run_id",
    "model",
    "provider",
    "keys",
    "started_at",
    "latency_ms",
    "status",
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "cost_usd",
    "cost_source",
    "answered",
    "questions",
    "reserved",
];

/// The attempts in rows of a segment.
pub(super) fn from_batch(batch: &RecordBatch) -> Result<Vec<Attempt>> {
    (0..batch.num_rows()).map(|row| attempt(batch, row)).collect()
}

fn attempt(batch: &RecordBatch, row: usize) -> Result<Attempt> {
    let text = |name| Ok::<_, Error>(column::<StringArray>(batch, name)?.value(row).to_owned());
    let optional = |name| {
        // Who reads only what an attempt cost leaves its texts out.
        if batch.column_by_name(name).is_none() {
            return Ok(None);
        }
        let texts = column::<StringArray>(batch, name)?;
        Ok::<_, Error>(texts.is_valid(row).then(|| texts.value(row).to_owned()))
    };
    let tokens = |name| {
        let counts = column::<Int64Array>(batch, name)?;
        Ok::<_, Error>(counts.is_valid(row).then(|| u64::try_from(counts.value(row)).unwrap_or_default()))
    };
    let usage = match (tokens("input_tokens")?, tokens("cached_input_tokens")?, tokens("output_tokens")?) {
        (Some(input_tokens), Some(cached_input_tokens), Some(output_tokens)) => {
            Some(Usage { input_tokens, cached_input_tokens, output_tokens, ..Usage::default() })
        }
        _ => None,
    };
    let latency = column::<Float64Array>(batch, "latency_ms")?;
    Ok(Attempt {
        begun: Begun {
            attempt_id: text("attempt_id")?,
            run_id: text("run_id")?,
            model: text("model")?,
            provider: text("provider")?,
            keys: keys(batch, row)?,
            questions: questions(batch, row)?,
            started_at: column::<TimestampMicrosecondArray>(batch, "started_at")?.value(row),
            reserved: amount(batch, "reserved", row)?.unwrap_or_default(),
        },
        latency_ms: if latency.is_valid(row) { latency.value(row) } else { 0.0 },
        status: text("status")?,
        error: optional("error")?,
        finish_reason: optional("finish_reason")?,
        usage,
        cost: amount(batch, "cost_usd", row)?,
        cost_source: optional("cost_source")?
            .map(|name| if name == source_name(CostSource::Provider) { CostSource::Provider } else { CostSource::Price }),
        answered: u32::try_from(column::<Int32Array>(batch, "answered")?.value(row)).unwrap_or_default(),
        raw_response: optional("raw_response")?,
    })
}

/// The columns that [`WITHOUT_TEXTS`] leaves out.
pub(super) const TEXTS: [&str; 3] = ["error", "finish_reason", "raw_response"];

/// Adds to an attempt the texts that stand in a row of [`TEXTS`].
pub(super) fn add_texts(attempt: &mut Attempt, batch: &RecordBatch, row: usize) -> Result<()> {
    let text = |name| {
        let texts = column::<StringArray>(batch, name)?;
        Ok::<_, Error>(texts.is_valid(row).then(|| texts.value(row).to_owned()))
    };
    (attempt.error, attempt.finish_reason, attempt.raw_response) = (text("error")?, text("finish_reason")?, text("raw_response")?);
    Ok(())
}

/// What the attempts of a batch asked, without copies: of a whole journal they would be most of the work.
pub(super) struct Asked<'b> {
    keys: (&'b ListArray, &'b StringArray),
    questions: (&'b ListArray, &'b FixedSizeBinaryArray),
}

impl<'b> Asked<'b> {
    /// What a batch with the columns `keys` and `questions` asked.
    pub(super) fn of(batch: &'b RecordBatch) -> Result<Self> {
        let (keys, questions) = (column::<ListArray>(batch, "keys")?, column::<ListArray>(batch, "questions")?);
        let texts = keys.values().as_any().downcast_ref().ok_or_else(|| lacks("keys"))?;
        let bytes = questions.values().as_any().downcast_ref().ok_or_else(|| lacks("questions"))?;
        Ok(Self { keys: (keys, texts), questions: (questions, bytes) })
    }

    /// The keys of the attempt in a row, each with what was asked about it.
    pub(super) fn in_row(&self, row: usize) -> impl Iterator<Item = Result<(&'b str, Fingerprint)>> + use<'b> {
        let range = |list: &ListArray| list.value_offsets()[row] as usize..list.value_offsets()[row + 1] as usize;
        let ((keys, texts), (questions, bytes)) = (self.keys, self.questions);
        range(keys).zip(range(questions)).map(move |(key, question)| {
            let question = bytes.value(question).try_into().map_err(|_| lacks("questions"))?;
            Ok((texts.value(key), Fingerprint::from_bytes(question)))
        })
    }
}

/// Which model the attempt in a row asked.
pub(super) fn model(batch: &RecordBatch, row: usize) -> Result<&str> {
    Ok(column::<StringArray>(batch, "model")?.value(row))
}

/// How many rows it answered.
pub(super) fn answered(batch: &RecordBatch, row: usize) -> Result<i32> {
    Ok(column::<Int32Array>(batch, "answered")?.value(row))
}

/// How the attempt in a row ended.
pub(super) fn status(batch: &RecordBatch, row: usize) -> Result<&str> {
    Ok(column::<StringArray>(batch, "status")?.value(row))
}

/// The keys of the attempt in a row.
pub(super) fn keys(batch: &RecordBatch, row: usize) -> Result<Vec<String>> {
    let keys = column::<ListArray>(batch, "keys")?.value(row);
    let keys = keys.as_any().downcast_ref::<StringArray>().ok_or_else(|| lacks("keys"))?;
    Ok(keys.iter().flatten().map(str::to_owned).collect())
}

/// What was asked about each of them.
pub(super) fn questions(batch: &RecordBatch, row: usize) -> Result<Vec<Fingerprint>> {
    let questions = column::<ListArray>(batch, "questions")?.value(row);
    let questions = questions.as_any().downcast_ref::<FixedSizeBinaryArray>().ok_or_else(|| lacks("questions"))?;
    questions.iter().flatten().map(|bytes| bytes.try_into().map(Fingerprint::from_bytes).map_err(|_| lacks("questions"))).collect()
}

/// The money in a row.
pub(super) fn amount(batch: &RecordBatch, name: &'static str, row: usize) -> Result<Option<Money>> {
    let nano = column::<Decimal128Array>(batch, name)?;
    Ok(nano.is_valid(row).then(|| Money::from_nano(i64::try_from(nano.value(row)).unwrap_or(i64::MAX))))
}

fn column<'a, T: Array + 'static>(batch: &'a RecordBatch, name: &'static str) -> Result<&'a T> {
    batch.column_by_name(name).and_then(|column| column.as_any().downcast_ref()).ok_or_else(|| lacks(name))
}

fn lacks(column: &'static str) -> Error {
    Error::failed(format!("a journal segment has no usable column `{column}`"))
        .of(ErrorKind::State)
        .hint("run the version of promptmill that wrote it")
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;

    use super::super::samples::attempt;
    use super::*;
    use crate::format::golden;

    fn sample() -> Vec<Attempt> {
        let mut failed = attempt("a2", &["k2"]);
        failed.status = "timeout".into();
        failed.error = Some("nothing in 120 s".into());
        (failed.usage, failed.cost, failed.cost_source, failed.raw_response, failed.finish_reason) = (None, None, None, None, None);
        vec![attempt("a1", &["k1", "é"]), failed]
    }

    fn written() -> Vec<u8> {
        let mut file = Unfinished::new(Vec::new()).expect("a segment");
        sample().into_iter().for_each(|attempt| file.push(attempt).expect("an attempt"));
        file.finish().expect("a segment")
    }

    #[test]
    fn a_segment_is_written_as_ever() {
        let read = |bytes: &[u8]| {
            let options = ArrowReaderOptions::new().with_schema(segment_schema());
            let bytes = bytes::Bytes::copy_from_slice(bytes);
            let file = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, options);
            let batch = file.expect("a segment").build().expect("a reader").next().expect("a batch").expect("rows");
            from_batch(&batch).expect("attempts") == sample()
        };
        golden::check_parquet(format::SEGMENT, &written(), read);
    }

    #[tokio::test]
    async fn a_segment_of_a_later_version_is_refused() {
        let mut later = written();
        let at = later.windows(17).position(|bytes| bytes == b"promptmill.format").expect("its metadata");
        let at = at + later[at..].iter().position(|byte| *byte == b'1').expect("a version");
        later[at] = b'2';
        let folder = Folder::in_memory();
        folder.put("00000001.parquet", later).await.expect("written");
        let Err(error) = read(&folder, "00000001.parquet", None, None).await.map(|batches| batches.map_ok(|_| ())) else {
            panic!("it is read")
        };
        assert!(error.to_string().contains("00000001.parquet") && error.to_string().contains("later version"), "{error}");
    }
}
