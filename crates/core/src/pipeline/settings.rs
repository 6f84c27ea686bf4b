//! `--set KEY=VALUE`: values from the command line in the place of the file's.

use std::ops::Range;

use serde_json::Value;
use toml::de::DeValue;

use crate::Origin;

use super::document::{Document, Found, Node, Tree, convert, parts_of_key, shown};
use super::validate::{did_you_mean, listed};
use crate::nearest;

/// The deepest that a key may reach; TOML itself ends at as much.
const DEEPEST: usize = 80;

/// Puts the settings in place, in their order: the last one wins.
pub(super) fn apply(document: &mut Document, settings: &[String], found: &mut Vec<Found>) {
    for setting in settings {
        if let Err(mistake) = apply_one(&mut document.root, setting, found) {
            found.push(mistake);
        }
    }
}

/// Puts values in place that somebody else than the command line says, each by its path.
pub(super) fn put(document: &mut Document, settings: &[(Vec<String>, Value)], found: &mut Vec<Found>) {
    for (path, value) in settings {
        let origin = Origin::Set(format!("{}={value}", path.join(".")));
        match descend(&mut document.root, path, 0, &mut Vec::new(), &origin) {
            Ok(slot) => *slot = Node { key: slot.key.clone(), ..Node::of(value, &origin) },
            Err(mistake) => found.push(mistake),
        }
    }
}

fn apply_one(root: &mut Node, setting: &str, found: &mut Vec<Found>) -> Result<(), Found> {
    let origin = Origin::Set(setting.to_owned());
    let mistake = |message: String| Found::new(&[], origin.clone(), message);
    let Some((key, text)) = split(setting).filter(|(key, _)| !key.is_empty()) else {
        let key = if setting.is_empty() || setting.starts_with('=') { "KEY" } else { setting };
        let hint = format!("write `--set {}=VALUE`", shown(key));
        return Err(mistake("expected a key and a value".to_owned()).hint(Some(hint)));
    };
    let parts = parts(key);
    if parts.iter().any(String::is_empty) || parts.len() > DEEPEST {
        let message = format!("`{}` is not the path of a setting", shown(key));
        return Err(mistake(message).hint(Some("write it as `--set source.path=VALUE`")));
    }
    let mut path = Vec::new();
    let slot = descend(root, &parts, 0, &mut path, &origin)?;
    let key = slot.key.clone();
    *slot = value(text, &origin, &mut path, found);
    slot.key = key;
    Ok(())
}

/// The key and the value: the first `=` outside quotes stands between them.
fn split(setting: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    for (at, next) in setting.char_indices() {
        match (quote, next) {
            (None, '=') => return Some((setting[..at].trim(), &setting[at + 1..])),
            (None, '"' | '\'') => quote = Some(next),
            (Some(open), _) if open == next => quote = None,
            _ => {}
        }
    }
    None
}

/// The parts of a dotted path; quotes keep the dots of a name together.
fn parts(key: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quote = None;
    for next in key.chars() {
        match (quote, next) {
            (None, '.') => parts.push(String::new()),
            (None, '"' | '\'') => quote = Some(next),
            (Some(open), _) if open == next => quote = None,
            _ => parts.iter_mut().last().into_iter().for_each(|part| part.push(next)),
        }
    }
    parts
}

fn value(text: &str, origin: &Origin, path: &mut Vec<String>, found: &mut Vec<Found>) -> Node {
    match DeValue::parse(text) {
        Ok(value) => convert(&value, &|_: Range<usize>| origin.clone(), origin.clone(), path, found),
        Err(_) => Node { tree: Tree::String(text.to_owned()), ..Node::table(origin.clone()) },
    }
}

/// The place of a setting, of whose path `done` parts lead to `node`. Tables missing on the way are made.
fn descend<'n>(node: &'n mut Node, parts: &[String], done: usize, path: &mut Vec<String>, origin: &Origin) -> Result<&'n mut Node, Found> {
    let rest = &parts[done..];
    if rest.is_empty() {
        return Ok(node);
    }
    match &mut node.tree {
        Tree::List(items) => {
            let place = position(items, rest, path == &["stages"]);
            let (index, used) = place.map_err(|(message, hint)| Found::new(path, origin.clone(), message).hint(hint))?;
            if index == items.len() {
                items.push(Node::table(origin.clone()));
            }
            path.push(index.to_string());
            descend(&mut items[index], parts, done + used, path, origin)
        }
        Tree::Table(entries) => {
            let used = parts_of_key(rest, |key| entries.iter().any(|(name, _)| name == key)).last().unwrap_or(1);
            let key = rest[..used].join(".");
            let index = entries.iter().position(|(name, _)| *name == key).unwrap_or_else(|| {
                let list = rest.get(used).is_some_and(|next| next == "0");
                let tree = if list { Tree::List(Vec::new()) } else { Tree::Table(Vec::new()) };
                entries.push((key.clone(), Node { tree, ..Node::table(origin.clone()) }));
                entries.len() - 1
            });
            path.push(key);
            descend(&mut entries[index].1, parts, done + used, path, origin)
        }
        _ => {
            let (outer, inner) = (parts[..done].join("."), rest.join("."));
            let message = format!("`{}` is not a table, so it has no `{}`", shown(&outer), shown(&inner));
            let hint = format!("write `--set '{}={{ {} = … }}'`", shown(&outer), shown(&inner));
            Err(Found::new(path, origin.clone(), message).hint(Some(hint)))
        }
    }
}

/// The index of a list's entry and how many parts of the path named it; or a message and a hint. A stage goes by
/// its name; in other lists the index after the last one appends.
fn position(items: &[Node], rest: &[String], stages: bool) -> Result<(usize, usize), (String, Option<String>)> {
    let part = shown(&rest[0]);
    let index = rest[0].parse::<usize>().ok();
    if !stages {
        return index.filter(|index| *index <= items.len()).map(|index| (index, 1)).ok_or_else(|| {
            let hint = format!("entries go by number, from 0; `{}` appends one", items.len());
            (format!("a list has no entry `{part}`"), Some(hint))
        });
    }
    let names: Vec<&str> = items.iter().map(|item| stage_name(item).unwrap_or_default()).collect();
    let by_name = parts_of_key(rest, |key| names.contains(&key)).last().and_then(|used| {
        let name = rest[..used].join(".");
        Some((names.iter().position(|known| *known == name)?, used))
    });
    let by_index = index.filter(|index| *index < items.len()).map(|index| (index, 1));
    by_name.or(by_index).ok_or_else(|| {
        let hint = match nearest(&rest[0], names.iter().copied()) {
            Some(name) => Some(did_you_mean(&format!("stages.{name}"))),
            None if names.is_empty() => None,
            None => Some(format!("the stages are {}", listed(names.iter().copied(), "and"))),
        };
        (format!("no stage is named `{part}`"), hint)
    })
}

/// The name of a stage: its `name`, or else its `use`.
pub(super) fn stage_name(stage: &Node) -> Option<&str> {
    stage.field("name").or_else(|| stage.field("use")).and_then(Node::as_str)
}
