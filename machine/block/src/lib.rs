//! Disk images behind block devices: raw and qcow2.
//!
//! Invariants:
//! - A back end is shared by threads and takes whole requests: a call that returns `Ok` did all
//!   of it, a call that fails may have done some of it.
//! - What `flush` returned for is on the disk: it survives the emulator and the host's power.
//!   Nothing else is promised to.
//! - An image that this process may write is locked, and no other process of ours opens it.
//! - Offsets and lengths are bytes; nothing beyond `capacity` is read or written.

#![forbid(unsafe_code)]

mod error;
mod open;
mod overlay;
mod qcow2;
mod raw;
#[cfg(test)]
mod tests;

pub use error::BlockError;
pub use open::{Format, OpenOptions, open};
pub use overlay::Overlay;
pub use qcow2::Qcow2;
pub use raw::Raw;

/// The store behind a block device.
pub trait BlockBackend: Send + Sync {
    /// Bytes of the disk.
    fn capacity(&self) -> u64;

    /// Whether writes are refused.
    fn read_only(&self) -> bool;

    /// Fills `data` from byte `offset`.
    ///
    /// # Errors
    /// The range is not on the disk, or the host failed.
    fn read_at(&self, data: &mut [u8], offset: u64) -> Result<(), BlockError>;

    /// Writes `data` at byte `offset`.
    ///
    /// # Errors
    /// The range is not on the disk, the disk is read-only, or the host failed.
    fn write_at(&self, data: &[u8], offset: u64) -> Result<(), BlockError>;

    /// Makes everything written before survive a loss of power.
    ///
    /// # Errors
    /// The host failed: what was written since the last flush may be lost.
    fn flush(&self) -> Result<(), BlockError>;

    /// Makes the range read as zeros; `unmap` allows giving its space back to the host.
    ///
    /// # Errors
    /// As for `write_at`.
    fn write_zeroes(&self, offset: u64, length: u64, unmap: bool) -> Result<(), BlockError>;

    /// The guest no longer needs the range: it may read as anything afterwards.
    ///
    /// # Errors
    /// As for `write_at`.
    fn discard(&self, offset: u64, length: u64) -> Result<(), BlockError>;
}

/// Refuses a range that leaves the disk.
pub(crate) fn check_range(offset: u64, length: u64, capacity: u64) -> Result<(), BlockError> {
    match offset.checked_add(length) {
        Some(end) if end <= capacity => Ok(()),
        _ => Err(BlockError::Range {
            offset,
            length,
            capacity,
        }),
    }
}

/// Writes zeros the slow way.
pub(crate) fn write_plain_zeroes(
    disk: &dyn BlockBackend,
    offset: u64,
    length: u64,
) -> Result<(), BlockError> {
    const PIECE: u64 = 1 << 16;
    let zeros = [0; PIECE as usize];
    let mut done = 0;
    while done < length {
        let here = (length - done).min(PIECE);
        disk.write_at(&zeros[..here as usize], offset + done)?;
        done += here;
    }
    Ok(())
}
