//! RAM as devices with queues see it: `vm-memory`'s traits over our own blocks.
//!
//! Only RAM can be reached this way. Writes mark pages dirty and drop translations like all others.

use crate::ram::{RamBlock, Track};
use crate::view::FlatView;
use std::sync::Arc;
use vm_memory::bitmap::{BS, Bitmap, WithBitmapSlice};
use vm_memory::{
    GuestAddress, GuestMemoryError, GuestMemoryRegion, GuestMemoryRegionBytes,
    GuestRegionCollection, GuestUsize, MemoryRegionAddress, VolatileSlice,
};

/// All RAM of a view; implements `vm_memory::GuestMemory`.
pub type DmaMemory = GuestRegionCollection<DmaRegion>;

/// A part of the guest-physical space that is RAM.
#[derive(Debug)]
pub struct DmaRegion {
    ram: Arc<RamBlock>,
    offset: u64,
    start: u64,
    len: u64,
}

impl<'a> WithBitmapSlice<'a> for RamBlock {
    type S = Track<'a>;
}

impl Bitmap for RamBlock {
    fn mark_dirty(&self, offset: usize, len: usize) {
        self.note_write(offset as u64, len as u64);
    }

    fn dirty_at(&self, offset: usize) -> bool {
        self.dirty().get(offset as u64)
    }

    fn slice_at(&self, offset: usize) -> Track<'_> {
        Track::new(self, offset as u64)
    }
}

impl GuestMemoryRegion for DmaRegion {
    type B = RamBlock;

    fn len(&self) -> GuestUsize {
        self.len
    }

    fn start_addr(&self) -> GuestAddress {
        GuestAddress(self.start)
    }

    fn bitmap(&self) -> BS<'_, RamBlock> {
        Track::new(&self.ram, self.offset)
    }

    fn get_slice(
        &self,
        offset: MemoryRegionAddress,
        count: usize,
    ) -> Result<VolatileSlice<'_, Track<'_>>, GuestMemoryError> {
        let count = count as u64;
        let end = offset.0.checked_add(count);
        end.filter(|&end| end <= self.len)
            .and_then(|_| self.ram.volatile(self.offset + offset.0, count))
            .ok_or(GuestMemoryError::InvalidBackendAddress)
    }
}

impl GuestMemoryRegionBytes for DmaRegion {}

impl FlatView {
    /// The RAM of this view for virtqueues.
    pub fn dma(&self) -> DmaMemory {
        let regions = self.parts().filter_map(|(start, last, region)| {
            let (ram, base) = region.writable()?;
            Some(Arc::new(DmaRegion {
                ram: ram.clone(),
                offset: base + (start - region.base()),
                start,
                len: (last - start).saturating_add(1),
            }))
        });
        // The parts are sorted and do not overlap; without any there is no memory to reach.
        GuestRegionCollection::from_arc_regions(regions.collect()).unwrap_or_default()
    }
}
