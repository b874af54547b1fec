//! Paths: looked up under the sysroot (`-L`) first; some files of `/proc` show the guest.

use super::kind::Kind;
use super::table::Entry;
use super::{host, uaccess};
use crate::errno::{Errno, SysResult};
use crate::proc_files;
use crate::task::Task;
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Bytes of a path with its NUL (`PATH_MAX` in limits.h).
const PATH_MAX: usize = 4096;

/// A path as the host kernel gets it.
enum HostPath {
    /// The guest's own string.
    Same(u64),
    /// Another one.
    Other(CString),
}

impl HostPath {
    fn pointer(&self) -> u64 {
        match self {
            Self::Same(address) => *address,
            Self::Other(path) => path.as_ptr() as u64,
        }
    }
}

/// The guest's string at `address`, if anything but passing it on may be due: a path below
/// `/proc`, or any absolute one when there is a sysroot.
fn special(task: &Task, address: u64) -> Result<Option<Vec<u8>>, Errno> {
    if address == 0 {
        return Ok(None);
    }
    let prefix = uaccess::read::<[u8; 6]>(task, address);
    let below_proc = prefix.as_ref().is_ok_and(|prefix| prefix == b"/proc/");
    // A short string may end before an unmapped page, where six bytes cannot be read.
    let absolute = prefix.map_or(true, |prefix| prefix[0] == b'/');
    if below_proc || (absolute && task.process.config.sysroot.is_some()) {
        uaccess::read_string(task, address, PATH_MAX - 1).map(Some)
    } else {
        Ok(None)
    }
}

/// The path for the host where the guest says `guest`, a string read from `address`.
fn host_path(task: &Task, address: u64, guest: &[u8]) -> Result<HostPath, Errno> {
    let guest = Path::new(OsStr::from_bytes(guest));
    let there = task.sysroot_path(guest);
    if there == guest {
        return Ok(HostPath::Same(address));
    }
    CString::new(there.as_os_str().as_bytes())
        .map(HostPath::Other)
        .map_err(|_| Errno::ENOENT)
}

fn resolve(task: &Task, address: u64) -> Result<HostPath, Errno> {
    match special(task, address)? {
        None => Ok(HostPath::Same(address)),
        Some(guest) => host_path(task, address, &guest),
    }
}

/// Whether the call asks about a link itself, not about the file that it leads to.
fn about_link(nr: i64, args: &[u64; 6]) -> bool {
    let flags = match nr {
        libc::SYS_newfstatat => args[3],
        libc::SYS_statx => args[2],
        _ => 0,
    };
    flags & libc::AT_SYMLINK_NOFOLLOW as u64 != 0
}

/// Whether the path at `address` is a link of `/proc` whose target isomorph gives.
fn is_own_link(task: &Task, address: u64) -> Result<bool, Errno> {
    let guest = special(task, address)?;
    Ok(guest.is_some_and(|guest| {
        proc_files::link_target(task, Path::new(OsStr::from_bytes(&guest))).is_some()
    }))
}

/// Runs host call `nr` with the path at `args[index]` looked up.
pub fn with_path(task: &mut Task, nr: i64, mut args: [u64; 6], index: usize) -> SysResult {
    let path = if about_link(nr, &args) && is_own_link(task, args[index])? {
        HostPath::Same(args[index])
    } else {
        resolve(task, args[index])?
    };
    args[index] = path.pointer();
    // SAFETY: the path is the guest's or lives in `path`; the other arguments are the caller's.
    unsafe { host::blocking(task, nr, args) }
}

/// Runs host call `nr` for an entry of the table, its path looked up.
pub fn with_lookup(task: &mut Task, entry: &Entry, nr: i64, args: &[u64; 6]) -> SysResult {
    let index = entry
        .params
        .iter()
        .position(|param| matches!(param.kind, Kind::Path));
    with_path(task, nr, *args, index.unwrap_or(0))
}

/// `openat(2)`.
pub fn openat(task: &mut Task, args: [u64; 6]) -> SysResult {
    open(task, libc::SYS_openat, args, args[2])
}

/// `openat2(2)`: `struct open_how` begins with the flags.
pub fn openat2(task: &mut Task, args: [u64; 6]) -> SysResult {
    let flags = uaccess::read(task, args[2])?;
    open(task, libc::SYS_openat2, args, flags)
}

fn open(task: &mut Task, nr: i64, mut args: [u64; 6], flags: u64) -> SysResult {
    let path = match special(task, args[1])? {
        None => HostPath::Same(args[1]),
        Some(guest) => {
            let named = Path::new(OsStr::from_bytes(&guest));
            if let Some(answer) = proc_files::open(task, named, flags as i32) {
                return answer;
            }
            host_path(task, args[1], &guest)?
        }
    };
    args[1] = path.pointer();
    // SAFETY: the path is the guest's or lives in `path`; `how` was checked by its size.
    unsafe { host::blocking(task, nr, args) }
}

/// `readlinkat(2)`.
pub fn readlinkat(task: &mut Task, args: [u64; 6]) -> SysResult {
    if let Some(guest) = special(task, args[1])? {
        let named = Path::new(OsStr::from_bytes(&guest));
        if let Some(target) = proc_files::link_target(task, named) {
            return answer_link(task, target.as_os_str().as_bytes(), args[2], args[3]);
        }
    }
    with_path(task, libc::SYS_readlinkat, args, 1)
}

/// Stores a link's target as `readlink(2)` does: cut to the buffer, without a NUL.
fn answer_link(task: &Task, target: &[u8], buf: u64, size: u64) -> SysResult {
    if size as i32 <= 0 {
        return Err(Errno::EINVAL);
    }
    let len = target.len().min(size as i32 as usize);
    uaccess::write_slice(task, buf, &target[..len])?;
    Ok(len as u64)
}
