//! File descriptors: isomorph's own are out of the guest's reach.

use super::{host, uaccess};
use crate::errno::{Errno, SysResult};
use crate::task::Task;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

/// How many descriptors isomorph may keep open beside the guest's.
const RESERVED_MAX: usize = 16;
/// Where they are put, if the limit allows: above what programs count through.
const RESERVED_FLOOR: i32 = 900;

/// The descriptors that the guest can neither close nor replace; -1 where there is none.
static RESERVED: [AtomicI32; RESERVED_MAX] = [const { AtomicI32::new(-1) }; RESERVED_MAX];

/// Moves `fd` out of the guest's way, close-on-exec, and keeps it from being closed or replaced.
/// Gives `fd` itself, still protected, if there is no room above.
pub fn reserve(fd: RawFd) -> RawFd {
    // SAFETY: duplicating and closing descriptors that isomorph owns touches no memory.
    let moved = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, RESERVED_FLOOR) };
    let kept = if moved < 0 {
        fd
    } else {
        // SAFETY: as above.
        unsafe { libc::close(fd) };
        moved
    };
    for slot in &RESERVED {
        if slot
            .compare_exchange(-1, kept, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
        {
            break;
        }
    }
    kept
}

/// Standard descriptors that were closed when this process started, by bit. Rust's runtime opens
/// `/dev/null` in their place before `main`, so this is noted earlier.
static CLOSED_AT_START: AtomicU32 = AtomicU32::new(0);

const STANDARD: std::ops::Range<RawFd> = 0..3;

extern "C" fn note_closed() {
    // SAFETY: asks for a descriptor's flags; no memory is touched.
    let closed = STANDARD.filter(|&fd| unsafe { libc::fcntl(fd, libc::F_GETFD) } == -1);
    let bits = closed.fold(0, |bits, fd| bits | 1 << fd);
    CLOSED_AT_START.store(bits, Ordering::Relaxed);
}

#[used]
#[unsafe(link_section = ".init_array")]
static NOTE_CLOSED: extern "C" fn() = note_closed;

/// Closes the standard descriptors that were closed at the start: the guest finds what its parent
/// has left it. To be called when nothing else of isomorph's own will be opened.
pub fn close_standard() {
    let closed = CLOSED_AT_START.load(Ordering::Relaxed);
    for fd in STANDARD.filter(|fd| closed & 1 << fd != 0) {
        // SAFETY: the descriptor is the runtime's `/dev/null`; no memory is touched.
        unsafe { libc::close(fd) };
    }
}

/// True if the guest must not close or replace this descriptor.
fn is_reserved(fd: u64) -> bool {
    // Descriptors are 32 bits; the upper half of the register is ignored.
    let fd = fd as i32;
    fd >= 0
        && RESERVED
            .iter()
            .any(|slot| slot.load(Ordering::Relaxed) == fd)
}

/// `close(2)`.
pub fn close(_: &mut Task, args: [u64; 6]) -> SysResult {
    if is_reserved(args[0]) {
        return Err(Errno::EBADF);
    }
    // SAFETY: closing one of the guest's descriptors touches no memory. A signal need not
    // interrupt it: the descriptor is gone either way.
    unsafe { host::raw(libc::SYS_close, args) }
}

/// `dup3(2)`.
pub fn dup3(_: &mut Task, args: [u64; 6]) -> SysResult {
    if is_reserved(args[1]) {
        return Err(Errno::EBADF);
    }
    // SAFETY: replaces a descriptor of the guest; no memory is touched.
    unsafe { host::raw(libc::SYS_dup3, args) }
}

/// `close_range(2)`, around isomorph's own descriptors.
pub fn close_range(_: &mut Task, args: [u64; 6]) -> SysResult {
    let (first, last, flags) = (args[0] as u32, args[1] as u32, args[2]);
    let mut own: Vec<u32> = RESERVED
        .iter()
        .filter_map(|slot| u32::try_from(slot.load(Ordering::Relaxed)).ok())
        .filter(|fd| (first..=last).contains(fd))
        .collect();
    if own.is_empty() {
        // SAFETY: only the guest's descriptors are in the range.
        return unsafe { host::raw(libc::SYS_close_range, args) };
    }
    own.sort_unstable();
    for (from, to) in gaps(first, last, &own) {
        let range = [u64::from(from), u64::from(to), flags, 0, 0, 0];
        // SAFETY: as above.
        unsafe { host::raw(libc::SYS_close_range, range) }?;
    }
    Ok(0)
}

