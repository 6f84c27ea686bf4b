//! `${VAR}` and `${VAR:-default}` inside string values.

use std::ops::Range;

use crate::Origin;

use super::document::{Document, Found, Node, Tree, shown};

/// A piece of a string with variables.
#[derive(Debug, PartialEq)]
enum Piece<'t> {
    Text(&'t str),
    Variable {
        name: &'t str,
        default: Option<&'t str>,
        range: Range<usize>,
    },
    /// Something that starts like a variable and is none.
    Malformed(Range<usize>),
}

/// Fills in the variables of every string of the file.
pub(super) fn fill_in(document: &mut Document, env: &dyn Fn(&str) -> Option<String>, found: &mut Vec<Found>) {
    let mut root = std::mem::replace(&mut document.root, Node::table(Origin::Whole));
    fill_in_below(&mut root, document, env, &mut Vec::new(), found);
    document.root = root;
}

fn fill_in_below(
    node: &mut Node,
    document: &Document,
    env: &dyn Fn(&str) -> Option<String>,
    path: &mut Vec<String>,
    found: &mut Vec<Found>,
) {
    match &mut node.tree {
        Tree::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                path.push(index.to_string());
                fill_in_below(item, document, env, path, found);
                path.pop();
            }
        }
        Tree::Table(entries) => {
            for (key, entry) in entries {
                path.push(key.clone());
                fill_in_below(entry, document, env, path, found);
                path.pop();
            }
        }
        Tree::String(text) if text.contains("${") => match filled(text, env) {
            Ok(filled) => node.written = Some(std::mem::replace(text, filled)),
            Err(mistakes) => {
                for (range, message, hint) in mistakes {
                    let origin = document.part(node, range).map_or_else(|| node.origin.clone(), Origin::File);
                    found.push(Found::new(path, origin, message).hint(Some(hint)));
                }
                node.tree = Tree::Broken;
            }
        },
        _ => {}
    }
}

type Mistaken = (Range<usize>, String, String);

fn filled(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, Vec<Mistaken>> {
    let mut filled = String::with_capacity(text.len());
    let mut mistakes = Vec::new();
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => filled.push_str(text),
            Piece::Variable { name, default, range } => match (env(name), default) {
                // As in a shell: with a default, an empty variable counts as none.
                (Some(value), None) => filled.push_str(&value),
                (Some(value), Some(_)) if !value.is_empty() => filled.push_str(&value),
                (_, Some(default)) => filled.push_str(default),
                (None, None) => mistakes.push((
                    range,
                    format!("the environment variable `{name}` is not set"),
                    format!("`export {name}=…`, or write `${{{name}:-default}}`"),
                )),
            },
            Piece::Malformed(range) => mistakes.push((
                range.clone(),
                format!("`{}` is not a variable", shown(&text[range])),
                "write `${NAME}` or `${NAME:-default}`, or `$${` for the characters themselves".to_owned(),
            )),
        }
    }
    if mistakes.is_empty() { Ok(filled) } else { Err(mistakes) }
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while let Some(found) = text[at..].find("${") {
        let start = at + found;
        if text[at..start].ends_with('$') {
            // `$${` stands for `${`: the first dollar goes.
            pieces.push(Piece::Text(&text[at..start - 1]));
            pieces.push(Piece::Text("${"));
            at = start + 2;
            continue;
        }
        pieces.push(Piece::Text(&text[at..start]));
        let Some(length) = text[start..].find('}') else {
            pieces.push(Piece::Malformed(start..start + 2));
            at = start + 2;
            continue;
        };
        let range = start..start + length + 1;
        let inner = &text[start + 2..start + length];
        let (name, default) = inner.split_once(":-").map_or((inner, None), |(name, default)| (name, Some(default)));
        at = range.end;
        pieces.push(match is_variable(name) && !default.is_some_and(|default| default.contains("${")) {
            true => Piece::Variable { name, default, range },
            false => Piece::Malformed(range),
        });
    }
    pieces.push(Piece::Text(&text[at..]));
    pieces
}

fn is_variable(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|next| next.is_ascii_alphanumeric() || next == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "A" => Some("1".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_filled_in_as_a_shell_would() {
        for (text, expected) in [
            ("a${A}b${A}", "a1b1"),
            ("${B:-x y}", "x y"),
            ("${B:-}", ""),
            ("${EMPTY}|${EMPTY:-x}", "|x"),
            ("$${A} $$${A}", "${A} $${A}"),
            ("100 $ {A} $A", "100 $ {A} $A"),
            ("é${A}é", "é1é"),
        ] {
            assert_eq!(filled(text, &env).expect(text), expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_filled_in_is_reported_each_for_itself() {
        let mistakes =
            |text: &str| filled(text, &env).expect_err(text).into_iter().map(|(range, ..)| text[range].to_owned()).collect::<Vec<_>>();
        assert_eq!(mistakes("${B} ${A} ${C}"), ["${B}", "${C}"]);
        assert_eq!(mistakes("${} ${a b} ${1}"), ["${}", "${a b}", "${1}"]);
        assert_eq!(mistakes("${A:-${B}}"), ["${A:-${B}"]);
        assert_eq!(mistakes("open ${A"), ["${"]);
    }
}
