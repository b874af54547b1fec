//! RAM of the guest: one memfd, mapped shared, touched by atomics only.
//!
//! The only `unsafe` of this crate. A vCPU's generated code, devices' threads and this module touch
//! the same bytes at the same time, so no reference to them is ever made but to an atomic cell.

use crate::bitmap::{PAGE_SIZE, PageBitmap, pages};
use crate::error::MemoryError;
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Who wants to know that bytes of a page with translated code were written.
pub trait CodeWatch: Send + Sync {
    /// `len` bytes at `offset` of `ram` were written by something else than generated code.
    fn code_written(&self, ram: &RamBlock, offset: u64, len: u64);
}

/// A block of guest RAM (or of a ROM's contents).
pub struct RamBlock {
    name: String,
    base: NonNull<u8>,
    len: u64,
    file: OwnedFd,
    dirty: PageBitmap,
    code: PageBitmap,
    watch: OnceLock<Arc<dyn CodeWatch>>,
}

// SAFETY: the mapping belongs to the value; its bytes are touched through atomics only.
unsafe impl Send for RamBlock {}
// SAFETY: as above.
unsafe impl Sync for RamBlock {}

impl fmt::Debug for RamBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, len, .. } = self;
        write!(f, "RamBlock({name}, {len:#x})")
    }
}

/// Compares 16 bytes, low half first, with `old`, and makes them `new` if they are equal; what they
/// were. (The compiler makes a library call of its own 16-byte operation, which is not there.)
///
/// # Safety
/// `p` is valid and aligned to 16 bytes, its bytes are touched by atomics only; the processor has
/// the instruction.
unsafe fn exchange_pair(p: *mut u8, old: [u64; 2], new: [u64; 2]) -> [u64; 2] {
    let (mut low, mut high) = (old[0], old[1]);
    // SAFETY: as the caller promises; `rbx`, which the compiler keeps for itself, is restored
    // (SDM Vol. 2, CMPXCHG8B/CMPXCHG16B).
    unsafe {
        std::arch::asm!(
            "xchg {new}, rbx",
            "lock cmpxchg16b [{p}]",
            "mov rbx, {new}",
            new = inout(reg) new[0] => _,
            p = in(reg) p,
            in("rcx") new[1],
            inout("rax") low,
            inout("rdx") high,
            options(nostack),
        );
    }
    [low, high]
}

impl RamBlock {
    /// Zeroed RAM of `len` bytes, rounded up to pages.
    ///
    /// # Errors
    /// The host gives no file or no address space of that size.
    pub fn new(name: &str, len: u64) -> Result<Arc<Self>, MemoryError> {
        let rounded = len
            .checked_next_multiple_of(PAGE_SIZE)
            .filter(|&bytes| bytes != 0 && i64::try_from(bytes).is_ok());
        let Some(len) = rounded else {
            let name = name.to_owned();
            return Err(MemoryError::Size { name, bytes: len });
        };
        let (file, base) = map_file(len).map_err(|source| MemoryError::Allocate {
            name: name.to_owned(),
            bytes: len,
            source,
        })?;
        Ok(Arc::new(Self {
            name: name.to_owned(),
            base,
            len,
            file,
            dirty: PageBitmap::new(len),
            code: PageBitmap::new(len),
            watch: OnceLock::new(),
        }))
    }

    /// Name for messages and snapshots.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes, a multiple of the page size.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// The file behind the RAM, to be mapped by others or written out.
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Host address of byte 0, for generated code and for KVM. Valid as long as the block lives.
    pub fn host_base(&self) -> usize {
        self.base.as_ptr() as usize
    }

    /// Pages written since the marks were last taken.
    pub fn dirty(&self) -> &PageBitmap {
        &self.dirty
    }

    /// Pages that hold translated code.
    pub fn code(&self) -> &PageBitmap {
        &self.code
    }

