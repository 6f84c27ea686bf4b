//! CSV files. A value that cannot be read as what its column is, is an error with its place.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, new_null_array};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::csv::ReaderBuilder;
use datafusion::arrow::csv::reader::{Decoder, Format};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use promptmill_core::pipeline::{Header, SourceSpec};
use promptmill_core::{Mistake, Result, nearest};
use regex::Regex;

use super::kinds::{Seen, fits, stated};
use super::open::text;
use super::quotes::Quotes;
use super::{Each, FIRST_ROWS, File, Said};

/// How CSV files are written.
#[derive(Clone, Debug)]
pub(in crate::source) struct Dialect {
    /// Left out: a comma, or a tab in files named `.tsv`.
    delimiter: Option<u8>,
    header: Header,
    quote: Option<u8>,
    escape: Option<u8>,
    comment: Option<u8>,
    nulls: Option<Regex>,
    types: BTreeMap<String, DataType>,
}

impl Dialect {
    pub(super) fn of(spec: &SourceSpec) -> Result<Self, Mistake> {
        let byte = |name: &'static str, text: &Option<String>| match text.as_deref().map(str::as_bytes) {
            None => Ok(None),
            Some([byte]) if byte.is_ascii() && !matches!(byte, b'\n' | b'\r') => Ok(Some(*byte)),
            Some(_) => Err(Mistake::new(name, format!("`{}` is not one ASCII character", text.as_deref().unwrap_or_default()))
                .hint(Some("for example `delimiter = \";\"`, or `\"\\t\"` for a tab"))),
        };
        let mut types = BTreeMap::new();
        for (column, name) in spec.types.iter().flatten() {
            let data_type = stated(name).ok_or_else(|| {
                Mistake::new(format!("types.{column}"), format!("`{name}` is no type of a CSV column"))
                    .hint(Some("string, int, float, bool, date, timestamp, timestamptz or decimal(18, 2)"))
            })?;
            types.insert(column.clone(), data_type);
        }
        let nulls = spec.null.as_ref().map(|nulls| nulls.all().iter().map(|null| regex::escape(null)).collect::<Vec<_>>().join("|"));
        let nulls = nulls.map(|nulls| Regex::new(&format!("^(?:{nulls})$"))).transpose();
        Ok(Self {
            delimiter: byte("delimiter", &spec.delimiter)?,
            header: spec.header.clone().unwrap_or_default(),
            quote: byte("quote", &spec.quote)?,
            escape: byte("escape", &spec.escape)?,
            comment: byte("comment", &spec.comment)?,
            nulls: nulls.map_err(|error| Mistake::new("null", error.to_string()))?,
            types,
        })
    }

    /// The first setting that only CSV files have, if one is set.
    pub(super) fn first_set(spec: &SourceSpec) -> Option<&'static str> {
        let set = [
            ("delimiter", spec.delimiter.is_some()),
            ("header", spec.header.is_some()),
            ("quote", spec.quote.is_some()),
            ("escape", spec.escape.is_some()),
            ("comment", spec.comment.is_some()),
            ("null", spec.null.is_some()),
            ("types", spec.types.is_some()),
        ];
        set.into_iter().find(|(_, is_set)| *is_set).map(|(name, _)| name)
    }

    fn has_header(&self) -> bool {
        matches!(self.header, Header::Has(true))
    }

    fn delimiter(&self, file: &File<'_>) -> u8 {
        let name = file.meta.location.filename().unwrap_or_default().to_lowercase();
        let is_tsv = name.ends_with(".tsv") || name.contains(".tsv.");
        self.delimiter.unwrap_or(if is_tsv { b'\t' } else { b',' })
    }

    fn format(&self, file: &File<'_>) -> Format {
        let format = Format::default().with_header(self.has_header()).with_delimiter(self.delimiter(file));
        let format = self.quote.map_or(format.clone(), |quote| format.with_quote(quote));
        let format = self.escape.map_or(format.clone(), |escape| format.with_escape(escape));
        let format = self.comment.map_or(format.clone(), |comment| format.with_comment(comment));
        self.nulls.clone().map_or(format.clone(), |nulls| format.with_null_regex(nulls))
    }

    /// What the columns of a file are called.
    fn names(&self, file: &File<'_>) -> Result<Vec<String>> {
        let first = self.format(file).infer_schema(text(file).map_err(|error| file.wrong(format!("cannot be read: {error}")))?, Some(0));
        let (first, _) = first.map_err(|error| wrong(file, &error))?;
        let count = first.fields().len();
        let given = match &self.header {
            Header::Has(true) => first.fields().iter().map(|field| field.name().clone()).collect(),
            Header::Has(false) => vec![String::new(); count],
            Header::Names(names) if count == 0 || names.len() == count => names.clone(),
            Header::Names(names) => return Err(file.wrong(format!("has {count} columns, and `header` names {}", names.len()))),
        };
        Ok(unique(given))
    }
}

