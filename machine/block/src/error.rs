//! What can go wrong with an image.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// What can go wrong with an image.
#[derive(Debug, Error)]
pub enum BlockError {
    /// The file could not be opened.
    #[error("cannot open {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// The host's reason.
        #[source]
        source: io::Error,
    },
    /// Another process has the image.
    #[error("{path} is in use by another process")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file is no image of the format, or an image that lies about itself.
    #[error("{path} is not a usable {format} image")]
    Format {
        /// The file.
        path: PathBuf,
        /// The format's name.
        format: &'static str,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// The range is not on the disk.
    #[error("{length} bytes at {offset} are not on a disk of {capacity} bytes")]
    Range {
        /// First byte.
        offset: u64,
        /// Bytes.
        length: u64,
        /// Bytes of the disk.
        capacity: u64,
    },
    /// The disk is read-only.
    #[error("the disk is read-only")]
    ReadOnly,
    /// The host failed.
    #[error("the host failed")]
    Io(#[from] io::Error),
}
