//! Checks the whole file by its JSON Schema, and says everything that is wrong with it at once.
//!
//! Of JSON Schema it knows what `schemars` writes. A validator of the full language would say "does not match
//! any of the alternatives"; this one picks the alternative that was meant, by the type of the value or by the
//! word that tells the alternatives apart, and reports what is wrong with that.

use std::collections::HashSet;

use regex::Regex;
use serde_json::{Map, Value, json};

use crate::{Origin, nearest};

use super::document::{Document, Found, Node, Tree, shown};
use super::schema::NAME;
use super::settings::stage_name;

/// The most names that stand under a caret.
const FEW: usize = 6;

/// Adds every mistake of the file to `found`.
pub(super) fn validate(document: &Document, schema: &Value, found: &mut Vec<Found>) {
    let mut validator = Validator { document, schema, path: Vec::new(), found: Vec::new() };
    validator.check(&document.root, schema);
    found.append(&mut validator.found);
}

struct Validator<'d> {
    document: &'d Document,
    schema: &'d Value,
    path: Vec<String>,
    found: Vec<Found>,
}

impl Validator<'_> {
    fn check(&mut self, node: &Node, schema: &Value) {
        if matches!(node.tree, Tree::Broken) {
            return;
        }
        let before = self.found.len();
        if let Some(alternatives) = alternatives(schema) {
            self.check_alternatives(node, schema, alternatives);
        }
        for part in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            self.check(node, part);
        }
        if self.found.len() > before {
            return;
        }
        if !accepts(schema, node) {
            self.wrong_type(node, schema);
            return;
        }
        if let Some(words) = words(schema) {
            self.check_word(node, &words);
            return;
        }
        match &node.tree {
            Tree::Number(number) => self.check_bounds(node, number.as_f64().unwrap_or_default(), schema),
            Tree::String(text) => self.check_text(node, text, schema),
            Tree::List(items) => self.check_list(node, items, schema),
            Tree::Table(entries) => self.check_table(node, entries, schema),
            Tree::Bool(_) | Tree::Date(_) | Tree::Broken => {}
        }
    }

    fn check_below(&mut self, key: impl Into<String>, node: &Node, schema: &Value) {
        self.path.push(key.into());
        self.check(node, schema);
        self.path.pop();
    }

    fn report(&mut self, origin: &Origin, message: String, hint: Option<String>) {
        self.found.push(Found::new(&self.path, origin.clone(), message).hint(hint));
    }

    fn check_alternatives(&mut self, node: &Node, schema: &Value, alternatives: &[Value]) {
        let candidates: Vec<&Value> = alternatives.iter().filter(|alternative| accepts(alternative, node)).collect();
        if candidates.is_empty() {
            self.wrong_type(node, schema);
        } else if let Some(words) = candidates.iter().map(|candidate| words(candidate)).collect::<Option<Vec<_>>>() {
            self.check_word(node, &words.concat());
        } else if let (Tree::Table(_), Some(tag)) = (&node.tree, tag(&candidates)) {
            self.check_tagged(node, tag, &candidates);
        } else {
            self.check_best(node, &candidates);
        }
    }

    /// One of several tables, told apart by the word under `tag`.
    fn check_tagged(&mut self, node: &Node, tag: &str, candidates: &[&Value]) {
        let words: Vec<&str> = candidates.iter().filter_map(|candidate| tag_word(candidate, tag)).collect();
        let Some(value) = node.field(tag) else {
            let message = format!("missing key `{tag}`{}", self.place_in(&self.path));
            let hint = (!words.is_empty()).then(|| format!("add `{tag} = \"…\"`: {}", one_of(&words)));
            self.report(&node.origin, message, hint);
            return;
        };
        match value.as_str().and_then(|word| candidates.iter().find(|schema| tag_word(schema, tag) == Some(word))) {
            Some(chosen) => self.check(node, chosen),
            None if matches!(value.tree, Tree::String(_)) => {
                self.path.push(tag.to_owned());
                self.check_word(value, &words);
                self.path.pop();
            }
            None => self.check_below(tag, value, &json!({"type": "string", "enum": words})),
        }
    }

    /// Alternatives that nothing tells apart: the one with the fewest mistakes was meant.
    fn check_best(&mut self, node: &Node, candidates: &[&Value]) {
        let mut best: Option<Vec<Found>> = None;
        for candidate in candidates {
            let before = self.found.len();
            self.check(node, candidate);
            let found = self.found.split_off(before);
            if best.as_ref().is_none_or(|best| found.len() < best.len()) {
                best = Some(found);
            }
        }
        self.found.extend(best.unwrap_or_default());
    }

    fn wrong_type(&mut self, node: &Node, schema: &Value) {
        let expected = listed_plain(&expected_types(schema));
        let message = format!("wrong type for `{}`: expected {expected}, found {}", self.leaf(), found_type(node));
        let hint = match (&node.tree, expected.as_str()) {
            (Tree::Table(_), "a list of tables") => Some(format!("write `[[{}]]`", self.path.join("."))),
            (Tree::List(_), "a table") if !self.path.is_empty() => Some(format!("write `[{}]`", self.path.join("."))),
            _ => {
                rewritten(node, schema).map(|literal| self.write(node, &literal)).or_else(|| all_words(schema).map(|words| one_of(&words)))
            }
        };
        self.report(&node.origin, message, hint);
    }

    fn check_word(&mut self, node: &Node, words: &[&str]) {
        let Some(word) = node.as_str().filter(|word| !words.contains(word)) else { return };
        let kind = match self.path.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["providers", _, "kind"] => Some("provider kind"),
            [.., list, _, "use"] if self.is_item(&self.path[..self.path.len() - 1]) => Some(singular(list)),
            _ => None,
        };
        let told = self.told(node, word);
        let message = match kind {
            Some(kind) => format!("unknown {kind} `{told}`"),
            None => format!("unknown value `{told}` for `{}`", self.leaf()),
        };
        let hint = match (nearest(word, words.iter().copied()), words) {
            (Some(word), _) => Some(did_you_mean(word)),
            (None, []) => None,
            (None, [only]) => Some(self.write(node, &quoted(only))),
            (None, words) => Some(one_of(words)),
        };
        self.report(&node.origin, message, hint);
    }

    fn check_bounds(&mut self, node: &Node, value: f64, schema: &Value) {
        let bound = |key: &str| schema.get(key).filter(|bound| bound.is_number());
        let number = |bound: &Value| bound.as_f64().unwrap_or_default();
        let (min, declared) = (bound("minimum"), bound("maximum"));
        let (above, below) = (bound("exclusiveMinimum"), bound("exclusiveMaximum"));
        let largest = match schema.get("format").and_then(Value::as_str) {
            Some("uint32") => Some(Value::from(u32::MAX)),
            Some("int32") => Some(Value::from(i32::MAX)),
            _ => None,
        };
        let max = declared.or(largest.as_ref());
        let low = min.filter(|min| value < number(min));
        let high = max.filter(|max| value > number(max));
        let wanted = if above.is_some_and(|bound| value <= number(bound)) {
            format!("more than {}", plain(above))
        } else if below.is_some_and(|bound| value >= number(bound)) {
            format!("less than {}", plain(below))
        } else if low.is_none() && high.is_none() {
            return;
        } else if min.is_some() && declared.is_some() {
            format!("from {} to {}", plain(min), plain(max))
        } else if low.is_some() {
            format!("at least {}", plain(min))
        } else {
            format!("at most {}", plain(max))
        };
        let found = node.to_json();
        let message = format!("`{}` must be {wanted}, found {}", self.leaf(), plain(Some(&found)));
        let hint = low.or(high).map(|bound| self.write(node, &plain(Some(bound))));
        self.report(&node.origin, message, hint);
    }

    fn check_text(&mut self, node: &Node, text: &str, schema: &Value) {
        let leaf = self.leaf();
        let length = || text.chars().count() as u64;
        if schema.get("minLength").and_then(Value::as_u64).is_some_and(|min| length() < min) {
            let hint = first_example(schema).map(|example| self.write(node, &quoted(example)));
            self.report(&node.origin, format!("`{leaf}` is {}", if text.is_empty() { "empty" } else { "too short" }), hint);
        } else if let Some(max) = schema.get("maxLength").and_then(Value::as_u64).filter(|max| length() > *max) {
            self.report(&node.origin, format!("`{leaf}` is longer than {max} characters"), None);
        } else if !matches_pattern(text, schema) {
            let secret = schema.get("writeOnly").is_some_and(|secret| secret == &Value::Bool(true));
            let pattern = schema.get("pattern").and_then(Value::as_str).unwrap_or_default();
            let told = self.told(node, text);
            let (message, hint) = if secret {
                (format!("the value of `{leaf}` is not one that it can have"), None)
            } else if pattern == NAME {
                let message = format!("`{told}` cannot be a name: only letters, digits, `-`, `_` and `.` can");
                (message, Some(self.write(node, &quoted(&as_name(text)))))
            } else {
                (format!("`{told}` is not a valid `{leaf}`"), None)
            };
            let examples: Vec<&str> = examples(schema).collect();
            let hint = hint.or_else(|| match examples.is_empty() {
                true => (!secret).then(|| format!("it must match `{pattern}`")),
                false => Some(format!("for example {}", listed(examples, "or"))),
            });
            self.report(&node.origin, message, hint);
        }
    }

    fn check_list(&mut self, node: &Node, items: &[Node], schema: &Value) {
        let count = items.len() as u64;
        if let Some(min) = schema.get("minItems").and_then(Value::as_u64).filter(|min| count < *min) {
            let message = match self.path.as_slice() {
                [stages] if stages == "stages" => "the pipeline has no stages".to_owned(),
                _ => format!("`{}` needs at least {min} {}, found {count}", self.leaf(), entries(min)),
            };
            let hint = (self.path == ["stages"]).then(|| NO_STAGES.to_owned());
            self.report(&node.origin, message, hint);
        }
        if let Some(max) = schema.get("maxItems").and_then(Value::as_u64).filter(|max| count > *max) {
            let message = format!("`{}` takes at most {max} {}, found {count}", self.leaf(), entries(max));
            self.report(&node.origin, message, None);
        }
        let unique = schema.get("uniqueItems").is_some_and(|unique| unique == &Value::Bool(true));
        let mut seen = HashSet::new();
        let first = schema.get("prefixItems").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for (index, item) in items.iter().enumerate() {
            if let Some(schema) = first.get(index).or_else(|| schema.get("items")) {
                self.check_below(index.to_string(), item, schema);
            }
            if unique && !seen.insert(item.to_json().to_string()) {
                let message = format!("`{}` stands twice in `{}`", shown(&plain(Some(&item.to_json()))), self.leaf());
                self.report(&item.origin, message, None);
            }
        }
    }

    fn check_table(&mut self, node: &Node, entries: &[(String, Node)], schema: &Value) {
        let none = Map::new();
        let known = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
        let patterns = schema.get("patternProperties").and_then(Value::as_object).unwrap_or(&none);
        let closed = match schema.get("additionalProperties") {
            Some(additional) => additional == &Value::Bool(false),
            // Serde would pass over what it does not know. Nobody wants that of a pipeline.
            None => !known.is_empty() && ["allOf", "anyOf", "oneOf"].iter().all(|key| schema.get(key).is_none()),
        };
        let mut meant = HashSet::new();
        for (key, entry) in entries {
            let by_pattern = || patterns.iter().find(|(pattern, _)| is_match(pattern, key)).map(|(_, schema)| schema);
            if let Some(schema) = known.get(key).or_else(by_pattern) {
                self.check_below(key, entry, schema);
            } else if closed {
                meant.extend(self.unknown_key(key, entry, entries, known));
            } else if let Some(schema) = schema.get("additionalProperties") {
                self.check_below(key, entry, schema);
            }
        }
        for key in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            // A slip in a required key is one mistake, not two.
            if node.field(key).is_none() && !meant.contains(key) {
                self.missing_key(node, key, known.get(key).unwrap_or(&Value::Null));
            }
        }
    }

    /// Reports the key; returns the key that was meant.
    fn unknown_key<'s>(&mut self, key: &str, entry: &Node, entries: &[(String, Node)], known: &'s Map<String, Value>) -> Option<&'s str> {
        let meant = nearest(key, known.keys().map(String::as_str));
        let free: Vec<&str> = known.keys().map(String::as_str).filter(|key| !entries.iter().any(|(there, _)| there == key)).collect();
        let top = self.schema.get("properties").is_some_and(|top| top.get(key).is_some());
        let hint = match meant {
            Some(meant) => Some(did_you_mean(meant)),
            None if top && !self.path.is_empty() => Some(format!("`{key}` belongs at the top of the file, before the first `[table]`")),
            None if free.is_empty() => None,
            None => Some(format!("known keys: {}", listed(free.iter().copied(), "and"))),
        };
        let label =
            (meant.is_some() && !free.is_empty() && free.len() <= FEW).then(|| format!("expected {}", listed(free.iter().copied(), "or")));
        let message = format!("unknown key `{}`{}", shown(key), self.place_in(&self.path));
        let mut path = self.path.clone();
        path.push(key.to_owned());
        self.found.push(Found::new(&path, entry.key.clone(), message).hint(hint).label(label));
        meant
    }

    fn missing_key(&mut self, node: &Node, key: &str, schema: &Value) {
        let is_table = schema.get("type").is_some_and(|kind| kind == "object");
        let (message, hint) = match (self.path.is_empty(), key) {
            (true, "stages") => ("the pipeline has no stages".to_owned(), NO_STAGES.to_owned()),
            (true, _) if is_table => {
                let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
                let with: Vec<&str> = required.filter_map(Value::as_str).collect();
                let with = if with.is_empty() { String::new() } else { format!(" with {}", listed(with, "and")) };
                (format!("missing table `[{key}]`"), format!("add `[{key}]`{with}"))
            }
            _ => {
                let message = format!("missing key `{key}`{}", self.place_in(&self.path));
                (message, format!("add `{key} = {}`", sample(schema)))
            }
        };
        let label = first_sentence(schema).filter(|_| !self.path.is_empty());
        self.found.push(Found::new(&self.path, node.origin.clone(), message).hint(Some(hint)).label(label));
    }

    /// The setting at the end of the path, as a message calls it.
    fn leaf(&self) -> String {
        let names = self.path.iter().enumerate().rev().find(|(at, _)| !self.is_item(&self.path[..=*at]));
        shown(&self.path[names.map_or(0, |(at, _)| at)..].join("."))
    }

    /// A text as a message shows it. What a variable holds can be a credential where requests are described.
    fn told(&self, node: &Node, text: &str) -> String {
        let private = self.path.first().is_some_and(|table| table == "providers" || table == "models");
        shown(node.written.as_deref().filter(|_| private).unwrap_or(text))
    }

    fn is_item(&self, path: &[String]) -> bool {
        let above: Vec<&str> = path[..path.len().saturating_sub(1)].iter().map(String::as_str).collect();
        !path.is_empty() && matches!(self.document.get(&above), Some(Node { tree: Tree::List(_), .. }))
    }

    fn place_in(&self, path: &[String]) -> String {
        place(self.document, path).map_or_else(String::new, |place| format!(" in {place}"))
    }

    /// What to type to give the setting another value.
    fn write(&self, node: &Node, literal: &str) -> String {
        let leaf = self.leaf();
        match &node.origin {
            Origin::Set(_) => format!("write `--set '{}={literal}'`", spelled(self.document, &self.path)),
            _ if leaf.contains('.') || self.path.is_empty() => format!("write `{literal}`"),
            _ => format!("write `{leaf} = {literal}`"),
        }
    }
}