/// Names of which each stands once: one that is missing is called after its place, one that comes again gets a number.
fn unique(given: Vec<String>) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(given.len());
    for (place, name) in given.into_iter().enumerate() {
        let name = if name.is_empty() { format!("column{place}") } else { name };
        let mut free = name.clone();
        for number in 1.. {
            if !names.contains(&free) {
                break;
            }
            free = format!("{name}_{number}");
        }
        names.push(free);
    }
    names
}

/// Reads a file to its end, to learn what its columns are.
pub(super) fn look_into(dialect: &Dialect, file: &File<'_>) -> Result<Said> {
    let names = dialect.names(file)?;
    let mut seen = vec![Seen::default(); names.len()];
    let (mut rows, mut row_bytes) = (0, 0);
    let places: Vec<usize> = (0..names.len()).collect();
    let mut quotes = Quotes::new(dialect.delimiter(file), dialect.quote, dialect.escape, dialect.comment);
    each_text(dialect, file, (&names, &places, FIRST_ROWS), Some(&mut quotes), &mut |batch, _| {
        rows += batch.num_rows() as u64;
        row_bytes = row_bytes.max(batch.get_array_memory_size() as u64 / batch.num_rows().max(1) as u64);
        for (seen, texts) in seen.iter_mut().zip(batch.columns()) {
            for text in texts.as_string::<i32>().iter().flatten() {
                if seen.is_text() {
                    break;
                }
                seen.see(text);
            }
        }
        Ok(true)
    })?;
    if let Some(wrong) = quotes.wrong() {
        return Err(file.wrong(wrong).hint("mend it, or say how it is written: `quote` and `escape` in `[source]`"));
    }
    Ok(Said { texts: names.into_iter().zip(seen).collect(), rows: Some(rows), has_rows: rows > 0, row_bytes, ..Said::default() })
}

