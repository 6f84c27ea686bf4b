//! What columns are called: in the source and the results, and in between.
//!
//! promptmill adds columns to the results, and passes some from stage to stage. A source may have columns of the same names.
//! While they go through the stages, those are put aside under names that nobody else has; in the results they have their
//! own again, and `sink.prefix` stands before ours.

use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::arrow::ArrowSchemaConverter;
use promptmill_core::pipeline::Key;
use promptmill_core::{Error, Mistake, Result, columns, meaning};

use crate::source::name_of;

/// In front of the names of columns of the source that are put aside.
const ASIDE: &str = "__source:";
/// The columns of dead letters beside the key and those that account for a row.
pub(crate) const OF_DEAD_LETTERS: [&str; 4] = ["reason", "detail", "last_text", "at"];
/// Names that pass from stage to stage and nobody else can have.
const TAKEN: [&str; 8] = [
    columns::KEY,
    columns::ITEM,
    columns::ITEM_ERROR,
    columns::UNSTORABLE,
    columns::QUESTION,
    columns::REASON,
    columns::DETAIL,
    columns::LAST_TEXT,
];

/// Whether nobody but promptmill can have a column of this name.
pub(super) fn is_taken(name: &str) -> bool {
    TAKEN.contains(&name) || name.starts_with(ASIDE)
}

/// What a column of the source is called among the stages.
pub(super) fn among_stages(name: &str) -> String {
    let is_put_aside = name.starts_with("__") || columns::ACCOUNTING.contains(&name);
    if is_put_aside { format!("{ASIDE}{name}") } else { name.to_owned() }
}

/// The type of a column among the stages; see [`plain_field`].
pub(super) fn plain(data_type: &DataType) -> DataType {
    plain_field(&Field::new("", data_type.clone(), true)).data_type().clone()
}

/// A column among the stages: dictionaries, which are of one file, as their values. Rows of many files meet there, and the
/// codes of a small dictionary would not suffice. And dates and times as Parquet has them, for which a date in milliseconds,
/// or a time in seconds, would be a mere number.
pub(super) fn plain_field(field: &Field) -> Field {
    meaning::changed(field, &|field| {
        let of = |data_type: DataType| Field::new(field.name(), data_type, field.is_nullable()).with_metadata(field.metadata().clone());
        match field.data_type() {
            DataType::Dictionary(_, values) => Some(plain_field(&of(values.as_ref().clone()))),
            DataType::Date64 => Some(of(DataType::Date32)),
            DataType::Time32(TimeUnit::Second) => Some(of(DataType::Time32(TimeUnit::Millisecond))),
            DataType::Timestamp(TimeUnit::Second, zone) => Some(of(DataType::Timestamp(TimeUnit::Millisecond, zone.clone()))),
            _ => None,
        }
    })
}

/// What is wrong with the columns of a Delta table: its names are the same in any case.
pub(super) fn alike(names: &[&str]) -> Option<Mistake> {
    let second = |place: usize| names[..place].iter().find(|name| name.to_lowercase() == names[place].to_lowercase());
    let (one, other) = (0..names.len()).find_map(|place| Some((*second(place)?, names[place])))?;
    let message = format!("columns `{one}` and `{other}` are one to a Delta table, which does not tell case");
    Some(Mistake::new("format", message).hint(Some("leave one of them out with `columns`, or rename it in the source")))
}

/// What is wrong with a column of the results that no Parquet file can hold.
pub(super) fn not_held(field: &Field) -> Option<Mistake> {
    let alone = Schema::new(vec![field.clone()]);
    // Of a union the converter does not even say no.
    let is_union = meaning::has(field, &|field| matches!(field.data_type(), DataType::Union(..)));
    let why = if is_union { "it is a union".to_owned() } else { ArrowSchemaConverter::new().convert(&alone).err()?.to_string() };
    let message = format!("column `{}` is {}, which Parquet cannot hold: {why}", field.name(), name_of(field.data_type()));
    Some(Mistake::new("path", message).hint(Some("leave it out with `columns`, or cast it in the source")))
}

/// Rows as a Parquet file has them: for other readers a date in milliseconds or a time in seconds would be a mere number.
///
/// # Errors
/// If a value has no place in the type that Parquet has.
pub fn rows_for_parquet(batch: &RecordBatch) -> Result<RecordBatch> {
    if let Some(mistake) = batch.schema_ref().fields().iter().find_map(|field| not_held(&plain_field(field))) {
        return Err(Error::failed(mistake.message));
    }
    let fields: Vec<Field> = batch.schema_ref().fields().iter().map(|field| plain_field(field)).collect();
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let columns = fields.iter().zip(batch.columns()).map(|(field, column)| cast_with_options(column, field.data_type(), &options));
    let columns = columns.collect::<std::result::Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let schema = Schema::new_with_metadata(fields, batch.schema_ref().metadata().clone());
    Ok(RecordBatch::try_new_with_options(Arc::new(schema), columns, &options)?)
}