/// The parts of `first..=last` between the numbers in `own`, which are sorted and inside it.
fn gaps(first: u32, last: u32, own: &[u32]) -> Vec<(u32, u32)> {
    let mut parts = Vec::with_capacity(own.len() + 1);
    let mut from = u64::from(first);
    for &fd in own {
        if from < u64::from(fd) {
            parts.push((from as u32, fd - 1));
        }
        from = u64::from(fd) + 1;
    }
    if from <= u64::from(last) {
        parts.push((from as u32, last));
    }
    parts
}

/// `fcntl(2)`: some commands take a pointer.
pub fn fcntl(task: &mut Task, args: [u64; 6]) -> SysResult {
    const F_SETOWN_EX: i32 = 15;
    const F_GETOWN_EX: i32 = 16;
    const F_GETOWNER_UIDS: i32 = 17;
    const F_GET_RW_HINT: i32 = 1035;
    const F_SET_FILE_RW_HINT: i32 = 1038;
    let size = match args[1] as i32 {
        libc::F_GETLK | libc::F_SETLK | libc::F_SETLKW => 32,
        libc::F_OFD_GETLK | libc::F_OFD_SETLK | libc::F_OFD_SETLKW => 32,
        F_SETOWN_EX | F_GETOWN_EX | F_GETOWNER_UIDS => 8,
        F_GET_RW_HINT..=F_SET_FILE_RW_HINT => 8,
        _ => 0,
    };
    if size != 0 {
        uaccess::check_optional(task, args[2], size)?;
    }
    // SAFETY: if the command follows a pointer, it was checked.
    unsafe { host::blocking(task, libc::SYS_fcntl, args) }
}

/// `ioctl(2)`. Requests and their structures are the same on both architectures; what the
/// argument covers is in the request (`_IOC_SIZE`), but not in the oldest ones.
pub fn ioctl(task: &mut Task, args: [u64; 6]) -> SysResult {
    let request = args[1] as u32;
    uaccess::check_address_like(task, args[2], ioctl_size(request))?;
    // SAFETY: the argument does not point above the ceiling. Pointers inside the structures of
    // rare requests are the guest's and not checked.
    unsafe { host::blocking(task, libc::SYS_ioctl, args) }
}

/// Bytes behind the argument of an ioctl: from the request, or the largest of the old ones.
const fn ioctl_size(request: u32) -> u64 {
    /// `struct ifreq`, the largest of the structures whose requests tell no size.
    const UNSIZED: u64 = 40;
    let (direction, size) = (request >> 30, (request >> 16) & 0x3fff);
    if direction == 0 || size == 0 {
        UNSIZED
    } else {
        size as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_leave_out_the_reserved() {
        assert_eq!(gaps(3, u32::MAX, &[900, 901]), [(3, 899), (902, u32::MAX)]);
        assert_eq!(gaps(900, 900, &[900]), []);
        assert_eq!(gaps(5, 10, &[5, 10]), [(6, 9)]);
        assert_eq!(gaps(0, u32::MAX, &[u32::MAX]), [(0, u32::MAX - 1)]);
    }

    #[test]
    fn ioctl_size_reads_the_request() {
        assert_eq!(ioctl_size(libc::TCGETS as u32), 40);
        assert_eq!(ioctl_size(libc::TIOCGPTN as u32), 4);
        assert_eq!(ioctl_size(libc::FICLONE as u32), 4);
    }

    #[test]
    fn reserve_moves_a_descriptor_up_and_protects_it() {
        // SAFETY: duplicates standard error; no memory is touched.
        let fd = unsafe { libc::dup(2) };
        let kept = reserve(fd);
        assert!(kept >= RESERVED_FLOOR && is_reserved(kept as u64) && !is_reserved(fd as u64));
    }
}