const NO_STAGES: &str = "add `[[stages]]` with `use = \"…\"`";

/// The table at a path, as a message calls it; `None` for the whole file.
fn place(document: &Document, path: &[String]) -> Option<String> {
    let (owner, rest) = match path {
        [] => return None,
        [list, index, rest @ ..] if list == "stages" => {
            let name = document.get(&["stages", index]).and_then(stage_name);
            let number = index.parse::<usize>().unwrap_or_default() + 1;
            (name.map_or_else(|| format!("stage {number}"), |name| format!("stage `{}`", shown(name))), rest)
        }
        [list, name, rest @ ..] if list == "models" || list == "providers" => (format!("{} `{}`", singular(list), shown(name)), rest),
        _ => return Some(format!("`{}`", shown(&path.join(".")))),
    };
    if rest.is_empty() {
        return Some(owner);
    }
    let parts: Vec<&str> = path.iter().map(String::as_str).collect();
    // An entry of a list goes by its `use`, as a stage does.
    match (rest, document.get(&parts).and_then(|node| node.field("use")).and_then(Node::as_str)) {
        ([.., list, _], Some(word)) => Some(format!("{} `{}` of {owner}", singular(list), shown(word))),
        _ => Some(format!("`{}` of {owner}", shown(&rest.join(".")))),
    }
}

