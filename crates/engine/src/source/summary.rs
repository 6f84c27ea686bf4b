//! What is said of a source: by `check`, `plan` and the run record.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::files_are;

/// Files that a message names.
const NAMED: usize = 3;

/// What a source is made of, as `check`, `plan` and the run record say it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceSummary {
    /// `parquet`, `delta`, `csv`, `jsonl` or `arrow`.
    pub format: String,
    /// The version of a Delta table that was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Files that are read.
    pub files: u64,
    /// Rows in them, where that is known without reading them.
    pub rows: Option<u64>,
    /// Their size.
    pub bytes: u64,
    /// What was left out, and why; hidden files and markers are not counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// What somebody who looks at the rows should know of the files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Files that are no part of a source, for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Why.
    pub why: String,
    /// How many.
    pub files: u64,
    /// Some of them.
    pub some: Vec<String>,
}

impl fmt::Display for SourceSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(version) = self.version {
            write!(f, "Delta table at version {version}, ")?;
        }
        write!(f, "{}", files_are(self.files, "", "").trim_end())?;
        if let Some(rows) = self.rows {
            write!(f, ", {rows} {}", if rows == 1 { "row" } else { "rows" })?;
        }
        write!(f, ", {:.1} kB", self.bytes as f64 / 1e3)?;
        for LeftOut { why, files, some } in &self.left_out {
            let more = if *files as usize > some.len() { ", …" } else { "" };
            write!(f, "; left out: {files} {why} ({}{more})", some.join(", "))?;
        }
        self.notes.iter().try_for_each(|note| write!(f, "; {note}"))
    }
}

impl SourceSummary {
    pub(super) fn leave_out(&mut self, why: &str, name: String) {
        let known = self.left_out.iter().position(|known| known.why == why);
        let at = known.unwrap_or_else(|| {
            self.left_out.push(LeftOut { why: why.to_owned(), files: 0, some: Vec::new() });
            self.left_out.len() - 1
        });
        let left_out = &mut self.left_out[at];
        left_out.files += 1;
        if left_out.some.len() < NAMED {
            left_out.some.push(name);
        }
    }
}
