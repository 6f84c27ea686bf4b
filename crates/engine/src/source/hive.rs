//! Hive partitions: folders named `year=2024` are columns.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

/// The columns that the folders of some files make, outermost first, with their types.
#[derive(Debug, Default)]
pub(super) struct Partitions {
    columns: Vec<(String, Kinds)>,
    /// Files that lie outside of some of these folders.
    uneven: usize,
}

/// What the values of a column can all be.
#[derive(Clone, Copy, Debug)]
struct Kinds {
    files: usize,
    ints: bool,
    days: bool,
}

impl Partitions {
    /// Of files with these folders above them.
    pub(super) fn of<'f>(files: impl Iterator<Item = &'f [String]> + Clone) -> Self {
        let mut columns: Vec<(String, Kinds)> = Vec::new();
        let mut count = 0;
        for folders in files {
            count += 1;
            // Each name goes behind the one that stands above it.
            let mut behind = 0;
            for (name, value) in pairs(folders) {
                let at = columns.iter().position(|(column, _)| *column == name).unwrap_or_else(|| {
                    columns.insert(behind, (name.clone(), Kinds { files: 0, ints: true, days: true }));
                    behind
                });
                behind = at + 1;
                let kinds = &mut columns[at].1;
                kinds.files += 1;
                if let Some(value) = value {
                    kinds.ints &= is_int(&value);
                    kinds.days &= is_day(&value);
                }
            }
        }
        let uneven = columns.iter().map(|(_, kinds)| count - kinds.files).max().unwrap_or_default();
        Self { columns, uneven }
    }

    /// Names and types. Numbers that begin with a zero are texts: they are names, and would lose it.
    pub(super) fn columns(&self) -> impl Iterator<Item = (&str, DataType)> {
        self.columns.iter().map(|(name, kinds)| {
            let data_type = match kinds {
                Kinds { ints: true, days: true, .. } => DataType::Utf8,
                Kinds { ints: true, .. } => DataType::Int64,
                Kinds { days: true, .. } => DataType::Date32,
                _ => DataType::Utf8,
            };
            (name.as_str(), data_type)
        })
    }

    /// How many files lie outside of some folder of a partition; there its column is null.
    pub(super) fn uneven(&self) -> usize {
        self.uneven
    }
}

/// The value of a column for a file with these folders above it.
pub(super) fn value_of(folders: &[String], name: &str) -> Option<String> {
    pairs(folders).find(|(found, _)| found == name)?.1
}

fn pairs(folders: &[String]) -> impl Iterator<Item = (String, Option<String>)> + '_ {
    folders.iter().filter_map(|folder| {
        let (name, value) = folder.split_once('=').filter(|(name, _)| !name.is_empty())?;
        let is_null = value == "__HIVE_DEFAULT_PARTITION__";
        Some((percent_decode(name), (!is_null).then(|| percent_decode(value))))
    })
}

fn is_int(value: &str) -> bool {
    let digits = value.strip_prefix('-').unwrap_or(value);
    let is_plain = digits == "0" || !digits.starts_with('0');
    is_plain && digits.bytes().all(|digit| digit.is_ascii_digit()) && value.parse::<i64>().is_ok()
}

fn is_day(value: &str) -> bool {
    let dashes = [4, 7].iter().all(|at| value.as_bytes().get(*at) == Some(&b'-'));
    value.len() == 10 && dashes && ScalarValue::from(value).cast_to(&DataType::Date32).is_ok_and(|day| !day.is_null())
}

/// Hive writes what no path should hold as `%2F`.
pub(super) fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut decoded, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let escaped = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(escaped.unwrap_or(bytes[at]));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8(decoded).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(files: &[&[&str]]) -> Vec<(String, DataType)> {
        let files: Vec<Vec<String>> = files.iter().map(|folders| folders.iter().map(|&folder| folder.to_owned()).collect()).collect();
        let partitions = Partitions::of(files.iter().map(Vec::as_slice));
        partitions.columns().map(|(name, data_type)| (name.to_owned(), data_type)).collect()
    }

    #[test]
    fn partitions_have_the_type_that_all_their_values_have() {
        for (values, data_type) in [
            (["2023", "-5"], DataType::Int64),
            (["2023", "__HIVE_DEFAULT_PARTITION__"], DataType::Int64),
            (["01", "02"], DataType::Utf8),
            (["1", "x"], DataType::Utf8),
            (["99999999999999999999", "1"], DataType::Utf8),
            (["2024-01-31", "2024-02-29"], DataType::Date32),
            (["2024-01-31", "2024-02-30"], DataType::Utf8),
            (["50%25", ""], DataType::Utf8),
            (["5.6", "1"], DataType::Utf8),
        ] {
            let files: Vec<Vec<String>> = values.iter().map(|value| vec![format!("p={value}")]).collect();
            let files: Vec<Vec<&str>> = files.iter().map(|folders| folders.iter().map(String::as_str).collect()).collect();
            let files: Vec<&[&str]> = files.iter().map(Vec::as_slice).collect();
            assert_eq!(columns(&files), [("p".to_owned(), data_type)], "{values:?}");
        }
    }

    #[test]
    fn folders_of_different_depth_keep_their_order_and_leave_nulls() {
        let names = |files: &[&[&str]]| columns(files).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(&[&["year=1"], &["year=1", "month=2"], &[]]), ["year", "month"]);
        assert_eq!(names(&[&["month=2"], &["year=1", "month=2"]]), ["year", "month"]);
        assert_eq!(names(&[&["a", "=b", "x"]]), Vec::<String>::new());
        let folders = ["place=a%3Db%25".to_owned(), "day=x=y".to_owned()];
        assert_eq!(value_of(&folders, "place").as_deref(), Some("a=b%"));
        assert_eq!(value_of(&folders, "day").as_deref(), Some("x=y"));
        assert_eq!(value_of(&folders, "year"), None);
    }
}
