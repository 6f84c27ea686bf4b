//! Rows at a terminal: a table that is as wide as it, with types under the names, long values cut with `…`, and of many rows
//! the first and the last. What was left out is said beneath.

use std::collections::VecDeque;
use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use crate::plain::escaped;

/// Rows that are shown from the beginning, and as many from the end.
const ROWS: usize = 20;
/// A column is made no narrower than this, if its values are wider: then rather a column is left out.
const NARROW: usize = 12;
/// What stands where something was left out.
const CUT: &str = "…";

/// A table that gathers what it will show of the rows, and no more.
#[derive(Debug)]
pub(super) struct Table {
    schema: SchemaRef,
    /// Columns of the terminal.
    width: usize,
    /// As text, in the order of the rows.
    first: Vec<Vec<String>>,
    /// The last rows, with those before them that came in the same batches.
    last: VecDeque<RecordBatch>,
    rows: usize,
}

impl Table {
    pub(super) fn new(schema: SchemaRef, width: usize) -> Self {
        Self { schema, width, first: Vec::new(), last: VecDeque::new(), rows: 0 }
    }

    /// Takes rows in.
    pub(super) fn add(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let wanted = (ROWS - self.first.len()).min(batch.num_rows());
        self.first.extend(texts(&batch.slice(0, wanted))?);
        self.rows += batch.num_rows();
        let rest = batch.slice(wanted, batch.num_rows() - wanted);
        if rest.num_rows() > 0 {
            self.last.push_back(rest);
        }
        let mut behind: usize = self.last.iter().map(RecordBatch::num_rows).sum();
        while let Some(oldest) = self.last.front()
            && behind - oldest.num_rows() >= ROWS
        {
            behind -= oldest.num_rows();
            self.last.pop_front();
        }
        Ok(())
    }

    /// Writes it.
    pub(super) fn write(self, to: &mut impl Write) -> Result<(), ArrowError> {
        let Self { schema, width, first, last, rows } = self;
        let mut behind = Vec::new();
        for batch in &last {
            // Only those that are shown become text.
            behind.extend((0..batch.num_rows()).map(|row| batch.slice(row, 1)));
        }
        let behind = behind.split_off(behind.len().saturating_sub(ROWS));
        let end = behind.iter().map(texts).collect::<Result<Vec<_>, _>>()?.concat();
        let left_out = rows - first.len() - end.len();
        let lines = drawn(&schema, &first, &end, (left_out > 0).then_some(rows), width);
        to.write_all(lines.as_bytes())?;
        Ok(to.flush()?)
    }
}

/// The values of rows as text, each on one line.
fn texts(batch: &RecordBatch) -> Result<Vec<Vec<String>>, ArrowError> {
    let options = FormatOptions::default().with_null("NULL").with_display_error(true);
    let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options)).collect::<Result<Vec<_>, _>>()?;
    Ok((0..batch.num_rows()).map(|row| columns.iter().map(|column| on_one_line(&column.value(row).to_string())).collect()).collect())
}