/// A path as `--set` takes it.
fn spelled(document: &Document, path: &[String]) -> String {
    let part = |at: usize, part: &String| match (at, document.get(&["stages", part]).and_then(stage_name)) {
        (1, Some(name)) if path[0] == "stages" => name.to_owned(),
        _ if part.contains(['.', '=', ' ']) => format!("\"{part}\""),
        _ => part.clone(),
    };
    path.iter().enumerate().map(|(at, name)| part(at, name)).collect::<Vec<_>>().join(".")
}

fn alternatives(schema: &Value) -> Option<&[Value]> {
    ["oneOf", "anyOf"].iter().find_map(|key| schema.get(key)).and_then(Value::as_array).map(Vec::as_slice)
}

/// The only texts that a schema allows, if it is a list of texts.
fn words(schema: &Value) -> Option<Vec<&str>> {
    if let Some(word) = schema.get("const") {
        return word.as_str().map(|word| vec![word]);
    }
    schema.get("enum")?.as_array()?.iter().map(Value::as_str).collect()
}

/// The same, also where each text is an alternative of its own.
fn all_words(schema: &Value) -> Option<Vec<&str>> {
    match alternatives(schema) {
        Some(alternatives) => Some(alternatives.iter().map(words).collect::<Option<Vec<_>>>()?.concat()),
        None => words(schema),
    }
}

