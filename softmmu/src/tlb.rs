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
//! What hits as a store would hit as a load.
//!
//! Only the owning vCPU's thread changes its TLB; others ask it to, by a kick.

use crate::bitmap::PAGE_SIZE;
use crate::error::BusError;
use crate::view::FlatView;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Entries of a bank.
pub const TLB_ENTRIES: usize = 2048;
/// Tag of an empty entry. Like every mark in a tag it lies above the bits in which a misaligned
/// address differs from an aligned one: what generated code compares tags with may have those set.
pub const TAG_INVALID: u64 = 1 << 11;
/// In a tag: the translation is known, but the access must take the slow path (registers of a
/// device, a page with translated code, a page whose dirty mark is clear).
pub const TAG_SLOW: u64 = 1 << 10;

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

    fn words(&self) -> [u64; 4] {
        [&self.read, &self.write, &self.exec, &self.addend].map(|word| word.load(Relaxed))
    }

    fn set_words(&self, words: [u64; 4]) {
        let to = [&self.read, &self.write, &self.exec, &self.addend];
        to.iter()
            .zip(words)
            .for_each(|(to, word)| to.store(word, Relaxed));
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

/// Translations that lost their entry to another page, kept for when they are wanted again: an
/// entry is shared by all pages of one index, and two that are used in turn would walk each time.
const VICTIMS: usize = 8;

/// An entry out of the table.
#[derive(Clone, Copy, Debug, Default)]
struct Victim {
    /// Tags of loads, stores and fetches, and the addend.
    words: [u64; 4],
    info: Info,
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
    /// Which entries were filled since all were empty, some perhaps twice.
    filled: Vec<u16>,
    /// Of those, `victim_count` are valid.
    victims: [Victim; VICTIMS],
    victim_count: usize,
    /// The one to be replaced next.
    oldest_victim: usize,
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
            filled: Vec::new(),
            victims: [Victim::default(); VICTIMS],
            victim_count: 0,
            oldest_victim: 0,
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
            // Short-lived address spaces fill a few entries only.
            for index in self.filled.drain(..) {
                self.entries[usize::from(index)].clear();
            }
            (self.victim_count, self.oldest_victim) = (0, 0);
            self.clean = true;
            self.local = false;
            self.large = None;
        }
    }

    /// Lists each entry that is filled once.
    fn list_filled(&mut self) {
        let filled = self.entries.iter().zip(0..);
        let filled = filled.filter(|(entry, _)| !entry.is_empty());
        self.filled = filled.map(|(_, index)| index).collect();
    }

    /// Keeps the entry at `index`, which another page is about to take.
    fn keep_victim(&mut self, index: usize) {
        let at = self.oldest_victim;
        self.victims[at] = Victim {
            words: self.entries[index].words(),
            info: self.info[index],
        };
        self.oldest_victim = (at + 1) % VICTIMS;
        self.victim_count = self.victim_count.max(at + 1);
    }

    /// Puts the victim for the page of `va` back into the table, if it allows `access` directly.
    fn recall(&mut self, va: u64, access: Access) -> bool {
        let page = va & PAGE_MASK;
        let tag = |victim: &Victim| victim.words[access as usize];
        let victims = &self.victims[..self.victim_count];
        let Some(at) = victims.iter().position(|victim| tag(victim) == page) else {
            return false;
        };
        let index = index(va);
        if self.entries[index].is_empty() {
            self.filled.push(index as u16);
        }
        let back = self.victims[at];
        self.victims[at] = Victim {
            words: self.entries[index].words(),
            info: self.info[index],
        };
        self.entries[index].set_words(back.words);
        self.info[index] = back.info;
        true
    }

    /// Drops the victims that `drop` picks.
    fn drop_victims(&mut self, drop: impl Fn(&Info) -> bool) {
        for victim in &mut self.victims[..self.victim_count] {
            if drop(&victim.info) {
                victim.words[..3].fill(TAG_INVALID);
            }
        }
    }

    /// Drops the entries that `drop` picks.
    fn flush_if(&mut self, drop: impl Fn(&Info) -> bool) {
        if self.clean {
            return;
        }
        self.drop_victims(&drop);
        let (entries, info) = (&self.entries, &self.info);
        self.filled.retain(|&index| {
            let entry = &entries[usize::from(index)];
            if !entry.is_empty() && drop(&info[usize::from(index)]) {
                entry.clear();
            }
            !entry.is_empty()
        });
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
        self.drop_victims(|info| {
            let inside = info.page <= last && first <= info.page + (PAGE_SIZE - 1);
            inside && (global || !info.global)
        });
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

    /// Where the instruction at `va` is in host memory, if that is remembered; whether it is so in
    /// every address space; and the size of its page.
    pub fn code(&self, va: u64) -> Option<(usize, bool, u64)> {
        let host = self.probe(va, Access::Exec)?;
        let info = self.banks[self.current].info[index(va)];
        Some((host, info.global, info.size))
    }

    /// Takes the translation of `va` back into its entry if it was pushed out lately. True if the
    /// next probe for this access hits.
    pub fn recall(&mut self, va: u64, access: Access) -> bool {
        self.banks[self.current].recall(va, access)
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
        if bank.entries[index].is_empty() {
            // Pages that are dropped and filled again are listed again.
            if bank.filled.len() > 2 * TLB_ENTRIES {
                bank.list_filled();
            }
            bank.filled.push(index as u16);
        } else if bank.info[index].page != page {
            bank.keep_victim(index);
        }
        let entry = &bank.entries[index];
        // A page of RAM that is not aligned to pages in its block cannot be reached by one addend
        // and tags; blocks are mapped at pages, so only an odd region start does that.
        let host = read.map(|(ram, start)| ram.host_base() as u64 + start + offset);
        let host = host.filter(|at| at % PAGE_SIZE == 0 && target.region.base() % PAGE_SIZE == 0);
        entry.read.store(tag(walk.read, host.is_some()), Relaxed);
        entry.exec.store(tag(walk.exec, host.is_some()), Relaxed);
        // Generated code reads from where it found that it may write.
        let direct = host.is_some() && write.is_some() && walk.read;
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
            for &index in &bank.filled {
                let entry = &bank.entries[usize::from(index)];
                let tag = entry.write.load(Relaxed);
                if tag & !PAGE_MASK == 0 && tag.wrapping_add(entry.addend.load(Relaxed)) == page {
                    entry.write.store(tag | TAG_SLOW, Relaxed);
                    direct = true;
                }
            }
            for victim in &mut bank.victims[..bank.victim_count] {
                let [_, tag, _, addend] = victim.words;
                if tag & !PAGE_MASK == 0 && tag.wrapping_add(addend) == page {
                    victim.words[Access::Write as usize] |= TAG_SLOW;
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
