//! SiFive's test finisher: the guest writes how it ended.

mod device;
mod regs;
#[cfg(test)]
mod tests;

pub use device::Finisher;
pub use regs::{FAIL, LEN, PASS, RESET, RULES};