    /// Names who is told about writes to pages with translated code. Only the first call counts.
    pub fn watch_code(&self, watch: Arc<dyn CodeWatch>) {
        // One engine per machine: a second one would have its own RAM.
        let _ = self.watch.set(watch);
    }

    /// Notes that `len` bytes at `offset` have changed: dirty pages, and translations to drop.
    pub fn note_write(&self, offset: u64, len: u64) {
        // The bytes are there before the code mark is looked at, and who translates sets the mark
        // before it reads them: one of the two sees the other.
        std::sync::atomic::fence(Ordering::SeqCst);
        for page in pages(offset, len) {
            self.dirty.set(page);
            if self.code.get(page)
                && let Some(watch) = self.watch.get()
            {
                let start = offset.max(page);
                let end = (offset + len).min(page + PAGE_SIZE);
                watch.code_written(self, start, end - start);
            }
        }
    }

    /// A pointer to `offset` if `len` bytes lie there.
    #[inline]
    fn at(&self, offset: u64, len: u64) -> Option<*mut u8> {
        let end = offset.checked_add(len)?;
        if end > self.len {
            return None;
        }
        // SAFETY: `offset <= self.len`, inside the mapping.
        Some(unsafe { self.base.as_ptr().add(offset as usize) })
    }

    /// Reads `size` (1, 2, 4 or 8) bytes, little-endian: in one piece if `offset` is aligned to
    /// them, byte by byte otherwise. `None` beyond the end.
    #[inline]
    pub fn load(&self, offset: u64, size: u32) -> Option<u64> {
        let p = self.at(offset, u64::from(size))?;
        if offset & u64::from(size.wrapping_sub(1)) != 0 {
            let mut bytes = [0; 8];
            let part = bytes.get_mut(..size as usize)?;
            return self.read(offset, part).then(|| u64::from_le_bytes(bytes));
        }
        // SAFETY: `size` bytes at `p` lie in the mapping, aligned, touched by atomics only.
        unsafe {
            Some(match size {
                1 => AtomicU8::from_ptr(p).load(Ordering::Acquire).into(),
                2 => AtomicU16::from_ptr(p.cast()).load(Ordering::Acquire).into(),
                4 => AtomicU32::from_ptr(p.cast()).load(Ordering::Acquire).into(),
                8 => AtomicU64::from_ptr(p.cast()).load(Ordering::Acquire),
                _ => return None,
            })
        }
    }

    /// Writes `size` (1, 2, 4 or 8) bytes as [`RamBlock::load`] reads them. False beyond the end.
    #[inline]
    pub fn store(&self, offset: u64, size: u32, value: u64) -> bool {
        let Some(p) = self.at(offset, u64::from(size)) else {
            return false;
        };
        if offset & u64::from(size.wrapping_sub(1)) != 0 {
            let bytes = value.to_le_bytes();
            let part = bytes.get(..size as usize);
            return part.is_some_and(|part| self.write(offset, part));
        }
        // SAFETY: `size` bytes at `p` lie in the mapping, aligned, touched by atomics only.
        unsafe {
            match size {
                1 => AtomicU8::from_ptr(p).store(value as u8, Ordering::Release),
                2 => AtomicU16::from_ptr(p.cast()).store(value as u16, Ordering::Release),
                4 => AtomicU32::from_ptr(p.cast()).store(value as u32, Ordering::Release),
                8 => AtomicU64::from_ptr(p.cast()).store(value, Ordering::Release),
                _ => return false,
            }
        }
        self.note_write(offset, u64::from(size));
        true
    }

