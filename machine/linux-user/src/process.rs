//! Guest processes.

use crate::errno::{Errno, SysResult};
use crate::task::Task;

/// See exit_group.
pub fn sys_exit_group(task: &mut Task, args: [u64; 6]) -> SysResult {
    let _ = (task, args);
    Err(Errno::ENOSYS)
}
