//! The host's own system calls, raw: no errno variable, no cancellation points.

use crate::errno::{Errno, SysResult};
use crate::task::Task;

/// Runs host system call `nr` once; `Err` holds the kernel's errno.
///
/// # Safety
///
/// `nr` and `args` must not make the kernel write memory that Rust relies on: pointers are the
/// guest's (already checked against the ceiling) or point at live objects of the right size.
pub unsafe fn raw(nr: i64, args: [u64; 6]) -> SysResult {
    let ret: i64;
    // SAFETY: the x86-64 psABI, A.2.1: arguments in these registers, rcx and r11 destroyed. What
    // the kernel does with memory is the caller's promise.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") nr => ret,
            in("rdi") args[0],
            in("rsi") args[1],
            in("rdx") args[2],
            in("r10") args[3],
            in("r8") args[4],
            in("r9") args[5],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    decode(ret)
}

/// Runs host system call `nr` in a way that guest signals interrupt it.
///
/// # Safety
///
/// As [`raw`].
pub unsafe fn blocking(task: &mut Task, nr: i64, args: [u64; 6]) -> SysResult {
    // SAFETY: the caller's promise is that of `raw`.
    unsafe { crate::signal::safe_syscall(task, nr, args) }
}

/// Turns the kernel's return value into a result (`-4095..=-1` are errors).
pub const fn decode(ret: i64) -> SysResult {
    if ret < 0 && ret >= -4095 {
        Err(Errno(-ret as i32))
    } else {
        Ok(ret as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decode_splits_errors_from_addresses() {
        assert_eq!(decode(0), Ok(0));
        assert_eq!(decode(-1), Err(Errno(1)));
        assert_eq!(decode(-4095), Err(Errno(4095)));
        assert_eq!(decode(-4096), Ok(-4096_i64 as u64));
    }

    #[test]
    fn raw_reports_the_kernels_errno() {
        // SAFETY: closing no file touches no memory.
        let closed = unsafe { raw(libc::SYS_close, [u64::MAX, 0, 0, 0, 0, 0]) };
        assert_eq!(closed, Err(Errno(libc::EBADF)));
    }
}
