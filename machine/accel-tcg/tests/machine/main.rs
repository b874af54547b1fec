//! Small privileged programs on harts of the accelerator.

mod asm;
mod bench;
mod code;
mod fetch;
mod flow;
mod interrupts;
mod memory;
mod model;
mod random;
mod smp;
