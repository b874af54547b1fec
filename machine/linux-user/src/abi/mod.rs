//! What differs between guest architectures, one module each.

pub mod riscv64;
