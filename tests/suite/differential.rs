//! Folders of files as other programs write them, and whether we read in them what DuckDB reads:
//! `tests/lake/differential.py`, on the Python that `PROMPTMILL_TEST_PYTHON` names.
//!
//! 200 folders; `PROMPTMILL_FOLDERS` says how many else, and `PROMPTMILL_FOLDER` the seed of the first.

use std::process::Command;

use crate::delta::{has, python};
use crate::support::{Ran, root};

/// Seeds that have failed once, of those that CI does not come by: DuckDB packs whole numbers by differences of more than 32 bits.
const KEPT: &str = "217,445,1160,1794";
/// Processes that share the folders: most of the time goes into starting programs.
const PROCESSES: u64 = 4;

#[test]
fn any_folder_is_read_as_duckdb_reads_it() {
    if !has("DuckDB, Polars or PyArrow", "import duckdb, polars, pyarrow", "duckdb==1.5.5 polars pyarrow") {
        return;
    }
    let setting = |name, default| std::env::var(name).ok().map_or(default, |value| value.parse().expect("a number"));
    let (folders, first): (u64, u64) = (setting("PROMPTMILL_FOLDERS", 200), setting("PROMPTMILL_FOLDER", 0));
    let each = folders.div_ceil(PROCESSES);
    let running: Vec<_> = (0..PROCESSES)
        .map(|process| {
            let mut command = Command::new(python());
            command.arg(root().join("tests/lake/differential.py")).arg(env!("CARGO_BIN_EXE_promptmill"));
            command.args(["--first", &(first + process * each).to_string(), "--folders", &each.to_string()]);
            if process == 0 {
                command.args(["--also", KEPT]);
            }
            std::thread::spawn(move || Ran::from(command.output().expect("Python runs")))
        })
        .collect();
    for process in running {
        process.join().expect("no panic").expect(0);
    }
}
