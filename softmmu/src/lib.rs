//! Guest-physical address space: RAM, immutable flat views, MMIO routing, dirty tracking.
//!
//! Invariants:
//! - `unsafe` is in [`RamBlock`] alone; RAM is touched through atomics and generated code, never as
//!   a byte slice.
//! - A [`FlatView`] never changes. A change of the [`AddressSpace`] publishes a new one; who holds
//!   the old one finishes with it.
//! - Nothing is locked on the way to a device: the lock is the device's own, inside its [`Mmio`].
//! - A page with translated code, or one whose dirty mark is clear, has no write tag in any TLB.
//! - No device type is known here.
#![deny(unsafe_code)]

mod bitmap;
mod dma;
mod error;
#[allow(unsafe_code)]
mod ram;
mod region;
mod space;
mod tlb;
mod view;

pub use bitmap::{PAGE_SIZE, PageBitmap};
pub use dma::{DmaMemory, DmaRegion};
pub use error::{BusError, MemoryError};
pub use ram::{CodeWatch, RamBlock, Track};
pub use region::{AccessRules, Backing, Mmio, Region};
pub use space::{AddressSpace, RegionId, RomSwitch, ViewWatch};
pub use tlb::{
    Access, Fill, SoftTlb, TAG_INVALID, TAG_SLOW, TLB_ENTRIES, TlbEntry, TlbStats, Walk,
};
pub use view::{FlatView, Target};