    /// Compares 4 or 8 aligned bytes with `old` and, if they are equal, makes them `new`, in one
    /// step that all vCPUs agree on. The value found before; `None` if it cannot be done there.
    pub fn compare_exchange(&self, offset: u64, size: u32, old: u64, new: u64) -> Option<u64> {
        let p = self.at(offset, u64::from(size))?;
        if !matches!(size, 4 | 8) || !offset.is_multiple_of(u64::from(size)) {
            return None;
        }
        let order = Ordering::SeqCst;
        // SAFETY: `size` bytes at `p` lie in the mapping, aligned, touched by atomics only.
        let found = unsafe {
            if size == 4 {
                let cell = AtomicU32::from_ptr(p.cast());
                let result = cell.compare_exchange(old as u32, new as u32, order, order);
                result.map_or_else(u64::from, u64::from)
            } else {
                let cell = AtomicU64::from_ptr(p.cast());
                let result = cell.compare_exchange(old, new, order, order);
                result.unwrap_or_else(|found| found)
            }
        };
        let same = if size == 4 {
            found as u32 == old as u32
        } else {
            found == old
        };
        if same {
            self.note_write(offset, u64::from(size));
        }
        Some(found)
    }

    /// As [`RamBlock::compare_exchange`] for 16 aligned bytes, low half first.
    pub fn compare_exchange_pair(
        &self,
        offset: u64,
        old: [u64; 2],
        new: [u64; 2],
    ) -> Option<[u64; 2]> {
        let p = self.at(offset, 16)?;
        if !offset.is_multiple_of(16) || !std::arch::is_x86_feature_detected!("cmpxchg16b") {
            return None;
        }
        // SAFETY: 16 aligned bytes at `p` lie in the mapping, touched by atomics only; the
        // processor has the instruction.
        let found = unsafe { exchange_pair(p, old, new) };
        if found == old {
            self.note_write(offset, 16);
        }
        Some(found)
    }

    /// Copies bytes out. False, and nothing copied, beyond the end.
    pub fn read(&self, offset: u64, out: &mut [u8]) -> bool {
        let Some(p) = self.at(offset, out.len() as u64) else {
            return false;
        };
        let head = p.align_offset(8).min(out.len());
        let (bytes, rest) = out.split_at_mut(head);
        let (words, tail) = rest.as_chunks_mut::<8>();
        // SAFETY: `out.len()` bytes at `p` lie in the mapping; the words are aligned.
        unsafe {
            read_bytes(p, bytes);
            let p = p.add(head);
            for (index, word) in words.iter_mut().enumerate() {
                let cell = AtomicU64::from_ptr(p.add(index * 8).cast());
                *word = cell.load(Ordering::Relaxed).to_ne_bytes();
            }
            read_bytes(p.add(words.len() * 8), tail);
        }
        true
    }

    /// Copies bytes in. False, and nothing copied, beyond the end.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> bool {
        let Some(p) = self.at(offset, bytes.len() as u64) else {
            return false;
        };
        let (head, rest) = bytes.split_at(p.align_offset(8).min(bytes.len()));
        let (words, tail) = rest.as_chunks::<8>();
        // SAFETY: `bytes.len()` bytes at `p` lie in the mapping; the words are aligned.
        unsafe {
            write_bytes(p, head);
            let p = p.add(head.len());
            for (index, word) in words.iter().enumerate() {
                let cell = AtomicU64::from_ptr(p.add(index * 8).cast());
                cell.store(u64::from_ne_bytes(*word), Ordering::Relaxed);
            }
            write_bytes(p.add(words.len() * 8), tail);
        }
        self.note_write(offset, bytes.len() as u64);
        true
    }

    /// Gives bytes back to the host; they read as zero from then on. False, and nothing done,
    /// beyond the end.
    pub fn discard(&self, offset: u64, len: u64) -> bool {
        if self.at(offset, len).is_none() {
            return false;
        }
        if len == 0 || self.punch(offset, len) {
            self.note_write(offset, len);
            return true;
        }
        // A host that cannot take memory back: the guest sees the same.
        pages(offset, len).all(|page| {
            let start = page.max(offset);
            let end = (page + PAGE_SIZE).min(offset + len);
            self.write(start, &[0; PAGE_SIZE as usize][..(end - start) as usize])
        })
    }

    /// Makes a hole in the file, which all mappings of it share.
    fn punch(&self, offset: u64, len: u64) -> bool {
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        let (file, offset, len) = (self.file.as_raw_fd(), offset as i64, len as i64);
        // SAFETY: a plain system call on our descriptor; the range was checked, so it fits. The
        // mapping stays as it is, and no reference to its bytes exists.
        unsafe { libc::fallocate(file, mode, offset, len) == 0 }
    }

    /// The bytes as `vm-memory` wants them for virtqueues. `None` beyond the end.
    pub fn volatile(
        &self,
        offset: u64,
        len: u64,
    ) -> Option<vm_memory::VolatileSlice<'_, Track<'_>>> {
        let p = self.at(offset, len)?;
        let track = Track { ram: self, offset };
        let len = usize::try_from(len).ok()?;
        // SAFETY: the bytes lie in the mapping, which lives as long as `self` is borrowed;
        // `VolatileSlice` touches them by volatile and atomic accesses only.
        Some(unsafe { vm_memory::VolatileSlice::with_bitmap(p, len, track, None) })
    }
}

