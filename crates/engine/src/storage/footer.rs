//! What footers of Parquet files say that must not be trusted.
//!
//! The least and the greatest that writers note of fractions leave out what is no number, which SQL finds greater than all, and
//! Bloom filters know one of the two zeros: who goes by them leaves out rows. And old writers say that a dictionary begins at
//! byte 0, where there is none. The schema of Arrow that some writers put beside their own may be that of other columns, or make times
//! of numbers, where a tool has changed those and kept it. And some have not counted the rows of the file, but those of its row groups.

use std::panic::{AssertUnwindSafe, catch_unwind};

use datafusion::arrow::datatypes::{DataType, Schema};
use parquet::arrow::{ARROW_SCHEMA_META_KEY, parquet_to_arrow_schema};
use parquet::basic::{ConvertedType, LogicalType, Type};
use parquet::errors::Result;
use parquet::file::metadata::{ColumnChunkMetaData, FileMetaData, ParquetMetaData, ParquetMetaDataBuilder, RowGroupMetaData};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnDescriptor;

/// Whether a footer says something that must not be trusted.
pub(super) fn misleads(footer: &ParquetMetaData) -> bool {
    let columns = footer.file_metadata().schema_descr().columns();
    let mut chunks = footer.row_groups().iter().flat_map(RowGroupMetaData::columns);
    has_stale_schema(footer)
        || rows(footer) != footer.file_metadata().num_rows()
        || columns.iter().any(|column| is_fraction(column))
        || chunks.any(|chunk| chunk.dictionary_page_offset() == Some(0))
}

/// The footer without it, and with all else that is known: without the page index, readers would read whole column chunks.
pub(crate) fn trusted(footer: ParquetMetaData) -> Result<ParquetMetaData> {
    if !misleads(&footer) {
        return Ok(footer);
    }
    let file = with_rows_and_schema(&footer);
    let mut footer = footer.into_builder();
    let (pages, bounds) = (footer.take_offset_index(), footer.take_column_index());
    let groups = footer.take_row_groups();
    let bounds = bounds.map(|bounds| {
        let bounds_and_columns = bounds.into_iter().zip(&groups).map(|(bounds, group)| bounds.into_iter().zip(group.columns()));
        bounds_and_columns.map(|chunks| chunks.map(|(bounds, chunk)| trusted_bounds(bounds, chunk)).collect()).collect()
    });
    let groups = groups.into_iter().map(|group| {
        let columns = group.columns().iter().map(trusted_column).collect::<Result<_>>()?;
        group.into_builder().set_column_metadata(columns).build()
    });
    let footer = ParquetMetaDataBuilder::new(file).set_row_groups(groups.collect::<Result<_>>()?);
    Ok(footer.set_offset_index(pages).set_column_index(bounds).build())
}

/// Whether the schema of Arrow in a file does not fit its own, or makes times of plain numbers.
fn has_stale_schema(footer: &ParquetMetaData) -> bool {
    let file = footer.file_metadata();
    let has_one = file.key_value_metadata().is_some_and(|more| more.iter().any(|entry| entry.key == ARROW_SCHEMA_META_KEY));
    let fits = || catch_unwind(AssertUnwindSafe(|| parquet_to_arrow_schema(file.schema_descr(), file.key_value_metadata())));
    // What makes the reader panic is told by whoever reads the columns.
    has_one && fits().is_ok_and(|schema| schema.map_or(true, |schema| has_foreign_times(&schema, file)))
}

/// Whether some column is a time by a schema of Arrow, and a plain number by the file's own. One writer alone says of some times
/// nothing but that.
fn has_foreign_times(schema: &Schema, file: &FileMetaData) -> bool {
    let is_of_arrow = file.created_by().is_some_and(|writer| writer.starts_with("parquet-rs"));
    let mut leaves = Vec::new();
    schema.fields().iter().for_each(|field| add_leaves(field.data_type(), &mut leaves));
    let columns = file.schema_descr().columns();
    !is_of_arrow
        && leaves.len() == columns.len()
        && leaves.iter().zip(columns).any(|(leaf, column)| leaf.is_temporal() && is_number(leaf, column))
}

fn add_leaves(data_type: &DataType, to: &mut Vec<DataType>) {
    match data_type {
        DataType::Struct(fields) => fields.iter().for_each(|field| add_leaves(field.data_type(), to)),
        DataType::List(of) | DataType::LargeList(of) | DataType::FixedSizeList(of, _) | DataType::Map(of, _) => {
            add_leaves(of.data_type(), to);
        }
        DataType::Dictionary(_, values) => to.push(values.as_ref().clone()),
        other => to.push(other.clone()),
    }
}

