//! Code memory: one region mapped twice, writable and executable, with aligned atomic patching.
//!
//! Invariants:
//! - No page is ever mapped writable and executable at the same address (W^X): generated code runs
//!   from one mapping and is written through the other.
//! - Space is handed out in ascending order and comes back only all at once
//!   ([`CodeMemory::reset`]), so offsets order code by age.
//! - A patch changes one naturally aligned 8-byte word with a single store: a thread that executes
//!   there sees the old or the new instruction, never a mixture (Intel SDM vol. 3A, 8.1.1 and
//!   8.1.3).

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why code memory could not be had or changed.
#[derive(Debug, thiserror::Error)]
pub enum CodeError {
    /// The host refused a size or a mapping.
    #[error("cannot get {size} bytes of code memory: {step} failed")]
    Host {
        /// Bytes asked for.
        size: usize,
        /// The host call that failed.
        step: &'static str,
        /// What the host said.
        source: io::Error,
    },
    /// The region is full: [`CodeMemory::reset`] it.
    #[error("code memory is full")]
    Full,
}

/// A region of code memory. Offsets (bytes from its start) name places in it.
#[derive(Debug)]
pub struct CodeMemory {
    write: NonNull<u8>,
    exec: NonNull<u8>,
    size: usize,
    used: usize,
    /// Bytes from offset 0 that the host has been asked to provide pages for.
    populated: usize,
}

/// Least and most bytes that the host is asked to provide at a time. The pieces grow with what is
/// used already, so that a short program pays for little and a long one for few calls.
const POPULATE: (usize, usize) = (32 << 10, 512 << 10);

// SAFETY: the mappings belong to this value alone and are reached only through its methods.
unsafe impl Send for CodeMemory {}

impl CodeMemory {
    /// Maps a region of `size` bytes (rounded up to pages, at most 1 GiB so that `rel32` reaches).
    pub fn new(size: usize) -> Result<Self, CodeError> {
        let size = size.clamp(4096, 1 << 30).next_multiple_of(4096);
        let write = map_shared(size)?;
        let exec = map_again(write, size, None)?;
        Ok(Self {
            write,
            exec,
            size,
            used: 0,
            populated: 0,
        })
    }

    /// Address at which offset 0 executes.
    pub fn exec_base(&self) -> u64 {
        self.exec.as_ptr() as u64
    }

    /// Size of the region in bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Bytes handed out, from offset 0.
    pub fn used(&self) -> usize {
        self.used
    }

    /// The offset that the next [`CodeMemory::append`] will return (16-byte aligned).
    pub fn next_offset(&self) -> u32 {
        self.used.next_multiple_of(16) as u32
    }

    /// Copies `code` into the region and returns its offset, which is 16-byte aligned.
    pub fn append(&mut self, code: &[u8]) -> Result<u32, CodeError> {
        let at = self.used.next_multiple_of(16);
        if code.len() > self.size.saturating_sub(at) {
            return Err(CodeError::Full);
        }
        self.populate(at + code.len());
        // SAFETY: [at, at + len) lies inside the writable mapping (checked above), and no code
        // runs there yet: it lies beyond everything handed out.
        unsafe {
            std::ptr::copy_nonoverlapping(code.as_ptr(), self.write.as_ptr().add(at), code.len());
        }
        self.used = at + code.len();
        Ok(at as u32)
    }

    /// Has the host provide pages up to `end` at least, many at once: a fault for each page in each
    /// mapping costs several times as much. Where the host refuses, they come by faults.
    fn populate(&mut self, end: usize) {
        while self.populated < end {
            let piece = self.populated.clamp(POPULATE.0, POPULATE.1);
            let len = piece.min(self.size - self.populated);
            // SAFETY: the ranges lie inside the mappings; the advice changes no contents.
            unsafe {
                let write = self.write.as_ptr().add(self.populated).cast();
                libc::madvise(write, len, libc::MADV_POPULATE_WRITE);
                let exec = self.exec.as_ptr().add(self.populated).cast();
                libc::madvise(exec, len, libc::MADV_POPULATE_READ);
            }
            self.populated += len;
        }
    }

    /// The bytes at `[at, at + len)`, clipped to what was handed out. For dumps.
    pub fn bytes(&self, at: u32, len: u32) -> Vec<u8> {
        let end = (at as usize + len as usize).min(self.used);
        (at as usize..end)
            // SAFETY: i < used <= size, inside the mapping; patches are single word stores, so a
            // byte read is always some valid value.
            .map(|i| unsafe { self.exec.as_ptr().add(i).read_volatile() })
            .collect()
    }

    /// Replaces the 4 bytes at `at`, which must not cross an 8-byte boundary, in one store.
    pub fn patch_u32(&self, at: u32, value: u32) {
        let Some(word) = self.word(at & !7) else {
            return;
        };
        let shift = (at & 7) * 8;
        debug_assert!(shift <= 32, "patch crosses an 8-byte word");
        let mask = u64::from(u32::MAX) << shift;
        let old = word.load(Ordering::Relaxed);
        word.store(old & !mask | u64::from(value) << shift, Ordering::Release);
    }

    /// Replaces the aligned 8 bytes at `at` in one store.
    pub fn store_u64(&self, at: u32, value: u64) {
        debug_assert_eq!(at % 8, 0);
        if let Some(word) = self.word(at) {
            word.store(value, Ordering::Release);
        }
    }

