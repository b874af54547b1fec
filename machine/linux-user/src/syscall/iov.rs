//! Vectors of buffers: copied, so that what was checked is what the kernel uses.

use super::{host, uaccess};
use crate::errno::{Errno, SysResult};
use crate::task::Task;

/// `struct iovec`: address and length.
pub type IoVec = [u64; 2];

/// The most buffers in one call (`UIO_MAXIOV`).
pub const IOV_MAX: u64 = 1024;
const INLINE: usize = 16;

/// A checked copy of a guest's vector; short ones need no allocation.
pub struct Vector {
    inline: [IoVec; INLINE],
    heap: Vec<IoVec>,
    len: usize,
}

impl Vector {
    /// Copies `count` elements from guest address `addr`.
    ///
    /// `EINVAL` for more than [`IOV_MAX`] or a negative length, `EFAULT` for a buffer above the
    /// ceiling.
    pub fn load(task: &Task, addr: u64, count: u64) -> Result<Self, Errno> {
        if count > IOV_MAX {
            return Err(Errno::EINVAL);
        }
        let len = count as usize;
        let mut vector = Self {
            inline: [[0; 2]; INLINE],
            heap: Vec::new(),
            len,
        };
        if len > INLINE {
            vector.heap = vec![[0; 2]; len];
        }
        uaccess::read_slice(task, addr, vector.as_mut_slice())?;
        for &[base, size] in vector.as_slice() {
            if (size as i64) < 0 {
                return Err(Errno::EINVAL);
            }
            if size != 0 {
                uaccess::check(task, base, size)?;
            }
        }
        Ok(vector)
    }

    fn as_mut_slice(&mut self) -> &mut [IoVec] {
        if self.heap.is_empty() {
            &mut self.inline[..self.len]
        } else {
            &mut self.heap
        }
    }

    fn as_slice(&self) -> &[IoVec] {
        if self.heap.is_empty() {
            &self.inline[..self.len]
        } else {
            &self.heap
        }
    }

    /// Where the kernel finds the copy; valid while `self` neither moves nor drops.
    pub fn pointer(&self) -> u64 {
        self.as_slice().as_ptr() as u64
    }
}

/// Runs host call `nr`, whose second and third arguments are a vector.
fn vectored(task: &mut Task, nr: i64, mut args: [u64; 6], count: u64) -> SysResult {
    let vector = Vector::load(task, args[1], count)?;
    args[1] = vector.pointer();
    // SAFETY: the vector lives until the call is over and names only guest memory.
    unsafe { host::blocking(task, nr, args) }
}

/// The count of calls that declare it `int`: a negative one is as invalid as one too large.
fn int_count(args: &[u64; 6]) -> u64 {
    args[2] as i32 as u64
}

macro_rules! vectored {
    ($($(#[$doc:meta])* $name:ident = $nr:ident;)*) => {
        $($(#[$doc])*
        pub fn $name(task: &mut Task, args: [u64; 6]) -> SysResult {
            vectored(task, libc::$nr, args, int_count(&args))
        })*
    };
}

vectored! {
    /// `readv(2)`.
    readv = SYS_readv;
    /// `writev(2)`.
    writev = SYS_writev;
    /// `preadv(2)`.
    preadv = SYS_preadv;
    /// `pwritev(2)`.
    pwritev = SYS_pwritev;
    /// `preadv2(2)`.
    preadv2 = SYS_preadv2;
    /// `pwritev2(2)`.
    pwritev2 = SYS_pwritev2;
}

/// `vmsplice(2)`.
pub fn vmsplice(task: &mut Task, args: [u64; 6]) -> SysResult {
    vectored(task, libc::SYS_vmsplice, args, args[2])
}

/// `process_madvise(2)`: the addresses are another guest's, under the same ceiling.
pub fn process_madvise(task: &mut Task, args: [u64; 6]) -> SysResult {
    vectored(task, libc::SYS_process_madvise, args, args[2])
}

/// `process_vm_readv(2)`.
pub fn process_vm_readv(task: &mut Task, args: [u64; 6]) -> SysResult {
    process_vm(task, libc::SYS_process_vm_readv, args)
}

/// `process_vm_writev(2)`.
pub fn process_vm_writev(task: &mut Task, args: [u64; 6]) -> SysResult {
    process_vm(task, libc::SYS_process_vm_writev, args)
}

/// Both vectors are checked: the other process may be this one.
fn process_vm(task: &mut Task, nr: i64, mut args: [u64; 6]) -> SysResult {
    let local = Vector::load(task, args[1], args[2])?;
    let remote = Vector::load(task, args[3], args[4])?;
    args[1] = local.pointer();
    args[3] = remote.pointer();
    // SAFETY: both vectors live until the call is over and name only guest memory.
    unsafe { host::blocking(task, nr, args) }
}
