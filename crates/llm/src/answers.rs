//! From what a model said to one answer a row: tolerant of form, strict about identity.
//!
//! Fences, prose around the JSON, wrappers, rows that carry their id, ids as numbers, JSON that is nearly JSON
//! (`lenient`) and a cut-off end are read for what they hold. But an answer belongs to a row only by its id
//! (`find`): never by position, never if the id came twice with different words, never if the id was not asked
//! about. And it is an answer only if every value fits its type (`fit`); what was cut off is none.

mod find;
mod fit;
mod json;
mod lenient;
mod spoken;

use std::borrow::Cow;

use promptmill_core::AnswerShape;
use promptmill_core::pipeline::Structured;
use serde_json::Value;

use find::Entry;
use fit::{fit, is_bare};
use json::Json;
use lenient::{Read, read, unescaped};
use spoken::{Spoken, spoken};

/// How often JSON may have been put in quotes as a whole.
const MAX_QUOTED: usize = 2;

/// What a model said about the rows of a pack.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// One entry a row, in the order of the pack.
    pub rows: Vec<RowAnswer>,
    /// Answers under ids that were not asked about.
    pub unknown_ids: usize,
    /// Whether the JSON was whole. If not, what stood before the break counts.
    pub whole: bool,
    /// The rows that nothing shows to be settled: words at the end of the content, or without an id. What would come
    /// behind might change them.
    pub open: Vec<usize>,
}

/// What a model said about one row.
#[derive(Clone, Debug, PartialEq)]
pub enum RowAnswer {
    /// Values of the answer's columns, in their order, each of its declared type.
    Given(Vec<Value>),
    /// Nothing.
    Missing,
    /// Two different things.
    Duplicate,
    /// Something that does not have the answer's shape.
    Invalid {
        /// What is wrong with it, naming the field.
        why: String,
        /// What it was.
        said: String,
    },
}

impl Reply {
    /// How many rows got something that has the answer's shape.
    pub fn given(&self) -> usize {
        self.rows.iter().filter(|row| matches!(row, RowAnswer::Given(_))).count()
    }

    /// The same, known to have been cut off: what might have gone on is no answer.
    #[must_use]
    pub fn cut_off(mut self) -> Self {
        for row in std::mem::take(&mut self.open) {
            self.rows[row] = RowAnswer::Missing;
        }
        self
    }
}

/// Why plain words are no answer.
const PLAIN: &str = "plain words, where JSON was asked for (`structured = \"text\"` takes them)";

/// Reads the answers about the rows `r1` to `r<count>`. Plain words about a single row are an answer only where the model
/// was asked for its shape in words alone, or has thought aloud before it: elsewhere they are what a model says that does not do
/// what it is asked for, or what a gateway says in its place.
pub fn read_answers(content: &str, count: usize, shape: &AnswerShape, structured: Structured) -> Reply {
    let Spoken { text: content, is_behind_thought } = spoken(content);
    let takes_words = structured == Structured::Text || is_behind_thought;
    let Read { values, whole, ends_in_text } = json_in(content, 0);
    let bare = if count == 1 { bare_answer(&values, whole, shape) } else { None };
    let plain = if count == 1 && bare.is_none() { plain_words(content) } else { None };
    let mut reply = Reply { rows: vec![RowAnswer::Missing; count], unknown_ids: 0, whole, open: Vec::new() };
    let mut first: Vec<Option<Json>> = vec![None; count];
    let entries = find::entries(values, &shape.columns());
    let last = entries.len().saturating_sub(1);
    for (index, Entry { position, value, is_open }) in entries.into_iter().enumerate() {
        let Some(position) = position.filter(|position| *position < count) else {
            reply.unknown_ids += 1;
            continue;
        };
        if is_open || (ends_in_text && index == last) {
            reply.open.push(position);
        }
        let row = &mut reply.rows[position];
        match &first[position] {
            None => {
                *row = row_answer(&value, shape);
                first[position] = Some(value);
            }
            // The same thing said twice is still one answer.
            Some(earlier) if *earlier == value => {}
            Some(_) => {
                let same = matches!(row, RowAnswer::Given(_)) && *row == row_answer(&value, shape);
                if !same {
                    *row = RowAnswer::Duplicate;
                }
            }
        }
    }
    // A single row asked alone may be answered without its id: there is no other row it could belong to.
    if reply.unknown_ids > 0 || first.first().is_none_or(Option::is_some) {
        return reply;
    }
    let answer = match (bare, plain) {
        (Some(value), _) => row_answer(&value, shape),
        (None, Some(words)) if takes_words || words.trim().is_empty() => row_answer(&Json::Text(words.into_owned()), shape),
        (None, Some(words)) => RowAnswer::Invalid { why: PLAIN.to_owned(), said: words.into_owned() },
        (None, None) => return reply,
    };
    reply.rows[0] = answer;
    // More may come behind it, and under its id.
    (reply.whole, reply.open) = (true, vec![0]);
    reply
}

