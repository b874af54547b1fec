//! Sockets: addresses whose length is behind a pointer, and message headers full of pointers.

use super::iov::{IOV_MAX, Vector};
use super::{host, uaccess};
use crate::errno::{Errno, SysResult};
use crate::task::Task;

/// `struct msghdr`, laid out alike on both architectures.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct MsgHdr {
    name: u64,
    namelen: u32,
    pad1: u32,
    iov: u64,
    iovlen: u64,
    control: u64,
    controllen: u64,
    flags: u32,
    pad2: u32,
}

/// `struct mmsghdr`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct MmsgHdr {
    hdr: MsgHdr,
    len: u32,
    pad: u32,
}

// SAFETY: integers only; the paddings are fields.
unsafe impl uaccess::Plain for MsgHdr {}
// SAFETY: as above.
unsafe impl uaccess::Plain for MmsgHdr {}

/// `EFAULT` unless the buffer at `addr`, whose length is at `len_addr`, lies below the ceiling.
fn check_buffer(task: &Task, addr: u64, len_addr: u64) -> Result<(), Errno> {
    if addr == 0 || len_addr == 0 {
        return Ok(());
    }
    let len: i32 = uaccess::read(task, len_addr)?;
    // The kernel refuses a negative length itself.
    uaccess::check(task, addr, len.max(0) as u64)
}

/// Runs host call `nr` with a buffer at argument `at` and the address of its length behind it.
fn sized(task: &mut Task, nr: i64, args: [u64; 6], at: usize) -> SysResult {
    check_buffer(task, args[at], args[at + 1])?;
    // SAFETY: the buffer and its length are guest memory.
    unsafe { host::blocking(task, nr, args) }
}

/// `accept(2)`.
pub fn accept(task: &mut Task, args: [u64; 6]) -> SysResult {
    sized(task, libc::SYS_accept, args, 1)
}

/// `accept4(2)`.
pub fn accept4(task: &mut Task, args: [u64; 6]) -> SysResult {
    sized(task, libc::SYS_accept4, args, 1)
}

/// `getsockname(2)`.
pub fn getsockname(task: &mut Task, args: [u64; 6]) -> SysResult {
    sized(task, libc::SYS_getsockname, args, 1)
}

/// `getpeername(2)`.
pub fn getpeername(task: &mut Task, args: [u64; 6]) -> SysResult {
    sized(task, libc::SYS_getpeername, args, 1)
}

/// `recvfrom(2)`.
pub fn recvfrom(task: &mut Task, args: [u64; 6]) -> SysResult {
    sized(task, libc::SYS_recvfrom, args, 4)
}

/// `getsockopt(2)`.
pub fn getsockopt(task: &mut Task, args: [u64; 6]) -> SysResult {
    sized(task, libc::SYS_getsockopt, args, 3)
}

/// A message header for the host, and the vector it points to.
struct Message {
    header: MsgHdr,
    vector: Box<Vector>,
}

impl Message {
    /// Checks everything that the guest's header points to.
    fn load(task: &Task, guest: MsgHdr) -> Result<Self, Errno> {
        if guest.iovlen > IOV_MAX {
            return Err(Errno::EMSGSIZE);
        }
        // The kernel refuses a negative length of the name itself.
        let name_len = (guest.namelen as i32).max(0) as u64;
        uaccess::check_optional(task, guest.name, name_len)?;
        uaccess::check_optional(task, guest.control, guest.controllen)?;
        let vector = Box::new(Vector::load(task, guest.iov, guest.iovlen)?);
        let header = MsgHdr {
            iov: vector.pointer(),
            ..guest
        };
        Ok(Self { header, vector })
    }

    /// The header as the guest sees it after a call: results from the host, pointers its own.
    fn received(&self, guest: &MsgHdr, host: &MsgHdr) -> MsgHdr {
        debug_assert_eq!(host.iov, self.vector.pointer());
        MsgHdr {
            namelen: host.namelen,
            controllen: host.controllen,
            flags: host.flags,
            ..*guest
        }
    }
}

