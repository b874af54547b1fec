//! What the emulator says on standard error while a machine runs.

use std::io::Write;

/// The name under which the emulator speaks: that by which it was called.
#[derive(Debug, Clone, Copy)]
pub struct Speaker(pub &'static str);

impl Default for Speaker {
    fn default() -> Self {
        Self("isomorph")
    }
}

impl Speaker {
    /// Says something. Where nobody listens, nothing is lost.
    pub fn say(self, text: impl std::fmt::Display) {
        let _ = self.tell(text);
    }

    /// Says what was asked for.
    ///
    /// # Errors
    /// Standard error does not take it.
    pub fn tell(self, text: impl std::fmt::Display) -> std::io::Result<()> {
        writeln!(std::io::stderr().lock(), "{}: {text}", self.0)
    }
}
