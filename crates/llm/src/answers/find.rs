//! Which rows a model has spoken about: the ids in what it said, and what stands under them.
//!
//! Answers may be keyed by id, be rows that carry their id, and lie in wrappers around either. An id may be
//! `r3`, or loosely `3` or `Row 3`; but where something is numbered 0, somebody else has counted, and then no
//! number says which row is meant.

use super::json::Json;
use super::lenient::embedded;

/// How deep wrappers may be nested around the answers.
const MAX_WRAPPERS: usize = 6;
/// Names under which a row may carry its id.
const ID_NAMES: [&str; 7] = ["id", "row_id", "rowid", "row", "item_id", "item", "key"];
/// No id is longer.
const MAX_ID: usize = 32;

/// What stands under the ids in these values: positions from 0, or `None` for an id that is not ours.
/// `columns` are the answer's own names, which are no names of ids.
pub(super) fn entries(values: Vec<Json>, columns: &[&str]) -> Vec<(Option<usize>, Json)> {
    let mut found = Found { columns, entries: Vec::new() };
    for value in values {
        found.search(value, 0);
    }
    let counts_from_zero = found.entries.iter().any(|(number, _)| *number == Some(0));
    let position = |number: Option<usize>| number.filter(|_| !counts_from_zero)?.checked_sub(1);
    found.entries.into_iter().map(|(number, value)| (position(number), value)).collect()
}

/// Whether a key looks like an id of a row.
pub(super) fn is_id(text: &str) -> bool {
    number(text).is_some()
}

struct Found<'a> {
    columns: &'a [&'a str],
    /// The number in an id, `None` for no id of ours, and what stands under it.
    entries: Vec<(Option<usize>, Json)>,
}

impl Found<'_> {
    /// Collects what a value says about rows.
    fn search(&mut self, value: Json, depth: usize) {
        match value {
            Json::Object(pairs, whole) => self.search_object(pairs, whole, depth),
            Json::List(items, _) => {
                // Once rows carry their ids, what has none is not taken for a wrapper.
                let are_rows = items.iter().any(|item| matches!(item, Json::Object(pairs, _) if self.id_of(pairs).is_some()));
                for item in items {
                    match item {
                        Json::Object(pairs, whole) if are_rows => self.row(pairs, whole),
                        item if depth < MAX_WRAPPERS => self.search(item, depth + 1),
                        _ => {}
                    }
                }
            }
            // JSON that was put in quotes once more.
            Json::Text(text) if depth > 0 && depth < MAX_WRAPPERS => {
                if let Some(value) = embedded(&text) {
                    self.search(value, depth + 1);
                }
            }
            _ => {}
        }
    }

    fn search_object(&mut self, pairs: Vec<(String, Json)>, whole: bool, depth: usize) {
        let by_id = pairs.iter().any(|(key, _)| is_id(key));
        if self.id_of(&pairs).is_some_and(|(_, number)| number.is_some() || !by_id) {
            self.row(pairs, whole);
        } else if by_id {
            let whole_values = pairs.into_iter().filter(|(_, value)| value.is_whole());
            self.entries.extend(whole_values.map(|(key, value)| (number(&key), value)));
        } else if depth < MAX_WRAPPERS {
            // A wrapper such as {"rows": [...]}.
            pairs.into_iter().for_each(|(_, value)| self.search(value, depth + 1));
        }
    }

    /// Takes a row that carries its id. One that was cut off says nothing.
    fn row(&mut self, mut pairs: Vec<(String, Json)>, whole: bool) {
        if let Some((index, number)) = self.id_of(&pairs).filter(|_| whole) {
            pairs.remove(index);
            self.entries.push((number, Json::Object(pairs, true)));
        }
    }

    /// Where a row carries its id, and its number if it is one of ours.
    fn id_of(&self, pairs: &[(String, Json)]) -> Option<(usize, Option<usize>)> {
        let mut candidates = pairs.iter().enumerate().filter_map(|(index, (name, value))| {
            let rank = ID_NAMES.iter().position(|id| name.eq_ignore_ascii_case(id))?;
            let (number, is_exact) = match value {
                Json::Text(text) => (number(text), text.starts_with(['r', 'R'])),
                Json::Number(word) => (number(word), false),
                _ => return None,
            };
            let is_column = self.columns.iter().any(|column| column.eq_ignore_ascii_case(name));
            // Under any other name than `id`, and that of a column, a value is an id only if it looks like one.
            let counts = if is_column { number.is_some() && is_exact } else { number.is_some() || rank == 0 };
            counts.then_some((rank, index, number))
        });
        let first = candidates.next()?;
        let (_, index, number) = candidates.fold(first, |best, next| if next.0 < best.0 { next } else { best });
        Some((index, number))
    }
}

/// The number in an id: of `r3`, also as `R3`, `3`, `Row 3` or `[r3]`.
fn number(id: &str) -> Option<usize> {
    if id.len() > MAX_ID {
        return None;
    }
    let id = id.trim_matches(|sign: char| sign.is_whitespace() || "\"'`[]()#:.*".contains(sign));
    let letters = id.bytes().take_while(u8::is_ascii_alphabetic).count();
    let (word, rest) = id.split_at(letters);
    let is_word = word.is_empty() || ["r", "row", "id", "item"].iter().any(|known| word.eq_ignore_ascii_case(known));
    let digits = if word.is_empty() { rest } else { rest.trim_start_matches([' ', '_', '-', '#', ':']) };
    let is_number = !digits.is_empty() && digits.len() < 7 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_plain = digits == "0" || !digits.starts_with('0');
    (is_word && is_number && is_plain).then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_ours_or_none() {
        for (id, expected) in [
            ("r1", Some(1)),
            (" R12 ", Some(12)),
            ("3", Some(3)),
            ("row 4", Some(4)),
            ("Row_5", Some(5)),
            ("item-6", Some(6)),
            ("id:7", Some(7)),
            ("[r8]", Some(8)),
            ("#9", Some(9)),
            ("r0", Some(0)),
            ("r01", None),
            ("1.5", None),
            ("r1a", None),
            ("motie 1", None),
            ("m1", None),
            ("r-1-2", None),
            ("", None),
            ("r", None),
            ("r1234567", None),
            ("rij 1", None),
        ] {
            assert_eq!(number(id), expected, "{id}");
        }
    }
}
