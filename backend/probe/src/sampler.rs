//! Samples: every thread of the process says where it is, each millisecond of its CPU time.

use crate::timers::{MARK, Timer};
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// The signal of samples: the last real-time one, which programs hardly use.
pub const SIGNAL: i32 = 64;

/// CPU time between two samples of a thread; the kernel makes it at least its tick.
const PERIOD: Duration = Duration::from_millis(1);
/// Time between two looks for new threads.
const LOOK: Duration = Duration::from_millis(20);
/// Most samples that are kept.
const CAPACITY: usize = 1 << 20;
/// Bytes of the stack of the thread that looks for threads.
const STACK: usize = 128 << 10;

/// Where a thread was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Host address of the instruction that would have run next.
    pub pc: u64,
    /// When, by [`crate::monotonic_ns`].
    pub time: u64,
    /// The thread.
    pub tid: u32,
}

/// What the handler writes. Never freed: a handler may be in it.
struct Buffer {
    next: AtomicUsize,
    slots: Box<[[AtomicU64; 3]]>,
}

static BUFFER: AtomicPtr<Buffer> = AtomicPtr::new(std::ptr::null_mut());

/// True from the first start of a sampler on: [`SIGNAL`] is shared since.
#[must_use]
pub fn running() -> bool {
    !BUFFER.load(Ordering::Acquire).is_null()
}

/// Notes a sample if that is what the signal is; false if it is somebody else's.
/// Async-signal-safe.
///
/// # Safety
/// `info` and `context` are what the kernel gave the handler of [`SIGNAL`].
pub unsafe fn note(info: *const libc::siginfo_t, context: *const libc::c_void) -> bool {
    // SAFETY: the kernel's structure; a timer's signal has a value.
    let ours = unsafe {
        (*info).si_code == libc::SI_TIMER && (*info).si_value().sival_ptr as usize == MARK
    };
    if !ours {
        return false;
    }
    // SAFETY: null or a buffer that is never freed.
    let Some(buffer) = (unsafe { BUFFER.load(Ordering::Acquire).as_ref() }) else {
        return true;
    };
    let n = buffer.next.fetch_add(1, Ordering::Relaxed);
    if let Some([pc, time, tid]) = buffer.slots.get(n) {
        // SAFETY: the kernel's structure.
        let registers = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
        time.store(crate::monotonic_ns(), Ordering::Relaxed);
        tid.store(u64::from(crate::thread_id()), Ordering::Relaxed);
        pc.store(registers[libc::REG_RIP as usize] as u64, Ordering::Release);
    }
    true
}

extern "C" fn on_signal(_: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the handler's own arguments. `errno` is left alone: clock_gettime cannot fail here.
    unsafe { note(info, context) };
}

/// Takes samples until it is dropped.
#[derive(Debug)]
pub struct Sampler {
    stop: Arc<AtomicBool>,
    names: Arc<Mutex<BTreeMap<u32, String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Sampler {
    /// Starts. Handlers run on the signal stacks of their threads.
    ///
    /// # Errors
    /// The host lacks timers, threads or memory.
    pub fn start() -> io::Result<Self> {
        let slots = (0..CAPACITY).map(|_| [const { AtomicU64::new(0) }; 3]);
        let buffer = Buffer {
            next: AtomicUsize::new(0),
            slots: slots.collect(),
        };
        BUFFER.store(Box::into_raw(Box::new(buffer)), Ordering::Release);
        install()?;
        let stop = Arc::new(AtomicBool::new(false));
        let names = Arc::default();
        let mut threads = Threads::new(Arc::clone(&names));
        threads.look();
        if let Some(error) = threads.failed.take() {
            return Err(error);
        }
        let stopped = Arc::clone(&stop);
        let body = move || {
            while !stopped.load(Ordering::Relaxed) {
                std::thread::sleep(LOOK);
                threads.look();
            }
        };
        // No signal of the program's may go to a thread of ours.
        let mask = block_all();
        let thread = std::thread::Builder::new()
            .name("sampler".to_owned())
            .stack_size(STACK)
            .spawn(body);
        set_mask(mask);
        Ok(Self {
            stop,
            names,
            thread: Some(thread?),
        })
    }

    /// The samples so far, in the order in which they were taken, and how many found no room.
    #[must_use]
    pub fn samples(&self) -> (Vec<Sample>, u64) {
        // SAFETY: null or a buffer that is never freed.
        let Some(buffer) = (unsafe { BUFFER.load(Ordering::Acquire).as_ref() }) else {
            return (Vec::new(), 0);
        };
        let taken = buffer.next.load(Ordering::Relaxed);
        let slots = &buffer.slots[..taken.min(buffer.slots.len())];
        let sample = |[pc, time, tid]: &[AtomicU64; 3]| Sample {
            pc: pc.load(Ordering::Acquire),
            time: time.load(Ordering::Relaxed),
            tid: tid.load(Ordering::Relaxed) as u32,
        };
        let whole = slots.iter().map(sample).filter(|sample| sample.pc != 0);
        let lost = taken.saturating_sub(buffer.slots.len());
        (whole.collect(), lost as u64)
    }

    /// Names of the threads that were seen, by their ids.
    #[must_use]
    pub fn names(&self) -> BTreeMap<u32, String> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.clone()
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It cannot panic; if it did, sampling has ended all the same.
            let _ = thread.join();
        }
    }
}

