//! System V IPC: `semid_ds` has padding on x86-64 that riscv64 has not.

use super::{host, uaccess};
use crate::errno::{Errno, SysResult};
use crate::task::Task;
use core::mem::MaybeUninit;

/// `struct semid64_ds` of `asm-generic/sembuf.h` (64 bits).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct SemidDs {
    /// `struct ipc64_perm`, laid out alike on both architectures.
    perm: [u64; 6],
    otime: u64,
    ctime: u64,
    nsems: u64,
    unused: [u64; 2],
}

/// `struct semid64_ds` of x86-64: 32-bit layout rules left a gap after each time.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct HostSemidDs {
    perm: [u64; 6],
    otime: u64,
    unused1: u64,
    ctime: u64,
    unused2: u64,
    nsems: u64,
    unused: [u64; 2],
}

// SAFETY: integers of one size; no padding.
unsafe impl uaccess::Plain for SemidDs {}

impl SemidDs {
    fn from_host(host: &HostSemidDs) -> Self {
        let HostSemidDs {
            perm,
            otime,
            ctime,
            nsems,
            ..
        } = *host;
        Self {
            perm,
            otime,
            ctime,
            nsems,
            unused: [0; 2],
        }
    }

    fn to_host(self) -> HostSemidDs {
        let Self {
            perm,
            otime,
            ctime,
            nsems,
            ..
        } = self;
        HostSemidDs {
            perm,
            otime,
            ctime,
            nsems,
            ..HostSemidDs::default()
        }
    }
}

const SEM_STAT_ANY: i32 = 20;

/// `semctl(2)`.
pub fn semctl(task: &mut Task, args: [u64; 6]) -> SysResult {
    match args[2] as i32 {
        libc::IPC_STAT | libc::SEM_STAT | SEM_STAT_ANY => {
            let mut host = HostSemidDs::default();
            let answer = host_semctl(args, (&raw mut host) as u64)?;
            uaccess::write(task, args[3], &SemidDs::from_host(&host))?;
            Ok(answer)
        }
        libc::IPC_SET => {
            let mut host = uaccess::read::<SemidDs>(task, args[3])?.to_host();
            host_semctl(args, (&raw mut host) as u64)
        }
        libc::IPC_INFO | libc::SEM_INFO => {
            uaccess::check(task, args[3], size_of::<libc::seminfo>() as u64)?;
            host_semctl(args, args[3])
        }
        libc::GETALL | libc::SETALL => {
            uaccess::check(task, args[3], semaphores(args[0]) * 2)?;
            host_semctl(args, args[3])
        }
        _ => host_semctl(args, args[3]),
    }
}

fn host_semctl(mut args: [u64; 6], arg: u64) -> SysResult {
    args[3] = arg;
    // SAFETY: `arg` is a number, checked guest memory or a live structure of the host's size.
    unsafe { host::raw(libc::SYS_semctl, args) }
}

/// How many semaphores the set has; the system's limit if it cannot be asked.
fn semaphores(semid: u64) -> u64 {
    /// `SEMMSL`'s default, proc(5).
    const SEMMSL: u64 = 32_000;
    let mut host = MaybeUninit::<HostSemidDs>::zeroed();
    let args = [semid, 0, libc::IPC_STAT as u64, 0, 0, 0];
    // SAFETY: zeroed integers.
    let ask = host_semctl(args, host.as_mut_ptr() as u64).map(|_| unsafe { host.assume_init() });
    ask.map_or(SEMMSL, |host| host.nsems)
}

/// `msgsnd(2)`: the message is a `long` and then the text.
pub fn msgsnd(task: &mut Task, args: [u64; 6]) -> SysResult {
    message(task, libc::SYS_msgsnd, args)
}

/// `msgrcv(2)`.
pub fn msgrcv(task: &mut Task, args: [u64; 6]) -> SysResult {
    message(task, libc::SYS_msgrcv, args)
}

fn message(task: &mut Task, nr: i64, args: [u64; 6]) -> SysResult {
    if (args[2] as i64) < 0 {
        return Err(Errno::EINVAL);
    }
    uaccess::check_optional(task, args[1], args[2].saturating_add(8))?;
    // SAFETY: the message is guest memory.
    unsafe { host::blocking(task, nr, args) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semid_ds_has_the_size_of_each_architecture() {
        assert_eq!(size_of::<SemidDs>(), 88);
        assert_eq!(size_of::<HostSemidDs>(), size_of::<libc::semid_ds>());
    }

    #[test]
    fn semid_ds_survives_both_conversions() {
        let guest = SemidDs {
            perm: [1, 2, 3, 4, 5, 6],
            otime: 7,
            ctime: 8,
            nsems: 9,
            unused: [0; 2],
        };
        assert_eq!(SemidDs::from_host(&guest.to_host()), guest);
    }
}
