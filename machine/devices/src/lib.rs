//! Devices: one folder per family, tested without a CPU.
//!
//! Invariants:
//! - No access of a guest panics, loops for ever or reaches another device through DMA.
//! - A device's state is plain data; its lock is inside; it names no board and no accelerator.
#![forbid(unsafe_code)]

pub mod aclint;
pub mod finisher;
pub mod flash;
pub mod fw_cfg;
pub mod pci;
pub mod plic;
pub mod rtc;
pub mod serial;
pub mod virtio;

mod beating;
mod sync;
#[cfg(test)]
mod testing;

pub use beating::Beating;
