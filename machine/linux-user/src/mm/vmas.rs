//! Bookkeeping of what is mapped where: pure arithmetic, no system calls.

use std::collections::BTreeMap;

/// What a mapping is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anything the guest mapped.
    Plain,
    /// The program break.
    Heap,
    /// The main thread's stack.
    Stack,
    /// The vDSO.
    Vdso,
    /// Not the guest's: isomorph's own memory below a large ceiling.
    Host,
}

/// One mapping; its start is its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vma {
    /// First address behind it.
    pub end: u64,
    /// Protection as the guest asked for it.
    pub prot: u32,
    /// What it is for.
    pub kind: Kind,
    /// Others may write it (`MAP_SHARED`).
    pub shared: bool,
}

impl Vma {
    /// True if `other` may be joined with it.
    fn alike(&self, other: &Self) -> bool {
        (self.prot, self.kind, self.shared) == (other.prot, other.kind, other.shared)
    }

    /// True if its code may change while it is mapped so.
    const fn changeable(&self) -> bool {
        self.shared || self.prot & libc::PROT_WRITE as u32 != 0
    }

    const fn executable(&self) -> bool {
        self.prot & libc::PROT_EXEC as u32 != 0
    }
}

/// Executable pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeRange {
    /// First address.
    pub start: u64,
    /// First address behind.
    pub end: u64,
    /// The bytes may change while mapped so: they are writable or shared.
    pub changeable: bool,
}

/// The mappings, disjoint and in order.
#[derive(Clone, Debug, Default)]
pub struct Vmas {
    map: BTreeMap<u64, Vma>,
    /// Where the next search for free space starts, see [`Vmas::find_free`].
    search_from: u64,
    /// Largest hole above `search_from` that was passed over.
    largest_hole: u64,
}

impl Vmas {
    /// Every mapping that overlaps `start..end`, clipped to it.
    pub fn overlapping(&self, start: u64, end: u64) -> impl Iterator<Item = (u64, Vma)> + '_ {
        let first = self
            .map
            .range(..=start)
            .next_back()
            .map_or(start, |(&s, _)| s);
        self.map
            .range(first..end.max(first))
            .filter(move |(_, vma)| vma.end > start)
            .map(move |(&s, vma)| {
                (
                    s.max(start),
                    Vma {
                        end: vma.end.min(end),
                        ..*vma
                    },
                )
            })
    }

    /// The mapping that holds `addr`, with its start.
    #[must_use]
    pub fn find(&self, addr: u64) -> Option<(u64, Vma)> {
        let (&start, &vma) = self.map.range(..=addr).next_back()?;
        (vma.end > addr).then_some((start, vma))
    }

    /// True if nothing is mapped in `start..end`.
    #[must_use]
    pub fn is_free(&self, start: u64, end: u64) -> bool {
        self.overlapping(start, end).next().is_none()
    }

    /// True if all of `start..end` is the guest's.
    #[must_use]
    pub fn covers(&self, start: u64, end: u64) -> bool {
        let mut at = start;
        for (first, vma) in self.overlapping(start, end) {
            if first != at || vma.kind == Kind::Host {
                return false;
            }
            at = vma.end;
        }
        at >= end
    }

    /// True if any of `start..end` is executable.
    #[must_use]
    pub fn executable(&self, start: u64, end: u64) -> bool {
        self.overlapping(start, end)
            .any(|(_, vma)| vma.executable())
    }

    /// The parts of `start..end` that are the guest's.
    #[must_use]
    pub fn owned(&self, start: u64, end: u64) -> Vec<(u64, u64)> {
        let mut parts: Vec<(u64, u64)> = Vec::new();
        for (first, vma) in self.overlapping(start, end) {
            match parts.last_mut() {
                _ if vma.kind == Kind::Host => {}
                Some(last) if last.1 == first => last.1 = vma.end,
                _ => parts.push((first, vma.end)),
            }
        }
        parts
    }

    /// Forgets `start..end`.
    pub fn remove(&mut self, start: u64, end: u64) {
        let hit: Vec<u64> = self
            .overlapping(start, end)
            .map(|(first, _)| first)
            .collect();
        for first in hit {
            let key = if first == start {
                self.find(first).map_or(first, |(s, _)| s)
            } else {
                first
            };
            let Some(vma) = self.map.remove(&key) else {
                continue;
            };
            if key < start {
                self.map.insert(key, Vma { end: start, ..vma });
            }
            if vma.end > end {
                self.map.insert(end, vma);
            }
        }
        self.search_from = self.search_from.max(end);
    }

    /// Notes a mapping at `start`, in place of what was there.
    pub fn insert(&mut self, start: u64, vma: Vma) {
        let from = self.search_from;
        self.remove(start, vma.end);
        self.search_from = from;
        let (mut first, mut end) = (start, vma.end);
        if let Some((&before, left)) = self.map.range(..start).next_back()
            && left.end == start
            && left.alike(&vma)
        {
            first = before;
        }
        if let Some(right) = self.map.get(&end)
            && right.alike(&vma)
        {
            let key = end;
            end = right.end;
            self.map.remove(&key);
        }
        self.map.insert(first, Vma { end, ..vma });
    }

    /// Changes the protection of the mapped parts of `start..end`.
    pub fn protect(&mut self, start: u64, end: u64, prot: u32) {
        let parts: Vec<(u64, Vma)> = self.overlapping(start, end).collect();
        for (first, vma) in parts {
            if vma.kind != Kind::Host {
                self.insert(first, Vma { prot, ..vma });
            }
        }
    }

    /// The highest free `len` bytes within `bottom..top`, aligned to `align` (a power of two).
    ///
    /// The search goes on where the last one ended unless a hole passed over may fit, so that
    /// filling an address space from the top is not quadratic.
    pub fn find_free(&mut self, bottom: u64, top: u64, len: u64, align: u64) -> Option<u64> {
        if self.search_from > top || len <= self.largest_hole || align > super::PAGE {
            self.search_from = top;
            self.largest_hole = 0;
        }
        let found = self
            .scan(bottom, self.search_from, len, align)
            .or_else(|| {
                self.largest_hole = 0;
                self.scan(bottom, top, len, align)
            })?;
        self.search_from = found;
        Some(found)
    }

    fn scan(&mut self, bottom: u64, top: u64, len: u64, align: u64) -> Option<u64> {
        let mut ceiling = top;
        let mut hole_max = self.largest_hole;
        let mut found = None;
        for (&start, vma) in self.map.range(..top).rev() {
            if vma.end < ceiling {
                let floor = vma.end.max(bottom);
                found = fit(floor, ceiling, len, align);
                if found.is_some() {
                    break;
                }
                hole_max = hole_max.max(ceiling.saturating_sub(floor));
            }
            ceiling = ceiling.min(start);
            if ceiling <= bottom {
                break;
            }
        }
        self.largest_hole = hole_max;
        found.or_else(|| fit(bottom, ceiling, len, align))
    }

    /// Every mapping in order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, Vma)> + '_ {
        self.map.iter().map(|(&start, &vma)| (start, vma))
    }

    /// Ranges of executable pages in order, neighbours joined.
    #[must_use]
    pub fn executable_ranges(&self) -> Vec<CodeRange> {
        let mut ranges: Vec<CodeRange> = Vec::new();
        for (start, vma) in self.iter().filter(|(_, vma)| vma.executable()) {
            let changeable = vma.changeable();
            match ranges.last_mut() {
                Some(last) if last.end == start && last.changeable == changeable => {
                    last.end = vma.end;
                }
                _ => ranges.push(CodeRange {
                    start,
                    end: vma.end,
                    changeable,
                }),
            }
        }
        ranges
    }
}

