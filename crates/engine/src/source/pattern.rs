//! Patterns of paths, as a shell and every other reader of lakes has them, the same on a disk and in a bucket.
//!
//! `*` and `?` stand for letters within one name, `**` for any folders, `[ab]` and `[!ab]` for one letter, `{a,b}` for either; a
//! backslash takes what follows as it stands.

use std::fmt;

/// A pattern, taken apart by folders.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    /// With `{a,b}` written out: each alternative as its names.
    alternatives: Vec<Vec<Name>>,
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({} alternatives)", self.alternatives.len())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    /// `**`: any folders, or none.
    Any,
    One(Vec<Letter>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Letter {
    This(char),
    /// `?`
    Any,
    /// `*`
    Some,
    /// `[ab]`, `[a-z]`, `[!a]`
    Of {
        ranges: Vec<(char, char)>,
        is_not: bool,
    },
}

/// Alternatives that `{…}` may come to; more are a slip.
const MOST_ALTERNATIVES: usize = 10_000;

/// Whether a text has any wildcard in it.
pub(super) fn is_pattern(text: &str) -> bool {
    first_wildcard(text).is_some()
}

/// Where the first wildcard stands.
fn first_wildcard(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, letter)| {
        let is_wild = !escaped && matches!(letter, '*' | '?' | '[' | '{');
        escaped = !escaped && letter == '\\';
        is_wild.then_some(at)
    })
}

/// The folder in front of the first wildcard, and what comes behind it.
pub(super) fn split(text: &str) -> (String, &str) {
    let first = first_wildcard(text).unwrap_or(text.len());
    let folder_end = text[..first].rfind('/').map_or(0, |slash| slash + 1);
    let (folder, pattern) = text.split_at(folder_end);
    (unescaped(folder), pattern)
}

/// The text that a pattern without wildcards stands for.
pub(super) fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        plain.push(if letter == '\\' { letters.next().unwrap_or('\\') } else { letter });
    }
    plain
}

impl Pattern {
    /// Reads a pattern; an error says what is wrong with it.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let mut written_out = Vec::new();
        write_out(text, &mut written_out)?;
        let alternatives = written_out.iter().map(|text| names(text)).collect::<Result<_, _>>()?;
        Ok(Self { alternatives })
    }

    /// Whether it stands for a file at this path, or for a folder that the file is in.
    pub(super) fn matches(&self, path: &[&str]) -> bool {
        self.alternatives.iter().any(|pattern| matches_names(pattern, path))
    }

    /// Whether the name at this place of a path is one that the pattern itself begins like that: `_*.parquet` means hidden files.
    pub(super) fn names_hidden(&self, depth: usize, first: char) -> bool {
        self.alternatives
            .iter()
            .any(|names| matches!(names.get(depth), Some(Name::One(letters)) if letters.first() == Some(&Letter::This(first))))
    }
}

/// Writes the first `{a,b}` out, and so on until there is none.
fn write_out(text: &str, out: &mut Vec<String>) -> Result<(), String> {
    if out.len() > MOST_ALTERNATIVES {
        return Err(format!("its `{{…}}` stand for more than {MOST_ALTERNATIVES} paths"));
    }
    let (mut depth, mut start, mut commas, mut escaped) = (0_usize, None, Vec::new(), false);
    for (at, letter) in text.char_indices() {
        let is_escaped = escaped;
        escaped = !escaped && letter == '\\';
        match letter {
            _ if is_escaped => {}
            '{' => {
                depth += 1;
                start = start.or(Some(at));
            }
            ',' if depth == 1 => commas.push(at),
            '}' if depth == 1 => {
                let start = start.unwrap_or(at);
                let mut from = start + 1;
                for end in commas.iter().copied().chain([at]) {
                    write_out(&format!("{}{}{}", &text[..start], &text[from..end], &text[at + 1..]), out)?;
                    from = end + 1;
                }
                return Ok(());
            }
            '}' if depth > 1 => depth -= 1,
            _ => {}
        }
    }
    if depth > 0 {
        return Err("a `{` in it has no `}`; write `\\{` for the letter itself".to_owned());
    }
    out.push(text.to_owned());
    Ok(())
}

fn names(text: &str) -> Result<Vec<Name>, String> {
    let names = text.split('/').filter(|name| !name.is_empty());
    names.map(|name| if name == "**" { Ok(Name::Any) } else { letters(name).map(Name::One) }).collect()
}

fn letters(name: &str) -> Result<Vec<Letter>, String> {
    let mut found = Vec::new();
    let mut letters = name.chars().peekable();
    while let Some(letter) = letters.next() {
        found.push(match letter {
            '\\' => Letter::This(letters.next().unwrap_or('\\')),
            '?' => Letter::Any,
            '*' if found.last() == Some(&Letter::Some) => continue,
            '*' => Letter::Some,
            '[' => {
                let is_not = letters.next_if(|next| ['!', '^'].contains(next)).is_some();
                let mut ranges = Vec::new();
                loop {
                    let from = match letters.next() {
                        Some(']') if !ranges.is_empty() => break,
                        Some('\\') => letters.next(),
                        other => other,
                    };
                    let from = from.ok_or_else(|| "a `[` in it has no `]`; write `\\[` for the letter itself".to_owned())?;
                    // A hyphen at the end is one.
                    let mut ahead = letters.clone();
                    let to = match (ahead.next(), ahead.next()) {
                        (Some('-'), Some(to)) if to != ']' => {
                            letters = ahead;
                            to
                        }
                        _ => from,
                    };
                    ranges.push((from, to));
                }
                Letter::Of { ranges, is_not }
            }
            other => Letter::This(other),
        });
    }
    Ok(found)
}

