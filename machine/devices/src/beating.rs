//! Output of a console as a sign of life.

use isomorph_chardev::{CharBackend, CharError, CharSink};
use isomorph_machine::Pulse;
use std::sync::Arc;

/// A character back end whose every output beats a [`Pulse`].
pub struct Beating {
    backend: Arc<dyn CharBackend>,
    pulse: Arc<Pulse>,
}

impl Beating {
    /// Lets output to `backend` beat `pulse`.
    pub fn new(backend: Arc<dyn CharBackend>, pulse: Arc<Pulse>) -> Arc<Self> {
        Arc::new(Self { backend, pulse })
    }
}

impl CharBackend for Beating {
    fn write(&self, data: &[u8]) -> Result<(), CharError> {
        self.pulse.beat();
        self.backend.write(data)
    }

    fn attach(&self, sink: Arc<dyn CharSink>) {
        self.backend.attach(sink);
    }

    fn ready(&self) {
        self.backend.ready();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use isomorph_chardev::Ring;
    use std::time::Duration;

    #[test]
    fn output_is_a_sign_of_life() {
        let ring = Arc::new(Ring::new(10));
        let pulse = Pulse::new();
        std::thread::sleep(Duration::from_millis(20));
        let quiet = pulse.quiet();
        let line = Beating::new(ring.clone(), pulse.clone());
        line.ready();
        assert!(pulse.quiet() >= quiet);
        line.write(b"x").expect("a ring takes all");
        assert!(pulse.quiet() < quiet);
        assert_eq!(ring.take(), b"x");
    }
}
