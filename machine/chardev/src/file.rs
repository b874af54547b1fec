//! A line whose output goes to a file.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use crate::{CharBackend, CharError, CharSink};

/// Output goes to a file, input never comes.
#[derive(Debug)]
pub struct FileOutput {
    file: File,
}

impl FileOutput {
    /// Opens `path`, emptied unless `append`.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn create(path: &Path, append: bool) -> Result<Self, CharError> {
        let mut how = File::options();
        how.create(true)
            .write(true)
            .append(append)
            .truncate(!append);
        let file = how
            .open(path)
            .map_err(|error| CharError::open(path.to_string_lossy(), error))?;
        Ok(FileOutput { file })
    }
}

impl CharBackend for FileOutput {
    fn write(&self, data: &[u8]) -> Result<(), CharError> {
        Ok((&self.file).write_all(data)?)
    }

    fn attach(&self, _sink: Arc<dyn CharSink>) {}
}
