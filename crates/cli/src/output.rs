//! What goes to standard output (results, for programs and people) and what to standard error (the rest).

use std::io::{ErrorKind, Write};

use promptmill_core::{Error, Result};

/// Writes a text and a line's end to standard output.
pub(crate) fn line(text: &str) -> Result<()> {
    bytes(format!("{}\n", text.trim_end_matches('\n')).as_bytes())
}

/// Writes bytes to standard output as they are.
pub(crate) fn bytes(bytes: &[u8]) -> Result<()> {
    let mut output = std::io::stdout().lock();
    match output.write_all(bytes).and_then(|()| output.flush()) {
        // `promptmill sql … | head` has read enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|error| Error::failed("standard output cannot be written").because(error)),
    }
}

/// Writes a text and a line's end to standard error.
pub(crate) fn error(text: &str) {
    // There is nobody left to tell if this fails.
    let _ = writeln!(std::io::stderr().lock(), "{}", text.trim_end_matches('\n'));
}
