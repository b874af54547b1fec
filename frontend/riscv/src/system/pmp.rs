//! Physical memory protection (section "Physical Memory Protection"): 16 entries, 4-byte grain.

use super::Privilege;

/// Number of entries.
pub const PMP_ENTRIES: usize = 16;

pub(crate) const R: u8 = 1;
pub(crate) const W: u8 = 2;
pub(crate) const X: u8 = 4;
const A_SHIFT: u8 = 3;
const L: u8 = 0x80;
const ALL: u8 = R | W | X;
const WRITABLE: u8 = 0x9f;
const ADDRESS: u64 = (1 << 54) - 1;

const OFF: u8 = 0;
const TOR: u8 = 1;
const NA4: u8 = 2;

/// The entries and the address ranges that they stand for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pmp {
    cfg: [u8; PMP_ENTRIES],
    addr: [u64; PMP_ENTRIES],
    /// First address and end; empty where the entry is off.
    range: [(u64, u64); PMP_ENTRIES],
    /// Entries whose range is not empty, by bit.
    active: u16,
    /// Entries of them that are locked.
    locked: u16,
}

/// What protection allows around an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowed {
    /// [`R`], [`W`], [`X`].
    pub rights: u8,
    /// Bytes, a power of two, around the address for which this holds.
    pub size: u64,
}

impl Pmp {
    /// Makes entry 0 allow everything.
    pub(super) fn allow_all(&mut self) {
        self.set_address(0, u64::MAX);
        self.set_config(0, u64::from(ALL | 3 << A_SHIFT));
    }

    /// Register `pmpcfg{2 * at}`: 8 entries.
    pub(super) fn config(&self, at: usize) -> u64 {
        let bytes = self.cfg.iter().skip(8 * at).take(8);
        bytes.rev().fold(0, |all, byte| all << 8 | u64::from(*byte))
    }

    pub(super) fn set_config(&mut self, at: usize, value: u64) {
        for (byte, new) in self.cfg.iter_mut().skip(8 * at).zip(value.to_le_bytes()) {
            if *byte & L != 0 {
                continue;
            }
            // W without R is reserved: W is dropped.
            let new = new & WRITABLE;
            *byte = if new & R == 0 { new & !W } else { new };
        }
        self.derive();
    }

    pub(super) fn address(&self, at: usize) -> u64 {
        self.addr.get(at).copied().unwrap_or(0)
    }

    /// A locked entry keeps its address, and the one before it too if it is the bottom of it.
    pub(super) fn set_address(&mut self, at: usize, value: u64) {
        let locked = |at: usize| self.cfg.get(at).is_some_and(|cfg| cfg & L != 0);
        let bottom = self.cfg.get(at + 1).is_some_and(|cfg| mode(*cfg) == TOR);
        if locked(at) || locked(at + 1) && bottom {
            return;
        }
        if let Some(addr) = self.addr.get_mut(at) {
            *addr = value & ADDRESS;
        }
        self.derive();
    }

    fn derive(&mut self) {
        (self.active, self.locked) = (0, 0);
        let mut below = 0;
        for (at, (cfg, addr)) in self.cfg.iter().zip(self.addr).enumerate() {
            let (first, end) = range(mode(*cfg), below, addr);
            below = addr;
            self.range[at] = (first, end);
            if first < end {
                self.active |= 1 << at;
                self.locked |= u16::from(cfg & L != 0) << at;
            }
        }
    }

    /// What an access of `bytes` bytes at `address` may do, and in how much of the `size` bytes
    /// (a power of two) around it that is so.
    pub(crate) fn check(&self, who: Privilege, address: u64, bytes: u64, size: u64) -> Allowed {
        let machine = who == Privilege::Machine;
        if machine && self.locked == 0 {
            return Allowed { rights: ALL, size };
        }
        if let Some(rights) = self.rights(machine, address, address.saturating_add(bytes)) {
            let mut size = size;
            while size > 4 {
                let first = address & !(size - 1);
                if self
                    .rights(machine, first, first.saturating_add(size))
                    .is_some()
                {
                    break;
                }
                size /= 2;
            }
            return Allowed { rights, size };
        }
        // The first entry that matches does not match all bytes: the access fails.
        Allowed { rights: 0, size: 4 }
    }

    /// What is allowed in all of `first..end`; `None` if the first matching entry matches only a
    /// part of it.
    fn rights(&self, machine: bool, first: u64, end: u64) -> Option<u8> {
        let mut left = self.active;
        while left != 0 {
            let at = left.trailing_zeros() as usize;
            left &= left - 1;
            let (low, high) = self.range[at];
            if end <= low || high <= first {
                continue;
            }
            let whole = low <= first && end <= high;
            let locked = self.cfg[at] & L != 0;
            let rights = if machine && !locked {
                ALL
            } else {
                self.cfg[at] & ALL
            };
            return whole.then_some(rights);
        }
        Some(if machine { ALL } else { 0 })
    }
}

fn mode(cfg: u8) -> u8 {
    cfg >> A_SHIFT & 3
}

/// The addresses that an entry matches: the first and the end.
fn range(mode: u8, below: u64, addr: u64) -> (u64, u64) {
    match mode {
        OFF => (0, 0),
        TOR => (below << 2, addr << 2),
        NA4 => (addr << 2, (addr << 2) + 4),
        _ => {
            let ones = addr.trailing_ones();
            let low = (addr & !((2 << ones) - 1)) << 2;
            (low, low + (8 << ones))
        }
    }
}
