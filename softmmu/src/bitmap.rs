//! One bit per guest page, set and cleared by any thread.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of the pages that RAM is tracked in.
pub const PAGE_SIZE: u64 = 4096;

/// One bit per page of a RAM block.
#[derive(Debug)]
pub struct PageBitmap {
    words: Box<[AtomicU64]>,
}

impl PageBitmap {
    /// All clear, for `bytes` of RAM.
    pub fn new(bytes: u64) -> Self {
        let words = bytes.div_ceil(PAGE_SIZE * 64) as usize;
        Self {
            words: (0..words).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// The word and the bit of the page that holds `offset`.
    fn place(&self, offset: u64) -> Option<(&AtomicU64, u64)> {
        let page = offset / PAGE_SIZE;
        let word = self.words.get((page / 64) as usize)?;
        Some((word, 1 << (page % 64)))
    }

    /// True if the page of `offset` is marked.
    #[inline]
    pub fn get(&self, offset: u64) -> bool {
        self.place(offset)
            .is_some_and(|(word, bit)| word.load(Ordering::Acquire) & bit != 0)
    }

    /// Marks the page of `offset`; true if it was clear.
    #[inline]
    pub fn set(&self, offset: u64) -> bool {
        self.place(offset).is_some_and(|(word, bit)| {
            // Most pages are marked already: a load keeps the line shared.
            word.load(Ordering::Acquire) & bit == 0
                && word.fetch_or(bit, Ordering::AcqRel) & bit == 0
        })
    }

    /// Clears the page of `offset`; true if it was marked.
    pub fn clear(&self, offset: u64) -> bool {
        self.place(offset)
            .is_some_and(|(word, bit)| word.fetch_and(!bit, Ordering::AcqRel) & bit != 0)
    }

    /// Marks all pages that `offset..offset + len` touches.
    pub fn set_range(&self, offset: u64, len: u64) {
        for page in pages(offset, len) {
            self.set(page);
        }
    }

    /// True if a page that `offset..offset + len` touches is marked.
    pub fn any(&self, offset: u64, len: u64) -> bool {
        pages(offset, len).any(|page| self.get(page))
    }

    /// Takes all marks: the offsets of the pages that were marked, which are clear afterwards.
    pub fn take(&self) -> Vec<u64> {
        let mut taken = Vec::new();
        for (index, word) in self.words.iter().enumerate() {
            let mut bits = word.swap(0, Ordering::AcqRel);
            while bits != 0 {
                let bit = bits.trailing_zeros();
                taken.push((index as u64 * 64 + u64::from(bit)) * PAGE_SIZE);
                bits &= bits - 1;
            }
        }
        taken
    }
}

/// Offsets of the first byte of each page that `offset..offset + len` touches.
pub(crate) fn pages(offset: u64, len: u64) -> impl Iterator<Item = u64> {
    let first = offset / PAGE_SIZE;
    let end = if len == 0 {
        first
    } else {
        offset.saturating_add(len - 1) / PAGE_SIZE + 1
    };
    (first..end).map(|page| page * PAGE_SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_per_page() {
        let bitmap = PageBitmap::new(300 * PAGE_SIZE);
        assert!(bitmap.set(5000));
        assert!(!bitmap.set(4096));
        assert!(bitmap.get(8191) && !bitmap.get(8192));
        bitmap.set_range(100 * PAGE_SIZE - 1, 2);
        assert!(bitmap.any(0, 5000));
        assert!(!bitmap.any(0, 4096) && !bitmap.any(4096, 0));
        assert_eq!(bitmap.take(), [4096, 99 * 4096, 100 * 4096]);
        assert!(bitmap.take().is_empty());
    }

    #[test]
    fn pages_beyond_the_end_are_never_marked() {
        let bitmap = PageBitmap::new(PAGE_SIZE);
        assert!(!bitmap.set(u64::MAX));
        assert!(!bitmap.get(u64::MAX) && !bitmap.clear(1 << 40));
    }
}
