//! The block table: from (pc, space) to host code. Lookups take no lock.

use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// `code` of a slot that was never used.
const EMPTY: u64 = 0;
/// `code` of a slot whose block was dropped. Not reused, so that a reader that has seen the code
/// never pairs it with another key.
const DROPPED: u64 = 1;

#[derive(Default)]
struct Slot {
    pc: AtomicU64,
    space: AtomicU64,
    code: AtomicU64,
}

struct Slots {
    mask: usize,
    slots: Box<[Slot]>,
}

impl Slots {
    fn new(len: usize) -> Box<Self> {
        let slots = (0..len).map(|_| Slot::default()).collect();
        Box::new(Self {
            mask: len - 1,
            slots,
        })
    }

    /// Slots in probe order for `pc`.
    fn probe(&self, pc: u64) -> impl Iterator<Item = &Slot> {
        // Instructions are 2-byte aligned at least; multiply to spread neighbouring functions.
        let start = ((pc >> 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize;
        (0..self.slots.len()).map(move |i| &self.slots[start.wrapping_add(i) & self.mask])
    }
}

/// An open-addressed table with one writer at a time (the holder of the engine's lock) and any
/// number of readers.
pub struct BlockTable {
    current: AtomicPtr<Slots>,
    /// Slots of the current table that were ever used.
    used: AtomicUsize,
    /// Tables that readers may still be looking at, and the current one (last). Boxed so that
    /// they do not move when the list grows.
    #[allow(clippy::vec_box, reason = "readers hold pointers into the boxes")]
    owned: Mutex<Vec<Box<Slots>>>,
}

const FIRST_LEN: usize = 4096;

impl BlockTable {
    /// An empty table.
    pub fn new() -> Self {
        let table = Self {
            current: AtomicPtr::default(),
            used: AtomicUsize::new(0),
            owned: Mutex::default(),
        };
        table.install(Slots::new(FIRST_LEN), 0);
        table
    }

    fn install(&self, mut slots: Box<Slots>, used: usize) {
        let p: *mut Slots = &mut *slots;
        self.owned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(slots);
        self.used.store(used, Ordering::Relaxed);
        self.current.store(p, Ordering::Release);
    }

    fn slots(&self) -> &Slots {
        // SAFETY: `current` points into a box in `owned`, which only `clear` drops, and `clear`
        // requires that nobody else uses the table.
        unsafe { &*self.current.load(Ordering::Acquire) }
    }

    /// Host address of the block at `pc` in `space`.
    #[inline]
    pub fn get(&self, pc: u64, space: u64) -> Option<u64> {
        for slot in self.slots().probe(pc) {
            let code = slot.code.load(Ordering::Acquire);
            if code == EMPTY {
                return None;
            }
            let same = slot.pc.load(Ordering::Relaxed) == pc
                && slot.space.load(Ordering::Relaxed) == space;
            if same && code != DROPPED {
                return Some(code);
            }
        }
        None
    }

    /// Adds a block. The caller holds the engine's lock.
    pub fn insert(&self, pc: u64, space: u64, code: u64) {
        let used = self.used.load(Ordering::Relaxed) + 1;
        self.used.store(used, Ordering::Relaxed);
        if used * 2 > self.slots().slots.len() {
            self.rebuild();
        }
        Self::put(self.slots(), pc, space, code);
    }

    fn put(slots: &Slots, pc: u64, space: u64, code: u64) {
        let free = slots
            .probe(pc)
            .find(|s| s.code.load(Ordering::Relaxed) == EMPTY);
        if let Some(slot) = free {
            slot.pc.store(pc, Ordering::Relaxed);
            slot.space.store(space, Ordering::Relaxed);
            slot.code.store(code, Ordering::Release);
        }
    }

    /// Moves what is alive to a fresh table of a size to match.
    fn rebuild(&self) {
        let old = &self.slots().slots;
        let alive = || {
            old.iter()
                .filter(|s| s.code.load(Ordering::Relaxed) > DROPPED)
        };
        let count = alive().count();
        let fresh = Slots::new((count * 4).next_power_of_two().max(FIRST_LEN));
        for slot in alive() {
            let pc = slot.pc.load(Ordering::Relaxed);
            let space = slot.space.load(Ordering::Relaxed);
            Self::put(&fresh, pc, space, slot.code.load(Ordering::Relaxed));
        }
        self.install(fresh, count + 1);
    }

    /// Drops the block at `pc` in `space`. The caller holds the engine's lock.
    pub fn remove(&self, pc: u64, space: u64) {
        for slot in self.slots().probe(pc) {
            let code = slot.code.load(Ordering::Relaxed);
            if code == EMPTY {
                return;
            }
            let same = slot.pc.load(Ordering::Relaxed) == pc
                && slot.space.load(Ordering::Relaxed) == space;
            if same && code != DROPPED {
                slot.code.store(DROPPED, Ordering::Release);
                return;
            }
        }
    }

    /// Empties the table. No other thread may be in [`BlockTable::get`].
    pub fn clear(&self) {
        let old = std::mem::take(&mut *self.owned.lock().unwrap_or_else(PoisonError::into_inner));
        self.install(Slots::new(FIRST_LEN), 0);
        drop(old);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inserted_is_found_until_it_is_removed() {
        let t = BlockTable::new();
        for i in 0..20_000u64 {
            t.insert(i * 4, i % 3, 0x1000 + i);
        }
        for i in 0..20_000u64 {
            assert_eq!(t.get(i * 4, i % 3), Some(0x1000 + i));
            assert_eq!(t.get(i * 4, 7), None);
        }
        t.remove(400, 1);
        assert_eq!(t.get(400, 1), None);
        t.insert(400, 1, 5);
        assert_eq!(t.get(400, 1), Some(5));
        t.clear();
        assert_eq!(t.get(0, 0), None);
    }
}