/// Text without line ends and tabs, which would tear a table.
fn on_one_line(text: &str) -> String {
    escaped(&text.replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t"))
}

/// The whole table; of so many rows, if some in the middle are left out.
fn drawn(schema: &Schema, first: &[Vec<String>], end: &[Vec<String>], of: Option<usize>, width: usize) -> String {
    let shown_rows = first.len() + end.len();
    if schema.fields().is_empty() {
        return format!("{}\n", counted(of.unwrap_or(shown_rows), "row"));
    }
    let names: Vec<String> = schema.fields().iter().map(|field| on_one_line(field.name())).collect();
    let types: Vec<String> = schema.fields().iter().map(|field| type_name(field.data_type())).collect();
    let widest = |column: usize| {
        let values = first.iter().chain(end).map(|row| row[column].width());
        values.chain([names[column].width(), types[column].width(), 1]).max().unwrap_or(1)
    };
    let natural: Vec<usize> = (0..names.len()).map(widest).collect();
    let (columns, widths) = fitted(&natural, width);
    let is_number: Vec<bool> = schema.fields().iter().map(|field| field.data_type().is_numeric()).collect();
    let rule = |left: &str, middle: &str, right: &str| {
        let bars: Vec<String> = widths.iter().map(|width| "─".repeat(width + 2)).collect();
        format!("{left}{}{right}\n", bars.join(middle))
    };
    let line = |cell: &dyn Fn(usize) -> (String, Align)| {
        let cells = columns.iter().zip(&widths).map(|(column, width)| {
            let (text, align) = column.map_or_else(|| (CUT.to_owned(), Align::Centre), cell);
            placed(&text, *width, align)
        });
        format!("│ {} │\n", cells.collect::<Vec<_>>().join(" │ "))
    };
    let mut table = rule("┌", "┬", "┐");
    table += &line(&|column| (names[column].clone(), Align::Centre));
    table += &line(&|column| (types[column].clone(), Align::Centre));
    table += &rule("├", "┼", "┤");
    let row_line = |row: &Vec<String>| line(&|column| (row[column].clone(), if is_number[column] { Align::Right } else { Align::Left }));
    first.iter().for_each(|row| table += &row_line(row));
    if of.is_some() {
        (0..3).for_each(|_| table += &line(&|_| ("·".to_owned(), Align::Centre)));
    }
    end.iter().for_each(|row| table += &row_line(row));
    table += &rule("└", "┴", "┘");
    let shown_columns = columns.iter().flatten().count();
    let is_cut = columns.iter().zip(&widths).any(|(column, width)| column.is_some_and(|column| natural[column] > *width));
    let mut said = vec![match of {
        Some(rows) => format!("{} ({shown_rows} shown)", counted(rows, "row")),
        None => counted(shown_rows, "row"),
    }];
    if shown_columns < names.len() {
        said.push(format!("{} ({shown_columns} shown)", counted(names.len(), "column")));
    }
    if of.is_some() || shown_columns < names.len() || is_cut {
        said.push("all of it: --full, or .mode line at the prompt".to_owned());
    }
    table + &said.join("; ") + "\n"
}

/// `1 row`, `12 rows`.
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The columns that fit, with `None` where some in the middle were left out, and how wide each is.
fn fitted(natural: &[usize], width: usize) -> (Vec<Option<usize>>, Vec<usize>) {
    let narrowest = |column: usize| natural[column].min(NARROW);
    // Each cell has a space on either side and a bar behind; one more bar stands at the left.
    let room = |columns: &[Option<usize>]| width.saturating_sub(3 * columns.len() + 1);
    let least = |columns: &[Option<usize>]| columns.iter().map(|column| column.map_or(1, narrowest)).sum::<usize>();
    let mut columns: Vec<Option<usize>> = (0..natural.len()).map(Some).collect();
    while least(&columns) > room(&columns) && columns.iter().flatten().count() > 1 {
        let place = columns.iter().position(Option::is_none).unwrap_or(columns.len() / 2);
        if columns[place].is_some() {
            columns[place] = None;
        } else if place + 1 < columns.len() && columns.len() - place > place {
            columns.remove(place + 1);
        } else {
            columns.remove(place - 1);
        }
    }
    let mut widths: Vec<usize> = columns.iter().map(|column| column.map_or(1, |column| natural[column])).collect();
    // The widest give way until all fit.
    while widths.iter().sum::<usize>() > room(&columns) {
        let most = widths.iter().copied().max().unwrap_or_default();
        if most <= 1 {
            break;
        }
        let next = widths.iter().copied().filter(|width| *width < most).max().unwrap_or(1).max(1);
        let wide = widths.iter().filter(|width| **width == most).count();
        let over = widths.iter().sum::<usize>() - room(&columns);
        let step = (most - next).min(over.div_ceil(wide)).max(1);
        widths.iter_mut().filter(|width| **width == most).for_each(|width| *width -= step);
    }
    (columns, widths)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Align {
    Left,
    Right,
    Centre,
}

/// Text in so many columns of the terminal, cut if it is wider.
fn placed(text: &str, width: usize, align: Align) -> String {
    let cut = cut(text, width);
    let free = width.saturating_sub(cut.width());
    let left = match align {
        Align::Left => 0,
        Align::Right => free,
        Align::Centre => free / 2,
    };
    format!("{}{cut}{}", " ".repeat(left), " ".repeat(free - left))
}

/// The beginning of a text that fits, with `…` if something is missing. What a reader sees as one character stays whole.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let (mut kept, mut used) = (String::new(), 0);
    for character in text.graphemes(true) {
        used += character.width();
        if used + CUT.width() > width {
            break;
        }
        kept.push_str(character);
    }
    kept + CUT
}

/// A type as SQL calls it.
fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "varchar".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => "blob".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int8 => "tinyint".to_owned(),
        DataType::Int16 => "smallint".to_owned(),
        DataType::Int32 => "integer".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::UInt8 => "utinyint".to_owned(),
        DataType::UInt16 => "usmallint".to_owned(),
        DataType::UInt32 => "uinteger".to_owned(),
        DataType::UInt64 => "ubigint".to_owned(),
        DataType::Float16 | DataType::Float32 => "float".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::Date32 | DataType::Date64 => "date".to_owned(),
        DataType::Time32(_) | DataType::Time64(_) => "time".to_owned(),
        DataType::Timestamp(_, Some(_)) => "timestamp with time zone".to_owned(),
        DataType::Timestamp(TimeUnit::Second, None) => "timestamp_s".to_owned(),
        DataType::Timestamp(_, None) => "timestamp".to_owned(),
        DataType::Null => "null".to_owned(),
        DataType::List(of) | DataType::LargeList(of) | DataType::FixedSizeList(of, _) => format!("{}[]", type_name(of.data_type())),
        DataType::Dictionary(_, of) => type_name(of),
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|field| format!("{} {}", field.name(), type_name(field.data_type())));
            format!("struct({})", fields.collect::<Vec<_>>().join(", "))
        }
        DataType::Map(_, _) => "map".to_owned(),
        other => other.to_string().to_lowercase(),
    }
}

