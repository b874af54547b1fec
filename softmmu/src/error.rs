//! What can go wrong with guest-physical memory.

/// An access that nothing answers, or not in this way: the guest's access fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bus error at {address:#x}")]
pub struct BusError {
    /// First guest-physical address of the part that failed.
    pub address: u64,
}

/// RAM or a region could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The host gives no memory for a RAM block.
    #[error("cannot allocate {bytes} bytes for guest memory `{name}`")]
    Allocate {
        /// Name of the block.
        name: String,
        /// Bytes asked for.
        bytes: u64,
        /// What the host said.
        source: std::io::Error,
    },
    /// A RAM block of no bytes, or one that no host could map.
    #[error("guest memory `{name}` cannot have {bytes} bytes")]
    Size {
        /// Name of the block.
        name: String,
        /// Bytes asked for.
        bytes: u64,
    },
    /// A region is empty, goes beyond the last address or beyond its backing.
    #[error("region `{name}` cannot lie at {base:#x} with {len:#x} bytes")]
    Region {
        /// Name of the region.
        name: String,
        /// First guest-physical address.
        base: u64,
        /// Bytes.
        len: u64,
    },
}
