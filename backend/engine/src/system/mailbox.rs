//! What other threads have for a vCPU: interrupt pins, requests, work.

use crate::vcpu::Kick;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::Thread;

/// Work for a vCPU, done on its own thread while it is stopped.
pub type Work<S> = Box<dyn FnOnce(&mut S) + Send>;

/// Interrupt pins have changed.
pub(crate) const PINS: u32 = 1;
/// All remembered translations are void: addresses are answered differently.
pub(crate) const FLUSH: u32 = 2;
/// Pages have translated code.
pub(crate) const PROTECT: u32 = 4;
/// There is work.
pub(crate) const WORK: u32 = 8;
/// The vCPU's timer has expired.
pub(crate) const TIMER: u32 = 16;
/// `run` is to return.
pub(crate) const KICK: u32 = 32;
/// A stopped vCPU starts.
pub(crate) const START: u32 = 64;
/// Blocks of pages that were written are to be looked at again.
pub(crate) const RECHECK: u32 = 128;

/// What other threads have for a vCPU.
pub struct Mailbox<S> {
    flags: AtomicU32,
    /// Levels of the interrupt pins.
    pins: AtomicU64,
    /// Host addresses of pages that have translated code.
    pages: Mutex<Vec<u64>>,
    work: Mutex<Vec<Work<S>>>,
    sleeping: AtomicBool,
    thread: Mutex<Option<Thread>>,
    /// As long as the vCPU exists.
    kick: Mutex<Option<Kick>>,
    /// Nanoseconds asleep.
    asleep: AtomicU64,
}

/// Being told of pages that have translated code.
pub(crate) trait Protect: Send + Sync {
    /// There is code in the page at host address `page`.
    fn protect(&self, page: u64);
    /// Pages that the vCPU was told of but has not seen to yet.
    fn unseen(&self) -> Vec<u64>;
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S> Default for Mailbox<S> {
    fn default() -> Self {
        Self {
            flags: AtomicU32::new(0),
            pins: AtomicU64::new(0),
            pages: Mutex::default(),
            work: Mutex::default(),
            sleeping: AtomicBool::new(false),
            thread: Mutex::new(None),
            kick: Mutex::new(None),
            asleep: AtomicU64::new(0),
        }
    }
}

impl<S> Mailbox<S> {
    /// Names the vCPU; `None` before it goes.
    pub(crate) fn connect(&self, kick: Option<Kick>) {
        *lock(&self.kick) = kick;
    }

    /// Says which thread runs the vCPU now.
    pub(crate) fn set_thread(&self) {
        *lock(&self.thread) = Some(std::thread::current());
    }

    /// Tells the vCPU of `what`: it looks before it executes its next block, and wakes up.
    pub(crate) fn notify(&self, what: u32) {
        self.flags.fetch_or(what, Ordering::SeqCst);
        if let Some(kick) = &*lock(&self.kick) {
            kick.poll();
        }
        if self.sleeping.load(Ordering::SeqCst)
            && let Some(thread) = &*lock(&self.thread)
        {
            thread.unpark();
        }
    }

    /// Takes what there is. The poll flag of the vCPU is cleared first.
    pub(crate) fn take(&self) -> u32 {
        if self.flags.load(Ordering::SeqCst) == 0 {
            return 0;
        }
        self.flags.swap(0, Ordering::SeqCst)
    }

    /// True if there is something.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.flags.load(Ordering::SeqCst) != 0
    }

    /// True if translations are void.
    #[inline]
    pub(crate) fn wants_flush(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & FLUSH != 0
    }

    /// Sleeps until there is something.
    pub(crate) fn sleep(&self) {
        let start = std::time::Instant::now();
        self.sleeping.store(true, Ordering::SeqCst);
        while self.flags.load(Ordering::SeqCst) == 0 {
            std::thread::park();
        }
        self.sleeping.store(false, Ordering::SeqCst);
        let slept = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.asleep.fetch_add(slept, Ordering::Relaxed);
    }

    /// Nanoseconds that the vCPU has slept.
    pub fn asleep(&self) -> u64 {
        self.asleep.load(Ordering::Relaxed)
    }

    /// Sets the level of an interrupt pin (0 to 63).
    pub fn set_pin(&self, pin: u32, level: bool) {
        let bit = 1u64.checked_shl(pin).unwrap_or(0);
        let old = if level {
            self.pins.fetch_or(bit, Ordering::SeqCst)
        } else {
            self.pins.fetch_and(!bit, Ordering::SeqCst)
        };
        if (old & bit != 0) != level {
            self.notify(PINS);
        }
    }

    pub(crate) fn pins(&self) -> u64 {
        self.pins.load(Ordering::SeqCst)
    }

    /// Makes `run` return.
    pub fn kick(&self) {
        self.notify(KICK);
    }

    /// Tells that the vCPU's timer has expired.
    pub fn timer(&self) {
        self.notify(TIMER);
    }

    /// Tells that addresses are answered differently from now on.
    pub fn flush(&self) {
        self.notify(FLUSH);
    }

    /// Has work done soon.
    pub fn post(&self, work: Work<S>) {
        lock(&self.work).push(work);
        self.notify(WORK);
    }

    /// Has a stopped vCPU start, in the state that `work` makes.
    pub fn start(&self, work: Work<S>) {
        lock(&self.work).push(work);
        self.notify(WORK | START);
    }

    /// Drops work that is still to be done, a start included.
    pub fn discard(&self) {
        let mut work = lock(&self.work);
        work.clear();
        self.flags.fetch_and(!(WORK | START), Ordering::SeqCst);
    }

    pub(crate) fn take_work(&self) -> Vec<Work<S>> {
        std::mem::take(&mut lock(&self.work))
    }

    /// Takes the pages that have code now. They count as unseen until `seen`.
    pub(crate) fn pages(&self) -> Vec<u64> {
        lock(&self.pages).clone()
    }

    /// The first `count` pages were seen to.
    pub(crate) fn seen(&self, count: usize) {
        let mut pages = lock(&self.pages);
        let count = count.min(pages.len());
        pages.drain(..count);
    }

    /// Whether the vCPU executes guest code now.
    pub fn is_running(&self) -> bool {
        lock(&self.kick).as_ref().is_some_and(Kick::is_running)
    }
}

impl<S> Protect for Mailbox<S> {
    fn protect(&self, page: u64) {
        lock(&self.pages).push(page);
        self.notify(PROTECT);
    }

    fn unseen(&self) -> Vec<u64> {
        self.pages()
    }
}

impl<S> std::fmt::Debug for Mailbox<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mailbox({:#x})", self.flags.load(Ordering::Relaxed))
    }
}
