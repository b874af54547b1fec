//! The software TLB of one vCPU, laid out for probes in generated code.
//!
//! The entries of one *bank* serve one processor mode (privilege and whatever else changes what a
//! page permits) under one address-space identifier (ASID). A change of mode or ASID selects
//! another bank, which generated code finds through one pointer; only when all banks are taken is
//! the one unused for longest emptied.
//!
//! Probe: entry `(va >> 12) & (TLB_ENTRIES - 1)` of the bank; an access of `n` bytes hits if
//! `(va + n - 1) & !0xfff` (or `va & !(0xfff ^ (n - 1))`, if misaligned accesses are to miss)
//! equals the tag of its kind; the bytes are then at host address `va + addend`. An empty tag and
//! the tag of what must go the slow way have low bits set, so that no page equals them.
//!
//! Only the owning vCPU's thread changes its TLB; others ask it to, by a kick.

use crate::bitmap::PAGE_SIZE;
use crate::error::BusError;
use crate::view::FlatView;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Entries of a bank.
pub const TLB_ENTRIES: usize = 512;
/// Tag of an empty entry.
pub const TAG_INVALID: u64 = 1;
/// In a tag: the translation is known, but the access must take the slow path (registers of a
/// device, a page with translated code, a page whose dirty mark is clear).
pub const TAG_SLOW: u64 = 2;

const PAGE_MASK: u64 = !(PAGE_SIZE - 1);
/// Flushes of more pages than this look at every entry instead of at every page.
const FLUSH_BY_PAGE_MAX: u64 = 64;

/// One entry, 32 bytes. Written by the owning vCPU's Rust code, read by its generated code.
#[repr(C, align(32))]
#[derive(Debug)]
pub struct TlbEntry {
    /// Virtual page that loads may read, or flags.
    pub read: AtomicU64,
    /// Virtual page that stores may write, or flags.
    pub write: AtomicU64,
    /// Virtual page that may be executed, or flags.
    pub exec: AtomicU64,
    /// Host address minus virtual address.
    pub addend: AtomicU64,
}

impl TlbEntry {
    fn empty() -> Self {
        Self {
            read: AtomicU64::new(TAG_INVALID),
            write: AtomicU64::new(TAG_INVALID),
            exec: AtomicU64::new(TAG_INVALID),
            addend: AtomicU64::new(0),
        }
    }

    fn tag(&self, access: Access) -> &AtomicU64 {
        match access {
            Access::Read => &self.read,
            Access::Write => &self.write,
            Access::Exec => &self.exec,
        }
    }

    fn clear(&self) {
        for access in [Access::Read, Access::Write, Access::Exec] {
            self.tag(access).store(TAG_INVALID, Relaxed);
        }
    }

    fn is_empty(&self) -> bool {
        [&self.read, &self.write, &self.exec]
            .iter()
            .all(|tag| tag.load(Relaxed) == TAG_INVALID)
    }
}

/// What the guest does with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A load.
    Read,
    /// A store, or an atomic.
    Write,
    /// An instruction fetch.
    Exec,
}

/// What a page walk of the guest found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walk {
    /// Guest-physical address of the access itself (not: of its page).
    pub physical: u64,
    /// Bytes that share this translation and its rights, a power of two: the size of the page,
    /// cut to the finest physical protection. Less than 4096 means: do not remember.
    pub size: u64,
    /// Loads are allowed.
    pub read: bool,
    /// Stores are allowed (writable, and the page table's dirty bit is set).
    pub write: bool,
    /// Fetches are allowed.
    pub exec: bool,
    /// The translation holds under every ASID.
    pub global: bool,
}

/// The slow half of an entry.
#[derive(Clone, Copy, Debug, Default)]
struct Info {
    /// Virtual page, if the entry is not empty.
    page: u64,
    /// Guest-physical page.
    physical: u64,
    /// Size of the guest's page.
    size: u64,
    global: bool,
}

/// What became of a fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// The next probe for the same access hits.
    Direct,
    /// The translation is known, each access takes the slow path.
    Slow,
    /// Nothing was remembered.
    Uncached,
}

/// Counters for `--stats`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlbStats {
    /// Entries filled after a page walk.
    pub fills: u64,
    /// Fills that could not be made direct.
    pub slow: u64,
    /// Banks emptied because the guest asked.
    pub flushes: u64,
    /// Pages or ranges dropped because the guest asked.
    pub page_flushes: u64,
    /// Banks taken from another mode or ASID.
    pub evictions: u64,
}

#[derive(Debug)]
struct Bank {
    entries: Box<[TlbEntry]>,
    info: Box<[Info]>,
    mode: u8,
    asid: u64,
    /// When it was last selected; 0: never.
    used: u64,
    /// True if nothing was filled since it was emptied.
    clean: bool,
    /// True if something was filled since then that holds under this ASID only.
    local: bool,
    /// Virtual range that larger pages than 4 KiB were filled for: first and last address.
    large: Option<(u64, u64)>,
}

