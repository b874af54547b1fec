//! What the command itself says on standard output and standard error.

use std::io::Write;

use crate::error::CliError;

/// Writes `text` as it is. Output that cannot be written is an error, not a panic.
pub fn show(text: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(CliError::Output)
}

/// Says on standard error what is wrong. Where nobody listens, nothing is lost.
pub fn complain(name: &str, text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr().lock(), "{name}: {text}");
}
