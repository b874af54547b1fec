//! File status: `struct stat` is not the same on the two architectures.

use super::host;
use super::{path, uaccess};
use crate::errno::{Errno, SysResult};
use crate::task::Task;
use core::mem::MaybeUninit;

/// `struct stat` of `asm-generic/stat.h`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stat {
    dev: u64,
    ino: u64,
    mode: u32,
    nlink: u32,
    uid: u32,
    gid: u32,
    rdev: u64,
    pad1: u64,
    size: i64,
    blksize: i32,
    pad2: i32,
    blocks: i64,
    atime: i64,
    atime_nsec: i64,
    mtime: i64,
    mtime_nsec: i64,
    ctime: i64,
    ctime_nsec: i64,
    unused: [u32; 2],
}

// SAFETY: integers only, placed without padding: 128 bytes, which a test checks.
unsafe impl uaccess::Plain for Stat {}

impl Stat {
    fn from_host(host: &libc::stat) -> Self {
        Self {
            dev: host.st_dev,
            ino: host.st_ino,
            mode: host.st_mode,
            // A link count above 32 bits saturates rather than wraps to a small one.
            nlink: host.st_nlink.try_into().unwrap_or(u32::MAX),
            uid: host.st_uid,
            gid: host.st_gid,
            rdev: host.st_rdev,
            size: host.st_size,
            blksize: host.st_blksize as i32,
            blocks: host.st_blocks,
            atime: host.st_atime,
            atime_nsec: host.st_atime_nsec,
            mtime: host.st_mtime,
            mtime_nsec: host.st_mtime_nsec,
            ctime: host.st_ctime,
            ctime_nsec: host.st_ctime_nsec,
            ..Self::default()
        }
    }
}

/// Runs `call` with room for the host's `struct stat` and hands the guest its own at `to`.
fn convert(task: &mut Task, to: u64, call: impl FnOnce(&mut Task, u64) -> SysResult) -> SysResult {
    let mut host = MaybeUninit::<libc::stat>::zeroed();
    let answer = call(task, host.as_mut_ptr() as u64)?;
    // SAFETY: zeroed, then filled by the kernel: integers all the same.
    let host = unsafe { host.assume_init() };
    uaccess::write(task, to, &Stat::from_host(&host))?;
    Ok(answer)
}

/// `newfstatat(2)`.
pub fn newfstatat(task: &mut Task, args: [u64; 6]) -> SysResult {
    convert(task, args[2], |task, host| {
        path::with_path(
            task,
            libc::SYS_newfstatat,
            [args[0], args[1], host, args[3], 0, 0],
            1,
        )
    })
}

/// `fstat(2)`.
pub fn fstat(task: &mut Task, args: [u64; 6]) -> SysResult {
    if args[1] == 0 {
        return Err(Errno::EFAULT);
    }
    convert(task, args[1], |_, host| {
        // SAFETY: `host` has room for the host's `struct stat`.
        unsafe { host::raw(libc::SYS_fstat, [args[0], host, 0, 0, 0, 0]) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::offset_of;

    #[test]
    fn stat_is_laid_out_as_in_asm_generic() {
        assert_eq!(size_of::<Stat>(), 128);
        assert_eq!(offset_of!(Stat, mode), 16);
        assert_eq!(offset_of!(Stat, rdev), 32);
        assert_eq!(offset_of!(Stat, size), 48);
        assert_eq!(offset_of!(Stat, blocks), 64);
        assert_eq!(offset_of!(Stat, atime), 72);
        assert_eq!(offset_of!(Stat, ctime_nsec), 112);
    }

    #[test]
    fn from_host_copies_every_field() {
        // SAFETY: `struct stat` is integers; zero is a value of each.
        let mut host: libc::stat = unsafe { core::mem::zeroed() };
        host.st_ino = 7;
        host.st_nlink = u64::from(u32::MAX) + 2;
        host.st_size = -1;
        host.st_mtime_nsec = 999;
        let stat = Stat::from_host(&host);
        assert_eq!((stat.ino, stat.nlink, stat.size), (7, u32::MAX, -1));
        assert_eq!(stat.mtime_nsec, 999);
    }
}
