//! A parallel NOR flash: the Common Flash Interface (JEDEC JESD68.01) with Intel's command set
//! (JEP137 number 1). Two 16-bit chips side by side make a bank of 32 bits; commands go to both.
//!
//! In array mode the guest reads and executes straight from memory; every other mode answers here.

mod device;
mod regs;
#[cfg(test)]
mod tests;

pub use device::{Flash, FlashState, OnError};
pub use regs::{BLOCK, RULES};
