//! The RISC-V guest: state, decode specification, semantics and disassembly.
#![forbid(unsafe_code)]
pub mod decode;