/// Whether a column is a plain number by the file; Parquet has no type for durations, which are one.
fn is_number(leaf: &DataType, column: &ColumnDescriptor) -> bool {
    let is_plain = match (column.logical_type_ref(), column.converted_type()) {
        (Some(LogicalType::Integer { .. }), _) => true,
        (Some(_), _) => false,
        (None, ConvertedType::DATE | ConvertedType::TIME_MILLIS | ConvertedType::TIME_MICROS) => false,
        (None, ConvertedType::TIMESTAMP_MILLIS | ConvertedType::TIMESTAMP_MICROS) => false,
        (None, _) => true,
    };
    is_plain && matches!(column.physical_type(), Type::INT32 | Type::INT64) && !matches!(leaf, DataType::Duration(_))
}

/// Rows in all row groups.
fn rows(footer: &ParquetMetaData) -> i64 {
    footer.row_groups().iter().map(RowGroupMetaData::num_rows).sum()
}

/// What a footer says of its file, with the number of rows that its row groups have, and without a schema of Arrow that does not fit.
fn with_rows_and_schema(footer: &ParquetMetaData) -> FileMetaData {
    let file = footer.file_metadata();
    let mut more = file.key_value_metadata().cloned();
    if has_stale_schema(footer)
        && let Some(more) = &mut more
    {
        more.retain(|entry| entry.key != ARROW_SCHEMA_META_KEY);
    }
    let created_by = file.created_by().map(str::to_owned);
    FileMetaData::new(file.version(), rows(footer), created_by, more, file.schema_descr_ptr(), file.column_orders().cloned())
}

/// The least and the greatest value of each page of a chunk, where they can be gone by.
fn trusted_bounds(bounds: ColumnIndexMetaData, chunk: &ColumnChunkMetaData) -> ColumnIndexMetaData {
    if is_fraction(chunk.column_descr()) { ColumnIndexMetaData::NONE } else { bounds }
}

fn trusted_column(chunk: &ColumnChunkMetaData) -> Result<ColumnChunkMetaData> {
    let dictionary = chunk.dictionary_page_offset().filter(|offset| *offset > 0);
    let trusted = chunk.clone().into_builder().set_dictionary_page_offset(dictionary);
    if !is_fraction(chunk.column_descr()) {
        return trusted.build();
    }
    // How many are null is known all the same.
    let nulls = chunk.statistics().and_then(Statistics::null_count_opt);
    let trusted = match chunk.column_type() {
        _ if nulls.is_none() => trusted.clear_statistics(),
        Type::FLOAT => trusted.set_statistics(Statistics::float(None, None, None, nulls, false)),
        Type::DOUBLE => trusted.set_statistics(Statistics::double(None, None, None, nulls, false)),
        _ => trusted.set_statistics(Statistics::fixed_len_byte_array(None, None, None, nulls, false)),
    };
    let trusted = trusted.set_bloom_filter_offset(None);
    trusted.set_column_index_offset(None).set_column_index_length(None).build()
}