/// `sendmsg(2)`.
pub fn sendmsg(task: &mut Task, args: [u64; 6]) -> SysResult {
    let message = Message::load(task, uaccess::read(task, args[1])?)?;
    let header = (&raw const message.header) as u64;
    // SAFETY: the header and its vector live until the call is over and name guest memory.
    unsafe { host::blocking(task, libc::SYS_sendmsg, [args[0], header, args[2], 0, 0, 0]) }
}

/// `recvmsg(2)`.
pub fn recvmsg(task: &mut Task, args: [u64; 6]) -> SysResult {
    let guest: MsgHdr = uaccess::read(task, args[1])?;
    let message = Message::load(task, guest)?;
    let mut host = message.header;
    let header = (&raw mut host) as u64;
    let host_args = [args[0], header, args[2], 0, 0, 0];
    // SAFETY: as in `sendmsg`.
    let received = unsafe { host::blocking(task, libc::SYS_recvmsg, host_args) }?;
    uaccess::write(task, args[1], &message.received(&guest, &host))?;
    Ok(received)
}

/// The messages of `sendmmsg` and `recvmmsg`: the guest's headers, the host's, and what they
/// point to.
struct Batch {
    guest: Vec<MmsgHdr>,
    host: Vec<MmsgHdr>,
    messages: Vec<Message>,
}

impl Batch {
    /// Loads as many of the `count` messages at `addr` as are good; an error if the first is bad.
    fn load(task: &Task, addr: u64, count: u64) -> Result<Self, Errno> {
        let count = u64::from(count as u32).min(IOV_MAX) as usize;
        let mut guest = vec![MmsgHdr::default(); count];
        uaccess::read_slice(task, addr, &mut guest)?;
        let mut messages = Vec::with_capacity(count);
        for one in &guest {
            match Message::load(task, one.hdr) {
                Ok(message) => messages.push(message),
                Err(error) if messages.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        let header = |message: &Message| MmsgHdr {
            hdr: message.header,
            ..MmsgHdr::default()
        };
        let host = messages.iter().map(header).collect();
        Ok(Self {
            guest,
            host,
            messages,
        })
    }

    /// Runs host call `nr` on the batch.
    fn call(&mut self, task: &mut Task, nr: i64, mut args: [u64; 6]) -> SysResult {
        args[1] = self.host.as_mut_ptr() as u64;
        args[2] = self.host.len() as u64;
        // SAFETY: the headers and their vectors live in `self` and name guest memory.
        unsafe { host::blocking(task, nr, args) }
    }
}

/// `sendmmsg(2)`.
pub fn sendmmsg(task: &mut Task, args: [u64; 6]) -> SysResult {
    let mut batch = Batch::load(task, args[1], args[2])?;
    let sent = batch.call(task, libc::SYS_sendmmsg, args)?;
    for (index, host) in batch.host.iter().take(sent as usize).enumerate() {
        let len_addr = args[1] + (index * size_of::<MmsgHdr>()) as u64 + 56;
        uaccess::write(task, len_addr, &host.len)?;
    }
    Ok(sent)
}

/// `recvmmsg(2)`.
pub fn recvmmsg(task: &mut Task, args: [u64; 6]) -> SysResult {
    let mut batch = Batch::load(task, args[1], args[2])?;
    let received = batch.call(task, libc::SYS_recvmmsg, args)?;
    let done = batch.messages.iter().zip(&batch.guest).zip(&batch.host);
    for (index, ((message, guest), host)) in done.take(received as usize).enumerate() {
        let hdr = message.received(&guest.hdr, &host.hdr);
        let addr = args[1] + (index * size_of::<MmsgHdr>()) as u64;
        uaccess::write(
            task,
            addr,
            &MmsgHdr {
                hdr,
                len: host.len,
                pad: guest.pad,
            },
        )?;
    }
    Ok(received)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_laid_out_as_the_hosts() {
        assert_eq!(size_of::<MsgHdr>(), size_of::<libc::msghdr>());
        assert_eq!(size_of::<MmsgHdr>(), size_of::<libc::mmsghdr>());
        assert_eq!(core::mem::offset_of!(MmsgHdr, len), 56);
        assert_eq!(core::mem::offset_of!(MsgHdr, flags), 48);
    }
}