/// Every value of some rows in full, a line each.
pub(super) fn write_lines(schema: &Schema, batch: &RecordBatch, first: usize, to: &mut impl Write) -> Result<(), ArrowError> {
    let options = FormatOptions::default().with_null("NULL").with_display_error(true);
    let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options)).collect::<Result<Vec<_>, _>>()?;
    let widest = schema.fields().iter().map(|field| escaped(field.name()).width()).max().unwrap_or_default();
    for row in 0..batch.num_rows() {
        if first + row > 0 {
            writeln!(to)?;
        }
        for (field, column) in schema.fields().iter().zip(&columns) {
            let name = escaped(field.name());
            let space = " ".repeat(widest - name.width());
            writeln!(to, "{space}{name} = {}", escaped(&column.value(row).to_string()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, ListBuilder, StringArray, StringBuilder};
    use proptest::prelude::*;

    use super::*;

    fn rows(ids: impl IntoIterator<Item = i64>, text: impl Fn(i64) -> Option<String>) -> RecordBatch {
        let ids: Vec<i64> = ids.into_iter().collect();
        let texts: StringArray = ids.iter().map(|id| text(*id)).collect();
        RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(ids)) as ArrayRef), ("text", Arc::new(texts))]).expect("rows")
    }

    fn shown(batches: &[RecordBatch], width: usize) -> String {
        let mut table = Table::new(batches[0].schema(), width);
        batches.iter().for_each(|batch| table.add(batch).expect("added"));
        let mut to = Vec::new();
        table.write(&mut to).expect("written");
        String::from_utf8(to).expect("text")
    }

    #[test]
    fn a_table_has_types_under_its_names_and_is_no_wider_than_the_terminal() {
        let text = |id| (id != 2).then(|| format!("Über die Brücke 橋 am Fluss, Zeile {id}\nund mehr"));
        let expected = "\
┌────────┬─────────────────────────────┐
│   id   │            text             │
│ bigint │           varchar           │
├────────┼─────────────────────────────┤
│      1 │ Über die Brücke 橋 am Flus… │
│      2 │ NULL                        │
└────────┴─────────────────────────────┘
2 rows; all of it: --full, or .mode line at the prompt
";
        assert_eq!(shown(&[rows([1, 2], text)], 40), expected);
        let short = shown(&[rows([1], |_| Some("a".to_owned()))], 40);
        assert!(short.ends_with("\n1 row\n") && short.lines().all(|line| line.width() == 20 || !line.contains('│')), "{short}");
    }

    #[test]
    fn of_many_rows_the_first_and_the_last_are_shown_however_they_come() {
        for size in [1, 7, 20, 1000] {
            let all: Vec<i64> = (0..1000).collect();
            let batches: Vec<RecordBatch> = all.chunks(size).map(|ids| rows(ids.iter().copied(), |id| Some(format!("t{id}")))).collect();
            let table = shown(&batches, 80);
            let ids: Vec<i64> = table.lines().filter_map(|line| line.split('│').nth(1)?.trim().parse().ok()).collect();
            let expected: Vec<i64> = (0..20).chain(980..1000).collect();
            assert_eq!(ids, expected, "in batches of {size}");
            assert_eq!(table.matches("│   ·    │").count(), 3, "{table}");
            assert!(table.ends_with("1000 rows (40 shown); all of it: --full, or .mode line at the prompt\n"), "{table}");
        }
        let forty = shown(&[rows(0..40, |_| None)], 80);
        assert!(forty.ends_with("\n40 rows\n") && !forty.contains('·'), "{forty}");
    }

    #[test]
    fn columns_that_do_not_fit_are_left_out_in_the_middle_and_counted() {
        let column = |number: usize| (format!("column_{number:02}"), Arc::new(StringArray::from(vec!["value of some length"])) as ArrayRef);
        let batch = RecordBatch::try_from_iter((0..30).map(column)).expect("rows");
        let table = shown(&[batch], 80);
        assert!(table.lines().take(6).all(|line| line.width() <= 80), "{table}");
        assert!(table.contains("column_00") && table.contains("column_29") && !table.contains("column_15"), "{table}");
        assert!(table.contains("1 row; 30 columns (5 shown); all of it"), "{table}");
    }

    #[test]
    fn what_a_reader_sees_as_one_character_is_cut_as_one() {
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(cut("e\u{301}e\u{301}e\u{301}", 2), "e\u{301}…");
        assert_eq!(cut("👩‍👩‍👧 family", 4), "👩‍👩‍👧 …");
        assert_eq!(placed("日", 4, Align::Right), "  日");
        assert_eq!(on_one_line("a\tb\r\nc\\n\u{1b}[2J"), "a\\tb\\r\\nc\\n\\u001b[2J");
    }

    #[test]
    fn lines_show_every_value_in_full() {
        let mut tags = ListBuilder::new(StringBuilder::new());
        tags.append_value([Some("a"), None]);
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(Int64Array::from(vec![7]))),
            ("text", Arc::new(StringArray::from(vec!["x".repeat(300)]))),
            ("tags", Arc::new(tags.finish())),
        ];
        let batch = RecordBatch::try_from_iter(columns).expect("rows");
        let mut to = Vec::new();
        write_lines(&batch.schema(), &batch, 1, &mut to).expect("written");
        let expected = format!("\n  id = 7\ntext = {}\ntags = [a, NULL]\n", "x".repeat(300));
        assert_eq!(String::from_utf8(to).expect("text"), expected);
    }

    proptest! {
        #[test]
        fn whatever_the_columns_the_table_fits(natural in prop::collection::vec(1_usize..200, 1..40), width in 20_usize..250) {
            let (columns, widths) = fitted(&natural, width);
            prop_assert_eq!(columns.len(), widths.len());
            let total = widths.iter().sum::<usize>() + 3 * widths.len() + 1;
            prop_assert!(total <= width, "{total} of {width}: {widths:?}");
            let kept: Vec<usize> = columns.iter().copied().flatten().collect();
            prop_assert!(kept.is_sorted() && !kept.is_empty());
            for (column, width) in columns.iter().zip(&widths) {
                prop_assert!(column.is_none_or(|column| *width <= natural[column]));
            }
            if columns.len() == natural.len() && natural.iter().sum::<usize>() + 3 * natural.len() < width {
                prop_assert_eq!(widths, natural);
            }
        }
    }
}
