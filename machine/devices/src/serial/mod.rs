//! The 16550 UART, as the PC16550D data sheet has it.
//!
//! Characters go out at once and come in as fast as the FIFO takes them: the divisor is kept but
//! slows nothing down, and the character timeout is reached as soon as the FIFO holds anything.

mod device;
mod regs;
#[cfg(test)]
mod tests;

pub use device::{Serial, SerialBackend, SerialState};
pub use regs::{LEN, RULES};
