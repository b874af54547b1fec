//! What can go wrong with a line.

use std::io;

use thiserror::Error;

/// What can go wrong with a line.
#[derive(Debug, Error)]
pub enum CharError {
    /// The host failed while data moved.
    #[error("the host failed")]
    Io(#[from] io::Error),
    /// The end could not be set up.
    #[error("cannot open {what}")]
    Open {
        /// The file, address or terminal.
        what: String,
        /// The host's reason.
        #[source]
        source: io::Error,
    },
}

impl CharError {
    pub(crate) fn open(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        CharError::Open {
            what: what.into(),
            source: source.into(),
        }
    }
}