fn is_fraction(column: &ColumnDescriptor) -> bool {
    matches!(column.physical_type(), Type::FLOAT | Type::DOUBLE) || column.logical_type_ref() == Some(&LogicalType::Float16)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
    use datafusion::arrow::datatypes::{Field, TimeUnit};
    use parquet::arrow::{ArrowWriter, encode_arrow_schema};
    use parquet::file::metadata::{KeyValue, PageIndexPolicy, ParquetMetaDataReader};

    use super::*;

    #[test]
    fn pages_can_still_be_skipped_but_not_by_bounds_of_fractions() {
        let columns: [(&str, ArrayRef); 2] =
            [("x", Arc::new(Float64Array::from(vec![1.0, f64::NAN]))), ("n", Arc::new(Int64Array::from(vec![1, 2])))];
        let rows = RecordBatch::try_from_iter(columns).expect("rows");
        let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), None).expect("a writer");
        writer.write(&rows).expect("written");
        let bytes = bytes::Bytes::from(writer.into_inner().expect("a file"));
        let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required);
        let footer = reader.parse_and_finish(&bytes).expect("a footer");
        let known = |footer: &ParquetMetaData| {
            let bounds = footer.column_index().expect("bounds of pages");
            bounds[0].iter().map(|bounds| !matches!(bounds, ColumnIndexMetaData::NONE)).collect::<Vec<_>>()
        };
        assert_eq!(known(&footer), [true, true]);
        let mended = trusted(footer.clone()).expect("a footer");
        assert_eq!(known(&mended), [false, true]);
        assert!(mended.offset_index().is_some() && mended.offset_index() == footer.offset_index());
    }

    #[test]
    fn what_misleads_is_taken_out_and_all_else_stays() {
        let columns: [(&str, ArrayRef); 2] =
            [("x", Arc::new(Float64Array::from(vec![1.0, f64::NAN]))), ("n", Arc::new(Int64Array::from(vec![1, 2])))];
        let rows = RecordBatch::try_from_iter(columns).expect("rows");
        let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), None).expect("a writer");
        writer.write(&rows).expect("written");
        let bytes = bytes::Bytes::from(writer.into_inner().expect("a file"));
        let footer = ParquetMetaDataReader::new().parse_and_finish(&bytes).expect("a footer");
        let has_bounds = |column: &ColumnChunkMetaData| column.statistics().is_some_and(|found| found.min_bytes_opt().is_some());
        let statistics = |footer: &ParquetMetaData| footer.row_group(0).columns().iter().map(has_bounds).collect::<Vec<_>>();
        assert_eq!(statistics(&footer), [true, true]);
        let mended = trusted(footer.clone()).expect("a footer");
        assert_eq!((statistics(&mended), mended.row_group(0).num_rows()), (vec![false, true], 2));
        let nulls = mended.row_group(0).column(0).statistics().and_then(Statistics::null_count_opt);
        assert_eq!(nulls, Some(0), "how many are null is known all the same");

        let file = footer.file_metadata();
        let file = FileMetaData::new(file.version(), 0, None, None, file.schema_descr_ptr(), None);
        let uncounted = trusted(ParquetMetaData::new(file, footer.row_groups().to_vec())).expect("a footer");
        assert_eq!(uncounted.file_metadata().num_rows(), 2);

        let of_others = Schema::new(vec![Field::new("gone", DataType::Utf8, true)]);
        let entry = KeyValue::new(ARROW_SCHEMA_META_KEY.to_owned(), encode_arrow_schema(&of_others));
        let file = footer.file_metadata();
        let file = FileMetaData::new(file.version(), file.num_rows(), None, Some(vec![entry]), file.schema_descr_ptr(), None);
        let stale = ParquetMetaData::new(file, footer.row_groups().to_vec());
        let read = |footer: &ParquetMetaData| {
            parquet_to_arrow_schema(footer.file_metadata().schema_descr(), footer.file_metadata().key_value_metadata())
        };
        assert!(read(&stale).is_err());
        let read = read(&trusted(stale).expect("a footer")).expect("its own columns");
        assert_eq!(read.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(), ["x", "n"]);

        // A number that another tool has put in the place of a time.
        let file = footer.file_metadata();
        let of_times = |writer: Option<&str>| {
            let times =
                vec![Field::new("x", DataType::Float64, true), Field::new("n", DataType::Timestamp(TimeUnit::Microsecond, None), true)];
            let entry = KeyValue::new(ARROW_SCHEMA_META_KEY.to_owned(), encode_arrow_schema(&Schema::new(times)));
            let writer = writer.map(str::to_owned);
            let file = FileMetaData::new(file.version(), file.num_rows(), writer, Some(vec![entry]), file.schema_descr_ptr(), None);
            trusted(ParquetMetaData::new(file, footer.row_groups().to_vec())).expect("a footer")
        };
        let has_schema = |footer: &ParquetMetaData| footer.file_metadata().key_value_metadata().is_some_and(|more| !more.is_empty());
        assert!(!has_schema(&of_times(None)) && !has_schema(&of_times(Some("parquet-cpp-arrow version 26.0.1"))));
        assert!(has_schema(&of_times(Some("parquet-rs version 59.3.2"))), "which says so of its times in seconds alone");

        let group = footer.row_group(0);
        let columns = group.columns().iter().map(|column| column.clone().into_builder().set_dictionary_page_offset(Some(0)).build());
        let columns = columns.collect::<Result<_>>().expect("columns");
        let old = group.clone().into_builder().set_column_metadata(columns).build().expect("a row group");
        let old = trusted(footer.into_builder().set_row_groups(vec![old]).build()).expect("a footer");
        assert!(old.row_group(0).columns().iter().all(|column| column.dictionary_page_offset().is_none()));
    }
}
