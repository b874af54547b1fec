//! The guest's address space: guest addresses are host addresses below a ceiling.
//!
//! Invariants:
//! - Every guest mapping is in [`Vmas`]; only what is in it is ever unmapped or replaced.
//! - No host page is executable for the guest's sake: the translator reads, the host runs its
//!   translation.
//! - The lock here is never held while the engine is called: what an operation made stale comes
//!   back as a [`Stale`] range, to be given to the engine afterwards.

mod calls;
mod code;
mod shm;
mod vmas;

pub use calls::{sys_brk, sys_madvise, sys_mmap, sys_mprotect, sys_mremap, sys_munmap};
pub use code::{CodeMap, Fetch, copy_to_guest};
pub use shm::{sys_shmat, sys_shmdt};
pub use vmas::{CodeRange, Kind, Vma, Vmas};

use crate::cpu::Engine;
use crate::errno::Errno;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of a page, guest and host.
pub const PAGE: u64 = 4096;

/// Lowest address that the guest may choose to map (`vm.mmap_min_addr`).
pub const MIN_ADDR: u64 = 0x10000;

/// The first page border at or above `value`.
#[must_use]
pub const fn page_up(value: u64) -> Option<u64> {
    match value.checked_add(PAGE - 1) {
        Some(sum) => Some(sum & !(PAGE - 1)),
        None => None,
    }
}

/// The page border at or below `value`.
#[must_use]
pub const fn page_down(value: u64) -> u64 {
    value & !(PAGE - 1)
}

/// The guest's memory map.
pub struct AddressSpace {
    ceiling: u64,
    /// Free space is handed out below this address.
    mmap_base: u64,
    inner: Mutex<Inner>,
    code: Arc<CodeMap>,
}

/// What the lock guards.
#[derive(Default)]
pub(crate) struct Inner {
    pub(crate) vmas: Vmas,
    /// Attached System V segments: address to size.
    pub(crate) shm: BTreeMap<u64, u64>,
    /// Initial and current program break.
    pub(crate) brk: (u64, u64),
}

/// A range of guest code whose translations are no longer true.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "the engine must forget stale translations"]
pub struct Stale(Option<(u64, u64)>);

impl Stale {
    /// Tells the engine.
    pub fn settle(self, engine: &Engine) {
        if let Some((start, end)) = self.0 {
            engine.invalidate(start, end);
        }
    }

    fn range(stale: bool, start: u64, end: u64) -> Self {
        Self(stale.then_some((start, end)))
    }
}

/// A mapping to make.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Wanted address; a hint unless the flags fix it.
    pub addr: u64,
    /// Length in bytes.
    pub len: u64,
    /// Guest protection.
    pub prot: u32,
    /// `MAP_` flags.
    pub flags: i32,
    /// File, or -1.
    pub fd: i32,
    /// Offset in the file.
    pub offset: u64,
    /// What it is for.
    pub kind: Kind,
}

impl Request {
    /// The note about it, ending at `end`.
    fn vma(&self, end: u64) -> Vma {
        let shared = self.flags & libc::MAP_SHARED != 0;
        Vma {
            end,
            prot: self.prot,
            kind: self.kind,
            shared,
        }
    }
}

/// Everything an operation under the lock needs: mappings and the code map stay in step.
pub(crate) struct Locked<'a> {
    space: &'a AddressSpace,
    pub(crate) inner: MutexGuard<'a, Inner>,
}

impl AddressSpace {
    /// An empty address space of `ceiling` bytes that hands out memory below `mmap_base`.
    #[must_use]
    pub fn new(ceiling: u64, mmap_base: u64) -> Self {
        let space = Self {
            ceiling,
            mmap_base,
            inner: Mutex::default(),
            code: Arc::default(),
        };
        space.lock().note_host_memory();
        space
    }

    /// The first address above the guest's address space.
    #[must_use]
    pub fn ceiling(&self) -> u64 {
        self.ceiling
    }

    /// What the engine fetches code from.
    #[must_use]
    pub fn fetch(&self) -> Fetch {
        Fetch(self.code.clone())
    }

