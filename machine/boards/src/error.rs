//! Why a board could not be built or started.

use crate::image::ImageError;
use crate::spec::Role;
use isomorph_devices::pci::PciError;
use isomorph_softmmu::{BusError, MemoryError};

/// A failure to build or to load a machine.
#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    /// Memory of the machine.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The device tree could not be written.
    #[error("cannot write the device tree")]
    DeviceTree(#[from] vm_fdt::Error),
    /// The PCI bus has no room for a device.
    #[error(transparent)]
    Pci(#[from] PciError),
    /// A file that the user gave as kernel or firmware.
    #[error("cannot load the {what}")]
    Image {
        /// Kernel or firmware.
        what: &'static str,
        /// What is wrong with it.
        source: ImageError,
    },
    /// Something does not fit into RAM.
    #[error("the {what} of {bytes} bytes does not fit at {address:#x}: give the machine more RAM")]
    Room {
        /// What was to be loaded.
        what: &'static str,
        /// Its size.
        bytes: u64,
        /// Where it was to go.
        address: u64,
        /// The first address that is not RAM.
        source: BusError,
    },
    /// The machine has no such device, or no other one of that kind.
    #[error("the machine has no {0:?}")]
    NoSlot(Role),
    /// The number of vCPUs is impossible.
    #[error("the machine cannot have {0} CPUs: 1 to 512")]
    Harts(usize),
    /// The contents of a flash do not fit.
    #[error("flash {index} holds at most {room} bytes, not {bytes}")]
    Flash {
        /// Which one.
        index: usize,
        /// Bytes given.
        bytes: usize,
        /// Bytes that fit.
        room: u64,
    },
}
