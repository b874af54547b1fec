//! What a guest wrote to a line and the host did not take.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use isomorph_chardev::{CharBackend, CharError, CharSink};

use crate::system::config::Line;
use crate::system::speaker::Speaker;

/// A line whose first loss is told of: a device has no way to tell its guest.
pub struct Losses {
    line: Arc<dyn CharBackend>,
    /// The line, and where it leads if that is a file.
    name: String,
    told: AtomicBool,
    speaker: Speaker,
}

impl Losses {
    /// Tells of losses of `line`, which is called `id`.
    pub fn of(
        line: Arc<dyn CharBackend>,
        (id, kind): (&str, &Line),
        speaker: Speaker,
    ) -> Arc<Self> {
        let to = match kind {
            Line::File { path, .. } => format!(": cannot write {}", path.display()),
            Line::Stdio { .. } => ": cannot write to standard output".to_owned(),
            _ => String::new(),
        };
        Arc::new(Self {
            line,
            name: format!("{id}{to}"),
            told: AtomicBool::new(false),
            speaker,
        })
    }
}

impl CharBackend for Losses {
    fn write(&self, data: &[u8]) -> Result<(), CharError> {
        let done = self.line.write(data);
        if let Err(error) = &done
            && !self.told.swap(true, Ordering::Relaxed)
        {
            let (name, why) = (&self.name, crate::error::chain(error));
            self.speaker
                .say(format_args!("{name}: output is lost: {why}"));
        }
        done
    }

    fn attach(&self, sink: Arc<dyn CharSink>) {
        self.line.attach(sink);
    }

    fn ready(&self) {
        self.line.ready();
    }
}