fn row_answer(value: &Json, shape: &AnswerShape) -> RowAnswer {
    match fit(value, shape) {
        Ok(values) => RowAnswer::Given(values),
        Err(why) => RowAnswer::Invalid { why, said: value.to_string() },
    }
}

/// The lists and objects in a text, also where all of it was put in quotes once more.
fn json_in(content: &str, quoted: usize) -> Read {
    if quoted < MAX_QUOTED {
        // A string that holds JSON, be it cut off or not.
        let inside = content.strip_prefix('"').map(|rest| unescaped(rest.strip_suffix('"').unwrap_or(rest)));
        if let Some(inside) = inside.filter(|inside| inside.trim_start().starts_with(['{', '[', '"'])) {
            return json_in(inside.trim(), quoted + 1);
        }
        if is_escaped(content) {
            return json_in(&unescaped(content), quoted + 1);
        }
    }
    read(content)
}

/// The text in a JSON string that is all there is.
fn unquoted(content: &str) -> Option<String> {
    let is_string = content.len() > 1 && content.starts_with('"') && content.ends_with('"');
    is_string.then(|| serde_json::from_str(content).ok()).flatten()
}

/// Whether the first quote behind the first bracket has a backslash, as in `{\"r1\": …`.
fn is_escaped(content: &str) -> bool {
    let Some(start) = content.find(['{', '[']) else { return false };
    let rest = &content[start..];
    let between = &rest[..rest.find('"').unwrap_or(0)];
    between.ends_with('\\') && between.chars().all(|sign| sign.is_whitespace() || "{[\\nrt".contains(sign))
}

/// The answer about a single row, given without its id: an object with the answer's names.
fn bare_answer(values: &[Json], whole: bool, shape: &AnswerShape) -> Option<Json> {
    let columns = shape.columns();
    match values {
        [Json::List(items, true)] if whole => match items.as_slice() {
            [only] if is_bare(only, &columns, 0) => Some(only.clone()),
            _ => None,
        },
        [only] if whole && is_bare(only, &columns, 0) => Some(only.clone()),
        _ => None,
    }
}

/// The words of a content that is no JSON but, at the most, a string in quotes.
fn plain_words(content: &str) -> Option<Cow<'_, str>> {
    let words: Cow<'_, str> = match unquoted(content) {
        Some(text) => text.into(),
        None => match content.strip_prefix("```").and_then(|rest| rest.strip_suffix("```")) {
            Some(fenced) => fenced.split_once('\n').map_or(fenced, |(_, words)| words).into(),
            None => content.into(),
        },
    };
    let begins_json = words.trim_start().starts_with(['[', '"']) || words.starts_with("```");
    let is_json = begins_json || words.contains('{') || words.contains("\":");
    (!is_json).then_some(words)
}

#[cfg(test)]
mod tests;
