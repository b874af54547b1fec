//! A thread that serves one queue, so that a vCPU does not wait for the host's disk.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use super::{ActivateError, lock};

#[derive(Default)]
struct Flags {
    kicked: bool,
    stop: bool,
}

#[derive(Default)]
struct Wake {
    flags: Mutex<Flags>,
    changed: Condvar,
}

/// A running thread; dropping it waits for its end.
pub(crate) struct Worker {
    wake: Arc<Wake>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts a thread that calls `serve` once for one or more kicks.
    pub(crate) fn start(
        name: &str,
        mut serve: impl FnMut() + Send + 'static,
    ) -> Result<Self, ActivateError> {
        let wake = Arc::<Wake>::default();
        let theirs = Arc::clone(&wake);
        let body = move || {
            while theirs.wait() {
                serve();
            }
        };
        let thread = Builder::new().name(name.to_owned()).spawn(body);
        Ok(Worker {
            wake,
            thread: Some(thread.map_err(ActivateError::Thread)?),
        })
    }

    /// There is something to do.
    pub(crate) fn kick(&self) {
        lock(&self.wake.flags).kicked = true;
        self.wake.changed.notify_one();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        lock(&self.wake.flags).stop = true;
        self.wake.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // A worker that panicked has nothing more to say.
            let _ = thread.join();
        }
    }
}

impl Wake {
    /// Sleeps until there is work (true) or the end (false).
    fn wait(&self) -> bool {
        let mut flags = lock(&self.flags);
        loop {
            if flags.stop {
                return false;
            }
            if std::mem::take(&mut flags.kicked) {
                return true;
            }
            flags = self
                .changed
                .wait(flags)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}
