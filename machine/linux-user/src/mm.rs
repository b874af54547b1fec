//! The guest's address space.

use crate::errno::{Errno, SysResult};
use crate::task::Task;

/// The guest's memory map.
pub struct AddressSpace {
    ceiling: u64,
}

impl AddressSpace {
    /// The first address above the guest's address space.
    #[must_use]
    pub fn ceiling(&self) -> u64 {
        self.ceiling
    }

    /// `EFAULT` unless `ptr..ptr + len` lies below the ceiling.
    pub fn check(&self, ptr: u64, len: u64) -> Result<(), Errno> {
        match ptr.checked_add(len) {
            Some(end) if end <= self.ceiling => Ok(()),
            _ => Err(Errno::EFAULT),
        }
    }
}

/// See mmap.
pub fn sys_mmap(task: &mut Task, args: [u64; 6]) -> SysResult {
    let _ = (task, args);
    Err(Errno::ENOSYS)
}

/// See munmap.
pub fn sys_munmap(task: &mut Task, args: [u64; 6]) -> SysResult {
    let _ = (task, args);
    Err(Errno::ENOSYS)
}

/// See mprotect.
pub fn sys_mprotect(task: &mut Task, args: [u64; 6]) -> SysResult {
    let _ = (task, args);
    Err(Errno::ENOSYS)
}

/// See mremap.
pub fn sys_mremap(task: &mut Task, args: [u64; 6]) -> SysResult {
    let _ = (task, args);
    Err(Errno::ENOSYS)
}

/// See brk.
pub fn sys_brk(task: &mut Task, args: [u64; 6]) -> SysResult {
    let _ = (task, args);
    Err(Errno::ENOSYS)
}

/// See madvise.
pub fn sys_madvise(task: &mut Task, args: [u64; 6]) -> SysResult {
    let _ = (task, args);
    Err(Errno::ENOSYS)
}

/// See msync.
pub fn sys_msync(task: &mut Task, args: [u64; 6]) -> SysResult {
    let _ = (task, args);
    Err(Errno::ENOSYS)
}

/// See mlock.
pub fn sys_mlock(task: &mut Task, args: [u64; 6]) -> SysResult {
    let _ = (task, args);
    Err(Errno::ENOSYS)
}

/// See munlock.
pub fn sys_munlock(task: &mut Task, args: [u64; 6]) -> SysResult {
    let _ = (task, args);
    Err(Errno::ENOSYS)
}

/// See mincore.
pub fn sys_mincore(task: &mut Task, args: [u64; 6]) -> SysResult {
    let _ = (task, args);
    Err(Errno::ENOSYS)
}

/// See shmat.
pub fn sys_shmat(task: &mut Task, args: [u64; 6]) -> SysResult {
    let _ = (task, args);
    Err(Errno::ENOSYS)
}

/// See shmdt.
pub fn sys_shmdt(task: &mut Task, args: [u64; 6]) -> SysResult {
    let _ = (task, args);
    Err(Errno::ENOSYS)
}
