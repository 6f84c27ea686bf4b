//! One value of a pipeline file written anew, with every comment and space around it left as it is.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The text with `value`, which is TOML, in the place of the setting at `path`, such as `["stages", "1", "rows"]`.
/// A setting that is not there gets a line of its own behind the first setting of its table. `None` where the text
/// has no such table, or the table stands on one line and lacks the setting.
///
/// ```
/// use promptmill_core::pipeline::with_value;
///
/// let text = "[source]\npath = 'a'   # where it lies\n";
/// assert_eq!(with_value(text, &["source", "path"], "'b'").as_deref(), Some("[source]\npath = 'b'   # where it lies\n"));
/// assert_eq!(with_value(text, &["sink", "path"], "'b'"), None);
/// ```
pub fn with_value(text: &str, path: &[&str], value: &str) -> Option<String> {
    let root = DeTable::parse(text).ok()?;
    let (setting, above) = path.split_last()?;
    let table = match above.split_first() {
        None => root.get_ref(),
        Some((first, rest)) => match rest.iter().try_fold(entry(root.get_ref(), first)?, |at, part| inside(at, part))?.get_ref() {
            DeValue::Table(table) => table,
            _ => return None,
        },
    };
    let edited = match entry(table, setting) {
        Some(there) => replaced(text, there.span(), value),
        None => {
            let sibling = table.iter().map(|(_, value)| value.span().end).min()?;
            let line_end = text[sibling..].find('\n').map_or(text.len(), |end| sibling + end);
            let behind = text[sibling..line_end].trim();
            if !(behind.is_empty() || behind.starts_with('#')) {
                return None;
            }
            replaced(text, line_end..line_end, &format!("\n{setting} = {value}"))
        }
    };
    // What cannot be read any more is not handed out.
    DeTable::parse(&edited).is_ok().then_some(edited)
}

fn entry<'t, 'i>(table: &'t DeTable<'i>, key: &str) -> Option<&'t Spanned<DeValue<'i>>> {
    table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
}

fn inside<'t, 'i>(value: &'t Spanned<DeValue<'i>>, part: &str) -> Option<&'t Spanned<DeValue<'i>>> {
    match value.get_ref() {
        DeValue::Table(table) => entry(table, part),
        DeValue::Array(items) => items.get(part.parse::<usize>().ok()?),
        _ => None,
    }
}

fn replaced(text: &str, range: Range<usize>, with: &str) -> String {
    [&text[..range.start], with, &text[range.end..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# Motions.\n[[stages]]\nuse = \"prompt-pack\" # packs\nrows = { start = 4, max = 40 } # per request\n\n[[stages]]\n  use = \"llm\"   \n  model = \"a\" # one line\n\n[sink]\npath = \"out\"\ncosts = { a = 1 }\n";

    fn edit(path: &[&str], value: &str) -> Option<String> {
        with_value(FILE, path, value)
    }

    #[test]
    fn a_value_changes_and_nothing_else() {
        let edited = edit(&["stages", "1", "model"], "\"b\"").expect("is there");
        assert_eq!(edited, FILE.replace("model = \"a\"", "model = \"b\""));
        let edited = edit(&["stages", "0", "rows", "max"], "16").expect("is there");
        assert_eq!(edited, FILE.replace("max = 40", "max = 16"));
        assert_eq!(edit(&["stages", "0", "rows"], "8").expect("is there"), FILE.replace("{ start = 4, max = 40 }", "8"));
    }

    #[test]
    fn a_missing_setting_gets_a_line_and_what_has_no_place_gets_none() {
        let edited = edit(&["stages", "1", "rows"], "8").expect("has a table");
        assert_eq!(edited, FILE.replace("use = \"llm\"   \n", "use = \"llm\"   \nrows = 8\n"));
        for path in [&["stages", "2", "use"][..], &["models", "a"], &["sink", "costs", "b"], &["sink", "path", "a"], &[]] {
            assert_eq!(edit(path, "1"), None, "{path:?}");
        }
        assert_eq!(edit(&["sink", "path"], "not toml"), None);
        assert_eq!(with_value("name = 'a'", &["name"], "'b'").as_deref(), Some("name = 'b'"));
    }
}
