//! The line of a UART that leads to a character device of the host.

use super::{Serial, SerialBackend};
use isomorph_chardev::{CharBackend, CharEvent, CharSink};
use std::sync::{Arc, Weak};

/// A line to a [`CharBackend`], both ways. [`Serial::new`] attaches the UART to it.
pub struct CharLine {
    backend: Arc<dyn CharBackend>,
}

impl CharLine {
    /// A line to `backend`.
    pub fn new(backend: Arc<dyn CharBackend>) -> Arc<Self> {
        Arc::new(Self { backend })
    }
}

impl SerialBackend for CharLine {
    fn send(&self, byte: u8) {
        // What the host cannot take is lost, as on a wire.
        let _ = self.backend.write(&[byte]);
    }

    fn room(&self) {
        self.backend.ready();
    }

    fn connect(&self, serial: Weak<Serial>) {
        self.backend.attach(Arc::new(Input(serial)));
    }
}

/// The UART as the back end's thread sees it.
struct Input(Weak<Serial>);

impl CharSink for Input {
    fn room(&self) -> usize {
        self.0.upgrade().map_or(0, |serial| serial.room())
    }

    fn receive(&self, data: &[u8]) {
        if let Some(serial) = self.0.upgrade() {
            // As much as `room` said: the guest only makes more of it meanwhile, or changes the
            // line's settings, which loses characters on a wire too.
            serial.receive(data);
        }
    }

    fn event(&self, event: CharEvent) {
        if let (CharEvent::Break, Some(serial)) = (event, self.0.upgrade()) {
            serial.receive_break();
        }
    }
}