impl Drop for RamBlock {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `map_file` and nothing refers to it any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len as usize) };
    }
}

/// # Safety
/// `out.len()` bytes lie at `p` in the mapping.
unsafe fn read_bytes(p: *mut u8, out: &mut [u8]) {
    for (index, byte) in out.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        *byte = unsafe { AtomicU8::from_ptr(p.add(index)) }.load(Ordering::Relaxed);
    }
}

/// # Safety
/// `bytes.len()` bytes lie at `p` in the mapping.
unsafe fn write_bytes(p: *mut u8, bytes: &[u8]) {
    for (index, byte) in bytes.iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { AtomicU8::from_ptr(p.add(index)) }.store(*byte, Ordering::Relaxed);
    }
}

/// A new memory file of `len` bytes and where it is mapped.
fn map_file(len: u64) -> std::io::Result<(OwnedFd, NonNull<u8>)> {
    let failed = std::io::Error::last_os_error;
    // SAFETY: the name is a C string; the result is checked.
    let fd = unsafe { libc::memfd_create(c"isomorph-ram".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(failed());
    }
    // SAFETY: a new descriptor that nobody else owns.
    let file = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: a plain system call on our descriptor; `len` fits, its caller saw to that.
    if unsafe { libc::ftruncate(file.as_raw_fd(), len as i64) } != 0 {
        return Err(failed());
    }
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_SHARED | libc::MAP_NORESERVE;
    let null = std::ptr::null_mut();
    // SAFETY: a new mapping of our file at an address that the kernel chooses.
    let p = unsafe { libc::mmap(null, len as usize, prot, flags, file.as_raw_fd(), 0) };
    if p == libc::MAP_FAILED {
        return Err(failed());
    }
    NonNull::new(p.cast())
        .map(|base| (file, base))
        .ok_or_else(failed)
}

/// Tells a RAM block of writes through a [`vm_memory::VolatileSlice`].
#[derive(Clone, Copy, Debug)]
pub struct Track<'a> {
    ram: &'a RamBlock,
    offset: u64,
}

impl<'a> Track<'a> {
    /// Tells `ram`, of which the slice begins at `offset`.
    pub fn new(ram: &'a RamBlock, offset: u64) -> Self {
        Self { ram, offset }
    }
}

impl vm_memory::bitmap::WithBitmapSlice<'_> for Track<'_> {
    type S = Self;
}

impl vm_memory::bitmap::BitmapSlice for Track<'_> {}

impl vm_memory::bitmap::Bitmap for Track<'_> {
    fn mark_dirty(&self, offset: usize, len: usize) {
        self.ram.note_write(self.offset + offset as u64, len as u64);
    }

    fn dirty_at(&self, offset: usize) -> bool {
        self.ram.dirty.get(self.offset + offset as u64)
    }

    fn slice_at(&self, offset: usize) -> Self {
        Self {
            ram: self.ram,
            offset: self.offset + offset as u64,
        }
    }
}

#[cfg(test)]
#[path = "ram_tests.rs"]
mod tests;