impl Bank {
    fn new() -> Self {
        Self {
            entries: (0..TLB_ENTRIES).map(|_| TlbEntry::empty()).collect(),
            info: vec![Info::default(); TLB_ENTRIES].into(),
            mode: 0,
            asid: 0,
            used: 0,
            clean: true,
            local: false,
            large: None,
        }
    }

    fn flush(&mut self) {
        if !self.clean {
            self.entries.iter().for_each(TlbEntry::clear);
            self.clean = true;
            self.local = false;
            self.large = None;
        }
    }

    /// Drops the entries that `drop` picks.
    fn flush_if(&mut self, drop: impl Fn(&Info) -> bool) {
        if self.clean {
            return;
        }
        for (entry, info) in self.entries.iter().zip(&self.info) {
            if !entry.is_empty() && drop(info) {
                entry.clear();
            }
        }
    }

    /// Drops what translates an address in `first..=last`, global entries only if `global`.
    fn flush_range(&mut self, first: u64, last: u64, global: bool) {
        if self.clean {
            return;
        }
        let large = self.large.is_some_and(|(a, b)| a <= last && first <= b);
        if large || (last - first) / PAGE_SIZE > FLUSH_BY_PAGE_MAX {
            self.flush_if(|info| {
                let size = info.size.max(PAGE_SIZE);
                let start = info.page & !(size - 1);
                start <= last && first <= start + (size - 1) && (global || !info.global)
            });
            return;
        }
        let mut page = first & PAGE_MASK;
        loop {
            let index = index(page);
            let info = self.info[index];
            if info.page == page && (global || !info.global) {
                self.entries[index].clear();
            }
            match page.checked_add(PAGE_SIZE) {
                Some(next) if next <= last => page = next,
                _ => return,
            }
        }
    }
}

/// The software TLB of one vCPU.
#[derive(Debug)]
pub struct SoftTlb {
    banks: Vec<Bank>,
    current: usize,
    clock: u64,
    stats: TlbStats,
}

impl SoftTlb {
    /// An empty TLB of `banks` banks, of which mode 0 and ASID 0 are selected. At least one.
    pub fn new(banks: usize) -> Self {
        let mut tlb = Self {
            banks: (0..banks.max(1)).map(|_| Bank::new()).collect(),
            current: 0,
            clock: 0,
            stats: TlbStats::default(),
        };
        tlb.select(0, 0);
        tlb
    }

    /// Makes the bank of a mode and an ASID the current one; its entries' host address, which
    /// stays the same as long as the TLB lives and the bank is current.
    pub fn select(&mut self, mode: u8, asid: u64) -> usize {
        self.clock += 1;
        let here = &self.banks[self.current];
        if here.used != 0 && here.mode == mode && here.asid == asid {
            self.banks[self.current].used = self.clock;
            return self.banks[self.current].entries.as_ptr() as usize;
        }
        let mine = |bank: &Bank| bank.used != 0 && bank.mode == mode;
        let exact = self
            .banks
            .iter()
            .position(|bank| mine(bank) && bank.asid == asid);
        // What is global serves every address space.
        let known = exact.or_else(|| self.banks.iter().position(|bank| mine(bank) && !bank.local));
        self.current = known.unwrap_or_else(|| {
            let oldest = (0..self.banks.len()).min_by_key(|&index| self.banks[index].used);
            let oldest = oldest.unwrap_or(0);
            let bank = &mut self.banks[oldest];
            if !bank.clean {
                self.stats.evictions += 1;
            }
            bank.flush();
            bank.mode = mode;
            oldest
        });
        let bank = &mut self.banks[self.current];
        bank.asid = asid;
        bank.used = self.clock;
        bank.entries.as_ptr() as usize
    }

    /// The current bank's entries.
    pub fn entries(&self) -> &[TlbEntry] {
        &self.banks[self.current].entries
    }

    /// The counters.
    pub fn stats(&self) -> TlbStats {
        self.stats
    }

    /// Where `va` is in guest-physical space, if that is remembered for this access, slow or not.
    pub fn lookup(&self, va: u64, access: Access) -> Option<u64> {
        let bank = &self.banks[self.current];
        let tag = bank.entries[index(va)].tag(access).load(Relaxed);
        let hit = tag & !TAG_SLOW == va & PAGE_MASK;
        hit.then(|| bank.info[index(va)].physical | va & !PAGE_MASK)
    }

    /// Where the instruction at `va` is in host memory, if that is remembered; and whether it is so
    /// in every address space.
    pub fn code(&self, va: u64) -> Option<(usize, bool)> {
        let host = self.probe(va, Access::Exec)?;
        Some((host, self.banks[self.current].info[index(va)].global))
    }

    /// Where `va` is in host memory, if a probe would hit.
    pub fn probe(&self, va: u64, access: Access) -> Option<usize> {
        let entry = &self.banks[self.current].entries[index(va)];
        let hit = entry.tag(access).load(Relaxed) == va & PAGE_MASK;
        hit.then(|| va.wrapping_add(entry.addend.load(Relaxed)) as usize)
    }