    /// The aligned word at `at`, if it is inside what was handed out.
    fn word(&self, at: u32) -> Option<&AtomicU64> {
        if at as usize >= self.used || at as usize + 8 > self.size {
            return None;
        }
        // SAFETY: inside the writable mapping (checked), aligned (callers mask or assert), and
        // only ever accessed atomically or by copies to fresh space.
        Some(unsafe { AtomicU64::from_ptr(self.write.as_ptr().add(at as usize & !7).cast()) })
    }

    /// Takes back everything from offset `keep` on. No thread may be executing there.
    pub fn reset(&mut self, keep: usize) {
        self.used = keep.min(self.used);
    }

    /// Gives this process its own copy of the region, at the same addresses. To be called in the
    /// child after `fork`, whose mappings are shared with the parent until then.
    pub fn unshare(&mut self) -> Result<(), CodeError> {
        let fresh = map_shared(self.size)?;
        self.populated = self.used.next_multiple_of(4096);
        // SAFETY: both mappings are at least `used` bytes long and do not overlap; the advice
        // changes no contents.
        unsafe {
            libc::madvise(
                fresh.as_ptr().cast(),
                self.populated,
                libc::MADV_POPULATE_WRITE,
            );
            std::ptr::copy_nonoverlapping(self.exec.as_ptr(), fresh.as_ptr(), self.used);
        }
        remap(fresh, self.size, self.size, Some(self.write))?;
        map_again(self.write, self.size, Some(self.exec))?;
        Ok(())
    }
}

impl Drop for CodeMemory {
    fn drop(&mut self) {
        unmap(self.write, self.size);
        unmap(self.exec, self.size);
    }
}

/// Maps `size` writable bytes that can be mapped again. No file: a process whose files are limited
/// in size (`RLIMIT_FSIZE`) has code memory all the same.
fn map_shared(size: usize) -> Result<NonNull<u8>, CodeError> {
    // SAFETY: the kernel chooses free space.
    let p = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            size,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    mapped(p, size, "mmap")
}

/// Maps the pages of `of` a second time, executable, at `at` in place of what is there, or
/// anywhere.
fn map_again(
    of: NonNull<u8>,
    size: usize,
    at: Option<NonNull<u8>>,
) -> Result<NonNull<u8>, CodeError> {
    // An old size of zero makes a second mapping of a shared one (mremap(2)).
    let again = remap(of, 0, size, at)?;
    // SAFETY: the mapping was just made and holds no Rust objects.
    let done = unsafe {
        libc::mprotect(
            again.as_ptr().cast(),
            size,
            libc::PROT_READ | libc::PROT_EXEC,
        )
    };
    if done != 0 {
        return Err(failed(size, "mprotect"));
    }
    Ok(again)
}

fn remap(
    from: NonNull<u8>,
    old_size: usize,
    size: usize,
    at: Option<NonNull<u8>>,
) -> Result<NonNull<u8>, CodeError> {
    let fixed = if at.is_some() { libc::MREMAP_FIXED } else { 0 };
    let to = at.map_or(std::ptr::null_mut::<libc::c_void>(), |p| p.as_ptr().cast());
    // SAFETY: `from` is a mapping of this module; a fixed address is one of our own mappings of
    // the same size, which the new one replaces; otherwise the kernel chooses free space.
    let p = unsafe {
        libc::mremap(
            from.as_ptr().cast(),
            old_size,
            size,
            libc::MREMAP_MAYMOVE | fixed,
            to,
        )
    };
    mapped(p, size, "mremap")
}

fn mapped(p: *mut libc::c_void, size: usize, step: &'static str) -> Result<NonNull<u8>, CodeError> {
    if p == libc::MAP_FAILED {
        return Err(failed(size, step));
    }
    NonNull::new(p.cast()).ok_or(CodeError::Full)
}

fn failed(size: usize, step: &'static str) -> CodeError {
    CodeError::Host {
        size,
        step,
        source: io::Error::last_os_error(),
    }
}

fn unmap(p: NonNull<u8>, size: usize) {
    // SAFETY: callers pass a mapping of this module that nothing refers to any more.
    unsafe { libc::munmap(p.as_ptr().cast(), size) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_written_through_one_mapping_runs_from_the_other() {
        let mut m = CodeMemory::new(4096).expect("code memory");
        let at = m.append(&[0xb8, 42, 0, 0, 0, 0xc3]).expect("space"); // mov eax, 42; ret
        let place = m.exec_base() as usize + at as usize;
        // SAFETY: the bytes above are a complete function without arguments that returns in eax.
        let f = unsafe { std::mem::transmute::<usize, extern "C" fn() -> u32>(place) };
        assert_eq!(f(), 42);
        m.patch_u32(at + 1, 7);
        assert_eq!(f(), 7);
        m.unshare().expect("own copy");
        assert_eq!(f(), 7);
    }

    #[test]
    fn a_full_region_says_so_and_keeps_what_it_has() {
        let mut m = CodeMemory::new(4096).expect("code memory");
        m.append(&[0x90; 4000]).expect("space");
        assert!(matches!(m.append(&[0x90; 200]), Err(CodeError::Full)));
        assert_eq!(m.used(), 4000);
        m.reset(16);
        assert_eq!(m.next_offset(), 16);
    }
}