/// The highest place for `len` bytes within `floor..ceiling`.
fn fit(floor: u64, ceiling: u64, len: u64, align: u64) -> Option<u64> {
    let start = ceiling.checked_sub(len)? & !(align - 1);
    (start >= floor).then_some(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RW: u32 = 3;
    const RX: u32 = 5;

    fn vma(end: u64, prot: u32) -> Vma {
        Vma {
            end,
            prot,
            kind: Kind::Plain,
            shared: false,
        }
    }

    fn list(vmas: &Vmas) -> Vec<(u64, u64, u32)> {
        vmas.iter()
            .map(|(start, v)| (start, v.end, v.prot))
            .collect()
    }

    #[test]
    fn removing_the_middle_leaves_both_ends() {
        let mut vmas = Vmas::default();
        vmas.insert(0x1000, vma(0x9000, RW));
        vmas.remove(0x3000, 0x5000);
        assert_eq!(list(&vmas), [(0x1000, 0x3000, RW), (0x5000, 0x9000, RW)]);
        assert!(!vmas.covers(0x1000, 0x9000));
        assert!(vmas.covers(0x5000, 0x9000));
    }

    #[test]
    fn protecting_splits_and_joins() {
        let mut vmas = Vmas::default();
        vmas.insert(0x1000, vma(0x9000, RW));
        vmas.protect(0x3000, 0x5000, RX);
        assert_eq!(
            list(&vmas),
            [
                (0x1000, 0x3000, RW),
                (0x3000, 0x5000, RX),
                (0x5000, 0x9000, RW)
            ]
        );
        let range = CodeRange {
            start: 0x3000,
            end: 0x5000,
            changeable: false,
        };
        assert_eq!(vmas.executable_ranges(), [range]);
        vmas.protect(0x3000, 0x5000, RW);
        assert_eq!(list(&vmas), [(0x1000, 0x9000, RW)]);
    }

    #[test]
    fn free_space_is_found_from_the_top() {
        let mut vmas = Vmas::default();
        let map = |vmas: &mut Vmas, len| {
            let at = vmas.find_free(0x1000, 0x10000, len, 0x1000)?;
            vmas.insert(at, vma(at + len, RW));
            Some(at)
        };
        assert_eq!(map(&mut vmas, 0x4000), Some(0xc000));
        assert_eq!(map(&mut vmas, 0x4000), Some(0x8000));
        assert_eq!(map(&mut vmas, 0x8000), None);
        vmas.remove(0xd000, 0xe000);
        assert_eq!(map(&mut vmas, 0x1000), Some(0xd000));
        assert_eq!(map(&mut vmas, 0x7000), Some(0x1000));
        assert_eq!(map(&mut vmas, 0x1000), None);
    }

    #[test]
    fn a_hole_passed_over_is_used_later() {
        let mut vmas = Vmas::default();
        vmas.insert(0xe000, vma(0xf000, RW));
        assert_eq!(
            vmas.find_free(0x1000, 0x10000, 0x2000, 0x1000),
            Some(0xc000)
        );
        vmas.insert(0xc000, vma(0xe000, RW));
        assert_eq!(
            vmas.find_free(0x1000, 0x10000, 0x1000, 0x1000),
            Some(0xf000)
        );
    }

    #[test]
    fn host_memory_is_neither_owned_nor_free() {
        let mut vmas = Vmas::default();
        vmas.insert(
            0x2000,
            Vma {
                end: 0x3000,
                prot: 0,
                kind: Kind::Host,
                shared: false,
            },
        );
        vmas.insert(0x3000, vma(0x4000, RW));
        assert_eq!(vmas.owned(0x1000, 0x8000), [(0x3000, 0x4000)]);
        assert!(!vmas.is_free(0x2000, 0x3000));
        assert!(!vmas.covers(0x2000, 0x4000));
    }
}