    /// Remembers what a page walk for `va` found, in the current bank.
    ///
    /// For a store, the page's dirty mark is set here, so that stores need not set it: who takes
    /// the marks flushes the TLBs after that.
    ///
    /// # Errors
    /// Nothing answers at the physical address. Nothing is remembered.
    pub fn fill(
        &mut self,
        va: u64,
        access: Access,
        walk: &Walk,
        view: &FlatView,
    ) -> Result<Fill, BusError> {
        let address = walk.physical;
        let target = view.lookup(address).ok_or(BusError { address })?;
        if walk.size < PAGE_SIZE || !view.page_is_whole(address) {
            return Ok(Fill::Uncached);
        }
        self.stats.fills += 1;
        let page = va & PAGE_MASK;
        let offset = target.offset & PAGE_MASK;
        let read = target.region.readable();
        let write = target.region.writable().filter(|(ram, start)| {
            let at = start + offset;
            if access == Access::Write {
                ram.dirty().set(at);
            }
            ram.dirty().get(at) && !ram.code().get(at)
        });
        let tag = |allowed: bool, direct: bool| match (allowed, direct) {
            (false, _) => TAG_INVALID,
            (true, false) => page | TAG_SLOW,
            (true, true) => page,
        };
        let index = index(va);
        let bank = &mut self.banks[self.current];
        let entry = &bank.entries[index];
        // A page of RAM that is not aligned to pages in its block cannot be reached by one addend
        // and tags; blocks are mapped at pages, so only an odd region start does that.
        let host = read.map(|(ram, start)| ram.host_base() as u64 + start + offset);
        let host = host.filter(|at| at % PAGE_SIZE == 0 && target.region.base() % PAGE_SIZE == 0);
        entry.read.store(tag(walk.read, host.is_some()), Relaxed);
        entry.exec.store(tag(walk.exec, host.is_some()), Relaxed);
        let direct = host.is_some() && write.is_some();
        entry.write.store(tag(walk.write, direct), Relaxed);
        let addend = host.unwrap_or(0).wrapping_sub(page);
        entry.addend.store(addend, Relaxed);
        bank.info[index] = Info {
            page,
            physical: address & PAGE_MASK,
            size: walk.size,
            global: walk.global,
        };
        bank.clean = false;
        bank.local |= !walk.global;
        if walk.size > PAGE_SIZE {
            let (first, last) = (va & !(walk.size - 1), va | (walk.size - 1));
            let (a, b) = bank.large.unwrap_or((first, last));
            bank.large = Some((a.min(first), b.max(last)));
        }
        if entry.tag(access).load(Relaxed) == page {
            return Ok(Fill::Direct);
        }
        self.stats.slow += 1;
        Ok(Fill::Slow)
    }

    /// Forgets everything, in all banks.
    pub fn flush_all(&mut self) {
        self.stats.flushes += 1;
        self.banks.iter_mut().for_each(Bank::flush);
    }

    /// Forgets what is not global under `asid`, in every mode.
    pub fn flush_asid(&mut self, asid: u64) {
        self.stats.flushes += 1;
        for bank in self.banks.iter_mut().filter(|bank| bank.asid == asid) {
            bank.flush_if(|info| !info.global);
        }
    }

    /// Forgets what translates the page of `va`: under one ASID and not global, or, with no ASID,
    /// under all and global too.
    pub fn flush_page(&mut self, va: u64, asid: Option<u64>) {
        self.flush_range(va & PAGE_MASK, va | !PAGE_MASK, asid);
    }

    /// Forgets what translates an address in `first..=last`, as [`SoftTlb::flush_page`] does.
    pub fn flush_range(&mut self, first: u64, last: u64, asid: Option<u64>) {
        self.stats.page_flushes += 1;
        if first > last {
            return;
        }
        for bank in &mut self.banks {
            match asid {
                None => bank.flush_range(first, last, true),
                Some(asid) if bank.asid == asid => bank.flush_range(first, last, false),
                Some(_) => {}
            }
        }
    }

    /// Makes stores to the page at a host address take the slow path, in all banks: translated
    /// code is in it from now on, or its dirty mark was taken. True if one did not so far.
    pub fn protect(&mut self, host: usize) -> bool {
        let page = host as u64 & PAGE_MASK;
        let mut direct = false;
        for bank in self.banks.iter_mut().filter(|bank| !bank.clean) {
            for entry in &bank.entries {
                let tag = entry.write.load(Relaxed);
                if tag & !PAGE_MASK == 0 && tag.wrapping_add(entry.addend.load(Relaxed)) == page {
                    entry.write.store(tag | TAG_SLOW, Relaxed);
                    direct = true;
                }
            }
        }
        direct
    }
}

fn index(va: u64) -> usize {
    (va / PAGE_SIZE) as usize & (TLB_ENTRIES - 1)
}

#[cfg(test)]
#[path = "tlb_tests.rs"]
mod tests;