fn matches_names(pattern: &[Name], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        // What is in a folder that is meant is meant.
        (None, _) => true,
        // `**` at the end stands for everything below.
        (Some((Name::Any, [])), _) => !path.is_empty(),
        (Some((Name::Any, rest)), _) => (0..path.len()).any(|skipped| matches_names(rest, &path[skipped..])),
        (Some((Name::One(letters), rest)), Some((name, inside))) => {
            let name: Vec<char> = name.chars().collect();
            matches_letters(letters, &name) && matches_names(rest, inside)
        }
        (Some(_), None) => false,
    }
}

/// Without going back further than the last `*`, so that no name takes long.
fn matches_letters(pattern: &[Letter], name: &[char]) -> bool {
    let (mut at, mut place) = (0, 0);
    let mut last_star: Option<(usize, usize)> = None;
    while place < name.len() {
        match pattern.get(at) {
            Some(Letter::Some) => {
                last_star = Some((at + 1, place));
                at += 1;
            }
            Some(letter) if is_letter(letter, name[place]) => {
                at += 1;
                place += 1;
            }
            _ => match &mut last_star {
                Some((behind, from)) => {
                    *from += 1;
                    (at, place) = (*behind, *from);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|letter| *letter == Letter::Some)
}

fn is_letter(pattern: &Letter, letter: char) -> bool {
    match pattern {
        Letter::This(this) => *this == letter,
        Letter::Any | Letter::Some => true,
        Letter::Of { ranges, is_not } => ranges.iter().any(|(from, to)| (*from..=*to).contains(&letter)) != *is_not,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        Pattern::new(pattern).expect("a pattern").matches(&path.split('/').collect::<Vec<_>>())
    }

    #[test]
    fn patterns_mean_what_they_mean_to_a_shell() {
        for (pattern, path, expected) in [
            ("*.parquet", "a.parquet", true),
            ("*.parquet", "sub/a.parquet", false),
            ("*/*/*.parquet", "year=2023/month=1/a.parquet", true),
            ("*/*/*.parquet", "year=2023/a.parquet", false),
            ("year=*/month=*/*.parquet", "year=2023/month=1/b=1.parquet", true),
            ("year=202?/month=[12]/*", "year=2024/month=3/a.parquet", false),
            ("**/*.parquet", "a.parquet", true),
            ("**/*.parquet", "x/y/a.parquet", true),
            ("x/**", "x/y/z/a", true),
            ("x/**", "y/a", false),
            ("**", "a", true),
            ("part-[0-9][!5].parquet", "part-14.parquet", true),
            ("part-[0-9][!5].parquet", "part-15.parquet", false),
            ("{a,b/c}/*.p", "b/c/x.p", true),
            ("{a,b{1,2}}x", "b2x", true),
            ("{a,b{1,2}}x", "b3x", false),
            (r"a\*b", "a*b", true),
            (r"a\*b", "axb", false),
            ("????", "abcd", true),
            ("????", "äöüé", true),
            ("????", "abc", false),
            ("year=*", "year=2024/month=1/a.parquet", true),
            ("[]]", "]", true),
            ("[a-]", "-", true),
            ("*a*b*c", "xxaxxbxxc", true),
            ("*a*b*c", "xxaxxcxxb", false),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} of {path}");
        }
        for wrong in ["{a,b", "[ab"] {
            assert!(Pattern::new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_folder_in_front_of_the_first_wildcard_is_split_off() {
        assert_eq!(split("in/a/*.parquet"), ("in/a/".to_owned(), "*.parquet"));
        assert_eq!(split("in/a*/x"), ("in/".to_owned(), "a*/x"));
        assert_eq!(split("*.parquet"), (String::new(), "*.parquet"));
        assert_eq!(split(r"in\[1]/*"), ("in[1]/".to_owned(), "*"));
        assert!(!is_pattern(r"a\*") && is_pattern("a[1]") && !is_pattern("a/b c%20.parquet"));
    }

    proptest! {
        /// Every name is matched by itself written plainly, and by itself with any one part left to a star.
        #[test]
        fn a_star_stands_for_any_part(name in "[a-z0-9 ._é=%-]{1,20}", from in 0_usize..20, len in 0_usize..20) {
            let letters: Vec<char> = name.chars().collect();
            let from = from.min(letters.len());
            let to = (from + len).min(letters.len());
            let starred: String = letters[..from].iter().chain(&['*']).chain(&letters[to..]).collect();
            prop_assert!(matches(&starred, &name), "{starred} of {name}");
            prop_assert!(matches(&name, &name));
        }
    }
}
