//! The firmware configuration device, as QEMU's published interface ("fw_cfg") describes it:
//! items of bytes, chosen by a selector, read through a data register or by DMA.

mod device;
mod regs;
#[cfg(test)]
mod tests;

pub use device::{FwCfg, FwCfgState};
pub use regs::{FwCfgError, Key, LEN, RULES};