fn install() -> io::Result<()> {
    // SAFETY: zeros are a valid sigaction.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_signal as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
    // SAFETY: the action is live and its handler async-signal-safe.
    match unsafe { libc::sigaction(SIGNAL, &action, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Blocks all signals for this thread, those of the C library too; the mask before.
fn block_all() -> u64 {
    set_mask(u64::MAX)
}

fn set_mask(mask: u64) -> u64 {
    let mut old = 0_u64;
    // SAFETY: both masks are live and of the size that is told.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask,
            &raw mut old,
            8_usize,
        )
    };
    old
}

/// The threads of this process and their timers.
struct Threads {
    timers: BTreeMap<u32, Option<Timer>>,
    names: Arc<Mutex<BTreeMap<u32, String>>>,
    /// Why the first thread has no timer.
    failed: Option<io::Error>,
}

impl Threads {
    fn new(names: Arc<Mutex<BTreeMap<u32, String>>>) -> Self {
        Self {
            timers: BTreeMap::new(),
            names,
            failed: None,
        }
    }

    /// Gives every new thread a timer, and forgets those that have ended.
    fn look(&mut self) {
        let Ok(folder) = std::fs::read_dir("/proc/self/task") else {
            return;
        };
        let mut alive: BTreeMap<u32, Option<Timer>> = BTreeMap::new();
        for entry in folder.flatten() {
            let Some(tid) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            let known = self.timers.remove(&tid);
            let timer = known.unwrap_or_else(|| self.enlist(tid));
            alive.insert(tid, timer);
            self.name(tid);
        }
        self.timers = alive;
    }

    fn enlist(&mut self, tid: u32) -> Option<Timer> {
        match Timer::new(tid as i32, PERIOD) {
            Ok(timer) => Some(timer),
            // It may have ended already; but the first one is there.
            Err(error) => {
                if self.timers.is_empty() {
                    self.failed = Some(error);
                }
                None
            }
        }
    }

    fn name(&self, tid: u32) {
        let path = format!("/proc/self/task/{tid}/comm");
        if let Ok(name) = std::fs::read_to_string(path) {
            let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
            names.insert(tid, name.trim_end().to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_busy_thread_is_seen_and_an_idle_one_is_not() {
        let sampler = Sampler::start().unwrap();
        assert!(running());
        let idle = std::thread::spawn(|| {
            std::thread::sleep(Duration::from_millis(300));
            crate::thread_id()
        });
        let busy = std::thread::spawn(|| {
            let (start, mut n) = (Instant::now(), 0_u64);
            while start.elapsed() < Duration::from_millis(300) {
                n = std::hint::black_box(n.wrapping_mul(3) + 1);
            }
            crate::thread_id()
        });
        let (idle, busy) = (idle.join().unwrap(), busy.join().unwrap());
        let (samples, lost) = sampler.samples();
        let count = |tid| samples.iter().filter(|sample| sample.tid == tid).count();
        assert!(count(busy) > 10, "{}", count(busy));
        assert!(count(idle) < 5, "{}", count(idle));
        assert_eq!(lost, 0);
        assert!(samples.is_sorted_by_key(|sample| sample.time / 1_000_000_000));
        assert!(sampler.names().contains_key(&busy));
        drop(sampler);
    }
}