    /// `EFAULT` unless `ptr..ptr + len` lies below the ceiling.
    pub fn check(&self, ptr: u64, len: u64) -> Result<(), Errno> {
        match ptr.checked_add(len) {
            Some(end) if end <= self.ceiling => Ok(()),
            _ => Err(Errno::EFAULT),
        }
    }

    /// True if something is mapped at `addr`: tells `SEGV_ACCERR` from `SEGV_MAPERR`.
    #[must_use]
    pub fn is_mapped(&self, addr: u64) -> bool {
        matches!(self.lock().inner.vmas.find(addr), Some((_, vma)) if vma.kind != Kind::Host)
    }

    /// The mapping that holds `addr`.
    #[must_use]
    pub fn find(&self, addr: u64) -> Option<(u64, Vma)> {
        self.lock().inner.vmas.find(addr)
    }

    /// The guest's mappings in `start..end`.
    #[must_use]
    pub fn overlapping(&self, start: u64, end: u64) -> Vec<(u64, Vma)> {
        let locked = self.lock();
        let all = locked.inner.vmas.overlapping(start, end);
        all.filter(|(_, vma)| vma.kind != Kind::Host).collect()
    }

    /// Sets the initial program break.
    pub fn set_brk(&self, addr: u64) {
        self.lock().inner.brk = (addr, addr);
    }

    /// Maps memory at startup, when no translation can be stale yet.
    pub fn map(&self, request: Request) -> Result<u64, Errno> {
        self.lock().map(request).map(|(addr, _)| addr)
    }

    /// Changes the protection of guest memory at startup, when no translation can be stale yet.
    pub fn protect(&self, start: u64, end: u64, prot: u32) -> Result<(), Errno> {
        self.lock().protect(start, end, prot).map(|_| ())
    }

    /// A free range of `len` bytes, for something that is mapped in parts.
    pub fn find_free(&self, len: u64, align: u64) -> Result<u64, Errno> {
        self.lock().find_free(len, align)
    }

    /// True if nothing is mapped in `start..end`.
    #[must_use]
    pub fn is_free(&self, start: u64, end: u64) -> bool {
        self.lock().inner.vmas.is_free(start, end)
    }

    /// Holds everything still, for fork.
    #[must_use]
    pub fn freeze(&self) -> impl Drop + '_ {
        struct Frozen<'a>(
            #[allow(dead_code)] MutexGuard<'a, Inner>,
            #[allow(dead_code)] std::sync::RwLockWriteGuard<'a, Vec<CodeRange>>,
        );
        impl Drop for Frozen<'_> {
            fn drop(&mut self) {}
        }
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        Frozen(inner, self.code.write())
    }

    pub(crate) fn lock(&self) -> Locked<'_> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        Locked { space: self, inner }
    }
}

/// The host protection that lets guest code and the translator do what `prot` allows.
fn host_prot(prot: u32) -> i32 {
    let exec = prot & libc::PROT_EXEC as u32 != 0;
    let rest = prot as i32 & (libc::PROT_READ | libc::PROT_WRITE);
    if exec { rest | libc::PROT_READ } else { rest }
}

