//! Files under `/proc` whose host contents are not the guest's.

use crate::errno::SysResult;
use crate::task::Task;
use std::path::{Path, PathBuf};

/// Opens `path` if it is a file that isomorph answers for (`/proc/self/maps`, `/proc/cpuinfo` …):
/// the descriptor, or an error; `None` if the host's file is right.
pub fn open(task: &Task, path: &Path, flags: i32) -> Option<SysResult> {
    let _ = (task, path, flags);
    None
}

/// What `readlink` says about `path` if that is not what the host says (`/proc/self/exe`).
pub fn link_target(task: &Task, path: &Path) -> Option<PathBuf> {
    let _ = (task, path);
    None
}
