//! Guest threads.

use crate::errno::{Errno, SysResult};
use crate::task::Task;

/// See clone.
pub fn sys_clone(task: &mut Task, args: [u64; 6]) -> SysResult {
    let _ = (task, args);
    Err(Errno::ENOSYS)
}

/// See clone3.
pub fn sys_clone3(task: &mut Task, args: [u64; 6]) -> SysResult {
    let _ = (task, args);
    Err(Errno::ENOSYS)
}

/// See exit.
pub fn sys_exit(task: &mut Task, args: [u64; 6]) -> SysResult {
    let _ = (task, args);
    Err(Errno::ENOSYS)
}

/// See set_tid_address.
pub fn sys_set_tid_address(task: &mut Task, args: [u64; 6]) -> SysResult {
    let _ = (task, args);
    Err(Errno::ENOSYS)
}

/// See set_robust_list.
pub fn sys_set_robust_list(task: &mut Task, args: [u64; 6]) -> SysResult {
    let _ = (task, args);
    Err(Errno::ENOSYS)
}

/// See get_robust_list.
pub fn sys_get_robust_list(task: &mut Task, args: [u64; 6]) -> SysResult {
    let _ = (task, args);
    Err(Errno::ENOSYS)
}
