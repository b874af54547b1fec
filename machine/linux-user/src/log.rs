//! Where traces and dumps go.

use crate::config::RunConfig;
use crate::errno::Errno;
use crate::error::RunError;
use crate::syscall::reserve_fd;
use isomorph_report::GrowingFile;
use std::fs::{File, OpenOptions};
use std::os::fd::{FromRawFd, IntoRawFd};
use std::sync::Arc;

/// Moves a file out of the way of the guest's descriptors, and of its `close_range`.
pub fn out_of_the_way(file: File) -> File {
    let fd = reserve_fd(file.into_raw_fd());
    // SAFETY: the descriptor is ours and nobody else's.
    unsafe { File::from_raw_fd(fd) }
}

/// Writes to standard error, whatever the guest has made of it; false if not all was written.
fn to_stderr(mut text: &[u8]) -> bool {
    while !text.is_empty() {
        // SAFETY: the text is live.
        let done = unsafe { libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len()) };
        match usize::try_from(done) {
            Ok(count) => text = &text[count..],
            Err(_) if Errno::last() == Errno::EINTR => {}
            Err(_) => return false,
        }
    }
    true
}

/// Says on standard error what goes wrong while the guest runs. Where nobody listens, nothing is
/// lost. Takes no lock: another thread may have held it when this process was forked.
pub fn complain(text: impl std::fmt::Display) {
    to_stderr(format!("isomorph: {text}\n").as_bytes());
}

/// A sink for lines of text, usable from every thread.
pub struct Log {
    file: Option<GrowingFile>,
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
        let file = (path.clone(), out_of_the_way(file));
        let warn = Arc::new(|text: &str| complain(text));
        Ok(Self {
            file: Some(GrowingFile::new("the log", file, warn)),
        })
    }

    /// Writes text as it is, in one piece; false if it could not be written, which is told once
    /// if there is anybody to tell.
    pub fn write(&self, text: &str) -> bool {
        match &self.file {
            Some(file) => file.write(text.as_bytes()),
            None => to_stderr(text.as_bytes()),
        }
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
