//! Cross-crate tests: instruction rows, random programs, real programs, habits.
#![forbid(unsafe_code)]

pub mod flow;
pub mod random;
pub mod random_elf;
pub mod rows;
