//! What the translator may fetch: bytes of executable guest pages and nothing else.

use super::vmas::CodeRange;
use crate::cpu::CodeSource;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

/// Executable ranges of the guest, in order and disjoint.
#[derive(Debug, Default)]
pub struct CodeMap {
    ranges: RwLock<Vec<CodeRange>>,
}

impl CodeMap {
    /// Replaces the ranges.
    pub fn set(&self, ranges: Vec<CodeRange>) {
        *self.write() = ranges;
    }

    /// Excludes fetches while it is held; for fork.
    pub fn write(&self) -> RwLockWriteGuard<'_, Vec<CodeRange>> {
        self.ranges.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The executable range that holds `pc`.
    fn find(&self, pc: u64) -> Option<CodeRange> {
        let ranges = self.ranges.read().unwrap_or_else(PoisonError::into_inner);
        let index = ranges.partition_point(|range| range.end <= pc);
        ranges.get(index).filter(|range| range.start <= pc).copied()
    }

    /// How many of `len` bytes at `pc` are executable, counted from the first.
    fn executable(&self, pc: u64, len: usize) -> usize {
        let mut have = 0;
        while have < len
            && let Some(range) = self.find(pc + have as u64)
        {
            have = len.min((range.end - pc) as usize);
        }
        have
    }
}

unsafe extern "C" {
    /// See `syscall::uaccess`: copies until a fault; returns the bytes that are left.
    fn isomorph_uaccess_copy(to: *mut u8, from: *const u8, len: usize) -> usize;
}

/// Copies `bytes` to guest address `addr`, which the caller knows to be the guest's; returns how
/// many bytes could not be copied.
pub fn copy_to_guest(addr: u64, bytes: &[u8]) -> usize {
    // SAFETY: the source is a live slice; a fault at the target ends the copy early.
    unsafe { isomorph_uaccess_copy(addr as *mut u8, bytes.as_ptr(), bytes.len()) }
}

/// [`CodeMap`] as the engine asks for code.
pub struct Fetch(pub Arc<CodeMap>);

impl CodeSource for Fetch {
    fn read(&self, pc: u64, out: &mut [u8]) -> usize {
        let len = self.0.executable(pc, out.len());
        // SAFETY: the target is `out`; the source is guest memory, and if it goes away meanwhile
        // the copy ends early instead of faulting.
        let left = unsafe { isomorph_uaccess_copy(out.as_mut_ptr(), pc as *const u8, len) };
        len - left
    }

    fn may_change(&self, pc: u64) -> bool {
        self.0.find(pc).is_none_or(|range| range.changeable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_executable_bytes_are_fetched() {
        let map = Arc::new(CodeMap::default());
        let code = [1_u8, 2, 3, 4];
        let at = code.as_ptr() as u64;
        let fetch = Fetch(map.clone());
        let mut out = [0; 8];
        assert_eq!(fetch.read(at, &mut out), 0);
        map.set(vec![CodeRange {
            start: at,
            end: at + 4,
            changeable: false,
        }]);
        assert!(!fetch.may_change(at) && fetch.may_change(at + 4));
        assert_eq!(fetch.read(at + 1, &mut out), 3);
        assert_eq!(out[..3], [2, 3, 4]);
        assert_eq!(fetch.read(at + 4, &mut out), 0);
    }
}
