//! The Goldfish real-time clock, as "Goldfish Virtual Hardware" describes its timer: nanoseconds
//! since 1970 in two halves, and one alarm.

mod device;
mod regs;
#[cfg(test)]
mod tests;

pub use device::{Rtc, RtcState};
pub use regs::{LEN, RULES};
