//! System calls: one table from which dispatch, pointer checks and strace derive.
//!
//! A handler is `fn(&mut Task, [u64; 6]) -> SysResult`. Besides errno values it may answer with
//! the kernel's internal codes ([`ERESTARTSYS`] and its siblings, [`ALREADY_SET`]); [`dispatch`]
//! turns those into an [`Outcome`], so the guest never sees one.
//!
//! Invariants: no pointer of the guest at or above its ceiling reaches the host kernel or a load
//! of ours; a guest pointer is followed only by the host kernel or by [`uaccess`], both of which
//! survive a bad one; a structure that the two architectures lay out differently is converted,
//! everything else is passed on as it is.

mod fd;
mod file;
mod flags;
mod host;
mod info;
mod iov;
mod ipc;
mod kind;
mod limits;
mod memory;
mod missing;
mod net;
mod path;
mod poll;
mod strace;
mod table;
mod time;
pub mod uaccess;

pub use fd::{close_standard, reserve as reserve_fd};
pub use kind::{FlagSet, Kind};
pub use missing::report as report_missing;
pub use table::{ENTRIES, Entry, How, Param, lookup};

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
    outcome(match strace::trace(task) {
        None => serve(task, nr, &args),
        Some(trace) => trace.traced(task, nr, &args),
    })
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

fn serve(task: &mut Task, nr: u64, args: &[u64; 6]) -> SysResult {
    let Some(entry) = table::lookup(nr) else {
        return Err(missing::answer(task, nr));
    };
    if entry.checks {
        check_pointers(task, entry, args)?;
    }
    match entry.how {
        // SAFETY: every pointer argument was checked against the guest's ceiling.
        How::Pass(host) => unsafe { host::raw(host, *args) },
        // SAFETY: as above.
        How::Block(host) => unsafe { host::blocking(task, host, *args) },
        How::Lookup(host) => path::with_lookup(task, entry, host, args),
        How::Call(handler) => handler(task, *args),
        How::Absent(_) | How::Missing => Err(missing::answer(task, nr)),
    }
}

/// `EFAULT` if an argument points above the guest's ceiling. NULL passes: the host kernel knows
/// where it is allowed.
fn check_pointers(task: &Task, entry: &Entry, args: &[u64; 6]) -> Result<(), Errno> {
    for (param, &arg) in entry.params.iter().zip(args) {
        if let Some(len) = param.kind.extent(args) {
            uaccess::check_optional(task, arg, len)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internal_codes_never_reach_the_guest() {
        assert_eq!(outcome(Ok(5)), Outcome::Return(Ok(5)));
        assert_eq!(
            outcome(Err(Errno::EINTR)),
            Outcome::Return(Err(Errno::EINTR))
        );
        assert_eq!(
            outcome(Err(ERESTARTSYS)),
            Outcome::Restart(Restart::IfSaRestart)
        );
        assert_eq!(
            outcome(Err(ERESTARTNOINTR)),
            Outcome::Restart(Restart::Always)
        );
        assert_eq!(
            outcome(Err(ERESTARTNOHAND)),
            Outcome::Restart(Restart::IfNoHandler)
        );
        assert_eq!(outcome(Err(ALREADY_SET)), Outcome::AlreadySet);
    }
}