impl Locked<'_> {
    /// Maps memory; the address, and what became stale.
    pub(crate) fn map(&mut self, request: Request) -> Result<(u64, Stale), Errno> {
        let len = page_up(request.len).ok_or(Errno::ENOMEM)?;
        if len == 0 {
            return Err(Errno::EINVAL);
        }
        let fixed = request.flags & (libc::MAP_FIXED | libc::MAP_FIXED_NOREPLACE);
        if fixed == 0 {
            return self.map_somewhere(Request { len, ..request });
        }
        let end = request.addr.checked_add(len).ok_or(Errno::ENOMEM)?;
        if !request.addr.is_multiple_of(PAGE) {
            return Err(Errno::EINVAL);
        }
        if end > self.space.ceiling {
            return Err(Errno::ENOMEM);
        }
        if request.flags & libc::MAP_FIXED_NOREPLACE != 0
            && !self.inner.vmas.is_free(request.addr, end)
        {
            return Err(Errno::EEXIST);
        }
        self.map_fixed(Request { len, ..request })
    }

    /// Maps at `request.addr` in place of what the guest has there.
    fn map_fixed(&mut self, request: Request) -> Result<(u64, Stale), Errno> {
        let (start, end) = (request.addr, request.addr + request.len);
        let flags = if self.inner.vmas.is_free(start, end) {
            // A gap in the guest's map: whatever lies there is isomorph's.
            libc::MAP_FIXED_NOREPLACE
        } else {
            if !self.replaceable(start, end) {
                return Err(Errno::ENOMEM);
            }
            libc::MAP_FIXED
        };
        match self.host_map(&request, flags) {
            Err(Errno::EEXIST) => Err(Errno::ENOMEM),
            Err(errno) => Err(errno),
            Ok(()) => Ok((start, self.note(start, request.vma(end)))),
        }
    }

    /// True if `start..end` holds guest memory and gaps only; fills the gaps so that they are
    /// surely the guest's.
    fn replaceable(&mut self, start: u64, end: u64) -> bool {
        let owned = self.inner.vmas.owned(start, end);
        let mut at = start;
        for (first, last) in owned.into_iter().chain([(end, end)]) {
            if first > at && !self.claim(at, first) {
                return false;
            }
            at = last;
        }
        true
    }

    /// Makes a gap in the guest's map the guest's, unless the host uses it.
    fn claim(&mut self, start: u64, end: u64) -> bool {
        if !self.inner.vmas.is_free(start, end) {
            return false;
        }
        let request = Request {
            addr: start,
            len: end - start,
            prot: 0,
            flags: libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            fd: -1,
            offset: 0,
            kind: Kind::Plain,
        };
        if self.host_map(&request, libc::MAP_FIXED_NOREPLACE).is_err() {
            return false;
        }
        let _ = self.note(start, request.vma(end));
        true
    }

    fn map_somewhere(&mut self, request: Request) -> Result<(u64, Stale), Errno> {
        let hint = page_down(request.addr);
        if hint >= MIN_ADDR
            && let Some(end) = hint.checked_add(request.len)
            && end <= self.space.ceiling
            && self.inner.vmas.is_free(hint, end)
        {
            match self.host_map(
                &Request {
                    addr: hint,
                    ..request
                },
                libc::MAP_FIXED_NOREPLACE,
            ) {
                Ok(()) => return Ok((hint, self.note(hint, request.vma(end)))),
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
        let align = if request.flags & libc::MAP_HUGETLB != 0 {
            1 << 21
        } else {
            PAGE
        };
        self.place(request.len, align, |locked, addr| {
            locked.host_map(&Request { addr, ..request }, libc::MAP_FIXED_NOREPLACE)
        })
        .map(|addr| (addr, self.note(addr, request.vma(addr + request.len))))
    }

    /// Finds free space and tries `attempt` there; if the host turns out to use it, elsewhere.
    pub(crate) fn place(
        &mut self,
        len: u64,
        align: u64,
        mut attempt: impl FnMut(&mut Self, u64) -> Result<(), Errno>,
    ) -> Result<u64, Errno> {
        for _ in 0..16 {
            let addr = self.find_free(len, align)?;
            match attempt(self, addr) {
                Ok(()) => return Ok(addr),
                Err(Errno::EEXIST) => self.note_host_memory(),
                Err(errno) => return Err(errno),
            }
        }
        Err(Errno::ENOMEM)
    }

    fn find_free(&mut self, len: u64, align: u64) -> Result<u64, Errno> {
        let (base, ceiling) = (self.space.mmap_base, self.space.ceiling);
        let vmas = &mut self.inner.vmas;
        vmas.find_free(MIN_ADDR, base, len, align)
            .or_else(|| vmas.find_free(MIN_ADDR, ceiling, len, align))
            .ok_or(Errno::ENOMEM)
    }

    /// The host's mmap at exactly `request.addr`, with `placement` as the way to fix it.
    fn host_map(&self, request: &Request, placement: i32) -> Result<(), Errno> {
        let odd =
            libc::MAP_FIXED | libc::MAP_FIXED_NOREPLACE | libc::MAP_32BIT | libc::MAP_GROWSDOWN;
        // SAFETY: the range is the guest's or free: see `map_fixed` and `map_somewhere`.
        let got = unsafe {
            libc::mmap(
                request.addr as *mut libc::c_void,
                request.len as usize,
                host_prot(request.prot),
                request.flags & !odd | placement,
                request.fd,
                request.offset as libc::off_t,
            )
        };
        if got == libc::MAP_FAILED {
            Err(Errno::last())
        } else {
            Ok(())
        }
    }

    /// Notes a new mapping; tells whether code was or is there.
    pub(crate) fn note(&mut self, start: u64, vma: Vma) -> Stale {
        let end = vma.end;
        let was = self.inner.vmas.executable(start, end);
        let is = vma.prot & libc::PROT_EXEC as u32 != 0;
        self.inner.vmas.insert(start, vma);
        self.code_changed(was || is, start, end)
    }

    /// Notes that nothing is mapped any more.
    pub(crate) fn forget(&mut self, start: u64, end: u64) -> Stale {
        let was = self.inner.vmas.executable(start, end);
        self.inner.vmas.remove(start, end);
        self.code_changed(was, start, end)
    }

    pub(crate) fn code_changed(&mut self, changed: bool, start: u64, end: u64) -> Stale {
        if changed {
            self.space.code.set(self.inner.vmas.executable_ranges());
        }
        Stale::range(changed, start, end)
    }

    /// Changes the protection of a range, all of which the guest has mapped.
    pub(crate) fn protect(&mut self, start: u64, end: u64, prot: u32) -> Result<Stale, Errno> {
        let (at, len) = (start as *mut libc::c_void, (end - start) as usize);
        // SAFETY: the whole range is guest memory.
        if unsafe { libc::mprotect(at, len, host_prot(prot)) } != 0 {
            return Err(Errno::last());
        }
        let exec = prot & libc::PROT_EXEC as u32 != 0;
        let changed = exec || self.inner.vmas.executable(start, end);
        self.inner.vmas.protect(start, end, prot);
        Ok(self.code_changed(changed, start, end))
    }

    /// Unmaps the guest's part of a range.
    pub(crate) fn unmap(&mut self, start: u64, end: u64) -> Result<Stale, Errno> {
        for (first, last) in self.inner.vmas.owned(start, end) {
            // SAFETY: the range is guest memory.
            let done = unsafe { libc::munmap(first as *mut _, (last - first) as usize) };
            if done != 0 {
                return Err(Errno::last());
            }
        }
        let shm = &mut self.inner.shm;
        shm.retain(|&addr, &mut len| addr < start || addr + len > end);
        Ok(self.forget_owned(start, end))
    }

    fn forget_owned(&mut self, start: u64, end: u64) -> Stale {
        let was = self.inner.vmas.executable(start, end);
        for (first, last) in self.inner.vmas.owned(start, end) {
            self.inner.vmas.remove(first, last);
        }
        self.code_changed(was, start, end)
    }

    /// Notes what isomorph itself uses below the ceiling, so that it is not handed out.
    pub(crate) fn note_host_memory(&mut self) {
        let Ok(text) = std::fs::read_to_string("/proc/self/maps") else {
            return;
        };
        for (start, end) in text.lines().filter_map(range_of_line) {
            let end = end.min(self.space.ceiling);
            if start >= end {
                continue;
            }
            let mut at = start;
            for (first, last) in self
                .inner
                .vmas
                .owned(start, end)
                .into_iter()
                .chain([(end, end)])
            {
                if first > at {
                    self.inner.vmas.insert(
                        at,
                        Vma {
                            end: first,
                            prot: 0,
                            kind: Kind::Host,
                            shared: true,
                        },
                    );
                }
                at = last;
            }
        }
    }
}

/// The range that a line of `/proc/self/maps` begins with.
pub(crate) fn range_of_line(line: &str) -> Option<(u64, u64)> {
    let (range, _) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    Some((
        u64::from_str_radix(start, 16).ok()?,
        u64::from_str_radix(end, 16).ok()?,
    ))
}
