//! Where traces and dumps go.

use crate::config::RunConfig;
use crate::error::RunError;
use std::fs::OpenOptions;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Lowest descriptor for isomorph's own files: out of the way of the guest's.
const OWN_FD_MIN: RawFd = 1000;

/// A sink for lines of text, usable from every thread.
pub struct Log {
    file: Option<OwnedFd>,
}

impl Log {
    /// The log file of the settings, or standard error.
    pub fn open(config: &RunConfig) -> Result<Self, RunError> {
        let Some(path) = &config.log_file else {
            return Ok(Self { file: None });
        };
        let failed = |source| RunError::LogFile {
            path: path.clone(),
            source,
        };
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .map_err(failed)?;
        // SAFETY: duplicating a descriptor touches no memory.
        let fd = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_DUPFD_CLOEXEC, OWN_FD_MIN) };
        if fd < 0 {
            return Ok(Self {
                file: Some(file.into()),
            });
        }
        // SAFETY: the descriptor is new and nobody else's.
        Ok(Self {
            file: Some(unsafe { OwnedFd::from_raw_fd(fd) }),
        })
    }

    /// Writes text as it is, in one piece.
    pub fn write(&self, text: &str) {
        let fd = self
            .file
            .as_ref()
            .map_or(libc::STDERR_FILENO, AsRawFd::as_raw_fd);
        // SAFETY: the text is live. What cannot be logged is lost: there is nobody to tell.
        unsafe { libc::write(fd, text.as_ptr().cast(), text.len()) };
    }

    /// Writes a line.
    pub fn line(&self, text: std::fmt::Arguments<'_>) {
        self.write(&format!("{text}\n"));
    }
}