/// The types of the columns of all files, by name.
pub(super) fn types<'f>(
    dialect: &Dialect,
    files: impl Iterator<Item = &'f [(String, Seen)]>,
) -> Result<BTreeMap<String, DataType>, Mistake> {
    let mut columns: BTreeMap<&str, Seen> = BTreeMap::new();
    for (name, seen) in files.flatten() {
        columns.entry(name).or_default().join(*seen);
    }
    if let Some(name) = dialect.types.keys().find(|name| !columns.contains_key(name.as_str())) {
        let near = nearest(name, columns.keys().copied());
        let hint = near.map_or_else(
            || format!("known columns: {}", columns.keys().copied().collect::<Vec<_>>().join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        return Err(Mistake::new(format!("types.{name}"), format!("there is no column `{name}`")).hint(Some(hint)));
    }
    let stated = |name: &str| dialect.types.get(name).cloned();
    Ok(columns.into_iter().map(|(name, seen)| (name.to_owned(), stated(name).unwrap_or_else(|| seen.data_type()))).collect())
}

/// Reads these columns of a file.
pub(super) fn read(dialect: &Dialect, file: &File<'_>, (columns, at_once): (&SchemaRef, usize), each: Each<'_>) -> Result<()> {
    let names = dialect.names(file)?;
    let there = columns.fields().iter().filter_map(|field| names.iter().position(|name| name == field.name()));
    let there: Vec<usize> = there.collect();
    each_text(dialect, file, (&names, &there, at_once), None, &mut |batch, rows_before| {
        let arrays = columns.fields().iter().map(|field| match batch.column_by_name(field.name()) {
            Some(texts) => values(file, field, texts, rows_before),
            None => Ok(new_null_array(field.data_type(), batch.num_rows())),
        });
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        each(RecordBatch::try_new_with_options(Arc::clone(columns), arrays.collect::<Result<_>>()?, &options)?)
    })
}

/// The values of a column in its type.
fn values(file: &File<'_>, field: &Field, texts: &ArrayRef, rows_before: usize) -> Result<ArrayRef> {
    let rows = texts.as_string::<i32>();
    if let Some(row) = (0..rows.len()).find(|row| rows.is_valid(*row) && !fits(rows.value(*row), field.data_type())) {
        let (number, name, value) = (rows_before + row + 1, field.name(), rows.value(row));
        let error =
            file.wrong(format!("has in row {number} a `{name}` that is no {}: `{value}`", super::super::name_of(field.data_type())));
        return Err(error.hint(format!("mend the value, or set `types = {{ {name} = \"string\" }}` in `[source]`")));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    Ok(cast_with_options(texts, field.data_type(), &options)?)
}

/// Reads these places of the rows of a file as texts.
fn each_text(
    dialect: &Dialect,
    file: &File<'_>,
    (names, places, at_once): (&[String], &[usize], usize),
    mut quotes: Option<&mut Quotes>,
    each: &mut dyn FnMut(RecordBatch, usize) -> Result<bool>,
) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let schema = Schema::new(names.iter().map(|name| Field::new(name, DataType::Utf8, true)).collect::<Vec<_>>());
    let builder = ReaderBuilder::new(Arc::new(schema)).with_format(dialect.format(file)).with_batch_size(at_once);
    let mut decoder = builder.with_projection(places.to_vec()).build_decoder();
    let mut bytes = text(file).map_err(|error| file.wrong(format!("cannot be read: {error}")))?;
    let mut rows_before = 0;
    while let Some(batch) = next(&mut decoder, bytes.as_mut(), file, quotes.as_deref_mut())? {
        let rows = batch.num_rows();
        if !each(batch, rows_before)? {
            break;
        }
        rows_before += rows;
    }
    Ok(())
}

/// The next rows, as many as a batch has.
fn next(decoder: &mut Decoder, bytes: &mut dyn BufRead, file: &File<'_>, mut quotes: Option<&mut Quotes>) -> Result<Option<RecordBatch>> {
    loop {
        let here = bytes.fill_buf().map_err(|error| file.wrong(format!("cannot be read to its end: {error}")))?;
        let count = decoder.decode(here).map_err(|error| wrong(file, &error))?;
        let is_end = here.is_empty();
        if let Some(quotes) = &mut quotes {
            quotes.see(&here[..count]);
        }
        bytes.consume(count);
        if is_end || count == 0 || decoder.capacity() == 0 {
            return decoder.flush().map_err(|error| wrong(file, &error));
        }
    }
}

fn wrong(file: &File<'_>, error: &ArrowError) -> promptmill_core::Error {
    let words = error.to_string();
    let words = words.strip_prefix("Csv error: ").unwrap_or(&words);
    file.wrong(format!("cannot be read as CSV: {words}"))
        .hint("mend it, or say how it is written: `delimiter`, `quote`, `escape`, `header` and `comment` in `[source]`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_has_a_name_of_its_own() {
        let given = ["", "x", "x", "x_1", ""].map(str::to_owned).to_vec();
        assert_eq!(unique(given), ["column0", "x", "x_1", "x_1_1", "column4"]);
    }
}