/// The key whose one allowed word is different in each of these tables.
fn tag<'s>(schemas: &[&'s Value]) -> Option<&'s str> {
    let properties = schemas.first()?.get("properties")?.as_object()?;
    properties.keys().map(String::as_str).find(|key| schemas.iter().all(|schema| tag_word(schema, key).is_some()))
}

fn tag_word<'s>(schema: &'s Value, tag: &str) -> Option<&'s str> {
    let property = schema.get("properties")?.get(tag)?;
    match words(property)?.as_slice() {
        [word] => Some(word),
        _ => None,
    }
}

fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ if words(schema).is_some() => vec!["string"],
        _ => Vec::new(),
    }
}

/// Whether a schema takes values of this type.
fn accepts(schema: &Value, node: &Node) -> bool {
    if schema == &Value::Bool(false) {
        return false;
    }
    let types = types(schema);
    let by_type = types.iter().any(|kind| match (&node.tree, *kind) {
        (Tree::Broken, _)
        | (Tree::Bool(_), "boolean")
        | (Tree::Number(_), "number")
        | (Tree::String(_), "string")
        | (Tree::List(_), "array")
        | (Tree::Table(_), "object") => true,
        (Tree::Number(number), "integer") => !number.is_f64(),
        _ => false,
    });
    (types.is_empty() || by_type) && alternatives(schema).is_none_or(|alternatives| alternatives.iter().any(|schema| accepts(schema, node)))
}

