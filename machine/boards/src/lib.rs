//! Boards: wiring as data, and the device tree derived from it.
//!
//! Invariants:
//! - Where a device lies and which interrupt it has is said once, in a [`MachineSpec`]; the address
//!   space and the device tree both come from there.
//! - No accelerator is named: vCPUs are their interrupt pins.
//! - Nothing here reads files: images come as bytes.
#![forbid(unsafe_code)]

mod boot;
mod error;
mod fdt;
mod image;
mod routes;
mod spec;
mod virt;

pub use boot::{Boot, Entry, Firmware, Images};
pub use error::BoardError;
pub use fdt::Chosen;
pub use image::{Image, ImageError, ImageKind};
pub use spec::{MachineSpec, Pcie, Role, Slot, VIRT};
pub use virt::{FlashImage, IsaDescription, PIN_MEI, PIN_MSI, PIN_MTI, PIN_SEI, Virt, VirtConfig};
