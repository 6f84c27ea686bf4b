//! The pipeline file as a tree that knows where everything stands.
//!
//! A value keeps its place also when `--set` replaced it or a variable was filled in, so that whoever finds a
//! mistake later, with nothing but the path of a setting, can still put a caret under it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::{Diagnostic, Mistake, Origin};

/// A mistake with the path of the setting that it is in.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) path: Vec<String>,
    pub(super) diagnostic: Diagnostic,
}

impl Found {
    pub(super) fn new(path: &[String], origin: Origin, message: impl Into<String>) -> Self {
        let diagnostic = Diagnostic { message: message.into(), origin, label: None, hint: None };
        Self { path: path.to_vec(), diagnostic }
    }

    pub(super) fn hint(mut self, hint: Option<impl Into<String>>) -> Self {
        self.diagnostic.hint = hint.map(Into::into);
        self
    }

    pub(super) fn label(mut self, label: Option<impl Into<String>>) -> Self {
        self.diagnostic.label = label.map(Into::into);
        self
    }
}

/// A value of the file.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) tree: Tree,
    /// Where the value stands; for a table with a header, the header.
    pub(super) origin: Origin,
    /// Where its key stands; for an entry of a list, the entry.
    pub(super) key: Origin,
    /// The text before variables were filled in, if there were any.
    pub(super) written: Option<String>,
}

#[derive(Clone)]
pub(super) enum Tree {
    Bool(bool),
    Number(Number),
    String(String),
    Date(String),
    List(Vec<Node>),
    Table(Vec<(String, Node)>),
    /// A value that has been reported and is looked at no further.
    Broken,
}

/// The text of a pipeline file, and what it says.
#[derive(Clone)]
pub(super) struct Document {
    pub(super) file: String,
    pub(super) text: Arc<str>,
    pub(super) root: Node,
}

impl fmt::Debug for Document {
    // A file may name variables whose values are nobody's business, so the tree is not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Document {
    /// Reads TOML. Values that JSON cannot hold are added to `found`.
    ///
    /// # Errors
    /// The mistakes in the syntax, one a line: the ones after it are mostly its echo.
    pub(super) fn parse(file: &str, text: &str, found: &mut Vec<Found>) -> Result<Self, Vec<Diagnostic>> {
        let (table, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            return Err(syntax_mistakes(text, &errors));
        }
        let entries = convert_entries(table.get_ref(), &Origin::File, &mut Vec::new(), found);
        let root = Node { tree: Tree::Table(entries), ..Node::table(Origin::Whole) };
        Ok(Self { file: file.to_owned(), text: text.into(), root })
    }

    /// The value at a path, if it is there.
    pub(super) fn get(&self, path: &[&str]) -> Option<&Node> {
        match self.closest(path) {
            (node, true) => Some(node),
            _ => None,
        }
    }

    /// The value at a path or, where that ends in nothing, the last value on the way; and whether it is the one.
    pub(super) fn closest(&self, path: &[&str]) -> (&Node, bool) {
        let mut node = &self.root;
        let mut rest = path;
        while !rest.is_empty() {
            match node.child(rest) {
                Some((child, used)) => (node, rest) = (child, &rest[used..]),
                None => return (node, false),
            }
        }
        (node, true)
    }

    /// The diagnostic of a mistake in the table at `path`.
    pub(super) fn diagnostic(&self, path: &[&str], mistake: Mistake) -> Diagnostic {
        let mut path = path.to_vec();
        path.extend(mistake.at.split('.').filter(|part| !part.is_empty()));
        let (node, exact) = self.closest(&path);
        let part = mistake.range.filter(|_| exact).and_then(|range| self.part(node, range));
        let origin = part.map_or_else(|| node.origin.clone(), Origin::File);
        Diagnostic { message: mistake.message, origin, label: None, hint: mistake.hint }
    }

    /// The place in the file of some bytes of a string, if it stands there as it is.
    pub(super) fn part(&self, node: &Node, range: Range<usize>) -> Option<Range<usize>> {
        let (Origin::File(span), Tree::String(value)) = (&node.origin, &node.tree) else { return None };
        let value = node.written.as_ref().unwrap_or(value);
        let offsets = offsets(self.text.get(span.clone())?, value)?;
        let (start, end) = (*offsets.get(range.start)?, *offsets.get(range.end)?);
        (start <= end).then(|| span.start + start..span.start + end)
    }
}

impl Node {
    /// An empty table that `--set` made.
    pub(super) fn table(origin: Origin) -> Self {
        Self { tree: Tree::Table(Vec::new()), key: origin.clone(), origin, written: None }
    }

