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

/// What a model said under an id.
#[derive(Debug)]
pub(super) struct Entry {
    /// The row, from 0; `None` for an id that is not ours.
    pub(super) position: Option<usize>,
    pub(super) value: Json,
    /// Whether it stands in something that was cut off behind it, which might have turned out to be no wrapper.
    pub(super) is_open: bool,
}

/// What stands under the ids in these values. `columns` are the answer's own names, which are no names of ids.
pub(super) fn entries(values: Vec<Json>, columns: &[&str]) -> Vec<Entry> {
    let mut found = Found { columns, entries: Vec::new() };
    for value in values {
        found.search(value, 0, false);
    }
    let counts_from_zero = found.entries.iter().any(|(number, ..)| *number == Some(0));
    let position = |number: Option<usize>| number.filter(|_| !counts_from_zero)?.checked_sub(1);
    found.entries.into_iter().map(|(number, value, is_open)| Entry { position: position(number), value, is_open }).collect()
}

/// Whether a key looks like an id of a row.
pub(super) fn is_id(text: &str) -> bool {
    number(text).is_some()
}

struct Found<'a> {
    columns: &'a [&'a str],
    /// The number in an id, `None` for no id of ours, what stands under it, and whether it is open.
    entries: Vec<(Option<usize>, Json, bool)>,
}

impl Found<'_> {
    /// Collects what a value says about rows. What has been found counts whatever comes behind it: at the most,
    /// that says something else about the same row.
    fn search(&mut self, value: Json, depth: usize, is_open: bool) {
        match value {
            Json::Object(pairs, whole) => self.search_object(pairs, whole, depth, is_open),
            Json::List(items, _) => {
                let mut are_rows = false;
                for item in items {
                    let Json::Object(pairs, whole) = item else {
                        self.search_below(item, depth, is_open);
                        continue;
                    };
                    are_rows |= self.id_of(&pairs).is_some();
                    // Once rows carry their ids, what has none is not taken for a wrapper.
                    if !are_rows || self.id_of(&pairs).is_some() || pairs.iter().any(|(key, _)| is_id(key)) {
                        self.search_below(Json::Object(pairs, whole), depth, is_open);
                    }
                }
            }
            // JSON that was put in quotes once more.
            Json::Text(text) if depth > 0 => {
                if let Some(value) = embedded(&text) {
                    self.search_below(value, depth, is_open);
                }
            }
            _ => {}
        }
    }

    fn search_below(&mut self, value: Json, depth: usize, is_open: bool) {
        if depth < MAX_WRAPPERS {
            self.search(value, depth + 1, is_open);
        }
    }

    fn search_object(&mut self, mut pairs: Vec<(String, Json)>, whole: bool, depth: usize, is_open: bool) {
        if pairs.iter().any(|(key, _)| is_id(key)) {
            for (key, value) in pairs {
                let number = number(&key);
                if number.is_none() && matches!(value, Json::Object(..) | Json::List(..)) {
                    self.search_below(value, depth, is_open);
                } else if value.is_whole() {
                    self.entries.push((number, value, is_open));
                }
            }
            return;
        }
        match self.id_of(&pairs) {
            Some((index, Some(number))) if whole => {
                pairs.remove(index);
                self.entries.push((Some(number), Json::Object(pairs, true), is_open));
            }
            // A row that was cut off says nothing.
            Some((_, Some(_))) => {}
            // A wrapper such as {"rows": [...]}, perhaps with an id of its own.
            none_of_ours => {
                if none_of_ours.is_some() {
                    self.entries.push((None, Json::Null, is_open));
                }
                for (_, value) in pairs {
                    let is_open = is_open || (!whole && value.is_whole());
                    self.search_below(value, depth, is_open);
                }
            }
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