/// What a column behind the last stage is called in the results; `None` if it does not get there.
fn in_results(name: &str, prefix: &str) -> Option<String> {
    match name.strip_prefix(ASIDE) {
        Some(own) => Some(own.to_owned()),
        None if name.starts_with("__") => None,
        None if columns::ACCOUNTING.contains(&name) => Some(format!("{prefix}{name}")),
        None => Some(name.to_owned()),
    }
}

/// The columns behind the last stage that may be in the results, as they are called there.
pub(super) fn of_results(output: &Schema, prefix: &str) -> SchemaRef {
    let fields = output.fields().iter().filter_map(|field| Some(field.as_ref().clone().with_name(in_results(field.name(), prefix)?)));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Rows from behind the last stage, under the names of the results; what passes from stage to stage keeps its own.
pub(crate) fn named(batch: &RecordBatch, prefix: &str) -> Result<RecordBatch> {
    let schema = batch.schema();
    let names = schema.fields().iter().map(|field| in_results(field.name(), prefix).unwrap_or_else(|| field.name().clone()));
    let fields: Vec<Field> = schema.fields().iter().zip(names).map(|(field, name)| field.as_ref().clone().with_name(name)).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), batch.columns().to_vec())?)
}

/// Names of ours that columns of the source have too: `chosen` are its columns that are to be in the results. Readers such as
/// DuckDB tell no upper from lower case.
pub(super) fn clash(chosen: &[&str], key: &Key, prefix: &str) -> Vec<Mistake> {
    let is_one_of = |name: &str, ours: &[&str]| ours.iter().any(|own| format!("{prefix}{own}").eq_ignore_ascii_case(name));
    let mut mistakes = Vec::new();
    let lost: Vec<String> = chosen.iter().filter(|name| is_one_of(name, &columns::ACCOUNTING)).map(|name| format!("`{name}`")).collect();
    if !lost.is_empty() {
        let message = format!("the source has {}, and promptmill adds columns of that name to the results", lost.join(", "));
        let hint = "put something before the names of ours, such as `prefix = \"pm_\"`; or name the columns to keep with `columns`";
        mistakes.push(Mistake::new("prefix", message).hint(Some(hint)));
    }
    if let Some(name) = key.columns().iter().find(|name| is_one_of(name, &OF_DEAD_LETTERS)) {
        let message = format!("the key is called `{name}`, and promptmill adds a column of that name to dead letters");
        mistakes.push(Mistake::new("prefix", message).hint(Some("put something before the names of ours, such as `prefix = \"pm_\"`")));
    }
    mistakes
}

/// Whether values of this type can be names of folders: each its own, and the same value when they are read again.
pub(super) fn can_be_folders(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => can_be_folders(values),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Boolean | DataType::Null => true,
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) | DataType::Time32(_) | DataType::Time64(_) => true,
        other => other.is_numeric(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_the_source_keep_their_names_and_ours_get_a_prefix() {
        for name in ["cost_usd", "__index_level_0__", "title", "__v"] {
            assert_eq!(in_results(&among_stages(name), "pm_").as_deref(), Some(name));
        }
        assert_eq!(in_results("cost_usd", "pm_").as_deref(), Some("pm_cost_usd"));
        assert_eq!(in_results(columns::KEY, "pm_"), None);
        assert!(is_taken(columns::ITEM) && !is_taken("__index_level_0__"));
    }

    #[test]
    fn names_that_both_have_are_mistakes() {
        let words = |chosen: &[&str], key: &str, prefix: &str| -> Vec<String> {
            clash(chosen, &Key::of([key]), prefix).into_iter().map(|mistake| mistake.message).collect()
        };
        assert!(words(&["id", "title"], "id", "").is_empty());
        let both = words(&["id", "Cost_USD", "llm_model"], "id", "");
        assert!(both.len() == 1 && both[0].contains("`Cost_USD`, `llm_model`"), "{both:?}");
        assert!(words(&["id", "cost_usd"], "id", "pm_").is_empty());
        assert_eq!(words(&["pm_cost_usd"], "at", "pm_").len(), 1);
        for key in OF_DEAD_LETTERS {
            assert_eq!(words(&[key], key, "").len(), 1);
        }
    }
}
