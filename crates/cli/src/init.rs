//! `promptmill init`: a small pipeline that runs at once, and rows for it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use promptmill_core::{Error, Result};
use promptmill_sim::motions;

use crate::output;

/// The scaffold; its comments are for whoever opens it.
const PIPELINE: &str = include_str!("init/pipeline.toml");

/// Enough rows to see packs and partitions, few enough to be there at once.
const ROWS: u64 = 200;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  promptmill init\n  promptmill init demo && cd demo && promptmill run pipeline.toml\n  promptmill init demo --force        (writes its two files anew)"
)]
pub(crate) struct Init {
    /// The folder, made if it is not there; left out: this one
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Writes over the files of an earlier `init`
    #[arg(long)]
    force: bool,
}

impl Init {
    pub(crate) fn execute(&self) -> Result<ExitCode> {
        let (pipeline, source) = (self.folder.join("pipeline.toml"), self.folder.join("data/motions.parquet"));
        // Both are looked at before either is written.
        for file in [&pipeline, &source] {
            if !self.force && file.symlink_metadata().is_ok() {
                let hint = "choose another folder: `promptmill init FOLDER`; or `--force` to write over it";
                return Err(Error::failed(format!("`{}` is there already", file.display())).hint(hint));
            }
        }
        let failed = |path: &Path, error: std::io::Error| {
            Error::failed(format!("`{}` cannot be written", path.display())).hint("choose a folder that can be written to").because(error)
        };
        let data = self.folder.join("data");
        std::fs::create_dir_all(&data).map_err(|error| failed(&data, error))?;
        let options = motions::Options { rows: ROWS, blank_share: 0.02, ..motions::Options::default() };
        motions::write_parquet(&source, &options)
            .map_err(|error| Error::failed(format!("`{}` cannot be written", source.display())).because(error))?;
        std::fs::write(&pipeline, PIPELINE).map_err(|error| failed(&pipeline, error))?;
        output::error(&format!("wrote {} and {ROWS} generated motions in {}", pipeline.display(), source.display()));
        output::line(&next(&self.folder)).map(|()| ExitCode::SUCCESS)
    }
}

/// What to type next. Paths in a pipeline file are relative to where the command runs, so the first one goes there.
fn next(folder: &Path) -> String {
    let here = folder.components().all(|part| part == std::path::Component::CurDir);
    let go = if here { String::new() } else { format!("cd {} && ", quoted(&folder.display().to_string())) };
    format!("{go}promptmill run pipeline.toml\npromptmill sql pipeline.toml \"SELECT motion_id, summary FROM results LIMIT 3\"")
}

/// A path as a shell takes it.
fn quoted(path: &str) -> String {
    let plain = path.chars().all(|next| next.is_alphanumeric() || "/._-".contains(next)) && !path.starts_with('-');
    if plain { path.to_owned() } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_type_next_can_be_typed() {
        assert!(next(Path::new(".")).starts_with("promptmill run "));
        assert!(next(Path::new("a/b")).starts_with("cd a/b && "));
        assert!(next(Path::new("it's here")).starts_with(r"cd 'it'\''s here' && "));
    }
}
