//! Where traces and dumps go.

use crate::config::RunConfig;
use crate::error::RunError;
use crate::syscall::reserve_fd;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};

/// Moves a file out of the way of the guest's descriptors, and of its `close_range`.
pub fn out_of_the_way(file: File) -> File {
    let fd = reserve_fd(file.into_raw_fd());
    // SAFETY: the descriptor is ours and nobody else's.
    unsafe { File::from_raw_fd(fd) }
}

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
        if !config.log_goes_on && file.metadata().is_ok_and(|data| data.is_file()) {
            file.set_len(0).map_err(failed)?;
        }
        Ok(Self {
            file: Some(out_of_the_way(file).into()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_begins_anew_unless_the_process_goes_on_with_it() {
        let path = std::env::temp_dir().join(format!("isomorph-log-{}", std::process::id()));
        let mut config = RunConfig {
            log_file: Some(path.clone()),
            ..RunConfig::default()
        };
        for (goes_on, text) in [(false, "one"), (false, "two"), (true, "three")] {
            config.log_goes_on = goes_on;
            Log::open(&config).expect("a file").write(text);
        }
        let written = std::fs::read_to_string(&path);
        std::fs::remove_file(&path).expect("the file");
        assert_eq!(written.expect("text"), "twothree");
    }
}
