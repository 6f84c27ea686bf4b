//! Mistakes in a pipeline file: where, what, and what to write instead.
//!
//! A stage finds a [`Mistake`] and names the setting it is in; the pipeline, which knows where that setting
//! stands in the file, makes a [`Diagnostic`] of it. All diagnostics of a file are reported together. Drawing
//! them is the command line's work.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A mistake that a stage found in its own settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The setting, as a dotted path inside the stage's table (`rows.max`, `steps.3.pattern`); empty for the
    /// stage as a whole.
    pub at: String,
    /// Bytes of the setting's text that are wrong, where only a part of a long text is.
    pub range: Option<Range<usize>>,
    /// What is wrong, in lower case, names in backticks.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl Mistake {
    /// A mistake in the setting at `at`.
    pub fn new(at: impl Into<String>, message: impl Into<String>) -> Self {
        Self { at: at.into(), range: None, message: message.into(), hint: None }
    }

    /// The same mistake, with what to write instead.
    #[must_use]
    pub fn hint(mut self, hint: Option<impl Into<String>>) -> Self {
        self.hint = hint.map(Into::into);
        self
    }

    /// The same mistake, narrowed to a part of the setting's text.
    #[must_use]
    pub fn range(mut self, range: Option<Range<usize>>) -> Self {
        self.range = range;
        self
    }
}

/// Where a value of a pipeline came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// These bytes of the pipeline file.
    File(Range<usize>),
    /// A `--set` on the command line, as typed.
    Set(String),
    /// Nowhere in particular: the pipeline as a whole.
    Whole,
}

/// One mistake of a pipeline, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong, in lower case, names in backticks.
    pub message: String,
    /// Where.
    pub origin: Origin,
    /// A few words to stand under the caret.
    pub label: Option<String>,
    /// What to write instead.
    pub hint: Option<String>,
}

/// Every mistake of one pipeline.
#[derive(Clone, Debug)]
pub struct Diagnostics {
    /// The file's name, as given.
    pub file: String,
    /// The file's text.
    pub text: Arc<str>,
    /// The mistakes, in the order of the file.
    pub list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Line and column, from 1, of a byte of the text; columns count characters.
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &self.text[..offset];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

/// One line a mistake, as a compiler's short format: `file:line:column: message (hint)`.
impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.list.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            match &diagnostic.origin {
                Origin::File(range) => {
                    let (line, column) = self.line_column(range.start);
                    write!(f, "{}:{line}:{column}: ", self.file)?;
                }
                Origin::Set(setting) => write!(f, "--set {setting}: ")?,
                Origin::Whole => write!(f, "{}: ", self.file)?,
            }
            f.write_str(&diagnostic.message)?;
            if let Some(hint) = &diagnostic.hint {
                write!(f, " (hint: {hint})")?;
            }
        }
        Ok(())
    }
}

/// The name among `known` that somebody who wrote `name` most likely meant: the one it is the beginning of, one
/// slip away from, or most like.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let likeness = |candidate: &str| {
        let candidate = candidate.to_lowercase();
        if name.len() > 2 && candidate.starts_with(&name) {
            1.0
        } else if strsim::osa_distance(&name, &candidate) == 1 {
            0.99
        } else {
            strsim::jaro_winkler(&name, &candidate)
        }
    };
    let scored = known.into_iter().map(|candidate| (likeness(candidate), candidate));
    scored.filter(|(likeness, _)| *likeness > 0.75).max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_finds_the_slip_and_nothing_far_away() {
        let known = ["concurrency", "timeout", "temperature", "model"];
        assert_eq!(nearest("concurency", known), Some("concurrency"));
        assert_eq!(nearest("modle", known), Some("model"));
        assert_eq!(nearest("zzz", known), None);
        assert_eq!(nearest("lm", ["llm", "cost"]), Some("llm"));
        assert_eq!(nearest("reject-lang", ["reject-blank", "reject-language"]), Some("reject-language"));
    }

    #[test]
    fn lines_and_columns_count_from_one_and_in_characters() {
        let at = |offset| Diagnostics { file: "p.toml".into(), text: "a\nbé = 1".into(), list: vec![] }.line_column(offset);
        assert_eq!(at(0), (1, 1));
        assert_eq!(at(2), (2, 1));
        assert_eq!(at(6), (2, 4));
        assert_eq!(at(99), (2, 7));
    }
}
