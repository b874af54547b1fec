//! A line that ends in memory, for tests and for `-serial` lines that something reads later.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use crate::pump::lock;
use crate::{CharBackend, CharError, CharSink};

/// Keeps the last bytes written, and delivers what [`Ring::input`] gives it.
pub struct Ring {
    size: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    output: VecDeque<u8>,
    input: VecDeque<u8>,
    sink: Option<Arc<dyn CharSink>>,
}

impl Ring {
    /// A ring that keeps the last `size` bytes.
    pub fn new(size: usize) -> Self {
        Ring {
            size,
            state: Mutex::default(),
        }
    }

    /// Takes what was written since the last call.
    pub fn take(&self) -> Vec<u8> {
        lock(&self.state).output.drain(..).collect()
    }

    /// Types `data` at the line's other end.
    pub fn input(&self, data: &[u8]) {
        lock(&self.state).input.extend(data);
        self.deliver();
    }

    fn deliver(&self) {
        loop {
            let (sink, data) = {
                let mut state = lock(&self.state);
                let Some(sink) = state.sink.clone() else {
                    return;
                };
                let room = sink.room().min(state.input.len());
                let data: Vec<u8> = state.input.drain(..room).collect();
                (sink, data)
            };
            if data.is_empty() {
                return;
            }
            // Without the lock: a device may write from within.
            sink.receive(&data);
        }
    }
}

impl CharBackend for Ring {
    fn write(&self, data: &[u8]) -> Result<(), CharError> {
        let mut state = lock(&self.state);
        state.output.extend(data);
        let excess = state.output.len().saturating_sub(self.size);
        state.output.drain(..excess);
        Ok(())
    }

    fn attach(&self, sink: Arc<dyn CharSink>) {
        lock(&self.state).sink = Some(sink);
        self.deliver();
    }

    fn ready(&self) {
        self.deliver();
    }
}
