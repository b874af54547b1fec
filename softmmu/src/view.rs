//! The address space as it is at one moment: sorted ranges without overlap.

use crate::bitmap::PAGE_SIZE;
use crate::error::BusError;
use crate::ram::RamBlock;
use crate::region::{Region, mask};
use std::sync::Arc;

/// A part of a region that is not hidden by another.
#[derive(Clone, Debug)]
pub(crate) struct FlatRange {
    pub start: u64,
    pub last: u64,
    pub region: Arc<Region>,
}

/// What answers at an address.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The region.
    pub region: &'a Arc<Region>,
    /// First address from here on that another region, or none, answers; minus one.
    pub last: u64,
    /// Offset of the address in the region.
    pub offset: u64,
}

/// An immutable snapshot of the address space.
#[derive(Debug, Default)]
pub struct FlatView {
    ranges: Vec<FlatRange>,
}

impl FlatView {
    /// Flattens regions, of which the later ones win among those of equal priority.
    pub fn new<'a>(regions: impl IntoIterator<Item = &'a Arc<Region>>) -> Self {
        let mut regions: Vec<&Arc<Region>> = regions.into_iter().collect();
        regions.reverse();
        regions.sort_by_key(|region| std::cmp::Reverse(region.priority()));
        let mut view = Self::default();
        for region in regions {
            view.insert_below(region);
        }
        view
    }

    /// Adds the parts of `region` that nothing covers yet.
    fn insert_below(&mut self, region: &Arc<Region>) {
        let mut free = Vec::new();
        let mut start = Some(region.base());
        for range in &self.ranges {
            let Some(from) = start.filter(|_| range.start <= region.last()) else {
                break;
            };
            if range.last < from {
                continue;
            }
            if range.start > from {
                free.push((from, range.start - 1));
            }
            start = range.last.checked_add(1);
        }
        if let Some(from) = start.filter(|&from| from <= region.last()) {
            free.push((from, region.last()));
        }
        for (start, last) in free {
            let region = region.clone();
            let range = FlatRange {
                start,
                last,
                region,
            };
            let at = self.ranges.partition_point(|other| other.start < start);
            self.ranges.insert(at, range);
        }
    }

    /// What answers at `address`.
    pub fn lookup(&self, address: u64) -> Option<Target<'_>> {
        let at = self.ranges.partition_point(|range| range.last < address);
        let range = self.ranges.get(at).filter(|r| r.start <= address)?;
        Some(Target {
            region: &range.region,
            last: range.last,
            offset: address - range.region.base(),
        })
    }

    /// The regions that answer anywhere, by address.
    pub fn regions(&self) -> impl Iterator<Item = &Arc<Region>> {
        self.ranges.iter().map(|range| &range.region)
    }

    /// Start, last address and region of every part, by address.
    pub fn parts(&self) -> impl Iterator<Item = (u64, u64, &Arc<Region>)> {
        self.ranges
            .iter()
            .map(|range| (range.start, range.last, &range.region))
    }

    /// Reads `size` (1, 2, 4 or 8) bytes, little-endian.
    ///
    /// # Errors
    /// Nothing answers, or not to such an access.
    pub fn read(&self, address: u64, size: u32) -> Result<u64, BusError> {
        let error = BusError { address };
        let target = self.lookup(address).ok_or(error)?;
        let last = address.checked_add(u64::from(size) - 1).ok_or(error)?;
        if last <= target.last {
            return target.region.read(target.offset, size);
        }
        let mut value = 0;
        for at in (0..size).rev() {
            value = value << 8 | self.read(address + u64::from(at), 1)?;
        }
        Ok(value)
    }

    /// Writes the low `size` (1, 2, 4 or 8) bytes of `value`, little-endian.
    ///
    /// # Errors
    /// Nothing answers, or not to such an access; bytes of an access that crosses a region's end
    /// may have been written then.
    pub fn write(&self, address: u64, size: u32, value: u64) -> Result<(), BusError> {
        let error = BusError { address };
        let target = self.lookup(address).ok_or(error)?;
        let last = address.checked_add(u64::from(size) - 1).ok_or(error)?;
        if last <= target.last {
            return target.region.write(target.offset, size, value & mask(size));
        }
        for at in 0..size {
            self.write(address + u64::from(at), 1, value >> (at * 8) & 0xff)?;
        }
        Ok(())
    }

    /// The memory that answers reads (or writes, if `write`) at `address`, with the bytes that
    /// follow there.
    pub fn ram(&self, address: u64, write: bool) -> Option<(&Arc<RamBlock>, u64, u64)> {
        let target = self.lookup(address)?;
        let (ram, start) = if write {
            target.region.writable()?
        } else {
            target.region.readable()?
        };
        // A range over the whole space has one byte more than fits.
        let len = (target.last - address).saturating_add(1);
        Some((ram, start + target.offset, len))
    }

    /// Compares 4 or 8 aligned bytes of RAM with `old` and, if they are equal, makes them `new`, in
    /// one step that all vCPUs agree on. The value found before; `None` if that is not RAM.
    pub fn compare_exchange(&self, address: u64, size: u32, old: u64, new: u64) -> Option<u64> {
        let (ram, offset, _) = self.ram(address, true)?;
        ram.compare_exchange(offset, size, old, new)
    }

    /// Copies bytes out of memory; devices' registers are read in pieces of up to 8 bytes.
    ///
    /// # Errors
    /// Something on the way answers not. What comes before it has been copied.
    pub fn read_bytes(&self, address: u64, out: &mut [u8]) -> Result<(), BusError> {
        let mut at = address;
        let mut rest = out;
        while !rest.is_empty() {
            let count = if let Some((ram, offset, len)) = self.ram(at, false) {
                let count = len.min(rest.len() as u64) as usize;
                let read = ram.read(offset, &mut rest[..count]);
                read.then_some(count).ok_or(BusError { address: at })?
            } else {
                let size = piece(at, rest.len());
                let value = self.read(at, size)?.to_le_bytes();
                rest[..size as usize].copy_from_slice(&value[..size as usize]);
                size as usize
            };
            rest = &mut rest[count..];
            at = at.wrapping_add(count as u64);
        }
        Ok(())
    }

    /// Copies bytes into memory; devices' registers are written in pieces of up to 8 bytes.
    ///
    /// # Errors
    /// Something on the way answers not. What comes before it has been written.
    pub fn write_bytes(&self, address: u64, bytes: &[u8]) -> Result<(), BusError> {
        let mut at = address;
        let mut rest = bytes;
        while !rest.is_empty() {
            let count = if let Some((ram, offset, len)) = self.ram(at, true) {
                let count = len.min(rest.len() as u64) as usize;
                let written = ram.write(offset, &rest[..count]);
                written.then_some(count).ok_or(BusError { address: at })?
            } else {
                let size = piece(at, rest.len());
                let mut value = [0; 8];
                value[..size as usize].copy_from_slice(&rest[..size as usize]);
                self.write(at, size, u64::from_le_bytes(value))?;
                size as usize
            };
            rest = &rest[count..];
            at = at.wrapping_add(count as u64);
        }
        Ok(())
    }

    /// Copies bytes out of memory for a device: other devices are not reached, so that a device
    /// cannot be made to call itself.
    ///
    /// # Errors
    /// A part of the range is not memory. What comes before it has been copied.
    pub fn read_memory(&self, address: u64, out: &mut [u8]) -> Result<(), BusError> {
        let mut at = address;
        let mut rest = out;
        while !rest.is_empty() {
            let error = BusError { address: at };
            let (ram, offset, len) = self.ram(at, false).ok_or(error)?;
            let (part, later) = rest.split_at_mut(len.min(rest.len() as u64) as usize);
            if !ram.read(offset, part) {
                return Err(error);
            }
            at = at.wrapping_add(part.len() as u64);
            rest = later;
        }
        Ok(())
    }

    /// Copies bytes into RAM for a device, as [`FlatView::read_memory`] reads them.
    ///
    /// # Errors
    /// A part of the range is not RAM. What comes before it has been written.
    pub fn write_memory(&self, address: u64, bytes: &[u8]) -> Result<(), BusError> {
        self.write_through(address, bytes, true)
    }

    /// Gives RAM back to the host; it reads as zero from then on.
    ///
    /// # Errors
    /// A part of the range is not RAM. What comes before it has been given back.
    pub fn discard_memory(&self, address: u64, len: u64) -> Result<(), BusError> {
        let mut done = 0;
        while done < len {
            let at = address.wrapping_add(done);
            let error = BusError { address: at };
            let (ram, offset, room) = self.ram(at, true).ok_or(error)?;
            let here = room.min(len - done);
            if !ram.discard(offset, here) {
                return Err(error);
            }
            done += here;
        }
        Ok(())
    }

    /// Writes bytes as a loader does, before the machine runs: into ROM and flash too.
    ///
    /// # Errors
    /// A part of the range is not memory.
    pub fn load_bytes(&self, address: u64, bytes: &[u8]) -> Result<(), BusError> {
        self.write_through(address, bytes, false)
    }

    /// Writes what is memory for stores (`writable`) or for loads.
    fn write_through(&self, at: u64, bytes: &[u8], writable: bool) -> Result<(), BusError> {
        let mut at = at;
        let mut rest = bytes;
        while !rest.is_empty() {
            let error = BusError { address: at };
            let (ram, offset, len) = self.ram(at, writable).ok_or(error)?;
            let (part, later) = rest.split_at(len.min(rest.len() as u64) as usize);
            if !ram.write(offset, part) {
                return Err(error);
            }
            at = at.wrapping_add(part.len() as u64);
            rest = later;
        }
        Ok(())
    }

    /// True if the whole page of `address` is answered by one range.
    pub(crate) fn page_is_whole(&self, address: u64) -> bool {
        let page = address & !(PAGE_SIZE - 1);
        self.lookup(page)
            .is_some_and(|target| target.last >= page + (PAGE_SIZE - 1))
    }
}

/// Bytes of the largest aligned access at `address` that is no longer than `len`.
fn piece(address: u64, len: usize) -> u32 {
    let aligned = 1 << address.trailing_zeros().min(3);
    let short = 1 << len.ilog2().min(3);
    aligned.min(short)
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
