//! Threads of the hot tier.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread::JoinHandle;

/// A thread of the engine's own.
#[derive(Debug)]
pub(crate) struct Helper {
    handle: JoinHandle<()>,
    /// The kernel's number of it, once it runs.
    id: Arc<AtomicI32>,
}

/// Starts a thread that no signal of the guest's is delivered to.
pub(super) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Option<Helper> {
    // SAFETY: zeroed signal sets are valid, and both outlive the calls; the mask is this thread's.
    let old = unsafe {
        let (mut all, mut old) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut old);
        old
    };
    let id = Arc::new(AtomicI32::new(0));
    let mine = id.clone();
    let builder = std::thread::Builder::new().name(name.into());
    let started = builder.spawn(move || {
        // SAFETY: the call has no preconditions.
        mine.store(unsafe { libc::gettid() }, Ordering::Relaxed);
        work();
    });
    // SAFETY: as above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &old, std::ptr::null_mut()) };
    started.ok().map(|handle| Helper { handle, id })
}

/// How often a thread that has ended is looked for before it counts as gone.
const LOOKS: u32 = 1000;

impl Helper {
    /// Whether the thread has ended.
    pub fn is_over(&self) -> bool {
        self.handle.is_finished()
    }

    /// Waits until the thread has ended, for the kernel too: that counts it for a moment longer.
    pub fn join(self) {
        let _ = self.handle.join(); // a panic of it has been reported
        let id = self.id.load(Ordering::Relaxed).to_string();
        let entry = PathBuf::from("/proc/self/task").join(id);
        let mut left = LOOKS;
        while left != 0 && entry.exists() {
            std::thread::yield_now();
            left -= 1;
        }
    }
}
