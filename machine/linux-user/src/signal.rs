//! Guest signals.

use crate::errno::{Errno, SysResult};
use crate::task::Task;

/// What the guest does about each signal.
#[derive(Default)]
pub struct Actions;

/// A thread's signal state.
#[derive(Default)]
pub struct SignalState {
    /// Signals that are blocked: bit n-1 for signal n.
    pub mask: u64,
    /// The mask during an interrupted call that waits with a mask of its own (`ppoll`).
    pub wait_mask: Option<u64>,
}

/// Signals that host code always lets through: faults of generated code.
pub const SYNCHRONOUS: u64 = 1 << (libc::SIGILL - 1)
    | 1 << (libc::SIGTRAP - 1)
    | 1 << (libc::SIGBUS - 1)
    | 1 << (libc::SIGFPE - 1)
    | 1 << (libc::SIGSEGV - 1);

/// The mask to give to a host call that waits with a signal mask for guest mask `mask`.
#[must_use]
pub const fn host_mask(mask: u64) -> u64 {
    mask & !SYNCHRONOUS
}

/// Runs a host system call so that no guest signal is lost before it blocks.
///
/// A signal that arrives before the call takes effect gives `ERESTARTNOINTR`; one that interrupts
/// it gives what the kernel says (`EINTR`, or a restart if the guest asked for `SA_RESTART`).
///
/// # Safety
///
/// As the host's system call: pointers in `args` must be the guest's (checked) or live.
pub unsafe fn safe_syscall(task: &mut Task, nr: i64, args: [u64; 6]) -> SysResult {
    let _ = (task, nr, args);
    Err(Errno::ENOSYS)
}

/// [`safe_syscall`] for calls that take a signal mask for the time they wait (`ppoll`,
/// `pselect6`, `epoll_pwait`): `mask` is the guest's, and the caller has put
/// [`host_mask`]`(mask)` where `args` points. If a signal interrupts the call, it is delivered
/// under `mask`.
///
/// # Safety
///
/// As [`safe_syscall`].
pub unsafe fn safe_syscall_masked(
    task: &mut Task,
    nr: i64,
    args: [u64; 6],
    mask: Option<u64>,
) -> SysResult {
    // SAFETY: the caller's promise.
    let result = unsafe { safe_syscall(task, nr, args) };
    if result == Err(Errno::EINTR) {
        task.signal.wait_mask = mask;
    }
    result
}

/// See rt_sigaction.
pub fn sys_rt_sigaction(task: &mut Task, args: [u64; 6]) -> SysResult {
    let _ = (task, args);
    Err(Errno::ENOSYS)
}

/// See rt_sigprocmask.
pub fn sys_rt_sigprocmask(task: &mut Task, args: [u64; 6]) -> SysResult {
    let _ = (task, args);
    Err(Errno::ENOSYS)
}

/// See rt_sigreturn.
pub fn sys_rt_sigreturn(task: &mut Task, args: [u64; 6]) -> SysResult {
    let _ = (task, args);
    Err(Errno::ENOSYS)
}

/// See rt_sigsuspend.
pub fn sys_rt_sigsuspend(task: &mut Task, args: [u64; 6]) -> SysResult {
    let _ = (task, args);
    Err(Errno::ENOSYS)
}

/// See rt_sigtimedwait.
pub fn sys_rt_sigtimedwait(task: &mut Task, args: [u64; 6]) -> SysResult {
    let _ = (task, args);
    Err(Errno::ENOSYS)
}

/// See rt_sigpending.
pub fn sys_rt_sigpending(task: &mut Task, args: [u64; 6]) -> SysResult {
    let _ = (task, args);
    Err(Errno::ENOSYS)
}

/// See rt_sigqueueinfo.
pub fn sys_rt_sigqueueinfo(task: &mut Task, args: [u64; 6]) -> SysResult {
    let _ = (task, args);
    Err(Errno::ENOSYS)
}

/// See rt_tgsigqueueinfo.
pub fn sys_rt_tgsigqueueinfo(task: &mut Task, args: [u64; 6]) -> SysResult {
    let _ = (task, args);
    Err(Errno::ENOSYS)
}

/// See sigaltstack.
pub fn sys_sigaltstack(task: &mut Task, args: [u64; 6]) -> SysResult {
    let _ = (task, args);
    Err(Errno::ENOSYS)
}

/// See kill.
pub fn sys_kill(task: &mut Task, args: [u64; 6]) -> SysResult {
    let _ = (task, args);
    Err(Errno::ENOSYS)
}

/// See tkill.
pub fn sys_tkill(task: &mut Task, args: [u64; 6]) -> SysResult {
    let _ = (task, args);
    Err(Errno::ENOSYS)
}

/// See tgkill.
pub fn sys_tgkill(task: &mut Task, args: [u64; 6]) -> SysResult {
    let _ = (task, args);
    Err(Errno::ENOSYS)
}