    /// The value as a tree; what TOML does not know, a null, is left out.
    pub(super) fn of(value: &Value, origin: &Origin) -> Self {
        let tree = match value {
            Value::Null => Tree::Table(Vec::new()),
            Value::Bool(value) => Tree::Bool(*value),
            Value::Number(number) => Tree::Number(number.clone()),
            Value::String(text) => Tree::String(text.clone()),
            Value::Array(items) => Tree::List(items.iter().map(|item| Self::of(item, origin)).collect()),
            Value::Object(table) => {
                let given = table.iter().filter(|(_, value)| !value.is_null());
                Tree::Table(given.map(|(key, value)| (key.clone(), Self::of(value, origin))).collect())
            }
        };
        Self { tree, ..Self::table(origin.clone()) }
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        match &self.tree {
            Tree::String(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn entries(&self) -> &[(String, Node)] {
        match &self.tree {
            Tree::Table(entries) => entries,
            _ => &[],
        }
    }

    pub(super) fn items(&self) -> &[Self] {
        match &self.tree {
            Tree::List(items) => items,
            _ => &[],
        }
    }

    pub(super) fn field(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    /// The first step of a path, and how many of its parts it took: a key that holds dots takes several.
    fn child(&self, path: &[&str]) -> Option<(&Self, usize)> {
        match &self.tree {
            Tree::List(items) => Some((items.get(path[0].parse::<usize>().ok()?)?, 1)),
            Tree::Table(entries) => {
                let used = parts_of_key(path, |key| entries.iter().any(|(name, _)| name == key)).next()?;
                Some((self.field(&path[..used].join("."))?, used))
            }
            _ => None,
        }
    }

    /// As JSON; what has been reported is left out as null.
    pub(super) fn to_json(&self) -> Value {
        match &self.tree {
            Tree::Bool(value) => Value::Bool(*value),
            Tree::Number(number) => Value::Number(number.clone()),
            Tree::String(text) | Tree::Date(text) => Value::String(text.clone()),
            Tree::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Tree::Table(entries) => Value::Object(entries.iter().map(|(key, node)| (key.clone(), node.to_json())).collect::<Map<_, _>>()),
            Tree::Broken => Value::Null,
        }
    }
}

/// How many parts of a path, joined by dots, make a key that is there; the answers from few to many.
pub(super) fn parts_of_key<S: AsRef<str>>(path: &[S], is_key: impl Fn(&str) -> bool) -> impl Iterator<Item = usize> {
    let joined = |used: usize| path[..used].iter().map(AsRef::as_ref).collect::<Vec<_>>().join(".");
    (1..=path.len().min(8)).filter(move |used| is_key(&joined(*used)))
}

/// Takes over a TOML value; `place` says what its spans mean.
pub(super) fn convert(
    value: &Spanned<DeValue<'_>>,
    place: &dyn Fn(Range<usize>) -> Origin,
    key: Origin,
    path: &mut Vec<String>,
    found: &mut Vec<Found>,
) -> Node {
    let origin = place(value.span());
    let mut broken = |message: String| {
        found.push(Found::new(path, origin.clone(), message));
        Tree::Broken
    };
    let tree = match value.get_ref() {
        DeValue::Boolean(value) => Tree::Bool(*value),
        DeValue::String(text) => Tree::String(text.clone().into_owned()),
        DeValue::Datetime(date) => Tree::Date(date.to_string()),
        DeValue::Integer(integer) => {
            let (digits, radix) = (integer.as_str(), integer.radix());
            let signed = i64::from_str_radix(digits, radix).map(Number::from);
            match signed.or_else(|_| u64::from_str_radix(digits, radix).map(Number::from)) {
                Ok(number) => Tree::Number(number),
                Err(_) => broken(format!("`{}` is too large a number", shown(digits))),
            }
        }
        DeValue::Float(float) => match float.as_str().parse().ok().and_then(Number::from_f64) {
            Some(number) => Tree::Number(number),
            None => broken(format!("`{}` is not a finite number", shown(float.as_str()))),
        },
        DeValue::Array(items) => {
            let mut nodes = Vec::with_capacity(items.len());
            for (index, item) in items.iter().enumerate() {
                path.push(index.to_string());
                nodes.push(convert(item, place, place(item.span()), path, found));
                path.pop();
            }
            Tree::List(nodes)
        }
        DeValue::Table(table) => Tree::Table(convert_entries(table, place, path, found)),
    };
    Node { tree, origin, key, written: None }
}

fn convert_entries(
    table: &DeTable<'_>,
    place: &dyn Fn(Range<usize>) -> Origin,
    path: &mut Vec<String>,
    found: &mut Vec<Found>,
) -> Vec<(String, Node)> {
    let mut entries = Vec::with_capacity(table.len());
    for (key, value) in table {
        path.push(key.get_ref().clone().into_owned());
        let node = convert(value, place, place(key.span()), path, found);
        entries.push((path.pop().unwrap_or_default(), node));
    }
    entries
}

fn syntax_mistakes(text: &str, errors: &[toml::de::Error]) -> Vec<Diagnostic> {
    let mut list: Vec<Diagnostic> = Vec::new();
    let mut lines = Vec::new();
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let span = span.start.min(text.len())..span.end.min(text.len());
        let line_start = text[..span.start].rfind('\n').map_or(0, |newline| newline + 1);
        let mut message = error.message().replace('\n', " ");
        // After a list that is not closed, every line lacks a comma.
        let echo = message.starts_with("missing comma") && list.iter().any(|earlier| earlier.message == message);
        if echo || lines.contains(&line_start) {
            continue;
        }
        lines.push(line_start);
        let line = text[line_start..].lines().next().unwrap_or_default();
        let unquoted = unquoted(line, span.start - line_start);
        if unquoted.is_some() || message.starts_with("string values must be quoted") {
            message = "string values must be quoted".to_owned();
        } else if message == "duplicate key" {
            message = format!("duplicate key `{}`", shown(text.get(span.clone()).unwrap_or_default()));
        }
        let hint = unquoted.map(|(key, value)| format!("write `{key} = \"{}\"`", shown(value)));
        list.push(Diagnostic { message, origin: Origin::File(span), label: None, hint });
    }
    list
}

/// The key and the text of a line such as `path = data/in.parquet`, if the mistake is in the text.
fn unquoted(line: &str, mistake: usize) -> Option<(&str, &str)> {
    let (key, value) = line.split_once('=')?;
    let in_value = mistake > key.len();
    let (key, value) = (key.trim(), value.split(" #").next()?.trim());
    let is_word = value.starts_with(|first: char| first.is_alphabetic() || matches!(first, '/' | '.' | '~' | '$'))
        && !value.contains(['"', '\'', '\\', '[', ']']);
    let is_key = !key.is_empty() && key.chars().all(|next| next.is_ascii_alphanumeric() || "-_.".contains(next));
    (in_value && is_word && is_key).then_some((key, value))
}

/// For each byte of a decoded string, and for its end, where it stands in the TOML source of the string.
/// `None` if the source does not decode to `value`.
fn offsets(source: &str, value: &str) -> Option<Vec<usize>> {
    let quotes = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quotes| source.starts_with(quotes))?;
    let mut at = quotes.len();
    let end = source.len().checked_sub(quotes.len()).filter(|end| *end >= at && source.ends_with(quotes))?;
    if quotes.len() == 3 {
        at += ["\r\n", "\n"].iter().find(|newline| source[at..end].starts_with(**newline)).map_or(0, |newline| newline.len());
    }
    let mut decoded = String::with_capacity(value.len());
    let mut offsets = Vec::with_capacity(value.len() + 1);
    while at < end {
        let rest = &source[at..end];
        let (text, used) = match rest.strip_prefix('\\') {
            Some(escape) if quotes.starts_with('"') => unescape(escape)?,
            _ => {
                let next = rest.chars().next()?;
                (Some(next), next.len_utf8())
            }
        };
        if let Some(text) = text {
            decoded.push(text);
            // The bytes of one character have one place, and so have those of one escape.
            let inside = if used == text.len_utf8() { 1 } else { 0 };
            offsets.extend((0..text.len_utf8()).map(|byte| at + byte * inside));
        }
        at += used;
    }
    offsets.push(end);
    (decoded == value).then_some(offsets)
}

/// What follows a backslash: the character it stands for, if any, and the bytes it takes with the backslash.
fn unescape(escape: &str) -> Option<(Option<char>, usize)> {
    let hexadecimal = |digits: usize| {
        let code = u32::from_str_radix(escape.get(1..1 + digits)?, 16).ok()?;
        Some((Some(char::from_u32(code)?), digits + 2))
    };
    let simple = |text: char| Some((Some(text), 2));
    match escape.chars().next()? {
        'b' => simple('\u{8}'),
        't' => simple('\t'),
        'n' => simple('\n'),
        'f' => simple('\u{c}'),
        'r' => simple('\r'),
        'e' => simple('\u{1b}'),
        '"' => simple('"'),
        '\\' => simple('\\'),
        'x' => hexadecimal(2),
        'u' => hexadecimal(4),
        'U' => hexadecimal(8),
        _ => {
            let blank = escape.len() - escape.trim_start_matches([' ', '\t', '\r', '\n']).len();
            (blank > 0).then_some((None, blank + 1))
        }
    }
}

/// A text as messages show it: short, and on one line.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown = String::new();
    for (count, next) in text.chars().enumerate() {
        if count == LONGEST {
            shown.push('…');
            break;
        }
        if next.is_control() { shown.extend(next.escape_default()) } else { shown.push(next) }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_a_string_are_found_in_its_source() {
        let part = |source: &str, value: &str, wanted: &str| {
            let start = value.find(wanted).expect("is in the value");
            let offsets = offsets(source, value).expect("decodes");
            source[offsets[start]..offsets[start + wanted.len()]].to_owned()
        };
        assert_eq!(part(r#""{{ title }}\n\n{{ bdy }}""#, "{{ title }}\n\n{{ bdy }}", "bdy"), "bdy");
        assert_eq!(part(r#""caf\u00e9 {{ x }}""#, "café {{ x }}", "é"), r"\u00e9");
        assert_eq!(part("'''\nzoë {{ x }}'''", "zoë {{ x }}", "ë"), "ë");
        assert_eq!(part("\"\"\"\r\na \\\n   b\"\"\"", "a b", "b"), "b");
        assert_eq!(offsets(r#""a\q""#, "aq"), None);
        assert_eq!(offsets("plain", "plain"), None);
        assert_eq!(offsets("\"", ""), None);
    }
}
