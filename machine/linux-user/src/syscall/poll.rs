//! Waiting for many descriptors: `epoll_event` is packed on x86-64 only, and the signal masks of
//! the calls are the guest's.

use super::host;
use super::uaccess;
use crate::errno::{Errno, SysResult};
use crate::signal;
use crate::task::Task;

/// `struct epoll_event` of riscv64: naturally aligned.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct EpollEvent {
    events: u32,
    pad: u32,
    data: u64,
}

// SAFETY: integers only; the padding is a field.
unsafe impl uaccess::Plain for EpollEvent {}

impl EpollEvent {
    fn from_host(host: libc::epoll_event) -> Self {
        Self {
            events: host.events,
            pad: 0,
            data: host.u64,
        }
    }

    fn to_host(self) -> libc::epoll_event {
        libc::epoll_event {
            events: self.events,
            u64: self.data,
        }
    }
}

/// The most events that are converted on our own stack.
const EVENTS_MAX: usize = 128;

/// `epoll_ctl(2)`.
pub fn epoll_ctl(task: &mut Task, mut args: [u64; 6]) -> SysResult {
    let mut event = EpollEvent::default().to_host();
    if args[1] as i32 != libc::EPOLL_CTL_DEL {
        event = uaccess::read::<EpollEvent>(task, args[3])?.to_host();
    }
    args[3] = (&raw mut event) as u64;
    // SAFETY: `event` lives until the call is over.
    unsafe { host::raw(libc::SYS_epoll_ctl, args) }
}

/// `epoll_pwait(2)`.
pub fn epoll_pwait(task: &mut Task, args: [u64; 6]) -> SysResult {
    epoll_wait(task, libc::SYS_epoll_pwait, args)
}

/// `epoll_pwait2(2)`.
pub fn epoll_pwait2(task: &mut Task, args: [u64; 6]) -> SysResult {
    epoll_wait(task, libc::SYS_epoll_pwait2, args)
}

fn epoll_wait(task: &mut Task, nr: i64, mut args: [u64; 6]) -> SysResult {
    let max = args[2] as i32;
    if max <= 0 || max > i32::MAX / size_of::<EpollEvent>() as i32 {
        return Err(Errno::EINVAL);
    }
    uaccess::check(task, args[1], max as u64 * size_of::<EpollEvent>() as u64)?;
    if max as usize > EVENTS_MAX {
        return epoll_wait_in_place(task, nr, args);
    }
    let mut host = [EpollEvent::default().to_host(); EVENTS_MAX];
    let guest = args[1];
    args[1] = host.as_mut_ptr() as u64;
    args[2] = (max as usize).min(EVENTS_MAX) as u64;
    let mask = WaitMask::load(task, args[4], args[5])?;
    // SAFETY: `host` has room for that many events; other pointers are the guest's.
    let ready = unsafe { mask.wait(task, nr, args, 4) }?;
    let mut events = [EpollEvent::default(); EVENTS_MAX];
    let count = (ready as usize).min(EVENTS_MAX);
    for (event, host) in events.iter_mut().zip(&host[..count]) {
        *event = EpollEvent::from_host(*host);
    }
    uaccess::write_slice(task, guest, &events[..count])?;
    Ok(ready)
}

/// As `epoll_wait`, for any number of events: the host fills the guest's array, which is larger
/// than its own would be, and the events are spread out from the last to the first.
fn epoll_wait_in_place(task: &mut Task, nr: i64, args: [u64; 6]) -> SysResult {
    const HOST: usize = size_of::<libc::epoll_event>();
    let mask = WaitMask::load(task, args[4], args[5])?;
    // SAFETY: the guest's array was checked for larger events; other pointers are the guest's.
    let ready = unsafe { mask.wait(task, nr, args, 4) }?;
    for index in (0..ready).rev() {
        let bytes: [u8; HOST] = uaccess::read(task, args[1] + index * HOST as u64)?;
        let [a, b, c, d, data @ ..] = bytes;
        let events = u32::from_le_bytes([a, b, c, d]);
        let event = EpollEvent {
            events,
            pad: 0,
            data: u64::from_le_bytes(data),
        };
        uaccess::write(
            task,
            args[1] + index * size_of::<EpollEvent>() as u64,
            &event,
        )?;
    }
    Ok(ready)
}

/// The signal mask that a call puts in place while it waits; `None` leaves the thread's.
struct WaitMask(Option<u64>);

impl WaitMask {
    /// Reads the mask at `addr`, `EINVAL` if its size is not that of `sigset_t`.
    fn load(task: &Task, addr: u64, size: u64) -> Result<Self, Errno> {
        if addr == 0 {
            return Ok(Self(None));
        }
        if size != 8 {
            return Err(Errno::EINVAL);
        }
        uaccess::read(task, addr).map(|mask| Self(Some(mask)))
    }

    /// Runs host call `nr`, whose argument `at` is the address of the mask and the next its size.
    ///
    /// # Safety
    ///
    /// As the host's call: other pointers are the guest's, checked, or point to live objects.
    unsafe fn wait(&self, task: &mut Task, nr: i64, mut args: [u64; 6], at: usize) -> SysResult {
        let Some(mask) = self.0 else {
            args[at] = 0;
            // SAFETY: the caller's promise.
            return unsafe { host::blocking(task, nr, args) };
        };
        let host = signal::host_mask(mask);
        args[at] = (&raw const host) as u64;
        args[at + 1] = 8;
        // SAFETY: the caller's promise; the mask lives until the call is over.
        unsafe { signal::safe_syscall_masked(task, nr, args, Some(mask)) }
    }
}

/// `ppoll(2)`. The kernel writes the time that is left, as it does on riscv64.
pub fn ppoll(task: &mut Task, args: [u64; 6]) -> SysResult {
    let mask = WaitMask::load(task, args[3], args[4])?;
    // SAFETY: the table has checked the array and the timeout.
    unsafe { mask.wait(task, libc::SYS_ppoll, args, 3) }
}

/// `pselect6(2)`: the last argument points to a pair of mask address and size.
pub fn pselect6(task: &mut Task, mut args: [u64; 6]) -> SysResult {
    let nfds = (args[0] as i32).max(0) as u64;
    for set in &args[1..4] {
        uaccess::check_optional(task, *set, nfds.div_ceil(64) * 8)?;
    }
    let mut pair = [0_u64; 2];
    if args[5] != 0 {
        pair = uaccess::read(task, args[5])?;
    }
    let mask = WaitMask::load(task, pair[0], pair[1])?;
    let Some(guest) = mask.0 else {
        args[5] = 0;
        // SAFETY: the sets and the timeout are guest memory.
        return unsafe { host::blocking(task, libc::SYS_pselect6, args) };
    };
    let host = signal::host_mask(guest);
    let host_pair = [(&raw const host) as u64, 8];
    args[5] = host_pair.as_ptr() as u64;
    // SAFETY: as above; the mask and the pair live until the call is over.
    unsafe { signal::safe_syscall_masked(task, libc::SYS_pselect6, args, mask.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_aligned_for_the_guest_and_packed_for_the_host() {
        assert_eq!(size_of::<EpollEvent>(), 16);
        assert_eq!(size_of::<libc::epoll_event>(), 12);
        assert_eq!(core::mem::offset_of!(EpollEvent, data), 8);
        let event = EpollEvent {
            events: 5,
            pad: 0,
            data: u64::MAX - 1,
        };
        assert_eq!(EpollEvent::from_host(event.to_host()), event);
    }
}
