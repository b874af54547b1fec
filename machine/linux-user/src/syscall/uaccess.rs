//! Copies between guest memory and isomorph that survive a fault (the kernel's `copy_from_user`).
//!
//! Guest memory is identity mapped, so a bad guest pointer faults in our own load. All such loads
//! and stores are the one instruction in `isomorph_uaccess_copy`; the host's `SIGSEGV`/`SIGBUS`
//! handler asks [`fixup`] first and, if it answers, resumes there instead of looking for a guest
//! instruction.

use crate::errno::Errno;
use crate::task::Task;
use core::mem::MaybeUninit;

core::arch::global_asm!(
    // rdi = to, rsi = from, rdx = bytes; rax = bytes not copied.
    ".pushsection .text.isomorph_uaccess,\"ax\",@progbits",
    ".hidden isomorph_uaccess_copy",
    ".hidden isomorph_uaccess_move",
    ".hidden isomorph_uaccess_done",
    ".globl isomorph_uaccess_copy",
    ".globl isomorph_uaccess_move",
    ".globl isomorph_uaccess_done",
    "isomorph_uaccess_copy:",
    "mov rcx, rdx",
    "isomorph_uaccess_move:",
    "rep movsb",
    "isomorph_uaccess_done:",
    "mov rax, rcx",
    "ret",
    ".popsection",
);

unsafe extern "C" {
    fn isomorph_uaccess_copy(to: *mut u8, from: *const u8, len: usize) -> usize;
    static isomorph_uaccess_move: u8;
    static isomorph_uaccess_done: u8;
}

/// Where to go on after a host fault at `pc`, if that was a copy from or to guest memory.
/// Nothing else of the host context changes: `rcx` counts the bytes that are left.
#[must_use]
pub fn fixup(pc: u64) -> Option<u64> {
    (pc == (&raw const isomorph_uaccess_move) as u64)
        .then_some((&raw const isomorph_uaccess_done) as u64)
}

/// A type that the guest and isomorph lay out alike.
///
/// # Safety
///
/// Every bit pattern is a value, and there is no padding.
pub unsafe trait Plain: Copy {}

// SAFETY: an integer of fixed size.
unsafe impl Plain for u8 {}
// SAFETY: an integer of fixed size.
unsafe impl Plain for u32 {}
// SAFETY: an integer of fixed size.
unsafe impl Plain for i32 {}
// SAFETY: an integer of fixed size.
unsafe impl Plain for u64 {}
// SAFETY: an integer of fixed size.
unsafe impl Plain for i64 {}
// SAFETY: arrays add no padding.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}

/// `EFAULT` unless all of `addr..addr + len` lies below the guest's ceiling.
pub fn check(task: &Task, addr: u64, len: u64) -> Result<(), Errno> {
    match addr.checked_add(len) {
        Some(end) if end <= task.process.mm.ceiling() => Ok(()),
        _ => Err(Errno(libc::EFAULT)),
    }
}

/// [`check`], but `NULL` passes: for pointers that may be absent.
pub fn check_optional(task: &Task, addr: u64, len: u64) -> Result<(), Errno> {
    if addr == 0 {
        Ok(())
    } else {
        check(task, addr, len)
    }
}

/// [`check_optional`] for an argument that may be an address or a number: one that fits 32 bits,
/// with either sign, is no address above the ceiling.
pub fn check_address_like(task: &Task, arg: u64, len: u64) -> Result<(), Errno> {
    if arg as i64 == i64::from(arg as i32) {
        Ok(())
    } else {
        check(task, arg, len)
    }
}

/// Reads a value at guest address `addr`.
pub fn read<T: Plain>(task: &Task, addr: u64) -> Result<T, Errno> {
    let mut value = MaybeUninit::<T>::uninit();
    let len = size_of::<T>();
    check(task, addr, len as u64)?;
    // SAFETY: the source is guest memory; a fault there ends the copy early. The target is ours.
    let left = unsafe { isomorph_uaccess_copy(value.as_mut_ptr().cast(), addr as _, len) };
    if left != 0 {
        return Err(Errno(libc::EFAULT));
    }
    // SAFETY: every byte was copied, and `Plain` accepts every bit pattern.
    Ok(unsafe { value.assume_init() })
}

