//! The shim of `tests/fault/shim.c`, built once with the machine's C compiler.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use crate::support::root;

/// What happens at an operation; the shim says more about each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Kill,
    Cut,
    Zero,
    Torn,
    Once,
    Full,
    Dead,
    Unread,
    NoLock,
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Cut => "cut",
            Self::Zero => "zero",
            Self::Torn => "torn",
            Self::Once => "once",
            Self::Full => "full",
            Self::Dead => "dead",
            Self::Unread => "unread",
            Self::NoLock => "nolock",
        }
    }
}

/// The shim, or `None` on a machine that cannot build it or load it.
pub(crate) fn shim() -> Option<&'static Path> {
    static BUILT: LazyLock<Option<(tempfile::TempDir, PathBuf)>> = LazyLock::new(build);
    BUILT.as_ref().map(|(_, path)| path.as_path())
}

fn build() -> Option<(tempfile::TempDir, PathBuf)> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("shim.so");
    let mut command = Command::new("cc");
    command.args(["-shared", "-fPIC", "-O1", "-Wall", "-o"]).arg(&path).arg(root().join("tests/fault/shim.c")).args(["-ldl", "-lpthread"]);
    let built = cfg!(target_os = "linux").then(|| command.output().ok()).flatten();
    match built {
        Some(output) if output.status.success() => Some((folder, path)),
        Some(output) => panic!("the shim does not build: {}", String::from_utf8_lossy(&output.stderr)),
        None => {
            eprintln!("skipped: faults of the disk need Linux and a C compiler named `cc`");
            None
        }
    }
}

/// Makes an operation of a command go wrong; 0 counts them. What happened is found in `log`.
pub(crate) fn load(command: &mut Command, root: &Path, mode: Mode, at: u64, log: &Path) {
    command
        .env("LD_PRELOAD", shim().expect("a shim"))
        .env("FAULT_ROOT", root)
        .env("FAULT_MODE", mode.name())
        .env("FAULT_AT", at.to_string())
        .env("FAULT_LOG", log);
}
