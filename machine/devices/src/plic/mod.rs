//! The platform-level interrupt controller: RISC-V PLIC specification 1.0.0, with the priorities
//! of SiFive's (0 to 7).

mod device;
mod regs;
#[cfg(test)]
mod tests;

pub use device::{Plic, PlicState};
pub use regs::{LEN, MAX_SOURCES, RULES};