fn expected_types(schema: &Value) -> Vec<&'static str> {
    let own = types(schema);
    let mut expected: Vec<&'static str> = own
        .iter()
        .map(|kind| match *kind {
            "boolean" => "`true` or `false`",
            "integer" => "a whole number",
            "number" => "a number",
            "array" if schema.get("items").is_some_and(is_table) => "a list of tables",
            "array" => "a list",
            "object" => "a table",
            _ => "a string",
        })
        .collect();
    if own.is_empty() {
        expected.extend(alternatives(schema).into_iter().flatten().flat_map(expected_types));
    }
    let mut seen = HashSet::new();
    expected.retain(|kind| seen.insert(*kind));
    expected
}

fn is_table(schema: &Value) -> bool {
    let expected = expected_types(schema);
    !expected.is_empty() && expected.iter().all(|kind| *kind == "a table")
}

fn found_type(node: &Node) -> String {
    match &node.tree {
        Tree::Bool(value) => format!("`{value}`"),
        Tree::Number(number) if number.is_f64() => format!("the fraction {number}"),
        Tree::Number(_) => "a whole number".to_owned(),
        Tree::String(_) => "a string".to_owned(),
        Tree::Date(_) => "a date".to_owned(),
        Tree::List(_) => "a list".to_owned(),
        Tree::Table(_) | Tree::Broken => "a table".to_owned(),
    }
}

/// The value of the wrong type in the right one, as TOML, where that is easily guessed.
fn rewritten(node: &Node, schema: &Value) -> Option<String> {
    if let Some(alternatives) = alternatives(schema) {
        return alternatives.iter().find_map(|schema| rewritten(node, schema));
    }
    let text = match &node.tree {
        Tree::Bool(value) => value.to_string(),
        Tree::Number(number) => plain(Some(&Value::Number(number.clone()))),
        Tree::String(text) | Tree::Date(text) => text.trim().to_owned(),
        Tree::List(_) | Tree::Table(_) | Tree::Broken => return None,
    };
    let literal = if node.as_str().is_some() { quoted(&text) } else { text.clone() };
    types(schema).into_iter().find_map(|kind| match kind {
        // A length of time as a plain number most likely means seconds.
        "string" if words(schema).is_none() => [text.clone(), format!("{text}s")]
            .iter()
            .find(|text| matches_pattern(text, schema))
            .map(String::as_str)
            .or_else(|| first_example(schema))
            .map(quoted),
        "integer" => text.parse::<i64>().ok().map(|number| number.to_string()),
        "number" => text.parse::<f64>().ok().filter(|number| number.is_finite()).map(|_| text.clone()),
        "boolean" => text.parse::<bool>().ok().map(|value| value.to_string()),
        "array" if schema.get("items").is_some_and(|items| accepts(items, node)) => Some(format!("[{literal}]")),
        _ => None,
    })
}

