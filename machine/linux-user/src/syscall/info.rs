//! What the guest asks and tells about itself and the system.

use super::{host, uaccess};
use crate::errno::{Errno, SysResult};
use crate::task::Task;

/// Bytes of each field of `struct new_utsname`.
const UTS_LEN: usize = 65;
/// `machine` of `struct new_utsname`.
const UTS_MACHINE: usize = 4;

/// `uname(2)`: the host's, but for the machine.
pub fn uname(task: &mut Task, args: [u64; 6]) -> SysResult {
    let mut name = [[0_u8; UTS_LEN]; 6];
    // SAFETY: `name` is a `struct new_utsname`.
    unsafe { host::raw(libc::SYS_uname, [name.as_mut_ptr() as u64, 0, 0, 0, 0, 0]) }?;
    name[UTS_MACHINE] = field(crate::arch::UNAME_MACHINE.as_bytes());
    uaccess::write(task, args[0], &name)?;
    Ok(0)
}

fn field(text: &[u8]) -> [u8; UTS_LEN] {
    let mut field = [0; UTS_LEN];
    let len = text.len().min(UTS_LEN - 1);
    field[..len].copy_from_slice(&text[..len]);
    field
}

/// How a `prctl(2)` option is served.
enum Prctl {
    /// Passed on; arguments are numbers.
    Numbers,
    /// Passed on; the second argument points to this many bytes.
    Pointer(u64),
    /// Answered with this.
    Answer(SysResult),
}

/// What is known of `prctl(2)` options. Those of one architecture, and those that would change
/// how the kernel sees isomorph rather than the guest, are invalid as on a kernel without them.
fn prctl_option(option: i32) -> Prctl {
    use Prctl::*;
    match option {
        libc::PR_SET_NAME | libc::PR_GET_NAME => Pointer(16),
        libc::PR_GET_PDEATHSIG | libc::PR_GET_CHILD_SUBREAPER => Pointer(4),
        libc::PR_SET_PDEATHSIG
        | libc::PR_GET_DUMPABLE
        | libc::PR_SET_DUMPABLE
        | libc::PR_GET_KEEPCAPS
        | libc::PR_SET_KEEPCAPS
        | libc::PR_GET_TIMING
        | libc::PR_SET_TIMING
        | libc::PR_CAPBSET_READ
        | libc::PR_CAPBSET_DROP
        | libc::PR_GET_SECUREBITS
        | libc::PR_SET_SECUREBITS
        | libc::PR_SET_TIMERSLACK
        | libc::PR_GET_TIMERSLACK
        | libc::PR_MCE_KILL
        | libc::PR_MCE_KILL_GET
        | libc::PR_SET_CHILD_SUBREAPER
        | libc::PR_SET_NO_NEW_PRIVS
        | libc::PR_GET_NO_NEW_PRIVS
        | libc::PR_SET_THP_DISABLE
        | libc::PR_GET_THP_DISABLE
        | libc::PR_CAP_AMBIENT
        | libc::PR_GET_SPECULATION_CTRL
        | libc::PR_SET_SPECULATION_CTRL
        | PR_SET_IO_FLUSHER
        | PR_GET_IO_FLUSHER
        | libc::PR_SET_PTRACER => Numbers,
        // No filter is ever in place.
        libc::PR_GET_SECCOMP => Answer(Ok(0)),
        _ => Answer(Err(Errno::EINVAL)),
    }
}

/// `prctl(2)`.
pub fn prctl(task: &mut Task, args: [u64; 6]) -> SysResult {
    match args[0] as i32 {
        libc::PR_SET_VMA => return set_vma(task, args),
        // The host knows the address of this process's own C library.
        libc::PR_GET_TID_ADDRESS => {
            return uaccess::write(task, args[1], &task.clear_child_tid).map(|()| 0);
        }
        PR_SCHED_CORE => uaccess::check_optional(task, args[4], 8)?,
        option => match prctl_option(option) {
            Prctl::Numbers => {}
            Prctl::Pointer(size) => uaccess::check_optional(task, args[1], size)?,
            Prctl::Answer(answer) => return answer,
        },
    }
    // SAFETY: what the option follows as a pointer was checked.
    unsafe { host::raw(libc::SYS_prctl, args) }
}

/// Options of `linux/prctl.h` that `libc` does not name.
const PR_SET_IO_FLUSHER: i32 = 57;
const PR_GET_IO_FLUSHER: i32 = 58;
const PR_SCHED_CORE: i32 = 62;

/// `PR_SET_VMA`: names a range of guest memory.
fn set_vma(task: &Task, args: [u64; 6]) -> SysResult {
    uaccess::check(task, args[2], args[3])?;
    uaccess::check_optional(task, args[4], 1)?;
    // SAFETY: the range and the string are guest memory.
    unsafe { host::raw(libc::SYS_prctl, args) }
}

/// `keyctl(2)`: which arguments are pointers depends on the operation, so none may point above
/// the ceiling.
pub fn keyctl(task: &mut Task, args: [u64; 6]) -> SysResult {
    for &arg in &args[1..5] {
        uaccess::check_address_like(task, arg, 1)?;
    }
    // SAFETY: no argument points above the ceiling.
    unsafe { host::blocking(task, libc::SYS_keyctl, args) }
}

/// `unshare(2)`: some namespaces are for processes with one thread only, so isomorph's own end.
pub fn unshare(task: &mut Task, args: [u64; 6]) -> SysResult {
    task.process.engine.end_threads();
    // SAFETY: the call takes flags alone.
    unsafe { host::blocking(task, libc::SYS_unshare, args) }
}

/// `setns(2)`: see [`unshare`].
pub fn setns(task: &mut Task, args: [u64; 6]) -> SysResult {
    task.process.engine.end_threads();
    // SAFETY: the call takes a descriptor and flags alone.
    unsafe { host::blocking(task, libc::SYS_setns, args) }
}

/// `lsm_get_self_attr(2)`: the buffer's size is behind the third argument.
pub fn lsm_get_self_attr(task: &mut Task, args: [u64; 6]) -> SysResult {
    sized(task, 459, args, 1)
}

/// `lsm_list_modules(2)`: the buffer's size is behind the second argument.
pub fn lsm_list_modules(task: &mut Task, args: [u64; 6]) -> SysResult {
    sized(task, 461, args, 0)
}

/// Runs host call `nr` with a buffer at argument `at` and the address of its size behind it.
fn sized(task: &Task, nr: i64, args: [u64; 6], at: usize) -> SysResult {
    let size: u32 = uaccess::read(task, args[at + 1])?;
    uaccess::check_optional(task, args[at], u64::from(size))?;
    // SAFETY: the buffer is guest memory.
    unsafe { host::raw(nr, args) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_utsname_field_ends_in_nul() {
        assert_eq!(&field(b"riscv64")[..8], b"riscv64\0");
        assert_eq!(field(&[b'x'; 99])[UTS_LEN - 1], 0);
    }

    #[test]
    fn seccomp_and_foreign_options_are_invalid() {
        let invalid = |option| matches!(prctl_option(option), Prctl::Answer(Err(Errno::EINVAL)));
        assert!(invalid(libc::PR_SET_SECCOMP) && invalid(libc::PR_SET_TSC) && invalid(-1));
        assert!(!invalid(libc::PR_SET_NAME));
    }
}
