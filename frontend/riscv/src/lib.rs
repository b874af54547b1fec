//! The RISC-V guest: state, decode specification, semantics and disassembly.
