//! riscv64 Linux.

use crate::errno::{Errno, SysResult};
use crate::task::Task;

/// See riscv_flush_icache.
pub fn sys_riscv_flush_icache(task: &mut Task, args: [u64; 6]) -> SysResult {
    let _ = (task, args);
    Err(Errno::ENOSYS)
}

/// See riscv_hwprobe.
pub fn sys_riscv_hwprobe(task: &mut Task, args: [u64; 6]) -> SysResult {
    let _ = (task, args);
    Err(Errno::ENOSYS)
}
