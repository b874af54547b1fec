//! System calls: one table from which dispatch, pointer checks and strace derive.
//!
//! A handler is `fn(&mut Task, [u64; 6]) -> SysResult`. Besides errno values it may answer with
//! the kernel's internal codes ([`ERESTARTSYS`] and its siblings, [`ALREADY_SET`]); [`dispatch`]
//! turns those into an [`Outcome`], so the guest never sees one.

use crate::errno::{Errno, SysResult};
use crate::task::Task;

/// Interrupted before anything was done: restart if the handler has `SA_RESTART`, else `EINTR`.
pub const ERESTARTSYS: Errno = Errno(512);
/// Interrupted: always restart.
pub const ERESTARTNOINTR: Errno = Errno(513);
/// Interrupted: restart only if no guest handler runs, else `EINTR`.
pub const ERESTARTNOHAND: Errno = Errno(514);
/// Not an error: the handler has set every guest register itself (`rt_sigreturn`, `execve`).
pub const ALREADY_SET: Errno = Errno(1024);

/// What the run loop does with the guest's registers after a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Encode into `a0` and go on behind the `ecall`.
    Return(SysResult),
    /// A signal came first. Deliver signals; then run the `ecall` again or answer `EINTR`.
    Restart(Restart),
    /// The handler has written all registers, the program counter too.
    AlreadySet,
}

/// When an interrupted system call starts again (signal(7), "Interruption of system calls").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// If the interrupting handler was installed with `SA_RESTART`, or none runs.
    IfSaRestart,
    /// If no guest handler runs.
    IfNoHandler,
    /// Always.
    Always,
}

/// Runs system call `nr` of the guest for `task`.
pub fn dispatch(task: &mut Task, nr: u64, args: [u64; 6]) -> Outcome {
    let _ = (task, args, nr);
    Outcome::Return(Err(Errno(38)))
}

/// Sorts a handler's answer: internal codes become restarts, the rest is for the guest.
#[must_use]
pub fn outcome(result: SysResult) -> Outcome {
    match result {
        Err(ERESTARTSYS) => Outcome::Restart(Restart::IfSaRestart),
        Err(ERESTARTNOINTR) => Outcome::Restart(Restart::Always),
        Err(ERESTARTNOHAND) => Outcome::Restart(Restart::IfNoHandler),
        Err(ALREADY_SET) => Outcome::AlreadySet,
        other => Outcome::Return(other),
    }
}
