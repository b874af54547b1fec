//! Executing programs.

use crate::errno::{Errno, SysResult};
use crate::task::Task;

/// See execve.
pub fn sys_execve(task: &mut Task, args: [u64; 6]) -> SysResult {
    let _ = (task, args);
    Err(Errno::ENOSYS)
}

/// See execveat.
pub fn sys_execveat(task: &mut Task, args: [u64; 6]) -> SysResult {
    let _ = (task, args);
    Err(Errno::ENOSYS)
}
