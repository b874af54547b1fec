//! Devices: one folder per family, tested without a CPU.

pub mod aclint;
pub mod finisher;
pub mod flash;
pub mod fw_cfg;
pub mod pci;
pub mod plic;
pub mod rtc;
pub mod serial;
pub mod virtio;

mod sync;
#[cfg(test)]
mod testing;
