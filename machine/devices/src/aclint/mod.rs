//! Timers and software interrupts of the harts: RISC-V ACLINT specification 1.0-rc4, laid out as
//! SiFive's CLINT (MSWI, MTIMECMP and MTIME in one block of 64 KiB).

mod device;
mod regs;
#[cfg(test)]
mod tests;

pub use device::{Aclint, AclintState, HartLines};
pub use regs::{LEN, MAX_HARTS, RULES};
