//! Clocks and futexes.

use super::{host, uaccess};
use crate::errno::{Errno, SysResult};
use crate::task::Task;

/// `clock_gettime(2)`, through the host's vDSO where it answers.
pub fn clock_gettime(task: &mut Task, args: [u64; 6]) -> SysResult {
    let clock = args[0] as i32;
    let in_vdso = (0..32).contains(&clock) && VDSO_CLOCKS & (1 << clock) != 0;
    if !in_vdso {
        // SAFETY: the table has checked the pointer.
        return unsafe { host::raw(libc::SYS_clock_gettime, args) };
    }
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is a live `timespec`.
    if unsafe { libc::clock_gettime(clock, &raw mut now) } != 0 {
        return Err(Errno::last());
    }
    uaccess::write(task, args[1], &[now.tv_sec, now.tv_nsec])?;
    Ok(0)
}

/// Clocks that need no kernel entry, by bit.
const VDSO_CLOCKS: u32 = 1 << libc::CLOCK_REALTIME
    | 1 << libc::CLOCK_MONOTONIC
    | 1 << libc::CLOCK_MONOTONIC_RAW
    | 1 << libc::CLOCK_REALTIME_COARSE
    | 1 << libc::CLOCK_MONOTONIC_COARSE
    | 1 << libc::CLOCK_BOOTTIME
    | 1 << libc::CLOCK_TAI;

/// `gettimeofday(2)`.
pub fn gettimeofday(task: &mut Task, args: [u64; 6]) -> SysResult {
    if args[0] == 0 || args[1] != 0 {
        // SAFETY: the table has checked the pointers.
        return unsafe { host::raw(libc::SYS_gettimeofday, args) };
    }
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is a live `timespec`.
    if unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut now) } != 0 {
        return Err(Errno::last());
    }
    uaccess::write(task, args[0], &[now.tv_sec, now.tv_nsec / 1000])?;
    Ok(0)
}

/// `restart_syscall(2)`: only the kernel's own signal return runs it; there is nothing to go on
/// with.
pub fn restart_syscall(_: &mut Task, _: [u64; 6]) -> SysResult {
    Err(Errno::EINTR)
}

/// `futex(2)`: what the fourth and fifth arguments are depends on the operation.
pub fn futex(task: &mut Task, args: [u64; 6]) -> SysResult {
    let operation = args[1] as i32 & 0x7f;
    match operation {
        libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET | libc::FUTEX_LOCK_PI | FUTEX_LOCK_PI2 => {
            uaccess::check_optional(task, args[3], 16)?;
        }
        libc::FUTEX_WAIT_REQUEUE_PI => {
            uaccess::check_optional(task, args[3], 16)?;
            uaccess::check(task, args[4], 4)?;
        }
        libc::FUTEX_REQUEUE
        | libc::FUTEX_CMP_REQUEUE
        | libc::FUTEX_CMP_REQUEUE_PI
        | libc::FUTEX_WAKE_OP => uaccess::check(task, args[4], 4)?,
        // SAFETY: only `uaddr` is followed, and the table has checked it.
        _ => return unsafe { host::raw(libc::SYS_futex, args) },
    }
    // SAFETY: every address that this operation follows was checked.
    unsafe { host::blocking(task, libc::SYS_futex, args) }
}

const FUTEX_LOCK_PI2: i32 = 13;

/// `struct futex_waitv`: value, address, flags.
type FutexWaitv = [u64; 3];

/// `futex_requeue(2)`: the two futexes are in an array, which is copied.
pub fn futex_requeue(task: &mut Task, mut args: [u64; 6]) -> SysResult {
    const FUTEX_REQUEUE: i64 = 456;
    let waiters: [FutexWaitv; 2] = uaccess::read(task, args[0])?;
    for [_, address, _] in waiters {
        uaccess::check(task, address, 4)?;
    }
    args[0] = waiters.as_ptr() as u64;
    // SAFETY: the copy lives until the call is over, and its addresses were checked.
    unsafe { host::raw(FUTEX_REQUEUE, args) }
}
