//! Memory calls that need no knowledge of the guest's map. The others are in [`crate::mm`].

use super::{host, uaccess};
use crate::errno::{Errno, SysResult};
use crate::task::Task;

/// `mlockall(2)`. Pages are locked as they are touched, lest isomorph's own reservations of
/// address space be filled at once.
pub fn mlockall(task: &mut Task, args: [u64; 6]) -> SysResult {
    const MCL_ONFAULT: u64 = 4;
    let flags = u64::from(args[0] as u32);
    // Alone the flag is invalid, and the kernel has to say so.
    let flags = if flags == 0 { 0 } else { flags | MCL_ONFAULT };
    // SAFETY: takes no pointer.
    unsafe { host::blocking(task, libc::SYS_mlockall, [flags, 0, 0, 0, 0, 0]) }
}

/// `mincore(2)`: one byte of the vector for each page.
pub fn mincore(task: &mut Task, args: [u64; 6]) -> SysResult {
    const PAGE: u64 = 4096;
    uaccess::check(task, args[0], args[1]).map_err(|_| Errno::ENOMEM)?;
    uaccess::check(task, args[2], args[1].div_ceil(PAGE))?;
    // SAFETY: the range and the vector are guest memory.
    unsafe { host::raw(libc::SYS_mincore, args) }
}
