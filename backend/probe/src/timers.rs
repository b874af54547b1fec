//! A timer on each thread's CPU clock (timer_create(2)): it runs while the thread does.

use crate::SIGNAL;
use std::io;
use std::time::Duration;

/// Threads are told by this value that a signal is a sample's.
pub(crate) const MARK: usize = 0x0150_5a4d;

/// A thread's timer; deleted with this.
#[derive(Debug)]
pub(crate) struct Timer(libc::timer_t);

// SAFETY: a timer's id is a number that any thread of the process may use.
unsafe impl Send for Timer {}

/// The kernel's number for the CPU clock of a thread of this process (clock_getres(2), "dynamic
/// clocks"): all bits of the id inverted, above CPUCLOCK_PERTHREAD_MASK and CPUCLOCK_SCHED.
const fn thread_clock(tid: i32) -> libc::clockid_t {
    const PER_THREAD: i32 = 4;
    const SCHED: i32 = 2;
    (!tid << 3) | PER_THREAD | SCHED
}

impl Timer {
    /// A timer for thread `tid`, which signals that thread every `period` of its CPU time.
    pub(crate) fn new(tid: i32, period: Duration) -> io::Result<Self> {
        // SAFETY: zeros are a valid sigevent.
        let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = SIGNAL;
        event.sigev_notify_thread_id = tid;
        event.sigev_value.sival_ptr = MARK as *mut libc::c_void;
        let mut id: libc::timer_t = std::ptr::null_mut();
        // SAFETY: both structures are live.
        let made = unsafe { libc::timer_create(thread_clock(tid), &raw mut event, &raw mut id) };
        if made != 0 {
            return Err(io::Error::last_os_error());
        }
        let timer = Self(id);
        let period = libc::timespec {
            tv_sec: period.as_secs() as libc::time_t,
            tv_nsec: libc::c_long::from(period.subsec_nanos()),
        };
        let setting = libc::itimerspec {
            it_interval: period,
            it_value: period,
        };
        // SAFETY: the timer is ours and the setting live.
        let set = unsafe { libc::timer_settime(timer.0, 0, &setting, std::ptr::null_mut()) };
        match set {
            0 => Ok(timer),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: the timer is ours and is used no more.
        unsafe { libc::timer_delete(self.0) };
    }
}
