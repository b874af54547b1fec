//! Small privileged programs on harts of the accelerator.

mod asm;
mod bench;
mod fetch;
mod memory;