/// Writes `value` at guest address `addr`.
pub fn write<T: Plain>(task: &Task, addr: u64, value: &T) -> Result<(), Errno> {
    let len = size_of::<T>();
    check(task, addr, len as u64)?;
    // SAFETY: the target is guest memory; a fault there ends the copy early. `Plain` types have
    // no padding, so all bytes of the source are initialised.
    let left = unsafe { isomorph_uaccess_copy(addr as _, (&raw const *value).cast(), len) };
    if left == 0 {
        Ok(())
    } else {
        Err(Errno(libc::EFAULT))
    }
}

/// Fills `to` from guest address `addr`.
pub fn read_slice<T: Plain>(task: &Task, addr: u64, to: &mut [T]) -> Result<(), Errno> {
    let len = size_of_val(to);
    check(task, addr, len as u64)?;
    // SAFETY: as in `read`.
    let left = unsafe { isomorph_uaccess_copy(to.as_mut_ptr().cast(), addr as _, len) };
    if left == 0 {
        Ok(())
    } else {
        Err(Errno(libc::EFAULT))
    }
}

/// Copies `from` to guest address `addr`.
pub fn write_slice<T: Plain>(task: &Task, addr: u64, from: &[T]) -> Result<(), Errno> {
    let len = size_of_val(from);
    check(task, addr, len as u64)?;
    // SAFETY: as in `write`.
    let left = unsafe { isomorph_uaccess_copy(addr as _, from.as_ptr().cast(), len) };
    if left == 0 {
        Ok(())
    } else {
        Err(Errno(libc::EFAULT))
    }
}

/// Reads the NUL-terminated string at `addr` into `to` and returns its length without the NUL.
/// `ENAMETOOLONG` if no NUL fits into `to`.
pub fn read_cstr(task: &Task, addr: u64, to: &mut [MaybeUninit<u8>]) -> Result<usize, Errno> {
    const CHUNK: u64 = 64;
    let mut have = 0;
    while have < to.len() {
        let from = addr.wrapping_add(have as u64);
        // Never across a border of 64 bytes: the string may end just before an unmapped page.
        let len = (CHUNK - from % CHUNK).min((to.len() - have) as u64) as usize;
        check(task, from, len as u64)?;
        let chunk = &mut to[have..have + len];
        // SAFETY: as in `read`.
        if unsafe { isomorph_uaccess_copy(chunk.as_mut_ptr().cast(), from as _, len) } != 0 {
            return Err(Errno(libc::EFAULT));
        }
        // SAFETY: the copy has filled the whole chunk.
        let bytes = unsafe { &*(&raw const *chunk as *const [u8]) };
        if let Some(end) = bytes.iter().position(|&byte| byte == 0) {
            return Ok(have + end);
        }
        have += len;
    }
    Err(Errno(libc::ENAMETOOLONG))
}

/// Reads the NUL-terminated string at `addr` of at most `max` bytes; for slow paths.
pub fn read_string(task: &Task, addr: u64, max: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = Vec::with_capacity(max + 1);
    let len = read_cstr(task, addr, &mut bytes.spare_capacity_mut()[..max + 1])?;
    // SAFETY: `read_cstr` has filled that many bytes.
    unsafe { bytes.set_len(len) };
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_moves_every_byte() {
        let from = *b"0123456789abcdef";
        let mut to = [0_u8; 16];
        // SAFETY: both are live arrays of 16 bytes.
        let left = unsafe { isomorph_uaccess_copy(to.as_mut_ptr(), from.as_ptr(), 16) };
        assert_eq!((left, to), (0, from));
    }

    #[test]
    fn fixup_knows_only_the_copy() {
        assert_eq!(fixup(0), None);
        assert!(fixup((&raw const isomorph_uaccess_move) as u64).is_some());
        assert_eq!(fixup((&raw const isomorph_uaccess_done) as u64), None);
    }
}
