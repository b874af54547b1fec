//! The 16550 UART, as the PC16550D data sheet has it.
//!
//! Characters go out at once and come in as fast as the FIFO takes them: the divisor is kept but
//! slows nothing down. The data sheet measures the character timeout in character times (four
//! since the last character came, and since the last was read); on a line on which a character
//! takes no time they are over at once. So the timeout interrupt comes as soon as the FIFO holds
//! fewer characters than its trigger level: a key pressed reaches the guest without delay, and a
//! paste still comes a FIFO at a time.

mod chardev;
mod device;
mod regs;
#[cfg(test)]
mod tests;

pub use chardev::CharLine;
pub use device::{Serial, SerialBackend, SerialState};
pub use regs::{LEN, RULES};