fn matches_pattern(text: &str, schema: &Value) -> bool {
    schema.get("pattern").and_then(Value::as_str).is_none_or(|pattern| is_match(pattern, text))
}

/// A pattern that this engine does not know rejects nothing: the setting's own type still reads the text.
fn is_match(pattern: &str, text: &str) -> bool {
    Regex::new(pattern).map_or(true, |pattern| pattern.is_match(text))
}

fn examples(schema: &Value) -> impl Iterator<Item = &str> {
    schema.get("examples").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn first_example(schema: &Value) -> Option<&str> {
    examples(schema).next()
}

/// A value that a missing setting could have.
fn sample(schema: &Value) -> String {
    let known = schema.get("examples").and_then(|examples| examples.get(0)).or_else(|| schema.get("const"));
    let known = known.or_else(|| schema.get("enum").and_then(|words| words.get(0)));
    match (known, types(schema).first().copied()) {
        (Some(Value::String(text)), _) => quoted(text),
        (Some(number @ Value::Number(_)), _) => plain(Some(number)),
        (_, Some("integer" | "number")) => plain(schema.get("minimum").filter(|min| min.as_f64() > Some(0.0)).or(Some(&Value::from(1)))),
        (_, Some("boolean")) => "true".to_owned(),
        (_, Some("array")) => "[…]".to_owned(),
        (_, Some("object")) => "{ … }".to_owned(),
        _ => match alternatives(schema).and_then(<[Value]>::first) {
            Some(first) => sample(first),
            None => "\"…\"".to_owned(),
        },
    }
}

/// The first sentence of a setting's description, if it is short enough to stand under a caret.
fn first_sentence(schema: &Value) -> Option<String> {
    let text = schema.get("description")?.as_str()?.replace('\n', " ");
    let sentence = text.split(". ").next()?.trim_end_matches('.');
    let mut letters = sentence.chars();
    let first = letters.next().filter(|_| sentence.chars().count() <= 90)?;
    Some(first.to_lowercase().chain(letters).collect())
}

fn plain(number: Option<&Value>) -> String {
    let text = number.map(ToString::to_string).unwrap_or_default();
    text.strip_suffix(".0").map(ToOwned::to_owned).unwrap_or(text)
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Whether a pipeline or a stage can have this name.
pub(super) fn is_name(text: &str) -> bool {
    is_match(NAME, text)
}

/// The text with what a name cannot hold replaced.
pub(super) fn as_name(text: &str) -> String {
    let mut name = String::new();
    for next in text.chars() {
        let next = if next.is_ascii_alphanumeric() || matches!(next, '-' | '_' | '.') { next } else { '-' };
        if !(next == '-' && name.ends_with('-')) {
            name.push(next);
        }
    }
    let name = name.trim_matches(['-', '.']);
    if name.is_empty() { "pipeline".to_owned() } else { name.to_owned() }
}

fn singular(list: &str) -> &str {
    list.strip_suffix('s').unwrap_or(list)
}

fn entries(count: u64) -> &'static str {
    if count == 1 { "entry" } else { "entries" }
}

fn one_of(words: &[&str]) -> String {
    format!("one of {}", listed(words.iter().copied(), "or"))
}

pub(super) fn did_you_mean(name: &str) -> String {
    format!("did you mean `{name}`?")
}

/// Names in a sentence: `` `a`, `b` or `c` ``.
pub(super) fn listed<'n>(names: impl IntoIterator<Item = &'n str>, last: &str) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{}`", shown(name))).collect();
    joined(&names, last)
}

fn listed_plain(names: &[&str]) -> String {
    joined(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>(), "or")
}

fn joined(names: &[String], last: &str) -> String {
    match names {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., end] => format!("{} {last} {end}", first.join(", ")),
    }
}
