//! Files that are written while a guest runs.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Gets what has gone wrong while a guest runs, without a line's end.
pub type Warn = Arc<dyn Fn(&str) + Send + Sync>;

/// A file that grows by pieces. The first piece that cannot be written is told of, and no other is
/// written after it: the guest goes on without the file. Holds no lock.
pub struct GrowingFile {
    /// What it is, for whom it is told.
    what: &'static str,
    path: PathBuf,
    file: File,
    over: AtomicBool,
    warn: Warn,
}

impl GrowingFile {
    /// Goes on at the end of an open file.
    #[must_use]
    pub fn new(what: &'static str, (path, file): (PathBuf, File), warn: Warn) -> Self {
        Self {
            what,
            path,
            file,
            over: AtomicBool::new(false),
            warn,
        }
    }

    /// Writes a piece, in one call if the host can; false if it could not.
    pub fn write(&self, piece: &[u8]) -> bool {
        self.write_some(piece) == 0
    }

    /// Writes a piece whole or not at all, into a file that nobody else writes.
    pub(crate) fn write_whole(&self, piece: &[u8]) {
        let missing = self.write_some(piece);
        let begun = (piece.len() - missing) as u64;
        if missing != 0
            && begun != 0
            && let Ok(data) = self.file.metadata()
        {
            // A device or pipe has no length: there the piece stays cut.
            let _ = self.file.set_len(data.len().saturating_sub(begun));
        }
    }

    /// The bytes that could not be written.
    fn write_some(&self, mut piece: &[u8]) -> usize {
        if self.over.load(Ordering::Relaxed) {
            return piece.len();
        }
        while !piece.is_empty() {
            match (&self.file).write(piece) {
                Ok(0) => return self.end(io::ErrorKind::WriteZero.into(), piece),
                Ok(count) => piece = &piece[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.end(error, piece),
            }
        }
        0
    }

    fn end(&self, error: io::Error, rest: &[u8]) -> usize {
        if !self.over.swap(true, Ordering::Relaxed) {
            let (what, path) = (self.what, self.path.display());
            (self.warn)(&format!("{what}: cannot write {path} any further: {error}"));
        }
        rest.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn the_end_of_a_full_disk_is_told_once() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let notes = told.clone();
        let warn: Warn = Arc::new(move |text| notes.lock().unwrap().push(text.to_owned()));
        let path = PathBuf::from("/dev/full");
        let file = File::options().write(true).open(&path).unwrap();
        let growing = GrowingFile::new("perfmap", (path, file), warn);
        growing.write_whole(b"one");
        assert!(!growing.write(b"two"));
        let told = told.lock().unwrap();
        assert_eq!(told.len(), 1, "{told:?}");
        let expected = "perfmap: cannot write /dev/full any further: No space left on device";
        assert!(told[0].starts_with(expected), "{told:?}");
    }
}
