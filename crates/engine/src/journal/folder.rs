//! The folder of a journal: the names in it, and making changes to it durable.
//!
//! `NNNNNNNN.log` and `NNNNNNNN.parquet` share their numbers: a log is sealed into the segment of its own
//! number, and where both exist the log is a leftover. What is in the files is left to others.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use promptmill_core::Result;

use super::trouble::disk;

/// `<state>/journal`.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// The journal's folder in a state folder.
    pub(super) fn of(state_dir: &Path) -> Self {
        Self(state_dir.join("journal"))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes the folder and those above it, durably.
    pub(super) fn create(&self) -> Result<()> {
        let missing: Vec<&Path> = self.0.ancestors().take_while(|folder| !folder.exists()).collect();
        fs::create_dir_all(&self.0).map_err(|error| disk(&self.0, "made", error))?;
        for parent in missing.iter().filter_map(|folder| folder.parent()) {
            // The parent of a relative path's first part is written as nothing.
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            sync_folder(parent).map_err(|error| disk(parent, "synced", error))?;
        }
        Ok(())
    }

    /// The log with this number.
    pub(super) fn log(&self, number: u64) -> PathBuf {
        self.0.join(format!("{number:08}.log"))
    }

    /// The segment with this number.
    pub(super) fn segment(&self, number: u64) -> PathBuf {
        self.0.join(format!("{number:08}.parquet"))
    }

    /// Where the segment with this number is written before it gets its name.
    pub(super) fn unfinished(&self, number: u64) -> PathBuf {
        self.0.join(format!("{number:08}.parquet.tmp"))
    }

    /// The numbers of the logs, in order; leftovers included.
    pub(super) fn logs(&self) -> Result<Vec<u64>> {
        Ok(self.names("log")?.into_iter().filter_map(|path| number(&path)).collect())
    }

    /// The numbers of the segments, in order.
    pub(super) fn segments(&self) -> Result<Vec<u64>> {
        Ok(self.names("parquet")?.into_iter().filter_map(|path| number(&path)).collect())
    }

    /// Removes what a crash left of segments that never got their names.
    pub(super) fn remove_unfinished(&self) -> Result<()> {
        self.names("tmp")?.iter().try_for_each(|path| fs::remove_file(path).map_err(|error| disk(path, "removed", error)))
    }

    /// Makes names that were given or taken in this folder durable.
    pub(super) fn sync(&self) -> Result<()> {
        sync_folder(&self.0).map_err(|error| disk(&self.0, "synced", error))
    }

    fn names(&self, extension: &str) -> Result<Vec<PathBuf>> {
        let listed = || -> io::Result<Vec<PathBuf>> {
            let mut paths = Vec::new();
            for entry in fs::read_dir(&self.0)? {
                paths.push(entry?.path());
            }
            Ok(paths)
        };
        let mut paths = match listed() {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            listed => listed.map_err(|error| disk(&self.0, "listed", error))?,
        };
        paths.retain(|path| path.extension() == Some(OsStr::new(extension)));
        paths.sort_by_key(|path| number(path));
        Ok(paths)
    }
}

fn number(path: &Path) -> Option<u64> {
    let stem = path.file_stem()?.to_str()?;
    (stem.len() >= 8 && stem.bytes().all(|byte| byte.is_ascii_digit())).then(|| stem.parse().ok()).flatten()
}

#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Elsewhere folders cannot be opened, and their changes are durable with those of the files.
#[cfg(not(unix))]
fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbered_files_belong_to_the_journal() {
        let state = tempfile::tempdir().expect("a folder");
        let folder = Folder::of(&state.path().join("a/b"));
        assert_eq!(folder.logs().expect("no folder yet"), [0_u64; 0]);
        folder.create().expect("folders");
        for name in ["00000002.log", "00000010.log", "123456789.log", "notes.log", "1.log", "00000001.parquet", "00000003.parquet.tmp"] {
            File::create(folder.path().join(name)).expect("a file");
        }
        assert_eq!(folder.logs().expect("a list"), [2, 10, 123_456_789]);
        assert_eq!(folder.segments().expect("a list"), [1]);
        folder.remove_unfinished().expect("removed");
        assert!(!folder.unfinished(3).exists());
    }
}
