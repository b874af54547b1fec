//! The jump caches of a machine's vCPU: one for each mode and address space lately in use, so that
//! a system call does not lose what was learnt.

use crate::memory::VcpuRef;
use isomorph_frontend::TlbFlush;
use isomorph_softmmu::PAGE_SIZE;

/// Words of a page filter.
const FILTER: usize = 64;

struct Bank {
    mode: u32,
    asid: u64,
    /// When it was last selected; 0: never.
    used: u64,
    /// Something in it holds in its address space only.
    local: bool,
    clean: bool,
    /// Pages that something in it was translated from, by a hash.
    pages: [u64; FILTER],
    /// First and last address of larger pages than 4 KiB among them.
    large: Option<(u64, u64)>,
}

/// Place of a page in the filter: word and bit.
fn filter_of(pc: u64) -> (usize, u64) {
    let page = pc / PAGE_SIZE;
    ((page / 64) as usize % FILTER, 1 << (page % 64))
}

/// The jump caches of a vCPU and what they are for.
pub(crate) struct Banks {
    shared: VcpuRef,
    banks: Vec<Bank>,
    current: usize,
    clock: u64,
}

impl Banks {
    pub fn new(shared: VcpuRef, count: usize) -> Self {
        let bank = |_| Bank {
            mode: 0,
            asid: 0,
            used: 0,
            local: false,
            clean: true,
            pages: [0; FILTER],
            large: None,
        };
        Self {
            shared,
            banks: (0..count).map(bank).collect(),
            current: 0,
            clock: 0,
        }
    }

    /// Makes the jump cache of a mode and an address space the current one: its address, if it is
    /// another than before.
    pub fn select(&mut self, mode: u32, asid: u64) -> Option<usize> {
        let here = &self.banks[self.current];
        if here.used != 0 && here.mode == mode && here.asid == asid {
            return None;
        }
        self.clock += 1;
        let mine = |bank: &Bank| bank.used != 0 && bank.mode == mode;
        let exact = self
            .banks
            .iter()
            .position(|bank| mine(bank) && bank.asid == asid);
        let known = exact.or_else(|| self.banks.iter().position(|bank| mine(bank) && !bank.local));
        let index = known.unwrap_or_else(|| {
            let oldest = (0..self.banks.len()).min_by_key(|&index| self.banks[index].used);
            let oldest = oldest.unwrap_or(0);
            self.clear(oldest);
            oldest
        });
        let bank = &mut self.banks[index];
        (bank.mode, bank.asid, bank.used) = (mode, asid, self.clock);
        self.current = index;
        Some(self.shared.bank(index))
    }

    /// Notes that the current jump cache may get an entry for `pc`, which holds in all address
    /// spaces if `global`; its block may reach into the next page.
    pub fn note(&mut self, pc: u64, global: bool) {
        let bank = &mut self.banks[self.current];
        bank.local |= !global;
        bank.clean = false;
        for address in [pc, pc.wrapping_add(8)] {
            let (word, bit) = filter_of(address);
            bank.pages[word] |= bit;
        }
    }

    /// Notes that code at `pc` is in a page of `size` bytes: who forgets one address of it forgets
    /// all of it.
    pub fn note_size(&mut self, pc: u64, size: u64) {
        if size <= PAGE_SIZE {
            return;
        }
        let bank = &mut self.banks[self.current];
        let (first, last) = (pc & !(size - 1), pc | (size - 1));
        let (a, b) = bank.large.unwrap_or((first, last));
        bank.large = Some((a.min(first), b.max(last)));
        bank.clean = false;
    }

    fn clear(&mut self, index: usize) {
        let bank = &mut self.banks[index];
        if !bank.clean {
            self.shared.clear_bank(index, |_| true);
            (bank.clean, bank.local) = (true, false);
            bank.pages = [0; FILTER];
            bank.large = None;
        }
    }

    /// All jump caches were emptied by somebody else or are to be.
    pub fn clear_all(&mut self) {
        (0..self.banks.len()).for_each(|index| self.clear(index));
    }

    /// Forgets what a flush names. True if there may have been something.
    pub fn flush(&mut self, flush: TlbFlush) -> bool {
        match flush {
            TlbFlush::All => {
                self.clear_all();
                true
            }
            TlbFlush::Space { asid } => {
                for index in 0..self.banks.len() {
                    if self.banks[index].asid == asid && self.banks[index].local {
                        self.clear(index);
                    }
                }
                true
            }
            TlbFlush::Page { address, asid } => self.flush_page(address, asid),
        }
    }

    fn flush_page(&mut self, address: u64, asid: Option<u64>) -> bool {
        let (word, bit) = filter_of(address);
        let page = address - address % PAGE_SIZE;
        let mut found = false;
        for index in 0..self.banks.len() {
            let bank = &self.banks[index];
            let concerned = asid.is_none_or(|asid| bank.asid == asid && bank.local);
            let in_large = |(first, last)| (first..=last).contains(&address);
            if concerned && bank.large.is_some_and(in_large) {
                self.clear(index);
                found = true;
                continue;
            }
            if !concerned || bank.pages[word] & bit == 0 {
                continue;
            }
            found = true;
            // What starts shortly before the page may reach into it.
            let start = page.wrapping_sub(16);
            self.shared
                .clear_bank(index, |pc| pc.wrapping_sub(start) < PAGE_SIZE + 16);
        }
        found
    }
}
